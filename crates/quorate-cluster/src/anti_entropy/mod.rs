//! Synchronisation with a peer by digests: what differs is found and exchanged, both ways.
//!
//! ```text
//!   for each group of 256 slots:   my digest             ->  same, or the digests of its slots
//!   for each slot that differs:    my digest             ->  same, or a sketch of its fingerprints
//!   where that does not tell:      my digest             ->  same, or a fingerprint of every key
//!   for what only the peer has:    these fingerprints    ->  the states of their keys
//!   for what only I have:          the states            ->  merged
//!   for large keys of both:        their elements, as in [`crate::elements`]
//!   for each slot, again:          my digest             ->  same, or fingerprints as above
//! ```
//! A round runs with one peer at a time, a bounded number of requests in flight, at a bounded pace.
//! What peers' rounds ask of this node goes by the same pace, in turns with its own questions: a
//! node that is filled again by all its peers takes no more than one that fills itself. Writes that
//! are on their way make slots differ for a moment, so a slot that differs is compared once more
//! after all groups, and only what differs both times counts. A round starts when a peer comes up,
//! once the hints for it are delivered, and then from time to time. It settles whatever hints,
//! crashes and lost messages have left behind.
//!
//! What a round costs follows from what differs: a fixed part for the groups, a
//! sketch of a slot that differs, and the states of the keys that differ; of a large one some
//! kilobytes and the elements that differ. Of a slot in which more differs than a sketch tells,
//! every key costs eight bytes. No message holds more than
//! [`SYNC_FINGERPRINTS_MAX`](crate::limits::SYNC_FINGERPRINTS_MAX) fingerprints, or many more
//! bytes of states than [`SYNC_STATES_BYTES`](crate::limits::SYNC_STATES_BYTES).
//!
//! [Fingerprints](fingerprint()) may collide and so hide a key. Then the digest of the slot goes
//! on to differ although nothing is found, and its keys are compared by name and whole digest. If
//! no element of a key is found to differ that does differ, its whole state is exchanged.
//!
//! What a peer sends may have been removed here so long ago that the tombstone is forgotten. Then
//! it is not merged, and the peer is told to remove it. What rounds prove decides when tombstones
//! go.
//!
//! Digests cover what is alive, so that replicas need not forget at the same time. Only a node that
//! has lost data compares tombstones as well: it may have acknowledged a removal of
//! something that it has yet to hear of.
//!
//! A round compares all groups, or only some: those that are [dirty](Digests::dirty) for a peer, as
//! soon as it is up, and those that an operator asks for. One over some groups settles these and
//! proves nothing else.
//!
//! Guaranteed: [`Output::Completed`] means that everything the round found was exchanged. A round
//! in which either side refused something ends without it and is repeated after a pause.

mod answers;
mod cost;
mod fingerprint;
mod leaf;
mod questions;
mod record;
mod round;
mod settling;
mod sketch;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;

pub use answers::answer;
use bytes::Bytes;
pub use cost::wire_bytes;
pub use fingerprint::fingerprint;
pub use questions::PeerRequest;
use quorate_proto::{
    Groups, MemberNumber, Slot,
    message::{Message, Scope},
    mutant::Mutant,
};
pub use record::{Order, Record, Repair, Tally};
pub use settling::{Retention, Settled};

use crate::{
    elements::Elements,
    limits::{
        SETTLING_MARGIN, SYNC_INTERVAL, SYNC_PAUSE, SYNC_STALE_PAUSE, SYNC_WINDOW, TOMBSTONES_KEPT,
    },
    peer_map::PeerMap,
    random::Random,
    time::Instant,
};
use cost::Pace;
use questions::Questions;
use record::Peer;
use round::Round;
use settling::Settling;

/// The local data, as synchronisation sees it.
pub trait Digests: Elements {
    /// The groups of slots that this shard owns.
    fn groups(&self) -> Vec<u16>;
    /// What is to be compared: everything while this node may lack what it once had.
    fn scope(&self) -> Scope;
    /// The digests of the slots of a group that both this node and `peer` hold.
    fn slot_digests(&self, group: u16, peer: MemberNumber, scope: Scope) -> Vec<(Slot, u128)>;
    /// The digest of a slot; `None` unless both this node and `peer` hold it, and while it cannot be
    /// compared.
    fn slot_digest(&self, slot: Slot, peer: MemberNumber, scope: Scope) -> Option<u128>;
    /// Calls `each` with every key of a slot that `wanted` picks, and its digest. The order does
    /// not matter.
    fn for_each_key(
        &self,
        slot: Slot,
        wanted: impl Fn(&[u8]) -> bool,
        each: impl FnMut(&[u8], u128),
    );
    /// The whole state of some keys of a slot, as an effect: of the first, and of further ones
    /// until it has `bytes_max` bytes. Returns how many keys it covers, with or without a state.
    fn export_keys(&self, slot: Slot, keys: &[Bytes], bytes_max: usize) -> (usize, Bytes);
    /// Merges states from a peer. Returns an effect that removes, at the peer, what was removed
    /// here and is forgotten, often an empty one; `None` when the states were refused, or cannot be
    /// merged now.
    fn merge_states(&mut self, slot: Slot, states: &Bytes) -> Option<Bytes>;
    /// Begins an epoch, which is later than all before, and returns it.
    fn begin_epoch(&mut self) -> u32;
    /// Groups in which `peer` lacks something that nobody keeps for it, once it has everything that
    /// is kept.
    fn dirty(&self, peer: MemberNumber) -> Groups;
    /// The other replicas of any slot of a group.
    fn other_replicas(&self, group: u16) -> Vec<MemberNumber>;
    /// The wall clock, in milliseconds since the Unix epoch; zero while this node may lack what it
    /// has written, or keeps hints for others.
    fn clock_ms(&self) -> u64;
    /// Everything of a group that is dated up to here is known, in milliseconds since the Unix
    /// epoch.
    fn floor_ms(&self, group: u16) -> u64;
}

/// The digest of every key of a slot.
fn key_digests(digests: &impl Digests, slot: Slot) -> Vec<(Bytes, u128)> {
    let mut keys = Vec::new();
    digests.for_each_key(
        slot,
        |_| true,
        |key, digest| keys.push((Bytes::copy_from_slice(key), digest)),
    );
    keys
}

/// The sum of slot digests, as compared for a group.
pub fn group_digest(slots: &[(Slot, u128)]) -> u128 {
    slots.iter().fold(0, |sum, (_, digest)| sum.wrapping_add(*digest))
}

/// What anti-entropy by rounds wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a request to a peer.
    Send {
        /// The peer.
        to: MemberNumber,
        /// Comes back with the response.
        correlation: u64,
        /// The request.
        message: Message,
    },
    /// Answer a question of a peer's round, and then call [`AntiEntropy::handle_answered`].
    Answer(PeerRequest),
    /// A round with a peer begins that compares everything.
    Begun {
        /// The peer.
        peer: MemberNumber,
    },
    /// A round with a peer has ended; keys that differed were exchanged.
    Completed {
        /// The peer.
        peer: MemberNumber,
        /// Keys that differed.
        keys: u64,
        /// What was compared; [`Groups::ALL`] in a whole round.
        groups: Groups,
        /// The epoch that began with the round.
        epoch: u32,
    },
    /// What is proved about the groups of this shard after a round.
    Settled(Vec<Settled>),
}

/// Synchronises the slots of one shard with its peers.
#[derive(Debug)]
pub struct AntiEntropy {
    peers: PeerMap<Peer>,
    round: Option<Round>,
    /// Of the round; a response to an earlier one is ignored.
    serial: u32,
    /// When to start over, should the round not succeed.
    again_at: Instant,
    /// When to look for what is dirty: a round has ended, or one that was refused may begin again.
    look_at: Option<Instant>,
    pace: Pace,
    /// By the rounds which this shard ran, both ways together.
    moved_bytes: u64,
    questions: Questions,
    random: Random,
    settling: Settling,
    outputs: VecDeque<Output>,
}

impl AntiEntropy {
    /// Synchronises with these peers, all of them down.
    pub fn new(peers: impl IntoIterator<Item = MemberNumber>) -> Self {
        Self {
            peers: peers.into_iter().map(|peer| (peer, Peer::DOWN)).collect(),
            round: None,
            serial: 0,
            again_at: Instant::ZERO,
            look_at: None,
            pace: Pace::default(),
            moved_bytes: 0,
            questions: Questions::default(),
            random: Random::new(0),
            settling: Settling::new(Retention {
                tombstones: TOMBSTONES_KEPT,
                margin: SETTLING_MARGIN,
            }),
            outputs: VecDeque::new(),
        }
    }

    /// Spreads the rounds of nodes with different seeds over time.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.random = Random::new(seed);
        self
    }

    /// Keeps tombstones as long as configured.
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.settling.set_retention(retention);
        self
    }

    /// Rounds, and what they are asked by peers, may cause so many bytes a second from now on.
    pub fn set_pace(&mut self, now: Instant, bytes_per_second: u64) {
        self.pace.set(now, bytes_per_second);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`AntiEntropy::handle_timeout`] wants to be called. What has become dirty shows only
    /// when it is.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.round {
            _ if self.questions.is_next() => Some(self.pace.free_at()),
            Some(round) if round.has_question() && round.asked.len() < SYNC_WINDOW => {
                Some(self.pace.free_at())
            }
            Some(_) => None,
            None if self.order_waiting().is_some() => Some(Instant::ZERO),
            None => self.peers.values().filter_map(|peer| peer.due).chain(self.look_at).min(),
        }
    }

    /// The peer that a round is running with.
    pub fn running_with(&self) -> Option<MemberNumber> {
        self.round.as_ref().map(|round| round.peer)
    }

    /// What the rounds with `peer` have come to, one that is running included.
    pub fn record(&self, peer: MemberNumber) -> Record {
        let mut record = self.peers[peer].record;
        if let Some(round) = self.round.as_ref().filter(|round| round.peer == peer) {
            record.note(round);
        }
        record
    }

    /// Whether a whole round with `peer` has shown, since either side came up, that neither lacks
    /// anything but what is kept for it or on its way.
    ///
    /// It counts only when it began after the last loss of any node: whoever is lost may have
    /// brought something to one of the others that it did not bring to the rest.
    pub fn is_proved(&self, peer: MemberNumber) -> bool {
        !self.peers[peer].unverified
    }

    /// What is dirty for a peer need not wait.
    pub fn settle_now(&mut self, now: Instant, peer: MemberNumber) {
        self.peers[peer].settle_at = now;
    }

    /// How long the last whole round with `peer` took, or with whoever it took longest.
    pub fn round_takes(&self, peer: MemberNumber) -> Option<Duration> {
        let took = |record: &Record| record.done_at.map(|_| record.took);
        let longest = || self.peers.values().filter_map(|peer| took(&peer.record)).max();
        took(&self.peers[peer].record).or_else(longest)
    }

    /// When the next whole round with `peer` is due; `None` while it is down.
    pub fn due_at(&self, peer: MemberNumber) -> Option<Instant> {
        self.peers[peer].due
    }

    /// Something came from a peer that is down: who knows whether it can bring it to the others.
    pub fn handle_orphan(&mut self) {
        self.doubt_everybody();
    }

    fn doubt_everybody(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.unverified = true);
        if let Some(round) = &mut self.round {
            round.doubted = true;
        }
    }

    /// Starts a round with `peer` as soon as no other one is running.
    pub fn request(&mut self, now: Instant, peer: MemberNumber) {
        self.peers[peer].due = Some(now);
    }

    /// An operator wants a round with `peer` now. What becomes of it, [`AntiEntropy::record`]
    /// tells.
    pub fn repair(&mut self, now: Instant, peer: MemberNumber, order: Order) {
        let Peer { due, record, .. } = &mut self.peers[peer];
        let is_up = due.is_some();
        // No other round stands in for the whole one that comes from time to time.
        if is_up && order.is_whole() {
            *due = Some(now);
        }
        let repair = if is_up { Repair::Waiting(order) } else { Repair::Failed };
        (record.repair, record.repaired) = (repair, Tally::default());
    }

    /// A round that an operator wants and that is no whole one.
    fn order_waiting(&self) -> Option<(MemberNumber, Order)> {
        self.peers.iter().find_map(|(node, peer)| match peer.record.repair {
            Repair::Waiting(order) if !order.is_whole() => Some((node, order)),
            _ => None,
        })
    }

    /// A round over what is dirty for a peer that is up.
    fn dirty_waiting(&self, now: Instant, digests: &impl Digests) -> Option<(MemberNumber, Order)> {
        self.peers.iter().find_map(|(node, peer)| {
            let is_due = peer.due.is_some() && peer.settle_at <= now;
            let groups = is_due.then(|| digests.dirty(node))?;
            (!groups.is_empty()).then_some((node, Order { groups, dry: false }))
        })
    }

    /// A node has become a peer. It is down.
    pub fn handle_joined(&mut self, peer: MemberNumber) {
        self.peers.insert(peer, Peer::DOWN);
    }

    /// A node is no peer any more; it is as if it were down.
    pub fn handle_left(&mut self, peer: MemberNumber) {
        self.handle_peer_down(peer);
        self.peers.remove(peer);
    }

    /// Other members hold slots. What a round has compared so far were those that both ends held
    /// before: it begins anew. What earlier ones have proved is proved no more.
    pub fn handle_adopted(&mut self, now: Instant) {
        if let Some(round) = self.round.take() {
            let Peer { due, record, .. } = &mut self.peers[round.peer];
            if record.repair == Repair::Running {
                record.repair = Repair::Waiting(round.order);
            }
            if round.order.is_whole() {
                *due = due.map(|_| now);
            }
        }
        self.settling.forget_proofs();
        self.look_at = Some(now);
        for peer in self.peers.values_mut() {
            (peer.settle_at, peer.unverified) = (now, true);
        }
    }

    /// A peer is up. Usually a round is requested once the hints for it are delivered; should they
    /// never be, one comes even so.
    pub fn handle_peer_up(&mut self, now: Instant, peer: MemberNumber) {
        let at = now + self.random.jittered(SYNC_INTERVAL);
        let found = &mut self.peers[peer];
        found.due.get_or_insert(at);
        (found.settle_at, found.unverified) = (now, true);
        if let Some(round) = self.round.as_mut().filter(|round| round.peer == peer) {
            round.doubted = true;
        }
    }

    /// A peer is down; a round with it ends without result.
    pub fn handle_peer_down(&mut self, peer: MemberNumber) {
        self.peers[peer].due = None;
        self.settling.peer_lost(peer);
        self.round.take_if(|round| round.peer == peer);
        self.doubt_everybody();
        let repair = &mut self.peers[peer].record.repair;
        if matches!(repair, Repair::Waiting(_) | Repair::Running) {
            *repair = Repair::Failed;
        }
    }

    /// Goes on with what kept to its pace, and without a round starts the one that is due longest.
    pub fn handle_timeout(&mut self, now: Instant, digests: &mut impl Digests) {
        let had_round = self.round.is_some();
        self.advance(now, digests);
        if had_round {
            return;
        }
        let ordered = self.order_waiting();
        let dirty = || self.dirty_waiting(now, digests);
        let next = ordered.or_else(dirty).or_else(|| self.due_waiting(now));
        let Some((peer, order)) = next else {
            let later = self.peers.values().map(|peer| peer.settle_at).filter(|at| *at > now);
            self.look_at = later.min();
            return;
        };
        self.look_at = None;
        let Peer { due, record, settle_at, .. } = &mut self.peers[peer];
        if record.repair == Repair::Waiting(order) {
            record.repair = Repair::Running;
        }
        *settle_at = now + SYNC_PAUSE;
        if order.is_whole() {
            *due = Some(now + self.random.jittered(SYNC_INTERVAL));
        }
        self.serial = self.serial.wrapping_add(1) & 0xff_ffff;
        self.again_at = now + SYNC_PAUSE;
        let epoch = digests.begin_epoch();
        self.settling.epoch_begun(now, epoch);
        if order.is_whole() {
            self.outputs.push_back(Output::Begun { peer });
        }
        self.round = Some(Round::new(now, peer, digests, order, epoch));
        self.advance(now, digests);
    }

    /// The whole round that is due longest.
    fn due_waiting(&self, now: Instant) -> Option<(MemberNumber, Order)> {
        let due = self.peers.iter().filter_map(|(node, peer)| Some((peer.due?, node)));
        due.min().filter(|(at, _)| *at <= now).map(|(_, node)| (node, Order::WHOLE))
    }

    /// The round of a peer asks something. It is given back when the peer may not ask more yet.
    pub fn handle_question(
        &mut self,
        now: Instant,
        digests: &impl Digests,
        question: PeerRequest,
    ) -> Result<(), Box<PeerRequest>> {
        self.questions.push(question)?;
        self.advance(now, digests);
        Ok(())
    }

    /// The question that was given out last is answered, or its answer is on its way.
    pub fn handle_answered(&mut self, now: Instant, digests: &impl Digests) {
        self.questions.answered();
        self.advance(now, digests);
    }

    /// A question of a peer's round is taken, or the answer to it leaves.
    pub fn charge_others(&mut self, now: Instant, message: &Message) {
        let bytes = wire_bytes(message);
        self.pace.charge(now, bytes);
        self.questions.note_others(bytes);
    }

    /// The questions of peers that wait, which are then forgotten.
    pub fn take_questions(&mut self) -> impl Iterator<Item = PeerRequest> {
        self.questions.take()
    }

    /// A response to something that synchronisation sent.
    pub fn handle_response(
        &mut self,
        now: Instant,
        digests: &mut impl Digests,
        from: MemberNumber,
        correlation: u64,
        message: Message,
    ) {
        let (serial, index) = ((correlation >> 32) as u32 & 0xff_ffff, correlation as u32 as usize);
        let Some(round) = &mut self.round else { return };
        if round.peer != from || self.serial != serial || !round.asked.contains(index) {
            return;
        }
        let bytes = wire_bytes(&message);
        let question = round.asked.remove(index);
        round.take_answer(digests, question, message);
        self.charge_own(now, bytes);
        self.advance(now, digests);
    }

    /// So many bytes of the own round were or will be moved.
    fn charge_own(&mut self, now: Instant, bytes: u64) {
        if let Some(round) = &mut self.round {
            round.bytes += bytes;
        }
        self.moved_bytes += bytes;
        self.pace.charge(now, bytes);
        self.questions.note_own(bytes);
    }

    /// Answers and asks what the pace allows, or ends the round.
    fn advance(&mut self, now: Instant, digests: &impl Digests) {
        while self.pace.free_at() <= now {
            // While an answer is on its way, what it takes does not show yet.
            let goes_on = if self.questions.come_first() {
                self.answer_next(now)
            } else {
                self.ask_next(now, digests) || self.answer_next(now)
            };
            if !goes_on {
                break;
            }
        }
        if self.round.as_ref().is_some_and(Round::is_over) {
            self.end(now, digests);
        }
    }

    fn answer_next(&mut self, now: Instant) -> bool {
        let Some(question) = self.questions.next() else { return false };
        self.charge_others(now, &question.message);
        self.outputs.push_back(Output::Answer(question));
        true
    }

    fn ask_next(&mut self, now: Instant, digests: &impl Digests) -> bool {
        let Some(round) = self.round.as_mut().filter(|round| round.asked.len() < SYNC_WINDOW)
        else {
            return false;
        };
        let Some((index, message)) = round.next_request(digests) else { return false };
        let (to, correlation) = (round.peer, u64::from(self.serial) << 32 | index as u64);
        self.charge_own(now, wire_bytes(&message));
        self.outputs.push_back(Output::Send { to, correlation, message });
        true
    }

    /// The round has nothing left to do.
    fn end(&mut self, now: Instant, digests: &impl Digests) {
        let Some(round) = self.round.take() else { return };
        let peer = round.peer;
        self.look_at = Some(now);
        let Peer { due, record, unverified, settle_at, .. } = &mut self.peers[peer];
        record.note(&round);
        if record.repair == Repair::Running {
            record.repair = if round.refused { Repair::Failed } else { Repair::Done };
        }
        let Order { groups, dry } = round.order;
        let is_whole = round.order.is_whole();
        let hasty = Mutant::DirtyClearedEarly.is_planted() && !is_whole;
        if round.stale {
            *settle_at = now + SYNC_STALE_PAUSE;
        }
        if round.refused && !hasty {
            *due = due.map(|at| if is_whole { at.min(self.again_at) } else { at });
            return;
        }
        if !dry {
            let (keys, epoch) = (round.keys, round.epoch);
            self.outputs.push_back(Output::Completed { peer, keys, groups, epoch });
        }
        if is_whole {
            record.rounds += 1;
            (record.done_at, record.took) = (Some(now), now.since(round.began));
            *unverified &= round.doubted;
            self.settling.round_completed(peer, round.evidence);
            let settled = self.settling.settled(now, digests);
            self.outputs.push_back(Output::Settled(settled));
        }
    }
}
