//! Commands whose keys are spread over slots: split by slot, replies joined.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_proto::{
    Partitioner, Slot,
    command::{Call, Join},
    resp::Command,
};

use super::job::{Plan, Step, elements, integer};

/// Splits a command by slot, runs the parts side by side and joins their replies.
#[derive(Debug)]
pub(crate) struct Split {
    join: Join,
    /// Where the values of each part stand in the client's order.
    positions: Vec<Vec<usize>>,
    pieces: Option<Vec<Call>>,
}

impl Split {
    /// Splits `command`, whose keys start at argument 1 and stand `step` apart. As many words as are
    /// `shared` stand behind them and go to each part.
    pub(crate) fn new(
        command: &Command,
        join: Join,
        (step, shared): (usize, usize),
        partitioner: &Partitioner,
    ) -> Self {
        let end = command.len() - shared;
        let mut by_slot: BTreeMap<Slot, (Vec<&[u8]>, Vec<usize>)> = BTreeMap::new();
        for (position, at) in (1..end).step_by(step).enumerate() {
            let (arguments, positions) =
                by_slot.entry(partitioner.slot(command.arg(at))).or_default();
            arguments.extend((at..at + step).map(|index| command.arg(index)));
            positions.push(position);
        }
        let mut pieces = Vec::with_capacity(by_slot.len());
        let mut all_positions = Vec::with_capacity(by_slot.len());
        for (slot, (arguments, positions)) in by_slot {
            let shared = (end..command.len()).map(|index| command.arg(index));
            let words = std::iter::once(command.name()).chain(arguments).chain(shared);
            let command = Command::from_args(words);
            pieces.push(Call::piece(slot, command));
            all_positions.push(positions);
        }
        Self { join, positions: all_positions, pieces: Some(pieces) }
    }

    fn join(&self, replies: &[Bytes]) -> Vec<u8> {
        match self.join {
            Join::Ok => b"+OK\r\n".to_vec(),
            Join::Sum => {
                let sum: i64 = replies.iter().filter_map(|reply| integer(reply)).sum();
                format!(":{sum}\r\n").into_bytes()
            }
            Join::Values => self.join_values(replies),
        }
    }

    fn join_values(&self, replies: &[Bytes]) -> Vec<u8> {
        let count = self.positions.iter().map(Vec::len).sum();
        let mut values: Vec<&[u8]> = vec![b"_\r\n"; count];
        for (reply, positions) in replies.iter().zip(&self.positions) {
            for (value, position) in elements(reply).into_iter().zip(positions) {
                values[*position] = value;
            }
        }
        let mut joined = format!("*{count}\r\n").into_bytes();
        values.iter().for_each(|value| joined.extend_from_slice(value));
        joined
    }
}

impl Plan for Split {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        match self.pieces.take() {
            Some(pieces) => Step::Run(pieces),
            None => Step::Done(self.join(replies)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(split: &mut Split, answer: impl Fn(&Command) -> &'static [u8]) -> Vec<u8> {
        let Step::Run(pieces) = split.next(&[]) else { panic!("nothing to run") };
        let replies: Vec<_> =
            pieces.iter().map(|piece| Bytes::from_static(answer(piece.command()))).collect();
        match split.next(&replies) {
            Step::Done(reply) => reply,
            Step::Rows(rows) => panic!("unexpected {rows:?}"),
            Step::Run(_) => panic!("a split has one step"),
        }
    }

    #[test]
    fn values_come_back_in_the_order_of_the_keys() {
        let command = Command::from_args(["MGET", "foo", "bar", "{foo}x"]);
        let mut split = Split::new(&command, Join::Values, (1, 0), &Partitioner::Slots);
        let reply = run(&mut split, |part| match part.arg(1) {
            b"foo" => {
                assert_eq!(part.arg(2), b"{foo}x");
                b"*2\r\n$1\r\n1\r\n$-1\r\n"
            }
            _ => b"*1\r\n$1\r\n2\r\n",
        });
        assert_eq!(reply, b"*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n");
    }

    #[test]
    fn pairs_stay_together() {
        let command = Command::from_args(["MSET", "foo", "1", "bar", "2"]);
        let mut split = Split::new(&command, Join::Ok, (2, 0), &Partitioner::Slots);
        let reply = run(&mut split, |part| {
            assert!(
                part.len() == 3 && part.arg(2) == if part.arg(1) == b"foo" { b"1" } else { b"2" }
            );
            b"+OK\r\n"
        });
        assert_eq!(reply, b"+OK\r\n");
    }

    #[test]
    fn what_is_behind_the_keys_goes_to_every_part() {
        let command = Command::from_args(["JSON.MGET", "foo", "bar", "$.a"]);
        let mut split = Split::new(&command, Join::Values, (1, 1), &Partitioner::Slots);
        let reply = run(&mut split, |part| {
            assert!(part.len() == 3 && part.arg(2) == b"$.a");
            if part.arg(1) == b"foo" { b"*1\r\n$1\r\n1\r\n" } else { b"*1\r\n$1\r\n2\r\n" }
        });
        assert_eq!(reply, b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    }

    #[test]
    fn counts_add_up() {
        let command = Command::from_args(["DEL", "foo", "bar", "hello"]);
        let mut split = Split::new(&command, Join::Sum, (1, 0), &Partitioner::Slots);
        assert_eq!(run(&mut split, |_| b":1\r\n"), b":3\r\n");
    }
}
