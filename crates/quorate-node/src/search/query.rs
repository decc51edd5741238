//! What `FT.SEARCH` is asked: its arguments, and the engine's request that they make with a schema.

use std::collections::BTreeSet;

use quorate_proto::resp::{parse_double, parse_integer};
use quorate_search::{
    Language, Schema,
    execution::{Request, Scorer, Sort},
    query::{
        Attributes, Bound, Circle, Context, Dialect, Kind, Node, Parameters, Range, Unit, parse,
    },
    schema::{self, Fields},
};

use super::settings;
use crate::limits;

/// The arguments of `FT.SEARCH` behind the index.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) text: Vec<u8>,
    pub(crate) no_content: bool,
    pub(crate) with_scores: bool,
    pub(crate) with_payloads: bool,
    pub(crate) with_sort_keys: bool,
    pub(crate) explain: bool,
    /// Whether JSON is returned as values instead of texts.
    pub(crate) expand: bool,
    pub(crate) verbatim: bool,
    no_stop_words: bool,
    filters: Vec<(Vec<u8>, Bound, Bound)>,
    circles: Vec<(Vec<u8>, Circle)>,
    keys: Option<Vec<Vec<u8>>>,
    fields: Option<Vec<Vec<u8>>>,
    /// Paths or names, and the names under which they are returned.
    pub(crate) returned: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub(crate) summary: Option<Summary>,
    pub(crate) highlight: Option<Highlight>,
    slop: Option<u32>,
    in_order: bool,
    pub(crate) language: Option<Language>,
    scorer: Scorer,
    /// `BM25STD.NORM`: scores are divided by the greatest.
    pub(crate) normalized: bool,
    payload: Option<Vec<u8>>,
    pub(crate) sort: Option<SortBy>,
    pub(crate) offset: usize,
    pub(crate) count: usize,
    parameters: Parameters,
    pub(crate) dialect: Dialect,
    pub(crate) timeout_ms: Option<u64>,
}

/// `SORTBY`
#[derive(Clone, Debug)]
pub(crate) struct SortBy {
    pub(crate) name: Vec<u8>,
    pub(crate) descending: bool,
}

/// `SUMMARIZE`
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// None: all.
    pub(crate) fields: Option<Vec<Vec<u8>>>,
    pub(crate) fragments: usize,
    pub(crate) words: usize,
    pub(crate) separator: Vec<u8>,
}

/// `HIGHLIGHT`
#[derive(Clone, Debug)]
pub(crate) struct Highlight {
    /// None: all.
    pub(crate) fields: Option<Vec<Vec<u8>>>,
    pub(crate) open: Vec<u8>,
    pub(crate) close: Vec<u8>,
}

/// How a sort key is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortSource {
    /// The index keeps it.
    Kept,
    /// It is read from the document.
    Document,
    /// It is a distance that the query has given a name.
    Distance,
}

/// A query that has been read with a schema.
pub(super) struct BoundQuery<'q> {
    pub(super) node: Node,
    pub(super) fields: Fields,
    pub(super) query: &'q Query,
}

struct Words<'a> {
    all: &'a [&'a [u8]],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let next = self.all.get(self.at).copied();
        self.at += usize::from(next.is_some());
        next
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.all.get(self.at).is_some_and(|next| is(next, word));
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, keyword: &str) -> Result<&'a [u8], String> {
        self.next().ok_or_else(|| bad(keyword, "Expected an argument, but none provided"))
    }

    fn list(&mut self, keyword: &str) -> Result<&'a [&'a [u8]], String> {
        let count = parse_integer(self.value(keyword)?);
        let count = count.and_then(|count| usize::try_from(count).ok());
        let count =
            count.ok_or_else(|| bad(keyword, "Could not convert argument to expected type"))?;
        let end = self.at.checked_add(count).filter(|end| *end <= self.all.len());
        let end = end.ok_or_else(|| bad(keyword, "Expected an argument, but none provided"))?;
        let list = &self.all[self.at..end];
        self.at = end;
        Ok(list)
    }

    fn number<T: TryFrom<i64>>(&mut self, keyword: &str) -> Result<T, String> {
        let number = parse_integer(self.value(keyword)?);
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| bad(keyword, "Could not convert argument to expected type"))
    }
}

fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

fn bad(keyword: &str, why: &str) -> String {
    format!("SEARCH_PARSE_ARGS Bad arguments for {keyword}: {why}")
}

fn owned(list: &[&[u8]]) -> Vec<Vec<u8>> {
    list.iter().map(|item| item.to_vec()).collect()
}

impl Query {
    fn new(text: &[u8], dialect: Dialect) -> Query {
        Query {
            text: text.to_vec(),
            no_content: false,
            with_scores: false,
            with_payloads: false,
            with_sort_keys: false,
            explain: false,
            expand: false,
            verbatim: false,
            no_stop_words: false,
            filters: Vec::new(),
            circles: Vec::new(),
            keys: None,
            fields: None,
            returned: None,
            summary: None,
            highlight: None,
            slop: None,
            in_order: false,
            language: None,
            scorer: Scorer::default(),
            normalized: false,
            payload: None,
            sort: None,
            offset: 0,
            count: quorate_search::limits::TOP,
            parameters: Parameters::new(),
            dialect,
            timeout_ms: None,
        }
    }

    /// Reads the query and its options; `dialect` holds if none is given.
    pub(crate) fn parse(arguments: &[&[u8]], dialect: Dialect) -> Result<Query, String> {
        let (text, _) =
            arguments.split_first().ok_or("SEARCH_PARSE_ARGS No query string provided")?;
        let mut query = Query::new(text, dialect);
        let mut words = Words { all: arguments, at: 1 };
        while let Some(word) = words.next() {
            let at = words.at - 1;
            if !query.flag(word) && !query.option(word, &mut words)? {
                let word = String::from_utf8_lossy(word);
                return Err(format!(
                    "SEARCH_ARG_UNRECOGNIZED Unknown argument `{word}` at position {at} for <main>"
                ));
            }
        }
        if query.count == 0 {
            query.offset = 0;
        }
        if query.explain && !query.with_scores {
            return Err("EXPLAINSCORE must be accompanied with WITHSCORES".into());
        }
        Ok(query)
    }

    fn flag(&mut self, word: &[u8]) -> bool {
        let flag = match word.to_ascii_uppercase().as_slice() {
            b"NOCONTENT" => &mut self.no_content,
            b"WITHSCORES" => &mut self.with_scores,
            b"WITHPAYLOADS" => &mut self.with_payloads,
            b"WITHSORTKEYS" => &mut self.with_sort_keys,
            b"EXPLAINSCORE" => &mut self.explain,
            b"VERBATIM" => &mut self.verbatim,
            b"NOSTOPWORDS" => &mut self.no_stop_words,
            b"INORDER" => &mut self.in_order,
            // Every count is one of all that match.
            b"WITHCOUNT" | b"WITHOUTCOUNT" => return true,
            _ => return false,
        };
        *flag = true;
        true
    }

    fn option(&mut self, word: &[u8], words: &mut Words<'_>) -> Result<bool, String> {
        match word.to_ascii_uppercase().as_slice() {
            b"LIMIT" => self.limit(words)?,
            b"SORTBY" => {
                let name = words.value("SORTBY")?;
                let name = name.strip_prefix(b"@").unwrap_or(name).to_vec();
                let descending = !words.skip("ASC") && words.skip("DESC");
                self.sort = Some(SortBy { name, descending });
            }
            b"RETURN" => self.returned(words.list("RETURN")?)?,
            b"INKEYS" => self.keys = Some(owned(words.list("INKEYS")?)),
            b"INFIELDS" => self.fields = Some(owned(words.list("INFIELDS")?)),
            b"PARAMS" => {
                let list = words.list("PARAMS")?;
                if list.is_empty() || !list.len().is_multiple_of(2) {
                    let text = "SEARCH_ADD_ARGS Parameters must be specified in PARAM VALUE pairs";
                    return Err(text.into());
                }
                for pair in list.chunks(2) {
                    let name = String::from_utf8_lossy(pair[0]).into_owned();
                    if self.parameters.insert(name, pair[1].to_vec()).is_some() {
                        let name = String::from_utf8_lossy(pair[0]);
                        return Err(format!("SEARCH_ADD_ARGS Duplicate parameter `{name}`"));
                    }
                }
            }
            b"DIALECT" => {
                let refused =
                    "SEARCH_PARSE_ARGS DIALECT requires a non negative integer >=1 and <= 4";
                let number = words.next().and_then(parse_integer);
                let number = number.and_then(|number| u64::try_from(number).ok());
                self.dialect = number.and_then(Dialect::numbered).ok_or(refused)?;
            }
            b"TIMEOUT" => {
                let refused = "SEARCH_PARSE_ARGS TIMEOUT requires a non negative integer";
                let number = words.next().and_then(parse_integer);
                let number = number.and_then(|number| u64::try_from(number).ok());
                self.timeout_ms = Some(number.ok_or(refused)?);
            }
            b"SLOP" => self.slop = u32::try_from(words.number::<i64>("SLOP")?).ok(),
            b"LANGUAGE" => {
                let found = Language::named(words.value("LANGUAGE")?);
                self.language = Some(found.ok_or("SEARCH_QUERY_BAD No such language")?);
            }
            b"SCORER" => {
                let name = words.value("SCORER")?;
                self.normalized = is(name, "BM25STD.NORM");
                let found = Scorer::named(name).or(self.normalized.then_some(Scorer::Bm25Std));
                self.scorer = found.ok_or_else(|| {
                    format!("SEARCH_QUERY_BAD No such scorer {}", String::from_utf8_lossy(name))
                })?;
            }
            b"BM25STD_TANH_FACTOR" => {
                let factor = words.number::<u64>("BM25STD_TANH_FACTOR")?;
                if let Scorer::Bm25StdTanh(own) = &mut self.scorer {
                    *own = factor.max(1);
                }
            }
            b"EXPANDER" => drop(words.value("EXPANDER")?),
            b"FORMAT" => {
                let format = words.value("FORMAT")?;
                self.expand = is(format, "EXPAND");
                if !self.expand && !is(format, "STRING") {
                    return Err("SEARCH_PARSE_ARGS FORMAT must be STRING or EXPAND".into());
                }
            }
            b"PAYLOAD" => self.payload = Some(words.value("PAYLOAD")?.to_vec()),
            b"FILTER" => {
                let name = words.value("FILTER")?.to_vec();
                let (lower, upper) =
                    (bound(words.value("FILTER")?)?, bound(words.value("FILTER")?)?);
                self.filters.push((name, lower, upper));
            }
            b"GEOFILTER" => self.circle(words)?,
            b"SUMMARIZE" => self.summarize(words)?,
            b"HIGHLIGHT" => self.highlight(words)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn limit(&mut self, words: &mut Words<'_>) -> Result<(), String> {
        let (Some(offset), Some(count)) = (words.next(), words.next()) else {
            return Err("SEARCH_PARSE_ARGS LIMIT requires two arguments".into());
        };
        let number = |word: &[u8]| {
            let number = parse_integer(word).and_then(|number| usize::try_from(number).ok());
            number.ok_or("SEARCH_PARSE_ARGS LIMIT needs two numeric arguments")
        };
        (self.offset, self.count) = (number(offset)?, number(count)?);
        let most = limits::RESULTS_MAX;
        if self.count > most {
            return Err(format!("SEARCH_LIMIT_OVER LIMIT exceeds maximum of {most}"));
        }
        if self.offset > most {
            return Err(format!("SEARCH_LIMIT_OVER OFFSET exceeds maximum of {most}"));
        }
        Ok(())
    }

    fn returned(&mut self, list: &[&[u8]]) -> Result<(), String> {
        let mut returned = Vec::new();
        let mut at = 0;
        while let Some(name) = list.get(at) {
            at += 1;
            let mut shown = *name;
            if list.get(at).is_some_and(|word| is(word, "AS")) {
                let missing =
                    "SEARCH_PARSE_ARGS RETURN path AS name - must be accompanied with NAME";
                shown = list.get(at + 1).ok_or(missing)?;
                at += 2;
            }
            returned.push((name.to_vec(), shown.to_vec()));
        }
        self.no_content |= returned.is_empty();
        self.returned = Some(returned);
        Ok(())
    }

    fn circle(&mut self, words: &mut Words<'_>) -> Result<(), String> {
        let missing = "SEARCH_PARSE_ARGS GEOFILTER requires 5 arguments";
        let name = words.next().ok_or(missing)?.to_vec();
        let mut number = |what: &str| {
            let found = parse_double(words.next().ok_or(missing)?);
            found.ok_or_else(|| {
                bad("GEOFILTER", &format!("{what}: Could not convert argument to expected type"))
            })
        };
        let (longitude, latitude) = (number("<lon>")?, number("<lat>")?);
        let radius = number("<radius>")?;
        let unit = words.next().ok_or(missing)?;
        let unit = [Unit::Metres, Unit::Kilometres, Unit::Miles, Unit::Feet]
            .into_iter()
            .find(|known| is(unit, known.name()));
        let unit = unit.ok_or("SEARCH_PARSE_ARGS Invalid GeoFilter unit")?;
        self.circles.push((name, Circle { longitude, latitude, radius, unit }));
        Ok(())
    }

    fn summarize(&mut self, words: &mut Words<'_>) -> Result<(), String> {
        let separator = b"... ".to_vec();
        let mut summary = Summary { fields: None, fragments: 3, words: 20, separator };
        loop {
            if words.skip("FIELDS") {
                summary.fields = Some(owned(words.list("FIELDS")?));
            } else if words.skip("FRAGS") {
                summary.fragments = words.number::<u32>("FRAGS")? as usize;
            } else if words.skip("LEN") {
                summary.words = words.number::<u32>("LEN")? as usize;
            } else if words.skip("SEPARATOR") {
                summary.separator = words.value("SEPARATOR")?.to_vec();
            } else {
                break;
            }
        }
        self.summary = Some(summary);
        Ok(())
    }

    fn highlight(&mut self, words: &mut Words<'_>) -> Result<(), String> {
        let (open, close) = (b"<b>".to_vec(), b"</b>".to_vec());
        let mut highlight = Highlight { fields: None, open, close };
        loop {
            if words.skip("FIELDS") {
                highlight.fields = Some(owned(words.list("FIELDS")?));
            } else if words.skip("TAGS") {
                highlight.open = words.value("TAGS")?.to_vec();
                highlight.close = words.value("TAGS")?.to_vec();
            } else {
                break;
            }
        }
        self.highlight = Some(highlight);
        Ok(())
    }

    /// Reads the query with the schema of its index.
    pub(super) fn bind<'q>(&'q self, schema: &Schema) -> Result<BoundQuery<'q>, String> {
        let text = String::from_utf8_lossy(&self.text);
        let context = Context {
            schema,
            dialect: self.dialect,
            parameters: &self.parameters,
            keep_stop_words: self.no_stop_words,
        };
        let node = parse(&text, context).map_err(|error| error.to_string())?;
        let node = self.filtered(schema, node)?;
        let mut fields = Fields::ALL;
        if let Some(names) = &self.fields {
            fields = Fields(0);
            for name in names {
                let texts = schema.text_fields().map(|(_, field)| field);
                let number = texts.enumerate().find(|(_, field)| field.name == *name);
                fields.0 |= number.map_or(0, |(number, _)| Fields::one(number).0);
            }
        }
        Ok(BoundQuery { node, fields, query: self })
    }

    /// `FILTER` and `GEOFILTER`: what the query asks for has to satisfy these as well.
    fn filtered(&self, schema: &Schema, node: Node) -> Result<Node, String> {
        let part = |kind| Node { kind, fields: Fields::ALL, attributes: Attributes::default() };
        let mut parts = Vec::new();
        for (name, lower, upper) in &self.filters {
            let found = schema.position(name);
            let found = found.filter(|(_, field)| matches!(field.kind, schema::Kind::Numeric));
            let (field, _) = found.ok_or_else(|| not_of(name, "numeric"))?;
            parts
                .push(part(Kind::Numeric { field, range: Range { lower: *lower, upper: *upper } }));
        }
        for (name, circle) in &self.circles {
            let found = schema.position(name);
            let found = found.filter(|(_, field)| matches!(field.kind, schema::Kind::Geo));
            let (field, _) = found.ok_or_else(|| not_of(name, "geo"))?;
            parts.push(part(Kind::Geo { field, circle: *circle }));
        }
        if parts.is_empty() {
            return Ok(node);
        }
        Ok(match node.kind {
            Kind::Nearest { count, filter, vector } => {
                parts.insert(0, *filter);
                let filter = Box::new(part(Kind::And(parts)));
                Node { kind: Kind::Nearest { count, filter, vector }, ..node }
            }
            _ => {
                parts.insert(0, node);
                part(Kind::And(parts))
            }
        })
    }

    /// Where the sort key comes from, if documents are sorted by a field.
    pub(super) fn sort_source(
        &self,
        schema: &Schema,
        node: &Node,
    ) -> Result<Option<SortSource>, String> {
        let Some(sort) = &self.sort else { return Ok(None) };
        if has_distance(node, &sort.name) {
            return Ok(Some(SortSource::Distance));
        }
        match schema.position(&sort.name) {
            Some((_, field)) if field.sortable => Ok(Some(SortSource::Kept)),
            Some(_) => Ok(Some(SortSource::Document)),
            None => Err(format!(
                "SEARCH_PROP_NOT_FOUND Property `{}` not loaded nor in schema",
                String::from_utf8_lossy(&sort.name)
            )),
        }
    }

    /// Refuses marks in fields that neither the schema nor `RETURN` names.
    pub(super) fn check_marked(&self, schema: &Schema) -> Result<(), String> {
        let summarized = self.summary.as_ref().and_then(|summary| summary.fields.as_ref());
        let marked = self.highlight.as_ref().and_then(|marks| marks.fields.as_ref());
        let returned = |name: &Vec<u8>| {
            self.returned.iter().flatten().any(|(path, shown)| path == name || shown == name)
        };
        let mut names = summarized.into_iter().chain(marked).flatten();
        match names.find(|name| schema.position(name).is_none() && !returned(name)) {
            Some(name) => Err(format!("No such property `{}`", String::from_utf8_lossy(name))),
            None => Ok(()),
        }
    }

    /// Whether words are to be marked, or fields cut to what is around them.
    pub(crate) fn marks(&self) -> bool {
        self.summary.is_some() || self.highlight.is_some()
    }

    /// The tree of the query.
    pub(crate) fn node(&self, schema: &Schema) -> Result<Node, String> {
        Ok(self.bind(schema)?.node)
    }

    /// How many of the best each partition has to give.
    pub(super) fn top(&self) -> usize {
        if self.count == 0 { 0 } else { self.offset.saturating_add(self.count) }
    }
}

fn not_of(name: &[u8], kind: &str) -> String {
    let name = String::from_utf8_lossy(name);
    format!("SEARCH_QUERY_BAD Field '{name}' is not a {kind} field")
}

/// A bound of `FILTER`: a number, behind `(` if it is not in the range.
fn bound(word: &[u8]) -> Result<Bound, String> {
    let (exclusive, digits) = match word.strip_prefix(b"(") {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let number = parse_double(digits).ok_or_else(|| {
        format!("SEARCH_PARSE_ARGS Bad {} range: {}", "FILTER", String::from_utf8_lossy(word))
    })?;
    Ok(Bound { number, exclusive })
}

/// Whether the query gives distances this name.
fn has_distance(node: &Node, name: &[u8]) -> bool {
    match &node.kind {
        Kind::And(nodes) | Kind::Or(nodes) => nodes.iter().any(|node| has_distance(node, name)),
        Kind::Not(inner) | Kind::Optional(inner) => has_distance(inner, name),
        Kind::Nearest { filter, vector, .. } => {
            vector.distance_name.as_ref().is_some_and(|own| own.as_bytes() == name)
                || has_distance(filter, name)
        }
        Kind::Within { vector, .. } => {
            vector.distance_name.as_ref().is_some_and(|own| own.as_bytes() == name)
        }
        _ => false,
    }
}

impl BoundQuery<'_> {
    /// The request to a partition. `all` are wanted if documents are sorted by what only they hold.
    pub(super) fn request(&self, schema: &Schema, source: Option<SortSource>) -> Request<'_> {
        let query = self.query;
        let sort = query.sort.as_ref().filter(|_| source == Some(SortSource::Kept));
        let sort = sort.and_then(|sort| {
            let (field, _) = schema.position(&sort.name)?;
            Some(Sort { field, descending: sort.descending })
        });
        let keys = query.keys.as_ref();
        let keys: Option<BTreeSet<&[u8]>> =
            keys.map(|keys| keys.iter().map(Vec::as_slice).collect());
        let is_sorted_here = matches!(source, Some(SortSource::Document | SortSource::Distance));
        Request {
            language: query.language.or(schema.language).unwrap_or(Language::English),
            verbatim: query.verbatim,
            fields: self.fields,
            keys,
            slop: query.slop,
            in_order: query.in_order,
            sort,
            scorer: query.scorer,
            payload: query.payload.as_deref(),
            top: if is_sorted_here && query.count > 0 { limits::RESULTS_MAX } else { query.top() },
            explain: query.explain,
            ..Request::new(&self.node)
        }
    }
}

/// The dialect of queries that name none.
pub(crate) fn default_dialect(catalog: &super::Catalog) -> Dialect {
    let set = catalog.setting(settings::DEFAULT_DIALECT.as_bytes()).and_then(parse_integer);
    set.and_then(|number| Dialect::numbered(u64::try_from(number).ok()?)).unwrap_or(Dialect::One)
}
