//! The incremental reader of commands: the hot path of every request.
//!
//! Each call looks at the bytes received so far and takes out one command when it is whole. Between
//! calls the reader remembers how far it got, so a command that arrives in many pieces is looked at
//! once: the work is linear in its length. What is announced reserves nothing: memory is taken for
//! what has come.

use bytes::{Bytes, BytesMut};

use super::{Command, ProtocolError, command::ArgumentRanges, inline};
use crate::limits::{ARGUMENTS_MAX, BULK_LENGTH_MAX, COMMAND_LENGTH_MAX, LINE_LENGTH_MAX};

/// Reads commands from one connection.
#[derive(Debug)]
pub struct CommandReader {
    bulk_length_max: usize,
    command_length_max: usize,
    /// Bytes at the head of the input that are parsed already.
    parsed: usize,
    /// Arguments still to come; `None` before the line that announces them.
    missing: Option<usize>,
    /// Length of the argument at `parsed`, once its line is parsed.
    bulk_length: Option<usize>,
    arguments: ArgumentRanges,
    /// Whether an empty command was skipped.
    has_skipped: bool,
}

impl Default for CommandReader {
    fn default() -> Self {
        Self::new()
    }
}

impl CommandReader {
    /// A reader with the default limits.
    pub fn new() -> Self {
        Self {
            bulk_length_max: BULK_LENGTH_MAX,
            command_length_max: COMMAND_LENGTH_MAX,
            parsed: 0,
            missing: None,
            bulk_length: None,
            arguments: ArgumentRanges::new(),
            has_skipped: false,
        }
    }

    /// Whether empty commands were skipped since this was asked last: lines and arrays without
    /// words.
    pub fn take_skipped(&mut self) -> bool {
        core::mem::take(&mut self.has_skipped)
    }

    /// Bytes of input with which the argument that is awaited is whole; zero when none is.
    pub fn announced(&self) -> usize {
        self.bulk_length.map_or(0, |length| self.parsed + length + 2)
    }

    /// Refuses arguments longer than `bytes`, before they are buffered. Never above
    /// [`BULK_LENGTH_MAX`].
    #[must_use]
    pub fn with_max_bulk(mut self, bytes: usize) -> Self {
        self.bulk_length_max = bytes.min(BULK_LENGTH_MAX);
        self
    }

    /// Takes the next whole command out of `input`, or `None` when more bytes are needed. After an
    /// error the connection is out of step and must be closed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Command>, ProtocolError> {
        loop {
            if self.missing.is_none() {
                match input.first() {
                    None => return Ok(None),
                    Some(b'*') => {}
                    Some(_) => match inline::take(input)? {
                        inline::Taken::Incomplete => return Ok(None),
                        inline::Taken::Empty => {
                            self.has_skipped = true;
                            continue;
                        }
                        inline::Taken::Command(command) => return Ok(Some(command)),
                    },
                }
                match self.argument_count(input)? {
                    None => return Ok(None),
                    Some(0) => {
                        // Redis skips an array without arguments.
                        let _ = input.split_to(self.parsed);
                        self.parsed = 0;
                        self.has_skipped = true;
                        continue;
                    }
                    Some(count) => self.missing = Some(count),
                }
            }
            return self.arguments(input);
        }
    }

    fn argument_count(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some((line, end)) = line(input, 1) else {
            return if input.len() > LINE_LENGTH_MAX {
                Err(ProtocolError::ArgumentCountLine)
            } else {
                Ok(None)
            };
        };
        let count = length(line).ok_or(ProtocolError::ArgumentCount)?;
        self.parsed = end;
        match usize::try_from(count) {
            Ok(count) if count > ARGUMENTS_MAX => Err(ProtocolError::ArgumentCount),
            Ok(count) => Ok(Some(count)),
            Err(_negative) => Ok(Some(0)),
        }
    }

    /// Reads a frame that is an array and nothing else; `None` where it is not.
    pub(super) fn whole(frame: Bytes) -> Result<Option<Command>, ProtocolError> {
        let mut reader = Self::new();
        if frame.first() != Some(&b'*') {
            return Ok(None);
        }
        reader.missing = reader.argument_count(&frame)?.filter(|count| *count > 0);
        let is_whole = reader.missing.is_some()
            && reader.parse_arguments(&frame)?
            && reader.parsed == frame.len();
        Ok(is_whole.then(|| Command::new(frame, reader.arguments)))
    }

    fn arguments(&mut self, input: &mut BytesMut) -> Result<Option<Command>, ProtocolError> {
        if !self.parse_arguments(input)? {
            return Ok(None);
        }
        let frame = input.split_to(core::mem::take(&mut self.parsed)).freeze();
        Ok(Some(Command::new(frame, core::mem::take(&mut self.arguments))))
    }

    /// Goes on with the arguments. Returns whether all have come.
    fn parse_arguments(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let mut missing = self.missing.unwrap_or(0);
        while missing > 0 {
            let bulk_length = match self.bulk_length {
                Some(known) => known,
                None => match self.bulk_length(input)? {
                    Some(parsed) => parsed,
                    None => break,
                },
            };
            let end = self.parsed + bulk_length;
            if input.len() < end + 2 {
                self.bulk_length = Some(bulk_length);
                break;
            }
            self.arguments.push((self.parsed as u32, end as u32));
            self.parsed = end + 2;
            self.bulk_length = None;
            missing -= 1;
        }
        self.missing = (missing > 0).then_some(missing);
        Ok(missing == 0)
    }

    fn bulk_length(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        match input.get(self.parsed) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
        }
        let Some((line, end)) = line(input, self.parsed + 1) else {
            return if input.len() - self.parsed > LINE_LENGTH_MAX {
                Err(ProtocolError::BulkLengthLine)
            } else {
                Ok(None)
            };
        };
        let length = length(line).and_then(|length| usize::try_from(length).ok());
        match length {
            Some(length) if length > self.bulk_length_max => Err(ProtocolError::BulkLength),
            Some(length) if end + length + 2 > self.command_length_max => {
                Err(ProtocolError::CommandLength)
            }
            Some(length) => {
                self.parsed = end;
                Ok(Some(length))
            }
            None => Err(ProtocolError::BulkLength),
        }
    }
}

/// The line that starts at `start`, and where the next one does.
fn line(input: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = input.get(start..)?;
    // Almost every line is a short number: look at its first bytes before searching.
    let at = match rest {
        [b'\r', ..] => 0,
        [_, b'\r', ..] => 1,
        [_, _, b'\r', ..] => 2,
        _ => memchr::memchr(b'\r', rest)?,
    };
    // The newline behind it is skipped unread, as Redis does, but must have arrived.
    (rest.len() > at + 1).then(|| (&rest[..at], start + at + 2))
}

/// A length as Redis reads it.
fn length(line: &[u8]) -> Option<i64> {
    match line {
        [digit @ b'0'..=b'9'] => Some(i64::from(digit - b'0')),
        _ => super::parse_integer(line),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Command>, ProtocolError> {
        let mut reader = CommandReader::new();
        let mut input = BytesMut::from(bytes);
        let mut commands = Vec::new();
        while let Some(command) = reader.next(&mut input)? {
            commands.push(command);
        }
        Ok(commands)
    }

    #[test]
    fn a_command_is_bounded_as_a_whole_before_it_has_come() {
        let mut reader = CommandReader::new();
        reader.command_length_max = 60;
        let mut input = BytesMut::from("*3\r\n$3\r\nSET\r\n$20\r\n01234567890123456789\r\n$20\r\n");
        assert_eq!(reader.next(&mut input), Err(ProtocolError::CommandLength));
        let mut reader = CommandReader::new();
        reader.command_length_max = 60;
        let mut input = BytesMut::from("*2\r\n$3\r\nGET\r\n$20\r\n01234567890123456789\r\n");
        assert!(reader.next(&mut input).is_ok_and(|command| command.is_some()));
    }

    #[test]
    fn pipelined_commands_come_out_in_order() {
        let commands =
            read_all(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING hello\r\n");
        assert_eq!(
            commands,
            Ok(vec![
                Command::from_args(["PING"]),
                Command::from_args(["GET", "k"]),
                Command::from_args(["PING", "hello"]),
            ])
        );
    }

    #[test]
    fn a_command_may_be_split_at_every_byte() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nvalue\r\nwith!\r\nPING 'x y'\r\n";
        let whole = read_all(bytes).expect("valid");
        for cut in 0..=bytes.len() {
            let mut reader = CommandReader::new();
            let mut input = BytesMut::from(&bytes[..cut]);
            let mut commands = Vec::new();
            while let Some(command) = reader.next(&mut input).expect("valid") {
                commands.push(command);
            }
            input.extend_from_slice(&bytes[cut..]);
            while let Some(command) = reader.next(&mut input).expect("valid") {
                commands.push(command);
            }
            assert_eq!(commands, whole, "cut at {cut}");
            assert!(input.is_empty());
        }
    }

    #[test]
    fn empty_arrays_and_lines_are_skipped() {
        let commands = read_all(b"*0\r\n*-1\r\n\r\n\n   \r\n*1\r\n$4\r\nPING\r\n");
        assert_eq!(commands, Ok(vec![Command::from_args(["PING"])]));
        for (bytes, skipped) in
            [("\r\n", true), ("*0\r\n", true), ("*-1\r\n", true), ("PING\r\n", false)]
        {
            let mut reader = CommandReader::new();
            reader.next(&mut BytesMut::from(bytes)).expect("valid");
            assert_eq!((reader.take_skipped(), reader.take_skipped()), (skipped, false));
        }
    }

    #[test]
    fn errors_read_as_those_of_redis() {
        let long = "1".repeat(LINE_LENGTH_MAX + 8);
        for (bytes, text) in [
            ("*x\r\n", "Protocol error: invalid multibulk length"),
            ("*\r\n", "Protocol error: invalid multibulk length"),
            ("*\rx", "Protocol error: invalid multibulk length"),
            ("*1\r\n$\r\n", "Protocol error: invalid bulk length"),
            ("*1048577\r\n", "Protocol error: invalid multibulk length"),
            ("*1\r\n:4\r\n", "Protocol error: expected '$', got ':'"),
            ("*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
            ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            ("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
            (&format!("*{long}"), "Protocol error: too big mbulk count string"),
            (&format!("*1\r\n${long}"), "Protocol error: too big bulk count string"),
            (&long, "Protocol error: too big inline request"),
            ("SET k \"v\r\n", "Protocol error: unbalanced quotes in request"),
        ] {
            let error = read_all(bytes.as_bytes()).expect_err(text);
            assert_eq!(alloc::string::ToString::to_string(&error), text);
        }
    }

    #[test]
    fn too_long_values_are_refused_before_they_arrive() {
        let mut reader = CommandReader::new().with_max_bulk(10);
        let mut input = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$11\r\n"[..]);
        assert_eq!(reader.next(&mut input), Err(ProtocolError::BulkLength));
    }

    #[test]
    fn what_is_announced_reserves_nothing() {
        for (announced, length) in [
            (&b"*2\r\n$3\r\nGET\r\n$536870912\r\n"[..], 25 + 536_870_912 + 2),
            (b"*1000000\r\n$3\r\nDEL\r\n", 0),
        ] {
            let mut reader = CommandReader::new();
            let mut input = BytesMut::from(announced);
            let before = input.capacity();
            assert_eq!(reader.next(&mut input), Ok(None));
            assert_eq!(input.capacity(), before);
            assert_eq!(reader.announced(), length);
            assert!(reader.arguments.capacity() <= 4);
        }
    }

    proptest! {
        #[test]
        fn any_command_survives_any_split(
            arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let command = Command::from_args(&arguments);
            let bytes = command.frame().clone();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut reader = CommandReader::new();
            let mut input = BytesMut::new();
            let mut found = None;
            for pair in cuts.windows(2) {
                input.extend_from_slice(&bytes[pair[0]..pair[1]]);
                if let Some(command) = reader.next(&mut input).expect("valid") {
                    found = Some(command);
                }
            }
            prop_assert_eq!(found, Some(command));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes);
        }
    }
}
