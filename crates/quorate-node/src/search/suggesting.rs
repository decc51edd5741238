//! Dictionaries that complete texts: `FT.SUGADD`, `FT.SUGGET`, `FT.SUGDEL`, `FT.SUGLEN`.
//!
//! A dictionary is a hash: a field for each text, with its score and, behind a space, its payload. So
//! it converges, expires, is copied and backed up like any hash; scores that are incremented on
//! several nodes add up, as long as the text has no payload.

use bytes::Bytes;
use quorate_proto::{
    Slot,
    command::Call,
    resp::{Command, ReplyWriter, format_double, parse_double, parse_integer},
};
use quorate_search::suggestions::{FOUND, Suggestions};

use super::plans::{failed, strings};
use crate::shard::{Plan, Step};

/// A command on a dictionary.
#[derive(Debug)]
pub(crate) struct Suggest {
    key: Vec<u8>,
    asked: Asked,
    resp3: bool,
    /// How many steps are behind.
    step: u8,
}

#[derive(Debug)]
enum Asked {
    Add { text: Vec<u8>, score: f64, increments: bool, payload: Option<Vec<u8>> },
    Find(Find),
    Remove { text: Vec<u8> },
    Count,
}

/// `FT.SUGGET`
#[derive(Debug)]
struct Find {
    typed: String,
    fuzzy: bool,
    with_scores: bool,
    with_payloads: bool,
    most: usize,
}

impl Suggest {
    /// Reads a command, named in lower case, with its arguments.
    pub(crate) fn new(name: &str, arguments: &[&[u8]], resp3: bool) -> Result<Suggest, String> {
        let text = || arguments.get(1).copied().unwrap_or_default().to_vec();
        let asked = match name {
            "ft.sugadd" => read_add(text(), &arguments[2..])?,
            "ft.sugget" => Asked::Find(Find::read(&text(), &arguments[2..])?),
            "ft.sugdel" => Asked::Remove { text: text() },
            _ => Asked::Count,
        };
        Ok(Suggest { key: arguments[0].to_vec(), asked, resp3, step: 0 })
    }

    fn run(&mut self, name: &[u8], words: &[&[u8]]) -> Step {
        self.step += 1;
        let all = [name, &self.key].into_iter().chain(words.iter().copied());
        Step::Run(vec![Call::piece(Slot::of_key(&self.key), Command::from_args(all))])
    }

    /// Adds a text, of which this is known, if a score is to be added to.
    fn add(&mut self, known: Option<&[u8]>) -> Step {
        let Asked::Add { text, score, increments, payload } = &self.asked else {
            return failed("ERR no text is to be added");
        };
        let (text, mut score, mut payload) = (text.clone(), *score, payload.clone());
        if let Some((before, kept)) = known.and_then(read_entry) {
            if kept.is_none() && payload.is_none() {
                let score = format_double(score).into_bytes();
                return self.run(b"HINCRBYFLOAT", &[&text, &score]);
            }
            score += before;
            payload = payload.or(kept.map(<[u8]>::to_vec));
        } else if *increments && payload.is_none() {
            let score = format_double(score).into_bytes();
            return self.run(b"HINCRBYFLOAT", &[&text, &score]);
        }
        let mut entry = format_double(score).into_bytes();
        if let Some(payload) = payload {
            entry.push(b' ');
            entry.extend_from_slice(&payload);
        }
        self.run(b"HSET", &[&text, &entry])
    }
}

impl Plan for Suggest {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let first = replies.first().cloned().unwrap_or_default();
        match (&self.asked, self.step) {
            (Asked::Add { text, increments: true, .. }, 0) => {
                let text = text.clone();
                self.run(b"HGET", &[&text])
            }
            (Asked::Add { increments: false, .. }, 0) => {
                self.step = 1;
                self.add(None)
            }
            (Asked::Add { .. }, 1) => {
                let known = strings(&first).and_then(|found| found.into_iter().next().flatten());
                self.add(known.as_deref())
            }
            (Asked::Add { .. }, 2) | (Asked::Count, 0) => self.run(b"HLEN", &[]),
            (Asked::Remove { text }, 0) => {
                let text = text.clone();
                self.run(b"HDEL", &[&text])
            }
            (Asked::Find(_), 0) => self.run(b"HGETALL", &[]),
            (Asked::Find(find), _) => match strings(&first) {
                // There is no such dictionary.
                Some(pairs) if pairs.is_empty() => {
                    let mut out = Vec::new();
                    ReplyWriter::new(&mut out, self.resp3).null();
                    Step::Done(out)
                }
                Some(pairs) => Step::Done(find.reply(&pairs, self.resp3)),
                None => failed("ERR the dictionary cannot be read"),
            },
            (Asked::Add { .. } | Asked::Remove { .. } | Asked::Count, _) => {
                Step::Done(first.to_vec())
            }
        }
    }
}

fn read_add(text: Vec<u8>, words: &[&[u8]]) -> Result<Asked, String> {
    let (score, mut rest) = words.split_first().ok_or("ERR invalid score")?;
    let score = parse_double(score).filter(|score| score.is_finite());
    let score = score.ok_or("ERR invalid score")?;
    let (mut increments, mut payload) = (false, None);
    while let Some((word, behind)) = rest.split_first() {
        rest = behind;
        if word.eq_ignore_ascii_case(b"INCR") {
            increments = true;
        } else if word.eq_ignore_ascii_case(b"PAYLOAD") {
            let (own, behind) = rest.split_first().ok_or("ERR Invalid payload")?;
            (payload, rest) = (Some(own.to_vec()), behind);
        } else {
            return Err(unknown(word));
        }
    }
    if text.is_empty() {
        // Nothing is added.
        return Ok(Asked::Count);
    }
    Ok(Asked::Add { text, score, increments, payload })
}

fn unknown(word: &[u8]) -> String {
    format!("SEARCH_ARG_UNRECOGNIZED Unknown argument `{}`", String::from_utf8_lossy(word))
}

/// A score and a payload.
fn read_entry(entry: &[u8]) -> Option<(f64, Option<&[u8]>)> {
    let end = entry.iter().position(|byte| *byte == b' ').unwrap_or(entry.len());
    let (score, payload) = entry.split_at(end);
    Some((parse_double(score)?, payload.split_first().map(|(_, payload)| payload)))
}

impl Find {
    fn read(typed: &[u8], mut rest: &[&[u8]]) -> Result<Find, String> {
        let typed = String::from_utf8_lossy(typed).into_owned();
        let mut find =
            Find { typed, fuzzy: false, with_scores: false, with_payloads: false, most: FOUND };
        while let Some((word, behind)) = rest.split_first() {
            rest = behind;
            match word.to_ascii_uppercase().as_slice() {
                b"FUZZY" => find.fuzzy = true,
                b"WITHSCORES" => find.with_scores = true,
                b"WITHPAYLOADS" => find.with_payloads = true,
                b"MAX" => {
                    let most = rest.first().and_then(|most| parse_integer(most));
                    let most = most.and_then(|most| usize::try_from(most).ok());
                    let most = most.filter(|most| *most > 0);
                    find.most = most.ok_or("SEARCH_PARSE_ARGS MAX requires a positive integer")?;
                    rest = &rest[1..];
                }
                _ => return Err(unknown(word)),
            }
        }
        Ok(find)
    }

    fn reply(&self, pairs: &[Option<Bytes>], resp3: bool) -> Vec<u8> {
        let mut texts = Suggestions::default();
        for pair in pairs.chunks(2) {
            let [Some(text), Some(entry)] = pair else { continue };
            // A field that is none of ours counts as nothing.
            let Some((score, payload)) = read_entry(entry) else { continue };
            texts.add(&String::from_utf8_lossy(text), score, false, payload);
        }
        let found = texts.get(&self.typed, self.fuzzy, self.most);
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, resp3);
        let each = 1 + usize::from(self.with_scores) + usize::from(self.with_payloads);
        writer.array(found.len() * each);
        for suggestion in found {
            writer.text(suggestion.text);
            if self.with_scores {
                writer.double(f64::from(suggestion.score));
            }
            if self.with_payloads {
                writer.optional(suggestion.payload);
            }
        }
        out
    }
}
