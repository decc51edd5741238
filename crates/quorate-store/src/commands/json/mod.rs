//! JSON documents, with the commands, replies and errors of RedisJSON 2.8.

mod array;
mod read;
mod render;
mod scalar;
mod work;
mod write;

pub(crate) use work::document_work;
pub use write::check_mset;

use quorate_proto::resp::{Command, ReplyWriter};

use super::{CommandError, Family, ObjectFamily, Outcome, Recreate};
use crate::{
    json::{
        document::Node,
        edit::{Edits, TooLarge},
        path::{Path, PathError, TooMany},
        text::text_of,
        value::Value,
        view::View,
    },
    key::{Key, Shown},
    state::{Kind, State},
};

pub(super) const FAMILY: Family = Family {
    handlers: HANDLERS,
    object: Some(ObjectFamily {
        kind: Kind::Json,
        encoding: |_| "raw",
        recreate: Recreate::Whole("JSON.SET", recreation),
    }),
};

const HANDLERS: super::Handlers = &[
    ("json.set", write::set),
    ("json.mset", write::mset),
    ("json.merge", write::merge),
    ("json.del", write::delete),
    ("json.forget", write::delete),
    ("json.clear", write::clear),
    ("json.get", read::get),
    ("json.mget", read::mget),
    ("json.type", read::kind),
    ("json.strlen", read::strlen),
    ("json.objlen", read::objlen),
    ("json.objkeys", read::objkeys),
    ("json.resp", read::resp),
    ("json.debug", read::debug),
    ("json.numincrby", |execution, command| scalar::number(execution, command, &scalar::ADD)),
    ("json.nummultby", |execution, command| scalar::number(execution, command, &scalar::MULTIPLY)),
    ("json.strappend", scalar::strappend),
    ("json.toggle", scalar::toggle),
    ("json.arrappend", array::append),
    ("json.arrinsert", array::insert),
    ("json.arrindex", array::index),
    ("json.arrlen", array::length),
    ("json.arrpop", array::pop),
    ("json.arrtrim", array::trim),
];

const NO_KEY: CommandError =
    CommandError::Text("could not perform this operation on a key that doesn't exist");

const NO_ROOT: CommandError = CommandError::Text("new objects must be created at the root");

impl From<PathError> for CommandError {
    fn from(error: PathError) -> Self {
        Self::Json(error.to_string())
    }
}

impl From<TooMany> for CommandError {
    fn from(error: TooMany) -> Self {
        Self::Json(format!("ERR {error}"))
    }
}

impl From<TooLarge> for CommandError {
    fn from(error: TooLarge) -> Self {
        Self::Json(format!("ERR {error}"))
    }
}

/// What a command on a path looks at of a document; `None` without a document. As in RedisJSON the key
/// is looked at first, and a path that cannot be read is an error only where there is a document.
fn look<'a>(shown: Shown<'a>, path: &[u8]) -> Result<Option<(View<'a>, Path)>, CommandError> {
    let Some(json) = shown.json()? else { return Ok(None) };
    let path = Path::parse(path)?;
    Ok(Some((View::of(json, &path), path)))
}

/// The path at an argument; the root when there is none.
fn path_or_root(command: &Command, at: usize) -> &[u8] {
    command.get(at).unwrap_or(b".")
}

/// What makes the document anew elsewhere, behind the key.
fn recreation(state: State<'_>) -> Vec<Vec<u8>> {
    let entries = state.json().map(|json| json.below(&[])).unwrap_or_default();
    let text = (!entries.is_empty()).then(|| text_of(Node::root(&entries)));
    vec![b"$".to_vec(), text.unwrap_or_default()]
}

/// A value as an argument.
fn value(text: &[u8]) -> Result<Value, CommandError> {
    if std::str::from_utf8(text).is_err() {
        return Err(CommandError::Json("Couldn't parse as UTF-8 string".to_owned()));
    }
    Value::parse(text).map_err(|error| CommandError::Json(error.to_string()))
}

/// The same where nothing may follow it.
fn whole_value(text: &[u8]) -> Result<Value, CommandError> {
    Value::parse_whole(text).map_err(|error| CommandError::Json(format!("ERR {error}")))
}

/// An integer as an argument.
fn integer(text: &[u8]) -> Result<i64, CommandError> {
    let text = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| CommandError::Json("Couldn't parse as integer".to_owned()))
}

/// That a path leads to nothing.
fn no_path(path: &str) -> CommandError {
    CommandError::Json(format!("ERR Path '{path}' does not exist"))
}

/// That it leads to nothing of a kind.
fn no_such(path: &str, what: &str) -> CommandError {
    CommandError::Json(format!("ERR Path '{path}' does not exist or {what}"))
}

fn apply(key: &mut Key<'_, '_>, edits: Edits) {
    if !edits.is_empty() {
        key.apply(|change| edits.write(change));
    }
}

/// The values that lie in no other one of them, each once, in the order of their names.
fn topmost(mut found: Vec<Node<'_>>) -> Vec<Node<'_>> {
    found.sort_unstable_by_key(|node| node.name());
    let mut kept: Vec<Node<'_>> = Vec::new();
    for node in found {
        // What lies in a value follows it, before anything else.
        if kept.last().is_none_or(|above| !node.name().starts_with(above.name())) {
            kept.push(node);
        }
    }
    kept
}

/// What a write answers of each value that a path leads to, where `None` stands for one of another
/// kind: all of them to a JSONPath, the last one of the kind to a legacy path.
fn reply_changed<T>(
    reply: &mut ReplyWriter<'_>,
    path: &Path,
    answers: &[Option<T>],
    none: impl FnOnce() -> CommandError,
    one: impl Fn(&mut ReplyWriter<'_>, &T),
) -> Outcome {
    if path.is_legacy {
        let last = answers.iter().rev().flatten().next().ok_or_else(none)?;
        one(reply, last);
        return Ok(());
    }
    reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(answer) => one(reply, answer),
            None => reply.null(),
        }
    }
    Ok(())
}
