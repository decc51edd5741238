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
//! view    := epoch:u64 sealed:bool replication_factor list of member
//!            given:u16 list of number              number := id:u128 u16 below given
//!            option of ownership                   option := bool, and the item if it is 1
//! replication_factor := u16 below 65,535 | 65,535:u16 list of (datacentre:string u16)
//! ownership := owners option of movement           movement := target:owners phases leaving
//! owners  := list of (slot list of u16)            phases := list of (slot phase:u8)
//! leaving := list of u16, ascending
//! ```
//! Of owners and phases each item is for the slots from behind that of the item before up to its
//! own, the last one's is the last of all. The body of each kind lists its fields in the order of
//! its row below. `Replicate` has three kinds: with dots, whose count is a u16, and an outcome;
//! with dots alone; and without them and their count.

mod dots;
mod fields;
mod gossip;
mod members;
mod register;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use super::{Forward, Message, Refused, Settlement, Symbol};
use crate::{Outcome, Slot};
use fields::{Codec, Field, Group, Input, Length, Optional, Plain, Rest, Sink, Split};

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

/// How a field is encoded: as its type says, if nothing else is given.
macro_rules! codec_of {
    () => {
        Plain
    };
    ($codec:ident) => {
        $codec
    };
}

/// Makes of a row for each kind what tells it, writes its body and reads it. A code once used is
/// never used for anything else.
macro_rules! kinds {
    ($(
        $kind:literal $variant:ident
            $(( $($item:ident $(as $item_codec:ident)?),* ))?
            $({ $($field:ident $(as $field_codec:ident)?),* })?
    ;)*) => {
        impl Message {
            /// The code of the message's kind.
            pub fn kind(&self) -> u8 {
                match self {
                    $(Self::$variant { .. } => $kind,)*
                    Self::Replicate { outcome: Some(_), .. } => REPLICATE_OUTCOME,
                    Self::Replicate { dots, .. } if dots.is_empty() => REPLICATE,
                    Self::Replicate { .. } => REPLICATE_DOTS,
                }
            }

            fn put_body(&self, out: &mut impl Sink) {
                match self {
                    $(Self::$variant $(($($item),*))? $({ $($field),* })? => {
                        $($(<codec_of!($($item_codec)?)>::put($item, out);)*)?
                        $($(<codec_of!($($field_codec)?)>::put($field, out);)*)?
                    })*
                    Self::Replicate { slot, dots, outcome, effect } => {
                        slot.put(out);
                        if !dots.is_empty() {
                            dots.put(out);
                        }
                        if let Some(outcome) = outcome {
                            outcome.put(out);
                        }
                        Rest::put(effect, out);
                    }
                }
            }
        }

        impl Input {
            fn message(&mut self) -> Result<Message, MessageError> {
                Ok(match self.kind {
                    $($kind => {
                        $($(let $item = <codec_of!($($item_codec)?)>::take(self)?;)*)?
                        $($(let $field = <codec_of!($($field_codec)?)>::take(self)?;)*)?
                        Message::$variant $(($($item),*))? $({ $($field),* })?
                    })*
                    REPLICATE | REPLICATE_DOTS | REPLICATE_OUTCOME => {
                        let slot = Slot::take(self)?;
                        let has_dots = self.kind != REPLICATE;
                        let dots = if has_dots { Vec::take(self)? } else { Vec::new() };
                        let outcome = match self.kind {
                            REPLICATE_OUTCOME => Some(Box::new(Outcome::take(self)?)),
                            _ => None,
                        };
                        Message::Replicate { slot, dots, outcome, effect: Rest::take(self)? }
                    }
                    unknown => return Err(MessageError::UnknownKind(unknown)),
                })
            }
        }
    };
}

const REPLICATE: u8 = 18;
const REPLICATE_DOTS: u8 = 25;
const REPLICATE_OUTCOME: u8 = 26;
/// As which what is written down of a register is read.
const BALLOT: u8 = 28;

kinds! {
    1 Hello(hello);
    2 Welcome(hello);
    3 Refused(refused);
    4 Members(view);
    5 Seal(view);
    6 SealVote { accepted, view };
    7 Heartbeat(beat);
    8 HeartbeatReply(beat);
    9 Claim(claim);
    10 SeatVote { granted, view };
    11 AtWork;
    12 Gossip(gossip);
    13 Probe { target, number };
    14 ProbeAnswer { number };
    16 Forward(forward);
    17 Reply(reply as Rest);
    19 Ack;
    20 Rejected { cause, text };
    21 AskDigest { slot, command as Rest };
    22 KeysDigest { digest, large };
    23 AskStates { slot, command as Rest };
    24 States(states as Rest);
    27 AskOutcome { slot, id };
    28 Ballot(request);
    29 BallotAnswer(answer);
    30 Join(hello);
    32 CompareGroup { group as Group, digest, scope };
    33 GroupSame(settlement);
    34 GroupDiffers { settlement, slots };
    35 AskKeyDigests { slot };
    36 KeyDigests(keys);
    37 AskKeyStates { slot, keys };
    38 CompareSlot { slot, digest, scope, from, symbols };
    39 SlotSame;
    40 Fingerprints { until, fingerprints };
    41 AskFingerprintStates { slot, fingerprints };
    42 FingerprintStates { covered, states as Rest };
    43 Sketch(symbols);
    44 AskProgress;
    45 Progress { epoch, level };
    46 Relay { slot, to, at_once, dots, outcome as Optional, effect as Rest };
    47 Relayed { took, is_last };
    48 CompareElements { slot, scope, from, keys, sums };
    49 Elements { digest, until, buckets, fingerprints };
    50 AskElements { slot, keys, fingerprints };
    56 AskClocks { group as Group, shards, since, from };
    57 Clocks { shards, version, next, slots };
    58 AskDots { group as Group, wanted };
    59 Dots { effects, absent };
    60 Catalog(document as Rest);
    61 CatalogHeld { digest };
}

impl Message {
    /// Appends the encoded body.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        self.put_body(out);
    }

    /// Bytes of the encoded body.
    pub fn body_length(&self) -> usize {
        let mut length = Length(0);
        self.put_body(&mut length);
        length.0
    }

    /// The encoded body in two pieces, one behind the other. Bytes that it ends with are shared.
    pub fn split_body(&self) -> (Vec<u8>, Bytes) {
        let mut split = Split::default();
        self.put_body(&mut split);
        (split.head, split.rest)
    }

    /// Decodes the body of a message of the given kind. Bytes fields share the payload's buffer.
    pub fn decode(kind: u8, body: Bytes) -> Result<Self, MessageError> {
        let mut input = Input { kind, rest: body };
        let message = input.message()?;
        if input.rest.is_empty() { Ok(message) } else { Err(MessageError::TrailingBytes(kind)) }
    }
}

/// Encodes a structure as its fields, one behind the other.
macro_rules! record {
    ($record:ident { $($field:ident $(as $codec:ident)?),* }) => {
        impl Field for $record {
            fn put(&self, out: &mut impl Sink) {
                let Self { $($field),* } = self;
                $(<codec_of!($($codec)?)>::put($field, out);)*
            }

            fn take(input: &mut Input) -> Result<Self, MessageError> {
                $(let $field = <codec_of!($($codec)?)>::take(input)?;)*
                Ok(Self { $($field),* })
            }
        }
    };
}
use {codec_of, record};

record!(Refused { code, text });
record!(Settlement { clock_ms, floor_ms });
record!(Symbol { sum, check, count });
record!(Outcome { id, reply });
record!(Forward { slot, read_level, write_level, resp3, budget_ms, id, command as Rest });
