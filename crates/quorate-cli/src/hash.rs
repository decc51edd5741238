//! `quorate hash`: where keys lie: their slots, their tokens, and who holds them.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use quorate_proto::{Partitioner, hashkit::HashKind, resp::reply::Value};

use crate::{
    client::{Client, field, number},
    ring::FileRing,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The keys
    #[arg(required = true)]
    keys: Vec<String>,
    /// Client address of a node: show the slots and the tokens of its cluster, and who holds each key
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "hash")]
    address: Option<String>,
    /// Show tokens, and slots, on a ring that hashes by this function
    #[arg(long, value_name = "NAME")]
    hash: Option<HashKind>,
    /// The two characters between which such a ring looks for what it hashes
    #[arg(long, value_name = "XY", requires = "hash")]
    hash_tag: Option<String>,
    /// The nodes of such a ring, to show who holds each key: a line each as in Dynomite's dyn_seeds,
    /// HOST:PORT:RACK:DC:TOKEN[,TOKEN...]
    #[arg(long, value_name = "FILE", requires = "hash")]
    tokens: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let tag = arguments.hash_tag.as_deref().map(hash_tag).transpose()?;
    let hash = arguments.hash.unwrap_or(HashKind::Murmur);
    let read = |path| FileRing::read(path, hash, tag);
    let ring = arguments.tokens.as_ref().map(read).transpose()?;
    let held_by = ring.as_ref().map(|ring| ring.holders(None));
    let partitioner = match &ring {
        Some(ring) => ring.partitioner.clone(),
        None if arguments.hash.is_some() => Partitioner::ring(hash, tag, &[])?,
        None => Partitioner::Slots,
    };
    let mut client = arguments.address.as_deref().map(Client::connect).transpose()?;
    println!("{:<32} {:>6} {:>11}  held by", "key", "slot", "token");
    for key in &arguments.keys {
        let slot = partitioner.slot(key.as_bytes());
        let (slot, token, holders) = match (&mut client, &held_by) {
            (Some(client), _) => {
                let located = client.run(&["QUORATE", "LOCATE", key])?;
                (number(&located, "slot"), number(&located, "token"), holders(&located))
            }
            (None, Some(held_by)) => {
                let token = partitioner.token(key.as_bytes());
                (slot.number().into(), token.into(), held_by[slot.index()].join(", "))
            }
            (None, None) => {
                let token = partitioner.token(key.as_bytes());
                (slot.number().into(), token.into(), "(with --address, or --tokens)".into())
            }
        };
        println!("{key:<32} {slot:>6} {token:>11}  {holders}");
    }
    Ok(())
}

fn hash_tag(text: &str) -> Result<[u8; 2]> {
    let tag = <[u8; 2]>::try_from(text.as_bytes());
    ensure!(tag.is_ok(), "hash tag: '{text}' is not allowed; allowed: two ASCII characters");
    Ok(tag?)
}

fn holders(located: &Value) -> String {
    let Some(Value::Array(replicas)) = field(located, "replicas") else { return String::new() };
    replicas.iter().map(Value::to_text).collect::<Vec<_>>().join(", ")
}
