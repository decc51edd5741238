//! The order of the members that hold a slot: who comes first, and who takes over.
//!
//! First places are spread evenly: members hand them on along paths for as long as that makes the
//! spread more even (the semi-matching of Harvey, Ladner, Lovász and Tamir, 2006, which ends in
//! the most even spread there is). Order moves no data, so it is not held to the least change,
//! but a member that comes first somewhere keeps its place where balance allows.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::cmp::Reverse;

use quorate_proto::slot::SLOTS;

use super::{
    assignment::VACANT,
    quotas::{Claim, shares},
};

const SLOT_COUNT: usize = SLOTS as usize;

/// Orders the sorted `sets`, `width` members of these `weights` to a slot, with the slots' `previous`
/// primaries
/// as a guide.
pub(super) fn order(
    sets: Vec<u16>,
    width: usize,
    weights: &[u16],
    previous: Option<Vec<u16>>,
) -> Vec<u16> {
    let mut primaries = Primaries::new(sets, width, weights, previous);
    primaries.fill();
    primaries.hand_over();
    primaries.even_out();
    primaries.into_ordered_sets()
}

struct Primaries {
    /// The members that hold each slot, sorted, `width` to a slot.
    sets: Vec<u16>,
    width: usize,
    /// Who comes first for each slot.
    first: Vec<u16>,
    /// For how many slots each member comes first.
    count: Vec<u32>,
    /// For how many slots each member should come first.
    quota: Vec<u32>,
    weight: Vec<u64>,
}

impl Primaries {
    fn new(sets: Vec<u16>, width: usize, weights: &[u16], previous: Option<Vec<u16>>) -> Self {
        let members = weights.len();
        let mut first = previous.unwrap_or_else(|| vec![VACANT; SLOT_COUNT]);
        let mut count = vec![0; members];
        let mut load = vec![0_u32; members];
        for (slot, set) in sets.chunks_exact(width).enumerate() {
            if set.contains(&first[slot]) {
                count[usize::from(first[slot])] += 1;
            } else {
                first[slot] = VACANT;
            }
            for &member in set {
                load[usize::from(member)] += 1;
            }
        }
        // The remainder goes to those who hold more, then to those who come first more often.
        let claim = |member: usize| {
            let held = load[member] * (SLOT_COUNT as u32 + 1) + count[member];
            Claim { rack: 0, weight: weights[member], most: load[member], load: held }
        };
        let claims: Vec<Claim> = (0..members).map(claim).collect();
        let quota = shares(SLOT_COUNT as u32, &claims);
        let weight = weights.iter().copied().map(u64::from).collect();
        Self { sets, width, first, count, quota, weight }
    }

    /// Gives every slot a primary, the same for neighbours while its quota lasts.
    fn fill(&mut self) {
        let mut favourite = VACANT;
        for slot in 0..SLOT_COUNT {
            if self.first[slot] != VACANT {
                continue;
            }
            let set = self.set(slot);
            if !(set.contains(&favourite) && self.surplus(favourite) < 0) {
                let neediest = set.iter().copied().min_by_key(|&member| self.surplus(member));
                favourite = neediest.expect("invariant: a slot has a replica");
            }
            self.give(slot, favourite);
        }
    }

    /// Hands first places straight from members above their quota to members below it.
    fn hand_over(&mut self) {
        for slot in 0..SLOT_COUNT {
            if self.surplus(self.first[slot]) <= 0 {
                continue;
            }
            let neediest = self.set(slot).iter().copied().min_by_key(|&m| self.surplus(m));
            if let Some(member) = neediest.filter(|&member| self.surplus(member) < 0) {
                self.give(slot, member);
            }
        }
    }

    /// Hands first places along paths until no path makes the spread more even.
    fn even_out(&mut self) {
        let mut slots_of = vec![Vec::new(); self.count.len()];
        for (slot, &first) in self.first.iter().enumerate() {
            slots_of[usize::from(first)].push(slot);
        }
        let mut givers: Vec<u16> = (0..self.count.len() as u16).collect();
        loop {
            givers.sort_by_key(|&member| Reverse(self.crowding(member)));
            let path = givers.iter().find_map(|&giver| self.shortest_path(giver, &slots_of));
            let Some(path) = path else { return };
            for (slot, to) in path {
                let from = self.first[slot];
                slots_of[usize::from(from)].retain(|&held| held != slot);
                slots_of[usize::from(to)].push(slot);
                self.give(slot, to);
            }
        }
    }

    /// How often a member comes first for its weight.
    fn crowding(&self, member: u16) -> u64 {
        const PRECISION: u64 = 1 << 40;
        let member = usize::from(member);
        u64::from(self.count[member]) * PRECISION / self.weight[member]
    }

    /// Whether it is more even when `taker` comes first once more, in place of `giver`: whether that
    /// makes the sum of squares, each by its weight, smaller. Of equal weights, if it comes first at
    /// least twice less often.
    fn is_better(&self, giver: u16, taker: u16) -> bool {
        let [giver, taker] = [giver, taker].map(usize::from);
        let given = (2 * u64::from(self.count[giver])).saturating_sub(1) * self.weight[taker];
        given > (2 * u64::from(self.count[taker]) + 1) * self.weight[giver]
    }

    /// Breadth-first from `giver` to a member that had better come first instead.
    fn shortest_path(&self, giver: u16, slots_of: &[Vec<usize>]) -> Option<Vec<(usize, u16)>> {
        (0..self.count.len() as u16).find(|&taker| self.is_better(giver, taker))?;
        let mut reached_by: Vec<Option<usize>> = vec![None; self.count.len()];
        let mut queue = VecDeque::from([giver]);
        while let Some(from) = queue.pop_front() {
            for &slot in &slots_of[usize::from(from)] {
                for &to in self.set(slot) {
                    if to == giver || reached_by[usize::from(to)].is_some() {
                        continue;
                    }
                    reached_by[usize::from(to)] = Some(slot);
                    if self.is_better(giver, to) {
                        return Some(self.path(giver, to, &reached_by));
                    }
                    queue.push_back(to);
                }
            }
        }
        None
    }

    /// The slots on the way from `giver` to `taker`, each with its new primary.
    fn path(&self, giver: u16, taker: u16, reached_by: &[Option<usize>]) -> Vec<(usize, u16)> {
        let mut path = Vec::new();
        let mut to = taker;
        while to != giver {
            let slot = reached_by[usize::from(to)].expect("invariant: paths start at the giver");
            path.push((slot, to));
            to = self.first[slot];
        }
        path
    }

    /// Puts the primary of each slot first. The others follow in an order that changes within each
    /// stretch of like slots, so that no single member takes over for another one.
    fn into_ordered_sets(mut self) -> Vec<u16> {
        let width = self.width;
        let mut start = 0;
        while start < SLOT_COUNT {
            let like = |slot: usize| {
                self.first[slot] == self.first[start] && self.set(slot) == self.set(start)
            };
            let end = (start..SLOT_COUNT).find(|&slot| !like(slot)).unwrap_or(SLOT_COUNT);
            for slot in start..end {
                let set = &mut self.sets[slot * width..(slot + 1) * width];
                let place = set.iter().position(|&member| member == self.first[slot]);
                set[..=place.expect("invariant: a primary is a replica")].rotate_right(1);
                if width > 1 {
                    let turn = (slot - start) * (width - 1) / (end - start);
                    set[1..].rotate_left(turn);
                }
            }
            start = end;
        }
        self.sets
    }

    fn give(&mut self, slot: usize, member: u16) {
        if self.first[slot] != VACANT {
            self.count[usize::from(self.first[slot])] -= 1;
        }
        self.first[slot] = member;
        self.count[usize::from(member)] += 1;
    }

    fn set(&self, slot: usize) -> &[u16] {
        &self.sets[slot * self.width..(slot + 1) * self.width]
    }

    fn surplus(&self, member: u16) -> i64 {
        let member = usize::from(member);
        i64::from(self.count[member]) - i64::from(self.quota[member])
    }
}
