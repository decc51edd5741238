//! Reads the source on a thread of its own, so that it works while the rest is encrypted and sent.
//!
//! It fills *batches*: buffers of slots of equal length, each with room around its plaintext for
//! what the protocol adds. So bytes are encrypted and sent from where they were read to.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{EntropyResult, error::source, source::read_full};

/// Batches of a transfer: one is filled, one waits, one is sent.
const BATCHES: usize = 3;

/// How a batch is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Bytes of a slot before its plaintext.
    pub(super) head: usize,
    /// Plaintext of a slot.
    pub(super) plain: usize,
    /// Length of a slot.
    pub(super) stride: usize,
    /// Slots of a batch.
    pub(super) slots: usize,
}

/// Slots in order; all are full but perhaps the last.
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Plaintext in all slots together. Less than fits only at the end.
    pub(super) plain: usize,
}

/// The batches of one snapshot.
pub(super) struct Batches {
    filled: Receiver<io::Result<Batch>>,
    free: SyncSender<Vec<u8>>,
}

impl Batches {
    /// Begins to read.
    pub(super) fn start(
        mut reader: impl Read + Send + 'static,
        layout: Layout,
    ) -> EntropyResult<Self> {
        let (free, to_fill) = sync_channel::<Vec<u8>>(BATCHES);
        let (done, filled) = sync_channel(BATCHES);
        for _ in 0..BATCHES {
            // There is room for all of them.
            let _ = free.try_send(vec![0; layout.slots * layout.stride]);
        }
        let read = move || {
            while let Ok(mut bytes) = to_fill.recv() {
                let outcome = fill(&mut reader, layout, &mut bytes);
                let last =
                    outcome.as_ref().map_or(true, |plain| *plain < layout.slots * layout.plain);
                let batch = outcome.map(|plain| Batch { bytes, plain });
                if done.send(batch).is_err() || last {
                    return;
                }
            }
        };
        thread::Builder::new().name("quorate-source".into()).spawn(read)?;
        Ok(Self { filled, free })
    }

    /// The next batch; `None` behind the last one.
    pub(super) fn next(&self) -> EntropyResult<Option<Batch>> {
        match self.filled.recv() {
            Ok(batch) => batch.map(Some).map_err(source),
            Err(_ended) => Ok(None),
        }
    }

    /// Gives the buffer of a batch back.
    pub(super) fn give_back(&self, batch: Batch) {
        let _ = self.free.try_send(batch.bytes);
    }
}

fn fill(reader: &mut dyn Read, layout: Layout, bytes: &mut [u8]) -> io::Result<usize> {
    let Layout { head, plain, stride, .. } = layout;
    let mut sum = 0;
    for slot in bytes.chunks_exact_mut(stride) {
        let got = read_full(reader, &mut slot[head..head + plain])?;
        sum += got;
        if got < plain {
            break;
        }
    }
    Ok(sum)
}
