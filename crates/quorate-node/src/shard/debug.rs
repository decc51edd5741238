//! `DEBUG`: the subcommands that harm nobody.

use std::time::Duration;

use quorate_proto::{
    command::Call,
    resp::{Command, ReplyWriter, quoted},
};

use super::{Now, Shard, session_commands::write_help};

/// Longer than this a connection is not held up.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

impl Shard {
    /// `DEBUG SLEEP seconds`, `DEBUG OBJECT key`, `DEBUG SET-ACTIVE-EXPIRE 0|1`, `DEBUG ERROR
    /// text`, `DEBUG LOG text`, `DEBUG STRINGMATCH-LEN length pattern`
    pub(super) fn debug(&mut self, now: Now, key: usize, subcommand: &[u8], call: Call) {
        match subcommand {
            b"sleep" => {
                let seconds = leading_number(call.command().arg(2));
                let after = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                self.answer_later(now, key, call, after.min(SLEEP_MAX), |reply| reply.ok());
            }
            b"object" => {
                let slot = self.partitioner().slot(call.command().arg(2));
                let words = [&b"quorate.debugobject"[..], call.command().arg(2)];
                let piece = Call::piece(slot, Command::from_args(words));
                let terms = self.terms(now, key, &piece);
                self.by_piece(now, key, call, (piece, terms));
            }
            b"error" => {
                self.refuse(key, &call, quoted(call.command().arg(2)));
            }
            _ => {
                let mut reply = Vec::new();
                let mut writer = ReplyWriter::new(&mut reply, self.sessions[key].resp3);
                match self.debug_here(subcommand, call.command(), &mut writer) {
                    Ok(()) => self.reply(key, &call, &reply),
                    Err(error) => self.refuse(key, &call, error),
                }
            }
        }
    }

    fn debug_here(
        &self,
        subcommand: &[u8],
        command: &Command,
        writer: &mut ReplyWriter<'_>,
    ) -> Result<(), &'static str> {
        match subcommand {
            b"set-active-expire" => {
                let active = match command.arg(2) {
                    b"0" => false,
                    b"1" => true,
                    _ => return Err("ERR syntax error: 0 or 1"),
                };
                self.node.adjustable.set_active_expiry(active);
                writer.ok();
            }
            b"log" => {
                let text = String::from_utf8_lossy(command.arg(2));
                tracing::warn!(%text, "DEBUG LOG");
                writer.ok();
            }
            b"stringmatch-len" => {
                /// Matching takes time that grows with it, and holds the shard.
                const LENGTH_MAX: i64 = 1 << 20;
                let length = quorate_proto::resp::parse_integer(command.arg(2));
                let length = length.filter(|length| (0..=LENGTH_MAX).contains(length));
                let length = length.ok_or("ERR the length must be between 0 and 1048576")?;
                let text = vec![b'a'; length.unsigned_abs() as usize];
                let matches = quorate_store::glob::matches(command.arg(3), &text);
                writer.integer(matches.into());
            }
            _ => write_help(writer, "debug"),
        }
        Ok(())
    }
}

/// The number that a text begins with; zero where it begins with none.
fn leading_number(text: &[u8]) -> f64 {
    /// No number that makes a difference is longer.
    const LENGTH_MAX: usize = 32;
    let text = &text[..text.len().min(LENGTH_MAX)];
    let mut ends = (1..=text.len()).rev();
    ends.find_map(|end| std::str::from_utf8(&text[..end]).ok()?.parse().ok()).unwrap_or(0.0)
}
