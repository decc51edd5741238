//! Bytes of large commands that clients of a node have under way, of all shards together.
//!
//! A large command is in memory several times while it is executed and replicated, and what many of
//! them take at once is bounded by refusing one before it begins. Small ones are bounded by their
//! number.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::limits::COMMAND_BYTES_COUNTED;

/// The bytes that are under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandBytes(Arc<AtomicU64>);

/// A command that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: u64,
    sum: Arc<AtomicU64>,
}

/// A command may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "OVERLOADED a command of {bytes} bytes does not fit beside {under_way} bytes of others that are \
     under way in this node (command_bytes_max is {most}); nothing was done"
)]
pub(crate) struct TooManyBytes {
    bytes: u64,
    under_way: u64,
    most: u64,
}

impl CommandBytes {
    /// Counts a command of so many bytes, of which there may be `most` in all; zero for any. Small
    /// commands do not count.
    pub(crate) fn count(
        &self,
        bytes: usize,
        most: u64,
    ) -> Result<Option<Arc<Counted>>, TooManyBytes> {
        if bytes < COMMAND_BYTES_COUNTED {
            return Ok(None);
        }
        let bytes = bytes as u64;
        let under_way = self.0.fetch_add(bytes, Ordering::Relaxed);
        // From here on it counts, until this is dropped.
        let counted = Counted { bytes, sum: Arc::clone(&self.0) };
        if most > 0 && under_way + bytes > most {
            return Err(TooManyBytes { bytes, under_way, most });
        }
        Ok(Some(Arc::new(counted)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_until_others_are_done() {
        let (sum, half) = (CommandBytes::default(), COMMAND_BYTES_COUNTED);
        let most = 2 * half as u64;
        let first = sum.count(half, most).expect("there is room").expect("it counts");
        let second = Arc::clone(&first);
        sum.count(half + 1, most).expect_err("it is too large beside the first");
        assert!(sum.count(half - 1, most).expect("small ones always fit").is_none());
        drop(first);
        sum.count(half + 1, most).expect_err("it is under way still");
        drop(second);
        let large = sum.count(2 * half, most).expect("there is room again");
        let refused = sum.count(half, most).expect_err("all of it is taken");
        assert!(refused.to_string().starts_with("OVERLOADED") && large.is_some());
        sum.count(half, 0).expect("no limit");
    }
}
