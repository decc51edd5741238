//! Floors: up to when a replica is known to hold everything.
//!
//! Once a store has everything of a group of slots that any replica held and that is dated up to a
//! moment, it raises its *floor* to that moment. What arrives later and is dated earlier is either
//! known or was removed, so below the floor *absent means removed*, and the tombstones can go (see
//! [`crate::tombstone`]). A peer that still holds such a thing (its disk was set back, or it lost
//! the removal) is told so by a *refutation*: an effect that removes it there.
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
    cell::{Contribution, Element},
    delta::{Delta, DeltaWriter},
    object::Kind,
    part::{Body, Owner, Part},
    state::State,
};

/// What a part from elsewhere is to a store whose floor it lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// To be merged.
    New,
    /// Known, or superseded by something that is known.
    Known,
    /// Removed here, and the tombstone forgotten.
    Removed,
}

/// Whether the date of `part` puts it below a floor at `floor_ms`; zero is no floor.
pub(crate) fn is_below(part: &Part<'_>, floor_ms: u64) -> bool {
    let since = part.since();
    floor_ms > 0 && since.milliseconds() <= floor_ms && !since.origin().is_foreign()
}

/// Appends to `kept` what of `delta` is to be merged into `state`, and to `refutation` what removes
/// the rest where it comes from, as far as it was removed here.
pub(crate) fn filter(
    state: Option<State<'_>>,
    delta: Delta<'_>,
    floor_ms: u64,
    kept: &mut Vec<u8>,
    refutation: &mut Vec<u8>,
) {
    let state = state.unwrap_or(State::NONE);
    let mut keep = DeltaWriter::new(kept, delta.key);
    let mut refute = DeltaWriter::new(refutation, delta.key);
    let mut horizon = Stamp::ZERO;
    for part in delta.parts().map_while(Result::ok) {
        let standing = if is_below(&part, floor_ms) { judge(state, &part) } else { Standing::New };
        match (standing, part.owner(), part.name()) {
            (Standing::New, ..) => keep.part(part),
            (Standing::Known, ..) => {}
            (Standing::Removed, Owner::Object(kind), Some(name)) => {
                refute.part(Part::element(kind, name, Body::Removed(part.since())));
            }
            (Standing::Removed, ..) => horizon = horizon.max(part.since()),
        }
    }
    // A horizon removes everything up to it, so it must not reach what is alive here.
    if !horizon.is_zero() && !state.is_reached_by(horizon) {
        refute.part(Part::horizon(horizon));
    }
    keep.finish();
    refute.finish();
}

fn known(known: bool) -> Standing {
    if known { Standing::Known } else { Standing::Removed }
}

fn removes(something: bool) -> Standing {
    if something { Standing::New } else { Standing::Known }
}

fn judge(state: State<'_>, part: &Part<'_>) -> Standing {
    let horizon = state.horizon();
    match (part.owner(), part.body()) {
        (Owner::Key, Body::Until(stamp, None)) => {
            // A tombstone: there is something to end, or it has been forgotten here.
            let older = state.expiry_stamp().is_some_and(|ours| ours < stamp);
            removes(older && (state.expires_at().is_some() || state.has_ended()))
        }
        (Owner::Key, Body::Until(stamp, Some(_))) => {
            let newer = state.expiry_stamp().is_some_and(|ours| ours >= stamp);
            known(newer || state.text().stamp() > stamp || stamp <= horizon)
        }
        (Owner::Key, _) => removes(state.is_reached_by(part.stamp())),
        (Owner::Object(kind), body) => judge_element(state, kind, part.name_bytes(), &body),
    }
}

/// Judges a part of the string, or of an element of a collection.
fn judge_element(state: State<'_>, kind: Kind, name: &[u8], body: &Body<'_>) -> Standing {
    let (element, tombstone) = state.outline(kind, name);
    let removed_to = state.horizon().max(tombstone);
    match *body {
        Body::Removed(stamp) => removes(element.is_some_and(|found| found.is_reached_by(stamp))),
        Body::Added(contribution) => judge_contribution(element, contribution, removed_to),
        _ => match element {
            Some(found) if found.register().is_some() => Standing::New,
            Some(found) => known(body.stamp() <= found.stamp().max(removed_to)),
            None => known(body.stamp() <= removed_to),
        },
    }
}

fn judge_contribution(
    element: Option<Element<'_, ()>>,
    new: Contribution,
    removed_to: Stamp,
) -> Standing {
    let ours = element.and_then(|element| element.contribution_of(new.origin()));
    let replaced_by = element.map_or(Stamp::ZERO, |element| element.stamp()).max(removed_to);
    match ours {
        Some(ours) if ours.since == new.since => Standing::New,
        Some(ours) if ours.since > new.since => Standing::Known,
        _ if replaced_by >= new.since => Standing::Known,
        _ => Standing::Removed,
    }
}
