//! The smallest script that still fails: faults are left out, first many at once and then one by
//! one, as long as the same checker goes on complaining (delta debugging, Zeller 1999).

use crate::{fault::Script, observe::Attention, runner::Failure, scenario::Scenario, schedule};

/// Schedules that are run at most to shrink one.
const ATTEMPTS_MAX: usize = 400;

/// The smallest script found for a failure.
pub fn shrink(failure: &Failure) -> Script {
    let Some(checker) = failure.violations.first().map(|violation| violation.checker) else {
        return failure.script.clone();
    };
    let fails = |script: &Script| still_fails(failure.scenario, failure.seed, script, checker);
    let mut script = failure.script.clone();
    let mut attempts = 0;
    let mut size = script.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        while start < script.len() && attempts < ATTEMPTS_MAX {
            let mut smaller = script.clone();
            smaller.drain(start..(start + size).min(script.len()));
            attempts += 1;
            if fails(&smaller) {
                script = smaller;
            } else {
                start += size;
            }
        }
        if size == 1 || attempts >= ATTEMPTS_MAX {
            return script;
        }
        size = size.div_ceil(2);
    }
}

fn still_fails(scenario: &Scenario, seed: u64, script: &Script, checker: &str) -> bool {
    let verdict = schedule::run(scenario, seed, script, Attention::None);
    verdict.violations.iter().any(|violation| violation.checker == checker)
}
