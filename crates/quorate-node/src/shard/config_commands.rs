//! `CONFIG`: showing and changing parameters, and counting anew.

use quorate_proto::{
    command::Call,
    resp::{Command, ReplyWriter, quoted},
};

use super::{
    Now, Shard,
    mail::Question,
    parameters::{Accepted, PARAMETERS, Parameter, Source},
    session_commands::write_help,
    status::Gathered,
};

impl Shard {
    pub(super) fn config(
        &self,
        writer: &mut ReplyWriter<'_>,
        subcommand: &[u8],
        command: &Command,
    ) -> Result<(), String> {
        match subcommand {
            b"get" => self.config_get(writer, command),
            b"set" => {
                let changes = self.check_changes(command)?;
                changes.into_iter().for_each(|change| change(&self.node));
                writer.ok();
            }
            // A node is configured by flags and a file that people keep; it never writes the file.
            b"rewrite" => return Err("ERR The server is running without a config file".into()),
            _ => write_help(writer, "config"),
        }
        Ok(())
    }

    /// `CONFIG RESETSTAT`
    pub(super) fn config_resetstat(&mut self, now: Now, key: usize, call: Call) {
        self.gather(now, key, call, Question::ResetStats, Box::new(Gathered::Done));
    }

    fn config_get(&self, writer: &mut ReplyWriter<'_>, command: &Command) {
        let patterns: Vec<Vec<u8>> =
            command.args().skip(2).map(<[u8]>::to_ascii_lowercase).collect();
        let is_wanted = |row: &&Parameter| {
            let name = row.name.as_bytes();
            patterns.iter().any(|pattern| quorate_store::glob::matches(pattern, name))
        };
        let found: Vec<_> = PARAMETERS.iter().filter(is_wanted).collect();
        writer.map(found.len());
        for row in found {
            writer.text(&row.name);
            writer.text(&row.value(self.source()));
        }
    }

    /// `CONFIG SET name value...`: all of the changes, or why none is made.
    fn check_changes(&self, command: &Command) -> Result<Vec<Accepted>, String> {
        if !command.len().is_multiple_of(2) {
            return Err("ERR syntax error".into());
        }
        let words: Vec<&[u8]> = command.args().skip(2).collect();
        let pairs = words.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let mut rows = Vec::new();
        for (name, value) in pairs {
            let shown = quoted(name);
            let row = Parameter::find(name).ok_or_else(|| {
                format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'")
            })?;
            let failed = |why: &str| {
                format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - {why}")
            };
            if rows.iter().any(|(other, _)| std::ptr::eq::<Parameter>(*other, row)) {
                return Err(failed("duplicate parameter"));
            }
            rows.push((row, row.check(self.source(), value).map_err(|why| failed(&why))?));
        }
        Ok(rows.into_iter().map(|(_, change)| change).collect())
    }

    fn source(&self) -> Source<'_> {
        Source { node: &self.node, topology: self.topology() }
    }
}
