//! What changes numbers, strings and booleans of documents.

use quorate_proto::resp::Command;

use super::{
    CommandError, NO_KEY, Outcome, apply, look, no_such, read::wrong_kind, render, reply_changed,
    whole_value,
};
use crate::{
    execution::Execution,
    json::{cell::Leaf, edit::Edits, number::Number, text::number_text, value::Value},
};

/// An operation on two numbers: of integers it wraps, as in RedisJSON.
pub(super) struct Operation {
    integers: fn(i64, i64) -> i64,
    doubles: fn(f64, f64) -> f64,
    /// Whether what two nodes do at once adds up.
    adds: bool,
}

pub(super) const ADD: Operation =
    Operation { integers: i64::wrapping_add, doubles: |one, other| one + other, adds: true };

pub(super) const MULTIPLY: Operation =
    Operation { integers: i64::wrapping_mul, doubles: |one, other| one * other, adds: false };

impl Operation {
    fn of(&self, one: Number, other: Number) -> Result<Number, CommandError> {
        if let (Number::Integer(one), Number::Integer(other)) = (one, other) {
            return Ok(Number::Integer((self.integers)(one, other)));
        }
        let result = (self.doubles)(one.to_double(), other.to_double());
        let is_number = result.is_finite();
        is_number
            .then_some(Number::Double(result))
            .ok_or(CommandError::Text("result is not a number"))
    }
}

/// `JSON.NUMINCRBY key path number`, `JSON.NUMMULTBY key path number`
pub(super) fn number(
    execution: &mut Execution<'_>,
    command: &Command,
    operation: &Operation,
) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let stamp = key.stamp();
    let mut edits = Edits::default();
    let mut results: Vec<Option<Number>> = Vec::new();
    let (view, path) = look(key.read(), command.arg(2))?.ok_or(NO_KEY)?;
    for node in view.find(&path)? {
        let Leaf::Number(number) = node.leaf() else {
            results.push(None);
            continue;
        };
        let result = operation.of(number, operand(command)?)?;
        match operation.adds {
            true => edits.add(node, result, stamp)?,
            false => edits.replace(node, Leaf::Number(result))?,
        }
        results.push(Some(result));
    }
    drop(view);
    let has_none = path.is_legacy && results.iter().flatten().next().is_none();
    if has_none && !reply.is_resp3() {
        return Err(no_such(&path.text, "does not contains a number"));
    }
    apply(&mut key, edits);
    // As in RedisJSON the newer protocol has the results of all values, whatever the form of the path.
    if reply.is_resp3() {
        reply.array(results.len());
        for result in results {
            match result {
                Some(result) => render::number(reply, result),
                None => reply.null(),
            }
        }
        return Ok(());
    }
    let text = |result: &Option<Number>| result.map_or_else(|| "null".to_owned(), number_text);
    match results.iter().rev().find(|result| result.is_some()).filter(|_| path.is_legacy) {
        Some(last) => reply.text(&text(last)),
        None => {
            let texts: Vec<String> = results.iter().map(text).collect();
            reply.text(&format!("[{}]", texts.join(",")));
        }
    }
    Ok(())
}

/// The number as an argument, which nobody looks at where there is nothing to change.
fn operand(command: &Command) -> Result<Number, CommandError> {
    match whole_value(command.arg(3))? {
        Value::Number(operand) => Ok(operand),
        _ => Err(CommandError::Json("bad input number".to_owned())),
    }
}

/// `JSON.STRAPPEND key [path] string`
pub(super) fn strappend(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let has_path = command.len() > 3;
    let path = if has_path { command.arg(2) } else { b"." };
    let argument = command.arg(if has_path { 3 } else { 2 });
    let mut key = keys.find(command.arg(1));
    let mut edits = Edits::default();
    let mut lengths: Vec<Option<usize>> = Vec::new();
    let (view, path) = look(key.read(), path)?.ok_or(NO_KEY)?;
    for node in view.find(&path)? {
        let Leaf::Text(text) = node.leaf() else {
            lengths.push(None);
            continue;
        };
        let text = match whole_value(argument)? {
            Value::Text(appended) => [text, &appended].concat(),
            other => return Err(no_string(&other)),
        };
        edits.replace(node, Leaf::Text(&text))?;
        lengths.push(Some(text.len()));
    }
    drop(view);
    let none = || no_such(&path.text, "not a string");
    reply_changed(reply, &path, &lengths, none, |reply, length| reply.integer(*length as i64))?;
    apply(&mut key, edits);
    Ok(())
}

fn no_string(value: &Value) -> CommandError {
    match value.leaf() {
        Leaf::Number(number) => CommandError::Json(format!(
            "WRONGTYPE wrong type of path value - expected string but found {}",
            number_text(number)
        )),
        other => wrong_kind("string", other),
    }
}

/// `JSON.TOGGLE key path`
pub(super) fn toggle(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let mut edits = Edits::default();
    let mut values: Vec<Option<bool>> = Vec::new();
    let (view, path) = look(key.read(), command.arg(2))?.ok_or(NO_KEY)?;
    for node in view.find(&path)? {
        let Leaf::Bool(value) = node.leaf() else {
            values.push(None);
            continue;
        };
        edits.replace(node, Leaf::Bool(!value))?;
        values.push(Some(!value));
    }
    drop(view);
    let none = || no_such(&path.text, "not a bool");
    reply_changed(reply, &path, &values, none, |reply, value| {
        if path.is_legacy {
            reply.text(if *value { "true" } else { "false" });
        } else {
            reply.integer(i64::from(*value));
        }
    })?;
    apply(&mut key, edits);
    Ok(())
}
