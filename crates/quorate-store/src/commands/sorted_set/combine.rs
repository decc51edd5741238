//! Unions, intersections and differences of sorted sets and sets.

use quorate_proto::resp::{Command, format_double, parse_double};

use super::{CommandError, Outcome, score, write_scored};
use crate::{
    algebra::{self, Aggregate, Operation, Scored},
    arguments::{integer, is_word},
    execution::{Execution, Keys},
    score::Score,
    state::Kind,
};

/// What a command combines, and how.
struct Query {
    sources: Vec<Vec<Scored>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Most members to count; zero: no bound.
    limit: usize,
}

/// Where the members go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Client,
    Key,
    Count,
}

impl Keys<'_> {
    /// The members of a sorted set, or of a set, whose members have the score one.
    fn scored(&self, key: &[u8]) -> Result<Vec<Scored>, CommandError> {
        let shown = self.read(key);
        if shown.kind() == Some(Kind::Set) {
            let set = shown.set()?.into_iter().flat_map(|set| set.iter());
            return Ok(set.map(|(member, _)| (member.to_vec(), 1.0)).collect());
        }
        let set = shown.sorted_set()?.into_iter().flat_map(|set| set.iter());
        Ok(set.map(|(member, element)| (member.to_vec(), element.score().value())).collect())
    }
}

impl Query {
    /// Reads a command whose number of keys is the argument at `first`.
    fn parse(
        keys: &Keys<'_>,
        command: &Command,
        first: usize,
        operation: Operation,
        target: Target,
    ) -> Result<Self, CommandError> {
        let count = integer(command.arg(first))?;
        let count = usize::try_from(count).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| CommandError::no_keys(command))?;
        let mut at = first + 1;
        if count > command.len() - at {
            return Err(CommandError::Syntax);
        }
        let names = command.args().skip(at).take(count);
        let mut sources: Vec<Vec<Scored>> =
            names.map(|key| keys.scored(key)).collect::<Result<_, _>>()?;
        at += count;
        let (mut aggregate, mut with_scores, mut limit) = (Aggregate::Sum, false, 0);
        while let Some(word) = command.get(at) {
            let left = command.len() - at;
            let weighs = operation != Operation::Difference && target != Target::Count;
            if weighs && left > count && is_word(word, "WEIGHTS") {
                for (source, index) in sources.iter_mut().zip(at + 1..) {
                    let weight = parse_double(command.arg(index));
                    let weight = weight.ok_or(CommandError::Text("weight value is not a float"))?;
                    algebra::weigh(source, weight);
                }
                at += 1 + count;
            } else if weighs && left > 1 && is_word(word, "AGGREGATE") {
                aggregate = Aggregate::parse(command.arg(at + 1)).ok_or(CommandError::Syntax)?;
                at += 2;
            } else if target == Target::Client && is_word(word, "WITHSCORES") {
                with_scores = true;
                at += 1;
            } else if target == Target::Count && left > 1 && is_word(word, "LIMIT") {
                let value = integer(command.arg(at + 1)).ok();
                limit = value
                    .and_then(|value| usize::try_from(value).ok())
                    .ok_or(CommandError::Text("LIMIT can't be negative"))?;
                at += 2;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(Self { sources, aggregate, with_scores, limit })
    }

    /// The members in the order of their scores.
    fn members(self, operation: Operation) -> Vec<Scored> {
        algebra::combine_scored(operation, self.aggregate, self.sources)
    }
}

fn combine(execution: &mut Execution<'_>, command: &Command, operation: Operation) -> Outcome {
    let Execution { keys, reply } = execution;
    let query = Query::parse(keys, command, 1, operation, Target::Client)?;
    let with_scores = query.with_scores;
    let members = query.members(operation);
    if with_scores {
        write_scored(reply, members.iter().map(|(member, score)| (member.as_slice(), *score)));
    } else {
        reply.array(members.len());
        members.iter().for_each(|(member, _)| reply.bulk(member));
    }
    Ok(())
}

/// `ZUNION numkeys key... [WEIGHTS weight...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
pub(super) fn zunion(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    combine(execution, command, Operation::Union)
}

/// `ZINTER numkeys key... [WEIGHTS weight...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
pub(super) fn zinter(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    combine(execution, command, Operation::Intersection)
}

/// `ZDIFF numkeys key... [WITHSCORES]`
pub(super) fn zdiff(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    combine(execution, command, Operation::Difference)
}

fn store(execution: &mut Execution<'_>, command: &Command, operation: Operation) -> Outcome {
    let Execution { keys, reply } = execution;
    let query = Query::parse(keys, command, 2, operation, Target::Key)?;
    let members = query.members(operation).into_iter();
    let members: Vec<(Vec<u8>, Score)> =
        members.map(|(member, score)| (member, Score::new(score).unwrap_or(Score::ZERO))).collect();
    keys.replace_sorted_set(command.arg(1), &members)?;
    reply.integer(members.len() as i64);
    Ok(())
}

/// `ZUNIONSTORE destination numkeys key... [WEIGHTS weight...] [AGGREGATE SUM|MIN|MAX]`
pub(super) fn zunionstore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    store(execution, command, Operation::Union)
}

/// `ZINTERSTORE destination numkeys key... [WEIGHTS weight...] [AGGREGATE SUM|MIN|MAX]`
pub(super) fn zinterstore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    store(execution, command, Operation::Intersection)
}

/// `ZDIFFSTORE destination numkeys key...`
pub(super) fn zdiffstore(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    store(execution, command, Operation::Difference)
}

/// `ZINTERCARD numkeys key... [LIMIT limit]`
pub(super) fn zintercard(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let query = Query::parse(keys, command, 1, Operation::Intersection, Target::Count)?;
    let limit = if query.limit == 0 { usize::MAX } else { query.limit };
    let count = query.members(Operation::Intersection).len().min(limit);
    reply.integer(count as i64);
    Ok(())
}

/// `quorate.zmembers key`: the members of a sorted set or set, each with the text of its score.
pub(super) fn members(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let members = keys.scored(command.arg(1))?;
    reply.array(2 * members.len());
    for (member, score) in members {
        reply.bulk(&member);
        reply.text(&format_double(score));
    }
    Ok(())
}

/// `quorate.zsetstore destination [member score]...`
pub(super) fn set_store(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let pairs = (2..command.len().saturating_sub(1)).step_by(2);
    let members: Vec<(Vec<u8>, Score)> = pairs
        .map(|at| Ok((command.arg(at).to_vec(), score(command.arg(at + 1))?)))
        .collect::<Result<_, CommandError>>()?;
    keys.replace_sorted_set(command.arg(1), &members)?;
    reply.integer(members.len() as i64);
    Ok(())
}
