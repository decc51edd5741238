//! A connection that does not wait for ever.
//!
//! A peer that says nothing, and one that says one byte at a time, are the same to it: only time
//! spent waiting counts, and it starts afresh whenever [`PROGRESS_BYTES`] have moved.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use super::connections::{Connections, Entered};

/// What must move within the patience.
const PROGRESS_BYTES: usize = 64 << 10;

/// What a protocol is received from: a [`Channel`], or bytes in a test.
pub(super) trait Link: Read + Write {
    /// Begins a stage, in which the peer may take so long.
    fn stage(&mut self, stage: &'static str, patience: Duration) -> io::Result<()>;
}

pub(super) struct Channel {
    stream: TcpStream,
    patience: Duration,
    waited: Duration,
    moved: usize,
    /// What the peer is waited for, for the error.
    stage: &'static str,
    _entered: Entered,
}

impl Channel {
    /// A channel over `stream`, which is one of `connections` as long as the channel exists.
    pub(super) fn new(stream: TcpStream, connections: &Connections) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (patience, waited) = (Duration::MAX, Duration::ZERO);
        let _entered = connections.enter(&stream)?;
        Ok(Self { stream, patience, waited, moved: 0, stage: "", _entered })
    }

    /// Nothing more will be sent.
    pub(super) fn end(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Closes so that the peer sees a reset instead of an orderly end.
    pub(super) fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads and forgets for a moment, so that what was sent last is not lost in a reset.
    pub(super) fn drain(mut self, patience: Duration) {
        const DRAINED_MAX: usize = 64 << 20;
        let _ = self.end();
        let _ = self.stage("the peer's end", patience);
        let (mut buffer, mut drained) = (vec![0; 64 << 10], 0);
        let start = Instant::now();
        while drained < DRAINED_MAX && start.elapsed() < patience {
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => drained += count,
                _ => return,
            }
        }
    }

    fn account(&mut self, start: Instant, outcome: io::Result<usize>) -> io::Result<usize> {
        self.waited += start.elapsed();
        match outcome {
            Ok(count) => {
                self.moved += count;
                if self.moved >= PROGRESS_BYTES {
                    (self.waited, self.moved) = (Duration::ZERO, 0);
                } else if self.waited > self.patience {
                    return Err(self.too_slow());
                }
                Ok(count)
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Err(self.too_slow())
            }
            Err(error) => Err(error),
        }
    }

    fn too_slow(&self) -> io::Error {
        let text = format!(
            "the peer was too slow: waited {:.1} s for {}, {} bytes moved",
            self.waited.as_secs_f64(),
            self.stage,
            self.moved
        );
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

impl Link for Channel {
    fn stage(&mut self, stage: &'static str, patience: Duration) -> io::Result<()> {
        (self.stage, self.patience) = (stage, patience);
        (self.waited, self.moved) = (Duration::ZERO, 0);
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let outcome = self.stream.read(buffer);
        self.account(start, outcome)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let start = Instant::now();
        let outcome = self.stream.write(bytes);
        self.account(start, outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
