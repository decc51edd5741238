//! Chunks of the classic protocol: AES-128-CBC with PKCS#7 padding, each from the same IV.
//!
//! Encrypting a chunk is serial: a block needs the ciphertext of the one before. But chunks do not
//! depend on each other, so the sender encrypts several side by side, block by block, and keeps
//! the processor's AES units busy ([`ClassicCipher::encrypt_slots`]).

use aes::{
    Aes128, Aes128Enc,
    cipher::{
        Array, Block, BlockCipherEncrypt as _, BlockModeDecrypt as _, InnerIvInit as _,
        KeyInit as _,
    },
};

use super::{EntropyMaterial, EntropyResult, error::crypto, wire::BLOCK};

/// Chunks encrypted side by side.
pub(super) const LANES_MAX: usize = 16;

/// Encrypts one chunk: the payload is longer than `plaintext` by 1 to 16 bytes.
pub fn encrypt_chunk(material: &EntropyMaterial, plaintext: &[u8]) -> Vec<u8> {
    let mut payload = plaintext.to_vec();
    payload.resize(padded(plaintext.len()), 0);
    let cipher = ClassicCipher::new(material);
    cipher.encrypt_slots(&mut payload, 0, padded(plaintext.len()), plaintext.len());
    payload
}

/// Decrypts one chunk.
///
/// # Errors
/// `Crypto` when the payload is not a positive multiple of 16 bytes, or its padding is wrong.
pub fn decrypt_chunk(material: &EntropyMaterial, payload: &[u8]) -> EntropyResult<Vec<u8>> {
    let mut plaintext = payload.to_vec();
    let length = ClassicCipher::new(material).decrypt_in_place(&mut plaintext)?;
    plaintext.truncate(length);
    Ok(plaintext)
}

/// Length of the payload of a chunk.
pub(super) fn padded(plaintext: usize) -> usize {
    plaintext - plaintext % BLOCK + BLOCK
}

/// The cipher with its key schedule.
pub(super) struct ClassicCipher {
    encrypt: Aes128Enc,
    decrypt: Aes128,
    iv: [u8; BLOCK],
}

impl ClassicCipher {
    pub(super) fn new(material: &EntropyMaterial) -> Self {
        let key = Array::from(*material.key.bytes());
        Self { encrypt: Aes128Enc::new(&key), decrypt: Aes128::new(&key), iv: *material.iv.bytes() }
    }

    /// Encrypts chunks in place. Each stands in a slot of `stride` bytes, its plaintext of
    /// `length` bytes from `offset` on, with room for the padding behind it.
    pub(super) fn encrypt_slots(
        &self,
        slots: &mut [u8],
        offset: usize,
        stride: usize,
        length: usize,
    ) {
        let end = offset + padded(length);
        let padding = (end - offset - length) as u8;
        let mut lanes: Vec<&mut [u8]> =
            slots.chunks_exact_mut(stride).map(|slot| &mut slot[offset..end]).collect();
        for lane in &mut lanes {
            lane[length..].fill(padding);
        }
        let mut rest = lanes.as_mut_slice();
        while !rest.is_empty() {
            let width = match rest.len() {
                16.. => 16,
                8.. => 8,
                4.. => 4,
                _ => 1,
            };
            let (now, later) = rest.split_at_mut(width);
            match width {
                16 => self.encrypt_lanes::<16>(now),
                8 => self.encrypt_lanes::<8>(now),
                4 => self.encrypt_lanes::<4>(now),
                _ => self.encrypt_lanes::<1>(now),
            }
            rest = later;
        }
    }

    /// One block of every lane at a time. The lanes are of equal length.
    fn encrypt_lanes<const WIDTH: usize>(&self, lanes: &mut [&mut [u8]]) {
        let mut chain = [Block::<Aes128Enc>::from(self.iv); WIDTH];
        let blocks = lanes.first().map_or(0, |lane| lane.len() / BLOCK);
        for block in 0..blocks {
            let at = block * BLOCK;
            for (chained, lane) in chain.iter_mut().zip(lanes.iter()) {
                let plain =
                    read_block(&lane[at..at + BLOCK]) ^ u128::from_ne_bytes((*chained).into());
                *chained = plain.to_ne_bytes().into();
            }
            if WIDTH == 1 {
                self.encrypt.encrypt_block(&mut chain[0]);
            } else {
                self.encrypt.encrypt_blocks(&mut chain);
            }
            for (chained, lane) in chain.iter().zip(lanes.iter_mut()) {
                lane[at..at + BLOCK].copy_from_slice(chained);
            }
        }
    }

    /// Decrypts a payload in place and returns the length of the plaintext.
    pub(super) fn decrypt_in_place(&self, payload: &mut [u8]) -> EntropyResult<usize> {
        let length = payload.len();
        if length == 0 || !length.is_multiple_of(BLOCK) {
            let text = format!("ciphertext of {length} bytes; allowed: positive multiples of 16");
            return Err(crypto(text));
        }
        let (blocks, _) = Block::<Aes128>::slice_as_chunks_mut(payload);
        let iv = Array::from(self.iv);
        cbc::Decryptor::inner_iv_init(&self.decrypt, &iv).decrypt_blocks(blocks);
        let padding = usize::from(payload[length - 1]);
        let plain = length.saturating_sub(padding);
        let wrong = padding == 0 || padding > BLOCK;
        if wrong || payload[plain..].iter().any(|byte| usize::from(*byte) != padding) {
            return Err(crypto("bad padding: another key or IV, or damaged data"));
        }
        Ok(plain)
    }
}

fn read_block(bytes: &[u8]) -> u128 {
    bytes.first_chunk().map_or(0, |block| u128::from_ne_bytes(*block))
}

#[cfg(test)]
mod tests {
    use super::super::{EntropyIv, EntropyKey};
    use super::*;

    fn material() -> EntropyMaterial {
        EntropyMaterial {
            key: EntropyKey::from_bytes(*b"0123456789012345"),
            iv: EntropyIv::from_bytes(*b"5432109876543210"),
        }
    }

    fn plaintext(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 % 251) as u8).collect()
    }

    #[test]
    fn chunks_come_back() {
        for length in [0, 1, 15, 16, 17, 31, 32, 16 << 10] {
            let payload = encrypt_chunk(&material(), &plaintext(length));
            assert_eq!(payload.len(), padded(length));
            assert_eq!(decrypt_chunk(&material(), &payload).expect("valid"), plaintext(length));
        }
    }

    #[test]
    fn side_by_side_is_the_same_as_one_after_the_other() {
        let cipher = ClassicCipher::new(&material());
        for count in 1..40 {
            for length in [16, 33, 64] {
                let stride = padded(length) + 9;
                let mut slots = vec![0; stride * count];
                for (number, slot) in slots.chunks_exact_mut(stride).enumerate() {
                    slot[4..4 + length].copy_from_slice(&plaintext(length + number)[number..]);
                }
                cipher.encrypt_slots(&mut slots, 4, stride, length);
                for (number, slot) in slots.chunks_exact(stride).enumerate() {
                    let expected =
                        encrypt_chunk(&material(), &plaintext(length + number)[number..]);
                    assert_eq!(slot[4..4 + padded(length)], expected);
                    assert_eq!(slot[4 + padded(length)..], [0; 5]);
                }
            }
        }
    }

    #[test]
    fn wrong_ciphertexts_are_refused() {
        for length in [0, 15, 17] {
            let error = decrypt_chunk(&material(), &vec![0; length]).expect_err("refused");
            let text =
                format!("crypto: ciphertext of {length} bytes; allowed: positive multiples of 16");
            assert_eq!(error.to_string(), text);
        }
        let error = decrypt_chunk(&material(), &[0; 32]).expect_err("refused");
        assert!(error.to_string().starts_with("crypto: bad padding"), "{error}");
    }

    #[test]
    fn every_wrong_padding_is_refused() {
        let cipher = ClassicCipher::new(&material());
        for last in 0..=255_u8 {
            let mut block = [2; 16];
            block[15] = last;
            // The block stands alone, so its padding is whatever its own plaintext ends in.
            let mut lane = block;
            cipher.encrypt_lanes::<1>(&mut [&mut lane[..]]);
            let outcome = decrypt_chunk(&material(), &lane);
            assert_eq!(outcome.is_ok(), last == 1 || last == 2, "{last}");
        }
    }
}
