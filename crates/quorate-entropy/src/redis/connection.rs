//! A blocking connection to a server that speaks the Redis protocol, or to the node of this
//! process, which is reached without a socket.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use quorate_proto::resp::{
    Command,
    reply::{Value, skip},
};

use crate::{
    connections::{Connections, Entered},
    here::{Here, Session},
};

/// Patience with a server that does not answer. It may be loading or saving.
const PATIENCE: Duration = Duration::from_secs(60);

/// Patience until a connection stands.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Largest reply that is waited for: one value of the largest size that is allowed anywhere, twice.
const REPLY_MAX: usize = 1 << 30;

/// What is read at a time.
const READ_BYTES: usize = 256 << 10;

/// Which server.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    /// The one at `host:port`.
    At(String),
    /// The node of this process.
    Here(Arc<dyn Here>),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => f.write_str(address),
            Self::Here(_) => f.write_str("this node"),
        }
    }
}

/// Commands go out in the order in which they were pushed; so do the replies come.
pub(crate) enum Connection {
    Remote(Remote),
    Local(Box<dyn Session>),
}

impl Connection {
    /// Connects to a server; a socket is one of `connections` as long as it is open.
    pub(crate) fn open(server: &Server, connections: &Connections) -> io::Result<Self> {
        match server {
            Server::At(address) => {
                let stream = dial(address)?;
                let entered = connections.enter(&stream)?;
                let (output, input) = (Vec::new(), BytesMut::new());
                Ok(Self::Remote(Remote { stream, output, input, _entered: entered }))
            }
            Server::Here(node) => Ok(Self::Local(node.open())),
        }
    }

    /// Connects to the server at `host:port`.
    pub(crate) fn dial(address: &str) -> io::Result<Self> {
        Self::open(&Server::At(address.into()), &Connections::default())
    }

    /// Adds a command to those that [`Connection::flush`] sends.
    pub(crate) fn push(&mut self, command: &Command) {
        match self {
            Self::Remote(remote) => remote.output.extend_from_slice(command.frame()),
            Self::Local(session) => session.send(command),
        }
    }

    /// Bytes that a flush would send.
    pub(crate) fn unsent(&self) -> usize {
        match self {
            Self::Remote(remote) => remote.output.len(),
            Self::Local(_) => 0,
        }
    }

    /// Sends what was pushed.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Self::Remote(remote) = self {
            remote.stream.write_all(&remote.output)?;
            remote.output.clear();
        }
        Ok(())
    }

    /// Waits for the next reply.
    pub(crate) fn reply(&mut self) -> io::Result<Value> {
        match self {
            Self::Remote(remote) => remote.reply(),
            Self::Local(session) => session.reply(PATIENCE)?.ok_or_else(silent),
        }
    }

    /// Runs one command; an error reply is an error.
    pub(crate) fn run(&mut self, words: &[&str]) -> io::Result<Value> {
        self.push(&Command::from_args(words));
        self.flush()?;
        match self.reply()? {
            Value::Error(text) => Err(io::Error::other(format!("{}: {text}", words.join(" ")))),
            value => Ok(value),
        }
    }
}

/// Through a socket.
pub(crate) struct Remote {
    stream: TcpStream,
    output: Vec<u8>,
    input: BytesMut,
    _entered: Entered,
}

fn dial(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, CONNECT_PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Remote {
    fn reply(&mut self) -> io::Result<Value> {
        loop {
            let whole = skip(&self.input).map_err(io::Error::other)?;
            if let Some(length) = whole {
                let value = Value::decode(&self.input[..length]).map_err(io::Error::other)?;
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(silent()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn silent() -> io::Error {
    let text = format!("no answer within {} s", PATIENCE.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// The bytes of a bulk string.
pub(crate) fn bulk(value: &Value) -> &[u8] {
    match value {
        Value::Bulk(bytes) => bytes,
        _ => &[],
    }
}
