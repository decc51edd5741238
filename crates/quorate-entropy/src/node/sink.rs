//! A stream into a running node.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use quorate_proto::{Slot, resp::Command};

use super::{OriginSpace, Stamped, origin_space};
use crate::{
    EntropyResult, Here, SinkStream, StreamingSink,
    error::sink,
    redis::{CommandStream, Pipeline, Server},
};

/// States of one slot that are merged by one command.
const MERGE_BYTES: usize = 64 << 10;

/// Merges into the node whose client port is at `host:port`, and through it into its cluster.
///
/// States with stamps are merged: what is newer in the node stays. Commands without a state, as in
/// a stream out of Redis, are executed as they are. Both happen as they come: a snapshot that is
/// cut off has been merged up to there, and may be sent again.
#[derive(Clone, Debug)]
pub struct NodeSink {
    server: Server,
    left_out: Arc<AtomicU64>,
}

impl NodeSink {
    /// Merges into the node at `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self::into(Server::At(address.into()))
    }

    /// Merges into the node of this process.
    pub fn here(node: Arc<dyn Here>) -> Self {
        Self::into(Server::Here(node))
    }

    fn into(server: Server) -> Self {
        Self { server, left_out: Arc::default() }
    }

    /// Keys that do not show what was merged, or not all of it, because they had been deleted there
    /// or have expired. Of all snapshots that became whole, for this sink and its clones.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

impl StreamingSink for NodeSink {
    fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        let mut pipeline = Pipeline::open(&self.server)?;
        let space = origin_space(pipeline.connection()?);
        let space = space.map_err(|error| sink(format_args!("{}: {error}", self.server)))?;
        Ok(Box::new(Merge {
            pipeline,
            commands: CommandStream::default(),
            left_out: Arc::clone(&self.left_out),
            space,
            skip: 0,
            slot: Slot::default(),
            effect: Vec::new(),
        }))
    }

    fn merges_states(&self) -> bool {
        true
    }
}

struct Merge {
    pipeline: Pipeline,
    commands: CommandStream,
    /// Of the sink.
    left_out: Arc<AtomicU64>,
    space: OriginSpace,
    /// Commands to come that a merged state stands for.
    skip: u32,
    /// States of this slot that are not on their way yet.
    slot: Slot,
    effect: Vec<u8>,
}

impl Merge {
    fn take(&mut self, command: &Command) -> EntropyResult<()> {
        let Some(state) = Stamped::read(command) else {
            if self.skip > 0 {
                self.skip -= 1;
                return Ok(());
            }
            self.flush()?;
            return self.pipeline.push(self.commands.count, command);
        };
        if self.skip > 0 {
            let number = self.commands.count;
            return Err(sink(format_args!("command {number}: a state among another's commands")));
        }
        self.skip = state.commands;
        if state.slot != self.slot || self.effect.len() + state.effect.len() > MERGE_BYTES {
            self.flush()?;
        }
        self.slot = state.slot;
        self.space.adopt_effect(&state.space, state.effect, &mut self.effect).map_err(sink)
    }

    fn flush(&mut self) -> EntropyResult<()> {
        if self.effect.is_empty() {
            return Ok(());
        }
        let slot = self.slot.number().to_string();
        let words = [b"QUORATE".as_slice(), b"MERGE", slot.as_bytes(), &self.effect];
        self.pipeline.push(self.commands.count, &Command::from_args(words))?;
        self.effect.clear();
        Ok(())
    }
}

impl SinkStream for Merge {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        self.commands.push(bytes);
        while let Some(command) = self.commands.next()? {
            self.take(&command)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> EntropyResult<()> {
        self.commands.end()?;
        self.flush()?;
        self.pipeline.settle()?;
        self.left_out.fetch_add(self.pipeline.left_out(), Ordering::Relaxed);
        Ok(())
    }

    fn abort(self: Box<Self>) {}
}
