//! `quorate status`: what a node says of itself and of its cluster.

use anyhow::Result;
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
    let status = client.run(&["QUORATE", "STATUS"])?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&to_json(&status))?);
    } else {
        print_table(&status);
    }
    Ok(())
}

fn print_table(status: &Value) {
    let yes_no = |name| if text(status, name) == "1" { "yes" } else { "no" };
    println!("node      {} ({})", text(status, "name"), text(status, "id"));
    println!("cluster   {}, epoch {}", text(status, "cluster"), text(status, "epoch"));
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
    println!("keys      {}", text(status, "keys"));
    println!("log       {} bytes", text(status, "log_bytes"));
    println!("hints     {} bytes", text(status, "hint_bytes"));
    println!();
    println!(
        "{:<16} {:<22} {:<22} {:<10} {:<10} {:<6} hints",
        "member", "clients", "peers", "dc", "rack", "state"
    );
    let Some(Value::Array(members)) = field(status, "members") else { return };
    for member in members {
        println!(
            "{:<16} {:<22} {:<22} {:<10} {:<10} {:<6} {}",
            text(member, "name"),
            text(member, "client_address"),
            text(member, "peer_address"),
            text(member, "dc"),
            text(member, "rack"),
            text(member, "state"),
            text(member, "hints_pending"),
        );
    }
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
