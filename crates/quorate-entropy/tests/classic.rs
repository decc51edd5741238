//! The classic protocol on loopback: byte for byte against `openssl`, and every refusal.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use quorate_entropy::{
    DiscardSink, EntropyConfig, EntropyReceiver, EntropySender, MAX_SNAPSHOT_SIZE, MemorySink,
    NegotiationHeader, Patience, Protocol, SnapshotHeader, StaticSnapshot, boxed_sink,
    boxed_source, encrypt_chunk, load_material,
};
use support::{config, material, plaintext, serve, vector};

/// Name, length, buffer size, header size, encrypted.
const VECTORS: [(&str, usize, usize, usize, bool); 6] = [
    ("empty", 0, 16384, 1024, true),
    ("one-byte", 1, 16384, 8, true),
    ("one-block", 16, 16, 8, true),
    ("many-chunks", 3000, 64, 20, true),
    ("default", 70_001, 16384, 1024, true),
    ("plain", 3000, 1000, 1024, false),
];

fn classic() -> EntropyConfig {
    EntropyConfig { protocol: Protocol::Classic, ..config() }
}

#[test]
fn what_is_sent_is_what_openssl_makes() {
    for (name, length, buffer_size, header_size, encrypt) in VECTORS {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let peer_endpoint = listener.local_addr().expect("bound").to_string();
        let reading = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepts");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("reads");
            bytes
        });
        let config =
            EntropyConfig { peer_endpoint, buffer_size, header_size, encrypt, ..classic() };
        let source = boxed_source(StaticSnapshot::new(plaintext(length)));
        let sent = EntropySender::new(config, source).expect("valid").run().expect("sends");
        assert_eq!((sent.bytes, sent.acknowledged), (length as u64, false));
        assert!(reading.join().expect("reads") == vector(name), "{name}");
    }
}

#[test]
fn what_openssl_makes_is_understood() {
    let sink = MemorySink::new();
    let config = EntropyConfig { encrypt: false, ..classic() };
    let receiver = EntropyReceiver::bind(config, boxed_sink(sink.clone())).expect("listens");
    for (name, length, ..) in VECTORS {
        let mut stream = TcpStream::connect(receiver.local_addr().expect("bound")).expect("dials");
        stream.write_all(&vector(name)).expect("writes");
        stream.shutdown(Shutdown::Write).expect("ends");
        assert_eq!(receiver.accept_one().expect(name).bytes, length as u64);
        assert!(sink.snapshots().pop() == Some(plaintext(length)), "{name}");
    }
}

/// Whether a read has found the end of the stream, orderly or not.
fn is_closed(outcome: &std::io::Result<usize>) -> bool {
    match outcome {
        Ok(count) => *count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// A stream up to some point, and what the receiver says of it.
fn refusals() -> Vec<(Vec<u8>, &'static str)> {
    let negotiation = |words: [u32; 5]| words.map(u32::to_be_bytes).concat();
    let good = NegotiationHeader::new(64, 8).expect("allowed").to_wire().to_vec();
    let with = |total_len: u32, chunks: &[&[u8]]| {
        let mut stream = good.clone();
        stream.extend(SnapshotHeader { total_len, encrypt: true }.to_wire(8));
        for chunk in chunks {
            stream.extend((chunk.len() as u32).to_be_bytes());
            stream.extend(*chunk);
        }
        stream
    };
    let chunk = encrypt_chunk(&material(), b"hello");
    let flag = |flag: u32| [good.clone(), [9, flag].map(u32::to_be_bytes).concat()].concat();
    let magic = 0x6464_0001;
    let mut behind = with(5, &[&chunk]);
    behind.push(0);
    let mut damaged = chunk.clone();
    damaged[15] ^= 1;
    let mut length_0 = with(5, &[]);
    length_0.extend([0; 4]);
    let mut too_long = with(5, &[]);
    too_long.extend(1089_u32.to_be_bytes());
    vec![
        (
            b"GET / HTTP/1.1\r\n".to_vec(),
            "protocol: magic 0x47455420; known: 0x64640001, 0x64640002",
        ),
        (negotiation([magic, 2, 8, 64, 80]), "protocol: command 2; allowed: 1 (SEND)"),
        (negotiation([magic, 1, 7, 64, 80]), "protocol: header_size 7; allowed: 8 to 1024"),
        (negotiation([magic, 1, 1025, 64, 80]), "protocol: header_size 1025; allowed: 8 to 1024"),
        (negotiation([magic, 1, 8, 0, 80]), "protocol: buffer_size 0; allowed: 1 to 5242880"),
        (
            negotiation([magic, 1, 8, 5_242_881, 80]),
            "protocol: buffer_size 5242881; allowed: 1 to 5242880",
        ),
        (negotiation([magic, 1, 8, 64, 0]), "protocol: cipher_size 0; allowed: 1 to 5242880"),
        (
            negotiation([magic, 1, 8, 64, u32::MAX]),
            "protocol: cipher_size 4294967295; allowed: 1 to 5242880",
        ),
        (flag(2), "protocol: encrypt_flag 2; allowed: 0, 1"),
        (flag(0), "protocol: encrypt_flag 0; allowed: 1, because plaintext is not"),
        (with(u32::MAX, &[]), "protocol: total_len 4294967295; allowed: 0 to 4294967294"),
        (length_0, "protocol: chunk_len 0; allowed: 1 to 1088"),
        (too_long, "protocol: chunk_len 1089; allowed: 1 to 1088"),
        (with(4, &[&chunk]), "protocol: total_len 4, but the chunks hold 5 bytes"),
        (behind, "protocol: bytes behind the last chunk"),
        (
            with(5, &[&encrypt_chunk(&material(), b"")]),
            "protocol: chunk_len 16 of a chunk without plaintext",
        ),
        (vec![0x64, 0x64], "protocol: the stream ended inside the magic"),
        (good[..19].to_vec(), "protocol: the stream ended inside the negotiation header"),
        (good.clone(), "protocol: the stream ended inside the snapshot header"),
        (with(5, &[]), "protocol: the stream ended inside chunk_len"),
        (with(5, &[&chunk])[..40].to_vec(), "protocol: the stream ended inside a chunk"),
        (with(9, &[&chunk]), "protocol: the stream ended inside chunk_len"),
        (with(5, &[&[0; 17]]), "crypto: ciphertext of 17 bytes; allowed: positive multiples of 16"),
        (with(5, &[&damaged]), "crypto: bad padding: another key or IV, or damaged data"),
        (
            0x6464_0002_u32.to_be_bytes().to_vec(),
            "protocol: magic 0x64640002 (version 2); allowed here: classic",
        ),
    ]
}

#[test]
fn every_refusal_closes_the_connection_and_harms_nobody() {
    let sink = MemorySink::new();
    let receiver = EntropyReceiver::bind(classic(), boxed_sink(sink.clone())).expect("listens");
    let address = receiver.local_addr().expect("bound");
    for (bytes, text) in refusals() {
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("dials");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            stream.write_all(&bytes).expect("writes");
            let _ = stream.shutdown(Shutdown::Write);
            stream.read(&mut [0])
        });
        let error = receiver.accept_one().expect_err(text);
        assert_eq!(error.to_string(), text);
        let seen = client.join().expect("ends");
        assert!(is_closed(&seen), "{text}: {seen:?}");
        assert!(sink.snapshots().is_empty(), "{text}: nothing is applied");
    }
    let peer_endpoint = address.to_string();
    let sender = EntropySender::new(
        EntropyConfig { peer_endpoint, ..classic() },
        boxed_source(StaticSnapshot::default()),
    );
    let good = thread::spawn(move || sender.expect("valid").push(b"good"));
    assert_eq!(receiver.accept_one().expect("serves").bytes, 4);
    assert!(good.join().expect("ends").is_ok());
    assert_eq!(sink.snapshots(), [b"good"]);
}

#[test]
fn a_sender_notices_that_it_was_refused() {
    let (address, stop) = serve(classic(), Arc::new(DiscardSink::new()));
    let (key_file, iv_file) = (support::path("iv"), support::path("key"));
    let config =
        EntropyConfig { peer_endpoint: address.to_string(), key_file, iv_file, ..classic() };
    let source = boxed_source(StaticSnapshot::new(plaintext(4 << 20)));
    let error = EntropySender::new(config, source).expect("valid").run().expect_err("refused");
    let text = error.to_string();
    assert!(text.contains("broke the connection off") || text.contains("reset"), "{text}");
    stop.stop();
}

#[test]
fn silent_and_slow_peers_are_cut_off_and_block_nobody() {
    let short = Duration::from_millis(300);
    let patience = Patience { handshake: short, idle: short, ..Patience::default() };
    let sink = DiscardSink::new();
    let config = EntropyConfig { patience, ..classic() };
    let (address, stop) = serve(config, Arc::new(sink.clone()));
    let silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(address).expect("dials")).collect();
    let mut dripping = TcpStream::connect(address).expect("dials");
    let header = NegotiationHeader::new(64, 1024).expect("allowed").to_wire();
    dripping.write_all(&header).expect("writes");
    let drip = thread::spawn(move || {
        let header = SnapshotHeader { total_len: 1 << 20, encrypt: true }.to_wire(1024);
        let mut written = 0;
        for byte in header {
            if dripping.write_all(&[byte]).is_err() {
                break;
            }
            written += 1;
            thread::sleep(Duration::from_millis(20));
        }
        written
    });
    let peer_endpoint = address.to_string();
    let config = EntropyConfig { peer_endpoint, ..classic() };
    let sender = EntropySender::new(config, boxed_source(StaticSnapshot::new(plaintext(100_000))));
    sender.expect("valid").run().expect("is served meanwhile");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        assert!(is_closed(&stream.read(&mut [0])));
    }
    assert!(drip.join().expect("ends") < 200, "dripping does not help");
    assert_eq!(sink.bytes(), 100_000);
    stop.stop();
}

#[test]
fn what_is_too_large_for_one_connection_goes_in_several() {
    let sink = MemorySink::new();
    let receiver = EntropyReceiver::bind(classic(), boxed_sink(sink.clone())).expect("listens");
    let peer_endpoint = receiver.local_addr().expect("bound").to_string();
    let sender = EntropySender::new(
        EntropyConfig { peer_endpoint, ..classic() },
        boxed_source(StaticSnapshot::new(plaintext(100_000))),
    );
    let sender = sender.expect("valid").part_size(30_000);
    let sending = thread::spawn(move || sender.run());
    for _ in 0..4 {
        receiver.accept_one().expect("serves");
    }
    let sent = sending.join().expect("ends").expect("sends");
    assert_eq!((sent.bytes, sent.connections), (100_000, 4));
    assert_eq!(sink.snapshots().concat(), plaintext(100_000));
    assert_eq!(u64::from(MAX_SNAPSHOT_SIZE), (1 << 32) - 2);
}

#[test]
fn further_connections_are_closed_when_all_places_are_taken() {
    let config = EntropyConfig { connections_max: 2, ..classic() };
    let (address, stop) = serve(config, Arc::new(DiscardSink::new()));
    let taken: Vec<TcpStream> =
        (0..2).map(|_| TcpStream::connect(address).expect("dials")).collect();
    thread::sleep(Duration::from_millis(200));
    let mut third = TcpStream::connect(address).expect("dials");
    third.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    assert!(is_closed(&third.read(&mut [0])));
    drop(taken);
    stop.stop();
}

#[test]
fn the_secret_comes_from_its_files() {
    let (key_file, iv_file) = (support::path("key"), support::path("iv"));
    let material = load_material(&key_file, &iv_file).expect("readable");
    assert_eq!(encrypt_chunk(&material, b"hello"), encrypt_chunk(&support::material(), b"hello"));
    assert!(load_material(&key_file, &support::path("none")).is_err());
}
