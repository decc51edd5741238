//! Listening sockets, one for each shard on the same address.

use std::{io, net::SocketAddr};

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Opens `count` listeners on `address`. Port 0 gives all of them the same free port.
///
/// Several sockets share a port only by asking to, and then any process of the user could join in
/// unnoticed; so the address is first opened without sharing, which fails when it is taken.
pub(crate) fn open(address: SocketAddr, count: u16) -> io::Result<Vec<TcpListener>> {
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
