//! How many replicas each rack may hold of one slot, and each member of all slots.

use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

use quorate_proto::slot::SLOTS;

const SLOT_COUNT: usize = SLOTS as usize;

/// How many replicas of one slot a rack may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: usize,
    pub(super) most: usize,
}

/// Water level over the racks: every rack holds as many replicas as it has members, up to a level
/// that is the same for all; the level's last layer is spread over the racks that reach it.
pub(super) fn rack_bounds(sizes: &[usize], width: usize) -> Vec<Bounds> {
    let below = |level: usize| sizes.iter().map(|&size| size.min(level)).sum::<usize>();
    let level = (1..=width).find(|&level| below(level) >= width).unwrap_or(width);
    let layer_is_full = below(level) == width;
    sizes
        .iter()
        .map(|&size| {
            let most = size.min(level);
            Bounds { least: if layer_is_full { most } else { size.min(level - 1) }, most }
        })
        .collect()
}

/// What a member asks for of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) rack: usize,
    /// Its share beside those of the others; not 0.
    pub(super) weight: u16,
    /// The most that it may hold.
    pub(super) most: u32,
    /// What it holds already: of equals, those that hold more get more, so that the fewest move.
    pub(super) load: u32,
}

/// Replicas that each member shall hold: in proportion to the weights, as far as the racks' bounds
/// and the members' own let them. `None` when they leave no room for all.
///
/// Each rack, and in it each member, gets its exact share, rounded up or down.
pub(super) fn quotas(width: usize, claims: &[Claim], bounds: &[Bounds]) -> Option<Vec<u32>> {
    let racks: Vec<Rack> = bounds.iter().enumerate().map(|it| Rack::new(it, claims)).collect();
    let has_least = racks.iter().all(|rack| rack.room >= rack.least);
    let room: u64 = racks.iter().map(|rack| rack.room.min(rack.most)).sum();
    let total = units(SLOT_COUNT * width);
    if !has_least || room < total {
        return None;
    }
    let level = highest(total, |level| racks.iter().map(|rack| rack.bounded(level)).sum());
    let mut left = total / UNIT;
    let mut found = vec![0; claims.len()];
    // Those that are at a bound have whole shares; the others have what is left.
    let mut free = Vec::new();
    for rack in &racks {
        let exact = rack.bounded(level);
        if exact == rack.raw(level) {
            free.push(rack);
            continue;
        }
        left -= exact / UNIT;
        let level = highest(exact, |level| rack.raw(level));
        rack.give(exact / UNIT, level, &mut found);
    }
    let exact: Vec<(u64, u64)> = free.iter().map(|rack| (rack.raw(level), rack.load())).collect();
    for (rack, share) in free.iter().zip(rounded(left, &exact)) {
        rack.give(share, level, &mut found);
    }
    Some(found)
}

/// Shares of `total` in proportion to the weights, none above a member's most; ties go to those that
/// hold more. All racks are one to it.
pub(super) fn shares(total: u32, claims: &[Claim]) -> Vec<u32> {
    let members = (0..).zip(claims).map(|(at, claim)| (at, *claim)).collect();
    let rack = Rack { members, least: 0, most: u64::MAX, room: u64::MAX };
    let level = highest(units(total as usize), |level| rack.raw(level));
    let mut found = vec![0; claims.len()];
    rack.give(total.into(), level, &mut found);
    found
}

/// Parts that a replica is divided in to compute shares.
const UNIT: u64 = 1 << 32;

const fn units(replicas: usize) -> u64 {
    replicas as u64 * UNIT
}

/// A level at which every member has the most that it may.
const LEVEL_MAX: u64 = units(SLOT_COUNT);

struct Rack {
    /// With their positions.
    members: Vec<(usize, Claim)>,
    /// In units.
    least: u64,
    most: u64,
    /// What its members may hold together.
    room: u64,
}

impl Rack {
    fn new((rack, bounds): (usize, &Bounds), claims: &[Claim]) -> Self {
        let members = (0..).zip(claims).filter(|(_, claim)| claim.rack == rack);
        let members: Vec<_> = members.map(|(at, claim)| (at, *claim)).collect();
        let room = members.iter().map(|(_, claim)| units(claim.most as usize)).sum();
        let [least, most] = [bounds.least, bounds.most].map(|bound| units(bound * SLOT_COUNT));
        Self { members, least, most, room }
    }

    /// What its members ask for at a level, which is what a weight of one gets.
    fn raw(&self, level: u64) -> u64 {
        self.members.iter().map(|(_, claim)| claim.at(level)).sum()
    }

    fn bounded(&self, level: u64) -> u64 {
        self.raw(level).clamp(self.least, self.most)
    }

    fn load(&self) -> u64 {
        self.members.iter().map(|(_, claim)| u64::from(claim.load)).sum()
    }

    /// Gives its members what they ask for at a level, `total` together.
    fn give(&self, total: u64, level: u64, found: &mut [u32]) {
        let exact: Vec<(u64, u64)> =
            self.members.iter().map(|(_, claim)| (claim.at(level), claim.load.into())).collect();
        for ((at, _), share) in self.members.iter().zip(rounded(total, &exact)) {
            found[*at] = share as u32;
        }
    }
}

impl Claim {
    /// What it asks for at a level, in units.
    fn at(&self, level: u64) -> u64 {
        level.saturating_mul(self.weight.into()).min(units(self.most as usize))
    }
}

/// The highest level at which not more than `total` is asked for.
fn highest(total: u64, asked: impl Fn(u64) -> u64) -> u64 {
    let (mut low, mut high) = (0, LEVEL_MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if asked(middle) <= total { low = middle } else { high = middle - 1 }
    }
    low
}

/// Whole numbers that add up to `total`, each of these exact shares rounded down, or up where more
/// of it was lost (the method of the largest remainder). Shares come with what breaks ties.
fn rounded(total: u64, exact: &[(u64, u64)]) -> Vec<u64> {
    let mut shares: Vec<u64> = exact.iter().map(|(share, _)| share / UNIT).collect();
    let mut order: Vec<usize> = (0..exact.len()).collect();
    order.sort_by_key(|&at| (Reverse(exact[at].0 % UNIT), Reverse(exact[at].1), at));
    let lost = total.saturating_sub(shares.iter().sum()) as usize;
    assert!(lost <= exact.len(), "invariant: shares add up to the total but for what is rounded");
    for at in order.into_iter().take(lost) {
        shares[at] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn racks_fill_up_level_by_level() {
        let bounds = |sizes: &[usize], width| -> Vec<(usize, usize)> {
            rack_bounds(sizes, width).iter().map(|b| (b.least, b.most)).collect()
        };
        assert_eq!(bounds(&[5, 5, 5], 3), [(1, 1), (1, 1), (1, 1)]);
        assert_eq!(bounds(&[5, 5, 5, 5], 3), [(0, 1); 4]);
        assert_eq!(bounds(&[3], 3), [(3, 3)]);
        assert_eq!(bounds(&[9, 9], 3), [(1, 2), (1, 2)]);
        assert_eq!(bounds(&[1, 10], 3), [(1, 1), (2, 2)]);
        assert_eq!(bounds(&[1, 10, 10], 4), [(1, 1), (1, 2), (1, 2)]);
    }

    fn claims(members: &[(usize, u16, u32)]) -> Vec<Claim> {
        let most = SLOT_COUNT as u32;
        let claim = |&(rack, weight, load)| Claim { rack, weight, most, load };
        members.iter().map(claim).collect()
    }

    #[test]
    fn quotas_are_even_and_favour_those_who_hold_more() {
        let bounds = rack_bounds(&[3], 2);
        let total = 2 * SLOT_COUNT as u32;
        let even = quotas(2, &claims(&[(0, 7, 0), (0, 7, 10), (0, 7, 20)]), &bounds);
        assert_eq!(even, Some(vec![total / 3, total / 3 + 1, total / 3 + 1]));
        // A lone member of a rack that every slot needs holds every slot.
        let bounds = rack_bounds(&[1, 2], 2);
        let slots = SLOT_COUNT as u32;
        let found = quotas(2, &claims(&[(0, 1, 0), (1, 1, 0), (1, 1, 0)]), &bounds);
        assert_eq!(found, Some(vec![slots, slots / 2, slots / 2]));
    }

    #[test]
    fn quotas_follow_the_weights_as_far_as_they_can() {
        let slots = SLOT_COUNT as u32;
        let bounds = rack_bounds(&[4], 2);
        let members = claims(&[(0, 100, 0), (0, 200, 0), (0, 100, 0), (0, 400, 0)]);
        let found = quotas(2, &members, &bounds).expect("there is room");
        assert_eq!(found, [slots / 4, slots / 2, slots / 4, slots]);
        // Nobody holds a slot twice: what the last cannot take goes to the others.
        let members = claims(&[(0, 100, 0), (0, 100, 0), (0, 200, 0), (0, 10_000, 0)]);
        let found = quotas(2, &members, &bounds).expect("there is room");
        assert_eq!(found, [slots / 4, slots / 4, slots / 2, slots]);
        // Inside a rack that must hold a replica of each, whatever others weigh.
        let bounds = rack_bounds(&[1, 2], 2);
        let members = claims(&[(0, 1, 0), (1, 300, 0), (1, 100, 0)]);
        let found = quotas(2, &members, &bounds).expect("there is room");
        assert_eq!(found, [slots, slots / 4 * 3, slots / 4]);
        // Bounds of members that leave no room.
        let mut few = claims(&[(0, 100, 0); 3]);
        few[0].most = 0;
        few[1].most = slots / 2;
        assert_eq!(quotas(2, &few, &rack_bounds(&[3], 2)), None);
    }
}
