//! Introductions, member lists, claims and heartbeats.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{
    super::{Claim, EmptySeat, Heartbeat, Hello, Member, View},
    Codec, Field, Input, MessageError, Optional, Plain, Sink, codec_of, record,
};
use crate::{
    Duties, Fitness, Incarnation, MemberNumber, NodeId, Numbers, Partitioner, ReplicationFactor,
    Start,
    duties::WEIGHT_MAX,
    hashkit::HashKind,
    limits::{CUTS_MAX, LINEAGE_MAX, TOKENS_MAX},
    ownership::{Movement, Ownership, Phase, Phases, Runs, SlotMap, may_own},
};

record!(Incarnation { life, start, previous });
record!(Claim { seat, incarnation, empty });
record!(EmptySeat { seat, life, newcomer });
record!(Ownership { owners, movement as Optional });
record!(Movement { target, phases, leaving as Leaving });
record!(Heartbeat { epoch, fitness, hints_pending, wall_ms });

impl Field for NodeId {
    fn put(&self, out: &mut impl Sink) {
        self.0.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        u128::take(input).map(Self)
    }
}

impl Field for MemberNumber {
    fn put(&self, out: &mut impl Sink) {
        self.0.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        u16::take(input).map(Self)
    }
}

/// Stands for a list of datacentres instead of one number for all of them.
const BY_DATACENTRE: u16 = u16::MAX;

/// Stands before the replication factor where a ring comes first.
const RING: u16 = u16::MAX - 1;

/// A partitioner, of which slots take no room.
struct Ring;

impl Codec<Partitioner> for Ring {
    fn put(partitioner: &Partitioner, out: &mut impl Sink) {
        let Some(ring) = partitioner.as_ring() else { return };
        RING.put(out);
        String::from(ring.hash().name()).put(out);
        ring.hash_tag().is_some().put(out);
        ring.hash_tag().iter().for_each(|tag| out.put(tag));
        ring.cuts().to_vec().put(out);
    }

    fn take(input: &mut Input) -> Result<Partitioner, MessageError> {
        if !input.passes(RING) {
            return Ok(Partitioner::Slots);
        }
        let hash: HashKind = String::take(input)?.parse().map_err(|_| input.field("hash"))?;
        let tag = if bool::take(input)? { Some(input.array()?) } else { None };
        let cuts = ascending(input, CUTS_MAX)?;
        Partitioner::ring(hash, tag, &cuts).map_err(|_| input.field("tokens"))
    }
}

/// Stands before the name of a member where tokens come first: no name is so long.
const TOKENS: u16 = u16::MAX;

/// Tokens of a member, of which none take no room.
struct Tokens;

impl Codec<Vec<u32>> for Tokens {
    fn put(tokens: &Vec<u32>, out: &mut impl Sink) {
        if !tokens.is_empty() {
            TOKENS.put(out);
            tokens.put(out);
        }
    }

    fn take(input: &mut Input) -> Result<Vec<u32>, MessageError> {
        if input.passes(TOKENS) { ascending(input, TOKENS_MAX) } else { Ok(Vec::new()) }
    }
}

/// Tokens, each once, at most `most` of them.
fn ascending(input: &mut Input, most: usize) -> Result<Vec<u32>, MessageError> {
    let tokens: Vec<u32> = Vec::take(input)?;
    let is_ascending = tokens.windows(2).all(|pair| pair[0] < pair[1]);
    if is_ascending && tokens.len() <= most { Ok(tokens) } else { Err(input.field("tokens")) }
}

impl Field for ReplicationFactor {
    fn put(&self, out: &mut impl Sink) {
        match self {
            Self::Everywhere(factor) => factor.put(out),
            Self::ByDatacentre(factors) => {
                BY_DATACENTRE.put(out);
                let factors = factors.iter().map(|(name, factor)| (name.clone(), *factor));
                factors.collect::<Vec<_>>().put(out);
            }
        }
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        match u16::take(input)? {
            BY_DATACENTRE => {
                let factors: Vec<(String, u16)> = Vec::take(input)?;
                Self::by_datacentre(factors).map_err(|_| input.field("replication factor"))
            }
            factor => Ok(Self::Everywhere(factor)),
        }
    }
}

impl Field for Start {
    fn put(&self, out: &mut impl Sink) {
        self.get().put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let name = u32::take(input)?;
        let start = Self::from_random(name);
        if start.get() == name { Ok(start) } else { Err(input.field("start")) }
    }
}

/// What the view says of the member, it says of itself.
impl Field for Hello {
    fn put(&self, out: &mut impl Sink) {
        let Self { cluster, member, shard, view, lineage } = self;
        cluster.put(out);
        member.put(out);
        shard.put(out);
        view.put(out);
        Lineage::put(lineage, out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let (cluster, mut member) = (String::take(input)?, Member::take(input)?);
        let (shard, view) = (u16::take(input)?, View::take(input)?);
        if let Some(told) = view.members.iter().find(|told| told.id == member.id) {
            member.duties = told.duties;
        }
        Ok(Self { cluster, member, shard, view, lineage: Lineage::take(input)? })
    }
}

/// Without its duties, of which a list tells where they are not the usual ones.
impl Field for Member {
    fn put(&self, out: &mut impl Sink) {
        self.id.put(out);
        Tokens::put(&self.tokens, out);
        let Self { name, datacentre, rack, peer_address, client_address, cluster_address, .. } =
            self;
        for text in [name, datacentre, rack, peer_address, client_address, cluster_address] {
            text.put(out);
        }
        self.incarnation.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Ok(Self {
            id: NodeId::take(input)?,
            tokens: Tokens::take(input)?,
            name: String::take(input)?,
            datacentre: String::take(input)?,
            rack: String::take(input)?,
            peer_address: String::take(input)?,
            client_address: String::take(input)?,
            cluster_address: String::take(input)?,
            incarnation: Incarnation::take(input)?,
            duties: Duties::default(),
        })
    }
}

/// Bits of the byte behind the members and their numbers: what follows.
const HAS_OWNERSHIP: u8 = 1;
const HAS_DUTIES: u8 = 2;

impl Field for View {
    fn put(&self, out: &mut impl Sink) {
        self.epoch.put(out);
        self.sealed.put(out);
        Ring::put(&self.partitioner, out);
        self.replication_factor.put(out);
        self.members.put(out);
        self.numbers.put(out);
        let is_unusual = |member: &&Member| member.duties != Duties::default();
        let unusual: Vec<(NodeId, Duties)> =
            self.members.iter().filter(is_unusual).map(|it| (it.id, it.duties)).collect();
        let ownership = if self.ownership.is_some() { HAS_OWNERSHIP } else { 0 };
        let duties = if unusual.is_empty() { 0 } else { HAS_DUTIES };
        (ownership | duties).put(out);
        self.ownership.iter().for_each(|ownership| ownership.put(out));
        if !unusual.is_empty() {
            unusual.put(out);
        }
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let (epoch, sealed) = (u64::take(input)?, bool::take(input)?);
        let partitioner = Ring::take(input)?;
        let replication_factor = ReplicationFactor::take(input)?;
        let (mut members, numbers) = (Vec::<Member>::take(input)?, Numbers::take(input)?);
        let follows = u8::take(input)?;
        if follows & !(HAS_OWNERSHIP | HAS_DUTIES) != 0 {
            return Err(input.field("what a member list holds"));
        }
        let has_ownership = follows & HAS_OWNERSHIP != 0;
        let ownership = has_ownership.then(|| Ownership::take(input)).transpose()?.map(Box::new);
        if follows & HAS_DUTIES != 0 {
            for (id, duties) in Vec::<(NodeId, Duties)>::take(input)? {
                let member = members.iter_mut().find(|member| member.id == id);
                member.ok_or(input.field("duties"))?.duties = duties;
            }
        }
        Ok(Self { epoch, sealed, partitioner, replication_factor, members, numbers, ownership })
    }
}

impl Field for Duties {
    fn put(&self, out: &mut impl Sink) {
        self.weight.put(out);
        self.is_drained.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let (weight, is_drained) = (u16::take(input)?, bool::take(input)?);
        let fits = weight <= WEIGHT_MAX;
        fits.then_some(Self { weight, is_drained }).ok_or_else(|| input.field("weight"))
    }
}

impl Field for Fitness {
    fn put(&self, out: &mut impl Sink) {
        self.bits().put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Self::from_bits(u8::take(input)?).ok_or(input.field("fitness"))
    }
}

impl Field for Numbers {
    fn put(&self, out: &mut impl Sink) {
        self.given().put(out);
        self.iter().collect::<Vec<_>>().put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let given = u16::take(input)?;
        Self::from_parts(given, Vec::take(input)?).ok_or_else(|| input.field("numbers"))
    }
}

impl Field for Phase {
    fn put(&self, out: &mut impl Sink) {
        (*self as u8).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let code = u8::take(input)?;
        Self::ALL.into_iter().find(|phase| *phase as u8 == code).ok_or(input.field("phase"))
    }
}

impl Field for Phases {
    fn put(&self, out: &mut impl Sink) {
        self.runs().to_vec().put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Runs::from_runs(Vec::take(input)?).ok_or_else(|| input.field("phases"))
    }
}

impl Field for SlotMap {
    fn put(&self, out: &mut impl Sink) {
        self.runs().to_vec().put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let runs: Vec<(_, Vec<MemberNumber>)> = Vec::take(input)?;
        let runs = runs.iter().all(|(_, owners)| may_own(owners)).then_some(runs);
        runs.and_then(Runs::from_runs).ok_or_else(|| input.field("owners"))
    }
}

/// Members, each once.
struct Leaving;

impl Codec<Vec<MemberNumber>> for Leaving {
    fn put(leaving: &Vec<MemberNumber>, out: &mut impl Sink) {
        leaving.put(out);
    }

    fn take(input: &mut Input) -> Result<Vec<MemberNumber>, MessageError> {
        let leaving: Vec<MemberNumber> = Vec::take(input)?;
        let ascending = leaving.windows(2).all(|pair| pair[0] < pair[1]);
        if ascending { Ok(leaving) } else { Err(input.field("leaving")) }
    }
}

/// Starts, of which there are not too many.
struct Lineage;

impl Codec<Vec<Start>> for Lineage {
    fn put(lineage: &Vec<Start>, out: &mut impl Sink) {
        lineage.put(out);
    }

    fn take(input: &mut Input) -> Result<Vec<Start>, MessageError> {
        let lineage = Vec::take(input)?;
        if lineage.len() > LINEAGE_MAX { Err(input.field("lineage")) } else { Ok(lineage) }
    }
}
