//! What the membership asks of the shell, and tells the operator.

use alloc::{boxed::Box, string::String, vec::Vec};

use quorate_proto::{
    Incarnation, MemberNumber, NodeId,
    message::{Member, Message, View},
};

use super::{Carried, LinkId, OrderError, Persisted, Refusal, Target, UnfitSuccessor};

/// What the shell is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open an outgoing link. Report [`handle_connected`](super::Membership::handle_connected) or
    /// [`handle_closed`](super::Membership::handle_closed).
    Dial {
        /// The name of the link from now on.
        link: LinkId,
        /// `host:port`.
        address: String,
    },
    /// Close the outgoing link. Nothing is to be reported for it any more.
    Hangup {
        /// The link.
        link: LinkId,
    },
    /// Send a request on an outgoing link.
    Send {
        /// The link.
        link: LinkId,
        /// The request.
        message: Message,
    },
    /// Answer a request on the incoming link it came on.
    Respond {
        /// The link.
        link: LinkId,
        /// The request's correlation.
        correlation: u64,
        /// The answer.
        message: Message,
    },
    /// Close the incoming link after what was sent on it. Nothing is to be reported for it.
    CloseIncoming {
        /// The link.
        link: LinkId,
    },
    /// Make this durable before carrying out any later output. A node that cannot must stop.
    Persist(Persisted),
    /// Make this durable before carrying out any later output if that is possible now, and try
    /// again later if it is not: it is about what a peer said of itself.
    Register(Persisted),
    /// This node has taken the seat of the member that it was. Make who it is now, that it lacks
    /// what it had acknowledged, and the list durable before carrying out any later output. A node
    /// that cannot must stop.
    Seated {
        /// This node from now on.
        member: Box<Member>,
        /// The list.
        persisted: Persisted,
    },
    /// The member list, an address in it, or its finality changed.
    Topology(View),
    /// The member list is final: writes may go ahead.
    Sealed,
    /// A member is at work, and alive although it may answer late.
    AtWork {
        /// The member.
        member: NodeId,
    },
    /// A member asks how far this node has come with slots that are on their way: answer it with
    /// [`Message::Progress`] on this incoming link.
    AskedProgress {
        /// The link.
        link: LinkId,
        /// The request's correlation.
        correlation: u64,
    },
    /// A member tells how far it has come.
    Progress {
        /// The member.
        member: NodeId,
        /// The list that all of its shards go by.
        epoch: u64,
        /// For each peer the groups of slots in which the two are level, one bit for each.
        level: Vec<(MemberNumber, u64)>,
    },
    /// A linked node has sent something that is for [`crate::gossip`].
    Gossip {
        /// The node.
        from: NodeId,
        /// What it has sent.
        message: Message,
    },
    /// What has come of an operator's order.
    Carried {
        /// By which the shell knows the order.
        ticket: u64,
        /// What it comes to, or why it was not carried out.
        result: Result<Carried, OrderError>,
    },
    /// Something to tell the operator.
    Event(Event),
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node joined the list.
    Joined {
        /// The node.
        member: Member,
    },
    /// A member is reached at another address or goes by another name.
    Changed {
        /// As it is now.
        member: Member,
    },
    /// This node refused a peer.
    Refused {
        /// The peer's name.
        name: String,
        /// The peer's address.
        address: String,
        /// Why.
        reason: Refusal,
    },
    /// A peer refused this node.
    RefusedBy {
        /// The target that was dialled.
        target: Target,
        /// The reason it gave.
        text: String,
        /// Whether it passes by itself. When it does not and this node is not sealed, then it
        /// cannot join: the operator has to act.
        transient: bool,
    },
    /// This node promised the list and now asks the others.
    Promising {
        /// Number of members.
        members: usize,
    },
    /// Two nodes have conflicting lists; what the peer says was ignored.
    Conflict(Refusal),
    /// This node was a member of a sealed list, has lost everything, and claims its seat.
    Rejoining {
        /// The identity that it had.
        seat: NodeId,
    },
    /// This node lets a member that has lost everything take its seat again.
    SeatGranted {
        /// The member as it was known.
        member: Member,
        /// What it goes by from now on.
        incarnation: Incarnation,
    },
    /// The member list has become final, and this node is alone in it: nobody joins it any more.
    FoundedAlone,
    /// The member list is final, and the seeds of this node do not name all others: should some of
    /// them lose everything while another one is down, they would not know of that one.
    FewSeeds {
        /// Members of the list.
        members: usize,
        /// Seeds of this node, without itself.
        seeds: usize,
    },
    /// Another list was decided on, and is this node's from now on.
    Adopted {
        /// Version of the list.
        epoch: u64,
        /// Number of members.
        members: usize,
    },
    /// What was decided on cannot follow this node's list, so this node cannot go by it.
    Unfit {
        /// Version of the list.
        epoch: u64,
        /// Why.
        error: UnfitSuccessor,
    },
    /// This node is no member of the list any more: it must stop.
    Left {
        /// Version of the first list that is known to be without it.
        epoch: u64,
    },
    /// Another process is, or was, this member: this one must stop, and take part in nothing any
    /// more.
    Fenced {
        /// What it was told.
        text: String,
    },
}
