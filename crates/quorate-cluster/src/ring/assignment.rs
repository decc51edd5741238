//! Which members of a datacentre hold which slots, without regard to their order.
//!
//! The problem is a flow: every slot sends one unit for each replica through a rack to a member.
//! An edge from a slot to a rack carries at least [`Bounds::least`] and at most [`Bounds::most`]
//! units, an edge from a rack to a member one, and a member takes its quota.
//!
//! ```text
//!   slot ──least..most──▶ (slot, rack) ──0..1──▶ member ──quota──▶
//! ```
//!
//! Quotas that keep each rack's sum within its bounds, and each member within the number of slots, are
//! feasible: lay the members' shares end to end around the circle of slots, rack by rack, and each
//! slot is covered by distinct members, as often by each rack as its bounds say. So
//! after a greedy start, augmenting paths reach the quotas exactly. A step of such a path
//! hands one slot from a member to another without breaking a bound. Paths with the fewest steps
//! that move one more replica are taken first.

use alloc::{collections::BTreeMap, vec, vec::Vec};
use core::cmp::Reverse;

use quorate_proto::slot::{SLOTS, SLOTS_PER_GROUP};

use super::{
    RingMember,
    quotas::{Bounds, Claim, quotas, rack_bounds},
};
use crate::random::mix;

/// A place in a slot's set that nobody holds.
pub(super) const VACANT: u16 = u16::MAX;

const SLOT_COUNT: usize = SLOTS as usize;

/// Longest stretch of slots that is given to the same members at once: a slot group. Longer ones
/// would leave too few combinations of members in small clusters, and then the slots of a member
/// that leaves could not be spread evenly without moving others.
const STRETCH_MAX: usize = SLOTS_PER_GROUP as usize;

/// An assignment on its way from what it was to what it shall be.
#[derive(Debug)]
pub(super) struct Assignment {
    /// Replicas of each slot.
    width: usize,
    /// The rack of each member.
    rack_of: Vec<usize>,
    /// The bounds of each rack.
    bounds: Vec<Bounds>,
    /// Numbers that break ties between members, differently in each stretch of slots.
    salt_of: Vec<u64>,
    /// The members that held each slot before, `width` places to a slot.
    before: Vec<u16>,
    /// The members that hold each slot, `width` places to a slot.
    sets: Vec<u16>,
    /// Replicas that each member holds.
    load: Vec<u32>,
    /// Replicas that each member shall hold.
    quota: Vec<u32>,
    /// Slots that each two members share.
    shared: Vec<u32>,
    /// Slots in a row that get the same members.
    stretch: usize,
}

impl Assignment {
    /// The assignment `before` (or none) of the slots to `members`, not yet settled.
    pub(super) fn new(members: &[RingMember], width: usize, before: Option<&[u16]>) -> Self {
        let names: BTreeMap<&str, usize> =
            members.iter().map(|member| (member.rack.as_str(), 0)).collect();
        let names: BTreeMap<&str, usize> =
            names.into_keys().enumerate().map(|(rack, name)| (name, rack)).collect();
        let rack_of: Vec<usize> = members.iter().map(|m| names[m.rack.as_str()]).collect();
        let mut sizes = vec![0; names.len()];
        for &rack in &rack_of {
            sizes[rack] += 1;
        }
        let bounds = rack_bounds(&sizes, width);

        let sets = before.map_or_else(|| vec![VACANT; SLOT_COUNT * width], <[u16]>::to_vec);
        let mut load = vec![0; members.len()];
        for &member in sets.iter().filter(|&&member| member != VACANT) {
            load[usize::from(member)] += 1;
        }
        let quota = quotas_of(members, width, &rack_of, &bounds, &load);
        let salt_of =
            members.iter().map(|m| mix(m.id.0 as u64 ^ mix((m.id.0 >> 64) as u64))).collect();
        let shared = vec![0; members.len() * members.len()];
        let stretch = SLOT_COUNT.div_ceil(members.len() * width).min(STRETCH_MAX);
        let before = sets.clone();
        let mut this =
            Self { width, rack_of, bounds, salt_of, before, sets, load, quota, shared, stretch };
        this.count_shared();
        this
    }

    /// Whether every member has its quota, and every place a member.
    pub(super) fn is_settled(&self) -> bool {
        self.load == self.quota && !self.sets.contains(&VACANT)
    }

    /// Brings every slot within the racks' bounds and every member to its quota.
    pub(super) fn settle(&mut self) {
        self.fill();
        self.hand_over();
        self.augment();
    }

    /// The set of each slot, sorted.
    pub(super) fn into_sets(mut self) -> Vec<u16> {
        for set in self.sets.chunks_exact_mut(self.width) {
            set.sort_unstable();
        }
        self.sets
    }

    /// Fills vacant places after vacating those that break a bound, slot by slot. The members
    /// chosen for one slot are kept for the next ones as far as possible.
    fn fill(&mut self) {
        let mut favoured: Vec<u16> = Vec::new();
        for slot in 0..SLOT_COUNT {
            if slot % self.stretch == 0 {
                favoured.clear();
            }
            self.vacate_excess(slot);
            while self.set(slot).contains(&VACANT) {
                let member = self.candidate(slot, &favoured);
                self.replace(slot, VACANT, member);
                if !favoured.contains(&member) {
                    favoured.push(member);
                }
            }
        }
    }

    /// Vacates places of `slot` until no rack holds too many, and until there is a vacant place
    /// for every replica that some rack lacks.
    fn vacate_excess(&mut self, slot: usize) {
        loop {
            let mut held = vec![0; self.bounds.len()];
            let mut vacant = 0;
            for &member in self.set(slot) {
                if member == VACANT {
                    vacant += 1;
                } else {
                    held[self.rack_of[usize::from(member)]] += 1;
                }
            }
            let lacking: usize =
                self.bounds.iter().zip(&held).map(|(b, &held)| b.least.saturating_sub(held)).sum();
            let over = |rack: usize| held[rack] > self.bounds[rack].most;
            let spare = |rack: usize| held[rack] > self.bounds[rack].least;
            let any_over = (0..held.len()).any(over);
            if !any_over && lacking <= vacant {
                return;
            }
            let members = self.set(slot).iter().copied().filter(|&member| member != VACANT);
            let leaving = members
                .filter(|&member| {
                    let rack = self.rack_of[usize::from(member)];
                    if any_over { over(rack) } else { spare(rack) }
                })
                .max_by_key(|&member| self.surplus(member))
                .expect("invariant: the bounds add up to at most the width");
            self.replace(slot, leaving, VACANT);
        }
    }

    /// The member to take a vacant place of `slot`: from a rack that must hold one more, else from
    /// the rack with the most open quota; a favoured one, else the one with the most open quota.
    fn candidate(&self, slot: usize, favoured: &[u16]) -> u16 {
        let racks = 0..self.bounds.len();
        let lacking = racks.clone().any(|rack| self.held(slot, rack) < self.bounds[rack].least);
        let open: Vec<bool> = racks
            .map(|rack| {
                let Bounds { least, most } = self.bounds[rack];
                self.held(slot, rack) < if lacking { least } else { most }
            })
            .collect();
        let fits = |member: u16| {
            open[self.rack_of[usize::from(member)]] && !self.set(slot).contains(&member)
        };
        let favourite = favoured.iter().find(|&&member| fits(member) && self.surplus(member) < 0);
        if let Some(&member) = favourite {
            return member;
        }
        let mut wanted = vec![0; self.bounds.len()];
        for member in 0..self.load.len() as u16 {
            wanted[self.rack_of[usize::from(member)]] -= self.surplus(member).min(0);
        }
        // Quotas are compared by stretches, so that among about equals those are preferred that
        // share few slots as yet: the fewer any two share, the more others can stand in for one.
        let stretches = |quota: i64| quota / self.stretch as i64;
        let wish = |&member: &u16| {
            let rack = self.rack_of[usize::from(member)];
            let open = -self.surplus(member);
            let tie = mix(self.salt_of[usize::from(member)] ^ (slot / self.stretch) as u64);
            let shared = Reverse(self.shared_with_set(slot, member));
            // A rack without open quota may still have to give a member.
            (open > 0, stretches(wanted[rack]), stretches(open), shared, tie)
        };
        let members = (0..self.load.len() as u16).filter(|&member| fits(member));
        members.max_by_key(wish).expect("invariant: the bounds leave room for the width")
    }

    /// Hands slots straight from members above their quota to members below it: first only such
    /// slots as leave the taker sharing about as many slots with each other member.
    fn hand_over(&mut self) {
        let mut takers: Vec<u16> = (0..self.load.len() as u16).collect();
        takers.sort_by_key(|&taker| (self.surplus(taker), taker));
        for taker in takers {
            let quota = self.quota[usize::from(taker)];
            let others = self.load.len().saturating_sub(1).max(1);
            let even_share = (quota * (self.width as u32 - 1)).div_ceil(others as u32);
            self.take_over(taker, even_share);
            self.take_over(taker, u32::MAX);
        }
    }

    /// Hands slots to `taker` until it has its quota, none that would make it share more than
    /// `shared_max` slots with somebody.
    fn take_over(&mut self, taker: u16, shared_max: u32) {
        let mut favourite = VACANT;
        for slot in 0..SLOT_COUNT {
            if self.surplus(taker) >= 0 {
                return;
            }
            if self.set(slot).contains(&taker) {
                continue;
            }
            let gives = |&giver: &u16| {
                let stays = |&&other: &&u16| other != giver;
                self.surplus(giver) > 0
                    && self.may_hand(slot, giver, taker)
                    && self
                        .set(slot)
                        .iter()
                        .filter(stays)
                        .all(|&other| self.shared[self.pair(other, taker)] < shared_max)
            };
            let set = self.set(slot);
            if !(set.contains(&favourite) && gives(&favourite)) {
                let givers = set.iter().copied().filter(gives);
                let Some(giver) = givers.max_by_key(|&giver| (self.surplus(giver), giver)) else {
                    continue;
                };
                favourite = giver;
            }
            self.replace(slot, favourite, taker);
        }
    }

    /// Hands slots along paths from members above their quota to members below it, until there is
    /// none of the former.
    fn augment(&mut self) {
        for giver in 0..self.load.len() as u16 {
            while self.surplus(giver) > 0 {
                let cheapest = self.path(giver, Handover::moves_nothing_more);
                // Cheap steps through one slot may hinder each other; those of the shortest path
                // do not, since two of them that compete for a slot's room make one shorter step.
                let path = cheapest
                    .filter(|path| distinct_slots(path))
                    .or_else(|| self.path(giver, |_, _| true));
                self.follow(&path.expect("invariant: the quotas are feasible"));
            }
        }
    }

    /// Hands slots along `path`, then further ones at the same cost while quotas and slots last.
    fn follow(&mut self, path: &[Handover]) {
        let (Some(last), Some(first)) = (path.first(), path.last()) else {
            return;
        };
        let free: Vec<bool> = path.iter().map(|step| step.moves_nothing_more(self)).collect();
        let mut untried = vec![0; path.len()];
        let mut steps = path.to_vec();
        loop {
            for step in &steps {
                self.replace(step.slot, step.from, step.to);
            }
            if self.surplus(first.from) <= 0 || self.surplus(last.to) >= 0 {
                return;
            }
            steps.clear();
            for (index, &Handover { from, to, .. }) in path.iter().enumerate() {
                let found = (untried[index]..SLOT_COUNT).find(|&slot| {
                    let step = Handover { slot, from, to };
                    self.set(slot).contains(&from)
                        && self.may_take(&step)
                        && step.moves_nothing_more(self) == free[index]
                        && steps.iter().all(|other| other.slot != slot)
                });
                let Some(slot) = found else { return };
                untried[index] = slot + 1;
                steps.push(Handover { slot, from, to });
            }
        }
    }

    /// A way from `giver` to a member below its quota that has the fewest steps that are not
    /// `free`, and of such ways about the fewest steps.
    fn path(&self, giver: u16, free: impl Fn(&Handover, &Self) -> bool) -> Option<Vec<Handover>> {
        let mut slots_of = vec![Vec::new(); self.load.len()];
        for (place, &member) in self.sets.iter().enumerate() {
            slots_of[usize::from(member)].push(place / self.width);
        }
        let mut unseen: Vec<u16> = (0..self.load.len() as u16).filter(|&m| m != giver).collect();
        let mut reached_by: Vec<Option<Handover>> = vec![None; self.load.len()];
        // Members reached at the present cost. First all that are free to reach from them join,
        // then those at the cost of one more step follow.
        let mut reached = vec![giver];
        while !reached.is_empty() {
            let mut paid = Vec::new();
            for take_free in [true, false] {
                let mut next = 0;
                while next < reached.len() {
                    let from = reached[next];
                    next += 1;
                    for &slot in &slots_of[usize::from(from)] {
                        let mut index = 0;
                        while index < unseen.len() {
                            let to = unseen[index];
                            let step = Handover { slot, from, to };
                            if !self.may_take(&step) || free(&step, self) != take_free {
                                index += 1;
                                continue;
                            }
                            reached_by[usize::from(to)] = Some(step);
                            if self.surplus(to) < 0 {
                                return Some(path_to(to, &reached_by));
                            }
                            unseen.swap_remove(index);
                            if take_free { reached.push(to) } else { paid.push(to) }
                        }
                    }
                }
            }
            reached = paid;
        }
        None
    }

    /// Whether the receiver of `step` does not hold the slot yet and may.
    fn may_take(&self, step: &Handover) -> bool {
        !self.set(step.slot).contains(&step.to) && self.may_hand(step.slot, step.from, step.to)
    }

    /// Whether `slot` may go from its holder `from` to `to`, which does not hold it.
    fn may_hand(&self, slot: usize, from: u16, to: u16) -> bool {
        let (giving, taking) = (self.rack_of[usize::from(from)], self.rack_of[usize::from(to)]);
        giving == taking
            || (self.held(slot, giving) > self.bounds[giving].least
                && self.held(slot, taking) < self.bounds[taking].most)
    }

    /// Replicas of `slot` in `rack`.
    fn held(&self, slot: usize, rack: usize) -> usize {
        let in_rack =
            |&&member: &&u16| member != VACANT && self.rack_of[usize::from(member)] == rack;
        self.set(slot).iter().filter(in_rack).count()
    }

    /// Slots that `member` shares with those who hold `slot`.
    fn shared_with_set(&self, slot: usize, member: u16) -> u32 {
        let holders = self.set(slot).iter().filter(|&&holder| holder != VACANT);
        holders.map(|&holder| self.shared[self.pair(holder, member)]).sum()
    }

    fn count_shared(&mut self) {
        for set in self.sets.chunks_exact(self.width) {
            for &a in set.iter().filter(|&&a| a != VACANT) {
                for &b in set.iter().filter(|&&b| b != VACANT && b != a) {
                    self.shared[usize::from(a) * self.load.len() + usize::from(b)] += 1;
                }
            }
        }
    }

    fn pair(&self, a: u16, b: u16) -> usize {
        usize::from(a) * self.load.len() + usize::from(b)
    }

    fn held_before(&self, slot: usize, member: u16) -> bool {
        self.before[slot * self.width..(slot + 1) * self.width].contains(&member)
    }

    fn set(&self, slot: usize) -> &[u16] {
        &self.sets[slot * self.width..(slot + 1) * self.width]
    }

    /// How far `member` is above its quota.
    fn surplus(&self, member: u16) -> i64 {
        let member = usize::from(member);
        i64::from(self.load[member]) - i64::from(self.quota[member])
    }

    /// Puts `to` in the place of `from`; either may be [`VACANT`].
    fn replace(&mut self, slot: usize, from: u16, to: u16) {
        let set = &mut self.sets[slot * self.width..(slot + 1) * self.width];
        assert!(to == VACANT || !set.contains(&to), "a member holds a slot once");
        let place = set.iter_mut().find(|place| **place == from);
        *place.expect("invariant: only what is held is handed over") = to;
        for (member, change) in [(from, -1), (to, 1)] {
            if member == VACANT {
                continue;
            }
            let load = &mut self.load[usize::from(member)];
            *load = load.wrapping_add_signed(change);
            for place in slot * self.width..(slot + 1) * self.width {
                let other = self.sets[place];
                if other != VACANT && other != to && other != from {
                    for pair in [self.pair(member, other), self.pair(other, member)] {
                        self.shared[pair] = self.shared[pair].wrapping_add_signed(change);
                    }
                }
            }
        }
    }
}

/// Replicas that each of the members shall hold. One that was drained gets no more than it has, unless
/// the others have no room.
fn quotas_of(
    members: &[RingMember],
    width: usize,
    rack_of: &[usize],
    bounds: &[Bounds],
    load: &[u32],
) -> Vec<u32> {
    let claim = |at: usize, is_bound: bool| {
        let most = if is_bound && members[at].duties.is_drained { load[at] } else { SLOTS.into() };
        Claim { rack: rack_of[at], weight: members[at].duties.weight.max(1), most, load: load[at] }
    };
    let claims =
        |is_bound| -> Vec<Claim> { (0..members.len()).map(|at| claim(at, is_bound)).collect() };
    quotas(width, &claims(true), bounds)
        .or_else(|| quotas(width, &claims(false), bounds))
        .expect("invariant: the racks have room for the width")
}

/// One slot that goes from one member to another.
#[derive(Clone, Copy, Debug)]
struct Handover {
    slot: usize,
    from: u16,
    to: u16,
}

impl Handover {
    /// Whether no more replicas end up in a new place: the giver received the slot only now, or
    /// the receiver gets back what it held before.
    fn moves_nothing_more(&self, assignment: &Assignment) -> bool {
        !assignment.held_before(self.slot, self.from) || assignment.held_before(self.slot, self.to)
    }
}

fn distinct_slots(path: &[Handover]) -> bool {
    let mut slots: Vec<usize> = path.iter().map(|step| step.slot).collect();
    slots.sort_unstable();
    slots.windows(2).all(|pair| pair[0] != pair[1])
}

/// Follows the handovers that led to `member` back to where they started.
fn path_to(member: u16, reached_by: &[Option<Handover>]) -> Vec<Handover> {
    let mut path = Vec::new();
    let mut at = member;
    while let Some(handover) = reached_by[usize::from(at)] {
        path.push(handover);
        at = handover.from;
    }
    path
}
