//! What assigns and removes values of documents.

use quorate_proto::resp::Command;

use super::{CommandError, NO_KEY, NO_ROOT, Outcome, apply, look, path_or_root, topmost, value};
use crate::{
    arguments::is_word,
    execution::{Execution, Keys},
    json::{
        cell::Leaf,
        document::Node,
        edit::{Edits, TooLarge},
        name,
        number::Number,
        path::{Last, Path},
        value::Value,
    },
    key::Shown,
};

const NO_INDEX: CommandError = CommandError::Text("array index out of range");

/// When a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    /// Only where none is.
    New,
    /// Only where one is.
    Existing,
}

impl Condition {
    /// `[NX|XX] [FORMAT format]`
    fn parse(command: &Command) -> Result<Self, CommandError> {
        let mut condition = Self::Always;
        let mut at = 4;
        while let Some(word) = command.get(at) {
            if is_word(word, "NX") && condition == Self::Always {
                condition = Self::New;
            } else if is_word(word, "XX") && condition == Self::Always {
                condition = Self::Existing;
            } else if is_word(word, "FORMAT") {
                at += 1;
                let format = command.get(at).ok_or_else(|| CommandError::arity(command))?;
                if !is_word(format, "JSON") && !is_word(format, "STRING") {
                    return Err(CommandError::Text("wrong format"));
                }
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(condition)
    }
}

/// How a value gets to where it shall be: assigned, or merged into what is there.
type Put = fn(&mut Edits, &[u8], Option<Node<'_>>, &Value) -> Result<(), TooLarge>;

/// What it takes to put a value where a path leads; `None` where it may not, or cannot, be put.
fn put_at(
    shown: Shown<'_>,
    path: &[u8],
    value: &Value,
    condition: Condition,
    put: Put,
) -> Result<Option<Edits>, CommandError> {
    let mut edits = Edits::default();
    let Some((view, path)) = look(shown, path)? else {
        if condition == Condition::Existing {
            return Ok(None);
        }
        if !Path::parse(path).is_ok_and(|path| path.is_root()) {
            return Err(NO_ROOT);
        }
        put(&mut edits, &[], None, value)?;
        return Ok(Some(edits));
    };
    let found = topmost(view.find(&path)?);
    if !found.is_empty() {
        if condition == Condition::New {
            return Ok(None);
        }
        for node in found {
            put(&mut edits, node.name(), Some(node), value)?;
        }
        return Ok(Some(edits));
    }
    if condition == Condition::Existing {
        return Ok(None);
    }
    let parents = view.find_parents(&path);
    let (parents, last) =
        parents.ok_or_else(|| CommandError::Json("Err wrong static path".to_owned()))??;
    let Last::Key(key) = last else { return Err(NO_INDEX) };
    let Some(parent) = parents.first().filter(|parent| parent.leaf() == Leaf::Object) else {
        return Ok(None);
    };
    let mut name = parent.name().to_vec();
    name::push_key(&mut name, key);
    put(&mut edits, &name, None, value)?;
    Ok(Some(edits))
}

/// `JSON.SET key path value [NX|XX] [FORMAT format]`
pub(super) fn set(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let condition = Condition::parse(command)?;
    put(execution, command, condition, Edits::assign)
}

/// `JSON.MERGE key path value`
pub(super) fn merge(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    if command.len() > 4 {
        return Err(CommandError::Syntax);
    }
    put(execution, command, Condition::Always, Edits::merge)
}

fn put(
    execution: &mut Execution<'_>,
    command: &Command,
    condition: Condition,
    how: Put,
) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    // As in RedisJSON the key comes first, and what the value is before where it goes.
    key.read().json()?;
    let value = value(command.arg(3))?;
    match put_at(key.read(), command.arg(2), &value, condition, how)? {
        Some(edits) => {
            apply(&mut key, edits);
            reply.ok();
        }
        None => reply.null(),
    }
    Ok(())
}

/// A key, a path and the text of the value to put there.
type Triple<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// What a `JSON.MSET` of whole triples says, in its order.
fn triples(command: &Command) -> impl Iterator<Item = Triple<'_>> {
    (1..command.len())
        .step_by(3)
        .map(|at| (command.arg(at), command.arg(at + 1), command.arg(at + 2)))
}

/// The error of a `JSON.MSET` of whole triples that no document could take. Whoever sends its triples
/// on their ways asks before: once some are written it is too late to refuse the others.
pub fn check_mset(command: &Command) -> Result<(), String> {
    let check = |(_, path, text): Triple<'_>| {
        Path::parse(path)?;
        value(text).map(drop)
    };
    let refused = triples(command).find_map(|triple| check(triple).err());
    refused.map_or(Ok(()), |error| Err(error.to_string()))
}

/// `JSON.MSET key path value...`: what cannot be put where its path leads is left out. Everything is
/// checked before anything is written.
pub(super) fn mset(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    if command.len() % 3 != 1 {
        return Err(CommandError::arity(command));
    }
    let put = |keys: &Keys<'_>, (key, path, _): &Triple<'_>, value: &Value, how| {
        put_at(keys.peek(key), path, value, Condition::Always, how)
    };
    let mut values = Vec::new();
    for triple in triples(command) {
        // Where a value goes is looked at before what it is.
        put(keys, &triple, &Value::Null, |_, _, _, _| Ok(()))?;
        let value = value(triple.2)?;
        put(keys, &triple, &value, Edits::assign)?;
        values.push(value);
    }
    for (triple, value) in triples(command).zip(&values) {
        // What one of them has written may leave another one no place.
        if let Ok(Some(edits)) = put(keys, &triple, value, Edits::assign) {
            apply(&mut keys.find(triple.0), edits);
        }
    }
    reply.ok();
    Ok(())
}

/// `JSON.DEL key [path]`: number of values removed, those below them not counted.
pub(super) fn delete(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let mut edits = Edits::default();
    let Some((view, path)) = look(key.read(), path_or_root(command, 2))? else {
        reply.integer(0);
        return Ok(());
    };
    let found = topmost(view.find(&path)?);
    let count = found.len();
    if !path.is_root() {
        found.iter().for_each(|node| edits.remove(*node));
    }
    drop(view);
    if path.is_root() && count > 0 {
        key.delete();
    }
    apply(&mut key, edits);
    reply.integer(count as i64);
    Ok(())
}

/// `JSON.CLEAR key [path]`: number of containers emptied and numbers set to zero.
pub(super) fn clear(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let mut edits = Edits::default();
    let mut count = 0;
    let (view, path) = look(key.read(), path_or_root(command, 2))?.ok_or(NO_KEY)?;
    for node in topmost(view.find(&path)?) {
        match node.leaf() {
            Leaf::Object | Leaf::Array if node.children().is_empty() => continue,
            Leaf::Object | Leaf::Array => edits.clear(node)?,
            Leaf::Number(number) if number.to_double() != 0.0 => {
                edits.replace(node, Leaf::Number(Number::ZERO))?;
            }
            _ => continue,
        }
        count += 1;
    }
    drop(view);
    apply(&mut key, edits);
    reply.integer(count);
    Ok(())
}
