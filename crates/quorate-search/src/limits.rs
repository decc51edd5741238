//! Bounds on what a client can ask for, each with its reason.

/// Fields of a schema. RediSearch's bound.
pub const FIELDS: usize = 1024;

/// `TEXT` fields of a schema. RediSearch's bound: postings say by one bit a field where a term
/// occurs.
pub const TEXT_FIELDS: usize = 128;

/// Dimensions of a vector. A larger one would not fit into the block of a flat index.
pub const VECTOR_DIMENSIONS: u64 = 32_768;

/// Bytes of a word: of a longer one the beginning counts.
pub const TERM_BYTES: usize = 4096;

/// Bytes of a query. Far above what people and programs write, far below what stalls a shard.
pub const QUERY_BYTES: usize = 1 << 20;

/// Words and signs of a query: each costs a node of the tree.
pub const QUERY_TOKENS: usize = 1 << 16;

/// How deep a query may be nested; parentheses count twice. A level takes about a KiB of the
/// stack while it is read.
pub const QUERY_DEPTH: usize = 200;

/// Words and signs of an expression. A chain of as many operators is as deep a tree.
pub const EXPRESSION_TOKENS: usize = 1024;

/// How deep parentheses, signs and functions of an expression may be nested.
pub const EXPRESSION_DEPTH: usize = 100;

/// Terms that an affix, a pattern or a fuzzy word may stand for; the first of them in their order.
/// RediSearch's default.
pub const EXPANSIONS: usize = 200;

/// Bytes that an affix must have at least, or it stands for nothing: a letter outside of ASCII may
/// be a word. RediSearch's default.
pub const AFFIX_BYTES_MIN: usize = 2;

/// Words near a wrong one that a partition tells of; the first of them in their order.
pub const NEAR_WORDS: usize = 10_000;

/// Documents that are returned if nothing else is said. RediSearch's default.
pub const TOP: usize = 10;

/// How deep the explanation of a score may be nested: two levels for one of the query, and those
/// around all.
pub const EXPLANATION_DEPTH: usize = 2 * QUERY_DEPTH + 8;

/// Stages of an aggregation; those that load what others read are not counted.
pub const STAGES: usize = 128;

/// Values to sort by at one stage. RediSearch's bound.
pub const SORT_KEYS: usize = 8;

/// Groups of a stage. RediSearch's bound.
pub const GROUPS: usize = 1_000_000;

/// Groups that the lists of one row may put it into.
pub const GROUPS_OF_ROW: usize = 4096;

/// Bytes, about, that an aggregation may hold in a partition or at its coordinator.
pub const AGGREGATION_BYTES: usize = 256 << 20;

/// Bytes of what an expression may have as its value: each stage could double it.
pub const VALUE_BYTES: usize = 1 << 20;

/// Values of a `RANDOM_SAMPLE`. RediSearch's bound.
pub const SAMPLE: usize = 1000;

/// How deep lists may be nested: each stage can put lists into one.
pub const VALUE_DEPTH: usize = STAGES + 2;

/// The farthest row, and the most rows, that `LIMIT` can ask for. RediSearch's bound.
pub const ROWS: usize = 1 << 31;

/// Rows of a sorted answer if nothing else is said. RediSearch's default.
pub const SORTED_ROWS: usize = 10;

/// Rows that are read of a cursor if nothing else is said. RediSearch's default.
pub const CURSOR_ROWS: usize = 1000;

/// How long a cursor is kept at most, and if nothing else is said, in milliseconds. RediSearch's.
pub const CURSOR_IDLE_MS: u64 = 300_000;

/// Cursors of an index. RediSearch's bound.
pub const CURSORS: usize = 128;

/// Bytes, about, of rows that cursors keep.
pub const CURSOR_BYTES: usize = 2 * AGGREGATION_BYTES;

/// Results that a search can ask for. RediSearch's default.
pub const RESULTS: usize = 1_000_000;

/// Bytes of a pattern of `FT.REGEX`.
pub const REGEX_BYTES: usize = 4096;

/// How deep a pattern may be nested; what is repeated and repeated again counts as well. A level
/// takes about half a KiB of the stack.
pub const REGEX_DEPTH: usize = 200;

/// States of a pattern's automaton. A letter of the text costs so many steps, times one for each
/// letter that may differ and one more.
pub const REGEX_STATES: usize = 2048;

/// Letters that may differ from a pattern.
pub const REGEX_DISTANCE: u8 = 8;

/// Steps that the automaton takes in a partition for one command, so that none holds a shard for
/// long.
pub const REGEX_WORK: u64 = 1 << 27;

/// How many of each answer `FT.HYBRID` can fuse.
pub const HYBRID_WINDOW: usize = 10_000;

/// Parameters of a query.
pub const PARAMETERS: usize = 1024;

/// Points of a shape: two are compared in as much time as the product of theirs takes.
pub const SHAPE_POINTS: usize = 1024;

/// The nearest that can be asked for. RediSearch's bound.
pub const NEAREST: u64 = 1 << 58;

const _: () = assert!(TEXT_FIELDS <= FIELDS);
const _: () = assert!(TEXT_FIELDS <= u128::BITS as usize);
