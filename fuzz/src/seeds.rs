//! What those say who name seeds.

use quorate_node::{
    config::{SeedSource, listed},
    dns::{self, Kind},
};

use crate::pieces::Pieces;

const NAME: &str = "_quorate._tcp.nodes.example";

fn question(kind: Kind) -> Vec<u8> {
    dns::question(7, NAME, kind).expect("a name")
}

/// Answers of a name service, a list, a seed.
pub(crate) fn named(bytes: &[u8]) {
    let mut pieces = Pieces(bytes);
    let kind = if pieces.byte() & 1 == 0 { Kind::Text } else { Kind::Service };
    let rest = pieces.rest();
    // One that answers the question, whatever else it says, and one that need not.
    let asked = question(kind);
    let mut message = asked.clone();
    message[2] |= 0x80;
    if let Some((counts, records)) = rest.split_first_chunk::<2>() {
        message[6..8].copy_from_slice(counts);
        message.extend_from_slice(records);
    }
    for message in [&message[..], rest] {
        if let Ok(answer) = dns::answer(&asked, kind, message) {
            assert!(answer.records.len() <= message.len());
        }
    }
    let text = String::from_utf8_lossy(rest);
    let (addresses, _) = listed(&text);
    let is_address =
        |text: &String| matches!(SeedSource::parse(text), Some(SeedSource::Address(_)));
    assert!(addresses.iter().all(is_address), "{addresses:?}");
    let _ = SeedSource::parse(&text);
}

pub(crate) fn named_seeds() -> Vec<Vec<u8>> {
    let service =
        b"\x01\0\x02\xc0\x0c\0\x21\0\x01\0\0\0\x05\0\x0b\0\x01\0\x01\x3f\xfb\x02n1\xc0\x0c\
                    \xc0\x0c\0\x21\0\x01\0\0\0\x05\0\x09\0\x01\0\x01\x3f\xfb\x01b\0";
    let text = b"\0\0\x01\xc0\x0c\0\x10\0\x01\0\0\0\x05\0\x04\x03a:1";
    let list = b"\0a:8101:r1:dc1:0|b:8101:r2:dc1:1,2\n[::1]:1 nonsense";
    let seed = b"\0srv://_q._tcp.x?server=127.0.0.1:53";
    [&service[..], text, list, seed].map(<[u8]>::to_vec).to_vec()
}
