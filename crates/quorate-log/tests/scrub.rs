//! Scrubbing logs: rot is found wherever it is, memory makes up for it, and nothing else is ever
//! taken for rot.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::prelude::*;
use quorate_log::{
    Damage, HintAbout, HintLog, HintOptions, LogOptions, Quarantine, Recovery, ScrubJob,
    ScrubPosition, SegmentLog, SetAside, SyncJob,
    disk::{Disk, SimulatedDisk},
};
use quorate_proto::Groups;

const DIRECTORY: &str = "/data/log";
const QUARANTINE: &str = "/data/quarantine";
const SEGMENT_HEADER: usize = 32;
const RECORD_HEADER: usize = 24;
const VALUE: usize = 40;
const RECORD: usize = RECORD_HEADER + VALUE;

/// The values of keys, written into a log as `(key, value)` and merged by maximum.
type Values = BTreeMap<u8, u64>;

fn open(disk: &SimulatedDisk) -> (SegmentLog, Recovery, Values) {
    let options = LogOptions { log_id: 7, segment_bytes: 4096, new_salt: 9, reads_back: false };
    let mut values = Values::new();
    let (mut log, recovery) =
        SegmentLog::open(Arc::new(disk.clone()), Path::new(DIRECTORY), options, |_, record| {
            let value = u64::from_le_bytes(*record[1..].first_chunk().expect("eight bytes"));
            let known = values.entry(record[0]).or_default();
            *known = value.max(*known);
        })
        .expect("opens");
    log.set_quarantine(Quarantine { directory: QUARANTINE.into(), prefix: "log".into() });
    (log, recovery, values)
}

fn append(log: &mut SegmentLog, key: u8, value: u64) {
    log.reserve(VALUE).expect("room");
    log.append(|out| {
        out.push(key);
        out.extend_from_slice(&value.to_le_bytes());
        out.resize(out.len() + VALUE - 9, key);
    });
}

fn fill(log: &mut SegmentLog, values: &mut Values, count: u64) {
    for number in 0..count {
        let (key, value) = (number as u8 % 7, log.written() + 1);
        append(log, key, value);
        log.write().expect("writes");
        values.insert(key, value);
    }
}

fn sync(log: &mut SegmentLog) {
    if let Some(job) = log.sync_job(true) {
        let result = job.run();
        log.sync_ended(&result);
        result.expect("syncs");
    }
}

/// A pass of jobs of some bytes; returns the damage and the bytes read.
fn scrub(log: &mut SegmentLog, bytes_max: u64) -> (Vec<Damage>, u64) {
    let (mut position, mut damages, mut bytes) = (log.begin_scrub(), Vec::new(), 0);
    while let Some(job) = log.scrub_job(position, bytes_max) {
        let scrubbed = job.run();
        bytes += scrubbed.bytes;
        let (next, damage) = log.scrub_ended(scrubbed);
        assert!(next != position || damage.is_some(), "must go on");
        position = next;
        damages.extend(damage);
    }
    (damages, bytes)
}

fn checkpoint(log: &mut SegmentLog, values: &Values) {
    let checkpoint = log.begin_checkpoint().expect("begins");
    values.iter().for_each(|(key, value)| append(log, *key, *value));
    log.finish_checkpoint(checkpoint).expect("finishes");
}

fn segment(number: u64) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{number:016x}.log"))
}

#[test]
fn a_flipped_bit_anywhere_is_found_named_and_healed() {
    // Two full segments, one that is written to, and the superblock.
    let prepared = || {
        let disk = SimulatedDisk::new();
        let (mut log, _, _) = open(&disk);
        let mut values = Values::new();
        fill(&mut log, &mut values, 150);
        sync(&mut log);
        (disk, log, values)
    };
    let (disk, ..) = prepared();
    let used: Vec<(u64, usize)> = disk
        .files()
        .iter()
        .filter_map(|(path, _)| {
            let number = u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()?;
            let bytes = disk.read(path).expect("reads")?;
            Some((number, bytes.iter().rposition(|byte| *byte != 0)? + 1))
        })
        .collect();
    assert_eq!(used.len(), 3, "{used:?}");
    let mut first = 1;
    for (number, length) in used {
        for byte in (0..length).step_by(3) {
            let (disk, mut log, values) = prepared();
            disk.flip_bit(&segment(number), 8 * byte + byte % 8);
            let (damages, _) = scrub(&mut log, 1000);
            let [damage] = &damages[..] else { panic!("byte {byte} of {number}: {damages:?}") };
            assert_eq!(damage.segment, format!("{number:016x}.log"));
            let record = byte.saturating_sub(SEGMENT_HEADER) / RECORD;
            if byte < SEGMENT_HEADER {
                assert_eq!((damage.offset, damage.next), (0, Some(damage.first)));
            } else {
                assert_eq!(damage.offset as usize, SEGMENT_HEADER + record * RECORD);
                assert_eq!(damage.first, first + record as u64);
                assert_eq!(damage.next, Some(damage.first + 1));
            }
            assert!(log.wants_checkpoint());
            assert_eq!(scrub(&mut log, 1000).0, [], "is reported once");
            checkpoint(&mut log, &values);
            assert!(!log.wants_checkpoint() && log.has_damage());
            let spoilt = disk.read(&segment(number)).expect("reads");
            sync(&mut log);
            let place = Path::new(QUARANTINE).join(format!("log-{number:016x}.log"));
            assert!(!log.has_damage());
            assert_eq!(log.take_set_aside(), [SetAside::Kept(place.clone())]);
            let kept = disk.read(&place).expect("reads").expect("is there");
            assert!(spoilt.expect("was there").starts_with(&kept), "kept as it was");
            let (_, recovery, recovered) = open(&disk);
            assert_eq!((recovery.damages, recovered), (vec![], values));
        }
        first += ((length - SEGMENT_HEADER) / RECORD) as u64;
    }
}

#[test]
fn a_damaged_superblock_is_written_again_at_once() {
    for byte in (0..56).chain(4096..4152) {
        let disk = SimulatedDisk::new();
        let (mut log, _, _) = open(&disk);
        let mut values = Values::new();
        fill(&mut log, &mut values, 100);
        sync(&mut log);
        checkpoint(&mut log, &values);
        sync(&mut log);
        disk.flip_bit(&Path::new(DIRECTORY).join("superblock"), 8 * byte);
        let (damages, _) = scrub(&mut log, 1 << 20);
        assert_eq!(damages.len(), 1, "byte {byte}: {damages:?}");
        assert!(!log.wants_checkpoint(), "no record was in it");
        assert_eq!(scrub(&mut log, 1 << 20).0, []);
        // The other slot may rot now.
        disk.flip_bit(&Path::new(DIRECTORY).join("superblock"), 8 * (4096 - byte / 4096 * 4096));
        let (_, recovery, recovered) = open(&disk);
        assert_eq!((recovery.damages, recovered), (vec![], values));
    }
}

#[test]
fn a_read_that_fails_is_damage() {
    let disk = SimulatedDisk::new();
    let (mut log, _, _) = open(&disk);
    let mut values = Values::new();
    fill(&mut log, &mut values, 10);
    sync(&mut log);
    disk.fail_reads(true);
    let (damages, _) = scrub(&mut log, 1 << 20);
    disk.fail_reads(false);
    let segments: Vec<&str> = damages.iter().map(|damage| &*damage.segment).collect();
    assert_eq!(segments, ["superblock", "0000000000000001.log"]);
    assert_eq!((damages[1].first, damages[1].next), (1, Some(11)));
    checkpoint(&mut log, &values);
    sync(&mut log);
    let (_, recovery, recovered) = open(&disk);
    assert_eq!((recovery.damages, recovered), (vec![], values));
}

#[test]
fn what_recovery_found_damaged_is_rewritten_and_kept_aside_too() {
    let disk = SimulatedDisk::new();
    let (mut log, _, _) = open(&disk);
    let mut values = Values::new();
    fill(&mut log, &mut values, 100);
    sync(&mut log);
    drop(log);
    disk.flip_bit(&segment(1), 8 * (SEGMENT_HEADER + RECORD + 30));
    let (mut log, recovery, recovered) = open(&disk);
    assert_eq!(recovery.damages.len(), 1);
    assert!(log.wants_checkpoint());
    assert_eq!(scrub(&mut log, 1 << 20).0, [], "is known");
    checkpoint(&mut log, &recovered);
    sync(&mut log);
    assert!(
        disk.read(&Path::new(QUARANTINE).join("log-0000000000000001.log"))
            .expect("reads")
            .is_some()
    );
    drop(log);
    assert_eq!(open(&disk).1.damages, []);
}

#[test]
fn a_record_larger_than_a_job_is_read_in_one() {
    let disk = SimulatedDisk::new();
    let (mut log, _, _) = open(&disk);
    append(&mut log, 1, 1);
    log.append(|out| out.resize(out.len() + (3 << 20), 2));
    append(&mut log, 1, 3);
    log.write().expect("writes");
    sync(&mut log);
    let (damages, bytes) = scrub(&mut log, 1000);
    assert_eq!(damages, []);
    assert!(bytes > 3 << 20 && bytes < (3 << 20) + (16 << 10), "each byte once: {bytes}");
    let (path, _) = disk.files().into_iter().max_by_key(|(_, length)| *length).expect("files");
    disk.flip_bit(&path, 8 * (2 << 20));
    let (damages, _) = scrub(&mut log, 1000);
    assert_eq!((damages[0].first, damages[0].next), (2, Some(3)));
}

#[test]
fn a_quarantine_keeps_what_it_has_when_it_is_full() {
    let disk = SimulatedDisk::new();
    let (mut log, _, _) = open(&disk);
    let mut values = Values::new();
    let (mut kept, mut deleted) = (0, 0);
    for _ in 0..20 {
        fill(&mut log, &mut values, 3);
        sync(&mut log);
        let files = disk.files();
        let is_segment = |path: &Path| path.starts_with(DIRECTORY) && path.extension().is_some();
        let newest = files.iter().rfind(|(path, _)| is_segment(path)).expect("a segment");
        disk.flip_bit(&newest.0, 8 * (SEGMENT_HEADER + 30));
        assert_eq!(scrub(&mut log, 1 << 20).0.len(), 1);
        checkpoint(&mut log, &values);
        sync(&mut log);
        for aside in log.take_set_aside() {
            match aside {
                SetAside::Kept(_) => kept += 1,
                SetAside::Deleted(path) => {
                    deleted += 1;
                    assert!(disk.read(&path).expect("reads").is_none());
                }
            }
        }
    }
    assert_eq!((kept, deleted), (16, 4));
}

#[test]
fn damaged_hints_count_as_lost_and_the_others_stay() {
    let disk = SimulatedDisk::new();
    let options =
        HintOptions { log_id: 1, bytes_max: 1 << 20, segment_bytes_max: 1 << 20, new_salt: 7 };
    let about = HintAbout { group: 3, date_ms: 1, keys: 1 };
    let mut hints =
        HintLog::open(Arc::new(disk.clone()), Path::new(DIRECTORY), options, |_| Some(about))
            .expect("opens");
    for number in 0..20_u64 {
        hints.append(about, &number.to_le_bytes());
    }
    hints.write().expect("writes");
    let pass = |hints: &mut HintLog| {
        let (mut position, mut found) = (hints.begin_scrub(), Vec::new());
        while let Some(job) = hints.scrub_job(position, 100) {
            let (next, damage) = hints.scrub_ended(job.run());
            position = next;
            found.extend(damage);
        }
        found
    };
    assert_eq!(pass(&mut hints), []);
    assert!(hints.take_lost().is_empty());
    disk.flip_bit(&segment(1), 8 * (SEGMENT_HEADER + 5 * (RECORD_HEADER + 8) + 25));
    let found = pass(&mut hints);
    assert_eq!((found.len(), found[0].first, found[0].next), (1, 6, Some(7)));
    assert_eq!(hints.take_lost(), Groups::from_iter([3]));
    assert_eq!(pass(&mut hints), [], "is reported once");
    assert_eq!(hints.read(1 << 20).expect("reads").len(), 19);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Write,
    /// A sync job is made; it runs and ends later.
    Sync {
        record: bool,
    },
    /// The oldest sync job runs, and ends.
    Synced,
    Checkpoint {
        abandoned: bool,
    },
    /// A part of a pass is asked for.
    Scrub {
        bytes_max: u64,
    },
    /// A part that was asked for runs; its end is noted later.
    ScrubRuns,
    ScrubEnds,
    Kill,
    LosePower {
        seed: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..6_u8).prop_map(Step::Append),
        6 => Just(Step::Write),
        3 => any::<bool>().prop_map(|record| Step::Sync { record }),
        3 => Just(Step::Synced),
        2 => any::<bool>().prop_map(|abandoned| Step::Checkpoint { abandoned }),
        6 => (1..9_000_u64).prop_map(|bytes_max| Step::Scrub { bytes_max }),
        6 => Just(Step::ScrubRuns),
        6 => Just(Step::ScrubEnds),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(|seed| Step::LosePower { seed }),
    ]
}

/// A log with syncs and a scrub under way.
struct Machine {
    disk: SimulatedDisk,
    log: SegmentLog,
    values: Values,
    counter: u64,
    syncs: VecDeque<SyncJob>,
    position: ScrubPosition,
    made: Option<ScrubJob>,
    ran: Option<quorate_log::Scrubbed>,
    passes: u64,
}

impl Machine {
    fn start() -> Self {
        let disk = SimulatedDisk::new();
        let (log, _, values) = open(&disk);
        let position = log.begin_scrub();
        let (made, ran, syncs) = (None, None, VecDeque::new());
        Self { disk, log, values, counter: 0, syncs, position, made, ran, passes: 0 }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append(key) => {
                self.counter += 1;
                self.values.insert(key, self.counter);
                append(&mut self.log, key, self.counter);
            }
            Step::Write => self.log.write().expect("writes"),
            Step::Sync { record } => {
                self.log.write().expect("writes");
                self.syncs.extend(self.log.sync_job(record));
            }
            Step::Synced => {
                if let Some(job) = self.syncs.pop_front() {
                    let result = job.run();
                    self.log.sync_ended(&result);
                }
            }
            Step::Checkpoint { abandoned } => {
                let checkpoint = self.log.begin_checkpoint().expect("begins");
                for (key, value) in self.values.clone() {
                    append(&mut self.log, key, value);
                }
                if !abandoned {
                    self.log.finish_checkpoint(checkpoint).expect("finishes");
                }
            }
            Step::Scrub { bytes_max } => {
                if self.made.is_none() && self.ran.is_none() {
                    self.made = self.log.scrub_job(self.position, bytes_max);
                    if self.made.is_none() {
                        self.passes += 1;
                        self.position = self.log.begin_scrub();
                    }
                }
            }
            Step::ScrubRuns => {
                if let Some(job) = self.made.take() {
                    self.ran = Some(job.run());
                }
            }
            Step::ScrubEnds => {
                if let Some(scrubbed) = self.ran.take() {
                    let (position, damage) = self.log.scrub_ended(scrubbed);
                    assert_eq!(damage, None, "nothing has rotted");
                    self.position = position;
                }
            }
            Step::Kill => self.restart(),
            Step::LosePower { seed } => {
                self.disk.lose_power(seed);
                self.restart();
            }
        }
    }

    fn restart(&mut self) {
        let (log, recovery, values) = open(&self.disk);
        assert_eq!(recovery.damages, []);
        (self.log, self.values) = (log, values);
        self.syncs.clear();
        (self.made, self.ran) = (None, None);
        self.position = self.log.begin_scrub();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn nothing_that_a_log_does_is_taken_for_rot(steps in prop::collection::vec(step(), 1..200)) {
        let mut machine = Machine::start();
        for step in &steps {
            machine.run(step);
        }
        machine.log.write().expect("writes");
        prop_assert_eq!(scrub(&mut machine.log, 2000).0, []);
    }

    #[test]
    fn a_flip_between_any_steps_is_found_or_harmless(
        before in prop::collection::vec(step(), 1..80),
        after in prop::collection::vec(step(), 0..20),
        file in any::<usize>(),
        bit in any::<usize>(),
    ) {
        let is_end = |step: &&Step| matches!(step, Step::Kill | Step::LosePower { .. });
        let mut machine = Machine::start();
        before.iter().for_each(|step| machine.run(step));
        machine.log.write().expect("writes");
        sync(&mut machine.log);
        let files = machine.disk.files();
        let files: Vec<_> = files.iter().filter(|(path, _)| path.starts_with(DIRECTORY)).collect();
        let (path, length) = files[file % files.len()];
        machine.disk.flip_bit(path, bit % (8 * (*length).max(1)));
        // Scrubs that are under way may find it; what they find is noted in any case.
        for step in after.iter().filter(|step| !is_end(step)) {
            match step {
                Step::ScrubEnds => {
                    if let Some(scrubbed) = machine.ran.take() {
                        machine.position = machine.log.scrub_ended(scrubbed).0;
                    }
                }
                step => machine.run(step),
            }
        }
        machine.log.write().expect("writes");
        scrub(&mut machine.log, 2000);
        if machine.log.wants_checkpoint() {
            checkpoint(&mut machine.log, &machine.values.clone());
        }
        sync(&mut machine.log);
        let (_, recovery, values) = open(&machine.disk);
        prop_assert_eq!(recovery.damages, []);
        prop_assert_eq!(values, machine.values);
    }
}
