//! What goes wrong, as a script: drawn from a seed by the nemesis, or written by hand.

use quorate_node::config::SyncPolicy;
use serde::{Deserialize, Serialize};

use crate::{history::Time, random::Stream, scenario::Scenario};

/// One thing that is wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The process is killed. What it wrote stays with the operating system. Ends with a restart.
    Kill {
        /// The node.
        node: usize,
    },
    /// The machine loses power: what was not synced is lost, whole or in part. Ends with a restart.
    PowerOff {
        /// The node.
        node: usize,
        /// What of the unsynced writes survives.
        seed: u64,
    },
    /// The process stands still, and so do its timers; the clocks go on.
    Pause {
        /// The node.
        node: usize,
    },
    /// Nothing arrives from one node at another.
    Cut {
        /// The node that sends.
        from: usize,
        /// The node that hears nothing.
        to: usize,
    },
    /// Nothing passes between the nodes of a set and the others.
    Partition {
        /// The set, a bit for each node.
        side: u64,
    },
    /// The connections between two nodes break, with what is on them.
    Reset {
        /// One node.
        a: usize,
        /// The other node.
        b: usize,
    },
    /// Everything from one node to another takes longer.
    Slow {
        /// The node that sends.
        from: usize,
        /// The node that waits.
        to: usize,
        /// How much longer, in microseconds.
        extra_us: u64,
    },
    /// Packets are lost, and sent again after a while.
    Lossy {
        /// The node that sends.
        from: usize,
        /// The node that waits.
        to: usize,
        /// How many in a hundred.
        percent: u32,
    },
    /// Effects arrive twice.
    Duplicate {
        /// The node that sends.
        from: usize,
        /// The node that gets them twice.
        to: usize,
    },
    /// The wall clock jumps, and jumps back in the end.
    Skew {
        /// The node.
        node: usize,
        /// How far ahead.
        ms: i64,
    },
    /// The clocks run fast or slow.
    Drift {
        /// The node.
        node: usize,
        /// Microseconds gained a second.
        ppm: i64,
    },
    /// The disk takes no more bytes.
    DiskFull {
        /// The node.
        node: usize,
    },
    /// Every sync fails. Ends with a restart, since what failed must not be trusted.
    SyncsFail {
        /// The node.
        node: usize,
    },
    /// Every write fails. Ends with a restart.
    WritesFail {
        /// The node.
        node: usize,
    },
    /// A sync takes longer.
    SlowDisk {
        /// The node.
        node: usize,
        /// How much longer, in microseconds.
        extra_us: u64,
    },
    /// The process has hardly a descriptor left. Only real ones have any.
    Descriptors {
        /// The node.
        node: usize,
    },
    /// The process is killed, and a bit of its log flips before it starts again.
    Rot {
        /// The node.
        node: usize,
        /// Which bit.
        seed: u64,
    },
    /// A bit of the log flips while the process runs.
    Flip {
        /// The node.
        node: usize,
        /// Which bit.
        seed: u64,
    },
    /// The process is killed and its data is lost, but not its identity.
    Wipe {
        /// The node.
        node: usize,
    },
    /// The process is killed and its whole data directory is lost, its identity too.
    WipeAll {
        /// The node.
        node: usize,
    },
    /// The process is killed, and a copy of its data directory is put back that was made before one
    /// of its last starts.
    PutBack {
        /// The node.
        node: usize,
        /// How many starts ago: 1 for the one that has just ended.
        starts: usize,
    },
}

/// The faults there are, for the weights of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Fault::Kill`].
    Kill,
    /// [`Fault::PowerOff`].
    PowerOff,
    /// All nodes lose power within a moment.
    PowerOffAll,
    /// [`Fault::Cut`] of one node from another one, and then [`Fault::PowerOff`]: some of its last
    /// writes have reached one of the others only.
    Falter,
    /// [`Fault::Pause`].
    Pause,
    /// [`Fault::Cut`].
    Cut,
    /// [`Fault::Partition`] of any set of nodes.
    Partition,
    /// [`Fault::Partition`] of one datacentre.
    DatacentreCut,
    /// The same for an hour.
    HourApart,
    /// [`Fault::Reset`].
    Reset,
    /// [`Fault::Slow`].
    Slow,
    /// [`Fault::Lossy`].
    Lossy,
    /// [`Fault::Duplicate`].
    Duplicate,
    /// [`Fault::Skew`] within the bound that the scenario gives.
    Skew,
    /// [`Fault::Drift`].
    Drift,
    /// [`Fault::DiskFull`].
    DiskFull,
    /// [`Fault::SyncsFail`].
    SyncsFail,
    /// [`Fault::WritesFail`].
    WritesFail,
    /// [`Fault::SlowDisk`].
    SlowDisk,
    /// [`Fault::Descriptors`].
    Descriptors,
    /// [`Fault::Rot`].
    Rot,
    /// [`Fault::Flip`], always at the same node of a script.
    Flip,
    /// [`Fault::Wipe`].
    Wipe,
    /// [`Fault::WipeAll`].
    WipeAll,
    /// [`Fault::WipeAll`] of most nodes at once, or of all but one, while the rest is down and
    /// comes back last.
    WipeMost,
    /// [`Fault::WipeAll`] of one node while another one is down, and [`Fault::Kill`] of all while
    /// it is filled. Who has all that was acknowledged is the last to come back.
    KilledWhileFilled,
    /// [`Fault::PutBack`].
    PutBack,
}

/// A fault with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When it begins, in microseconds.
    pub at: Time,
    /// How long it lasts, in microseconds.
    pub lasts: Time,
    /// What it is.
    pub fault: Fault,
    /// Whether a node may have less afterwards than it has acknowledged.
    #[serde(default)]
    pub loses_data: bool,
}

/// The faults of a schedule, in order of their begin.
pub type Script = Vec<Planned>;

/// Draws a script for a scenario.
pub fn draw(scenario: &Scenario, seed: u64) -> Script {
    let mut random = Stream::new(seed, "nemesis", 0);
    // Some schedules are calm and some are wild, so that both rare and combined faults are met.
    let gap = scenario.fault_gap * random.between(1, 4) / 2;
    let mut script = Script::new();
    let mut at = scenario.calm_until + random.exponential(gap);
    while at < scenario.period && script.len() < scenario.faults_max {
        if let Some(&kind) = random.weighted(scenario.faults)
            && !(loses_data(scenario, kind) && script.iter().any(|planned| planned.loses_data))
        {
            draw_one(scenario, kind, at, &mut random, &mut script);
        }
        at += random.exponential(gap).max(1);
    }
    script
}

/// Whether a node may have less after a fault than it has acknowledged. What W replicas have
/// acknowledged survives W - 1 of those, and most writes ask for two.
fn loses_data(scenario: &Scenario, kind: Kind) -> bool {
    let unsynced = scenario.sync != SyncPolicy::Always;
    let power = matches!(kind, Kind::PowerOff | Kind::Falter);
    let loses_some = [
        Kind::Rot,
        Kind::Wipe,
        Kind::WipeAll,
        Kind::WipeMost,
        Kind::KilledWhileFilled,
        Kind::PutBack,
    ];
    loses_some.contains(&kind) || unsynced && power
}

/// The datacentre of `node` is cut off from all others.
fn datacentre_cut(scenario: &Scenario, node: usize) -> Fault {
    let cut = scenario.nodes[node].0;
    let members = scenario.nodes.iter().enumerate();
    let side = members.filter(|(_, (name, _))| *name == cut);
    Fault::Partition { side: side.fold(0, |side, (index, _)| side | 1 << index) }
}

fn draw_one(scenario: &Scenario, kind: Kind, at: Time, random: &mut Stream, script: &mut Script) {
    let nodes = scenario.nodes.len() as u64;
    let node = random.below(nodes) as usize;
    let other = (node + 1 + random.below(nodes.saturating_sub(1)) as usize) % nodes as usize;
    let seed = random.number();
    let lasts = match random.below(10) {
        0..5 => random.between(50_000, 1_500_000),
        5..9 => random.between(1_000_000, 5_000_000),
        _ => random.between(5_000_000, 12_000_000),
    } * scenario.fault_stretch;
    let fault = match kind {
        Kind::Kill => Fault::Kill { node },
        Kind::PowerOff => Fault::PowerOff { node, seed },
        Kind::PowerOffAll => return power_off_all(nodes as usize, at, random, script),
        Kind::Falter => {
            // Shorter than anybody takes to notice, and then for the rest of the schedule.
            let falters = random.between(1_000, 900_000);
            let fault = Fault::Cut { from: node, to: other };
            let lasts = scenario.period;
            script.push(Planned { at, lasts, fault, loses_data: false });
            let (at, fault) = (at + falters, Fault::PowerOff { node, seed });
            script.push(Planned { at, lasts, fault, loses_data: loses_data(scenario, kind) });
            return;
        }
        Kind::Pause => Fault::Pause { node },
        Kind::Cut => Fault::Cut { from: node, to: other },
        Kind::Partition => Fault::Partition { side: random.between(1, (1 << nodes) - 2) },
        Kind::DatacentreCut => datacentre_cut(scenario, node),
        Kind::HourApart => {
            let (lasts, fault) = (3_600_000_000, datacentre_cut(scenario, node));
            return script.push(Planned { at, lasts, fault, loses_data: false });
        }
        Kind::Reset => Fault::Reset { a: node, b: other },
        Kind::Slow => {
            Fault::Slow { from: node, to: other, extra_us: random.between(1_000, 900_000) }
        }
        Kind::Lossy => {
            Fault::Lossy { from: node, to: other, percent: random.between(1, 40) as u32 }
        }
        Kind::Duplicate => Fault::Duplicate { from: node, to: other },
        Kind::Skew => {
            let bound = scenario.skew_max_ms;
            Fault::Skew { node, ms: random.between(0, 2 * bound) as i64 - bound as i64 }
        }
        Kind::Drift => Fault::Drift { node, ppm: random.between(0, 400) as i64 - 200 },
        Kind::DiskFull => Fault::DiskFull { node },
        Kind::SyncsFail => Fault::SyncsFail { node },
        Kind::WritesFail => Fault::WritesFail { node },
        Kind::SlowDisk => Fault::SlowDisk { node, extra_us: random.between(5_000, 5_000_000) },
        Kind::Descriptors => Fault::Descriptors { node },
        Kind::Rot => Fault::Rot { node, seed },
        // A node that is killed before it has noticed has less than it has acknowledged. What two
        // replicas have acknowledged survives that at one of them, however often.
        Kind::Flip => {
            let flipped = script.iter().find_map(|planned| match planned.fault {
                Fault::Flip { node, .. } => Some(node),
                _ => None,
            });
            Fault::Flip { node: flipped.unwrap_or(node), seed }
        }
        Kind::Wipe => Fault::Wipe { node },
        Kind::WipeAll => Fault::WipeAll { node },
        Kind::WipeMost => return wipe_most(nodes as usize, node, at, random, script),
        Kind::KilledWhileFilled => {
            let several = [0, 1, 2].map(|offset| (node + offset) % nodes as usize);
            return kill_while_filled(several, (at, lasts), random, script);
        }
        Kind::PutBack => Fault::PutBack { node, starts: random.between(1, 4) as usize },
    };
    script.push(Planned { at, lasts, fault, loses_data: loses_data(scenario, kind) });
}

fn power_off_all(nodes: usize, at: Time, random: &mut Stream, script: &mut Script) {
    for node in 0..nodes {
        let at = at + random.below(2_000);
        let lasts = random.between(50_000, 3_000_000);
        let fault = Fault::PowerOff { node, seed: random.number() };
        script.push(Planned { at, lasts, fault, loses_data: false });
    }
}

/// A minority, from `first` on, is down for long, and the others lose everything.
fn wipe_most(nodes: usize, first: usize, at: Time, random: &mut Stream, script: &mut Script) {
    let kept = random.between(1, (nodes as u64 - 1) / 2) as usize;
    for offset in 0..nodes {
        let node = (first + offset) % nodes;
        let (lasts, fault) = if offset < kept {
            (random.between(5_000_000, 70_000_000), Fault::Kill { node })
        } else {
            (random.between(50_000, 3_000_000), Fault::WipeAll { node })
        };
        script.push(Planned { at, lasts, fault, loses_data: true });
    }
}

/// One that has lost everything is killed while the others fill it, one of which is behind; the
/// other one is down from then on.
fn kill_while_filled(
    [wiped, behind, full]: [usize; 3],
    (at, lasts): (Time, Time),
    random: &mut Stream,
    script: &mut Script,
) {
    let away = random.between(500_000, 4_000_000);
    let wiped_at = at + away - random.between(10_000, 100_000);
    let killed_at = at + away + random.between(100_000, 2_500_000);
    let mut then = |at, lasts, fault| {
        script.push(Planned { at, lasts, fault, loses_data: true });
    };
    then(at, away, Fault::Kill { node: behind });
    then(wiped_at, at + away - wiped_at, Fault::WipeAll { node: wiped });
    then(killed_at, 100_000, Fault::Kill { node: wiped });
    then(killed_at, 100_000, Fault::Kill { node: behind });
    then(killed_at, lasts.max(5_000_000), Fault::Kill { node: full });
}

/// One line for a reader.
pub fn describe(planned: &Planned) -> String {
    let Planned { at, lasts, fault, .. } = planned;
    format!("{:10.1} ms, for {:8.1} ms: {fault:?}", *at as f64 / 1e3, *lasts as f64 / 1e3)
}
