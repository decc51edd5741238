//! Stamps from another cluster.
//!
//! The origin of a stamp names a member by its number in its own cluster. So a foreign origin is
//! marked as such, and its number is moved by the place that the cluster has among all:
//!
//! ```text
//! own      number                          0 to members - 1, as in the store
//! foreign  (place + number) mod 2,048      place: 11 bits of the cluster's identity
//! ```
//!
//! The same cluster always maps to the same numbers, so merging twice is merging once; and numbers
//! that fall on this cluster's place are its own members, come back from elsewhere. Two clusters
//! share numbers when their places are closer than their numbers of members; what then keeps their
//! origins apart is the 20 bits that every start draws.

use quorate_proto::{Origin, Stamp};
use quorate_store::delta::{DeltaWriter, Malformed, deltas};

/// A cluster, as far as origins are concerned: its member list, and how many it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OriginSpace {
    pub(super) identity: [u8; 16],
    pub(super) nodes: u16,
}

impl OriginSpace {
    /// Where the cluster's members stand among all.
    fn place(&self) -> u16 {
        u16::from_be_bytes([self.identity[0], self.identity[1]]) % Origin::NUMBERS
    }

    /// What an origin of cluster `from` is called here.
    fn adopt(&self, from: &Self, origin: Origin) -> Origin {
        let (number, start) = (origin.number(), origin.start());
        if !origin.is_foreign() && self.identity == from.identity {
            return origin;
        }
        let global =
            if origin.is_foreign() { number } else { (number + from.place()) % Origin::NUMBERS };
        let ours = (global + Origin::NUMBERS - self.place()) % Origin::NUMBERS;
        if ours < self.nodes { Origin::new(ours, start) } else { Origin::foreign(global, start) }
    }

    /// Appends an effect out of cluster `from` as one for this cluster.
    pub(super) fn adopt_effect(
        &self,
        from: &Self,
        effect: &[u8],
        adopted: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let stamp = |stamp: Stamp| Stamp::new(stamp.clock(), self.adopt(from, stamp.origin()));
        adopted.reserve(effect.len());
        for delta in deltas(effect) {
            let delta = delta?;
            let mut writer = DeltaWriter::new(adopted, delta.key);
            for part in delta.parts() {
                writer.part(part?.with_stamps(stamp));
            }
            writer.finish();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Slot, Start, command::Call, resp::Command};
    use quorate_store::{Request, Store, StoreOptions};

    use super::*;

    const WALL_MS: u64 = 1_700_000_000_000;

    fn space(first: u8, nodes: u16) -> OriginSpace {
        OriginSpace { identity: [first; 16], nodes }
    }

    #[test]
    fn origins_stay_apart_and_come_home() {
        let (a, b, c) = (space(0x11, 3), space(0x7f, 5), space(0xff, 1));
        let mut seen = std::collections::BTreeSet::new();
        for (from, nodes) in [(a, 3), (b, 5), (c, 1)] {
            for node in 0..nodes {
                let origin = Origin::new(node, Start::from_random(9));
                assert_eq!(from.adopt(&from, origin), origin);
                for through in [a, b, c] {
                    let there = through.adopt(&from, origin);
                    assert_eq!(from.adopt(&through, there), origin, "back home");
                    for last in [a, b, c] {
                        let direct = last.adopt(&from, origin);
                        assert_eq!(last.adopt(&through, there), direct, "one name a place");
                    }
                }
                assert!(seen.insert(space(0, 0).adopt(&from, origin)));
            }
        }
    }

    fn store(node: u16) -> Store {
        Store::new(StoreOptions {
            origin: Origin::new(node, Start::from_random(1)),
            digest_secret: [7; 16],
            seed: 1,
            keep_removed: true,
        })
    }

    fn run(store: &mut Store, words: &[&str]) -> String {
        let call = Call::piece(Slot::of_key(b"n"), Command::from_args(words));
        let (mut reply, mut effect) = (Vec::new(), Vec::new());
        let request = Request { call: &call, wall_ms: WALL_MS, resp3: false };
        store.execute(request, &mut reply, &mut effect);
        String::from_utf8(reply).expect("text")
    }

    fn ship(from: &Store, from_space: OriginSpace, into: &mut Store, into_space: OriginSpace) {
        let slot = Slot::of_key(b"n");
        let mut effect = Vec::new();
        from.export(slot, b"n", &mut effect);
        let mut adopted = Vec::new();
        into_space.adopt_effect(&from_space, &effect, &mut adopted).expect("well-formed");
        into.merge(slot, &adopted, WALL_MS).expect("merges");
    }

    #[test]
    fn counters_of_two_clusters_add_up_however_often_they_meet() {
        // Both have a member 0 that drew the same start, so both use the same origin.
        let (mut a, mut b) = (store(0), store(0));
        let (space_a, space_b) = (space(1, 1), space(2, 1));
        run(&mut a, &["INCRBY", "n", "5"]);
        run(&mut b, &["INCRBY", "n", "30"]);
        for _ in 0..3 {
            ship(&a, space_a, &mut b, space_b);
            ship(&b, space_b, &mut a, space_a);
        }
        assert_eq!(run(&mut a, &["GET", "n"]), "$2\r\n35\r\n");
        assert_eq!(run(&mut b, &["GET", "n"]), "$2\r\n35\r\n");
        run(&mut a, &["INCRBY", "n", "2"]);
        ship(&b, space_b, &mut a, space_a);
        assert_eq!(run(&mut a, &["GET", "n"]), "$2\r\n37\r\n", "an echo takes nothing back");
    }
}
