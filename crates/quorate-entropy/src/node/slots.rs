//! Single slots of one node, each whole and with the digest of what was read.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use quorate_proto::{
    Slot,
    resp::{Command, reply::Value},
    slot::SLOTS,
};

use super::{
    OriginSpace, origin_space,
    source::{append, digest, digest_question, digests_of, question},
};
use crate::redis::Connection;

/// Slots whose questions are on their way: enough to keep the node busy, few enough that the
/// answers that wait while a large slot is read are small.
const SLOTS_ASKED_MAX: usize = 8;

/// Questions about places on their way: the answers are short.
const PLACES_ASKED_MAX: usize = 1024;

/// A slot as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotRead {
    pub(crate) slot: Slot,
    /// Its digest right before it was read.
    pub(crate) digest: u128,
    /// Whether the digest was another one right behind: it was written to meanwhile.
    pub(crate) moving: bool,
    /// Keys that show something.
    pub(crate) keys: u64,
}

/// A node as its status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) ready: bool,
    pub(crate) members: Vec<BTreeMap<String, String>>,
}

/// Reads slots from one node, and only what it holds itself: another replica's answer would not
/// belong to the digest that this one gave.
pub(crate) struct SlotReader {
    connection: Connection,
    space: OriginSpace,
    /// Slots not asked for yet.
    slots: VecDeque<Slot>,
    /// Slots asked for, in order: the digest, a part, and the digest again.
    asked: VecDeque<Slot>,
    /// Answers to those, that came while a large slot was read to its end.
    early: VecDeque<Value>,
    piece: Vec<u8>,
}

impl SlotReader {
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        let mut connection = Connection::dial(address)?;
        connection.run(&["QUORATE", "LEVEL", "READ", "ONE"])?;
        let space = origin_space(&mut connection)?;
        Ok(Self {
            connection,
            space,
            slots: VecDeque::new(),
            asked: VecDeque::new(),
            early: VecDeque::new(),
            piece: Vec::new(),
        })
    }

    /// The cluster whose stamps these are, as in the streams.
    pub(crate) fn identity(&self) -> [u8; 16] {
        self.space.identity
    }

    pub(crate) fn status(&mut self) -> io::Result<NodeStatus> {
        let status = self.connection.run(&["QUORATE", "STATUS"])?;
        let mut fields: BTreeMap<String, &Value> = pairs(&status).collect();
        let mut text = |name: &str| fields.remove(name).map(Value::to_text).unwrap_or_default();
        let (name, cluster, ready) = (text("name"), text("cluster"), text("ready") == "1");
        let members = match fields.remove("members") {
            Some(Value::Array(members)) => members.as_slice(),
            _ => return Err(io::Error::other("QUORATE STATUS: not the answer of a node")),
        };
        let member = |member| pairs(member).map(|(name, value)| (name, value.to_text())).collect();
        Ok(NodeStatus { name, cluster, ready, members: members.iter().map(member).collect() })
    }

    /// The names of the replicas of every slot, in order of preference.
    pub(crate) fn places(&mut self) -> io::Result<Vec<Vec<String>>> {
        let mut places = Vec::with_capacity(usize::from(SLOTS));
        for keys in key_of_each_slot().chunks(PLACES_ASKED_MAX) {
            for key in keys {
                let command = Command::from_args(["QUORATE", "LOCATE", &key.to_string()]);
                self.connection.push(&command);
            }
            self.connection.flush()?;
            for _ in keys {
                let reply = self.connection.reply()?;
                let replicas = pairs(&reply).find(|(name, _)| name == "replicas");
                let Some((_, Value::Array(names))) = replicas else {
                    let text = format!("QUORATE LOCATE: {}", reply.to_text());
                    return Err(io::Error::other(text));
                };
                places.push(names.iter().map(Value::to_text).collect());
            }
        }
        Ok(places)
    }

    /// The digests of some slots, in their order.
    pub(crate) fn digests(&mut self, slots: &[Slot]) -> io::Result<Vec<u128>> {
        digests_of(&mut self.connection, slots)
    }

    /// Adds slots to be read.
    pub(crate) fn begin(&mut self, slots: &[Slot]) -> io::Result<()> {
        self.slots.extend(slots);
        self.ask()
    }

    fn ask(&mut self) -> io::Result<()> {
        while self.asked.len() < SLOTS_ASKED_MAX {
            let Some(slot) = self.slots.pop_front() else { break };
            self.connection.push(&digest_question(slot));
            self.connection.push(&question(slot, "0", true));
            self.connection.push(&digest_question(slot));
            self.asked.push_back(slot);
        }
        self.connection.flush()
    }

    fn answer(&mut self) -> io::Result<Value> {
        match self.early.pop_front() {
            Some(answer) => Ok(answer),
            None => self.connection.reply(),
        }
    }

    /// Reads the next slot and gives it away piece by piece; without `plain`, only its states.
    pub(crate) fn next<E: From<io::Error>>(
        &mut self,
        plain: bool,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Option<SlotRead>, E> {
        let Some(slot) = self.asked.pop_front() else { return Ok(None) };
        let before = digest(&self.answer()?)?;
        let mut part = self.answer()?;
        let mut after = digest(&self.answer()?)?;
        let mut keys = 0;
        loop {
            self.piece.clear();
            let (next, shown) = append(&mut self.piece, self.space, slot, &part, plain)?;
            keys += shown;
            take(&self.piece)?;
            let Some(position) = next else { break };
            (part, after) = self.go_on(slot, &position)?;
        }
        self.ask()?;
        Ok(Some(SlotRead { slot, digest: before, moving: before != after, keys }))
    }

    /// The part of a slot from `position` on, and the digest behind it.
    fn go_on(&mut self, slot: Slot, position: &str) -> io::Result<(Value, u128)> {
        while self.early.len() < 3 * self.asked.len() {
            let answer = self.connection.reply()?;
            self.early.push_back(answer);
        }
        self.connection.push(&question(slot, position, true));
        self.connection.push(&digest_question(slot));
        self.connection.flush()?;
        let part = self.connection.reply()?;
        Ok((part, digest(&self.connection.reply()?)?))
    }
}

/// The names and values of a map, which is an array of both in RESP2.
fn pairs(map: &Value) -> impl Iterator<Item = (String, &Value)> {
    let flat: &[Value] = match map {
        Value::Array(flat) => flat,
        _ => &[],
    };
    flat.chunks_exact(2).map(|pair| (pair[0].to_text(), &pair[1]))
}

/// A number for each slot whose decimal form is a key of that slot.
fn key_of_each_slot() -> Vec<u32> {
    let mut keys = vec![None; usize::from(SLOTS)];
    let mut missing = keys.len();
    for number in 0_u32.. {
        let key = &mut keys[Slot::of_key(number.to_string().as_bytes()).index()];
        missing -= usize::from(key.replace(number).is_none());
        if missing == 0 {
            break;
        }
    }
    keys.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_key() {
        let keys = key_of_each_slot();
        assert_eq!(keys.len(), usize::from(SLOTS));
        for (slot, key) in Slot::all().zip(keys) {
            assert_eq!(Slot::of_key(key.to_string().as_bytes()), slot);
        }
    }
}
