//! Ranges of sorted sets: by rank, by score, and by member where all scores are equal.

use std::ops::Range;

use quorate_proto::resp::{Command, format_double, parse_double};

use super::{CommandError, Outcome, write_scored};
use crate::{
    arguments::{integer, is_word},
    execution::Execution,
    score::Score,
    sorted_set::SortedSet,
};

/// What a range goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

/// The ends of a range.
#[derive(Clone, Copy, Debug)]
enum Span<'a> {
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Member(MemberBound<'a>, MemberBound<'a>),
}

#[derive(Clone, Copy, Debug)]
struct ScoreBound {
    score: Score,
    is_excluded: bool,
}

#[derive(Clone, Copy, Debug)]
enum MemberBound<'a> {
    First,
    Last,
    Including(&'a [u8]),
    Excluding(&'a [u8]),
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<Self, CommandError> {
        let (number, is_excluded) = match text {
            [b'(', number @ ..] => (number, true),
            number => (number, false),
        };
        // A bound may lie beyond what a score can be, have spaces before it, or be left out.
        let number = number.trim_ascii_start();
        let value = match number {
            [] => Some(0.0),
            _ => parse_double(number).or_else(|| std::str::from_utf8(number).ok()?.parse().ok()),
        };
        let score = value.and_then(Score::new);
        let score = score.ok_or(CommandError::Text("min or max is not a float"))?;
        Ok(Self { score, is_excluded })
    }
}

impl<'a> MemberBound<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, CommandError> {
        match text {
            b"-" => Ok(Self::First),
            b"+" => Ok(Self::Last),
            [b'[', member @ ..] => Ok(Self::Including(member)),
            [b'(', member @ ..] => Ok(Self::Excluding(member)),
            _ => Err(CommandError::Text("min or max not valid string range item")),
        }
    }

    /// Whether a member lies before a range that begins here.
    fn is_above(self, member: &[u8]) -> bool {
        match self {
            Self::First => false,
            Self::Last => true,
            Self::Including(bound) => member < bound,
            Self::Excluding(bound) => member <= bound,
        }
    }

    /// Whether a member lies behind a range that ends here.
    fn is_below(self, member: &[u8]) -> bool {
        match self {
            Self::First => true,
            Self::Last => false,
            Self::Including(bound) => member > bound,
            Self::Excluding(bound) => member >= bound,
        }
    }
}

/// The positions of the members between two bounds. Where scores differ, so that names are in no
/// order, this is what Redis finds in its compact encoding: nothing if the range lies before the
/// first or behind the last member, else the members from the end that is read first up to the
/// first one outside.
fn between(
    set: &SortedSet,
    min: MemberBound<'_>,
    max: MemberBound<'_>,
    reverse: bool,
) -> (usize, usize) {
    let name_at = |at: usize| set.range(at, at + 1).next().map(|(name, _)| name);
    let (first, last) = (name_at(0), name_at(set.len().saturating_sub(1)));
    if first.is_none_or(|first| max.is_below(first)) || last.is_none_or(|last| min.is_above(last)) {
        return (0, 0);
    }
    match reverse {
        false => (
            set.partition_point(|member| min.is_above(member)),
            set.partition_point(|member| !max.is_below(member)),
        ),
        true => (
            set.partition_point_from_end(|member| !min.is_above(member)),
            set.partition_point_from_end(|member| max.is_below(member)),
        ),
    }
}

impl<'a> Span<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        Ok(match by {
            By::Rank => Self::Rank(integer(min)?, integer(max)?),
            By::Score => Self::Score(ScoreBound::parse(min)?, ScoreBound::parse(max)?),
            By::Member => Self::Member(MemberBound::parse(min)?, MemberBound::parse(max)?),
        })
    }

    /// The positions of the members in the range; ranks count from the end if it is read backwards.
    fn positions(self, set: &SortedSet, reverse: bool) -> Range<usize> {
        let (start, end) = match self {
            Self::Rank(first, last) => {
                let length = set.len() as i64;
                let rank = |rank: i64| if rank < 0 { rank + length } else { rank };
                let first = rank(first).max(0);
                let behind = rank(last).min(length - 1) + 1;
                if first >= behind {
                    return 0..0;
                }
                match reverse {
                    true => ((length - behind) as usize, (length - first) as usize),
                    false => (first as usize, behind as usize),
                }
            }
            Self::Score(min, max) => {
                let start =
                    if min.is_excluded { set.up_to(min.score) } else { set.below(min.score) };
                let end = if max.is_excluded { set.below(max.score) } else { set.up_to(max.score) };
                (start, end)
            }
            Self::Member(min, max) => between(set, min, max, reverse),
        };
        start..end.max(start)
    }
}

/// A range as `ZRANGE` and its relatives name it.
struct Query<'a> {
    span: Span<'a>,
    reverse: bool,
    with_scores: bool,
    /// Members to leave out at the front; negative: all. Most members to give; negative: no bound.
    limit: Option<(i64, i64)>,
}

/// Which options a command understands besides `LIMIT`.
#[derive(Clone, Copy)]
struct Dialect {
    /// What the range goes by, and whether it is read backwards; `None`: options say so.
    fixed: Option<(By, bool)>,
    stores: bool,
}

impl<'a> Query<'a> {
    /// Reads the range whose first bound is the argument at `first`.
    fn parse(command: &'a Command, first: usize, dialect: Dialect) -> Result<Self, CommandError> {
        let (mut by, mut reverse) = dialect.fixed.unwrap_or((By::Rank, false));
        let (mut with_scores, mut limit) = (false, None);
        let mut at = first + 2;
        while let Some(word) = command.get(at) {
            let free = dialect.fixed.is_none();
            if !dialect.stores && is_word(word, "WITHSCORES") {
                with_scores = true;
            } else if is_word(word, "LIMIT") && command.len() > at + 2 {
                limit = Some((integer(command.arg(at + 1))?, integer(command.arg(at + 2))?));
                at += 2;
            } else if free && !reverse && is_word(word, "REV") {
                reverse = true;
            } else if free && by == By::Rank && is_word(word, "BYLEX") {
                by = By::Member;
            } else if free && by == By::Rank && is_word(word, "BYSCORE") {
                by = By::Score;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        // A limit of -1 is none to Redis.
        if by == By::Rank {
            limit = limit.filter(|(_, count)| *count != -1);
        }
        if limit.is_some() && by == By::Rank {
            return Err(CommandError::Text(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(CommandError::Text(
                "syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (command.arg(first), command.arg(first + 1));
        if reverse && by != By::Rank {
            (min, max) = (max, min);
        }
        Ok(Self { span: Span::parse(by, min, max)?, reverse, with_scores, limit })
    }

    fn members<'s>(&self, set: Option<&'s SortedSet>) -> Vec<(&'s [u8], Score)> {
        let Some(set) = set else { return Vec::new() };
        let Range { mut start, mut end } = self.span.positions(set, self.reverse);
        if let Some((offset, count)) = self.limit {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(end - start);
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(end - start - offset);
            match self.reverse {
                true => (start, end) = (end - offset - count, end - offset),
                false => (start, end) = (start + offset, start + offset + count),
            }
        }
        let members = set.range(start, end);
        if self.reverse { members.rev().collect() } else { members.collect() }
    }
}

fn answer(execution: &mut Execution<'_>, command: &Command, fixed: Option<(By, bool)>) -> Outcome {
    let Execution { keys, reply } = execution;
    let query = Query::parse(command, 2, Dialect { fixed, stores: false })?;
    let members = query.members(keys.read(command.arg(1)).sorted_set()?);
    if query.with_scores {
        write_scored(reply, members.into_iter().map(|(member, score)| (member, score.value())));
    } else {
        reply.array(members.len());
        members.iter().for_each(|(member, _)| reply.bulk(member));
    }
    Ok(())
}

/// `ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub(super) fn zrange(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    answer(execution, command, None)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub(super) fn zrevrange(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    answer(execution, command, Some((By::Rank, true)))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrangebyscore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    answer(execution, command, Some((By::Score, false)))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrevrangebyscore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    answer(execution, command, Some((By::Score, true)))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub(super) fn zrangebylex(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    answer(execution, command, Some((By::Member, false)))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub(super) fn zrevrangebylex(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    answer(execution, command, Some((By::Member, true)))
}

/// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`
pub(super) fn zrangestore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let query = Query::parse(command, 3, Dialect { fixed: None, stores: true })?;
    let members = query.members(keys.read(command.arg(2)).sorted_set()?);
    let members: Vec<_> = members.iter().map(|(member, score)| (member.to_vec(), *score)).collect();
    keys.replace_sorted_set(command.arg(1), &members)?;
    reply.integer(members.len() as i64);
    Ok(())
}

/// `quorate.zrange key min max ...`: the members that `ZRANGESTORE` would store, each with the text
/// of its score.
pub(super) fn pairs_of_range(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let query = Query::parse(command, 2, Dialect { fixed: None, stores: true })?;
    let members = query.members(keys.read(command.arg(1)).sorted_set()?);
    reply.array(2 * members.len());
    for (member, score) in members {
        reply.bulk(member);
        reply.text(&format_double(score.value()));
    }
    Ok(())
}

fn count(execution: &mut Execution<'_>, command: &Command, by: By) -> Outcome {
    let span = Span::parse(by, command.arg(2), command.arg(3))?;
    let set = execution.keys.read(command.arg(1)).sorted_set()?;
    let count = set.map_or(0, |set| span.positions(set, false).len());
    execution.reply.integer(count as i64);
    Ok(())
}

/// `ZCOUNT key min max`
pub(super) fn zcount(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    count(execution, command, By::Score)
}

/// `ZLEXCOUNT key min max`
pub(super) fn zlexcount(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    count(execution, command, By::Member)
}

fn remove(execution: &mut Execution<'_>, command: &Command, by: By) -> Outcome {
    let Execution { keys, reply } = execution;
    let span = Span::parse(by, command.arg(2), command.arg(3))?;
    let mut key = keys.find(command.arg(1));
    let members: Vec<Vec<u8>> = key.read().sorted_set()?.map_or_else(Vec::new, |set| {
        let Range { start, end } = span.positions(set, false);
        set.range(start, end).map(|(member, _)| member.to_vec()).collect()
    });
    let removed = key.remove_members(&members)?;
    reply.integer(removed as i64);
    Ok(())
}

/// `ZREMRANGEBYRANK key start stop`
pub(super) fn zremrangebyrank(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    remove(execution, command, By::Rank)
}

/// `ZREMRANGEBYSCORE key min max`
pub(super) fn zremrangebyscore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    remove(execution, command, By::Score)
}

/// `ZREMRANGEBYLEX key min max`
pub(super) fn zremrangebylex(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    remove(execution, command, By::Member)
}
