//! The in-process client.

use std::sync::Arc;

use futures_channel::oneshot;
use quorate_proto::resp::{Command, reply::Value};

use crate::{
    net::mailbox::Mailbox,
    shard::{EmbeddedAction, EmbeddedCommand, Mail},
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
    mailbox: Arc<Mailbox<Mail>>,
}

/// Why a command has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The node has stopped. The command may or may not have taken effect.
    #[error("the node has stopped; the command may or may not have taken effect")]
    Stopped,
}

impl Client {
    pub(crate) fn new(number: u64, mailbox: Arc<Mailbox<Mail>>) -> Self {
        Self { session: Arc::new(Session { number, mailbox }) }
    }

    /// Runs a command given as its words, the name first. Errors that a server would reply are
    /// values: [`Value::Error`].
    pub async fn run<I>(&self, words: I) -> Result<Value, ClientError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let (sender, receiver) = oneshot::channel();
        let command = EmbeddedAction::Run(Command::from_args(words), sender);
        self.session
            .mailbox
            .send(Mail::Embedded(EmbeddedCommand { client: self.session.number, command }));
        let reply = receiver.await.map_err(|_| ClientError::Stopped)?;
        match Value::decode(&reply) {
            Ok(Some((value, _))) => Ok(value),
            Ok(None) | Err(_) => unreachable!("invariant: the node encodes whole replies"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let command = EmbeddedAction::Close;
        self.mailbox.send(Mail::Embedded(EmbeddedCommand { client: self.number, command }));
    }
}
