//! A sorted set of any size: a table of members, and their order.
//!
//! The order is a [sequence](crate::sequence) that counts, so that the member of a rank, and the
//! rank of a member, are found in O(log n). It holds scores, and positions in the table.

use foldhash::fast::FixedState;
use indexmap::IndexMap;

use crate::{
    cell::{Cell, Element},
    score::Score,
    sequence::Sequence,
};

/// Members with their order.
#[derive(Clone, Debug)]
pub(crate) struct Ranked {
    members: IndexMap<Box<[u8]>, Cell<Option<Score>>, FixedState>,
    order: Sequence<Place>,
}

/// A member in the order of scores. Unaligned, so that a place takes twelve bytes.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
struct Place {
    score: f64,
    /// Where the member is in the table.
    index: u32,
}

impl Place {
    fn new(score: Score, index: usize) -> Self {
        let index = u32::try_from(index).expect("invariant: fewer than 2^32 members");
        Self { score: score.value(), index }
    }
}

impl Ranked {
    pub(crate) fn new(hasher: &FixedState) -> Self {
        Self { members: IndexMap::with_hasher(hasher.clone()), order: Sequence::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Element<'_, Score>> {
        self.members.get(name).map(Cell::element)
    }

    pub(crate) fn at(&self, index: usize) -> Option<(&[u8], Element<'_, Score>)> {
        self.members.get_index(index).map(|(name, member)| (&**name, member.element()))
    }

    /// The members, in the order of the table.
    pub(crate) fn iter(&self) -> Members<'_> {
        Members(self.members.iter())
    }

    /// How many members have a score below this one.
    pub(crate) fn below(&self, score: Score) -> usize {
        self.order.partition_point(|place| place.score < score.value())
    }

    /// How many members have this score or one below.
    pub(crate) fn up_to(&self, score: Score) -> usize {
        self.order.partition_point(|place| place.score <= score.value())
    }

    /// How many members at the front `is_before` holds for; only meaningful where the names are in
    /// order, which they are among members of one score.
    pub(crate) fn partition_point(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        self.order.partition_point(|place| is_before(self.name(place)))
    }

    /// How many members stand before `name`, which must be one.
    pub(crate) fn rank(&self, name: &[u8]) -> Option<usize> {
        let element = self.get(name)?;
        Some(self.position(element.score(), name))
    }

    /// The members from position `start` to before `end`, in their order.
    pub(crate) fn range(
        &self,
        start: usize,
        end: usize,
    ) -> impl DoubleEndedIterator<Item = (&[u8], Score)> + ExactSizeIterator {
        let places = self.order.range(start, end).into_iter();
        places.map(|place| {
            let (name, member) = self.entry(place);
            (name, member.element().score())
        })
    }

    fn entry(&self, place: Place) -> (&[u8], &Cell<Option<Score>>) {
        let entry = self.members.get_index(place.index as usize);
        let (name, member) = entry.expect("invariant: every place has a member");
        (name, member)
    }

    fn name(&self, place: Place) -> &[u8] {
        self.entry(place).0
    }

    /// Where a member with this score and name stands, or would.
    fn position(&self, score: Score, name: &[u8]) -> usize {
        let score = score.value();
        self.order.partition_point(|place| {
            place.score < score || place.score == score && self.name(place) < name
        })
    }

    fn place(&mut self, index: usize) {
        let Some((name, member)) = self.members.get_index(index) else { return };
        let score = member.element().score();
        let position = self.position(score, name);
        self.order.insert(position, Place::new(score, index));
    }

    /// Removes a dead member that has no place any more. The last one takes its index.
    fn swap_remove(&mut self, index: usize) {
        let last = self.members.len() - 1;
        if index != last
            && let Some((name, member)) = self.members.get_index(last)
        {
            let score = member.element().score();
            let position = self.position(score, name);
            self.order.replace(position, Place::new(score, index));
        }
        self.members.swap_remove_index(index);
    }

    /// Adds a member that is not there.
    pub(crate) fn insert(&mut self, name: &[u8], member: Cell<Option<Score>>) {
        let (index, _) = self.members.insert_full(name.into(), member);
        self.place(index);
    }

    /// See [`crate::elements::Table::update`].
    pub(crate) fn update<R>(
        &mut self,
        name: &[u8],
        absent: impl FnOnce() -> Cell<Option<Score>>,
        change: impl FnOnce(&mut Cell<Option<Score>>) -> R,
    ) -> (R, bool) {
        if let Some((index, _, member)) = self.members.get_full_mut(name) {
            let before = member.element().score();
            let result = change(member);
            let (is_live, after) = (member.is_live(), member.element().score());
            if !is_live || after != before {
                let position = self.position(before, name);
                self.order.remove(position);
                if is_live { self.place(index) } else { self.swap_remove(index) }
            }
            return (result, true);
        }
        let mut member = absent();
        let result = change(&mut member);
        if member.is_live() {
            self.insert(name, member);
        }
        (result, false)
    }

    /// See [`crate::elements::Table::update_all`].
    pub(crate) fn update_all(&mut self, mut change: impl FnMut(&[u8], &mut Cell<Option<Score>>)) {
        self.members.retain(|name, member| {
            change(name, member);
            member.is_live()
        });
        let places = self.members.iter().enumerate();
        let mut places: Vec<(Score, &[u8], usize)> = places
            .map(|(index, (name, member))| (member.element().score(), &**name, index))
            .collect();
        places.sort_unstable();
        self.order = places.iter().map(|(score, _, index)| Place::new(*score, *index)).collect();
    }
}

/// The members of a table.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a>(indexmap::map::Iter<'a, Box<[u8]>, Cell<Option<Score>>>);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Element<'a, Score>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, member)| (&**name, member.element()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Members<'_> {}
