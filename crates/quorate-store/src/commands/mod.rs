//! The commands that the store executes, one file a family.

mod batch;
mod bounds;
mod counter;
mod error;
mod expire;
mod hash;
mod inspect;
mod json;
mod keys;
mod set;
mod snapshot;
mod sorted_set;
mod string;
mod transfer;
mod walk;

use std::sync::LazyLock;

pub(crate) use error::CommandError;
pub use json::check_mset;
pub(crate) use json::document_work;

use quorate_proto::{
    command::{self, CommandId},
    resp::Command,
};

use crate::{
    execution::Execution,
    state::{Kind, State},
};

type Outcome = Result<(), CommandError>;

/// Executes one command: reads state, changes it, writes exactly one reply. On an error the reply
/// is discarded; handlers check everything before they change anything.
pub(crate) type Handler = fn(&mut Execution<'_>, &Command) -> Outcome;

/// Handlers by the name of the command in lower case.
type Handlers = &'static [(&'static str, Handler)];

/// Commands that belong together, in a file of their own.
struct Family {
    handlers: Handlers,
    /// The kind of value that they are about, if it is one.
    object: Option<ObjectFamily>,
}

/// What commands on any key must know of a kind of value.
struct ObjectFamily {
    kind: Kind,
    /// The encoding that Redis 7.0 would choose with its default settings.
    encoding: fn(State<'_>) -> &'static str,
    /// The command that creates such a value anew.
    recreate: Recreate,
}

/// How a value is created anew.
enum Recreate {
    /// By commands of this name with a key and elements, as many as there are.
    Elements(&'static str),
    /// By one command of this name with a key and these words.
    Whole(&'static str, fn(State<'_>) -> Vec<Vec<u8>>),
}

const FAMILIES: &[Family] = &[
    string::FAMILY,
    Family { handlers: counter::HANDLERS, object: None },
    Family { handlers: keys::HANDLERS, object: None },
    Family { handlers: transfer::HANDLERS, object: None },
    Family { handlers: expire::HANDLERS, object: None },
    hash::FAMILY,
    set::FAMILY,
    sorted_set::FAMILY,
    json::FAMILY,
    Family { handlers: walk::HANDLERS, object: None },
    Family { handlers: snapshot::HANDLERS, object: None },
    Family { handlers: inspect::HANDLERS, object: None },
    Family { handlers: batch::HANDLERS, object: None },
];

/// Redis's limit for its compact encodings of collections, in bytes of the largest element.
const LISTPACK_VALUE_MAX: usize = 64;

/// Handlers in the order of the command table.
static HANDLERS: LazyLock<Vec<Option<Handler>>> = LazyLock::new(|| {
    let handlers = || FAMILIES.iter().flat_map(|family| family.handlers);
    let find = |name| handlers().find(|(known, _)| *known == name);
    let rows = command::all().iter();
    rows.map(|spec| find(spec.name).map(|(_, handler)| *handler)).collect()
});

/// What is known of a kind of value.
fn object_family(kind: Kind) -> &'static ObjectFamily {
    let mut objects = FAMILIES.iter().filter_map(|family| family.object.as_ref());
    objects.find(|object| object.kind == kind).expect("invariant: every kind has a family")
}

/// The handler of a kind of command.
pub(crate) fn handler(id: CommandId) -> Option<Handler> {
    HANDLERS[id.row()]
}

#[cfg(test)]
mod tests {
    use quorate_proto::command::Routing;

    use super::*;

    #[test]
    fn every_command_on_keys_has_a_handler() {
        for (row, spec) in command::all().iter().enumerate() {
            let has_keys = !matches!(spec.routing, Routing::Session | Routing::Keyspace);
            // Indexes are no business of the store.
            let is_here = has_keys && !["quorate.search", "quorate.cursor"].contains(&spec.name);
            assert_eq!(handler(CommandId::of_row(row)).is_some(), is_here, "{}", spec.name);
        }
    }
}
