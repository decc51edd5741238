//! Which indexes there are, with aliases, dictionaries, synonyms and settings: one document that
//! every node has a copy of.
//!
//! Each entry has a stamp. Copies merge entry by entry: the newer stamp wins, and what was dropped
//! is an entry without a value. So merging is commutative, associative and idempotent, and no
//! majority is needed: of two nodes that create an index of one name at the same moment, one wins,
//! on all nodes the same.
//!
//! ```text
//! document   magic, entry, entry, ..., checksum (CRC-32C of what is before it)
//! entry      key: words | stamp: 8 + 16 bytes | 0, or 1 and value: words
//! words      count: 4 bytes | for each: length: 4 bytes, bytes          all numbers little-endian
//! ```

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::checksum::crc32c;
use quorate_search::analysis::Synonyms;

use crate::limits;

/// Arguments, as of a command.
pub(crate) type Words = Vec<Vec<u8>>;

/// When an entry was written, and by whom; no two are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// Milliseconds since the Unix epoch times 65,536; more, if there was a newer entry.
    pub(crate) at: u64,
    /// The node.
    pub(crate) by: u128,
}

impl Stamp {
    /// As an argument of a piece.
    pub(crate) fn text(self) -> String {
        format!("{:x}-{:x}", self.at, self.by)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    stamp: Stamp,
    /// None: dropped.
    value: Option<Words>,
}

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    entries: BTreeMap<Words, Entry>,
}

/// An index of the catalog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) stamp: Stamp,
    /// The arguments of `FT.CREATE` behind the name.
    pub(crate) arguments: &'a Words,
}

/// Kinds of entries: the first word of their keys.
const INDEX: &[u8] = b"index";
const ALIAS: &[u8] = b"alias";
const WORD: &[u8] = b"word";
const SYNONYM: &[u8] = b"synonym";
const SETTING: &[u8] = b"setting";

/// Bytes of an entry besides its words.
const ENTRY_BYTES: usize = 4 + 8 + 16 + 1 + 4;

const MAGIC: &[u8] = b"QUORATE CATALOG 1\n";

pub(crate) fn index_key(name: &[u8]) -> Words {
    vec![INDEX.to_vec(), name.to_vec()]
}

pub(crate) fn alias_key(name: &[u8]) -> Words {
    vec![ALIAS.to_vec(), name.to_vec()]
}

pub(crate) fn word_key(dictionary: &[u8], word: &[u8]) -> Words {
    vec![WORD.to_vec(), dictionary.to_vec(), word.to_vec()]
}

pub(crate) fn synonym_key(index: &[u8], group: &[u8], word: &[u8]) -> Words {
    vec![SYNONYM.to_vec(), index.to_vec(), group.to_vec(), word.to_vec()]
}

pub(crate) fn setting_key(name: &[u8]) -> Words {
    vec![SETTING.to_vec(), name.to_ascii_uppercase()]
}

impl Catalog {
    /// The entries of a kind that are there: the other words of their keys, and their values.
    fn of_kind<'a>(&'a self, kind: &'a [u8]) -> impl Iterator<Item = (&'a [Vec<u8>], &'a Entry)> {
        let from = self.entries.range(vec![kind.to_vec()]..);
        from.take_while(move |(key, _)| key[0] == kind)
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(key, entry)| (&key[1..], entry))
    }

    /// The indexes, by name.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = Definition<'_>> {
        self.of_kind(INDEX).filter_map(|(key, entry)| {
            let arguments = entry.value.as_ref()?;
            Some(Definition { name: key.first()?, stamp: entry.stamp, arguments })
        })
    }

    /// The index of this name.
    pub(crate) fn index(&self, name: &[u8]) -> Option<Definition<'_>> {
        let (key, entry) = self.entries.get_key_value(&index_key(name))?;
        let arguments = entry.value.as_ref()?;
        Some(Definition { name: key.get(1)?, stamp: entry.stamp, arguments })
    }

    /// The index that a name or an alias stands for.
    pub(crate) fn resolve(&self, name: &[u8]) -> Option<Definition<'_>> {
        self.index(name).or_else(|| self.index(self.alias(name)?))
    }

    /// The name of the index that an alias stands for.
    pub(crate) fn alias(&self, alias: &[u8]) -> Option<&[u8]> {
        let value = self.entries.get(&alias_key(alias))?.value.as_ref()?;
        value.first().map(Vec::as_slice)
    }

    /// The aliases of an index.
    pub(crate) fn aliases<'a>(&'a self, index: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.of_kind(ALIAS).filter_map(move |(key, entry)| {
            let names = entry.value.as_ref()?.first()?;
            (names == index).then_some(key.first()?.as_slice())
        })
    }

    /// The words of a dictionary.
    pub(crate) fn dictionary(&self, name: &[u8]) -> BTreeSet<String> {
        let words = self.of_kind(WORD).filter(|(key, _)| key.first().is_some_and(|d| d == name));
        words
            .filter_map(|(key, _)| Some(String::from_utf8_lossy(key.get(1)?).into_owned()))
            .collect()
    }

    /// The synonyms of an index.
    pub(crate) fn synonyms(&self, index: &[u8]) -> Synonyms {
        let mut synonyms = Synonyms::default();
        for (key, _) in self.of_kind(SYNONYM) {
            if let [of, group, word] = key
                && of == index
            {
                let word = String::from_utf8_lossy(word);
                synonyms.update(&String::from_utf8_lossy(group), [word.as_ref()]);
            }
        }
        synonyms
    }

    /// The keys of the synonyms of an index.
    pub(crate) fn synonym_keys(&self, index: &[u8]) -> Vec<Words> {
        let keys = self.of_kind(SYNONYM).map(|(key, _)| key);
        let own = keys.filter(|key| key.first().is_some_and(|of| of == index));
        own.map(|key| [&[SYNONYM.to_vec()], key].concat()).collect()
    }

    /// What a setting was set to.
    pub(crate) fn setting(&self, name: &[u8]) -> Option<&[u8]> {
        let value = self.entries.get(&setting_key(name))?.value.as_ref()?;
        value.first().map(Vec::as_slice)
    }

    /// Whether there is an entry of this key.
    pub(crate) fn has(&self, key: &Words) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.value.is_some())
    }

    /// A stamp for what changes now: newer than all that are here.
    pub(crate) fn next_stamp(&self, wall_ms: u64, by: u128) -> Stamp {
        let newest = self.entries.values().map(|entry| entry.stamp.at).max().unwrap_or(0);
        Stamp { at: (wall_ms << 16).max(newest + 1), by }
    }

    /// Gives an entry another value, or drops it (`None`).
    pub(crate) fn put(&mut self, key: Words, value: Option<Words>, stamp: Stamp) {
        self.entries.insert(key, Entry { stamp, value });
    }

    /// Forgets the oldest of what was dropped. Copies that have met still are equal: the newest of
    /// all are the newest of the newest.
    pub(crate) fn trim(&mut self) {
        let dropped = self.entries.iter().filter(|(_, entry)| entry.value.is_none());
        let mut dropped: Vec<(Stamp, Words)> =
            dropped.map(|(key, entry)| (entry.stamp, key.clone())).collect();
        let Some(excess) = dropped.len().checked_sub(limits::DROPPED_ENTRIES_MAX) else { return };
        dropped.sort_unstable();
        for (_, key) in dropped.into_iter().take(excess) {
            self.entries.remove(&key);
        }
    }

    /// Takes over what is newer in another copy. Returns whether anything was.
    pub(crate) fn merge(&mut self, other: &Catalog) -> bool {
        let mut changed = false;
        for (key, entry) in &other.entries {
            let is_newer = self.entries.get(key).is_none_or(|own| own.stamp < entry.stamp);
            if is_newer {
                self.entries.insert(key.clone(), entry.clone());
                changed = true;
            }
        }
        if changed {
            self.trim();
        }
        changed
    }

    /// The document.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let put_words = |out: &mut Vec<u8>, words: &Words| {
            out.extend_from_slice(&(words.len() as u32).to_le_bytes());
            for word in words {
                out.extend_from_slice(&(word.len() as u32).to_le_bytes());
                out.extend_from_slice(word);
            }
        };
        for (key, entry) in &self.entries {
            put_words(&mut out, key);
            out.extend_from_slice(&entry.stamp.at.to_le_bytes());
            out.extend_from_slice(&entry.stamp.by.to_le_bytes());
            out.push(u8::from(entry.value.is_some()));
            if let Some(value) = &entry.value {
                put_words(&mut out, value);
            }
        }
        let checksum = crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a document; none if it is not whole.
    pub(crate) fn decode(document: &[u8]) -> Option<Catalog> {
        let (body, checksum) = document.split_last_chunk::<4>()?;
        if crc32c(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let mut entries = BTreeMap::new();
        while !rest.is_empty() {
            let key = take_words(&mut rest).filter(|key| key.len() >= 2)?;
            let at = u64::from_le_bytes(*take(&mut rest)?);
            let by = u128::from_le_bytes(*take(&mut rest)?);
            let [has_value] = *take::<1>(&mut rest)?;
            let value = match has_value {
                0 => None,
                _ => Some(take_words(&mut rest)?),
            };
            entries.insert(key, Entry { stamp: Stamp { at, by }, value });
        }
        Some(Catalog { entries })
    }

    /// By which copies are compared: a 64-bit FNV-1a hash of the document.
    pub(crate) fn digest(&self) -> u64 {
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        self.encode().iter().fold(0xcbf2_9ce4_8422_2325, fold)
    }

    /// Whether it says nothing, not even that something was dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries there are.
    pub(crate) fn entries_len(&self) -> usize {
        self.entries.values().filter(|entry| entry.value.is_some()).count()
    }

    /// Whether what is there is as large as it may be.
    pub(crate) fn is_full(&self) -> bool {
        let there =
            self.entries.iter().filter_map(|(key, entry)| Some((key, entry.value.as_ref()?)));
        let bytes = there.map(|(key, value)| size(key) + size(value) + ENTRY_BYTES).sum::<usize>();
        bytes > limits::CATALOG_BYTES_MAX
    }
}

/// Bytes of words in the document, besides their count.
pub(crate) fn size(words: &Words) -> usize {
    words.iter().map(|word| 4 + word.len()).sum()
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

fn take_words(rest: &mut &[u8]) -> Option<Words> {
    let count = u32::from_le_bytes(*take(rest)?);
    let mut words = Vec::new();
    for _ in 0..count {
        let length = u32::from_le_bytes(*take(rest)?) as usize;
        let (word, behind) = rest.split_at_checked(length)?;
        *rest = behind;
        words.push(word.to_vec());
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(catalog: &mut Catalog, key: Words, value: Option<&str>, wall_ms: u64, by: u128) {
        let stamp = catalog.next_stamp(wall_ms, by);
        catalog.put(key, value.map(|value| vec![value.into()]), stamp);
    }

    #[test]
    fn copies_that_have_met_are_equal_whatever_the_order() {
        let (mut one, mut other) = (Catalog::default(), Catalog::default());
        put(&mut one, index_key(b"i"), Some("SCHEMA"), 5, 1);
        put(&mut one, alias_key(b"a"), Some("i"), 5, 1);
        other.merge(&one);
        put(&mut one, alias_key(b"a"), None, 4, 1);
        put(&mut other, index_key(b"i"), Some("newer"), 9, 2);
        let (mut there, mut back) = (one.clone(), other.clone());
        assert!(there.merge(&other) && back.merge(&one));
        assert_eq!(there, back);
        assert!(!there.merge(&back), "nothing is newer");
        assert_eq!(there.digest(), back.digest());
        assert_eq!(
            there.resolve(b"i").map(|found| found.arguments.clone()),
            Some(vec![b"newer".to_vec()])
        );
        for number in 0..2 * limits::DROPPED_ENTRIES_MAX {
            let of_one = number % 2 == 0;
            let (key, by) = (alias_key(number.to_string().as_bytes()), u128::from(of_one));
            put(if of_one { &mut there } else { &mut back }, key, None, 100 + number as u64, by);
        }
        let (mut one, mut other) = (there.clone(), back.clone());
        assert!(one.merge(&back) && other.merge(&there));
        assert_eq!(one, other, "also where much was dropped");
        assert_eq!(one.entries.len() - one.entries_len(), limits::DROPPED_ENTRIES_MAX);
        assert!(
            there.resolve(b"a").is_none(),
            "a drop is newer than what was before, by any clock"
        );
    }

    #[test]
    fn a_document_is_read_as_it_was_or_not_at_all() {
        let mut catalog = Catalog::default();
        put(&mut catalog, index_key(b"i"), Some("SCHEMA"), 5, 1);
        put(&mut catalog, word_key(b"d", b"w"), Some(""), 5, 1);
        put(&mut catalog, synonym_key(b"i", b"g", b"w"), None, 5, 1);
        let document = catalog.encode();
        assert_eq!(Catalog::decode(&document), Some(catalog));
        for length in 0..document.len() {
            assert_eq!(Catalog::decode(&document[..length]), None);
        }
        for at in 0..document.len() {
            let mut flipped = document.clone();
            flipped[at] ^= 1;
            assert_eq!(Catalog::decode(&flipped), None);
        }
    }
}
