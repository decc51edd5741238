//! Clients in the same process: connections without sockets, and who waits for their replies.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use futures_channel::oneshot;
use quorate_node::{
    reactor::{Arrival, ConnectionId, Machine, Port, Reactor},
    shard::Now,
};
use quorate_proto::resp::{Command, reply};

/// One client.
#[derive(Debug)]
struct Caller {
    client: u64,
    /// Who waits for replies, in order.
    waiting: VecDeque<oneshot::Sender<Bytes>>,
    /// The beginning of a reply.
    partial: BytesMut,
}

/// The clients in this process that one shard serves.
#[derive(Debug, Default)]
pub(super) struct InProcess {
    callers: HashMap<ConnectionId, Caller>,
    by_client: HashMap<u64, ConnectionId>,
}

impl InProcess {
    /// A client runs a command.
    pub(super) fn call(
        &mut self,
        reactor: &mut Reactor,
        now: Now,
        client: u64,
        command: &Command,
        waiter: oneshot::Sender<Bytes>,
    ) {
        let Some(connection) = self.connection(reactor, now, client) else { return };
        if let Some(caller) = self.callers.get_mut(&connection) {
            caller.waiting.push_back(waiter);
        }
        reactor.handle_bytes(now, connection, command.frame());
    }

    fn connection(&mut self, reactor: &mut Reactor, now: Now, client: u64) -> Option<ConnectionId> {
        if let Some(known) = self.by_client.get(&client) {
            return Some(*known);
        }
        let address = "in-process".into();
        let arrival = Arrival {
            port: Port::InProcess,
            address,
            local_address: String::new(),
            descriptor: None,
            link: None,
        };
        let connection = reactor.handle_accepted(now, arrival)?;
        let caller = Caller { client, waiting: VecDeque::new(), partial: BytesMut::new() };
        self.callers.insert(connection, caller);
        self.by_client.insert(client, connection);
        Some(connection)
    }

    /// A client is gone.
    pub(super) fn gone(&mut self, reactor: &mut Reactor, now: Now, client: u64) {
        if let Some(connection) = self.by_client.get(&client).copied() {
            self.close(connection);
            reactor.handle_closed(now, connection);
        }
    }

    /// Hands complete replies to those who wait for them. A caller that has gone away does not want
    /// its reply.
    pub(super) fn deliver(&mut self, reactor: &mut Reactor, connection: ConnectionId) {
        let Some(caller) = self.callers.get_mut(&connection) else { return };
        let Some(unsent) = reactor.unsent(connection) else { return };
        unsent.pieces().for_each(|piece| caller.partial.extend_from_slice(piece));
        let count = unsent.len();
        while let Ok(Some(length)) = reply::skip(&caller.partial) {
            let reply = caller.partial.split_to(length).freeze();
            if let Some(waiter) = caller.waiting.pop_front() {
                let _ = waiter.send(reply);
            }
        }
        reactor.handle_sent(connection, count);
    }

    /// A connection is closed. Whoever waits for a reply hears that there is none.
    pub(super) fn close(&mut self, connection: ConnectionId) {
        if let Some(caller) = self.callers.remove(&connection) {
            self.by_client.remove(&caller.client);
        }
    }
}
