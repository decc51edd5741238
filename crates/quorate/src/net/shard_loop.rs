//! The thread of a shard: the turns of its reactor.

use std::{
    io,
    sync::{Arc, mpsc::Sender},
};

use mio::{Events, Poll, Token, event::Event};
use quorate_cluster::time::Instant;
use quorate_node::reactor::{ConnectionId, Job, Machine as _, Output, Owner, Reactor};

use super::{
    accepting::{self, Listeners},
    clock::Clock,
    directory::{Directory, PassedOn, Resolved, ToControl, ToShard},
    in_process::InProcess,
    mailbox::Mailbox,
    sockets::{Sockets, WAKE},
    syncer::Order,
};
use crate::limits::ACCEPT_PAUSE;

pub(crate) struct ShardLoop {
    reactor: Reactor,
    clock: Clock,
    sockets: Sockets,
    listeners: Listeners,
    /// When to accept again what could not be accepted for want of a descriptor: a listener tells
    /// of new connections only.
    accept_again: Option<Instant>,
    in_process: InProcess,
    mailbox: Arc<Mailbox<ToShard>>,
    directory: Directory,
    syncer: Sender<Order>,
    scrubber: Sender<Order>,
    worker: Sender<Order>,
    searcher: Sender<Order>,
    /// Mail of this turn to the other shards, by shard.
    outbox: Vec<Vec<ToShard>>,
}

/// What a shard's loop is made of.
pub(crate) struct Parts {
    pub(crate) reactor: Reactor,
    pub(crate) poll: Poll,
    pub(crate) clock: Clock,
    pub(crate) listeners: Listeners,
    pub(crate) directory: Directory,
    pub(crate) syncer: Sender<Order>,
    pub(crate) scrubber: Sender<Order>,
    pub(crate) worker: Sender<Order>,
    pub(crate) searcher: Sender<Order>,
}

impl ShardLoop {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts {
            reactor,
            poll,
            clock,
            mut listeners,
            directory,
            syncer,
            scrubber,
            worker,
            searcher,
        } = parts;
        listeners.register(poll.registry())?;
        Ok(Self {
            clock,
            sockets: Sockets::new(poll, clock),
            listeners,
            accept_again: None,
            in_process: InProcess::default(),
            mailbox: Arc::clone(&directory.shards[usize::from(reactor.id())]),
            outbox: directory.shards.iter().map(|_| Vec::new()).collect(),
            reactor,
            directory,
            syncer,
            scrubber,
            worker,
            searcher,
        })
    }

    /// Runs until the shard is told to stop. Everything acknowledged is on disk afterwards.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let outcome = self.turns();
        self.mailbox.close();
        outcome
    }

    fn turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut letters = Vec::new();
        loop {
            let next = self.reactor.poll_timeout();
            let next = self.accept_again.map_or(next, |again| again.min(next));
            self.sockets.wait(&mut events, next.since(self.clock.monotonic()))?;
            let now = self.clock.now();
            self.reactor.begin_turn(now);
            for event in &events {
                self.handle_event(event);
            }
            if self.accept_again.is_some_and(|again| again <= now.monotonic) {
                self.accept_again = None;
                accepting::LISTENERS.into_iter().for_each(|listener| self.accept(listener));
            }
            self.sockets.go_on(&mut self.reactor);
            self.mailbox.take(&mut letters);
            letters.drain(..).for_each(|letter| self.open(letter));
            self.reactor.handle_timeout(self.clock.now());
            self.reactor.end_turn(self.clock.now())?;
            while let Some(output) = self.reactor.poll_output() {
                self.perform(output);
            }
            for (shard, mail) in self.directory.shards.iter().zip(&mut self.outbox) {
                shard.send_all(mail);
            }
            if self.reactor.has_stopped(now) {
                return self.reactor.close();
            }
        }
    }

    fn handle_event(&mut self, event: &Event) {
        match event.token() {
            WAKE => {}
            listener if accepting::LISTENERS.contains(&listener) => self.accept(listener),
            _ => self.sockets.handle_event(&mut self.reactor, event),
        }
    }

    fn accept(&mut self, listener: Token) {
        while let Some(accepted) = self.listeners.accept(listener) {
            match accepted {
                Ok((stream, arrival)) => self.sockets.accept(&mut self.reactor, stream, arrival),
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted; again in a second");
                    self.accept_again = Some(self.clock.monotonic() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn open(&mut self, letter: ToShard) {
        let now = self.clock.now();
        let Self { reactor, sockets, in_process, .. } = self;
        match letter {
            ToShard::Mail(mail) => reactor.handle_mail(now, mail),
            ToShard::Done(done) => reactor.handle_done(done),
            ToShard::Call { client, command, waiter } => {
                in_process.call(reactor, now, client, &command, waiter);
            }
            ToShard::Gone { client } => in_process.gone(reactor, now, client),
            ToShard::Socket(passed_on) => sockets.accept_passed_on(reactor, passed_on),
            ToShard::Resolved(resolved) => sockets.resolved(reactor, resolved),
            ToShard::Stop => reactor.handle_stop(now),
        }
    }

    fn perform(&mut self, output: Output) {
        let (mailbox, resolver) = (&self.mailbox, &self.directory.resolver);
        let look_up = |connection: ConnectionId, address: &str| {
            let mailbox = Arc::clone(mailbox);
            let answer =
                move |address| mailbox.send(ToShard::Resolved(Resolved { connection, address }));
            resolver.resolve(address, Box::new(answer));
        };
        match self.sockets.perform(&mut self.reactor, output, look_up) {
            Some(Output::Send(connection)) => {
                self.in_process.deliver(&mut self.reactor, connection);
            }
            Some(Output::Close(connection)) => self.in_process.close(connection),
            Some(Output::PassOn { connection, to, link }) => {
                let Some(socket) = self.sockets.take(connection) else { return };
                let passed_on = PassedOn { socket, link };
                match to {
                    Owner::Control => self.directory.control.send(ToControl::Socket(passed_on)),
                    Owner::Shard(shard) => {
                        self.outbox[usize::from(shard)].push(ToShard::Socket(passed_on));
                    }
                }
            }
            Some(Output::Run(job)) => {
                let thread = match job {
                    Job::Sync { .. } => &self.syncer,
                    Job::Scrub(_) => &self.scrubber,
                    Job::Work(_) | Job::Drop(_) => &self.worker,
                    Job::Inquire(_) | Job::Think(_) => &self.searcher,
                };
                // These threads end after those of the shards.
                let _ = thread.send((job, Arc::clone(&self.mailbox)));
            }
            Some(Output::Mail { shard, mail }) => {
                self.outbox[usize::from(shard)].push(ToShard::Mail(mail));
            }
            Some(Output::Control(mail)) => self.directory.control.send(ToControl::Mail(mail)),
            Some(Output::Dial { .. } | Output::Read(_)) | None => {}
        }
    }
}
