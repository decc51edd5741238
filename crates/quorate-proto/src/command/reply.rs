//! The replies of the `COMMAND` family.

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};
use core::iter;

use super::{Access, Flags, Group, Keys, Routing, Spec, Subcommand, all, keys::Find, lookup};
use crate::resp::ReplyWriter;

fn public() -> impl Iterator<Item = &'static Spec> {
    all().iter().filter(|spec| !spec.is_internal())
}

/// `COMMAND COUNT`
pub fn write_count(reply: &mut ReplyWriter<'_>) {
    reply.integer(public().count() as i64);
}

/// Which commands `COMMAND LIST` shows.
#[derive(Clone, Copy)]
pub enum ListFilter<'a> {
    /// All, with the subcommands of containers.
    All,
    /// Those of a module. There are no modules.
    Module,
    /// Those of a category, named without `@`. A container stands for its subcommands.
    Category(&'a [u8]),
    /// Those whose name this accepts, subcommands included.
    Name(&'a dyn Fn(&str) -> bool),
}

/// `COMMAND LIST`
pub fn write_list(reply: &mut ReplyWriter<'_>, filter: ListFilter<'_>) {
    let mut names: Vec<String> = Vec::new();
    for spec in public() {
        let own = iter::once(spec.name.to_owned());
        let all =
            own.chain(spec.subcommands.iter().map(|row| format!("{}|{}", spec.name, row.name)));
        match filter {
            ListFilter::All => names.extend(all),
            ListFilter::Module => {}
            ListFilter::Category(name) if is_of_category(spec, name) => {
                names.push(spec.name.to_owned())
            }
            ListFilter::Category(_) => {}
            ListFilter::Name(accepts) => names.extend(all.filter(|name| accepts(name))),
        }
    }
    reply.array(names.len());
    names.iter().for_each(|name| reply.text(name));
}

/// `COMMAND` and `COMMAND INFO`: details of the named commands, of all when none is named.
pub fn write_info(reply: &mut ReplyWriter<'_>, names: &[&[u8]]) {
    if names.is_empty() {
        reply.array(public().count());
        public().for_each(|spec| write_row(reply, spec));
        return;
    }
    reply.array(names.len());
    for name in names {
        match named(name) {
            Some((spec, None)) => write_row(reply, spec),
            Some((spec, Some(row))) => write_subcommand(reply, spec, row),
            None => reply.null(),
        }
    }
}

/// The command of a name in any case, or the subcommand of `container|subcommand`.
fn named(name: &[u8]) -> Option<(&'static Spec, Option<&'static Subcommand>)> {
    let mut words = name.splitn(2, |byte| *byte == b'|');
    let spec = lookup(words.next()?).filter(|spec| !spec.is_internal())?;
    let Some(word) = words.next() else { return Some((spec, None)) };
    let named = |row: &&Subcommand| word.eq_ignore_ascii_case(row.name.as_bytes());
    Some((spec, Some(spec.subcommands.iter().find(named)?)))
}

/// `COMMAND DOCS`: documentation of the named commands, of all when none is named.
pub fn write_docs(reply: &mut ReplyWriter<'_>, names: &[&[u8]]) {
    let specs: Vec<&Spec> = if names.is_empty() {
        public().collect()
    } else {
        names.iter().filter_map(|name| lookup(name)).filter(|spec| !spec.is_internal()).collect()
    };
    reply.map(specs.len());
    for spec in specs {
        reply.text(spec.name);
        reply.map(if spec.subcommands.is_empty() { 4 } else { 5 });
        for (name, value) in [
            ("summary", spec.summary),
            ("since", spec.since),
            ("group", spec.group.name()),
            ("complexity", spec.complexity),
        ] {
            reply.text(name);
            reply.text(value);
        }
        if !spec.subcommands.is_empty() {
            reply.text("subcommands");
            reply.map(spec.subcommands.len());
            for row in spec.subcommands {
                reply.text(&format!("{}|{}", spec.name, row.name));
                reply.map(2);
                reply.text("summary");
                reply.text(row.summary);
                reply.text("group");
                reply.text(spec.group.name());
            }
        }
    }
}

fn write_row(reply: &mut ReplyWriter<'_>, spec: &Spec) {
    reply.array(10);
    reply.text(spec.name);
    reply.integer(i64::from(spec.arity));
    write_flags(reply, spec.flags);
    write_positions(reply, spec.keys);
    write_categories(reply, spec);
    reply.set(0);
    write_key_specifications(reply, spec.keys);
    reply.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|row| write_subcommand(reply, spec, row));
}

fn write_flags(reply: &mut ReplyWriter<'_>, flags: Flags) {
    let names = || Flags::NAMES.iter().filter(|(flag, _)| flags.has(*flag));
    reply.set(names().count());
    names().for_each(|(_, name)| reply.simple(name));
}

/// The names of the categories of commands, without `@`.
pub const CATEGORIES: [&str; 13] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "hash",
    "string",
    "admin",
    "fast",
    "slow",
    "dangerous",
    "connection",
    "transaction",
];

/// The commands of a category; `None` when there is no such category.
pub fn of_category(name: &[u8]) -> Option<impl Iterator<Item = &'static Spec>> {
    let known = CATEGORIES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    known.then(|| public().filter(move |spec| is_of_category(spec, name)))
}

fn is_of_category(spec: &Spec, name: &[u8]) -> bool {
    categories(spec).any(|category| name.eq_ignore_ascii_case(category.as_bytes()))
}

fn categories(spec: &Spec) -> impl Iterator<Item = &'static str> {
    let keyspace = spec.group == Group::Generic || spec.routing == Routing::Keyspace;
    let fast = spec.flags.has(Flags::FAST);
    let applies = [
        keyspace && spec.subcommands.is_empty(),
        spec.flags.has(Flags::READONLY),
        spec.flags.has(Flags::WRITE),
        spec.group == Group::Set,
        spec.group == Group::SortedSet,
        spec.group == Group::Hash,
        spec.group == Group::String,
        spec.flags.has(Flags::ADMIN),
        fast,
        !fast,
        spec.flags.has(Flags::DANGEROUS),
        spec.group == Group::Connection && spec.subcommands.is_empty(),
        spec.group == Group::Transactions,
    ];
    CATEGORIES.into_iter().zip(applies).filter(|(_, applies)| *applies).map(|(name, _)| name)
}

fn write_categories(reply: &mut ReplyWriter<'_>, spec: &Spec) {
    reply.set(categories(spec).count());
    categories(spec).for_each(|name| reply.simple(&format!("@{name}")));
}

/// Each key of a command with how the command uses it.
pub fn write_keys_and_flags(reply: &mut ReplyWriter<'_>, keys: &[(&[u8], Access)]) {
    reply.array(keys.len());
    for (key, access) in keys {
        reply.array(2);
        reply.bulk(key);
        write_access(reply, *access);
    }
}

fn write_access(reply: &mut ReplyWriter<'_>, access: Access) {
    reply.set(access.names().len());
    access.names().iter().for_each(|flag| reply.simple(flag));
}

fn write_positions(reply: &mut ReplyWriter<'_>, keys: Keys) {
    let (first, last, step) = keys.positions();
    [first, last, step].into_iter().for_each(|position| reply.integer(position));
}

fn write_key_specifications(reply: &mut ReplyWriter<'_>, keys: Keys) {
    reply.set(keys.specs().count());
    for spec in keys.specs() {
        reply.map(3);
        reply.text("flags");
        write_access(reply, spec.access);
        reply.text("begin_search");
        write_search(reply, "index", &[("index", i64::from(spec.first))]);
        reply.text("find_keys");
        match spec.find {
            Find::Range { last, step } => {
                let first = i64::from(spec.first);
                let last = i64::from(last);
                let from_first = if last < 0 { last } else { last - first };
                let step = i64::from(step);
                let fields = [("lastkey", from_first), ("keystep", step), ("limit", 0)];
                write_search(reply, "range", &fields);
            }
            Find::Counted => {
                let fields = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
                write_search(reply, "keynum", &fields);
            }
        }
    }
}

fn write_search(reply: &mut ReplyWriter<'_>, kind: &str, fields: &[(&str, i64)]) {
    reply.map(2);
    reply.text("type");
    reply.text(kind);
    reply.text("spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.text(name);
        reply.integer(*value);
    }
}

fn write_subcommand(reply: &mut ReplyWriter<'_>, spec: &Spec, row: &Subcommand) {
    reply.array(10);
    reply.text(&format!("{}|{}", spec.name, row.name));
    reply.integer(i64::from(row.arity));
    reply.set(0);
    write_positions(reply, row.keys);
    reply.set(0);
    reply.set(0);
    write_key_specifications(reply, row.keys);
    reply.array(0);
}
