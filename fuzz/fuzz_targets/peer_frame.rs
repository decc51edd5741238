//! A peer's bytes: never a panic, one encoding for each message, and no damage goes unnoticed.
//!
//! What holds for every input:
//! * arbitrary bytes are frames, an error, or wait untouched for more;
//! * a body that decodes is the only encoding of its message;
//! * frames in a row decode to what was sent, wherever the stream is cut;
//! * a frame with one bit flipped never decodes.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use quorate_proto::{
    frame::{self, Frame, FrameError, HEADER_LENGTH},
    message::Message,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    kind: u8,
    epoch: u64,
    correlation: u64,
    cut: u32,
    flipped_bit: u32,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    check_stream(input.bytes);
    let body = Bytes::copy_from_slice(input.bytes);
    let Ok(message) = Message::decode(input.kind, body.clone()) else { return };
    assert_eq!(message.kind(), input.kind);
    let mut encoded = Vec::new();
    message.encode_body(&mut encoded);
    assert_eq!(encoded, body);

    let frame = Frame { epoch: input.epoch, correlation: input.correlation, message };
    let sent = [frame.clone(), Frame { message: Message::Ack, ..frame.clone() }, frame];
    let mut stream = Vec::new();
    for Frame { epoch, correlation, message } in &sent {
        frame::encode(&mut stream, *epoch, *correlation, message);
    }
    check_cut(&stream, input.cut as usize % (stream.len() + 1), &sent);
    check_flip(&stream, input.flipped_bit as usize % ((HEADER_LENGTH + body.len()) * 8));
});

/// Arbitrary bytes in place of frames.
fn check_stream(bytes: &[u8]) {
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(frame)) = frame::decode(&mut input) {
        let mut encoded = Vec::new();
        frame::encode(&mut encoded, frame.epoch, frame.correlation, &frame.message);
        let end = bytes.len() - input.len();
        assert_eq!(encoded, bytes[end - encoded.len()..end]);
    }
    let left = input.clone();
    if frame::decode(&mut input) == Ok(None) {
        assert_eq!(input, left);
    }
}

fn check_cut(stream: &[u8], cut: usize, sent: &[Frame]) {
    let mut input = BytesMut::new();
    let mut received = Vec::new();
    for piece in [&stream[..cut], &stream[cut..]] {
        input.extend_from_slice(piece);
        while let Some(frame) = frame::decode(&mut input).expect("valid") {
            received.push(frame);
        }
    }
    assert_eq!(received, sent);
    assert!(input.is_empty());
}

fn check_flip(stream: &[u8], bit: usize) {
    let mut input = BytesMut::from(stream);
    input[bit / 8] ^= 1 << (bit % 8);
    // A flipped length may ask for bytes that have not come.
    let length_bits = 24 * 8..28 * 8;
    match frame::decode(&mut input) {
        Ok(None) => assert!(length_bits.contains(&bit), "bit {bit} made the frame wait"),
        Ok(Some(frame)) => panic!("bit {bit} is flipped, yet decoded: {frame:?}"),
        Err(FrameError::Message(error)) => panic!("bit {bit} got past the checksum: {error}"),
        Err(_) => {}
    }
}
