//! Commands that become several: keys spread over slots, and commands over the whole keyspace.
//!
//! A job runs in steps. Each step is a list of commands on single slots; when all their replies are
//! there the job decides what follows: another step, or the reply to the client. A step of which a
//! piece failed is the last one, and the job says what is known of all pieces. It is a plain value:
//! it routes nothing and waits for nothing.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use quorate_cluster::{coordinator::Terms, time::Instant};
use quorate_proto::{Partitioner, command::Call, resp::reply};
use quorate_search::exceeded;

use super::outcome::Fates;
use crate::{limits, search::rows::Rows};

/// Whether a piece may change something. Questions at the level of writes do not.
fn changes(piece: &Call) -> bool {
    piece.class().writes() && piece.spec().name != OCCUPIED
}

/// The question which slots hold keys.
pub(crate) const OCCUPIED: &str = "quorate.occupied";

/// What a job wants next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Run these; come back with the replies in the same order.
    Run(Vec<Call>),
    /// The encoded reply.
    Done(Vec<u8>),
    /// Rows to be answered, of which the shard may keep some.
    Rows(Box<Rows>),
}

/// Decides how a job goes on, given the replies to the pieces of its last step, none of which is an
/// error.
pub(crate) trait Plan: Send + std::fmt::Debug {
    fn next(&mut self, replies: &[Bytes]) -> Step;

    /// Parts that will not be tried when the job ends at its last step.
    fn untried(&self) -> usize {
        0
    }

    /// How much of its time is left as its next step begins.
    fn left(&mut self, _left: Duration) {}

    /// What ends the work of those who were asked last, when nobody waits for the answer any more.
    fn cancel(&self) -> Vec<Call> {
        Vec::new()
    }

    /// Whether it goes on without what did not come in time.
    fn takes_parts(&self) -> bool {
        false
    }

    /// Bytes that the replies of a step may take together; more are refused as a query is that needs
    /// too much memory.
    fn bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Whether it may be carried on beside the shard, where large replies do not hold that up.
    fn is_search(&self) -> bool {
        false
    }
}

/// A plan that is carried on beside the shard.
#[derive(Debug)]
pub struct Thought {
    key: usize,
    plan: Box<dyn Plan>,
    replies: Vec<Bytes>,
}

/// What a plan has come to, beside the shard.
#[derive(Debug)]
pub struct Conclusion {
    pub(super) key: usize,
    plan: Box<dyn Plan>,
    step: Step,
}

impl Thought {
    /// Carries it on, on the thread that calls.
    pub fn run(self) -> Conclusion {
        let Self { key, mut plan, replies } = self;
        let step = plan.next(&replies);
        Conclusion { key, plan, step }
    }
}

/// Bytes of replies from which on a plan is carried on beside the shard: a millisecond or two.
const THOUGHT_BYTES_MIN: usize = 256 << 10;

/// A job in progress: a plan and the replies to its current step.
#[derive(Debug)]
pub(crate) struct Job<W> {
    /// None while it is carried on beside the shard.
    plan: Option<Box<dyn Plan>>,
    /// Who gets the reply.
    pub(crate) waiter: W,
    /// They hold for every piece.
    pub(crate) terms: Terms,
    replies: Vec<Bytes>,
    missing: usize,
    /// Bytes of the replies, how many there may be, and those of the largest.
    bytes: usize,
    bytes_max: usize,
    largest: usize,
    /// Pieces of the current step that have yet to be sent on their way, by their positions in it.
    waiting: VecDeque<(usize, Call)>,
    /// Whether it stands in the queue of those that may go on.
    pub(super) is_queued: bool,
    /// Whether the replies are to pieces, so that errors among them end the job.
    of_pieces: bool,
    /// The pieces of the current step that change something, by their positions in it.
    changing: Vec<(usize, Call)>,
    fates: Fates,
}

impl<W> Job<W> {
    pub(crate) fn new(plan: Box<dyn Plan>, waiter: W, terms: Terms) -> Self {
        Self {
            plan: Some(plan),
            waiter,
            terms,
            replies: Vec::new(),
            missing: 0,
            bytes: 0,
            bytes_max: usize::MAX,
            largest: 0,
            waiting: VecDeque::new(),
            is_queued: false,
            of_pieces: false,
            changing: Vec::new(),
            fates: Fates::default(),
        }
    }

    /// Expects the replies to these pieces, which are to be sent on their way: each to the slot where
    /// the partitioner has its key, for plans go by those of Redis Cluster.
    pub(crate) fn begin(&mut self, pieces: Vec<Call>, partitioner: &Partitioner) {
        let pieces: Vec<Call> = pieces.into_iter().map(|piece| piece.placed(partitioner)).collect();
        self.expect(pieces.len());
        self.of_pieces = true;
        self.bytes_max = self.plan.as_ref().map_or(usize::MAX, |plan| plan.bytes_max());
        let changing = pieces.iter().enumerate().filter(|(_, piece)| changes(piece));
        self.changing = changing.map(|(at, piece)| (at, piece.clone())).collect();
        self.waiting = pieces.into_iter().enumerate().collect();
    }

    /// The next piece to be sent on its way, unless so many are that others have to be answered
    /// first.
    pub(crate) fn next_piece(&mut self) -> Option<(usize, Call)> {
        let under_way = self.missing - self.waiting.len();
        let most = self.under_way_max();
        self.waiting.pop_front_if(|_| under_way < most)
    }

    /// How many pieces may be under way: where replies have a bound, as many as fit if the others are
    /// as large as the largest so far.
    fn under_way_max(&self) -> usize {
        match (self.bytes_max, self.largest) {
            (usize::MAX, _) => limits::PIECES_UNDER_WAY_MAX,
            (_, 0) => limits::PIECES_AT_FIRST_MAX,
            (most, largest) => {
                let fitting = most.saturating_sub(self.bytes) / largest;
                fitting.clamp(1, limits::PIECES_UNDER_WAY_MAX)
            }
        }
    }

    /// Expects `count` answers that are no replies to commands.
    pub(crate) fn expect(&mut self, count: usize) {
        self.replies.clear();
        self.replies.resize(count, Bytes::new());
        self.missing = count;
        (self.bytes, self.bytes_max, self.largest) = (0, usize::MAX, 0);
    }

    /// Takes the reply to one piece. Returns whether something is to be done: the step is complete,
    /// or a further piece may be sent.
    pub(crate) fn take(&mut self, piece: usize, reply: Bytes) -> bool {
        self.missing -= 1;
        self.bytes = self.bytes.saturating_add(reply.len());
        self.largest = self.largest.max(reply.len());
        self.replies[piece] = reply;
        if self.bytes > self.bytes_max {
            self.refuse(piece);
        }
        self.is_complete() || self.has_waiting()
    }

    /// The replies take more than they may: none is kept, and no further pieces are sent.
    fn refuse(&mut self, piece: usize) {
        self.replies.fill(Bytes::new());
        self.replies[piece] = format!("-{}\r\n", exceeded(self.bytes_max)).into();
        self.missing -= self.waiting.len();
        self.waiting.clear();
    }

    /// Whether pieces of the step have yet to be sent on their way.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether all pieces of the step are answered.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Continues after a complete step.
    pub(crate) fn next(&mut self) -> Step {
        let replies = std::mem::take(&mut self.replies);
        for (at, piece) in self.changing.drain(..) {
            self.fates.note(piece, &replies[at]);
        }
        let plan = self.plan.as_mut().expect(ONE_PLACE);
        let errors = || replies.iter().filter(|reply| reply.first() == Some(&b'-'));
        if plan.takes_parts() && errors().all(|error| error.starts_with(OUT_OF_TIME)) {
            return plan.next(&replies);
        }
        let failure = |_| self.fates.failure(&replies, plan.untried());
        match self.of_pieces.then_some(()).and_then(failure) {
            Some(answer) => Step::Done(answer),
            None => plan.next(&replies),
        }
    }

    /// The plan, if it is to be carried on beside the shard. `key` is that of the job.
    pub(super) fn detach(&mut self, key: usize) -> Option<Thought> {
        let is_large = || self.replies.iter().map(Bytes::len).sum::<usize>() >= THOUGHT_BYTES_MIN;
        let is_wanted = self.plan.as_ref().is_some_and(|plan| plan.is_search()) && is_large();
        if !is_wanted || first_error(&self.replies).is_some() {
            return None;
        }
        let plan = self.plan.take()?;
        Some(Thought { key, plan, replies: std::mem::take(&mut self.replies) })
    }

    /// The plan is back.
    pub(super) fn attach(&mut self, conclusion: Conclusion) -> Step {
        self.plan = Some(conclusion.plan);
        conclusion.step
    }

    /// Tells the plan how much time is left.
    pub(super) fn tell_time(&mut self, now: Instant) {
        if let Some(plan) = &mut self.plan {
            plan.left(self.terms.deadline.since(now));
        }
    }

    /// What ends the work of those who were asked last.
    pub(super) fn cancel(&self) -> Vec<Call> {
        self.plan.as_ref().filter(|_| !self.is_complete()).map_or(Vec::new(), |plan| plan.cancel())
    }
}

/// How the error of a piece begins that was not answered in time.
pub(crate) const OUT_OF_TIME: &[u8] = b"-TIMEOUT ";

const ONE_PLACE: &str = "invariant: a plan that is elsewhere is not asked";

/// The first error among replies.
pub(crate) fn first_error(replies: &[Bytes]) -> Option<&Bytes> {
    replies.iter().find(|reply| reply.first() == Some(&b'-'))
}

/// The number in an integer reply.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a reply is a null of either protocol.
pub(crate) fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
}

/// The encoded elements of an array or set reply.
pub(crate) fn elements(mut encoded: &[u8]) -> Vec<&[u8]> {
    let Some(end) = memchr_newline(encoded) else { return Vec::new() };
    encoded = &encoded[end..];
    let mut elements = Vec::new();
    while let Ok(Some(length)) = reply::skip(encoded) {
        let (element, rest) = encoded.split_at(length);
        elements.push(element);
        encoded = rest;
    }
    elements
}

/// The contents of a bulk string reply.
pub(crate) fn bulk(encoded: &[u8]) -> Option<&[u8]> {
    if encoded.first() != Some(&b'$') || is_null(encoded) {
        return None;
    }
    let start = memchr_newline(encoded)?;
    encoded[start..].strip_suffix(b"\r\n")
}

fn memchr_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use quorate_cluster::time::Instant;
    use quorate_proto::{Level, Partitioner, Slot, resp::Command};

    use super::*;
    use crate::shard::{composite, split::Split};

    /// Runs a plan; the replies to its steps are given. What it answers at the end.
    fn run(plan: Box<dyn Plan>, script: &[&[&'static str]]) -> String {
        let terms = Terms {
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            resp3: false,
            deadline: Instant::NEVER,
        };
        let mut job = Job::new(plan, (), terms);
        let mut script = script.iter();
        loop {
            match job.next() {
                Step::Done(reply) => {
                    assert!(script.next().is_none(), "ended early");
                    return String::from_utf8(reply).expect("text");
                }
                Step::Rows(rows) => panic!("unexpected {rows:?}"),
                Step::Run(pieces) => {
                    let replies = script.next().expect("replies to the step");
                    assert_eq!(replies.len(), pieces.len());
                    job.begin(pieces, &Partitioner::Slots);
                    for (at, reply) in replies.iter().enumerate() {
                        assert_eq!(job.next_piece().map(|(piece, _)| piece), Some(at));
                        job.take(at, Bytes::from_static(reply.as_bytes()));
                        assert_eq!(job.is_complete(), at + 1 == replies.len());
                    }
                }
            }
        }
    }

    fn composite(words: &[&str]) -> Box<dyn Plan> {
        composite::plan_of(
            &Call::piece(Slot::default(), Command::from_args(words)),
            false,
            &Partitioner::Slots,
        )
        .expect("is well formed")
        .expect("has a plan")
    }

    const REFUSED: &str = "-MISCONF the disk of n1 is full; nothing was done\r\n";

    #[test]
    fn an_error_of_a_question_is_the_answer() {
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
        let reply = run(composite(&["SUNIONSTORE", "d", "a", "b"]), &[&["*0\r\n", wrong]]);
        assert_eq!(reply, wrong);
    }

    #[test]
    fn a_step_that_fails_behind_one_that_is_done_makes_the_whole_partial() {
        let reply = run(
            composite(&["SMOVE", "a", "b", "m"]),
            &[&[":1\r\n"], &[":1\r\n", ":0\r\n"], &[":1\r\n"], &[REFUSED]],
        );
        let told = "-PARTIAL done: \"b\"; not done: \"a\"; because the disk of n1 is full\r\n";
        assert_eq!(reply, told);
        let reply = run(
            composite(&["SMOVE", "a", "b", "m"]),
            &[&[":1\r\n"], &[":1\r\n", ":0\r\n"], &[REFUSED]],
        );
        assert_eq!(reply, REFUSED);
    }

    #[test]
    fn a_bounded_number_of_pieces_is_under_way() {
        let slots: Vec<(Slot, Slot)> = Slot::all().map(|slot| (slot, slot)).collect();
        let count = Box::new(crate::shard::walk::Count { runs: slots.clone() });
        let terms = Terms {
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            resp3: false,
            deadline: Instant::NEVER,
        };
        let mut job = Job::new(count, (), terms);
        let Step::Run(pieces) = job.next() else { panic!("nothing to run") };
        job.begin(pieces, &Partitioner::Slots);
        let mut under_way = VecDeque::new();
        for _ in 0..slots.len() {
            under_way.extend(std::iter::from_fn(|| job.next_piece()).map(|(piece, _)| piece));
            assert!(under_way.len() <= limits::PIECES_UNDER_WAY_MAX);
            let piece = under_way.pop_front().expect("one is under way");
            assert!(!job.is_complete());
            job.take(piece, Bytes::from_static(b":1\r\n"));
        }
        assert!(job.is_complete());
        let Step::Done(reply) = job.next() else { panic!("has one step") };
        assert_eq!(reply, format!(":{}\r\n", slots.len()).into_bytes());
    }

    #[derive(Debug)]
    struct Bounded(usize);

    impl Plan for Bounded {
        fn next(&mut self, replies: &[Bytes]) -> Step {
            match replies.len() {
                0 => {
                    let piece = Call::piece(Slot::default(), Command::from_args(["GET", "a"]));
                    Step::Run(vec![piece; self.0])
                }
                _ => Step::Done(b"+OK\r\n".to_vec()),
            }
        }

        fn bytes_max(&self) -> usize {
            1000
        }
    }

    /// How many pieces were sent when each is answered with so many bytes, and the answer.
    fn bounded(pieces: usize, bytes: usize) -> (usize, Vec<u8>) {
        let terms = Terms {
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            resp3: false,
            deadline: Instant::NEVER,
        };
        let mut job = Job::new(Box::new(Bounded(pieces)), (), terms);
        let Step::Run(all) = job.next() else { panic!("nothing to run") };
        job.begin(all, &Partitioner::Slots);
        let mut sent = 0;
        let mut under_way = VecDeque::new();
        while !job.is_complete() {
            under_way.extend(std::iter::from_fn(|| job.next_piece()).map(|(piece, _)| piece));
            sent += 1;
            job.take(under_way.pop_front().expect("one is under way"), vec![b'+'; bytes].into());
        }
        let Step::Done(reply) = job.next() else { panic!("has one step") };
        (sent, reply)
    }

    #[test]
    fn replies_that_take_more_than_they_may_are_refused_and_not_kept() {
        assert_eq!(bounded(100, 10), (100, b"+OK\r\n".to_vec()));
        // The first are under way together; the eleventh is one too many.
        let (answered, reply) = bounded(10_000, 100);
        assert_eq!(answered, limits::PIECES_AT_FIRST_MAX);
        assert!(reply.starts_with(b"-SEARCH_OOM "), "{}", reply.escape_ascii());
    }

    #[test]
    fn parts_side_by_side_are_judged_together() {
        let command = Command::from_args(["DEL", "foo", "bar"]);
        let split = || {
            let join = quorate_proto::command::Join::Sum;
            Box::new(Split::new(&command, join, (1, 0), &Partitioner::Slots))
        };
        assert_eq!(run(split(), &[&[":1\r\n", ":0\r\n"]]), ":1\r\n");
        assert_eq!(run(split(), &[&[REFUSED, REFUSED]]), REFUSED);
        assert!(run(split(), &[&[REFUSED, ":0\r\n"]]).starts_with("-PARTIAL done: "));
    }
}
