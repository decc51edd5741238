//! Several commands as one, and the versions of keys that decide whether it is executed.

use quorate_proto::{
    command::{self, Batched, Call, Entry},
    limits::COUNTED_REPLY_LENGTH_MAX,
    mutant::Mutant,
    resp::Command,
};

use super::{CommandError, Handlers, Outcome};
use crate::execution::{Execution, Keys};

pub(super) const HANDLERS: Handlers = &[(command::BATCH, batch), ("quorate.version", versions)];

/// The version of a key that does not exist.
const ABSENT: &str = "-";

impl Keys<'_> {
    /// What differs after every change of a key, and is the same on every replica that holds the same.
    fn version(&self, key: &[u8]) -> String {
        match self.read(key).state().filter(|state| state.is_live()) {
            None => ABSENT.to_owned(),
            Some(state) => format!("{:032x}", self.store.state_digest(key, state)),
        }
    }
}

/// `quorate.version key...`
fn versions(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    reply.array(command.len() - 1);
    command.args().skip(1).for_each(|key| reply.text(&keys.version(key)));
    Ok(())
}

/// `quorate.batch`: an array of the replies, or no array if a watched key has another version by now.
fn batch(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let batch = Batched::parse(command).ok_or(CommandError::Syntax)?;
    let entries = batch.entries(execution.keys.slot);
    let entries: Vec<Entry> = entries.collect::<Option<_>>().ok_or(CommandError::Syntax)?;
    let has_changed = |(key, version)| execution.keys.version(key).as_bytes() != version;
    if batch.watched().any(has_changed) && !Mutant::WatchIgnored.is_planted() {
        execution.reply.null_array();
        return Ok(());
    }
    execution.reply.array(entries.len());
    let start = execution.reply.position();
    let last = entries.len().saturating_sub(1);
    for (at, entry) in entries.into_iter().enumerate() {
        let is_torn = at == last && at > 0 && Mutant::TransactionTorn.is_planted();
        match entry {
            Entry::Call(part) if is_torn && part.spec().name == "set" => execution.reply.ok(),
            Entry::Reply(reply) => execution.reply.raw(&reply),
            Entry::Call(part) => call(execution, &part, start),
        }
    }
    Ok(())
}

/// Executes one call of a batch. One that only reads gives an error once the replies are too long.
fn call(execution: &mut Execution<'_>, call: &Call, start: usize) {
    let is_long = execution.reply.position() - start > COUNTED_REPLY_LENGTH_MAX;
    if is_long && !call.class().writes() {
        return execution.reply.error("ERR the replies of the transaction are too long");
    }
    execution.run(call);
    if let Some(whole) = execution.reply.take_whole() {
        execution.reply.raw(&whole);
    }
}
