//! An embeddable, Dynamo-style replication engine.
//!
//! A node holds data in memory and in its own log, replicates it to the other nodes of its cluster,
//! and serves Redis clients over the wire and the surrounding program without one:
//!
//! ```no_run
//! use quorate::{Engine, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::start(Settings::in_memory()).await?;
//! let client = engine.client();
//! client.run(["SET", "greeting", "hello"]).await?;
//! let value = client.run(["GET", "greeting"]).await?;
//! assert_eq!(value.to_text(), "hello");
//! engine.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `cargo doc --features book` adds the book as the module `book`: how a cluster is run, what is
//! promised, and a page for each algorithm.

#[cfg(all(feature = "book", not(doctest)))]
pub mod book;
mod call_error;
mod channel;
mod client;
mod engine;
mod limits;
mod net;
mod running;

pub use call_error::CallError;
pub use client::Client;
pub use engine::Engine;
pub use net::seeds::SeedProvider;
/// The reconciliation channel.
pub use quorate_entropy as entropy;
pub use quorate_node::{
    Settings, StartError, config, identity::DataDirectoryError, secure_link::ClusterSecret,
};
pub use quorate_proto::{Level, ReplicationFactor, hashkit::HashKind, resp::reply::Value};
