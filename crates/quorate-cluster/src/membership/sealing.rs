//! How a list becomes final. The rules and why they are safe stand in the [module above](super).

use alloc::{boxed::Box, collections::BTreeSet};

use quorate_proto::{
    NodeId, Numbers,
    message::{Message, View},
};

use super::{
    Event, Membership, Output, Persisted, Standing, Target, admission::same_list, succession,
};
use crate::{
    limits::{EXCHANGE_INTERVAL, SEAL_RETRY_MAX, SEAL_RETRY_MIN},
    time::Instant,
    topology,
};

impl Membership {
    /// Continues where this node was before it restarted.
    pub(super) fn restore(&mut self, now: Instant, persisted: Persisted) {
        let Persisted { view, voting, .. } = persisted;
        let me = self.me();
        self.decided = succession::Decided::of(&view);
        self.config.replication_factor = view.replication_factor.clone();
        // What the list says that was promised or sealed counts more than a setting.
        if let Some(mine) = view.members.iter().find(|member| member.id == me) {
            self.config.member.duties = mine.duties;
            self.members.insert(me, self.config.member.clone());
        }
        let moved = view.members.iter().any(|m| m.id == me && *m != self.config.member);
        for member in view.members {
            if member.id != me {
                self.dialer.set_target(now, Target::Member(member.id), &member.peer_address);
                self.members.insert(member.id, member);
            }
        }
        self.numbers = view.numbers;
        if view.sealed {
            self.standing = Standing::Sealed;
            self.outputs.push_back(Output::Sealed);
            self.begin_voting(now, voting);
            self.count_seeds();
        } else {
            self.standing = Standing::Promised;
            self.seal_wanted = true;
            self.votes = BTreeSet::from([me]);
            self.seal_at = Some(now + SEAL_RETRY_MIN);
        }
        if moved {
            self.persist();
        }
    }

    /// Promises the list when a seal is wanted and nothing speaks against it.
    pub(super) fn promise_if_possible(&mut self, now: Instant) {
        // Somebody has to hold the data.
        let has_holder = self.members.values().any(|member| member.duties.holds_data());
        let founds_nothing = self.is_rejoining() || self.config.joins || !has_holder;
        if self.standing != Standing::Forming || !self.seal_wanted || founds_nothing {
            return;
        }
        if !self.seeds_are_settled() {
            // Seeds that are met call this again.
            return;
        }
        self.standing = Standing::Promised;
        self.promise(now);
    }

    /// Writes down the promise to the list as it is, and asks the others for theirs.
    fn promise(&mut self, now: Instant) {
        self.votes = BTreeSet::from([self.me()]);
        self.seal_pause = SEAL_RETRY_MIN;
        self.persist();
        let members = self.members.len();
        self.outputs.push_back(Output::Event(Event::Promising { members }));
        self.continue_seal(now);
    }

    /// The list that was promised turned out to be wrong about a member's place.
    pub(super) fn retract_votes(&mut self, now: Instant) {
        if self.standing == Standing::Promised {
            self.votes = BTreeSet::from([self.me()]);
            self.seal_pause = SEAL_RETRY_MIN;
            self.seal_at = Some(now);
        }
    }

    /// Asks for the promises that are missing, or seals when none is.
    pub(super) fn continue_seal(&mut self, now: Instant) {
        if self.standing != Standing::Promised {
            return;
        }
        if self.votes.len() == self.members.len() {
            return self.become_sealed(now);
        }
        for (&link, member) in &self.outgoing {
            if self.members.contains_key(&member.id) && !self.votes.contains(&member.id) {
                let message = Message::Seal(Box::new(self.view()));
                self.outputs.push_back(Output::Send { link, message });
            }
        }
        self.seal_at = Some(now + self.random.jittered(self.seal_pause));
        self.seal_pause = (self.seal_pause * 2).min(SEAL_RETRY_MAX);
    }

    /// Answers whether this node promises the list that `from` has promised.
    pub(super) fn vote(&mut self, now: Instant, from: NodeId, view: &View) -> bool {
        if view.sealed || topology::check(view).is_err() {
            self.merge(now, from, view);
            return same_list(&self.members, view) && self.standing >= Standing::Promised;
        }
        let names_me = view.members.iter().any(|member| member.id == self.me());
        match self.standing {
            Standing::Sealed => {}
            Standing::Forming if names_me => {
                self.seal_wanted = true;
                self.merge(now, from, view);
                self.promise_if_possible(now);
            }
            Standing::Forming => {}
            Standing::Promised => self.give_up_promise(now, from, view),
        }
        self.standing >= Standing::Promised && same_list(&self.members, view)
    }

    /// Promises a larger list when the promise of `from` proves that this node's list can never be
    /// sealed.
    fn give_up_promise(&mut self, now: Instant, from: NodeId, theirs: &View) {
        let is_member = self.members.contains_key(&from);
        let is_part = theirs.members.iter().all(|member| self.members.contains_key(&member.id));
        if !is_member || is_part {
            return;
        }
        match self.union(&theirs.members) {
            Ok(union) => {
                // The promise is written down before anything that `grow` sends goes out.
                let sent = self.outputs.len();
                self.grow(now, union);
                let tail = self.outputs.split_off(sent);
                self.promise(now);
                self.outputs.extend(tail);
            }
            Err(reason) => self.outputs.push_back(Output::Event(Event::Conflict(reason))),
        }
    }

    /// Counts the answer of `from` to a request for its promise.
    pub(super) fn count_vote(&mut self, now: Instant, from: NodeId, accepted: bool, view: &View) {
        self.merge(now, from, view);
        let counts = accepted
            && self.standing == Standing::Promised
            && self.members.contains_key(&from)
            && same_list(&self.members, view);
        if counts && self.votes.insert(from) && self.votes.len() == self.members.len() {
            self.become_sealed(now);
        }
    }

    /// The list is final.
    pub(super) fn become_sealed(&mut self, now: Instant) {
        self.standing = Standing::Sealed;
        if self.numbers.is_empty() {
            let ids = self.members.keys().copied();
            self.numbers = Numbers::of_first(ids).expect("invariant: a list is smaller than that");
        }
        self.seal_at = None;
        self.begin_voting(now, None);
        self.persist();
        self.publish();
        self.outputs.push_back(Output::Sealed);
        if self.members.len() == 1 {
            self.outputs.push_back(Output::Event(Event::FoundedAlone));
        }
        self.count_seeds();
        self.tell_everybody();
        self.exchange_at = Some(now + EXCHANGE_INTERVAL);
    }
}
