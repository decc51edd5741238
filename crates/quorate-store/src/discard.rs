//! Dropping what a slot holds, because its replicas are others.

use quorate_proto::Slot;

use crate::{digest::Digest, store::Store};

impl Store {
    /// Drops everything that `slot` holds, without a trace: whoever holds the slot has it. Returns
    /// how many keys that were, those with tombstones only included.
    pub fn discard_slot(&mut self, slot: Slot) -> usize {
        let keys: Vec<Box<[u8]>> = self.entries(slot).map(|(key, _)| key.into()).collect();
        for key in &keys {
            let mut spot = self.look_up(slot, key);
            let Some(state) = self.state_at(slot, &spot) else { continue };
            let (is_live, expires_at) = (state.is_live(), state.expires_at());
            self.expiry.reschedule((slot, spot.hash), expires_at, None);
            let timed = expires_at.filter(|_| is_live);
            if timed.is_some() {
                self.timed.change(timed, None);
            }
            self.live[usize::from(slot.group())] -= usize::from(is_live);
            let table = &mut self.slots[slot.index()];
            table.boxed(&mut self.strings, &self.hasher, &mut spot, key);
            table.remove(&mut spot);
            self.feed.note(slot, key);
        }
        let table = &mut self.slots[slot.index()];
        (table.live, table.digest, table.tombstones) = (0, Digest::default(), Digest::default());
        keys.len()
    }

    /// Whether `slot` holds anything, tombstones included.
    pub fn holds_any(&self, slot: Slot) -> bool {
        self.entries(slot).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Origin, command::Call, resp::Command};

    use crate::{Request, Store, StoreOptions};

    use super::*;

    fn run(store: &mut Store, slot: Slot, words: &[&str]) {
        let call = Call::piece(slot, Command::from_args(words));
        let request = Request { call: &call, wall_ms: 1_000_000, resp3: false };
        store.execute(request, &mut Vec::new(), &mut Vec::new());
    }

    #[test]
    fn nothing_is_left_of_a_slot_and_others_stay() {
        let options =
            StoreOptions { origin: Origin(7), digest_secret: [1; 16], seed: 3, keep_removed: true };
        let mut store = Store::new(options);
        let [slot, other] = ["{a}", "{b}"].map(|tag| Slot::of_key(tag.as_bytes()));
        for (slot, tag) in [(slot, "{a}"), (other, "{b}")] {
            let key = |name: &str| format!("{tag}{name}");
            run(&mut store, slot, &["SET", &key("s"), "v"]);
            run(&mut store, slot, &["SET", &key("t"), "v", "PX", "5000"]);
            run(&mut store, slot, &["HSET", &key("h"), "f", "v"]);
            run(&mut store, slot, &["PEXPIRE", &key("h"), "7000"]);
            run(&mut store, slot, &["SADD", &key("x"), "m"]);
            run(&mut store, slot, &["DEL", &key("x")]);
        }
        let kept = (store.slot_digest(other), store.slot_version(other));
        assert_eq!((store.len(), store.expiring()), (6, 4));
        assert_eq!(store.discard_slot(slot), 4);
        assert!(!store.holds_any(slot) && store.holds_any(other));
        assert_eq!((store.len(), store.expiring(), store.keys_in_slot(slot)), (3, 2, 0));
        assert_eq!((store.slot_digest(slot), store.slot_version(slot)), (0, 0));
        assert_eq!((store.slot_digest(other), store.slot_version(other)), kept);
        // What was to remind of its keys reminds of nothing.
        store.sweep_expired(2_000_000, usize::MAX);
        assert_eq!((store.len(), store.expiring()), (1, 0));
        run(&mut store, slot, &["SET", "{a}t", "again", "PX", "9000"]);
        assert_eq!((store.len(), store.expiring()), (2, 1));
    }
}
