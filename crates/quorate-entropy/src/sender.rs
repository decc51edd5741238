//! The side that dials and sends.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::Arc,
};

use socket2::{Domain, Socket, Type};

use super::{
    BoxedSnapshotSource, BoxedStreamingSource, EntropyConfig, EntropyError, EntropyMaterial,
    EntropyResult, Snapshot, StaticSnapshot, boxed_source,
    channel::{Channel, Link as _},
    classic,
    connections::Connections,
    error::config,
    meter::Meter,
    parts::{Lengths, Part, Parts},
    sealed,
    source::Whole,
    wire::MAX_SNAPSHOT_SIZE,
};

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the snapshot.
    pub bytes: u64,
    /// Connections it took: more than one only for what the classic protocol cannot send in one.
    pub connections: u64,
    /// Whether the receiver has confirmed that the snapshot is applied. The classic protocol has
    /// no such message: there, only a receiver that breaks off is noticed.
    pub acknowledged: bool,
}

/// Sends snapshots of a source to one peer.
pub struct EntropySender {
    config: EntropyConfig,
    material: EntropyMaterial,
    source: BoxedStreamingSource,
    meter: Meter,
    part_max: u32,
    connections: Connections,
}

impl std::fmt::Debug for EntropySender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntropySender").field("config", &self.config).finish_non_exhaustive()
    }
}

impl EntropySender {
    /// A sender of whole snapshots. Reads the secret.
    ///
    /// # Errors
    /// `Config` and `KeyMaterial`.
    pub fn new(config: EntropyConfig, source: BoxedSnapshotSource) -> EntropyResult<Self> {
        Self::streaming(config, Arc::new(Whole(source)))
    }

    /// A sender of streamed snapshots. Reads the secret.
    ///
    /// # Errors
    /// `Config` and `KeyMaterial`.
    pub fn streaming(config: EntropyConfig, source: BoxedStreamingSource) -> EntropyResult<Self> {
        let material = config.load_material()?;
        Self::with_material(config, material, source)
    }

    /// A sender with a secret that does not come from files.
    ///
    /// # Errors
    /// `Config`.
    pub fn with_material(
        config: EntropyConfig,
        material: EntropyMaterial,
        source: BoxedStreamingSource,
    ) -> EntropyResult<Self> {
        config.validate()?;
        let (meter, part_max) = (Meter::new(), MAX_SNAPSHOT_SIZE);
        let connections = Connections::default();
        Ok(Self { config, material, source, meter, part_max, connections })
    }

    /// Makes its connections part of these.
    pub(super) fn among(mut self, connections: &Connections) -> Self {
        self.connections = connections.clone();
        self
    }

    /// Cuts what the classic protocol sends after this many bytes, instead of after
    /// [`MAX_SNAPSHOT_SIZE`]. A stream of Redis commands is cut between commands, before that if it
    /// can be.
    #[must_use]
    pub fn part_size(mut self, bytes: u32) -> Self {
        self.part_max = bytes.clamp(1, MAX_SNAPSHOT_SIZE);
        self
    }

    /// Counts the bytes sent, while they are.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// The receiver's `host:port`.
    pub fn peer(&self) -> &str {
        &self.config.peer_endpoint
    }

    /// Takes a snapshot of the source and sends it.
    ///
    /// # Errors
    /// Any. After `Sink` the receiver has refused and says why. After another error during a
    /// transfer it has discarded what it could; it is safe to send again.
    pub fn run(&self) -> EntropyResult<Sent> {
        self.transfer(self.source.open()?)
    }

    /// Sends these bytes instead of a snapshot of the source.
    ///
    /// # Errors
    /// As [`EntropySender::run`].
    pub fn push(&self, snapshot: &[u8]) -> EntropyResult<Sent> {
        let source = Whole(boxed_source(StaticSnapshot::new(snapshot)));
        self.transfer(super::StreamingSource::open(&source)?)
    }

    fn transfer(&self, snapshot: Snapshot) -> EntropyResult<Sent> {
        if self.config.protocol.v2() {
            let mut channel = self.dial()?;
            let sent =
                sealed::send(&mut channel, &self.config, &self.material, snapshot, &self.meter);
            return Ok(Sent { bytes: sent?, connections: 1, acknowledged: true });
        }
        let part_max = u64::from(self.part_max);
        if let Some(length) = snapshot.length.filter(|length| *length <= part_max) {
            self.part(snapshot.reader, length)?;
            return Ok(Sent { bytes: length, connections: 1, acknowledged: false });
        }
        let mut sent = Sent { bytes: 0, connections: 0, acknowledged: false };
        let lengths = Lengths { wanted: part_max, most: u64::from(MAX_SNAPSHOT_SIZE) };
        for part in Parts::of(snapshot, lengths)? {
            let Part { reader, length } = part?;
            self.part(reader, length)?;
            sent.bytes += length;
            sent.connections += 1;
        }
        Ok(sent)
    }

    /// Sends one snapshot of the classic protocol; `length` is within its limit.
    fn part(&self, reader: Box<dyn std::io::Read + Send>, length: u64) -> EntropyResult<()> {
        let mut channel = self.dial()?;
        let Self { config, material, .. } = self;
        let total = length as u32;
        classic::send(&mut channel, config, material, reader, total, &self.meter)?;
        channel.stage("the peer's end", config.patience.acknowledge)?;
        match channel.read(&mut [0]) {
            // A peer that says anything knows more than the protocol; it has not broken off.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                let text = "the peer broke the connection off: it refused the snapshot or failed";
                Err(EntropyError::Protocol(text.into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn dial(&self) -> EntropyResult<Channel> {
        let EntropyConfig { peer_endpoint, send_addr, patience, .. } = &self.config;
        let named = |why: String| config(format!("peer_endpoint {peer_endpoint}: {why}"));
        let addresses: Vec<SocketAddr> =
            peer_endpoint.to_socket_addrs().map_err(|error| named(error.to_string()))?.collect();
        let mut last = named("no address".into());
        for address in addresses {
            match connect(address, *send_addr, patience.connect) {
                Ok(stream) => return Ok(Channel::new(stream, &self.connections)?),
                Err(error) => {
                    let text = format!("cannot connect to {address}: {error}");
                    last = std::io::Error::new(error.kind(), text).into();
                }
            }
        }
        Err(last)
    }
}

fn connect(
    address: SocketAddr,
    from: Option<SocketAddr>,
    patience: std::time::Duration,
) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    socket.connect_timeout(&address.into(), patience)?;
    Ok(socket.into())
}
