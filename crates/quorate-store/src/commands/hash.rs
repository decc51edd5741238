//! Hashes.

use quorate_proto::{limits::COUNTED_REPLY_LENGTH_MAX, resp::Command};

use super::{
    CommandError, Family, LISTPACK_VALUE_MAX, ObjectFamily, Outcome, Recreate,
    counter::{INFINITE, integer_of},
    walk::{MemberScan, cursor, reply_empty},
};
use crate::{
    arguments::{ReplyRoom, integer, is_word, number, random_count},
    cell::{Contribution, Element},
    decimal::Decimal,
    execution::{Change, Execution},
    hash::Hash,
    key::Key,
    number::Number,
    part::Body,
    state::{Kind, State},
};

/// Redis's limit for hashes in their compact encoding.
const LISTPACK_ENTRIES_MAX: usize = 512;

pub(super) const FAMILY: Family = Family {
    handlers: HANDLERS,
    object: Some(ObjectFamily { kind: Kind::Hash, encoding, recreate: Recreate::Elements("HSET") }),
};

const HANDLERS: super::Handlers = &[
    ("hset", hset),
    ("hmset", hmset),
    ("hsetnx", hsetnx),
    ("hget", hget),
    ("hmget", hmget),
    ("hgetall", hgetall),
    ("hkeys", hkeys),
    ("hvals", hvals),
    ("hdel", hdel),
    ("hexists", hexists),
    ("hlen", hlen),
    ("hstrlen", hstrlen),
    ("hincrby", hincrby),
    ("hincrbyfloat", hincrbyfloat),
    ("hrandfield", hrandfield),
    ("hscan", hscan),
];

/// `HSET key field value...`: number of new fields.
fn hset(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let added = set_fields(execution, command)?;
    execution.reply.integer(added as i64);
    Ok(())
}

/// `HMSET key field value...`
fn hmset(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    set_fields(execution, command)?;
    execution.reply.ok();
    Ok(())
}

fn put(change: &mut Change<'_>, name: &[u8], value: &[u8]) {
    change.put(Kind::Hash, name, |stamp| Body::Bytes(stamp, value));
}

fn set_fields(execution: &mut Execution<'_>, command: &Command) -> Result<usize, CommandError> {
    let keys = &mut execution.keys;
    if !command.len().is_multiple_of(2) {
        return Err(CommandError::arity(command));
    }
    let mut key = keys.find(command.arg(1));
    let before = key.read().hash()?.map_or(0, Hash::len);
    key.apply(|change| {
        for at in (2..command.len()).step_by(2) {
            put(change, command.arg(at), command.arg(at + 1));
        }
    });
    let after = key.read().hash()?.map_or(0, Hash::len);
    Ok(after.saturating_sub(before))
}

/// `HSETNX key field value`
fn hsetnx(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (mut key, name) = (keys.find(command.arg(1)), command.arg(2));
    let absent = key.read().hash()?.is_none_or(|hash| hash.get(name).is_none());
    if absent {
        key.apply(|change| put(change, name, command.arg(3)));
    }
    reply.integer(i64::from(absent));
    Ok(())
}

/// `HGET key field`
fn hget(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let hash = keys.read(command.arg(1)).hash()?;
    let value = hash.and_then(|hash| hash.get(command.arg(2))).and_then(|field| field.visible());
    reply.optional(value.as_deref());
    Ok(())
}

/// `HMGET key field...`
fn hmget(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let hash = keys.read(command.arg(1)).hash()?;
    let start = reply.position();
    reply.array(command.len() - 2);
    for name in command.args().skip(2) {
        let value = hash.and_then(|hash| hash.get(name)).and_then(|field| field.visible());
        reply.optional(value.as_deref());
        // One field may be asked for many times.
        if reply.position() - start > COUNTED_REPLY_LENGTH_MAX {
            return Err(CommandError::ReplyTooLong);
        }
    }
    Ok(())
}

/// `HGETALL key`
fn hgetall(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let hash = keys.read(command.arg(1)).hash()?;
    reply.map(hash.map_or(0, Hash::len));
    for (name, field) in hash.into_iter().flat_map(Hash::iter) {
        reply.bulk(name);
        reply.optional(field.visible().as_deref());
    }
    Ok(())
}

/// `HKEYS key`
fn hkeys(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let hash = keys.read(command.arg(1)).hash()?;
    reply.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(name, _)| reply.bulk(name));
    Ok(())
}

/// `HVALS key`
fn hvals(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let hash = keys.read(command.arg(1)).hash()?;
    reply.array(hash.map_or(0, Hash::len));
    let fields = hash.into_iter().flat_map(Hash::iter);
    fields.for_each(|(_, field)| reply.optional(field.visible().as_deref()));
    Ok(())
}

/// `HDEL key field...`: number of fields removed.
fn hdel(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let before = key.read().hash()?.map_or(0, Hash::len);
    if key.shows_or_is_removed() {
        key.apply(|change| {
            command.args().skip(2).for_each(|name| change.remove(Kind::Hash, name));
        });
    }
    let after = key.read().hash()?.map_or(0, Hash::len);
    reply.integer((before - after) as i64);
    Ok(())
}

/// `HEXISTS key field`
fn hexists(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let hash = execution.keys.read(command.arg(1)).hash()?;
    let exists = hash.is_some_and(|hash| hash.get(command.arg(2)).is_some());
    execution.reply.integer(i64::from(exists));
    Ok(())
}

/// `HLEN key`
fn hlen(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let length = execution.keys.read(command.arg(1)).hash()?.map_or(0, Hash::len);
    execution.reply.integer(length as i64);
    Ok(())
}

/// `HSTRLEN key field`
fn hstrlen(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let hash = execution.keys.read(command.arg(1)).hash()?;
    let value = hash.and_then(|hash| hash.get(command.arg(2))).and_then(|field| field.visible());
    let length = value.map_or(0, |value| value.len());
    execution.reply.integer(length as i64);
    Ok(())
}

/// `HINCRBY key field amount`
fn hincrby(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let name = command.arg(2);
    let amount = integer(command.arg(3))?;
    let mut key = keys.find(command.arg(1));
    let stamp = key.stamp();
    let cell = key.read().hash()?.and_then(|hash| hash.get(name)).unwrap_or(Element::NONE);
    let old = integer_of(cell).ok_or(CommandError::Text("hash value is not an integer"))?;
    let sum = old.checked_add(amount).ok_or(CommandError::Overflow)?;
    let exact = |integer| Number::Exact(Decimal::from_integer(integer));
    let contribution = cell.increment(exact(amount), exact(sum), stamp);
    write(&mut key, name, contribution, exact(sum));
    reply.integer(sum);
    Ok(())
}

/// `HINCRBYFLOAT key field amount`
fn hincrbyfloat(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let name = command.arg(2);
    let amount = number(command.arg(3))?;
    if amount == Number::Infinite {
        return Err(CommandError::Text("value is NaN or Infinity"));
    }
    let mut key = keys.find(command.arg(1));
    let stamp = key.stamp();
    let cell = key.read().hash()?.and_then(|hash| hash.get(name)).unwrap_or(Element::NONE);
    let old = cell.number().ok_or(CommandError::Text("hash value is not a float"))?;
    let sum = old.checked_add(amount).ok_or(INFINITE)?;
    let contribution = cell.increment(amount, sum, stamp);
    write(&mut key, name, contribution, sum);
    reply.text(&sum.to_string());
    Ok(())
}

/// Writes what this origin has added to a field, or its sum where that is beyond exact decimals.
fn write(key: &mut Key<'_, '_>, name: &[u8], contribution: Option<Contribution>, sum: Number) {
    key.apply(|change| match contribution {
        Some(contribution) => change.add(Kind::Hash, name, contribution),
        None => put(change, name, sum.to_string().as_bytes()),
    });
}

/// `HRANDFIELD key [count [WITHVALUES]]`
fn hrandfield(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let count = command.get(2).map(random_count).transpose()?;
    let with_values = match command.get(3) {
        None => false,
        Some(word) if is_word(word, "WITHVALUES") && command.len() == 4 => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if with_values && count.is_some_and(|count| count.unsigned_abs() > i64::MAX as u64 / 2) {
        return Err(CommandError::Text("value is out of range"));
    }
    let mut key = keys.fetch(command.arg(1));
    let length = key.read().hash()?.map_or(0, Hash::len);
    let chosen = key.choose(length, count.unwrap_or(1));
    let hash = key.read().hash()?;
    let number = chosen.len();
    let mut fields = chosen.filter_map(|index| hash?.at(index));
    let Some(count) = count else {
        reply.optional(fields.next().map(|(name, _)| name));
        return Ok(());
    };
    let mut room = ReplyRoom::new(count, number)?;
    let nested = with_values && reply.is_resp3();
    reply.array(if with_values && !nested { 2 * number } else { number });
    for (name, field) in fields {
        if nested {
            reply.array(2);
        }
        room.take(name)?;
        reply.bulk(name);
        if with_values {
            let value = field.visible().unwrap_or_default();
            room.take(&value)?;
            reply.bulk(&value);
        }
    }
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`
fn hscan(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let cursor = cursor(command)?;
    let Some(hash) = keys.read(command.arg(1)).hash()? else {
        reply_empty(reply);
        return Ok(());
    };
    let scan = MemberScan::parse(cursor, command)?;
    let (chunk, next) = scan.chunk(hash.len(), hash.iter(), |(name, _)| name);
    reply.array(2);
    reply.text(&next.to_string());
    reply.array(2 * chunk.len());
    for (name, field) in chunk {
        reply.bulk(name);
        reply.optional(field.visible().as_deref());
    }
    Ok(())
}

/// The encoding that Redis 7.0 would choose with its default settings.
fn encoding(state: State<'_>) -> &'static str {
    let fits = |(name, field): (&[u8], Element<'_, &[u8]>)| {
        let length = field.visible().map_or(0, |value| value.len());
        name.len().max(length) <= LISTPACK_VALUE_MAX
    };
    let small =
        state.hash().is_none_or(|hash| hash.len() <= LISTPACK_ENTRIES_MAX && hash.iter().all(fits));
    if small { "listpack" } else { "hashtable" }
}
