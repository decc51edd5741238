//! The order of documents by their keys, told by eight bytes each.
//!
//! Of a key the eight bytes are kept that stand behind what all keys have in common: as a number,
//! the first byte the highest. Of two documents that with the lesser number has the lesser key; if
//! numbers are the same, the keys have to be looked at.

use alloc::vec::Vec;

use super::postings::DocumentId;

/// As often as what is in common becomes shorter, all numbers are made again; after that many times
/// nothing is taken to be in common any more.
const SHORTENED_MAX: u32 = 64;

/// The numbers of documents.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    numbers: Vec<u64>,
    /// What all keys begin with.
    common: Vec<u8>,
    shortened: u32,
}

impl Beginnings {
    /// Puts a document in; `others` are all that there are.
    pub(super) fn insert<'a>(
        &mut self,
        id: DocumentId,
        key: &[u8],
        mut others: impl Iterator<Item = (&'a [u8], DocumentId)>,
    ) {
        let shared = self.common.iter().zip(key).take_while(|(one, other)| one == other).count();
        let mut first = others.next();
        if first.is_none() {
            self.common = key.to_vec();
            self.shortened = 0;
        } else if shared < self.common.len() {
            self.shortened += 1;
            self.common.truncate(if self.shortened < SHORTENED_MAX { shared } else { 0 });
            while let Some((key, id)) = first {
                self.numbers[id as usize] = self.of(key);
                first = others.next();
            }
        }
        if self.numbers.len() <= id as usize {
            self.numbers.resize(id as usize + 1, 0);
        }
        self.numbers[id as usize] = self.of(key);
    }

    /// The number of a document that is there.
    #[inline]
    pub(super) fn get(&self, id: DocumentId) -> u64 {
        self.numbers[id as usize]
    }

    fn of(&self, key: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        for (own, byte) in bytes.iter_mut().zip(&key[self.common.len()..]) {
            *own = *byte;
        }
        u64::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_in_the_order_of_keys(
            changes in prop::collection::vec(("(a|ab|abc|abcdefghij)[a-c\u{0}]{0,12}", any::<bool>()), 0..60),
        ) {
            let mut beginnings = Beginnings::default();
            let mut keys: BTreeMap<Vec<u8>, DocumentId> = BTreeMap::new();
            for (id, (key, stays)) in (0..).zip(changes) {
                let key = key.into_bytes();
                keys.remove(&key);
                beginnings.insert(id, &key, keys.iter().map(|(key, id)| (key.as_slice(), *id)));
                if stays {
                    keys.insert(key, id);
                }
            }
            let numbers: Vec<u64> = keys.values().map(|&id| beginnings.get(id)).collect();
            prop_assert!(numbers.is_sorted(), "{:?}", keys);
        }
    }
}
