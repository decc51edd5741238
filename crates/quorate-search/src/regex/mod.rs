//! `FT.REGEX`: documents whose text follows a regular expression, but for so many letters.
//!
//! ```text
//! field pattern [DISTANCE letters] [LIMIT offset count]
//! ```
//!
//! A pattern is found anywhere in the text of a field, as it is stored. The distance of a document
//! is the least number of letters that have to be added to, left out of or changed in some part of
//! its text, so that it follows the pattern. Documents are ordered by distance, then by key.
//!
//! Which documents are looked at is told by letters that a pattern cannot do without
//! (`pieces`); every one is then read and checked, so the answer is exact.

mod automaton;
mod pattern;
mod pieces;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::aggregate::Documents;
use crate::arguments::{Arguments, MISSING, bad, number, shown};
use crate::error::{Code, Error};
use crate::execution::{Hit, Hits};
use crate::expression::Value;
use crate::index::Index;
use crate::limits;
use crate::schema::{FieldId, Kind, Schema};

use automaton::Automaton;
use pattern::Pattern;

/// What `FT.REGEX` asks for.
#[derive(Debug, Clone)]
pub struct Regex {
    field: FieldId,
    pattern: Pattern,
    automaton: Automaton,
    /// How many letters may differ.
    pub distance: u8,
    /// How many of the first are left out.
    pub offset: usize,
    /// How many are returned.
    pub count: usize,
}

impl Regex {
    /// Reads the arguments behind the name of the index.
    pub fn parse(arguments: &[&[u8]], schema: &Schema) -> Result<Regex, Error> {
        let mut arguments = Arguments::new(arguments);
        let name = arguments.value("FT.REGEX")?;
        let name = name.strip_prefix(b"@").unwrap_or(name);
        let field = schema.position(name).filter(|(_, field)| matches!(field.kind, Kind::Text(_)));
        let refused = || {
            let text = format!("Expected a TEXT field, found `{}`", shown(name));
            Error::new(Code::BadQuery, text)
        };
        let (field, _) = field.ok_or_else(refused)?;
        let text = arguments.next().ok_or_else(|| bad("FT.REGEX", MISSING))?;
        let pattern = Pattern::parse(&String::from_utf8_lossy(text))?;
        let automaton = Automaton::new(&pattern)?;
        let (mut distance, mut offset, mut count) = (0, 0, limits::TOP);
        while let Some(word) = arguments.next() {
            match word.to_ascii_uppercase().as_slice() {
                b"DISTANCE" => {
                    let letters = arguments.next().and_then(number::<u8>);
                    let letters = letters.filter(|&letters| letters <= limits::REGEX_DISTANCE);
                    let text = format!(
                        "DISTANCE requires an integer from 0 to {}",
                        limits::REGEX_DISTANCE
                    );
                    let refused = || Error::new(Code::ParseArguments, text);
                    distance = letters.ok_or_else(refused)?;
                }
                b"LIMIT" => (offset, count) = limit(&mut arguments)?,
                _ => {
                    let text = format!("Unknown argument `{}`", shown(word));
                    return Err(Error::new(Code::UnknownArgument, text));
                }
            }
        }
        Ok(Regex { field, pattern, automaton, distance, offset, count })
    }

    /// How many of the best a partition returns; [`Hits::merge`] is given the same.
    pub fn top(&self) -> usize {
        self.offset.saturating_add(self.count)
    }
}

/// What follows `LIMIT` of a search: an offset and a count.
pub(crate) fn limit(arguments: &mut Arguments<'_>) -> Result<(usize, usize), Error> {
    let refused = |text: &str| Error::new(Code::ParseArguments, text);
    let (Some(from), Some(most)) = (arguments.next(), arguments.next()) else {
        return Err(refused("LIMIT requires two arguments"));
    };
    let (Some(from), Some(most)) = (number::<usize>(from), number::<usize>(most)) else {
        return Err(refused("LIMIT needs two numeric arguments"));
    };
    if from > limits::RESULTS || most > limits::RESULTS {
        let text = format!("LIMIT exceeds maximum of {}", limits::RESULTS);
        return Err(Error::new(Code::Limit, text));
    }
    Ok((from, most))
}

impl Index {
    /// The documents of the partition that a pattern is found in: how many, and the best
    /// [`Regex::top`] of them. Those of partitions are merged by [`Hits::merge`].
    pub fn regex(&self, regex: &Regex, documents: &dyn Documents) -> Result<Hits, Error> {
        let candidates = match pieces::candidates(self, regex) {
            Some(candidates) => candidates,
            None => self.documents.all().clone(),
        };
        let path = &self.schema().fields[usize::from(regex.field.0)].path;
        let mut work = limits::REGEX_WORK;
        let mut hits = Hits::default();
        for id in candidates {
            if self.is_stopped() {
                break;
            }
            if !self.documents.sees(id) {
                continue;
            }
            let key = &self.documents.get(id).key;
            let Some(value) = documents.value(key, path) else { continue };
            let Some(distance) = least(regex, &value, &mut work)? else { continue };
            hits.total += 1;
            hits.best.push(Hit {
                key: key.clone(),
                score: 0.0,
                explanation: None,
                distance: Some(f64::from(distance)),
                distances: Vec::new(),
                sorted_by: None,
            });
            if hits.best.len() > regex.top().saturating_mul(2).saturating_add(SPARE) {
                hits.merge(Hits::default(), regex.top());
            }
        }
        hits.merge(Hits::default(), regex.top());
        Ok(hits)
    }
}

/// How many hits more than needed are kept before they are sorted.
const SPARE: usize = 256;

/// The distance of a value; of several the least.
fn least(regex: &Regex, value: &Value, work: &mut u64) -> Result<Option<u8>, Error> {
    match value {
        Value::Text(text) => regex.automaton.distance(text, regex.distance, work),
        Value::List(values) => {
            let mut best = None;
            for value in values {
                let distance = least(regex, value, work)?;
                best = match (best, distance) {
                    (Some(best), Some(distance)) => Some(distance.min(best)),
                    (best, distance) => best.or(distance),
                };
            }
            Ok(best)
        }
        Value::Null | Value::Number(_) => Ok(None),
    }
}
