//! Partial states of an aggregation, and of a hybrid search.
//!
//! ```text
//! partial     total | rows | list of groups
//! hybrid      statistics | statistics, or: hits | hits | rows
//! rows        list of names: bytes | list of rows
//! row         id bytes | optional distance real | list of: name number | value
//!             | list of: stage number | name number | value | list of terms: bytes
//! group       values bytes, in order | list of states
//! value       0, nothing | 1 real | 2 bytes | 3 list of values
//! state       0 count | 1 list of values: bytes, in order | 2 list of: register number | rank byte
//!             | 3 count | sum | 4 real, least | 5 real, greatest | 6 count | sum | sum of squares
//!             | 7 resolution | list of: bits | count | list of: bucket | count
//!             | 8 optional: key value | id bytes | value
//!             | 9 list of: hash | id bytes | value
//! sum         special real | list of reals
//! bucket      twice its number if that is not below 0, else twice what is below it and 1
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Malformed, Message, Reader, Writer};
use crate::aggregate::{Distinctish, First, Partial, Quantile, Row, State, Sum};
use crate::execution::{Hits, Statistics};
use crate::expression::Value;
use crate::hybrid::{HybridPartial, HybridStatistics};
use crate::limits;

/// The fewest bytes of elements: what each writes if it is empty.
const ROW_BYTES_MIN: usize = 5;
const FIELD_BYTES_MIN: usize = 2;
const LATER_BYTES_MIN: usize = 3;
const GROUP_BYTES_MIN: usize = 2;
const STATE_BYTES_MIN: usize = 2;
const REGISTER_BYTES: usize = 2;
const COUNTED_BYTES_MIN: usize = 2;
const SAMPLE_BYTES_MIN: usize = 3;
const REAL_BYTES: usize = 8;

impl Message for Partial {
    const KIND: u8 = 4;

    fn write(&self, writer: &mut Writer) {
        writer.number(self.total);
        write_rows(writer, &self.rows);
        writer.list(self.groups.iter(), |writer, (key, states)| {
            writer.bytes(key);
            writer.list(states.iter(), write_state);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let total = reader.number()?;
        let rows = read_rows(reader)?;
        let mut groups = BTreeMap::new();
        for _ in 0..reader.count(GROUP_BYTES_MIN)? {
            let key = reader.bytes()?.to_vec();
            if groups.insert(key, reader.list(STATE_BYTES_MIN, read_state)?).is_some() {
                return Err(Malformed::Invalid("group, which is there twice"));
            }
        }
        Ok(Partial { total, rows, groups })
    }
}

impl Message for HybridStatistics {
    const KIND: u8 = 5;

    fn write(&self, writer: &mut Writer) {
        self.words.write(writer);
        self.nearest.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let words = Statistics::read(reader)?;
        Ok(HybridStatistics { words, nearest: Statistics::read(reader)? })
    }
}

impl Message for HybridPartial {
    const KIND: u8 = 6;

    fn write(&self, writer: &mut Writer) {
        self.words.write(writer);
        self.nearest.write(writer);
        write_rows(writer, &self.rows);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (words, nearest) = (Hits::read(reader)?, Hits::read(reader)?);
        Ok(HybridPartial { words, nearest, rows: read_rows(reader)? })
    }
}

fn write_rows(writer: &mut Writer, rows: &[Row]) {
    let fields = rows.iter().flat_map(|row| row.fields.iter().map(|(name, _)| name));
    let later = rows.iter().flat_map(|row| row.later.iter().map(|(_, name, _)| name));
    let names: BTreeSet<&Arc<str>> = fields.chain(later).collect();
    let numbers: BTreeMap<&Arc<str>, u64> = names.iter().copied().zip(0..).collect();
    let number = |name| numbers.get(name).copied().unwrap_or_default();
    writer.list(names.iter(), |writer, name| writer.bytes(name.as_bytes()));
    writer.list(rows.iter(), |writer, row| {
        writer.bytes(&row.id);
        writer.optional(row.distance, Writer::real);
        writer.list(row.fields.iter(), |writer, (name, value)| {
            writer.number(number(name));
            write_value(writer, value);
        });
        writer.list(row.later.iter(), |writer, (stage, name, value)| {
            writer.number(u64::from(*stage));
            writer.number(number(name));
            write_value(writer, value);
        });
        writer.list(row.terms.iter(), |writer, term| writer.bytes(term.as_bytes()));
    });
}

fn read_rows(reader: &mut Reader<'_>) -> Result<Vec<Row>, Malformed> {
    let names: Vec<Arc<str>> = reader.list(1, |reader| Ok(reader.text()?.into()))?;
    reader.list(ROW_BYTES_MIN, |reader| read_row(reader, &names))
}

fn read_row(reader: &mut Reader<'_>, names: &[Arc<str>]) -> Result<Row, Malformed> {
    let name = |reader: &mut Reader<'_>| {
        let number = usize::try_from(reader.number()?).map_err(|_| Malformed::Ended)?;
        names.get(number).cloned().ok_or(Malformed::Invalid("number of a name"))
    };
    Ok(Row {
        id: reader.bytes()?.into(),
        distance: reader.optional(Reader::real)?,
        fields: reader
            .list(FIELD_BYTES_MIN, |reader| Ok((name(reader)?, read_value(reader, 0)?)))?,
        later: reader.list(LATER_BYTES_MIN, |reader| {
            let stage = u32::try_from(reader.number()?);
            let stage = stage.map_err(|_| Malformed::Invalid("number of a stage"))?;
            Ok((stage, name(reader)?, read_value(reader, 0)?))
        })?,
        terms: reader.list(1, Reader::text)?,
    })
}

fn write_value(writer: &mut Writer, value: &Value) {
    match value {
        Value::Null => writer.byte(0),
        Value::Number(number) => {
            writer.byte(1);
            writer.real(*number);
        }
        Value::Text(text) => {
            writer.byte(2);
            writer.bytes(text.as_bytes());
        }
        Value::List(values) => {
            writer.byte(3);
            writer.list(values.iter(), write_value);
        }
    }
}

fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
    Ok(match reader.byte()? {
        0 => Value::Null,
        1 => Value::Number(reader.real()?),
        2 => Value::Text(reader.text()?),
        3 if depth == limits::VALUE_DEPTH => return Err(Malformed::Deep),
        3 => Value::List(reader.list(1, |reader| read_value(reader, depth + 1))?),
        _ => return Err(Malformed::Invalid("value")),
    })
}

fn write_state(writer: &mut Writer, state: &State) {
    match state {
        State::Count(count) => {
            writer.byte(0);
            writer.number(*count);
        }
        State::Values(values) => {
            writer.byte(1);
            writer.list(values.iter(), |writer, value| writer.bytes(value));
        }
        State::Distinctish(distinct) => {
            writer.byte(2);
            writer.list(distinct.0.iter(), |writer, (register, rank)| {
                writer.number(u64::from(*register));
                writer.byte(*rank);
            });
        }
        State::Sum(count, sum) => {
            writer.byte(3);
            writer.number(*count);
            write_sum(writer, sum);
        }
        State::Min(number) => {
            writer.byte(4);
            writer.real(*number);
        }
        State::Max(number) => {
            writer.byte(5);
            writer.real(*number);
        }
        State::Deviation(count, sum, squares) => {
            writer.byte(6);
            writer.number(*count);
            write_sum(writer, sum);
            write_sum(writer, squares);
        }
        State::Quantile(quantile) => {
            writer.byte(7);
            write_quantile(writer, quantile);
        }
        State::First(first) => {
            writer.byte(8);
            writer.optional(first.as_ref(), |writer, first| {
                write_value(writer, &first.key);
                writer.bytes(&first.id);
                write_value(writer, &first.value);
            });
        }
        State::Sample(sample) => {
            writer.byte(9);
            writer.list(sample.iter(), |writer, ((hash, id), value)| {
                writer.number(*hash);
                writer.bytes(id);
                write_value(writer, value);
            });
        }
    }
}

fn read_state(reader: &mut Reader<'_>) -> Result<State, Malformed> {
    Ok(match reader.byte()? {
        0 => State::Count(reader.number()?),
        1 => {
            let values = reader.list(1, |reader| Ok(reader.bytes()?.to_vec()))?;
            State::Values(values.into_iter().collect())
        }
        2 => State::Distinctish(read_registers(reader)?),
        3 => State::Sum(reader.number()?, read_sum(reader)?),
        4 => State::Min(reader.real()?),
        5 => State::Max(reader.real()?),
        6 => State::Deviation(reader.number()?, read_sum(reader)?, read_sum(reader)?),
        7 => State::Quantile(read_quantile(reader)?),
        8 => State::First(reader.optional(|reader| {
            let key = read_value(reader, 0)?;
            Ok(First { key, id: reader.bytes()?.into(), value: read_value(reader, 0)? })
        })?),
        9 => {
            let sample = reader.list(SAMPLE_BYTES_MIN, |reader| {
                let hash = reader.number()?;
                Ok(((hash, reader.bytes()?.into()), read_value(reader, 0)?))
            })?;
            State::Sample(sample.into_iter().collect())
        }
        _ => return Err(Malformed::Invalid("state of a group")),
    })
}

fn read_registers(reader: &mut Reader<'_>) -> Result<Distinctish, Malformed> {
    let mut distinct = Distinctish::default();
    for _ in 0..reader.count(REGISTER_BYTES)? {
        let (register, rank) = (reader.number()?, reader.byte()?);
        if !Distinctish::may_have(register, rank) {
            return Err(Malformed::Invalid("register"));
        }
        distinct.0.insert(register as u16, rank);
    }
    Ok(distinct)
}

fn write_sum(writer: &mut Writer, sum: &Sum) {
    writer.real(sum.special);
    writer.list(sum.parts.iter(), |writer, part| writer.real(*part));
}

fn read_sum(reader: &mut Reader<'_>) -> Result<Sum, Malformed> {
    let special = reader.real()?;
    if special.is_finite() && special != 0.0 {
        return Err(Malformed::Invalid("sum of what is not finite"));
    }
    let mut sum = Sum { special, ..Sum::default() };
    let parts = reader.list(REAL_BYTES, Reader::real)?;
    if parts.len() > Sum::PARTS_MAX || !parts.iter().all(|part| part.is_finite()) {
        return Err(Malformed::Invalid("parts of a sum"));
    }
    // What does not overlap stays as it is.
    parts.into_iter().for_each(|part| sum.add(part));
    Ok(sum)
}

fn write_quantile(writer: &mut Writer, quantile: &Quantile) {
    writer.number(u64::from(quantile.resolution));
    writer.list(quantile.exact.iter(), |writer, (bits, count)| {
        writer.number(*bits);
        writer.number(*count);
    });
    writer.list(quantile.buckets.iter(), |writer, (bucket, count)| {
        writer.number((bucket << 1 ^ bucket >> 63) as u64);
        writer.number(*count);
    });
}

fn read_quantile(reader: &mut Reader<'_>) -> Result<Quantile, Malformed> {
    let resolution = u32::try_from(reader.number()?).unwrap_or(0);
    let exact =
        reader.list(COUNTED_BYTES_MIN, |reader| Ok((reader.number()?, reader.number()?)))?;
    let buckets = reader.list(COUNTED_BYTES_MIN, |reader| {
        let bucket = reader.number()?;
        Ok(((bucket >> 1) as i64 ^ -((bucket & 1) as i64), reader.number()?))
    })?;
    let quantile = Quantile {
        resolution,
        exact: exact.into_iter().collect(),
        buckets: buckets.into_iter().collect(),
    };
    if quantile.is_valid() { Ok(quantile) } else { Err(Malformed::Invalid("quantile")) }
}
