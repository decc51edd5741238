//! Introductions, member lists, claims and heartbeats.

use alloc::{string::String, vec::Vec};

use super::{
    super::{Claim, EmptySeat, Heartbeat, Hello, Member, View},
    Codec, Field, Input, MessageError, Optional, Plain, Sink, codec_of, record,
};
use crate::{
    Fitness, Incarnation, MemberNumber, NodeId, Numbers, ReplicationFactor, Start,
    limits::LINEAGE_MAX,
    ownership::{Movement, Ownership, Phase, Phases, Runs, SlotMap, may_own},
};

record!(Hello { cluster, member, shard, view, lineage as Lineage });
record!(Member {
    id,
    name,
    datacentre,
    rack,
    peer_address,
    client_address,
    cluster_address,
    incarnation
});
record!(Incarnation { life, start, previous });
record!(Claim { seat, incarnation, empty });
record!(EmptySeat { seat, life, newcomer });
record!(View { epoch, sealed, replication_factor, members, numbers, ownership as Optional });
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
