//! Changes of the catalog: what `FT.CREATE` and others ask of the thread that owns it.

use quorate_search::Schema;

use super::catalog::{self, Catalog, Words};
use crate::limits;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the business of the machines")]
pub enum Change {
    /// An index; `lenient` if it may be there already.
    Create { name: Vec<u8>, arguments: Words, lenient: bool },
    /// Fields are added to an index: the arguments of `FT.ALTER` behind the name.
    Alter { name: Vec<u8>, arguments: Words },
    /// An index goes; `lenient` if it may not be there.
    Drop { name: Vec<u8>, lenient: bool },
    /// An index, or another one, gets a name more.
    Alias { alias: Vec<u8>, index: Vec<u8>, replaces: bool, lenient: bool },
    /// An alias goes.
    DropAlias { alias: Vec<u8>, lenient: bool },
    /// Words of a dictionary come or go; how many did is answered.
    Words { dictionary: Vec<u8>, words: Words, add: bool },
    /// Words get into a group of synonyms.
    Synonyms { index: Vec<u8>, group: Vec<u8>, words: Words },
    /// A setting.
    Setting { name: Vec<u8>, value: Vec<u8> },
    /// All indexes go, because the keyspace was flushed.
    DropAll,
}

const OK: &str = "+OK\r\n";

/// That there is no such index.
pub(crate) fn not_found(name: &[u8]) -> String {
    format!("SEARCH_INDEX_NOT_FOUND Index not found: {}", String::from_utf8_lossy(name))
}

impl Change {
    /// The catalog behind the change, and what is answered; or why nothing changes.
    pub(crate) fn apply(
        self,
        before: &Catalog,
        wall_ms: u64,
        by: u128,
    ) -> Result<(Catalog, String), String> {
        let refused =
            || "SEARCH_LIMIT_OVER too many indexes, or definitions that are too long".to_owned();
        if self.size() > limits::CATALOG_BYTES_MAX {
            return Err(refused());
        }
        let mut after = before.clone();
        let mut stamp = before.next_stamp(wall_ms, by);
        let reply = self.write(before, &mut |key, value| {
            after.put(key, value, stamp);
            stamp.at += 1;
        })?;
        after.trim();
        let grows = after.entries_len() > before.entries_len();
        if grows && (after.is_full() || after.indexes().count() > limits::INDEXES_MAX) {
            return Err(refused());
        }
        Ok((after, reply))
    }

    /// Bytes of what a client has written.
    fn size(&self) -> usize {
        match self {
            Change::Create { name, arguments, .. } | Change::Alter { name, arguments } => {
                name.len() + catalog::size(arguments)
            }
            Change::Words { dictionary: name, words, .. }
            | Change::Synonyms { group: name, words, .. } => name.len() + catalog::size(words),
            Change::Alias { alias, .. } => alias.len(),
            Change::Setting { value, .. } => value.len(),
            Change::Drop { .. } | Change::DropAlias { .. } | Change::DropAll => 0,
        }
    }

    fn write(
        self,
        catalog: &Catalog,
        put: &mut dyn FnMut(Words, Option<Words>),
    ) -> Result<String, String> {
        match self {
            Change::Create { name, arguments, lenient } => {
                if catalog.index(&name).is_some() || catalog.alias(&name).is_some() {
                    let exists = || "SEARCH_INDEX_EXISTS Index already exists".to_owned();
                    return if lenient { Ok(OK.into()) } else { Err(exists()) };
                }
                put(catalog::index_key(&name), Some(arguments));
            }
            Change::Alter { name, arguments } => {
                let found = catalog.resolve(&name).ok_or_else(|| not_found(&name))?;
                let altered = altered(found.arguments, &arguments)?;
                put(catalog::index_key(found.name), Some(altered));
            }
            Change::Drop { name, lenient } => match catalog.resolve(&name) {
                Some(found) => drop_index(catalog, found.name, put),
                None if lenient => {}
                None => return Err(not_found(&name)),
            },
            Change::Alias { alias, index, replaces, lenient } => {
                let found = catalog.index(&index).ok_or_else(|| not_found(&index))?;
                if !replaces && catalog.resolve(&alias).is_some() {
                    let exists = "SEARCH_INDEX_EXISTS Alias already exists";
                    return if lenient { Ok(OK.into()) } else { Err(exists.into()) };
                }
                if catalog.index(&alias).is_some() {
                    return Err(
                        "SEARCH_INDEX_EXISTS Index with the same name already exists".into()
                    );
                }
                put(catalog::alias_key(&alias), Some(vec![found.name.to_vec()]));
            }
            Change::DropAlias { alias, lenient } => match catalog.alias(&alias) {
                Some(_) => put(catalog::alias_key(&alias), None),
                None if lenient => {}
                None => return Err("Alias does not exist".into()),
            },
            Change::Words { dictionary, mut words, add } => {
                words.sort();
                words.dedup();
                let keys = words.iter().map(|word| catalog::word_key(&dictionary, word));
                let changed: Vec<Words> = keys.filter(|key| catalog.has(key) != add).collect();
                let count = changed.len();
                changed.into_iter().for_each(|key| put(key, add.then(Words::new)));
                return Ok(format!(":{count}\r\n"));
            }
            Change::Synonyms { index, group, words } => {
                let found = catalog.resolve(&index).ok_or_else(|| not_found(&index))?;
                for word in words {
                    put(catalog::synonym_key(found.name, &group, &word), Some(Words::new()));
                }
            }
            Change::Setting { name, value } => {
                put(catalog::setting_key(&name), Some(vec![value]));
            }
            Change::DropAll => {
                catalog.indexes().for_each(|index| drop_index(catalog, index.name, put));
            }
        }
        Ok(OK.into())
    }
}

/// The arguments of an index with more fields. What is there is indexed anew, so whether it was to
/// be left out at the creation does not count any more.
fn altered(arguments: &Words, added: &Words) -> Result<Words, String> {
    let words: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    let schema = Schema::create(&words).map_err(|error| error.to_string())?;
    let words: Vec<&[u8]> = added.iter().map(Vec::as_slice).collect();
    let mut schema = schema.alter(&words).map_err(|error| error.to_string())?;
    schema.options.skip_initial_scan = false;
    Ok(schema.arguments())
}

/// An index goes, with its aliases and synonyms.
fn drop_index(catalog: &Catalog, name: &[u8], put: &mut dyn FnMut(Words, Option<Words>)) {
    put(catalog::index_key(name), None);
    catalog.aliases(name).for_each(|alias| put(catalog::alias_key(alias), None));
    catalog.synonym_keys(name).into_iter().for_each(|key| put(key, None));
}
