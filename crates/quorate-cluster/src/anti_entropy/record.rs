//! What the rounds with one peer have come to, and what is wanted of the next one.

use core::time::Duration;

use quorate_proto::Groups;

use super::{AntiEntropy, round::Round};
use crate::time::Instant;

impl AntiEntropy {
    /// Bytes that the rounds which this shard ran have moved, both ways together.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// When a round with it is due; `None` while it is down.
    pub(super) due: Option<Instant>,
    pub(super) record: Record,
    /// What is dirty is not settled before.
    pub(super) settle_at: Instant,
    /// Whether it may lack something, or this node may, that nobody keeps for it.
    pub(super) unverified: bool,
}

impl Peer {
    /// Before anything is known of it.
    pub(super) const DOWN: Self =
        Self { due: None, record: Record::NONE, settle_at: Instant::ZERO, unverified: true };
}

/// What the rounds with one peer have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Whole rounds that exchanged everything.
    pub rounds: u64,
    /// Keys that differed, in all rounds.
    pub keys: u64,
    /// Bytes both ways, in all rounds that have ended.
    pub bytes: u64,
    /// Slots that differed in the last round.
    pub slots: u64,
    /// When the last whole round that exchanged everything ended.
    pub done_at: Option<Instant>,
    /// How long that one took.
    pub took: Duration,
    /// The round that was asked for by an operator.
    pub repair: Repair,
    /// What that round has come to; rounds that ran meanwhile are not in it.
    pub repaired: Tally,
}

/// What a round has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Keys that differed.
    pub keys: u64,
    /// Bytes both ways.
    pub bytes: u64,
    /// Slots that differed.
    pub slots: u64,
}

impl Record {
    const NONE: Self = Self {
        rounds: 0,
        keys: 0,
        bytes: 0,
        slots: 0,
        done_at: None,
        took: Duration::ZERO,
        repair: Repair::None,
        repaired: Tally { keys: 0, bytes: 0, slots: 0 },
    };

    /// Adds a round, while it runs or once it has ended.
    pub(super) fn note(&mut self, round: &Round) {
        self.keys += round.keys;
        self.bytes += round.bytes;
        self.slots = round.slots;
        if self.repair == Repair::Running {
            self.repaired = Tally { keys: round.keys, bytes: round.bytes, slots: round.slots };
        }
    }
}

/// What a round is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What is compared.
    pub groups: Groups,
    /// Nothing is exchanged.
    pub dry: bool,
}

impl Order {
    /// A round that compares and exchanges everything.
    pub const WHOLE: Self = Self { groups: Groups::ALL, dry: false };

    /// Whether nothing is left out.
    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }
}

/// What has become of a round that an operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// None was.
    #[default]
    None,
    /// It waits for others to end.
    Waiting(Order),
    /// It is running.
    Running,
    /// It has done everything.
    Done,
    /// The peer was or went away, or something was refused.
    Failed,
}
