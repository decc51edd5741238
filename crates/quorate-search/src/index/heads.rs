//! The heads of the entries of a block of postings, in 32 bits each, or in 64 if the documents are
//! too far apart.
//!
//! ```text
//! head    [ document less the first ][ frequency, 8 bits ][ length of the entry, 8 bits ]
//! ```

use alloc::vec::Vec;
use core::mem::size_of;

/// In place of a frequency or length: this much or more.
pub(super) const ANY: u8 = u8::MAX;

/// Bits behind the document.
const BEHIND: u32 = 16;

/// Heads that are looked at one by one before a search: most often it is one of the next.
const NEXT: usize = 4;

#[derive(Debug, Clone)]
pub(super) enum Heads {
    /// Offsets below 2^16.
    Short(Vec<u32>),
    Long(Vec<u64>),
}

impl Default for Heads {
    fn default() -> Self {
        Heads::Short(Vec::new())
    }
}

impl Heads {
    pub(super) fn len(&self) -> usize {
        match self {
            Heads::Short(heads) => heads.len(),
            Heads::Long(heads) => heads.len(),
        }
    }

    /// Bytes beside the list itself.
    pub(super) fn memory(&self) -> usize {
        match self {
            Heads::Short(heads) => heads.capacity() * size_of::<u32>(),
            Heads::Long(heads) => heads.capacity() * size_of::<u64>(),
        }
    }

    /// Adds a head whose offset is greater than that of the last.
    pub(super) fn push(&mut self, offset: u32, frequency: u8, length: u8) {
        let behind = u16::from_be_bytes([frequency, length]);
        match self {
            Heads::Short(heads) if offset <= u32::from(u16::MAX) => {
                heads.push(offset << BEHIND | u32::from(behind));
            }
            Heads::Short(heads) => {
                let mut long: Vec<u64> = heads.iter().map(|&head| u64::from(head)).collect();
                long.push(u64::from(offset) << BEHIND | u64::from(behind));
                *self = Heads::Long(long);
            }
            Heads::Long(heads) => heads.push(u64::from(offset) << BEHIND | u64::from(behind)),
        }
    }

    /// Offset, frequency and length.
    #[inline]
    pub(super) fn get(&self, at: usize) -> (u32, u8, u8) {
        let head = match self {
            Heads::Short(heads) => u64::from(heads[at]),
            Heads::Long(heads) => heads[at],
        };
        ((head >> BEHIND) as u32, (head >> 8) as u8, head as u8)
    }

    #[inline]
    pub(super) fn offset(&self, at: usize) -> u32 {
        self.get(at).0
    }

    /// The first from `from` on with this offset or a greater one. There must be one.
    #[inline]
    pub(super) fn find(&self, from: usize, offset: u32) -> usize {
        match self {
            // No short head has a greater offset.
            Heads::Short(heads) => find(heads, from, offset.min(u32::from(u16::MAX)) << BEHIND),
            Heads::Long(heads) => find(heads, from, u64::from(offset) << BEHIND),
        }
    }

    /// Tells `take` offset and frequency of those from `from` on up to an offset; returns the first
    /// behind them.
    #[inline]
    pub(super) fn take(&self, from: usize, last: u32, mut take: impl FnMut(u32, u8)) -> usize {
        match self {
            Heads::Short(heads) => {
                let mut at = from;
                for &head in &heads[from..] {
                    if head >> BEHIND > last {
                        break;
                    }
                    take(head >> BEHIND, (head >> 8) as u8);
                    at += 1;
                }
                at
            }
            Heads::Long(heads) => {
                let mut at = from;
                for &head in &heads[from..] {
                    if (head >> BEHIND) as u32 > last {
                        break;
                    }
                    take((head >> BEHIND) as u32, (head >> 8) as u8);
                    at += 1;
                }
                at
            }
        }
    }
}

#[inline]
fn find<T: PartialOrd + Copy>(heads: &[T], from: usize, least: T) -> usize {
    let rest = &heads[from..];
    for (passed, head) in rest.iter().take(NEXT).enumerate() {
        if *head >= least {
            return from + passed;
        }
    }
    let rest = rest.get(NEXT..).unwrap_or_default();
    from + NEXT + rest.partition_point(|head| *head < least)
}
