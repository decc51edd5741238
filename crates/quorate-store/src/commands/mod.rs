//! The commands that the store executes, one file a family.

mod counter;
mod error;
mod expire;
mod hash;
mod keys;
mod set;
mod snapshot;
mod string;
mod transfer;
mod walk;

use std::sync::LazyLock;

pub(crate) use error::CommandError;

use quorate_proto::{command, resp::Command};

use crate::execution::Execution;

type Outcome = Result<(), CommandError>;

/// Executes one command: reads state, changes it, writes exactly one reply. On an error the reply
/// is discarded; handlers check everything before they change anything.
pub(crate) type Handler = fn(&mut Execution<'_>, &Command) -> Outcome;

/// Handlers of a family by the name of the command in lower case.
type Family = &'static [(&'static str, Handler)];

const FAMILIES: [Family; 9] = [
    string::HANDLERS,
    counter::HANDLERS,
    keys::HANDLERS,
    transfer::HANDLERS,
    expire::HANDLERS,
    hash::HANDLERS,
    set::HANDLERS,
    walk::HANDLERS,
    snapshot::HANDLERS,
];

/// Handlers in the order of the command table.
static HANDLERS: LazyLock<Vec<Option<Handler>>> = LazyLock::new(|| {
    let find = |name| FAMILIES.iter().copied().flatten().find(|(known, _)| *known == name);
    let rows = command::all().iter();
    rows.map(|spec| find(spec.name).map(|(_, handler)| *handler)).collect()
});

/// The handler of a row of the command table.
pub(crate) fn handler(row: usize) -> Option<Handler> {
    HANDLERS[row]
}

#[cfg(test)]
mod tests {
    use quorate_proto::command::Routing;

    use super::*;

    #[test]
    fn every_command_on_keys_has_a_handler() {
        for (row, spec) in command::all().iter().enumerate() {
            let has_keys = !matches!(spec.routing, Routing::Session | Routing::Keyspace);
            assert_eq!(handler(row).is_some(), has_keys, "{}", spec.name);
        }
    }
}
