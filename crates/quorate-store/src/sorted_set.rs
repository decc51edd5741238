//! The state of a sorted set: a score for each member, and the order of scores.
//!
//! A member converges like a field of a hash: the newest ZADD wins, and what ZINCRBY has added
//! since on any node adds up. The order is by score, then by the bytes of the member.

use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Element},
    elements::{Elements, Payload},
    live::Live,
    object::Kind,
    part::Body,
    ranked::ByScore,
    score::Score,
};

/// Members of a sorted set.
pub type SortedSet = Elements<Cell<Option<Score>>>;

impl Payload for Cell<Option<Score>> {
    const KIND: Kind = Kind::SortedSet;

    type Value<'a> = Score;

    type Order = ByScore;

    const IS_ORDERED: bool = true;

    fn is_before(new: (&[u8], Element<'_, Score>), old: (&[u8], Element<'_, Score>)) -> bool {
        (new.1.score(), new.0) < (old.1.score(), old.0)
    }

    fn keeps_place(old: Element<'_, Score>, new: Element<'_, Score>) -> bool {
        old.score() == new.score()
    }

    fn of(element: Element<'_, Score>) -> Self {
        Self::of(element)
    }

    fn overwritten<'b>(
        old: Element<'_, Score>,
        body: &Body<'b>,
    ) -> Option<Option<Element<'b, Score>>> {
        Self::overwritten(old, body)
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

/// Positions in the order of scores.
impl SortedSet {
    /// How many members have a score below this one.
    pub(crate) fn below(&self, score: Score) -> usize {
        match self.live() {
            Live::Block(_) => self.leading(|_, other| other < score),
            Live::Large(large) => large.order.below(score),
        }
    }

    /// How many members have this score or one below.
    pub(crate) fn up_to(&self, score: Score) -> usize {
        match self.live() {
            Live::Block(_) => self.leading(|_, other| other <= score),
            Live::Large(large) => large.order.up_to(score),
        }
    }

    /// How many members at the front `is_before` holds for; only meaningful where the names are in
    /// order, which they are among members of one score.
    pub(crate) fn partition_point(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        match self.live() {
            Live::Block(_) => self.leading(|name, _| is_before(name)),
            Live::Large(large) => large.order.partition_point(&large.records, is_before),
        }
    }

    /// The same, but seen from the end: how many members are left without those at the end that
    /// `is_behind` holds for.
    pub(crate) fn partition_point_from_end(&self, is_behind: impl Fn(&[u8]) -> bool) -> usize {
        match self.live() {
            Live::Block(_) => {
                let positions = self.iter().enumerate();
                let last = positions.filter(|(_, (name, _))| !is_behind(name)).last();
                last.map_or(0, |(position, _)| position + 1)
            }
            Live::Large(large) => {
                large.order.partition_point(&large.records, |name| !is_behind(name))
            }
        }
    }

    /// How many members stand before `name`, if it is one.
    pub(crate) fn rank(&self, name: &[u8]) -> Option<usize> {
        match self.live() {
            Live::Block(_) => self.iter().position(|(found, _)| found == name),
            Live::Large(large) => large.order.rank(&large.records, large.records.find(name)?),
        }
    }

    /// The members from position `start` to before `end`, in their order.
    pub(crate) fn range(&self, start: usize, end: usize) -> std::vec::IntoIter<(&[u8], Score)> {
        let members: Vec<(&[u8], Score)> = match self.live() {
            Live::Block(_) => {
                let members = self.iter().take(end).skip(start);
                members.map(|(name, element)| (name, element.score())).collect()
            }
            Live::Large(large) => large.order.range(&large.records, start, end),
        };
        members.into_iter()
    }

    /// How many members of a block are at its front that `is_before` holds for.
    fn leading(&self, is_before: impl Fn(&[u8], Score) -> bool) -> usize {
        self.iter().take_while(|(name, element)| is_before(name, element.score())).count()
    }
}
