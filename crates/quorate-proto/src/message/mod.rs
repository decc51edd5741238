//! What nodes say to each other, inside a [frame](crate::frame).
//!
//! A link carries requests one way and their responses back, matched by the frame's correlation
//! id. Every request that concerns data names its slot, so the receiving node can hand it to the
//! shard that owns the slot whatever its number of shards.

mod codec;
mod gossip;
mod members;
mod reach;

use alloc::{boxed::Box, string::String, vec::Vec};

use bytes::Bytes;

pub use codec::MessageError;
pub use gossip::{
    Abilities, Delta, Digest, Entry, Gossip, GossipStep, Load, News, Place, Topic, Volume, Waiting,
    features,
};
pub use members::{Claim, EmptySeat, Hello, Member, View};
pub use reach::Reach;

use crate::{
    CallId, Dot, DotRange, Fitness, Level, MemberNumber, NodeId, Outcome, Slot,
    register::{Answer, Request},
};

/// One request or response between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Opens a link. Answered by [`Message::Welcome`] or [`Message::Refused`].
    Hello(Box<Hello>),
    /// Accepts a link.
    Welcome(Box<Hello>),
    /// Refuses a link or a join.
    Refused(Refused),

    /// The sender's view of the members. Answered with the receiver's view after merging it.
    Members(Box<View>),
    /// Asks the receiver to promise the member list with this digest. Answered by
    /// [`Message::SealVote`].
    Seal(Box<View>),
    /// Whether the receiver promised the list, and its own view.
    SealVote {
        /// The receiver will admit nobody else while this list is being sealed.
        accepted: bool,
        /// The receiver's view.
        view: Box<View>,
    },

    /// Asks a member of a sealed list for the seat of a member that has lost everything. Answered
    /// by [`Message::SeatVote`] or [`Message::Refused`].
    Claim(Claim),
    /// Whether the receiver grants the seat, and its own view, in which it has then.
    SeatVote {
        /// The receiver refuses every earlier incarnation of the member from now on.
        granted: bool,
        /// The receiver's view.
        view: Box<View>,
    },

    /// Asks a voter about the next member list. Answered by [`Message::BallotAnswer`].
    Ballot(Box<Request>),
    /// Answers a question about the next member list.
    BallotAnswer(Box<Answer>),
    /// Opens a link, from a node that wants to become a member of a final list. Answered by
    /// [`Message::Welcome`] once it is one, by [`Message::Refused`] until then.
    Join(Box<Hello>),

    /// Proof of life. Answered by [`Message::HeartbeatReply`].
    Heartbeat(Heartbeat),
    /// Answers a heartbeat.
    HeartbeatReply(Heartbeat),

    /// A shard of the sender is in a turn that takes long: it answers late and is not dead. Not
    /// answered.
    AtWork,

    /// Asks how far the receiver has come with slots that are on their way. Answered by
    /// [`Message::Progress`].
    AskProgress,
    /// With whom the sender has become level, as `quorate_cluster::movement` reckons.
    Progress {
        /// The member list that all of its shards go by.
        epoch: u64,
        /// For each peer the groups of slots, one bit for each.
        level: Vec<(MemberNumber, u64)>,
    },

    /// What nodes say of themselves spreads. Not answered on this link: who has something to say
    /// in return uses its own.
    Gossip(Box<Gossip>),
    /// Asks whether a node is alive: the receiver, or one that it is to ask in turn. Answered by
    /// [`Message::ProbeAnswer`] on the receiver's own link.
    Probe {
        /// The node.
        target: NodeId,
        /// By which the sender knows its question.
        number: u64,
    },
    /// The node that was asked about is alive.
    ProbeAnswer {
        /// The number of the question.
        number: u64,
    },

    /// The sender's catalog of indexes. Answered on the receiver's own link: by its own one if it
    /// holds something newer, else by [`Message::CatalogHeld`].
    Catalog(Bytes),
    /// The sender holds the catalog with this digest.
    CatalogHeld {
        /// The digest.
        digest: u64,
    },

    /// A client's command for the receiver to coordinate. Answered by [`Message::Reply`].
    Forward(Forward),
    /// The encoded RESP reply to a forwarded command.
    Reply(Bytes),

    /// An effect to merge: a write, a replayed hint or a repair. Answered by [`Message::Ack`] once
    /// it is as durable as the receiver's policy asks, or by [`Message::Rejected`].
    Replicate {
        /// The slot that all keys of the effect belong to.
        slot: Slot,
        /// The writes that the effect holds all of, at most
        /// [`DOTS_PER_EFFECT_MAX`](crate::limits::DOTS_PER_EFFECT_MAX); none for a repair.
        dots: Vec<Dot>,
        /// Of a write with one dot that another node has forwarded: what it was answered.
        outcome: Option<Box<Outcome>>,
        /// Encoded key deltas.
        effect: Bytes,
    },
    /// An effect to merge, and to pass on to other replicas of the receiver's datacentre by
    /// [`Message::Replicate`]. Answered by [`Message::Relayed`], perhaps several times, or by
    /// [`Message::Rejected`].
    Relay {
        /// The slot that all keys of the effect belong to.
        slot: Slot,
        /// To whom it is passed on.
        to: Vec<MemberNumber>,
        /// Whether each is to be named as soon as it has taken the effect.
        at_once: bool,
        /// As in [`Message::Replicate`].
        dots: Vec<Dot>,
        /// As in [`Message::Replicate`].
        outcome: Option<Box<Outcome>>,
        /// Encoded key deltas.
        effect: Bytes,
    },
    /// These have taken an effect that was passed on, as durably as their policies ask.
    Relayed {
        /// Members that were not named before.
        took: Vec<MemberNumber>,
        /// Whether nobody else will be: the others are for the sender of the effect to see to.
        is_last: bool,
    },
    /// Asks what became of a write that the sender has forwarded. Answered by [`Message::Reply`] by
    /// who knows it, which includes everybody who has merged its effect.
    AskOutcome {
        /// The slot of the write.
        slot: Slot,
        /// Which write.
        id: CallId,
    },
    /// The effect is merged.
    Ack,
    /// The request was not carried out and changed nothing.
    Rejected {
        /// Why.
        cause: Cause,
        /// The same for a reader, naming what was wrong.
        text: String,
    },

    /// Asks for the digest of the keys that a command names. Answered by [`Message::KeysDigest`].
    AskDigest {
        /// The slot of the command's keys.
        slot: Slot,
        /// The command, as an encoded RESP array.
        command: Bytes,
    },
    /// Digest of the keys asked for.
    KeysDigest {
        /// The digests of all keys, summed.
        digest: u128,
        /// Whether the state of one of them is too large to travel whole.
        large: bool,
    },
    /// Asks for the whole state of the keys that a command names. Answered by [`Message::States`].
    AskStates {
        /// The slot of the command's keys.
        slot: Slot,
        /// The command, as an encoded RESP array.
        command: Bytes,
    },
    /// Encoded key deltas that hold the whole state of the keys asked for.
    States(Bytes),

    /// Compares a group of slots that both nodes hold. Answered by [`Message::GroupSame`] or
    /// [`Message::GroupDiffers`].
    CompareGroup {
        /// The group of slots.
        group: u16,
        /// The sender's digest over the group's slots that both nodes hold.
        digest: u128,
        /// What the digests cover.
        scope: Scope,
    },
    /// The receiver's digest of the group equals the sender's.
    GroupSame(Settlement),
    /// It does not.
    GroupDiffers {
        /// How far the receiver has come with the group.
        settlement: Settlement,
        /// The receiver's digests of the group's slots that both nodes hold.
        slots: Vec<(Slot, u128)>,
    },
    /// Compares a slot that both nodes hold. Answered by [`Message::SlotSame`], [`Message::Sketch`]
    /// or [`Message::Fingerprints`].
    CompareSlot {
        /// The slot.
        slot: Slot,
        /// The sender's digest of it.
        digest: u128,
        /// What the digests cover.
        scope: Scope,
        /// Fingerprints below this one are left out.
        from: u64,
        /// How many symbols of a sketch of all fingerprints would do as well; 0 when only the
        /// fingerprints will.
        symbols: u16,
    },
    /// The receiver's digest of the slot equals the sender's.
    SlotSame,
    /// A sketch of the fingerprints of the receiver's keys in the slot, of as many symbols as were
    /// asked for.
    Sketch(Vec<Symbol>),
    /// Fingerprints of the receiver's keys in the slot, from the one asked for.
    Fingerprints {
        /// The receiver has no others up to and including this one.
        until: u64,
        /// In ascending order, each once.
        fingerprints: Vec<u64>,
    },
    /// Asks for the whole state of the keys with some fingerprints. Answered by
    /// [`Message::FingerprintStates`].
    AskFingerprintStates {
        /// The slot of the keys.
        slot: Slot,
        /// Their fingerprints, in ascending order.
        fingerprints: Vec<u64>,
    },
    /// The states of keys, or their elements, that were asked for by fingerprint, as many as fit in
    /// one message.
    FingerprintStates {
        /// How many of the fingerprints, from the first, this settles: at least one.
        covered: u32,
        /// Encoded key deltas.
        states: Bytes,
    },
    /// Asks for the digests of every key in a slot. Answered by [`Message::KeyDigests`].
    AskKeyDigests {
        /// The slot.
        slot: Slot,
    },
    /// Every key of the slot with its digest.
    KeyDigests(Vec<(Bytes, u128)>),
    /// Asks for the whole state of some keys. Answered by [`Message::States`].
    AskKeyStates {
        /// The slot of the keys.
        slot: Slot,
        /// The keys.
        keys: Vec<Bytes>,
    },

    /// Asks which writes the receiver holds in slots that have changed. Answered by
    /// [`Message::Clocks`].
    AskClocks {
        /// A group of slots of the sender's shard, and one of the receiver's.
        group: u16,
        /// Shards of the sender. Meant are the groups that belong to the same shard as `group`
        /// there.
        shards: u16,
        /// The receiver's version up to which the sender knows all changes; 0 when it knows none.
        since: u64,
        /// The first slot that the sender wants to hear of.
        from: Slot,
    },
    /// Which writes the sender holds in slots that have changed and that both nodes hold.
    Clocks {
        /// Shards of the sender. Covered are the groups that belong to the same shard as the one
        /// asked for.
        shards: u16,
        /// The sender's version.
        version: u64,
        /// Where the next message about these changes begins, if there is more.
        next: Option<Slot>,
        /// In ascending order, at most [`DOT_SLOTS_MAX`](crate::limits::DOT_SLOTS_MAX).
        slots: Vec<SlotDots>,
    },
    /// Asks for the effects of some writes. Answered by [`Message::Dots`].
    AskDots {
        /// The group of the slots.
        group: u16,
        /// The writes.
        wanted: Vec<SlotDots>,
    },
    /// Effects of writes that were asked for, as many as fit in one message.
    Dots {
        /// The effects.
        effects: Vec<DottedEffect>,
        /// Writes whose effects the sender has not, or not any more.
        absent: Vec<SlotDots>,
    },

    /// Compares some keys of which both nodes hold much by their elements. Answered by
    /// [`Message::Elements`].
    CompareElements {
        /// The slot of the keys.
        slot: Slot,
        /// What the sums cover.
        scope: Scope,
        /// Fingerprints below this one are left out.
        from: u64,
        /// The keys, each once.
        keys: Vec<Bytes>,
        /// Sums of the sender's elements by bucket, the first bits of their fingerprints. Their
        /// number is a power of two.
        sums: Vec<u64>,
    },
    /// Fingerprints of the receiver's elements in the buckets that differ, from the one asked for.
    Elements {
        /// The receiver's digest of the keys.
        digest: u128,
        /// The receiver has no others in these buckets up to and including this one.
        until: u64,
        /// The buckets that differ, in ascending order, each once.
        buckets: Vec<u16>,
        /// Those in the buckets, and those of what belongs to keys as a whole, in ascending order,
        /// each once.
        fingerprints: Vec<u64>,
    },
    /// Asks for the elements of some keys with some fingerprints. Answered by
    /// [`Message::FingerprintStates`].
    AskElements {
        /// The slot of the keys.
        slot: Slot,
        /// The keys, each once.
        keys: Vec<Bytes>,
        /// The fingerprints, in ascending order.
        fingerprints: Vec<u64>,
    },
}

/// A symbol of a sketch: some fingerprints of a set together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The fingerprints, added without carry.
    pub sum: u64,
    /// Their checks, added without carry.
    pub check: u32,
    /// How many they are.
    pub count: i32,
}

/// Dots of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotDots {
    /// The slot.
    pub slot: Slot,
    /// Neither overlapping nor out of order; at least one, at most
    /// [`DOT_RANGES_MAX`](crate::limits::DOT_RANGES_MAX).
    pub ranges: Vec<DotRange>,
}

/// An effect with the writes that it holds all of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DottedEffect {
    /// The slot of its keys.
    pub slot: Slot,
    /// At least one.
    pub dots: Vec<Dot>,
    /// Encoded key deltas.
    pub effect: Bytes,
}

/// What the digests of slots cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// What is alive. Replicas that have forgotten tombstones agree with those that have not.
    #[default]
    Alive,
    /// Tombstones as well, for a node that has lost some.
    Everything,
}

/// How far a node has come with a group of slots. Both in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The node's clock: all that it has written up to now, it holds, and nothing that it writes
    /// later is dated much earlier. Zero when it vouches for nothing.
    pub clock_ms: u64,
    /// Everything that is dated up to here, the node holds; what comes later it refuses.
    pub floor_ms: u64,
}

/// Proof of life and what a peer should know at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Version of the sender's topology.
    pub epoch: u64,
    /// What the sender may do.
    pub fitness: Fitness,
    /// Effects that the sender still keeps for the receiver, and one more as long as it takes it
    /// for down.
    pub hints_pending: u64,
    /// The sender's wall clock in milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// A client's command on its way to a node that can coordinate it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The slot of the command's keys.
    pub slot: Slot,
    /// Level for reads.
    pub read_level: Level,
    /// Level for writes.
    pub write_level: Level,
    /// Whether the client speaks RESP3.
    pub resp3: bool,
    /// Milliseconds left until the client's deadline.
    pub budget_ms: u32,
    /// By which the sender may ask what became of it.
    pub id: CallId,
    /// The command, as an encoded RESP array.
    pub command: Bytes,
}

/// Why a link or a join is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it means for whoever is refused.
    pub code: RefusalCode,
    /// Why, and what to do, for a reader.
    pub text: String,
}

/// What a refusal means for whoever is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RefusalCode {
    /// It stays until an operator acts.
    Final = 1,
    /// It passes by itself.
    Transient = 2,
    /// It passes, one way or the other, once it is known whether another process is the member.
    Unsure = 3,
    /// Another process is, or was, the member: this one must stop.
    Fenced = 4,
    /// A node has reached itself.
    Itself = 5,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [Self; 5] =
        [Self::Final, Self::Transient, Self::Unsure, Self::Fenced, Self::Itself];

    /// Whether it is worth trying again.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Transient | Self::Unsure)
    }
}

/// Why a request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// The frame carried an epoch that is not the receiver's.
    StaleEpoch = 1,
    /// A stamp lies further ahead of the receiver's clock than the bound allows.
    ClockSkew = 2,
    /// The receiver cannot store anything at the moment.
    StoreFull = 3,
    /// The receiver holds no replica of the slot.
    NotReplica = 4,
    /// The payload could not be decoded.
    Malformed = 5,
    /// The receiver has too much in flight.
    Overloaded = 6,
    /// The receiver has lost data, and has not yet got it back from its peers.
    Incomplete = 7,
    /// The receiver's clock is contradicted by those of its peers.
    ClockInDoubt = 8,
    /// The receiver does not know what became of a call.
    OutcomeUnknown = 9,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::StaleEpoch,
        Self::ClockSkew,
        Self::StoreFull,
        Self::NotReplica,
        Self::Malformed,
        Self::Overloaded,
        Self::Incomplete,
        Self::ClockInDoubt,
        Self::OutcomeUnknown,
    ];
}
