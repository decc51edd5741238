//! Long values are not copied into replies, whichever command answers with them.

use quorate_proto::{Origin, Slot, Start, command::Call, resp::Command};
use quorate_store::{Request, Store, StoreOptions};

fn store_with(value: &str) -> Store {
    let mut store = Store::new(StoreOptions {
        origin: Origin::new(0, Start::from_random(1)),
        digest_secret: [9; 16],
        seed: 1,
        keep_removed: true,
    });
    reply(&mut store, &["SET", "k", value]);
    store
}

/// The bytes that are written for the reply, and the reply that is shared.
fn reply(store: &mut Store, words: &[&str]) -> (Vec<u8>, Option<bytes::Bytes>) {
    let call = Call::piece(Slot::of_key(b"k"), Command::from_args(words));
    let request = Request { call: &call, wall_ms: 1_000, resp3: false };
    let (mut written, mut effect) = (Vec::new(), Vec::new());
    let shared = store.execute(request, &mut written, &mut effect);
    (written, shared)
}

#[test]
fn a_long_value_is_shared_by_every_command_that_answers_with_it() {
    let value = "x".repeat(100_000);
    let expected = format!("${}\r\n{value}\r\n", value.len());
    for words in [
        &["GET", "k"][..],
        &["GETEX", "k"],
        &["GETEX", "k", "EX", "10"],
        &["GETEX", "k", "PERSIST"],
        &["GETSET", "k", "new"],
        &["SET", "k", "new", "GET"],
        &["SET", "k", "new", "NX", "GET"],
        &["GETDEL", "k"],
    ] {
        let (written, shared) = reply(&mut store_with(&value), words);
        assert!(written.is_empty(), "{words:?}");
        assert_eq!(shared.as_deref(), Some(expected.as_bytes()), "{words:?}");
    }
}

#[test]
fn an_error_is_answered_instead_of_the_value() {
    let mut store = store_with(&"x".repeat(100_000));
    let (written, shared) = reply(&mut store, &["GETEX", "k", "EX", "0"]);
    assert!(written.starts_with(b"-ERR invalid expire time") && shared.is_none());
}
