//! Lists that are decided on once the first one is final.
//!
//! Whoever decides (the topology register) hands a list to one member, which hands it on; all
//! others take it from whoever has it. A list replaces the one before as a whole when its epoch is
//! higher: nothing is united. Of a member that both lists have, this node keeps what the member has
//! said of itself, since a list is made of hearsay.
//!
//! ```text
//!   decided --[adopt]--> written down --> told to the shards, to linked members
//!   Hello, Welcome, Members of a peer with a higher epoch ----^
//! ```
//! A node that is not in the newer list has left: it says so and stops. One of another cluster is
//! told apart by its members: a successor has this node, or the peer that tells of it is in this
//! node's list.

use alloc::{boxed::Box, collections::BTreeMap};

use quorate_proto::{
    NodeId,
    message::{Member, Message, View},
    ownership::Ownership,
};

use super::{
    Event, Membership, Output, Refusal, Standing,
    admission::{same_ids, same_place},
};
use crate::{
    limits::EXCHANGE_INTERVAL,
    time::Instant,
    topology::{self, TopologyError},
};

/// What a list has that was decided on after the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) epoch: u64,
    pub(super) ownership: Option<Box<Ownership>>,
}

impl Decided {
    /// Of a list; `None` of a first one.
    pub(super) fn of(view: &View) -> Option<Self> {
        let is_first = view.ownership.is_none() && view.epoch == view.members.len() as u64;
        let ownership = || view.ownership.clone();
        (view.sealed && !is_first).then(|| Self { epoch: view.epoch, ownership: ownership() })
    }
}

/// What has become of a list that was handed to [`Membership::adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It is this node's list now.
    Adopted,
    /// This node has it, or a newer one.
    Known,
    /// This node is not in it, so it has left the cluster and must stop.
    Left,
}

/// A list that cannot follow this node's. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitSuccessor {
    /// The node has no final list, which another one could follow.
    #[error("the member list of this node is not final")]
    NotFinal,
    /// The list is not final itself.
    #[error("the member list of epoch {0} is not final")]
    NotDecided(u64),
    /// The list moves a member.
    #[error("node {0} is in another datacentre or rack than before")]
    Relocated(NodeId),
    /// It is no possible list.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

impl Membership {
    /// A list was decided on: it replaces this node's as a whole when its epoch is higher. It is
    /// written down ([`Output::Persist`]) before anybody hears of it from here, and told to the
    /// shards ([`Output::Topology`]) and to all linked members.
    pub fn adopt(&mut self, now: Instant, view: &View) -> Result<Adoption, UnfitSuccessor> {
        if self.standing != Standing::Sealed {
            return Err(UnfitSuccessor::NotFinal);
        }
        if !view.sealed {
            return Err(UnfitSuccessor::NotDecided(view.epoch));
        }
        topology::check(view)?;
        if view.epoch <= self.epoch() {
            return Ok(Adoption::Known);
        }
        let Some(_) = view.members.iter().find(|member| member.id == self.me()) else {
            self.outputs.push_back(Output::Event(Event::Left { epoch: view.epoch }));
            return Ok(Adoption::Left);
        };
        if let Some(moved) = relocated(&self.members, view) {
            return Err(UnfitSuccessor::Relocated(moved));
        }
        self.config.replication_factor = view.replication_factor.clone();
        self.replace_list(now, view);
        self.persist();
        let (epoch, members) = (view.epoch, view.members.len());
        self.outputs.push_back(Output::Event(Event::Adopted { epoch, members }));
        self.publish();
        self.told.clear();
        self.tell_everybody();
        self.exchange_at = Some(now + EXCHANGE_INTERVAL);
        self.drain_dialer(now);
        Ok(Adoption::Adopted)
    }

    /// Asks every linked member how far it has come with slots that are on their way.
    pub fn ask_progress(&mut self) {
        let send = |&link| Output::Send { link, message: Message::AskProgress };
        self.outputs.extend(self.outgoing.keys().map(send));
    }

    /// A peer tells of a final list, and this node has one.
    pub(super) fn take_successor(&mut self, now: Instant, from: NodeId, view: &View) {
        if view.epoch > self.epoch() {
            let is_ours = self.members.contains_key(&from)
                || view.members.iter().any(|member| member.id == self.me());
            let adopted = is_ours.then(|| self.adopt(now, view));
            if let Some(Err(UnfitSuccessor::Topology(error))) = adopted {
                self.outputs.push_back(Output::Event(Event::Conflict(Refusal::from(error))));
            }
        }
        if view.epoch == self.epoch() && same_ids(&self.members, view) {
            self.told.insert(from);
        }
    }
}

/// A member that a list has elsewhere than the one before: no place ever changes.
fn relocated(members: &BTreeMap<NodeId, Member>, view: &View) -> Option<NodeId> {
    let moved =
        |theirs: &&Member| members.get(&theirs.id).is_some_and(|ours| !same_place(ours, theirs));
    view.members.iter().find(moved).map(|member| member.id)
}
