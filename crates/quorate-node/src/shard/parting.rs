//! Links of members that have left.
//!
//! When a member leaves, others may still wait for answers of it, and it for theirs: it goes on for a
//! moment, as it has not heard yet that it has left. So links stay as they are until nobody waits for
//! anything on them, but not longer than [`PARTING_PATIENCE`]. Nothing new is sent to a former member. What
//! it sends is served as long as its epoch is one that is accepted.

use quorate_cluster::{limits::PARTING_PATIENCE, membership::LinkId, time::Instant};
use quorate_proto::{Incarnation, MemberNumber, NodeId, frame::Frame, message::Member};

use super::{Now, Shard, correlation::Machine, peers::PeerLink};

/// Members that have left a moment ago.
#[derive(Debug, Default)]
pub(super) struct Parting {
    members: Vec<Former>,
}

#[derive(Debug)]
struct Former {
    number: MemberNumber,
    id: NodeId,
    incarnation: Incarnation,
    /// The link to it, if there is one.
    link: Option<PeerLink>,
    until: Instant,
}

impl Parting {
    /// A member has left, to which this link stands.
    pub(super) fn handle_left(
        &mut self,
        now: Instant,
        number: MemberNumber,
        member: &Member,
        link: Option<PeerLink>,
    ) {
        let (id, incarnation) = (member.id, member.incarnation);
        let until = now + PARTING_PATIENCE;
        self.members.push(Former { number, id, incarnation, link, until });
    }

    /// The number that a process had which has left a moment ago.
    pub(super) fn number_of(&self, id: NodeId, incarnation: Incarnation) -> Option<MemberNumber> {
        let is_it = |found: &&Former| found.id == id && found.incarnation == incarnation;
        self.members.iter().find(is_it).map(|found| found.number)
    }

    /// Whether a link is one to a former member.
    pub(super) fn is_to(&self, link: LinkId) -> bool {
        self.links().any(|found| found.link == link)
    }

    /// A link is closed. Returns to whom it was, if that is a former member.
    pub(super) fn end(&mut self, link: LinkId) -> Option<MemberNumber> {
        let is_it = |found: &&mut Former| found.link.as_ref().is_some_and(|it| it.link == link);
        let found = self.members.iter_mut().find(is_it)?;
        found.link = None;
        Some(found.number)
    }

    fn links(&self) -> impl Iterator<Item = &PeerLink> {
        self.members.iter().filter_map(|found| found.link.as_ref())
    }

    /// The links on which something may still be sent that was said before.
    pub(super) fn links_mut(&mut self) -> impl Iterator<Item = &mut PeerLink> {
        self.members.iter_mut().filter_map(|found| found.link.as_mut())
    }
}

impl Shard {
    /// A former member answers.
    pub(super) fn take_last_words(&mut self, now: Now, frame: Frame) {
        if let Some((Machine::Coordinator, correlation)) = Machine::of(frame.correlation) {
            let (coordinator, storage) = (&mut self.coordinator, &mut self.storage);
            coordinator.handle_response(now.monotonic, storage, correlation, frame.message);
        }
    }

    /// Closes links of former members that nobody waits for any more, and forgets those whose time is
    /// over.
    pub(super) fn end_parting(&mut self, now: Now) {
        let Self { peers, coordinator, storage, .. } = self;
        for former in &mut peers.parting.members {
            let is_over = former.until <= now.monotonic;
            if let Some(link) = former.link.as_ref()
                && link.output.is_empty()
                && (is_over || !coordinator.awaits(former.number))
            {
                peers.dialer.end(link.link);
                former.link = None;
                coordinator.handle_parted(now.monotonic, storage, former.number);
            }
        }
        peers
            .parting
            .members
            .retain(|former| former.until > now.monotonic || former.link.is_some());
    }
}
