//! Random documents and stages.

use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::naive::{self, Step};
use super::*;

/// A number for the key, fields, and the partition.
type Placed = (u8, Vec<(String, String)>, usize);

fn document() -> impl Strategy<Value = Placed> {
    let tag = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    let name = prop::option::of(prop::sample::select(vec!["x", "y", "z"]));
    let num = prop::option::weighted(0.8, -3i8..4);
    (0u8..30, tag, name, num, 0usize..3).prop_map(|(key, tag, name, num, part)| {
        let fields = [
            ("tag", tag.map(str::to_string)),
            ("name", name.map(str::to_string)),
            ("num", num.map(|num| num.to_string())),
        ];
        let fields = fields.into_iter();
        let fields = fields.filter_map(|(name, value)| Some((name.to_string(), value?))).collect();
        (key, fields, part)
    })
}

fn step() -> impl Strategy<Value = Step> {
    let property = prop::sample::select(vec!["num", "tag", "name", "__key"]);
    let sort = (property, any::<bool>(), 0usize..4, 0usize..9);
    prop_oneof![
        (-3i64..3).prop_map(Step::Above),
        sort.prop_map(|(property, descending, offset, count)| Step::Sort {
            property,
            descending,
            offset,
            count
        }),
    ]
}

fn by() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(vec!["tag", "name"], 0..=2)
}

/// The documents, the last of each key, spread over three partitions.
fn parts(documents: &[Placed]) -> (Store, Vec<Store>) {
    let mut kept = BTreeMap::new();
    for (key, fields, part) in documents {
        kept.insert(format!("k{key:02}"), (fields.clone(), *part));
    }
    let mut parts = vec![Store::default(), Store::default(), Store::default()];
    let mut whole = Store::default();
    for (key, (fields, part)) in kept {
        parts[part].0.push((key.clone(), fields.clone()));
        whole.0.push((key, fields));
    }
    (whole, parts)
}

proptest! {
    /// The answer is that of the definitions, whole and in partitions.
    #[test]
    fn answers_are_those_of_the_definitions(
        documents in prop::collection::vec(document(), 0..30),
        steps in prop::collection::vec(step(), 0..3),
        by in prop::option::of(by()),
    ) {
        let schema = schema("SCHEMA tag TAG name TAG num NUMERIC");
        let steps: Vec<Step> = steps.into_iter().chain(by.map(Step::Group)).collect();
        let mut text = "* LOAD 4 @tag @name @num @__key".to_string();
        steps.iter().for_each(|step| text.push_str(&step.arguments()));
        let aggregation = parsed(&text, &schema).expect("valid");
        let (whole, parts) = parts(&documents);
        let mut expected = naive::rows(&whole);
        // A SORTBY and a LIMIT after it are one stage, so two of them are the latter.
        for (number, step) in steps.iter().enumerate() {
            let replaced = matches!(step, Step::Sort { .. })
                && matches!(steps.get(number + 1), Some(Step::Sort { .. }));
            if !replaced {
                expected = naive::apply(expected, step);
            }
        }
        let bounds = Bounds::default();
        let one = [(indexed(&whole, &schema), whole)];
        let parts: Vec<(Index, Store)> =
            parts.into_iter().map(|part| (indexed(&part, &schema), part)).collect();
        let together = answer(&one, &aggregation, bounds).expect("supported");
        let split = answer(&parts, &aggregation, bounds).expect("supported");
        prop_assert_eq!(shown(&split), shown(&together), "{}", text);
        prop_assert_eq!(split.total, together.total, "{}", text);
        let found: Vec<naive::Row> = together.rows.iter().map(|row| {
            row.fields().map(|(name, value)| {
                (name.to_string(), value.text().unwrap_or_else(|| "nil".to_string()))
            }).collect()
        }).collect();
        if matches!(steps.last(), Some(Step::Group(_))) {
            let mut found = found;
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected, "{}", text);
        } else {
            prop_assert_eq!(found, expected, "{}", text);
        }
    }

    /// Sketches and samples do not depend on how rows are spread either.
    #[test]
    fn sketches_do_not_depend_on_partitions(
        numbers in prop::collection::vec((prop::num::f64::NORMAL, 0usize..3), 0..200),
        resolution in 1u32..9,
    ) {
        let schema = schema("SCHEMA num NUMERIC");
        let text = format!(
            "* GROUPBY 0 REDUCE QUANTILE 3 @num 0.3 {resolution} AS q REDUCE COUNT_DISTINCTISH 1 \
             @num AS d REDUCE RANDOM_SAMPLE 2 @num 5 AS r"
        );
        let aggregation = parsed(&text, &schema).expect("valid");
        let documents = numbers.iter().enumerate().map(|(key, (number, part))| {
            let fields = vec![("num".to_string(), format!("{number:e}"))];
            (format!("k{key:03}"), fields, *part)
        });
        let mut parts = vec![Store::default(), Store::default(), Store::default()];
        let mut whole = Store::default();
        for (key, fields, part) in documents {
            parts[part].0.push((key.clone(), fields.clone()));
            whole.0.push((key, fields));
        }
        let one = [(indexed(&whole, &schema), whole)];
        let parts: Vec<(Index, Store)> =
            parts.into_iter().map(|part| (indexed(&part, &schema), part)).collect();
        let bounds = Bounds::default();
        let together = answer(&one, &aggregation, bounds).expect("supported");
        prop_assert_eq!(&answer(&parts, &aggregation, bounds).expect("supported"), &together);
        let Some(row) = together.rows.first() else { return Ok(()) };
        let mut sorted: Vec<f64> = numbers.iter().map(|(number, _)| *number).collect();
        sorted.sort_by(f64::total_cmp);
        let exact = sorted[((0.3 * sorted.len() as f64).ceil() as usize).max(1) - 1];
        let found = row.field("q").and_then(Value::number).expect("a number");
        let width = 1.0 / f64::from(resolution);
        // Half a bucket on either side, and the rounding of logarithms.
        prop_assert!((found - exact).abs() <= exact.abs() * (width / (2.0 + width) + 1e-9) , "{found} for {exact}");
        let size = row.field("r").map(|value| match value { Value::List(all) => all.len(), _ => 0 });
        prop_assert_eq!(size, Some(numbers.len().min(5)));
    }

    /// A sum is that of all orders, rounded once.
    #[test]
    fn sums_do_not_depend_on_order(
        numbers in prop::collection::vec((-1e6f64..1e6, -60i32..60), 0..40),
        cut in 0usize..40,
    ) {
        let numbers: Vec<f64> =
            numbers.iter().map(|(number, power)| number * 2f64.powi(*power)).collect();
        let sum = |numbers: &mut dyn Iterator<Item = &f64>| {
            let mut sum = Sum::default();
            numbers.for_each(|number| sum.add(*number));
            sum
        };
        let forward = sum(&mut numbers.iter());
        prop_assert_eq!(sum(&mut numbers.iter().rev()).value(), forward.value());
        let (one, other) = numbers.split_at(cut.min(numbers.len()));
        let mut merged = sum(&mut one.iter());
        merged.merge(&sum(&mut other.iter()));
        prop_assert_eq!(merged.value(), forward.value());
        // With its negatives nothing is left.
        let mut nothing = forward.clone();
        numbers.iter().for_each(|number| nothing.add(-number));
        prop_assert_eq!(nothing.value(), 0.0);
    }

    /// Bytes are in the order of values, and give them back.
    #[test]
    fn bytes_are_in_the_order_of_values(one in value(), other in value()) {
        let (bytes, other_bytes) = (order::written(&one), order::written(&other));
        prop_assert_eq!(bytes.cmp(&other_bytes), order::compare(&one, &other));
        prop_assert_eq!(order::read_all(&bytes, 1), Some(vec![one]));
    }

    #[test]
    fn no_arguments_make_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "*", "hello", "LOAD", "1", "2", "@num", "@tag", "GROUPBY", "0", "REDUCE", "COUNT", "SUM",
        "QUANTILE", "0.5", "FIRST_VALUE", "BY", "AS", "x", "SORTBY", "MAX", "DESC", "APPLY", "@num+1",
        "FILTER", "LIMIT", "WITHCURSOR", "PARAMS", "DIALECT", "3", "-1", "RANDOM_SAMPLE", "3", "4",
    ]), 0..14)) {
        let schema = schema(SCHEMA);
        if let Ok(aggregation) = parsed(&words.join(" "), &schema) {
            let parts = [(indexed(&sample(), &schema), sample())];
            let _ = answer(&parts, &aggregation, Bounds::default());
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (-3i8..3).prop_map(|number| Value::Number(f64::from(number))),
        prop::num::f64::NORMAL.prop_map(Value::Number),
        "[\\x00ab\u{7f}\u{ff}]{0,3}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(3, 9, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::List))
}

#[test]
fn distinct_values_are_estimated() {
    for count in [0u32, 1, 10, 1000, 20_000, 200_000] {
        let mut distinct = Distinctish::default();
        (0..count).for_each(|number| distinct.add(&Value::Number(f64::from(number))));
        let found = distinct.count() as f64;
        let off = (found - f64::from(count)).abs();
        // Three times the standard error.
        assert!(off <= 0.1 * f64::from(count), "{found} for {count}");
    }
}
