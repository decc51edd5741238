//! Questions and answers about a register, and documents as they are written down.
//!
//! ```text
//! ballot   := round:u32 origin:u32          voter := member:u128 life:u16
//! document := version:u64 author:ballot list of voter value:bytes
//! accepted := ballot document
//! request  := 1 base:document ballot | 2 base:document ballot document | 3 document
//! answer   := 1 base:u64 ballot option of accepted | 2 base:u64 ballot
//!           | 3 base:u64 ballot promised:ballot | 4 document
//! ```

use alloc::vec::Vec;

use bytes::Bytes;

use super::{BALLOT, Codec, Field, Input, MessageError, Optional, Plain, Sink, codec_of, record};
use crate::register::{Accepted, Answer, Ballot, Document, Request, Voter};

record!(Ballot { round, origin });
record!(Voter { member, life });
record!(Document { version, author, voters, value });
record!(Accepted { ballot, document });

impl Field for Request {
    fn put(&self, out: &mut impl Sink) {
        match self {
            Self::Prepare { base, ballot } => {
                1_u8.put(out);
                base.put(out);
                ballot.put(out);
            }
            Self::Accept { base, ballot, document } => {
                2_u8.put(out);
                base.put(out);
                ballot.put(out);
                document.put(out);
            }
            Self::Learn(document) => {
                3_u8.put(out);
                document.put(out);
            }
        }
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Ok(match u8::take(input)? {
            1 => Self::Prepare { base: Field::take(input)?, ballot: Field::take(input)? },
            2 => Self::Accept {
                base: Field::take(input)?,
                ballot: Field::take(input)?,
                document: Field::take(input)?,
            },
            3 => Self::Learn(Field::take(input)?),
            _ => return Err(input.field("request")),
        })
    }
}

impl Field for Answer {
    fn put(&self, out: &mut impl Sink) {
        match self {
            Self::Promised { base, ballot, accepted } => {
                1_u8.put(out);
                base.put(out);
                ballot.put(out);
                Optional::put(accepted, out);
            }
            Self::Accepted { base, ballot } => {
                2_u8.put(out);
                base.put(out);
                ballot.put(out);
            }
            Self::Refused { base, ballot, promised } => {
                3_u8.put(out);
                base.put(out);
                ballot.put(out);
                promised.put(out);
            }
            Self::Decided(document) => {
                4_u8.put(out);
                document.put(out);
            }
        }
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Ok(match u8::take(input)? {
            1 => Self::Promised {
                base: Field::take(input)?,
                ballot: Field::take(input)?,
                accepted: Optional::take(input)?,
            },
            2 => Self::Accepted { base: Field::take(input)?, ballot: Field::take(input)? },
            3 => Self::Refused {
                base: Field::take(input)?,
                ballot: Field::take(input)?,
                promised: Field::take(input)?,
            },
            4 => Self::Decided(Field::take(input)?),
            _ => return Err(input.field("answer")),
        })
    }
}

impl Document {
    /// The document as it is written down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// What [`Document::to_bytes`] has made; `None` of anything else.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        whole(bytes)
    }
}

impl Accepted {
    /// The document with its ballot as they are written down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// What [`Accepted::to_bytes`] has made; `None` of anything else.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        whole(bytes)
    }
}

/// An item that fills all of `bytes`.
fn whole<T: Field>(bytes: Bytes) -> Option<T> {
    let mut input = Input { kind: BALLOT, rest: bytes };
    T::take(&mut input).ok().filter(|_| input.rest.is_empty())
}
