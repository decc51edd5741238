//! The reconciliation channel: a whole snapshot of data over TCP, for bulk refill, and for export
//! to and import from other tools.
//!
//! One side dials and sends, the other listens and applies. A snapshot is a stream of opaque bytes
//! from a *source* to a *sink*: files, standard input and output, a Redis or Valkey server, the
//! store of a running Quorate node, or the embedder's own ([`SnapshotSource`], [`SnapshotSink`] for
//! small data, [`StreamingSource`], [`StreamingSink`] for data of any size). Neither side ever
//! holds more than a few chunks.
//!
//! Two protocols:
//! * version 2 (the default): both sides prove that they have the pre-shared secret, keys are fresh
//!   for every connection, everything is authenticated, and the sender hears that the snapshot
//!   was applied;
//! * *classic*, the published framing with AES-128-CBC under a fixed IV, for peers that know
//!   nothing else. It is spoken only where it is asked for.
//!
//! Everything blocks: a sender uses the thread that calls it, a receiver one for each connection.
//!
//! ```no_run
//! use quorate_entropy::{EntropyConfig, EntropySender, FileSource};
//!
//! # fn example() -> quorate_entropy::EntropyResult<()> {
//! let config = EntropyConfig { peer_endpoint: "10.0.0.7:8105".into(), ..EntropyConfig::default() };
//! let source = std::sync::Arc::new(FileSource::new("dump.resp"));
//! let sent = EntropySender::streaming(config, source)?.run()?;
//! assert!(sent.acknowledged);
//! # Ok(())
//! # }
//! ```

pub mod backup;
mod boundaries;
mod channel;
mod cipher;
mod classic;
mod connections;
mod driver;
mod error;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod here;
mod material;
mod meter;
mod node;
mod parts;
mod prefetch;
mod receiver;
mod redis;
mod sealed;
mod sender;
mod settings;
mod sink;
mod source;
mod spool;
mod tally;
mod wire;

pub use cipher::{decrypt_chunk, encrypt_chunk};
pub use driver::{
    DEFAULT_RECON_INTERVAL, DriverHandle, EntropyDriver, ReconCycle, ReconPeer, Reconciled,
    reconcile_with_peer,
};
pub use error::{EntropyError, EntropyResult};
pub use here::{Here, Session};
pub use material::{EntropyIv, EntropyKey, EntropyMaterial, load_material};
pub use meter::Meter;
pub use node::{NodeSink, NodeSource};
pub use receiver::{EntropyReceiver, Received, ReceiverStop};
pub use redis::{RedisLocalSnapshot, RedisReplaySink};
pub use sender::{EntropySender, Sent};
pub use settings::{DEFAULT_CONNECTIONS_MAX, EntropyConfig, Patience, Protocol};
pub use sink::{
    BoxedSnapshotSink, BoxedStreamingSink, DiscardSink, FileSink, MemorySink, SinkStream,
    SnapshotSink, StreamingSink, WriterSink, boxed_sink,
};
pub use source::{
    BoxedSnapshotSource, BoxedStreamingSource, FileSource, ReaderSource, Snapshot, SnapshotSource,
    StaticSnapshot, StreamingSource, boxed_source,
};
pub use tally::{PeerTally, Tally};
pub use wire::{
    DEFAULT_BUFFER_SIZE, DEFAULT_CIPHER_SIZE, DEFAULT_ENTROPY_PORT, DEFAULT_HEADER_SIZE,
    ENTROPY_COMMAND_SEND, ENTROPY_IV_LEN, ENTROPY_KEY_LEN, ENTROPY_MAGIC, ENTROPY_MAGIC_V2,
    MAX_BUFFER_SIZE, MAX_CIPHER_SIZE, MAX_HEADER_SIZE, MAX_SNAPSHOT_SIZE, MIN_HEADER_SIZE,
    NegotiationHeader, SAFE_PREALLOC, SnapshotHeader,
};
