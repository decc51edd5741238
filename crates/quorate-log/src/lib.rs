//! The segment log: records on disk, in order, and other small files beside it, behind the
//! [`disk`] trait. What records hold is the business of whoever writes them.
//!
//! A log is a directory of segments and a superblock. Records are appended to a buffer, written
//! once a turn, and synced by whoever runs the [`SyncJob`]. Recovery hands every record back in
//! order; merging them rebuilds the state, because everything is a merge. A checkpoint writes the
//! whole state into the same log and then drops the segments before it.
//!
//! ```text
//!  segment   000000000000002a.log
//!  +--------+---------+-----------------+-----------------+--------+--------+
//!  | "QRLG" | version | log id          | first sequence  | salt   | crc32c |  header, 32 bytes
//!  +--------+---------+-----------------+-----------------+--------+--------+
//!  | length | lag    | sequence        | crc32c of   | crc32c of  | payload ...   records, a header
//!  | 4      | 4      | 8               | header, 4   | record, 4  | length        of 24 bytes each
//!  +--------+--------+-----------------+-------------+------------+-------------
//!  | 0 0 0 0 ...                                      end: a record's header of zeros
//!
//!  superblock   "superblock": two slots of 4,096 bytes, written in turn
//!  +--------+---------+--------+------------+---------------+----------------+--------+------+--------+
//!  | "QRSB" | version | log id | generation | first segment | first sequence | synced | salt | crc32c |
//!  | 4      | 4       | 8      | 8          | 8             | 8              | 8      | 4    | 4      |
//!  +--------+---------+--------+------------+---------------+----------------+--------+------+--------+
//! ```
//! Integers are little-endian; the version is 2. The checksum of a header or slot covers everything
//! before it. The checksums of a record go on from that of log id and salt (8 and 4 bytes): the
//! first one over length, lag and sequence, the second one from there over the payload. The salt is
//! random and the same in all of a log, so that no value that a client stores can hold bytes that
//! pass for a record. Sequences rise by one from record to record, so a missing record shows.
//!
//! What a crash may take is told from what must not be missing by proofs of durability: the
//! superblock's synced sequence, and in every record the *lag*, which is its own sequence less the
//! newest one that was durable when it was appended (all ones: unknown). A hole up to the largest
//! proof is damage, which is skipped and reported; a hole beyond it is where writes were
//! interrupted, and the log ends there.
//!
//! A large record is written beside the log first, into a file that becomes a segment of its own
//! ([`Preparer`]).
//!
//! The superblock also says where the log begins. Segments are removed only after it says that
//! they are not needed, so that one that is missing shows, and one that could not be removed is not
//! read.

pub mod disk;

mod dirty;
mod hints;
mod prepared;
mod quarantine;
mod read;
mod recovery;
mod scrub;
mod segment;
mod superblock;
mod sync;
mod write;

pub use dirty::{DIRTY_FILE, DirtyRanges, encode_dirty, read_dirty};
pub use hints::{HintAbout, HintLog, HintOptions, HintsFull, HintsUnwritten};
pub use prepared::{Prepared, Preparer};
pub use quarantine::{Quarantine, SetAside};
pub use recovery::{Damage, Recovery};
pub use scrub::{ScrubJob, ScrubPosition, Scrubbed};
pub use sync::{SyncJob, is_out_of_descriptors};
pub use write::{Checkpoint, LogError, LogOptions, SegmentLog, is_full};

/// Number of a record. The first is 1.
pub type Sequence = u64;
