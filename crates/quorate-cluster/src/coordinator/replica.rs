//! The local replica, as coordination sees it.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;
use quorate_proto::{Dot, MemberNumber, Slot, command::Call, message::Cause};

use crate::elements::Elements;

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

/// The local replica: what coordination needs of the store and the hint log.
pub trait Replica: Elements {
    /// Executes a call on the local state.
    fn execute(&mut self, call: &Call, resp3: bool) -> Result<Executed, Rejection>;
    /// The encoded reply of a call that only reads; `None` where that depends on what time it is,
    /// which this node does not know at the moment.
    fn read(&mut self, call: &Call, resp3: bool) -> Option<Bytes>;
    /// The summed digests of the keys that a call names, or of the slots that it is about.
    fn digest(&mut self, call: &Call) -> u128;
    /// The whole state of the keys that a call names, as an effect; of a call about slots what
    /// another replica needs to execute it for this one too, as an argument.
    fn export(&mut self, call: &Call) -> Bytes;
    /// Merges an effect that holds all of these writes, or a state.
    fn merge(
        &mut self,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Result<Durability, Rejection>;
    /// When everything that a slot holds now is durable.
    fn durability(&self, slot: Slot) -> Durability;
    /// Keeps an effect for a replica that did not take it.
    fn hint(&mut self, target: MemberNumber, slot: Slot, dot: Option<Dot>, effect: &Bytes);
}
