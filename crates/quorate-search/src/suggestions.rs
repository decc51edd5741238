//! Texts to complete what somebody types: the dictionaries of `FT.SUGADD` and `FT.SUGGET`.
//!
//! A text is found by any beginning of it, in any case, or by one in which a letter was added,
//! left out or changed. The score of a find is as RediSearch has it, in single precision: the
//! text's own, by the root of 1 and the letters that are not typed yet, and for each letter that
//! differs by the square of e.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::edit_distance::{Rows, behind};

/// How many texts are found if nothing else is said. RediSearch's default.
pub const FOUND: usize = 5;

/// The score of a text that was typed to its end: above all others.
const WHOLE: f32 = 2_147_483_648.0;

/// A dictionary of suggestions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Suggestions {
    /// Texts by their form in lower case.
    texts: BTreeMap<String, BTreeMap<String, Entry>>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Entry {
    score: f32,
    payload: Option<Box<[u8]>>,
}

/// A text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion<'a> {
    /// The text.
    pub text: &'a str,
    /// How well it completes what was typed.
    pub score: f32,
    /// What was added with it.
    pub payload: Option<&'a [u8]>,
}

impl Suggestions {
    /// Adds a text, or gives it another score and payload; `increment` adds to the score that it
    /// has. An empty text is not added. Returns how many texts there are.
    pub fn add(
        &mut self,
        text: &str,
        score: f64,
        increment: bool,
        payload: Option<&[u8]>,
    ) -> usize {
        if text.is_empty() {
            return self.len;
        }
        let texts = self.texts.entry(text.to_lowercase()).or_default();
        if !texts.contains_key(text) {
            self.len += 1;
        }
        let entry = texts.entry(text.to_string()).or_default();
        entry.score = if increment { entry.score + score as f32 } else { score as f32 };
        if payload.is_some() || !increment {
            entry.payload = payload.map(Into::into);
        }
        self.len
    }

    /// Removes a text; whether it was there.
    pub fn remove(&mut self, text: &str) -> bool {
        let folded = text.to_lowercase();
        let Some(texts) = self.texts.get_mut(&folded) else { return false };
        let removed = texts.remove(text).is_some();
        self.len -= usize::from(removed);
        if texts.is_empty() {
            self.texts.remove(&folded);
        }
        removed
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Each text with its score and payload, in the order of the lower case forms.
    pub fn iter(&self) -> impl Iterator<Item = Suggestion<'_>> {
        self.texts.values().flatten().map(|(text, entry)| entry.found(text, entry.score))
    }

    /// The `most` best texts that begin like `typed`, the best first; with `fuzzy` also those that
    /// begin with one other letter.
    pub fn get(&self, typed: &str, fuzzy: bool, most: usize) -> Vec<Suggestion<'_>> {
        let typed = typed.to_lowercase();
        let mut found = Vec::new();
        let mut rows = Rows::new(&typed, usize::from(fuzzy));
        let mut start = if fuzzy { Some(String::new()) } else { Some(typed.clone()) };
        while let Some(from) = start.take() {
            for (folded, texts) in self.texts.range(from..) {
                match rows.advance(folded) {
                    Ok(differs) if differs.beginning <= usize::from(fuzzy) => {
                        let whole = *folded == typed;
                        found.extend(texts.iter().map(|(text, entry)| {
                            let score = entry.completing(text, &typed, whole, differs.beginning);
                            entry.found(text, score)
                        }));
                    }
                    Ok(_) => {}
                    Err(beginning) if fuzzy => {
                        start = behind(beginning);
                        break;
                    }
                    // Texts that begin alike are next to each other.
                    Err(_) => break,
                }
            }
        }
        found.sort_by(|one, other| {
            other.score.total_cmp(&one.score).then_with(|| one.text.cmp(other.text))
        });
        found.truncate(most);
        found
    }
}

impl Entry {
    fn found<'a>(&'a self, text: &'a str, score: f32) -> Suggestion<'a> {
        Suggestion { text, score, payload: self.payload.as_deref() }
    }

    /// The score of a text for what was typed, in lower case.
    fn completing(&self, text: &str, typed: &str, whole: bool, distance: usize) -> f32 {
        if whole && text == typed {
            return WHOLE;
        }
        let letters = text.chars().count().abs_diff(typed.chars().count());
        let off = libm::exp(-2.0 * distance as f64) as f32;
        self.score * off / libm::sqrtf(1.0 + letters as f32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn suggestions(entries: &[(&str, f64)]) -> Suggestions {
        let mut suggestions = Suggestions::default();
        for &(text, score) in entries {
            suggestions.add(text, score, false, None);
        }
        suggestions
    }

    fn found(suggestions: &Suggestions, typed: &str, fuzzy: bool) -> Vec<(String, f64)> {
        let found = suggestions.get(typed, fuzzy, 20);
        found.iter().map(|one| (one.text.to_string(), f64::from(one.score))).collect()
    }

    fn close(found: &[(String, f64)], expected: &[(&str, f64)]) {
        let alike = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(one, other)| one.0 == other.0 && (one.1 - other.1).abs() <= 1e-6 * other.1);
        assert!(alike, "{found:?}, not {expected:?}");
    }

    /// What a RediSearch answered.
    #[test]
    fn suggestions_are_those_of_redisearch() {
        let mut all = suggestions(&[
            ("hello", 1.0),
            ("help", 2.0),
            ("helo", 3.0),
            ("jello", 4.0),
            ("hel", 5.0),
            ("Hello", 7.0),
            ("yellow", 2.0),
            ("shelf", 1.0),
            ("hxllo", 6.0),
        ]);
        assert_eq!(all.add("ehllo", 2.0, false, None), 10);
        assert_eq!(all.add("help", 3.0, true, None), 10);
        all.add("hello", 9.0, false, Some(b"pp"));
        let exact = [
            ("hel", 2_147_483_648.0),
            ("hello", 5.196_152_210_235_596),
            ("Hello", 4.041_451_930_999_756),
            ("help", 3.535_533_905_029_297),
            ("helo", 2.121_320_247_650_146_5),
        ];
        close(&found(&all, "hel", false), &exact);
        close(&found(&all, "HEL", false), &exact);
        close(&found(&all, "hello", false), &[("hello", 2_147_483_648.0), ("Hello", 7.0)]);
        let fuzzy = [
            ("hxllo", 0.468_815_177_679_061_9),
            ("jello", 0.312_543_451_786_041_26),
            ("yellow", 0.135_335_281_491_279_6),
            ("shelf", 0.078_135_862_946_510_31),
        ];
        close(&found(&all, "hel", true), &[&exact[..], &fuzzy].concat());
        let best = all.get("h", false, FOUND);
        let best: Vec<&str> = best.iter().map(|one| one.text).collect();
        assert_eq!(best, ["hello", "Hello", "hel", "hxllo", "help"]);
        assert_eq!(all.get("hello", false, 1)[0].payload, Some(&b"pp"[..]));
        assert!(all.remove("help") && !all.remove("help") && !all.remove("HEL"));
        assert_eq!((all.len(), all.iter().count()), (9, 9));
        assert_eq!(all.add("", 1.0, false, None), 9);
    }

    proptest! {
        #[test]
        fn suggestions_are_those_of_a_scan(
            texts in prop::collection::btree_map("[abÉé]{1,6}", 0u8..5, 0..40),
            removed in "[abÉé]{1,2}",
            typed in "[abÉ]{0,4}",
            fuzzy in any::<bool>(),
        ) {
            let mut all = Suggestions::default();
            for (text, &score) in &texts {
                all.add(text, f64::from(score), false, None);
            }
            prop_assert_eq!(all.remove(&removed), texts.contains_key(&removed));
            let folded = typed.to_lowercase();
            let matching = texts.keys().filter(|text| **text != removed).filter(|text| {
                let text = text.to_lowercase();
                let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                let mut rows = Rows::new(&folded, usize::MAX);
                let least = ends.map(|end| rows.advance(&text[..end]).map_or(9, |d| d.whole)).min();
                if fuzzy { least <= Some(1) } else { text.starts_with(&folded) }
            });
            let expected: Vec<&String> = matching.collect();
            let mut found: Vec<String> = found(&all, &typed, fuzzy)
                .into_iter().map(|(text, _)| text).collect();
            prop_assert_eq!(found.len(), expected.len().min(20));
            found.retain(|text| !expected.contains(&text));
            prop_assert!(found.is_empty(), "{:?}", found);
            let best = all.get(&typed, fuzzy, 20);
            prop_assert!(best.is_sorted_by(|one, other| one.score >= other.score));
        }
    }
}
