//! Registers in one thread: messages get lost, repeated, late and out of order; members crash, some
//! of them losing their disk; voters come and go. What clients were told must be linearizable, and
//! once a change of voters is over, any majority of the new ones must do.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;

use quorate_proto::{NodeId, Start};

use super::{
    linearizability::{Kind, Operation, is_linearizable},
    *,
};

const MEMBERS: usize = 7;

/// Operations of one run, without those at its end.
const OPERATIONS: usize = 40;

/// Steps of one run, in each of which something may go wrong.
const STEPS: usize = 2_000;

/// Runs of each kind.
const RUNS: u64 = 300;

/// What may be wrong with all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A voter forgets what it has promised.
    PromiseForgotten,
    /// A proposer believes to have the promises of voters that it has not asked.
    PhaseSkipped,
    /// A change of voters counts as over when it is decided.
    NotHandedOn,
    /// A voter that has lost everything goes on to vote.
    VotesAfterLoss,
}

struct Member {
    me: Voter,
    disk: State,
    /// None while it is down.
    register: Option<Register>,
    /// It has left, and does not come back.
    is_retired: bool,
    /// What its client waits for, as a place in the history.
    operation: Option<usize>,
}

enum Body {
    Question(Request),
    Response(Answer),
    /// Somebody tells what was decided.
    Gossip(Document),
}

struct Packet {
    at: Instant,
    from: Voter,
    to: Voter,
    body: Body,
}

struct World {
    now: Instant,
    members: Vec<Member>,
    packets: Vec<Packet>,
    random: Random,
    history: Vec<Operation>,
    /// The voter that a change is to remove, by its operation.
    removals: BTreeMap<usize, Voter>,
    starts: u32,
    /// Orders invocations and returns.
    moments: u64,
    /// Messages get lost, repeated and late.
    is_faulty: bool,
    bug: Option<Bug>,
    /// At the end, a majority alone was asked.
    is_settled: bool,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let voter = |id: usize| Voter { member: NodeId(id as u128), life: 0 };
        let first = Document {
            version: MEMBERS as u64,
            author: Ballot::default(),
            voters: (0..3).map(voter).collect(),
            value: encode(0),
        };
        let member = |id| Member {
            me: voter(id),
            disk: State::new(first.clone()),
            register: None,
            is_retired: false,
            operation: None,
        };
        Self {
            now: Instant::from_millis(1_000),
            members: (0..MEMBERS).map(member).collect(),
            packets: Vec::new(),
            random: Random::new(seed),
            history: Vec::new(),
            removals: BTreeMap::new(),
            starts: 0,
            moments: 0,
            is_faulty: true,
            bug,
            is_settled: false,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.below(100) < percent
    }

    fn any(&mut self) -> usize {
        self.random.below(self.members.len() as u32) as usize
    }

    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    fn start(&mut self, id: usize) {
        self.starts += 1;
        let origin = Origin::new(id as u16, Start::from_random(self.starts));
        let seed = self.random.next_u64();
        let member = &mut self.members[id];
        if member.register.is_none() && !member.is_retired {
            member.register = Some(Register::new(member.me, origin, member.disk.clone(), seed));
        }
    }

    /// What it was asked for is never answered.
    fn crash(&mut self, id: usize) {
        self.members[id].register = None;
        self.members[id].operation = None;
    }

    /// It lost its disk and got its seat again, with what some other one knows.
    fn wipe(&mut self, id: usize, other: usize) {
        self.crash(id);
        let known = self.members[other].disk.decided.clone();
        let raise = u16::from(self.bug != Some(Bug::VotesAfterLoss));
        let member = &mut self.members[id];
        member.me.life += raise;
        member.disk = State::new(known);
    }

    /// The newest document that any member knows to be decided.
    fn newest(&self) -> Document {
        let all = self.members.iter().filter(|member| !member.is_retired);
        let newest = all.map(|member| &member.disk.decided).max_by_key(|it| it.version);
        newest.expect("some are left").clone()
    }

    fn is_intact(&self, voter: &Voter) -> bool {
        self.members.iter().any(|member| member.me == *voter && !member.is_retired)
    }

    fn send(&mut self, from: Voter, to: Voter, body: impl Fn() -> Body) {
        let copies = match self.random.below(100) {
            _ if !self.is_faulty => 1,
            0..15 => 0,
            15..25 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let latest = if self.is_faulty && self.chance(10) { 2_000 } else { 40 };
            let at = self.now + Duration::from_millis(u64::from(self.random.below(latest)));
            self.packets.push(Packet { at, from, to, body: body() });
        }
    }

    /// Carries out what a member wants.
    fn drain(&mut self, id: usize) {
        let me = self.members[id].me;
        while let Some(output) = self.members[id].register.as_mut().and_then(Register::poll_output)
        {
            match output {
                Output::Persist(state) => self.members[id].disk = state,
                Output::Decided(_) => {}
                Output::Finished(outcome) => self.finish(id, outcome),
                Output::Ask { voter, request } => match (self.bug, &request) {
                    (Some(Bug::PhaseSkipped), Request::Prepare { base, ballot }) => {
                        let (base, ballot) = (base.version, *ballot);
                        let answer = Answer::Promised { base, ballot, accepted: None };
                        self.answer(id, voter, answer);
                    }
                    (Some(Bug::NotHandedOn), Request::Learn(document)) => {
                        self.answer(id, voter, Answer::Decided(document.clone()));
                    }
                    _ => self.send(me, voter, || Body::Question(request.clone())),
                },
            }
        }
    }

    fn answer(&mut self, id: usize, from: Voter, answer: Answer) {
        let now = self.now;
        if let Some(register) = &mut self.members[id].register {
            register.handle_answer(now, from, answer);
        }
    }

    fn deliver(&mut self, Packet { from, to, body, .. }: Packet) {
        let (id, now) = (to.member.0 as usize, self.now);
        let Some(register) = &mut self.members[id].register else { return };
        match body {
            Body::Question(request) => {
                let answer = register.handle_request(now, request);
                self.drain(id);
                let me = self.members[id].me;
                if self.bug == Some(Bug::PromiseForgotten) && self.members[id].operation.is_none() {
                    self.members[id].disk.promised = Ballot::default();
                    self.crash(id);
                    self.start(id);
                }
                self.send(me, from, || Body::Response(answer.clone()));
            }
            Body::Response(answer) => register.handle_answer(now, from, answer),
            Body::Gossip(document) => register.handle_decided(now, document),
        }
        self.drain(id);
    }

    /// Notes what a client was told, and lets a voter go that is not needed any more.
    fn finish(&mut self, id: usize, outcome: Outcome) {
        let returned = self.moment();
        let Some(place) = self.members[id].operation.take() else { return };
        let operation = &mut self.history[place];
        match (outcome, operation.kind) {
            (Outcome::Decided { is_over, .. }, Kind::Set { .. }) => {
                operation.returned = returned;
                if let Some(gone) = self.removals.get(&place).filter(|_| is_over) {
                    let gone = gone.member.0 as usize;
                    self.crash(gone);
                    self.members[gone].is_retired = true;
                }
            }
            (Outcome::Lost(_), Kind::Set { expected, .. }) => {
                operation.kind = Kind::Failed { expected };
                operation.returned = returned;
            }
            (Outcome::Current(document), Kind::Read { .. }) => {
                operation.kind = Kind::Read { value: decode(&document) };
                operation.returned = returned;
            }
            (Outcome::Unreachable, _) => operation.kind = Kind::Nothing,
            (Outcome::Unknown, Kind::Set { .. }) => {}
            (outcome, kind) => panic!("{kind:?} ended as {outcome:?}"),
        }
    }

    /// A client of a member wants something at random.
    fn invoke_any(&mut self, id: usize) {
        let Some(register) = &self.members[id].register else { return };
        let voters = register.decided().voters.clone();
        let wanted = match self.random.below(100) {
            0..40 => None,
            40..70 => Some(voters),
            _ => Some(self.other_voters(&voters)),
        };
        self.invoke(id, wanted);
    }

    /// A client of a member wants to change the value, and the voters into these; or to read.
    fn invoke(&mut self, id: usize, change: Option<Vec<Voter>>) {
        let member = &self.members[id];
        let Some(register) = member.register.as_ref().filter(|_| member.operation.is_none()) else {
            return;
        };
        let decided = register.decided().clone();
        let place = self.history.len();
        let kind = match &change {
            None => Kind::Read { value: 0 },
            Some(_) => Kind::Set { expected: decode(&decided), value: place as u64 + 1 },
        };
        let invoked = self.moment();
        self.history.push(Operation { invoked, returned: u64::MAX, kind });
        self.members[id].operation = Some(place);
        let now = self.now;
        let register = self.members[id].register.as_mut().expect("it is up");
        match change {
            None => register.read(now).expect("it is idle"),
            Some(voters) => {
                let gone = decided.voters.iter().find(|voter| !voters.contains(voter));
                self.removals.extend(gone.map(|voter| (place, *voter)));
                let (expected, value) = (decided.version, encode(place as u64 + 1));
                let change = Change { expected, voters, value };
                register.compare_and_set(now, change).expect("it is idle");
            }
        }
        self.drain(id);
    }

    /// One voter more or less. Whoever was removed does not come back in the same life.
    fn other_voters(&mut self, voters: &[Voter]) -> Vec<Voter> {
        let mut next = voters.to_vec();
        let lost = voters.iter().position(|voter| !self.is_intact(voter));
        if let Some(lost) = lost.filter(|_| voters.len() > 3) {
            next.remove(lost);
        } else if voters.len() > 3 && self.chance(50) {
            let place = self.random.below(voters.len() as u32) as usize;
            next.remove(place);
        } else {
            let member = &self.members[self.random.below(MEMBERS as u32) as usize];
            let was_removed = self.removals.values().any(|voter| *voter == member.me);
            if !member.is_retired && !was_removed && !next.contains(&member.me) {
                next.push(member.me);
                next.sort_unstable();
            }
        }
        next
    }

    fn meddle(&mut self) {
        let (id, other) = (self.any(), self.any());
        match self.random.below(1_000) {
            0..8 => self.crash(id),
            8..100 => self.start(id),
            100..110 => {
                let newest = self.newest();
                if newest.voters.iter().all(|it| self.is_intact(it)) {
                    self.wipe(id, other);
                }
            }
            110..120 => {
                let document = self.members[id].disk.decided.clone();
                let (from, to) = (self.members[id].me, self.members[other].me);
                self.send(from, to, || Body::Gossip(document.clone()));
            }
            120..200 if self.history.len() < OPERATIONS => self.invoke_any(id),
            _ => {}
        }
    }

    /// Lets the next thing happen: a message arrives, or a time is up.
    fn step(&mut self) -> bool {
        let packet = (0..self.packets.len()).min_by_key(|&place| self.packets[place].at);
        let packet_at = packet.map_or(Instant::NEVER, |place| self.packets[place].at);
        let timeout_of =
            |id: usize| self.members[id].register.as_ref().and_then(Register::poll_timeout);
        let timeout = (0..MEMBERS).filter_map(|id| Some((timeout_of(id)?, id))).min();
        match (packet, timeout) {
            (_, Some((at, id))) if at < packet_at => {
                self.now = self.now.max(at);
                let now = self.now;
                let register = self.members[id].register.as_mut().expect("it has a timeout");
                register.handle_timeout(now);
                self.drain(id);
            }
            (Some(place), _) => {
                self.now = self.now.max(packet_at);
                let packet = self.packets.swap_remove(place);
                self.deliver(packet);
            }
            (None, _) => return false,
        }
        true
    }

    fn settle(&mut self) {
        while self.step() {}
    }

    /// Somebody who is up changes the voters until that is over. `None` when it cannot be.
    fn change_voters(&mut self, step: impl Fn(&mut Self, &[Voter]) -> Vec<Voter>) -> Option<usize> {
        for _ in 0..20 {
            let newest = self.newest();
            let knows = |member: &Member| member.disk.decided == newest && !member.is_retired;
            let id = self.members.iter().position(knows).expect("somebody knows it");
            let voters = step(self, &newest.voters);
            let place = self.history.len();
            self.invoke(id, Some(voters));
            self.settle();
            if self.history[place].returned != u64::MAX
                && matches!(self.history[place].kind, Kind::Set { .. })
            {
                return Some(id);
            }
        }
        None
    }

    /// Whether what the voters of a change that is over have decided is there without those that
    /// have left, and without a minority, whoever that is.
    fn check_majority(&mut self) -> Result<(), String> {
        self.is_faulty = false;
        self.settle();
        (0..MEMBERS).for_each(|id| self.start(id));
        let newest = self.newest();
        let intact = newest.voters.iter().filter(|voter| self.is_intact(voter)).count();
        let add = |world: &mut Self, voters: &[Voter]| {
            let new = |member: &&Member| !member.is_retired && !voters.contains(&member.me);
            let new = world.members.iter().find(new).map(|member| member.me);
            let mut voters = voters.to_vec();
            voters.extend(new.filter(|_| !voters.len().is_multiple_of(2)));
            voters.sort_unstable();
            voters
        };
        let remove = |world: &mut Self, voters: &[Voter]| {
            let lost = voters.iter().position(|voter| !world.is_intact(voter));
            let mut voters = voters.to_vec();
            voters.remove(lost.unwrap_or(0));
            voters
        };
        let changed = (intact >= voters::majority(&newest.voters))
            .then(|| self.change_voters(add))
            .flatten()
            .and_then(|_| self.change_voters(remove));
        if changed.is_none() {
            return Ok(());
        }
        self.is_settled = true;
        let mut voters = self.newest().voters;
        let majority = voters::majority(&voters);
        let id_of = |voter: &Voter| voter.member.0 as usize;
        voters.retain(|voter| self.is_intact(voter));
        voters.sort_by_key(|voter| self.members[id_of(voter)].disk.decided.version);
        let up: Vec<usize> = voters.iter().take(majority).map(id_of).collect();
        (0..MEMBERS).filter(|id| !up.contains(id)).for_each(|id| self.crash(id));
        for (from, to) in up.iter().flat_map(|from| up.iter().map(move |to| (*from, *to))) {
            let document = self.members[from].disk.decided.clone();
            let (from, to) = (self.members[from].me, self.members[to].me);
            self.send(from, to, || Body::Gossip(document.clone()));
        }
        self.settle();
        let place = self.history.len();
        self.invoke(up[0], None);
        self.settle();
        let has_returned = self.history[place].returned != u64::MAX;
        has_returned.then_some(()).ok_or_else(|| "a majority of the voters did not do".into())
    }

    /// What is wrong with a run, if anything.
    fn run(seed: u64, bug: Option<Bug>) -> Result<Self, String> {
        let mut world = Self::new(seed, bug);
        (0..MEMBERS).for_each(|id| world.start(id));
        for _ in 0..STEPS {
            world.meddle();
            if !world.step() {
                world.now += Duration::from_millis(10);
            }
        }
        world.check_majority()?;
        if is_linearizable(&world.history, 0) {
            Ok(world)
        } else {
            Err(format!("not linearizable: {:#?}", world.history))
        }
    }
}

fn encode(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

fn decode(document: &Document) -> u64 {
    u64::from_le_bytes(document.value[..].try_into().expect("eight bytes"))
}

#[test]
fn what_clients_are_told_is_linearizable() {
    let (mut changes, mut readings, mut removals, mut settled) = (0, 0, 0, 0);
    for seed in 0..RUNS {
        let world = World::run(seed, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for (place, operation) in world.history.iter().enumerate() {
            let has_returned = operation.returned != u64::MAX;
            changes += usize::from(has_returned && matches!(operation.kind, Kind::Set { .. }));
            readings += usize::from(has_returned && matches!(operation.kind, Kind::Read { .. }));
            removals += usize::from(has_returned && world.removals.contains_key(&place));
        }
        settled += usize::from(world.is_settled);
    }
    // The faults leave something to judge.
    assert!(changes > 2_000 && readings > 2_000 && removals > 500 && settled > 200);
}

#[test]
fn planted_bugs_are_found() {
    use Bug::*;
    for bug in [PromiseForgotten, PhaseSkipped, NotHandedOn, VotesAfterLoss] {
        let found = (0..RUNS).filter(|seed| World::run(*seed, Some(bug)).is_err()).count();
        assert!(found > 2, "{bug:?} was found in {found} runs");
    }
}
