//! Every bound of the engine, with its reason.

use std::time::Duration;

use quorate_proto::{
    limits::{ARGUMENTS_MAX, BULK_LENGTH_MAX, COUNTED_REPLY_LENGTH_MAX},
    slot::GROUPS,
};

/// Shards of a node: there must be a slot group for each.
pub(crate) const SHARDS_MAX: u16 = GROUPS;

/// Replicas of a key in one datacentre. More than this buys no safety and costs every write.
pub(crate) const RF_MAX: u16 = 16;

/// Prefixes of keys that have levels of their own: every command looks through them.
pub(crate) const LEVEL_RULES_MAX: usize = 64;

/// Length of names of nodes, clusters, datacentres and racks.
pub(crate) const NAME_LENGTH_MAX: usize = 128;

/// The peer port stands this far above the client port, as in Redis Cluster.
pub(crate) const PEER_PORT_OFFSET: u16 = 10_000;

/// The port for cluster clients stands this far above the one for other clients.
pub(crate) const CLUSTER_PORT_OFFSET: u16 = 5_000;

/// Words and elements from which on a call is executed beside its shard: one or two milliseconds. To
/// hand it over takes tens of microseconds.
pub(crate) const LONG_CALL_MIN: usize = 4_096;

/// Bytes of a command or an effect that count as a word: to copy them takes as long. So from a
/// mebibyte on a command is executed beside its shard.
pub(crate) const LONG_CALL_BYTES_PER_WORD: usize = 256;

/// The record of an effect that is made beside the shard is written there as well if it has so many bytes
/// for each word from which on calls are long: two mebibytes. It becomes a segment of the log, and
/// smaller ones are not worth that.
pub(crate) const PREPARED_BYTES_PER_WORD: usize = 512;

/// A call is executed beside its shard only if it has so many words and elements for each key: to
/// copy a key and to put it back costs more than a few words of work.
pub(crate) const LONG_CALL_KEY_MIN: usize = 16;

/// Calls and merges that one shard has beside it. Their keys are copied when they are asked for, so
/// whatever comes beyond is executed at once.
pub(crate) const QUESTIONS_BESIDE_MAX: usize = 1_024;

/// Largest value accepted by default: Redis's `proto-max-bulk-len`.
pub(crate) const VALUE_SIZE_DEFAULT: u64 = 512 << 20;

/// Time within which every request is answered.
pub(crate) const REQUEST_TIMEOUT_DEFAULT_MS: u64 = 5_000;

/// Bytes of a command for which it gets a second more: a slow disk writes them in that time, and a slow
/// link brings them to the replicas. A word counts as [`LONG_CALL_BYTES_PER_WORD`] beside its own.
pub(crate) const COMMAND_BYTES_PER_SECOND: u64 = 16 << 20;

/// How many times as long as others a large request may take.
pub(crate) const REQUEST_TIMES_MAX: u32 = 4;

/// Beyond an hour a timeout is none.
pub(crate) const REQUEST_TIMEOUT_MAX_MS: u64 = 3_600_000;

/// Bytes that the record of all floors may take in the log.
pub(crate) const FLOORS_RECORD_BYTES: usize = 4 << 10;

/// Keys whose tombstones are looked at in one turn: some microseconds each at most.
pub(crate) const FORGOTTEN_PER_TURN_MAX: usize = 1_024;

/// Keys of slots that other nodes hold now, dropped in one turn: a microsecond or two each.
pub(crate) const DISCARDED_PER_TURN_MAX: usize = 1_024;

/// How many times as long as a request may take a slot is kept that has moved to others.
pub(crate) const FOREIGN_KEPT_REQUESTS: u32 = REQUEST_TIMES_MAX;

/// How long tombstones are kept at least unless configured otherwise.
pub(crate) const GC_GRACE_DEFAULT_SECONDS: u64 = 900;

/// A year, beyond which a grace period is no period.
pub(crate) const GC_GRACE_MAX_SECONDS: u64 = 365 * 24 * 3_600;

/// How often a shard is scrubbed unless configured otherwise: a restart reads the whole log as
/// well.
pub(crate) const SCRUB_INTERVAL_DEFAULT_SECONDS: u64 = 7 * 24 * 3_600;

/// A year, beyond which rot is not found in time.
pub(crate) const SCRUB_INTERVAL_MAX_SECONDS: u64 = 365 * 24 * 3_600;

/// Bytes a second that a scrub reads unless configured otherwise: a few hundredths of a disk's, and
/// three quarters of a terabyte a day.
pub(crate) const SCRUB_BYTES_PER_SECOND_DEFAULT: u64 = 8 << 20;

/// What slots on their way may take of a node that serves clients, unless configured otherwise, in
/// bytes a second.
pub const MOVEMENT_BYTES_PER_SECOND_DEFAULT: u64 = 16 << 20;

/// The least that may be configured: a gigabyte takes five hours.
pub const MOVEMENT_BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// The most: more than any network.
pub const MOVEMENT_BYTES_PER_SECOND_MAX: u64 = 64 << 30;

/// How much faster slots move while nobody is served.
pub const MOVEMENT_IDLE_FACTOR: u64 = 16;

/// How long a shard counts as serving clients after it has.
pub const SERVING_FOR: Duration = Duration::from_millis(500);

/// Less than this would not read a log of the usual size in a day.
pub(crate) const SCRUB_BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// No disk is faster.
pub(crate) const SCRUB_BYTES_PER_SECOND_MAX: u64 = 1 << 40;

/// Bytes that one job of a scrub reads: some milliseconds of a slow disk, and what is in memory.
pub(crate) const SCRUB_JOB_BYTES: u64 = 256 << 10;

/// Elements whose digests are computed again in one turn: a fifth of a millisecond. A slot is never
/// cut, so a larger one takes longer.
pub(crate) const SCRUB_ELEMENTS_PER_TURN: u64 = 256;

/// Elements whose digests a shard computes again in a second: 2 to 3 % of a core.
pub(crate) const SCRUB_ELEMENTS_PER_SECOND: u64 = 50_000;

/// Findings of a pass that are kept in words; the others are only counted and logged.
pub(crate) const SCRUB_FINDINGS_MAX: usize = 16;

/// How long a pass that has found damage waits for memory to be written again.
pub(crate) const SCRUB_HEALING_PATIENCE: Duration = Duration::from_secs(60);

/// Pause after a checkpoint that damage asked for and that found no space.
pub(crate) const REWRITE_PAUSE_MS: u64 = 10_000;
/// Senders that the channel of a node serves at a time: each is a thread.
pub(crate) const ENTROPY_CONNECTIONS_MAX: u32 = 1_024;

/// A day, beyond which patience with the other side of the channel is none.
pub(crate) const ENTROPY_TIMEOUT_MAX_SECONDS: u64 = 86_400;

/// Peers of the channel: a cycle goes through them one after the other.
pub(crate) const ENTROPY_PEERS_MAX: usize = 256;

/// A day between comparisons with the peers of the channel. Rarer ones are for a scheduler.
pub(crate) const RECON_INTERVAL_MAX_SECONDS: u64 = 86_400;

/// Tokens of a node on a ring that was given none: with so many, nodes of one rack differ by some
/// percent in what they hold.
pub(crate) const TOKENS_DEFAULT: u16 = 64;

/// Client connections of a node unless configured otherwise, as in Redis. Further ones are told so
/// and closed.
pub(crate) const CLIENTS_DEFAULT: u32 = 10_000;

/// More client connections than this no address has ports for.
pub(crate) const CLIENTS_MAX: u32 = 1 << 20;

/// Descriptors that a node needs beside those of its shards: standard streams, locks, the threads'
/// polls, and the channel's own connections to others.
pub(crate) const DESCRIPTORS_OF_NODE: u64 = 64;

/// Descriptors that a shard needs beside those of its links with other nodes: listeners, the
/// segments of its log and of hints that are in use (those that are synced are closed), and peers
/// that have not introduced themselves.
pub(crate) const DESCRIPTORS_OF_SHARD: u64 = 128;

/// Peer connections of one shard that have not introduced themselves. The oldest makes room.
pub(crate) const ARRIVING_MAX: usize = 32;

/// Links of other nodes that one shard serves: each shard of each member has one.
pub(crate) const INCOMING_MAX: usize = 16_384;

/// Bytes of the frame with which a peer introduces itself: the list of all members, with the
/// longest names that they can have.
pub(crate) const HELLO_LENGTH_MAX: usize = 2 << 20;

/// How long a peer may take to introduce itself: its first frame follows the connection at once.
pub(crate) const ARRIVING_PATIENCE: Duration = Duration::from_secs(5);

/// Unsent bytes of a client that no limit counts, as Redis does not count its fixed buffer:
/// whatever the limits are set to, the command that sets them anew is answered.
pub(crate) const OUTPUT_UNCOUNTED: usize = 16 << 10;

/// Microseconds beyond which a command is slow, as in Redis.
pub(crate) const SLOW_MICROS_DEFAULT: i64 = 10_000;

/// Bytes and words of the commands of a transaction: as many as one command may have.
pub(crate) const TRANSACTION_BYTES_MAX: usize = BULK_LENGTH_MAX;
pub(crate) const TRANSACTION_WORDS_MAX: usize = ARGUMENTS_MAX;

/// Keys that a connection may watch.
pub(crate) const WATCHED_MAX: usize = 1 << 16;

/// Slow commands that are kept, as in Redis.
pub(crate) const SLOW_LOG_LENGTH_DEFAULT: u64 = 128;

/// More slow commands than this nobody reads; each may take some kilobytes.
pub(crate) const SLOW_LOG_LENGTH_MAX: u64 = 1 << 20;

/// Words of a slow command that are kept, and bytes of each, as in Redis.
pub(crate) const SLOW_WORDS_MAX: usize = 32;
pub(crate) const SLOW_WORD_LENGTH_MAX: usize = 128;

/// Kinds of error replies that are counted apart: the node has a few dozen.
pub(crate) const ERROR_CODES_MAX: usize = 128;

/// Keys and slots that the error of a half-done command names. The others are counted.
pub(crate) const PARTS_NAMED_MAX: usize = 8;

/// Bytes of each key that such an error shows.
pub(crate) const PART_NAME_BYTES_MAX: usize = 64;

/// Commands of one connection that wait for replicas or other shards. Further ones stay unread.
pub(crate) const IN_FLIGHT_PER_SESSION_MAX: usize = 4_096;

/// Commands of a connection on one slot that are executed as one, and their bytes: enough to share a
/// round trip, and far less than a turn.
pub(crate) const SERIES_COMMANDS_MAX: usize = 64;
pub(crate) const SERIES_BYTES_MAX: usize = 256 << 10;

/// Bytes of each of them, and of its reply as far as that can be told.
pub(crate) const SERIES_CALL_BYTES_MAX: usize = 32 << 10;

/// Commands that other nodes have forwarded to a shard that has not met all of them yet, which are
/// held meanwhile: those of about a second, or of less where they are large.
pub(crate) const FORWARDED_MAX: usize = 1 << 16;

/// Bytes of such commands.
pub(crate) const FORWARDED_BYTES_MAX: usize = 64 << 20;

/// Commands that one connection executes before the next one gets its turn.
pub(crate) const COMMANDS_PER_BATCH_MAX: u32 = 256;

/// Microseconds after which a connection that is not through with its commands lets others go
/// first. A single command is not cut.
pub(crate) const BATCH_MICROS_MAX: u64 = 500;

/// Pieces of one command that wait for replicas or other shards: enough to keep them busy where
/// answers take long, and some ten milliseconds of another shard's turn.
pub(crate) const PIECES_UNDER_WAY_MAX: usize = 512;

/// Pieces under way of a query whose replies have a bound, until it is known how large they are: those
/// of a page that asks for no more than most do.
pub(crate) const PIECES_AT_FIRST_MAX: usize = 16;

/// Pieces of one command that are sent on their way before others get their turn.
pub(crate) const PIECES_PER_BATCH_MAX: u32 = 32;

/// Commands of clients in one turn, which is about a millisecond of small ones: replies do not wait
/// for longer pipelines.
pub(crate) const COMMANDS_PER_TURN_MAX: u32 = 1_024;

/// Bytes of commands and replies in one turn. They are written to the log and sent in one go.
pub(crate) const BYTES_PER_TURN_MAX: usize = 4 << 20;

/// Microseconds of one turn for commands of clients: heartbeats and the messages of other nodes
/// wait for no more than this and one command.
pub(crate) const TURN_MICROS_MAX: u64 = 2_000;

/// Bytes of replies that wait for a client, or are expected for it. Beyond them nothing more of
/// what it has sent is executed or read until it has taken some: a client that does not read costs
/// no more than this and the replies that were under way.
pub(crate) const SESSION_OUTPUT_PAUSE: usize = 1 << 20;

/// What the replies of a connection are taken to have before any is known: a few small ones show
/// that it asks for small ones.
pub(crate) const REPLY_BYTES_EXPECTED: usize = 256 << 10;

/// Replies waiting for a client that does not read, unless configured otherwise. Beyond it the
/// client is disconnected. Any single reply fits.
pub(crate) const CLIENT_OUTPUT_DEFAULT: u64 = 1 << 30;

/// Bytes of commands under way from the clients of a node, unless configured otherwise: the largest
/// value and others, and less than may wait for a peer.
pub(crate) const COMMAND_BYTES_DEFAULT: u64 = 768 << 20;

/// Commands from so many bytes on count among them.
pub(crate) const COMMAND_BYTES_COUNTED: usize = 64 << 10;

/// Replies waiting for all clients of a node, unless configured otherwise. Beyond it the slowest
/// readers are disconnected.
pub(crate) const CLIENTS_OUTPUT_DEFAULT: u64 = 2 << 30;

/// What a shard holds for its clients is told again when it has changed by as much.
pub(crate) const CLIENT_BYTES_STEP: u64 = 1 << 20;

/// How often clients are looked at that take nothing.
pub(crate) const READERS_EVERY: Duration = Duration::from_secs(1);

/// Bytes waiting for a peer that does not read. Beyond it the link is closed; what was on it is
/// kept as hints. The largest value fits while others are on their way.
pub(crate) const LINK_OUTPUT_MAX: usize = 1 << 30;

/// Bytes of a large message that wait on a link at a time. The others are encoded once these have left.
pub(crate) const LINK_FED_MAX: usize = BYTES_PER_TURN_MAX;

/// The same of messages in pieces: what else is said goes behind these bytes.
pub(crate) const LINK_FED_IN_PIECES_MAX: usize = 512 << 10;

/// Bytes of a command after which room is made for all of the argument that is arriving.
pub(crate) const ANNOUNCED_RESERVED_MIN: usize = 1 << 20;

/// Bytes read from one socket before the next one gets its turn.
pub const READ_PER_TURN_MAX: usize = 1 << 20;

/// Size of the buffer that sockets are read into.
pub const READ_BUFFER_LENGTH: usize = 64 << 10;

/// A scratch buffer of commands that is larger than this is given away instead of copied.
pub(crate) const SCRATCH_KEPT_MAX: usize = 4 << 10;

/// Small replies are put together up to this length.
pub(crate) const OUTPUT_KEPT_MAX: usize = 256 << 10;

/// A buffer of a connection that is larger than this is given back once it is empty: connections
/// are many, and most are silent.
pub(crate) const BUFFER_KEPT_MAX: usize = 16 << 10;

/// Keys expired in one turn, so that a mass expiry does not hold up clients: a fifth of a
/// millisecond. Where more come in a turn, twice as many go.
pub(crate) const EXPIRED_PER_TURN_MAX: usize = 256;

/// Live keys that a checkpoint counts or writes in one turn. A slot is not cut.
pub(crate) const CHECKPOINT_KEYS_PER_TURN: usize = 1_024;

/// Bytes that a checkpoint writes in one turn, so that large values neither hold up clients nor
/// pile up in memory.
pub(crate) const CHECKPOINT_BYTES_PER_TURN: u64 = 4 << 20;

/// Bytes that a checkpoint counts in one turn: each field and member of a large key is looked at.
pub(crate) const CHECKPOINT_COUNTED_PER_TURN: u64 = 16 << 20;

/// Bytes of a key's state that a checkpoint puts into one record: a key may have more than a record
/// can.
pub(crate) const EXPORT_PIECE_BYTES: usize = 64 << 20;

/// Bytes of a log segment.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// How long a log that has found no space waits before it looks for some. As long its shard
/// executes no writes, which is longer than those take that are on their way to it.
pub(crate) const SPACE_PAUSE_MIN_MS: u64 = 1_000;

/// The longest such pause. It doubles where space does not last.
pub(crate) const SPACE_PAUSE_MAX_MS: u64 = 8_000;

/// Space that is gone sooner than this did not last.
pub(crate) const SPACE_LASTS_MS: u64 = 60_000;

/// Bytes of space with which a log goes on: those that were missed, but at least so many.
pub(crate) const SPACE_MIN: usize = 16 << 10;

/// And at most so many: a single large value must not keep it from taking small ones.
pub(crate) const SPACE_MAX: usize = 1 << 20;

/// A log smaller than this is never checkpointed.
pub(crate) const CHECKPOINT_BYTES_MIN: u64 = 64 << 20;

/// Hints kept for one target by one shard. Beyond it anti-entropy rounds over dirty ranges settle
/// the rest.
pub(crate) const HINT_BYTES_MAX: u64 = 1 << 30;

/// Effects beyond this are not kept as hints: to copy one and to write it would hold the shard for longer
/// than others should wait. An anti-entropy round brings them, and leaves their slots out while they may
/// be on their way.
pub(crate) const VERY_LARGE_EFFECT: usize = 8 << 20;

/// Hints kept by one node for all targets, unless configured otherwise: hours of a modest load, and
/// little of a disk.
pub(crate) const HINTS_BYTES_DEFAULT: u64 = 4 << 30;

/// Below this a queue holds next to nothing.
pub(crate) const HINTS_BYTES_MIN: u64 = 64 << 10;

/// As much as fits on any disk.
pub(crate) const HINTS_BYTES_MAX: u64 = 1 << 50;

/// How long hints are kept unless configured otherwise: as long as Cassandra keeps its own.
pub(crate) const HINT_WINDOW_DEFAULT_SECONDS: u64 = 3 * 3_600;

/// A year, beyond which a window is none.
pub(crate) const HINT_WINDOW_MAX_SECONDS: u64 = 365 * 24 * 3_600;

/// Bytes of hints that are read from disk at once, when most of them coalesce.
pub(crate) const HINTS_READ_MAX: usize = 8 << 20;

const _: () = assert!((ARRIVING_MAX as u64) < DESCRIPTORS_OF_SHARD);
const _: () = assert!(READ_BUFFER_LENGTH <= READ_PER_TURN_MAX);
const _: () =
    assert!(SESSION_OUTPUT_PAUSE + COUNTED_REPLY_LENGTH_MAX < CLIENT_OUTPUT_DEFAULT as usize);
const _: () = assert!(CLIENT_OUTPUT_DEFAULT < CLIENTS_OUTPUT_DEFAULT);
const _: () = assert!(LINK_FED_IN_PIECES_MAX <= LINK_FED_MAX);
const _: () = assert!(COMMAND_BYTES_DEFAULT < LINK_OUTPUT_MAX as u64);
const _: () = assert!(VALUE_SIZE_DEFAULT < COMMAND_BYTES_DEFAULT);
const _: () = assert!(BUFFER_KEPT_MAX <= OUTPUT_KEPT_MAX);
const _: () = assert!(COMMANDS_PER_BATCH_MAX <= COMMANDS_PER_TURN_MAX);
const _: () = assert!(BATCH_MICROS_MAX < TURN_MICROS_MAX);
const _: () = assert!(SESSION_OUTPUT_PAUSE < BYTES_PER_TURN_MAX);
const _: () = assert!(REPLY_BYTES_EXPECTED < SESSION_OUTPUT_PAUSE);
const _: () = assert!(SERIES_COMMANDS_MAX <= COMMANDS_PER_BATCH_MAX as usize);
const _: () = assert!(SERIES_CALL_BYTES_MAX <= SERIES_BYTES_MAX);
const _: () = assert!(VALUE_SIZE_DEFAULT * 2 <= LINK_OUTPUT_MAX as u64);

/// How often those who name seeds are asked again, in seconds.
pub const SEEDS_INTERVAL_DEFAULT_SECONDS: u64 = 30;

/// The longest pause between two such questions, in seconds: an hour.
pub const SEEDS_INTERVAL_MAX_SECONDS: u64 = 3_600;
/// Bytes of what is in the catalog of indexes: it travels as a whole, on links that also carry the
/// membership.
pub(crate) const CATALOG_BYTES_MAX: usize = 1 << 20;

/// Entries of the catalog that were dropped and are remembered, so that no member that was away brings
/// them back.
pub(crate) const DROPPED_ENTRIES_MAX: usize = 4_096;

/// Indexes of a cluster: each write looks at all of them.
pub(crate) const INDEXES_MAX: usize = 1024;

/// Keys that are indexed in a turn because they were there before their index, about: as many as
/// take a few milliseconds.
pub(crate) const INDEXED_PER_TURN_MAX: usize = 256;

/// Documents that could not be indexed and are remembered by their keys, in each index and shard.
pub(crate) const FAILURES_REMEMBERED_MAX: usize = 10_000;

/// Questions that have waited for an index and are answered in one turn: none of them is long.
pub(crate) const WAITING_PER_TURN_MAX: usize = 8;

/// Bytes, about, that a query may hold in a partition and at its coordinator unless it is set.
pub(crate) const QUERY_MEMORY_DEFAULT: usize = 256 << 20;

/// Less than this is not enough for queries of the usual size.
pub(crate) const QUERY_MEMORY_MIN: usize = 64 << 10;

/// Vectors that are compared in a turn to get others into their graphs, for each field: about a
/// millisecond's.
pub(crate) const VECTORS_COMPARED_PER_TURN: usize = 2_000;

/// Documents that a query may ask for. RediSearch's default.
pub(crate) const RESULTS_MAX: usize = 1_000_000;

/// Documents that a partition tells of in one answer: what it says of them waits in memory.
pub(crate) const HITS_PER_PIECE_MAX: usize = 100_000;
