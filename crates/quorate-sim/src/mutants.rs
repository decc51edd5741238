//! Proof that the checkers can fail: known bugs are planted one at a time, and each must be caught.

use std::time::Duration;

use quorate_proto::mutant::{Mutant, plant};

use crate::{
    observe::Attention,
    runner::{self, Order},
    scenario::Scenario,
    schedule,
};

/// How a planted bug is expected to be caught.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// The bug.
    pub mutant: Mutant,
    /// Where it shows.
    pub scenario: &'static str,
    /// Seeds within which it must be caught.
    pub seeds: u64,
    /// The checkers of which one must catch it.
    pub checkers: &'static [&'static str],
}

const fn trap(
    mutant: Mutant,
    scenario: &'static str,
    seeds: u64,
    checkers: &'static [&'static str],
) -> Trap {
    Trap { mutant, scenario, seeds, checkers }
}

/// A trap for every known bug.
pub const TRAPS: [Trap; Mutant::ALL.len()] = [
    trap(Mutant::AckBeforeQuorum, "quorum", 200, &["stale"]),
    trap(Mutant::AckBeforeDurable, "power", 400, &["lost", "stale"]),
    trap(Mutant::HintCounts, "quorum", 200, &["stale"]),
    trap(Mutant::HintDropped, "hints", 100, &["convergence"]),
    trap(Mutant::ArrivalOrder, "base", 100, &["equal", "stale", "backwards", "convergence"]),
    trap(Mutant::TombstonesForgotten, "deletes", 200, &["resurrection", "convergence"]),
    trap(Mutant::SyncSkipped, "power", 400, &["lost", "stale"]),
    trap(Mutant::OriginReused, "copies", 200, &["origins"]),
    trap(Mutant::ReadAlone, "quorum", 100, &["stale"]),
    trap(Mutant::RepairSkipped, "hot-cut", 800, &["backwards", "stale", "linearizable"]),
    trap(Mutant::WriteBlind, "deletes", 200, &["resurrection"]),
    trap(Mutant::ReadyAtOnce, "wipe", 200, &["stale", "resurrection"]),
    trap(Mutant::FailedYetApplied, "base", 200, &["outcomes", "resurrection"]),
    trap(Mutant::NeverExpires, "disk", 100, &["deadlines", "convergence"]),
    trap(Mutant::CountedTwice, "base", 100, &["counter"]),
    trap(Mutant::RepairSkipsMissing, "wipe", 100, &["convergence", "stale"]),
    trap(Mutant::DigestBlind, "base", 100, &["convergence", "equal"]),
    trap(Mutant::ExpiryLost, "deletes", 100, &["resurrection"]),
    trap(Mutant::ExpiryOutlives, "lifetimes", 100, &["lifetime"]),
    trap(Mutant::ClockTrusted, "wild-clocks", 400, &["lost", "stale", "resurrection"]),
    trap(Mutant::ReadUnsynced, "alone", 400, &["backwards", "linearizable"]),
    trap(Mutant::FloorIgnored, "forgetting", 400, &["resurrection", "convergence"]),
    trap(Mutant::SeatReusesOrigin, "lost-counters", 200, &["origins"]),
    trap(Mutant::FoundedAtOnce, "lost", 200, &["stale"]),
    trap(Mutant::RefillEndsEarly, "seat-retaken", 100, &["notes", "stale"]),
    trap(Mutant::SeatUnheard, "seat-retaken", 200, &["stale"]),
    trap(Mutant::SeedsGivenUp, "founders", 100, &["founders"]),
    trap(Mutant::FloorsWhileForming, "founders", 100, &["lost", "resurrection", "convergence"]),
    trap(Mutant::TombstonesForgottenByAge, "forgetting", 400, &["resurrection", "convergence"]),
    trap(Mutant::DigestDrifts, "scrub", 100, &["digests"]),
    trap(Mutant::ScrubBlind, "scrub", 100, &["scrub"]),
    trap(Mutant::ClocksClaimUnmerged, "survivors", 100, &["survivors"]),
    trap(Mutant::ClocksPullUnmerged, "survivors", 100, &["survivors"]),
    trap(Mutant::OverflowUnmarked, "ledger", 400, &["ledger"]),
    trap(Mutant::ExpiryUnmarked, "hint-age", 400, &["ledger"]),
    trap(Mutant::DirtyClearedEarly, "ledger", 400, &["ledger"]),
    trap(Mutant::ElementsLeftOut, "large-cut", 1_600, &["backwards", "stale"]),
    trap(Mutant::PartTakenForWhole, "pairs", 100, &["outcomes"]),
    trap(Mutant::DoubtIgnored, "wrong-starts", 400, &["stale", "resurrection", "backwards"]),
    trap(Mutant::SentBeforeWritten, "killed", 200, &["backwards", "linearizable", "lost", "stale"]),
    trap(Mutant::ShownUnread, "large-cut", 1_200, &["resurrection", "stale"]),
    trap(Mutant::RemovedNotTold, "quorum", 200, &["resurrection", "stale"]),
    trap(Mutant::WatchIgnored, "watched", 100, &["linearizable"]),
    trap(Mutant::TransactionTorn, "transactions", 100, &["whole"]),
    trap(Mutant::TransactionInParts, "power-transactions", 100, &["whole"]),
    trap(Mutant::FlushAlone, "flushes", 400, &["resurrection", "linearizable"]),
    trap(Mutant::CallRepeated, "base", 100, &["counter", "outcomes"]),
    trap(Mutant::EachQuorumAnywhere, "each-datacentre", 100, &["stale", "backwards"]),
    trap(Mutant::StartsAtOnce, "comes-back", 100, &["refused", "stale", "backwards"]),
    trap(Mutant::DigestOfLater, "late-hot", 800, &["stale", "backwards", "linearizable"]),
    trap(
        Mutant::LongCallUnlogged,
        "long-alone",
        100,
        &["lost", "stale", "backwards", "linearizable"],
    ),
    trap(
        Mutant::LongMergeUnlogged,
        "long-killed",
        200,
        &["lost", "stale", "backwards", "resurrection"],
    ),
    trap(Mutant::TurnUnbounded, "greedy", 20, &["waits"]),
    trap(Mutant::ReadsOverstay, "disk", 100, &["deadlines"]),
    trap(Mutant::PipelineUnordered, "in-order", 20, &["order"]),
    trap(Mutant::WriteOvertakes, "in-order", 600, &["order"]),
    trap(Mutant::LateEffectForgotten, "late-hints", 200, &["convergence"]),
    trap(Mutant::RefusalFinal, "one-full", 100, &["available"]),
    trap(
        Mutant::LevelOfBefore,
        "moving",
        400,
        &["stale", "lost", "backwards", "counter", "resurrection"],
    ),
    trap(
        Mutant::FloorOfBefore,
        "moving-deletes",
        400,
        &["stale", "lost", "counter", "convergence"],
    ),
    trap(Mutant::DiscardedEarly, "moving", 100, &["stale", "lost", "backwards", "counter"]),
    trap(Mutant::FillingCountsNew, "moving", 400, &["stale", "lost", "backwards", "counter"]),
    trap(Mutant::PlacesShared, "documents", 100, &["lost", "stale", "backwards"]),
    trap(Mutant::SumsWritten, "documents", 100, &["lost", "stale", "backwards"]),
    trap(Mutant::MergesUnindexed, "indexed", 20, &["index"]),
    trap(Mutant::RelayCountsForAll, "each-datacentre", 400, &["stale", "backwards", "lost"]),
    trap(Mutant::LeftServes, "members", 20, &["left"]),
    trap(Mutant::BegunLate, "stuck", 200, &["stale", "backwards", "lost", "resurrection"]),
    trap(Mutant::PhaseSkipped, "members", 20, &["register"]),
    trap(Mutant::VoteUnwritten, "voters-struck", 40, &["register"]),
    trap(Mutant::LeaverKept, "members", 20, &["register"]),
    trap(Mutant::OverruledAsNext, "overruled", 40, &["register"]),
    trap(Mutant::TakenOverAtOnce, "moving-counts", 100, &["unique"]),
    trap(Mutant::ForwardedByAnyList, "moving-counts", 100, &["unique"]),
    trap(Mutant::VotersBunched, "witness", 40, &["convergence"]),
    trap(Mutant::RepairInBackground, "hot-cut", 800, &["backwards", "stale", "linearizable"]),
    trap(Mutant::PiecesMixed, "pieces", 100, &["outcomes", "convergence", "equal"]),
    trap(Mutant::PieceLost, "pieces", 100, &["outcomes", "convergence", "equal"]),
];

/// What came of a trap.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The trap.
    pub trap: Trap,
    /// Schedules that ran.
    pub schedules: u64,
    /// The checker that complained first, with its seed and text.
    pub caught: Option<(&'static str, u64, String)>,
}

impl Catch {
    /// Whether an expected checker complained.
    pub fn is_good(&self) -> bool {
        let caught = self.caught.as_ref();
        caught.is_some_and(|(checker, ..)| self.trap.checkers.contains(checker))
    }
}

/// Plants every bug of `traps` in turn.
pub fn run(traps: &[Trap], threads: usize) -> Vec<Catch> {
    traps.iter().map(|trap| spring(*trap, threads)).collect()
}

fn spring(trap: Trap, threads: usize) -> Catch {
    let Some(scenario) = Scenario::named(trap.scenario) else {
        return Catch { trap, schedules: 0, caught: None };
    };
    // The cluster is formed while nothing is planted.
    schedule::run(scenario, 0, &Vec::new(), Attention::None);
    plant(Some(trap.mutant));
    let order = Order {
        scenarios: vec![scenario],
        seeds: 0..trap.seeds,
        budget: Duration::from_secs(3_600),
        threads,
        failures_max: 1,
    };
    let report = runner::run(&order);
    plant(None);
    let expected = |found: &&crate::world::Violation| trap.checkers.contains(&found.checker);
    let caught = report.failures.first().and_then(|failure| {
        let violations = &failure.violations;
        let first = violations.iter().find(expected).or(violations.first())?;
        Some((first.checker, failure.seed, first.text.clone()))
    });
    Catch { trap, schedules: report.schedules.values().sum(), caught }
}
