//! Some elements of a key, as two replicas compare them for a command that is about no others.
//!
//! Whatever else a large key holds neither travels nor is looked through: `HGET` of one field among
//! a million costs what it costs among ten. What belongs to the key as a whole (the string, the
//! expiry, the horizon) decides about its elements and is always part of it, and so is which kinds
//! of value are live. Where that is more than one, which of them shows depends on all elements: then
//! there is no saving, and the whole state is compared.

use quorate_proto::{Slot, mutant::Mutant};

use crate::{Store, delta::DeltaWriter, digest::Digest, state::State, store::export_state};

impl Store {
    /// Digest of what is alive of these elements of `key` and of the key as a whole.
    pub fn elements_digest<'a>(
        &'a self,
        slot: Slot,
        key: &[u8],
        names: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Digest {
        let Some(state) = self.raw_state(slot, key) else { return 0 };
        let digester = self.digester().of_key(key);
        // Nothing at all, and a key of which only tombstones are left, are the same.
        let mut sum = match state.live_kinds() {
            0 => 0,
            kinds => Digest::from(digester.name(&[kinds])),
        };
        if shows_by_all(state) {
            return sum.wrapping_add(state.digest(self.context(&digester)));
        }
        state.export_names(names, |part| {
            if !state.is_tombstone(&part) {
                sum = sum.wrapping_add(digester.part(&part));
            }
        });
        sum
    }

    /// Appends these elements of `key`, tombstones included, and what belongs to the key as a
    /// whole, as an effect.
    pub fn export_named<'a>(
        &'a self,
        slot: Slot,
        key: &[u8],
        names: impl Iterator<Item = &'a [u8]> + Clone,
        effect: &mut Vec<u8>,
    ) {
        let Some(state) = self.raw_state(slot, key) else { return };
        if shows_by_all(state) {
            return export_state(key, state, effect);
        }
        let mut delta = DeltaWriter::new(effect, key);
        state.export_names(names, |part| {
            if !(Mutant::RemovedNotTold.is_planted() && part.is_tombstone()) {
                delta.part(part);
            }
        });
        delta.finish();
    }

    /// Whether a command about a few elements of `key` depends on all of them.
    pub fn depends_on_all(&self, slot: Slot, key: &[u8]) -> bool {
        self.raw_state(slot, key).is_some_and(shows_by_all)
    }
}

/// Whether which kind of value shows depends on all elements.
fn shows_by_all(state: State<'_>) -> bool {
    state.live_kinds().count_ones() > 1
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Origin, command::Call, resp::Command};

    use super::*;
    use crate::{Request, StoreOptions};

    const KEY: &[u8] = b"key";

    fn store(node: u16) -> Store {
        Store::new(StoreOptions {
            origin: Origin::new(node, quorate_proto::Start::from_random(1)),
            digest_secret: [7; 16],
            seed: 1,
            keep_removed: true,
        })
    }

    fn run(store: &mut Store, line: &str) -> Vec<u8> {
        let command = Command::from_args(line.split(' '));
        let call = Call::piece(Slot::of_key(KEY), command);
        let (mut reply, mut effect) = (Vec::new(), Vec::new());
        let request = Request { call: &call, wall_ms: 1_000, resp3: false };
        store.execute(request, &mut reply, &mut effect);
        effect
    }

    fn digest(store: &Store, name: &str) -> Digest {
        store.elements_digest(Slot::of_key(KEY), KEY, [name.as_bytes()].into_iter())
    }

    /// What `from` has of an element is merged into `to`.
    fn bring(from: &Store, to: &mut Store, name: &str) {
        let (slot, mut effect) = (Slot::of_key(KEY), Vec::new());
        from.export_named(slot, KEY, [name.as_bytes()].into_iter(), &mut effect);
        to.merge(slot, &effect, 1_000).expect("is merged");
    }

    #[test]
    fn only_what_a_command_is_about_is_compared_and_travels() {
        let (mut a, mut b) = (store(1), store(2));
        let effect = run(&mut a, "HSET key f 1 g 1");
        b.merge(Slot::of_key(KEY), &effect, 1_000).expect("is merged");
        run(&mut a, "HSET key f 2 h 1");
        assert_eq!(digest(&a, "g"), digest(&b, "g"), "g is the same in both");
        assert_ne!(digest(&a, "f"), digest(&b, "f"));
        bring(&a, &mut b, "f");
        assert_eq!(digest(&a, "f"), digest(&b, "f"));
        assert_ne!(digest(&a, "h"), digest(&b, "h"), "h did not travel");
    }

    #[test]
    fn what_belongs_to_the_whole_key_is_part_of_it() {
        for change in ["DEL key", "PEXPIREAT key 5000", "SET key 1", "HDEL key f"] {
            let (mut a, mut b) = (store(1), store(2));
            let effect = run(&mut a, "HSET key f 1 g 1");
            b.merge(Slot::of_key(KEY), &effect, 1_000).expect("is merged");
            run(&mut a, change);
            assert_ne!(digest(&a, "f"), digest(&b, "f"), "{change}");
            bring(&a, &mut b, "f");
            assert_eq!(digest(&a, "f"), digest(&b, "f"), "{change}");
        }
    }

    #[test]
    fn a_key_without_anything_alive_is_like_none() {
        let mut a = store(1);
        run(&mut a, "SADD key m");
        run(&mut a, "SREM key m");
        assert_eq!(digest(&a, "m"), 0);
    }

    #[test]
    fn of_several_kinds_everything_is_compared() {
        let (mut a, mut b) = (store(1), store(2));
        let (hash, set) = (run(&mut a, "HSET key f 1 g 1"), run(&mut b, "SADD key m"));
        a.merge(Slot::of_key(KEY), &set, 1_000).expect("is merged");
        assert_ne!(digest(&a, "m"), digest(&b, "m"));
        bring(&a, &mut b, "m");
        assert_eq!(a.key_digest(Slot::of_key(KEY), KEY), b.key_digest(Slot::of_key(KEY), KEY));
        assert!(!hash.is_empty() && b.depends_on_all(Slot::of_key(KEY), KEY));
    }
}
