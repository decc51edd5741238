//! What a proposer asks, and what it makes of the answers.

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use quorate_proto::register::{Accepted, Answer, Ballot, Document, Request, Voter};

use super::{Change, Outcome, Output, Register, version, voters::majority};
use crate::{
    limits::{BALLOT_PATIENCE, BALLOT_PAUSE_MAX, BALLOT_PAUSE_MIN, BALLOTS_MAX},
    time::Instant,
};

/// A change or a reading that is under way.
#[derive(Debug)]
pub(super) struct Proposal {
    goal: Goal,
    phase: Phase,
    /// Of the present attempt.
    ballot: Ballot,
    /// Who has answered it in this phase as it was asked to.
    voted: BTreeSet<Voter>,
    attempts: u8,
    pause: Duration,
    /// When the next attempt is made.
    retry_at: Instant,
}

#[derive(Clone, Debug)]
enum Goal {
    /// To hear which document is the newest.
    Read,
    /// To have this one decided.
    Write {
        /// Its author is the ballot under which voters are asked first to accept it.
        document: Document,
        /// Whether they were.
        is_asked: bool,
    },
}

#[derive(Debug)]
enum Phase {
    /// Waits to make the next attempt.
    Pausing,
    /// Waits for promises.
    Preparing {
        /// What voters have accepted already, with the highest ballot.
        found: Option<Accepted>,
    },
    /// Waits for voters to accept a document, not necessarily its own.
    Accepting(Document),
    /// Its own document is decided. Waits for a majority of its voters to know.
    HandingOn,
}

impl Register {
    /// Begins a change, or a reading when there is none.
    pub(super) fn propose(&mut self, now: Instant, change: Option<Change>) {
        let goal = change.map_or(Goal::Read, |Change { expected, voters, value }| {
            let (version, author) = (version::next(expected), Ballot::default());
            Goal::Write { document: Document { version, author, voters, value }, is_asked: false }
        });
        self.proposal = Some(Proposal {
            goal,
            phase: Phase::Pausing,
            ballot: Ballot::default(),
            voted: BTreeSet::new(),
            attempts: 0,
            pause: BALLOT_PAUSE_MIN,
            retry_at: now,
        });
        self.attempt(now);
    }

    /// When [`Register::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.proposal.as_ref().map(|proposal| proposal.retry_at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.attempt(now);
        }
    }

    /// The answer of a voter, in the life in which it has given it.
    pub fn handle_answer(&mut self, now: Instant, from: Voter, answer: Answer) {
        let decided = &self.state.decided;
        let is_voter = decided.voters.contains(&from);
        let current = decided.version;
        match answer {
            Answer::Decided(document) if document.version > current => self.learn(now, document),
            Answer::Decided(document) if document.version == current && is_voter => {
                self.count_holder(from);
            }
            Answer::Promised { base, ballot, accepted } if base == current && is_voter => {
                self.count_promise(now, from, ballot, accepted);
            }
            Answer::Accepted { base, ballot } if base == current && is_voter => {
                self.count_acceptance(now, from, ballot);
            }
            Answer::Refused { base, ballot, promised } if base == current => {
                self.give_way(now, ballot, promised);
            }
            // Late answers about what was decided meanwhile.
            Answer::Decided(_)
            | Answer::Promised { .. }
            | Answer::Accepted { .. }
            | Answer::Refused { .. } => {}
        }
    }

    /// Tries again, with a higher ballot.
    fn attempt(&mut self, now: Instant) {
        let Some(proposal) = &mut self.proposal else { return };
        if proposal.attempts == BALLOTS_MAX {
            return self.give_up();
        }
        proposal.attempts += 1;
        proposal.voted.clear();
        proposal.retry_at = now + BALLOT_PATIENCE;
        let base = self.state.decided.clone();
        if matches!(proposal.phase, Phase::HandingOn) {
            return self.ask(now, &base.voters, &Request::Learn(base.clone()));
        }
        let is_next_in_line = self.round == 0 && base.author.origin == self.origin;
        if is_next_in_line && let Goal::Write { document, .. } = &proposal.goal {
            // Whoever uses this round has used it: from now on it is a higher one.
            self.round = 1;
            proposal.ballot = Ballot { round: 0, origin: self.origin };
            let document = document.clone();
            return self.ask_to_accept(now, document);
        }
        self.round += 1;
        proposal.ballot = Ballot { round: self.round, origin: self.origin };
        proposal.phase = Phase::Preparing { found: None };
        let request = Request::Prepare { ballot: proposal.ballot, base: base.clone() };
        self.ask(now, &base.voters, &request);
    }

    fn count_promise(
        &mut self,
        now: Instant,
        from: Voter,
        ballot: Ballot,
        accepted: Option<Accepted>,
    ) {
        let majority = majority(&self.state.decided.voters);
        let Some(proposal) = &mut self.proposal else { return };
        let Phase::Preparing { found } = &mut proposal.phase else { return };
        if ballot != proposal.ballot || !proposal.voted.insert(from) {
            return;
        }
        if accepted.as_ref().map(|it| it.ballot) > found.as_ref().map(|it| it.ballot) {
            *found = accepted;
        }
        if proposal.voted.len() < majority {
            return;
        }
        match (found.take(), &proposal.goal) {
            (Some(found), _) => self.ask_to_accept(now, found.document),
            (None, Goal::Write { document, .. }) => {
                let document = document.clone();
                self.ask_to_accept(now, document);
            }
            (None, Goal::Read) => self.finish(Outcome::Current(self.state.decided.clone())),
        }
    }

    /// The second phase.
    fn ask_to_accept(&mut self, now: Instant, mut document: Document) {
        let Some(proposal) = &mut self.proposal else { return };
        let ballot = proposal.ballot;
        if document.author == Ballot::default() {
            document.author = ballot;
            proposal.goal = Goal::Write { document: document.clone(), is_asked: true };
        }
        proposal.voted.clear();
        proposal.phase = Phase::Accepting(document.clone());
        let base = self.state.decided.clone();
        let request = Request::Accept { ballot, base: base.clone(), document };
        self.ask(now, &base.voters, &request);
    }

    fn count_acceptance(&mut self, now: Instant, from: Voter, ballot: Ballot) {
        let majority = majority(&self.state.decided.voters);
        let Some(proposal) = &mut self.proposal else { return };
        let Phase::Accepting(document) = &proposal.phase else { return };
        if ballot != proposal.ballot || !proposal.voted.insert(from) {
            return;
        }
        if proposal.voted.len() >= majority {
            let document = document.clone();
            self.learn(now, document.clone());
            if !self.is_handing_on() {
                self.ask(now, &document.voters.clone(), &Request::Learn(document));
            }
        }
    }

    /// Another proposer has a higher ballot.
    fn give_way(&mut self, now: Instant, ballot: Ballot, promised: Ballot) {
        self.round = self.round.max(promised.round);
        let Some(proposal) = &mut self.proposal else { return };
        let is_waiting = matches!(proposal.phase, Phase::Preparing { .. } | Phase::Accepting(_));
        if is_waiting && ballot == proposal.ballot {
            proposal.phase = Phase::Pausing;
            proposal.retry_at = now + self.random.jittered(proposal.pause);
            proposal.pause = (proposal.pause * 2).min(BALLOT_PAUSE_MAX);
        }
    }

    fn is_handing_on(&self) -> bool {
        self.proposal.as_ref().is_some_and(|it| matches!(it.phase, Phase::HandingOn))
    }

    /// A voter knows that the newest document is decided.
    fn count_holder(&mut self, from: Voter) {
        let majority = majority(&self.state.decided.voters);
        if !self.is_handing_on() {
            return;
        }
        let Some(proposal) = &mut self.proposal else { return };
        proposal.voted.insert(from);
        if proposal.voted.len() >= majority {
            let document = self.state.decided.clone();
            self.finish(Outcome::Decided { document, is_over: true });
        }
    }

    /// A newer document is decided, by `voters`: settles what that means for what is under way.
    pub(super) fn settle(&mut self, now: Instant, voters: &[Voter]) {
        let Some(proposal) = &mut self.proposal else { return };
        let decided = &self.state.decided;
        proposal.pause = BALLOT_PAUSE_MIN;
        match &proposal.goal {
            Goal::Read => self.attempt(now),
            // A majority of the voters has gone on from there.
            Goal::Write { document, .. } if matches!(proposal.phase, Phase::HandingOn) => {
                let document = document.clone();
                self.finish(Outcome::Decided { document, is_over: true });
            }
            // Nor has it to be handed on when the majority that has accepted it stays one.
            Goal::Write { document, .. } if document == decided && document.voters == voters => {
                let document = document.clone();
                self.finish(Outcome::Decided { document, is_over: true });
            }
            Goal::Write { document, .. } if document == decided => {
                proposal.phase = Phase::HandingOn;
                proposal.attempts = 0;
                self.attempt(now);
            }
            Goal::Write { document, is_asked } => {
                let is_lost = decided.version == document.version || !is_asked;
                let lost = Outcome::Lost(decided.clone());
                self.finish(if is_lost { lost } else { Outcome::Unknown });
            }
        }
    }

    fn give_up(&mut self) {
        let Some(proposal) = &self.proposal else { return };
        let outcome = match (&proposal.goal, &proposal.phase) {
            (Goal::Write { document, .. }, Phase::HandingOn) => {
                Outcome::Decided { document: document.clone(), is_over: false }
            }
            (Goal::Write { is_asked: true, .. }, _) => Outcome::Unknown,
            (Goal::Write { is_asked: false, .. } | Goal::Read, _) => Outcome::Unreachable,
        };
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        self.proposal = None;
        self.outputs.push_back(Output::Finished(outcome));
    }

    /// Asks these voters, this member among them if it is one.
    fn ask(&mut self, now: Instant, voters: &[Voter], request: &Request) {
        let (own, others): (Vec<Voter>, Vec<Voter>) =
            voters.iter().partition(|voter| **voter == self.me);
        for voter in others {
            self.outputs.push_back(Output::Ask { voter, request: request.clone() });
        }
        for voter in own {
            let answer = self.handle_request(now, request.clone());
            self.handle_answer(now, voter, answer);
        }
    }
}
