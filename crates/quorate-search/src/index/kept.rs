//! The graphs over an index's vectors, from one run to the next (`vectors/kept.rs`).
//!
//! ```text
//! graphs   list of: position of the field | bytes of its graph
//! ```

use alloc::vec::Vec;

use super::{FieldIndex, Index};
use crate::wire::{Malformed, Reader, Writer};

/// Bytes of a graph at least, with the position of its field.
const GRAPH_BYTES_MIN: usize = 2;

impl Index {
    /// Whether a field has a graph.
    pub fn has_graphs(&self) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|field| matches!(field, FieldIndex::Vectors(vectors) if vectors.has_graph()))
    }

    /// The graphs as bytes; none if there are none, or none with vectors in it.
    pub fn graphs(&self) -> Option<Vec<u8>> {
        let mut graphs = Vec::new();
        for (number, field) in self.fields.iter().enumerate() {
            let FieldIndex::Vectors(vectors) = field else { continue };
            let mut writer = Writer::default();
            if vectors.write_graph(&mut writer, |id| &self.documents.get(id).key) {
                graphs.push((number, writer.finish()));
            }
        }
        let mut writer = Writer::default();
        let is_any = !graphs.is_empty();
        writer.list(graphs.into_iter(), |writer, (number, graph)| {
            writer.number(number as u64);
            writer.bytes(&graph);
        });
        is_any.then(|| writer.finish())
    }

    /// Takes what [`Index::graphs`] has told of an index with the same schema, before the first document
    /// is put. The graph of a field that cannot be read is made anew.
    pub fn remember_graphs(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.count(GRAPH_BYTES_MIN)? {
            let number = reader.number()?;
            let graph = reader.bytes()?;
            let field = usize::try_from(number).ok().and_then(|at| self.fields.get_mut(at));
            let Some(FieldIndex::Vectors(vectors)) = field else {
                return Err(Malformed::Invalid("field"));
            };
            vectors.remember_graph(&mut Reader::new(graph))?;
        }
        Ok(())
    }

    /// All documents that there are have been put. Until then graphs that are remembered are not
    /// worked on, and nobody may search. Returns how many vectors need not be linked again.
    pub fn settle_graphs(&mut self) -> usize {
        let fields = self.fields.iter_mut();
        let settled = fields.map(|field| match field {
            FieldIndex::Vectors(vectors) => vectors.settle_graph(),
            _ => 0,
        });
        settled.sum()
    }
}
