//! `quorate status`: what a node says of itself and of its cluster.

use anyhow::{Result, bail, ensure};
use quorate_proto::resp::reply::Value;
use serde_json::{Map, Value as Json};

use crate::client::{Client, field, text};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client address of the node
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    address: String,
    /// Print the digest of all data that the node holds, and nothing else
    #[arg(long)]
    digest: bool,
    /// Print what the peers may lack of what was acknowledged, and where it is
    #[arg(long, conflicts_with = "digest")]
    obligations: bool,
    /// Succeed only when the node is ready to serve clients, for probes
    #[arg(long, conflicts_with_all = ["digest", "obligations"])]
    ready: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut client = Client::connect(&arguments.address)?;
    if arguments.digest {
        let digest = client.run(&["QUORATE", "DIGEST"])?.to_text();
        println!("{digest}");
        return Ok(());
    }
    let command = if arguments.obligations { "OBLIGATIONS" } else { "STATUS" };
    let reply = client.run(&["QUORATE", command])?;
    if arguments.ready {
        check_ready(&reply)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&to_json(&reply))?);
    } else if arguments.obligations {
        print_obligations(&reply);
    } else {
        print_table(&reply);
    }
    Ok(())
}

fn check_ready(status: &Value) -> Result<()> {
    let waits_for = text(status, "waits_for");
    ensure!(waits_for.is_empty(), "the node is not ready: it waits for {waits_for}");
    if text(status, "ready") == "1" {
        return Ok(());
    }
    // It serves all the same: what it lacks it cannot take until there is space.
    if text(status, "read_only") == "1" {
        eprintln!("the node's disk is full: the others answer for what it cannot catch up with");
        return Ok(());
    }
    bail!("the node is not ready: it catches up with the others")
}

fn print_obligations(ledger: &Value) {
    for (kind, title) in [("peers", "owed to"), ("datacentres", "datacentre")] {
        println!(
            "{title:<16} {:<6} {:>8} {:>12} {:>6} {:>10} {:>14} {:>10} {:>8}  settled in",
            "state",
            "hints",
            "bytes",
            "dirty",
            "keys (max)",
            "bytes (est.)",
            "unverified",
            "unacked"
        );
        let Some(Value::Array(rows)) = field(ledger, kind) else { continue };
        for row in rows {
            println!(
                "{:<16} {:<6} {:>8} {:>12} {:>6} {:>10} {:>14} {:>10} {:>8}  {}",
                text(row, "name"),
                text(row, "state"),
                text(row, "hints"),
                text(row, "hint_bytes"),
                text(row, "dirty_groups"),
                text(row, "dirty_keys_max"),
                text(row, "dirty_bytes_estimate"),
                text(row, "unverified"),
                text(row, "unacknowledged"),
                settled_in(row),
            );
        }
        println!();
    }
}

/// When nothing is owed any more, for a reader.
fn settled_in(row: &Value) -> String {
    match field(row, "settled_in_ms_estimate") {
        Some(Value::Integer(0)) => "settled".into(),
        Some(Value::Integer(ms)) => format!("about {:.1} s", *ms as f64 / 1e3),
        _ => "unknown".into(),
    }
}

fn print_table(status: &Value) {
    let yes_no = |name| if text(status, name) == "1" { "yes" } else { "no" };
    println!("node      {} ({})", text(status, "name"), text(status, "id"));
    println!("cluster   {}, epoch {}", text(status, "cluster"), text(status, "epoch"));
    if text(status, "links") == "open" {
        println!("links     OPEN: no cluster secret, so whoever reaches the peer port is let in");
    } else {
        println!("links     {}", text(status, "links"));
    }
    println!("sealed    {}", yes_no("sealed"));
    println!("ready     {}", yes_no("ready"));
    if text(status, "incomplete") == "1" {
        let peers = text(status, "awaited_peers");
        println!("missing   data that was lost, until it is compared with {peers} more peers");
    }
    let waits_for = text(status, "waits_for");
    if !waits_for.is_empty() {
        println!("waits for {waits_for}");
    }
    if text(status, "clock_contradicted") == "1" {
        println!("          CLOCK IN DOUBT: most peers contradict it, so this node dates no write");
    } else if text(status, "clock_in_doubt") == "1" {
        println!(
            "clock     not yet compared with a peer's: this node dates no write, for 5 s at most"
        );
    }
    println!("keys      {}", text(status, "keys"));
    println!("log       {} bytes", text(status, "log_bytes"));
    println!("hints     {} bytes", text(status, "hint_bytes"));
    println!();
    println!(
        "{:<16} {:<22} {:<22} {:<10} {:<10} {:<6} {:<10} {:<6} {:>10} {:>12} {:>9}  gossip",
        "member",
        "clients",
        "peers",
        "dc",
        "rack",
        "state",
        "hints",
        "dirty",
        "commands/s",
        "hint bytes",
        "memory"
    );
    let Some(Value::Array(members)) = field(status, "members") else { return };
    for member in members {
        println!(
            "{:<16} {:<22} {:<22} {:<10} {:<10} {:<6} {:<10} {:<6} {:>10} {:>12} {:>6} MB  {}",
            text(member, "name"),
            text(member, "client_address"),
            text(member, "peer_address"),
            text(member, "dc"),
            text(member, "rack"),
            text(member, "state"),
            text(member, "hints_pending"),
            text(member, "dirty_groups"),
            known(member, "commands_per_second", 1),
            known(member, "hint_bytes", 1),
            known(member, "memory_bytes", 1_000_000),
            gossip(member),
        );
    }
}

/// A figure from the news of a member, in some unit, if it has told it.
fn known(member: &Value, name: &str, unit: i64) -> String {
    match field(member, name) {
        Some(Value::Integer(number)) if *number >= 0 => (number / unit).to_string(),
        _ => "-".into(),
    }
}

/// What gossip says of a member, and when it was heard of.
fn gossip(member: &Value) -> String {
    let age_ms = known(member, "news_age_ms", 1);
    format!("{} {age_ms} ms ago", text(member, "gossip"))
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Integer(number) => (*number).into(),
        Value::Array(values) | Value::Set(values) => values.iter().map(to_json).collect(),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| (name.to_text(), to_json(value)));
            Json::Object(pairs.collect::<Map<String, Json>>())
        }
        Value::Nil => Json::Null,
        other => other.to_text().into(),
    }
}
