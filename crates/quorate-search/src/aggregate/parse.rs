//! The arguments of `FT.AGGREGATE` behind the name of the index.
//!
//! ```text
//! query [VERBATIM] [INORDER] [SLOP n] [LANGUAGE l] [SCORER s] [ADDSCORES] [TIMEOUT ms]
//!       [WITHCOUNT | WITHOUTCOUNT] [PARAMS n {name value}..] [DIALECT d] [FORMAT STRING]
//!       [WITHCURSOR [COUNT n] [MAXIDLE ms]]
//!       { LOAD n {@p [AS a]}.. | LOAD *
//!       | GROUPBY n @p.. {REDUCE f n a.. [AS a]}..
//!       | SORTBY n {@p [ASC | DESC]}.. [MAX n] [WITHCOUNT | WITHOUTCOUNT]
//!       | APPLY e [AS a] | FILTER e | LIMIT offset count }..
//! ```
//!
//! Options and stages come in any order; that of stages counts. As in RediSearch a `SORTBY` and a
//! `LIMIT` next to each other are one stage, and what is sorted without a limit is cut to ten.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::reducer::{direction, properties, property};
use super::{Aggregation, Column, CursorOptions, Grouping, Origin, Reduction, SortKey, Stage};
use crate::arguments::{Arguments, MALFORMED, MISSING, OUTSIDE, bad, is, number, shown};
use crate::error::{Code, Error};
use crate::execution::Scorer;
use crate::expression::Expression;
use crate::query::{Context, Dialect, Parameters, parse};
use crate::{Language, Schema, limits};

impl Aggregation {
    /// Reads the arguments behind the name of the index; `dialect` is that of queries that name
    /// none.
    pub fn parse(
        arguments: &[&[u8]],
        schema: &Schema,
        dialect: Dialect,
    ) -> Result<Aggregation, Error> {
        let mut reading = Reading::new(arguments, dialect);
        let query = reading.arguments.value("query")?;
        while let Some(word) = reading.arguments.next() {
            if !reading.option(word)? && !reading.stage(word)? {
                let position = arguments.len() - reading.arguments.len() - 1;
                let word = shown(word);
                let text = format!("Unknown argument `{word}` at position {position} for <main>");
                return Err(Error::new(Code::UnknownArgument, text));
            }
        }
        reading.finish(query, schema)
    }
}

/// Arguments while they are read.
pub(crate) struct Reading<'a> {
    pub(crate) arguments: Arguments<'a>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) language: Option<Language>,
    pub(crate) verbatim: bool,
    pub(crate) slop: Option<u32>,
    pub(crate) in_order: bool,
    pub(crate) scorer: Scorer,
    pub(crate) add_scores: bool,
    pub(crate) with_count: bool,
    pub(crate) dialect: Dialect,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) cursor: Option<CursorOptions>,
    pub(crate) parameters: Parameters,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(arguments: &'a [&'a [u8]], dialect: Dialect) -> Self {
        Reading {
            arguments: Arguments::new(arguments),
            stages: Vec::new(),
            language: None,
            verbatim: false,
            slop: None,
            in_order: false,
            scorer: Scorer::default(),
            add_scores: false,
            with_count: false,
            dialect,
            timeout_ms: None,
            cursor: None,
            parameters: Parameters::new(),
        }
    }

    fn finish(self, query: &[u8], schema: &Schema) -> Result<Aggregation, Error> {
        let context = Context {
            schema,
            dialect: self.dialect,
            parameters: &self.parameters,
            keep_stop_words: false,
        };
        let node = parse(&String::from_utf8_lossy(query), context)?;
        let (stages, uses_terms) =
            super::resolve::resolve(self.stages, &node, schema, self.add_scores)?;
        Ok(Aggregation {
            node,
            language: self.language.or(schema.language).unwrap_or(Language::English),
            verbatim: self.verbatim,
            slop: self.slop,
            in_order: self.in_order,
            scorer: self.scorer,
            add_scores: self.add_scores,
            with_count: self.with_count,
            dialect: self.dialect,
            timeout_ms: self.timeout_ms,
            cursor: self.cursor,
            stages,
            uses_terms,
        })
    }

    /// What says how the query is read and answered; whether it was that.
    pub(crate) fn option(&mut self, word: &[u8]) -> Result<bool, Error> {
        match word.to_ascii_uppercase().as_slice() {
            b"VERBATIM" => self.verbatim = true,
            b"INORDER" => self.in_order = true,
            b"SLOP" => {
                let slop: i64 = self.whole("SLOP")?;
                self.slop = u32::try_from(slop).ok();
            }
            b"LANGUAGE" => {
                let language = Language::named(self.arguments.value("LANGUAGE")?);
                let refused = || Error::new(Code::BadQuery, "No such language");
                self.language = Some(language.ok_or_else(refused)?);
            }
            b"SCORER" => {
                let name = self.arguments.value("SCORER")?;
                let refused =
                    || Error::new(Code::BadQuery, format!("No such scorer {}", shown(name)));
                self.scorer = Scorer::named(name).ok_or_else(refused)?;
            }
            b"ADDSCORES" => self.add_scores = true,
            b"WITHCOUNT" => self.with_count = true,
            b"WITHOUTCOUNT" => self.with_count = false,
            b"TIMEOUT" => {
                let timeout = self.arguments.next().and_then(number::<u64>);
                let text = "TIMEOUT requires a non negative integer";
                let refused = || Error::new(Code::ParseArguments, text);
                self.timeout_ms = Some(timeout.ok_or_else(refused)?);
            }
            b"DIALECT" => {
                let dialect = self.arguments.next().and_then(number::<u64>);
                let text = "DIALECT requires a non negative integer >=1 and <= 4";
                let refused = || Error::new(Code::ParseArguments, text);
                self.dialect = dialect.and_then(Dialect::numbered).ok_or_else(refused)?;
            }
            b"FORMAT" => {
                if !is(self.arguments.value("FORMAT")?, "STRING") {
                    return Err(Error::new(Code::ParseArguments, "FORMAT must be STRING"));
                }
            }
            b"PARAMS" => self.parameters = parameters(self.arguments.list("PARAMS")?)?,
            b"WITHCURSOR" => self.cursor = Some(self.cursor()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn whole<T: core::str::FromStr>(&mut self, word: &str) -> Result<T, Error> {
        number(self.arguments.value(word)?).ok_or_else(|| bad(word, MALFORMED))
    }

    fn cursor(&mut self) -> Result<CursorOptions, Error> {
        let mut cursor =
            CursorOptions { count: limits::CURSOR_ROWS, max_idle_ms: limits::CURSOR_IDLE_MS };
        loop {
            if self.arguments.skip("COUNT") {
                let count: i64 = self.whole("COUNT")?;
                let count = usize::try_from(count).ok().filter(|&count| count > 0);
                cursor.count = count.ok_or_else(|| bad("COUNT", OUTSIDE))?;
            } else if self.arguments.skip("MAXIDLE") {
                let idle: i64 = self.whole("MAXIDLE")?;
                let idle = u64::try_from(idle).ok().filter(|&idle| idle > 0);
                let idle = idle.ok_or_else(|| bad("MAXIDLE", OUTSIDE))?;
                cursor.max_idle_ms = idle.min(limits::CURSOR_IDLE_MS);
            } else {
                return Ok(cursor);
            }
        }
    }

    /// What happens to rows; whether it was that.
    pub(crate) fn stage(&mut self, word: &[u8]) -> Result<bool, Error> {
        match word.to_ascii_uppercase().as_slice() {
            b"LOAD" if self.arguments.skip("*") => self.stages.push(Stage::LoadAll),
            b"LOAD" => {
                let columns = columns(self.arguments.list("LOAD")?)?;
                self.stages.push(Stage::Load(columns));
            }
            b"GROUPBY" => {
                let by = properties("GROUPBY", self.arguments.list("GROUPBY")?)?;
                let mut reductions = Vec::new();
                while self.arguments.skip("REDUCE") {
                    reductions.push(Reduction::read(&mut self.arguments)?);
                }
                if reductions.len() + by.len() > limits::FIELDS {
                    return Err(bad("GROUPBY", OUTSIDE));
                }
                self.stages.push(Stage::Group(Grouping { by, reductions }));
            }
            b"SORTBY" => self.sort()?,
            b"LIMIT" => self.limit()?,
            b"APPLY" => {
                let text = self.expression("APPLY")?;
                let expression = Expression::parse(&text)?;
                let name = match self.arguments.skip("AS") {
                    true => property(self.arguments.value("AS")?),
                    false => text,
                };
                self.stages.push(Stage::Apply { expression, name });
            }
            b"FILTER" => {
                let expression = Expression::parse(&self.expression("FILTER")?)?;
                self.stages.push(Stage::Filter(expression));
            }
            _ => return Ok(false),
        }
        if self.stages.len() > limits::STAGES {
            let text = format!("Aggregation has more than {} stages", limits::STAGES);
            return Err(Error::new(Code::Limit, text));
        }
        Ok(true)
    }

    fn expression(&mut self, word: &str) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.arguments.value(word)?).into_owned())
    }

    fn sort(&mut self) -> Result<(), Error> {
        let list = self.arguments.list("SORTBY")?;
        let mut rest = Arguments::new(list);
        let mut sorted_by = Vec::new();
        while let Some(argument) = rest.next() {
            let mut property = properties("SORTBY", &[argument])?;
            let descending = direction(&mut rest);
            sorted_by.extend(property.pop().map(|property| SortKey { property, descending }));
        }
        if sorted_by.is_empty() {
            return Err(bad("SORTBY", MISSING));
        }
        if sorted_by.len() > limits::SORT_KEYS {
            let text = format!("SORTBY has more than {} properties", limits::SORT_KEYS);
            return Err(Error::new(Code::Limit, text));
        }
        let mut most = None;
        loop {
            if self.arguments.skip("MAX") {
                let count: i64 = self.whole("MAX")?;
                let count = usize::try_from(count).map_err(|_| bad("MAX", OUTSIDE))?;
                // As in RediSearch 0 means the default.
                most = Some(count).filter(|&count| count > 0);
            } else if self.arguments.skip("WITHCOUNT") {
                self.with_count = true;
            } else if self.arguments.skip("WITHOUTCOUNT") {
                self.with_count = false;
            } else {
                break;
            }
        }
        match self.stages.last_mut() {
            Some(Stage::Arrange { keys, count, .. }) => {
                *keys = sorted_by;
                *count = most.or(*count);
            }
            _ => {
                let stage = Stage::Arrange { keys: sorted_by, offset: 0, count: most };
                self.stages.push(stage);
            }
        }
        Ok(())
    }

    fn limit(&mut self) -> Result<(), Error> {
        let refused = |text: &str| Error::new(Code::ParseArguments, text);
        let (Some(from), Some(most)) = (self.arguments.next(), self.arguments.next()) else {
            return Err(refused("LIMIT requires two arguments"));
        };
        let (Some(from), Some(most)) = (number::<usize>(from), number::<usize>(most)) else {
            return Err(refused("LIMIT needs two numeric arguments"));
        };
        if from > limits::ROWS || most > limits::ROWS {
            let text = format!("LIMIT exceeds maximum of {}", limits::ROWS);
            return Err(Error::new(Code::Limit, text));
        }
        match self.stages.last_mut() {
            Some(Stage::Arrange { offset, count, .. }) => {
                *offset = from;
                *count = Some(most);
            }
            _ => {
                let stage = Stage::Arrange { keys: Vec::new(), offset: from, count: Some(most) };
                self.stages.push(stage);
            }
        }
        Ok(())
    }
}

/// What is loaded, by its name in the document; where it is, is found out with the schema.
fn columns(list: &[&[u8]]) -> Result<Vec<Column>, Error> {
    let mut rest = Arguments::new(list);
    let mut columns = Vec::new();
    while let Some(argument) = rest.next() {
        let path = argument.strip_prefix(b"@").unwrap_or(argument);
        let name = match rest.skip("AS") {
            true => property(rest.next().ok_or_else(|| bad("LOAD", MISSING))?),
            false => shown(path),
        };
        let origin = Origin::Path { path: path.to_vec(), numeric: false };
        columns.push(Column { origin, name });
    }
    Ok(columns)
}

/// Parameters of a query: names and values.
pub(crate) fn parameters(list: &[&[u8]]) -> Result<Parameters, Error> {
    let refused = |text: &str| Err(Error::new(Code::AddArguments, text));
    let (pairs, rest) = list.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return refused("Parameters must be specified in PARAM VALUE pairs");
    }
    if pairs.len() > limits::PARAMETERS {
        return refused(&format!("There are more than {} parameters", limits::PARAMETERS));
    }
    let mut parameters = Parameters::new();
    for [name, value] in pairs {
        let name = shown(name);
        if parameters.insert(name.clone(), value.to_vec()).is_some() {
            return refused(&format!("Duplicate parameter `{name}`").to_string());
        }
    }
    Ok(parameters)
}
