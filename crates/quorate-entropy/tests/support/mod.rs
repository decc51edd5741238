//! What the tests of the reconciliation channel share.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::{net::SocketAddr, path::PathBuf, thread};

use quorate_entropy::{
    BoxedStreamingSink, EntropyConfig, EntropyIv, EntropyKey, EntropyMaterial, EntropyReceiver,
    ReceiverStop,
};

/// A file beside the vectors.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

/// A stream that `openssl` has encrypted.
pub fn vector(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.bin"))).expect("committed")
}

/// What the vectors hold.
pub fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

/// The secret of the vectors.
pub fn material() -> EntropyMaterial {
    EntropyMaterial {
        key: EntropyKey::from_bytes(*b"0123456789012345"),
        iv: EntropyIv::from_bytes(*b"abcdefghijklmnop"),
    }
}

/// Version 2 on a free port, with the secret of the vectors.
pub fn config() -> EntropyConfig {
    EntropyConfig {
        key_file: path("key"),
        iv_file: path("iv"),
        listen_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..EntropyConfig::default()
    }
}

/// A receiver that serves until it is stopped.
pub fn serve(config: EntropyConfig, sink: BoxedStreamingSink) -> (SocketAddr, ReceiverStop) {
    let receiver = EntropyReceiver::streaming(config, sink).expect("listens");
    let address = receiver.local_addr().expect("bound");
    let stop = receiver.stopper().expect("bound");
    thread::spawn(move || receiver.accept_loop());
    (address, stop)
}
