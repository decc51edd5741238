//! The fields of documents as they are returned: `RETURN`, and which of them are marked or cut.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use quorate_proto::{command::Call, resp::format_double};
use quorate_search::{
    Error, Language, Room, Schema,
    execution::Hit,
    query::{Dialect, Node},
};

use super::{
    marks::AskedWords,
    pieces::is_json,
    plans::{Target, document_pieces, strings},
    query::{Highlight, Query, Summary},
};

/// Names and values, which are shared where they are the same.
type Pairs = Vec<(Bytes, Bytes)>;

/// A field that is returned.
#[derive(Debug)]
struct Returned {
    /// What the query calls it.
    name: Vec<u8>,
    /// Which of the paths that are read it is, if it is in the document.
    path: Option<usize>,
    /// The name under which it is returned.
    shown: Bytes,
}

/// How documents of a query are read and shown.
#[derive(Debug)]
pub(super) struct Presenter {
    schema: Schema,
    is_json: bool,
    arrays: bool,
    /// None: all.
    returned: Option<Vec<Returned>>,
    /// What is read of a document, each once; none: all of it.
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
        let mut paths = query.returned.as_ref().map(|_| Vec::new());
        let returned = query.returned.as_ref().map(|names| {
            let paths = paths.get_or_insert_default();
            let mut places = BTreeMap::new();
            let one = |(name, shown): &(Vec<u8>, Vec<u8>)| {
                let path = path_of(&schema, name).map(|path| {
                    *places.entry(path.clone()).or_insert_with(|| {
                        paths.push(path);
                        paths.len() - 1
                    })
                });
                Returned { name: name.clone(), path, shown: shown.clone().into() }
            };
            names.iter().map(one).collect()
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

    /// The fields of a document, and its payload; none if there is no document any more. What is
    /// answered takes of `room`, once for each name.
    pub(super) fn fields(
        &self,
        hit: &Hit,
        replies: &[&Bytes],
        room: &mut Room,
    ) -> Result<Option<(Pairs, Option<Bytes>)>, Error> {
        room.take(hit.key.len() + ROW_BYTES)?;
        let Some(returned) = &self.returned else {
            let Some(all) = replies.first().and_then(|reply| self.all(reply)) else {
                return Ok(None);
            };
            let payload = self.schema.payload_field.as_ref();
            let payload = payload.and_then(|name| all.iter().find(|(own, _)| *own == *name));
            let payload = payload.map(|(_, value)| value.clone());
            let distances = hit.distances.iter();
            let mut pairs: Pairs = distances
                .map(|(name, distance)| {
                    (name.clone().into_bytes().into(), format_double(*distance).into())
                })
                .collect();
            pairs.extend(self.ordered(all, hit));
            for (name, value) in &mut pairs {
                *value = self.marked(name, value, room)?;
                room.take(name.len() + value.len() + PAIR_BYTES)?;
            }
            return Ok(Some((pairs, payload)));
        };
        let Some(values) = self.values(replies) else { return Ok(None) };
        let mut marked: BTreeMap<(usize, bool, bool), Bytes> = BTreeMap::new();
        let mut pairs = Vec::new();
        for Returned { name, path, shown } in returned {
            let distance = hit.distances.iter().find(|(own, _)| own.as_bytes() == name);
            let value = match (distance, *path) {
                (Some((_, distance)), _) => Some(format_double(*distance).into()),
                (None, Some(path)) => match &values[path] {
                    None => None,
                    Some(value) => {
                        let (summary, marks) = self.wanted(shown);
                        // The same text is marked once, whatever it is called.
                        let how = (path, summary.is_some(), marks.is_some());
                        Some(match marked.entry(how) {
                            Entry::Occupied(known) => known.get().clone(),
                            Entry::Vacant(place) => {
                                place.insert(self.marked(shown, value, room)?).clone()
                            }
                        })
                    }
                },
                (None, None) => None,
            };
            if let Some(value) = value {
                room.take(shown.len() + value.len() + PAIR_BYTES)?;
                pairs.push((shown.clone(), value));
            }
        }
        Ok(Some((pairs, None)))
    }

    /// All fields of a document.
    fn all(&self, reply: &Bytes) -> Option<Pairs> {
        let found = strings(reply)?;
        if self.is_json {
            let text = found.into_iter().next()??;
            let text = if self.arrays { [b"[", &*text, b"]"].concat().into() } else { text };
            return Some(vec![(Bytes::from_static(b"$"), text)]);
        }
        let pairs: Pairs = found
            .chunks(2)
            .filter_map(|pair| match pair {
                [Some(name), Some(value)] => Some((name.clone(), value.clone())),
                _ => None,
            })
            .collect();
        (!pairs.is_empty()).then_some(pairs)
    }

    /// What documents are sorted by comes first, then what is marked.
    fn ordered(&self, mut all: Pairs, hit: &Hit) -> Pairs {
        let mut ordered = Pairs::new();
        let named = |fields: Option<&Vec<Vec<u8>>>| fields.cloned().unwrap_or_default();
        let mut first: Vec<Vec<u8>> = self.sort_name.iter().cloned().collect();
        first.extend(named(self.summary.as_ref().and_then(|summary| summary.fields.as_ref())));
        first.extend(named(self.highlight.as_ref().and_then(|marks| marks.fields.as_ref())));
        for name in first {
            let path = path_of(&self.schema, &name).unwrap_or_else(|| name.clone());
            if let Some(at) = all.iter().position(|(own, _)| *own == path) {
                ordered.push((name.into(), all.remove(at).1));
            } else if self.is_json && self.sort_name.as_ref() == Some(&name) {
                let value = hit.sorted_by.as_ref().and_then(|by| by.value.as_ref());
                ordered.extend(value.map(|value| (name.into(), plain(value).into())));
            }
        }
        ordered.extend(all);
        ordered
    }

    /// The values at the paths that are read, in their order.
    fn values(&self, replies: &[&Bytes]) -> Option<Vec<Option<Bytes>>> {
        if replies.is_empty() {
            return Some(Vec::new());
        }
        if !self.is_json {
            return strings(replies.first()?);
        }
        let one = |reply: &&Bytes| {
            let text = strings(reply)?.into_iter().next()??;
            if self.arrays {
                return (&*text != b"[]").then_some(text);
            }
            first_item(&text).map(Bytes::from)
        };
        Some(replies.iter().map(one).collect())
    }

    /// How the field that is returned under this name is cut and marked.
    fn wanted(&self, name: &[u8]) -> (Option<&Summary>, Option<&Highlight>) {
        if self.asked.is_none() {
            return (None, None);
        }
        let is_text = self.schema.text_fields().any(|(_, field)| field.name == name);
        let wanted = |fields: &Option<Vec<Vec<u8>>>| {
            fields.as_ref().map_or(is_text, |fields| fields.iter().any(|own| own == name))
        };
        let summary = self.summary.as_ref().filter(|summary| wanted(&summary.fields));
        let marks = self.highlight.as_ref().filter(|marks| wanted(&marks.fields));
        (summary, marks)
    }

    /// A value with its words marked, or cut to what is around these.
    fn marked(&self, name: &[u8], value: &Bytes, room: &mut Room) -> Result<Bytes, Error> {
        let how = self.wanted(name);
        let Some(asked) = self.asked.as_ref().filter(|_| how.0.is_some() || how.1.is_some()) else {
            return Ok(value.clone());
        };
        let Ok(text) = std::str::from_utf8(value) else { return Ok(value.clone()) };
        asked.mark(text, how, room).map(Bytes::from)
    }
}

/// Bytes of a document in an answer besides its key and its fields, about.
const ROW_BYTES: usize = 128;

/// Bytes of a field in an answer besides its name and its value, about.
const PAIR_BYTES: usize = 64;

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
}
