//! Schedules that once failed, each with what was wrong, and a few of every scenario.

use std::collections::BTreeSet;

use quorate_sim::{fault::Script, observe::Attention, scenario, scenario::Scenario, schedule};
use serde::Deserialize;

#[derive(Deserialize)]
struct Regression {
    scenario: String,
    seed: u64,
    found: String,
    /// The faults that sufficed; without them those of the seed.
    script: Option<Script>,
}

#[test]
fn what_once_failed_passes() {
    let all: Vec<Regression> =
        serde_json::from_str(include_str!("regressions.json")).expect("the list can be read");
    for Regression { scenario, seed, found, script } in all {
        let scenario = Scenario::named(&scenario).expect("a scenario of this name");
        let script = script.unwrap_or_else(|| schedule::script(scenario, seed));
        let verdict = schedule::run(scenario, seed, &script, Attention::None);
        let name = scenario.name;
        assert_eq!(verdict.violations, [], "{name} with seed {seed}, where once {found}");
    }
}

#[test]
fn every_scenario_has_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for scenario in scenario::all() {
        assert!(names.insert(scenario.name), "two scenarios are called {}", scenario.name);
    }
}

/// Where members change, or an hour passes, a schedule takes minutes in this unoptimized build.
#[test]
fn every_scenario_of_a_minute_with_fixed_members_keeps_its_promises() {
    let is_cheap = |scenario: &&Scenario| {
        scenario.moves == 0 && scenario.orders == 0 && scenario.period <= 60_000_000
    };
    for scenario in scenario::all().filter(is_cheap) {
        let script = schedule::script(scenario, 1);
        let verdict = schedule::run(scenario, 1, &script, Attention::None);
        assert_eq!(verdict.violations, [], "{}", scenario.name);
        let acknowledged = verdict.history.operations.iter().filter(|found| found.is_ok());
        assert!(acknowledged.count() > 50, "{} hardly did anything", scenario.name);
    }
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let scenario = &Scenario::BASE;
    let script = schedule::script(scenario, 7);
    let one = schedule::run(scenario, 7, &script, Attention::None);
    let two = schedule::run(scenario, 7, &script, Attention::Trace);
    assert_eq!((one.fingerprint, one.history), (two.fingerprint, two.history));
    assert_ne!(one.fingerprint, schedule::run(scenario, 8, &script, Attention::None).fingerprint);
    assert!(two.trace.len() > 1_000 && !two.coverage.0.is_empty());
}
