//! Streams that are cut or changed everywhere: never a panic, nothing that was whole before the
//! damage is lost, and nothing behind it is believed.

mod support;

use quorate_entropy::{EntropyError, fuzzing};
use quorate_proto::resp::Command;
use support::{plaintext, vector};

/// Name, length, encrypted, header size.
const VECTORS: [(&str, usize, bool, usize); 5] = [
    ("empty", 0, true, 1024),
    ("one-byte", 1, true, 8),
    ("one-block", 16, true, 8),
    ("many-chunks", 3000, true, 20),
    ("plain", 3000, false, 1024),
];

/// Positions of a stream: all of a short one. Of a long one every thirteenth, which meets every
/// place within its chunks, because they are 84 and 1004 bytes long.
fn positions(stream: &[u8]) -> impl Iterator<Item = usize> {
    (0..stream.len()).step_by(if stream.len() > 1500 { 13 } else { 1 })
}

/// A generator of our own, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

fn receive(stream: &[u8], encrypt: bool) -> (Result<u64, EntropyError>, Vec<u8>) {
    match stream.split_first_chunk() {
        Some((magic, rest)) => fuzzing::classic_pieces(*magic, rest, encrypt),
        None => (Err(EntropyError::Protocol("no magic".into())), Vec::new()),
    }
}

#[test]
fn a_classic_stream_cut_anywhere_gives_whole_chunks_and_an_error() {
    for (name, length, encrypt, _) in VECTORS {
        let (stream, plain) = (vector(name), plaintext(length));
        let (outcome, pieces) = receive(&stream, encrypt);
        assert!(outcome.expect(name) == length as u64 && pieces == plain, "{name}");
        let mut longest = 0;
        for end in positions(&stream) {
            let (outcome, pieces) = receive(&stream[..end], encrypt);
            let text = outcome.expect_err(name).to_string();
            assert!(end < 4 || text.starts_with("protocol: the stream ended inside"), "{text}");
            assert!(pieces.len() >= longest && plain.starts_with(&pieces), "{name} cut at {end}");
            longest = pieces.len();
        }
        // Its last chunk is the only one that a cut before the end can cost.
        assert!(length - longest <= 1000, "{name}: {longest} of {length}");
    }
}

#[test]
fn a_classic_stream_changed_anywhere_keeps_what_was_before() {
    for (name, length, encrypt, header_size) in VECTORS {
        let (stream, plain) = (vector(name), plaintext(length));
        for at in positions(&stream) {
            let mut changed = stream.clone();
            changed[at] ^= 1 << (at % 8);
            let (outcome, pieces) = receive(&changed, encrypt);
            if let Ok(announced) = outcome {
                assert_eq!(announced, pieces.len() as u64, "{name} changed at {at}");
            }
            // Chunks before the changed byte are as they were: no more than the chunk that it is in
            // can differ, which begins at most 1004 bytes before it.
            let headers = 20 + header_size;
            let sound = at.saturating_sub(headers + 1004) / 84 * 64;
            let sound = if encrypt { sound } else { at.saturating_sub(headers + 1004) };
            let sound = sound.min(length);
            assert!(pieces.len() >= sound && pieces[..sound] == plain[..sound], "{name} at {at}");
        }
    }
}

/// Begin, data and end of a snapshot in seven pieces.
fn records() -> (Vec<(u8, Vec<u8>)>, Vec<u8>) {
    let plain = plaintext(700);
    let total = 700_u64.to_be_bytes().to_vec();
    let data = plain.chunks(100).map(|piece| (2, piece.to_vec()));
    let records = std::iter::once((1, total.clone())).chain(data).chain([(3, total)]);
    (records.collect(), plain)
}

#[test]
fn a_sealed_stream_cut_or_changed_anywhere_gives_the_records_before_and_an_error() {
    let (records, plain) = records();
    let whole = fuzzing::seal(&records).expect("sealed");
    let (outcome, pieces) = fuzzing::open(&whole);
    assert!(outcome.expect("whole") == 700 && pieces == plain);
    // Where each record ends, and what has been given by then.
    let mut ends = Vec::new();
    let (mut at, mut given) = (0, 0);
    for (kind, body) in &records {
        at += 5 + body.len() + 16;
        given += if *kind == 2 { body.len() } else { 0 };
        ends.push((at, given));
    }
    assert_eq!(at, whole.len());
    for at in 0..whole.len() {
        let before = ends.iter().take_while(|(end, _)| *end <= at).last();
        let expected = &plain[..before.map_or(0, |(_, given)| *given)];
        let (outcome, pieces) = fuzzing::open(&whole[..at]);
        assert!(outcome.is_err() && pieces == expected, "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        let (outcome, pieces) = fuzzing::open(&changed);
        assert!(outcome.is_err() && pieces == expected, "byte {at} changed");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(fuzzing::open(&longer).0.is_err());
}

#[test]
fn a_stream_of_commands_gives_those_before_the_damage_and_says_where_it_is() {
    let commands: Vec<Command> = (0..40)
        .map(|number| {
            let value = "v\r\n*1\r\n".repeat(number % 5);
            Command::from_args(["SET", &format!("key-{number}"), &value])
        })
        .collect();
    let stream: Vec<u8> = commands.iter().flat_map(|each| each.frame().to_vec()).collect();
    let mut ends = Vec::new();
    for command in &commands {
        ends.push(ends.last().unwrap_or(&0) + command.frame().len());
    }
    for at in 0..stream.len() {
        let before = ends.iter().filter(|end| **end <= at).count();
        let (outcome, read) = fuzzing::commands_before_damage(&stream[..at]);
        assert!(read == commands[..before], "cut at {at}");
        let whole = at == 0 || ends.contains(&at);
        match outcome {
            Ok(()) => assert!(whole, "cut at {at}"),
            Err(error) => {
                let text = error.to_string();
                let place = format!("sink: behind command {before} of the stream: ");
                assert!(!whole && text.starts_with(&place), "cut at {at}: {text}");
            }
        }
        let mut changed = stream.clone();
        changed[at] ^= 0x80;
        let (_, read) = fuzzing::commands_before_damage(&changed);
        assert!(read.len() >= before && read[..before] == commands[..before], "changed at {at}");
    }
}

#[test]
fn random_damage_panics_nowhere() {
    let (records, _) = records();
    let sealed = fuzzing::seal(&records).expect("sealed");
    for seed in 0..1_000 {
        let random = &mut Random(seed);
        let (name, _, encrypt, _) = VECTORS[random.next(VECTORS.len())];
        let mut stream = if random.next(2) == 0 { vector(name) } else { sealed.clone() };
        for _ in 0..=random.next(4) {
            let at = random.next(stream.len());
            match random.next(5) {
                0 => stream.truncate(at.max(1)),
                1 => stream[at] = random.next(256) as u8,
                2 => stream.insert(at, random.next(256) as u8),
                3 => drop(stream.remove(at)),
                _ => {
                    let piece = stream[at..(at + random.next(40)).min(stream.len())].to_vec();
                    let to = random.next(stream.len());
                    stream.splice(to..to, piece);
                }
            }
            if stream.is_empty() {
                break;
            }
        }
        // A seed that fails is the one in the message.
        let (outcome, pieces) = receive(&stream, encrypt);
        assert!(
            outcome.is_err() || outcome.is_ok_and(|total| total == pieces.len() as u64),
            "{seed}"
        );
        let (outcome, pieces) = fuzzing::open(&stream);
        assert!(outcome.is_err() || pieces.len() == 700, "{seed}");
        let _ = fuzzing::commands_before_damage(&stream);
    }
}
