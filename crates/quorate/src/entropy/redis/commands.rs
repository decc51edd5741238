//! Commands out of a stream that comes in pieces.

use bytes::{Buf as _, BytesMut};
use quorate_proto::resp::{Command, CommandReader};

use crate::entropy::{EntropyResult, error::sink};

/// Longest line of annotation between commands.
const ANNOTATION_MAX: usize = 4 << 10;

/// Reads a stream of encoded commands, as in an append-only file.
///
/// Inline commands are refused: bytes that are no stream of commands must not be taken for some.
#[derive(Debug, Default)]
pub(in crate::entropy) struct CommandStream {
    input: BytesMut,
    reader: CommandReader,
    /// Whether a command has begun and is not whole yet.
    inside: bool,
    /// Commands so far.
    pub(in crate::entropy) count: u64,
}

impl CommandStream {
    /// Takes the next bytes.
    pub(in crate::entropy) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next whole command.
    pub(in crate::entropy) fn next(&mut self) -> EntropyResult<Option<Command>> {
        while !self.inside {
            match self.input.first() {
                None => return Ok(None),
                Some(b'*') => break,
                // Redis writes timestamps between commands.
                Some(b'#') => match self.input.iter().position(|byte| *byte == b'\n') {
                    Some(end) => self.input.advance(end + 1),
                    None if self.input.len() > ANNOTATION_MAX => {
                        return Err(self.broken("an annotation without end"));
                    }
                    None => return Ok(None),
                },
                Some(b'R') => {
                    return Err(self.broken("an RDB file, which cannot be replayed as commands"));
                }
                Some(_) => return Err(self.broken("bytes that are no command")),
            }
        }
        let next = self.reader.next(&mut self.input);
        let next = next.map_err(|error| self.broken(&error.to_string()))?;
        self.inside = next.is_none();
        self.count += u64::from(next.is_some());
        Ok(next)
    }

    /// Checks that the stream ends between two commands.
    pub(in crate::entropy) fn end(&self) -> EntropyResult<()> {
        match self.input.is_empty() {
            true => Ok(()),
            false => Err(self.broken("the end inside a command")),
        }
    }

    fn broken(&self, what: &str) -> crate::entropy::EntropyError {
        sink(format_args!("behind command {} of the stream: {what}", self.count))
    }
}
