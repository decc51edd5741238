//! Whether indexes are what the store says: each is compared with one that is made anew of all
//! documents.

use quorate_proto::Slot;
use quorate_search::Index;

use super::partition::Partition;
use crate::storage::Storage;

/// Differences that are told of each index.
const TOLD_MAX: usize = 3;

impl Storage {
    /// What the indexes of this shard say otherwise than the documents, a line each. What has expired
    /// and is still there may be in either.
    pub(crate) fn index_faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.store.has_changes() {
            faults.push("a change has not been indexed in its step".to_owned());
        }
        let catalog = std::sync::Arc::clone(&self.search.catalog);
        for definition in catalog.indexes() {
            let name = String::from_utf8_lossy(definition.name);
            let Some(held) = self.search.partitions.get_mut(definition.name) else {
                faults.push(format!("there is no index {name}"));
                continue;
            };
            held.index.show(u64::MAX);
            let Some(mut anew) = Partition::new(&catalog, definition) else { continue };
            if held.is_filling() || held.is_behind() {
                faults.push(format!("{name} is not complete"));
                continue;
            }
            if anew.schema.options.skip_initial_scan || held.refused.count > 0 {
                continue;
            }
            for slot in Slot::all() {
                self.store.for_each_document(slot, self.wall_ms, |key, document| {
                    anew.update(slot, key, Some(document));
                });
            }
            let held = &self.search.partitions[definition.name];
            let has_expired =
                |key: &[u8]| self.store.document(self.store.slot_of(key), key, 0).is_some();
            let differences = differences(&held.index, &anew.index, has_expired);
            faults.extend(differences.into_iter().map(|text| format!("{name}: {text}")));
        }
        faults
    }
}

/// Documents of which two indexes say different things.
fn differences(held: &Index, anew: &Index, may_be_old: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let shown = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let mut found = Vec::new();
    for key in anew.keys() {
        let (is, should_be) = (held.describe(key), anew.describe(key));
        if is != should_be {
            found.push(format!("{} is {is:?}, should be {should_be:?}", shown(key)));
        }
    }
    for key in held.keys().filter(|key| anew.describe(key).is_none() && !may_be_old(key)) {
        found.push(format!("{} is there, should not be", shown(key)));
    }
    found.truncate(TOLD_MAX);
    found
}
