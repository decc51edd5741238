//! What this node tells the rounds of others.

use alloc::format;

use quorate_proto::{
    MemberNumber,
    message::{Cause, Message, Scope, Settlement},
};

use super::{Digests, fingerprint, group_digest, key_digests, sketch};
use crate::chunk::Chunk;

/// Answers a peer's question about digests; `None` when the message is no such question. Of slots
/// that are not shared with the peer nothing is told.
pub fn answer(digests: &impl Digests, from: MemberNumber, message: &Message) -> Option<Message> {
    let (asked, scope) = match message {
        Message::CompareGroup { group, digest, scope } => {
            let ours = digests.slot_digests(*group, from, *scope);
            let settlement =
                Settlement { clock_ms: digests.clock_ms(), floor_ms: digests.floor_ms(*group) };
            return Some(if group_digest(&ours) == *digest {
                Message::GroupSame(settlement)
            } else {
                Message::GroupDiffers { settlement, slots: ours }
            });
        }
        Message::CompareSlot { slot, scope, .. } => (*slot, *scope),
        Message::AskFingerprintStates { slot, .. }
        | Message::AskKeyDigests { slot }
        | Message::AskKeyStates { slot, .. } => (*slot, Scope::Alive),
        _ => return None,
    };
    let Some(ours) = digests.slot_digest(asked, from, scope) else {
        let text =
            format!("slot {} is not held by both nodes, or cannot be compared now", asked.number());
        return Some(Message::Rejected { cause: Cause::NotReplica, text });
    };
    Some(match message {
        Message::CompareSlot { digest, .. } if ours == *digest => Message::SlotSame,
        Message::CompareSlot { slot, symbols, .. } if *symbols > 0 => {
            sketch::answer(digests, *slot, usize::from(*symbols))
        }
        Message::CompareSlot { slot, from, .. } => {
            let Chunk { until, fingerprints } = fingerprint::chunk(digests, *slot, *from);
            Message::Fingerprints { until, fingerprints }
        }
        Message::AskFingerprintStates { slot, fingerprints } => {
            let (covered, states) = fingerprint::states(digests, *slot, fingerprints);
            Message::FingerprintStates { covered: covered as u32, states }
        }
        Message::AskKeyDigests { slot } => Message::KeyDigests(key_digests(digests, *slot)),
        Message::AskKeyStates { slot, keys } => {
            Message::States(digests.export_keys(*slot, keys, usize::MAX).1)
        }
        _ => return None,
    })
}
