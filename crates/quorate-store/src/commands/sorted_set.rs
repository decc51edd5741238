//! Sorted sets.

mod combine;
mod ranges;

use quorate_proto::resp::{Command, ReplyWriter, format_double, parse_double};

use super::{
    CommandError, Family, LISTPACK_VALUE_MAX, ObjectFamily, Outcome, Recreate,
    bounds::check_elements,
    walk::{MemberScan, cursor, reply_empty},
};
use crate::{
    arguments::{ReplyRoom, integer, is_word, random_count},
    cell::Element,
    execution::{Change, Execution, Keys},
    key::Key,
    part::Body,
    score::Score,
    sorted_set::SortedSet,
    state::{Kind, State},
};

/// Redis's limit for sorted sets in their compact encoding.
const LISTPACK_ENTRIES_MAX: usize = 128;

pub(super) const FAMILY: Family = Family {
    handlers: HANDLERS,
    object: Some(ObjectFamily {
        kind: Kind::SortedSet,
        encoding,
        recreate: Recreate::Elements("ZADD"),
    }),
};

const HANDLERS: super::Handlers = &[
    ("zadd", zadd),
    ("zincrby", zincrby),
    ("zrem", zrem),
    ("zcard", zcard),
    ("zscore", zscore),
    ("zmscore", zmscore),
    ("zrank", |execution, command| rank(execution, command, false)),
    ("zrevrank", |execution, command| rank(execution, command, true)),
    ("zpopmin", |execution, command| pop(execution, command, false)),
    ("zpopmax", |execution, command| pop(execution, command, true)),
    ("zmpop", zmpop),
    ("zrandmember", zrandmember),
    ("zscan", zscan),
    ("zcount", ranges::zcount),
    ("zlexcount", ranges::zlexcount),
    ("zrange", ranges::zrange),
    ("zrangestore", ranges::zrangestore),
    ("zrevrange", ranges::zrevrange),
    ("zrangebyscore", ranges::zrangebyscore),
    ("zrevrangebyscore", ranges::zrevrangebyscore),
    ("zrangebylex", ranges::zrangebylex),
    ("zrevrangebylex", ranges::zrevrangebylex),
    ("zremrangebyrank", ranges::zremrangebyrank),
    ("zremrangebyscore", ranges::zremrangebyscore),
    ("zremrangebylex", ranges::zremrangebylex),
    ("quorate.zrange", ranges::pairs_of_range),
    ("zunion", combine::zunion),
    ("zinter", combine::zinter),
    ("zdiff", combine::zdiff),
    ("zunionstore", combine::zunionstore),
    ("zinterstore", combine::zinterstore),
    ("zdiffstore", combine::zdiffstore),
    ("zintercard", combine::zintercard),
    ("quorate.zmembers", combine::members),
    ("quorate.zsetstore", combine::set_store),
];

/// Longest text of a score.
const SCORE_TEXT_MAX: usize = 24;

const NOT_A_NUMBER: CommandError = CommandError::Text("resulting score is not a number (NaN)");

impl Key<'_, '_> {
    fn sorted_set_len(&self) -> Result<usize, CommandError> {
        Ok(self.read().sorted_set()?.map_or(0, SortedSet::len))
    }

    /// Removes members and returns how many there were.
    fn remove_members(&mut self, members: &[impl AsRef<[u8]>]) -> Result<usize, CommandError> {
        check_elements(members.iter().map(AsRef::as_ref))?;
        let before = self.sorted_set_len()?;
        if self.shows_or_is_removed() && !members.is_empty() {
            self.apply(|change| {
                members.iter().for_each(|member| change.remove(Kind::SortedSet, member.as_ref()));
            });
        }
        Ok(before - self.sorted_set_len()?)
    }
}

impl Keys<'_> {
    /// Makes `key` a sorted set of these members and nothing else.
    fn replace_sorted_set(&mut self, key: &[u8], members: &[(Vec<u8>, Score)]) -> Outcome {
        check_elements(members.iter().map(|(member, _)| member.as_slice()))?;
        self.apply(key, |change| {
            change.clear();
            members.iter().for_each(|(member, score)| put(change, member, *score));
        });
        Ok(())
    }
}

fn put(change: &mut Change<'_>, member: &[u8], score: Score) {
    change.put(Kind::SortedSet, member, |stamp| Body::Score(stamp, score));
}

/// A score as an argument.
fn score(text: &[u8]) -> Result<Score, CommandError> {
    number(text).and_then(|number| Score::new(number).ok_or(CommandError::NotFloat))
}

/// A number as an argument, of which a score may be made.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    parse_double(text).ok_or(CommandError::NotFloat)
}

/// Members with their scores: flat in RESP2, as pairs in RESP3.
fn write_scored<'a>(
    reply: &mut ReplyWriter<'_>,
    members: impl ExactSizeIterator<Item = (&'a [u8], f64)>,
) {
    let nested = reply.is_resp3();
    reply.array(if nested { members.len() } else { 2 * members.len() });
    for (member, score) in members {
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(score);
    }
}

/// Options of `ZADD`.
#[derive(Clone, Copy, Default)]
struct AddOptions {
    only_new: bool,
    only_existing: bool,
    only_greater: bool,
    only_less: bool,
    answer_changed: bool,
    increment: bool,
}

impl AddOptions {
    /// The options, and where the first score is.
    fn parse(command: &Command) -> Result<(Self, usize), CommandError> {
        let mut options = Self::default();
        let mut at = 2;
        while let Some(word) = command.get(at) {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => options.only_new = true,
                b"XX" => options.only_existing = true,
                b"GT" => options.only_greater = true,
                b"LT" => options.only_less = true,
                b"CH" => options.answer_changed = true,
                b"INCR" => options.increment = true,
                _ => break,
            }
            at += 1;
        }
        let words = command.len() - at;
        if words == 0 || !words.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        if options.only_new && options.only_existing {
            return Err(CommandError::Text(
                "XX and NX options at the same time are not compatible",
            ));
        }
        let Self { only_new, only_greater, only_less, .. } = options;
        if (only_greater || only_less) && only_new || only_greater && only_less {
            return Err(CommandError::Text(
                "GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if options.increment && words > 2 {
            return Err(CommandError::Text("INCR option supports a single increment-element pair"));
        }
        Ok((options, at))
    }

    /// Whether a member may get the score `new` in the place of `old`.
    fn allow(self, old: Option<Score>, new: Score) -> bool {
        match old {
            None => !self.only_existing,
            Some(old) => {
                !(self.only_new || self.only_greater && new <= old || self.only_less && new >= old)
            }
        }
    }

    /// Whether what is written depends on the scores that are there.
    fn is_conditional(self) -> bool {
        self.only_new || self.only_existing || self.only_greater || self.only_less
    }
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member...`: number of new members.
fn zadd(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let (options, first) = AddOptions::parse(command)?;
    let pairs = (first..command.len()).step_by(2);
    let pairs: Vec<(Score, &[u8])> = pairs
        .map(|at| Ok((score(command.arg(at))?, command.arg(at + 1))))
        .collect::<Result<_, CommandError>>()?;
    if options.increment {
        let amount = number(command.arg(first))?;
        return increment(execution, command.arg(1), pairs[0].1, amount, options);
    }
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let before = key.sorted_set_len()?;
    let (writes, changed) = match options.is_conditional() || options.answer_changed {
        true => allowed(key.read().sorted_set()?, &pairs, options),
        false => (pairs, 0),
    };
    if !writes.is_empty() {
        key.apply(|change| {
            writes.iter().for_each(|(score, member)| put(change, member, *score));
        });
    }
    let added = key.sorted_set_len()?.saturating_sub(before);
    reply.integer((if options.answer_changed { added + changed } else { added }) as i64);
    Ok(())
}

/// Which of the pairs are written, and how many of them change the score of a member that is there.
/// A member that stands several times is judged by what the pairs before have made of it.
fn allowed<'a>(
    set: Option<&SortedSet>,
    pairs: &[(Score, &'a [u8])],
    options: AddOptions,
) -> (Vec<(Score, &'a [u8])>, usize) {
    let hasher = foldhash::fast::FixedState::default();
    let mut written: hashbrown::HashMap<&[u8], Score, _> = hashbrown::HashMap::with_hasher(hasher);
    let (mut writes, mut changed) = (Vec::new(), 0);
    for (new, member) in pairs {
        let stored = || set.and_then(|set| set.get(member)).map(|element| element.score());
        let old = written.get(member).copied().or_else(stored);
        if old != Some(*new) && options.allow(old, *new) {
            changed += usize::from(old.is_some());
            written.insert(member, *new);
            writes.push((*new, *member));
        }
    }
    (writes, changed)
}

/// `ZINCRBY key increment member`
fn zincrby(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let amount = number(command.arg(2))?;
    increment(execution, command.arg(1), command.arg(3), amount, AddOptions::default())
}

/// Adds to a score as this origin's contribution. The answer to a new member is the amount as it
/// was given: `-0`, of which 0 is kept.
fn increment(
    execution: &mut Execution<'_>,
    key: &[u8],
    member: &[u8],
    amount: f64,
    options: AddOptions,
) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(key);
    let stamp = key.stamp();
    let element = key.read().sorted_set()?.and_then(|set| set.get(member));
    let old = element.map(|element| element.score());
    // What the sum would be does not matter where only new members are wanted.
    let sum = old.map_or(amount, |old| old.value() + amount);
    let target = match old {
        Some(_) if options.only_new => None,
        _ => Some(Score::new(sum).ok_or(NOT_A_NUMBER)?),
    };
    let Some(target) = target.filter(|target| options.allow(old, *target)) else {
        reply.null();
        return Ok(());
    };
    let body = element.unwrap_or(Element::NONE).reach(target, stamp);
    key.apply(|change| change.put(Kind::SortedSet, member, |_| body));
    let element = key.read().sorted_set()?.and_then(|set| set.get(member));
    let score = element.filter(|_| old.is_some()).map(|element| element.score().value());
    reply.double(score.unwrap_or(sum));
    Ok(())
}

/// `ZREM key member...`: number of members removed.
fn zrem(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let members: Vec<&[u8]> = command.args().skip(2).collect();
    let removed = execution.keys.find(command.arg(1)).remove_members(&members)?;
    execution.reply.integer(removed as i64);
    Ok(())
}

/// `ZCARD key`
fn zcard(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let length = execution.keys.fetch(command.arg(1)).sorted_set_len()?;
    execution.reply.integer(length as i64);
    Ok(())
}

fn write_score(reply: &mut ReplyWriter<'_>, set: Option<&SortedSet>, member: &[u8]) {
    match set.and_then(|set| set.get(member)) {
        Some(element) => reply.double(element.score().value()),
        None => reply.null(),
    }
}

/// `ZSCORE key member`
fn zscore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    write_score(reply, keys.read(command.arg(1)).sorted_set()?, command.arg(2));
    Ok(())
}

/// `ZMSCORE key member...`
fn zmscore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let set = keys.read(command.arg(1)).sorted_set()?;
    reply.array(command.len() - 2);
    command.args().skip(2).for_each(|member| write_score(reply, set, member));
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`, `ZREVRANK key member [WITHSCORE]`
fn rank(execution: &mut Execution<'_>, command: &Command, reverse: bool) -> Outcome {
    let Execution { keys, reply } = execution;
    let with_score = match command.get(3) {
        None => false,
        Some(_) if command.len() > 4 => return Err(CommandError::arity(command)),
        Some(word) if is_word(word, "WITHSCORE") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    let (set, member) = (keys.read(command.arg(1)).sorted_set()?, command.arg(2));
    let found = set.and_then(|set| Some((set, set.rank(member)?)));
    let Some((set, rank)) = found else {
        if with_score {
            reply.null_array()
        } else {
            reply.null()
        }
        return Ok(());
    };
    let rank = if reverse { set.len() - 1 - rank } else { rank };
    if with_score {
        reply.array(2);
    }
    reply.integer(rank as i64);
    if with_score {
        write_score(reply, Some(set), member);
    }
    Ok(())
}

/// The members with the least scores, or with the greatest ones, in the order of their removal.
fn ends(set: &SortedSet, count: usize, greatest: bool) -> Vec<(Vec<u8>, Score)> {
    let count = count.min(set.len());
    let owned = |(member, score): (&[u8], Score)| (member.to_vec(), score);
    match greatest {
        true => set.range(set.len() - count, set.len()).rev().map(owned).collect(),
        false => set.range(0, count).map(owned).collect(),
    }
}

fn as_slices(members: &[(Vec<u8>, Score)]) -> impl ExactSizeIterator<Item = (&[u8], Score)> {
    members.iter().map(|(member, score)| (member.as_slice(), *score))
}

/// `ZPOPMIN key [count]`, `ZPOPMAX key [count]`
fn pop(execution: &mut Execution<'_>, command: &Command, greatest: bool) -> Outcome {
    let Execution { keys, reply } = execution;
    if command.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let out_of_range = CommandError::Text("value is out of range, must be positive");
    let count = command.get(2).map(|text| {
        let count = integer(text).ok().and_then(|count| usize::try_from(count).ok());
        count.ok_or(out_of_range)
    });
    let count = count.transpose()?;
    let mut key = keys.find(command.arg(1));
    let popped = key.read().sorted_set()?;
    let popped = popped.map_or_else(Vec::new, |set| ends(set, count.unwrap_or(1), greatest));
    let names: Vec<&[u8]> = as_slices(&popped).map(|(member, _)| member).collect();
    key.remove_members(&names)?;
    if count.is_some() {
        write_scored(reply, as_slices(&popped).map(|(member, score)| (member, score.value())));
        return Ok(());
    }
    reply.array(2 * popped.len());
    for (member, score) in as_slices(&popped) {
        reply.bulk(member);
        reply.double(score.value());
    }
    Ok(())
}

/// `ZMPOP numkeys key... MIN|MAX [COUNT count]`
fn zmpop(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let number = |text: &[u8], error: &'static str| {
        let number = integer(text).ok().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| *number > 0).ok_or(CommandError::Text(error))
    };
    let numkeys = number(command.arg(1), "numkeys should be greater than 0")?;
    let side = numkeys.checked_add(2).and_then(|at| command.get(at)).ok_or(CommandError::Syntax)?;
    let greatest = is_word(side, "MAX");
    if !greatest && !is_word(side, "MIN") {
        return Err(CommandError::Syntax);
    }
    let count = match (command.get(numkeys + 3), command.get(numkeys + 4)) {
        (None, _) => 1,
        (Some(word), Some(count)) if is_word(word, "COUNT") => {
            let count = number(count, "count should be greater than 0")?;
            if command.len() > numkeys + 5 {
                return Err(CommandError::Syntax);
            }
            count
        }
        _ => return Err(CommandError::Syntax),
    };
    for name in command.args().skip(2).take(numkeys) {
        let mut key = keys.find(name);
        let Some(set) = key.read().sorted_set()? else { continue };
        let popped = ends(set, count, greatest);
        let names: Vec<&[u8]> = as_slices(&popped).map(|(member, _)| member).collect();
        key.remove_members(&names)?;
        reply.array(2);
        reply.bulk(name);
        reply.array(popped.len());
        for (member, score) in as_slices(&popped) {
            reply.array(2);
            reply.bulk(member);
            reply.double(score.value());
        }
        return Ok(());
    }
    reply.null_array();
    Ok(())
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`
fn zrandmember(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let count = command.get(2).map(random_count).transpose()?;
    let with_scores = match command.get(3) {
        None => false,
        Some(word) if is_word(word, "WITHSCORES") && command.len() == 4 => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if with_scores && count.is_some_and(|count| count.unsigned_abs() > i64::MAX.unsigned_abs() / 2)
    {
        return Err(CommandError::Text("value is out of range"));
    }
    let mut key = keys.fetch(command.arg(1));
    let chosen = key.choose(key.sorted_set_len()?, count.unwrap_or(1));
    let set = key.read().sorted_set()?;
    let number = chosen.len();
    let mut members = chosen.filter_map(|index| set?.at(index));
    let Some(count) = count else {
        reply.optional(members.next().map(|(member, _)| member));
        return Ok(());
    };
    let mut room = ReplyRoom::new(count, number)?;
    let nested = with_scores && reply.is_resp3();
    reply.array(if with_scores && !nested { 2 * number } else { number });
    for (member, element) in members {
        if nested {
            reply.array(2);
        }
        room.take(member)?;
        reply.bulk(member);
        if with_scores {
            room.take(&[0; SCORE_TEXT_MAX])?;
            reply.double(element.score().value());
        }
    }
    Ok(())
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
fn zscan(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let cursor = cursor(command)?;
    let Some(set) = keys.read(command.arg(1)).sorted_set()? else {
        reply_empty(reply);
        return Ok(());
    };
    let scan = MemberScan::parse(cursor, command)?;
    let (chunk, next) = scan.chunk(set.len(), set.iter(), |(name, _)| name);
    reply.array(2);
    reply.text(&next.to_string());
    reply.array(2 * chunk.len());
    for (member, element) in chunk {
        reply.bulk(member);
        reply.text(&format_double(element.score().value()));
    }
    Ok(())
}

/// The encoding that Redis 7.0 would choose with its default settings.
fn encoding(state: State<'_>) -> &'static str {
    let small = state.sorted_set().is_none_or(|set| {
        set.len() <= LISTPACK_ENTRIES_MAX
            && set.iter().all(|(member, _)| member.len() <= LISTPACK_VALUE_MAX)
    });
    if small { "listpack" } else { "skiplist" }
}
