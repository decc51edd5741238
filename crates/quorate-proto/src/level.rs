//! Consistency levels: how many owners must answer before a request is answered.

use core::{fmt, str::FromStr};

/// How many owners of a key must take a write, or be asked by a read, before the client hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Level {
    /// Any one owner.
    One = 0,
    /// A majority of the owners in the coordinator's datacentre.
    #[default]
    LocalQuorum = 1,
    /// A majority of all owners.
    Quorum = 2,
    /// Every owner.
    All = 3,
    /// Any one owner in the coordinator's datacentre.
    LocalOne = 4,
    /// A majority of the owners in each datacentre.
    EachQuorum = 5,
}

impl Level {
    /// Every level, weakest first.
    pub const ALL: [Self; 6] =
        [Self::One, Self::LocalOne, Self::LocalQuorum, Self::Quorum, Self::EachQuorum, Self::All];

    /// The name used in configuration, commands and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "ONE",
            Self::LocalOne => "LOCAL_ONE",
            Self::LocalQuorum => "LOCAL_QUORUM",
            Self::Quorum => "QUORUM",
            Self::EachQuorum => "EACH_QUORUM",
            Self::All => "ALL",
        }
    }

    /// Whether one owner is enough.
    pub const fn is_of_one(self) -> bool {
        matches!(self, Self::One | Self::LocalOne)
    }

    /// Whether only owners in the coordinator's datacentre count.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::LocalOne | Self::LocalQuorum)
    }

    /// The same among all owners, wherever they are: what a level means in a datacentre that has
    /// none.
    #[must_use]
    pub const fn anywhere(self) -> Self {
        match self {
            Self::LocalOne => Self::One,
            Self::LocalQuorum => Self::Quorum,
            Self::One | Self::Quorum | Self::All | Self::EachQuorum => self,
        }
    }

    /// The weaker of two levels.
    #[must_use]
    pub fn weaker(self, other: Self) -> Self {
        Self::ALL.into_iter().find(|level| [self, other].contains(level)).unwrap_or(self)
    }

    /// The stronger of two levels.
    #[must_use]
    pub fn stronger(self, other: Self) -> Self {
        if self.weaker(other) == self { other } else { self }
    }

    /// The level that has the name in Dynomite's configuration.
    fn of_dynomite(name: &str) -> Option<Self> {
        let names = [
            ("DC_ONE", Self::LocalOne),
            ("DC_QUORUM", Self::LocalQuorum),
            // Replies that differ are always made to agree.
            ("DC_SAFE_QUORUM", Self::LocalQuorum),
            ("DC_EACH_SAFE_QUORUM", Self::EachQuorum),
        ];
        let mut named = names.into_iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, level)| level)
    }

    /// The level with this code on the wire.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as u8 == code)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown consistency level (allowed: ONE, LOCAL_ONE, LOCAL_QUORUM, QUORUM, EACH_QUORUM, ALL)"
)]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(text))
            .or_else(|| Self::of_dynomite(text))
            .ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_read_back() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
            assert_eq!(Level::from_code(level as u8), Some(level));
        }
        assert_eq!("dc_each_safe_quorum".parse(), Ok(Level::EachQuorum));
        assert_eq!(("SOME".parse::<Level>(), Level::from_code(6)), (Err(UnknownLevel), None));
    }

    #[test]
    fn the_weaker_is_what_fewer_owners_meet() {
        assert_eq!(Level::All.weaker(Level::EachQuorum), Level::EachQuorum);
        assert_eq!(Level::LocalOne.weaker(Level::One), Level::One);
        assert_eq!(Level::Quorum.weaker(Level::Quorum), Level::Quorum);
        assert_eq!(Level::Quorum.stronger(Level::EachQuorum), Level::EachQuorum);
        assert_eq!(Level::Quorum.stronger(Level::One), Level::Quorum);
    }
}
