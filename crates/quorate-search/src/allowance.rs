//! What a query may take of a partition: time, which somebody else measures, and memory.

use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Code, Error};
use crate::limits;

/// Ends a query before it is done: whoever waits for the answer tells it, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The query is to end. What it answers then is a part of the answer, or none.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the queries may take that are asked from now on.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// Ends them.
    pub stop: Stop,
    /// Bytes, about, that one may hold.
    pub bytes: usize,
}

impl Default for Allowance {
    /// As long as it takes, and as much memory as an aggregation may have.
    fn default() -> Self {
        Allowance { stop: Stop::default(), bytes: limits::AGGREGATION_BYTES }
    }
}

impl Allowance {
    /// Refuses what would hold so many bytes.
    pub fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes <= self.bytes { Ok(()) } else { Err(exceeded(self.bytes)) }
    }
}

/// What is left of the bytes that a query may hold.
#[derive(Debug)]
pub struct Room {
    most: usize,
    left: usize,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(most: usize) -> Room {
        Room { most, left: most }
    }

    /// Takes room for what is to be held; refuses what does not fit, before it is made.
    pub fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| exceeded(self.most))?;
        Ok(())
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.left
    }
}

/// What a query that needs more memory is answered with.
pub fn exceeded(most: usize) -> Error {
    let text = format!(
        "Query needs more than {most} bytes: narrow it, use LIMIT or SORTBY MAX, return less, or \
         raise MAXQUERYMEMORY with FT.CONFIG SET"
    );
    Error::new(Code::Memory, text)
}
