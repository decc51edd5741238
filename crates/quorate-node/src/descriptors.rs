//! The descriptors of the process, and how many of them clients may have.
//!
//! Clients must never take the last descriptor: the log and the other nodes need theirs, and a node
//! that serves many clients and cannot sync serves none.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{config::Settings, limits};

/// Asks for as many descriptors as the process may have. Returns how many it has, `None` without a
/// limit.
pub fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_ok() { limit.current } else { before }
}

/// How many clients there is a descriptor for in a cluster of `members`, `None` without a limit.
pub(crate) fn clients_max(settings: &Settings, members: usize) -> Option<u64> {
    Some(raise_limit()?.saturating_sub(reserved(settings, members)))
}

/// Descriptors that are not for clients. Other nodes are taken to have as many shards as this one:
/// each shard of each has a link to this node, each shard here one to it, and so have the
/// memberships.
fn reserved(settings: &Settings, members: usize) -> u64 {
    let channel = settings.channel().map_or(0, |channel| channel.connections_max);
    let links = 2 * (u64::from(settings.shards) + 1) * (members as u64).saturating_sub(1);
    limits::DESCRIPTORS_OF_NODE
        + limits::DESCRIPTORS_OF_SHARD * u64::from(settings.shards)
        + channel as u64
        + links
}

/// How many of the clients that are `wanted` a node of a cluster of `members` may serve: as many as
/// `limit` leaves beside what it needs itself.
pub fn fit_clients(
    wanted: u32,
    settings: &Settings,
    members: usize,
    limit: Option<u64>,
) -> Result<u32, TooFew> {
    let Some(limit) = limit else { return Ok(wanted) };
    let reserved = reserved(settings, members);
    let left = limit.saturating_sub(reserved);
    if left == 0 {
        return Err(TooFew { limit, reserved });
    }
    let fitting = wanted.min(u32::try_from(left).unwrap_or(u32::MAX));
    if fitting < wanted {
        tracing::warn!(
            wanted,
            maxclients = fitting,
            descriptors = limit,
            reserved,
            "fewer clients than configured: the limit on open files (ulimit -n, LimitNOFILE) is \
             too low"
        );
    }
    Ok(fitting)
}

/// There is no descriptor for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit on open files is {limit}, and the node itself needs {reserved}: raise it (ulimit -n, \
     LimitNOFILE), or start fewer shards"
)]
pub struct TooFew {
    limit: u64,
    reserved: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(wanted: u32, members: usize, limit: Option<u64>) -> Result<u32, TooFew> {
        let settings = Settings { shards: 2, ..Settings::default() };
        fit_clients(wanted, &settings, members, limit)
    }

    #[test]
    fn clients_get_what_files_and_peers_leave() {
        let reserved = limits::DESCRIPTORS_OF_NODE + 2 * limits::DESCRIPTORS_OF_SHARD;
        assert_eq!(fitted(10_000, 1, None), Ok(10_000));
        assert_eq!(fitted(10_000, 1, Some(1 << 20)), Ok(10_000));
        assert_eq!(fitted(10_000, 1, Some(reserved + 100)), Ok(100));
        assert_eq!(fitted(50, 1, Some(reserved + 100)), Ok(50));
        for limit in [1, reserved] {
            assert_eq!(fitted(1, 1, Some(limit)), Err(TooFew { limit, reserved }));
        }
        let links = 10 * 6;
        assert_eq!(fitted(10_000, 11, Some(reserved + links + 100)), Ok(100));
    }
}
