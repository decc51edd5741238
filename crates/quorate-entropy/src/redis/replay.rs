//! Replaying commands into a server: many on their way, every reply looked at.

use std::collections::VecDeque;

use quorate_proto::resp::{Command, reply::Value};

use super::{CommandStream, Connection, Server};
use crate::{
    EntropyResult, SinkStream, StreamingSink, connections::Connections, error::sink, node::Stamped,
};

/// Bytes and commands on their way whose replies have not been looked at: enough to keep the
/// server busy while the next ones are made.
const WINDOW_BYTES: usize = 1 << 20;
const WINDOW_COMMANDS: usize = 1024;

/// Bytes that are collected before they are sent.
const SEND_BYTES: usize = 64 << 10;

/// A connection with commands on their way.
pub(crate) struct Pipeline {
    connection: Connection,
    /// Those commands, in order.
    waiting: VecDeque<Waiting>,
    /// Their bytes.
    bytes: usize,
    /// The sum of what a node has answered to `QUORATE MERGE`.
    left_out: u64,
}

struct Waiting {
    /// Of the command in the stream.
    number: u64,
    name: String,
    bytes: usize,
}

impl Pipeline {
    pub(crate) fn open(server: &Server) -> EntropyResult<Self> {
        let connection = Connection::open(server, &Connections::default());
        let connection = connection.map_err(|error| sink(format_args!("{server}: {error}")))?;
        Ok(Self { connection, waiting: VecDeque::new(), bytes: 0, left_out: 0 })
    }

    /// The connection, with nothing on its way.
    pub(crate) fn connection(&mut self) -> EntropyResult<&mut Connection> {
        self.settle()?;
        Ok(&mut self.connection)
    }

    /// Adds a command, which stands for command `number` of the stream.
    pub(crate) fn push(&mut self, number: u64, command: &Command) -> EntropyResult<()> {
        self.connection.push(command);
        let name = String::from_utf8_lossy(command.name()).into_owned();
        let bytes = command.frame().len();
        self.waiting.push_back(Waiting { number, name, bytes });
        self.bytes += bytes;
        if self.connection.unsent() >= SEND_BYTES {
            self.connection.flush().map_err(sink)?;
        }
        self.settle_to(WINDOW_BYTES, WINDOW_COMMANDS)
    }

    /// Keys of which a node has left something out, as far as replies have come.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Sends what is left and waits for all replies.
    ///
    /// # Errors
    /// `Sink`, naming the first command that was not executed.
    pub(crate) fn settle(&mut self) -> EntropyResult<()> {
        self.settle_to(0, 0)
    }

    /// Waits for replies until no more than this is on its way.
    fn settle_to(&mut self, bytes_max: usize, commands_max: usize) -> EntropyResult<()> {
        if self.bytes <= bytes_max && self.waiting.len() <= commands_max {
            return Ok(());
        }
        self.connection.flush().map_err(sink)?;
        while self.bytes > bytes_max || self.waiting.len() > commands_max {
            let Some(Waiting { number, name, bytes }) = self.waiting.pop_front() else { break };
            self.bytes -= bytes;
            let failed = |why: &str| {
                Err(sink(format_args!(
                    "command {number} ({name}): {why}; the commands before it have been applied"
                )))
            };
            match self.connection.reply() {
                Err(error) => return failed(&error.to_string()),
                Ok(reply) => {
                    if let Some(why) = first_error(&reply) {
                        return failed(why);
                    }
                    if let (Value::Integer(count), "QUORATE") = (reply, name.as_str()) {
                        self.left_out += u64::try_from(count).unwrap_or_default();
                    }
                }
            }
        }
        Ok(())
    }
}

/// An error, or the first one among the replies of a transaction.
fn first_error(reply: &Value) -> Option<&str> {
    match reply {
        Value::Error(text) => Some(text),
        Value::Array(replies) => replies.iter().find_map(|reply| match reply {
            Value::Error(text) => Some(text.as_str()),
            _ => None,
        }),
        _ => None,
    }
}

/// Replays a stream of commands into a Redis-compatible server.
///
/// Commands are applied as they come: a snapshot that is cut off has been applied up to there.
/// Sending it again ends in the same state, when it is of commands that replace what they name.
#[derive(Clone, Debug)]
pub struct RedisReplaySink {
    address: String,
}

impl RedisReplaySink {
    /// Replays into the server at `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

struct Replay {
    pipeline: Pipeline,
    commands: CommandStream,
}

impl StreamingSink for RedisReplaySink {
    fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        let pipeline = Pipeline::open(&Server::At(self.address.clone()))?;
        Ok(Box::new(Replay { pipeline, commands: CommandStream::default() }))
    }
}

impl SinkStream for Replay {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        self.commands.push(bytes);
        while let Some(command) = self.commands.next()? {
            // States with stamps are for Quorate; the plain commands behind them do here.
            if Stamped::read(&command).is_none() {
                self.pipeline.push(self.commands.count, &command)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> EntropyResult<()> {
        self.commands.end()?;
        self.pipeline.settle()
    }

    fn abort(self: Box<Self>) {}
}
