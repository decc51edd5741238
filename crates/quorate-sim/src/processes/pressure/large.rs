//! The largest commands, one at a time and in rounds. What the probe sees of each is compared with
//! what it sees under an ordinary load in the same rounds.

use std::{
    io,
    time::{Duration, Instant},
};

use quorate_proto::resp::reply::Value;

use super::{
    BUSY_TIMES, Connection, Node, ROUNDS, Violation, WANTED_MS, WANTED_TIMES, Watch, half_round,
    long::{GROWTH_MAX_BYTES, LONG_PATIENCE, with_keys, with_pairs},
    median, ordinary,
};

type Step = (&'static str, fn() -> Vec<String>);

const STEPS: [Step; 5] = [
    ("SET 64 MB", || set(64 << 20)),
    ("SET 256 MB", || set(256 << 20)),
    ("SET 500 MB", || set(500 << 20)),
    ("MSET 500,000", || with_pairs("large", 500_000)),
    ("DEL 500,000", || with_keys("DEL", "large", 500_000)),
];

fn set(length: usize) -> Vec<String> {
    vec!["SET".into(), "large:value".into(), "x".repeat(length)]
}

/// What was seen of one step, an item a round.
#[derive(Debug, Default)]
struct Row {
    answers: Vec<f64>,
    percentiles: Vec<f64>,
    longest: Vec<f64>,
    refusals: Vec<String>,
}

pub(super) fn apply(nodes: &[Node]) -> io::Result<(String, Vec<Violation>)> {
    let to = nodes[0].client_address;
    let mut watch = Watch::begin(nodes)?;
    let (mut calm, mut rows) = (Vec::new(), STEPS.map(|_| Row::default()));
    for _ in 0..ROUNDS {
        let mut seen = half_round(&[ordinary()], to, &mut watch)?;
        calm.push(seen.at(99));
        watch.errors.append(&mut seen.errors);
        for ((_, words), row) in STEPS.iter().zip(&mut rows) {
            let words = words();
            let mut answered = Duration::ZERO;
            let mut seen = watch.beside_probe(to, || {
                let mut connection = Connection::open(to, LONG_PATIENCE)?;
                let begin = Instant::now();
                let reply = connection.run(&words)?;
                answered = begin.elapsed();
                if let Value::Error(text) = reply {
                    row.refusals.push(text);
                }
                Ok(())
            })?;
            row.answers.push(answered.as_secs_f64() * 1e3);
            row.percentiles.push(seen.at(99));
            row.longest.push(seen.at(100));
            watch.errors.append(&mut seen.errors);
        }
    }
    let calm = median(calm);
    let mut text = format!(
        "99th percentile {calm:.1} ms under an ordinary load; {}\n    command: answer, 99th \
         percentile and longest of the probe, ms; medians; the percentile's ratio",
        watch.memory()?,
    );
    let (mut latency, mut refused) = (Vec::new(), Vec::new());
    for ((name, _), row) in STEPS.iter().zip(rows) {
        let percentile = median(row.percentiles);
        let times = percentile / calm;
        text.push_str(&format!(
            "\n    {name:14} {:6.0} ms   probe {percentile:6.1} {:6.1}   {times:5.2} times",
            median(row.answers),
            median(row.longest),
        ));
        if percentile > BUSY_TIMES * WANTED_MS.max(WANTED_TIMES * calm) {
            latency.push(Violation::new("latency", format!("{name}: {percentile:.1} ms")));
        }
        for refusal in row.refusals {
            text.push_str(&format!("\n        {refusal}"));
            refused.push(refusal);
        }
    }
    text.push_str(&format!("\n    {} refused, {} errors", refused.len(), watch.errors.len()));
    let mut violations = watch.end(GROWTH_MAX_BYTES)?;
    violations.append(&mut latency);
    Ok((text, violations))
}
