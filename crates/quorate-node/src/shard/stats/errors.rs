//! Error replies by their first word.

use std::collections::BTreeMap;

use crate::limits;

/// How often each code word has been answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    by_code: BTreeMap<String, u64>,
}

impl Errors {
    /// Notes an encoded error reply.
    pub(super) fn note(&mut self, reply: &[u8]) {
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let end = text.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(text.len());
        let code = String::from_utf8_lossy(&text[..end.min(limits::NAME_LENGTH_MAX)]);
        self.count(&code, 1);
    }

    /// Adds what another shard has noted.
    pub(super) fn add(&mut self, other: &Self) {
        other.by_code.iter().for_each(|(code, count)| self.count(code, *count));
    }

    /// The code words in order, each with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_code.iter().map(|(code, count)| (code.as_str(), *count))
    }

    fn count(&mut self, code: &str, more: u64) {
        let has_space = self.by_code.len() < limits::ERROR_CODES_MAX;
        if let Some(count) = self.by_code.get_mut(code) {
            *count += more;
        } else if has_space {
            self.by_code.insert(code.to_owned(), more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_first_word() {
        let mut errors = Errors::default();
        for reply in [&b"-ERR one\r\n"[..], b"-WRONGTYPE two\r\n", b"-ERR three\r\n", b"-BARE\r\n"]
        {
            errors.note(reply);
        }
        let found: Vec<_> = errors.iter().collect();
        assert_eq!(found, [("BARE", 1), ("ERR", 2), ("WRONGTYPE", 1)]);
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut errors = Errors::default();
        (0..2 * limits::ERROR_CODES_MAX).for_each(|n| errors.note(format!("-E{n} x").as_bytes()));
        assert_eq!(errors.iter().count(), limits::ERROR_CODES_MAX);
    }
}
