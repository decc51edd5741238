//! `QUORATE SLOTDIGEST`, `EXPORT` and `MERGE`: the states of slots, for whoever reads a node whole or
//! brings what was read elsewhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_cluster::coordinator::Terms;
use quorate_proto::{Level, Partitioner, Slot, command::Call, resp::Command};
use quorate_store::delta::{DeltaWriter, Malformed, deltas};

use super::{
    Now, Shard,
    cluster_commands::parse_slot,
    job::{Plan, Step, integer},
};

impl Shard {
    /// `QUORATE SLOTDIGEST slot`, `QUORATE EXPORT slot [position [STATES]]`, `QUORATE MERGE slot
    /// effect`. What is asked is what one replica holds, whatever the level of the connection.
    pub(super) fn snapshot_command(&mut self, now: Now, key: usize, call: Call) {
        let command = call.command();
        let slot = match parse_slot(command.arg(2)) {
            Ok(slot) => slot,
            Err(error) => return self.refuse(key, &call, error),
        };
        let number = command.arg(2);
        let words = match command.arg(1).to_ascii_lowercase().as_slice() {
            b"export" => {
                let position = command.get(3).unwrap_or(b"0");
                let mut words = vec![b"quorate.exportslot".as_slice(), number, number, position];
                match command.get(4) {
                    None => {}
                    Some(word) if word.eq_ignore_ascii_case(b"STATES") && command.len() == 5 => {
                        words.push(b"STATES");
                    }
                    Some(_) => return self.refuse(key, &call, "ERR syntax error"),
                }
                words
            }
            b"merge" => return self.merge_snapshot(now, key, call, slot),
            _ => vec![b"quorate.slotdigest".as_slice(), number, number],
        };
        let piece = Call::piece(slot, Command::from_args(words));
        let terms = Terms { read_level: Level::One, ..self.terms(now, key, &piece) };
        self.by_piece(now, key, call, (piece, terms));
    }

    /// `QUORATE MERGE slot effect`: where keys have other slots than in the cluster that they come from,
    /// each goes to its own.
    fn merge_snapshot(&mut self, now: Now, key: usize, call: Call, slot: Slot) {
        let effect = call.command().arg(3);
        let is_here = |delta: Result<_, Malformed>| {
            delta.is_ok_and(|delta: quorate_store::delta::Delta<'_>| {
                self.partitioner().slot(delta.key) == slot
            })
        };
        // What cannot be read the store refuses.
        let effects = match deltas(effect).all(is_here) {
            true => None,
            false => by_slot(effect, self.partitioner()).ok(),
        };
        let Some(effects) = effects else {
            let piece = merge_piece(slot, effect);
            let terms = self.terms(now, key, &piece);
            return self.by_piece(now, key, call, (piece, terms));
        };
        let pieces = effects.iter().map(|(slot, effect)| merge_piece(*slot, effect)).collect();
        self.exclusive(now, key, call, |_, _| Box::new(Merges(Some(pieces))));
    }
}

fn merge_piece(slot: Slot, effect: &[u8]) -> Call {
    let number = slot.number().to_string();
    let words = [b"quorate.mergeslot".as_slice(), number.as_bytes(), number.as_bytes(), effect];
    Call::piece(slot, Command::from_args(words))
}

/// The effects on the slots that keys have here.
fn by_slot(effect: &[u8], partitioner: &Partitioner) -> Result<BTreeMap<Slot, Vec<u8>>, Malformed> {
    let mut found: BTreeMap<Slot, Vec<u8>> = BTreeMap::new();
    for delta in deltas(effect) {
        let delta = delta?;
        let out = found.entry(partitioner.slot(delta.key)).or_default();
        let mut writer = DeltaWriter::new(out, delta.key);
        for part in delta.parts() {
            writer.part(part?);
        }
        writer.finish();
    }
    Ok(found)
}

/// Merges on several slots. Answers the sum of what they answer.
#[derive(Debug)]
struct Merges(Option<Vec<Call>>);

impl Plan for Merges {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        match self.0.take() {
            Some(pieces) => Step::Run(pieces),
            None => {
                let sum: i64 = replies.iter().filter_map(|reply| integer(reply)).sum();
                Step::Done(format!(":{sum}\r\n").into_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Origin, hashkit::HashKind};
    use quorate_store::{Request, Store, StoreOptions};

    use super::*;

    fn new_store(partitioner: &Partitioner) -> Store {
        let options = StoreOptions {
            origin: Origin(1),
            digest_secret: [7; 16],
            seed: 7,
            keep_removed: false,
        };
        Store::new(options).with_partitioner(partitioner.clone())
    }

    #[test]
    fn keys_that_come_from_elsewhere_go_to_their_own_slots() {
        const WALL_MS: u64 = 1_000;
        let slots = Partitioner::Slots;
        let ring = Partitioner::ring(HashKind::Murmur, None, &[]).expect("no cuts");
        let (mut from, mut into) = (new_store(&slots), new_store(&ring));
        let mut effect = Vec::new();
        for words in [["SET", "{t}a", "1"], ["SADD", "{t}b", "x"], ["SET", "{t}c", "3"]] {
            let call = Call::piece(from.slot_of(b"{t}"), Command::from_args(words));
            let request = Request { call: &call, wall_ms: WALL_MS, resp3: false };
            from.execute(request, &mut Vec::new(), &mut effect);
        }
        assert!(into.merge(slots.slot(b"{t}"), &effect, WALL_MS).is_err(), "of another slot");
        let effects = by_slot(&effect, &ring).expect("is readable");
        assert_eq!(effects.len(), 3);
        for (slot, effect) in &effects {
            into.merge(*slot, effect, WALL_MS).expect("of the slot");
        }
        for key in ["{t}a", "{t}b", "{t}c"].map(str::as_bytes) {
            let digest = |store: &Store| store.key_digest(store.slot_of(key), key);
            assert_eq!(digest(&from), digest(&into));
        }
        assert_eq!(into.len(), 3);
    }
}
