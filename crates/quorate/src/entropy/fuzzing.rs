//! Ways in for the fuzz targets. Not for programs: nothing here is stable.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use quorate_proto::resp::Command;

use super::{
    DiscardSink, EntropyConfig, EntropyIv, EntropyKey, EntropyMaterial, EntropyResult, Meter,
    Protocol, channel::Link, classic, node, redis::CommandStream, sealed,
};

fn material() -> EntropyMaterial {
    EntropyMaterial {
        key: EntropyKey::from_bytes(*b"0123456789012345"),
        iv: EntropyIv::from_bytes(*b"abcdefghijklmnop"),
    }
}

struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link for Bytes<'_> {
    fn stage(&mut self, _stage: &'static str, _patience: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// Receives a stream of the classic protocol; returns what it announced and what it held.
///
/// # Errors
/// As a receiver.
pub fn classic(magic: [u8; 4], bytes: &[u8], encrypt: bool) -> EntropyResult<(u64, u64)> {
    let config = EntropyConfig { encrypt, protocol: Protocol::Classic, ..EntropyConfig::default() };
    let (sink, mut link) = (DiscardSink::new(), Bytes(bytes));
    let material = material();
    let total = classic::receive(&mut link, &config, &material, magic, &sink, &Meter::new())?;
    Ok((total, sink.bytes()))
}

/// Receives records that are sealed properly, and then bytes that are not; returns what the
/// records announced and what they held.
///
/// # Errors
/// As a receiver.
pub fn sealed(records: &[(u8, &[u8])], tail: &[u8]) -> EntropyResult<(u64, u64)> {
    let sink = DiscardSink::new();
    let total = sealed::receive_sealed(&material(), records, tail, &sink)?;
    Ok((total, sink.bytes()))
}

/// Reads a stream of commands in two pieces and adopts the states in it; returns the commands.
///
/// # Errors
/// As a sink of a node.
pub fn commands(head: &[u8], tail: &[u8]) -> EntropyResult<Vec<Command>> {
    let (mut stream, mut commands) = (CommandStream::default(), Vec::new());
    for piece in [head, tail] {
        stream.push(piece);
        while let Some(command) = stream.next()? {
            node::adopt(&command)?;
            commands.push(command);
        }
    }
    stream.end()?;
    Ok(commands)
}
