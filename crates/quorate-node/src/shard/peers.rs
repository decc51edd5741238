//! The other nodes, as one shard sees them: links, what comes on them and what goes.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Bytes, BytesMut};
use quorate_cluster::{
    anti_entropy::{self, PeerRequest},
    clocks,
    limits::{MEETING_PATIENCE, READINESS_PATIENCE},
    liveness::{self, Liveness, Readiness},
    membership::{Dialer, DialerOutput, LinkId, Target},
    peer_map::PeerMap,
    time::{Instant, Wall},
    topology::Topology,
    wall_clock::PeerClock,
};
use quorate_proto::{
    Incarnation, MemberNumber, NodeId,
    frame::{self, Bundles, Frame, FrameError, Received},
    message::{Cause, Member, Message},
};
use quorate_store::Store;

use super::{
    Mail, Now, Shard,
    age::{self, Age},
    correlation::Machine,
    link_error::LinkError,
    openings::Openings,
    parting::Parting,
    receiving::Receiving,
};

/// Shards put their number into the ids of their incoming links.
pub(super) const SHARD_SHIFT: u32 = 48;

/// The shard that an incoming link belongs to.
pub(super) fn shard_of(link: LinkId) -> u16 {
    (link.0 >> SHARD_SHIFT) as u16
}

/// Whether a request or response belongs to an anti-entropy round.
pub(super) fn is_of_round(correlation: u64) -> bool {
    matches!(Machine::of(correlation), Some((Machine::AntiEntropy, _)))
}

/// What one shard knows of the other nodes.
pub(super) struct Peers {
    pub(super) liveness: Liveness,
    pub(super) readiness: Readiness,
    pub(super) dialer: Dialer,
    /// The link to each peer that was welcomed.
    pub(super) outgoing: PeerMap<PeerLink>,
    /// Links to and of members that have left, as long as answers are on their way.
    pub(super) parting: Parting,
    pub(super) openings: Openings,
    /// By number, which no other link has or had: what is still to be answered when a link closes
    /// must not be taken for an answer on the next one.
    pub(super) incoming: BTreeMap<u64, Incoming>,
    next_incoming: u64,
}

/// An outgoing link that stands.
#[derive(Debug)]
pub(crate) struct PeerLink {
    pub(crate) link: LinkId,
    /// The process at the other end.
    pub(super) incarnation: Incarnation,
    /// Messages to send.
    pub(crate) output: Bundles,
    pub(super) receiving: Receiving,
}

/// An incoming link.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Who has introduced itself, and as which process.
    pub(super) from: Option<(NodeId, Incarnation)>,
    /// How old what comes on it is.
    age: Age,
    pub(super) output: Bundles,
    receiving: Receiving,
    pub(super) closing: bool,
}

/// What a node brings from before its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// Data, or a promise that data may rest on.
    pub(super) data_may_exist: bool,
    /// Less than it has acknowledged.
    pub(super) incomplete: bool,
}

impl Peers {
    pub(super) fn new(now: Instant, topology: &Topology, history: History) -> Self {
        let me = topology.member(topology.me()).id;
        let History { data_may_exist, incomplete } = history;
        // What was lost can be at any peer, and at one only.
        let patience = |peer| if incomplete { Duration::MAX } else { patience(topology, peer) };
        let awaited = topology.peers().map(|peer| (peer, patience(peer)));
        let mut peers = Self {
            liveness: Liveness::new(liveness::Settings::default(), topology.peers(), now),
            readiness: Readiness::new(awaited, data_may_exist, now),
            dialer: Dialer::new(me.0 as u64),
            outgoing: PeerMap::new(),
            parting: Parting::default(),
            openings: Openings::default(),
            incoming: BTreeMap::new(),
            next_incoming: 0,
        };
        peers.set_targets(now, topology);
        peers
    }

    /// A node has become a peer. It is down.
    pub(super) fn handle_joined(&mut self, now: Instant, topology: &Topology, peer: MemberNumber) {
        self.liveness.handle_joined(peer);
        self.readiness.handle_joined(now, peer, patience(topology, peer));
    }

    /// A node is no peer any more. What has been asked on the link to it may still be answered.
    /// Returns whether this node became ready.
    pub(super) fn handle_left(
        &mut self,
        now: Instant,
        peer: MemberNumber,
        member: &Member,
    ) -> bool {
        for link in self.openings.end_all(peer) {
            self.dialer.hang_up(now, link);
        }
        let standing = self.outgoing.remove(peer);
        if standing.is_some() {
            self.dialer.release(&Target::Member(member.id));
        }
        self.parting.handle_left(now, peer, member, standing);
        self.liveness.handle_left(peer);
        self.readiness.handle_left(now, peer)
    }

    /// This node has lost all that it had, and may serve once it has caught up with every peer.
    pub(super) fn handle_loss(&mut self, now: Instant, topology: &Topology) {
        let awaited = topology.peers().map(|peer| (peer, Duration::MAX));
        self.readiness = Readiness::new(awaited, true, now);
    }

    /// An outgoing link that was welcomed.
    fn outgoing_mut(&mut self, link: LinkId) -> Option<&mut PeerLink> {
        let mut links = self.outgoing.values_mut().chain(self.parting.links_mut());
        links.find(|found| found.link == link)
    }

    /// The peer to which an outgoing link stands, and its process at the other end.
    pub(super) fn standing(&self, link: LinkId) -> Option<(MemberNumber, Incarnation)> {
        let mut links = self.outgoing.iter();
        let (peer, found) = links.find(|(_, found)| found.link == link)?;
        Some((peer, found.incarnation))
    }

    /// Dials the members at the addresses that they have now, and nobody else.
    pub(super) fn set_targets(&mut self, now: Instant, topology: &Topology) {
        self.dialer.retain_members(|id| topology.number_of(id).is_some());
        for peer in topology.peers() {
            let member = topology.member(peer);
            self.dialer.set_target(now, Target::Member(member.id), &member.peer_address);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.liveness.poll_timeout(), self.dialer.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn send(
        &mut self,
        to: MemberNumber,
        machine: Machine,
        epoch: u64,
        correlation: u64,
        message: &Message,
    ) {
        let Some(link) = self.outgoing.get_mut(to) else { return };
        if !link.output.push(epoch, machine.tag(correlation), message) {
            // Whoever asks gives up in time, and what the peer lacks comes in parts by rounds.
            tracing::warn!(kind = message.kind(), "a message is too large to be sent");
        }
    }

    pub(super) fn respond(
        &mut self,
        link: LinkId,
        epoch: u64,
        correlation: u64,
        message: &Message,
    ) {
        let Some(incoming) = self.incoming.get_mut(&incoming_number(link)) else { return };
        if !incoming.output.push(epoch, correlation, message) {
            let answer = match message {
                Message::Reply(_) => Message::Reply(Bytes::from_static(REPLY_TOO_LARGE)),
                _ => {
                    let text = "the answer is too large for a message".into();
                    Message::Rejected { cause: Cause::Overloaded, text }
                }
            };
            incoming.output.push(epoch, correlation, &answer);
        }
    }

    /// What is known of the clocks of the peers that are up.
    pub(super) fn clocks(&self) -> impl Iterator<Item = PeerClock> + Clone {
        self.liveness.clocks()
    }

    /// This node's wall clock has jumped.
    pub(super) fn handle_clock_jump(&mut self, ms: i64) {
        self.liveness.handle_clock_jump(ms);
    }

    pub(super) fn is_up(&self, peer: MemberNumber) -> bool {
        self.liveness.is_up(peer)
    }

    /// For each peer: whether it is up and has told of itself.
    pub(super) fn met(&self) -> impl Iterator<Item = bool> {
        self.liveness.met()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// Peers that data must still be compared with.
    pub(super) fn awaited(&self, now: Instant) -> usize {
        self.readiness.awaited(now).count()
    }
}

/// How long this node waits for a peer that is down when it starts. For what this datacentre
/// answers by itself another one is not needed, and may be cut off for long.
fn patience(topology: &Topology, peer: MemberNumber) -> Duration {
    if topology.is_local(peer) { READINESS_PATIENCE } else { MEETING_PATIENCE }
}

/// The answer to a command that was forwarded, and executed, in the place of what no frame can hold.
const REPLY_TOO_LARGE: &[u8] =
    b"-UNKNOWN the reply is larger than 1 GiB, so it cannot be passed on; \
    a node that holds the key can give it\r\n";

/// A message that is about to be looked at.
struct Ahead {
    frame: Frame,
    /// How old it is at most.
    late: Duration,
    /// Whether that is because it is large.
    in_pieces: bool,
}

/// Takes as many messages out of what has come as are worth looking at together. Returns whether
/// there may be more.
fn read_ahead(
    incoming: &mut Incoming,
    (now, large): (Instant, usize),
    input: &mut BytesMut,
    ahead: &mut Vec<Ahead>,
) -> Result<bool, FrameError> {
    while ahead.len() < Store::PREFETCHED_KEYS_MAX {
        // Later heartbeats go past what is not whole, and say nothing of its age.
        let sent = now.as_micros().saturating_sub(incoming.age.passed(now).as_micros() as u64);
        match incoming.receiving.next(input, sent)? {
            Some(Received { frame, began: None }) => {
                let late = incoming.age.of(now, &frame.message);
                ahead.push(Ahead { frame, late, in_pieces: false });
            }
            Some(Received { frame, began: Some(sent) }) => {
                let late = Duration::from_micros(now.as_micros().saturating_sub(sent));
                let in_pieces = frame.message.body_length() > large;
                ahead.push(Ahead { frame, late, in_pieces });
            }
            None => return Ok(false),
        }
    }
    Ok(true)
}

pub(super) fn incoming_number(link: LinkId) -> u64 {
    link.0 & ((1 << SHARD_SHIFT) - 1)
}

impl Shard {
    /// Heartbeats, silence, dialling.
    pub(super) fn tick_peers(&mut self, now: Now) {
        for (id, at) in self.node.work.of_peers() {
            self.is_at_work(at, id);
        }
        self.peers.liveness.handle_timeout(now.monotonic);
        self.end_parting(now);
        self.peers.dialer.handle_timeout(now.monotonic);
        let became_ready = self.peers.readiness.handle_timeout(now.monotonic);
        self.note_ready(became_ready);
        let storage = &mut self.storage;
        self.anti_entropy.handle_timeout(now.monotonic, storage);
        self.clocks.handle_timeout(now.monotonic, storage);
        self.service_liveness(now);
    }

    /// What the event loop should dial or hang up.
    pub(crate) fn poll_dialer(&mut self) -> Option<DialerOutput> {
        self.peers.dialer.poll_output()
    }

    pub(super) fn member_at(&self, target: &Target) -> Option<MemberNumber> {
        match target {
            Target::Member(id) => self.topology().number_of(*id),
            Target::Seed(_) => None,
        }
    }

    /// An outgoing link could not be opened, or is closed.
    pub(crate) fn link_closed(&mut self, now: Now, link: LinkId) {
        if let Some(peer) = self.peers.parting.end(link) {
            self.coordinator.handle_parted(now.monotonic, &mut self.storage, peer);
        }
        let target = self.peers.dialer.target(link);
        let dialled = target.and_then(|target| self.member_at(target));
        self.peers.dialer.handle_closed(now.monotonic, link);
        let was_refused = self.peers.openings.end(link);
        if let Some((peer, _)) = self.peers.standing(link) {
            self.peers.outgoing.remove(peer);
            self.peers.liveness.handle_link_down(peer);
        } else if let (Some(peer), false) = (dialled, was_refused) {
            self.peers.readiness.handle_unreachable(peer);
        }
        self.service_liveness(now);
        self.service(now);
    }

    /// Bytes came on an outgoing link: responses.
    pub(crate) fn link_input(
        &mut self,
        now: Now,
        link: LinkId,
        input: &mut BytesMut,
    ) -> Result<(), LinkError> {
        while let Some(frame) = self.next_response(link, input)? {
            self.take_response(now, link, frame)?;
        }
        if let Some(found) = self.peers.outgoing_mut(link) {
            found.receiving.settle(&self.node, &mut found.output);
        }
        // A part of a frame is an answer too: the rest may take long.
        if let Some((from, _)) = self.peers.standing(link) {
            self.peers.liveness.handle_answer(now.monotonic, from);
        }
        self.service_liveness(now);
        self.service(now);
        Ok(())
    }

    fn next_response(
        &mut self,
        link: LinkId,
        input: &mut BytesMut,
    ) -> Result<Option<Frame>, FrameError> {
        match self.peers.outgoing_mut(link) {
            Some(found) => {
                found.receiving.next(input, 0).map(|found| found.map(|found| found.frame))
            }
            // The welcome is a frame of its own.
            None => frame::decode(input),
        }
    }

    fn take_response(&mut self, now: Now, link: LinkId, frame: Frame) -> Result<(), LinkError> {
        let Some((from, incarnation)) = self.peers.standing(link) else {
            if self.peers.parting.is_to(link) {
                self.take_last_words(now, frame);
                return Ok(());
            }
            return self.take_welcome(now, link, frame);
        };
        if incarnation != self.topology().member(from).incarnation {
            return Err(LinkError::Replaced);
        }
        let (machine, correlation) = Machine::of(frame.correlation).ok_or(LinkError::Unasked)?;
        let storage = &mut self.storage;
        match (machine, frame.message) {
            (Machine::Coordinator, message) => {
                self.coordinator.handle_response(now.monotonic, storage, correlation, message);
            }
            (Machine::Handoff, message) => {
                let handoff = &mut self.handoff;
                handoff.handle_response(now.monotonic, storage, from, correlation, &message);
                self.sync_once_drained(now, from);
            }
            (Machine::AntiEntropy, message) => {
                let rounds = &mut self.anti_entropy;
                rounds.handle_response(now.monotonic, storage, from, correlation, message);
            }
            (Machine::Clocks, message) => {
                self.clocks.handle_response(now.monotonic, storage, from, correlation, message);
            }
            (Machine::Cursors, message) => self.take_cursor_reply(now, correlation, message),
            (Machine::Link, Message::HeartbeatReply(beat)) => {
                // It had not arrived when the turn began, and the wall clock of `now` knows.
                let (monotonic, wall) = (self.machine.monotonic, Wall(now.wall_ms()));
                let Peers { liveness, readiness, .. } = &mut self.peers;
                liveness.handle_heartbeat_reply(monotonic, wall, from, &beat);
                let ready = readiness.handle_hints_pending(monotonic, from, beat.hints_pending);
                self.note_ready(ready);
            }
            (Machine::Link, _) => return Err(LinkError::Unasked),
        }
        Ok(())
    }

    /// An incoming link was accepted.
    pub(crate) fn accept_link(&mut self) -> LinkId {
        // To whom it leads its hello says.
        let output = Bundles::new(self.node.sizes.pieces);
        let (receiving, age) = (Receiving::new(&self.node), Age::default());
        let incoming = Incoming { from: None, age, output, receiving, closing: false };
        let number = self.peers.next_incoming;
        self.peers.next_incoming += 1;
        self.peers.incoming.insert(number, incoming);
        LinkId(u64::from(self.id) << SHARD_SHIFT | number)
    }

    /// An incoming link is closed.
    pub(crate) fn incoming_closed(&mut self, link: LinkId) {
        self.peers.incoming.remove(&incoming_number(link));
    }

    /// Bytes came on an incoming link: requests.
    pub(crate) fn incoming_input(
        &mut self,
        now: Now,
        link: LinkId,
        input: &mut BytesMut,
    ) -> Result<(), LinkError> {
        let number = incoming_number(link);
        let mut ahead = Vec::with_capacity(Store::PREFETCHED_KEYS_MAX);
        let (read_at, large) = (self.machine.monotonic, self.node.sizes.pieces.large);
        while let Some(incoming) = self.peers.incoming.get_mut(&number) {
            let goes_on = read_ahead(incoming, (read_at, large), input, &mut ahead);
            self.storage.prefetch_effects(ahead.iter().map(|it| &it.frame.message));
            for ahead in ahead.drain(..) {
                self.take_request(now, link, ahead)?;
            }
            if !goes_on? {
                break;
            }
        }
        if let Some(incoming) = self.peers.incoming.get_mut(&number) {
            incoming.receiving.settle(&self.node, &mut incoming.output);
            if let Some((id, _)) = incoming.from {
                self.heard(now.monotonic, id);
            }
        }
        self.service(now);
        Ok(())
    }

    fn take_request(
        &mut self,
        now: Now,
        link: LinkId,
        Ahead { frame, late, in_pieces }: Ahead,
    ) -> Result<(), LinkError> {
        let number = incoming_number(link);
        let Frame { epoch, correlation, message } = frame;
        let known = self.peers.incoming.get(&number).and_then(|incoming| incoming.from);
        let Some((id, incarnation)) = known else {
            let Message::Hello(hello) = message else { return Err(LinkError::Stranger) };
            self.take_hello(now, number, correlation, &hello);
            return Ok(());
        };
        let from = match self.topology().number_of(id) {
            Some(from) if incarnation != self.topology().member(from).incarnation => {
                return Err(LinkError::Replaced);
            }
            Some(from) => from,
            None => self.peers.parting.number_of(id, incarnation).ok_or(LinkError::NoMember)?,
        };
        match message {
            // It has yet to hear that it has left, and is not to take everybody for down meanwhile.
            Message::Heartbeat(_) if self.topology().get(from).is_none() => {
                let beat = self.last_heartbeat();
                self.pass_response(link, correlation, Message::HeartbeatReply(beat));
            }
            Message::Heartbeat(_) => {
                let beat = self.heartbeat(from);
                self.note_pieces(link, id);
                self.pass_response(link, correlation, Message::HeartbeatReply(beat));
            }
            message => {
                let owner = message.reach().shard(self.node.settings.shards);
                let (message, late) = age::shorten(message, late, in_pieces);
                let request = PeerRequest { link, correlation, epoch, from, late, message };
                if owner == self.id {
                    self.receive(now, request);
                } else {
                    self.outbox[usize::from(owner)].push(Mail::PeerRequest(request));
                }
            }
        }
        Ok(())
    }

    /// Takes a peer's request about slots that this shard owns.
    pub(super) fn receive(&mut self, now: Now, request: PeerRequest) {
        if !is_of_round(request.correlation) {
            return self.serve(now, request);
        }
        let taken = self.anti_entropy.handle_question(now.monotonic, &self.storage, request);
        if let Err(request) = taken {
            let reason = "too many questions of anti-entropy rounds wait here";
            self.refuse_request(now, *request, reason);
        }
    }

    /// Too much waits here; nothing was done. A round ends, and begins again after a pause.
    pub(super) fn refuse_request(&mut self, now: Now, request: PeerRequest, reason: &str) {
        let message = Message::Rejected { cause: Cause::Overloaded, text: reason.into() };
        self.respond(now, request.link, request.correlation, message);
    }

    /// Answers a peer's request about slots that this shard owns.
    pub(super) fn serve(&mut self, now: Now, request: PeerRequest) {
        if matches!(request.message, Message::Forward(_)) && !self.has_started() {
            return self.hold_forwarded(now, request);
        }
        if self.serve_cursor(now, &request) {
            return;
        }
        let PeerRequest { link, correlation, epoch, from, late, message } = request;
        // The shard of the link may have heard of a seat or a seal before this one, which refuses
        // until then.
        if epoch == self.topology().epoch() {
            let answer = anti_entropy::answer(&self.storage, from, &message)
                .or_else(|| clocks::answer(&self.storage, from, &message));
            if let Some(answer) = answer {
                return self.respond(now, link, correlation, answer);
            }
            if matches!(message, Message::Replicate { .. } | Message::Relay { .. })
                && !self.peers.is_up(from)
            {
                self.anti_entropy.handle_orphan();
            }
        }
        let (coordinator, storage) = (&mut self.coordinator, &mut self.storage);
        let route = (link, epoch, correlation);
        coordinator.handle_late_message(now.monotonic, storage, route, message, late);
    }

    pub(super) fn note_ready(&mut self, became_ready: bool) {
        if became_ready {
            tracing::info!(shard = self.id, "caught up with all peers");
        }
        if self.peers.is_ready() {
            self.storage.regain();
        }
        self.note_fitness();
    }

    /// An anti-entropy round follows once the hints for a peer are delivered.
    pub(super) fn sync_once_drained(&mut self, now: Now, peer: MemberNumber) {
        use quorate_cluster::handoff::Hints as _;
        if self.storage.pending(peer) == 0 {
            self.anti_entropy.request(now.monotonic, peer);
            self.anti_entropy.handle_timeout(now.monotonic, &mut self.storage);
        }
    }

    /// Clocks cannot tell whether something is missing. While there are hints for the peer, a round
    /// would only bring what they bring.
    pub(super) fn suspected(&mut self, now: Now, peer: MemberNumber) {
        use quorate_cluster::handoff::Hints as _;
        if self.peers.is_up(peer) && self.storage.pending(peer) == 0 {
            self.anti_entropy.request(now.monotonic, peer);
        }
    }

    pub(super) fn synced(&mut self, now: Now, peer: MemberNumber, keys: u64, whole: bool) {
        if keys > 0 {
            let peer = &self.topology().member(peer).name;
            tracing::info!(%peer, keys, whole, "an anti-entropy round has settled differing keys");
        }
        if !whole {
            return;
        }
        self.clocks.handle_synced(peer, &mut self.storage);
        let became_ready = self.peers.readiness.handle_synced(now.monotonic, peer);
        self.note_ready(became_ready);
    }
}
