//! What a running node holds, as a stream.

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use quorate_proto::{
    Slot,
    resp::{
        Command,
        reply::{Value, skip},
    },
};

use super::{OriginSpace, Stamped, origin_space};
use crate::{
    EntropyResult, Here, Snapshot, StreamingSource,
    connections::Connections,
    error::source,
    redis::{Connection, Server, bulk},
};

/// Questions on their way: enough to keep the node busy, few enough that its answers are small.
const QUESTIONS_MAX: usize = 16;

/// Snapshots of the node whose client port is at `host:port`: every key of its cluster that it
/// can reach, each as one replica has it at that moment.
#[derive(Clone, Debug)]
pub struct NodeSource {
    server: Server,
    slots: Vec<Slot>,
    connections: Connections,
}

impl NodeSource {
    /// Snapshots of all slots.
    pub fn new(address: impl Into<String>) -> Self {
        Self::of(Server::At(address.into()))
    }

    /// Snapshots of the node of this process.
    pub fn here(node: Arc<dyn Here>) -> Self {
        Self::of(Server::Here(node))
    }

    fn of(server: Server) -> Self {
        Self { server, slots: Slot::all().collect(), connections: Connections::default() }
    }

    /// Makes its connections part of these.
    pub(crate) fn among(mut self, connections: &Connections) -> Self {
        self.connections = connections.clone();
        self
    }

    /// Only these of the slots.
    pub(crate) fn only(&self, wanted: impl Fn(Slot) -> bool) -> Self {
        let slots = self.slots.iter().copied().filter(|slot| wanted(*slot)).collect();
        Self { slots, ..self.clone() }
    }

    /// The digests of all slots, in order.
    pub(crate) fn digests(&self) -> EntropyResult<Vec<u128>> {
        let connection = Connection::open(&self.server, &self.connections);
        let digests = connection.and_then(|mut connection| {
            digests_of(&mut connection, &Slot::all().collect::<Vec<_>>())
        });
        digests.map_err(|error| source(format_args!("{}: {error}", self.server)))
    }
}

/// Questions about digests on their way: the answers are short.
const DIGESTS_MAX: usize = 1024;

/// The digests of some slots, in their order.
pub(super) fn digests_of(connection: &mut Connection, slots: &[Slot]) -> io::Result<Vec<u128>> {
    let mut digests = Vec::with_capacity(slots.len());
    for some in slots.chunks(DIGESTS_MAX) {
        for slot in some {
            connection.push(&digest_question(*slot));
        }
        connection.flush()?;
        for _ in some {
            digests.push(digest(&connection.reply()?)?);
        }
    }
    Ok(digests)
}

pub(super) fn digest_question(slot: Slot) -> Command {
    Command::from_args(["QUORATE", "SLOTDIGEST", &slot.number().to_string()])
}

/// The answer to `QUORATE SLOTDIGEST`.
pub(super) fn digest(reply: &Value) -> io::Result<u128> {
    let text = std::str::from_utf8(bulk(reply)).ok();
    let digest = text.and_then(|text| u128::from_str_radix(text, 16).ok());
    digest.ok_or_else(|| io::Error::other(format!("QUORATE SLOTDIGEST: {}", reply.to_text())))
}

impl StreamingSource for NodeSource {
    fn open(&self) -> EntropyResult<Snapshot> {
        let named = |error: io::Error| source(format_args!("{}: {error}", self.server));
        let mut connection = Connection::open(&self.server, &self.connections).map_err(named)?;
        let space = origin_space(&mut connection).map_err(named)?;
        let states_only = Arc::new(AtomicBool::new(false));
        let reader = NodeReader {
            connection,
            space,
            states_only: Arc::clone(&states_only),
            slots: self.slots.clone().into_iter(),
            asked: VecDeque::new(),
            output: Vec::new(),
            given: 0,
        };
        Ok(Snapshot { states_only: Some(states_only), ..Snapshot::new(reader, None) })
    }
}

struct NodeReader {
    connection: Connection,
    space: OriginSpace,
    /// Whether the receiver can do without plain commands.
    states_only: Arc<AtomicBool>,
    /// Slots not asked for yet.
    slots: std::vec::IntoIter<Slot>,
    /// Slots whose answers are on their way, in order.
    asked: VecDeque<Slot>,
    output: Vec<u8>,
    given: usize,
}

impl NodeReader {
    /// Asks for further slots.
    fn ask(&mut self) -> io::Result<()> {
        let plain = self.plain();
        while self.asked.len() < QUESTIONS_MAX {
            let Some(slot) = self.slots.next() else { break };
            self.connection.push(&question(slot, "0", plain));
            self.asked.push_back(slot);
        }
        self.connection.flush()
    }

    fn plain(&self) -> bool {
        !self.states_only.load(Ordering::Relaxed)
    }

    /// Turns the next answer into output. Returns false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.asked.is_empty() {
            self.ask()?;
        }
        let Some(slot) = self.asked.pop_front() else { return Ok(false) };
        let answer = self.connection.reply()?;
        let plain = self.plain();
        let (next, _) = append(&mut self.output, self.space, slot, &answer, plain)?;
        if let Some(position) = next {
            self.connection.push(&question(slot, &position, plain));
            self.asked.push_back(slot);
        }
        self.ask()?;
        Ok(true)
    }
}

/// Appends what the answer to `QUORATE EXPORT` holds to a stream. Returns where the slot goes on,
/// and how many keys the answer shows. Without `plain`, only the states are taken.
pub(super) fn append(
    output: &mut Vec<u8>,
    space: OriginSpace,
    slot: Slot,
    answer: &Value,
    plain: bool,
) -> io::Result<(Option<String>, u64)> {
    let answer = match answer {
        Value::Array(answer) => answer,
        Value::Error(text) => return Err(io::Error::other(format!("QUORATE EXPORT: {text}"))),
        _ => return Err(io::Error::other("QUORATE EXPORT: not the answer of a node")),
    };
    let (next, states) = match answer.split_first() {
        Some((next, states)) => (bulk(next), states),
        None => return Err(io::Error::other("QUORATE EXPORT: an empty answer")),
    };
    let mut keys = 0;
    for pair in states.chunks_exact(2) {
        let (effect, shown) = (bulk(&pair[0]), if plain { bulk(&pair[1]) } else { &[] });
        let commands = count(shown)?;
        keys += u64::from(commands > 0);
        Stamped { space, slot, commands, effect }.write(output);
        output.extend_from_slice(shown);
    }
    let next = (next != b"0").then(|| String::from_utf8_lossy(next).into_owned());
    Ok((next, keys))
}

/// Asks for a slot from `position` on; without `plain`, for its states alone.
pub(super) fn question(slot: Slot, position: &str, plain: bool) -> Command {
    let number = slot.number().to_string();
    let words = ["QUORATE", "EXPORT", &number, position, "STATES"];
    Command::from_args(&words[..if plain { 4 } else { 5 }])
}

/// Number of encoded commands.
fn count(commands: &[u8]) -> io::Result<u32> {
    let (mut count, mut at) = (0, 0);
    while let Some(length) = skip(&commands[at..]).map_err(io::Error::other)? {
        at += length;
        count += 1;
    }
    if at < commands.len() {
        return Err(io::Error::other("QUORATE EXPORT: commands that are cut off"));
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
