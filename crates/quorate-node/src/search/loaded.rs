//! What a long query has to know of documents that its index does not keep.
//!
//! Whoever answers it is not the shard, which alone can read documents. So it notes what it lacks,
//! the shard loads that turn by turn, and it answers anew. A row that lacks something is left out until
//! then, so it is done after as many rounds as there are stages that load, and one more.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use quorate_search::{aggregate::Documents, expression::Value};
use quorate_store::Store;

use super::stored::{Shape, Stored};

type Key = Box<[u8]>;

/// What of a document: a field or path, or all of it.
type Part = Option<Box<[u8]>>;

/// What documents hold, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    values: BTreeMap<Box<[u8]>, BTreeMap<Key, Option<Value>>>,
    whole: BTreeMap<Key, Vec<(String, Value)>>,
    bytes: usize,
    shape: Shape,
}

/// What has still to be loaded.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    parts: BTreeMap<Part, BTreeSet<Key>>,
    bytes: usize,
}

/// Bytes of an entry besides what it holds, about.
const ENTRY_BYTES: usize = 64;

impl Loaded {
    /// Nothing, of a query that sees JSON documents in this way.
    pub(super) fn new(shape: Shape) -> Loaded {
        Loaded { shape, ..Loaded::default() }
    }

    /// Bytes that are held, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Loads some of what is wanted, until `is_enough` work is done. Returns how much was.
    pub(super) fn load(
        &mut self,
        wanted: &mut Wanted,
        (store, wall_ms): (&Store, u64),
        is_enough: impl Fn(usize) -> bool,
    ) -> usize {
        let documents = Stored { store, wall_ms, shape: self.shape };
        let mut work = 0;
        while !is_enough(work) {
            let Some(mut entry) = wanted.parts.first_entry() else { break };
            let part = entry.key().clone();
            let Some(key) = entry.get_mut().pop_first() else {
                entry.remove();
                continue;
            };
            let bytes = match part {
                Some(path) => {
                    let value = documents.value(&key, &path);
                    let bytes = value.as_ref().map_or(0, size);
                    self.values.entry(path).or_default().insert(key.clone(), value);
                    bytes
                }
                None => {
                    let all = documents.all(&key);
                    let bytes = all.iter().map(|(name, value)| name.len() + size(value)).sum();
                    self.whole.insert(key.clone(), all);
                    bytes
                }
            };
            work += 1 + bytes / UNIT_BYTES;
            self.bytes += bytes + key.len() + ENTRY_BYTES;
        }
        work
    }
}

/// Bytes that are loaded in the time in which a document is found.
const UNIT_BYTES: usize = 256;

impl Wanted {
    /// Whether all is loaded.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.values().all(BTreeSet::is_empty)
    }

    /// Bytes that the list itself takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Number(_) => 0,
            Value::Text(text) => text.len(),
            Value::List(values) => values.iter().map(size).sum(),
        }
}

/// Documents of which only some is known.
pub(super) struct Known<'a> {
    loaded: &'a Loaded,
    wanted: RefCell<Wanted>,
    /// Whether something was lacking since this was asked last.
    lacks: Cell<bool>,
    /// Bytes that the list of what is wanted may take.
    most: usize,
}

impl Known<'_> {
    pub(super) fn new(loaded: &Loaded, most: usize) -> Known<'_> {
        Known { loaded, wanted: RefCell::default(), lacks: Cell::new(false), most }
    }

    /// What was asked for and is not known.
    pub(super) fn into_wanted(self) -> Wanted {
        self.wanted.into_inner()
    }

    fn want(&self, key: &[u8], part: Option<&[u8]>) {
        self.lacks.set(true);
        let mut wanted = self.wanted.borrow_mut();
        if wanted.bytes <= self.most {
            wanted.bytes += key.len() + ENTRY_BYTES;
            wanted.parts.entry(part.map(Into::into)).or_default().insert(key.into());
        }
    }
}

impl Documents for Known<'_> {
    fn value(&self, key: &[u8], path: &[u8]) -> Option<Value> {
        match self.loaded.values.get(path).and_then(|values| values.get(key)) {
            Some(value) => value.clone(),
            None => {
                self.want(key, Some(path));
                None
            }
        }
    }

    fn all(&self, key: &[u8]) -> Vec<(String, Value)> {
        match self.loaded.whole.get(key) {
            Some(all) => all.clone(),
            None => {
                self.want(key, None);
                Vec::new()
            }
        }
    }

    fn is_whole(&self, _key: &[u8]) -> bool {
        !self.lacks.replace(false)
    }
}
