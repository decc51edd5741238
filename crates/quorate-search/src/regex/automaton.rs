//! An automaton that is in all states at once (Thompson, 1968), once for each number of letters
//! that differed so far.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::pattern::{Node, Pattern, Set};
use crate::error::{Code, Error};
use crate::limits;

/// The automaton of a pattern.
#[derive(Debug, Clone)]
pub(super) struct Automaton {
    states: Vec<State>,
    first: usize,
    any_case: bool,
}

#[derive(Debug, Clone)]
enum State {
    Accept,
    /// One letter, then the next state.
    One(Set, usize),
    Both(usize, usize),
    Start(usize),
    End(usize),
}

impl Automaton {
    pub(super) fn new(pattern: &Pattern) -> Result<Automaton, Error> {
        let mut automaton =
            Automaton { states: vec![State::Accept], first: 0, any_case: pattern.any_case };
        automaton.first = automaton.add(&pattern.node, 0)?;
        Ok(automaton)
    }

    fn push(&mut self, state: State) -> Result<usize, Error> {
        if self.states.len() == limits::REGEX_STATES {
            let text = format!("Pattern has more than {} states", limits::REGEX_STATES);
            return Err(Error::new(Code::Limit, text));
        }
        self.states.push(state);
        Ok(self.states.len() - 1)
    }

    /// Adds a part of the pattern before the state `next`; returns where it begins.
    fn add(&mut self, node: &Node, next: usize) -> Result<usize, Error> {
        match node {
            Node::Start => self.push(State::Start(next)),
            Node::End => self.push(State::End(next)),
            Node::One(set) => self.push(State::One(set.clone(), next)),
            Node::Sequence(nodes) => {
                nodes.iter().rev().try_fold(next, |next, node| self.add(node, next))
            }
            Node::Either(nodes) => {
                let mut begin = None;
                for node in nodes.iter().rev() {
                    let one = self.add(node, next)?;
                    begin = Some(match begin {
                        None => one,
                        Some(other) => self.push(State::Both(one, other))?,
                    });
                }
                Ok(begin.unwrap_or(next))
            }
            Node::Repeat { node, least, most } => {
                let mut begin = match most {
                    None => {
                        let again = self.push(State::Both(next, next))?;
                        let inner = self.add(node, again)?;
                        self.states[again] = State::Both(inner, next);
                        again
                    }
                    Some(most) => {
                        let mut begin = next;
                        for _ in *least..*most {
                            let inner = self.add(node, begin)?;
                            begin = self.push(State::Both(inner, next))?;
                        }
                        begin
                    }
                };
                for _ in 0..*least {
                    // What is empty adds no state, however often it is repeated.
                    let before = self.states.len();
                    begin = self.add(node, begin)?;
                    if self.states.len() == before {
                        break;
                    }
                }
                Ok(begin)
            }
        }
    }

    /// The least number of letters, at most `most`, by which some part of a text differs from what
    /// the pattern allows; none if it is more. Takes the states that it visits from `work`.
    pub(super) fn distance(
        &self,
        text: &str,
        most: u8,
        work: &mut u64,
    ) -> Result<Option<u8>, Error> {
        let mut best = None;
        let mut levels = usize::from(most) + 1;
        let mut now: Vec<Active> = (0..levels).map(|_| Active::new(self.states.len())).collect();
        let mut then = now.clone();
        let mut letters = text.chars();
        let mut is_start = true;
        loop {
            let letter = letters.next();
            let place = Place { is_start, is_end: letter.is_none() };
            is_start = false;
            now[0].add(self, self.first, place);
            for level in 0..levels {
                if now[level].accepts {
                    best = Some(level as u8);
                    levels = level;
                    break;
                }
                // A letter of the pattern that is not in the text.
                if level + 1 < levels {
                    let (one, other) = now.split_at_mut(level + 1);
                    for &state in &one[level].states {
                        if let State::One(_, next) = self.states[state] {
                            other[0].add(self, next, place);
                        }
                    }
                }
            }
            let Some(letter) = letter.filter(|_| levels > 0) else { return Ok(best) };
            let place = Place { is_start: false, is_end: letters.as_str().is_empty() };
            for level in 0..levels {
                let visited = now[level].states.len() as u64 + 1;
                *work = work.checked_sub(visited).ok_or_else(too_long)?;
                for &state in &now[level].states {
                    // A letter of the text that is not in the pattern, or another one.
                    if level + 1 < levels {
                        then[level + 1].add(self, state, place);
                    }
                    if let State::One(set, next) = &self.states[state] {
                        if set.contains(letter, self.any_case) {
                            then[level].add(self, *next, place);
                        } else if level + 1 < levels {
                            then[level + 1].add(self, *next, place);
                        }
                    }
                }
            }
            mem::swap(&mut now, &mut then);
            then.iter_mut().for_each(Active::clear);
        }
    }
}

fn too_long() -> Error {
    let text = "FT.REGEX has too much text to look at: use a pattern with more letters that must \
                be there, or a smaller DISTANCE";
    Error::new(Code::Limit, text)
}

#[derive(Debug, Clone, Copy)]
struct Place {
    is_start: bool,
    is_end: bool,
}

/// States in which it is: those that wait for a letter or for the end of the text.
#[derive(Debug, Clone)]
struct Active {
    states: Vec<usize>,
    /// Every state that was met, by its number.
    met: Vec<bool>,
    all_met: Vec<usize>,
    /// States that are still to be added; empty but while one is.
    open: Vec<usize>,
    accepts: bool,
}

impl Active {
    fn new(states: usize) -> Active {
        Active {
            states: Vec::new(),
            met: vec![false; states],
            all_met: Vec::new(),
            open: Vec::new(),
            accepts: false,
        }
    }

    fn clear(&mut self) {
        self.all_met.drain(..).for_each(|state| self.met[state] = false);
        self.states.clear();
        self.accepts = false;
    }

    /// Adds a state and those that follow without a letter.
    fn add(&mut self, automaton: &Automaton, state: usize, place: Place) {
        self.open.push(state);
        while let Some(state) = self.open.pop() {
            if mem::replace(&mut self.met[state], true) {
                continue;
            }
            self.all_met.push(state);
            match automaton.states[state] {
                State::Accept => self.accepts = true,
                State::One(..) => self.states.push(state),
                State::Both(one, other) => self.open.extend([other, one]),
                State::Start(next) if place.is_start => self.open.push(next),
                State::Start(_) => {}
                State::End(next) => {
                    self.states.push(state);
                    if place.is_end {
                        self.open.push(next);
                    }
                }
            }
        }
    }
}
