//! Membership: forms a static member list from seeds, and seals it before the first write.
//!
//! ```text
//!              a write is wanted here or elsewhere        every member promised this list
//!   Forming ─────────────────────────────────▶ Promised ──────────────────────────────▶ Sealed
//!   anybody joins; lists grow                  nobody joins                            for ever
//! ```
//!
//! **Forming.** Nodes exchange their lists over every link; a list is the union of all lists seen.
//! It is kept in memory only: a node that restarts learns it again. See `founding` for when it may
//! end.
//!
//! **Sealing.** A node that promises a list writes that down first and admits nobody afterwards.
//! It asks every member for the same promise; a member whose list is larger promises the larger
//! one and asks in turn. Whoever holds the promises of all members to exactly its own list seals
//! it. Every node that promised goes on asking, so that no single node has to survive.
//!
//! **Safety.** No node is ever in two sealed lists. The promises of one node form a growing chain:
//! it gives up a list P only for a larger one, and only on hearing that a member of P itself
//! promised some list Q that is not a part of P ([`Membership::handle_request`] with a `Seal`).
//! That member will never promise P: its later promises contain Q, which P does not; and if it
//! promised P before Q, then it gave P up by the same rule, so by induction somebody else never
//! promises P. Hence a list that was given up is never sealed, and of two sealed lists with a
//! common member, that member would have had to give up one. Promises survive crashes, because
//! [`Output::Persist`] comes before every message that tells of them. Votes may be lost,
//! repeated, delayed and reordered: they say "did promise", which stays true.
//!
//! A node that is left out is refused by every member with the reason, never silently.
//!
//! **Epoch.** The number of members. While a list only grows, equal lists have equal epochs, and a
//! sealed list keeps the epoch it was promised under, since replicas may take the first writes
//! before they hear that the list is sealed. The lists that are decided on after that count on from
//! there: see `succession`.
//!
//! **Numbers.** Sealing gives every member its [number](quorate_proto::Numbers), by the order of ids:
//! all who seal a list give the same ones, and replicas that take the first writes before they hear
//! of the seal go by them already.
//!
//! **Addresses.** A node is its id. Where it is, and what it is called, is what it says itself in
//! its `Hello`; what others say of it only gives further addresses to try.
//!
//! **Rejoining.** A member that lost its identity with its data takes its seat again: see `rejoining`.
//!
//! Left to others: sockets and persistence (the shell), whether a member is alive
//! ([`crate::liveness`]), links for data ([`Dialer`], one for each shard, and
//! [`check_data_link`]).

mod admission;
mod dialer;
mod exchange;
mod founding;
#[cfg(test)]
mod founding_scenarios;
mod output;
mod rejoining;
#[cfg(test)]
mod rejoining_scenarios;
#[cfg(test)]
mod ring_scenarios;
#[cfg(test)]
mod scenarios;
mod sealing;
#[cfg(test)]
mod simulation;
mod sources;
mod starting;
mod steering;
mod succession;
#[cfg(test)]
mod succession_scenarios;
mod voting;
#[cfg(test)]
mod voting_scenarios;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use quorate_proto::{
    NodeId, Numbers, Partitioner, ReplicationFactor, Start,
    message::{Hello, Member, Message, View},
    ownership::Ownership,
};

pub use admission::{Refusal, check_data_link, check_incarnation};
pub use dialer::{Dialer, DialerOutput, LinkId, Target};
pub use output::{Event, Output};
pub use starting::StartError;
pub use steering::{Candidate, Carried, Order, OrderError};
pub use succession::{Adoption, UnfitSuccessor};
pub use voting::Decision;

use founding::Seed;

use crate::{
    limits::{EXCHANGE_INTERVAL, INCOMING_LINKS_MAX, SEAL_RETRY_MIN, VOUCH_PATIENCE},
    random::Random,
    register,
    time::Instant,
};

/// What a node is configured to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: String,
    /// This node.
    pub member: Member,
    /// The shard that the membership runs on.
    pub shard: u16,
    /// How keys get their slots.
    pub partitioner: Partitioner,
    /// Replicas of every slot in each datacentre.
    pub replication_factor: ReplicationFactor,
    /// `host:port` of nodes to find the others through.
    pub seeds: Vec<String>,
    /// Who names further ones, in time, by [`Membership::handle_seeds`].
    pub sources: Vec<String>,
    /// How many other nodes must have been named before a node without data may found a cluster.
    pub seeds_min: usize,
    /// Earlier starts of this node in its present life, the newest last; at most
    /// [`LINEAGE_MAX`](quorate_proto::limits::LINEAGE_MAX).
    pub lineage: Vec<Start>,
    /// Whether it founds nothing, and waits to be taken into a cluster that is there. Counts for
    /// nothing once the node is a member.
    pub joins: bool,
}

/// What must survive a crash: the list that this node promised or sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// Name of the cluster.
    pub cluster: String,
    /// The list; `sealed` tells whether it is sealed or only promised.
    pub view: View,
    /// What this node has promised and accepted as a voter about the next list; `None` while that is
    /// what follows from the list.
    pub voting: Option<register::State>,
}

/// How final the member list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nodes join.
    Forming,
    /// This node admits nobody while it asks whether everybody else does the same.
    Promised,
    /// The list is final.
    Sealed,
}

/// The membership machine.
#[derive(Debug)]
pub struct Membership {
    config: Config,
    standing: Standing,
    /// The list. While promised it is exactly what was promised. Always contains this node.
    members: BTreeMap<NodeId, Member>,
    /// The number of each; none before the list is sealed.
    numbers: Numbers,
    /// Of a list that was decided on after the sealing: its epoch, and who owns which slots.
    decided: Option<succession::Decided>,
    /// Decides on the next list, once this one is final.
    voting: Option<voting::Voting>,
    /// An operator's order that is being carried out.
    carrying: Option<steering::Carrying>,
    /// Nodes that have asked whether they may become members.
    candidates: BTreeMap<NodeId, Candidate>,
    /// Members that promised this very list, while promised.
    votes: BTreeSet<NodeId>,
    /// Members that know that the list is sealed.
    told: BTreeSet<NodeId>,
    /// Whether a write waits for the seal, here or elsewhere.
    seal_wanted: bool,
    seal_pause: Duration,
    /// When to ask for missing votes again.
    seal_at: Option<Instant>,
    exchange_at: Option<Instant>,
    seeds: BTreeMap<String, Seed>,
    sources: sources::Sources,
    /// While no member has accepted this node since it started: how long it waits for one that may
    /// know that it must not go on.
    unvouched_until: Option<Instant>,
    /// While this node claims a seat.
    rejoining: Option<rejoining::Rejoining>,
    seats: rejoining::Seats,
    /// Incoming links with the peer as it described itself on that link.
    incoming: BTreeMap<LinkId, Member>,
    /// Outgoing links that were welcomed, likewise.
    outgoing: BTreeMap<LinkId, Member>,
    dialer: Dialer,
    random: Random,
    outputs: VecDeque<Output>,
}

impl Membership {
    /// The membership of a node that starts at `now`, with what it persisted before and a seed for
    /// its jitter.
    pub fn new(
        config: Config,
        persisted: Option<Persisted>,
        now: Instant,
        seed: u64,
    ) -> Result<Self, StartError> {
        starting::check_start(&config, persisted.as_ref())?;
        let mut random = Random::new(seed);
        let mut membership = Self {
            standing: Standing::Forming,
            members: BTreeMap::from([(config.member.id, config.member.clone())]),
            numbers: Numbers::default(),
            decided: None,
            voting: None,
            carrying: None,
            candidates: BTreeMap::new(),
            votes: BTreeSet::new(),
            told: BTreeSet::new(),
            seal_wanted: false,
            seal_pause: SEAL_RETRY_MIN,
            seal_at: None,
            exchange_at: Some(now + EXCHANGE_INTERVAL),
            seeds: founding::seeds(&config),
            sources: sources::Sources::new(&config),
            unvouched_until: None,
            rejoining: None,
            seats: rejoining::Seats::default(),
            incoming: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            dialer: Dialer::new(random.next_u64()),
            random,
            outputs: VecDeque::new(),
            config,
        };
        if let Some(persisted) = persisted {
            membership.restore(now, persisted);
            let is_alone = membership.members.len() == 1;
            membership.unvouched_until = (!is_alone).then_some(now + VOUCH_PATIENCE);
        }
        for address in membership.seeds.keys() {
            membership.dialer.set_target(now, Target::Seed(address.clone()), address);
        }
        membership.publish();
        membership.drain_dialer(now);
        Ok(membership)
    }

    /// This node has its data back and listens: what it gives others time for begins now.
    pub fn handle_listening(&mut self, now: Instant) {
        self.unvouched_until = self.unvouched_until.map(|_| now + VOUCH_PATIENCE);
    }

    /// This node's id.
    pub fn me(&self) -> NodeId {
        self.config.member.id
    }

    /// How final the member list is.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The member list as it is.
    pub fn view(&self) -> View {
        View {
            epoch: self.epoch(),
            sealed: self.standing == Standing::Sealed,
            partitioner: self.config.partitioner.clone(),
            replication_factor: self.config.replication_factor.clone(),
            members: self.members.values().cloned().collect(),
            numbers: self.numbers.clone(),
            ownership: self.ownership(),
        }
    }

    /// The numbers of the members; none before the list is final.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Version of the member list.
    pub fn epoch(&self) -> u64 {
        self.decided.as_ref().map_or(self.members.len() as u64, |decided| decided.epoch)
    }

    fn ownership(&self) -> Option<Box<Ownership>> {
        self.decided.as_ref().and_then(|decided| decided.ownership.clone())
    }

    /// An outgoing link is open: introduces this node.
    pub fn handle_connected(&mut self, link: LinkId) {
        if self.dialer.target(link).is_some() {
            let hello = Box::new(self.hello());
            let message =
                if self.is_candidate() { Message::Join(hello) } else { Message::Hello(hello) };
            self.outputs.push_back(Output::Send { link, message });
        }
    }

    /// An outgoing link could not be opened, or is closed.
    pub fn handle_closed(&mut self, now: Instant, link: LinkId) {
        self.outgoing.remove(&link);
        self.dialer.handle_closed(now, link);
    }

    /// The member `id` fell silent: gives up the link to it and dials again.
    pub fn handle_silent(&mut self, now: Instant, id: NodeId) {
        if let Some(link) = self.link_to(id) {
            self.outgoing.remove(&link);
            self.dialer.hang_up(now, link);
            self.drain_dialer(now);
        }
    }

    /// An incoming link is closed.
    pub fn handle_incoming_closed(&mut self, link: LinkId) {
        self.incoming.remove(&link);
    }

    /// A peer introduces itself on an incoming link.
    pub fn handle_hello(&mut self, now: Instant, link: LinkId, correlation: u64, hello: &Hello) {
        if self.is_copy_of(&hello.member) {
            let text = Refusal::copy(&hello.member).to_string();
            return self.outputs.push_back(Output::Event(Event::Fenced { text }));
        }
        let rejoins = admission::check_settings(&self.config, self.decided.is_some(), hello)
            .is_ok()
            && self.meet_cluster(now, &hello.view);
        let admitted = if rejoins { Err(Refusal::Rejoining) } else { self.admit(now, hello) };
        if let Err(reason) = admitted {
            let message = Message::Refused((&reason).into());
            self.outputs.push_back(Output::Respond { link, correlation, message });
            self.outputs.push_back(Output::CloseIncoming { link });
            self.report_refusal(hello, reason);
            return self.drain_dialer(now);
        }
        if self.incoming.len() >= INCOMING_LINKS_MAX {
            self.outputs.push_back(Output::CloseIncoming { link });
            return;
        }
        self.incoming.insert(link, hello.member.clone());
        self.absorb(now, hello);
        let message = Message::Welcome(Box::new(self.hello()));
        self.outputs.push_back(Output::Respond { link, correlation, message });
        self.drain_dialer(now);
    }

    /// A request on an incoming link whose peer has introduced itself.
    pub fn handle_request(
        &mut self,
        now: Instant,
        link: LinkId,
        correlation: u64,
        message: Message,
    ) {
        let Some(from) = self.incoming.get(&link).map(|member| member.id) else {
            self.outputs.push_back(Output::CloseIncoming { link });
            return;
        };
        self.hear_member(now, from);
        let answer = match message {
            Message::Claim(claim) => {
                let from = self.incoming[&link].clone();
                self.answer_claim(now, &from, &claim)
            }
            Message::Members(view) => {
                self.merge(now, from, &view);
                Message::Members(Box::new(self.view()))
            }
            Message::Seal(view) => {
                let accepted = self.vote(now, from, &view);
                Message::SealVote { accepted, view: Box::new(self.view()) }
            }
            Message::Ballot(request) => match self.answer_ballot(now, *request) {
                Some(answer) => Message::BallotAnswer(Box::new(answer)),
                None => {
                    self.outputs.push_back(Output::CloseIncoming { link });
                    self.incoming.remove(&link);
                    return;
                }
            },
            Message::AskProgress => {
                return self.outputs.push_back(Output::AskedProgress { link, correlation });
            }
            Message::AtWork => {
                return self.outputs.push_back(Output::AtWork { member: from });
            }
            message @ (Message::Gossip(_)
            | Message::Probe { .. }
            | Message::ProbeAnswer { .. }
            | Message::Catalog(_)
            | Message::CatalogHeld { .. }) => {
                return self.outputs.push_back(Output::Gossip { from, message });
            }
            // Whatever else comes here is not for the membership.
            _ => {
                self.outputs.push_back(Output::CloseIncoming { link });
                self.incoming.remove(&link);
                return;
            }
        };
        self.outputs.push_back(Output::Respond { link, correlation, message: answer });
        self.drain_dialer(now);
    }

    /// A response on an outgoing link.
    pub fn handle_response(&mut self, now: Instant, link: LinkId, message: Message) {
        if let Some(from) = self.outgoing.get(&link).map(|member| member.id) {
            self.hear_member(now, from);
        }
        match message {
            Message::SeatVote { granted, view } => {
                if let Some(from) = self.outgoing.get(&link).map(|member| member.id) {
                    self.count_grant(now, from, granted, &view);
                }
            }
            Message::BallotAnswer(answer) => {
                if !self.count_ballot(now, link, *answer) {
                    self.outgoing.remove(&link);
                    self.dialer.hang_up(now, link);
                }
            }
            Message::Progress { epoch, level } => {
                if let Some(member) = self.outgoing.get(&link).map(|member| member.id) {
                    self.outputs.push_back(Output::Progress { member, epoch, level });
                }
            }
            Message::Welcome(hello) => self.handle_welcome(now, link, &hello),
            Message::Refused(refused) => self.handle_refused(now, link, refused),
            Message::Members(view) => {
                if let Some(from) = self.outgoing.get(&link).map(|member| member.id) {
                    self.merge(now, from, &view);
                }
            }
            Message::SealVote { accepted, view } => {
                if let Some(from) = self.outgoing.get(&link).map(|member| member.id) {
                    self.count_vote(now, from, accepted, &view);
                }
            }
            _ => {
                self.outgoing.remove(&link);
                self.dialer.hang_up(now, link);
            }
        }
        self.drain_dialer(now);
    }

    /// A write has arrived: the list is to become final.
    pub fn request_seal(&mut self, now: Instant) {
        self.seal_wanted = true;
        self.promise_if_possible(now);
        self.drain_dialer(now);
    }

    /// When [`Membership::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.dialer.poll_timeout(),
            self.seal_at,
            self.exchange_at,
            self.poll_seat_timeout(),
            self.poll_voting_timeout(),
            self.unvouched_until,
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.dialer.handle_timeout(now);
        if self.seal_at.is_some_and(|at| at <= now) {
            self.seal_at = None;
            self.continue_seal(now);
        }
        if self.exchange_at.is_some_and(|at| at <= now) {
            self.exchange(now);
        }
        self.unvouched_until = self.unvouched_until.filter(|until| *until > now);
        self.handle_seat_timeout(now);
        self.handle_voting_timeout(now);
        self.drain_dialer(now);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The link of a member for requests, if it is up.
    pub fn link_to(&self, id: NodeId) -> Option<LinkId> {
        let mut links = self.outgoing.iter();
        links.find(|(_, member)| member.id == id).map(|(&link, _)| link)
    }

    fn hello(&self) -> Hello {
        Hello {
            cluster: self.config.cluster.clone(),
            member: self.config.member.clone(),
            shard: self.config.shard,
            view: self.view(),
            lineage: self.config.lineage.clone(),
        }
    }

    fn publish(&mut self) {
        self.outputs.push_back(Output::Topology(self.view()));
    }

    fn persist(&mut self) {
        self.outputs.push_back(Output::Persist(self.persisted()));
    }

    /// Remembers what a member said of itself. What this node has promised must stay exact.
    fn register(&mut self) {
        match self.standing {
            Standing::Forming => {}
            Standing::Promised => self.persist(),
            Standing::Sealed => self.outputs.push_back(Output::Register(self.persisted())),
        }
    }

    fn persisted(&self) -> Persisted {
        Persisted {
            cluster: self.config.cluster.clone(),
            view: self.view(),
            voting: self.votes_to_keep(),
        }
    }

    fn report_refusal(&mut self, hello: &Hello, reason: Refusal) {
        // Finding itself among its seeds is what happens to every node with a common seed list.
        // And who claims a seat has said so.
        if !matches!(reason, Refusal::Itself(_) | Refusal::Rejoining) {
            self.outputs.push_back(Output::Event(Event::Refused {
                name: hello.member.name.clone(),
                address: hello.member.peer_address.clone(),
                reason,
            }));
        }
    }

    fn drain_dialer(&mut self, now: Instant) {
        self.dialer.handle_timeout(now);
        while let Some(output) = self.dialer.poll_output() {
            self.outputs.push_back(match output {
                DialerOutput::Dial { link, address } => Output::Dial { link, address },
                DialerOutput::Hangup { link } => {
                    self.outgoing.remove(&link);
                    Output::Hangup { link }
                }
            });
        }
    }
}
