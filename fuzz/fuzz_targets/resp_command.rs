//! A client's bytes: never a panic, and the same commands however they are cut.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use quorate_proto::resp::{Command, CommandReader, ProtocolError};

fn read(pieces: &[&[u8]]) -> (Vec<Command>, Option<ProtocolError>) {
    let mut reader = CommandReader::new();
    let mut input = BytesMut::new();
    let mut commands = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.next(&mut input) {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break,
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

fuzz_target!(|data: (u16, &[u8])| {
    let (cut, bytes) = data;
    let (head, tail) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let whole = read(&[bytes]);
    assert_eq!(whole.0, read(&[head, tail]).0);
    for command in whole.0 {
        assert_eq!(Command::decode(Command::from_args(command.args()).frame().clone()).as_ref().map(Command::len), Ok(command.len()));
    }
});
