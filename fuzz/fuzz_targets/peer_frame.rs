//! A peer's bytes: never a panic, and what decodes encodes to the same bytes.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use quorate_proto::{frame, message::Message};

fuzz_target!(|data: (u8, &[u8])| {
    let (kind, bytes) = data;
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(_)) = frame::decode(&mut input) {}
    if let Ok(message) = Message::decode(kind, Bytes::copy_from_slice(bytes)) {
        let mut encoded = Vec::new();
        frame::encode(&mut encoded, 1, 2, &message);
        let again = frame::decode(&mut BytesMut::from(&encoded[..]));
        assert_eq!(again.map(|frame| frame.map(|frame| frame.message)), Ok(Some(message)));
    }
});
