//! Slots that come to this node and go from it, as another topology says.
//!
//! ```text
//!   comes   what is left of an earlier time here is dropped, the floor of its group forgotten;
//!           anti-entropy rounds fill it, and clients are served once the topology says so
//!   goes    kept until every request is over that may have begun before, then dropped: first in
//!           the log, so that a restart does not bring it back, then in memory, some keys a turn
//! ```
//! A slot goes only once the topology says that it has moved, and that is decided when rounds have
//! made each new owner level with this one (`quorate_cluster::movement`). It is not asked again.

use std::{collections::BTreeSet, sync::Arc};

use quorate_cluster::{peer_map::PeerMap, time::Instant, topology::Topology};
use quorate_proto::{Groups, MemberNumber, Slot, mutant::Mutant};

use super::{HintTerms, Storage, forgetting::Forgetting, record::write_discarded};
use crate::limits;

/// What of the slots of a shard is on its way.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// Groups that this node is to make level with a peer, in the present epoch.
    wanted: PeerMap<Groups>,
    /// Groups of which this node and a peer have what either of them had at a moment of the present
    /// epoch.
    level: PeerMap<Groups>,
    /// Slots of others that are still here.
    foreign: BTreeSet<Slot>,
    /// When these may go; not before somebody has looked at the time.
    discard_at: Option<Instant>,
    is_due: bool,
    /// Whether what is level has been told.
    is_told: bool,
}

impl Storage {
    /// What this shard is to do of a movement that was under way when it started.
    pub(super) fn begin_moving(&mut self) {
        let topology = Arc::clone(&self.topology);
        if topology.ownership().is_none() {
            return;
        }
        self.moving.wanted = topology.to_be_level();
        // What lies below a floor of before may not have come yet.
        for slot in Slot::all().filter(|slot| topology.is_newcomer(*slot)) {
            self.store.drop_floor(slot.group());
        }
        let is_foreign = |slot: &Slot| !topology.is_replica(*slot, topology.me());
        let foreign = Slot::all().filter(is_foreign).filter(|slot| self.store.holds_any(*slot));
        self.moving.foreign = foreign.collect();
    }

    /// Adopts another topology. Stamps, dots, hints and marks go by the numbers of members, which
    /// stay. Returns whether other members hold slots than before.
    pub(crate) fn adopt(&mut self, topology: Arc<Topology>, terms: HintTerms) -> bool {
        let before = std::mem::replace(&mut self.topology, Arc::clone(&topology));
        self.knowledge.set_current(topology.origins());
        let changes = topology.changes_since(&before);
        let is_same = topology.epoch() == before.epoch() && changes.is_empty();
        if is_same {
            return false;
        }
        if !changes.is_empty() {
            self.hints.terms = terms;
            changes.left.iter().for_each(|peer| self.hints.handle_left(&before, *peer));
            let epoch = self.store.epoch();
            changes
                .joined
                .iter()
                .for_each(|peer| self.hints.handle_joined(&topology, *peer, epoch));
        }
        for lost in changes.left.iter().filter(|peer| !before.is_leaving(**peer)) {
            self.compare_without(&before, &topology, *lost);
        }
        // What may be forgotten was proved with the replicas of before.
        self.forgetting = Forgetting::default();
        self.moving.wanted = topology.to_be_level();
        if !Mutant::LevelOfBefore.is_planted() {
            self.moving.level = PeerMap::new();
        }
        self.moving.is_told = false;
        self.take_slots(&before, &topology);
        before.sealed() && topology.sealed()
    }

    /// A member was given up, and what it kept for others went with it. Whatever any of those that
    /// are left has, the others get: of each two the lower number sees to it, in a round over the
    /// slots that the lost one held.
    fn compare_without(&mut self, before: &Topology, after: &Topology, lost: MemberNumber) {
        let held: Vec<Slot> = Slot::all().filter(|slot| before.is_replica(*slot, lost)).collect();
        for peer in after.peers().filter(|peer| after.me() < *peer) {
            let shared = held.iter().filter(|slot| after.is_shared(**slot, peer));
            let groups: Groups = shared.map(|slot| slot.group()).collect();
            let groups = groups.intersection(self.owned_groups());
            self.hints.dirty.mark(peer, groups, self.store.epoch());
        }
    }

    /// Slots come and go.
    fn take_slots(&mut self, before: &Topology, after: &Topology) {
        let held = |topology: &Topology, slot| topology.is_replica(slot, topology.me());
        let mut left_over = Vec::new();
        for slot in Slot::all() {
            // What a lone replica writes has no names, and what it removes leaves no tombstone that a
            // later replica would get: effects of before must not reach that one.
            if after.replicas(slot).len() < 2 {
                self.knowledge.forget_effects(slot);
            }
            match (held(before, slot), held(after, slot)) {
                // What came while this node was no replica is not here.
                (false, true) => {
                    if !Mutant::FloorOfBefore.is_planted() {
                        self.store.drop_floor(slot.group());
                    }
                    if self.moving.foreign.remove(&slot) {
                        left_over.push(slot);
                    }
                }
                (true, false) if before.sealed() && after.sealed() => {
                    self.moving.foreign.insert(slot);
                    self.moving.discard_at = None;
                }
                _ if Mutant::DiscardedEarly.is_planted() && after.is_departing(slot) => {
                    self.moving.foreign.insert(slot);
                }
                _ => {}
            }
        }
        self.discard(&left_over);
    }

    /// A round with `peer` has exchanged everything in these groups, and began and ended in the
    /// present epoch.
    pub(crate) fn note_level(&mut self, peer: MemberNumber, groups: Groups) {
        let groups = groups.intersection(self.owned_groups());
        let level = self.moving.level.get_or_default(peer);
        let both = level.union(groups);
        self.moving.is_told &= std::mem::replace(level, both) == both;
    }

    /// What `peer` has may be less when it is back.
    pub(crate) fn forget_level(&mut self, peer: MemberNumber) {
        self.moving.is_told &= self.moving.level.remove(peer).is_none();
    }

    /// Whether what is level has changed since the last call that said so.
    pub(crate) fn take_level_news(&mut self) -> bool {
        self.topology.sealed() && !std::mem::replace(&mut self.moving.is_told, true)
    }

    /// With whom this shard is level, in which of its groups.
    pub(crate) fn level(&self) -> &PeerMap<Groups> {
        &self.moving.level
    }

    /// Groups that are still to be made level with `peer`.
    pub(super) fn unlevel(&self, peer: MemberNumber) -> Groups {
        let wanted = self.moving.wanted.get(peer).copied().unwrap_or_default();
        let level = self.moving.level.get(peer).copied().unwrap_or_default();
        wanted.intersection(self.owned_groups()).without(level)
    }

    /// Looks whether slots of others may go. They stay for `patience` after the topology has said
    /// so: by then every request is over that began before.
    pub(crate) fn look_for_foreign(&mut self, now: Instant, patience: std::time::Duration) {
        if self.moving.foreign.is_empty() {
            self.moving.is_due = false;
            return;
        }
        let at = *self.moving.discard_at.get_or_insert(now + patience);
        self.moving.is_due = at <= now || Mutant::DiscardedEarly.is_planted();
    }

    /// Drops some slots of others.
    pub(crate) fn advance_discarding(&mut self) {
        let mut keys = 0;
        let mut slots = Vec::new();
        while self.moving.is_due
            && keys < limits::DISCARDED_PER_TURN_MAX
            && let Some(slot) = self.moving.foreign.pop_first()
        {
            keys += self.store.keys_in_slot(slot) + 1;
            slots.push(slot);
        }
        self.discard(&slots);
    }

    /// Whether there are slots to drop.
    pub(super) fn is_discarding(&self) -> bool {
        self.moving.is_due && !self.moving.foreign.is_empty()
    }

    /// Slots of others that are still here.
    pub(crate) fn foreign_slots(&self) -> usize {
        self.moving.foreign.len()
    }

    /// Whether a slot is another's, and is still here.
    pub(crate) fn is_foreign(&self, slot: Slot) -> bool {
        self.moving.foreign.contains(&slot)
    }

    /// Drops what slots hold, which are this shard's.
    fn discard(&mut self, slots: &[Slot]) {
        let is_held = |slot: &Slot| self.owner(*slot) == self.shard && self.store.holds_any(*slot);
        let held: Vec<Slot> = slots.iter().copied().filter(is_held).collect();
        if held.is_empty() {
            return;
        }
        if let Some(log) = &mut self.log {
            if log.reserve(limits::FLOORS_RECORD_BYTES + 2 * held.len()).is_err() {
                // They are tried again once there is space.
                self.moving.foreign.extend(held);
                self.moving.is_due = false;
                return;
            }
            self.appended = log.append(|out| write_discarded(out, &held));
        }
        let keys: usize = held.iter().map(|slot| self.store.discard_slot(*slot)).sum();
        self.index_changes();
        tracing::info!(
            shard = self.shard,
            slots = held.len(),
            keys,
            "dropped what others hold now"
        );
    }
}

#[cfg(test)]
mod tests {
    use quorate_cluster::{anti_entropy::Digests as _, clocks, movement::plan};
    use quorate_proto::{
        NodeId, Numbers,
        dot::DotRange,
        message::{Member, Message, SlotDots, View},
        ownership::{Movement, Ownership, Phase, Phases},
    };

    use super::*;
    use crate::storage::rounds::{key, pair, set, topology};

    const PEER: MemberNumber = MemberNumber(1);

    /// The view of two nodes of which one is about to hold nothing, with every slot in `phase`.
    fn view(leaver: u16, phase: Phase) -> View {
        let view = plan::leave(&topology(0).view(), NodeId(u128::from(leaver) + 1));
        let view = view.expect("possible").view;
        let ownership = view.ownership.as_deref().expect("moves").clone();
        let movement = ownership
            .movement
            .map(|movement| Movement { phases: Phases::of_slots(|_| phase), ..movement });
        let epoch = view.epoch + phase as u64;
        View { epoch, ownership: Some(Ownership { movement, ..ownership }.into()), ..view }
    }

    fn adopt(storage: &mut Storage, view: &View) {
        let me = storage.topology.member(storage.topology.me()).id;
        let terms = storage.hints.terms.clone();
        storage.adopt(Arc::new(Topology::new(view, me).expect("a topology")), terms);
    }

    #[test]
    fn what_has_moved_is_dropped_once_nothing_of_before_is_under_way() {
        let (mut ours, _) = pair(100);
        adopt(&mut ours, &view(0, Phase::Joint));
        ours.look_for_foreign(Instant::ZERO, std::time::Duration::ZERO);
        assert_eq!((ours.foreign_slots(), ours.is_busy()), (0, false), "still its own");
        adopt(&mut ours, &view(0, Phase::Moved));
        let patience = std::time::Duration::from_secs(6);
        ours.look_for_foreign(Instant::ZERO, patience);
        assert!(!ours.is_busy());
        ours.advance_discarding();
        assert_eq!(ours.store.len(), 100);
        ours.look_for_foreign(Instant::ZERO + patience, patience);
        assert!(ours.is_busy());
        while ours.is_busy() {
            ours.advance_discarding();
        }
        assert_eq!((ours.store.len(), ours.foreign_slots()), (0, 0));
    }

    #[test]
    fn a_lone_replica_does_not_tell_later_ones_of_effects_of_before() {
        let (mut ours, _) = pair(0);
        let slot = Slot::of_key(key(1).as_bytes());
        let lacking = |ours: &Storage| {
            let range = DotRange { origin: ours.store.origin(), first: 1, last: 9 };
            let wanted = vec![SlotDots { slot, ranges: vec![range] }];
            let question = Message::AskDots { group: slot.group(), wanted };
            match clocks::answer(ours, PEER, &question) {
                Some(Message::Dots { effects, .. }) => effects.len(),
                other => panic!("not an answer: {other:?}"),
            }
        };
        set(&mut ours, &key(1));
        assert_eq!(lacking(&ours), 1);
        adopt(&mut ours, &view(1, Phase::Moved));
        let mut back = topology(0).view();
        (back.epoch, back.ownership) = (9, None);
        adopt(&mut ours, &back);
        assert_eq!(lacking(&ours), 0);
        set(&mut ours, &key(1));
        assert_eq!(lacking(&ours), 1);
    }

    #[test]
    fn a_slot_that_comes_back_begins_empty_and_without_a_floor() {
        let (mut ours, _) = pair(100);
        let group = Slot::of_key(key(7).as_bytes()).group();
        ours.store.raise_floor(group, 1_000);
        adopt(&mut ours, &view(0, Phase::Moved));
        let mut back = topology(0).view();
        (back.epoch, back.ownership) = (9, None);
        adopt(&mut ours, &back);
        assert_eq!((ours.store.len(), ours.foreign_slots()), (0, 0));
        assert_eq!(ours.floor_ms(group), 0);
    }

    #[test]
    fn rounds_are_wanted_until_both_are_level_and_again_in_the_next_epoch() {
        // Node 1 is to hold what node 0 held as well.
        let members: Vec<Member> = topology(0).view().members;
        let first = Numbers::of_first([members[0].id]).expect("a number");
        let alone =
            View { members: members[..1].to_vec(), numbers: first, epoch: 1, ..topology(0).view() };
        let joined = plan::join(&alone, members[1].clone()).expect("possible").view;
        let movement = joined.ownership.as_deref().and_then(|found| found.movement.clone());
        let movement = movement.expect("moves");
        let of_phase = |phase| {
            let movement = Movement { phases: Phases::of_slots(|_| phase), ..movement.clone() };
            let ownership = joined.ownership.as_deref().expect("there").clone();
            let ownership = Some(Ownership { movement: Some(movement), ..ownership }.into());
            View { epoch: joined.epoch + phase as u64, ownership, ..joined.clone() }
        };
        let (mut ours, mut theirs) = pair(0);
        set(&mut ours, &key(1));
        for phase in [Phase::Filling, Phase::Joint] {
            adopt(&mut ours, &of_phase(phase));
            adopt(&mut theirs, &of_phase(phase));
            assert_eq!(ours.dirty(PEER), Groups::NONE, "the newcomer asks");
            assert_eq!(theirs.dirty(MemberNumber(0)).len(), 64);
            theirs.note_level(MemberNumber(0), Groups::ALL);
            assert_eq!(theirs.dirty(MemberNumber(0)), Groups::NONE);
        }
        theirs.forget_level(MemberNumber(0));
        assert_eq!(theirs.dirty(MemberNumber(0)).len(), 64);
    }
}
