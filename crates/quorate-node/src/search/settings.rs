//! `FT.CONFIG`: settings of the search, which hold for the whole cluster.

use quorate_proto::resp::{ReplyWriter, parse_integer};

use super::Catalog;

/// A setting.
struct Setting {
    name: &'static str,
    about: &'static str,
    default: &'static str,
    /// What it may be; none: it cannot be changed.
    range: Option<(i64, i64)>,
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

const fn fixed(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, about, default, range: None }
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: DEFAULT_DIALECT,
        about: "The dialect of queries that name none",
        default: "1",
        range: Some((1, 4)),
    },
    Setting {
        name: TIMEOUT,
        about: "Query (search) timeout",
        default: "0",
        range: Some((0, i64::MAX)),
    },
    fixed("MINPREFIX", "2", "Letters that a prefix must have"),
    fixed("MAXPREFIXEXPANSIONS", "200", "Terms that a prefix may stand for"),
    fixed("MAXEXPANSIONS", "200", "Terms that a prefix may stand for"),
    fixed("MAXSEARCHRESULTS", "1000000", "Documents that a query may ask for"),
    fixed("MINSTEMLEN", "4", "Letters that a word must have to be reduced to its stem"),
    fixed("ON_TIMEOUT", "FAIL", "A query that takes too long fails; it is never answered in part"),
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
    let range = setting.range.ok_or("SEARCH_CONFIG_IMMUTABLE Not modifiable at runtime")?;
    let number = parse_integer(value);
    let number = number.ok_or("SEARCH_PARSE_ARGS Could not convert argument to expected type")?;
    if (range.0..=range.1).contains(&number) {
        Ok(())
    } else {
        Err("SEARCH_PARSE_ARGS Value is outside acceptable bounds".into())
    }
}
