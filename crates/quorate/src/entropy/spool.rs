//! Cutting a stream of unknown or excessive length into snapshots of the classic protocol.
//!
//! That protocol announces the length first, in 32 bits. So a stream is copied, part by part, to
//! memory while it is small and to an unnamed temporary file when it is not. A stream of Redis
//! commands is cut between commands, so that each part can be replayed by itself, and never between
//! a state out of a node and the commands that it stands for: a node would execute those. Any
//! other stream is cut at the limit.

use std::{
    fs::{File, OpenOptions},
    io::{self, Cursor, Read, Seek as _, SeekFrom, Write as _},
};

use super::{EntropyResult, error::source, node::Stamped, source::read_full};

/// Parts up to this size stay in memory.
const MEMORY_MAX: usize = 4 << 20;

const PIECE: usize = 256 << 10;

/// One part of a stream, and what is behind it.
pub(super) struct Part {
    pub(super) reader: Box<dyn Read + Send>,
    pub(super) length: u64,
    /// `None` when this is the last part.
    pub(super) rest: Option<Box<dyn Read + Send>>,
}

/// Takes the next part, of at most `part_max` bytes, from a stream.
pub(super) fn next_part(mut stream: Box<dyn Read + Send>, part_max: u64) -> EntropyResult<Part> {
    let mut spool = Spool::Memory(Vec::new());
    let mut scanner = CommandScanner::default();
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    loop {
        let wanted = (part_max - length).min(PIECE as u64) as usize;
        let got = read_full(&mut *stream, &mut piece[..wanted]).map_err(source)?;
        spool.write(&piece[..got])?;
        scanner.scan(&piece[..got]);
        length += got as u64;
        if got < wanted {
            let reader = spool.reader(0, length)?;
            return Ok(Part { reader, length, rest: None });
        }
        if length == part_max {
            break;
        }
    }
    // Whether more follows is not known before it is read.
    let mut next = [0];
    let more = read_full(&mut *stream, &mut next).map_err(source)?;
    if more == 0 {
        return Ok(Part { reader: spool.reader(0, length)?, length, rest: None });
    }
    let cut = scanner.boundary().filter(|boundary| *boundary > 0).unwrap_or(length);
    let tail = spool.reader(cut, length)?.chain(Cursor::new(next)).chain(stream);
    Ok(Part { reader: spool.reader(0, cut)?, length: cut, rest: Some(Box::new(tail)) })
}

enum Spool {
    Memory(Vec<u8>),
    File(File),
}

impl Spool {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        if let Self::Memory(kept) = self
            && kept.len() + bytes.len() > MEMORY_MAX
        {
            let mut file = temporary_file().map_err(spooling)?;
            file.write_all(kept).map_err(spooling)?;
            *self = Self::File(file);
        }
        match self {
            Self::Memory(kept) => kept.extend_from_slice(bytes),
            Self::File(file) => file.write_all(bytes).map_err(spooling)?,
        }
        Ok(())
    }

    /// A reader of what stands from `start` to `end`.
    fn reader(&self, start: u64, end: u64) -> EntropyResult<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Memory(kept) => {
                let range = kept.get(start as usize..end as usize).unwrap_or_default();
                Box::new(Cursor::new(range.to_vec()))
            }
            Self::File(file) => {
                let file = file.try_clone().map_err(spooling)?;
                Box::new(Range { file, at: start, end })
            }
        })
    }
}

/// A range of a file whose other ranges are read elsewhere.
struct Range {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Clones of a file share its position.
        self.file.seek(SeekFrom::Start(self.at))?;
        let most = (self.end - self.at).min(buffer.len() as u64) as usize;
        let got = self.file.read(&mut buffer[..most])?;
        self.at += got as u64;
        Ok(got)
    }
}

fn spooling(error: io::Error) -> super::EntropyError {
    source(format_args!("a temporary copy in {}: {error}", std::env::temp_dir().display()))
}

/// A file that has no name any more: it is gone when it is closed, however this process ends.
fn temporary_file() -> io::Result<File> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = format!("quorate-entropy-{:016x}", u64::from_be_bytes(random));
    let path = std::env::temp_dir().join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    // The data may be secret; others must not open it while it has a name.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Follows a stream of Redis commands and knows where it can be cut.
#[derive(Debug)]
struct CommandScanner {
    expects: Expects,
    /// Arguments of the current command, and those of them still to come.
    count: u64,
    arguments: u64,
    /// The beginning of the current argument.
    head: Vec<u8>,
    is_ping: bool,
    /// Commands that the state in the current command stands for.
    state: Option<u32>,
    /// Commands to come that belong to the state in front of them.
    bound: u32,
    line: Vec<u8>,
    at: u64,
    boundary: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Expects {
    /// `*count`
    Command,
    /// `$length`
    Argument,
    /// This many bytes of an argument and its line end.
    Bytes(u64),
    /// It is no stream of commands.
    Nothing,
}

/// Longest line that announces a number.
const LINE_MAX: usize = 32;

impl Default for CommandScanner {
    fn default() -> Self {
        Self {
            expects: Expects::Command,
            count: 0,
            arguments: 0,
            head: Vec::new(),
            is_ping: false,
            state: None,
            bound: 0,
            line: Vec::new(),
            at: 0,
            boundary: 0,
        }
    }
}

impl CommandScanner {
    /// Where the stream can be cut last; `None` when it is no stream of commands.
    fn boundary(&self) -> Option<u64> {
        (self.expects != Expects::Nothing).then_some(self.boundary)
    }

    fn scan(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.expects != Expects::Nothing {
            let used = match self.expects {
                Expects::Bytes(left) => {
                    let used = left.min(bytes.len() as u64);
                    self.expects = Expects::Bytes(left - used);
                    let room = (Stamped::HEAD - self.head.len()).min(used as usize);
                    self.head.extend_from_slice(&bytes[..room]);
                    if left == used {
                        self.argument_ended(used);
                    }
                    used as usize
                }
                _ => {
                    self.line.push(bytes[0]);
                    1
                }
            };
            self.at += used as u64;
            bytes = &bytes[used..];
            if self.line.ends_with(b"\n") {
                self.line_ended();
            } else if self.line.len() > LINE_MAX {
                self.expects = Expects::Nothing;
            }
        }
    }

    fn argument_ended(&mut self, used: u64) {
        match self.count - self.arguments {
            // With the line end behind it.
            0 => self.is_ping = self.count == 2 && self.head.eq_ignore_ascii_case(b"PING\r\n"),
            1 if self.is_ping => self.state = Stamped::commands_behind(&self.head),
            _ => {}
        }
        self.head.clear();
        self.arguments -= 1;
        self.expects = Expects::Argument;
        if self.arguments == 0 {
            self.expects = Expects::Command;
            self.bound = self.state.take().unwrap_or_else(|| self.bound.saturating_sub(1));
            if self.bound == 0 {
                self.boundary = self.at + used;
            }
        }
    }

    fn line_ended(&mut self) {
        let line = std::mem::take(&mut self.line);
        let number = |kind: &str| -> Option<u64> {
            let text = std::str::from_utf8(&line).ok()?;
            text.strip_suffix("\r\n")?.strip_prefix(kind)?.parse().ok()
        };
        let next = match self.expects {
            Expects::Command => number("*").filter(|count| *count > 0).map(|count| {
                (self.count, self.arguments) = (count, count);
                Expects::Argument
            }),
            Expects::Argument => {
                number("$").and_then(|length| length.checked_add(2)).map(Expects::Bytes)
            }
            _ => None,
        };
        self.expects = next.unwrap_or(Expects::Nothing);
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::resp::Command;

    use super::*;

    fn parts(bytes: &[u8], part_max: u64) -> Vec<Vec<u8>> {
        let mut rest: Option<Box<dyn Read + Send>> = Some(Box::new(Cursor::new(bytes.to_vec())));
        let mut parts = Vec::new();
        while let Some(stream) = rest.take() {
            let mut part = next_part(stream, part_max).expect("reads");
            let mut contents = Vec::new();
            part.reader.read_to_end(&mut contents).expect("reads");
            assert_eq!(contents.len() as u64, part.length);
            assert!(part.length <= part_max);
            parts.push(contents);
            rest = part.rest;
        }
        parts
    }

    #[test]
    fn commands_are_cut_between_each_other() {
        let mut stream = Vec::new();
        for number in 0..2000 {
            let value = "v\r\n".repeat(number % 50);
            let command = Command::from_args(["SET", &format!("key-{number}"), &value]);
            stream.extend_from_slice(command.frame());
        }
        for part_max in [300, 1000, 4096, 70_000, stream.len() as u64] {
            let parts = parts(&stream, part_max);
            assert!(parts.len() as u64 >= stream.len() as u64 / part_max);
            assert!(parts.iter().all(|part| part.starts_with(b"*3\r\n$3\r\nSET")), "{part_max}");
            assert_eq!(parts.concat(), stream);
        }
    }

    #[test]
    fn a_state_and_its_commands_stay_together() {
        let mut stream = Vec::new();
        for number in 0..300_u32 {
            let commands = number % 4;
            let mut state = b"QUORATE1................\0\x01\0\0".to_vec();
            state.extend(commands.to_be_bytes());
            state.extend(vec![b'e'; number as usize % 70]);
            let ping = if number % 2 == 0 { b"PING".as_slice() } else { b"ping" };
            stream.extend_from_slice(Command::from_args([ping, &state]).frame());
            for _ in 0..commands {
                stream.extend_from_slice(Command::from_args(["SET", "key", "value"]).frame());
            }
        }
        for part_max in [300, 333, 1000, 4096, stream.len() as u64] {
            let parts = parts(&stream, part_max);
            assert!(parts.len() as u64 >= stream.len() as u64 / part_max);
            let begins_with_a_state =
                |part: &Vec<u8>| part[..14].eq_ignore_ascii_case(b"*2\r\n$4\r\nPING\r\n");
            assert!(parts.iter().all(begins_with_a_state), "{part_max}");
            assert_eq!(parts.concat(), stream);
        }
        // A ping that is none of ours binds nothing.
        let pings = b"*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n".repeat(40);
        assert!(parts(&pings, 100).iter().all(|part| part.len() % 22 == 0));
    }

    #[test]
    fn other_data_is_cut_at_the_limit() {
        for bytes in [&b"0123456789"[..], b"*1\r\n$x\r\nabcdefg", b"*****", b""] {
            let parts = parts(bytes, 4);
            assert!(parts.iter().rev().skip(1).all(|part| part.len() == 4));
            assert_eq!(parts.concat(), bytes);
        }
    }

    #[test]
    fn large_parts_go_through_a_file() {
        let bytes: Vec<u8> = (0..MEMORY_MAX * 3 + 17).map(|at| (at % 251) as u8).collect();
        let parts = parts(&bytes, 2 * MEMORY_MAX as u64);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.concat(), bytes);
    }
}
