//! What the rounds of peers ask of this node, which waits until the pace lets it be answered.

use alloc::{boxed::Box, collections::VecDeque};
use core::time::Duration;

use quorate_proto::{MemberNumber, message::Message};

use crate::{
    limits::{SYNC_BURST_BYTES, SYNC_WINDOW},
    membership::LinkId,
};

/// What one side may have moved while the other had nothing to do counts no further than this.
const LEAD_MAX: i64 = SYNC_BURST_BYTES as i64;

/// A request of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRequest {
    /// The link that it came on, and that the answer goes to.
    pub link: LinkId,
    /// Goes back with the answer.
    pub correlation: u64,
    /// The epoch that the peer named.
    pub epoch: u64,
    /// The peer.
    pub from: MemberNumber,
    /// How long ago it was sent, at most.
    pub late: Duration,
    /// What it wants.
    pub message: Message,
}

/// Questions in the order in which they came, and whether one is being answered.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: VecDeque<PeerRequest>,
    answering: bool,
    /// How many bytes more the own rounds have moved than those of the peers.
    lead: i64,
}

impl Questions {
    /// Puts a question behind the others; gives it back when more came on its link, which is that
    /// of one shard of a peer, than a round asks at a time.
    pub(super) fn push(&mut self, question: PeerRequest) -> Result<(), Box<PeerRequest>> {
        // A round that was broken off may have left as many behind as the next one asks.
        let asked = self.waiting.iter().filter(|waiting| waiting.link == question.link).count();
        if asked >= 2 * SYNC_WINDOW {
            return Err(question.into());
        }
        self.waiting.push_back(question);
        Ok(())
    }

    /// The next question to answer, unless another one is being answered.
    pub(super) fn next(&mut self) -> Option<PeerRequest> {
        let question = if self.answering { None } else { self.waiting.pop_front() };
        self.answering |= question.is_some();
        question
    }

    pub(super) fn answered(&mut self) {
        self.answering = false;
    }

    /// The own round has moved so many bytes.
    pub(super) fn note_own(&mut self, bytes: u64) {
        self.lead = (self.lead + bytes as i64).min(LEAD_MAX);
    }

    /// The rounds of peers have moved so many bytes.
    pub(super) fn note_others(&mut self, bytes: u64) {
        self.lead = (self.lead - bytes as i64).max(-LEAD_MAX);
    }

    /// Whether it is the turn of the peers.
    pub(super) fn come_first(&self) -> bool {
        self.lead > 0 && (self.answering || !self.waiting.is_empty())
    }

    /// Whether one could be answered next.
    pub(super) fn is_next(&self) -> bool {
        !self.answering && !self.waiting.is_empty()
    }

    /// The questions that are not answered any more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = PeerRequest> {
        self.waiting.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{
        anti_entropy::{
            AntiEntropy, Output,
            tests::{Data, respond},
            wire_bytes,
        },
        limits::{SYNC_BURST_BYTES, SYNC_BYTES_PER_SECOND},
        time::Instant,
    };

    /// Nodes whose messages take no time, so that only the pace does.
    struct World {
        now: Instant,
        nodes: Vec<(AntiEntropy, Data)>,
        /// Bytes that the first node has sent or been sent: of its own rounds, and of the others'.
        own: u64,
        others: u64,
    }

    impl World {
        /// A first node without data and `peers` others, all of which hold the same.
        fn new(peers: u16, keys: u32, padding: usize) -> Self {
            let node = |number| {
                let keys = if number == 0 { 0 } else { keys };
                (
                    AntiEntropy::new((0..=peers).map(MemberNumber)),
                    Data::numbered("key", keys).padded(padding),
                )
            };
            let nodes = (0..=peers).map(node).collect();
            Self { now: Instant::ZERO, nodes, own: 0, others: 0 }
        }

        fn count(&mut self, from: usize, to: usize, message: &Message) {
            match (from, to) {
                (0, _) => self.own += wire_bytes(message),
                (_, 0) => self.others += wire_bytes(message),
                _ => {}
            }
        }

        /// Does what the node wants done; whether that was anything.
        fn serve(&mut self, node: usize) -> bool {
            let (now, from) = (self.now, MemberNumber(node as u16));
            let Some(output) = self.nodes[node].0.poll_output() else { return false };
            match output {
                Output::Send { to, correlation, message } => {
                    self.count(node, to.index(), &message);
                    let link = LinkId(node as u64);
                    let late = Duration::ZERO;
                    let request = PeerRequest { link, correlation, epoch: 0, from, late, message };
                    let (sync, data) = &mut self.nodes[to.index()];
                    sync.handle_question(now, data, request).expect("no more than a window");
                }
                Output::Answer(PeerRequest { correlation, from: asker, message, .. }) => {
                    let (sync, data) = &mut self.nodes[node];
                    let answer = respond(data, &message);
                    sync.charge_others(now, &answer);
                    sync.handle_answered(now, data);
                    self.count(asker.index(), node, &answer);
                    let (sync, data) = &mut self.nodes[asker.index()];
                    sync.handle_response(now, data, from, correlation, answer);
                }
                Output::Begun { .. } | Output::Completed { .. } | Output::Settled(_) => {}
            }
            true
        }

        /// Does all that can be done at once.
        fn serve_all(&mut self) {
            while (0..self.nodes.len()).fold(false, |any, node| any | self.serve(node)) {}
        }

        /// Waits until the pace lets anybody go on.
        fn wait(&mut self) {
            let due = self.nodes.iter().filter_map(|(sync, _)| sync.poll_timeout()).min();
            self.now = self.now.max(due.expect("rounds come again"));
            for (sync, data) in &mut self.nodes {
                sync.handle_timeout(self.now, data);
            }
        }

        fn is_full(&self) -> bool {
            let full = self.nodes[1].1.all();
            self.nodes
                .iter()
                .all(|(sync, data)| sync.running_with().is_none() && data.all() == full)
        }
    }

    #[test]
    fn a_node_that_all_fill_again_keeps_to_its_pace_and_all_get_on() {
        let mut world = World::new(2, 600, 100_000);
        for node in 1..3 {
            world.nodes[0].0.request(world.now, MemberNumber(node));
            world.nodes[usize::from(node)].0.request(world.now, MemberNumber(0));
        }
        for (sync, data) in &mut world.nodes {
            sync.handle_timeout(world.now, data);
        }
        let mut shares = None;
        world.serve_all();
        while !world.is_full() {
            world.wait();
            world.serve_all();
            let micros = world.now.since(Instant::ZERO).as_micros() as u64;
            let paced = SYNC_BYTES_PER_SECOND * micros / 1_000_000;
            let moved = world.own + world.others;
            // A window may be under way when the burst is spent.
            assert!(moved <= paced + 2 * SYNC_BURST_BYTES, "{moved} bytes in {micros} us");
            if moved > 48 << 20 {
                shares.get_or_insert((world.own, world.others));
            }
        }
        let (own, others) = shares.expect("much is moved");
        assert!(own * 3 > others && others * 3 > own, "{own} of its own, {others} of others");
    }

    #[test]
    fn a_peer_that_asks_more_than_a_round_does_is_refused() {
        let mut questions = Questions::default();
        let request = |link| PeerRequest {
            link: LinkId(link),
            correlation: 0,
            epoch: 0,
            from: MemberNumber(1),
            late: Duration::ZERO,
            message: Message::SlotSame,
        };
        for _ in 0..2 * SYNC_WINDOW {
            questions.push(request(1)).expect("so much may wait");
        }
        assert_eq!(questions.push(request(1)), Err(request(1).into()));
        questions.push(request(2)).expect("its other shards are not to blame");
        assert!(questions.next().is_some() && questions.next().is_none());
        assert!(!questions.is_next());
        questions.answered();
        assert!(questions.is_next());
        assert_eq!(questions.take().count(), 2 * SYNC_WINDOW);
    }
}
