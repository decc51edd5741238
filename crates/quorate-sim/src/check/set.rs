//! Members of sets: an add that a remove cannot have seen survives it, and a removed member does
//! not come back.

use super::Terms;
use crate::{
    action::{Action, Key, Returned},
    history::Operation,
    world::Violation,
};

pub(super) fn check(
    terms: &Terms,
    key: Key,
    operations: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let mut report = |checker, text: String| {
        violations.push(Violation::new(checker, format!("{key}: {text}")));
    };
    let reads = operations.iter().filter_map(|found| match found.returned()? {
        Returned::Members(members) => Some((*found, members)),
        _ => None,
    });
    let mut known: Vec<u64> = operations
        .iter()
        .filter_map(|found| match found.action {
            Action::Insert(member) => Some(member),
            _ => None,
        })
        .collect();
    known.sort_unstable();
    known.dedup();
    for (read, members) in reads {
        for member in members.iter().filter(|member| known.binary_search(member).is_err()) {
            report("outcomes", format!("{member} was never added: {}", read.describe()));
        }
        for &member in &known {
            let adds = || {
                operations.iter().filter(move |found| {
                    found.action == Action::Insert(member)
                        && !found.is_failed()
                        && found.start <= read.end
                })
            };
            let removes = || {
                operations.iter().filter(move |found| {
                    let removing = [Action::Remove(member), Action::Delete, Action::Flush];
                    removing.contains(&found.action)
                        && !found.is_failed()
                        && found.start <= read.end
                })
            };
            if members.binary_search(&member).is_ok() {
                if adds().next().is_none() {
                    let text = format!("every add of {member} had failed: {}", read.describe());
                    report("outcomes", text);
                }
                // A remove that must have seen every add there was.
                let decisive = removes().find(|remove| {
                    terms.must_see(remove, read) && adds().all(|add| terms.must_know(add, remove))
                });
                if let Some(remove) = decisive {
                    let text = format!("{} removed it, yet {}", remove.describe(), read.describe());
                    report("resurrection", text);
                }
            } else {
                // An add that came after every remove.
                let decisive = adds().find(|add| {
                    terms.must_see(add, read)
                        && removes().all(|remove| terms.surely_before(remove, add))
                });
                if let Some(add) = decisive {
                    let checker = if read.last { "lost" } else { "stale" };
                    report(checker, format!("{}, yet {}", add.describe(), read.describe()));
                }
            }
        }
    }
}
