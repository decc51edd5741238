//! Connections under way, so that another thread can break them off.

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections of one receiver, sender or driver. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    closed: bool,
    next: u64,
    streams: HashMap<u64, TcpStream>,
}

/// A connection's place among those under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Entered {
    connections: Connections,
    number: u64,
}

impl Connections {
    /// Adds a connection.
    ///
    /// # Errors
    /// `ConnectionAborted` once they have been broken off.
    pub(super) fn enter(&self, stream: &TcpStream) -> io::Result<Entered> {
        let stream = stream.try_clone()?;
        let mut open = self.lock();
        if open.closed {
            let text = "the channel is being stopped";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        }
        let number = open.next;
        open.next += 1;
        open.streams.insert(number, stream);
        Ok(Entered { connections: self.clone(), number })
    }

    /// Breaks all of them off: whoever reads or writes gets an error. None is added from now on.
    pub(super) fn break_off(&self) {
        let mut open = self.lock();
        open.closed = true;
        for stream in open.streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether they have been broken off.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.lock().streams.remove(&self.number);
    }
}
