//! What is known of a group while its rows come in, in any order and from any partition.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem::size_of;

use super::distinct::hash;
use super::{Distinctish, Quantile, Reducer, Reduction, Row, SortKey, Sum, order, row};
use crate::expression::Value;

/// What is known of a group, for one reducer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    Count(u64),
    /// Different values, by their bytes in order: of `COUNT_DISTINCT` and `TOLIST`.
    Values(BTreeSet<Vec<u8>>),
    Distinctish(Distinctish),
    /// Of `SUM` and `AVG`: how many numbers, and their sum.
    Sum(u64, Sum),
    Min(f64),
    Max(f64),
    /// How many numbers, their sum and that of their squares.
    Deviation(u64, Sum, Sum),
    Quantile(Quantile),
    First(Option<First>),
    /// The values of the least hashes, and what has them.
    Sample(BTreeMap<(u64, Arc<[u8]>), Value>),
}

/// The first row of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct First {
    /// What decides.
    pub(crate) key: Value,
    /// What decides if that does not.
    pub(crate) id: Arc<[u8]>,
    pub(crate) value: Value,
}

impl State {
    pub(crate) fn new(reducer: &Reducer) -> State {
        match reducer {
            Reducer::Count => State::Count(0),
            Reducer::CountDistinct | Reducer::ToList => State::Values(BTreeSet::new()),
            Reducer::CountDistinctish => State::Distinctish(Distinctish::default()),
            Reducer::Sum | Reducer::Average => State::Sum(0, Sum::default()),
            Reducer::Min => State::Min(f64::INFINITY),
            Reducer::Max => State::Max(f64::NEG_INFINITY),
            Reducer::Deviation => State::Deviation(0, Sum::default(), Sum::default()),
            Reducer::Quantile { resolution, .. } => State::Quantile(Quantile::new(*resolution)),
            Reducer::FirstValue { .. } => State::First(None),
            Reducer::RandomSample { .. } => State::Sample(BTreeMap::new()),
        }
    }

    /// Whether it may be of this reducer.
    pub(crate) fn is_of(&self, reducer: &Reducer) -> bool {
        match (self, reducer) {
            (State::Count(_), Reducer::Count)
            | (State::Values(_), Reducer::CountDistinct | Reducer::ToList)
            | (State::Distinctish(_), Reducer::CountDistinctish)
            | (State::Sum(..), Reducer::Sum | Reducer::Average)
            | (State::Min(_), Reducer::Min)
            | (State::Max(_), Reducer::Max)
            | (State::Deviation(..), Reducer::Deviation)
            | (State::First(_), Reducer::FirstValue { .. })
            | (State::Sample(_), Reducer::RandomSample { .. }) => true,
            (State::Quantile(own), Reducer::Quantile { resolution, .. }) => {
                own.resolution == *resolution
            }
            _ => false,
        }
    }

    /// Adds a row, which is `id`; returns how many bytes more are held, about.
    pub(crate) fn add(
        &mut self,
        reduction: &Reduction,
        row: &Row,
        id: &Arc<[u8]>,
        seed: u64,
    ) -> usize {
        let value = reduction.property.as_ref().and_then(|property| row.field(property));
        let value = value.unwrap_or(&Value::Null);
        match self {
            State::Count(count) => *count += 1,
            State::First(first) => return add_first(first, reduction, row, id, value),
            _ if *value == Value::Null => {}
            State::Values(values) => return add_values(values, reduction, value),
            State::Distinctish(distinct) => {
                let before = distinct.0.len();
                distinct.add(value);
                return (distinct.0.len() - before) * REGISTER;
            }
            State::Quantile(quantile) => {
                let before = quantile.exact.len();
                value.number().into_iter().for_each(|number| quantile.add(number));
                return quantile.exact.len().saturating_sub(before) * ENTRY;
            }
            State::Sample(sample) => {
                let Reducer::RandomSample { size } = reduction.reducer else { return 0 };
                sample.insert((hash(seed, id), id.clone()), value.clone());
                if sample.len() > size {
                    sample.pop_last();
                    return 0;
                }
                return ENTRY + id.len() + row::size(value);
            }
            State::Sum(..) | State::Min(_) | State::Max(_) | State::Deviation(..) => {
                if let Some(number) = value.number().filter(|number| !number.is_nan()) {
                    self.add_number(number);
                }
            }
        }
        0
    }

    fn add_number(&mut self, number: f64) {
        match self {
            State::Sum(count, sum) => {
                *count += 1;
                sum.add(number);
            }
            State::Min(min) => *min = min.min(number),
            State::Max(max) => *max = max.max(number),
            State::Deviation(count, sum, squares) => {
                *count += 1;
                sum.add(number);
                squares.add_product(number, number);
            }
            _ => {}
        }
    }

    /// Adds what is known of other rows of the group, for the same reducer.
    pub(crate) fn merge(&mut self, other: State, reducer: &Reducer) {
        match (self, other) {
            (State::Count(own), State::Count(other)) => *own = own.saturating_add(other),
            (State::Values(own), State::Values(other)) => own.extend(other),
            (State::Distinctish(own), State::Distinctish(other)) => own.merge(&other),
            (State::Sum(count, sum), State::Sum(other_count, other)) => {
                *count = count.saturating_add(other_count);
                sum.merge(&other);
            }
            (State::Min(own), State::Min(other)) => *own = own.min(other),
            (State::Max(own), State::Max(other)) => *own = own.max(other),
            (
                State::Deviation(count, sum, squares),
                State::Deviation(other_count, other_sum, other_squares),
            ) => {
                *count = count.saturating_add(other_count);
                sum.merge(&other_sum);
                squares.merge(&other_squares);
            }
            (State::Quantile(own), State::Quantile(other)) => own.merge(&other),
            (State::First(own), State::First(Some(other))) => {
                let Reducer::FirstValue { by } = reducer else { return };
                if own.as_ref().is_none_or(|own| other.order(own, by.as_ref()).is_lt()) {
                    *own = Some(other);
                }
            }
            (State::Sample(own), State::Sample(other)) => {
                let Reducer::RandomSample { size } = *reducer else { return };
                own.extend(other);
                while own.len() > size {
                    own.pop_last();
                }
            }
            // What does not belong together was refused before.
            _ => {}
        }
    }

    /// The value of the group.
    pub(crate) fn value(self, reducer: &Reducer) -> Value {
        match self {
            State::Count(count) => Value::Number(count as f64),
            State::Values(values) if *reducer == Reducer::CountDistinct => {
                Value::Number(values.len() as f64)
            }
            State::Values(values) => {
                let values = values.iter().filter_map(|bytes| order::read(&mut &bytes[..]));
                Value::List(values.collect())
            }
            State::Distinctish(distinct) => Value::Number(distinct.count() as f64),
            State::Sum(_, sum) if *reducer == Reducer::Sum => Value::Number(sum.value()),
            State::Sum(0, _) => Value::Number(f64::NAN),
            State::Sum(count, sum) => Value::Number(sum.value() / count as f64),
            State::Min(number) | State::Max(number) => Value::Number(number),
            State::Deviation(count, sum, squares) => {
                Value::Number(deviation(count, &sum, &squares))
            }
            State::Quantile(quantile) => match reducer {
                Reducer::Quantile { at, .. } => quantile.at(*at).map_or(Value::Null, Value::Number),
                _ => Value::Null,
            },
            State::First(first) => first.map_or(Value::Null, |first| first.value),
            State::Sample(sample) => Value::List(sample.into_values().collect()),
        }
    }

    /// Bytes that it holds, about.
    pub(crate) fn size(&self) -> usize {
        let held = match self {
            State::Count(_) | State::Min(_) | State::Max(_) => 0,
            State::Sum(_, sum) => sum.parts.len() * size_of::<f64>(),
            State::Deviation(_, sum, squares) => {
                (sum.parts.len() + squares.parts.len()) * size_of::<f64>()
            }
            State::Values(values) => values.iter().map(|value| value.len() + ENTRY).sum(),
            State::Distinctish(distinct) => distinct.0.len() * REGISTER,
            State::Quantile(quantile) => (quantile.exact.len() + quantile.buckets.len()) * ENTRY,
            State::First(first) => first.as_ref().map_or(0, First::size),
            State::Sample(sample) => {
                let each = sample.iter();
                each.map(|((_, id), value)| ENTRY + id.len() + row::size(value)).sum()
            }
        };
        size_of::<State>() + held
    }
}

impl First {
    fn order(&self, other: &First, by: Option<&SortKey>) -> Ordering {
        let order = by.map_or(Ordering::Equal, |by| by.order(&self.key, &other.key));
        order.then_with(|| self.id.cmp(&other.id))
    }

    fn size(&self) -> usize {
        row::size(&self.key) + row::size(&self.value) + self.id.len()
    }
}

impl SortKey {
    /// The first first; nothing comes last either way.
    pub(crate) fn order(&self, one: &Value, other: &Value) -> Ordering {
        match (one, other) {
            (Value::Null, _) | (_, Value::Null) => order::compare(one, other),
            _ if self.descending => order::compare(other, one),
            _ => order::compare(one, other),
        }
    }
}

fn add_first(
    first: &mut Option<First>,
    reduction: &Reduction,
    row: &Row,
    id: &Arc<[u8]>,
    value: &Value,
) -> usize {
    let Reducer::FirstValue { by } = &reduction.reducer else { return 0 };
    let key = by.as_ref().and_then(|by| row.field(&by.property)).unwrap_or(&Value::Null);
    let other = First { key: key.clone(), id: id.clone(), value: value.clone() };
    if first.as_ref().is_some_and(|first| other.order(first, by.as_ref()).is_ge()) {
        return 0;
    }
    let before = first.as_ref().map_or(0, First::size);
    let added = other.size().saturating_sub(before);
    *first = Some(other);
    added
}

/// `TOLIST` takes the elements of a list for values, `COUNT_DISTINCT` the list for one.
fn add_values(values: &mut BTreeSet<Vec<u8>>, reduction: &Reduction, value: &Value) -> usize {
    match value {
        Value::List(elements) if reduction.reducer == Reducer::ToList => {
            elements.iter().map(|element| add_values(values, reduction, element)).sum()
        }
        value => {
            let bytes = order::written(value);
            let size = bytes.len() + ENTRY;
            if values.insert(bytes) { size } else { 0 }
        }
    }
}

/// The standard deviation of a sample, from exact sums: the root of
/// (n * squares - sum * sum) / (n * (n - 1)).
fn deviation(count: u64, sum: &Sum, squares: &Sum) -> f64 {
    if count < 2 {
        return 0.0;
    }
    if sum.special != 0.0 || squares.special != 0.0 {
        return f64::NAN;
    }
    let count = count as f64;
    let mut difference = Sum::default();
    squares.parts.iter().for_each(|&part| difference.add_product(count, part));
    for &one in &sum.parts {
        sum.parts.iter().for_each(|&other| difference.add_product(-one, other));
    }
    libm::sqrt(difference.value().max(0.0) / (count * (count - 1.0)))
}

/// What an element of a map costs besides what it holds, about.
const ENTRY: usize = 48;

/// What a register costs, about.
const REGISTER: usize = 8;
