//! A node that is alive and does nothing, or is gone at once, while clients of the others read and write
//! at a quorum: how long does any of them wait, and what is it told?
//!
//! What only overwrites goes elsewhere when its executor is silent. What depends on what it finds (`INCR`)
//! cannot, while it is not known whether it was executed: it may be told so.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use quorate_proto::resp::reply::Value;
use rustix::process::Signal;

use super::{super::Cluster, Connection, PATIENCE, Violation};

/// How often each of these happens.
const TIMES: usize = 3;

/// How long it lasts.
const LASTS: Duration = Duration::from_secs(3);

/// How long clients work before, and after.
const CALM: Duration = Duration::from_secs(1);

/// Clients of each node for each kind of command.
const CLIENTS: usize = 2;

/// Pause between two commands of a client.
const PAUSE: Duration = Duration::from_millis(2);

/// What a client of another node waits at most; machines that test are busy.
const WANTED: Duration = Duration::from_millis(500);
const BUSY_TIMES: u32 = 10;

/// What happens to a node.
#[derive(Clone, Copy, Debug)]
enum Plight {
    /// Its process stands still, and goes on.
    Stopped,
    /// The others hear nothing of it, and it hears them.
    Unheard,
    /// Its process is killed, and started again.
    Killed,
}

/// What the clients of the others have seen.
#[derive(Debug, Default)]
struct Told {
    milliseconds: Vec<f64>,
    /// Of commands that only overwrite or read.
    errors: Vec<String>,
    /// Of those that depend on what they find.
    unknown: usize,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.milliseconds.extend(other.milliseconds);
        self.errors.extend(other.errors);
        self.unknown += other.unknown;
    }
}

pub(in super::super) fn apply(cluster: &mut Cluster<'_>) -> io::Result<(String, Vec<Violation>)> {
    let (mut texts, mut violations) = (Vec::new(), Vec::new());
    for plight in [Plight::Stopped, Plight::Unheard, Plight::Killed] {
        let mut all = Told::default();
        for time in 0..TIMES {
            let node = time % cluster.nodes.len();
            all.add(suffer(cluster, node, plight)?);
            recover(cluster)?;
        }
        all.milliseconds.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| {
            let last = all.milliseconds.len().saturating_sub(1);
            all.milliseconds.get(last * percent / 100).copied().unwrap_or(f64::INFINITY)
        };
        let (p99, longest) = (at(99), at(100));
        texts.push(format!(
            "{plight:?}: {} commands, 99th percentile {p99:.1} ms, longest {longest:.0} ms, {} errors, {} \
             INCR unknown",
            all.milliseconds.len(),
            all.errors.len(),
            all.unknown,
        ));
        // A node that hears the others may have executed what it was sent, and nobody can tell.
        let may_be_unknown = matches!(plight, Plight::Unheard);
        let mut errors = all.errors.iter();
        if let Some(error) = errors.find(|error| !may_be_unknown || !error.contains(": UNKNOWN ")) {
            violations.push(Violation::new("errors", format!("{plight:?}: {error}")));
        }
        if longest > (WANTED * BUSY_TIMES).as_secs_f64() * 1e3 {
            violations.push(Violation::new("latency", format!("{plight:?}: {longest:.0} ms")));
        }
    }
    Ok((texts.join("; "), violations))
}

/// Has clients of the others work while a node is in some plight.
fn suffer(cluster: &mut Cluster<'_>, node: usize, plight: Plight) -> io::Result<Told> {
    let addresses: Vec<SocketAddr> = (0..cluster.nodes.len())
        .filter(|other| *other != node)
        .map(|other| cluster.nodes[other].client_address)
        .collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for (number, to) in addresses.iter().enumerate() {
            for kind in ["SET", "GET", "HSET", "INCR"] {
                for client in 0..CLIENTS {
                    let name = format!("stuck:{number}:{client}");
                    let is_over = &is_over;
                    clients.push(scope.spawn(move || work(*to, &name, kind, is_over)));
                }
            }
        }
        thread::sleep(CALM);
        let done = inflict(cluster, node, plight);
        is_over.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for client in clients {
            all.add(client.join().map_err(|_| io::Error::other("a client panicked"))??);
        }
        done.map(|()| all)
    })
}

fn inflict(cluster: &mut Cluster<'_>, node: usize, plight: Plight) -> io::Result<()> {
    let others = (0..cluster.nodes.len()).filter(|other| *other != node);
    match plight {
        Plight::Stopped => {
            cluster.nodes[node].signal(Signal::STOP);
            thread::sleep(LASTS);
            cluster.nodes[node].signal(Signal::CONT);
        }
        Plight::Unheard => {
            others.clone().for_each(|other| cluster.links.cut(node, other, true));
            thread::sleep(LASTS);
            others.for_each(|other| cluster.links.cut(node, other, false));
        }
        Plight::Killed => {
            cluster.nodes[node].kill();
            thread::sleep(LASTS);
            let binary = cluster.binary;
            cluster.nodes[node].start_again(binary);
        }
    }
    thread::sleep(CALM);
    Ok(())
}

fn recover(cluster: &mut Cluster<'_>) -> io::Result<()> {
    cluster.form()?;
    let begin = Instant::now();
    while cluster.is_quiet()?.is_some() && begin.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Sends one kind of command again and again.
fn work(to: SocketAddr, name: &str, kind: &str, is_over: &AtomicBool) -> io::Result<Told> {
    let mut told = Told::default();
    let mut connection = Connection::open(to, PATIENCE)?;
    let mut number = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        number += 1;
        let (key, value) = (format!("{name}:{kind}:{}", number % 64), number.to_string());
        let words = match kind {
            "SET" => vec!["SET", &key, &value],
            "HSET" => vec!["HSET", &key, "field", &value],
            other => vec![other, &key],
        };
        let begin = Instant::now();
        let reply = connection.ask(&words);
        let took = begin.elapsed().as_secs_f64() * 1e3;
        match reply {
            Ok(Value::Error(text)) if kind == "INCR" && text.starts_with("UNKNOWN") => {
                told.unknown += 1;
            }
            Ok(Value::Error(text)) => told.errors.push(format!("{kind}: {text}")),
            Ok(_) if kind == "INCR" => {}
            Ok(_) => told.milliseconds.push(took),
            Err(error) => {
                told.errors.push(format!("{kind}: {error}"));
                connection = Connection::open(to, PATIENCE)?;
            }
        }
        thread::sleep(PAUSE);
    }
    Ok(told)
}
