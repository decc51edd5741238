//! What a shard has to say on its links, for whoever moves the bytes.

use quorate_cluster::membership::LinkId;
use quorate_proto::frame::Bundles;

use super::{
    Shard,
    peers::{PeerLink, Peers, SHARD_SHIFT, incoming_number},
};

impl Shard {
    /// Takes the bytes to send on every outgoing link that stands.
    pub(crate) fn outgoing_output(&mut self) -> impl Iterator<Item = &mut PeerLink> {
        let Peers { outgoing, parting, .. } = &mut self.peers;
        let links = outgoing.values_mut().chain(parting.links_mut());
        links.filter(|link| !link.output.is_empty())
    }

    /// What is to be sent on an incoming link, and whether it closes after that.
    pub(crate) fn incoming_output(&mut self, link: LinkId) -> Option<(&mut Bundles, bool)> {
        let incoming = self.peers.incoming.get_mut(&incoming_number(link))?;
        Some((&mut incoming.output, incoming.closing))
    }

    /// Whether what is said now on an outgoing link waits behind a large message.
    pub(crate) fn is_blocked(&self, link: LinkId) -> bool {
        self.peers.outgoing.values().any(|found| found.link == link && found.output.is_blocked())
    }

    /// Incoming links with bytes to send.
    pub(crate) fn incoming_with_output(&self) -> Vec<LinkId> {
        let shard = u64::from(self.id) << SHARD_SHIFT;
        let waiting = self.peers.incoming.iter().filter(|(_, link)| !link.output.is_empty());
        waiting.map(|(number, _)| LinkId(shard | number)).collect()
    }
}
