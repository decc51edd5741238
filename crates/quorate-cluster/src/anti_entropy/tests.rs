//! Rounds between two nodes whose data is a map.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
};

use quorate_proto::{message::Cause, slot::GROUPS};

use super::*;
use crate::{
    elements::{self, Limits},
    limits::{SYNC_BURST_BYTES, SYNC_FINGERPRINTS_MAX, SYNC_STATES_BYTES},
};

/// Keys with a version each; the state of a key is its version, merged by maximum.
#[derive(Clone)]
pub(super) struct Data {
    slots: BTreeMap<Slot, BTreeMap<Bytes, u64>>,
    sums: BTreeMap<Slot, u128>,
    /// Members of some keys; each is its own fingerprint.
    members: BTreeMap<Bytes, BTreeSet<u64>>,
    /// Bits of a member that its fingerprint does not show.
    blurred: u64,
    limits: Limits,
    /// Bytes that each state takes in addition.
    padding: usize,
    /// Slots that are not shared.
    private: BTreeSet<Slot>,
    /// What the peer is known to lack something in.
    dirty: Groups,
    epoch: u32,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            sums: BTreeMap::new(),
            members: BTreeMap::new(),
            blurred: 0,
            limits: Limits::DEFAULT,
            padding: 0,
            private: BTreeSet::new(),
            dirty: Groups::NONE,
            epoch: 0,
        }
    }
}

impl Data {
    /// The same with states that take so many bytes more each.
    pub(super) fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    fn of(keys: &[(&'static str, u64)]) -> Self {
        let mut data = Self::default();
        keys.iter().for_each(|(key, version)| data.set(Bytes::from(*key), *version));
        data
    }

    /// Keys that begin with `prefix`, in version 1.
    pub(super) fn numbered(prefix: &str, count: u32) -> Self {
        let mut data = Self::default();
        (0..count).for_each(|number| data.set(format!("{prefix}{number:08}").into(), 1));
        data
    }

    fn set(&mut self, key: Bytes, version: u64) {
        let slot = Slot::of_key(&key);
        let sum = self.sums.entry(slot).or_default();
        let state = self.slots.entry(slot).or_default().entry(key.clone()).or_default();
        if *state > 0 {
            *sum = sum.wrapping_sub(digest(&key, *state));
        }
        *state = version;
        *sum = sum.wrapping_add(digest(&key, version));
    }

    fn add(&mut self, key: &'static str, members: impl IntoIterator<Item = u64>) {
        self.set(key.into(), 1);
        members.into_iter().for_each(|one| self.add_one(key.as_bytes(), one));
    }

    fn add_one(&mut self, key: &[u8], member: u64) {
        if self.members.entry(Bytes::copy_from_slice(key)).or_default().insert(member) {
            let sum = self.sums.entry(Slot::of_key(key)).or_default();
            *sum = sum.wrapping_add(member.into());
        }
    }

    fn members(&self, key: &[u8]) -> &BTreeSet<u64> {
        static NONE: BTreeSet<u64> = BTreeSet::new();
        self.members.get(key).unwrap_or(&NONE)
    }

    fn digest(&self, key: &[u8], version: u64) -> u128 {
        let members = self.members(key).iter().map(|one| u128::from(*one));
        members.fold(digest(key, version), u128::wrapping_add)
    }

    fn remove(&mut self, key: &[u8]) {
        let slot = Slot::of_key(key);
        let version = self.slots.get_mut(&slot).and_then(|keys| keys.remove(key));
        let change = digest(key, version.expect("a key"));
        let sum = self.sums.get_mut(&slot).expect("a slot");
        *sum = sum.wrapping_sub(change);
    }

    pub(super) fn all(&self) -> BTreeMap<&Bytes, u64> {
        self.slots.values().flatten().map(|(key, version)| (key, *version)).collect()
    }

    /// The first key of every slot.
    fn first_keys(&self) -> Vec<Bytes> {
        self.slots.values().filter_map(|keys| keys.keys().next().cloned()).collect()
    }
}

fn digest(key: &[u8], version: u64) -> u128 {
    let seed = u128::from(version).wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645);
    key.iter().fold(seed, |sum, byte| {
        (sum ^ u128::from(*byte)).wrapping_mul(0x0123_4567_89ab_cdef_0fed_cba9_8765_4321)
    })
}

impl Elements for Data {
    fn depends_on_all(&self, _slot: Slot, _key: &[u8]) -> bool {
        false
    }

    fn element_limits(&self) -> Limits {
        self.limits
    }

    fn is_large(&self, _: Slot, key: &[u8]) -> bool {
        self.members(key).len() > 3
    }

    fn element_count(&self, _: Slot, key: &[u8]) -> usize {
        self.members(key).len()
    }

    fn key_digest(&self, slot: Slot, key: &[u8], _: Scope) -> u128 {
        let version = self.slots.get(&slot).and_then(|keys| keys.get(key));
        version.map_or(0, |version| self.digest(key, *version))
    }

    fn for_each_digest(&self, _: Slot, key: &[u8], _: Scope, mut each: impl FnMut(u16, u64)) {
        self.members(key).iter().for_each(|one| each((one >> 48) as u16, *one));
    }

    fn for_each_fingerprint(
        &self,
        _: Slot,
        key: &[u8],
        wanted: impl Fn(u16) -> bool,
        each: impl FnMut(u64),
    ) {
        let all = self.members(key).iter().map(|one| one & !self.blurred);
        all.filter(|one| wanted((one >> 48) as u16)).for_each(each);
    }

    fn export_elements(
        &self,
        _: Slot,
        keys: &[Bytes],
        fingerprints: &[u64],
        bytes_max: usize,
    ) -> (usize, Bytes) {
        let (key, mut members) = (&keys[0], Vec::new());
        for (covered, fingerprint) in fingerprints.iter().enumerate() {
            if covered > 0 && members.len() * 8 >= bytes_max {
                return (covered, encode(key, 1, &members, 0).into());
            }
            let all = self.members(key).iter().copied();
            members.extend(all.filter(|one| one & !self.blurred == *fingerprint));
        }
        (fingerprints.len(), encode(key, 1, &members, 0).into())
    }
}

/// A state: a version of a key, and members.
fn encode(key: &[u8], version: u64, members: &[u64], padding: usize) -> Vec<u8> {
    let mut out = alloc::vec![key.len() as u8];
    out.extend_from_slice(key);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&(members.len() as u32).to_le_bytes());
    members.iter().for_each(|one| out.extend_from_slice(&one.to_le_bytes()));
    out.extend_from_slice(&(padding as u32).to_le_bytes());
    out.resize(out.len() + padding, 0);
    out
}

impl Digests for Data {
    fn groups(&self) -> Vec<u16> {
        (0..GROUPS).collect()
    }

    fn slot_digests(&self, group: u16, peer: MemberNumber, scope: Scope) -> Vec<(Slot, u128)> {
        Slot::of_group(group)
            .filter_map(|slot| Some((slot, self.slot_digest(slot, peer, scope)?)))
            .collect()
    }

    fn slot_digest(&self, slot: Slot, _: MemberNumber, _: Scope) -> Option<u128> {
        let sum = self.sums.get(&slot).copied().unwrap_or_default();
        (!self.private.contains(&slot)).then_some(sum)
    }

    fn for_each_key(
        &self,
        slot: Slot,
        wanted: impl Fn(&[u8]) -> bool,
        mut each: impl FnMut(&[u8], u128),
    ) {
        let keys = self.slots.get(&slot).into_iter().flatten();
        for (key, version) in keys.filter(|(key, _)| wanted(key)) {
            each(key, self.digest(key, *version));
        }
    }

    fn export_keys(&self, slot: Slot, keys: &[Bytes], bytes_max: usize) -> (usize, Bytes) {
        let mut out = Vec::new();
        for (covered, key) in keys.iter().enumerate() {
            if covered > 0 && out.len() >= bytes_max {
                return (covered, out.into());
            }
            if let Some(version) = self.slots.get(&slot).and_then(|keys| keys.get(key)) {
                let members: Vec<u64> = self.members(key).iter().copied().collect();
                out.extend_from_slice(&encode(key, *version, &members, self.padding));
            }
        }
        (keys.len(), out.into())
    }

    fn merge_states(&mut self, slot: Slot, states: &Bytes) -> Option<Bytes> {
        let mut rest = &states[..];
        while let Some((length, tail)) = rest.split_first() {
            let (key, tail) = tail.split_at(usize::from(*length));
            let (version, tail) = tail.split_first_chunk().expect("a version");
            let (count, mut tail) = tail.split_first_chunk().expect("a number");
            for _ in 0..u32::from_le_bytes(*count) {
                let (member, more) = tail.split_first_chunk().expect("a member");
                self.add_one(key, u64::from_le_bytes(*member));
                tail = more;
            }
            let (padding, tail) = tail.split_first_chunk().expect("a length");
            rest = &tail[u32::from_le_bytes(*padding) as usize..];
            let ours = self.slots.get(&slot).and_then(|keys| keys.get(key)).copied();
            let newest = u64::from_le_bytes(*version).max(ours.unwrap_or_default());
            self.set(Bytes::copy_from_slice(key), newest);
        }
        Some(Bytes::new())
    }

    fn scope(&self) -> Scope {
        Scope::Alive
    }

    fn begin_epoch(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }

    fn dirty(&self, _: MemberNumber) -> Groups {
        self.dirty
    }

    fn other_replicas(&self, _: u16) -> Vec<MemberNumber> {
        alloc::vec![PEER]
    }

    fn clock_ms(&self) -> u64 {
        0
    }

    fn floor_ms(&self, _: u16) -> u64 {
        0
    }
}

/// What a round came to.
#[derive(Debug, Default)]
struct Tally {
    /// Keys that differed.
    keys: u64,
    requests: usize,
    /// Bytes of messages and their frames, both ways.
    bytes: u64,
    /// Bytes of the messages alone.
    body_bytes: usize,
    /// Bytes of the largest message.
    largest: usize,
    /// Requests and responses, by kind.
    kinds: BTreeMap<u8, usize>,
    /// How long it took.
    took: core::time::Duration,
}

impl Tally {
    fn count(&mut self, message: &Message) {
        let mut body = Vec::new();
        message.encode_body(&mut body);
        self.bytes += wire_bytes(message);
        self.body_bytes += body.len();
        self.largest = self.largest.max(body.len());
        *self.kinds.entry(message.kind()).or_default() += 1;
    }
}

const ME: MemberNumber = MemberNumber(0);
const PEER: MemberNumber = MemberNumber(1);
const DRY: Order = Order { groups: Groups::ALL, dry: true };

/// What `theirs` responds to a request.
pub(super) fn respond(theirs: &mut Data, message: &Message) -> Message {
    let answer = answer(theirs, ME, message).or_else(|| elements::answer(theirs, message));
    answer.unwrap_or_else(|| {
        let Message::Replicate { slot, effect, .. } = message else {
            panic!("unexpected request {message:?}");
        };
        theirs.merge_states(*slot, effect);
        Message::Ack
    })
}

/// Runs one round between two nodes.
fn measure(sync: &mut AntiEntropy, ours: &mut Data, theirs: &mut Data) -> Tally {
    let mut now = Instant::ZERO;
    let start = now;
    let mut tally = Tally::default();
    sync.handle_timeout(now, ours);
    loop {
        while let Some(output) = sync.poll_output() {
            match output {
                Output::Completed { keys, .. } => tally.keys = keys,
                Output::Begun { .. } | Output::Settled(_) | Output::Answer(_) => {}
                Output::Send { correlation, message, .. } => {
                    tally.requests += 1;
                    tally.count(&message);
                    let response = respond(theirs, &message);
                    tally.count(&response);
                    sync.handle_response(now, ours, PEER, correlation, response);
                }
            }
        }
        if sync.running_with().is_none() {
            tally.took = now.since(start);
            return tally;
        }
        // Nothing takes any time here but the pace.
        now = sync.poll_timeout().expect("the round goes on").max(now);
        sync.handle_timeout(now, ours);
    }
}

fn tally(ours: &mut Data, theirs: &mut Data) -> Tally {
    let mut sync = AntiEntropy::new([PEER]);
    sync.request(Instant::ZERO, PEER);
    let tally = measure(&mut sync, ours, theirs);
    assert_eq!(sync.record(PEER).bytes, tally.bytes);
    assert_eq!(sync.record(PEER).rounds, 1, "the round did not succeed");
    tally
}

/// Runs one round between two nodes; returns the keys that differed and the requests sent.
fn round(ours: &mut Data, theirs: &mut Data) -> (u64, usize) {
    let tally = tally(ours, theirs);
    (tally.keys, tally.requests)
}

#[test]
fn both_sides_end_up_with_the_newest_of_everything() {
    let mut ours = Data::of(&[("a", 1), ("b", 5), ("same", 3)]);
    let mut theirs = Data::of(&[("a", 2), ("b", 4), ("same", 3), ("theirs", 1)]);
    let (keys, _) = round(&mut ours, &mut theirs);
    assert_eq!(keys, 3);
    let expected = Data::of(&[("a", 2), ("b", 5), ("same", 3), ("theirs", 1)]);
    assert_eq!(ours.all(), expected.all());
    assert_eq!(theirs.all(), expected.all());
}

#[test]
fn equal_data_costs_one_comparison_a_group() {
    let mut ours = Data::of(&[("a", 1), ("b", 2)]);
    let mut theirs = Data::of(&[("a", 1), ("b", 2)]);
    assert_eq!(round(&mut ours, &mut theirs), (0, usize::from(GROUPS)));
}

#[test]
fn what_only_we_have_is_pushed() {
    let mut ours = Data::of(&[("a", 1), ("b", 2)]);
    let mut theirs = Data::default();
    assert_eq!(round(&mut ours, &mut theirs).0, 2);
    assert_eq!(ours.all(), theirs.all());
}

#[test]
fn a_difference_that_passes_is_not_exchanged() {
    let (now, peer) = (Instant::ZERO, MemberNumber(1));
    let mut ours = Data::of(&[("a", 1)]);
    let theirs = Data::of(&[("a", 2)]);
    let mut sync = AntiEntropy::new([PEER]);
    sync.request(now, peer);
    sync.handle_timeout(now, &mut ours);
    loop {
        match sync.poll_output().expect("the round goes on") {
            Output::Completed { keys, .. } => break assert_eq!(keys, 0),
            Output::Begun { .. } | Output::Settled(_) | Output::Answer(_) => {}
            Output::Send { correlation, message, .. } => {
                let question =
                    matches!(message, Message::CompareGroup { .. } | Message::CompareSlot { .. });
                assert!(question, "unexpected {message:?}");
                let response = answer(&theirs, MemberNumber(0), &message).expect("a question");
                if matches!(response, Message::GroupDiffers { .. }) {
                    // The write that was on its way arrives before the second look.
                    ours = Data::of(&[("a", 2)]);
                }
                sync.handle_response(now, &mut ours, peer, correlation, response);
            }
        }
    }
}

#[test]
fn a_round_in_which_something_was_refused_is_repeated() {
    let (now, peer) = (Instant::ZERO, MemberNumber(1));
    let mut ours = Data::of(&[("a", 1)]);
    let theirs = Data::default();
    let mut sync = AntiEntropy::new([PEER]);
    sync.request(now, peer);
    sync.handle_timeout(now, &mut ours);
    let mut refused = 0;
    while let Some(output) = sync.poll_output() {
        let Output::Send { correlation, message, .. } = output else {
            assert_eq!(output, Output::Begun { peer: PEER }, "not everything was taken");
            continue;
        };
        let response = answer(&theirs, MemberNumber(0), &message).unwrap_or_else(|| {
            refused += 1;
            Message::Rejected { cause: Cause::StoreFull, text: "full".into() }
        });
        sync.handle_response(now, &mut ours, peer, correlation, response);
    }
    assert_eq!(refused, 1);
    assert_eq!(sync.poll_timeout(), Some(now), "it looks for what is dirty");
    sync.handle_timeout(now, &mut ours);
    assert_eq!(sync.poll_output(), None);
    assert_eq!(sync.poll_timeout(), Some(now + SYNC_PAUSE));
    sync.handle_timeout(now + SYNC_PAUSE, &mut ours);
    assert_eq!(sync.poll_output(), Some(Output::Begun { peer: PEER }));
    assert!(matches!(sync.poll_output(), Some(Output::Send { .. })));
}

/// The moments at which rounds over dirty groups begin with a peer that refuses the first one for `cause`.
fn begins_again(cause: Cause) -> Vec<Duration> {
    let (mut ours, theirs) = (Data::of(&[("a", 1)]), Data::default());
    ours.dirty.insert(Slot::of_key(b"a").group());
    let mut sync = AntiEntropy::new([PEER]);
    sync.handle_peer_up(Instant::ZERO, PEER);
    sync.handle_adopted(Instant::ZERO);
    let (mut now, mut begun) = (Instant::ZERO, Vec::new());
    while begun.len() < 2 {
        now = sync.poll_timeout().expect("it looks again").max(now);
        sync.handle_timeout(now, &mut ours);
        begun.extend(sync.running_with().map(|_| now.since(Instant::ZERO)));
        while let Some(Output::Send { correlation, message, .. }) = sync.poll_output() {
            let refusal = Message::Rejected { cause, text: "not now".into() };
            let answered = answer(&theirs, MemberNumber(0), &message).filter(|_| begun.len() > 1);
            let response = answered.unwrap_or(refusal);
            sync.handle_response(now, &mut ours, PEER, correlation, response);
        }
    }
    begun
}

#[test]
fn a_round_that_was_refused_for_its_epoch_begins_again_soon() {
    let zero = Duration::ZERO;
    assert_eq!(begins_again(Cause::StaleEpoch), [zero, SYNC_STALE_PAUSE]);
    assert_eq!(begins_again(Cause::Overloaded), [zero, SYNC_PAUSE]);
}

#[test]
fn the_next_round_begins_as_soon_as_one_has_ended() {
    let mut ours = Data::of(&[("a", 1)]);
    ours.dirty.insert(Slot::of_key(b"a").group());
    let (mut theirs, other) = (ours.clone(), MemberNumber(2));
    let mut sync = AntiEntropy::new([PEER, other]);
    sync.handle_peer_up(Instant::ZERO, PEER);
    sync.handle_peer_up(Instant::ZERO, other);
    sync.handle_adopted(Instant::ZERO);
    for peer in [PEER, other] {
        assert_eq!(sync.poll_timeout(), Some(Instant::ZERO));
        sync.handle_timeout(Instant::ZERO, &mut ours);
        assert_eq!(sync.running_with(), Some(peer));
        serve(&mut sync, &mut ours, &mut theirs);
    }
}

#[test]
fn a_round_with_a_lost_peer_ends_and_another_can_start() {
    let mut data = Data::of(&[("a", 1)]);
    let mut sync = AntiEntropy::new([PEER, MemberNumber(2)]);
    sync.request(Instant::ZERO, MemberNumber(1));
    sync.handle_timeout(Instant::ZERO, &mut data);
    assert_eq!(sync.poll_output(), Some(Output::Begun { peer: MemberNumber(1) }));
    let Some(Output::Send { correlation, .. }) = sync.poll_output() else { panic!("asks") };
    sync.handle_peer_down(MemberNumber(1));
    while sync.poll_output().is_some() {}
    sync.handle_response(Instant::ZERO, &mut data, MemberNumber(1), correlation, Message::SlotSame);
    assert_eq!(sync.poll_output(), None);
    sync.request(Instant::ZERO, MemberNumber(2));
    sync.handle_timeout(Instant::ZERO, &mut data);
    assert_eq!(sync.poll_output(), Some(Output::Begun { peer: MemberNumber(2) }));
    assert!(matches!(sync.poll_output(), Some(Output::Send { to: MemberNumber(2), .. })));
}

/// 610 keys in each of `count` slots, spread evenly over the groups: the slots of ten million keys
/// that may differ. The others cost the same however many keys they hold.
fn crowded(count: usize) -> Data {
    let mut data = Data { padding: 50, ..Data::default() };
    let (mut slots, mut of_group) = (BTreeSet::new(), [0; GROUPS as usize]);
    let of_group_max = count.div_ceil(usize::from(GROUPS));
    let tags = (0..).map(|number| format!("{{t{number}}}"));
    let spread = tags.filter(|tag| {
        let slot = Slot::of_key(tag.as_bytes());
        let of_group: &mut usize = &mut of_group[usize::from(slot.group())];
        let wanted = *of_group < of_group_max && slots.insert(slot);
        *of_group += usize::from(wanted);
        wanted
    });
    for tag in spread.take(count) {
        (0..610).for_each(|number| data.set(format!("{tag}:{number:08}").into(), 1));
    }
    data
}

#[test]
fn ten_million_equal_keys_cost_under_ten_kilobytes() {
    let mut ours = crowded(100);
    let tally = tally(&mut ours.clone(), &mut ours);
    assert_eq!((tally.keys, tally.requests), (0, usize::from(GROUPS)));
    assert!(tally.bytes < 10_000, "with frames: {tally:?}");
}

#[test]
fn one_missing_key_of_ten_million_costs_under_twelve_kilobytes() {
    let all = crowded(100);
    for ours_lacks in [false, true] {
        let (mut ours, mut theirs) = (all.clone(), all.clone());
        let key = &all.first_keys()[50];
        if ours_lacks {
            ours.remove(key)
        } else {
            theirs.remove(key)
        }
        let tally = tally(&mut ours, &mut theirs);
        assert_eq!(tally.keys, 1);
        assert!(tally.bytes < 12_000, "{tally:?}");
        assert_eq!((ours.all(), theirs.all()), (all.all(), all.all()));
    }
}

#[test]
fn a_hundred_differences_of_ten_million_cost_under_400_kilobytes() {
    let all = crowded(100);
    let (mut ours, mut theirs) = (all.clone(), all.clone());
    let mut newest = all.clone();
    for (number, key) in all.first_keys().into_iter().enumerate() {
        newest.set(key.clone(), 2);
        let newer = if number % 2 == 0 { &mut ours } else { &mut theirs };
        newer.set(key, 2);
    }
    let tally = tally(&mut ours, &mut theirs);
    assert_eq!(tally.keys, 100);
    assert!(tally.bytes < 400_000, "{tally:?}");
    assert_eq!((ours.all(), theirs.all()), (newest.all(), newest.all()));
}

#[test]
fn a_huge_slot_is_exchanged_in_bounded_messages() {
    let keys = 5 * SYNC_FINGERPRINTS_MAX as u32 / 2;
    for whole_side in [true, false] {
        let mut full = Data::numbered("{huge}", keys);
        full.padding = 100;
        let mut empty = Data { padding: 100, ..Data::of(&[("{huge}x", 3)]) };
        let tally =
            if whole_side { tally(&mut full, &mut empty) } else { tally(&mut empty, &mut full) };
        assert_eq!(tally.keys, u64::from(keys) + 1);
        assert!(tally.largest <= SYNC_STATES_BYTES + 1_000, "{}", tally.largest);
        assert_eq!(full.all(), empty.all());
        // Fingerprints and states, and little else.
        assert!(tally.bytes < u64::from(keys) * (8 + 8 + 140), "{tally:?}");
    }
}

#[test]
fn states_are_cut_to_size() {
    let mut full = Data::numbered("{large}", 20);
    full.padding = SYNC_STATES_BYTES / 2;
    for whole_side in [true, false] {
        let (mut ours, mut theirs) = (full.clone(), Data::default());
        theirs.padding = full.padding;
        if !whole_side {
            core::mem::swap(&mut ours, &mut theirs);
        }
        let tally = tally(&mut ours, &mut theirs);
        assert_eq!((ours.all(), theirs.all()), (full.all(), full.all()));
        assert!(tally.largest < 2 * SYNC_STATES_BYTES, "{}", tally.largest);
    }
}

#[test]
fn however_much_differs_in_a_slot_it_is_found() {
    for differences in [1, 5, 9, 40, 200, 600] {
        let all = crowded(3);
        let (mut ours, mut theirs) = (all.clone(), all.clone());
        let mut newest = all.clone();
        for keys in all.slots.values() {
            for (number, key) in keys.keys().take(differences).enumerate() {
                let newer = if number % 2 == 0 { &mut ours } else { &mut theirs };
                // Sums of the simple digests here must not be equal by chance.
                let version = 2 + (number as u64).pow(2);
                newer.set(key.clone(), version);
                newest.set(key.clone(), version);
            }
        }
        let tally = tally(&mut ours, &mut theirs);
        assert_eq!(tally.keys, 3 * differences as u64);
        assert_eq!((ours.all(), theirs.all()), (newest.all(), newest.all()));
        let by_name = Message::AskKeyDigests { slot: Slot::default() }.kind();
        assert_eq!(tally.kinds.get(&by_name), None, "nothing collides");
    }
}

/// Two versions of `key` with the same fingerprint.
fn colliding_versions(key: &[u8]) -> (u64, u64) {
    let mut met = BTreeMap::new();
    for version in 1.. {
        if let Some(other) = met.insert(fingerprint(key, digest(key, version)), version) {
            return (other, version);
        }
    }
    unreachable!("there are fewer fingerprints than versions")
}

#[test]
fn a_collision_costs_a_repetition_and_hides_nothing() {
    let (old, new) = colliding_versions(b"{s}collides");
    for with_another in [false, true] {
        let mut ours = Data::of(&[("{s}same", 1), ("{s}collides", old)]);
        let mut theirs = Data::of(&[("{s}same", 1), ("{s}collides", new)]);
        if with_another {
            theirs.set("{s}another".into(), 1);
        }
        let newest = theirs.clone();
        let tally = tally(&mut ours, &mut theirs);
        assert_eq!(tally.keys, 1 + u64::from(with_another));
        assert_eq!((ours.all(), theirs.all()), (newest.all(), newest.all()));
        let by_name = Message::AskKeyDigests { slot: Slot::default() }.kind();
        assert_eq!(tally.kinds.get(&by_name), Some(&1));
    }
}

#[test]
fn of_slots_that_are_not_shared_nothing_is_told() {
    let mut data = Data::of(&[("a", 1)]);
    let slot = Slot::of_key(b"a");
    data.private.insert(slot);
    for question in [
        Message::CompareSlot { slot, digest: 0, scope: Scope::Alive, from: 0, symbols: 0 },
        Message::AskFingerprintStates { slot, fingerprints: alloc::vec![1] },
        Message::AskKeyDigests { slot },
        Message::AskKeyStates { slot, keys: alloc::vec!["a".into()] },
    ] {
        let answer = answer(&data, ME, &question);
        let refused = matches!(answer, Some(Message::Rejected { cause: Cause::NotReplica, .. }));
        assert!(refused, "{question:?}");
    }
}

/// Runs a round of `ours` with a peer that answers a question in this way.
fn round_with_liar(ours: &mut Data, lie: &Message) -> Repair {
    let mut theirs = ours.clone();
    theirs.set(theirs.first_keys()[0].clone(), 9);
    round_with_liar_about(ours, &mut theirs, lie)
}

fn round_with_liar_about(ours: &mut Data, theirs: &mut Data, lie: &Message) -> Repair {
    let mut sync = AntiEntropy::new([PEER]);
    sync.request(Instant::ZERO, PEER);
    sync.repair(Instant::ZERO, PEER, Order::WHOLE);
    sync.handle_timeout(Instant::ZERO, ours);
    assert_eq!(sync.poll_output(), Some(Output::Begun { peer: PEER }));
    while let Some(Output::Send { correlation, message, .. }) = sync.poll_output() {
        let honest = respond(theirs, &message);
        let lies = honest.kind() == lie.kind();
        let response = if lies { lie.clone() } else { honest };
        sync.handle_response(Instant::ZERO, ours, PEER, correlation, response);
    }
    sync.record(PEER).repair
}

#[test]
fn sketches_that_make_no_sense_end_the_exchange() {
    for length in [0, 15, 17, 128] {
        let lie = Message::Sketch(alloc::vec![Default::default(); length]);
        assert_eq!(round_with_liar(&mut crowded(1), &lie), Repair::Failed, "{length}");
    }
}

#[test]
fn answers_that_make_no_sense_end_the_exchange() {
    for lie in [
        Message::Fingerprints { until: 1, fingerprints: alloc::vec![2] },
        Message::Fingerprints { until: u64::MAX, fingerprints: alloc::vec![2, 2] },
        Message::Fingerprints { until: u64::MAX, fingerprints: alloc::vec![3, 2] },
        Message::FingerprintStates { covered: 0, states: Bytes::new() },
        Message::FingerprintStates { covered: 2, states: Bytes::new() },
    ] {
        assert_eq!(round_with_liar(&mut Data::of(&[("a", 1)]), &lie), Repair::Failed, "{lie:?}");
    }
    // A peer that makes up other fingerprints each time is not listened to for ever.
    let lie = Message::FingerprintStates { covered: 1, states: Bytes::new() };
    assert_eq!(round_with_liar(&mut Data::of(&[("a", 1)]), &lie), Repair::Done);
}

#[test]
fn a_comparison_counts_slots_and_exchanges_nothing() {
    let all = crowded(3);
    let mut ours = all.clone();
    all.first_keys().iter().for_each(|key| ours.remove(key));
    let before = ours.clone();
    let mut sync = AntiEntropy::new([PEER]);
    sync.request(Instant::ZERO, PEER);
    sync.repair(Instant::ZERO, PEER, DRY);
    let mut theirs = all.clone();
    // The comparison comes first, and the round that was due afterwards.
    sync.handle_timeout(Instant::ZERO, &mut ours);
    while let Some(Output::Send { correlation, message, .. }) = sync.poll_output() {
        let response = respond(&mut theirs, &message);
        sync.handle_response(Instant::ZERO, &mut ours, PEER, correlation, response);
    }
    let record = sync.record(PEER);
    assert_eq!((record.slots, record.rounds, record.repair), (3, 0, Repair::Done));
    assert_eq!((ours.all(), theirs.all()), (before.all(), all.all()));
    assert!(record.bytes < 24_000, "{}", record.bytes);
    assert_eq!(measure(&mut sync, &mut ours, &mut theirs).keys, 3);
    assert_eq!(ours.all(), all.all());
    assert_eq!(sync.record(PEER).done_at, Some(Instant::ZERO));
}

#[test]
fn a_repair_with_a_lost_peer_fails() {
    let mut sync = AntiEntropy::new([PEER]);
    sync.repair(Instant::ZERO, PEER, Order::WHOLE);
    assert_eq!(sync.record(PEER).repair, Repair::Failed);
    sync.request(Instant::ZERO, PEER);
    sync.repair(Instant::ZERO, PEER, Order::WHOLE);
    assert_eq!(sync.record(PEER).repair, Repair::Waiting(Order::WHOLE));
    sync.handle_timeout(Instant::ZERO, &mut Data::default());
    assert_eq!(sync.record(PEER).repair, Repair::Running);
    sync.handle_peer_down(PEER);
    assert_eq!(sync.record(PEER).repair, Repair::Failed);
}

#[test]
fn a_large_round_keeps_its_pace_and_ends() {
    let mut full = Data::numbered("{huge}", 1_000);
    full.padding = 50_000;
    let mut empty = Data { padding: 50_000, ..Data::default() };
    let tally = tally(&mut full, &mut empty);
    assert_eq!(full.all(), empty.all());
    let paced = tally.bytes - SYNC_BURST_BYTES;
    let seconds = paced as f64 / crate::limits::SYNC_BYTES_PER_SECOND as f64;
    assert!((0.8..1.1).contains(&(tally.took.as_secs_f64() / seconds)), "{:?}", tally.took);
}

/// Members all over the range of fingerprints.
fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 48)
}

#[test]
fn of_a_large_key_only_what_is_missing_travels() {
    let mut all = Data::default();
    all.add("large", scattered(100_000));
    let (mut ours, mut theirs) = (all.clone(), all.clone());
    ours.add("large", [0x1234 << 48 | 7]);
    theirs.add("large", [0x1234 << 48 | 8, 0x4321 << 48 | 9]);
    let tally = tally(&mut ours, &mut theirs);
    assert_eq!(tally.keys, 1);
    assert_eq!(ours.members(b"large").len(), 100_003);
    assert_eq!(ours.members, theirs.members);
    assert!(tally.bytes < 40_000, "{tally:?}");
}

#[test]
fn large_keys_of_which_much_differs_are_exchanged_in_bounded_messages() {
    let limits = Limits { whole_state: 0, fingerprints: 50, bytes: 160 };
    for (ours_has, theirs_has) in [(1_000, 4), (4, 1_000), (1_000, 1_000)] {
        let mut ours = Data { limits, ..Data::default() };
        let mut theirs = Data { limits, ..Data::default() };
        ours.add("large", scattered(ours_has));
        theirs.add("large", scattered(theirs_has).map(|one| one + 2));
        let tally = tally(&mut ours, &mut theirs);
        assert_eq!(ours.members(b"large").len() as u64, ours_has + theirs_has);
        assert_eq!(ours.members, theirs.members);
        // Only the digests of a group take more than a few of these; the whole state would.
        assert!(tally.largest < 5_000, "{tally:?}");
    }
}

#[test]
fn fingerprints_that_collide_hide_nothing() {
    let mut all = Data { blurred: 0xff, ..Data::default() };
    all.add("large", scattered(1_000).map(|one| one & !0xff));
    let (mut ours, mut theirs) = (all.clone(), all.clone());
    let member = scattered(1).next().expect("a member") & !0xff;
    ours.add("large", [member | 1]);
    theirs.add("large", [member | 2]);
    let tally = tally(&mut ours, &mut theirs);
    assert_eq!(ours.members(b"large").len(), 1_002);
    assert_eq!(ours.members, theirs.members);
    assert_eq!(
        tally.kinds[&Message::AskKeyStates { slot: Slot::default(), keys: Vec::new() }.kind()],
        1
    );
}

#[test]
fn answers_about_elements_that_make_no_sense_end_the_exchange() {
    let elements = |until, buckets: &[u16], fingerprints: &[u64]| Message::Elements {
        digest: 1,
        until,
        buckets: buckets.to_vec(),
        fingerprints: fingerprints.to_vec(),
    };
    for lie in [
        elements(u64::MAX, &[4], &[]),
        elements(u64::MAX, &[], &[1 << 48]),
        elements(u64::MAX, &[0], &[1 << 48 | 2, 1 << 48 | 1]),
        elements(5, &[0], &[6]),
    ] {
        let mut ours = Data::default();
        ours.add("large", scattered(9));
        let mut theirs = ours.clone();
        theirs.add("large", [77]);
        assert_eq!(round_with_liar_about(&mut ours, &mut theirs, &lie), Repair::Failed, "{lie:?}");
    }
}

#[test]
fn questions_about_elements_that_make_no_sense_are_refused() {
    let (data, slot) = (Data::default(), Slot::default());
    let sums = |count| Message::CompareElements {
        slot,
        scope: Scope::Alive,
        from: 0,
        keys: alloc::vec![Bytes::from_static(b"k")],
        sums: alloc::vec![0; count],
    };
    let out_of_order = alloc::vec![2, 1];
    for question in [
        sums(0),
        sums(3),
        sums(2 * crate::limits::ELEMENT_BUCKETS_MAX),
        Message::AskElements { slot, keys: Vec::new(), fingerprints: out_of_order },
    ] {
        let answer = elements::answer(&data, &question);
        let refused = matches!(answer, Some(Message::Rejected { cause: Cause::Malformed, .. }));
        assert!(refused, "{question:?}");
    }
}

/// Lets the requests of a round be answered, all of them well.
fn serve(sync: &mut AntiEntropy, ours: &mut Data, theirs: &mut Data) -> Vec<Output> {
    let mut others = Vec::new();
    while let Some(output) = sync.poll_output() {
        let Output::Send { correlation, message, .. } = output else {
            others.push(output);
            continue;
        };
        let response = respond(theirs, &message);
        sync.handle_response(Instant::ZERO, ours, PEER, correlation, response);
    }
    others
}

#[test]
fn a_round_over_some_groups_settles_these_and_is_no_whole_round() {
    let mut ours = Data::numbered("key", 2_000);
    let mut theirs = Data::default();
    let groups: Groups = [3, 40].into_iter().collect();
    let within = ours.slots.iter().filter(|(slot, _)| groups.contains(slot.group()));
    let expected: u64 = within.map(|(_, keys)| keys.len() as u64).sum();
    let mut sync = AntiEntropy::new([PEER]);
    sync.handle_peer_up(Instant::ZERO, PEER);
    sync.repair(Instant::ZERO, PEER, Order { groups, dry: false });
    sync.handle_timeout(Instant::ZERO, &mut ours);
    let outputs = serve(&mut sync, &mut ours, &mut theirs);
    let synced = Output::Completed { peer: PEER, keys: expected, groups, epoch: 1 };
    assert_eq!(outputs, [synced], "and nothing is settled beyond that");
    let mut exchanged = theirs.slots.keys();
    assert!(exchanged.all(|slot| groups.contains(slot.group())) && expected > 0);
    let record = sync.record(PEER);
    assert_eq!((record.repair, record.rounds, record.done_at), (Repair::Done, 0, None));
    assert!(!sync.is_proved(PEER));
    assert!(sync.due_at(PEER).is_some_and(|at| at > Instant::ZERO), "the whole round is due yet");
    assert!(record.repaired.keys == expected && record.repaired.bytes > 0);
    sync.request(Instant::ZERO, PEER);
    sync.handle_timeout(Instant::ZERO, &mut ours);
    serve(&mut sync, &mut ours, &mut theirs);
    let later = sync.record(PEER);
    assert_eq!((later.rounds, later.keys), (1, 2_000));
    assert_eq!(
        later.repaired, record.repaired,
        "which is what the ordered round alone has come to"
    );
}

#[test]
fn what_is_dirty_is_settled_while_the_peer_is_up_and_not_too_often() {
    let mut ours = Data::numbered("key", 500);
    let mut theirs = Data::default();
    ours.dirty.insert(7);
    let mut sync = AntiEntropy::new([PEER]);
    sync.handle_timeout(Instant::ZERO, &mut ours);
    assert_eq!(sync.running_with(), None, "it is down");
    sync.handle_peer_up(Instant::ZERO, PEER);
    sync.handle_timeout(Instant::ZERO, &mut ours);
    assert_eq!(sync.running_with(), Some(PEER));
    let outputs = serve(&mut sync, &mut ours, &mut theirs);
    let groups = ours.dirty;
    assert!(matches!(outputs[..], [Output::Completed { groups: found, .. }] if found == groups));
    // Still dirty: something was marked meanwhile.
    sync.handle_timeout(Instant::ZERO, &mut ours);
    assert_eq!(sync.running_with(), None);
    sync.handle_timeout(Instant::ZERO + SYNC_PAUSE, &mut ours);
    assert_eq!(sync.running_with(), Some(PEER));
}

#[test]
fn a_peer_is_proved_by_a_whole_round_that_began_after_every_loss() {
    let mut ours = Data::of(&[("a", 1)]);
    let mut theirs = ours.clone();
    let mut sync = AntiEntropy::new([PEER, MemberNumber(2)]);
    let mut whole_round = |sync: &mut AntiEntropy, meanwhile: fn(&mut AntiEntropy)| {
        sync.request(Instant::ZERO, PEER);
        sync.handle_timeout(Instant::ZERO, &mut ours);
        meanwhile(sync);
        serve(sync, &mut ours, &mut theirs);
        sync.is_proved(PEER)
    };
    assert!(!sync.is_proved(PEER));
    sync.handle_peer_up(Instant::ZERO, PEER);
    assert!(whole_round(&mut sync, |_| {}));
    sync.handle_peer_down(MemberNumber(2));
    assert!(!sync.is_proved(PEER));
    assert!(!whole_round(&mut sync, |sync| sync.handle_peer_down(MemberNumber(2))));
    assert!(!whole_round(&mut sync, AntiEntropy::handle_orphan));
    assert!(whole_round(&mut sync, |_| {}));
    sync.handle_peer_down(PEER);
    sync.handle_peer_up(Instant::ZERO, PEER);
    assert!(!sync.is_proved(PEER));
}
