//! `quorate entropy`: whole snapshots from here to there.

pub(crate) mod progress;
mod receive;
mod send;

use std::{net::ToSocketAddrs as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use quorate::entropy::{EntropyConfig, Patience, Protocol};

/// The client port of a node, unless another one is given.
pub(crate) const DEFAULT_NODE: &str = "127.0.0.1:6379";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a snapshot to a receiver.
    Send(Box<send::Arguments>),
    /// Receive snapshots.
    Receive(Box<receive::Arguments>),
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Send(arguments) => send::run(*arguments),
        Command::Receive(arguments) => receive::run(*arguments),
    }
}

/// What both sides must be told.
#[derive(Debug, Args)]
struct Channel {
    /// File with the pre-shared key: 16 bytes, or PEM
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// File with the pre-shared initialisation vector: 16 bytes, or PEM
    #[arg(long, value_name = "FILE")]
    iv_file: PathBuf,
    /// Most plaintext bytes in a chunk
    #[arg(long, value_name = "BYTES", default_value_t = quorate::entropy::DEFAULT_BUFFER_SIZE)]
    buffer_size: usize,
    /// Seconds that the other side may take for its next 64 KiB
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl Channel {
    fn config(&self, protocol: Spoken, plain: bool) -> EntropyConfig {
        let idle = Duration::from_secs(self.timeout);
        let patience = Patience::default();
        EntropyConfig {
            key_file: self.key_file.clone(),
            iv_file: self.iv_file.clone(),
            buffer_size: self.buffer_size,
            encrypt: !plain,
            protocol: match protocol {
                Spoken::Classic => Protocol::Classic,
                Spoken::V2 => Protocol::V2,
                Spoken::Any => Protocol::Any,
            },
            patience: Patience { idle, handshake: patience.handshake.min(idle), ..patience },
            ..EntropyConfig::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Spoken {
    /// The published framing, AES-128-CBC, not authenticated
    Classic,
    /// Authenticated encryption with acknowledgement
    V2,
    /// Either, as the sender likes
    Any,
}

fn resolve(option: &str, address: &str) -> Result<std::net::SocketAddr> {
    let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.with_context(|| format!("{option}: '{address}' is not host:port"))
}

/// A number of bytes for people.
pub(crate) fn amount(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_are_short() {
        assert_eq!(amount(0), "0 bytes");
        assert_eq!(amount(1023), "1023 bytes");
        assert_eq!(amount(1536), "1.5 KiB");
        assert_eq!(amount(5 << 30), "5.0 GiB");
    }
}
