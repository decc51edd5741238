//! Counters: strings that are incremented.
//!
//! An increment becomes a contribution of this origin, so increments that do not see each other
//! add up when they merge. A sum beyond exact decimals becomes a value instead, which replaces what
//! it has seen: binary sums of such sizes would depend on their order.

use quorate_proto::resp::{Command, parse_integer};

use super::{CommandError, Handlers, Outcome};
use crate::{
    arguments::{integer, number},
    cell::Element,
    decimal::Decimal,
    execution::Execution,
    number::Number,
};

pub(super) const HANDLERS: Handlers = &[
    ("incr", incr),
    ("decr", decr),
    ("incrby", incrby),
    ("decrby", decrby),
    ("incrbyfloat", incrbyfloat),
];

/// `INCR key`
fn incr(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    add(execution, command, 1)
}

/// `DECR key`
fn decr(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    add(execution, command, -1)
}

/// `INCRBY key amount`
fn incrby(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let amount = integer(command.arg(2))?;
    add(execution, command, amount)
}

/// `DECRBY key amount`
fn decrby(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let amount = integer(command.arg(2))?;
    let amount = amount.checked_neg().ok_or(CommandError::Text("decrement would overflow"))?;
    add(execution, command, amount)
}

fn add(execution: &mut Execution<'_>, command: &Command, amount: i64) -> Outcome {
    let Execution { keys, reply } = execution;
    let key = command.arg(1);
    let old = keys.cell(key)?.map_or(Some(0), integer_of).ok_or(CommandError::NotInteger)?;
    let sum = old.checked_add(amount).ok_or(CommandError::Overflow)?;
    let exact = |integer| Number::Exact(Decimal::from_integer(integer));
    keys.increment(key, exact(amount), exact(sum))?;
    reply.integer(sum);
    Ok(())
}

/// `INCRBYFLOAT key amount`
fn incrbyfloat(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let key = command.arg(1);
    let old = match keys.cell(key)? {
        Some(cell) => cell.number().ok_or(CommandError::NotFloat)?,
        None => Number::ZERO,
    };
    let amount = number(command.arg(2))?;
    let sum = old.checked_add(amount).ok_or(INFINITE)?;
    keys.increment(key, amount, sum)?;
    reply.text(&sum.to_string());
    Ok(())
}

/// A sum beyond all numbers.
pub(super) const INFINITE: CommandError =
    CommandError::Text("increment would produce NaN or Infinity");

/// The integer that a cell shows, read as strictly as Redis reads one.
pub(super) fn integer_of(cell: Element<'_, &[u8]>) -> Option<i64> {
    match cell.register() {
        Some(text) if cell.contributions().is_empty() => parse_integer(text),
        _ => cell.number()?.to_integer(),
    }
}
