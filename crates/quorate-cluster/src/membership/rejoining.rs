//! A member that has lost everything, its identity too, takes its seat in a sealed list again.
//!
//! It starts like a node that was never there: with a new id, and nothing but its settings. From
//! the first member that it meets it learns the sealed list, and that one of the seats has its
//! name, its address and its place. It claims that seat from all others:
//!
//! ```text
//!  claimant  --hello-->  every other member         meets them, learns the lives they know
//!            --claim (life + 1, its own start)-->   refused while the member is alive
//!            <--granted-- from all of them          each writes the new incarnation down first
//!  member    writes down who it is now, and introduces itself anew
//! ```
//!
//! **No origin is used twice**: every process draws a start of its own ([`Start`](quorate_proto::Start)),
//! the claimant's too.
//!
//! **A life is granted by all.** Nobody takes anything from a node before it has written down the
//! incarnation that the node introduced itself with (data links wait for that,
//! [`check_data_link`](super::check_data_link)), so whoever may hold something of the member's past
//! has met it, and all of them are asked to count that past as over: a majority might miss one that
//! only met the member while it was cut off from the rest. To wait for all costs little, because
//! the member counts in no read before it has compared its data with all of them anyway. A member
//! that has lost everything itself knows nothing, but holds nothing either: it need not be asked.
//! Those who grant the seat write down that its life is over, too, so that its old disk cannot come
//! back with what nobody knows of.
//!
//! **A seat is taken by one node.** Each member grants a life to one claimant, and none that is not
//! above the one before. So of two claimants only one can have the grants of all members to the
//! same one; the other one is refused while that one lives.
//!
//! **Whoever is replaced is fenced.** A member that granted or heard of a later life refuses every
//! earlier one, on every link, with the reason; and a node that hears of a later life of itself
//! stops. Within a life, a member that has met another start than a process knows of refuses it in
//! the same way. That holds for a process that stood still meanwhile, for a disk that comes back,
//! and for a data directory that was copied back, however many starts ago it was copied.
//!
//! **The living are not replaced.** A claim is refused for good when the member answers on a link. A
//! link that stands proves nothing when its other end has lost power: it is asked, and given up
//! after [`SILENCE_MAX`].

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    vec::Vec,
};

use quorate_proto::{
    Incarnation, NodeId, Numbers, ReplicationFactor,
    message::{Claim, EmptySeat, Hello, Member, Message, View},
    mutant::Mutant,
};

use super::{
    Event, LinkId, Membership, Output, Refusal, Seed, Standing, Target, admission,
    succession::Decided,
};
use crate::{
    limits::{EXCHANGE_INTERVAL, SEAL_RETRY_MAX, SEAL_RETRY_MIN, SILENCE_MAX},
    time::Instant,
};

/// What a claimant knows.
#[derive(Debug)]
pub(super) struct Rejoining {
    seat: NodeId,
    /// The sealed list, with the latest lives that anybody has told.
    list: BTreeMap<NodeId, Member>,
    numbers: Numbers,
    /// What was decided on since the list was sealed.
    decided: Option<Decided>,
    /// Replicas in each datacentre, by that list.
    replication_factor: ReplicationFactor,
    /// Nodes that have come in the places of members, with the life of the member that was known
    /// when they were met: a later one may be somebody else's.
    newcomers: BTreeMap<NodeId, u16>,
    /// What was asked for last.
    claim: Option<Claim>,
    /// Who has granted it.
    grants: BTreeSet<NodeId>,
    /// When to ask those who have not.
    ask_at: Instant,
}

impl Rejoining {
    /// Another list may be decided on while this node asks for its seat: it asks those of the newest.
    fn follow(&mut self, view: &View) {
        let epoch = self.decided.as_ref().map_or(self.list.len() as u64, |decided| decided.epoch);
        if view.epoch <= epoch {
            return;
        }
        let known = core::mem::take(&mut self.list);
        self.list = view.members.iter().map(|member| (member.id, member.clone())).collect();
        for (id, member) in &mut self.list {
            if let Some(known) = known.get(id) {
                raise(member, known.incarnation);
            }
        }
        self.numbers = view.numbers.clone();
        self.decided = Decided::of(view);
        self.replication_factor = view.replication_factor.clone();
    }
}

/// What a member knows of the seats of others.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// The claimant that was granted the present incarnation of a seat.
    granted: BTreeMap<NodeId, NodeId>,
    /// Members that are asked whether they are alive.
    probes: BTreeMap<NodeId, Probe>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    /// When its links are given up.
    until: Instant,
    heard: bool,
}

/// Whether a node with these settings is the one that a member was.
pub(super) fn has_seat(member: &Member, node: &Member) -> bool {
    member.name == node.name
        && member.peer_address == node.peer_address
        && admission::same_place(member, node)
}

fn raise(known: &mut Member, told: Incarnation) {
    if told.life > known.incarnation.life {
        known.incarnation = told;
    }
}

/// Remembers which life was known of a member when a node came in its place.
fn note_newcomers<'a>(rejoining: &mut Rejoining, linked: impl Iterator<Item = &'a Member>) {
    let Rejoining { list, newcomers, .. } = rejoining;
    let mut met = BTreeMap::new();
    for node in linked.filter(|node| !list.contains_key(&node.id)) {
        if let Some(member) = list.values().find(|member| has_seat(member, node)) {
            let life = newcomers.get(&node.id).copied().unwrap_or(member.incarnation.life);
            met.insert(node.id, life);
        }
    }
    *newcomers = met;
}

impl Membership {
    /// The member of a sealed list whose seat this node may take.
    pub(super) fn seat_in(&self, view: &View) -> Option<NodeId> {
        let is_new = self.standing == Standing::Forming && view.sealed;
        let has_seat = |member: &&Member| has_seat(member, &self.config.member);
        let is_member = view.members.iter().any(|member| member.id == self.me());
        view.members.iter().find(has_seat).filter(|_| is_new && !is_member).map(|seat| seat.id)
    }

    /// Whether this node claims a seat.
    pub fn is_rejoining(&self) -> bool {
        self.rejoining.is_some()
    }

    /// Learns from a sealed list that this node was a member. Returns whether it is about its seat.
    pub(super) fn meet_cluster(&mut self, now: Instant, view: &View) -> bool {
        let Some(seat) = self.seat_in(view) else { return false };
        if self.rejoining.as_ref().is_some_and(|rejoining| rejoining.seat != seat) {
            return false;
        }
        let is_first = self.rejoining.is_none();
        let rejoining = self.rejoining.get_or_insert_with(|| Rejoining {
            seat,
            list: view.members.iter().map(|member| (member.id, member.clone())).collect(),
            numbers: view.numbers.clone(),
            decided: Decided::of(view),
            replication_factor: view.replication_factor.clone(),
            newcomers: BTreeMap::new(),
            claim: None,
            grants: BTreeSet::new(),
            ask_at: now,
        });
        rejoining.follow(view);
        note_newcomers(rejoining, self.outgoing.values().chain(self.incoming.values()));
        for member in &view.members {
            if let Some(known) = rejoining.list.get_mut(&member.id) {
                raise(known, member.incarnation);
            }
        }
        for member in view.members.iter().filter(|member| member.id != seat) {
            self.dialer.set_target(now, Target::Member(member.id), &member.peer_address);
        }
        if is_first {
            // What would have become another cluster does not.
            self.members.retain(|id, _| *id == self.config.member.id);
            self.publish();
            self.outputs.push_back(Output::Event(Event::Rejoining { seat }));
        }
        true
    }

    /// A member of the sealed list has welcomed this node.
    pub(super) fn meet_voter(&mut self, now: Instant, link: LinkId, hello: &Hello) {
        let usable = match self.dialer.target(link).cloned() {
            Some(Target::Member(id)) if id == hello.member.id => {
                self.dialer.handle_welcomed(link);
                true
            }
            Some(Target::Seed(address)) => {
                self.seeds.insert(address, Seed::Met);
                self.dialer.handle_identified(now, link, hello.member.id)
            }
            _ => {
                self.dialer.hang_up(now, link);
                false
            }
        };
        if usable {
            self.outgoing.insert(link, hello.member.clone());
        }
        self.claim_seat(now);
    }

    /// Members of the list in whose places are nodes that know nothing.
    fn empty_seats(&self) -> BTreeMap<NodeId, EmptySeat> {
        let Some(rejoining) = &self.rejoining else { return BTreeMap::new() };
        let linked = self.outgoing.values().chain(self.incoming.values());
        let newcomers = linked.filter(|node| !rejoining.list.contains_key(&node.id));
        let emptied = newcomers.filter_map(|node| {
            let member = rejoining.list.values().find(|member| has_seat(member, node))?;
            let (seat, known) = (member.id, member.incarnation);
            let met = rejoining.newcomers.get(&node.id).copied().unwrap_or(known.life);
            // One that was granted to the newcomer itself, or to nobody, is over as well.
            let is_its_own = known.start == node.incarnation.start;
            let life = if known.is_nobodys() || is_its_own { known.life } else { met };
            Some((seat, EmptySeat { seat, life, newcomer: node.id }))
        });
        let voters: BTreeSet<NodeId> = self.outgoing.values().map(|member| member.id).collect();
        emptied.filter(|(id, _)| !voters.contains(id) && *id != rejoining.seat).collect()
    }

    /// The members whose grant is missing and that are not linked.
    pub(super) fn missing_voters(&self) -> Vec<&Member> {
        let Some(rejoining) = &self.rejoining else { return Vec::new() };
        let empty = self.empty_seats();
        let linked = |id: NodeId| self.outgoing.values().any(|member| member.id == id);
        let others = rejoining.list.values().filter(|member| member.id != rejoining.seat);
        others.filter(|member| !linked(member.id) && !empty.contains_key(&member.id)).collect()
    }

    /// Asks for the seat, once all who may know something of it are met.
    pub(super) fn claim_seat(&mut self, now: Instant) {
        if let Some(rejoining) = &mut self.rejoining {
            note_newcomers(rejoining, self.outgoing.values().chain(self.incoming.values()));
        }
        if self.rejoining.is_none() || !self.missing_voters().is_empty() {
            return;
        }
        let empty = self.empty_seats();
        let Some(rejoining) = &mut self.rejoining else { return };
        let known = rejoining.list[&rejoining.seat].incarnation;
        let start = self.config.member.incarnation.start;
        let is_stale = |claim: &Claim| {
            let is_behind = claim.incarnation.life < known.life;
            let is_others = claim.incarnation.life == known.life && claim.incarnation != known;
            is_behind || is_others || claim.empty.is_empty() && !empty.is_empty()
        };
        if rejoining.claim.as_ref().is_none_or(is_stale) {
            let Some(life) = known.life.checked_add(1) else {
                let text = Refusal::UsedUp.to_string();
                let target = Target::Member(rejoining.seat);
                let event = Event::RefusedBy { target, text, transient: false };
                return self.outputs.push_back(Output::Event(event));
            };
            let reused = Mutant::SeatReusesOrigin.is_planted();
            let start = if reused { known.start } else { start };
            rejoining.claim = Some(Claim {
                seat: rejoining.seat,
                incarnation: Incarnation { life, start, previous: known.start },
                empty: empty.values().copied().collect(),
            });
            rejoining.grants.clear();
        }
        let Some(claim) = &mut rejoining.claim else { return };
        claim.empty = empty.values().copied().collect();
        let others = rejoining.list.keys().filter(|id| **id != rejoining.seat);
        let open = others.filter(|id| !empty.contains_key(id) && !rejoining.grants.contains(id));
        let open: BTreeSet<NodeId> = open.copied().collect();
        if open.is_empty() && !rejoining.grants.is_empty() {
            return self.take_seat(now);
        }
        let links = self.outgoing.iter().filter(|(_, member)| open.contains(&member.id));
        for (&link, _) in links {
            let message = Message::Claim(claim.clone());
            self.outputs.push_back(Output::Send { link, message });
        }
        rejoining.ask_at = now + self.random.jittered(SEAL_RETRY_MAX / 2);
    }

    /// When to ask again for the seat, or to give up a silent member.
    pub(super) fn poll_seat_timeout(&self) -> Option<Instant> {
        let ask_at = self.rejoining.as_ref().map(|rejoining| rejoining.ask_at);
        self.seats.probes.values().map(|probe| probe.until).chain(ask_at).min()
    }

    /// Asks again for the seat, and gives up the links of members that do not answer.
    pub(super) fn handle_seat_timeout(&mut self, now: Instant) {
        if let Some(rejoining) = &mut self.rejoining
            && rejoining.ask_at <= now
        {
            rejoining.ask_at = now + self.random.jittered(SEAL_RETRY_MAX / 2);
            self.claim_seat(now);
        }
        let due = self.seats.probes.iter().filter(|(_, probe)| probe.until <= now);
        let due: Vec<(NodeId, Probe)> = due.map(|(id, probe)| (*id, *probe)).collect();
        for (id, probe) in due {
            self.seats.probes.remove(&id);
            if !probe.heard {
                self.part_from(now, id);
            }
        }
    }

    /// Closes every link of a member.
    fn part_from(&mut self, now: Instant, id: NodeId) {
        let links: Vec<LinkId> =
            self.outgoing.iter().filter(|(_, member)| member.id == id).map(|(l, _)| *l).collect();
        for link in links {
            self.outgoing.remove(&link);
            self.dialer.hang_up(now, link);
        }
        let outputs = &mut self.outputs;
        self.incoming.retain(|&link, member| {
            let stays = member.id != id;
            if !stays {
                outputs.push_back(Output::CloseIncoming { link });
            }
            stays
        });
    }

    /// A member has shown that it is alive.
    pub(super) fn hear_member(&mut self, now: Instant, id: NodeId) {
        if let Some(probe) = self.seats.probes.get_mut(&id) {
            // Long enough for the claimant to ask again, and to be told.
            *probe = Probe { until: now + SILENCE_MAX * 3, heard: true };
        }
    }

    /// Whether a member may be alive: if it is linked, it is asked.
    pub(super) fn probe_member(&mut self, now: Instant, id: NodeId) -> Alive {
        let links: Vec<LinkId> =
            self.outgoing.iter().filter(|(_, member)| member.id == id).map(|(l, _)| *l).collect();
        let is_linked = !links.is_empty() || self.incoming.values().any(|member| member.id == id);
        if !is_linked {
            self.seats.probes.remove(&id);
            return Alive::No;
        }
        match self.seats.probes.get(&id).copied() {
            Some(Probe { heard: true, .. }) => {
                self.seats.probes.remove(&id);
                Alive::Yes
            }
            Some(Probe { heard: false, .. }) => Alive::Unknown,
            None => {
                let probe = Probe { until: now + SILENCE_MAX, heard: false };
                self.seats.probes.insert(id, probe);
                let message = Message::Members(Box::new(self.view()));
                let ask = |link| Output::Send { link, message: message.clone() };
                self.outputs.extend(links.into_iter().map(ask));
                Alive::Unknown
            }
        }
    }

    /// Answers the claim of the node `from`.
    pub(super) fn answer_claim(&mut self, now: Instant, from: &Member, claim: &Claim) -> Message {
        let seat = self.members.get(&claim.seat).cloned();
        let Some(seat) = seat.filter(|seat| has_seat(seat, from)) else {
            return Message::Refused((&Refusal::Malformed).into());
        };
        let taken =
            Refusal::SeatTaken { name: seat.name.clone(), address: seat.peer_address.clone() };
        let alive = if claim.seat == self.me() {
            Alive::Yes
        } else if self.seats.granted.get(&claim.seat) == Some(&from.id) {
            // The links are of those that were told that their lives are over.
            Alive::No
        } else {
            self.probe_member(now, claim.seat)
        };
        if alive == Alive::Yes {
            let message = Message::Refused((&taken).into());
            let (name, address) = (from.name.clone(), from.peer_address.clone());
            let event = Event::Refused { name, address, reason: taken };
            self.outputs.push_back(Output::Event(event));
            return message;
        }
        let granted = alive == Alive::No && self.grant(now, &seat, from, claim);
        Message::SeatVote { granted, view: Box::new(self.view()) }
    }

    /// Grants a seat if nothing speaks against it, and writes that down.
    fn grant(&mut self, now: Instant, seat: &Member, from: &Member, claim: &Claim) -> bool {
        let asked = claim.incarnation;
        if asked == seat.incarnation && self.seats.granted.get(&seat.id) == Some(&from.id) {
            return true;
        }
        if self.standing != Standing::Sealed || asked.life <= seat.incarnation.life {
            return false;
        }
        for empty in &claim.empty {
            let is_gone = empty.seat != self.me()
                && self.probe_member(now, empty.seat) == Alive::No
                && (self.begins(empty) || self.life_of(empty.seat) <= Some(empty.life));
            if !is_gone {
                return false;
            }
        }
        for empty in &claim.empty {
            if !self.begins(empty)
                && let Some(member) = self.members.get_mut(&empty.seat)
            {
                let life = member.incarnation.life.max(empty.life).saturating_add(1);
                member.incarnation = Incarnation { life, ..Incarnation::default() };
            }
        }
        if let Some(member) = self.members.get_mut(&claim.seat) {
            member.incarnation = asked;
        }
        self.seats.granted.insert(claim.seat, from.id);
        self.persist();
        self.publish();
        let event = Event::SeatGranted { member: seat.clone(), incarnation: asked };
        self.outputs.push_back(Output::Event(event));
        true
    }

    /// Whether the seat's present life is the newcomer's, granted by this node.
    fn begins(&self, empty: &EmptySeat) -> bool {
        self.seats.granted.get(&empty.seat) == Some(&empty.newcomer)
    }

    fn life_of(&self, id: NodeId) -> Option<u16> {
        self.members.get(&id).map(|member| member.incarnation.life)
    }

    /// Counts the answer of `from` to a claim.
    pub(super) fn count_grant(&mut self, now: Instant, from: NodeId, granted: bool, view: &View) {
        if !self.meet_cluster(now, view) {
            return;
        }
        let Some(rejoining) = &mut self.rejoining else { return };
        let told = view.members.iter().find(|member| member.id == rejoining.seat);
        let (Some(told), Some(asked)) = (told, rejoining.claim.as_ref()) else { return };
        if granted && told.incarnation == asked.incarnation {
            rejoining.grants.insert(from);
            self.claim_seat(now);
        } else if told.incarnation.life >= asked.incarnation.life {
            // Somebody else has it, or had it, or was told that it is over.
            rejoining.claim = None;
        }
    }

    /// This node is the member from now on.
    fn take_seat(&mut self, now: Instant) {
        let Some(rejoining) = self.rejoining.take() else { return };
        let Some(claim) = rejoining.claim else { return };
        self.config.member.id = claim.seat;
        self.config.member.incarnation = claim.incarnation;
        self.config.lineage.clear();
        self.members = rejoining.list;
        self.numbers = rejoining.numbers;
        self.decided = rejoining.decided;
        self.config.replication_factor = rejoining.replication_factor;
        if let Some(seat) = self.members.get(&claim.seat) {
            self.config.member.duties = seat.duties;
        }
        self.members.insert(claim.seat, self.config.member.clone());
        self.standing = Standing::Sealed;
        self.seal_at = None;
        self.seal_pause = SEAL_RETRY_MIN;
        self.begin_voting(now, None);
        let persisted = self.persisted();
        let member = Box::new(self.config.member.clone());
        self.outputs.push_back(Output::Seated { member, persisted });
        // Everybody knows this node by another name.
        self.dialer.retain_members(|_| false);
        self.outgoing.clear();
        let incoming = core::mem::take(&mut self.incoming).into_keys();
        self.outputs.extend(incoming.map(|link| Output::CloseIncoming { link }));
        for (id, member) in &self.members {
            if *id != claim.seat {
                self.dialer.set_target(now, Target::Member(*id), &member.peer_address);
            }
        }
        self.told.clear();
        self.exchange_at = Some(now + EXCHANGE_INTERVAL);
        self.publish();
        self.outputs.push_back(Output::Sealed);
    }
}

/// What is known of whether a member lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alive {
    Yes,
    No,
    /// It was asked.
    Unknown,
}
