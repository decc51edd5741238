//! One schedule: a scenario, a seed, a script of faults, and the verdict.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use quorate_log::disk::SimulatedDisk;

use crate::{
    check,
    fault::{self, Script},
    history::{History, Time},
    observe::{self, Attention, Coverage, Observer},
    scenario::Scenario,
    world::{Violation, World},
};

/// What came of a schedule.
#[derive(Debug)]
pub struct Verdict {
    /// What clients saw.
    pub history: History,
    /// Broken promises. None is what one hopes for.
    pub violations: Vec<Violation>,
    /// Follows from everything that happened.
    pub fingerprint: u64,
    /// When faults ended, and when all was settled and read.
    pub healed: Time,
    /// The end.
    pub ended: Time,
    /// What was met, when it was asked for.
    pub coverage: Coverage,
    /// What happened, line by line, when it was asked for.
    pub trace: Vec<String>,
}

/// Runs one schedule. The same arguments give the same verdict, bit for bit.
pub fn run(scenario: &Scenario, seed: u64, script: &Script, attention: Attention) -> Verdict {
    let observer = Observer::new(attention);
    let outcome = catch_unwind(AssertUnwindSafe(|| simulate(scenario, seed, script, observer)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let (coverage, trace) = observe::seen();
        failed(Violation::new("panic", text.unwrap_or_default()), coverage, trace)
    })
}

/// The script that the seed gives.
pub fn script(scenario: &Scenario, seed: u64) -> Script {
    fault::draw(scenario, seed)
}

fn simulate(scenario: &Scenario, seed: u64, script: &Script, observer: Observer) -> Verdict {
    let disks = if scenario.forms { None } else { Some(formed(scenario)) };
    let disks = match disks.transpose() {
        Ok(disks) => disks,
        Err(text) => {
            let (coverage, trace) = observe::seen();
            return failed(Violation::new("forming", text), coverage, trace);
        }
    };
    let observer = Observer::new(observer.attention());
    let world =
        World::new(scenario, seed, script.clone(), disks.as_deref().map(Vec::as_slice), observer);
    let world = match world {
        Ok(world) => world,
        Err(error) => {
            let violation = Violation::new("settings", error.to_string());
            return failed(violation, Coverage::default(), Vec::new());
        }
    };
    let outcomes = world.run(seed);
    let mut violations = outcomes.violations;
    violations.extend(check::all(scenario, script, &outcomes.history));
    let (coverage, trace) = observe::seen();
    Verdict {
        history: outcomes.history,
        violations,
        fingerprint: outcomes.fingerprint,
        healed: outcomes.healed,
        ended: outcomes.ended,
        coverage,
        trace,
    }
}

fn failed(violation: Violation, coverage: Coverage, trace: Vec<String>) -> Verdict {
    Verdict {
        history: History::default(),
        violations: vec![violation],
        fingerprint: 0,
        healed: 0,
        ended: 0,
        coverage,
        trace,
    }
}

/// The disks of a formed cluster: forming takes longer than most schedules, and is the same each
/// time.
fn formed(scenario: &Scenario) -> Result<Arc<Vec<SimulatedDisk>>, String> {
    static FORMED: Mutex<BTreeMap<&str, Arc<Vec<SimulatedDisk>>>> = Mutex::new(BTreeMap::new());
    const SEED: u64 = 1;
    let mut formed = FORMED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(disks) = formed.get(scenario.name) {
        return Ok(Arc::clone(disks));
    }
    let forming = Scenario {
        nodes: &scenario.nodes[..scenario.founders()],
        forms: true,
        faults: &[],
        moves: 0,
        orders: 0,
        ..scenario.clone()
    };
    let observer = Observer::new(Attention::None);
    let world = World::new(&forming, SEED, Script::new(), None, observer)
        .map_err(|error| error.to_string())?;
    let disks = Arc::new(world.form(SEED)?);
    formed.insert(scenario.name, Arc::clone(&disks));
    Ok(disks)
}
