//! Starting from any disk: a node recovers, refuses to start with a reason, or repairs; it never
//! panics, and what it starts from it can start from again.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use quorate_log::{
    HintAbout, HintLog, HintOptions, LogOptions, SegmentLog,
    disk::{Disk as _, SimulatedDisk},
};
use quorate_proto::message::Message;

use crate::{
    node::Harness,
    pieces::{Pieces, put_bytes},
    recording::{SHARDS, moment, recording, start},
};

/// Files of a data directory are replaced, patched, cut and removed.
pub(crate) fn files(bytes: &[u8]) {
    let disk = recording().disk.duplicate();
    let files = paths();
    let mut pieces = Pieces(bytes);
    while !pieces.is_empty() {
        let path = &files[usize::from(pieces.byte()) % files.len()];
        let Ok(file) = disk.open(path) else { return };
        let done = match pieces.byte() % 4 {
            0 => file.truncate(0).and_then(|()| file.write_at(pieces.bytes(), 0)),
            1 => {
                let offset = u64::from(pieces.short());
                file.write_at(pieces.bytes(), offset)
            }
            2 => file.truncate(u64::from(pieces.short())),
            _ => disk.remove(path),
        };
        done.expect("invariant: this disk does not fail");
    }
    twice(&disk);
}

/// The file that holds who a node is.
pub(crate) fn identity(bytes: &[u8]) {
    let disk = recording().disk.duplicate();
    disk.replace(Path::new("/data/node.json"), bytes).expect("invariant: this disk does not fail");
    twice(&disk);
}

/// Records of the log of a shard, as the log writes them, that hold anything.
pub(crate) fn records(bytes: &[u8]) {
    let disk = recording().disk.duplicate();
    let mut pieces = Pieces(bytes);
    for shard in 0..SHARDS {
        let options = LogOptions {
            log_id: recording().view.members[me()].id.0 as u64 ^ u64::from(shard),
            segment_bytes: 1 << 14,
            new_salt: 1,
            reads_back: false,
        };
        let directory = log_directory(&disk, shard);
        let opened = SegmentLog::open(Arc::new(disk.clone()), &directory, options, |_, _| {});
        let (mut log, _) = opened.expect("invariant: the recorded log is sound");
        for _ in 0..pieces.byte() % 16 {
            let record = pieces.bytes();
            log.reserve(record.len()).expect("invariant: this disk is never full");
            log.append(|out| out.extend_from_slice(record));
        }
        log.write().expect("invariant: this disk does not fail");
    }
    twice(&disk);
}

/// Hints for another node that hold anything.
pub(crate) fn hints(bytes: &[u8]) {
    let disk = recording().disk.duplicate();
    let mut pieces = Pieces(bytes);
    let target = recording().view.members.iter().find(|member| member.name == "n1");
    let id = target.expect("invariant: three members").id;
    for shard in 0..SHARDS {
        let options = HintOptions {
            log_id: id.0 as u64,
            bytes_max: 1 << 20,
            segment_bytes_max: 1 << 14,
            new_salt: 1,
        };
        let directory = PathBuf::from(format!("/data/hints-{shard}/{id}"));
        let about = |_: &[u8]| None;
        let opened = HintLog::open(Arc::new(disk.clone()), &directory, options, about);
        let mut queue = opened.expect("invariant: the recorded queue is sound");
        for _ in 0..pieces.byte() % 16 {
            let record = pieces.bytes();
            let about = HintAbout { group: shard, date_ms: 1_700_000_000_000, keys: 1 };
            queue.room_for(record.len()).expect("invariant: there is room");
            queue.append(about, record);
        }
        queue.write().expect("invariant: this disk does not fail");
    }
    // The target is up and takes them, or what they are taken for.
    if let Ok(mut harness) = Harness::start(disk) {
        harness.run_for(2_000_000);
    }
}

/// Starts a node from the disk, lets it work a little, and starts the next one from what it left.
fn twice(disk: &SimulatedDisk) {
    let mut now_us = recording().ended_us + 1_000_000;
    let mut started = false;
    for _ in 0..2 {
        match start(0, disk.clone(), now_us) {
            Ok(mut process) => {
                started = true;
                for _ in 0..5 {
                    process.turn(moment(now_us), []);
                    now_us = process.poll_timeout().max(now_us + 1_000);
                }
            }
            Err(text) => {
                assert!(!text.is_empty());
                // The last number of all may be reached.
                assert!(!started || text.contains("counted"), "started, and then: {text}");
            }
        }
    }
}

fn me() -> usize {
    let members = &recording().view.members;
    let found = members.iter().position(|member| member.name == "n0");
    found.expect("invariant: the recording is of n0")
}

fn paths() -> &'static [PathBuf] {
    static PATHS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PATHS.get_or_init(|| recording().disk.files().into_iter().map(|(path, _)| path).collect())
}

fn log_directory(disk: &SimulatedDisk, shard: u16) -> PathBuf {
    let directories = disk.list_directories(Path::new("/data")).unwrap_or_default();
    let found = directories.into_iter().find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("log-") && name.ends_with(&format!("-{shard}"))
    });
    found.expect("invariant: every shard has a log")
}

/// Every file, replaced by what it holds.
pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let seed = |(number, path): (usize, &PathBuf)| {
        let contents = recording().disk.read(path).ok().flatten().unwrap_or_default();
        let used = contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let mut seed = vec![number as u8, 0];
        put_bytes(&mut seed, &contents[..used]);
        seed
    };
    let mut seeds: Vec<_> = paths().iter().enumerate().map(seed).collect();
    for (number, _) in paths().iter().enumerate() {
        seeds.push(vec![number as u8, 3]);
        seeds.push(vec![number as u8, 2, 100, 0]);
        seeds.push(vec![number as u8, 1, 40, 0, 1, 0, 0xff]);
    }
    seeds
}

pub(crate) fn identity_seeds() -> Vec<Vec<u8>> {
    let found = recording().disk.read(Path::new("/data/node.json")).ok().flatten();
    let found = found.unwrap_or_default();
    // The version before has no checksum that would keep what is changed in it from being read.
    let text = String::from_utf8_lossy(&found).replace("\"format\": 4", "\"format\": 3");
    let unchecked = text.lines().filter(|line| !line.contains("checksum"));
    let unchecked = unchecked.collect::<Vec<_>>().join("\n").into_bytes();
    vec![unchecked, found, b"{}".to_vec()]
}

/// Effects that were replicated, as records, with their dots and without.
fn recorded_effects() -> Vec<Vec<u8>> {
    let effects = recording().said.iter().filter_map(|said| match &said.message {
        Message::Replicate { slot, effect, .. } => {
            Some([&slot.number().to_le_bytes()[..], effect].concat())
        }
        _ => None,
    });
    effects.take(64).collect()
}

pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let floors = [&[0xff, 0xff, 3, 0][..], &1_700_000_000_000_u64.to_le_bytes()].concat();
    let mut seeds = vec![seed_of(&[floors], 1)];
    seeds.extend(recorded_effects().chunks(8).map(|records| seed_of(records, records.len())));
    seeds
}

pub(crate) fn hint_seeds() -> Vec<Vec<u8>> {
    let dot = [1_u32.to_le_bytes().as_slice(), &7_u64.to_le_bytes()].concat();
    let dotted =
        |record: &Vec<u8>| [&[0xfe, 0xff], &record[..2], &[1, 0], &dot, &record[2..]].concat();
    let effects = recorded_effects();
    let records: Vec<_> = effects.iter().map(dotted).chain(effects.iter().cloned()).collect();
    records.chunks(8).map(|records| seed_of(records, records.len())).collect()
}

fn seed_of(records: &[Vec<u8>], count: usize) -> Vec<u8> {
    let mut seed = vec![count as u8];
    records.iter().for_each(|record| put_bytes(&mut seed, record));
    seed.push(0);
    seed
}
