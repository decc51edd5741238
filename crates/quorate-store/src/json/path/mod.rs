//! Paths in documents: JSONPath as RedisJSON reads it, and the legacy paths of its first version.
//!
//! ```text
//! path    := "$" step*  |  legacy: "." or key first, the same as "$." and what stands there
//! step    := "."? "[" select "]" | "." name | ".." ( name | "[" select "]" )
//! name    := key | "*"                     letters, digits and -_:#%^/+~`$
//! select  := "*" | string ("," string)* | index ("," index)* | index? ":" index? (":" step)? | filter
//! filter  := "?" condition, see `filter`
//! ```
//! A step finds what it selects in the order of the document; `..` applies it to a value and to all
//! below, what is above first.

mod filter;
mod parser;

pub(crate) use parser::PathError;

use std::cell::Cell;

use super::{cell::Leaf, document::Node};
use filter::Condition;

/// Values that an evaluation may look at, for each one of the document, and in any case.
const VISITS_PER_VALUE: usize = 16;
const VISITS_MIN: usize = 1 << 20;

/// A path.
#[derive(Debug)]
pub(crate) struct Path {
    steps: Vec<Step>,
    /// Whether a client named it in the old way, and gets single values as replies.
    pub(crate) is_legacy: bool,
    /// As JSONPath.
    pub(crate) text: String,
    /// As it was given.
    pub(crate) given: String,
}

#[derive(Debug)]
struct Step {
    /// Whether it applies to all that is below as well.
    descends: bool,
    select: Select,
}

#[derive(Debug)]
enum Select {
    All,
    Keys(Vec<String>),
    Indices(Vec<i64>),
    Slice { start: Option<i64>, end: Option<i64>, step: usize },
    Filter(Condition),
}

/// An evaluation would look at more values than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path leads to too many values: use fewer of '..' and '*'")]
pub(crate) struct TooMany;

/// Where a value may be put that is not there yet.
pub(crate) enum Last<'p> {
    /// As a member with this key,
    Key(&'p str),
    /// or as an item with this index: it must be there.
    Index,
}

impl Path {
    /// Reads a path in either form.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, PathError> {
        parser::parse(text)
    }

    /// Whether a text is a path in the old way, if it is one.
    pub(crate) fn is_legacy_text(text: &[u8]) -> bool {
        !(text == b"$" || text.starts_with(b"$.") || text.starts_with(b"$["))
    }

    /// Whether it leads to the root.
    pub(crate) fn is_root(&self) -> bool {
        self.steps.is_empty()
    }

    /// The values that it leads to.
    pub(crate) fn find<'d>(&self, root: Node<'d>) -> Result<Vec<Node<'d>>, TooMany> {
        self.find_behind(0, root)
    }

    /// The values that it leads to from the value that its first steps lead to.
    pub(crate) fn find_behind<'d>(
        &self,
        passed: usize,
        start: Node<'d>,
    ) -> Result<Vec<Node<'d>>, TooMany> {
        find(&self.steps[passed..], start, &Visits::of(start))
    }

    /// If each step leads to one value at most: those that all but the last one lead to, from the
    /// value that the first ones lead to, if that is there; and what the last one is.
    pub(crate) fn find_parents_behind<'d>(
        &self,
        passed: usize,
        start: Option<Node<'d>>,
    ) -> Option<Result<(Vec<Node<'d>>, Last<'_>), TooMany>> {
        let (last, before) = self.steps.split_last()?;
        if !self.steps.iter().all(|step| step.lead().is_some()) {
            return None;
        }
        let last = match last.lead()? {
            Lead::Key(key) => Last::Key(key),
            Lead::Index(_) => Last::Index,
        };
        let before = before.get(passed..).unwrap_or_default();
        let parents = start.map_or(Ok(Vec::new()), |start| find(before, start, &Visits::of(start)));
        Some(parents.map(|parents| (parents, last)))
    }

    /// The steps that the path begins with, as far as each leads to one value: nothing that it leads
    /// to lies elsewhere. None where something else is looked at.
    pub(crate) fn leads(&self) -> impl Iterator<Item = Lead<'_>> {
        let steps = if self.looks_at_root() { &[] } else { &self.steps[..] };
        steps.iter().map_while(Step::lead)
    }

    /// Whether its filters look at values from the root on.
    fn looks_at_root(&self) -> bool {
        looks_at_root(&self.steps)
    }
}

fn looks_at_root(steps: &[Step]) -> bool {
    steps.iter().any(|step| match &step.select {
        Select::Filter(condition) => condition.looks_at_root(),
        _ => false,
    })
}

/// A step to one value at most.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lead<'p> {
    Key(&'p str),
    /// Counted from the end where it is negative.
    Index(i64),
}

impl Step {
    fn lead(&self) -> Option<Lead<'_>> {
        match &self.select {
            _ if self.descends => None,
            Select::Keys(keys) => {
                keys.first().filter(|_| keys.len() == 1).map(|key| Lead::Key(key))
            }
            Select::Indices(indices) => {
                indices.first().filter(|_| indices.len() == 1).map(|index| Lead::Index(*index))
            }
            Select::All | Select::Slice { .. } | Select::Filter(_) => None,
        }
    }
}

/// How many more values an evaluation may look at, in its filters as well.
#[derive(Debug)]
struct Visits(Cell<usize>);

impl Visits {
    fn of(root: Node<'_>) -> Self {
        let visits = root.entries().len().saturating_mul(VISITS_PER_VALUE);
        Self(Cell::new(VISITS_MIN.max(visits)))
    }

    /// As many as this are looked at.
    fn count(&self, values: usize) -> Result<(), TooMany> {
        self.0.set(self.0.get().checked_sub(values).ok_or(TooMany)?);
        Ok(())
    }
}

fn find<'d>(steps: &[Step], root: Node<'d>, visits: &Visits) -> Result<Vec<Node<'d>>, TooMany> {
    let mut search = Search { root, visits, found: Vec::new() };
    search.follow(steps, root)?;
    Ok(search.found)
}

/// An evaluation under way.
struct Search<'d, 'v> {
    root: Node<'d>,
    visits: &'v Visits,
    found: Vec<Node<'d>>,
}

impl<'d> Search<'d, '_> {
    fn follow(&mut self, steps: &[Step], node: Node<'d>) -> Result<(), TooMany> {
        self.visits.count(1)?;
        let Some((step, rest)) = steps.split_first() else {
            self.found.push(node);
            return Ok(());
        };
        self.select(&step.select, node, rest)?;
        if step.descends {
            for child in node.children() {
                self.follow(steps, child)?;
            }
        }
        Ok(())
    }

    fn select(&mut self, select: &Select, node: Node<'d>, rest: &[Step]) -> Result<(), TooMany> {
        match select {
            Select::All => {
                node.children().into_iter().try_for_each(|child| self.follow(rest, child))
            }
            Select::Keys(keys) => {
                let members = keys.iter().filter_map(|key| node.member(key));
                members.into_iter().try_for_each(|member| self.follow(rest, member))
            }
            Select::Indices(_) | Select::Slice { .. } if node.leaf() != Leaf::Array => Ok(()),
            Select::Indices(indices) => {
                let items = node.items();
                let at = |index: &i64| items.get(position(*index, items.len())).copied();
                indices.iter().filter_map(at).try_for_each(|item| self.follow(rest, item))
            }
            Select::Slice { start, end, step } => {
                let items = node.items();
                let bound = |index: i64| position(index, items.len()).min(items.len());
                let start = start.map_or(0, bound);
                let end = end.map_or(items.len(), bound);
                let chosen = items.get(start..end).unwrap_or_default().iter().step_by(*step);
                chosen.copied().try_for_each(|item| self.follow(rest, item))
            }
            Select::Filter(condition) => {
                let children = match node.leaf() {
                    Leaf::Object | Leaf::Array => node.children(),
                    _ => vec![node],
                };
                for child in children {
                    self.visits.count(1)?;
                    if condition.holds(self.root, child, self.visits)? {
                        self.follow(rest, child)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The position that an index stands for. A negative one counts from the end, and stops at the
/// front.
fn position(index: i64, length: usize) -> usize {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { length.saturating_sub(distance) } else { distance }
}
