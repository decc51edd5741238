//! Indexes that come and go while clients write, and whether they say in the end what a naive scan of
//! the documents finds.

use quorate_node::simulation::Wire;
use quorate_proto::resp::Command;

use super::{Event, Violation, World};
use crate::{
    history::Time,
    machine,
    network::{Packet, Place},
};

/// Pause between two changes of the catalog.
const PAUSE: Time = 900_000;

/// When the first one is made.
pub(super) const FIRST_INDEX: Time = 300_000;

/// Names that indexes have in turn.
const NAMES: [&str; 3] = ["first", "second", "third"];

/// Every so many changes one is a removal.
const REMOVED_EVERY: u32 = 5;

/// Schemas of the hashes that clients write, whose fields are numbers.
const SCHEMAS: [&str; 3] = [
    "ON HASH SCHEMA 0 NUMERIC SORTABLE 1 TAG 2 TEXT",
    "ON HASH FILTER @0>20 SCHEMA 0 TEXT 3 NUMERIC INDEXMISSING",
    "ON HASH SCHEMA 1 TEXT 2 TEXT NOSTEM 3 TAG 4 NUMERIC",
];

impl World<'_> {
    /// Somebody makes an index, or removes one, at a node that may be cut off; what comes of it is
    /// not waited for. Whoever does it concurrently elsewhere gives the same name to another schema.
    pub(super) fn change_indexes(&mut self, node: usize, number: u32) {
        if self.now >= self.scenario.period {
            return;
        }
        let place = Place::Client { client: Self::unheard(self.unheard.len()), at: node };
        let connection = self.network.open(self.now, place, Wire(0), Place::Node(node));
        self.unheard.push(connection);
        let name = NAMES[number as usize % NAMES.len()];
        let words = if number % REMOVED_EVERY == REMOVED_EVERY - 1 {
            format!("FT._DROPINDEXIFX {name}")
        } else {
            let schema = SCHEMAS[(number as usize + node) % SCHEMAS.len()];
            format!("FT._CREATEIFNX {name} {schema}")
        };
        // Long questions borrow an index while it changes; what they are told is not looked at.
        let questions = NAMES.map(|name| format!("FT.SEARCH {name} * LIMIT 0 100"));
        let mut bytes = Vec::new();
        for line in [words].iter().chain(&questions) {
            let words: Vec<&str> = line.split(' ').collect();
            bytes.extend_from_slice(Command::from_args(words).frame());
        }
        self.network.send(self.now, connection, 0, Packet::Bytes(bytes));
        let next = (node + 1) % self.machines.len();
        self.schedule(self.now + PAUSE, Event::Index { node: next, number: number + 1 });
    }

    /// All nodes know of the same indexes, and each says what its documents say.
    pub(super) fn check_indexes(&mut self) {
        if !self.scenario.indexed {
            return;
        }
        let mut digests = Vec::new();
        let mut faults = Vec::new();
        for (node, machine) in self.machines.iter_mut().enumerate() {
            let Some(process) = &mut machine.process else { continue };
            digests.extend(process.catalog_digests());
            let name = machine::name(node);
            faults.extend(process.index_faults().into_iter().map(|text| format!("{name}: {text}")));
        }
        if digests.windows(2).any(|pair| pair[0] != pair[1]) {
            let text = format!("nodes know of different indexes: {digests:x?}");
            self.violations.push(Violation::new("catalog", text));
        }
        if !faults.is_empty() {
            self.violations.push(Violation::new("index", faults.join("; ")));
        }
    }
}
