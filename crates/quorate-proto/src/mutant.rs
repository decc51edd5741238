//! Known bugs that can be planted, one at a time, to prove that the checkers of the simulator find
//! them. Without the feature `mutants` nothing of them is compiled in.

/// A known bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mutant {
    /// A write is acknowledged as soon as one replica has it.
    AckBeforeQuorum = 1,
    /// A write is acknowledged before the log is synced.
    AckBeforeDurable,
    /// A hint counts as an acknowledgement.
    HintCounts,
    /// Effects for a replica that is down are not kept.
    HintDropped,
    /// The last write to arrive wins, not the newest.
    ArrivalOrder,
    /// The tombstones are forgotten at once.
    TombstonesForgotten,
    /// A sync does nothing.
    SyncSkipped,
    /// A restarted node goes by the origin that it had before.
    OriginReused,
    /// A quorum read asks nobody else.
    ReadAlone,
    /// A read answers before the replicas that lack something are repaired.
    RepairSkipped,
    /// A read-modify-write executes without reading at other replicas first.
    WriteBlind,
    /// A node answers for itself before it has caught up.
    ReadyAtOnce,
    /// A write that reached too few replicas is called failed.
    FailedYetApplied,
    /// A write whose time is up is never answered.
    NeverExpires,
    /// Increments add to what they should replace, so that one that arrives twice counts twice.
    CountedTwice,
    /// An anti-entropy round overlooks keys that only one side has.
    RepairSkipsMissing,
    /// Digests do not change when a member is removed.
    DigestBlind,
    /// The expiry of a key is not merged.
    ExpiryLost,
    /// What empties a key, or makes it anew, leaves its time to live.
    ExpiryOutlives,
    /// A clock that jumps is believed, and stamps from far ahead are merged.
    ClockTrusted,
    /// A read shows what is not durable yet.
    ReadUnsynced,
    /// What was removed long ago is merged again.
    FloorIgnored,
    /// Tombstones are forgotten after a time, whoever has not heard of the deletion yet.
    TombstonesForgottenByAge,
    /// The digest of a slot misses a change now and then, and not at all replicas the same ones.
    DigestDrifts,
    /// A scrub reads nothing.
    ScrubBlind,
    /// What a peer reports to hold counts as held here.
    ClocksClaimUnmerged,
    /// Effects that were pulled are not merged.
    ClocksPullUnmerged,
    /// A node that takes its seat again goes by the origin that it had before.
    SeatReusesOrigin,
    /// A node answers before it has met its seeds, though it may have been a member that has lost
    /// everything.
    FoundedAtOnce,
    /// What shards say before a seat is taken counts for the life that begins with it.
    RefillEndsEarly,
    /// A shard answers as soon as the node has a seat, although it has not heard of it.
    SeatUnheard,
    /// Nodes without data found a cluster although some of their seeds have not answered.
    SeedsGivenUp,
    /// Nodes without data prove floors to each other before any list is final, and keep them as
    /// members.
    FloorsWhileForming,
    /// An exchange of elements does not send what the other side lacks.
    ElementsLeftOut,
    /// Reads are repaired in the background although they are to be before they answer.
    RepairInBackground,
    /// A hint that finds no room leaves no mark.
    OverflowUnmarked,
    /// Hints that are too old leave no mark.
    ExpiryUnmarked,
    /// A round that was refused something clears the ranges that it was to settle.
    DirtyClearedEarly,
    /// The error of one part of a command is given for the whole command.
    PartTakenForWhole,
    /// A write that its executor refuses fails, although another replica could execute it.
    RefusalFinal,
    /// A node whose clock is contradicted by its peers tells by it what has expired.
    DoubtIgnored,
    /// What a turn has done leaves before its log is written.
    SentBeforeWritten,
    /// A transaction is executed although a key that it watches has changed.
    WatchIgnored,
    /// A write that changes nothing answers by what another one has read.
    ShownUnread,
    /// What others lack of a few elements leaves out that they are removed.
    RemovedNotTold,
    /// The last write of a transaction is left out.
    TransactionTorn,
    /// Each log gets only the part of a transaction that its own shard has executed.
    TransactionInParts,
    /// A flush deletes only what the replica that executes it holds.
    FlushAlone,
    /// A write whose executor is lost is executed again by another one.
    CallRepeated,
    /// A node that starts answers before it has met the others.
    StartsAtOnce,
    /// EACH_QUORUM is met by a majority of all, wherever they are.
    EachQuorumAnywhere,
    /// A late answer of the store comes with the digest of the moment in which it comes.
    DigestOfLater,
    /// What a call has done that was executed beside its shard is not in the log.
    LongCallUnlogged,
    /// What was merged beside its shard is not in the log.
    LongMergeUnlogged,
    /// A turn executes all that a client has sent.
    TurnUnbounded,
    /// Reads are given up some time after their deadline.
    ReadsOverstay,
    /// Reads and writes of one connection on a slot do not wait for each other.
    PipelineUnordered,
    /// What follows others of its connection overtakes them when another executor is chosen.
    WriteOvertakes,
    /// A write that is executed after its client has given up stays with its executor.
    LateEffectForgotten,
    /// What was made level in an epoch counts in the next one.
    LevelOfBefore,
    /// A node to which slots come keeps the floors that it had without them.
    FloorOfBefore,
    /// A slot is dropped while it is on its way, although it is still read.
    DiscardedEarly,
    /// A write to a slot that is being filled meets its level among the new owners only.
    FillingCountsNew,
    /// Items that two nodes insert into an array at one position get one place.
    PlacesShared,
    /// An increment of a number in a document writes what comes of it.
    SumsWritten,
    /// What a merge changes is not indexed.
    MergesUnindexed,
    /// Whoever an effect is passed on to counts once the one who passes it on has answered.
    RelayCountsForAll,
    /// A member that has left goes on.
    LeftServes,
    /// Slots that are filled are read from their new owners alone at once.
    PhaseSkipped,
    /// A write is begun after others may have executed it in the place of its executor.
    BegunLate,
    /// Pieces of one large message are taken for those of another one.
    PiecesMixed,
    /// A large message is taken for whole although a piece of it is missing.
    PieceLost,
    /// What a voter has promised and accepted is told and not written down.
    VoteUnwritten,
    /// Who has left is in the list that follows.
    LeaverKept,
    /// Who overrules the voters decides as if it was one of them.
    OverruledAsNext,
    /// A new executor of a slot does not ask the former ones whether they are done.
    TakenOverAtOnce,
    /// A write that was forwarded by another list is executed by whoever gets it.
    ForwardedByAnyList,
    /// Voters are chosen wherever they are.
    VotersBunched,
}

impl Mutant {
    /// Every known bug.
    pub const ALL: [Self; 78] = [
        Self::AckBeforeQuorum,
        Self::AckBeforeDurable,
        Self::HintCounts,
        Self::HintDropped,
        Self::ArrivalOrder,
        Self::TombstonesForgotten,
        Self::SyncSkipped,
        Self::OriginReused,
        Self::ReadAlone,
        Self::RepairSkipped,
        Self::WriteBlind,
        Self::ReadyAtOnce,
        Self::FailedYetApplied,
        Self::NeverExpires,
        Self::CountedTwice,
        Self::RepairSkipsMissing,
        Self::DigestBlind,
        Self::ExpiryLost,
        Self::ExpiryOutlives,
        Self::ClockTrusted,
        Self::ReadUnsynced,
        Self::FloorIgnored,
        Self::TombstonesForgottenByAge,
        Self::DigestDrifts,
        Self::ScrubBlind,
        Self::ClocksClaimUnmerged,
        Self::ClocksPullUnmerged,
        Self::SeatReusesOrigin,
        Self::FoundedAtOnce,
        Self::RefillEndsEarly,
        Self::SeatUnheard,
        Self::SeedsGivenUp,
        Self::FloorsWhileForming,
        Self::ElementsLeftOut,
        Self::RepairInBackground,
        Self::OverflowUnmarked,
        Self::ExpiryUnmarked,
        Self::DirtyClearedEarly,
        Self::PartTakenForWhole,
        Self::RefusalFinal,
        Self::DoubtIgnored,
        Self::SentBeforeWritten,
        Self::WatchIgnored,
        Self::ShownUnread,
        Self::RemovedNotTold,
        Self::TransactionTorn,
        Self::TransactionInParts,
        Self::FlushAlone,
        Self::CallRepeated,
        Self::StartsAtOnce,
        Self::EachQuorumAnywhere,
        Self::DigestOfLater,
        Self::LongCallUnlogged,
        Self::LongMergeUnlogged,
        Self::TurnUnbounded,
        Self::ReadsOverstay,
        Self::PipelineUnordered,
        Self::WriteOvertakes,
        Self::LateEffectForgotten,
        Self::LevelOfBefore,
        Self::FloorOfBefore,
        Self::DiscardedEarly,
        Self::FillingCountsNew,
        Self::PlacesShared,
        Self::SumsWritten,
        Self::MergesUnindexed,
        Self::RelayCountsForAll,
        Self::LeftServes,
        Self::PhaseSkipped,
        Self::BegunLate,
        Self::PiecesMixed,
        Self::PieceLost,
        Self::VoteUnwritten,
        Self::LeaverKept,
        Self::OverruledAsNext,
        Self::TakenOverAtOnce,
        Self::ForwardedByAnyList,
        Self::VotersBunched,
    ];

    /// Whether this bug is planted. Always `false`, and known to be by the compiler, without the
    /// feature.
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub const fn is_planted(self) -> bool {
        false
    }

    /// Whether this bug is planted.
    #[cfg(feature = "mutants")]
    pub fn is_planted(self) -> bool {
        planted::PLANTED.load(core::sync::atomic::Ordering::Relaxed) == self as u8
    }
}

/// Plants a bug in the whole process, or none.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    let number = mutant.map_or(0, |mutant| mutant as u8);
    planted::PLANTED.store(number, core::sync::atomic::Ordering::Relaxed);
}

#[cfg(feature = "mutants")]
mod planted {
    use core::sync::atomic::AtomicU8;

    /// The number of the bug that is planted.
    pub(super) static PLANTED: AtomicU8 = AtomicU8::new(0);
}
