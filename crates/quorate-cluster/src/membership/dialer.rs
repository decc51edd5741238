//! Keeps one outgoing link to every target.
//!
//! ```text
//!            pause over                welcomed
//!   Waiting ───────────▶ Dialling ──────────────▶ Up
//!      ▲                    │ closed, too late     │ closed
//!      └────────────────────┴──────────────────────┘
//! ```
//!
//! The pause doubles with every attempt up to a limit and starts over only once a link was
//! welcomed: a peer that accepts connections and says nothing is not dialled faster for it. Every
//! shard of a node has a dialer of its own; only the one of the membership also dials seeds.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use quorate_proto::NodeId;

use crate::{
    limits::{ADDRESSES_PER_MEMBER_MAX, DIAL_PATIENCE, REDIAL_PAUSE_MAX, REDIAL_PAUSE_MIN},
    random::Random,
    time::Instant,
};

/// A link of this node. Outgoing links are numbered by the dialer, incoming ones by the shell;
/// they never meet in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A member, wherever it is.
    Member(NodeId),
    /// Whoever is at this address.
    Seed(String),
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialerOutput {
    /// Connect to the address and report [`Dialer::handle_closed`] should that fail.
    Dial {
        /// The name of the link from now on.
        link: LinkId,
        /// `host:port`.
        address: String,
    },
    /// Close the link. Nothing is to be reported for it any more.
    Hangup {
        /// The link.
        link: LinkId,
    },
}

/// The dialer machine.
#[derive(Debug)]
pub struct Dialer {
    entries: BTreeMap<Target, Entry>,
    links_so_far: u64,
    random: Random,
    outputs: VecDeque<DialerOutput>,
}

#[derive(Debug)]
struct Entry {
    /// Where the target may be, tried in turn. Never empty.
    addresses: VecDeque<String>,
    state: State,
    /// The next pause, before jitter.
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialling { link: LinkId, until: Instant },
    Up { link: LinkId },
}

impl State {
    fn link(self) -> Option<LinkId> {
        match self {
            Self::Waiting { .. } => None,
            Self::Dialling { link, .. } | Self::Up { link } => Some(link),
        }
    }
}

impl Dialer {
    /// A dialer without targets, with a seed for its jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            links_so_far: 0,
            random: Random::new(seed),
            outputs: VecDeque::new(),
        }
    }

    /// Dials `target` at `address` from now on, there before any other address known for it. A
    /// link that is up stays up.
    pub fn set_target(&mut self, now: Instant, target: Target, address: &str) {
        let entry = self.entries.entry(target).or_insert_with(|| Entry {
            addresses: VecDeque::new(),
            state: State::Waiting { until: now },
            pause: REDIAL_PAUSE_MIN,
        });
        if entry.addresses.front().is_some_and(|first| first == address) {
            return;
        }
        entry.addresses.retain(|known| known != address);
        entry.addresses.push_front(address.into());
        entry.addresses.truncate(ADDRESSES_PER_MEMBER_MAX);
        if let State::Waiting { until } = &mut entry.state {
            *until = now;
        }
    }

    /// Also tries `address` for `target`, after those known for it. Hearsay: it replaces nothing.
    pub fn suggest(&mut self, target: &Target, address: &str) {
        let Some(entry) = self.entries.get_mut(target) else {
            return;
        };
        let room = entry.addresses.len() < ADDRESSES_PER_MEMBER_MAX;
        if room && !entry.addresses.iter().any(|known| known == address) {
            entry.addresses.push_back(address.into());
        }
    }

    /// The target has dialled this node: it is there, so it is dialled without a further pause.
    pub fn handle_heard(&mut self, now: Instant, target: &Target) {
        if let Some(Entry { state: State::Waiting { until }, .. }) = self.entries.get_mut(target) {
            *until = now.min(*until);
        }
    }

    /// Dials `target` no more, and leaves its link as it is. Returns the link;
    /// [`Dialer::end`] is to close it.
    pub fn release(&mut self, target: &Target) -> Option<LinkId> {
        self.entries.remove(target).and_then(|entry| entry.state.link())
    }

    /// Closes a link that was released.
    pub fn end(&mut self, link: LinkId) {
        self.outputs.push_back(DialerOutput::Hangup { link });
    }

    /// Dials `target` no more and closes its link.
    pub fn give_up(&mut self, target: &Target) {
        let link = self.entries.remove(target).and_then(|entry| entry.state.link());
        if let Some(link) = link {
            self.outputs.push_back(DialerOutput::Hangup { link });
        }
    }

    /// Dials no member but those in `keep`.
    pub fn retain_members(&mut self, keep: impl Fn(NodeId) -> bool) {
        let gone = |target: &&Target| matches!(target, Target::Member(id) if !keep(*id));
        let gone: Vec<Target> = self.entries.keys().filter(gone).cloned().collect();
        for target in gone {
            self.give_up(&target);
        }
    }

    /// The peer at the other end of `link` welcomed this node.
    pub fn handle_welcomed(&mut self, link: LinkId) {
        if let Some((_, entry)) = self.entry_mut(link) {
            entry.state = State::Up { link };
            entry.pause = REDIAL_PAUSE_MIN;
        }
    }

    /// The link of a seed turned out to lead to the member `id`: it becomes the member's link,
    /// unless that has one already. Returns whether it did; if not, it is closed.
    pub fn handle_identified(&mut self, now: Instant, link: LinkId, id: NodeId) -> bool {
        let Some((target, _)) = self.entry_mut(link) else {
            return false;
        };
        let Target::Seed(address) = target.clone() else {
            return false;
        };
        self.entries.remove(&Target::Seed(address.clone()));
        self.set_target(now, Target::Member(id), &address);
        let Some(member) = self.entries.get_mut(&Target::Member(id)) else {
            return false;
        };
        let keeps = !matches!(member.state, State::Up { .. });
        let closed = if keeps {
            let replaced = member.state.link();
            member.state = State::Up { link };
            member.pause = REDIAL_PAUSE_MIN;
            replaced
        } else {
            Some(link)
        };
        if let Some(link) = closed {
            self.outputs.push_back(DialerOutput::Hangup { link });
        }
        keeps
    }

    /// The link could not be opened, or is closed.
    pub fn handle_closed(&mut self, now: Instant, link: LinkId) {
        let Some(target) = self.target(link).cloned() else {
            return;
        };
        self.wait(now, &target);
    }

    /// Closes the link and dials its target again later.
    pub fn hang_up(&mut self, now: Instant, link: LinkId) {
        if self.target(link).is_some() {
            self.outputs.push_back(DialerOutput::Hangup { link });
            self.handle_closed(now, link);
        }
    }

    /// Dials who is due, and gives up on attempts that take too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |state: State| match state {
            State::Waiting { until } | State::Dialling { until, .. } => until <= now,
            State::Up { .. } => false,
        };
        let targets: Vec<Target> = self
            .entries
            .iter()
            .filter(|(_, entry)| due(entry.state))
            .map(|(target, _)| target.clone())
            .collect();
        for target in targets {
            let Some(entry) = self.entries.get_mut(&target) else {
                continue;
            };
            if let State::Dialling { link, .. } = entry.state {
                self.outputs.push_back(DialerOutput::Hangup { link });
                self.wait(now, &target);
                continue;
            }
            self.links_so_far += 1;
            let link = LinkId(self.links_so_far);
            entry.state = State::Dialling { link, until: now + DIAL_PATIENCE };
            if let Some(address) = entry.addresses.front() {
                self.outputs.push_back(DialerOutput::Dial { link, address: address.clone() });
            }
        }
    }

    /// When [`Dialer::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = |entry: &Entry| match entry.state {
            State::Waiting { until } | State::Dialling { until, .. } => Some(until),
            State::Up { .. } => None,
        };
        self.entries.values().filter_map(deadline).min()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<DialerOutput> {
        self.outputs.pop_front()
    }

    /// Whom `link` was dialled for.
    pub fn target(&self, link: LinkId) -> Option<&Target> {
        let mut entries = self.entries.iter();
        entries.find(|(_, entry)| entry.state.link() == Some(link)).map(|(target, _)| target)
    }

    /// Whether anybody welcomed this node on the link of `target`.
    pub fn is_up(&self, target: &Target) -> bool {
        let entry = self.entries.get(target);
        entry.is_some_and(|entry| matches!(entry.state, State::Up { .. }))
    }

    /// Waits before `target` is tried again, at its next address.
    fn wait(&mut self, now: Instant, target: &Target) {
        let Some(entry) = self.entries.get_mut(target) else {
            return;
        };
        // An address that worked is tried first; one that did not makes room for the next.
        if matches!(entry.state, State::Dialling { .. }) {
            entry.addresses.rotate_left(1);
        }
        entry.state = State::Waiting { until: now + self.random.jittered(entry.pause) };
        entry.pause = (entry.pause * 2).min(REDIAL_PAUSE_MAX);
    }

    fn entry_mut(&mut self, link: LinkId) -> Option<(&Target, &mut Entry)> {
        self.entries.iter_mut().find(|(_, entry)| entry.state.link() == Some(link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Target = Target::Member(NodeId(7));

    fn dialled(dialer: &mut Dialer) -> Option<(LinkId, String)> {
        match dialer.poll_output()? {
            DialerOutput::Dial { link, address } => Some((link, address)),
            DialerOutput::Hangup { .. } => None,
        }
    }

    #[test]
    fn pauses_double_until_somebody_is_useful() {
        let mut dialer = Dialer::new(1);
        let mut now = Instant::ZERO;
        dialer.set_target(now, PEER, "a:1");
        let mut pauses = Vec::new();
        for _ in 0..10 {
            dialer.handle_timeout(now);
            let (link, _) = dialled(&mut dialer).expect("dialled");
            dialer.handle_closed(now, link);
            let next = dialer.poll_timeout().expect("waits");
            pauses.push(next.since(now));
            now = next;
        }
        for (number, pause) in pauses.iter().enumerate() {
            let nominal = (REDIAL_PAUSE_MIN * (1 << number)).min(REDIAL_PAUSE_MAX);
            assert!(*pause >= nominal / 2 && *pause <= nominal, "pause {number}: {pause:?}");
        }
        dialer.handle_timeout(now);
        let (link, _) = dialled(&mut dialer).expect("dialled");
        dialer.handle_welcomed(link);
        assert!(dialer.is_up(&PEER));
        assert_eq!(dialer.poll_timeout(), None);
        dialer.handle_closed(now, link);
        assert!(dialer.poll_timeout().expect("waits") <= now + REDIAL_PAUSE_MIN);
    }

    #[test]
    fn whoever_dials_is_dialled_back_at_once() {
        let mut dialer = Dialer::new(1);
        let mut now = Instant::ZERO;
        dialer.set_target(now, PEER, "a:1");
        for _ in 0..10 {
            dialer.handle_timeout(now);
            let (link, _) = dialled(&mut dialer).expect("dialled");
            dialer.handle_closed(now, link);
            now = dialer.poll_timeout().expect("waits");
        }
        let soon = Instant::ZERO + now.since(Instant::ZERO) / 2;
        dialer.handle_heard(soon, &PEER);
        assert_eq!(dialer.poll_timeout(), Some(soon));
        dialer.handle_timeout(soon);
        let (link, _) = dialled(&mut dialer).expect("dialled");
        dialer.handle_heard(soon, &PEER);
        dialer.handle_welcomed(link);
        dialer.handle_heard(soon, &PEER);
        assert!(dialer.is_up(&PEER));
    }

    #[test]
    fn silence_counts_as_failure() {
        let mut dialer = Dialer::new(1);
        dialer.set_target(Instant::ZERO, PEER, "a:1");
        dialer.handle_timeout(Instant::ZERO);
        let (link, _) = dialled(&mut dialer).expect("dialled");
        let late = Instant::ZERO + DIAL_PATIENCE;
        assert_eq!(dialer.poll_timeout(), Some(late));
        dialer.handle_timeout(late);
        assert_eq!(dialer.poll_output(), Some(DialerOutput::Hangup { link }));
        assert!(dialer.poll_timeout().expect("waits") > late);
    }

    #[test]
    fn hearsay_addresses_are_tried_in_turn() {
        let mut dialer = Dialer::new(1);
        let mut now = Instant::ZERO;
        dialer.set_target(now, PEER, "a:1");
        dialer.suggest(&PEER, "b:1");
        dialer.suggest(&PEER, "b:1");
        let mut tried = Vec::new();
        for _ in 0..4 {
            dialer.handle_timeout(now);
            let (link, address) = dialled(&mut dialer).expect("dialled");
            tried.push(address);
            dialer.handle_closed(now, link);
            now = dialer.poll_timeout().expect("waits");
        }
        assert_eq!(tried, ["a:1", "b:1", "a:1", "b:1"]);
        dialer.set_target(now, PEER, "c:1");
        dialer.handle_timeout(now);
        assert_eq!(dialled(&mut dialer).expect("dialled").1, "c:1");
    }

    #[test]
    fn a_seed_becomes_the_member_found_there() {
        let seed = |address: &str| Target::Seed(address.into());
        let mut dialer = Dialer::new(1);
        dialer.set_target(Instant::ZERO, seed("a:1"), "a:1");
        dialer.set_target(Instant::ZERO, seed("b:1"), "b:1");
        dialer.handle_timeout(Instant::ZERO);
        let (first, _) = dialled(&mut dialer).expect("dialled");
        let (second, _) = dialled(&mut dialer).expect("dialled");
        assert!(dialer.handle_identified(Instant::ZERO, first, NodeId(7)));
        assert_eq!(dialer.target(first), Some(&PEER));
        // Both seeds are the same node: one link is enough.
        assert!(!dialer.handle_identified(Instant::ZERO, second, NodeId(7)));
        assert_eq!(dialer.poll_output(), Some(DialerOutput::Hangup { link: second }));
        dialer.retain_members(|_| false);
        assert_eq!(dialer.poll_output(), Some(DialerOutput::Hangup { link: first }));
        assert_eq!(dialer.poll_timeout(), None);
    }
}
