//! A blocking connection to a server that speaks the Redis protocol.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use quorate_proto::resp::{
    Command,
    reply::{Value, skip},
};

/// Patience with a server that does not answer. It may be loading or saving.
const PATIENCE: Duration = Duration::from_secs(60);

/// Patience until a connection stands.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Largest reply that is waited for: one value of the largest size that is allowed anywhere, twice.
const REPLY_MAX: usize = 1 << 30;

/// What is read at a time.
const READ_BYTES: usize = 256 << 10;

pub(in crate::entropy) struct Connection {
    stream: TcpStream,
    input: BytesMut,
}

impl Connection {
    pub(in crate::entropy) fn open(address: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address");
        for resolved in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&resolved, CONNECT_PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(Self { stream, input: BytesMut::new() });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends encoded commands.
    pub(in crate::entropy) fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames)
    }

    /// Waits for the next reply.
    pub(in crate::entropy) fn reply(&mut self) -> io::Result<Value> {
        loop {
            let whole = skip(&self.input).map_err(io::Error::other)?;
            if let Some(length) = whole {
                let value = Value::decode(&self.input).map_err(io::Error::other)?;
                self.input.advance(length);
                return value.map(|(value, _)| value).ok_or(io::ErrorKind::InvalidData.into());
            }
            if self.input.len() > REPLY_MAX {
                return Err(io::Error::other(format!("a reply of more than {REPLY_MAX} bytes")));
            }
            let filled = self.input.len();
            self.input.resize(filled + READ_BYTES, 0);
            let outcome = self.stream.read(&mut self.input[filled..]);
            self.input.truncate(filled + outcome.as_ref().copied().unwrap_or(0));
            match outcome {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let text = format!("no answer within {} s", PATIENCE.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs one command; an error reply is an error.
    pub(in crate::entropy) fn run(&mut self, words: &[&str]) -> io::Result<Value> {
        self.send(Command::from_args(words).frame())?;
        match self.reply()? {
            Value::Error(text) => Err(io::Error::other(format!("{}: {text}", words.join(" ")))),
            value => Ok(value),
        }
    }
}

/// The bytes of a bulk string.
pub(in crate::entropy) fn bulk(value: &Value) -> &[u8] {
    match value {
        Value::Bulk(bytes) => bytes,
        _ => &[],
    }
}
