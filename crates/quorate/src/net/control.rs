//! The control thread: membership, apart from the data path.
//!
//! It has its own links, so that forming and sealing a cluster never waits behind data, and it is
//! the only one that writes the node's identity to disk.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use quorate_cluster::{
    membership::{Event, LinkId, Membership, Output, Standing},
    time::Instant,
    topology::Topology,
};
use quorate_proto::{
    NodeId, frame,
    message::{Message, View},
};
use slab::Slab;

use super::{
    clock::Clock,
    connection::{Connection, ReadEnd},
    mailbox::Mailbox,
    shard_loop::{Directory, WAKE},
};
use crate::{
    identity::{self, Identity},
    limits::READ_BUFFER_LENGTH,
    node::{Footing, Node},
    shard::{Mail, Now},
};

/// The shard number that membership links carry in their introduction.
pub(crate) const CONTROL_SHARD: u16 = u16::MAX;

const FIRST_CONNECTION: usize = WAKE.0 + 1;

/// Pause before what could not be written down is tried again.
const WRITE_PAUSE: Duration = Duration::from_millis(200);

/// How often a node that claims its seat says whom it waits for.
const WAITING_TOLD_EVERY: Duration = Duration::from_secs(5);

/// What the control thread is told.
#[derive(Debug)]
pub(crate) enum ControlMail {
    /// An accepted socket whose peer introduced itself for membership, with what was read.
    Socket { socket: TcpStream, input: Vec<u8> },
    /// Where the address of a link to be dialled leads; `None`: nowhere for now.
    Resolved { link: LinkId, address: Option<SocketAddr> },
    /// A first write waits for the seal.
    SealWanted,
    /// A shard's log has failed.
    LogFailed,
    /// Stop.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Incoming,
    Outgoing { connecting: bool },
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    direction: Direction,
    connection: Connection,
    input: BytesMut,
    introduced: bool,
    closing: bool,
}

pub(crate) struct Control {
    membership: Membership,
    identity: Identity,
    /// What must be written down before the membership goes on, and could not be yet.
    unwritten: Option<Output>,
    node: Arc<Node>,
    poll: Poll,
    clock: Clock,
    directory: Directory,
    mailbox: Arc<Mailbox<ControlMail>>,
    links: Slab<Link>,
    outgoing: HashMap<u64, usize>,
    /// Links that wait until it is known where their addresses lead.
    resolving: HashSet<LinkId>,
    me: NodeId,
    /// The member list that the shards know.
    published: View,
    /// When it was told last whom this node waits for.
    told_at: Instant,
    scratch: Vec<u8>,
}

impl Control {
    pub(crate) fn new(
        membership: Membership,
        identity: Identity,
        node: Arc<Node>,
        poll: Poll,
        clock: Clock,
        directory: Directory,
    ) -> Self {
        Self {
            me: membership.me(),
            published: membership.view(),
            membership,
            identity,
            unwritten: None,
            node,
            poll,
            clock,
            mailbox: Arc::clone(&directory.control),
            directory,
            links: Slab::new(),
            outgoing: HashMap::new(),
            resolving: HashSet::new(),
            told_at: Instant::ZERO,
            scratch: vec![0; READ_BUFFER_LENGTH],
        }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut mail = Vec::new();
        self.membership.handle_listening(self.clock.now().monotonic);
        loop {
            let now = self.clock.now();
            self.service(now)?;
            self.state_footing(now);
            let wait = self
                .membership
                .poll_timeout()
                .map_or(Duration::from_secs(1), |at| at.since(now.monotonic));
            let wait = if self.unwritten.is_some() { wait.min(WRITE_PAUSE) } else { wait };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.clock.now();
            for event in &events {
                if let Some(key) = event.token().0.checked_sub(FIRST_CONNECTION) {
                    self.handle_event(now, key, event.is_writable());
                }
            }
            self.mailbox.take(&mut mail);
            for message in mail.drain(..) {
                match message {
                    ControlMail::Socket { socket, input } => self.accept(now, socket, &input),
                    ControlMail::Resolved { link, address } => {
                        if self.resolving.remove(&link) {
                            self.connect(now, link, address);
                        }
                    }
                    ControlMail::SealWanted => self.membership.request_seal(now.monotonic),
                    ControlMail::LogFailed => self.identity.record_failed_log(),
                    ControlMail::Stop => return Ok(()),
                }
            }
            self.membership.handle_timeout(now.monotonic);
            self.identity.settle(&self.node.figures());
        }
    }

    fn accept(&mut self, now: Now, socket: TcpStream, input: &[u8]) {
        let connection = Connection::new(socket);
        if let Some(key) = self.register(connection, Direction::Incoming, None) {
            self.links[key].input.extend_from_slice(input);
            self.handle_input(now, key);
        }
    }

    fn register(
        &mut self,
        mut connection: Connection,
        direction: Direction,
        id: Option<LinkId>,
    ) -> Option<usize> {
        let entry = self.links.vacant_entry();
        let key = entry.key();
        let token = Token(key + FIRST_CONNECTION);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut connection.socket, token, interest).ok()?;
        entry.insert(Link {
            id: id.unwrap_or(LinkId(key as u64)),
            direction,
            connection,
            input: BytesMut::new(),
            introduced: false,
            closing: false,
        });
        Some(key)
    }

    fn handle_event(&mut self, now: Now, key: usize, writable: bool) {
        let Some(link) = self.links.get_mut(key) else { return };
        if writable {
            if link.direction == (Direction::Outgoing { connecting: true }) {
                if link.connection.socket.peer_addr().is_err() {
                    return self.close(now, key);
                }
                link.direction = Direction::Outgoing { connecting: false };
                self.membership.handle_connected(link.id);
            }
            if self.links[key].connection.flush().is_err() {
                return self.close(now, key);
            }
        }
        let link = &mut self.links[key];
        let end = link.connection.read(&mut self.scratch, &mut link.input);
        self.handle_input(now, key);
        if !matches!(end, Ok(ReadEnd::Drained | ReadEnd::More)) {
            self.close(now, key);
        }
    }

    fn handle_input(&mut self, now: Now, key: usize) {
        while let Some(link) = self.links.get_mut(key) {
            let frame = match frame::decode(&mut link.input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "a membership link is closed");
                    return self.close(now, key);
                }
            };
            let (id, monotonic) = (link.id, now.monotonic);
            match (link.direction, frame.message) {
                (Direction::Outgoing { .. }, message) => {
                    self.membership.handle_response(monotonic, id, message);
                }
                (Direction::Incoming, Message::Hello(hello)) if !link.introduced => {
                    link.introduced = true;
                    self.membership.handle_hello(monotonic, id, frame.correlation, &hello);
                }
                (Direction::Incoming, message) => {
                    self.membership.handle_request(monotonic, id, frame.correlation, message);
                }
            }
        }
    }

    fn close(&mut self, now: Now, key: usize) {
        let Some(link) = self.links.try_remove(key) else { return };
        link.connection.close();
        match link.direction {
            Direction::Incoming => self.membership.handle_incoming_closed(link.id),
            Direction::Outgoing { .. } => {
                self.outgoing.remove(&link.id.0);
                self.membership.handle_closed(now.monotonic, link.id);
            }
        }
    }

    /// Does what the membership asks for, in order.
    fn service(&mut self, now: Now) -> io::Result<()> {
        while let Some(output) = self.unwritten.take().or_else(|| self.membership.poll_output()) {
            match output {
                Output::Dial { link, address } => self.dial(now, link, &address),
                Output::Hangup { link } => {
                    self.resolving.remove(&link);
                    if let Some(key) = self.outgoing.remove(&link.0) {
                        self.links.remove(key).connection.close();
                    }
                }
                Output::Send { link, message } => {
                    if let Some(&key) = self.outgoing.get(&link.0) {
                        self.send(now, key, 0, &message);
                    }
                }
                Output::Respond { link, correlation, message } => {
                    let key = link.0 as usize;
                    if self.links.contains(key) {
                        self.send(now, key, correlation, &message);
                    }
                }
                Output::CloseIncoming { link } => {
                    if let Some(link) = self.links.try_remove(link.0 as usize) {
                        link.connection.close();
                    }
                }
                Output::Persist(persisted) => {
                    let result = self.identity.persist(persisted.clone());
                    if self.must_wait(Output::Persist(persisted), result)? {
                        return Ok(());
                    }
                }
                Output::Register(persisted) => self.identity.register(persisted),
                Output::Seated { member, persisted } => {
                    let result = self.identity.take_seat(&member, persisted.clone());
                    let seated = Output::Seated { member: member.clone(), persisted };
                    if self.must_wait(seated, result)? {
                        return Ok(());
                    }
                    self.me = member.id;
                    tracing::warn!(
                        id = %member.id,
                        incarnation = %member.incarnation,
                        "this node has its seat in the cluster again"
                    );
                }
                Output::Topology(view) => self.publish(view),
                Output::Sealed => tracing::info!("the member list is sealed: data may be written"),
                Output::Event(event) => {
                    report(&event);
                    self.give_up_when_refused(&event)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the membership must wait because `output` could not be written down, for a reason that
    /// may pass.
    fn must_wait(&mut self, output: Output, result: io::Result<()>) -> io::Result<bool> {
        match result {
            Err(error) if identity::passes(&error) => {
                tracing::error!(%error, "node.json cannot be written; trying again");
                self.unwritten = Some(output);
                Ok(true)
            }
            other => other.map(|()| false),
        }
    }

    /// A node that the cluster will never admit must not go on and found one of its own.
    fn give_up_when_refused(&self, event: &Event) -> io::Result<()> {
        match event {
            Event::Fenced { text } => Err(io::Error::other(text.clone())),
            Event::RefusedBy { text, transient: false, .. }
                if self.membership.standing() != Standing::Sealed =>
            {
                Err(io::Error::other(format!("refused by the cluster: {text}")))
            }
            _ => Ok(()),
        }
    }

    fn dial(&mut self, now: Now, link: LinkId, address: &str) {
        if let Ok(address) = address.parse() {
            return self.connect(now, link, Some(address));
        }
        self.resolving.insert(link);
        let mailbox = Arc::clone(&self.mailbox);
        let answer = move |address| mailbox.send(ControlMail::Resolved { link, address });
        self.directory.resolver.resolve(address, Box::new(answer));
    }

    fn connect(&mut self, now: Now, link: LinkId, address: Option<SocketAddr>) {
        let socket = address.and_then(|address| TcpStream::connect(address).ok());
        let key = socket.and_then(|socket| {
            let direction = Direction::Outgoing { connecting: true };
            self.register(Connection::new(socket), direction, Some(link))
        });
        match key {
            Some(key) => {
                self.outgoing.insert(link.0, key);
            }
            None => self.membership.handle_closed(now.monotonic, link),
        }
    }

    fn send(&mut self, now: Now, key: usize, correlation: u64, message: &Message) {
        let mut frame = Vec::new();
        frame::encode(&mut frame, self.membership.view().epoch, correlation, message);
        let link = &mut self.links[key];
        link.connection.push(&mut frame);
        if link.connection.flush().is_err() || link.closing {
            self.close(now, key);
        }
    }

    /// Tells the shards and the operator whether this node knows what data there is.
    fn state_footing(&mut self, now: Now) {
        let rejoining = self.membership.is_rejoining();
        let footing = Footing {
            founded: self.membership.is_founded(now.monotonic),
            rejoining,
            awaited: self.membership.awaited(),
        };
        if rejoining && self.told_at <= now.monotonic {
            self.told_at = now.monotonic + WAITING_TOLD_EVERY;
            tracing::warn!(
                waits_for = footing.awaited.join(", "),
                "this node was a member, has lost everything, and asks all others for its seat"
            );
        }
        if self.node.set_footing(footing) {
            self.directory.shards.iter().for_each(|shard| shard.send(Mail::Founded));
        }
    }

    fn publish(&mut self, view: View) {
        if self.published == view {
            return;
        }
        self.published = view;
        match Topology::new(&self.published, self.me) {
            Ok(topology) => {
                let topology = Arc::new(topology);
                for shard in self.directory.shards.iter() {
                    shard.send(Mail::Topology { topology: Arc::clone(&topology) });
                }
            }
            Err(error) => tracing::error!(%error, "the member list is no topology"),
        }
    }
}

fn report(event: &Event) {
    match event {
        Event::Joined { member } => {
            tracing::info!(name = %member.name, address = %member.peer_address, "a node joined");
        }
        Event::Changed { member } => {
            tracing::info!(name = %member.name, address = %member.peer_address, "a node changed");
        }
        Event::Refused { name, address, reason } => {
            tracing::warn!(%name, %address, %reason, "refused a node");
        }
        Event::RefusedBy { target, text, transient: true } => {
            tracing::info!(?target, %text, "not admitted yet");
        }
        Event::RefusedBy { target, text, transient: false } => {
            tracing::error!(?target, %text, "refused by the cluster");
        }
        Event::Promising { members } => {
            tracing::info!(members, "sealing the member list for the first write");
        }
        Event::Rejoining { seat } => {
            tracing::warn!(id = %seat, "this node was a member and has lost everything");
        }
        Event::SeatGranted { member, incarnation } => tracing::warn!(
            name = %member.name,
            address = %member.peer_address,
            %incarnation,
            "a node that has lost everything takes its seat again"
        ),
        Event::Fenced { text } => tracing::error!(%text, "this node must not go on"),
        Event::Conflict(reason) => tracing::error!(%reason, "member lists do not go together"),
        Event::SeedMissing { address } => {
            tracing::warn!(%address, "a seed did not answer; going on without what it may know");
        }
        other => tracing::info!(?other, "membership"),
    }
}
