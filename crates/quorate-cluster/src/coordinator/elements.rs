//! Repairing reads of large keys by elements: each side gets only what it lacks.
//!
//! ```text
//!   compare --> every replica tells its fingerprints where it differs
//!                  --> what this node lacks is fetched --> merged, all at once
//!                         --> each replica is sent what it lacks --> acks --> compare on, or answer
//! ```
//! The answer must belong to a state that every replica holds which counts. What changes here while
//! the others are asked is in no comparison, so it is sent too, with its neighbours in the same
//! small bucket. Where one exchange has no room for all that differs, there are several, one behind
//! the other; should something change between them, all is compared once more, and in the end
//! states travel whole.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use bytes::Bytes;
use quorate_proto::{
    command::Call,
    message::{Message, Scope},
    mutant::Mutant,
};

use super::{Coordinator, Replica, stage::Phase};
use crate::{
    chunk::only_in,
    elements::{Buckets, Comparison, View, name_of},
    limits::EXCHANGES_MAX,
    time::Instant,
};

/// An exchange of elements with the replicas that have answered.
#[derive(Debug)]
pub(super) struct Exchange {
    comparison: Comparison,
    /// By position.
    answers: BTreeMap<usize, Answer>,
    /// Whether anything has differed so far.
    found: bool,
    /// The digest of the keys after what came before was exchanged.
    level_at: u128,
    /// Whether the keys have changed since then by something else.
    moved: bool,
    /// Where the next exchange begins, when this one has no room for all.
    pub(super) next: Option<u64>,
}

#[derive(Debug)]
struct Answer {
    view: View,
    /// The fingerprints that this node lacks, up to and including `known_until`.
    wanted: Vec<u64>,
    known_until: u64,
    /// The elements of the first of them, and how many these are.
    elements: Bytes,
    covered: usize,
}

impl Answer {
    /// The last fingerprint that is settled on this side once the elements are merged.
    fn until(&self) -> u64 {
        self.wanted.get(self.covered).map_or(self.known_until, |next| next - 1)
    }
}

impl Exchange {
    /// What the replica at `position` lacks, as far as it is known, up to `until`.
    fn lacking(&self, replica: &impl Replica, position: usize) -> (Vec<u64>, u64) {
        let answer = &self.answers[&position];
        let View { buckets, theirs, .. } = &answer.view;
        let ours = self.comparison.ours(replica, buckets);
        let until = ours.until.min(theirs.until);
        let mut lacking = only_in(&ours.fingerprints, &theirs.fingerprints, until);
        // Where it did not differ it lacks what has come from others just now.
        let others = self.answers.iter().filter(|(other, _)| **other != position);
        for (_, other) in others {
            let new = other.wanted[..other.covered].iter();
            lacking.extend(new.filter(|one| !buckets.tells(name_of(**one))));
        }
        lacking.sort_unstable();
        lacking.dedup();
        (lacking, until)
    }

    /// Everything where something has changed meanwhile and the replica at `position` did not
    /// differ before.
    fn changed(&self, replica: &impl Replica, position: usize, changed: &Buckets) -> Bytes {
        let buckets = &self.answers[&position].view.buckets;
        let Comparison { slot, keys, .. } = &self.comparison;
        let mut all = Vec::new();
        for key in keys.iter().filter(|_| !changed.is_empty()) {
            let wanted = |name| changed.holds(name) && !buckets.tells(name);
            replica.for_each_fingerprint(*slot, key, wanted, |one| all.push(one));
        }
        all.sort_unstable();
        all.dedup();
        replica.export_elements(*slot, keys, &all, usize::MAX).1
    }
}

impl Coordinator {
    /// Compares the keys of an operation with the replicas that have answered, from a fingerprint
    /// on.
    pub(super) fn compare_elements(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        from: u64,
    ) {
        self.enter(now, index, Phase::Elements);
        let operation = &mut self.operations[index];
        let keys = keys_of(&operation.call);
        let scope = if operation.counts_itself() { Scope::Alive } else { Scope::Everything };
        let comparison = Comparison::new(replica, operation.slot(), keys, scope, from);
        let (mut found, mut level_at, mut moved) = (false, comparison.digest, false);
        let compared = operation.compared();
        match compared.exchange.take() {
            Some(before) if from > 0 => {
                (found, level_at) = (before.found, before.level_at);
                moved = before.moved || level_at != comparison.digest;
            }
            _ => compared.exchanges += 1,
        }
        let question = comparison.question();
        let answers = BTreeMap::new();
        let exchange = Exchange { comparison, answers, found, level_at, moved, next: None };
        operation.compared().exchange = Some(Box::new(exchange));
        for position in (operation.answered - operation.own()).iter() {
            self.call(index, position, question.clone());
        }
    }

    /// A replica has told what it has.
    pub(super) fn take_view(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        answer: Message,
    ) {
        let operation = &mut self.operations[index];
        let Some(exchange) = &mut operation.compared().exchange else { return };
        let Some(view) = exchange.comparison.read(answer) else {
            return self.lost_replica(now, replica, index, position);
        };
        let ours = exchange.comparison.ours(replica, &view.buckets);
        let known_until = ours.until.min(view.theirs.until);
        let wanted = only_in(&view.theirs.fingerprints, &ours.fingerprints, known_until);
        let request = (!wanted.is_empty()).then(|| Message::AskElements {
            slot: exchange.comparison.slot,
            keys: exchange.comparison.keys.clone(),
            fingerprints: wanted.clone(),
        });
        let answer = Answer { view, wanted, known_until, elements: Bytes::new(), covered: 0 };
        exchange.answers.insert(position, answer);
        match request {
            Some(request) => self.call(index, position, request),
            None if operation.asked.is_empty() => self.level(now, replica, index),
            None => {}
        }
    }

    /// A replica has sent what this node lacks.
    pub(super) fn take_elements(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        (covered, elements): (usize, Bytes),
    ) {
        let operation = &mut self.operations[index];
        let Some(exchange) = &mut operation.compared().exchange else { return };
        let answer = exchange.answers.get_mut(&position);
        let Some(answer) = answer.filter(|found| (1..=found.wanted.len()).contains(&covered))
        else {
            return self.lost_replica(now, replica, index, position);
        };
        (answer.covered, answer.elements) = (covered, elements);
        if operation.asked.is_empty() {
            self.level(now, replica, index);
        }
    }

    /// Everybody has answered: merges what is missing here, and sends each what it lacks. All of it
    /// happens in one moment, so that the state of this moment is what everybody holds then.
    fn level(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let Some(mut exchange) = self.operations[index].compared().exchange.take() else { return };
        let changed = exchange.comparison.changed(replica);
        let mut until = u64::MAX;
        for (position, answer) in &exchange.answers {
            let slot = exchange.comparison.slot;
            let elements = &answer.elements;
            if !elements.is_empty() && replica.merge_now(slot, Vec::new(), elements).is_err() {
                return self.lost_replica(now, replica, index, *position);
            }
            until = until.min(answer.until());
            exchange.found |= !answer.wanted.is_empty();
        }
        let mut repairs: Vec<(usize, Bytes)> = Vec::new();
        for position in exchange.answers.keys() {
            let (lacking, known_until) = exchange.lacking(replica, *position);
            until = until.min(known_until);
            exchange.found |= !lacking.is_empty();
            let Comparison { slot, keys, .. } = &exchange.comparison;
            let bytes_max = replica.element_limits().bytes;
            let (covered, effect) = replica.export_elements(*slot, keys, &lacking, bytes_max);
            until = lacking.get(covered).map_or(until, |next| until.min(next - 1));
            repairs.push((*position, effect));
        }
        let last = until == u64::MAX;
        let from = exchange.comparison.from;
        if until < from {
            // Not even the horizons of so many keys fit in a message.
            return self.ask_states(now, index);
        }
        let collides = |view: &View| exchange.comparison.is_deceived(replica, view);
        let deceived =
            !exchange.found && exchange.answers.values().any(|answer| collides(&answer.view));
        let alone = last && from == 0;
        exchange.moved |= !alone && !changed.is_empty();
        if last && (deceived || exchange.moved) {
            let whole = deceived || self.operations[index].compared().exchanges >= EXCHANGES_MAX;
            return if whole {
                self.ask_states(now, index)
            } else {
                self.compare_elements(now, replica, index, 0)
            };
        }
        if alone {
            for (position, effect) in &mut repairs {
                let more = exchange.changed(replica, *position, &changed);
                if !more.is_empty() {
                    *effect = [&effect[..], &more[..]].concat().into();
                }
            }
        }
        exchange.level_at = exchange.comparison.digest_now(replica);
        exchange.next = (!last).then(|| until + 1);
        exchange.answers.clear();
        let operation = &mut self.operations[index];
        if last && !operation.writes() {
            operation.reply = replica.read_now(&operation.call, operation.terms.resp3);
        }
        operation.compared().exchange = Some(exchange);
        self.send_elements(now, replica, index, repairs);
    }

    fn send_elements(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        mut repairs: Vec<(usize, Bytes)>,
    ) {
        repairs.retain(|(_, effect)| !effect.is_empty());
        if Mutant::ElementsLeftOut.is_planted() {
            repairs.clear();
        }
        let lacking = repairs.iter().map(|(position, _)| *position).collect();
        self.begin_repairing(now, index, lacking);
        let slot = self.operations[index].slot();
        for (position, effect) in repairs {
            let message = Message::Replicate { slot, dots: Vec::new(), outcome: None, effect };
            self.call(index, position, message);
        }
        self.repaired(now, replica, index);
    }
}

/// Whether what a call depends on of a key that it names is too large to travel whole.
pub(super) fn names_large(replica: &impl Replica, call: &Call) -> bool {
    let depends_on_all =
        |key| call.elements().is_none() || replica.depends_on_all(call.slot(), key);
    call.keys().any(|key| depends_on_all(key) && replica.is_large(call.slot(), key))
}

/// The keys that a call names, each once.
fn keys_of(call: &Call) -> Vec<Bytes> {
    let mut found: Vec<Bytes> = call.keys().map(Bytes::copy_from_slice).collect();
    found.sort_unstable();
    found.dedup();
    found
}
