//! How many replicas of every slot each datacentre has.

use alloc::{collections::BTreeMap, string::String};
use core::{fmt, str::FromStr};

use crate::limits::OWNERS_MAX;

/// Replicas of every slot in each datacentre: one number for all of them, or one for each.
///
/// Written as `3`, or as `dc1:3,dc2:2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicationFactor {
    /// As many in each datacentre, whichever there are.
    Everywhere(u16),
    /// As many in each of these. A member cannot be in any other datacentre.
    ByDatacentre(BTreeMap<String, u16>),
}

impl ReplicationFactor {
    /// Replicas in `datacentre`; `None` when it has no number.
    pub fn of(&self, datacentre: &str) -> Option<u16> {
        match self {
            Self::Everywhere(factor) => Some(*factor),
            Self::ByDatacentre(factors) => factors.get(datacentre).copied(),
        }
    }

    /// The numbers that were given.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + use<'_> {
        let (one, each) = match self {
            Self::Everywhere(factor) => (Some(*factor), None),
            Self::ByDatacentre(factors) => (None, Some(factors)),
        };
        one.into_iter().chain(each.into_iter().flat_map(|factors| factors.values().copied()))
    }

    /// Numbers for some datacentres, each named once: at least one, and none of them zero.
    pub fn by_datacentre(
        factors: impl IntoIterator<Item = (String, u16)>,
    ) -> Result<Self, InvalidReplicationFactor> {
        let mut by_name = BTreeMap::new();
        for (name, factor) in factors {
            let is_fine = !name.is_empty() && factor > 0;
            if !is_fine || by_name.insert(name, factor).is_some() {
                return Err(InvalidReplicationFactor);
            }
        }
        let fits = (1..=OWNERS_MAX).contains(&by_name.len());
        if fits { Ok(Self::ByDatacentre(by_name)) } else { Err(InvalidReplicationFactor) }
    }
}

/// None yet.
impl Default for ReplicationFactor {
    fn default() -> Self {
        Self::Everywhere(0)
    }
}

impl From<u16> for ReplicationFactor {
    fn from(factor: u16) -> Self {
        Self::Everywhere(factor)
    }
}

impl fmt::Display for ReplicationFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(factor) => write!(f, "{factor}"),
            Self::ByDatacentre(factors) => {
                for (position, (name, factor)) in factors.iter().enumerate() {
                    let separator = if position == 0 { "" } else { "," };
                    write!(f, "{separator}{name}:{factor}")?;
                }
                Ok(())
            }
        }
    }
}

/// The text is no replication factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid replication factor (allowed: a number, or one for each datacentre, such as dc1:3,dc2:2)"
)]
pub struct InvalidReplicationFactor;

impl FromStr for ReplicationFactor {
    type Err = InvalidReplicationFactor;

    fn from_str(text: &str) -> Result<Self, InvalidReplicationFactor> {
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|_| is_plain)
        };
        if let Some(factor) = number(text) {
            return Ok(Self::Everywhere(factor));
        }
        let of_datacentre = |part: &str| {
            let (name, factor) = part.rsplit_once(':')?;
            Some((name.into(), number(factor)?))
        };
        let factors: Option<BTreeMap<_, _>> = text.split(',').map(of_datacentre).collect();
        let parts = text.split(',').count();
        let factors = factors.filter(|factors| factors.len() == parts);
        Self::by_datacentre(factors.ok_or(InvalidReplicationFactor)?)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;

    #[test]
    fn a_number_is_for_all_and_names_are_for_each() {
        let plain: ReplicationFactor = "3".parse().expect("a number");
        assert_eq!((plain.of("dc1"), plain.of("dc2")), (Some(3), Some(3)));
        let each: ReplicationFactor = "dc2:2,dc1:3".parse().expect("names");
        assert_eq!((each.of("dc1"), each.of("dc2"), each.of("dc3")), (Some(3), Some(2), None));
        assert_eq!(each.numbers().collect::<vec::Vec<_>>(), [3, 2]);
        assert_eq!([plain.to_string(), each.to_string()], ["3", "dc1:3,dc2:2"]);
        let odd: ReplicationFactor = "a:b:1".parse().expect("the last colon counts");
        assert_eq!(odd.of("a:b"), Some(1));
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in ["", "-1", "+1", "x", "dc1", "dc1:", "dc1:0", ":1", "dc1:1,", "a:1,a:2"] {
            assert!(wrong.parse::<ReplicationFactor>().is_err(), "{wrong}");
        }
        assert!(ReplicationFactor::by_datacentre(vec![]).is_err());
    }
}
