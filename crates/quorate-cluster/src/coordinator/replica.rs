//! The local replica, as coordination sees it.
//!
//! What needs no values is answered at once: digests, durability, hints. What needs them may come
//! later, by a ticket ([`Coordinator::handle_stored`](super::Coordinator::handle_stored)). A replica
//! that answers [`Poll::Pending`]
//!
//! * shows nothing of it until the outcome is handed over: digests, reads and exports are of the
//!   state without it, and so is what it keeps;
//! * hands the outcome over once, whatever has become of whoever asked;
//! * is meanwhile asked for no other change of the same slot, and for whatever else there is.
//!   Anti-entropy rounds and [`Replica::merge_now`] do not go by that.

use alloc::{string::String, vec::Vec};
use core::task::Poll;

use bytes::Bytes;
use quorate_proto::{Dot, MemberNumber, Slot, command::Call, message::Cause};

use crate::{elements::Elements, time::Instant};

/// When something is as durable as the sync policy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is already.
    Now,
    /// Once the log is synced up to this sequence.
    At(u64),
    /// Never: the log has failed.
    Never,
}

/// What executing a command gave.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The encoded reply.
    pub reply: Bytes,
    /// The effect; empty when nothing changed.
    pub effect: Bytes,
    /// Its name, when other replicas need one.
    pub dot: Option<Dot>,
    /// When the effect is durable here.
    pub durability: Durability,
}

/// Why the local replica refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub cause: Cause,
    /// The same for a reader.
    pub text: String,
}

impl Rejection {
    /// A write has come too late to be begun.
    pub fn late() -> Self {
        Self { cause: Cause::Overloaded, text: "the write has come too late to be begun".into() }
    }
}

/// What a read shows, and the digest of what it names, both of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// As of [`Replica::digest`].
    pub digest: u128,
    /// As of [`Replica::read`].
    pub reply: Option<Bytes>,
}

/// Names what a replica was asked for, if it answers later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// What a replica answers later, each to the question of its name.
#[derive(Clone, Debug)]
pub enum Stored {
    /// To [`Replica::execute`].
    Executed(Result<Executed, Rejection>),
    /// To [`Replica::read`].
    Reply(Option<Bytes>),
    /// To [`Replica::snapshot`].
    Snapshot(Snapshot),
    /// To [`Replica::export`].
    Exported(Bytes),
    /// To [`Replica::merge`].
    Merged(Result<Durability, Rejection>),
}

/// The local replica: what coordination needs of the store and the hint log.
pub trait Replica: Elements {
    /// Executes a call on the local state. One that answers later stamps what it writes with the
    /// time of the question, or executes it [until](Rejection::late) `by` or not at all.
    fn execute(
        &mut self,
        ticket: Ticket,
        call: &Call,
        resp3: bool,
        by: Option<Instant>,
    ) -> Poll<Result<Executed, Rejection>>;
    /// The encoded reply of a call that only reads; `None` where that depends on what time it is,
    /// which this node does not know at the moment.
    fn read(&mut self, ticket: Ticket, call: &Call, resp3: bool) -> Poll<Option<Bytes>>;
    /// The same with the digest of the state that it shows.
    fn snapshot(&mut self, ticket: Ticket, call: &Call, resp3: bool) -> Poll<Snapshot>;
    /// The whole state of the keys that a call names, as an effect; of a call about slots what
    /// another replica needs to execute it for this one too, as an argument.
    fn export(&mut self, ticket: Ticket, call: &Call) -> Poll<Bytes>;
    /// Merges an effect that holds all of these writes, or a state.
    fn merge(
        &mut self,
        ticket: Ticket,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Poll<Result<Durability, Rejection>>;
    /// Reads in this moment: of keys that are compared by elements, which takes several answers of
    /// one state. A replica that cannot has no [large](Elements::is_large) keys, and is not asked.
    fn read_now(&mut self, call: &Call, resp3: bool) -> Option<Bytes>;
    /// Merges in this moment, for the same reason.
    fn merge_now(
        &mut self,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Result<Durability, Rejection>;
    /// The summed digests of the keys that a call names, or of the slots that it is about.
    fn digest(&mut self, call: &Call) -> u128;
    /// When everything that a slot holds now is durable.
    fn durability(&self, slot: Slot) -> Durability;
    /// Keeps an effect for a replica that did not take it.
    fn hint(&mut self, target: MemberNumber, slot: Slot, dot: Option<Dot>, effect: &Bytes);
}
