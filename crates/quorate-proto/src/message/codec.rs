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
//! The body of each kind lists its fields in the order of their declaration. `Replicate` has two
//! kinds: with dots, whose count is a u16, and without them and their count.

use alloc::{boxed::Box, string::String, vec::Vec};

use bytes::{Buf as _, Bytes};

use super::{
    Cause, Claim, EmptySeat, Forward, Heartbeat, Hello, Member, Message, Scope, Settlement, Symbol,
    View,
    dots::{put_effect, put_slots},
};
use crate::{
    Dot, Incarnation, Level, MemberNumber, NodeId, Numbers, Slot, Start,
    limits::{DOTS_PER_EFFECT_MAX, LINEAGE_MAX},
    slot::GROUPS,
};

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
    #[error("message kind {0} has bytes behind its end")]
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
            Self::Replicate { dots, .. } if dots.is_empty() => kind::REPLICATE,
            Self::Replicate { .. } => kind::REPLICATE_DOTS,
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
            Self::Refused(text) => put_string(out, text),
            Self::Members(view) | Self::Seal(view) => put_view(out, view),
            Self::SealVote { accepted: yes, view } | Self::SeatVote { granted: yes, view } => {
                out.push(u8::from(*yes));
                put_view(out, view);
            }
            Self::Claim(claim) => put_claim(out, claim),
            Self::Heartbeat(beat) | Self::HeartbeatReply(beat) => put_heartbeat(out, beat),
            Self::Forward(forward) => put_forward(out, forward),
            Self::Reply(bytes) | Self::States(bytes) => out.extend_from_slice(bytes),
            Self::Replicate { slot, dots, effect } => {
                put_slot(out, *slot);
                put_dots(out, dots);
                out.extend_from_slice(effect);
            }
            Self::AskDigest { slot, command: bytes } | Self::AskStates { slot, command: bytes } => {
                put_slot(out, *slot);
                out.extend_from_slice(bytes);
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

fn put_string(out: &mut Vec<u8>, text: &str) {
    // Texts come from names bounded far below this and from our own errors.
    let mut length = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..length]);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_keys(out: &mut Vec<u8>, keys: &[Bytes]) {
    put_count(out, keys.len());
    keys.iter().for_each(|key| put_bytes(out, key));
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("invariant: messages stay below 4 GiB");
    out.extend_from_slice(&count.to_le_bytes());
}

pub(super) fn put_slot(out: &mut Vec<u8>, slot: Slot) {
    out.extend_from_slice(&slot.number().to_le_bytes());
}

/// Nothing at all when there are none.
pub(super) fn put_dots(out: &mut Vec<u8>, dots: &[Dot]) {
    assert!(dots.len() <= DOTS_PER_EFFECT_MAX, "{} dots of one effect", dots.len());
    if !dots.is_empty() {
        out.extend_from_slice(&(dots.len() as u16).to_le_bytes());
        dots.iter().for_each(|dot| out.extend_from_slice(&dot.to_bytes()));
    }
}

fn put_scope(out: &mut Vec<u8>, scope: Scope) {
    out.push(u8::from(scope == Scope::Everything));
}

fn put_settlement(out: &mut Vec<u8>, settlement: Settlement) {
    out.extend_from_slice(&settlement.clock_ms.to_le_bytes());
    out.extend_from_slice(&settlement.floor_ms.to_le_bytes());
}

fn put_fingerprints(out: &mut Vec<u8>, fingerprints: &[u64]) {
    put_count(out, fingerprints.len());
    fingerprints.iter().for_each(|one| out.extend_from_slice(&one.to_le_bytes()));
}

fn put_symbol(out: &mut Vec<u8>, symbol: Symbol) {
    out.extend_from_slice(&symbol.sum.to_le_bytes());
    out.extend_from_slice(&symbol.check.to_le_bytes());
    out.extend_from_slice(&symbol.count.to_le_bytes());
}

fn put_hello(out: &mut Vec<u8>, hello: &Hello) {
    put_string(out, &hello.cluster);
    put_member(out, &hello.member);
    out.extend_from_slice(&hello.shard.to_le_bytes());
    put_view(out, &hello.view);
    put_count(out, hello.lineage.len());
    hello.lineage.iter().for_each(|start| out.extend_from_slice(&start.get().to_le_bytes()));
}

fn put_member(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(&member.id.0.to_le_bytes());
    let Member { name, datacentre, rack, peer_address, client_address, cluster_address, .. } =
        member;
    for text in [name, datacentre, rack, peer_address, client_address, cluster_address] {
        put_string(out, text);
    }
    put_incarnation(out, member.incarnation);
}

fn put_incarnation(out: &mut Vec<u8>, Incarnation { life, start, previous }: Incarnation) {
    out.extend_from_slice(&life.to_le_bytes());
    out.extend_from_slice(&start.get().to_le_bytes());
    out.extend_from_slice(&previous.get().to_le_bytes());
}

fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    out.extend_from_slice(&claim.seat.0.to_le_bytes());
    put_incarnation(out, claim.incarnation);
    put_count(out, claim.empty.len());
    for EmptySeat { seat, life, newcomer } in &claim.empty {
        out.extend_from_slice(&seat.0.to_le_bytes());
        out.extend_from_slice(&life.to_le_bytes());
        out.extend_from_slice(&newcomer.0.to_le_bytes());
    }
}

fn put_view(out: &mut Vec<u8>, view: &View) {
    out.extend_from_slice(&view.epoch.to_le_bytes());
    out.push(u8::from(view.sealed));
    out.extend_from_slice(&view.replication_factor.to_le_bytes());
    put_count(out, view.members.len());
    view.members.iter().for_each(|member| put_member(out, member));
    out.extend_from_slice(&view.numbers.given().to_le_bytes());
    put_count(out, view.numbers.iter().len());
    for (id, number) in view.numbers.iter() {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&number.0.to_le_bytes());
    }
}

fn put_heartbeat(out: &mut Vec<u8>, beat: &Heartbeat) {
    out.extend_from_slice(&beat.epoch.to_le_bytes());
    out.push(u8::from(beat.ready));
    out.push(u8::from(beat.read_only));
    out.extend_from_slice(&beat.hints_pending.to_le_bytes());
    out.extend_from_slice(&beat.wall_ms.to_le_bytes());
}

fn put_forward(out: &mut Vec<u8>, forward: &Forward) {
    put_slot(out, forward.slot);
    out.push(forward.read_level as u8);
    out.push(forward.write_level as u8);
    out.push(u8::from(forward.resp3));
    out.extend_from_slice(&forward.budget_ms.to_le_bytes());
    out.extend_from_slice(&forward.command);
}

/// Stands where no slot is meant.
const NO_SLOT: u16 = u16::MAX;

/// What is left of a body.
pub(super) struct Input {
    kind: u8,
    rest: Bytes,
}

impl Input {
    fn message(&mut self) -> Result<Message, MessageError> {
        Ok(match self.kind {
            kind::HELLO => Message::Hello(Box::new(self.hello()?)),
            kind::WELCOME => Message::Welcome(Box::new(self.hello()?)),
            kind::REFUSED => Message::Refused(self.string()?),
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
                effect: self.remainder(),
            },
            kind::REPLICATE_DOTS => Message::Replicate {
                slot: self.slot()?,
                dots: self.dots()?,
                effect: self.remainder(),
            },
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

    fn scope(&mut self) -> Result<Scope, MessageError> {
        Ok(if self.boolean()? { Scope::Everything } else { Scope::Alive })
    }

    fn settlement(&mut self) -> Result<Settlement, MessageError> {
        Ok(Settlement { clock_ms: self.u64()?, floor_ms: self.u64()? })
    }

    fn symbol(&mut self) -> Result<Symbol, MessageError> {
        Ok(Symbol {
            sum: self.u64()?,
            check: u32::from_le_bytes(self.array()?),
            count: i32::from_le_bytes(self.array()?),
        })
    }

    fn hello(&mut self) -> Result<Hello, MessageError> {
        Ok(Hello {
            cluster: self.string()?,
            member: self.member()?,
            shard: self.u16()?,
            view: self.view()?,
            lineage: self.lineage()?,
        })
    }

    fn lineage(&mut self) -> Result<Vec<Start>, MessageError> {
        let lineage = self.list(Self::start)?;
        if lineage.len() > LINEAGE_MAX {
            return Err(self.field("lineage"));
        }
        Ok(lineage)
    }

    fn member(&mut self) -> Result<Member, MessageError> {
        Ok(Member {
            id: NodeId(u128::from_le_bytes(self.array()?)),
            name: self.string()?,
            datacentre: self.string()?,
            rack: self.string()?,
            peer_address: self.string()?,
            client_address: self.string()?,
            cluster_address: self.string()?,
            incarnation: self.incarnation()?,
        })
    }

    fn incarnation(&mut self) -> Result<Incarnation, MessageError> {
        Ok(Incarnation { life: self.u16()?, start: self.start()?, previous: self.start()? })
    }

    fn start(&mut self) -> Result<Start, MessageError> {
        let name = u32::from_le_bytes(self.array()?);
        let start = Start::from_random(name);
        if start.get() == name { Ok(start) } else { Err(self.field("start")) }
    }

    fn claim(&mut self) -> Result<Claim, MessageError> {
        Ok(Claim {
            seat: NodeId(u128::from_le_bytes(self.array()?)),
            incarnation: self.incarnation()?,
            empty: self.list(Self::empty_seat)?,
        })
    }

    fn empty_seat(&mut self) -> Result<EmptySeat, MessageError> {
        Ok(EmptySeat {
            seat: NodeId(u128::from_le_bytes(self.array()?)),
            life: self.u16()?,
            newcomer: NodeId(u128::from_le_bytes(self.array()?)),
        })
    }

    fn view(&mut self) -> Result<View, MessageError> {
        Ok(View {
            epoch: u64::from_le_bytes(self.array()?),
            sealed: self.boolean()?,
            replication_factor: self.u16()?,
            members: self.list(Self::member)?,
            numbers: self.numbers()?,
        })
    }

    fn numbers(&mut self) -> Result<Numbers, MessageError> {
        let given = self.u16()?;
        let members = self.list(Self::number)?;
        Numbers::from_parts(given, members).ok_or_else(|| self.field("numbers"))
    }

    fn number(&mut self) -> Result<(NodeId, MemberNumber), MessageError> {
        let id = NodeId(u128::from_le_bytes(self.array()?));
        Ok((id, MemberNumber(self.u16()?)))
    }

    fn heartbeat(&mut self) -> Result<Heartbeat, MessageError> {
        Ok(Heartbeat {
            epoch: u64::from_le_bytes(self.array()?),
            ready: self.boolean()?,
            read_only: self.boolean()?,
            hints_pending: u64::from_le_bytes(self.array()?),
            wall_ms: u64::from_le_bytes(self.array()?),
        })
    }

    fn forward(&mut self) -> Result<Forward, MessageError> {
        Ok(Forward {
            slot: self.slot()?,
            read_level: self.level()?,
            write_level: self.level()?,
            resp3: self.boolean()?,
            budget_ms: u32::from_le_bytes(self.array()?),
            command: self.remainder(),
        })
    }

    fn level(&mut self) -> Result<Level, MessageError> {
        let [code] = self.array()?;
        Level::from_code(code).ok_or(self.field("level"))
    }

    fn cause(&mut self) -> Result<Cause, MessageError> {
        let [code] = self.array()?;
        let causes = [
            Cause::StaleEpoch,
            Cause::ClockSkew,
            Cause::StoreFull,
            Cause::NotReplica,
            Cause::Malformed,
            Cause::Overloaded,
            Cause::Incomplete,
            Cause::ClockInDoubt,
        ];
        causes.into_iter().find(|cause| *cause as u8 == code).ok_or(self.field("cause"))
    }

    fn slot_or_none(&mut self) -> Result<Option<Slot>, MessageError> {
        match self.u16()? {
            NO_SLOT => Ok(None),
            number => Slot::new(number).map(Some).ok_or(self.field("slot")),
        }
    }

    fn group(&mut self) -> Result<u16, MessageError> {
        let group = self.u16()?;
        if group < GROUPS { Ok(group) } else { Err(self.field("group")) }
    }

    pub(super) fn slot(&mut self) -> Result<Slot, MessageError> {
        Slot::new(self.u16()?).ok_or(self.field("slot"))
    }

    /// At least one dot.
    pub(super) fn dots(&mut self) -> Result<Vec<Dot>, MessageError> {
        let count = usize::from(self.u16()?);
        if !(1..=DOTS_PER_EFFECT_MAX).contains(&count) {
            return Err(self.field("count of dots"));
        }
        (0..count).map(|_| self.dot()).collect()
    }

    fn dot(&mut self) -> Result<Dot, MessageError> {
        Dot::from_bytes(self.array()?).ok_or(self.field("dot"))
    }

    fn boolean(&mut self) -> Result<bool, MessageError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.field("boolean")),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, MessageError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, MessageError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<String, MessageError> {
        let length = self.u16()?;
        let bytes = self.take(usize::from(length))?;
        core::str::from_utf8(&bytes).map(String::from).map_err(|_| self.field("string"))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, MessageError> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    /// A list. Its count allocates nothing: every item is at least two bytes that must be there.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, MessageError>,
    ) -> Result<Vec<T>, MessageError> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > self.rest.len() / 2 {
            return Err(MessageError::CutShort(self.kind));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn remainder(&mut self) -> Bytes {
        core::mem::take(&mut self.rest)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let head = self.rest.first_chunk().copied().ok_or(MessageError::CutShort(self.kind))?;
        self.rest.advance(N);
        Ok(head)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, MessageError> {
        if self.rest.len() < length {
            return Err(MessageError::CutShort(self.kind));
        }
        Ok(self.rest.split_to(length))
    }

    pub(super) fn field(&self, field: &'static str) -> MessageError {
        MessageError::Field { kind: self.kind, field }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        DotRange, Origin,
        message::{DottedEffect, SlotDots},
    };

    fn incarnation(life: u16, start: u32, previous: u32) -> Incarnation {
        let [start, previous] = [start, previous].map(Start::from_random);
        Incarnation { life, start, previous }
    }

    fn samples() -> Vec<Message> {
        let member = Member {
            id: NodeId(0x0102),
            name: "n1".into(),
            datacentre: "dc".into(),
            rack: "r".into(),
            peer_address: "h:1".into(),
            client_address: "h:2".into(),
            cluster_address: "h:3".into(),
            incarnation: incarnation(1, 2, 3),
        };
        let numbers = Numbers::of_first([member.id]).expect("a number");
        let members = vec![member.clone()];
        let view = View { epoch: 3, sealed: true, replication_factor: 3, members, numbers };
        let lineage = vec![Start::from_random(4), Start::from_random(3)];
        let hello = Hello { cluster: "c".into(), member, shard: 1, view: view.clone(), lineage };
        let beat =
            Heartbeat { epoch: 1, ready: true, read_only: true, hints_pending: 2, wall_ms: 3 };
        let slot = Slot::new(0x1234).expect("a slot");
        let bytes = Bytes::from_static(b"xyz");
        let settlement = Settlement { clock_ms: 7, floor_ms: 5 };
        let dot = Dot { origin: Origin(6), counter: 7 };
        let dotted = DottedEffect { slot, dots: vec![dot], effect: bytes.clone() };
        let range = DotRange { origin: Origin(6), first: 7, last: 8 };
        let dots = vec![SlotDots { slot, ranges: vec![range] }];
        vec![
            Message::Hello(Box::new(hello.clone())),
            Message::Welcome(Box::new(hello)),
            Message::Refused("no".into()),
            Message::Members(view.clone()),
            Message::Seal(view.clone()),
            Message::SealVote { accepted: true, view: view.clone() },
            Message::Claim(Claim {
                seat: NodeId(7),
                incarnation: incarnation(2, 3, 0),
                empty: vec![EmptySeat { seat: NodeId(8), life: 4, newcomer: NodeId(9) }],
            }),
            Message::SeatVote { granted: false, view },
            Message::Heartbeat(beat),
            Message::HeartbeatReply(beat),
            Message::Forward(Forward {
                slot,
                read_level: Level::Quorum,
                write_level: Level::All,
                resp3: true,
                budget_ms: 5000,
                command: bytes.clone(),
            }),
            Message::Reply(bytes.clone()),
            Message::Replicate { slot, dots: vec![], effect: bytes.clone() },
            Message::Replicate { slot, dots: vec![dot, dot], effect: bytes.clone() },
            Message::Ack,
            Message::Rejected { cause: Cause::ClockSkew, text: "late".into() },
            Message::AskDigest { slot, command: bytes.clone() },
            Message::KeysDigest { digest: 7, large: true },
            Message::AskStates { slot, command: bytes.clone() },
            Message::States(bytes.clone()),
            Message::CompareGroup { group: 9, digest: 1, scope: Scope::Everything },
            Message::GroupSame(settlement),
            Message::GroupDiffers { settlement, slots: vec![(slot, 5)] },
            Message::AskKeyDigests { slot },
            Message::KeyDigests(vec![(bytes.clone(), 6)]),
            Message::AskKeyStates { slot, keys: vec![bytes.clone()] },
            Message::CompareSlot { slot, digest: 8, scope: Scope::Alive, from: 9, symbols: 16 },
            Message::SlotSame,
            Message::Fingerprints { until: 3, fingerprints: vec![1, 2] },
            Message::AskFingerprintStates { slot, fingerprints: vec![4] },
            Message::FingerprintStates { covered: 1, states: bytes.clone() },
            Message::Sketch(vec![Symbol { sum: 1, check: 2, count: -3 }]),
            Message::AskClocks { group: 1, shards: 2, since: 3, from: slot },
            Message::Clocks { shards: 2, version: 3, next: Some(slot), slots: dots.clone() },
            Message::AskDots { group: 1, wanted: dots.clone() },
            Message::Dots { effects: vec![dotted], absent: dots },
            Message::CompareElements {
                slot,
                scope: Scope::Alive,
                from: 5,
                keys: vec![bytes.clone()],
                sums: vec![6, 7],
            },
            Message::Elements {
                digest: 8,
                until: 9,
                buckets: vec![10],
                fingerprints: vec![11, 12],
            },
            Message::AskElements { slot, keys: vec![bytes], fingerprints: vec![13] },
        ]
    }

    fn encoded(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode_body(&mut out);
        out
    }

    #[test]
    fn every_kind_round_trips_and_refuses_to_be_cut() {
        for message in samples() {
            let body = encoded(&message);
            let decode =
                |length| Message::decode(message.kind(), Bytes::copy_from_slice(&body[..length]));
            assert_eq!(decode(body.len()), Ok(message.clone()));
            for length in 0..body.len() {
                // Messages that end in the rest of the payload cannot tell a shorter rest.
                if let Ok(other) = decode(length) {
                    assert_ne!(other, message);
                    assert_eq!(other.kind(), message.kind());
                }
            }
        }
    }

    #[test]
    fn golden_bodies() {
        let slot = Slot::new(0x1234).expect("a slot");
        let settlement = Settlement { clock_ms: 0x0102, floor_ms: 0x0304 };
        let member = Member {
            id: NodeId(0x0102),
            name: "n".into(),
            datacentre: "d".into(),
            rack: "r".into(),
            peer_address: "p".into(),
            client_address: "c".into(),
            cluster_address: "s".into(),
            incarnation: incarnation(0x0304, 0x050607, 0x08090a),
        };
        let numbers = Numbers::from_parts(0x0204, [(member.id, MemberNumber(0x0103))]);
        let numbers = numbers.expect("possible numbers");
        let members = vec![member];
        let view = View { epoch: 7, sealed: true, replication_factor: 8, members, numbers };
        let claim = Claim {
            seat: NodeId(0x0102),
            incarnation: incarnation(0x0304, 0x050607, 0x08090a),
            empty: vec![EmptySeat { seat: NodeId(7), life: 8, newcomer: NodeId(9) }],
        };
        let dot = Dot { origin: Origin(6), counter: 7 };
        let golden: [(Message, &[u8]); 17] = [
            (
                Message::SeatVote { granted: true, view },
                &[
                    1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 8, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0,
                    0, 0, 0, 0, 0, 0, 1, 0, b'n', 1, 0, b'd', 1, 0, b'r', 1, 0, b'p', 1, 0, b'c',
                    1, 0, b's', 4, 3, 7, 6, 5, 0, 10, 9, 8, 0, 4, 2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0,
                    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1,
                ],
            ),
            (
                Message::Claim(claim),
                &[
                    2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 7, 6, 5, 0, 10, 9, 8, 0,
                    1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 9, 0, 0, 0,
                    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
            ),
            (Message::GroupSame(settlement), &[2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]),
            (
                Message::Replicate { slot, dots: vec![], effect: Bytes::from_static(b"e") },
                &[0x34, 0x12, b'e'],
            ),
            (
                Message::Replicate { slot, dots: vec![dot], effect: Bytes::from_static(b"e") },
                &[0x34, 0x12, 1, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, b'e'],
            ),
            (
                Message::Heartbeat(Heartbeat {
                    epoch: 1,
                    ready: true,
                    read_only: false,
                    hints_pending: 2,
                    wall_ms: 3,
                }),
                &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
            ),
            (Message::Rejected { cause: Cause::NotReplica, text: "x".into() }, &[4, 1, 0, b'x']),
            (
                Message::AskKeyStates { slot, keys: vec![Bytes::from_static(b"k")] },
                &[0x34, 0x12, 1, 0, 0, 0, 1, 0, 0, 0, b'k'],
            ),
            (
                Message::CompareSlot {
                    slot,
                    digest: 0x0506,
                    scope: Scope::Everything,
                    from: 0x0708,
                    symbols: 0x0901,
                },
                &[
                    0x34, 0x12, 6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 7, 0, 0, 0,
                    0, 0, 0, 1, 9,
                ],
            ),
            (
                Message::Sketch(vec![Symbol { sum: 0x0102, check: 0x0304, count: -2 }]),
                &[1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0xfe, 0xff, 0xff, 0xff],
            ),
            (
                Message::Fingerprints { until: 0x0102, fingerprints: vec![0x0304] },
                &[2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0],
            ),
            (
                Message::AskFingerprintStates { slot, fingerprints: vec![0x0304] },
                &[0x34, 0x12, 1, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0],
            ),
            (
                Message::FingerprintStates { covered: 2, states: Bytes::from_static(b"s") },
                &[2, 0, 0, 0, b's'],
            ),
            (
                Message::KeysDigest { digest: 0x0102, large: true },
                &[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ),
            (
                Message::CompareElements {
                    slot,
                    scope: Scope::Everything,
                    from: 0x0102,
                    keys: vec![Bytes::from_static(b"k")],
                    sums: vec![0x0304],
                },
                &[
                    0x34, 0x12, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'k', 1, 0, 0,
                    0, 4, 3, 0, 0, 0, 0, 0, 0,
                ],
            ),
            (
                Message::Elements {
                    digest: 0x0102,
                    until: 0x0304,
                    buckets: vec![0x0506],
                    fingerprints: vec![0x0708],
                },
                &[
                    2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 1, 0,
                    0, 0, 6, 5, 1, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0,
                ],
            ),
            (
                Message::AskElements {
                    slot,
                    keys: vec![Bytes::from_static(b"k")],
                    fingerprints: vec![0x0304],
                },
                &[0x34, 0x12, 1, 0, 0, 0, 1, 0, 0, 0, b'k', 1, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0],
            ),
        ];
        for (message, body) in golden {
            assert_eq!(encoded(&message), body);
        }
        let kinds: Vec<u8> = samples().iter().map(Message::kind).collect();
        assert_eq!(
            kinds,
            [
                1, 2, 3, 4, 5, 6, 9, 10, 7, 8, 16, 17, 18, 25, 19, 20, 21, 22, 23, 24, 32, 33, 34,
                35, 36, 37, 38, 39, 40, 41, 42, 43, 56, 57, 58, 59, 48, 49, 50
            ]
        );
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let error = |kind, body: &'static [u8]| Message::decode(kind, Bytes::from_static(body));
        assert_eq!(error(99, b""), Err(MessageError::UnknownKind(99)));
        assert_eq!(error(19, b"x"), Err(MessageError::TrailingBytes(19)));
        assert_eq!(error(35, &[0xff, 0xff]), Err(MessageError::Field { kind: 35, field: "slot" }));
        assert_eq!(error(36, &[0xff; 4]), Err(MessageError::CutShort(36)));
        for kind in [32, 56, 58] {
            let outside = Err(MessageError::Field { kind, field: "group" });
            assert_eq!(error(kind, &[64, 0, 0, 0, 0, 0]), outside);
        }
        let wrong = |field| Err(MessageError::Field { kind: 25, field });
        assert_eq!(error(25, &[0, 0, 0, 0]), wrong("count of dots"));
        assert_eq!(error(25, &[0, 0, 0xff, 0xff]), wrong("count of dots"));
        assert_eq!(error(25, &[0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]), wrong("dot"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(kind: u8, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::decode(kind, body.into());
        }
    }
}
