//! A store that is trivial to merge, with its hint queues. It survives the crash of its node.
//!
//! Every key has a register (the stamp of its last write is its value, the greatest wins) and a
//! counter (a total for each node, the greatest of each wins). Every reply is a number that never
//! shrinks in a correct cluster: the register's stamp, or the counter's sum.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    task::Poll,
};

use bytes::Bytes;
use quorate_cluster::{
    anti_entropy::Digests,
    clocks::{Holdings, Knowledge},
    coordinator::{Durability, Executed, Rejection, Replica, Snapshot, Ticket},
    elements::{Elements, Limits},
    handoff::{Hint, Hints},
    random::Random,
    time::Instant,
    topology::Topology,
};
use quorate_proto::{
    Dot, Groups, MemberNumber, Origin, Slot, Start,
    command::Call,
    message::{Cause, Scope},
};

/// More often than this no node is started.
const STARTS_MAX: u32 = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) register: u64,
    pub(crate) counts: BTreeMap<u16, u64>,
}

impl Entry {
    pub(crate) fn sum(&self) -> u64 {
        self.counts.values().sum()
    }

    fn merge(&mut self, other: &Self) {
        self.register = self.register.max(other.register);
        for (node, count) in &other.counts {
            let own = self.counts.entry(*node).or_default();
            *own = (*own).max(*count);
        }
    }

    fn encode(&self, key: &[u8], out: &mut Vec<u8>) {
        out.push(key.len() as u8);
        out.extend_from_slice(key);
        out.extend_from_slice(&self.register.to_be_bytes());
        out.push(self.counts.len() as u8);
        for (node, count) in &self.counts {
            out.extend_from_slice(&node.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
    }

    fn digest(&self, key: &[u8]) -> u128 {
        let mut bytes = Vec::new();
        self.encode(key, &mut bytes);
        // FNV-1a.
        bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
            (hash ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
        })
    }
}

fn decode(mut rest: &[u8]) -> Vec<(Bytes, Entry)> {
    fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, tail) = rest.split_at(length);
        *rest = tail;
        taken
    }
    fn number(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let length = number(take(&mut rest, 1)) as usize;
        let key = Bytes::copy_from_slice(take(&mut rest, length));
        let register = number(take(&mut rest, 8));
        let nodes = number(take(&mut rest, 1));
        let counts = (0..nodes)
            .map(|_| (number(take(&mut rest, 2)) as u16, number(take(&mut rest, 8))))
            .collect();
        entries.push((key, Entry { register, counts }));
    }
    entries
}

#[derive(Debug, Default)]
struct Queue {
    hints: VecDeque<Hint>,
    next: u64,
    /// Handed out, from the front.
    read: usize,
}

#[derive(Debug)]
pub(crate) struct Store {
    me: MemberNumber,
    topology: std::sync::Arc<Topology>,
    pub(crate) entries: BTreeMap<Bytes, Entry>,
    queues: Vec<Queue>,
    groups: BTreeSet<u16>,
    /// Microseconds; the clocks of all nodes agree.
    pub(crate) now: u64,
    newest: u64,
    /// Refuses whatever would change it.
    pub(crate) full: bool,
    /// Writes are durable only some time after they were made.
    pub(crate) slow_disk: bool,
    pub(crate) sequence: u64,
    /// Up to where it is durable.
    pub(crate) synced: u64,
    knowledge: Knowledge,
    pub(crate) starts: u32,
}

impl Store {
    pub(crate) fn new(topology: &std::sync::Arc<Topology>, keys: &[Bytes]) -> Self {
        let mut queues = Vec::new();
        queues.resize_with(topology.len(), Queue::default);
        Self {
            me: topology.me(),
            topology: topology.clone(),
            entries: BTreeMap::new(),
            queues,
            groups: keys.iter().map(|key| Slot::of_key(key).group()).collect(),
            now: 0,
            newest: 0,
            full: false,
            slow_disk: false,
            sequence: 0,
            synced: 0,
            knowledge: Knowledge::default(),
            starts: 0,
        }
    }

    /// Other members: what is kept for those that stay remains.
    pub(crate) fn adopt(&mut self, topology: std::sync::Arc<Topology>) {
        assert_eq!(topology.me(), self.me, "numbers stay");
        self.queues.resize_with(topology.len(), Queue::default);
        self.topology = topology;
        self.note_origins();
    }

    /// A process starts, which knows nothing of dots.
    pub(crate) fn start(&mut self) {
        self.starts += 1;
        self.knowledge = Knowledge::default();
        self.note_origins();
    }

    fn note_origins(&mut self) {
        // Nobody tells who has started: whatever a test may start is noted.
        let starts = |node: MemberNumber| {
            (1..=STARTS_MAX).map(move |start| Origin::new(node.0, Start::from_random(start)))
        };
        self.knowledge.set_current(self.topology.nodes().flat_map(starts));
    }

    fn stamp(&mut self) -> u64 {
        self.newest = (self.newest + 1).max(self.now << 8);
        // Unique over the nodes: four low bits for their number.
        self.newest << 4 | u64::from(self.me.0)
    }

    fn changed(&mut self) -> Durability {
        self.sequence += 1;
        if self.slow_disk { Durability::At(self.sequence) } else { Durability::Now }
    }

    fn check_room(&self) -> Result<(), Rejection> {
        if self.full {
            let text = "the disk is full".into();
            let cause = Cause::StoreFull;
            return Err(Rejection { cause, text });
        }
        Ok(())
    }

    fn in_slot(&self, slot: Slot) -> impl Iterator<Item = (&Bytes, &Entry)> {
        let of_slot = move |(key, _): &(&Bytes, &Entry)| Slot::of_key(key) == slot;
        self.entries.iter().filter(of_slot)
    }

    fn export_one(&self, key: &[u8], out: &mut Vec<u8>) {
        if let Some(entry) = self.entries.get(key) {
            entry.encode(key, out);
        }
    }
}

fn number(value: u64) -> Bytes {
    format!(":{value}\r\n").into()
}

/// The elements of an entry: the register, and the count of each node.
fn parts(entry: &Entry) -> Vec<(u64, Entry)> {
    let mut parts = Vec::new();
    if entry.register > 0 {
        parts.push(Entry { register: entry.register, counts: BTreeMap::new() });
    }
    let counts = entry.counts.iter();
    parts.extend(
        counts.map(|(node, count)| Entry { register: 0, counts: [(*node, *count)].into() }),
    );
    let named = parts.into_iter().map(|part| {
        let name = part.counts.keys().next().map_or(0, |node| u64::from(*node) * 9_001 + 1);
        let digest = part.digest(b"");
        // Changes of FNV-1a that are close together would cancel out when they are summed.
        let version = Random::new(digest as u64 ^ (digest >> 64) as u64).next_u64() >> 16;
        (name << 48 | version, part)
    });
    named.collect()
}

impl Elements for Store {
    fn depends_on_all(&self, _slot: Slot, _key: &[u8]) -> bool {
        false
    }

    fn element_limits(&self) -> Limits {
        Limits { whole_state: 0, fingerprints: 2, bytes: 30 }
    }

    fn is_large(&self, _: Slot, key: &[u8]) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.counts.len() > 1)
    }

    fn element_count(&self, _: Slot, key: &[u8]) -> usize {
        self.entries.get(key).map_or(0, |entry| entry.counts.len())
    }

    fn key_digest(&self, _: Slot, key: &[u8], _: Scope) -> u128 {
        self.entries.get(key).map_or(0, |entry| entry.digest(key))
    }

    fn for_each_digest(&self, slot: Slot, key: &[u8], _: Scope, mut each: impl FnMut(u16, u64)) {
        self.for_each_fingerprint(slot, key, |_| true, |one| each((one >> 48) as u16, one));
    }

    fn for_each_fingerprint(
        &self,
        _: Slot,
        key: &[u8],
        wanted: impl Fn(u16) -> bool,
        each: impl FnMut(u64),
    ) {
        let all = self.entries.get(key).into_iter().flat_map(parts).map(|(one, _)| one);
        all.filter(|one| wanted((one >> 48) as u16)).for_each(each);
    }

    fn export_elements(
        &self,
        _: Slot,
        keys: &[Bytes],
        fingerprints: &[u64],
        bytes_max: usize,
    ) -> (usize, Bytes) {
        let mut out = Vec::new();
        for (covered, wanted) in fingerprints.iter().enumerate() {
            if covered > 0 && out.len() >= bytes_max {
                return (covered, out.into());
            }
            for (key, entry) in keys.iter().filter_map(|key| Some((key, self.entries.get(key)?))) {
                let mut named = parts(entry);
                named.retain(|(one, _)| one >> 48 == wanted >> 48);
                // What has superseded an element stands for it.
                let there = named.iter().any(|(one, _)| one == wanted);
                let stands = named.iter().filter(|(one, _)| one == wanted || !there);
                stands.for_each(|(_, part)| part.encode(key, &mut out));
            }
        }
        (fingerprints.len(), out.into())
    }
}

impl Store {
    fn execute_now(&mut self, call: &Call) -> Result<Executed, Rejection> {
        self.check_room()?;
        let (slot, command) = (call.slot(), call.command());
        assert!(self.topology.is_replica(slot, self.me), "executed by a non-owner");
        let key = Bytes::copy_from_slice(command.arg(1));
        let stamp = self.stamp();
        let me = self.me.0;
        let entry = self.entries.entry(key.clone()).or_default();
        let mut delta = Entry::default();
        let reply = match command.name() {
            b"SET" => {
                delta.register = stamp;
                stamp
            }
            b"SETNX" if entry.register > 0 => entry.register,
            b"SETNX" => {
                delta.register = stamp;
                stamp
            }
            b"INCR" => {
                let own = entry.counts.get(&me).copied().unwrap_or_default();
                delta.counts.insert(me, own + 1);
                entry.sum() + 1
            }
            other => panic!("no such command: {other:?}"),
        };
        let mut effect = Vec::new();
        if delta != Entry::default() {
            entry.merge(&delta);
            delta.encode(&key, &mut effect);
        }
        let (effect, durability) = (Bytes::from(effect), self.changed());
        let origin = Origin::new(me, Start::from_random(self.starts));
        let issued = (!effect.is_empty()).then(|| self.knowledge.issue(slot, origin, &effect));
        let dot = issued.flatten().map(|(dot, _)| dot);
        Ok(Executed { reply: number(reply), effect, dot, durability })
    }
}

impl Replica for Store {
    fn execute(
        &mut self,
        _: Ticket,
        call: &Call,
        _: bool,
        _: Option<Instant>,
    ) -> Poll<Result<Executed, Rejection>> {
        Poll::Ready(self.execute_now(call))
    }

    fn read(&mut self, _: Ticket, call: &Call, resp3: bool) -> Poll<Option<Bytes>> {
        Poll::Ready(self.read_now(call, resp3))
    }

    fn snapshot(&mut self, _: Ticket, call: &Call, resp3: bool) -> Poll<Snapshot> {
        Poll::Ready(Snapshot { digest: self.digest(call), reply: self.read_now(call, resp3) })
    }

    fn export(&mut self, _: Ticket, call: &Call) -> Poll<Bytes> {
        let mut out = Vec::new();
        self.export_one(call.command().arg(1), &mut out);
        Poll::Ready(out.into())
    }

    fn merge(
        &mut self,
        _: Ticket,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Poll<Result<Durability, Rejection>> {
        Poll::Ready(self.merge_now(slot, dots, effect))
    }

    fn read_now(&mut self, call: &Call, _: bool) -> Option<Bytes> {
        let key = call.command().arg(1);
        let entry = self.entries.get(key).cloned().unwrap_or_default();
        Some(number(if key.starts_with(b"count") { entry.sum() } else { entry.register }))
    }

    fn digest(&mut self, call: &Call) -> u128 {
        let key = call.command().arg(1);
        self.entries.get(key).map_or(0, |entry| entry.digest(key))
    }

    fn merge_now(
        &mut self,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Result<Durability, Rejection> {
        self.check_room()?;
        assert!(self.topology.is_replica(slot, self.me), "merged by a non-owner");
        for (key, entry) in decode(effect) {
            assert_eq!(Slot::of_key(&key), slot);
            self.newest = self.newest.max(entry.register >> 4);
            self.entries.entry(key).or_default().merge(&entry);
        }
        if !dots.is_empty() {
            self.knowledge.note(slot, dots, effect);
        }
        Ok(self.changed())
    }

    fn durability(&self, _: Slot) -> Durability {
        let unsynced = self.slow_disk && self.sequence > self.synced;
        if unsynced { Durability::At(self.sequence) } else { Durability::Now }
    }

    fn hint(&mut self, target: MemberNumber, slot: Slot, dot: Option<Dot>, effect: &Bytes) {
        let queue = &mut self.queues[target.index()];
        queue.next += 1;
        let (first, last, dots) = (queue.next, queue.next, dot.into_iter().collect());
        queue.hints.push_back(Hint { first, last, slot, dots, effect: effect.clone() });
    }
}

impl Hints for Store {
    fn pending(&self, target: MemberNumber) -> u64 {
        self.queues[target.index()].hints.len() as u64
    }

    fn read(&mut self, target: MemberNumber, _: usize) -> Vec<Hint> {
        let queue = &mut self.queues[target.index()];
        // Little at a time, so that several batches are needed.
        let batch: Vec<Hint> = queue.hints.iter().skip(queue.read).take(5).cloned().collect();
        queue.read += batch.len();
        batch
    }

    fn openings(&self, _: MemberNumber) -> u32 {
        0
    }

    fn rewind(&mut self, target: MemberNumber) {
        self.queues[target.index()].read = 0;
    }

    fn acknowledge(&mut self, target: MemberNumber, up_to: u64) {
        let queue = &mut self.queues[target.index()];
        while queue.hints.pop_front_if(|hint| hint.last <= up_to).is_some() {
            queue.read -= 1;
        }
    }
}

impl Holdings for Store {
    fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    fn knowledge_mut(&mut self) -> &mut Knowledge {
        &mut self.knowledge
    }

    fn is_shared(&self, slot: Slot, peer: MemberNumber) -> bool {
        self.topology.is_shared(slot, peer)
    }

    fn is_complete(&self) -> bool {
        true
    }

    fn merge_dotted(&mut self, slot: Slot, dots: Vec<Dot>, effect: &Bytes) -> bool {
        self.merge_now(slot, dots, effect).is_ok()
    }

    fn shards(&self) -> u16 {
        1
    }

    fn groups(&self) -> Vec<u16> {
        self.groups.iter().copied().collect()
    }
}

impl Digests for Store {
    fn groups(&self) -> Vec<u16> {
        self.groups.iter().copied().collect()
    }

    fn slot_digests(&self, group: u16, peer: MemberNumber, _: Scope) -> Vec<(Slot, u128)> {
        let mut slots: BTreeMap<Slot, u128> = BTreeMap::new();
        for slot in Slot::of_group(group) {
            if self.topology.is_shared(slot, peer) {
                slots.insert(slot, 0);
            }
        }
        for (key, entry) in &self.entries {
            if let Some(sum) = slots.get_mut(&Slot::of_key(key)) {
                *sum = sum.wrapping_add(entry.digest(key));
            }
        }
        slots.into_iter().collect()
    }

    fn slot_digest(&self, slot: Slot, peer: MemberNumber, _: Scope) -> Option<u128> {
        let keys = self.in_slot(slot);
        let shared = self.topology.is_shared(slot, peer);
        shared.then(|| keys.fold(0, |sum: u128, (key, entry)| sum.wrapping_add(entry.digest(key))))
    }

    fn for_each_key(
        &self,
        slot: Slot,
        wanted: impl Fn(&[u8]) -> bool,
        mut each: impl FnMut(&[u8], u128),
    ) {
        for (key, entry) in self.in_slot(slot).filter(|(key, _)| wanted(key)) {
            each(key, entry.digest(key));
        }
    }

    fn export_keys(&self, _: Slot, keys: &[Bytes], bytes_max: usize) -> (usize, Bytes) {
        let mut out = Vec::new();
        for (covered, key) in keys.iter().enumerate() {
            if covered > 0 && out.len() >= bytes_max {
                return (covered, out.into());
            }
            self.export_one(key, &mut out);
        }
        (keys.len(), out.into())
    }

    fn merge_states(&mut self, slot: Slot, states: &Bytes) -> Option<Bytes> {
        self.merge_now(slot, Vec::new(), states).is_ok().then(Bytes::new)
    }

    fn scope(&self) -> Scope {
        Scope::Alive
    }

    fn begin_epoch(&mut self) -> u32 {
        0
    }

    fn dirty(&self, _: MemberNumber) -> Groups {
        Groups::NONE
    }

    fn other_replicas(&self, _: u16) -> Vec<MemberNumber> {
        Vec::new()
    }

    fn clock_ms(&self) -> u64 {
        0
    }

    fn floor_ms(&self, _: u16) -> u64 {
        0
    }
}
