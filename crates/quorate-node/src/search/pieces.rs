//! What a shard answers about its partition of an index, for the node that coordinates a query.
//!
//! ```text
//! quorate.search slot slot groups kind index stamp statistics argument...
//!     -> groups, an answer of the kind
//! ```
//!
//! `groups` are those of slots whose documents are asked about, a bit each, in hexadecimal digits. The
//! answer is about those of them that this shard owns and this node serves, which it names. `stamp`
//! tells one index from another of the same name.

use std::str::FromStr;

use quorate_proto::{
    Groups, Slot,
    command::Call,
    resp::{Command, ReplyWriter, format_double},
};
use quorate_search::{
    Index, Schema,
    execution::{Hit, Hits, SortedBy, Statistics},
    index::SortValue,
    query::Dialect,
    schema::Source,
    wire::{decode, encode},
};
use quorate_store::{JsonPath, JsonValue, Store};

use super::{
    answers,
    change::not_found,
    query::{BoundQuery, Query, SortBy, SortSource, default_dialect},
    wire::Writer,
};
use crate::{limits, storage::Storage};

/// The name of the command.
pub(crate) const PIECE: &str = "quorate.search";

/// Words before the query.
pub(super) const HEAD: usize = 8;

/// What a partition is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first phase of a query.
    Count,
    /// The second one.
    Find,
    /// The values of a `TAG` field.
    Tags,
    /// Words that a query's words might be.
    Spelling,
    /// Keys of all documents.
    Keys,
    /// What `FT.INFO` adds up.
    Info,
    /// The first phase of an aggregation.
    CountAggregated,
    /// The second one.
    Aggregate,
    /// The first phase of a search for words and vectors.
    CountHybrid,
    /// The second one.
    Hybrid,
    /// Texts that nearly follow a pattern.
    Regex,
}

const KINDS: [(Kind, &str); 11] = [
    (Kind::Count, "count"),
    (Kind::Find, "find"),
    (Kind::Tags, "tags"),
    (Kind::Spelling, "spelling"),
    (Kind::Keys, "keys"),
    (Kind::Info, "info"),
    (Kind::CountAggregated, "count-aggregated"),
    (Kind::Aggregate, "aggregate"),
    (Kind::CountHybrid, "count-hybrid"),
    (Kind::Hybrid, "hybrid"),
    (Kind::Regex, "regex"),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    pub(super) fn named(name: &[u8]) -> Option<Kind> {
        KINDS.iter().find(|(_, own)| own.as_bytes() == name).map(|(kind, _)| *kind)
    }
}

impl Storage {
    /// Answers a piece.
    pub(crate) fn answer_search(&mut self, call: &Call, resp3: bool, out: &mut Vec<u8>) {
        self.index_changes();
        let groups = self.served(call.command());
        let answer = self.search_piece(call.command(), groups);
        write_answer(out, resp3, groups, answer);
    }

    /// The groups that a piece asks for and this shard has.
    pub(super) fn served(&self, command: &Command) -> Groups {
        let asked = read_groups(command.arg(3)).unwrap_or_default();
        asked.iter().filter(|group| self.serves_group(*group)).collect()
    }

    /// Whether this shard has all documents of a group: it owns it, and the node serves it, or did a
    /// moment ago and has not dropped it yet.
    fn serves_group(&self, group: u16) -> bool {
        let owns = |slot: &Slot| self.owner(*slot) == self.position().1;
        let mut slots = Slot::of_group(group);
        let first = slots.next().filter(owns);
        first.is_some_and(|slot| {
            self.topology.is_reader(slot, self.topology.me()) || self.is_foreign(slot)
        })
    }

    fn search_piece(&mut self, command: &Command, groups: Groups) -> Result<Vec<u8>, String> {
        let kind = Kind::named(command.arg(4)).ok_or("ERR unknown question about an index")?;
        let name = command.arg(5);
        let partition = self.search.partitions.get_mut(name).ok_or_else(|| not_found(name))?;
        if partition.is_behind() {
            return Err("TRYAGAIN a long query has the index at this moment".into());
        }
        partition.index.show(groups.bits());
        let partition = &self.search.partitions[name];
        if partition.stamp.text().as_bytes() != command.arg(6) {
            let name = String::from_utf8_lossy(name);
            return Err(format!(
                "SEARCH_INDEX_NOT_FOUND Index {name} has changed on another node a moment ago; try again"
            ));
        }
        let index = &partition.index;
        let arguments: Vec<&[u8]> = command.args().skip(HEAD).collect();
        match kind {
            Kind::Count | Kind::Find => {
                let asked = Asked { index, documents: Some((&self.store, self.wall_ms)) };
                let dialect = default_dialect(&self.search.catalog);
                asked.search(kind, &arguments, dialect, command.arg(7))
            }
            Kind::Tags => {
                let name = arguments.first().copied().unwrap_or_default();
                let (field, _) = partition.schema.position(name).ok_or("ERR no such field")?;
                let mut out = Writer::default();
                let values: Vec<&str> = index.tag_values(field).collect();
                out.length(values.len());
                values.iter().for_each(|value| out.text(value.as_bytes()));
                Ok(out.0)
            }
            Kind::Spelling => {
                let distance = arguments.first().and_then(|distance| number(distance)).unwrap_or(1);
                let query = Query::parse(
                    &arguments[1.min(arguments.len())..],
                    default_dialect(&self.search.catalog),
                )?;
                let bound = query.bind(&partition.schema)?;
                Ok(encode(&index.spelling(&bound.node, distance)))
            }
            Kind::Keys => {
                let mut out = Writer::default();
                let keys: Vec<&[u8]> = index.keys().collect();
                out.length(keys.len());
                keys.iter().for_each(|key| out.text(key));
                Ok(out.0)
            }
            Kind::Info => Ok(super::info::write(partition, groups)),
            Kind::CountAggregated
            | Kind::Aggregate
            | Kind::CountHybrid
            | Kind::Hybrid
            | Kind::Regex => {
                let (storage, statistics) = (&*self, command.arg(7));
                let dialect = default_dialect(&self.search.catalog);
                let asked = answers::Asked { storage, partition, index, statistics, dialect };
                asked.answer(kind, &arguments)
            }
        }
    }
}

/// Writes what a piece is answered.
pub(super) fn write_answer(
    out: &mut Vec<u8>,
    resp3: bool,
    groups: Groups,
    answer: Result<Vec<u8>, String>,
) {
    let mut writer = ReplyWriter::new(out, resp3);
    match answer {
        Ok(body) => {
            writer.array(2);
            writer.text(&write_groups(groups));
            writer.bulk(&body);
        }
        Err(error) => writer.error(error),
    }
}

/// What the two phases of a query are asked of.
pub(super) struct Asked<'a> {
    pub(super) index: &'a Index,
    /// The documents, as they are at a moment of the wall clock, where they are at hand.
    pub(super) documents: Option<(&'a Store, u64)>,
}

impl Asked<'_> {
    /// The first or the second phase.
    pub(super) fn search(
        &self,
        kind: Kind,
        arguments: &[&[u8]],
        dialect: Dialect,
        statistics: &[u8],
    ) -> Result<Vec<u8>, String> {
        let query = Query::parse(arguments, dialect)?;
        let bound = query.bind(self.index.schema())?;
        match kind {
            Kind::Count => {
                let request = bound.request(self.index.schema(), None);
                Ok(encode(&self.index.statistics(&request)))
            }
            _ => self.find(&bound, statistics),
        }
    }

    fn find(&self, bound: &BoundQuery<'_>, statistics: &[u8]) -> Result<Vec<u8>, String> {
        let schema = self.index.schema();
        let query = bound.query;
        let source = query.sort_source(schema, &bound.node)?;
        let request = bound.request(schema, source);
        // Without any this shard has all documents.
        let statistics: Statistics = if statistics.is_empty() {
            let mut own = self.index.statistics(&request);
            own.complete();
            own
        } else {
            decode(statistics).map_err(|error| format!("ERR {error}"))?
        };
        let found = self.index.search(&request, &statistics);
        let mut hits = found.map_err(|error| error.to_string())?;
        if let (Some(sort), Some(source)) = (&query.sort, source) {
            self.sort(&mut hits, (sort, source), query.top());
        }
        let wanted = hits.best.len() > limits::HITS_PER_PIECE_MAX;
        if wanted {
            return Err(format!(
                "SEARCH_LIMIT_OVER a query may ask for at most {} documents at a time",
                limits::HITS_PER_PIECE_MAX
            ));
        }
        Ok(encode(&hits))
    }

    /// Orders hits by what the engine does not order by.
    fn sort(&self, hits: &mut Hits, (sort, source): (&SortBy, SortSource), top: usize) {
        // The nearest are chosen by distance, so only whoever has those of all partitions can
        // order them otherwise.
        let is_nearest = hits.nearest.is_some();
        for hit in &mut hits.best {
            let value = match source {
                SortSource::Kept if !is_nearest => continue,
                SortSource::Kept | SortSource::Document => self.loaded(&hit.key, &sort.name),
                SortSource::Distance => distance(hit, &sort.name),
            };
            hit.sorted_by = Some(SortedBy { value, descending: sort.descending });
        }
        if !is_nearest && source != SortSource::Kept {
            let mut sorted = Hits::default();
            sorted.merge(std::mem::take(hits), top);
            *hits = sorted;
        }
    }

    /// The value of a field of a document, to sort by.
    fn loaded(&self, key: &[u8], name: &[u8]) -> Option<SortValue> {
        let schema = self.index.schema();
        let (_, field) = schema.position(name)?;
        let (store, wall_ms) = self.documents?;
        let document = store.document(store.slot_of(key), key, wall_ms)?;
        let value = match schema.source {
            Source::Hash => {
                JsonValue::Text(String::from_utf8_lossy(&document.field(&field.path)?).into_owned())
            }
            Source::Json => {
                document.values(&JsonPath::parse(&field.path).ok()?).into_iter().next()?
            }
        };
        let is_number = matches!(field.kind, quorate_search::schema::Kind::Numeric);
        match value {
            JsonValue::Number(number) => Some(SortValue::Number(number)),
            JsonValue::Text(text) if is_number => text.parse().ok().map(SortValue::Number),
            JsonValue::Text(text) => Some(SortValue::Text(text.to_lowercase().into())),
            JsonValue::Bool(is_true) => Some(SortValue::Text(is_true.to_string().into())),
            JsonValue::Null | JsonValue::Array(_) | JsonValue::Object => None,
        }
    }
}

/// A distance of a hit, to sort by.
fn distance(hit: &Hit, name: &[u8]) -> Option<SortValue> {
    let found = hit.distances.iter().find(|(own, _)| own.as_bytes() == name);
    found.map(|(_, distance)| SortValue::Number(*distance))
}

/// Groups as an argument.
pub(super) fn write_groups(groups: Groups) -> String {
    format!("{:x}", groups.bits())
}

/// Groups that were an argument.
pub(super) fn read_groups(text: &[u8]) -> Option<Groups> {
    let text = std::str::from_utf8(text).ok()?;
    u64::from_str_radix(text, 16).ok().map(Groups::from_bits)
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A sort key as it is shown.
pub(super) fn shown(value: &SortValue) -> String {
    match value {
        SortValue::Number(number) => format!("#{}", format_double(*number)),
        SortValue::Text(text) => format!("${text}"),
    }
}

/// Whether a schema is of JSON documents.
pub(super) fn is_json(schema: &Schema) -> bool {
    schema.source == Source::Json
}
