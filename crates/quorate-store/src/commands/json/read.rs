//! What only reads documents.

use quorate_proto::{
    limits::COUNTED_REPLY_LENGTH_MAX,
    resp::{Command, ReplyWriter},
};

use super::{
    CommandError, NO_KEY, Outcome, look, no_path, no_such, path_or_root,
    render::{self, Shape},
};
use crate::{
    arguments::is_word,
    execution::Execution,
    json::{
        Json,
        cell::Leaf,
        document::Node,
        number::Number,
        path::Path,
        text::{Format, Writer},
        view::View,
    },
};

/// Bytes that a value takes beside those of its name and its cell.
const VALUE_BYTES: usize = 24;

const DEBUG_HELP: [&str; 2] =
    ["MEMORY <key> [path] - reports memory usage", "HELP                - this message"];

/// The name of a kind of value.
fn kind_name(leaf: Leaf<'_>) -> &'static str {
    match leaf {
        Leaf::Null => "null",
        Leaf::Bool(_) => "boolean",
        Leaf::Number(Number::Integer(_) | Number::Unsigned(_)) => "integer",
        Leaf::Number(Number::Double(_)) => "number",
        Leaf::Text(_) => "string",
        Leaf::Object => "object",
        Leaf::Array => "array",
    }
}

/// That a value is of another kind than a command expects.
pub(super) fn wrong_kind(expected: &str, found: Leaf<'_>) -> CommandError {
    CommandError::Json(format!(
        "WRONGTYPE wrong type of path value - expected {expected} but found {}",
        kind_name(found)
    ))
}

/// What is asked of a `JSON.GET`.
struct Request<'a> {
    format: Format<'a>,
    shape: Shape,
    /// Texts, which are read once there is a document.
    paths: Vec<&'a [u8]>,
}

impl<'a> Request<'a> {
    fn parse(command: &'a Command, reply: &ReplyWriter<'_>) -> Result<Self, CommandError> {
        let mut request = Self { format: Format::default(), shape: Shape::Text, paths: Vec::new() };
        let mut at = 2;
        while let Some(word) = command.get(at) {
            let next = command.get(at + 1).ok_or_else(|| CommandError::arity(command));
            at += 2;
            if is_word(word, "INDENT") {
                request.format.indent = next?;
            } else if is_word(word, "NEWLINE") {
                request.format.newline = next?;
            } else if is_word(word, "SPACE") {
                request.format.space = next?;
            } else if is_word(word, "FORMAT") {
                request.shape = Shape::parse(next?, reply)?;
            } else {
                at -= 1;
                if !is_word(word, "NOESCAPE") {
                    request.paths.push(word);
                }
            }
        }
        if request.paths.is_empty() {
            request.paths.push(b".");
        }
        Ok(request)
    }

    /// The text that answers it. Of several paths, those that cannot be read are left out.
    fn text(&self, json: &Json) -> Result<Vec<u8>, CommandError> {
        let mut writer = Writer::new(self.format);
        if let [path] = &self.paths[..] {
            let path = Path::parse(path)?;
            let view = View::of(json, &path);
            write_found(&mut writer, &path, &view, path.is_legacy, &path.text)?;
            return writer.finish().ok_or(CommandError::ReplyTooLong);
        }
        let is_legacy = self.paths.iter().all(|path| Path::is_legacy_text(path));
        let view = View::whole(json);
        writer.begin(b'{');
        for (at, given) in self.paths.iter().enumerate() {
            let path = Path::parse(given).ok().filter(|_| !self.paths[..at].contains(given));
            if let Some(path) = path {
                writer.key(&path.given);
                write_found(&mut writer, &path, &view, is_legacy, &path.given)?;
            }
        }
        writer.end(b'}');
        writer.finish().ok_or(CommandError::ReplyTooLong)
    }
}

/// What a path leads to: an array of it, or the first value to a legacy path.
fn write_found(
    writer: &mut Writer<'_>,
    path: &Path,
    view: &View<'_>,
    is_legacy: bool,
    name: &str,
) -> Outcome {
    let found = view.find(path)?;
    if is_legacy {
        writer.value(*found.first().ok_or_else(|| no_path(name))?);
        return Ok(());
    }
    writer.begin(b'[');
    for node in found {
        writer.item();
        writer.value(node);
    }
    writer.end(b']');
    Ok(())
}

/// `JSON.GET key [INDENT text] [NEWLINE text] [SPACE text] [FORMAT format] [path...]`
pub(super) fn get(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let request = Request::parse(command, reply)?;
    let Some(json) = keys.read(command.arg(1)).json()? else {
        reply.null();
        return Ok(());
    };
    if request.shape == Shape::Text {
        reply.bulk(&request.text(json)?);
        return Ok(());
    }
    let start = reply.position();
    reply.array(request.paths.len());
    for path in request.paths {
        // What cannot be read leads to nothing.
        let Ok(path) = Path::parse(path) else {
            reply.array(0);
            continue;
        };
        let view = View::of(json, &path);
        let found = view.find(&path)?;
        reply.array(found.len());
        for node in found {
            render::value(reply, node, request.shape);
            check_length(reply, start)?;
        }
    }
    Ok(())
}

/// `JSON.MGET key... path`
pub(super) fn mget(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let last = command.len() - 1;
    let start = reply.position();
    reply.array(last - 1);
    for key in command.args().take(last).skip(1) {
        // What is no document, and a path that cannot be read, gives nothing.
        let text = look(keys.read(key), command.arg(last)).ok().flatten().and_then(|found| {
            let (view, path) = found;
            let mut writer = Writer::new(Format::default());
            write_found(&mut writer, &path, &view, path.is_legacy, &path.text).ok()?;
            Some(writer.finish().ok_or(CommandError::ReplyTooLong))
        });
        reply.optional(text.transpose()?.as_deref());
        check_length(reply, start)?;
    }
    Ok(())
}

/// Paths that lead to a value, and to what is in it, can make more of a document than a reply holds.
fn check_length(reply: &ReplyWriter<'_>, start: usize) -> Outcome {
    let is_too_long = reply.position() - start > COUNTED_REPLY_LENGTH_MAX;
    if is_too_long { Err(CommandError::ReplyTooLong) } else { Ok(()) }
}

/// How a command on one path answers where RedisJSON's answers differ from command to command.
struct Answers {
    /// Without a document, to a JSONPath.
    no_key: fn(&[u8]) -> Result<(), CommandError>,
    /// Whether a legacy path that leads nowhere, or cannot be read, is no error.
    nowhere_is_nothing: bool,
    /// When it leads to a value of another kind.
    wrong: fn(&Path, Leaf<'_>) -> CommandError,
}

/// Answers of each value what `one` makes of it: nothing of those for which it returns `false`.
fn answer(
    execution: &mut Execution<'_>,
    command: &Command,
    answers: &Answers,
    one: impl Fn(&mut ReplyWriter<'_>, Node<'_>) -> bool,
) -> Outcome {
    let Execution { keys, reply } = execution;
    let given = path_or_root(command, 2);
    let is_legacy = Path::is_legacy_text(given);
    let (view, path) = match look(keys.read(command.arg(1)), given) {
        Ok(Some(found)) => found,
        Ok(None) => {
            if !is_legacy {
                (answers.no_key)(given)?;
            }
            reply.null();
            return Ok(());
        }
        Err(CommandError::Json(_)) if is_legacy && answers.nowhere_is_nothing => {
            reply.null();
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let found = view.find(&path)?;
    if !path.is_legacy {
        let start = reply.position();
        reply.array(found.len());
        for node in found {
            if !one(reply, node) {
                reply.null();
            }
            check_length(reply, start)?;
        }
        return Ok(());
    }
    match found.first() {
        Some(node) if one(reply, *node) => Ok(()),
        Some(node) => Err((answers.wrong)(&path, node.leaf())),
        None => {
            if !answers.nowhere_is_nothing {
                return Err(no_path(&path.text));
            }
            reply.null();
            Ok(())
        }
    }
}

/// `JSON.STRLEN key [path]`
pub(super) fn strlen(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let answers = Answers {
        no_key: |_| Err(NO_KEY),
        nowhere_is_nothing: false,
        wrong: |_, found| wrong_kind("string", found),
    };
    answer(execution, command, &answers, |reply, node| match node.leaf() {
        Leaf::Text(text) => {
            reply.integer(text.len() as i64);
            true
        }
        _ => false,
    })
}

/// `JSON.OBJLEN key [path]`
pub(super) fn objlen(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let answers = Answers {
        no_key: |path| Err(no_such(&String::from_utf8_lossy(path), "not an object")),
        nowhere_is_nothing: true,
        wrong: |_, found| wrong_kind("object", found),
    };
    answer(execution, command, &answers, |reply, node| {
        let is_object = node.leaf() == Leaf::Object;
        if is_object {
            reply.integer(node.members().len() as i64);
        }
        is_object
    })
}

/// `JSON.OBJKEYS key [path]`
pub(super) fn objkeys(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let answers = Answers {
        no_key: |_| Err(NO_KEY),
        nowhere_is_nothing: true,
        wrong: |path, _| no_such(&path.text, "not an object"),
    };
    answer(execution, command, &answers, |reply, node| {
        let is_object = node.leaf() == Leaf::Object;
        if is_object {
            let members = node.members();
            reply.array(members.len());
            members.into_iter().for_each(|(key, _)| reply.text(key));
        }
        is_object
    })
}

/// `JSON.RESP key [path]`
pub(super) fn resp(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let answers = Answers {
        no_key: |_| Ok(()),
        nowhere_is_nothing: false,
        wrong: |path, _| no_path(&path.text),
    };
    answer(execution, command, &answers, |reply, node| {
        render::resp(reply, node);
        true
    })
}

/// `JSON.TYPE key [path]`
pub(super) fn kind(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    if execution.reply.is_resp3() {
        execution.reply.array(1);
    }
    let answers = Answers {
        no_key: |_| Ok(()),
        nowhere_is_nothing: true,
        wrong: |path, _| no_path(&path.text),
    };
    answer(execution, command, &answers, |reply, node| {
        reply.text(kind_name(node.leaf()));
        true
    })
}

/// `JSON.DEBUG MEMORY key [path]`, `JSON.DEBUG HELP`
pub(super) fn debug(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    if is_word(command.arg(1), "HELP") {
        reply.array(DEBUG_HELP.len());
        DEBUG_HELP.iter().for_each(|line| reply.text(line));
        return Ok(());
    }
    if !is_word(command.arg(1), "MEMORY") {
        return Err(CommandError::Text("unknown subcommand - try `JSON.DEBUG HELP`"));
    }
    let key = command.get(2).ok_or_else(|| CommandError::arity(command))?;
    let given = path_or_root(command, 3);
    let Some((view, path)) = look(keys.read(key), given)? else {
        match Path::is_legacy_text(given) {
            true => reply.integer(0),
            false => reply.array(0),
        }
        return Ok(());
    };
    let found = view.find(&path)?;
    let sizes = found.iter().map(|node| {
        let values = node.entries().iter();
        values
            .map(|(name, held)| {
                VALUE_BYTES + name.len() + held.register().map_or(0, |held| held.len())
            })
            .sum()
    });
    let sizes: Vec<usize> = sizes.collect();
    if !path.is_legacy {
        reply.array(sizes.len());
        sizes.iter().for_each(|size| reply.integer(*size as i64));
        return Ok(());
    }
    let size = sizes.first().ok_or_else(|| no_path(&path.text))?;
    reply.integer(*size as i64);
    Ok(())
}
