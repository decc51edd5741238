//! An aggregation by the definitions: all rows at once, groups by comparing every row with every
//! group, sums by whole numbers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Store;

pub(super) type Row = BTreeMap<String, String>;

/// A step of the test's small language.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Only rows whose number is above.
    Above(i64),
    /// Sorted by a property, from an offset on, so many.
    Sort { property: &'static str, descending: bool, offset: usize, count: usize },
    /// Groups by properties, with every reducer that has an exact answer.
    Group(Vec<&'static str>),
}

impl Step {
    pub(super) fn arguments(&self) -> String {
        match self {
            Step::Above(least) => alloc::format!(" FILTER @num>{least}"),
            Step::Sort { property, descending, offset, count } => {
                let order = if *descending { "DESC" } else { "ASC" };
                alloc::format!(" SORTBY 2 @{property} {order} LIMIT {offset} {count}")
            }
            Step::Group(by) => {
                let names: Vec<String> = by.iter().map(|name| alloc::format!(" @{name}")).collect();
                let mut text = alloc::format!(" GROUPBY {}{}", by.len(), names.concat());
                text.push_str(
                    " REDUCE COUNT 0 AS count REDUCE SUM 1 @num AS sum REDUCE MIN 1 @num AS min \
                     REDUCE MAX 1 @num AS max REDUCE AVG 1 @num AS avg REDUCE COUNT_DISTINCT 1 @num \
                     AS distinct REDUCE TOLIST 1 @name AS list REDUCE QUANTILE 2 @num 0.5 AS median \
                     REDUCE FIRST_VALUE 4 @__key BY @num ASC AS first REDUCE STDDEV 1 @num AS dev",
                );
                text
            }
        }
    }
}

/// All rows of a store.
pub(super) fn rows(store: &Store) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (key, fields) in &store.0 {
        let mut row: Row = fields.iter().cloned().collect();
        row.insert("__key".to_string(), key.clone());
        rows.push(row);
    }
    rows.sort_by(|one, other| one["__key"].cmp(&other["__key"]));
    rows
}

fn number(row: &Row, name: &str) -> Option<f64> {
    row.get(name)?.parse().ok()
}

pub(super) fn apply(rows: Vec<Row>, step: &Step) -> Vec<Row> {
    match step {
        Step::Above(least) => rows
            .into_iter()
            .filter(|row| number(row, "num").is_some_and(|num| num > *least as f64))
            .collect(),
        Step::Sort { property, descending, offset, count } => {
            let (mut with, without): (Vec<Row>, Vec<Row>) =
                rows.into_iter().partition(|row| row.contains_key(*property));
            with.sort_by(|one, other| {
                let order = match (number(one, property), number(other, property)) {
                    (Some(one), Some(other)) => one.total_cmp(&other),
                    _ => one[*property].cmp(&other[*property]),
                };
                let order = if *descending { order.reverse() } else { order };
                order.then_with(|| one["__key"].cmp(&other["__key"]))
            });
            with.into_iter().chain(without).skip(*offset).take(*count).collect()
        }
        Step::Group(by) => {
            let mut groups: Vec<(Vec<Option<String>>, Vec<Row>)> = Vec::new();
            for row in rows {
                let key: Vec<Option<String>> =
                    by.iter().map(|name| row.get(*name).cloned()).collect();
                match groups.iter_mut().find(|(own, _)| *own == key) {
                    Some((_, rows)) => rows.push(row),
                    None => groups.push((key, alloc::vec![row])),
                }
            }
            groups.iter().map(|(key, rows)| group(by, key, rows)).collect()
        }
    }
}

fn group(by: &[&str], key: &[Option<String>], rows: &[Row]) -> Row {
    let mut numbers: Vec<f64> = rows.iter().filter_map(|row| number(row, "num")).collect();
    numbers.sort_by(f64::total_cmp);
    let mut result = Row::new();
    for (name, value) in by.iter().zip(key) {
        result.insert(name.to_string(), value.clone().unwrap_or_else(|| "nil".to_string()));
    }
    // Numbers of the test are whole, so sums of them are exact in any order.
    let sum: f64 = numbers.iter().sum::<f64>() + 0.0;
    let count = numbers.len() as f64;
    let squares: f64 = numbers.iter().map(|number| number * number).sum();
    let deviation = match numbers.len() {
        0 | 1 => 0.0,
        _ => ((count * squares - sum * sum) / (count * (count - 1.0))).sqrt(),
    };
    let names: BTreeSet<&String> = rows.iter().filter_map(|row| row.get("name")).collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    let distinct: BTreeSet<String> = numbers.iter().map(f64::to_string).collect();
    // Of equal ones the first, in the order of rows.
    let first = rows.iter().min_by(|one, other| match (number(one, "num"), number(other, "num")) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    });
    let median = match numbers.len() {
        0 => "nil".to_string(),
        length => numbers[length.div_ceil(2) - 1].to_string(),
    };
    let min = numbers.first().copied().unwrap_or(f64::INFINITY);
    let max = numbers.last().copied().unwrap_or(f64::NEG_INFINITY);
    let average = if numbers.is_empty() { f64::NAN } else { sum / count };
    let shown = |number: f64| crate::expression::Value::Number(number).text().unwrap_or_default();
    let values = [
        ("count", rows.len().to_string()),
        ("sum", shown(sum)),
        ("min", shown(min)),
        ("max", shown(max)),
        ("avg", shown(average)),
        ("distinct", distinct.len().to_string()),
        ("list", names.join(",")),
        ("median", median),
        ("first", first.map(|row| row["__key"].clone()).unwrap_or_default()),
        ("dev", shown(deviation)),
    ];
    result.extend(values.map(|(name, value)| (name.to_string(), value)));
    result
}
