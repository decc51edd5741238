//! What members say to each other about a register that is decided by consensus. The rules are
//! those of `quorate_cluster::register`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{NodeId, Origin};

/// An attempt to decide. Higher ones overrule lower ones.
///
/// An origin belongs to one start of one member, which uses a round once, so no two attempts on a
/// version have the same ballot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// 0 is reserved for the author of the document before.
    pub round: u32,
    /// Who makes the attempt.
    pub origin: Origin,
}

/// A member that has a vote, in one of its lives: one that has lost everything has forgotten how it
/// voted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voter {
    /// The member.
    pub member: NodeId,
    /// The life in which it votes.
    pub life: u16,
}

/// A value of a register, with those who decide about the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Higher ones are newer. See `quorate_cluster::register::version` for its parts.
    pub version: u64,
    /// The ballot under which it was proposed first: tells apart two documents of one version, of
    /// which one is decided at most.
    pub author: Ballot,
    /// In ascending order, each once.
    pub voters: Vec<Voter>,
    /// The value.
    pub value: Bytes,
}

/// A document that a voter has accepted, decided or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Under which ballot.
    pub ballot: Ballot,
    /// The document.
    pub document: Document,
}

/// What a proposer asks. The document that was decided before travels along, so that whoever is
/// behind is brought level by the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks to accept nothing below the ballot any more.
    Prepare {
        /// The document that was decided before.
        base: Document,
        /// The attempt.
        ballot: Ballot,
    },
    /// Asks to accept a document.
    Accept {
        /// The document that was decided before.
        base: Document,
        /// The attempt.
        ballot: Ballot,
        /// The document to follow it.
        document: Document,
    },
    /// Tells that a document was decided.
    Learn(Document),
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The voter accepts nothing below the ballot any more.
    Promised {
        /// The version of the document that was decided before.
        base: u64,
        /// The attempt.
        ballot: Ballot,
        /// What the voter has accepted to follow it.
        accepted: Option<Accepted>,
    },
    /// The voter has accepted the document.
    Accepted {
        /// The version of the document that was decided before.
        base: u64,
        /// The attempt.
        ballot: Ballot,
    },
    /// The voter has promised a higher ballot to another one.
    Refused {
        /// The version of the document that was decided before.
        base: u64,
        /// The attempt that was refused.
        ballot: Ballot,
        /// The higher one.
        promised: Ballot,
    },
    /// The newest document that the receiver knows to be decided: the answer to one that is told,
    /// to one that is behind, and of one that has no vote.
    Decided(Document),
}
