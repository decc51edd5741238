//! Tests of what is kept for others: what goes beyond a bound leaves a mark, and nothing else does.

use quorate_cluster::{anti_entropy::Digests as _, coordinator::Replica as _, handoff::Hints};
use quorate_proto::{MemberNumber, command::Call, resp::Command};

use super::{
    hints::HintSync,
    rounds::{WALL_MS, storage_with},
    *,
};
use crate::limits;

const PEER: MemberNumber = MemberNumber(1);

/// Keeps the effect of a write for the peer; returns its group.
fn hint(storage: &mut Storage, key: &str) -> Groups {
    let slot = Slot::of_key(key.as_bytes());
    let command = Command::from_args(&["SET", key, &"v".repeat(64)]);
    let executed = storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
    storage.hint(PEER, slot, executed.dot, &executed.effect);
    Groups::of_slot(slot)
}

/// Keeps effects of many groups in as many turns; returns the groups.
fn fill(storage: &mut Storage, count: u32) -> Groups {
    (0..count).fold(Groups::NONE, |groups, number| {
        let group = hint(storage, &format!("key{number}"));
        storage.write().expect("is written");
        groups.union(group)
    })
}

fn groups_kept(storage: &Storage) -> Groups {
    storage.hints_for(PEER).map_or(Groups::NONE, |log| log.groups())
}

/// Brings everything to disk.
fn sync(storage: &mut Storage) {
    loop {
        let syncs = storage.hint_syncs();
        if syncs.is_empty() {
            return;
        }
        for (sync, task) in syncs {
            let result = task.run();
            storage.hint_sync_ended(sync, &result);
        }
    }
}

#[test]
fn an_overflow_is_marked_and_everything_is_in_a_hint_or_marked() {
    for (bytes_max, total_max) in [(4_096, u64::MAX), (1 << 20, 4_096)] {
        let mut storage = storage_with(0, bytes_max, total_max);
        let groups = fill(&mut storage, 300);
        let (kept, dirty) = (groups_kept(&storage), storage.dirty_groups(PEER));
        assert_eq!(kept.union(dirty), groups);
        assert!(!kept.is_empty() && !dirty.is_empty());
        let log = storage.hints_for(PEER).expect("hints");
        assert!(log.allocated() <= 4_096 && log.pending() < 100, "{}", log.allocated());
        assert!(storage.dirty(PEER).is_empty(), "hints come first");
        // A round that begins now settles what is marked.
        let epoch = storage.begin_epoch();
        storage.clear_dirty(PEER, Groups::ALL, epoch);
        assert!(storage.dirty_groups(PEER).is_empty());
    }
}

#[test]
fn a_very_large_effect_is_marked_and_not_kept() {
    let mut storage = storage_with(0, 1 << 30, u64::MAX);
    let small = hint(&mut storage, "small");
    let slot = Slot::of_key(b"large");
    storage.hint(PEER, slot, None, &vec![b'v'; limits::VERY_LARGE_EFFECT + 1].into());
    storage.write().expect("is written");
    assert_eq!(groups_kept(&storage), small);
    assert_eq!(storage.dirty_groups(PEER), Groups::of_slot(slot));
}

#[test]
fn no_hint_is_kept_in_a_range_that_is_dirty() {
    let mut storage = storage_with(0, 1 << 20, u64::MAX);
    let group = hint(&mut storage, "key");
    assert_eq!(storage.drop_hints(PEER), (0, 1), "it was not written yet");
    hint(&mut storage, "key");
    storage.write().expect("is written");
    assert_eq!((storage.pending(PEER), storage.dirty_groups(PEER)), (0, group));
    // Marked again meanwhile: the round that runs does not settle it.
    let epoch = storage.begin_epoch();
    hint(&mut storage, "key");
    storage.clear_dirty(PEER, Groups::ALL, epoch);
    assert_eq!(storage.dirty(PEER), group);
}

#[test]
fn what_is_too_old_is_marked() {
    let mut storage = storage_with(0, 1 << 20, u64::MAX);
    let old = fill(&mut storage, 5);
    storage.expire_hints();
    assert_eq!(storage.pending(PEER), 5);
    storage.wall_ms = WALL_MS + 500;
    storage.expire_hints();
    let young = hint(&mut storage, "young");
    storage.write().expect("is written");
    storage.wall_ms = WALL_MS + 1_100;
    storage.begin_turn(storage.wall_ms, Fitness::FIT.with(Unfit::ClockInDoubt, true));
    storage.expire_hints();
    assert_eq!(storage.pending(PEER), 6, "who knows what time it is");
    storage.begin_turn(storage.wall_ms, Fitness::FIT);
    storage.expire_hints();
    assert_eq!((storage.pending(PEER), storage.dirty_groups(PEER)), (1, old));
    assert_eq!(groups_kept(&storage), young);
}

#[test]
fn nothing_goes_from_disk_before_the_marks_are_there() {
    let mut storage = storage_with(0, 4_096, u64::MAX);
    fill(&mut storage, 10);
    sync(&mut storage);
    let before = storage.hints_for(PEER).map(|log| log.allocated()).expect("hints");
    storage.drop_hints(PEER);
    let (sync, task) = storage.hint_syncs().remove(0);
    assert!(matches!(sync, HintSync::Dirty { .. }));
    assert!(storage.hint_syncs().is_empty(), "the marks are on their way");
    let allocated = |storage: &Storage| storage.hints.log(PEER).expect("a log").allocated();
    assert!(allocated(&storage) >= before);
    let result = task.run();
    storage.hint_sync_ended(sync, &result);
    self::sync(&mut storage);
    assert!(allocated(&storage) < before);
}

#[test]
fn delivered_hints_leave_the_disk_although_marks_cannot_be_saved() {
    let mut storage = storage_with(0, 4_096, u64::MAX);
    fill(&mut storage, 300);
    assert!(!storage.dirty_groups(PEER).is_empty(), "not all of them fit");
    let save_in_vain = |storage: &mut Storage| {
        for (sync, task) in storage.hint_syncs() {
            let full = || Err(io::ErrorKind::StorageFull.into());
            let result = if matches!(sync, HintSync::Log { .. }) { task.run() } else { full() };
            storage.hint_sync_ended(sync, &result);
        }
    };
    save_in_vain(&mut storage);
    let allocated = |storage: &Storage| storage.hints.log(PEER).expect("a log").allocated();
    let before = allocated(&storage);
    let all = storage.pending(PEER);
    assert!(!Hints::read(&mut storage, PEER, 1 << 20).is_empty());
    storage.acknowledge(PEER, all);
    save_in_vain(&mut storage);
    assert!(allocated(&storage) < before, "{} bytes of {before}", allocated(&storage));
}

#[test]
fn a_late_result_of_a_log_that_was_given_up_is_not_the_next_ones() {
    let mut storage = storage_with(0, 1 << 20, u64::MAX);
    let group = hint(&mut storage, "key");
    storage.write().expect("is written");
    let (first, _) = storage.hint_syncs().remove(0);
    let (second, _) = storage.hint_syncs().remove(0);
    let failure = || Err(io::Error::other("a disk that fails"));
    storage.hint_sync_ended(first, &failure());
    assert!(storage.hints.log(PEER).is_none(), "it is given up");
    assert_eq!(storage.dirty_groups(PEER), group);
    let epoch = storage.begin_epoch();
    storage.clear_dirty(PEER, group, epoch);
    hint(&mut storage, "key");
    storage.write().expect("is written");
    storage.hint_sync_ended(second, &failure());
    assert!(storage.hints.log(PEER).is_some_and(|log| !log.has_failed()));
    assert!(storage.dirty_groups(PEER).is_empty());
}
