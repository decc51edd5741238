//! What peers ask, answered from what this node holds.

use alloc::{collections::BTreeMap, vec::Vec};

use quorate_proto::{
    Dot, DotRange, MemberNumber, Origin, Slot,
    limits::DOT_RANGES_MAX,
    message::{DottedEffect, Message, SlotDots},
};

use super::{Counters, Holdings, by_origin};
use crate::limits::{CLOCKS_EFFECTS_BYTES, CLOCKS_SLOTS_PER_MESSAGE, CLOCKS_SUMMARY_RANGES};

/// Answers a peer's question about dots; `None` when the message is no such question. Of slots that
/// are not shared with the peer nothing is told.
pub fn answer(holdings: &impl Holdings, from: MemberNumber, message: &Message) -> Option<Message> {
    match message {
        Message::AskClocks { group, shards, since, from: first } => {
            let groups = (*group, (*shards).max(1));
            Some(summary(holdings, from, groups, *since, *first))
        }
        Message::AskDots { wanted, .. } => Some(effects(holdings, from, wanted)),
        _ => None,
    }
}

/// What has changed since a version in the groups of slots that belong to the shard of the peer
/// that owns `group` there, from the slot `first` on.
fn summary(
    holdings: &impl Holdings,
    from: MemberNumber,
    (group, their_shards): (u16, u16),
    since: u64,
    first: Slot,
) -> Message {
    let knowledge = holdings.knowledge();
    let (shards, mut next) = (holdings.shards(), None);
    let mut slots = Vec::new();
    // A node that has lost data claims nothing: not even that nothing has changed.
    if !holdings.is_complete() {
        return Message::Clocks { shards, version: 0, next, slots };
    }
    let version = knowledge.version();
    let mut ranges_left = CLOCKS_SUMMARY_RANGES;
    let changed = Slot::all().skip(first.index()).filter(|slot| {
        version > since
            && knowledge.has_changed(*slot, since)
            && slot.group() % their_shards == group % their_shards
            && holdings.is_shared(*slot, from)
    });
    for slot in changed {
        let ranges: Vec<DotRange> = knowledge.of_slot(slot).flat_map(ranges).collect();
        let is_full = slots.len() >= CLOCKS_SLOTS_PER_MESSAGE || ranges.len() > ranges_left;
        if is_full && !slots.is_empty() {
            next = Some(slot);
            break;
        }
        ranges_left = ranges_left.saturating_sub(ranges.len());
        slots.push(SlotDots { slot, ranges });
    }
    Message::Clocks { shards, version, next, slots }
}

fn ranges((origin, counters): (Origin, &Counters)) -> impl Iterator<Item = DotRange> {
    counters.ranges().map(move |(first, last)| DotRange { origin, first, last })
}

/// The effects of wanted dots, until the message is full, and which of the dots are not here.
fn effects(holdings: &impl Holdings, from: MemberNumber, wanted: &[SlotDots]) -> Message {
    let (mut effects, mut absent) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for found in wanted {
        if bytes >= CLOCKS_EFFECTS_BYTES {
            break;
        }
        let slot = found.slot;
        let wanted: BTreeMap<Origin, Counters> = by_origin(found).collect();
        let mut present: BTreeMap<Origin, Counters> = BTreeMap::new();
        if holdings.is_shared(slot, from) {
            let mut of_slot = Vec::new();
            for entry in holdings.knowledge().recent(slot) {
                let is_wanted = |dot: &&Dot| {
                    wanted.get(&dot.origin).is_some_and(|wanted| wanted.contains(dot.counter))
                };
                let mut wants_it = false;
                for dot in entry.dots.iter().filter(is_wanted) {
                    wants_it |= present.entry(dot.origin).or_default().insert(dot.counter);
                }
                // Writes that are known in a newer effect are not sent twice.
                if wants_it {
                    of_slot.push(entry);
                }
            }
            // The oldest first, as they were written.
            for entry in of_slot.into_iter().rev() {
                if bytes >= CLOCKS_EFFECTS_BYTES {
                    break;
                }
                bytes += entry.effect.len();
                let (dots, effect) = (entry.dots.to_vec(), entry.effect.clone());
                effects.push(DottedEffect { slot, dots, effect });
            }
        }
        let nothing = Counters::default();
        let ranges: Vec<DotRange> = wanted
            .iter()
            .flat_map(|(origin, wanted)| {
                let missing = wanted.without(present.get(origin).unwrap_or(&nothing));
                ranges((*origin, &missing)).collect::<Vec<_>>()
            })
            // What is left out is asked for again.
            .take(DOT_RANGES_MAX)
            .collect();
        if !ranges.is_empty() {
            absent.push(SlotDots { slot, ranges });
        }
    }
    Message::Dots { effects, absent }
}
