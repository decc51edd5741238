//! Commands out of a stream that comes in pieces.

use bytes::{Buf as _, BytesMut};
use quorate_proto::resp::{Command, CommandReader};

use crate::{EntropyResult, error::sink};

/// Longest line of annotation between commands.
const ANNOTATION_MAX: usize = 4 << 10;

/// Reads a stream of encoded commands, as in an append-only file.
///
/// Inline commands are refused: bytes that are no stream of commands must not be taken for some.
#[derive(Debug, Default)]
pub(crate) struct CommandStream {
    input: BytesMut,
    reader: CommandReader,
    /// Whether a command has begun and is not whole yet.
    inside: bool,
    /// Commands so far.
    pub(crate) count: u64,
}

impl CommandStream {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next whole command.
    pub(crate) fn next(&mut self) -> EntropyResult<Option<Command>> {
        while !self.inside {
            match self.input.first() {
                None => return Ok(None),
                // Behind an empty array the reader would look for an inline command.
                Some(b'*') => match self.input.get(1) {
                    None => return Ok(None),
                    Some(b'1'..=b'9') => break,
                    Some(_) => return Err(self.broken("a command without words")),
                },
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
    pub(crate) fn end(&self) -> EntropyResult<()> {
        match self.input.is_empty() {
            true => Ok(()),
            false => Err(self.broken("the end inside a command")),
        }
    }

    fn broken(&self, what: &str) -> crate::EntropyError {
        sink(format_args!("behind command {} of the stream: {what}", self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<usize, String> {
        let mut stream = CommandStream::default();
        let mut count = 0;
        for byte in bytes {
            stream.push(&[*byte]);
            while stream.next().map_err(|error| error.to_string())?.is_some() {
                count += 1;
            }
        }
        stream.end().map_err(|error| error.to_string())?;
        Ok(count)
    }

    #[test]
    fn commands_and_annotations_are_read_and_nothing_else() {
        assert_eq!(read(b""), Ok(0));
        assert_eq!(read(b"#TS:1\r\n*1\r\n$4\r\nPING\r\n#TS:2\r\n*1\r\n$4\r\nPING\r\n"), Ok(2));
        for (bytes, what) in [
            (&b"PING\r\n"[..], "behind command 0 of the stream: bytes that are no command"),
            (b"*0\r\nPING\r\n", "behind command 0 of the stream: a command without words"),
            (b"REDIS0011", "behind command 0 of the stream: an RDB file"),
            (b"*1\r\n$4\r\nPING\r\n*1\r\n", "behind command 1 of the stream: the end inside"),
            (b"*1\r\n:4\r\n", "behind command 0 of the stream: Protocol error: expected '$'"),
        ] {
            let error = read(bytes).expect_err(what);
            assert!(error.starts_with(&format!("sink: {what}")), "{error}");
        }
        let endless = [b"#".as_slice(), &[b'x'; ANNOTATION_MAX + 1]].concat();
        assert!(read(&endless).is_err());
    }
}
