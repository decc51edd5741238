//! Cursors: answers of aggregations that are read in parts, `WITHCURSOR` and `FT.CURSOR`.
//!
//! A cursor keeps the rows that were not read yet at the node that coordinated the aggregation.
//! It ends when all are read, when it is deleted, or when nobody has read from it for as long as
//! its `MAXIDLE` says. Its number says where it is ([`home_of`]), so any node can pass a command
//! on; where that node is gone the cursor is not found.
//!
//! ```text
//! number   home (24 bits) | drawn (28 bits)      below 2^53, so that any client can keep it
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use crate::aggregate::{Answer, CursorOptions, Row};
use crate::arguments::{Arguments, is, number, shown};
use crate::error::{Code, Error};
use crate::limits;

const DRAWN_BITS: u32 = 28;
const HOME_BITS: u32 = 24;

/// The cursors of one home.
#[derive(Debug)]
pub struct Cursors {
    home: u32,
    cursors: BTreeMap<u64, Cursor>,
    /// When each ends if nobody reads.
    ends: BTreeSet<(u64, u64)>,
    /// Bytes of rows, about.
    bytes: usize,
}

#[derive(Debug)]
struct Cursor {
    index: Vec<u8>,
    total: u64,
    /// Rows that were not read, the next last.
    rows: Vec<Row>,
    options: CursorOptions,
    end_ms: u64,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The rows and how many there are in all.
    pub answer: Answer,
    /// The cursor; 0 if there are no more rows.
    pub cursor: u64,
}

/// How many cursors there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Of all indexes.
    pub global: usize,
    /// Of one.
    pub index: usize,
}

/// What `FT.CURSOR` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `READ`: the next rows, as many as the cursor was made with if nothing else is said.
    Read {
        /// The name of the index.
        index: Vec<u8>,
        /// The cursor.
        cursor: u64,
        /// How many rows.
        count: Option<usize>,
    },
    /// `DEL`: no more of it.
    Delete {
        /// The name of the index.
        index: Vec<u8>,
        /// The cursor.
        cursor: u64,
    },
    /// `GC`: no more of those that nobody read in time.
    Collect,
}

impl Command {
    /// Reads the arguments of `FT.CURSOR`.
    pub fn parse(arguments: &[&[u8]]) -> Result<Command, Error> {
        let refused = |text: &str| Error::new(Code::ParseArguments, text);
        let mut arguments = Arguments::new(arguments);
        let word = arguments.value("FT.CURSOR")?;
        if is(word, "GC") {
            return Ok(Command::Collect);
        }
        let is_read = is(word, "READ");
        if !is_read && !is(word, "DEL") {
            return Err(refused(&format!("Unknown subcommand `{}`", shown(word))));
        }
        let index = arguments.value("FT.CURSOR")?.to_vec();
        let cursor = arguments.next().and_then(number::<u64>);
        let cursor = cursor.ok_or_else(|| refused("Bad cursor ID"))?;
        let mut count = None;
        if is_read && arguments.skip("COUNT") {
            let rows = arguments.next().and_then(number::<usize>).filter(|&rows| rows > 0);
            count = Some(rows.ok_or_else(|| refused("Bad value for COUNT"))?);
        }
        if let Some(word) = arguments.next() {
            let text = format!("Unknown argument `{}`", shown(word));
            return Err(Error::new(Code::UnknownArgument, text));
        }
        Ok(match is_read {
            true => Command::Read { index, cursor, count },
            false => Command::Delete { index, cursor },
        })
    }
}

/// Where a cursor of this number is, if it is anywhere.
pub fn home_of(cursor: u64) -> u32 {
    ((cursor >> DRAWN_BITS) & ((1 << HOME_BITS) - 1)) as u32
}

impl Cursors {
    /// None yet, of the home of this number: of a node, or of a shard of one.
    ///
    /// # Panics
    /// If the number has more than 24 bits.
    pub fn new(home: u32) -> Cursors {
        assert!(home < 1 << HOME_BITS, "a home has 24 bits");
        Cursors { home, cursors: BTreeMap::new(), ends: BTreeSet::new(), bytes: 0 }
    }

    /// Cursors that are opened from now on have this home.
    ///
    /// # Panics
    /// If the number has more than 24 bits.
    pub fn move_to(&mut self, home: u32) {
        assert!(home < 1 << HOME_BITS, "a home has 24 bits");
        self.home = home;
    }

    /// Keeps an answer and returns its first part. `drawn` is a random number. Times are in
    /// milliseconds, of any clock that does not go back.
    pub fn open(
        &mut self,
        now_ms: u64,
        drawn: u64,
        index: &[u8],
        answer: Answer,
        options: CursorOptions,
    ) -> Result<Part, Error> {
        self.collect(now_ms);
        let Answer { total, mut rows } = answer;
        rows.reverse();
        let mut cursor = Cursor { index: index.to_vec(), total, rows, options, end_ms: 0 };
        let first = cursor.take(None);
        if cursor.rows.is_empty() {
            return Ok(Part { answer: first, cursor: 0 });
        }
        if self.counts(index).index >= limits::CURSORS {
            let text = format!(
                "Too many cursors allocated for index: {} are open; read them to their ends, or \
                 delete them",
                limits::CURSORS
            );
            return Err(Error::new(Code::Limit, text));
        }
        let bytes: usize = cursor.rows.iter().map(Row::size).sum();
        if self.bytes.saturating_add(bytes) > limits::CURSOR_BYTES {
            let text = format!("Cursors would hold more than {} bytes", limits::CURSOR_BYTES);
            return Err(Error::new(Code::Limit, text));
        }
        self.bytes += bytes;
        let id = self.vacant(drawn);
        self.keep(id, cursor, now_ms);
        Ok(Part { answer: first, cursor: id })
    }

    /// A number that no cursor has.
    fn vacant(&self, drawn: u64) -> u64 {
        let most = (1 << DRAWN_BITS) - 1;
        let home = u64::from(self.home) << DRAWN_BITS;
        // Zero would say that there is none.
        let numbers = (0..=most).map(|more| drawn.wrapping_add(more) & most);
        let ids = numbers.filter(|&number| number != 0).map(|number| home | number);
        let mut vacant = ids.filter(|id| !self.cursors.contains_key(id));
        vacant.next().expect("invariant: there are fewer cursors than numbers")
    }

    fn keep(&mut self, id: u64, mut cursor: Cursor, now_ms: u64) {
        cursor.end_ms = now_ms.saturating_add(cursor.options.max_idle_ms);
        self.ends.insert((cursor.end_ms, id));
        self.cursors.insert(id, cursor);
    }

    fn remove(&mut self, id: u64) -> Option<Cursor> {
        let cursor = self.cursors.remove(&id)?;
        self.ends.remove(&(cursor.end_ms, id));
        Some(cursor)
    }

    /// The next part of a cursor: so many rows, or as many as it was made with.
    pub fn read(
        &mut self,
        now_ms: u64,
        index: &[u8],
        id: u64,
        count: Option<usize>,
    ) -> Result<Part, Error> {
        self.collect(now_ms);
        let found = self.cursors.get(&id).is_some_and(|cursor| cursor.index == index);
        let cursor = if found { self.remove(id) } else { None };
        let Some(mut cursor) = cursor else {
            return Err(Error::new(Code::None, format!("Cursor not found, id: {id}")));
        };
        let answer = cursor.take(count);
        self.bytes -= answer.rows.iter().map(Row::size).sum::<usize>();
        if cursor.rows.is_empty() {
            return Ok(Part { answer, cursor: 0 });
        }
        self.keep(id, cursor, now_ms);
        Ok(Part { answer, cursor: id })
    }

    /// Ends a cursor.
    pub fn delete(&mut self, index: &[u8], id: u64) -> Result<(), Error> {
        match self.cursors.get(&id) {
            Some(cursor) if cursor.index == index => {
                self.end(id);
                Ok(())
            }
            _ => Err(Error::new(Code::None, "Cursor does not exist")),
        }
    }

    /// Ends the cursors of indexes but those that are there.
    pub fn retain_indexes(&mut self, is_there: impl Fn(&[u8]) -> bool) {
        let gone = |(&id, cursor): (&u64, &Cursor)| (!is_there(&cursor.index)).then_some(id);
        let ids: Vec<u64> = self.cursors.iter().filter_map(gone).collect();
        ids.into_iter().for_each(|id| self.end(id));
    }

    fn end(&mut self, id: u64) {
        if let Some(cursor) = self.remove(id) {
            self.bytes -= cursor.rows.iter().map(Row::size).sum::<usize>();
        }
    }

    /// Ends the cursors from which nobody has read in time; how many these were.
    pub fn collect(&mut self, now_ms: u64) -> usize {
        let mut ended = 0;
        while let Some(&(end_ms, id)) = self.ends.first().filter(|(end_ms, _)| *end_ms <= now_ms) {
            debug_assert!(end_ms <= now_ms);
            self.end(id);
            ended += 1;
        }
        ended
    }

    /// When the next of them ends if nobody reads.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.ends.first().map(|(end_ms, _)| *end_ms)
    }

    /// How many there are, of all indexes and of one.
    pub fn counts(&self, index: &[u8]) -> Counts {
        let of_index = self.cursors.values().filter(|cursor| cursor.index == index);
        Counts { global: self.cursors.len(), index: of_index.count() }
    }
}

impl Cursor {
    fn take(&mut self, count: Option<usize>) -> Answer {
        let count = count.unwrap_or(self.options.count).min(self.rows.len());
        let mut rows = self.rows.split_off(self.rows.len() - count);
        rows.reverse();
        Answer { total: self.total, rows }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn answer(rows: usize) -> Answer {
        let row = |number: usize| Row::new((number as u64).to_be_bytes().as_slice().into());
        Answer { total: rows as u64, rows: (0..rows).map(row).collect() }
    }

    fn options(count: usize, max_idle_ms: u64) -> CursorOptions {
        CursorOptions { count, max_idle_ms }
    }

    #[test]
    fn rows_are_read_once_and_in_order() {
        let mut cursors = Cursors::new(5);
        let part = cursors.open(0, 9, b"i", answer(7), options(3, 100)).expect("room");
        let mut rows = part.answer.rows;
        assert_eq!(rows.len(), 3);
        assert_eq!(home_of(part.cursor), 5);
        let part = cursors.read(99, b"i", part.cursor, Some(1)).expect("there");
        rows.extend(part.answer.rows);
        assert_eq!(cursors.counts(b"i"), Counts { global: 1, index: 1 });
        assert_eq!(cursors.poll_timeout(), Some(199));
        let last = cursors.read(198, b"i", part.cursor, Some(100)).expect("there");
        assert_eq!(last.cursor, 0);
        rows.extend(last.answer.rows);
        assert_eq!(rows, answer(7).rows);
        assert_eq!(cursors.bytes, 0);
        let error = cursors.read(198, b"i", part.cursor, None).expect_err("ended");
        assert_eq!(error.to_string(), format!("Cursor not found, id: {}", part.cursor));
        let error = cursors.delete(b"i", part.cursor).expect_err("ended");
        assert_eq!(error.to_string(), "Cursor does not exist");
    }

    #[test]
    fn cursors_end() {
        let mut cursors = Cursors::new(0);
        let mut open = |index: &[u8], now| {
            cursors.open(now, 0, index, answer(2), options(1, 10)).expect("room").cursor
        };
        let (one, two, three) = (open(b"i", 0), open(b"j", 5), open(b"j", 5));
        assert_eq!([one, two, three], [1, 2, 3]);
        assert!(cursors.read(9, b"j", one, None).is_err(), "of another index");
        assert!(cursors.delete(b"i", two).is_err(), "of another index");
        assert!(cursors.read(10, b"i", one, None).is_err(), "idle");
        cursors.retain_indexes(|index| index == b"i");
        assert_eq!(cursors.counts(b"j"), Counts::default());
        assert_eq!((cursors.bytes, cursors.poll_timeout()), (0, None));
    }

    #[test]
    fn an_index_has_room_for_so_many() {
        let mut cursors = Cursors::new(0);
        for number in 0..limits::CURSORS as u64 {
            cursors.open(number, 1, b"i", answer(2), options(1, 1000)).expect("room");
        }
        let error = cursors.open(500, 1, b"i", answer(2), options(1, 1)).expect_err("full");
        assert!(error.to_string().starts_with("SEARCH_LIMIT_OVER Too many cursors"), "{error}");
        cursors.open(500, 1, b"i", answer(1), options(1, 1)).expect("needs none");
        cursors.open(500, 1, b"j", answer(2), options(1, 1)).expect("room");
        cursors.open(1000, 1, b"i", answer(2), options(1, 1)).expect("one has ended");
    }

    #[test]
    fn commands_are_read() {
        let parsed = |text: &str| {
            let arguments: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            Command::parse(&arguments).map_err(|error| error.to_string())
        };
        let read = |count| Command::Read { index: b"i".to_vec(), cursor: 5, count };
        assert_eq!(parsed("READ i 5"), Ok(read(None)));
        assert_eq!(parsed("read i 5 count 2"), Ok(read(Some(2))));
        assert_eq!(parsed("DEL i 5"), Ok(Command::Delete { index: b"i".to_vec(), cursor: 5 }));
        assert_eq!(parsed("GC"), Ok(Command::Collect));
        for (text, error) in [
            ("READ i x", "SEARCH_PARSE_ARGS Bad cursor ID"),
            ("READ i 5 COUNT 0", "SEARCH_PARSE_ARGS Bad value for COUNT"),
            ("NOPE i 5", "SEARCH_PARSE_ARGS Unknown subcommand `NOPE`"),
            ("DEL i 5 6", "SEARCH_ARG_UNRECOGNIZED Unknown argument `6`"),
        ] {
            assert_eq!(parsed(text), Err(error.to_string()));
        }
    }

    proptest! {
        /// Whatever happens, what is held is what cursors hold, and each row is read once.
        #[test]
        fn nothing_is_lost_or_held(steps in prop::collection::vec((0u8..4, 0u64..5, 1usize..4), 0..60)) {
            let mut cursors = Cursors::new(1);
            let mut open: Vec<(u64, usize)> = vec![];
            let mut now = 0;
            for (step, number, count) in steps {
                match step {
                    0 => {
                        let part = cursors.open(now, number, b"i", answer(count * 2), options(count, 20))
                            .expect("room");
                        // Of one that has ended the number may be drawn again.
                        open.retain(|(id, _)| *id != part.cursor);
                        open.push((part.cursor, count));
                    }
                    1 => now += number,
                    _ if open.is_empty() => {}
                    2 => {
                        let at = number as usize % open.len();
                        match cursors.read(now, b"i", open[at].0, Some(count)) {
                            Ok(part) => {
                                prop_assert_eq!(part.answer.rows.len(), count.min(open[at].1));
                                open[at].1 -= part.answer.rows.len();
                                prop_assert_eq!(part.cursor == 0, open[at].1 == 0);
                            }
                            Err(_) => open[at].1 = 0,
                        }
                        open.retain(|(_, left)| *left > 0);
                    }
                    _ => {
                        let (id, _) = open.remove(number as usize % open.len());
                        let _ = cursors.delete(b"i", id);
                    }
                }
                let rows = cursors.cursors.values().flat_map(|cursor| &cursor.rows);
                prop_assert_eq!(cursors.bytes, rows.map(Row::size).sum::<usize>());
                prop_assert_eq!(cursors.ends.len(), cursors.cursors.len());
            }
        }
    }
}
