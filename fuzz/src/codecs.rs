//! What clients and peers send, as bytes: commands, replies, frames, messages, effects.

use bytes::{Bytes, BytesMut};
use quorate_proto::{
    Origin, Partitioner, Slot,
    command::{Batched, Call, CommandId},
    frame,
    message::Message,
    resp::{
        Command, CommandReader, ProtocolError,
        reply::{Value, skip},
    },
};
use quorate_store::{
    Merged, Store, StoreOptions,
    coalesce::{coalesce, count_keys, newest_ms},
    delta::deltas,
    digest::Digest,
};

use crate::{
    pieces::{Pieces, put_bytes, row},
    recording::recording,
};

fn read(pieces: &[&[u8]]) -> (Vec<Command>, Option<ProtocolError>) {
    let mut reader = CommandReader::new();
    let mut input = BytesMut::new();
    let mut commands = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.next(&mut input) {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break,
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

/// A client's bytes give the same commands however they are cut.
pub(crate) fn commands(bytes: &[u8]) {
    let mut pieces = Pieces(bytes);
    let (cut, bytes) = (usize::from(pieces.short()), pieces.rest());
    let (head, tail) = bytes.split_at(cut % (bytes.len() + 1));
    let (whole, error) = read(&[bytes]);
    let (in_two, error_in_two) = read(&[head, tail]);
    assert_eq!((&whole, error), (&in_two, error_in_two));
    for command in whole {
        let arguments: Vec<&[u8]> = command.args().collect();
        let again = Command::decode(Command::from_args(&arguments).frame().clone());
        let again = again.expect("what was encoded can be decoded");
        assert_eq!(again.args().collect::<Vec<_>>(), arguments);
        if let Some(batch) = Batched::parse(&again) {
            assert!(batch.watched().count() < again.len());
            assert_eq!(batch.entries(Slot::default()).count(), batch.len());
        }
        if let Ok(id) = CommandId::of(&again) {
            let call = Call::new(id, again, &Partitioner::Slots);
            assert!(call.keys().count() < call.command().len());
            let same = Call::decode(call.slot(), call.command().frame().clone());
            assert_eq!(same.map(|same| same.class()), Some(call.class()));
        }
    }
}

pub(crate) fn command_seeds() -> Vec<Vec<u8>> {
    let golden: [&[u8]; 7] = [
        b"PING\r\n",
        b"set key \"two words\" 'single \\' quote'\r\nGET key\r\n",
        b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
        b"*1\r\n$536870912\r\n",
        b"quorate.batch m 1 a 1 version 0 R+PONG\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let recorded = recording().requests.iter().map(Vec::as_slice);
    let cut = |bytes: &[u8]| [&[9, 0], bytes].concat();
    recorded.chain(golden).map(cut).collect()
}

/// A server's bytes: measuring and decoding agree.
pub(crate) fn reply(bytes: &[u8]) {
    let length = skip(bytes);
    if let Ok(Some((_, decoded))) = Value::decode(bytes) {
        assert_eq!(length, Ok(Some(decoded)));
        assert!(decoded <= bytes.len());
    }
}

pub(crate) fn reply_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        b"%1\r\n+k\r\n~2\r\n:1\r\n,1.5\r\n".to_vec(),
        b">2\r\n+invalidate\r\n_\r\n".to_vec(),
        b"*2\r\n#t\r\n(12345678901234567890\r\n".to_vec(),
        b"=8\r\ntxt:word\r\n".to_vec(),
    ];
    for replies in &recording().replies {
        let mut rest = &replies[..];
        while let Ok(Some((_, length))) = Value::decode(rest) {
            seeds.push(rest[..length].to_vec());
            rest = &rest[length..];
        }
    }
    seeds.dedup();
    seeds
}

/// A peer's bytes as they come over a connection.
pub(crate) fn frames(bytes: &[u8]) {
    let (mut input, mut decoder) = (BytesMut::from(bytes), frame::Decoder::default());
    while let Ok(Some(_)) = decoder.decode(&mut input) {}
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let each = one_of_each_kind();
    each.chunks(3).map(|said| said.iter().flat_map(|(_, bytes)| bytes.clone()).collect()).collect()
}

/// The body of a message: what decodes encodes to the same bytes.
pub(crate) fn message(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    if let Ok(message) = Message::decode(*kind, Bytes::copy_from_slice(body)) {
        let mut encoded = Vec::new();
        frame::encode(&mut encoded, 1, 2, &message);
        let again = frame::decode(&mut BytesMut::from(&encoded[..]));
        assert_eq!(again.map(|frame| frame.map(|frame| frame.message)), Ok(Some(message)));
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let body = |(message, _): &(&Message, Vec<u8>)| {
        let mut seed = vec![message.kind()];
        message.encode_body(&mut seed);
        seed
    };
    one_of_each_kind().iter().map(body).collect()
}

/// The first few messages of each kind, with their frames.
fn one_of_each_kind() -> Vec<(&'static Message, Vec<u8>)> {
    let mut counts = [0; 256];
    let few = recording().said.iter().filter(|said| {
        let count = &mut counts[usize::from(said.message.kind())];
        *count += 1;
        *count <= 3
    });
    few.map(|said| (&said.message, said.bytes.clone())).collect()
}

fn store() -> Store {
    Store::new(StoreOptions {
        origin: Origin(1),
        digest_secret: [7; 16],
        seed: 1,
        keep_removed: true,
    })
}

const NOW_MS: u64 = 1_700_000_200_000;

/// Effects from elsewhere are merged whole or not at all, in any order, and coalesce to the same:
/// also those that no node would write.
pub(crate) fn effects(bytes: &[u8]) {
    let mut pieces = Pieces(bytes);
    let slot = Slot::new(pieces.short() % quorate_proto::slot::SLOTS).expect("below the end");
    let mut effects = Vec::new();
    while !pieces.is_empty() && effects.len() < 32 {
        effects.push(pieces.bytes());
    }
    let mut forwards = store();
    effects.retain(|effect| {
        let before = forwards.slot_digest(slot);
        let (_, _) = (count_keys(effect), newest_ms(effect));
        let merged = forwards.merge(slot, effect, NOW_MS);
        let digest = forwards.slot_digest(slot);
        if merged.is_ok() {
            assert_eq!(forwards.merge(slot, effect, NOW_MS), Ok(Merged::Whole));
            assert_eq!(forwards.slot_digest(slot), digest, "merged twice");
        } else {
            assert_eq!(digest, before, "refused and merged");
        }
        merged.is_ok()
    });
    let mut backwards = store();
    for effect in effects.iter().rev() {
        backwards.merge(slot, effect, NOW_MS).expect("it was merged before");
    }
    assert_eq!(held(&forwards, slot), held(&backwards, slot), "in another order");
    let mut at_once = store();
    let coalesced = coalesce(&effects).expect("they were merged");
    at_once.merge(slot, &coalesced, NOW_MS).expect("they were merged");
    assert_eq!(held(&forwards, slot), held(&at_once, slot), "coalesced");
}

/// The digest of a slot, and all that it holds: digests say nothing of values.
fn held(store: &Store, slot: Slot) -> (Digest, Vec<String>) {
    let mut held = Vec::new();
    store.export_slot(slot, usize::MAX, |exported| {
        for delta in deltas(exported).map(|delta| delta.expect("it was exported")) {
            held.extend(delta.parts().map(|part| format!("{:?} {part:?}", delta.key)));
        }
    });
    held.sort();
    (store.slot_version(slot), held)
}

pub(crate) fn effect_seeds() -> Vec<Vec<u8>> {
    let mut by_slot = std::collections::BTreeMap::<u16, Vec<&[u8]>>::new();
    for said in &recording().said {
        if let Message::Replicate { slot, effect, .. } = &said.message {
            by_slot.entry(slot.number()).or_default().push(effect);
        }
    }
    let seed = |(slot, effects): (u16, Vec<&[u8]>)| {
        let mut seed = slot.to_le_bytes().to_vec();
        seed.extend(row(effects.into_iter().take(24)));
        seed
    };
    let mut seeds: Vec<_> = by_slot.into_iter().map(seed).collect();
    seeds.sort_by_key(|seed| std::cmp::Reverse(seed.len()));
    seeds.truncate(80);
    let mut empty = vec![0, 0];
    put_bytes(&mut empty, b"");
    seeds.push(empty);
    seeds
}
