//! Commands over keys in different slots, as sequences of commands on single slots.
//!
//! Within one slot these commands are executed whole and atomically by the store. Across slots each
//! step is executed at the client's level, and the steps are ordered so that a failure between them
//! leaves data twice rather than not at all: a copy is installed before its source is removed.

mod sorted;

use bytes::Bytes;
use quorate_proto::{
    Partitioner, Slot,
    command::{Call, Routing},
    resp::Command,
};
use quorate_store::{algebra, json};

use super::{
    job::{Plan, Step, bulk, elements, integer},
    split::Split,
};

/// The plan of a command whose keys are in different slots. `None` where its options are wrong: one
/// store answers it with the right error. What no store could take is refused here, as whole. Its
/// pieces are to be [placed](Call::placed).
pub(super) fn plan_of(
    call: &Call,
    resp3: bool,
    partitioner: &Partitioner,
) -> Result<Option<Box<dyn Plan>>, String> {
    let (spec, command) = (call.spec(), call.command());
    let (step, shared) = spec.keys.step_and_shared();
    if !(command.len() - 1 - shared).is_multiple_of(step) {
        return Err(format!("ERR wrong number of arguments for '{}' command", spec.name));
    }
    if spec.name == "json.mset" {
        json::check_mset(command)?;
    }
    Ok(match spec.routing {
        Routing::Split(join) => {
            Some(Box::new(Split::new(command, join, (step, shared), partitioner)))
        }
        _ => plan(call, resp3),
    })
}

/// The plan of a command whose keys are in different slots, or `None` when it has none.
fn plan(call: &Call, resp3: bool) -> Option<Box<dyn Plan>> {
    let command = call.command();
    let arguments: Vec<Bytes> = command.args().skip(1).map(Bytes::copy_from_slice).collect();
    Some(match call.spec().name {
        "sunion" => Combine::boxed(Operation::Union, Target::Client { resp3 }, &arguments),
        "sinter" => Combine::boxed(Operation::Intersection, Target::Client { resp3 }, &arguments),
        "sdiff" => Combine::boxed(Operation::Difference, Target::Client { resp3 }, &arguments),
        "sunionstore" => Combine::stored(Operation::Union, &arguments),
        "sinterstore" => Combine::stored(Operation::Intersection, &arguments),
        "sdiffstore" => Combine::stored(Operation::Difference, &arguments),
        "sintercard" => Combine::counted(&arguments)?,
        "smove" => Box::new(MoveMember::new(&arguments)),
        "rename" => Box::new(Transfer::rename(&arguments, true)),
        "renamenx" => Box::new(Transfer::rename(&arguments, false)),
        "copy" => Transfer::copy(&arguments)?,
        "msetnx" => Box::new(SetAllOrNothing::new(command)),
        _ => return sorted::plan(call, &arguments, resp3),
    })
}

fn piece(key: &[u8], command: Command) -> Call {
    Call::piece(Slot::of_key(key), command)
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

#[derive(Debug)]
enum Target {
    /// The members go to the client.
    Client { resp3: bool },
    /// Their number does, counted up to a limit (0: no limit).
    Count { limit: usize },
    /// They replace the set at this key.
    Key(Bytes),
}

/// Set algebra over keys in different slots.
#[derive(Debug)]
struct Combine {
    operation: Operation,
    target: Target,
    sources: Vec<Bytes>,
    stage: u8,
}

impl Combine {
    fn boxed(operation: Operation, target: Target, sources: &[Bytes]) -> Box<dyn Plan> {
        Box::new(Self { operation, target, sources: sources.to_vec(), stage: 0 })
    }

    fn stored(operation: Operation, arguments: &[Bytes]) -> Box<dyn Plan> {
        Self::boxed(operation, Target::Key(arguments[0].clone()), &arguments[1..])
    }

    /// `SINTERCARD numkeys key... [LIMIT limit]`, already checked by whoever found its keys.
    fn counted(arguments: &[Bytes]) -> Option<Box<dyn Plan>> {
        let number = |text: &Bytes| std::str::from_utf8(text).ok()?.parse::<usize>().ok();
        let keys = number(arguments.first()?)?;
        // Of options that are given again the last one counts. What is wrong the store explains.
        let mut limit = 0;
        for option in arguments.get(1 + keys..)?.chunks(2) {
            let [word, value] = option else { return None };
            word.eq_ignore_ascii_case(b"LIMIT").then_some(())?;
            limit = number(value)?;
        }
        let sources = &arguments[1..1 + keys];
        Some(Self::boxed(Operation::Intersection, Target::Count { limit }, sources))
    }

    fn combine<'a>(&self, replies: &'a [Bytes]) -> Vec<&'a [u8]> {
        let sets: Vec<Vec<&[u8]>> = replies
            .iter()
            .map(|reply| elements(reply).into_iter().filter_map(bulk).collect())
            .collect();
        let limit = match self.target {
            Target::Count { limit } => limit,
            _ => 0,
        };
        match self.operation {
            Operation::Union => algebra::union(&sets),
            Operation::Intersection => algebra::intersection(&sets, limit),
            Operation::Difference => algebra::difference(&sets),
        }
    }
}

impl Plan for Combine {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        self.stage += 1;
        if self.stage == 1 {
            let read = |key: &Bytes| piece(key, Command::from_args([b"SMEMBERS".as_slice(), key]));
            return Step::Run(self.sources.iter().map(read).collect());
        }
        if self.stage == 3 {
            return Step::Done(replies[0].to_vec());
        }
        let members = self.combine(replies);
        match &self.target {
            Target::Client { resp3 } => {
                let kind = if *resp3 { '~' } else { '*' };
                let mut reply = format!("{kind}{}\r\n", members.len()).into_bytes();
                for member in &members {
                    reply.extend_from_slice(format!("${}\r\n", member.len()).as_bytes());
                    reply.extend_from_slice(member);
                    reply.extend_from_slice(b"\r\n");
                }
                Step::Done(reply)
            }
            Target::Count { .. } => Step::Done(format!(":{}\r\n", members.len()).into_bytes()),
            Target::Key(key) => {
                let head = [b"quorate.setstore".as_slice(), key];
                let command = Command::from_args(head.into_iter().chain(members));
                Step::Run(vec![piece(key, command)])
            }
        }
    }
}

/// `SMOVE source destination member`: added before it is removed.
#[derive(Debug)]
struct MoveMember {
    source: Bytes,
    destination: Bytes,
    member: Bytes,
    stage: u8,
}

impl MoveMember {
    fn new(arguments: &[Bytes]) -> Self {
        let [source, destination, member] = [0, 1, 2].map(|at| arguments[at].clone());
        Self { source, destination, member, stage: 0 }
    }

    fn piece(&self, name: &str, key: &Bytes) -> Call {
        piece(key, Command::from_args([name.as_bytes(), key, &self.member]))
    }
}

impl Plan for MoveMember {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        self.stage += 1;
        match self.stage {
            1 => {
                let count = Command::from_args([b"SCARD".as_slice(), &self.source]);
                Step::Run(vec![piece(&self.source, count)])
            }
            // Without a source the kind of the destination does not matter.
            2 if integer(&replies[0]) == Some(0) => Step::Done(b":0\r\n".to_vec()),
            2 => Step::Run(vec![
                self.piece("SISMEMBER", &self.source),
                self.piece("SISMEMBER", &self.destination),
            ]),
            3 if integer(&replies[0]) != Some(1) => Step::Done(b":0\r\n".to_vec()),
            3 => Step::Run(vec![self.piece("SADD", &self.destination)]),
            4 => Step::Run(vec![self.piece("SREM", &self.source)]),
            _ => Step::Done(replies[0].to_vec()),
        }
    }
}

/// `RENAME`, `RENAMENX` and `COPY`: the value is exported, installed and perhaps removed.
#[derive(Debug)]
struct Transfer {
    source: Bytes,
    destination: Bytes,
    /// Whether an existing destination is replaced.
    replace: bool,
    /// Whether the source is removed.
    remove: bool,
    /// The replies to a missing source, a refused and a finished transfer.
    missing: &'static [u8],
    refused: &'static [u8],
    done: &'static [u8],
    stage: u8,
}

impl Transfer {
    fn rename(arguments: &[Bytes], replace: bool) -> Self {
        Self {
            source: arguments[0].clone(),
            destination: arguments[1].clone(),
            replace,
            remove: true,
            missing: b"-ERR no such key\r\n",
            refused: b":0\r\n",
            done: if replace { b"+OK\r\n" } else { b":1\r\n" },
            stage: 0,
        }
    }

    /// `COPY source destination [DB index] [REPLACE]`. `None` for options that the store should
    /// answer with an error.
    fn copy(arguments: &[Bytes]) -> Option<Box<dyn Plan>> {
        let mut replace = false;
        let mut options = arguments[2..].iter();
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"REPLACE") {
                replace = true;
            } else if option.eq_ignore_ascii_case(b"DB") {
                options.next().filter(|index| *index == "0")?;
            } else {
                return None;
            }
        }
        Some(Box::new(Self {
            source: arguments[0].clone(),
            destination: arguments[1].clone(),
            replace,
            remove: false,
            missing: b":0\r\n",
            refused: b":0\r\n",
            done: b":1\r\n",
            stage: 0,
        }))
    }
}

impl Plan for Transfer {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        self.stage += 1;
        match self.stage {
            1 => {
                let export = Command::from_args([b"quorate.export".as_slice(), &self.source]);
                Step::Run(vec![piece(&self.source, export)])
            }
            2 => match bulk(&replies[0]) {
                None => Step::Done(self.missing.to_vec()),
                Some(state) => {
                    let mode: &[u8] = if self.replace { b"REPLACE" } else { b"NX" };
                    let name = b"quorate.install".as_slice();
                    let command = Command::from_args([name, &self.destination, state, mode]);
                    Step::Run(vec![piece(&self.destination, command)])
                }
            },
            3 if integer(&replies[0]) == Some(0) => Step::Done(self.refused.to_vec()),
            3 if self.remove => {
                let delete = Command::from_args([b"DEL".as_slice(), &self.source]);
                Step::Run(vec![piece(&self.source, delete)])
            }
            _ => Step::Done(self.done.to_vec()),
        }
    }
}

/// `MSETNX`: sets all keys when none exists.
#[derive(Debug)]
struct SetAllOrNothing {
    pairs: Vec<(Bytes, Bytes)>,
    stage: u8,
}

impl SetAllOrNothing {
    fn new(command: &Command) -> Self {
        let at = |index| Bytes::copy_from_slice(command.arg(index));
        let pairs = (1..command.len()).step_by(2).map(|key| (at(key), at(key + 1))).collect();
        Self { pairs, stage: 0 }
    }
}

impl Plan for SetAllOrNothing {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        self.stage += 1;
        match self.stage {
            1 => Step::Run(
                self.pairs
                    .iter()
                    .map(|(key, _)| {
                        let exists = Command::from_args([b"EXISTS".as_slice(), key]);
                        piece(key, exists)
                    })
                    .collect(),
            ),
            2 if replies.iter().any(|reply| integer(reply) != Some(0)) => {
                Step::Done(b":0\r\n".to_vec())
            }
            2 => Step::Run(
                self.pairs
                    .iter()
                    .map(|(key, value)| {
                        let set = Command::from_args([b"SET".as_slice(), key, value]);
                        piece(key, set)
                    })
                    .collect(),
            ),
            _ => Step::Done(b":1\r\n".to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a plan against scripted replies, checking the commands it asks for.
    fn run(command: &[&str], script: &[&[(&str, &'static str)]]) -> String {
        let call = Call::piece(Slot::default(), Command::from_args(command));
        let mut plan = plan(&call, false).expect("has a plan");
        let mut replies = Vec::new();
        for step in script {
            let Step::Run(pieces) = plan.next(&replies) else { panic!("ended early") };
            let asked: Vec<_> = pieces
                .iter()
                .map(|piece| {
                    let words: Vec<_> =
                        piece.command().args().map(String::from_utf8_lossy).collect();
                    words.join(" ")
                })
                .collect();
            let expected: Vec<_> = step.iter().map(|(asked, _)| (*asked).to_owned()).collect();
            assert_eq!(asked, expected);
            replies = step.iter().map(|(_, reply)| Bytes::from_static(reply.as_bytes())).collect();
        }
        match plan.next(&replies) {
            Step::Done(reply) => String::from_utf8(reply).expect("text"),
            Step::Rows(rows) => panic!("unexpected {rows:?}"),
            Step::Run(_) => panic!("not at its end"),
        }
    }

    #[test]
    fn values_and_paths_that_cannot_be_read_refuse_the_whole_command() {
        let error = |words: &[&str]| {
            let words = ["JSON.MSET"].iter().chain(words);
            let call = Call::piece(Slot::default(), Command::from_args(words));
            plan_of(&call, false, &Partitioner::Slots).err()
        };
        assert_eq!(error(&["a", "$", "1", "b", ".x", "[2]"]), None);
        let malformed = Some("expected value at line 1 column 1".to_owned());
        assert_eq!(error(&["a", "$", "1", "b", "$", "bad"]), malformed);
        assert_eq!(error(&["b", "$", "bad", "a", "$[", "1"]), malformed);
        let ended = Some("EOF while parsing a list at line 1 column 1".to_owned());
        assert_eq!(error(&["a", "$", "1", "b", "$", "1", "c", "$", "["]), ended);
        assert!(error(&["a", "$", "1", "b", "$[", "1"]).is_some());
        let odd = error(&["a", "$", "1", "b", "$"]);
        assert!(odd.is_some_and(|text| text.contains("wrong number of arguments")));
    }

    #[test]
    fn rename_installs_before_it_removes() {
        let script: &[&[(&str, &'static str)]] = &[
            &[("quorate.export a", "$1\r\ns\r\n")],
            &[("quorate.install b s REPLACE", ":1\r\n")],
            &[("DEL a", ":1\r\n")],
        ];
        assert_eq!(run(&["RENAME", "a", "b"], script), "+OK\r\n");
        assert_eq!(
            run(&["RENAME", "a", "b"], &[&[("quorate.export a", "$-1\r\n")]]),
            "-ERR no such key\r\n"
        );
    }

    #[test]
    fn copy_keeps_its_source_and_respects_the_destination() {
        let script: &[&[(&str, &'static str)]] =
            &[&[("quorate.export a", "$1\r\ns\r\n")], &[("quorate.install b s NX", ":0\r\n")]];
        assert_eq!(run(&["COPY", "a", "b"], script), ":0\r\n");
    }

    #[test]
    fn a_member_is_added_before_it_is_removed() {
        let script: &[&[(&str, &'static str)]] = &[
            &[("SCARD a", ":1\r\n")],
            &[("SISMEMBER a m", ":1\r\n"), ("SISMEMBER b m", ":0\r\n")],
            &[("SADD b m", ":1\r\n")],
            &[("SREM a m", ":1\r\n")],
        ];
        assert_eq!(run(&["SMOVE", "a", "b", "m"], script), ":1\r\n");
    }

    #[test]
    fn differences_are_stored_whole() {
        let script: &[&[(&str, &'static str)]] = &[
            &[("SMEMBERS a", "*2\r\n$1\r\nx\r\n$1\r\ny\r\n"), ("SMEMBERS b", "*1\r\n$1\r\nx\r\n")],
            &[("quorate.setstore d y", ":1\r\n")],
        ];
        assert_eq!(run(&["SDIFFSTORE", "d", "a", "b"], script), ":1\r\n");
    }

    #[test]
    fn nothing_is_set_when_one_key_exists() {
        let script: &[&[(&str, &'static str)]] =
            &[&[("EXISTS a", ":0\r\n"), ("EXISTS b", ":1\r\n")]];
        assert_eq!(run(&["MSETNX", "a", "1", "b", "2"], script), ":0\r\n");
    }

    #[test]
    fn scores_of_several_slots_are_weighed_and_stored() {
        let script: &[&[(&str, &'static str)]] = &[
            &[
                ("quorate.zmembers a", "*2\r\n$1\r\nx\r\n$1\r\n1\r\n"),
                ("quorate.zmembers b", "*4\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\ny\r\n$4\r\n-inf\r\n"),
            ],
            &[("quorate.zsetstore d y -inf x 3.5", ":2\r\n")],
        ];
        let words = ["ZUNIONSTORE", "d", "2", "a", "b", "WEIGHTS", "1.5", "1"];
        assert_eq!(run(&words, script), ":2\r\n");
    }

    #[test]
    fn pops_go_on_where_somebody_else_was_faster() {
        let popped = "*2\r\n$1\r\nc\r\n*1\r\n*2\r\n$1\r\nm\r\n$1\r\n1\r\n";
        let script: &[&[(&str, &'static str)]] = &[
            &[("ZCARD a", ":0\r\n")],
            &[("ZCARD b", ":1\r\n")],
            &[("ZMPOP 1 b MIN COUNT 2", "*-1\r\n")],
            &[("ZCARD c", ":1\r\n")],
            &[("ZMPOP 1 c MIN COUNT 2", popped)],
        ];
        assert_eq!(run(&["ZMPOP", "3", "a", "b", "c", "MIN", "COUNT", "2"], script), popped);
        let script: &[&[(&str, &'static str)]] =
            &[&[("ZCARD a", ":0\r\n")], &[("ZCARD b", ":0\r\n")]];
        assert_eq!(run(&["ZMPOP", "2", "a", "b", "MAX"], script), "*-1\r\n");
    }
}
