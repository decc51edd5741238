//! The fields that the bodies of messages are made of.

use alloc::{string::String, vec::Vec};

use bytes::{Buf as _, Bytes};

use super::{
    super::{Cause, RefusalCode, Scope, Settlement, Symbol},
    MessageError,
};
use crate::{CallId, Dot, Level, Slot, limits::DOTS_PER_EFFECT_MAX, slot::GROUPS};

pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    // Texts come from names bounded far below this and from our own errors.
    let mut length = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..length]);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_keys(out: &mut Vec<u8>, keys: &[Bytes]) {
    put_count(out, keys.len());
    keys.iter().for_each(|key| put_bytes(out, key));
}

pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("invariant: messages stay below 4 GiB");
    out.extend_from_slice(&count.to_le_bytes());
}

pub(crate) fn put_slot(out: &mut Vec<u8>, slot: Slot) {
    out.extend_from_slice(&slot.number().to_le_bytes());
}

/// Nothing at all when there are none.
pub(crate) fn put_dots(out: &mut Vec<u8>, dots: &[Dot]) {
    assert!(dots.len() <= DOTS_PER_EFFECT_MAX, "{} dots of one effect", dots.len());
    if !dots.is_empty() {
        out.extend_from_slice(&(dots.len() as u16).to_le_bytes());
        dots.iter().for_each(|dot| out.extend_from_slice(&dot.to_bytes()));
    }
}

pub(crate) fn put_scope(out: &mut Vec<u8>, scope: Scope) {
    out.push(u8::from(scope == Scope::Everything));
}

pub(crate) fn put_settlement(out: &mut Vec<u8>, settlement: Settlement) {
    out.extend_from_slice(&settlement.clock_ms.to_le_bytes());
    out.extend_from_slice(&settlement.floor_ms.to_le_bytes());
}

pub(crate) fn put_fingerprints(out: &mut Vec<u8>, fingerprints: &[u64]) {
    put_count(out, fingerprints.len());
    fingerprints.iter().for_each(|one| out.extend_from_slice(&one.to_le_bytes()));
}

pub(crate) fn put_symbol(out: &mut Vec<u8>, symbol: Symbol) {
    out.extend_from_slice(&symbol.sum.to_le_bytes());
    out.extend_from_slice(&symbol.check.to_le_bytes());
    out.extend_from_slice(&symbol.count.to_le_bytes());
}

/// Stands where no slot is meant.
pub(crate) const NO_SLOT: u16 = u16::MAX;

/// What is left of a body.
pub(crate) struct Input {
    pub(crate) kind: u8,
    pub(crate) rest: Bytes,
}

impl Input {
    pub(crate) fn scope(&mut self) -> Result<Scope, MessageError> {
        Ok(if self.boolean()? { Scope::Everything } else { Scope::Alive })
    }

    pub(crate) fn settlement(&mut self) -> Result<Settlement, MessageError> {
        Ok(Settlement { clock_ms: self.u64()?, floor_ms: self.u64()? })
    }

    pub(crate) fn symbol(&mut self) -> Result<Symbol, MessageError> {
        Ok(Symbol {
            sum: self.u64()?,
            check: u32::from_le_bytes(self.array()?),
            count: i32::from_le_bytes(self.array()?),
        })
    }

    pub(crate) fn level(&mut self) -> Result<Level, MessageError> {
        let [code] = self.array()?;
        Level::from_code(code).ok_or(self.field("level"))
    }

    pub(crate) fn refusal_code(&mut self) -> Result<RefusalCode, MessageError> {
        let [byte] = self.array()?;
        let found = RefusalCode::ALL.into_iter().find(|code| *code as u8 == byte);
        found.ok_or(self.field("code"))
    }

    pub(crate) fn cause(&mut self) -> Result<Cause, MessageError> {
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
            Cause::OutcomeUnknown,
        ];
        causes.into_iter().find(|cause| *cause as u8 == code).ok_or(self.field("cause"))
    }

    pub(crate) fn slot_or_none(&mut self) -> Result<Option<Slot>, MessageError> {
        match self.u16()? {
            NO_SLOT => Ok(None),
            number => Slot::new(number).map(Some).ok_or(self.field("slot")),
        }
    }

    pub(crate) fn group(&mut self) -> Result<u16, MessageError> {
        let group = self.u16()?;
        if group < GROUPS { Ok(group) } else { Err(self.field("group")) }
    }

    pub(crate) fn slot(&mut self) -> Result<Slot, MessageError> {
        Slot::new(self.u16()?).ok_or(self.field("slot"))
    }

    /// At least one dot.
    pub(crate) fn dots(&mut self) -> Result<Vec<Dot>, MessageError> {
        let count = usize::from(self.u16()?);
        if !(1..=DOTS_PER_EFFECT_MAX).contains(&count) {
            return Err(self.field("count of dots"));
        }
        (0..count).map(|_| self.dot()).collect()
    }

    pub(crate) fn dot(&mut self) -> Result<Dot, MessageError> {
        Dot::from_bytes(self.array()?).ok_or(self.field("dot"))
    }

    pub(crate) fn call_id(&mut self) -> Result<CallId, MessageError> {
        Ok(CallId::from_bytes(self.array()?))
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, MessageError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.field("boolean")),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, MessageError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, MessageError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn string(&mut self) -> Result<String, MessageError> {
        let length = self.u16()?;
        let bytes = self.take(usize::from(length))?;
        core::str::from_utf8(&bytes).map(String::from).map_err(|_| self.field("string"))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, MessageError> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    /// A list. Its count allocates nothing: every item is at least two bytes that must be there.
    pub(crate) fn list<T>(
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

    pub(crate) fn remainder(&mut self) -> Bytes {
        core::mem::take(&mut self.rest)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let head = self.rest.first_chunk().copied().ok_or(MessageError::CutShort(self.kind))?;
        self.rest.advance(N);
        Ok(head)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, MessageError> {
        if self.rest.len() < length {
            return Err(MessageError::CutShort(self.kind));
        }
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn field(&self, field: &'static str) -> MessageError {
        MessageError::Field { kind: self.kind, field }
    }
}
