//! Version 2 on loopback, with somebody in between.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use quorate_entropy::{
    BoxedStreamingSource, EntropyConfig, EntropyError, EntropyReceiver, EntropyResult,
    EntropySender, MemorySink, Patience, Protocol, ReaderSource, Received, Sent, SinkStream,
    SnapshotSink, StaticSnapshot, StreamingSink, boxed_sink, boxed_source,
};
use support::{config, plaintext, serve};

const HELLO: usize = 44;
const PROOF: usize = 32;

fn receiver(config: EntropyConfig) -> (EntropyReceiver, MemorySink) {
    let sink = MemorySink::new();
    (EntropyReceiver::bind(config, boxed_sink(sink.clone())).expect("listens"), sink)
}

fn sender(config: EntropyConfig, peer: SocketAddr) -> EntropySender {
    let config = EntropyConfig { peer_endpoint: peer.to_string(), ..config };
    EntropySender::new(config, boxed_source(StaticSnapshot::default())).expect("valid")
}

/// Sends `bytes` to `receiver` through `through`; gives what both sides say.
fn transfer(
    receiver: &EntropyReceiver,
    sender: EntropySender,
    bytes: &[u8],
) -> (EntropyResult<Sent>, EntropyResult<Received>) {
    let bytes = bytes.to_vec();
    let sending = thread::spawn(move || sender.push(&bytes));
    let received = receiver.accept_one();
    (sending.join().expect("ends"), received)
}

/// Somebody between the two sides, who changes what either says.
fn between(
    target: SocketAddr,
    forward: impl FnOnce(TcpStream, TcpStream) + Send + 'static,
    backward: impl FnOnce(TcpStream, TcpStream) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let (near, _) = listener.accept().expect("accepts");
        let far = TcpStream::connect(target).expect("dials");
        let clone = |stream: &TcpStream| stream.try_clone().expect("cloned");
        let (from, to) = (clone(&far), clone(&near));
        thread::spawn(move || backward(from, to));
        forward(near, far);
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Passes everything on as it comes, up to byte `end`, and flips a bit of byte `at`.
fn relay(mut from: TcpStream, mut to: TcpStream, at: usize, end: usize) {
    let (mut buffer, mut passed) = (vec![0; 4096], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = &mut buffer[..count.min(end - passed)];
        if let Some(byte) = at.checked_sub(passed).and_then(|at| bytes.get_mut(at)) {
            *byte ^= 0x10;
        }
        passed += bytes.len();
        if to.write_all(bytes).is_err() || passed == end {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn flip(at: usize) -> impl FnOnce(TcpStream, TcpStream) + Send {
    move |from, to| relay(from, to, at, usize::MAX)
}

fn cut(end: usize) -> impl FnOnce(TcpStream, TcpStream) + Send {
    move |from, to| relay(from, to, usize::MAX, end)
}

#[test]
fn snapshots_of_any_size_arrive_and_are_acknowledged() {
    let (receiver, sink) = receiver(config());
    let address = receiver.local_addr().expect("bound");
    for length in [0, 1, 65_535, 65_536, 65_537, 262_144, 3_000_000] {
        let bytes = plaintext(length);
        let (sent, received) = transfer(&receiver, sender(config(), address), &bytes);
        let sent = sent.expect("acknowledged");
        assert_eq!((sent.bytes, sent.acknowledged), (length as u64, true));
        let received = received.expect("applied");
        assert_eq!((received.bytes, received.protocol), (length as u64, Protocol::V2));
        assert!(sink.snapshots().pop() == Some(bytes));
    }
}

#[test]
fn a_stream_of_unknown_length_arrives_whole() {
    let (receiver, sink) = receiver(config());
    let peer_endpoint = receiver.local_addr().expect("bound").to_string();
    let bytes = plaintext(1_000_000);
    let reader = std::io::Cursor::new(bytes.clone());
    let source: BoxedStreamingSource = Arc::new(ReaderSource::new(reader, None));
    let config = EntropyConfig { peer_endpoint, ..config() };
    let sender = EntropySender::streaming(config, source).expect("valid");
    let sending = thread::spawn(move || (sender.run(), sender.run()));
    receiver.accept_one().expect("applied");
    let (first, second) = sending.join().expect("ends");
    assert!(first.expect("sent").bytes == 1_000_000 && sink.snapshots() == [bytes]);
    assert!(matches!(second, Err(EntropyError::Source(_))), "a stream can be read once");
}

#[test]
fn another_secret_is_refused_by_both_sides() {
    let swapped =
        EntropyConfig { key_file: support::path("iv"), iv_file: support::path("key"), ..config() };
    let (receiver, sink) = receiver(config());
    let address = receiver.local_addr().expect("bound");
    let (sent, received) = transfer(&receiver, sender(swapped, address), b"secret");
    let error = sent.expect_err("refused").to_string();
    assert!(error.contains("another secret"), "{error}");
    assert!(matches!(received, Err(EntropyError::Crypto(_))), "{received:?}");
    assert!(sink.snapshots().is_empty());
}

#[test]
fn a_receiver_without_the_secret_learns_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("bound");
    let impostor = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepts");
        let mut hello = [0; HELLO];
        stream.read_exact(&mut hello).expect("reads");
        stream.write_all(&hello).expect("writes");
        let mut proof = [0; PROOF];
        stream.read_exact(&mut proof).expect("reads");
        // The best that it has: what the sender said itself.
        stream.write_all(&proof).expect("writes");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        rest
    });
    let error = sender(config(), address).push(b"secret").expect_err("refused");
    assert!(matches!(error, EntropyError::Crypto(_)), "{error}");
    assert!(impostor.join().expect("ends").is_empty(), "no byte of the snapshot");
}

#[test]
fn what_is_changed_on_the_way_is_not_applied() {
    // A changed length makes the receiver wait for what never comes.
    let short = Duration::from_millis(500);
    let patience = Patience { idle: short, handshake: short, ..Patience::default() };
    let config = || EntropyConfig { patience, ..config() };
    let (receiver, sink) = receiver(config());
    let target = receiver.local_addr().expect("bound");
    let begin = HELLO + PROOF;
    let data = begin + 5 + 8 + 16;
    let end = data + 5 + 1000 + 16;
    for at in [0, 4, 6, 8, 12, 43, HELLO, begin - 1, begin, begin + 4, begin + 5, data - 1]
        .into_iter()
        .chain([data, data + 2, data + 5, data + 500, end - 1, end, end + 5, end + 5 + 8 + 15])
    {
        let through = between(target, flip(at), pass);
        let (sent, received) = transfer(&receiver, sender(config(), through), &plaintext(1000));
        assert!(sent.is_err(), "byte {at}: {sent:?}");
        let timed_out = |error: &EntropyError| error.to_string().contains("too slow");
        match received.expect_err("refused") {
            EntropyError::Crypto(_) => {}
            EntropyError::Protocol(_) => assert!(at < data + 5 || at >= end, "byte {at}"),
            // A longer record than the one sent: only its end is missing.
            error => assert!(timed_out(&error) && at == data + 2, "byte {at}: {error}"),
        }
        assert!(sink.snapshots().is_empty(), "byte {at}");
    }
}

#[test]
fn a_changed_answer_is_no_acknowledgement() {
    let (receiver, _sink) = receiver(config());
    let target = receiver.local_addr().expect("bound");
    for at in [0, 5, 12, HELLO, HELLO + PROOF, HELLO + PROOF + 5, HELLO + PROOF + 5 + 8 + 15] {
        let through = between(target, pass, flip(at));
        let (sent, _received) = transfer(&receiver, sender(config(), through), b"bytes");
        assert!(sent.is_err(), "byte {at}: {sent:?}");
    }
}

#[test]
fn a_recorded_session_cannot_be_replayed() {
    let (receiver, sink) = receiver(config());
    let target = receiver.local_addr().expect("bound");
    let recorded: Arc<Mutex<Vec<u8>>> = Arc::default();
    let tape = Arc::clone(&recorded);
    let record = move |mut from: TcpStream, mut to: TcpStream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            tape.lock().expect("locks").extend_from_slice(&buffer[..count]);
            let _ = to.write_all(&buffer[..count]);
        }
        let _ = to.shutdown(Shutdown::Write);
    };
    let through = between(target, record, pass);
    let (sent, received) = transfer(&receiver, sender(config(), through), b"once");
    assert!(sent.is_ok() && received.is_ok());
    let tape = recorded.lock().expect("locks").clone();
    assert!(tape.len() > HELLO + PROOF);
    let replay = thread::spawn(move || {
        let mut stream = TcpStream::connect(target).expect("dials");
        let _ = stream.write_all(&tape);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert!(matches!(receiver.accept_one(), Err(EntropyError::Crypto(_))));
    replay.join().expect("ends");
    assert_eq!(sink.snapshots(), [b"once"]);
}

#[test]
fn a_cut_stream_is_not_applied() {
    let (receiver, sink) = receiver(config());
    let target = receiver.local_addr().expect("bound");
    for length in [1, HELLO, HELLO + 10, HELLO + PROOF, HELLO + PROOF + 40, HELLO + PROOF + 1050] {
        let through = between(target, cut(length), pass);
        let (sent, received) = transfer(&receiver, sender(config(), through), &plaintext(1000));
        assert!(sent.is_err() && received.is_err(), "cut at {length}");
        assert!(sink.snapshots().is_empty(), "cut at {length}");
    }
}

#[test]
fn nobody_is_talked_down_to_the_classic_protocol() {
    let classic = EntropyConfig { protocol: Protocol::Classic, ..config() };
    let any = EntropyConfig { protocol: Protocol::Any, ..config() };
    let (strict, strict_sink) = receiver(config());
    let address = strict.local_addr().expect("bound");
    let (sent, received) = transfer(&strict, sender(classic.clone(), address), b"x");
    let text = "protocol: magic 0x64640001 (classic); allowed here: version 2";
    assert_eq!(received.expect_err("refused").to_string(), text);
    assert!(sent.is_err() && strict_sink.snapshots().is_empty());

    let (lenient, sink) = receiver(any.clone());
    let address = lenient.local_addr().expect("bound");
    for config in [classic, any, config()] {
        let (sent, received) = transfer(&lenient, sender(config, address), b"x");
        assert!(sent.is_ok() && received.is_ok());
    }
    assert_eq!(sink.snapshots().len(), 3);
    // Changing the magic on the way only breaks the session, also where both are allowed.
    let magic = |mut from: TcpStream, mut to: TcpStream| {
        let mut word = [0; 4];
        if from.read_exact(&mut word).is_ok() {
            let _ = to.write_all(&[0x64, 0x64, 0, 1]);
            pass(from, to);
        }
    };
    let through = between(address, magic, pass);
    let (sent, received) = transfer(&lenient, sender(config(), through), b"x");
    assert!(sent.is_err() && received.is_err());
    assert_eq!(sink.snapshots().len(), 3);
}

struct Full;

impl SnapshotSink for Full {
    fn apply(&self, _snapshot: &[u8]) -> EntropyResult<()> {
        Err(EntropyError::Sink("the disk is full".into()))
    }
}

#[test]
fn the_sender_hears_why_nothing_was_applied() {
    let receiver = EntropyReceiver::bind(config(), boxed_sink(Full)).expect("listens");
    let address = receiver.local_addr().expect("bound");
    let (sent, received) = transfer(&receiver, sender(config(), address), &plaintext(200_000));
    let error = sent.expect_err("refused").to_string();
    assert_eq!(error, "sink: the receiver refused: sink: the disk is full");
    assert!(matches!(received, Err(EntropyError::Sink(_))));
}

/// Counts bytes, and fails when it has a mebibyte.
#[derive(Clone, Default)]
struct Failing(Arc<AtomicU64>);

struct FailingStream(Failing);

impl StreamingSink for Failing {
    fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        Ok(Box::new(FailingStream(self.clone())))
    }
}

impl SinkStream for FailingStream {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        match self.0.0.fetch_add(bytes.len() as u64, Ordering::SeqCst) {
            0..0x10_0000 => Ok(()),
            _ => Err(EntropyError::Sink("enough".into())),
        }
    }

    fn finish(self: Box<Self>) -> EntropyResult<()> {
        Ok(())
    }

    fn abort(self: Box<Self>) {}
}

#[test]
fn a_sink_that_fails_midway_is_heard_of() {
    let receiver = EntropyReceiver::streaming(config(), Arc::new(Failing::default()));
    let receiver = receiver.expect("listens");
    let address = receiver.local_addr().expect("bound");
    let (sent, _) = transfer(&receiver, sender(config(), address), &plaintext(40 << 20));
    let error = sent.expect_err("refused").to_string();
    assert_eq!(error, "sink: the receiver refused: sink: enough");
}

#[test]
fn several_senders_are_served_at_a_time() {
    let sink = MemorySink::new();
    let wrapped = boxed_sink(sink.clone());
    struct Shared(quorate_entropy::BoxedSnapshotSink);
    struct Piece(quorate_entropy::BoxedSnapshotSink, Vec<u8>);
    impl StreamingSink for Shared {
        fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
            Ok(Box::new(Piece(Arc::clone(&self.0), Vec::new())))
        }
    }
    impl SinkStream for Piece {
        fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
            self.1.extend_from_slice(bytes);
            Ok(())
        }
        fn finish(self: Box<Self>) -> EntropyResult<()> {
            self.0.apply(&self.1)
        }
        fn abort(self: Box<Self>) {}
    }
    let (address, stop) = serve(config(), Arc::new(Shared(wrapped)));
    // One that has proved nothing and says nothing must not be in the way.
    let _silent = TcpStream::connect(address).expect("dials");
    let senders: Vec<_> = (0..8)
        .map(|number: u8| {
            thread::spawn(move || sender(config(), address).push(&vec![number; 500_000]))
        })
        .collect();
    for sender in senders {
        assert!(sender.join().expect("ends").expect("acknowledged").acknowledged);
    }
    let mut firsts: Vec<u8> = sink
        .snapshots()
        .iter()
        .map(|snapshot| {
            assert!(snapshot.len() == 500_000 && snapshot.iter().all(|byte| *byte == snapshot[0]));
            snapshot[0]
        })
        .collect();
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2, 3, 4, 5, 6, 7]);
    stop.stop();
}

#[test]
fn nothing_shows_the_secret() {
    let (receiver, _sink) = receiver(config());
    let sender = sender(config(), receiver.local_addr().expect("bound"));
    for shown in [format!("{receiver:?}"), format!("{sender:?}")] {
        assert!(!shown.contains("0123456789") && !shown.contains("abcdef"), "{shown}");
        assert!(!shown.contains("48, 49, 50"), "{shown}");
    }
}

#[test]
fn a_writer_takes_one_snapshot_at_a_time() {
    let sink = quorate_entropy::WriterSink::new(Vec::new());
    let first = sink.begin(None).expect("free");
    assert!(sink.begin(None).is_err(), "pieces would mix");
    first.abort();
    sink.begin(None).expect("free again").finish().expect("flushes");
    assert!(sink.begin(None).is_ok());
}
