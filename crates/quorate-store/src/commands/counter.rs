//! Counters: strings that are incremented.
//!
//! An increment becomes a contribution of this origin, so increments that do not see each other
//! add up when they merge. A sum beyond exact decimals becomes a value instead, which replaces what
//! it has seen: binary sums of such sizes would depend on their order.

use quorate_proto::resp::{Command, parse_integer};

use super::{CommandError, Handlers, Outcome};
use crate::{
    arguments::{integer, number},
    cell::{Contribution, Element},
    decimal::Decimal,
    execution::Execution,
    key::Key,
    number::Number,
    state::Kind,
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
    let mut key = keys.find(command.arg(1));
    let stamp = key.stamp();
    let cell = key.read().cell()?.unwrap_or(Element::NONE);
    let old = integer_of(cell).ok_or(CommandError::NotInteger)?;
    let sum = old.checked_add(amount).ok_or(CommandError::Overflow)?;
    let exact = |integer| Number::Exact(Decimal::from_integer(integer));
    let contribution = cell.increment(exact(amount), exact(sum), stamp);
    write(&mut key, contribution, exact(sum));
    reply.integer(sum);
    Ok(())
}

/// `INCRBYFLOAT key amount`
fn incrbyfloat(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let stamp = key.stamp();
    let cell = key.read().cell()?.unwrap_or(Element::NONE);
    let old = cell.number().ok_or(CommandError::NotFloat)?;
    let amount = number(command.arg(2))?;
    let sum = old.checked_add(amount).ok_or(INFINITE)?;
    let contribution = cell.increment(amount, sum, stamp);
    write(&mut key, contribution, sum);
    reply.text(&sum.to_string());
    Ok(())
}

/// Writes what this origin has added to a string, or its sum where that is beyond exact decimals.
fn write(key: &mut Key<'_, '_>, contribution: Option<Contribution>, sum: Number) {
    key.apply(|change| match contribution {
        Some(contribution) => change.add(Kind::Text, &[], contribution),
        None => change.edit_text(sum.to_string().as_bytes()),
    });
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
