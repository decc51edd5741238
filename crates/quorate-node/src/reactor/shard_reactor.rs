//! One shard with its connections: clients, and links to other nodes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use quorate_cluster::{
    limits::HEARTBEAT_INTERVAL,
    membership::{DialerOutput, LinkId},
    time::Instant,
};
use quorate_proto::mutant::Mutant;

use super::{Arrival, ConnectionId, Done, Machine, Output, Port, Unsent, connections::Connections};
use crate::{
    node::Node,
    repeated::Repeated,
    secure_link::SecureLink,
    shard::{About, Coverage, Ending, Mail, Now, Shard, Stopwatch},
    storage::Storage,
};

/// How long a shard that is to stop goes on, so that others hear that they are to execute writes, and
/// what they have sent before arrives. They ask with every heartbeat.
const HANDOVER: Duration = HEARTBEAT_INTERVAL.saturating_mul(2);

/// How long it goes on for other nodes after that: those that stop with it may need its acknowledgement
/// for what they have begun before.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

/// How long a shard that stops waits for requests under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How soon it looks again whether other shards have any.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    /// A client; one from outside has one of the places of clients.
    Client {
        session: usize,
        has_place: bool,
        /// Since when it has taken so little that it is near its limit.
        much_since: Option<Instant>,
    },
    /// One that there is no place for, which is told so.
    TurnedAway,
    /// A peer that has not introduced itself yet.
    Arriving { secure: Box<SecureLink> },
    /// A peer's requests.
    Incoming { link: LinkId, secure: Box<SecureLink> },
    /// This shard's requests to a peer.
    Outgoing { link: LinkId, secure: Box<SecureLink> },
}

/// A shard and its connections.
pub struct Reactor {
    pub(super) shard: Shard,
    pub(super) node: Arc<Node>,
    pub(super) connections: Connections<Role>,
    pub(super) outgoing: BTreeMap<LinkId, ConnectionId>,
    pub(super) incoming: BTreeMap<LinkId, ConnectionId>,
    /// Connections of peers in the order in which they came, with the ends of their patience. Some
    /// have introduced themselves or are closed since.
    pub(super) arriving: VecDeque<(ConnectionId, Instant)>,
    /// Those of them that were closed because they did not introduce themselves.
    pub(super) strangers: Repeated,
    /// Links whose other side could not be trusted.
    pub(super) distrusted: Repeated,
    /// The time that the turn goes by.
    pub(super) turn: Now,
    /// When clients are looked at again that take nothing.
    pub(super) readers_at: Instant,
    /// Bytes that waited to be sent when the limit for all clients was looked at last.
    pub(super) bounded_at: u64,
    /// Links with large messages that are sent by and by.
    pub(super) to_feed: Vec<(ConnectionId, usize)>,
    /// Whether a large message has not left altogether.
    pub(super) is_feeding: bool,
    /// From when nothing new is taken, and what is under way is finished.
    stops_at: Option<Instant>,
    /// Until when other nodes are answered at least.
    ends_at: Instant,
}

impl Reactor {
    /// The machine of a shard, with its data.
    pub fn new(now: Now, id: u16, node: Arc<Node>, storage: Storage) -> Self {
        Self {
            shard: Shard::new(now, id, Arc::clone(&node), storage),
            node,
            connections: Connections::default(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            arriving: VecDeque::new(),
            strangers: Repeated::default(),
            distrusted: Repeated::default(),
            turn: now,
            readers_at: Instant::ZERO,
            bounded_at: 0,
            to_feed: Vec::new(),
            is_feeding: false,
            stops_at: None,
            ends_at: Instant::ZERO,
        }
    }

    /// Times commands inside of turns.
    pub fn use_stopwatch(&mut self, stopwatch: Stopwatch) {
        self.shard.use_stopwatch(stopwatch);
    }

    /// Number of the shard.
    pub fn id(&self) -> u16 {
        self.shard.id()
    }

    /// Mail of another shard, or of the control.
    pub fn handle_mail(&mut self, now: Now, mail: Mail) {
        let turn = self.shard.advance_wall_clock(self.turn, now.monotonic);
        let was_lent = self.shard.is_lent();
        self.shard.handle_mail(turn, mail);
        if was_lent && !self.shard.is_lent() {
            self.resume_links(now);
        }
    }

    /// A job that was ordered has ended.
    pub fn handle_done(&mut self, done: Done) {
        self.shard.handle_done(self.turn, done);
    }

    /// The node is to stop: others take over, then what is under way is finished, and nothing new is
    /// begun.
    pub fn handle_stop(&mut self, now: Now) {
        if self.stops_at.is_some() {
            return;
        }
        let is_needed = self.shard.leave();
        let (handover, answers) =
            if is_needed { (HANDOVER, LAST_ANSWERS) } else { (Duration::ZERO, Duration::ZERO) };
        self.stops_at = Some(now.monotonic + handover);
        self.ends_at = now.monotonic + handover + answers;
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stops_at.is_some_and(|at| at <= self.turn.monotonic)
    }

    /// Whether the shard was told to stop and nothing is under way any more, here and in the others.
    pub fn has_stopped(&self, now: Now) -> bool {
        let Some(stops_at) = self.stops_at.filter(|_| self.is_stopping()) else { return false };
        let is_sent = self.connections.unsent_bytes() == 0 && !self.is_feeding;
        let is_idle = self.shard.is_idle() && is_sent;
        let is_over = self.ends_at <= now.monotonic;
        self.node.note_idle(self.id(), is_idle && is_over)
            || now.monotonic >= stops_at + STOP_PATIENCE
    }

    /// Makes everything that was acknowledged durable.
    pub fn close(&mut self) -> io::Result<()> {
        self.shard.close_log()
    }

    /// What a simulator looks at.
    pub(crate) fn shard(&self) -> &Shard {
        &self.shard
    }

    pub(crate) fn shard_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }

    fn accept_client(&mut self, now: Now, arrival: Arrival) -> ConnectionId {
        let Arrival { port, address, local_address, descriptor, link: _ } = arrival;
        let is_embedded = port == Port::InProcess;
        if !is_embedded && !self.shard.admit_client() {
            let connection = self.connections.insert(Role::TurnedAway);
            let mut text = b"-ERR max number of clients reached\r\n".to_vec();
            self.connections.send(connection, &mut text);
            self.connections.close_when_sent(connection);
            return connection;
        }
        let about = About {
            address,
            local_address,
            descriptor,
            is_embedded,
            connected_ms: now.wall_ms(),
            active_ms: now.wall_ms(),
            ..About::default()
        };
        let coverage =
            if port == Port::ClusterClients { Coverage::Primary } else { Coverage::Cluster };
        let role = |session| Role::Client { session, has_place: !is_embedded, much_since: None };
        let connection = self.connections.insert(role(0));
        let session = self.shard.open_session(connection, about, coverage);
        if let Some(opened) = self.connections.get_mut(connection) {
            opened.role = role(session);
        }
        connection
    }

    /// Closes a connection from this side.
    pub(super) fn close_connection(&mut self, connection: ConnectionId) {
        match self.connections.close(connection) {
            Some(Role::Client { session, has_place, .. }) => {
                self.shard.drop_session(session);
                self.give_back(has_place);
            }
            Some(Role::Incoming { link, .. }) => self.forget_incoming(link),
            Some(Role::Outgoing { link, .. }) => self.forget_outgoing(link),
            Some(Role::TurnedAway | Role::Arriving { .. }) | None => {}
        }
    }

    fn give_back(&self, has_place: bool) {
        if has_place {
            self.node.release_client();
        }
    }

    fn forget_incoming(&mut self, link: LinkId) {
        self.incoming.remove(&link);
        self.shard.incoming_closed(link);
    }

    fn forget_outgoing(&mut self, link: LinkId) {
        self.outgoing.remove(&link);
        self.shard.link_closed(self.turn, link);
    }

    /// Opens and closes outgoing links.
    fn dial(&mut self) {
        while let Some(output) = self.shard.poll_dialer() {
            match output {
                DialerOutput::Dial { link, address } => {
                    let secure = Box::new(self.node.security.dial(&address));
                    let role = Role::Outgoing { link, secure };
                    let connection = self.connections.dial(role, address);
                    self.outgoing.insert(link, connection);
                }
                DialerOutput::Hangup { link } => {
                    if let Some(connection) = self.outgoing.remove(&link) {
                        self.connections.close(connection);
                    }
                }
            }
        }
    }

    /// Nothing of this turn is on disk for certain: whoever waits for it finds out by a closed
    /// connection, which promises nothing.
    fn drop_unacknowledged(&mut self) {
        for session in self.shard.withdraw() {
            if let Some(connection) = self.shard.connection_of(session) {
                self.close_connection(connection);
            }
        }
        let links: Vec<ConnectionId> =
            self.incoming.values().chain(self.outgoing.values()).copied().collect();
        links.into_iter().for_each(|connection| self.close_connection(connection));
    }

    /// Hands out the replies of this turn.
    fn send_replies(&mut self) {
        let limit = self.node.adjustable.output_limit();
        for session in self.shard.take_dirty_sessions() {
            let Some((connection, ready, ending)) = self.shard.departing(session) else { continue };
            self.connections.send_with(connection, |unsent| unsent.push_ready(ready));
            let ends = match ending {
                Ending::None => false,
                Ending::WhenSent => self.connections.close_when_sent(connection),
                Ending::AtOnce => true,
            };
            if ends {
                self.close_connection(connection);
                continue;
            }
            if self.is_over_limit(connection, limit) {
                self.disconnect_reader(connection);
                continue;
            }
            let unsent = self.connections.unsent(connection).map_or(0, Unsent::len);
            self.shard.session_drained(session, unsent);
            if !self.shard.is_sated(session) {
                self.connections.unpause(connection);
            }
        }
    }
}

impl Machine for Reactor {
    fn begin_turn(&mut self, now: Now) {
        self.node.work.begin(self.id(), now.monotonic);
        self.turn = self.shard.begin_turn(now);
        if Mutant::SentBeforeWritten.is_planted() {
            // Whatever comes of it: it is too late.
            let _ = self.shard.write_log();
        }
    }

    fn handle_accepted(&mut self, now: Now, arrival: Arrival) -> Option<ConnectionId> {
        if self.is_stopping() {
            return None;
        }
        match arrival.port {
            Port::Peers => self.accept_peer(now, arrival),
            _ => Some(self.accept_client(now, arrival)),
        }
    }

    fn handle_connected(&mut self, _: Now, connection: ConnectionId) {
        self.introduce_self(connection);
    }

    fn handle_bytes(&mut self, now: Now, connection: ConnectionId, bytes: &[u8]) {
        match self.connections.get(connection).map(|found| &found.role) {
            Some(&Role::Client { session, .. }) if !self.is_stopping() => {
                self.shard.session_bytes(session, bytes);
            }
            Some(Role::Arriving { .. } | Role::Incoming { .. } | Role::Outgoing { .. }) => {
                self.link_bytes(now, connection, bytes);
            }
            Some(Role::Client { .. } | Role::TurnedAway) | None => {}
        }
    }

    fn handle_closed(&mut self, _: Now, connection: ConnectionId) {
        match self.connections.remove(connection) {
            Some(Role::Client { session, has_place, .. }) => {
                self.shard.end_session(session);
                self.give_back(has_place);
            }
            Some(Role::Incoming { link, .. }) => self.forget_incoming(link),
            Some(Role::Outgoing { link, .. }) => self.forget_outgoing(link),
            Some(Role::TurnedAway | Role::Arriving { .. }) | None => {}
        }
    }

    fn handle_sent(&mut self, connection: ConnectionId, bytes: usize) {
        let ends = self.connections.sent(connection, bytes);
        let Some(found) = self.connections.get(connection) else { return };
        match found.role {
            Role::Client { session, .. } => {
                self.shard.session_sent(session, bytes, found.unsent.len());
            }
            Role::Outgoing { link, .. }
                if !found.unsent.is_empty() || self.shard.is_blocked(link) =>
            {
                self.shard.link_moves(self.turn.monotonic, link);
            }
            _ => {}
        }
        if ends {
            self.close_connection(connection);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.shard.poll_timeout() <= now.monotonic {
            self.shard.handle_timeout(self.turn);
        }
        self.close_strangers(now);
        self.look_at_readers(now);
    }

    fn end_turn(&mut self, now: Now) -> io::Result<()> {
        let executed_at = self.shard.advance_wall_clock(self.turn, now.monotonic);
        self.shard.execute(executed_at);
        self.dial();
        if !Mutant::SentBeforeWritten.is_planted() && !self.shard.write_log() {
            self.drop_unacknowledged();
        }
        let outputs = &mut self.connections.outputs;
        self.shard.take_orders(|output| outputs.push_back(output));
        self.send_replies();
        self.bound_clients();
        self.send_messages();
        Ok(())
    }

    fn poll_output(&mut self) -> Option<Output> {
        let output = self.connections.outputs.pop_front();
        if output.is_none() {
            self.node.work.end(self.id());
        }
        output
    }

    fn poll_timeout(&self) -> Instant {
        let stranger = self.arriving.front().map(|(_, deadline)| *deadline);
        let stop = self.stops_at.map(|at| at.max(self.turn.monotonic + STOP_LOOK));
        // What was sent within the turn is not announced by anybody.
        let fed = self.is_hungry().then_some(self.turn.monotonic);
        let timeouts = [Some(self.shard.poll_timeout()), stranger, stop, fed];
        timeouts.into_iter().flatten().min().unwrap_or(Instant::ZERO)
    }

    fn unsent(&self, connection: ConnectionId) -> Option<&Unsent> {
        self.connections.unsent(connection)
    }

    fn admits_bytes(&mut self, connection: ConnectionId) -> bool {
        let Some(found) = self.connections.get(connection) else { return false };
        let Role::Client { session, .. } = found.role else { return true };
        let admits = !self.shard.is_sated(session);
        if !admits {
            self.connections.pause(connection);
        }
        admits
    }
}
