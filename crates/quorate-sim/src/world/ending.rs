//! The end of a schedule: settling without clients, the last writes, the last reads.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use quorate_node::simulation::Process;
use quorate_proto::Slot;

use super::{EXPIRY_MAX, FORGET_MAX, SETTLE_MAX, SURVIVE_MAX, Violation, World};
use crate::{
    action::{Action, Family, Key},
    client::{Agenda, Client},
    history::Time,
    machine::{self, State},
};

impl World<'_> {
    /// Waits until every client has heard the outcome of its last operation.
    pub(super) fn finish_work(&mut self) {
        for client in &mut self.clients {
            client.agenda = Agenda::Nothing;
        }
        let waits = self.clients.iter().map(|client| client.waits).max().unwrap_or(1);
        let end = self.now + self.patience() * waits + 5_000_000;
        while self.now < end && self.clients.iter().any(|client| client.pending.is_some()) {
            self.run_until(self.now + 100_000);
        }
        for index in 0..self.clients.len() {
            self.lose(index, "the schedule ended");
        }
    }

    /// Runs until all replicas are equal, without any client, and everything that expires has done
    /// so. Returns whether they became equal.
    pub(super) fn settle(&mut self, healed: Time) -> bool {
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

    /// Runs until every tombstone is forgotten, where that is promised. Returns whether they
    /// were.
    pub(super) fn forget(&mut self) -> bool {
        let healed = self.now;
        while self.scenario.forgets && self.tombstone_keys() > 0 {
            if self.now > healed + FORGET_MAX {
                let seconds = FORGET_MAX / 1_000_000;
                let text =
                    format!("{seconds} s after all was equal, {} are left", self.tombstone_keys());
                self.violations.push(Violation::new("tombstones", text));
                return false;
            }
            self.run_until(self.now + 1_000_000);
        }
        true
    }

    /// Keys with tombstones, on all nodes.
    fn tombstone_keys(&self) -> usize {
        self.machines
            .iter()
            .filter_map(|machine| Some(machine.process.as_ref()?.tombstone_keys()))
            .sum()
    }

    /// Whether all nodes are up and all replicas equal, and nothing waits; if not, why.
    pub(super) fn is_quiet(&mut self) -> Result<(), String> {
        let members = self.members();
        if let Some(node) = (0..self.machines.len()).find(|node| self.has_left(*node)) {
            return Err(format!("{} has left and goes on", machine::name(node)));
        }
        let mut processes = Vec::new();
        for (node, machine) in self.machines.iter_mut().enumerate() {
            if !members.contains(&node) {
                continue;
            }
            let name = machine::name(node);
            let Some(process) = &mut machine.process else {
                return Err(format!("{name} is down: {:?}", self.start_errors.get(&node)));
            };
            if !process.is_ready() {
                return Err(format!("{name} has not caught up{}", self.kept_hints()));
            }
            if !process.is_idle() {
                return Err(format!("{name} has requests under way"));
            }
            processes.push((node, process));
        }
        let keys: Vec<usize> = processes.iter().map(|(_, process)| process.keys()).collect();
        if processes.iter().any(|(_, process)| !process.is_sealed()) {
            let empty = keys.iter().all(|keys| *keys == 0);
            return if empty { Ok(()) } else { Err("data in a cluster that is not sealed".into()) };
        }
        for (node, process) in &processes {
            for peer in process.topology().peers() {
                let (pending, dirty) = process.hints(peer);
                if pending > 0 || dirty > 0 {
                    let name = machine::name(*node);
                    return Err(format!(
                        "{name} keeps {pending} hints for {peer:?}, {dirty} dirty"
                    ));
                }
            }
        }
        self.is_at_rest()?;
        self.difference().map_or(Ok(()), Err)
    }

    /// Two nodes that run and differ in a slot.
    fn difference(&mut self) -> Option<String> {
        let members = self.members();
        let running =
            self.machines.iter_mut().enumerate().filter(|(node, machine)| {
                machine.state == State::Running && members.contains(node)
            });
        let mut processes: BTreeMap<String, &mut Process> = running
            .map(|(_, machine)| machine)
            .filter_map(|machine| machine.process.as_mut())
            .map(|process| {
                let topology = process.topology();
                (topology.member(topology.me()).name.clone(), process)
            })
            .collect();
        let topology = Arc::clone(processes.values().next()?.topology());
        for slot in Slot::all() {
            let mut first: Option<(&str, u128)> = None;
            for replica in topology.replicas(slot) {
                let name = &topology.member(*replica).name;
                let Some(process) = processes.get_mut(name) else { continue };
                let digest = process.slot_digest(slot);
                match first {
                    None => first = Some((name, digest)),
                    Some((other, found)) if found != digest => {
                        return Some(format!(
                            "{other} and {name} differ in slot {}",
                            slot.number()
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        None
    }

    /// Waits until all nodes that run are equal, while faults last.
    pub(super) fn survive(&mut self) {
        let end = self.now + SURVIVE_MAX;
        while let Some(difference) = self.difference() {
            if self.now > end {
                let text = format!("after {} s: {difference}", SURVIVE_MAX / 1_000_000);
                return self.violations.push(Violation::new("survivors", text));
            }
            self.run_until(self.now + 100_000);
        }
    }

    /// What the nodes keep for each other.
    pub(super) fn kept_hints(&self) -> String {
        let mut text = String::new();
        for (node, machine) in self.machines.iter().enumerate() {
            let Some(process) = &machine.process else { continue };
            for peer in process.topology().peers() {
                let (pending, dirty) = process.hints(peer);
                if pending > 0 || dirty > 0 {
                    let (name, peer) = (machine::name(node), &process.topology().member(peer).name);
                    text.push_str(&format!("; {name} keeps {pending} for {peer}, dirty: {dirty}"));
                }
            }
        }
        text
    }

    /// Writes every register once more: nothing that happened before may keep it from winning.
    pub(super) fn write_last(&mut self, seed: u64) {
        let members = self.members();
        let is_sealed = |node: &usize| {
            let process = self.machines[*node].process.as_ref();
            process.is_none_or(|process| process.is_sealed())
        };
        if !members.iter().all(is_sealed) {
            return;
        }
        let registers = self.workload.keys().into_iter();
        let registers: Vec<Key> = registers.filter(|key| key.family == Family::Register).collect();
        let writes: VecDeque<(Key, Action)> =
            registers.into_iter().map(|key| (key, self.workload.overwrite())).collect();
        let node = members[self.random.below(members.len() as u64) as usize];
        self.finish(vec![(node, writes)], seed);
    }

    /// Reads every key at every node at ONE.
    pub(super) fn audit(&mut self, seed: u64) {
        let keys = self.workload.keys();
        let nodes = self.members().into_iter();
        let reads = |_| keys.iter().map(|key| (*key, key.family.read())).collect();
        self.finish(nodes.map(|node| (node, reads(node))).collect(), seed);
        if let Err(restless) = self.is_quiet() {
            let text = format!("not quiet after the last reads: {restless}");
            self.violations.push(Violation::new("convergence", text));
        }
    }

    /// Lets one client a node do what is listed, all of which must succeed.
    pub(super) fn finish(&mut self, agendas: Vec<(usize, VecDeque<(Key, Action)>)>, seed: u64) {
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
