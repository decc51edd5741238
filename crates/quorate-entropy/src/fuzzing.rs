//! Ways in for the fuzz targets. Not for programs: nothing here is stable.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quorate_proto::resp::Command;

use super::{
    EntropyConfig, EntropyIv, EntropyKey, EntropyMaterial, EntropyResult, Meter, Protocol,
    SinkStream, StreamingSink, channel::Link, classic, node, redis::CommandStream, sealed,
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

/// Keeps what it was given, whole or not.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<u8>>>);

impl Pieces {
    fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StreamingSink for Pieces {
    fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        Ok(Box::new(self.clone()))
    }
}

impl SinkStream for Pieces {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> EntropyResult<()> {
        Ok(())
    }

    fn abort(self: Box<Self>) {}
}

/// Receives a stream of the classic protocol; returns what it announced and what it held.
///
/// # Errors
/// As a receiver.
pub fn classic(magic: [u8; 4], bytes: &[u8], encrypt: bool) -> EntropyResult<(u64, u64)> {
    let (outcome, pieces) = classic_pieces(magic, bytes, encrypt);
    outcome.map(|total| (total, pieces.len() as u64))
}

/// Receives a stream of the classic protocol; returns what it announced, and the plaintext that the
/// sink was given before its end or before an error.
pub fn classic_pieces(
    magic: [u8; 4],
    bytes: &[u8],
    encrypt: bool,
) -> (EntropyResult<u64>, Vec<u8>) {
    let config = EntropyConfig { encrypt, protocol: Protocol::Classic, ..EntropyConfig::default() };
    let (sink, mut link) = (Pieces::default(), Bytes(bytes));
    let material = material();
    let outcome = classic::receive(&mut link, &config, &material, magic, &sink, &Meter::new());
    (outcome, sink.taken())
}

/// Receives records that are sealed properly, and then bytes that are not; returns what the
/// records announced and what they held.
///
/// # Errors
/// As a receiver.
pub fn sealed(records: &[(u8, &[u8])], tail: &[u8]) -> EntropyResult<(u64, u64)> {
    let mut stream = sealed::seal_all(&material(), records)?;
    stream.extend_from_slice(tail);
    let (outcome, pieces) = open(&stream);
    outcome.map(|total| (total, pieces.len() as u64))
}

/// Seals records as a sender with the secret does.
///
/// # Errors
/// When one is of impossible length.
pub fn seal(records: &[(u8, Vec<u8>)]) -> EntropyResult<Vec<u8>> {
    let records: Vec<(u8, &[u8])> = records.iter().map(|(kind, body)| (*kind, &body[..])).collect();
    sealed::seal_all(&material(), &records)
}

/// Receives sealed records; returns what they announced, and the plaintext that the sink was given
/// before their end or before an error.
pub fn open(stream: &[u8]) -> (EntropyResult<u64>, Vec<u8>) {
    let sink = Pieces::default();
    (sealed::receive_sealed(&material(), stream, &sink), sink.taken())
}

/// Reads a stream of commands in two pieces and adopts the states in it; returns the commands.
///
/// # Errors
/// As a sink of a node.
pub fn commands(head: &[u8], tail: &[u8]) -> EntropyResult<Vec<Command>> {
    let mut commands = Vec::new();
    read_commands(&[head, tail], &mut commands).map(|()| commands)
}

/// Reads a stream of commands; returns those before its end or before an error.
pub fn commands_before_damage(stream: &[u8]) -> (EntropyResult<()>, Vec<Command>) {
    let mut commands = Vec::new();
    (read_commands(&[stream], &mut commands), commands)
}

fn read_commands(pieces: &[&[u8]], commands: &mut Vec<Command>) -> EntropyResult<()> {
    let mut stream = CommandStream::default();
    for piece in pieces {
        stream.push(piece);
        while let Some(command) = stream.next()? {
            node::adopt(&command)?;
            commands.push(command);
        }
    }
    stream.end()
}
