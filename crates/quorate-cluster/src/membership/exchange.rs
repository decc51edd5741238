//! How nodes meet and what they learn of each other.

use alloc::{boxed::Box, collections::BTreeMap, string::ToString, vec::Vec};

use quorate_proto::{
    NodeId,
    message::{Hello, Member, Message, RefusalCode, Refused, View},
};

use super::{
    Event, LinkId, Membership, Output, Refusal, Seed, Standing, Target, admission,
    admission::{same_ids, same_place},
    rejoining::Alive,
    succession::Decided,
};
use crate::{
    limits::{EXCHANGE_INTERVAL, SILENCE_MAX, VOUCH_PATIENCE},
    time::Instant,
    topology,
};

impl Membership {
    /// Whether a peer that introduces itself may link to this node.
    pub(super) fn admit(&mut self, now: Instant, hello: &Hello) -> Result<(), Refusal> {
        admission::check_settings(&self.config, self.decided.is_some(), hello)?;
        let is_in = |view: &View| view.members.iter().any(|member| member.id == self.me());
        if self.is_candidate() && hello.view.sealed && !is_in(&hello.view) {
            return Err(Refusal::Waits { name: self.config.member.name.clone() });
        }
        admission::check_standing(self.standing, self.me(), self.epoch(), &self.members, hello)?;
        self.check_elsewhere(now, &hello.member)?;
        if self.standing != Standing::Sealed && !hello.view.sealed && !self.is_rejoining() {
            let mut described = self.members.clone();
            described.insert(hello.member.id, hello.member.clone());
            let forming = self.standing == Standing::Forming;
            self.check_union(described, if forming { &hello.view.members } else { &[] })?;
        }
        Ok(())
    }

    /// Whether the peer is the only one that says that it is this member: where this node has a
    /// link to another place, that one is asked, and gives way only when it does not answer.
    fn check_elsewhere(&mut self, now: Instant, peer: &Member) -> Result<(), Refusal> {
        let mut links = self.incoming.values().chain(self.outgoing.values());
        let elsewhere =
            |other: &&Member| other.id == peer.id && other.peer_address != peer.peer_address;
        let Some(other) = links.find(elsewhere).cloned() else { return Ok(()) };
        match self.probe_member(now, peer.id) {
            Alive::Yes => Err(Refusal::copy(&other)),
            Alive::Unknown => {
                Err(Refusal::MayBeAlive { name: other.name, address: other.peer_address })
            }
            Alive::No => Ok(()),
        }
    }

    /// Whether a peer is the process whose data directory this node's is a copy of.
    pub(super) fn is_copy_of(&self, peer: &Member) -> bool {
        peer.id == self.me() && self.config.lineage.contains(&peer.incarnation.start)
    }

    /// Learns from a peer that was admitted.
    pub(super) fn absorb(&mut self, now: Instant, hello: &Hello) {
        let peer = &hello.member;
        if self.members.contains_key(&peer.id) {
            self.unvouched_until = None;
        }
        let forming = self.standing == Standing::Forming && !self.is_rejoining();
        if forming || self.members.contains_key(&peer.id) {
            self.describe(now, peer);
        }
        self.merge(now, peer.id, &hello.view);
        self.promise_if_possible(now);
    }

    /// Takes over what a member says of itself; nobody knows better. What it is to take on says the
    /// list, once it is final.
    fn describe(&mut self, now: Instant, peer: &Member) {
        let decided = self.members.get(&peer.id).filter(|_| self.standing == Standing::Sealed);
        let duties = decided.map_or(peer.duties, |decided| decided.duties);
        let peer = &Member { duties, ..peer.clone() };
        self.dialer.set_target(now, Target::Member(peer.id), &peer.peer_address);
        if let Some(seed) = self.seeds.get_mut(&peer.peer_address) {
            *seed = Seed::Met;
            self.dialer.give_up(&Target::Seed(peer.peer_address.clone()));
        }
        let before = self.members.insert(peer.id, peer.clone());
        let event = match before {
            Some(before) if before == *peer => return,
            Some(before) => {
                if !same_place(&before, peer) || before.duties != peer.duties {
                    // It has never promised a list with its old place: a promise pins it down.
                    self.retract_votes(now);
                }
                // That a member was started again is seen by its links.
                let moved = Member { incarnation: peer.incarnation, ..before } != *peer;
                moved.then(|| Event::Changed { member: peer.clone() })
            }
            None => Some(Event::Joined { member: peer.clone() }),
        };
        self.outputs.extend(event.map(Output::Event));
        self.register();
        self.publish();
        self.tell_everybody();
    }

    /// Learns from the list of a peer.
    pub(super) fn merge(&mut self, now: Instant, from: NodeId, view: &View) {
        let checked = topology::check(view).map_err(Refusal::from);
        let checked = checked.and_then(|()| admission::check_partitioner(&self.config, view));
        if let Err(reason) = checked {
            self.outputs.push_back(Output::Event(Event::Conflict(reason)));
            return;
        }
        if self.meet_cluster(now, view) {
            return;
        }
        if view.sealed {
            self.take_sealed(now, from, view);
            self.learn_incarnations(view);
        } else if self.standing == Standing::Forming && !self.is_rejoining() {
            match self.union(&view.members) {
                Ok(union) => self.grow(now, union),
                Err(reason) => self.outputs.push_back(Output::Event(Event::Conflict(reason))),
            }
        }
        for member in view.members.iter().filter(|member| self.members.contains_key(&member.id)) {
            self.dialer.suggest(&Target::Member(member.id), &member.peer_address);
        }
    }

    /// Learns from a sealed list who was replaced, perhaps this node itself. Which starts a life
    /// has had is learned from the member alone, which tells its lineage: what others have met may
    /// be a copy.
    fn learn_incarnations(&mut self, view: &View) {
        let me = self.me();
        let mut changed = false;
        for theirs in &view.members {
            let Some(ours) = self.members.get_mut(&theirs.id) else { continue };
            if self.standing != Standing::Sealed {
                continue;
            }
            let (told, known) = (theirs.incarnation, ours.incarnation);
            // Who was asked about another seat meanwhile may have counted this life as nobody's.
            let is_known = told.is_nobodys()
                || told.start == known.start
                || self.config.lineage.contains(&told.start);
            let is_later = told.life > known.life;
            if theirs.id == me && (is_later || told.life == known.life && !is_known) {
                let text = Refusal::fenced(ours, told).to_string();
                return self.outputs.push_back(Output::Event(Event::Fenced { text }));
            }
            if is_later {
                ours.incarnation = told;
                changed = true;
            }
        }
        if changed {
            self.register();
            self.publish();
        }
    }

    /// This node's list together with `others`, when that is a possible list. Of members known
    /// already, this node's description stays.
    pub(super) fn union(&self, others: &[Member]) -> Result<BTreeMap<NodeId, Member>, Refusal> {
        self.check_union(self.members.clone(), others)
    }

    fn check_union(
        &self,
        mut union: BTreeMap<NodeId, Member>,
        others: &[Member],
    ) -> Result<BTreeMap<NodeId, Member>, Refusal> {
        for other in others {
            if !union.contains_key(&other.id) {
                admission::check_names(&union, core::slice::from_ref(other))?;
                union.insert(other.id, other.clone());
            }
        }
        let members: Vec<Member> = union.values().cloned().collect();
        let replication_factor = self.config.replication_factor.clone();
        let partitioner = self.config.partitioner.clone();
        topology::check(&View { partitioner, replication_factor, members, ..View::default() })?;
        Ok(union)
    }

    /// Replaces the list by a larger one.
    pub(super) fn grow(&mut self, now: Instant, union: BTreeMap<NodeId, Member>) {
        if union.len() == self.members.len() {
            return;
        }
        for (id, member) in &union {
            if !self.members.contains_key(id) {
                self.dialer.set_target(now, Target::Member(*id), &member.peer_address);
                let event = Event::Joined { member: member.clone() };
                self.outputs.push_back(Output::Event(event));
            }
        }
        self.members = union;
        self.publish();
        self.tell_everybody();
    }

    /// Takes over a list that a peer knows to be sealed.
    fn take_sealed(&mut self, now: Instant, from: NodeId, view: &View) {
        if self.standing == Standing::Sealed {
            return self.take_successor(now, from, view);
        }
        let mine = view.members.iter().find(|member| member.id == self.me());
        let fits = mine.is_some_and(|mine| same_place(mine, &self.config.member))
            && (self.config.joins
                || Decided::of(view).is_some()
                || view.replication_factor == self.config.replication_factor)
            // What this node promised is never given up for a list without a promise of its own.
            && (self.standing == Standing::Forming
                || same_ids(&self.members, view)
                || admission::succeeds_promise(self.me(), view));
        if !fits {
            let members = view.members.len();
            let reason = Refusal::AlreadySealed { members };
            self.outputs.push_back(Output::Event(Event::Conflict(reason)));
            return;
        }
        self.config.replication_factor = view.replication_factor.clone();
        self.replace_list(now, view);
        self.told.insert(from);
        self.become_sealed(now);
    }

    /// The members are those of `view`, as this node knows them where it has met them.
    pub(super) fn replace_list(&mut self, now: Instant, view: &View) {
        let sealed = view.members.iter().map(|theirs| {
            let ours = self.members.get(&theirs.id).filter(|ours| same_place(ours, theirs));
            (theirs.id, Member { duties: theirs.duties, ..ours.unwrap_or(theirs).clone() })
        });
        self.members = sealed.collect();
        if let Some(me) = self.members.get(&self.config.member.id) {
            self.config.member.duties = me.duties;
        }
        self.numbers = view.numbers.clone();
        self.decided = Decided::of(view);
        for (id, member) in &self.members {
            if *id != self.config.member.id {
                self.dialer.set_target(now, Target::Member(*id), &member.peer_address);
            }
        }
        self.part_from_others();
    }

    /// Closes the links to everybody who is not a member. They dial again, and are told why not.
    fn part_from_others(&mut self) {
        let members = &self.members;
        self.dialer.retain_members(|id| members.contains_key(&id));
        let outputs = &mut self.outputs;
        self.incoming.retain(|&link, peer| {
            let stays = members.contains_key(&peer.id);
            if !stays {
                outputs.push_back(Output::CloseIncoming { link });
            }
            stays
        });
    }

    /// A peer accepted an outgoing link of this node.
    pub(super) fn handle_welcome(&mut self, now: Instant, link: LinkId, hello: &Hello) {
        let Some(target) = self.dialer.target(link).cloned() else {
            return;
        };
        if admission::check_settings(&self.config, self.decided.is_some(), hello).is_ok()
            && self.meet_cluster(now, &hello.view)
        {
            return self.meet_voter(now, link, hello);
        }
        let expected = match &target {
            Target::Member(id) => *id == hello.member.id,
            Target::Seed(_) => true,
        };
        // Another node answers where a member used to be: that is not the one to talk to.
        let admitted = if expected { self.admit(now, hello) } else { Err(Refusal::Malformed) };
        if let Err(reason) = admitted {
            self.dialer.hang_up(now, link);
            if expected {
                self.report_refusal(hello, reason);
            }
            return;
        }
        let usable = match target {
            Target::Member(_) => {
                self.dialer.handle_welcomed(link);
                true
            }
            Target::Seed(address) => {
                self.seeds.insert(address, Seed::Met);
                self.dialer.handle_identified(now, link, hello.member.id)
            }
        };
        if usable {
            self.outgoing.insert(link, hello.member.clone());
        }
        self.absorb(now, hello);
        if usable {
            self.catch_up(link, &hello.view);
        }
    }

    /// Sends on a fresh link what the peer's list shows it to have missed.
    fn catch_up(&mut self, link: LinkId, theirs: &View) {
        if self.standing == Standing::Promised && !theirs.sealed {
            let message = Message::Seal(Box::new(self.view()));
            self.outputs.push_back(Output::Send { link, message });
        } else if *theirs != self.view() {
            let message = Message::Members(Box::new(self.view()));
            self.outputs.push_back(Output::Send { link, message });
        }
    }

    /// A peer refused an outgoing link of this node.
    pub(super) fn handle_refused(
        &mut self,
        now: Instant,
        link: LinkId,
        Refused { code, text }: Refused,
    ) {
        let Some(target) = self.dialer.target(link).cloned() else {
            return;
        };
        self.outgoing.remove(&link);
        if let Target::Seed(address) = &target
            && code == RefusalCode::Itself
        {
            self.seeds.insert(address.clone(), Seed::Itself);
            self.dialer.give_up(&target);
            self.promise_if_possible(now);
            return;
        }
        self.dialer.hang_up(now, link);
        let transient = code.passes();
        if code == RefusalCode::Unsure {
            // The answer takes as long as the other one may be silent.
            let known_by = now + SILENCE_MAX + VOUCH_PATIENCE;
            self.unvouched_until = self.unvouched_until.map(|_| known_by);
        }
        if let Target::Seed(address) = &target
            && !transient
        {
            self.seeds.insert(address.clone(), Seed::Refused);
        }
        self.outputs.push_back(Output::Event(if code == RefusalCode::Fenced {
            Event::Fenced { text }
        } else {
            Event::RefusedBy { target, text, transient }
        }));
    }

    /// Sends the list to every linked member.
    pub(super) fn tell_everybody(&mut self) {
        let links: Vec<LinkId> = self.outgoing.keys().copied().collect();
        for link in links {
            let message = Message::Members(Box::new(self.view()));
            self.outputs.push_back(Output::Send { link, message });
        }
    }

    /// A shard of this node answers late, because its turn takes long: tells every linked member.
    pub fn tell_of_work(&mut self) {
        let send = |&link| Output::Send { link, message: Message::AtWork };
        self.outputs.extend(self.outgoing.keys().map(send));
    }

    /// Sends the list to those who may have missed it. Goes on for as long as there may be any.
    pub(super) fn exchange(&mut self, now: Instant) {
        self.exchange_at = Some(now + EXCHANGE_INTERVAL);
        if self.standing != Standing::Sealed {
            self.tell_everybody();
            return;
        }
        let untold = |id: &NodeId| !self.told.contains(id);
        let links: Vec<LinkId> =
            self.outgoing.iter().filter(|(_, m)| untold(&m.id)).map(|(&link, _)| link).collect();
        for link in links {
            let message = Message::Members(Box::new(self.view()));
            self.outputs.push_back(Output::Send { link, message });
        }
        let me = self.me();
        if self.members.keys().all(|id| *id == me || self.told.contains(id)) {
            self.exchange_at = None;
        }
    }
}
