//! What a partition of an index answers, be it in the shard's own turn or beside it.
//!
//! The arguments of `FT.AGGREGATE` and `FT.HYBRID` begin with the seed of the query, which is the same
//! for all partitions; what follows, and those of the others, are as clients send them.

use std::str::FromStr;

use quorate_search::{
    Error, Index, Room, Schema,
    aggregate::{Aggregation, Bounds, Documents},
    execution::{Hit, Hits, SortedBy, Statistics},
    expression::Value,
    hybrid::Hybrid,
    index::SortValue,
    query::Dialect,
    regex::Regex,
    wire::{Message, decode, encode},
};

use super::{
    pieces::Kind,
    query::{BoundQuery, Query, SortBy, SortSource},
    stored::Shape,
    wire::Writer,
};
use crate::limits;

/// A question about a partition.
pub(super) struct Asked<'a> {
    pub(super) index: &'a Index,
    /// What the index does not keep.
    pub(super) documents: &'a dyn Documents,
    /// Of all partitions; empty if this one has all documents.
    pub(super) statistics: &'a [u8],
    pub(super) dialect: Dialect,
}

impl Asked<'_> {
    /// Answers a question, unless it is one about the partition itself.
    pub(super) fn answer(&self, kind: Kind, arguments: &[&[u8]]) -> Result<Vec<u8>, String> {
        match kind {
            Kind::Count | Kind::Find => self.search(kind, arguments),
            Kind::Tags => self.tags(arguments),
            Kind::Spelling => self.spelling(arguments),
            Kind::Keys => {
                let mut out = Writer::default();
                let keys: Vec<&[u8]> = self.index.keys().collect();
                out.length(keys.len());
                keys.iter().for_each(|key| out.text(key));
                Ok(out.0)
            }
            Kind::Regex => self.regex(arguments).map_err(refusal),
            Kind::CountAggregated | Kind::Aggregate => {
                let (seed, words) = seeded(arguments)?;
                let schema = self.index.schema();
                let aggregation = Aggregation::parse(words, schema, self.dialect);
                self.aggregate(kind, &aggregation.map_err(refusal)?, seed)
            }
            Kind::CountHybrid | Kind::Hybrid => {
                let (_, words) = seeded(arguments)?;
                let hybrid = Hybrid::parse(words, self.index.schema());
                self.hybrid(kind, &hybrid.map_err(refusal)?)
            }
            Kind::Info | Kind::Cancel => Err("ERR not a question about an index".into()),
        }
    }

    /// What a question sees of the values of JSON documents.
    pub(super) fn shape(
        kind: Kind,
        arguments: &[&[u8]],
        (schema, dialect): (&Schema, Dialect),
    ) -> Shape {
        let dialect = match kind {
            Kind::Aggregate => {
                let words = seeded(arguments).map(|(_, words)| words).unwrap_or_default();
                Aggregation::parse(words, schema, dialect).map(|own| own.dialect)
            }
            Kind::Hybrid => Ok(Dialect::Two),
            _ => return Shape::Lists,
        };
        match dialect {
            Ok(dialect) if dialect >= Dialect::Three => Shape::Arrays,
            _ => Shape::First,
        }
    }

    /// About how many documents are looked at, or as much work is done as for that many. None for
    /// what is answered with an error.
    pub(super) fn work(&self, kind: Kind, arguments: &[&[u8]]) -> Option<u64> {
        let (index, schema) = (self.index, self.index.schema());
        match kind {
            Kind::Count | Kind::Find => {
                let query = Query::parse(arguments, self.dialect).ok()?;
                let bound = query.bind(schema).ok()?;
                let source = query.sort_source(schema, &bound.node).ok()?;
                let is_loaded = source == Some(SortSource::Document);
                let each = if is_loaded { LOADING } else { 1 };
                Some(index.work(&bound.request(schema, source)).saturating_mul(each))
            }
            Kind::Tags | Kind::Keys => Some(index.len()),
            Kind::Spelling => Some(index.terms() as u64),
            Kind::Regex => Some(index.len().saturating_mul(MATCHING)),
            Kind::CountAggregated | Kind::Aggregate => {
                let (_, words) = seeded(arguments).ok()?;
                let aggregation = Aggregation::parse(words, schema, self.dialect).ok()?;
                let each = if kind == Kind::Aggregate { aggregation.weight() } else { 1 };
                Some(index.work(&aggregation.request()).saturating_mul(each))
            }
            Kind::CountHybrid | Kind::Hybrid => {
                let (_, words) = seeded(arguments).ok()?;
                Some(index.hybrid_work(&Hybrid::parse(words, schema).ok()?))
            }
            Kind::Info | Kind::Cancel => None,
        }
    }

    fn search(&self, kind: Kind, arguments: &[&[u8]]) -> Result<Vec<u8>, String> {
        let query = Query::parse(arguments, self.dialect)?;
        let bound = query.bind(self.index.schema())?;
        if kind == Kind::Find {
            return self.find(&bound);
        }
        let request = bound.request(self.index.schema(), None);
        Ok(encode(&self.index.statistics(&request)))
    }

    fn find(&self, bound: &BoundQuery<'_>) -> Result<Vec<u8>, String> {
        let schema = self.index.schema();
        let query = bound.query;
        let source = query.sort_source(schema, &bound.node)?;
        let request = bound.request(schema, source);
        let statistics: Statistics = match self.given()? {
            Some(given) => given,
            None => {
                let mut own = self.index.statistics(&request);
                own.complete();
                own
            }
        };
        let found = self.index.search(&request, &statistics);
        let mut hits = found.map_err(refusal)?;
        if let (Some(sort), Some(source)) = (&query.sort, source) {
            self.sort(&mut hits, (sort, source), query.top()).map_err(refusal)?;
        }
        if hits.best.len() > limits::HITS_PER_PIECE_MAX {
            return Err(format!(
                "SEARCH_LIMIT_OVER a query may ask for at most {} documents at a time",
                limits::HITS_PER_PIECE_MAX
            ));
        }
        Ok(encode(&hits))
    }

    /// Orders hits by what the engine does not order by.
    fn sort(
        &self,
        hits: &mut Hits,
        (sort, source): (&SortBy, SortSource),
        top: usize,
    ) -> Result<(), Error> {
        let mut room = Room::new(self.index.allowance().bytes);
        // The nearest are chosen by distance, so only whoever has those of all partitions can
        // order them otherwise.
        let is_nearest = hits.nearest.is_some();
        for hit in &mut hits.best {
            let value = match source {
                SortSource::Kept if !is_nearest => continue,
                SortSource::Kept | SortSource::Document => self.loaded(&hit.key, &sort.name),
                SortSource::Distance => distance(hit, &sort.name),
            };
            if let Some(SortValue::Text(text)) = &value {
                room.take(text.len())?;
            }
            hit.sorted_by = Some(SortedBy { value, descending: sort.descending });
        }
        if !is_nearest && source != SortSource::Kept {
            let mut sorted = Hits::default();
            sorted.merge(std::mem::take(hits), top);
            *hits = sorted;
        }
        Ok(())
    }

    /// The value of a field of a document, to sort by.
    fn loaded(&self, key: &[u8], name: &[u8]) -> Option<SortValue> {
        let (_, field) = self.index.schema().position(name)?;
        let is_number = matches!(field.kind, quorate_search::schema::Kind::Numeric);
        let value = match self.documents.value(key, &field.path)? {
            Value::List(values) => values.into_iter().next()?,
            value => value,
        };
        match value {
            Value::Number(number) => Some(SortValue::Number(number)),
            Value::Text(text) if is_number => text.parse().ok().map(SortValue::Number),
            Value::Text(text) => Some(SortValue::Text(text.to_lowercase().into())),
            Value::Null | Value::List(_) => None,
        }
    }

    fn tags(&self, arguments: &[&[u8]]) -> Result<Vec<u8>, String> {
        let name = arguments.first().copied().unwrap_or_default();
        let (field, _) = self.index.schema().position(name).ok_or("ERR no such field")?;
        let mut out = Writer::default();
        let values: Vec<&str> = self.index.tag_values(field).collect();
        let bytes = values.iter().map(|value| value.len() + size_of::<&str>()).sum();
        self.index.allowance().check(bytes).map_err(refusal)?;
        out.length(values.len());
        values.iter().for_each(|value| out.text(value.as_bytes()));
        Ok(out.0)
    }

    fn spelling(&self, arguments: &[&[u8]]) -> Result<Vec<u8>, String> {
        let distance = arguments.first().and_then(|distance| number(distance)).unwrap_or(1);
        let query = Query::parse(&arguments[1.min(arguments.len())..], self.dialect)?;
        let bound = query.bind(self.index.schema())?;
        let spelling = self.index.spelling(&bound.node, distance);
        spelling.map(|spelling| encode(&spelling)).map_err(refusal)
    }

    fn aggregate(
        &self,
        kind: Kind,
        aggregation: &Aggregation,
        seed: u64,
    ) -> Result<Vec<u8>, String> {
        let mut statistics = self.index.statistics(&aggregation.request());
        if kind == Kind::CountAggregated {
            return Ok(encode(&statistics));
        }
        match self.given()? {
            Some(given) => statistics = given,
            None => statistics.complete(),
        }
        let bounds = Bounds { bytes: self.index.allowance().bytes, ..Bounds::default() };
        let documents = self.documents;
        let partial = self.index.aggregate(aggregation, &statistics, documents, seed, bounds);
        partial.map(|partial| encode(&partial)).map_err(refusal)
    }

    fn hybrid(&self, kind: Kind, hybrid: &Hybrid) -> Result<Vec<u8>, String> {
        let mut statistics = self.index.hybrid_statistics(hybrid);
        if kind == Kind::CountHybrid {
            return Ok(encode(&statistics));
        }
        match self.given()? {
            Some(given) => statistics = given,
            None => statistics.complete(),
        }
        let partial = self.index.hybrid(hybrid, &statistics, self.documents);
        partial.map(|partial| encode(&partial)).map_err(refusal)
    }

    fn regex(&self, arguments: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let regex = Regex::parse(arguments, self.index.schema())?;
        Ok(encode(&self.index.regex(&regex, self.documents)?))
    }

    /// The statistics of all partitions, if this is one of several.
    fn given<M: Message>(&self) -> Result<Option<M>, String> {
        match self.statistics {
            [] => Ok(None),
            bytes => decode(bytes).map(Some).map_err(|error| format!("ERR {error}")),
        }
    }
}

/// To read a value of a document takes as long as to find so many.
const LOADING: u64 = 4;

/// To match a text with a pattern takes as long as to find so many documents.
const MATCHING: u64 = 64;

fn refusal(error: Error) -> String {
    error.to_string()
}

fn seeded<'a, 'b>(arguments: &'a [&'b [u8]]) -> Result<(u64, &'a [&'b [u8]]), String> {
    let (seed, words) = arguments.split_first().ok_or("ERR a query has no seed")?;
    Ok((number(seed).ok_or("ERR invalid seed of a query")?, words))
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A distance of a hit, to sort by.
fn distance(hit: &Hit, name: &[u8]) -> Option<SortValue> {
    let found = hit.distances.iter().find(|(own, _)| own.as_bytes() == name);
    found.map(|(_, distance)| SortValue::Number(*distance))
}
