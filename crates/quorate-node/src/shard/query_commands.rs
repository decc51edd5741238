//! `FT.AGGREGATE`, `FT.HYBRID`, `FT.REGEX`, `FT.PROFILE` and `FT.SUG*` as clients send them.

use std::time::Duration;

use quorate_search::{aggregate::Aggregation, hybrid::Hybrid, regex::Regex};

use super::{Now, Shard, search_commands::Deed};
use crate::search::{
    Collected, Match, Suggest, Task, default_timeout_ms,
    plans::Question,
    query_memory,
    rows::{Shape, Style},
};

impl Shard {
    /// `FT.AGGREGATE index query...`
    pub(super) fn aggregate(
        &mut self,
        arguments: &[&[u8]],
        resp3: bool,
        profiled: bool,
    ) -> Result<Deed, String> {
        let target = self.target(arguments[0])?;
        let aggregation = Aggregation::parse(&arguments[1..], &target.schema, self.dialect());
        let aggregation = aggregation.map_err(|error| error.to_string())?;
        // What is missing is decided once, here, and told to all.
        let dialect = (aggregation.dialect as u64 + 1).to_string().into_bytes();
        let mut words = owned(&arguments[1..]);
        words.extend([b"DIALECT".to_vec(), dialect]);
        let question = self.question(target, words);
        let style = Style { resp3, shape: Shape::Aggregate, profiled, in_part: false };
        Ok(self.rows(question, Task::Aggregate(Box::new(aggregation)), style))
    }

    /// `FT.HYBRID index SEARCH query VSIM field vector...`
    pub(super) fn hybrid(
        &mut self,
        now: Now,
        arguments: &[&[u8]],
        resp3: bool,
        profiled: bool,
    ) -> Result<Deed, String> {
        let target = self.target(arguments[0])?;
        let hybrid = Hybrid::parse(&arguments[1..], &target.schema);
        let hybrid = hybrid.map_err(|error| error.to_string())?;
        let question = self.question(target, owned(&arguments[1..]));
        let shape = Shape::Hybrid(now.monotonic);
        let style = Style { resp3, shape, profiled, in_part: false };
        Ok(self.rows(question, Task::Hybrid(Box::new(hybrid)), style))
    }

    fn rows(&mut self, question: Question, task: Task, style: Style) -> Deed {
        let time = self.query_time(task.timeout_ms());
        let bytes = query_memory(&self.storage.search.catalog);
        let plan = Collected::new(question, task, (self.draw(), bytes), style);
        Deed::Job(Box::new(plan), time, None)
    }

    /// `FT.REGEX index field pattern [DISTANCE d] [LIMIT offset count]`
    pub(super) fn regex(&mut self, arguments: &[&[u8]], resp3: bool) -> Result<Deed, String> {
        let target = self.target(arguments[0])?;
        let regex = Regex::parse(&arguments[1..], &target.schema);
        let regex = regex.map_err(|error| error.to_string())?;
        let question = self.question(target, owned(&arguments[1..]));
        let plan = Match { question, regex, resp3, begun: false };
        Ok(Deed::Job(Box::new(plan), self.query_time(None), None))
    }

    /// How long a query may take that says so, or one that does not; none: as long as any request.
    pub(super) fn query_time(&self, given_ms: Option<u64>) -> Option<Duration> {
        let time = given_ms.or_else(|| default_timeout_ms(&self.storage.search.catalog));
        time.filter(|time| *time > 0).map(Duration::from_millis)
    }

    /// `FT.PROFILE index SEARCH|AGGREGATE|HYBRID [LIMITED] QUERY query...`
    pub(super) fn profile(
        &mut self,
        now: Now,
        arguments: &[&[u8]],
        resp3: bool,
    ) -> Result<Deed, String> {
        let (index, what) = (arguments[0], arguments[1].to_ascii_uppercase());
        let mut rest = &arguments[2..];
        if rest.first().is_some_and(|word| word.eq_ignore_ascii_case(b"LIMITED")) {
            rest = &rest[1..];
        }
        let query = match rest.split_first() {
            Some((word, query)) if word.eq_ignore_ascii_case(b"QUERY") && !query.is_empty() => {
                query
            }
            _ => return Err("SEARCH_PARSE_ARGS The QUERY keyword is expected".into()),
        };
        let words: Vec<&[u8]> = [index].into_iter().chain(query.iter().copied()).collect();
        match what.as_slice() {
            b"SEARCH" => self.find(&words, resp3, true),
            b"AGGREGATE" => self.aggregate(&words, resp3, true),
            b"HYBRID" => self.hybrid(now, &words, resp3, true),
            _ => Err("SEARCH_PARSE_ARGS No `SEARCH`, `AGGREGATE`, or `HYBRID` provided".into()),
        }
    }

    /// `FT.SUGADD`, `FT.SUGGET`, `FT.SUGDEL`, `FT.SUGLEN`
    pub(super) fn suggest(name: &str, arguments: &[&[u8]], resp3: bool) -> Result<Deed, String> {
        Ok(Deed::Keyed(Box::new(Suggest::new(name, arguments, resp3)?)))
    }
}

fn owned(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}
