//! Coordination: who executes a command, who must have it, and when the client hears.
//!
//! One [`Coordinator`] serves the slots of one shard. It never looks into effects or states, and of
//! a [`Call`](quorate_proto::command::Call) it sees slot, class and keys: what they mean is the
//! business of the [`Replica`] passed in.
//!
//! * A write goes to its *executor*, the first live replica in preference order that has caught up.
//!   The executor runs it once, replicates the effect to every other replica, keeps it as a hint
//!   for those that are down, and answers when the level is met.
//! * A write whose effect depends on what it reads first reads at the same level, so that an
//!   executor that missed something learns it before it decides. Meanwhile later writes on the same
//!   slot wait in order, and one reading is that of all who waited when it began.
//! * A read asks as many replicas as its level demands for a digest, merges what differs, brings
//!   the differing ones up to date, and only then answers, with a state that all of them hold:
//!   quorum reads never go back in time. Under [`ReadRepair::Background`] it does not wait for them.
//! * `LOCAL_QUORUM` stays in this datacentre, also when it cannot be met there: a majority of
//!   another datacentre would not intersect with what was promised here.
//!
//! Reads and writes that are in flight together are not ordered here: a session that wants its
//! commands on a slot in order waits before it goes from reading to writing and back.
//!
//! Every request gets exactly one reply, by its deadline. An error says whether nothing happened
//! (`UNAVAILABLE`, `OVERLOADED`: nothing was done) or nobody knows (`TIMEOUT`, `UNKNOWN`: it may
//! still take effect). An effect, once made, is never forgotten: whoever did not acknowledge it
//! gets a hint.

mod crossing;
mod durable;
mod elements;
mod errors;
mod failover;
mod following;
mod forward;
mod gate;
mod handover;
mod members;
mod operation;
mod outcomes;
mod parting;
mod read;
mod read_repair;
mod refusals;
mod relay;
mod repairing;
mod replica;
mod request;
mod serve;
mod stage;
mod standing;
mod stored;
#[cfg(test)]
mod tests;
mod usual;
mod write;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};

use bytes::Bytes;
use quorate_proto::{
    CallId, Fitness, MemberNumber, Origin, Slot,
    message::{Cause, Message},
    resp::reply,
};
use slab::Slab;

use crate::{
    anti_entropy::wire_bytes,
    limits::{RETRY_AFTER, SCAN_INTERVAL},
    membership::LinkId,
    peer_map::PeerMap,
    positions::Positions,
    time::Instant,
    topology::Topology,
};
use durable::OnDurable;
use following::Following;
use gate::Gate;
use handover::{HANDOVER_FLAG, Handovers};
use operation::{Operation, RELAY_FLAG};
use outcomes::Outcomes;
pub use read_repair::{ReadRepair, ReadRepairs};
use refusals::Refusals;
use relay::Relaying;
use repairing::Repair;
pub use replica::{Durability, Executed, Rejection, Replica, Snapshot, Stored, Ticket};
pub use request::{Request, Terms};
use stage::Phase;
use stored::Awaited;
use usual::Usual;

/// What the coordinator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Answer a local request.
    Reply {
        /// The request's id.
        request: u64,
        /// The encoded reply.
        reply: Bytes,
    },
    /// Send a request to a peer.
    Send {
        /// The peer.
        to: MemberNumber,
        /// Comes back with the response.
        correlation: u64,
        /// The request.
        message: Message,
    },
    /// Answer a peer's request.
    Respond {
        /// The link that the request came on.
        link: LinkId,
        /// The request's correlation id.
        correlation: u64,
        /// The response.
        message: Message,
    },
}

/// Where the shard stands in the number of a call.
const CALL_SHARD_SHIFT: u32 = 48;

/// Who waits for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requester {
    /// The id is that of the request; the numbers are in the order of the requests.
    Session { id: u64, number: u64 },
    /// The id is that of a write, which is begun by that moment if it may be repeated.
    Peer { link: LinkId, correlation: u64, call: Option<CallId>, begin_by: Instant },
}

/// A write that looks for its executor.
#[derive(Clone, Debug)]
struct Attempt {
    requester: Requester,
    request: Request,
    /// Positions of the replicas that have refused to execute it, or need not be asked.
    refused: Positions,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    alive: bool,
    /// It is up, and silent.
    quiet: bool,
    fitness: Fitness,
    /// How long it takes to answer reads that are forwarded to it.
    usual: Usual,
}

/// Coordinates the slots of one shard.
#[derive(Debug)]
pub struct Coordinator {
    topology: Arc<Topology>,
    /// This node is among them.
    peers: PeerMap<Peer>,
    read_repair: ReadRepair,
    read_repairs: ReadRepairs,
    operations: Slab<Operation>,
    next_number: u64,
    /// Of clients.
    requests: u64,
    /// Questions of peers that coordinate reads.
    asked: u64,
    next_serial: u32,
    outcomes: Outcomes,
    handovers: Handovers,
    /// Requests whose writes were brought to a second executor.
    repeated: BTreeSet<u64>,
    /// Whether this node is about to stop.
    is_leaving: bool,
    /// Of slots where something has to wait.
    gates: BTreeMap<Slot, Gate>,
    /// What waits at the gates, over all slots.
    waiting: usize,
    /// What the replica has yet to answer.
    awaited: BTreeMap<Ticket, Awaited>,
    next_ticket: u64,
    /// Effects of other datacentres on their way to replicas beside this one.
    relays: Slab<Relaying>,
    refusals: Refusals,
    following: Following,
    /// By slot.
    repairs: BTreeMap<Slot, Repair>,
    on_durable: VecDeque<(u64, OnDurable)>,
    outputs: VecDeque<Output>,
    /// No operation and no held write is due before this moment.
    next_scan: Option<Instant>,
}

impl Coordinator {
    /// A coordinator in `topology`, with every peer down and this node not ready.
    pub fn new(topology: Arc<Topology>) -> Self {
        let peers = topology.nodes().map(|node| (node, Peer::default())).collect();
        let mut coordinator = Self {
            topology,
            peers,
            read_repair: ReadRepair::default(),
            read_repairs: ReadRepairs::default(),
            operations: Slab::new(),
            next_number: 0,
            requests: 0,
            asked: 0,
            next_serial: 0,
            outcomes: Outcomes::default(),
            handovers: Handovers::default(),
            repeated: BTreeSet::new(),
            is_leaving: false,
            gates: BTreeMap::new(),
            waiting: 0,
            awaited: BTreeMap::new(),
            next_ticket: 0,
            relays: Slab::new(),
            refusals: Refusals::default(),
            following: Following::default(),
            repairs: BTreeMap::new(),
            on_durable: VecDeque::new(),
            outputs: VecDeque::new(),
            next_scan: None,
        };
        let me = coordinator.topology.me();
        coordinator.peers[me].alive = true;
        coordinator
    }

    /// Repairs reads in another way.
    pub fn with_read_repair(mut self, read_repair: ReadRepair) -> Self {
        self.read_repair = read_repair;
        self
    }

    /// Begins to number calls elsewhere than other coordinators of this node's start do.
    pub fn with_shard(mut self, shard: u16) -> Self {
        self.next_number = u64::from(shard) << CALL_SHARD_SHIFT;
        self
    }

    /// What repairs of reads have come to since the start.
    pub fn read_repairs(&self) -> ReadRepairs {
        self.read_repairs
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Coordinator::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_scan
    }

    /// Operations in flight, what waits for one, and what the replica has yet to answer.
    pub fn in_flight(&self) -> usize {
        self.operations.len() + self.relays.len() + self.waiting + self.awaited.len()
    }

    /// Takes a request of a local client.
    pub fn handle_request(&mut self, now: Instant, replica: &mut impl Replica, request: Request) {
        self.requests += 1;
        let requester = Requester::Session { id: request.id, number: self.requests };
        self.start(now, replica, requester, request);
    }

    /// Whether `peer` is up.
    pub fn is_alive(&self, peer: MemberNumber) -> bool {
        self.peers[peer].alive
    }

    /// What a node, perhaps this one, may do from now on. What it may not, others do, as far as
    /// there are any.
    pub fn handle_fitness(&mut self, node: MemberNumber, fitness: Fitness) {
        if self.peers[node].fitness != fitness {
            self.following.executors_changed(None);
        }
        self.peers[node].fitness = fitness;
    }

    /// A peer is up.
    pub fn handle_peer_up(&mut self, peer: MemberNumber, fitness: Fitness) {
        let usual = self.peers[peer].usual;
        self.peers[peer] = Peer { alive: true, quiet: false, fitness, usual };
        self.following.executors_changed(None);
        self.ask_again(peer);
    }

    /// A peer is down: whatever was asked of it goes to another one, is kept for it, or ends.
    pub fn handle_peer_down(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        peer: MemberNumber,
    ) {
        self.lose_peer(now, replica, peer, |_| true);
    }

    /// Time has passed: slow replicas are bypassed, late requests answered.
    pub fn handle_timeout(&mut self, now: Instant, replica: &mut impl Replica) {
        if self.next_scan.is_none_or(|at| at > now) {
            return;
        }
        // First of all, so that no operation that ends below lets a late write begin.
        self.expire_held(now);
        self.expire_following(now);
        self.end_relays(Some(now));
        let due: Vec<usize> = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.due_at() <= now)
            .map(|(index, _)| index)
            .collect();
        // Each step removes its own operation at most, so the indices stay those of the operations
        // they were found for.
        for index in due {
            if self.operations[index].terms.deadline <= now {
                self.expire(now, replica, index);
            } else {
                self.bypass_silent(now, replica, index);
            }
        }
        self.end_repairs(now, replica);
        self.press_handovers(now, replica);
        self.start_following(now, replica);
        let operations = self.operations.iter().map(|(_, found)| found.due_at());
        let held = self.gates.values().flat_map(Gate::attempts);
        let held = held.map(|attempt| attempt.request.terms.deadline);
        // Not more often than this, however close together the operations are due.
        let soonest = now + SCAN_INTERVAL;
        let taking_over = self.gates.values().filter_map(Gate::taken_over_at);
        let due = operations.chain(held).chain(self.following.deadlines());
        let due = due.chain(taking_over).chain(self.next_relay_end());
        self.next_scan = due.min().map(|at| at.max(soonest));
    }

    /// A response to something that the coordinator sent.
    pub fn handle_response(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        correlation: u64,
        message: Message,
    ) {
        let (index, serial, position) = operation::split_correlation(correlation);
        if index & RELAY_FLAG != 0 {
            let relay = (index & !RELAY_FLAG, serial);
            return self.relay_answered(relay, position, &message);
        }
        if index & HANDOVER_FLAG != 0 {
            let answer = (index, serial, position);
            return self.former_answered(now, replica, answer, &message);
        }
        if let Message::Relayed { took, is_last } = message {
            let found = self.operations.get(index);
            if found.is_some_and(|found| found.is_relay(serial, position)) {
                self.take_relayed(replica, index, position, (took, is_last));
            }
            return;
        }
        if !self.operations.get(index).is_some_and(|found| found.is_call(serial, position)) {
            return; // The answer to a question that is settled.
        }
        self.operations[index].asked -= Positions::of(position);
        let slot = self.operations[index].slot();
        self.charge(index, &message);
        self.take_response(now, replica, (index, position), message);
        self.answer_successors(slot);
        self.end_repairs(now, replica);
        self.start_following(now, replica);
    }

    fn take_response(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        (index, position): (usize, usize),
        message: Message,
    ) {
        match (self.operations[index].phase(), message) {
            (Phase::Forwarding(to), Message::Reply(reply)) => {
                self.note_took(now, index, to);
                self.finish(now, replica, index, reply::shared(reply));
            }
            (Phase::Forwarding(to), Message::Rejected { cause, text }) => {
                self.forward_rejected(now, replica, index, to, cause, &text);
            }
            (Phase::Asking(executor), Message::Reply(reply)) => {
                self.take_outcome(now, replica, index, (position, executor), reply);
            }
            (Phase::Asking(executor), Message::Rejected { cause: Cause::Overloaded, .. })
                if self.topology.position(self.operations[index].slot(), executor)
                    == Some(position) =>
            {
                self.executed_nowhere(now, replica, index);
            }
            (Phase::Asking(executor), _) => {
                self.outcome_denied(now, replica, index, (position, executor));
            }
            (Phase::Digests, Message::KeysDigest { digest, large }) => {
                self.take_digest(now, replica, index, position, (digest, large));
            }
            (Phase::States, Message::States(state)) => {
                self.take_state(now, replica, index, position, state);
            }
            (Phase::Elements, answer @ Message::Elements { .. }) => {
                self.take_view(now, replica, index, position, answer);
            }
            (Phase::Elements, Message::FingerprintStates { covered, states }) => {
                self.take_elements(now, replica, index, position, (covered as usize, states));
            }
            (Phase::Repairing, Message::Ack) => {
                self.operations[index].answered |= Positions::of(position);
                self.repaired(now, replica, index);
            }
            (Phase::Replicating, Message::Ack) => self.vote(index, position),
            (phase, Message::Rejected { cause: Cause::StaleEpoch, .. })
                if phase.asks_replicas() =>
            {
                self.epoch_refused(now, replica, index, position);
            }
            (
                Phase::Reading
                | Phase::Digests
                | Phase::States
                | Phase::Elements
                | Phase::Repairing
                | Phase::Executing
                | Phase::Replicating
                | Phase::Settled,
                _,
            ) => {
                self.lost_replica(now, replica, index, position);
            }
            (Phase::Forwarding(_), _) => {
                let text = errors::unknown("the executor sent an answer that makes no sense");
                self.finish(now, replica, index, text);
            }
        }
    }

    fn start(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        requester: Requester,
        mut request: Request,
    ) {
        if self.is_full() {
            return self.reply(requester, errors::overloaded());
        }
        // Where nobody in the datacentre holds the slot, all are as near.
        if !self.topology.has_local_reader(request.call.slot()) {
            let terms = &mut request.terms;
            terms.read_level = terms.read_level.anywhere();
            terms.write_level = terms.write_level.anywhere();
        }
        if request.call.class().writes() {
            self.start_write(
                now,
                replica,
                Attempt { requester, request, refused: Positions::NONE },
            );
        } else {
            self.start_read(now, replica, requester, request);
        }
    }

    fn reply(&mut self, requester: Requester, reply: Bytes) {
        match requester {
            Requester::Session { id: request, .. } => {
                let reply = self.doubted(request, reply);
                self.outputs.push_back(Output::Reply { request, reply });
            }
            Requester::Peer { link, correlation, call, .. } => {
                if let Some(id) = call {
                    self.outcomes.note(id, &reply);
                }
                self.respond(link, correlation, Message::Reply(reply));
            }
        }
    }

    fn respond(&mut self, link: LinkId, correlation: u64, message: Message) {
        self.outputs.push_back(Output::Respond { link, correlation, message });
    }

    /// Counts a message that belongs to the repair of a read.
    fn charge(&mut self, index: usize, message: &Message) {
        if matches!(
            self.operations[index].phase(),
            Phase::States | Phase::Elements | Phase::Repairing
        ) {
            self.read_repairs.bytes += wire_bytes(message);
        }
    }

    /// Sends a request of an operation to the replica at `position`.
    fn call(&mut self, index: usize, position: usize, message: Message) {
        self.charge(index, &message);
        let operation = &mut self.operations[index];
        operation.asked |= Positions::of(position);
        operation.tried |= Positions::of(position);
        let correlation = operation::join_correlation(index, operation.serial, position);
        let to = self.topology.replicas(operation.slot())[position];
        self.outputs.push_back(Output::Send { to, correlation, message });
    }

    /// Answers and ends an operation, and lets the writes behind it go on.
    fn finish(&mut self, now: Instant, replica: &mut impl Replica, index: usize, reply: Bytes) {
        let operation = self.operations.remove(index);
        self.reply(operation.requester, reply);
        if operation.holds_slot {
            let has_read = matches!(operation.phase(), Phase::Executing | Phase::Replicating);
            self.release(now, replica, operation.slot(), has_read);
        }
    }

    /// Begins a phase in which nobody was asked anything yet. Its calls get a new serial, so that
    /// late answers to earlier questions are told apart.
    fn enter(&mut self, now: Instant, index: usize, phase: Phase) {
        let serial = self.new_serial();
        let operation = &mut self.operations[index];
        operation.serial = serial;
        operation.enter(phase);
        (operation.asked, operation.stale) = (Positions::NONE, Positions::NONE);
        operation.tried = operation.own() | operation.refused;
        // A write waits for everybody until its deadline, and nobody can be asked for what the own
        // store or log is slow to do; questions can be put to others.
        let questions = !matches!(
            phase,
            Phase::Reading | Phase::Executing | Phase::Replicating | Phase::Settled
        );
        operation.bypass_at = questions.then(|| now + RETRY_AFTER);
        let due_at = operation.due_at();
        self.wake_by(due_at);
    }

    /// A number that grows with everything that was done for clients, here or elsewhere.
    pub fn served(&self) -> u64 {
        self.next_number.wrapping_add(self.asked)
    }

    /// By which the operation is known to other nodes.
    fn call_id(&self, operation: &Operation) -> CallId {
        CallId { origin: self.own_origin(), number: operation.number }
    }

    /// By which this node's start is known.
    fn own_origin(&self) -> Origin {
        let me = self.topology.me();
        Origin::new(me.0, self.topology.member(me).incarnation.start)
    }

    fn is_me(&self, node: MemberNumber) -> bool {
        node == self.topology.me()
    }

    fn insert(&mut self, requester: Requester, request: Request, phase: Phase) -> usize {
        let serial = self.new_serial();
        self.next_number += 1;
        self.wake_by(request.terms.deadline);
        let own_position =
            self.topology.position(request.call.slot(), self.topology.me()).unwrap_or(usize::MAX);
        let names = (self.next_number, serial);
        self.operations.insert(Operation::new(names, requester, request, phase, own_position))
    }

    fn new_serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1) & operation::SERIAL_MASK;
        self.next_serial
    }
}
