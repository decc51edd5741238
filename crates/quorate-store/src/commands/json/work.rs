//! How much work a command on documents is about.

use quorate_proto::command::Call;

use crate::{json::path::Path, state::State};

/// Bytes of a text for each value in it, about.
const VALUE_BYTES: usize = 16;

/// The paths of commands on documents with fewer values are not looked at: all values count.
const SMALL_DOCUMENT: usize = 1_024;

/// Words of a call, values of its texts and values of its documents that it looks at, about.
pub(crate) fn document_work<'s>(call: &Call, state: impl Fn(&[u8]) -> Option<State<'s>>) -> usize {
    let texts = call.command().frame().len() / VALUE_BYTES;
    let documents = call.keys().filter_map(state).filter_map(State::json);
    let values = documents.map(|json| match json.len() {
        small @ ..SMALL_DOCUMENT => small,
        _ => json.work(path(call).as_ref()),
    });
    call.words() + texts + values.sum::<usize>()
}

/// The one path of a call. Where there is none, or several, all of the document is looked at.
fn path(call: &Call) -> Option<Path> {
    let command = call.command();
    let at = match call.spec().name {
        "json.mget" => command.len() - 1,
        "json.debug" => 3,
        "json.mset" => return None,
        "json.get" if command.len() > 3 => return None,
        _ => 2,
    };
    Path::parse(command.get(at)?).ok()
}
