//! A command: one buffer, and where its arguments stand in it.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{CommandReader, ProtocolError, write_decimal};

/// Where an argument stands in the frame: start and end.
pub(super) type ArgumentRange = (u32, u32);

/// Most commands have at most this many arguments; longer ones allocate.
pub(super) type ArgumentRanges = SmallVec<[ArgumentRange; 4]>;

/// A command as it arrived: the encoded array of bulk strings and the ranges of its arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    frame: Bytes,
    arguments: ArgumentRanges,
}

impl Command {
    pub(super) fn new(frame: Bytes, arguments: ArgumentRanges) -> Self {
        Self { frame, arguments }
    }

    /// Encodes a command from its arguments, the first of which is its name. An empty list gives
    /// a command with an empty name.
    pub fn from_args<I>(arguments: I) -> Self
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        let whole = arguments.into_iter().map(|argument| (argument, []));
        Self::from_halves(whole)
    }

    /// The same, where each argument is in two pieces.
    pub(crate) fn from_halves<A, B>(arguments: impl Iterator<Item = (A, B)> + Clone) -> Self
    where
        A: AsRef<[u8]>,
        B: AsRef<[u8]>,
    {
        /// Of a dollar sign or an asterisk, a number and an end of line.
        const HEAD_MAX: usize = 1 + 20 + 2;
        let (mut count, mut capacity) = (0, HEAD_MAX);
        for (first, second) in arguments.clone() {
            count += 1;
            capacity += HEAD_MAX + first.as_ref().len() + second.as_ref().len() + 2;
        }
        let mut frame = Vec::with_capacity(capacity);
        let mut ranges = ArgumentRanges::new();
        frame.push(b'*');
        write_decimal(&mut frame, u64::max(count, 1));
        frame.extend_from_slice(b"\r\n");
        for (first, second) in arguments {
            push_argument(&mut frame, &mut ranges, first.as_ref(), second.as_ref());
        }
        if ranges.is_empty() {
            push_argument(&mut frame, &mut ranges, b"", b"");
        }
        Self { frame: frame.into(), arguments: ranges }
    }

    /// Decodes one whole encoded command, which shares the bytes of its frame.
    pub fn decode(frame: Bytes) -> Result<Self, ProtocolError> {
        CommandReader::whole(frame)?.ok_or(ProtocolError::ArgumentCount)
    }

    /// Number of arguments, the name included. At least 1.
    #[expect(clippy::len_without_is_empty, reason = "a command always has a name")]
    pub fn len(&self) -> usize {
        self.arguments.len()
    }

    /// Argument `index`; 0 is the name.
    ///
    /// # Panics
    /// When there is no such argument, like a slice.
    pub fn arg(&self, index: usize) -> &[u8] {
        let (start, end) = self.arguments[index];
        &self.frame[start as usize..end as usize]
    }

    /// Argument `index`, when there is one.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.len()).then(|| self.arg(index))
    }

    /// The name as the client wrote it.
    pub fn name(&self) -> &[u8] {
        self.arg(0)
    }

    /// All arguments, the name first.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        let frame = &self.frame;
        self.arguments.iter().map(move |&(start, end)| &frame[start as usize..end as usize])
    }

    /// The encoded array of bulk strings.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments =
            self.args().map(|argument| alloc::string::String::from_utf8_lossy(argument));
        f.debug_list().entries(arguments).finish()
    }
}

fn push_argument(frame: &mut Vec<u8>, ranges: &mut ArgumentRanges, first: &[u8], second: &[u8]) {
    frame.push(b'$');
    write_decimal(frame, (first.len() + second.len()) as u64);
    frame.extend_from_slice(b"\r\n");
    let start = frame.len() as u32;
    frame.extend_from_slice(first);
    frame.extend_from_slice(second);
    ranges.push((start, frame.len() as u32));
    frame.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_round_trip_through_the_frame() {
        let command = Command::from_args(["SET", "key", "", "a longer argument"]);
        assert_eq!(
            &command.frame()[..],
            b"*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n$17\r\na longer argument\r\n"
        );
        assert_eq!(Command::decode(command.frame().clone()), Ok(command.clone()));
        assert_eq!(command.args().nth(3), Some(b"a longer argument".as_slice()));
        assert_eq!(command.get(4), None);
    }

    #[test]
    fn decoding_wants_exactly_one_command() {
        for bytes in ["*1\r\n$4\r\nPING\r\nx", "*1\r\n$4\r\nPIN", "PING\r\n", ""] {
            assert!(Command::decode(Bytes::from(bytes)).is_err(), "{bytes:?}");
        }
    }
}
