//! What only reads documents.

use quorate_proto::{
    limits::COUNTED_REPLY_LENGTH_MAX,
    resp::{Command, ReplyWriter},
};

use super::{
    CommandError, NO_KEY, Outcome, entries, no_path, no_such,
    render::{self, Shape},
};
use crate::{
    arguments::is_word,
    execution::Execution,
    json::{
        cell::Leaf,
        document::Node,
        number::Number,
        path::Path,
        text::{Format, Writer},
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

/// The path at an argument; the root when there is none.
pub(super) fn path_or_root(command: &Command, at: usize) -> Result<Path, CommandError> {
    Ok(Path::parse(command.get(at).unwrap_or(b"."))?)
}

/// What is asked of a `JSON.GET`.
struct Request<'a> {
    format: Format<'a>,
    shape: Shape,
    paths: Vec<Path>,
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
                    request.paths.push(Path::parse(word)?);
                }
            }
        }
        if request.paths.is_empty() {
            request.paths.push(Path::parse(b".")?);
        }
        Ok(request)
    }

    /// The text that answers it.
    fn text(&self, root: Node<'_>) -> Result<Vec<u8>, CommandError> {
        let mut writer = Writer::new(self.format);
        if let [path] = &self.paths[..] {
            write_found(&mut writer, path, root, path.is_legacy, &path.text)?;
            return writer.finish().ok_or(CommandError::ReplyTooLong);
        }
        let is_legacy = self.paths.iter().all(|path| path.is_legacy);
        writer.begin(b'{');
        for (at, path) in self.paths.iter().enumerate() {
            if self.paths[..at].iter().all(|other| other.given != path.given) {
                writer.key(&path.given);
                write_found(&mut writer, path, root, is_legacy, &path.given)?;
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
    root: Node<'_>,
    is_legacy: bool,
    name: &str,
) -> Outcome {
    let found = path.find(root)?;
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
    let Some(entries) = entries(keys.read(command.arg(1)), &request.paths)? else {
        reply.null();
        return Ok(());
    };
    let root = Node::root(&entries);
    if request.shape == Shape::Text {
        reply.bulk(&request.text(root)?);
        return Ok(());
    }
    let start = reply.position();
    reply.array(request.paths.len());
    for path in &request.paths {
        let found = path.find(root)?;
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
    let path = Path::parse(command.arg(last)).ok();
    let start = reply.position();
    reply.array(last - 1);
    for key in command.args().take(last).skip(1) {
        // What is no document, and a path that cannot be read, gives nothing.
        let text = path.as_ref().and_then(|path| {
            let entries = entries(keys.read(key), std::slice::from_ref(path)).ok()??;
            let mut writer = Writer::new(Format::default());
            let root = Node::root(&entries);
            write_found(&mut writer, path, root, path.is_legacy, &path.text).ok()?;
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
    no_key: fn(&Path) -> Result<(), CommandError>,
    /// When a legacy path leads nowhere: an error, or nothing.
    no_value: fn(&Path) -> Result<(), CommandError>,
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
    let path = path_or_root(command, 2)?;
    let Some(entries) = entries(keys.read(command.arg(1)), std::slice::from_ref(&path))? else {
        if !path.is_legacy {
            (answers.no_key)(&path)?;
        }
        reply.null();
        return Ok(());
    };
    let found = path.find(Node::root(&entries))?;
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
            (answers.no_value)(&path)?;
            reply.null();
            Ok(())
        }
    }
}

/// `JSON.STRLEN key [path]`
pub(super) fn strlen(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let answers = Answers {
        no_key: |_| Err(NO_KEY),
        no_value: |path| Err(no_path(&path.text)),
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
        no_key: |path| Err(no_such(&path.text, "not an object")),
        no_value: |_| Ok(()),
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
        no_value: |_| Ok(()),
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
        no_value: |path| Err(no_path(&path.text)),
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
    let answers =
        Answers { no_key: |_| Ok(()), no_value: |_| Ok(()), wrong: |path, _| no_path(&path.text) };
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
    let path = path_or_root(command, 3)?;
    let entries = entries(keys.read(key), std::slice::from_ref(&path))?;
    let found = match &entries {
        Some(entries) => path.find(Node::root(entries))?,
        None => Vec::new(),
    };
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
    let size = match (sizes.first(), entries) {
        (Some(size), _) => *size,
        (None, None) => 0,
        (None, Some(_)) => return Err(no_path(&path.text)),
    };
    reply.integer(size as i64);
    Ok(())
}
