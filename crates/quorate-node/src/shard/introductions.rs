//! How nodes introduce themselves on links for data.

use std::sync::Arc;

use quorate_cluster::{
    membership::{LinkId, Target, check_data_link, check_incarnation},
    topology::Topology,
};
use quorate_proto::{
    frame::{self, Frame},
    message::{Hello, Message},
};

use super::{
    Now, Shard,
    correlation::Machine,
    link_error::LinkError,
    peers::PeerLink,
    receiving::{Receiving, sending},
};

impl Shard {
    /// An outgoing link is open: introduces this node. Returns the bytes to send.
    pub(crate) fn link_opened(&mut self, link: LinkId) -> Vec<u8> {
        let mut output = Vec::new();
        let target = self.peers.dialer.target(link);
        let Some(peer) = target.and_then(|target| self.member_at(target)) else { return output };
        self.peers.openings.opened(link, peer);
        let topology = self.topology();
        let message = Message::Hello(Box::new(self.introduction(topology)));
        let correlation = Machine::Link.tag(0);
        frame::encode(&mut output, topology.epoch(), correlation, &message);
        output
    }

    /// The first answer on a link that this node has opened.
    pub(super) fn take_welcome(
        &mut self,
        now: Now,
        link: LinkId,
        frame: Frame,
    ) -> Result<(), LinkError> {
        let Some(peer) = self.peers.openings.peer(link) else { return Err(LinkError::Unasked) };
        match frame.message {
            Message::Welcome(hello) if hello.member.id == self.topology().member(peer).id => {
                check_incarnation(self.topology().member(peer), &hello.member)
                    .map_err(|refusal| LinkError::Refused((&refusal).into()))?;
                let incarnation = hello.member.incarnation;
                self.peers.openings.end(link);
                self.peers.dialer.handle_welcomed(link);
                let output = sending(&self.node, hello.member.id);
                let receiving = Receiving::new(&self.node);
                let link = PeerLink { link, incarnation, output, receiving };
                self.peers.outgoing.insert(peer, link);
                self.peers.liveness.handle_link_up(now.monotonic, peer);
                Ok(())
            }
            Message::Refused(refused) => Err(LinkError::Refused(refused)),
            _ => Err(LinkError::Unasked),
        }
    }

    /// How this node introduces itself on a link for data.
    fn introduction(&self, topology: &Topology) -> Hello {
        Hello {
            cluster: self.node.settings.cluster.clone(),
            member: topology.member(topology.me()).clone(),
            shard: self.id,
            view: topology.view(),
            lineage: Vec::new(),
        }
    }

    /// The first request on a link that another node has opened.
    pub(super) fn take_hello(&mut self, now: Now, number: u64, correlation: u64, hello: &Hello) {
        let topology = Arc::clone(self.topology());
        let verdict = check_data_link(&self.node.settings.cluster, &topology, hello);
        let introduction = self.introduction(&topology);
        let Some(incoming) = self.peers.incoming.get_mut(&number) else { return };
        let answer = match verdict {
            Ok(()) => {
                incoming.from = Some((hello.member.id, hello.member.incarnation));
                let from = Target::Member(hello.member.id);
                self.peers.dialer.handle_heard(now.monotonic, &from);
                Message::Welcome(Box::new(introduction))
            }
            Err(refusal) => {
                incoming.closing = true;
                Message::Refused((&refusal).into())
            }
        };
        // Whoever opens a link expects a frame with this alone.
        frame::encode(incoming.output.whole(), topology.epoch(), correlation, &answer);
    }
}
