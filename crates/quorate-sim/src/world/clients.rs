//! Clients: connecting, asking, waiting, giving up.

use std::ops::Range;

use quorate_proto::resp::reply::Value;

use super::{Event, Violation, World};
use crate::{
    action::{Action, Key, Request, Returned, encode},
    client::{Agenda, Stage},
    history::{Operation, Outcome, Time},
    machine::{self, State},
    network::{ConnectionId, Packet, Place},
};

/// How late the answer to a read may be, whatever happens: it changes nothing, so that nobody has to be
/// asked what became of it.
const LATE_READ_MAX: Time = 100_000;

/// How late that to a write may be.
const LATE_WRITE_MAX: Time = 500_000;

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
        let parts = match &mut client.agenda {
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
                Some(read) => vec![read],
                None => {
                    client.agenda = Agenda::Nothing;
                    return;
                }
            },
            Agenda::Nothing => return,
        };
        let last = matches!(client.agenda, Agenda::Audit(_));
        client.stage = Stage::Waiting;
        let first = self.history.operations.len();
        client.pending = Some(first..first + parts.len());
        client.serial += 1;
        for (number, (key, action)) in parts.iter().enumerate() {
            // What one process does never overlaps.
            let process = if number == 0 { client.process } else { self.processes };
            self.processes += u32::from(number > 0);
            self.history.operations.push(Operation {
                process,
                node: client.node,
                datacentre: self.datacentres[client.node],
                key: *key,
                action: *action,
                read_level: client.read_level,
                write_level: client.write_level,
                start: self.now,
                end: Time::MAX,
                outcome: Outcome::Unknown("never answered".into()),
                last,
            });
        }
        let Request { bytes, leading, waits } = Request::new(&parts);
        let client = &mut self.clients[index];
        (client.leading, client.led, client.waits) = (leading, Vec::new(), waits);
        self.client_sends(index, bytes);
        self.be_patient(index);
    }

    pub(super) fn client_sends(&mut self, index: usize, bytes: Vec<u8>) {
        if let Some(connection) = self.clients[index].connection {
            self.network.send(self.now, connection, 0, Packet::Bytes(bytes));
        }
    }

    /// How long a client may wait for the answer to its request.
    fn patience_of(&self, index: usize) -> Time {
        self.patience() * self.clients[index].waits
    }

    /// How long the answer to a command may take.
    pub(super) fn patience(&self) -> Time {
        let request = machine::REQUEST_TIMEOUT_MS * 1_000;
        // A long call has twice the time of others.
        let is_long = self.scenario.long_call < usize::MAX;
        let request = if is_long { 2 * request } else { request };
        // The first write waits for the seal.
        if self.scenario.forms { request.max(15_000_000) } else { request }
    }

    pub(super) fn be_patient(&mut self, index: usize) {
        let serial = self.clients[index].serial;
        let at = self.now + self.patience_of(index) + 4_000_000;
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
        let Some(pending) = &client.pending else { return };
        let operation = &self.history.operations[pending.start];
        let state = self.machines[client.node].state;
        let undisturbed = state == State::Running && self.disturbed[client.node] < operation.start;
        let writes =
            self.history.operations[pending.clone()].iter().any(|part| part.action.writes());
        let margin = if writes { LATE_WRITE_MAX } else { LATE_READ_MAX };
        let late = self.now.saturating_sub(operation.start) > self.patience_of(index) + margin;
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
        self.lose(index, why);
        let roams = self.scenario.roaming && matches!(self.clients[index].agenda, Agenda::Work);
        let members = self.members();
        let has_members = self.has_operators() && !members.is_empty();
        let is_elsewhere = has_members && !members.contains(&self.clients[index].node);
        let client = &mut self.clients[index];
        client.stage = Stage::Away;
        client.serial += 1;
        if roams && (client.random.percent(30) || is_elsewhere) && !members.is_empty() {
            client.node = members[client.random.below(members.len() as u64) as usize];
        }
        let delay = client.random.between(20_000, 300_000);
        self.wake_client(index, delay);
    }

    /// The command of a client has ended like this for all of its keys.
    pub(super) fn lose(&mut self, index: usize, why: &str) {
        let count = self.clients[index].pending.as_ref().map_or(0, Range::len);
        self.complete(index, vec![Outcome::Unknown(why.into()); count]);
    }

    /// The command of a client has ended, for each of its keys like this.
    fn complete(&mut self, index: usize, outcomes: Vec<Outcome>) {
        let client = &mut self.clients[index];
        let Some(pending) = client.pending.take() else { return };
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unknown(_))) {
            client.process = self.processes;
            self.processes += 1;
        }
        let ended = pending.clone();
        for (operation, outcome) in self.history.operations[pending].iter_mut().zip(outcomes) {
            (operation.end, operation.outcome) = (self.now, outcome);
            self.observer.operation(operation);
        }
        for index in ended {
            self.check_wait(&self.history.operations[index].clone());
        }
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
                let Some(pending) = self.clients[index].pending.clone() else { return };
                let operations = self.history.operations[pending].iter();
                let parts: Vec<_> = operations.map(|found| (found.key, found.action)).collect();
                let client = &mut self.clients[index];
                if client.led.len() < client.leading {
                    client.led.push(reply);
                    return self.client_reads(index);
                }
                match judge(&parts, &client.led, &reply) {
                    Ok(outcomes) => self.complete(index, outcomes),
                    Err(text) => {
                        self.violations.push(Violation::new("replies", text));
                        self.lose(index, "nonsense");
                    }
                }
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
                let text = format!("unsolicited reply: {reply:?}");
                self.violations.push(Violation::new("replies", text));
            }
        }
    }
}

/// What the last reply to a request says of each of its parts, after `led`.
pub(crate) fn judge(
    parts: &[(Key, Action)],
    led: &[Value],
    reply: &Value,
) -> Result<Vec<Outcome>, String> {
    if !led.is_empty() && !matches!(reply, Value::Error(_)) {
        return judge_transaction(parts, led, reply);
    }
    let Value::Error(text) = reply else {
        let part =
            |(key, action): &(Key, Action)| action.interpret(key.family, reply).map(Outcome::Ok);
        return parts.iter().map(part).collect();
    };
    let word = text.split(' ').next().unwrap_or_default();
    let all = |outcome| Ok(vec![outcome; parts.len()]);
    match word {
        "UNAVAILABLE" | "OVERLOADED" | "MISCONF" => all(Outcome::Failed(text.clone())),
        "TIMEOUT" if text.ends_with("nothing was changed") => all(Outcome::Failed(text.clone())),
        // Slots are named, not keys.
        "PARTIAL" | "UNKNOWN" if matches!(parts, [(_, Action::Flush), ..]) => {
            all(Outcome::Unknown(text.clone()))
        }
        "PARTIAL" | "UNKNOWN" if parts.len() > 1 && text.contains("; because ") => {
            parts.iter().map(|(key, _)| named(*key, text)).collect()
        }
        "TIMEOUT" | "UNKNOWN" => all(Outcome::Unknown(text.clone())),
        _ => Err(format!("{parts:?} was answered with {text}")),
    }
}

/// What the reply to `EXEC` says of twins.
fn judge_transaction(
    parts: &[(Key, Action)],
    led: &[Value],
    reply: &Value,
) -> Result<Vec<Outcome>, String> {
    let Value::Array(replies) = reply else {
        let outcome = Outcome::Failed("the key had changed".into());
        let watches = matches!(parts[0].1, Action::Swap(_)) && *reply == Value::Nil;
        return watches.then(|| vec![outcome; parts.len()]).ok_or(format!("EXEC: {reply:?}"));
    };
    if replies.len() != parts.len() {
        return Err(format!("EXEC of {} commands: {reply:?}", parts.len()));
    }
    // Without a watch, or without its value, the swap was an ordinary write.
    let before = match led {
        [Value::Simple(_), before @ (Value::Bulk(_) | Value::Nil), ..] => Some(before),
        _ => None,
    };
    let outcomes = parts.iter().zip(replies).map(|((key, action), reply)| {
        let returned = action.interpret(key.family, reply)?;
        let swapped = before.filter(|_| matches!(action, Action::Swap(_)));
        let returned =
            swapped.map_or(Ok(returned), |before| Action::Get.interpret(key.family, before));
        returned.map(Outcome::Ok)
    });
    outcomes.collect()
}

/// What an error that names the parts of a command says of one of them:
/// `UNKNOWN done: "r1"; may have been done: "r2"; because ...`
fn named(key: Key, text: &str) -> Result<Outcome, String> {
    let groups = text.split_once(' ').and_then(|(_, rest)| rest.split_once("; because "));
    let (groups, _) = groups.ok_or("no groups")?;
    let name = format!("\"{key}\"");
    let has = |group: &&str| group.split(' ').any(|word| word == name);
    match groups.split("; ").find(has).and_then(|group| group.split_once(": ")) {
        Some(("done", _)) => Ok(Outcome::Ok(Returned::Done)),
        Some(("may have been done", _)) => Ok(Outcome::Unknown(text.to_owned())),
        Some(("not done", _)) => Ok(Outcome::Failed(text.to_owned())),
        _ => Err(format!("nothing is said of {key}: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Family;

    #[test]
    fn each_part_is_told_from_the_text() {
        let key = |number| Key { family: Family::Register, number };
        let parts = [(key(1), Action::Set(1)), (key(2), Action::Set(2)), (key(3), Action::Set(3))];
        let text =
            "UNKNOWN done: \"r2\"; may have been done: \"r1\"; not done: \"r3\"; because x; y";
        let outcomes = judge(&parts, &[], &Value::Error(text.into())).expect("makes sense");
        assert!(matches!(
            &outcomes[..],
            [Outcome::Unknown(_), Outcome::Ok(Returned::Done), Outcome::Failed(_)]
        ));
        let text = "PARTIAL done: \"r2\"; not done: \"r1\"; because x";
        assert!(judge(&parts, &[], &Value::Error(text.into())).is_err(), "silent about r3");
    }
}
