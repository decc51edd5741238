//! Who decides on the next member list: the [topology register](crate::register) of a node.
//!
//! The list that was sealed is the register's first document, the same for all who have sealed it:
//! its version is the list's epoch, its voters are chosen among the members in their first lives,
//! and its value is empty, since everybody knows the list. Each later document holds a whole
//! [`Decision`], whose list has the document's version as its epoch. What was decided is adopted as
//! it is (see `succession`), never united with anything.
//!
//! ```text
//!  sealed list, epoch n     document n, no value       voters: of the first lives
//!  next list, epoch n + 1   document n + 1, a Decision voters: one more or less at most
//! ```
//! What a voter has promised and accepted is written down, with the list, before it answers
//! ([`Output::Persist`]). A list is heard of from everybody and a document is not, so a member may
//! go by a list whose document it lacks: it asks the others until it has it, and proposes nothing
//! before. A member that has lost everything begins without a document, and without a vote until
//! the others give its new life one.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use quorate_proto::{
    MemberNumber, NodeId, Origin,
    message::{Member, Message, View},
    mutant::Mutant,
    register::{Answer, Ballot, Document, Request, Voter},
};

use super::{Adoption, LinkId, Membership, Output, Standing, admission::same_place};
use crate::{
    limits::{DOCUMENT_ASKED_EVERY, VOTERS_MAX},
    movement::leaving,
    register::{self, ChangeError, Elector, Register, State, choose_voters, next_voters, version},
    time::Instant,
    topology,
};

/// What the voters decide on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The member list.
    pub view: View,
    /// Whether slots stay where they are although they are to go elsewhere, until somebody says
    /// that they go on.
    pub is_paused: bool,
}

/// The register of this node, once its list is final.
#[derive(Debug)]
pub(super) struct Voting {
    pub(super) register: Register,
    /// When to ask for the newest document, while this node goes by a newer list.
    ask_at: Instant,
    /// Counts such questions: each goes to another member.
    asked: usize,
}

impl Decision {
    /// As the value of a document: a byte that says whether slots stay, and the list as in
    /// [`Message::Members`].
    pub fn to_value(&self) -> Bytes {
        let mut value = Vec::from([u8::from(self.is_paused)]);
        Message::Members(Box::new(self.view.clone())).encode_body(&mut value);
        value.into()
    }

    /// What [`Decision::to_value`] has made; `None` of anything else.
    pub fn from_value(mut value: Bytes) -> Option<Self> {
        if value.is_empty() {
            return None;
        }
        let is_paused = match value.split_to(1)[0] {
            0 => false,
            1 => true,
            _ => return None,
        };
        match Message::decode(MEMBERS, value) {
            Ok(Message::Members(view)) => Some(Self { view: *view, is_paused }),
            _ => None,
        }
    }
}

/// The kind of [`Message::Members`].
const MEMBERS: u8 = 4;

/// Whether a document that somebody tells of is one that this node can go by.
fn is_sound(document: &Document) -> bool {
    let Document { version, voters, value, .. } = document;
    if version::changes(*version) > CHANGES_MAX || voters.len() > VOTERS_MAX + 1 {
        return false;
    }
    if value.is_empty() {
        return voters.is_sorted_by(|a, b| a < b);
    }
    let fits = |decision: Decision| {
        let view = decision.view;
        view.sealed && view.epoch == *version && topology::check(&view).is_ok()
    };
    !voters.is_empty()
        && voters.is_sorted_by(|a, b| a < b)
        && Decision::from_value(value.clone()).is_some_and(fits)
}

/// More changes than any cluster sees: nobody can make this node run out of them.
const CHANGES_MAX: u32 = u32::MAX / 2;

fn is_sound_request(request: &Request) -> bool {
    match request {
        Request::Prepare { base, .. } => is_sound(base),
        Request::Accept { base, document, .. } => is_sound(base) && is_sound(document),
        Request::Learn(document) => is_sound(document),
    }
}

fn is_sound_answer(answer: &Answer) -> bool {
    match answer {
        Answer::Promised { accepted, .. } => {
            accepted.as_ref().is_none_or(|accepted| is_sound(&accepted.document))
        }
        Answer::Decided(document) => is_sound(document),
        Answer::Accepted { .. } | Answer::Refused { .. } => true,
    }
}

/// A member as one that may have a vote.
pub(super) fn elector(member: &Member) -> Elector<'_> {
    let Member { id, datacentre, rack, incarnation, .. } = member;
    Elector { voter: Voter { member: *id, life: incarnation.life }, datacentre, rack }
}

/// The first document of a cluster whose sealed list this is.
fn first_document(view: &View) -> Document {
    let mut electors: Vec<Elector> = view.members.iter().map(elector).collect();
    electors.iter_mut().for_each(|elector| elector.voter.life = 0);
    let voters = choose_voters(&electors, &[]);
    // No process has this origin, so nobody may skip the first phase.
    let author = Ballot::default();
    Document { version: view.epoch, author, voters, value: Bytes::new() }
}

/// What a member has that knows of no document.
fn no_document() -> Document {
    let (author, voters) = (Ballot::default(), Vec::new());
    Document { version: 0, author, voters, value: Bytes::new() }
}

impl Membership {
    /// The list is final: this node has a register from now on, with what it has persisted.
    pub(super) fn begin_voting(&mut self, now: Instant, persisted: Option<State>) {
        let is_first = self.decided.is_none() && self.config.member.incarnation.life == 0;
        let fresh = if is_first { first_document(&self.view()) } else { no_document() };
        let state = persisted.unwrap_or_else(|| State::new(fresh));
        let number = self.numbers.of(self.me()).unwrap_or(MemberNumber(0));
        let origin = Origin::new(number.0, self.config.member.incarnation.start);
        let register = Register::new(self.voter(), origin, state, self.random.next_u64());
        let newest = register.decided().clone();
        self.voting = Some(Voting { register, ask_at: now, asked: 0 });
        // A crash may have come between the document and its list.
        self.take_document(now, &newest);
    }

    /// This node, in the life in which it votes.
    fn voter(&self) -> Voter {
        Voter { member: self.me(), life: self.config.member.incarnation.life }
    }

    /// What the node must remember of its votes; `None` while it is what follows from the list.
    pub(super) fn votes_to_keep(&self) -> Option<State> {
        let state = self.voting.as_ref()?.register.state();
        let is_first = state.decided.value.is_empty() && state.decided.version != 0;
        let is_untouched = is_first && state.promised == Ballot::default();
        (!is_untouched).then(|| state.clone())
    }

    /// The newest document that is known here, with what it says; `None` while the list is not
    /// final, or its document is not known here.
    pub fn decision(&self) -> Option<(Decision, Vec<Voter>)> {
        let document = self.voting.as_ref()?.register.decided();
        let decision = self.decision_of(document)?;
        Some((decision, document.voters.clone()))
    }

    pub(super) fn decision_of(&self, document: &Document) -> Option<Decision> {
        if !document.value.is_empty() {
            return Decision::from_value(document.value.clone());
        }
        let view = self.view();
        (document.version == view.epoch).then_some(Decision { view, is_paused: false })
    }

    /// A member asks about the next list. Returns the answer; `None` when it asks nonsense.
    pub(super) fn answer_ballot(&mut self, now: Instant, request: Request) -> Option<Answer> {
        if !is_sound_request(&request) {
            return None;
        }
        let answer = self.voting.as_mut()?.register.handle_request(now, request);
        // What was promised is written down before the answer leaves.
        self.drain_voting(now);
        Some(answer)
    }

    /// A voter has answered on a link of this node's.
    pub(super) fn count_ballot(&mut self, now: Instant, link: LinkId, answer: Answer) -> bool {
        let Some(peer) = self.outgoing.get(&link) else { return true };
        let from = Voter { member: peer.id, life: peer.incarnation.life };
        if !is_sound_answer(&answer) {
            return false;
        }
        if let Some(voting) = &mut self.voting {
            voting.register.handle_answer(now, from, answer);
            self.drain_voting(now);
        }
        true
    }

    /// When the register wants to go on.
    pub(super) fn poll_voting_timeout(&self) -> Option<Instant> {
        let voting = self.voting.as_ref()?;
        let ask_at = self.is_behind().then_some(voting.ask_at);
        voting.register.poll_timeout().into_iter().chain(ask_at).min()
    }

    pub(super) fn handle_voting_timeout(&mut self, now: Instant) {
        if let Some(voting) = &mut self.voting {
            voting.register.handle_timeout(now);
            self.drain_voting(now);
        }
        self.ask_for_document(now);
    }

    /// Whether this node goes by a list whose document it lacks.
    fn is_behind(&self) -> bool {
        let version = self.voting.as_ref().map(|voting| voting.register.decided().version);
        version.is_some_and(|version| version < self.epoch())
    }

    fn ask_for_document(&mut self, now: Instant) {
        if !self.is_behind() {
            return;
        }
        let links: Vec<LinkId> = self.outgoing.keys().copied().collect();
        let Some(voting) = self.voting.as_mut().filter(|voting| voting.ask_at <= now) else {
            return;
        };
        voting.ask_at = now + DOCUMENT_ASKED_EVERY;
        voting.asked = voting.asked.wrapping_add(1);
        if let Some(&link) = links.get(voting.asked % links.len().max(1)) {
            let request = Request::Learn(voting.register.decided().clone());
            let message = Message::Ballot(Box::new(request));
            self.outputs.push_back(Output::Send { link, message });
        }
    }

    /// Does what the register asks for, in order.
    pub(super) fn drain_voting(&mut self, now: Instant) {
        while let Some(output) = self.voting.as_mut().and_then(|it| it.register.poll_output()) {
            match output {
                register::Output::Persist(_) if Mutant::VoteUnwritten.is_planted() => {}
                register::Output::Persist(_) => self.persist(),
                register::Output::Ask { voter, request } => self.ask_voter(voter, request),
                register::Output::Decided(document) => self.take_document(now, &document),
                register::Output::Finished(outcome) => self.finish_order(now, outcome),
            }
        }
    }

    fn ask_voter(&mut self, voter: Voter, request: Request) {
        let mut links = self.outgoing.iter();
        if let Some((&link, _)) = links.find(|(_, peer)| elector(peer).voter == voter) {
            let message = Message::Ballot(Box::new(request));
            self.outputs.push_back(Output::Send { link, message });
        }
    }

    /// Goes by what was decided, unless it goes by a newer list.
    fn take_document(&mut self, now: Instant, document: &Document) {
        if self.standing != Standing::Sealed {
            return;
        }
        let Some(decision) = Decision::from_value(document.value.clone()) else { return };
        match self.adopt(now, &decision.view) {
            Ok(Adoption::Adopted | Adoption::Known | Adoption::Left) => {}
            Err(error) => {
                let event = super::Event::Unfit { epoch: decision.view.epoch, error };
                self.outputs.push_back(Output::Event(event));
            }
        }
    }

    /// Wants `decision` to follow the newest document. Its list is told with what this node knows of
    /// its members, and the voters go a step towards those that fit it.
    pub(super) fn propose(
        &mut self,
        now: Instant,
        mut decision: Decision,
    ) -> Result<(), ChangeError> {
        self.refresh(&mut decision.view);
        let present = match &self.voting {
            Some(voting) => voting.register.decided().clone(),
            None => return Err(ChangeError::Busy),
        };
        let voters = self.voters_after(&present, &decision.view);
        let is_next = decision.view.epoch == version::next(present.version);
        let expected = present.version;
        if !is_next || self.is_behind() {
            let decided = self.epoch();
            return Err(ChangeError::Changed { expected, decided });
        }
        let change = register::Change { expected, voters, value: decision.to_value() };
        let Some(voting) = &mut self.voting else { return Err(ChangeError::Busy) };
        voting.register.compare_and_set(now, change)?;
        self.drain_voting(now);
        Ok(())
    }

    /// Describes the members of a list as this node has met them.
    pub(super) fn refresh(&self, view: &mut View) {
        for member in &mut view.members {
            let met = self.members.get(&member.id).filter(|met| same_place(met, member));
            if let Some(met) = met {
                *member = Member { duties: member.duties, ..met.clone() };
            }
        }
    }

    /// The voters one step towards those that a list wants.
    pub(super) fn voters_after(&self, present: &Document, view: &View) -> Vec<Voter> {
        let leaves =
            |id: NodeId| view.numbers.of(id).is_some_and(|number| leaving(view).contains(&number));
        // Nobody gets a vote who is not there to use it.
        let is_there = |member: &Member| {
            let voter = elector(member).voter;
            voter == self.voter() || present.voters.contains(&voter) || self.is_linked(&voter)
        };
        let staying = view.members.iter().filter(|member| !leaves(member.id) && is_there(member));
        let electors: Vec<Elector> = staying.map(elector).collect();
        let wanted = choose_voters(&electors, &present.voters);
        if wanted.is_empty() {
            return present.voters.clone();
        }
        let is_over = |voter: &Voter| {
            let member = view.members.iter().find(|member| member.id == voter.member);
            member.is_none_or(|member| member.incarnation.life > voter.life)
        };
        next_voters(&present.voters, &wanted, is_over).unwrap_or_else(|| present.voters.clone())
    }

    /// The newest document that is known here.
    pub(super) fn newest(&self) -> Option<&Document> {
        self.voting.as_ref().map(|voting| voting.register.decided())
    }

    /// Whether a majority of the voters is linked, this node among them: without, nothing can be
    /// decided.
    pub fn has_majority(&self) -> bool {
        let Some(voting) = &self.voting else { return true };
        let voters = &voting.register.decided().voters;
        let is_there = |voter: &&Voter| **voter == self.voter() || self.is_linked(voter);
        voters.is_empty() || voters.iter().filter(is_there).count() > voters.len() / 2
    }

    fn is_linked(&self, voter: &Voter) -> bool {
        self.outgoing.values().any(|peer| elector(peer).voter == *voter)
    }

    /// Whether it is for this node to go on with what was decided: the first of the voters that are
    /// up does. That two take themselves for it does no harm.
    pub fn is_driver(&self) -> bool {
        let Some(voting) = &self.voting else { return false };
        let voters = &voting.register.decided().voters;
        let up = voters.iter().find(|voter| **voter == self.voter() || self.is_linked(voter));
        up.is_some_and(|voter| *voter == self.voter())
    }
}
