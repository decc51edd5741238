//! Items of arrays: what was inserted is there until it is removed, and all that anybody ever reads
//! fits one order of the items.
//!
//! An item has one place for ever. So what one read shows before another item, no read may show
//! behind it; and what somebody appends stands behind all that he had to know, as what he inserts in
//! front stands before it.

use std::collections::BTreeMap;

use super::Terms;
use crate::{
    action::{Action, Key, Returned},
    document::FIRST_ITEM,
    history::Operation,
    world::Violation,
};

/// The items of one array over time.
struct Items<'a> {
    /// Insertions by their item.
    added: BTreeMap<u64, &'a Operation>,
    /// Removals that may have happened.
    removals: BTreeMap<u64, Vec<&'a Operation>>,
    /// What reads have shown.
    reads: Vec<(&'a Operation, &'a [u64])>,
}

pub(super) fn check(
    terms: &Terms,
    key: Key,
    operations: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let mut report = |checker, text: String| {
        violations.push(Violation::new(checker, format!("{key}: {text}")));
    };
    let mut items = Items { added: BTreeMap::new(), removals: BTreeMap::new(), reads: Vec::new() };
    for operation in operations {
        match (operation.action, operation.returned()) {
            (Action::Append(item) | Action::Prepend(item) | Action::InsertSecond(item), _) => {
                items.added.insert(item, operation);
            }
            (Action::Remove(item), _) if !operation.is_failed() => {
                items.removals.entry(item).or_default().push(operation);
            }
            (Action::Get, Some(Returned::List(shown))) => items.reads.push((operation, shown)),
            _ => {}
        }
    }
    for (read, shown) in &items.reads {
        items.check_shown(terms, read, shown, &mut report);
        items.check_missing(terms, read, shown, &mut report);
    }
    items.check_backwards(terms, &mut report);
    items.check_order(terms, &mut report);
}

impl Items<'_> {
    fn removals(&self, item: u64) -> impl Iterator<Item = &Operation> {
        self.removals.get(&item).into_iter().flatten().copied()
    }

    /// What a read shows was inserted, once, and not removed by somebody who had to know of it.
    fn check_shown(
        &self,
        terms: &Terms,
        read: &Operation,
        shown: &[u64],
        report: &mut impl FnMut(&'static str, String),
    ) {
        for (at, item) in shown.iter().enumerate() {
            if shown[..at].contains(item) {
                report("order", format!("{item} is there twice: {}", read.describe()));
            }
            let Some(add) = self.added.get(item) else {
                if *item != FIRST_ITEM {
                    report("outcomes", format!("{item} was never inserted: {}", read.describe()));
                }
                continue;
            };
            if add.is_failed() {
                report("outcomes", format!("{} yet {}", add.describe(), read.describe()));
            }
            let removal = self
                .removals(*item)
                .find(|removal| terms.must_know(add, removal) && terms.must_see(removal, read));
            if let Some(removal) = removal {
                let text = format!("{} removed it, yet {}", removal.describe(), read.describe());
                report("resurrection", text);
            }
        }
    }

    /// What was inserted is shown unless something may have removed it.
    fn check_missing(
        &self,
        terms: &Terms,
        read: &Operation,
        shown: &[u64],
        report: &mut impl FnMut(&'static str, String),
    ) {
        let checker = if read.last { "lost" } else { "stale" };
        if !shown.contains(&FIRST_ITEM) {
            report(checker, format!("the first item is gone: {}", read.describe()));
        }
        for (item, add) in &self.added {
            let may_be_removed = || {
                self.removals(*item).any(|removal| {
                    removal.effective_end() >= add.start && removal.start <= read.end
                })
            };
            if !shown.contains(item) && terms.must_see(add, read) && !may_be_removed() {
                report(checker, format!("{} yet {}", add.describe(), read.describe()));
            }
        }
    }

    /// What one read has shown a later one shows as well, unless something may have removed it.
    fn check_backwards(&self, terms: &Terms, report: &mut impl FnMut(&'static str, String)) {
        for (first, before) in &self.reads {
            for (second, after) in &self.reads {
                if !terms.must_follow(first, second) {
                    continue;
                }
                let is_gone = |item: &&u64| {
                    !after.contains(item)
                        && !self.removals(**item).any(|removal| removal.start <= second.end)
                };
                if let Some(item) = before.iter().find(is_gone) {
                    let text = format!("{item}: {}, then {}", first.describe(), second.describe());
                    return report("backwards", text);
                }
            }
        }
    }

    /// All reads fit one order of the items, in which each one stands where it was inserted.
    fn check_order(&self, terms: &Terms, report: &mut impl FnMut(&'static str, String)) {
        // Behind each item what must come later, with what says so.
        let mut later: BTreeMap<u64, BTreeMap<u64, &Operation>> = BTreeMap::new();
        for (read, shown) in &self.reads {
            for pair in shown.windows(2) {
                later.entry(pair[0]).or_default().entry(pair[1]).or_insert(read);
            }
        }
        let is_shown = |item: &u64| self.reads.iter().any(|(_, shown)| shown.contains(item));
        let shown: Vec<(&u64, &&Operation)> =
            self.added.iter().filter(|(item, _)| is_shown(item)).collect();
        for (item, add) in &shown {
            let known = shown.iter().filter(|(other, before)| {
                terms.must_know(before, add)
                    && !self.removals(**other).any(|removal| removal.start <= add.end)
            });
            for (other, _) in known {
                match add.action {
                    Action::Append(_) => later.entry(**other).or_default().insert(**item, add),
                    Action::Prepend(_) => later.entry(**item).or_default().insert(**other, add),
                    _ => None,
                };
            }
        }
        if let Some(cycle) = cycle(&later) {
            let steps = cycle.iter().map(|(item, why)| format!("\n    {item}: {}", why.describe()));
            report("order", format!("the items have no order:{}", steps.collect::<String>()));
        }
    }
}

/// Items each of which comes before the next one, and the last one before the first, with what says
/// so.
fn cycle<'a>(
    later: &BTreeMap<u64, BTreeMap<u64, &'a Operation>>,
) -> Option<Vec<(u64, &'a Operation)>> {
    // What has nothing behind it that is left is in no cycle.
    let mut left = later.clone();
    loop {
        let ends = |next: &u64, left: &BTreeMap<u64, _>| !left.contains_key(next);
        let keys: Vec<u64> = left.keys().copied().collect();
        let gone = keys
            .into_iter()
            .filter(|item| left[item].keys().all(|next| ends(next, &left)))
            .collect::<Vec<_>>();
        if gone.is_empty() {
            break;
        }
        gone.iter().for_each(|item| drop(left.remove(item)));
    }
    let mut item = *left.keys().next()?;
    let mut path: Vec<(u64, &Operation)> = Vec::new();
    loop {
        if let Some(start) = path.iter().position(|(passed, _)| *passed == item) {
            return Some(path.split_off(start));
        }
        let (next, why) = left[&item].iter().find(|(next, _)| left.contains_key(next))?;
        path.push((item, why));
        item = *next;
    }
}
