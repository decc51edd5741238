//! Several commands as one, and the versions of keys that decide whether it is executed.

use quorate_proto::{
    Stamp,
    command::{self, Batched, Call, Entry},
    limits::COUNTED_REPLY_LENGTH_MAX,
    mutant::Mutant,
    resp::Command,
};

use super::{CommandError, Handlers, Outcome};
use crate::{
    execution::{Execution, Keys},
    state::{Kind, State},
};

pub(super) const HANDLERS: Handlers = &[(command::BATCH, batch), ("quorate.version", versions)];

/// The version of a key that does not exist.
const ABSENT: &str = "-";

/// Sets and sorted sets with more members are not looked through for their version.
const COMPARED_MAX: usize = 1_024;

impl Keys<'_> {
    /// What differs after every change of a key, and is the same on every replica that holds the
    /// same.
    fn version(&self, key: &[u8]) -> String {
        let found = self.peek(key);
        let Some(state) = found.state().filter(|state| state.is_live()) else {
            return ABSENT.to_owned();
        };
        match self.members_digest(key, state) {
            Some(members) => {
                let expiry = state.expires_at().and(state.expiry_stamp()).unwrap_or(Stamp::ZERO);
                format!("{members:016x}{:016x}{:08x}", expiry.clock(), expiry.origin().0)
            }
            None => format!("{:032x}", self.store.state_digest(key, state)),
        }
    }

    /// A digest of what a set or sorted set shows, unless it has too many members. To add a member
    /// that is there, or to give one the score that it has, is a write but no change.
    fn members_digest(&self, key: &[u8], state: State<'_>) -> Option<u64> {
        let digester = self.store.digester.of_key(key);
        match state.kind()? {
            Kind::Set => {
                let set = state.set().filter(|set| set.len() <= COMPARED_MAX)?;
                let members = set.iter().map(|(member, _)| digester.name(member));
                Some(members.fold(0, u64::wrapping_add))
            }
            Kind::SortedSet => {
                let set = state.sorted_set().filter(|set| set.len() <= COMPARED_MAX)?;
                let members = set.iter().map(|(member, element)| {
                    digester.name(&[&element.score().to_bytes(), member].concat())
                });
                Some(members.fold(0, u64::wrapping_add))
            }
            _ => None,
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

/// `quorate.batch`: an array of the replies, or no array if a watched key has another version by
/// now.
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
