//! How slots go to other members: plans, and their epochs one after the other.
//!
//! A change of members is planned once ([`plan`]): who holds what in the end. From then on the
//! member list says how far each slot has come, and everything follows from it and from what the
//! members report ([`advance`]); whoever goes on with a movement need remember nothing. Each epoch
//! moves some groups of slots by one [phase](quorate_proto::ownership::Phase):
//!
//! ```text
//!  Waiting --> Filling ------------------> Joint ------------------> Moved --> the next list
//!              every new owner has what every old one had, proved in this epoch
//! ```
//! Before a slot is read from its new owners alone, old and new ones are asked together, and in that
//! epoch each new one is made level with each old one. So what any reading has shown, and whatever
//! was acknowledged, is with the new ones by then: nobody who goes by an older epoch can add to it,
//! because every owner has proved that it goes by this one.
//!
//! Plans are made when operators ask for them (`membership::steering`).

mod advance;
pub mod plan;
#[cfg(test)]
mod tests;

pub use advance::{Report, advance};
pub use plan::{Plan, PlanError, Summary};

use quorate_proto::{MemberNumber, message::View};

/// The members that are to hold nothing in the end, and are none any more then.
pub fn leaving(view: &View) -> &[MemberNumber] {
    let ownership = view.ownership.as_deref();
    ownership.and_then(|it| it.movement.as_ref()).map_or(&[], |movement| &movement.leaving)
}
