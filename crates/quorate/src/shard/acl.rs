//! `ACL`: there is one user, `default`, who may do everything and needs no password.

use quorate_proto::{
    command,
    resp::{Command, ReplyWriter, parse_integer},
};

use super::session_commands::write_help;

const FIXED: &str = "ERR users cannot be changed: there is only 'default', who needs no password";

/// Answers one subcommand.
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
        b"log" => return log(writer, command),
        b"setuser" | b"deluser" => return Err(FIXED.into()),
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
        command::CATEGORIES.iter().for_each(|category| writer.simple(category));
        return Ok(());
    };
    if command.len() > 3 {
        return Err("ERR wrong number of arguments for 'acl|cat' command".into());
    }
    let Some(commands) = command::of_category(name) else {
        let name = String::from_utf8_lossy(name);
        return Err(format!("ERR Unknown category '{name}'"));
    };
    let commands: Vec<_> = commands.collect();
    writer.array(commands.len());
    commands.iter().for_each(|spec| writer.text(spec.name));
    Ok(())
}

/// `ACL DRYRUN user command [argument...]`
fn dry_run(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    let text = |at: usize| String::from_utf8_lossy(command.arg(at)).into_owned();
    if command.arg(2) != b"default" {
        return Err(format!("ERR User '{}' not found", text(2)));
    }
    let inner: Vec<&[u8]> = command.args().skip(3).collect();
    let spec = command::lookup(inner[0]).filter(|spec| !spec.is_internal());
    let spec = spec.ok_or_else(|| format!("ERR Command '{}' not found", text(3)))?;
    spec.check_arity(inner.len()).map_err(|error| error.to_string())?;
    writer.ok();
    Ok(())
}

/// `ACL LOG [count|RESET]`: nothing has ever been denied.
fn log(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    match command.get(2) {
        None => writer.array(0),
        Some(word) if word.eq_ignore_ascii_case(b"RESET") => writer.ok(),
        Some(count) if parse_integer(count).is_some_and(|count| count >= 0) => writer.array(0),
        Some(_) => return Err("ERR value is not an integer or out of range".into()),
    }
    Ok(())
}
