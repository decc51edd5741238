//! The parameters of `CONFIG GET` and `CONFIG SET`, one row each.
//!
//! Those of Redis that clients and tools ask for show what holds here; most are fixed. One that is
//! fixed may be set to what it is.

use std::{borrow::Cow, sync::LazyLock};

use quorate_cluster::topology::Topology;
use quorate_proto::{Level, resp::parse_integer};

use super::cluster_commands::is_cluster;
use crate::{
    adjustable::OutputLimit,
    config::{SETTINGS, Setting},
    descriptors, limits,
    node::Node,
};

/// One parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: Cow<'static, str>,
    value: Value,
    change: Change,
}

/// What a value comes from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) node: &'a Node,
    pub(super) topology: &'a Topology,
}

#[derive(Debug)]
enum Value {
    Constant(&'static str),
    Setting(&'static Setting),
    Of(fn(Source<'_>) -> String),
}

/// Whether and how a parameter can be changed.
#[derive(Debug)]
enum Change {
    Never,
    /// A whole number within bounds, and what accepts it.
    Number(i64, i64, fn(&Node, i64) -> Result<Accepted, String>),
    Level(fn(&Node, Level)),
    /// Anything that this takes apart.
    Text(fn(&[u8]) -> Result<Accepted, String>),
}

/// A change that has been checked and is still to be made.
pub(super) type Accepted = Box<dyn FnOnce(&Node)>;

impl Parameter {
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        PARAMETERS.iter().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes()))
    }

    pub(super) fn value(&self, source: Source<'_>) -> String {
        match self.value {
            Value::Constant(text) => text.to_owned(),
            Value::Setting(setting) => setting.show(&source.node.settings),
            Value::Of(value) => value(source),
        }
    }

    /// Checks a new value. Returns what puts it into force, or why it cannot be.
    pub(super) fn check(&self, source: Source<'_>, value: &[u8]) -> Result<Accepted, String> {
        match self.change {
            Change::Never if value.eq_ignore_ascii_case(self.value(source).as_bytes()) => {
                Ok(Box::new(|_| {}))
            }
            Change::Never => Err("can't set immutable config".into()),
            Change::Number(least, most, accept) => {
                let number =
                    parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
                if number < least || number > most {
                    return Err(format!("argument must be between {least} and {most} inclusive"));
                }
                accept(source.node, number)
            }
            Change::Text(parse) => parse(value),
            Change::Level(set) => {
                let text = String::from_utf8_lossy(value);
                let level: Level = text.parse().map_err(|error| format!("'{text}': {error}"))?;
                Ok(Box::new(move |node| set(node, level)))
            }
        }
    }
}

fn fixed(name: &'static str, value: &'static str) -> Parameter {
    Parameter { name: Cow::Borrowed(name), value: Value::Constant(value), change: Change::Never }
}

fn of(name: &'static str, value: fn(Source<'_>) -> String) -> Parameter {
    Parameter { name: Cow::Borrowed(name), value: Value::Of(value), change: Change::Never }
}

fn changed(parameter: Parameter, change: Change) -> Parameter {
    Parameter { change, ..parameter }
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn accepted(change: impl FnOnce(&Node) + 'static) -> Result<Accepted, String> {
    Ok(Box::new(change))
}

/// Every parameter: those with a name of their own, and every other setting as `quorate-` and its
/// key.
pub(super) static PARAMETERS: LazyLock<Vec<Parameter>> = LazyLock::new(|| {
    let mut rows = named();
    for setting in SETTINGS {
        let key = setting.key.replace(['_', '.'], "-");
        let name = format!("quorate-{key}");
        if rows.iter().all(|row| row.name != name && row.name != key) {
            let (name, value) = (name.into(), Value::Setting(setting));
            rows.push(Parameter { name, value, change: Change::Never });
        }
    }
    rows
});

#[rustfmt::skip]
fn named() -> Vec<Parameter> { vec![
    of("appendonly", |s| yes_no(!s.node.settings.memory)),
    of("appendfsync", |s| s.node.settings.sync.name().to_owned()),
    fixed("aclfile", ""),
    fixed("activedefrag", "no"),
    of("bind", |s| s.node.settings.listen.ip().to_string()),
    changed(of("client-output-buffer-limit", |s| shown_limit(s.node.adjustable.output_limit())), Change::Text(parse_limit)),
    of("cluster-enabled", |s| yes_no(is_cluster(s.topology))),
    fixed("daemonize", "no"),
    fixed("databases", "1"),
    of("dir", |s| s.node.settings.durable_dir().map(|path| path.display().to_string()).unwrap_or_default()),
    fixed("enable-debug-command", "yes"),
    fixed("hash-max-listpack-entries", "512"),
    fixed("hash-max-listpack-value", "64"),
    fixed("hash-max-ziplist-entries", "512"),
    fixed("hash-max-ziplist-value", "64"),
    fixed("hz", "10"),
    fixed("io-threads", "1"),
    fixed("latency-monitor-threshold", "0"),
    fixed("latency-tracking", "yes"),
    fixed("latency-tracking-info-percentiles", "50 99 99.9"),
    fixed("logfile", ""),
    changed(of("maxclients", |s| s.node.adjustable.maxclients().to_string()), Change::Number(1, limits::CLIENTS_MAX as i64, check_maxclients)),
    fixed("maxmemory", "0"),
    changed(of("maxmemory-clients", |s| s.node.adjustable.clients_output_max().to_string()), Change::Text(parse_clients_limit)),
    fixed("maxmemory-policy", "noeviction"),
    fixed("notify-keyspace-events", ""),
    of("port", |s| s.node.settings.listen.port().to_string()),
    changed(of("quorate-command-bytes-max", |s| s.node.adjustable.command_bytes_max().to_string()), Change::Text(parse_command_bytes)),
    changed(of("quorate-movement-bytes-per-second", |s| s.node.adjustable.movement_bytes_per_second().to_string()), Change::Text(parse_movement_pace)),
    of("proto-max-bulk-len", |s| s.node.settings.max_value_size.to_string()),
    fixed("protected-mode", "no"),
    fixed("replicaof", ""),
    fixed("requirepass", ""),
    fixed("save", ""),
    fixed("set-max-intset-entries", "512"),
    fixed("slaveof", ""),
    changed(of("slowlog-log-slower-than", |s| s.node.adjustable.slow_micros().to_string()), Change::Number(-1, i64::MAX, |_, micros| accepted(move |node| node.adjustable.set_slow_micros(micros)))),
    changed(of("slowlog-max-len", |s| s.node.adjustable.slow_log_len().to_string()), Change::Number(0, limits::SLOW_LOG_LENGTH_MAX as i64, |_, len| accepted(move |node| node.adjustable.set_slow_log_len(len.unsigned_abs())))),
    fixed("supervised", "no"),
    fixed("tcp-backlog", "1024"),
    fixed("tcp-keepalive", "0"),
    changed(of("timeout", |s| s.node.adjustable.timeout_seconds().to_string()), Change::Number(0, i32::MAX as i64, |_, seconds| accepted(move |node| node.adjustable.set_timeout_seconds(seconds.unsigned_abs())))),
    fixed("tls-port", "0"),
    fixed("unixsocket", ""),
    changed(of("quorate-read-level", |s| s.node.adjustable.levels().0.to_string()), Change::Level(|node, level| node.adjustable.set_read_level(level))),
    changed(of("quorate-write-level", |s| s.node.adjustable.levels().1.to_string()), Change::Level(|node, level| node.adjustable.set_write_level(level))),
] }

/// Every client is of one class here.
fn shown_limit(limit: OutputLimit) -> String {
    let OutputLimit { hard_max, soft_max, soft_seconds } = limit;
    format!("normal {hard_max} {soft_max} {soft_seconds}")
}

/// `class hard soft seconds`, for one class or several. Those that there are no clients of are
/// checked and otherwise ignored.
fn parse_limit(text: &[u8]) -> Result<Accepted, String> {
    let words: Vec<&[u8]> = match text {
        [] => Vec::new(),
        text => text.split(|byte| *byte == b' ').collect(),
    };
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut normal = None;
    for class in words.chunks_exact(4) {
        let bytes = [parse_memory(class[1]), parse_memory(class[2])];
        let seconds = parse_integer(class[3]).and_then(|seconds| u64::try_from(seconds).ok());
        let ([Some(hard_max), Some(soft_max)], Some(soft_seconds)) = (bytes, seconds) else {
            return Err(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into(),
            );
        };
        match class[0].to_ascii_lowercase().as_slice() {
            b"normal" => normal = Some(OutputLimit { hard_max, soft_max, soft_seconds }),
            b"slave" | b"replica" | b"pubsub" => {}
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        }
    }
    accepted(move |node| {
        if let Some(limit) = normal {
            node.adjustable.set_output_limit(limit);
        }
    })
}

/// A number of bytes, or percents of `maxmemory`, which is not limited: neither are those.
fn parse_clients_limit(text: &[u8]) -> Result<Accepted, String> {
    let percents = text.strip_suffix(b"%").map(|number| parse_integer(number).filter(|n| *n >= 0));
    let bytes = match percents {
        Some(Some(101..)) => return Err("percentage argument must be less or equal to 100".into()),
        Some(percents) => percents.map(|_| 0),
        None => parse_memory(text),
    };
    let bytes = bytes.ok_or("argument must be a memory or percent value")?;
    accepted(move |node| node.adjustable.set_clients_output_max(bytes))
}

fn parse_command_bytes(text: &[u8]) -> Result<Accepted, String> {
    let bytes = parse_memory(text).ok_or("argument must be a memory value")?;
    accepted(move |node| node.adjustable.set_command_bytes_max(bytes))
}

fn parse_movement_pace(text: &[u8]) -> Result<Accepted, String> {
    let (least, most) =
        (limits::MOVEMENT_BYTES_PER_SECOND_MIN, limits::MOVEMENT_BYTES_PER_SECOND_MAX);
    let bytes = parse_memory(text).filter(|bytes| (least..=most).contains(bytes));
    let bytes =
        bytes.ok_or_else(|| format!("argument must be between {least} and {most} bytes"))?;
    accepted(move |node| node.adjustable.set_movement_bytes_per_second(bytes))
}

/// A number of bytes, with a unit as Redis has them.
fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = u64::try_from(parse_integer(&text[..digits])?).ok()?;
    let unit = match text[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Clients must never take the last descriptor.
fn check_maxclients(node: &Node, count: i64) -> Result<Accepted, String> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    match descriptors::clients_max(&node.settings, node.members()) {
        Some(most) if u64::from(count) > most => Err(format!(
            "The operating system is not able to handle the specified number of clients, try with \
             {most}"
        )),
        _ => accepted(move |node| node.adjustable.set_maxclients(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_has_two_rows() {
        let mut names: Vec<_> = PARAMETERS.iter().map(|row| &row.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
