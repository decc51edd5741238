//! When nodes without data may found a cluster.
//!
//! A node without data cannot tell whether it is new, or was a member and has lost everything. The
//! seeds that it was given are its only hint of what there is, so it founds nothing, promises no
//! list and answers for nothing before every one of them has told who it is. That one does not
//! answer proves nothing, however long it lasts and in whatever way: a member that is stopped, with
//! all the data, refuses connections as an address does that nobody has. Whoever knows that a seed
//! is gone for good says so by starting the nodes without it.
//!
//! Every member promises the list by its own seeds, so that one of them names a node is enough for
//! all to wait for it. Whom no seed names nobody waits for: the seeds of each node are to name all
//! others.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use quorate_proto::{message::Member, mutant::Mutant};

use super::{Config, Event, Membership, Output, Standing};
use crate::time::Instant;

/// What became of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seed {
    /// It has not answered yet.
    Unmet,
    /// It refused this node for good.
    Refused,
    /// It is another member.
    Met,
    /// It is this node.
    Itself,
}

/// The seeds of a node that starts. Its own address needs no proof, which not every network would
/// let it have.
pub(super) fn seeds(config: &Config) -> BTreeMap<String, Seed> {
    let own = &config.member.peer_address;
    let seed = |address: &String| if address == own { Seed::Itself } else { Seed::Unmet };
    config.seeds.iter().map(|address| (address.clone(), seed(address))).collect()
}

impl Membership {
    /// Whether this node knows what data there is: it is a member of a list that is promised or
    /// sealed, or all of its seeds have told what they know. Until then it may have been a member
    /// that has lost everything, and must answer for nothing. A member that starts first gives the
    /// others [`VOUCH_PATIENCE`](crate::limits::VOUCH_PATIENCE) to say that its data directory is
    /// an old one, or a copy.
    pub fn is_founded(&self, now: Instant) -> bool {
        if Mutant::FoundedAtOnce.is_planted() {
            return true;
        }
        match self.standing {
            Standing::Forming => {
                !self.is_rejoining() && !self.config.joins && self.seeds_are_settled()
            }
            Standing::Promised | Standing::Sealed => {
                self.unvouched_until.is_none_or(|until| until <= now)
            }
        }
    }

    /// Whether all seeds have told what they know.
    pub(super) fn seeds_are_settled(&self) -> bool {
        let gives_up = Mutant::SeedsGivenUp.is_planted() && self.members.len() > 1;
        gives_up || self.open_seeds().next().is_none() && self.unnamed().is_empty()
    }

    /// What holds up the seal: members that have not promised yet, or seeds that nobody met; or the
    /// seat of this node: members that must grant it and are not linked.
    pub fn awaited(&self) -> Vec<String> {
        let show = |m: &Member| alloc::format!("{} ({})", m.name, m.peer_address);
        if self.is_rejoining() {
            return self.missing_voters().into_iter().map(show).collect();
        }
        match self.standing {
            Standing::Sealed => Vec::new(),
            Standing::Promised => {
                let missing = self.members.values().filter(|m| !self.votes.contains(&m.id));
                missing.map(show).collect()
            }
            Standing::Forming if self.config.joins => alloc::vec![alloc::format!(
                "being taken in (quorate join {})",
                self.config.member.name
            )],
            Standing::Forming => self.open_seeds().cloned().chain(self.unnamed()).collect(),
        }
    }

    /// Tells the operator when the seeds cannot lead to all members of the list, which is final.
    pub(super) fn count_seeds(&mut self) {
        let members = self.members.len();
        let seeds = self.seeds.values().filter(|seed| **seed != Seed::Itself).count();
        if seeds + 1 < members {
            self.outputs.push_back(Output::Event(Event::FewSeeds { members, seeds }));
        }
    }

    fn open_seeds(&self) -> impl Iterator<Item = &String> {
        let is_open = |seed: &Seed| matches!(seed, Seed::Unmet | Seed::Refused);
        self.seeds.iter().filter(move |(_, seed)| is_open(seed)).map(|(address, _)| address)
    }
}
