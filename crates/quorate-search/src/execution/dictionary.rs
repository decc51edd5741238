//! Which terms and labels begin, end, contain, follow a pattern or are nearly the same.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::near::{Near, Walked};
use crate::index::{Labels, Terms};
use crate::limits;
use crate::query::{Affix, Place};

/// Words in order, and how many documents have them.
pub(super) trait Dictionary {
    /// The letters that words are made of, if they are few and words are looked up fast.
    fn letters(&self) -> Option<Vec<char>> {
        None
    }

    /// How many documents have a word.
    fn documents(&self, word: &str) -> Option<u64> {
        self.from(word).next().filter(|(found, _)| *found == word).map(|(_, documents)| documents)
    }

    /// The words from `start` on.
    fn from<'a>(&'a self, start: &str) -> Box<dyn Iterator<Item = (&'a str, u64)> + 'a>;
}

impl Dictionary for Terms {
    fn letters(&self) -> Option<Vec<char>> {
        let letters = Terms::letters(self);
        (letters.len() <= LETTERS_MAX).then(|| letters.collect())
    }

    fn documents(&self, word: &str) -> Option<u64> {
        let postings = self.get(word).filter(|_| !word.starts_with(FORMS));
        postings.map(|postings| u64::from(postings.documents()))
    }

    /// What a word stands for is no word.
    fn from<'a>(&'a self, start: &str) -> Box<dyn Iterator<Item = (&'a str, u64)> + 'a> {
        Box::new(Terms::from(self, start).filter(|(term, _)| !term.starts_with(FORMS)))
    }
}

impl Dictionary for Labels {
    fn from<'a>(&'a self, start: &str) -> Box<dyn Iterator<Item = (&'a str, u64)> + 'a> {
        Box::new(Labels::from(self, start))
    }
}

/// What terms begin with that are no words, but stand for some.
const FORMS: [char; 3] = ['+', '<', '~'];

/// With more letters there are too many words that a word may be changed to.
const LETTERS_MAX: usize = 100;

/// Of longer words there are too many that they may be changed to.
const CHANGED_MAX: usize = 32;

/// Words of a dictionary and how many documents have them: the first of those that match.
pub(super) type Found = Vec<(String, u64)>;

/// One more than may be found, which shows that there are too many.
pub(super) const FOUND_MAX: usize = limits::EXPANSIONS + 1;

/// How many documents that queries see have a word, of which so many have it in all.
pub(super) type Seen<'s> = &'s dyn Fn(&str, u64) -> u64;

fn first<'a>(words: impl Iterator<Item = (&'a str, u64)>, seen: Seen<'_>) -> Found {
    let counted = words.map(|(word, documents)| (word.to_string(), seen(word, documents)));
    counted.filter(|(_, documents)| *documents > 0).take(FOUND_MAX).collect()
}

/// The words with this beginning, end or part. One that is too short finds nothing.
pub(super) fn by_affix(dictionary: &impl Dictionary, affix: &Affix, seen: Seen<'_>) -> Found {
    let part = affix.text.as_str();
    if part.len() < limits::AFFIX_BYTES_MIN {
        return Found::new();
    }
    let all = || dictionary.from("");
    match affix.place {
        Place::Prefix => {
            first(dictionary.from(part).take_while(|(word, _)| word.starts_with(part)), seen)
        }
        Place::Suffix => first(all().filter(|(word, _)| word.ends_with(part)), seen),
        Place::Infix => first(all().filter(|(word, _)| word.contains(part)), seen),
    }
}

/// The words of a pattern.
pub(super) fn by_pattern(dictionary: &impl Dictionary, pattern: &str, seen: Seen<'_>) -> Found {
    let parts = pattern_parts(pattern);
    let start: String = parts.iter().map_while(|part| part.letter()).collect();
    let candidates = dictionary.from(&start).take_while(|(word, _)| word.starts_with(&start));
    first(candidates.filter(|(word, _)| matches(&parts, word)), seen)
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Letter(char),
    /// `?`
    AnyLetter,
    /// `*`
    Anything,
}

impl Part {
    fn letter(self) -> Option<char> {
        match self {
            Part::Letter(letter) => Some(letter),
            Part::AnyLetter | Part::Anything => None,
        }
    }
}

/// Whether a word follows a pattern of `w'...'`.
pub fn follows_pattern(pattern: &str, word: &str) -> bool {
    matches(&pattern_parts(pattern), word)
}

/// Whether two words differ by at most `distance` letters that were added, left out or changed.
pub fn is_near(word: &str, distance: u8, other: &str) -> bool {
    matches!(Near::new(word, usize::from(distance)).walk(other), Walked::Near)
}

fn pattern_parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        parts.push(match letter {
            '\\' => Part::Letter(letters.next().unwrap_or('\\')),
            '?' => Part::AnyLetter,
            '*' if parts.last() == Some(&Part::Anything) => continue,
            '*' => Part::Anything,
            _ => Part::Letter(letter),
        });
    }
    parts
}

/// Whether a word follows a pattern. After a `*` the shortest is tried first, and only the last
/// `*` is ever tried again: that is enough, and takes no more than the product of the lengths.
fn matches(parts: &[Part], word: &str) -> bool {
    let mut letters = word.chars();
    let mut at = 0;
    let mut again = None;
    loop {
        let mut rest = letters.clone();
        match (parts.get(at), rest.next()) {
            (None, None) => return true,
            (Some(Part::Anything), _) => {
                at += 1;
                again = Some((at, letters.clone()));
                continue;
            }
            (Some(Part::AnyLetter), Some(_)) => {
                (at, letters) = (at + 1, rest);
                continue;
            }
            (Some(&Part::Letter(one)), Some(other)) if one == other => {
                (at, letters) = (at + 1, rest);
                continue;
            }
            _ => {}
        }
        let Some((behind, from)) = &mut again else { return false };
        if from.next().is_none() {
            return false;
        }
        (at, letters) = (*behind, from.clone());
    }
}

/// The words that differ from `word` by at most `distance` letters that were added, left out or
/// changed (Levenshtein), the first `most` of them.
pub(super) fn by_distance(
    dictionary: &impl Dictionary,
    word: &str,
    distance: u8,
    most: usize,
    seen: Seen<'_>,
) -> Found {
    if distance == 1
        && word.chars().nth(CHANGED_MAX).is_none()
        && let Some(letters) = dictionary.letters()
    {
        return changed_once(dictionary, word, &letters, most, seen);
    }
    let mut found = Found::new();
    let mut near = Near::new(word, usize::from(distance));
    let mut start = Some(String::new());
    while let Some(from) = start.take() {
        for (candidate, documents) in dictionary.from(&from) {
            match near.walk(candidate) {
                Walked::Near => {
                    let documents = seen(candidate, documents);
                    found.extend((documents > 0).then(|| (candidate.to_string(), documents)));
                    if found.len() == most {
                        return found;
                    }
                }
                Walked::Open => {}
                Walked::Closed(next) => {
                    start = next;
                    break;
                }
            }
        }
    }
    found
}

/// The same for a distance of one: whatever the word may be changed to is looked up.
fn changed_once(
    dictionary: &impl Dictionary,
    word: &str,
    letters: &[char],
    most: usize,
    seen: Seen<'_>,
) -> Found {
    let mut found = Found::new();
    let mut look = |text: &str| {
        let documents = dictionary.documents(text).map_or(0, |documents| seen(text, documents));
        if documents > 0 {
            found.push((text.to_string(), documents));
        }
    };
    look(word);
    let mut text = String::new();
    let ends = word.char_indices().map(|(at, letter)| (at, at + letter.len_utf8()));
    for (at, end) in ends.chain([(word.len(), word.len())]) {
        let mut with = |letter: Option<char>, rest: &str| {
            text.clear();
            text.push_str(&word[..at]);
            text.extend(letter);
            text.push_str(rest);
            look(&text);
        };
        for &letter in letters {
            with(Some(letter), &word[at..]);
            if end > at && !word[at..].starts_with(letter) {
                with(Some(letter), &word[end..]);
            }
        }
        if end > at {
            with(None, &word[end..]);
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(most);
    found
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    struct Words(Vec<String>);

    /// The same, whose letters are known.
    struct Spelt(Vec<String>);

    const ALL: fn(&str, u64) -> u64 = |_, documents| documents;

    impl Dictionary for Words {
        fn from<'a>(&'a self, start: &str) -> Box<dyn Iterator<Item = (&'a str, u64)> + 'a> {
            let first = self.0.partition_point(|word| word.as_str() < start);
            Box::new(self.0[first..].iter().map(|word| (word.as_str(), 1)))
        }
    }

    impl Dictionary for Spelt {
        fn letters(&self) -> Option<Vec<char>> {
            let letters: BTreeSet<char> = self.0.iter().flat_map(|word| word.chars()).collect();
            Some(letters.into_iter().collect())
        }

        fn from<'a>(&'a self, start: &str) -> Box<dyn Iterator<Item = (&'a str, u64)> + 'a> {
            let first = self.0.partition_point(|word| word.as_str() < start);
            Box::new(self.0[first..].iter().map(|word| (word.as_str(), 1)))
        }
    }

    fn texts(found: Found) -> Vec<String> {
        found.into_iter().map(|(word, _)| word).collect()
    }

    /// By the definition.
    fn distance(one: &[char], other: &[char]) -> usize {
        let (Some((a, one_rest)), Some((b, other_rest))) = (one.split_first(), other.split_first())
        else {
            return one.len() + other.len();
        };
        if a == b {
            return distance(one_rest, other_rest);
        }
        let least = distance(one_rest, other).min(distance(one, other_rest));
        1 + least.min(distance(one_rest, other_rest))
    }

    /// By the definition.
    fn follows(parts: &[Part], letters: &[char]) -> bool {
        match (parts.split_first(), letters.split_first()) {
            (None, letter) => letter.is_none(),
            (Some((Part::Anything, rest)), letter) => {
                follows(rest, letters) || letter.is_some_and(|(_, more)| follows(parts, more))
            }
            (Some((Part::AnyLetter, rest)), Some((_, more))) => follows(rest, more),
            (Some((Part::Letter(one), rest)), Some((other, more))) => {
                one == other && follows(rest, more)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn near_words_are_all_found(
            words in prop::collection::btree_set("[abé]{0,5}", 0..30),
            word in "[abé]{0,5}",
            most in 1u8..=3,
        ) {
            let words: Vec<String> = words.into_iter().collect();
            let letters = |word: &String| -> Vec<char> { word.chars().collect() };
            let near = |other: &&String| distance(&letters(&word), &letters(other)) <= usize::from(most);
            let expected: Vec<String> = words.iter().filter(near).cloned().collect();
            let spelt = by_distance(&Spelt(words.clone()), &word, most, usize::MAX, &ALL);
            prop_assert_eq!(&texts(spelt), &expected);
            let found = by_distance(&Words(words), &word, most, usize::MAX, &ALL);
            prop_assert_eq!(texts(found), expected);
        }

        #[test]
        fn patterns_find_what_follows_them(
            words in prop::collection::btree_set("[ab*]{0,6}", 0..30),
            pattern in "[ab*?\\\\]{1,6}",
        ) {
            let words: Vec<String> = words.into_iter().collect();
            let parts = pattern_parts(&pattern);
            let follow = |word: &&String| follows(&parts, &word.chars().collect::<Vec<_>>());
            let expected: Vec<String> = words.iter().filter(follow).cloned().collect();
            prop_assert_eq!(texts(by_pattern(&Words(words.clone()), &pattern, &ALL)), expected);
        }
    }

    #[test]
    fn short_parts_find_nothing_and_many_are_cut() {
        let words = Words((0..500).map(|number| alloc::format!("ab{number:03}")).collect());
        let affix = |text: &str, place| by_affix(&words, &Affix { text: text.into(), place }, &ALL);
        assert_eq!(affix("a", Place::Prefix).len(), 0);
        assert_eq!(affix("ab", Place::Prefix).len(), limits::EXPANSIONS + 1);
        let words = Words(["é", "éa", "日", "日本"].map(String::from).into());
        let affix = |text: &str, place| by_affix(&words, &Affix { text: text.into(), place }, &ALL);
        assert_eq!(texts(affix("日", Place::Prefix)), ["日", "日本"]);
        assert_eq!(texts(affix("本", Place::Suffix)), ["日本"]);
        assert_eq!(texts(affix("é", Place::Infix)), ["é", "éa"]);
        let words = Words((0..500).map(|number| alloc::format!("ab{number:03}")).collect());
        let affix = |text: &str, place| by_affix(&words, &Affix { text: text.into(), place }, &ALL);
        assert_eq!(texts(affix("b49", Place::Infix)).len(), 10);
        assert_eq!(
            texts(affix("99", Place::Suffix)),
            ["ab099", "ab199", "ab299", "ab399", "ab499"]
        );
    }
}
