//! How far slots have come that are on their way: what the shards of this node tell, what it tells
//! others, and the list that follows from what all have told.

use quorate_cluster::{
    movement::{Report, advance},
    peer_map::PeerMap,
};
use quorate_proto::{
    Groups, MemberNumber, NodeId,
    message::{Message, View, Volume},
};

use super::Control;

/// What is known of the progress of a movement.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// By shard.
    own: Vec<Report>,
    others: PeerMap<Report>,
}

impl Progress {
    /// A shard goes by another list: what was level before counts no more.
    fn handle_adopted(&mut self, shard: u16, epoch: u64) {
        let shard = usize::from(shard);
        if self.own.len() <= shard {
            self.own.resize(shard + 1, Report::default());
        }
        self.own[shard] = Report { epoch, level: PeerMap::new() };
    }

    /// In these groups of a shard, this node and a peer are level.
    fn handle_level(&mut self, shard: u16, peer: MemberNumber, groups: Groups) {
        if let Some(report) = self.own.get_mut(usize::from(shard)) {
            report.level.insert(peer, groups);
        }
    }

    /// What this node has to tell, once all of its `shards` have told.
    fn report(&self, shards: u16) -> Report {
        let is_whole = self.own.len() == usize::from(shards);
        let epochs = self.own.iter().map(|report| report.epoch);
        let epoch = epochs.min().filter(|_| is_whole).unwrap_or(0);
        let mut level: PeerMap<Groups> = PeerMap::new();
        for report in self.own.iter().filter(|report| report.epoch == epoch) {
            for (peer, groups) in report.level.iter() {
                let known = level.get_or_default(peer);
                *known = known.union(*groups);
            }
        }
        Report { epoch, level }
    }
}

impl Control {
    /// A shard goes by another list.
    pub(super) fn shard_adopted(&mut self, shard: u16, epoch: u64) {
        self.progress.handle_adopted(shard, epoch);
        self.steering.look_now();
    }

    /// In these groups of a shard, this node and a peer are level.
    pub(super) fn shard_is_level(&mut self, shard: u16, peer: MemberNumber, groups: Groups) {
        self.progress.handle_level(shard, peer, groups);
        self.steering.look_now();
    }

    /// A member asks how far this node has come.
    pub(super) fn tell_progress(&self) -> Message {
        let Report { epoch, level } = self.progress.report(self.node.settings.shards);
        let level = level.iter().map(|(peer, groups)| (peer, groups.bits())).collect();
        Message::Progress { epoch, level }
    }

    /// What this node tells all of what it holds and moves.
    pub(super) fn volume(&self) -> Volume {
        let metrics = self.node.metrics();
        // Who is down has to wait.
        let up = metrics.peers.values().filter(|peer| peer.up);
        let dirty_groups = up.map(|peer| peer.dirty_groups).sum();
        let Report { epoch, .. } = self.progress.report(self.node.settings.shards);
        let (held_bytes, moved_bytes) = (metrics.held_bytes, metrics.moved_bytes);
        Volume { epoch, held_bytes, moved_bytes, dirty_groups }
    }

    /// What the members tell of themselves, as far as they have; this node too.
    pub(super) fn volumes(&self) -> Vec<(MemberNumber, Volume)> {
        let (news, me) = (self.node.news(), self.membership.me());
        let told = self.membership.numbers().iter().filter_map(|(id, number)| {
            let volume = if id == me { Some(self.volume()) } else { news.get(&id)?.volume };
            Some((number, volume?))
        });
        told.collect()
    }

    /// Groups in which some member lacks something that no hint brings it, as the linked members
    /// have told; one more for each that has not told since it goes by the present list.
    pub(super) fn unsettled(&self) -> u64 {
        if self.membership.view().ownership.is_none() {
            // Nobody was given up, and nobody tells.
            return 0;
        }
        let (news, me, epoch) = (self.node.news(), self.membership.me(), self.membership.epoch());
        let of = |(id, _): (NodeId, MemberNumber)| {
            let volume = match id {
                id if id == me => Some(self.volume()),
                id if self.membership.link_to(id).is_none() => return 0,
                id => news.get(&id).and_then(|news| news.volume),
            };
            volume.filter(|volume| volume.epoch >= epoch).map_or(1, |volume| volume.dirty_groups)
        };
        self.membership.numbers().iter().map(of).sum()
    }

    /// A member has told how far it has come.
    pub(super) fn take_progress(
        &mut self,
        member: NodeId,
        epoch: u64,
        level: Vec<(MemberNumber, u64)>,
    ) {
        let Some(number) = self.membership.numbers().of(member) else { return };
        let level = level.into_iter().map(|(peer, groups)| (peer, Groups::from_bits(groups)));
        let report = Report { epoch, level: level.collect() };
        let known = self.progress.others.get(number);
        let is_known = known.is_some_and(|known| {
            known.epoch == epoch && known.level.iter().eq(report.level.iter())
        });
        self.progress.others.insert(number, report);
        if !is_known {
            self.steering.look_now();
        }
    }

    /// The list that follows from what the members have reported so far; `None` while it has to
    /// wait. Asks them again. For whoever brings the next list before the voters, now and then.
    pub(super) fn follow(&mut self, groups_at_once: usize) -> Option<View> {
        let view = self.membership.view();
        view.ownership.as_deref()?.movement.as_ref()?;
        self.membership.ask_progress();
        let me = view.numbers.of(self.membership.me())?;
        let own = self.progress.report(self.node.settings.shards);
        self.progress.others.insert(me, own);
        let linked: Vec<MemberNumber> = view
            .numbers
            .iter()
            .filter(|(id, number)| *number == me || self.membership.link_to(*id).is_some())
            .map(|(_, number)| number)
            .collect();
        advance(&view, &self.progress.others, |number| linked.contains(&number), groups_at_once)
    }
}
