//! Clients: connecting, asking, waiting, giving up.

use quorate_proto::resp::reply::Value;

use super::{Event, Violation, World};
use crate::{
    action::{Action, Key, encode},
    client::{Agenda, Stage},
    history::{Operation, Outcome, Time},
    machine::{self, State},
    network::{ConnectionId, Packet, Place},
};

impl World<'_> {
    pub(super) fn wake_client(&mut self, client: usize, delay: Time) {
        let serial = self.clients[client].serial;
        self.schedule(self.now + delay, Event::Client { client, serial });
    }

    pub(super) fn client_goes_on(&mut self, index: usize) {
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

    pub(super) fn ask(&mut self, index: usize) {
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

    pub(super) fn client_sends(&mut self, index: usize, bytes: Vec<u8>) {
        if let Some(connection) = self.clients[index].connection {
            self.network.send(self.now, connection, 0, Packet::Bytes(bytes));
        }
    }

    pub(super) fn patience(&self) -> Time {
        let request = machine::REQUEST_TIMEOUT_MS * 1_000;
        // The first write waits for the seal.
        if self.scenario.forms { request.max(15_000_000) } else { request }
    }

    pub(super) fn be_patient(&mut self, index: usize) {
        let serial = self.clients[index].serial;
        let at = self.now + self.patience() + 4_000_000;
        self.schedule(at, Event::GiveUp { client: index, serial });
    }

    pub(super) fn give_up(&mut self, index: usize) {
        if matches!(self.clients[index].stage, Stage::Ready | Stage::Away) {
            return;
        }
        self.check_deadline(index);
        self.hang_up(index, "the client gave up");
    }

    /// An answer, or its absence, must not be later than was promised, unless the node stood still.
    pub(super) fn check_deadline(&mut self, index: usize) {
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
    pub(super) fn hang_up(&mut self, index: usize, why: &str) {
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

    pub(super) fn complete(&mut self, index: usize, outcome: Outcome) {
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

    pub(super) fn client_hears(&mut self, index: usize, connection: ConnectionId, packet: Packet) {
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

    pub(super) fn client_reads(&mut self, index: usize) {
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
}

/// What a reply says of an operation.
pub(crate) fn judge(action: Action, key: Key, reply: &Value) -> Result<Outcome, String> {
    let Value::Error(text) = reply else {
        return action.interpret(key.family, reply).map(Outcome::Ok);
    };
    let word = text.split(' ').next().unwrap_or_default();
    Ok(match word {
        "UNAVAILABLE" | "OVERLOADED" | "MISCONF" => Outcome::Failed(text.clone()),
        "TIMEOUT" if text.ends_with("nothing was changed") => Outcome::Failed(text.clone()),
        "TIMEOUT" | "UNKNOWN" => Outcome::Unknown(text.clone()),
        _ => return Err(format!("{action:?} of {key} was answered with {text}")),
    })
}
