//! Elements of a key, as two replicas compare them when its state is too large to travel whole.
//!
//! ```text
//!  63            48 47                                           0
//!  +---------------+---------------------------------------------+
//!  | of the name   | end of the element's digest                 |
//!  +---------------+---------------------------------------------+
//!  | 0             |0| end of the horizon's digest               |
//!  | 0             |1| the same of the string and the expiry     |
//!  +---------------+-+-------------------------------------------+
//! ```
//! Eight bytes stand for a part of the state: a register, a contribution, a field, a member, a
//! tombstone of a removal, the horizon, the expiry. Everything about one field or member shares the
//! upper part, so that a live one and the tombstone are met together; what belongs to the key as a
//! whole has zero there, and horizons, which decide about all the rest, come first. The upper part
//! is a keyed hash of the key and the name (zero made one), the lower one is of the element's
//! [digest](crate::digest).
//!
//! Fingerprints travel between nodes that share the secret of the digests, so they never change.
//! Two may collide, with a chance of 2^-48 for two versions of one name; the digest of the key
//! tells.

use std::collections::BTreeMap;

use quorate_proto::Slot;

use crate::{
    Store,
    delta::DeltaWriter,
    digest::{Digest, KeyDigester},
    part::Part,
};

/// Bits of a fingerprint that depend on the name.
pub const NAME_BITS: u32 = 16;

/// The fingerprints of horizons are below this.
pub const HORIZONS_END: u64 = 1 << (VERSION_BITS - 1);

const VERSION_BITS: u32 = u64::BITS - NAME_BITS;

/// The upper part of a fingerprint.
fn name_part(digester: &KeyDigester, part: &Part<'_>) -> u16 {
    match part.name() {
        Some(name) => ((digester.name(name) >> VERSION_BITS) as u16).max(1),
        None => 0,
    }
}

impl Store {
    /// Whether the state of `key` has several fields or members and takes more than `bytes`.
    pub fn is_larger(&self, slot: Slot, key: &[u8], bytes: usize) -> bool {
        let Some(state) = self.raw_state(slot, key) else { return false };
        let count = state.named_elements();
        if count < 2 {
            return false;
        }
        // None takes less than its stamp.
        if count > bytes / size_of::<quorate_proto::Stamp>() {
            return true;
        }
        let mut size = 0;
        state.export(|part| size += part.size());
        size > bytes
    }

    /// Fields and members of `key`, with those that are removed.
    pub fn element_count(&self, slot: Slot, key: &[u8]) -> usize {
        self.raw_state(slot, key).map_or(0, |state| state.named_elements())
    }

    /// Digest of all of `key`, tombstones included; zero when there is nothing.
    pub fn key_version(&self, slot: Slot, key: &[u8]) -> Digest {
        let digester = self.digester().of_key(key);
        let context = self.context(&digester);
        self.raw_state(slot, key)
            .map_or(0, |state| state.digest(context).wrapping_add(state.tombstones_digest(context)))
    }

    /// Digests all elements of `key`, which takes a while if there are many.
    pub fn scan(&self, slot: Slot, key: &[u8]) -> Scan {
        let mut scan = Scan {
            slot,
            key: key.into(),
            version: self.key_version(slot, key),
            elements: Vec::with_capacity(self.element_count(slot, key) + 1),
        };
        let Some(state) = self.raw_state(slot, key) else { return scan };
        let digester = self.digester().of_key(key);
        state.export(|part| {
            let name = name_part(&digester, &part);
            let is_tombstone = state.is_tombstone(&part);
            scan.elements.push(Scanned::of(&digester, name, &part, is_tombstone));
        });
        scan
    }

    /// The elements of some keys of a slot that have one of some ascending fingerprints, as an effect, and
    /// how many of the fingerprints that settles: the first at least, and further ones until about
    /// `bytes_max` bytes are reached. For an element that is no longer there stands what may have
    /// superseded it: everything of its name, and the horizon. The scans are of the keys; one of
    /// before is made anew.
    pub fn export_elements(
        &self,
        scans: &[impl AsRef<Scan>],
        fingerprints: &[u64],
        bytes_max: usize,
    ) -> (usize, Vec<u8>) {
        let mut found: Vec<(u64, usize, Part<'_>)> = Vec::new();
        let mut of_names: Vec<(u64, usize, Part<'_>)> = Vec::new();
        let names = Names::of(fingerprints);
        for (index, scan) in scans.iter().enumerate() {
            let scan = scan.as_ref();
            let picked = self.picked(scan, &names).unwrap_or_else(|| {
                self.picked(&self.scan(scan.slot, &scan.key), &names).unwrap_or_default()
            });
            for (fingerprint, part) in picked {
                let wanted = fingerprints.binary_search(&fingerprint).is_ok();
                let group = if wanted { &mut found } else { &mut of_names };
                group.push((fingerprint, index, part));
            }
        }
        let mut gone: Vec<u64> = fingerprints.to_vec();
        let mut there: Vec<u64> = found.iter().map(|(one, ..)| *one).collect();
        there.sort_unstable();
        gone.retain(|one| there.binary_search(one).is_err());
        for (fingerprint, index, part) in of_names {
            // What stands for an element comes in its turn.
            let name = fingerprint >> VERSION_BITS;
            let at = gone.partition_point(|one| one >> VERSION_BITS < name);
            let first = if part.is_horizon() { gone.first() } else { gone.get(at) };
            let first = first.filter(|one| part.is_horizon() || *one >> VERSION_BITS == name);
            found.extend(first.map(|first| (*first, index, part)));
        }
        found.sort_unstable_by_key(|(fingerprint, index, _)| (*fingerprint, *index));
        let (mut bytes, mut taken, mut covered) = (0, 0, fingerprints.len());
        for (fingerprint, _, part) in &found {
            // Elements that share a fingerprint are not parted.
            if bytes >= bytes_max && found[taken - 1].0 < *fingerprint {
                covered = fingerprints.partition_point(|other| other < fingerprint);
                break;
            }
            bytes += part.size();
            taken += 1;
        }
        let mut of_keys: BTreeMap<usize, Vec<Part<'_>>> = BTreeMap::new();
        for (_, index, part) in found.drain(..taken) {
            of_keys.entry(index).or_default().push(part);
        }
        let mut effect = Vec::new();
        for (index, parts) in of_keys {
            let mut delta = DeltaWriter::new(&mut effect, &scans[index].as_ref().key);
            parts.into_iter().for_each(|part| delta.part(part));
            delta.finish();
        }
        (covered, effect)
    }

    /// What is there of these names now, and horizons; `None` when the key is not as it was scanned.
    fn picked(&self, scan: &Scan, names: &Names) -> Option<Vec<(u64, Part<'_>)>> {
        let Scan { slot, key, version, elements } = scan;
        if self.key_version(*slot, key) != *version {
            return None;
        }
        let places = elements.iter().enumerate();
        let mut wanted = places
            .filter(|(_, element)| element.is_horizon || names.contains(element.name))
            .map(|(place, element)| (place, element.fingerprint()))
            .peekable();
        let (mut picked, mut place, mut is_same) = (Vec::new(), 0, true);
        let Some(state) = self.raw_state(*slot, key) else { return Some(picked) };
        let digester = self.digester().of_key(key);
        state.export(|part| {
            if let Some((_, fingerprint)) = wanted.next_if(|(wanted, _)| *wanted == place) {
                let found = Scanned::of(&digester, name_part(&digester, &part), &part, false);
                is_same &= found.fingerprint() == fingerprint;
                picked.push((fingerprint, part));
            }
            place += 1;
        });
        // Elements may have changed places and nothing else.
        (is_same && wanted.peek().is_none()).then_some(picked)
    }
}

/// All elements of a key at one moment, digested, so that several questions about them need no second
/// look at each.
#[derive(Clone, Debug)]
pub struct Scan {
    slot: Slot,
    key: Box<[u8]>,
    /// [`Store::key_version`] of that moment.
    version: Digest,
    /// In the order of the state.
    elements: Vec<Scanned>,
}

impl Scan {
    /// The slot of the key.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// [`Store::key_version`] of the moment at which it was made.
    pub fn version(&self) -> Digest {
        self.version
    }

    /// How many elements there are, tombstones included.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Of every element the upper part of its fingerprint and the end of its digest. Tombstones are left out
    /// unless they are wanted. The digests sum up to that of the key.
    pub fn digests(&self, tombstones: bool) -> impl Iterator<Item = (u16, u64)> {
        let alive = self.elements.iter().filter(move |one| tombstones || !one.is_tombstone);
        alive.map(|element| (element.name, element.digest))
    }

    /// The fingerprints of elements, tombstones included, of which `wanted` picks the upper part.
    pub fn fingerprints(&self, wanted: impl Fn(u16) -> bool) -> impl Iterator<Item = u64> {
        self.elements.iter().filter(move |one| wanted(one.name)).map(Scanned::fingerprint)
    }
}

impl AsRef<Self> for Scan {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// One element of a scan.
#[derive(Clone, Copy, Debug)]
struct Scanned {
    /// The end of its digest.
    digest: u64,
    /// The upper part of its fingerprint.
    name: u16,
    is_horizon: bool,
    is_tombstone: bool,
}

impl Scanned {
    fn of(digester: &KeyDigester, name: u16, part: &Part<'_>, is_tombstone: bool) -> Self {
        let digest = digester.part(part) as u64;
        Self { digest, name, is_horizon: part.is_horizon(), is_tombstone }
    }

    fn fingerprint(&self) -> u64 {
        match self.name {
            0 if self.is_horizon => self.digest & (HORIZONS_END - 1),
            0 => self.digest & (HORIZONS_END - 1) | HORIZONS_END,
            name => u64::from(name) << VERSION_BITS | self.digest & ((1 << VERSION_BITS) - 1),
        }
    }
}

/// The upper parts of some fingerprints.
struct Names {
    /// A bit for each.
    bits: Vec<u64>,
}

impl Names {
    fn of(fingerprints: &[u64]) -> Self {
        let mut bits = vec![0; (1 << NAME_BITS) / u64::BITS as usize];
        for fingerprint in fingerprints {
            let name = (fingerprint >> VERSION_BITS) as usize;
            bits[name / 64] |= 1_u64 << (name % 64);
        }
        Self { bits }
    }

    fn contains(&self, name: u16) -> bool {
        self.bits[usize::from(name) / 64] >> (name % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Origin, Stamp};

    use super::*;
    use crate::{
        StoreOptions,
        cell::Contribution,
        decimal::Decimal,
        delta::deltas,
        object::Kind,
        part::{Body, Owner},
        score::Score,
    };

    const KEY: &[u8] = b"key";

    fn store() -> Store {
        Store::new(StoreOptions {
            origin: Origin(1),
            digest_secret: *b"0123456789abcdef",
            seed: 1,
            keep_removed: true,
        })
    }

    fn stamp(milliseconds: u64) -> Stamp {
        Stamp::new(milliseconds << 16, Origin(0x0001_0001))
    }

    fn merge(store: &mut Store, parts: &[Part<'_>]) {
        let mut effect = Vec::new();
        let mut delta = DeltaWriter::new(&mut effect, KEY);
        parts.iter().for_each(|part| delta.part(*part));
        delta.finish();
        store.merge(Slot::of_key(KEY), &effect, 1_000).expect("is merged");
    }

    fn fingerprints(store: &Store) -> Vec<u64> {
        let mut found: Vec<u64> = scan(store).fingerprints(|_| true).collect();
        found.sort_unstable();
        found
    }

    fn scan(store: &Store) -> Scan {
        store.scan(Slot::of_key(KEY), KEY)
    }

    #[test]
    fn fingerprints_never_change() {
        let sum = Decimal::from_integer(3);
        let score = Score::new(1.5).expect("a number");
        let contribution = Contribution { since: stamp(9), last: stamp(10), sum: sum.into() };
        for (part, golden) in [
            (Part::horizon(stamp(1)), GOLDEN[0]),
            (Part::expiry(stamp(2), Some(90_000)), GOLDEN[1]),
            (Part::string(stamp(3), b"value"), GOLDEN[2]),
            (Part::new(Owner::Object(Kind::Text), b"", Body::Added(contribution)), GOLDEN[3]),
            (Part::element(Kind::Hash, b"name", Body::Bytes(stamp(4), b"value")), GOLDEN[4]),
            (Part::element(Kind::Hash, b"name", Body::Added(contribution)), GOLDEN[5]),
            (Part::element(Kind::Hash, b"name", Body::Removed(stamp(5))), GOLDEN[6]),
            (Part::element(Kind::Set, b"name", Body::Member(stamp(6))), GOLDEN[7]),
            (Part::element(Kind::Set, b"name", Body::Removed(stamp(7))), GOLDEN[8]),
            (Part::element(Kind::SortedSet, b"name", Body::Score(stamp(8), score)), GOLDEN[9]),
            (Part::element(Kind::SortedSet, b"name", Body::Added(contribution)), GOLDEN[10]),
            (Part::element(Kind::SortedSet, b"name", Body::Removed(stamp(11))), GOLDEN[11]),
            (
                Part::element(Kind::Json, b"\x01\x01a", Body::Bytes(stamp(12), b"\x02\x00")),
                GOLDEN[12],
            ),
            (Part::element(Kind::Json, b"\x01\x01a", Body::Added(contribution)), GOLDEN[13]),
            (Part::element(Kind::Json, b"\x01\x01a", Body::Removed(stamp(13))), GOLDEN[14]),
        ] {
            let mut store = store();
            merge(&mut store, &[part]);
            assert_eq!(fingerprints(&store), [golden], "{part:?} {:#x}", fingerprints(&store)[0]);
        }
    }

    /// By another implementation of SipHash-1-3.
    const GOLDEN: [u64; 15] = [
        0x4868_a730_3300,
        0x988e_7f1c_9f64,
        0xe3b1_5d0d_3799,
        0xf919_15e5_1c59,
        0x2ca7_2ee8_9d37_0ab3,
        0x2ca7_0410_a541_2979,
        0x2ca7_51d0_d9bc_6f85,
        0x2ca7_0dca_ed92_9b84,
        0x2ca7_aaa5_4751_d1ea,
        0x2ca7_b424_5bcf_0216,
        0x2ca7_a141_9a9d_4867,
        0x2ca7_c8d9_5c29_bd91,
        0x7ab4_a5ef_4071_79e2,
        0x7ab4_7512_db9e_855d,
        0x7ab4_a8ec_8b44_7a58,
    ];

    #[test]
    fn everything_about_a_name_shares_the_upper_part() {
        let mut store = store();
        merge(
            &mut store,
            &[Part::string(stamp(1), b"v"), Part::element(Kind::Set, b"m", Body::Member(stamp(2)))],
        );
        let before = fingerprints(&store);
        merge(&mut store, &[Part::element(Kind::Set, b"m", Body::Removed(stamp(2)))]);
        let after = fingerprints(&store);
        assert_eq!(before[0] >> VERSION_BITS, 0, "the text belongs to the key");
        assert_eq!(before[0], after[0]);
        assert_eq!(before[1] >> VERSION_BITS, after[1] >> VERSION_BITS);
        assert_ne!(before[1], after[1]);
    }

    #[test]
    fn exports_stop_at_their_bound_and_go_on() {
        let mut store = store();
        let names: Vec<String> = (0..100).map(|number| format!("member {number}")).collect();
        let members = names
            .iter()
            .map(|name| Part::element(Kind::Set, name.as_bytes(), Body::Member(stamp(1))));
        merge(&mut store, &members.collect::<Vec<_>>());
        let (slot, all) = (Slot::of_key(KEY), fingerprints(&store));
        assert!(store.is_larger(slot, KEY, 2_000) && !store.is_larger(slot, KEY, 4_000));
        let mut other = self::store();
        let (mut rest, mut messages) = (&all[..], 0);
        while !rest.is_empty() {
            let (covered, effect) = store.export_elements(&[scan(&store)], rest, 200);
            assert!(covered > 0 && effect.len() < 250, "{covered} {}", effect.len());
            other.merge(slot, &effect, 1_000).expect("is merged");
            rest = &rest[covered..];
            messages += 1;
        }
        assert!((10..20).contains(&messages), "{messages}");
        assert_eq!(other.slot_version(slot), store.slot_version(slot));
    }

    #[test]
    fn for_what_is_gone_stands_what_has_superseded_it() {
        let slot = Slot::of_key(KEY);
        let (mut store, mut other) = (store(), store());
        let old = [
            Part::element(Kind::Set, b"m", Body::Member(stamp(1))),
            Part::element(Kind::Set, b"n", Body::Member(stamp(2))),
        ];
        merge(&mut store, &old);
        merge(&mut other, &old);
        let all = fingerprints(&store);
        // What was scanned before is scanned anew.
        let before = scan(&store);
        merge(&mut store, &[Part::element(Kind::Set, b"m", Body::Removed(stamp(1)))]);
        let (covered, effect) = store.export_elements(&[&before], &all, 1_000);
        assert_eq!(covered, 2);
        other.merge(slot, &effect, 1_000).expect("is merged");
        assert_eq!(other.slot_version(slot), store.slot_version(slot));
        merge(&mut store, &[Part::horizon(stamp(3))]);
        let (_, effect) = store.export_elements(&[&before], &all, 1_000);
        other.merge(slot, &effect, 1_000).expect("is merged");
        assert_eq!(other.slot_version(slot), store.slot_version(slot));
        let never = [all[0] ^ 1 << 60];
        let (_, effect) = store.export_elements(&[&before], &never, 1_000);
        assert_eq!(deltas(&effect).count(), 1, "the horizon");
    }
}
