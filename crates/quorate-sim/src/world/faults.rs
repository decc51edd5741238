//! What goes wrong, when it begins and when it ends.

use std::cmp::Reverse;

use super::{BOUNDS_EVERY, Event, HINT_SLACK, REQUESTS_PER_CLIENT_MAX, Violation, World};
use crate::{
    fault::{Fault, Planned},
    machine::{self, State},
};

impl World<'_> {
    pub(super) fn begin_fault(&mut self, index: usize) {
        let Planned { lasts, fault, .. } = self.script[index];
        let nodes = self.machines.len();
        self.observer.fault(self.now, &fault);
        match fault {
            Fault::Kill { node }
            | Fault::Rot { node, .. }
            | Fault::Wipe { node }
            | Fault::WipeAll { node }
            | Fault::PutBack { node, .. } => {
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
            Fault::Flip { node, seed } => self.flip(node, seed),
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
            Fault::Descriptors { .. } => {}
        }
        self.schedule(self.now + lasts, Event::FaultEnds(index));
    }

    pub(super) fn end_fault(&mut self, index: usize) {
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
            Fault::WipeAll { node } if self.was_taken(node, index) => {
                self.machines[node].wipe_all();
                self.start(node);
            }
            Fault::PutBack { node, starts } if self.was_taken(node, index) => {
                self.machines[node].put_back(starts);
                self.put_back[node] = true;
                self.start(node);
            }
            Fault::Pause { node } if self.was_taken(node, index) => {
                if self.machines[node].state == State::Paused {
                    self.machines[node].state = State::Running;
                    (self.disturbed[node], self.upset) = (self.now, self.now);
                    self.turn_by(node, self.now + 1);
                }
            }
            Fault::Kill { .. }
            | Fault::PowerOff { .. }
            | Fault::Rot { .. }
            | Fault::Wipe { .. }
            | Fault::WipeAll { .. }
            | Fault::PutBack { .. }
            | Fault::Pause { .. }
            | Fault::Flip { .. }
            | Fault::Descriptors { .. }
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

    pub(super) fn was_taken(&mut self, node: usize, by: usize) -> bool {
        let taken = self.down_by[node] == Some(by);
        if taken {
            self.down_by[node] = None;
        }
        taken
    }

    /// A node whose log has failed refuses writes until somebody restarts it.
    pub(super) fn restart_failed(&mut self, node: usize) {
        let failed = self.machines[node].process.as_ref().is_some_and(|found| found.has_failed());
        if failed && self.machines[node].state == State::Running {
            self.take_down(node, State::Killed);
            self.start(node);
        }
    }

    pub(super) fn partition(&mut self, side: u64, nodes: usize, cut: bool) {
        for from in 0..nodes {
            for to in 0..nodes {
                if (side >> from & 1) != (side >> to & 1) {
                    self.network.cut(self.now, from, to, cut);
                }
            }
        }
    }

    /// Ends every fault.
    pub(super) fn heal(&mut self) {
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
        self.healed = true;
        for node in 0..self.machines.len() {
            self.machines[node].heal(self.now);
            self.restart_failed(node);
        }
        for (at, connection, side) in std::mem::take(&mut self.network.arrivals) {
            self.schedule(at, Event::Arrive { connection, side });
        }
    }

    /// What operating systems do now and then.
    pub(super) fn write_back(&mut self) {
        let pause = self.scenario.write_back;
        for (node, machine) in self.machines.iter().enumerate() {
            // The machines do so at different times.
            let turn = (self.now / BOUNDS_EVERY + 7 * node as u64) * BOUNDS_EVERY;
            if pause > 0 && turn.is_multiple_of(pause) {
                machine.disk.write_back();
            }
        }
    }

    /// What grows while a node is away has a bound: hints on disk, and requests in memory.
    pub(super) fn check_bounds(&mut self) {
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
}
