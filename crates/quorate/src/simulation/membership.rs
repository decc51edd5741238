//! What the control thread does in a server: the membership, and who the node is.

use std::sync::Arc;

use quorate_cluster::membership::{self, LinkId, Standing};
use quorate_proto::{frame, message::Message};

use super::{
    Output, Wire,
    process::{Process, Role},
    topologies::remembered_topology,
};
use crate::{
    identity,
    node::Footing,
    shard::{Mail, Now},
};

impl Process {
    pub(super) fn service_membership(&mut self, now: Now) {
        use membership::Output as Wanted;
        while let Some(output) = self.unwritten.take().or_else(|| self.membership.poll_output()) {
            match output {
                Wanted::Dial { link, address } => {
                    self.open(Role::ControlOutgoing { link }, address);
                }
                Wanted::Hangup { link } => {
                    let wire = self.find(|role| {
                        matches!(role, Role::ControlOutgoing { link: found } if *found == link)
                    });
                    self.hang_up(wire);
                }
                Wanted::Send { link, message } => {
                    let wire = self.find(|role| {
                        matches!(role, Role::ControlOutgoing { link: found } if *found == link)
                    });
                    self.send_control(wire, 0, &message);
                }
                Wanted::Respond { link, correlation, message } => {
                    let wire = self.control_incoming(link);
                    self.send_control(wire, correlation, &message);
                }
                Wanted::CloseIncoming { link } => {
                    let wire = self.control_incoming(link);
                    self.hang_up(wire);
                }
                Wanted::Persist(persisted) => match self.identity.persist(persisted.clone()) {
                    Err(error) if identity::passes(&error) => {
                        self.unwritten = Some(Wanted::Persist(persisted));
                        return;
                    }
                    Err(error) => self.death = Some(error.to_string()),
                    Ok(()) => {}
                },
                Wanted::Register(persisted) => self.identity.register(persisted),
                Wanted::Seated { member, persisted } => {
                    match self.identity.take_seat(&member, persisted.clone()) {
                        Err(error) if identity::passes(&error) => {
                            self.unwritten = Some(Wanted::Seated { member, persisted });
                            return;
                        }
                        Err(error) => self.death = Some(error.to_string()),
                        Ok(()) => {}
                    }
                    tracing::warn!("this node has its seat in the cluster again");
                }
                Wanted::Topology(view) if view == self.published => {}
                Wanted::Topology(view) => match remembered_topology(&view, self.membership.me()) {
                    Ok(topology) => {
                        self.published = view;
                        for shard in &mut self.shards {
                            let topology = Arc::clone(&topology);
                            shard.handle_mail(now, Mail::Topology { topology });
                        }
                    }
                    Err(error) => self.death = Some(error.to_string()),
                },
                Wanted::Event(membership::Event::RefusedBy { text, transient: false, .. })
                    if self.membership.standing() != Standing::Sealed =>
                {
                    self.death = Some(format!("refused by the cluster: {text}"));
                }
                Wanted::Event(membership::Event::Fenced { text }) => self.death = Some(text),
                Wanted::Event(event) => tracing::info!(?event, "membership"),
                Wanted::Sealed => tracing::info!("the member list is sealed"),
            }
        }
    }

    /// Tells the shards whether this node knows what data there is.
    pub(super) fn state_footing(&mut self, now: Now) {
        let footing = Footing {
            founded: self.membership.is_founded(now.monotonic),
            rejoining: self.membership.is_rejoining(),
            awaited: self.membership.awaited(),
        };
        if self.node.set_footing(footing) {
            self.shards.iter_mut().for_each(|shard| shard.handle_mail(now, Mail::Founded));
        }
    }

    fn control_incoming(&self, wanted: LinkId) -> Option<Wire> {
        self.find(|role| matches!(role, Role::ControlIncoming { link, .. } if *link == wanted))
    }

    fn send_control(&mut self, wire: Option<Wire>, correlation: u64, message: &Message) {
        let Some(wire) = wire else { return };
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, self.membership.view().epoch, correlation, message);
        self.outputs.push(Output::Send(wire, bytes));
    }
}
