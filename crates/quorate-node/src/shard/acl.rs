//! `ACL`: there is one user, `default`, who may do everything and needs no password.

use std::sync::{MutexGuard, PoisonError};

use quorate_proto::{
    command::{self, CommandId, Mistake},
    resp::{Command, ReplyWriter, parse_integer, quoted},
};

use super::{Shard, client_commands::client_line, session_commands::write_help};
use crate::denials::Denials;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const FIXED: &str = "ERR users cannot be changed: there is only 'default', who needs no password";

const NO_FILE: &str =
    "ERR there is no file of users: there is only 'default', who needs no password";

/// Entries that `ACL LOG` shows without a count.
const LOG_SHOWN: i64 = 10;

impl Shard {
    /// Only `default` may be named, and may give whichever password it likes, as in a Redis without
    /// any.
    pub(super) fn check_user(
        &mut self,
        key: usize,
        user: &[u8],
        command: &Command,
    ) -> Result<(), String> {
        if user == b"default" {
            return Ok(());
        }
        self.stats.counters.denied_users += 1;
        let wall_ms = self.storage.wall_ms;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let client = client_line(&self.sessions[key], wall_ms);
        self.denials().note(text(user), text(command.name()), client, wall_ms);
        Err(WRONG_PASSWORD.into())
    }

    /// `ACL LOG [count|RESET]`
    pub(super) fn acl_log(
        &self,
        writer: &mut ReplyWriter<'_>,
        command: &Command,
    ) -> Result<(), String> {
        if command.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"RESET")) {
            self.denials().clear();
            writer.ok();
            return Ok(());
        }
        let count = command.get(2).map_or(Some(LOG_SHOWN), parse_integer);
        let count = count.ok_or("ERR value is not an integer or out of range")?;
        let count = usize::try_from(count).unwrap_or(0);
        self.denials().write(writer, count, self.storage.wall_ms);
        Ok(())
    }

    fn denials(&self) -> MutexGuard<'_, Denials> {
        self.node.denials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers the subcommands that need to know nothing.
pub(super) fn answer(
    writer: &mut ReplyWriter<'_>,
    subcommand: &[u8],
    command: &Command,
) -> Result<(), String> {
    match subcommand {
        b"whoami" => writer.text("default"),
        b"users" => {
            writer.array(1);
            writer.text("default");
        }
        b"list" => {
            writer.array(1);
            writer.text("user default on nopass ~* &* +@all");
        }
        b"getuser" if command.arg(2) == b"default" => write_default(writer),
        b"getuser" => writer.null(),
        b"cat" => return categories(writer, command),
        b"dryrun" => return dry_run(writer, command),
        b"setuser" | b"deluser" => return Err(FIXED.into()),
        b"load" | b"save" => return Err(NO_FILE.into()),
        _ => write_help(writer, "acl"),
    }
    Ok(())
}

fn write_default(writer: &mut ReplyWriter<'_>) {
    writer.map(6);
    writer.text("flags");
    writer.set(2);
    writer.text("on");
    writer.text("nopass");
    writer.text("passwords");
    writer.array(0);
    for (name, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        writer.text(name);
        writer.text(value);
    }
    writer.text("selectors");
    writer.array(0);
}

/// `ACL CAT [category]`
fn categories(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    let Some(name) = command.get(2) else {
        writer.array(command::CATEGORIES.len());
        command::CATEGORIES.iter().for_each(|category| writer.text(category));
        return Ok(());
    };
    if command.len() > 3 {
        let error = "ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.";
        return Err(error.into());
    }
    let Some(commands) = command::of_category(name) else {
        return Err(format!("ERR Unknown category '{}'", quoted(name)));
    };
    let commands: Vec<_> = commands.collect();
    writer.array(commands.len());
    commands.iter().for_each(|spec| writer.text(spec.name));
    Ok(())
}

/// `ACL DRYRUN user command [argument...]`
fn dry_run(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    let text = |at: usize| quoted(command.arg(at));
    if command.arg(2) != b"default" {
        return Err(format!("ERR User '{}' not found", text(2)));
    }
    let inner: Vec<&[u8]> = command.args().skip(3).collect();
    match CommandId::of(&Command::from_args(inner)) {
        Err(Mistake::Arity { error, .. }) => Err(error.to_string()),
        Ok(id) if !id.spec().is_internal() => {
            writer.ok();
            Ok(())
        }
        Ok(_) | Err(Mistake::Unknown | Mistake::UnknownSubcommand) => {
            Err(format!("ERR Command '{}' not found", text(3)))
        }
    }
}
