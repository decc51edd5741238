//! Counts and durations of each kind of command.

use std::{collections::BTreeMap, time::Duration};

use quorate_proto::command::{self, CommandId};

use super::Latency;

/// What is counted of one kind of command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) micros: u64,
    /// Refused before they began.
    pub(crate) rejected: u64,
    /// Answered with an error.
    pub(crate) failed: u64,
    pub(crate) latency: Latency,
}

impl Tally {
    pub(super) fn note(&mut self, took: Duration, failed: bool) {
        self.calls += 1;
        self.micros += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.failed += u64::from(failed);
        self.latency.note(took);
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.micros += other.micros;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.latency.add(&other.latency);
    }
}

/// A tally for each kind of command that has been seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies {
    /// By row; made when they are needed.
    commands: Vec<Option<Box<Tally>>>,
    subcommands: BTreeMap<CommandId, Tally>,
}

impl Tallies {
    pub(super) fn tally(&mut self, id: CommandId) -> &mut Tally {
        if id.subcommand().is_some() {
            return self.subcommands.entry(id).or_default();
        }
        let row = id.row();
        if self.commands.len() <= row {
            self.commands.resize_with(command::all().len(), Default::default);
        }
        self.commands[row].get_or_insert_default()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (id, tally) in other.iter() {
            self.tally(id).add(tally);
        }
    }

    /// Everything that has been seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CommandId, &Tally)> {
        let commands = self.commands.iter().enumerate().filter_map(|(row, tally)| {
            tally.as_deref().map(|tally| (CommandId::of_row(row), tally))
        });
        commands.chain(self.subcommands.iter().map(|(id, tally)| (*id, tally)))
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::resp::Command;

    use super::*;

    #[test]
    fn kinds_of_commands_are_counted_apart_and_summed() {
        let id = |words: &[&str]| CommandId::of(&Command::from_args(words)).expect("in the table");
        let mut tallies = Tallies::default();
        tallies.tally(id(&["GET", "a"])).note(Duration::from_micros(3), false);
        tallies.tally(id(&["GET", "a"])).note(Duration::from_micros(4), true);
        tallies.tally(id(&["CLIENT", "ID"])).note(Duration::ZERO, false);
        let mut sum = tallies.clone();
        sum.add(&tallies);
        let found: Vec<_> = sum
            .iter()
            .map(|(id, tally)| (id.to_string(), tally.calls, tally.micros, tally.failed))
            .collect();
        assert_eq!(found, [("get".to_owned(), 4, 14, 2), ("client|id".to_owned(), 2, 0, 0)]);
    }
}
