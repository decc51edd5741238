//! The order of a large sorted set.
//!
//! It is a [sequence](crate::sequence) that counts, so that the member of a rank, and the rank of a
//! member, are found in O(log n). It holds scores, and numbers of members.

use crate::{
    cell::{Cell, Element},
    indexed::Indexed,
    live::Order,
    score::Score,
    sequence::Sequence,
};

/// Members in the order of their scores, then of their names.
#[derive(Clone, Debug, Default)]
pub struct ByScore(Sequence<Place>);

/// A member in the order. Unaligned, so that a place takes twelve bytes.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
struct Place {
    score: f64,
    number: u32,
}

impl Place {
    fn new(score: Score, number: usize) -> Self {
        let number = u32::try_from(number).expect("invariant: fewer than 2^32 members");
        Self { score: score.value(), number }
    }
}

fn member(records: &Indexed, number: usize) -> (&[u8], Score) {
    let record = records.get(number).expect("invariant: every place has a member");
    let element: Element<'_, Score> = record.element(records.base());
    (record.name, element.score())
}

fn name(records: &Indexed, place: Place) -> &[u8] {
    records.get(place.number as usize).expect("invariant: every place has a member").name
}

impl ByScore {
    /// How many members have a score below this one.
    pub(crate) fn below(&self, score: Score) -> usize {
        self.0.partition_point(|place| place.score < score.value())
    }

    /// How many members have this score or one below.
    pub(crate) fn up_to(&self, score: Score) -> usize {
        self.0.partition_point(|place| place.score <= score.value())
    }

    /// How many members at the front `is_before` holds for; only meaningful where the names are in
    /// order, which they are among members of one score.
    pub(crate) fn partition_point(
        &self,
        records: &Indexed,
        is_before: impl Fn(&[u8]) -> bool,
    ) -> usize {
        self.0.partition_point(|place| is_before(name(records, place)))
    }

    /// How many members stand before the one with a number.
    pub(crate) fn rank(&self, records: &Indexed, number: usize) -> Option<usize> {
        records.get(number)?;
        Some(self.position(records, number))
    }

    /// The members from position `start` to before `end`, in their order.
    pub(crate) fn range<'a>(
        &self,
        records: &'a Indexed,
        start: usize,
        end: usize,
    ) -> Vec<(&'a [u8], Score)> {
        let places = self.0.range(start, end).into_iter();
        places.map(|place| member(records, place.number as usize)).collect()
    }

    /// Where the member with a number stands, or would.
    fn position(&self, records: &Indexed, number: usize) -> usize {
        let (own, score) = member(records, number);
        let score = score.value();
        self.0.partition_point(|place| {
            place.score < score || place.score == score && name(records, place) < own
        })
    }
}

impl Order<Cell<Option<Score>>> for ByScore {
    fn add(&mut self, records: &Indexed, number: usize) {
        let (_, score) = member(records, number);
        let position = self.position(records, number);
        self.0.insert(position, Place::new(score, number));
    }

    fn remove(&mut self, records: &Indexed, number: usize) {
        self.0.remove(self.position(records, number));
    }

    fn renumber(&mut self, records: &Indexed, old: usize, new: usize) {
        let (_, score) = member(records, old);
        let position = self.position(records, old);
        self.0.replace(position, Place::new(score, new));
    }
}
