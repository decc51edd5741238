//! The side that listens and applies.

use std::{
    io::{self, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    BoxedSnapshotSink, BoxedStreamingSink, EntropyConfig, EntropyError, EntropyMaterial,
    EntropyResult, Protocol,
    channel::{Channel, Link as _},
    classic,
    connections::Connections,
    error::{protocol, reading},
    meter::Meter,
    sealed,
    sink::Whole,
    tally::Tally,
    wire::{ENTROPY_MAGIC, ENTROPY_MAGIC_V2, wrong_magic},
};

/// How long a refused peer may go on sending before it is cut off, so that it can read why.
const FAREWELL: Duration = Duration::from_secs(2);

/// Pause after an accept that failed, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A snapshot that was received and applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub peer: SocketAddr,
    /// Its length in bytes.
    pub bytes: u64,
    /// How it came: `Classic` or `V2`.
    pub protocol: Protocol,
}

/// Receives snapshots and applies them to a sink.
pub struct EntropyReceiver {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    config: EntropyConfig,
    material: EntropyMaterial,
    sink: BoxedStreamingSink,
    meter: Meter,
    tally: Arc<Tally>,
    active: AtomicUsize,
    connections: Connections,
    stopping: AtomicBool,
}

/// Ends an [`EntropyReceiver::accept_loop`] from another thread.
#[derive(Clone)]
pub struct ReceiverStop {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl std::fmt::Debug for EntropyReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntropyReceiver")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ReceiverStop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiverStop").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ReceiverStop {
    /// Accepts nobody any more. Transfers under way go on to their end.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let _ = TcpStream::connect_timeout(&address, FAREWELL);
    }

    /// Stops, and breaks transfers under way off: their senders may send again.
    pub fn abort(&self) {
        self.shared.connections.break_off();
        self.stop();
    }

    /// Waits until no transfer is under way any more, but not longer than `patience`. Returns
    /// whether that is so.
    pub fn wait_idle(&self, patience: Duration) -> bool {
        let start = Instant::now();
        while self.shared.active.load(Ordering::SeqCst) > 0 {
            if start.elapsed() > patience {
                return false;
            }
            thread::sleep(ACCEPT_PAUSE);
        }
        true
    }
}

impl EntropyReceiver {
    /// Listens with a sink of whole snapshots. Reads the secret.
    ///
    /// # Errors
    /// `Config`, `KeyMaterial`, and `Io` when the address cannot be listened on.
    pub fn bind(config: EntropyConfig, sink: BoxedSnapshotSink) -> EntropyResult<Self> {
        Self::streaming(config, Arc::new(Whole(sink)))
    }

    /// Listens with a streaming sink. Reads the secret.
    ///
    /// # Errors
    /// As [`EntropyReceiver::bind`].
    pub fn streaming(config: EntropyConfig, sink: BoxedStreamingSink) -> EntropyResult<Self> {
        let material = config.load_material()?;
        Self::with_material(config, material, sink)
    }

    /// Listens with a secret that does not come from files.
    ///
    /// # Errors
    /// `Config` and `Io`.
    pub fn with_material(
        config: EntropyConfig,
        material: EntropyMaterial,
        sink: BoxedStreamingSink,
    ) -> EntropyResult<Self> {
        config.validate()?;
        let address = config.listen_addr;
        let listener = TcpListener::bind(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        Ok(Self::listening(listener, config, material, sink, Arc::default()))
    }

    /// Serves on a socket that listens already; `config` has been validated.
    pub fn listening(
        listener: TcpListener,
        config: EntropyConfig,
        material: EntropyMaterial,
        sink: BoxedStreamingSink,
        tally: Arc<Tally>,
    ) -> Self {
        let shared = Shared {
            config,
            material,
            sink,
            meter: Meter::new(),
            tally,
            active: AtomicUsize::new(0),
            connections: Connections::default(),
            stopping: AtomicBool::new(false),
        };
        Self { listener, shared: Arc::new(shared) }
    }

    /// Listens and serves until the process ends.
    ///
    /// # Errors
    /// As [`EntropyReceiver::bind`]; failed transfers are logged.
    pub fn run(config: EntropyConfig, sink: BoxedSnapshotSink) -> EntropyResult<()> {
        Self::bind(config, sink)?.accept_loop()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// `Io`.
    pub fn local_addr(&self) -> EntropyResult<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Counts the bytes received, while they are.
    pub fn meter(&self) -> Meter {
        self.shared.meter.clone()
    }

    /// A way to end [`EntropyReceiver::accept_loop`].
    ///
    /// # Errors
    /// `Io`.
    pub fn stopper(&self) -> EntropyResult<ReceiverStop> {
        Ok(ReceiverStop { shared: Arc::clone(&self.shared), address: self.local_addr()? })
    }

    /// Waits for one connection and serves it to its end.
    ///
    /// # Errors
    /// Any. Nothing was applied, unless the error is of a sink that says otherwise.
    pub fn accept_one(&self) -> EntropyResult<Received> {
        let (stream, peer) = self.listener.accept()?;
        self.shared.serve(stream, peer)
    }

    /// Serves connections side by side, each on a thread of its own, until stopped. What becomes
    /// of each is logged: a refused peer harms nobody else.
    ///
    /// # Errors
    /// None that a peer can cause.
    pub fn accept_loop(&self) -> EntropyResult<()> {
        loop {
            let accepted = self.listener.accept();
            if self.shared.stopping.load(Ordering::SeqCst) {
                return Ok(());
            }
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr) {
        let place = Place::take(&self.shared);
        let Some(place) = place else {
            let most = self.shared.config.connections_max;
            tracing::warn!(%peer, most, "a connection was closed: all places are taken");
            return;
        };
        let name = "quorate-entropy".to_owned();
        let spawned = thread::Builder::new().name(name).spawn(move || {
            let _ = place.0.serve(stream, peer);
        });
        if let Err(error) = spawned {
            tracing::warn!(%peer, %error, "a connection was closed: no thread for it");
        }
    }
}

/// One of the places for connections; given back when dropped.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let most = shared.config.connections_max;
        let before = shared.active.fetch_add(1, Ordering::SeqCst);
        let place = Self(Arc::clone(shared));
        (before < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, peer: SocketAddr) -> EntropyResult<Received> {
        let outcome = self.receive(stream, peer);
        match &outcome {
            Ok(Received { bytes, protocol, .. }) => {
                self.tally.applied(*bytes);
                tracing::info!(%peer, bytes, ?protocol, "a snapshot was applied");
            }
            Err(error) => {
                self.tally.refused();
                tracing::warn!(%peer, %error, "a snapshot was refused");
            }
        }
        outcome
    }

    fn receive(&self, stream: TcpStream, peer: SocketAddr) -> EntropyResult<Received> {
        let Self { config, material, sink, meter, .. } = self;
        let mut channel = Channel::new(stream, &self.connections)?;
        channel.stage("the handshake", config.patience.handshake)?;
        let mut magic = [0; 4];
        let introduced = channel.read_exact(&mut magic).map_err(reading("the magic"));
        let chosen = introduced.and_then(|()| self.choose(u32::from_be_bytes(magic)));
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                channel.reset();
                return Err(error);
            }
        };
        let sink = &**sink;
        let outcome = match chosen {
            Protocol::V2 => sealed::receive(&mut channel, config, material, magic, sink, meter),
            _ => classic::receive(&mut channel, config, material, magic, sink, meter),
        };
        match outcome {
            Ok(bytes) => Ok(Received { peer, bytes, protocol: chosen }),
            Err(error) => {
                // The classic protocol has no refusal, so the connection is broken off instead of
                // closed; version 2 has said why, and waits a moment for the peer to read it.
                match chosen {
                    Protocol::V2 => channel.drain(FAREWELL),
                    _ => channel.reset(),
                }
                Err(error)
            }
        }
    }

    fn choose(&self, magic: u32) -> Result<Protocol, EntropyError> {
        let spoken = self.config.protocol;
        match magic {
            ENTROPY_MAGIC if spoken.classic() => Ok(Protocol::Classic),
            ENTROPY_MAGIC_V2 if spoken.v2() => Ok(Protocol::V2),
            ENTROPY_MAGIC => {
                let text = format!("magic 0x{magic:08x} (classic); allowed here: version 2");
                Err(protocol(text))
            }
            ENTROPY_MAGIC_V2 => {
                let text = format!("magic 0x{magic:08x} (version 2); allowed here: classic");
                Err(protocol(text))
            }
            _ => Err(wrong_magic(magic)),
        }
    }
}
