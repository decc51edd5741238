//! Listening sockets.

use std::{io, net::SocketAddr};

use mio::net::TcpListener;
use quorate_node::{StartError, config::Settings, startup::Addresses};
use socket2::{Domain, Protocol, Socket, Type};

use super::Listeners;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The listening sockets of a node, one for each shard at every address.
pub(crate) struct Sockets {
    clients: Vec<TcpListener>,
    cluster_clients: Option<Vec<TcpListener>>,
    peers: Vec<TcpListener>,
}

/// The addresses that a node listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) clients: SocketAddr,
    /// That of clients, when there is no port for those of a cluster.
    pub(crate) cluster_clients: SocketAddr,
    pub(crate) peers: SocketAddr,
}

impl Sockets {
    pub(crate) fn open(settings: &Settings) -> Result<Self, StartError> {
        let listen = |key, address| {
            open(address, settings.shards).map_err(|error| StartError::Listen {
                key,
                address,
                error,
            })
        };
        let cluster_clients = settings.cluster_address()?;
        Ok(Self {
            clients: listen("listen", settings.listen)?,
            peers: listen("peer_listen", settings.peer_address()?)?,
            cluster_clients: cluster_clients
                .map(|address| listen("cluster_listen", address))
                .transpose()?,
        })
    }

    pub(crate) fn addresses(&self) -> io::Result<Bound> {
        let clients = self.clients[0].local_addr()?;
        let cluster_clients = match &self.cluster_clients {
            Some(listeners) => listeners[0].local_addr()?,
            None => clients,
        };
        Ok(Bound { clients, cluster_clients, peers: self.peers[0].local_addr()? })
    }

    /// Where clients connect.
    pub(super) fn of_clients(&mut self) -> impl Iterator<Item = &mut TcpListener> {
        self.clients.iter_mut().chain(self.cluster_clients.iter_mut().flatten())
    }

    /// Those of each shard.
    pub(crate) fn by_shard(self) -> impl Iterator<Item = Listeners> {
        let mut cluster_clients = self.cluster_clients.into_iter().flatten();
        self.clients.into_iter().zip(self.peers).map(move |(clients, peers)| Listeners {
            clients,
            cluster_clients: cluster_clients.next(),
            peers,
        })
    }
}

impl Bound {
    /// As others are told.
    pub(crate) fn advertised(&self, settings: &Settings) -> Addresses {
        let advertised = |address: SocketAddr| match &settings.advertise {
            Some(host) => format!("{host}:{}", address.port()),
            None => address.to_string(),
        };
        Addresses {
            clients: advertised(self.clients),
            cluster_clients: advertised(self.cluster_clients),
            peers: advertised(self.peers),
        }
    }
}

/// Opens `count` listeners on `address`. Port 0 gives all of them the same free port.
///
/// Several sockets share a port only by asking to, and then any process of the user could join in
/// unnoticed; so the address is first opened without sharing, which fails when it is taken.
fn open(address: SocketAddr, count: u16) -> io::Result<Vec<TcpListener>> {
    let probe = bind(address, false)?;
    if count == 1 {
        probe.listen(BACKLOG)?;
        return Ok(vec![into_listener(probe)?]);
    }
    let address = local_address(&probe)?;
    drop(probe);
    (0..count)
        .map(|_| {
            let socket = bind(address, true)?;
            socket.listen(BACKLOG)?;
            into_listener(socket)
        })
        .collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last process to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("a socket without an internet address"))
}

fn into_listener(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}
