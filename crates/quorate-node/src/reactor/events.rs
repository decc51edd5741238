//! What the membership tells operators, as lines of the log.

use quorate_cluster::membership::Event;

use super::Control;

impl Control {
    /// Tells the operator of an event.
    pub(super) fn report(&mut self, event: &Event) {
        match event {
            Event::Joined { member } => {
                tracing::info!(name = %member.name, address = %member.peer_address, "a node joined");
            }
            Event::Changed { member } => {
                tracing::info!(name = %member.name, address = %member.peer_address, "a node changed");
            }
            Event::Refused { name, address, reason } => {
                tracing::warn!(%name, %address, %reason, "refused a node");
            }
            Event::RefusedBy { target, text, transient: true } => {
                // Who waits asks every other moment.
                if let Some(times) = self.not_admitted.note(self.now.as_micros() / 1_000) {
                    tracing::info!(?target, %text, times, "not admitted yet");
                }
            }
            Event::RefusedBy { target, text, transient: false } => {
                tracing::error!(?target, %text, "refused by the cluster");
            }
            Event::Promising { members } => {
                tracing::info!(members, "sealing the member list for the first write");
            }
            Event::Rejoining { seat } => {
                tracing::warn!(id = %seat, "this node was a member and has lost everything");
            }
            Event::SeatGranted { member, incarnation } => tracing::warn!(
                name = %member.name,
                address = %member.peer_address,
                %incarnation,
                "a node that has lost everything takes its seat again"
            ),
            Event::Adopted { epoch, members } => {
                tracing::info!(epoch, members, "another member list was decided on");
            }
            Event::Unfit { epoch, error } => tracing::error!(
                epoch,
                %error,
                "what was decided cannot follow the member list of this node"
            ),
            Event::Left { epoch } => tracing::error!(epoch, "this node has left the cluster"),
            Event::Fenced { text } => tracing::error!(%text, "this node must not go on"),
            Event::Conflict(reason) => tracing::error!(%reason, "conflicting member lists"),
            Event::FoundedAlone => tracing::info!(
                "this node has founded a cluster of its own, which no other can join: one that was meant to \
             belong to others is to be started with an empty data directory and their addresses as seeds"
            ),
            Event::FewSeeds { members, seeds } => tracing::warn!(
                members,
                seeds,
                "the seeds do not name all other members: a node that has lost its data would not wait for \
             those that its seeds do not name"
            ),
            other => tracing::info!(?other, "membership"),
        }
    }
}
