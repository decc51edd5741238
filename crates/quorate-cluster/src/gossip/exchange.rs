//! Exchanges of what is known, and what is believed of it.

use alloc::{boxed::Box, vec::Vec};
use core::cmp::{Ordering, Reverse};

use quorate_proto::{
    NodeId,
    message::{self, Delta, Digest, GossipStep, Message},
};

use super::{
    Bug, Gossip, Output,
    record::{DIGEST_BYTES, is_well_formed},
};
use crate::{
    limits::{GOSSIP_AHEAD_MAX, GOSSIP_PACKET_MAX, GOSSIP_SHARE_MAX, GOSSIP_VERSION_MAX},
    time::{Instant, Wall},
};

/// Bytes of a message without digests and deltas.
const HEAD_BYTES: usize = 9;

impl Gossip {
    /// Begins an exchange.
    pub(super) fn open(&mut self, to: NodeId) {
        let digests = self.digests();
        self.send(to, GossipStep::Open, digests, Vec::new());
    }

    pub(super) fn take_gossip(
        &mut self,
        now: Instant,
        wall: Wall,
        from: NodeId,
        gossip: &message::Gossip,
    ) {
        self.take_digests(now, wall, &gossip.digests);
        for delta in &gossip.deltas {
            self.take_delta(now, wall, delta);
        }
        match gossip.step {
            GossipStep::Open => {
                let digests = self.digests();
                let deltas = self.deltas(&gossip.digests, digests.len());
                self.send(from, GossipStep::Answer, digests, deltas);
            }
            GossipStep::Answer => {
                let deltas = self.deltas(&gossip.digests, 0);
                if !deltas.is_empty() {
                    self.send(from, GossipStep::Close, Vec::new(), deltas);
                }
            }
            GossipStep::Close => {}
        }
    }

    fn send(&mut self, to: NodeId, step: GossipStep, digests: Vec<Digest>, deltas: Vec<Delta>) {
        let gossip = message::Gossip { step, digests, deltas };
        self.outputs.push_back(Output::Send { to, message: Message::Gossip(Box::new(gossip)) });
    }

    pub(super) fn digests(&self) -> Vec<Digest> {
        self.nodes.iter().filter_map(|(&id, record)| record.digest(id)).collect()
    }

    /// What somebody lacks who knows as much as `theirs`, beside so many digests of our own. Of whom
    /// they lack most comes first, and nobody takes all the room.
    fn deltas(&mut self, theirs: &[Digest], digests: usize) -> Vec<Delta> {
        let mut theirs = theirs.iter().peekable();
        let mut lacking = Vec::new();
        for (&id, record) in &self.nodes {
            while theirs.next_if(|digest| digest.id < id).is_some() {}
            let known = theirs.next_if(|digest| digest.id == id);
            let count = record.lacking(known);
            if count > 0 {
                lacking.push((Reverse(count), self.random.next_u64(), id, known));
            }
        }
        lacking.sort_unstable_by_key(|&(count, drawn, ..)| (count, drawn));
        let mut room = GOSSIP_PACKET_MAX - HEAD_BYTES - digests * DIGEST_BYTES;
        let deltas = lacking.into_iter().map_while(|(_, _, id, known)| {
            let share = room.min(GOSSIP_SHARE_MAX);
            let (delta, bytes) = self.nodes.get(&id)?.delta(id, known, share)?;
            room -= bytes;
            Some(delta)
        });
        deltas.collect()
    }

    /// Learns who is alive from how much another node knows.
    fn take_digests(&mut self, now: Instant, wall: Wall, digests: &[Digest]) {
        let me = self.me;
        let own = digests.iter().find(|digest| digest.id == me && is_possible(wall, digest));
        if let Some(own) = own {
            self.refute(own.generation, own.beat, own.version);
        }
        let mut digests = digests.iter().peekable();
        let mut alive = Vec::new();
        for (&id, record) in &mut self.nodes {
            while digests.next_if(|digest| digest.id < id).is_some() {}
            let Some(digest) = digests.next_if(|digest| digest.id == id) else { continue };
            let is_sign = digest.generation == record.generation && digest.beat > record.beat;
            if is_sign && id != me && is_possible(wall, digest) {
                record.beat = digest.beat;
                alive.push(id);
            }
        }
        alive.into_iter().for_each(|id| self.is_alive(now, id, true));
    }

    /// Somebody knows so much of this node. If it is more than this node has said, an earlier start
    /// said it whose clock was ahead, or nobody did: a later generation says everything again.
    fn refute(&mut self, generation: u64, beat: u64, version: u64) {
        let own = self.own();
        let is_ours = generation < own.generation
            || generation == own.generation && beat <= own.beat && version <= own.version;
        if !is_ours {
            own.generation = generation + 1;
            own.renumber();
        }
    }

    pub(super) fn take_delta(&mut self, now: Instant, wall: Wall, delta: &Delta) {
        if !is_past(wall, delta.generation) || !is_well_formed(delta) {
            return;
        }
        if delta.id == self.me {
            let version = delta.entries.last().map_or(delta.since, |entry| entry.version);
            return self.refute(delta.generation, delta.beat, version);
        }
        let goes_back = self.has(Bug::OldGenerations);
        let (has_gaps, has_ghosts) = (self.has(Bug::Gaps), self.has(Bug::Ghosts));
        let Some(record) = self.nodes.get_mut(&delta.id) else { return };
        let is_other = match delta.generation.cmp(&record.generation) {
            Ordering::Less if !goes_back => return,
            Ordering::Equal => false,
            Ordering::Less | Ordering::Greater => true,
        };
        let known = if is_other { 0 } else { record.version };
        let is_sign = is_other || delta.beat > record.beat || has_ghosts;
        let has_gap = delta.since > known && !has_gaps;
        // What others still tell of a node that is forgotten is no sign of life.
        if has_gap || record.is_forgotten && !is_sign {
            return;
        }
        if is_other {
            record.begin(delta.generation);
        }
        record.beat = record.beat.max(delta.beat);
        for entry in &delta.entries {
            if entry.version > record.version {
                record.put(entry.clone());
            }
        }
        if is_sign {
            self.is_alive(now, delta.id, true);
        }
    }
}

/// Whether there can be so much of a node's news.
fn is_possible(wall: Wall, digest: &Digest) -> bool {
    let counted = digest.beat.max(digest.version);
    counted <= GOSSIP_VERSION_MAX && is_past(wall, digest.generation)
}

/// Whether a node can have started then: what is far in the future is made up.
fn is_past(wall: Wall, generation: u64) -> bool {
    let ahead = GOSSIP_AHEAD_MAX.as_millis() as u64;
    generation <= wall.as_millis().saturating_add(ahead)
}
