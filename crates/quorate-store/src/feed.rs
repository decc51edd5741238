//! Which keys have changed: what hangs on changes takes the notes at the end of a step.
//!
//! Every change of what is no plain string passes through one function, whatever it comes of:
//! commands, merges, repair, hints, restoring, expiry, work that was done beside the store. There it
//! is noted. A plain string over another one, or over nothing, is not: nobody waits for those.

use quorate_proto::Slot;

use crate::Store;

/// A key that has changed, in any way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Its slot.
    pub slot: Slot,
    /// The key.
    pub key: Box<[u8]>,
}

/// Notes of changes, while somebody wants them.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    changes: Option<Vec<Change>>,
}

impl Feed {
    /// Notes that a key may have changed. Costs a branch when nobody wants to know.
    #[inline]
    pub(crate) fn note(&mut self, slot: Slot, key: &[u8]) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change { slot, key: key.into() });
        }
    }
}

impl Store {
    /// Whether changes are noted from now on. What was noted before is forgotten.
    pub fn want_changes(&mut self, wanted: bool) {
        self.feed.changes = wanted.then(Vec::new);
    }

    /// Whether any were noted.
    #[inline]
    pub fn has_changes(&self) -> bool {
        self.feed.changes.as_ref().is_some_and(|changes| !changes.is_empty())
    }

    /// The keys that have changed since they were taken last, each once.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = self.feed.changes.as_mut().map(std::mem::take).unwrap_or_default();
        if changes.len() > 1 {
            changes.sort_unstable();
            changes.dedup();
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Origin, Start, command::Call, resp::Command};

    use super::*;
    use crate::{Request, StoreOptions};

    fn store() -> Store {
        Store::new(StoreOptions {
            origin: Origin::new(0, Start::from_random(1)),
            digest_secret: [7; 16],
            seed: 1,
            keep_removed: true,
        })
    }

    fn execute(store: &mut Store, wall_ms: u64, words: &[&str]) -> Vec<u8> {
        let command = Command::from_args(words);
        let call = Call::piece(Slot::of_key(words[1].as_bytes()), command);
        let mut effect = Vec::new();
        let request = Request { call: &call, wall_ms, resp3: false };
        store.execute(request, &mut Vec::new(), &mut effect);
        effect
    }

    fn changed(store: &mut Store) -> Vec<String> {
        let changes = store.take_changes().into_iter();
        let keys = changes.map(|change| String::from_utf8_lossy(&change.key).into_owned());
        let mut keys: Vec<String> = keys.collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn every_way_of_change_is_noted() {
        let (mut store, mut other) = (store(), store());
        execute(&mut store, 1_000, &["HSET", "quiet", "f", "v"]);
        assert!(!store.has_changes(), "nobody wants to know");
        store.want_changes(true);
        execute(&mut store, 1_000, &["HSET", "h", "f", "v"]);
        execute(&mut store, 1_000, &["JSON.SET", "j", "$", "{}"]);
        execute(&mut store, 1_000, &["HGET", "h", "f"]);
        assert_eq!(changed(&mut store), ["h", "j"]);
        execute(&mut store, 1_000, &["PEXPIREAT", "h", "2000"]);
        execute(&mut store, 1_000, &["DEL", "j"]);
        assert_eq!(changed(&mut store), ["h", "j"]);
        store.sweep_expired(3_000, 10);
        assert_eq!(changed(&mut store), ["h"]);
        let effect = execute(&mut other, 4_000, &["HSET", "m", "f", "v"]);
        store.merge(Slot::of_key(b"m"), &effect, 4_000).expect("merges");
        assert_eq!(changed(&mut store), ["m"]);
        execute(&mut store, 5_000, &["SET", "m", "a string now"]);
        assert_eq!(changed(&mut store), ["m"]);
        execute(&mut store, 5_000, &["HSET", "d", "f", "v"]);
        store.take_changes();
        store.discard_slot(Slot::of_key(b"d"));
        assert_eq!(changed(&mut store), ["d"]);
    }
}
