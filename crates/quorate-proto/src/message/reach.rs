//! What part of a node a message is for.

use super::Message;
use crate::Slot;

/// What part of the receiving node a message concerns, whatever the number of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The owner of a slot.
    Slot(Slot),
    /// The owner of a group of slots.
    Group(u16),
    /// The node as a whole: whichever shard has the link.
    Node,
}

impl Reach {
    /// The shard that answers, of `shards`; the first one for the node as a whole.
    pub const fn shard(self, shards: u16) -> u16 {
        match self {
            Self::Slot(slot) => slot.group() % shards,
            Self::Group(group) => group % shards,
            Self::Node => 0,
        }
    }
}

impl Message {
    /// What part of the receiving node this message concerns. Responses go back to whoever asked,
    /// by their correlation, and concern the node.
    pub const fn reach(&self) -> Reach {
        match self {
            Self::Forward(forward) => Reach::Slot(forward.slot),
            Self::Replicate { slot, .. }
            | Self::Relay { slot, .. }
            | Self::AskOutcome { slot, .. }
            | Self::AskDigest { slot, .. }
            | Self::AskStates { slot, .. }
            | Self::CompareSlot { slot, .. }
            | Self::AskFingerprintStates { slot, .. }
            | Self::CompareElements { slot, .. }
            | Self::AskElements { slot, .. }
            | Self::AskKeyDigests { slot }
            | Self::AskKeyStates { slot, .. } => Reach::Slot(*slot),
            Self::CompareGroup { group, .. }
            | Self::AskClocks { group, .. }
            | Self::AskDots { group, .. } => Reach::Group(*group),
            Self::Hello(_)
            | Self::Welcome(_)
            | Self::Refused(_)
            | Self::Members(_)
            | Self::Seal(_)
            | Self::SealVote { .. }
            | Self::Claim(_)
            | Self::SeatVote { .. }
            | Self::Ballot(_)
            | Self::BallotAnswer(_)
            | Self::Join(_)
            | Self::Heartbeat(_)
            | Self::HeartbeatReply(_)
            | Self::AtWork
            | Self::AskProgress
            | Self::Progress { .. }
            | Self::Gossip(_)
            | Self::Probe { .. }
            | Self::ProbeAnswer { .. }
            | Self::Catalog(_)
            | Self::CatalogHeld { .. }
            | Self::Reply(_)
            | Self::Ack
            | Self::Relayed { .. }
            | Self::Rejected { .. }
            | Self::KeysDigest { .. }
            | Self::States(_)
            | Self::GroupSame(_)
            | Self::GroupDiffers { .. }
            | Self::SlotSame
            | Self::Sketch(_)
            | Self::Fingerprints { .. }
            | Self::FingerprintStates { .. }
            | Self::KeyDigests(_)
            | Self::Clocks { .. }
            | Self::Dots { .. }
            | Self::Elements { .. } => Reach::Node,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_and_its_group_are_answered_by_the_same_shard() {
        for slot in Slot::all().step_by(97) {
            for shards in [1, 2, 3, 8] {
                let by_slot = Message::AskKeyDigests { slot }.reach().shard(shards);
                assert_eq!(by_slot, Reach::Group(slot.group()).shard(shards));
                assert!(by_slot < shards);
            }
        }
        assert_eq!(Message::Ack.reach().shard(8), 0);
    }
}
