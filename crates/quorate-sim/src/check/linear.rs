//! Linearizability of one key: whether some order of the operations, each somewhere between its
//! start and its end, explains every reply.
//!
//! The search is that of Wing and Gong (1993) with Lowe's pruning (2017): a depth-first walk over
//! the operations that may come next, which never visits the same set of done operations in the
//! same state twice. An operation of unknown outcome may come at any time after its start, or
//! never.

use std::collections::HashSet;

use crate::{
    action::{Action, Key, Returned},
    history::{Operation, Time},
    world::Violation,
};

/// Configurations looked at before the search gives up. A history that is this hard to explain has
/// many operations at the same time; the other checkers look at it as well.
const CONFIGURATIONS_MAX: usize = 200_000;

/// The state of a key: the values that it holds, a register at most one.
type State = Vec<u64>;

struct Step<'a> {
    operation: &'a Operation,
    end: Time,
    optional: bool,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    Explained,
    Contradiction,
    TooHard,
}

pub(super) fn check(key: Key, operations: &[&Operation], violations: &mut Vec<Violation>) {
    if search(operations) == Search::Contradiction {
        // The shortest beginning that has no explanation is easiest to read.
        let mut ends: Vec<Time> = operations.iter().map(|found| found.end).collect();
        ends.sort_unstable();
        let cut = ends
            .partition_point(|&end| search(&beginning(operations, end)) != Search::Contradiction);
        let end = ends.get(cut).copied().unwrap_or(Time::MAX);
        let lines: Vec<String> = beginning(operations, end)
            .iter()
            .rev()
            .take(12)
            .rev()
            .map(|operation| format!("\n    {}", operation.describe()))
            .collect();
        let text = format!("{key}: no order explains the last of:{}", lines.concat());
        violations.push(Violation::new("linearizable", text));
    }
}

/// The operations until a moment; those that have not ended by then may have happened.
fn beginning<'a>(operations: &[&'a Operation], end: Time) -> Vec<&'a Operation> {
    let begun = operations.iter().filter(|found| found.start <= end);
    begun.filter(|found| found.end <= end || found.action.writes()).copied().collect()
}

fn search(operations: &[&Operation]) -> Search {
    let last = operations.iter().filter(|found| found.is_ok()).map(|found| found.end).max();
    let mut steps: Vec<Step<'_>> = operations
        .iter()
        .filter(|found| !found.is_failed() && (found.is_ok() || found.action.writes()))
        .map(|found| Step {
            operation: found,
            end: found.effective_end(),
            optional: !found.is_ok(),
        })
        .collect();
    steps.retain(|step| !step.optional || Some(step.operation.start) <= last);
    steps.sort_by_key(|step| step.operation.start);
    let words = steps.len().div_ceil(64);
    let mut seen: HashSet<(Vec<u64>, State)> = HashSet::new();
    let mut stack: Vec<(Vec<u64>, State)> = vec![(vec![0; words], State::new())];
    while let Some((done, state)) = stack.pop() {
        let is_done = |index: usize| done[index / 64] >> (index % 64) & 1 == 1;
        let open = || (0..steps.len()).filter(|index| !is_done(*index));
        if open().all(|index| steps[index].optional) {
            return Search::Explained;
        }
        // Nothing may come after an operation that has ended and is not done.
        let horizon = open().map(|index| steps[index].end).min().unwrap_or(Time::MAX);
        for index in open() {
            let step = &steps[index];
            if step.operation.start > horizon {
                break;
            }
            let Some(next) = apply(step.operation, &state) else { continue };
            let mut then = done.clone();
            then[index / 64] |= 1 << (index % 64);
            if seen.len() >= CONFIGURATIONS_MAX {
                return Search::TooHard;
            }
            if seen.insert((then.clone(), next.clone())) {
                stack.push((then, next));
            }
        }
    }
    Search::Contradiction
}

/// The state after an operation, or `None` when it cannot have returned what it did.
fn apply(operation: &Operation, state: &State) -> Option<State> {
    match (operation.action, operation.returned()) {
        (Action::Set(value), _) => Some(vec![value]),
        (Action::Swap(value), Some(Returned::Number(before))) => {
            (state.first().map(|found| *found as i64) == Some(*before)).then(|| vec![value])
        }
        (Action::Swap(value), Some(Returned::Nothing)) => state.is_empty().then(|| vec![value]),
        (Action::Swap(value), _) => Some(vec![value]),
        (Action::Append(value), _) => {
            let mut state = state.clone();
            state.push(value);
            Some(state)
        }
        (Action::Delete | Action::Flush, _) => Some(State::new()),
        (Action::Get, Some(Returned::Nothing)) => state.is_empty().then(State::new),
        (Action::Get, Some(Returned::Number(value))) => {
            (state.first().map(|found| *found as i64) == Some(*value)).then(|| state.clone())
        }
        (Action::Get, Some(Returned::List(values))) => (values == state).then(|| state.clone()),
        _ => Some(state.clone()),
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::Level;

    use super::*;
    use crate::{action::Family, history::Outcome};

    fn operation(start: Time, end: Time, action: Action, outcome: Outcome) -> Operation {
        Operation {
            process: 0,
            node: 0,
            datacentre: 0,
            key: Key { family: Family::Register, number: 0 },
            action,
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            start,
            end,
            outcome,
            last: false,
        }
    }

    fn set(start: Time, end: Time, value: u64) -> Operation {
        operation(start, end, Action::Set(value), Outcome::Ok(Returned::Done))
    }

    fn get(start: Time, end: Time, value: Option<i64>) -> Operation {
        let returned = value.map_or(Returned::Nothing, Returned::Number);
        operation(start, end, Action::Get, Outcome::Ok(returned))
    }

    fn judged(operations: &[Operation]) -> Search {
        search(&operations.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_stale_read_has_no_explanation() {
        let history = [set(0, 1, 1), set(2, 3, 2), get(4, 5, Some(1))];
        assert_eq!(judged(&history), Search::Contradiction);
    }

    #[test]
    fn operations_at_the_same_time_may_come_in_any_order() {
        let history = [set(0, 9, 1), set(0, 9, 2), get(10, 11, Some(1)), get(12, 13, Some(1))];
        assert_eq!(judged(&history), Search::Explained);
        let history = [set(0, 9, 1), set(0, 9, 2), get(10, 11, Some(1)), get(12, 13, Some(2))];
        assert_eq!(judged(&history), Search::Contradiction);
    }

    #[test]
    fn an_unknown_write_may_happen_late_or_never() {
        let unknown = operation(0, 1, Action::Set(7), Outcome::Unknown("silence".into()));
        let late = [unknown.clone(), set(2, 3, 1), get(4, 5, Some(1)), get(6, 7, Some(7))];
        assert_eq!(judged(&late), Search::Explained);
        let never = [unknown.clone(), set(2, 3, 1), get(4, 5, Some(1)), get(6, 7, Some(1))];
        assert_eq!(judged(&never), Search::Explained);
        let twice = [unknown, get(2, 3, Some(7)), set(4, 5, 1), get(6, 7, Some(7))];
        assert_eq!(judged(&twice), Search::Contradiction);
    }

    #[test]
    fn the_report_ends_with_the_read_that_fails() {
        let history = [set(0, 1, 1), set(2, 3, 2), get(4, 5, Some(1)), get(6, 7, Some(2))];
        let mut violations = Vec::new();
        let key = Key { family: Family::Register, number: 0 };
        check(key, &history.iter().collect::<Vec<_>>(), &mut violations);
        let [violation] = &violations[..] else { panic!("one violation") };
        assert!(violation.text.trim_end().ends_with("Ok(Number(1))"), "{}", violation.text);
    }
}
