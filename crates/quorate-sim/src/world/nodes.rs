//! Processes: their starts, turns and ends, and what they send and hear.

use quorate_node::simulation::{Input, Output, Port, Wire};
use quorate_proto::checksum;

use super::{Event, Violation, World, operators::FIRST_OPERATOR, tamper};
use crate::{
    history::Time,
    machine::{self, State},
    network::{ConnectionId, Packet, Place},
    scenario::Repair,
};

impl World<'_> {
    pub(super) fn start(&mut self, node: usize) {
        if self.machines[node].process.is_some() || self.operators.has_given_up(node) {
            return;
        }
        self.observer.at(self.now, node);
        self.set_seeds(node);
        match self.machines[node].start(self.now) {
            Ok(()) => {
                self.observer.note(|| "starts".into());
                self.start_errors.remove(&node);
                (self.disturbed[node], self.upset) = (self.now, self.now);
                self.turn_by(node, self.now + 1);
                self.check_recovered(node);
            }
            Err(error) => {
                self.observer.note(|| format!("does not start: {error}"));
                self.start_errors.insert(node, error);
                self.schedule(self.now + 500_000, Event::Start { node });
            }
        }
    }

    /// Hands something to the process of a node, which takes it at its next turn.
    pub(super) fn input(&mut self, node: usize, input: Input) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() {
            return;
        }
        machine.inbox.push(input);
        let delay = self.random.between(10, 60);
        self.turn_by(node, self.now + delay);
    }

    pub(super) fn turn_by(&mut self, node: usize, at: Time) {
        let machine = &mut self.machines[node];
        let at = at.max(machine.busy_until);
        if machine.state == State::Running && machine.turn_at.is_none_or(|turn| turn > at) {
            machine.turn_at = Some(at);
            self.schedule(at, Event::Turn { node });
        }
    }

    pub(super) fn turn(&mut self, node: usize) {
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
        machine.busy_until = self.now + process.worked_us();
        self.note_list(node);
        let has_left = self.has_left(node);
        let Some(process) = &self.machines[node].process else { return };
        let (death, fenced) = (process.death().map(str::to_owned), process.is_fenced());
        if process.conceals_loss() {
            let text = format!("{} would start as complete, and is not", machine::name(node));
            self.violations.push(Violation::new("notes", text));
        }
        if let Some(death) = death {
            self.observer.note(|| format!("ends: {death}"));
            self.take_down(node, State::Killed);
            if has_left {
                self.machines[node].wipe_all();
            } else if fenced {
                self.replace_directory(node, &death);
            }
            self.start_errors.insert(node, death);
            return self.schedule(self.now + 500_000, Event::Start { node });
        }
        for output in outputs {
            self.output(node, output);
        }
        let at = self.machines[node].when(due, self.now).max(self.now + 50);
        self.turn_by(node, at);
    }

    /// Does what a node that was fenced asks its operator for.
    fn replace_directory(&mut self, node: usize, death: &str) {
        if !self.put_back[node] {
            let text =
                format!("{} has its own directory and is told: {death}", machine::name(node));
            self.violations.push(Violation::new("fenced", text));
        }
        self.put_back[node] = false;
        self.machines[node].wipe_all();
    }

    pub(super) fn output(&mut self, node: usize, output: Output) {
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
                    tamper::with_effects_twice(&bytes)
                } else {
                    bytes
                };
                let repair = self.repair();
                let bytes = match repair {
                    Repair::Every => bytes,
                    _ => tamper::repairing_by(repair, &bytes),
                };
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

    /// Which ways of repair work now.
    fn repair(&self) -> Repair {
        match self.scenario.repair {
            _ if self.now <= self.scenario.calm_until => Repair::Every,
            Repair::Clocks | Repair::Reads if self.healed => Repair::Every,
            repair => repair,
        }
    }

    pub(super) fn node_at(&self, address: &str) -> Option<usize> {
        let host = address.rsplit_once(':')?.0;
        let last: usize = host.rsplit_once('.')?.1.parse().ok()?;
        last.checked_sub(1).filter(|node| *node < self.machines.len())
    }

    pub(super) fn arrive(
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
            Place::Client { client, .. } if self.is_pipeline(client) => {
                return self.pipeline_hears(client, packet);
            }
            Place::Client { client, .. } if client >= FIRST_OPERATOR => {
                return self.operator_hears(client - FIRST_OPERATOR, packet);
            }
            Place::Client { client, .. } if self.is_unheard(client) => return,
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

    pub(super) fn network_opener_is_client(&self, connection: ConnectionId) -> bool {
        self.unheard.contains(&connection)
            || self.pipelines.iter().any(|pipeline| pipeline.connection == connection)
            || self.operators.has_opened(connection)
            || self.clients.iter().any(|client| client.connection == Some(connection))
    }

    pub(super) fn mark(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let what = u64::from(checksum::crc32c(bytes)) ^ connection << 32 ^ self.now;
        self.fingerprint =
            self.fingerprint.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what;
    }

    /// The process of a node is gone.
    pub(super) fn take_down(&mut self, node: usize, state: State) {
        self.note_rot_left(node);
        self.upset = self.now;
        let machine = &mut self.machines[node];
        machine.process = None;
        machine.state = state;
        machine.inbox.clear();
        machine.turn_at = None;
        machine.generation += 1;
        self.network.lose_process(self.now, node, state == State::Off);
    }
}
