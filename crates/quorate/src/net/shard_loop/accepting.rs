//! New connections: whom a shard lets in, and whom it sends away again.

use std::{io, net::SocketAddr};

use bytes::BytesMut;
use mio::{
    Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use super::{CLIENTS, CLUSTER_CLIENTS, Connection, PEERS, Peer, Role, ShardLoop};
use crate::{
    limits,
    shard::{About, Coverage, Now},
};

/// Where a shard lets connections in.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) clients: TcpListener,
    pub(crate) cluster_clients: Option<TcpListener>,
    pub(crate) peers: TcpListener,
}

impl Listeners {
    pub(super) fn register(&mut self, poll: &Poll) -> io::Result<()> {
        let all = [
            (CLIENTS, Some(&mut self.clients)),
            (CLUSTER_CLIENTS, self.cluster_clients.as_mut()),
            (PEERS, Some(&mut self.peers)),
        ];
        for (token, listener) in all {
            if let Some(listener) = listener {
                poll.registry().register(listener, token, Interest::READABLE)?;
            }
        }
        Ok(())
    }

    fn of(&self, token: Token) -> Option<&TcpListener> {
        match token {
            CLIENTS => Some(&self.clients),
            CLUSTER_CLIENTS => self.cluster_clients.as_ref(),
            _ => Some(&self.peers),
        }
    }
}

impl ShardLoop {
    /// What is due for connections once in a while. It may execute what clients have sent, so it comes
    /// before the log is written.
    pub(super) fn look_after_listeners(&mut self, now: Now) {
        if now.monotonic < self.listeners_at {
            return;
        }
        self.listeners_at = now.monotonic + limits::LISTENERS_EVERY;
        self.close_strangers(now);
        if std::mem::take(&mut self.accept_again) {
            self.accept_clients(now, CLIENTS);
            self.accept_clients(now, CLUSTER_CLIENTS);
            self.accept_peers(now);
        }
    }

    /// Lets in who waits at the listener for clients, or at that for cluster clients.
    pub(super) fn accept_clients(&mut self, now: Now, listener: Token) {
        while let Some((socket, address)) = self.accept(listener) {
            if self.stopping.is_some() {
                continue;
            }
            let mut connection = Connection::new(socket);
            self.shard.stats.counters.connections += 1;
            if !self.shard.node.admit_client() {
                self.shard.stats.counters.rejected_connections += 1;
                connection.push(&mut b"-ERR max number of clients reached\r\n".to_vec());
                let _ = connection.flush();
                continue;
            }
            let local = connection.socket.local_addr();
            let session = self.shard.open_session(About {
                address: address.to_string(),
                local_address: local.map(|local| local.to_string()).unwrap_or_default(),
                connected_ms: now.wall_ms(),
                active_ms: now.wall_ms(),
                ..About::default()
            });
            if listener == CLUSTER_CLIENTS {
                self.shard.sessions[session].coverage = Coverage::Primary;
            }
            match self.register(connection, Role::Client { session }, BytesMut::new()) {
                Some(key) => {
                    self.by_session.insert(session, key);
                    self.readable(now, key);
                }
                None => {
                    self.shard.sessions.remove(session);
                    self.shard.node.release_client();
                }
            }
        }
    }

    pub(super) fn accept_peers(&mut self, now: Now) {
        while let Some((socket, address)) = self.accept(PEERS) {
            if self.stopping.is_some() || self.by_incoming.len() >= limits::INCOMING_MAX {
                continue;
            }
            let deadline = now.monotonic + limits::ARRIVING_PATIENCE;
            let role = Role::Arriving { address, deadline };
            if let Some(key) = self.register(Connection::new(socket), role, BytesMut::new()) {
                self.arriving.push_back((key, deadline));
            }
            self.close_strangers(now);
        }
    }

    /// The next connection that waits at a listener.
    fn accept(&mut self, listener: Token) -> Option<(TcpStream, SocketAddr)> {
        loop {
            match self.listeners.of(listener)?.accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // It was given up while it waited.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted; again in a second");
                    self.accept_again = true;
                    return None;
                }
            }
        }
    }

    /// Closes connections of peers that have not introduced themselves in time, and the oldest where
    /// there are too many.
    fn close_strangers(&mut self, now: Now) {
        while let Some(&(key, deadline)) = self.arriving.front()
            && (deadline <= now.monotonic || self.arriving.len() > limits::ARRIVING_MAX)
        {
            self.arriving.pop_front();
            // Another connection may have the key by now.
            let Some(Peer { role: Role::Arriving { address, deadline: of_key }, .. }) =
                self.connections.get(key)
            else {
                continue;
            };
            if *of_key == deadline {
                tracing::warn!(%address, "a stranger at the peer port did not introduce itself");
                self.close(now, key);
            }
        }
    }
}
