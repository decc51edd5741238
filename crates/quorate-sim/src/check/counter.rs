//! Counters: nothing acknowledged is missing, nothing counts twice, they only grow, and no two increments
//! are answered alike.

use std::collections::BTreeMap;

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
    // All amounts are positive, and nothing sets a counter back.
    let mut sums: BTreeMap<i64, &Operation> = BTreeMap::new();
    for (add, _) in adds.iter().filter(|(add, _)| terms.unique && add.start >= AGREED) {
        let Some(Returned::Sum(sum)) = add.returned() else { continue };
        if let Some(other) = sums.insert(*sum, add) {
            let text = format!("answered alike: {}, and {}", other.describe(), add.describe());
            report("unique", text);
        }
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
