//! Looks names up beside the event loops: the system may take many seconds for one.
//!
//! Whoever asks for a name that is being looked up waits for the same answer, and an answer holds
//! for a moment: a dialer that has lost patience finds it at its next attempt. Several names are
//! looked up side by side, so that one that hangs holds up no other. Who asks again, and when, is
//! left to those who ask: dialers make pauses.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::Builder,
    time::Instant,
};

use crate::limits::{LOOKUPS_MAX, LOOKUPS_WAITING_MAX, NAMES_MAX, RESOLVED_FOR};

/// Hears where a name leads; `None`: nowhere for now.
pub(crate) type Answer = Box<dyn FnOnce(Option<SocketAddr>) + Send>;

type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks up names for all event loops of a node.
#[derive(Clone)]
pub(crate) struct Resolver {
    look_up: Arc<LookUp>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Who waits, by name. A name is here from the first question to the answer.
    waiting: HashMap<String, Vec<Answer>>,
    waiting_count: usize,
    /// Names that no thread has taken yet.
    queue: VecDeque<String>,
    threads: usize,
    names: HashMap<String, Name>,
}

/// What is known of a name.
#[derive(Default)]
struct Name {
    addresses: Vec<SocketAddr>,
    resolved_at: Option<Instant>,
    /// A name with several addresses leads to each in turn.
    turn: usize,
    /// Whether the operator has been told that it leads nowhere.
    told: bool,
}

impl Name {
    fn next(&mut self) -> Option<SocketAddr> {
        self.turn = self.turn.wrapping_add(1);
        let index = self.turn.checked_rem(self.addresses.len())?;
        Some(self.addresses[index])
    }
}

impl Resolver {
    /// Asks the system.
    pub(crate) fn new() -> Self {
        Self::with(Arc::new(|name: &str| name.to_socket_addrs().map(Iterator::collect)))
    }

    fn with(look_up: Arc<LookUp>) -> Self {
        Self { look_up, state: Arc::default() }
    }

    /// Finds out where `name` (`host:port`) leads. The answer may come from another thread.
    pub(crate) fn resolve(&self, name: &str, answer: Answer) {
        let mut state = self.state();
        if let Some(known) = state.names.get_mut(name)
            && known.resolved_at.is_some_and(|at| at.elapsed() < RESOLVED_FOR)
        {
            let address = known.next();
            drop(state);
            return answer(address);
        }
        if state.waiting_count >= LOOKUPS_WAITING_MAX {
            drop(state);
            return answer(None);
        }
        state.waiting_count += 1;
        if let Some(waiting) = state.waiting.get_mut(name) {
            return waiting.push(answer);
        }
        state.waiting.insert(name.to_owned(), vec![answer]);
        state.queue.push_back(name.to_owned());
        if state.threads < LOOKUPS_MAX {
            state.threads += 1;
            drop(state);
            self.start_thread();
        }
    }

    fn start_thread(&self) {
        let resolver = self.clone();
        let started = Builder::new().name("quorate-names".into()).spawn(move || resolver.run());
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to look names up with");
            self.run_dry();
        }
    }

    /// Looks up what is asked for until nothing is.
    fn run(&self) {
        loop {
            let mut state = self.state();
            let Some(name) = state.queue.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            let found = (self.look_up)(&name);
            self.answer(&name, found);
        }
    }

    /// Answers everything that no thread has taken, when there is no thread.
    fn run_dry(&self) {
        let mut state = self.state();
        state.threads -= 1;
        let names = std::mem::take(&mut state.queue);
        drop(state);
        names.iter().for_each(|name| self.answer(name, Err(io::ErrorKind::WouldBlock.into())));
    }

    fn answer(&self, name: &str, found: io::Result<Vec<SocketAddr>>) {
        let mut state = self.state();
        let answers = state.waiting.remove(name).unwrap_or_default();
        state.waiting_count -= answers.len();
        if state.names.len() >= NAMES_MAX {
            state.names.clear();
        }
        let known = state.names.entry(name.to_owned()).or_default();
        known.resolved_at = None;
        known.addresses = found.unwrap_or_else(|error| {
            if !known.told {
                tracing::warn!(%name, %error, "a name cannot be resolved; it is tried again and again");
            }
            known.told = true;
            Vec::new()
        });
        if !known.addresses.is_empty() {
            known.resolved_at = Some(Instant::now());
            if std::mem::take(&mut known.told) {
                tracing::info!(%name, "a name can be resolved now");
            }
        }
        let addresses: Vec<_> = answers.iter().map(|_| known.next()).collect();
        drop(state);
        answers.into_iter().zip(addresses).for_each(|(answer, address)| answer(address));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// A resolver whose name `hangs:1` is answered when something is sent.
    fn resolver() -> (Resolver, Sender<()>, Arc<AtomicUsize>) {
        let (free, gate) = channel::<()>();
        let (gate, lookups) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&lookups);
        let look_up = move |name: &str| {
            counted.fetch_add(1, Ordering::SeqCst);
            match name {
                "hangs:1" => {
                    let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
                    gate.recv().map_err(io::Error::other)?;
                    Ok(vec![address(1)])
                }
                "several:1" => Ok(vec![address(1), address(2)]),
                _ => Err(io::Error::other("unknown")),
            }
        };
        (Resolver::with(Arc::new(look_up)), free, lookups)
    }

    fn ask(resolver: &Resolver, name: &str) -> Receiver<Option<SocketAddr>> {
        let (sender, receiver) = channel();
        resolver.resolve(name, Box::new(move |address| sender.send(address).expect("waited for")));
        receiver
    }

    #[test]
    fn a_name_that_hangs_holds_up_no_other_and_is_looked_up_once() {
        let (resolver, free, lookups) = resolver();
        let slow: Vec<_> = (0..3).map(|_| ask(&resolver, "hangs:1")).collect();
        assert_eq!(ask(&resolver, "unknown:1").recv(), Ok(None));
        assert!(ask(&resolver, "several:1").recv().expect("answered").is_some());
        assert!(slow.iter().all(|slow| slow.try_recv().is_err()));
        free.send(()).expect("it hangs");
        assert!(slow.iter().all(|slow| slow.recv() == Ok(Some(address(1)))));
        assert_eq!(lookups.load(Ordering::SeqCst), 3);
        assert_eq!(ask(&resolver, "hangs:1").recv(), Ok(Some(address(1))), "it is remembered");
        assert_eq!(lookups.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_name_leads_to_each_of_its_addresses_in_turn() {
        let (resolver, ..) = resolver();
        let mut found: Vec<_> =
            (0..4).map(|_| ask(&resolver, "several:1").recv().expect("answered")).collect();
        found.sort_unstable();
        assert_eq!(found, [address(1), address(1), address(2), address(2)].map(Some));
    }

    #[test]
    fn what_failed_is_looked_up_again() {
        let (resolver, _free, lookups) = resolver();
        assert_eq!(ask(&resolver, "unknown:1").recv(), Ok(None));
        assert_eq!(ask(&resolver, "unknown:1").recv(), Ok(None));
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn too_many_questions_are_answered_at_once() {
        let (resolver, free, _) = resolver();
        let slow: Vec<_> = (0..LOOKUPS_WAITING_MAX).map(|_| ask(&resolver, "hangs:1")).collect();
        assert_eq!(ask(&resolver, "hangs:1").recv(), Ok(None));
        free.send(()).expect("it hangs");
        assert!(slow.iter().all(|slow| slow.recv() == Ok(Some(address(1)))));
    }
}
