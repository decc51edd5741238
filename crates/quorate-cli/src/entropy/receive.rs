//! `quorate entropy receive`

use std::{fs::File, os::fd::AsFd as _, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use quorate::entropy::{
    BoxedStreamingSink, EntropyReceiver, FileSink, NodeSink, RedisReplaySink, WriterSink,
};

use super::{Channel, Spoken, amount, progress::Progress, resolve};

const EXAMPLES: &str = "Examples:
  quorate entropy receive --listen 0.0.0.0:8105 --key-file k --iv-file v --into-store
  quorate entropy receive --listen 0.0.0.0:8105 --key-file k --iv-file v --file dump.resp --once";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8105")]
    listen: String,
    #[command(flatten)]
    channel: Channel,
    #[command(flatten)]
    into: Into,
    /// What senders may speak
    #[arg(long, value_enum, default_value = "v2", value_name = "PROTOCOL")]
    protocol: Spoken,
    /// Take plaintext too; only with --protocol classic or any
    #[arg(long)]
    plain: bool,
    /// Serve one connection, and fail when it brings nothing
    #[arg(long)]
    once: bool,
    /// Append to the file instead of replacing it
    #[arg(long, requires = "file")]
    append: bool,
    /// Senders served at a time
    #[arg(long, value_name = "N", default_value_t = quorate::entropy::DEFAULT_CONNECTIONS_MAX)]
    connections: usize,
    /// Client address of the node that --into-store writes to
    #[arg(long, value_name = "HOST:PORT", default_value = super::DEFAULT_NODE)]
    node: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Into {
    /// Merge into a running node
    #[arg(long)]
    into_store: bool,
    /// Replay into a Redis-compatible server
    #[arg(long, value_name = "HOST:PORT")]
    redis: Option<String>,
    /// Write a file; it is replaced when a snapshot is whole
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// `-`: write to standard output
    #[arg(value_name = "-", value_parser = ["-"])]
    stdout: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("QUORATE_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let mut config = arguments.channel.config(arguments.protocol, arguments.plain);
    config.listen_addr = resolve("listen", &arguments.listen)?;
    config.connections_max = arguments.connections;
    let receiver = EntropyReceiver::streaming(config, sink(&arguments)?)?;
    eprintln!("listening on {}", receiver.local_addr()?);
    let progress = Progress::start("received", receiver.meter(), None);
    if !arguments.once {
        receiver.accept_loop()?;
        return Ok(());
    }
    let start = Instant::now();
    let outcome = receiver.accept_one();
    drop(progress);
    let received = outcome.context("no snapshot was applied")?;
    eprintln!(
        "received {} bytes ({}) from {} within {:.2} s and applied them",
        received.bytes,
        amount(received.bytes),
        received.peer,
        start.elapsed().as_secs_f64(),
    );
    Ok(())
}

fn sink(arguments: &Arguments) -> Result<BoxedStreamingSink> {
    if arguments.into.into_store {
        return Ok(Arc::new(NodeSink::new(&arguments.node)));
    }
    if let Some(address) = &arguments.into.redis {
        return Ok(Arc::new(RedisReplaySink::new(address)));
    }
    Ok(match &arguments.into.file {
        Some(path) if arguments.append => Arc::new(FileSink::new(path).append()),
        Some(path) => Arc::new(FileSink::new(path)),
        // Past the line buffer of `std::io::stdout`.
        None => {
            let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
            Arc::new(WriterSink::new(File::from(stdout)))
        }
    })
}
