//! `quorate hints`: what a node keeps for the others, delivering it now, and giving it up.

use std::{
    io::{BufRead as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use quorate_proto::resp::reply::Value;

use crate::client::{Client, PAUSE, list, number, text};

/// Pause between two lines that tell how far it is.
const REPORT_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client address of the node that keeps the hints
    #[arg(long, global = true, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    address: String,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what is kept for each peer (the default)
    List,
    /// Deliver what is kept now, and wait until nothing is left
    Drain {
        /// Only for this peer, by its name
        node: Option<String>,
        /// Give up after so many seconds; 0 waits as long as it takes
        #[arg(long, default_value_t = 600, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Give up what is kept for a peer: anti-entropy rounds bring it instead, once it is up
    Drop {
        /// The peer, by its name
        node: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut client = Client::connect(&arguments.address)?;
    match &arguments.action {
        None | Some(Action::List) => {
            print_table(&list(client.run(&["QUORATE", "HINTS", "LIST"])?));
            Ok(())
        }
        Some(Action::Drain { node, timeout }) => drain(&mut client, node.as_deref(), *timeout),
        Some(Action::Drop { node, yes }) => give_up(&mut client, node, *yes),
    }
}

fn print_table(peers: &[Value]) {
    println!(
        "{:<16} {:<10} {:<6} {:>10} {:>12} {:>10} {:>6}  paused",
        "for", "dc", "state", "pending", "bytes", "oldest s", "dirty"
    );
    for peer in peers {
        println!(
            "{:<16} {:<10} {:<6} {:>10} {:>12} {:>10} {:>6}  {}",
            text(peer, "name"),
            text(peer, "dc"),
            text(peer, "state"),
            number(peer, "pending"),
            number(peer, "bytes"),
            number(peer, "oldest_ms") / 1_000,
            number(peer, "dirty_groups"),
            if number(peer, "paused") > 0 { "yes" } else { "no" },
        );
    }
}

/// Waits until nothing is kept for the peer, or for any, and nothing is dirty.
fn drain(client: &mut Client, node: Option<&str>, timeout: u64) -> Result<()> {
    let mut words = vec!["QUORATE", "HINTS", "DRAIN"];
    words.extend(node);
    let begun = Instant::now();
    let mut reported = begun;
    loop {
        // Asked for again each time: a target that refuses makes deliveries pause.
        let peers = list(client.run(&words)?);
        let wanted = |peer: &&Value| node.is_none_or(|name| name == text(peer, "name"));
        let is_left = |peer: &&Value| number(peer, "pending") + number(peer, "dirty_groups") > 0;
        let left: Vec<&Value> = peers.iter().filter(wanted).filter(is_left).collect();
        if left.is_empty() {
            println!("nothing is left");
            return Ok(());
        }
        let is_late = timeout > 0 && begun.elapsed() >= Duration::from_secs(timeout);
        if is_late || reported.elapsed() >= REPORT_PAUSE {
            reported = Instant::now();
            for peer in &left {
                println!(
                    "{:<16} {:<6} {} hints, {} bytes, {} groups dirty",
                    text(peer, "name"),
                    text(peer, "state"),
                    number(peer, "pending"),
                    number(peer, "bytes"),
                    number(peer, "dirty_groups"),
                );
            }
        }
        if is_late {
            bail!("not everything was delivered within {timeout} s; the node goes on");
        }
        thread::sleep(PAUSE);
    }
}

fn give_up(client: &mut Client, node: &str, yes: bool) -> Result<()> {
    let of_node = |peers: Vec<Value>| peers.into_iter().find(|peer| text(peer, "name") == node);
    let Some(before) = of_node(list(client.run(&["QUORATE", "HINTS", "LIST"])?)) else {
        bail!("no peer is named '{node}'");
    };
    let pending = number(&before, "pending");
    if !yes && !confirm(node, pending)? {
        bail!("nothing was dropped");
    }
    let after = of_node(list(client.run(&["QUORATE", "HINTS", "DROP", node])?));
    let dirty = after.map_or(0, |peer| number(&peer, "dirty_groups"));
    println!("{pending} hints for {node} are dropped; {dirty} groups of slots are dirty now");
    println!("an anti-entropy round brings what they hold, as soon as {node} is up");
    Ok(())
}

fn confirm(node: &str, pending: u64) -> Result<bool> {
    print!(
        "Drop {pending} hints for {node}, so that anti-entropy rounds bring what they hold? [y/N] "
    );
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
