//! Version 2: authenticated encryption under fresh keys. All integers are big-endian.
//!
//! ```text
//! sender -> receiver   hello     magic:u32 0x64640002  suite:u16  wants:u16 0
//!                                record_max:u32  nonce:32 bytes
//! receiver -> sender   hello     the same, but wants:u16 0 or 1
//! sender -> receiver   proof     32 bytes
//! receiver -> sender   proof     32 bytes
//! sender -> receiver   records   begin, data*, end; then the end of the stream
//! receiver -> sender   record    applied or refused; then the end of the stream
//!
//! record     := kind:u8 length:u32 payload:length bytes
//!   payload  := AES-256-GCM(body), the tag of 16 bytes last; the first five bytes are
//!               authenticated with it
//!   1 begin    total:u64      bytes of the snapshot; 2^64-1: not known yet
//!   2 data     1 to record_max bytes
//!   3 end      total:u64
//!   4 applied  total:u64
//!   5 refused  why, in UTF-8
//!
//! secret     := HKDF-SHA-256-Extract(salt "quorate entropy 2", key || iv)
//! transcript := SHA-256(sender's hello || receiver's hello)
//! derived    := HKDF-SHA-256-Expand(secret, label || transcript)
//!   "sender proof", "receiver proof"    key of HMAC-SHA-256(transcript)
//!   "sender key", "receiver key"        32 bytes, one for each direction
//!   "sender nonce", "receiver nonce"    12 bytes; record n uses it XOR n
//! ```
//!
//! `record_max` is the smaller of the two. The one suite is 1: the above. A receiver that `wants` 1
//! merges states with stamps: a snapshot out of a node may leave out the commands that they stand
//! for.
//!
//! Both nonces are in the transcript, so neither side can be made to repeat keys, and everything
//! either side said in the clear is confirmed by the proofs. The sender proves first: whoever only
//! knocks at a receiver learns nothing that depends on the secret.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Read, Write as _},
    sync::atomic::Ordering,
    time::Duration,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    EntropyConfig, EntropyError, EntropyMaterial, EntropyResult,
    channel::{Channel, Link as _},
    error::{crypto, protocol, reading, source},
    frames::Frames,
    meter::Meter,
    prefetch::{Batches, Layout},
    sink::StreamingSink,
    source::Snapshot,
    wire::{ENTROPY_MAGIC_V2, MAX_BUFFER_SIZE, wrong_magic},
};

const SUITE: u16 = 1;
const WANTS_EVERYTHING: u16 = 0;
const WANTS_STATES: u16 = 1;
const HELLO: usize = 44;
const PROOF: usize = 32;
const TAG: usize = 16;
const HEAD: usize = 5;
const NONCE: usize = 12;
const UNKNOWN_TOTAL: u64 = u64::MAX;

const BEGIN: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;
const APPLIED: u8 = 4;
const REFUSED: u8 = 5;

/// Plaintext of a data record, whatever `buffer_size` says of chunks: larger records are cheaper,
/// and this much fits the processor's cache.
const RECORD_BYTES: usize = 64 << 10;

/// Records prepared together.
const BATCH: usize = 4;

/// Records under one key: far below what AES-GCM allows, far above any snapshot.
const RECORDS_MAX: u64 = 1 << 40;

/// Longest reason for a refusal.
const REASON_MAX: usize = 1024;

const SALT: &[u8] = b"quorate entropy 2";

const _: () = assert!(RECORD_BYTES <= MAX_BUFFER_SIZE);

/// Sends one snapshot; returns its length once the receiver has applied it.
pub(super) fn send(
    channel: &mut Channel,
    config: &EntropyConfig,
    material: &EntropyMaterial,
    snapshot: Snapshot,
    meter: &Meter,
) -> EntropyResult<u64> {
    channel.stage("the handshake", config.patience.handshake)?;
    let own = hello(RECORD_BYTES.max(config.buffer_size), WANTS_EVERYTHING)?;
    channel.write_all(&own)?;
    let mut theirs = [0; HELLO];
    channel.read_exact(&mut theirs).map_err(handshake("hello"))?;
    let offered = read_hello(&theirs, WANTS_STATES)?;
    let record_max = offered.record_max.min(read_hello(&own, WANTS_EVERYTHING)?.record_max);
    if let Some(states_only) = &snapshot.states_only {
        states_only.store(offered.wants == WANTS_STATES, Ordering::Relaxed);
    }
    let session = Session::new(material, &own, &theirs);
    channel.write_all(&session.proof(Side::Sender)?)?;
    let mut proof = [0; PROOF];
    channel.read_exact(&mut proof).map_err(handshake("proof"))?;
    session.check(Side::Receiver, &proof)?;

    channel.stage("room in the connection", config.patience.idle)?;
    let mut outgoing = session.cipher(Side::Sender)?;
    let incoming = session.cipher(Side::Receiver)?;
    let outcome = send_records(channel, &mut outgoing, snapshot, record_max, meter);
    let total = match outcome {
        Ok(total) => total,
        // The receiver may have said why it closed; it is not waited for long.
        Err(EntropyError::Io(error)) => {
            let said = answer(channel, incoming, config.patience.connect);
            return match said {
                Err(refusal @ EntropyError::Sink(_)) => Err(refusal),
                _ => Err(error.into()),
            };
        }
        Err(error) => return Err(error),
    };
    channel.end()?;
    match answer(channel, incoming, config.patience.acknowledge)? {
        applied if applied == total => Ok(total),
        applied => Err(protocol(format!("applied {applied}; sent: {total}"))),
    }
}

fn send_records(
    channel: &mut Channel,
    cipher: &mut RecordCipher,
    snapshot: Snapshot,
    record_max: usize,
    meter: &Meter,
) -> EntropyResult<u64> {
    let Snapshot { reader, length, .. } = snapshot;
    let mut record = vec![0; HEAD];
    cipher.seal(BEGIN, &mut record, &length.unwrap_or(UNKNOWN_TOTAL).to_be_bytes())?;
    channel.write_all(&record)?;
    let size = record_max.min(RECORD_BYTES);
    let layout = Layout { head: HEAD, plain: size, stride: HEAD + size + TAG, slots: BATCH };
    let batches = Batches::start(reader, layout)?;
    let mut total: u64 = 0;
    while let Some(mut batch) = batches.next()? {
        let mut missing = batch.plain;
        let mut used = 0;
        for slot in batch.bytes.chunks_exact_mut(layout.stride) {
            let body = missing.min(size);
            if body == 0 {
                break;
            }
            used += cipher.seal_in_place(DATA, &mut slot[..HEAD + body + TAG])?;
            missing -= body;
        }
        channel.write_all(&batch.bytes[..used])?;
        meter.add(batch.plain as u64);
        total += batch.plain as u64;
        batches.give_back(batch);
    }
    if let Some(length) = length.filter(|length| *length != total) {
        return Err(source(format_args!("the snapshot ended after {total} bytes of {length}")));
    }
    cipher.seal(END, &mut record, &total.to_be_bytes())?;
    channel.write_all(&record)?;
    Ok(total)
}

/// What the receiver says at the end.
fn answer(
    channel: &mut Channel,
    mut cipher: RecordCipher,
    patience: Duration,
) -> EntropyResult<u64> {
    channel.stage("the acknowledgement", patience)?;
    match cipher.open(&mut Frames::new(channel), REASON_MAX)? {
        (APPLIED, body) => read_total("applied", body),
        (REFUSED, body) => {
            let why = String::from_utf8_lossy(body);
            Err(EntropyError::Sink(format!("the receiver refused: {}", printable(&why))))
        }
        (kind, _) => {
            Err(protocol(format!("record kind {kind}; allowed: 4 (applied), 5 (refused)")))
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { ' ' } else { each }).collect()
}

/// Receives one snapshot, behind the magic that has been read already, and applies it.
pub(super) fn receive(
    channel: &mut Channel,
    config: &EntropyConfig,
    material: &EntropyMaterial,
    magic: [u8; 4],
    sink: &dyn StreamingSink,
    meter: &Meter,
) -> EntropyResult<u64> {
    let mut theirs = [0; HELLO];
    theirs[..magic.len()].copy_from_slice(&magic);
    channel.read_exact(&mut theirs[magic.len()..]).map_err(handshake("hello"))?;
    let offered = read_hello(&theirs, WANTS_EVERYTHING)?.record_max;
    let wants = if sink.merges_states() { WANTS_STATES } else { WANTS_EVERYTHING };
    let own = hello(RECORD_BYTES.max(config.buffer_size), wants)?;
    channel.write_all(&own)?;
    let session = Session::new(material, &theirs, &own);
    let mut proof = [0; PROOF];
    channel.read_exact(&mut proof).map_err(handshake("proof"))?;
    session.check(Side::Sender, &proof)?;
    channel.write_all(&session.proof(Side::Receiver)?)?;

    channel.stage("the snapshot", config.patience.idle)?;
    let mut incoming = session.cipher(Side::Sender)?;
    let mut outgoing = session.cipher(Side::Receiver)?;
    let record_max = offered.min(read_hello(&own, wants)?.record_max);
    let outcome = receive_records(channel, &mut incoming, record_max, sink, meter);
    let mut record = vec![0; HEAD];
    match &outcome {
        Ok(total) => outgoing.seal(APPLIED, &mut record, &total.to_be_bytes())?,
        Err(error) => {
            let mut why = error.to_string();
            why.truncate(why.floor_char_boundary(REASON_MAX - TAG));
            outgoing.seal(REFUSED, &mut record, why.as_bytes())?;
        }
    }
    let said = channel.write_all(&record);
    let total = outcome?;
    if let Err(error) = said {
        tracing::warn!(%error, "a snapshot was applied, but its sender could not be told");
    }
    Ok(total)
}

fn receive_records(
    channel: &mut impl Read,
    cipher: &mut RecordCipher,
    record_max: usize,
    sink: &dyn StreamingSink,
    meter: &Meter,
) -> EntropyResult<u64> {
    let frames = &mut Frames::new(channel);
    let announced = match cipher.open(frames, record_max)? {
        (BEGIN, body) => read_total("begin", body)?,
        (kind, _) => {
            return Err(protocol(format!("record kind {kind}; allowed first: 1 (begin)")));
        }
    };
    let announced = Some(announced).filter(|total| *total != UNKNOWN_TOTAL);
    let mut stream = sink.begin(announced)?;
    let mut apply = |body: &[u8]| stream.write(body).inspect(|()| meter.add(body.len() as u64));
    match data_records(frames, cipher, record_max, announced, &mut apply) {
        Ok(total) => stream.finish().map(|()| total),
        Err(error) => {
            stream.abort();
            Err(error)
        }
    }
}

fn data_records(
    frames: &mut Frames<'_, impl Read>,
    cipher: &mut RecordCipher,
    record_max: usize,
    announced: Option<u64>,
    apply: &mut dyn FnMut(&[u8]) -> EntropyResult<()>,
) -> EntropyResult<u64> {
    let mut total: u64 = 0;
    let ended = loop {
        match cipher.open(frames, record_max)? {
            (DATA, []) => return Err(protocol("a data record without data")),
            (DATA, body) => {
                total += body.len() as u64;
                if let Some(announced) = announced.filter(|announced| total > *announced) {
                    let text = format!("total {announced}, but the records hold {total} bytes");
                    return Err(protocol(text));
                }
                apply(body)?;
            }
            (END, body) => break read_total("end", body)?,
            (kind, _) => {
                return Err(protocol(format!("record kind {kind}; allowed: 2 (data), 3 (end)")));
            }
        }
    };
    if ended != total || announced.is_some_and(|announced| announced != total) {
        return Err(protocol(format!("total {ended}, but the records hold {total} bytes")));
    }
    if !frames.is_at_end()? {
        return Err(protocol("bytes behind the last record"));
    }
    Ok(total)
}

fn read_total(what: &str, body: &[u8]) -> EntropyResult<u64> {
    let length = body.len();
    let total = <[u8; 8]>::try_from(body).map(u64::from_be_bytes);
    total.map_err(|_| protocol(format!("{what} record of {length} bytes; allowed: 8")))
}

fn handshake(what: &'static str) -> impl Fn(io::Error) -> EntropyError {
    move |error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => protocol(format!(
            "the peer closed the connection before its {what}: it has another secret, speaks \
             another protocol, or has no free place"
        )),
        _ => EntropyError::Io(error),
    }
}

/// A hello with a fresh nonce.
fn hello(record_max: usize, wants: u16) -> EntropyResult<[u8; HELLO]> {
    let mut bytes = [0; HELLO];
    bytes[..4].copy_from_slice(&ENTROPY_MAGIC_V2.to_be_bytes());
    bytes[4..6].copy_from_slice(&SUITE.to_be_bytes());
    bytes[6..8].copy_from_slice(&wants.to_be_bytes());
    bytes[8..12].copy_from_slice(&(record_max as u32).to_be_bytes());
    getrandom::fill(&mut bytes[12..]).map_err(|error| crypto(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// What a side says of itself.
#[derive(Clone, Copy, Debug)]
struct Offer {
    wants: u16,
    record_max: usize,
}

/// Reads and checks a hello; `wants_max` is the most that its side may want.
fn read_hello(bytes: &[u8; HELLO], wants_max: u16) -> EntropyResult<Offer> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *bytes;
    let magic = u32::from_be_bytes([a, b, c, d]);
    if magic != ENTROPY_MAGIC_V2 {
        return Err(wrong_magic(magic));
    }
    let suite = u16::from_be_bytes([e, f]);
    if suite != SUITE {
        return Err(protocol(format!("suite {suite}; allowed: 1")));
    }
    let wants = u16::from_be_bytes([g, h]);
    if wants > wants_max {
        return Err(protocol(format!("wants {wants}; allowed: 0 to {wants_max}")));
    }
    let record_max = u32::from_be_bytes([i, j, k, l]) as usize;
    if !(REASON_MAX..=MAX_BUFFER_SIZE).contains(&record_max) {
        let text = format!("record_max {record_max}; allowed: {REASON_MAX} to {MAX_BUFFER_SIZE}");
        return Err(protocol(text));
    }
    Ok(Offer { wants, record_max })
}

#[derive(Clone, Copy)]
enum Side {
    Sender,
    Receiver,
}

/// What a handshake has agreed on.
struct Session {
    secret: Hkdf<Sha256>,
    transcript: [u8; 32],
}

impl Session {
    fn new(material: &EntropyMaterial, sender: &[u8; HELLO], receiver: &[u8; HELLO]) -> Self {
        let mut secret = Zeroizing::new(material.key.bytes().to_vec());
        secret.extend_from_slice(material.iv.bytes());
        let transcript = Sha256::new().chain_update(sender).chain_update(receiver).finalize();
        Self { secret: Hkdf::new(Some(SALT), &secret), transcript: transcript.into() }
    }

    fn derive<const LENGTH: usize>(
        &self,
        side: Side,
        labels: [&str; 2],
    ) -> EntropyResult<Zeroizing<[u8; LENGTH]>> {
        let label = match side {
            Side::Sender => labels[0],
            Side::Receiver => labels[1],
        };
        let mut derived = Zeroizing::new([0; LENGTH]);
        let info = [label.as_bytes(), &self.transcript];
        let outcome = self.secret.expand_multi_info(&info, &mut *derived);
        outcome.map_err(|_| crypto("a derived key of impossible length"))?;
        Ok(derived)
    }

    fn mac(&self, side: Side) -> EntropyResult<Hmac<Sha256>> {
        let key: Zeroizing<[u8; 32]> = self.derive(side, ["sender proof", "receiver proof"])?;
        let mac = Hmac::<Sha256>::new_from_slice(&*key);
        mac.map(|mac| mac.chain_update(self.transcript))
            .map_err(|_| crypto("a proof key of impossible length"))
    }

    /// Proof that this side has the secret.
    fn proof(&self, side: Side) -> EntropyResult<[u8; PROOF]> {
        Ok(self.mac(side)?.finalize().into_bytes().into())
    }

    fn check(&self, side: Side, proof: &[u8; PROOF]) -> EntropyResult<()> {
        let fine = self.mac(side)?.verify_slice(proof);
        fine.map_err(|_| crypto("the peer has another secret, or the handshake was changed"))
    }

    fn cipher(&self, side: Side) -> EntropyResult<RecordCipher> {
        let key: Zeroizing<[u8; 32]> = self.derive(side, ["sender key", "receiver key"])?;
        let nonce: Zeroizing<[u8; NONCE]> =
            self.derive(side, ["sender nonce", "receiver nonce"])?;
        let key = UnboundKey::new(&AES_256_GCM, &*key);
        let key = key.map_err(|_| crypto("a record key of impossible length"))?;
        Ok(RecordCipher { key: LessSafeKey::new(key), nonce: *nonce, number: 0 })
    }
}

/// Seals or opens the records of one direction, in order.
struct RecordCipher {
    /// Nonces are this type's own: no number is used twice.
    key: LessSafeKey,
    nonce: [u8; NONCE],
    /// Of the next record. Records that are lost, repeated or swapped do not open.
    number: u64,
}

impl RecordCipher {
    fn next_nonce(&mut self) -> EntropyResult<Nonce> {
        if self.number == RECORDS_MAX {
            return Err(crypto(format!("{RECORDS_MAX} records on one connection")));
        }
        let mut nonce = self.nonce;
        for (byte, number) in nonce[NONCE - 8..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        self.number += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Makes `record` the record with this body.
    fn seal(&mut self, kind: u8, record: &mut Vec<u8>, body: &[u8]) -> EntropyResult<()> {
        record.resize(HEAD, 0);
        record.extend_from_slice(body);
        record.resize(HEAD + body.len() + TAG, 0);
        self.seal_in_place(kind, record).map(drop)
    }

    /// Seals a record whose body stands behind the head, with room for the tag. Returns its length.
    fn seal_in_place(&mut self, kind: u8, record: &mut [u8]) -> EntropyResult<usize> {
        let nonce = self.next_nonce()?;
        let length = record.len();
        let (head, rest) = record.split_at_mut(HEAD);
        let (body, tag) = rest.split_at_mut(length - HEAD - TAG);
        head[0] = kind;
        head[1..].copy_from_slice(&((length - HEAD) as u32).to_be_bytes());
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body);
        let sealed = sealed.map_err(|_| crypto("a record of impossible length"))?;
        tag.copy_from_slice(sealed.as_ref());
        Ok(length)
    }

    /// Reads and opens the next record, where it stands; returns its kind and its body.
    fn open<'f, R: Read>(
        &mut self,
        frames: &'f mut Frames<'_, R>,
        body_max: usize,
    ) -> EntropyResult<(u8, &'f [u8])> {
        let head = frames.take(HEAD).map_err(reading("a record's head"))?;
        let head: [u8; HEAD] = head.first_chunk().copied().unwrap_or_default();
        let [kind, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(TAG..=body_max + TAG).contains(&length) {
            let most = body_max + TAG;
            return Err(protocol(format!("record length {length}; allowed: {TAG} to {most}")));
        }
        let record = frames.take(length).map_err(reading("a record"))?;
        let nonce = self.next_nonce()?;
        let opened = self.key.open_in_place(nonce, Aad::from(&head), record);
        let body =
            opened.map_err(|_| crypto("a record does not open: it was changed on the way"))?;
        Ok((kind, body))
    }
}

/// For fuzzing: a session whose hellos are known.
fn fixed_session(material: &EntropyMaterial) -> Session {
    Session::new(material, &[0; HELLO], &[1; HELLO])
}

/// For fuzzing: records as a sender with the secret seals them.
pub(super) fn seal_all(
    material: &EntropyMaterial,
    records: &[(u8, &[u8])],
) -> EntropyResult<Vec<u8>> {
    let mut outgoing = fixed_session(material).cipher(Side::Sender)?;
    let (mut stream, mut record) = (Vec::new(), vec![0; HEAD]);
    for (kind, body) in records {
        outgoing.seal(*kind, &mut record, body)?;
        stream.extend_from_slice(&record);
    }
    Ok(stream)
}

/// For fuzzing: receives what [`seal_all`] has made.
pub(super) fn receive_sealed(
    material: &EntropyMaterial,
    mut stream: &[u8],
    sink: &dyn StreamingSink,
) -> EntropyResult<u64> {
    let mut incoming = fixed_session(material).cipher(Side::Sender)?;
    receive_records(&mut stream, &mut incoming, REASON_MAX, sink, &Meter::new())
}
