//! The tree that readers see of the elements of a document.
//!
//! A value stands where its element lives, and a container also where something below it does. Where
//! that gives several kinds of value for one place, which only happens after writes that did not see
//! each other, the newest of the scalar, of the marks of containers and of what is below decides, and
//! nothing shows of the others.

use quorate_proto::Stamp;

use super::{
    cell::{Held, Leaf},
    name::{self, Step},
};
use crate::cell::Element;

/// A name and its element.
pub(crate) type Entry<'d> = (&'d [u8], Element<'d, Held<'d>>);

/// A value in a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'d> {
    /// Its element, if that lives, and all below, in the order of names; at least one.
    entries: &'d [Entry<'d>],
    /// Bytes of its name.
    length: usize,
}

impl<'d> Node<'d> {
    /// The root of a document that has elements.
    pub(crate) fn root(entries: &'d [Entry<'d>]) -> Self {
        Self::at(entries, 0)
    }

    /// The value whose name has so many bytes, of which these are the elements.
    pub(crate) fn at(entries: &'d [Entry<'d>], length: usize) -> Self {
        Self { entries, length }
    }

    /// The name of its element.
    pub(crate) fn name(self) -> &'d [u8] {
        &self.entries[0].0[..self.length]
    }

    /// Its element and all below.
    pub(crate) fn entries(self) -> &'d [Entry<'d>] {
        self.entries
    }

    /// Its element, if that lives.
    pub(crate) fn element(self) -> Option<Element<'d, Held<'d>>> {
        let (name, element) = self.entries[0];
        (name.len() == self.length).then_some(element)
    }

    /// What is below: members, and items.
    fn below(self) -> (&'d [Entry<'d>], &'d [Entry<'d>]) {
        let own = usize::from(self.element().is_some());
        let below = &self.entries[own..];
        let members = below.partition_point(|(name, _)| !name::is_item(&name[self.length..]));
        below.split_at(members)
    }

    /// The scalar that shows, or the kind of container.
    pub(crate) fn leaf(self) -> Leaf<'d> {
        let own = self.element().map(|element| {
            (
                element,
                element.json_number().map_or_else(
                    || element.register().map_or(Leaf::Null, Held::leaf),
                    Leaf::Number,
                ),
            )
        });
        let (members, items) = self.below();
        match own {
            Some((_, leaf)) if members.is_empty() && items.is_empty() => return leaf,
            Some((_, Leaf::Object)) if items.is_empty() => return Leaf::Object,
            Some((_, Leaf::Array)) if members.is_empty() => return Leaf::Array,
            None if items.is_empty() => return Leaf::Object,
            None if members.is_empty() => return Leaf::Array,
            _ => {}
        }
        let own = own.map(|(element, leaf)| (element.newest(), leaf));
        let below = [(newest(members), Leaf::Object), (newest(items), Leaf::Array)];
        let candidates = own.into_iter().chain(below);
        let last = candidates.max_by_key(|(newest, _)| *newest);
        last.map_or(Leaf::Null, |(_, leaf)| leaf)
    }

    /// The clock of when the member came into its object, which decides where it stands there.
    pub(crate) fn born(self) -> u64 {
        let element = self.element();
        let register = element.and_then(|element| Some((element.stamp(), element.register()?)));
        match register {
            Some((stamp, held)) => stamp.clock().saturating_sub(held.age()),
            None => {
                let clocks = self.entries.iter().map(|(_, element)| {
                    let first = element.contributions().iter().map(|part| part.since).min();
                    first.unwrap_or_else(|| element.stamp()).clock()
                });
                clocks.min().unwrap_or_default()
            }
        }
    }

    /// The members of an object, in the order in which they came.
    pub(crate) fn members(self) -> Vec<(&'d str, Self)> {
        let children = children(self.below().0, self.length);
        let mut members: Vec<(u64, &str, Self)> = children
            .filter_map(|(step, node)| match step {
                Step::Key(key) => Some((node.born(), key, node)),
                Step::Item(_) => None,
            })
            .collect();
        members.sort_unstable_by_key(|(born, key, _)| (*born, *key));
        members.into_iter().map(|(_, key, node)| (key, node)).collect()
    }

    /// The member of an object with a key.
    pub(crate) fn member(self, key: &str) -> Option<Self> {
        if self.leaf() != Leaf::Object {
            return None;
        }
        let mut name = self.name().to_vec();
        name::push_key(&mut name, key);
        let members = self.below().0;
        let start = members.partition_point(|(other, _)| *other < name.as_slice());
        let end = start + members[start..].partition_point(|(other, _)| other.starts_with(&name));
        (start < end).then(|| Self { entries: &members[start..end], length: name.len() })
    }

    /// The items of an array, in their order.
    pub(crate) fn items(self) -> Vec<Self> {
        children(self.below().1, self.length).map(|(_, node)| node).collect()
    }

    /// All that stands right below, whether it shows or not.
    pub(crate) fn kept_below(self) -> impl Iterator<Item = Self> {
        let (members, items) = self.below();
        let both = [members, items].into_iter();
        both.flat_map(move |entries| children(entries, self.length).map(|(_, node)| node))
    }

    /// The place of an item in its array.
    pub(crate) fn place(self, array: Self) -> &'d [u8] {
        let mut step = &self.name()[array.length..];
        match name::take_step(&mut step) {
            Some(Step::Item(place)) => place,
            _ => &[],
        }
    }

    /// The members or items that show below.
    pub(crate) fn children(self) -> Vec<Self> {
        match self.leaf() {
            Leaf::Object => self.members().into_iter().map(|(_, node)| node).collect(),
            Leaf::Array => self.items(),
            _ => Vec::new(),
        }
    }

    /// Hands the value and all that shows below to `visit`, what is above first.
    pub(crate) fn walk(self, visit: &mut impl FnMut(Self)) {
        visit(self);
        self.children().into_iter().for_each(|child| child.walk(visit));
    }
}

fn newest(entries: &[Entry<'_>]) -> Stamp {
    entries.iter().map(|(_, element)| element.newest()).max().unwrap_or_default()
}

/// What stands right below a name of so many bytes, of which these are entries.
fn children<'d>(
    mut entries: &'d [Entry<'d>],
    length: usize,
) -> impl Iterator<Item = (Step<'d>, Node<'d>)> {
    std::iter::from_fn(move || {
        let (name, _) = entries.first()?;
        let mut rest = &name[length..];
        let step = name::take_step(&mut rest)?;
        let own = &name[..name.len() - rest.len()];
        // Most are scalars.
        let is_alone = entries.get(1).is_none_or(|(next, _)| !next.starts_with(own));
        let count = if is_alone { 1 } else { run(entries, own) };
        let (child, others) = entries.split_at(count);
        entries = others;
        Some((step, Node { entries: child, length: own.len() }))
    })
}

/// How many entries at the front have names that begin with a prefix: found in steps that grow, as
/// most values are small.
fn run(entries: &[Entry<'_>], prefix: &[u8]) -> usize {
    let mut end = 1;
    while entries.get(end).is_some_and(|(name, _)| name.starts_with(prefix)) {
        end *= 2;
    }
    let (start, end) = (end / 2, end.min(entries.len()));
    start + entries[start..end].partition_point(|(name, _)| name.starts_with(prefix))
}
