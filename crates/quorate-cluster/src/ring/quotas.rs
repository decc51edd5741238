//! How many replicas each rack may hold of one slot, and each member of all slots.

use alloc::{collections::BinaryHeap, vec, vec::Vec};
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

/// Replicas that each member shall hold: what the racks' lower bounds demand, then always one more
/// for the least loaded member whose rack has room. Of equals, those with the higher `load` get
/// more, so that the fewest replicas move.
pub(super) fn quotas(width: usize, rack_of: &[usize], bounds: &[Bounds], load: &[u32]) -> Vec<u32> {
    let mut quota = vec![0_u32; rack_of.len()];
    let mut given = 0;
    for (rack, bounds) in bounds.iter().enumerate() {
        let mut members: Vec<usize> =
            (0..rack_of.len()).filter(|&member| rack_of[member] == rack).collect();
        members.sort_by_key(|&member| (Reverse(load[member]), member));
        let demanded = bounds.least * SLOT_COUNT;
        for (place, &member) in members.iter().enumerate() {
            let extra = usize::from(place < demanded % members.len());
            quota[member] = (demanded / members.len() + extra) as u32;
        }
        given += demanded;
    }
    let mut room: Vec<usize> = bounds.iter().map(|b| (b.most - b.least) * SLOT_COUNT).collect();
    let by_need = |member: usize, quota: u32| Reverse((quota, Reverse(load[member]), member));
    let mut queue: BinaryHeap<_> =
        quota.iter().enumerate().map(|(member, &quota)| by_need(member, quota)).collect();
    while given < SLOT_COUNT * width {
        let Reverse((_, _, member)) =
            queue.pop().expect("invariant: the racks have room for the width");
        let rack = rack_of[member];
        if room[rack] > 0 && (quota[member] as usize) < SLOT_COUNT {
            room[rack] -= 1;
            quota[member] += 1;
            given += 1;
            queue.push(by_need(member, quota[member]));
        }
    }
    quota
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

    #[test]
    fn quotas_are_even_and_favour_those_who_hold_more() {
        let bounds = rack_bounds(&[3], 2);
        let total = 2 * SLOT_COUNT as u32;
        let even = quotas(2, &[0, 0, 0], &bounds, &[0, 10, 20]);
        assert_eq!(even, [total / 3, total / 3 + 1, total / 3 + 1]);
        // A lone member of a rack that every slot needs holds every slot.
        let bounds = rack_bounds(&[1, 2], 2);
        let slots = SLOT_COUNT as u32;
        assert_eq!(quotas(2, &[0, 1, 1], &bounds, &[0; 3]), [slots, slots / 2, slots / 2]);
    }
}
