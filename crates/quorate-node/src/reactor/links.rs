//! The links of a shard: introductions, requests and responses of other nodes.

use bytes::BytesMut;
use quorate_proto::{
    frame,
    message::{Hello, Message},
};

use super::{CONTROL_SHARD, ConnectionId, Output, Owner, Reactor, Unsent, shard_reactor::Role};
use crate::{
    limits,
    shard::{LinkError, Now},
};

impl Reactor {
    /// Lets in a peer, which is to introduce itself.
    pub(super) fn accept_peer(&mut self, now: Now, address: String) -> Option<ConnectionId> {
        if self.incoming.len() >= limits::INCOMING_MAX {
            return None;
        }
        let deadline = now.monotonic + limits::ARRIVING_PATIENCE;
        let role = Role::Arriving { address, input: BytesMut::new() };
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
        if let Role::Arriving { address, .. } = &found.role {
            if let Some(times) = self.strangers.note(now.wall_ms()) {
                let what = "closed a peer connection: its first frame was not a hello";
                tracing::warn!(%address, times, "{what}");
            }
            self.close_connection(connection);
        }
    }

    /// A link that this shard has dialled stands.
    pub(super) fn introduce_self(&mut self, connection: ConnectionId) {
        let Some(found) = self.connections.get(connection) else { return };
        if let Role::Outgoing { link, .. } = found.role {
            let mut hello = self.shard.link_opened(link);
            self.connections.send(connection, &mut hello);
        }
    }

    /// Bytes of another node.
    pub(super) fn link_bytes(&mut self, now: Now, connection: ConnectionId, bytes: &[u8]) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        // A long turn must not answer for others' clocks with what its own showed when it began.
        self.shard.read_clocks(now);
        // Nor may what others date now seem to come from the future.
        let turn = self.shard.advance_wall_clock(self.turn, now.monotonic);
        let outcome = match &mut found.role {
            Role::Arriving { input, .. } => {
                input.extend_from_slice(bytes);
                return self.introduce(now, connection);
            }
            Role::Incoming { input, .. } | Role::Outgoing { input, .. } if self.shard.is_lent() => {
                return input.extend_from_slice(bytes);
            }
            Role::Incoming { link, input } => {
                input.extend_from_slice(bytes);
                self.shard.incoming_input(turn, *link, input)
            }
            Role::Outgoing { link, input } => {
                input.extend_from_slice(bytes);
                self.shard.link_input(turn, *link, input)
            }
            Role::Client { .. } | Role::TurnedAway => return,
        };
        if let Err(error) = outcome {
            report(&error);
            self.close_connection(connection);
        }
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
        let Role::Arriving { address, input } = &mut found.role else { return };
        let hello = match first_frame(input) {
            Ok(None) => return,
            Ok(Some(hello)) => hello,
            Err(Stranger) => return self.close_stranger(now, connection),
        };
        let (address, input) = (std::mem::take(address), std::mem::take(input));
        let to = match hello.shard {
            CONTROL_SHARD => Owner::Control,
            shard => Owner::Shard(shard % self.node.settings.shards),
        };
        if to == me {
            let link = self.shard.accept_link();
            found.role = Role::Incoming { link, input };
            self.incoming.insert(link, connection);
            return self.link_bytes(now, connection, &[]);
        }
        self.connections.remove(connection);
        self.connections.outputs.push_back(Output::PassOn { connection, to, address, input });
    }

    /// Hands out the messages of this turn.
    pub(super) fn send_messages(&mut self) {
        let mut ended = Vec::new();
        for link in self.shard.outgoing_output() {
            let Some(&connection) = self.outgoing.get(&link.link) else { continue };
            self.connections.send(connection, &mut link.output);
            if is_clogged(self.connections.unsent(connection)) {
                ended.push(connection);
            }
        }
        for link in self.shard.incoming_with_output() {
            let Some(&connection) = self.incoming.get(&link) else { continue };
            let (mut output, closing) = self.shard.incoming_output(link);
            self.connections.send(connection, &mut output);
            let is_sent = closing && self.connections.close_when_sent(connection);
            if is_sent || is_clogged(self.connections.unsent(connection)) {
                ended.push(connection);
            }
        }
        ended.into_iter().for_each(|connection| self.close_connection(connection));
    }
}

/// Whether a peer does not read what is sent to it.
fn is_clogged(unsent: Option<&Unsent>) -> bool {
    let bytes = unsent.map_or(0, Unsent::len);
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
        Ok(Some(frame::Frame { message: Message::Hello(hello), .. })) => Ok(Some(hello)),
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
