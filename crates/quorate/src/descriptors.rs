//! The descriptors of the process, and how many of them clients may have.
//!
//! Clients must never take the last descriptor: the log and the other nodes need theirs, and a node
//! that serves many clients and cannot sync serves none.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{config::Settings, limits};

/// Asks for as many descriptors as the process may have. Returns how many it has, `None` without a
/// limit.
pub(crate) fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_ok() { limit.current } else { before }
}

/// How many clients there is a descriptor for, `None` without a limit.
pub(crate) fn clients_max(settings: &Settings) -> Option<u64> {
    Some(raise_limit()?.saturating_sub(reserved(settings)))
}

fn reserved(settings: &Settings) -> u64 {
    let channel = settings.channel().map_or(0, |channel| channel.connections_max);
    limits::DESCRIPTORS_OF_NODE
        + limits::DESCRIPTORS_OF_SHARD * u64::from(settings.shards)
        + channel as u64
}

/// Lowers `maxclients` to what `limit` leaves beside what the node needs itself.
pub(crate) fn fit_clients(settings: &mut Settings, limit: Option<u64>) -> Result<(), TooFew> {
    let Some(limit) = limit else { return Ok(()) };
    let reserved = reserved(settings);
    let left = limit.saturating_sub(reserved);
    if left == 0 {
        return Err(TooFew { limit, reserved });
    }
    let wanted = settings.maxclients;
    settings.maxclients = wanted.min(u32::try_from(left).unwrap_or(u32::MAX));
    if settings.maxclients < wanted {
        tracing::warn!(
            wanted,
            maxclients = settings.maxclients,
            descriptors = limit,
            reserved,
            "fewer clients than configured: the limit on open files (ulimit -n, LimitNOFILE) is \
             too low"
        );
    }
    Ok(())
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

    fn fitted(maxclients: u32, limit: Option<u64>) -> Result<u32, TooFew> {
        let mut settings = Settings { shards: 2, maxclients, ..Settings::default() };
        fit_clients(&mut settings, limit)?;
        Ok(settings.maxclients)
    }

    #[test]
    fn clients_get_what_files_and_peers_leave() {
        let reserved = limits::DESCRIPTORS_OF_NODE + 2 * limits::DESCRIPTORS_OF_SHARD;
        assert_eq!(fitted(10_000, None), Ok(10_000));
        assert_eq!(fitted(10_000, Some(1 << 20)), Ok(10_000));
        assert_eq!(fitted(10_000, Some(reserved + 100)), Ok(100));
        assert_eq!(fitted(50, Some(reserved + 100)), Ok(50));
        for limit in [1, reserved] {
            assert_eq!(fitted(1, Some(limit)), Err(TooFew { limit, reserved }));
        }
    }
}
