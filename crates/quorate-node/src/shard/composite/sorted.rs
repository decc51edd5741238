//! Commands on sorted sets in different slots, as sequences of commands on single slots.

use bytes::Bytes;
use quorate_proto::{
    Slot,
    command::Call,
    resp::{Command, ReplyWriter, format_double, parse_double, parse_integer},
};
use quorate_store::algebra::{self, Aggregate, Operation, Scored};

use super::{
    super::job::{Plan, Step, bulk, elements, integer, is_null},
    piece,
};

/// The plan of a command, or `None` when it has none, or when the store explains what is wrong with
/// it.
pub(super) fn plan(call: &Call, arguments: &[Bytes], resp3: bool) -> Option<Box<dyn Plan>> {
    use Operation::{Difference, Intersection, Union};
    let combine = |operation, target, at| -> Option<Box<dyn Plan>> {
        match Combine::parse(operation, target, arguments, at) {
            Some(plan) => Some(Box::new(plan)),
            None => Some(Box::new(Explain::new(call, arguments, at)?)),
        }
    };
    let client = Target::Client { resp3, with_scores: false };
    match call.spec().name {
        "zunion" => combine(Union, client, 0),
        "zinter" => combine(Intersection, client, 0),
        "zdiff" => combine(Difference, client, 0),
        "zintercard" => combine(Intersection, Target::Count { limit: 0 }, 0),
        "zunionstore" => combine(Union, Target::Key(arguments.first()?.clone()), 1),
        "zinterstore" => combine(Intersection, Target::Key(arguments.first()?.clone()), 1),
        "zdiffstore" => combine(Difference, Target::Key(arguments.first()?.clone()), 1),
        "zrangestore" => Some(Box::new(StoreRange { arguments: arguments.to_vec(), stage: 0 })),
        "zmpop" => Some(Box::new(PopFirst::parse(arguments, resp3)?)),
        _ => None,
    }
}

#[derive(Debug)]
enum Target {
    /// The members go to the client.
    Client { resp3: bool, with_scores: bool },
    /// Their number does, counted up to a limit (0: no limit).
    Count { limit: usize },
    /// They replace the sorted set at this key.
    Key(Bytes),
}

/// `ZUNION`, `ZINTER`, `ZDIFF`, what stores them, and `ZINTERCARD`.
#[derive(Debug)]
struct Combine {
    operation: Operation,
    target: Target,
    sources: Vec<Bytes>,
    /// One for each source; none when all count alike.
    weights: Vec<f64>,
    aggregate: Aggregate,
    stage: u8,
}

impl Combine {
    /// Reads `numkeys key... options` from the argument at `first`.
    fn parse(
        operation: Operation,
        mut target: Target,
        arguments: &[Bytes],
        first: usize,
    ) -> Option<Self> {
        let count = usize::try_from(parse_integer(arguments.get(first)?)?).ok()?;
        let (sources, mut options) = arguments.get(first + 1..)?.split_at_checked(count)?;
        let (mut weights, mut aggregate) = (Vec::new(), Aggregate::Sum);
        let is = |word: &Bytes, name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let can_weigh =
            operation != Operation::Difference && !matches!(target, Target::Count { .. });
        while let Some((word, rest)) = options.split_first() {
            options = rest;
            if can_weigh && is(word, "WEIGHTS") {
                let (given, rest) = rest.split_at_checked(count)?;
                let given = given.iter().map(|weight| parse_double(weight));
                weights = given.collect::<Option<_>>()?;
                options = rest;
            } else if can_weigh && is(word, "AGGREGATE") {
                aggregate = Aggregate::parse(rest.first()?)?;
                options = &rest[1..];
            } else {
                match &mut target {
                    Target::Client { with_scores, .. } if is(word, "WITHSCORES") => {
                        *with_scores = true;
                    }
                    Target::Count { limit } if is(word, "LIMIT") => {
                        *limit = usize::try_from(parse_integer(rest.first()?)?).ok()?;
                        options = &rest[1..];
                    }
                    _ => return None,
                }
            }
        }
        Some(Self { operation, target, sources: sources.to_vec(), weights, aggregate, stage: 0 })
    }

    fn combine(&self, replies: &[Bytes]) -> Vec<Scored> {
        let mut sets: Vec<Vec<Scored>> = replies.iter().map(|reply| scored(reply)).collect();
        for (set, weight) in sets.iter_mut().zip(&self.weights) {
            algebra::weigh(set, *weight);
        }
        algebra::combine_scored(self.operation, self.aggregate, sets)
    }
}

/// A command whose options are wrong: the kinds of its keys are looked at first, as in Redis, and
/// then the store, to which all of the keys are missing, says what is wrong.
#[derive(Debug)]
struct Explain {
    call: Call,
    sources: Vec<Bytes>,
    stage: u8,
}

impl Explain {
    fn new(call: &Call, arguments: &[Bytes], first: usize) -> Option<Self> {
        let count = usize::try_from(parse_integer(arguments.get(first)?)?).ok()?;
        let (sources, _) = arguments.get(first + 1..)?.split_at_checked(count)?;
        let call = call.clone().moved_to(Slot::of_key(sources.first()?));
        Some(Self { call, sources: sources.to_vec(), stage: 0 })
    }
}

impl Plan for Explain {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        self.stage += 1;
        match self.stage {
            1 => Step::Run(self.sources.iter().map(read).collect()),
            2 => Step::Run(vec![self.call.clone()]),
            _ => Step::Done(replies[0].to_vec()),
        }
    }
}

fn read(key: &Bytes) -> Call {
    piece(key, Command::from_args([b"quorate.zmembers".as_slice(), key]))
}

/// The members and scores in a flat reply.
fn scored(reply: &[u8]) -> Vec<Scored> {
    let pair = |pair: &[&[u8]]| {
        let [member, score] = pair else { return None };
        Some((bulk(member)?.to_vec(), parse_double(bulk(score)?)?))
    };
    elements(reply).chunks(2).filter_map(pair).collect()
}

impl Plan for Combine {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        self.stage += 1;
        if self.stage == 1 {
            return Step::Run(self.sources.iter().map(read).collect());
        }
        if self.stage == 3 {
            return Step::Done(replies[0].to_vec());
        }
        let members = self.combine(replies);
        match &self.target {
            Target::Client { resp3, with_scores } => {
                Step::Done(encode(&members, *resp3, *with_scores))
            }
            Target::Count { limit } => {
                let limit = if *limit == 0 { usize::MAX } else { *limit };
                Step::Done(format!(":{}\r\n", members.len().min(limit)).into_bytes())
            }
            Target::Key(key) => Step::Run(vec![store(key, &members)]),
        }
    }
}

/// The reply with the members: scores follow them in RESP2, and make pairs with them in RESP3.
fn encode(members: &[Scored], resp3: bool, with_scores: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = ReplyWriter::new(&mut out, resp3);
    let flat = with_scores && !resp3;
    reply.array(if flat { 2 * members.len() } else { members.len() });
    for (member, score) in members {
        if with_scores && resp3 {
            reply.array(2);
        }
        reply.bulk(member);
        if with_scores {
            reply.double(*score);
        }
    }
    out
}

fn store(key: &Bytes, members: &[Scored]) -> Call {
    let words = members
        .iter()
        .flat_map(|(member, score)| [member.clone(), format_double(*score).into_bytes()]);
    let head = [b"quorate.zsetstore".to_vec(), key.to_vec()];
    let command = Command::from_args(head.into_iter().chain(words));
    piece(key, command)
}

/// `ZRANGESTORE destination source min max options`
#[derive(Debug)]
struct StoreRange {
    arguments: Vec<Bytes>,
    stage: u8,
}

impl Plan for StoreRange {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        self.stage += 1;
        match self.stage {
            1 => {
                let head = Bytes::from_static(b"quorate.zrange");
                let words = std::iter::once(&head).chain(&self.arguments[1..]);
                let command = Command::from_args(words);
                Step::Run(vec![piece(&self.arguments[1], command)])
            }
            2 => Step::Run(vec![store(&self.arguments[0], &scored(&replies[0]))]),
            _ => Step::Done(replies[0].to_vec()),
        }
    }
}

/// `ZMPOP numkeys key... MIN|MAX [COUNT count]`: looks at one key after the other and pops from the
/// first that has members, or goes on when somebody else was faster.
#[derive(Debug)]
struct PopFirst {
    /// Keys that are still to be looked at, the next one last.
    keys: Vec<Bytes>,
    options: Vec<Bytes>,
    resp3: bool,
    /// The key that was asked for the number of its members.
    counted: Option<Bytes>,
}

impl PopFirst {
    fn parse(arguments: &[Bytes], resp3: bool) -> Option<Self> {
        let count = usize::try_from(parse_integer(arguments.first()?)?).ok()?;
        let (keys, options) = arguments.get(1..)?.split_at_checked(count)?;
        let is = |at: usize, words: &[&str]| {
            let word = options.get(at)?;
            words.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes())).then_some(())
        };
        is(0, &["MIN", "MAX"])?;
        match options.len() {
            1 => {}
            3 => {
                is(1, &["COUNT"])?;
                parse_integer(&options[2]).filter(|count| *count > 0)?;
            }
            _ => return None,
        }
        let keys = keys.iter().rev().cloned().collect();
        Some(Self { keys, options: options.to_vec(), resp3, counted: None })
    }
}

impl Plan for PopFirst {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        match (self.counted.take(), replies.first()) {
            (Some(key), Some(count)) if integer(count) != Some(0) => {
                let head = [Bytes::from_static(b"ZMPOP"), Bytes::from_static(b"1"), key.clone()];
                let command = Command::from_args(head.iter().chain(&self.options));
                return Step::Run(vec![piece(&key, command)]);
            }
            (None, Some(popped)) if !is_null(popped) => return Step::Done(popped.to_vec()),
            _ => {}
        }
        let Some(key) = self.keys.pop() else {
            let mut none = Vec::new();
            ReplyWriter::new(&mut none, self.resp3).null_array();
            return Step::Done(none);
        };
        let count = Command::from_args([b"ZCARD".as_slice(), &key]);
        let count = piece(&key, count);
        self.counted = Some(key);
        Step::Run(vec![count])
    }
}
