//! The replies of the `COMMAND` family.

use alloc::{format, vec::Vec};

use super::{Flags, Group, Routing, Spec, Subcommand, all, lookup};
use crate::resp::ReplyWriter;

fn public() -> impl Iterator<Item = &'static Spec> {
    all().iter().filter(|spec| !spec.is_internal())
}

/// `COMMAND COUNT`
pub fn write_count(reply: &mut ReplyWriter<'_>) {
    reply.integer(public().count() as i64);
}

/// `COMMAND LIST`
pub fn write_list(reply: &mut ReplyWriter<'_>) {
    reply.array(public().count());
    public().for_each(|spec| reply.text(spec.name));
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
        match lookup(name).filter(|spec| !spec.is_internal()) {
            Some(spec) => write_row(reply, spec),
            None => reply.null(),
        }
    }
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
    let (first, last, step) = spec.key_positions;
    [first, last, step].into_iter().for_each(|position| reply.integer(i64::from(position)));
    write_categories(reply, spec);
    reply.set(0);
    write_key_specification(reply, spec);
    reply.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|row| write_subcommand(reply, spec, row));
}

fn write_flags(reply: &mut ReplyWriter<'_>, flags: Flags) {
    let names = || Flags::NAMES.iter().filter(|(flag, _)| flags.has(*flag));
    reply.set(names().count());
    names().for_each(|(_, name)| reply.simple(name));
}

fn write_categories(reply: &mut ReplyWriter<'_>, spec: &Spec) {
    let keyspace = spec.group == Group::Generic || spec.routing == Routing::Keyspace;
    let fast = spec.flags.has(Flags::FAST);
    let categories = [
        (keyspace && spec.subcommands.is_empty(), "@keyspace"),
        (spec.flags.has(Flags::READONLY), "@read"),
        (spec.flags.has(Flags::WRITE), "@write"),
        (spec.group == Group::Set, "@set"),
        (spec.group == Group::Hash, "@hash"),
        (spec.group == Group::String, "@string"),
        (fast, "@fast"),
        (!fast, "@slow"),
        (spec.flags.has(Flags::DANGEROUS), "@dangerous"),
        (spec.group == Group::Connection && spec.subcommands.is_empty(), "@connection"),
    ];
    reply.set(categories.iter().filter(|(applies, _)| *applies).count());
    for (_, name) in categories.iter().filter(|(applies, _)| *applies) {
        reply.simple(name);
    }
}

fn write_key_specification(reply: &mut ReplyWriter<'_>, spec: &Spec) {
    let (first, last, step) = spec.key_positions;
    if first == 0 {
        return reply.set(0);
    }
    reply.set(1);
    reply.map(3);
    reply.text("flags");
    let access = if spec.flags.has(Flags::WRITE) { ["RW", "update"] } else { ["RO", "access"] };
    reply.set(2);
    access.into_iter().for_each(|flag| reply.simple(flag));
    reply.text("begin_search");
    reply.map(2);
    reply.text("type");
    reply.text("index");
    reply.text("spec");
    reply.map(1);
    reply.text("index");
    reply.integer(i64::from(first));
    reply.text("find_keys");
    reply.map(2);
    reply.text("type");
    reply.text("range");
    reply.text("spec");
    reply.map(3);
    let last_from_first = if last < 0 { last } else { last - first };
    for (name, value) in [("lastkey", last_from_first), ("keystep", step), ("limit", 0)] {
        reply.text(name);
        reply.integer(i64::from(value));
    }
}

fn write_subcommand(reply: &mut ReplyWriter<'_>, spec: &Spec, row: &Subcommand) {
    reply.array(10);
    reply.text(&format!("{}|{}", spec.name, row.name));
    reply.integer(i64::from(row.arity));
    reply.set(0);
    let key = i64::from(spec.name == "object" && row.name != "help") * 2;
    [key, key, key / 2].into_iter().for_each(|position| reply.integer(position));
    reply.set(0);
    reply.set(0);
    reply.set(0);
    reply.array(0);
}
