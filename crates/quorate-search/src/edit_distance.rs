//! How many letters differ between a word and many others (Levenshtein), met in their order.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// The least text that is behind all those that begin like this.
pub(crate) fn behind(beginning: &str) -> Option<String> {
    let mut text = beginning.to_string();
    while let Some(last) = text.pop() {
        let next = (u32::from(last) + 1..=0x10_ffff).find_map(char::from_u32);
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// How a candidate differs from a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Differs {
    /// The candidate as a whole.
    pub(crate) whole: usize,
    /// The beginning of it that differs least.
    pub(crate) beginning: usize,
}

/// The table of distances between a word and the beginnings of a candidate: a row a letter. Rows
/// that the next candidate shares are kept.
pub(crate) struct Rows {
    word: Vec<char>,
    most: usize,
    candidate: Vec<char>,
    /// Distances to the beginnings of the word, and the least one to the word of all rows so far.
    rows: Vec<(Vec<usize>, usize)>,
}

impl Rows {
    /// For candidates that differ by `most` letters, as a whole or by their beginnings.
    pub(crate) fn new(word: &str, most: usize) -> Self {
        let word: Vec<char> = word.chars().collect();
        let first = (0..=word.len()).collect();
        let least = word.len();
        Rows { word, most, candidate: Vec::new(), rows: vec![(first, least)] }
    }

    /// How a candidate differs, or the shortest beginning of it with which everything differs by
    /// more.
    pub(crate) fn advance<'c>(&mut self, candidate: &'c str) -> Result<Differs, &'c str> {
        let shared = self.candidate.iter().zip(candidate.chars());
        let shared = shared.take_while(|&(&one, other)| one == other).count();
        self.candidate.truncate(shared);
        self.rows.truncate(shared + 1);
        for (at, letter) in candidate.char_indices().skip(shared) {
            let (previous, least) = &self.rows[self.rows.len() - 1];
            let mut row = vec![previous[0] + 1];
            for (place, &own) in self.word.iter().enumerate() {
                let changed = previous[place] + usize::from(own != letter);
                row.push(changed.min(previous[place + 1] + 1).min(row[place] + 1));
            }
            let least = row[self.word.len()].min(*least);
            let hopeless = row.iter().all(|&distance| distance > self.most) && least > self.most;
            self.rows.push((row, least));
            self.candidate.push(letter);
            if hopeless {
                return Err(&candidate[..at + letter.len_utf8()]);
            }
        }
        let (row, least) = &self.rows[self.rows.len() - 1];
        Ok(Differs { whole: row[self.word.len()], beginning: *least })
    }
}
