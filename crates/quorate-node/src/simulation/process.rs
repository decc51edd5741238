//! A process and its turns.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quorate_cluster::{random::Random, time::Instant};

use super::{DIALLED, Input, Moment, Options, Output, Port, Wire, topologies::remembered_topology};
use crate::{
    StartError,
    config::SyncPolicy,
    identity::{Claim, Identity},
    node::Sizes,
    reactor::{self, Arrival, ConnectionId, Control, ControlMail, Job, Machine, Owner, Reactor},
    secure_link::SecureLink,
    shard::{Mail, Now},
    startup::{self, Addresses, Seeds, Started},
};

/// A connection of one of the machines.
type Place = (Owner, ConnectionId);

/// Where a connection comes from.
enum From {
    /// Somebody has opened it, from this address.
    Outside(String),
    /// Another machine of the process has passed it on.
    Machine(Box<SecureLink>),
}

/// Mail on its way inside the process.
#[derive(Debug)]
enum Letter {
    ToShard(u16, Mail),
    ToControl(ControlMail),
}

/// Mail of the control to the shards, which arrives late, and in order at each of them.
#[derive(Debug)]
struct Told {
    random: Random,
    delay_us: u32,
    /// By shard: with the moments at which it arrives, in microseconds of the monotonic clock.
    mail: Vec<VecDeque<(u64, Mail)>>,
}

impl Told {
    fn send(&mut self, now: Now, shard: u16, mail: Mail) {
        let delay = u64::from(self.random.below(self.delay_us + 1));
        let queue = &mut self.mail[usize::from(shard)];
        let before = queue.back().map_or(0, |(at, _)| *at);
        queue.push_back((before.max(now.monotonic.as_micros() + delay), mail));
    }

    fn arrives_at(&self) -> Option<u64> {
        self.mail.iter().filter_map(|queue| queue.front()).map(|(at, _)| *at).min()
    }
}

/// A running process.
pub struct Process {
    pub(super) reactors: Vec<Reactor>,
    pub(super) control: Control,
    /// What the clock shows while commands take their time.
    clock_us: Arc<AtomicU64>,
    worked_us: u64,
    wires: BTreeMap<Wire, Place>,
    places: BTreeMap<Place, Wire>,
    next_wire: u64,
    jobs: BTreeMap<u64, (usize, Job)>,
    next_job: u64,
    letters: VecDeque<Letter>,
    /// What the control has told the shards and they have not heard yet.
    told: Told,
    outputs: Vec<Output>,
    death: Option<String>,
    fenced: bool,
}

impl Process {
    /// Starts a process: recovers what is on the disk, and looks for its cluster from then on.
    pub fn start(options: Options, moment: Moment) -> Result<Self, StartError> {
        let Options { settings, disk, seed, boot, .. } = options;
        let directory = settings.data_dir.clone().unwrap_or_else(|| PathBuf::from("/data"));
        let node_id = u128::from(seed) << 64 | u128::from(!seed);
        let links = startup::expand(seed);
        let seeds = Seeds { node_id, tables: seed, start: seed, membership: seed, links };
        let claim = Claim {
            name: settings.name.clone(),
            shards: settings.shards,
            new_id: seeds.node_id,
            boot: Some(boot.to_string()),
            seed: seeds.start,
            unsynced: settings.sync != SyncPolicy::Always,
            lock: false,
        };
        let identity = Identity::open(Arc::clone(&disk), &directory, claim)?;
        let cluster_clients = settings.cluster_address()?.unwrap_or(settings.listen);
        let addresses = Addresses {
            clients: settings.listen.to_string(),
            cluster_clients: cluster_clients.to_string(),
            peers: settings.peer_address()?.to_string(),
        };
        let sizes = Sizes {
            segment: options.segment_bytes,
            checkpoint_min: options.checkpoint_bytes_min,
            hints_max: options.hint_bytes_max,
            elements: options.element_limits,
            long_call: options.long_call,
            pieces: options.pieces,
        };
        let now = moment.now();
        let make_topology = remembered_topology;
        let origin =
            startup::Origin { settings, disk, directory, sizes, seeds, now, make_topology };
        let Started { node, identity, membership, storages } =
            startup::start(origin, identity, addresses)?;
        let clock_us = Arc::new(AtomicU64::new(0));
        let reactors = storages.into_iter().zip(0..).map(|(mut storage, id)| {
            storage.answer_late(options.store_delay_us, seed ^ u64::from(id));
            let mut reactor = Reactor::new(now, id, Arc::clone(&node), storage);
            let (clock_us, command_us) = (Arc::clone(&clock_us), options.command_us);
            // It is read where a command ends.
            reactor.use_stopwatch(Box::new(move || {
                let before = clock_us.fetch_add(command_us, Ordering::Relaxed);
                Instant::from_micros(before + command_us)
            }));
            reactor
        });
        let reactors: Vec<Reactor> = reactors.collect();
        let told = Told {
            random: Random::new(seed),
            delay_us: options.mail_delay_us,
            mail: reactors.iter().map(|_| VecDeque::new()).collect(),
        };
        let control = Control::new(membership, identity, node, make_topology);
        Ok(Self {
            reactors,
            clock_us,
            worked_us: 0,
            control,
            wires: BTreeMap::new(),
            places: BTreeMap::new(),
            next_wire: 0,
            jobs: BTreeMap::new(),
            next_job: 0,
            letters: VecDeque::new(),
            told,
            outputs: Vec::new(),
            death: None,
            fenced: false,
        })
    }

    /// One turn: takes what has arrived, does what is due, and returns what leaves, in order.
    pub fn turn(&mut self, begun: Moment, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        let mut moment = begun;
        self.begin_turns(moment.now());
        inputs.into_iter().for_each(|input| self.handle(&mut moment, input));
        let now = moment.now();
        self.clock_us.store(moment.monotonic_us, Ordering::Relaxed);
        self.hear(now);
        self.control.handle_timeout(now);
        self.reactors.iter_mut().for_each(|reactor| reactor.handle_timeout(now));
        loop {
            self.end_turns(now);
            if self.letters.is_empty() || self.death.is_some() {
                self.worked_us = self.clock_us.load(Ordering::Relaxed) - begun.monotonic_us;
                return std::mem::take(&mut self.outputs);
            }
            // What the machines tell each other arrives in a further turn of theirs, at the same
            // moment.
            self.begin_turns(now);
            while let Some(letter) = self.letters.pop_front() {
                match letter {
                    Letter::ToShard(shard, mail) => {
                        self.reactors[usize::from(shard)].handle_mail(now, mail);
                    }
                    Letter::ToControl(mail) => self.control.handle_mail(now, mail),
                }
            }
        }
    }

    /// When the next turn is due even if nothing arrives, in microseconds of the monotonic clock.
    pub fn poll_timeout(&self) -> u64 {
        let reactors = self.reactors.iter().map(Machine::poll_timeout);
        let next = reactors.chain([self.control.poll_timeout()]).map(Instant::as_micros);
        next.chain(self.told.arrives_at()).min().unwrap_or(0)
    }

    /// How long the commands of the last turn took, in microseconds.
    pub fn worked_us(&self) -> u64 {
        self.worked_us
    }

    /// Whether the process has ended because another one is, or was, the member.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Why the process has ended by itself, if it has.
    pub fn death(&self) -> Option<&str> {
        self.death.as_deref()
    }

    /// What the control has told the shards arrives.
    fn hear(&mut self, now: Now) {
        for (reactor, queue) in self.reactors.iter_mut().zip(&mut self.told.mail) {
            while let Some((_, mail)) =
                queue.pop_front_if(|(at, _)| *at <= now.monotonic.as_micros())
            {
                reactor.handle_mail(now, mail);
            }
        }
    }

    fn begin_turns(&mut self, now: Now) {
        self.control.begin_turn(now);
        self.reactors.iter_mut().for_each(|reactor| reactor.begin_turn(now));
    }

    fn end_turns(&mut self, now: Now) {
        let shards = (0..self.reactors.len() as u16).map(Owner::Shard);
        for owner in std::iter::once(Owner::Control).chain(shards) {
            if let Err(error) = self.machine(owner).end_turn(now) {
                self.fenced = error.get_ref().is_some_and(|cause| cause.is::<reactor::Fenced>());
                self.death = Some(error.to_string());
            }
            while let Some(output) = self.machine(owner).poll_output() {
                self.perform(now, owner, output);
            }
        }
    }

    fn handle(&mut self, moment: &mut Moment, input: Input) {
        let now = moment.now();
        match input {
            Input::Accepted { wire, port } => {
                let shard = (wire.0 as usize % self.reactors.len()) as u16;
                let port = match port {
                    Port::Client => reactor::Port::Clients,
                    Port::Peer => reactor::Port::Peers,
                };
                let address = format!("wire-{}", wire.0);
                self.accept(now, Owner::Shard(shard), wire, port, From::Outside(address));
            }
            Input::Connected(wire) => {
                if let Some(&(owner, connection)) = self.wires.get(&wire) {
                    self.machine(owner).handle_connected(now, connection);
                }
            }
            Input::Bytes(wire, bytes) => {
                if let Some(&(owner, connection)) = self.wires.get(&wire) {
                    self.machine(owner).handle_bytes(now, connection, &bytes);
                }
            }
            Input::Closed(wire) => {
                if let Some((owner, connection)) = self.forget(wire) {
                    self.machine(owner).handle_closed(now, connection);
                }
            }
            Input::Sync(number) => {
                if let Some((shard, job)) = self.jobs.remove(&number) {
                    self.reactors[shard].handle_done(job.run());
                }
            }
            Input::Decided(view) => self.control.handle_decided(now, &view),
            Input::Passed(us) => *moment = moment.after(us),
        }
    }

    fn accept(
        &mut self,
        now: Now,
        owner: Owner,
        wire: Wire,
        port: reactor::Port,
        from: From,
    ) -> Option<ConnectionId> {
        let (address, link) = match from {
            From::Outside(address) => (address, None),
            From::Machine(link) => (link.address().to_owned(), Some(link)),
        };
        let arrival =
            Arrival { port, address, local_address: String::new(), descriptor: None, link };
        let accepted = self.machine(owner).handle_accepted(now, arrival);
        match accepted {
            Some(connection) => self.remember(wire, (owner, connection)),
            None => self.outputs.push(Output::Close(wire)),
        }
        accepted
    }

    fn machine(&mut self, owner: Owner) -> &mut dyn Machine {
        match owner {
            Owner::Control => &mut self.control,
            Owner::Shard(shard) => &mut self.reactors[usize::from(shard)],
        }
    }

    fn remember(&mut self, wire: Wire, place: Place) {
        self.wires.insert(wire, place);
        self.places.insert(place, wire);
    }

    fn forget(&mut self, wire: Wire) -> Option<Place> {
        let place = self.wires.remove(&wire)?;
        self.places.remove(&place);
        Some(place)
    }

    /// Does what a machine wants done.
    fn perform(&mut self, now: Now, owner: Owner, output: reactor::Output) {
        match output {
            reactor::Output::Dial { connection, address } => {
                let wire = Wire(DIALLED | self.next_wire);
                self.next_wire += 1;
                self.remember(wire, (owner, connection));
                self.outputs.push(Output::Dial { wire, address });
            }
            reactor::Output::Send(connection) => {
                let bytes = take_unsent(self.machine(owner), connection);
                let wire = self.places.get(&(owner, connection));
                self.outputs.extend(wire.map(|wire| Output::Send(*wire, bytes)));
            }
            // Whatever has arrived is in the inputs of a turn.
            reactor::Output::Read(_) => {}
            reactor::Output::Close(connection) => {
                if let Some(wire) = self.places.get(&(owner, connection)).copied() {
                    self.forget(wire);
                    self.outputs.push(Output::Close(wire));
                }
            }
            reactor::Output::PassOn { connection, to, link } => {
                let Some(wire) = self.places.get(&(owner, connection)).copied() else { return };
                self.forget(wire);
                let from = From::Machine(link);
                if let Some(accepted) = self.accept(now, to, wire, reactor::Port::Peers, from) {
                    self.machine(to).handle_bytes(now, accepted, &[]);
                }
            }
            reactor::Output::Run(job) => {
                let Owner::Shard(shard) = owner else { return };
                self.jobs.insert(self.next_job, (usize::from(shard), job));
                self.outputs.push(Output::Sync(self.next_job));
                self.next_job += 1;
            }
            reactor::Output::Mail { shard, mail }
                if owner == Owner::Control && self.told.delay_us > 0 =>
            {
                self.told.send(now, shard, mail);
            }
            reactor::Output::Mail { shard, mail } => {
                self.letters.push_back(Letter::ToShard(shard, mail));
            }
            reactor::Output::Control(mail) => self.letters.push_back(Letter::ToControl(mail)),
        }
    }
}

/// Everything that waits to be sent on a connection, which counts as sent.
fn take_unsent(machine: &mut dyn Machine, connection: ConnectionId) -> Vec<u8> {
    let Some(unsent) = machine.unsent(connection) else { return Vec::new() };
    let bytes = unsent.pieces().collect::<Vec<_>>().concat();
    machine.handle_sent(connection, bytes.len());
    bytes
}
