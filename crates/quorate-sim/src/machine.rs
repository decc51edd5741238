//! One simulated machine: its disk, its clocks, and the process on it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use quorate_cluster::elements::Limits;
use quorate_log::disk::{Disk as _, SimulatedDisk};
use quorate_node::{
    Settings,
    simulation::{Input, Moment, Options, Process},
};
use quorate_proto::frame::PieceSizes;

use crate::{fault::Kind, history::Time, random::Stream, scenario::Scenario};

/// The moment at which simulations begin, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// How much later schedules begin whose cluster was formed before: its stamps are in the past.
const AGE_MS: u64 = 3_600_000;

/// Where nodes listen for each other.
pub const PEER_PORT: u16 = 16_379;

/// Where nodes keep their data.
const DIRECTORY: &str = "/data";

/// What a machine is at the moment.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum State {
    /// Its process runs.
    Running,
    /// Its process stands still.
    Paused,
    /// Its process was killed.
    Killed,
    /// It has no power.
    Off,
}

/// One machine.
pub struct Machine {
    /// What it is at the moment.
    pub state: State,
    /// Its disk.
    pub disk: SimulatedDisk,
    /// The process, when there is one.
    pub process: Option<Process>,
    /// How often the machine has lost power.
    pub boots: u32,
    /// Counts the processes, so that what was meant for an earlier one is told apart.
    pub generation: u32,
    /// What has arrived since the last turn.
    pub inbox: Vec<Input>,
    /// When the next turn is.
    pub turn_at: Option<Time>,
    /// What a sync takes longer than usual, in microseconds.
    pub slow_disk_us: Time,
    /// Copies of the disk, each made before a start, the newest last.
    copies: Vec<SimulatedDisk>,
    keeps_copies: bool,
    settings: Settings,
    /// What the wall clock shows at the begin of the simulation.
    epoch_ms: u64,
    seed: u64,
    hint_bytes_max: u64,
    element_limits: Limits,
    long_call: usize,
    pieces: PieceSizes,
    mail_delay_us: u32,
    store_delay_us: u32,
    command_us: u64,
    /// Until when its last turn lasts.
    pub busy_until: Time,
    started: Time,
    skew_ms: i64,
    drift_ppm: i64,
    /// When the drift changed last, and what had been gained until then, in microseconds.
    drift_since: (Time, i64),
}

/// The name of a node.
pub fn name(node: usize) -> String {
    format!("n{node}")
}

impl Machine {
    /// The machine of a node of a scenario, with its disk.
    ///
    /// # Errors
    /// The settings of the scenario are wrong.
    pub fn new(
        scenario: &Scenario,
        node: usize,
        disk: SimulatedDisk,
        seed: u64,
    ) -> Result<Self, quorate_node::config::ConfigErrors> {
        let (datacentre, rack) = scenario.nodes[node];
        let address = |port, node: usize| SocketAddr::from(([10, 0, 0, node as u8 + 1], port));
        let mut settings = Settings::default();
        settings.listen = address(6379, node);
        settings.peer_listen = Some(address(PEER_PORT, node));
        settings.seeds = (0..scenario.founders())
            .filter(|other| *other != node)
            .map(|other| address(PEER_PORT, other).to_string())
            .collect();
        settings.join = node >= scenario.founders();
        settings.witness = scenario.witnesses.contains(&node);
        settings.cluster = "simulated".into();
        settings.name = Some(name(node));
        settings.datacentre = datacentre.into();
        settings.rack = rack.into();
        settings.replication_factor = scenario.factor();
        settings.ring = scenario.ring(node);
        settings.data_dir = Some(DIRECTORY.into());
        settings.sync = scenario.sync;
        settings.shards = scenario.shards;
        settings.request_timeout = Duration::from_millis(REQUEST_TIMEOUT_MS);
        settings.gc_grace = Duration::ZERO;
        settings.scrub_interval = Some(Duration::from_secs(scenario.scrub_seconds))
            .filter(|interval| !interval.is_zero());
        settings.read_repair = scenario.read_repair;
        settings.validate()?;
        // Smaller than anybody may configure.
        settings.hints_bytes_max = scenario.hints_bytes_max;
        settings.hint_window = Duration::from_millis(scenario.hint_window_ms);
        Ok(Self {
            state: State::Killed,
            disk,
            process: None,
            boots: 0,
            generation: 0,
            inbox: Vec::new(),
            turn_at: None,
            slow_disk_us: 0,
            copies: Vec::new(),
            keeps_copies: scenario.faults.iter().any(|(kind, _)| *kind == Kind::PutBack),
            settings,
            epoch_ms: if scenario.forms { EPOCH_MS } else { EPOCH_MS + AGE_MS },
            seed: Stream::new(seed, "machine", node as u64).number(),
            hint_bytes_max: scenario.hint_bytes_max,
            element_limits: scenario.element_limits,
            long_call: scenario.long_call,
            pieces: scenario.pieces,
            mail_delay_us: scenario.mail_delay_us,
            store_delay_us: scenario.store_delay_us,
            command_us: scenario.command_us,
            busy_until: 0,
            started: 0,
            skew_ms: 0,
            drift_ppm: 0,
            drift_since: (0, 0),
        })
    }

    /// Changes in the configuration whom the node looks for, and whether it waits to be taken in.
    pub fn set_seeds(&mut self, seeds: Vec<String>, joins: bool) {
        (self.settings.seeds, self.settings.join) = (seeds, joins);
    }

    /// Starts the process. Returns why it does not start.
    pub fn start(&mut self, now: Time) -> Result<(), String> {
        if self.keeps_copies {
            self.copies.push(self.disk.duplicate());
        }
        self.generation += 1;
        self.started = now;
        self.inbox.clear();
        let options = Options {
            settings: self.settings.clone(),
            disk: Arc::new(self.disk.clone()),
            seed: self.seed ^ u64::from(self.generation),
            boot: self.boots,
            segment_bytes: 1 << 16,
            checkpoint_bytes_min: 1 << 15,
            hint_bytes_max: self.hint_bytes_max,
            element_limits: self.element_limits,
            long_call: self.long_call,
            pieces: self.pieces,
            command_us: self.command_us,
            mail_delay_us: self.mail_delay_us,
            store_delay_us: self.store_delay_us,
        };
        let process =
            Process::start(options, self.moment(now)).map_err(|error| error.to_string())?;
        self.process = Some(process);
        self.state = State::Running;
        Ok(())
    }

    /// What the clocks of the machine show.
    pub fn moment(&self, now: Time) -> Moment {
        let gained = self.gained(now) - self.gained(self.started);
        let wall_ms = self.epoch_ms + (now as i64 + self.gained(now)) as u64 / 1000;
        Moment {
            monotonic_us: ((now - self.started) as i64 + gained).max(0) as u64,
            wall_ms: wall_ms.saturating_add_signed(self.skew_ms),
        }
    }

    /// When the monotonic clock shows this.
    pub fn when(&self, monotonic_us: u64, now: Time) -> Time {
        let shown = self.moment(now).monotonic_us;
        // The rate is almost one: a turn that comes a little early asks for another one.
        now + monotonic_us.saturating_sub(shown)
    }

    fn gained(&self, now: Time) -> i64 {
        let (since, before) = self.drift_since;
        if now < since {
            return before;
        }
        before + (now - since) as i64 * self.drift_ppm / 1_000_000
    }

    /// Sets the wall clock ahead, or back.
    pub fn skew(&mut self, ms: i64) {
        self.skew_ms += ms;
    }

    /// Makes the clocks run faster, or slower.
    pub fn drift(&mut self, now: Time, ppm: i64) {
        self.drift_since = (now, self.gained(now));
        self.drift_ppm += ppm;
    }

    /// Sets the clocks right and the disk in order.
    pub fn heal(&mut self, now: Time) {
        self.drift_since = (now, self.gained(now));
        (self.skew_ms, self.drift_ppm, self.slow_disk_us) = (0, 0, 0);
        self.disk.limit_capacity(None);
        self.disk.fail_syncs(false);
        self.disk.fail_writes(false);
    }

    /// Deletes the data, but not the identity.
    pub fn wipe(&self) {
        let directories = self.disk.list_directories(Path::new(DIRECTORY)).unwrap_or_default();
        for directory in directories {
            // A simulated disk removes whatever it is told to.
            let _ = self.disk.remove_directory(&directory);
        }
    }

    /// Deletes everything.
    pub fn wipe_all(&self) {
        self.wipe();
        for name in self.disk.list(Path::new(DIRECTORY)).unwrap_or_default() {
            let _ = self.disk.remove(&Path::new(DIRECTORY).join(name));
        }
    }

    /// Puts back the copy that was made so many starts ago, or the oldest one.
    pub fn put_back(&mut self, starts: usize) {
        if let Some(copy) = self.copies.get(self.copies.len().saturating_sub(starts)) {
            self.disk = copy.duplicate();
        }
    }

    /// Flips a bit somewhere in the logs. Returns where.
    pub fn rot(&self, seed: u64) -> Option<String> {
        let mut random = Stream::new(seed, "rot", 0);
        let logs = self.disk.files().into_iter().filter(|(path, length)| {
            *length > 0 && path.to_str().is_some_and(|path| path.starts_with("/data/log-"))
        });
        let logs: Vec<_> = logs.collect();
        let (path, length) = logs.get(random.below(logs.len() as u64) as usize)?;
        // Near the beginning, where something is written.
        let bit = random.below((*length as u64).min(8_192) * 8) as usize;
        self.disk.flip_bit(path, bit);
        Some(format!("bit {bit} of {}", path.display()))
    }
}

/// Within which a request is answered.
pub const REQUEST_TIMEOUT_MS: u64 = 3_000;
