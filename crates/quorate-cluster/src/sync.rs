//! Synchronisation with a peer by digests: what differs is found and exchanged, both ways.
//!
//! ```text
//!   for each group of 128 slots:   my digest             ->  same, or the digests of its slots
//!   for each slot that differs:    ask                   ->  digest of every key
//!   for its keys that differ:      ask for the peer's state, merge it,
//!                                  send what the peer lacks or has differently
//! ```
//! A round runs with one peer at a time, a bounded number of requests in flight. Writes that are
//! on their way make slots differ for a moment, so a group that differs is compared once more
//! after the others, and only the slots that differ both times count.
//! A round starts when a peer comes up, once the hints for it are delivered, and then from time
//! to time. It settles whatever hints, crashes and lost messages have left behind.
//!
//! Guaranteed: [`Output::Synced`] means that everything the round found was exchanged. A round in
//! which either side refused something ends without it and is repeated after a pause.

use alloc::{collections::BTreeMap, collections::VecDeque, vec::Vec};

use bytes::Bytes;
use quorate_proto::{NodeIndex, Slot, message::Message, mutant::Mutant};
use slab::Slab;

use crate::{
    limits::{SYNC_INTERVAL, SYNC_KEYS_PER_REQUEST, SYNC_PAUSE, SYNC_WINDOW},
    random::Random,
    time::Instant,
};

/// The local data, as synchronisation sees it.
pub trait Digests {
    /// The groups of slots that this shard owns.
    fn groups(&self) -> Vec<u16>;
    /// The digests of the slots of a group that both this node and `peer` hold.
    fn slot_digests(&self, group: u16, peer: NodeIndex) -> Vec<(Slot, u128)>;
    /// The digest of every key of a slot.
    fn key_digests(&self, slot: Slot) -> Vec<(Bytes, u128)>;
    /// The whole state of some keys of a slot, as an effect.
    fn export_keys(&self, slot: Slot, keys: &[Bytes]) -> Bytes;
    /// Merges states from a peer. Returns whether they were accepted.
    fn merge_states(&mut self, slot: Slot, states: &Bytes) -> bool;
}

/// The sum of slot digests, as compared for a group.
pub fn group_digest(slots: &[(Slot, u128)]) -> u128 {
    slots.iter().fold(0, |sum, (_, digest)| sum.wrapping_add(*digest))
}

/// What synchronisation wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a request to a peer.
    Send {
        /// The peer.
        to: NodeIndex,
        /// Comes back with the response.
        correlation: u64,
        /// The request.
        message: Message,
    },
    /// A round with a peer has ended; keys that differed were exchanged.
    Synced {
        /// The peer.
        peer: NodeIndex,
        /// Keys that differed.
        keys: u64,
    },
}

/// Synchronises the slots of one shard with its peers.
#[derive(Debug)]
pub struct Sync {
    /// By node index: when a round with the peer is due; `None` while it is down.
    due: Vec<Option<Instant>>,
    round: Option<Round>,
    serial: u32,
    random: Random,
    outputs: VecDeque<Output>,
}

/// A round with one peer.
#[derive(Debug)]
struct Round {
    peer: NodeIndex,
    serial: u32,
    /// When to start over, should this round not succeed.
    again_at: Instant,
    /// What is left to ask. What an answer leads to comes before other groups are looked at, so
    /// that the queue stays short however much differs.
    to_do: VecDeque<Question>,
    asked: Slab<Question>,
    keys: u64,
    /// Whether one side did not do what the other asked.
    refused: bool,
}

#[derive(Clone, Debug)]
enum Question {
    Group(u16),
    /// A second look at a group with slots that differed.
    GroupAgain {
        group: u16,
        suspects: Vec<Slot>,
    },
    KeyDigests(Slot),
    /// The peer's state of keys, and then the keys to send back.
    States {
        slot: Slot,
        keys: Vec<Bytes>,
    },
    /// Keys that the peer gets.
    Push {
        slot: Slot,
        keys: Vec<Bytes>,
    },
}

impl Sync {
    /// Synchronises with `nodes` members, all of them down.
    pub fn new(nodes: usize) -> Self {
        Self {
            due: alloc::vec![None; nodes],
            round: None,
            serial: 0,
            random: Random::new(0),
            outputs: VecDeque::new(),
        }
    }

    /// Spreads the rounds of nodes with different seeds over time.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.random = Random::new(seed);
        self
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Sync::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.round.is_some() {
            return None;
        }
        self.due.iter().flatten().min().copied()
    }

    /// Starts a round with `peer` as soon as no other one is running.
    pub fn request(&mut self, now: Instant, peer: NodeIndex) {
        self.due[peer.index()] = Some(now);
    }

    /// A peer is down; a round with it ends without result.
    pub fn handle_peer_down(&mut self, peer: NodeIndex) {
        self.due[peer.index()] = None;
        self.round.take_if(|round| round.peer == peer);
    }

    /// Starts the round that is due longest.
    pub fn handle_timeout(&mut self, now: Instant, digests: &impl Digests) {
        if self.round.is_some() {
            return;
        }
        let due = self.due.iter().enumerate().filter_map(|(index, at)| Some(((*at)?, index)));
        let Some((at, index)) = due.min() else { return };
        if at > now {
            return;
        }
        let peer = NodeIndex(index as u16);
        self.due[index] = Some(now + self.random.jittered(SYNC_INTERVAL));
        self.serial = self.serial.wrapping_add(1) & 0xff_ffff;
        self.round = Some(Round {
            peer,
            serial: self.serial,
            again_at: now + SYNC_PAUSE,
            to_do: digests.groups().into_iter().map(Question::Group).collect(),
            asked: Slab::new(),
            keys: 0,
            refused: false,
        });
        self.advance(digests);
    }

    /// A response to something that synchronisation sent.
    pub fn handle_response(
        &mut self,
        digests: &mut impl Digests,
        from: NodeIndex,
        correlation: u64,
        message: Message,
    ) {
        let (serial, index) = ((correlation >> 32) as u32 & 0xff_ffff, correlation as u32 as usize);
        let Some(round) = &mut self.round else { return };
        if round.peer != from || round.serial != serial || !round.asked.contains(index) {
            return;
        }
        let question = round.asked.remove(index);
        round.take_answer(digests, question, message);
        self.advance(digests);
    }

    /// Asks the next questions, or ends the round.
    fn advance(&mut self, digests: &impl Digests) {
        let Some(round) = &mut self.round else { return };
        while round.asked.len() < SYNC_WINDOW {
            let Some(question) = round.to_do.pop_front() else {
                break;
            };
            let peer = round.peer;
            let message = match &question {
                Question::Group(group) | Question::GroupAgain { group, .. } => {
                    let digest = group_digest(&digests.slot_digests(*group, peer));
                    Message::CompareGroup { group: *group, digest }
                }
                Question::KeyDigests(slot) => Message::AskKeyDigests { slot: *slot },
                Question::States { slot, keys } => {
                    Message::AskKeyStates { slot: *slot, keys: keys.clone() }
                }
                Question::Push { slot, keys } => {
                    Message::Replicate { slot: *slot, effect: digests.export_keys(*slot, keys) }
                }
            };
            let index = round.asked.insert(question);
            let correlation = u64::from(round.serial) << 32 | index as u64;
            self.outputs.push_back(Output::Send { to: peer, correlation, message });
        }
        if round.asked.is_empty() {
            let (peer, keys) = (round.peer, round.keys);
            if round.refused {
                let again_at = round.again_at;
                let due = &mut self.due[peer.index()];
                *due = due.map(|at| at.min(again_at));
            } else {
                self.outputs.push_back(Output::Synced { peer, keys });
            }
            self.round = None;
        }
    }
}

impl Round {
    fn take_answer(&mut self, digests: &mut impl Digests, question: Question, answer: Message) {
        match (question, answer) {
            (Question::Group(_) | Question::GroupAgain { .. }, Message::GroupSame) => {}
            (Question::Group(group), Message::GroupDiffers(theirs)) => {
                let suspects = self.differing(digests, group, theirs);
                if !suspects.is_empty() {
                    let again = Question::GroupAgain { group, suspects };
                    self.to_do.push_back(again);
                }
            }
            (Question::GroupAgain { group, suspects }, Message::GroupDiffers(theirs)) => {
                for slot in self.differing(digests, group, theirs) {
                    if suspects.contains(&slot) {
                        self.to_do.push_front(Question::KeyDigests(slot));
                    }
                }
            }
            (Question::KeyDigests(slot), Message::KeyDigests(theirs)) => {
                self.compare_keys(digests, slot, theirs);
            }
            (Question::States { slot, keys }, Message::States(states))
                if digests.merge_states(slot, &states) =>
            {
                self.to_do.push_front(Question::Push { slot, keys });
            }
            (Question::Push { .. }, Message::Ack) => {}
            _ => self.refused = true,
        }
    }

    /// The slots of a group whose digests are not those of the peer.
    fn differing(
        &self,
        digests: &impl Digests,
        group: u16,
        theirs: Vec<(Slot, u128)>,
    ) -> Vec<Slot> {
        let ours: BTreeMap<Slot, u128> =
            digests.slot_digests(group, self.peer).into_iter().collect();
        theirs
            .into_iter()
            .filter(|(slot, digest)| ours.get(slot).is_some_and(|ours| ours != digest))
            .map(|(slot, _)| slot)
            .collect()
    }

    fn compare_keys(&mut self, digests: &impl Digests, slot: Slot, theirs: Vec<(Bytes, u128)>) {
        let mut ours: BTreeMap<Bytes, u128> = digests.key_digests(slot).into_iter().collect();
        let mut wanted = Vec::new();
        for (key, digest) in theirs {
            let our_digest = ours.remove(&key);
            if our_digest.is_none() && Mutant::SyncSkipsMissing.is_planted() {
                continue;
            }
            if our_digest != Some(digest) {
                wanted.push(key);
            }
        }
        if Mutant::SyncSkipsMissing.is_planted() {
            ours.clear();
        }
        // What is left is what the peer lacks.
        let lacking: Vec<Bytes> = ours.into_keys().collect();
        self.keys += (wanted.len() + lacking.len()) as u64;
        for keys in wanted.chunks(SYNC_KEYS_PER_REQUEST) {
            self.to_do.push_front(Question::States { slot, keys: keys.to_vec() });
        }
        for keys in lacking.chunks(SYNC_KEYS_PER_REQUEST) {
            self.to_do.push_front(Question::Push { slot, keys: keys.to_vec() });
        }
    }
}

/// Answers a peer's question about digests; `None` when the message is no such question.
pub fn answer(digests: &impl Digests, from: NodeIndex, message: &Message) -> Option<Message> {
    Some(match message {
        Message::CompareGroup { group, digest } => {
            let ours = digests.slot_digests(*group, from);
            if group_digest(&ours) == *digest {
                Message::GroupSame
            } else {
                Message::GroupDiffers(ours)
            }
        }
        Message::AskKeyDigests { slot } => Message::KeyDigests(digests.key_digests(*slot)),
        Message::AskKeyStates { slot, keys } => Message::States(digests.export_keys(*slot, keys)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys with a version each; the state of a key is its version, merged by maximum.
    #[derive(Default)]
    struct Data(BTreeMap<Bytes, u8>);

    impl Data {
        fn of(keys: &[(&'static str, u8)]) -> Self {
            Self(keys.iter().map(|(key, version)| (Bytes::from(*key), *version)).collect())
        }
        fn in_slot(&self, slot: Slot) -> impl Iterator<Item = (&Bytes, &u8)> {
            self.0.iter().filter(move |(key, _)| Slot::of_key(key) == slot)
        }
    }

    fn digest(key: &Bytes, version: u8) -> u128 {
        key.iter().fold(u128::from(version) + 1, |sum, byte| sum * 257 + u128::from(*byte))
    }

    impl Digests for Data {
        fn groups(&self) -> Vec<u16> {
            (0..quorate_proto::slot::GROUPS).collect()
        }
        fn slot_digests(&self, group: u16, _: NodeIndex) -> Vec<(Slot, u128)> {
            let slots = Slot::all().filter(|slot| slot.group() == group);
            slots
                .map(|slot| {
                    let keys = self.in_slot(slot);
                    (slot, keys.fold(0, |sum, (key, version)| sum + digest(key, *version)))
                })
                .collect()
        }
        fn key_digests(&self, slot: Slot) -> Vec<(Bytes, u128)> {
            let keys = self.in_slot(slot);
            keys.map(|(key, version)| (key.clone(), digest(key, *version))).collect()
        }
        fn export_keys(&self, _: Slot, keys: &[Bytes]) -> Bytes {
            let mut out = Vec::new();
            for key in keys {
                if let Some(version) = self.0.get(key) {
                    out.push(key.len() as u8);
                    out.extend_from_slice(key);
                    out.push(*version);
                }
            }
            out.into()
        }
        fn merge_states(&mut self, _: Slot, states: &Bytes) -> bool {
            let mut rest = &states[..];
            while let Some((length, tail)) = rest.split_first() {
                let (key, tail) = tail.split_at(usize::from(*length));
                let version = self.0.entry(Bytes::copy_from_slice(key)).or_default();
                *version = (*version).max(tail[0]);
                rest = &tail[1..];
            }
            true
        }
    }

    /// Runs one round between two nodes; returns the keys that differed and the requests sent.
    fn round(ours: &mut Data, theirs: &mut Data) -> (u64, usize) {
        let (me, peer) = (NodeIndex(0), NodeIndex(1));
        let mut sync = Sync::new(2);
        let now = Instant::ZERO;
        sync.request(now, peer);
        sync.handle_timeout(now, ours);
        let mut requests = 0;
        while let Some(output) = sync.poll_output() {
            match output {
                Output::Synced { keys, .. } => return (keys, requests),
                Output::Send { correlation, message, .. } => {
                    requests += 1;
                    let response = answer(theirs, me, &message).unwrap_or_else(|| {
                        let Message::Replicate { slot, effect } = &message else {
                            panic!("unexpected request {message:?}");
                        };
                        theirs.merge_states(*slot, effect);
                        Message::Ack
                    });
                    sync.handle_response(ours, peer, correlation, response);
                }
            }
        }
        panic!("the round did not end");
    }

    #[test]
    fn both_sides_end_up_with_the_newest_of_everything() {
        let mut ours = Data::of(&[("a", 1), ("b", 5), ("same", 3)]);
        let mut theirs = Data::of(&[("a", 2), ("b", 4), ("same", 3), ("theirs", 1)]);
        let (keys, _) = round(&mut ours, &mut theirs);
        assert_eq!(keys, 3);
        let expected = Data::of(&[("a", 2), ("b", 5), ("same", 3), ("theirs", 1)]);
        assert_eq!(ours.0, expected.0);
        assert_eq!(theirs.0, expected.0);
    }

    #[test]
    fn equal_data_costs_one_comparison_a_group() {
        let mut ours = Data::of(&[("a", 1), ("b", 2)]);
        let mut theirs = Data::of(&[("a", 1), ("b", 2)]);
        assert_eq!(round(&mut ours, &mut theirs), (0, usize::from(quorate_proto::slot::GROUPS)));
    }

    #[test]
    fn what_only_we_have_is_pushed() {
        let mut ours = Data::of(&[("a", 1), ("b", 2)]);
        let mut theirs = Data::default();
        assert_eq!(round(&mut ours, &mut theirs).0, 2);
        assert_eq!(ours.0, theirs.0);
    }

    #[test]
    fn a_difference_that_passes_is_not_exchanged() {
        let (now, peer) = (Instant::ZERO, NodeIndex(1));
        let mut ours = Data::of(&[("a", 1)]);
        let theirs = Data::of(&[("a", 2)]);
        let mut sync = Sync::new(2);
        sync.request(now, peer);
        sync.handle_timeout(now, &ours);
        loop {
            match sync.poll_output().expect("the round goes on") {
                Output::Synced { keys, .. } => break assert_eq!(keys, 0),
                Output::Send { correlation, message, .. } => {
                    let question = matches!(message, Message::CompareGroup { .. });
                    assert!(question, "unexpected {message:?}");
                    let response = answer(&theirs, NodeIndex(0), &message).expect("a question");
                    if matches!(response, Message::GroupDiffers(_)) {
                        // The write that was on its way arrives before the second look.
                        ours = Data::of(&[("a", 2)]);
                    }
                    sync.handle_response(&mut ours, peer, correlation, response);
                }
            }
        }
    }

    #[test]
    fn a_round_in_which_something_was_refused_is_repeated() {
        let (now, peer) = (Instant::ZERO, NodeIndex(1));
        let mut ours = Data::of(&[("a", 1)]);
        let theirs = Data::default();
        let mut sync = Sync::new(2);
        sync.request(now, peer);
        sync.handle_timeout(now, &ours);
        let mut refused = 0;
        while let Some(output) = sync.poll_output() {
            let Output::Send { correlation, message, .. } = output else {
                panic!("not everything was taken");
            };
            let response = answer(&theirs, NodeIndex(0), &message).unwrap_or_else(|| {
                refused += 1;
                Message::Rejected {
                    cause: quorate_proto::message::Cause::StoreFull,
                    text: "full".into(),
                }
            });
            sync.handle_response(&mut ours, peer, correlation, response);
        }
        assert_eq!(refused, 1);
        assert_eq!(sync.poll_timeout(), Some(now + SYNC_PAUSE));
        sync.handle_timeout(now + SYNC_PAUSE, &ours);
        assert!(matches!(sync.poll_output(), Some(Output::Send { .. })));
    }

    #[test]
    fn a_round_with_a_lost_peer_ends_and_another_can_start() {
        let mut data = Data::of(&[("a", 1)]);
        let mut sync = Sync::new(3);
        sync.request(Instant::ZERO, NodeIndex(1));
        sync.handle_timeout(Instant::ZERO, &data);
        let Some(Output::Send { correlation, .. }) = sync.poll_output() else { panic!("asks") };
        sync.handle_peer_down(NodeIndex(1));
        while sync.poll_output().is_some() {}
        sync.handle_response(&mut data, NodeIndex(1), correlation, Message::GroupSame);
        assert_eq!(sync.poll_output(), None);
        sync.request(Instant::ZERO, NodeIndex(2));
        sync.handle_timeout(Instant::ZERO, &data);
        assert!(matches!(sync.poll_output(), Some(Output::Send { to: NodeIndex(2), .. })));
    }
}
