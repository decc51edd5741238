//! The threads of a running node.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc::Sender},
    thread::{Builder, JoinHandle},
};

use mio::{Poll, Waker};
use quorate_log::disk::RealDisk;
use quorate_node::{
    StartError,
    identity::Identity,
    process::resident_bytes,
    reactor::{Control, Reactor},
    startup::{self, Started},
};

use crate::{
    channel::{Channel, Prepared},
    client::Clients,
    net::{
        Sockets, WAKE,
        clock::Clock,
        control_loop::ControlLoop,
        directory::{Directory, ToControl, ToShard},
        mailbox::Mailbox,
        resolver::Resolver,
        seeds::{self, Asking, SeedProvider},
        shard_loop::{self, ShardLoop},
        syncer::{self, Order},
    },
};

/// The threads of a running node, and what ends them.
#[derive(Debug)]
pub(crate) struct Running {
    directory: Directory,
    clients: Clients,
    /// Those of the shards, and that of the membership.
    loops: Vec<JoinHandle<io::Result<()>>>,
    syncer: Worker,
    scrubber: Worker,
    worker: Worker,
    searcher: Worker,
    channel: Channel,
    asking: Asking,
    /// `None` when everything is in memory.
    data_dir: Option<PathBuf>,
}

/// A thread that works until nobody orders anything more.
type Worker = (Sender<Order>, JoinHandle<()>);

impl Running {
    /// Runs what was started. After an error no thread is left.
    pub(crate) fn start(
        started: Started,
        prepared: Option<Prepared>,
        sockets: Sockets,
        clock: Clock,
        providers: Vec<Box<dyn SeedProvider>>,
    ) -> Result<Self, StartError> {
        let polls = started.storages.iter().map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let control_poll = Poll::new()?;
        let shards = polls.iter().map(mailbox).collect::<io::Result<Vec<_>>>()?;
        let directory = Directory {
            shards: Arc::new(shards),
            control: mailbox(&control_poll)?,
            resolver: Resolver::new(),
        };
        let mut running = Self {
            clients: Clients::new(Arc::clone(&directory.shards)),
            directory,
            loops: Vec::new(),
            syncer: syncer::start("quorate-sync")?,
            scrubber: syncer::start("quorate-scrub")?,
            worker: syncer::start("quorate-work")?,
            searcher: syncer::start("quorate-search")?,
            channel: Channel::default(),
            asking: Asking::default(),
            data_dir: started.node.settings.durable_dir().map(Into::into),
        };
        let settings = started.node.settings.clone();
        let outcome = running
            .spawn_loops(started, prepared, sockets, clock, (polls, control_poll))
            .and_then(|()| Ok(seeds::start(&settings, providers, &running.directory.control)?));
        match outcome {
            Ok(asking) => Ok(Self { asking, ..running }),
            Err(error) => {
                // Why it did not start matters more than how it stopped.
                let _ = running.stop();
                Err(error)
            }
        }
    }

    fn spawn_loops(
        &mut self,
        started: Started,
        prepared: Option<Prepared>,
        sockets: Sockets,
        clock: Clock,
        (polls, control_poll): (Vec<Poll>, Poll),
    ) -> Result<(), StartError> {
        let Started { node, identity, membership, storages } = started;
        let shards = storages.into_iter().zip(polls).zip(sockets.by_shard()).zip(0..);
        for (((storage, poll), listeners), id) in shards {
            let mut reactor = Reactor::new(clock.now(), id, Arc::clone(&node), storage);
            reactor.use_stopwatch(Box::new(move || clock.monotonic()));
            let shard_loop = ShardLoop::new(shard_loop::Parts {
                reactor,
                poll,
                clock,
                listeners,
                directory: self.directory.clone(),
                syncer: self.syncer.0.clone(),
                scrubber: self.scrubber.0.clone(),
                worker: self.worker.0.clone(),
                searcher: self.searcher.0.clone(),
            })?;
            self.loops.push(spawn(format!("quorate-{id}"), move || shard_loop.run())?);
        }
        self.channel = Channel::start(&node, prepared, &self.clients, clock)?;
        let mut control = Control::new(membership, identity, node, startup::new_topology);
        control.use_memory(resident_bytes);
        let control_loop = ControlLoop::new(control, control_poll, clock, self.directory.clone());
        let directory = self.directory.clone();
        self.loops.push(spawn("quorate-control".into(), move || {
            let ended = control_loop.run();
            if ended.is_err() {
                // Such as one that has left: no client is to be served as if nothing was.
                directory.shards.iter().for_each(|shard| shard.send(ToShard::Stop));
            }
            ended
        })?);
        Ok(())
    }

    /// Ends them: requests under way are finished, everything acknowledged is synced.
    pub(crate) fn stop(self) -> io::Result<()> {
        // First, while the node still answers it.
        drop(self.channel);
        drop(self.asking);
        self.directory.shards.iter().for_each(|shard| shard.send(ToShard::Stop));
        self.directory.control.send(ToControl::Stop);
        let mut outcome = Ok(());
        for thread in self.loops {
            let ended =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a shard has panicked")));
            outcome = outcome.and(ended);
        }
        for (orders, thread) in [self.syncer, self.scrubber, self.worker, self.searcher] {
            drop(orders);
            let _ = thread.join();
        }
        outcome?;
        if let Some(directory) = self.data_dir
            && let Err(error) = Identity::record_clean_stop(Arc::new(RealDisk), &directory)
        {
            tracing::warn!(%error, "everything is synced, but that could not be written down");
        }
        Ok(())
    }

    /// Whether every thread still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.loops.iter().all(|thread| !thread.is_finished()) && self.channel.is_running()
    }

    /// Those inside the process.
    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Where snapshots are received, when they are.
    pub(crate) fn entropy_address(&self) -> Option<SocketAddr> {
        self.channel.address()
    }
}

fn mailbox<T>(poll: &Poll) -> io::Result<Arc<Mailbox<T>>> {
    Ok(Arc::new(Mailbox::new(Waker::new(poll.registry(), WAKE)?)))
}

fn spawn(
    name: String,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    Builder::new().name(name.clone()).spawn(move || {
        run().inspect_err(|error| tracing::error!(%name, %error, "a thread of the node ended"))
    })
}
