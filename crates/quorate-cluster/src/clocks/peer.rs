//! The exchange with one peer: what it has reported, and what follows from that.

use alloc::{collections::BTreeMap, vec::Vec};

use quorate_proto::{
    DotRange, MemberNumber, Origin, Slot,
    message::{DottedEffect, Message, SlotDots},
    mutant::Mutant,
};

use super::{Counters, Holdings, Knowledge, by_origin};
use crate::{
    limits::{
        CLOCKS_DOTS_PER_REQUEST, CLOCKS_LACKING_MAX, CLOCKS_PENDED_MAX, CLOCKS_PULLED_MAX,
        CLOCKS_RANGES_MAX, CLOCKS_SUSPICION_PAUSE,
    },
    time::Instant,
};

/// The counters of one origin in each slot.
type Dots = BTreeMap<(Slot, Origin), Counters>;

/// A peer that is up.
#[derive(Debug)]
pub(super) struct Peer {
    /// When the next exchange begins.
    next_at: Instant,
    /// Counts the exchanges.
    exchange: u64,
    level: Level,
    /// By group asked: the version up to which changes are known.
    versions: BTreeMap<u16, u64>,
    /// What is left of asking for changes.
    sweep: Option<Sweep>,
    /// The question that is not answered, its number, and how long an answer is waited for.
    asked: Option<(Question, u64, Instant)>,
    /// What it has and this node had not when it was reported.
    lacking: BTreeMap<(Slot, Origin), Lacking>,
    /// From where on lacking dots are asked for in the present exchange.
    pull_from: Option<(Slot, Origin)>,
    /// Reported since the last round began.
    reported: Dots,
    /// Reported before it began: known once it is completed.
    riding: Dots,
    /// Before this no further anti-entropy round is asked for.
    suspect_at: Instant,
}

/// How far it is with a peer since it came up. What is reported until the end is history, which
/// hints and anti-entropy rounds bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Not everything that the peer holds was reported.
    New,
    /// It was.
    Reported,
    /// It was before the round that began last.
    Riding,
    /// And that round has been completed.
    Reached,
}

#[derive(Debug)]
struct Lacking {
    counters: Counters,
    /// The exchange in which it was noted, or asked for without success.
    exchange: u64,
}

/// Asking for changes, one group of slots for each shard of the peer that has to do with this one.
#[derive(Debug)]
struct Sweep {
    /// Groups of this shard that no answer has covered. The first is asked for now.
    groups: Vec<u16>,
    /// The first slot of the next page.
    from: Slot,
    /// The version before the first page.
    version: Option<u64>,
}

/// What was asked.
#[derive(Debug)]
pub(super) enum Question {
    /// What has changed.
    Summary,
    /// The effects of these dots.
    Dots(Vec<SlotDots>),
}

impl Peer {
    pub(super) fn new(next_at: Instant) -> Self {
        Self {
            next_at,
            exchange: 0,
            level: Level::New,
            versions: BTreeMap::new(),
            sweep: None,
            asked: None,
            lacking: BTreeMap::new(),
            pull_from: None,
            reported: Dots::new(),
            riding: Dots::new(),
            suspect_at: Instant::ZERO,
        }
    }

    /// When the next exchange begins.
    pub(super) fn due_at(&self) -> Instant {
        // An exchange that goes on is not interrupted, unless the answer does not come.
        self.asked.as_ref().map_or(self.next_at, |(.., patience)| self.next_at.max(*patience))
    }

    /// Begins an exchange: first comes what the last one has left lacking.
    pub(super) fn begin(&mut self, next_at: Instant, groups: Vec<u16>) {
        self.next_at = next_at;
        self.exchange += 1;
        self.asked = None;
        self.pull_from = self.lacking.keys().next().copied();
        self.sweep = Some(Sweep { groups, from: Slot::default(), version: None });
    }

    /// Ends the exchange early.
    pub(super) fn give_up(&mut self) {
        self.pull_from = None;
        self.sweep = None;
    }

    pub(super) fn asked(&mut self, question: Question, serial: u64, patience: Instant) {
        self.asked = Some((question, serial, patience));
    }

    /// The question that an answer belongs to.
    pub(super) fn take_question(&mut self, serial: u64) -> Option<Question> {
        let asked = self.asked.take_if(|(_, of, _)| *of == serial)?;
        Some(asked.0)
    }

    pub(super) fn next_question(
        &mut self,
        holdings: &impl Holdings,
    ) -> Option<(Question, Message)> {
        self.next_pull(holdings.knowledge()).or_else(|| {
            let sweep = self.sweep.as_ref()?;
            let group = *sweep.groups.first()?;
            let since = self.versions.get(&group).copied().unwrap_or(0);
            let (shards, from) = (holdings.shards(), sweep.from);
            Some((Question::Summary, Message::AskClocks { group, shards, since, from }))
        })
    }

    /// Asks for dots of one group that have been lacking since an earlier exchange.
    fn next_pull(&mut self, knowledge: &Knowledge) -> Option<(Question, Message)> {
        let mut wanted: Vec<SlotDots> = Vec::new();
        let mut left = CLOCKS_DOTS_PER_REQUEST;
        let mut come = Vec::new();
        let from = self.pull_from.take()?;
        for (&(slot, origin), lacking) in self.lacking.range_mut(from..) {
            let other_group =
                wanted.first().is_some_and(|first| first.slot.group() != slot.group());
            if left == 0 || other_group {
                self.pull_from = Some((slot, origin));
                break;
            }
            if lacking.exchange >= self.exchange {
                continue;
            }
            match knowledge.lacking(slot, origin, &lacking.counters) {
                Some(rest) if !rest.is_empty() => lacking.counters = rest,
                _ => {
                    come.push((slot, origin));
                    continue;
                }
            }
            lacking.exchange = self.exchange;
            let ranges = lacking.counters.ranges().map_while(|(first, last)| {
                let last = last.min(first.saturating_add(left.checked_sub(1)?));
                left -= last - first + 1;
                Some(DotRange { origin, first, last })
            });
            match wanted.last_mut().filter(|last| last.slot == slot) {
                Some(last) => last.ranges.extend(ranges),
                None => wanted.push(SlotDots { slot, ranges: ranges.collect() }),
            }
        }
        come.iter().for_each(|key| drop(self.lacking.remove(key)));
        let group = wanted.first()?.slot.group();
        let message = Message::AskDots { group, wanted: wanted.clone() };
        Some((Question::Dots(wanted), message))
    }

    /// The peer holds these dots of slots that have changed.
    pub(super) fn take_summary(
        &mut self,
        holdings: &mut impl Holdings,
        from: MemberNumber,
        slots: Vec<SlotDots>,
    ) {
        for found in slots {
            if !holdings.is_shared(found.slot, from) {
                continue;
            }
            for (origin, claimed) in by_origin(&found) {
                let key = (found.slot, origin);
                if Mutant::ClocksClaimUnmerged.is_planted() {
                    holdings.knowledge_mut().note_all(found.slot, origin, &claimed);
                }
                let lacking = holdings.knowledge().lacking(found.slot, origin, &claimed);
                let Some(lacking) = lacking.filter(|lacking| !lacking.is_empty()) else {
                    self.lacking.remove(&key);
                    continue;
                };
                self.note_lacking(key, self.without_pended(key, lacking));
            }
        }
    }

    fn without_pended(&self, key: (Slot, Origin), lacking: Counters) -> Counters {
        let pended = [&self.reported, &self.riding].into_iter().filter_map(|dots| dots.get(&key));
        pended.fold(lacking, |rest, pended| rest.without(pended))
    }

    fn note_lacking(&mut self, key: (Slot, Origin), counters: Counters) {
        if counters.is_empty() {
            self.lacking.remove(&key);
            return;
        }
        let is_full = self.lacking.len() >= CLOCKS_LACKING_MAX && !self.lacking.contains_key(&key);
        if self.level != Level::Reached || is_full || counters.len() > CLOCKS_PULLED_MAX {
            self.lacking.remove(&key);
            self.report(key, &counters);
            return;
        }
        let exchange = self.exchange;
        let lacking =
            self.lacking.entry(key).or_insert(Lacking { counters: Counters::default(), exchange });
        lacking.counters = counters;
    }

    /// One page of changes was taken: goes on with the next one, or with the next shard.
    pub(super) fn turn_page(&mut self, shards: u16, version: u64, next: Option<Slot>) {
        let Some(sweep) = &mut self.sweep else { return };
        let Some(&group) = sweep.groups.first() else { return };
        let version = *sweep.version.get_or_insert(version);
        match next {
            Some(next) if next > sweep.from => sweep.from = next,
            // Pages that do not come forward would never end.
            Some(_) => self.sweep = None,
            None => {
                self.versions.insert(group, version);
                let shards = shards.max(1);
                sweep.groups.retain(|other| other % shards != group % shards);
                (sweep.from, sweep.version) = (Slot::default(), None);
                if sweep.groups.is_empty() && self.level == Level::New {
                    self.level = Level::Reported;
                }
            }
        }
    }

    /// The effects of some of the dots that were asked for, and which of them the peer has
    /// forgotten. Returns how many were merged, and how many are absent.
    pub(super) fn take_effects(
        &mut self,
        holdings: &mut impl Holdings,
        from: MemberNumber,
        wanted: Vec<SlotDots>,
        effects: Vec<DottedEffect>,
        absent: &[SlotDots],
    ) -> (u64, u64) {
        let asked = |slot: Slot| wanted.binary_search_by_key(&slot, |wanted| wanted.slot).ok();
        let before = self.still_lacking(holdings.knowledge(), &wanted);
        let mut pulled = 0;
        let mut refused = false;
        for DottedEffect { slot, dots, effect } in effects {
            if asked(slot).is_none() || !holdings.is_shared(slot, from) {
                continue;
            }
            let count = dots.len() as u64;
            if Mutant::ClocksPullUnmerged.is_planted() {
                continue;
            }
            let merged = holdings.merge_dotted(slot, dots, &effect);
            refused |= !merged;
            pulled += if merged { count } else { 0 };
        }
        let mut forgotten = 0;
        for found in absent {
            let Some(at) = asked(found.slot) else { continue };
            let wanted: BTreeMap<Origin, Counters> = by_origin(&wanted[at]).collect();
            for (origin, counters) in by_origin(found) {
                let Some(wanted) = wanted.get(&origin) else { continue };
                // What both have: nobody pends what was not asked.
                let counters = wanted.without(&wanted.without(&counters));
                forgotten += counters.len();
                self.pend((found.slot, origin), &counters);
            }
        }
        // What did not fit into the answer is asked for at once, as long as this leads somewhere.
        if !refused && self.still_lacking(holdings.knowledge(), &wanted) < before {
            self.ask_again(holdings.knowledge(), &wanted);
        }
        (pulled, forgotten)
    }

    /// How many dots of the slots and origins asked for are lacking.
    fn still_lacking(&self, knowledge: &Knowledge, wanted: &[SlotDots]) -> u64 {
        let lacking = keys_of(wanted).filter_map(|key| {
            let lacking = self.lacking.get(&key)?;
            Some(knowledge.lacking(key.0, key.1, &lacking.counters)?.len())
        });
        lacking.sum()
    }

    /// Notes what the next round settles. What there is no room for stays unknown until its slot
    /// changes or the peer comes up anew, and is reported again: fewer claims are always sound.
    fn report(&mut self, key: (Slot, Origin), counters: &Counters) {
        if self.pended() < CLOCKS_PENDED_MAX || self.reported.contains_key(&key) {
            add(self.reported.entry(key).or_default(), counters);
        }
    }

    fn pend(&mut self, key: (Slot, Origin), counters: &Counters) {
        if counters.is_empty() {
            return;
        }
        self.report(key, counters);
        if let Some(lacking) = self.lacking.get_mut(&key) {
            lacking.counters = lacking.counters.without(counters);
            if lacking.counters.is_empty() {
                self.lacking.remove(&key);
            }
        }
    }

    fn ask_again(&mut self, knowledge: &Knowledge, wanted: &[SlotDots]) {
        let mut first = None;
        for key in keys_of(wanted) {
            let Some(lacking) = self.lacking.get_mut(&key) else { continue };
            match knowledge.lacking(key.0, key.1, &lacking.counters) {
                Some(rest) if !rest.is_empty() => {
                    lacking.exchange = self.exchange - 1;
                    first = first.or(Some(key));
                }
                _ => drop(self.lacking.remove(&key)),
            }
        }
        self.pull_from = first.or(self.pull_from);
    }

    /// An anti-entropy round begins: what was reported until now it settles.
    pub(super) fn round_begun(&mut self) {
        if self.level == Level::Reported {
            self.level = Level::Riding;
        }
        for (key, counters) in core::mem::take(&mut self.reported) {
            add(self.riding.entry(key).or_default(), &counters);
        }
    }

    /// The round has exchanged everything.
    pub(super) fn synced(&mut self, knowledge: &mut Knowledge) {
        if self.level == Level::Riding {
            self.level = Level::Reached;
        }
        for ((slot, origin), counters) in core::mem::take(&mut self.riding) {
            knowledge.note_all(slot, origin, &counters);
        }
    }

    /// Whether an anti-entropy round is to be asked for now.
    pub(super) fn take_suspicion(&mut self, now: Instant) -> bool {
        let waits = !self.reported.is_empty() || self.level == Level::Reported;
        // Halfway through its first report a round would settle only half of it.
        let suspects = waits && self.level != Level::New && self.suspect_at <= now;
        if suspects {
            self.suspect_at = now + CLOCKS_SUSPICION_PAUSE;
        }
        suspects
    }

    /// Slots and origins that wait for a round.
    pub(super) fn pended(&self) -> usize {
        self.reported.len() + self.riding.len()
    }
}

/// Notes more counters, within the bound of what is remembered of one origin in one slot.
fn add(counters: &mut Counters, more: &Counters) {
    counters.insert_all(more);
    counters.keep_lowest(CLOCKS_RANGES_MAX);
}

/// The slots and origins of some dots, each once.
fn keys_of(dots: &[SlotDots]) -> impl Iterator<Item = (Slot, Origin)> {
    dots.iter().flat_map(|slot| {
        slot.ranges.chunk_by(|a, b| a.origin == b.origin).map(|of| (slot.slot, of[0].origin))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_round_is_bounded_whatever_a_peer_reports() {
        let mut peer = Peer::new(Instant::ZERO);
        let key = |number: usize| (Slot::default(), Origin(number as u32));
        let of = |counter| {
            let mut counters = Counters::default();
            counters.insert(counter);
            counters
        };
        (0..100).for_each(|number| peer.report(key(0), &of(2 * number + 1)));
        assert_eq!(peer.reported[&key(0)].ranges().count(), 1 + CLOCKS_RANGES_MAX);
        (0..CLOCKS_PENDED_MAX / 2).for_each(|number| peer.report(key(number), &of(1)));
        peer.round_begun();
        (0..CLOCKS_PENDED_MAX).for_each(|number| peer.report(key(number), &of(1)));
        assert_eq!(
            (peer.pended(), peer.reported.len()),
            (CLOCKS_PENDED_MAX, CLOCKS_PENDED_MAX / 2)
        );
        peer.report(key(7), &of(2));
        assert_eq!(peer.reported[&key(7)].len(), 2, "what waits already goes on");
    }
}
