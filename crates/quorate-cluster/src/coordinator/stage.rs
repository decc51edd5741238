//! What an operation is doing, with what only that needs.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use quorate_proto::{Dot, MemberNumber};
use smallvec::SmallVec;

use super::{crossing::Crossing, elements::Exchange};
use crate::positions::Positions;

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The reply of another node.
    Forwarding(MemberNumber),
    /// What became of a write that was forwarded to this node, which is lost.
    Asking(MemberNumber),
    /// The own store, which has yet to tell what it holds.
    Reading,
    /// Digests of other replicas.
    Digests,
    /// States of the replicas whose digests differ.
    States,
    /// Elements of the keys that the replicas have and this node lacks, or the other way around.
    Elements,
    /// Acknowledgements of the differing replicas, which were sent the merged state, or what they
    /// lack of it.
    Repairing,
    /// The own store, which has yet to execute it.
    Executing,
    /// Acknowledgements of the effect.
    Replicating,
    /// The own log, which has yet to make durable what the reply shows.
    Settled,
}

impl Phase {
    /// Whether replicas are asked, each for an answer of its own.
    pub(super) const fn asks_replicas(self) -> bool {
        match self {
            Self::Digests | Self::States | Self::Elements | Self::Repairing | Self::Replicating => {
                true
            }
            Self::Forwarding(_)
            | Self::Asking(_)
            | Self::Reading
            | Self::Executing
            | Self::Settled => false,
        }
    }
}

/// A phase with its data.
#[derive(Debug)]
pub(super) enum Stage {
    Forwarding(MemberNumber),
    Asking(MemberNumber),
    Comparing(Step, Compared),
    Executing,
    Replicating(Replication),
    Settled,
}

/// How far a comparison of replicas is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Reading,
    Digests,
    States,
    Elements,
    Repairing,
}

/// What is known of the states of the replicas that are compared.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Answered with a digest that differs.
    pub(super) differing: Positions,
    /// The local digest when the others were asked: what their answers are compared with.
    pub(super) own_digest: u128,
    /// A digest that differed, the last one to come.
    pub(super) other_digest: u128,
    /// Whether a state that differs is too large to travel whole.
    pub(super) large: bool,
    /// How often elements were compared from the beginning, by this operation.
    pub(super) exchanges: u8,
    pub(super) exchange: Option<Box<Exchange>>,
    /// What the others that differ have told of slots.
    pub(super) told: Vec<Bytes>,
}

/// A write that was executed here.
#[derive(Debug, Default)]
pub(super) struct Replication {
    pub(super) effect: Bytes,
    /// The effect's name.
    pub(super) dot: Option<Dot>,
    /// Whether the effect is durable here.
    pub(super) durable: bool,
    /// Other datacentres that it is on its way to by one replica each.
    pub(super) crossings: SmallVec<[Crossing; 1]>,
}

impl Stage {
    /// Which one it is.
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Forwarding(to) => Phase::Forwarding(*to),
            Self::Asking(executor) => Phase::Asking(*executor),
            Self::Comparing(Step::Reading, _) => Phase::Reading,
            Self::Comparing(Step::Digests, _) => Phase::Digests,
            Self::Comparing(Step::States, _) => Phase::States,
            Self::Comparing(Step::Elements, _) => Phase::Elements,
            Self::Comparing(Step::Repairing, _) => Phase::Repairing,
            Self::Executing => Phase::Executing,
            Self::Replicating(_) => Phase::Replicating,
            Self::Settled => Phase::Settled,
        }
    }

    /// The stage of `phase` that comes after this one. A comparison begins with the own state and
    /// the digests; an effect stays what it is.
    ///
    /// # Panics
    /// When states or elements are to be compared, or repaired, and digests were not.
    pub(super) fn next(self, phase: Phase) -> Self {
        match (phase, self) {
            (Phase::Forwarding(to), _) => Self::Forwarding(to),
            (Phase::Asking(executor), _) => Self::Asking(executor),
            (Phase::Digests, Self::Comparing(_, Compared { exchanges, .. })) => {
                Self::Comparing(Step::Digests, Compared { exchanges, ..Compared::default() })
            }
            (Phase::Digests, _) => Self::Comparing(Step::Digests, Compared::default()),
            (Phase::Reading, Self::Comparing(_, found)) => Self::Comparing(Step::Reading, found),
            (Phase::Reading, _) => Self::Comparing(Step::Reading, Compared::default()),
            (Phase::States, Self::Comparing(_, found)) => Self::Comparing(Step::States, found),
            (Phase::Elements, Self::Comparing(_, found)) => Self::Comparing(Step::Elements, found),
            (Phase::Repairing, Self::Comparing(_, found)) => {
                Self::Comparing(Step::Repairing, found)
            }
            (Phase::States | Phase::Elements | Phase::Repairing, other) => {
                unreachable!("invariant: digests are compared first, and not in {other:?}")
            }
            (Phase::Executing, _) => Self::Executing,
            (Phase::Replicating, Self::Replicating(found)) => Self::Replicating(found),
            (Phase::Replicating, _) => Self::Replicating(Replication::default()),
            (Phase::Settled, _) => Self::Settled,
        }
    }
}
