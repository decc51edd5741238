//! What makes a member list a topology.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use quorate_proto::{MemberNumber, NodeId, message::View, numbers::NumbersUsedUp};

use super::owners::check_owners;
use crate::{
    limits::{DATACENTRES_MAX, MEMBERS_MAX, REPLICAS_MAX},
    token_ring::{self, TokensError},
};

/// Whether `view` is within the bounds of a topology and names no member twice.
pub fn check(view: &View) -> Result<(), TopologyError> {
    if view.members.len() > MEMBERS_MAX {
        return Err(TopologyError::TooManyMembers(view.members.len()));
    }
    if view.replication_factor.numbers().any(|factor| factor == 0) {
        return Err(TopologyError::NoReplicas);
    }
    let mut ids: Vec<NodeId> = view.members.iter().map(|member| member.id).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(TopologyError::Twice(pair[0]));
    }
    let numbered = view.numbers.iter().map(|(id, _)| id);
    let are_theirs = if view.sealed { numbered.eq(ids) } else { view.numbers.is_empty() };
    if !are_theirs {
        return Err(TopologyError::Numbers(view.members.len()));
    }
    token_ring::check(view)?;
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    let holders = view.members.iter().filter(|member| member.duties.holds_data());
    if view.sealed && holders.clone().next().is_none() {
        return Err(TopologyError::NoHolders);
    }
    for member in holders {
        *sizes.entry(&member.datacentre).or_default() += 1;
    }
    let mut replicas = 0;
    for (datacentre, size) in sizes {
        let factor = view.replication_factor.of(datacentre);
        let factor = factor.ok_or_else(|| TopologyError::NoFactor(datacentre.into()))?;
        replicas += size.min(usize::from(factor));
    }
    if replicas > REPLICAS_MAX {
        return Err(TopologyError::TooManyReplicas(replicas));
    }
    // Those of witnesses count here.
    let names: BTreeSet<&str> = view.members.iter().map(|it| it.datacentre.as_str()).collect();
    if names.len() > DATACENTRES_MAX {
        return Err(TopologyError::TooManyDatacentres(names.len()));
    }
    view.ownership.as_ref().map_or(Ok(()), |ownership| check_owners(view, ownership))
}

/// Why a view is not a topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The node asking is not in the list.
    #[error("node {0} is not in the member list")]
    NotMember(NodeId),
    /// Two members have the same identity.
    #[error("node {0} is in the member list twice")]
    Twice(NodeId),
    /// More members than a cluster may have.
    #[error("{0} members; at most {MEMBERS_MAX} are possible")]
    TooManyMembers(usize),
    /// More replicas than a cluster may have.
    #[error("{0} replicas of every slot; at most {REPLICAS_MAX} over all datacentres are possible")]
    TooManyReplicas(usize),
    /// More datacentres than a cluster may have.
    #[error("{0} datacentres; at most {DATACENTRES_MAX} are possible")]
    TooManyDatacentres(usize),
    /// No replicas at all.
    #[error("the replication factor is 0; at least 1 is needed")]
    NoReplicas,
    /// Nobody holds data.
    #[error("no member holds data: all of them are witnesses (weight 0)")]
    NoHolders,
    /// A member is in a datacentre of which it was not said how many replicas it has.
    #[error(
        "the replication factor says nothing of datacentre {0}; name it too: quorate set-rf, or the \
         setting rf of all nodes"
    )]
    NoFactor(String),
    /// The numbers of a final list are not those of its members.
    #[error("the member numbers are not those of the {0} members")]
    Numbers(usize),
    /// Somebody owns slots who is no member.
    #[error("member number {} owns slots, and is no member's", .0.0)]
    StrangeOwner(MemberNumber),
    /// Somebody is to leave who is no member, or is to hold slots in the end.
    #[error("member number {} cannot leave: it is none, or slots go to it", .0.0)]
    CannotLeave(MemberNumber),
    /// An ownership of a list that is not final.
    #[error("owners of slots are named before the member list is final")]
    EarlyOwners,
    /// The tokens of the members are no ring.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// There is no number for another member.
    #[error(transparent)]
    NumbersUsedUp(#[from] NumbersUsedUp),
}
