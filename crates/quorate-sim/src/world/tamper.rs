//! Frames as a faulty network delivers them.

use bytes::BytesMut;
use quorate_proto::{
    frame::{self, Decoder, Frame},
    message::Message,
};

use crate::scenario::Repair;

/// The messages of `bytes` as `rewrite` wants them, each in a frame of its own: it is given each, and
/// what to append to. What is no frame stays.
fn rewritten(bytes: &[u8], mut rewrite: impl FnMut(&Frame, &mut Vec<u8>)) -> Vec<u8> {
    let mut rest = BytesMut::from(bytes);
    let mut decoder = Decoder::default();
    let mut out = Vec::with_capacity(bytes.len());
    while let Ok(Some(length)) = frame::length(&rest)
        && length <= rest.len()
    {
        let mut whole = rest.split_to(length);
        // Of what leaves in pieces all stays as it is.
        if frame::is_of_pieces(&whole) {
            out.extend_from_slice(&whole);
            continue;
        }
        while let Ok(Some(frame)) = decoder.decode(&mut whole) {
            rewrite(&frame, &mut out);
        }
    }
    out.extend_from_slice(&bytes[bytes.len() - rest.len()..]);
    out
}

fn keep(frame: &Frame, out: &mut Vec<u8>) {
    frame::encode(out, frame.epoch, frame.correlation, &frame.message);
}

/// The same frames with every effect twice, which merging must not mind. The answer to the second
/// one goes nowhere: no question has its number.
pub(super) fn with_effects_twice(bytes: &[u8]) -> Vec<u8> {
    const NO_QUESTION: u64 = (1 << 60) - 1;
    rewritten(bytes, |frame, out| {
        keep(frame, out);
        if matches!(frame.message, Message::Replicate { .. }) {
            frame::encode(out, frame.epoch, NO_QUESTION, &frame.message);
        }
    })
}

/// The same frames but for the questions of those ways of repair that do not work.
pub(super) fn repairing_by(repair: Repair, bytes: &[u8]) -> Vec<u8> {
    rewritten(bytes, |frame, out| {
        let digests = matches!(frame.message, Message::CompareGroup { .. });
        let clocks = matches!(frame.message, Message::AskClocks { .. });
        let hint = matches!(frame.message, Message::Replicate { .. })
            && frame.correlation >> MACHINE_SHIFT == HANDOFF;
        match repair {
            Repair::Hints if digests || clocks => {}
            // An answer is no question: it is rejected, and nothing waits for ever.
            Repair::Clocks | Repair::Reads
                if digests || hint || clocks && repair == Repair::Reads =>
            {
                frame::encode(out, frame.epoch, frame.correlation, &Message::SlotSame);
            }
            _ => keep(frame, out),
        }
    })
}

/// The upper bits of a correlation id tell who asks, and this is who brings hints.
const MACHINE_SHIFT: u32 = 60;
const HANDOFF: u64 = 1;
