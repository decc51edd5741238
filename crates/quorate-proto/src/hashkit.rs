//! The hash functions of Dynomite's rings: a key's token by any of them.
//!
//! They are libhashkit's as Dynomite runs them, quirks included: a ring keeps its owners only as
//! long as every key keeps its token. Vectors were taken from a built Dynomite. What Dynomite calls
//! `murmur3` it never computes, so that every key has the token 0; the real one, MurmurHash3 (x86, 32
//! bits, seed 0), is here `murmur3_32`.

use core::{fmt, num::Wrapping, str::FromStr};

use crc::{CRC_32_ISO_HDLC, Crc};
use md5::{Digest as _, Md5};

use crate::slot::CRC16_TABLE;

/// A hash function by the name that Dynomite's configuration has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashKind {
    /// Bob Jenkins's one-at-a-time, of signed bytes.
    OneAtATime,
    /// The first four bytes of MD5, the lowest first.
    Md5,
    /// CRC-16/XMODEM in a register of 32 bits that is never cut.
    Crc16,
    /// 15 bits of CRC-32: most of a ring stays empty.
    Crc32,
    /// CRC-32 as zlib has it.
    Crc32a,
    /// FNV-1, the lower half of 64 bits.
    Fnv1_64,
    /// FNV-1a with the prime of 64 bits, in 32.
    Fnv1a64,
    /// FNV-1 of 32 bits.
    Fnv1_32,
    /// FNV-1a of 32 bits.
    Fnv1a32,
    /// Paul Hsieh's SuperFastHash, begun at 0.
    Hsieh,
    /// MurmurHash2, with a seed made of the length. Dynomite's default.
    Murmur,
    /// Bob Jenkins's lookup3, begun at 13.
    Jenkins,
    /// Token 0 for every key, as Dynomite has it: one node of each rack holds everything.
    Murmur3,
    /// MurmurHash3, which Dynomite does not have.
    Murmur3_32,
}

/// A name that no hash function has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no hash function has this name; there are {}", Names)]
pub struct UnknownHash;

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, kind) in HashKind::ALL.into_iter().enumerate() {
            write!(f, "{}{kind}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl HashKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::OneAtATime,
        Self::Md5,
        Self::Crc16,
        Self::Crc32,
        Self::Crc32a,
        Self::Fnv1_64,
        Self::Fnv1a64,
        Self::Fnv1_32,
        Self::Fnv1a32,
        Self::Hsieh,
        Self::Murmur,
        Self::Jenkins,
        Self::Murmur3,
        Self::Murmur3_32,
    ];

    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneAtATime => "one_at_a_time",
            Self::Md5 => "md5",
            Self::Crc16 => "crc16",
            Self::Crc32 => "crc32",
            Self::Crc32a => "crc32a",
            Self::Fnv1_64 => "fnv1_64",
            Self::Fnv1a64 => "fnv1a_64",
            Self::Fnv1_32 => "fnv1_32",
            Self::Fnv1a32 => "fnv1a_32",
            Self::Hsieh => "hsieh",
            Self::Murmur => "murmur",
            Self::Jenkins => "jenkins",
            Self::Murmur3 => "murmur3",
            Self::Murmur3_32 => "murmur3_32",
        }
    }

    /// The token of `key`, as a position on a ring of 2^32 ([`crate::partitioner`]).
    pub fn token(self, key: &[u8]) -> u32 {
        match self {
            Self::OneAtATime => one_at_a_time(key),
            Self::Md5 => {
                let [a, b, c, d, ..] = Md5::digest(key).0;
                u32::from_le_bytes([a, b, c, d])
            }
            Self::Crc16 => crc16(key),
            Self::Crc32 => CRC32.checksum(key) >> 16 & 0x7fff,
            Self::Crc32a => CRC32.checksum(key),
            Self::Fnv1_64 => fnv1_64(key),
            Self::Fnv1a64 => fnv1a(key, 0x8422_2325, 0x1b3),
            Self::Fnv1_32 => fnv1_32(key),
            Self::Fnv1a32 => fnv1a(key, FNV_32_OFFSET, FNV_32_PRIME),
            Self::Hsieh => hsieh(key),
            Self::Murmur => murmur2(key),
            Self::Jenkins => jenkins(key),
            Self::Murmur3 => 0,
            Self::Murmur3_32 => murmur3(key),
        }
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashKind {
    type Err = UnknownHash;

    fn from_str(name: &str) -> Result<Self, UnknownHash> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownHash)
    }
}

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const FNV_32_OFFSET: u32 = 0x811c_9dc5;
const FNV_32_PRIME: u32 = 0x0100_0193;

/// A byte as a C compiler widens a `char` that has a sign.
fn signed(byte: u8) -> u32 {
    byte.cast_signed() as u32
}

fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = Wrapping(0_u32);
    for byte in key {
        hash += signed(*byte);
        hash += hash << 10;
        hash ^= hash >> 6;
    }
    hash += hash << 3;
    hash ^= hash >> 11;
    hash += hash << 15;
    hash.0
}

fn crc16(key: &[u8]) -> u32 {
    key.iter().fold(0, |crc: u32, byte| {
        let index = (crc >> 8) as u8 ^ byte;
        crc << 8 ^ u32::from(CRC16_TABLE[usize::from(index)])
    })
}

fn fnv1_64(key: &[u8]) -> u32 {
    let step = |hash: u64, byte: &u8| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte);
    key.iter().fold(0xcbf2_9ce4_8422_2325, step) as u32
}

fn fnv1_32(key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| hash.wrapping_mul(FNV_32_PRIME) ^ u32::from(*byte);
    key.iter().fold(FNV_32_OFFSET, step)
}

fn fnv1a(key: &[u8], offset: u32, prime: u32) -> u32 {
    key.iter().fold(offset, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(prime))
}

fn hsieh(key: &[u8]) -> u32 {
    let half = |bytes: &[u8]| u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let mut hash = Wrapping(0_u32);
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        hash += half(word);
        let mixed = Wrapping(half(&word[2..]) << 11) ^ hash;
        hash = hash << 16 ^ mixed;
        hash += hash >> 11;
    }
    match rest {
        [first, second, third] => {
            hash += half(&[*first, *second]);
            hash ^= hash << 16;
            hash ^= signed(*third) << 18;
            hash += hash >> 11;
        }
        [first, second] => {
            hash += half(&[*first, *second]);
            hash ^= hash << 11;
            hash += hash >> 17;
        }
        [only] => {
            hash += u32::from(*only);
            hash ^= hash << 10;
            hash += hash >> 1;
        }
        _ => {}
    }
    hash ^= hash << 3;
    hash += hash >> 5;
    hash ^= hash << 4;
    hash += hash >> 17;
    hash ^= hash << 25;
    hash += hash >> 6;
    hash.0
}

fn murmur2(key: &[u8]) -> u32 {
    const FACTOR: Wrapping<u32> = Wrapping(0x5bd1_e995);
    let length = Wrapping(key.len() as u32);
    let seed = Wrapping(0xdead_beef_u32) * length;
    let mut hash = seed ^ length;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = Wrapping(u32::from_le_bytes(*word)) * FACTOR;
        word ^= word >> 24;
        hash = (hash * FACTOR) ^ (word * FACTOR);
    }
    if !rest.is_empty() {
        hash ^= little_endian(rest);
        hash *= FACTOR;
    }
    hash ^= hash >> 13;
    hash *= FACTOR;
    hash ^= hash >> 15;
    hash.0
}

fn murmur3(key: &[u8]) -> u32 {
    let scramble =
        |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = words.iter().fold(0_u32, |hash, word| {
        let mixed = hash ^ scramble(u32::from_le_bytes(*word));
        mixed.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    hash ^= scramble(little_endian(rest)) ^ key.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The number that up to four bytes are, the lowest first.
fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn jenkins(key: &[u8]) -> u32 {
    let begin = Wrapping(0xdead_beef_u32) + Wrapping(key.len() as u32) + Wrapping(13);
    let [mut a, mut b, mut c] = [begin; 3];
    let mut rest = key;
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        rest = after;
        a += little_endian(&block[..4]);
        b += little_endian(&block[4..8]);
        c += little_endian(&block[8..]);
        for (shift, turn) in [(4, 0), (6, 1), (8, 2), (16, 0), (19, 1), (4, 2)] {
            // One step, on each of the three in turn.
            let [x, y, z] = match turn {
                0 => [&mut a, &mut b, &mut c],
                1 => [&mut b, &mut c, &mut a],
                _ => [&mut c, &mut a, &mut b],
            };
            *x -= *z;
            *x ^= z.0.rotate_left(shift);
            *z += *y;
        }
    }
    if rest.is_empty() {
        return c.0;
    }
    let part = |number: usize| {
        little_endian(&rest[rest.len().min(4 * number)..rest.len().min(4 * number + 4)])
    };
    a += part(0);
    b += part(1);
    c += part(2);
    for (shift, turn) in [(14, 2), (11, 0), (25, 1), (16, 2), (4, 0), (14, 1), (24, 2)] {
        let [x, y] = match turn {
            0 => [&mut a, &mut c],
            1 => [&mut b, &mut a],
            _ => [&mut c, &mut b],
        };
        *x ^= *y;
        *x -= y.0.rotate_left(shift);
    }
    c.0
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const KEYS: [&[u8]; 6] =
        [b"a", b"foo", b"hello world", b"key:000000000042", b"\xff\x80\x01", b"user:{42}:name"];

    /// Tokens of the keys above, from a built Dynomite.
    const VECTORS: [(&str, [u32; 6]); 12] = [
        ("murmur", [1262581116, 3303027599, 1578702139, 62825049, 3541589279, 2319559350]),
        ("one_at_a_time", [3392050242, 596015325, 1045060183, 2815582400, 565816914, 2943448602]),
        ("md5", [3111502092, 3675831724, 3141252702, 1606180694, 4143271320, 3895573093]),
        ("crc16", [31879, 205303702, 4060494820, 958930555, 512935130, 4193931094]),
        ("crc32", [26807, 3187, 3402, 21070, 3421, 16096]),
        ("crc32a", [3904355907, 2356372769, 222957957, 3528333499, 224216354, 3202416040]),
        ("fnv1_64", [2248259518, 1805727027, 2979073647, 2116154162, 1776848289, 2463323743]),
        ("fnv1a_64", [2248273036, 4275688823, 37540583, 1871277472, 3850884305, 2586002863]),
        ("fnv1_32", [84696446, 1083137555, 1418570095, 2755100498, 1921939297, 3976222335]),
        ("fnv1a_32", [3826002220, 2851307223, 3582672807, 2575148448, 631952401, 1009282959]),
        ("hsieh", [2472816263, 1993659431, 1333368947, 3985489885, 642505427, 183126618]),
        ("jenkins", [3768813200, 2583187353, 355681275, 699106778, 3801980525, 4086919218]),
    ];

    #[test]
    fn tokens_are_those_of_dynomite() {
        for (name, tokens) in VECTORS {
            let kind: HashKind = name.parse().expect("a name");
            assert_eq!(KEYS.map(|key| kind.token(key)), tokens, "{name}");
        }
    }

    /// Published values of MurmurHash3_x86_32 with seed 0.
    #[test]
    fn murmur3_is_computed() {
        let token = |key: &str| HashKind::Murmur3_32.token(key.as_bytes());
        assert_eq!([token(""), token("test")], [0, 0xba6b_d213]);
        assert_eq!(token("Hello, world!"), 0xc036_3e43);
        assert_eq!(token("The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
    }

    #[test]
    fn murmur3_of_dynomite_is_never_computed() {
        assert_eq!(KEYS.map(|key| HashKind::Murmur3.token(key)), [0; 6]);
    }

    #[test]
    fn every_length_has_a_token() {
        let key = [0xfe_u8; 64];
        let of_lengths =
            |kind: HashKind| (0..=key.len()).map(move |length| kind.token(&key[..length]));
        for kind in HashKind::ALL.into_iter().filter(|kind| *kind != HashKind::Murmur3) {
            assert!(of_lengths(kind).skip(1).all(|token| token != 0), "{kind}");
        }
    }

    #[test]
    fn names_read_back() {
        assert!(HashKind::ALL.into_iter().all(|kind| kind.name().parse() == Ok(kind)));
        let error = "sha1".parse::<HashKind>().expect_err("unknown");
        assert!(error.to_string().ends_with(
            "there are one_at_a_time, md5, crc16, crc32, crc32a, \
            fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins, murmur3, murmur3_32"
        ));
    }
}
