//! The listeners of a shard.

use std::{io, os::fd::AsRawFd as _};

use mio::{
    Interest, Registry, Token,
    net::{TcpListener, TcpStream},
};
use quorate_node::reactor::{Arrival, Port};

use super::sockets::WAKE;

const CLIENTS: Token = Token(WAKE.0 + 1);
const CLUSTER_CLIENTS: Token = Token(WAKE.0 + 2);
const PEERS: Token = Token(WAKE.0 + 3);

/// How listeners announce connections.
pub(super) const LISTENERS: [Token; 3] = [CLIENTS, CLUSTER_CLIENTS, PEERS];

/// Where a shard lets connections in.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) clients: TcpListener,
    pub(crate) cluster_clients: Option<TcpListener>,
    pub(crate) peers: TcpListener,
}

impl Listeners {
    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let all = [
            (CLIENTS, Some(&mut self.clients)),
            (CLUSTER_CLIENTS, self.cluster_clients.as_mut()),
            (PEERS, Some(&mut self.peers)),
        ];
        for (token, listener) in all {
            if let Some(listener) = listener {
                registry.register(listener, token, Interest::READABLE)?;
            }
        }
        Ok(())
    }

    /// The next connection that waits at a listener.
    pub(super) fn accept(&self, token: Token) -> Option<io::Result<(TcpStream, Arrival)>> {
        let (listener, port) = match token {
            CLIENTS => (&self.clients, Port::Clients),
            CLUSTER_CLIENTS => (self.cluster_clients.as_ref()?, Port::ClusterClients),
            _ => (&self.peers, Port::Peers),
        };
        loop {
            match listener.accept() {
                Ok((stream, address)) => {
                    let local = stream.local_addr().map(|local| local.to_string());
                    let local_address = local.unwrap_or_default();
                    let descriptor = Some(stream.as_raw_fd());
                    let address = address.to_string();
                    let arrival = Arrival { port, address, local_address, descriptor, link: None };
                    return Some(Ok((stream, arrival)));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return None,
                    // It was given up while it waited.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => return Some(Err(error)),
                },
            }
        }
    }
}
