//! Members among themselves: what one that starts holds back, and what a long turn makes of clocks.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use quorate_cluster::elements::Limits;
use quorate_log::disk::SimulatedDisk;
use quorate_node::{
    Settings,
    config::SyncPolicy,
    simulation::{Input, Moment, Options, Output, Port, Process, Wire},
};
use quorate_proto::resp::{Command, reply};

const NODES: usize = 3;
const TURN_US: u64 = 5_000;

/// Less than the patience of a member that has met some of the others.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(300);

/// The connection of the only client, to the first node.
const CLIENT: Wire = Wire(1);

/// Nodes whose bytes arrive in the next turn, all turns at the same moments.
struct Cluster {
    disks: Vec<SimulatedDisk>,
    /// `None` while a node is away.
    processes: Vec<Option<Process>>,
    inboxes: Vec<Vec<Input>>,
    /// The other ends of connections between nodes.
    ends: BTreeMap<(usize, Wire), (usize, Wire)>,
    next_wire: u64,
    now_us: u64,
    starts: u64,
    replies: Vec<u8>,
    /// How long each turn of the first node takes before anything arrives.
    work_us: u64,
}

impl Cluster {
    fn form() -> Self {
        let mut cluster = Self {
            disks: (0..NODES).map(|_| SimulatedDisk::new()).collect(),
            processes: (0..NODES).map(|_| None).collect(),
            inboxes: vec![Vec::new(); NODES],
            ends: BTreeMap::new(),
            next_wire: CLIENT.0 + 1,
            now_us: 0,
            starts: 0,
            replies: Vec::new(),
            work_us: 0,
        };
        (0..NODES).for_each(|node| cluster.start(node));
        cluster.inboxes[0].push(Input::Accepted { wire: CLIENT, port: Port::Client });
        cluster
    }

    fn start(&mut self, node: usize) {
        let mut settings = Settings::default();
        settings.listen = address(6_379, node);
        settings.peer_listen = Some(address(16_379, node));
        let others = (0..NODES).filter(|other| *other != node);
        settings.seeds = others.map(|other| address(16_379, other).to_string()).collect();
        settings.name = Some(format!("n{node}"));
        settings.data_dir = Some("/data".into());
        settings.replication_factor = 1.into();
        settings.request_timeout = REQUEST_TIMEOUT;
        settings.shards = 1;
        settings.sync = SyncPolicy::EverySecond;
        self.starts += 1;
        let options = Options {
            settings,
            disk: Arc::new(self.disks[node].clone()),
            seed: self.starts,
            boot: 1,
            segment_bytes: 1 << 16,
            checkpoint_bytes_min: 1 << 20,
            hint_bytes_max: 1 << 20,
            element_limits: Limits::DEFAULT,
            long_call: usize::MAX,
            pieces: quorate_proto::frame::PieceSizes::DEFAULT,
            command_us: 1,
            mail_delay_us: 0,
            store_delay_us: 0,
        };
        let process = Process::start(options, moment(self.now_us)).expect("the node starts");
        self.processes[node] = Some(process);
    }

    fn stop(&mut self, node: usize) {
        self.processes[node] = None;
        self.inboxes[node].clear();
        let ends = std::mem::take(&mut self.ends);
        for (near, far) in ends {
            if near.0 != node && far.0 != node {
                self.ends.insert(near, far);
            } else if near.0 != node {
                self.inboxes[near.0].push(Input::Closed(near.1));
            }
        }
    }

    fn turn(&mut self) {
        self.now_us += TURN_US;
        self.inboxes[0].insert(0, Input::Passed(self.work_us));
        for node in 0..NODES {
            let inputs = std::mem::take(&mut self.inboxes[node]);
            let Some(process) = &mut self.processes[node] else { continue };
            let outputs = process.turn(moment(self.now_us), inputs);
            assert_eq!(process.death(), None);
            outputs.into_iter().for_each(|output| self.perform(node, output));
        }
        self.now_us += self.work_us;
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Dial { wire, address: to } => {
                let target = (0..NODES).find(|other| address(16_379, *other).to_string() == to);
                let target = target.filter(|target| self.processes[*target].is_some());
                let Some(target) = target else {
                    return self.inboxes[node].push(Input::Closed(wire));
                };
                let far = Wire(self.next_wire);
                self.next_wire += 1;
                self.ends.insert((node, wire), (target, far));
                self.ends.insert((target, far), (node, wire));
                self.inboxes[node].push(Input::Connected(wire));
                self.inboxes[target].push(Input::Accepted { wire: far, port: Port::Peer });
            }
            Output::Send(CLIENT, bytes) => self.replies.extend(bytes),
            Output::Send(wire, bytes) => {
                if let Some((to, far)) = self.ends.get(&(node, wire)) {
                    self.inboxes[*to].push(Input::Bytes(*far, bytes));
                }
            }
            Output::Close(wire) => {
                if let Some((to, far)) = self.ends.remove(&(node, wire)) {
                    self.ends.remove(&(to, far));
                    self.inboxes[to].push(Input::Closed(far));
                }
            }
            Output::Sync(job) => self.inboxes[node].push(Input::Sync(job)),
        }
    }

    /// Asks the first node for something, and waits for the answer.
    fn ask(&mut self, words: &[&str]) -> String {
        let command = Command::from_args(words);
        self.inboxes[0].push(Input::Bytes(CLIENT, command.frame().to_vec()));
        self.until("an answer", |cluster| {
            let length = reply::skip(&cluster.replies).expect("a reply")?;
            let reply = cluster.replies.drain(..length).collect();
            Some(String::from_utf8(reply).expect("text"))
        })
    }

    fn until<T>(&mut self, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..10_000 {
            if let Some(found) = found(self) {
                return found;
            }
            self.turn();
        }
        panic!("{what} did not come");
    }
}

fn address(port: u16, node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], port))
}

fn moment(monotonic_us: u64) -> Moment {
    Moment { monotonic_us, wall_ms: 1_700_000_000_000 + monotonic_us / 1_000 }
}

#[test]
fn a_long_turn_makes_no_clock_seem_wrong() {
    let mut cluster = Cluster::form();
    cluster.until("a cluster that serves", |cluster| {
        (cluster.ask(&["SET", "first", "x"]) == "+OK\r\n").then_some(())
    });
    cluster.work_us = 900_000;
    for _ in 0..20 {
        let status = cluster.ask(&["QUORATE", "STATUS"]);
        assert!(status.contains("clock_in_doubt\r\n:0\r\n"), "{status}");
    }
}

/// A member that starts while another one is away holds what it is asked for until its patience is
/// over, but not longer than whoever asks waits.
#[test]
fn what_a_caller_has_given_up_is_not_begun_when_the_start_ends() {
    let mut cluster = Cluster::form();
    cluster.until("a sealed member list", |cluster| {
        let _ = cluster.ask(&["SET", "first", "x"]);
        cluster.processes.iter().flatten().all(Process::is_sealed).then_some(())
    });
    let keys: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
    cluster.until("a first start that is over", |cluster| {
        keys.iter().all(|key| cluster.ask(&["SET", key, "old"]) == "+OK\r\n").then_some(())
    });
    cluster.stop(1);
    cluster.stop(2);
    cluster.start(1);
    // The one that has started is known by what it is asked for, which it holds.
    let held = cluster.until("a call that is held", |cluster| {
        keys.iter().find(|key| cluster.ask(&["SET", key, "late"]).starts_with("-UNKNOWN n1"))
    });
    cluster.until("the end of the start", |cluster| {
        (cluster.ask(&["SET", held, "new", "GET"]) == "$3\r\nold\r\n").then_some(())
    });
}
