//! Whether a history of a compare-and-set register is linearizable: the search of Wing and Gong
//! (1993), which remembers where it has been without success (Lowe, 2017).

use std::{collections::HashSet, vec};

/// One operation, from its invocation to its return.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) invoked: u64,
    /// `u64::MAX` when it never returned: it takes effect at any time afterwards, or never.
    pub(super) returned: u64,
    pub(super) kind: Kind,
}

/// What it did, with values that are each written once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Read {
        value: u64,
    },
    Set {
        expected: u64,
        value: u64,
    },
    /// It did not find what it expected.
    Failed {
        expected: u64,
    },
    /// It was given up before it could take effect.
    Nothing,
}

impl Kind {
    /// The value after it, if it can take effect on this one.
    fn apply(self, current: u64) -> Option<u64> {
        match self {
            Self::Read { value } => (value == current).then_some(current),
            Self::Set { expected, value } => (expected == current).then_some(value),
            Self::Failed { expected } => (expected != current).then_some(current),
            Self::Nothing => None,
        }
    }
}

/// Whether all that returned can have taken effect one after the other, each between its invocation
/// and its return.
pub(super) fn is_linearizable(history: &[Operation], initial: u64) -> bool {
    assert!(history.len() <= 128, "one bit for each operation");
    let returned = |operation: &Operation| operation.returned != u64::MAX;
    let wanted = bits(history, returned);
    let mut been = HashSet::new();
    let mut stack = vec![(0_u128, initial)];
    while let Some((done, value)) = stack.pop() {
        if done & wanted == wanted {
            return true;
        }
        if !been.insert((done, value)) {
            continue;
        }
        let left = || history.iter().enumerate().filter(|(bit, _)| done >> bit & 1 == 0);
        let first_return = left().map(|(_, it)| it.returned).min().expect("some are left");
        for (bit, operation) in left().filter(|(_, it)| it.invoked <= first_return) {
            if let Some(next) = operation.kind.apply(value) {
                stack.push((done | 1 << bit, next));
            }
        }
    }
    false
}

fn bits(history: &[Operation], which: impl Fn(&Operation) -> bool) -> u128 {
    let places = history.iter().enumerate().filter(|(_, operation)| which(operation));
    places.fold(0, |bits, (bit, _)| bits | 1 << bit)
}

#[test]
fn it_tells_histories_that_are_possible_from_others() {
    let operation = |invoked, returned, kind| Operation { invoked, returned, kind };
    let set = |expected, value| Kind::Set { expected, value };
    let read = |value| Kind::Read { value };
    let never = u64::MAX;
    let possible = [
        vec![operation(0, 1, set(0, 1)), operation(2, 3, read(1))],
        vec![operation(0, 9, set(0, 1)), operation(1, 2, read(0)), operation(3, 4, read(1))],
        vec![operation(0, never, set(0, 1)), operation(5, 6, read(0)), operation(7, 8, read(1))],
        vec![operation(0, 5, set(0, 1)), operation(1, 6, Kind::Failed { expected: 0 })],
    ];
    for history in possible {
        assert!(is_linearizable(&history, 0), "{history:?}");
    }
    let impossible = [
        vec![operation(0, 1, set(0, 1)), operation(2, 3, read(0))],
        vec![operation(0, 9, set(0, 1)), operation(1, 2, read(1)), operation(3, 4, read(0))],
        vec![operation(0, 1, set(0, 1)), operation(0, 1, set(0, 2))],
        vec![operation(0, 1, Kind::Failed { expected: 0 })],
        vec![operation(0, never, set(0, 1)), operation(5, 6, read(2))],
    ];
    for history in impossible {
        assert!(!is_linearizable(&history, 0), "{history:?}");
    }
}
