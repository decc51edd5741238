//! What a shard answers about its partition of an index, for the node that coordinates a query.
//!
//! ```text
//! quorate.search slot slot groups kind index stamp statistics [leave] argument...
//!     -> groups, an answer of the kind[, `part` if the time was not enough for the whole]
//! ```
//!
//! `groups` are those of slots whose documents are asked about, a bit each, in hexadecimal digits. The
//! answer is about those of them that this shard owns and this node serves, which it names. `stamp`
//! tells one index from another of the same name; `leave` says how long the answer is waited for.

use quorate_proto::{
    Groups, Slot,
    command::Call,
    resp::{Command, ReplyWriter, format_double},
};
use quorate_search::{Schema, index::SortValue, schema::Source};

use super::{
    answers::Asked, change::not_found, inquiry::Answer, leave::Leave, query::default_dialect,
    settings::query_memory, stored::Stored,
};
use crate::storage::Storage;

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
    /// No answer to a query is waited for any more.
    Cancel,
}

const KINDS: [(Kind, &str); 12] = [
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
    (Kind::Cancel, "cancel"),
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

    fn search_piece(&mut self, command: &Command, groups: Groups) -> Result<Answer, String> {
        let kind = Kind::named(command.arg(4)).ok_or("ERR unknown question about an index")?;
        let (leave, arguments) = asked_of(command);
        if kind == Kind::Cancel {
            self.cancel_inquiry(leave.number);
            return Ok(Answer::default());
        }
        let name = command.arg(5);
        let bytes = query_memory(&self.search.catalog);
        let partition = self.search.partitions.get_mut(name).ok_or_else(|| not_found(name))?;
        if partition.is_behind() {
            return Err("TRYAGAIN a long query has the index at this moment".into());
        }
        partition.index.show(groups.bits());
        partition.index.allow(quorate_search::Allowance { bytes, ..Default::default() });
        let partition = &self.search.partitions[name];
        if partition.stamp.text().as_bytes() != command.arg(6) {
            let name = String::from_utf8_lossy(name);
            return Err(format!(
                "SEARCH_INDEX_NOT_FOUND Index {name} has changed on another node a moment ago; try again"
            ));
        }
        if kind == Kind::Info {
            return Ok(Answer::whole(super::info::write(partition, groups)));
        }
        let dialect = default_dialect(&self.search.catalog);
        let shape = Asked::shape(kind, &arguments, (&partition.schema, dialect));
        let documents = Stored { store: &self.store, wall_ms: self.wall_ms, shape };
        let asked = Asked {
            index: &partition.index,
            documents: &documents,
            statistics: command.arg(7),
            dialect,
        };
        asked.answer(kind, &arguments).map(Answer::whole)
    }
}

/// What a piece allows, and the arguments of its question.
pub(super) fn asked_of(command: &Command) -> (Leave, Vec<&[u8]>) {
    let mut arguments: Vec<&[u8]> = command.args().skip(HEAD).collect();
    let told = arguments.first().and_then(|first| Leave::read(first));
    if told.is_some() {
        arguments.remove(0);
    }
    (told.unwrap_or_else(Leave::untold), arguments)
}

/// Writes what a piece is answered.
pub(super) fn write_answer(
    out: &mut Vec<u8>,
    resp3: bool,
    groups: Groups,
    answer: Result<Answer, String>,
) {
    let mut writer = ReplyWriter::new(out, resp3);
    match answer {
        Ok(Answer { body, in_part }) => {
            writer.array(2 + usize::from(in_part));
            writer.text(&write_groups(groups));
            writer.bulk(&body);
            if in_part {
                writer.text("part");
            }
        }
        Err(error) => writer.error(error),
    }
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
