//! Vectors, beside hnswlib: each side answers at the smallest number of candidates that reaches
//! the recall.

use std::process::Command;

use anyhow::{Result, anyhow};
use quorate_search::analysis::Synonyms;
use quorate_search::execution::Request;
use quorate_search::index::{Document, Value};
use quorate_search::query::{Context, Dialect, Node, parse};
use quorate_search::schema::FieldId;
use quorate_search::{Index, Schema};

use super::peer::Peer;
use super::points::{Points, bytes};
use super::{Arguments, median, thread_seconds};

/// The program of the peer.
const PROGRAM: &str = include_str!("hnswlib.py");

/// Numbers of candidates that are tried, from the smallest.
const CANDIDATES: [u64; 28] = [
    10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 40, 44, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192,
    256, 320, 384, 512, 1024,
];

/// The nearest that are asked for; the peer's program knows it too.
const NEAREST: usize = 10;

/// The part of them that must be found.
const RECALL: f64 = 0.95;

/// Labels by which queries are filtered, and what part of all has them.
const LABELS: [(&str, &str); 4] =
    [("one", "0.1 %"), ("ten", "1 %"), ("hundred", "10 %"), ("half", "50 %")];

/// Vectors that are compared in one turn of the graph.
const TURN: usize = 100_000;

/// What it took to answer all queries.
#[derive(Debug, Clone, Copy)]
struct Answered {
    seconds: f64,
    recall: f64,
}

pub(super) fn run((count, dimensions): (usize, usize), arguments: &Arguments) -> Result<()> {
    eprintln!("making {count} vectors of {dimensions} dimensions, and comparing all with queries");
    let mut own = Own::new(Points::new(count, dimensions, arguments.queries))?;
    let mut peer = None;
    if let Some(program) = &arguments.hnswlib {
        let mut command = Command::new(program);
        command.arg("-c").arg(PROGRAM).arg(dimensions.to_string());
        let started = Peer::start("hnswlib", command)?;
        started.give("vectors", all(&own.points.vectors))?;
        started.give("others", all(&own.points.others))?;
        started.give("queries", all(&own.points.queries))?;
        peer = Some(started);
    }
    let seconds = own.build()?;
    println!("vectors {count}x{dimensions}: build {seconds:.1} s CPU, {} bytes", own.memory());
    if let Some(peer) = &mut peer {
        let answer = peer.tell("build")?;
        let (peer_seconds, bytes) = (answer.number("seconds")?, answer.number("bytes")?);
        println!(
            "hnswlib: build {peer_seconds:.1} s CPU, {bytes} bytes; ratio of time {:.2}, of memory \
             {:.2}",
            seconds / peer_seconds,
            own.memory() as f64 / bytes
        );
    }
    compare("as built", arguments.rounds, &own, &mut peer)?;
    filters(&own)?;
    let seconds = own.replace_half()?;
    println!("half replaced: {seconds:.1} s CPU, {} bytes", own.memory());
    if let Some(peer) = &mut peer {
        let peer_seconds = peer.tell("replace")?.number("seconds")?;
        println!("hnswlib: half replaced {peer_seconds:.1} s CPU");
    }
    compare("half replaced", arguments.rounds, &own, &mut peer)
}

/// Queries a second at the smallest number of candidates that reaches the recall.
fn compare(name: &str, rounds: usize, own: &Own, peer: &mut Option<Peer>) -> Result<()> {
    let candidates = smallest(|candidates| own.ask(candidates))?;
    let mut peer_candidates = 0;
    if let Some(peer) = peer {
        peer.give("truth", own.truth())?;
        peer_candidates = smallest(|candidates| ask(peer, candidates))?;
    }
    let (mut rates, mut peer_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut recall = 0.0;
    for _ in 0..rounds {
        let answered = own.ask(candidates)?;
        recall = answered.recall;
        let queries = own.points.queries.len() as f64;
        rates.push(queries / answered.seconds);
        if let Some(peer) = peer {
            let peer_answered = ask(peer, peer_candidates)?;
            peer_rates.push(queries / peer_answered.seconds);
            ratios.push(peer_answered.seconds / answered.seconds);
        }
    }
    let rate = median(&mut rates);
    println!("{name}: quorate {rate:.0} queries/s, recall {recall:.3}, ef {candidates}");
    if !ratios.is_empty() {
        let (rate, ratio) = (median(&mut peer_rates), median(&mut ratios));
        println!("{name}: hnswlib {rate:.0} queries/s, ef {peer_candidates}; ratio {ratio:.2}");
    }
    Ok(())
}

/// Recall and rate with filters, beside a scan over what they leave.
fn filters(own: &Own) -> Result<()> {
    let candidates = smallest(|candidates| own.ask(candidates))?;
    for (label, part) in LABELS {
        let (answered, scanned) = own.ask_filtered(label, candidates)?;
        println!(
            "filter that leaves {part}: {:.0} queries/s, recall {:.3}; ratio to a scan {:.2}",
            own.points.queries.len() as f64 / answered.seconds,
            answered.recall,
            scanned / answered.seconds,
        );
    }
    Ok(())
}

fn ask(peer: &mut Peer, candidates: u64) -> Result<Answered> {
    let answer = peer.tell(&format!("ask {candidates}"))?;
    Ok(Answered { seconds: answer.number("seconds")?, recall: answer.number("recall")? })
}

fn smallest(mut ask: impl FnMut(u64) -> Result<Answered>) -> Result<u64> {
    for candidates in CANDIDATES {
        if ask(candidates)?.recall >= RECALL {
            return Ok(candidates);
        }
    }
    anyhow::bail!("no number of candidates up to 1024 reaches a recall of {RECALL}")
}

fn all(vectors: &[Vec<f32>]) -> Vec<u8> {
    vectors.iter().flat_map(|vector| bytes(vector)).collect()
}

/// The engine in this process and what it is asked.
struct Own {
    points: Points,
    index: Index,
    /// The keys of the nearest of the vectors that are there, by query.
    truth: Vec<Vec<Vec<u8>>>,
}

impl Own {
    fn new(points: Points) -> Result<Own> {
        let index = index(points.dimensions, "HNSW 10 M 16 EF_CONSTRUCTION 200")?;
        let mut own = Own { index, points, truth: Vec::new() };
        own.note_truth(false)?;
        Ok(own)
    }

    /// The numbers of the nearest vectors, for each query, as bytes.
    fn truth(&self) -> Vec<u8> {
        let number = |key: &Vec<u8>| String::from_utf8_lossy(key).parse().unwrap_or(u32::MAX);
        self.truth.iter().flatten().flat_map(|key| number(key).to_le_bytes()).collect()
    }

    /// Puts all vectors, and moves them into the graph. Returns seconds.
    fn build(&mut self) -> Result<f64> {
        let began = thread_seconds()?;
        for at in 0..self.points.vectors.len() {
            put(&mut self.index, at, &self.points.vectors[at])?;
        }
        while self.index.advance(TURN) {}
        Ok(thread_seconds()? - began)
    }

    /// Puts other vectors in the place of every second one, and works on the graph meanwhile, as if
    /// under load. Returns seconds.
    fn replace_half(&mut self) -> Result<f64> {
        let began = thread_seconds()?;
        for (at, other) in self.points.others.iter().enumerate() {
            put(&mut self.index, 2 * at, other)?;
            self.index.advance(TURN / 10);
        }
        while self.index.advance(TURN) {}
        let seconds = thread_seconds()? - began;
        self.note_truth(true)?;
        Ok(seconds)
    }

    /// Bytes of vectors and graph.
    fn memory(&self) -> usize {
        self.index.memory().vectors
    }

    fn ask(&self, candidates: u64) -> Result<Answered> {
        let text = format!("*=>[KNN {NEAREST} @v $p EF_RUNTIME {candidates}]");
        answered(&self.index, &self.points.queries, &text, &self.truth)
    }

    /// All queries with a filter; and the seconds that a scan over what it leaves takes.
    fn ask_filtered(&self, label: &str, candidates: u64) -> Result<(Answered, f64)> {
        let text = format!("@t:{{{label}}}=>[KNN {NEAREST} @v $p");
        let queries = &self.points.queries;
        let began = thread_seconds()?;
        let truth = found(&self.index, queries, &format!("{text} HYBRID_POLICY ADHOC_BF]"))?;
        let scanned = thread_seconds()? - began;
        let asked = format!("{text} EF_RUNTIME {candidates}]");
        Ok((answered(&self.index, queries, &asked, &truth)?, scanned))
    }

    /// Compares all vectors that are there one by one.
    fn note_truth(&mut self, is_replaced: bool) -> Result<()> {
        let mut flat = index(self.points.dimensions, "FLAT 6")?;
        for (at, vector) in self.points.vectors.iter().enumerate() {
            let other = self.points.others.get(at / 2).filter(|_| is_replaced && at % 2 == 0);
            put(&mut flat, at, other.unwrap_or(vector))?;
        }
        self.truth = found(&flat, &self.points.queries, &format!("*=>[KNN {NEAREST} @v $p]"))?;
        Ok(())
    }
}

fn put(index: &mut Index, at: usize, vector: &[f32]) -> Result<()> {
    let (key, bytes) = (at.to_string(), bytes(vector));
    // Without regard to clusters.
    let drawn = at.wrapping_mul(2_654_435_761) % (1 << 32) / 4096 % 1000;
    let mut labels = String::new();
    for ((label, _), below) in LABELS.iter().zip([1, 10, 100, 500]) {
        if drawn < below {
            labels = labels + label + ",";
        }
    }
    let fields =
        vec![(FieldId(0), Value::Bytes(labels.as_bytes())), (FieldId(1), Value::Bytes(&bytes))];
    let document =
        Document { key: key.as_bytes(), language: None, score: None, payload: None, fields };
    index.put(&document).map_err(|error| anyhow!("{}", error.text))
}

fn answered(
    index: &Index,
    queries: &[Vec<f32>],
    text: &str,
    truth: &[Vec<Vec<u8>>],
) -> Result<Answered> {
    let began = thread_seconds()?;
    let found = found(index, queries, text)?;
    let seconds = thread_seconds()? - began;
    let right: usize = found
        .iter()
        .zip(truth)
        .map(|(found, truth)| found.iter().filter(|key| truth.contains(key)).count())
        .sum();
    let all: usize = truth.iter().map(Vec::len).sum();
    Ok(Answered { seconds, recall: right as f64 / all.max(1) as f64 })
}

/// The keys that each query finds.
fn found(index: &Index, queries: &[Vec<f32>], text: &str) -> Result<Vec<Vec<Vec<u8>>>> {
    let ask = |query: &Vec<f32>| {
        let parameters = [("p".to_owned(), bytes(query))].into();
        let context = Context {
            schema: index.schema(),
            dialect: Dialect::Two,
            parameters: &parameters,
            keep_stop_words: false,
        };
        let refused = |error: quorate_search::Error| anyhow!("{error:?}");
        let node: Node = parse(text, context).map_err(refused)?;
        let request = Request::new(&node);
        let statistics = index.statistics(&request);
        let hits = index.search(&request, &statistics).map_err(refused)?;
        Ok(hits.best.iter().map(|hit| hit.key.to_vec()).collect())
    };
    queries.iter().map(ask).collect()
}

fn index(dimensions: usize, algorithm: &str) -> Result<Index> {
    let text = format!(
        "SCHEMA t TAG v VECTOR {algorithm} TYPE FLOAT32 DIM {dimensions} DISTANCE_METRIC L2"
    );
    let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    let schema = Schema::create(&words).map_err(|error| anyhow!("{error:?}"))?;
    Ok(Index::new(schema, Synonyms::default()))
}
