//! What can go wrong, by who is at fault.

use std::io;

/// Why a transfer did not happen. On the receiving side nothing was applied, unless the text says
/// otherwise: a sink that applies as it goes may have applied a part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntropyError {
    /// The network or the operating system.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A setting is not allowed; it is named with its value.
    #[error("configuration: {0}")]
    Config(String),
    /// A key or IV file cannot be used.
    #[error("key material: {0}")]
    KeyMaterial(String),
    /// The peer broke the protocol, or refused; the field and its value are named.
    #[error("protocol: {0}")]
    Protocol(String),
    /// What the peer sent was not made with this secret, or was changed on the way.
    #[error("crypto: {0}")]
    Crypto(String),
    /// The snapshot cannot be taken.
    #[error("source: {0}")]
    Source(String),
    /// The snapshot cannot be applied.
    #[error("sink: {0}")]
    Sink(String),
}

/// The result of everything in this module.
pub type EntropyResult<T> = Result<T, EntropyError>;

pub(super) fn config(text: impl Into<String>) -> EntropyError {
    EntropyError::Config(text.into())
}

pub(super) fn protocol(text: impl Into<String>) -> EntropyError {
    EntropyError::Protocol(text.into())
}

pub(super) fn crypto(text: impl Into<String>) -> EntropyError {
    EntropyError::Crypto(text.into())
}

pub(super) fn source(text: impl std::fmt::Display) -> EntropyError {
    EntropyError::Source(text.to_string())
}

pub(super) fn sink(text: impl std::fmt::Display) -> EntropyError {
    EntropyError::Sink(text.to_string())
}

/// A stream that ended too early is the peer's doing.
pub(super) fn reading(what: &str) -> impl Fn(io::Error) -> EntropyError + '_ {
    move |error| match error.kind() {
        io::ErrorKind::UnexpectedEof => protocol(format!("the stream ended inside {what}")),
        _ => EntropyError::Io(error),
    }
}
