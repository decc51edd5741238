//! A large key in a round: its [elements](crate::elements) are compared, and only what one side
//! lacks is exchanged.
//!
//! What is missing here is fetched before anything is sent, because it may supersede what seems to
//! be missing there: a key deleted on one side costs the other side its deletion alone.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use quorate_proto::{Slot, message::Message, mutant::Mutant};

use super::{
    Digests,
    round::{Question, Round},
};
use crate::{chunk::only_in, elements::Comparison};

/// A large key that is exchanged by elements.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) slot: Slot,
    key: Bytes,
    /// The fingerprint that is next to be looked at; `None` when all have been.
    from: Option<u64>,
    /// Whether anything has differed so far.
    found: bool,
}

impl Leaf {
    pub(super) fn new(slot: Slot, key: Bytes) -> Self {
        Self { slot, key, from: Some(0), found: false }
    }

    /// Asks for elements.
    pub(super) fn request(&self, wanted: &[u64]) -> Message {
        let Self { slot, key, .. } = self;
        let (keys, fingerprints) = (alloc::vec![key.clone()], wanted.to_vec());
        Message::AskElements { slot: *slot, keys, fingerprints }
    }
}

impl Round {
    /// Tells the peer what this node has of a large key.
    pub(super) fn compare_elements(
        &mut self,
        digests: &impl Digests,
        leaf: Leaf,
    ) -> (usize, Message) {
        let Leaf { slot, key, from, found } = leaf;
        let (keys, from) = (alloc::vec![key], from.unwrap_or_default());
        let comparison = Comparison::new(digests, slot, keys, self.scope, from);
        let message = comparison.question();
        let comparison = Box::new(comparison);
        (self.asked.insert(Question::Comparison { comparison, found }), message)
    }

    /// The peer has told where its elements differ.
    pub(super) fn take_view(
        &mut self,
        digests: &impl Digests,
        comparison: &Comparison,
        found: bool,
        answer: Message,
    ) {
        let slot = comparison.slot;
        let (Some(view), Some(key)) = (comparison.read(answer), comparison.keys.first()) else {
            return self.refuse(Some(slot));
        };
        let ours = comparison.ours(digests, &view.buckets);
        let until = ours.until.min(view.theirs.until);
        let wanted = only_in(&view.theirs.fingerprints, &ours.fingerprints, until);
        let lacking = only_in(&ours.fingerprints, &view.theirs.fingerprints, until);
        let found = found || !wanted.is_empty() || !lacking.is_empty();
        let from = until.checked_add(1);
        if from.is_none() && !found && comparison.is_deceived(digests, &view) {
            return self.ask(slot, Question::States { slot, keys: comparison.keys.clone() });
        }
        let leaf = Leaf { slot, key: key.clone(), from, found };
        self.fetch_parts(leaf, wanted, lacking);
    }

    /// What is missing here comes first: it may supersede what seems to be missing there.
    pub(super) fn fetch_parts(&mut self, leaf: Leaf, wanted: Vec<u64>, lacking: Vec<u64>) {
        let slot = leaf.slot;
        if !wanted.is_empty() {
            self.ask(slot, Question::Parts { leaf, wanted, lacking });
        } else if !lacking.is_empty() {
            self.ask(slot, Question::PushParts { leaf, lacking });
        } else {
            self.go_on(leaf);
        }
    }

    pub(super) fn take_parts(
        &mut self,
        digests: &mut impl Digests,
        leaf: Leaf,
        (mut wanted, lacking): (Vec<u64>, Vec<u64>),
        covered: usize,
        states: &Bytes,
    ) {
        if !(1..=wanted.len()).contains(&covered) {
            return self.refuse(Some(leaf.slot));
        }
        if !states.is_empty() && !self.merge(digests, leaf.slot, states) {
            return;
        }
        wanted.drain(..covered);
        self.fetch_parts(leaf, wanted, lacking);
    }

    /// Pushes what fits in one message; the rest follows in another one.
    pub(super) fn push_parts(
        &mut self,
        digests: &impl Digests,
        leaf: Leaf,
        mut lacking: Vec<u64>,
    ) -> (usize, Message) {
        let (slot, keys) = (leaf.slot, [leaf.key.clone()]);
        let bytes_max = digests.element_limits().bytes;
        let (covered, mut effect) = digests.export_elements(slot, &keys, &lacking, bytes_max);
        if Mutant::ElementsLeftOut.is_planted() {
            effect = Bytes::new();
        }
        lacking.drain(..covered);
        (
            self.asked.insert(Question::PushParts { leaf, lacking }),
            Message::Replicate { slot, dots: Vec::new(), outcome: None, effect },
        )
    }

    /// The next step of an exchange of elements of which a part is done.
    fn go_on(&mut self, leaf: Leaf) {
        if leaf.from.is_some() {
            self.ask(leaf.slot, Question::Elements(leaf));
        }
    }
}
