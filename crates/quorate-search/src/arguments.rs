//! A cursor over the arguments of a command.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::FromStr;

use crate::error::{Code, Error};

pub(crate) const MISSING: &str = "Expected an argument, but none provided";
pub(crate) const MALFORMED: &str = "Could not convert argument to expected type";
pub(crate) const OUTSIDE: &str = "Value is outside acceptable bounds";
pub(crate) const UNKNOWN: &str = "Unknown argument";

pub(crate) struct Arguments<'a> {
    rest: &'a [&'a [u8]],
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(arguments: &'a [&'a [u8]]) -> Self {
        Self { rest: arguments }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Goes past the next argument if it is `keyword`.
    pub(crate) fn skip(&mut self, keyword: &str) -> bool {
        let found = self.rest.first().is_some_and(|next| is(next, keyword));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// The value that `keyword` must have.
    pub(crate) fn value(&mut self, keyword: &str) -> Result<&'a [u8], Error> {
        self.next().ok_or_else(|| bad(keyword, MISSING))
    }

    /// A count, and as many arguments as it says.
    pub(crate) fn list(&mut self, keyword: &str) -> Result<&'a [&'a [u8]], Error> {
        let count: i64 = number(self.value(keyword)?).ok_or_else(|| bad(keyword, MALFORMED))?;
        let count = usize::try_from(count).map_err(|_| bad(keyword, OUTSIDE))?;
        let list = self.rest.get(..count).ok_or_else(|| bad(keyword, MISSING))?;
        self.rest = &self.rest[count..];
        Ok(list)
    }
}

/// Whether an argument is this keyword, in any case.
pub(crate) fn is(argument: &[u8], keyword: &str) -> bool {
    argument.eq_ignore_ascii_case(keyword.as_bytes())
}

/// A number in decimal, whole or not.
pub(crate) fn number<T: FromStr>(argument: &[u8]) -> Option<T> {
    str::from_utf8(argument).ok()?.parse().ok()
}

/// A real number that is neither infinite nor missing.
pub(crate) fn finite(argument: &[u8]) -> Option<f64> {
    number::<f64>(argument).filter(|number| number.is_finite())
}

/// An argument as people read it.
pub(crate) fn shown(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

pub(crate) fn bad(what: &str, why: &str) -> Error {
    Error::new(Code::ParseArguments, format!("Bad arguments for {what}: {why}"))
}

/// Owned arguments, for what prints itself as a command.
pub(crate) struct Printed(pub(crate) Vec<Vec<u8>>);

impl Printed {
    pub(crate) fn push(&mut self, argument: impl AsRef<[u8]>) -> &mut Self {
        self.0.push(argument.as_ref().to_vec());
        self
    }

    /// `word` if `condition` holds.
    pub(crate) fn flag(&mut self, condition: bool, word: &str) -> &mut Self {
        if condition {
            self.push(word);
        }
        self
    }

    /// `word` and its value, if there is one.
    pub(crate) fn option(&mut self, word: &str, value: Option<impl AsRef<[u8]>>) -> &mut Self {
        if let Some(value) = value {
            self.push(word).push(value);
        }
        self
    }
}
