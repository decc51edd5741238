//! Values of documents as replies.

use quorate_proto::resp::{Command, ReplyWriter};

use super::CommandError;
use crate::{
    arguments::is_word,
    json::{cell::Leaf, document::Node, number::Number, text::text_of},
};

/// Doubles below this are written as the integers that they are.
const INTEGER_MAX: f64 = (1_u64 << 63) as f64;

const WRONG_FORMAT: CommandError = CommandError::Text("wrong reply format");

const NO_FORMAT: CommandError = CommandError::Text("FORMAT argument is not supported on RESP2");

/// How values are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As texts.
    Text,
    /// As values of RESP3,
    Expanded,
    /// but containers as texts.
    Shallow,
}

impl Shape {
    /// What the word behind `FORMAT` asks for.
    pub(super) fn parse(word: &[u8], reply: &ReplyWriter<'_>) -> Result<Self, CommandError> {
        if !reply.is_resp3() {
            return Err(NO_FORMAT);
        }
        let words =
            [("STRING", Self::Text), ("EXPAND", Self::Expanded), ("EXPAND1", Self::Shallow)];
        let found = words.into_iter().find(|(name, _)| is_word(word, name));
        found.map(|(_, shape)| shape).ok_or(WRONG_FORMAT)
    }
}

/// `FORMAT format` in front of a path, and where that is.
pub(super) fn leading_format(
    command: &Command,
    reply: &ReplyWriter<'_>,
) -> Result<(Shape, usize), CommandError> {
    match (command.get(2), command.get(3)) {
        (Some(word), Some(format)) if is_word(word, "FORMAT") => {
            // One that is not known comes first, and texts are not among those that are.
            let is_known = is_word(format, "EXPAND") || is_word(format, "EXPAND1");
            if !is_known {
                return Err(WRONG_FORMAT);
            }
            Ok((Shape::parse(format, reply)?, 4))
        }
        _ => Ok((Shape::Text, 2)),
    }
}

/// A value in a shape.
pub(super) fn value(reply: &mut ReplyWriter<'_>, node: Node<'_>, shape: Shape) {
    match (shape, node.leaf()) {
        (Shape::Text, _) | (Shape::Shallow, Leaf::Object | Leaf::Array) => {
            reply.bulk(&text_of(node));
        }
        (Shape::Expanded, Leaf::Object) => {
            let members = node.members();
            reply.map(members.len());
            for (key, member) in members {
                reply.text(key);
                value(reply, member, shape);
            }
        }
        (Shape::Expanded, Leaf::Array) => {
            let items = node.items();
            reply.array(items.len());
            items.into_iter().for_each(|item| value(reply, item, shape));
        }
        (_, Leaf::Bool(yes)) => reply.boolean(yes),
        (_, leaf) => scalar(reply, leaf),
    }
}

/// A value as `JSON.RESP` has it: containers begin with their bracket.
pub(super) fn resp(reply: &mut ReplyWriter<'_>, node: Node<'_>) {
    match node.leaf() {
        Leaf::Object => {
            let members = node.members();
            reply.array(1 + 2 * members.len());
            reply.simple("{");
            for (key, member) in members {
                reply.text(key);
                resp(reply, member);
            }
        }
        Leaf::Array => {
            let items = node.items();
            reply.array(1 + items.len());
            reply.simple("[");
            items.into_iter().for_each(|item| resp(reply, item));
        }
        Leaf::Bool(yes) => reply.simple(if yes { "true" } else { "false" }),
        leaf => scalar(reply, leaf),
    }
}

fn scalar(reply: &mut ReplyWriter<'_>, leaf: Leaf<'_>) {
    match leaf {
        Leaf::Number(value) => number(reply, value),
        Leaf::Text(text) => reply.text(text),
        Leaf::Null | Leaf::Bool(_) | Leaf::Object | Leaf::Array => reply.null(),
    }
}

/// A number as a value of the protocol.
pub(super) fn number(reply: &mut ReplyWriter<'_>, number: Number) {
    match number {
        Number::Integer(value) => reply.integer(value),
        other if reply.is_resp3() => reply.double(other.to_double()),
        other => reply.text(&shortest(other.to_double())),
    }
}

/// The shortest digits of a double, as Redis 7.4 writes them.
fn shortest(value: f64) -> String {
    let exponential = format!("{value:e}");
    let Some((mantissa, exponent)) = exponential.split_once('e') else { return exponential };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    // Of the last digit, seen as an integer.
    let last = exponent - digits + 1;
    let is_integer = value.fract() == 0.0 && value.abs() < INTEGER_MAX;
    let is_plain = is_integer
        || (0..digits + 7).contains(&last)
        || last < 0 && (last > -7 || exponent.abs() < 4);
    match exponent {
        _ if is_plain => value.to_string(),
        0.. => format!("{mantissa}e+{exponent}"),
        _ => format!("{mantissa}e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        for (value, expected) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (1.8446744073709552e19, "18446744073709552000"),
            (1e21, "1e+21"),
            (1e16, "10000000000000000"),
            (1.5e-7, "1.5e-7"),
            (0.00001, "0.00001"),
            (-0.1, "-0.1"),
            (12345678901234567890123.5, "12345678901234568000000"),
        ] {
            assert_eq!(shortest(value), expected);
        }
    }
}
