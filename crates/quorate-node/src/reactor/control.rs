//! The membership, apart from the data path.
//!
//! It has its own links, so that forming and sealing a cluster never waits behind data, and it is
//! the only one that writes the node's identity to disk.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use quorate_cluster::{
    gossip,
    limits::{GOSSIP_PACKET_MAX, HEARTBEAT_INTERVAL},
    membership::{Event, LinkId, Membership, Output as Wanted, Standing},
    time::{Instant, Wall},
};
use quorate_proto::{
    Groups, Incarnation, MemberNumber, NodeId, frame,
    message::{Message, View},
    mutant::Mutant,
};

use super::{
    Arrival, ConnectionId, Machine, Output, Unsent,
    catalogs::Catalogs,
    connections::Connections,
    progress::Progress,
    spreading::Spreading,
    steering::{Steer, Steering},
};
use crate::{
    identity::{self, Identity},
    node::{Footing, Node, WAITS_FOR_PROMISES, WAITS_FOR_SEEDS},
    repeated::Repeated,
    search::Change,
    secure_link::{LinkFault, SecureLink},
    shard::{Mail, Now},
    startup::MakeTopology,
};

/// Another process is, or was, the member that this one is: it must stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fenced(String);

/// This node is no member any more: it must stop.
#[derive(Debug, thiserror::Error)]
#[error(
    "this node has left the cluster, whose member list of epoch {0} is without it; start it with an empty data \
     directory to let it join again"
)]
pub(crate) struct Left(u64);

/// The shard number that membership links carry in their introduction.
pub const CONTROL_SHARD: u16 = u16::MAX;

/// Pause before what could not be written down is tried again.
const WRITE_PAUSE: Duration = Duration::from_millis(200);

/// How often a node without data says whom it waits for.
const WAITING_TOLD_EVERY: Duration = Duration::from_secs(5);

/// How often a node that is to be taken in says so.
const CANDIDATE_TOLD_EVERY: Duration = Duration::from_secs(60);

/// How often it is tried again to note whether data is missing, where the disk did not take it.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

/// What the control is told by shards.
#[allow(missing_docs, reason = "the fields are the business of the machines")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlMail {
    /// A first write waits for the seal.
    SealWanted,
    /// A shard's log has failed.
    LogFailed,
    /// Nothing is missing in a shard any more, on disk neither, as this process of the node.
    Regained { shard: u16, of: Incarnation },
    /// A shard goes by the list of an epoch.
    Adopted { shard: u16, epoch: u64 },
    /// In these groups of a shard this node and a peer have become level in that epoch.
    Level { shard: u16, peer: MemberNumber, groups: Groups },
    /// A client of a shard has to do with the cluster as a whole.
    Steer(Box<Steer>),
    /// A client changes the catalog of indexes; the reply is to go to the shard.
    Catalog { shard: u16, ticket: u64, change: Change },
}

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    Incoming { link: LinkId, secure: Box<SecureLink>, is_introduced: bool },
    Outgoing { link: LinkId, secure: Box<SecureLink> },
}

/// The membership and its links.
pub struct Control {
    pub(crate) membership: Membership,
    identity: Identity,
    pub(super) node: Arc<Node>,
    make_topology: MakeTopology,
    pub(super) connections: Connections<Role>,
    pub(super) outgoing: BTreeMap<LinkId, ConnectionId>,
    incoming: BTreeMap<LinkId, ConnectionId>,
    next_incoming: u64,
    /// What must be written down before the membership goes on, and could not be yet.
    unwritten: Option<Wanted>,
    /// The member list that the shards know.
    published: View,
    /// When it is to be told next whom this node waits for.
    told_at: Instant,
    /// When to look again whether a shard's turn takes long.
    look_at: Instant,
    news: Spreading,
    pub(super) progress: Progress,
    /// Links whose other side could not be trusted.
    distrusted: Repeated,
    /// That others do not admit this node yet.
    pub(super) not_admitted: Repeated,
    not_written: Repeated,
    pub(super) steering: Steering,
    pub(super) catalogs: Catalogs,
    /// The wall clock of this turn, in milliseconds since the Unix epoch.
    pub(super) wall_ms: u64,
    /// The time of this turn.
    pub(super) now: Instant,
}

impl Control {
    /// The machine of a membership that begins now.
    pub fn new(
        membership: Membership,
        identity: Identity,
        node: Arc<Node>,
        make_topology: MakeTopology,
    ) -> Self {
        Self {
            published: membership.view(),
            news: Spreading::new(membership.me(), node.started_ms),
            catalogs: Catalogs::new(node.catalog()),
            wall_ms: node.started_ms,
            membership,
            identity,
            node,
            make_topology,
            connections: Connections::default(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            next_incoming: 0,
            unwritten: None,
            steering: Steering::default(),
            told_at: Instant::ZERO,
            look_at: Instant::ZERO,
            progress: Progress::default(),
            distrusted: Repeated::default(),
            not_admitted: Repeated::default(),
            not_written: Repeated::default(),
            now: Instant::ZERO,
        }
    }

    /// By this the node tells others how many bytes of memory its process takes.
    pub fn use_memory(&mut self, resident_bytes: fn() -> u64) {
        self.news.use_memory(resident_bytes);
    }

    /// Peers can reach this node from now on.
    pub fn handle_listening(&mut self, now: Now) {
        self.membership.handle_listening(now.monotonic);
        self.told_at = now.monotonic + WAITING_TOLD_EVERY;
    }

    /// Mail of a shard.
    pub fn handle_mail(&mut self, now: Now, mail: ControlMail) {
        match mail {
            ControlMail::SealWanted => self.membership.request_seal(now.monotonic),
            ControlMail::LogFailed => self.identity.handle_failed_log(),
            ControlMail::Regained { shard, of } => self.identity.handle_regained(shard, of),
            ControlMail::Adopted { shard, epoch } => self.shard_adopted(shard, epoch),
            ControlMail::Level { shard, peer, groups } => {
                self.shard_is_level(shard, peer, groups);
            }
            ControlMail::Steer(steer) => self.steer(now, *steer),
            ControlMail::Catalog { shard, ticket, change } => {
                self.wall_ms = now.wall_ms();
                self.membership.request_seal(now.monotonic);
                self.change_catalog((shard, ticket), change);
            }
        }
    }

    /// A member list was decided on. One that cannot follow this node's is told to the operator.
    pub(crate) fn handle_decided(&mut self, now: Now, view: &View) {
        if let Err(error) = self.membership.adopt(now.monotonic, view) {
            tracing::error!(%error, epoch = view.epoch, "a member list is refused");
        }
    }

    /// The member list that the shards were told.
    pub(crate) fn list(&self) -> &View {
        &self.published
    }

    /// The member list that this node goes by.
    pub(crate) fn view(&self) -> View {
        self.membership.view()
    }

    /// A source of seeds has named these addresses.
    pub fn handle_seeds(&mut self, now: Now, source: &str, addresses: &[String]) {
        if let Err(left_out) = self.membership.handle_seeds(now.monotonic, source, addresses) {
            tracing::warn!(source, left_out, "more seeds are named than a node may have");
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    fn take_frame(
        &mut self,
        now: Instant,
        connection: ConnectionId,
    ) -> Result<bool, frame::FrameError> {
        let Some(found) = self.connections.get_mut(connection) else { return Ok(false) };
        match &mut found.role {
            Role::Outgoing { link, .. } if !self.outgoing.contains_key(link) => return Ok(false),
            Role::Outgoing { link, secure } => {
                let Some(frame) = frame::decode(secure.plain())? else { return Ok(false) };
                self.membership.handle_response(now, *link, frame.message);
            }
            // What comes on a link that the membership has closed is for nobody.
            Role::Incoming { link, .. } if !self.incoming.contains_key(link) => return Ok(false),
            Role::Incoming { link, secure, is_introduced } => {
                let Some(frame) = frame::decode(secure.plain())? else { return Ok(false) };
                let correlation = frame.correlation;
                match frame.message {
                    Message::Hello(hello) if !*is_introduced => {
                        *is_introduced = true;
                        self.membership.handle_hello(now, *link, correlation, &hello);
                    }
                    Message::Join(hello) if !*is_introduced => {
                        *is_introduced = true;
                        self.membership.handle_join(now, *link, correlation, &hello);
                    }
                    message => self.membership.handle_request(now, *link, correlation, message),
                }
            }
        }
        Ok(true)
    }

    fn forget(&mut self, now: Instant, role: &Role) {
        match role {
            Role::Incoming { link, .. } => {
                if self.incoming.remove(link).is_some() {
                    self.membership.handle_incoming_closed(*link);
                }
            }
            Role::Outgoing { link, .. } => {
                self.outgoing.remove(link);
                self.membership.handle_closed(now, *link);
            }
        }
    }

    pub(super) fn send(
        &mut self,
        connection: Option<ConnectionId>,
        correlation: u64,
        message: &Message,
    ) {
        let Some(connection) = connection else { return };
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, self.membership.epoch(), correlation, message);
        self.send_on_link(connection, &mut bytes);
    }

    /// Sends what is to be said on a link, and what its handshake has to say.
    fn send_on_link(&mut self, connection: ConnectionId, bytes: &mut Vec<u8>) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        let (Role::Incoming { secure, .. } | Role::Outgoing { secure, .. }) = &mut found.role;
        secure.seal(bytes);
        if !bytes.is_empty() {
            self.connections.send(connection, bytes);
        }
    }

    /// Closes a link whose other side is not trusted, or does not trust this one.
    fn distrust(&mut self, now: Now, connection: ConnectionId, fault: LinkFault) {
        let Some(role) = self.connections.close(connection) else { return };
        let (Role::Incoming { secure, .. } | Role::Outgoing { secure, .. }) = &role;
        if let Some(times) = self.distrusted.note(now.wall_ms()) {
            let address = secure.address();
            tracing::warn!(address, times, %fault, "a membership link is not trusted");
        }
        self.forget(now.monotonic, &role);
    }

    /// Does what the membership asks for, in order.
    fn service(&mut self) -> io::Result<()> {
        while let Some(wanted) = self.unwritten.take().or_else(|| self.membership.poll_output()) {
            match wanted {
                Wanted::Dial { link, address } => {
                    let secure = Box::new(self.node.security.dial(&address));
                    let role = Role::Outgoing { link, secure };
                    let connection = self.connections.dial(role, address);
                    self.outgoing.insert(link, connection);
                }
                Wanted::Hangup { link } => {
                    if let Some(connection) = self.outgoing.remove(&link) {
                        self.connections.close_after_last_word(connection);
                    }
                }
                Wanted::Send { link, message } => {
                    self.send(self.outgoing.get(&link).copied(), 0, &message);
                }
                Wanted::Respond { link, correlation, message } => {
                    self.send(self.incoming.get(&link).copied(), correlation, &message);
                }
                Wanted::CloseIncoming { link } => {
                    if let Some(connection) = self.incoming.remove(&link)
                        && self.connections.close_when_sent(connection)
                    {
                        self.connections.close(connection);
                    }
                }
                Wanted::Persist(persisted) => {
                    let result = self.identity.persist(persisted.clone());
                    if self.must_wait(Wanted::Persist(persisted), result)? {
                        return Ok(());
                    }
                }
                Wanted::Register(persisted) => self.identity.register(persisted),
                Wanted::Seated { member, persisted } => {
                    let result = self.identity.take_seat(&member, persisted.clone());
                    let seated = Wanted::Seated { member: member.clone(), persisted };
                    if self.must_wait(seated, result)? {
                        return Ok(());
                    }
                    tracing::warn!(
                        id = %member.id,
                        incarnation = %member.incarnation,
                        "this node has its seat in the cluster again"
                    );
                }
                Wanted::Topology(view) => self.publish(view),
                Wanted::AskedProgress { link, correlation } => {
                    let message = self.tell_progress();
                    self.send(self.incoming.get(&link).copied(), correlation, &message);
                }
                Wanted::Progress { member, epoch, level } => {
                    self.take_progress(member, epoch, level);
                }
                Wanted::AtWork { member } => self.node.work.note_peer(member, self.now),
                Wanted::Sealed => tracing::info!("the member list is sealed: data may be written"),
                Wanted::Carried { ticket, result } => self.carried(ticket, result),
                Wanted::Gossip {
                    from,
                    message: message @ (Message::Catalog(_) | Message::CatalogHeld { .. }),
                } => {
                    if let Some(merged) = self.catalogs.take(from, message) {
                        self.adopt_catalog(merged);
                    }
                }
                Wanted::Gossip { from, message } => self.news.take(self.now, from, message),
                Wanted::Event(event) => {
                    self.report(&event);
                    self.give_up_when_refused(event)?;
                }
            }
        }
        Ok(())
    }

    /// Tells others the news, as soon as it is settled who they are.
    fn spread(&mut self) {
        if self.membership.standing() != Standing::Sealed {
            return;
        }
        if self.news.poll_timeout() <= self.now {
            let volume = self.volume();
            self.news.go_on(self.now, &self.membership, &self.node, &volume);
            for candidate in self.news.waiting() {
                self.membership.handle_candidate(self.now, &candidate);
            }
        }
        while let Some(output) = self.news.poll_output() {
            match output {
                gossip::Output::Send { to, message } => self.send_news(to, &message),
                gossip::Output::Up(id) => tracing::debug!(%id, "a member is heard of again"),
                gossip::Output::Down(id) => {
                    tracing::debug!(%id, "a member is not heard of any more, by nobody");
                    // Its host may be gone without having closed anything.
                    self.membership.handle_silent(self.now, id);
                }
            }
        }
    }

    fn send_news(&mut self, to: NodeId, message: &Message) {
        let link = self.membership.link_to(to);
        let connection = link.and_then(|link| self.outgoing.get(&link).copied());
        let unsent = connection.and_then(|connection| self.connections.unsent(connection));
        // Who reads nothing is told nothing: there will be later news.
        if unsent.is_some_and(|unsent| unsent.len() < GOSSIP_PACKET_MAX) {
            self.send(connection, 0, message);
        }
    }

    /// Whether the membership must wait because `wanted` could not be written down, for a reason
    /// that may pass.
    fn must_wait(&mut self, wanted: Wanted, result: io::Result<()>) -> io::Result<bool> {
        match result {
            Err(error) if identity::passes(&error) => {
                if let Some(times) = self.not_written.note(self.wall_ms) {
                    tracing::error!(%error, times, "node.json cannot be written; trying again");
                }
                self.unwritten = Some(wanted);
                Ok(true)
            }
            other => other.map(|()| false),
        }
    }

    /// A node that the cluster will never admit must not go on and found one of its own.
    fn give_up_when_refused(&self, event: Event) -> io::Result<()> {
        match event {
            Event::Fenced { .. } | Event::Left { .. } if Mutant::LeftServes.is_planted() => Ok(()),
            Event::Fenced { text } => Err(io::Error::other(Fenced(text))),
            Event::Left { epoch } => Err(io::Error::other(Left(epoch))),
            Event::RefusedBy { text, transient: false, .. }
                if self.membership.standing() != Standing::Sealed =>
            {
                Err(io::Error::other(format!("refused by the cluster: {text}")))
            }
            _ => Ok(()),
        }
    }

    fn publish(&mut self, view: View) {
        if self.published == view {
            return;
        }
        match (self.make_topology)(&view, self.membership.me()) {
            Ok(topology) => self.tell_shards(|| Mail::Topology { topology: Arc::clone(&topology) }),
            Err(error) => tracing::error!(%error, "the member list is not a valid topology"),
        }
        self.published = view;
    }

    /// Tells the shards and the operator whether this node knows what data there is, and for whom
    /// it waits.
    fn state_footing(&mut self) {
        let rejoining = self.membership.is_rejoining();
        let footing = Footing {
            founded: self.membership.is_founded(self.now),
            rejoining,
            is_candidate: self.membership.is_candidate(),
            awaited: self.membership.awaited(),
        };
        let standing = self.membership.standing();
        let waits = match standing {
            Standing::Forming => !footing.founded,
            Standing::Promised => !footing.awaited.is_empty(),
            Standing::Sealed => false,
        };
        if !waits {
            // A list that becomes final at once is not worth a warning.
            self.told_at = self.now + WAITING_TOLD_EVERY;
        } else if self.told_at <= self.now {
            let is_candidate = footing.is_candidate;
            let pause = if is_candidate { CANDIDATE_TOLD_EVERY } else { WAITING_TOLD_EVERY };
            self.told_at = self.now + pause;
            let waits_for = footing.awaited.join(", ");
            if is_candidate {
                tracing::info!(waits_for, "this node wants to become a member (quorate join)");
            } else if rejoining {
                tracing::warn!(
                    waits_for,
                    "this node was a member, has lost everything, and asks all others for its seat"
                );
            } else if standing == Standing::Promised {
                tracing::warn!(waits_for, "{WAITS_FOR_PROMISES}");
            } else {
                tracing::warn!(waits_for, "{WAITS_FOR_SEEDS}");
            }
        }
        let founded = footing.founded;
        if self.node.set_footing(footing) {
            self.tell_shards(|| Mail::Footing { founded });
        }
    }

    pub(super) fn tell_shards(&mut self, mail: impl Fn() -> Mail) {
        let shards = 0..self.node.settings.shards;
        self.connections.outputs.extend(shards.map(|shard| Output::Mail { shard, mail: mail() }));
    }
}

impl Machine for Control {
    fn begin_turn(&mut self, now: Now) {
        self.now = now.monotonic;
        self.wall_ms = now.wall_ms();
        self.news.set_wall(Wall(now.wall_ms()));
    }

    fn handle_accepted(&mut self, _: Now, arrival: Arrival) -> Option<ConnectionId> {
        let link = LinkId(self.next_incoming);
        self.next_incoming += 1;
        let accept = || Box::new(self.node.security.accept(&arrival.address));
        let secure = arrival.link.unwrap_or_else(accept);
        let role = Role::Incoming { link, secure, is_introduced: false };
        let connection = self.connections.insert(role);
        self.incoming.insert(link, connection);
        Some(connection)
    }

    fn handle_connected(&mut self, _: Now, connection: ConnectionId) {
        let Some(found) = self.connections.get(connection) else { return };
        if let Role::Outgoing { link, .. } = found.role {
            self.send_on_link(connection, &mut Vec::new());
            self.membership.handle_connected(link);
        }
    }

    fn handle_bytes(&mut self, now: Now, connection: ConnectionId, bytes: &[u8]) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        let (Role::Incoming { secure, .. } | Role::Outgoing { secure, .. }) = &mut found.role;
        if let Err(fault) = secure.receive(bytes) {
            return self.distrust(now, connection, fault);
        }
        self.send_on_link(connection, &mut Vec::new());
        loop {
            match self.take_frame(now.monotonic, connection) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "a membership link is closed");
                    if let Some(role) = self.connections.close(connection) {
                        self.forget(now.monotonic, &role);
                    }
                    return;
                }
            }
        }
    }

    fn handle_closed(&mut self, now: Now, connection: ConnectionId) {
        if let Some(role) = self.connections.remove(connection) {
            self.forget(now.monotonic, &role);
        }
    }

    fn handle_sent(&mut self, connection: ConnectionId, bytes: usize) {
        if self.connections.sent(connection, bytes) {
            self.connections.close(connection);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.membership.handle_timeout(now.monotonic);
        self.look_further(now.monotonic);
        if self.look_at <= now.monotonic {
            self.look_at = now.monotonic + HEARTBEAT_INTERVAL;
            if self.node.work.takes_long(now.monotonic) {
                self.membership.tell_of_work();
            }
        }
    }

    fn end_turn(&mut self, _: Now) -> io::Result<()> {
        self.spread();
        self.service()?;
        self.spread_catalog();
        self.state_footing();
        self.identity.settle();
        Ok(())
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.connections.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Instant {
        let note = Some(self.now + NOTE_PAUSE);
        let retry = self.unwritten.as_ref().map(|_| self.now + WRITE_PAUSE);
        let is_sealed = self.membership.standing() == Standing::Sealed;
        let news = is_sealed.then(|| self.news.poll_timeout());
        let look_at = Some(self.look_at.min(self.steering.poll_timeout()));
        let catalogs = self.catalogs.poll_timeout();
        let timeouts = [note, retry, news, catalogs, look_at, self.membership.poll_timeout()];
        timeouts.into_iter().flatten().min().unwrap_or(Instant::ZERO)
    }

    fn unsent(&self, connection: ConnectionId) -> Option<&Unsent> {
        self.connections.unsent(connection)
    }

    fn admits_bytes(&mut self, _: ConnectionId) -> bool {
        true
    }
}
