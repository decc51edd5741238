//! Anti-entropy by clocks: replicas tell each other which writes they hold, by dots, and pull those
//! that they lack. What it costs follows from what is missing, not from what is stored.
//!
//! ```text
//!   every second:        what has changed since version v?  ->  for each slot that has: which
//!                                                               counters of which origins
//!   a look later, for what is still lacking:
//!                        these dots                         ->  their effects; which are absent
//! ```
//! The first look notes what is lacking, a later one asks: what was merely on its way has come by
//! then. Whoever asks keeps the state of the exchange; whoever answers only counts the versions of
//! its own [`Knowledge`]. An effect that was pulled is merged as any other.
//!
//! **A node claims a dot only when it holds what that write did.** A claim that is wrong would keep
//! everybody from sending that write to it by this way. So dots become known
//!
//! * when their effect has been merged, in the same turn;
//! * or when an anti-entropy round has shown that nothing of them is missing. What a peer reported is
//!   *pended* if its effect cannot be pulled: the peer has forgotten the effect, or there is too much
//!   of it, or it is history, which hints and a round are about to bring anyway: everything until a
//!   whole round with the peer was completed that began after its first whole report. It becomes
//!   known when a round with the peer has been completed that began after the report, for then this
//!   node holds all that the peer did.
//!
//! All questions about one peer go over one link, and so do the rounds with it. When the link
//! closes, everything about the peer is forgotten: it may come back with less than it reported.
//! Nothing here is durable. A node that starts knows nothing, pends what it is told, and the round
//! that each start brings settles it.
//!
//! Digests leave tombstones out, and so does what they prove: a removal whose object neither node
//! has may become known without its tombstone. Should the object arrive later, an anti-entropy
//! round removes it, as it would without clocks.

mod counters;
mod knowledge;
mod peer;
mod recent;
mod respond;
#[cfg(test)]
mod tests;

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;
pub use counters::Counters;
pub use knowledge::Knowledge;
use quorate_proto::{
    Dot, MemberNumber, Slot,
    message::{Message, SlotDots},
};
pub use respond::answer;

use crate::{
    anti_entropy::wire_bytes,
    limits::{CLOCKS_INTERVAL, CLOCKS_PATIENCE, CLOCKS_RECENT_AGE},
    peer_map::PeerMap,
    random::Random,
    time::Instant,
};
use peer::{Peer, Question};

/// The data of a shard, as anti-entropy by clocks sees it.
pub trait Holdings {
    /// Which writes the shard holds.
    fn knowledge(&self) -> &Knowledge;
    /// The same, to be added to.
    fn knowledge_mut(&mut self) -> &mut Knowledge;
    /// Whether this shard owns the slot and both this node and `peer` hold replicas of it.
    fn is_shared(&self, slot: Slot, peer: MemberNumber) -> bool;
    /// Whether this node holds all that it ever acknowledged.
    fn is_complete(&self) -> bool;
    /// Merges an effect that a peer holds, and notes its dots. Returns whether it was accepted.
    fn merge_dotted(&mut self, slot: Slot, dots: Vec<Dot>, effect: &Bytes) -> bool;
    /// Shards of this node. Groups of slots belong to them in turn.
    fn shards(&self) -> u16;
    /// The groups of slots that this shard owns, ascending.
    fn groups(&self) -> Vec<u16>;
}

/// What anti-entropy by clocks wants done.
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
    /// Only an anti-entropy round with this peer can tell whether something is missing.
    Suspect(MemberNumber),
}

/// What anti-entropy by clocks has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Writes that were pulled and merged, since the start.
    pub pulled: u64,
    /// Writes asked for whose effects the peers had forgotten, since the start.
    pub absent: u64,
    /// Bytes of questions and answers, both ways, since the start.
    pub bytes: u64,
    /// Slots and origins that wait for an anti-entropy round, over all peers.
    pub pended: u64,
}

/// Pulls what the slots of one shard lack from its peers.
#[derive(Debug)]
pub struct Clocks {
    /// Those that are up.
    peers: PeerMap<Peer>,
    random: Random,
    /// Counts the questions, so that late answers are told apart.
    serial: u64,
    age_at: Instant,
    metrics: Metrics,
    outputs: VecDeque<Output>,
}

impl Clocks {
    /// Exchanges with peers, all of them down. The pauses of nodes with different seeds differ.
    pub fn new(seed: u64) -> Self {
        Self {
            peers: PeerMap::new(),
            random: Random::new(seed),
            serial: 0,
            age_at: Instant::ZERO,
            metrics: Metrics::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Clocks::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peers.values().map(Peer::due_at).min()
    }

    /// What it has come to so far.
    pub fn metrics(&self) -> Metrics {
        let pended = self.peers.values().map(Peer::pended).sum::<usize>() as u64;
        Metrics { pended, ..self.metrics }
    }

    /// A peer is up.
    pub fn handle_peer_up(&mut self, now: Instant, peer: MemberNumber) {
        let at = now + self.random.jittered(CLOCKS_INTERVAL);
        if !self.peers.contains(peer) {
            self.peers.insert(peer, Peer::new(at));
        }
    }

    /// A peer is down, or has left: if it comes back it may hold less than it reported.
    pub fn handle_peer_down(&mut self, peer: MemberNumber) {
        self.peers.remove(peer);
    }

    /// An anti-entropy round of everything with a peer begins.
    pub fn handle_round_begun(&mut self, peer: MemberNumber) {
        if let Some(found) = self.peers.get_mut(peer) {
            found.round_begun();
        }
    }

    /// The round with a peer that began last has exchanged everything.
    pub fn handle_synced(&mut self, peer: MemberNumber, holdings: &mut impl Holdings) {
        if let Some(found) = self.peers.get_mut(peer) {
            found.synced(holdings.knowledge_mut());
        }
    }

    /// Asks whom it is time to ask.
    pub fn handle_timeout(&mut self, now: Instant, holdings: &mut impl Holdings) {
        if now >= self.age_at {
            self.age_at = now + CLOCKS_RECENT_AGE;
            holdings.knowledge_mut().age();
        }
        let due = self.peers.iter().filter(|(_, peer)| peer.due_at() <= now);
        let due: Vec<MemberNumber> = due.map(|(node, _)| node).collect();
        for node in due {
            let peer = &mut self.peers[node];
            let next_at = now + self.random.jittered(CLOCKS_INTERVAL);
            peer.begin(next_at, holdings.groups());
            if peer.take_suspicion(now) {
                self.outputs.push_back(Output::Suspect(node));
            }
            self.ask(now, holdings, node);
        }
    }

    /// A response to something that was asked here.
    pub fn handle_response(
        &mut self,
        now: Instant,
        holdings: &mut impl Holdings,
        from: MemberNumber,
        correlation: u64,
        message: Message,
    ) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        let Some(question) = peer.take_question(correlation) else { return };
        self.metrics.bytes += wire_bytes(&message);
        match (question, message) {
            (Question::Summary, Message::Clocks { shards, version, next, slots }) => {
                peer.take_summary(holdings, from, slots);
                peer.turn_page(shards, version, next);
            }
            (Question::Dots(wanted), Message::Dots { effects, absent }) => {
                let (pulled, absent) = peer.take_effects(holdings, from, wanted, effects, &absent);
                self.metrics.pulled += pulled;
                self.metrics.absent += absent;
            }
            // It is asked again the next time.
            _ => peer.give_up(),
        }
        if peer.take_suspicion(now) {
            self.outputs.push_back(Output::Suspect(from));
        }
        self.ask(now, holdings, from);
    }

    /// Asks a peer the next question of the present exchange, one at a time.
    fn ask(&mut self, now: Instant, holdings: &impl Holdings, to: MemberNumber) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        let Some((question, message)) = peer.next_question(holdings) else { return };
        self.serial = (self.serial + 1) & SERIAL_MASK;
        peer.asked(question, self.serial, now + CLOCKS_PATIENCE);
        self.metrics.bytes += wire_bytes(&message);
        self.outputs.push_back(Output::Send { to, correlation: self.serial, message });
    }
}

/// The shell keeps the upper bits of a correlation id.
const SERIAL_MASK: u64 = (1 << 48) - 1;

/// The ranges of one origin after the other.
fn by_origin(slot: &SlotDots) -> impl Iterator<Item = (quorate_proto::Origin, Counters)> {
    slot.ranges.chunk_by(|a, b| a.origin == b.origin).map(|ranges| {
        let mut counters = Counters::default();
        ranges.iter().for_each(|range| counters.insert_range(range.first, range.last));
        (ranges[0].origin, counters)
    })
}
