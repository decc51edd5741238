//! A socket with its buffers.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read as _, Write as _},
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
    /// Buffers that wait to be sent, none empty.
    output: VecDeque<Vec<u8>>,
    /// Bytes of the first one that are sent already.
    sent: usize,
    /// Bytes of all that are not.
    waiting: usize,
    /// An empty buffer to hand out again.
    spare: Vec<u8>,
}

/// Buffers that one call to the system sends.
const PIECES_PER_WRITE: usize = 16;

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        // Replies leave as soon as they are written: waiting for more costs 40 ms a reply.
        let _ = socket.set_nodelay(true);
        Self { socket, output: VecDeque::new(), sent: 0, waiting: 0, spare: Vec::new() }
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
                    // A short read is not the end: the peer may have closed behind it, which is
                    // announced together with the bytes, and only once.
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

    /// Adds bytes to send, leaving `bytes` empty. Many bytes are taken over, not copied.
    pub(crate) fn push(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.waiting += bytes.len();
        match self.output.back_mut() {
            Some(last) if last.len() + bytes.len() <= OUTPUT_KEPT_MAX => last.append(bytes),
            _ => {
                let spare = std::mem::take(&mut self.spare);
                self.output.push_back(std::mem::replace(bytes, spare));
            }
        }
        if bytes.capacity() > OUTPUT_KEPT_MAX {
            *bytes = Vec::new();
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Sends as much as the socket takes. What it does not take it asks for later.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.output.front() {
            let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE];
            pieces[0] = IoSlice::new(&first[self.sent..]);
            let count = self.output.len().min(PIECES_PER_WRITE);
            for (piece, buffer) in pieces.iter_mut().zip(&self.output).skip(1) {
                *piece = IoSlice::new(buffer);
            }
            match self.socket.write_vectored(&pieces[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The socket took `count` bytes.
    fn advance(&mut self, count: usize) {
        self.waiting -= count;
        self.sent += count;
        while let Some(first) = self.output.front()
            && self.sent >= first.len()
        {
            self.sent -= first.len();
            if let Some(mut sent) = self.output.pop_front()
                && sent.capacity() <= OUTPUT_KEPT_MAX
            {
                sent.clear();
                self.spare = sent;
            }
        }
    }

    /// Closes the connection in both directions.
    pub(crate) fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
