//! What stands in `node.json`:
//!
//! ```text
//! {
//!   "checksum": "<CRC-32C of all that follows this line, 8 hexadecimal digits>",
//!   "format": 4,
//!   ...
//! }
//! ```

use std::collections::BTreeMap;

use quorate_cluster::{membership::Persisted, random::Random};
use quorate_proto::{
    Duties, Incarnation, MemberNumber, NodeId, Numbers, Partitioner, ReplicationFactor, Start,
    checksum::crc32c,
    duties::{WEIGHT_DEFAULT, WEIGHT_MAX},
    limits::LINEAGE_MAX,
    message::{Member, View},
    mutant::Mutant,
};
use serde::{Deserialize, Serialize};

use super::{ownership::OwnershipRecord, voting::VotingRecord};

/// Version of the file's format.
const FORMAT: u32 = 4;

/// The version of a file that says who owns which slots, or what the node has voted, which those
/// before would not go by.
const OWNED_FORMAT: u32 = 5;

/// The version of a file that has a number of replicas for each datacentre.
const FACTORS_FORMAT: u32 = 6;

/// The version of a file that says what members take on, where that is not the usual, or of a ring,
/// which the versions before would take for slots.
const DUTIES_FORMAT: u32 = 7;

/// The version before, which has no checksum and is read too.
const UNCHECKED_FORMAT: u32 = 3;

/// How a file begins that has a checksum.
const CHECKED: &str = "{\n  \"checksum\": \"";

/// The contents of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    /// In hexadecimal.
    pub(super) id: String,
    pub(super) name: String,
    /// How often the node has lost everything, its identity too, and has taken its seat again.
    #[serde(default)]
    pub(super) life: u16,
    /// This start, drawn anew every time.
    pub(super) start: u32,
    /// The starts before it in this life, the newest last.
    pub(super) lineage: Vec<u32>,
    /// Identity of the logs, in hexadecimal, where that is not the node's.
    #[serde(default)]
    pub(super) log_id: Option<String>,
    /// Shards whose logs are in the directory, and the generation of those logs; zero before there
    /// are any.
    pub(super) shards: u16,
    pub(super) generation: u64,
    /// Whether acknowledged data was lost and has not come back from the peers yet.
    #[serde(default)]
    pub(super) incomplete: bool,
    /// The boot of the machine at the last start.
    #[serde(default)]
    pub(super) boot: Option<String>,
    /// Whether the last process has synced everything and stopped.
    #[serde(default)]
    pub(super) clean: bool,
    /// Whether a loss of power takes what the last process has acknowledged.
    #[serde(default = "unknown")]
    pub(super) unsynced: bool,
    pub(super) cluster: Option<ClusterRecord>,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    name: String,
    epoch: u64,
    sealed: bool,
    /// `None` for slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ring: Option<RingRecord>,
    replication_factor: FactorRecord,
    /// Member numbers that were given so far: all below this.
    numbers_given: u16,
    members: Vec<MemberRecord>,
    /// Once it was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ownership: Option<OwnershipRecord>,
    /// Once this node has been asked for its vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    voting: Option<VotingRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MemberRecord {
    id: String,
    /// Once the list is sealed.
    number: Option<u16>,
    name: String,
    datacentre: String,
    rack: String,
    /// On the ring, if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<u32>,
    peer_address: String,
    client_address: String,
    cluster_address: String,
    /// The latest process that was met.
    life: u16,
    start: u32,
    previous: u32,
    /// What it is to take on, where that is not the usual.
    #[serde(default = "usual_weight", skip_serializing_if = "is_usual_weight")]
    weight: u16,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    drained: bool,
}

const fn usual_weight() -> u16 {
    WEIGHT_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_usual_weight(weight: &u16) -> bool {
    *weight == WEIGHT_DEFAULT
}

/// How keys get their slots on a ring.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RingRecord {
    hash: String,
    /// Two bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash_tag: Option<[u8; 2]>,
    /// Tokens that slots end at.
    cuts: Vec<u32>,
}

impl RingRecord {
    fn new(partitioner: &Partitioner) -> Option<Self> {
        let ring = partitioner.as_ring()?;
        let (hash, hash_tag) = (ring.hash().name().to_owned(), ring.hash_tag());
        Some(Self { hash, hash_tag, cuts: ring.cuts().to_vec() })
    }

    /// `None` when it is not possible.
    fn partitioner(&self) -> Option<Partitioner> {
        Partitioner::ring(self.hash.parse().ok()?, self.hash_tag, &self.cuts).ok()
    }
}

/// How many replicas each datacentre has: a number, or a number for each by its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum FactorRecord {
    Everywhere(u16),
    ByDatacentre(BTreeMap<String, u16>),
}

impl FactorRecord {
    fn new(factor: ReplicationFactor) -> Self {
        match factor {
            ReplicationFactor::Everywhere(factor) => Self::Everywhere(factor),
            ReplicationFactor::ByDatacentre(factors) => Self::ByDatacentre(factors),
        }
    }

    /// `None` when it is not possible.
    fn factor(&self) -> Option<ReplicationFactor> {
        match self {
            Self::Everywhere(factor) => Some((*factor).into()),
            Self::ByDatacentre(factors) => ReplicationFactor::by_datacentre(factors.clone()).ok(),
        }
    }
}

/// What a file says that does not say whether anything may be unsynced.
const fn unknown() -> bool {
    true
}

impl Record {
    /// The record of a new node.
    pub(super) fn new(name: Option<&str>, id: u128, start: u32) -> Self {
        let id = NodeId(id).to_string();
        let name = name.map_or_else(|| format!("node-{}", &id[..8]), str::to_owned);
        Self {
            format: FORMAT,
            id,
            name,
            life: 0,
            start,
            lineage: Vec::new(),
            log_id: None,
            shards: 0,
            generation: 0,
            incomplete: false,
            boot: None,
            clean: false,
            unsynced: false,
            cluster: None,
        }
    }

    /// The contents of the file, or what is wrong with them.
    pub(super) fn parse(contents: &[u8]) -> Result<Self, String> {
        let explain = |error: serde_json::Error| error.to_string();
        let is_checked = contents.starts_with(CHECKED.as_bytes());
        if is_checked {
            let parts = contents.split_at_checked(head(&[]).len());
            let is_whole = parts.is_some_and(|(found, rest)| found == head(rest).as_bytes());
            is_whole.then_some(()).ok_or("its checksum is not that of its contents")?;
        }
        let Format { format } = serde_json::from_slice(contents).map_err(explain)?;
        match (format, is_checked) {
            (FORMAT..=DUTIES_FORMAT, true) | (UNCHECKED_FORMAT, false) => {}
            (FORMAT..=DUTIES_FORMAT, false) => return Err("its checksum is missing".into()),
            _ => {
                return Err(format!(
                    "it has format {format}, and this version reads {UNCHECKED_FORMAT} to {DUTIES_FORMAT}; take \
                     a backup with the version that wrote it, and restore that"
                ));
            }
        }
        let record: Self = serde_json::from_slice(contents).map_err(explain)?;
        let record = Self { format: FORMAT, ..record };
        parse_id(&record.id).ok_or("its id is no id")?;
        if let Some(cluster) = &record.cluster {
            cluster.replication_factor.factor().ok_or("its replication factor is not possible")?;
            if cluster.members.iter().any(|member| member.weight > WEIGHT_MAX) {
                return Err(format!("the weight of a member is above {WEIGHT_MAX}"));
            }
            let ring = cluster.ring.as_ref().map(RingRecord::partitioner);
            ring.is_none_or(|ring| ring.is_some())
                .then_some(())
                .ok_or("its ring is not possible")?;
            cluster.numbers().ok_or("two members have the same number, or one was never given")?;
            let owned = cluster.ownership.as_ref().map(OwnershipRecord::ownership);
            if owned.is_some_and(|ownership| ownership.is_none()) {
                return Err("the owners of the slots are not possible".into());
            }
            let voted = cluster.voting.as_ref().map(VotingRecord::state);
            if voted.is_some_and(|state| state.is_none()) {
                return Err("what it has promised and accepted as a voter is not possible".into());
            }
        }
        Ok(record)
    }

    /// The contents of the file.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        let format = self.cluster.as_ref().map_or(FORMAT, ClusterRecord::format);
        let text = serde_json::to_string_pretty(&Self { format, ..self.clone() })?;
        let rest = text.trim_start_matches("{\n");
        Ok(head(rest.as_bytes()) + rest)
    }

    /// What another start makes of it.
    pub(super) fn started_again(mut self, random: &mut Random) -> Self {
        if Mutant::OriginReused.is_planted() {
            return self;
        }
        self.lineage.push(self.start);
        let surplus = self.lineage.len().saturating_sub(LINEAGE_MAX);
        self.lineage.drain(..surplus);
        Self { start: draw(random, &self.lineage), ..self }
    }
}

impl ClusterRecord {
    /// The oldest version that a file with this in it can have.
    fn format(&self) -> u32 {
        let is_usual = |member: &MemberRecord| is_usual_weight(&member.weight) && !member.drained;
        if self.ring.is_some() || !self.members.iter().all(is_usual) {
            return DUTIES_FORMAT;
        }
        match (&self.replication_factor, &self.ownership, &self.voting) {
            (FactorRecord::ByDatacentre(_), ..) => FACTORS_FORMAT,
            (_, Some(_), _) | (_, _, Some(_)) => OWNED_FORMAT,
            (FactorRecord::Everywhere(_), None, None) => FORMAT,
        }
    }

    pub(super) fn new(persisted: Persisted) -> Self {
        let Persisted { cluster, view, voting } = persisted;
        let (numbers, ownership) = (view.numbers, view.ownership);
        let members = view.members.into_iter().map(|member| MemberRecord {
            id: member.id.to_string(),
            number: numbers.of(member.id).map(|number| number.0),
            name: member.name,
            datacentre: member.datacentre,
            rack: member.rack,
            tokens: member.tokens,
            peer_address: member.peer_address,
            client_address: member.client_address,
            cluster_address: member.cluster_address,
            life: member.incarnation.life,
            start: member.incarnation.start.get(),
            previous: member.incarnation.previous.get(),
            weight: member.duties.weight,
            drained: member.duties.is_drained,
        });
        Self {
            name: cluster,
            epoch: view.epoch,
            sealed: view.sealed,
            ring: RingRecord::new(&view.partitioner),
            replication_factor: FactorRecord::new(view.replication_factor),
            numbers_given: numbers.given(),
            members: members.collect(),
            ownership: ownership.map(|ownership| OwnershipRecord::new(&ownership)),
            voting: voting.as_ref().map(VotingRecord::new),
        }
    }

    /// What the membership remembers; `None` when the numbers of the members, or the
    /// owners of slots, are not possible.
    pub(super) fn persisted(&self) -> Option<Persisted> {
        let members = self.members.iter().filter_map(|member| {
            Some(Member {
                id: parse_id(&member.id)?,
                name: member.name.clone(),
                datacentre: member.datacentre.clone(),
                rack: member.rack.clone(),
                tokens: member.tokens.clone(),
                peer_address: member.peer_address.clone(),
                client_address: member.client_address.clone(),
                cluster_address: member.cluster_address.clone(),
                incarnation: incarnation(member.life, member.start, member.previous),
                duties: Duties { weight: member.weight, is_drained: member.drained },
            })
        });
        Some(Persisted {
            cluster: self.name.clone(),
            view: View {
                epoch: self.epoch,
                sealed: self.sealed,
                partitioner: match &self.ring {
                    Some(record) => record.partitioner()?,
                    None => Partitioner::Slots,
                },
                replication_factor: self.replication_factor.factor()?,
                members: members.collect(),
                numbers: self.numbers()?,
                ownership: match &self.ownership {
                    Some(record) => Some(Box::new(record.ownership()?)),
                    None => None,
                },
            },
            voting: match &self.voting {
                Some(record) => Some(record.state()?),
                None => None,
            },
        })
    }

    /// The numbers of the members; `None` when they are not possible.
    fn numbers(&self) -> Option<Numbers> {
        let numbered = self
            .members
            .iter()
            .filter_map(|member| Some((parse_id(&member.id)?, MemberNumber(member.number?))));
        Numbers::from_parts(self.numbers_given, numbered)
    }
}

/// The beginning of a file, up to what its checksum is over.
fn head(rest: &[u8]) -> String {
    format!("{CHECKED}{:08x}\",\n", crc32c(rest))
}

/// A start that is none of the earlier ones that are known.
pub(super) fn draw(random: &mut Random, lineage: &[u32]) -> u32 {
    loop {
        let start = Start::from_random(random.next_u64() as u32);
        if start != Start::NONE && !lineage.contains(&start.get()) {
            return start.get();
        }
    }
}

pub(super) fn incarnation(life: u16, start: u32, previous: u32) -> Incarnation {
    let [start, previous] = [start, previous].map(Start::from_random);
    Incarnation { life, start, previous }
}

pub(super) fn parse_id(text: &str) -> Option<NodeId> {
    u128::from_str_radix(text, 16).ok().map(NodeId)
}
