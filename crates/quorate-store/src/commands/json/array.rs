//! Arrays of documents.

use quorate_proto::{Stamp, resp::Command};

use super::{
    CommandError, NO_KEY, Outcome, apply, integer, look, no_path, no_such, path_or_root,
    read::wrong_kind,
    render::{self, leading_format},
    reply_changed, value, whole_value,
};
use crate::{
    execution::Execution,
    json::{cell::Leaf, document::Node, edit::Edits, path::Path, value::Value},
};

const NOT_AN_ARRAY: &str = "not an array";

/// The position that an index stands for among so many items. A negative one counts from the end;
/// what is beyond either is the first or the last bound.
fn clamped(index: i64, length: usize) -> usize {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { length.saturating_sub(distance) } else { distance.min(length) }
}

/// Changes each array that the path at argument 2 leads to, and answers its new length.
fn change(
    execution: &mut Execution<'_>,
    command: &Command,
    name: fn(&Path) -> &str,
    edit: impl Fn(&mut Edits, Node<'_>, &[Node<'_>], Stamp) -> Result<usize, CommandError>,
) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let stamp = key.stamp();
    let mut edits = Edits::default();
    let mut lengths: Vec<Option<usize>> = Vec::new();
    let (view, path) = look(key.read(), command.arg(2))?.ok_or(NO_KEY)?;
    for node in view.find(&path)? {
        let is_array = node.leaf() == Leaf::Array;
        let length = is_array.then(|| edit(&mut edits, node, &node.items(), stamp)).transpose()?;
        lengths.push(length);
    }
    drop(view);
    let none = || no_such(name(&path), NOT_AN_ARRAY);
    reply_changed(reply, &path, &lengths, none, |reply, length| reply.integer(*length as i64))?;
    apply(&mut key, edits);
    Ok(())
}

fn values(command: &Command, first: usize) -> Result<Vec<Value>, CommandError> {
    command.args().skip(first).map(value).collect()
}

/// `JSON.ARRAPPEND key path value...`
pub(super) fn append(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let values = values(command, 3)?;
    change(
        execution,
        command,
        |path| &path.given,
        |edits, array, items, stamp| {
            edits.insert(array, items, items.len(), &values, stamp)?;
            Ok(items.len() + values.len())
        },
    )
}

/// `JSON.ARRINSERT key path index value...`
pub(super) fn insert(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let index = integer(command.arg(3))?;
    if command.len() < 5 {
        return Err(CommandError::arity(command));
    }
    let values = values(command, 4)?;
    change(
        execution,
        command,
        |path| &path.text,
        |edits, array, items, stamp| {
            let length = items.len() as i64;
            if index > length || index < -length {
                return Err(CommandError::Text("index out of bounds"));
            }
            edits.insert(array, items, clamped(index, items.len()), &values, stamp)?;
            Ok(items.len() + values.len())
        },
    )
}

/// `JSON.ARRTRIM key path start stop`
pub(super) fn trim(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let start = integer(command.arg(3))?;
    let stop = integer(command.get(4).ok_or_else(|| CommandError::arity(command))?)?;
    change(
        execution,
        command,
        |path| &path.text,
        |edits, _, items, _| {
            let first = clamped(start, items.len());
            // A stop before the array is that of its first item, in RedisJSON: it stays.
            let end = (clamped(stop, items.len()) + 1).min(items.len());
            let kept = first..end.max(first);
            let gone = items.iter().enumerate().filter(|(at, _)| !kept.contains(at));
            gone.for_each(|(_, item)| edits.remove(*item));
            Ok(kept.len())
        },
    )
}

/// `JSON.ARRPOP key [FORMAT format] [path [index]]`: an index beyond the array is that of its first
/// or last item.
pub(super) fn pop(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (shape, at) = leading_format(command, reply)?;
    let index = command.get(at + 1).map_or(-1, |text| integer(text).unwrap_or(-1));
    let mut key = keys.find(command.arg(1));
    let mut edits = Edits::default();
    let found = look(key.read(), path_or_root(command, at))?;
    let (view, path) = found.ok_or(NO_KEY)?;
    let mut popped: Vec<Option<Option<Node<'_>>>> = Vec::new();
    for node in view.find(&path)? {
        let is_array = node.leaf() == Leaf::Array;
        popped.push(is_array.then(|| {
            let items = node.items();
            items.get(clamped(index, items.len()).min(items.len().saturating_sub(1))).copied()
        }));
    }
    popped.iter().flatten().flatten().for_each(|item| edits.remove(*item));
    let none = || no_such(&path.text, NOT_AN_ARRAY);
    reply_changed(reply, &path, &popped, none, |reply, item| match item {
        Some(item) => render::value(reply, *item, shape),
        None => reply.null(),
    })?;
    drop(view);
    apply(&mut key, edits);
    Ok(())
}

/// `JSON.ARRINDEX key path value [start [stop]]`: the first item that is this value.
pub(super) fn index(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let start = command.get(4).map_or(Ok(0), integer)?;
    let stop = command.get(5).map_or(Ok(0), integer)?;
    if command.len() > 6 {
        return Err(CommandError::arity(command));
    }
    let wanted = whole_value(command.arg(3))?;
    let given = command.arg(2);
    let looked = look(keys.read(command.arg(1)), given)?;
    let (view, path) = looked.ok_or_else(|| no_path(&String::from_utf8_lossy(given)))?;
    let found = view.find(&path)?;
    let search = |node: &Node<'_>| {
        (node.leaf() == Leaf::Array).then(|| {
            let items = node.items();
            // A start behind the array is that of its last item, in RedisJSON.
            let first = clamped(start, items.len()).min(items.len().saturating_sub(1));
            // Zero, the default, stands for the end.
            let end = if stop == 0 { items.len() } else { clamped(stop, items.len()) };
            let mut positions = first..end;
            positions.find(|at| wanted.is(items[*at])).map_or(-1, |at| at as i64)
        })
    };
    if path.is_legacy {
        let node = found.first().ok_or_else(|| no_path(&path.text))?;
        reply.integer(search(node).ok_or_else(|| wrong_kind("array", node.leaf()))?);
        return Ok(());
    }
    reply.array(found.len());
    for node in &found {
        match search(node) {
            Some(position) => reply.integer(position),
            None => reply.null(),
        }
    }
    Ok(())
}

/// `JSON.ARRLEN key [path]`
pub(super) fn length(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let given = path_or_root(command, 2);
    let Some((view, path)) = look(keys.read(command.arg(1)), given)? else {
        return if Path::is_legacy_text(given) {
            reply.null();
            Ok(())
        } else {
            Err(NO_KEY)
        };
    };
    let found = view.find(&path)?;
    let length = |node: &Node<'_>| (node.leaf() == Leaf::Array).then(|| node.items().len());
    if path.is_legacy {
        let node = found.first().ok_or_else(|| no_path(&path.given))?;
        let length = length(node).ok_or_else(|| no_such(&path.given, NOT_AN_ARRAY))?;
        reply.integer(length as i64);
        return Ok(());
    }
    reply.array(found.len());
    for node in &found {
        match length(node) {
            Some(length) => reply.integer(length as i64),
            None => reply.null(),
        }
    }
    Ok(())
}
