//! How reads repair replicas, and what that has come to.

use core::str::FromStr;

/// When a read brings the replicas that it found behind up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadRepair {
    /// Before it answers: quorum reads never go back in time.
    #[default]
    Blocking,
    /// After it has answered with the merged state: a quorum read sees every write acknowledged at
    /// quorum before it, but of a write that was not it may show what a later one does not.
    Background,
}

impl ReadRepair {
    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Background => "background",
        }
    }
}

impl FromStr for ReadRepair {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Blocking, Self::Background].into_iter().find(|one| one.name() == text).ok_or(())
    }
}

/// What repairs of reads have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadRepairs {
    /// Reads, and writes that read first, that found replicas different.
    pub reads: u64,
    /// Bytes of the messages that made them equal, both ways.
    pub bytes: u64,
}
