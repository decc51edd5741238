//! What completed rounds prove: up to when a replica holds everything, and which tombstones
//! no replica needs any more.
//!
//! A round exchanges everything that one of two nodes held when it began. So a replica that has
//! completed one with every other replica of a group holds all that was written before the first
//! of them began, by the clock of whoever wrote it: that moment, less a margin for messages that
//! were on their way, is its *floor* (from there down, what is absent was removed).
//!
//! ```text
//!   peer 1   --[round, begun at 100]-----------------[round, begun at 130]--
//!   peer 2   ------------[round, begun at 112]---------------
//!   floor                               100 - margin            112 - margin
//! ```
//! A tombstone may go once a round with every other replica began after it was made, for then none
//! of them holds what it removed, and once its stamp is below the floors of all, for then all
//! refuse that should it come late. A node with hints for others vouches for nothing: they may be
//! late.
//!
//! The proofs about a peer end when its link does: should it come back with less than it had, what
//! it says in the next round counts.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use quorate_proto::{MemberNumber, message::Settlement, mutant::Mutant};

use super::Digests;
use crate::{peer_map::PeerMap, time::Instant};

/// When tombstones may go, besides what rounds prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long tombstones are kept at least, for those who do not take part in rounds.
    pub tombstones: Duration,
    /// Longer than any write is on its way and is still acknowledged.
    pub margin: Duration,
}

/// What is proved about a group of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The group.
    pub group: u16,
    /// This node holds everything that is dated up to here, in milliseconds since the Unix epoch.
    pub floor_ms: u64,
    /// Tombstones of earlier epochs may go,
    pub before_epoch: u32,
    /// when they are dated up to here.
    pub forget_ms: u64,
}

/// What the last completed round with one peer has shown.
#[derive(Debug)]
struct Proof {
    /// The epoch that began with the round.
    epoch: u32,
    /// The least clock that the peer told in the round.
    clock_ms: u64,
    /// The peer's floors.
    floors: Vec<(u16, u64)>,
}

/// What a round that is under way has shown so far.
#[derive(Debug)]
pub(super) struct Evidence {
    epoch: u32,
    clock_ms: u64,
    floors: Vec<(u16, u64)>,
}

impl Evidence {
    pub(super) fn new(epoch: u32) -> Self {
        Self { epoch, clock_ms: u64::MAX, floors: Vec::new() }
    }

    /// The peer has told how far it is with a group.
    pub(super) fn add(&mut self, group: u16, settlement: Settlement) {
        self.clock_ms = self.clock_ms.min(settlement.clock_ms);
        self.floors.push((group, settlement.floor_ms));
    }
}

/// The proofs about every peer.
#[derive(Debug)]
pub(super) struct Settling {
    retention: Retention,
    proofs: PeerMap<Proof>,
    /// Epochs and when they began, from the newest that is old enough on.
    epochs: VecDeque<(u32, Instant)>,
}

impl Settling {
    pub(super) fn new(retention: Retention) -> Self {
        Self { retention, proofs: PeerMap::new(), epochs: VecDeque::new() }
    }

    pub(super) fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// A round begins, and with it an epoch.
    pub(super) fn epoch_begun(&mut self, now: Instant, epoch: u32) {
        self.epochs.push_back((epoch, now));
    }

    /// A round with `peer` has exchanged everything.
    pub(super) fn round_completed(&mut self, peer: MemberNumber, evidence: Evidence) {
        let Evidence { epoch, clock_ms, floors } = evidence;
        self.proofs.insert(peer, Proof { epoch, clock_ms, floors });
    }

    /// What was proved about `peer` may no longer hold.
    pub(super) fn peer_lost(&mut self, peer: MemberNumber) {
        self.proofs.remove(peer);
    }

    /// The replicas of slots are others.
    pub(super) fn forget_proofs(&mut self) {
        self.proofs = PeerMap::new();
    }

    /// The newest epoch whose beginning is old enough for the tombstones made before it to go.
    fn old_enough(&mut self, now: Instant) -> u32 {
        let is_old = |began: Instant| began + self.retention.tombstones <= now;
        while self.epochs.get(1).is_some_and(|(_, began)| is_old(*began)) {
            self.epochs.pop_front();
        }
        self.epochs.front().filter(|(_, began)| is_old(*began)).map_or(0, |(epoch, _)| *epoch)
    }

    /// What is proved about every group now.
    pub(super) fn settled(&mut self, now: Instant, digests: &impl Digests) -> Vec<Settled> {
        let old_enough = self.old_enough(now);
        let margin_ms = self.retention.margin.as_millis() as u64;
        let own_ms = digests.clock_ms();
        let groups = digests.groups().into_iter();
        let settled = groups.filter_map(|group| {
            let replicas = digests.other_replicas(group);
            let proofs = replicas.iter().map(|peer| self.proofs.get(*peer));
            if Mutant::TombstonesForgottenByAge.is_planted() {
                let floor_ms = digests.floor_ms(group);
                return Some(Settled {
                    group,
                    floor_ms,
                    before_epoch: old_enough,
                    forget_ms: own_ms,
                });
            }
            let proofs: Vec<&Proof> = proofs.collect::<Option<_>>()?;
            let clocks = proofs.iter().map(|proof| proof.clock_ms);
            let floor_ms = clocks.fold(own_ms, u64::min).saturating_sub(margin_ms);
            let floor_ms = floor_ms.max(digests.floor_ms(group));
            let epochs = proofs.iter().map(|proof| proof.epoch);
            let floors = proofs.iter().map(|proof| proof.floor_of(group));
            let forget_ms = floors.fold(floor_ms, u64::min);
            let before_epoch = epochs.fold(old_enough, u32::min);
            Some(Settled { group, floor_ms, before_epoch, forget_ms })
        });
        settled.collect()
    }
}

impl Proof {
    fn floor_of(&self, group: u16) -> u64 {
        let of_group = self.floors.iter().find(|(other, _)| *other == group);
        of_group.map_or(0, |(_, floor_ms)| *floor_ms)
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Groups, Slot, message::Scope, slot::GROUPS};

    use super::*;
    use crate::elements::{Elements, Limits};

    const GRACE: Duration = Duration::from_secs(60);
    const MARGIN: Duration = Duration::from_secs(10);

    /// A replica of all slots beside nodes 1 and 2.
    struct Replica {
        clock_ms: u64,
        floor_ms: u64,
    }

    impl Elements for Replica {
        fn depends_on_all(&self, _slot: Slot, _key: &[u8]) -> bool {
            false
        }

        fn element_limits(&self) -> Limits {
            Limits::DEFAULT
        }
        fn is_large(&self, _: Slot, _: &[u8]) -> bool {
            false
        }
        fn element_count(&self, _: Slot, _: &[u8]) -> usize {
            0
        }
        fn key_digest(&self, _: Slot, _: &[u8], _: Scope) -> u128 {
            0
        }
        fn for_each_digest(&self, _: Slot, _: &[u8], _: Scope, _: impl FnMut(u16, u64)) {}
        fn for_each_fingerprint(
            &self,
            _: Slot,
            _: &[u8],
            _: impl Fn(u16) -> bool,
            _: impl FnMut(u64),
        ) {
        }
        fn export_elements(
            &self,
            _: Slot,
            _: &[bytes::Bytes],
            _: &[u64],
            _: usize,
        ) -> (usize, bytes::Bytes) {
            Default::default()
        }
    }

    impl Digests for Replica {
        fn groups(&self) -> Vec<u16> {
            (0..GROUPS).collect()
        }
        fn scope(&self) -> Scope {
            Scope::Alive
        }
        fn slot_digests(&self, _: u16, _: MemberNumber, _: Scope) -> Vec<(Slot, u128)> {
            Vec::new()
        }
        fn slot_digest(&self, _: Slot, _: MemberNumber, _: Scope) -> Option<u128> {
            None
        }
        fn for_each_key(&self, _: Slot, _: impl Fn(&[u8]) -> bool, _: impl FnMut(&[u8], u128)) {}
        fn export_keys(&self, _: Slot, _: &[bytes::Bytes], _: usize) -> (usize, bytes::Bytes) {
            Default::default()
        }
        fn merge_states(&mut self, _: Slot, _: &bytes::Bytes) -> Option<bytes::Bytes> {
            None
        }
        fn begin_epoch(&mut self) -> u32 {
            0
        }
        fn dirty(&self, _: MemberNumber) -> Groups {
            Groups::NONE
        }
        fn other_replicas(&self, _: u16) -> Vec<MemberNumber> {
            alloc::vec![MemberNumber(1), MemberNumber(2)]
        }
        fn clock_ms(&self) -> u64 {
            self.clock_ms
        }
        fn floor_ms(&self, _: u16) -> u64 {
            self.floor_ms
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn settling() -> Settling {
        Settling::new(Retention { tombstones: GRACE, margin: MARGIN })
    }

    /// A whole round in which the peer tells these clock and floor for every group.
    fn round(settling: &mut Settling, second: u64, epoch: u32, peer: u16, told: (u64, u64)) {
        settling.epoch_begun(at(second), epoch);
        let mut evidence = Evidence::new(epoch);
        let (clock_ms, floor_ms) = told;
        (0..GROUPS).for_each(|group| evidence.add(group, Settlement { clock_ms, floor_ms }));
        settling.round_completed(MemberNumber(peer), evidence);
    }

    fn of_group_3(settling: &mut Settling, second: u64, clock_ms: u64) -> Option<Settled> {
        let settled = settling.settled(at(second), &Replica { clock_ms, floor_ms: 7_000 });
        settled.into_iter().find(|settled| settled.group == 3)
    }

    #[test]
    fn nothing_is_proved_before_a_round_with_every_replica() {
        let mut settling = settling();
        round(&mut settling, 0, 1, 1, (100_000, 50_000));
        assert_eq!(of_group_3(&mut settling, 1, 101_000), None);
        round(&mut settling, 2, 2, 2, (102_000, 40_000));
        let settled = of_group_3(&mut settling, 3, 103_000).expect("is proved");
        assert_eq!((settled.floor_ms, settled.forget_ms), (90_000, 40_000));
        settling.peer_lost(MemberNumber(1));
        assert_eq!(of_group_3(&mut settling, 4, 104_000), None);
    }

    #[test]
    fn the_slowest_clock_counts_and_floors_never_fall() {
        let mut settling = settling();
        round(&mut settling, 0, 1, 1, (100_000, 0));
        round(&mut settling, 1, 2, 2, (300_000, 0));
        let floor = |settling: &mut Settling, own| {
            of_group_3(settling, 2, own).expect("is proved").floor_ms
        };
        assert_eq!(floor(&mut settling, 200_000), 90_000);
        assert_eq!(floor(&mut settling, 60_000), 50_000, "our own clock is behind");
        // Somebody vouches for nothing.
        round(&mut settling, 2, 3, 1, (0, 0));
        assert_eq!(floor(&mut settling, 200_000), 7_000);
    }

    #[test]
    fn tombstones_wait_for_a_later_round_with_everybody_and_for_their_time() {
        let mut settling = settling();
        let before = |settling: &mut Settling, second| {
            of_group_3(settling, second, 1_000_000).expect("is proved").before_epoch
        };
        round(&mut settling, 0, 1, 1, (1_000_000, 0));
        round(&mut settling, 20, 2, 2, (1_000_000, 0));
        assert_eq!(before(&mut settling, 59), 0, "too young");
        assert_eq!(before(&mut settling, 60), 1);
        round(&mut settling, 61, 3, 1, (1_000_000, 0));
        assert_eq!(before(&mut settling, 79), 1);
        assert_eq!(before(&mut settling, 80), 2);
        assert_eq!(before(&mut settling, 500), 2, "node 2 has not heard of later ones");
        assert_eq!(settling.epochs.len(), 1, "what is old is not kept");
    }
}
