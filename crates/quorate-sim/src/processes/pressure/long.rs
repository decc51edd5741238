//! Commands on very many words, elements or bytes, one after the other and several at once. What
//! counts is what the probe sees of them.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use quorate_proto::resp::reply::Value;

use super::{BUSY_TIMES, Connection, Node, Seen, Violation, WANTED_MS, Watch};

/// A command, and how many clients send it at once, each on keys of its own.
struct Step {
    name: &'static str,
    clients: usize,
    words: fn(usize) -> Vec<String>,
}

const fn step(name: &'static str, words: fn(usize) -> Vec<String>) -> Step {
    Step { name, clients: 1, words }
}

const STEPS: &[Step] = &[
    step("SADD 200,000", |_| with_members(&["SADD", "{long}first"], 0..200_000)),
    step("SADD 200,000", |_| with_members(&["SADD", "{long}second"], 100_000..300_000)),
    step("SUNIONSTORE 300,000", |_| {
        words(&["SUNIONSTORE", "{long}union", "{long}first", "{long}second"])
    }),
    step("SADD 1,000,000", |_| with_members(&["SADD", "{long}set"], 0..1_000_000)),
    step("DEL 1,000,000", |_| words(&["DEL", "{long}set"])),
    step("MSET one slot 100,000", |_| with_pairs("{long}", 100_000)),
    step("DEL one slot 100,000", |_| with_keys("DEL", "{long}", 100_000)),
    step("MSET 500,000", |_| with_pairs("long", 500_000)),
    step("DEL 500,000", |_| with_keys("DEL", "long", 500_000)),
    step("SET 64 MB", |_| vec!["SET".into(), "long:value".into(), "x".repeat(64 << 20)]),
    step("SET 256 MB", |_| vec!["SET".into(), "long:value".into(), "x".repeat(256 << 20)]),
    step("SET 500 MB", |_| vec!["SET".into(), "long:value".into(), "x".repeat(500 << 20)]),
    step("DEL of the value", |_| words(&["DEL", "long:value"])),
    Step {
        clients: 4,
        ..step("SADD 200,000, four", |client| {
            with_members(&["SADD", &format!("long:{client}")], 0..200_000)
        })
    },
    Step {
        clients: 4,
        ..step("DEL 200,000, four", |client| vec!["DEL".into(), format!("long:{client}")])
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn with_members(first: &[&str], members: Range<usize>) -> Vec<String> {
    let members = members.map(|member| format!("m{member:07}"));
    words(first).into_iter().chain(members).collect()
}

pub(super) fn with_keys(command: &str, prefix: &str, count: usize) -> Vec<String> {
    let keys = (0..count).map(|key| format!("{prefix}{key:07}"));
    std::iter::once(command.to_owned()).chain(keys).collect()
}

pub(super) fn with_pairs(prefix: &str, count: usize) -> Vec<String> {
    let pairs = (0..count).flat_map(|key| [format!("{prefix}{key:07}"), "value".to_owned()]);
    std::iter::once("MSET".to_owned()).chain(pairs).collect()
}

/// How long a client waits for the reply to a long command.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// Memory beyond what a node had before: the largest value, as it arrives, in the store, on its way
/// to the log and to others, and all collections.
const GROWTH_MAX_BYTES: u64 = 3 << 30;

/// How long the probe goes on before and after a command.
const QUIET: Duration = Duration::from_millis(200);

pub(super) fn apply(nodes: &[Node]) -> io::Result<(String, Vec<Violation>)> {
    let to = nodes[0].client_address;
    let mut watch = Watch::begin(nodes)?;
    let (mut all, mut rows) = (Seen::default(), Vec::new());
    for step in STEPS {
        let (answers, mut seen) = run(step, to, &mut watch)?;
        let longest_answer = answers.iter().map(|(answered, _)| *answered).max();
        // One that runs into its deadline on a busy machine is told, and is no fault.
        let refused = answers.iter().find_map(|(_, reply)| match reply {
            Value::Error(text) => Some(text.as_str()),
            _ => None,
        });
        rows.push(format!(
            "{:24} {:6} ms   probe {:6.1} {:6.1} {}",
            step.name,
            longest_answer.unwrap_or_default().as_millis(),
            seen.at(99),
            seen.at(100),
            refused.unwrap_or_default(),
        ));
        watch.errors.append(&mut seen.errors);
        all.milliseconds.append(&mut seen.milliseconds);
    }
    let mut text = format!(
        "99th percentile {:.1} ms, longest {:.1} ms; {}\n    command: answer, 99th percentile and \
         longest of the probe, ms",
        all.at(99),
        all.at(100),
        watch.memory()?,
    );
    rows.iter().for_each(|row| text.push_str(&format!("\n    {row}")));
    let mut violations = watch.end(GROWTH_MAX_BYTES)?;
    if all.at(99) > BUSY_TIMES * WANTED_MS {
        violations.push(Violation::new("latency", format!("{:.1} ms", all.at(99))));
    }
    Ok((text, violations))
}

/// What each client was answered, and when, and what the probe saw meanwhile.
fn run(
    step: &Step,
    to: SocketAddr,
    watch: &mut Watch<'_>,
) -> io::Result<(Vec<(Duration, Value)>, Seen)> {
    let mut answers = Vec::new();
    let commands: Vec<_> = (0..step.clients).map(step.words).collect();
    let seen = watch.beside_probe(to, || {
        thread::sleep(QUIET);
        answers = answers_of(&commands, to)?;
        thread::sleep(QUIET);
        Ok(())
    })?;
    Ok((answers, seen))
}

/// What clients that send these commands at once are answered, and when.
pub(super) fn answers_of(
    commands: &[Vec<String>],
    to: SocketAddr,
) -> io::Result<Vec<(Duration, Value)>> {
    thread::scope(|scope| {
        let clients = commands.iter().map(|words| {
            scope.spawn(|| {
                let mut connection = Connection::open(to, LONG_PATIENCE)?;
                let begin = Instant::now();
                let reply = connection.run(words)?;
                io::Result::Ok((begin.elapsed(), reply))
            })
        });
        let clients: Vec<_> = clients.collect();
        let panicked = || io::Error::other("a client panicked");
        let join = |client: thread::ScopedJoinHandle<'_, _>| {
            client.join().unwrap_or_else(|_| Err(panicked()))
        };
        clients.into_iter().map(join).collect()
    })
}
