//! Where state changes: merging effects that are known to be well-formed, and carrying expiries
//! out.

use std::hash::BuildHasher as _;

use quorate_proto::{Slot, Stamp, mutant::Mutant};

use crate::{
    Store,
    arena::{Arena, PlainString},
    delta::{Delta, deltas},
    digest::Digest,
    object::Kind,
    part::{Body, Owner, Part},
    state::{Context, KeyState, State},
    table::Spot,
    tombstone::Forgettable,
};

impl Store {
    /// Merges an effect that is known to be well-formed.
    pub(crate) fn apply(&mut self, slot: Slot, effect: &[u8]) {
        for delta in deltas(effect).map_while(Result::ok) {
            let mut spot = self.look_up(slot, delta.key);
            self.apply_delta(slot, &mut spot, delta);
        }
    }

    /// Carries out the times to live that are over at `wall_ms`, and were for whoever wrote an effect
    /// that is about to be merged: what the writer found ended must not show beside what it has
    /// written. Merging alone knows no time, and gives the same in any order.
    pub fn end_before(&mut self, slot: Slot, effect: &[u8], wall_ms: u64) {
        if self.expiry.first_due(wall_ms).is_none() {
            return;
        }
        for delta in deltas(effect).map_while(Result::ok) {
            let mut spot = self.look_up(slot, delta.key);
            let parts = delta.parts().map_while(Result::ok);
            let state = self.state_at(slot, &spot).filter(|state| state.is_expired(wall_ms));
            if state.is_some_and(|state| ends_before(state, parts)) {
                self.carry_out(slot, delta.key, &mut spot);
            }
        }
    }

    /// Carries out the expiry of a key, and counts it.
    pub(crate) fn carry_out(&mut self, slot: Slot, key: &[u8], spot: &mut Spot) {
        self.change(slot, key, spot, |state, context| (state.expire(context), true));
        self.expired += 1;
    }

    /// Merges a delta, known to be well-formed, of a key that has been looked up.
    pub(crate) fn apply_delta(&mut self, slot: Slot, spot: &mut Spot, delta: Delta<'_>) {
        if let Some((value, stamp)) = only_string(delta)
            && self.write_string(slot, spot, PlainString { key: delta.key, value, stamp })
        {
            return;
        }
        let parts = || delta.parts().map_while(Result::ok);
        self.change(slot, delta.key, spot, |state, context| {
            let (mut change, mut removed): (Digest, bool) = (0, false);
            let is_new = matches!(state, KeyState::Blank);
            if is_new && let (Some(first), Some(_)) = (parts().next(), parts().nth(1)) {
                state.reserve(first.owner(), delta.length());
            }
            if state.view().has_ended() {
                // What lifts the end comes before what the end would hold back.
                for part in parts().filter(|part| part.owner() == Owner::Key) {
                    change = change.wrapping_add(state.merge(context, &part));
                }
            }
            for part in parts() {
                if Mutant::ExpiryLost.is_planted() && matches!(part.body(), Body::Until(..)) {
                    continue;
                }
                removed |= part.is_tombstone();
                change = change.wrapping_add(state.merge(context, &part));
            }
            if is_new {
                state.fit();
            }
            (change, removed)
        });
    }

    /// Merges the value of a string into a key that is another plain string, or that is not there:
    /// the commonest of all writes. Returns whether it could.
    fn write_string(&mut self, slot: Slot, spot: &mut Spot, string: PlainString<'_>) -> bool {
        // A state drops what has the stamp zero, so this way must not keep it.
        let fits = string.fits() && !string.stamp.is_zero();
        if !fits || spot.is_boxed() || Mutant::ArrivalOrder.is_planted() {
            return false;
        }
        let table = &mut self.slots[slot.index()];
        let digester = self.digester.of_key(string.key);
        let digest_of = |stamp| digester.part(&Part::string(stamp, &[]));
        let mut change = digest_of(string.stamp);
        if let Some(place) = table.place_mut(spot) {
            let old = self.strings.get(*place);
            if (string.stamp, string.value) <= (old.stamp, old.value) {
                return true;
            }
            change = change.wrapping_sub(digest_of(old.stamp));
            if !self.strings.overwrite(*place, string.value, string.stamp) {
                let Some(new) = self.strings.push(string) else { return false };
                self.strings.remove(*place);
                *place = new;
            }
        } else {
            let Some(place) = self.strings.push(string) else { return false };
            table.put(&self.strings, &self.hasher, spot, place);
            table.live += 1;
            self.live[usize::from(slot.group())] += 1;
        }
        table.digest = table.digest.wrapping_add(drifted(spot.hash, change));
        self.drain();
        true
    }

    /// Changes the state of a key that has been looked up: `merge` returns the change of the
    /// digest, and whether it may have made tombstones.
    pub(crate) fn change(
        &mut self,
        slot: Slot,
        key: &[u8],
        spot: &mut Spot,
        merge: impl FnOnce(&mut KeyState, Context<'_>) -> (Digest, bool),
    ) {
        let epoch = self.epoch;
        let digester = self.digester.of_key(key);
        let context = Context { digester: &digester, hasher: &self.hasher, epoch };
        let table = &mut self.slots[slot.index()];
        let state = table.boxed(&mut self.strings, &self.hasher, spot, key);
        let before = state.view();
        let (was_live, expired_at) = (before.is_live(), before.expires_at());
        let timed_before = expired_at.filter(|_| was_live);
        let tombstones_before = before.tombstones_digest(context);
        let (change, removed) = merge(state, context);
        if removed && (!self.keep_removed || Mutant::TombstonesForgotten.is_planted()) {
            state.forget(context, Forgettable::EVERYTHING);
        } else if removed && state.wants_reminder(epoch) {
            self.tombstones.push(epoch, slot, key);
        }
        let after = state.view();
        let (is_live, expires_at) = (after.is_live(), after.expires_at());
        let timed_after = expires_at.filter(|_| is_live);
        let tombstones_change = after.tombstones_digest(context).wrapping_sub(tombstones_before);
        // A box is more than is needed for a plain string, or for nothing.
        let is_settled = state.as_plain().is_some() || !is_live && state.view().is_blank();
        self.expiry.reschedule((slot, spot.hash), expired_at, expires_at);
        table.digest = table.digest.wrapping_add(drifted(spot.hash, change));
        table.tombstones = table.tombstones.wrapping_add(tombstones_change);
        let of_group = &mut self.live[usize::from(slot.group())];
        for live in [&mut table.live, of_group] {
            *live = *live + usize::from(is_live) - usize::from(was_live);
        }
        if timed_before != timed_after {
            self.timed.change(timed_before, timed_after);
        }
        self.feed.note(slot, key);
        if is_settled {
            self.tidy(slot, key, spot);
        }
    }

    /// Drops the box of a key of which nothing is left, or nothing but a plain string.
    pub(crate) fn tidy(&mut self, slot: Slot, key: &[u8], spot: &mut Spot) {
        let table = &mut self.slots[slot.index()];
        let Some(state) = table.state_mut(spot) else { return };
        if state.view().is_blank() {
            table.remove(spot);
        } else if let Some((value, stamp)) = state.as_plain() {
            let string = PlainString { key, value, stamp };
            if string.fits()
                && let Some(place) = self.strings.push(string)
            {
                table.remove(spot);
                table.put(&self.strings, &self.hasher, spot, place);
            }
        }
        self.drain();
    }

    /// Moves the strings of a chunk that is full of gaps together.
    fn drain(&mut self) {
        let Some(chunk) = self.strings.take_due() else { return };
        for (old, string) in Arena::entries(&chunk) {
            let hash = self.hasher.hash_one(string.key);
            let table = &mut self.slots[self.partitioner.slot(string.key).index()];
            // What the table does not know has been overwritten or removed.
            let Some(place) = table.find_place(hash, old) else { continue };
            let new = self.strings.push(string);
            *place = new.expect("invariant: a chunk with gaps fits into what pushes left");
        }
        self.strings.release(chunk);
    }
}

/// Whether the time to live of a key was over when parts of it were written, and nobody who wrote
/// them had set another one in time.
fn ends_before<'a>(state: State<'_>, mut parts: impl Iterator<Item = Part<'a>>) -> bool {
    let (Some(at_ms), Some(set)) = (state.expires_at(), state.expiry_stamp()) else { return false };
    let mut is_over = false;
    let is_lifted = parts.any(|part| {
        let is_late = part.stamp().milliseconds() >= at_ms;
        is_over |= is_late;
        !is_late && matches!(part.body(), Body::Until(stamp, _) if stamp > set)
    });
    is_over && !is_lifted
}

/// The value and stamp of a delta that is nothing but a string's value.
fn only_string(delta: Delta<'_>) -> Option<(&[u8], Stamp)> {
    if !delta.begins_with_string() {
        return None;
    }
    let mut parts = delta.parts();
    let part = parts.next()?.ok()?;
    match (part.owner(), part.body()) {
        (Owner::Object(Kind::Text), Body::Bytes(stamp, value)) if parts.next().is_none() => {
            Some((value, stamp))
        }
        _ => None,
    }
}

/// The change of a digest, which a planted bug loses at times.
fn drifted(hash: u64, change: Digest) -> Digest {
    let drifts = Mutant::DigestDrifts.is_planted() && (hash ^ change as u64).is_multiple_of(16);
    if drifts { 0 } else { change }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use quorate_proto::{Origin, Start, command::Call, resp::Command};

    use crate::{Request, StoreOptions, random::Random};

    use super::*;

    fn store() -> Store {
        Store::new(StoreOptions {
            origin: Origin::new(0, Start::from_random(1)),
            digest_secret: [7; 16],
            seed: 1,
            keep_removed: false,
        })
    }

    fn run(store: &mut Store, words: &[&[u8]]) -> Vec<u8> {
        let (mut reply, mut effect) = (Vec::new(), Vec::new());
        let call = Call::piece(Slot::of_key(words[1]), Command::from_args(words));
        let request = Request { call: &call, wall_ms: 1_000, resp3: false };
        store.execute(request, &mut reply, &mut effect);
        reply
    }

    fn bulk(value: Option<&Vec<u8>>) -> Vec<u8> {
        let Some(value) = value else { return b"$-1\r\n".to_vec() };
        [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
    }

    /// What a client does to a string whose value may be shorter or longer than what lies in
    /// chunks.
    fn step() -> impl Strategy<Value = (u8, u16, usize)> {
        (0..8_u8, 0..300_u16, prop_oneof![0..200_usize, 0..2_000_usize])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 20, ..ProptestConfig::default() })]

        #[test]
        fn strings_are_found_wherever_they_lie(steps in prop::collection::vec(step(), 1..3_000)) {
            let mut store = store();
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for (what, number, length) in steps {
                let key = format!("key:{number}").into_bytes();
                let value = vec![b'a' + (length % 26) as u8; length];
                match what {
                    0 => {
                        run(&mut store, &[b"DEL", &key]);
                        model.remove(&key);
                    }
                    1 => {
                        run(&mut store, &[b"APPEND", &key, &value]);
                        model.entry(key.clone()).or_default().extend_from_slice(&value);
                    }
                    2 => {
                        // A time to live moves it into a box, and its end back.
                        run(&mut store, &[b"EXPIRE", &key, b"100"]);
                        run(&mut store, &[b"SET", &key, &value]);
                        model.insert(key.clone(), value);
                    }
                    _ => {
                        run(&mut store, &[b"SET", &key, &value]);
                        model.insert(key.clone(), value);
                    }
                }
                prop_assert_eq!(run(&mut store, &[b"GET", &key]), bulk(model.get(&key)));
            }
            for (key, value) in &model {
                prop_assert_eq!(run(&mut store, &[b"GET", key]), bulk(Some(value)));
                prop_assert_eq!(store.scrub_slot(Slot::of_key(key)).mismatches(), 0);
            }
            prop_assert_eq!(store.len(), model.len());
        }
    }

    #[test]
    fn gaps_take_a_bounded_share() {
        let (mut store, mut random) = (store(), Random::new(5));
        let mut lengths = BTreeMap::new();
        for _ in 0..60_000 {
            let (number, length) = (random.below(2_000), random.below(400));
            run(&mut store, &[b"SET", format!("key:{number}").as_bytes(), &vec![b'v'; length]]);
            lengths.insert(number, length);
        }
        let live: usize = lengths.values().map(|length| length + 32).sum();
        let held = store.strings.held_bytes();
        assert!(held < live * 3 / 2 + (2 << 16), "{held} for {live}");
        for (number, length) in lengths {
            let reply = run(&mut store, &[b"GET", format!("key:{number}").as_bytes()]);
            assert_eq!(reply, bulk(Some(&vec![b'v'; length])));
        }
    }
}
