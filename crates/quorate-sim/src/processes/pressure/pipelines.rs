//! Pipelines that touch one key again and again, beside one that sets many keys: what they take of
//! time, and of all nodes' processors. All of it is of one run, so the ratios say something on a busy
//! machine, too.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Instant,
};

use quorate_proto::resp::Command;

use super::{Node, PATIENCE, ROUNDS, Violation, Watch, median};

/// Requests of a pipeline: commands, or pairs of them.
const REQUESTS: usize = 10_000;

/// Keys that are set in turn.
const KEYS: usize = 1_000;

/// How many times as much as a `SET` of one of many keys a request may take.
struct Wanted {
    name: &'static str,
    time: f64,
    processors: f64,
}

const INCREMENT: Wanted = Wanted { name: "INCR of one key", time: 2.0, processors: 3.0 };

const PAIR: Wanted = Wanted { name: "SET and GET of one key", time: 2.0, processors: 3.0 };

/// How much worse a busy machine may make a ratio.
const BUSY_TIMES: f64 = 4.0;

const GROWTH_MAX_BYTES: u64 = 600 << 20;

/// Ticks of the system in a second, in which it tells what a process has used.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a pipeline took.
#[derive(Clone, Copy)]
struct Took {
    seconds: f64,
    processor_seconds: f64,
}

pub(super) fn apply(nodes: &[Node]) -> io::Result<(String, Vec<Violation>)> {
    let to = nodes[0].client_address;
    let watch = Watch::begin(nodes)?;
    let frame = |words: &[&str]| Command::from_args(words).frame().to_vec();
    let sets: Vec<u8> = (0..REQUESTS)
        .flat_map(|request| frame(&["SET", &format!("many:{}", request % KEYS), "value"]))
        .collect();
    let increments = frame(&["INCR", "one:counter"]).repeat(REQUESTS);
    let pair = [frame(&["SET", "one:value", "value"]), frame(&["GET", "one:value"])].concat();
    let pairs = pair.repeat(REQUESTS);
    // The lines of the replies.
    let run = |commands: &[u8], lines: usize| measure(nodes, to, commands, lines * REQUESTS);
    let (mut set_us, mut increment, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let set = run(&sets, 1)?;
        set_us.push(set.seconds * 1e6 / REQUESTS as f64);
        increment.push((run(&increments, 1)?, set));
        both.push((run(&pairs, 3)?, set));
    }
    let mut text = format!("SET of many keys {:.1} us; times as much", median(set_us));
    let mut violations = Vec::new();
    for (wanted, took) in [(INCREMENT, increment), (PAIR, both)] {
        let of = |part: fn(&Took) -> f64| {
            median(took.iter().map(|(one, set)| part(one) / part(set)).collect())
        };
        let (time, processors) = (of(|took| took.seconds), of(|took| took.processor_seconds));
        let told = format!(
            "{}: time {time:.2} (wanted: {}), processors {processors:.2} (wanted: {})",
            wanted.name, wanted.time, wanted.processors
        );
        let is_slow = time > BUSY_TIMES * wanted.time;
        let is_costly = processors > BUSY_TIMES * wanted.processors;
        if is_slow || is_costly {
            violations.push(Violation::new("latency", told.clone()));
        }
        text.push_str(&format!("\n    {told}"));
    }
    violations.extend(watch.end(GROWTH_MAX_BYTES)?);
    Ok((text, violations))
}

/// Sends commands at once and takes so many lines of replies.
fn measure(nodes: &[Node], to: SocketAddr, commands: &[u8], lines: usize) -> io::Result<Took> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut sender = stream.try_clone()?;
    let used = || nodes.iter().map(processor_seconds).sum::<io::Result<f64>>();
    let (before, begin) = (used()?, Instant::now());
    thread::scope(|scope| {
        scope.spawn(move || sender.write_all(commands));
        let (mut chunk, mut left) = (vec![0; 64 << 10], lines);
        while left > 0 {
            let count = stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let reply = &chunk[..count];
            // None of the replies that are hoped for has one.
            if reply.contains(&b'-') {
                let text = String::from_utf8_lossy(reply).into_owned();
                return Err(io::Error::other(text));
            }
            left -= reply.iter().filter(|byte| **byte == b'\n').count().min(left);
        }
        Ok(())
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    // The kernel counts whole ticks: whoever took less may have none.
    let processor_seconds = (used()? - before).max(1.0 / TICKS_PER_SECOND);
    Ok(Took { seconds, processor_seconds })
}

/// Seconds of a processor that a process has used.
fn processor_seconds(node: &Node) -> io::Result<f64> {
    let id = node.process_id().ok_or_else(|| io::Error::other("the process has ended"))?;
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, which stands before it in brackets, may have spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let used: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(used / TICKS_PER_SECOND)
}
