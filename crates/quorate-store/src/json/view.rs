//! What a command looks at of a document: all of it, or, of one with many elements, the value that
//! the first steps of its path lead to and what is below.
//!
//! ```text
//!  $.items[3].tags[*]     the elements of `tags`, and those of the objects on the way to it that
//!     |      |   |        no index is behind: `items[3]` is where the view begins
//!  narrowed      looked at
//! ```

use std::ops::Range;

use super::{
    Json,
    cell::{Held, Leaf},
    document::{Entry, Node},
    name,
    path::{Last, Lead, Path, TooMany},
};
use crate::{
    by_name,
    cell::{Cell, Element},
    json::cell::HeldBytes,
    live::{Large, Live},
};

/// So many elements of an item are passed one by one.
const SMALL_ITEM: usize = 16;

/// The elements of a value that a path leads to or passes.
#[derive(Debug)]
pub(crate) struct View<'d> {
    entries: Vec<Entry<'d>>,
    /// Bytes of the name of the value.
    length: usize,
    /// Steps of the path that lead to it.
    passed: usize,
}

impl<'d> View<'d> {
    /// All of a document.
    pub(crate) fn whole(json: &'d Json) -> Self {
        Self { entries: json.below(&[]), length: 0, passed: 0 }
    }

    /// What a path leads to.
    pub(crate) fn of(json: &'d Json, path: &Path) -> Self {
        json.narrowed(path).unwrap_or_else(|| Self::whole(json))
    }

    /// Where the rest of the path begins.
    fn start(&self) -> Option<Node<'_>> {
        (!self.entries.is_empty()).then(|| Node::at(&self.entries, self.length))
    }

    /// The values that the path of this view leads to; any path, where all is in view.
    pub(crate) fn find(&self, path: &Path) -> Result<Vec<Node<'_>>, TooMany> {
        self.start().map_or(Ok(Vec::new()), |start| path.find_behind(self.passed, start))
    }

    /// If each of its steps leads to one value at most: those that all but the last one lead to, and
    /// what the last one is.
    pub(crate) fn find_parents<'p>(
        &self,
        path: &'p Path,
    ) -> Option<Result<(Vec<Node<'_>>, Last<'p>), TooMany>> {
        path.find_parents_behind(self.passed, self.start())
    }
}

impl Json {
    /// What a path leads to, without the rest of the document: if that is large, and nothing but what
    /// stands on the way decides what shows.
    fn narrowed(&self, path: &Path) -> Option<View<'_>> {
        let Live::Large(large) = self.live() else { return None };
        let (mut entries, mut prefix) = (Vec::new(), Vec::new());
        let (mut length, mut passed) = (0, 0);
        for (at, lead) in path.leads().enumerate() {
            let (name, element) = self.entry(large, &prefix)?;
            match (lead, element.register().map(Held::leaf)?) {
                (Lead::Key(key), Leaf::Object) if !has(large, &prefix, name::ITEM) => {
                    entries.push((name, element));
                    name::push_key(&mut prefix, key);
                    if large.order.beginning_with(&large.records, &prefix).is_empty() {
                        return Some(View { entries, length, passed });
                    }
                }
                (Lead::Index(index), Leaf::Array) if !has(large, &prefix, name::KEY) => {
                    entries.clear();
                    let Some(item) = item(large, &prefix, index) else {
                        return Some(View { entries, length, passed });
                    };
                    (prefix, length, passed) = (item.to_vec(), item.len(), at + 1);
                }
                _ => return None,
            }
        }
        entries.extend(self.below(&prefix));
        Some(View { entries, length, passed })
    }

    fn entry<'d>(&'d self, large: &Large<Cell<HeldBytes>>, name: &[u8]) -> Option<Entry<'d>> {
        let (name, element): (&[u8], Element<'_, Held<'_>>) =
            self.at(large.records.find(name)?)?;
        Some((name, element))
    }

    /// About how many elements a command on a path looks at.
    pub(crate) fn work(&self, path: Option<&Path>) -> usize {
        let Live::Large(large) = self.live() else { return self.len() };
        let mut prefix = Vec::new();
        for lead in path.into_iter().flat_map(Path::leads) {
            match lead {
                Lead::Key(key) => name::push_key(&mut prefix, key),
                // Items are counted, not looked at.
                Lead::Index(_) => {
                    return large.order.beginning_with(&large.records, &prefix).len() / COUNTED;
                }
            }
        }
        large.order.beginning_with(&large.records, &prefix).len()
    }
}

/// So many elements are counted in the time that it takes to look at one.
const COUNTED: usize = 64;

/// Whether members, or items, stand right below a name.
fn has(large: &Large<Cell<HeldBytes>>, name: &[u8], kind: u8) -> bool {
    let below = [name, &[kind]].concat();
    !large.order.beginning_with(&large.records, &below).is_empty()
}

/// The name of the item with an index.
fn item<'d>(large: &'d Large<Cell<HeldBytes>>, array: &[u8], index: i64) -> Option<&'d [u8]> {
    let items = Items::of(large, array);
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { items.nth_back(distance) } else { items.nth(distance) }
}

/// The elements of an array's items, in their order.
struct Items<'d> {
    large: &'d Large<Cell<HeldBytes>>,
    numbers: Vec<u32>,
    /// Bytes of the array's name.
    length: usize,
}

impl<'d> Items<'d> {
    fn of(large: &'d Large<Cell<HeldBytes>>, array: &[u8]) -> Self {
        let below = [array, &[name::ITEM]].concat();
        let positions: Range<usize> = large.order.beginning_with(&large.records, &below);
        Self { large, numbers: large.order.numbers(positions), length: array.len() }
    }

    fn name(&self, at: usize) -> &'d [u8] {
        by_name::name(&self.large.records, self.numbers[at])
    }

    /// The name of the item that an element is of.
    fn item(&self, at: usize) -> Option<&'d [u8]> {
        let name = self.name(at);
        let mut rest = &name[self.length..];
        name::take_step(&mut rest)?;
        Some(&name[..name.len() - rest.len()])
    }

    fn nth(&self, mut index: usize) -> Option<&'d [u8]> {
        let mut at = 0;
        while at < self.numbers.len() {
            let item = self.item(at)?;
            if index == 0 {
                return Some(item);
            }
            index -= 1;
            let near = self.numbers.len().min(at + SMALL_ITEM);
            let is_of_it = |at: &usize| self.name(*at).starts_with(item);
            at = (at + 1..near).find(|at| !is_of_it(at)).unwrap_or_else(|| {
                let rest = &self.numbers[near..];
                let name = |number: &u32| by_name::name(&self.large.records, *number);
                near + rest.partition_point(|number| name(number).starts_with(item))
            });
        }
        None
    }

    /// The first one where there are fewer.
    fn nth_back(&self, index: usize) -> Option<&'d [u8]> {
        let (mut end, mut found) = (self.numbers.len(), None);
        for _ in 0..index {
            let Some(last) = end.checked_sub(1) else { break };
            let item = self.item(last)?;
            let name = |number: &u32| by_name::name(&self.large.records, *number);
            end = self.numbers[..end].partition_point(|number| name(number) < item);
            found = Some(item);
        }
        found
    }
}
