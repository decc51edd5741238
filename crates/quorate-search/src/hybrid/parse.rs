//! The arguments of `FT.HYBRID` behind the name of the index.
//!
//! ```text
//! SEARCH query [SCORER s] [YIELD_SCORE_AS a]
//! VSIM @field $vector [KNN n K k [EF_RUNTIME e] [SHARD_K_RATIO r] [YIELD_SCORE_AS a]
//!                     | RANGE n RADIUS r [EPSILON e] [YIELD_SCORE_AS a]]
//!      [YIELD_SCORE_AS a] [FILTER query | FILTER n query [POLICY p [BATCH_SIZE b]]]
//! [COMBINE RRF n [CONSTANT c] [WINDOW w] [YIELD_SCORE_AS a]
//!  | COMBINE LINEAR n [ALPHA a] [BETA b] [WINDOW w] [YIELD_SCORE_AS a]] [NOSORT]
//! options and stages as of FT.AGGREGATE
//! ```
//!
//! `EF_RUNTIME`, `EPSILON`, `SHARD_K_RATIO` and policies are read and change nothing: the nearest
//! are exact.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};

use super::{Fusion, Hybrid, KEY};
use crate::aggregate::{Reading, Stage, property};
use crate::arguments::{Arguments, MALFORMED, MISSING, OUTSIDE, bad, finite, is, number, shown};
use crate::error::{Code, Error};
use crate::execution::Scorer;
use crate::query::{Context, Dialect, Node, parse};
use crate::schema::Kind;
use crate::{Language, Schema, limits};

/// RediSearch's defaults.
const NEAREST: u64 = 10;
const WINDOW: usize = 20;
const CONSTANT: f64 = 60.0;
const ALPHA: f64 = 0.3;
const BETA: f64 = 0.7;

/// What comes before the stages.
struct Parts<'a> {
    query: &'a [u8],
    scorer: Scorer,
    words_score: Option<String>,
    field: &'a [u8],
    vector: &'a [u8],
    nearest: Option<u64>,
    radius: Option<f64>,
    nearness: Option<String>,
    filter: &'a [u8],
    fusion: Fusion,
    window: usize,
    score: Option<String>,
    unsorted: bool,
}

impl Hybrid {
    /// Reads the arguments behind the name of the index.
    pub fn parse(arguments: &[&[u8]], schema: &Schema) -> Result<Hybrid, Error> {
        let mut reading = Reading::new(arguments, Dialect::Two);
        let mut parts = Parts::read(&mut reading.arguments)?;
        while let Some(word) = reading.arguments.next() {
            let known = if is(word, "COMBINE") {
                parts.combine(&mut reading.arguments)?;
                true
            } else if is(word, "NOSORT") {
                parts.unsorted = true;
                true
            } else {
                reading.option(word)? || reading.stage(word)?
            };
            if !known {
                let position = arguments.len() - reading.arguments.len() - 1;
                let word = shown(word);
                let text = format!("Unknown argument `{word}` at position {position} for <main>");
                return Err(Error::new(Code::UnknownArgument, text));
            }
        }
        parts.finish(reading, schema)
    }
}

impl<'a> Parts<'a> {
    fn read(arguments: &mut Arguments<'a>) -> Result<Parts<'a>, Error> {
        if !arguments.skip("SEARCH") {
            return Err(Error::new(Code::ParseArguments, "SEARCH argument is required"));
        }
        let query = arguments.value("SEARCH")?;
        let mut scorer = Scorer::default();
        let mut words_score = None;
        loop {
            if arguments.skip("SCORER") {
                let name = arguments.value("SCORER")?;
                let refused =
                    || Error::new(Code::BadQuery, format!("No such scorer {}", shown(name)));
                scorer = Scorer::named(name).ok_or_else(refused)?;
            } else if arguments.skip("YIELD_SCORE_AS") {
                words_score = Some(property(arguments.value("YIELD_SCORE_AS")?));
            } else {
                break;
            }
        }
        if !arguments.skip("VSIM") {
            return Err(Error::new(Code::ParseArguments, "VSIM argument is required"));
        }
        let mut parts = Parts {
            query,
            scorer,
            words_score,
            field: arguments.value("VSIM")?,
            vector: arguments.value("VSIM")?,
            nearest: None,
            radius: None,
            nearness: None,
            filter: b"*",
            fusion: Fusion::Rrf { constant: CONSTANT },
            window: WINDOW,
            score: None,
            unsorted: false,
        };
        loop {
            if arguments.skip("KNN") {
                parts.nearest_options("KNN", arguments.list("KNN")?)?;
            } else if arguments.skip("RANGE") {
                parts.nearest_options("RANGE", arguments.list("RANGE")?)?;
                if parts.radius.is_none() {
                    return Err(bad("RADIUS", MISSING));
                }
            } else if arguments.skip("YIELD_SCORE_AS") {
                parts.nearness = Some(property(arguments.value("YIELD_SCORE_AS")?));
            } else if arguments.skip("FILTER") {
                parts.filter(arguments)?;
            } else {
                return Ok(parts);
            }
        }
    }

    fn nearest_options(&mut self, what: &str, list: &'a [&'a [u8]]) -> Result<(), Error> {
        let mut rest = Arguments::new(list);
        while let Some(word) = rest.next() {
            let name = shown(word).to_ascii_uppercase();
            let value = rest.value(&name)?;
            let malformed = || bad(&name, MALFORMED);
            match name.as_str() {
                "K" => {
                    let count: u64 = number(value).ok_or_else(malformed)?;
                    if !(1..=limits::NEAREST).contains(&count) {
                        return Err(bad(&name, OUTSIDE));
                    }
                    self.nearest = Some(count);
                }
                "RADIUS" => {
                    let radius = finite(value).ok_or_else(malformed)?;
                    if radius < 0.0 {
                        return Err(bad(&name, OUTSIDE));
                    }
                    self.radius = Some(radius);
                }
                "YIELD_SCORE_AS" => self.nearness = Some(property(value)),
                "EF_RUNTIME" | "EPSILON" | "SHARD_K_RATIO" => {
                    finite(value).filter(|&value| value > 0.0).ok_or_else(malformed)?;
                }
                _ => {
                    let text = format!("Unknown argument `{name}` in {what}");
                    return Err(Error::new(Code::UnknownArgument, text));
                }
            }
        }
        Ok(())
    }

    /// What the nearest are chosen among: a query, alone or in a list.
    fn filter(&mut self, arguments: &mut Arguments<'a>) -> Result<(), Error> {
        let first = arguments.value("FILTER")?;
        let Some(count) = number::<usize>(first) else {
            self.filter = first;
            return Ok(());
        };
        for position in 0..count {
            let argument = arguments.value("FILTER")?;
            if position == 0 {
                self.filter = argument;
            }
        }
        Ok(())
    }

    fn combine(&mut self, arguments: &mut Arguments<'a>) -> Result<(), Error> {
        let method = arguments.value("COMBINE")?;
        let is_linear = is(method, "LINEAR");
        if !is_linear && !is(method, "RRF") {
            return Err(bad("COMBINE", "expected RRF or LINEAR"));
        }
        let (mut constant, mut alpha, mut beta) = (CONSTANT, ALPHA, BETA);
        let mut rest = Arguments::new(arguments.list("COMBINE")?);
        while let Some(word) = rest.next() {
            let name = shown(word).to_ascii_uppercase();
            let value = rest.value(&name)?;
            let real = || finite(value).ok_or_else(|| bad(&name, MALFORMED));
            match (name.as_str(), is_linear) {
                ("CONSTANT", false) => {
                    constant = real()?;
                    if constant < 0.0 {
                        return Err(bad(&name, OUTSIDE));
                    }
                }
                ("ALPHA", true) => alpha = real()?,
                ("BETA", true) => beta = real()?,
                ("WINDOW", _) => {
                    let window: usize = number(value).ok_or_else(|| bad(&name, MALFORMED))?;
                    if !(1..=limits::HYBRID_WINDOW).contains(&window) {
                        return Err(bad(&name, OUTSIDE));
                    }
                    self.window = window;
                }
                ("YIELD_SCORE_AS", _) => self.score = Some(property(value)),
                _ => {
                    let text = format!("Unknown argument `{name}` in COMBINE");
                    return Err(Error::new(Code::UnknownArgument, text));
                }
            }
        }
        self.fusion = match is_linear {
            true => Fusion::Linear { alpha, beta },
            false => Fusion::Rrf { constant },
        };
        Ok(())
    }

    fn finish(self, reading: Reading<'a>, schema: &Schema) -> Result<Hybrid, Error> {
        let context = Context {
            schema,
            dialect: reading.dialect.max(Dialect::Two),
            parameters: &reading.parameters,
            keep_stop_words: false,
        };
        let words = parse(&String::from_utf8_lossy(self.query), context)?;
        if matches!(words.kind, crate::query::Kind::Nearest { .. }) {
            let text = "SEARCH cannot ask for the nearest vectors: VSIM does";
            return Err(Error::new(Code::BadQuery, text));
        }
        let name = self.field.strip_prefix(b"@").unwrap_or(self.field);
        let metric = match schema.field(name).map(|field| &field.kind) {
            Some(Kind::Vector(vector)) => vector.metric,
            _ => {
                let text = format!("Expected a VECTOR field, found `{}`", shown(name));
                return Err(Error::new(Code::BadQuery, text));
            }
        };
        let nearest = self.nearest_node(name, context)?;
        let mut stages = reading.stages;
        let loads = stages.iter().any(Stage::loads);
        let score = self.score.or_else(|| (!loads).then(|| SCORE.to_string()));
        let mut known: BTreeSet<String> = BTreeSet::new();
        let names = [&self.words_score, &self.nearness, &score];
        known.extend(names.into_iter().flatten().cloned());
        if !loads {
            known.insert(KEY.to_string());
        }
        let bounded = |stage: &Stage| matches!(stage, Stage::Arrange { .. } | Stage::Group(_));
        if !stages.iter().any(bounded) {
            let keys = alloc::vec::Vec::new();
            stages.push(Stage::Arrange { keys, offset: 0, count: Some(limits::TOP) });
        }
        Ok(Hybrid {
            words,
            nearest,
            language: reading.language.or(schema.language).unwrap_or(Language::English),
            scorer: self.scorer,
            words_score: self.words_score,
            nearness: self.nearness,
            score,
            radius: self.radius,
            metric,
            fusion: self.fusion,
            window: self.window,
            unsorted: self.unsorted,
            stages: crate::aggregate::resolve_rows(stages, known, schema)?,
            loads,
            timeout_ms: reading.timeout_ms,
            cursor: reading.cursor,
        })
    }

    /// The query for the nearest, as `FT.SEARCH` has it. Of a range only as many as count.
    fn nearest_node(&self, field: &[u8], context: Context<'_>) -> Result<Node, Error> {
        let vector = shown(self.vector);
        let parameter = vector.strip_prefix('$').filter(|name| {
            !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
        });
        let Some(parameter) = parameter else {
            let text = format!("Expected a parameter of a vector, found `{vector}`");
            return Err(Error::new(Code::ParseArguments, text));
        };
        let count = match self.radius {
            Some(_) => self.window as u64,
            None => self.nearest.unwrap_or(NEAREST),
        };
        let mut escaped = String::new();
        for letter in shown(field).chars() {
            if !letter.is_alphanumeric() && letter != '_' {
                escaped.push('\\');
            }
            escaped.push(letter);
        }
        let filter = String::from_utf8_lossy(self.filter);
        let filter = if filter == "*" { "*".to_string() } else { format!("({filter})") };
        parse(&format!("{filter}=>[KNN {count} @{escaped} ${parameter}]"), context)
    }
}

/// What rows call the score of both, if nothing else is said.
const SCORE: &str = "__score";
