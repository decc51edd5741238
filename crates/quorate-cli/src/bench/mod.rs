//! `quorate bench`: servers that speak the Redis protocol, measured side by side in one run.
//!
//! What counts on a shared machine is the CPU time that a server spends on an operation, and ratios
//! of one run; so targets take turns, medians are quoted, and every figure stands beside that of
//! the first target.

mod keys;
mod load;
mod report;
mod search;
mod servers;

use anyhow::{Context as _, Result, bail, ensure};

use quorate_proto::limits::BULK_LENGTH_MAX;

use keys::Distribution;
use load::{Kind, Load};
use report::{Measurement, Report};
use servers::{Servers, Target};

const EXAMPLES: &str = "Examples:
  quorate bench --compare-redis                        redis-server and Quorate on the same core
  quorate bench --compare-valkey --command hset,sadd   valkey-server and Quorate on the same core
  quorate bench --cluster                              quorum writes through one of three nodes, and one node
  quorate bench --target mine=127.0.0.1:6379 --pid mine=4711 --command set,get --pipeline 1,16";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// A running server to measure; may be given several times
    #[arg(long, value_name = "NAME=HOST:PORT")]
    target: Vec<String>,
    /// The process of a target, to account its CPU time and memory
    #[arg(long, value_name = "NAME=PID")]
    pid: Vec<String>,
    /// Start redis-server (append-only file, everysec) and this Quorate on one core and compare
    #[arg(long)]
    compare_redis: bool,
    /// The same with valkey-server
    #[arg(long)]
    compare_valkey: bool,
    /// Start three Quorate nodes and write at QUORUM through the first, and one node beside them to
    /// compare it with
    #[arg(long)]
    cluster: bool,
    /// Connections
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Commands sent before their replies are awaited
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pipeline: Vec<usize>,
    /// What to run: set, get, incr, hset, sadd, mixed
    #[arg(long, value_delimiter = ',', default_values_t = [String::from("set"), String::from("get")])]
    command: Vec<String>,
    /// Share of reads in mixed
    #[arg(long, default_value_t = 0.5)]
    read_share: f64,
    /// Operations of a measurement at pipeline 1; deeper pipelines get four times as many
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 64)]
    value_size: usize,
    /// Different keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// How keys are chosen: uniform, zipf, sequential
    #[arg(long, default_value = "uniform")]
    distribution: String,
    /// Write every key once before measuring
    #[arg(long)]
    preload: bool,
    /// Times that each measurement is taken, the targets in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Measure the search engine in this process, beside hnswlib and tantivy
    Search(search::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(What::Search(arguments)) = &arguments.what {
        return search::run(arguments);
    }
    check(arguments)?;
    let pids = arguments.pid.iter().map(|text| pid(text)).collect::<Result<Vec<_>>>()?;
    let kinds = arguments.command.iter().map(|name| kind(name)).collect::<Result<Vec<_>>>()?;
    let mut servers = Servers::default();
    let compares = arguments.compare_redis || arguments.compare_valkey;
    for (wanted, name) in [(arguments.compare_valkey, "valkey"), (arguments.compare_redis, "redis")]
    {
        if wanted {
            servers.start_peer(name)?;
        }
    }
    if compares {
        servers.start_quorate()?;
        servers.pin_this_process();
    }
    if arguments.cluster {
        servers.start_cluster()?;
    }
    for text in &arguments.target {
        let (name, address) = text
            .split_once('=')
            .with_context(|| format!("target: '{text}' is not NAME=HOST:PORT"))?;
        let pid = pids.iter().find(|(target, _)| *target == name).map(|(_, pid)| *pid);
        servers.add(Target { name: name.into(), address: address.into(), pid });
    }
    for (name, _) in pids {
        let is_target = arguments.target.iter().any(|text| text.split('=').next() == Some(name));
        ensure!(is_target, "pid: no target is named '{name}'");
    }
    // Of a cluster only the first node gets requests: it coordinates for the others.
    let targets: Vec<Target> = servers.measured().to_vec();
    ensure!(
        !targets.is_empty(),
        "nothing to measure: give --target, --compare-redis, --compare-valkey or --cluster"
    );

    let mut report = Report::default();
    if arguments.preload || compares || arguments.cluster {
        for target in &targets {
            eprintln!("writing {} keys to {}", arguments.keys, target.name);
            load(arguments, target, Kind::Set, 16, arguments.keys, Distribution::Sequential)?;
            report.note_memory(target, arguments.keys);
        }
    }
    let distribution = distribution(arguments)?;
    for round in 0..arguments.rounds {
        for &kind in &kinds {
            for &pipeline in &arguments.pipeline {
                let count = arguments.requests * if pipeline > 1 { 4 } else { 1 };
                for target in &targets {
                    let measured =
                        load(arguments, target, kind, pipeline, count, distribution.clone())?;
                    report.add(round, measured);
                }
            }
        }
    }
    for target in &targets {
        report.note_memory_after(target);
    }
    report.print(&targets);
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.to_json()?)
            .with_context(|| format!("json: cannot write {}", path.display()))?;
    }
    if report.all_failed() {
        bail!("every operation failed");
    }
    Ok(())
}

/// Whether the numbers are possible.
fn check(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.clients > 0 && arguments.keys > 0, "clients and keys must be at least 1");
    ensure!(arguments.rounds > 0 && arguments.requests > 0, "rounds and requests: at least 1");
    ensure!(arguments.pipeline.iter().all(|depth| *depth > 0), "pipeline: at least 1");
    ensure!(
        (0.0..=1.0).contains(&arguments.read_share),
        "read_share: '{}' is not allowed; allowed: 0 to 1",
        arguments.read_share
    );
    ensure!(
        arguments.value_size <= BULK_LENGTH_MAX,
        "value_size: '{}' is not allowed; allowed: up to {BULK_LENGTH_MAX}",
        arguments.value_size
    );
    Ok(())
}

/// The process of a target.
fn pid(text: &str) -> Result<(&str, u32)> {
    let parsed = text.split_once('=').and_then(|(name, pid)| Some((name, pid.parse().ok()?)));
    parsed.with_context(|| format!("pid: '{text}' is not NAME=PID"))
}

fn load(
    arguments: &Arguments,
    target: &Target,
    kind: Kind,
    pipeline: usize,
    count: u64,
    distribution: Distribution,
) -> Result<Measurement> {
    let before = target.cpu_us();
    let own_before = servers::cpu_us(std::process::id());
    let outcome = Load {
        address: target.address.clone(),
        clients: arguments.clients,
        pipeline,
        kind,
        read_share: arguments.read_share,
        count,
        keys: arguments.keys,
        value_size: arguments.value_size,
        distribution,
    }
    .run()
    .with_context(|| format!("measuring {}", target.name))?;
    let operations = outcome.operations.max(1) as f64;
    let per_operation = |before: Option<u64>, after: Option<u64>| {
        Some((after?.saturating_sub(before?)) as f64 / operations)
    };
    Ok(Measurement {
        target: target.name.clone(),
        command: kind.name(),
        pipeline,
        per_second: operations / outcome.seconds,
        server_us: per_operation(before, target.cpu_us()),
        client_us: per_operation(own_before, servers::cpu_us(std::process::id())),
        errors: outcome.errors,
        operations: outcome.operations,
        first_error: outcome.first_error,
        p50_us: outcome.latency.value_at_quantile(0.5),
        p90_us: outcome.latency.value_at_quantile(0.9),
        p99_us: outcome.latency.value_at_quantile(0.99),
        p999_us: outcome.latency.value_at_quantile(0.999),
        max_us: outcome.latency.max(),
    })
}

fn kind(name: &str) -> Result<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).with_context(|| {
        let allowed: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("command: '{name}' is not allowed; allowed: {}", allowed.join(", "))
    })
}

fn distribution(arguments: &Arguments) -> Result<Distribution> {
    Ok(match arguments.distribution.as_str() {
        "uniform" => Distribution::Uniform,
        "zipf" => Distribution::zipf(arguments.keys),
        "sequential" => Distribution::Sequential,
        other => {
            bail!("distribution: '{other}' is not allowed; allowed: uniform, zipf, sequential")
        }
    })
}
