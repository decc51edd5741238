//! The logs against a hostile disk: torn and reordered writes, power loss, a full disk, failing
//! syncs, reads and removals, and rot.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proptest::prelude::*;
use quorate_log::{
    HintAbout, HintLog, HintOptions, HintsUnwritten, LogError, LogOptions, Recovery, SegmentLog,
    Sequence,
    disk::{Disk, DiskFile},
};
use quorate_proto::checksum;

const DIRECTORY: &str = "/data/log";
const LOG_ID: u64 = 7;
const SEGMENT_HEADER: usize = 32;
const RECORD_HEADER: usize = 24;
/// Length of what [`payload`] makes.
const PAYLOAD: usize = 24;
const RECORD: usize = RECORD_HEADER + PAYLOAD;
/// Records of that length that a segment holds.
const PER_SEGMENT: Sequence = ((SEGMENT_BYTES - SEGMENT_HEADER) / RECORD) as Sequence;

// ---- recovery -----------------------------------------------------------------------------------

#[test]
fn what_was_written_comes_back_in_order() {
    let disk = FaultDisk::default();
    append(&mut open(&disk).log, 1..=100);
    let opened = open(&disk);
    assert_eq!(opened.records, expected(1..=100));
    assert_eq!(opened.recovery, Recovery { records: 100, last: 100, ..Recovery::default() });
    assert_eq!(open(&disk).records, expected(1..=100), "a start changes nothing");
}

#[test]
fn a_write_torn_at_any_byte_leaves_what_was_synced() {
    for survived in 0..3 * RECORD {
        let disk = FaultDisk::default();
        let mut log = open(&disk).log;
        append(&mut log, 1..=3);
        sync(&mut log, true).expect("syncs");
        append(&mut log, 4..=6);
        let torn = at_record(4) + survived;
        disk.edit(&segment(1), |bytes| bytes[torn..].fill(0));
        drop(log);

        let opened = open(&disk);
        let whole = (3 + survived / RECORD) as u64;
        assert_eq!(opened.records, expected(1..=whole), "{survived} bytes survived");
        assert_eq!(opened.recovery.damages, []);
        // Zeros at the end of a header cannot be told from space that was never written.
        assert!(opened.recovery.torn_bytes <= (survived % RECORD) as u64);
        assert!(survived % RECORD == 0 || opened.recovery.torn_bytes > 0);

        let mut log = opened.log;
        append(&mut log, whole + 1..=whole + 2);
        drop(log);
        assert_eq!(open(&disk).records, expected(1..=whole + 2));
    }
}

#[test]
fn a_flipped_bit_in_synced_records_costs_one_record_and_is_reported() {
    for bit in 8 * at_record(2)..8 * at_record(4) {
        let disk = FaultDisk::default();
        let mut log = open(&disk).log;
        append(&mut log, 1..=5);
        sync(&mut log, true).expect("syncs");
        disk.flip(&segment(1), bit);
        let opened = open(&disk);
        let spoilt = 1 + ((bit / 8 - SEGMENT_HEADER) / RECORD) as u64;
        let left: Vec<_> = expected(1..=5).into_iter().filter(|(at, _)| *at != spoilt).collect();
        assert_eq!(opened.records, left, "bit {bit}");
        let [damage] = &opened.recovery.damages[..] else { panic!("bit {bit} must be reported") };
        assert_eq!((damage.first, damage.next), (spoilt, Some(spoilt + 1)));
    }
}

#[test]
fn a_synced_tail_that_is_gone_is_damage_and_its_numbers_are_not_used_again() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=5);
    sync(&mut log, true).expect("syncs");
    disk.edit(&segment(1), |bytes| bytes[at_record(4)..].fill(0));
    drop(log);
    let mut opened = open(&disk);
    assert_eq!(opened.records, expected(1..=3));
    let [damage] = &opened.recovery.damages[..] else { panic!("must be reported") };
    assert_eq!((damage.first, damage.next), (4, None));
    assert_eq!(opened.log.append(|out| out.push(1)), 6);
}

#[test]
fn a_segment_of_another_log_is_refused_and_left_alone() {
    let disk = FaultDisk::default();
    append(&mut open(&disk).log, 1..=3);
    let before = disk.contents(&segment(1));
    assert!(try_open(&disk, LOG_ID + 1).is_err());
    assert_eq!(disk.contents(&segment(1)), before);
}

#[test]
fn synced_records_after_a_bad_one_are_not_cut_off_as_torn() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    // As `always` does it within a second: synced and acknowledged, the superblock not rewritten.
    for number in 1..=10 {
        append(&mut log, number..=number);
        assert_eq!(sync(&mut log, false).expect("syncs"), number);
    }
    disk.flip(&segment(1), 8 * (at_record(3) + RECORD_HEADER));
    let opened = open(&disk);
    assert_ne!(opened.recovery.damages, [], "lost without a word: {:?}", opened.recovery);
    assert_eq!(opened.recovery.records, 9);
}

#[test]
fn records_after_a_zeroed_header_are_found() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=10);
    sync(&mut log, true).expect("syncs");
    let hole = at_record(4)..at_record(4) + RECORD_HEADER;
    disk.edit(&segment(1), |bytes| bytes[hole].fill(0));
    let opened = open(&disk);
    assert_ne!(opened.recovery.damages, []);
    assert_eq!(opened.recovery.records, 9);
}

#[test]
fn a_spoilt_segment_header_does_not_wipe_the_log() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=10);
    sync(&mut log, false).expect("syncs");
    disk.flip(&segment(1), 8 * 9);
    let recovery = open(&disk).recovery;
    assert_eq!(recovery.records, 10, "{recovery:?}");
}

#[test]
fn a_spoilt_header_costs_no_records_once_numbers_are_large() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=6000);
    let checkpoint = log.begin_checkpoint().expect("begins");
    append(&mut log, 6001..=6010);
    log.finish_checkpoint(checkpoint).expect("finishes");
    sync(&mut log, true).expect("syncs");
    drop(log);
    let segments = disk.segments();
    assert_eq!(segments.len(), 1, "the rest was dropped");
    disk.flip(&segments[0], 8 * 9);
    let opened = open(&disk);
    assert_ne!(opened.recovery.damages, []);
    assert_eq!(opened.recovery.records, 10);
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let disk = FaultDisk::default();
    append(&mut open(&disk).log, 1..=3);
    disk.edit(&segment(1), |bytes| {
        bytes[4..8].copy_from_slice(&3_u32.to_le_bytes());
        let checksum = checksum::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    });
    let before = disk.contents(&segment(1));
    let refused = try_open(&disk, LOG_ID).is_err();
    assert_eq!(disk.contents(&segment(1)), before, "untouched");
    assert!(refused);
}

#[test]
fn a_value_that_looks_like_a_record_is_never_one() {
    // A client may store anything, also a copy of a log.
    let other = FaultDisk::default();
    let mut log = open_salted(&other, 8).log;
    append(&mut log, 1..=2);
    log.append(|out| out.extend_from_slice(b"forged"));
    log.write().expect("writes");
    let forged = other.contents(&segment(1))[at_record(3)..][..RECORD_HEADER + 6].to_vec();

    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=1);
    log.append(|out| out.extend_from_slice(&[&payload(2)[..], &forged].concat()));
    log.write().expect("writes");
    append(&mut log, 3..=4);
    sync(&mut log, true).expect("syncs");
    disk.flip(&segment(1), 8 * (at_record(2) + RECORD_HEADER));
    let opened = open(&disk);
    assert!(opened.records.iter().all(|(_, payload)| payload != b"forged"));
}

#[test]
fn a_damaged_value_full_of_lengths_is_skipped_in_time() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=1);
    log.append(|out| {
        (0..1 << 20).for_each(|_| out.extend_from_slice(&(1_u32 << 20).to_le_bytes()))
    });
    log.write().expect("writes");
    sync(&mut log, true).expect("syncs");
    // The large record has a segment of its own.
    append(&mut log, 3..=3);
    sync(&mut log, true).expect("syncs");
    disk.flip(&segment(2), 8 * (SEGMENT_HEADER + RECORD_HEADER));
    let opened = open(&disk);
    assert_eq!(opened.records, [&expected(1..=1)[..], &expected(3..=3)].concat());
}

#[test]
fn a_missing_first_segment_is_damage() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=200);
    sync(&mut log, true).expect("syncs");
    disk.remove(&segment(1)).expect("removes");
    assert_ne!(open(&disk).recovery.damages, []);
}

#[test]
fn a_torn_write_whose_first_sector_was_lost_is_reported() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    // The second record begins with the second sector.
    log.append(|out| out.resize(out.len() + SECTOR - SEGMENT_HEADER - RECORD_HEADER, 1));
    log.write().expect("writes");
    sync(&mut log, true).expect("syncs");
    log.append(|out| out.resize(out.len() + 2 * SECTOR, 2));
    log.write().expect("writes");
    disk.edit(&segment(1), |bytes| bytes[SECTOR..2 * SECTOR].fill(0));
    assert!(open(&disk).recovery.torn_bytes > 0);
}

#[test]
fn an_empty_record_does_not_cost_the_ones_after_it() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=1);
    log.append(|_| {});
    log.write().expect("writes");
    append(&mut log, 3..=5);
    assert_eq!(open(&disk).recovery.last, 5);
}

// ---- the superblock -----------------------------------------------------------------------------

#[test]
fn a_superblock_of_another_log_is_refused() {
    let disk = FaultDisk::default();
    append(&mut open(&disk).log, 1..=3);
    let other = FaultDisk::default();
    let mut log = try_open(&other, LOG_ID + 1).expect("opens").log;
    append(&mut log, 1..=50);
    sync(&mut log, true).expect("syncs");
    let foreign = other.contents(&superblock());
    disk.edit(&superblock(), |bytes| *bytes = foreign);
    assert!(try_open(&disk, LOG_ID).is_err());
}

#[test]
fn an_unreadable_superblock_is_reported() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=5);
    sync(&mut log, true).expect("syncs");
    append(&mut log, 6..=10);
    sync(&mut log, true).expect("syncs");
    disk.edit(&superblock(), |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55));
    disk.edit(&segment(1), |bytes| bytes[at_record(4)..].fill(0));
    let opened = try_open(&disk, LOG_ID);
    assert!(opened.is_err() || opened.is_ok_and(|opened| !opened.recovery.damages.is_empty()));
}

// ---- syncs --------------------------------------------------------------------------------------

#[test]
fn a_failed_sync_stops_the_log() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=1);
    sync(&mut log, true).expect("syncs");
    append(&mut log, 2..=2);
    disk.faults().failing_syncs = true;
    assert!(sync(&mut log, true).is_err());
    disk.faults().failing_syncs = false;
    assert!(log.has_failed());
    assert!(matches!(log.reserve(1), Err(LogError::Failed(_))));
    log.append(|out| out.push(1));
    assert!(matches!(log.write(), Err(LogError::Failed(_))));
    assert_eq!(log.synced(), 1);
}

#[test]
fn a_sync_covers_only_what_was_written_before_it() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=5);
    let job = log.sync_job(true).expect("something to sync");
    let result = job.run();
    append(&mut log, 6..=10);
    log.sync_ended(&result);
    assert_eq!(log.synced(), 5);
    disk.crash(|| false);
    let opened = open(&disk);
    assert_eq!(opened.records, expected(1..=5));
    assert_eq!(opened.recovery.damages, []);
}

#[test]
fn a_sync_after_a_failed_one_proves_nothing() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=5);
    sync(&mut log, true).expect("syncs");
    let checkpoint = log.begin_checkpoint().expect("begins");
    append(&mut log, 6..=10);
    log.finish_checkpoint(checkpoint).expect("finishes");
    disk.faults().failing_syncs = true;
    assert!(sync(&mut log, true).is_err());
    disk.faults().failing_syncs = false;
    // What an orderly shutdown does.
    let _ = sync(&mut log, true);
    assert_eq!(log.synced(), 5, "durable as far as is known");
    disk.crash(|| false);
    assert_eq!(open(&disk).records, expected(1..=5), "the old segments are still needed");
}

/// As when clients have taken all descriptors: nothing was asked of the disk, so nothing is lost.
#[test]
fn a_log_without_descriptors_heals_when_there_are_some_again() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=5);
    disk.faults().no_descriptors = true;
    for _ in 0..3 {
        assert!(sync(&mut log, true).is_err());
        assert_eq!((log.synced(), log.has_failed()), (0, false));
    }
    append(&mut log, 6..=PER_SEGMENT);
    assert!(
        matches!(log.reserve(SEGMENT_BYTES), Err(LogError::Full(_))),
        "a new segment is refused, and may be tried again"
    );
    disk.faults().no_descriptors = false;
    sync(&mut log, true).expect("syncs");
    assert_eq!(log.synced(), PER_SEGMENT);
    append(&mut log, PER_SEGMENT + 1..=2 * PER_SEGMENT);
    sync(&mut log, true).expect("syncs");
    disk.crash(|| false);
    assert_eq!(open(&disk).records, expected(1..=2 * PER_SEGMENT));
}

#[test]
fn sync_jobs_may_end_in_any_order() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    // The first segment is full, so that the jobs have different files.
    append(&mut log, 1..=PER_SEGMENT);
    let first = log.sync_job(false).expect("something to sync");
    append(&mut log, PER_SEGMENT + 1..=PER_SEGMENT + 10);
    if let Some(second) = log.sync_job(false) {
        let result = second.run();
        log.sync_ended(&result);
    }
    let synced = log.synced();
    disk.crash(|| false);
    drop((first, log));
    assert!(open(&disk).recovery.records >= synced, "{synced} records were called durable");
}

#[test]
fn a_job_proves_nothing_once_another_one_failed() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=5);
    let jobs = [log.sync_job(false), log.sync_job(true)].map(|job| job.expect("to sync"));
    let [first, second] = jobs;
    disk.faults().failing_syncs = true;
    assert!(first.run().is_err());
    disk.faults().failing_syncs = false;
    let result = second.run();
    assert!(result.is_err());
    log.sync_ended(&result);
    assert_eq!(log.synced(), 0);
}

#[test]
fn jobs_of_before_a_checkpoint_may_end_after_its_segments_are_gone() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=150);
    let before = log.sync_job(true).expect("something to sync");
    let checkpoint = log.begin_checkpoint().expect("begins");
    append(&mut log, 151..=160);
    log.finish_checkpoint(checkpoint).expect("finishes");
    sync(&mut log, false).expect("syncs");
    assert!(!disk.exists(&segment(1)), "the job says where the log begins, asked or not");
    log.sync_ended(&before.run());
    assert_eq!(log.synced(), 160);
    disk.crash(|| false);
    let opened = open(&disk);
    assert_eq!(opened.records, expected(151..=160));
    assert_eq!(opened.recovery.damages, []);
}

#[test]
fn a_new_log_directory_is_durable_before_its_records_are() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=1);
    sync(&mut log, true).expect("syncs");
    assert!(disk.lock().synced_directories.contains(Path::new("/data")));
}

#[test]
fn loss_of_unsynced_records_is_not_damage() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=10);
    sync(&mut log, true).expect("syncs");
    append(&mut log, 11..=150);
    // The system wrote the newer segment back by itself, the older one not yet.
    disk.persist(&segment(2));
    disk.crash(|| false);
    drop(log);
    let opened = open(&disk);
    assert!(opened.records.starts_with(&expected(1..=10)));
    assert_eq!(opened.recovery.damages, []);
}

#[test]
fn what_recovery_cut_off_stays_away() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=1);
    sync(&mut log, true).expect("syncs");
    append(&mut log, 2..=6);
    let lost = at_record(2) + RECORD_HEADER..at_record(3);
    disk.edit(&segment(1), |bytes| bytes[lost].fill(0));
    drop(log);
    assert_eq!(open(&disk).records, expected(1..=1));
    // The name of the segment that this start made survives, its cut does not.
    let mut survives = [true].into_iter();
    disk.crash(|| survives.next().unwrap_or(false));
    let opened = open(&disk);
    assert_eq!(opened.records, expected(1..=1));
    assert_eq!(opened.recovery.damages, []);
}

#[test]
fn numbers_without_records_are_not_damage() {
    let disk = FaultDisk::default();
    append(&mut open(&disk).log, 1..=1);
    open(&disk);
    // Only the segment that the second start made was written back: it begins with number 2.
    disk.persist(&segment(2));
    disk.crash(|| false);
    let mut log = open(&disk).log;
    sync(&mut log, true).expect("syncs");
    disk.crash(|| false);
    assert_eq!(open(&disk).recovery.damages, []);
}

// ---- a full disk --------------------------------------------------------------------------------

#[test]
fn a_reservation_on_a_full_disk_fails_and_works_again_with_space() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=5);
    disk.faults().capacity = Some(disk.used());
    assert!(matches!(log.reserve(SEGMENT_BYTES), Err(LogError::Full(_))));
    assert!(!log.has_failed());
    // What fits in the space already taken goes on.
    log.reserve(PAYLOAD).expect("room");
    append(&mut log, 6..=6);
    disk.faults().capacity = None;
    log.reserve(SEGMENT_BYTES).expect("room");
    append(&mut log, 7..=7);
    let opened = open(&disk);
    assert_eq!(opened.records, expected(1..=7));
    assert_eq!(opened.recovery.damages, []);
}

#[test]
fn where_space_is_scarce_segments_are_small_and_grow_again() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=PER_SEGMENT);
    // Less than a segment is left, of which as much is used as can be by steps.
    let left = SEGMENT_BYTES / 2;
    disk.faults().capacity = Some(disk.used() + left as u64);
    let mut last = PER_SEGMENT;
    while log.reserve(PAYLOAD).is_ok() {
        append(&mut log, last + 1..=last + 1);
        last += 1;
    }
    let used = (last - PER_SEGMENT) as usize * RECORD;
    assert!(used > left / 2, "{used} of {left} bytes were used");
    assert!(!log.has_failed());
    disk.faults().capacity = None;
    for _ in 0..4 {
        log.reserve(PAYLOAD).expect("room");
        append(&mut log, last + 1..=last + PER_SEGMENT);
        last += PER_SEGMENT;
    }
    let before = disk.used();
    append(&mut log, last + 1..=last + 2 * PER_SEGMENT);
    assert!(disk.used() - before >= SEGMENT_BYTES as u64, "whole ones again");
    let opened = open(&disk);
    assert_eq!(opened.records, expected(1..=last + 2 * PER_SEGMENT));
    assert_eq!(opened.recovery.damages, []);
}

#[test]
fn what_was_reserved_can_be_written_on_a_full_disk() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    let bytes = SEGMENT_BYTES + 1000;
    log.reserve(bytes).expect("room");
    disk.faults().capacity = Some(disk.used());
    for _ in 0..bytes / 16 {
        log.append(|out| out.extend_from_slice(&[1; 16]));
    }
    log.write().expect("was reserved");
}

#[test]
fn a_full_disk_while_rolling_is_not_the_end() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=1);
    log.reserve(100).expect("room");
    disk.faults().capacity = Some(disk.used());
    // An effect that is larger than its command: RENAME, COPY, SUNIONSTORE, APPEND.
    log.append(|out| out.resize(out.len() + SEGMENT_BYTES, 1));
    assert!(log.write().is_err());
    disk.faults().capacity = None;
    log.write().expect("there is space again");
    assert_eq!(open(&disk).recovery.records, 2);
}

#[test]
fn a_full_disk_does_not_keep_a_log_from_being_read() {
    let disk = FaultDisk::default();
    append(&mut open(&disk).log, 1..=10);
    disk.faults().capacity = Some(disk.used());
    let opened = try_open(&disk, LOG_ID).expect("opens");
    assert_eq!(opened.records, expected(1..=10));
}

#[test]
fn a_log_opened_on_a_full_disk_goes_on_when_there_is_space() {
    for records in [0, 10] {
        let disk = FaultDisk::default();
        if records > 0 {
            append(&mut open(&disk).log, 1..=records);
        }
        // Not even what is cut off the last segment is left.
        disk.faults().capacity = Some(0);
        let mut log = open(&disk).log;
        assert!(matches!(log.reserve(PAYLOAD), Err(LogError::Full(_))));
        assert!(matches!(log.begin_checkpoint(), Err(LogError::Full(_))));
        // There is no room for a superblock, without which records can be durable all the same.
        assert_eq!(sync(&mut log, true).expect("syncs"), records);
        disk.faults().capacity = None;
        log.reserve(PAYLOAD).expect("room");
        append(&mut log, records + 1..=records + 5);
        sync(&mut log, true).expect("syncs");
        disk.crash(|| false);
        let opened = open(&disk);
        assert_eq!(opened.records, expected(1..=records + 5));
        assert_eq!(opened.recovery.damages, []);
    }
}

#[test]
fn hints_without_space_are_given_up_and_the_queue_goes_on() {
    let disk = FaultDisk::default();
    fill(&mut open_hints(&disk), 1..=10);
    disk.faults().capacity = Some(0);
    let mut hints = open_hints(&disk);
    hints.room_for(1).expect("the queue is short");
    hints.append(ABOUT, &[1]);
    assert!(matches!(hints.write(), Err(HintsUnwritten { error: LogError::Full(_), .. })));
    hints.write().expect("nothing is left to write");
    assert_eq!(hints.read(usize::MAX).expect("reads"), expected(1..=10));
    disk.faults().capacity = None;
    fill(&mut hints, 11..=12);
    assert_eq!(hints.read(usize::MAX).expect("reads"), expected(11..=12));
    assert!(hints.take_lost().is_empty());
}

#[test]
fn restarts_after_a_kill_do_not_eat_the_disk() {
    let disk = FaultDisk::default();
    for number in 1..=8 {
        append(&mut open(&disk).log, number..=number);
    }
    let log = open(&disk).log;
    let wanted = 2 * SEGMENT_BYTES as u64 + log.bytes();
    assert!(disk.used() <= wanted, "{} bytes taken for {}", disk.used(), log.bytes());
}

// ---- checkpoints --------------------------------------------------------------------------------

#[test]
fn a_checkpoint_drops_the_segments_before_it_only_when_durable() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=150);
    sync(&mut log, true).expect("syncs");
    let before = disk.segments();
    let checkpoint = log.begin_checkpoint().expect("begins");
    // Several segments long.
    append(&mut log, 151..=400);
    log.finish_checkpoint(checkpoint).expect("finishes");
    assert!(before.iter().all(|path| disk.exists(path)));
    sync(&mut log, true).expect("syncs");
    assert!(before.iter().all(|path| !disk.exists(path)));
    disk.crash(|| true);
    let opened = open(&disk);
    assert_eq!(opened.records, expected(151..=400));
    assert_eq!(opened.recovery.damages, []);
}

#[test]
fn an_abandoned_checkpoint_drops_nothing() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=10);
    log.begin_checkpoint().expect("begins");
    append(&mut log, 11..=12);
    sync(&mut log, true).expect("syncs");
    disk.crash(|| false);
    assert_eq!(open(&disk).records, expected(1..=12));
}

#[test]
fn a_segment_that_cannot_be_removed_is_harmless() {
    let disk = FaultDisk::default();
    let mut log = open(&disk).log;
    append(&mut log, 1..=250);
    let checkpoint = log.begin_checkpoint().expect("begins");
    append(&mut log, 251..=260);
    log.finish_checkpoint(checkpoint).expect("finishes");
    disk.faults().unremovable = Some(segment(1));
    sync(&mut log, true).expect("syncs");
    drop(log);
    let opened = open(&disk);
    assert_eq!(opened.recovery.damages, []);
    // Either every record from the first one on, or none from before the checkpoint.
    let whole = [expected(1..=260), expected(251..=260)];
    assert!(whole.contains(&opened.records), "{} records", opened.records.len());
}

// ---- hints --------------------------------------------------------------------------------------

#[test]
fn hints_outlive_a_kill_and_come_in_order() {
    let disk = FaultDisk::default();
    fill(&mut open_hints(&disk), 1..=10);
    let mut hints = open_hints(&disk);
    assert_eq!(hints.pending(), 10);
    assert_eq!(hints.read(usize::MAX).expect("reads"), expected(1..=10));
    hints.acknowledge(10).expect("acknowledges");
    assert_eq!(hints.pending(), 0);
}

#[test]
fn hints_of_several_segments_all_come_out() {
    let disk = FaultDisk::default();
    for first in [1, 11, 21] {
        fill(&mut open_hints(&disk), first..=first + 9);
    }
    let delivered = open_hints(&disk).read(usize::MAX).expect("reads");
    assert_eq!(delivered, expected(1..=30));
}

#[test]
fn a_backlog_of_several_segments_drains() {
    let mut hints = open_hints(&FaultDisk::default());
    for _ in 0..6_000 {
        hints.append(ABOUT, &[1; 1_000]);
        hints.write().expect("writes");
    }
    let mut delivered = 0;
    loop {
        let batch = hints.read(1 << 20).expect("reads");
        let Some((last, _)) = batch.last() else { break };
        delivered += batch.len();
        hints.acknowledge(*last).expect("acknowledges");
    }
    assert_eq!((delivered, hints.pending()), (6_000, 0));
}

#[test]
fn new_hints_come_out_after_a_restart_with_old_ones() {
    let disk = FaultDisk::default();
    fill(&mut open_hints(&disk), 1..=10);
    let mut hints = open_hints(&disk);
    assert_eq!(hints.read(usize::MAX).expect("reads"), expected(1..=10));
    hints.acknowledge(10).expect("acknowledges");
    fill(&mut hints, 11..=20);
    assert_eq!(hints.read(usize::MAX).expect("reads"), expected(11..=20));
}

#[test]
fn a_failed_read_of_hints_skips_none() {
    let disk = FaultDisk::default();
    let mut hints = open_hints(&disk);
    for number in 0..4 {
        hints.append(ABOUT, &vec![number; 600_000]);
    }
    hints.write().expect("writes");
    // The window reads a megabyte at a time: the first read succeeds, the second one fails.
    disk.faults().failing_read = Some(1);
    assert!(hints.read(usize::MAX).is_err());
    let numbers: Vec<Sequence> =
        hints.read(usize::MAX).expect("reads").into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[test]
fn a_bad_hint_costs_one_hint_after_a_restart() {
    let disk = FaultDisk::default();
    let mut hints = open_hints(&disk);
    fill(&mut hints, 1..=10);
    hints.sync_job().expect("something to sync").run().expect("syncs");
    drop(hints);
    disk.flip(&segment(1), 8 * (at_record(3) + RECORD_HEADER));
    let left: Vec<_> = expected(1..=10).into_iter().filter(|(number, _)| *number != 3).collect();
    assert_eq!(open_hints(&disk).read(usize::MAX).expect("reads"), left);
}

#[test]
fn a_bad_hint_does_not_block_the_queue() {
    let disk = FaultDisk::default();
    let mut hints = open_hints(&disk);
    fill(&mut hints, 1..=10);
    disk.flip(&segment(1), 8 * (at_record(3) + RECORD_HEADER));
    for _ in 0..3 {
        // An error would do as well, for then the shell can mark the target.
        let Ok(batch) = hints.read(usize::MAX) else {
            return;
        };
        if let Some((last, _)) = batch.last() {
            hints.acknowledge(*last).expect("acknowledges");
        }
    }
    assert_eq!(hints.pending(), 0);
}

#[test]
fn a_bad_hint_in_an_older_segment_costs_one_hint() {
    let disk = FaultDisk::default();
    fill(&mut open_hints(&disk), 1..=10);
    let mut hints = open_hints(&disk);
    fill(&mut hints, 11..=20);
    disk.flip(&segment(1), 8 * (at_record(3) + RECORD_HEADER));
    // An error would do as well, for then the shell can mark the target.
    let Ok(batch) = hints.read(usize::MAX) else {
        return;
    };
    assert_eq!(batch.len(), 19);
}

// ---- any sequence of events ---------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    /// A new, larger value of the key.
    Append(u8),
    Write,
    Sync {
        record: bool,
    },
    /// A checkpoint; without its end when abandoned.
    Checkpoint {
        abandoned: bool,
    },
    /// The process dies.
    Kill,
    /// The power fails: of what is not durable, any part survives.
    LosePower {
        seed: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..6_u8).prop_map(Step::Append),
        8 => Just(Step::Write),
        4 => any::<bool>().prop_map(|record| Step::Sync { record }),
        2 => any::<bool>().prop_map(|abandoned| Step::Checkpoint { abandoned }),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::LosePower { seed }),
    ]
}

type Values = BTreeMap<u8, u64>;

/// A log whose records are `(key, value)`, merged by maximum: the smallest convergent state.
struct Machine {
    disk: FaultDisk,
    log: SegmentLog,
    /// In memory, handed to the system, and durable.
    newest: Values,
    written: Values,
    durable: Values,
    counter: u64,
    /// Whether recovery has reported damage.
    damaged: bool,
}

impl Machine {
    fn start() -> Self {
        let disk = FaultDisk::default();
        let log = open(&disk).log;
        let (newest, written, durable) = Default::default();
        Self { disk, log, newest, written, durable, counter: 0, damaged: false }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append(key) => {
                self.counter += 1;
                self.newest.insert(key, self.counter);
                self.append(key, self.counter);
            }
            Step::Write => self.write(),
            Step::Sync { record } => {
                self.write();
                let synced = sync(&mut self.log, record).expect("syncs");
                assert_eq!(synced, self.log.written());
                self.durable = self.written.clone();
            }
            Step::Checkpoint { abandoned } => {
                let checkpoint = self.log.begin_checkpoint().expect("begins");
                for (key, value) in self.newest.clone() {
                    self.append(key, value);
                }
                self.write();
                if !abandoned {
                    self.log.finish_checkpoint(checkpoint).expect("finishes");
                }
            }
            Step::Kill => self.restart(self.written.clone()),
            Step::LosePower { mut seed } => {
                self.disk.crash(|| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    seed >> 63 == 1
                });
                self.restart(self.durable.clone());
            }
        }
    }

    fn append(&mut self, key: u8, value: u64) {
        self.log.reserve(100).expect("room");
        self.log.append(|out| {
            out.push(key);
            out.extend_from_slice(&value.to_le_bytes());
            // Long enough to lie in several sectors and to fill segments soon.
            out.resize(out.len() + 90, key);
        });
    }

    fn write(&mut self) {
        self.log.write().expect("writes");
        self.written = self.newest.clone();
    }

    /// Recovers, and checks that at least `promised` is back and nothing that never was.
    fn restart(&mut self, promised: Values) {
        let opened = open(&self.disk);
        let mut recovered = Values::new();
        for (_, record) in opened.records {
            assert!(record[9..].iter().all(|byte| *byte == record[0]), "mixed up");
            let value = u64::from_le_bytes(*record[1..].first_chunk().expect("eight bytes"));
            let known = recovered.entry(record[0]).or_default();
            *known = value.max(*known);
        }
        for (key, value) in promised {
            let found = recovered.get(&key).copied().unwrap_or(0);
            assert!(found >= value, "key {key}: {value} was promised, {found} is back");
        }
        // What one loss of power took may come back after the next one: it is merged.
        assert!(recovered.values().all(|value| *value <= self.counter), "never written");
        self.damaged |= !opened.recovery.damages.is_empty();
        self.log = opened.log;
        (self.newest, self.written) = (recovered.clone(), recovered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_over_any_losses(steps in prop::collection::vec(step(), 1..120)) {
        let mut machine = Machine::start();
        for step in &steps {
            machine.run(step);
        }
        machine.run(&Step::Kill);
        machine.run(&Step::LosePower { seed: 1 });
    }

    #[test]
    fn losses_of_power_are_never_damage(steps in prop::collection::vec(step(), 1..120)) {
        let mut machine = Machine::start();
        for step in &steps {
            machine.run(step);
            prop_assert!(!machine.damaged);
        }
    }
}

// ---- any rot ------------------------------------------------------------------------------------

/// What becomes of some bytes of a file.
#[derive(Clone, Debug)]
enum Rot {
    Flip,
    Zero(usize),
    Garbage(usize, u8),
    Copied { from: usize, length: usize },
    Cut,
}

fn rot() -> impl Strategy<Value = (usize, usize, Rot)> {
    let kind = prop_oneof![
        3 => Just(Rot::Flip),
        2 => (1..600_usize).prop_map(Rot::Zero),
        1 => (1..600_usize, any::<u8>()).prop_map(|(length, byte)| Rot::Garbage(length, byte)),
        1 => (any::<usize>(), 1..600_usize)
            .prop_map(|(from, length)| Rot::Copied { from, length }),
        1 => Just(Rot::Cut),
    ];
    (any::<usize>(), any::<usize>(), kind)
}

fn spoil(bytes: &mut Vec<u8>, at: usize, rot: &Rot) {
    if bytes.is_empty() {
        return;
    }
    let at = at % bytes.len();
    let range = |length: usize| at..(at + length).min(bytes.len());
    match *rot {
        Rot::Flip => bytes[at] ^= 1 << (at % 8),
        Rot::Zero(length) => {
            let range = range(length);
            bytes[range].fill(0);
        }
        Rot::Garbage(length, byte) => {
            let range = range(length);
            bytes[range].fill(byte);
        }
        Rot::Copied { from, length } => {
            let from = from % bytes.len();
            let length = length.min(bytes.len() - from).min(bytes.len() - at);
            bytes.copy_within(from..from + length, at);
        }
        Rot::Cut => bytes.truncate(at),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rot_is_never_read_as_a_record_nor_passed_over_in_silence(
        turns in prop::collection::vec((1..40_u64, any::<bool>(), any::<bool>()), 1..20),
        rots in prop::collection::vec(rot(), 1..5),
        superblock_too in any::<bool>(),
    ) {
        let disk = FaultDisk::default();
        let mut log = open(&disk).log;
        let mut recorded = 0;
        for (records, synced, record) in turns {
            let written = log.written();
            append(&mut log, written + 1..=written + records);
            if synced {
                sync(&mut log, record).expect("syncs");
                recorded = if record || recorded == 0 { log.written() } else { recorded };
            }
        }
        let written = log.written();
        drop(log);
        let mut paths = disk.segments();
        paths.extend(superblock_too.then(superblock));
        for (file, at, rot) in rots {
            disk.edit(&paths[file % paths.len()], |bytes| spoil(bytes, at, &rot));
        }

        // To refuse is fine; it is for formats that are not known.
        let Ok(opened) = try_open(&disk, LOG_ID) else { return Ok(()) };
        let mut last = 0;
        for (sequence, record) in &opened.records {
            prop_assert!(last < *sequence && *sequence <= written);
            prop_assert_eq!(&record[..], &payload(*sequence)[..]);
            last = *sequence;
        }
        if !superblock_too {
            let back = opened.records.iter().filter(|(sequence, _)| *sequence <= recorded).count();
            let is_reported = !opened.recovery.damages.is_empty();
            prop_assert!(back as u64 == recorded || is_reported, "{:?}", opened.recovery);
            let mut log = opened.log;
            prop_assert!(log.append(|_| {}) > recorded, "used again");
        }
        let again = try_open(&disk, LOG_ID).expect("opens again");
        let same = again.records == opened.records;
        prop_assert!(same, "first {:?}, then {:?}", opened.recovery, again.recovery);
    }
}

proptest! {
    // Segments of hints are large.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn hints_come_out_whatever_has_rotted(
        turns in prop::collection::vec((1..40_u64, any::<bool>()), 1..10),
        rots in prop::collection::vec(rot(), 0..5),
        restarted in any::<bool>(),
    ) {
        let disk = FaultDisk::default();
        let mut hints = open_hints(&disk);
        let mut written = 0;
        for (count, synced) in turns {
            fill(&mut hints, written + 1..=written + count);
            written += count;
            if let Some(job) = hints.sync_job().filter(|_| synced) {
                let result = job.run();
                hints.sync_ended(&result);
            }
        }
        for (_, at, rot) in rots {
            disk.edit(&segment(1), |bytes| spoil(bytes, at % 16_384, &rot));
        }
        if restarted {
            let directory = Path::new(DIRECTORY);
            let disk: Arc<dyn Disk> = Arc::new(disk.clone());
            match HintLog::open(disk, directory, hint_options(), |_| Some(ABOUT)) {
                Ok(opened) => hints = opened,
                Err(_) => return Ok(()),
            }
        }
        let mut delivered = 0;
        for _ in 0..1_000 {
            if hints.pending() == 0 {
                break;
            }
            let batch = hints.read(500).expect("reads");
            for (sequence, record) in &batch {
                prop_assert_eq!(&record[..], &payload(*sequence)[..]);
            }
            delivered += batch.len() as u64;
            if let Some((last, _)) = batch.last() {
                hints.acknowledge(*last).expect("acknowledges");
            }
        }
        prop_assert_eq!(hints.pending(), 0);
        prop_assert!(delivered <= written);
        // What a crash took before it was synced leaves no trace.
        prop_assert!(delivered == written || restarted || !hints.take_lost().is_empty());
    }
}

// ---- helpers ------------------------------------------------------------------------------------

/// Small, so that a few records fill one.
const SEGMENT_BYTES: usize = 4096;

#[derive(Debug)]
struct Opened {
    log: SegmentLog,
    recovery: Recovery,
    records: Vec<(Sequence, Vec<u8>)>,
}

fn try_open(disk: &FaultDisk, log_id: u64) -> io::Result<Opened> {
    open_with(disk, log_id, 7)
}

fn open_salted(disk: &FaultDisk, salt: u32) -> Opened {
    open_with(disk, LOG_ID, salt).expect("opens")
}

fn open_with(disk: &FaultDisk, log_id: u64, new_salt: u32) -> io::Result<Opened> {
    let segment_bytes = SEGMENT_BYTES as u64;
    let options = LogOptions { log_id, segment_bytes, new_salt, reads_back: false };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut records = Vec::new();
    let (log, recovery) =
        SegmentLog::open(disk, Path::new(DIRECTORY), options, |sequence, payload| {
            records.push((sequence, payload.to_vec()));
        })?;
    Ok(Opened { log, recovery, records })
}

fn open(disk: &FaultDisk) -> Opened {
    try_open(disk, LOG_ID).expect("opens")
}

fn open_hints(disk: &FaultDisk) -> HintLog {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    HintLog::open(disk, Path::new(DIRECTORY), hint_options(), |_| Some(ABOUT)).expect("opens")
}

fn payload(number: Sequence) -> [u8; PAYLOAD] {
    let mut bytes = [0xa5; PAYLOAD];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn expected(numbers: std::ops::RangeInclusive<Sequence>) -> Vec<(Sequence, Vec<u8>)> {
    numbers.map(|number| (number, payload(number).to_vec())).collect()
}

fn append(log: &mut SegmentLog, numbers: std::ops::RangeInclusive<Sequence>) {
    for number in numbers {
        assert_eq!(log.append(|out| out.extend_from_slice(&payload(number))), number);
        log.write().expect("writes");
    }
}

fn fill(hints: &mut HintLog, numbers: std::ops::RangeInclusive<Sequence>) {
    for number in numbers {
        hints.room_for(PAYLOAD).expect("room");
        hints.append(ABOUT, &payload(number));
    }
    hints.write().expect("writes");
}

fn sync(log: &mut SegmentLog, record: bool) -> io::Result<Sequence> {
    let Some(job) = log.sync_job(record) else {
        return Ok(log.synced());
    };
    let result = job.run();
    log.sync_ended(&result);
    result
}

fn segment(number: u64) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{number:016x}.log"))
}

fn superblock() -> PathBuf {
    Path::new(DIRECTORY).join("superblock")
}

/// Offset of a record in the first segment, when every one before it has [`PAYLOAD`] bytes.
fn at_record(number: usize) -> usize {
    SEGMENT_HEADER + (number - 1) * RECORD
}

// ---- the disk -----------------------------------------------------------------------------------

/// What a disk writes as a whole.
const SECTOR: usize = 64;

/// A disk in memory that forgets as real ones may: sectors in any order, names of files apart from
/// their contents, and for ever what a failed sync was about. Clones share it.
#[derive(Clone, Debug, Default)]
struct FaultDisk(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    synced_directories: BTreeSet<PathBuf>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors in which `now` may be newer.
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Bytes that all files may take together.
    capacity: Option<u64>,
    failing_syncs: bool,
    /// No file or directory can be opened.
    no_descriptors: bool,
    /// Reads that succeed before the one that fails.
    failing_read: Option<usize>,
    unremovable: Option<PathBuf>,
}

impl Faults {
    fn check_descriptors(&self) -> io::Result<()> {
        const EMFILE: i32 = 24;
        if self.no_descriptors { Err(io::Error::from_raw_os_error(EMFILE)) } else { Ok(()) }
    }
}

impl FaultDisk {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> impl std::ops::DerefMut<Target = Faults> {
        struct Guard<'a>(MutexGuard<'a, World>);
        impl std::ops::Deref for Guard<'_> {
            type Target = Faults;
            fn deref(&self) -> &Faults {
                &self.0.faults
            }
        }
        impl std::ops::DerefMut for Guard<'_> {
            fn deref_mut(&mut self) -> &mut Faults {
                &mut self.0.faults
            }
        }
        Guard(self.lock())
    }

    /// The power fails. `survives` decides for each change that is not durable.
    fn crash(&self, mut survives: impl FnMut() -> bool) {
        let mut world = self.lock();
        let World { inodes, names, durable_names, .. } = &mut *world;
        let paths: BTreeSet<PathBuf> = names.keys().chain(durable_names.keys()).cloned().collect();
        for path in paths {
            let (now, durable) = (names.get(&path).copied(), durable_names.get(&path).copied());
            if now != durable && survives() {
                match now {
                    Some(inode) => durable_names.insert(path, inode),
                    None => durable_names.remove(&path),
                };
            }
        }
        *names = durable_names.clone();
        for inode in inodes {
            if inode.now.len() != inode.durable.len() && survives() {
                inode.durable.resize(inode.now.len(), 0);
            }
            for sector in std::mem::take(&mut inode.dirty) {
                let end = ((sector + 1) * SECTOR).min(inode.now.len()).min(inode.durable.len());
                if sector * SECTOR < end && survives() {
                    let range = sector * SECTOR..end;
                    inode.durable[range.clone()].copy_from_slice(&inode.now[range]);
                }
            }
            inode.now.clone_from(&inode.durable);
        }
    }

    /// The system writes a file back on its own account.
    fn persist(&self, path: &Path) {
        let mut world = self.lock();
        let number = world.names[path];
        world.durable_names.insert(path.to_owned(), number);
        world.inodes[number].make_durable();
    }

    /// Rot, or a hand from outside.
    fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.lock();
        let number = world.names[path];
        change(&mut world.inodes[number].now);
        world.inodes[number].make_durable();
    }

    fn flip(&self, path: &Path, bit: usize) {
        self.edit(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }

    fn contents(&self, path: &Path) -> Vec<u8> {
        let world = self.lock();
        world.names.get(path).map_or_else(Vec::new, |number| world.inodes[*number].now.clone())
    }

    fn exists(&self, path: &Path) -> bool {
        self.lock().names.contains_key(path)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let world = self.lock();
        let is_segment = |path: &&PathBuf| path.extension().is_some_and(|end| end == "log");
        world.names.keys().filter(is_segment).cloned().collect()
    }

    fn used(&self) -> u64 {
        self.lock().used()
    }
}

impl World {
    fn used(&self) -> u64 {
        self.names.values().map(|number| self.inodes[*number].now.len() as u64).sum()
    }
}

impl Inode {
    fn make_durable(&mut self) {
        self.durable.clone_from(&self.now);
        self.dirty.clear();
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.lock();
        world.faults.check_descriptors()?;
        let fresh = world.inodes.len();
        let number = *world.names.entry(path.to_owned()).or_insert(fresh);
        if number == fresh {
            world.inodes.push(Inode::default());
        }
        Ok(Arc::new(FaultFile { disk: self.clone(), number }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let world = self.lock();
        let inside = world.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.lock();
        if world.faults.unremovable.as_deref() == Some(path) {
            return Err(io::Error::other("cannot be removed"));
        }
        world.names.remove(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.lock();
        let moved = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), moved);
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut world = self.lock();
        world.faults.check_descriptors()?;
        world.synced_directories.insert(directory.to_owned());
        let World { names, durable_names, .. } = &mut *world;
        durable_names.retain(|path, _| path.parent() != Some(directory));
        let inside = names.iter().filter(|(path, _)| path.parent() == Some(directory));
        durable_names.extend(inside.map(|(path, number)| (path.clone(), *number)));
        Ok(())
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.open(path)?;
        self.edit(path, |bytes| *bytes = contents.to_vec());
        self.persist(path);
        Ok(())
    }

    fn spare(&self, _path: &Path, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.exists(path).then(|| self.contents(path)))
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.lock().names.retain(|path, _| !path.starts_with(directory));
        Ok(())
    }

    fn list_directories(&self, _directory: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    number: usize,
}

impl FaultFile {
    fn resize(&self, length: usize, may_shrink: bool) -> io::Result<()> {
        let mut world = self.disk.lock();
        let (used, capacity) = (world.used(), world.faults.capacity);
        let now = &mut world.inodes[self.number].now;
        let growth = length.saturating_sub(now.len()) as u64;
        if growth > 0 && capacity.is_some_and(|capacity| used + growth > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if growth > 0 || may_shrink {
            now.resize(length, 0);
        }
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        self.resize(end, false)?;
        let mut world = self.disk.lock();
        let inode = &mut world.inodes[self.number];
        inode.now[start..end].copy_from_slice(bytes);
        inode.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.disk.lock();
        match world.faults.failing_read {
            Some(0) => {
                world.faults.failing_read = None;
                return Err(io::Error::other("simulated failure of a read"));
            }
            Some(left) => world.faults.failing_read = Some(left - 1),
            None => {}
        }
        let rest = world.inodes[self.number].now.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.lock();
        if world.faults.failing_syncs {
            // The system marks the pages clean: no later sync writes them.
            world.inodes[self.number].dirty.clear();
            return Err(io::Error::other("simulated failure of a sync"));
        }
        let inode = &mut world.inodes[self.number];
        inode.durable.resize(inode.now.len(), 0);
        for sector in std::mem::take(&mut inode.dirty) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(inode.now.len());
            if !range.is_empty() {
                inode.durable[range.clone()].copy_from_slice(&inode.now[range]);
            }
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.resize(length as usize, false)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.resize(length as usize, true)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.number].now.len() as u64)
    }
}

/// What every hint is about.
const ABOUT: HintAbout = HintAbout { group: 3, date_ms: 1, keys: 1 };

fn hint_options() -> HintOptions {
    HintOptions { log_id: LOG_ID, bytes_max: 64 << 20, segment_bytes_max: u64::MAX, new_salt: 7 }
}
