//! `quorate repair`: digest rounds of a node with its peers, now, and waiting for their end.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use quorate_proto::resp::reply::Value;

use crate::client::{Client, text};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks after which a round that goes on is mentioned again.
const LOOKS_PER_REPORT: u32 = 25;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client address of the node
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    node: String,
    /// Only with the peers in this datacentre
    #[arg(long, value_name = "NAME")]
    dc: Option<String>,
    /// Only compare, and tell how many slots differ
    #[arg(long)]
    dry_run: bool,
}

/// What a peer's rounds had come to before.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    keys: u64,
    bytes: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut client = Client::connect(&arguments.node)?;
    let mut words = vec!["QUORATE", "REPAIR", "START"];
    if let Some(name) = &arguments.dc {
        words.extend(["DC", name]);
    }
    if arguments.dry_run {
        words.push("DRY");
    }
    let before: BTreeMap<String, Before> = peers(client.run(&["QUORATE", "REPAIR", "STATUS"])?)
        .iter()
        .map(|peer| {
            let before = Before { keys: number(peer, "keys"), bytes: number(peer, "bytes") };
            (text(peer, "name"), before)
        })
        .collect();
    client.run(&words)?;
    let mut waiting = before;
    let mut failed = 0;
    for look in 1_u32.. {
        let listed = peers(client.run(&["QUORATE", "REPAIR", "STATUS"])?);
        // A peer that is no member any more has no rounds.
        let known: BTreeSet<String> = listed.iter().map(|peer| text(peer, "name")).collect();
        let before_leaving = waiting.len();
        waiting.retain(|name, _| known.contains(name));
        failed += before_leaving - waiting.len();
        for peer in listed {
            let name = text(&peer, "name");
            let selected = arguments.dc.as_ref().is_none_or(|dc| *dc == text(&peer, "dc"));
            if !selected {
                waiting.remove(&name);
            }
            let Some(before) = waiting.get(&name).copied() else { continue };
            let outcome = text(&peer, "repair");
            if outcome == "running" {
                if look.is_multiple_of(LOOKS_PER_REPORT) {
                    println!("{name:<16} running  {}", progress(&peer, before, arguments.dry_run));
                }
                continue;
            }
            // A node that forgot its orders meanwhile has not carried them out.
            let succeeded = outcome == "done";
            let outcome = if succeeded { "done" } else { "failed" };
            println!("{name:<16} {outcome:<8} {}", progress(&peer, before, arguments.dry_run));
            failed += usize::from(!succeeded);
            waiting.remove(&name);
        }
        if waiting.is_empty() {
            break;
        }
        thread::sleep(PAUSE);
    }
    if failed > 0 {
        bail!("{failed} peers were not reached or refused something; see the node's log");
    }
    Ok(())
}

fn progress(peer: &Value, before: Before, dry: bool) -> String {
    let bytes = number(peer, "bytes").saturating_sub(before.bytes);
    if dry {
        return format!("{} slots differ, {bytes} bytes", number(peer, "slots_differing"));
    }
    let keys = number(peer, "keys").saturating_sub(before.keys);
    format!("{keys} keys exchanged, {bytes} bytes")
}

fn peers(reply: Value) -> Vec<Value> {
    match reply {
        Value::Array(peers) => peers,
        _ => Vec::new(),
    }
}

fn number(map: &Value, name: &str) -> u64 {
    text(map, name).parse().unwrap_or_default()
}
