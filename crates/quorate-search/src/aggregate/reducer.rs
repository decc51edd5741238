//! What is made of a group, by RediSearch's names.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Quantile, SortKey};
use crate::arguments::{self, Arguments, MALFORMED, MISSING, OUTSIDE, bad, is, shown};
use crate::error::{Code, Error};
use crate::limits;

/// A reducer with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reducer {
    Count,
    CountDistinct,
    CountDistinctish,
    Sum,
    Min,
    Max,
    Average,
    Deviation,
    Quantile { at: f64, resolution: u32 },
    ToList,
    FirstValue { by: Option<SortKey> },
    RandomSample { size: usize },
}

/// A value of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reduction {
    pub(crate) reducer: Reducer,
    /// Of which values it is made; none: of rows.
    pub(crate) property: Option<String>,
    pub(crate) name: String,
}

impl Reduction {
    /// What follows `REDUCE`.
    pub(super) fn read(arguments: &mut Arguments<'_>) -> Result<Reduction, Error> {
        let word = arguments.value("REDUCE")?;
        let list = arguments.list("REDUCE")?;
        let name = match arguments.skip("AS") {
            true => shown(arguments.value("AS")?),
            false => default_name(word, list),
        };
        let mut rest = Arguments::new(list);
        let upper = shown(word).to_ascii_uppercase();
        let property = match upper.as_str() {
            "COUNT" => None,
            _ if known(&upper) => Some(property(rest.value(&upper)?)),
            _ => None,
        };
        let reducer = match upper.as_str() {
            "COUNT" => Reducer::Count,
            "COUNT_DISTINCT" => Reducer::CountDistinct,
            "COUNT_DISTINCTISH" => Reducer::CountDistinctish,
            "SUM" => Reducer::Sum,
            "MIN" => Reducer::Min,
            "MAX" => Reducer::Max,
            "AVG" => Reducer::Average,
            "STDDEV" => Reducer::Deviation,
            "TOLIST" => Reducer::ToList,
            "QUANTILE" => quantile(&mut rest)?,
            "FIRST_VALUE" => Reducer::FirstValue { by: first_by(&mut rest)? },
            "RANDOM_SAMPLE" => {
                let size = number("RANDOM_SAMPLE", &mut rest, 1, limits::SAMPLE as u64)?;
                Reducer::RandomSample { size: size as usize }
            }
            _ => {
                let text = format!("No such reducer: {}", shown(word));
                return Err(Error::new(Code::ReducerNotFound, text));
            }
        };
        match rest.next() {
            None => Ok(Reduction { reducer, property, name }),
            Some(_) => Err(bad(&upper, "Unknown argument")),
        }
    }

    /// The properties that it reads.
    pub(super) fn properties(&self) -> impl Iterator<Item = &str> {
        let by = match &self.reducer {
            Reducer::FirstValue { by } => by.as_ref().map(|key| key.property.as_str()),
            _ => None,
        };
        self.property.as_deref().into_iter().chain(by)
    }
}

/// The names of reducers of a property.
fn known(name: &str) -> bool {
    let all = [
        "COUNT_DISTINCT",
        "COUNT_DISTINCTISH",
        "SUM",
        "MIN",
        "MAX",
        "AVG",
        "STDDEV",
        "TOLIST",
        "QUANTILE",
        "FIRST_VALUE",
        "RANDOM_SAMPLE",
    ];
    all.contains(&name)
}

/// The name of a property, with or without its sign.
pub(crate) fn property(argument: &[u8]) -> String {
    shown(argument.strip_prefix(b"@").unwrap_or(argument))
}

fn default_name(word: &[u8], list: &[&[u8]]) -> String {
    let arguments: Vec<String> = list.iter().map(|argument| property(argument)).collect();
    format!("__generated_alias{}{}", shown(word).to_lowercase(), arguments.join(","))
}

fn number(what: &str, rest: &mut Arguments<'_>, least: u64, most: u64) -> Result<u64, Error> {
    let number = arguments::number::<i64>(rest.value(what)?).ok_or_else(|| bad(what, MALFORMED))?;
    let number = u64::try_from(number).ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| bad(what, OUTSIDE))
}

fn quantile(rest: &mut Arguments<'_>) -> Result<Reducer, Error> {
    let at =
        arguments::finite(rest.value("QUANTILE")?).ok_or_else(|| bad("QUANTILE", MALFORMED))?;
    if !(0.0..=1.0).contains(&at) {
        let text = "Percentage must be between 0.0 and 1.0";
        return Err(Error::new(Code::ParseArguments, text));
    }
    let resolution = match rest.is_empty() {
        true => Quantile::RESOLUTION,
        false => number("QUANTILE", rest, 1, u64::from(Quantile::RESOLUTION_MAX))? as u32,
    };
    Ok(Reducer::Quantile { at, resolution })
}

fn first_by(rest: &mut Arguments<'_>) -> Result<Option<SortKey>, Error> {
    if rest.is_empty() {
        return Ok(None);
    }
    if !rest.skip("BY") {
        return Err(bad("FIRST_VALUE", "Unknown argument"));
    }
    let property = property(rest.next().ok_or_else(|| bad("FIRST_VALUE", MISSING))?);
    Ok(Some(SortKey { property, descending: direction(rest) }))
}

/// Whether what follows says that the greatest come first; nothing: the least.
pub(super) fn direction(rest: &mut Arguments<'_>) -> bool {
    rest.skip("DESC") || {
        rest.skip("ASC");
        false
    }
}

/// Whether an argument is the name of a property.
pub(super) fn is_property(argument: &[u8]) -> bool {
    argument.first() == Some(&b'@') && !is(argument, "@")
}

/// The properties of a list that may have nothing else.
pub(super) fn properties(what: &str, list: &[&[u8]]) -> Result<Vec<String>, Error> {
    let each = list.iter().map(|argument| {
        if is_property(argument) {
            return Ok(property(argument));
        }
        let name = shown(argument);
        Err(bad(what, &format!("Unknown property `{name}`. Did you mean `@{name}`?").to_string()))
    });
    each.collect()
}
