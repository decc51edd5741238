//! A server's bytes: measuring and decoding agree, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_proto::resp::reply::{Value, skip};

fuzz_target!(|bytes: &[u8]| {
    let length = skip(bytes);
    if let Ok(Some((_, decoded))) = Value::decode(bytes) {
        assert_eq!(length, Ok(Some(decoded)));
        assert!(decoded <= bytes.len());
    }
});
