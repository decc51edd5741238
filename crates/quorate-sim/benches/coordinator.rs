//! Instructions and allocations of a node for a command, as valgrind counts them: alone, and as the
//! coordinator of three that get all load through it. A busy machine does not change the figures.
//! Needs `valgrind`.
//!
//! `cargo bench -p quorate-sim --bench coordinator`, or with names of commands behind `--`.
//!
//! Only turns of the node that the clients ask are counted, without the kernel: ten connections a
//! turn, sixteen commands in the pipeline of each, over keys that are there.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    collections::BTreeMap, net::SocketAddr, path::PathBuf, process::Command as Process, sync::Arc,
};

use quorate_cluster::elements::Limits;
use quorate_log::disk::SimulatedDisk;
use quorate_node::{
    Settings,
    simulation::{self, Input, Moment, Options, Output, Port, Wire},
};
use quorate_proto::resp::{Command, reply};

const KEYS: usize = 2_000;

/// Commands in a pipeline, and connections that are heard in one turn.
const PIPELINE: usize = 16;
const CONNECTIONS: usize = 10;

/// Commands of the shorter one of two runs, whose difference is what is told.
const COMMANDS: usize = 8_000;

/// What clients send, without the key.
const ROWS: [(&str, &[&str]); 2] = [("SET", &["v64"]), ("GET", &[])];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, name, nodes, times] = arguments.as_slice()
        && mode == "run"
    {
        let number = |text: &String| text.parse().expect("a number");
        return run(name, number(nodes), number(times));
    }
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    println!("| command | instructions alone | of three | ratio | allocations alone | of three |");
    println!("|---|---|---|---|---|---|");
    for (name, _) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) {
            let (alone, of_three) = (measure(name, 1), measure(name, 3));
            let ratio = of_three.instructions / alone.instructions;
            println!(
                "| `{name}` | {:.0} | {:.0} | {ratio:.2} | {:.1} | {:.1} |",
                alone.instructions, of_three.instructions, alone.allocations, of_three.allocations
            );
        }
    }
}

/// What a command takes.
struct Cost {
    instructions: f64,
    allocations: f64,
}

fn measure(name: &str, nodes: usize) -> Cost {
    let (once, twice) = (count(name, nodes, COMMANDS), count(name, nodes, 2 * COMMANDS));
    let each = |once: u64, twice: u64| (twice - once) as f64 / COMMANDS as f64;
    Cost { instructions: each(once.0, twice.0), allocations: each(once.1, twice.1) }
}

/// Instructions and allocations in counted turns of a process that sends the command so many times.
fn count(name: &str, nodes: usize, times: usize) -> (u64, u64) {
    let program = std::env::current_exe().expect("a program has a path");
    let file = std::env::temp_dir().join(format!("quorate-callgrind-{}", std::process::id()));
    let mut valgrind = Process::new("valgrind");
    valgrind.args(["--tool=callgrind", "--toggle-collect=*counted_turn*"]);
    valgrind.arg(format!("--callgrind-out-file={}", file.display()));
    valgrind.arg(program).args(["run", name, &nodes.to_string(), &times.to_string()]);
    let output = valgrind.output().expect("valgrind runs");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let (_, collected) = collected.unwrap_or_else(|| panic!("no count from valgrind: {report}"));
    let instructions = collected.trim().parse().expect("a number of instructions");
    let calls = std::fs::read_to_string(&file).expect("valgrind has written a profile");
    if std::env::var_os("QUORATE_KEEP_PROFILE").is_none() {
        let _ = std::fs::remove_file(&file);
    } else {
        println!("{name}, {nodes} nodes, {times} commands: {}", file.display());
    }
    (instructions, allocations(&calls))
}

/// How often a profile says that memory was taken, a new piece or a larger one.
fn allocations(profile: &str) -> u64 {
    let mut names = BTreeMap::new();
    let (mut sum, mut called) = (0, false);
    for line in profile.lines() {
        if let Some(found) = line.strip_prefix("cfn=") {
            let (number, name) = found.split_once(' ').unwrap_or((found, ""));
            if !name.is_empty() {
                names.insert(number.to_owned(), name.to_owned());
            }
            called = names.get(number).is_some_and(|name| {
                matches!(name.as_str(), "malloc" | "calloc" | "realloc" | "posix_memalign")
            });
        } else if let Some(found) = line.strip_prefix("fn=")
            && let Some((number, name)) = found.split_once(' ')
        {
            names.insert(number.to_owned(), name.to_owned());
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| called) {
            let times = calls.split(' ').next().and_then(|count| count.parse::<u64>().ok());
            sum += times.unwrap_or(0);
        }
    }
    sum
}

fn run(name: &str, nodes: usize, times: usize) {
    let (_, rest) = ROWS.iter().find(|(row, _)| *row == name).expect("a command of the table");
    let mut cluster = Cluster::start(nodes);
    cluster.connect_clients();
    for batch in 0..KEYS.div_ceil(PIPELINE * CONNECTIONS) {
        cluster.send_all("SET", &["v64"], batch * PIPELINE * CONNECTIONS, false);
    }
    for batch in 0..times / (PIPELINE * CONNECTIONS) {
        cluster.send_all(name, rest, 7 * batch * PIPELINE * CONNECTIONS, true);
    }
}

/// A turn of the node that the clients ask, which valgrind finds by this name.
#[inline(never)]
fn counted_turn(
    process: &mut simulation::Process,
    moment: Moment,
    inputs: Vec<Input>,
) -> Vec<Output> {
    process.turn(moment, inputs)
}

/// Nodes with a network between them that takes no time and loses nothing.
struct Cluster {
    processes: Vec<simulation::Process>,
    inboxes: Vec<Vec<Input>>,
    /// The other side of each connection between nodes.
    other_sides: BTreeMap<(usize, Wire), (usize, Wire)>,
    /// By client: what it was answered and has not looked at.
    answers: BTreeMap<Wire, Vec<u8>>,
    next_wire: u64,
    now_us: u64,
}

fn address(port: u16, node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], port))
}

impl Cluster {
    fn start(nodes: usize) -> Self {
        let processes = (0..nodes).map(|node| {
            let mut settings = Settings::default();
            settings.listen = address(6379, node);
            settings.peer_listen = Some(address(16_379, node));
            settings.seeds = (0..nodes)
                .filter(|other| *other != node)
                .map(|other| address(16_379, other).to_string())
                .collect();
            settings.name = Some(format!("n{node}"));
            settings.data_dir = Some(PathBuf::from("/data"));
            settings.shards = 1;
            settings.scrub_interval = None;
            let options = Options {
                settings,
                disk: Arc::new(SimulatedDisk::new()),
                seed: node as u64 + 1,
                boot: 1,
                segment_bytes: 32 << 20,
                checkpoint_bytes_min: 1 << 30,
                hint_bytes_max: 1 << 20,
                element_limits: Limits::DEFAULT,
                store_delay_us: 0,
                long_call: usize::MAX,
                pieces: quorate_proto::frame::PieceSizes::DEFAULT,
                command_us: 0,
                mail_delay_us: 0,
            };
            let moment = Moment { monotonic_us: 0, wall_ms: 1_700_000_000_000 };
            simulation::Process::start(options, moment).expect("it starts")
        });
        let mut cluster = Self {
            processes: processes.collect(),
            inboxes: vec![Vec::new(); nodes],
            other_sides: BTreeMap::new(),
            answers: BTreeMap::new(),
            next_wire: 1,
            now_us: 0,
        };
        // They find each other, and compare what they have: nothing.
        for _ in 0..3_000 {
            cluster.pass(1_000, false);
        }
        cluster
    }

    fn connect_clients(&mut self) {
        for _ in 0..CONNECTIONS {
            let wire = self.name_wire();
            self.inboxes[0].push(Input::Accepted { wire, port: Port::Client });
            self.answers.insert(wire, Vec::new());
        }
    }

    /// Every client sends a pipeline and waits for all answers.
    fn send_all(&mut self, name: &str, rest: &[&str], first_key: usize, counted: bool) {
        let value = "v".repeat(64);
        let clients: Vec<Wire> = self.answers.keys().copied().collect();
        for (client, at) in clients.iter().zip(0..) {
            let mut bytes = Vec::new();
            for command in 0..PIPELINE {
                let number = (first_key + at * PIPELINE + command) % KEYS;
                let mut words = vec![name.to_owned(), format!("key:{number:012}")];
                let rest = rest.iter().map(|word| word.replace("v64", &value));
                words.extend(rest);
                bytes.extend_from_slice(Command::from_args(words).frame());
            }
            self.inboxes[0].push(Input::Bytes(*client, bytes));
        }
        for _ in 0..100_000 {
            self.pass(50, counted);
            if clients.iter().all(|client| count_replies(&self.answers[client]) == PIPELINE) {
                self.answers.values_mut().for_each(Vec::clear);
                return;
            }
        }
        panic!("not everything is answered");
    }

    /// Time passes, and every node that has a reason to has a turn.
    fn pass(&mut self, us: u64, counted: bool) {
        self.now_us += us;
        let wall_ms = 1_700_000_000_000 + self.now_us / 1_000;
        let moment = Moment { monotonic_us: self.now_us, wall_ms };
        for node in 0..self.processes.len() {
            let inputs = std::mem::take(&mut self.inboxes[node]);
            let process = &mut self.processes[node];
            if inputs.is_empty() && process.poll_timeout() > self.now_us {
                continue;
            }
            let outputs = if node == 0 && counted {
                counted_turn(process, moment, inputs)
            } else {
                process.turn(moment, inputs)
            };
            outputs.into_iter().for_each(|output| self.perform(node, output));
        }
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Dial { wire, address: wanted } => {
                let target = (0..self.processes.len())
                    .find(|target| address(16_379, *target).to_string() == wanted)
                    .expect("only nodes are dialled");
                let accepted = self.name_wire();
                self.other_sides.insert((node, wire), (target, accepted));
                self.other_sides.insert((target, accepted), (node, wire));
                self.inboxes[target].push(Input::Accepted { wire: accepted, port: Port::Peer });
                self.inboxes[node].push(Input::Connected(wire));
            }
            Output::Send(wire, bytes) => match self.other_sides.get(&(node, wire)) {
                Some(&(other, wire)) => self.inboxes[other].push(Input::Bytes(wire, bytes)),
                None => self.answers.entry(wire).or_default().extend_from_slice(&bytes),
            },
            Output::Close(wire) => {
                if let Some((other, wire)) = self.other_sides.remove(&(node, wire)) {
                    self.other_sides.remove(&(other, wire));
                    self.inboxes[other].push(Input::Closed(wire));
                }
            }
            Output::Sync(number) => self.inboxes[node].push(Input::Sync(number)),
        }
    }

    fn name_wire(&mut self) -> Wire {
        self.next_wire += 1;
        Wire(self.next_wire)
    }
}

/// Whole replies in these bytes, none of which is an error.
fn count_replies(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty()
        && let Some(length) = reply::skip(bytes).expect("nodes answer what can be read")
    {
        assert_ne!(bytes[0], b'-', "{}", String::from_utf8_lossy(&bytes[..length]));
        (bytes, count) = (&bytes[length..], count + 1);
    }
    count
}
