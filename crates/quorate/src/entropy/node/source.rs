//! What a running node holds, as a stream.

use std::{
    collections::VecDeque,
    io::{self, Read},
};

use quorate_proto::{
    Slot,
    resp::{Command, CommandReader, reply::Value},
};

use super::{OriginSpace, Stamped, origin_space};
use crate::entropy::{
    EntropyResult, Snapshot, StreamingSource,
    error::source,
    redis::{Connection, bulk},
};

/// Questions on their way: enough to keep the node busy, few enough that its answers are small.
const QUESTIONS_MAX: usize = 16;

/// Snapshots of the node whose client port is at `host:port`: every key of its cluster that it
/// can reach, each as one replica has it at that moment.
#[derive(Clone, Debug)]
pub struct NodeSource {
    address: String,
    slots: (u16, u16),
}

impl NodeSource {
    /// Snapshots of all slots.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), slots: (0, quorate_proto::slot::SLOTS - 1) }
    }

    /// Only the slots from `first` to `last`.
    #[must_use]
    pub fn slots(mut self, first: u16, last: u16) -> Self {
        self.slots = (first, last);
        self
    }
}

impl StreamingSource for NodeSource {
    fn open(&self) -> EntropyResult<Snapshot> {
        let named = |error: io::Error| source(format_args!("{}: {error}", self.address));
        let mut connection = Connection::open(&self.address).map_err(named)?;
        let space = origin_space(&mut connection).map_err(named)?;
        let (first, last) = self.slots;
        let mut reader = NodeReader {
            connection,
            space,
            slots: first..last.saturating_add(1),
            asked: VecDeque::new(),
            output: Vec::new(),
            given: 0,
        };
        reader.ask().map_err(named)?;
        Ok(Snapshot { reader: Box::new(reader), length: None })
    }
}

struct NodeReader {
    connection: Connection,
    space: OriginSpace,
    /// Slots not asked for yet.
    slots: std::ops::Range<u16>,
    /// Slots whose answers are on their way, in order.
    asked: VecDeque<Slot>,
    output: Vec<u8>,
    given: usize,
}

impl NodeReader {
    /// Asks for further slots.
    fn ask(&mut self) -> io::Result<()> {
        let mut frames = Vec::new();
        while self.asked.len() < QUESTIONS_MAX {
            let Some(slot) = self.slots.next().and_then(Slot::new) else { break };
            frames.extend_from_slice(question(slot, "0").frame());
            self.asked.push_back(slot);
        }
        if frames.is_empty() { Ok(()) } else { self.connection.send(&frames) }
    }

    /// Turns the next answer into output. Returns false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(slot) = self.asked.pop_front() else { return Ok(false) };
        let answer = match self.connection.reply()? {
            Value::Array(answer) => answer,
            Value::Error(text) => return Err(io::Error::other(format!("QUORATE EXPORT: {text}"))),
            _ => return Err(io::Error::other("QUORATE EXPORT: not the answer of a node")),
        };
        let (next, states) = match answer.split_first() {
            Some((next, states)) => (bulk(next), states),
            None => return Err(io::Error::other("QUORATE EXPORT: an empty answer")),
        };
        if next != b"0" {
            let position = String::from_utf8_lossy(next).into_owned();
            self.connection.send(question(slot, &position).frame())?;
            self.asked.push_back(slot);
        }
        for pair in states.chunks_exact(2) {
            let (effect, plain) = (bulk(&pair[0]), bulk(&pair[1]));
            let commands = count(plain)?;
            Stamped { space: self.space, slot, commands, effect }.write(&mut self.output);
            self.output.extend_from_slice(plain);
        }
        self.ask()?;
        Ok(true)
    }
}

fn question(slot: Slot, position: &str) -> Command {
    Command::from_args(["QUORATE", "EXPORT", &slot.number().to_string(), position])
}

/// Number of encoded commands.
fn count(commands: &[u8]) -> io::Result<u32> {
    let mut input = bytes::BytesMut::from(commands);
    let mut reader = CommandReader::new();
    let mut count = 0;
    while reader.next(&mut input).map_err(io::Error::other)?.is_some() {
        count += 1;
    }
    Ok(count)
}

impl Read for NodeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            self.output.clear();
            self.given = 0;
            if !self.advance()? {
                return Ok(0);
            }
        }
        let rest = &self.output[self.given..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}
