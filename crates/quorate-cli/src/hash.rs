//! `quorate hash`: where keys lie: their slots, their tokens, and who holds them.

use anyhow::{Result, ensure};
use quorate_proto::{Slot, hashkit::HashKind, resp::reply::Value};

use crate::client::{Client, field};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The keys
    #[arg(required = true)]
    keys: Vec<String>,
    /// Client address of a node, to show who holds each key
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Show tokens on a Dynomite ring that hashes by this function, instead of those of slots
    #[arg(long, value_name = "NAME")]
    hash: Option<HashKind>,
    /// The two characters between which such a ring looks for what it hashes
    #[arg(long, value_name = "XY", requires = "hash")]
    hash_tag: Option<String>,
}

/// Bits of a token below those that tell its slot.
const SLOT_SHIFT: u32 = 18;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let tag = arguments.hash_tag.as_deref().map(hash_tag).transpose()?;
    let mut client = arguments.address.as_deref().map(Client::connect).transpose()?;
    println!("{:<32} {:>6} {:>11}  held by", "key", "slot", "token");
    for key in &arguments.keys {
        let slot = Slot::of_key(key.as_bytes());
        let token = match arguments.hash {
            Some(hash) => hash.token(tagged(key.as_bytes(), tag)),
            None => u32::from(slot.number()) << SLOT_SHIFT,
        };
        let holders = match &mut client {
            Some(client) => holders(&client.run(&["QUORATE", "LOCATE", key])?),
            None => "(with --address)".into(),
        };
        println!("{key:<32} {:>6} {token:>11}  {holders}", slot.number());
    }
    Ok(())
}

fn hash_tag(text: &str) -> Result<[u8; 2]> {
    let tag = <[u8; 2]>::try_from(text.as_bytes());
    ensure!(tag.is_ok(), "hash tag: '{text}' is not allowed; allowed: two ASCII characters");
    Ok(tag?)
}

/// What a ring hashes of a key: what is between the first of the one character and the next of the
/// other, if both are there.
fn tagged(key: &[u8], tag: Option<[u8; 2]>) -> &[u8] {
    let between = |[open, close]: [u8; 2]| {
        let begin = key.iter().position(|byte| *byte == open)? + 1;
        let length = key[begin..].iter().position(|byte| *byte == close)?;
        Some(&key[begin..begin + length])
    };
    tag.and_then(between).unwrap_or(key)
}

fn holders(located: &Value) -> String {
    let Some(Value::Array(replicas)) = field(located, "replicas") else { return String::new() };
    replicas.iter().map(Value::to_text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_what_is_between() {
        let tag = Some(*b"{}");
        let cases =
            [("user:{42}:name", "42"), ("{}x", ""), ("a}b{c}", "c"), ("{open", "{open"), ("", "")];
        for (key, hashed) in cases {
            assert_eq!(tagged(key.as_bytes(), tag), hashed.as_bytes(), "{key}");
        }
        assert_eq!(tagged(b"user:{42}:name", None), b"user:{42}:name");
    }
}
