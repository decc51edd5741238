//! Some nodes whose data are sets of dots: whether a claim is true is easy to see.

use alloc::{collections::BTreeSet, vec};
use core::time::Duration;

use proptest::prelude::*;
use quorate_proto::{DotRange, Origin, Start, message::DottedEffect, slot::GROUPS};

use super::*;
use crate::limits::{
    CLOCKS_EFFECTS_BYTES, CLOCKS_PULLED_MAX, CLOCKS_SLOTS_PER_MESSAGE, CLOCKS_SUSPICION_PAUSE,
};

/// The data of one shard of a node.
#[derive(Debug)]
struct Data {
    origin: Origin,
    shard: u16,
    shards: u16,
    knowledge: Knowledge,
    held: BTreeSet<(Slot, Dot)>,
    refuses: bool,
    incomplete: bool,
    /// Bytes of each effect beyond what it must have.
    padding: usize,
}

/// Knowledge that notes the first starts of some members.
fn knowing(members: u16, starts: u32) -> Knowledge {
    let mut knowledge = Knowledge::default();
    let origins = (0..members).flat_map(|number| {
        (1..=starts).map(move |start| Origin::new(number, Start::from_random(start)))
    });
    knowledge.set_current(origins);
    knowledge
}

impl Data {
    fn new(node: u16, start: u32) -> Self {
        Self {
            origin: Origin::new(node, Start::from_random(start)),
            shard: 0,
            shards: 1,
            knowledge: knowing(3, 2),
            held: BTreeSet::new(),
            refuses: false,
            incomplete: false,
            padding: 0,
        }
    }

    fn write(&mut self, slot: Slot) -> (Dot, Bytes) {
        let mut next = 1;
        let held = self.held.iter().filter(|(of, dot)| *of == slot && dot.origin == self.origin);
        next += held.map(|(_, dot)| dot.counter).max().unwrap_or(0);
        let expected = Dot { origin: self.origin, counter: next };
        let mut effect = expected.to_bytes().to_vec();
        effect.resize(Dot::LENGTH + self.padding, 0);
        let effect = Bytes::from(effect);
        let (dot, _) = self.knowledge.issue(slot, self.origin, &effect).expect("room");
        assert_eq!(dot, expected);
        self.held.insert((slot, dot));
        (dot, effect)
    }

    fn claimed(&self) -> BTreeSet<(Slot, Dot)> {
        self.claimed_of(Slot::all())
    }

    fn claimed_of(&self, slots: impl Iterator<Item = Slot>) -> BTreeSet<(Slot, Dot)> {
        let origins = slots.flat_map(|slot| {
            self.knowledge.of_slot(slot).map(move |(origin, counters)| (slot, origin, counters))
        });
        let dots = origins.flat_map(|(slot, origin, counters)| {
            let counters = counters.ranges().flat_map(|(first, last)| first..=last);
            counters.map(move |counter| (slot, Dot { origin, counter }))
        });
        dots.collect()
    }
}

impl Holdings for Data {
    fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }
    fn knowledge_mut(&mut self) -> &mut Knowledge {
        &mut self.knowledge
    }
    fn is_shared(&self, slot: Slot, _: MemberNumber) -> bool {
        slot.group() % self.shards == self.shard
    }
    fn is_complete(&self) -> bool {
        !self.incomplete
    }
    fn merge_dotted(&mut self, slot: Slot, dots: Vec<Dot>, effect: &Bytes) -> bool {
        if self.refuses {
            return false;
        }
        let dot = Dot::from_bytes(*effect.first_chunk().expect("a dot")).expect("a dot");
        assert_eq!(dots, [dot]);
        self.held.insert((slot, dot));
        self.knowledge.note(slot, dots, effect);
        true
    }
    fn shards(&self) -> u16 {
        self.shards
    }
    fn groups(&self) -> Vec<u16> {
        (0..GROUPS).filter(|group| group % self.shards == self.shard).collect()
    }
}

const ME: MemberNumber = MemberNumber(0);
const PEER: MemberNumber = MemberNumber(1);
const A_WHILE: Duration = Duration::from_millis(300);

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("a slot")
}

/// Node 0, which asks, and the shards of node 1.
struct Pair {
    now: Instant,
    clocks: Clocks,
    ours: Data,
    theirs: Vec<Data>,
    /// Kinds of what was asked.
    asked: Vec<Message>,
    suspects: usize,
    /// What the peer answers whatever it is asked to send.
    repeats: Option<Message>,
}

impl Pair {
    fn new() -> Self {
        let mut clocks = Clocks::new(7);
        clocks.handle_peer_up(Instant::ZERO, PEER);
        let (ours, theirs) = (Data::new(0, 1), vec![Data::new(1, 1)]);
        let (now, asked) = (Instant::ZERO, Vec::new());
        Self { now, clocks, ours, theirs, asked, suspects: 0, repeats: None }
    }

    fn level() -> Self {
        let mut pair = Self::new();
        pair.exchange();
        pair.round();
        pair.asked.clear();
        pair.suspects = 0;
        pair
    }

    fn write(&mut self, number: u16) -> Dot {
        let shard = usize::from(slot(number).group()) % self.theirs.len();
        self.theirs[shard].write(slot(number)).0
    }

    /// One exchange, if it is time for one.
    fn exchange(&mut self) {
        self.now += Duration::from_secs(1);
        self.clocks.handle_timeout(self.now, &mut self.ours);
        while let Some(output) = self.clocks.poll_output() {
            let Output::Send { to: PEER, correlation, message } = output else {
                self.suspects += 1;
                continue;
            };
            let group = match &message {
                Message::AskClocks { group, .. } | Message::AskDots { group, .. } => *group,
                other => panic!("unexpected {other:?}"),
            };
            let theirs = &self.theirs[usize::from(group) % self.theirs.len()];
            let honest = answer(theirs, ME, &message).expect("a question");
            let pulls = matches!(message, Message::AskDots { .. });
            let answer = self.repeats.clone().filter(|_| pulls).unwrap_or(honest);
            self.asked.push(message);
            let (now, ours) = (self.now, &mut self.ours);
            self.clocks.handle_response(now, ours, PEER, correlation, answer);
        }
        assert!(self.ours.claimed().is_subset(&self.ours.held));
    }

    /// An anti-entropy round of everything.
    fn round(&mut self) {
        self.clocks.handle_round_begun(PEER);
        for theirs in &mut self.theirs {
            self.ours.held.extend(&theirs.held);
            theirs.held.extend(&self.ours.held);
        }
        self.clocks.handle_synced(PEER, &mut self.ours);
    }

    fn holds(&self, number: u16, dot: Dot) -> bool {
        self.ours.held.contains(&(slot(number), dot))
    }

    fn pulls(&self) -> usize {
        self.asked.iter().filter(|asked| matches!(asked, Message::AskDots { .. })).count()
    }
}

#[test]
fn what_is_lacking_at_a_later_look_is_pulled() {
    let mut pair = Pair::level();
    let dot = pair.write(7);
    pair.exchange();
    assert!(!pair.holds(7, dot), "it may be on its way");
    pair.exchange();
    assert!(pair.holds(7, dot));
    let metrics = pair.clocks.metrics();
    assert_eq!((metrics.pulled, metrics.absent, metrics.pended), (1, 0, 0));
    // Nothing is left to do: only one question, and the same few bytes each time.
    let (asked, bytes) = (pair.asked.len(), metrics.bytes);
    pair.exchange();
    let idle = pair.clocks.metrics().bytes - bytes;
    pair.exchange();
    assert_eq!(pair.asked.len(), asked + 2);
    assert_eq!(pair.clocks.metrics().bytes - bytes, 2 * idle);
    assert!(idle < 128, "{idle} bytes");
}

#[test]
fn what_comes_by_itself_is_not_pulled() {
    let mut pair = Pair::level();
    let (dot, effect) = pair.theirs[0].write(slot(7));
    pair.exchange();
    assert!(pair.ours.merge_dotted(slot(7), vec![dot], &effect));
    pair.exchange();
    pair.exchange();
    assert_eq!(pair.pulls(), 0);
}

#[test]
fn before_a_whole_round_everything_waits_for_one_that_begins_later() {
    let mut pair = Pair::new();
    let first = pair.write(7);
    pair.clocks.handle_round_begun(PEER);
    pair.exchange();
    pair.exchange();
    assert_eq!((pair.pulls(), pair.suspects), (0, 1), "and a round is asked for");
    // The round that is completed began before the report: this is history still.
    pair.clocks.handle_synced(PEER, &mut pair.ours);
    let second = pair.write(7);
    (0..2).for_each(|_| pair.exchange());
    assert!(pair.ours.claimed().is_empty());
    assert_eq!((pair.pulls(), pair.clocks.metrics().pended), (0, 1));
    pair.round();
    let history = [first, second].map(|dot| (slot(7), dot));
    assert_eq!(pair.ours.claimed(), history.into());
    assert_eq!(pair.clocks.metrics().pended, 0);
    let third = pair.write(7);
    (0..2).for_each(|_| pair.exchange());
    assert!(pair.holds(7, third), "what is new is pulled");
}

#[test]
fn what_a_peer_has_forgotten_waits_for_a_round() {
    let mut pair = Pair::level();
    pair.now += CLOCKS_SUSPICION_PAUSE;
    let dot = pair.write(7);
    pair.theirs[0].knowledge.age();
    pair.theirs[0].knowledge.age();
    pair.exchange();
    pair.exchange();
    let metrics = pair.clocks.metrics();
    assert_eq!((metrics.absent, metrics.pended, pair.suspects), (1, 1, 1));
    assert!(!pair.ours.claimed().contains(&(slot(7), dot)));
    let pulls = pair.pulls();
    // It is neither asked for again, nor is another round asked for at once.
    pair.write(8);
    pair.exchange();
    assert_eq!((pair.pulls(), pair.suspects), (pulls, 1));
    pair.round();
    assert!(pair.ours.claimed().contains(&(slot(7), dot)));
}

#[test]
fn much_of_one_slot_is_for_digests() {
    let mut pair = Pair::level();
    for _ in 0..=CLOCKS_PULLED_MAX {
        pair.write(7);
    }
    let other = pair.write(8);
    (0..2).for_each(|_| pair.exchange());
    assert!(pair.holds(8, other));
    let metrics = pair.clocks.metrics();
    assert_eq!((metrics.pulled, metrics.pended), (1, 1));
}

#[test]
fn a_flood_comes_in_pages_and_large_effects_in_pieces() {
    let mut pair = Pair::level();
    pair.theirs[0].padding = CLOCKS_EFFECTS_BYTES / 3;
    let many: Vec<Dot> = (0..10).map(|_| pair.write(7)).collect();
    pair.theirs[0].padding = 0;
    let slots = 3 * CLOCKS_SLOTS_PER_MESSAGE as u16;
    for number in 1_000..1_000 + slots {
        pair.write(number);
    }
    pair.exchange();
    assert_eq!(pair.asked.len(), 4, "pages");
    pair.exchange();
    assert!(many.iter().all(|dot| pair.holds(7, *dot)));
    assert_eq!(pair.ours.held, pair.theirs[0].held);
    assert_eq!(pair.ours.claimed(), pair.theirs[0].claimed());
}

#[test]
fn a_refused_effect_is_not_known_and_is_asked_for_the_next_time() {
    let mut pair = Pair::level();
    let dot = pair.write(7);
    pair.ours.refuses = true;
    (0..4).for_each(|_| pair.exchange());
    assert_eq!(pair.pulls(), 3, "once in each exchange");
    assert!(!pair.holds(7, dot));
    pair.ours.refuses = false;
    pair.exchange();
    assert!(pair.holds(7, dot));
}

#[test]
fn a_peer_that_repeats_itself_is_asked_once_in_each_exchange() {
    let mut pair = Pair::level();
    let old = pair.write(7);
    (0..2).for_each(|_| pair.exchange());
    assert_eq!((pair.holds(7, old), pair.pulls()), (true, 1));
    let new = pair.write(7);
    let effect = Bytes::copy_from_slice(&old.to_bytes());
    let effects = vec![DottedEffect { slot: slot(7), dots: vec![old], effect }];
    pair.repeats = Some(Message::Dots { effects, absent: Vec::new() });
    (0..4).for_each(|_| pair.exchange());
    assert_eq!((pair.holds(7, new), pair.pulls()), (false, 1 + 3));
    pair.repeats = None;
    pair.exchange();
    assert!(pair.holds(7, new));
}

#[test]
fn the_last_dots_that_there_can_be_are_asked_for() {
    let mut pair = Pair::level();
    let origin = Origin::new(1, Start::from_random(1));
    let claim = DotRange { origin, first: u64::MAX - 2, last: u64::MAX - 1 };
    let mut claimed = Counters::default();
    claimed.insert_range(claim.first, claim.last);
    pair.theirs[0].knowledge.note_all(slot(7), origin, &claimed);
    (0..2).for_each(|_| pair.exchange());
    let wanted = vec![SlotDots { slot: slot(7), ranges: vec![claim] }];
    assert!(pair.asked.contains(&Message::AskDots { group: 0, wanted }));
}

#[test]
fn nodes_have_different_numbers_of_shards() {
    for (shard, ours, theirs) in [(0, 1, 3), (1, 3, 1), (1, 2, 4), (3, 4, 6)] {
        let mut pair = Pair::new();
        (pair.ours.shard, pair.ours.shards) = (shard, ours);
        pair.theirs =
            (0..theirs).map(|shard| Data { shard, shards: theirs, ..Data::new(1, 1) }).collect();
        pair.exchange();
        pair.round();
        for number in (0..quorate_proto::slot::SLOTS).step_by(100) {
            pair.write(number);
        }
        (0..2).for_each(|_| pair.exchange());
        let shared = pair.theirs.iter().flat_map(|theirs| &theirs.held);
        let shared: BTreeSet<_> =
            shared.filter(|(slot, _)| slot.group() % ours == shard).copied().collect();
        assert!(!shared.is_empty());
        assert_eq!(pair.ours.held, shared, "{shard} of {ours}, and {theirs}");
    }
}

#[test]
fn an_incomplete_node_claims_nothing() {
    let mut pair = Pair::level();
    let dot = pair.write(7);
    pair.theirs[0].incomplete = true;
    (0..3).for_each(|_| pair.exchange());
    assert!(!pair.holds(7, dot));
    pair.theirs[0].incomplete = false;
    (0..2).for_each(|_| pair.exchange());
    assert!(pair.holds(7, dot));
}

#[test]
fn what_a_peer_said_before_its_link_closed_does_not_count() {
    let mut pair = Pair::level();
    let dot = pair.write(7);
    pair.theirs[0].knowledge.age();
    pair.theirs[0].knowledge.age();
    (0..2).for_each(|_| pair.exchange());
    assert_eq!(pair.clocks.metrics().pended, 1);
    // It comes back, and has lost what it had told.
    pair.clocks.handle_peer_down(PEER);
    pair.theirs[0] = Data::new(1, 2);
    pair.clocks.handle_peer_up(pair.now, PEER);
    pair.round();
    (0..2).for_each(|_| pair.exchange());
    assert!(!pair.ours.claimed().contains(&(slot(7), dot)));
}

/// Nodes that replicate, lose messages, lose links, restart with or without their data, and have
/// anti-entropy rounds.
struct World {
    now: Instant,
    random: Random,
    nodes: Vec<Node>,
    /// Requests and their answers on the way: when they arrive, the asker, its link and the
    /// answerer.
    mail: Vec<(Instant, usize, u64, usize, u64, Message)>,
}

struct Node {
    data: Data,
    clocks: Clocks,
    /// By peer: counts the links, and whether there is one.
    links: Vec<(u64, bool)>,
    starts: u32,
}

const SLOTS_USED: u32 = 4;

fn slot_used(number: u16) -> Slot {
    slot(number * 700)
}

impl World {
    fn new(seed: u64) -> Self {
        let node = |node: u16| Node {
            data: Data::new(node, 1),
            clocks: Clocks::new(seed ^ u64::from(node)),
            links: vec![(0, false); 3],
            starts: 1,
        };
        let nodes = (0..3).map(node).collect();
        let random = Random::new(seed);
        let mut world = Self { now: Instant::ZERO, random, nodes, mail: Vec::new() };
        world.tell_origins();
        world
    }

    /// Everybody hears which starts there are.
    fn tell_origins(&mut self) {
        let starts = self.nodes.iter().zip(0..).flat_map(|(node, number)| {
            [node.starts, node.starts - 1]
                .map(|start| Origin::new(number, Start::from_random(start)))
        });
        let origins: Vec<Origin> = starts.collect();
        for node in &mut self.nodes {
            node.data.knowledge.set_current(origins.iter().copied());
        }
    }

    fn others(of: usize) -> impl Iterator<Item = usize> {
        (0..3).filter(move |other| *other != of)
    }

    fn link(&mut self, from: usize, to: usize, up: bool) {
        let now = self.now;
        let Node { clocks, links, .. } = &mut self.nodes[from];
        if links[to].1 == up {
            return;
        }
        links[to] = (links[to].0 + u64::from(up), up);
        let peer = MemberNumber(to as u16);
        if up { clocks.handle_peer_up(now, peer) } else { clocks.handle_peer_down(peer) }
    }

    fn write(&mut self, node: usize, loss_percent: u32) {
        let slot = slot_used(self.random.below(SLOTS_USED) as u16);
        let (dot, effect) = self.nodes[node].data.write(slot);
        for other in Self::others(node) {
            if self.random.below(100) >= loss_percent {
                self.nodes[other].data.merge_dotted(slot, vec![dot], &effect);
            }
        }
    }

    fn restart(&mut self, node: usize, with_data: bool) {
        for other in Self::others(node) {
            self.link(node, other, false);
            self.link(other, node, false);
        }
        let starts = self.nodes[node].starts + 1;
        let seed = self.random.next_u64();
        let old = &mut self.nodes[node];
        let held = core::mem::take(&mut old.data.held);
        old.data = Data::new(node as u16, starts);
        old.data.held = if with_data { held } else { BTreeSet::new() };
        (old.clocks, old.starts) = (Clocks::new(seed), starts);
        self.tell_origins();
    }

    /// An anti-entropy round, which exchanges what both held when it began, or is cut short.
    fn round(&mut self, node: usize, peer: usize) {
        if !self.nodes[node].links[peer].1 {
            return;
        }
        self.nodes[node].clocks.handle_round_begun(MemberNumber(peer as u16));
        let begun = [node, peer].map(|node| self.nodes[node].data.held.clone());
        let link = self.nodes[node].links[peer];
        (0..self.random.below(4)).for_each(|_| self.step());
        if self.nodes[node].links[peer] != link || self.random.below(4) == 0 {
            return;
        }
        for one in [node, peer] {
            begun.iter().for_each(|held| self.nodes[one].data.held.extend(held));
        }
        let Node { data, clocks, .. } = &mut self.nodes[node];
        clocks.handle_synced(MemberNumber(peer as u16), data);
    }

    /// Something happens, and a little time passes.
    fn step(&mut self) {
        let node = self.random.below(3) as usize;
        let other = (node + 1 + self.random.below(2) as usize) % 3;
        match self.random.below(40) {
            0..12 => self.write(node, 20),
            12..16 => self.link(node, other, true),
            16 => self.link(node, other, false),
            17..19 => self.round(node, other),
            19 if self.random.below(4) == 0 => {
                let with_data = self.random.below(2) == 0;
                self.restart(node, with_data);
            }
            20 if self.random.below(4) == 0 => self.nodes[node].data.knowledge.age(),
            _ => {}
        }
        let pause = u64::from(self.random.below(400));
        self.pass(Duration::from_millis(pause));
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        for index in 0..3 {
            let Node { data, clocks, .. } = &mut self.nodes[index];
            clocks.handle_timeout(self.now, data);
            self.send(index);
        }
        self.deliver();
        self.check();
    }

    fn send(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].clocks.poll_output() {
            let Output::Send { to, correlation, message } = output else { continue };
            let delay = u64::from(self.random.below(300));
            let (at, link) =
                (self.now + Duration::from_millis(delay), self.nodes[index].links[to.index()].0);
            self.mail.push((at, index, link, to.index(), correlation, message));
        }
    }

    /// Answers what has arrived; a link delivers in order, and the answer takes no time.
    fn deliver(&mut self) {
        self.mail.sort_by_key(|(at, ..)| *at);
        while self.mail.first().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, from, link, to, correlation, message) = self.mail.remove(0);
            if self.nodes[from].links[to] != (link, true) {
                continue;
            }
            let answer = answer(&self.nodes[to].data, MemberNumber(from as u16), &message);
            let Node { data, clocks, .. } = &mut self.nodes[from];
            let peer = MemberNumber(to as u16);
            let answer = answer.expect("a question");
            clocks.handle_response(self.now, data, peer, correlation, answer);
            self.send(from);
        }
    }

    fn check(&self) {
        for Node { data, .. } in &self.nodes {
            let slots = (0..SLOTS_USED as u16).map(slot_used);
            let claimed = data.claimed_of(slots);
            assert!(claimed.is_subset(&data.held), "claims too much: {:?}", &claimed - &data.held);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 20 } else { 1_000 }))]

    /// Whatever happens, nobody claims what it does not hold; and then, without any further digest
    /// round, nodes that have had one become equal in what is written from then on.
    #[test]
    fn claims_are_true_and_survivors_become_equal(seed: u64) {
        let mut world = World::new(seed);
        (0..300).for_each(|_| world.step());
        for (node, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            world.link(node, peer, true);
        }
        // Everything that was told is settled, so that from here on clocks are on their own.
        (0..20).for_each(|_| world.pass(A_WHILE));
        for (node, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let index = MemberNumber(peer as u16);
            world.nodes[node].clocks.handle_round_begun(index);
            let held = &world.nodes[node].data.held | &world.nodes[peer].data.held;
            world.nodes[node].data.held = held.clone();
            world.nodes[peer].data.held = held;
            let Node { data, clocks, .. } = &mut world.nodes[node];
            clocks.handle_synced(index, data);
        }
        let dead = world.random.below(3) as usize;
        for _ in 0..30 {
            let node = world.random.below(3) as usize;
            world.write(node, 50);
            world.pass(Duration::from_millis(100));
        }
        for other in World::others(dead) {
            world.link(other, dead, false);
        }
        (0..20).for_each(|_| world.pass(A_WHILE));
        let survivors: Vec<usize> = World::others(dead).collect();
        let [a, b] = [survivors[0], survivors[1]].map(|node| &world.nodes[node].data.held);
        prop_assert_eq!(a, b);
    }
}
