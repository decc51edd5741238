//! Names of single calls, by which a node asks what became of one.

use bytes::Bytes;

use crate::Origin;

/// One call that a node has forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    /// Which start of which node has forwarded it.
    pub origin: Origin,
    /// Which of the calls of that start it is. No other one has the same number.
    pub number: u64,
}

/// What a call was answered that has been executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The call.
    pub id: CallId,
    /// Its encoded reply.
    pub reply: Bytes,
}

impl CallId {
    /// Encoded length in bytes.
    pub const LENGTH: usize = 4 + 8;

    /// Little-endian origin, then little-endian number.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.origin.0.to_le_bytes());
        bytes[4..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// The inverse of [`CallId::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let [a, b, c, d, number @ ..] = bytes;
        let origin = Origin(u32::from_le_bytes([a, b, c, d]));
        Self { origin, number: u64::from_le_bytes(number) }
    }
}
