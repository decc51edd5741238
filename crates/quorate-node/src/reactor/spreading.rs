//! What this node tells all members of itself, and what it hears of them.

use quorate_cluster::{
    gossip::{Gossip, Health, Output},
    limits::{GOSSIP_INTERVAL, GOSSIP_VALUE_MAX},
    membership::Membership,
    time::{Instant, Wall},
};
use quorate_proto::{
    NodeId, frame,
    message::{Abilities, Load, Member, Message, News as _, Place, Volume, Waiting, features},
};

use crate::node::{MemberNews, Node};

/// Gossip of the node, with what it is about.
pub(super) struct Spreading {
    gossip: Gossip,
    /// When the process started, in milliseconds since the Unix epoch.
    started_ms: u64,
    /// Without it the node tells of no memory.
    resident_bytes: Option<fn() -> u64>,
    /// When the load is to be told again.
    load_at: Instant,
    wall: Wall,
}

/// How many members tell their load in a round, on average: how much of that passes through a node
/// does not depend on their number.
const LOADS_PER_ROUND: u32 = 16;

impl Spreading {
    pub(super) fn new(me: NodeId, started_ms: u64) -> Self {
        Self {
            gossip: gossip(me, started_ms),
            started_ms,
            resident_bytes: None,
            load_at: Instant::ZERO,
            wall: Wall(0),
        }
    }

    pub(super) fn use_memory(&mut self, resident_bytes: fn() -> u64) {
        self.resident_bytes = Some(resident_bytes);
    }

    pub(super) fn set_wall(&mut self, wall: Wall) {
        self.wall = wall;
    }

    /// Takes what another node has sent.
    pub(super) fn take(&mut self, now: Instant, from: NodeId, message: Message) {
        self.gossip.handle_message(now, self.wall, from, message);
    }

    /// A round, if one is due: looks at what there is to tell, and publishes what was heard.
    pub(super) fn go_on(
        &mut self,
        now: Instant,
        membership: &Membership,
        node: &Node,
        volume: &Volume,
    ) {
        if self.gossip.me() != membership.me() {
            // The node has taken the seat of the member that it was.
            self.gossip = gossip(membership.me(), self.started_ms);
        }
        if self.gossip.poll_timeout() > now {
            return;
        }
        let view = membership.view();
        self.gossip.set_members(now, view.members.iter().map(|member| member.id));
        if let Some(me) = view.members.iter().find(|member| member.id == membership.me()) {
            let place = Place {
                name: me.name.clone(),
                datacentre: me.datacentre.clone(),
                rack: me.rack.clone(),
                peer_address: me.peer_address.clone(),
                client_address: me.client_address.clone(),
            };
            self.gossip.say(&place, true);
        }
        let protocol = u16::from(frame::VERSION);
        let (shards, epoch) = (node.settings.shards, view.epoch);
        self.gossip.say(&Abilities { protocol, features: features::ALL, shards, epoch }, true);
        if self.load_at <= now {
            let members = u32::try_from(view.members.len()).unwrap_or(u32::MAX);
            self.load_at = now + GOSSIP_INTERVAL * members.div_ceil(LOADS_PER_ROUND);
            self.gossip.say(&self.load(node), false);
            // Before the first change of members there is nothing to be told.
            if view.ownership.is_some() {
                self.gossip.say(volume, false);
            }
        }
        let waiting = waiting(membership, now);
        let was_said = self.gossip.news::<Waiting>(self.gossip.me()).is_some();
        if was_said || !waiting.members.is_empty() {
            self.gossip.say(&waiting, true);
        }
        self.gossip.handle_timeout(now);
        node.set_news(self.heard());
    }

    /// Nodes that wait to be taken in, as other members that are up tell.
    pub(super) fn waiting(&self) -> Vec<Member> {
        let up = self.gossip.members().filter(|(id, health, _)| {
            *id != self.gossip.me() && !matches!(health, Health::Down { .. })
        });
        let told = up.filter_map(|(id, ..)| self.gossip.news::<Waiting>(id));
        let members = told.flat_map(|waiting| waiting.members);
        members.map(|(member, duties)| Member { duties, ..member }).collect()
    }

    fn load(&self, node: &Node) -> Load {
        let metrics = node.metrics();
        Load {
            commands_per_second: metrics.counters.commands_per_second,
            hint_bytes: metrics.hint_bytes,
            log_bytes: metrics.log_bytes,
            memory_bytes: self.resident_bytes.map_or(0, |resident_bytes| resident_bytes()),
            fitness: metrics.fitness,
        }
    }

    fn heard(&self) -> impl Iterator<Item = (NodeId, MemberNews)> {
        self.gossip.members().map(|(id, health, heard)| {
            let abilities = self.gossip.news::<Abilities>(id);
            let (load, volume) = (self.gossip.news(id), self.gossip.news(id));
            (id, MemberNews { abilities, load, volume, health, heard })
        })
    }

    /// What is to be done next.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.gossip.poll_output()
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.gossip.poll_timeout()
    }
}

/// Who has asked this node whether it may become a member: as many as fit in what a node may say.
fn waiting(membership: &Membership, now: Instant) -> Waiting {
    let asked = membership.candidates(now).filter(|candidate| !candidate.is_hearsay);
    let mut waiting = Waiting::default();
    for candidate in asked {
        waiting.members.push((candidate.member.clone(), candidate.member.duties));
        if waiting.encode().len() > GOSSIP_VALUE_MAX {
            waiting.members.pop();
            break;
        }
    }
    waiting
}

/// Nobody else starts at the same moment as the same node, so that is a seed.
fn gossip(me: NodeId, started_ms: u64) -> Gossip {
    let seed = me.0 as u64 ^ started_ms;
    Gossip::new(me, Instant::ZERO, Wall(started_ms), seed)
}
