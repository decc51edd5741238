//! Where a stream of Redis commands can be cut: between commands, and never between a state out of
//! a node and the commands that it stands for. A node would execute those.

use super::node::Stamped;

/// Follows a stream of Redis commands and knows where it can be cut.
#[derive(Debug)]
pub(super) struct CommandScanner {
    expects: Expects,
    /// Arguments of the current command, and those of them still to come.
    count: u64,
    arguments: u64,
    /// The beginning of the current argument.
    head: Vec<u8>,
    is_ping: bool,
    /// Commands that the state in the current command stands for.
    state: Option<u32>,
    /// Commands to come that belong to the state in front of them.
    bound: u32,
    line: Vec<u8>,
    at: u64,
    boundary: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Expects {
    /// `*count`
    Command,
    /// `$length`
    Argument,
    /// This many bytes of an argument and its line end.
    Bytes(u64),
    /// It is no stream of commands.
    Nothing,
}

/// Longest line that announces a number.
const LINE_MAX: usize = 32;

impl Default for CommandScanner {
    fn default() -> Self {
        Self {
            expects: Expects::Command,
            count: 0,
            arguments: 0,
            head: Vec::new(),
            is_ping: false,
            state: None,
            bound: 0,
            line: Vec::new(),
            at: 0,
            boundary: 0,
        }
    }
}

impl CommandScanner {
    /// Where the stream can be cut last, which may be its beginning; `None` when it is no stream of
    /// commands.
    pub(super) fn boundary(&self) -> Option<u64> {
        (self.expects != Expects::Nothing).then_some(self.boundary)
    }

    /// Goes on with the next bytes.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.expects != Expects::Nothing {
            let used = match self.expects {
                Expects::Bytes(left) => {
                    let used = left.min(bytes.len() as u64);
                    self.expects = Expects::Bytes(left - used);
                    let room = (Stamped::HEAD - self.head.len()).min(used as usize);
                    self.head.extend_from_slice(&bytes[..room]);
                    if left == used {
                        self.argument_ended(used);
                    }
                    used as usize
                }
                _ => {
                    self.line.push(bytes[0]);
                    1
                }
            };
            let kind = if self.expects == Expects::Command { b'*' } else { b'$' };
            let is_other = self.line.first().is_some_and(|first| *first != kind);
            self.at += used as u64;
            bytes = &bytes[used..];
            if self.line.ends_with(b"\n") {
                self.line_ended();
            } else if is_other || self.line.len() > LINE_MAX {
                self.expects = Expects::Nothing;
            }
        }
    }

    fn argument_ended(&mut self, used: u64) {
        match self.count - self.arguments {
            // With the line end behind it.
            0 => self.is_ping = self.count == 2 && self.head.eq_ignore_ascii_case(b"PING\r\n"),
            1 if self.is_ping => self.state = Stamped::commands_behind(&self.head),
            _ => {}
        }
        self.head.clear();
        self.arguments -= 1;
        self.expects = Expects::Argument;
        if self.arguments == 0 {
            self.expects = Expects::Command;
            self.bound = self.state.take().unwrap_or_else(|| self.bound.saturating_sub(1));
            if self.bound == 0 {
                self.boundary = self.at + used;
            }
        }
    }

    fn line_ended(&mut self) {
        let line = std::mem::take(&mut self.line);
        let number = |kind: &str| -> Option<u64> {
            let text = std::str::from_utf8(&line).ok()?;
            text.strip_suffix("\r\n")?.strip_prefix(kind)?.parse().ok()
        };
        let next = match self.expects {
            Expects::Command => number("*").filter(|count| *count > 0).map(|count| {
                (self.count, self.arguments) = (count, count);
                Expects::Argument
            }),
            Expects::Argument => {
                number("$").and_then(|length| length.checked_add(2)).map(Expects::Bytes)
            }
            _ => None,
        };
        self.expects = next.unwrap_or(Expects::Nothing);
    }
}
