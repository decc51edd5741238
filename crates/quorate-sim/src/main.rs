//! Runs simulated schedules and tells what was met and what was broken.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Parser;
use quorate_sim::{
    fault::{self, Script},
    observe::Attention,
    processes::{
        self, Verdict,
        attacks::{self, Attack},
    },
    runner::{self, Failure, Order, Report},
    scenario::{self, Scenario},
    schedule,
    shrink::shrink,
};

/// Simulates whole clusters and checks every promise.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// How many seeds, or which: a number, or FIRST..END.
    #[arg(long, default_value = "1000", value_parser = seeds)]
    seeds: Range<u64>,
    /// Scenarios, separated by commas, or `all`.
    #[arg(long, default_value = "all")]
    scenario: String,
    /// No schedule starts after this: 90s, 10m, 2h.
    #[arg(long, default_value = "24h", value_parser = duration)]
    budget: Duration,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Failures after which it stops.
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Lists the scenarios.
    #[arg(long)]
    list: bool,
    /// Runs one seed of one scenario and prints everything that happens.
    #[arg(long)]
    trace: bool,
    /// Uses the faults in this file instead of those of the seed; goes with --trace.
    #[arg(long, requires = "trace")]
    script: Option<PathBuf>,
    /// Writes the history of the one seed to this folder: our own JSON, and what Elle and
    /// Porcupine read.
    #[arg(long, requires = "trace")]
    histories: Option<PathBuf>,
    /// Runs real processes of this program instead of a simulation, with SIGKILL, SIGSTOP and links
    /// that are cut. Each seed takes about a quarter of a minute.
    #[arg(long, value_name = "PROGRAM")]
    processes: Option<PathBuf>,
    /// Attacks real processes: all attacks, or those named. A round of all of them, with the next
    /// seed, follows another one until the budget is spent.
    #[arg(long, num_args = 0.., value_name = "NAME", requires = "processes")]
    attack: Option<Vec<String>>,
    /// Plants every known bug in turn and tells which checker caught it: all, or those named.
    #[cfg(feature = "mutants")]
    #[arg(long, num_args = 0.., value_name = "NAME")]
    mutants: Option<Vec<String>>,
    /// Prints what was met: faults, messages, outcomes, log lines.
    #[arg(long)]
    coverage: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("'{text}': {error}"));
    match text.split_once("..") {
        Some((first, end)) => Ok(number(first)?..number(end)?),
        None => Ok(0..number(text)?),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; allowed: a number with s, m or h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number * seconds))
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    #[cfg(feature = "mutants")]
    if let Some(names) = &arguments.mutants {
        return Ok(plant(&arguments, names));
    }
    let mut out = String::new();
    let passed = if arguments.list {
        for scenario in scenario::all() {
            out.push_str(&format!("{:18} {}\n", scenario.name, scenario.about));
        }
        out.push_str("\nAttacks on real processes:\n");
        for Attack { scenario, .. } in attacks::ALL {
            out.push_str(&format!("{:18} {}\n", scenario.name, scenario.about));
        }
        true
    } else if let (Some(names), Some(program)) = (&arguments.attack, &arguments.processes) {
        attack(&arguments, names, program)?
    } else if let Some(program) = &arguments.processes {
        processes(&arguments, program, &mut out)?
    } else if arguments.trace {
        trace(&arguments, &mut out)?
    } else {
        many(&arguments, &mut out)?
    };
    use std::io::Write as _;
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plants the bugs of these names, or all.
#[cfg(feature = "mutants")]
#[expect(clippy::print_stdout, reason = "each result as soon as it is there")]
fn plant(arguments: &Arguments, names: &[String]) -> ExitCode {
    use quorate_sim::mutants;
    std::panic::set_hook(Box::new(|_| {}));
    let name = |trap: &mutants::Trap| format!("{:?}", trap.mutant);
    let wanted = |trap: &&mutants::Trap| names.is_empty() || names.contains(&name(trap));
    let mut good = true;
    for trap in mutants::TRAPS.iter().filter(wanted) {
        for catch in mutants::run(&[*trap], threads(arguments)) {
            good &= catch.is_good();
            let verdict = match &catch.caught {
                Some((checker, seed, _)) if catch.is_good() => {
                    format!("caught by {checker} with seed {seed}")
                }
                Some((checker, seed, text)) => {
                    format!("MISSED: only {checker} with seed {seed} complained: {text}")
                }
                None => "MISSED".into(),
            };
            println!(
                "{:18} in {:16} {verdict}, {} schedules of {}",
                name(trap),
                trap.scenario,
                catch.schedules,
                trap.seeds
            );
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn threads(arguments: &Arguments) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.threads.unwrap_or(cores)
}

fn processes(arguments: &Arguments, program: &Path, out: &mut String) -> anyhow::Result<bool> {
    let scenario = match &arguments.scenario[..] {
        "all" => "processes",
        named => named,
    };
    let begin = std::time::Instant::now();
    let mut passed = true;
    for scenario in scenarios(scenario)? {
        for seed in arguments.seeds.clone() {
            if begin.elapsed() > arguments.budget {
                break;
            }
            let directory = folder_for(seed);
            let verdict = processes::run(scenario, seed, program, &directory)
                .with_context(|| format!("logs are in {}", directory.display()))?;
            let (good, text) = tell(scenario.name, seed, &verdict, &directory)?;
            passed &= good;
            out.push_str(&text);
        }
    }
    Ok(passed)
}

fn folder_for(seed: u64) -> PathBuf {
    std::env::temp_dir().join(format!("quorate-processes-{}-{seed}", std::process::id()))
}

/// Runs rounds of attacks until the seeds or the budget end.
#[expect(clippy::print_stdout, reason = "each result as soon as it is there")]
fn attack(arguments: &Arguments, names: &[String], program: &Path) -> anyhow::Result<bool> {
    let named = |name: &String| {
        Attack::named(name).with_context(|| format!("no attack '{name}'; --list shows them"))
    };
    let wanted = names.iter().map(named).collect::<anyhow::Result<Vec<_>>>()?;
    let wanted = if names.is_empty() { attacks::usual() } else { wanted };
    let begin = std::time::Instant::now();
    let (mut passed, mut rounds, mut operations, mut acknowledged) = (true, 0, 0, 0);
    for seed in arguments.seeds.clone() {
        for attack in &wanted {
            if begin.elapsed() > arguments.budget {
                break;
            }
            let name = attack.scenario.name;
            let directory = folder_for(seed).with_extension(name);
            let verdict = processes::attack(attack, seed, program, &directory)
                .with_context(|| format!("{name}: logs are in {}", directory.display()))?;
            let verdict = match verdict {
                Ok(verdict) => verdict,
                Err(lacking) => {
                    println!("{name}: SKIPPED: {lacking}");
                    // CI runs all of them.
                    passed &= std::env::var_os("CI").is_none();
                    continue;
                }
            };
            rounds += 1;
            operations += verdict.history.operations.len();
            acknowledged += verdict.history.operations.iter().filter(|found| found.is_ok()).count();
            let (good, text) = tell(name, seed, &verdict, &directory)?;
            passed &= good;
            print!("{text}");
        }
    }
    println!(
        "{rounds} attacks in {:.0?}: {operations} operations, {acknowledged} acknowledged; {}",
        begin.elapsed(),
        if passed { "no promise was broken" } else { "PROMISES WERE BROKEN, OR NOT TRIED" },
    );
    Ok(passed)
}

/// What came of a run of real processes, for a reader. The folder of a good one is removed.
fn tell(
    name: &str,
    seed: u64,
    verdict: &Verdict,
    directory: &Path,
) -> anyhow::Result<(bool, String)> {
    let operations = &verdict.history.operations;
    let settled = verdict.settled.map_or("never".into(), |time| format!("{time:.1?}"));
    let mut out = format!(
        "{name} with seed {seed}: {} operations, {} acknowledged, {} faults, settled after {settled}, {} broken\n",
        operations.len(),
        operations.iter().filter(|found| found.is_ok()).count(),
        verdict.script.len(),
        verdict.violations.len(),
    );
    if let Some(measured) = &verdict.measured {
        out.push_str(&format!("  {measured}\n"));
    }
    if verdict.violations.is_empty() {
        std::fs::remove_dir_all(directory)?;
        return Ok((true, out));
    }
    for violation in &verdict.violations {
        out.push_str(&format!("  {}: {}\n", violation.checker, violation.text));
    }
    for planned in &verdict.script {
        out.push_str(&format!("    {}\n", fault::describe(planned)));
    }
    let history = serde_json::to_string(&verdict.history)?;
    std::fs::write(directory.join("history.json"), history)?;
    out.push_str(&format!("  logs and history are in {}\n", directory.display()));
    Ok((false, out))
}

fn scenarios(names: &str) -> anyhow::Result<Vec<&'static Scenario>> {
    if names == "all" {
        return Ok(scenario::all().collect());
    }
    let find = |name| {
        Scenario::named(name).with_context(|| format!("no scenario '{name}'; --list shows them"))
    };
    names.split(',').map(find).collect()
}

fn trace(arguments: &Arguments, out: &mut String) -> anyhow::Result<bool> {
    let scenarios = scenarios(&arguments.scenario)?;
    let (&[scenario], Some(seed)) = (&scenarios[..], arguments.seeds.clone().next_back()) else {
        bail!("--trace takes one scenario and one seed, as in --seeds 7..8");
    };
    let script: Script = match &arguments.script {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            serde_json::from_str(&text).with_context(|| path.display().to_string())?
        }
        None => schedule::script(scenario, seed),
    };
    let verdict = schedule::run(scenario, seed, &script, Attention::Trace);
    for line in &verdict.trace {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str(&format!("fingerprint {:016x}\n", verdict.fingerprint));
    for violation in &verdict.violations {
        out.push_str(&format!("BROKEN {}: {}\n", violation.checker, violation.text));
    }
    if let Some(folder) = &arguments.histories {
        std::fs::create_dir_all(folder)?;
        let history = &verdict.history;
        std::fs::write(folder.join("history.json"), serde_json::to_string_pretty(history)?)?;
        std::fs::write(folder.join("elle.jsonl"), history.to_elle())?;
        std::fs::write(folder.join("porcupine.jsonl"), history.to_porcupine())?;
    }
    Ok(verdict.violations.is_empty())
}

fn many(arguments: &Arguments, out: &mut String) -> anyhow::Result<bool> {
    let order = Order {
        scenarios: scenarios(&arguments.scenario)?,
        seeds: arguments.seeds.clone(),
        budget: arguments.budget,
        threads: threads(arguments),
        failures_max: arguments.failures,
    };
    // A schedule that panics is a failure like any other, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let report = runner::run(&order);
    summarise(&report, order.threads, arguments.coverage, out);
    for failure in &report.failures {
        explain(failure, out);
    }
    Ok(report.failures.is_empty())
}

fn summarise(report: &Report, threads: usize, coverage: bool, out: &mut String) {
    let schedules: u64 = report.schedules.values().sum();
    let seconds = report.elapsed.as_secs_f64().max(1e-9);
    let rate = schedules as f64 / seconds;
    out.push_str(&format!(
        "{schedules} schedules of {} scenarios in {seconds:.1} s: {rate:.1} a second, {:.1} ms each on one of {threads} threads\n\
         {} operations, {:.1} % acknowledged; {:.1} h of simulated time; {} failed\n",
        report.schedules.len(),
        1e3 * threads as f64 / rate.max(1e-9),
        report.operations,
        100.0 * report.acknowledged as f64 / report.operations.max(1) as f64,
        report.simulated_us as f64 / 3.6e9,
        report.failures.len(),
    ));
    for (kind, things) in &report.coverage.0 {
        out.push_str(&format!("{kind}: {} kinds\n", things.len()));
        if coverage {
            for (thing, count) in things {
                out.push_str(&format!("  {count:8} {thing}\n"));
            }
        }
    }
}

fn explain(failure: &Failure, out: &mut String) {
    let Failure { scenario, seed, script, violations } = failure;
    out.push_str(&format!("\nFAILED {} with seed {seed}\n", scenario.name));
    for violation in violations.iter().take(4) {
        out.push_str(&format!("  {}: {}\n", violation.checker, violation.text));
    }
    if violations.len() > 4 {
        out.push_str(&format!("  and {} more\n", violations.len() - 4));
    }
    let smaller = shrink(failure);
    out.push_str(&format!("  {} of its {} faults suffice:\n", smaller.len(), script.len()));
    for planned in &smaller {
        out.push_str(&format!("    {}\n", fault::describe(planned)));
    }
    let json = serde_json::to_string(&smaller).unwrap_or_default();
    out.push_str(&format!(
        "  to see it: save this as faults.json\n    {json}\n  and run: cargo run --profile sim -p quorate-sim -- --trace --scenario {} --seeds {seed}..{} --script faults.json\n",
        scenario.name,
        seed + 1,
    ));
}
