//! The same scenarios, histories and checkers with real processes: `quorate serve` on loopback,
//! real sockets and a real disk, SIGKILL, SIGSTOP, and links that a proxy cuts.
//!
//! A schedule takes as long as its period says, so there are few of them. What a simulation cannot
//! show is shown here: the event loops, the operating system, and the program itself.

pub mod attacks;
mod connection;
mod node;
mod ports;
mod pressure;
mod proxy;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use quorate_proto::{Level, resp::reply::Value};
use rustix::process::Signal;

use crate::{
    action::{self, Action, Key},
    check,
    fault::{self, Fault, Script},
    history::{History, Operation, Outcome, Time},
    machine,
    network::datacentres,
    random::Stream,
    scenario::Scenario,
    workload::{LIFETIME_MAX_MS, Workload},
    world::{Violation, judge},
};
use attacks::Attack;
use connection::Connection;
use node::{Node, Setup};
use ports::Ports;
use pressure::Pressure;
use proxy::Links;

/// How long the replicas may take to become equal once nothing fails any more.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// How long a client waits for a reply.
const PATIENCE: Duration = Duration::from_secs(8);

/// What came of a run.
#[derive(Debug)]
pub struct Verdict {
    /// What clients saw.
    pub history: History,
    /// The faults.
    pub script: Script,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// How long it took until all replicas were equal.
    pub settled: Option<Duration>,
    /// What was measured under pressure.
    pub measured: Option<String>,
}

/// Runs a scenario with the server program `binary`, keeping data and logs in `directory`.
///
/// # Errors
/// The processes could not be started or did not form a cluster.
pub fn run(scenario: &Scenario, seed: u64, binary: &Path, directory: &Path) -> io::Result<Verdict> {
    run_with(&Setup::default(), None, scenario, seed, binary, directory)
}

/// Runs an attack in the same way. `Ok(Err)` says what this machine lacks for it.
///
/// # Errors
/// The processes could not be started or did not form a cluster.
pub fn attack(
    attack: &Attack,
    seed: u64,
    binary: &Path,
    directory: &Path,
) -> io::Result<Result<Verdict, &'static str>> {
    match attack.setup() {
        Ok(setup) => {
            run_with(&setup, attack.pressure, &attack.scenario, seed, binary, directory).map(Ok)
        }
        Err(lacking) => Ok(Err(lacking)),
    }
}

fn run_with(
    setup: &Setup,
    pressure: Option<Pressure>,
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    directory: &Path,
) -> io::Result<Verdict> {
    let mut cluster = Cluster::start(setup, scenario, binary, directory)?;
    cluster.form()?;
    if pressure == Some(Pressure::RepairStorm) {
        pressure::storm::prepare(&mut cluster)?;
    }
    let rolled = match pressure {
        Some(Pressure::RollingRestarts) => Some(pressure::rolling::apply(&mut cluster)?),
        Some(Pressure::Stuck) => Some(pressure::stuck::apply(&mut cluster)?),
        _ => None,
    };
    let script = fault::draw(scenario, seed);
    let work = Work::new(scenario, seed);
    let pressed = thread::scope(|scope| {
        for node in 0..cluster.nodes.len() {
            for client in 0..scenario.clients {
                let (work, address) = (&work, cluster.nodes[node].client_address);
                scope.spawn(move || work.client(scenario, seed, node, client, address));
            }
        }
        let pressed = pressure.map(|pressure| pressure::apply(pressure, &cluster.nodes));
        let played = cluster.play(scenario, &script, work.start);
        work.stop.store(true, Ordering::Relaxed);
        played.and(pressed.transpose())
    })?;
    let healed = Instant::now();
    let (measured, mut violations) = rolled
        .or(pressed)
        .map_or((None, Vec::new()), |(text, violations)| (Some(text), violations));
    let settled = match cluster.settle(healed) {
        Ok(()) => Some(healed.elapsed()),
        Err(text) => {
            violations.push(Violation::new("convergence", text));
            None
        }
    };
    if settled.is_some() {
        // What ends between two of the last readings would look as if replicas differed.
        if scenario.expiring_percent > 0 {
            let over = Duration::from_millis(LIFETIME_MAX_MS);
            thread::sleep(over.saturating_sub(healed.elapsed()));
        }
        for node in 0..cluster.nodes.len() {
            work.audit(node, cluster.nodes[node].client_address)?;
        }
    }
    let history = work.history.into_inner().unwrap_or_else(PoisonError::into_inner);
    let unread = history.operations.iter().filter(|found| found.last && !found.is_ok());
    violations.extend(unread.map(|found| Violation::new("convergence", found.describe())));
    violations.extend(check::all(scenario, &script, &history));
    Ok(Verdict { history, script, violations, settled, measured })
}

/// The processes and the links between them. Dropping it ends all of them.
struct Cluster<'a> {
    binary: &'a Path,
    nodes: Vec<Node>,
    links: Arc<Links>,
    /// Held so that the ports of killed nodes stay theirs.
    ports: Ports,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.links.stop();
        self.nodes.iter_mut().for_each(Node::kill);
    }
}

impl<'a> Cluster<'a> {
    fn start(
        setup: &Setup,
        scenario: &Scenario,
        binary: &'a Path,
        directory: &Path,
    ) -> io::Result<Self> {
        let links = Arc::new(Links::new(scenario.nodes.len()));
        let mut cluster = Self { binary, nodes: Vec::new(), links, ports: Ports::reserve()? };
        let mut first = None;
        for (node, (datacentre, rack)) in scenario.nodes.iter().enumerate() {
            let client_address = cluster.ports.take(Ipv4Addr::LOCALHOST)?;
            let peer_address = cluster.ports.take(Ipv4Addr::LOCALHOST)?;
            let known = proxy::start(node, peer_address, &cluster.links)?;
            let mut arguments = vec!["serve".to_owned()];
            let mut option = |name: &str, value: String| {
                arguments.extend([format!("--{name}"), value]);
            };
            option("name", machine::name(node));
            option("listen", client_address.to_string());
            option("peer-listen", peer_address.to_string());
            option("cluster-listen", "none".into());
            option("advertise", known.ip().to_string());
            option("dc", (*datacentre).into());
            option("rack", (*rack).into());
            option("rf", scenario.factor().to_string());
            option("shards", scenario.shards.to_string());
            option("sync", scenario.sync.name().into());
            option("request-timeout-ms", machine::REQUEST_TIMEOUT_MS.to_string());
            if let Some(first) = first {
                option("seed", SocketAddr::to_string(&first));
            }
            first.get_or_insert(known);
            let own = directory.join(machine::name(node));
            let mut process = Node::new(arguments, own, client_address, setup)?;
            process.start(binary)?;
            cluster.nodes.push(process);
        }
        Ok(cluster)
    }

    /// Waits until every node knows and reaches every other one, then writes once, which seals the
    /// list.
    fn form(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let all = self.nodes.len();
        let formed = |node: &Node| {
            let status = Connection::open(node.client_address, PATIENCE)
                .and_then(|mut connection| connection.ask(&["QUORATE", "STATUS"]));
            status.is_ok_and(|status| {
                let members = members(&status);
                let reached = |member| field(member, "state").is_some_and(|state| state != "down");
                members.len() == all && members.iter().all(reached)
            })
        };
        while !self.nodes.iter().all(formed) {
            self.nodes.iter_mut().try_for_each(Node::check_running)?;
            if Instant::now() > deadline {
                return Err(io::Error::other(
                    "the processes did not form a cluster; see their logs",
                ));
            }
            thread::sleep(Duration::from_millis(50));
        }
        let mut connection = Connection::open(self.nodes[0].client_address, PATIENCE * 2)?;
        match connection.ask(&["SET", "first", "1"])? {
            Value::Simple(_) => Ok(()),
            other => Err(io::Error::other(format!("the first write failed: {other:?}"))),
        }
    }

    /// Plays the script, and ends every fault at the end of the period.
    fn play(&mut self, scenario: &Scenario, script: &Script, start: Instant) -> io::Result<()> {
        let mut events: Vec<(Time, bool, usize)> = Vec::new();
        for (index, planned) in script.iter().enumerate() {
            events.push((planned.at, true, index));
            events.push(((planned.at + planned.lasts).min(scenario.period), false, index));
        }
        events.sort_unstable();
        for (at, begins, index) in events {
            let at = start + Duration::from_micros(at);
            thread::sleep(at.saturating_duration_since(Instant::now()));
            self.replace_fenced()?;
            if let Err(error) = self.inflict(script[index].fault, begins) {
                return Err(io::Error::other(format!("{:?}: {error}", script[index].fault)));
            }
        }
        let end = start + Duration::from_micros(scenario.period);
        thread::sleep(end.saturating_duration_since(Instant::now()));
        for node in &mut self.nodes {
            node.signal(Signal::CONT);
            node.start_again(self.binary);
        }
        Ok(())
    }

    /// Begins or ends a fault. Those that only a simulation has are left out.
    fn inflict(&mut self, fault: Fault, begins: bool) -> io::Result<()> {
        let (nodes, binary) = (self.nodes.len(), self.binary);
        match fault {
            Fault::Kill { node }
            | Fault::Wipe { node }
            | Fault::WipeAll { node }
            | Fault::PutBack { node, .. }
                if begins =>
            {
                self.nodes[node].kill();
            }
            Fault::Kill { node } => self.nodes[node].start_again(binary),
            Fault::Wipe { node } | Fault::WipeAll { node } if self.nodes[node].is_down() => {
                self.nodes[node].wipe(matches!(fault, Fault::WipeAll { .. }))?;
                self.nodes[node].start_again(binary);
            }
            Fault::PutBack { node, starts } if self.nodes[node].is_down() => {
                self.nodes[node].put_back(starts)?;
                self.nodes[node].start_again(binary);
            }
            Fault::Pause { node } => {
                self.nodes[node].signal(if begins { Signal::STOP } else { Signal::CONT });
            }
            Fault::Cut { from, to } => self.links.cut(from, to, begins),
            Fault::Partition { side } => {
                for (from, to) in (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))) {
                    if (side >> from & 1) != (side >> to & 1) {
                        self.links.cut(from, to, begins);
                    }
                }
            }
            Fault::Reset { a, b } if begins => self.links.reset(a, b),
            Fault::Slow { from, to, extra_us } => {
                self.links.slow(from, to, if begins { extra_us } else { 0 });
            }
            Fault::DiskFull { node } if begins => {
                // A running node has a segment already; a new one looks for room.
                self.nodes[node].kill();
                self.nodes[node].fill_disk(true)?;
                self.nodes[node].start_again(binary);
            }
            Fault::DiskFull { node } => {
                self.nodes[node].fill_disk(false)?;
                self.nodes[node].start_again(binary);
            }
            Fault::Descriptors { node } => self.nodes[node].starve(begins)?,
            Fault::Skew { node, ms } => self.nodes[node].skew(if begins { ms } else { -ms })?,
            _ => {}
        }
        Ok(())
    }

    fn replace_fenced(&mut self) -> io::Result<()> {
        self.nodes.iter_mut().try_for_each(|node| node.replace_fenced(self.binary))
    }

    /// Waits until all nodes are up and hold the same.
    fn settle(&mut self, healed: Instant) -> Result<(), String> {
        loop {
            self.replace_fenced().map_err(|error| error.to_string())?;
            let restless = match self.is_quiet() {
                Ok(None) => return Ok(()),
                Ok(Some(restless)) => restless,
                Err(error) => error.to_string(),
            };
            if healed.elapsed() > SETTLE_MAX {
                let seconds = SETTLE_MAX.as_secs();
                return Err(format!("{seconds} s after the last fault: {restless}"));
            }
            thread::sleep(Duration::from_millis(250));
        }
    }

    fn is_quiet(&self) -> io::Result<Option<String>> {
        let mut digests = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let name = machine::name(number);
            let mut connection = Connection::open(node.client_address, PATIENCE)?;
            let status = connection.ask(&["QUORATE", "STATUS"])?;
            if field(&status, "ready").as_deref() != Some("1") {
                return Ok(Some(format!("{name} has not caught up")));
            }
            for member in members(&status) {
                let state = field(member, "state").unwrap_or_default();
                let pending = field(member, "hints_pending").unwrap_or_default();
                let dirty = field(member, "dirty_groups").unwrap_or_default();
                if state == "down" || pending != "0" || dirty != "0" {
                    return Ok(Some(format!(
                        "{name} sees a peer {state} with {pending} hints and {dirty} dirty groups"
                    )));
                }
            }
            digests.push(connection.ask(&["QUORATE", "DIGEST"])?.to_text());
        }
        digests.dedup();
        Ok((digests.len() > 1).then(|| format!("the digests are {digests:?}")))
    }
}

/// The field of a reply that is a map, or an array of names and values.
fn entry<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    match map {
        Value::Map(pairs) => {
            pairs.iter().find(|(key, _)| key.to_text() == name).map(|(_, value)| value)
        }
        Value::Array(items) => {
            items.chunks_exact(2).find(|pair| pair[0].to_text() == name).map(|pair| &pair[1])
        }
        _ => None,
    }
}

fn field(map: &Value, name: &str) -> Option<String> {
    entry(map, name).map(Value::to_text)
}

fn members(status: &Value) -> &[Value] {
    match entry(status, "members") {
        Some(Value::Array(members)) => members,
        _ => &[],
    }
}

/// What all clients share.
struct Work {
    start: Instant,
    stop: AtomicBool,
    history: Mutex<History>,
    workload: Mutex<Workload>,
    left: AtomicU32,
    processes: AtomicU32,
    datacentres: Vec<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut workload = Workload::new(scenario);
        workload.skip(seed % 1_000 * 1_000_000);
        Self {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            history: Mutex::default(),
            workload: Mutex::new(workload),
            left: AtomicU32::new(scenario.operations),
            processes: AtomicU32::new(0),
            datacentres: datacentres(scenario),
        }
    }

    fn now(&self) -> Time {
        self.start.elapsed().as_micros() as Time
    }

    fn new_process(&self) -> u32 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    /// One client of a node, until the work is stopped or done.
    fn client(&self, scenario: &Scenario, seed: u64, node: usize, client: u32, to: SocketAddr) {
        let number = node as u64 * u64::from(scenario.clients) + u64::from(client);
        let mut random = Stream::new(seed, "client", number);
        let levels = random.weighted(scenario.levels).copied();
        let levels = levels.unwrap_or((Level::Quorum, Level::Quorum));
        let clients = u64::from(scenario.clients) * scenario.nodes.len() as u64;
        let mean = scenario.period * clients / u64::from(scenario.operations.max(1));
        let mut process = self.new_process();
        let mut connection = None;
        while !self.stop.load(Ordering::Relaxed) && self.left.load(Ordering::Relaxed) > 0 {
            thread::sleep(Duration::from_micros(random.exponential(mean).min(10 * mean)));
            let Some(open) = connection.as_mut() else {
                connection = introduced(to, levels).ok();
                continue;
            };
            let parts = lock(&self.workload).draw(&mut random, node == 0);
            self.left.fetch_sub(1, Ordering::Relaxed);
            if !self.ask(open, process, node, levels, &parts, false) {
                connection = None;
                process = self.new_process();
            }
        }
    }

    /// Asks, and records the answer. Returns whether the connection can be used further.
    fn ask(
        &self,
        connection: &mut Connection,
        process: u32,
        node: usize,
        (read_level, write_level): (Level, Level),
        parts: &[(Key, Action)],
        last: bool,
    ) -> bool {
        let start = self.now();
        let operations = parts.iter().enumerate().map(|(number, (key, action))| Operation {
            // What one process does never overlaps.
            process: if number == 0 { process } else { self.new_process() },
            node,
            datacentre: self.datacentres[node],
            key: *key,
            action: *action,
            read_level,
            write_level,
            start,
            end: Time::MAX,
            outcome: Outcome::Unknown("never answered".into()),
            last,
        });
        let first = {
            let mut history = lock(&self.history);
            history.operations.extend(operations);
            history.operations.len() - parts.len()
        };
        let unknown = |text| vec![Outcome::Unknown(text); parts.len()];
        let outcomes = match connection.run(&action::words(parts)) {
            Ok(reply) => judge(parts, &[], &reply).unwrap_or_else(unknown),
            Err(error) => unknown(error.to_string()),
        };
        let usable = !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unknown(_)));
        let end = self.now();
        let mut history = lock(&self.history);
        for (operation, outcome) in history.operations[first..].iter_mut().zip(outcomes) {
            (operation.end, operation.outcome) = (end, outcome);
        }
        usable
    }

    /// Reads every key at a node at ONE.
    fn audit(&self, node: usize, to: SocketAddr) -> io::Result<()> {
        let levels = (Level::One, Level::Quorum);
        let mut connection = introduced(to, levels)?;
        let process = self.new_process();
        let keys = lock(&self.workload).keys();
        for key in keys {
            self.ask(&mut connection, process, node, levels, &[(key, key.family.read())], true);
        }
        Ok(())
    }
}

fn introduced(to: SocketAddr, (read, write): (Level, Level)) -> io::Result<Connection> {
    let mut connection = Connection::open(to, PATIENCE)?;
    match connection.ask(&["QUORATE", "LEVEL", "READ", read.name(), "WRITE", write.name()])? {
        Value::Simple(_) => Ok(connection),
        other => Err(io::Error::other(format!("the levels were refused: {other:?}"))),
    }
}
