//! Restarts of one node after the other by SIGTERM, while clients work: none may get an error, and who
//! repeats what was on a connection that was closed gets everything done.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use quorate_proto::resp::reply::Value;

use super::{super::Cluster, Connection, PATIENCE, Violation};

/// How often every node is stopped and started again.
const TIMES: usize = 10;

/// Clients of each node.
const CLIENTS: usize = 4;

/// How long a node may take to stop.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Pause between two commands of a client, or two attempts to connect.
const PAUSE: Duration = Duration::from_millis(2);

/// What a client has seen.
#[derive(Debug, Default)]
struct Told {
    answered: u64,
    closed: u64,
    errors: Vec<String>,
}

pub(in super::super) fn apply(cluster: &mut Cluster<'_>) -> io::Result<(String, Vec<Violation>)> {
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.client_address).collect();
    let is_over = AtomicBool::new(false);
    let (mut stops, mut told) = (Vec::new(), Told::default());
    thread::scope(|scope| {
        let clients = (0..CLIENTS * addresses.len()).map(|client| {
            let (to, is_over) = (addresses[client % addresses.len()], &is_over);
            scope.spawn(move || work(to, client, is_over))
        });
        let clients: Vec<_> = clients.collect();
        let rolled = (0..TIMES).try_for_each(|_| roll(cluster, &mut stops));
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            let seen = client.join().map_err(|_| io::Error::other("a client panicked"))?;
            told.answered += seen.answered;
            told.closed += seen.closed;
            told.errors.extend(seen.errors);
        }
        rolled
    })?;
    let longest = stops.iter().max().copied().unwrap_or_default();
    let text = format!(
        "{} stops, the longest took {} ms; {} commands answered, {} connections closed, {} errors",
        stops.len(),
        longest.as_millis(),
        told.answered,
        told.closed,
        told.errors.len(),
    );
    let violations = told.errors.first().map(|error| Violation::new("errors", error.clone()));
    Ok((text, violations.into_iter().collect()))
}

/// Stops each node and starts it again; the next one follows once all are up.
fn roll(cluster: &mut Cluster<'_>, stops: &mut Vec<Duration>) -> io::Result<()> {
    for node in 0..cluster.nodes.len() {
        stops.push(cluster.nodes[node].stop(STOP_MAX)?);
        let binary = cluster.binary;
        cluster.nodes[node].start_again(binary);
        cluster.form()?;
        let begin = Instant::now();
        while cluster.is_quiet()?.is_some() && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Reads and writes keys of its own, and connects again when the connection is closed.
fn work(to: SocketAddr, client: usize, is_over: &AtomicBool) -> Told {
    let mut told = Told::default();
    let (value, counter) = (format!("rolling:{client}"), format!("rolling:counter:{client}"));
    let commands = [
        vec!["SET", &value, "value"],
        vec!["GET", &value],
        vec!["INCR", &counter],
        vec!["EXISTS", &value],
    ];
    let mut connection = None;
    let mut next = 0;
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
        let Some(open) = &mut connection else {
            connection = Connection::open(to, PATIENCE).ok();
            continue;
        };
        match open.ask(&commands[next % commands.len()]) {
            // As of a server that reads its data: it has not begun to serve.
            Ok(Value::Error(text)) if text.starts_with("LOADING") => {}
            Ok(Value::Error(text)) => told.errors.push(text),
            Ok(_) => {
                told.answered += 1;
                next += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                told.errors.push("no answer in time".into());
                connection = None;
            }
            Err(_) => {
                told.closed += 1;
                connection = None;
            }
        }
    }
    told
}
