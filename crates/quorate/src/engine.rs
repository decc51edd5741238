//! Starting and stopping a node inside a process.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Sender},
    thread::{Builder, JoinHandle},
};

use futures_channel::oneshot;
use mio::{Poll, Waker};
use quorate_cluster::{membership, topology::TopologyError};
use quorate_store::disk::{Disk, RealDisk};

use crate::{
    channel::{Channel, Prepared},
    client::{Client, Clients},
    config::{ConfigError, ConfigErrors, Settings, SyncPolicy},
    descriptors,
    entropy::{EntropyError, NodeSink, NodeSource},
    identity::{Claim, DataDirectoryError, Identity},
    net::{
        Listeners, WAKE,
        clock::Clock,
        control_loop::ControlLoop,
        directory::{Directory, ToControl, ToShard},
        listener,
        mailbox::Mailbox,
        resolver::Resolver,
        shard_loop::{self, ShardLoop},
        syncer::{self, Order},
    },
    node::Sizes,
    reactor::{Control, Reactor},
    startup::{self, Addresses, Seeds, Started},
};

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Keys of the configuration are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// The configuration does not fit the cluster that the data belongs to.
    #[error(transparent)]
    Membership(#[from] membership::StartError),
    /// The member list in the data directory is impossible.
    #[error("the member list in the data directory is impossible: {0}")]
    Topology(#[from] TopologyError),
    /// The address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {error}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// Records of the log are lost and no replica has them.
    #[error(
        "the log is damaged and no other replica can fill in what is missing: {0}; \
         accept_damaged_log: true starts with what can still be read"
    )]
    DamagedLog(String),
    /// The reconciliation channel.
    #[error("entropy: {0}")]
    Entropy(#[from] EntropyError),
    /// There are too few descriptors for the node and one client.
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFew),
    /// Anything else that the operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(ConfigErrors(vec![error]))
    }
}

/// A running node.
///
/// Dropping it stops the node and waits for that, as [`Engine::stop`] does; an error is logged then.
#[derive(Debug)]
pub struct Engine {
    client_address: SocketAddr,
    cluster_address: SocketAddr,
    peer_address: SocketAddr,
    name: String,
    clients: Clients,
    /// `None` once it is being stopped.
    running: Option<Running>,
}

/// The threads of a running node, and what ends them.
#[derive(Debug)]
struct Running {
    directory: Directory,
    threads: Vec<JoinHandle<io::Result<()>>>,
    syncer: (Sender<Order>, JoinHandle<()>),
    scrubber: (Sender<Order>, JoinHandle<()>),
    /// `None` when everything is in memory.
    data_dir: Option<PathBuf>,
    channel: Channel,
}

impl Engine {
    /// Starts a node: recovers its data, listens, and looks for its cluster.
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
    pub fn start_blocking(mut settings: Settings) -> Result<Self, StartError> {
        settings.validate()?;
        let limit = descriptors::raise_limit();
        settings.maxclients = descriptors::fit_clients(settings.maxclients, &settings, 1, limit)?;
        let disk: Arc<dyn Disk> =
            if settings.memory { startup::memory_disk() } else { Arc::new(RealDisk) };
        let data_dir = settings.durable_dir().map(Path::to_path_buf);
        let directory = data_dir.clone().unwrap_or_else(|| PathBuf::from("/memory"));
        let seeds = Seeds::random()?;
        let claim = Claim {
            name: settings.name.clone(),
            shards: settings.shards,
            new_id: seeds.node_id,
            boot: startup::boot(),
            seed: seeds.start,
            unsynced: settings.sync != SyncPolicy::Always,
            lock: data_dir.is_some(),
        };
        let listen = |key, address| {
            listener::open(address, settings.shards).map_err(|error| StartError::Listen {
                key,
                address,
                error,
            })
        };
        // First: a node that is started again and again because its address is taken uses up nothing.
        let clients = listen("listen", settings.listen)?;
        let peers = listen("peer_listen", settings.peer_address()?)?;
        let cluster_clients = match settings.cluster_address()? {
            Some(address) => listen("cluster_listen", address)?,
            None => Vec::new(),
        };
        let prepared = settings.channel().map(Prepared::new).transpose()?;
        let identity = Identity::open(Arc::clone(&disk), &directory, claim)?;
        let client_address = clients[0].local_addr()?;
        let peer_address = peers[0].local_addr()?;
        let cluster_address = match cluster_clients.first() {
            Some(listener) => listener.local_addr()?,
            None => client_address,
        };

        let clock = Clock::start();
        let addresses = Addresses {
            clients: advertised(&settings, client_address),
            cluster_clients: advertised(&settings, cluster_address),
            peers: advertised(&settings, peer_address),
        };
        let sizes = Sizes::default();
        let origin = startup::Origin {
            settings,
            disk,
            directory,
            sizes,
            seeds,
            now: clock.now(),
            make_topology: startup::new_topology,
        };
        let Started { node, identity, membership, storages } =
            startup::start(origin, identity, addresses)?;
        node.limit_descriptors(limit);
        let name = identity.name().to_owned();

        let shards = usize::from(node.settings.shards);
        let polls: Vec<Poll> = (0..shards).map(|_| Poll::new()).collect::<io::Result<_>>()?;
        let control_poll = Poll::new()?;
        let mailboxes = polls
            .iter()
            .map(|poll| Ok(Arc::new(Mailbox::new(Waker::new(poll.registry(), WAKE)?))))
            .collect::<io::Result<Vec<Arc<Mailbox<ToShard>>>>>()?;
        let control = Mailbox::new(Waker::new(control_poll.registry(), WAKE)?);
        let directory = Directory {
            shards: Arc::new(mailboxes),
            control: Arc::new(control),
            resolver: Resolver::new(),
        };

        let (syncer, scrubber) = (syncer::start("quorate-sync")?, syncer::start("quorate-scrub")?);
        let mut threads = Vec::new();
        let loops = storages.into_iter().zip(polls).zip(clients.into_iter().zip(peers)).zip(0..);
        let mut cluster_clients = cluster_clients.into_iter();
        for (((storage, poll), (clients, peers)), id) in loops {
            let mut reactor = Reactor::new(clock.now(), id, Arc::clone(&node), storage);
            reactor.use_stopwatch(Box::new(move || clock.monotonic()));
            let parts = shard_loop::Parts {
                reactor,
                poll,
                clock,
                listeners: Listeners { clients, cluster_clients: cluster_clients.next(), peers },
                directory: directory.clone(),
                syncer: syncer.0.clone(),
                scrubber: scrubber.0.clone(),
            };
            let shard_loop = ShardLoop::new(parts)?;
            threads.push(spawn(format!("quorate-{id}"), move || shard_loop.run())?);
        }
        let clients = Clients::new(Arc::clone(&directory.shards));
        let channel = Channel::start(&node, prepared, &clients, clock)?;
        let control = Control::new(membership, identity, node, startup::new_topology);
        let control_loop = ControlLoop::new(control, control_poll, clock, directory.clone());
        threads.push(spawn("quorate-control".into(), move || control_loop.run())?);
        let running = Running { directory, threads, syncer, scrubber, data_dir, channel };
        let running = Some(running);
        Ok(Self { client_address, cluster_address, peer_address, name, clients, running })
    }

    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where cluster clients connect; where others do, when there is no port for them.
    pub fn cluster_address(&self) -> SocketAddr {
        self.cluster_address
    }

    /// Where other nodes connect.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
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
        self.running.as_ref()?.channel.address()
    }

    /// What the node holds, to be sent by an [`EntropySender`](crate::entropy::EntropySender).
    pub fn snapshot_source(&self) -> NodeSource {
        NodeSource::here(self.clients.clone())
    }

    /// Merges snapshots of an [`EntropyReceiver`](crate::entropy::EntropyReceiver) into the node.
    pub fn snapshot_sink(&self) -> NodeSink {
        NodeSink::here(self.clients.clone())
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

impl Running {
    fn stop(self) -> io::Result<()> {
        // First, while the node still answers it.
        drop(self.channel);
        self.directory.shards.iter().for_each(|shard| shard.send(ToShard::Stop));
        self.directory.control.send(ToControl::Stop);
        let mut outcome = Ok(());
        for thread in self.threads {
            let ended =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a shard has panicked")));
            outcome = outcome.and(ended);
        }
        let ((syncs, syncer), (scrubs, scrubber)) = (self.syncer, self.scrubber);
        drop((syncs, scrubs));
        let _ = (syncer.join(), scrubber.join());
        outcome?;
        if let Some(directory) = self.data_dir
            && let Err(error) = Identity::record_clean_stop(Arc::new(RealDisk), &directory)
        {
            tracing::warn!(%error, "everything is synced, but that could not be written down");
        }
        Ok(())
    }

    fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished()) && self.channel.is_running()
    }
}

fn spawn(
    name: String,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    Builder::new().name(name.clone()).spawn(move || {
        run().inspect_err(|error| tracing::error!(%name, %error, "a thread of the node ended"))
    })
}

/// The address that others are told for one that is listened on.
fn advertised(settings: &Settings, address: SocketAddr) -> String {
    match &settings.advertise {
        Some(host) => format!("{host}:{}", address.port()),
        None => address.to_string(),
    }
}
