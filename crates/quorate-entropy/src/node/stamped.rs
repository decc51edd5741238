//! The argument of the `PING` that carries a state.
//!
//! ```text
//! magic       8 bytes "QUORATE1"
//! identity   16 bytes of the cluster that the stamps are of
//! nodes       u16be, members of that cluster
//! slot        u16be
//! commands    u32be, commands behind this one that the state stands for
//! effect      the rest: `quorate_store::delta`
//! ```

use quorate_proto::{Slot, resp::Command};

use super::origins::OriginSpace;

const MAGIC: &[u8; 8] = b"QUORATE1";
const HEAD: usize = MAGIC.len() + 16 + 2 + 2 + 4;

/// A state on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamped<'a> {
    pub(super) space: OriginSpace,
    pub(super) slot: Slot,
    pub(super) commands: u32,
    pub(super) effect: &'a [u8],
}

impl<'a> Stamped<'a> {
    /// The state that a command carries, when it carries one.
    pub(crate) fn read(command: &'a Command) -> Option<Self> {
        if command.len() != 2 || !command.name().eq_ignore_ascii_case(b"PING") {
            return None;
        }
        let rest = command.arg(1).strip_prefix(MAGIC)?;
        let (identity, rest) = rest.split_first_chunk()?;
        let (nodes, rest) = rest.split_first_chunk()?;
        let (slot, rest) = rest.split_first_chunk()?;
        let (commands, effect) = rest.split_first_chunk()?;
        Some(Self {
            space: OriginSpace { identity: *identity, nodes: u16::from_be_bytes(*nodes) },
            slot: Slot::new(u16::from_be_bytes(*slot))?,
            commands: u32::from_be_bytes(*commands),
            effect,
        })
    }

    /// Appends the encoded command.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let length = Self::HEAD + self.effect.len();
        out.reserve(length + 64);
        out.extend_from_slice(format!("*2\r\n$4\r\nPING\r\n${length}\r\n").as_bytes());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.space.identity);
        out.extend_from_slice(&self.space.nodes.to_be_bytes());
        out.extend_from_slice(&self.slot.number().to_be_bytes());
        out.extend_from_slice(&self.commands.to_be_bytes());
        out.extend_from_slice(self.effect);
        out.extend_from_slice(b"\r\n");
    }
}

impl Stamped<'_> {
    /// Bytes in front of the effect.
    pub(crate) const HEAD: usize = HEAD;

    /// How many commands a state stands for, when `head`, the beginning of the argument of a
    /// `PING`, is that of a state.
    pub(crate) fn commands_behind(head: &[u8]) -> Option<u32> {
        let head = head.first_chunk::<HEAD>().filter(|head| head.starts_with(MAGIC))?;
        head.last_chunk().map(|count| u32::from_be_bytes(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_laid_out_as_documented() {
        let space = OriginSpace { identity: *b"0123456789abcdef", nodes: 3 };
        let slot = Slot::new(0x1234).expect("a slot");
        let state = Stamped { space, slot, commands: 2, effect: b"effect" };
        let mut out = Vec::new();
        state.write(&mut out);
        let expected = b"*2\r\n$4\r\nPING\r\n$38\r\nQUORATE10123456789abcdef\x00\x03\x12\x34\x00\x00\x00\x02effect\r\n";
        assert_eq!(out, expected);
        let command = Command::decode(out.into()).expect("a command");
        assert_eq!(Stamped::read(&command), Some(state));
        assert_eq!(Stamped::commands_behind(command.arg(1)), Some(2));
        assert_eq!(Stamped::commands_behind(&command.arg(1)[..31]), None);
        assert_eq!(Stamped::commands_behind(&[0; 40]), None);
    }

    #[test]
    fn other_commands_carry_nothing() {
        for words in [&["PING"][..], &["PING", "QUORATE1"], &["ECHO", "x"], &["PING", "hello"]] {
            assert_eq!(Stamped::read(&Command::from_args(words)), None);
        }
    }
}
