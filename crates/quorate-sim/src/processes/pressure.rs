//! Clients that ask for more than their share, beside one that asks for little and is timed: the
//! probe. It fails when the probe gets an error, a node takes another one for dead, or memory passes
//! its bound.
//!
//! Clients that go on are measured in rounds. A round puts an equal number of ordinary clients on the
//! node, and then the pressing ones; the probe writes small keys in both. What counts is the median
//! of the rounds' 99th percentiles under pressure, against 50 milliseconds or three times those
//! without. A run fails only at ten times that: machines that test are busy. What has an end, as a
//! long command ([`long`]), is measured once.

mod large;
mod long;
mod pipelines;
pub(super) mod rolling;
pub(super) mod storm;
pub(super) mod stuck;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use quorate_proto::resp::{Command, reply::Value};

use super::{PATIENCE, connection::Connection, node::Node};
use crate::world::Violation;

const ROUNDS: usize = 5;

/// What is asked of a node, and how its answers are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressure {
    /// Pipelines of small commands without an end, and of `GET`s of 100 KB, all of which are read.
    Greedy,
    /// `GET`s of long values that are read slowly, or not at all.
    SlowReaders,
    /// `MGET`s of very many keys that are read slowly, commands of very many words that never end, and
    /// a pipeline of very many `GET`s of which nothing is read.
    WideReaders,
    /// `HGETALL`s of a very large hash that are read slowly.
    SlowHashes,
    /// Pipelines that touch one key again and again.
    Pipelines,
    /// Every node is stopped and started again, while clients work.
    RollingRestarts,
    /// One node after the other stands still, is not heard, or is killed, while clients work.
    Stuck,
    /// Commands on very many words, elements or bytes.
    LongCommands,
    /// The largest of them, in rounds.
    LargeCommands,
    /// Reads of a large hash of which one replica lacks much.
    RepairStorm,
}

/// How a client takes its replies.
#[derive(Clone, Copy, Debug)]
enum Reading {
    All,
    /// So many bytes every 10 milliseconds.
    Slowly(usize),
    Nothing,
}

/// One kind of client: how many of them, what each sends, over and over, and how it reads.
struct Kind {
    count: usize,
    commands: Vec<u8>,
    reading: Reading,
}

/// How long each half of a round lasts.
const HALF_ROUND: Duration = Duration::from_millis(1_500);

/// Pause between two commands of the probe.
const PROBE_PAUSE: Duration = Duration::from_millis(1);

/// Keys that it writes in turn.
const PROBE_KEYS: usize = 16;

/// What the probe may wait under pressure, and how many times as long as under an ordinary load.
const WANTED_MS: f64 = 50.0;
const WANTED_TIMES: f64 = 3.0;

/// How much worse a busy machine may make it.
const BUSY_TIMES: f64 = 10.0;

/// Memory beyond what a node had before.
const GROWTH_MAX_BYTES: u64 = 600 << 20;

const VALUES: [(&str, usize); 3] = [("middle", 100_000), ("long", 1 << 20), ("longest", 8 << 20)];

/// Fields of the hash of [`Pressure::SlowHashes`].
const HASH_FIELDS: usize = 1_000_000;

/// Keys that a wide command reads.
const WIDE_KEYS: usize = 100_000;

fn wide_key(number: usize) -> String {
    format!("wide:{number:06}")
}

impl Pressure {
    fn kinds(self) -> Vec<Kind> {
        let kind = |count, commands: &[&[&str]], reading| {
            let frames = commands.iter().map(|words| Command::from_args(*words).frame().to_vec());
            Kind { count, commands: frames.collect::<Vec<_>>().concat(), reading }
        };
        let many = |words: &'static [&'static str], times| vec![words; times];
        match self {
            Self::Greedy => vec![
                kind(2, &many(&["SET", "greedy", "value"], 10_000), Reading::All),
                kind(1, &many(&["ECHO", "greedy"], 10_000), Reading::All),
                kind(1, &many(&["GET", "middle"], 1_000), Reading::All),
            ],
            Self::SlowReaders => vec![
                kind(4, &many(&["GET", "middle"], 1_000), Reading::Slowly(64 << 10)),
                kind(24, &many(&["GET", "long"], 1_000), Reading::Nothing),
                kind(50, &many(&["GET", "longest"], 4), Reading::Nothing),
            ],
            Self::WideReaders => {
                let keys: Vec<String> = (0..WIDE_KEYS).map(wide_key).collect();
                let mget = std::iter::once("MGET").chain(keys.iter().map(String::as_str));
                let mget: Vec<&str> = mget.collect();
                let endless = [b"*1000000\r\n".to_vec(), b"$1\r\nx\r\n".repeat(100_000)].concat();
                vec![
                    kind(4, &[&mget[..]], Reading::Slowly(64 << 10)),
                    Kind { count: 20, commands: endless, reading: Reading::Nothing },
                    kind(1, &many(&["GET", "ordinary"], 1_000_000), Reading::Nothing),
                ]
            }
            Self::SlowHashes => {
                vec![kind(20, &[&["HGETALL", "hash"]], Reading::Slowly(64 << 10))]
            }
            Self::LongCommands
            | Self::LargeCommands
            | Self::Pipelines
            | Self::RepairStorm
            | Self::RollingRestarts
            | Self::Stuck => Vec::new(),
        }
    }
}

/// What a probe has seen.
#[derive(Debug, Default)]
struct Seen {
    milliseconds: Vec<f64>,
    errors: Vec<String>,
}

impl Seen {
    fn at(&mut self, percent: usize) -> f64 {
        self.milliseconds.sort_unstable_by(f64::total_cmp);
        let last = self.milliseconds.len().saturating_sub(1);
        self.milliseconds.get(last * percent / 100).copied().unwrap_or(f64::INFINITY)
    }
}

/// Puts pressure on the nodes. Returns what was measured, and what is wrong with it.
pub(super) fn apply(pressure: Pressure, nodes: &[Node]) -> io::Result<(String, Vec<Violation>)> {
    match pressure {
        Pressure::Greedy | Pressure::SlowReaders | Pressure::WideReaders | Pressure::SlowHashes => {
            apply_rounds(pressure, nodes)
        }
        Pressure::LongCommands => long::apply(nodes),
        Pressure::LargeCommands => large::apply(nodes),
        Pressure::Pipelines => pipelines::apply(nodes),
        Pressure::RepairStorm => storm::apply(nodes),
        Pressure::RollingRestarts | Pressure::Stuck => {
            Ok(("all of it has happened before".into(), Vec::new()))
        }
    }
}

/// Stores what is asked for.
fn prepare(pressure: Pressure, to: SocketAddr) -> io::Result<()> {
    // Long values take their time, and may cost a link between nodes: what comes before the rounds
    // does not count.
    let mut connection = Connection::open(to, PATIENCE * 4)?;
    for (key, length) in VALUES {
        connection.ask(&["SET", key, &"x".repeat(length)])?;
    }
    for first in (0..WIDE_KEYS).step_by(1_000) {
        let pairs = (first..first + 1_000).flat_map(|key| [wide_key(key), "value".into()]);
        let words: Vec<String> = std::iter::once("MSET".to_owned()).chain(pairs).collect();
        connection.run(&words)?;
    }
    let fields = if pressure == Pressure::SlowHashes { HASH_FIELDS } else { 0 };
    for first in (0..fields).step_by(10_000) {
        let pairs = (first..first + 10_000).flat_map(|field| [format!("f{field:07}"), "v".into()]);
        let words = ["HSET", "hash"].map(str::to_owned).into_iter().chain(pairs);
        connection.run(&words.collect::<Vec<_>>())?;
    }
    thread::sleep(Duration::from_secs(3));
    Ok(())
}

/// Clients as there are many: pipelines of a few small commands.
fn ordinary() -> Kind {
    let commands = Command::from_args(["SET", "ordinary", "value"]).frame().repeat(16);
    Kind { count: 4, commands, reading: Reading::All }
}

/// Has clients ask the first node again and again.
fn apply_rounds(pressure: Pressure, nodes: &[Node]) -> io::Result<(String, Vec<Violation>)> {
    let (kinds, to) = (pressure.kinds(), nodes[0].client_address);
    prepare(pressure, to)?;
    let mut watch = Watch::begin(nodes)?;
    let (mut calm, mut pressed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut seen = half_round(&[ordinary()], to, &mut watch)?;
        calm.push(seen.at(99));
        let mut seen = half_round(&kinds, to, &mut watch)?;
        pressed.push(seen.at(99));
        watch.errors.append(&mut seen.errors);
    }
    let (calm, pressed) = (median(calm), median(pressed));
    let text = format!(
        "99th percentile {pressed:.1} ms ({calm:.1} ms under an ordinary load); {}",
        watch.memory()?,
    );
    let mut violations = watch.end(GROWTH_MAX_BYTES)?;
    if pressed > BUSY_TIMES * WANTED_MS.max(WANTED_TIMES * calm) {
        violations.push(Violation::new("latency", text.clone()));
    }
    Ok((text, violations))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What must not happen to the nodes while there is pressure.
struct Watch<'n> {
    nodes: &'n [Node],
    /// What each had logged before.
    logged: Vec<String>,
    /// Bytes of memory that the first node had, and has had at most.
    before: u64,
    peak: u64,
    errors: Vec<String>,
}

impl<'n> Watch<'n> {
    fn begin(nodes: &'n [Node]) -> io::Result<Self> {
        let logged = nodes.iter().map(Node::log).collect::<io::Result<Vec<_>>>()?;
        let before = resident(&nodes[0])?;
        Ok(Self { nodes, logged, before, peak: before, errors: Vec::new() })
    }

    /// Has work done beside a probe of the node at this address.
    fn beside_probe(
        &mut self,
        to: SocketAddr,
        work: impl FnOnce() -> io::Result<()> + Send,
    ) -> io::Result<Seen> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let probe = scope.spawn(|| probe(to, &is_over));
            let work = scope.spawn(work);
            let mut looked = Ok(());
            while !work.is_finished() {
                thread::sleep(Duration::from_millis(20));
                looked = resident(&self.nodes[0]).map(|bytes| self.peak = self.peak.max(bytes));
            }
            is_over.store(true, Ordering::Relaxed);
            let panicked = |_| Err(io::Error::other("a client panicked"));
            let seen = probe.join().unwrap_or_else(panicked);
            work.join().unwrap_or_else(|_| Err(io::Error::other("the work panicked")))?;
            looked.and(seen)
        })
    }

    fn memory(&self) -> io::Result<String> {
        thread::sleep(Duration::from_secs(1));
        let after = resident(&self.nodes[0])?;
        let [before, peak, after] = [self.before, self.peak, after].map(|bytes| bytes >> 20);
        Ok(format!("resident {before} MiB, at most {peak} MiB, {after} MiB afterwards"))
    }

    fn end(self, growth_max: u64) -> io::Result<Vec<Violation>> {
        let mut violations = Vec::new();
        if self.peak > self.before + growth_max {
            let grown = (self.peak - self.before) >> 20;
            violations.push(Violation::new("memory", format!("grown by {grown} MiB")));
        }
        if let Some(error) = self.errors.first() {
            let count = self.errors.len();
            violations.push(Violation::new("errors", format!("{count} errors, such as {error}")));
        }
        for (node, logged) in self.nodes.iter().zip(self.logged) {
            let log = node.log()?;
            if let Some(line) = log[logged.len()..].lines().find(|line| line.contains("is down")) {
                violations.push(Violation::new("suspicion", line.to_owned()));
            }
        }
        Ok(violations)
    }
}

/// Runs clients beside a probe for a while.
fn half_round(kinds: &[Kind], to: SocketAddr, watch: &mut Watch<'_>) -> io::Result<Seen> {
    watch.beside_probe(to, || {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for kind in kinds {
                for _ in 0..kind.count {
                    // Who is disconnected is.
                    scope.spawn(|| drop(press(kind, to, &is_over)));
                }
            }
            thread::sleep(HALF_ROUND);
            is_over.store(true, Ordering::Relaxed);
        });
        Ok(())
    })
}

/// Sends commands and takes replies as a kind of client does.
fn press(kind: &Kind, to: SocketAddr, is_over: &AtomicBool) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nonblocking(true)?;
    let mut chunk = vec![0; 256 << 10];
    let (mut sent, mut begun) = (0, Instant::now());
    while !is_over.load(Ordering::Relaxed) {
        let mut is_idle = true;
        // One who does not read sends once.
        let repeats = !matches!(kind.reading, Reading::Nothing);
        if sent == kind.commands.len() && repeats {
            sent = 0;
        }
        if sent < kind.commands.len()
            && let Some(count) = unless_blocked(stream.write(&kind.commands[sent..]))?
        {
            sent += count;
            is_idle = false;
        }
        let most = match kind.reading {
            Reading::All => chunk.len(),
            Reading::Slowly(bytes) if begun.elapsed() > Duration::from_millis(10) => {
                begun = Instant::now();
                bytes
            }
            Reading::Slowly(_) | Reading::Nothing => 0,
        };
        if most > 0
            && let Some(count) = unless_blocked(stream.read(&mut chunk[..most]))?
        {
            if count == 0 {
                return Ok(());
            }
            is_idle = false;
        }
        if is_idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

fn probe(to: SocketAddr, is_over: &AtomicBool) -> io::Result<Seen> {
    let mut connection = Connection::open(to, PATIENCE)?;
    let mut seen = Seen::default();
    // Of all shards.
    let mut keys = (0..PROBE_KEYS).map(|key| format!("probe:{key}")).cycle();
    while !is_over.load(Ordering::Relaxed)
        && let Some(key) = keys.next()
    {
        let begin = Instant::now();
        let reply = connection.ask(&["SET", &key, "value"]);
        seen.milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        match reply {
            Ok(Value::Error(text)) => seen.errors.push(text),
            Ok(_) => {}
            Err(error) => {
                seen.errors.push(error.to_string());
                connection = Connection::open(to, PATIENCE)?;
            }
        }
        thread::sleep(PROBE_PAUSE);
    }
    Ok(seen)
}

/// Bytes of memory that a process has.
fn resident(node: &Node) -> io::Result<u64> {
    let id = node.process_id().ok_or_else(|| io::Error::other("the process has ended"))?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("the system does not tell"))
}
