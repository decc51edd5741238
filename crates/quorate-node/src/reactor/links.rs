//! The links of a shard: introductions, requests and responses of other nodes.

use bytes::BytesMut;
use quorate_proto::{
    frame::{self, Bundles},
    message::{Hello, Message},
};

use super::{
    Arrival, CONTROL_SHARD, ConnectionId, Output, Owner, Reactor, Unsent, connections::Connections,
    shard_reactor::Role,
};
use crate::{
    limits,
    secure_link::LinkFault,
    shard::{LinkError, Now},
};

impl Reactor {
    /// Lets in a peer, which is to introduce itself.
    pub(super) fn accept_peer(&mut self, now: Now, arrival: Arrival) -> Option<ConnectionId> {
        if self.incoming.len() >= limits::INCOMING_MAX {
            return None;
        }
        let deadline = now.monotonic + limits::ARRIVING_PATIENCE;
        let accept = || Box::new(self.node.security.accept(&arrival.address));
        let role = Role::Arriving { secure: arrival.link.unwrap_or_else(accept) };
        let connection = self.connections.insert(role);
        self.arriving.push_back((connection, deadline));
        self.close_strangers(now);
        Some(connection)
    }

    /// Closes connections of peers that have not introduced themselves in time, and the oldest
    /// where there are too many.
    pub(super) fn close_strangers(&mut self, now: Now) {
        while let Some(&(connection, deadline)) = self.arriving.front()
            && (deadline <= now.monotonic || self.arriving.len() > limits::ARRIVING_MAX)
        {
            self.arriving.pop_front();
            self.close_stranger(now, connection);
        }
    }

    fn close_stranger(&mut self, now: Now, connection: ConnectionId) {
        let Some(found) = self.connections.get(connection) else { return };
        if let Role::Arriving { secure } = &found.role {
            if let Some(times) = self.strangers.note(now.wall_ms()) {
                let what = "closed a peer connection: its first frame was not a hello";
                tracing::warn!(address = secure.address(), times, "{what}");
            }
            self.close_connection(connection);
        }
    }

    /// A link that this shard has dialled stands.
    pub(super) fn introduce_self(&mut self, connection: ConnectionId) {
        let Some(found) = self.connections.get(connection) else { return };
        if let Role::Outgoing { link, .. } = found.role {
            let mut hello = self.shard.link_opened(link);
            self.send_on_link(connection, &mut hello);
        }
    }

    /// Bytes of another node.
    pub(super) fn link_bytes(&mut self, now: Now, connection: ConnectionId, bytes: &[u8]) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        let (Role::Arriving { secure }
        | Role::Incoming { secure, .. }
        | Role::Outgoing { secure, .. }) = &mut found.role
        else {
            return;
        };
        let received = secure.receive(bytes);
        let is_arriving = matches!(found.role, Role::Arriving { .. });
        if let Err(fault) = received {
            return self.distrust(now, connection, fault);
        }
        if is_arriving {
            return self.introduce(now, connection);
        }
        self.send_on_link(connection, &mut Vec::new());
        if !self.shard.is_lent() {
            self.take_frames(now, connection);
        }
    }

    /// Handles what another node has said.
    fn take_frames(&mut self, now: Now, connection: ConnectionId) {
        // A long turn must not answer for others' clocks with what its own showed when it began.
        self.shard.read_clocks(now);
        // Nor may what others date now seem to come from the future.
        let turn = self.shard.advance_wall_clock(self.turn, now.monotonic);
        let Some(found) = self.connections.get_mut(connection) else { return };
        let outcome = match &mut found.role {
            Role::Incoming { link, secure } => {
                self.shard.incoming_input(turn, *link, secure.plain())
            }
            Role::Outgoing { link, secure } => self.shard.link_input(turn, *link, secure.plain()),
            Role::Arriving { .. } | Role::Client { .. } | Role::TurnedAway => return,
        };
        if let Err(error) = outcome {
            report(&error);
            self.close_connection(connection);
        }
    }

    /// Sends what is to be said on a link, and what its handshake has to say.
    fn send_on_link(&mut self, connection: ConnectionId, bytes: &mut Vec<u8>) {
        send_on_link(&mut self.connections, connection, bytes);
    }

    /// Closes a link whose other side is not trusted, or does not trust this one. It is told why.
    fn distrust(&mut self, now: Now, connection: ConnectionId, fault: LinkFault) {
        self.send_on_link(connection, &mut Vec::new());
        let Some(found) = self.connections.get_mut(connection) else { return };
        if let Role::Arriving { secure }
        | Role::Incoming { secure, .. }
        | Role::Outgoing { secure, .. } = &found.role
            && let Some(times) = self.distrusted.note(now.wall_ms())
        {
            let address = secure.address();
            tracing::warn!(address, times, %fault, "a link between nodes is not trusted");
        }
        if matches!(found.role, Role::Arriving { .. }) {
            found.role = Role::TurnedAway;
            if !self.connections.close_when_sent(connection) {
                return;
            }
        }
        self.close_connection(connection);
    }

    /// What peers have sent while the store was lent is handled.
    pub(super) fn resume_links(&mut self, now: Now) {
        let links: Vec<ConnectionId> =
            self.incoming.values().chain(self.outgoing.values()).copied().collect();
        links.into_iter().for_each(|connection| self.link_bytes(now, connection, &[]));
    }

    /// A peer's first frame tells whom its link is for.
    fn introduce(&mut self, now: Now, connection: ConnectionId) {
        let me = Owner::Shard(self.id());
        let Some(found) = self.connections.get_mut(connection) else { return };
        let Role::Arriving { secure } = &mut found.role else { return };
        let hello = match first_frame(secure.plain()) {
            Ok(None) => return self.send_on_link(connection, &mut Vec::new()),
            Ok(Some(hello)) => hello,
            Err(Stranger) => return self.close_stranger(now, connection),
        };
        let to = match hello.shard {
            CONTROL_SHARD => Owner::Control,
            shard => Owner::Shard(shard % self.node.settings.shards),
        };
        let role = std::mem::replace(&mut found.role, Role::TurnedAway);
        let Role::Arriving { secure } = role else { return };
        if to == me {
            let link = self.shard.accept_link();
            found.role = Role::Incoming { link, secure };
            self.incoming.insert(link, connection);
            return self.link_bytes(now, connection, &[]);
        }
        // The other side has answered all that was sent to it, so nothing waits here any more.
        self.connections.remove(connection);
        self.connections.outputs.push_back(Output::PassOn { connection, to, link: secure });
    }

    /// Hands out the messages of this turn. A large one leaves by and by: more of it follows once the
    /// connection has little left to send.
    pub(super) fn send_messages(&mut self) {
        let mut ended = Vec::new();
        self.to_feed.clear();
        self.is_feeding = false;
        for link in self.shard.outgoing_output() {
            let Some(&connection) = self.outgoing.get(&link.link) else { continue };
            if feed(&mut self.connections, connection, &mut link.output) {
                ended.push(connection);
            }
            self.is_feeding |= !link.output.is_empty();
            if link.output.is_ready() {
                self.to_feed.push((connection, fed_max(&link.output)));
            }
        }
        for link in self.shard.incoming_with_output() {
            let Some(&connection) = self.incoming.get(&link) else { continue };
            let Some((output, closing)) = self.shard.incoming_output(link) else { continue };
            let is_clogged = feed(&mut self.connections, connection, output);
            let is_sent =
                closing && output.is_empty() && self.connections.close_when_sent(connection);
            if is_sent || is_clogged {
                ended.push(connection);
            }
            self.is_feeding |= !output.is_empty();
            if output.is_ready() {
                self.to_feed.push((connection, fed_max(output)));
            }
        }
        ended.into_iter().for_each(|connection| self.close_connection(connection));
    }

    /// Whether a connection that a large message waits for takes more of it.
    pub(super) fn is_hungry(&self) -> bool {
        let unsent = |connection| self.connections.unsent(connection).map(Unsent::len);
        self.to_feed
            .iter()
            .any(|(connection, most)| unsent(*connection).is_some_and(|it| it < *most))
    }
}

/// Up to how many bytes that wait to be sent more of a large message is put behind them.
fn fed_max(output: &Bundles) -> usize {
    if output.has_streams() { limits::LINK_FED_IN_PIECES_MAX } else { limits::LINK_FED_MAX }
}

/// Gives messages to a connection. Returns whether its peer does not read.
fn feed(
    connections: &mut Connections<Role>,
    connection: ConnectionId,
    output: &mut Bundles,
) -> bool {
    let unsent = connections.unsent(connection).map_or(0, Unsent::len);
    let room = fed_max(output).saturating_sub(unsent);
    // Where large messages leave in pieces, the others wait for no room.
    if !output.has_queued() || room > 0 || output.has_streams() {
        send_on_link(connections, connection, output.take(room));
    }
    is_clogged(connections.unsent(connection), output.len())
}

fn send_on_link(
    connections: &mut Connections<Role>,
    connection: ConnectionId,
    bytes: &mut Vec<u8>,
) {
    let Some(found) = connections.get_mut(connection) else { return };
    if let Role::Arriving { secure }
    | Role::Incoming { secure, .. }
    | Role::Outgoing { secure, .. } = &mut found.role
    {
        secure.seal(bytes);
        if !bytes.is_empty() {
            connections.send(connection, bytes);
        }
    }
}

/// Whether a peer does not read what is sent to it; so many bytes are to follow.
fn is_clogged(unsent: Option<&Unsent>, queued: usize) -> bool {
    let bytes = unsent.map_or(0, Unsent::len) + queued;
    let is_clogged = bytes > limits::LINK_OUTPUT_MAX;
    if is_clogged {
        tracing::warn!(bytes, "a peer does not read; its link is closed");
    }
    is_clogged
}

/// A peer that does not introduce itself.
struct Stranger;

/// The introduction that a connection begins with, once it is whole.
fn first_frame(input: &BytesMut) -> Result<Option<Box<Hello>>, Stranger> {
    let Some(length) = frame::length(input).map_err(|_| Stranger)? else { return Ok(None) };
    if length > limits::HELLO_LENGTH_MAX {
        return Err(Stranger);
    }
    if input.len() < length {
        return Ok(None);
    }
    match frame::decode(&mut BytesMut::from(&input[..length])) {
        Ok(Some(frame::Frame {
            message: Message::Hello(hello) | Message::Join(hello), ..
        })) => Ok(Some(hello)),
        _ => Err(Stranger),
    }
}

fn report(error: &LinkError) {
    if error.passes() {
        tracing::debug!(%error, "a link to another node is closed");
    } else {
        tracing::warn!(%error, "a link to another node is closed");
    }
}
