//! The classic protocol over a connection, for snapshots of any size in constant memory.

use std::io::{Read, Write as _};

use super::{
    EntropyConfig, EntropyError, EntropyMaterial, EntropyResult,
    channel::{Channel, Link},
    cipher::{ClassicCipher, LANES_MAX, padded},
    error::{protocol, reading, source},
    frames::Frames,
    meter::Meter,
    prefetch::{Batches, Layout},
    sink::StreamingSink,
    wire::{NegotiationHeader, SnapshotHeader},
};

/// Bytes of a chunk's length.
const LENGTH: usize = 4;

/// Chunks are prepared together up to about this much.
const BATCH_BYTES: usize = 4 << 20;

/// Sends one snapshot of exactly `total` bytes.
pub(super) fn send(
    channel: &mut Channel,
    config: &EntropyConfig,
    material: &EntropyMaterial,
    reader: Box<dyn std::io::Read + Send>,
    total: u32,
    meter: &Meter,
) -> EntropyResult<()> {
    let negotiation = NegotiationHeader::new(config.buffer_size, config.header_size)?;
    let snapshot = SnapshotHeader { total_len: total, encrypt: config.encrypt };
    channel.stage("room in the connection", config.patience.idle)?;
    channel.write_all(&negotiation.to_wire())?;
    channel.write_all(&snapshot.to_wire(config.header_size))?;

    let cipher = config.encrypt.then(|| ClassicCipher::new(material));
    let size = config.buffer_size;
    let payload = |plain: usize| if config.encrypt { padded(plain) } else { plain };
    let stride = LENGTH + payload(size);
    let slots = (BATCH_BYTES / stride).clamp(1, LANES_MAX);
    let layout = Layout { head: LENGTH, plain: size, stride, slots };
    let batches = Batches::start(reader.take(u64::from(total)), layout)?;
    let mut sent = 0;
    while let Some(mut batch) = batches.next()? {
        // Whole chunks are of the same length and encrypted together; a shorter last one alone.
        let (whole, rest) = (batch.plain / size, batch.plain % size);
        let mut prepare = |first: usize, count: usize, plain: usize| {
            let slots = &mut batch.bytes[first * stride..(first + count) * stride];
            for slot in slots.chunks_exact_mut(stride) {
                slot[..LENGTH].copy_from_slice(&(payload(plain) as u32).to_be_bytes());
            }
            if let Some(cipher) = &cipher {
                cipher.encrypt_slots(slots, LENGTH, stride, plain);
            }
        };
        prepare(0, whole, size);
        let mut used = whole * stride;
        if rest > 0 {
            prepare(whole, 1, rest);
            used += LENGTH + payload(rest);
        }
        channel.write_all(&batch.bytes[..used])?;
        meter.add(batch.plain as u64);
        sent += batch.plain as u64;
        batches.give_back(batch);
    }
    if sent < u64::from(total) {
        return Err(source(format_args!("the snapshot ended after {sent} bytes of {total}")));
    }
    channel.end()?;
    Ok(())
}

/// Receives one snapshot, behind the magic that has been read already, and applies it.
pub(super) fn receive<L: Link>(
    channel: &mut L,
    config: &EntropyConfig,
    material: &EntropyMaterial,
    magic: [u8; 4],
    sink: &dyn StreamingSink,
    meter: &Meter,
) -> EntropyResult<u64> {
    let mut bytes = [0; NegotiationHeader::LENGTH];
    bytes[..magic.len()].copy_from_slice(&magic);
    channel.read_exact(&mut bytes[magic.len()..]).map_err(reading("the negotiation header"))?;
    let negotiation = NegotiationHeader::from_wire(&bytes)?;
    let mut header = vec![0; negotiation.header_size as usize];
    channel.read_exact(&mut header).map_err(reading("the snapshot header"))?;
    let snapshot = SnapshotHeader::from_wire(&header)?;
    if !snapshot.encrypt && config.encrypt {
        return Err(protocol("encrypt_flag 0; allowed: 1, because plaintext is not"));
    }
    channel.stage("the snapshot", config.patience.idle)?;
    let total = u64::from(snapshot.total_len);
    let cipher = snapshot.encrypt.then(|| ClassicCipher::new(material));
    // The sink hears of a snapshot when its first chunk has been decrypted: whoever only sends
    // headers gets no hold of it.
    let mut stream = None;
    let mut apply = |plain: &[u8]| {
        let stream = match &mut stream {
            Some(stream) => stream,
            None => stream.insert(sink.begin(Some(total))?),
        };
        stream.write(plain).inspect(|()| meter.add(plain.len() as u64))
    };
    let outcome = chunks(channel, negotiation.cipher_size, total, cipher.as_ref(), &mut apply);
    match outcome {
        Ok(()) => {
            let stream = stream.map_or_else(|| sink.begin(Some(total)), Ok)?;
            stream.finish().map(|()| total)
        }
        Err(error) => {
            if let Some(stream) = stream {
                stream.abort();
            }
            Err(error)
        }
    }
}

fn chunks(
    channel: &mut impl Read,
    cipher_size: u32,
    total: u64,
    cipher: Option<&ClassicCipher>,
    apply: &mut dyn FnMut(&[u8]) -> Result<(), EntropyError>,
) -> EntropyResult<()> {
    let mut frames = Frames::new(channel);
    let mut got = 0;
    while got < total {
        let length = frames.take(LENGTH).map_err(reading("chunk_len"))?;
        let length = length.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
        if length == 0 || length > cipher_size {
            return Err(protocol(format!("chunk_len {length}; allowed: 1 to {cipher_size}")));
        }
        // At most 5 MiB, which the peer has promised to fill: never `total`.
        let payload = frames.take(length as usize).map_err(reading("a chunk"))?;
        let plain = match cipher {
            Some(cipher) => cipher.decrypt_in_place(payload)?,
            None => payload.len(),
        };
        if plain == 0 {
            return Err(protocol(format!("chunk_len {length} of a chunk without plaintext")));
        }
        let sum = got + plain as u64;
        if sum > total {
            return Err(protocol(format!("total_len {total}, but the chunks hold {sum} bytes")));
        }
        apply(&payload[..plain])?;
        got = sum;
    }
    if !frames.is_at_end()? {
        return Err(protocol("bytes behind the last chunk"));
    }
    Ok(())
}
