//! JSON texts and paths of clients.

use quorate_proto::{Origin, Slot, Start, command::Call, resp::Command};
use quorate_store::{Merged, Request, Store, StoreOptions};

const WALL_MS: u64 = 1_000_000;

fn store(node: u16) -> Store {
    Store::new(StoreOptions {
        origin: Origin::new(node, Start::from_random(1)),
        digest_secret: [7; 16],
        seed: 1,
        keep_removed: true,
    })
}

fn execute(store: &mut Store, words: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
    let call = Call::piece(Slot::of_key(b"k"), Command::from_args(words));
    let (mut reply, mut effect) = (Vec::new(), Vec::new());
    let request = Request { call: &call, wall_ms: WALL_MS, resp3: true };
    let whole = store.execute(request, &mut reply, &mut effect);
    reply.extend(whole.into_iter().flatten());
    (reply, effect)
}

/// A path, a value and a document, in one line each: what is done with them is the same wherever its
/// effects arrive, and what is shown is read as what it was.
pub(crate) fn documents(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let [path, value, document] =
        [lines.next(), lines.next(), lines.next()].map(|line| line.unwrap_or_default());
    let (mut here, mut there) = (store(1), store(2));
    let slot = Slot::of_key(b"k");
    for words in [
        &[&b"JSON.SET"[..], b"k", b"$", document][..],
        &[b"JSON.GET", b"k", path],
        &[b"JSON.GET", b"k", b"FORMAT", b"EXPAND", path],
        &[b"JSON.ARRAPPEND", b"k", path, value],
        &[b"JSON.ARRINSERT", b"k", path, b"1", value, value],
        &[b"JSON.NUMINCRBY", b"k", path, value],
        &[b"JSON.SET", b"k", path, value],
        &[b"JSON.MERGE", b"k", path, document],
        &[b"JSON.ARRPOP", b"k", path, b"0"],
        &[b"JSON.DEL", b"k", path],
    ] {
        let (_, effect) = execute(&mut here, words);
        assert_eq!(there.merge(slot, &effect, WALL_MS), Ok(Merged::Whole));
        let shown = execute(&mut here, &[b"JSON.GET", b"k"]).0;
        assert_eq!(execute(&mut there, &[b"JSON.GET", b"k"]).0, shown);
        let Some(text) = shown.strip_prefix(b"$").and_then(|shown| {
            let start = shown.iter().position(|byte| *byte == b'\n')? + 1;
            shown.get(start..shown.len() - 2)
        }) else {
            continue;
        };
        execute(&mut here, &[b"JSON.SET", b"{k}copy", b"$", text]);
        assert_eq!(execute(&mut here, &[b"JSON.GET", b"{k}copy"]).0, shown);
    }
    assert_eq!(here.scrub_slot(slot).mismatches(), 0);
}

pub(crate) fn document_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "$.a.b\n5\n{\"a\":{\"b\":1},\"c\":[1,2.5,\"x\\n\",null,true]}",
        "$..b[?(@.x>1&&@.y==\"z\"||!=@)]\n[1,[2,{\"q\":3}]]\n[{\"b\":[{\"x\":2,\"y\":\"z\"},5]}]",
        "$.c[0,-1]['k',\"l\"][1:5:2][*]..*\n{\"k\":null}\n{\"c\":[[1,2,3],{\"k\":[{}]}]}",
        ".legacy[?(@=~'^a.*')]\n\"text\"\n{\"legacy\":[\"ab\",\"b\",\"\\u00e9\"]}",
        "$\n-0.0\n[18446744073709551615,-9223372036854775808,1e300,1e-7]",
    ];
    seeds.iter().map(|text| text.as_bytes().to_vec()).collect()
}
