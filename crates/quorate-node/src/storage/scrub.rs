//! The scrub of a shard: its digests are computed again, and what it has on disk is read again.
//!
//! ```text
//!           due, or ordered         every slot             log, then hints for every target
//!   Idle ------------------> Digests ----------> Reading -----------------------------------.
//!    ^                                                                                      |
//!    '------ Healing: until memory has been written again in the place of what is damaged <-'
//! ```
//! Digests are computed in turns of the shard, a bounded number at a time; reads are orders that
//! other threads carry out. Both keep to a pace. A pass is not remembered over a restart, which
//! reads the whole log itself and builds every digest anew.

use std::{collections::VecDeque, time::Duration};

use quorate_cluster::{random::Random, time::Instant};
use quorate_log::{Damage, HintLog, ScrubJob, ScrubPosition, Scrubbed, SegmentLog, SetAside};
use quorate_proto::{MemberNumber, Slot, slot::SLOTS};
use quorate_store::SlotScrub;

use super::Storage;
use crate::{config::Settings, limits};

/// What scrubs have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Keys whose digests were computed again.
    pub(crate) keys: u64,
    /// Bytes that were read from disk again.
    pub(crate) bytes: u64,
    /// Digests of slots and keys that were wrong.
    pub(crate) mismatches: u64,
    /// Places on disk that were damaged.
    pub(crate) damages: u64,
}

impl Tally {
    /// Both together.
    pub(crate) fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
        self.mismatches += other.mismatches;
        self.damages += other.damages;
    }
}

/// How the last pass ended, or that one runs. Of several shards the largest stands for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// There was none.
    #[default]
    None,
    /// Nothing was wrong.
    Clean,
    /// It was stopped before its end.
    Stopped,
    /// The log had failed and could not be read.
    Failed,
    /// Something was wrong.
    Found,
    /// One is under way.
    Running,
}

/// What is read in a pass, by number: the log, then the hints for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Log,
    Hints(MemberNumber),
}

impl Place {
    fn numbered(number: usize) -> Self {
        number.checked_sub(1).map_or(Self::Log, |node| Self::Hints(MemberNumber(node as u16)))
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    /// Up to the slot with this number digests are computed.
    Digests(u16),
    /// Where in which place reading goes on; at its beginning without a position.
    Reading {
        number: usize,
        position: Option<ScrubPosition>,
    },
    Healing {
        until: Instant,
    },
}

/// A part to read, for any thread.
#[derive(Debug)]
pub struct ScrubOrder {
    pass: u32,
    place: Place,
    job: ScrubJob,
}

/// A part that was read.
#[derive(Debug)]
pub struct ScrubEnded {
    pass: u32,
    place: Place,
    scrubbed: Scrubbed,
}

impl ScrubOrder {
    /// Reads.
    pub(crate) fn run(self) -> ScrubEnded {
        let Self { pass, place, job } = self;
        ScrubEnded { pass, place, scrubbed: job.run() }
    }
}

/// The scrub of one shard.
#[derive(Debug)]
pub(crate) struct Scrub {
    interval: Option<Duration>,
    bytes_per_second: u64,
    random: Random,
    stage: Stage,
    /// When the next step or pass is due; `None` while a part is being read, and when no pass is to
    /// come.
    due: Option<Instant>,
    /// Counts the passes: a part that an earlier one had ordered does not move this one on.
    pass: u32,
    order: Option<ScrubOrder>,
    outcome: Outcome,
    /// Of the pass that runs or ran last, and of all.
    of_pass: Tally,
    total: Tally,
    /// What the pass has found, in words.
    findings: VecDeque<String>,
    done_ms: u64,
}

impl Scrub {
    /// The scrub of a shard that starts now.
    pub(crate) fn new(now: Instant, settings: &Settings, seed: u64) -> Self {
        let shards = u64::from(settings.shards);
        let mut scrub = Self {
            interval: settings.scrub_interval,
            bytes_per_second: (settings.scrub_bytes_per_second / shards).max(1),
            random: Random::new(seed),
            stage: Stage::Idle,
            due: None,
            pass: 0,
            order: None,
            outcome: Outcome::None,
            of_pass: Tally::default(),
            total: Tally::default(),
            findings: VecDeque::new(),
            done_ms: 0,
        };
        scrub.rest(now);
        scrub
    }

    /// When [`Scrub::handle_timeout`] wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// A part to read, if one is wanted.
    pub(crate) fn take_order(&mut self) -> Option<ScrubOrder> {
        self.order.take()
    }

    /// Begins a pass, anew if one is under way.
    pub(crate) fn start(&mut self, now: Instant) {
        self.pass = self.pass.wrapping_add(1);
        self.order = None;
        self.stage = Stage::Digests(0);
        self.outcome = Outcome::Running;
        self.of_pass = Tally::default();
        self.findings.clear();
        self.due = Some(now);
    }

    /// Ends the pass that is under way, if one is. The next one comes at its time.
    pub(crate) fn stop(&mut self, now: Instant) {
        if self.outcome == Outcome::Running {
            self.outcome = Outcome::Stopped;
            self.rest(now);
        }
    }

    /// How the last pass ended, or that one runs.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What the pass that runs or ran last has come to.
    pub(crate) fn of_pass(&self) -> Tally {
        self.of_pass
    }

    /// What all passes since the start have come to.
    pub(crate) fn total(&self) -> Tally {
        self.total
    }

    /// What the pass that runs or ran last has found, as far as it is kept.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &str> {
        self.findings.iter().map(String::as_str)
    }

    /// Wall clock when a pass last went through to its end; zero before.
    pub(crate) fn done_ms(&self) -> u64 {
        self.done_ms
    }

    /// Does what is due. Returns whether digests were wrong: what they speak of may be as well, so
    /// the replicas have to be compared.
    pub(crate) fn handle_timeout(&mut self, now: Instant, storage: &mut Storage) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        match self.stage {
            Stage::Idle => self.start(now),
            Stage::Digests(next) => return self.compute(now, storage, next),
            Stage::Reading { number, position } => self.read(now, storage, number, position),
            Stage::Healing { until } => {
                let is_healed = !storage.log.as_ref().is_some_and(SegmentLog::has_damage);
                if is_healed || until <= now {
                    self.finish(now, storage);
                } else {
                    self.due = Some(now + LOOK_PAUSE);
                }
            }
        }
        false
    }

    /// A part was read.
    pub(crate) fn handle_read(&mut self, now: Instant, storage: &mut Storage, ended: ScrubEnded) {
        let ScrubEnded { pass, place, scrubbed } = ended;
        let bytes = scrubbed.bytes;
        let (position, finding) = storage.scrub_ended(place, scrubbed);
        let tally = Tally { bytes, damages: u64::from(finding.is_some()), ..Tally::default() };
        self.total.add(tally);
        if let Some(finding) = finding {
            tracing::error!(%finding, "a scrub has found damage on disk");
            self.note(finding);
        }
        let Stage::Reading { number, .. } = self.stage else { return };
        if pass != self.pass || Place::numbered(number) != place {
            return;
        }
        self.of_pass.add(tally);
        self.stage = Stage::Reading { number, position };
        self.due = Some(now + pause(bytes, self.bytes_per_second));
    }

    /// Computes digests again, of some slots.
    fn compute(&mut self, now: Instant, storage: &mut Storage, mut next: u16) -> bool {
        let (mut elements, mut wrong) = (0, false);
        while next < SLOTS && elements < limits::SCRUB_ELEMENTS_PER_TURN {
            let Some(slot) = Slot::new(next) else { break };
            next += 1;
            let found = storage.store.scrub_slot(slot);
            let mismatches = found.mismatches();
            let tally = Tally { keys: found.keys, mismatches, ..Tally::default() };
            self.total.add(tally);
            self.of_pass.add(tally);
            elements += found.elements;
            if mismatches > 0 {
                wrong = true;
                let finding = describe(slot, &found);
                tracing::error!(%finding, "digests were wrong; the replicas are compared at once");
                self.note(finding);
            }
        }
        self.stage = match next {
            SLOTS.. => Stage::Reading { number: 0, position: None },
            next => Stage::Digests(next),
        };
        self.due = Some(now + pause(elements, limits::SCRUB_ELEMENTS_PER_SECOND));
        wrong
    }

    /// Orders the next part to be read.
    fn read(
        &mut self,
        now: Instant,
        storage: &Storage,
        number: usize,
        position: Option<ScrubPosition>,
    ) {
        let (mut number, mut position) = (number, position);
        while number <= usize::from(storage.topology.numbers().given()) {
            let place = Place::numbered(number);
            let begun = position.or_else(|| storage.begin_scrub(place));
            let job = begun.and_then(|begun| storage.scrub_job(place, begun));
            if let Some(job) = job {
                self.stage = Stage::Reading { number, position: begun };
                self.order = Some(ScrubOrder { pass: self.pass, place, job });
                self.due = None;
                return;
            }
            (number, position) = (number + 1, None);
        }
        self.stage = Stage::Healing { until: now + limits::SCRUB_HEALING_PATIENCE };
        self.due = Some(now);
    }

    fn finish(&mut self, now: Instant, storage: &Storage) {
        let Tally { mismatches, damages, keys, bytes } = self.of_pass;
        self.outcome = match mismatches + damages {
            0 if storage.has_failed() => Outcome::Failed,
            0 => Outcome::Clean,
            _ => Outcome::Found,
        };
        self.done_ms = storage.wall_ms;
        tracing::info!(keys, bytes, mismatches, damages, "a scrub has ended");
        self.rest(now);
    }

    /// Nothing to do until the next pass, at a time that differs from shard to shard and from node
    /// to node: between half of the interval and all of it.
    fn rest(&mut self, now: Instant) {
        const PARTS: u32 = 1 << 16;
        self.stage = Stage::Idle;
        self.order = None;
        self.due = self.interval.map(|interval| {
            let half = interval / 2;
            now + half + half / PARTS * self.random.below(PARTS + 1)
        });
    }

    fn note(&mut self, finding: String) {
        if self.findings.len() < limits::SCRUB_FINDINGS_MAX {
            self.findings.push_back(finding);
        }
    }
}

impl Storage {
    fn begin_scrub(&self, place: Place) -> Option<ScrubPosition> {
        match place {
            Place::Log => self.log.as_ref().map(SegmentLog::begin_scrub),
            Place::Hints(target) => self.hints.log(target).map(HintLog::begin_scrub),
        }
    }

    fn scrub_job(&self, place: Place, position: ScrubPosition) -> Option<ScrubJob> {
        match place {
            Place::Log => self.log.as_ref()?.scrub_job(position, limits::SCRUB_JOB_BYTES),
            Place::Hints(target) => {
                self.hints.log(target)?.scrub_job(position, limits::SCRUB_JOB_BYTES)
            }
        }
    }

    /// Notes what was read. Returns where to go on, and what is damaged, in words.
    fn scrub_ended(
        &mut self,
        place: Place,
        scrubbed: Scrubbed,
    ) -> (Option<ScrubPosition>, Option<String>) {
        let in_words = |directory: &std::path::Path, damage: Damage| {
            format!("{}: {damage}", directory.display())
        };
        match place {
            Place::Log => {
                let Some(log) = &mut self.log else { return (None, None) };
                let (position, damage) = log.scrub_ended(scrubbed);
                (Some(position), damage.map(|damage| in_words(log.directory(), damage)))
            }
            Place::Hints(target) => {
                // It may have been given up meanwhile.
                let Some(log) = self.hints.log_mut(target) else { return (None, None) };
                let (position, damage) = log.scrub_ended(scrubbed);
                let finding = damage.map(|damage| in_words(log.directory(), damage));
                self.hints.note_lost(target, self.store.epoch());
                (Some(position), finding)
            }
        }
    }
}

/// Tells the operator where a damaged segment has gone.
pub(crate) fn report_set_aside(aside: &SetAside) {
    match aside {
        SetAside::Kept(place) => {
            tracing::warn!(place = %place.display(), "a damaged segment was moved aside");
        }
        SetAside::Deleted(path) => {
            let path = path.display();
            tracing::warn!(%path, "a damaged segment was deleted: the quarantine has no room");
        }
    }
}

fn describe(slot: Slot, found: &SlotScrub) -> String {
    let mut text = format!("slot {}: ", slot.number());
    if found.slot_was_wrong {
        text.push_str("its digest was wrong");
    }
    if found.wrong_keys > 0 {
        let separator = if found.slot_was_wrong { ", and " } else { "" };
        let named: Vec<String> =
            found.named.iter().map(|key| key.escape_ascii().to_string()).collect();
        let more = if found.wrong_keys > found.named.len() as u64 { ", ..." } else { "" };
        let keys = format!(
            "{separator}the digests of {} keys were: {}{more}",
            found.wrong_keys,
            named.join(", ")
        );
        text.push_str(&keys);
    }
    text
}

/// The time that `amount` takes at this rate.
fn pause(amount: u64, per_second: u64) -> Duration {
    Duration::from_micros(amount.saturating_mul(1_000_000) / per_second.max(1))
}

/// Pause between two looks at whether damage is healed.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
