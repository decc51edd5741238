//! The segment log: effects on disk, in order.
//!
//! A log is a directory of segments and a superblock. Records are appended to a buffer, written
//! once a turn, and synced by whoever runs the [`SyncJob`]. Recovery hands every record back in
//! order; merging them rebuilds the state, because everything is a merge. A checkpoint writes the
//! whole state into the same log and then drops the segments before it.
//!
//! ```text
//!  segment   000000000000002a.log
//!  +---------+---------+-----------------+-----------------+--------+
//!  | "QRLG"  | version | log id          | first sequence  | crc32c |  header, 28 bytes
//!  +---------+---------+-----------------+-----------------+--------+
//!  | length | crc32c | sequence | payload ...  | length | ...         records
//!  | 4      | 4      | 8        | length       |
//!  +--------+--------+----------+--------------+
//!  | 0 0 0 0 ...                                                     end: a length of zero
//!
//!  superblock   "superblock": two slots of 4,096 bytes, written in turn
//!  +---------+---------+-----------------+-----------------+-----------------+--------+
//!  | "QRSB"  | version | log id          | generation      | synced sequence | crc32c |
//!  +---------+---------+-----------------+-----------------+-----------------+--------+
//! ```
//! Integers are little-endian. A record's checksum covers its length, its sequence and its payload,
//! a header's and a slot's everything before it. Sequences rise by one from record to record, so a
//! missing record shows.
//!
//! The superblock proves a lower bound: everything up to its sequence was synced once. A log that
//! ends before it has lost acknowledged data, and says so.

mod hints;
mod read;
mod recovery;
mod segment;
mod superblock;
mod write;

pub use hints::{HintLog, HintsFull};
pub use recovery::{Damage, Recovery};
pub use write::{Checkpoint, LogError, LogOptions, SegmentLog, SyncJob};

/// Number of a record. The first is 1.
pub type Sequence = u64;
