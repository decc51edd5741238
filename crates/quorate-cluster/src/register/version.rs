//! The parts of a version: how often the voters were overruled, by whom, and a count of changes.
//!
//! ```text
//! bit  63 .. 48      47 .. 32                    31 .. 0
//!      generation    who overruled the voters    changes
//! ```
//!
//! Compared as a number, a higher generation is newer than whatever a lower one has decided. Two
//! members that overrule the same voters at once make different versions, of which one wins.

use quorate_proto::{Origin, mutant::Mutant};

/// The version after `version`.
///
/// # Panics
/// When the changes are used up: 4,294,967,295 of them.
pub fn next(version: u64) -> u64 {
    assert!(version as u32 != u32::MAX, "invariant: so many changes take centuries");
    version + 1
}

/// The version with which a process of the member with this origin overrules the voters that have
/// decided `version`.
///
/// # Panics
/// When the generations are used up: 65,535 of them.
pub fn overruling(version: u64, origin: Origin) -> u64 {
    if Mutant::OverruledAsNext.is_planted() {
        return next(version);
    }
    let generation = generation(version).checked_add(1).expect("invariant: a person does it");
    let overruler = u64::from(generation) << 48 | u64::from(origin.number()) << 32;
    next(overruler | u64::from(changes(version)))
}

/// How often the voters were overruled.
pub const fn generation(version: u64) -> u16 {
    (version >> 48) as u16
}

/// Under whom it was decided: the generation, and who has overruled the voters then.
pub const fn reign(version: u64) -> u32 {
    (version >> 32) as u32
}

/// How many changes there were.
pub const fn changes(version: u64) -> u32 {
    version as u32
}

#[cfg(test)]
mod tests {
    use quorate_proto::Start;

    use super::*;

    #[test]
    fn whoever_overrules_is_newer_than_what_the_voters_go_on_to_decide() {
        let [one, two] = [1, 2].map(|number| Origin::new(number, Start::from_random(9)));
        let by_one = overruling(7, one);
        assert!(by_one > next(next(next(7))));
        assert_ne!(by_one, overruling(7, two));
        assert_eq!((generation(by_one), changes(by_one)), (1, 8));
        assert!(overruling(by_one, one) > overruling(7, two));
        assert_eq!(changes(next(by_one)), 9);
    }
}
