//! `quorate entropy send`

use std::{
    fs::File,
    io::Seek as _,
    os::fd::AsFd as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use quorate::entropy::{
    BoxedStreamingSource, EntropyConfig, EntropyDriver, EntropySender, FileSource, NodeSource,
    ReaderSource, ReconPeer, Reconciled, RedisLocalSnapshot,
};

use super::{Channel, Spoken, amount, progress::Progress};

const EXAMPLES: &str = "Examples:
  quorate entropy send --peer 10.0.0.7:8105 --key-file k --iv-file v --from-store
  quorate entropy send --peer 10.0.0.7:8105 --key-file k --iv-file v --file dump.resp
  pg_dump db | quorate entropy send --peer 10.0.0.7:8105 --key-file k --iv-file v -";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where the receiver listens
    #[arg(long, value_name = "HOST:PORT")]
    peer: String,
    #[command(flatten)]
    channel: Channel,
    #[command(flatten)]
    from: From,
    /// What to speak
    #[arg(long, value_enum, default_value = "v2", value_name = "PROTOCOL")]
    protocol: Spoken,
    /// Do not encrypt; only with --protocol classic
    #[arg(long)]
    plain: bool,
    /// Length of the classic protocol's snapshot header
    #[arg(long, value_name = "BYTES", default_value_t = quorate::entropy::DEFAULT_HEADER_SIZE)]
    header_size: usize,
    /// Client address of the node that --from-store reads
    #[arg(long, value_name = "HOST:PORT", default_value = super::DEFAULT_NODE)]
    node: String,
    /// Repeat this often, and ship only the slots that have changed; only with --from-store
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..),
          requires = "from_store")]
    every: Option<u64>,
    /// Client address of the receiver's node, when it is in the same cluster: with --every, ship
    /// only the slots whose digests differ
    #[arg(long, value_name = "HOST:PORT", requires = "every")]
    peer_node: Option<String>,
    /// Send a snapshot each time this many bytes are full, cut between commands, instead of one of
    /// up to 4 GiB; only with --protocol classic. Up to 8 MiB each, a stream needs no temporary
    /// copy; a receiver with --file keeps the last one only
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    part_size: Option<u32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct From {
    /// Send what a running node holds
    #[arg(long)]
    from_store: bool,
    /// Send what a Redis or Valkey server on this machine holds, by BGREWRITEAOF
    #[arg(long, value_name = "HOST:PORT")]
    redis: Option<String>,
    /// Send a file
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// `-`: send standard input
    #[arg(value_name = "-", value_parser = ["-"])]
    stdin: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let mut config = arguments.channel.config(arguments.protocol, arguments.plain);
    config.peer_endpoint = arguments.peer.clone();
    config.header_size = arguments.header_size;
    if let Some(seconds) = arguments.every {
        return keep_up_to_date(config, &arguments, seconds);
    }
    let (source, total) = source(&arguments)?;
    let mut sender = EntropySender::streaming(config, source)?;
    if let Some(bytes) = arguments.part_size {
        sender = sender.part_size(bytes);
    }
    let start = Instant::now();
    let progress = Progress::start("sent", sender.meter(), total);
    let outcome = sender.run();
    drop(progress);
    let sent =
        outcome.with_context(|| format!("the snapshot was not delivered to {}", arguments.peer))?;
    let seconds = start.elapsed().as_secs_f64();
    let parts = match sent.connections {
        1 => String::new(),
        parts => format!(" in {parts} connections"),
    };
    eprintln!(
        "sent {} bytes ({}) to {}{parts} in {seconds:.2} s; {}",
        sent.bytes,
        amount(sent.bytes),
        arguments.peer,
        if sent.acknowledged {
            "the receiver has applied them"
        } else {
            "the classic protocol does not tell whether they were applied"
        }
    );
    Ok(())
}

/// Sends what has changed, again and again.
fn keep_up_to_date(config: EntropyConfig, arguments: &Arguments, seconds: u64) -> Result<()> {
    let peer = ReconPeer { endpoint: arguments.peer.clone(), node: arguments.peer_node.clone() };
    let source = NodeSource::new(&arguments.node);
    let driver = EntropyDriver::new(config, source, vec![peer])?;
    driver.interval(Duration::from_secs(seconds))?.run(|cycle| {
        for outcome in &cycle.outcomes {
            match outcome {
                Ok(Reconciled { slots_equal, slots_shipped, bytes }) => eprintln!(
                    "{slots_equal} slots equal, {slots_shipped} shipped to {} and applied: {}",
                    arguments.peer,
                    amount(*bytes)
                ),
                Err(error) => eprintln!("nothing shipped to {}: {error}", arguments.peer),
            }
        }
    });
    Ok(())
}

/// The source, and its length when that is known.
fn source(arguments: &Arguments) -> Result<(BoxedStreamingSource, Option<u64>)> {
    if arguments.from.from_store {
        return Ok((Arc::new(NodeSource::new(&arguments.node)), None));
    }
    if let Some(address) = &arguments.from.redis {
        return Ok((Arc::new(RedisLocalSnapshot::new(address)), None));
    }
    if let Some(path) = &arguments.from.file {
        let length = std::fs::metadata(path).ok().map(|about| about.len());
        return Ok((Arc::new(FileSource::new(path)), length));
    }
    // Past the buffer of `std::io::stdin`, and a file given as standard input has a length.
    let stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let about = stdin.metadata()?;
    let length = if about.is_file() {
        let mut stdin = &stdin;
        Some(about.len().saturating_sub(stdin.stream_position()?))
    } else {
        None
    };
    Ok((Arc::new(ReaderSource::new(stdin, length)), length))
}
