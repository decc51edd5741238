//! `FUNCTION` and `SCRIPT`: there are none, so they are easily listed, and flushed.

use quorate_proto::resp::{Command, ReplyWriter, quoted};

use super::session_commands::write_help;

const NOT_RUNNING: &str = "NOTBUSY No scripts in execution right now.";

/// Answers a subcommand of `FUNCTION`.
pub(super) fn function(
    writer: &mut ReplyWriter<'_>,
    subcommand: &[u8],
    command: &Command,
) -> Result<(), String> {
    match subcommand {
        b"list" => list(writer, command)?,
        b"stats" => {
            writer.map(2);
            writer.text("running_script");
            writer.null();
            writer.text("engines");
            writer.map(0);
        }
        b"flush" if is_flush(command) => writer.ok(),
        b"flush" => return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".into()),
        b"delete" => return Err("ERR Library not found".into()),
        b"kill" => return Err(NOT_RUNNING.into()),
        b"load" | b"restore" | b"dump" => {
            return Err("ERR functions are not supported".into());
        }
        _ => write_help(writer, "function"),
    }
    Ok(())
}

/// Answers a subcommand of `SCRIPT`.
pub(super) fn script(
    writer: &mut ReplyWriter<'_>,
    subcommand: &[u8],
    command: &Command,
) -> Result<(), String> {
    match subcommand {
        b"exists" => {
            writer.array(command.len() - 2);
            (2..command.len()).for_each(|_| writer.integer(0));
        }
        b"flush" if is_flush(command) => writer.ok(),
        b"flush" => return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into()),
        b"kill" => return Err(NOT_RUNNING.into()),
        b"load" => return Err("ERR scripts are not supported".into()),
        _ => write_help(writer, "script"),
    }
    Ok(())
}

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`
fn list(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    let mut words = command.args().skip(2);
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"LIBRARYNAME") {
            words.next().ok_or("ERR library name argument was not given")?;
        } else if !word.eq_ignore_ascii_case(b"WITHCODE") {
            return Err(format!("ERR Unknown argument {}", quoted(word)));
        }
    }
    writer.array(0);
    Ok(())
}

fn is_flush(command: &Command) -> bool {
    let is_mode =
        |word: &[u8]| word.eq_ignore_ascii_case(b"SYNC") || word.eq_ignore_ascii_case(b"ASYNC");
    command.len() == 2 || command.len() == 3 && is_mode(command.arg(2))
}
