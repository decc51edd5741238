//! Links to other nodes that are open, and that nothing goes on yet: the peer has not welcomed this
//! node, or has refused it.

use quorate_cluster::membership::LinkId;
use quorate_proto::MemberNumber;

/// Each with the peer that was dialled.
#[derive(Debug, Default)]
pub(super) struct Openings(Vec<(LinkId, MemberNumber)>);

impl Openings {
    /// A link is open: the peer listens, whatever it answers.
    pub(super) fn opened(&mut self, link: LinkId, peer: MemberNumber) {
        self.0.push((link, peer));
    }

    /// The peer that was dialled on a link that nothing goes on yet.
    pub(super) fn peer(&self, link: LinkId) -> Option<MemberNumber> {
        self.0.iter().find(|(opening, _)| *opening == link).map(|(_, peer)| *peer)
    }

    /// A link is welcomed, or closed. Returns whether it was among these: one that never was could
    /// not be opened, unless it was welcomed.
    pub(super) fn end(&mut self, link: LinkId) -> bool {
        let before = self.0.len();
        self.0.retain(|(opening, _)| *opening != link);
        self.0.len() < before
    }

    /// A peer is a member no more. Returns the links to it.
    pub(super) fn end_all(&mut self, peer: MemberNumber) -> impl Iterator<Item = LinkId> {
        self.0.extract_if(.., move |(_, to)| *to == peer).map(|(link, _)| link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: MemberNumber = MemberNumber(7);

    #[test]
    fn a_peer_that_refuses_a_link_listens() {
        let mut openings = Openings::default();
        assert!(!openings.end(LinkId(1)), "it could not be opened");
        openings.opened(LinkId(2), PEER);
        // What it answers is looked at, and is a refusal: the link is closed as it is.
        assert_eq!(openings.peer(LinkId(2)), Some(PEER));
        assert!(openings.end(LinkId(2)));
        assert!(!openings.end(LinkId(2)));
    }

    #[test]
    fn links_to_who_has_left_are_closed() {
        let mut openings = Openings::default();
        openings.opened(LinkId(1), PEER);
        openings.opened(LinkId(2), MemberNumber(8));
        assert_eq!(openings.end_all(PEER).collect::<Vec<_>>(), [LinkId(1)]);
        assert_eq!(openings.peer(LinkId(2)), Some(MemberNumber(8)));
    }
}
