//! A socket with its buffers.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
};

use bytes::BytesMut;
use mio::net::TcpStream;

use crate::limits::{OUTPUT_KEPT_MAX, READ_PER_TURN_MAX};

/// What reading found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// Everything that had arrived is read.
    Drained,
    /// There may be more, but it is the turn of others.
    More,
    /// The peer has closed its side.
    Closed,
}

/// A connected socket and the bytes that wait to be sent.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    output: Vec<u8>,
    sent: usize,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        // Replies leave as soon as they are written: waiting for more costs 40 ms a reply.
        let _ = socket.set_nodelay(true);
        Self { socket, output: Vec::new(), sent: 0 }
    }

    /// Reads what has arrived into `input`.
    pub(crate) fn read(&mut self, scratch: &mut [u8], input: &mut BytesMut) -> io::Result<ReadEnd> {
        let mut total = 0;
        loop {
            match self.socket.read(scratch) {
                Ok(0) => return Ok(ReadEnd::Closed),
                Ok(count) => {
                    input.extend_from_slice(&scratch[..count]);
                    total += count;
                    // A short read has emptied the socket: what comes later is announced anew.
                    if count < scratch.len() {
                        return Ok(ReadEnd::Drained);
                    }
                    if total >= READ_PER_TURN_MAX {
                        return Ok(ReadEnd::More);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(ReadEnd::Drained);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds bytes to send, leaving `bytes` empty. An empty buffer is swapped, not copied.
    pub(crate) fn push(&mut self, bytes: &mut Vec<u8>) {
        if self.output.is_empty() {
            std::mem::swap(&mut self.output, bytes);
        } else {
            self.output.append(bytes);
        }
        if bytes.capacity() > OUTPUT_KEPT_MAX {
            *bytes = Vec::new();
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Sends as much as the socket takes. What it does not take it asks for later.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent == self.output.len() {
            self.sent = 0;
            self.output.clear();
            if self.output.capacity() > OUTPUT_KEPT_MAX {
                self.output = Vec::new();
            }
        } else if self.sent > OUTPUT_KEPT_MAX {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Closes the connection in both directions.
    pub(crate) fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
