//! The in-process client.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_channel::oneshot;
use quorate_entropy::{self as entropy, Here};
use quorate_proto::resp::{Command, reply::Value};

use crate::{
    call_error::CallError,
    net::{directory::ToShard, mailbox::Mailbox},
};

/// A client of a node in the same process. Clones share one session, as threads would share a
/// connection: commands are executed in the order in which `run` was called.
///
/// Futures do not depend on an executor.
#[derive(Clone, Debug)]
pub struct Client {
    session: Arc<Session>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    mailbox: Arc<Mailbox<ToShard>>,
}

impl Client {
    /// Runs a command given as its words, the name first, at the level and with the deadline of the
    /// session. Whatever a server would reply as an error is a [`CallError`], which says what is
    /// known of the effect; errors inside of arrays stay values.
    ///
    /// Dropping the future does not undo the command: it is carried out all the same.
    pub async fn run<I>(&self, words: I) -> Result<Value, CallError>
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        let Pending(receiver) = self.send(Command::from_args(words));
        let reply = receiver.await.map_err(|_| CallError::Stopped)?;
        CallError::classify(decode(&reply))
    }

    /// Sends a command whose reply is waited for later.
    pub(crate) fn send(&self, command: Command) -> Pending {
        let (waiter, receiver) = oneshot::channel();
        let client = self.session.number;
        self.session.mailbox.send(ToShard::Call { client, command, waiter });
        Pending(receiver)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.mailbox.send(ToShard::Gone { client: self.number });
    }
}

fn decode(reply: &[u8]) -> Value {
    match Value::decode(reply) {
        Ok(Some((value, _))) => value,
        Ok(None) | Err(_) => unreachable!("invariant: the node encodes whole replies"),
    }
}

/// A reply on its way.
#[derive(Debug)]
pub(crate) struct Pending(oneshot::Receiver<Bytes>);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Pending {
    /// Waits on this thread; `None` when `patience` has run out.
    pub(crate) fn wait(mut self, patience: Duration) -> Result<Option<Value>, CallError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let deadline = Instant::now() + patience;
        loop {
            match Pin::new(&mut self.0).poll(&mut context) {
                Poll::Ready(Ok(reply)) => return Ok(Some(decode(&reply))),
                Poll::Ready(Err(oneshot::Canceled)) => return Err(CallError::Stopped),
                Poll::Pending => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::park_timeout(left);
        }
    }
}

/// Opens clients of one node, each a session of its own.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    shards: Arc<Vec<Arc<Mailbox<ToShard>>>>,
    next: Arc<AtomicU64>,
}

impl Clients {
    pub(crate) fn new(shards: Arc<Vec<Arc<Mailbox<ToShard>>>>) -> Self {
        Self { shards, next: Arc::default() }
    }

    /// A client whose session lives on one of the shards, in turns.
    pub(crate) fn open(&self) -> Client {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let home = (number % self.shards.len() as u64) as usize;
        let mailbox = Arc::clone(&self.shards[home]);
        Client { session: Arc::new(Session { number, mailbox }) }
    }
}

impl Here for Clients {
    fn open(&self) -> Box<dyn entropy::Session> {
        Box::new(InOrder { client: self.open(), waiting: VecDeque::new() })
    }
}

/// A client whose replies are waited for in the order of its commands.
struct InOrder {
    client: Client,
    waiting: VecDeque<Pending>,
}

impl entropy::Session for InOrder {
    fn send(&mut self, command: &Command) {
        self.waiting.push_back(self.client.send(command.clone()));
    }

    fn reply(&mut self, patience: Duration) -> io::Result<Option<Value>> {
        let pending = self.waiting.pop_front();
        let pending = pending.ok_or_else(|| io::Error::other("no reply is on its way"))?;
        pending.wait(patience).map_err(io::Error::other)
    }
}
