//! The records of a link: its bytes in pieces, each encrypted and bound to its place.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use bytes::{Buf as _, BytesMut};

use super::LinkFault;

/// Bytes that one record carries at most: what a receiver holds before it knows who sent it.
pub(super) const RECORD_MAX: usize = 64 << 10;

pub(super) const NONCE: usize = 12;

/// The length of what follows: the bytes, encrypted, and the tag.
const HEAD: usize = 4;

const TAG: usize = 16;

/// Records under one key: far below what AES-GCM allows, years of a busy link.
const RECORDS_MAX: u64 = 1 << 44;

/// The key of one direction.
pub(super) struct RecordKey {
    /// Nonces are this type's own: no number is used twice.
    key: LessSafeKey,
    nonce: [u8; NONCE],
    /// Of the next record. One that is lost, repeated or swapped does not open.
    number: u64,
}

impl RecordKey {
    pub(super) fn new(key: LessSafeKey, nonce: [u8; NONCE]) -> Self {
        Self { key, nonce, number: 0 }
    }

    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = self.nonce;
        for (byte, number) in nonce[NONCE - 8..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Makes records.
pub(super) struct Sealer(pub(super) RecordKey);

impl Sealer {
    /// Turns bytes into the records that carry them.
    pub(super) fn seal(&mut self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        if length <= RECORD_MAX {
            bytes.resize(HEAD + length + TAG, 0);
            bytes.copy_within(..length, HEAD);
            return self.seal_in_place(bytes);
        }
        let mut records = Vec::with_capacity(length + length.div_ceil(RECORD_MAX) * (HEAD + TAG));
        for piece in bytes.chunks(RECORD_MAX) {
            let start = records.len();
            records.resize(start + HEAD, 0);
            records.extend_from_slice(piece);
            records.resize(start + HEAD + piece.len() + TAG, 0);
            self.seal_in_place(&mut records[start..]);
        }
        *bytes = records;
    }

    /// Seals one record whose bytes stand behind the head, with room for the tag.
    fn seal_in_place(&mut self, record: &mut [u8]) {
        let nonce = self.0.next_nonce();
        let (head, rest) = record.split_at_mut(HEAD);
        head.copy_from_slice(&(rest.len() as u32).to_le_bytes());
        let (body, tag) = rest.split_at_mut(rest.len() - TAG);
        let sealed = self.0.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body);
        let sealed = sealed.expect("invariant: far shorter than AES-GCM can seal");
        tag.copy_from_slice(sealed.as_ref());
    }
}

/// Opens records.
pub(super) struct Opener(pub(super) RecordKey);

impl Opener {
    /// Moves what the first record of `input` carries to `plain`. Returns whether it was whole.
    pub(super) fn open(
        &mut self,
        input: &mut BytesMut,
        plain: &mut BytesMut,
    ) -> Result<bool, LinkFault> {
        let Some(head) = input.first_chunk::<HEAD>().copied() else { return Ok(false) };
        let length = u32::from_le_bytes(head) as usize;
        if !(TAG + 1..=RECORD_MAX + TAG).contains(&length) || self.0.number >= RECORDS_MAX {
            return Err(LinkFault::Changed);
        }
        let Some(record) = input.get_mut(HEAD..HEAD + length) else { return Ok(false) };
        let nonce = self.0.next_nonce();
        let opened = self.0.key.open_in_place(nonce, Aad::from(&head), record);
        plain.extend_from_slice(opened.map_err(|_| LinkFault::Changed)?);
        input.advance(HEAD + length);
        Ok(true)
    }
}
