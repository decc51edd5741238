//! Floors: up to when a replica is known to hold everything.
//!
//! Once a store has everything of a group of slots that any replica held and that is dated up to a
//! moment, it raises its *floor* to that moment. What arrives later and is dated earlier is either
//! known or was removed, so below the floor *absent means removed*, and the marks of removals can
//! go (see [`crate::mark`]). A peer that still holds such a thing (its disk was set back, or it
//! lost the removal) is told so by a *refutation*: an effect that removes it there.
//!
//! ```text
//!             floor                       now
//!  -------------|--------------------------|----> stamps
//!    absent means removed   merged as ever
//! ```
//! Stamps of foreign origins are exempt: another cluster's data is as old as it likes. A removal
//! carries the stamp of what it removes, so it is merged whenever there is something to remove.

use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Contribution},
    delta::{Delta, DeltaWriter, Part},
    state::KeyState,
};

/// What a part from elsewhere is to a store whose floor it lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// To be merged.
    New,
    /// Known, or superseded by something that is known.
    Known,
    /// Removed here, and the mark forgotten.
    Removed,
}

/// Whether the date of `part` puts it below a floor at `floor_ms`. Increments count from the first
/// one of their contribution.
pub(crate) fn is_below(part: &Part<'_>, floor_ms: u64) -> bool {
    let stamp = match part {
        Part::TextAdd(contribution) | Part::FieldAdd(_, contribution) => contribution.since,
        other => other.stamp(),
    };
    stamp.milliseconds() <= floor_ms && !stamp.origin().is_foreign()
}

/// Appends to `kept` what of `delta` is to be merged into `state`, and to `refutation` what removes
/// the rest where it comes from, as far as it was removed here.
pub(crate) fn sift(
    state: Option<&KeyState>,
    delta: Delta<'_>,
    floor_ms: u64,
    kept: &mut Vec<u8>,
    refutation: &mut Vec<u8>,
) {
    let nothing = KeyState::default();
    let state = state.unwrap_or(&nothing);
    let mut keep = DeltaWriter::new(kept, delta.key);
    let mut refute = DeltaWriter::new(refutation, delta.key);
    let mut horizon = Stamp::ZERO;
    for part in delta.parts().map_while(Result::ok) {
        let standing = if is_below(&part, floor_ms) { judge(state, &part) } else { Standing::New };
        match (standing, part) {
            (Standing::New, part) => keep.part(part),
            (Standing::Known, _) => {}
            (Standing::Removed, Part::Field(stamp, name, _)) => {
                refute.part(Part::FieldRemoved(stamp, name));
            }
            (Standing::Removed, Part::FieldAdd(name, contribution)) => {
                refute.part(Part::FieldRemoved(contribution.since, name));
            }
            (Standing::Removed, Part::Member(stamp, name)) => {
                refute.part(Part::MemberRemoved(stamp, name));
            }
            (Standing::Removed, Part::TextAdd(contribution)) => {
                horizon = horizon.max(contribution.since);
            }
            (Standing::Removed, other) => horizon = horizon.max(other.stamp()),
        }
    }
    // A horizon removes everything up to it, so it must not reach what is alive here.
    if !horizon.is_zero() && !state.is_reached_by(horizon) {
        refute.part(Part::Horizon(horizon));
    }
    keep.finish();
    refute.finish();
}

fn judge(state: &KeyState, part: &Part<'_>) -> Standing {
    let horizon = state.horizon();
    let known = |known| if known { Standing::Known } else { Standing::Removed };
    let removes = |something| if something { Standing::New } else { Standing::Known };
    match *part {
        Part::Horizon(stamp) => removes(state.is_reached_by(stamp)),
        Part::FieldRemoved(stamp, name) => {
            let field = state.hash().and_then(|hash| hash.field(name));
            removes(field.is_some_and(|cell| cell.is_reached_by(stamp)))
        }
        Part::MemberRemoved(stamp, name) => {
            let added = state.set().and_then(|set| set.stamp_of(name));
            removes(added.is_some_and(|added| added <= stamp))
        }
        Part::Text(_, _) if state.text().register().is_some() => Standing::New,
        Part::Text(stamp, _) => known(stamp <= horizon),
        Part::TextAdd(contribution) => {
            judge_contribution(Some(state.text()), contribution, horizon)
        }
        Part::Expiry(stamp, None) => {
            // A mark: there is something to end, or it has been forgotten here.
            let older = state.expiry_stamp().is_some_and(|ours| ours < stamp);
            removes(older && state.expires_at().is_some())
        }
        Part::Expiry(stamp, Some(_)) => {
            let newer = state.expiry_stamp().is_some_and(|ours| ours >= stamp);
            known(newer || state.text().stamp() > stamp || stamp <= horizon)
        }
        Part::Field(stamp, name, _) => match state.hash().and_then(|hash| hash.field(name)) {
            Some(cell) if cell.register().is_some() => Standing::New,
            Some(cell) => known(stamp <= cell.stamp().max(horizon)),
            None => known(stamp <= state.field_mark(name).max(horizon)),
        },
        Part::FieldAdd(name, contribution) => {
            let cell = state.hash().and_then(|hash| hash.field(name));
            let removed_to = horizon.max(state.field_mark(name));
            judge_contribution(cell, contribution, removed_to)
        }
        Part::Member(stamp, name) => match state.set().and_then(|set| set.stamp_of(name)) {
            Some(_) => Standing::New,
            None => known(stamp <= state.member_mark(name).max(horizon)),
        },
    }
}

fn judge_contribution(cell: Option<&Cell>, new: Contribution, removed_to: Stamp) -> Standing {
    let ours = cell.and_then(|cell| cell.contribution_of(new.origin()));
    let replaced_by = cell.map_or(Stamp::ZERO, Cell::stamp).max(removed_to);
    match ours {
        Some(ours) if ours.since == new.since => Standing::New,
        Some(ours) if ours.since > new.since => Standing::Known,
        _ if replaced_by >= new.since => Standing::Known,
        _ => Standing::Removed,
    }
}
