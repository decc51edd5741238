//! Convergent data types and the commands over them.
//!
//! * [`Store`] holds one shard's keys: it executes commands into effects and merges effects;
//! * [`state`] is what a key holds: a [`cell`], or [`elements`] of a [`hash`], a [`set`]
//!   a [`sorted_set`] or a JSON document (`json`);
//! * [`delta`] is the encoding of effects and states, [`digest`] their incremental hash, [`coalesce`]
//!   makes one effect of many;
//! * large keys are compared and exported by their elements.

pub mod algebra;
mod arena;
mod arguments;
mod block;
mod by_name;
pub mod cell;
mod changes;
mod choice;
mod chunks;
pub mod clock;
pub mod coalesce;
mod commands;
pub mod decimal;
pub mod delta;
mod detached;
pub mod digest;
mod discard;
mod documents;
pub mod elements;
mod execution;
mod expiry;
mod extended;
mod feed;
mod fingerprints;
mod floor;
pub mod glob;
pub mod hash;
mod indexed;
pub mod json;
mod key;
mod lifetime;
mod live;
mod named;
pub mod number;
mod object;
mod part;
mod prefetch;
mod random;
mod ranked;
mod record;
pub mod score;
mod scrub;
mod sequence;
pub mod set;
pub mod sorted_set;
pub mod state;
mod store;
mod table;
pub mod text;
mod tombstone;
mod varint;
mod view;
mod walk;

pub use detached::{Detached, Discarded, Outcome};
pub use documents::{Document, JsonFirst, JsonPath, JsonValue};
pub use execution::Request;
pub use feed::Change;
pub use fingerprints::{HORIZONS_END, NAME_BITS, Scan};
pub use scrub::SlotScrub;
pub use store::{Lookups, MergeError, Merged, Store, StoreOptions};
pub use tombstone::Forgettable;
