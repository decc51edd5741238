//! The log of what was denied: users that do not exist, newest first.

use std::collections::VecDeque;

use quorate_proto::resp::ReplyWriter;

/// Entries that are kept, as in Redis.
const LENGTH_MAX: usize = 128;

/// Denials that are alike within this time are one entry.
const ALIKE_WITHIN_MS: u64 = 60_000;

/// One or more denials that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Denial {
    count: i64,
    user: String,
    /// The command that was denied, as it was written.
    command: String,
    /// The last client's line of `CLIENT LIST`.
    client: String,
    at_ms: u64,
}

/// The log of a node.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    entries: VecDeque<Denial>,
}

impl Denials {
    /// A client named a user that there is not.
    pub(crate) fn note(&mut self, user: String, command: String, client: String, wall_ms: u64) {
        let is_alike = |denial: &Denial| {
            denial.user == user
                && denial.command == command
                && wall_ms.abs_diff(denial.at_ms) <= ALIKE_WITHIN_MS
        };
        let alike = self.entries.iter().position(is_alike);
        let before = alike.and_then(|at| self.entries.remove(at)).map_or(0, |denial| denial.count);
        let denial = Denial { count: before + 1, user, command, client, at_ms: wall_ms };
        self.entries.push_front(denial);
        self.entries.truncate(LENGTH_MAX);
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The newest `count` entries.
    pub(crate) fn write(&self, writer: &mut ReplyWriter<'_>, count: usize, wall_ms: u64) {
        writer.array(self.entries.len().min(count));
        for denial in self.entries.iter().take(count) {
            writer.map(7);
            writer.text("count");
            writer.integer(denial.count);
            for (name, value) in [
                ("reason", "auth"),
                ("context", "toplevel"),
                ("object", &denial.command),
                ("username", &denial.user),
            ] {
                writer.text(name);
                writer.text(value);
            }
            writer.text("age-seconds");
            writer.double(wall_ms.saturating_sub(denial.at_ms) as f64 / 1000.0);
            writer.text("client-info");
            writer.text(denial.client.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(denials: &mut Denials, user: &str, at_ms: u64) {
        denials.note(user.into(), "AUTH".into(), String::new(), at_ms);
    }

    #[test]
    fn what_is_alike_is_one_entry_for_a_minute() {
        let mut denials = Denials::default();
        for (user, at_ms) in [("a", 0), ("b", 10), ("a", 60_000), ("b", 60_011)] {
            note(&mut denials, user, at_ms);
        }
        let found: Vec<_> = denials.entries.iter().map(|each| (&*each.user, each.count)).collect();
        assert_eq!(found, [("b", 1), ("a", 2), ("b", 1)]);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut denials = Denials::default();
        (0..200).for_each(|number| note(&mut denials, &number.to_string(), 0));
        assert_eq!(denials.entries.len(), LENGTH_MAX);
        assert_eq!(denials.entries[0].user, "199");
    }
}
