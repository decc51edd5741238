//! What clients ask a coordinator for.

use quorate_proto::{Level, command::Call};

use crate::time::Instant;

/// A client's call.
#[derive(Clone, Debug)]
pub struct Request {
    /// Given back with the reply.
    pub id: u64,
    /// What is asked for.
    pub call: Call,
    /// How it is to be answered.
    pub terms: Terms,
}

/// The terms on which a client asks.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Level for reads.
    pub read_level: Level,
    /// Level for writes.
    pub write_level: Level,
    /// Whether the reply is encoded for RESP3.
    pub resp3: bool,
    /// When the client must have an answer.
    pub deadline: Instant,
}
