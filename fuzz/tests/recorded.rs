//! The recording says everything that the seeds are to be made of.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_fuzz::recording::recording;
use quorate_proto::message::{Message, MessageError};

#[test]
fn every_kind_of_message_is_recorded() {
    let recorded: BTreeSet<u8> = recording().said.iter().map(|said| said.message.kind()).collect();
    let known: BTreeSet<u8> = (0..=u8::MAX)
        .filter(|kind| {
            let decoded = Message::decode(*kind, Bytes::new());
            !matches!(decoded, Err(MessageError::UnknownKind(_)))
        })
        .collect();
    let missing: Vec<_> = known.difference(&recorded).collect();
    assert!(missing.is_empty(), "kinds {missing:?} are not recorded");
}
