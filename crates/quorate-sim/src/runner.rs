//! Many schedules, on all cores, until a number or a time is reached.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    fault::Script,
    observe::{Attention, Coverage},
    scenario::Scenario,
    schedule,
    world::Violation,
};

/// One schedule of a scenario in so many is watched for coverage.
const WATCHED_EVERY: u64 = 16;

/// One schedule of a scenario in so many runs twice, to see that both are the same.
const REPEATED_EVERY: u64 = 64;

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The scenarios; seeds go round.
    pub scenarios: Vec<&'static Scenario>,
    /// The seeds.
    pub seeds: Range<u64>,
    /// No schedule starts after this.
    pub budget: Duration,
    /// Threads.
    pub threads: usize,
    /// Failures after which no further schedule starts.
    pub failures_max: usize,
}

/// A schedule that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The seed.
    pub seed: u64,
    /// Its faults.
    pub script: Script,
    /// What was broken.
    pub violations: Vec<Violation>,
}

/// What came of an order.
#[derive(Debug, Default)]
pub struct Report {
    /// Schedules that ran, by scenario.
    pub schedules: BTreeMap<&'static str, u64>,
    /// Operations of clients.
    pub operations: u64,
    /// Operations that were acknowledged.
    pub acknowledged: u64,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
    /// Time that it took.
    pub elapsed: Duration,
    /// Those that broke a promise, by seed.
    pub failures: Vec<Failure>,
    /// What was met.
    pub coverage: Coverage,
}

/// Runs the order.
pub fn run(order: &Order) -> Report {
    let next = AtomicU64::new(order.seeds.start);
    let stop = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..order.threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && begin.elapsed() < order.budget {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= order.seeds.end || order.scenarios.is_empty() {
                        return;
                    }
                    let scenarios = order.scenarios.len() as u64;
                    let scenario = order.scenarios[(seed % scenarios) as usize];
                    let mut report = one(scenario, seed, seed / scenarios, &report);
                    if report.failures.len() >= order.failures_max {
                        stop.store(true, Ordering::Relaxed);
                    }
                    report.elapsed = begin.elapsed();
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by_key(|failure| failure.seed);
    report
}

fn one<'a>(
    scenario: &'static Scenario,
    seed: u64,
    round: u64,
    report: &'a Mutex<Report>,
) -> std::sync::MutexGuard<'a, Report> {
    let script = schedule::script(scenario, seed);
    let watched = round.is_multiple_of(WATCHED_EVERY);
    let attention = if watched { Attention::Coverage } else { Attention::None };
    let mut verdict = schedule::run(scenario, seed, &script, attention);
    if round.is_multiple_of(REPEATED_EVERY) {
        let again = schedule::run(scenario, seed, &script, Attention::None);
        if again.fingerprint != verdict.fingerprint || again.history != verdict.history {
            let text = "the same seed and script gave two different schedules";
            verdict.violations.push(Violation::new("determinism", text));
        }
    }
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    *report.schedules.entry(scenario.name).or_default() += 1;
    report.operations += verdict.history.operations.len() as u64;
    let acknowledged = verdict.history.operations.iter().filter(|found| found.is_ok());
    report.acknowledged += acknowledged.count() as u64;
    report.simulated_us += verdict.ended;
    report.coverage.add(&verdict.coverage);
    if !verdict.violations.is_empty() {
        let violations = verdict.violations;
        report.failures.push(Failure { scenario, seed, script, violations });
    }
    report
}
