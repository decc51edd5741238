//! What is known of one node.

use alloc::vec::Vec;

use quorate_proto::{
    NodeId,
    message::{Delta, Digest, Entry},
};

use super::arrivals::Arrivals;
use crate::{
    limits::{GOSSIP_TOPICS_MAX, GOSSIP_VALUE_MAX, GOSSIP_VERSION_MAX},
    time::Instant,
};

/// Whether a node seems to be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It shows that it is, or there was no time yet to find out.
    Up,
    /// It is overdue, and others are asked about it.
    Suspected {
        /// Until when they may answer.
        until: Instant,
    },
    /// It is overdue, and nobody who was asked could tell that it is alive.
    Down {
        /// Since when.
        since: Instant,
    },
}

/// A node of which others may tell, and what it has said of itself.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its latest start that is known, zero for none.
    pub(super) generation: u64,
    /// How often it has shown since that it is alive.
    pub(super) beat: u64,
    /// In ascending order of their versions, one for each topic.
    entries: Vec<Entry>,
    /// Up to which version all is known.
    pub(super) version: u64,
    pub(super) health: Health,
    pub(super) arrivals: Arrivals,
    /// Nothing is told of it until it shows that it is alive.
    pub(super) is_forgotten: bool,
}

impl Record {
    /// A node of which nothing is known.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            generation: 0,
            beat: 0,
            entries: Vec::new(),
            version: 0,
            health: Health::Up,
            arrivals: Arrivals::new(now),
            is_forgotten: false,
        }
    }

    pub(super) fn value(&self, topic: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.topic == topic)
    }

    /// How much is known, for others; `None` if nothing is told of it.
    pub(super) fn digest(&self, id: NodeId) -> Option<Digest> {
        let Self { generation, beat, version, .. } = *self;
        let is_told = generation > 0 && !self.is_forgotten;
        is_told.then_some(Digest { id, generation, beat, version })
    }

    /// How many entries somebody lacks who knows as much as `theirs` tells.
    pub(super) fn lacking(&self, theirs: Option<&Digest>) -> usize {
        let since = self.since(theirs);
        if self.is_forgotten || theirs.is_some_and(|theirs| theirs.generation > self.generation) {
            return 0;
        }
        self.entries.iter().filter(|entry| entry.version > since).count()
    }

    /// The version after which somebody lacks all who knows as much as `theirs` tells.
    fn since(&self, theirs: Option<&Digest>) -> u64 {
        let same = theirs.filter(|theirs| theirs.generation == self.generation);
        same.map_or(0, |theirs| theirs.version)
    }

    /// What they lack, oldest first, in at most `room` bytes, and what it takes.
    pub(super) fn delta(
        &self,
        id: NodeId,
        theirs: Option<&Digest>,
        room: usize,
    ) -> Option<(Delta, usize)> {
        let since = self.since(theirs);
        let mut bytes = DELTA_BYTES;
        let lacking = self.entries.iter().filter(|entry| entry.version > since);
        let fitting = lacking.take_while(|entry| {
            bytes += ENTRY_BYTES + entry.value.len();
            bytes <= room
        });
        let entries: Vec<Entry> = fitting.cloned().collect();
        let taken = DELTA_BYTES
            + entries.iter().map(|entry| ENTRY_BYTES + entry.value.len()).sum::<usize>();
        let Self { generation, beat, .. } = *self;
        let delta = Delta { id, generation, beat, since, entries };
        (!delta.entries.is_empty()).then_some((delta, taken))
    }

    /// Says something: about a new topic, or something new about one.
    pub(super) fn put(&mut self, entry: Entry) {
        self.version = self.version.max(entry.version);
        self.entries.retain(|known| known.topic != entry.topic);
        self.entries.push(entry);
    }

    /// Everything that is known is said again from version 1 on.
    pub(super) fn renumber(&mut self) {
        self.version = 0;
        for entry in &mut self.entries {
            self.version += 1;
            entry.version = self.version;
        }
    }

    /// Another start of the node: what the one before said is void.
    pub(super) fn begin(&mut self, generation: u64) {
        self.generation = generation;
        (self.beat, self.version) = (0, 0);
        self.entries.clear();
    }

    /// The node is dead for so long that all that is remembered is what would be a new sign of life.
    pub(super) fn forget(&mut self) {
        (self.entries, self.version) = (Vec::new(), 0);
        self.is_forgotten = true;
    }
}

/// Whether a delta can be one that a node has made.
pub(super) fn is_well_formed(delta: &Delta) -> bool {
    let versions = delta.entries.iter().map(|entry| entry.version);
    let mut last = delta.since;
    delta.entries.len() <= GOSSIP_TOPICS_MAX
        && delta.generation > 0
        && delta.beat <= GOSSIP_VERSION_MAX
        && delta.entries.iter().all(|entry| entry.value.len() <= GOSSIP_VALUE_MAX)
        && versions.into_iter().all(|version| {
            let ascends = version > last && version <= GOSSIP_VERSION_MAX;
            last = version;
            ascends
        })
}

/// Bytes of an encoded digest, of a delta without entries, and of an entry without its value.
pub(super) const DIGEST_BYTES: usize = 40;
const DELTA_BYTES: usize = 44;
const ENTRY_BYTES: usize = 14;

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, vec};

    use bytes::Bytes;
    use quorate_proto::message::{Gossip, GossipStep, Message};

    use super::*;

    #[test]
    fn sizes_are_those_of_the_encoding() {
        let length = |digests: usize, deltas: usize, entries: usize| {
            let entry = Entry { topic: 1, version: 1, value: Bytes::from_static(b"abc") };
            let entries = vec![entry; entries];
            let delta = Delta { id: NodeId(1), generation: 1, beat: 1, since: 0, entries };
            let digest = Digest { id: NodeId(1), generation: 1, beat: 1, version: 1 };
            let (digests, deltas) = (vec![digest; digests], vec![delta; deltas]);
            let gossip = Gossip { step: GossipStep::Open, digests, deltas };
            Message::Gossip(Box::new(gossip)).body_length()
        };
        let none = length(0, 0, 0);
        assert_eq!(length(1, 0, 0) - none, DIGEST_BYTES);
        assert_eq!(length(0, 1, 0) - none, DELTA_BYTES);
        assert_eq!(length(0, 1, 1) - length(0, 1, 0), ENTRY_BYTES + 3);
    }
}
