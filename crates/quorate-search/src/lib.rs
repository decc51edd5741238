//! The search engine: what `FT.*` commands decide, for the documents of one partition.
//!
//! * [`schema`]: what an index covers and how its fields are read: the arguments of `FT.CREATE`
//!   and `FT.ALTER`, and back;
//! * [`query`]: the query language: from a text to a tree, and back;
//! * [`analysis`]: from texts to terms: words, stems, sounds, synonyms;
//! * [`expression`]: expressions over the fields of a document;
//! * [`index`]: the documents of one partition;
//! * [`execution`]: finding and scoring documents, in partitions that answer as one;
//! * [`aggregate`]: `FT.AGGREGATE`, in partitions that answer as one;
//! * [`cursors`]: answers that are read in parts;
//! * [`regex`]: `FT.REGEX`, texts that nearly follow a pattern;
//! * [`hybrid`]: `FT.HYBRID`, a search for words and for vectors at once;
//! * [`language`]: the languages that texts can be in;
//! * [`suggestions`]: dictionaries that complete what somebody types;
//! * [`stop_words`]: words that say nothing;
//! * [`wire`]: what nodes tell each other about a query, in bytes;
//! * [`error`]: refusals, with the codes that clients match on;
//! * [`limits`]: every bound.
//!
//! The crate is `no_std`: it opens no socket, reads no clock, draws no random number and starts
//! no thread. Two partitions that were given the same documents answer alike.
#![no_std]
extern crate alloc;

pub mod aggregate;
mod allowance;
pub mod analysis;
mod arguments;
pub mod cursors;
mod edit_distance;
pub mod error;
pub mod execution;
pub mod expression;
pub mod hybrid;
pub mod index;
pub mod language;
pub mod limits;
pub mod query;
pub mod regex;
pub mod schema;
pub mod stop_words;
pub mod suggestions;
pub mod wire;

pub use allowance::{Allowance, Room, Stop, exceeded};
pub use error::{Code, Error};
pub use index::Index;
pub use language::Language;
pub use schema::Schema;
