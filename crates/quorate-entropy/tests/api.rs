//! The names that embedders of the channel know, each with the meaning that they rely on.

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use quorate_entropy::{
    BoxedSnapshotSink, BoxedSnapshotSource, DEFAULT_BUFFER_SIZE, DEFAULT_CIPHER_SIZE,
    DEFAULT_ENTROPY_PORT, DEFAULT_HEADER_SIZE, DEFAULT_RECON_INTERVAL, ENTROPY_COMMAND_SEND,
    ENTROPY_IV_LEN, ENTROPY_KEY_LEN, ENTROPY_MAGIC, EntropyConfig, EntropyDriver, EntropyError,
    EntropyIv, EntropyKey, EntropyMaterial, EntropyReceiver, EntropyResult, EntropySender,
    MAX_BUFFER_SIZE, MAX_CIPHER_SIZE, MAX_HEADER_SIZE, MAX_SNAPSHOT_SIZE, MemorySink,
    NegotiationHeader, NodeSource, Protocol, ReconCycle, ReconPeer, RedisLocalSnapshot,
    RedisReplaySink, SAFE_PREALLOC, SnapshotHeader, SnapshotSink, SnapshotSource, StaticSnapshot,
    StreamingSink, StreamingSource, boxed_sink, boxed_source, decrypt_chunk, encrypt_chunk,
    load_material, reconcile_with_peer,
};
use support::{config, material, path, plaintext};

#[test]
fn the_constants_have_their_published_values() {
    assert_eq!((ENTROPY_MAGIC, ENTROPY_COMMAND_SEND), (0x6464_0001, 1));
    assert_eq!((DEFAULT_BUFFER_SIZE, DEFAULT_CIPHER_SIZE), (16 << 10, 17 << 10));
    assert_eq!((DEFAULT_HEADER_SIZE, MAX_HEADER_SIZE), (1024, 1024));
    assert_eq!((MAX_BUFFER_SIZE, MAX_CIPHER_SIZE), (5 << 20, 5 << 20));
    assert_eq!((MAX_SNAPSHOT_SIZE, SAFE_PREALLOC), (u32::MAX - 1, 16 << 20));
    assert_eq!((ENTROPY_KEY_LEN, ENTROPY_IV_LEN), (16, 16));
    assert_eq!(DEFAULT_ENTROPY_PORT, 8105);
    assert_eq!(DEFAULT_RECON_INTERVAL, Duration::from_secs(300));
}

#[test]
fn a_configuration_has_the_published_fields() {
    let listen_addr: SocketAddr = ([127, 0, 0, 1], 0).into();
    let config = EntropyConfig {
        key_file: path("key"),
        iv_file: path("iv"),
        listen_addr,
        send_addr: None,
        peer_endpoint: "127.0.0.1:8105".into(),
        buffer_size: DEFAULT_BUFFER_SIZE,
        header_size: DEFAULT_HEADER_SIZE,
        encrypt: true,
        ..EntropyConfig::default()
    };
    config.validate().expect("allowed");
    for (buffer_size, header_size, encrypt, allowed) in [
        (0, 8, true, false),
        (15, 8, true, false),
        (MAX_BUFFER_SIZE + 1, 8, true, false),
        (16, 7, true, false),
        (16, 1025, true, false),
        // The padded chunk must fit the peer's limit.
        (MAX_BUFFER_SIZE, 8, true, false),
        (MAX_BUFFER_SIZE - 16, 8, true, true),
        (MAX_BUFFER_SIZE, 8, false, true),
        (15, 1024, false, true),
    ] {
        let protocol = Protocol::Classic;
        let config =
            EntropyConfig { buffer_size, header_size, encrypt, protocol, ..config.clone() };
        let outcome: EntropyResult<()> = config.validate();
        assert_eq!(outcome.is_ok(), allowed, "{buffer_size} {header_size} {encrypt}");
        assert!(allowed || matches!(outcome, Err(EntropyError::Config(_))));
    }
}

/// A source and a sink as an embedder writes them.
struct Own;

impl SnapshotSource for Own {
    fn snapshot(&self) -> Result<Vec<u8>, EntropyError> {
        Err(EntropyError::Source("none today".into()))
    }
}

impl SnapshotSink for Own {
    fn apply(&self, snapshot: &[u8]) -> Result<(), EntropyError> {
        match snapshot {
            b"good" => Ok(()),
            _ => Err(EntropyError::Sink("not this one".into())),
        }
    }
}

#[test]
fn senders_and_receivers_work_as_published() {
    let classic = EntropyConfig { protocol: Protocol::Classic, ..config() };
    let sink: BoxedSnapshotSink = boxed_sink(MemorySink::new());
    let receiver = EntropyReceiver::bind(classic.clone(), sink).expect("listens");
    let address: SocketAddr = receiver.local_addr().expect("bound");
    let sending = EntropyConfig { peer_endpoint: address.to_string(), ..classic.clone() };
    let source: BoxedSnapshotSource = boxed_source(StaticSnapshot::new(plaintext(100)));
    let sender = EntropySender::new(sending.clone(), source).expect("valid");
    let client = thread::spawn(move || (sender.run(), sender.push(b"pushed")));
    assert_eq!(receiver.accept_one().expect("serves").bytes, 100);
    assert_eq!(receiver.accept_one().expect("serves").bytes, 6);
    let (run, push) = client.join().expect("ends");
    assert!(run.is_ok() && push.is_ok());

    // `run` is `bind` and `accept_loop`; a sink that fails is the sink's error.
    let own = EntropyReceiver::bind(classic.clone(), boxed_sink(Own)).expect("listens");
    let sending = EntropyConfig {
        peer_endpoint: own.local_addr().expect("bound").to_string(),
        ..classic.clone()
    };
    let sender = EntropySender::new(sending, boxed_source(Own)).expect("valid");
    let client = thread::spawn(move || (sender.push(b"good"), sender.push(b"bad"), sender.run()));
    assert!(own.accept_one().is_ok());
    assert!(matches!(own.accept_one(), Err(EntropyError::Sink(_))));
    let (good, bad, none) = client.join().expect("ends");
    assert!(good.is_ok() && matches!(bad, Err(EntropyError::Protocol(_))));
    assert!(matches!(none, Err(EntropyError::Source(_))));
    let run: fn(EntropyConfig, BoxedSnapshotSink) -> EntropyResult<()> = EntropyReceiver::run;
    let missing = EntropyConfig { key_file: PathBuf::from("/nonexistent"), ..classic };
    assert!(matches!(run(missing, boxed_sink(Own)), Err(EntropyError::KeyMaterial(_))));

    let stop = own.stopper().expect("bound");
    let serving = thread::spawn(move || own.accept_loop());
    stop.stop();
    assert!(serving.join().expect("ends").is_ok());
}

#[test]
fn headers_go_to_the_wire_and_come_back() {
    let header = NegotiationHeader::new(16, 64).expect("allowed");
    let bytes: [u8; 20] = header.to_wire();
    assert_eq!(NegotiationHeader::from_wire(&bytes).expect("valid"), header);
    assert_eq!((header.buffer_size, header.header_size, header.cipher_size), (16, 64, 1040));
    let header = SnapshotHeader { total_len: 7, encrypt: true };
    assert_eq!(header.to_wire(64).len(), 64);
    assert_eq!(SnapshotHeader::from_wire(&header.to_wire(64)).expect("valid"), header);
    let mut wrong = bytes;
    wrong[0] = 0;
    assert!(matches!(NegotiationHeader::from_wire(&wrong), Err(EntropyError::Protocol(_))));
}

#[test]
fn secrets_are_loaded_used_and_never_shown() {
    let loaded: EntropyMaterial = load_material(&path("key"), &path("iv")).expect("readable");
    let made = EntropyMaterial {
        key: EntropyKey::from_bytes(*b"0123456789012345"),
        iv: EntropyIv::from_bytes(*b"abcdefghijklmnop"),
    };
    let chunk = encrypt_chunk(&loaded, b"bytes");
    assert_eq!(chunk, encrypt_chunk(&made, b"bytes"));
    assert_eq!(decrypt_chunk(&material(), &chunk).expect("opens"), b"bytes");
    assert!(matches!(decrypt_chunk(&made, &chunk[..15]), Err(EntropyError::Crypto(_))));
    assert!(!format!("{loaded:?}").contains("0123"));
}

#[test]
fn redis_and_the_driver_are_there() {
    // Nobody listens: both name the address.
    let nobody = "127.0.0.1:1";
    let source: Arc<dyn StreamingSource> = Arc::new(RedisLocalSnapshot::new(nobody));
    assert!(source.open().expect_err("refused").to_string().contains(nobody));
    let sink: Arc<dyn StreamingSink> = Arc::new(RedisReplaySink::new(nobody));
    let error = sink.begin(None).map(|_| ()).expect_err("refused");
    assert!(error.to_string().contains(nobody));

    let peer = ReconPeer { endpoint: nobody.into(), node: None };
    let source = NodeSource::new(nobody);
    let outcome = reconcile_with_peer(&config(), &material(), &source, &peer, &mut None);
    assert!(matches!(outcome, Err(EntropyError::Source(_))));
    let driver = EntropyDriver::new(config(), source, vec![peer]).expect("valid");
    let mut driver = driver.interval(Duration::from_secs(1)).expect("allowed");
    let cycle: ReconCycle = driver.cycle();
    assert_eq!((cycle.outcomes.len(), cycle.repaired()), (1, 0));
    drop(driver.start().expect("a thread"));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let listen_addr = taken.local_addr().expect("bound");
    let config = EntropyConfig { listen_addr, ..config() };
    let error = EntropyReceiver::bind(config, boxed_sink(Own)).expect_err("taken");
    assert!(error.to_string().contains(&format!("cannot listen on {listen_addr}")), "{error}");
    assert!(TcpStream::connect(listen_addr).is_ok());
}
