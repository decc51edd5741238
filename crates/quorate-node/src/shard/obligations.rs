//! The obligation ledger: what this node owes the others, `QUORATE OBLIGATIONS` and `INFO`.
//!
//! Every acknowledged write is on the owners of its key, or a live node can say for which of them
//! it is on its way, kept as a hint, in a range marked dirty, or not proved to be there. A reply
//! joins what the shards say: a map of `peers` and `datacentres`, each an array of maps.
//!
//! | field | meaning |
//! |---|---|
//! | `name`, `dc`, `state` | the peer, `up` or `down`; of a datacentre only the name |
//! | `hints`, `hint_bytes` | effects kept for it, counted; bytes of the segments that hold them |
//! | `hint_keys_max` | key changes in these segments: the keys are as many or fewer |
//! | `oldest_hint_ms` | age of the oldest of these; after a restart by its stamp |
//! | `dirty_groups` | groups of 256 slots in which it lacks something that no hint brings |
//! | `dirty_keys_max` | keys of this node in these groups that are the peer's, too |
//! | `dirty_bytes_estimate` | their bytes, from the size of a few keys in each slot |
//! | `unverified` | 1 until a whole round that began after both came up, and after the last loss of any node; of a datacentre how many |
//! | `unacknowledged`, `unacknowledged_bytes` | effects sent and not acknowledged yet |
//! | `settled_in_ms_estimate` | from rates measured; null while it cannot be told, 0 when nothing is owed |

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use bytes::Bytes;
use quorate_proto::{Groups, MemberNumber, Slot, command::Call, resp::ReplyWriter};

use super::{
    Now, Shard,
    job::{Plan, Step},
    mail::{HintOrder, Question},
};
use crate::storage::Storage;

/// What one shard, or several, owe one peer, or several: a line of numbers in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debt {
    /// Of how many shards it is down.
    pub(super) down: u64,
    pub(super) hints: u64,
    pub(super) hint_bytes: u64,
    pub(super) hint_keys: u64,
    pub(super) oldest_ms: u64,
    /// One bit for each group.
    pub(super) dirty: u64,
    pub(super) dirty_keys: u64,
    pub(super) dirty_bytes: u64,
    pub(super) unverified: u64,
    pub(super) unacknowledged: u64,
    pub(super) unacknowledged_bytes: u64,
    /// [`UNKNOWN`] while it cannot be told.
    pub(super) settled_in_ms: u64,
    /// Whether deliveries are paused by a refusal.
    pub(super) paused: u64,
}

/// Nobody can tell.
const UNKNOWN: u64 = u64::MAX;

impl Debt {
    const NUMBERS: usize = 13;

    fn numbers(self) -> [u64; Self::NUMBERS] {
        [
            self.down,
            self.hints,
            self.hint_bytes,
            self.hint_keys,
            self.oldest_ms,
            self.dirty,
            self.dirty_keys,
            self.dirty_bytes,
            self.unverified,
            self.unacknowledged,
            self.unacknowledged_bytes,
            self.settled_in_ms,
            self.paused,
        ]
    }

    fn write(self, out: &mut String) {
        let numbers = self.numbers().map(|number| number.to_string());
        let _ = writeln!(out, "{}", numbers.join(" "));
    }

    fn read(line: &str) -> Self {
        let mut numbers = line.split(' ').map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            down: next(),
            hints: next(),
            hint_bytes: next(),
            hint_keys: next(),
            oldest_ms: next(),
            dirty: next(),
            dirty_keys: next(),
            dirty_bytes: next(),
            unverified: next(),
            unacknowledged: next(),
            unacknowledged_bytes: next(),
            settled_in_ms: next(),
            paused: next(),
        }
    }

    /// The same peer as another shard sees it.
    fn and_shard(self, other: Self) -> Self {
        Self {
            dirty: self.dirty | other.dirty,
            unverified: self.unverified.max(other.unverified),
            paused: self.paused.max(other.paused),
            ..self.and_peer(other)
        }
    }

    /// Another peer in addition.
    fn and_peer(self, other: Self) -> Self {
        Self {
            down: self.down + other.down,
            hints: self.hints + other.hints,
            hint_bytes: self.hint_bytes + other.hint_bytes,
            hint_keys: self.hint_keys + other.hint_keys,
            oldest_ms: self.oldest_ms.max(other.oldest_ms),
            dirty: self.dirty | other.dirty,
            dirty_keys: self.dirty_keys + other.dirty_keys,
            dirty_bytes: self.dirty_bytes + other.dirty_bytes,
            unverified: self.unverified + other.unverified,
            unacknowledged: self.unacknowledged + other.unacknowledged,
            unacknowledged_bytes: self.unacknowledged_bytes + other.unacknowledged_bytes,
            settled_in_ms: self.settled_in_ms.max(other.settled_in_ms),
            paused: self.paused + other.paused,
        }
    }

    /// Whether nothing is owed.
    fn is_settled(&self) -> bool {
        let Self { hints, dirty, unverified, unacknowledged, .. } = *self;
        hints == 0 && dirty == 0 && unverified == 0 && unacknowledged == 0
    }

    pub(super) fn dirty_groups(&self) -> u64 {
        Groups::from_bits(self.dirty).len().into()
    }
}

impl fmt::Display for Debt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hints, hint_bytes, unverified, unacknowledged, .. } = self;
        let dirty = self.dirty_groups();
        write!(f, "hints={hints},hint_bytes={hint_bytes},dirty_groups={dirty},")?;
        write!(f, "unverified={unverified},unacknowledged={unacknowledged}")
    }
}

/// How what the shards say of every peer becomes a reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// Peers and datacentres, `QUORATE OBLIGATIONS`.
    Obligations,
    /// What is kept for each peer, `QUORATE HINTS`.
    Hints,
}

/// Joins the lines of all shards, one for each peer.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Name and datacentre of every peer.
    peers: Vec<(String, String)>,
    shown: Shown,
    resp3: bool,
}

impl Plan for Ledger {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let texts: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect();
        let debts = (0..self.peers.len()).map(|index| {
            // A shard that knows another topology already or still may have no such line.
            let lines = texts.iter().map(|text| text.lines().nth(index).unwrap_or_default());
            lines.map(Debt::read).reduce(Debt::and_shard).unwrap_or_default()
        });
        let debts: Vec<Debt> = debts.collect();
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, self.resp3);
        match self.shown {
            Shown::Hints => super::hints::write_hints(&mut writer, &self.peers, &debts),
            Shown::Obligations => self.write_obligations(&mut writer, &debts),
        }
        Step::Done(reply)
    }
}

impl Ledger {
    fn write_obligations(&self, writer: &mut ReplyWriter<'_>, debts: &[Debt]) {
        writer.map(2);
        writer.text("peers");
        writer.array(debts.len());
        let mut datacentres: BTreeMap<&str, Debt> = BTreeMap::new();
        for ((name, datacentre), debt) in self.peers.iter().zip(debts) {
            let sum = datacentres.entry(datacentre).or_default();
            *sum = sum.and_peer(*debt);
            writer.map(3 + FIELDS);
            write_text(writer, "name", name);
            write_text(writer, "dc", datacentre);
            write_text(writer, "state", if debt.down > 0 { "down" } else { "up" });
            write_debt(writer, debt);
        }
        writer.text("datacentres");
        writer.array(datacentres.len());
        for (name, debt) in &datacentres {
            writer.map(1 + FIELDS);
            write_text(writer, "name", name);
            write_debt(writer, debt);
        }
    }
}

/// Fields of [`write_debt`].
const FIELDS: usize = 11;

fn write_debt(writer: &mut ReplyWriter<'_>, debt: &Debt) {
    for (field, value) in [
        ("hints", debt.hints),
        ("hint_bytes", debt.hint_bytes),
        ("hint_keys_max", debt.hint_keys),
        ("oldest_hint_ms", debt.oldest_ms),
        ("dirty_groups", debt.dirty_groups()),
        ("dirty_keys_max", debt.dirty_keys),
        ("dirty_bytes_estimate", debt.dirty_bytes),
        ("unverified", debt.unverified),
        ("unacknowledged", debt.unacknowledged),
        ("unacknowledged_bytes", debt.unacknowledged_bytes),
    ] {
        write_number(writer, field, value);
    }
    writer.text("settled_in_ms_estimate");
    match debt.settled_in_ms {
        UNKNOWN => writer.null(),
        ms => writer.integer(i64::try_from(ms).unwrap_or(i64::MAX)),
    }
}

pub(super) fn write_text(writer: &mut ReplyWriter<'_>, field: &str, value: &str) {
    writer.text(field);
    writer.text(value);
}

pub(super) fn write_number(writer: &mut ReplyWriter<'_>, field: &str, value: u64) {
    writer.text(field);
    writer.integer(i64::try_from(value).unwrap_or(i64::MAX));
}

impl Shard {
    /// `QUORATE OBLIGATIONS`
    pub(super) fn obligations_command(&mut self, now: Now, key: usize, call: Call) {
        self.gather_ledger(now, key, call, Shown::Obligations, None);
    }

    /// Carries out an order on every shard and shows what they owe.
    pub(super) fn gather_ledger(
        &mut self,
        now: Now,
        key: usize,
        call: Call,
        shown: Shown,
        order: Option<HintOrder>,
    ) {
        let topology = self.topology();
        let peers = topology.peers().map(|peer| topology.member(peer));
        let peers = peers.map(|peer| (peer.name.clone(), peer.datacentre.clone())).collect();
        let plan = Box::new(Ledger { peers, shown, resp3: self.sessions[key].resp3 });
        self.gather(now, key, call, Question::Ledger(order), plan);
    }

    /// What this shard owes every peer, in lines.
    pub(super) fn describe_debts(&self, now: Now) -> String {
        let mut weights = BTreeMap::new();
        let mut lines = String::new();
        for (peer, debt) in self.debts(now) {
            let (dirty_keys, dirty_bytes) = weigh(&self.storage, peer, &mut weights);
            Debt { dirty_keys, dirty_bytes, ..debt }.write(&mut lines);
        }
        lines
    }

    /// What this shard owes every peer, as far as it costs next to nothing to tell.
    pub(super) fn debts(&self, now: Now) -> impl Iterator<Item = (MemberNumber, Debt)> {
        let unacknowledged = self.coordinator.unacknowledged();
        self.topology().peers().map(move |peer| {
            let (effects, effect_bytes) = unacknowledged[peer];
            let mut debt = Debt {
                down: u64::from(!self.peers.is_up(peer)),
                dirty: self.storage.dirty_groups(peer).bits(),
                unverified: u64::from(!self.anti_entropy.is_proved(peer)),
                unacknowledged: effects,
                unacknowledged_bytes: effect_bytes,
                paused: u64::from(self.handoff.is_paused(now.monotonic, peer)),
                ..Debt::default()
            };
            if let Some(log) = self.storage.hints_for(peer) {
                debt.hints = log.pending();
                (debt.hint_bytes, debt.hint_keys) = (log.bytes(), log.keys());
                let oldest = log.oldest_ms().unwrap_or(now.wall_ms());
                debt.oldest_ms = now.wall_ms().saturating_sub(oldest);
            }
            debt.settled_in_ms = self.estimate(now, peer, &debt).unwrap_or(UNKNOWN);
            (peer, debt)
        })
    }

    /// When nothing is owed to a peer any more, in milliseconds from now.
    fn estimate(&self, now: Now, peer: MemberNumber, debt: &Debt) -> Option<u64> {
        if debt.is_settled() {
            return Some(0);
        }
        if debt.down > 0 {
            return None;
        }
        // What is on its way is acknowledged soon, or becomes a hint.
        let mut ms = 1;
        if debt.hints > 0 {
            ms += debt.hints.saturating_mul(1_000) / self.handoff.hints_per_second(peer)?;
        }
        if debt.dirty > 0 || debt.unverified > 0 {
            let took = self.anti_entropy.round_takes(peer)?.as_millis() as u64;
            if debt.unverified > 0 {
                let due = self.anti_entropy.due_at(peer)?.since(now.monotonic);
                ms += due.as_millis() as u64 + took;
            } else {
                let owned = u64::from(self.storage.owned_groups().len());
                ms += took * debt.dirty_groups() / owned.max(1);
            }
        }
        Some(ms)
    }

    /// Whether something is kept, marked, on its way or not proved that would bring `peer` what it
    /// lacks in `slot`.
    pub(crate) fn owes(&self, peer: MemberNumber, slot: Slot) -> bool {
        let hints = self.storage.hints_for(peer).map_or(Groups::NONE, |log| log.groups());
        let known = hints.union(self.storage.dirty_groups(peer));
        known.contains(slot.group())
            || !self.anti_entropy.is_proved(peer)
            || self.coordinator.is_unacknowledged(peer, slot)
    }

    /// What is owed, a line for each peer that is owed anything.
    pub(crate) fn owed(&self) -> Vec<String> {
        let now = Now { monotonic: self.next_tick, wall_us: self.storage.wall_ms * 1_000 };
        let debts = self.debts(now).filter(|(_, debt)| !debt.is_settled());
        debts.map(|(peer, debt)| format!("{}: {debt}", self.topology().member(peer).name)).collect()
    }
}

/// Keys of this node in the groups that are dirty for `peer`, as far as they are the peer's, and an
/// estimate of their bytes. `weights` remembers the slots that were looked at.
fn weigh(
    storage: &Storage,
    peer: MemberNumber,
    weights: &mut BTreeMap<Slot, (u64, u64)>,
) -> (u64, u64) {
    let (mut keys, mut bytes) = (0, 0);
    let topology = &storage.topology;
    for group in storage.dirty_groups(peer).iter() {
        for slot in Slot::of_group(group) {
            if !topology.is_shared(slot, peer) {
                continue;
            }
            let weight = weights.entry(slot).or_insert_with(|| {
                let keys = storage.store.keys_in_slot(slot) as u64;
                (keys, storage.store.estimated_bytes(slot))
            });
            (keys, bytes) = (keys + weight.0, bytes + weight.1);
        }
    }
    (keys, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debt(first: u64) -> Debt {
        let mut numbers = (first..).map(|number| number.to_string());
        let line: Vec<String> = numbers.by_ref().take(Debt::NUMBERS).collect();
        Debt::read(&line.join(" "))
    }

    #[test]
    fn lines_are_read_as_written() {
        let mut text = String::new();
        debt(1).write(&mut text);
        assert_eq!(text, "1 2 3 4 5 6 7 8 9 10 11 12 13\n");
        assert_eq!(Debt::read(text.trim_end()), debt(1));
    }

    #[test]
    fn shards_and_peers_are_joined() {
        let unverified = Debt { unverified: 1, dirty: 0b101, hints: 2, ..Debt::default() };
        let other = Debt { unverified: 1, dirty: 0b010, hints: 3, settled_in_ms: 9, ..unverified };
        let joined = unverified.and_shard(other);
        assert_eq!((joined.unverified, joined.dirty_groups(), joined.hints), (1, 3, 5));
        assert_eq!(joined.settled_in_ms, 9);
        let unknown = Debt { settled_in_ms: UNKNOWN, ..other };
        let both = joined.and_peer(unknown);
        assert_eq!((both.unverified, both.settled_in_ms), (2, UNKNOWN));
    }

    #[test]
    fn nothing_owed_is_settled() {
        assert!(Debt::default().is_settled());
        for owed in [
            Debt { hints: 1, ..Debt::default() },
            Debt { dirty: u64::MAX, hints: 1, ..Debt::default() },
            Debt { unverified: 1, ..Debt::default() },
            Debt { unacknowledged: 1, ..Debt::default() },
        ] {
            assert!(!owed.is_settled());
        }
    }
}
