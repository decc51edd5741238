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
}

impl Level {
    /// Every level, weakest first.
    pub const ALL: [Self; 4] = [Self::One, Self::LocalQuorum, Self::Quorum, Self::All];

    /// The name used in configuration, commands and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "ONE",
            Self::LocalQuorum => "LOCAL_QUORUM",
            Self::Quorum => "QUORUM",
            Self::All => "ALL",
        }
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
#[error("unknown consistency level (allowed: ONE, LOCAL_QUORUM, QUORUM, ALL)")]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownLevel)
    }
}
