//! The reconciliation channel of a running node: a receiver into its store, and a driver that keeps
//! peers up to date with what the node has. Both reach the node as in-process clients do.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use quorate_entropy::{
    DriverHandle, EntropyConfig, EntropyDriver, EntropyMaterial, EntropyReceiver, NodeSink,
    NodeSource, ReceiverStop, load_material,
};
use quorate_node::{StartError, config::ChannelSettings, node::Node};
use quorate_proto::Unfit;

use crate::limits::ENTROPY_STOP_PATIENCE;
use crate::{client::Clients, net::clock::Clock};

/// What runs of the channel; nothing when none is configured.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    receiver: Option<Receiver>,
    driver: Option<DriverHandle>,
}

#[derive(Debug)]
struct Receiver {
    address: SocketAddr,
    stop: ReceiverStop,
    thread: JoinHandle<()>,
}

/// What can fail at the start for a reason outside of the program, done before anything runs.
pub(crate) struct Prepared {
    listener: Option<TcpListener>,
    material: EntropyMaterial,
}

impl Prepared {
    /// Takes the socket and reads the secret.
    pub(crate) fn new(settings: &ChannelSettings) -> Result<Self, StartError> {
        let EntropyConfig { key_file, iv_file, .. } = settings.receiving();
        let material = load_material(&key_file, &iv_file)?;
        let listener = settings.listen.map(|address| {
            let key = "entropy.listen";
            TcpListener::bind(address).map_err(|error| StartError::Listen { key, address, error })
        });
        Ok(Self { listener: listener.transpose()?, material })
    }
}

impl Channel {
    /// Begins to serve, and to go through the peers once the node is ready.
    pub(crate) fn start(
        node: &Arc<Node>,
        prepared: Option<Prepared>,
        clients: &Clients,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let (Some(settings), Some(prepared)) = (node.settings.channel(), prepared) else {
            return Ok(Self::default());
        };
        let Prepared { listener, material } = prepared;
        let mut channel = Self::default();
        if let Some(listener) = listener {
            let (sink, tally) =
                (NodeSink::here(Arc::new(clients.clone())), Arc::clone(&node.channel));
            let (config, sink) = (settings.receiving(), Arc::new(sink));
            let receiver =
                EntropyReceiver::listening(listener, config, material.clone(), sink, tally);
            channel.receiver = Some(Receiver::start(receiver)?);
        }
        if !settings.peers.is_empty() {
            let source = NodeSource::here(Arc::new(clients.clone()));
            let (config, peers) = (settings.sending(), settings.peers.clone());
            let driver = EntropyDriver::with_material(config, material, source, peers)?;
            let driver = driver.interval(settings.recon_interval)?;
            let (watched, counted) = (Arc::clone(node), Arc::clone(node));
            let started = driver.start_when(
                move || {
                    !watched.metrics().fitness.is(Unfit::CatchingUp) && watched.footing().founded
                },
                move |cycle, took| counted.channel.add(cycle, took, clock.now().wall_ms()),
            );
            channel.driver = Some(started?);
        }
        Ok(channel)
    }

    /// Where snapshots are received.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.receiver.as_ref().map(|receiver| receiver.address)
    }

    /// Whether everything that was started runs.
    pub(crate) fn is_running(&self) -> bool {
        self.receiver.as_ref().is_none_or(|receiver| !receiver.thread.is_finished())
            && self.driver.as_ref().is_none_or(DriverHandle::is_running)
    }
}

impl Receiver {
    fn start(receiver: EntropyReceiver) -> Result<Self, StartError> {
        let (address, stop) = (receiver.local_addr()?, receiver.stopper()?);
        let name = "quorate-receiver".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || {
            if let Err(error) = receiver.accept_loop() {
                tracing::error!(%error, "the receiver of snapshots ended");
            }
        })?;
        Ok(Self { address, stop, thread })
    }
}

impl Drop for Receiver {
    /// Accepts nobody any more and breaks off what is under way: merging again does no harm.
    fn drop(&mut self) {
        self.stop.abort();
        if !self.stop.wait_idle(ENTROPY_STOP_PATIENCE) {
            tracing::warn!("a snapshot was still being merged when the node stopped");
        }
    }
}
