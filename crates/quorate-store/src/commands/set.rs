//! Sets.

use quorate_proto::resp::{Command, parse_integer};

use super::{
    CommandError, Family, ObjectFamily, Outcome, Recreate,
    bounds::check_elements,
    walk::{MemberScan, cursor, reply_empty},
};
use crate::{
    algebra,
    arguments::{ReplyRoom, integer, is_word, random_count},
    execution::{Change, Execution, Keys},
    part::Body,
    set::Set,
    state::{Kind, State},
};

/// Redis's limit for sets of integers in their compact encoding.
const INTSET_ENTRIES_MAX: usize = 512;

pub(super) const FAMILY: Family = Family {
    handlers: HANDLERS,
    object: Some(ObjectFamily { kind: Kind::Set, encoding, recreate: Recreate::Elements("SADD") }),
};

const HANDLERS: super::Handlers = &[
    ("sadd", sadd),
    ("srem", srem),
    ("smembers", smembers),
    ("sismember", sismember),
    ("smismember", smismember),
    ("scard", scard),
    ("spop", spop),
    ("srandmember", srandmember),
    ("smove", smove),
    ("sunion", |execution, command| combine(execution, command, algebra::union)),
    ("sinter", |execution, command| combine(execution, command, intersection)),
    ("sdiff", |execution, command| combine(execution, command, algebra::difference)),
    ("sunionstore", |execution, command| store(execution, command, algebra::union)),
    ("sinterstore", |execution, command| store(execution, command, intersection)),
    ("sdiffstore", |execution, command| store(execution, command, algebra::difference)),
    ("sintercard", sintercard),
    ("sscan", sscan),
    ("quorate.setstore", setstore),
];

fn put(change: &mut Change<'_>, member: &[u8]) {
    change.put(Kind::Set, member, Body::Member);
}

fn contains(set: &Set, member: &[u8]) -> bool {
    set.get(member).is_some()
}

fn members_of(set: &Set) -> impl Iterator<Item = &[u8]> {
    set.iter().map(|(member, _)| member)
}

/// `SADD key member...`: number of new members.
fn sadd(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let before = key.read().set()?.map_or(0, Set::len);
    key.apply(|change| command.args().skip(2).for_each(|member| put(change, member)));
    let after = key.read().set()?.map_or(0, Set::len);
    reply.integer(after.saturating_sub(before) as i64);
    Ok(())
}

/// `SREM key member...`: number of members removed.
fn srem(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let before = key.read().set()?.map_or(0, Set::len);
    if key.shows_or_is_removed() {
        let members = command.args().skip(2);
        key.apply(|change| members.for_each(|member| change.remove(Kind::Set, member)));
    }
    let after = key.read().set()?.map_or(0, Set::len);
    reply.integer((before - after) as i64);
    Ok(())
}

/// `SMEMBERS key`
fn smembers(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let set = keys.read(command.arg(1)).set()?;
    reply.set(set.map_or(0, Set::len));
    set.into_iter().flat_map(members_of).for_each(|member| reply.bulk(member));
    Ok(())
}

/// `SISMEMBER key member`
fn sismember(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let set = execution.keys.read(command.arg(1)).set()?;
    let found = set.is_some_and(|set| contains(set, command.arg(2)));
    execution.reply.integer(i64::from(found));
    Ok(())
}

/// `SMISMEMBER key member...`
fn smismember(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let set = keys.read(command.arg(1)).set()?;
    reply.array(command.len() - 2);
    for member in command.args().skip(2) {
        reply.integer(i64::from(set.is_some_and(|set| contains(set, member))));
    }
    Ok(())
}

/// `SCARD key`
fn scard(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let length = execution.keys.read(command.arg(1)).set()?.map_or(0, Set::len);
    execution.reply.integer(length as i64);
    Ok(())
}

/// `SPOP key [count]`: the executor chooses, the effect names what it chose.
fn spop(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    if command.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = match command.get(2) {
        None => None,
        Some(text) => {
            let count = integer(text).ok().filter(|count| *count >= 0);
            Some(count.ok_or(CommandError::Text("value is out of range, must be positive"))?)
        }
    };
    let mut key = keys.find(command.arg(1));
    let length = key.read().set()?.map_or(0, Set::len);
    let chosen = key.choose(length, count.unwrap_or(1));
    let set = key.read().set()?;
    let members = chosen.filter_map(|index| set?.at(index));
    let members: Vec<Vec<u8>> = members.map(|(member, _)| member.to_vec()).collect();
    check_elements(members.iter().map(Vec::as_slice))?;
    if count.is_some() {
        reply.set(members.len());
        members.iter().for_each(|member| reply.bulk(member));
    } else {
        reply.optional(members.first().map(Vec::as_slice));
    }
    if !members.is_empty() {
        key.apply(|change| members.iter().for_each(|member| change.remove(Kind::Set, member)));
    }
    Ok(())
}

/// `SRANDMEMBER key [count]`
fn srandmember(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    if command.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = command.get(2).map(random_count).transpose()?;
    let mut key = keys.fetch(command.arg(1));
    let length = key.read().set()?.map_or(0, Set::len);
    let chosen = key.choose(length, count.unwrap_or(1));
    let set = key.read().set()?;
    let number = chosen.len();
    let mut members = chosen.filter_map(|index| set?.at(index)).map(|(member, _)| member);
    let Some(count) = count else {
        reply.optional(members.next());
        return Ok(());
    };
    let mut room = ReplyRoom::new(count, number)?;
    reply.array(number);
    for member in members {
        room.take(member)?;
        reply.bulk(member);
    }
    Ok(())
}

/// `SMOVE source destination member`
fn smove(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (source, destination, member) = (command.arg(1), command.arg(2), command.arg(3));
    let Some(set) = keys.peek(source).set()? else {
        reply.integer(0);
        return Ok(());
    };
    let found = contains(set, member);
    keys.peek(destination).set()?;
    if found && source != destination {
        keys.apply(source, |change| change.remove(Kind::Set, member));
        keys.apply(destination, |change| put(change, member));
    }
    reply.integer(i64::from(found));
    Ok(())
}

type Combine = for<'a> fn(&[Vec<&'a [u8]>]) -> Vec<&'a [u8]>;

fn intersection<'a>(sets: &[Vec<&'a [u8]>]) -> Vec<&'a [u8]> {
    algebra::intersection(sets, 0)
}

fn combined<'a, 'k>(
    keys: &'k Keys<'_>,
    sources: impl Iterator<Item = &'a [u8]>,
    combine: Combine,
) -> Result<Vec<&'k [u8]>, CommandError> {
    let mut sets = Vec::new();
    for key in sources {
        let members = keys.read(key).set()?.into_iter().flat_map(members_of);
        sets.push(members.collect());
    }
    Ok(combine(&sets))
}

/// `SUNION key...`, `SINTER key...`, `SDIFF key...`
fn combine(execution: &mut Execution<'_>, command: &Command, combine: Combine) -> Outcome {
    let Execution { keys, reply } = execution;
    let members = combined(keys, command.args().skip(1), combine)?;
    reply.set(members.len());
    members.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

/// `SUNIONSTORE destination key...` and its siblings.
fn store(execution: &mut Execution<'_>, command: &Command, combine: Combine) -> Outcome {
    let Execution { keys, reply } = execution;
    let members = combined(keys, command.args().skip(2), combine)?;
    // They may be those of the key that is replaced.
    let members: Vec<Vec<u8>> = members.into_iter().map(<[u8]>::to_vec).collect();
    replace_set(keys, command.arg(1), &members)?;
    reply.integer(members.len() as i64);
    Ok(())
}

/// `quorate.setstore destination member...`
fn setstore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let members: Vec<&[u8]> = command.args().skip(2).collect();
    replace_set(keys, command.arg(1), &members)?;
    reply.integer(command.len() as i64 - 2);
    Ok(())
}

fn replace_set(keys: &mut Keys<'_>, key: &[u8], members: &[impl AsRef<[u8]>]) -> Outcome {
    check_elements(members.iter().map(AsRef::as_ref))?;
    keys.apply(key, |change| {
        change.clear();
        members.iter().for_each(|member| put(change, member.as_ref()));
    });
    Ok(())
}

/// `SINTERCARD numkeys key... [LIMIT limit]`
fn sintercard(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let count = integer(command.arg(1)).ok().and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0);
    let count = count.ok_or(CommandError::Text("numkeys should be greater than 0"))?;
    if count > command.len() - 2 {
        return Err(CommandError::Text("Number of keys can't be greater than number of args"));
    }
    let mut limit = 0;
    let mut at = 2 + count;
    while let Some(word) = command.get(at) {
        let value = command.get(at + 1).filter(|_| is_word(word, "LIMIT"));
        let value = integer(value.ok_or(CommandError::Syntax)?).ok();
        limit = value
            .and_then(|value| usize::try_from(value).ok())
            .ok_or(CommandError::Text("LIMIT can't be negative"))?;
        at += 2;
    }
    let mut sets: Vec<Vec<&[u8]>> = Vec::new();
    for key in command.args().skip(2).take(count) {
        sets.push(keys.read(key).set()?.into_iter().flat_map(members_of).collect());
    }
    reply.integer(algebra::intersection(&sets, limit).len() as i64);
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
fn sscan(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let cursor = cursor(command)?;
    let Some(set) = keys.read(command.arg(1)).set()? else {
        reply_empty(reply);
        return Ok(());
    };
    let scan = MemberScan::parse(cursor, command)?;
    let (chunk, next) = scan.chunk(set.len(), members_of(set), |member| member);
    reply.array(2);
    reply.text(&next.to_string());
    reply.array(chunk.len());
    chunk.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

/// The encoding that Redis 7.0 would choose with its default settings.
fn encoding(state: State<'_>) -> &'static str {
    let integers = state.set().is_none_or(|set| {
        set.len() <= INTSET_ENTRIES_MAX
            && members_of(set).all(|member| parse_integer(member).is_some())
    });
    if integers { "intset" } else { "hashtable" }
}
