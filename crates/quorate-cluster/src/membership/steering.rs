//! What operators want changed, and how it is brought before the voters.
//!
//! ```text
//!  order --> ask for the newest document --> plan --> compare-and-set --> answer
//!                                              |-- a trial ends here
//! ```
//! One order at a time on each node. Of two on different nodes that were planned on the same list
//! one is lost, changes nothing, and its operator is told so. An order whose aim is reached already
//! changes nothing and succeeds, so every one of them may be repeated.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use quorate_proto::{
    NodeId, Origin, ReplicationFactor,
    message::{Hello, Member, Message, Refused, View},
    register::Voter,
};

use super::{Decision, LinkId, Membership, Output, Refusal, Standing, admission, voting::elector};
use crate::{
    limits::{CANDIDATE_PATIENCE, CANDIDATES_MAX},
    movement::{Plan, PlanError, Summary, leaving, plan},
    register::{ChangeError, Outcome, choose_voters, version},
    time::Instant,
};

/// A change of the cluster that an operator wants. Members are named by their names, or by their
/// ids in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The node that waits to be taken in becomes a member, and slots go to it.
    Join(String),
    /// The slots of the member go to others; then it is none any more.
    Leave(String),
    /// The second, which waits to be taken in, takes the place of the first.
    Replace(String, String),
    /// The member is lost for good: its slots go to others.
    RemoveDead(String),
    /// Replicas of every slot in each datacentre.
    SetReplicationFactor(ReplicationFactor),
    /// The member gets another share of the replicas of its datacentre; without any it is a witness.
    SetWeight(String, u16),
    /// The member keeps what it holds, gets nothing new, and executes writes only where nobody else
    /// can.
    Drain(String),
    /// It takes its part again.
    Undrain(String),
    /// Slots go to where they would be if the cluster was made anew, as few as that takes.
    Rebalance,
    /// Slots stay where they are until [`Order::Resume`].
    Pause,
    /// Slots go on.
    Resume,
    /// The way back from what is under way.
    Cancel,
    /// A majority of the voters is lost for good: those that are up decide from now on.
    Override,
}

/// What has come of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The list that was decided on, or would be; the present one when nothing is to be changed.
    pub epoch: u64,
    /// What moves.
    pub summary: Summary,
    /// Whether there is anything to change.
    pub changes: bool,
}

/// Why an order was not carried out. Nothing was changed unless the text says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// There is nothing to change.
    #[error("the member list is not final; write something first")]
    NotFinal,
    /// It waits to be taken in.
    #[error("this node is no member yet, and waits to be taken in; give the order to a member")]
    NoMemberItself,
    /// One at a time.
    #[error("another change is being decided on this node; try again when it is")]
    Busy,
    /// No member is called so.
    #[error("no member is called '{0}'")]
    NoMember(String),
    /// No node that wants to join is called so.
    #[error(
        "no node '{0}' waits to be taken in; start it with --join (join: true in its file) and the peer \
         address of a member among its seeds. Members tell each other of it within seconds"
    )]
    NoCandidate(String),
    /// Several nodes that want to join are called so.
    #[error(
        "several nodes wait to be taken in as '{0}': {1}; stop all but one, or say which by its id"
    )]
    Ambiguous(String, String),
    /// The member is needed, or alive.
    #[error("the member '{0}' answers; a member that is alive leaves (quorate leave)")]
    Alive(String),
    /// Nobody can be overruled.
    #[error("a majority of the voters is up; nothing has to be overridden")]
    HasMajority,
    /// The change is not possible.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Another change was decided in its place.
    #[error("another change was decided first; look at it (quorate topology) and try again")]
    Lost,
    /// The voters do not answer.
    #[error(
        "a majority of the voters does not answer, so nothing can be decided: {0}. Start them; if they are lost for \
         good, see quorate override"
    )]
    Unreachable(String),
    /// It may have been decided.
    #[error("it is not known whether the change was decided: repeat it, that does no harm")]
    Unknown,
    /// This node lacks what the others have decided.
    #[error("this node does not know yet what was decided; try again")]
    Behind,
}

/// An order that is being carried out.
#[derive(Debug)]
pub(super) struct Carrying {
    ticket: u64,
    order: Order,
    is_trial: bool,
    /// Whether the newest document was asked for: what was under way here comes first.
    is_begun: bool,
    /// What was proposed, once it was.
    proposed: Option<Carried>,
    /// Whether it is looked at again, because it was not known whether that was decided.
    is_repeated: bool,
}

impl Carrying {
    /// Whether the order may be given twice and comes to the same as once.
    const fn is_repeatable(&self) -> bool {
        !matches!(self.order, Order::Cancel | Order::Rebalance | Order::Override)
    }
}

/// A node that wants to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As it describes itself.
    pub member: Member,
    /// When it has asked last, or another member has told of it.
    pub asked_at: Instant,
    /// Whether another member has told of it, and it has not asked this node.
    pub is_hearsay: bool,
}

impl Membership {
    /// An operator wants a change, or, with `is_trial`, to know what it comes to.
    /// [`Output::Carried`] with the ticket tells what has become of it.
    pub fn handle_order(&mut self, now: Instant, ticket: u64, order: Order, is_trial: bool) {
        let refusal = match &self.voting {
            None if self.is_candidate() => Some(OrderError::NoMemberItself),
            None => Some(OrderError::NotFinal),
            Some(_) if self.carrying.is_some() => Some(OrderError::Busy),
            Some(_) => None,
        };
        if let Some(error) = refusal {
            return self.outputs.push_back(Output::Carried { ticket, result: Err(error) });
        }
        let (is_begun, proposed, is_repeated) = (false, None, false);
        self.carrying = Some(Carrying { ticket, order, is_trial, is_begun, proposed, is_repeated });
        self.begin_order(now);
        self.drain_dialer(now);
    }

    fn begin_order(&mut self, now: Instant) {
        let is_override = self.carrying.as_ref().is_some_and(|it| it.order == Order::Override);
        if is_override {
            let result = self.overrule(now);
            return self.end_order(result);
        }
        let (Some(voting), Some(carrying)) = (&mut self.voting, &mut self.carrying) else { return };
        if voting.register.read(now).is_ok() {
            carrying.is_begun = true;
            self.drain_voting(now);
        }
    }

    /// The register has finished what it was asked for.
    pub(super) fn finish_order(&mut self, now: Instant, outcome: Outcome) {
        let Some(carrying) = &self.carrying else { return };
        if !carrying.is_begun {
            return self.begin_order(now);
        }
        let (proposed, is_repeated) = (carrying.proposed, carrying.is_repeated);
        if outcome == Outcome::Unknown && self.repeat_order(now) {
            return;
        }
        let result = match (outcome, proposed) {
            (Outcome::Current(_), _) => match self.carry_out(now) {
                Ok(None) => return,
                Ok(Some(carried)) => Ok(carried),
                Err(error) => Err(error),
            },
            (Outcome::Decided { .. }, Some(carried)) => Ok(carried),
            (Outcome::Lost(_), _) => Err(OrderError::Lost),
            (Outcome::Unreachable, _) if is_repeated => Err(OrderError::Unknown),
            (Outcome::Unreachable, _) => {
                Err(OrderError::Unreachable(self.voters_away().join(", ")))
            }
            (Outcome::Unknown | Outcome::Decided { .. }, _) => Err(OrderError::Unknown),
        };
        self.end_order(result);
    }

    /// Others may have decided on what was proposed here, and on what follows from it, before this node
    /// heard of it: the newest document tells. Returns whether it is asked for.
    fn repeat_order(&mut self, now: Instant) -> bool {
        let (Some(voting), Some(carrying)) = (&mut self.voting, &mut self.carrying) else {
            return false;
        };
        if carrying.is_repeated || !carrying.is_repeatable() || voting.register.read(now).is_err() {
            return false;
        }
        carrying.is_repeated = true;
        self.drain_voting(now);
        true
    }

    fn end_order(&mut self, result: Result<Carried, OrderError>) {
        if let Some(Carrying { ticket, .. }) = self.carrying.take() {
            self.outputs.push_back(Output::Carried { ticket, result });
        }
    }

    /// The newest document is known: plans the change on it. Returns what is to be answered, unless
    /// the voters are to be heard first.
    fn carry_out(&mut self, now: Instant) -> Result<Option<Carried>, OrderError> {
        let (decision, _) = self.decision().ok_or(OrderError::Behind)?;
        let Some(Carrying { order, is_trial, proposed, is_repeated, .. }) = &self.carrying else {
            return Ok(None);
        };
        let (order, is_trial) = (order.clone(), *is_trial);
        let proposed = proposed.filter(|_| *is_repeated);
        let epoch = decision.view.epoch;
        let planned = match (self.plan(now, &decision, &order), proposed) {
            // That was decided. Who was to leave may be gone by now.
            (Ok(None) | Err(OrderError::NoMember(_)), Some(carried)) => return Ok(Some(carried)),
            (planned, _) => planned?,
        };
        let Some((next, summary)) = planned else {
            let summary = Summary::default();
            return Ok(Some(Carried { epoch, summary, changes: false }));
        };
        let carried = Carried { epoch: next.view.epoch, summary, changes: true };
        if is_trial {
            return Ok(Some(carried));
        }
        if let Some(carrying) = &mut self.carrying {
            carrying.proposed = Some(carried);
        }
        match self.propose(now, next) {
            Ok(()) => Ok(None),
            Err(ChangeError::Busy) => Err(OrderError::Busy),
            Err(_) => Err(OrderError::Behind),
        }
    }

    /// What `order` makes of the present decision; `None` when there is nothing to change.
    fn plan(
        &self,
        now: Instant,
        present: &Decision,
        order: &Order,
    ) -> Result<Option<(Decision, Summary)>, OrderError> {
        let view = &present.view;
        let is_leaving =
            |id: NodeId| view.numbers.of(id).is_some_and(|number| leaving(view).contains(&number));
        let plan = match order {
            Order::Join(name) => {
                if find(view, name).is_some() {
                    return Ok(None);
                }
                plan::join(view, self.candidate(now, name)?)?
            }
            Order::Leave(name) => match find(view, name) {
                Some(member) if is_leaving(member.id) => return Ok(None),
                Some(member) => plan::leave(view, member.id)?,
                None => return Err(OrderError::NoMember(name.clone())),
            },
            Order::Replace(old, new) => match (find(view, old), find(view, new)) {
                (Some(old), Some(_)) if is_leaving(old.id) => return Ok(None),
                (None, Some(_)) => return Ok(None),
                (Some(old), _) => plan::replace(view, old.id, self.candidate(now, new)?)?,
                (None, None) => return Err(OrderError::NoMember(old.clone())),
            },
            Order::RemoveDead(name) => {
                let Some(member) = find(view, name) else {
                    return Err(OrderError::NoMember(name.clone()));
                };
                if member.id == self.me() || self.link_to(member.id).is_some() {
                    return Err(OrderError::Alive(name.clone()));
                }
                plan::remove_dead(view, member.id)?
            }
            Order::SetReplicationFactor(factor) if *factor == view.replication_factor => {
                return Ok(None);
            }
            Order::SetReplicationFactor(factor) => plan::set_replication_factor(view, factor)?,
            Order::SetWeight(name, weight) => match find(view, name) {
                Some(member) if member.duties.weight == *weight => return Ok(None),
                Some(member) => plan::set_weight(view, member.id, *weight)?,
                None => return Err(OrderError::NoMember(name.clone())),
            },
            Order::Drain(name) => return draining(present, name, true),
            Order::Undrain(name) => return draining(present, name, false),
            Order::Rebalance => {
                let plan = plan::set_replication_factor(view, &view.replication_factor)?;
                if plan.summary.slots == 0 {
                    return Ok(None);
                }
                plan
            }
            Order::Cancel => plan::cancel(view)?,
            Order::Pause | Order::Resume => return Ok(pausing(present, *order == Order::Pause)),
            Order::Override => return Ok(None),
        };
        let Plan { view, summary } = plan;
        Ok(Some((Decision { view, is_paused: false }, summary)))
    }

    /// The node that waits to be taken in and is called `name`.
    fn candidate(&self, now: Instant, name: &str) -> Result<Member, OrderError> {
        let members = self.candidates(now).map(|candidate| &candidate.member);
        let called: Vec<_> = members.filter(|member| is_called(member, name)).collect();
        match called.as_slice() {
            [] => Err(OrderError::NoCandidate(name.into())),
            [member] => Ok((*member).clone()),
            several => {
                let places =
                    several.iter().map(|it| alloc::format!("{} at {}", it.id, it.peer_address));
                let places = places.collect::<Vec<_>>().join(", ");
                Err(OrderError::Ambiguous(name.into(), places))
            }
        }
    }

    /// The nodes that have asked this one, or another member, not long ago whether they may become
    /// members.
    pub fn candidates(&self, now: Instant) -> impl Iterator<Item = &Candidate> {
        let are_waiting = move |it: &&Candidate| {
            it.asked_at + CANDIDATE_PATIENCE > now && !self.members.contains_key(&it.member.id)
        };
        self.candidates.values().filter(are_waiting)
    }

    /// A node that wants to become a member introduces itself on an incoming link.
    pub fn handle_join(&mut self, now: Instant, link: LinkId, correlation: u64, hello: &Hello) {
        let peer = &hello.member;
        // How many replicas there are is not for a newcomer to say.
        let mut hello = hello.clone();
        hello.view.replication_factor = self.config.replication_factor.clone();
        let is_known = self.members.contains_key(&peer.id)
            || self.members.values().any(|member| member.name == peer.name);
        if is_known {
            return self.handle_hello(now, link, correlation, &hello);
        }
        let refusal = match admission::check_settings(&self.config, self.decided.is_some(), &hello)
        {
            Err(refusal) => refusal,
            Ok(()) if self.standing == Standing::Sealed => {
                self.note_candidate(now, peer, false);
                Refusal::Waits { name: peer.name.clone() }
            }
            Ok(()) => Refusal::TooEarly,
        };
        let message = Message::Refused(Refused::from(&refusal));
        self.outputs.push_back(Output::Respond { link, correlation, message });
        self.outputs.push_back(Output::CloseIncoming { link });
    }

    /// Another member tells that a node has asked it whether it may become a member.
    pub fn handle_candidate(&mut self, now: Instant, peer: &Member) {
        let is_member = self.members.contains_key(&peer.id)
            || self.members.values().any(|member| member.name == peer.name);
        if self.standing == Standing::Sealed && !is_member && admission::is_well_formed(peer) {
            self.note_candidate(now, peer, true);
        }
    }

    fn note_candidate(&mut self, now: Instant, peer: &Member, is_hearsay: bool) {
        // What it says itself counts more.
        let known = self.candidates.get(&peer.id);
        let has_asked =
            known.is_some_and(|it| !it.is_hearsay && it.asked_at + CANDIDATE_PATIENCE > now);
        if is_hearsay && has_asked {
            return;
        }
        self.candidates.retain(|_, it| it.asked_at + CANDIDATE_PATIENCE > now);
        if self.candidates.len() < CANDIDATES_MAX || self.candidates.contains_key(&peer.id) {
            let candidate = Candidate { member: peer.clone(), asked_at: now, is_hearsay };
            self.candidates.insert(peer.id, candidate);
        }
    }

    /// Whether this node waits to be taken in.
    pub fn is_candidate(&self) -> bool {
        self.config.joins && self.standing == Standing::Forming && !self.is_rejoining()
    }

    /// Goes on with what was decided: brings `next`, the list that follows from what the members have
    /// reported, before the voters, or changes the voters towards those that the list wants. Does
    /// nothing while anything else is being decided, or slots are to stay.
    pub fn go_on(&mut self, now: Instant, next: Option<View>) {
        let is_busy = self.voting.as_ref().is_none_or(|voting| voting.register.is_busy());
        if is_busy || self.carrying.is_some() {
            return;
        }
        let Some((decision, present)) = self.decision() else { return };
        let Decision { view, is_paused } = decision;
        // A voter that leaves is no voter any more before it is no member.
        let needs_voter = |next: &View| {
            let is_gone = |voter: &Voter| next.members.iter().all(|it| it.id != voter.member);
            next.members.len() < view.members.len() && present.iter().any(is_gone)
        };
        let next = next.filter(|next| {
            !is_paused && next.epoch == version::next(view.epoch) && !needs_voter(next)
        });
        let proposal = match next {
            Some(next) => next,
            None => {
                let epoch = version::next(view.epoch);
                let mut same = View { epoch, ..view };
                self.refresh(&mut same);
                let Some(document) = self.newest() else { return };
                if self.voters_after(document, &same) == present {
                    return;
                }
                same
            }
        };
        // Whether it is decided shows in what is adopted; if not, it is tried again.
        let _ = self.propose(now, Decision { view: proposal, is_paused });
        self.drain_dialer(now);
    }

    /// A person says that the majority of the voters is lost for good.
    fn overrule(&mut self, now: Instant) -> Result<Carried, OrderError> {
        if self.has_majority() {
            return Err(OrderError::HasMajority);
        }
        let is_trial = self.carrying.as_ref().is_some_and(|carrying| carrying.is_trial);
        let (decision, _) = self.decision().ok_or(OrderError::Behind)?;
        let number = self.numbers.of(self.me()).ok_or(OrderError::NotFinal)?;
        let origin = Origin::new(number.0, self.config.member.incarnation.start);
        let epoch = version::overruling(decision.view.epoch, origin);
        let mut view = View { epoch, ..decision.view };
        self.refresh(&mut view);
        let is_up = |member: &&Member| member.id == self.me() || self.link_to(member.id).is_some();
        let electors: Vec<_> = view.members.iter().filter(is_up).map(elector).collect();
        let voters = choose_voters(&electors, &[]);
        let summary = Summary::default();
        let carried = Carried { epoch, summary, changes: true };
        if !is_trial && let Some(voting) = &mut self.voting {
            let value = Decision { view, is_paused: decision.is_paused }.to_value();
            voting.register.override_voters(now, voters, value);
            self.drain_voting(now);
        }
        Ok(carried)
    }

    /// The names of the voters that are not linked, for people.
    pub fn voters_away(&self) -> Vec<String> {
        let voters = self.newest().map(|document| document.voters.as_slice()).unwrap_or_default();
        let is_away =
            |voter: &&Voter| voter.member != self.me() && self.link_to(voter.member).is_none();
        let name = |voter: &Voter| match self.members.get(&voter.member) {
            Some(member) => member.name.clone(),
            None => voter.member.to_string(),
        };
        voters.iter().filter(is_away).map(name).collect()
    }
}

fn pausing(present: &Decision, is_paused: bool) -> Option<(Decision, Summary)> {
    let epoch = version::next(present.view.epoch);
    let view = View { epoch, ..present.view.clone() };
    let changes = present.is_paused != is_paused;
    changes.then(|| (Decision { view, is_paused }, Summary::default()))
}

/// The member `name` is drained, or is not any more, whatever is under way.
fn draining(
    present: &Decision,
    name: &str,
    is_drained: bool,
) -> Result<Option<(Decision, Summary)>, OrderError> {
    let epoch = version::next(present.view.epoch);
    let mut view = View { epoch, ..present.view.clone() };
    let member = view.members.iter_mut().find(|member| is_called(member, name));
    let member = member.ok_or_else(|| OrderError::NoMember(name.into()))?;
    if member.duties.is_drained == is_drained {
        return Ok(None);
    }
    member.duties.is_drained = is_drained;
    Ok(Some((Decision { view, is_paused: present.is_paused }, Summary::default())))
}

fn find<'a>(view: &'a View, name: &str) -> Option<&'a Member> {
    view.members.iter().find(|member| is_called(member, name))
}

fn is_called(member: &Member, name: &str) -> bool {
    member.name == name || member.id.to_string() == name
}
