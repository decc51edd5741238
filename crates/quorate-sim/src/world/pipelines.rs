//! Clients that send many pairs of `SET` and `GET` at once, each of a key that nobody else knows. What
//! such a client reads is what it has written right before, whatever fails: nothing older, and nothing
//! that it has sent later.

use bytes::BytesMut;
use quorate_node::simulation::Wire;
use quorate_proto::{
    Level,
    resp::{Command, reply::Value},
};

use super::{Event, Violation, World, operators::FIRST_OPERATOR};
use crate::{
    history::Time,
    network::{ConnectionId, Packet, Place},
};

/// Pause between two of them.
const PAUSE: Time = 300_000;

/// Clients from this number on send pairs.
pub(super) const FIRST_PIPELINE: usize = 1 << 21;

/// A connection of such a client.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) connection: ConnectionId,
    node: usize,
    input: BytesMut,
    /// Replies that have come. The first one is that to the levels.
    replies: usize,
    /// What has become of each write whose reply has come.
    writes: Vec<Fate>,
}

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    NotDone,
    Unknown,
}

impl World<'_> {
    /// A client connects to a node and sends its pairs at once.
    pub(super) fn send_pairs(&mut self, node: usize) {
        if self.now >= self.scenario.period {
            return;
        }
        let number = self.pipelines.len();
        let place = Place::Client { client: FIRST_PIPELINE + number, at: node };
        let connection = self.network.open(self.now, place, Wire(0), Place::Node(node));
        let (input, writes) = (BytesMut::new(), Vec::new());
        self.pipelines.push(Pipeline { connection, node, input, replies: 0, writes });
        let level = Level::Quorum.name();
        let mut bytes = Vec::new();
        let mut add = |words: &[&str]| bytes.extend_from_slice(Command::from_args(words).frame());
        add(&["QUORATE", "LEVEL", "READ", level, "WRITE", level]);
        let key = format!("pipeline:{number}");
        for value in 0..self.scenario.pipelined {
            add(&["SET", &key, &value.to_string()]);
            add(&["GET", &key]);
        }
        // Some of it comes a little later, perhaps when the first replies are there.
        let later = bytes.split_off(bytes.len() / 3);
        for part in [bytes, later] {
            self.network.send(self.now, connection, 0, Packet::Bytes(part));
        }
        let next = (node + 1) % self.machines.len();
        self.schedule(self.now + PAUSE, Event::Pipeline { node: next });
    }

    /// Whether a client of this number is one of them.
    pub(super) fn is_pipeline(&self, client: usize) -> bool {
        (FIRST_PIPELINE..FIRST_OPERATOR).contains(&client)
    }

    pub(super) fn pipeline_hears(&mut self, client: usize, packet: Packet) {
        let Packet::Bytes(bytes) = packet else { return };
        let pipeline = &mut self.pipelines[client - FIRST_PIPELINE];
        pipeline.input.extend_from_slice(&bytes);
        let mut texts = Vec::new();
        while let Ok(Some((reply, length))) = Value::decode(&pipeline.input) {
            let _ = pipeline.input.split_to(length);
            let wrong = pipeline.take(&reply).err();
            let refused = match reply {
                Value::Error(error) if self.scenario.available => Some(error),
                _ => None,
            };
            texts.extend(wrong.or(refused));
        }
        for text in texts {
            let node = self.pipelines[client - FIRST_PIPELINE].node;
            let text = format!("pipeline {} at node {node}: {text}", client - FIRST_PIPELINE);
            self.violations.push(Violation::new("order", text));
        }
    }
}

impl Pipeline {
    /// Takes the next reply. An error says what is wrong with it.
    fn take(&mut self, reply: &Value) -> Result<(), String> {
        let at = self.replies;
        self.replies += 1;
        let Some(at) = at.checked_sub(1) else { return Ok(()) };
        if at % 2 == 0 {
            self.writes.push(Fate::of(reply)?);
            return Ok(());
        }
        let shown = match reply {
            Value::Error(_) => return Ok(()),
            Value::Nil => None,
            Value::Bulk(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                Some(text.parse::<usize>().map_err(|_| format!("{text} was never written"))?)
            }
            other => return Err(format!("GET was answered with {other:?}")),
        };
        let last = self.writes.iter().rposition(|fate| *fate == Fate::Done);
        let is_right = shown == last
            || shown.is_some_and(|value| self.writes.get(value) == Some(&Fate::Unknown));
        let told = || {
            let written = self.writes.len();
            format!("GET behind {written} writes, of which {last:?} is done, shows {shown:?}")
        };
        if is_right { Ok(()) } else { Err(told()) }
    }
}

impl Fate {
    fn of(reply: &Value) -> Result<Self, String> {
        match reply {
            Value::Simple(text) if text == "OK" => Ok(Self::Done),
            Value::Error(text) if text.starts_with("UNKNOWN") => Ok(Self::Unknown),
            Value::Error(text) if text.starts_with("TIMEOUT") => {
                let nothing = text.ends_with("nothing was changed");
                Ok(if nothing { Self::NotDone } else { Self::Unknown })
            }
            Value::Error(_) => Ok(Self::NotDone),
            other => Err(format!("SET was answered with {other:?}")),
        }
    }
}
