//! The world: machines, network and clients under one simulated time, driven by one queue of
//! events. The same seed and script give the same history, bit for bit.

mod clients;
mod ending;
mod faults;
mod founders;
mod greedy;
mod indexes;
mod ledger;
mod lists;
mod moving;
mod nodes;
mod operators;
mod origins;
mod pipelines;
mod scrub;
mod strikes;
mod tamper;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
};

use quorate_log::disk::SimulatedDisk;
use quorate_node::{config::ConfigErrors, simulation::Input};
use quorate_proto::{Level, NodeId, Origin};

pub(crate) use clients::judge;

use crate::{
    action::{Action, Family, Key},
    client::{Agenda, Client},
    fault::Script,
    history::{History, Time},
    machine::{self, Machine},
    network::{ConnectionId, Network, datacentres},
    observe::Observer,
    random::Stream,
    scenario::{Repair, Scenario},
    workload::Workload,
};

/// How long everything may take to settle once nothing fails any more: three rounds of digests,
/// and the time until dead peers are noticed.
const SETTLE_MAX: Time = 110_000_000;
/// Time within which tombstones are forgotten once all replicas are equal: three digest
/// rounds with every other node, at the longest pause, and the margin below the floors.
const FORGET_MAX: Time = 120_000_000;

/// Time within which clocks alone make those equal that went on all the time: two exchanges, and
/// what pulling takes.
const SURVIVE_MAX: Time = 5_000_000;

/// The longest expiry that workloads ask for, and a little more.
const EXPIRY_MAX: Time = 4_500_000;

/// How long slots of others are kept after they have gone: as long as a request of before may take.
const FOREIGN_KEPT_MAX: Time = 5 * machine::REQUEST_TIMEOUT_MS * 1_000;

/// Requests that a client can have under way: those that it has given up live until their deadline.
const REQUESTS_PER_CLIENT_MAX: u64 = 32;

/// When a greedy client comes first.
const FIRST_GREED: Time = 2_000_000;

/// How often it is looked at what grows with an outage.
const BOUNDS_EVERY: Time = 1_000_000;

/// Bytes by which a queue of hints may exceed its bound: the turn that fills it, and a segment that
/// was begun.
const HINT_SLACK: u64 = 1 << 17;

/// A promise that was broken, or a machine that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker that found it.
    pub checker: &'static str,
    /// What it found.
    pub text: String,
}

impl Violation {
    /// A violation found by `checker`.
    pub fn new(checker: &'static str, text: impl Into<String>) -> Self {
        Self { checker, text: text.into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Turn {
        node: usize,
    },
    Arrive {
        connection: ConnectionId,
        side: usize,
    },
    Sync {
        node: usize,
        generation: u32,
        number: u64,
    },
    FaultBegins(usize),
    FaultEnds(usize),
    Start {
        node: usize,
    },
    /// A client goes on, unless it has done so meanwhile.
    Client {
        client: usize,
        serial: u64,
    },
    /// A node that was cut off is linked again.
    StrikeEnds {
        node: usize,
    },
    /// Somebody looks whether slots may move on.
    Drive,
    /// A client sends pairs to a node at once.
    Pipeline {
        node: usize,
    },
    /// An operator looks what there is to do.
    Operate,
    /// A greedy client asks a node for very much.
    Greed {
        node: usize,
    },
    /// Somebody changes the catalog of indexes.
    Index {
        node: usize,
        number: u32,
    },
    /// A client has waited long enough.
    GiveUp {
        client: usize,
        serial: u64,
    },
}

/// A whole simulated cluster with its clients.
pub struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    scheduled: u64,
    machines: Vec<Machine>,
    datacentres: Vec<usize>,
    network: Network,
    clients: Vec<Client>,
    workload: Workload,
    operations_left: u32,
    processes: u32,
    next_wire: u64,
    /// Connections of clients whose replies nobody looks at.
    unheard: Vec<ConnectionId>,
    /// Clients that send pairs at once.
    pipelines: Vec<pipelines::Pipeline>,
    random: Stream,
    script: Script,
    /// Whether every fault has ended.
    healed: bool,
    /// By node: the fault that took it down.
    down_by: Vec<Option<usize>>,
    /// By node: whether its data directory is a copy that was put back.
    put_back: Vec<bool>,
    /// By node: until when it was paused or down, which excuses late answers.
    disturbed: Vec<Time>,
    /// By node: what bits that flip and scrubs are up to.
    rot: Vec<scrub::Rot>,
    /// The members of the first list that was final.
    founded: Option<BTreeSet<NodeId>>,
    /// Member lists that follow the first one.
    decisions: moving::Decisions,
    /// Member lists that nodes were seen to go by, where operators change them.
    lists: lists::Lists,
    operators: operators::Operators,
    /// Every origin that was ever gone by, with the node and which of its starts that was.
    origins: BTreeMap<Origin, (usize, u32)>,
    /// When a process began or ended last, which the others take a moment to notice.
    upset: Time,
    /// Why a node did not start the last time.
    start_errors: BTreeMap<usize, String>,
    history: History,
    violations: Vec<Violation>,
    /// Follows everything that happens.
    fingerprint: u64,
    /// What was reached, and the trace if one is wanted.
    pub observer: Observer,
}

/// What a schedule came to.
#[derive(Debug)]
pub struct Outcomes {
    /// What clients saw.
    pub history: History,
    /// What the world itself saw go wrong.
    pub violations: Vec<Violation>,
    /// A number that follows from everything that happened.
    pub fingerprint: u64,
    /// The end of the schedule.
    pub ended: Time,
    /// When faults ended.
    pub healed: Time,
}

impl<'a> World<'a> {
    /// A world before anything has happened. `disks` are those of an earlier world, if the cluster
    /// is formed already.
    ///
    /// # Errors
    /// The settings of the scenario are wrong.
    pub fn new(
        scenario: &'a Scenario,
        seed: u64,
        script: Script,
        disks: Option<&[SimulatedDisk]>,
        observer: Observer,
    ) -> Result<Self, ConfigErrors> {
        let nodes = scenario.nodes.len();
        let machines = (0..nodes)
            .map(|node| {
                let disk = disks.and_then(|disks| disks.get(node)).map(SimulatedDisk::duplicate);
                let disk = disk.unwrap_or_default();
                Machine::new(scenario, node, disk, seed)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut world = Self {
            scenario,
            now: 0,
            events: BinaryHeap::new(),
            scheduled: 0,
            machines,
            datacentres: datacentres(scenario),
            network: Network::new(scenario, seed),
            clients: Vec::new(),
            workload: Workload::new(scenario),
            operations_left: scenario.operations,
            processes: 0,
            next_wire: 0,
            unheard: Vec::new(),
            pipelines: Vec::new(),
            random: Stream::new(seed, "world", 0),
            script,
            healed: false,
            down_by: vec![None; nodes],
            put_back: vec![false; nodes],
            disturbed: vec![0; nodes],
            rot: vec![scrub::Rot::default(); nodes],
            founded: None,
            decisions: moving::Decisions::new(scenario.moves),
            lists: lists::Lists::new(nodes),
            operators: operators::Operators::new(scenario.orders),
            origins: BTreeMap::new(),
            upset: 0,
            start_errors: BTreeMap::new(),
            history: History::default(),
            violations: Vec::new(),
            fingerprint: 0,
            observer,
        };
        for node in 0..nodes {
            let at = world.random.below(20_000);
            world.schedule(at, Event::Start { node });
        }
        if scenario.moves > 0 {
            world.schedule(1_000_000, Event::Drive);
        }
        if scenario.orders > 0 && !scenario.forms {
            world.schedule(1_000_000, Event::Operate);
        }
        if scenario.greedy > 0 {
            world.schedule(FIRST_GREED, Event::Greed { node: 0 });
        }
        if scenario.indexed {
            world.schedule(indexes::FIRST_INDEX, Event::Index { node: 0, number: 0 });
        }
        for index in 0..world.script.len() {
            world.schedule(world.script[index].at, Event::FaultBegins(index));
        }
        Ok(world)
    }

    /// Runs the whole schedule: work and faults, healing, settling, and a last look at every key.
    pub fn run(mut self, seed: u64) -> Outcomes {
        let per_node = self.scenario.clients as usize;
        let formed_by = self.scenario.period / 2;
        while self.scenario.forms && !self.knows_everybody() && self.now < formed_by {
            self.run_until(self.now + 100_000);
        }
        if self.scenario.pipelined > 0 {
            self.schedule(self.now + FIRST_GREED, Event::Pipeline { node: 0 });
        }
        for number in 0..per_node * self.scenario.founders() {
            self.add_client(number, number / per_node.max(1), seed, Agenda::Work);
        }
        while self.now < self.scenario.period {
            self.run_until((self.now + BOUNDS_EVERY).min(self.scenario.period));
            self.check_bounds();
            self.check_scrubs();
            self.check_ledgers();
            self.check_founders();
            self.check_origins();
            self.write_back();
            if self.is_forked() {
                break;
            }
        }
        if self.scenario.repair == Repair::Clocks {
            self.finish_work();
            self.survive();
        }
        self.heal();
        let healed = self.now;
        self.finish_work();
        if !self.is_forked() && self.settle(healed) && self.forget() {
            self.write_last(seed);
            if self.settle(self.now) {
                self.audit(seed);
                if self.scenario.moves > 0 || self.has_operators() {
                    self.run_until(self.now + FOREIGN_KEPT_MAX);
                }
                self.check_holders();
                self.check_indexes();
                self.settle_ledgers();
            }
        }
        self.check_scrubs();
        self.check_founders();
        self.check_origins();
        self.check_left();
        Outcomes {
            history: self.history,
            violations: self.violations,
            fingerprint: self.fingerprint,
            ended: self.now,
            healed,
        }
    }

    /// Forms a cluster: starts every node and writes once. Returns the disks of a formed cluster.
    ///
    /// # Errors
    /// What went wrong.
    pub fn form(mut self, seed: u64) -> Result<Vec<SimulatedDisk>, String> {
        self.run_until(5_000_000);
        self.operations_left = 0;
        self.add_client(0, 0, seed, Agenda::Nothing);
        let key = Key { family: Family::Register, number: 99 };
        let mut agendas: Vec<VecDeque<(Key, Action)>> =
            [Action::Set(1), Action::Delete].map(|action| [(key, action)].into()).into();
        // Documents are made before anybody works on their parts.
        let is_document = |key: &Key| Family::DOCUMENTS.contains(&key.family);
        let keys = self.workload.keys().into_iter().filter(is_document);
        let documents: BTreeSet<u32> = keys.map(|key| key.number).collect();
        let wanted = agendas.len() + documents.len();
        let document = |number| (Key { family: Family::Document, number }, Action::Set(0));
        agendas.push(documents.into_iter().map(document).collect());
        for agenda in agendas {
            self.clients[0].agenda = Agenda::Audit(agenda);
            self.wake_client(0, 0);
            self.run_until(self.now + 30_000_000);
        }
        if let Some(missed) = self.history.operations.iter().find(|found| !found.is_ok()) {
            return Err(format!("the cluster did not form: {}", missed.describe()));
        }
        if self.history.operations.len() != wanted || self.is_quiet().is_err() {
            return Err(format!("the cluster did not form: {:?}", self.is_quiet()));
        }
        // An orderly stop: everything is on disk.
        Ok(self.machines.iter().map(|machine| machine.disk.duplicate()).collect())
    }

    /// Whether every node runs and knows every other one: whoever forms a cluster looks at that
    /// before the first write, which seals the member list.
    fn knows_everybody(&self) -> bool {
        let nodes = self.machines.len();
        self.machines.iter().all(|machine| {
            machine.process.as_ref().is_some_and(|found| found.topology().len() == nodes)
        })
    }

    fn add_client(&mut self, number: usize, node: usize, seed: u64, agenda: Agenda) {
        let mut draw = Stream::new(seed, "levels", number as u64);
        let levels = match agenda {
            Agenda::Work => draw.weighted(self.scenario.levels).copied(),
            _ => Some((Level::One, Level::Quorum)),
        };
        let levels = levels.unwrap_or((Level::Quorum, Level::Quorum));
        let mut client = Client::new(self.clients.len(), node, levels, seed);
        client.agenda = agenda;
        client.process = self.processes;
        self.processes += 1;
        self.clients.push(client);
        let delay = self.random.below(200_000);
        self.wake_client(self.clients.len() - 1, delay);
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn run_until(&mut self, end: Time) {
        while let Some(Reverse((at, _, _))) = self.events.peek() {
            if *at > end {
                break;
            }
            if let Some(Reverse((at, _, event))) = self.events.pop() {
                self.now = at;
                self.happen(event);
                for (at, connection, side) in std::mem::take(&mut self.network.arrivals) {
                    self.schedule(at, Event::Arrive { connection, side });
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn { node } => {
                if self.machines[node].turn_at == Some(self.now) {
                    self.turn(node);
                }
            }
            Event::Arrive { connection, side } => {
                if let Some((place, wire, packet)) = self.network.arrive(self.now, connection, side)
                {
                    self.arrive(connection, side, place, wire, packet);
                }
            }
            Event::Sync { node, generation, number } => {
                if self.machines[node].generation == generation {
                    self.input(node, Input::Sync(number));
                }
            }
            Event::FaultBegins(index) => self.begin_fault(index),
            Event::FaultEnds(index) => self.end_fault(index),
            Event::Start { node } => self.start(node),
            Event::StrikeEnds { node } => self.cut_off(node, false),
            Event::Drive => self.drive(),
            Event::Client { client, serial } => {
                if self.clients[client].serial == serial {
                    self.client_goes_on(client);
                }
            }
            Event::Operate => self.operate(),
            Event::Greed { node } => self.send_greedily(node),
            Event::Index { node, number } => self.change_indexes(node, number),
            Event::Pipeline { node } => self.send_pairs(node),
            Event::GiveUp { client, serial } => {
                if self.clients[client].serial == serial {
                    self.give_up(client);
                }
            }
        }
    }
}
