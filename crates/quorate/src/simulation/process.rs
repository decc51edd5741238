//! A process and its turns.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use bytes::BytesMut;
use quorate_cluster::{
    membership::{self, DialerOutput, LinkId, Membership},
    time::Instant,
};
use quorate_proto::{
    frame,
    message::{Message, View},
};

use super::{DIALLED, Input, Moment, Options, Output, Port, Wire, topologies::remembered_topology};
use crate::{
    config::SyncPolicy,
    engine::StartError,
    identity::{Claim, Identity},
    net::control::CONTROL_SHARD,
    node::{Node, Sizes},
    shard::{About, Mail, Now, Shard},
    startup::{self, Addresses, Seeds, Started},
    storage::{HintSync, ScrubOrder, SyncTask},
};

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    Client { shard: usize, session: usize },
    Arriving { shard: usize },
    Incoming { shard: usize, link: LinkId },
    Outgoing { shard: usize, link: LinkId },
    ControlIncoming { link: LinkId, introduced: bool },
    ControlOutgoing { link: LinkId },
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    input: BytesMut,
}

/// Something that the disk is busy with, and the shard that hears of its end.
enum DiskJob {
    Log(usize, SyncTask),
    Hints(usize, HintSync, SyncTask),
    Scrub(usize, ScrubOrder),
}

/// A running process.
pub struct Process {
    pub(super) node: Arc<Node>,
    pub(super) shards: Vec<Shard>,
    pub(super) membership: Membership,
    /// The member list that the shards know.
    pub(super) published: View,
    pub(super) identity: Identity,
    /// What must be written down before the membership goes on, and could not be yet.
    pub(super) unwritten: Option<membership::Output>,
    pub(super) connections: BTreeMap<Wire, Connection>,
    next_wire: u64,
    next_control_link: u64,
    disk_jobs: BTreeMap<u64, DiskJob>,
    next_disk_job: u64,
    mail: VecDeque<(usize, Mail)>,
    pub(super) outputs: Vec<Output>,
    pub(super) death: Option<String>,
}

impl Process {
    /// Starts a process: recovers what is on the disk, and looks for its cluster from then on.
    pub fn start(options: Options, moment: Moment) -> Result<Self, StartError> {
        let Options { settings, disk, seed, boot, .. } = options;
        let directory = settings.data_dir.clone().unwrap_or_else(|| PathBuf::from("/memory"));
        let node_id = u128::from(seed) << 64 | u128::from(!seed);
        let seeds = Seeds { node_id, tables: seed, start: seed, membership: seed };
        let claim = Claim {
            name: settings.name.clone(),
            shards: settings.shards,
            new_id: seeds.node_id,
            boot: Some(boot.to_string()),
            seed: seeds.start,
            unsynced: settings.sync != SyncPolicy::Always,
            lock: false,
        };
        let identity = Identity::open(Arc::clone(&disk), &directory, claim)?;
        let addresses = Addresses {
            clients: settings.listen.to_string(),
            cluster_clients: settings.cluster_listen.unwrap_or(settings.listen).to_string(),
            peers: settings.peer_listen.to_string(),
        };
        let sizes = Sizes {
            segment: options.segment_bytes,
            checkpoint_min: options.checkpoint_bytes_min,
            hints_max: options.hint_bytes_max,
            elements: options.element_limits,
        };
        let now = moment.now();
        let make_topology = remembered_topology;
        let origin =
            startup::Origin { settings, disk, directory, sizes, seeds, now, make_topology };
        let Started { node, identity, membership, storages } =
            startup::start(origin, identity, addresses)?;
        let shards = storages
            .into_iter()
            .zip(0..)
            .map(|(storage, id)| Shard::new(now, id, Arc::clone(&node), storage))
            .collect();
        Ok(Self {
            node,
            shards,
            published: membership.view(),
            membership,
            identity,
            unwritten: None,
            connections: BTreeMap::new(),
            next_wire: 0,
            next_control_link: 0,
            disk_jobs: BTreeMap::new(),
            next_disk_job: 0,
            mail: VecDeque::new(),
            outputs: Vec::new(),
            death: None,
        })
    }

    /// One turn: takes what has arrived, does what is due, and returns what leaves, in order.
    pub fn turn(&mut self, moment: Moment, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        let machine = moment.now();
        // Each shard has its own clock, as it has its own links; they differ by nothing that a
        // simulator of one process would see.
        let clocks = self.shards.iter_mut().map(|shard| shard.begin_turn(machine));
        let now = clocks.last().unwrap_or(machine);
        for input in inputs {
            self.handle(now, input);
        }
        self.membership.handle_timeout(now.monotonic);
        self.service_membership(now);
        for shard in &mut self.shards {
            if shard.poll_timeout() <= now.monotonic {
                shard.handle_timeout(now);
            }
        }
        self.state_footing(now);
        if self.shards.iter_mut().any(|shard| shard.storage.take_failed()) {
            self.identity.record_failed_log();
        }
        self.identity.settle(&self.node.figures());
        loop {
            self.finish_turn(now);
            while let Some((shard, mail)) = self.mail.pop_front() {
                self.shards[shard].handle_mail(now, mail);
            }
            let rests = self.shards.iter().all(|shard| {
                shard.outbox.iter().all(Vec::is_empty) && shard.dirty_sessions.is_empty()
            });
            if rests {
                break;
            }
        }
        std::mem::take(&mut self.outputs)
    }

    /// When the next turn is due even if nothing arrives, in microseconds of the monotonic clock.
    pub fn poll_timeout(&self) -> u64 {
        let shards = self.shards.iter().map(Shard::poll_timeout);
        let next = shards.chain(self.membership.poll_timeout()).min();
        next.unwrap_or(Instant::ZERO).as_micros()
    }

    /// Why the process has ended by itself, if it has.
    pub fn death(&self) -> Option<&str> {
        self.death.as_deref()
    }

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Accepted { wire, port: Port::Client } => {
                let shard = wire.0 as usize % self.shards.len();
                let about = About {
                    address: format!("wire-{}", wire.0),
                    connected_ms: now.wall_ms(),
                    active_ms: now.wall_ms(),
                    ..About::default()
                };
                let session = self.shards[shard].open_session(about);
                self.insert(wire, Role::Client { shard, session });
            }
            Input::Accepted { wire, port: Port::Peer } => {
                let shard = wire.0 as usize % self.shards.len();
                self.insert(wire, Role::Arriving { shard });
            }
            Input::Connected(wire) => self.connected(wire),
            Input::Bytes(wire, bytes) => self.bytes(now, wire, &bytes),
            Input::Closed(wire) => self.closed(now, wire),
            Input::Sync(number) => self.run_disk_job(now, number),
        }
    }

    fn insert(&mut self, wire: Wire, role: Role) {
        self.connections.insert(wire, Connection { role, input: BytesMut::new() });
    }

    fn connected(&mut self, wire: Wire) {
        match self.connections.get(&wire).map(|connection| &connection.role) {
            Some(&Role::Outgoing { shard, link }) => {
                let hello = self.shards[shard].link_opened(link);
                self.outputs.push(Output::Send(wire, hello));
            }
            Some(&Role::ControlOutgoing { link }) => self.membership.handle_connected(link),
            _ => {}
        }
    }

    fn bytes(&mut self, now: Now, wire: Wire, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&wire) else { return };
        let input = &mut connection.input;
        let outcome = match connection.role {
            Role::Client { shard, session } => {
                let shard = &mut self.shards[shard];
                if let Some(found) = shard.sessions.get_mut(session) {
                    found.input.extend_from_slice(bytes);
                    shard.session_input(now, session);
                }
                Ok(())
            }
            Role::Arriving { shard } => {
                input.extend_from_slice(bytes);
                return self.introduce(now, wire, shard);
            }
            Role::Incoming { shard, link } => {
                input.extend_from_slice(bytes);
                self.shards[shard].incoming_input(now, link, input)
            }
            Role::Outgoing { shard, link } => {
                input.extend_from_slice(bytes);
                self.shards[shard].link_input(now, link, input)
            }
            Role::ControlIncoming { .. } | Role::ControlOutgoing { .. } => {
                input.extend_from_slice(bytes);
                return self.control_input(now, wire);
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "a link to another node is closed");
            self.close(now, wire);
        }
    }

    /// A peer's first frame tells which shard its link is for.
    fn introduce(&mut self, now: Now, wire: Wire, shard: usize) {
        let connection = &self.connections[&wire];
        let hello = match frame::decode(&mut connection.input.clone()) {
            Ok(None) => return,
            Ok(Some(frame::Frame { message: Message::Hello(hello), .. })) => hello,
            Ok(Some(_)) | Err(_) => return self.close(now, wire),
        };
        let role = if hello.shard == CONTROL_SHARD {
            let link = LinkId(self.next_control_link);
            self.next_control_link += 1;
            Role::ControlIncoming { link, introduced: false }
        } else {
            let shards = self.shards.len();
            let owner = usize::from(hello.shard) % shards;
            debug_assert!(shard < shards);
            Role::Incoming { shard: owner, link: self.shards[owner].accept_link() }
        };
        if let Some(connection) = self.connections.get_mut(&wire) {
            connection.role = role;
        }
        self.bytes(now, wire, &[]);
    }

    fn control_input(&mut self, now: Now, wire: Wire) {
        while let Some(connection) = self.connections.get_mut(&wire) {
            let frame = match frame::decode(&mut connection.input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) => return self.close(now, wire),
            };
            let monotonic = now.monotonic;
            match (&mut connection.role, frame.message) {
                (Role::ControlOutgoing { link }, message) => {
                    self.membership.handle_response(monotonic, *link, message);
                }
                (Role::ControlIncoming { link, introduced }, Message::Hello(hello))
                    if !*introduced =>
                {
                    *introduced = true;
                    self.membership.handle_hello(monotonic, *link, frame.correlation, &hello);
                }
                (Role::ControlIncoming { link, .. }, message) => {
                    self.membership.handle_request(monotonic, *link, frame.correlation, message);
                }
                _ => return,
            }
            self.service_membership(now);
        }
    }

    /// The other side has closed.
    fn closed(&mut self, now: Now, wire: Wire) {
        let Some(connection) = self.connections.remove(&wire) else { return };
        match connection.role {
            Role::Client { shard, session } => {
                self.shards[shard].sessions.try_remove(session);
            }
            Role::Arriving { .. } => {}
            Role::Incoming { shard, link } => self.shards[shard].incoming_closed(link),
            Role::Outgoing { shard, link } => self.shards[shard].link_closed(now, link),
            Role::ControlIncoming { link, .. } => self.membership.handle_incoming_closed(link),
            Role::ControlOutgoing { link } => self.membership.handle_closed(now.monotonic, link),
        }
    }

    /// This side closes.
    fn close(&mut self, now: Now, wire: Wire) {
        if self.connections.contains_key(&wire) {
            self.outputs.push(Output::Close(wire));
            self.closed(now, wire);
        }
    }

    fn run_disk_job(&mut self, now: Now, number: u64) {
        match self.disk_jobs.remove(&number) {
            None => {}
            Some(DiskJob::Log(shard, job)) => {
                let result = job.run();
                let shard = &mut self.shards[shard];
                let sequence = shard.storage.sync_ended(&result);
                shard.handle_durable(now, sequence);
            }
            Some(DiskJob::Hints(shard, sync, job)) => {
                let result = job.run();
                self.shards[shard].storage.hint_sync_ended(sync, &result);
            }
            Some(DiskJob::Scrub(shard, order)) => {
                self.shards[shard].handle_mail(now, Mail::Scrubbed(order.run()));
            }
        }
    }

    /// Writes the logs, then sends everything, as the event loop of a shard does.
    fn finish_turn(&mut self, now: Now) {
        for index in 0..self.shards.len() {
            self.dial(index);
            if let Err(error) = self.shards[index].storage.write() {
                self.shards[index].storage.report_failure(&error);
                self.drop_unacknowledged(now, index);
            }
            let shard = &mut self.shards[index];
            let second_passed = shard.take_second();
            if let Some(job) = shard.storage.due_sync(second_passed) {
                self.order(DiskJob::Log(index, SyncTask::Log(job)));
            }
            if second_passed {
                for (sync, task) in self.shards[index].storage.hint_syncs() {
                    self.order(DiskJob::Hints(index, sync, task));
                }
            }
            if let Some(order) = self.shards[index].take_scrub_order() {
                self.order(DiskJob::Scrub(index, order));
            }
            let shard = &mut self.shards[index];
            for (to, mail) in shard.outbox.iter_mut().enumerate() {
                self.mail.extend(mail.drain(..).map(|mail| (to, mail)));
            }
            if shard.take_seal_wanted() {
                self.membership.request_seal(now.monotonic);
                self.service_membership(now);
            }
            self.flush_sessions(now, index);
            self.flush_links(now, index);
        }
    }

    fn order(&mut self, job: DiskJob) {
        let number = self.next_disk_job;
        self.next_disk_job += 1;
        self.disk_jobs.insert(number, job);
        self.outputs.push(Output::Sync(number));
    }

    fn dial(&mut self, index: usize) {
        while let Some(output) = self.shards[index].poll_dialer() {
            match output {
                DialerOutput::Dial { link, address } => {
                    self.open(Role::Outgoing { shard: index, link }, address);
                }
                DialerOutput::Hangup { link } => {
                    let wire = self.find(|role| {
                        matches!(role, Role::Outgoing { shard, link: found }
                            if *shard == index && *found == link)
                    });
                    self.hang_up(wire);
                }
            }
        }
    }

    pub(super) fn open(&mut self, role: Role, address: String) {
        let wire = Wire(DIALLED | self.next_wire);
        self.next_wire += 1;
        self.insert(wire, role);
        self.outputs.push(Output::Dial { wire, address });
    }

    /// Closes a connection that its machine knows to be closed.
    pub(super) fn hang_up(&mut self, wire: Option<Wire>) {
        if let Some(wire) = wire {
            self.connections.remove(&wire);
            self.outputs.push(Output::Close(wire));
        }
    }

    pub(super) fn find(&self, matches: impl Fn(&Role) -> bool) -> Option<Wire> {
        let found = self.connections.iter().find(|(_, connection)| matches(&connection.role));
        found.map(|(wire, _)| *wire)
    }

    /// Nothing of this turn is on disk for certain: whoever waits for it finds out by a closed
    /// connection, which promises nothing.
    fn drop_unacknowledged(&mut self, now: Now, index: usize) {
        let dirty = std::mem::take(&mut self.shards[index].dirty_sessions);
        let concerned = |role: &Role| match role {
            Role::Client { shard, session } => *shard == index && dirty.contains(session),
            Role::Incoming { shard, .. } | Role::Outgoing { shard, .. } => *shard == index,
            _ => false,
        };
        let wires: Vec<Wire> = self
            .connections
            .iter()
            .filter(|(_, connection)| concerned(&connection.role))
            .map(|(wire, _)| *wire)
            .collect();
        wires.into_iter().for_each(|wire| self.close(now, wire));
    }

    fn flush_sessions(&mut self, now: Now, index: usize) {
        let mut dirty = std::mem::take(&mut self.shards[index].dirty_sessions);
        dirty.sort_unstable();
        dirty.dedup();
        for session in dirty {
            let Some(state) = self.shards[index].sessions.get_mut(session) else { continue };
            let bytes = std::mem::take(&mut state.replies.ready);
            let closing = state.closing && state.replies.waiting() == 0;
            let wire = self.find(|role| {
                matches!(role, Role::Client { shard, session: found }
                    if *shard == index && *found == session)
            });
            let Some(wire) = wire else { continue };
            if !bytes.is_empty() {
                self.outputs.push(Output::Send(wire, bytes));
                self.shards[index].session_drained(session, 0);
            }
            if closing {
                self.close(now, wire);
            }
        }
    }

    fn flush_links(&mut self, now: Now, index: usize) {
        let outgoing: Vec<(LinkId, Vec<u8>)> = self.shards[index]
            .outgoing_output()
            .map(|link| (link.link, std::mem::take(&mut link.output)))
            .collect();
        for (link, bytes) in outgoing {
            let wire = self.find(|role| {
                matches!(role, Role::Outgoing { shard, link: found }
                    if *shard == index && *found == link)
            });
            self.outputs.extend(wire.map(|wire| Output::Send(wire, bytes)));
        }
        for link in self.shards[index].incoming_with_output() {
            let (bytes, closing) = self.shards[index].incoming_output(link);
            let wire = self.find(|role| {
                matches!(role, Role::Incoming { shard, link: found }
                    if *shard == index && *found == link)
            });
            let Some(wire) = wire else { continue };
            self.outputs.push(Output::Send(wire, bytes));
            if closing {
                self.close(now, wire);
            }
        }
    }
}
