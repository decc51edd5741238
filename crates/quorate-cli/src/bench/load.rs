//! The load itself: many connections, one thread, batches of commands.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, ToSocketAddrs as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use quorate_proto::resp::{Command, reply};

use super::keys::{Distribution, Keys};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Set,
    Get,
    Incr,
    Hset,
    Sadd,
    Mixed,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Set, Self::Get, Self::Incr, Self::Hset, Self::Sadd, Self::Mixed];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Get => "get",
            Self::Incr => "incr",
            Self::Hset => "hset",
            Self::Sadd => "sadd",
            Self::Mixed => "mixed",
        }
    }
}

/// One measurement.
pub(super) struct Load {
    pub(super) address: String,
    pub(super) clients: usize,
    pub(super) pipeline: usize,
    pub(super) kind: Kind,
    pub(super) read_share: f64,
    pub(super) count: u64,
    pub(super) keys: u64,
    pub(super) value_size: usize,
    pub(super) distribution: Distribution,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) operations: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) seconds: f64,
    /// From sending a batch to its last reply, in microseconds, once for each batch.
    pub(super) latency: Histogram<u64>,
}

/// A server that does not answer for this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Digits of a key's number.
const KEY_DIGITS: usize = 12;

/// An encoded command and where the digits of its key stand.
struct Template {
    bytes: Vec<u8>,
    digits: usize,
}

struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    awaited: usize,
    started: Instant,
}

impl Load {
    pub(super) fn run(self) -> Result<Outcome> {
        let address: SocketAddr = self
            .address
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .with_context(|| format!("'{}' is not host:port", self.address))?;
        let mut poll = Poll::new()?;
        let mut connections = Vec::new();
        for index in 0..self.clients {
            let stream = std::net::TcpStream::connect(address)
                .with_context(|| format!("no server answers at {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest)?;
            connections.push(Connection {
                stream,
                output: Vec::new(),
                sent: 0,
                input: Vec::new(),
                awaited: 0,
                started: Instant::now(),
            });
        }
        Driver::new(&self).run(&mut poll, &mut connections)
    }

    fn template(&self, kind: Kind) -> Template {
        let key = format!("key:{}", "0".repeat(KEY_DIGITS));
        let value = "x".repeat(self.value_size);
        let words: Vec<&str> = match kind {
            Kind::Set | Kind::Mixed => vec!["SET", &key, &value],
            Kind::Get => vec!["GET", &key],
            Kind::Incr => vec!["INCR", &key],
            Kind::Hset => vec!["HSET", &key, "field", &value],
            Kind::Sadd => vec!["SADD", &key, &value],
        };
        let command = Command::from_args(words);
        let bytes = command.frame().to_vec();
        let digits = bytes.windows(4).position(|window| window == b"key:").unwrap_or(0) + 4;
        Template { bytes, digits }
    }
}

struct Driver<'a> {
    load: &'a Load,
    write: Template,
    read: Template,
    keys: Keys,
    issued: u64,
    outcome: Outcome,
    scratch: Vec<u8>,
}

impl<'a> Driver<'a> {
    fn new(load: &'a Load) -> Self {
        let latency = Histogram::new(3).expect("invariant: three digits are allowed");
        Self {
            load,
            write: load.template(load.kind),
            read: load.template(Kind::Get),
            keys: Keys::new(load.distribution.clone(), load.keys),
            issued: 0,
            outcome: Outcome { operations: 0, errors: 0, first_error: None, seconds: 0.0, latency },
            scratch: vec![0; 64 << 10],
        }
    }

    fn run(mut self, poll: &mut Poll, connections: &mut [Connection]) -> Result<Outcome> {
        let start = Instant::now();
        for connection in connections.iter_mut() {
            self.send_batch(connection)?;
        }
        let mut events = Events::with_capacity(256);
        while self.outcome.operations < self.load.count {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                bail!("the server does not answer");
            }
            for event in &events {
                let connection = &mut connections[event.token().0];
                flush(connection)?;
                if event.is_readable() {
                    self.receive(connection)?;
                }
            }
        }
        self.outcome.seconds = start.elapsed().as_secs_f64();
        Ok(self.outcome)
    }

    fn send_batch(&mut self, connection: &mut Connection) -> Result<()> {
        let left = self.load.count - self.issued;
        let batch = (self.load.pipeline as u64).min(left);
        for _ in 0..batch {
            let reads =
                self.load.kind == Kind::Mixed && self.keys.fraction() < self.load.read_share;
            let number = self.keys.next();
            let template = if reads { &self.read } else { &self.write };
            let at = connection.output.len() + template.digits;
            connection.output.extend_from_slice(&template.bytes);
            let mut rest = number;
            for digit in connection.output[at..at + KEY_DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        self.issued += batch;
        connection.awaited = batch as usize;
        connection.started = Instant::now();
        flush(connection)
    }

    fn receive(&mut self, connection: &mut Connection) -> Result<()> {
        loop {
            match connection.stream.read(&mut self.scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => {
                    connection.input.extend_from_slice(&self.scratch[..count]);
                    self.take_replies(connection)?;
                    if count < self.scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_replies(&mut self, connection: &mut Connection) -> Result<()> {
        let mut at = 0;
        while connection.awaited > 0 {
            let rest = &connection.input[at..];
            let length = match rest {
                [b'+', b'O', b'K', b'\r', b'\n', ..] => 5,
                _ => match reply::skip(rest)? {
                    Some(length) => length,
                    None => break,
                },
            };
            if rest[0] == b'-' {
                self.outcome.errors += 1;
                self.outcome
                    .first_error
                    .get_or_insert_with(|| String::from_utf8_lossy(&rest[1..length]).into_owned());
            }
            at += length;
            connection.awaited -= 1;
            self.outcome.operations += 1;
            if connection.awaited == 0 {
                let micros = connection.started.elapsed().as_micros();
                let _ = self.outcome.latency.record(u64::try_from(micros).unwrap_or(u64::MAX));
            }
        }
        connection.input.drain(..at);
        if connection.awaited == 0 && self.issued < self.load.count {
            self.send_batch(connection)?;
        }
        Ok(())
    }
}

fn flush(connection: &mut Connection) -> Result<()> {
    while connection.sent < connection.output.len() {
        match connection.stream.write(&connection.output[connection.sent..]) {
            Ok(count) => connection.sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    connection.output.clear();
    connection.sent = 0;
    Ok(())
}
