//! Asks those who name seeds, again and again, each on a thread of its own: one that hangs holds up
//! no other, and no event loop.

mod ask;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::Builder,
    time::Duration,
};

use quorate_node::config::{SeedSource, Settings, listed};

use super::{directory::ToControl, mailbox::Mailbox};
use crate::limits::{SEEDS_RETRY_MIN, SEEDS_WATCH_PAUSE};

/// Names the nodes of a cluster to a node that looks for them: what a program that embeds a node
/// knows and no name service does.
pub trait SeedProvider: Send {
    /// What it is called in logs and in `waits_for`: a word.
    fn name(&self) -> &str;

    /// The peer addresses, `host:port`, of the nodes that there are, this one or not among them. It
    /// is asked again in a while, and may take its time: it has a thread of its own.
    ///
    /// # Errors
    /// It cannot tell now. What it has named before still holds.
    fn seeds(&mut self) -> io::Result<Vec<String>>;
}

/// Its threads end, at their next pause, when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    _threads: Vec<Sender<()>>,
}

/// What seeds are called that a program names.
pub(crate) fn provided(name: &str) -> String {
    format!("embedder:{name}")
}

/// Asks every source among the seeds, and tells the control.
pub(crate) fn start(
    settings: &Settings,
    mut providers: Vec<Box<dyn SeedProvider>>,
    control: &Arc<Mailbox<ToControl>>,
) -> io::Result<Asking> {
    let mut threads = Vec::new();
    for seed in &settings.seeds {
        let mut pause = settings.seeds_interval;
        let ask: Ask = match SeedSource::parse(seed) {
            Some(SeedSource::Address(_)) | None => continue,
            Some(SeedSource::Embedder(name)) => {
                let found = providers.iter().position(|provider| provider.name() == name);
                let Some(position) = found else { continue };
                let mut provider = providers.swap_remove(position);
                Box::new(move || provider.seeds().map(|seeds| listed(&seeds.join("\n"))))
            }
            Some(source) => {
                if matches!(source, SeedSource::File(_)) {
                    pause = pause.min(SEEDS_WATCH_PAUSE);
                }
                Box::new(move || ask::ask(&source))
            }
        };
        let (stop, stopped) = mpsc::channel();
        let control = Arc::clone(control);
        let mut source = Source { name: seed.clone(), ask, failures: 0, wrong: Vec::new() };
        Builder::new().name("quorate-seeds".into()).spawn(move || {
            loop {
                let pause = source.turn(pause, &control);
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        threads.push(stop);
    }
    Ok(Asking { _threads: threads })
}

/// Addresses, and what was listed and is none.
type Listed = (Vec<String>, Vec<String>);

type Ask = Box<dyn FnMut() -> io::Result<Listed> + Send>;

struct Source {
    name: String,
    ask: Ask,
    /// How often it has failed in a row.
    failures: u32,
    /// What was listed last and is no address.
    wrong: Vec<String>,
}

impl Source {
    /// Asks once. Returns how long to wait.
    fn turn(&mut self, pause: Duration, control: &Mailbox<ToControl>) -> Duration {
        let source = &self.name;
        let answer = (self.ask)().and_then(|(addresses, wrong)| {
            if wrong != self.wrong {
                tracing::warn!(%source, ?wrong, "these seeds are no addresses and are left out");
                self.wrong = wrong;
            }
            let none = || io::Error::new(io::ErrorKind::NotFound, "no seeds are named");
            if addresses.is_empty() { Err(none()) } else { Ok(addresses) }
        });
        match answer {
            Ok(addresses) => {
                if std::mem::take(&mut self.failures) > 0 {
                    tracing::info!(%source, "seeds are named now");
                }
                control.send(ToControl::Seeds { source: source.clone(), addresses });
                pause
            }
            Err(error) => {
                if self.failures == 0 {
                    tracing::warn!(%source, %error, "no seeds yet; asking again and again");
                }
                let doubled = SEEDS_RETRY_MIN.saturating_mul(1 << self.failures.min(16));
                self.failures += 1;
                doubled.min(pause)
            }
        }
    }
}
