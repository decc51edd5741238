//! Rows in an order, and groups of rows.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Budget, Grouping, Row, SortKey, Stage, State, order};
use crate::error::{Code, Error};
use crate::expression::Value;
use crate::limits;

/// Groups and what is known of them, by their values as bytes in order.
pub(crate) type Groups = BTreeMap<Vec<u8>, Vec<State>>;

/// The order of rows at a stage: the first first, those in one place by what they are.
pub(super) fn compare(stage: Option<&Stage>, one: &Row, other: &Row) -> Ordering {
    let order = match stage {
        Some(Stage::Nearest(_)) => match (one.distance, other.distance) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            (one, other) => other.is_some().cmp(&one.is_some()),
        },
        Some(Stage::Arrange { keys, .. }) => by_keys(keys, one, other),
        _ => Ordering::Equal,
    };
    order.then_with(|| one.id.cmp(&other.id))
}

pub(super) fn by_keys(keys: &[SortKey], one: &Row, other: &Row) -> Ordering {
    let value = |row: &Row, key: &SortKey| row.field(&key.property).cloned().unwrap_or(Value::Null);
    let orders =
        keys.iter().map(|key| match (one.field(&key.property), other.field(&key.property)) {
            (Some(one), Some(other)) => key.order(one, other),
            _ => key.order(&value(one, key), &value(other, key)),
        });
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Rows of which only the first are needed.
pub(super) struct Collected<'a> {
    stage: Option<&'a Stage>,
    most: Option<usize>,
    rows: Vec<Row>,
    pub(super) total: u64,
}

impl<'a> Collected<'a> {
    pub(super) fn new(stage: Option<&'a Stage>) -> Self {
        let most = stage.and_then(Stage::needed);
        Collected { stage, most, rows: Vec::new(), total: 0 }
    }

    pub(super) fn push(&mut self, row: Row, budget: &mut Budget) -> Result<(), Error> {
        self.total = self.total.saturating_add(1);
        budget.take(row.size())?;
        self.rows.push(row);
        let full = |most: usize| self.rows.len() >= most.saturating_mul(2).saturating_add(SPARE);
        if self.most.is_some_and(full) {
            self.cut(budget);
        }
        Ok(())
    }

    fn cut(&mut self, budget: &mut Budget) {
        self.rows.sort_unstable_by(|one, other| compare(self.stage, one, other));
        if let Some(most) = self.most.filter(|&most| most < self.rows.len()) {
            self.rows.drain(most..).for_each(|row| budget.give(row.size()));
        }
    }

    /// The rows in order.
    pub(super) fn finish(mut self, budget: &mut Budget) -> Vec<Row> {
        self.cut(budget);
        self.rows
    }
}

/// How many rows more than needed are collected before they are sorted.
const SPARE: usize = 256;

/// Adds a row to its group, or if a value is a list to a group for each element.
pub(super) fn add(
    groups: &mut Groups,
    grouping: &Grouping,
    row: &Row,
    id: &Arc<[u8]>,
    seed: u64,
    budget: &mut Budget,
) -> Result<(), Error> {
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    for property in &grouping.by {
        let value = row.field(property).unwrap_or(&Value::Null);
        let values = match value {
            Value::List(values) if values.is_empty() => &[Value::Null],
            Value::List(values) => &values[..],
            value => core::slice::from_ref(value),
        };
        if keys.len() * values.len() > limits::GROUPS_OF_ROW {
            let most = limits::GROUPS_OF_ROW;
            let text = format!("Lists put a row into more than {most} groups");
            return Err(Error::new(Code::Limit, text));
        }
        let longer = keys.iter().flat_map(|key| {
            values.iter().map(move |value| {
                let mut key = key.clone();
                order::write(value, &mut key);
                key
            })
        });
        keys = longer.collect();
    }
    for key in keys {
        let states = match groups.get_mut(&key) {
            Some(states) => states,
            None => {
                budget.groups(groups.len() + 1)?;
                let reductions = grouping.reductions.iter();
                let states: Vec<State> =
                    reductions.map(|reduction| State::new(&reduction.reducer)).collect();
                budget.take(size(&key, &states))?;
                groups.entry(key).or_insert(states)
            }
        };
        for (state, reduction) in states.iter_mut().zip(&grouping.reductions) {
            budget.take(state.add(reduction, row, id, seed))?;
        }
    }
    Ok(())
}

/// Bytes that a group holds, about.
pub(super) fn size(key: &[u8], states: &[State]) -> usize {
    GROUP + key.len() + states.iter().map(State::size).sum::<usize>()
}

/// What a group costs besides what it holds, about.
const GROUP: usize = 64;

/// A row for each group, in the order of their values.
pub(super) fn finish(groups: Groups, grouping: &Grouping) -> Vec<Row> {
    let mut names: Vec<Arc<str>> = grouping.by.iter().map(|name| name.as_str().into()).collect();
    names.extend(grouping.reductions.iter().map(|reduction| reduction.name.as_str().into()));
    let (by, reduced) = names.split_at(grouping.by.len());
    let each = groups.into_iter().map(|(key, states)| {
        let values = order::read_all(&key, by.len()).unwrap_or_default();
        let mut row = Row::new(key.into());
        by.iter().zip(values).for_each(|(name, value)| row.set(name.clone(), value));
        let states = states.into_iter().zip(&grouping.reductions);
        for (name, (state, reduction)) in reduced.iter().zip(states) {
            row.set(name.clone(), state.value(&reduction.reducer));
        }
        row
    });
    each.collect()
}
