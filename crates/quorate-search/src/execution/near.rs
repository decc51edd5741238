//! Which words are nearly the same as another, by leaps through a dictionary.
//!
//! The automaton of Levenshtein distances is walked a letter at a time (a row of the table is a
//! state). Where a candidate leaves it, the least text behind that could still be accepted is
//! made, and the dictionary is asked for what comes from there on: so what is looked at is about
//! as many words as are near, not all (as Nick Johnson described, 2010).

use alloc::string::String;
use alloc::vec::Vec;

/// The words within a distance of one.
pub(super) struct Near {
    word: Vec<char>,
    most: usize,
    /// The letters walked.
    letters: Vec<char>,
    /// Distances of these letters' beginnings to those of the word: a row of one more than the word
    /// has letters, for no letter and for each.
    rows: Vec<usize>,
}

/// How a candidate ended.
pub(super) enum Walked {
    /// It is near enough.
    Near,
    /// It is not, but longer ones that begin like it may be.
    Open,
    /// None that begins like it is near; the next that may be is not before this text.
    Closed(Option<String>),
}

impl Near {
    pub(super) fn new(word: &str, most: usize) -> Near {
        let word: Vec<char> = word.chars().collect();
        let rows = (0..=word.len()).collect();
        Near { word, most, letters: Vec::new(), rows }
    }

    /// Walks a candidate, which is behind all before.
    pub(super) fn walk(&mut self, candidate: &str) -> Walked {
        let shared = self.letters.iter().zip(candidate.chars());
        let shared = shared.take_while(|&(&one, other)| one == other).count();
        self.cut(shared);
        for letter in candidate.chars().skip(shared) {
            self.step(letter);
            if !self.is_open() {
                self.cut(self.letters.len() - 1);
                return Walked::Closed(self.behind(letter));
            }
        }
        if self.row()[self.word.len()] <= self.most { Walked::Near } else { Walked::Open }
    }

    /// The least text behind those that begin with the letters and then `letter` which may be near.
    fn behind(&mut self, letter: char) -> Option<String> {
        let mut passed = letter;
        let next = loop {
            match self.next_letter(Some(passed)) {
                Some(next) => break next,
                None => passed = self.letters.last().copied()?,
            }
            self.cut(self.letters.len() - 1);
        };
        self.step(next);
        // Then the least letters that lead on, until any may follow.
        while self.row().iter().all(|&distance| distance >= self.most)
            && self.row()[self.word.len()] > self.most
        {
            let Some(next) = self.next_letter(None) else { break };
            self.step(next);
        }
        Some(self.letters.iter().collect())
    }

    /// The least letter behind one, or of all, with which the letters may go on.
    fn next_letter(&self, behind: Option<char>) -> Option<char> {
        let row = self.row();
        if row.iter().any(|&distance| distance < self.most) {
            // Any letter may be one too many.
            return match behind {
                Some(letter) => {
                    (u32::from(letter) + 1..=u32::from(char::MAX)).find_map(char::from_u32)
                }
                None => Some('\0'),
            };
        }
        let letters = self.word.iter().zip(row).filter(|(_, distance)| **distance <= self.most);
        letters.map(|(&letter, _)| letter).filter(|letter| behind.is_none_or(|b| *letter > b)).min()
    }

    fn row(&self) -> &[usize] {
        &self.rows[self.letters.len() * (self.word.len() + 1)..]
    }

    fn is_open(&self) -> bool {
        self.row().iter().any(|&distance| distance <= self.most)
    }

    fn step(&mut self, letter: char) {
        let width = self.word.len() + 1;
        let before = self.rows.len() - width;
        let mut last = self.rows[before] + 1;
        self.rows.push(last);
        for place in 1..width {
            let (other, above) = (self.rows[before + place - 1], self.rows[before + place]);
            let changed = other + usize::from(self.word[place - 1] != letter);
            last = changed.min(above + 1).min(last + 1);
            self.rows.push(last);
        }
        self.letters.push(letter);
    }

    fn cut(&mut self, letters: usize) {
        self.letters.truncate(letters);
        self.rows.truncate((letters + 1) * (self.word.len() + 1));
    }
}
