//! Bounds on what a client can ask for, each with its reason.

/// Fields of a schema. RediSearch's bound.
pub const FIELDS: usize = 1024;

/// `TEXT` fields of a schema. RediSearch's bound: postings say by one bit a field where a term
/// occurs.
pub const TEXT_FIELDS: usize = 128;

/// Dimensions of a vector. A larger one would not fit into the block of a flat index.
pub const VECTOR_DIMENSIONS: u64 = 32_768;

const _: () = assert!(TEXT_FIELDS <= FIELDS);
const _: () = assert!(TEXT_FIELDS <= u128::BITS as usize);
