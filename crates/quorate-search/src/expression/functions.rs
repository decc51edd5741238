//! The functions of expressions.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::{Row, Value, time};
use crate::error::{Code, Error};
use crate::index::Place;

/// How many terms `matched_terms` gives if nothing else is said.
const TERMS: usize = 100;

macro_rules! functions {
    ($($(#[$doc:meta])* $function:ident $name:literal $arguments:expr;)*) => {
        /// A function of expressions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Function {
            $($(#[$doc])* $function,)*
        }

        impl Function {
            /// The function of this name, in any case.
            pub fn named(name: &str) -> Option<Function> {
                let all = [$((Function::$function, $name),)*];
                all.into_iter().find(|(_, own)| name.eq_ignore_ascii_case(own)).map(|one| one.0)
            }

            /// Whether it takes so many arguments.
            pub(super) fn takes(self, count: usize) -> bool {
                let arguments: RangeInclusive<usize> = match self {
                    $(Function::$function => $arguments,)*
                };
                arguments.contains(&count)
            }
        }
    };
}

functions! {
    /// Natural logarithm.
    Log "log" 1..=1;
    /// Binary logarithm.
    Log2 "log2" 1..=1;
    /// Power of e.
    Exp "exp" 1..=1;
    /// The next whole number above.
    Ceil "ceil" 1..=1;
    /// The next whole number below.
    Floor "floor" 1..=1;
    /// The number without its sign.
    Abs "abs" 1..=1;
    /// Square root.
    Sqrt "sqrt" 1..=1;
    /// Lower case.
    Lower "lower" 1..=1;
    /// Upper case.
    Upper "upper" 1..=1;
    /// A part: the text, where it begins (from the end if below 0), its bytes (up to so many
    /// before the end if below 0).
    Substr "substr" 3..=3;
    /// A text with `%s` for each of the other arguments.
    Format "format" 1..=usize::MAX;
    /// The parts of a text: the text, what separates them, what is taken off their ends.
    Split "split" 1..=3;
    /// The terms of the query that the document has, at most so many.
    MatchedTerms "matched_terms" 0..=1;
    /// The number that a text says.
    ToNumber "to_number" 1..=1;
    /// The value as a text.
    ToStr "to_str" 1..=1;
    /// Whether there is a value.
    Exists "exists" 1..=1;
    /// Bytes of a text.
    Strlen "strlen" 1..=1;
    /// Whether a text begins with another.
    StartsWith "startswith" 2..=2;
    /// How often a text contains another.
    Contains "contains" 2..=2;
    /// The second if the first is true, else the third.
    Case "case" 3..=3;
    /// A time as a text: seconds since 1970, the form.
    TimeFormat "timefmt" 1..=2;
    /// The time that a text says: the text, the form.
    ParseTime "parsetime" 2..=2;
    /// The time at which the hour began.
    Hour "hour" 1..=1;
    /// The time at which the minute began.
    Minute "minute" 1..=1;
    /// The time at which the day began.
    Day "day" 1..=1;
    /// The time at which the month began.
    Month "month" 1..=1;
    /// The month, 0 to 11.
    MonthOfYear "monthofyear" 1..=1;
    /// The year.
    Year "year" 1..=1;
    /// The day of the month, 1 to 31.
    DayOfMonth "dayofmonth" 1..=1;
    /// The day of the week, 0 (Sunday) to 6.
    DayOfWeek "dayofweek" 1..=1;
    /// The day of the year, 0 to 365.
    DayOfYear "dayofyear" 1..=1;
    /// Metres between two places; each is a text or a longitude and a latitude.
    GeoDistance "geodistance" 2..=4;
}

impl Function {
    /// The value for these arguments, which are as many as it takes.
    pub(super) fn call(self, arguments: &[Value], row: &dyn Row) -> Result<Value, Error> {
        let first = arguments.first().unwrap_or(&Value::Null);
        Ok(match self {
            Function::Log => calculated(first, libm::log),
            Function::Log2 => calculated(first, libm::log2),
            Function::Exp => calculated(first, libm::exp),
            Function::Ceil => calculated(first, libm::ceil),
            Function::Floor => calculated(first, libm::floor),
            Function::Abs => calculated(first, libm::fabs),
            Function::Sqrt => calculated(first, libm::sqrt),
            Function::Lower => changed(first, |text| Value::Text(text.to_lowercase())),
            Function::Upper => changed(first, |text| Value::Text(text.to_uppercase())),
            Function::Substr => part(arguments),
            Function::Format => return formatted(arguments),
            Function::Split => split(arguments),
            Function::MatchedTerms => matched(arguments, row),
            Function::ToNumber => match first.number() {
                Some(number) => Value::Number(number),
                None => {
                    let text = first.text().unwrap_or_default();
                    let text = format!("to_number: cannot convert string '{text}'");
                    return Err(Error::new(Code::Expression, text));
                }
            },
            Function::ToStr => first.text().map_or(Value::Null, Value::Text),
            Function::Exists => Value::truth(*first != Value::Null),
            Function::Strlen => changed(first, |text| Value::Number(text.len() as f64)),
            Function::StartsWith => {
                both(arguments, |text, other| Value::truth(text.starts_with(other)))
            }
            Function::Contains => both(arguments, |text, other| {
                // RediSearch counts an empty text before and behind every byte.
                let count =
                    if other.is_empty() { text.len() + 1 } else { text.matches(other).count() };
                Value::Number(count as f64)
            }),
            Function::Case => arguments[if first.is_true() { 1 } else { 2 }].clone(),
            Function::GeoDistance => distance(arguments),
            Function::ParseTime => both(arguments, |text, form| {
                time::parsed(text, form)
                    .map_or(Value::Null, |seconds| Value::Number(seconds as f64))
            }),
            Function::TimeFormat
            | Function::Hour
            | Function::Minute
            | Function::Day
            | Function::Month
            | Function::MonthOfYear
            | Function::Year
            | Function::DayOfMonth
            | Function::DayOfWeek
            | Function::DayOfYear => self.of_time(arguments),
        })
    }

    /// A function of a time; none before 1970.
    fn of_time(self, arguments: &[Value]) -> Value {
        let seconds = arguments.first().and_then(Value::number);
        let Some(seconds) = seconds.filter(|seconds| (0.0..=time::MAX).contains(seconds)) else {
            return Value::Null;
        };
        let seconds = seconds as i64;
        let date = time::Date::at(seconds);
        let number = match self {
            Function::TimeFormat => {
                let form = arguments.get(1).and_then(Value::text);
                let form = form.as_deref().unwrap_or("%FT%TZ");
                return Value::Text(date.formatted(form, seconds));
            }
            Function::Hour => seconds - seconds % 3600,
            Function::Minute => seconds - seconds % 60,
            Function::Day => seconds - seconds % 86_400,
            Function::Month => time::Date { day: 1, ..date }.days() * 86_400,
            Function::MonthOfYear => date.month - 1,
            Function::Year => date.year,
            Function::DayOfMonth => date.day,
            Function::DayOfWeek => date.day_of_week(),
            _ => date.day_of_year(),
        };
        Value::Number(number as f64)
    }
}

/// What is no number has no number as its result.
fn calculated(value: &Value, calculate: fn(f64) -> f64) -> Value {
    match value {
        Value::Null => Value::Null,
        value => Value::Number(calculate(value.number().unwrap_or(f64::NAN))),
    }
}

fn changed(value: &Value, change: impl FnOnce(&str) -> Value) -> Value {
    match value {
        Value::Text(text) => change(text),
        Value::Null | Value::Number(_) | Value::List(_) => Value::Null,
    }
}

fn both(arguments: &[Value], result: impl FnOnce(&str, &str) -> Value) -> Value {
    match arguments {
        [Value::Text(one), Value::Text(other)] => result(one, other),
        _ => Value::Null,
    }
}

fn part(arguments: &[Value]) -> Value {
    let [Value::Text(text), start, length] = arguments else { return Value::Null };
    let (Some(start), Some(length)) = (start.number(), length.number()) else {
        return Value::Null;
    };
    let all = text.len() as i64;
    let start = start as i64;
    let start = if start < 0 { start.saturating_add(all) } else { start };
    if !(0..=all).contains(&start) {
        return Value::Text(String::new());
    }
    let length = length as i64;
    let length = if length < 0 { all - start + length.max(-all) } else { length };
    let end = start.saturating_add(length.max(0)).min(all);
    let bytes = &text.as_bytes()[start as usize..end as usize];
    Value::Text(String::from_utf8_lossy(bytes).into_owned())
}

fn formatted(arguments: &[Value]) -> Result<Value, Error> {
    let refused = |text: &str| Err(Error::new(Code::Expression, text));
    let mut rest = arguments.iter();
    let Some(Value::Text(form)) = rest.next() else { return Ok(Value::Null) };
    let mut text = String::new();
    let mut characters = form.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => text.push('%'),
            Some('s') => match rest.next() {
                Some(value) => text.push_str(&value.text().unwrap_or_else(|| "(null)".to_string())),
                None => return refused("Not enough arguments for format"),
            },
            _ => return refused("Unknown format specifier passed"),
        }
    }
    Ok(Value::Text(text))
}

fn split(arguments: &[Value]) -> Value {
    let text = |at: usize, default: &str| match arguments.get(at) {
        Some(Value::Text(text)) => text.clone(),
        _ => default.to_string(),
    };
    let Some(Value::Text(whole)) = arguments.first() else { return Value::Null };
    let (separators, off) = (text(1, ","), text(2, " "));
    let parts = whole.split(|character| separators.contains(character));
    let parts = parts.map(|part| part.trim_matches(|character| off.contains(character)));
    let parts = parts.filter(|part| !part.is_empty());
    Value::List(parts.map(|part| Value::Text(part.to_string())).collect())
}

fn matched(arguments: &[Value], row: &dyn Row) -> Value {
    let most = arguments.first().and_then(Value::number).map_or(TERMS, |most| most as usize);
    let terms = row.matched_terms().iter().take(most);
    let terms: Vec<Value> = terms.map(|term| Value::Text(term.clone())).collect();
    if terms.is_empty() { Value::Null } else { Value::List(terms) }
}

fn distance(arguments: &[Value]) -> Value {
    let mut rest = arguments;
    let mut next = || -> Option<Place> {
        let (first, others) = rest.split_first()?;
        if let Value::Text(text) = first
            && let Some((longitude, latitude)) = text.split_once(',')
        {
            rest = others;
            return Place::new(longitude.trim().parse().ok()?, latitude.trim().parse().ok()?);
        }
        let (second, others) = others.split_first()?;
        rest = others;
        Place::new(first.number()?, second.number()?)
    };
    match (next(), next()) {
        // To a centimetre, as RediSearch has it.
        (Some(one), Some(other)) if rest.is_empty() => {
            Value::Number(libm::round(one.distance(other) * 100.0) / 100.0)
        }
        _ => Value::Null,
    }
}
