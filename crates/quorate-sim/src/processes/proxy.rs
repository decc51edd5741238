//! A fault proxy: every connection between two nodes goes through it, and can be cut, slowed or
//! broken, each direction by itself.
//!
//! A node listens for its peers on one loopback address and is known to them by another one, where
//! the proxy listens. Who is calling shows in the first frame, the introduction.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::BytesMut;
use quorate_proto::{frame, message::Message};

/// How often a pump looks at the state of its link.
const TICK: Duration = Duration::from_millis(5);

/// How the links between nodes are at the moment.
#[derive(Debug)]
pub(super) struct Links {
    nodes: usize,
    /// By sender and receiver.
    cuts: Vec<AtomicU64>,
    slow_us: Vec<AtomicU64>,
    /// Rises when the connections between a pair break.
    breaks: Vec<AtomicU64>,
    stopped: AtomicBool,
}

impl Links {
    pub(super) fn new(nodes: usize) -> Self {
        let none = || (0..nodes * nodes).map(|_| AtomicU64::new(0)).collect();
        Self {
            nodes,
            cuts: none(),
            slow_us: none(),
            breaks: none(),
            stopped: AtomicBool::new(false),
        }
    }

    fn at(&self, from: usize, to: usize) -> usize {
        from * self.nodes + to
    }

    /// Cuts a direction, or mends one cut.
    pub(super) fn cut(&self, from: usize, to: usize, cut: bool) {
        let cuts = &self.cuts[self.at(from, to)];
        if cut {
            cuts.fetch_add(1, Ordering::Relaxed);
        } else {
            cuts.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Slows a direction down.
    pub(super) fn slow(&self, from: usize, to: usize, us: u64) {
        self.slow_us[self.at(from, to)].store(us, Ordering::Relaxed);
    }

    /// Breaks the connections between two nodes.
    pub(super) fn reset(&self, a: usize, b: usize) {
        self.breaks[self.at(a, b)].fetch_add(1, Ordering::Relaxed);
        self.breaks[self.at(b, a)].fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the proxy.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Starts the proxy of a node that listens for its peers on `target`: returns the address that its
/// peers are told, which has the same port.
pub(super) fn start(node: usize, target: SocketAddr, links: &Arc<Links>) -> io::Result<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 1, node as u8 + 1), target.port()));
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let links = Arc::clone(links);
    thread::Builder::new().name(format!("proxy-{node}")).spawn(move || {
        while !links.is_stopped() {
            match listener.accept() {
                Ok((caller, _)) => {
                    let links = Arc::clone(&links);
                    let _ = thread::spawn(move || connect(caller, target, node, &links));
                }
                Err(_) => thread::sleep(TICK),
            }
        }
    })?;
    Ok(address)
}

/// Carries one connection. Errors end it, as they end a real one.
fn connect(mut caller: TcpStream, target: SocketAddr, to: usize, links: &Arc<Links>) {
    let Some((from, first)) = introduction(&mut caller, to) else { return };
    let broken = links.breaks[links.at(from, to)].load(Ordering::Relaxed);
    let Ok(mut called) = TcpStream::connect(target) else { return };
    // As nodes do: what waits for an acknowledgement adds 40 ms to every message.
    if caller.set_nodelay(true).is_err() || called.set_nodelay(true).is_err() {
        return;
    }
    let pair = caller.try_clone().and_then(|caller| Ok((caller, called.try_clone()?)));
    let Ok((caller_back, called_back)) = pair else { return };
    let cuts = &links.cuts[links.at(from, to)];
    while cuts.load(Ordering::Relaxed) > 0 && !links.is_stopped() {
        thread::sleep(TICK);
    }
    if called.write_all(&first).is_err() {
        return;
    }
    let back = {
        let links = Arc::clone(links);
        thread::spawn(move || pump(called_back, caller_back, (to, from), broken, &links))
    };
    pump(caller, called, (from, to), broken, links);
    let _ = back.join();
}

/// The node that calls, and what it has sent so far.
fn introduction(caller: &mut TcpStream, to: usize) -> Option<(usize, Vec<u8>)> {
    caller.set_nonblocking(false).ok()?;
    caller.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut input = BytesMut::new();
    let mut chunk = [0; 4096];
    loop {
        match frame::decode(&mut input.clone()) {
            Ok(Some(frame)) => {
                let name = match frame.message {
                    Message::Hello(hello) | Message::Join(hello) => hello.member.name,
                    _ => String::new(),
                };
                let from = name.trim_start_matches('n').parse().unwrap_or(to);
                return Some((from, input.to_vec()));
            }
            Ok(None) => {}
            Err(_) => return Some((to, input.to_vec())),
        }
        match caller.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => input.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Carries one direction of a connection.
fn pump(
    mut source: TcpStream,
    mut sink: TcpStream,
    (from, to): (usize, usize),
    broken: u64,
    links: &Links,
) {
    let link = links.at(from, to);
    let is_broken = || links.is_stopped() || links.breaks[link].load(Ordering::Relaxed) != broken;
    let _ = source.set_read_timeout(Some(TICK));
    let mut chunk = vec![0; 64 << 10];
    loop {
        let count = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                if is_broken() {
                    break;
                }
                continue;
            }
            Err(_) => break,
        };
        while links.cuts[link].load(Ordering::Relaxed) > 0 && !is_broken() {
            thread::sleep(TICK);
        }
        let slow_us = links.slow_us[link].load(Ordering::Relaxed);
        if slow_us > 0 {
            thread::sleep(Duration::from_micros(slow_us));
        }
        if is_broken() || sink.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = source.shutdown(Shutdown::Both);
    let _ = sink.shutdown(Shutdown::Both);
}
