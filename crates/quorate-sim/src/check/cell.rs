//! One value that is overwritten and erased: a register, or one field of a hash.
//!
//! Writes have unique values and the newest stamp wins, so everything that was seen must fit one
//! order of the writes: those that are surely before others, those that a read had to know, and
//! those that reads have shown after others. A cycle is a contradiction.

use std::collections::BTreeMap;

use super::{Terms, erases, shown};
use crate::{
    action::{Action, Family, Key},
    history::{Operation, Time},
    world::Violation,
};

/// One value over time.
pub(super) struct Cell<'a> {
    /// The field of a hash.
    field: Option<u64>,
    /// Writes by their value.
    writes: BTreeMap<u64, &'a Operation>,
    /// What may have erased it.
    erasers: Vec<&'a Operation>,
    /// What reads have shown.
    reads: Vec<(&'a Operation, Option<u64>)>,
}

/// The values of a key.
pub(super) fn cells<'a>(family: Family, operations: &[&'a Operation]) -> Vec<Cell<'a>> {
    let fields: Vec<Option<u64>> = if matches!(family, Family::Hash | Family::Document) {
        let mut fields: Vec<u64> = operations
            .iter()
            .filter_map(|found| match found.action {
                Action::Put(field, _) | Action::PutAlone(field, _) => Some(field),
                _ => None,
            })
            .collect();
        fields.sort_unstable();
        fields.dedup();
        fields.into_iter().map(Some).collect()
    } else {
        vec![None]
    };
    fields.into_iter().map(|field| cell(field, operations)).collect()
}

fn cell<'a>(field: Option<u64>, operations: &[&'a Operation]) -> Cell<'a> {
    let value = |action: Action| match action {
        Action::Set(value) | Action::SetFor(value, _) | Action::Swap(value) => {
            field.is_none().then_some(value)
        }
        Action::Put(put, value) | Action::PutAlone(put, value) => {
            (Some(put) == field).then_some(value)
        }
        _ => None,
    };
    let writes = operations.iter().filter_map(|found| Some((value(found.action)?, *found)));
    let erasers = operations.iter().filter(|found| erases(found.action, field));
    let reads = operations.iter().filter(|found| !found.action.writes());
    Cell {
        field,
        writes: writes.collect(),
        erasers: erasers.filter(|found| !found.is_failed()).copied().collect(),
        reads: reads.filter_map(|found| Some((*found, shown(found.returned()?, field)))).collect(),
    }
}

pub(super) fn check(terms: &Terms, key: Key, cell: &Cell<'_>, violations: &mut Vec<Violation>) {
    let name = match cell.field {
        Some(field) => format!("{key}.{field}"),
        None => key.to_string(),
    };
    let mut report = |checker, text: String| {
        violations.push(Violation::new(checker, format!("{name}: {text}")));
    };
    let mut sound = true;
    for (read, shown) in &cell.reads {
        let Some(value) = shown else {
            missing(terms, cell, read, &mut report);
            continue;
        };
        match cell.writes.get(value) {
            None => {
                sound = false;
                report("outcomes", format!("{value} was never written: {}", read.describe()));
            }
            Some(write) if write.is_failed() => {
                let text = format!("{} yet {}", write.describe(), read.describe());
                report("outcomes", text);
            }
            Some(write) => revived(terms, cell, write, read, &mut report),
        }
    }
    if sound {
        order(terms, cell, &mut report);
    }
}

/// A read showed nothing: something must have erased what it had to see.
fn missing(
    terms: &Terms,
    cell: &Cell<'_>,
    read: &Operation,
    report: &mut impl FnMut(&'static str, String),
) {
    // What was written to last may have ended by the end of the read, and certainly has not before.
    let may_be_over = |write: &Operation| match write.action {
        Action::SetFor(_, ms) => {
            write.start + ms * 1_000 <= read.end + terms.uncertainty + EXPIRY_SLACK
        }
        _ => false,
    };
    for write in cell.writes.values().filter(|write| !may_be_over(write)) {
        if !terms.must_see(write, read) {
            continue;
        }
        let erased = cell
            .erasers
            .iter()
            .any(|eraser| eraser.effective_end() >= write.start && eraser.start <= read.end);
        let expired = cell.writes.values().any(|other| {
            may_be_over(other)
                && !other.is_failed()
                && other.start <= read.end
                && !terms.surely_before(other, write)
        });
        if !erased && !expired {
            let checker = if read.last { "lost" } else { "stale" };
            return report(checker, format!("{} but {}", write.describe(), read.describe()));
        }
    }
}

/// A read showed what a write wrote: no delete and no expiry may have ended it before.
fn revived(
    terms: &Terms,
    cell: &Cell<'_>,
    write: &Operation,
    read: &Operation,
    report: &mut impl FnMut(&'static str, String),
) {
    // An erasure ends the time to live of what it has not seen as well, which stays then.
    let may_stay = |eraser: &&Operation| {
        let may_be_before = eraser.start <= read.end && !terms.must_know(write, eraser);
        may_be_before && !terms.surely_before(eraser, write)
    };
    if let Action::SetFor(_, ms) = write.action
        && write.is_ok()
        && read.start > write.end + ms * 1_000 + terms.uncertainty + EXPIRY_SLACK
        && !cell.erasers.iter().any(may_stay)
    {
        let text = format!("{} had expired: {}", write.describe(), read.describe());
        report("resurrection", text);
    }
    for eraser in &cell.erasers {
        if terms.must_know(write, eraser) && terms.must_see(eraser, read) {
            let text = format!(
                "{}, then {}, yet {}",
                write.describe(),
                eraser.describe(),
                read.describe()
            );
            return report("resurrection", text);
        }
    }
}

/// Expiry counts whole milliseconds, of two clocks.
const EXPIRY_SLACK: Time = 3_000;

/// Why one write must be older than another one.
#[derive(Clone, Copy)]
enum Because<'a> {
    Time,
    Read(&'a Operation),
    Reads(&'a Operation, &'a Operation),
}

/// Looks for a contradiction in the order of the writes.
fn order(terms: &Terms, cell: &Cell<'_>, report: &mut impl FnMut(&'static str, String)) {
    let values: Vec<u64> = cell.writes.keys().copied().collect();
    let index = |value: u64| values.binary_search(&value).ok();
    let mut older: Vec<Vec<(usize, Because<'_>)>> = vec![Vec::new(); values.len()];
    let writes: Vec<&Operation> = cell.writes.values().copied().collect();
    for (first, a) in writes.iter().enumerate() {
        for (second, b) in writes.iter().enumerate() {
            // Only where both took effect does their order matter; that shows in what is read.
            if first != second && a.is_ok() && terms.surely_before(a, b) {
                older[first].push((second, Because::Time));
            }
        }
    }
    let reads: Vec<(&Operation, usize)> =
        cell.reads.iter().filter_map(|(read, shown)| Some((*read, index((*shown)?)?))).collect();
    for (read, shown) in &reads {
        for (known, write) in writes.iter().enumerate() {
            if known != *shown && terms.must_see(write, read) {
                older[known].push((*shown, Because::Read(read)));
            }
        }
    }
    for (first, before) in &reads {
        for (second, after) in &reads {
            if before != after && terms.must_follow(first, second) {
                older[*before].push((*after, Because::Reads(first, second)));
            }
        }
    }
    let Some(cycle) = find_cycle(&older) else { return };
    let mut text = String::new();
    let (mut checker, mut lost) = ("backwards", false);
    for (from, because) in &cycle {
        text.push_str(&format!("\n    {}", writes[*from].describe()));
        match because {
            Because::Time => text.push_str("\n      is before, in time,"),
            Because::Read(read) => {
                checker = "stale";
                lost |= read.last;
                text.push_str(&format!("\n      had to be seen by {}", read.describe()));
            }
            Because::Reads(first, second) => {
                let (first, second) = (first.describe(), second.describe());
                text.push_str(&format!("\n      was read before: {first}\n      and {second}"));
            }
        }
    }
    let checker = if lost { "lost" } else { checker };
    report(checker, format!("the writes have no order:{text}"));
}

/// A cycle: its nodes, each with the reason why the next one comes after it.
fn find_cycle<'a>(edges: &[Vec<(usize, Because<'a>)>]) -> Option<Vec<(usize, Because<'a>)>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    for start in 0..edges.len() {
        if marks[start] != Mark::New {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((node, next)) = path.last_mut() {
            let Some((to, _)) = edges[*node].get(*next) else {
                marks[*node] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[*to] {
                Mark::Done => {}
                Mark::New => {
                    marks[*to] = Mark::Open;
                    path.push((*to, 0));
                }
                Mark::Open => {
                    let begin = path.iter().position(|(node, _)| node == to)?;
                    let steps = path[begin..].iter();
                    return Some(
                        steps.map(|(node, next)| (*node, edges[*node][next - 1].1)).collect(),
                    );
                }
            }
        }
    }
    None
}
