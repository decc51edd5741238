//! How threads reach a shard: a queue and a bell.

use std::sync::{Mutex, PoisonError};

use mio::Waker;

/// A queue of messages to one event loop.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    /// `None` once the loop has ended: what is sent then is dropped.
    queue: Mutex<Option<Vec<M>>>,
    waker: Waker,
}

impl<M> Mailbox<M> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { queue: Mutex::new(Some(Vec::new())), waker }
    }

    /// Delivers a message.
    pub(crate) fn send(&self, message: M) {
        self.send_all(&mut vec![message]);
    }

    /// Delivers all messages of a turn at once.
    pub(crate) fn send_all(&self, messages: &mut Vec<M>) {
        if messages.is_empty() {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *queue else {
            messages.clear();
            return;
        };
        let asleep = open.is_empty();
        open.append(messages);
        drop(queue);
        // Whoever finds the queue filled has been woken already. A loop that is gone needs none.
        if asleep {
            let _ = self.waker.wake();
        }
    }

    /// Takes everything that has arrived, into an empty `messages`.
    pub(crate) fn take(&self, messages: &mut Vec<M>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut *queue {
            std::mem::swap(open, messages);
        }
    }

    /// The loop has ended: drops what has arrived and whatever comes.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
