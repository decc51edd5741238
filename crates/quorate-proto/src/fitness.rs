//! What a node may do at the moment.

use crate::message::Cause;

/// Something that keeps a node from a part of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unfit {
    /// It has started, and may have missed what the others took meanwhile.
    CatchingUp = 1,
    /// It has lost data that it had acknowledged, and has not got it back from the others yet.
    Incomplete = 2,
    /// Its clock is contradicted by those of the others.
    ClockInDoubt = 4,
    /// Its log takes no writes: it has failed, or there is no space.
    ReadOnly = 8,
    /// It was drained: others execute writes as long as there are any.
    Drained = 16,
}

impl Unfit {
    /// Everything that may be wrong.
    pub const ALL: [Self; 5] =
        [Self::CatchingUp, Self::Incomplete, Self::ClockInDoubt, Self::ReadOnly, Self::Drained];
}

impl From<Unfit> for Cause {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::CatchingUp | Unfit::Incomplete => Self::Incomplete,
            Unfit::ClockInDoubt => Self::ClockInDoubt,
            Unfit::ReadOnly | Unfit::Drained => Self::StoreFull,
        }
    }
}

/// What a node may do: what is wrong with it, computed where the facts are and handed on as one
/// value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fitness(u8);

impl Fitness {
    /// Nothing is wrong.
    pub const FIT: Self = Self(0);

    /// The same, and this is wrong as well, or not.
    #[must_use]
    pub const fn with(self, unfit: Unfit, is_so: bool) -> Self {
        let others = self.0 & !(unfit as u8);
        Self(if is_so { others | unfit as u8 } else { others })
    }

    /// What is wrong with either of two parts of a node.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this is wrong.
    pub const fn is(self, unfit: Unfit) -> bool {
        self.0 & unfit as u8 != 0
    }

    /// Whether the node may do its work as any other.
    pub const fn is_ready(self) -> bool {
        !self.is(Unfit::CatchingUp) && !self.is(Unfit::ClockInDoubt)
    }

    /// Whether it may date a write and take it.
    pub const fn may_execute(self) -> Result<(), Unfit> {
        if self.is(Unfit::ClockInDoubt) {
            Err(Unfit::ClockInDoubt)
        } else if self.is(Unfit::ReadOnly) {
            Err(Unfit::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Whether what it holds counts as one answer of those that a level asks for.
    pub const fn may_count(self) -> Result<(), Unfit> {
        if self.is(Unfit::Incomplete) { Err(Unfit::Incomplete) } else { Ok(()) }
    }

    /// As one byte: a bit for everything that is wrong.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Fitness::bits`]; `None` when a bit means nothing.
    pub fn from_bits(bits: u8) -> Option<Self> {
        let known = Unfit::ALL.iter().fold(0, |known, unfit| known | *unfit as u8);
        (bits & !known == 0).then_some(Self(bits))
    }
}

/// That of a node of which nothing is known yet: it is catching up.
impl Default for Fitness {
    fn default() -> Self {
        Self::FIT.with(Unfit::CatchingUp, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_keeps_from_what_needs_it() {
        let fit = Fitness::FIT;
        assert!(fit.is_ready() && fit.may_execute().is_ok() && fit.may_count().is_ok());
        for unfit in Unfit::ALL {
            let one = fit.with(unfit, true);
            assert!(one.is(unfit) && one != fit && one.with(unfit, false) == fit);
            assert_eq!(Fitness::from_bits(one.bits()), Some(one));
            assert_eq!(fit.and(one), one);
        }
        assert!(!Fitness::default().is_ready());
        let doubt = fit.with(Unfit::ReadOnly, true).with(Unfit::ClockInDoubt, true);
        assert_eq!(doubt.may_execute(), Err(Unfit::ClockInDoubt), "what passes by itself first");
        assert_eq!(Fitness::from_bits(0x80), None);
    }
}
