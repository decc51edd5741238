//! Instructions that the store executes for a command, as valgrind counts them: a figure that a
//! busy machine does not change. Needs `valgrind`.
//!
//! `cargo bench -p quorate-store --bench instructions`, or with names of commands behind `--`.
//!
//! Every command is measured over keys that are there, with elements that are there.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::process::Command as Process;

use quorate_proto::{Origin, Slot, Start, command::Call, resp::Command};
use quorate_store::{Request, Store, StoreOptions};

const KEYS: usize = 1_000;

/// Elements of a collection.
const ELEMENTS: usize = 10;

/// A command that is measured, and the one that writes its keys. `K` stands for a key, `E` for an
/// element, `V` for a value.
struct Row {
    name: &'static str,
    prepare: &'static str,
    command: &'static str,
}

const fn row(name: &'static str, prepare: &'static str, command: &'static str) -> Row {
    Row { name, prepare, command }
}

const ROWS: [Row; 11] = [
    row("GET", "SET K V", "GET K"),
    row("GET missing", "SET K V", "GET missing:K"),
    row("SET", "SET K V", "SET K V"),
    row("INCR", "INCR K", "INCR K"),
    row("HGET", "HSET K E V", "HGET K E"),
    row("HSET", "HSET K E V", "HSET K E V"),
    row("SISMEMBER", "SADD K E", "SISMEMBER K E"),
    row("SADD", "SADD K E", "SADD K E"),
    row("ZSCORE", "ZADD K 1 E", "ZSCORE K E"),
    row("ZADD", "ZADD K 1 E", "ZADD K 1 E"),
    row("EXPIRE", "SET K V", "EXPIRE K 100"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, name, times] = arguments.as_slice()
        && mode == "run"
    {
        let row = ROWS.iter().find(|row| row.name == name).expect("a command of the table");
        return run(row, times.parse().expect("a number"));
    }
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    println!("| command | instructions |");
    println!("|---|---|");
    for row in &ROWS {
        if wanted.is_empty() || wanted.iter().any(|name| name.eq_ignore_ascii_case(row.name)) {
            let (once, twice) = (count(row, KEYS), count(row, 2 * KEYS));
            println!("| `{}` | {} |", row.name, (twice - once) / KEYS as u64);
        }
    }
}

/// Instructions of a process that executes the command so many times.
fn count(row: &Row, times: usize) -> u64 {
    let program = std::env::current_exe().expect("a program has a path");
    let mut valgrind = Process::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(program).args(["run", row.name, &times.to_string()]);
    let output = valgrind.output().expect("valgrind runs");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let (_, collected) = collected.unwrap_or_else(|| panic!("no count from valgrind: {report}"));
    collected.trim().parse().expect("a number of instructions")
}

fn run(row: &Row, times: usize) {
    let mut store = Store::new(StoreOptions {
        origin: Origin::new(0, Start::from_random(1)),
        digest_secret: [7; 16],
        seed: 1,
        keep_removed: true,
    });
    let (mut reply, mut effect) = (Vec::new(), Vec::new());
    let mut execute = |call: &Call, at: usize| {
        reply.clear();
        effect.clear();
        let request = Request { call, wall_ms: 1_000 + at as u64 / 100, resp3: false };
        store.execute(request, &mut reply, &mut effect);
    };
    let elements = if row.prepare.contains('E') { ELEMENTS } else { 1 };
    for at in 0..KEYS * elements {
        execute(&filled(row.prepare, at / elements, at % elements), at);
    }
    let calls: Vec<_> =
        (0..KEYS).map(|at| filled(row.command, at * 7 % KEYS, at % elements)).collect();
    for at in 0..times {
        execute(&calls[at % KEYS], KEYS * elements + at);
    }
}

fn filled(words: &str, key: usize, element: usize) -> Call {
    let fill = |word: &str| match word {
        "K" => format!("key:{key:012}"),
        "missing:K" => format!("nil:{key:012}"),
        "E" => format!("element:{element:08}"),
        "V" => "v".repeat(64),
        word => word.to_owned(),
    };
    let command = Command::from_args(words.split(' ').map(fill).collect::<Vec<_>>());
    Call::piece(Slot::of_key(command.arg(1)), command)
}
