//! `FT.CONFIG`: settings of the search, which hold for the whole cluster.

use quorate_proto::resp::{ReplyWriter, parse_integer};

use super::Catalog;
use crate::limits;

/// A setting.
struct Setting {
    name: &'static str,
    about: &'static str,
    default: &'static str,
    /// What it may be.
    values: Values,
}

/// What a setting may be.
enum Values {
    /// A number from the first to the second.
    Numbers(i64, i64),
    /// One of these words, in any case.
    Words(&'static [&'static str]),
    /// What it is: it cannot be changed.
    None,
}

/// The dialect of queries that name none.
pub(crate) const DEFAULT_DIALECT: &str = "DEFAULT_DIALECT";

/// How long queries may take that do not say it, in milliseconds; 0: as long as any request.
const TIMEOUT: &str = "TIMEOUT";

/// The time of queries that do not say how long they may take, if there is a setting.
pub(crate) fn default_timeout_ms(catalog: &Catalog) -> Option<u64> {
    let set = catalog.setting(TIMEOUT.as_bytes()).and_then(parse_integer);
    set.and_then(|time| u64::try_from(time).ok())
}

/// Bytes that a query may hold in a partition and at its coordinator.
const QUERY_MEMORY: &str = "MAXQUERYMEMORY";

/// Bytes that a query may hold in a partition and at its coordinator.
pub(crate) fn query_memory(catalog: &Catalog) -> usize {
    let set = catalog.setting(QUERY_MEMORY.as_bytes()).and_then(parse_integer);
    set.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(limits::QUERY_MEMORY_DEFAULT)
}

/// Bytes that an index may take on a node; 0: any.
const INDEX_MEMORY: &str = "MAXINDEXMEMORY";

/// Bytes that an index may take on a node.
pub(super) fn index_memory(catalog: &Catalog) -> usize {
    let set = catalog.setting(INDEX_MEMORY.as_bytes()).and_then(parse_integer);
    let set = set.and_then(|bytes| usize::try_from(bytes).ok());
    set.filter(|bytes| *bytes > 0).unwrap_or(usize::MAX)
}

/// What becomes of a query that takes too long: `FAIL`, or `RETURN` of what it has found.
const ON_TIMEOUT: &str = "ON_TIMEOUT";

/// Whether a query that takes too long is answered in part.
pub(crate) fn answers_in_part(catalog: &Catalog) -> bool {
    catalog.setting(ON_TIMEOUT.as_bytes()).is_some_and(|set| set.eq_ignore_ascii_case(b"RETURN"))
}

const fn fixed(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, about, default, values: Values::None }
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: DEFAULT_DIALECT,
        about: "The dialect of queries that name none",
        default: "1",
        values: Values::Numbers(1, 4),
    },
    Setting {
        name: TIMEOUT,
        about: "Query (search) timeout",
        default: "0",
        values: Values::Numbers(0, i64::MAX),
    },
    Setting {
        name: QUERY_MEMORY,
        about: "Bytes that a query may hold in a shard and at its coordinator",
        default: "268435456",
        values: Values::Numbers(limits::QUERY_MEMORY_MIN as i64, i64::MAX),
    },
    Setting {
        name: INDEX_MEMORY,
        about: "Bytes that an index may take on a node; 0: any",
        default: "0",
        values: Values::Numbers(0, i64::MAX),
    },
    Setting {
        name: ON_TIMEOUT,
        about: "Whether a query that takes too long fails, or returns what it has found",
        default: "FAIL",
        values: Values::Words(&["FAIL", "RETURN"]),
    },
    fixed("MINPREFIX", "2", "Letters that a prefix must have"),
    fixed("MAXPREFIXEXPANSIONS", "200", "Terms that a prefix may stand for"),
    fixed("MAXEXPANSIONS", "200", "Terms that a prefix may stand for"),
    fixed("MAXSEARCHRESULTS", "1000000", "Documents that a query may ask for"),
    fixed("MINSTEMLEN", "4", "Letters that a word must have to be reduced to its stem"),
    fixed("DEFAULT_SCORER", "BM25STD", "How documents are scored if nothing is said"),
];

/// `FT.CONFIG GET|HELP pattern`: a name, or `*`.
pub(crate) fn write_config(
    writer: &mut ReplyWriter<'_>,
    catalog: &Catalog,
    pattern: &[u8],
    with_help: bool,
) {
    let wanted = |setting: &&Setting| {
        pattern == b"*" || pattern.eq_ignore_ascii_case(setting.name.as_bytes())
    };
    let found: Vec<&Setting> = SETTINGS.iter().filter(wanted).collect();
    match (with_help, writer.is_resp3()) {
        (_, true) => writer.map(found.len()),
        (_, false) => writer.array(found.len()),
    }
    for setting in found {
        let value = catalog.setting(setting.name.as_bytes()).unwrap_or(setting.default.as_bytes());
        match (with_help, writer.is_resp3()) {
            (false, true) => writer.simple(setting.name),
            (false, false) => {
                writer.array(2);
                writer.simple(setting.name);
            }
            (true, true) => {
                writer.simple(setting.name);
                writer.map(2);
                writer.simple("Description");
                writer.simple(setting.about);
                writer.simple("Value");
            }
            (true, false) => {
                writer.array(5);
                writer.simple(setting.name);
                writer.simple("Description");
                writer.simple(setting.about);
                writer.simple("Value");
            }
        }
        writer.bulk(value);
    }
}

/// Checks `FT.CONFIG SET name value`.
pub(crate) fn check(name: &[u8], value: &[u8]) -> Result<(), String> {
    let setting = SETTINGS.iter().find(|own| name.eq_ignore_ascii_case(own.name.as_bytes()));
    let setting = setting.ok_or("SEARCH_OPTION_NOT_FOUND No such option")?;
    let is_taken = match setting.values {
        Values::None => return Err("SEARCH_CONFIG_IMMUTABLE Not modifiable at runtime".into()),
        Values::Words(words) => words.iter().any(|own| value.eq_ignore_ascii_case(own.as_bytes())),
        Values::Numbers(least, most) => {
            let refused = "SEARCH_PARSE_ARGS Could not convert argument to expected type";
            (least..=most).contains(&parse_integer(value).ok_or(refused)?)
        }
    };
    let refused = "SEARCH_PARSE_ARGS Value is outside acceptable bounds";
    if is_taken { Ok(()) } else { Err(refused.into()) }
}
