//! A client's bytes: never a panic, and the same commands however they arrive.
//!
//! What holds for every input:
//! * cut anywhere, or byte by byte, it yields the commands, the error and the rest that it yields
//!   whole;
//! * a command's frame decodes to that command, and its arguments encode to an equal one;
//! * an argument that arrives as a bulk string is never longer than allowed;
//! * every command whose number of arguments fits its row in the table has keys that can be told
//!   or a reason why not, and each error about a command is one whole reply.
#![no_main]

use std::fmt::Display;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use quorate_proto::{
    command::{self, SubcommandError, UnknownCommand},
    limits::LINE_LENGTH_MAX,
    resp::{Command, CommandReader, ProtocolError, ReplyWriter, reply},
};

/// What a reader makes of a connection's bytes.
#[derive(Debug, PartialEq)]
struct Outcome {
    commands: Vec<Command>,
    /// What was wrong with the bytes, or how many wait for more to come.
    end: Result<usize, ProtocolError>,
}

fuzz_target!(|input: (u16, [u16; 3], &[u8])| {
    let (bulk_length_max, cuts, bytes) = input;
    // A longer line may be refused or not, depending on whether its end is there already.
    if bytes.len() > LINE_LENGTH_MAX {
        return;
    }
    let bulk_length_max = usize::from(bulk_length_max);
    let whole = read([bytes], bulk_length_max);
    assert_eq!(read(pieces(bytes, cuts), bulk_length_max), whole);
    assert_eq!(read(bytes.chunks(1), bulk_length_max), whole);
    whole.commands.iter().for_each(check_command);
    if let Ok(command) = Command::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(command.frame(), bytes, "decoded from other bytes than its frame");
        assert!(command.args().all(|argument| argument.len() <= bytes.len()));
    }
});

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, bulk_length_max: usize) -> Outcome {
    let mut reader = CommandReader::new().with_max_bulk(bulk_length_max);
    let mut input = BytesMut::new();
    let mut commands = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let multibulk = input.first() == Some(&b'*');
            match reader.next(&mut input) {
                Ok(Some(command)) => {
                    let within = |argument: &[u8]| argument.len() <= bulk_length_max;
                    assert!(!multibulk || command.args().all(within), "longer than allowed");
                    commands.push(command);
                }
                Ok(None) => break,
                Err(error) => return Outcome { commands, end: Err(error) },
            }
        }
    }
    Outcome { commands, end: Ok(input.len()) }
}

fn pieces(bytes: &[u8], cuts: [u16; 3]) -> impl Iterator<Item = &[u8]> {
    let mut ends = cuts.map(|cut| usize::from(cut) % (bytes.len() + 1));
    ends.sort_unstable();
    let [first, second, third] = ends;
    [0..first, first..second, second..third, third..bytes.len()].into_iter().map(|at| &bytes[at])
}

fn check_command(command: &Command) {
    assert_eq!(Command::decode(command.frame().clone()).as_ref(), Ok(command));
    let encoded = Command::from_args(command.args());
    assert!(encoded.args().eq(command.args()));
    assert_eq!(Command::decode(encoded.frame().clone()), Ok(encoded));

    let Some(spec) = command::lookup(command.name()) else {
        return check_error(UnknownCommand(command));
    };
    if let Err(error) = spec.check_arity(command.len()) {
        return check_error(error);
    }
    let _ = spec.class_of(command);
    match command::keys(spec, command) {
        Ok(keys) => assert!(keys.count() < command.len(), "the name is no key"),
        Err(error) => check_error(error),
    }
    if !spec.subcommands.is_empty() {
        match spec.subcommand(command) {
            Ok(_) => {}
            Err(SubcommandError::Unknown) => check_error(command::unknown_subcommand(command)),
            Err(SubcommandError::Arity(error)) => check_error(error),
        }
    }
}

/// An error repeats the client's words, which must not break out of its line.
fn check_error(error: impl Display) {
    let mut out = Vec::new();
    ReplyWriter::new(&mut out, false).error(error);
    assert_eq!(reply::skip(&out), Ok(Some(out.len())));
    assert!(out.len() < 1024, "an error repeats a bounded part of what it is about");
}
