//! The graphs over vectors, written down at an orderly stop and taken up at the next start.
//!
//! Everything else of an index is made anew of the documents, and so is the graph if there is no file,
//! or one that is damaged or of other indexes. What it says is a hint: a vector that has changed since
//! is linked as a new one (`quorate_search::Index::graphs`).
//!
//! ```text
//! graphs-SHARD   magic: 8 bytes | indexes | CRC-32C of all before: 4 bytes
//! index          name: length 4 bytes, bytes | stamp: the same | graphs: the same
//! ```

use std::path::PathBuf;

use quorate_proto::checksum::crc32c;

use super::wire::{Reader, Writer};
use crate::{node::Node, storage::Storage};

const MAGIC: &[u8; 8] = b"QGRAPHS1";

/// The file of a shard.
fn path(node: &Node, shard: u16) -> PathBuf {
    node.directory.join(format!("graphs-{shard}"))
}

impl Storage {
    /// Writes the graphs of this shard down. What cannot be written is made anew at the next start.
    pub(crate) fn keep_graphs(&self, node: &Node) {
        let graphs = self.search.partitions.iter().filter_map(|(name, partition)| {
            let is_whole = partition.lent.is_none() && !partition.is_filling();
            let graphs = is_whole.then(|| partition.index.graphs()).flatten()?;
            Some((name, partition.stamp.text(), graphs))
        });
        let mut out = Writer(MAGIC.to_vec());
        for (name, stamp, graphs) in graphs {
            if u32::try_from(graphs.len()).is_err() {
                // It does not fit into a file of this form.
                continue;
            }
            out.text(name);
            out.text(stamp.as_bytes());
            out.text(&graphs);
        }
        if out.0.len() == MAGIC.len() || node.settings.memory {
            return;
        }
        let checksum = crc32c(&out.0);
        out.0.extend_from_slice(&checksum.to_le_bytes());
        let path = path(node, self.position().1);
        match node.disk.replace(&path, &out.0) {
            Ok(()) => tracing::info!(bytes = out.0.len(), "graphs over vectors are written down"),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "graphs over vectors are not kept");
            }
        }
    }

    /// Takes up the graphs that were written down, before the documents are indexed.
    pub(crate) fn remember_graphs(&mut self, node: &Node) {
        let mut graphs = self.search.partitions.values();
        if node.settings.memory || !graphs.any(|partition| partition.index.has_graphs()) {
            return;
        }
        let path = path(node, self.position().1);
        let document = match node.disk.read(&path) {
            Ok(Some(document)) => document,
            Ok(None) => return,
            Err(error) => {
                return tracing::warn!(%error, path = %path.display(), "graphs cannot be read");
            }
        };
        if self.take_graphs(&document).is_none() {
            tracing::warn!(path = %path.display(), "graphs are damaged, and are made anew");
        }
    }

    /// None if the document is not whole: then nothing of it is taken.
    fn take_graphs(&mut self, document: &[u8]) -> Option<()> {
        let (body, checksum) = document.split_last_chunk::<4>()?;
        if crc32c(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut rest = Reader(body.strip_prefix(MAGIC)?);
        while !rest.0.is_empty() {
            let (name, stamp, graphs) = (rest.bytes()?, rest.bytes()?, rest.bytes()?);
            let partition = self.search.partitions.get_mut(name);
            let same = partition.filter(|own| own.stamp.text().as_bytes() == stamp);
            if let Some(partition) = same
                && let Err(error) = partition.index.remember_graphs(graphs)
            {
                tracing::warn!(%error, index = %String::from_utf8_lossy(name), "a graph is made anew");
            }
        }
        Some(())
    }

    /// All documents are indexed: graphs go on from there.
    pub(super) fn settle_graphs(&mut self) {
        for (name, partition) in &mut self.search.partitions {
            let vectors = partition.index.settle_graphs();
            if vectors > 0 {
                let index = String::from_utf8_lossy(name);
                tracing::info!(%index, vectors, "graphs over vectors are taken up");
            }
        }
    }
}
