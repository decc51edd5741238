//! The data of a shard as anti-entropy rounds and repairs of reads see it.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use quorate_cluster::{
    anti_entropy::Digests,
    elements::{self, Elements},
};
use quorate_proto::{Groups, MemberNumber, Slot, message::Scope};

use quorate_store::Scan;

use super::Storage;

const _: () = assert!(elements::NAME_BITS == quorate_store::NAME_BITS);
const _: () = assert!(elements::HORIZONS_END == quorate_store::HORIZONS_END);

impl Elements for Storage {
    fn element_limits(&self) -> elements::Limits {
        self.element_limits
    }

    fn is_large(&self, slot: Slot, key: &[u8]) -> bool {
        self.store.is_larger(slot, key, self.element_limits.whole_state)
    }

    fn depends_on_all(&self, slot: Slot, key: &[u8]) -> bool {
        self.store.depends_on_all(slot, key)
    }

    fn element_count(&self, slot: Slot, key: &[u8]) -> usize {
        self.store.element_count(slot, key)
    }

    fn key_digest(&self, slot: Slot, key: &[u8], scope: Scope) -> u128 {
        match scope {
            Scope::Alive => self.store.key_digest(slot, key),
            Scope::Everything => self.store.key_version(slot, key),
        }
    }

    fn for_each_digest(
        &self,
        slot: Slot,
        key: &[u8],
        scope: Scope,
        mut each: impl FnMut(u16, u64),
    ) {
        let scan = self.scan(slot, key);
        scan.digests(scope == Scope::Everything).for_each(|(name, digest)| each(name, digest));
    }

    fn for_each_fingerprint(
        &self,
        slot: Slot,
        key: &[u8],
        wanted: impl Fn(u16) -> bool,
        each: impl FnMut(u64),
    ) {
        self.scan(slot, key).fingerprints(wanted).for_each(each);
    }

    fn export_elements(
        &self,
        slot: Slot,
        keys: &[Bytes],
        fingerprints: &[u64],
        bytes_max: usize,
    ) -> (usize, Bytes) {
        let scans: Vec<_> = keys.iter().map(|key| self.scan(slot, key)).collect();
        let (covered, effect) = self.store.export_elements(&scans, fingerprints, bytes_max);
        (covered, effect.into())
    }
}

impl Storage {
    fn scan(&self, slot: Slot, key: &[u8]) -> Arc<Scan> {
        self.scans.borrow_mut().of(&self.store, self.monotonic, slot, key)
    }

    fn digest_of_slot(&self, slot: Slot, scope: Scope) -> u128 {
        match scope {
            Scope::Alive => self.store.slot_digest(slot),
            Scope::Everything => self.store.slot_version(slot),
        }
    }

    fn is_unsettled(&self, slot: Slot) -> bool {
        self.unsettled.contains(self.monotonic, slot)
    }
}

impl Digests for Storage {
    fn groups(&self) -> Vec<u16> {
        self.owned_groups().iter().collect()
    }

    fn scope(&self) -> Scope {
        if self.incomplete { Scope::Everything } else { Scope::Alive }
    }

    fn slot_digests(&self, group: u16, peer: MemberNumber, scope: Scope) -> Vec<(Slot, u128)> {
        Slot::of_group(group)
            .filter(|slot| self.topology.is_shared(*slot, peer))
            .map(|slot| (slot, self.digest_of_slot(slot, scope)))
            .collect()
    }

    fn slot_digest(&self, slot: Slot, peer: MemberNumber, scope: Scope) -> Option<u128> {
        let is_compared = self.topology.is_shared(slot, peer) && !self.is_unsettled(slot);
        is_compared.then(|| self.digest_of_slot(slot, scope))
    }

    fn for_each_key(
        &self,
        slot: Slot,
        wanted: impl Fn(&[u8]) -> bool,
        mut each: impl FnMut(&[u8], u128),
    ) {
        let keys = self.store.key_versions(slot, wanted);
        keys.for_each(|(key, digest)| each(key, digest));
    }

    fn export_keys(&self, slot: Slot, keys: &[Bytes], bytes_max: usize) -> (usize, Bytes) {
        let mut states = Vec::new();
        for (covered, key) in keys.iter().enumerate() {
            if covered > 0 && states.len() >= bytes_max {
                return (covered, states.into());
            }
            self.store.export(slot, key, &mut states);
        }
        (keys.len(), states.into())
    }

    fn merge_states(&mut self, slot: Slot, states: &Bytes) -> Option<Bytes> {
        // Asked for before a large write began.
        if self.is_unsettled(slot) {
            return None;
        }
        let (_, refutation) = self.merge_effect(slot, states).ok()?;
        Some(refutation.into())
    }

    fn begin_epoch(&mut self) -> u32 {
        self.store.begin_epoch()
    }

    fn dirty(&self, peer: MemberNumber) -> Groups {
        // What hints bring need not travel twice.
        let drained = self.hints_for(peer).is_none();
        let lacking = || self.dirty_groups(peer).union(self.unlevel(peer));
        if drained { lacking() } else { Groups::NONE }
    }

    fn other_replicas(&self, group: u16) -> Vec<MemberNumber> {
        let me = self.topology.me();
        let replicas = Slot::of_group(group).flat_map(|slot| self.topology.replicas(slot).iter());
        let others: BTreeSet<MemberNumber> = replicas.copied().filter(|node| *node != me).collect();
        others.into_iter().collect()
    }

    fn clock_ms(&self) -> u64 {
        let vouches = !self.incomplete && !self.is_in_doubt() && !self.hints.is_pending();
        if vouches { self.wall_ms } else { 0 }
    }

    fn floor_ms(&self, group: u16) -> u64 {
        self.store.floor(group)
    }
}
