//! Replaying commands into a server: many on their way, every reply looked at.

use std::collections::VecDeque;

use quorate_proto::resp::{Command, reply::Value};

use super::{CommandStream, Connection};
use crate::entropy::{EntropyResult, SinkStream, StreamingSink, error::sink, node::Stamped};

/// Bytes and commands sent before their replies are read.
const WINDOW_BYTES: usize = 256 << 10;
const WINDOW_COMMANDS: usize = 1024;

/// A connection with commands on their way.
pub(in crate::entropy) struct Pipeline {
    connection: Connection,
    output: Vec<u8>,
    /// Number and name of every command in `output`.
    waiting: VecDeque<(u64, String)>,
}

impl Pipeline {
    pub(in crate::entropy) fn open(address: &str) -> EntropyResult<Self> {
        let connection = Connection::open(address);
        let connection = connection.map_err(|error| sink(format_args!("{address}: {error}")))?;
        Ok(Self { connection, output: Vec::new(), waiting: VecDeque::new() })
    }

    /// The connection, with nothing on its way.
    pub(in crate::entropy) fn connection(&mut self) -> EntropyResult<&mut Connection> {
        self.settle()?;
        Ok(&mut self.connection)
    }

    /// Adds a command, which stands for command `number` of the stream.
    pub(in crate::entropy) fn push(&mut self, number: u64, command: &Command) -> EntropyResult<()> {
        self.output.extend_from_slice(command.frame());
        let name = String::from_utf8_lossy(command.name()).into_owned();
        self.waiting.push_back((number, name));
        if self.output.len() >= WINDOW_BYTES || self.waiting.len() >= WINDOW_COMMANDS {
            self.settle()?;
        }
        Ok(())
    }

    /// Sends what is left and waits for all replies.
    ///
    /// # Errors
    /// `Sink`, naming the first command that was not executed.
    pub(in crate::entropy) fn settle(&mut self) -> EntropyResult<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.connection.send(&self.output).map_err(sink)?;
        self.output.clear();
        while let Some((number, name)) = self.waiting.pop_front() {
            let reply = self.connection.reply();
            let failed = |why: &str| {
                Err(sink(format_args!(
                    "command {number} ({name}): {why}; the commands before it have been applied"
                )))
            };
            match reply {
                Err(error) => return failed(&error.to_string()),
                Ok(reply) => {
                    if let Some(why) = first_error(&reply) {
                        return failed(why);
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
        let pipeline = Pipeline::open(&self.address)?;
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
