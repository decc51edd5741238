//! `quorate serve`: a node as a process.

use std::{
    io::IsTerminal as _,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::Builder,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use quorate::Engine;
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use crate::settings::Flags;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The log level is set by the environment variable QUORATE_LOG, for example \
                  QUORATE_LOG=debug. QUORATE_CLUSTER_SECRET may hold what --cluster-secret-file \
                  would, and QUORATE_JOIN_TOKEN what --join-token-file would."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

/// How often the node's threads are looked after.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let filter = EnvFilter::try_from_env("QUORATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    let settings = arguments.flags.settings().context("the settings are wrong")?;
    let is_serving = Arc::new(AtomicBool::new(false));
    let stops = watch_signals(Arc::clone(&is_serving))?;
    let engine = Engine::start_blocking(settings)?;
    is_serving.store(true, Ordering::Release);
    tracing::info!(
        name = engine.name(),
        clients = %engine.client_address(),
        cluster_clients = %engine.cluster_address(),
        peers = %engine.peer_address(),
        "serving"
    );
    if let Some(snapshots) = engine.entropy_address() {
        tracing::info!(%snapshots, "receiving snapshots");
    }
    loop {
        if let Ok(signal) = stops.recv_timeout(WATCH_INTERVAL) {
            tracing::info!(signal, "stopping");
            engine.stop().context("the node did not stop in order")?;
            tracing::info!("stopped");
            return Ok(());
        }
        if !engine.is_running() {
            engine.stop().context("the node has stopped by itself")?;
            bail!("a thread of the node has ended; see the log for why");
        }
    }
}

/// Tells of the signals that stop a node that serves. One that still starts ends at once: it has
/// acknowledged nothing, and its disk is as a loss of power might leave it.
fn watch_signals(is_serving: Arc<AtomicBool>) -> Result<Receiver<i32>> {
    let (stop, stops) = mpsc::channel();
    let mut signals = Signals::new(crate::signals::that_stop())?;
    Builder::new().name("quorate-signals".into()).spawn(move || {
        for signal in signals.forever() {
            if !is_serving.load(Ordering::Acquire) {
                tracing::info!(signal, "stopped before the data was recovered");
                process::exit(0);
            }
            let _ = stop.send(signal);
        }
    })?;
    Ok(stops)
}
