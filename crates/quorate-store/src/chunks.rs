//! Pieces of memory to which entries are appended, without an allocation for each.
//!
//! A *place* names an entry for as long as it is not moved: a chunk, and a position in it, in units
//! of eight bytes. An entry that is no longer needed leaves a gap. A chunk with too many of them is
//! *drained*: the owner moves what still lives, and the chunk is given back. So memory grows and
//! shrinks in steps of one chunk, and no step moves more than that. What an entry holds, and how
//! long it is, the owner knows.

const CHUNK_BYTES: usize = 1 << 16;
const GRANULE: usize = 8;
const GRANULES: u32 = (CHUNK_BYTES / GRANULE) as u32;

/// A chunk is drained when gaps take this share of it.
const GAPS_MAX: usize = CHUNK_BYTES / 3;

/// Where an entry begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u32);

/// Bytes that an entry of `length` takes.
#[inline]
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(GRANULE)
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Bytes of entries that are no longer there.
    gaps: usize,
}

/// Chunks of one owner.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    chunks: Vec<Chunk>,
    /// Most of them, so that places stay small enough for the owner.
    chunks_max: usize,
    /// The chunk that is appended to.
    current: usize,
    /// Chunks that have been drained.
    vacant: Vec<usize>,
    /// Chunks to drain.
    due: Vec<usize>,
    /// Whether one is being drained.
    draining: bool,
}

impl Chunks {
    /// Chunks whose places are below `places_max`.
    pub(crate) fn new(places_max: u32) -> Self {
        Self {
            chunks: Vec::new(),
            chunks_max: (places_max / GRANULES) as usize,
            current: 0,
            vacant: Vec::new(),
            due: Vec::new(),
            draining: false,
        }
    }

    /// What begins at a place, up to the end of its chunk.
    #[inline]
    pub(crate) fn bytes(&self, place: Place) -> &[u8] {
        let (chunk, start) = position(place);
        &self.chunks[chunk].bytes[start..]
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, place: Place) -> &mut [u8] {
        let (chunk, start) = position(place);
        &mut self.chunks[chunk].bytes[start..]
    }

    /// Appends an entry, in pieces: far less than a chunk. `None` when there is no room: never
    /// while a chunk is drained, for which one is kept.
    #[inline]
    pub(crate) fn push(&mut self, pieces: [&[u8]; 3]) -> Option<Place> {
        let length = padded(pieces.iter().map(|piece| piece.len()).sum());
        let has_room = |chunk: &Chunk| chunk.bytes.len() + length <= CHUNK_BYTES;
        if !self.chunks.get(self.current).is_some_and(has_room) {
            self.begin_chunk()?;
        }
        let bytes = &mut self.chunks[self.current].bytes;
        let granule = bytes.len() / GRANULE;
        let end = bytes.len() + length;
        for piece in pieces {
            bytes.extend_from_slice(piece);
        }
        bytes.resize(end, 0);
        Some(Place(self.current as u32 * GRANULES + granule as u32))
    }

    fn begin_chunk(&mut self) -> Option<()> {
        // The one that is full was never due while it was the current one.
        let left = self.current;
        let is_last = self.vacant.is_empty() && self.chunks.len() + 1 >= self.chunks_max;
        if is_last && !self.draining {
            return None;
        }
        self.current = match self.vacant.pop() {
            Some(vacant) => vacant,
            None => {
                self.chunks.push(Chunk::default());
                self.chunks.len() - 1
            }
        };
        // At once, since allocators keep room for what grows; but the first one may be all that
        // is ever needed.
        if self.current > 0 {
            self.chunks[self.current].bytes.reserve_exact(CHUNK_BYTES);
        }
        if left != self.current {
            self.note_gaps(left, 0);
        }
        Some(())
    }

    /// The entry of `length` at a place is no longer needed.
    pub(crate) fn remove(&mut self, place: Place, length: usize) {
        self.note_gaps(position(place).0, padded(length));
    }

    fn note_gaps(&mut self, index: usize, more: usize) {
        let Some(chunk) = self.chunks.get_mut(index) else { return };
        let was_due = index != self.current && more > 0 && chunk.gaps > GAPS_MAX;
        chunk.gaps += more;
        if index != self.current && chunk.gaps > GAPS_MAX && !was_due {
            self.due.push(index);
        }
    }

    /// Takes out a chunk that is to be drained: what of it lives must be pushed again before it is
    /// [released](Chunks::release).
    #[inline]
    pub(crate) fn take_due(&mut self) -> Option<Drained> {
        let index = self.due.pop()?;
        let Chunk { bytes, .. } = std::mem::take(&mut self.chunks[index]);
        self.draining = true;
        Some(Drained { bytes, index })
    }

    /// Gives back a chunk of which nothing lives.
    pub(crate) fn release(&mut self, Drained { index, .. }: Drained) {
        self.vacant.push(index);
        self.draining = false;
    }

    /// Bytes of all chunks.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum()
    }
}

fn position(Place(place): Place) -> (usize, usize) {
    ((place / GRANULES) as usize, (place % GRANULES) as usize * GRANULE)
}

/// A chunk that is being drained.
#[derive(Debug)]
pub(crate) struct Drained {
    bytes: Vec<u8>,
    index: usize,
}

impl Drained {
    /// The beginning of every entry and where it was, those no longer there included. `length`
    /// tells how long one is.
    pub(crate) fn entries(
        &self,
        length: impl Fn(&[u8]) -> usize,
    ) -> impl Iterator<Item = (Place, &[u8])> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let bytes = self.bytes.get(at..).filter(|bytes| !bytes.is_empty())?;
            let place = Place(self.index as u32 * GRANULES + (at / GRANULE) as u32);
            at += padded(length(bytes));
            Some((place, bytes))
        })
    }
}
