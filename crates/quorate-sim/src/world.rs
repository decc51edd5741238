//! The world: machines, network and clients under one simulated time, driven by one queue of
//! events. The same seed and script give the same history, bit for bit.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use bytes::BytesMut;
use quorate::{
    config::ConfigErrors,
    simulation::{Input, Output, Port, Wire},
};
use quorate_proto::{Level, Slot, frame, message::Message, resp::reply::Value};
use quorate_store::disk::SimulatedDisk;

use crate::{
    action::{Action, Family, Key, encode},
    client::{Agenda, Client, Stage},
    fault::{Fault, Planned, Script},
    history::{History, Operation, Outcome, Time},
    machine::{self, Machine, State},
    network::{ConnectionId, Network, Packet, Place, datacentres},
    observe::Observer,
    random::Stream,
    scenario::Scenario,
};

/// How long everything may take to settle once nothing fails any more: three rounds of digests,
/// and the time until dead peers are noticed.
const SETTLE_MAX: Time = 110_000_000;

/// The longest expiry that workloads ask for, and a little more.
const EXPIRY_MAX: Time = 4_500_000;

/// Requests that a client can have under way: those that it has given up live until their deadline.
const REQUESTS_PER_CLIENT_MAX: u64 = 32;

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
    workload: crate::workload::Workload,
    operations_left: u32,
    processes: u32,
    next_wire: u64,
    random: Stream,
    script: Script,
    /// By node: the fault that took it down.
    down_by: Vec<Option<usize>>,
    /// By node: until when it was paused or down, which excuses late answers.
    disturbed: Vec<Time>,
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
                let disk = disks.map_or_else(SimulatedDisk::new, |disks| disks[node].duplicate());
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
            workload: crate::workload::Workload::new(scenario),
            operations_left: scenario.operations,
            processes: 0,
            next_wire: 0,
            random: Stream::new(seed, "world", 0),
            script,
            down_by: vec![None; nodes],
            disturbed: vec![0; nodes],
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
        for number in 0..per_node * self.machines.len() {
            self.add_client(number, number / per_node.max(1), seed, Agenda::Work);
        }
        while self.now < self.scenario.period {
            self.run_until((self.now + BOUNDS_EVERY).min(self.scenario.period));
            self.check_bounds();
        }
        self.heal();
        let healed = self.now;
        self.finish_work();
        if self.settle(healed) {
            self.write_last(seed);
            if self.settle(self.now) {
                self.audit(seed);
            }
        }
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
        for action in [Action::Set(1), Action::Delete] {
            let agenda = [(key, action)].into();
            self.clients[0].agenda = Agenda::Audit(agenda);
            self.wake_client(0, 0);
            self.run_until(self.now + 30_000_000);
        }
        if let Some(missed) = self.history.operations.iter().find(|found| !found.is_ok()) {
            return Err(format!("the cluster did not form: {}", missed.describe()));
        }
        if self.history.operations.len() != 2 || self.is_quiet().is_err() {
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
            Event::Client { client, serial } => {
                if self.clients[client].serial == serial {
                    self.client_goes_on(client);
                }
            }
            Event::GiveUp { client, serial } => {
                if self.clients[client].serial == serial {
                    self.give_up(client);
                }
            }
        }
    }

    // Nodes.

    fn start(&mut self, node: usize) {
        if self.machines[node].process.is_some() {
            return;
        }
        self.observer.at(self.now, node);
        match self.machines[node].start(self.now) {
            Ok(()) => {
                self.observer.note(|| "starts".into());
                self.start_errors.remove(&node);
                self.disturbed[node] = self.now;
                self.turn_by(node, self.now + 1);
            }
            Err(error) => {
                self.observer.note(|| format!("does not start: {error}"));
                self.start_errors.insert(node, error);
                self.schedule(self.now + 500_000, Event::Start { node });
            }
        }
    }

    /// Hands something to the process of a node, which takes it at its next turn.
    fn input(&mut self, node: usize, input: Input) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() {
            return;
        }
        machine.inbox.push(input);
        let delay = self.random.between(10, 60);
        self.turn_by(node, self.now + delay);
    }

    fn turn_by(&mut self, node: usize, at: Time) {
        let machine = &mut self.machines[node];
        if machine.state == State::Running && machine.turn_at.is_none_or(|turn| turn > at) {
            machine.turn_at = Some(at);
            self.schedule(at, Event::Turn { node });
        }
    }

    fn turn(&mut self, node: usize) {
        self.machines[node].turn_at = None;
        if self.machines[node].state != State::Running {
            return;
        }
        self.observer.at(self.now, node);
        let moment = self.machines[node].moment(self.now);
        let machine = &mut self.machines[node];
        let inputs = std::mem::take(&mut machine.inbox);
        let Some(process) = &mut machine.process else { return };
        let outputs = process.turn(moment, inputs);
        let due = process.poll_timeout();
        let death = process.death().map(str::to_owned);
        if let Some(death) = death {
            self.observer.note(|| format!("ends: {death}"));
            self.start_errors.insert(node, death);
            self.take_down(node, State::Killed);
            return self.schedule(self.now + 500_000, Event::Start { node });
        }
        for output in outputs {
            self.output(node, output);
        }
        let at = self.machines[node].when(due, self.now).max(self.now + 50);
        self.turn_by(node, at);
    }

    fn output(&mut self, node: usize, output: Output) {
        let place = Place::Node(node);
        match output {
            Output::Dial { wire, address } => match self.node_at(&address) {
                Some(target) => {
                    self.network.open(self.now, place, wire, Place::Node(target));
                }
                None => self.input(node, Input::Closed(wire)),
            },
            Output::Send(wire, bytes) => {
                let Some((connection, side)) = self.network.find(place, wire) else { return };
                let bytes = if self.network.duplicates(connection, side) {
                    with_effects_twice(&bytes)
                } else {
                    bytes
                };
                let deaf = self.scenario.hints_only && self.now > self.scenario.calm_until;
                let bytes = if deaf { without_digests(&bytes) } else { bytes };
                self.observer.sent(&bytes);
                self.network.send(self.now, connection, side, Packet::Bytes(bytes));
            }
            Output::Close(wire) => {
                if let Some((connection, side)) = self.network.find(place, wire) {
                    self.network.close(self.now, connection, side);
                }
            }
            Output::Sync(number) => {
                let machine = &self.machines[node];
                let (generation, slow) = (machine.generation, machine.slow_disk_us);
                let at = self.now + slow + self.random.between(100, 3_000);
                self.schedule(at, Event::Sync { node, generation, number });
            }
        }
    }

    fn node_at(&self, address: &str) -> Option<usize> {
        let host = address.rsplit_once(':')?.0;
        let last: usize = host.rsplit_once('.')?.1.parse().ok()?;
        last.checked_sub(1).filter(|node| *node < self.machines.len())
    }

    fn arrive(
        &mut self,
        connection: ConnectionId,
        side: usize,
        place: Place,
        wire: Option<Wire>,
        packet: Packet,
    ) {
        if let Packet::Bytes(bytes) = &packet {
            self.mark(connection, bytes);
        }
        let node = match place {
            Place::Client { client, .. } => {
                return self.client_hears(client, connection, packet);
            }
            Place::Node(node) => node,
        };
        let state = self.machines[node].state;
        match (wire, packet) {
            (None, Packet::Open) => {
                if self.machines[node].process.is_some() {
                    self.next_wire += 1;
                    let wire = Wire(self.next_wire);
                    self.network.accept(self.now, connection, wire);
                    let from_client = self.network_opener_is_client(connection);
                    let port = if from_client { Port::Client } else { Port::Peer };
                    self.input(node, Input::Accepted { wire, port });
                } else if state != State::Off {
                    self.network.send(self.now, connection, side, Packet::Close);
                }
            }
            // The process that this was for is gone; its successor knows nothing of it.
            (None, Packet::Bytes(_)) if state != State::Off => {
                self.network.send(self.now, connection, side, Packet::Close);
            }
            (None, _) => {}
            (Some(wire), Packet::Accepted) => self.input(node, Input::Connected(wire)),
            (Some(wire), Packet::Bytes(bytes)) => self.input(node, Input::Bytes(wire, bytes)),
            (Some(wire), Packet::Close) => self.input(node, Input::Closed(wire)),
            (Some(_), Packet::Open) => {}
        }
    }

    fn network_opener_is_client(&self, connection: ConnectionId) -> bool {
        self.clients.iter().any(|client| client.connection == Some(connection))
    }

    fn mark(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let what = u64::from(crc32c::crc32c(bytes)) ^ connection << 32 ^ self.now;
        self.fingerprint =
            self.fingerprint.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what;
    }

    /// The process of a node is gone.
    fn take_down(&mut self, node: usize, state: State) {
        let machine = &mut self.machines[node];
        machine.process = None;
        machine.state = state;
        machine.inbox.clear();
        machine.turn_at = None;
        machine.generation += 1;
        self.network.lose_process(self.now, node, state == State::Off);
    }

    // Faults.

    fn begin_fault(&mut self, index: usize) {
        let Planned { lasts, fault, .. } = self.script[index];
        let nodes = self.machines.len();
        self.observer.fault(self.now, &fault);
        match fault {
            Fault::Kill { node } | Fault::Rot { node, .. } | Fault::Wipe { node } => {
                if self.machines[node].process.is_none() {
                    return;
                }
                self.take_down(node, State::Killed);
                self.down_by[node] = Some(index);
            }
            Fault::PowerOff { node, seed } => {
                if self.machines[node].process.is_none() {
                    return;
                }
                self.take_down(node, State::Off);
                self.machines[node].disk.lose_power(seed);
                self.machines[node].boots += 1;
                self.down_by[node] = Some(index);
            }
            Fault::Pause { node } => {
                if self.machines[node].state != State::Running {
                    return;
                }
                self.machines[node].state = State::Paused;
                self.down_by[node] = Some(index);
            }
            Fault::Cut { from, to } => self.network.cut(self.now, from, to, true),
            Fault::Partition { side } => self.partition(side, nodes, true),
            Fault::Reset { a, b } => self.network.reset(self.now, a, b),
            Fault::Slow { from, to, extra_us } => self.network.slow(from, to, extra_us as i64),
            Fault::Lossy { from, to, percent } => self.network.lose(from, to, percent),
            Fault::Duplicate { from, to } => self.network.duplicate(from, to, true),
            Fault::Skew { node, ms } => self.machines[node].skew(ms),
            Fault::Drift { node, ppm } => self.machines[node].drift(self.now, ppm),
            Fault::DiskFull { node } => {
                let disk = &self.machines[node].disk;
                disk.limit_capacity(Some(disk.used()));
            }
            Fault::SyncsFail { node } => self.machines[node].disk.fail_syncs(true),
            Fault::WritesFail { node } => self.machines[node].disk.fail_writes(true),
            Fault::SlowDisk { node, extra_us } => self.machines[node].slow_disk_us = extra_us,
        }
        self.schedule(self.now + lasts, Event::FaultEnds(index));
    }

    fn end_fault(&mut self, index: usize) {
        let fault = self.script[index].fault;
        let nodes = self.machines.len();
        self.observer.fault_ends(self.now, &fault);
        match fault {
            Fault::Kill { node } | Fault::PowerOff { node, .. } if self.was_taken(node, index) => {
                self.start(node);
            }
            Fault::Rot { node, seed } if self.was_taken(node, index) => {
                let place = self.machines[node].rot(seed);
                self.observer.note(|| format!("flips {place:?}"));
                self.start(node);
            }
            Fault::Wipe { node } if self.was_taken(node, index) => {
                self.machines[node].wipe();
                self.start(node);
            }
            Fault::Pause { node } if self.was_taken(node, index) => {
                if self.machines[node].state == State::Paused {
                    self.machines[node].state = State::Running;
                    self.disturbed[node] = self.now;
                    self.turn_by(node, self.now + 1);
                }
            }
            Fault::Kill { .. }
            | Fault::PowerOff { .. }
            | Fault::Rot { .. }
            | Fault::Wipe { .. }
            | Fault::Pause { .. }
            | Fault::Reset { .. } => {}
            Fault::Cut { from, to } => self.network.cut(self.now, from, to, false),
            Fault::Partition { side } => self.partition(side, nodes, false),
            Fault::Slow { from, to, extra_us } => self.network.slow(from, to, -(extra_us as i64)),
            Fault::Lossy { from, to, .. } => self.network.lose(from, to, 0),
            Fault::Duplicate { from, to } => self.network.duplicate(from, to, false),
            Fault::Skew { node, ms } => self.machines[node].skew(-ms),
            Fault::Drift { node, ppm } => self.machines[node].drift(self.now, -ppm),
            Fault::DiskFull { node } => self.machines[node].disk.limit_capacity(None),
            Fault::SyncsFail { node } => {
                self.machines[node].disk.fail_syncs(false);
                self.restart_failed(node);
            }
            Fault::WritesFail { node } => {
                self.machines[node].disk.fail_writes(false);
                self.restart_failed(node);
            }
            Fault::SlowDisk { node, .. } => self.machines[node].slow_disk_us = 0,
        }
    }

    fn was_taken(&mut self, node: usize, by: usize) -> bool {
        let taken = self.down_by[node] == Some(by);
        if taken {
            self.down_by[node] = None;
        }
        taken
    }

    /// A node whose log has failed refuses writes until somebody restarts it.
    fn restart_failed(&mut self, node: usize) {
        let failed = self.machines[node].process.as_ref().is_some_and(|found| found.has_failed());
        if failed && self.machines[node].state == State::Running {
            self.take_down(node, State::Killed);
            self.start(node);
        }
    }

    fn partition(&mut self, side: u64, nodes: usize, cut: bool) {
        for from in 0..nodes {
            for to in 0..nodes {
                if (side >> from & 1) != (side >> to & 1) {
                    self.network.cut(self.now, from, to, cut);
                }
            }
        }
    }

    /// Ends every fault.
    fn heal(&mut self) {
        let events = std::mem::take(&mut self.events).into_sorted_vec();
        // Sorted by the reverse: the last one first.
        for Reverse((_, _, event)) in events.iter().rev() {
            if let Event::FaultEnds(index) = event {
                self.end_fault(*index);
            }
        }
        let stays = |event: &Event| !matches!(event, Event::FaultEnds(_) | Event::FaultBegins(_));
        self.events.extend(events.into_iter().filter(|Reverse((_, _, event))| stays(event)));
        self.observer.healed(self.now);
        for node in 0..self.machines.len() {
            self.machines[node].heal(self.now);
            self.restart_failed(node);
        }
        for (at, connection, side) in std::mem::take(&mut self.network.arrivals) {
            self.schedule(at, Event::Arrive { connection, side });
        }
    }

    /// What grows while a node is away has a bound: hints on disk, and requests in memory.
    fn check_bounds(&mut self) {
        let peers = self.machines.len() as u64 - 1;
        let shards = u64::from(self.scenario.shards);
        let bytes_max = peers * shards * (self.scenario.hint_bytes_max + HINT_SLACK);
        let requests_max = self.clients.len() as u64 * REQUESTS_PER_CLIENT_MAX;
        for (node, machine) in self.machines.iter().enumerate() {
            let Some(process) = &machine.process else { continue };
            let (bytes, requests) = (process.hint_bytes(), process.requests() as u64);
            if bytes > bytes_max || requests > requests_max {
                let name = machine::name(node);
                let text = format!(
                    "{name} holds {bytes} bytes of hints and {requests} requests \
                     (allowed: {bytes_max} and {requests_max})"
                );
                self.violations.push(Violation::new("bounds", text));
            }
        }
    }

    // Clients.

    fn wake_client(&mut self, client: usize, delay: Time) {
        let serial = self.clients[client].serial;
        self.schedule(self.now + delay, Event::Client { client, serial });
    }

    fn client_goes_on(&mut self, index: usize) {
        let client = &mut self.clients[index];
        match client.stage {
            Stage::Away => {
                client.serial += 1;
                client.stage = Stage::Connecting;
                client.input.clear();
                let (place, wire) = (client.place(), client.wire());
                let target = Place::Node(client.node);
                let connection = self.network.open(self.now, place, wire, target);
                self.clients[index].connection = Some(connection);
                self.be_patient(index);
            }
            Stage::Ready => self.ask(index),
            Stage::Connecting | Stage::Introducing | Stage::Waiting => {}
        }
    }

    fn ask(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let (key, action) = match &mut client.agenda {
            Agenda::Work => {
                if self.operations_left == 0 || self.now >= self.scenario.period {
                    client.agenda = Agenda::Nothing;
                    return;
                }
                self.operations_left -= 1;
                let first = client.node == 0 && client.number < self.scenario.clients as usize;
                self.workload.draw(&mut client.random, first)
            }
            Agenda::Audit(reads) => match reads.pop_front() {
                Some(read) => read,
                None => {
                    client.agenda = Agenda::Nothing;
                    return;
                }
            },
            Agenda::Nothing => return,
        };
        let last = matches!(client.agenda, Agenda::Audit(_));
        client.stage = Stage::Waiting;
        client.pending = Some(self.history.operations.len());
        client.serial += 1;
        let operation = Operation {
            process: client.process,
            node: client.node,
            datacentre: self.datacentres[client.node],
            key,
            action,
            read_level: client.read_level,
            write_level: client.write_level,
            start: self.now,
            end: Time::MAX,
            outcome: Outcome::Unknown("never answered".into()),
            last,
        };
        self.history.operations.push(operation);
        let bytes = encode(&action.words(&key.to_string()));
        self.client_sends(index, bytes);
        self.be_patient(index);
    }

    fn client_sends(&mut self, index: usize, bytes: Vec<u8>) {
        if let Some(connection) = self.clients[index].connection {
            self.network.send(self.now, connection, 0, Packet::Bytes(bytes));
        }
    }

    fn patience(&self) -> Time {
        let request = machine::REQUEST_TIMEOUT_MS * 1_000;
        // The first write waits for the seal.
        if self.scenario.forms { request.max(15_000_000) } else { request }
    }

    fn be_patient(&mut self, index: usize) {
        let serial = self.clients[index].serial;
        let at = self.now + self.patience() + 4_000_000;
        self.schedule(at, Event::GiveUp { client: index, serial });
    }

    fn give_up(&mut self, index: usize) {
        if matches!(self.clients[index].stage, Stage::Ready | Stage::Away) {
            return;
        }
        self.check_deadline(index);
        self.hang_up(index, "the client gave up");
    }

    /// An answer, or its absence, must not be later than was promised, unless the node stood still.
    fn check_deadline(&mut self, index: usize) {
        let client = &self.clients[index];
        let Some(pending) = client.pending else { return };
        let operation = &self.history.operations[pending];
        let state = self.machines[client.node].state;
        let undisturbed = state == State::Running && self.disturbed[client.node] < operation.start;
        let late = self.now.saturating_sub(operation.start) > self.patience() + 500_000;
        if undisturbed && late {
            let text = format!("unanswered past its deadline: {}", operation.describe());
            self.violations.push(Violation::new("deadlines", text));
        }
    }

    /// The connection of a client is of no use any more.
    fn hang_up(&mut self, index: usize, why: &str) {
        if let Some(connection) = self.clients[index].connection.take() {
            self.network.close(self.now, connection, 0);
        }
        self.complete(index, Outcome::Unknown(why.into()));
        let roams = self.scenario.roaming && matches!(self.clients[index].agenda, Agenda::Work);
        let nodes = self.machines.len() as u64;
        let client = &mut self.clients[index];
        client.stage = Stage::Away;
        client.serial += 1;
        if roams && client.random.percent(30) {
            client.node = client.random.below(nodes) as usize;
        }
        let delay = client.random.between(20_000, 300_000);
        self.wake_client(index, delay);
    }

    fn complete(&mut self, index: usize, outcome: Outcome) {
        let client = &mut self.clients[index];
        let Some(pending) = client.pending.take() else { return };
        if matches!(outcome, Outcome::Unknown(_)) {
            client.process = self.processes;
            self.processes += 1;
        }
        let operation = &mut self.history.operations[pending];
        (operation.end, operation.outcome) = (self.now, outcome);
        self.observer.operation(operation);
    }

    fn client_hears(&mut self, index: usize, connection: ConnectionId, packet: Packet) {
        if self.clients[index].connection != Some(connection) {
            return;
        }
        match packet {
            Packet::Accepted => {
                let client = &mut self.clients[index];
                client.stage = Stage::Introducing;
                let (read, write) = (client.read_level, client.write_level);
                let words = ["QUORATE", "LEVEL", "READ", read.name(), "WRITE", write.name()];
                let bytes = encode(&words.map(str::to_owned));
                self.client_sends(index, bytes);
            }
            Packet::Bytes(bytes) => {
                self.clients[index].input.extend_from_slice(&bytes);
                self.client_reads(index);
            }
            Packet::Close => self.hang_up(index, "the connection was closed"),
            Packet::Open => {}
        }
    }

    fn client_reads(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let reply = match Value::decode(&client.input) {
            Ok(Some((reply, length))) => {
                let _ = client.input.split_to(length);
                reply
            }
            Ok(None) => return,
            Err(error) => {
                let text = format!("a reply cannot be read: {error}");
                return self.violations.push(Violation::new("replies", text));
            }
        };
        match client.stage {
            Stage::Introducing => {
                client.stage = Stage::Ready;
                client.serial += 1;
                self.client_goes_on(index);
            }
            Stage::Waiting => {
                self.check_deadline(index);
                let Some(pending) = self.clients[index].pending else { return };
                let operation = &self.history.operations[pending];
                let outcome = match judge(operation.action, operation.key, &reply) {
                    Ok(outcome) => outcome,
                    Err(text) => {
                        self.violations.push(Violation::new("replies", text));
                        Outcome::Unknown("nonsense".into())
                    }
                };
                self.complete(index, outcome);
                let mean = self.scenario.period * self.clients.len() as u64
                    / u64::from(self.scenario.operations.max(1));
                let client = &mut self.clients[index];
                client.stage = Stage::Ready;
                client.serial += 1;
                let think = match client.agenda {
                    Agenda::Work => client.think(mean),
                    _ => 0,
                };
                self.wake_client(index, think);
            }
            Stage::Away | Stage::Connecting | Stage::Ready => {
                let text = format!("a reply that nobody asked for: {reply:?}");
                self.violations.push(Violation::new("replies", text));
            }
        }
    }

    // The end.

    /// Waits until every client has heard the outcome of its last operation.
    fn finish_work(&mut self) {
        for client in &mut self.clients {
            client.agenda = Agenda::Nothing;
        }
        let end = self.now + self.patience() + 5_000_000;
        while self.now < end && self.clients.iter().any(|client| client.pending.is_some()) {
            self.run_until(self.now + 100_000);
        }
        for index in 0..self.clients.len() {
            self.complete(index, Outcome::Unknown("the schedule ended".into()));
        }
    }

    /// Runs until all replicas are equal, without any client, and everything that expires has done
    /// so. Returns whether they became equal.
    fn settle(&mut self, healed: Time) -> bool {
        self.run_until(healed + EXPIRY_MAX);
        loop {
            let restless = match self.is_quiet() {
                Ok(()) => return true,
                Err(restless) => restless,
            };
            if self.now > healed + SETTLE_MAX {
                let text = format!("{} s after the last fault: {restless}", SETTLE_MAX / 1_000_000);
                self.violations.push(Violation::new("convergence", text));
                return false;
            }
            self.run_until(self.now + 250_000);
        }
    }

    /// Whether all nodes are up and all replicas equal, and nothing waits; if not, why.
    fn is_quiet(&mut self) -> Result<(), String> {
        let mut processes = Vec::new();
        for (node, machine) in self.machines.iter_mut().enumerate() {
            let name = machine::name(node);
            let Some(process) = &mut machine.process else {
                return Err(format!("{name} is down: {:?}", self.start_errors.get(&node)));
            };
            if !process.is_ready() {
                return Err(format!("{name} has not caught up"));
            }
            if !process.is_idle() {
                return Err(format!("{name} has requests under way"));
            }
            processes.push(process);
        }
        let keys: Vec<usize> = processes.iter().map(|process| process.keys()).collect();
        if processes.iter().any(|process| !process.is_sealed()) {
            let empty = keys.iter().all(|keys| *keys == 0);
            return if empty { Ok(()) } else { Err("data in a cluster that is not sealed".into()) };
        }
        for (node, process) in processes.iter().enumerate() {
            for peer in process.topology().peers() {
                let (pending, dirty) = process.hints(peer);
                if pending > 0 || dirty {
                    let dirty = if dirty { " and what overflowed" } else { "" };
                    let name = machine::name(node);
                    return Err(format!("{name} keeps {pending} hints{dirty} for {peer:?}"));
                }
            }
        }
        // Nodes of a sealed cluster have the same numbers everywhere, in order of their ids.
        let topology = std::sync::Arc::clone(processes[0].topology());
        let mut order: Vec<usize> = Vec::new();
        for member in topology.members() {
            let number = member.name.trim_start_matches('n').parse().unwrap_or(0);
            order.push(number);
        }
        for slot in Slot::all() {
            let mut first: Option<(usize, u128)> = None;
            for replica in topology.replicas(slot) {
                let node = order[replica.index()];
                let digest = processes[node].slot_digest(slot);
                match first {
                    None => first = Some((node, digest)),
                    Some((other, found)) if found != digest => {
                        let (node, other) = (machine::name(node), machine::name(other));
                        return Err(format!("{other} and {node} differ in slot {}", slot.number()));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Writes every register once more: nothing that happened before may keep it from winning.
    fn write_last(&mut self, seed: u64) {
        if self
            .machines
            .iter()
            .any(|machine| machine.process.as_ref().is_some_and(|found| !found.is_sealed()))
        {
            return;
        }
        let registers = self.workload.keys().into_iter();
        let registers: Vec<Key> = registers.filter(|key| key.family == Family::Register).collect();
        let writes: VecDeque<(Key, Action)> =
            registers.into_iter().map(|key| (key, self.workload.overwrite())).collect();
        let node = self.random.below(self.machines.len() as u64) as usize;
        self.finish(vec![(node, writes)], seed);
    }

    /// Reads every key at every node at ONE.
    fn audit(&mut self, seed: u64) {
        let keys = self.workload.keys();
        let nodes = 0..self.machines.len();
        let reads = |_| keys.iter().map(|key| (*key, key.family.read())).collect();
        self.finish(nodes.map(|node| (node, reads(node))).collect(), seed);
        if let Err(restless) = self.is_quiet() {
            let text = format!("not quiet after the last reads: {restless}");
            self.violations.push(Violation::new("convergence", text));
        }
    }
}

impl World<'_> {
    /// Lets one client a node do what is listed, all of which must succeed.
    fn finish(&mut self, agendas: Vec<(usize, VecDeque<(Key, Action)>)>, seed: u64) {
        let first = self.clients.len();
        for (node, agenda) in agendas {
            self.add_client(0, node, seed, Agenda::Audit(agenda));
        }
        let done = |client: &Client| matches!(client.agenda, Agenda::Nothing);
        let end = self.now + 30_000_000;
        while self.now < end && !self.clients[first..].iter().all(done) {
            self.run_until(self.now + 50_000);
        }
        let missed = self.history.operations.iter().find(|found| found.last && !found.is_ok());
        if let Some(operation) = missed {
            let text = format!("not even in the end: {}", operation.describe());
            self.violations.push(Violation::new("convergence", text));
        }
    }
}

/// What a reply says of an operation.
pub(crate) fn judge(action: Action, key: Key, reply: &Value) -> Result<Outcome, String> {
    let Value::Error(text) = reply else {
        return action.interpret(key.family, reply).map(Outcome::Ok);
    };
    let word = text.split(' ').next().unwrap_or_default();
    Ok(match word {
        "UNAVAILABLE" | "BUSY" | "MISCONF" => Outcome::Failed(text.clone()),
        "TIMEOUT" if text.ends_with("nothing was changed") => Outcome::Failed(text.clone()),
        "TIMEOUT" | "UNKNOWN" => Outcome::Unknown(text.clone()),
        _ => return Err(format!("{action:?} of {key} was answered with {text}")),
    })
}

/// The frames of `bytes` as `rewrite` wants them: it is given each message, with its bytes, and
/// what to append to. What is no frame stays.
fn rewritten(bytes: &[u8], mut rewrite: impl FnMut(&frame::Frame, &[u8], &mut Vec<u8>)) -> Vec<u8> {
    let mut rest = BytesMut::from(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    loop {
        let before = bytes.len() - rest.len();
        let Ok(Some(frame)) = frame::decode(&mut rest) else { break };
        rewrite(&frame, &bytes[before..bytes.len() - rest.len()], &mut out);
    }
    out.extend_from_slice(&bytes[bytes.len() - rest.len()..]);
    out
}

/// The same frames with every effect twice, which merging must not mind. The answer to the second
/// one goes nowhere: no question has its number.
fn with_effects_twice(bytes: &[u8]) -> Vec<u8> {
    const NO_QUESTION: u64 = (1 << 60) - 1;
    rewritten(bytes, |frame, same, out| {
        out.extend_from_slice(same);
        if matches!(frame.message, Message::Replicate { .. }) {
            frame::encode(out, frame.epoch, NO_QUESTION, &frame.message);
        }
    })
}

/// The same frames without the first question of digest rounds.
fn without_digests(bytes: &[u8]) -> Vec<u8> {
    rewritten(bytes, |frame, same, out| {
        if !matches!(frame.message, Message::CompareGroup { .. }) {
            out.extend_from_slice(same);
        }
    })
}
