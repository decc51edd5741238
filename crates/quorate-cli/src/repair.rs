//! `quorate repair`: anti-entropy rounds of a node with its peers, now, and waiting for their end.

use std::{collections::BTreeSet, thread};

use anyhow::{Result, bail};
use quorate_proto::{resp::reply::Value, slot::SLOTS};

use crate::client::{Client, LOOKS_PER_REPORT, PAUSE, list, number, text};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client address of the node
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    node: String,
    /// Only with the peers in this datacentre
    #[arg(long, value_name = "NAME")]
    dc: Option<String>,
    /// Only these slots, rounded out to the groups of 256 that are compared
    #[arg(long, value_name = "FIRST-LAST", value_parser = parse_range)]
    range: Option<(u16, u16)>,
    /// Only compare, and tell how many slots differ
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut client = Client::connect(&arguments.node)?;
    let mut words = vec!["QUORATE", "REPAIR", "START"];
    if let Some(name) = &arguments.dc {
        words.extend(["DC", name]);
    }
    let range = arguments.range.map(|(first, last)| (first.to_string(), last.to_string()));
    if let Some((first, last)) = &range {
        words.extend(["RANGE", first, last]);
    }
    if arguments.dry_run {
        words.push("DRY");
    }
    let mut waiting: BTreeSet<String> = list(client.run(&["QUORATE", "REPAIR", "STATUS"])?)
        .iter()
        .map(|peer| text(peer, "name"))
        .collect();
    client.run(&words)?;
    let mut failed = 0;
    for look in 1_u32.. {
        let listed = list(client.run(&["QUORATE", "REPAIR", "STATUS"])?);
        // A peer that is no member any more has no rounds.
        let known: BTreeSet<String> = listed.iter().map(|peer| text(peer, "name")).collect();
        let before_leaving = waiting.len();
        waiting.retain(|name| known.contains(name));
        failed += before_leaving - waiting.len();
        for peer in listed {
            let name = text(&peer, "name");
            let selected = arguments.dc.as_ref().is_none_or(|dc| *dc == text(&peer, "dc"));
            if !selected {
                waiting.remove(&name);
            }
            if !waiting.contains(&name) {
                continue;
            }
            let outcome = text(&peer, "repair");
            if outcome == "running" {
                if look.is_multiple_of(LOOKS_PER_REPORT) {
                    println!("{name:<16} running  {}", progress(&peer, arguments.dry_run));
                }
                continue;
            }
            // A node that forgot its orders meanwhile has not carried them out.
            let succeeded = outcome == "done";
            let outcome = if succeeded { "done" } else { "failed" };
            println!("{name:<16} {outcome:<8} {}", progress(&peer, arguments.dry_run));
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

fn progress(peer: &Value, dry: bool) -> String {
    let bytes = number(peer, "repair_bytes");
    if dry {
        return format!("{} slots differ, {bytes} bytes", number(peer, "repair_slots"));
    }
    format!("{} keys exchanged, {bytes} bytes", number(peer, "repair_keys"))
}

/// Two slots.
fn parse_range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').ok_or("a range of slots is FIRST-LAST")?;
    let slot = |text: &str| {
        let slot = text.parse().ok().filter(|slot| *slot < SLOTS);
        slot.ok_or_else(|| format!("slot '{text}' is not allowed; allowed: 0 to {}", SLOTS - 1))
    };
    match (slot(first)?, slot(last)?) {
        (first, last) if first <= last => Ok((first, last)),
        (first, last) => Err(format!("the first slot, {first}, is behind the last, {last}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_two_slots_in_order() {
        assert_eq!(parse_range("0-16383"), Ok((0, 16_383)));
        assert_eq!(parse_range("7-7"), Ok((7, 7)));
        for wrong in ["", "7", "-", "1-", "-1", "2-1", "0-16384", "a-b", "1-2-3"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }
}
