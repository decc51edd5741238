//! Whom a query asks, so that every document is counted once.
//!
//! A node that coordinates asks for groups of slots with the same replicas together; the piece goes
//! the way of any read at `ONE`: here, if this node is a replica and ready, else to the nearest one
//! that is up. Whoever answers is a shard. It says for which of the groups it has answered, and is
//! asked for these only, so nothing comes twice, however many shards it has and whatever list of
//! members it goes by. What is missing then is asked for again.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_cluster::topology::Topology;
use quorate_proto::{
    Groups, MemberNumber, Slot,
    command::Call,
    resp::{Command, reply::Value},
};

use super::pieces::{PIECE, read_groups, write_groups};
use crate::shard::OUT_OF_TIME;

/// What is asked for one part of a query.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    /// Groups with the same replicas, as far as a shard of this node may own all of them.
    sets: Vec<Groups>,
    /// The groups of the pieces under way.
    asked: Vec<Groups>,
    answers: Vec<Bytes>,
    /// Whether one of these is a part of what it might be.
    is_partial: bool,
}

impl Coverage {
    pub(crate) fn new(topology: &Topology, shards: u16) -> Coverage {
        let mut sets: BTreeMap<(&[MemberNumber], u16), Groups> = BTreeMap::new();
        for group in Groups::ALL.iter() {
            let Some(slot) = Slot::of_group(group).next() else { continue };
            sets.entry((topology.readers(slot), group % shards)).or_default().insert(group);
        }
        Coverage {
            sets: sets.into_values().collect(),
            asked: Vec::new(),
            answers: Vec::new(),
            is_partial: false,
        }
    }

    /// Whether somebody had not the time for a whole answer.
    pub(crate) fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Whether one piece is enough.
    pub(crate) fn is_one(&self) -> bool {
        self.sets.len() == 1
    }

    /// The first pieces of a question: `words` are its arguments.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Vec<Call> {
        self.asked = self.sets.clone();
        self.answers.clear();
        self.pieces(words)
    }

    fn pieces(&self, words: &[&[u8]]) -> Vec<Call> {
        let piece = |groups: &Groups| {
            let slot = groups.iter().next().and_then(|group| Slot::of_group(group).next());
            let slot = slot.expect("invariant: somebody is asked for some group");
            let (number, groups) = (slot.number().to_string(), write_groups(*groups));
            let head = [PIECE.as_bytes(), number.as_bytes(), number.as_bytes(), groups.as_bytes()];
            let all = head.into_iter().chain(words.iter().copied());
            Call::piece(slot, Command::from_args(all.collect::<Vec<_>>()))
        };
        self.asked.iter().map(piece).collect()
    }

    /// Whoever works on one of the pieces under way is to end that.
    pub(crate) fn cancel(&self, words: &[&[u8]]) -> Vec<Call> {
        self.pieces(words)
    }

    /// Takes the replies to the pieces. Returns further pieces, if something is missing, or the
    /// answers of all partitions.
    pub(crate) fn take(&mut self, replies: &[Bytes], words: &[&[u8]]) -> Result<Progress, String> {
        let mut missing = Vec::new();
        for (asked, reply) in std::mem::take(&mut self.asked).into_iter().zip(replies) {
            // Only those come here whose query goes on without.
            if reply.starts_with(OUT_OF_TIME) {
                self.is_partial = true;
                continue;
            }
            let (groups, body, in_part) = read(reply).ok_or(UNREADABLE)?;
            self.is_partial |= in_part;
            if !groups.without(asked).is_empty() {
                return Err(UNREADABLE.into());
            }
            if groups.is_empty() {
                return Err(MOVING.into());
            }
            self.answers.push(body);
            let rest = asked.without(groups);
            missing.extend((!rest.is_empty()).then_some(rest));
        }
        if missing.is_empty() {
            return Ok(Progress::Whole(std::mem::take(&mut self.answers)));
        }
        self.asked = missing;
        Ok(Progress::More(self.pieces(words)))
    }
}

const UNREADABLE: &str = "ERR another node answers in a way that this one does not know";

const MOVING: &str = "TRYAGAIN slots move between nodes, and whoever was asked does not serve some of \
     them; nothing was answered in part";

/// How far a question has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// These pieces are to be asked.
    More(Vec<Call>),
    /// What all partitions say.
    Whole(Vec<Bytes>),
}

/// What a shard says, for which groups, and whether it is a part.
fn read(reply: &Bytes) -> Option<(Groups, Bytes, bool)> {
    let (value, _) = Value::decode(reply).ok()??;
    let Value::Array(values) = value else { return None };
    let mut values = values.into_iter();
    match (values.next()?, values.next()?, values.next()) {
        (Value::Bulk(groups), Value::Bulk(body), part) => {
            Some((read_groups(&groups)?, body, part.is_some()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::resp::ReplyWriter;

    use super::*;

    /// Kind, index, stamp and statistics.
    const WORDS: [&[u8]; 4] = [b"SEARCH", b"index", b"0", b""];

    fn reply(groups: Groups, body: &str) -> Bytes {
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, false);
        writer.array(2);
        writer.text(&write_groups(groups));
        writer.text(body);
        out.into()
    }

    fn asked(pieces: &[Call]) -> Vec<Groups> {
        pieces.iter().filter_map(|piece| read_groups(piece.command().arg(3))).collect()
    }

    /// Two sets of replicas.
    fn coverage() -> Coverage {
        let halves = [Groups::from_bits(u64::MAX >> 32), Groups::from_bits(u64::MAX << 32)];
        let (asked, answers) = (Vec::new(), Vec::new());
        Coverage { sets: halves.to_vec(), asked, answers, is_partial: false }
    }

    #[test]
    fn whoever_has_more_shards_is_asked_until_every_group_has_counted_once() {
        let mut coverage = coverage();
        let mut pieces = coverage.ask(&WORDS);
        let mut counted = Groups::NONE;
        let mut rounds = 0;
        loop {
            rounds += 1;
            let replies: Vec<Bytes> = asked(&pieces)
                .into_iter()
                .map(|groups| {
                    let first = groups.iter().next().expect("some") % 3;
                    let own: Groups = groups.iter().filter(|group| group % 3 == first).collect();
                    assert!(counted.intersection(own).is_empty(), "once");
                    counted = counted.union(own);
                    reply(own, "")
                })
                .collect();
            match coverage.take(&replies, &WORDS).expect("goes on") {
                Progress::More(more) => pieces = more,
                Progress::Whole(answers) => {
                    assert_eq!((answers.len(), rounds), (6, 3));
                    break;
                }
            }
        }
        assert_eq!(counted, Groups::ALL);
    }

    #[test]
    fn nothing_is_answered_in_part_or_for_what_nobody_has_asked() {
        let half = Groups::from_bits(u64::MAX >> 32);
        for (groups, expected) in [(Groups::NONE, "TRYAGAIN"), (Groups::ALL, "ERR")] {
            let mut coverage = coverage();
            coverage.ask(&WORDS);
            let replies = [reply(half, ""), reply(groups, "")];
            let error = coverage.take(&replies, &WORDS).expect_err("refused");
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
