//! Orders of operators, which come by way of the shards, and what goes on by itself afterwards.

use std::time::Duration;

use quorate_cluster::{
    membership::{Carried, Order, OrderError, Standing},
    movement,
    peer_map::PeerMap,
    time::Instant,
    topology::placed,
};
use quorate_proto::{
    Duties, MemberNumber, ReplicationFactor, Slot,
    duties::WEIGHT_DEFAULT,
    message::{Member, View, features},
    ownership::{Ownership, Phase},
    resp::ReplyWriter,
    slot::SLOTS_PER_GROUP,
};

use super::{Control, Output};
use crate::shard::{Mail, Now};

/// How often the first of the voters looks whether what was decided can go on.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How soon it looks again after a step. Each further look comes after twice as long, until [`LOOK_EVERY`]:
/// where little is to be moved, a step takes a few turns of the members.
const LOOK_SOON: Duration = Duration::from_millis(10);

/// How long news of members are waited for that an order needs.
const NEWS_PATIENCE: Duration = Duration::from_secs(5);

/// Groups of slots that are on their way together, at least.
const GROUPS_AT_ONCE: usize = 16;

/// More of them are, as long as what is to be copied of all is less than about so many bytes: each
/// step has its price, however little it moves.
const BYTES_AT_ONCE: u64 = 64 << 20;

/// How long a majority of the voters is away before that is said.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// How often it is said then.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What a client of a shard wants of the control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steer {
    /// The shard, and by what it knows who is to have the reply.
    pub(crate) shard: u16,
    pub(crate) ticket: u64,
    /// Whether the reply is one of RESP3.
    pub(crate) resp3: bool,
    pub(crate) wish: Wish,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// How the cluster stands.
    Status,
    /// A change, or, if it is a trial, what it comes to.
    Order { order: Order, is_trial: bool },
}

/// What a lost member kept for others.
#[derive(Clone, Copy, Debug, Default)]
struct LostHints {
    bytes: u64,
    /// How long ago it was heard of.
    heard_seconds: u64,
}

/// Who waits for the end of orders, and when to look next.
#[derive(Debug)]
pub(super) struct Steering {
    /// By the tickets that the membership knows: shards, their tickets, and the protocol.
    waiting: Vec<(u64, Steer, LostHints)>,
    next_ticket: u64,
    /// Orders that wait for news of the members, and until when.
    early: Vec<(Steer, Instant)>,
    look_at: Instant,
    /// Between this look and the next one.
    pause: Duration,
    /// The epoch at the last look.
    looked_epoch: u64,
    /// Since when a majority of the voters is away.
    majority_lost_at: Option<Instant>,
    /// When that is said next.
    majority_told_at: Instant,
    /// How many slots each member holds by the list of an epoch.
    held: (u64, PeerMap<u64>),
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            next_ticket: 0,
            early: Vec::new(),
            look_at: Instant::ZERO,
            pause: LOOK_EVERY,
            looked_epoch: 0,
            majority_lost_at: None,
            majority_told_at: Instant::ZERO,
            held: (0, PeerMap::new()),
        }
    }
}

impl Steering {
    pub(super) fn poll_timeout(&self) -> Instant {
        self.look_at
    }

    /// Somebody has come further.
    pub(super) fn look_now(&mut self) {
        self.look_at = Instant::ZERO;
    }
}

impl Control {
    /// A client wants something.
    pub(super) fn steer(&mut self, now: Now, steer: Steer) {
        self.count_held();
        match steer.wish.clone() {
            Wish::Status => {
                let mut reply = Vec::new();
                self.write_topology(now, &mut ReplyWriter::new(&mut reply, steer.resp3));
                self.answer(&steer, reply);
            }
            Wish::Order { .. } => {
                let until = now.monotonic + NEWS_PATIENCE;
                self.take_order(now.monotonic, steer, until);
            }
        }
    }

    /// Brings an order before the membership, once all members are known to understand what it brings
    /// into the list: that is waited for until then.
    fn take_order(&mut self, now: Instant, steer: Steer, until: Instant) {
        let Wish::Order { order, is_trial } = steer.wish.clone() else { return };
        let behind = self.members_behind(now, &order).join(", ");
        if behind.is_empty() {
            let ticket = self.steering.next_ticket;
            self.steering.next_ticket += 1;
            if !is_trial {
                tracing::info!(?order, "an operator wants a change of the cluster");
            }
            let lost = self.lost_hints(now, &order);
            self.steering.waiting.push((ticket, steer, lost));
            self.membership.handle_order(now, ticket, order, is_trial);
        } else if now < until {
            self.steering.early.push((steer, until));
        } else {
            let mut reply = Vec::new();
            ReplyWriter::new(&mut reply, steer.resp3).error(format!(
                "ERR not every member is known to understand that: {behind}. Start the same version on all members \
                 first"
            ));
            self.answer(&steer, reply);
        }
    }

    /// The members that have not said that they know what an order brings into the list.
    fn members_behind(&self, now: Instant, order: &Order) -> Vec<String> {
        let comes_with_duties = |name: &str| {
            let mut candidates = self.membership.candidates(now).map(|it| &it.member);
            candidates.any(|it| it.name == name && it.duties != Duties::default())
        };
        let needs_duties = match order {
            Order::SetWeight(_, weight) => *weight != WEIGHT_DEFAULT,
            Order::Drain(_) => true,
            Order::Join(name) | Order::Replace(_, name) => comes_with_duties(name),
            _ => false,
        };
        if !needs_duties {
            return Vec::new();
        }
        let news = self.node.news();
        let knows = |id| {
            let abilities = news.get(&id).and_then(|news| news.abilities);
            abilities.is_some_and(|abilities| abilities.features & features::DUTIES != 0)
        };
        let members = self.membership.view().members;
        let behind =
            members.into_iter().filter(|it| it.id != self.membership.me() && !knows(it.id));
        behind.map(|member| member.name).collect()
    }

    /// What has come of an order.
    pub(super) fn carried(&mut self, ticket: u64, result: Result<Carried, OrderError>) {
        let found = self.steering.waiting.iter().position(|(waits, ..)| *waits == ticket);
        let Some(found) = found else { return };
        let (_, steer, lost) = self.steering.waiting.swap_remove(found);
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, steer.resp3);
        match result {
            Ok(Carried { epoch, summary, changes }) => {
                let pace = self.node.adjustable.movement_bytes_per_second();
                let each = self.bytes_of_a_copy();
                writer.map(9);
                for (name, value) in [
                    ("changes", u64::from(changes)),
                    ("epoch", epoch),
                    ("slots", u64::from(summary.slots)),
                    ("copies", u64::from(summary.copies)),
                    ("bytes", each.saturating_mul(summary.copies.into())),
                    ("pace", pace),
                    ("lost_hint_bytes", lost.bytes),
                    ("lost_heard_seconds", lost.heard_seconds),
                    ("seconds", each.saturating_mul(summary.busiest.into()).div_ceil(pace.max(1))),
                ] {
                    writer.text(name);
                    writer.integer(i64::try_from(value).unwrap_or(i64::MAX));
                }
            }
            Err(error) => writer.error(format!("ERR {error}")),
        }
        self.answer(&steer, reply);
    }

    /// Counts what each member holds, once for each final list.
    fn count_held(&mut self) {
        let view = self.membership.view();
        if view.sealed && self.steering.held.0 != view.epoch {
            self.steering.held = (view.epoch, held_by(&view));
        }
    }

    /// What a member that is to be given up kept for others, as it has said last.
    fn lost_hints(&self, now: Instant, order: &Order) -> LostHints {
        let Order::RemoveDead(name) = order else { return LostHints::default() };
        let view = self.membership.view();
        let is_it = |member: &&Member| member.name == *name || member.id.to_string() == *name;
        let Some(member) = view.members.iter().find(is_it) else { return LostHints::default() };
        let news = self.node.news();
        let Some(news) = news.get(&member.id) else { return LostHints::default() };
        LostHints {
            bytes: news.load.map_or(0, |load| load.hint_bytes),
            heard_seconds: now.since(news.heard).as_secs(),
        }
    }

    fn answer(&mut self, steer: &Steer, reply: Vec<u8>) {
        let mail = Mail::Reply { ticket: steer.ticket, reply: reply.into() };
        self.connections.outputs.push_back(Output::Mail { shard: steer.shard, mail });
    }

    /// Goes on with what was decided, if that is for this node to do.
    pub(super) fn look_further(&mut self, now: Instant) {
        if now < self.steering.look_at {
            return;
        }
        self.steering.pause = (2 * self.steering.pause).min(LOOK_EVERY);
        self.steering.look_at = now + self.steering.pause;
        for (steer, until) in std::mem::take(&mut self.steering.early) {
            self.take_order(now, steer, until);
        }
        if self.membership.standing() != Standing::Sealed {
            return;
        }
        self.tell_of_majority(now);
        if self.membership.is_driver() {
            self.look_soon_after_a_step(now);
            let groups_at_once = self.groups_at_once();
            let next = self.follow(groups_at_once);
            self.membership.go_on(now, next);
        }
    }

    fn look_soon_after_a_step(&mut self, now: Instant) {
        let epoch = self.membership.epoch();
        if std::mem::replace(&mut self.steering.looked_epoch, epoch) != epoch {
            self.steering.pause = LOOK_SOON;
            self.steering.look_at = now + LOOK_SOON;
        }
    }

    /// How many groups of slots are to be on their way together.
    fn groups_at_once(&mut self) -> usize {
        self.count_held();
        let each = self.bytes_of_a_copy() * u64::from(SLOTS_PER_GROUP);
        let fitting = BYTES_AT_ONCE.checked_div(each).unwrap_or(0);
        GROUPS_AT_ONCE.max(usize::try_from(fitting).unwrap_or(usize::MAX))
    }

    fn tell_of_majority(&mut self, now: Instant) {
        if self.membership.has_majority() {
            self.steering.majority_lost_at = None;
            return;
        }
        let lost_at = *self.steering.majority_lost_at.get_or_insert_with(|| {
            self.steering.majority_told_at = now + TOLD_AFTER;
            now
        });
        if self.steering.majority_told_at <= now {
            self.steering.majority_told_at = now + TOLD_EVERY;
            let seconds = now.since(lost_at).as_secs();
            let away = self.membership.voters_away().join(", ");
            tracing::warn!(
                away,
                seconds,
                "a majority of the voters is away: the cluster serves, and its members cannot be changed. Start \
                 them; if they are lost for good, see quorate override"
            );
        }
    }

    /// For how many seconds a majority of the voters has been away.
    fn majority_lost_for(&self, now: Instant) -> u64 {
        self.steering.majority_lost_at.map_or(0, |lost_at| now.since(lost_at).as_secs())
    }

    /// About how many bytes a replica of a slot has, by what the members tell that hold any.
    fn bytes_of_a_copy(&self) -> u64 {
        let (_, held) = &self.steering.held;
        let volumes = self.volumes();
        let told = volumes.iter().map(|(number, volume)| {
            let copies = held.get(*number).copied().unwrap_or(0);
            (if copies > 0 { volume.held_bytes } else { 0 }, copies)
        });
        let (bytes, copies) = told.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        bytes / u64::max(copies, 1)
    }

    /// The reply to `QUORATE TOPOLOGY STATUS`.
    fn write_topology(&self, now: Now, writer: &mut ReplyWriter<'_>) {
        let view = self.membership.view();
        let decision = self.membership.decision();
        let counts = Counts::of(&view);
        let numbers = [
            ("epoch", view.epoch),
            ("sealed", u64::from(view.sealed)),
            ("paused", u64::from(decision.as_ref().is_some_and(|(it, _)| it.is_paused))),
            ("majority", u64::from(self.membership.has_majority())),
            ("majority_lost_seconds", self.majority_lost_for(now.monotonic)),
            ("moving", counts.moving),
            ("waiting", counts.phases[0]),
            ("filling", counts.phases[1]),
            ("joint", counts.phases[2]),
            ("moved", counts.phases[3]),
            ("copies", counts.copies),
            ("copies_bytes", counts.copies.saturating_mul(self.bytes_of_a_copy())),
            ("round_bytes", self.volumes().iter().map(|(_, volume)| volume.moved_bytes).sum()),
            ("unsettled", self.unsettled()),
        ];
        writer.map(numbers.len() + 9);
        writer.text("rf");
        match &view.replication_factor {
            ReplicationFactor::Everywhere(factor) => writer.integer((*factor).into()),
            each @ ReplicationFactor::ByDatacentre(_) => writer.text(&each.to_string()),
        }
        for (name, value) in numbers {
            writer.text(name);
            writer.integer(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let name_of = |number: MemberNumber| {
            let is_it = |member: &&Member| view.numbers.of(member.id) == Some(number);
            view.members.iter().find(is_it).map(|member| member.name.clone())
        };
        let members = view.members.iter().map(|member| member.name.clone());
        write_list(writer, "members", &members.collect::<Vec<_>>());
        write_list(writer, "weights", &in_words(&view, |duties| Some(duties.weight.to_string())));
        let (_, held) = &self.steering.held;
        let held = view.numbers.iter().filter_map(|(_, number)| {
            let slots = held.get(number).copied().unwrap_or(0);
            Some(format!("{}:{slots}", name_of(number)?))
        });
        write_list(writer, "held", &held.collect::<Vec<_>>());
        let drained = |duties: Duties| duties.is_drained.then(String::new);
        write_list(writer, "drained", &in_words(&view, drained));
        let leaving = movement::leaving(&view).iter().filter_map(|number| name_of(*number));
        write_list(writer, "leaving", &leaving.collect::<Vec<_>>());
        let voters = decision.map(|(_, voters)| voters).unwrap_or_default();
        let named = voters.iter().map(|voter| {
            let member = view.members.iter().find(|member| member.id == voter.member);
            member.map_or_else(|| voter.member.to_string(), |member| member.name.clone())
        });
        write_list(writer, "voters", &named.collect::<Vec<_>>());
        write_list(writer, "voters_away", &self.membership.voters_away());
        let candidates = self.membership.candidates(now.monotonic);
        let candidates: Vec<_> = candidates.map(|candidate| &candidate.member).collect();
        writer.text("candidates");
        writer.array(candidates.len());
        for member in candidates {
            writer.map(4);
            for (name, value) in [
                ("name", &member.name),
                ("peer_address", &member.peer_address),
                ("dc", &member.datacentre),
                ("rack", &member.rack),
            ] {
                writer.text(name);
                writer.text(value);
            }
        }
    }
}

/// Of each member that there is something to say of: its name, and that behind a colon.
fn in_words(view: &View, say: impl Fn(Duties) -> Option<String>) -> Vec<String> {
    let words = view.members.iter().filter_map(|member| {
        let said = say(member.duties)?;
        let colon = if said.is_empty() { "" } else { ":" };
        Some(format!("{}{colon}{said}", member.name))
    });
    words.collect()
}

fn write_list(writer: &mut ReplyWriter<'_>, name: &str, items: &[String]) {
    writer.text(name);
    writer.array(items.len());
    items.iter().for_each(|item| writer.text(item));
}

/// Slots that go to other members, by phase.
#[derive(Default)]
struct Counts {
    moving: u64,
    phases: [u64; 4],
    /// Replicas that are made.
    copies: u64,
}

/// How many slots each member holds by a final list, before those on their way have moved.
fn held_by(view: &View) -> PeerMap<u64> {
    let placed = || placed(view, &view.numbers);
    let owners = match view.ownership.as_deref() {
        Some(ownership) => &ownership.owners,
        None => &placed(),
    };
    let mut held: PeerMap<u64> = PeerMap::new();
    let mut next = 0;
    for (last, owners) in owners.runs() {
        let slots = u64::from(last.number()) + 1 - next;
        next += slots;
        owners.iter().for_each(|owner| *held.get_or_default(*owner) += slots);
    }
    held
}

impl Counts {
    fn of(view: &View) -> Self {
        let mut counts = Self::default();
        let Some(Ownership { owners, movement: Some(movement) }) = view.ownership.as_deref() else {
            return counts;
        };
        for slot in Slot::all() {
            let (old, new) = (owners.get(slot), movement.target.get(slot));
            if old.len() != new.len() || old.iter().any(|owner| !new.contains(owner)) {
                let phase: Phase = *movement.phases.get(slot);
                counts.moving += 1;
                counts.copies += new.iter().filter(|owner| !old.contains(owner)).count() as u64;
                counts.phases[phase as usize] += 1;
            }
        }
        counts
    }
}
