//! Refusals. Clients match on the code or on the text, so both are RediSearch's (8.10).

use alloc::string::String;
use core::fmt;

/// Who is at fault, by the word that begins the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The error has no code.
    None,
    /// An argument of a command is missing or malformed.
    ParseArguments,
    /// An argument of a command is unknown.
    UnknownArgument,
    /// The definition of an index is malformed.
    AddArguments,
    /// A query is malformed.
    Syntax,
    /// An expression is malformed, or cannot be calculated.
    Expression,
    /// A query names a parameter that was not given.
    NoParameter,
    /// What a query gives a name has one in the schema.
    DuplicateField,
    /// A property is not known where it is read.
    PropertyNotFound,
    /// A reducer is unknown.
    ReducerNotFound,
    /// A bound was exceeded.
    Limit,
    /// A query needs more memory than it may have.
    Memory,
    /// A query has taken longer than it may.
    Timeout,
    /// What was asked for contradicts itself, the schema or a limit.
    BadQuery,
}

impl Code {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Code::None => "",
            Code::ParseArguments => "SEARCH_PARSE_ARGS",
            Code::UnknownArgument => "SEARCH_ARG_UNRECOGNIZED",
            Code::AddArguments => "SEARCH_ADD_ARGS",
            Code::Syntax => "SEARCH_SYNTAX",
            Code::Expression => "SEARCH_EXPR",
            Code::NoParameter => "SEARCH_PARAM_NOT_FOUND",
            Code::DuplicateField => "SEARCH_FIELD_DUP",
            Code::PropertyNotFound => "SEARCH_PROP_NOT_FOUND",
            Code::ReducerNotFound => "SEARCH_REDUCER_NOT_FOUND",
            Code::Limit => "SEARCH_LIMIT_OVER",
            Code::Memory => "SEARCH_OOM",
            Code::Timeout => "SEARCH_TIMEOUT",
            Code::BadQuery => "SEARCH_QUERY_BAD",
        }
    }
}

/// Why something was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Who is at fault.
    pub code: Code,
    /// What was wrong, for people.
    pub text: String,
}

impl Error {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// What a query is answered with that has taken too long, in RediSearch's words.
    pub fn timeout() -> Self {
        Self::new(Code::Timeout, "Timeout limit was reached")
    }
}

/// The error as it is on the wire.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Code::None => f.write_str(&self.text),
            code => write!(f, "{} {}", code.name(), self.text),
        }
    }
}

impl core::error::Error for Error {}
