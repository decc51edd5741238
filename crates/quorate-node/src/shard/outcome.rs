//! What is known of a command of several parts when some of them failed.
//!
//! The promise about errors holds for the whole command. A part that was refused says that *it* did
//! nothing, which is not true of the command when other parts are done.
//!
//! | parts that change something | answer |
//! |---|---|
//! | none is done, and none may be | the first error, as it is |
//! | some may be done | `UNKNOWN`, and which are done, which may be, and which are not |
//! | some are done and some are not | `PARTIAL`, and which |

use std::fmt::{self, Write as _};

use bytes::Bytes;
use quorate_proto::{
    command::{Call, FLUSH},
    mutant::Mutant,
    resp::ReplyWriter,
};

use super::job::first_error;
use crate::limits;

/// What is known of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    NotDone,
    Unknown,
}

impl Fate {
    /// The fate of a part that changes something, by its reply.
    fn of(reply: &[u8]) -> Self {
        let Some(error) = reply.strip_prefix(b"-") else { return Self::Done };
        match error.split(|byte| *byte == b' ').next() {
            Some(b"TIMEOUT") if error.trim_ascii_end().ends_with(b"; nothing was changed") => {
                Self::NotDone
            }
            Some(b"TIMEOUT" | b"UNKNOWN") => Self::Unknown,
            // Refused, or wrong, which is found before anything is changed.
            _ => Self::NotDone,
        }
    }
}

/// The fates of all parts so far that change something.
#[derive(Debug, Default)]
pub(super) struct Fates {
    parts: Vec<(Call, Fate)>,
}

impl Fates {
    /// A part that changes something has been answered.
    pub(super) fn note(&mut self, part: Call, reply: &[u8]) {
        self.parts.push((part, Fate::of(reply)));
    }

    /// The answer to the command, if one of the `replies` of its last step is an error. `untried`
    /// parts have not been begun and will not be.
    pub(super) fn failure(&self, replies: &[Bytes], untried: usize) -> Option<Vec<u8>> {
        let error = first_error(replies)?;
        let has = |fate| self.parts.iter().any(|(_, found)| *found == fate);
        let is_alone = self.parts.len() == 1 && untried == 0;
        let is_whole = !has(Fate::Done) && (!has(Fate::Unknown) || is_alone);
        if is_whole || Mutant::PartTakenForWhole.is_planted() {
            return Some(error.to_vec());
        }
        let unknown = replies.iter().find(|reply| Fate::of(reply) == Fate::Unknown);
        let code = if has(Fate::Unknown) { "UNKNOWN" } else { "PARTIAL" };
        let groups = [
            self.group("done", Fate::Done, 0),
            self.group("may have been done", Fate::Unknown, 0),
            self.group("not done", Fate::NotDone, untried),
        ];
        let groups: Vec<String> = groups.into_iter().flatten().collect();
        let text =
            format!("{code} {}; because {}", groups.join("; "), cause(unknown.unwrap_or(error)));
        let mut reply = Vec::with_capacity(text.len() + 3);
        ReplyWriter::new(&mut reply, false).error(text);
        Some(reply)
    }

    /// The parts of one fate: the first few by name, the others by their number.
    fn group(&self, heading: &str, fate: Fate, untried: usize) -> Option<String> {
        let parts = self.parts.iter().filter(|(_, found)| *found == fate);
        let mut names = parts.flat_map(|(part, _)| names(part));
        let mut text = format!("{heading}:");
        // Writing to a string does not fail.
        for name in names.by_ref().take(limits::PARTS_NAMED_MAX) {
            let _ = write!(text, " {name}");
        }
        let more = names.count() + untried;
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        (!text.ends_with(':')).then_some(text)
    }
}

/// What a part changes.
enum Name<'a> {
    Key(&'a [u8]),
    /// All that is in the slot of this number.
    Slot(&'a [u8]),
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(number) => write!(f, "slot {}", number.escape_ascii()),
            Self::Key(key) => {
                let shown = &key[..key.len().min(limits::PART_NAME_BYTES_MAX)];
                let dots = if shown.len() < key.len() { "..." } else { "" };
                write!(f, "\"{}\"{dots}", shown.escape_ascii())
            }
        }
    }
}

fn names(part: &Call) -> impl Iterator<Item = Name<'_>> {
    let slot = (part.spec().name == FLUSH).then(|| Name::Slot(part.command().arg(1)));
    slot.into_iter().chain(part.keys().map(Name::Key))
}

/// The text of an error about one part, without what it says of that part alone.
fn cause(error: &[u8]) -> String {
    let text = String::from_utf8_lossy(error);
    let text = text.trim_start_matches('-').trim_end();
    let text = match text.split_once(' ') {
        Some((code, text)) if is_code(code) => text,
        _ => text,
    };
    text.rsplit_once("; ")
        .filter(|(_, end)| OF_A_PART.contains(end))
        .map_or(text, |(text, _)| text)
        .to_owned()
}

/// Whether an error begins with a code: what RedisJSON says begins with any word.
fn is_code(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// How errors end that speak of what one part did.
const OF_A_PART: [&str; 4] = [
    "nothing was done",
    "nothing was changed",
    "the write may still take effect",
    "the request may or may not have taken effect",
];

#[cfg(test)]
mod tests {
    use quorate_proto::{Slot, resp::Command};

    use super::*;

    const REFUSED: &str = "-UNAVAILABLE too few of n1, n2; nothing was done\r\n";
    const LOST: &str =
        "-UNKNOWN the link was lost; the request may or may not have taken effect\r\n";
    const LATE: &str = "-TIMEOUT 1 of 2 answered; the write may still take effect\r\n";
    const IN_VAIN: &str = "-TIMEOUT 0 of 2 answered; nothing was changed\r\n";

    fn failure(parts: &[(&[&str], &'static str)], untried: usize) -> Option<String> {
        let mut fates = Fates::default();
        let mut replies = Vec::new();
        for (words, reply) in parts {
            let part = Call::piece(Slot::default(), Command::from_args(*words));
            fates.note(part, reply.as_bytes());
            replies.push(Bytes::from_static(reply.as_bytes()));
        }
        fates.failure(&replies, untried).map(|reply| String::from_utf8(reply).expect("text"))
    }

    #[test]
    fn nothing_done_anywhere_is_the_error_of_a_part() {
        let parts: &[(&[&str], _)] = &[(&["DEL", "a"], REFUSED), (&["DEL", "b"], IN_VAIN)];
        assert_eq!(failure(parts, 3).as_deref(), Some(REFUSED));
        assert_eq!(failure(&[(&["DEL", "a"], LATE)], 0).as_deref(), Some(LATE));
        assert_eq!(failure(&[(&["DEL", "a"], ":1\r\n")], 0), None);
    }

    #[test]
    fn a_part_that_is_done_is_never_called_undone() {
        let parts: &[(&[&str], _)] =
            &[(&["MSET", "a", "1", "b c", "2"], "+OK\r\n"), (&["MSET", "d\r\n", "3"], REFUSED)];
        assert_eq!(
            failure(parts, 0).as_deref(),
            Some(
                "-PARTIAL done: \"a\" \"b c\"; not done: \"d\\r\\n\"; because too few of n1, n2\r\n"
            )
        );
        let parts: &[(&[&str], _)] =
            &[(&["quorate.flush", "5", "5"], ":1\r\n"), (&["quorate.flush", "7", "7"], IN_VAIN)];
        assert_eq!(
            failure(parts, 9).as_deref(),
            Some("-PARTIAL done: slot 5; not done: slot 7 and 9 more; because 0 of 2 answered\r\n")
        );
    }

    #[test]
    fn only_codes_are_left_out_of_causes() {
        for (error, told) in [
            ("-Existing key has wrong Redis type\r\n", "Existing key has wrong Redis type"),
            ("-Err wrong static path\r\n", "Err wrong static path"),
            ("-ERR array index out of range\r\n", "array index out of range"),
            ("-OVERLOADED\r\n", "OVERLOADED"),
        ] {
            let parts: &[(&[&str], _)] = &[
                (&["JSON.MSET", "a", "$", "1"], "+OK\r\n"),
                (&["JSON.MSET", "b", "$", "1"], error),
            ];
            let text = failure(parts, 0).expect("a failure");
            assert!(text.ends_with(&format!("because {told}\r\n")), "{text}");
        }
    }

    #[test]
    fn what_may_be_done_is_not_called_partial() {
        let parts: &[(&[&str], _)] = &[
            (&["quorate.install", "a", "s", "NX"], ":1\r\n"),
            (&["DEL", "b"], REFUSED),
            (&["DEL", "c"], LOST),
        ];
        assert_eq!(
            failure(parts, 0).as_deref(),
            Some(
                "-UNKNOWN done: \"a\"; may have been done: \"c\"; not done: \"b\"; because the link \
                 was lost\r\n"
            )
        );
    }

    #[test]
    fn long_lists_and_long_keys_are_cut() {
        let key = "k".repeat(1_000);
        let mut words = vec!["DEL"];
        words.resize(1_001, &key);
        let parts: &[(&[&str], _)] = &[(&words, ":1000\r\n"), (&["DEL", "x"], REFUSED)];
        let text = failure(parts, 0).expect("a failure");
        assert!(
            text.contains(&format!(
                "kkk\"... and {} more; not done",
                1_000 - limits::PARTS_NAMED_MAX
            ))
        );
        assert!(text.len() < 1_500, "{}", text.len());
    }
}
