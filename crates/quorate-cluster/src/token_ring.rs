//! Placement on a ring of tokens: which members hold a replica of which slot, where members have
//! tokens of their own.
//!
//! Each datacentre places all slots by itself, over its own members, and each rack is a ring of its
//! own: of a slot *the rack's owner* is the member with the smallest token from the slot's end on,
//! and behind the highest token the one with the lowest. No token is inside a slot, so that holds
//! for every token in it, as Dynomite has it.
//!
//! * As many replicas as racks: each rack's owner holds the slot. That is Dynomite's rule.
//! * Fewer: those racks' owners whose tokens come first, from the slot's end on. That is what one
//!   gets by walking along the ring of all tokens and passing racks that have a replica (Cassandra's
//!   NetworkTopologyStrategy).
//! * More: once every rack has a replica, each has a second one, on the next member along its ring,
//!   and so on.
//!
//! The order of preference starts with whoever's token comes first. Members of several racks may have
//! the same tokens, and then one of them would come first everywhere: so the order is turned from
//! part to part of a stretch of slots that the same members hold.
//!
//! Witnesses have no part in it. How much the others hold follows from their tokens, so there is no
//! other weight than the usual one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use quorate_proto::{
    MemberNumber, NodeId, Numbers, Partitioner, ReplicationFactor, Slot,
    duties::WEIGHT_DEFAULT,
    limits::TOKENS_MAX,
    message::{Member, View},
    ownership::SlotMap,
    partitioner::TokenRing,
    slot::SLOTS,
};

use crate::{movement::leaving, random::mix, ring::in_datacentre};

/// Why members and their tokens are no ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// There is no ring for tokens.
    #[error("node {0:?} has tokens, but the cluster has no ring; remove its tokens")]
    NoRing(String),
    /// A member owns nothing.
    #[error("node {name:?} has {count} tokens; 1 to {TOKENS_MAX}, ascending, are allowed")]
    Count {
        /// The member.
        name: String,
        /// How many it has.
        count: usize,
    },
    /// A token is inside a slot.
    #[error("token {token} of node {name:?} is inside a slot; {}", advice(.below, *.above))]
    InsideSlot {
        /// The member.
        name: String,
        /// The token.
        token: u32,
        /// The nearest possible token below it, if there is one.
        below: Option<u32>,
        /// The nearest possible one above it.
        above: u32,
    },
    /// Two members of a rack have the same tokens, so one of them owns nothing.
    #[error("nodes {0:?} and {1:?} of one rack have the same tokens; give each tokens of its own")]
    Same(String, String),
    /// A weight that would change nothing.
    #[error(
        "node {name:?} has the weight {weight}; on a ring of tokens what a node holds follows from its tokens, and \
         only {WEIGHT_DEFAULT} and 0 (a witness, without data) are allowed"
    )]
    Weight {
        /// The member.
        name: String,
        /// What it is to weigh.
        weight: u16,
    },
}

fn advice(below: &Option<u32>, above: u32) -> String {
    let nearest = match below {
        Some(below) => alloc::format!("{below} or {above}"),
        None => alloc::format!("{above}"),
    };
    alloc::format!(
        "slots never change once the cluster is made: take {nearest}, or, while it holds no data, name the token \
         in ring_tokens of all nodes"
    )
}

/// Checks the tokens of the members of a list.
pub(crate) fn check(view: &View) -> Result<(), TokensError> {
    let Some(ring) = view.partitioner.as_ring() else {
        let has_tokens = |member: &&Member| !member.tokens.is_empty();
        return match view.members.iter().find(has_tokens) {
            Some(member) => Err(TokensError::NoRing(member.name.clone())),
            None => Ok(()),
        };
    };
    let leaving = leaving(view);
    let mut known: BTreeMap<(&str, &str, &[u32]), &str> = BTreeMap::new();
    for member in &view.members {
        check_member(ring, member)?;
        let leaves = view.numbers.of(member.id).is_some_and(|number| leaving.contains(&number));
        if leaves || !member.duties.holds_data() {
            continue;
        }
        let place = (&*member.datacentre, &*member.rack, &*member.tokens);
        if let Some(other) = known.insert(place, &member.name) {
            return Err(TokensError::Same(other.into(), member.name.clone()));
        }
    }
    Ok(())
}

/// Checks the tokens and the weight of one member: a witness needs no tokens.
pub(crate) fn check_member(ring: &TokenRing, member: &Member) -> Result<(), TokensError> {
    let Member { name, tokens, duties, .. } = member;
    if ![0, WEIGHT_DEFAULT].contains(&duties.weight) {
        return Err(TokensError::Weight { name: name.clone(), weight: duties.weight });
    }
    if !duties.holds_data() && tokens.is_empty() {
        return Ok(());
    }
    check_tokens(ring, name, tokens)
}

/// Checks the tokens of a member that holds data.
pub fn check_tokens(ring: &TokenRing, name: &str, tokens: &[u32]) -> Result<(), TokensError> {
    let is_ascending = tokens.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_ascending || !(1..=TOKENS_MAX).contains(&tokens.len()) {
        return Err(TokensError::Count { name: name.into(), count: tokens.len() });
    }
    match tokens.iter().find(|token| !ring.is_end(**token)) {
        None => Ok(()),
        Some(token) => {
            let (below, above) = ring.nearest_ends(*token);
            Err(TokensError::InsideSlot { name: name.into(), token: *token, below, above })
        }
    }
}

/// Tokens of a member that was given none: `count` of them, one in each of as many equal parts of the
/// ring, anywhere in it. They follow from the name alone, so the node has the same ones at each start.
pub fn generated(ring: &TokenRing, name: &str, count: u16) -> Vec<u32> {
    let seed = name.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    let count = u64::from(count.clamp(1, TOKENS_MAX as u16));
    let begin = |part: u64| part * u64::from(SLOTS) / count;
    let tokens = (0..count).map(|part| {
        let (first, behind) = (begin(part), begin(part + 1));
        let slot = first + mix(seed ^ mix(part)) % (behind - first);
        ring.end(Slot::new(slot as u16).expect("invariant: parts are made of slots"))
    });
    tokens.collect()
}

/// Who holds every slot, of these members.
pub(crate) fn placed<'a>(
    ring: &'a TokenRing,
    members: impl IntoIterator<Item = &'a Member>,
    factor: &ReplicationFactor,
    numbers: &Numbers,
) -> SlotMap {
    let owners = Owners::new(ring, members, factor);
    let number = |id: &NodeId| numbers.of(*id).expect("invariant: who is placed is a member");
    let of_slot = owners.of_slots();
    SlotMap::of_slots(|slot| {
        of_slot[slot.index()].iter().map(number).collect::<Vec<MemberNumber>>()
    })
}

/// The members of a ring.
#[derive(Debug)]
pub struct Owners<'a> {
    ring: &'a TokenRing,
    /// By name.
    datacentres: BTreeMap<&'a str, Datacentre<'a>>,
    /// Slots that end with a token of somebody's: another set may begin behind each.
    ends: BTreeSet<Slot>,
}

#[derive(Debug)]
struct Datacentre<'a> {
    /// Replicas of each slot.
    width: usize,
    /// By name; in each the tokens of its members, ascending, those of equal ones in an order that
    /// differs from token to token.
    racks: BTreeMap<&'a str, Vec<(u32, u64, NodeId)>>,
}

impl<'a> Owners<'a> {
    /// These members on a ring, with so many replicas. Witnesses are passed over; where there is nobody
    /// else they hold everything, as long as such a list is not final.
    pub fn new(
        ring: &'a TokenRing,
        members: impl IntoIterator<Item = &'a Member>,
        factor: &ReplicationFactor,
    ) -> Self {
        let mut datacentres: BTreeMap<&str, Datacentre<'_>> = BTreeMap::new();
        let mut ends = BTreeSet::new();
        let members: Vec<&Member> = members.into_iter().collect();
        let has_holder = members.iter().any(|member| member.duties.holds_data());
        let anywhere = [ring.end(Slot::new(0).expect("invariant: the first slot"))];
        for member in members.into_iter().filter(|it| it.duties.holds_data() || !has_holder) {
            let tokens = if member.tokens.is_empty() { &anywhere[..] } else { &member.tokens };
            let width = usize::from(in_datacentre(factor, &member.datacentre));
            let empty = || Datacentre { width, racks: BTreeMap::new() };
            let datacentre = datacentres.entry(&member.datacentre).or_insert_with(empty);
            let tie = |token: u32| mix(member.id.0 as u64 ^ mix(token.into()));
            let placed = tokens.iter().map(|token| (*token, tie(*token), member.id));
            datacentre.racks.entry(&member.rack).or_default().extend(placed);
            ends.extend(tokens.iter().map(|token| ring.slot_of(*token)));
        }
        let racks = datacentres.values_mut().flat_map(|datacentre| datacentre.racks.values_mut());
        racks.for_each(|tokens| tokens.sort_unstable());
        Self { ring, datacentres, ends }
    }

    /// Those who hold each slot, in order of preference; the datacentres in the order of their names.
    pub fn of_slots(&self) -> Vec<Vec<NodeId>> {
        let mut all: Vec<Vec<NodeId>> = Vec::new();
        all.resize_with(usize::from(SLOTS), Vec::new);
        for datacentre in self.datacentres.values() {
            let mut begin = 0;
            while begin < usize::from(SLOTS) {
                let from = Slot::new(begin as u16).expect("invariant: below the number of slots");
                let last = self.ends.range(from..).next();
                let behind = last.map_or(usize::from(SLOTS), |last| last.index() + 1);
                let set = datacentre.set(self.ring.end(from));
                for (index, slot) in all[begin..behind].iter_mut().enumerate() {
                    let turn = index * set.len() / (behind - begin);
                    slot.extend(set[turn..].iter().chain(&set[..turn]));
                }
                begin = behind;
            }
        }
        all
    }
}

impl Datacentre<'_> {
    /// Those who hold the slot that ends with the token `end`, whose tokens come first before others.
    fn set(&self, end: u32) -> Vec<NodeId> {
        let mut walks: Vec<Walk<'_>> =
            self.racks.values().map(|rack| Walk::new(rack, end)).collect();
        let mut set: Vec<NodeId> = Vec::new();
        while set.len() < self.width {
            let mut found: Vec<(u32, u64, NodeId)> =
                walks.iter_mut().filter_map(|walk| walk.next(&set)).collect();
            if found.is_empty() {
                break;
            }
            found.sort_unstable();
            found.truncate(self.width - set.len());
            set.extend(found.into_iter().map(|(.., id)| id));
        }
        set
    }
}

/// A walk along the ring of a rack.
struct Walk<'a> {
    tokens: &'a [(u32, u64, NodeId)],
    /// Where it began.
    end: u32,
    first: usize,
    passed: usize,
}

impl<'a> Walk<'a> {
    fn new(tokens: &'a [(u32, u64, NodeId)], end: u32) -> Self {
        let first = tokens.partition_point(|(token, ..)| *token < end);
        Self { tokens, end, first, passed: 0 }
    }

    /// The next member that is not in `set`, with how far it is from where the walk began.
    fn next(&mut self, set: &[NodeId]) -> Option<(u32, u64, NodeId)> {
        while self.passed < self.tokens.len() {
            let (token, tie, id) = self.tokens[(self.first + self.passed) % self.tokens.len()];
            self.passed += 1;
            if !set.contains(&id) {
                return Some((token.wrapping_sub(self.end), tie, id));
            }
        }
        None
    }
}

/// The owners of every slot of a list that nothing has moved in; `None` without a ring.
pub(crate) fn of_view(view: &View, numbers: &Numbers) -> Option<SlotMap> {
    let Partitioner::Ring(ring) = &view.partitioner else { return None };
    Some(placed(ring, &view.members, &view.replication_factor, numbers))
}

#[cfg(test)]
mod tests;
