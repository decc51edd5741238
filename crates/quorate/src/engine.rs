//! Starting and stopping a node inside a process.

use std::{io, net::SocketAddr, path::Path, sync::Arc, thread::Builder};

use futures_channel::oneshot;
use quorate_entropy::{NodeSink, NodeSource};
use quorate_log::disk::{Disk, RealDisk};
use quorate_node::{
    StartError,
    config::{SeedSource, Settings, SyncPolicy},
    descriptors,
    identity::{Claim, Identity},
    node::Sizes,
    startup::{self, Seeds},
};

use crate::{
    channel::Prepared,
    client::{Client, Clients},
    net::{
        Bound, Sockets,
        clock::Clock,
        loading,
        seeds::{self, SeedProvider},
    },
    running::Running,
};

/// A running node.
///
/// Dropping it stops the node and waits for that, as [`Engine::stop`] does; an error is logged
/// then.
#[derive(Debug)]
pub struct Engine {
    bound: Bound,
    name: String,
    clients: Clients,
    /// `None` once it is being stopped.
    running: Option<Running>,
}

impl Engine {
    /// Starts a node: listens, recovers its data, and looks for its cluster.
    ///
    /// Clients that connect while data is recovered are answered `LOADING`, when that takes long.
    ///
    /// It raises the process's soft limit on open files to the hard one, and serves fewer clients
    /// than `maxclients` when that is still too low.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let (sender, receiver) = oneshot::channel();
        // Recovery takes as long as the disk does; the caller's executor must not wait for it.
        Builder::new().name("quorate-start".into()).spawn(move || {
            let _ = sender.send(Self::start_blocking(settings));
        })?;
        receiver.await.unwrap_or_else(|_| {
            Err(StartError::Io(io::Error::other("the start ended without a result")))
        })
    }

    /// Starts a node as [`Engine::start`] does, and blocks until it serves.
    pub fn start_blocking(settings: Settings) -> Result<Self, StartError> {
        Self::start_with(settings, Vec::new())
    }

    /// Starts a node that finds others through what the program around it knows besides its
    /// settings, and blocks until it serves.
    pub fn start_with(
        mut settings: Settings,
        providers: Vec<Box<dyn SeedProvider>>,
    ) -> Result<Self, StartError> {
        settings.seeds.extend(providers.iter().map(|provider| seeds::provided(provider.name())));
        settings.validate()?;
        check_providers(&settings, &providers)?;
        settings.cluster_secret = settings.load_secret()?;
        if settings.cluster_secret.is_none() {
            tracing::warn!("{OPEN}");
        }
        let limit = descriptors::raise_limit();
        settings.maxclients = descriptors::fit_clients(settings.maxclients, &settings, 1, limit)?;
        let disk: Arc<dyn Disk> =
            if settings.memory { startup::memory_disk() } else { Arc::new(RealDisk) };
        let directory = settings.durable_dir().unwrap_or(Path::new("/memory")).to_path_buf();
        let mut random = [0; Seeds::BYTES];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let seeds = Seeds::new(&random);
        let claim = Claim {
            name: settings.name.clone(),
            shards: settings.shards,
            new_id: seeds.node_id,
            boot: boot(),
            seed: seeds.start,
            unsynced: settings.sync != SyncPolicy::Always,
            lock: settings.durable_dir().is_some(),
        };
        // First: a node that is started again and again because its address is taken uses up
        // nothing.
        let mut sockets = Sockets::open(&settings)?;
        let prepared = settings.channel().map(Prepared::new).transpose()?;
        let identity = Identity::open(Arc::clone(&disk), &directory, claim)?;
        let bound = sockets.addresses()?;
        let clock = Clock::start();
        let addresses = bound.advertised(&settings);
        let origin = startup::Origin {
            settings,
            disk,
            directory,
            sizes: Sizes::default(),
            seeds,
            now: clock.now(),
            make_topology: startup::new_topology,
        };
        let recover = || startup::start(origin, identity, addresses);
        let started = loading::answer_during(&mut sockets, clock, recover)??;
        started.node.limit_descriptors(limit);
        let name = started.identity.name().to_owned();
        let running = Running::start(started, prepared, sockets, clock, providers)?;
        let clients = running.clients().clone();
        Ok(Self { bound, name, clients, running: Some(running) })
    }

    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.bound.clients
    }

    /// Where cluster clients connect; where others do, when there is no port for them.
    pub fn cluster_address(&self) -> SocketAddr {
        self.bound.cluster_clients
    }

    /// Where other nodes connect.
    pub fn peer_address(&self) -> SocketAddr {
        self.bound.peers
    }

    /// The name of the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client inside the process: the same commands with the same meaning, without a wire.
    pub fn client(&self) -> Client {
        self.clients.open()
    }

    /// Where snapshots are received, when they are.
    pub fn entropy_address(&self) -> Option<SocketAddr> {
        self.running.as_ref()?.entropy_address()
    }

    /// What the node holds, to be sent by an [`EntropySender`](quorate_entropy::EntropySender).
    pub fn snapshot_source(&self) -> NodeSource {
        NodeSource::here(Arc::new(self.clients.clone()))
    }

    /// Merges snapshots of an [`EntropyReceiver`](quorate_entropy::EntropyReceiver) into the node.
    pub fn snapshot_sink(&self) -> NodeSink {
        NodeSink::here(Arc::new(self.clients.clone()))
    }

    /// Stops the node: requests under way are finished, everything acknowledged is synced.
    pub async fn shutdown(self) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        Builder::new().name("quorate-stop".into()).spawn(move || {
            let _ = sender.send(self.stop());
        })?;
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the stop ended without a result")))
    }

    /// Stops the node, blocking until it has stopped; see [`Engine::shutdown`].
    pub fn stop(mut self) -> io::Result<()> {
        self.running.take().map_or(Ok(()), Running::stop)
    }

    /// Whether every thread of the node is still running. One that is not has hit an error that
    /// it could not serve with; the node should be stopped.
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_running)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.running.take().map(Running::stop) {
            tracing::error!(name = %self.name, %error, "a node that was dropped did not stop in order");
        }
    }
}

/// A seed that nobody names would be waited for in vain.
fn check_providers(
    settings: &Settings,
    providers: &[Box<dyn SeedProvider>],
) -> Result<(), StartError> {
    for seed in &settings.seeds {
        if let Some(SeedSource::Embedder(name)) = SeedSource::parse(seed)
            && providers.iter().filter(|provider| provider.name() == name).count() != 1
        {
            let text =
                format!("seeds: '{seed}' is not allowed: it takes one SeedProvider of that name");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
        }
    }
    Ok(())
}

/// What a node without a cluster secret says when it starts.
const OPEN: &str = "this cluster is open: whoever reaches the peer port can read and write everything. \
                    Set cluster_secret_file or QUORATE_CLUSTER_SECRET on every node";

/// What tells this boot of the machine from others; `None` where the system does not say.
fn boot() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
