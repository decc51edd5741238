//! The sockets of one machine: moves bytes between the system and the machine, and nothing else.

use std::{
    collections::HashSet,
    io::{self, IoSlice, Read as _, Write as _},
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, event::Event, net::TcpStream};
use quorate_node::{
    limits::{READ_BUFFER_LENGTH, READ_PER_TURN_MAX},
    reactor::{Arrival, ConnectionId, Machine, Output, PIECES_PER_WRITE, Port},
};

use super::{
    clock::Clock,
    directory::{PassedOn, Resolved},
};
use crate::limits::SENT_PER_TURN_MAX;

/// Rings when there is mail.
pub(crate) const WAKE: Token = Token(0);

#[derive(Debug)]
struct Socket {
    connection: ConnectionId,
    stream: TcpStream,
    /// Whether it does not stand yet.
    connecting: bool,
    /// Whether it takes no bytes until the system says so.
    blocked: bool,
}

/// The sockets of one machine.
#[derive(Debug)]
pub(super) struct Sockets {
    poll: Poll,
    clock: Clock,
    /// By the positions of the connections.
    table: Vec<Option<Socket>>,
    /// Connections that wait until it is known where their addresses lead.
    resolving: HashSet<ConnectionId>,
    /// Connections with more to read than what was read.
    unread: Vec<ConnectionId>,
    /// Connections that took all that one turn may send, and have more to send.
    unsent: Vec<ConnectionId>,
    scratch: Vec<u8>,
}

impl Sockets {
    pub(super) fn new(poll: Poll, clock: Clock) -> Self {
        Self {
            poll,
            clock,
            table: Vec::new(),
            resolving: HashSet::new(),
            unread: Vec::new(),
            unsent: Vec::new(),
            scratch: vec![0; READ_BUFFER_LENGTH],
        }
    }

    /// Waits until something happens, or `patience` is over.
    pub(super) fn wait(&mut self, events: &mut Events, patience: Duration) -> io::Result<()> {
        let is_idle = self.unread.is_empty() && self.unsent.is_empty();
        let patience = if is_idle { patience } else { Duration::ZERO };
        match self.poll.poll(events, Some(patience)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Hands a socket to the machine, unless it does not want it.
    pub(super) fn accept<M: Machine>(
        &mut self,
        machine: &mut M,
        stream: TcpStream,
        arrival: Arrival,
    ) {
        let now = self.clock.now();
        let Some(connection) = machine.handle_accepted(now, arrival) else { return };
        if self.insert(connection, stream, false) {
            self.unread.push(connection);
        } else {
            machine.handle_closed(now, connection);
        }
    }

    /// Hands the socket of another node to the machine, with how far its link has come.
    pub(super) fn accept_passed_on<M: Machine>(&mut self, machine: &mut M, passed_on: PassedOn) {
        let PassedOn { socket, link } = passed_on;
        let now = self.clock.now();
        let arrival = Arrival {
            port: Port::Peers,
            address: link.address().to_owned(),
            local_address: String::new(),
            descriptor: None,
            link: Some(link),
        };
        let Some(connection) = machine.handle_accepted(now, arrival) else { return };
        machine.handle_bytes(now, connection, &[]);
        if self.insert(connection, socket, false) {
            self.unread.push(connection);
        } else {
            machine.handle_closed(now, connection);
        }
    }

    fn insert(&mut self, connection: ConnectionId, stream: TcpStream, connecting: bool) -> bool {
        // Replies leave as soon as they are written: waiting for more costs 40 ms a reply.
        let _ = stream.set_nodelay(true);
        let mut socket = Socket { connection, stream, connecting, blocked: false };
        let token = Token(connection.number() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket.stream, token, interest) {
            tracing::warn!(%error, "a connection could not be registered");
            return false;
        }
        let position = connection.position();
        if self.table.len() <= position {
            self.table.resize_with(position + 1, || None);
        }
        self.table[position] = Some(socket);
        true
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<Socket> {
        find(&mut self.table, connection)?;
        self.table[connection.position()].take()
    }

    /// Something has happened to a socket.
    pub(super) fn handle_event<M: Machine>(&mut self, machine: &mut M, event: &Event) {
        let connection = ConnectionId::from_number(event.token().0 as u64);
        if event.is_writable() {
            self.writable(machine, connection);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.readable(machine, connection);
        }
    }

    /// Reads and sends on where there was more than one turn allows.
    pub(super) fn go_on<M: Machine>(&mut self, machine: &mut M) {
        for connection in std::mem::take(&mut self.unread) {
            self.readable(machine, connection);
        }
        for connection in std::mem::take(&mut self.unsent) {
            self.flush(machine, connection);
        }
    }

    /// A socket has bytes, or is closed. It is read to its end: one that was closed behind its last
    /// bytes is announced together with them, and only once.
    fn readable<M: Machine>(&mut self, machine: &mut M, connection: ConnectionId) {
        let Some(socket) = find(&mut self.table, connection) else { return };
        if socket.connecting || !machine.admits_bytes(connection) {
            return;
        }
        let mut total = 0;
        while total < READ_PER_TURN_MAX {
            match socket.stream.read(&mut self.scratch) {
                Ok(0) => return self.closed(machine, connection),
                Ok(count) => {
                    let bytes = &self.scratch[..count];
                    machine.handle_bytes(self.clock.now(), connection, bytes);
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.closed(machine, connection),
            }
        }
        self.unread.push(connection);
    }

    /// A socket takes bytes again, or is connected.
    fn writable<M: Machine>(&mut self, machine: &mut M, connection: ConnectionId) {
        let Some(socket) = find(&mut self.table, connection) else { return };
        socket.blocked = false;
        if socket.connecting {
            if socket.stream.peer_addr().is_err() {
                return self.closed(machine, connection);
            }
            socket.connecting = false;
            machine.handle_connected(self.clock.now(), connection);
        }
        self.flush(machine, connection);
    }

    /// Sends as much as the socket takes and a turn allows: one that is read as fast as it is
    /// written to would take for ever. For the rest it asks itself. Returns whether there is a
    /// socket.
    fn flush<M: Machine>(&mut self, machine: &mut M, connection: ConnectionId) -> bool {
        let Some(socket) = find(&mut self.table, connection) else { return false };
        let mut total = 0;
        while !socket.blocked && !socket.connecting {
            if total >= SENT_PER_TURN_MAX {
                self.unsent.push(connection);
                return true;
            }
            let Some(unsent) = machine.unsent(connection).filter(|unsent| !unsent.is_empty())
            else {
                return true;
            };
            let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE];
            let count = unsent.slices(&mut pieces);
            match socket.stream.write_vectored(&pieces[..count]) {
                Ok(count) if count > 0 => {
                    machine.handle_sent(connection, count);
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.closed(machine, connection);
                    return true;
                }
            }
        }
        true
    }

    fn closed<M: Machine>(&mut self, machine: &mut M, connection: ConnectionId) {
        self.close(connection);
        machine.handle_closed(self.clock.now(), connection);
    }

    fn close(&mut self, connection: ConnectionId) -> bool {
        let socket = self.remove(connection);
        if let Some(socket) = &socket {
            let _ = socket.stream.shutdown(Shutdown::Both);
        }
        self.resolving.remove(&connection) || socket.is_some()
    }

    /// It is known where a connection leads that is dialled.
    pub(super) fn resolved<M: Machine>(&mut self, machine: &mut M, resolved: Resolved) {
        let Resolved { connection, address } = resolved;
        if self.resolving.remove(&connection) {
            self.connect(machine, connection, address);
        }
    }

    fn connect<M: Machine>(
        &mut self,
        machine: &mut M,
        connection: ConnectionId,
        address: Option<SocketAddr>,
    ) {
        let stream = address.and_then(|address| TcpStream::connect(address).ok());
        if !stream.is_some_and(|stream| self.insert(connection, stream, true)) {
            machine.handle_closed(self.clock.now(), connection);
        }
    }

    /// Does what the machine wants done with sockets. Returns what is for others to do; `look_up`
    /// finds out where the address of a connection leads.
    pub(super) fn perform<M: Machine>(
        &mut self,
        machine: &mut M,
        output: Output,
        look_up: impl FnOnce(ConnectionId, &str),
    ) -> Option<Output> {
        match output {
            Output::Dial { connection, address } => match address.parse() {
                Ok(address) => self.connect(machine, connection, Some(address)),
                Err(_) => {
                    self.resolving.insert(connection);
                    look_up(connection, &address);
                }
            },
            Output::Send(connection) if self.flush(machine, connection) => {}
            Output::Read(connection) => self.unread.push(connection),
            Output::Close(connection) if self.close(connection) => {}
            other => return Some(other),
        }
        None
    }

    /// Takes a socket away, to be passed on.
    pub(super) fn take(&mut self, connection: ConnectionId) -> Option<TcpStream> {
        let mut socket = self.remove(connection)?;
        self.poll.registry().deregister(&mut socket.stream).ok()?;
        Some(socket.stream)
    }
}

/// The socket of a connection, unless another connection has its position by now.
fn find(table: &mut [Option<Socket>], connection: ConnectionId) -> Option<&mut Socket> {
    let socket = table.get_mut(connection.position())?.as_mut();
    socket.filter(|socket| socket.connection == connection)
}
