//! The store of a running node as a source and a sink, through its client port or, in the node's
//! own process, without.
//!
//! The stream is one of plain Redis commands that any Redis-compatible server can replay, and in
//! front of the commands of each key stands the key's state with its stamps:
//!
//! ```text
//! PING <state>            changes nothing in any server, which answers with the argument
//! SET key value           what the key shows, for servers without stamps
//! PEXPIREAT key ms
//! ```
//!
//! A sink that knows states merges them and skips the commands that they stand for, so replaying
//! into Quorate is a merge: it loses no newer write, brings deletions along, and may be repeated.
//! To a receiver that says so in version 2, only states are sent.

mod origins;
mod sink;
mod slots;
mod source;
mod stamped;

pub use sink::NodeSink;
pub(super) use slots::{NodeStatus, SlotRead, SlotReader};
pub use source::NodeSource;
pub(super) use stamped::Stamped;

use std::io;

use sha2::{Digest as _, Sha256};

use super::redis::Connection;
use origins::OriginSpace;

/// Which cluster a node belongs to, as far as stamps are concerned.
fn origin_space(connection: &mut Connection) -> io::Result<OriginSpace> {
    let nodes = connection.run(&["CLUSTER", "NODES"])?.to_text();
    let ids: Vec<&str> = nodes.lines().filter_map(|line| line.split(' ').next()).collect();
    let count = u16::try_from(ids.len()).ok().filter(|count| *count > 0);
    let nodes = count.ok_or_else(|| io::Error::other("CLUSTER NODES gives no usable list"))?;
    let mut hash = Sha256::new_with_prefix(b"quorate origins");
    for id in ids {
        hash.update(id.as_bytes());
        hash.update([b' ']);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (identity, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
    Ok(OriginSpace { identity: *identity, nodes })
}

/// For fuzzing: adopts the state that a command carries, if it carries one.
pub(super) fn adopt(command: &quorate_proto::resp::Command) -> super::EntropyResult<()> {
    let here = OriginSpace { identity: [1; 16], nodes: 3 };
    match Stamped::read(command) {
        None => Ok(()),
        Some(state) => {
            let adopted = here.adopt_effect(&state.space, state.effect, &mut Vec::new());
            adopted.map_err(super::error::sink)
        }
    }
}
