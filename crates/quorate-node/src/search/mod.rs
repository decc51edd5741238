//! `FT.*`: the catalog of indexes, their partitions in the shards, and queries over all of them.
//!
//! * `catalog`: which indexes there are; every node has all of it;
//! * `partition`: the indexes over the documents that a shard holds, kept up to date by the change
//!   feed of the store in the same step as each write;
//! * `query`: what `FT.SEARCH` is asked, as an engine's request;
//! * `pieces`: what a partition answers for the node that coordinates a query;
//! * `answers`: the answers themselves;
//! * `inquiry`, `loaded`: long ones, beside the shard, and what these have to know of documents;
//! * `kept`: graphs over vectors, from one run to the next;
//! * `leave`: how long whoever asks waits;
//! * `coverage`: whom that node asks, so that each document counts once;
//! * `present`, `marks`: documents as they are returned, with the words that were asked for;
//! * `plans`, `reply`: joining what partitions say, and answering the client.

mod aggregating;
mod answers;
pub(crate) mod catalog;
pub(crate) mod change;
pub(crate) mod coverage;
mod info;
mod inquiry;
mod kept;
mod leave;
mod loaded;
mod marks;
mod partition;
mod pieces;
pub(crate) mod plans;
mod present;
pub(crate) mod query;
mod reply;
pub(crate) mod rows;
mod scrub;
mod settings;
mod stored;
mod suggesting;
mod values;
mod wire;

pub(crate) use aggregating::{Collected, Match, Task};
pub use catalog::Catalog;
pub use change::Change;
pub(crate) use change::not_found;
pub use inquiry::{Inquired, Inquiry};
pub(crate) use leave::Leave;
pub(crate) use partition::Search;
pub(crate) use pieces::PIECE;
pub(crate) use query::default_dialect;
pub(crate) use settings::{
    answers_in_part, check as check_setting, default_timeout_ms, query_memory, write_config,
};
pub(crate) use suggesting::Suggest;
