//! Times to live: an expiry belongs to the object that it was set for. It ends that one, and none
//! that began after it was set.
//!
//! Elements are added once, so that whatever is missing was ended: by a removal, or by an expiry
//! that may reach it. None reaches an element that was added after the object was over for which
//! the expiry was set: emptied by somebody who knew of the expiry, or past its time.

use super::Terms;
use crate::{
    action::{Action, Key, Returned},
    history::{Operation, Time},
    world::Violation,
};

pub(super) fn check(
    terms: &Terms,
    key: Key,
    operations: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let happened: Vec<&Operation> =
        operations.iter().filter(|found| !found.is_failed()).copied().collect();
    let adds = || happened.iter().copied().filter(|found| is_addition(found.action));
    for read in operations.iter().filter(|found| !found.action.writes()) {
        let Some(returned) = read.returned() else { continue };
        for add in adds() {
            let shown = shows(returned, add.action);
            let wrong = match shown {
                false if terms.must_see(add, read) => (!may_be_over(terms, &happened, add, read))
                    .then_some("began after every expiry"),
                true => outlived(terms, &happened, add, read),
                false => None,
            };
            if let Some(wrong) = wrong {
                let text = format!("{key}: {} {wrong}, yet {}", add.describe(), read.describe());
                violations.push(Violation::new("lifetime", text));
                break;
            }
        }
    }
}

const fn is_addition(action: Action) -> bool {
    matches!(action, Action::Insert(_) | Action::Put(..) | Action::Add(_))
}

/// Whether a read shows what an addition has brought. Of a counter, whether it is there.
fn shows(returned: &Returned, action: Action) -> bool {
    match (returned, action) {
        (Returned::Members(members), Action::Insert(member)) => members.contains(&member),
        (Returned::Fields(fields), Action::Put(field, _)) => {
            fields.iter().any(|(name, _)| *name == field)
        }
        (Returned::Number(_), Action::Add(_)) => true,
        _ => false,
    }
}

/// Whether an action removes everything that its executor knows, what `add` has brought included.
fn empties(action: Action) -> bool {
    matches!(
        action,
        Action::Delete | Action::PopAll | Action::Take | Action::DropBelow(_) | Action::Flush
    )
}

const fn lasts(action: Action) -> Option<Time> {
    match action {
        Action::Expire(ms) => Some(ms * 1_000),
        _ => None,
    }
}

/// Whether something may have ended what `add` has brought before `read` looked.
fn may_be_over(terms: &Terms, happened: &[&Operation], add: &Operation, read: &Operation) -> bool {
    let before = |found: &&&Operation| found.start <= read.end;
    happened.iter().filter(before).any(|found| {
        if empties(found.action) {
            return found.effective_end() >= add.start;
        }
        lasts(found.action).is_some_and(|lasts| {
            found.start + lasts <= read.end + terms.uncertainty + SLACK
                && !is_of_an_earlier_object(terms, happened, found, lasts, add)
        })
    })
}

/// Whether the object that an expiry was set for was certainly over when `add` began another one.
fn is_of_an_earlier_object(
    terms: &Terms,
    happened: &[&Operation],
    expiry: &Operation,
    lasts: Time,
    add: &Operation,
) -> bool {
    if !terms.surely_before(expiry, add) || !terms.must_know(expiry, add) {
        return false;
    }
    // Fields that were put meanwhile, from the bound on, may have kept the object.
    let kept = |found: &Operation, other: &Operation| match (found.action, other.action) {
        (Action::DropBelow(end), Action::Put(field, _)) => {
            field >= end
                && other.start <= found.effective_end()
                && other.effective_end() >= expiry.start
        }
        _ => false,
    };
    let mut emptied = happened
        .iter()
        .filter(|found| empties(found.action) && !happened.iter().any(|other| kept(found, other)));
    expiry.end + lasts + terms.uncertainty + SLACK < add.start
        || emptied.any(|found| {
            terms.surely_before(expiry, found)
                && terms.must_know(expiry, found)
                && terms.surely_before(found, add)
                && terms.must_know(found, add)
        })
}

/// Why what `add` has brought must be over, although a read shows it: an expiry that knew of it,
/// when nothing else may have come in between.
fn outlived(
    terms: &Terms,
    happened: &[&Operation],
    add: &Operation,
    read: &Operation,
) -> Option<&'static str> {
    // A counter is there again with the next addition.
    let again = |found: &&&Operation| {
        matches!(add.action, Action::Add(_))
            && is_addition(found.action)
            && found.effective_end() > add.end
    };
    if happened.iter().filter(again).any(|found| found.start <= read.end) {
        return None;
    }
    let ended = happened.iter().any(|expiry| {
        let Some(lasts) = lasts(expiry.action) else { return false };
        let over = expiry.is_ok()
            && terms.must_know(add, expiry)
            && terms.must_see(expiry, read)
            && expiry.end + lasts + terms.uncertainty + SLACK < read.start;
        // Another expiry may have replaced this one, an emptying may have ended it, and an addition
        // at the same time may have begun an object of its own.
        over && !happened.iter().any(|other| {
            !std::ptr::eq(*other, *expiry)
                && other.effective_end() >= expiry.start
                && match other.action {
                    action if is_addition(action) => other.start <= expiry.end,
                    _ => other.start <= read.end,
                }
        })
    });
    ended.then_some("was given a time to live that is over")
}

/// Expiry counts whole milliseconds, of two clocks, and begins when it is executed.
const SLACK: Time = 3_000;
