//! A cell: one value that converges. The value of a string key and of a hash field.
//!
//! A cell is a *register* (the newest write wins) and one *contribution* per origin that has
//! incremented it. The visible value is the register plus all live contributions, so concurrent
//! increments add up; a new register value starts a new base.
//!
//! ```text
//!  register      stamp 40, "10"                                    base
//!  contribution  origin a, since 41, last 57, sum +3               live: 41 > 40
//!  contribution  origin b, since 38, last 39, sum +9               dead: part of what 40 replaced
//!  visible value "13"
//! ```
//!
//! A contribution has a single writer, its origin, so the version with the newer `last` contains
//! the older one, and merging takes it. It is live while it began (`since`) after the register was
//! written. Merging two cells is therefore commutative, associative and idempotent.

use std::borrow::Cow;

use quorate_proto::{Origin, Stamp, mutant::Mutant};

use crate::{decimal::Decimal, number::Number};

/// What one origin has added to a cell since its contribution began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Stamp of the first increment in `sum`.
    pub since: Stamp,
    /// Stamp of the newest increment in `sum`; same origin as `since`.
    pub last: Stamp,
    /// Sum of the increments.
    pub sum: Decimal,
}

impl Contribution {
    /// The origin that writes this contribution.
    pub fn origin(&self) -> Origin {
        self.last.origin()
    }
}

/// One convergent value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The newest value written; `None` when nothing was, or when it is removed.
    value: Option<Box<[u8]>>,
    /// The stamp of `value`; of a removed cell, the newest stamp that the removal saw.
    stamp: Stamp,
    /// Live contributions, ordered by origin.
    #[expect(clippy::box_collection, reason = "one word instead of three in the many without")]
    contributions: Option<Box<Vec<Contribution>>>,
}

impl Cell {
    /// Whether the cell has a visible value.
    pub fn is_live(&self) -> bool {
        self.value.is_some() || self.contributions.is_some()
    }

    /// Stamp of the register: of the value, or of the removal.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The newest stamp of anything in the cell.
    pub fn newest(&self) -> Stamp {
        self.contributions().iter().map(|part| part.last).fold(self.stamp, Stamp::max)
    }

    /// The value of the register without contributions.
    pub fn register(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// Live contributions, ordered by origin.
    pub fn contributions(&self) -> &[Contribution] {
        self.contributions.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The live contribution of `origin`.
    pub fn contribution_of(&self, origin: Origin) -> Option<&Contribution> {
        self.contributions().iter().find(|part| part.origin() == origin)
    }

    /// Whether a removal up to `stamp` would remove anything.
    pub(crate) fn is_reached_by(&self, stamp: Stamp) -> bool {
        self.value.is_some() && self.stamp <= stamp
            || self.contributions().iter().any(|part| part.since <= stamp)
    }

    /// The visible value.
    ///
    /// Contributions to a value that is no number (a concurrent SET of a text) do not show.
    pub fn visible(&self) -> Option<Cow<'_, [u8]>> {
        if self.contributions().is_empty() {
            return self.register().map(Cow::Borrowed);
        }
        match self.number() {
            Some(sum) => Some(Cow::Owned(sum.to_string().into_bytes())),
            None => self.register().map(Cow::Borrowed),
        }
    }

    /// Register plus contributions, when the register is absent or a number and the sum is finite.
    pub fn number(&self) -> Option<Number> {
        let base = match self.register() {
            Some(text) => Number::parse(text)?,
            None => Number::ZERO,
        };
        let parts = self.contributions();
        if parts.is_empty() {
            return Some(base);
        }
        // Among themselves first: what is added to a large number one by one would be rounded away.
        let sum = parts
            .iter()
            .try_fold(Number::ZERO, |sum, part| sum.checked_add(Number::Exact(part.sum)))?;
        base.checked_add(sum)
    }

    /// The contribution that `origin` has after adding `amount` at `stamp`. `None` when the sum
    /// leaves the range.
    pub fn increment(&self, amount: Decimal, stamp: Stamp) -> Option<Contribution> {
        match self.contribution_of(stamp.origin()) {
            Some(part) => {
                let sum = part.sum.checked_add(amount)?;
                Some(Contribution { sum, last: stamp, ..*part })
            }
            None => Some(Contribution { since: stamp, last: stamp, sum: amount }),
        }
    }

    /// Merges a register: a value, or `None` for a removal that saw everything up to `stamp`.
    ///
    /// Returns whether the cell changed.
    pub(crate) fn merge_register(&mut self, value: Option<&[u8]>, stamp: Stamp) -> bool {
        // At equal stamps the removal wins, because it saw the value. Two values never share a
        // stamp; comparing them keeps the merge commutative even then.
        let newer = match stamp.cmp(&self.stamp) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => Mutant::ArrivalOrder.is_planted(),
            std::cmp::Ordering::Equal => match (value, self.value.as_deref()) {
                (None, Some(_)) => true,
                (Some(new), Some(old)) => new > old,
                (None | Some(_), None) => false,
            },
        };
        if !newer {
            return false;
        }
        match (&mut self.value, value) {
            // Overwriting in place spares an allocation on the commonest write of all.
            (Some(old), Some(new)) if old.len() == new.len() => old.copy_from_slice(new),
            (slot, new) => *slot = new.map(Box::from),
        }
        self.stamp = stamp;
        self.drop_contributions_up_to(stamp);
        true
    }

    /// Merges a contribution. Returns whether the cell changed.
    pub(crate) fn merge_contribution(&mut self, new: Contribution) -> bool {
        if new.since <= self.stamp {
            return false;
        }
        let parts = self.contributions.get_or_insert_default();
        match parts.binary_search_by_key(&new.origin(), Contribution::origin) {
            Ok(at) if parts[at].last < new.last => parts[at] = new,
            Ok(at) if Mutant::CountedTwice.is_planted() && parts[at] == new => {
                let twice = parts[at].sum.checked_add(new.sum);
                parts[at].sum = twice.unwrap_or(new.sum);
            }
            Ok(_) => return false,
            Err(at) => parts.insert(at, new),
        }
        true
    }

    /// Removes the register when it is not newer than `horizon`, and contributions that began
    /// before it. Returns whether the cell changed.
    pub(crate) fn cut(&mut self, horizon: Stamp) -> bool {
        let register_cut = !self.stamp.is_zero() && self.stamp <= horizon;
        if register_cut {
            self.value = None;
            self.stamp = Stamp::ZERO;
        }
        let before = self.contributions().len();
        self.drop_contributions_up_to(horizon);
        register_cut || self.contributions().len() != before
    }

    fn drop_contributions_up_to(&mut self, stamp: Stamp) {
        let Some(parts) = &mut self.contributions else {
            return;
        };
        parts.retain(|part| part.since > stamp);
        if parts.is_empty() {
            self.contributions = None;
        }
    }
}
