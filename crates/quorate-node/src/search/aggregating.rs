//! `FT.AGGREGATE`, `FT.HYBRID` and `FT.REGEX` over all partitions of an index.

use std::time::Duration;

use bytes::Bytes;
use quorate_proto::{command::Call, resp::ReplyWriter};
use quorate_search::{
    Error,
    aggregate::{Aggregation, Answer, Bounds, CursorOptions, Partial},
    execution::{Hits, Statistics},
    hybrid::{Hybrid, HybridPartial, HybridStatistics},
    regex::Regex,
    wire::{Malformed, decode, encode},
};

use super::{
    pieces::Kind,
    plans::{Question, failed},
    rows::{Rows, Style},
};
use crate::shard::{Plan, Step};

/// A query that is answered with rows.
#[derive(Debug)]
pub(crate) enum Task {
    /// `FT.AGGREGATE`
    Aggregate(Box<Aggregation>),
    /// `FT.HYBRID`
    Hybrid(Box<Hybrid>),
}

/// Why there is no answer.
enum Failure {
    /// What another node says is not understood.
    Unreadable(Malformed),
    /// The engine refuses.
    Refused(Error),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Unreadable(malformed)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Task {
    fn kinds(&self) -> (Kind, Kind) {
        match self {
            Task::Aggregate(_) => (Kind::CountAggregated, Kind::Aggregate),
            Task::Hybrid(_) => (Kind::CountHybrid, Kind::Hybrid),
        }
    }

    fn cursor(&self) -> Option<CursorOptions> {
        match self {
            Task::Aggregate(aggregation) => aggregation.cursor,
            Task::Hybrid(hybrid) => hybrid.cursor,
        }
    }

    /// How long it may take, in milliseconds; none: as long as others.
    pub(crate) fn timeout_ms(&self) -> Option<u64> {
        let timeout = match self {
            Task::Aggregate(aggregation) => aggregation.timeout_ms,
            Task::Hybrid(hybrid) => hybrid.timeout_ms,
        };
        timeout.filter(|timeout| *timeout > 0)
    }

    /// The statistics of all partitions.
    fn count(&self, answers: &[Bytes]) -> Result<Vec<u8>, Malformed> {
        match self {
            Task::Aggregate(_) => {
                let mut sum: Option<Statistics> = None;
                for answer in answers {
                    let one: Statistics = decode(answer)?;
                    match &mut sum {
                        Some(sum) => sum.add(&one),
                        None => sum = Some(one),
                    }
                }
                sum.iter_mut().for_each(Statistics::complete);
                Ok(sum.as_ref().map(encode).unwrap_or_default())
            }
            Task::Hybrid(_) => {
                let mut sum: Option<HybridStatistics> = None;
                for answer in answers {
                    let one: HybridStatistics = decode(answer)?;
                    match &mut sum {
                        Some(sum) => sum.add(&one),
                        None => sum = Some(one),
                    }
                }
                sum.iter_mut().for_each(HybridStatistics::complete);
                Ok(sum.as_ref().map(encode).unwrap_or_default())
            }
        }
    }

    /// The answer that those of all partitions make.
    fn finish(&self, answers: &[Bytes], seed: u64, bounds: Bounds) -> Result<Answer, Failure> {
        match self {
            Task::Aggregate(aggregation) => {
                let mut merged = Partial::default();
                for answer in answers {
                    merged.merge(decode(answer)?, aggregation, bounds)?;
                }
                Ok(merged.finish(aggregation, seed, bounds)?)
            }
            Task::Hybrid(hybrid) => {
                let mut merged = HybridPartial::default();
                for answer in answers {
                    merged.merge(decode(answer)?, hybrid);
                }
                Ok(merged.finish(hybrid, seed, bounds)?)
            }
        }
    }
}

/// A query that is answered with rows, over all partitions.
#[derive(Debug)]
pub(crate) struct Collected {
    question: Question,
    task: Task,
    /// The same for all partitions.
    seed: u64,
    /// Of what the coordinator holds.
    bounds: Bounds,
    style: Style,
    stage: Stage,
    statistics: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Count,
    Gather,
}

impl Collected {
    /// The arguments of the question are those of the query.
    pub(crate) fn new(
        mut question: Question,
        task: Task,
        (seed, bytes): (u64, usize),
        style: Style,
    ) -> Collected {
        let bounds = Bounds { bytes, ..Bounds::default() };
        question.arguments.insert(0, seed.to_string().into_bytes());
        let statistics = Vec::new();
        Collected { question, task, seed, bounds, style, stage: Stage::Begin, statistics }
    }
}

impl Plan for Collected {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let (count, gather) = self.task.kinds();
        let statistics = self.statistics.clone();
        let kind = match self.stage {
            Stage::Begin if self.question.coverage.is_one() => {
                self.stage = Stage::Gather;
                return self.question.ask(gather, &[]);
            }
            Stage::Begin => {
                self.stage = Stage::Count;
                return self.question.ask(count, &[]);
            }
            Stage::Count => count,
            Stage::Gather => gather,
        };
        let answers = match self.question.take(replies, kind, &statistics) {
            Ok(answers) => answers,
            Err(step) => return step,
        };
        if self.stage == Stage::Count {
            self.statistics = match self.task.count(&answers) {
                Ok(statistics) => statistics,
                Err(malformed) => return failed(&format!("ERR {malformed}")),
            };
            self.stage = Stage::Gather;
            let statistics = self.statistics.clone();
            return self.question.ask(gather, &statistics);
        }
        match self.task.finish(&answers, self.seed, self.bounds) {
            Ok(answer) => Step::Rows(Box::new(Rows {
                index: self.question.target.name.clone(),
                answer,
                cursor: self.task.cursor(),
                style: Style { in_part: self.question.is_partial(), ..self.style },
            })),
            Err(Failure::Unreadable(malformed)) => failed(&format!("ERR {malformed}")),
            Err(Failure::Refused(error)) => failed(&error.to_string()),
        }
    }

    fn left(&mut self, left: Duration) {
        self.question.leave.set_left(left);
    }

    fn cancel(&self) -> Vec<Call> {
        self.question.cancel()
    }

    fn takes_parts(&self) -> bool {
        self.question.leave.in_part
    }

    fn bytes_max(&self) -> usize {
        self.bounds.bytes
    }

    fn is_search(&self) -> bool {
        true
    }
}

/// `FT.REGEX`: keys of documents with texts that nearly follow a pattern.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) question: Question,
    pub(crate) regex: Regex,
    pub(crate) resp3: bool,
    pub(crate) begun: bool,
}

impl Plan for Match {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        if !std::mem::replace(&mut self.begun, true) {
            return self.question.ask(Kind::Regex, &[]);
        }
        let answers = match self.question.take(replies, Kind::Regex, &[]) {
            Ok(answers) => answers,
            Err(step) => return step,
        };
        let mut hits = Hits::default();
        for answer in answers {
            match decode(&answer) {
                Ok(other) => hits.merge(other, self.regex.top()),
                Err(malformed) => return failed(&format!("ERR {malformed}")),
            }
        }
        let page = hits.best.iter().skip(self.regex.offset).take(self.regex.count);
        let keys: Vec<&[u8]> = page.map(|hit| &*hit.key).collect();
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, self.resp3);
        let total = (hits.total, self.question.is_partial());
        super::reply::found_keys(&mut writer, total, &keys);
        Step::Done(out)
    }

    fn left(&mut self, left: Duration) {
        self.question.leave.set_left(left);
    }

    fn cancel(&self) -> Vec<Call> {
        self.question.cancel()
    }

    fn takes_parts(&self) -> bool {
        self.question.leave.in_part
    }

    fn is_search(&self) -> bool {
        true
    }
}
