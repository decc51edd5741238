//! Letters that a pattern cannot do without, and the documents that may have them.
//!
//! A piece is a run of at least three letters, digits or `_` of ASCII that is in every text that
//! follows the pattern, or of which one of several is; no two pieces share a letter of the
//! pattern. A letter that differs spoils at most one piece. So of n pieces a text that differs by
//! at most d letters has at least n - d, whole; and since such a run never reaches beyond a word,
//! there is a word of the document in which it is. Words that are not indexed, stop words, could
//! hide a piece, so a piece that is a part of one does not count; nor is a word known behind its
//! first [`TERM_BYTES`](limits::TERM_BYTES), so one that is as long may have any piece.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::Regex;
use super::pattern::Node;
use crate::index::Index;
use crate::limits;

/// Letters of a piece at least.
const LETTERS: usize = 3;

/// More pieces would cost more than they save.
const PIECES_MAX: usize = 16;

/// One of several runs of letters, in lower case.
type Piece = Vec<String>;

/// The documents in which the pattern may be; none: it may be in any.
pub(super) fn candidates(index: &Index, regex: &Regex) -> Option<RoaringBitmap> {
    if index.schema().fields[usize::from(regex.field.0)].no_index {
        return None;
    }
    let mut pieces = pieces(&regex.pattern.node);
    pieces.retain(|piece| !piece.iter().any(|run| index.schema().hides(run)));
    pieces.truncate(PIECES_MAX);
    let needed = pieces.len().checked_sub(usize::from(regex.distance)).filter(|&n| n > 0)?;
    let mut found = vec![RoaringBitmap::new(); pieces.len()];
    for (term, _) in index.terms.from("") {
        for (piece, found) in pieces.iter().zip(&mut found) {
            let is_cut = term.len() + char::MAX.len_utf8() > limits::TERM_BYTES;
            if is_cut || piece.iter().any(|run| term.contains(run.as_str())) {
                let mut reader = index.terms.get(term).map(|postings| postings.reader());
                let mut target = 0;
                while let Some(id) = reader.as_mut().and_then(|reader| reader.seek(target)) {
                    found.insert(id);
                    target = id.saturating_add(1);
                    if id == u32::MAX {
                        break;
                    }
                }
            }
        }
    }
    let mut any = RoaringBitmap::new();
    found.iter().for_each(|found| any |= found);
    let enough = |id: &u32| found.iter().filter(|found| found.contains(*id)).count() >= needed;
    Some(any.into_iter().filter(enough).collect())
}

/// The pieces of a part of a pattern.
pub(super) fn pieces(node: &Node) -> Vec<Piece> {
    match node {
        Node::Start | Node::End | Node::One(_) => Vec::new(),
        Node::Repeat { least: 0, .. } => Vec::new(),
        Node::Repeat { node, .. } => pieces(node),
        Node::Either(nodes) => {
            let each: Option<Vec<Piece>> = nodes.iter().map(|node| best(pieces(node))).collect();
            each.map(|each| vec![each.concat()]).unwrap_or_default()
        }
        Node::Sequence(nodes) => {
            let mut all = Vec::new();
            let mut run = String::new();
            for node in nodes {
                let letter = match node {
                    Node::One(set) => set.letter(),
                    _ => None,
                };
                match letter.filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_') {
                    Some(letter) => run.push(letter.to_ascii_lowercase()),
                    None => {
                        split(&mut run, &mut all);
                        all.extend(pieces(node));
                    }
                }
            }
            split(&mut run, &mut all);
            all
        }
    }
}

/// The piece whose shortest run is the longest.
fn best(pieces: Vec<Piece>) -> Option<Piece> {
    pieces.into_iter().max_by_key(|piece| piece.iter().map(String::len).min())
}

/// Takes a run apart into as many pieces as it has room for.
fn split(run: &mut String, pieces: &mut Vec<Piece>) {
    while run.len() >= 2 * LETTERS {
        let rest = run.split_off(LETTERS);
        pieces.push(vec![core::mem::replace(run, rest)]);
    }
    if run.len() >= LETTERS {
        pieces.push(vec![run.clone()]);
    }
    run.clear();
}
