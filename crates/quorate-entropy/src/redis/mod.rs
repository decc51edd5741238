//! A Redis-compatible server as a source and a sink.

mod aof;
mod commands;
mod connection;
mod replay;

pub use aof::RedisLocalSnapshot;
pub(super) use commands::CommandStream;
pub(super) use connection::{Connection, Server, bulk};
pub(super) use replay::Pipeline;
pub use replay::RedisReplaySink;
