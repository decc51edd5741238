//! Computing the digests of a slot again: they are kept up to date by additions and subtractions
//! with every change, so a change that was missed, or a bit that flipped in memory, would stay in
//! them for ever.
//!
//! A state is what it exports, so the digest of a state is the sum over what it exports; that is
//! computed without anything that is kept. What is kept and differs is corrected. Which side of a
//! slot was wrong, its elements or a sum, cannot be told: the caller compares it with the other
//! replicas.

use std::hash::BuildHasher as _;

use quorate_proto::Slot;

use crate::{
    Store,
    digest::{Digest, KeyDigester},
    object::Kind,
    part::Owner,
    state::{KeptDigests, State},
};

/// Keys of a slot that are named when their digests were wrong.
const KEYS_NAMED_MAX: usize = 8;

/// What computing the digests of a slot again has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotScrub {
    /// Keys that were looked at, tombstones included.
    pub keys: u64,
    /// Their elements: what the work is proportional to.
    pub elements: u64,
    /// Whether a sum or count of the slot was wrong.
    pub slot_was_wrong: bool,
    /// Keys whose own digest was wrong.
    pub wrong_keys: u64,
    /// The first of them.
    pub named: Vec<Box<[u8]>>,
}

impl SlotScrub {
    /// How many digests were wrong.
    pub fn mismatches(&self) -> u64 {
        self.wrong_keys + u64::from(self.slot_was_wrong)
    }
}

/// What the elements of a state add up to.
#[derive(Default)]
struct Sums {
    kept: KeptDigests,
    /// What is alive of the key but for its collections.
    unkept: Digest,
    /// Tombstones of the whole key, whose digest is not kept.
    unkept_tombstones: Digest,
    elements: u64,
}

impl Store {
    /// Computes the digests of a slot and of its keys from their elements, and corrects those that
    /// are kept and differ. Looks at the whole slot.
    pub fn scrub_slot(&mut self, slot: Slot) -> SlotScrub {
        let mut found = SlotScrub::default();
        let (mut digest, mut tombstones, mut live): (Digest, Digest, usize) = (0, 0, 0);
        let mut wrong: Vec<(Box<[u8]>, KeptDigests)> = Vec::new();
        let table = &self.slots[slot.index()];
        for (key, state) in self.entries(slot) {
            let sums = sums(&self.digester.of_key(key), state);
            digest = sums.kept.alive.into_iter().flatten().fold(digest, Digest::wrapping_add);
            digest = digest.wrapping_add(sums.unkept);
            tombstones = sums.kept.tombstones.into_iter().fold(tombstones, Digest::wrapping_add);
            tombstones = tombstones.wrapping_add(sums.unkept_tombstones);
            live += usize::from(state.is_live());
            found.keys += 1;
            // A key costs something even if nothing of it is left but the key.
            found.elements += sums.elements.max(1);
            if state.kept_digests().differ_from(&sums.kept) {
                wrong.push((key.into(), sums.kept));
            }
        }
        found.slot_was_wrong =
            (table.digest, table.tombstones, table.live) != (digest, tombstones, live);
        found.wrong_keys = wrong.len() as u64;
        let table = &mut self.slots[slot.index()];
        let of_group = &mut self.live[usize::from(slot.group())];
        *of_group = (*of_group + live).saturating_sub(table.live);
        (table.digest, table.tombstones, table.live) = (digest, tombstones, live);
        for (key, right) in wrong {
            let spot = table.look_up(&self.strings, self.hasher.hash_one(&*key), &key);
            if let Some(state) = table.state_mut(&spot) {
                state.correct_digests(&self.hasher, &right);
            }
            if found.named.len() < KEYS_NAMED_MAX {
                found.named.push(key);
            }
        }
        found
    }
}

fn sums(digester: &KeyDigester, state: State<'_>) -> Sums {
    let mut sums = Sums::default();
    state.export(|part| {
        sums.elements += 1;
        let sum = match (part.owner(), state.is_tombstone(&part)) {
            (Owner::Key, true) => &mut sums.unkept_tombstones,
            (Owner::Object(Kind::Text), _) | (Owner::Key, false) => &mut sums.unkept,
            (Owner::Object(kind), false) => sums.kept.alive[kind as usize].get_or_insert_default(),
            (Owner::Object(kind), true) => &mut sums.kept.tombstones[kind as usize],
        };
        *sum = sum.wrapping_add(digester.part(&part));
    });
    sums
}

#[cfg(test)]
mod tests {
    use foldhash::fast::FixedState;
    use proptest::prelude::*;
    use quorate_proto::{Origin, command::Call, resp::Command};

    use super::*;
    use crate::{Request, StoreOptions, object::KINDS};

    const WALL_MS: u64 = 1_700_000_000_000;

    fn store() -> Store {
        Store::new(StoreOptions {
            origin: Origin(1),
            digest_secret: [7; 16],
            seed: 3,
            keep_removed: true,
        })
    }

    fn run(store: &mut Store, words: &[&str]) {
        let slot = Slot::of_key(words[1].as_bytes());
        let call = Call::piece(slot, Command::from_args(words));
        let request = Request { call: &call, wall_ms: WALL_MS, resp3: false };
        store.execute(request, &mut Vec::new(), &mut Vec::new());
    }

    /// Commands on three keys of one slot that touch every kind of element.
    fn command() -> impl Strategy<Value = Vec<String>> {
        let words = prop_oneof![
            Just("SET {k} 1"),
            Just("INCRBY {k} 2"),
            Just("HSET h{k} f 1"),
            Just("HINCRBY h{k} f 2"),
            Just("HDEL h{k} f"),
            Just("HSET h{k} g 1"),
            Just("SADD s{k} a b"),
            Just("SREM s{k} a"),
            Just("ZADD z{k} 1 a 2 b"),
            Just("ZINCRBY z{k} 2 a"),
            Just("ZREM z{k} a"),
            Just("EXPIRE {k} 1000"),
            Just("EXPIRE h{k} 1000"),
            Just("PERSIST {k}"),
            Just("DEL {k}"),
            Just("DEL h{k}"),
            Just("DEL s{k}"),
            Just("DEL z{k}"),
        ];
        words.prop_map(|line| line.split(' ').map(str::to_owned).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_kept_is_what_is_computed(commands in prop::collection::vec(command(), 0..80)) {
            let mut store = store();
            for words in &commands {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                run(&mut store, &words);
                let found = store.scrub_slot(Slot::of_key(b"{k}"));
                prop_assert_eq!(found.mismatches(), 0, "after {:?}: {:?}", words, found);
            }
        }
    }

    #[test]
    fn a_wrong_sum_is_found_and_corrected() {
        let mut store = store();
        run(&mut store, &["SET", "k", "v"]);
        run(&mut store, &["SADD", "{k}s", "a", "b"]);
        run(&mut store, &["SREM", "{k}s", "a"]);
        let slot = Slot::of_key(b"k");
        let right = (store.slot_digest(slot), store.slot_version(slot), store.len());
        let spoil: [fn(&mut Store, Slot); 3] = [
            |store, slot| store.slots[slot.index()].digest ^= 1 << 77,
            |store, slot| store.slots[slot.index()].tombstones ^= 1,
            |store, slot| {
                store.slots[slot.index()].live += 1;
                store.live[usize::from(slot.group())] += 1;
            },
        ];
        for spoil in spoil {
            spoil(&mut store, slot);
            let found = store.scrub_slot(slot);
            assert!(found.slot_was_wrong && found.wrong_keys == 0, "{found:?}");
            assert_eq!((found.keys, found.elements), (2, 3));
            assert_eq!((store.slot_digest(slot), store.slot_version(slot), store.len()), right);
            assert_eq!(store.scrub_slot(slot).mismatches(), 0);
        }
    }

    #[test]
    fn a_wrong_digest_of_a_key_is_found_named_and_corrected() {
        let mut store = store();
        for number in 0..300 {
            run(&mut store, &["HSET", "h", &format!("f{number}"), "1", "g", "2"]);
        }
        run(&mut store, &["HDEL", "h", "g"]);
        let slot = Slot::of_key(b"h");
        let (digest, version) = (store.slot_digest(slot), store.slot_version(slot));
        let spot = store.look_up(slot, b"h");
        let state = store.slots[slot.index()].state_mut(&spot).expect("there");
        let right = state.view().kept_digests();
        let wrong = KeptDigests { alive: [Some(5); KINDS], tombstones: [6; KINDS] };
        state.correct_digests(&FixedState::with_seed(1), &wrong);
        let found = store.scrub_slot(slot);
        assert!(!found.slot_was_wrong, "its sums are kept apart");
        assert_eq!(found.named, [b"h"[..].into()]);
        assert_eq!(store.raw_state(slot, b"h").map(State::kept_digests), Some(right));
        assert_eq!((store.slot_digest(slot), store.slot_version(slot)), (digest, version));
        // Later changes start from what is right again.
        run(&mut store, &["HSET", "h", "g", "3"]);
        assert_eq!(store.scrub_slot(slot).mismatches(), 0);
    }
}
