//! The largest commands, one at a time and four at once, in rounds. What the probe sees of each is
//! compared with what it sees under an ordinary load in the same rounds.

use std::{io, time::Duration};

use quorate_proto::resp::reply::Value;

use super::{
    BUSY_TIMES, Node, ROUNDS, Violation, WANTED_MS, WANTED_TIMES, Watch, half_round,
    long::{answers_of, with_keys, with_members, with_pairs},
    median, ordinary,
};

/// Memory beyond what a node had before: four million members and two million keys and what is left of
/// them when they are deleted, and five values of up to 500 MB, which arrive, are stored and leave.
const GROWTH_MAX_BYTES: u64 = 4 << 30;

/// A command, and how many clients send it at once, each on keys of its own.
type Step = (&'static str, usize, fn(usize) -> Vec<String>);

const STEPS: [Step; 10] = [
    ("SET 64 MB", 1, |client| set(client, 64 << 20)),
    ("SET 256 MB", 1, |client| set(client, 256 << 20)),
    ("SET 500 MB", 1, |client| set(client, 500 << 20)),
    ("MSET 500,000", 1, |client| with_pairs(&large(client), 500_000)),
    ("DEL 500,000", 1, |client| with_keys("DEL", &large(client), 500_000)),
    ("SADD 1,000,000, four", 4, |client| {
        with_members(&["SADD", &format!("{}:set", large(client))], 0..1_000_000)
    }),
    ("DEL of the sets", 4, |client| vec!["DEL".into(), format!("{}:set", large(client))]),
    ("MSET 500,000, four", 4, |client| with_pairs(&large(client), 500_000)),
    ("DEL 500,000, four", 4, |client| with_keys("DEL", &large(client), 500_000)),
    ("SET 100 MB, four", 4, |client| set(client, 100 << 20)),
];

fn large(client: usize) -> String {
    format!("large:{client}:")
}

fn set(client: usize, length: usize) -> Vec<String> {
    vec!["SET".into(), large(client), "x".repeat(length)]
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
        for ((_, clients, words), row) in STEPS.iter().zip(&mut rows) {
            let commands: Vec<_> = (0..*clients).map(words).collect();
            let mut answers = Vec::new();
            let mut seen = watch.beside_probe(to, || {
                answers = answers_of(&commands, to)?;
                Ok(())
            })?;
            let mut answered = Duration::ZERO;
            for (took, reply) in answers {
                answered = answered.max(took);
                if let Value::Error(text) = reply {
                    row.refusals.push(text);
                }
            }
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
    for ((name, ..), row) in STEPS.iter().zip(rows) {
        let percentile = median(row.percentiles);
        let times = percentile / calm;
        text.push_str(&format!(
            "\n    {name:20} {:6.0} ms   probe {percentile:6.1} {:6.1}   {times:5.2} times",
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
