//! The state of a sorted set: a score for each member, and the order of scores.
//!
//! A member converges like a field of a hash: the newest ZADD wins, and what ZINCRBY has added
//! since on any node adds up. The order is by score, then by the bytes of the member.

use foldhash::fast::FixedState;
use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Element},
    elements::{Elements, Payload, Table},
    object::Kind,
    packed::{self, Packed},
    part::Body,
    ranked::{self, Ranked},
    score::Score,
};

/// Members of a sorted set.
pub type SortedSet = Elements<Cell<Option<Score>>, ByScore>;

impl Payload for Cell<Option<Score>> {
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

/// Members in the order of their scores: packed into a block while they are few, short, and without
/// increments.
#[derive(Clone, Debug)]
pub struct ByScore(Layout);

#[derive(Clone, Debug)]
enum Layout {
    Packed(Packed, FixedState),
    Ranked(Box<Ranked>),
}

impl ByScore {
    /// How many members have a score below this one.
    pub(crate) fn below(&self, score: Score) -> usize {
        match &self.0 {
            Layout::Packed(packed, _) => {
                packed.iter().take_while(|(_, element)| element.score() < score).count()
            }
            Layout::Ranked(ranked) => ranked.below(score),
        }
    }

    /// How many members have this score or one below.
    pub(crate) fn up_to(&self, score: Score) -> usize {
        match &self.0 {
            Layout::Packed(packed, _) => {
                packed.iter().take_while(|(_, element)| element.score() <= score).count()
            }
            Layout::Ranked(ranked) => ranked.up_to(score),
        }
    }

    /// How many members at the front `is_before` holds for; only meaningful where the names are in
    /// order, which they are among members of one score.
    pub(crate) fn partition_point(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        match &self.0 {
            Layout::Packed(packed, _) => {
                packed.iter().take_while(|(name, _)| is_before(name)).count()
            }
            Layout::Ranked(ranked) => ranked.partition_point(is_before),
        }
    }

    /// The same, but seen from the end: how many members are left without those at the end that
    /// `is_behind` holds for.
    pub(crate) fn partition_point_from_end(&self, is_behind: impl Fn(&[u8]) -> bool) -> usize {
        match &self.0 {
            Layout::Packed(packed, _) => {
                let last =
                    packed.iter().enumerate().filter(|(_, (name, _))| !is_behind(name)).last();
                last.map_or(0, |(position, _)| position + 1)
            }
            Layout::Ranked(ranked) => ranked.partition_point(|name| !is_behind(name)),
        }
    }

    /// How many members stand before `name`, if it is one.
    pub(crate) fn rank(&self, name: &[u8]) -> Option<usize> {
        match &self.0 {
            Layout::Packed(packed, _) => packed.iter().position(|(found, _)| found == name),
            Layout::Ranked(ranked) => ranked.rank(name),
        }
    }

    /// The members from position `start` to before `end`, in their order.
    pub(crate) fn range(&self, start: usize, end: usize) -> std::vec::IntoIter<(&[u8], Score)> {
        let members: Vec<(&[u8], Score)> = match &self.0 {
            Layout::Packed(packed, _) => {
                let members = packed.iter().take(end).skip(start);
                members.map(|(name, element)| (name, element.score())).collect()
            }
            Layout::Ranked(ranked) => ranked.range(start, end).collect(),
        };
        members.into_iter()
    }

    /// The table of members that do not fit into a block.
    fn unpack(&mut self) -> &mut Ranked {
        if let Layout::Packed(packed, hasher) = &self.0 {
            let mut ranked = Ranked::new(hasher);
            for (name, element) in packed.iter() {
                ranked.insert(name, Cell::written(element.score(), element.stamp()));
            }
            self.0 = Layout::Ranked(Box::new(ranked));
        }
        match &mut self.0 {
            Layout::Ranked(ranked) => ranked,
            Layout::Packed(..) => unreachable!("invariant: it was unpacked"),
        }
    }
}

impl Table<Cell<Option<Score>>> for ByScore {
    fn new(hasher: &FixedState) -> Self {
        Self(Layout::Packed(Packed::default(), hasher.clone()))
    }

    fn len(&self) -> usize {
        match &self.0 {
            Layout::Packed(packed, _) => packed.len(),
            Layout::Ranked(ranked) => ranked.len(),
        }
    }

    fn get(&self, name: &[u8]) -> Option<Element<'_, Score>> {
        match &self.0 {
            Layout::Packed(packed, _) => packed.get(name),
            Layout::Ranked(ranked) => ranked.get(name),
        }
    }

    fn at(&self, index: usize) -> Option<(&[u8], Element<'_, Score>)> {
        match &self.0 {
            Layout::Packed(packed, _) => packed.iter().nth(index),
            Layout::Ranked(ranked) => ranked.at(index),
        }
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Element<'_, Score>)> {
        match &self.0 {
            Layout::Packed(packed, _) => Members::Packed(packed.iter()),
            Layout::Ranked(ranked) => Members::Ranked(ranked.iter()),
        }
    }

    fn update<R>(
        &mut self,
        name: &[u8],
        absent: impl FnOnce() -> Cell<Option<Score>>,
        change: impl FnOnce(&mut Cell<Option<Score>>) -> R,
    ) -> (R, bool) {
        let packed = match &mut self.0 {
            Layout::Packed(packed, _) => packed,
            Layout::Ranked(ranked) => return ranked.update(name, absent, change),
        };
        let found = packed.get(name);
        let mut member =
            found.map_or_else(absent, |found| Cell::written(found.score(), found.stamp()));
        let result = change(&mut member);
        let element = member.element();
        if found == Some(element) {
            return (result, true);
        }
        if found.is_some() {
            packed.remove(name);
        }
        match element.register() {
            Some(score) if element.contributions().is_empty() && packed.takes(name) => {
                packed.insert(name, score, element.stamp());
            }
            _ if element.is_live() => self.unpack().insert(name, member),
            _ => {}
        }
        (result, found.is_some())
    }

    fn update_all(&mut self, mut change: impl FnMut(&[u8], &mut Cell<Option<Score>>)) {
        let names: Vec<Vec<u8>> = match &mut self.0 {
            Layout::Packed(packed, _) => packed.iter().map(|(name, _)| name.to_vec()).collect(),
            Layout::Ranked(ranked) => return ranked.update_all(change),
        };
        for name in names {
            self.update(&name, Cell::default, |member| change(&name, member));
        }
    }
}

/// The members of a sorted set.
#[derive(Clone, Debug)]
enum Members<'a> {
    Packed(packed::Members<'a>),
    Ranked(ranked::Members<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Element<'a, Score>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(members) => members.next(),
            Self::Ranked(members) => members.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Packed(members) => members.size_hint(),
            Self::Ranked(members) => members.size_hint(),
        }
    }
}

impl ExactSizeIterator for Members<'_> {}
