//! `HIGHLIGHT` and `SUMMARIZE`: the words that a query asks for, in the texts that are returned.

use std::collections::BTreeSet;

use quorate_search::{
    Error, Language, Room, Schema,
    analysis::{Forms, Synonyms, stem, words},
    execution::{follows_pattern, is_near},
    query::{Affix, Kind, Node, Place},
};

use super::{
    plans::Target,
    query::{Highlight, Summary},
};

/// The words that a query asks for.
#[derive(Debug)]
pub(super) struct AskedWords {
    schema: Schema,
    language: Language,
    synonyms: Synonyms,
    words: BTreeSet<String>,
    stems: BTreeSet<String>,
    groups: BTreeSet<String>,
    affixes: Vec<Affix>,
    patterns: Vec<String>,
    /// Words, and how many letters may differ.
    near: Vec<(String, u8)>,
}

/// Words between two that are asked for, at most, if they are to be in one fragment.
const FRAGMENT_GAP: usize = 6;

/// Bytes of a word, as a text is measured in which nothing was found.
const WORD_BYTES: usize = 5;

/// Bytes of a word around what was found.
const CONTEXT_WORD_BYTES: usize = 6;

impl AskedWords {
    pub(super) fn new(
        target: &Target,
        language: Language,
        node: &Node,
        verbatim: bool,
    ) -> AskedWords {
        let mut asked = AskedWords {
            schema: target.schema.clone(),
            language,
            synonyms: target.synonyms.clone(),
            words: BTreeSet::new(),
            stems: BTreeSet::new(),
            groups: BTreeSet::new(),
            affixes: Vec::new(),
            patterns: Vec::new(),
            near: Vec::new(),
        };
        asked.collect(&target.schema, node, verbatim);
        asked
    }

    fn collect(&mut self, schema: &Schema, node: &Node, verbatim: bool) {
        match &node.kind {
            Kind::Word(word) => {
                self.words.insert(word.clone());
                if !verbatim {
                    let forms = Forms { schema, synonyms: &self.synonyms, language: self.language };
                    for form in forms.asked(word, node.fields, &node.attributes) {
                        if let Some(stem) = form.strip_prefix('+') {
                            self.stems.insert(stem.to_owned());
                        } else if let Some(group) = form.strip_prefix('~') {
                            self.groups.insert(group.to_owned());
                        } else {
                            self.words.insert(form);
                        }
                    }
                }
            }
            Kind::Phrase(words) => self.words.extend(words.iter().cloned()),
            Kind::Affix(affix) => self.affixes.push(affix.clone()),
            Kind::Wildcard(pattern) => self.patterns.push(pattern.clone()),
            Kind::Fuzzy { word, distance } => self.near.push((word.clone(), *distance)),
            Kind::And(nodes) | Kind::Or(nodes) => {
                nodes.iter().for_each(|node| self.collect(schema, node, verbatim));
            }
            Kind::Optional(inner) | Kind::Nearest { filter: inner, .. } => {
                self.collect(schema, inner, verbatim);
            }
            _ => {}
        }
    }

    fn is_asked(&self, word: &str) -> bool {
        self.words.contains(word)
            || !self.stems.is_empty() && self.stems.contains(&stem(self.language, word))
            || self.synonyms.groups(word).any(|group| self.groups.contains(group))
            || self.affixes.iter().any(|affix| match affix.place {
                Place::Prefix => word.starts_with(&affix.text),
                Place::Suffix => word.ends_with(&affix.text),
                Place::Infix => word.contains(&affix.text),
            })
            || self.patterns.iter().any(|pattern| follows_pattern(pattern, word))
            || self.near.iter().any(|(own, distance)| is_near(own, *distance, word))
    }

    /// A text with the words marked that are asked for, or cut to what is around them. It takes its
    /// bytes of `room`.
    pub(super) fn mark(
        &self,
        text: &str,
        (summary, marks): (Option<&Summary>, Option<&Highlight>),
        room: &mut Room,
    ) -> Result<Vec<u8>, Error> {
        let all = words(text).filter(|word| !self.schema.is_stop_word(&word.text)).enumerate();
        let found: Vec<(usize, usize, usize)> = all
            .filter(|(_, word)| self.is_asked(&word.text))
            .map(|(number, word)| (number, word.start, word.end))
            .collect();
        let mut out = Vec::new();
        let Some(summary) = summary else {
            highlight(&mut out, (text, 0, text.len()), &found, marks, room)?;
            return Ok(out);
        };
        if found.is_empty() {
            let bytes = summary.words.saturating_mul(WORD_BYTES);
            let end = bytes.saturating_mul(summary.fragments).min(text.len());
            let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(end);
            highlight(&mut out, (text, 0, end), &found, None, room)?;
            return Ok(out);
        }
        let chosen = fragments(&found, summary.fragments);
        let mut before = 0;
        for (at, &(first, last)) in chosen.iter().enumerate() {
            let end = fragment_end(text, found[last].2);
            let after = chosen.get(at + 1).map_or(text.len() - 1, |(next, _)| found[*next].1);
            let others = found[last].0 - found[first].0 - (last - first);
            let spare = summary.words.saturating_sub(others) / 2 * CONTEXT_WORD_BYTES;
            let begin = begin_of(text, (before, found[first].1), spare);
            let part = (text, begin, end_of(text, (end, after), spare));
            highlight(&mut out, part, &found, marks, room)?;
            room.take(summary.separator.len())?;
            out.extend_from_slice(&summary.separator);
            before = end;
        }
        Ok(out)
    }
}

/// The best fragments, by how many words each has, in the order of the text: the first and the
/// last of their words.
fn fragments(found: &[(usize, usize, usize)], most: usize) -> Vec<(usize, usize)> {
    let mut all: Vec<(usize, usize)> = Vec::new();
    for (at, (number, ..)) in found.iter().enumerate() {
        match all.last_mut() {
            Some((_, last)) if number - found[*last].0 <= FRAGMENT_GAP => *last = at,
            _ => all.push((at, at)),
        }
    }
    all.sort_by_key(|(first, last)| std::cmp::Reverse(last - first));
    all.truncate(most);
    all.sort_unstable();
    all
}

/// Where a fragment ends by itself: behind the sign that follows its last word.
fn fragment_end(text: &str, end: usize) -> usize {
    end + usize::from(text.as_bytes().get(end).is_some_and(|byte| is_separator(*byte)))
}

/// Where a fragment with what is before it begins: up to so many bytes before, behind a word that
/// is not whole, or may not be.
fn begin_of(text: &str, (limit, start): (usize, usize), spare: usize) -> usize {
    let from = start.saturating_sub(spare).max(limit);
    let part = &text.as_bytes()[from..start];
    let Some(gap) = part.iter().position(|byte| is_separator(*byte)) else { return start };
    let word = part[gap..].iter().position(|byte| !is_separator(*byte));
    word.map_or(start, |word| from + gap + word)
}

/// Where a fragment with what is behind it ends: up to so many bytes behind, at the end of a word.
fn end_of(text: &str, (end, limit): (usize, usize), spare: usize) -> usize {
    let to = end.saturating_add(spare).min(limit.max(end));
    let part = &text.as_bytes()[end..to];
    let Some(gap) = part.iter().rposition(|byte| is_separator(*byte)) else { return end };
    let word = part[..=gap].iter().rposition(|byte| !byte.is_ascii_whitespace());
    word.map_or(end, |word| end + word + 1)
}

/// Signs that words are taken apart by.
fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_punctuation() && byte != b'_'
}

/// Writes a part of a text, with what was found in it between tags.
fn highlight(
    out: &mut Vec<u8>,
    (text, start, end): (&str, usize, usize),
    found: &[(usize, usize, usize)],
    marks: Option<&Highlight>,
    room: &mut Room,
) -> Result<(), Error> {
    let mut at = start;
    room.take(end - start)?;
    if let Some(marks) = marks {
        // They are in their order, so those of a part are found without looking at all.
        let first = found.partition_point(|(_, from, _)| *from < start);
        for &(_, from, to) in found[first..].iter().take_while(|(.., to)| *to <= end) {
            room.take(marks.open.len() + marks.close.len())?;
            out.extend_from_slice(&text.as_bytes()[at..from]);
            out.extend_from_slice(&marks.open);
            out.extend_from_slice(&text.as_bytes()[from..to]);
            out.extend_from_slice(&marks.close);
            at = to;
        }
    }
    out.extend_from_slice(&text.as_bytes()[at..end]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_whole_words_around_what_was_found() {
        let text = "The quick, brown fox jumps high";
        let fox = (17, 21);
        assert_eq!(fragment_end(text, 20), 21);
        let around =
            |spare| &text[begin_of(text, (0, fox.0), spare)..end_of(text, (fox.1, 30), spare)];
        assert_eq!(around(0), "fox ");
        assert_eq!(around(6), "fox jumps");
        assert_eq!(around(7), "brown fox jumps");
        // The first word and the last one of a text are not known to be whole.
        assert_eq!(around(50), "quick, brown fox jumps");
        assert_eq!(begin_of(text, (11, 17), 50), 17);
        assert_eq!(fragments(&[(3, 16, 19)], 1), [(0, 0)]);
        assert_eq!(fragments(&[(0, 0, 1), (3, 4, 5), (20, 30, 31)], 1), [(0, 1)]);
    }

    #[test]
    fn tags_take_of_the_room_before_they_are_written() {
        let marks = Highlight { fields: None, open: vec![b'<'; 400], close: vec![b'>'; 100] };
        let found: Vec<(usize, usize, usize)> = (0..4).map(|n| (n, 2 * n, 2 * n + 1)).collect();
        let mut out = Vec::new();
        let mut room = Room::new(2_006);
        assert!(highlight(&mut out, ("a b c d", 0, 7), &found, Some(&marks), &mut room).is_err());
        assert!(out.len() < 1_600, "{}", out.len());
        let (mut out, mut room) = (Vec::new(), Room::new(2_007));
        assert_eq!(highlight(&mut out, ("a b c d", 0, 7), &found, Some(&marks), &mut room), Ok(()));
        assert_eq!((out.len(), room.left()), (2_007, 0));
    }
}
