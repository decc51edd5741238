//! What the reconciliation channel reads: streams of both protocols, commands, secrets.

use quorate_entropy::{EntropyKey, fuzzing};

use crate::{
    pieces::{Pieces, put_bytes},
    recording::recording,
};

/// What the classic protocol and the other one begin with.
const MAGIC: [u8; 3] = [0x64, 0x64, 0];

/// A stream of the classic protocol: what is taken is whole.
pub(crate) fn stream(bytes: &[u8]) {
    let mut pieces = Pieces(bytes);
    let (encrypt, version) = (pieces.byte() & 1 == 1, pieces.byte());
    let [a, b, c] = MAGIC;
    if let Ok((announced, held)) = fuzzing::classic([a, b, c, version], pieces.rest(), encrypt) {
        assert_eq!(announced, held);
    }
}

pub(crate) fn stream_seeds() -> Vec<Vec<u8>> {
    // Whether encrypted, and a stream that another implementation made.
    let vectors: [(u8, &[u8]); 5] = [
        (1, include_bytes!("../../crates/quorate-entropy/tests/vectors/empty.bin")),
        (1, include_bytes!("../../crates/quorate-entropy/tests/vectors/one-byte.bin")),
        (1, include_bytes!("../../crates/quorate-entropy/tests/vectors/one-block.bin")),
        (1, include_bytes!("../../crates/quorate-entropy/tests/vectors/many-chunks.bin")),
        (0, include_bytes!("../../crates/quorate-entropy/tests/vectors/plain.bin")),
    ];
    let seed = |(encrypt, stream): &(u8, &[u8])| [&[*encrypt], &stream[3..]].concat();
    vectors.iter().map(seed).collect()
}

/// Records that are sealed properly, and then bytes that are not.
pub(crate) fn records(bytes: &[u8]) {
    let mut pieces = Pieces(bytes);
    let mut records = Vec::new();
    for _ in 0..pieces.byte() % 16 {
        records.push((pieces.byte(), pieces.bytes()));
    }
    let tail = pieces.rest();
    if let Ok((announced, held)) = fuzzing::sealed(&records, tail) {
        assert_eq!(announced, held);
        assert!(tail.is_empty(), "nothing follows the last record");
    }
}

pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let length = |bytes: u64| bytes.to_be_bytes();
    let begun: &[(u8, &[u8])] = &[(1, &length(5)), (2, b"hello"), (3, &length(5))];
    let bare: &[(u8, &[u8])] = &[(1, &[0xff; 8]), (2, b"hello"), (2, b""), (3, &[0; 40])];
    let encode = |records: &&[(u8, &[u8])]| {
        let mut seed = vec![records.len() as u8];
        for (kind, body) in *records {
            seed.push(*kind);
            put_bytes(&mut seed, body);
        }
        seed
    };
    [begun, bare].iter().map(encode).collect()
}

/// A stream of commands and states for a sink is the same however it is cut.
pub(crate) fn commands(bytes: &[u8]) {
    let mut pieces = Pieces(bytes);
    let (cut, bytes) = (usize::from(pieces.short()), pieces.rest());
    let (head, tail) = bytes.split_at(cut % (bytes.len() + 1));
    match (fuzzing::commands(bytes, b""), fuzzing::commands(head, tail)) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (Err(_), Err(_)) => {}
        (whole, cut) => panic!("{whole:?} whole, {cut:?} in two pieces"),
    }
}

pub(crate) fn command_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![b"\x05\0#TS:1\r\n*1\r\n$4\r\nPING\r\n".to_vec()];
    seeds.extend(recording().requests.iter().map(|bytes| [&[7, 0], &bytes[..]].concat()));
    seeds
}

/// A file with a secret.
pub(crate) fn secret(bytes: &[u8]) {
    let _ = EntropyKey::from_contents(bytes);
}

pub(crate) fn secret_seeds() -> Vec<Vec<u8>> {
    let pem: &[u8] = b"-----BEGIN KEY-----\nMDEyMzQ1Njc4OTAxMjM0NQ==\n-----END KEY-----\n";
    vec![b"0123456789012345\n".to_vec(), pem.to_vec()]
}
