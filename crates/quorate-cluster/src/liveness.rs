//! Who is up, what each peer said last of itself, and whether this node has caught up.
//!
//! [`Liveness`] sends a heartbeat on every outgoing link at a fixed interval. A peer is up while
//! its outgoing link is up and something was heard of it lately: bytes on any link, or word that it
//! is at work. So neither a heartbeat behind much data nor a turn that takes long makes a peer one
//! that is down. Each shard has its own opinion, because each has its own links, and a local
//! opinion is all that routing needs.
//!
//! Guaranteed: a peer that falls silent is reported down within [`Settings::silence_max`] plus one
//! call of [`Liveness::handle_timeout`], and its link is given up, so that the dialer opens a new
//! one; so is one that is heard but answers nothing for [`Settings::answer_max`], unless it is at
//! work or takes what waits for it: what is sent to it does not arrive. Time in which this node itself
//! did nothing, in a long turn or while its process stood still, is nobody's silence.
//! A peer whose link closes is down at once. Up and down alternate for each peer. One that is up and
//! was not heard for [`Settings::quiet_after`] is quiet until it is heard again or down.
//!
//! The detector behind [`Liveness::is_up`] is a fixed silence. One that learns the rhythm of each
//! peer, or hears of it from others, can take its place: inputs and outputs stay as they are.
//!
//! [`Readiness`] tells when a node that was away may answer for itself again.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use quorate_proto::{Fitness, MemberNumber, message::Heartbeat, mutant::Mutant};

use crate::{
    limits::{
        ANSWER_MAX, CLOCK_SKEW_MAX, HEARTBEAT_INTERVAL, MEETING_PATIENCE, QUIET_AFTER,
        READINESS_PATIENCE, ROUTED_AROUND_WITHIN, SILENCE_MAX,
    },
    peer_map::PeerMap,
    time::{Instant, Wall},
    wall_clock::PeerClock,
};

/// The pace of failure detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Pause between heartbeats.
    pub heartbeat_interval: Duration,
    /// A peer that was not heard for this long is quiet.
    pub quiet_after: Duration,
    /// A peer that was not heard for this long is down.
    pub silence_max: Duration,
    /// A peer that is heard and answers nothing for this long is down, unless it is known why.
    pub answer_max: Duration,
    /// A wall clock that differs by more is reported.
    pub clock_skew_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_interval: HEARTBEAT_INTERVAL,
            quiet_after: QUIET_AFTER,
            silence_max: SILENCE_MAX,
            answer_max: ANSWER_MAX,
            clock_skew_max: CLOCK_SKEW_MAX,
        }
    }
}

/// The settings would report healthy peers as down, or dead ones too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a silence of {silence_max:?} with a heartbeat every {heartbeat_interval:?} is not possible; \
     allowed: at least three heartbeats, and both together at most {ROUTED_AROUND_WITHIN:?}"
)]
pub struct UnsoundSettings {
    /// Pause between heartbeats.
    pub heartbeat_interval: Duration,
    /// The silence allowed.
    pub silence_max: Duration,
}

impl Settings {
    /// Whether the numbers go together.
    pub fn check(&self) -> Result<(), UnsoundSettings> {
        let Self { heartbeat_interval, silence_max, answer_max, .. } = *self;
        let sound = !heartbeat_interval.is_zero()
            && self.quiet_after > heartbeat_interval
            && silence_max <= answer_max
            && silence_max >= heartbeat_interval.saturating_mul(3)
            && silence_max.saturating_add(heartbeat_interval) <= ROUTED_AROUND_WITHIN;
        if sound { Ok(()) } else { Err(UnsoundSettings { heartbeat_interval, silence_max }) }
    }
}

/// What the shell is to do, or to tell the other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a [`Heartbeat`] on the outgoing link of the peer: the shell knows what to put in.
    SendHeartbeat(MemberNumber),
    /// The peer is up.
    Up(MemberNumber),
    /// The peer is down.
    Down(MemberNumber),
    /// The peer is up and silent, or heard again.
    Quiet {
        /// The peer.
        node: MemberNumber,
        /// Whether it is silent.
        is_quiet: bool,
    },
    /// The peer may do something else than before.
    Fitness {
        /// The peer.
        node: MemberNumber,
        /// What it could do.
        before: Fitness,
        /// What it may do.
        fitness: Fitness,
    },
    /// The peer fell silent: close its outgoing link and dial again.
    GiveUpLink(MemberNumber),
    /// The peer's wall clock differs by more than the bound, for certain.
    ClockSkew {
        /// The peer.
        node: MemberNumber,
        /// How far it is ahead of this node's; negative when it is behind.
        ahead_ms: i64,
    },
    /// The peer's wall clock is within the bound again.
    ClockAgrees(MemberNumber),
}

/// What one shard knows of its peers.
#[derive(Debug)]
pub struct Liveness {
    settings: Settings,
    peers: PeerMap<Peer>,
    next_heartbeat: Instant,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// Whether the outgoing link is up.
    linked: bool,
    /// Whether [`Output::Up`] was the last word.
    up: bool,
    /// Whether it is up and silent.
    quiet: bool,
    /// When something was heard last.
    heard: Instant,
    /// When something came on the outgoing link last, or it was known why nothing comes.
    answered: Instant,
    /// What it said last of itself.
    fitness: Fitness,
    /// Effects that it keeps for this node; unknown until it has said so on the present link.
    hints_pending: Option<u64>,
    /// When the heartbeats were sent that are not answered yet: answers come in their order.
    asked: VecDeque<Instant>,
    /// The estimate of how far its wall clock is ahead.
    ahead_ms: Option<i64>,
    /// How wrong that can be.
    clock_error_ms: u64,
    skewed: bool,
}

impl Liveness {
    /// A machine for these peers. Nobody is up yet.
    pub fn new(
        settings: Settings,
        peers: impl IntoIterator<Item = MemberNumber>,
        now: Instant,
    ) -> Self {
        Self {
            settings,
            peers: peers.into_iter().map(|peer| (peer, Peer::default())).collect(),
            next_heartbeat: now,
            outputs: VecDeque::new(),
        }
    }

    /// A node has become a peer. It is down.
    pub fn handle_joined(&mut self, node: MemberNumber) {
        self.peers.insert(node, Peer::default());
    }

    /// A node is no peer any more. That it is down is for the shell to say, as long as it has
    /// links.
    pub fn handle_left(&mut self, node: MemberNumber) {
        self.peers.remove(node);
    }

    /// Whether requests may go to `node`.
    pub fn is_up(&self, node: MemberNumber) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.up)
    }

    /// What `node` has said last on the present link that it may do.
    pub fn fitness(&self, node: MemberNumber) -> Fitness {
        self.peers[node].fitness
    }

    /// Effects that `node` keeps for this node, as far as it has said on the present link.
    pub fn hints_pending(&self, node: MemberNumber) -> Option<u64> {
        self.peers[node].hints_pending
    }

    /// For each peer: whether it is up and has told of itself on the present link.
    pub fn met(&self) -> impl Iterator<Item = bool> {
        self.peers.values().map(|peer| peer.hints_pending.is_some())
    }

    /// How far the wall clock of `node` is ahead of this node's, about.
    pub fn clock_ahead_ms(&self, node: MemberNumber) -> Option<i64> {
        self.peers[node].ahead_ms
    }

    /// What is known of the clocks of the peers that are up.
    pub fn clocks(&self) -> impl Iterator<Item = PeerClock> + Clone {
        let up = self.peers.values().filter(|peer| peer.up);
        up.filter_map(|peer| {
            Some(PeerClock { ahead_ms: peer.ahead_ms?, error_ms: peer.clock_error_ms })
        })
    }

    /// This node's wall clock has jumped: what is known of the others' is relative to it.
    pub fn handle_clock_jump(&mut self, ms: i64) {
        for peer in self.peers.values_mut() {
            peer.ahead_ms = peer.ahead_ms.map(|ahead| ahead.saturating_sub(ms));
        }
    }

    /// The outgoing link of `node` was welcomed.
    pub fn handle_link_up(&mut self, now: Instant, node: MemberNumber) {
        let peer = &mut self.peers[node];
        peer.linked = true;
        peer.asked.clear();
        // What the peer said before belongs to the link, perhaps the process, before.
        (peer.hints_pending, peer.fitness) = (None, Fitness::default());
        self.handle_answer(now, node);
        self.send_heartbeat(now, node);
    }

    /// The outgoing link of `node` is closed.
    pub fn handle_link_down(&mut self, node: MemberNumber) {
        self.peers[node].linked = false;
        self.take_down(node);
    }

    /// Bytes of `node` arrived on its outgoing link.
    pub fn handle_answer(&mut self, now: Instant, node: MemberNumber) {
        let peer = &mut self.peers[node];
        peer.answered = peer.answered.max(now);
        self.handle_heard(now, node);
    }

    /// `node` is at work, so that it answers late. One that is no peer does not matter.
    pub fn handle_work(&mut self, now: Instant, node: MemberNumber) {
        if self.peers.get_mut(node).is_some() {
            self.handle_answer(now, node);
        }
    }

    /// `node` takes what is sent to it, and more waits: what it is asked has yet to reach it.
    pub fn handle_progress(&mut self, now: Instant, node: MemberNumber) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.answered = peer.answered.max(now);
        }
    }

    /// Bytes of `node` arrived on its own link. One that is no peer does not matter.
    pub fn handle_heard(&mut self, now: Instant, node: MemberNumber) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.heard = peer.heard.max(now);
        if core::mem::take(&mut peer.quiet) {
            self.outputs.push_back(Output::Quiet { node, is_quiet: false });
        }
        if peer.linked && !peer.up {
            peer.up = true;
            self.outputs.push_back(Output::Up(node));
        }
    }

    /// A heartbeat of `node` arrived on its link.
    pub fn handle_heartbeat(&mut self, now: Instant, node: MemberNumber, heartbeat: &Heartbeat) {
        self.handle_heard(now, node);
        self.note(node, heartbeat);
    }

    /// `node` answered a heartbeat on this node's link; `wall` is the wall clock now.
    pub fn handle_heartbeat_reply(
        &mut self,
        now: Instant,
        wall: Wall,
        node: MemberNumber,
        heartbeat: &Heartbeat,
    ) {
        self.handle_answer(now, node);
        self.note(node, heartbeat);
        if let Some(asked) = self.peers[node].asked.pop_front() {
            self.compare_clocks(now.since(asked), wall, node, Wall(heartbeat.wall_ms));
        }
    }

    /// Takes down the silent and sends the heartbeats that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = now.since(self.next_heartbeat);
        if late >= self.settings.heartbeat_interval {
            self.excuse(now, late);
        }
        for node in self.linked(|peer| self.silent_at(peer) <= now) {
            self.peers[node].linked = false;
            self.take_down(node);
            self.outputs.push_back(Output::GiveUpLink(node));
        }
        let quiet_after = self.settings.quiet_after;
        let quiet = self.linked(|peer| peer.up && !peer.quiet && peer.heard + quiet_after <= now);
        for node in quiet {
            self.peers[node].quiet = true;
            self.outputs.push_back(Output::Quiet { node, is_quiet: true });
        }
        if self.next_heartbeat <= now {
            self.next_heartbeat = now + self.settings.heartbeat_interval;
            for node in self.linked(|_| true) {
                self.send_heartbeat(now, node);
            }
        }
    }

    /// When [`Liveness::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let linked = self.peers.values().filter(|peer| peer.linked);
        let silences = linked.clone().map(|peer| self.silent_at(peer));
        let loud = linked.filter(|peer| peer.up && !peer.quiet);
        let quiet = loud.map(|peer| peer.heard + self.settings.quiet_after);
        silences.chain(quiet).chain([self.next_heartbeat]).min()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// This node has asked and heard nobody for so long: what it has not heard says nothing.
    fn excuse(&mut self, now: Instant, absence: Duration) {
        for peer in self.peers.values_mut() {
            peer.heard = now.min(peer.heard + absence);
            peer.answered = now.min(peer.answered + absence);
        }
    }

    /// When a peer is down unless something is heard of it before.
    fn silent_at(&self, peer: &Peer) -> Instant {
        let Settings { silence_max, answer_max, .. } = self.settings;
        (peer.heard + silence_max).min(peer.answered + answer_max)
    }

    /// The peers whose outgoing links are up and which are so.
    fn linked(&self, is_so: impl Fn(&Peer) -> bool) -> Vec<MemberNumber> {
        let peers = self.peers.iter();
        peers.filter(|(_, peer)| peer.linked && is_so(peer)).map(|(node, _)| node).collect()
    }

    fn send_heartbeat(&mut self, now: Instant, node: MemberNumber) {
        self.peers[node].asked.push_back(now);
        self.outputs.push_back(Output::SendHeartbeat(node));
    }

    fn take_down(&mut self, node: MemberNumber) {
        let peer = &mut self.peers[node];
        peer.hints_pending = None;
        peer.ahead_ms = None;
        peer.asked.clear();
        peer.quiet = false;
        if peer.up {
            peer.up = false;
            self.outputs.push_back(Output::Down(node));
        }
    }

    fn note(&mut self, node: MemberNumber, heartbeat: &Heartbeat) {
        let peer = &mut self.peers[node];
        peer.hints_pending = Some(heartbeat.hints_pending);
        let before = core::mem::replace(&mut peer.fitness, heartbeat.fitness);
        let fitness = peer.fitness;
        if fitness != before {
            self.outputs.push_back(Output::Fitness { node, before, fitness });
        }
    }

    /// The peer read its clock somewhere within the round trip: compared with the middle of it,
    /// the error is at most half the round trip.
    fn compare_clocks(
        &mut self,
        round_trip: Duration,
        wall: Wall,
        node: MemberNumber,
        theirs: Wall,
    ) {
        let half_ms = u64::try_from(round_trip.as_millis() / 2).unwrap_or(u64::MAX);
        let ahead_ms = theirs.ahead_of(Wall(wall.0.saturating_sub(half_ms)));
        let bound_ms = u64::try_from(self.settings.clock_skew_max.as_millis()).unwrap_or(u64::MAX);
        let peer = &mut self.peers[node];
        peer.ahead_ms = Some(ahead_ms);
        peer.clock_error_ms = half_ms;
        let certain_ms = ahead_ms.unsigned_abs().saturating_sub(half_ms);
        if certain_ms > bound_ms && !peer.skewed {
            peer.skewed = true;
            self.outputs.push_back(Output::ClockSkew { node, ahead_ms });
        } else if ahead_ms.unsigned_abs().saturating_add(half_ms) <= bound_ms && peer.skewed {
            peer.skewed = false;
            self.outputs.push_back(Output::ClockAgrees(node));
        }
    }
}

/// Whether a node that was away may answer for itself again.
///
/// A node that starts with data, or with a promise that data may rest on, is not ready: it may
/// have missed writes. It is once for each peer one of these holds: what the peer kept for it has
/// arrived and a comparison with the peer has settled what differs; or the peer has been down for
/// so long that waiting for it would only add to the outage. Ready stays ready.
///
/// How long that is differs: a peer that may be about to answer is worth more of a wait
/// ([`READINESS_PATIENCE`]) than one where nobody listens, or one of another datacentre, which is
/// not asked for what this one answers ([`MEETING_PATIENCE`]).
#[derive(Clone, Debug)]
pub struct Readiness {
    ready: bool,
    peers: PeerMap<CatchUp>,
}

#[derive(Clone, Copy, Debug)]
struct CatchUp {
    /// How long this node waits for the peer while it is down.
    patience: Duration,
    /// Since when the peer is down; None while it is up.
    down_since: Option<Instant>,
    /// It keeps nothing for this node.
    drained: bool,
    /// Both were compared, and what differed is settled. The order of the two does not matter:
    /// a hint that arrives later brings what the comparison has brought, or what it did not see.
    synced: bool,
}

impl CatchUp {
    const fn down_since(now: Instant, patience: Duration) -> Self {
        Self { patience, down_since: Some(now), drained: false, synced: false }
    }

    fn is_done(&self) -> bool {
        self.drained && self.synced
    }
}

impl Readiness {
    /// The readiness of a node that starts at `now`, with its peers and how long each is waited for
    /// while it is down. Without data, or alone, the node is ready at once.
    pub fn new(
        peers: impl IntoIterator<Item = (MemberNumber, Duration)>,
        data_may_exist: bool,
        now: Instant,
    ) -> Self {
        let down = |(peer, patience)| (peer, CatchUp::down_since(now, patience));
        let peers: PeerMap<CatchUp> = peers.into_iter().map(down).collect();
        let is_alone = peers.values().next().is_none();
        let ready = !data_may_exist || is_alone || Mutant::ReadyAtOnce.is_planted();
        Self { ready, peers }
    }

    /// A node has become a peer, and is waited for as long as `patience` while it is down, as it
    /// is.
    pub fn handle_joined(&mut self, now: Instant, node: MemberNumber, patience: Duration) {
        self.peers.insert(node, CatchUp::down_since(now, patience));
    }

    /// Nobody listens where the peer should be. One that must be waited for whatever happens still
    /// is.
    pub fn handle_unreachable(&mut self, node: MemberNumber) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        if peer.patience != Duration::MAX {
            peer.patience = peer.patience.min(MEETING_PATIENCE);
        }
    }

    /// A node is no peer any more. Returns whether this node became ready.
    pub fn handle_left(&mut self, now: Instant, node: MemberNumber) -> bool {
        self.peers.remove(node);
        self.update(now)
    }

    /// Whether this node is ready.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The peers that hold it up.
    pub fn awaited(&self, now: Instant) -> impl Iterator<Item = MemberNumber> {
        let open = self.peers.iter().filter(move |(_, peer)| !self.is_settled(now, peer));
        open.map(|(node, _)| node).filter(|_| !self.ready)
    }

    /// Whether some peer may still tell of its clock to a node that has asked since `since`.
    pub fn awaits_clocks(&self, now: Instant, since: Instant) -> bool {
        let passed = now.since(since);
        self.peers.values().any(|peer| {
            let patience = if peer.down_since.is_some() { peer.patience } else { Duration::MAX };
            passed < patience.min(READINESS_PATIENCE)
        })
    }

    /// A peer is up.
    pub fn handle_up(&mut self, node: MemberNumber) {
        self.peers[node].down_since = None;
    }

    /// A peer is down.
    pub fn handle_down(&mut self, now: Instant, node: MemberNumber) {
        let peer = &mut self.peers[node];
        let down_since = peer.down_since.or(Some(now));
        // Half done counts for nothing, done stays done: what comes later is an outage like any
        // other, which does not make this node one that starts.
        let is_done = peer.is_done();
        *peer = CatchUp { down_since, drained: is_done, synced: is_done, ..*peer };
    }

    /// A peer said how many effects it keeps for this node. Returns whether this node became
    /// ready.
    pub fn handle_hints_pending(&mut self, now: Instant, node: MemberNumber, pending: u64) -> bool {
        let peer = &mut self.peers[node];
        peer.drained = pending == 0;
        self.update(now)
    }

    /// A comparison with a peer has settled what differs. Returns whether this node became ready.
    pub fn handle_synced(&mut self, now: Instant, node: MemberNumber) -> bool {
        self.peers[node].synced = true;
        self.update(now)
    }

    /// Looks at the time. Returns whether this node became ready.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.update(now)
    }

    /// When [`Readiness::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let awaited = self.awaited(now).map(|node| &self.peers[node]);
        awaited.filter_map(|peer| Some(peer.down_since? + peer.patience)).min()
    }

    fn update(&mut self, now: Instant) -> bool {
        let was_ready = self.ready;
        self.ready |= self.peers.values().all(|peer| self.is_settled(now, peer));
        self.ready && !was_ready
    }

    fn is_settled(&self, now: Instant, peer: &CatchUp) -> bool {
        let given_up = peer.down_since.is_some_and(|since| now.since(since) >= peer.patience);
        given_up || peer.is_done()
    }
}

#[cfg(test)]
mod tests;
