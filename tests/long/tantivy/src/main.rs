//! tantivy beside Quorate: answers the lines of its standard input, one each, in memory and with
//! one thread. Its argument is a folder with what it reads: `documents`, `questions`, one a line.
//!
//! `build` indexes the documents; `best KIND` and `counted KIND` answer the questions by the ten
//! best documents, and by these and how many there are.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use tantivy::collector::{Count, TopDocs};
use tantivy::query::{
    BooleanQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, RegexQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption, Schema, TEXT};
use tantivy::{Index, IndexWriter, Searcher, TantivyDocument, Term};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Memory of the writer: enough for one segment.
const WRITER_BYTES: usize = 1 << 30;

fn main() -> Outcome<()> {
    let folder = std::env::args_os().nth(1).ok_or("usage: tantivy-peer FOLDER")?;
    let folder = Path::new(&folder);
    let mut schema = Schema::builder();
    let field = schema.add_text_field("t", TEXT);
    let index = Index::create_in_ram(schema.build());
    let mut searcher = index.reader()?.searcher();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            None if line == "build" => {
                let seconds = build(&index, field, &folder.join("documents"))?;
                searcher = index.reader()?.searcher();
                format!("{{\"seconds\": {seconds}}}")
            }
            Some((what, kind)) => {
                let questions = std::fs::read_to_string(folder.join("questions"))?;
                let (seconds, found) = ask(&searcher, field, what == "counted", kind, &questions)?;
                format!("{{\"seconds\": {seconds}, \"found\": {found}}}")
            }
            _ => return Err(format!("unexpected line: {line}").into()),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Indexes the lines of a file. Returns the CPU seconds of all threads.
fn build(index: &Index, field: Field, path: &Path) -> Outcome<f64> {
    let documents = std::fs::read_to_string(path)?;
    let began = process_seconds()?;
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES)?;
    for line in documents.lines() {
        let mut document = TantivyDocument::default();
        document.add_text(field, line);
        writer.add_document(document)?;
    }
    writer.commit()?;
    writer.wait_merging_threads()?;
    Ok(process_seconds()? - began)
}

/// Answers the questions. Returns the CPU seconds of this thread, and how many were found.
fn ask(
    searcher: &Searcher,
    field: Field,
    is_counted: bool,
    kind: &str,
    questions: &str,
) -> Outcome<(f64, usize)> {
    let began = thread_seconds()?;
    let mut found = 0;
    for question in questions.lines() {
        let query = query(field, kind, question)?;
        let top = TopDocs::with_limit(10).order_by_score();
        if is_counted {
            found += searcher.search(&query, &(top, Count))?.1;
        } else {
            found += searcher.search(&query, &top)?.len();
        }
    }
    Ok((thread_seconds()? - began, found))
}

fn query(field: Field, kind: &str, question: &str) -> Outcome<Box<dyn Query>> {
    let terms: Vec<Term> =
        question.split(' ').map(|word| Term::from_field_text(field, word)).collect();
    let each = |occur: Occur| -> Box<dyn Query> {
        let one = |term: &Term| -> Box<dyn Query> {
            Box::new(TermQuery::new(term.clone(), IndexRecordOption::WithFreqs))
        };
        Box::new(BooleanQuery::new(terms.iter().map(|term| (occur, one(term))).collect()))
    };
    Ok(match kind {
        "term" => Box::new(TermQuery::new(terms[0].clone(), IndexRecordOption::WithFreqs)),
        "and" => each(Occur::Must),
        "or" => each(Occur::Should),
        "phrase" => Box::new(PhraseQuery::new(terms)),
        "prefix" => Box::new(RegexQuery::from_pattern(&format!("{question}.*"), field)?),
        "fuzzy" => Box::new(FuzzyTermQuery::new(terms[0].clone(), 1, false)),
        other => return Err(format!("unexpected kind: {other}").into()),
    })
}

fn thread_seconds() -> Outcome<f64> {
    // The kernel brings the figure up to date when a thread stops running.
    std::thread::sleep(std::time::Duration::from_micros(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().ok_or("no time")?.parse::<u64>()? as f64 / 1e9)
}

fn process_seconds() -> Outcome<f64> {
    // Of all threads, also of those that have ended: hundredths, after the name in brackets.
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let behind = text.rsplit(')').next().ok_or("no name")?;
    // Without a terminal one of them is -1.
    let numbers: Vec<i64> =
        behind.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // The state is no number; user and system time are the 11th and 12th behind it.
    Ok((numbers[10] + numbers[11]) as f64 / 100.0)
}
