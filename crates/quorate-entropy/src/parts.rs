//! Cutting a snapshot of unknown or excessive length into snapshots of the classic protocol.
//!
//! That protocol announces the length first, in 32 bits. So a stream is copied part by part, and of
//! a file the end of each part is looked for before it is sent. A stream of Redis commands is cut
//! [where it can be replayed from](CommandScanner), so a part is longer than wanted where a command
//! is; any other stream is cut at the limit, or where it is seen to be another one. All of that
//! happens on a thread of its own, while the part before is on its way.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
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

/// How many bytes a part may have; at least 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// A part that can end before ends here at the latest.
    pub(super) wanted: u64,
    /// Any part does.
    pub(super) most: u64,
}

/// The parts of a snapshot, in order. After an error there are no more.
pub(super) struct Parts {
    cut: Receiver<EntropyResult<Part>>,
    is_over: Arc<AtomicBool>,
}

impl Parts {
    /// Begins to cut a snapshot.
    pub(super) fn of(snapshot: Snapshot, lengths: Lengths) -> io::Result<Self> {
        // Without room in it: one part is sent while the next one is prepared.
        let (parts, cut) = sync_channel(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let cutter = Cutter { lengths, parts, is_over: Arc::clone(&is_over) };
        let work = move || {
            let result = match snapshot.range {
                Some(range) => cutter.cut_file(range),
                None => cutter.cut_stream(snapshot.reader),
            };
            if let Err(error) = result {
                // Nobody listens when the transfer has failed before.
                let _ = cutter.parts.send(Err(error));
            }
        };
        thread::Builder::new().name("quorate-parts".into()).spawn(work)?;
        Ok(Self { cut, is_over })
    }
}

impl Iterator for Parts {
    type Item = EntropyResult<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cut.recv().ok()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// The side that cuts.
struct Cutter {
    lengths: Lengths,
    parts: SyncSender<EntropyResult<Part>>,
    /// Nobody waits for parts any more.
    is_over: Arc<AtomicBool>,
}

/// How far a part has been read.
#[derive(Default)]
struct Scanned {
    scanner: CommandScanner,
    length: u64,
}

/// A stream of which too much was read.
struct Cut {
    /// What was read and belongs behind the part before.
    read: Box<dyn Read + Send>,
    unread: Box<dyn Read + Send>,
}

impl Cutter {
    fn cut_stream(&self, stream: Box<dyn Read + Send>) -> EntropyResult<()> {
        let mut stream = Cut { read: Box::new(io::empty()), unread: stream };
        loop {
            let (part, is_last) = self.next_part(&mut stream)?;
            if self.parts.send(Ok(part)).is_err() || is_last {
                return Ok(());
            }
        }
    }

    /// Takes the next part from a stream, and tells whether it is the last one.
    fn next_part(&self, stream: &mut Cut) -> EntropyResult<(Part, bool)> {
        let mut spool = Spool::new(self.lengths.wanted);
        let mut scanned = Scanned::default();
        let mut piece = vec![0; PIECE];
        while let Some(wanted) = self.wants(&scanned)? {
            let got = read_full(stream, &mut piece[..wanted]).map_err(source)?;
            spool.write(&piece[..got])?;
            scanned.add(&piece[..got]);
            if got < wanted {
                let length = scanned.length;
                let (all, _) = spool.split(length, length);
                return Ok((Part { reader: all.reader(), length }, true));
            }
        }
        // Whether more follows is not known before it is read.
        let mut next = [0];
        let is_last = read_full(stream, &mut next).map_err(source)? == 0;
        let length = if is_last { scanned.length } else { scanned.cut()? };
        let (first, behind) = spool.split(length, scanned.length);
        // What was read too much of the part before is in this one.
        stream.read = Box::new(behind.reader().chain(io::Cursor::new(next)));
        Ok((Part { reader: first.reader(), length }, is_last))
    }

    /// Cuts a file, of which nothing has to be copied.
    fn cut_file(&self, mut rest: FileRange) -> EntropyResult<()> {
        loop {
            let is_short = rest.length() <= self.lengths.wanted;
            let cut = if is_short { rest.length() } else { self.file_cut(&rest)? };
            let is_last = cut == rest.length();
            let (part, behind) = rest.split(cut);
            let part = Part { length: part.length(), reader: Box::new(part) };
            if self.parts.send(Ok(part)).is_err() || is_last {
                return Ok(());
            }
            rest = behind;
        }
    }

    /// Where the next part of a file ends.
    fn file_cut(&self, range: &FileRange) -> EntropyResult<u64> {
        let mut unread = range.clone();
        let mut scanned = Scanned::default();
        let mut piece = vec![0; PIECE];
        while let Some(wanted) = self.wants(&scanned)? {
            let got = read_full(&mut unread, &mut piece[..wanted]).map_err(source)?;
            scanned.add(&piece[..got]);
            if got < wanted {
                return Ok(range.length());
            }
            // What is no stream of commands need not be read.
            if scanned.scanner.boundary().is_none() {
                scanned.length = scanned.length.max(self.lengths.wanted);
            }
        }
        scanned.cut()
    }

    /// How many bytes to read next; `None` when the part can be cut. A stream of commands goes on
    /// until it can be, in steps that leave less behind the cut than the next part takes.
    ///
    /// # Errors
    /// When the transfer is over: nobody waits for what would be read.
    fn wants(&self, scanned: &Scanned) -> EntropyResult<Option<usize>> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(source("the transfer is over"));
        }
        let Lengths { wanted, most } = self.lengths;
        let needs_more = scanned.length >= wanted && scanned.scanner.boundary() == Some(0);
        let left = if needs_more { most } else { wanted }.saturating_sub(scanned.length);
        let step = left.min(PIECE as u64).min(wanted);
        Ok((step > 0).then_some(step as usize))
    }
}

impl Scanned {
    fn add(&mut self, piece: &[u8]) {
        self.scanner.scan(piece);
        self.length += piece.len() as u64;
    }

    /// Where it is cut.
    fn cut(&self) -> EntropyResult<u64> {
        match self.scanner.boundary() {
            None => Ok(self.length),
            Some(0) => Err(source(format_args!(
                "a command, with the state that it belongs to, is longer than the {} bytes that the \
                 classic protocol can send",
                self.length
            ))),
            Some(boundary) => Ok(boundary),
        }
    }
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.read.read(buffer)? {
            0 => self.unread.read(buffer),
            got => Ok(got),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use quorate_proto::resp::Command;

    use super::*;
    use crate::spool::{MEMORY_MAX, temporary_file};

    const MOST: u64 = 1 << 30;

    /// The parts of a stream, which are those of a file of the same bytes.
    fn parts(bytes: &[u8], part_max: u64) -> Vec<Vec<u8>> {
        let contents = |snapshot| {
            let part = |part: EntropyResult<Part>| {
                let Part { mut reader, length } = part.expect("a part");
                let mut contents = Vec::new();
                reader.read_to_end(&mut contents).expect("reads");
                assert_eq!(contents.len() as u64, length);
                contents
            };
            let lengths = Lengths { wanted: part_max, most: MOST };
            Parts::of(snapshot, lengths).expect("a thread").map(part).collect::<Vec<_>>()
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
            assert!(parts.iter().all(|part| part.len() as u64 <= part_max));
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
            assert!(parts.iter().all(|part| part.len() as u64 <= part_max));
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
    fn a_command_that_is_longer_than_a_part_is_not_cut() {
        let set = |key: &str, length| {
            Command::from_args(["SET", key, &"v".repeat(length)]).frame().to_vec()
        };
        // Behind the long one, and in its value, nothing must look like the beginning of a part.
        for (before, behind) in [(0, 0), (0, 3), (5, 0), (5, 3)] {
            let mut stream = set("a", 10).repeat(before);
            let long =
                Command::from_args(["SET", "long", &"\r\n*1\r\n$8\r\nFLUSHALL".repeat(40_000)]);
            stream.extend_from_slice(long.frame());
            stream.extend(set("b", 10).repeat(behind));
            for part_max in [1, 50, 700, 4096, 300_000] {
                let parts = parts(&stream, part_max);
                assert!(
                    parts.iter().all(|part| part.starts_with(b"*3\r\n$3\r\nSET")),
                    "{part_max}"
                );
                assert_eq!(parts.concat(), stream);
                let most = long.frame().len() + part_max as usize;
                assert!(parts.iter().all(|part| part.len() <= most), "nothing more than it needs");
            }
        }
    }

    #[test]
    fn a_command_that_no_part_can_hold_is_an_error() {
        let stream = Command::from_args(["SET", "key", &"v".repeat(5000)]).frame().repeat(2);
        let lengths = Lengths { wanted: 100, most: 1000 };
        let snapshot = Snapshot::new(io::Cursor::new(stream), None);
        let parts: Vec<_> = Parts::of(snapshot, lengths).expect("a thread").collect();
        assert!(matches!(parts.as_slice(), [Err(_)]), "it is not sent in pieces");
    }

    #[test]
    fn nothing_more_is_copied_once_the_transfer_is_over() {
        struct Endless {
            _alive: std::sync::mpsc::Sender<()>,
        }
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let (alive, ended) = std::sync::mpsc::channel();
        let lengths = Lengths { wanted: 1000, most: MOST };
        let snapshot = Snapshot::new(Endless { _alive: alive }, None);
        let mut parts = Parts::of(snapshot, lengths).expect("a thread");
        assert!(parts.next().is_some_and(|part| part.is_ok()));
        drop(parts);
        // The reader goes when the thread does.
        assert!(ended.recv().is_err());
    }

    #[test]
    fn other_data_is_cut_at_the_limit() {
        for bytes in [&b"0123456789"[..], b"*x\r\n$x\r\nabcdefg", b"--***", b""] {
            let parts = parts(bytes, 4);
            assert!(parts.iter().rev().skip(1).all(|part| part.len() == 4));
            assert!(parts.iter().all(|part| part.len() <= 4));
            assert_eq!(parts.concat(), bytes);
        }
        // What looks like a command at the limit is cut where it is seen to be none.
        assert_eq!(parts(b"*1\r\n$x\r\nabcdefg", 4), [&b"*1\r\n$x\r\n"[..], b"abcd", b"efg"]);
        assert_eq!(parts(b"*****", 4), [b"*****"]);
    }

    #[test]
    fn large_parts_go_through_a_file() {
        let bytes: Vec<u8> = (0..MEMORY_MAX * 3 + 17).map(|at| (at % 251) as u8).collect();
        let parts = parts(&bytes, 2 * MEMORY_MAX as u64);
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.len() <= 2 * MEMORY_MAX));
        assert_eq!(parts.concat(), bytes);
    }
}
