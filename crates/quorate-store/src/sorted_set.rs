//! The state of a sorted set: a score for each member, and the order of scores.
//!
//! A member converges like a field of a hash: the newest ZADD wins, and what ZINCRBY has added
//! since on any node adds up. The order is by score, then by the bytes of the member.

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Element},
    elements::{ElementOf, Elements, Payload, Table},
    object::Kind,
    part::Body,
    score::Score,
    sequence::Sequence,
};

/// Members of a sorted set.
pub type SortedSet = Elements<Cell<Score>, ByScore>;

impl Payload for Cell<Score> {
    const KIND: Kind = Kind::SortedSet;

    type Value<'a> = Score;

    fn removed(stamp: Stamp) -> Self {
        Self::removed(stamp)
    }

    fn is_live(&self) -> bool {
        self.is_live()
    }

    fn element(&self) -> Element<'_, Score> {
        self.element()
    }

    fn merge(&mut self, body: &Body<'_>) -> bool {
        self.merge(body)
    }

    fn cut(&mut self, horizon: Stamp) {
        self.cut(horizon);
    }

    fn size(_: Score) -> usize {
        size_of::<Score>()
    }

    fn show(element: Element<'_, Score>, emit: &mut dyn FnMut(Body<'_>)) {
        emit(Body::Score(Stamp::ZERO, element.score()));
    }
}

/// Members with their order.
#[derive(Clone, Debug)]
pub struct ByScore {
    members: IndexMap<Box<[u8]>, Cell<Score>, FixedState>,
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

impl ByScore {
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

    fn entry(&self, place: Place) -> (&[u8], &Cell<Score>) {
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
}

impl Table<Cell<Score>> for ByScore {
    fn new(hasher: &FixedState) -> Self {
        Self { members: IndexMap::with_hasher(hasher.clone()), order: Sequence::default() }
    }

    fn len(&self) -> usize {
        self.members.len()
    }

    fn get(&self, name: &[u8]) -> Option<Element<'_, Score>> {
        self.members.get(name).map(Cell::element)
    }

    fn at(&self, index: usize) -> Option<(&[u8], Element<'_, Score>)> {
        self.members.get_index(index).map(|(name, member)| (&**name, member.element()))
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], ElementOf<'_, Cell<Score>>)> {
        self.members.iter().map(|(name, member)| (&**name, member.element()))
    }

    fn update<R>(
        &mut self,
        name: &[u8],
        absent: impl FnOnce() -> Cell<Score>,
        change: impl FnOnce(&mut Cell<Score>) -> R,
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
            let (index, _) = self.members.insert_full(name.into(), member);
            self.place(index);
        }
        (result, false)
    }

    fn update_all(&mut self, mut change: impl FnMut(&[u8], &mut Cell<Score>)) {
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
