//! `quorate backup` and `quorate restore`.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use quorate::entropy::{
    Meter, NodeSink, RedisReplaySink, StreamingSink,
    backup::{Backup, Restore, verify},
};

use crate::entropy::{DEFAULT_NODE, amount, progress::Progress};

const EXAMPLES: &str = "Examples:
  quorate backup --to /backup/today                  everything, while the node serves
  quorate backup --to /backup/today --incremental    only the slots that have changed since
  quorate backup --verify /backup/today              is it still what it was?
  quorate restore --from /backup/today               merge it; what is newer stays";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    what: What,
    /// Client address of the node to back up
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_NODE)]
    node: String,
    /// Read only the slots that differ from the backup in the folder
    #[arg(long, requires = "to")]
    incremental: bool,
    /// Fetch what the node does not hold, or lacks, from the other replicas
    #[arg(long, requires = "to")]
    cluster: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Folder to write the backup to
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Check the backup in a folder, and change nothing
    #[arg(long, value_name = "FOLDER")]
    verify: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// Folder that holds the backup
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// Client address of a node of the cluster to restore into
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_NODE)]
    node: String,
    /// Replay into a Redis-compatible server instead; keys are replaced, not merged
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "node")]
    redis: Option<String>,
    /// Restore the rest when files are damaged
    #[arg(long)]
    keep_going: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(folder) = &arguments.what.verify {
        return check(folder);
    }
    let folder = arguments.what.to.as_ref().context("--to: no folder is given")?;
    let backup = Backup::new(folder, &arguments.node)
        .incremental(arguments.incremental)
        .whole_cluster(arguments.cluster);
    let start = Instant::now();
    let progress = Progress::start("read", backup.meter(), None);
    let outcome = backup.run();
    drop(progress);
    let taken = outcome.context("no backup was taken")?;
    eprintln!(
        "backup {} into {}: {} slots read from {} ({} written meanwhile), {} kept; {} read, {} keys \
         and {} in all, in {:.2} s",
        taken.number,
        folder.display(),
        taken.slots_read,
        if taken.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", taken.nodes) },
        taken.slots_moving,
        taken.slots_kept,
        amount(taken.bytes_written),
        taken.keys,
        amount(taken.bytes),
        start.elapsed().as_secs_f64(),
    );
    if taken.slots_merged > 0 {
        eprintln!("replicas of {} slots differed: all states are in it", taken.slots_merged);
    }
    if taken.slots_minority > 0 {
        let slots = taken.slots_minority;
        eprintln!("no majority of the replicas of {slots} slots is up: some writes may be missing");
    }
    Ok(())
}

fn check(folder: &std::path::Path) -> Result<()> {
    let meter = Meter::new();
    let progress = Progress::start("checked", meter.clone(), None);
    let outcome = verify(folder, &meter);
    drop(progress);
    let verified = outcome?;
    for name in &verified.strangers {
        eprintln!("{name}: not part of the backup; the next backup removes it");
    }
    for damage in &verified.damages {
        println!("{damage}");
    }
    if !verified.damages.is_empty() {
        bail!("{}: {} slots are damaged", folder.display(), verified.damages.len());
    }
    let manifest = &verified.manifest;
    println!(
        "{}: backup {} of cluster '{}' is whole: {} keys, {} in {} files",
        folder.display(),
        manifest.number,
        manifest.cluster,
        manifest.keys(),
        amount(manifest.bytes()),
        manifest.files.len(),
    );
    Ok(())
}

pub(crate) fn restore(arguments: &RestoreArguments) -> Result<()> {
    let start = Instant::now();
    let meter = Meter::new();
    let progress = Progress::start("checked", meter.clone(), None);
    let outcome = Restore::check(&arguments.from, arguments.keep_going, &meter);
    drop(progress);
    let restore = outcome?;
    let manifest = restore.manifest();
    let (number, cluster) = (manifest.number, manifest.cluster.clone());
    let node = NodeSink::new(&arguments.node);
    let (address, sink): (&str, Box<dyn StreamingSink>) = match &arguments.redis {
        Some(address) => (address, Box::new(RedisReplaySink::new(address))),
        None => (&arguments.node, Box::new(node.clone())),
    };
    let progress = Progress::start("restored", restore.meter(), Some(manifest.bytes()));
    let outcome = restore.run(&*sink);
    drop(progress);
    let restored = outcome.with_context(|| format!("not all was restored through {address}"))?;
    eprintln!(
        "restored backup {number} of cluster '{cluster}' through {address}: {} keys in {} slots, {}, \
         in {:.2} s",
        restored.keys,
        restored.slots,
        amount(restored.bytes),
        start.elapsed().as_secs_f64(),
    );
    if node.left_out() > 0 {
        eprintln!(
            "not there, in whole or in part, are {} of these keys: they have been deleted in this cluster, \
             or have expired",
            node.left_out()
        );
    }
    for damage in &restored.damages {
        eprintln!("left out: {damage}");
    }
    if !restored.damages.is_empty() {
        bail!("{} damaged slots were left out", restored.damages.len());
    }
    Ok(())
}
