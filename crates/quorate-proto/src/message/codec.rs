//! The encoding of [`Message`]s: fixed-width little-endian integers, length-prefixed bytes.
//!
//! ```text
//! string  := length:u16 utf8          bytes := length:u32 bytes
//! digest  := u128                     slot  := u16 below 16,384
//! list    := count:u32 item*          bool  := u8, 0 or 1
//! member  := id:u128 name dc rack                                    (three strings)
//!            peer_address client_address cluster_address             (three strings)
//!            incarnation
//! incarnation := life:u16 start previous         start := u32 below 2^20
//! dot     := origin:u32 counter:u64
//! view    := epoch:u64 sealed:bool replication_factor:u16 list of member
//!            given:u16 list of number              number := id:u128 u16 below given
//! ```
//! The body of each kind lists its fields in the order of their declaration. `Replicate` has three
//! kinds: with dots, whose count is a u16, and an outcome; with dots alone; and without them and
//! their count.

mod fields;
mod members;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use super::{
    Forward, Message, Refused,
    dots::{put_effect, put_slots},
};
use crate::{Outcome, Slot};
pub(super) use fields::{Input, put_bytes, put_count, put_dots, put_slot};
use fields::{
    NO_SLOT, put_fingerprints, put_keys, put_scope, put_settlement, put_string, put_symbol,
};
use members::{put_claim, put_heartbeat, put_hello, put_view};

/// Codes of the kinds. A code once used is never used for anything else.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const MEMBERS: u8 = 4;
    pub(super) const SEAL: u8 = 5;
    pub(super) const SEAL_VOTE: u8 = 6;
    pub(super) const HEARTBEAT: u8 = 7;
    pub(super) const HEARTBEAT_REPLY: u8 = 8;
    pub(super) const CLAIM: u8 = 9;
    pub(super) const SEAT_VOTE: u8 = 10;
    pub(super) const FORWARD: u8 = 16;
    pub(super) const REPLY: u8 = 17;
    pub(super) const REPLICATE: u8 = 18;
    pub(super) const ACK: u8 = 19;
    pub(super) const REJECTED: u8 = 20;
    pub(super) const ASK_DIGEST: u8 = 21;
    pub(super) const KEYS_DIGEST: u8 = 22;
    pub(super) const ASK_STATES: u8 = 23;
    pub(super) const STATES: u8 = 24;
    pub(super) const REPLICATE_DOTS: u8 = 25;
    pub(super) const REPLICATE_OUTCOME: u8 = 26;
    pub(super) const ASK_OUTCOME: u8 = 27;
    pub(super) const COMPARE_GROUP: u8 = 32;
    pub(super) const GROUP_SAME: u8 = 33;
    pub(super) const GROUP_DIFFERS: u8 = 34;
    pub(super) const ASK_KEY_DIGESTS: u8 = 35;
    pub(super) const KEY_DIGESTS: u8 = 36;
    pub(super) const ASK_KEY_STATES: u8 = 37;
    pub(super) const COMPARE_SLOT: u8 = 38;
    pub(super) const SLOT_SAME: u8 = 39;
    pub(super) const FINGERPRINTS: u8 = 40;
    pub(super) const ASK_FINGERPRINT_STATES: u8 = 41;
    pub(super) const FINGERPRINT_STATES: u8 = 42;
    pub(super) const SKETCH: u8 = 43;
    pub(super) const ASK_CLOCKS: u8 = 56;
    pub(super) const CLOCKS: u8 = 57;
    pub(super) const ASK_DOTS: u8 = 58;
    pub(super) const DOTS: u8 = 59;
    pub(super) const COMPARE_ELEMENTS: u8 = 48;
    pub(super) const ELEMENTS: u8 = 49;
    pub(super) const ASK_ELEMENTS: u8 = 50;
}

/// A payload that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// No message has this kind.
    #[error("unknown message kind {0}")]
    UnknownKind(u8),
    /// The payload ends inside a field.
    #[error("message kind {0} is cut short")]
    CutShort(u8),
    /// Bytes follow the last field.
    #[error("trailing bytes after message kind {0}")]
    TrailingBytes(u8),
    /// A field holds a value that it cannot have.
    #[error("message kind {kind}: {field} is not allowed")]
    Field {
        /// The kind of the message.
        kind: u8,
        /// The field.
        field: &'static str,
    },
}

impl Message {
    /// The code of the message's kind.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Welcome(_) => kind::WELCOME,
            Self::Refused(_) => kind::REFUSED,
            Self::Members(_) => kind::MEMBERS,
            Self::Seal(_) => kind::SEAL,
            Self::SealVote { .. } => kind::SEAL_VOTE,
            Self::Claim(_) => kind::CLAIM,
            Self::SeatVote { .. } => kind::SEAT_VOTE,
            Self::Heartbeat(_) => kind::HEARTBEAT,
            Self::HeartbeatReply(_) => kind::HEARTBEAT_REPLY,
            Self::Forward(_) => kind::FORWARD,
            Self::Reply(_) => kind::REPLY,
            Self::Replicate { outcome: Some(_), .. } => kind::REPLICATE_OUTCOME,
            Self::Replicate { dots, .. } if dots.is_empty() => kind::REPLICATE,
            Self::Replicate { .. } => kind::REPLICATE_DOTS,
            Self::AskOutcome { .. } => kind::ASK_OUTCOME,
            Self::Ack => kind::ACK,
            Self::Rejected { .. } => kind::REJECTED,
            Self::AskDigest { .. } => kind::ASK_DIGEST,
            Self::KeysDigest { .. } => kind::KEYS_DIGEST,
            Self::AskStates { .. } => kind::ASK_STATES,
            Self::States(_) => kind::STATES,
            Self::CompareGroup { .. } => kind::COMPARE_GROUP,
            Self::GroupSame(_) => kind::GROUP_SAME,
            Self::GroupDiffers { .. } => kind::GROUP_DIFFERS,
            Self::AskKeyDigests { .. } => kind::ASK_KEY_DIGESTS,
            Self::KeyDigests(_) => kind::KEY_DIGESTS,
            Self::AskKeyStates { .. } => kind::ASK_KEY_STATES,
            Self::CompareSlot { .. } => kind::COMPARE_SLOT,
            Self::SlotSame => kind::SLOT_SAME,
            Self::Fingerprints { .. } => kind::FINGERPRINTS,
            Self::AskFingerprintStates { .. } => kind::ASK_FINGERPRINT_STATES,
            Self::FingerprintStates { .. } => kind::FINGERPRINT_STATES,
            Self::AskClocks { .. } => kind::ASK_CLOCKS,
            Self::Clocks { .. } => kind::CLOCKS,
            Self::AskDots { .. } => kind::ASK_DOTS,
            Self::Dots { .. } => kind::DOTS,
            Self::CompareElements { .. } => kind::COMPARE_ELEMENTS,
            Self::Elements { .. } => kind::ELEMENTS,
            Self::AskElements { .. } => kind::ASK_ELEMENTS,
            Self::Sketch(_) => kind::SKETCH,
        }
    }

    /// Appends the encoded body.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) | Self::Welcome(hello) => put_hello(out, hello),
            Self::Refused(Refused { code, text }) => {
                out.push(*code as u8);
                put_string(out, text);
            }
            Self::Members(view) | Self::Seal(view) => put_view(out, view),
            Self::SealVote { accepted: yes, view } | Self::SeatVote { granted: yes, view } => {
                out.push(u8::from(*yes));
                put_view(out, view);
            }
            Self::Claim(claim) => put_claim(out, claim),
            Self::Heartbeat(beat) | Self::HeartbeatReply(beat) => put_heartbeat(out, beat),
            Self::Forward(forward) => put_forward(out, forward),
            Self::Reply(bytes) | Self::States(bytes) => out.extend_from_slice(bytes),
            Self::Replicate { slot, dots, outcome, effect } => {
                put_slot(out, *slot);
                put_dots(out, dots);
                if let Some(outcome) = outcome {
                    out.extend_from_slice(&outcome.id.to_bytes());
                    put_bytes(out, &outcome.reply);
                }
                out.extend_from_slice(effect);
            }
            Self::AskDigest { slot, command: bytes } | Self::AskStates { slot, command: bytes } => {
                put_slot(out, *slot);
                out.extend_from_slice(bytes);
            }
            Self::AskOutcome { slot, id } => {
                put_slot(out, *slot);
                out.extend_from_slice(&id.to_bytes());
            }
            Self::Ack | Self::SlotSame => {}
            Self::GroupSame(settlement) => put_settlement(out, *settlement),
            Self::Rejected { cause, text } => {
                out.push(*cause as u8);
                put_string(out, text);
            }
            Self::KeysDigest { digest, large } => {
                out.extend_from_slice(&digest.to_le_bytes());
                out.push(u8::from(*large));
            }
            Self::CompareGroup { group, digest, scope } => {
                out.extend_from_slice(&group.to_le_bytes());
                out.extend_from_slice(&digest.to_le_bytes());
                put_scope(out, *scope);
            }
            Self::GroupDiffers { settlement, slots } => {
                put_settlement(out, *settlement);
                put_count(out, slots.len());
                for (slot, digest) in slots {
                    put_slot(out, *slot);
                    out.extend_from_slice(&digest.to_le_bytes());
                }
            }
            Self::AskKeyDigests { slot } => put_slot(out, *slot),
            Self::KeyDigests(keys) => {
                put_count(out, keys.len());
                for (key, digest) in keys {
                    put_bytes(out, key);
                    out.extend_from_slice(&digest.to_le_bytes());
                }
            }
            Self::AskKeyStates { slot, keys } => {
                put_slot(out, *slot);
                put_keys(out, keys);
            }
            Self::CompareSlot { slot, digest, scope, from, symbols } => {
                put_slot(out, *slot);
                out.extend_from_slice(&digest.to_le_bytes());
                put_scope(out, *scope);
                out.extend_from_slice(&from.to_le_bytes());
                out.extend_from_slice(&symbols.to_le_bytes());
            }
            Self::Sketch(symbols) => {
                put_count(out, symbols.len());
                symbols.iter().for_each(|symbol| put_symbol(out, *symbol));
            }
            Self::Fingerprints { until, fingerprints } => {
                out.extend_from_slice(&until.to_le_bytes());
                put_fingerprints(out, fingerprints);
            }
            Self::AskFingerprintStates { slot, fingerprints } => {
                put_slot(out, *slot);
                put_fingerprints(out, fingerprints);
            }
            Self::AskClocks { group, shards, since, from } => {
                out.extend_from_slice(&group.to_le_bytes());
                out.extend_from_slice(&shards.to_le_bytes());
                out.extend_from_slice(&since.to_le_bytes());
                put_slot(out, *from);
            }
            Self::Clocks { shards, version, next, slots } => {
                out.extend_from_slice(&shards.to_le_bytes());
                out.extend_from_slice(&version.to_le_bytes());
                let next = next.map_or(NO_SLOT, Slot::number);
                out.extend_from_slice(&next.to_le_bytes());
                put_slots(out, slots);
            }
            Self::AskDots { group, wanted } => {
                out.extend_from_slice(&group.to_le_bytes());
                put_slots(out, wanted);
            }
            Self::Dots { effects, absent } => {
                put_count(out, effects.len());
                effects.iter().for_each(|effect| put_effect(out, effect));
                put_slots(out, absent);
            }
            Self::FingerprintStates { covered, states } => {
                out.extend_from_slice(&covered.to_le_bytes());
                out.extend_from_slice(states);
            }
            Self::CompareElements { slot, scope, from, keys, sums } => {
                put_slot(out, *slot);
                put_scope(out, *scope);
                out.extend_from_slice(&from.to_le_bytes());
                put_keys(out, keys);
                put_fingerprints(out, sums);
            }
            Self::Elements { digest, until, buckets, fingerprints } => {
                out.extend_from_slice(&digest.to_le_bytes());
                out.extend_from_slice(&until.to_le_bytes());
                put_count(out, buckets.len());
                buckets.iter().for_each(|one| out.extend_from_slice(&one.to_le_bytes()));
                put_fingerprints(out, fingerprints);
            }
            Self::AskElements { slot, keys, fingerprints } => {
                put_slot(out, *slot);
                put_keys(out, keys);
                put_fingerprints(out, fingerprints);
            }
        }
    }

    /// Decodes the body of a message of the given kind. Bytes fields share the payload's buffer.
    pub fn decode(kind: u8, body: Bytes) -> Result<Self, MessageError> {
        let mut input = Input { kind, rest: body };
        let message = input.message()?;
        if input.rest.is_empty() { Ok(message) } else { Err(MessageError::TrailingBytes(kind)) }
    }
}

fn put_forward(out: &mut Vec<u8>, forward: &Forward) {
    put_slot(out, forward.slot);
    out.push(forward.read_level as u8);
    out.push(forward.write_level as u8);
    out.push(u8::from(forward.resp3));
    out.extend_from_slice(&forward.budget_ms.to_le_bytes());
    out.extend_from_slice(&forward.id.to_bytes());
    out.extend_from_slice(&forward.command);
}

impl Input {
    fn message(&mut self) -> Result<Message, MessageError> {
        Ok(match self.kind {
            kind::HELLO => Message::Hello(Box::new(self.hello()?)),
            kind::WELCOME => Message::Welcome(Box::new(self.hello()?)),
            kind::REFUSED => {
                Message::Refused(Refused { code: self.refusal_code()?, text: self.string()? })
            }
            kind::MEMBERS => Message::Members(self.view()?),
            kind::SEAL => Message::Seal(self.view()?),
            kind::SEAL_VOTE => Message::SealVote { accepted: self.boolean()?, view: self.view()? },
            kind::CLAIM => Message::Claim(self.claim()?),
            kind::SEAT_VOTE => Message::SeatVote { granted: self.boolean()?, view: self.view()? },
            kind::HEARTBEAT => Message::Heartbeat(self.heartbeat()?),
            kind::HEARTBEAT_REPLY => Message::HeartbeatReply(self.heartbeat()?),
            kind::FORWARD => Message::Forward(self.forward()?),
            kind::REPLY => Message::Reply(self.remainder()),
            kind::REPLICATE => Message::Replicate {
                slot: self.slot()?,
                dots: Vec::new(),
                outcome: None,
                effect: self.remainder(),
            },
            kind::REPLICATE_DOTS => Message::Replicate {
                slot: self.slot()?,
                dots: self.dots()?,
                outcome: None,
                effect: self.remainder(),
            },
            kind::REPLICATE_OUTCOME => Message::Replicate {
                slot: self.slot()?,
                dots: self.dots()?,
                outcome: Some(Box::new(Outcome { id: self.call_id()?, reply: self.bytes()? })),
                effect: self.remainder(),
            },
            kind::ASK_OUTCOME => Message::AskOutcome { slot: self.slot()?, id: self.call_id()? },
            kind::ACK => Message::Ack,
            kind::REJECTED => Message::Rejected { cause: self.cause()?, text: self.string()? },
            kind::ASK_DIGEST => {
                Message::AskDigest { slot: self.slot()?, command: self.remainder() }
            }
            kind::KEYS_DIGEST => Message::KeysDigest {
                digest: u128::from_le_bytes(self.array()?),
                large: self.boolean()?,
            },
            kind::ASK_STATES => {
                Message::AskStates { slot: self.slot()?, command: self.remainder() }
            }
            kind::STATES => Message::States(self.remainder()),
            kind::COMPARE_GROUP => Message::CompareGroup {
                group: self.group()?,
                digest: u128::from_le_bytes(self.array()?),
                scope: self.scope()?,
            },
            kind::GROUP_SAME => Message::GroupSame(self.settlement()?),
            kind::GROUP_DIFFERS => Message::GroupDiffers {
                settlement: self.settlement()?,
                slots: self
                    .list(|input| Ok((input.slot()?, u128::from_le_bytes(input.array()?))))?,
            },
            kind::ASK_KEY_DIGESTS => Message::AskKeyDigests { slot: self.slot()? },
            kind::KEY_DIGESTS => Message::KeyDigests(
                self.list(|input| Ok((input.bytes()?, u128::from_le_bytes(input.array()?))))?,
            ),
            kind::ASK_KEY_STATES => {
                Message::AskKeyStates { slot: self.slot()?, keys: self.list(Self::bytes)? }
            }
            kind::COMPARE_SLOT => Message::CompareSlot {
                slot: self.slot()?,
                digest: u128::from_le_bytes(self.array()?),
                scope: self.scope()?,
                from: self.u64()?,
                symbols: self.u16()?,
            },
            kind::SLOT_SAME => Message::SlotSame,
            kind::SKETCH => Message::Sketch(self.list(Self::symbol)?),
            kind::FINGERPRINTS => {
                Message::Fingerprints { until: self.u64()?, fingerprints: self.list(Self::u64)? }
            }
            kind::ASK_FINGERPRINT_STATES => Message::AskFingerprintStates {
                slot: self.slot()?,
                fingerprints: self.list(Self::u64)?,
            },
            kind::ASK_CLOCKS => Message::AskClocks {
                group: self.group()?,
                shards: self.u16()?,
                since: self.u64()?,
                from: self.slot()?,
            },
            kind::CLOCKS => Message::Clocks {
                shards: self.u16()?,
                version: self.u64()?,
                next: self.slot_or_none()?,
                slots: self.slots_of_dots()?,
            },
            kind::ASK_DOTS => {
                Message::AskDots { group: self.group()?, wanted: self.slots_of_dots()? }
            }
            kind::DOTS => {
                Message::Dots { effects: self.list(Self::effect)?, absent: self.slots_of_dots()? }
            }
            kind::FINGERPRINT_STATES => Message::FingerprintStates {
                covered: u32::from_le_bytes(self.array()?),
                states: self.remainder(),
            },
            kind::COMPARE_ELEMENTS => Message::CompareElements {
                slot: self.slot()?,
                scope: self.scope()?,
                from: self.u64()?,
                keys: self.list(Self::bytes)?,
                sums: self.list(Self::u64)?,
            },
            kind::ELEMENTS => Message::Elements {
                digest: u128::from_le_bytes(self.array()?),
                until: self.u64()?,
                buckets: self.list(Self::u16)?,
                fingerprints: self.list(Self::u64)?,
            },
            kind::ASK_ELEMENTS => Message::AskElements {
                slot: self.slot()?,
                keys: self.list(Self::bytes)?,
                fingerprints: self.list(Self::u64)?,
            },
            unknown => return Err(MessageError::UnknownKind(unknown)),
        })
    }

    fn forward(&mut self) -> Result<Forward, MessageError> {
        Ok(Forward {
            slot: self.slot()?,
            read_level: self.level()?,
            write_level: self.level()?,
            resp3: self.boolean()?,
            budget_ms: u32::from_le_bytes(self.array()?),
            id: self.call_id()?,
            command: self.remainder(),
        })
    }
}
