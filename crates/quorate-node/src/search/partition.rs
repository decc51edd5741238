//! The indexes over what one shard holds: all of it, whoever the other replicas are.
//!
//! Documents are known by the groups of their slots, so that whoever coordinates a query may ask
//! for those of some groups only: as if no others were there, frequencies included.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use quorate_cluster::coordinator::Ticket;
use quorate_proto::{Slot, mutant::Mutant};
use quorate_search::{
    Index, Language, Schema,
    analysis::Synonyms,
    expression::{self, Expression, Row},
    index::{self, Unindexed},
    schema::Source,
};
use quorate_store::{Document, JsonPath, Store};

use super::{
    catalog::{Catalog, Definition, Stamp},
    inquiry::{Lent, Waiting},
    plans::Target,
    settings,
    values::{Owned, owned},
};
use crate::{limits, storage::Storage};

/// All indexes of a shard.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) catalog: Arc<Catalog>,
    pub(super) partitions: BTreeMap<Vec<u8>, Partition>,
    /// Questions about indexes that are gone.
    pub(super) orphans: Vec<Ticket>,
    /// Of the node.
    shards: u16,
    /// Questions that were ended before they were answered.
    pub(crate) stopped: u64,
}

/// One index.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) stamp: Stamp,
    pub(super) schema: Schema,
    synonyms: Synonyms,
    filter: Option<Expression>,
    /// Of the fields of the schema, if documents are JSON.
    paths: Vec<Option<JsonPath>>,
    language_path: Option<JsonPath>,
    score_path: Option<JsonPath>,
    payload_path: Option<JsonPath>,
    pub(super) index: Index,
    /// Whether vectors may wait to get into their graphs, or out of them.
    unsettled: bool,
    /// The question that the index is lent to; an empty one stands in its place.
    pub(super) lent: Option<Lent>,
    /// Keys that have changed since, or belong to a slot whose documents were there before.
    behind: VecDeque<(Slot, Box<[u8]>)>,
    /// How many of these have changed: until they are indexed, nobody is answered.
    changed: usize,
    /// Questions that wait for the index.
    pub(super) waiting: VecDeque<Waiting>,
    /// Where the documents that were there before are to be indexed next.
    pub(super) next: Option<Slot>,
    /// Documents that could not be indexed, by their keys, as far as they are remembered.
    pub(super) failures: BTreeMap<Box<[u8]>, Failure>,
    /// Documents that found no room.
    pub(super) refused: Refused,
    /// Bytes that the index may take.
    room: usize,
}

/// Why a document could not be indexed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) group: u8,
    pub(super) unindexed: Unindexed,
}

/// Documents that were not indexed because the index had become too large.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) count: u64,
    /// The last of them.
    pub(super) key: Box<[u8]>,
}

impl Partition {
    /// None for a definition that this release cannot read.
    pub(super) fn new(catalog: &Catalog, definition: Definition<'_>) -> Option<Partition> {
        let words: Vec<&[u8]> = definition.arguments.iter().map(Vec::as_slice).collect();
        let schema = Schema::create(&words).ok()?;
        let is_json = schema.source == Source::Json;
        let path = |path: &Vec<u8>| JsonPath::parse(path).ok().filter(|_| is_json);
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let filter =
            schema.filter.as_ref().and_then(|filter| Expression::parse(&text(filter)).ok());
        let synonyms = catalog.synonyms(definition.name);
        Some(Partition {
            stamp: definition.stamp,
            index: Index::new(schema.clone(), synonyms.clone()),
            unsettled: false,
            lent: None,
            behind: VecDeque::new(),
            changed: 0,
            waiting: VecDeque::new(),
            synonyms,
            filter,
            paths: schema.fields.iter().map(|field| path(&field.path)).collect(),
            language_path: schema.language_field.as_ref().and_then(path),
            score_path: schema.score_field.as_ref().and_then(path),
            payload_path: schema.payload_field.as_ref().and_then(path),
            next: (!schema.options.skip_initial_scan).then(Slot::default),
            failures: BTreeMap::new(),
            refused: Refused::default(),
            room: usize::MAX,
            schema,
        })
    }

    /// The definition has another form by now. If it only has more fields or other synonyms, what was
    /// indexed is found meanwhile, as in RediSearch, and all is indexed again. Returns whether it is
    /// so; else it has to be made anew.
    fn adapt(&mut self, anew: Partition) -> bool {
        let synonyms = anew.synonyms.clone();
        if self.lent.is_some() || !self.index.extend(anew.schema.clone(), synonyms) {
            return false;
        }
        (self.stamp, self.schema, self.synonyms) = (anew.stamp, anew.schema, anew.synonyms);
        (self.paths, self.next) = (anew.paths, anew.next);
        true
    }

    /// How large the index may become. If that is more than before, what found no room is indexed.
    fn set_room(&mut self, room: usize) {
        let grows = room > self.room;
        self.room = room;
        if grows && self.refused.count > 0 {
            self.refused = Refused::default();
            self.next = Some(Slot::default());
        }
    }

    /// A document finds no room.
    fn refuse(&mut self, key: &[u8]) {
        if self.refused.count == 0 {
            let index = self.stamp.text();
            tracing::warn!(
                index,
                bytes = self.room,
                "an index has as many bytes as MAXINDEXMEMORY allows; what comes is not indexed",
            );
        }
        self.refused.count += 1;
        self.refused.key = key.into();
    }

    /// Lends the index to a question.
    pub(super) fn lend(&mut self, lent: Lent) -> Box<Index> {
        self.lent = Some(lent);
        let empty = Index::new(self.schema.clone(), self.synonyms.clone());
        Box::new(std::mem::replace(&mut self.index, empty))
    }

    /// The index is back, unless another one has taken its place meanwhile.
    pub(super) fn take_back(&mut self, ticket: Ticket, index: Index) {
        if self.is_lent_to(ticket) {
            (self.lent, self.index) = (None, index);
        }
    }

    /// Whether the index is lent to this question.
    pub(super) fn is_lent_to(&self, ticket: Ticket) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.ticket == ticket)
    }

    /// Whether the index is lent, or lacks what has changed meanwhile.
    pub(super) fn is_behind(&self) -> bool {
        self.lent.is_some() || self.changed > 0
    }

    /// Whether the index lacks documents that were there before it.
    pub(super) fn is_filling(&self) -> bool {
        self.next.is_some() || !self.behind.is_empty()
    }

    /// Whether there is something to do that need not wait.
    fn has_work(&self) -> bool {
        let waits = !self.is_behind() && !self.waiting.is_empty();
        match &self.lent {
            Some(lent) => lent.is_loading(),
            None => self.is_filling() || self.unsettled || waits,
        }
    }

    /// Notes a key that changes while the index is lent. Returns whether it is.
    fn note(&mut self, slot: Slot, key: &[u8]) -> bool {
        let is_noted = self.lent.is_some() && self.schema.covers(key);
        if is_noted {
            // In front of what was there before.
            self.behind.push_front((slot, key.into()));
            self.changed += 1;
        }
        self.lent.is_some()
    }

    /// Indexes what it lacks, until `is_enough` work is done. Returns how much was.
    fn catch_up(
        &mut self,
        store: &Store,
        wall_ms: u64,
        is_enough: impl Fn(usize) -> bool,
    ) -> usize {
        let mut work = 0;
        while self.lent.is_none() && !is_enough(work) {
            if let Some((slot, key)) = self.behind.pop_front() {
                self.changed = self.changed.saturating_sub(1);
                let document = store.document(slot, &key, wall_ms);
                work += 1 + store.document_size(slot, &key) / UNIT_BYTES;
                self.update(slot, &key, document.as_ref());
            } else if let Some(slot) = self.next {
                let keys = store.document_keys(slot, wall_ms);
                work += keys.len() / KEYS_A_UNIT;
                self.behind = keys.into_iter().map(|key| (slot, key)).collect();
                let last = Slot::all().next_back().unwrap_or_default();
                self.next = store.occupied((slot, last)).find(|next| *next > slot);
            } else {
                break;
            }
        }
        work
    }

    /// Brings the document of a key up to date; there is none any more if nothing is given.
    pub(super) fn update(&mut self, slot: Slot, key: &[u8], document: Option<&Document<'_>>) {
        if !self.schema.covers(key) {
            return;
        }
        self.unsettled = true;
        if !self.failures.is_empty() {
            self.failures.remove(key);
        }
        let wanted = document.filter(|document| self.wants(key, document));
        let result = match wanted {
            None => {
                self.index.remove(key);
                return;
            }
            Some(_) if self.index.memory().total() >= self.room => {
                self.index.remove(key);
                return self.refuse(key);
            }
            Some(document) => self.put(slot, key, document),
        };
        if let Err(unindexed) = result
            && self.failures.len() < limits::FAILURES_REMEMBERED_MAX
        {
            self.failures.insert(key.into(), Failure { group: group_of(slot), unindexed });
        }
    }

    fn wants(&self, key: &[u8], document: &Document<'_>) -> bool {
        let is_json = matches!(document, Document::Json(_));
        if is_json != (self.schema.source == Source::Json) {
            return false;
        }
        let Some(filter) = &self.filter else { return true };
        let row = Filtered { partition: self, key, document };
        filter.evaluate(&row).is_ok_and(|value| value.is_true())
    }

    fn put(&mut self, slot: Slot, key: &[u8], document: &Document<'_>) -> Result<(), Unindexed> {
        let read = |path: &Option<JsonPath>, name: &[u8]| match document {
            Document::Hash(_) => document.field(name).map(|value| Owned::Bytes(value.into_owned())),
            Document::Json(_) => path.as_ref().and_then(|path| owned(document.values(path))),
        };
        let text = |path: &Option<JsonPath>, name: &Option<Vec<u8>>| {
            let found = name.as_ref().and_then(|name| read(path, name));
            found.and_then(Owned::into_bytes)
        };
        let mut fields = Vec::new();
        for (id, field) in self.schema.fields_with_ids() {
            let Some(value) = read(&self.paths[usize::from(id.0)], &field.path) else { continue };
            let is_json = self.schema.source == Source::Json;
            if let Some(text) = value.refusal(&field.kind).filter(|_| is_json) {
                // Nothing of what the key was before stays.
                self.index.remove(key);
                return Err(Unindexed { field: id, text });
            }
            fields.push((id, value));
        }
        let language = text(&self.language_path, &self.schema.language_field);
        let score = text(&self.score_path, &self.schema.score_field);
        let payload = text(&self.payload_path, &self.schema.payload_field);
        let number = |text: Vec<u8>| std::str::from_utf8(&text).ok()?.parse::<f64>().ok();
        let document = index::Document {
            key,
            language: language.and_then(|name| Language::named(&name)),
            score: score.and_then(number).filter(|score| score.is_finite()),
            payload: payload.as_deref(),
            fields: fields.iter().map(|(id, value)| (*id, value.borrowed())).collect(),
        };
        self.index.put_in(group_of(slot), &document)
    }
}

/// The group of a slot, as indexes know it.
fn group_of(slot: Slot) -> u8 {
    const _: () = assert!(quorate_proto::slot::GROUPS <= 64);
    slot.group() as u8
}

/// A document as the `FILTER` of an index sees it.
struct Filtered<'a> {
    partition: &'a Partition,
    key: &'a [u8],
    document: &'a Document<'a>,
}

impl Row for Filtered<'_> {
    fn property(&self, name: &str) -> expression::Value {
        if name == "__key" {
            return expression::Value::Text(String::from_utf8_lossy(self.key).into_owned());
        }
        let field = self.partition.schema.position(name.as_bytes());
        let found = match (self.document, field) {
            (Document::Hash(_), field) => {
                let path = field.map_or(name.as_bytes(), |(_, field)| &field.path);
                self.document.field(path).map(|value| Owned::Bytes(value.into_owned()))
            }
            (Document::Json(_), Some((id, _))) => {
                let path = self.partition.paths[usize::from(id.0)].as_ref();
                path.and_then(|path| owned(self.document.values(path)))
            }
            (Document::Json(_), None) => None,
        };
        match found {
            Some(Owned::Number(number)) => expression::Value::Number(number),
            Some(value) => value.into_bytes().map_or(expression::Value::Null, |bytes| {
                expression::Value::Text(String::from_utf8_lossy(&bytes).into_owned())
            }),
            None => expression::Value::Null,
        }
    }
}

impl Search {
    /// The indexes of a catalog, empty.
    pub(crate) fn new(catalog: Arc<Catalog>) -> Search {
        let mut search = Search::default();
        search.adopt(catalog);
        search
    }

    /// The index that a name or an alias stands for.
    pub(crate) fn target(&self, name: &[u8]) -> Option<Target> {
        let definition = self.catalog.resolve(name)?;
        let partition = self.partitions.get(definition.name)?;
        Some(Target {
            name: definition.name.to_vec(),
            stamp: partition.stamp.text(),
            schema: partition.schema.clone(),
            synonyms: partition.synonyms.clone(),
        })
    }

    /// Another catalog: indexes come, go, and are made anew. Whoever calls it wants changes of the
    /// store from then on if there are any.
    fn adopt(&mut self, catalog: Arc<Catalog>) {
        for definition in catalog.indexes() {
            let Some(partition) = self.partitions.get_mut(definition.name) else { continue };
            let is_same = partition.stamp == definition.stamp
                && partition.synonyms == catalog.synonyms(definition.name);
            if !is_same && let Some(anew) = Partition::new(&catalog, definition) {
                partition.adapt(anew);
            }
        }
        let orphans = &mut self.orphans;
        self.partitions.retain(|name, partition| {
            let stays = catalog.index(name).is_some_and(|found| found.stamp == partition.stamp)
                && partition.synonyms == catalog.synonyms(name);
            if !stays {
                orphans.extend(partition.waiting.drain(..).map(|waiting| waiting.ticket));
                // One that is answered at this moment will be told what it has found.
                let loading = partition.lent.as_ref().filter(|lent| lent.is_loading());
                orphans.extend(loading.map(|lent| lent.ticket));
            }
            stays
        });
        for definition in catalog.indexes() {
            if !self.partitions.contains_key(definition.name)
                && let Some(partition) = Partition::new(&catalog, definition)
            {
                self.partitions.insert(definition.name.to_vec(), partition);
            }
        }
        let room = settings::index_memory(&catalog) / usize::from(self.shards.max(1));
        self.partitions.values_mut().for_each(|partition| partition.set_room(room));
        self.catalog = catalog;
    }

    /// Bytes that the indexes take, and how many documents found no room.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let each = self.partitions.values();
        let each = each.map(|own| (own.index.memory().total() as u64, own.refused.count));
        each.fold((0, 0), |(bytes, refused), own| (bytes + own.0, refused + own.1))
    }

    /// How many long questions are answered at this moment.
    pub(crate) fn asked(&self) -> u64 {
        self.partitions.values().filter(|partition| partition.lent.is_some()).count() as u64
    }

    /// Brings a key that has changed up to date in every index.
    fn update(&mut self, slot: Slot, key: &[u8], store: &Store, wall_ms: u64) {
        let document = store.document(slot, key, wall_ms);
        for partition in self.partitions.values_mut() {
            if !partition.note(slot, key) {
                partition.update(slot, key, document.as_ref());
            }
        }
    }

    /// Indexes what indexes lack, and works on graphs of vectors, for about as much work as a turn
    /// may take.
    fn advance(&mut self, store: &Store, wall_ms: u64) {
        let mut work = 0;
        for partition in self.partitions.values_mut() {
            let left = limits::INDEXED_PER_TURN_MAX.saturating_sub(work);
            if let Some(lent) = &mut partition.lent {
                work += lent.load((store, wall_ms), |done| done >= left);
            }
            let left = limits::INDEXED_PER_TURN_MAX.saturating_sub(work);
            work += partition.catch_up(store, wall_ms, |done| done >= left);
            if partition.unsettled && partition.lent.is_none() {
                partition.unsettled = partition.index.advance(limits::VECTORS_COMPARED_PER_TURN);
            }
        }
    }
}

/// Bytes of a document that take as long as a document by itself.
const UNIT_BYTES: usize = 64;

/// Keys that are listed in the time in which a document is indexed.
const KEYS_A_UNIT: usize = 32;

impl Storage {
    /// Another catalog. What is there already is indexed at once as far as it is little, else turn
    /// by turn.
    pub(crate) fn adopt_catalog(&mut self, catalog: Arc<Catalog>) {
        self.search.shards = self.position().0;
        self.search.adopt(catalog);
        let wanted = !self.search.partitions.is_empty();
        if wanted != self.indexes {
            self.indexes = wanted;
            self.store.want_changes(wanted);
        }
        self.advance_indexing();
    }

    /// Indexes all that is there: before a start is over.
    pub(crate) fn index_all(&mut self) {
        let catalog = Arc::clone(&self.search.catalog);
        self.adopt_catalog(catalog);
        while self.is_filling() {
            self.advance_indexing();
        }
        self.settle_graphs();
    }

    /// Whether documents that were there before an index are left to be indexed.
    fn is_filling(&self) -> bool {
        self.indexes && self.search.partitions.values().any(Partition::is_filling)
    }

    /// Whether indexes have work of their own left.
    pub(crate) fn is_indexing(&self) -> bool {
        let has_orphans = !self.search.orphans.is_empty();
        let has_work = self.search.partitions.values().any(Partition::has_work);
        self.indexes && has_work || has_orphans
    }

    /// Indexes some of what was there before, and works on graphs of vectors.
    pub(crate) fn advance_indexing(&mut self) {
        if self.is_indexing() && !self.is_lent() {
            self.search.advance(&self.store, self.wall_ms);
            self.resume_inquiries();
            self.answer_waiting();
        }
    }

    /// Brings the indexes up to date with what has changed.
    #[inline]
    pub(crate) fn index_changes(&mut self) {
        if self.indexes && !self.is_lent() && self.store.has_changes() {
            self.take_changes();
        }
    }

    fn take_changes(&mut self) {
        for change in self.store.take_changes() {
            self.search.update(change.slot, &change.key, &self.store, self.wall_ms);
        }
    }

    /// Brings the indexes up to date with what a merge has changed.
    pub(crate) fn index_merged(&mut self) {
        if Mutant::MergesUnindexed.is_planted() {
            if self.indexes {
                self.store.take_changes();
            }
            return;
        }
        self.index_changes();
    }
}
