//! The handshake and its records, byte for byte.

use super::super::{EntropyIv, EntropyKey};
use super::*;

/// Made by `tests/vectors/make.py` with another implementation of everything.
const FORWARD: &[u8] = include_bytes!("../../tests/vectors/sealed-forward.bin");
const BACKWARD: &[u8] = include_bytes!("../../tests/vectors/sealed-backward.bin");

fn session() -> Session {
    let material = EntropyMaterial {
        key: EntropyKey::from_bytes(*b"0123456789012345"),
        iv: EntropyIv::from_bytes(*b"abcdefghijklmnop"),
    };
    let hello = |stream: &[u8]| *stream.first_chunk::<HELLO>().expect("long enough");
    Session::new(&material, &hello(FORWARD), &hello(BACKWARD))
}

fn plaintext() -> Vec<u8> {
    (0..3000).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn a_session_is_byte_for_byte_as_documented() {
    let session = session();
    let total = 3000_u64.to_be_bytes();
    let plain = plaintext();
    let mut record = vec![0; HEAD];
    let mut forward = FORWARD[..HELLO].to_vec();
    forward.extend(session.proof(Side::Sender).expect("fine"));
    let mut cipher = session.cipher(Side::Sender).expect("fine");
    for (kind, body) in
        [(BEGIN, &total[..]), (DATA, &plain[..1000]), (DATA, &plain[1000..]), (END, &total)]
    {
        cipher.seal(kind, &mut record, body).expect("fine");
        forward.extend(&record);
    }
    assert!(forward == FORWARD);
    let mut backward = BACKWARD[..HELLO].to_vec();
    backward.extend(session.proof(Side::Receiver).expect("fine"));
    let mut cipher = session.cipher(Side::Receiver).expect("fine");
    cipher.seal(APPLIED, &mut record, &total).expect("fine");
    backward.extend(&record);
    assert!(backward == BACKWARD);
}

#[test]
fn records_open_only_in_their_order_and_direction() {
    let records = &FORWARD[HELLO + PROOF..];
    let open = |side: Side, mut records: &[u8]| -> Result<Vec<u8>, String> {
        let mut cipher = session().cipher(side).expect("fine");
        let mut frames = Frames::new(&mut records);
        let mut plain = Vec::new();
        for _ in 0..4 {
            let (kind, body) =
                cipher.open(&mut frames, 65536).map_err(|error| error.to_string())?;
            if kind == DATA {
                plain.extend_from_slice(body);
            }
        }
        Ok(plain)
    };
    assert!(open(Side::Sender, records).expect("opens") == plaintext());
    assert!(open(Side::Receiver, records).is_err());
    let first = HEAD + 8 + TAG;
    assert!(open(Side::Sender, &records[first..]).is_err(), "the first one left out");
    for at in [0, 3, HEAD, HEAD + 8, first + HEAD + 500] {
        let mut changed = records.to_vec();
        changed[at] ^= 0x40;
        assert!(open(Side::Sender, &changed).is_err(), "byte {at} changed");
    }
}

#[test]
fn hellos_are_refused_by_field_and_value() {
    let good = hello(65536, WANTS_EVERYTHING).expect("fine");
    let other = hello(65536, WANTS_EVERYTHING).expect("fine");
    assert_ne!(good, other, "nonces are fresh");
    for (at, value, text) in [
        (3, 3, "magic 0x64640003; known: 0x64640001, 0x64640002"),
        (5, 2, "suite 2; allowed: 1"),
        (7, 1, "wants 1; allowed: 0 to 0"),
        (8, 1, "record_max 16842752; allowed: 1024 to 5242880"),
        (9, 0, "record_max 0; allowed: 1024 to 5242880"),
    ] {
        let mut hello = good;
        hello[at] = value;
        let error = read_hello(&hello, WANTS_EVERYTHING).expect_err(text);
        assert_eq!(error.to_string(), format!("protocol: {text}"));
    }
    let merging = hello(65536, WANTS_STATES).expect("fine");
    assert_eq!(read_hello(&merging, WANTS_STATES).expect("allowed").wants, WANTS_STATES);
}
