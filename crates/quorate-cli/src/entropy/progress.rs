//! A line that says how far a transfer has got, while it goes on and somebody watches.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use quorate::entropy::Meter;

use super::amount;

const INTERVAL: Duration = Duration::from_millis(250);

/// Shows progress until it is dropped. Does nothing when standard error is no terminal.
pub(crate) struct Progress {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    pub(crate) fn start(what: &'static str, meter: Meter, total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { running: None };
        }
        let (sender, receiver) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let (mut before, mut then) = (0, Instant::now());
            while receiver.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let bytes = meter.bytes();
                let rate = (bytes - before) as f64 / then.elapsed().as_secs_f64();
                (before, then) = (bytes, Instant::now());
                let share = total.filter(|total| *total > 0).map_or_else(String::new, |total| {
                    format!(" of {} ({} %)", amount(total), bytes * 100 / total)
                });
                let rate = amount(rate as u64);
                eprint!("\r\x1b[K{what} {}{share}, {rate}/s", amount(bytes));
            }
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        });
        Self { running: Some((sender, thread)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.running.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}
