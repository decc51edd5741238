//! The two phases of a search, and what corrects spelling.
//!
//! ```text
//! statistics  documents | length | list of leaves
//! leaf        flags (1 open, 2 cut) | list of: term bytes | documents
//! hits        total | optional nearest | list of hits
//! hit         key bytes | score real | optional explanation | optional distance real
//!             | list of: name bytes | distance real     | optional order
//! order       flags (1 descending) | 0, 1 real or 2 text bytes
//! explanation text bytes | list of explanations
//! spelling    documents | distance byte | list of: word bytes | known flag | terms as of a leaf
//! ```

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::{Malformed, Message, Reader, Writer};
use crate::execution::{Explanation, Hit, Hits, LeafTerms, SortedBy, Spelling, Spelt, Statistics};
use crate::index::SortValue;
use crate::limits;

const OPEN: u8 = 1;
const CUT: u8 = 2;

/// The fewest bytes of elements: what each writes if it is empty.
const LEAF_BYTES_MIN: usize = 2;
const TERM_BYTES_MIN: usize = 2;
const HIT_BYTES_MIN: usize = 13;
const DISTANCE_BYTES_MIN: usize = 9;
const EXPLANATION_BYTES_MIN: usize = 2;
const SPELT_BYTES_MIN: usize = 3;

impl Message for Statistics {
    const KIND: u8 = 1;

    fn write(&self, writer: &mut Writer) {
        writer.number(self.documents);
        writer.number(self.length);
        writer.list(self.leaves.iter(), |writer, leaf| {
            let open = if leaf.open { OPEN } else { 0 };
            let cut = if leaf.cut { CUT } else { 0 };
            writer.byte(open | cut);
            write_terms(writer, &leaf.documents);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let documents = reader.number()?;
        let length = reader.number()?;
        let leaves = reader.list(LEAF_BYTES_MIN, |reader| {
            let flags = reader.byte()?;
            if flags & !(OPEN | CUT) != 0 {
                return Err(Malformed::Invalid("flags of terms"));
            }
            let documents = read_terms(reader)?;
            Ok(LeafTerms { documents, open: flags & OPEN != 0, cut: flags & CUT != 0 })
        })?;
        Ok(Statistics { documents, length, leaves })
    }
}

impl Message for Hits {
    const KIND: u8 = 2;

    fn write(&self, writer: &mut Writer) {
        writer.number(self.total);
        writer.optional(self.nearest, Writer::number);
        writer.list(self.best.iter(), write_hit);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let total = reader.number()?;
        let nearest = reader.optional(Reader::number)?;
        let best = reader.list(HIT_BYTES_MIN, read_hit)?;
        Ok(Hits { total, best, nearest })
    }
}

impl Message for Spelling {
    const KIND: u8 = 3;

    fn write(&self, writer: &mut Writer) {
        writer.number(self.documents);
        writer.byte(self.distance);
        writer.list(self.words.iter(), |writer, spelt| {
            writer.bytes(spelt.word.as_bytes());
            writer.flag(spelt.is_known);
            write_terms(writer, &spelt.near);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let documents = reader.number()?;
        let distance = reader.byte()?;
        let words = reader.list(SPELT_BYTES_MIN, |reader| {
            let word = reader.text()?;
            Ok(Spelt { word, is_known: reader.flag()?, near: read_terms(reader)? })
        })?;
        Ok(Spelling { documents, distance, words })
    }
}

fn write_terms(writer: &mut Writer, terms: &BTreeMap<String, u64>) {
    writer.list(terms.iter(), |writer, (term, &documents)| {
        writer.bytes(term.as_bytes());
        writer.number(documents);
    });
}

fn read_terms(reader: &mut Reader<'_>) -> Result<BTreeMap<String, u64>, Malformed> {
    let mut terms = BTreeMap::new();
    for _ in 0..reader.count(TERM_BYTES_MIN)? {
        let term = reader.text()?;
        if terms.insert(term, reader.number()?).is_some() {
            return Err(Malformed::Invalid("term, which is there twice"));
        }
    }
    Ok(terms)
}

pub(super) fn write_hit(writer: &mut Writer, hit: &Hit) {
    writer.bytes(&hit.key);
    writer.real(hit.score);
    writer.optional(hit.explanation.as_ref(), write_explanation);
    writer.optional(hit.distance, Writer::real);
    writer.list(hit.distances.iter(), |writer, (name, distance)| {
        writer.bytes(name.as_bytes());
        writer.real(*distance);
    });
    writer.optional(hit.sorted_by.as_ref(), |writer, order| {
        writer.flag(order.descending);
        match &order.value {
            None => writer.byte(0),
            Some(SortValue::Number(number)) => {
                writer.byte(1);
                writer.real(*number);
            }
            Some(SortValue::Text(text)) => {
                writer.byte(2);
                writer.bytes(text.as_bytes());
            }
        }
    });
}

pub(super) fn read_hit(reader: &mut Reader<'_>) -> Result<Hit, Malformed> {
    Ok(Hit {
        key: reader.bytes()?.into(),
        score: reader.real()?,
        explanation: reader.optional(|reader| read_explanation(reader, 0))?,
        distance: reader.optional(Reader::real)?,
        distances: reader
            .list(DISTANCE_BYTES_MIN, |reader| Ok((reader.text()?, reader.real()?)))?,
        sorted_by: reader.optional(|reader| {
            let descending = reader.flag()?;
            let value = match reader.byte()? {
                0 => None,
                1 => Some(SortValue::Number(reader.real()?)),
                2 => Some(SortValue::Text(reader.text()?.into())),
                _ => return Err(Malformed::Invalid("value to sort by")),
            };
            Ok(SortedBy { value, descending })
        })?,
    })
}

fn write_explanation(writer: &mut Writer, explanation: &Explanation) {
    writer.bytes(explanation.text.as_bytes());
    writer.list(explanation.children.iter(), write_explanation);
}

fn read_explanation(reader: &mut Reader<'_>, depth: usize) -> Result<Explanation, Malformed> {
    if depth == limits::EXPLANATION_DEPTH {
        return Err(Malformed::Deep);
    }
    let text = reader.text()?;
    let child = |reader: &mut Reader<'_>| read_explanation(reader, depth + 1);
    let children = reader.list(EXPLANATION_BYTES_MIN, child)?;
    Ok(Explanation { text, children })
}
