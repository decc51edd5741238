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

/// Letters that an affix must have at least, or it stands for nothing. RediSearch's default.
pub const AFFIX_LETTERS_MIN: usize = 2;

/// Words near a wrong one that a partition tells of; the first of them in their order.
pub const NEAR_WORDS: usize = 10_000;

/// Documents that are returned if nothing else is said. RediSearch's default.
pub const TOP: usize = 10;

/// How deep the explanation of a score may be nested: two levels for one of the query, and those
/// around all.
pub const EXPLANATION_DEPTH: usize = 2 * QUERY_DEPTH + 8;

/// The nearest that can be asked for. RediSearch's bound.
pub const NEAREST: u64 = 1 << 58;

const _: () = assert!(TEXT_FIELDS <= FIELDS);
const _: () = assert!(TEXT_FIELDS <= u128::BITS as usize);
