//! Clients that send very many commands at once and read all replies. Nothing is asked of them; who is
//! asked something of are the others, which may not wait for them.

use quorate_node::simulation::Wire;
use quorate_proto::resp::Command;

use super::{Event, Violation, World, pipelines::FIRST_PIPELINE};
use crate::{
    history::{Operation, Time},
    network::{Packet, Place},
};

/// Pause between two of them.
const PAUSE: Time = 1_500_000;

/// How long an operation may wait beside them: for a few turns of each of the nodes that it needs.
const WAIT_MAX: Time = 250_000;

/// From this number on nobody looks at what clients are told.
const FIRST: usize = 1 << 20;

impl World<'_> {
    /// A client connects to a node, sends its commands at once, and takes what comes.
    pub(super) fn send_greedily(&mut self, node: usize) {
        if self.now >= self.scenario.period {
            return;
        }
        let place = Place::Client { client: Self::unheard(self.unheard.len()), at: node };
        let connection = self.network.open(self.now, place, Wire(0), Place::Node(node));
        self.unheard.push(connection);
        let commands = Command::from_args(["PING"]).frame().repeat(self.scenario.greedy);
        self.network.send(self.now, connection, 0, Packet::Bytes(commands));
        let next = (node + 1) % self.machines.len();
        self.schedule(self.now + PAUSE, Event::Greed { node: next });
    }

    /// The number of a client whose replies nobody looks at.
    pub(super) fn unheard(number: usize) -> usize {
        FIRST + number
    }

    /// Whether a client of this number is one of these.
    pub(super) fn is_unheard(&self, client: usize) -> bool {
        (FIRST..FIRST_PIPELINE).contains(&client)
    }

    /// What an operation has waited beside greedy clients.
    pub(super) fn check_wait(&mut self, operation: &Operation) {
        let waited = operation.end.saturating_sub(operation.start);
        if self.scenario.greedy > 0 && operation.is_ok() && waited > WAIT_MAX {
            let text = format!("waited {} ms: {}", waited / 1_000, operation.describe());
            self.violations.push(Violation::new("waits", text));
        }
    }
}
