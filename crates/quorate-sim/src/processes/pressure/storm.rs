//! Reads of a large hash of which one replica lacks a third, and nobody has a hint for it.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use quorate_proto::resp::reply::Value;

use super::{
    super::Cluster, BUSY_TIMES, Connection, Node, PATIENCE, Seen, Violation, WANTED_MS,
    WANTED_TIMES, Watch,
};

const HASH: &str = "storm";
const FIELDS: usize = 150_000;
const MISSING: usize = 50_000;
const FIELDS_AT_ONCE: usize = 1_000;

/// What clients read again and again.
const READ: [&str; 3] = ["HGET", HASH, "f0000001"];
const CLIENTS: usize = 60;

const LASTS: Duration = Duration::from_secs(4);

const GROWTH_MAX_BYTES: u64 = 600 << 20;

/// Makes the last node lack fields that the others have.
pub(in super::super) fn prepare(cluster: &mut Cluster<'_>) -> io::Result<()> {
    let to = cluster.nodes[0].client_address;
    put(to, 0..FIELDS - MISSING)?;
    let (last, others) = cluster.nodes.split_last_mut().expect("invariant: a cluster has nodes");
    last.kill();
    put(to, FIELDS - MISSING..FIELDS)?;
    for node in others {
        node.kill();
        node.forget_hints()?;
    }
    let binary = cluster.binary;
    cluster.nodes.iter_mut().for_each(|node| node.start_again(binary));
    cluster.form()
}

fn put(to: SocketAddr, fields: std::ops::Range<usize>) -> io::Result<()> {
    let mut connection = Connection::open(to, PATIENCE)?;
    for first in fields.clone().step_by(FIELDS_AT_ONCE) {
        let pairs =
            (first..first + FIELDS_AT_ONCE).flat_map(|n| [format!("f{n:07}"), n.to_string()]);
        let words: Vec<_> = ["HSET".to_owned(), HASH.to_owned()].into_iter().chain(pairs).collect();
        if let Value::Error(text) = connection.run(&words)? {
            return Err(io::Error::other(text));
        }
    }
    Ok(())
}

pub(super) fn apply(nodes: &[Node]) -> io::Result<(String, Vec<Violation>)> {
    let to = nodes[0].client_address;
    let mut watch = Watch::begin(nodes)?;
    let addresses: Vec<_> = nodes.iter().map(|node| node.client_address).collect();
    let mut readers = Seen::default();
    let mut probed = watch.beside_probe(to, || {
        readers = read_all(&addresses)?;
        Ok(())
    })?;
    // The same once nothing is left to repair.
    let mut calm = watch.beside_probe(to, || read_all(&addresses).map(drop))?;
    let text = format!(
        "99th percentile {:.1} ms, longest {:.1} ms, {:.1} ms without the storm; {}\n    {CLIENTS} clients: {} reads, median {:.1} \
         ms, longest {:.1} ms, {} errors",
        probed.at(99),
        probed.at(100),
        calm.at(99),
        watch.memory()?,
        readers.milliseconds.len(),
        readers.at(50),
        readers.at(100),
        readers.errors.len(),
    );
    watch.errors.append(&mut probed.errors);
    watch.errors.append(&mut calm.errors);
    watch.errors.append(&mut readers.errors);
    let mut violations = watch.end(GROWTH_MAX_BYTES)?;
    if probed.at(99) > BUSY_TIMES * WANTED_MS.max(WANTED_TIMES * calm.at(99)) {
        violations.push(Violation::new("latency", format!("{:.1} ms", probed.at(99))));
    }
    Ok((text, violations))
}

/// What all clients have seen.
fn read_all(addresses: &[SocketAddr]) -> io::Result<Seen> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|client| {
            let to = addresses[client % addresses.len()];
            let is_over = &is_over;
            scope.spawn(move || ask_again_and_again(to, is_over))
        });
        let clients: Vec<_> = clients.collect();
        thread::sleep(LASTS);
        is_over.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in clients {
            let panicked = |_| Err(io::Error::other("a client panicked"));
            let seen = client.join().unwrap_or_else(panicked)?;
            all.milliseconds.extend(seen.milliseconds);
            all.errors.extend(seen.errors);
        }
        Ok(all)
    })
}

fn ask_again_and_again(to: SocketAddr, is_over: &AtomicBool) -> io::Result<Seen> {
    let mut connection = Connection::open(to, PATIENCE)?;
    connection.ask(&["QUORATE", "LEVEL", "READ", "LOCAL_QUORUM"])?;
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let reply = connection.ask(&READ)?;
        seen.milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        match reply {
            Value::Error(text) => seen.errors.push(text),
            Value::Nil => seen.errors.push("a field is gone".into()),
            _ => {}
        }
    }
    Ok(seen)
}
