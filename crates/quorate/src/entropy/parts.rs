//! Cutting a snapshot of unknown or excessive length into snapshots of the classic protocol.
//!
//! That protocol announces the length first, in 32 bits. So a stream is copied part by part, and of
//! a file the end of each part is looked for before it is sent. A stream of Redis commands is cut
//! [where it can be replayed from](CommandScanner), any other one at the limit. All of that happens
//! on a thread of its own, while the part before is on its way.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{
    EntropyResult, Snapshot,
    boundaries::CommandScanner,
    error::source,
    source::read_full,
    spool::{FileRange, Spool},
};

const PIECE: usize = 256 << 10;

/// One part of a snapshot.
pub(super) struct Part {
    pub(super) reader: Box<dyn Read + Send>,
    pub(super) length: u64,
}

/// The parts of a snapshot, in order. After an error there are no more.
pub(super) struct Parts {
    cut: Receiver<EntropyResult<Part>>,
}

impl Parts {
    /// Begins to cut a snapshot into parts of at most `part_max` bytes, at least 1.
    pub(super) fn of(snapshot: Snapshot, part_max: u64) -> io::Result<Self> {
        // Without room in it: one part is sent while the next one is prepared.
        let (parts, cut) = sync_channel(0);
        let work = move || {
            let result = match snapshot.range {
                Some(range) => cut_file(range, part_max, &parts),
                None => cut_stream(snapshot.reader, part_max, &parts),
            };
            if let Err(error) = result {
                // Nobody listens when the transfer has failed before.
                let _ = parts.send(Err(error));
            }
        };
        thread::Builder::new().name("quorate-parts".into()).spawn(work)?;
        Ok(Self { cut })
    }
}

impl Iterator for Parts {
    type Item = EntropyResult<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cut.recv().ok()
    }
}

type Outlet = SyncSender<EntropyResult<Part>>;

fn cut_stream(stream: Box<dyn Read + Send>, part_max: u64, parts: &Outlet) -> EntropyResult<()> {
    let mut stream = Cut { read: Box::new(io::empty()), unread: stream };
    loop {
        let (part, is_last) = next_part(&mut stream, part_max)?;
        if parts.send(Ok(part)).is_err() || is_last {
            return Ok(());
        }
    }
}

/// A stream of which too much was read.
struct Cut {
    /// What was read and belongs behind the part before.
    read: Box<dyn Read + Send>,
    unread: Box<dyn Read + Send>,
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.read.read(buffer)? {
            0 => self.unread.read(buffer),
            got => Ok(got),
        }
    }
}

/// Takes the next part from a stream, and tells whether it is the last one.
fn next_part(stream: &mut Cut, part_max: u64) -> EntropyResult<(Part, bool)> {
    let mut spool = Spool::new(part_max);
    let mut scanner = CommandScanner::default();
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    while length < part_max {
        let wanted = (part_max - length).min(PIECE as u64) as usize;
        let got = read_full(stream, &mut piece[..wanted]).map_err(source)?;
        spool.write(&piece[..got])?;
        scanner.scan(&piece[..got]);
        length += got as u64;
        if got < wanted {
            let (all, _) = spool.split(length, length);
            return Ok((Part { reader: all.reader(), length }, true));
        }
    }
    // Whether more follows is not known before it is read.
    let mut next = [0];
    let is_last = read_full(stream, &mut next).map_err(source)? == 0;
    let cut = if is_last { length } else { cut_at(&scanner).unwrap_or(length) };
    let (first, behind) = spool.split(cut, length);
    // All that was read before is in the spool.
    stream.read = Box::new(behind.reader().chain(io::Cursor::new(next)));
    Ok((Part { reader: first.reader(), length: cut }, is_last))
}

/// Cuts a file, of which nothing has to be copied.
fn cut_file(mut rest: FileRange, part_max: u64, parts: &Outlet) -> EntropyResult<()> {
    loop {
        let is_last = rest.length() <= part_max;
        let cut = if is_last { rest.length() } else { file_cut(&rest, part_max)? };
        let (part, behind) = rest.split(cut);
        let part = Part { length: part.length(), reader: Box::new(part) };
        if parts.send(Ok(part)).is_err() || is_last {
            return Ok(());
        }
        rest = behind;
    }
}

/// Where the first `part_max` bytes of a longer file can be cut.
fn file_cut(range: &FileRange, part_max: u64) -> EntropyResult<u64> {
    let (mut first, _) = range.clone().split(part_max);
    let mut scanner = CommandScanner::default();
    let mut piece = vec![0; PIECE];
    // What is no stream of commands need not be read to its end.
    while scanner.boundary().is_some() {
        let got = read_full(&mut first, &mut piece).map_err(source)?;
        if got == 0 {
            break;
        }
        scanner.scan(&piece[..got]);
    }
    Ok(cut_at(&scanner).unwrap_or(part_max))
}

/// The last place where a stream can be cut; `None` when there is none.
fn cut_at(scanner: &CommandScanner) -> Option<u64> {
    scanner.boundary().filter(|boundary| *boundary > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use quorate_proto::resp::Command;

    use super::*;
    use crate::entropy::spool::{MEMORY_MAX, temporary_file};

    /// The parts of a stream, which are those of a file of the same bytes.
    fn parts(bytes: &[u8], part_max: u64) -> Vec<Vec<u8>> {
        let contents = |snapshot| {
            let part = |part: EntropyResult<Part>| {
                let Part { mut reader, length } = part.expect("a part");
                let mut contents = Vec::new();
                reader.read_to_end(&mut contents).expect("reads");
                assert_eq!(contents.len() as u64, length);
                assert!(length <= part_max);
                contents
            };
            Parts::of(snapshot, part_max).expect("a thread").map(part).collect::<Vec<_>>()
        };
        let stream = contents(Snapshot::new(io::Cursor::new(bytes.to_vec()), None));
        let mut file = temporary_file().expect("a file");
        file.write_all(b"before").expect("is written");
        file.write_all(bytes).expect("is written");
        file.write_all(b"behind").expect("is written");
        let range = FileRange::new(file, 6, 6 + bytes.len() as u64);
        assert_eq!(contents(Snapshot::of_file(range)), stream);
        stream
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
