//! What a member is to take on.

/// What a member is to take on, as the member list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duties {
    /// Its share of the replicas of its datacentre, beside those of the others there: at most
    /// [`WEIGHT_MAX`]. A member of weight 0 is a *witness*: it holds nothing and may have a vote.
    pub weight: u16,
    /// Whether it keeps what it holds and executes writes only where nobody else can, and gets
    /// nothing new.
    pub is_drained: bool,
}

/// The weight of a member of which nothing else was said.
pub const WEIGHT_DEFAULT: u16 = 100;

/// The greatest weight.
pub const WEIGHT_MAX: u16 = 10_000;

impl Duties {
    /// Those of a member with this weight.
    pub const fn of_weight(weight: u16) -> Self {
        Self { weight, is_drained: false }
    }

    /// Whether the member is to hold replicas.
    pub const fn holds_data(self) -> bool {
        self.weight > 0
    }
}

impl Default for Duties {
    fn default() -> Self {
        Self::of_weight(WEIGHT_DEFAULT)
    }
}
