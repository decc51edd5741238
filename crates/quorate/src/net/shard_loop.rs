//! The event loop of a shard: one thread, its sockets, and the turn.
//!
//! A turn reads what has arrived and handles it, writes the log once, and only then sends. So a
//! reply never leaves before what it promises is with the operating system, and the writes of a
//! turn share one system call, whoever they came from.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use bytes::BytesMut;
use futures_channel::oneshot;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use quorate_cluster::{
    membership::{DialerOutput, LinkId},
    time::Instant,
};
use quorate_proto::{frame, message::Message};
use slab::Slab;

use super::{
    clock::Clock,
    connection::{Connection, ReadEnd},
    control::{CONTROL_SHARD, ControlMail},
    mailbox::Mailbox,
    resolver::Resolver,
    syncer::{ScrubRequest, SyncOrder},
};
use crate::{
    limits,
    shard::{About, EmbeddedAction, EmbeddedCommand, Mail, Now, Shard},
    storage::SyncTask,
};

mod accepting;
mod sending;

pub(crate) use accepting::Listeners;

/// How long a shard that stops waits for requests under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

const CLIENTS: Token = Token(0);
const PEERS: Token = Token(1);
pub(crate) const WAKE: Token = Token(2);
const CLUSTER_CLIENTS: Token = Token(3);
const FIRST_CONNECTION: usize = 4;

/// How shards and the control thread are reached.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) shards: Arc<Vec<Arc<Mailbox<Mail>>>>,
    pub(crate) control: Arc<Mailbox<ControlMail>>,
    pub(crate) resolver: Resolver,
}

/// What a connection is for.
#[derive(Debug)]
enum Role {
    /// A client.
    Client { session: usize },
    /// A peer that has not introduced itself yet, and until when it may.
    Arriving { address: SocketAddr, deadline: Instant },
    /// A peer's requests.
    Incoming { link: LinkId },
    /// This shard's requests to a peer; until it stands, the socket is still connecting.
    Outgoing { link: LinkId, connecting: bool },
}

#[derive(Debug)]
struct Peer {
    connection: Connection,
    role: Role,
    /// Bytes read and not parsed, except for clients, whose session has them.
    input: BytesMut,
    /// Whether it has more to read that would only wait, so that it is not read.
    paused: bool,
}

/// An in-process client: its session, and who waits for its replies, in order.
#[derive(Debug)]
struct Embedded {
    session: usize,
    waiting: VecDeque<oneshot::Sender<bytes::Bytes>>,
}

pub(crate) struct ShardLoop {
    shard: Shard,
    poll: Poll,
    clock: Clock,
    listeners: Listeners,
    connections: Slab<Peer>,
    /// The connection of each session of a remote client.
    by_session: HashMap<usize, usize>,
    by_outgoing: HashMap<u64, usize>,
    by_incoming: HashMap<u64, usize>,
    /// Outgoing links that wait until it is known where their addresses lead.
    resolving: HashSet<LinkId>,
    embedded: HashMap<u64, Embedded>,
    embedded_by_session: HashMap<usize, u64>,
    mailbox: Arc<Mailbox<Mail>>,
    directory: Directory,
    syncer: Sender<SyncOrder>,
    scrubber: Sender<ScrubRequest>,
    /// Connections of peers in the order in which they came, with the ends of their patience. Some
    /// have introduced themselves or are closed since.
    arriving: VecDeque<(usize, Instant)>,
    /// Connections may wait that could not be accepted for want of a descriptor: a listener tells of
    /// new ones only.
    accept_again: bool,
    listeners_at: Instant,
    /// Connections with more to read than one turn allows.
    unread: Vec<usize>,
    scratch: Vec<u8>,
    stopping: Option<Instant>,
}

/// What a shard's loop is made of.
pub(crate) struct Parts {
    pub(crate) shard: Shard,
    pub(crate) poll: Poll,
    pub(crate) clock: Clock,
    pub(crate) listeners: Listeners,
    pub(crate) directory: Directory,
    pub(crate) syncer: Sender<SyncOrder>,
    pub(crate) scrubber: Sender<ScrubRequest>,
}

impl ShardLoop {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts { shard, poll, clock, mut listeners, directory, syncer, scrubber } = parts;
        listeners.register(&poll)?;
        let mailbox = Arc::clone(&directory.shards[usize::from(shard.id)]);
        Ok(Self {
            shard,
            poll,
            clock,
            listeners,
            connections: Slab::new(),
            by_session: HashMap::new(),
            by_outgoing: HashMap::new(),
            by_incoming: HashMap::new(),
            resolving: HashSet::new(),
            embedded: HashMap::new(),
            embedded_by_session: HashMap::new(),
            mailbox,
            directory,
            syncer,
            scrubber,
            arriving: VecDeque::new(),
            accept_again: false,
            listeners_at: Instant::ZERO,
            unread: Vec::new(),
            scratch: vec![0; limits::READ_BUFFER_LENGTH],
            stopping: None,
        })
    }

    /// Runs until the shard is told to stop. Everything acknowledged is on disk afterwards.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let outcome = self.turns();
        self.mailbox.close();
        outcome
    }

    fn turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut mail = Vec::new();
        loop {
            let now = self.clock.now();
            let wait = self.shard.poll_timeout().since(now.monotonic);
            let wait = if self.unread.is_empty() { wait } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.clock.now();
            let now = self.shard.begin_turn(now);
            for event in &events {
                self.handle_event(now, event);
            }
            for key in std::mem::take(&mut self.unread) {
                self.readable(now, key);
            }
            self.mailbox.take(&mut mail);
            if !mail.is_empty() {
                self.shard.advance_wall_clock(now, self.clock.monotonic());
            }
            for message in mail.drain(..) {
                self.handle_mail(now, message);
            }
            if self.shard.poll_timeout() <= now.monotonic {
                self.shard.handle_timeout(now);
            }
            self.look_after_listeners(now);
            self.finish_turn(now);
            if self.has_stopped(now) {
                return self.shard.storage.close().map_err(io::Error::other);
            }
        }
    }

    fn handle_event(&mut self, now: Now, event: &mio::event::Event) {
        match event.token() {
            CLIENTS | CLUSTER_CLIENTS => self.accept_clients(now, event.token()),
            PEERS => self.accept_peers(now),
            WAKE => {}
            Token(token) => {
                let key = token - FIRST_CONNECTION;
                if event.is_writable() {
                    self.writable(now, key);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.readable(now, key);
                }
            }
        }
    }

    fn register(
        &mut self,
        mut connection: Connection,
        role: Role,
        input: BytesMut,
    ) -> Option<usize> {
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let token = Token(key + FIRST_CONNECTION);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut connection.socket, token, interest) {
            tracing::warn!(%error, "a connection could not be registered");
            return None;
        }
        entry.insert(Peer { connection, role, input, paused: false });
        Some(key)
    }

    /// A socket has bytes, or is closed.
    fn readable(&mut self, now: Now, key: usize) {
        let Some(peer) = self.connections.get_mut(key) else { return };
        let input = match peer.role {
            Role::Client { session } => match self.shard.sessions.get_mut(session) {
                Some(session) if session.is_sated() => {
                    peer.paused = true;
                    return;
                }
                Some(session) => &mut session.input,
                None => return,
            },
            Role::Outgoing { connecting: true, .. } => return,
            _ => &mut peer.input,
        };
        let before = input.len();
        let end = match peer.connection.read(&mut self.scratch, input) {
            Ok(end) => end,
            Err(_) => ReadEnd::Closed,
        };
        if matches!(peer.role, Role::Client { .. }) {
            let counters = &mut self.shard.stats.counters;
            counters.reads += 1;
            counters.input_bytes += (input.len() - before) as u64;
        }
        if end == ReadEnd::More {
            self.unread.push(key);
        }
        if end != ReadEnd::Closed || !input.is_empty() {
            self.handle_input(now, key);
        }
        if end == ReadEnd::Closed {
            self.close(now, key);
        }
    }

    /// Handles what was read on a connection.
    fn handle_input(&mut self, now: Now, key: usize) {
        let peer = &mut self.connections[key];
        if matches!(peer.role, Role::Incoming { .. } | Role::Outgoing { .. }) {
            self.shard.read_clocks(self.clock.now());
        }
        let outcome = match peer.role {
            Role::Client { session } => {
                if self.stopping.is_none() {
                    let now = self.shard.advance_wall_clock(now, self.clock.monotonic());
                    self.shard.session_input(now, session);
                }
                Ok(())
            }
            Role::Arriving { address, .. } => return self.introduce(now, key, address),
            Role::Incoming { link } => self.shard.incoming_input(now, link, &mut peer.input),
            Role::Outgoing { link, .. } => self.shard.link_input(now, link, &mut peer.input),
        };
        if let Err(error) = outcome {
            if error.passes() {
                tracing::debug!(%error, "a link to another node is closed");
            } else {
                tracing::warn!(%error, "a link to another node is closed");
            }
            self.close(now, key);
        }
    }

    /// A peer's first frame tells which shard its link is for.
    fn introduce(&mut self, now: Now, key: usize, address: SocketAddr) {
        let mut first = self.connections[key].input.clone();
        let hello = match frame::decode(&mut first) {
            Ok(None) => return,
            Ok(Some(frame::Frame { message: Message::Hello(hello), .. })) => hello,
            Ok(Some(_)) | Err(_) => {
                tracing::warn!(%address, "a stranger at the peer port did not introduce itself");
                return self.close(now, key);
            }
        };
        let shards = self.directory.shards.len() as u16;
        if hello.shard != CONTROL_SHARD && hello.shard % shards == self.shard.id {
            let link = self.shard.accept_link();
            self.connections[key].role = Role::Incoming { link };
            self.by_incoming.insert(link.0, key);
            return self.handle_input(now, key);
        }
        let mut peer = self.connections.remove(key);
        if self.poll.registry().deregister(&mut peer.connection.socket).is_err() {
            return;
        }
        let (socket, input) = (peer.connection.socket, peer.input.to_vec());
        if hello.shard == CONTROL_SHARD {
            self.directory.control.send(ControlMail::Socket { socket, input });
        } else {
            let owner = usize::from(hello.shard % shards);
            self.directory.shards[owner].send(Mail::Socket { socket, address, input });
        }
    }

    /// A socket takes bytes again, or is connected.
    fn writable(&mut self, now: Now, key: usize) {
        let Some(peer) = self.connections.get_mut(key) else { return };
        if let Role::Outgoing { link, connecting } = &mut peer.role
            && *connecting
        {
            if peer.connection.socket.peer_addr().is_err() {
                return self.close(now, key);
            }
            *connecting = false;
            let mut hello = self.shard.link_opened(*link);
            peer.connection.push(&mut hello);
        }
        let peer = &mut self.connections[key];
        if let Role::Client { session } = peer.role {
            // Sent with what else the turn has for it.
            return self.shard.dirty_sessions.push(session);
        }
        if peer.connection.flush().is_err() {
            self.close(now, key);
        }
    }

    fn close(&mut self, now: Now, key: usize) {
        let Some(peer) = self.connections.try_remove(key) else { return };
        peer.connection.close();
        match peer.role {
            Role::Client { session } => {
                self.by_session.remove(&session);
                self.shard.sessions.try_remove(session);
                self.shard.node.release_client();
            }
            Role::Arriving { .. } => {}
            Role::Incoming { link } => {
                self.by_incoming.remove(&link.0);
                self.shard.incoming_closed(link);
            }
            Role::Outgoing { link, .. } => {
                self.by_outgoing.remove(&link.0);
                self.shard.link_closed(now, link);
            }
        }
    }

    fn handle_mail(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Synced { hints: Some(sync), result } => {
                self.shard.storage.hint_sync_ended(sync, &result);
            }
            Mail::Synced { hints: None, result } => {
                let sequence = self.shard.storage.sync_ended(&result);
                self.shard.handle_durable(now, sequence);
            }
            Mail::Socket { socket, address, input } => {
                let role = Role::Arriving { address, deadline: now.monotonic };
                let input = BytesMut::from(&input[..]);
                if let Some(key) = self.register(Connection::new(socket), role, input) {
                    self.introduce(now, key, address);
                }
            }
            Mail::Resolved { link, address } => {
                if self.resolving.remove(&link) {
                    self.connect(now, link, address);
                }
            }
            Mail::Embedded(command) => self.embedded_command(now, command),
            Mail::Stop => self.stopping = Some(now.monotonic + STOP_PATIENCE),
            mail => self.shard.handle_mail(now, mail),
        }
    }

    fn embedded_command(&mut self, now: Now, command: EmbeddedCommand) {
        let EmbeddedCommand { client, command } = command;
        match command {
            EmbeddedAction::Run(command, waiter) => {
                let shard = &mut self.shard;
                let embedded = self.embedded.entry(client).or_insert_with(|| {
                    let about = About {
                        address: "in-process".into(),
                        is_embedded: true,
                        connected_ms: now.wall_ms(),
                        ..About::default()
                    };
                    let session = shard.open_session(about);
                    self.embedded_by_session.insert(session, client);
                    Embedded { session, waiting: Default::default() }
                });
                embedded.waiting.push_back(waiter);
                let session = &mut shard.sessions[embedded.session];
                session.input.extend_from_slice(command.frame());
                shard.session_input(now, embedded.session);
            }
            EmbeddedAction::Close => self.close_embedded(client),
        }
    }

    /// Whoever waits for a reply hears that there is none.
    fn close_embedded(&mut self, client: u64) {
        if let Some(embedded) = self.embedded.remove(&client) {
            self.embedded_by_session.remove(&embedded.session);
            self.shard.sessions.try_remove(embedded.session);
        }
    }

    /// Writes the log, then sends everything of this turn.
    fn finish_turn(&mut self, now: Now) {
        self.dial(now);
        if let Err(error) = self.shard.storage.write() {
            self.shard.storage.report_failure(&error);
            self.drop_unacknowledged(now);
        }
        if self.shard.storage.take_failed() {
            self.directory.control.send(ControlMail::LogFailed);
        }
        let second_passed = self.shard.take_second();
        if let Some(job) = self.shard.storage.due_sync(second_passed) {
            let mailbox = Arc::clone(&self.mailbox);
            let task = SyncTask::Log(job);
            let _ = self.syncer.send(SyncOrder { task, hints: None, mailbox });
        }
        if second_passed {
            for (sync, task) in self.shard.storage.hint_syncs() {
                let mailbox = Arc::clone(&self.mailbox);
                let _ = self.syncer.send(SyncOrder { task, hints: Some(sync), mailbox });
            }
        }
        if let Some(order) = self.shard.take_scrub_order() {
            let _ = self.scrubber.send((order, Arc::clone(&self.mailbox)));
        }
        for (shard, mail) in self.shard.outbox.iter_mut().enumerate() {
            self.directory.shards[shard].send_all(mail);
        }
        if self.shard.take_seal_wanted() {
            self.directory.control.send(ControlMail::SealWanted);
        }
        self.flush_sessions(now);
        self.flush_links(now);
    }

    /// Opens and closes outgoing links.
    fn dial(&mut self, now: Now) {
        while let Some(output) = self.shard.poll_dialer() {
            match output {
                DialerOutput::Dial { link, address } => match address.parse() {
                    Ok(address) => self.connect(now, link, Some(address)),
                    Err(_) => {
                        self.resolving.insert(link);
                        let mailbox = Arc::clone(&self.mailbox);
                        let answer = move |address| mailbox.send(Mail::Resolved { link, address });
                        self.directory.resolver.resolve(&address, Box::new(answer));
                    }
                },
                DialerOutput::Hangup { link } => {
                    self.resolving.remove(&link);
                    if let Some(key) = self.by_outgoing.remove(&link.0) {
                        self.connections.remove(key).connection.close();
                    }
                }
            }
        }
    }

    fn connect(&mut self, now: Now, link: LinkId, address: Option<SocketAddr>) {
        let socket = address.and_then(|address| TcpStream::connect(address).ok());
        let role = Role::Outgoing { link, connecting: true };
        let key =
            socket.and_then(|socket| self.register(Connection::new(socket), role, BytesMut::new()));
        match key {
            Some(key) => {
                self.by_outgoing.insert(link.0, key);
            }
            None => self.shard.link_closed(now, link),
        }
    }

    /// Nothing of this turn is on disk for certain: whoever waits for it finds out by a closed
    /// connection, which promises nothing.
    fn drop_unacknowledged(&mut self, now: Now) {
        for session in std::mem::take(&mut self.shard.dirty_sessions) {
            if let Some(session) = self.shard.sessions.get_mut(session) {
                session.replies.ready.clear();
                session.closing = true;
            }
            if let Some(key) = self.by_session.get(&session) {
                self.close(now, *key);
            } else if let Some(&client) = self.embedded_by_session.get(&session) {
                self.close_embedded(client);
            }
        }
        let links: Vec<usize> =
            self.by_incoming.values().chain(self.by_outgoing.values()).copied().collect();
        links.into_iter().for_each(|key| self.close(now, key));
    }

    /// Whether the shard was told to stop and nothing is under way any more.
    fn has_stopped(&self, now: Now) -> bool {
        let Some(deadline) = self.stopping else { return false };
        let idle = self.shard.is_idle()
            && self.connections.iter().all(|(_, peer)| peer.connection.waiting() == 0);
        idle || now.monotonic >= deadline
    }
}
