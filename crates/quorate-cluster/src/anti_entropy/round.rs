//! A round with one peer: what is left to ask, and what the answers lead to.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use bytes::Bytes;
use quorate_proto::{
    MemberNumber, Slot,
    message::{Cause, Message, Scope, Symbol},
    mutant::Mutant,
};
use slab::Slab;

use super::{
    Digests, Order,
    fingerprint::{self, key_of},
    group_digest,
    leaf::Leaf,
    settling::Evidence,
    sketch::{self, Difference},
};
use crate::time::Instant;
use crate::{
    chunk::{Chunk, only_in},
    elements::Comparison,
    limits::{
        SYNC_FINGERPRINTS_PER_REQUEST, SYNC_FINGERPRINTS_PER_REQUEST_MIN, SYNC_KEYS_PER_REQUEST,
        SYNC_PASSES_MAX, SYNC_SKETCHES, SYNC_STATES_BYTES,
    },
};

/// A round with one peer.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) peer: MemberNumber,
    /// What is left to ask. What an answer leads to comes before other groups are looked at, so
    /// that the queue stays short however much differs.
    to_do: VecDeque<Question>,
    pub(super) asked: Slab<Question>,
    /// The slots in exchange.
    exchanges: BTreeMap<Slot, Exchange>,
    /// What the digests cover.
    pub(super) scope: Scope,
    pub(super) order: Order,
    pub(super) began: Instant,
    /// The epoch that began with the round.
    pub(super) epoch: u32,
    /// Something has happened since that the round does not cover.
    pub(super) doubted: bool,
    /// Which of [`SYNC_SKETCHES`] to begin with, or its length for none: slots of one round differ
    /// about as much.
    first_sketch: usize,
    pub(super) keys: u64,
    /// Slots that differed both times.
    pub(super) slots: u64,
    pub(super) bytes: u64,
    /// Whether one side did not do what the other asked.
    pub(super) refused: bool,
    /// Whether that was because one of the two is an epoch behind.
    pub(super) stale: bool,
    /// What the peer has told of how far it is.
    pub(super) evidence: Evidence,
}

/// How far the exchange of one slot has come.
#[derive(Debug, Default)]
struct Exchange {
    /// Questions about the slot that are to be asked or answered.
    open: usize,
    /// Which comparison of the fingerprints this is, from 1.
    pass: u8,
    /// Whether this pass has shown that the slot differs.
    differs: bool,
    /// Whether this pass found something to exchange.
    found: bool,
    /// Nothing is to be compared again.
    settled: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Question {
    Group(u16),
    /// A second look at slots that differed; each becomes a question of its own.
    Suspects(Vec<Slot>),
    /// The peer's fingerprints, should its digest differ, or a sketch of them: which of
    /// [`SYNC_SKETCHES`], or its length for none.
    Slot {
        slot: Slot,
        from: u64,
        sketch: usize,
    },
    /// The peer's states of what only it has.
    Fingerprints {
        slot: Slot,
        wanted: Vec<u64>,
    },
    /// Every key of the slot, when fingerprints do not tell.
    KeyDigests(Slot),
    /// The peer's state of keys, and then the keys to send back.
    States {
        slot: Slot,
        keys: Vec<Bytes>,
    },
    /// The peer's fingerprints of the elements of a large key, from one on.
    Elements(Leaf),
    /// The same, asked.
    Comparison {
        comparison: Box<Comparison>,
        found: bool,
    },
    /// The peer's elements of what only it has, and then to send it what only this node has.
    Parts {
        leaf: Leaf,
        wanted: Vec<u64>,
        lacking: Vec<u64>,
    },
    /// Elements that the peer gets.
    PushParts {
        leaf: Leaf,
        lacking: Vec<u64>,
    },
    /// Keys that the peer gets.
    Push {
        slot: Slot,
        keys: Vec<Bytes>,
    },
    /// What the peer is to remove, because it was removed here long ago.
    Refute {
        slot: Slot,
        effect: Bytes,
    },
}

impl Question {
    fn slot(&self) -> Option<Slot> {
        match self {
            Self::Group(_) | Self::Suspects(_) => None,
            Self::Elements(leaf) | Self::Parts { leaf, .. } | Self::PushParts { leaf, .. } => {
                Some(leaf.slot)
            }
            Self::Comparison { comparison, .. } => Some(comparison.slot),
            Self::Slot { slot, .. }
            | Self::Fingerprints { slot, .. }
            | Self::KeyDigests(slot)
            | Self::States { slot, .. }
            | Self::Push { slot, .. }
            | Self::Refute { slot, .. } => Some(*slot),
        }
    }
}

impl Round {
    pub(super) fn new(
        now: Instant,
        peer: MemberNumber,
        digests: &impl Digests,
        order: Order,
        epoch: u32,
    ) -> Self {
        let groups = digests.groups().into_iter().filter(|group| order.groups.contains(*group));
        Self {
            peer,
            to_do: groups.map(Question::Group).collect(),
            asked: Slab::new(),
            exchanges: BTreeMap::new(),
            scope: digests.scope(),
            order,
            began: now,
            epoch,
            doubted: false,
            first_sketch: 0,
            keys: 0,
            slots: 0,
            bytes: 0,
            refused: false,
            stale: false,
            evidence: Evidence::new(epoch),
        }
    }

    /// Whether nothing is left to ask or to be answered.
    pub(super) fn is_over(&self) -> bool {
        let over = self.asked.is_empty() && self.to_do.is_empty();
        assert!(!over || self.exchanges.is_empty(), "an exchange without a question");
        over
    }

    /// Whether something can be asked now.
    pub(super) fn has_question(&self) -> bool {
        !self.to_do.is_empty()
    }

    /// The next request, and where in `asked` its question stands.
    pub(super) fn next_request(&mut self, digests: &impl Digests) -> Option<(usize, Message)> {
        loop {
            let question = match self.to_do.pop_front()? {
                Question::Suspects(slots) => {
                    self.look_again(&slots);
                    continue;
                }
                Question::Push { slot, keys } => return Some(self.push(digests, slot, keys)),
                Question::Elements(leaf) => return Some(self.compare_elements(digests, leaf)),
                Question::PushParts { leaf, lacking } => {
                    return Some(self.push_parts(digests, leaf, lacking));
                }
                question => question,
            };
            let Some(message) = self.request(digests, &question) else {
                // The slot is no longer shared: the topology has changed under the round.
                self.refuse(question.slot());
                self.close(question.slot());
                continue;
            };
            return Some((self.asked.insert(question), message));
        }
    }

    fn request(&self, digests: &impl Digests, question: &Question) -> Option<Message> {
        Some(match question {
            Question::Group(group) => {
                let slots = digests.slot_digests(*group, self.peer, self.scope);
                let digest = group_digest(&slots);
                Message::CompareGroup { group: *group, digest, scope: self.scope }
            }
            Question::Suspects(_)
            | Question::Push { .. }
            | Question::Elements(_)
            | Question::Comparison { .. }
            | Question::PushParts { .. } => return None,
            Question::Parts { leaf, wanted, .. } => leaf.request(wanted),
            Question::Slot { slot, from, sketch } => {
                let digest = digests.slot_digest(*slot, self.peer, self.scope)?;
                let symbols = SYNC_SKETCHES.get(*sketch).copied().unwrap_or(0);
                Message::CompareSlot {
                    slot: *slot,
                    digest,
                    scope: self.scope,
                    from: *from,
                    symbols,
                }
            }
            Question::Fingerprints { slot, wanted } => {
                Message::AskFingerprintStates { slot: *slot, fingerprints: wanted.clone() }
            }
            Question::KeyDigests(slot) => Message::AskKeyDigests { slot: *slot },
            Question::States { slot, keys } => {
                Message::AskKeyStates { slot: *slot, keys: keys.clone() }
            }
            Question::Refute { slot, effect } => Message::Replicate {
                slot: *slot,
                dots: Vec::new(),
                outcome: None,
                effect: effect.clone(),
            },
        })
    }

    /// The second look: each slot begins its exchange.
    fn look_again(&mut self, slots: &[Slot]) {
        // The last possible fingerprint is asked for when nothing but the comparison matters.
        let (from, sketch) =
            if self.order.dry { (u64::MAX, SYNC_SKETCHES.len()) } else { (0, self.first_sketch) };
        for slot in slots.iter().rev() {
            self.exchanges.insert(*slot, Exchange { pass: 1, ..Exchange::default() });
            self.ask(*slot, Question::Slot { slot: *slot, from, sketch });
        }
    }

    /// Pushes what fits in one message; the rest follows in another one.
    fn push(
        &mut self,
        digests: &impl Digests,
        slot: Slot,
        mut keys: Vec<Bytes>,
    ) -> (usize, Message) {
        let (covered, effect) = digests.export_keys(slot, &keys, SYNC_STATES_BYTES);
        let rest = keys.split_off(covered);
        if !rest.is_empty() {
            self.ask(slot, Question::Push { slot, keys: rest });
        }
        let index = self.asked.insert(Question::Push { slot, keys });
        (index, Message::Replicate { slot, dots: Vec::new(), outcome: None, effect })
    }

    /// Asks something about a slot in exchange, before anything else.
    pub(super) fn ask(&mut self, slot: Slot, question: Question) {
        if let Some(exchange) = self.exchanges.get_mut(&slot) {
            exchange.open += 1;
            self.to_do.push_front(question);
        }
    }

    /// A question about a slot is settled; the last one ends the pass.
    fn close(&mut self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        let Some(exchange) = self.exchanges.get_mut(&slot) else { return };
        exchange.open -= 1;
        if exchange.open > 0 {
            return;
        }
        if exchange.settled {
            self.exchanges.remove(&slot);
        } else {
            // Whether that was everything, the digest of the slot tells.
            exchange.pass += 1;
            exchange.differs = false;
            self.ask(slot, Question::Slot { slot, from: 0, sketch: 0 });
        }
    }

    pub(super) fn refuse(&mut self, slot: Option<Slot>) {
        self.refused = true;
        self.settle(slot);
    }

    fn settle(&mut self, slot: Option<Slot>) {
        if let Some(exchange) = slot.and_then(|slot| self.exchanges.get_mut(&slot)) {
            exchange.settled = true;
        }
    }

    /// The peer has answered `question`.
    pub(super) fn take_answer(
        &mut self,
        digests: &mut impl Digests,
        question: Question,
        answer: Message,
    ) {
        let slot = question.slot();
        match (question, answer) {
            (Question::Push { .. } | Question::Refute { .. }, Message::Ack) => {}
            (Question::Group(group), Message::GroupSame(settlement)) => {
                self.evidence.add(group, settlement);
            }
            (Question::Slot { .. }, Message::SlotSame) => self.settle(slot),
            (Question::Group(group), Message::GroupDiffers { settlement, slots }) => {
                self.evidence.add(group, settlement);
                let suspects = self.differing(digests, group, slots);
                if !suspects.is_empty() {
                    self.to_do.push_back(Question::Suspects(suspects));
                }
            }
            (Question::Slot { slot, from, .. }, Message::Fingerprints { until, fingerprints }) => {
                let theirs = Chunk { until, fingerprints };
                self.take_fingerprints(digests, slot, from, theirs);
            }
            (Question::Slot { slot, sketch, .. }, Message::Sketch(theirs)) => {
                self.take_sketch(digests, slot, sketch, &theirs);
            }
            (
                Question::Fingerprints { slot, wanted },
                Message::FingerprintStates { covered, states },
            ) => self.take_states(digests, slot, &wanted, covered as usize, &states),
            (Question::KeyDigests(slot), Message::KeyDigests(theirs)) => {
                self.compare_keys(digests, slot, theirs);
            }
            (Question::States { slot, keys }, Message::States(states)) => {
                if self.merge(digests, slot, &states) {
                    self.ask(slot, Question::Push { slot, keys });
                }
            }
            (Question::Comparison { comparison, found }, answer @ Message::Elements { .. }) => {
                self.take_view(digests, &comparison, found, answer);
            }
            (
                Question::Parts { leaf, wanted, lacking },
                Message::FingerprintStates { covered, states },
            ) => self.take_parts(digests, leaf, (wanted, lacking), covered as usize, &states),
            (Question::PushParts { leaf, lacking }, Message::Ack) => {
                self.fetch_parts(leaf, Vec::new(), lacking);
            }
            (_, answer) => {
                self.stale |= matches!(answer, Message::Rejected { cause: Cause::StaleEpoch, .. });
                self.refuse(slot);
            }
        }
        self.close(slot);
    }

    /// The slots of a group whose digests are not those of the peer.
    fn differing(
        &self,
        digests: &impl Digests,
        group: u16,
        theirs: Vec<(Slot, u128)>,
    ) -> Vec<Slot> {
        let ours: BTreeMap<Slot, u128> =
            digests.slot_digests(group, self.peer, self.scope).into_iter().collect();
        let differ = theirs
            .into_iter()
            .filter(|(slot, digest)| ours.get(slot).is_some_and(|ours| ours != digest))
            .map(|(slot, _)| slot);
        // A set: what a peer names twice is looked at once.
        differ.collect::<BTreeSet<Slot>>().into_iter().collect()
    }

    /// The slot differs; a part of the peer's fingerprints tells where.
    fn take_fingerprints(&mut self, digests: &impl Digests, slot: Slot, from: u64, theirs: Chunk) {
        if !theirs.is_sound(from) {
            return self.refuse(Some(slot));
        }
        if self.goes_on(slot) {
            self.compare_fingerprints(digests, slot, from, theirs);
        }
    }

    /// The slot differs; a sketch of the peer's fingerprints tells where, if it is not too much.
    fn take_sketch(&mut self, digests: &impl Digests, slot: Slot, asked: usize, theirs: &[Symbol]) {
        let length = SYNC_SKETCHES.get(asked).copied().map_or(0, usize::from);
        if theirs.is_empty() || theirs.len() != length {
            return self.refuse(Some(slot));
        }
        if !self.goes_on(slot) {
            return;
        }
        let (_, ours) = sketch::sketch(digests, slot, length);
        match sketch::difference(ours, theirs) {
            Some(difference) => self.exchange(digests, slot, difference),
            None => self.ask(slot, Question::Slot { slot, from: 0, sketch: asked + 1 }),
        }
    }

    /// The slot is seen to differ. Returns whether fingerprints are to be compared in this pass.
    fn goes_on(&mut self, slot: Slot) -> bool {
        let Some(exchange) = self.exchanges.get_mut(&slot) else { return false };
        if exchange.differs {
            return true;
        }
        exchange.differs = true;
        if exchange.pass == 1 {
            self.slots += 1;
            exchange.settled = self.order.dry;
            return !self.order.dry;
        }
        if !exchange.found || exchange.pass > SYNC_PASSES_MAX {
            // Some fingerprints must collide.
            exchange.settled = true;
            self.ask(slot, Question::KeyDigests(slot));
            return false;
        }
        exchange.found = false;
        true
    }

    fn compare_fingerprints(
        &mut self,
        digests: &impl Digests,
        slot: Slot,
        from: u64,
        theirs: Chunk,
    ) {
        let ours = fingerprint::chunk(digests, slot, from);
        // Both sides know what they have up to here.
        let until = ours.until.min(theirs.until);
        // What comes last here is asked first.
        if until < u64::MAX {
            let sketch = SYNC_SKETCHES.len();
            self.ask(slot, Question::Slot { slot, from: until + 1, sketch });
        }
        let only_ours = only_in(&ours.fingerprints, &theirs.fingerprints, until);
        let only_theirs = only_in(&theirs.fingerprints, &ours.fingerprints, until);
        self.exchange(digests, slot, Difference { only_ours, only_theirs });
    }

    /// Asks for what only the peer has, and sends what only this node has.
    fn exchange(&mut self, digests: &impl Digests, slot: Slot, difference: Difference) {
        let Difference { only_ours: mut lacking, only_theirs: mut wanted } = difference;
        let differ = lacking.len() + wanted.len();
        let enough = |symbols: &u16| usize::from(*symbols) >= 2 * differ;
        self.first_sketch = SYNC_SKETCHES.iter().position(enough).unwrap_or(SYNC_SKETCHES.len());
        let lacking_keys: BTreeSet<u64> = lacking.iter().copied().map(key_of).collect();
        let changed: BTreeSet<u64> =
            wanted.iter().copied().map(key_of).filter(|part| lacking_keys.contains(part)).collect();
        if Mutant::RepairSkipsMissing.is_planted() {
            lacking.retain(|one| changed.contains(&key_of(*one)));
            wanted.retain(|one| changed.contains(&key_of(*one)));
        }
        self.keys += (lacking.len() + wanted.len()).saturating_sub(changed.len()) as u64;
        if let Some(exchange) = self.exchanges.get_mut(&slot) {
            exchange.found |= !lacking.is_empty() || !wanted.is_empty();
        }
        let mut lacking = fingerprint::keys(digests, slot, &lacking);
        // Of what both have and is large here, only what is missing travels.
        let leaves: Vec<(u64, Bytes)> = lacking
            .extract_if(.., |(one, key)| {
                changed.contains(&key_of(*one)) && digests.is_large(slot, key)
            })
            .collect();
        wanted.retain(|one| leaves.iter().all(|(leaf, _)| key_of(*leaf) != key_of(*one)));
        for part in wanted.chunks(SYNC_FINGERPRINTS_PER_REQUEST) {
            self.ask(slot, Question::Fingerprints { slot, wanted: part.to_vec() });
        }
        for (_, key) in leaves {
            self.ask(slot, Question::Elements(Leaf::new(slot, key)));
        }
        let lacking: Vec<Bytes> = lacking.into_iter().map(|(_, key)| key).collect();
        for keys in lacking.chunks(SYNC_KEYS_PER_REQUEST) {
            self.ask(slot, Question::Push { slot, keys: keys.to_vec() });
        }
    }

    /// States asked for by fingerprint; what did not fit is asked for again.
    fn take_states(
        &mut self,
        digests: &mut impl Digests,
        slot: Slot,
        wanted: &[u64],
        covered: usize,
        states: &Bytes,
    ) {
        if !(1..=wanted.len()).contains(&covered) {
            return self.refuse(Some(slot));
        }
        // A key may have changed meanwhile, and then nothing is left to merge.
        if !states.is_empty() && !self.merge(digests, slot, states) {
            return;
        }
        let size = covered.max(SYNC_FINGERPRINTS_PER_REQUEST_MIN);
        for part in wanted[covered..].chunks(size) {
            self.ask(slot, Question::Fingerprints { slot, wanted: part.to_vec() });
        }
    }

    /// Merges states of the peer. Returns whether they were accepted.
    pub(super) fn merge(&mut self, digests: &mut impl Digests, slot: Slot, states: &Bytes) -> bool {
        match digests.merge_states(slot, states) {
            Some(effect) if effect.is_empty() => true,
            Some(effect) => {
                self.ask(slot, Question::Refute { slot, effect });
                true
            }
            None => {
                self.refuse(Some(slot));
                false
            }
        }
    }

    fn compare_keys(&mut self, digests: &impl Digests, slot: Slot, theirs: Vec<(Bytes, u128)>) {
        let mut ours: BTreeMap<Bytes, u128> =
            super::key_digests(digests, slot).into_iter().collect();
        let mut wanted = Vec::new();
        for (key, digest) in theirs {
            let our_digest = ours.remove(&key);
            if our_digest.is_none() && Mutant::RepairSkipsMissing.is_planted() {
                continue;
            }
            if our_digest != Some(digest) {
                wanted.push(key);
            }
        }
        if Mutant::RepairSkipsMissing.is_planted() {
            ours.clear();
        }
        // Of what both have and is large here, only what is missing travels.
        for key in wanted.extract_if(.., |key| digests.is_large(slot, key)) {
            self.keys += 1;
            self.ask(slot, Question::Elements(Leaf::new(slot, key)));
        }
        // What is left is what the peer lacks.
        let lacking: Vec<Bytes> = ours.into_keys().collect();
        self.keys += (wanted.len() + lacking.len()) as u64;
        for keys in wanted.chunks(SYNC_KEYS_PER_REQUEST) {
            self.ask(slot, Question::States { slot, keys: keys.to_vec() });
        }
        for keys in lacking.chunks(SYNC_KEYS_PER_REQUEST) {
            self.ask(slot, Question::Push { slot, keys: keys.to_vec() });
        }
    }
}
