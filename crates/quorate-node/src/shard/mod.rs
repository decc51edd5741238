//! One shard: a single-threaded state machine that owns a fixed part of the slots.
//!
//! It composes the store, the log and the hints of its slots with their coordinator, and serves the
//! client connections and peer links that its event loop hands to it. It opens no socket and reads
//! no clock: it takes bytes and messages with the time, and leaves bytes and messages.

mod acl;
mod adoption;
mod age;
mod borrowing;
mod bundle;
mod client_commands;
mod clients;
mod cluster_commands;
mod composite;
mod config_commands;
mod correlation;
mod cursors;
mod debug;
mod delays;
mod departing;
mod dispatch;
mod execution;
mod forwarded;
mod heartbeats;
mod hints;
mod inbox;
mod info;
mod inspect;
mod introductions;
mod job;
mod jobs;
mod lending;
mod link_error;
mod mail;
mod memory;
mod obligations;
mod openings;
mod outcome;
mod pacing;
mod parameters;
mod parting;
mod peers;
mod persistence;
mod query_commands;
mod receiving;
mod repair;
mod replies;
mod ring;
mod scripting;
mod scrub;
mod search_commands;
mod series;
mod session;
mod session_commands;
mod slow_commands;
mod snapshots;
mod split;
mod stats;
mod status;
mod steering;
mod transaction;
mod turn;
mod waiting;
mod walk;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_cluster::{
    anti_entropy::{self, AntiEntropy, Retention},
    clocks::{self, Clocks},
    coordinator::{self, Coordinator, Terms},
    handoff::Handoff,
    limits::SETTLING_MARGIN,
    membership::LinkId,
    starting::Starting,
    time::Instant,
    topology::Topology,
    wall_clock::WallClock,
};
use quorate_log::Sequence;
use quorate_proto::{
    Groups, Incarnation, MemberNumber, Slot, command::Call, message::Message, mutant::Mutant,
};
use slab::Slab;

use crate::{
    config::Settings,
    limits,
    node::Node,
    reactor::ControlMail,
    repeated::Repeated,
    search::Change,
    storage::{Scrub, Storage},
};
use bundle::Bundle;
pub(crate) use clients::Ending;
use correlation::Machine;
use forwarded::Forwarded;
use job::Job;
pub use job::{Conclusion, Thought};
pub(crate) use job::{OUT_OF_TIME, Plan, Step};
pub(crate) use link_error::LinkError;
pub use mail::{Mail, Metrics};
use session::Session;
pub(crate) use session::{About, Coverage};
pub(crate) use stats::{Breakdown, Counters, Stopwatch};
use stats::{Run, Stats};
pub use turn::Now;

/// The version of Redis whose behaviour clients find.
pub const REDIS_VERSION: &str = "7.0.15";

/// Pause between the small jobs of a shard: expiry, checkpoints, syncs.
const TICK: Duration = Duration::from_millis(100);

/// Where a reply goes.
#[derive(Clone, Debug)]
enum Waiter {
    /// A client of this shard.
    Session { key: usize, id: u64, number: u64, slot: Slot, writes: bool, run: Run },
    /// A client of this shard whose command must be alone.
    Exclusive { key: usize, id: u64, number: u64, run: Run },
    /// A client of this shard with a series of commands on a slot.
    Series { key: usize, id: u64, slot: Slot, members: Box<[series::Member]> },
    /// A client of this shard that waits for the versions of the keys that it watches.
    Watch { key: usize, id: u64, number: u64, run: Run, keys: Vec<Bytes> },
    /// Nobody.
    Nobody,
    /// A part of a job.
    Job { key: usize, piece: usize },
    /// A checkpoint, for copies of the transactions up to a record.
    Copies { upto: Sequence },
    /// Another shard of this node.
    Shard { shard: u16, ticket: u64 },
    /// The control, for a change of the catalog once the reply is no error; its reply goes on.
    Change { change: Box<Change>, then: Box<Waiter> },
}

/// A call with everything needed to run it anywhere.
#[derive(Clone, Debug)]
pub struct Errand {
    pub(crate) call: Call,
    pub(crate) terms: Terms,
}

fn new_coordinator(topology: &Arc<Topology>, shard: u16, settings: &Settings) -> Coordinator {
    Coordinator::new(Arc::clone(topology)).with_shard(shard).with_read_repair(settings.read_repair)
}

/// Anti-entropy rounds whose pauses differ from node to node and from shard to shard.
fn new_anti_entropy(topology: &Topology, shard: u16, settings: &Settings) -> AntiEntropy {
    let id = topology.member(topology.me()).id.0 as u64;
    let retention = Retention {
        tombstones: settings.gc_grace,
        // No write is acknowledged after the time of its request, which is twice as long for a
        // large one.
        margin: SETTLING_MARGIN.max(settings.request_timeout * (limits::REQUEST_TIMES_MAX + 1)),
    };
    AntiEntropy::new(topology.peers()).with_seed(id ^ u64::from(shard)).with_retention(retention)
}

/// Exchanges of clocks whose pauses differ likewise.
fn new_clocks(topology: &Topology, shard: u16) -> Clocks {
    let id = topology.member(topology.me()).id.0 as u64;
    Clocks::new(!id ^ u64::from(shard))
}

/// One shard.
pub(crate) struct Shard {
    id: u16,
    node: Arc<Node>,
    storage: Storage,
    coordinator: Coordinator,
    handoff: Handoff,
    clocks: Clocks,
    anti_entropy: AntiEntropy,
    scrub: Scrub,
    peers: peers::Peers,
    clock: WallClock,
    /// What the clocks of the machine showed when they were read last.
    machine: Now,
    sessions: Slab<Session>,
    /// Connections with bytes to send, or to be closed.
    dirty_sessions: Vec<usize>,
    /// Connections that may go on with what they have sent, in the order of their turns.
    ready: VecDeque<usize>,
    /// Since when, and of which, commands of clients wait for the operator; and who waits.
    pause: Option<client_commands::Pause>,
    paused: Vec<usize>,
    delayed: Vec<delays::Delayed>,
    savings: Vec<persistence::Saving>,
    jobs: Slab<Job<Waiter>>,
    /// Jobs with pieces to be sent on their way, in the order of their turns.
    ready_jobs: VecDeque<usize>,
    waiters: Slab<Waiter>,
    kept: cursors::Kept,
    bundles: borrowing::Bundles,
    lending: lending::Lending,
    starting: Starting,
    /// Whether the node is about to stop, so that others are to execute what they can.
    is_leaving: bool,
    pacing: pacing::Pacing,
    /// What waits for the start to end, or for the member list to be sealed.
    waiting: Vec<(Waiter, Errand)>,
    forwarded: Forwarded,
    /// Mail to the other shards, by shard.
    outbox: Vec<Vec<Mail>>,
    next_tick: Instant,
    next_second: Instant,
    second_passed: bool,
    seal_wanted: bool,
    /// Mail to the control of this node.
    to_control: Vec<ControlMail>,
    /// Whether the node knows what data there is, as far as this shard has been told.
    founded: bool,
    /// The process of the node as which the control was told that nothing is missing.
    regained_told: Option<Incarnation>,
    stats: Stats,
    /// Clients that speak HTTP.
    strangers: Repeated,
}

impl Shard {
    pub(crate) fn new(now: Now, id: u16, node: Arc<Node>, storage: Storage) -> Self {
        let topology = Arc::clone(&storage.topology);
        let shards = usize::from(node.settings.shards);
        let incomplete = storage.incomplete;
        let coordinator = new_coordinator(&topology, id, &node.settings);
        node.set_members(topology.len());
        let secret = node.table_seed;
        let history = peers::History { data_may_exist: node.data_may_exist, incomplete };
        Self {
            id,
            coordinator,
            handoff: Handoff::new(topology.peers()),
            clocks: new_clocks(&topology, id),
            anti_entropy: new_anti_entropy(&topology, id, &node.settings),
            scrub: Scrub::new(now.monotonic, &node.settings, node.table_seed ^ u64::from(id)),
            peers: peers::Peers::new(now.monotonic, &topology, history),
            machine: now,
            clock: WallClock::new(now.monotonic, now.wall_us, node.data_may_exist),
            node,
            storage,
            sessions: Slab::new(),
            dirty_sessions: Vec::new(),
            ready: VecDeque::new(),
            pause: None,
            paused: Vec::new(),
            delayed: Vec::new(),
            savings: Vec::new(),
            jobs: Slab::new(),
            ready_jobs: VecDeque::new(),
            waiters: Slab::new(),
            kept: cursors::Kept::new(!secret ^ u64::from(id)),
            bundles: borrowing::Bundles::default(),
            lending: lending::Lending::default(),
            starting: Starting::default(),
            is_leaving: false,
            pacing: pacing::Pacing::default(),
            waiting: Vec::new(),
            forwarded: Forwarded::default(),
            outbox: (0..shards).map(|_| Vec::new()).collect(),
            next_tick: Instant::ZERO,
            next_second: Instant::ZERO,
            second_passed: true,
            seal_wanted: false,
            to_control: Vec::new(),
            founded: false,
            regained_told: None,
            stats: Stats::default(),
            strangers: Repeated::default(),
        }
    }

    pub(crate) fn topology(&self) -> &Arc<Topology> {
        &self.storage.topology
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.storage.end_inquiries();
        self.coordinator.handle_timeout(now.monotonic, &mut self.storage);
        self.tick_peers(now);
        self.end_pause(now);
        self.answer_delayed(now);
        if now.monotonic >= self.next_second {
            self.second_passed = true;
            self.close_silent_clients(now);
            self.forget_delayed();
            self.next_second = now.monotonic + Duration::from_secs(1);
            self.storage.expire_hints();
        }
        let ticks = now.monotonic >= self.next_tick;
        if ticks || self.storage.is_busy() {
            self.storage.advance_expiring(self.node.adjustable.active_expiry());
            self.storage.advance_checkpoint();
            self.sync_copies(now);
            self.storage.advance_forgetting();
            self.storage.advance_discarding();
            self.storage.advance_indexing();
        }
        if ticks {
            self.next_tick = now.monotonic + TICK;
            self.storage.look_for_space();
            self.look_for_foreign(now);
            self.expire_cursors(now);
            self.answer_saved(now);
            self.stats.sample(now.monotonic);
            self.publish_metrics(now);
        }
        if ticks || self.next_waiting().is_some_and(|at| at <= now.monotonic) {
            self.expire_waiting(now);
        }
        self.advance_scrub(now);
        self.service(now);
    }

    /// When [`Shard::handle_timeout`] wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Instant {
        if self.is_lent() {
            return Instant::NEVER;
        }
        let starts_up = self.start_is_due(self.machine.monotonic);
        let is_waited_for = !self.ready.is_empty() || !self.ready_jobs.is_empty();
        if self.storage.is_busy() || is_waited_for || starts_up {
            return Instant::ZERO;
        }
        let timeouts = [
            Some(self.next_tick),
            self.storage.next_stored(),
            self.storage.next_inquiry_end(),
            self.coordinator.poll_timeout(),
            self.handoff.poll_timeout(),
            self.peers.poll_timeout(),
            self.anti_entropy.poll_timeout(),
            self.clocks.poll_timeout(),
            self.scrub.poll_timeout(),
            self.pause_ends(),
            self.next_delayed(),
            self.next_waiting(),
        ];
        timeouts.into_iter().flatten().min().unwrap_or(Instant::ZERO)
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.coordinator.in_flight() == 0
            && self.waiting.is_empty()
            && self.forwarded.is_empty()
            && self.bundles.is_empty()
            && !self.is_lent()
            && self.sessions.iter().all(|(_, session)| session.replies.waiting() == 0)
    }

    /// The log is durable up to `sequence`.
    fn handle_durable(&mut self, now: Now, sequence: u64) {
        self.coordinator.handle_durable(sequence);
        self.answer_saved(now);
        self.service(now);
    }

    /// Does what the machines ask for, until they ask for nothing more.
    fn service(&mut self, now: Now) {
        // What it serves, the coordinator may answer.
        while let Some(output) = self.anti_entropy.poll_output() {
            match output {
                anti_entropy::Output::Send { to, correlation, message } => {
                    self.send(to, Machine::AntiEntropy, correlation, &message);
                }
                anti_entropy::Output::Answer(request) => {
                    self.serve(now, request);
                    self.anti_entropy.handle_answered(now.monotonic, &self.storage);
                }
                anti_entropy::Output::Begun { peer } => self.clocks.handle_round_begun(peer),
                anti_entropy::Output::Completed { peer, keys, groups, epoch } => {
                    self.storage.clear_dirty(peer, groups, epoch);
                    self.storage.note_level(peer, groups);
                    self.synced(now, peer, keys, groups == Groups::ALL);
                }
                anti_entropy::Output::Settled(settled) => self.storage.settle(settled),
            }
        }
        while let Some((ticket, stored)) = self.storage.poll_stored() {
            let (coordinator, storage) = (&mut self.coordinator, &mut self.storage);
            coordinator.handle_stored(now.monotonic, storage, ticket, stored);
        }
        while let Some(output) = self.coordinator.poll_output() {
            match output {
                coordinator::Output::Reply { request, reply } => {
                    let waiter = self.waiters.remove(request as usize);
                    self.deliver(now, waiter, reply);
                }
                coordinator::Output::Send { to, correlation, message } => {
                    self.send(to, Machine::Coordinator, correlation, &message);
                }
                coordinator::Output::Respond { link, correlation, message } => {
                    self.respond(now, link, correlation, message);
                }
            }
        }
        for (to, correlation, message) in self.handoff.poll(now.monotonic, &mut self.storage) {
            self.send(to, Machine::Handoff, correlation, &message);
        }
        while let Some(output) = self.clocks.poll_output() {
            match output {
                clocks::Output::Send { to, correlation, message } => {
                    self.send(to, Machine::Clocks, correlation, &message);
                }
                clocks::Output::Suspect(peer) => self.suspected(now, peer),
            }
        }
    }

    /// Runs a command on the shard that owns its slot; the reply goes to `waiter`.
    fn submit(&mut self, now: Now, waiter: Waiter, errand: Errand) {
        let owner = self.storage.owner(errand.call.slot());
        if owner == self.id {
            return self.run(now, waiter, errand);
        }
        let ticket = self.waiters.insert(waiter) as u64;
        self.outbox[usize::from(owner)].push(Mail::Errand { from: self.id, ticket, errand });
    }

    /// Whether the node has started, as far as this shard has been told: what another one has heard
    /// of already, this one may have lost.
    fn has_started(&self) -> bool {
        self.starting.is_over() || Mutant::SeatUnheard.is_planted() && self.node.footing().founded
    }

    /// Runs a command on a slot that this shard owns.
    fn run(&mut self, now: Now, waiter: Waiter, errand: Errand) {
        let writes = errand.call.class().writes();
        if !self.may_begin(writes) {
            self.seal_wanted |= writes && !self.topology().sealed();
            self.waiting.push((waiter, errand));
            return;
        }
        if let Some(reply) = self.answer_cursor(now, &errand.call, errand.terms.resp3) {
            return self.deliver(now, waiter, reply);
        }
        let id = self.waiters.insert(waiter) as u64;
        let Errand { call, mut terms } = errand;
        if Mutant::ReadsOverstay.is_planted() && !writes {
            terms.deadline += Duration::from_millis(300);
        }
        if self.storage.answers_late(&call) {
            let work = self.storage.work_of(&call);
            let bytes = work.saturating_mul(limits::LONG_CALL_BYTES_PER_WORD);
            // It waits for others beside the shard: twice the time of others at least.
            let deadline = self.deadline(now, bytes) + self.node.settings.request_timeout;
            let last =
                now.monotonic + self.node.settings.request_timeout * limits::REQUEST_TIMES_MAX;
            terms.deadline = terms.deadline.max(deadline.min(last));
        }
        let request = coordinator::Request { id, call, terms };
        self.coordinator.handle_request(now.monotonic, &mut self.storage, request);
    }

    /// Brings a reply to whoever waits for it.
    fn deliver(&mut self, now: Now, waiter: Waiter, reply: Bytes) {
        match waiter {
            Waiter::Session { key, id, number, slot, writes, run } => {
                self.finish(key, &run, &reply);
                let Some(session) = self.session(key, id) else { return };
                session.replies.fill(number, &reply);
                session.finished(slot, writes);
                self.touch(key);
            }
            Waiter::Exclusive { key, id, number, run } => {
                self.finish(key, &run, &reply);
                let Some(session) = self.session(key, id) else { return };
                session.replies.fill(number, &reply);
                (session.exclusive, session.is_blocked) = (false, false);
                self.touch(key);
            }
            Waiter::Series { key, id, slot, members } => {
                self.end_series((key, id, slot), &members, &reply);
            }
            Waiter::Watch { key, id, number, run, keys } => {
                self.watched((key, id, number), &run, keys, &reply);
            }
            Waiter::Job { key, piece } => {
                if self.jobs[key].take(piece, reply) {
                    self.continue_job(now, key);
                }
            }
            Waiter::Nobody => {}
            Waiter::Copies { upto } => {
                self.storage.copies_synced(upto, !reply.starts_with(b"-"));
            }
            Waiter::Change { change, then } => {
                if reply.starts_with(b"-") {
                    return self.deliver(now, *then, reply);
                }
                self.change_catalog(*then, *change);
            }
            Waiter::Shard { shard, ticket } => {
                self.outbox[usize::from(shard)].push(Mail::Reply { ticket, reply });
            }
        }
    }

    /// The connection `key`, if it is still the one with this identity.
    fn session(&mut self, key: usize, id: u64) -> Option<&mut Session> {
        self.sessions.get_mut(key).filter(|session| session.id == id)
    }

    /// Notes that a connection has something to send and may go on reading.
    fn touch(&mut self, key: usize) {
        // Replies to one pipeline come in a row.
        if self.dirty_sessions.last() != Some(&key) {
            self.dirty_sessions.push(key);
        }
        if self.sessions[key].has_more() {
            self.enqueue(key);
        }
    }

    /// Mail from another shard or another thread.
    pub(crate) fn handle_mail(&mut self, now: Now, mail: Mail) {
        if self.is_lent() && !matches!(mail, Mail::Returned { .. }) {
            return self.defer_mail(mail);
        }
        match mail {
            Mail::Bundle { from, ticket, bundle } => {
                self.take_bundle(now, Waiter::Shard { shard: from, ticket }, *bundle);
            }
            Mail::Borrow { from, room } => self.handle_borrow(from, room),
            Mail::Lent { from, store } => self.handle_lent(now, from, store),
            Mail::Returned { store, record } => {
                self.handle_returned(now, store, record.as_ref());
            }
            Mail::Errand { from, ticket, errand } => {
                self.run(now, Waiter::Shard { shard: from, ticket }, errand);
            }
            Mail::Reply { ticket, reply } => {
                let waiter = self.waiters.remove(ticket as usize);
                self.deliver(now, waiter, reply);
            }
            Mail::PeerRequest(request) => self.receive(now, request),
            Mail::PeerResponse { link, correlation, message } => {
                self.pass_response(link, correlation, message);
            }
            Mail::Topology { topology } => self.adopt(now, topology),
            Mail::Catalog { catalog } => {
                self.storage.adopt_catalog(catalog);
                self.drop_cursors();
            }
            Mail::Footing { founded } => self.handle_footing(now, founded),
            Mail::Describe { from, ticket, question } => {
                let waiter = Waiter::Shard { shard: from, ticket };
                self.answer_question(now, waiter, question);
            }
        }
        self.service(now);
    }

    fn send(&mut self, to: MemberNumber, machine: Machine, correlation: u64, message: &Message) {
        let epoch = self.topology().epoch();
        self.peers.send(to, machine, epoch, correlation, message);
    }

    fn respond(&mut self, now: Now, link: LinkId, correlation: u64, message: Message) {
        if peers::is_of_round(correlation) {
            self.anti_entropy.charge_others(now.monotonic, &message);
        }
        self.pass_response(link, correlation, message);
    }

    /// Sends a response on the link of whichever shard has it.
    fn pass_response(&mut self, link: LinkId, correlation: u64, message: Message) {
        let shard = peers::shard_of(link);
        if shard == self.id {
            let epoch = self.topology().epoch();
            self.peers.respond(link, epoch, correlation, &message);
        } else {
            let mail = Mail::PeerResponse { link, correlation, message };
            self.outbox[usize::from(shard)].push(mail);
        }
    }
}
