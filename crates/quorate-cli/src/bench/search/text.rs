//! Text, beside tantivy in memory: the ten best by BM25, and how many there are.

use std::process::Command;

use anyhow::{Result, anyhow};
use quorate_search::analysis::Synonyms;
use quorate_search::execution::Request;
use quorate_search::index::{Document, Value};
use quorate_search::query::{Context, Dialect, Node, parse};
use quorate_search::schema::FieldId;
use quorate_search::{Index, Schema};

use super::peer::Peer;
use super::words::{Documents, Kind};
use super::{Arguments, median, thread_seconds};

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    eprintln!("making {} documents", arguments.documents);
    let mut documents = Documents::new(arguments.documents);
    let mut index = index()?;
    let began = thread_seconds()?;
    for (at, document) in documents.documents.iter().enumerate() {
        put(&mut index, at, document)?;
    }
    let seconds = thread_seconds()? - began;
    let rate = documents.documents.len() as f64 / seconds;
    println!("text: {rate:.0} documents/s of CPU indexed, each visible at once");
    let mut peer = None;
    if let Some(program) = &arguments.tantivy {
        let mut started = Peer::start("tantivy", Command::new(program))?;
        started.give("documents", documents.documents.join("\n"))?;
        let seconds = started.tell("build")?.number("seconds")?;
        let peer_rate = documents.documents.len() as f64 / seconds;
        println!(
            "tantivy: {peer_rate:.0} documents/s of CPU, visible after one commit; ratio {:.2}",
            rate / peer_rate
        );
        peer = Some(started);
    }
    for kind in Kind::ALL {
        let questions = documents.questions(kind, arguments.queries);
        compare(kind, &index, &questions, arguments.rounds, &mut peer)?;
    }
    Ok(())
}

/// Queries a second of one kind.
fn compare(
    kind: Kind,
    index: &Index,
    questions: &[Vec<String>],
    rounds: usize,
    peer: &mut Option<Peer>,
) -> Result<()> {
    if let Some(peer) = peer {
        let lines: Vec<String> = questions.iter().map(|words| words.join(" ")).collect();
        peer.give("questions", lines.join("\n"))?;
    }
    let queries: Vec<String> = questions.iter().map(|words| kind.query(words)).collect();
    let (mut rates, mut ratios, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    let (mut found, mut peer_found) = (0, 0.0);
    for _ in 0..rounds {
        let began = thread_seconds()?;
        found = 0;
        for query in &queries {
            found += ask(index, query)?;
        }
        let seconds = thread_seconds()? - began;
        rates.push(queries.len() as f64 / seconds);
        if let Some(peer) = peer {
            let best = peer.tell(&format!("best {}", kind.name()))?;
            ratios.push(best.number("seconds")? / seconds);
            let both = peer.tell(&format!("counted {}", kind.name()))?;
            counted.push(both.number("seconds")? / seconds);
            peer_found = both.number("found")?;
        }
    }
    let name = kind.name();
    println!("{name}: {:.0} queries/s of CPU, {found} found", median(&mut rates));
    if peer.is_some() {
        println!(
            "{name}: tantivy finds {peer_found}; ratio {:.2} to its best ten, {:.2} to these and \
             their number",
            median(&mut ratios),
            median(&mut counted)
        );
    }
    Ok(())
}

/// How many documents a query finds. The best are found too, and their keys.
fn ask(index: &Index, text: &str) -> Result<u64> {
    let parameters = Default::default();
    let context = Context {
        schema: index.schema(),
        dialect: Dialect::Two,
        parameters: &parameters,
        keep_stop_words: false,
    };
    let refused = |error: quorate_search::Error| anyhow!("{text}: {error:?}");
    let node: Node = parse(text, context).map_err(refused)?;
    let request = Request::new(&node);
    let statistics = index.statistics(&request);
    let hits = index.search(&request, &statistics).map_err(refused)?;
    Ok(std::hint::black_box(hits).total)
}

fn put(index: &mut Index, at: usize, text: &str) -> Result<()> {
    let key = format!("document:{at}");
    let fields = vec![(FieldId(0), Value::Bytes(text.as_bytes()))];
    let document =
        Document { key: key.as_bytes(), language: None, score: None, payload: None, fields };
    index.put(&document).map_err(|error| anyhow!("{}", error.text))
}

/// Words as they are, as tantivy has them.
fn index() -> Result<Index> {
    let words: Vec<&[u8]> =
        ["STOPWORDS", "0", "SCHEMA", "t", "TEXT", "NOSTEM"].map(str::as_bytes).to_vec();
    let schema = Schema::create(&words).map_err(|error| anyhow!("{error:?}"))?;
    Ok(Index::new(schema, Synonyms::default()))
}
