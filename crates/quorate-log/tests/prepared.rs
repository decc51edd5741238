//! Large records, which are written beside the log: whole or not there, whatever happens.

use std::{path::Path, sync::Arc};

use quorate_log::{
    LogOptions, Prepared, Recovery, SegmentLog, Sequence,
    disk::{Disk as _, SimulatedDisk},
};

const DIRECTORY: &str = "/data/log";

/// More than a segment usually holds, and for 0 more than is written at once.
fn large(number: u8) -> Vec<u8> {
    let length = if number == 0 { 5 << 19 } else { 70 << 10 };
    [b"head".to_vec(), vec![number; length]].concat()
}

type Records = Vec<(Sequence, Vec<u8>)>;

fn open(disk: &SimulatedDisk) -> (SegmentLog, Records, Recovery) {
    let options = LogOptions { log_id: 7, segment_bytes: 64 << 10, new_salt: 9, reads_back: false };
    let mut records = Vec::new();
    let each = |sequence, record: &[u8]| records.push((sequence, record.to_vec()));
    let disk = Arc::new(disk.clone());
    let (log, recovery) =
        SegmentLog::open(disk, Path::new(DIRECTORY), options, each).expect("opens");
    (log, records, recovery)
}

fn small(log: &mut SegmentLog, byte: u8) -> Sequence {
    log.reserve(4).expect("there is space");
    log.append(|out| out.extend_from_slice(&[byte; 4]))
}

fn prepare(log: &mut SegmentLog, number: u8) -> Prepared {
    log.preparer().write(b"head", &large(number)[4..]).expect("there is space")
}

fn sync(log: &mut SegmentLog) {
    let job = log.sync_job(true).expect("something is to be synced");
    let result = job.run();
    log.sync_ended(&result);
    result.expect("syncs");
}

fn parts(disk: &SimulatedDisk) -> usize {
    disk.files()
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|ext| ext == "part"))
        .count()
}

#[test]
fn large_records_stand_in_order_among_others() {
    let disk = SimulatedDisk::new();
    let (mut log, ..) = open(&disk);
    assert_eq!(small(&mut log, 1), 1);
    // Two at a time, which are appended in another order than they were written in.
    let (first, second) = (prepare(&mut log, 0), prepare(&mut log, 3));
    assert_eq!(log.append_prepared(second).expect("is appended"), 2);
    assert_eq!(log.written(), 2, "and what was appended before it is written");
    assert_eq!(small(&mut log, 4), 3);
    log.write().expect("writes");
    assert_eq!(log.append_prepared(first).expect("is appended"), 4);
    assert_eq!(small(&mut log, 5), 5);
    log.write().expect("writes");
    drop(log);
    let expected =
        vec![(1, vec![1; 4]), (2, large(3)), (3, vec![4; 4]), (4, large(0)), (5, vec![5; 4])];
    let (_, records, recovery) = open(&disk);
    assert!(records == expected, "after the death of the process");
    assert_eq!(recovery.damages, []);
}

#[test]
fn what_was_not_appended_leaves_nothing_behind() {
    let disk = SimulatedDisk::new();
    let (mut log, ..) = open(&disk);
    drop(prepare(&mut log, 1));
    assert_eq!(parts(&disk), 0);
    // A process that dies drops nothing.
    std::mem::forget(prepare(&mut log, 2));
    assert_eq!(parts(&disk), 1);
    let (_, records, recovery) = open(&disk);
    assert_eq!((records, recovery.damages, parts(&disk)), (Vec::new(), Vec::new(), 0));
}

#[test]
fn without_space_nothing_changes() {
    let disk = SimulatedDisk::new();
    let (mut log, ..) = open(&disk);
    disk.limit_capacity(Some(disk.used() + (60 << 10)));
    let before = disk.used();
    let error = log.preparer().write(b"", &large(1)).expect_err("there is no space");
    assert!(quorate_log::is_full(&error), "{error}");
    assert_eq!((disk.used(), parts(&disk)), (before, 0));
    assert_eq!(small(&mut log, 1), 1);
    log.write().expect("a small one fits");
}

#[test]
fn a_loss_of_power_leaves_what_was_synced_and_nothing_torn() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..60 {
        let disk = SimulatedDisk::new();
        let (mut log, ..) = open(&disk);
        small(&mut log, 1);
        let prepared = prepare(&mut log, 2);
        log.append_prepared(prepared).expect("is appended");
        sync(&mut log);
        let prepared = prepare(&mut log, 3);
        log.append_prepared(prepared).expect("is appended");
        small(&mut log, 4);
        log.write().expect("writes");
        let begun = prepare(&mut log, 5);
        disk.lose_power(seed);
        std::mem::forget((begun, log));
        let (_, records, recovery) = open(&disk);
        let all = [(1, vec![1; 4]), (2, large(2)), (3, large(3)), (4, vec![4; 4])];
        assert!(records.len() >= 2 && records == all[..records.len()], "seed {seed}");
        assert_eq!(recovery.damages, [], "seed {seed}");
        assert_eq!(parts(&disk), 0, "seed {seed}");
        if records.len() == 2 {
            lost += 1
        } else {
            kept += 1
        }
        // It goes on, and the numbers of what was lost are not in the way.
        let (mut log, ..) = open(&disk);
        let next = small(&mut log, 6);
        let prepared = prepare(&mut log, 7);
        assert_eq!(log.append_prepared(prepared).expect("is appended"), next + 1);
        drop(log);
        let (_, again, _) = open(&disk);
        assert!(again.len() == records.len() + 2, "seed {seed}");
    }
    assert!(lost > 0 && kept > 0, "{lost} lost, {kept} kept");
}

#[test]
fn a_record_whose_name_cannot_be_changed_fails_the_log() {
    let disk = SimulatedDisk::new();
    let (mut log, ..) = open(&disk);
    let prepared = prepare(&mut log, 1);
    disk.remove(&Path::new(DIRECTORY).join("large-1.part")).expect("is removed");
    log.append_prepared(prepared).expect_err("it is gone");
    assert!(log.has_failed());
}
