//! Correlation ids of requests to peers: which machine of the shard asks, and its own number.
//!
//! ```text
//!  63      60 59                                  0
//! ┌──────────┬─────────────────────────────────────┐
//! │ machine  │ the machine's own correlation       │
//! └──────────┴─────────────────────────────────────┘
//! ```

/// The machines that send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Coordinator = 0,
    Handoff = 1,
    AntiEntropy = 2,
    Link = 3,
    Clocks = 4,
    Cursors = 5,
}

const MACHINES: [Machine; 6] = [
    Machine::Coordinator,
    Machine::Handoff,
    Machine::AntiEntropy,
    Machine::Link,
    Machine::Clocks,
    Machine::Cursors,
];
const SHIFT: u32 = 60;
const OWN: u64 = (1 << SHIFT) - 1;

impl Machine {
    /// The id on the wire for this machine's own `correlation`, of which 60 bits are kept.
    pub(super) const fn tag(self, correlation: u64) -> u64 {
        (self as u64) << SHIFT | correlation & OWN
    }

    /// The machine that a response is for, and that machine's own correlation. `None` for ids that
    /// this node never sends.
    pub(super) fn of(correlation: u64) -> Option<(Self, u64)> {
        let machine = MACHINES.get((correlation >> SHIFT) as usize)?;
        Some((*machine, correlation & OWN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_leads_back_to_its_machine_and_nothing_else_does() {
        for machine in MACHINES {
            for own in [0, 7, OWN] {
                assert_eq!(Machine::of(machine.tag(own)), Some((machine, own)));
            }
        }
        for unknown in MACHINES.len() as u64..16 {
            assert_eq!(Machine::of(unknown << SHIFT), None);
        }
    }
}
