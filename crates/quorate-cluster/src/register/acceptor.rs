//! What a voter holds, and how it answers.

use quorate_proto::register::{Accepted, Answer, Ballot, Document};

use super::version;

/// What must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The newest document that is known to be decided.
    pub decided: Document,
    /// Nothing below this is accepted to follow it.
    pub promised: Ballot,
    /// What was accepted to follow it.
    pub accepted: Option<Accepted>,
}

impl State {
    /// Of a member that has heard that `decided` is decided, and has not voted on what follows.
    pub fn new(decided: Document) -> Self {
        Self { decided, promised: Ballot::default(), accepted: None }
    }

    /// Answers whether nothing below `ballot` is accepted any more.
    pub(super) fn prepare(&mut self, ballot: Ballot) -> Answer {
        if ballot < self.promised {
            return self.refuse(ballot);
        }
        self.promised = ballot;
        let (base, accepted) = (self.decided.version, self.accepted.clone());
        Answer::Promised { base, ballot, accepted }
    }

    /// Answers whether `document` is accepted.
    pub(super) fn accept(&mut self, ballot: Ballot, document: Document) -> Answer {
        let is_reserved = ballot.round == 0 && ballot.origin != self.decided.author.origin;
        let is_next = document.version == version::next(self.decided.version);
        if ballot < self.promised || is_reserved || !is_next {
            return self.refuse(ballot);
        }
        self.promised = ballot;
        self.accepted = Some(Accepted { ballot, document });
        Answer::Accepted { base: self.decided.version, ballot }
    }

    fn refuse(&self, ballot: Ballot) -> Answer {
        let (base, promised) = (self.decided.version, self.promised);
        Answer::Refused { base, ballot, promised }
    }
}
