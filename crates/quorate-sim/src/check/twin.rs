//! Twins: two keys that only transactions write, both at a time and with one value.

use std::collections::BTreeMap;

use crate::{
    action::Action,
    history::{History, Operation},
    world::Violation,
};

pub(super) fn check(history: &History, violations: &mut Vec<Violation>) {
    let is_read = |found: &&Operation| {
        found.key.family.is_twin() && found.action == Action::Get && found.is_ok()
    };
    let mut report = |one: &Operation, other: &Operation| {
        if one.returned() != other.returned() {
            let text = format!("{} and {}", one.describe(), other.describe());
            violations.push(Violation::new("whole", text));
        }
    };
    // A transaction that reads both is two operations in a row. In the end each is read by itself.
    let mut ended: BTreeMap<(usize, u32), &Operation> = BTreeMap::new();
    for pair in history.operations.windows(2) {
        let [one, other] = pair else { continue };
        let is_pair = one.start == other.start
            && one.key.number.is_multiple_of(2)
            && one.key.number + 1 == other.key.number;
        if is_pair && !one.last && is_read(&one) && is_read(&other) {
            report(one, other);
        }
    }
    for found in history.operations.iter().filter(|found| found.last).filter(is_read) {
        if let Some(one) = ended.insert((found.node, found.key.number / 2), found) {
            report(one, found);
        }
    }
}
