//! A cell: one value that converges, such as that of a string key or of a hash field.
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
//! A contribution has a single writer, its origin, so of two versions the one that began later is
//! the newer one, and of those that began together the one with the newer `last`, which contains
//! the other. Merging takes the newer one. It is live while it began (`since`) after the register
//! was written. Merging two cells is therefore commutative, associative and idempotent: also of
//! versions that no origin writes, for a register that drops the version that began last drops all
//! of them.
//!
//! Readers see a cell, or any other element of a collection, as an [`Element`].

use std::borrow::Cow;

use bytes::Bytes;
use quorate_proto::{Origin, Stamp, mutant::Mutant};

use crate::{decimal::Decimal, number::Number, part::Body, record::Encoded, text::Text};

/// What one origin has added to a cell since its contribution began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Stamp of the first increment in `sum`.
    pub since: Stamp,
    /// Stamp of the newest increment in `sum`; same origin as `since`.
    pub last: Stamp,
    /// Sum of the increments.
    pub sum: Sum,
}

impl Contribution {
    /// The origin that writes this contribution.
    pub fn origin(&self) -> Origin {
        self.last.origin()
    }

    /// Encoded length in bytes.
    pub(crate) const LENGTH: usize = 2 * Stamp::LENGTH + Sum::LENGTH;

    /// The encoded contribution.
    pub(crate) fn write(&self, out: &mut Encoded) {
        out.extend_from_slice(&self.since.to_bytes());
        out.extend_from_slice(&self.last.to_bytes());
        out.extend_from_slice(&self.sum.to_bytes());
    }

    /// The inverse of [`Contribution::write`].
    pub(crate) fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        let (mut since, mut last, mut sum) =
            ([0; Stamp::LENGTH], [0; Stamp::LENGTH], [0; Sum::LENGTH]);
        since.copy_from_slice(&bytes[..Stamp::LENGTH]);
        last.copy_from_slice(&bytes[Stamp::LENGTH..2 * Stamp::LENGTH]);
        sum.copy_from_slice(&bytes[2 * Stamp::LENGTH..]);
        Self {
            since: Stamp::from_bytes(since),
            last: Stamp::from_bytes(last),
            sum: Sum::from_bytes(sum),
        }
    }

    /// Whether `new`, of the same origin, takes the place of this one. Their sums differ under the
    /// same stamps only if a peer is at fault.
    fn is_older_than(&self, new: &Self) -> bool {
        let order = |part: &Self| (part.since, part.last, part.sum);
        order(self) < order(new)
    }
}

/// A sum of increments. What its bytes mean depends on what is incremented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum([u8; Self::LENGTH]);

impl Sum {
    /// Encoded length in bytes.
    pub const LENGTH: usize = 16;

    /// The encoded sum.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        self.0
    }

    /// The inverse of [`Sum::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The sum of increments of a string or a hash field.
    pub fn decimal(self) -> Decimal {
        Decimal::from_bytes(self.0)
    }
}

impl From<Decimal> for Sum {
    fn from(sum: Decimal) -> Self {
        Self(sum.to_bytes())
    }
}

/// What a cell shows of its value.
pub trait Value<'a>: Copy {
    /// The part body of a value that was written at `stamp`.
    fn body(self, stamp: Stamp) -> Body<'a>;

    /// Appends the bytes that a record of an element keeps of it.
    fn write(self, out: &mut Encoded);

    /// The inverse of [`Value::write`].
    fn read(bytes: &'a [u8]) -> Self;
}

/// The value of a string or of a hash field.
impl<'a> Value<'a> for &'a [u8] {
    fn body(self, stamp: Stamp) -> Body<'a> {
        Body::Bytes(stamp, self)
    }

    fn write(self, out: &mut Encoded) {
        out.extend_from_slice(self);
    }

    fn read(bytes: &'a [u8]) -> Self {
        bytes
    }
}

/// Contributions, ordered by origin, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub enum Contributions<'a> {
    /// In a cell.
    Stored(&'a [Contribution]),
    /// In a record, encoded.
    Encoded(&'a [u8]),
}

impl<'a> Contributions<'a> {
    /// None at all.
    pub const NONE: Self = Self::Stored(&[]);

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        match self {
            Self::Stored(parts) => parts.is_empty(),
            Self::Encoded(bytes) => bytes.is_empty(),
        }
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Contribution> + use<'a> {
        let len = match self {
            Self::Stored(parts) => parts.len(),
            Self::Encoded(bytes) => bytes.len() / Contribution::LENGTH,
        };
        (0..len).filter_map(move |at| match self {
            Self::Stored(parts) => parts.get(at).copied(),
            Self::Encoded(bytes) => bytes.as_chunks().0.get(at).map(Contribution::from_bytes),
        })
    }
}

impl PartialEq for Contributions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// What a cell holds, or another element that converges: a value with its stamp, and live
/// contributions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Element<'a, V> {
    value: Option<V>,
    stamp: Stamp,
    contributions: Contributions<'a>,
}

impl<'a, V: Copy> Element<'a, V> {
    /// Nothing at all.
    pub const NONE: Self =
        Self { value: None, stamp: Stamp::ZERO, contributions: Contributions::NONE };

    /// An element with contributions; it has no value when that is removed at `stamp`.
    pub(crate) fn new(value: Option<V>, stamp: Stamp, contributions: Contributions<'a>) -> Self {
        Self { value, stamp, contributions }
    }

    /// An element that is there, with a value that was written at `stamp`.
    pub(crate) fn written(value: V, stamp: Stamp) -> Self {
        Self { value: Some(value), stamp, contributions: Contributions::NONE }
    }

    /// An element without a value that was removed at `stamp`.
    pub(crate) fn removed(stamp: Stamp) -> Self {
        Self { value: None, stamp, contributions: Contributions::NONE }
    }

    /// Whether the element shows.
    pub fn is_live(&self) -> bool {
        self.value.is_some() || !self.contributions.is_empty()
    }

    /// The value of the register without contributions.
    pub fn register(&self) -> Option<V> {
        self.value
    }

    /// Stamp of the register: of the value, or of the removal.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The newest stamp of anything in the element.
    pub fn newest(&self) -> Stamp {
        self.contributions.iter().map(|part| part.last).fold(self.stamp, Stamp::max)
    }

    /// Live contributions, ordered by origin.
    pub fn contributions(&self) -> Contributions<'a> {
        self.contributions
    }

    /// The live contribution of `origin`.
    pub fn contribution_of(&self, origin: Origin) -> Option<Contribution> {
        match self.contributions {
            Contributions::Stored(parts) => {
                parts.iter().find(|part| part.origin() == origin).copied()
            }
            encoded => encoded.iter().find(|part| part.origin() == origin),
        }
    }

    /// Whether a removal up to `stamp` would remove anything.
    pub(crate) fn is_reached_by(&self, stamp: Stamp) -> bool {
        self.value.is_some() && self.stamp <= stamp
            || self.contributions.iter().any(|part| part.since <= stamp)
    }

    /// The element without what its value is.
    pub(crate) fn outline(self) -> Element<'a, ()> {
        let Self { value, stamp, contributions } = self;
        Element { value: value.map(|_| ()), stamp, contributions }
    }

    /// The contribution that the origin of `stamp` has after its newest increment at `stamp` made
    /// it `sum`.
    pub(crate) fn contribution(&self, sum: Sum, stamp: Stamp) -> Contribution {
        let since = self.contribution_of(stamp.origin()).map_or(stamp, |part| part.since);
        Contribution { since, last: stamp, sum }
    }
}

impl<'a, V: Value<'a>> Element<'a, V> {
    /// Hands the body of every part of the element to `emit`. Merging them into nothing gives the
    /// element.
    #[inline]
    pub(crate) fn export(&self, mut emit: impl FnMut(Body<'a>)) {
        match self.value {
            Some(value) => emit(value.body(self.stamp)),
            None if !self.stamp.is_zero() => emit(Body::Removed(self.stamp)),
            None => {}
        }
        for contribution in self.contributions.iter() {
            emit(Body::Added(contribution));
        }
    }
}

/// A string, or a field of a hash.
impl<'a> Element<'a, &'a [u8]> {
    /// The visible value.
    ///
    /// Contributions to a value that is not a number (a concurrent SET of a text) do not show.
    pub fn visible(&self) -> Option<Cow<'a, [u8]>> {
        if self.contributions.is_empty() {
            return self.value.map(Cow::Borrowed);
        }
        match self.number() {
            Some(sum) => Some(Cow::Owned(sum.to_string().into_bytes())),
            None => self.value.map(Cow::Borrowed),
        }
    }

    /// Register plus contributions, when the register is absent or a number and the sum is finite.
    pub fn number(&self) -> Option<Number> {
        let base = match self.value {
            Some(text) => Number::parse(text)?,
            None => Number::ZERO,
        };
        let parts = self.contributions;
        if parts.is_empty() {
            return Some(base);
        }
        // Among themselves first: what is added to a large number one by one would be rounded away.
        let mut parts = parts.iter();
        let sum = parts.try_fold(Number::ZERO, |sum, part| {
            sum.checked_add(Number::Exact(part.sum.decimal()))
        })?;
        base.checked_add(sum)
    }

    /// The contribution of the origin of `stamp` after it has added `amount`, which makes `sum` of
    /// the visible value. `None` where one of them is beyond exact decimals: then the sum is
    /// written as a value, because binary sums depend on their order, and a merge must not.
    pub(crate) fn increment(
        &self,
        amount: Number,
        sum: Number,
        stamp: Stamp,
    ) -> Option<Contribution> {
        let (Number::Exact(amount), Number::Exact(_)) = (amount, sum) else {
            return None;
        };
        let added = match self.contribution_of(stamp.origin()) {
            Some(part) => part.sum.decimal().checked_add(amount)?,
            None => amount,
        };
        Some(self.contribution(added.into(), stamp))
    }
}

/// What a cell keeps as its value, or none.
pub trait Stored: Default + 'static {
    /// How readers see it.
    type View<'a>: Value<'a>;

    /// Shows the value; `None` when there is none.
    fn view(&self) -> Option<Self::View<'_>>;

    /// The value in the body of a part; `None` when the body holds another kind of value.
    fn of<'a>(body: &Body<'a>) -> Option<Self::View<'a>>;

    /// Whether `new` wins if two values share a stamp.
    fn is_below(old: Self::View<'_>, new: Self::View<'_>) -> bool;

    /// Puts a value, or none, in the place of another.
    fn put(&mut self, new: Option<Self::View<'_>>);
}

/// Whether a register, which is none for a removal, takes the place of another one.
fn wins<V: Stored>(
    (old, old_stamp): (Option<V::View<'_>>, Stamp),
    (new, stamp): (Option<V::View<'_>>, Stamp),
) -> bool {
    // At equal stamps the removal wins, because it saw the value. Two values never share a stamp;
    // comparing them keeps the merge commutative even then.
    match stamp.cmp(&old_stamp) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => Mutant::ArrivalOrder.is_planted(),
        std::cmp::Ordering::Equal => match (new, old) {
            (None, Some(_)) => true,
            (Some(new), Some(old)) => V::is_below(old, new),
            (None | Some(_), None) => false,
        },
    }
}

/// One convergent value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell<V = Text> {
    /// The newest value written; none when nothing was, or when it is removed.
    value: V,
    /// The stamp of `value`; of a removed cell, the newest stamp that the removal saw.
    stamp: Stamp,
    /// Live contributions, ordered by origin. Nearly always none, or one.
    contributions: Box<[Contribution]>,
}

impl<V: Stored> Default for Cell<V> {
    fn default() -> Self {
        Self { value: V::default(), stamp: Stamp::ZERO, contributions: Box::default() }
    }
}

impl Cell {
    /// The reply that shows the value, shared with the cell; `None` where a copy costs less.
    pub(crate) fn shared_reply(&self) -> Option<Bytes> {
        // Contributions may make another value of it.
        self.value.shared_reply().filter(|_| self.contributions.is_empty())
    }
}

impl<V: Stored> Cell<V> {
    /// A cell with a value that was written at `stamp`.
    pub(crate) fn written(value: V::View<'_>, stamp: Stamp) -> Self {
        let mut cell = Self { stamp, ..Self::default() };
        cell.value.put(Some(value));
        cell
    }

    /// A cell that holds what an element does.
    pub(crate) fn of(element: Element<'_, V::View<'_>>) -> Self {
        let mut cell = Self { stamp: element.stamp, ..Self::default() };
        if element.value.is_some() {
            cell.value.put(element.value);
        }
        if !element.contributions.is_empty() {
            cell.contributions = element.contributions.iter().collect();
        }
        cell
    }

    /// Whether the cell has a visible value.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.value.view().is_some() || !self.contributions.is_empty()
    }

    /// What the cell holds.
    #[inline]
    pub fn element(&self) -> Element<'_, V::View<'_>> {
        Element {
            value: self.value.view(),
            stamp: self.stamp,
            contributions: Contributions::Stored(&self.contributions),
        }
    }

    /// Merges the body of a part. Returns whether the cell changed.
    #[inline]
    pub(crate) fn merge(&mut self, body: &Body<'_>) -> bool {
        match body {
            Body::Added(contribution) => self.merge_contribution(*contribution),
            Body::Removed(stamp) => self.merge_register(None, *stamp),
            value => self.merge_register(V::of(value), value.stamp()),
        }
    }

    /// Merges a register: a value, or `None` for a removal that saw everything up to `stamp`.
    fn merge_register(&mut self, value: Option<V::View<'_>>, stamp: Stamp) -> bool {
        if !wins::<V>((self.value.view(), self.stamp), (value, stamp)) {
            return false;
        }
        self.value.put(value);
        self.stamp = stamp;
        self.drop_contributions_up_to(stamp);
        true
    }

    /// The element that an element without contributions becomes when the body, which is a value,
    /// wins; `None` when it does not. For anything else a cell is [needed](Cell::merge).
    pub(crate) fn overwritten<'b>(
        old: Element<'_, V::View<'_>>,
        body: &Body<'b>,
    ) -> Option<Option<Element<'b, V::View<'b>>>> {
        let value = V::of(body).filter(|_| old.contributions.is_empty())?;
        let stamp = body.stamp();
        let wins = wins::<V>((old.value, old.stamp), (Some(value), stamp));
        Some(wins.then(|| Element::written(value, stamp)))
    }

    fn merge_contribution(&mut self, new: Contribution) -> bool {
        if new.since <= self.stamp {
            return false;
        }
        let parts = &mut self.contributions;
        match parts.binary_search_by_key(&new.origin(), Contribution::origin) {
            Ok(at) if parts[at].is_older_than(&new) => parts[at] = new,
            Ok(at) if Mutant::CountedTwice.is_planted() && parts[at] == new => {
                let (old, new) = (parts[at].sum.decimal(), new.sum.decimal());
                parts[at].sum = old.checked_add(new).unwrap_or(new).into();
            }
            Ok(_) => return false,
            Err(at) => {
                let mut more = std::mem::take(parts).into_vec();
                more.reserve_exact(1);
                more.insert(at, new);
                *parts = more.into_boxed_slice();
            }
        }
        true
    }

    /// Removes the register when it is not newer than `horizon`, and contributions that began
    /// before it. Returns whether the cell changed.
    pub(crate) fn cut(&mut self, horizon: Stamp) -> bool {
        let register_cut = !self.stamp.is_zero() && self.stamp <= horizon;
        if register_cut {
            self.value.put(None);
            self.stamp = Stamp::ZERO;
        }
        let before = self.contributions.len();
        self.drop_contributions_up_to(horizon);
        register_cut || self.contributions.len() != before
    }

    fn drop_contributions_up_to(&mut self, stamp: Stamp) {
        if self.contributions.iter().any(|part| part.since <= stamp) {
            let mut parts = std::mem::take(&mut self.contributions).into_vec();
            parts.retain(|part| part.since > stamp);
            self.contributions = parts.into_boxed_slice();
        }
    }
}
