//! The commands that took long, newest last.

use std::{collections::VecDeque, time::Duration};

use quorate_proto::resp::{Command, ReplyWriter};

use crate::limits;

/// One slow command.
#[derive(Debug)]
struct Slow {
    id: u64,
    began_seconds: u64,
    micros: u64,
    words: Vec<Vec<u8>>,
    address: String,
    name: String,
}

/// Who sent a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender<'a> {
    pub(crate) address: &'a str,
    pub(crate) name: &'a str,
}

/// The log of one shard.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    entries: VecDeque<Slow>,
}

impl SlowLog {
    /// Notes a command and drops the oldest beyond `len_max`.
    pub(crate) fn push(
        &mut self,
        (id, wall_ms): (u64, u64),
        took: Duration,
        command: &Command,
        sender: Sender<'_>,
        len_max: usize,
    ) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.entries.push_back(Slow {
            id,
            began_seconds: wall_ms.saturating_sub(micros / 1000) / 1000,
            micros,
            words: shortened(command),
            address: sender.address.to_owned(),
            name: sender.name.to_owned(),
        });
        let excess = self.entries.len().saturating_sub(len_max);
        self.entries.drain(..excess);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The entries as an array of replies, newest first.
    pub(crate) fn write(&self, writer: &mut ReplyWriter<'_>) {
        writer.array(self.entries.len());
        for slow in self.entries.iter().rev() {
            writer.array(6);
            for number in [slow.id, slow.began_seconds, slow.micros] {
                writer.integer(i64::try_from(number).unwrap_or(i64::MAX));
            }
            writer.array(slow.words.len());
            slow.words.iter().for_each(|word| writer.bulk(word));
            writer.text(&slow.address);
            writer.text(&slow.name);
        }
    }
}

/// The words of a command, as many and as long as Redis keeps, and without what is secret.
fn shortened(command: &Command) -> Vec<Vec<u8>> {
    const WORDS: usize = limits::SLOW_WORDS_MAX;
    let shown = if command.len() > WORDS { WORDS - 1 } else { command.len() };
    let word = |(at, word)| match is_secret(command, at) {
        true => b"(redacted)".to_vec(),
        false => shortened_word(word),
    };
    let mut words: Vec<Vec<u8>> = command.args().enumerate().take(shown).map(word).collect();
    if command.len() > shown {
        words.push(format!("... ({} more arguments)", command.len() - shown).into());
    }
    words
}

/// Whether the word at `at` is the name or the password of a user.
fn is_secret(command: &Command, at: usize) -> bool {
    let is = |at: usize, words: &[&str]| {
        let found = command.get(at).unwrap_or_default();
        words.iter().any(|word| found.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(0, &["AUTH"]) {
        return at >= 1 && command.len() <= 3;
    }
    let is_user = is(0, &["ACL"]) && is(1, &["SETUSER"]) && at >= 2;
    let is_password = is(0, &["CONFIG"])
        && is(1, &["SET"])
        && at >= 3
        && !at.is_multiple_of(2)
        && is(at - 1, &["requirepass", "masterauth"]);
    let logs_in = is(0, &["HELLO"]) && at >= 3 && (is(at - 1, &["AUTH"]) || is(at - 2, &["AUTH"]));
    is_user || is_password || logs_in
}

fn shortened_word(word: &[u8]) -> Vec<u8> {
    const LENGTH: usize = limits::SLOW_WORD_LENGTH_MAX;
    match word.get(..LENGTH) {
        Some(start) if word.len() > LENGTH => {
            let rest = format!("... ({} more bytes)", word.len() - LENGTH);
            [start, rest.as_bytes()].concat()
        }
        _ => word.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_shortened() {
        let words: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let short = shortened(&Command::from_args(&words));
        assert_eq!(short.len(), 32);
        assert_eq!(short[30], b"30");
        assert_eq!(short[31], b"... (9 more arguments)");
        assert_eq!(shortened(&Command::from_args(&words[..32])).len(), 32);
        let word = shortened_word(&[b'x'; 130]);
        assert!(word.starts_with(&[b'x'; 128]) && word.ends_with(b"... (2 more bytes)"));
        assert_eq!(shortened_word(&[b'x'; 128]), [b'x'; 128]);
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        for (words, shown) in [
            ("AUTH u p", "AUTH (redacted) (redacted)"),
            ("auth p", "auth (redacted)"),
            ("AUTH a b c", "AUTH a b c"),
            ("HELLO 3 SETNAME me AUTH u p", "HELLO 3 SETNAME me AUTH (redacted) (redacted)"),
            ("HELLO 3", "HELLO 3"),
            ("ACL SETUSER u on >p", "ACL SETUSER (redacted) (redacted) (redacted)"),
            ("ACL WHOAMI", "ACL WHOAMI"),
            ("CONFIG SET timeout 1 requirepass p", "CONFIG SET timeout 1 requirepass (redacted)"),
            ("SET requirepass p", "SET requirepass p"),
        ] {
            let words = shortened(&Command::from_args(words.split(' ')));
            assert_eq!(String::from_utf8_lossy(&words.join(&b' ')), shown);
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let mut log = SlowLog::default();
        for id in 0..5 {
            let command = Command::from_args(["GET"]);
            log.push((id, 0), Duration::ZERO, &command, Sender::default(), 3);
        }
        assert_eq!(log.entries.iter().map(|slow| slow.id).collect::<Vec<_>>(), [2, 3, 4]);
        log.push((5, 0), Duration::ZERO, &Command::from_args(["GET"]), Sender::default(), 0);
        assert_eq!(log.len(), 0);
    }
}
