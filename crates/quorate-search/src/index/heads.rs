//! The heads of the entries of a block of postings, in 32 bits each, or in 64 if the documents are
//! too far apart.
//!
//! ```text
//! head    [ document less the first ][ frequency, 8 bits ][ kind of the entry, 8 bits ]
//! kind    0 ..= 239   no entry: the term is once in the field of the block, at this position
//!         240 ..= 254 the length of the entry, plus 240
//!         255         longer: the length stands before the entry
//! ```

use alloc::vec::Vec;
use core::mem::size_of;
use core::ops::Range;

/// In place of a frequency: this much or more; of a kind: that the length stands elsewhere.
pub(super) const ANY: u8 = u8::MAX;

/// The kind of an entry without bytes; greater kinds have bytes.
pub(crate) const EMPTY: u8 = 240;

/// What a head says besides the document: frequency and kind, never 0 of a term that is there.
#[inline]
pub(crate) fn said(head: u32) -> u16 {
    head as u16
}

/// The document less the first.
#[inline]
pub(crate) fn offset(head: u32) -> u32 {
    head >> BEHIND
}

/// The frequency, 255 for any from there on.
#[inline]
pub(crate) fn frequency(said: u16) -> u8 {
    (said >> 8) as u8
}

/// The position, if that is all there is to tell.
#[inline]
pub(crate) fn position(said: u16) -> Option<u32> {
    let kind = said as u8;
    (kind < EMPTY).then_some(u32::from(kind))
}

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
    pub(super) fn push(&mut self, offset: u32, frequency: u8, kind: u8) {
        let behind = u16::from_be_bytes([frequency, kind]);
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

    /// Has what is read first brought into the caches; the rest follows then.
    #[inline]
    pub(super) fn touch(&self) {
        if let Heads::Short(heads) = self {
            let middle = heads.get(heads.len() / 2);
            core::hint::black_box((heads.first().copied(), middle.copied()));
        }
    }

    /// Offset, frequency and kind.
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

    /// Bytes of the entries of some heads, if none of them is of kind [`ANY`].
    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> usize {
        let bytes = |kind: u8| u32::from(kind.saturating_sub(EMPTY));
        let sum: u32 = match self {
            Heads::Short(heads) => heads[range].iter().map(|&head| bytes(head as u8)).sum(),
            Heads::Long(heads) => heads[range].iter().map(|&head| bytes(head as u8)).sum(),
        };
        sum as usize
    }

    /// Tells `take` the heads from `from` on up to an offset, in runs of short ones: how much to add
    /// to the offsets, and the heads. Returns the first behind them.
    #[inline]
    pub(super) fn take(&self, from: usize, last: u32, mut take: impl FnMut(u32, &[u32])) -> usize {
        match self {
            Heads::Short(heads) => {
                let rest = &heads[from..];
                let ends = rest.last().is_none_or(|&head| offset(head) <= last);
                let count = if ends {
                    rest.len()
                } else {
                    rest.partition_point(|&head| offset(head) <= last)
                };
                if count > 0 {
                    take(0, &rest[..count]);
                }
                from + count
            }
            Heads::Long(heads) => {
                let rest = &heads[from..];
                let count = rest.partition_point(|&head| (head >> BEHIND) as u32 <= last);
                for &head in &rest[..count] {
                    take((head >> BEHIND) as u32, &[u32::from(head as u16)]);
                }
                from + count
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
