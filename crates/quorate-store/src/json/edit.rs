//! Changes of documents: what a command does to the elements.
//!
//! They are put together of what the document shows, and carried out afterwards. What is assigned
//! takes the names that are there, so that an object merges by its keys and an array item by item, and
//! only what is left over is removed.

use quorate_proto::{Stamp, mutant::Mutant};

use super::{
    cell::{Leaf, WithoutAge},
    document::Node,
    name::{self, DEPTH_MAX, LENGTH_MAX},
    number::Number,
    place::{self, Level},
    value::Value,
};
use crate::{
    cell::Contribution,
    execution::Change,
    object::Kind,
    part::{Body, Part},
};

/// Bytes of names and values that one command may write.
const BYTES_MAX: usize = 1 << 30;

/// Why a document cannot hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooLarge {
    #[error("a value would lie deeper than {DEPTH_MAX} levels")]
    Depth,
    #[error("the path of a value would be longer than {LENGTH_MAX} bytes")]
    Path,
    #[error("paths and values would take more than {BYTES_MAX} bytes")]
    Bytes,
}

/// One element that is changed.
#[derive(Debug)]
enum Edit {
    /// It gets a cell, whose age is that of a member that came at a clock, or new.
    Put {
        name: Vec<u8>,
        born: Option<u64>,
        cell: WithoutAge,
    },
    Remove {
        name: Vec<u8>,
    },
    Add {
        name: Vec<u8>,
        contribution: Contribution,
    },
}

/// What a command does to a document.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    edits: Vec<Edit>,
    bytes: usize,
}

impl Edits {
    /// Whether nothing is changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Writes them into a change of the key.
    pub(crate) fn write(self, change: &mut Change<'_>) {
        for edit in self.edits {
            match edit {
                Edit::Put { name, born, cell } => {
                    let stamp = change.stamp();
                    let age = born.map_or(0, |born| stamp.clock().saturating_sub(born));
                    let cell = cell.encode(age);
                    change.put_part(Part::element(Kind::Json, &name, Body::Bytes(stamp, &cell)));
                }
                Edit::Remove { name } => change.remove(Kind::Json, &name),
                Edit::Add { name, contribution } => change.add(Kind::Json, &name, contribution),
            }
        }
    }

    fn put(&mut self, name: &[u8], born: Option<u64>, leaf: Leaf<'_>) -> Result<(), TooLarge> {
        if name.len() > LENGTH_MAX {
            return Err(TooLarge::Path);
        }
        let cell = leaf.without_age();
        self.bytes += name.len() + cell.len();
        if self.bytes > BYTES_MAX {
            return Err(TooLarge::Bytes);
        }
        self.edits.push(Edit::Put { name: name.to_vec(), born, cell });
        Ok(())
    }

    /// Removes a value and all that is below it.
    pub(crate) fn remove(&mut self, node: Node<'_>) {
        self.remove_beside(node, |_| false);
    }

    fn remove_beside(&mut self, node: Node<'_>, keeps: impl Fn(&[u8]) -> bool) {
        let gone = node.entries().iter().map(|(name, _)| *name).filter(|name| !keeps(name));
        self.edits.extend(gone.map(|name| Edit::Remove { name: name.to_vec() }));
    }

    /// Makes a scalar of a scalar, in its place.
    pub(crate) fn replace(&mut self, node: Node<'_>, leaf: Leaf<'_>) -> Result<(), TooLarge> {
        self.put(node.name(), Some(node.born()), leaf)?;
        self.remove_beside(node, |name| name == node.name());
        Ok(())
    }

    /// Makes a number of a number by adding to it.
    pub(crate) fn add(
        &mut self,
        node: Node<'_>,
        sum: Number,
        stamp: Stamp,
    ) -> Result<(), TooLarge> {
        let element = node.element().filter(|_| !Mutant::SumsWritten.is_planted());
        match element.and_then(|element| element.json_contribution(sum, stamp)) {
            Some(contribution) => {
                self.edits.push(Edit::Add { name: node.name().to_vec(), contribution });
                Ok(())
            }
            None => self.replace(node, Leaf::Number(sum)),
        }
    }

    /// Makes a value of what stands at `name`, if anything does. As a member it stays where it stands,
    /// and members of its own stand as in the value.
    pub(crate) fn assign(
        &mut self,
        name: &[u8],
        old: Option<Node<'_>>,
        value: &Value,
    ) -> Result<(), TooLarge> {
        let depth = name::depth(name).unwrap_or_default();
        let mut name = name.to_vec();
        self.assign_below(&mut name, depth, old, old.map(Node::born), value)
    }

    fn assign_below(
        &mut self,
        name: &mut Vec<u8>,
        depth: usize,
        old: Option<Node<'_>>,
        born: Option<u64>,
        value: &Value,
    ) -> Result<(), TooLarge> {
        // A container takes the room of what may be put into it.
        let is_container = matches!(value, Value::Object(_) | Value::Array(_));
        if depth + usize::from(is_container) > DEPTH_MAX {
            return Err(TooLarge::Depth);
        }
        self.put(name, born, value.leaf())?;
        let length = name.len();
        let mut kept: Vec<&[u8]> = Vec::new();
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    name::push_key(name, key);
                    let old = old.and_then(|old| old.member(key));
                    kept.extend(old.map(Node::name));
                    self.assign_below(name, depth + 1, old, None, value)?;
                    name.truncate(length);
                }
            }
            Value::Array(values) => {
                let old = old.filter(|old| old.leaf() == Leaf::Array);
                let items = old.map(Node::items).unwrap_or_default();
                for (place, at) in assigned(old, &items, values.len()).zip(0..) {
                    name::push_item(name, &place);
                    let item = items.get(at).copied();
                    kept.extend(item.map(Node::name));
                    self.assign_below(name, depth + 1, item, None, &values[at])?;
                    name.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
        if let Some(old) = old {
            self.remove_but(old, kept);
        }
        Ok(())
    }

    /// Removes all below a value but what is at some names and below those.
    fn remove_but(&mut self, node: Node<'_>, mut kept: Vec<&[u8]>) {
        kept.sort_unstable();
        let gone = node.kept_below().filter(|child| kept.binary_search(&child.name()).is_err());
        gone.for_each(|child| self.remove(child));
    }

    /// Inserts values into an array, before the item at an index.
    pub(crate) fn insert(
        &mut self,
        array: Node<'_>,
        items: &[Node<'_>],
        index: usize,
        values: &[Value],
        stamp: Stamp,
    ) -> Result<(), TooLarge> {
        let levels = |item: &Node<'_>| place::decode(item.place(array));
        let left = index.checked_sub(1).and_then(|at| items.get(at)).map(levels);
        let right = items.get(index).map(levels);
        let places = place::inserted(left.as_deref(), right.as_deref(), stamp, values.len());
        let mut name = array.name().to_vec();
        for (place, value) in places.zip(values) {
            name::push_item(&mut name, &place::encode(&place));
            self.assign(&name, None, value)?;
            name.truncate(array.name().len());
        }
        Ok(())
    }

    /// Leaves an object or an array empty.
    pub(crate) fn clear(&mut self, node: Node<'_>) -> Result<(), TooLarge> {
        self.replace(node, node.leaf())
    }

    /// Merges a value into what stands at `name` (RFC 7396): members that are null are removed.
    pub(crate) fn merge(
        &mut self,
        name: &[u8],
        old: Option<Node<'_>>,
        value: &Value,
    ) -> Result<(), TooLarge> {
        let (Value::Object(members), Some(old)) = (value, old) else {
            return self.assign(name, old, value);
        };
        if old.leaf() != Leaf::Object {
            return self.assign(name, Some(old), &without_nulls(value));
        }
        for (key, value) in members {
            let member = old.member(key);
            match (value, member) {
                (Value::Null, Some(member)) => self.remove(member),
                (Value::Null, None) => {}
                (value, member) => {
                    let mut name = name.to_vec();
                    name::push_key(&mut name, key);
                    match member {
                        Some(member) => self.merge(&name, Some(member), value)?,
                        None => self.assign(&name, None, &without_nulls(value))?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// The places of the items of an array that is assigned: those that are there, and then others.
fn assigned(
    array: Option<Node<'_>>,
    items: &[Node<'_>],
    count: usize,
) -> Box<dyn Iterator<Item = Vec<u8>>> {
    let (Some(array), Some(last)) = (array, items.last()) else {
        return Box::new(place::fresh(count).map(|place| place::encode(&place)));
    };
    let there: Vec<Vec<u8>> =
        items.iter().take(count).map(|item| item.place(array).to_vec()).collect();
    let missing = count.saturating_sub(there.len());
    let next = |place: &Vec<Level>| Some(place::behind(place));
    let more = std::iter::successors(Some(place::behind(&place::decode(last.place(array)))), next);
    Box::new(there.into_iter().chain(more.take(missing).map(|place| place::encode(&place))))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(_, value)| !matches!(value, Value::Null))
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}
