//! Checkers: what clients saw, against what is promised.
//!
//! | checker | promise |
//! |---|---|
//! | `outcomes` | nothing is read that was never written, or whose write was called failed |
//! | `stale` | a read sees every write acknowledged before it, where the levels overlap |
//! | `lost` | after everything has settled, every acknowledged write is there, whatever its level |
//! | `backwards` | what reads show never goes back in time, and has one order |
//! | `resurrection` | what a delete or an expiry has ended does not come back |
//! | `counter` | a counter is the sum of what was acknowledged, and at most of what is unknown |
//! | `unique` | where nothing fails, no two increments of a counter are answered alike |
//! | `lifetime` | an expiry ends the object that it was set for, and none that began later |
//! | `whole` | what transactions write is seen together, or not at all |
//! | `linearizable` | registers and lists behave as if operations happened one by one |
//! | `order` | the items of an array have one order, for everybody and for ever |
//! | `equal` | every node reads the same in the end |
//! | `available` | where faults leave enough replicas, every operation is acknowledged |
//! | `refused` | no operation fails while one node is away, or because it starts |
//!
//! The world itself judges `index`, `catalog`, `convergence`, `founders`, `origins`, `ledger`,
//! `deadlines`, `bounds` and `replies`, and the runner `determinism`.

mod array;
mod cell;
mod counter;
mod lifetime;
mod linear;
mod set;
mod twin;

use std::collections::BTreeMap;

use quorate_cluster::limits::CLOCK_SKEW_MAX;
use quorate_proto::Level;

use crate::{
    action::{Action, Family, Key, Returned},
    fault::{Fault, Planned},
    history::{History, Operation, Time},
    scenario::{Excused, Scenario},
    world::Violation,
};

/// What checkers know besides the history.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Two moments further apart than this, in microseconds, have stamps in their order.
    pub uncertainty: Time,
    /// What is not promised.
    pub excused: Excused,
    /// Whether there is only one datacentre, so that local quorums are quorums.
    pub one_datacentre: bool,
    /// Whether registers and lists are linearizable.
    pub linearizable: bool,
    /// Whether no two writes that decide by what they find may decide alike.
    pub unique: bool,
    /// The one outage of a node whose end is not to show.
    pub outage: Option<Outage>,
}

/// The time between the end of a process and the next start of its node.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    node: usize,
    from: Time,
    until: Time,
}

impl Outage {
    /// The first one in a script.
    fn first(script: &[Planned]) -> Option<Self> {
        script.iter().find_map(|planned| match planned.fault {
            Fault::Kill { node } => {
                Some(Self { node, from: planned.at, until: planned.at + planned.lasts })
            }
            _ => None,
        })
    }

    /// Whether the node had to miss `write`, and everybody else has it, when it was asked for
    /// `read`.
    fn hides(&self, write: &Operation, read: &Operation) -> bool {
        let missed = self.from <= write.start && write.end <= self.until;
        missed && write.write_level == Level::Quorum && read.node == self.node
    }
}

impl Terms {
    /// The terms of a scenario with this script.
    pub fn new(scenario: &Scenario, script: &[Planned]) -> Self {
        let first = scenario.nodes.first().map(|(datacentre, _)| *datacentre);
        Self {
            uncertainty: uncertainty(script),
            excused: scenario.excused,
            one_datacentre: scenario.nodes.iter().all(|(name, _)| Some(*name) == first),
            linearizable: scenario.linearizable,
            unique: scenario.unique,
            outage: scenario.comes_back.then(|| Outage::first(script)).flatten(),
        }
    }

    /// Whether a write of one operation and a read of another one meet at some replica, or a read
    /// and a later read, whose repair is a write. The first is `by`, at `level`.
    fn meet(&self, (by, level): (&Operation, Level), (read, at): (&Operation, Level)) -> bool {
        let is_local_quorum = |level| level == Level::LocalQuorum;
        let same = self.one_datacentre || by.datacentre == read.datacentre;
        match (level, at) {
            (Level::All, _) | (_, Level::All) => true,
            _ if level.is_of_one() || at.is_of_one() => false,
            (Level::EachQuorum, _) | (_, Level::EachQuorum) | (Level::Quorum, Level::Quorum) => {
                true
            }
            _ if is_local_quorum(level) && is_local_quorum(at) => same,
            _ => self.one_datacentre,
        }
    }

    /// Whether `read` must see what `write` wrote.
    fn must_see(&self, write: &Operation, read: &Operation) -> bool {
        if !write.is_ok() || write.end > read.start {
            return false;
        }
        let kept = !(self.excused.writes_at_one && write.write_level.is_of_one());
        kept && read.last
            || self.outage.is_some_and(|outage| outage.hides(write, read))
            || kept
                && !self.excused.stale_reads
                && self.meet((write, write.write_level), (read, read.read_level))
    }

    /// Whether a write that reads first, which it does at its write level, must have seen what
    /// `write` wrote.
    fn must_know(&self, write: &Operation, later: &Operation) -> bool {
        !self.excused.stale_reads
            && write.is_ok()
            && write.end <= later.start
            && self.meet((write, write.write_level), (later, later.write_level))
    }

    /// Whether `second` must show at least what `first` showed.
    fn must_follow(&self, first: &Operation, second: &Operation) -> bool {
        first.end <= second.start
            && !self.excused.stale_reads
            && (second.last
                || !self.excused.backwards
                    && self.meet((first, first.read_level), (second, second.read_level))
                    && !first.read_level.is_of_one()
                    && !second.read_level.is_of_one())
    }

    /// Whether the stamp of `first` is certainly below that of `second`.
    fn surely_before(&self, first: &Operation, second: &Operation) -> bool {
        first.effective_end().saturating_add(self.uncertainty) < second.start
    }
}

/// Nodes do not believe jumps of their clocks: the stamps of two of them are never further apart
/// than twice the bound within which peers confirm each other.
const APART_MAX: Time = 2 * CLOCK_SKEW_MAX.as_micros() as Time;

/// How far apart two stamps can be that were taken at the same moment.
fn uncertainty(script: &[Planned]) -> Time {
    let skews = || {
        script.iter().filter_map(|planned| match planned.fault {
            Fault::Skew { node, ms } => Some((planned, node, ms)),
            _ => None,
        })
    };
    let (mut least, mut most) = (0, 0);
    for (moment, node, _) in skews() {
        let active = skews().filter(|(planned, other, _)| {
            *other == node
                && planned.at <= moment.at
                && moment.at <= planned.at.saturating_add(planned.lasts)
        });
        let sum: i64 = active.map(|(_, _, ms)| ms).sum();
        (least, most) = (least.min(sum), most.max(sum));
        // One of them may end while the others go on.
        for (_, _, ms) in skews().filter(|(_, other, _)| *other == node) {
            (least, most) = (least.min(ms), most.max(ms));
        }
    }
    let drift: u64 = script
        .iter()
        .map(|planned| match planned.fault {
            Fault::Drift { ppm, .. } => planned.lasts * ppm.unsigned_abs() / 1_000_000,
            _ => 0,
        })
        .sum();
    ((most - least).unsigned_abs() * 1_000 + drift + 2_000).min(APART_MAX)
}

/// Everything that is wrong with a history.
pub fn all(scenario: &Scenario, script: &[Planned], history: &History) -> Vec<Violation> {
    let mut violations = judge(&Terms::new(scenario, script), history);
    if scenario.available {
        available(history, scenario.calm_until, &mut violations);
    }
    if scenario.local_within > 0 {
        local(history, scenario, &mut violations);
    }
    if scenario.comes_back {
        refused(history, &mut violations);
    }
    violations
}

/// Everything that is wrong with a history on these terms.
pub fn judge(terms: &Terms, history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for family in [Family::Register, Family::Hash, Family::Document, Family::Twin, Family::FarTwin]
    {
        for (key, operations) in history.by_key(family) {
            for cell in cell::cells(family, &operations) {
                cell::check(terms, key, &cell, &mut violations);
            }
        }
    }
    for family in [Family::Counter, Family::DocumentCounter] {
        for (key, operations) in history.by_key(family) {
            counter::check(terms, key, &operations, &mut violations);
        }
    }
    for (key, operations) in history.by_key(Family::DocumentArray) {
        array::check(terms, key, &operations, &mut violations);
    }
    for family in [Family::Set, Family::SortedSet] {
        for (key, operations) in history.by_key(family) {
            set::check(terms, key, &operations, &mut violations);
        }
    }
    for family in Family::TIMED {
        for (key, operations) in history.by_key(family) {
            lifetime::check(terms, key, &operations, &mut violations);
        }
    }
    twin::check(history, &mut violations);
    for family in [Family::Register, Family::List, Family::Twin, Family::FarTwin] {
        for (key, operations) in history.by_key(family) {
            let excused = terms.excused.stale_reads || terms.excused.backwards;
            if terms.linearizable && !excused {
                linear::check(key, &operations, &mut violations);
            }
        }
    }
    equal(history, &mut violations);
    violations
}

/// Every operation was acknowledged that began after this moment.
fn available(history: &History, since: Time, violations: &mut Vec<Violation>) {
    let failed = |found: &&Operation| !found.is_ok() && found.start >= since;
    for operation in history.operations.iter().filter(failed) {
        violations.push(Violation::new("available", operation.describe()));
    }
}

/// What was asked at a local level was answered as fast as a datacentre is by itself.
fn local(history: &History, scenario: &Scenario, violations: &mut Vec<Violation>) {
    let is_local = |found: &&Operation| {
        let level = if found.action.writes() { found.write_level } else { found.read_level };
        level.is_local() && !found.last && found.start >= scenario.calm_until
    };
    let is_late = |found: &&Operation| found.end - found.start > scenario.local_within;
    for operation in history.operations.iter().filter(is_local).filter(is_late) {
        let took_ms = (operation.end - operation.start) / 1_000;
        let text = format!("{took_ms} ms: {}", operation.describe());
        violations.push(Violation::new("local", text));
    }
}

/// No operation failed, but for those whose connections broke.
fn refused(history: &History, violations: &mut Vec<Violation>) {
    for operation in history.operations.iter().filter(|found| found.is_failed()) {
        violations.push(Violation::new("refused", operation.describe()));
    }
}

/// Every node reads the same in the end.
fn equal(history: &History, violations: &mut Vec<Violation>) {
    let mut seen: BTreeMap<Key, &Operation> = BTreeMap::new();
    let last = |found: &&Operation| found.last && !found.action.writes();
    for operation in history.operations.iter().filter(last) {
        let Some(returned) = operation.returned() else { continue };
        let first = *seen.entry(operation.key).or_insert(operation);
        if first.returned() != Some(returned) {
            let text = format!("{} and {}", first.describe(), operation.describe());
            violations.push(Violation::new("equal", text));
        }
    }
}

/// What a read shows of a family's one value: a register or one field of a hash.
fn shown(returned: &Returned, field: Option<u64>) -> Option<u64> {
    match (returned, field) {
        (Returned::Number(value), None) => u64::try_from(*value).ok(),
        (Returned::Fields(fields), Some(field)) => {
            fields.iter().find(|(name, _)| *name == field).map(|(_, value)| *value)
        }
        _ => None,
    }
}

/// Whether an action ends what `field` of a key, or the whole key, holds.
fn erases(action: Action, field: Option<u64>) -> bool {
    match action {
        Action::Delete | Action::Flush => true,
        Action::Drop(dropped) => Some(dropped) == field,
        Action::DropHalf(half) => field.is_some_and(|field| field % 2 == half % 2),
        // It takes the place of an object, with all the other members.
        Action::PutAlone(put, _) => field.is_some_and(|field| field != put && field % 2 == put % 2),
        _ => false,
    }
}
