//! A turn is bounded: what one client sends holds up neither other clients nor other nodes.

use std::{path::PathBuf, sync::Arc};

use quorate_cluster::elements::Limits;
use quorate_log::disk::SimulatedDisk;
use quorate_node::{
    Settings,
    config::SyncPolicy,
    simulation::{Input, Moment, Options, Output, Port, Process, Wire},
};
use quorate_proto::resp::{Command, reply};

/// What every command takes, in microseconds.
const COMMAND_US: u64 = 40;

/// What a turn may take for commands, and one batch of a connection more.
const TURN_US_MAX: u64 = 2_000 + 500;

const GREEDY: Wire = Wire(2);
const MODEST: Wire = Wire(4);

struct Node {
    process: Process,
    now_us: u64,
}

impl Node {
    fn start() -> Self {
        let mut settings = Settings::default();
        settings.data_dir = Some(PathBuf::from("/data"));
        settings.shards = 2;
        settings.sync = SyncPolicy::EverySecond;
        let options = Options {
            settings,
            disk: Arc::new(SimulatedDisk::new()),
            seed: 1,
            boot: 1,
            segment_bytes: 1 << 20,
            checkpoint_bytes_min: 1 << 20,
            hint_bytes_max: 1 << 20,
            element_limits: Limits::DEFAULT,
            long_call: usize::MAX,
            pieces: quorate_proto::frame::PieceSizes::DEFAULT,
            command_us: COMMAND_US,
            mail_delay_us: 0,
            store_delay_us: 0,
        };
        let process = Process::start(options, moment(0)).expect("the node starts");
        Self { process, now_us: 1_000 }
    }

    /// A turn, whose time passes. Returns the number of replies to each client.
    fn turn(&mut self, inputs: Vec<Input>) -> (usize, usize) {
        let outputs = self.process.turn(moment(self.now_us), inputs);
        let took = self.process.worked_us();
        assert!(took <= TURN_US_MAX, "a turn took {took} us");
        self.now_us += took + 10;
        let replies = |wire| {
            let sent = outputs.iter().filter_map(|output| match output {
                Output::Send(to, bytes) if *to == wire => Some(replies(bytes)),
                _ => None,
            });
            sent.sum()
        };
        (replies(GREEDY), replies(MODEST))
    }
}

fn moment(monotonic_us: u64) -> Moment {
    Moment { monotonic_us, wall_ms: 1_700_000_000_000 + monotonic_us / 1_000 }
}

fn replies(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Some(length)) = reply::skip(bytes) {
        bytes = &bytes[length..];
        count += 1;
    }
    count
}

#[test]
fn a_long_pipeline_holds_up_nobody() {
    const PIPELINE: usize = 20_000;
    let mut node = Node::start();
    let accepted = [GREEDY, MODEST].map(|wire| Input::Accepted { wire, port: Port::Client });
    node.turn(accepted.to_vec());
    let set = Command::from_args(["SET", "key", "value"]);
    let mut inputs = vec![Input::Bytes(MODEST, set.frame().to_vec())];
    let turns = (0..3).map(|_| node.turn(std::mem::take(&mut inputs)).1);
    assert_eq!(turns.sum::<usize>(), 1, "the first write seals the member list of one");
    let mut answered = 0;
    let mut inputs = vec![Input::Bytes(GREEDY, set.frame().repeat(PIPELINE))];
    for _ in 0..PIPELINE {
        if answered == PIPELINE {
            break;
        }
        inputs.push(Input::Bytes(MODEST, set.frame().to_vec()));
        let (greedy, modest) = node.turn(std::mem::take(&mut inputs));
        assert_eq!(modest, 1, "a command is answered in the turn in which it arrives");
        assert!(greedy > 0, "the pipeline goes on");
        answered += greedy;
    }
    assert_eq!(answered, PIPELINE);
}
