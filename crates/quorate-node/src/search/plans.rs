//! Commands over all partitions of an index, as jobs of the shard that the client is connected to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use quorate_proto::{
    Slot,
    command::Call,
    resp::{Command, ReplyWriter, reply::Value},
};
use quorate_search::{
    Error, Room, Schema,
    analysis::Synonyms,
    execution::{Hit, Hits, SortedBy, Spelling, Statistics},
    wire::{decode, encode},
};

use super::{
    coverage::{Coverage, Progress},
    info::{self, Totals},
    leave::Leave,
    pieces::{Kind, is_json},
    present::Presenter,
    query::Query,
    reply::{self, Row},
    wire::Reader,
};
use crate::shard::{Plan, Step};

/// The index that a command is about.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: Vec<u8>,
    pub(crate) stamp: String,
    pub(crate) schema: Schema,
    pub(crate) synonyms: Synonyms,
}

/// A question to all partitions of an index.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) target: Arc<Target>,
    pub(crate) coverage: Coverage,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) leave: Leave,
    /// Whether others are told what they are allowed: where there may be older nodes they are not.
    pub(crate) is_told: bool,
}

impl Question {
    fn words<'a>(&'a self, kind: Kind, statistics: &'a [u8], leave: &'a str) -> Vec<&'a [u8]> {
        let target = &self.target;
        let (kind, stamp) = (kind.name().as_bytes(), target.stamp.as_bytes());
        let head = [kind, &target.name, stamp, statistics].into_iter();
        let told = self.is_told.then_some(leave.as_bytes());
        head.chain(told).chain(self.arguments.iter().map(Vec::as_slice)).collect()
    }

    /// The client is gone: what ends the work of those who were asked.
    pub(super) fn cancel(&self) -> Vec<Call> {
        if !self.is_told {
            return Vec::new();
        }
        let leave = self.leave.text();
        self.coverage.cancel(&self.words(Kind::Cancel, &[], &leave)[..5])
    }

    /// Whether the answers are parts of what they might be.
    pub(super) fn is_partial(&self) -> bool {
        self.coverage.is_partial()
    }

    pub(super) fn ask(&mut self, kind: Kind, statistics: &[u8]) -> Step {
        let mut coverage = self.coverage.clone();
        let leave = self.leave.text();
        let pieces = coverage.ask(&self.words(kind, statistics, &leave));
        self.coverage = coverage;
        Step::Run(pieces)
    }

    /// The answers of all partitions, or what else is to be done.
    pub(super) fn take(
        &mut self,
        replies: &[Bytes],
        kind: Kind,
        statistics: &[u8],
    ) -> Result<Vec<Bytes>, Step> {
        let mut coverage = self.coverage.clone();
        let leave = self.leave.text();
        let progress = coverage.take(replies, &self.words(kind, statistics, &leave));
        self.coverage = coverage;
        match progress {
            Ok(Progress::Whole(answers)) => Ok(answers),
            Ok(Progress::More(pieces)) => Err(Step::Run(pieces)),
            Err(text) => Err(failed(&text)),
        }
    }
}

pub(super) fn failed(text: &str) -> Step {
    let mut out = Vec::new();
    ReplyWriter::new(&mut out, false).error(text);
    Step::Done(out)
}

const UNREADABLE: &str = "ERR another node answers in a way that this one does not know";

/// `FT.SEARCH`: statistics of all partitions, the best documents by these, and what they hold.
#[derive(Debug)]
pub(crate) struct Find {
    question: Question,
    query: Query,
    resp3: bool,
    profiled: bool,
    stage: Stage,
    statistics: Vec<u8>,
    total: u64,
    page: Vec<Hit>,
    presenter: Presenter,
    /// Bytes that answers of partitions, documents and the answer may each take.
    bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Count,
    Find,
    Load,
}

impl Find {
    /// The plan of a query that has been read; or what is wrong with it.
    pub(crate) fn new(
        question: Question,
        query: Query,
        resp3: bool,
        (profiled, bytes_max): (bool, usize),
    ) -> Result<Find, String> {
        let target = &question.target;
        query.check_marked(&target.schema)?;
        let bound = query.bind(&target.schema)?;
        query.sort_source(&target.schema, &bound.node)?;
        let presenter = Presenter::new(target, &query, &bound.node);
        Ok(Find {
            question,
            query,
            resp3,
            profiled,
            stage: Stage::Begin,
            statistics: Vec::new(),
            total: 0,
            page: Vec::new(),
            presenter,
            bytes_max,
        })
    }

    fn take_counts(&mut self, answers: &[Bytes]) -> Option<()> {
        let mut sum: Option<Statistics> = None;
        for answer in answers {
            let one = decode::<Statistics>(answer).ok()?;
            match &mut sum {
                Some(sum) => sum.add(&one),
                None => sum = Some(one),
            }
        }
        let mut sum = sum?;
        sum.complete();
        self.statistics = encode(&sum);
        Some(())
    }

    fn take_hits(&mut self, answers: &[Bytes]) -> Option<()> {
        let (mut all, top) = (Hits::default(), self.query.top());
        // Those of the nearest by which they are ordered once they are chosen.
        let mut orders: BTreeMap<Arc<[u8]>, SortedBy> = BTreeMap::new();
        for answer in answers {
            let mut hits = decode::<Hits>(answer).ok()?;
            if hits.nearest.is_some() {
                for hit in &mut hits.best {
                    if let Some(order) = hit.sorted_by.take() {
                        orders.insert(Arc::clone(&hit.key), order);
                    }
                }
            }
            all.merge(hits, top);
        }
        if !orders.is_empty() {
            for hit in &mut all.best {
                hit.sorted_by = orders.remove(&hit.key);
            }
            all.nearest = None;
            let mut ordered = Hits::default();
            ordered.merge(all, usize::MAX);
            all = ordered;
        }
        if self.query.normalized {
            let most = all.best.iter().map(|hit| hit.score).fold(0.0, f64::max);
            all.best.iter_mut().filter(|_| most > 0.0).for_each(|hit| hit.score /= most);
        }
        self.total = all.total;
        self.page = all.best.into_iter().skip(self.query.offset).take(self.query.count).collect();
        Some(())
    }

    /// What the documents of the page hold.
    fn load(&mut self) -> Step {
        let pieces = self.page.iter().flat_map(|hit| self.presenter.pieces(&hit.key));
        let pieces: Vec<Call> = if self.query.no_content { Vec::new() } else { pieces.collect() };
        self.stage = Stage::Load;
        if pieces.is_empty() { self.done(&[]) } else { Step::Run(pieces) }
    }

    /// The documents of the page, as far as they are still there. They count by what is answered of
    /// them, once for each name.
    fn rows(&mut self, replies: &[Bytes]) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut replies = replies.iter();
        let mut room = Room::new(self.bytes_max);
        for hit in std::mem::take(&mut self.page) {
            if self.query.no_content {
                rows.push(Row { hit, payload: None, fields: None });
                continue;
            }
            let own: Vec<&Bytes> =
                replies.by_ref().take(self.presenter.pieces_per_document()).collect();
            if let Some((fields, payload)) = self.presenter.fields(&hit, &own, &mut room)? {
                rows.push(Row { hit, payload, fields: Some(fields) });
            }
        }
        Ok(rows)
    }

    fn done(&mut self, replies: &[Bytes]) -> Step {
        let rows = match self.rows(replies) {
            Ok(rows) => rows,
            Err(error) => return failed(&error.to_string()),
        };
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, self.resp3);
        let total = (self.total, self.question.is_partial());
        if self.profiled {
            reply::profiled(&mut writer, |writer| {
                reply::found(writer, &self.query, total, &rows);
            });
        } else {
            reply::found(&mut writer, &self.query, total, &rows);
        }
        Step::Done(out)
    }
}

impl Plan for Find {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let statistics = self.statistics.clone();
        let kind = if self.stage == Stage::Count { Kind::Count } else { Kind::Find };
        let answers = match self.stage {
            Stage::Begin if self.question.coverage.is_one() => {
                self.stage = Stage::Find;
                return self.question.ask(Kind::Find, &[]);
            }
            Stage::Begin => {
                self.stage = Stage::Count;
                return self.question.ask(Kind::Count, &[]);
            }
            Stage::Count | Stage::Find => match self.question.take(replies, kind, &statistics) {
                Ok(answers) => answers,
                // Whoever was to answer alone holds only some of it.
                Err(Step::Run(_)) if kind == Kind::Find && statistics.is_empty() => {
                    self.stage = Stage::Count;
                    return self.question.ask(Kind::Count, &[]);
                }
                Err(step) => return step,
            },
            Stage::Load => return self.done(replies),
        };
        if answers.is_empty() {
            // Nobody had the time.
            return self.done(&[]);
        }
        if self.stage == Stage::Count {
            if self.take_counts(&answers).is_none() {
                return failed(UNREADABLE);
            }
            self.stage = Stage::Find;
            let statistics = self.statistics.clone();
            return self.question.ask(Kind::Find, &statistics);
        }
        match self.take_hits(&answers) {
            Some(()) => self.load(),
            None => failed(UNREADABLE),
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
        self.bytes_max
    }

    fn is_search(&self) -> bool {
        true
    }
}

/// A question whose answers are joined at once.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(crate) question: Question,
    pub(crate) join: Join,
    pub(crate) resp3: bool,
    pub(crate) begun: bool,
    /// Bytes that the answers may take.
    pub(crate) bytes_max: usize,
}

/// How answers are joined.
#[derive(Debug)]
pub(crate) enum Join {
    /// `FT.TAGVALS`
    Tags,
    /// `FT.INFO`
    Info,
    /// `FT.SPELLCHECK`, with words of dictionaries that count, or do not.
    Spelling { included: Vec<BTreeSet<String>>, excluded: Vec<BTreeSet<String>> },
}

impl Join {
    fn kind(&self) -> Kind {
        match self {
            Join::Tags => Kind::Tags,
            Join::Info => Kind::Info,
            Join::Spelling { .. } => Kind::Spelling,
        }
    }
}

impl Plan for Gather {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let kind = self.join.kind();
        if !std::mem::replace(&mut self.begun, true) {
            return self.question.ask(kind, &[]);
        }
        let answers = match self.question.take(replies, kind, &[]) {
            Ok(answers) => answers,
            Err(step) => return step,
        };
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, self.resp3);
        let written = match &self.join {
            Join::Tags => write_tags(&mut writer, &answers),
            Join::Info => write_info(&mut writer, &self.question.target, &answers),
            Join::Spelling { included, excluded } => {
                write_spelling(&mut writer, &answers, included, excluded)
            }
        };
        if written.is_some() { Step::Done(out) } else { failed(UNREADABLE) }
    }

    fn left(&mut self, left: Duration) {
        self.question.leave.set_left(left);
    }

    fn cancel(&self) -> Vec<Call> {
        self.question.cancel()
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn is_search(&self) -> bool {
        true
    }
}

fn write_tags(writer: &mut ReplyWriter<'_>, answers: &[Bytes]) -> Option<()> {
    let mut values = BTreeSet::new();
    for answer in answers {
        values.extend(Reader(answer).list(Reader::bytes)?);
    }
    writer.set(values.len());
    values.iter().for_each(|value| writer.bulk(value));
    Some(())
}

fn write_info(writer: &mut ReplyWriter<'_>, target: &Target, answers: &[Bytes]) -> Option<()> {
    let mut totals = Totals::default();
    answers.iter().try_for_each(|answer| totals.add(answer))?;
    info::reply(writer, &target.name, &target.schema, &totals);
    Some(())
}

fn write_spelling(
    writer: &mut ReplyWriter<'_>,
    answers: &[Bytes],
    included: &[BTreeSet<String>],
    excluded: &[BTreeSet<String>],
) -> Option<()> {
    let mut all: Option<Spelling> = None;
    for answer in answers {
        let one = decode::<Spelling>(answer).ok()?;
        match &mut all {
            Some(all) => all.add(one),
            None => all = Some(one),
        }
    }
    let included: Vec<_> = included.iter().collect();
    let excluded: Vec<_> = excluded.iter().collect();
    reply::corrections(writer, &all?.corrections(&included, &excluded));
    Some(())
}

/// `FT.DROPINDEX index DD`: the documents go.
#[derive(Debug)]
pub(crate) struct DeleteDocuments {
    pub(crate) question: Question,
    pub(crate) stage: u8,
    pub(crate) keys: Vec<Vec<u8>>,
}

/// Documents that are deleted side by side.
const DELETED_TOGETHER: usize = 256;

impl Plan for DeleteDocuments {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        match self.stage {
            0 => {
                self.stage = 1;
                return self.question.ask(Kind::Keys, &[]);
            }
            1 => {
                let answers = match self.question.take(replies, Kind::Keys, &[]) {
                    Ok(answers) => answers,
                    Err(step) => return step,
                };
                for answer in answers {
                    let Some(keys) = Reader(&answer).list(Reader::bytes) else {
                        return failed(UNREADABLE);
                    };
                    self.keys.extend(keys.into_iter().map(<[u8]>::to_vec));
                }
                self.stage = 2;
            }
            _ => {}
        }
        let rest = self.keys.len().saturating_sub(DELETED_TOGETHER);
        let now = self.keys.split_off(rest);
        if now.is_empty() {
            return Step::Done(b"+OK\r\n".to_vec());
        }
        let delete = |key: &Vec<u8>| {
            Call::piece(Slot::of_key(key), Command::from_args([b"DEL".as_slice(), key]))
        };
        Step::Run(now.iter().map(delete).collect())
    }

    fn untried(&self) -> usize {
        self.keys.len()
    }

    fn left(&mut self, left: Duration) {
        self.question.leave.set_left(left);
    }
}

/// The pieces that read a document: `paths` of it, or all.
pub(super) fn document_pieces(schema: &Schema, key: &[u8], paths: Option<&[Vec<u8>]>) -> Vec<Call> {
    let slot = Slot::of_key(key);
    let piece = |words: Vec<&[u8]>| Call::piece(slot, Command::from_args(words));
    match (is_json(schema), paths) {
        (false, None) => vec![piece(vec![b"HGETALL", key])],
        (false, Some(paths)) => {
            let words = [b"HMGET".as_slice(), key].into_iter();
            vec![piece(words.chain(paths.iter().map(Vec::as_slice)).collect())]
        }
        (true, None) => vec![piece(vec![b"JSON.GET", key])],
        (true, Some(paths)) => {
            paths.iter().map(|path| piece(vec![b"JSON.GET", key, path])).collect()
        }
    }
}

/// The bulk strings of a reply, absent ones as `None`; pairs of maps one after the other.
pub(super) fn strings(reply: &[u8]) -> Option<Vec<Option<Bytes>>> {
    let (value, _) = Value::decode(reply).ok()??;
    let text = |value: Value| match value {
        Value::Bulk(text) => Some(text),
        _ => None,
    };
    Some(match value {
        Value::Array(values) => values.into_iter().map(text).collect(),
        Value::Map(pairs) => {
            pairs.into_iter().flat_map(|(name, value)| [text(name), text(value)]).collect()
        }
        other => vec![text(other)],
    })
}
