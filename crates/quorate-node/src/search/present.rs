//! The fields of documents as they are returned: `RETURN`, `HIGHLIGHT`, `SUMMARIZE`.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_proto::{command::Call, resp::format_double};
use quorate_search::{
    Language, Schema,
    analysis::{Forms, Synonyms, stem, words},
    execution::Hit,
    query::{Affix, Dialect, Kind, Node, Place},
};

use super::{
    pieces::is_json,
    plans::{Target, document_pieces, strings},
    query::{Highlight, Query, Summary},
};

/// Names and values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// How documents of a query are read and shown.
#[derive(Debug)]
pub(super) struct Presenter {
    schema: Schema,
    is_json: bool,
    arrays: bool,
    /// Where what is returned stands, and under which names it is; none: all.
    returned: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    /// What is read of a document; none: all of it.
    paths: Option<Vec<Vec<u8>>>,
    sort_name: Option<Vec<u8>>,
    summary: Option<Summary>,
    highlight: Option<Highlight>,
    asked: Option<AskedWords>,
}

impl Presenter {
    pub(super) fn new(target: &Target, query: &Query, node: &Node) -> Presenter {
        let schema = target.schema.clone();
        let is_json = is_json(&schema);
        let returned = query.returned.clone();
        let paths = returned.as_ref().map(|returned| {
            let path = |(name, _): &(Vec<u8>, Vec<u8>)| path_of(&schema, name);
            returned.iter().filter_map(path).collect::<Vec<_>>()
        });
        let language = query.language.or(schema.language).unwrap_or(Language::English);
        let marks = query.summary.is_some() || query.highlight.is_some();
        Presenter {
            asked: marks.then(|| AskedWords::new(target, language, node, query.verbatim)),
            is_json,
            arrays: query.dialect >= Dialect::Three,
            returned,
            paths,
            sort_name: query.sort.as_ref().map(|sort| sort.name.clone()),
            summary: query.summary.clone(),
            highlight: query.highlight.clone(),
            schema,
        }
    }

    /// What reads a document.
    pub(super) fn pieces(&self, key: &[u8]) -> Vec<Call> {
        match &self.paths {
            Some(paths) if paths.is_empty() => Vec::new(),
            paths => document_pieces(&self.schema, key, paths.as_deref()),
        }
    }

    pub(super) fn pieces_per_document(&self) -> usize {
        match &self.paths {
            Some(paths) if self.is_json => paths.len(),
            Some(paths) if paths.is_empty() => 0,
            _ => 1,
        }
    }

    /// The fields of a document, and its payload; none if there is no document any more.
    pub(super) fn fields(&self, hit: &Hit, replies: &[&Bytes]) -> Option<(Pairs, Option<Vec<u8>>)> {
        let distance = |name: &[u8]| {
            let found = hit.distances.iter().find(|(own, _)| own.as_bytes() == name);
            found.map(|(_, distance)| format_double(*distance).into_bytes())
        };
        let Some(returned) = &self.returned else {
            let mut pairs: Pairs = hit
                .distances
                .iter()
                .map(|(name, distance)| {
                    (name.clone().into_bytes(), format_double(*distance).into_bytes())
                })
                .collect();
            let all = self.all(replies.first()?)?;
            let payload = self.schema.payload_field.as_ref().and_then(|name| {
                all.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
            });
            pairs.extend(self.ordered(all, hit));
            return Some((self.marked(pairs), payload));
        };
        let values = self.values(replies)?;
        let mut values = values.into_iter();
        let mut pairs = Vec::new();
        for (name, shown) in returned {
            let read = path_of(&self.schema, name).map(|_| values.next().flatten());
            if let Some(value) = distance(name).or(read.flatten()) {
                pairs.push((shown.clone(), value));
            }
        }
        Some((self.marked(pairs), None))
    }

    /// All fields of a document.
    fn all(&self, reply: &Bytes) -> Option<Pairs> {
        let found = strings(reply)?;
        if self.is_json {
            let text = found.into_iter().next()??.to_vec();
            let text = if self.arrays { [b"[", text.as_slice(), b"]"].concat() } else { text };
            return Some(vec![(b"$".to_vec(), text)]);
        }
        let pairs: Pairs = found
            .chunks(2)
            .filter_map(|pair| match pair {
                [Some(name), Some(value)] => Some((name.to_vec(), value.to_vec())),
                _ => None,
            })
            .collect();
        (!pairs.is_empty()).then_some(pairs)
    }

    /// What documents are sorted by comes first, then what is marked.
    fn ordered(&self, mut all: Pairs, hit: &Hit) -> Pairs {
        let mut ordered = Vec::new();
        let named = |fields: Option<&Vec<Vec<u8>>>| fields.cloned().unwrap_or_default();
        let mut first: Vec<Vec<u8>> = self.sort_name.iter().cloned().collect();
        first.extend(named(self.summary.as_ref().and_then(|summary| summary.fields.as_ref())));
        first.extend(named(self.highlight.as_ref().and_then(|marks| marks.fields.as_ref())));
        for name in first {
            let path = path_of(&self.schema, &name).unwrap_or_else(|| name.clone());
            if let Some(at) = all.iter().position(|(own, _)| *own == path) {
                ordered.push((name, all.remove(at).1));
            } else if self.is_json && self.sort_name.as_ref() == Some(&name) {
                let value = hit.sorted_by.as_ref().and_then(|by| by.value.as_ref());
                ordered.extend(value.map(|value| (name, plain(value))));
            }
        }
        ordered.extend(all);
        ordered
    }

    /// The values at the paths that are read, in their order.
    fn values(&self, replies: &[&Bytes]) -> Option<Vec<Option<Vec<u8>>>> {
        if replies.is_empty() {
            return Some(Vec::new());
        }
        if !self.is_json {
            let found = strings(replies.first()?)?;
            return Some(
                found.into_iter().map(|value| value.map(|value| value.to_vec())).collect(),
            );
        }
        let one = |reply: &&Bytes| {
            let text = strings(reply)?.into_iter().next()??;
            if self.arrays {
                return (&*text != b"[]").then(|| text.to_vec());
            }
            first_item(&text)
        };
        Some(replies.iter().map(one).collect())
    }

    /// Fields with their words marked, or cut to what is around these.
    fn marked(&self, mut pairs: Pairs) -> Pairs {
        let Some(asked) = &self.asked else { return pairs };
        for (name, value) in &mut pairs {
            let is_text = self.schema.text_fields().any(|(_, field)| field.name == *name);
            let wanted = |fields: &Option<Vec<Vec<u8>>>| {
                fields.as_ref().map_or(is_text, |fields| fields.contains(name))
            };
            let summary = self.summary.as_ref().filter(|summary| wanted(&summary.fields));
            let marks = self.highlight.as_ref().filter(|marks| wanted(&marks.fields));
            if summary.is_none() && marks.is_none() {
                continue;
            }
            let Ok(text) = std::str::from_utf8(value) else { continue };
            *value = asked.mark(text, summary, marks);
        }
        pairs
    }
}

fn plain(value: &quorate_search::index::SortValue) -> Vec<u8> {
    match value {
        quorate_search::index::SortValue::Number(number) => format_double(*number).into_bytes(),
        quorate_search::index::SortValue::Text(text) => text.as_bytes().to_vec(),
    }
}

/// Where what a query calls `name` stands in a document.
fn path_of(schema: &Schema, name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_prefix(b"@").unwrap_or(name);
    let is_path = !is_json(schema) || name.starts_with(b"$");
    let found = schema.position(name).map(|(_, field)| field.path.clone());
    found.or_else(|| is_path.then(|| name.to_vec()))
}

/// The first item of a JSON array, a text without its quotes.
fn first_item(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut end = inner.len();
    for (at, &byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let item = &inner[..end];
    match item.first()? {
        b'"' => serde_json::from_slice::<String>(item).ok().map(String::into_bytes),
        _ if item == b"null" => None,
        _ => Some(item.to_vec()),
    }
}

/// The words that a query asks for.
#[derive(Debug)]
struct AskedWords {
    language: Language,
    synonyms: Synonyms,
    words: BTreeSet<String>,
    stems: BTreeSet<String>,
    groups: BTreeSet<String>,
    affixes: Vec<Affix>,
}

/// Words between two that are asked for, at most, if they are to be in one fragment.
const FRAGMENT_GAP: usize = 6;

/// Bytes of a word as fragments are measured.
const WORD_BYTES: usize = 5;

impl AskedWords {
    fn new(target: &Target, language: Language, node: &Node, verbatim: bool) -> AskedWords {
        let mut asked = AskedWords {
            language,
            synonyms: target.synonyms.clone(),
            words: BTreeSet::new(),
            stems: BTreeSet::new(),
            groups: BTreeSet::new(),
            affixes: Vec::new(),
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
    }

    fn mark(&self, text: &str, summary: Option<&Summary>, marks: Option<&Highlight>) -> Vec<u8> {
        let found: Vec<(usize, usize, usize)> = words(text)
            .enumerate()
            .filter(|(_, word)| self.is_asked(&word.text))
            .map(|(number, word)| (number, word.start, word.end))
            .collect();
        let Some(summary) = summary else {
            return highlighted(text, (0, text.len()), &found, marks);
        };
        let budget = summary.words.saturating_mul(WORD_BYTES);
        if found.is_empty() {
            let end = budget.saturating_mul(summary.fragments).min(text.len());
            let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(end);
            return text.as_bytes()[..end].to_vec();
        }
        let mut out = Vec::new();
        for (first, last) in fragments(&found, summary.fragments) {
            let (start, end) = (found[first].1, found[last].2);
            let spare = budget.saturating_sub(end - start) / 2;
            let range = (begin_of(text, start, spare), end_of(text, end, spare));
            out.extend_from_slice(&highlighted(text, range, &found, marks));
            out.extend_from_slice(&summary.separator);
        }
        out
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

/// Where a fragment begins: up to so many bytes before, at the beginning of a word.
fn begin_of(text: &str, start: usize, spare: usize) -> usize {
    let Some(from) = start.checked_sub(spare).filter(|from| *from > 0) else { return 0 };
    let from = (from..=start).find(|at| text.is_char_boundary(*at)).unwrap_or(start);
    let gap = text[from..start].find(char::is_whitespace);
    gap.map_or(start, |gap| {
        let rest = &text[from + gap..start];
        start - rest.trim_start().len()
    })
}

/// Where a fragment ends: up to so many bytes behind, at the end of a word.
fn end_of(text: &str, end: usize, spare: usize) -> usize {
    let to = end.saturating_add(spare);
    if to > text.len() {
        return text.len();
    }
    let to = (end..=to).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(end);
    let gap = text[end..to].rfind(char::is_whitespace);
    gap.map_or(end, |gap| end + text[end..end + gap].trim_end().len())
}

/// A part of a text, with what was found in it between tags.
fn highlighted(
    text: &str,
    (start, end): (usize, usize),
    found: &[(usize, usize, usize)],
    marks: Option<&Highlight>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = start;
    if let Some(marks) = marks {
        for &(_, from, to) in found.iter().filter(|(_, from, to)| *from >= start && *to <= end) {
            out.extend_from_slice(&text.as_bytes()[at..from]);
            out.extend_from_slice(&marks.open);
            out.extend_from_slice(&text.as_bytes()[from..to]);
            out.extend_from_slice(&marks.close);
            at = to;
        }
    }
    out.extend_from_slice(&text.as_bytes()[at..end]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_item_of_an_array_is_found_and_unquoted() {
        let cases: [(&str, Option<&str>); 7] = [
            (r#"["a,\"b",2]"#, Some("a,\"b")),
            ("[1.50,2]", Some("1.50")),
            (r#"[{"a":[1,2]},3]"#, Some(r#"{"a":[1,2]}"#)),
            ("[null]", None),
            ("[]", None),
            ("no array", None),
            ("[true]", Some("true")),
        ];
        for (text, expected) in cases {
            let found = first_item(text.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn fragments_are_whole_words_around_what_was_found() {
        let text = "the quick brown fox jumps";
        let found = [(3, 16, 19)];
        assert_eq!(fragments(&found, 1), [(0, 0)]);
        assert_eq!((begin_of(text, 16, 6), end_of(text, 19, 6)), (16, 19));
        assert_eq!((begin_of(text, 16, 7), end_of(text, 19, 7)), (10, 25));
        assert_eq!((begin_of(text, 16, 50), end_of(text, 19, 50)), (0, 25));
        assert_eq!(fragments(&[(0, 0, 1), (3, 4, 5), (20, 30, 31)], 1), [(0, 1)]);
    }
}
