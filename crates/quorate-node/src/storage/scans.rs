//! Scans of large keys: a comparison asks for the elements of a key several times, and to digest a hundred
//! thousand of them holds the shard up for as long as a large command would.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use quorate_cluster::time::Instant;
use quorate_proto::Slot;
use quorate_store::{Scan, Store};

/// Elements from which on a scan is kept.
const ELEMENTS_MIN: usize = 1_000;

/// Elements of all that are kept, 16 bytes each, unless one alone has more.
const ELEMENTS_MAX: usize = 1 << 20;

/// How long one is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(2);

/// Those that are kept, the ones used last at the end.
#[derive(Debug, Default)]
pub(super) struct Scans {
    kept: VecDeque<(Instant, Arc<Scan>)>,
}

impl Scans {
    /// A scan of a key as it is now.
    pub(super) fn of(&mut self, store: &Store, now: Instant, slot: Slot, key: &[u8]) -> Arc<Scan> {
        let of_key = |(_, scan): &(_, Arc<Scan>)| scan.slot() == slot && scan.key() == key;
        let known = self.kept.iter().position(of_key).and_then(|place| self.kept.remove(place));
        let current = known.filter(|(_, scan)| scan.version() == store.key_version(slot, key));
        let scan = current.map_or_else(|| Arc::new(store.scan(slot, key)), |(_, scan)| scan);
        if scan.len() >= ELEMENTS_MIN {
            self.kept.push_back((now, Arc::clone(&scan)));
            while self.kept.len() > 1 && self.elements() > ELEMENTS_MAX {
                self.kept.pop_front();
            }
        }
        scan
    }

    fn elements(&self) -> usize {
        self.kept.iter().map(|(_, scan)| scan.len()).sum()
    }

    /// Drops what nobody has asked for in a while.
    pub(super) fn forget(&mut self, now: Instant) {
        while self.kept.front().is_some_and(|(used, _)| *used + KEPT_FOR <= now) {
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Origin, command::Call, resp::Command};
    use quorate_store::{Request, StoreOptions};

    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn store() -> Store {
        let digest_secret = *b"0123456789abcdef";
        Store::new(StoreOptions { origin: Origin(1), digest_secret, seed: 1, keep_removed: true })
    }

    fn add(store: &mut Store, key: &str, members: std::ops::Range<usize>) -> Slot {
        let slot = Slot::of_key(key.as_bytes());
        let members = members.map(|member| member.to_string());
        let words: Vec<String> = ["SADD".into(), key.into()].into_iter().chain(members).collect();
        let call = Call::piece(slot, Command::from_args(&words));
        let request = Request { call: &call, wall_ms: 1_000, resp3: false };
        store.execute(request, &mut Vec::new(), &mut Vec::new());
        slot
    }

    #[test]
    fn a_scan_is_made_once_for_each_state_of_a_key() {
        let (mut store, mut scans) = (store(), Scans::default());
        let slot = add(&mut store, "k", 0..ELEMENTS_MIN);
        let first = scans.of(&store, NOW, slot, b"k");
        assert!(Arc::ptr_eq(&first, &scans.of(&store, NOW, slot, b"k")));
        add(&mut store, "k", ELEMENTS_MIN..ELEMENTS_MIN + 1);
        let second = scans.of(&store, NOW, slot, b"k");
        assert_eq!((first.len(), second.len()), (ELEMENTS_MIN, ELEMENTS_MIN + 1));
        assert_eq!(scans.kept.len(), 1, "of a key only the last one is kept");
    }

    #[test]
    fn small_ones_are_not_kept_and_no_one_for_long() {
        let (mut store, mut scans) = (store(), Scans::default());
        let small = add(&mut store, "small", 0..10);
        scans.of(&store, NOW, small, b"small");
        assert!(scans.kept.is_empty());
        let large = add(&mut store, "large", 0..ELEMENTS_MIN);
        scans.of(&store, NOW, large, b"large");
        scans.forget(NOW + KEPT_FOR / 2);
        assert_eq!(scans.kept.len(), 1);
        scans.forget(NOW + KEPT_FOR);
        assert!(scans.kept.is_empty());
    }

    #[test]
    fn the_oldest_makes_room() {
        let (mut store, mut scans) = (store(), Scans::default());
        for key in ["a", "b", "c"] {
            let slot = add(&mut store, key, 0..ELEMENTS_MAX / 2);
            scans.of(&store, NOW, slot, key.as_bytes());
        }
        let kept: Vec<&[u8]> = scans.kept.iter().map(|(_, scan)| scan.key()).collect();
        assert_eq!(kept, [b"b", b"c"]);
    }
}
