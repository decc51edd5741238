//! The `quorate` binary: the server and every operator command.
//!
//! Exit status: 0 on success, 1 when the command failed, 2 when it was called wrongly.
#![allow(clippy::print_stdout, reason = "printing is what a command-line program does")]

mod backup;
mod bench;
mod check_config;
mod client;
mod demo;
mod entropy;
mod hash;
mod hints;
mod repair;
mod ring;
mod scrub;
mod secret;
mod serve;
mod settings;
mod signals;
mod status;
mod token;
mod topology;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Dynamo-style replicated store that any Redis client can talk to.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  quorate serve                      a durable node on 127.0.0.1:6379, data in ./quorate-data
  quorate demo                       three nodes on this machine, every key on each of them
  quorate status                     what the node and its cluster are doing
  redis-cli set greeting hello       any Redis client works";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Serve(Box<serve::Arguments>),
    /// Check a configuration file and say what is wrong with it.
    CheckConfig(check_config::Arguments),
    /// Show the state of a node and of its cluster.
    Status(status::Arguments),
    /// Compare a node with its peers now, and exchange what differs.
    Repair(repair::Arguments),
    /// Check the digests and the disk of a node now, and tell what was wrong.
    Scrub(scrub::Arguments),
    /// List, deliver or drop the hints that a node keeps for others.
    Hints(hints::Arguments),
    #[command(flatten)]
    Topology(topology::Command),
    /// Show what each node holds of the keys, and its tokens.
    Ring(ring::Arguments),
    /// Show where keys lie: their slots, their tokens, and who holds them.
    Hash(hash::Arguments),
    /// Print a new secret for the nodes of a cluster to share.
    Secret,
    /// Print a token with which a node asks to be taken into a cluster.
    Token(token::Arguments),
    /// Run a cluster on this machine until Ctrl-C.
    Demo(demo::Arguments),
    /// Measure servers that speak the Redis protocol, side by side.
    Bench(Box<bench::Arguments>),
    /// Send or receive a whole snapshot of data.
    Entropy(entropy::Arguments),
    /// Back up a cluster into a folder while it serves, or check a backup.
    Backup(backup::Arguments),
    /// Merge a backup into a cluster.
    Restore(backup::RestoreArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Repair(arguments) => repair::run(&arguments),
        Command::Scrub(arguments) => scrub::run(&arguments),
        Command::Hints(arguments) => hints::run(&arguments),
        Command::Topology(command) => topology::run(&command),
        Command::Ring(arguments) => ring::run(&arguments),
        Command::Hash(arguments) => hash::run(&arguments),
        Command::Secret => secret::run(),
        Command::Token(arguments) => token::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Entropy(arguments) => entropy::run(arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => backup::restore(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_of_all_commands_are_possible() {
        super::Arguments::command().debug_assert();
    }
}
