//! Three keys of one slot, and what clients do to them.

use proptest::prelude::*;
use quorate_proto::{Origin, Slot, Start, command::Call, resp::Command};
use quorate_store::{Request, Store, StoreOptions};

const SECRET: [u8; 16] = [9; 16];

/// Keys in one slot, so that one effect may hold several.
pub(crate) const KEYS: [&str; 3] = ["{k}a", "{k}b", "{k}c"];

pub(crate) fn slot() -> Slot {
    Slot::of_key(KEYS[0].as_bytes())
}

pub(crate) fn store(node: u16) -> Store {
    Store::new(StoreOptions {
        origin: Origin::new(node, Start::from_random(1)),
        digest_secret: SECRET,
        seed: u64::from(node) + 1,
        keep_removed: true,
    })
}

pub(crate) fn execute(store: &mut Store, words: &[String], wall_ms: u64) -> (Vec<u8>, Vec<u8>) {
    let call = Call::piece(slot(), Command::from_args(words));
    let (mut reply, mut effect) = (Vec::new(), Vec::new());
    let request = Request { call: &call, wall_ms, resp3: false };
    store.execute(request, &mut reply, &mut effect);
    (reply, effect)
}

/// One command of a client, by what kind of change it makes.
pub(crate) fn command() -> impl Strategy<Value = Vec<String>> {
    let key = prop::sample::select(&KEYS[..]);
    let name = prop::sample::select(&["x", "y", "z"][..]);
    let shape = prop::sample::select(
        &[
            "SET K V",
            "SET K 7",
            "INCR K",
            "INCRBYFLOAT K 0.5",
            "INCRBYFLOAT K 1.7e21",
            "INCRBYFLOAT K -1e300",
            "APPEND K V",
            "DEL K",
            "HSET K N V",
            "HINCRBY K N 3",
            "HINCRBYFLOAT K N 1e21",
            "HINCRBYFLOAT K N -1e25",
            "HDEL K N",
            "SADD K N",
            "SADD K N V",
            "SREM K N",
            "SPOP K",
            "ZADD K V N",
            "ZADD K GT 5 N",
            "ZADD K 1 N 2 V",
            "ZINCRBY K 0.5 N",
            "ZINCRBY K 3 N",
            "ZREM K N",
            "ZPOPMIN K",
            "ZUNIONSTORE {k}b 2 K {k}c",
            "JSON.SET K $ {\"x\":{\"y\":1},\"z\":[1,2]}",
            "JSON.SET K $ [1,{\"x\":2}]",
            "JSON.SET K $.N 5",
            "JSON.SET K $.x.N {}",
            "JSON.SET K $.z [7,8,9]",
            "JSON.NUMINCRBY K $..y 2",
            "JSON.NUMINCRBY K $.* 0.5",
            "JSON.ARRAPPEND K $.z 3",
            "JSON.ARRINSERT K $.z 1 {\"y\":4} 6",
            "JSON.ARRPOP K $..z 0",
            "JSON.ARRTRIM K $.z 1 -2",
            "JSON.MERGE K $ {\"x\":{\"y\":null,\"N\":\"V\"}}",
            "JSON.CLEAR K $.x",
            "JSON.DEL K $.N",
            "JSON.DEL K $..y",
            "JSON.DEL K",
            "EXPIRE K 100",
            "PEXPIRE K 1",
            "PEXPIRE K 90",
            "PERSIST K",
            "SET K V PX 1",
            "GETDEL K",
            "RENAME K {k}c",
            "COPY K {k}b REPLACE",
            "SUNIONSTORE {k}a K {k}c",
            "MSET K V {k}b 1",
        ][..],
    );
    (shape, key, name, 0..100_u8).prop_map(|(shape, key, name, value)| {
        let fill = |word: &str| match word {
            "K" => key.to_owned(),
            "N" => name.to_owned(),
            "V" if shape.starts_with("ZADD K V") => value.to_string(),
            "V" => format!("v{value}"),
            other if other.starts_with(['$', '{']) => other.replace('N', name),
            other => other.to_owned(),
        };
        shape.split(' ').map(fill).collect()
    })
}

/// What clients can see of the three keys; of each key the moment at which it expires comes last.
pub(crate) fn visible(store: &mut Store, wall_ms: u64) -> Vec<String> {
    let mut seen = Vec::new();
    for key in KEYS {
        for command in
            ["TYPE", "GET", "HLEN", "SCARD", "ZRANGE K 0 -1 WITHSCORES", "JSON.GET", "PEXPIRETIME"]
        {
            let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            words.resize(words.len().max(2), String::new());
            words[1] = key.to_owned();
            let (reply, _) = execute(store, &words, wall_ms);
            seen.push(String::from_utf8_lossy(&reply).into_owned());
        }
    }
    seen
}
