//! One key as a command sees it, and what the command does to it.

use std::borrow::Cow;

use quorate_proto::{Stamp, mutant::Mutant};

use crate::{
    cell::Element,
    choice::Choice,
    commands::CommandError,
    execution::{Change, Keys},
    hash::Hash,
    json::Json,
    set::Set,
    sorted_set::SortedSet,
    state::{Kind, State},
    table::Spot,
};

/// What shows of a key: nothing when it does not exist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(pub(crate) Option<State<'a>>);

impl<'a> Shown<'a> {
    /// The state, unless nothing is known of the key or it is past its expiry. It may be dead.
    pub(crate) fn state(self) -> Option<State<'a>> {
        self.0
    }

    /// The kind of value that shows.
    pub(crate) fn kind(self) -> Option<Kind> {
        self.0?.kind()
    }

    /// The state of a key that shows a value of this kind.
    #[inline]
    pub(crate) fn of_kind(self, kind: Kind) -> Result<Option<State<'a>>, CommandError> {
        match self.kind() {
            None => Ok(None),
            Some(found) if found == kind => Ok(self.0),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The string as a cell.
    pub(crate) fn cell(self) -> Result<Option<Element<'a, &'a [u8]>>, CommandError> {
        Ok(self.of_kind(Kind::Text)?.map(State::text))
    }

    /// The string.
    pub(crate) fn text(self) -> Result<Option<Cow<'a, [u8]>>, CommandError> {
        Ok(self.cell()?.and_then(|cell| cell.visible()))
    }

    /// The hash.
    pub(crate) fn hash(self) -> Result<Option<&'a Hash>, CommandError> {
        Ok(self.of_kind(Kind::Hash)?.and_then(State::hash))
    }

    /// The set.
    pub(crate) fn set(self) -> Result<Option<&'a Set>, CommandError> {
        Ok(self.of_kind(Kind::Set)?.and_then(State::set))
    }

    /// The sorted set.
    pub(crate) fn sorted_set(self) -> Result<Option<&'a SortedSet>, CommandError> {
        Ok(self.of_kind(Kind::SortedSet)?.and_then(State::sorted_set))
    }

    /// The document, in the words of RedisJSON.
    pub(crate) fn json(self) -> Result<Option<&'a Json>, CommandError> {
        let state = self.of_kind(Kind::Json).map_err(|_| CommandError::NoDocument)?;
        Ok(state.and_then(State::json))
    }
}

/// A key that a command works on. It is looked up once; no other key can be used meanwhile.
pub(crate) struct Key<'k, 'a> {
    pub(crate) keys: &'k mut Keys<'a>,
    pub(crate) name: &'k [u8],
    pub(crate) spot: Spot,
}

impl Key<'_, '_> {
    /// What shows of the key.
    #[inline]
    pub(crate) fn read(&self) -> Shown<'_> {
        self.keys.shown(&self.spot)
    }

    /// A stamp newer than everything this store has seen.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.keys.stamp()
    }

    /// Random positions out of `length`, see [`Keys::choose`].
    pub(crate) fn choose(&mut self, length: usize, count: i64) -> Choice {
        self.keys.choose(length, count)
    }

    /// Changes the key in one go.
    #[inline]
    pub(crate) fn apply(&mut self, build: impl FnOnce(&mut Change<'_>)) {
        let mut change = self.change();
        build(&mut change);
        change.apply();
    }

    /// Lets a key that exists expire at a moment; deletes it when that is past.
    pub(crate) fn expire_at(&mut self, at_ms: u64) {
        if at_ms <= self.keys.wall_ms {
            self.delete();
        } else {
            self.apply(|change| change.expiry(Some(at_ms)));
        }
    }

    /// Deletes the whole key. Returns whether it existed. One that is past its expiry is deleted
    /// all the same: by the clock of another replica it may have a moment left. So is one that is
    /// removed: others that are to acknowledge this may not know so yet.
    pub(crate) fn delete(&mut self) -> bool {
        let existed = self.read().kind().is_some();
        let Some(is_live) = self.raw_state().map(State::is_live) else { return existed };
        self.apply(|change| {
            let keeps_removed = change.keeps_removed();
            if is_live || keeps_removed {
                change.clear();
            }
            // One that this store has not heard of must not reach an addition that it has not
            // heard of either.
            if is_live && keeps_removed && !Mutant::ExpiryOutlives.is_planted() {
                change.expiry(None);
            }
        });
        existed
    }

    /// Whether elements can be removed from it: it shows, or is known to be removed. What is past its
    /// expiry must not change, or the rest of it might show again.
    pub(crate) fn shows_or_is_removed(&self) -> bool {
        self.raw_state().is_some_and(|state| !state.is_live() || self.read().kind().is_some())
    }

    /// The state, expired or not.
    fn raw_state(&self) -> Option<State<'_>> {
        self.keys.store.state_at(self.keys.slot, &self.spot)
    }
}
