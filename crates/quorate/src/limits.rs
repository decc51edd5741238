//! The named limits of the shell with sockets and threads.

use std::time::Duration;

/// How long the stop of a node waits for transfers that it has broken off.
pub(crate) const ENTROPY_STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Names of other nodes that are looked up side by side, each by a thread.
pub(crate) const LOOKUPS_MAX: usize = 16;

/// Links that may wait for names. Each shard has one to a node.
pub(crate) const LOOKUPS_WAITING_MAX: usize = 4096;

/// Names of which something is remembered.
pub(crate) const NAMES_MAX: usize = 4096;

/// How long a name leads where it was found to lead. Longer than the pauses of a dialer that has
/// given up waiting for it, so that a slow answer is of use to the next attempt.
pub(crate) const RESOLVED_FOR: Duration = Duration::from_secs(5);

/// How soon a source of seeds that has failed is asked again, at first. The pause doubles, up to that
/// of one that answers.
pub(crate) const SEEDS_RETRY_MIN: Duration = Duration::from_millis(500);

/// How often a file with seeds is read again, at least.
pub(crate) const SEEDS_WATCH_PAUSE: Duration = Duration::from_secs(1);

/// How long a source of seeds may take for a step of its answer.
pub(crate) const SEEDS_PATIENCE: Duration = Duration::from_secs(3);

/// How often each name service is asked before a question has failed: datagrams may be lost.
pub(crate) const SEEDS_ATTEMPTS: usize = 2;

/// Bytes of a list of seeds: far more than a node may have.
pub(crate) const SEEDS_LIST_MAX: u64 = 256 << 10;

/// How soon a shard tries again to accept what it could not, for want of descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long a start may take until clients that wait for it are told that the node is loading. Those
/// of a short one are served instead.
pub(crate) const LOADING_PATIENCE: Duration = Duration::from_secs(1);

/// Clients that are told so at a time. The oldest makes room.
pub(crate) const LOADING_CLIENTS_MAX: usize = 128;

/// Bytes that such a client may send and be sent, some hundred commands. Then it is disconnected.
pub(crate) const LOADING_BYTES_MAX: usize = 64 << 10;

/// Bytes sent on one connection before the next one gets its turn: as fast as others read, a value
/// of hundreds of megabytes leaves in pieces.
pub(crate) const SENT_PER_TURN_MAX: usize = 4 << 20;
