//! Who owns which slots, as it stands in `node.json`: runs of neighbours in one text, each with its
//! last slot.
//!
//! ```text
//! "owners": "8191:0,1,2 16383:1,2,0",    owners by their member numbers
//! "phases": "255:joint 16383:waiting",
//! ```

use std::fmt::Write as _;

use quorate_proto::{
    MemberNumber, Slot,
    ownership::{Movement, Ownership, Phase, Phases, Runs, SlotMap, may_own},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OwnershipRecord {
    owners: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    movement: Option<MovementRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MovementRecord {
    target: String,
    phases: String,
    leaving: Vec<u16>,
}

impl OwnershipRecord {
    pub(super) fn new(ownership: &Ownership) -> Self {
        let movement = ownership.movement.as_ref().map(|movement| MovementRecord {
            target: text_of(&movement.target, |owners| show_owners(owners)),
            phases: text_of(&movement.phases, |phase| name(*phase).into()),
            leaving: movement.leaving.iter().map(|number| number.0).collect(),
        });
        Self { owners: text_of(&ownership.owners, |owners| show_owners(owners)), movement }
    }

    /// `None` when it is not possible.
    pub(super) fn ownership(&self) -> Option<Ownership> {
        let movement = match &self.movement {
            Some(movement) => Some(Movement {
                target: owners_of(&movement.target)?,
                phases: phases_of(&movement.phases)?,
                leaving: movement.leaving.iter().copied().map(MemberNumber).collect(),
            }),
            None => None,
        };
        Some(Ownership { owners: owners_of(&self.owners)?, movement })
    }
}

fn show_owners(owners: &[MemberNumber]) -> String {
    let numbers: Vec<String> = owners.iter().map(|owner| owner.0.to_string()).collect();
    numbers.join(",")
}

fn text_of<T: PartialEq>(runs: &Runs<T>, show: impl Fn(&T) -> String) -> String {
    let mut text = String::new();
    for (last, item) in runs.runs() {
        let separator = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{separator}{}:{}", last.number(), show(item));
    }
    text
}

fn runs_of<T: PartialEq>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Runs<T>> {
    let run = |part: &str| {
        let (last, item) = part.split_once(':')?;
        Some((Slot::new(last.parse().ok()?)?, read(item)?))
    };
    Runs::from_runs(text.split(' ').map(run).collect::<Option<_>>()?)
}

fn owners_of(text: &str) -> Option<SlotMap> {
    runs_of(text, |owners| {
        let numbers = owners.split(',').map(|number| Some(MemberNumber(number.parse().ok()?)));
        numbers.collect::<Option<Vec<_>>>().filter(|owners| may_own(owners))
    })
}

fn phases_of(text: &str) -> Option<Phases> {
    runs_of(text, |word| Phase::ALL.into_iter().find(|phase| name(*phase) == word))
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Filling => "filling",
        Phase::Joint => "joint",
        Phase::Moved => "moved",
    }
}
