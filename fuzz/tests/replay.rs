//! Every seed, every input that once made a target panic, and mutations of them. libFuzzer finds
//! more; this needs nothing but the compiler, and is the same each time.

use std::{fs, path::Path};

use quorate_fuzz::TARGETS;

/// Mutations that are tried of each target.
const MUTATIONS: usize = 100;

/// A generator of our own, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    const VALUES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'\n', b'*'];
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = VALUES[random.below(VALUES.len())],
            3 => bytes.insert(at, random.below(256) as u8),
            4 => {
                let end = at + random.below(bytes.len() - at);
                bytes.drain(at..end);
            }
            _ => {
                let begin = random.below(other.len());
                let end = begin + random.below(other.len() - begin);
                bytes.splice(at..at, other[begin..end].iter().copied());
            }
        }
    }
}

fn regressions(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

fn replay(name: &str) {
    let target = quorate_fuzz::Target::named(name).expect("it is in the table");
    let mut inputs = target.seeds();
    assert!(!inputs.is_empty(), "{name} has no seeds");
    inputs.extend(regressions(name));
    inputs.iter().for_each(|input| target.run(input));
    target.run(&[]);
    let random = &mut Random(7);
    for _ in 0..MUTATIONS {
        let mut bytes = inputs[random.below(inputs.len())].clone();
        let other = &inputs[random.below(inputs.len())];
        mutate(random, &mut bytes, other);
        target.run(&bytes);
    }
}

#[test]
fn regressions_are_those_of_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        assert!(TARGETS.iter().any(|target| *target.name == *name), "{name:?} is no target");
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays! {
    resp_command resp_reply peer_frame peer_message effect commands directory log_records
    hint_records node_json configuration manifest entropy_stream entropy_records entropy_commands
    entropy_secret search_schema search_query search_expression membership coordinator sync clocks
    handoff all_messages
}
