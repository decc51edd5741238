//! Stamps from another cluster.
//!
//! The origin of a stamp is a node's number in its cluster and its incarnation, so two clusters use
//! the same origins. Merged as they are, increments of one would pass for those of the other. So a
//! foreign origin gets another number, from the upper half that no cluster uses for its own nodes:
//!
//! ```text
//! own     0 to nodes - 1                          as in the store
//! global  0x8000 + (place + node) mod 0x8000      place: 15 bits of the cluster's identity
//! ```
//!
//! The same cluster always maps to the same numbers, so merging twice is merging once; and numbers
//! that fall on this cluster's place are its own nodes, come back from elsewhere. Two clusters
//! share numbers only when their places are closer than their numbers of nodes.

use quorate_proto::{Origin, Stamp};
use quorate_store::delta::{DeltaWriter, Malformed, deltas};

const GLOBAL: u16 = Origin::FOREIGN;

/// A cluster, as far as origins are concerned: its member list, and how many it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OriginSpace {
    pub(super) identity: [u8; 16],
    pub(super) nodes: u16,
}

impl OriginSpace {
    /// Where the cluster's nodes stand among all.
    fn place(&self) -> u16 {
        u16::from_be_bytes([self.identity[0], self.identity[1]]) % GLOBAL
    }

    /// What an origin of cluster `from` is called here.
    fn adopt(&self, from: &Self, origin: Origin) -> Origin {
        let node = origin.node();
        if node < GLOBAL && self.identity == from.identity {
            return origin;
        }
        let global = match node {
            GLOBAL.. => node,
            own => GLOBAL | (own.wrapping_add(from.place()) % GLOBAL),
        };
        let ours = (global - GLOBAL).wrapping_sub(self.place()) % GLOBAL;
        let adopted = if ours < self.nodes { ours } else { global };
        Origin::new(adopted, origin.incarnation())
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
    use quorate_proto::{Slot, resp::Command};
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
                let origin = Origin::new(node, 9);
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
            origin: Origin::new(node, 1),
            digest_secret: [7; 16],
            seed: 1,
            keep_removed: true,
        })
    }

    fn run(store: &mut Store, words: &[&str]) -> String {
        let command = Command::from_args(words);
        let (mut reply, mut effect) = (Vec::new(), Vec::new());
        let slot = Slot::of_key(b"n");
        let request = Request { slot, command: &command, wall_ms: WALL_MS, resp3: false };
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
        // Both have a node 0 in incarnation 1, so both use the same origin.
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
