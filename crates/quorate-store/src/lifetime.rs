//! The expiry register of a key.

use quorate_proto::{Origin, Stamp};

use crate::{
    digest::Digest,
    object::Kind,
    part::{Body, Owner, Part},
    state::Context,
};

/// The last moment that a stamp can name.
const MILLISECONDS_MAX: u64 = (1 << 48) - 1;

/// When a key expires, and since when it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    pub(crate) stamp: Stamp,
    /// When the key expires; `None` for never, which is a tombstone.
    pub(crate) at: Option<u64>,
    /// The epoch of this store in which the expiry arrived, or was carried out.
    pub(crate) epoch: u32,
    /// Whether what the expiry ends has been removed here.
    pub(crate) done: bool,
}

impl Expiry {
    /// Whether the key still expires.
    pub(crate) fn is_ahead(self) -> bool {
        self.at.is_some() && !self.done
    }

    /// The newest stamp that the expiry reaches: of what was written before its moment, and of
    /// everything that it was set for.
    pub(crate) fn reach(self) -> Stamp {
        let over_ms = self.at.unwrap_or(0).clamp(1, MILLISECONDS_MAX);
        self.stamp.max(Stamp::new((over_ms << 16) - 1, Origin(0)))
    }

    /// Whether the expiry, carried out, holds back a part that arrives late.
    #[inline]
    pub(crate) fn holds_back(&self, part: &Part<'_>) -> bool {
        self.done
            && match (part.owner(), part.body()) {
                (Owner::Key, _) => false,
                // A newer one ends the expiry.
                (Owner::Object(Kind::Text), Body::Bytes(stamp, _)) => stamp <= self.stamp,
                _ => part.since() <= self.reach(),
            }
    }

    /// What the expiry adds to the digest of what is alive.
    pub(crate) fn alive_digest(self, context: Context<'_>) -> Digest {
        if self.is_ahead() { self.digest(context) } else { 0 }
    }

    /// What the expiry adds to the digest of tombstones.
    pub(crate) fn tombstones_digest(self, context: Context<'_>) -> Digest {
        if self.is_ahead() { 0 } else { self.digest(context) }
    }

    fn digest(self, context: Context<'_>) -> Digest {
        context.digester.part(&Part::expiry(self.stamp, self.at))
    }
}
