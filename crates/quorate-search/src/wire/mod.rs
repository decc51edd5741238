//! What nodes tell each other about a query, in bytes.
//!
//! ```text
//! message     version (1) | kind | body
//! number      seven bits a byte, the lowest first, at most ten bytes (LEB128)
//! real        eight bytes of an IEEE 754 double, the lowest first
//! bytes       number: how many | as many
//! list        number: how many | as many elements
//! optional    0 | 1 and what is there
//! ```
//!
//! Queries travel as the texts that clients sent: every node reads them with the same schema.
//! A body is decoded without trust: [`decode`] never panics, goes no deeper than
//! [`limits::EXPLANATION_DEPTH`](crate::limits::EXPLANATION_DEPTH), and allocates at most its
//! input's size times a constant, since a count is believed only if the bytes that are left can
//! hold as many elements. What a peer says may still be of another query; what uses it checks.

mod aggregate;
mod bytes;
mod search;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

pub use bytes::{Reader, Writer};

/// The version of the form. A node understands its own only; peers agree on it before.
pub const VERSION: u8 = 1;

/// What can be sent.
pub trait Message: Sized {
    /// The number of its kind.
    const KIND: u8;

    /// Writes the body.
    fn write(&self, writer: &mut Writer);

    /// Reads the body.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// A message in bytes.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.byte(VERSION);
    writer.byte(M::KIND);
    message.write(&mut writer);
    writer.finish()
}

/// The message that these bytes are, to the last of them.
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, Malformed> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte()?;
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    let kind = reader.byte()?;
    if kind != M::KIND {
        return Err(Malformed::Kind(kind));
    }
    let message = M::read(&mut reader)?;
    if reader.is_empty() { Ok(message) } else { Err(Malformed::Excess) }
}

/// Why bytes are not the message that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// They end too early, or a count promises more than there is.
    Ended,
    /// They go on behind the message.
    Excess,
    /// They are of another version.
    Version(u8),
    /// They are of another kind.
    Kind(u8),
    /// A value is not one of those allowed: what it should have been.
    Invalid(&'static str),
    /// It is nested too deeply.
    Deep,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Ended => f.write_str("search message ends too early"),
            Malformed::Excess => f.write_str("search message has bytes behind its end"),
            Malformed::Version(version) => {
                write!(f, "search message of version {version}, expected {VERSION}")
            }
            Malformed::Kind(kind) => write!(f, "unexpected kind of search message: {kind}"),
            Malformed::Invalid(what) => write!(f, "invalid {what} in search message"),
            Malformed::Deep => f.write_str("search message is nested too deeply"),
        }
    }
}

impl core::error::Error for Malformed {}
