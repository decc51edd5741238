//! Several commands as one, and the versions of keys that decide whether it is executed.

use quorate_proto::{
    command::{self, Batched, Entry},
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
        match self.kind(key) {
            None => ABSENT.to_owned(),
            Some(_) => format!("{:032x}", self.store.key_digest(self.slot, key)),
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
    let entries: Vec<Entry> = batch.entries().collect::<Option<_>>().ok_or(CommandError::Syntax)?;
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
            Entry::Call(command) if is_torn && command.name() == b"SET" => execution.reply.ok(),
            Entry::Reply(reply) => execution.reply.raw(&reply),
            Entry::Call(command) => call(execution, &command, start),
        }
    }
    Ok(())
}

/// Executes one command of a batch. One that only reads gives an error once the replies are too long.
fn call(execution: &mut Execution<'_>, command: &Command, start: usize) {
    let spec = command::lookup(command.name()).filter(|spec| !spec.is_internal());
    let Some(spec) = spec.filter(|spec| spec.check_arity(command.len()).is_ok()) else {
        return execution.reply.error(CommandError::NotExecutable);
    };
    let is_long = execution.reply.position() - start > COUNTED_REPLY_LENGTH_MAX;
    if is_long && !spec.class_of(command).writes() {
        return execution.reply.error("ERR the replies of the transaction are too long");
    }
    execution.run(command);
    if let Some(whole) = execution.reply.take_whole() {
        execution.reply.raw(&whole);
    }
}
