//! A compare-and-set register over a document, decided by a few voters: CASPaxos (Rystsov, 2018),
//! with the voters inside the document.
//!
//! ```text
//!            voters of 7 decide on 8       voters of 8 decide on 9
//!  document 7 ───────────────────▶ document 8 ───────────────────▶ ...
//! ```
//!
//! Each version is decided once, by a majority of the voters that the version before names. Every
//! question carries the document that was decided before, its *base*: whoever is behind adopts it,
//! whoever is ahead answers with what has been decided since. So votes on different versions never
//! meet, and what is known to be decided may be taken from anybody.
//!
//! **A vote** has the two phases of Paxos. A proposer asks the voters to promise that they accept
//! nothing below its ballot, and hears what they have accepted already. If a majority has promised,
//! it asks them to accept the document with the highest ballot among those, or its own if there is
//! none. What a majority has accepted is decided. Round 0 of a version belongs to the author of the
//! document before, who is one process: nothing can have been accepted below, so it asks at once.
//!
//! **Safety.** One document is decided for each version. Say that a majority has accepted X under
//! the ballot b. Whoever proposes under a higher one has the promises of a majority, one voter of
//! which is in both. It accepted X before it promised, for afterwards it would have refused b; so
//! it tells of X, or of what it accepted in between, which by induction over ballots is X as well.
//! This asks for three things: a voter keeps what it promised and accepted, which it writes down
//! before it answers; a voter that has lost it has no vote, which is why a vote belongs to a
//! *life*; and a ballot has one document, because its origin belongs to one process.
//!
//! **Change of voters.** A document may name other voters than its base, one more or one less. It is
//! decided by those of the base; whoever does not know of it has to ask a majority of those, and
//! hears of it. The change is *over*, and the voter that has left may be stopped, when a majority
//! of the new voters has written down that the document is decided: from then on each majority of
//! them leads on, without the one that has left. One at a time, a majority of the old voters and
//! one of the new ones always share a voter, so no second set can decide unheard.
//!
//! **When the majority is lost for good** nothing can be decided any more, and a person has to say
//! who decides instead: [`Register::override_voters`] makes a document of a higher *generation*.
//! It replaces every document of a lower one wherever it is heard of, which fences the voters that
//! were lost: what they decide meanwhile is void.
//!
//! A minority decides nothing, and nobody needs the voters for anything but changes.
//!
//! Left to others: persistence and links (the shell), what the value means.

mod acceptor;
#[cfg(test)]
mod linearizability;
mod proposer;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
pub mod version;
mod voters;

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;
use quorate_proto::{
    Origin,
    register::{Answer, Ballot, Document, Request, Voter},
};

pub use acceptor::State;
pub use voters::{Elector, choose_voters, next_voters};

use crate::{random::Random, time::Instant};
use proposer::Proposal;

/// One register of a member, whether it has a vote or not.
#[derive(Debug)]
pub struct Register {
    me: Voter,
    /// Of this process: what ballots are made of.
    origin: Origin,
    state: State,
    /// Highest round of the present vote that was used here or heard of.
    round: u32,
    proposal: Option<Proposal>,
    random: Random,
    outputs: VecDeque<Output>,
}

/// A change that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The version that it was made of: nothing is changed when there is another one.
    pub expected: u64,
    /// Those who decide from then on, in ascending order.
    pub voters: Vec<Voter>,
    /// The value.
    pub value: Bytes,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make this durable before carrying out any later output, and before answering anything. A
    /// node that cannot must stop.
    Persist(State),
    /// Ask a voter. What it answers is for [`Register::handle_answer`]; it need not arrive.
    Ask {
        /// The voter.
        voter: Voter,
        /// The question.
        request: Request,
    },
    /// A newer document was decided, here or elsewhere.
    Decided(Document),
    /// What was wanted here is over.
    Finished(Outcome),
}

/// How a change or a reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The change was decided.
    Decided {
        /// What it has become.
        document: Document,
        /// A majority of its voters knows so. Unless, the voter that has left is still needed.
        is_over: bool,
    },
    /// Another change was decided instead. This one has changed nothing, and never will.
    Lost(Document),
    /// The newest document, at some time since it was asked for.
    Current(Document),
    /// No voter was asked for the change, since no majority answered: it has changed nothing.
    Unreachable,
    /// Whether the change was, or will be, decided is not known.
    Unknown,
}

/// Why a change or a reading does not begin. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Another one of this process is under way.
    #[error("another change is under way on this node; try again when it is over")]
    Busy,
    /// The change was made of another version.
    #[error("the change was made of version {expected}, but version {decided} is decided")]
    Changed {
        /// What the change was made of.
        expected: u64,
        /// The newest version known here.
        decided: u64,
    },
    /// The voters are not in order, or differ from the present ones by more than one.
    #[error("the voters may change by one at a time, and one at least must be left")]
    Voters,
}

impl Register {
    /// The register of the member `me` in a process that makes ballots of `origin`, with what it
    /// has persisted before, or the newest document that others tell it, and a seed for its jitter.
    pub fn new(me: Voter, origin: Origin, state: State, seed: u64) -> Self {
        Self {
            me,
            origin,
            state,
            round: 0,
            proposal: None,
            random: Random::new(seed),
            outputs: VecDeque::new(),
        }
    }

    /// The newest document that is known to be decided.
    pub fn decided(&self) -> &Document {
        &self.state.decided
    }

    /// What is to survive a crash.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether a change or a reading of this process is under way.
    pub fn is_busy(&self) -> bool {
        self.proposal.is_some()
    }

    /// Begins a change. [`Output::Finished`] tells how it has ended.
    pub fn compare_and_set(&mut self, now: Instant, change: Change) -> Result<(), ChangeError> {
        let Document { version: decided, ref voters, .. } = self.state.decided;
        if self.is_busy() {
            return Err(ChangeError::Busy);
        }
        if change.expected != decided {
            return Err(ChangeError::Changed { expected: change.expected, decided });
        }
        if !voters::is_one_step(voters, &change.voters) {
            return Err(ChangeError::Voters);
        }
        self.propose(now, Some(change));
        Ok(())
    }

    /// Begins to ask which document is the newest. [`Output::Finished`] tells.
    pub fn read(&mut self, now: Instant) -> Result<(), ChangeError> {
        if self.is_busy() {
            return Err(ChangeError::Busy);
        }
        self.propose(now, None);
        Ok(())
    }

    /// Replaces the voters without asking them, because a person says that a majority of them is
    /// lost for good. Should they be alive after all, whatever they have decided and this member
    /// does not know is void.
    pub fn override_voters(&mut self, now: Instant, voters: Vec<Voter>, value: Bytes) {
        assert!(voters::is_possible(&voters), "invariant: whoever calls this has looked");
        let version = version::overruling(self.state.decided.version, self.origin);
        let author = Ballot { round: 0, origin: self.origin };
        self.learn(now, Document { version, author, voters, value });
    }

    /// A document that is decided was heard of, from anybody.
    pub fn handle_decided(&mut self, now: Instant, document: Document) {
        self.learn(now, document);
    }

    /// Answers a proposer. [`Output::Persist`] comes before the answer may leave.
    pub fn handle_request(&mut self, now: Instant, request: Request) -> Answer {
        let (base, ballot, document) = match request {
            Request::Prepare { base, ballot } => (base, ballot, None),
            Request::Accept { base, ballot, document } => (base, ballot, Some(document)),
            Request::Learn(document) => {
                self.learn(now, document);
                return Answer::Decided(self.state.decided.clone());
            }
        };
        let version = base.version;
        self.learn(now, base);
        let decided = &self.state.decided;
        if decided.version != version || !decided.voters.contains(&self.me) {
            return Answer::Decided(decided.clone());
        }
        let before = self.state.clone();
        let answer = match document {
            None => self.state.prepare(ballot),
            Some(document) => self.state.accept(ballot, document),
        };
        if self.state != before {
            self.persist();
        }
        answer
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn persist(&mut self) {
        self.outputs.push_back(Output::Persist(self.state.clone()));
    }

    /// Takes over a document that is decided, if it is newer than the one that is known.
    fn learn(&mut self, now: Instant, document: Document) {
        if document.version <= self.state.decided.version {
            return;
        }
        let before = core::mem::replace(&mut self.state, State::new(document.clone()));
        self.round = 0;
        self.persist();
        self.outputs.push_back(Output::Decided(document));
        self.settle(now, &before.decided.voters);
    }
}
