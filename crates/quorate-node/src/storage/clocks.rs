//! The data of a shard as anti-entropy by clocks sees it.

use bytes::Bytes;
use quorate_cluster::{
    clocks::{Holdings, Knowledge},
    coordinator::Replica as _,
};
use quorate_proto::{Dot, MemberNumber, Slot};

use super::Storage;

impl Holdings for Storage {
    fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    fn knowledge_mut(&mut self) -> &mut Knowledge {
        &mut self.knowledge
    }

    fn is_shared(&self, slot: Slot, peer: MemberNumber) -> bool {
        self.owner(slot) == self.shard && self.topology.is_shared(slot, peer)
    }

    fn is_complete(&self) -> bool {
        !self.incomplete
    }

    fn merge_dotted(&mut self, slot: Slot, dots: Vec<Dot>, effect: &Bytes) -> bool {
        self.merge_now(slot, dots, effect).is_ok()
    }

    fn shards(&self) -> u16 {
        self.shards
    }

    fn groups(&self) -> Vec<u16> {
        self.owned_groups().iter().collect()
    }
}
