//! The thread of the membership: the turns of its [`Control`].

use std::{io, sync::Arc};

use mio::{Events, Poll};
use quorate_node::reactor::{ConnectionId, Control, Machine as _, Output};

use super::{
    clock::Clock,
    directory::{Directory, Resolved, ToControl, ToShard},
    mailbox::Mailbox,
    sockets::{Sockets, WAKE},
};

pub(crate) struct ControlLoop {
    control: Control,
    clock: Clock,
    sockets: Sockets,
    mailbox: Arc<Mailbox<ToControl>>,
    directory: Directory,
}

impl ControlLoop {
    pub(crate) fn new(control: Control, poll: Poll, clock: Clock, directory: Directory) -> Self {
        let mailbox = Arc::clone(&directory.control);
        Self { control, clock, sockets: Sockets::new(poll, clock), mailbox, directory }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut letters = Vec::new();
        self.control.handle_listening(self.clock.now());
        loop {
            let now = self.clock.now();
            self.control.begin_turn(now);
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.sockets.handle_event(&mut self.control, event);
            }
            self.sockets.go_on(&mut self.control);
            self.mailbox.take(&mut letters);
            for letter in letters.drain(..) {
                match letter {
                    ToControl::Mail(mail) => self.control.handle_mail(now, mail),
                    ToControl::Seeds { source, addresses } => {
                        self.control.handle_seeds(now, &source, &addresses);
                    }
                    ToControl::Socket(passed_on) => {
                        self.sockets.accept_passed_on(&mut self.control, passed_on);
                    }
                    ToControl::Resolved(resolved) => {
                        self.sockets.resolved(&mut self.control, resolved);
                    }
                    ToControl::Stop => return Ok(()),
                }
            }
            self.control.handle_timeout(now);
            self.control.end_turn(now)?;
            while let Some(output) = self.control.poll_output() {
                self.perform(output);
            }
            let next = self.control.poll_timeout();
            self.sockets.wait(&mut events, next.since(self.clock.monotonic()))?;
        }
    }

    fn perform(&mut self, output: Output) {
        let (mailbox, resolver) = (&self.mailbox, &self.directory.resolver);
        let look_up = |connection: ConnectionId, address: &str| {
            let mailbox = Arc::clone(mailbox);
            let answer =
                move |address| mailbox.send(ToControl::Resolved(Resolved { connection, address }));
            resolver.resolve(address, Box::new(answer));
        };
        let rest = self.sockets.perform(&mut self.control, output, look_up);
        if let Some(Output::Mail { shard, mail }) = rest {
            self.directory.shards[usize::from(shard)].send(ToShard::Mail(mail));
        }
    }
}
