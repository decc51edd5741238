//! Counters: nothing acknowledged is missing, nothing counts twice, they only grow, and no two increments
//! have found the same.

use super::Terms;
use crate::{
    action::{Action, Key, Returned},
    history::{Operation, Time},
    world::Violation,
};

/// From then on nodes that started at the beginning agree that all are ready, and on who executes.
const AGREED: Time = 1_000_000;

pub(super) fn check(
    terms: &Terms,
    key: Key,
    operations: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let mut report = |checker, text: String| {
        violations.push(Violation::new(checker, format!("{key}: {text}")));
    };
    let adds: Vec<(&Operation, i64)> = operations
        .iter()
        .filter_map(|found| match found.action {
            Action::Add(amount) if !found.is_failed() => Some((*found, amount)),
            _ => None,
        })
        .collect();
    let reads: Vec<(&Operation, i64)> = operations
        .iter()
        .filter_map(|found| match (found.action, found.returned()?) {
            (Action::Get, Returned::Number(value)) => Some((*found, *value)),
            (Action::Get, Returned::Nothing) => Some((*found, 0)),
            _ => None,
        })
        .collect();
    for (read, value) in &reads {
        let certain = adds.iter().filter(|(add, _)| terms.must_see(add, read));
        let least: i64 = certain.map(|(_, amount)| amount).sum();
        let possible = adds.iter().filter(|(add, _)| add.start <= read.end);
        let most: i64 = possible.map(|(_, amount)| amount).sum();
        if *value < least {
            let checker = if read.last { "lost" } else { "stale" };
            report(checker, format!("{least} were acknowledged: {}", read.describe()));
        }
        if *value > most {
            report("counter", format!("at most {most} were added: {}", read.describe()));
        }
    }
    for (one, other) in found_alike(&adds).filter(|_| terms.unique) {
        let text = format!("found the same: {}, and {}", one.describe(), other.describe());
        report("unique", text);
    }
    for (first, before) in &reads {
        for (second, after) in &reads {
            if after < before && terms.must_follow(first, second) {
                let text = format!("{}, then {}", first.describe(), second.describe());
                return report("backwards", text);
            }
        }
    }
}

/// Increments of which one has not found what the other had added before it. All amounts are positive, and
/// nothing sets a counter back: so one that was answered `sum` has taken the counter from `sum` less its
/// amount, and no two of these ways overlap.
fn found_alike<'a>(
    adds: &[(&'a Operation, i64)],
) -> impl Iterator<Item = (&'a Operation, &'a Operation)> {
    let answered = adds.iter().filter_map(|&(add, amount)| match add.returned()? {
        Returned::Sum(sum) if add.start >= AGREED => Some((*sum, amount, add)),
        _ => None,
    });
    let mut ways: Vec<(i64, i64, &Operation)> = answered.collect();
    ways.sort_unstable_by_key(|(sum, amount, _)| (*sum, *amount));
    let alike = |pair: &[(i64, i64, &'a Operation)]| match pair {
        [(before, _, one), (sum, amount, other)] if sum - amount < *before => Some((*one, *other)),
        _ => None,
    };
    let found: Vec<_> = ways.windows(2).filter_map(alike).collect();
    found.into_iter()
}
