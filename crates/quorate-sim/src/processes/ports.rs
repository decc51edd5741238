//! Ports for server processes, from below those that the system gives to connections.
//!
//! A port that the system chooses may be the source of a connection by the time a server listens on
//! it. A block of ports belongs to the process that holds a socket at its start, on an address
//! where nobody listens; so runs beside each other do not meet. The end-to-end tests do the same.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
};

const PORTS: Range<u16> = 15_000..32_000;
const BLOCK: u16 = 500;
const MARK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);

/// A block of ports of this process, given out one by one.
#[derive(Debug)]
pub(super) struct Ports {
    /// Held for as long as the block is.
    _mark: TcpListener,
    left: Range<u16>,
}

impl Ports {
    /// Takes a block that no other process has.
    ///
    /// # Errors
    /// All blocks are taken.
    pub(super) fn reserve() -> io::Result<Self> {
        let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
        for first in PORTS.step_by(usize::from(BLOCK)) {
            match TcpListener::bind((MARK, first)) {
                Ok(mark) => return Ok(Self { _mark: mark, left: first + 1..first + BLOCK }),
                Err(error) => taken = error,
            }
        }
        Err(taken)
    }

    /// The next port that is free on `address`.
    ///
    /// # Errors
    /// None is left.
    pub(super) fn take(&mut self, address: Ipv4Addr) -> io::Result<SocketAddr> {
        let free = self.left.find(|port| TcpListener::bind((address, *port)).is_ok());
        let port = free.ok_or_else(|| io::Error::other("every port of the block is taken"))?;
        Ok(SocketAddr::from((address, port)))
    }
}
