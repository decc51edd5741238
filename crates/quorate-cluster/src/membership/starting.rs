//! What a node's settings must be for it to start, also after what it has persisted.

use alloc::string::{String, ToString};

use quorate_proto::{NodeId, Partitioner, ReplicationFactor};

use super::{Config, Persisted};
use crate::{
    limits::NAME_LENGTH_MAX,
    token_ring::{self, TokensError},
};

/// A setting or the persisted state forbids this node to start. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data belongs to another cluster.
    #[error("the data directory belongs to the cluster {held:?}, but cluster is set to {set:?}")]
    ClusterName {
        /// The cluster of the data.
        held: String,
        /// The setting.
        set: String,
    },
    /// The data belongs to another node.
    #[error("the data directory belongs to a cluster that node {0} is not a member of")]
    NotMember(NodeId),
    /// The place of a node cannot change any more.
    #[error(
        "{key} is set to {set:?}, but this node belongs to {held:?}; \
         that cannot change once the cluster holds data"
    )]
    Relocated {
        /// The setting's name.
        key: &'static str,
        /// The setting.
        set: String,
        /// What was sealed.
        held: String,
    },
    /// The number of replicas cannot change any more.
    #[error(
        "the replication factor is set to {set}, but the cluster was formed with {held}; \
         that cannot change once the cluster holds data"
    )]
    ReplicationFactor {
        /// The setting.
        set: ReplicationFactor,
        /// What was sealed.
        held: ReplicationFactor,
    },
    /// Where keys lie cannot change any more.
    #[error(
        "partitioner, hash, hash_tag and ring_tokens say {set}, but the cluster was made with {held}; that cannot \
         change, because every key would have to move to another slot: make a new cluster with \
         these settings, and bring the data there (quorate backup, quorate restore)"
    )]
    Partitioner {
        /// The setting.
        set: Partitioner,
        /// What the cluster was made with.
        held: Partitioner,
    },
    /// The tokens of a node cannot change any more.
    #[error(
        "tokens say {set}, but this node joined with {held}; that cannot change while it is a member: let it leave, \
         and join again with an empty data directory"
    )]
    Tokens {
        /// The setting.
        set: String,
        /// What the node joined with.
        held: String,
    },
    /// The tokens are not possible.
    #[error("tokens: {0}")]
    ImpossibleTokens(#[from] TokensError),
    /// A setting is not possible.
    #[error("{key} is {value:?}; allowed: {allowed}")]
    Setting {
        /// The setting's name.
        key: &'static str,
        /// The setting.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

/// Checks this node's own settings, also against what it has persisted.
pub(super) fn check_start(
    config: &Config,
    persisted: Option<&Persisted>,
) -> Result<(), StartError> {
    let member = &config.member;
    let texts = [
        ("cluster", &config.cluster),
        ("name", &member.name),
        ("dc", &member.datacentre),
        ("rack", &member.rack),
        ("peer-listen", &member.peer_address),
        ("listen", &member.client_address),
        ("cluster-listen", &member.cluster_address),
    ];
    for (key, value) in texts {
        if !(1..=NAME_LENGTH_MAX).contains(&value.len()) {
            let allowed = alloc::format!("1 to {NAME_LENGTH_MAX} bytes");
            return Err(StartError::Setting { key, value: value.clone(), allowed });
        }
    }
    let factor = &config.replication_factor;
    let is_named = !member.duties.holds_data() || factor.of(&member.datacentre).is_some();
    if factor.numbers().any(|factor| factor == 0) || !is_named {
        let allowed = match factor {
            ReplicationFactor::Everywhere(_) => "at least 1".into(),
            ReplicationFactor::ByDatacentre(_) => {
                alloc::format!("at least 1 for each datacentre, {} too", member.datacentre)
            }
        };
        let (key, value) = ("rf", factor.to_string());
        return Err(StartError::Setting { key, value, allowed });
    }
    if config.seeds.len() > crate::limits::SEEDS_MAX {
        let allowed = alloc::format!("at most {}", crate::limits::SEEDS_MAX);
        let (key, value) = ("seed", alloc::format!("{} addresses", config.seeds.len()));
        return Err(StartError::Setting { key, value, allowed });
    }
    if let Some(ring) = config.partitioner.as_ring() {
        token_ring::check_member(ring, member)?;
    }
    persisted.map_or(Ok(()), |persisted| check_persisted(config, persisted))
}

/// Checks them against what the node has persisted.
fn check_persisted(config: &Config, persisted: &Persisted) -> Result<(), StartError> {
    let member = &config.member;
    if persisted.cluster != config.cluster {
        return Err(StartError::ClusterName {
            held: persisted.cluster.clone(),
            set: config.cluster.clone(),
        });
    }
    let held = persisted.view.members.iter().find(|known| known.id == member.id);
    let held = held.ok_or(StartError::NotMember(member.id))?;
    let places = [("dc", &member.datacentre, &held.datacentre), ("rack", &member.rack, &held.rack)];
    for (key, set, held) in places {
        if set != held {
            return Err(StartError::Relocated { key, set: set.clone(), held: held.clone() });
        }
    }
    if persisted.view.partitioner != config.partitioner {
        return Err(StartError::Partitioner {
            set: config.partitioner.clone(),
            held: persisted.view.partitioner.clone(),
        });
    }
    if member.tokens != held.tokens {
        let shown = |tokens: &[u32]| match tokens {
            [] => "none".into(),
            [one] => one.to_string(),
            [first, .., last] => alloc::format!("{} from {first} to {last}", tokens.len()),
        };
        return Err(StartError::Tokens { set: shown(&member.tokens), held: shown(&held.tokens) });
    }
    // Once it has been decided on anew, what was set when the cluster was made counts no more.
    let is_decided = persisted.view.ownership.is_some();
    if !is_decided && persisted.view.replication_factor != config.replication_factor {
        return Err(StartError::ReplicationFactor {
            set: config.replication_factor.clone(),
            held: persisted.view.replication_factor.clone(),
        });
    }
    Ok(())
}
