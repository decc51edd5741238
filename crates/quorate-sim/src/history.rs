//! What clients did and saw: the only thing, besides the final state, that checkers judge by.

use quorate_proto::Level;
use serde::{Deserialize, Serialize};

use crate::action::{Action, Family, Key, Returned};

/// A moment of the simulation, or of a run of real processes, in microseconds since its start.
pub type Time = u64;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was acknowledged.
    Ok(Returned),
    /// It certainly did not happen, and never will.
    Failed(String),
    /// It may have happened, or may still happen.
    Unknown(String),
}

/// One operation of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// A strand of operations that follow each other. A client that does not know how an operation
    /// ended goes on as another process.
    pub process: u32,
    /// The node that was asked.
    pub node: usize,
    /// The datacentre of that node.
    pub datacentre: usize,
    /// The key.
    pub key: Key,
    /// What was asked.
    pub action: Action,
    /// The level of reads.
    #[serde(with = "level")]
    pub read_level: Level,
    /// The level of writes.
    #[serde(with = "level")]
    pub write_level: Level,
    /// When it was sent.
    pub start: Time,
    /// When its outcome was known.
    pub end: Time,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it was asked after everything had settled.
    pub last: bool,
}

impl Operation {
    /// What it returned, when it was acknowledged.
    pub fn returned(&self) -> Option<&Returned> {
        match &self.outcome {
            Outcome::Ok(returned) => Some(returned),
            _ => None,
        }
    }

    /// Whether it was acknowledged.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }

    /// Whether it certainly did not happen.
    pub fn is_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    /// Until when it can have taken effect: for ever, when its outcome is unknown.
    pub fn effective_end(&self) -> Time {
        if self.is_ok() { self.end } else { Time::MAX }
    }

    /// One line for a reader.
    pub fn describe(&self) -> String {
        let Self { process, node, key, action, start, end, outcome, .. } = self;
        let (start, end) = (*start as f64 / 1e3, *end as f64 / 1e3);
        let levels = format!("{}/{}", self.read_level, self.write_level);
        format!(
            "{start:10.1} {end:10.1} ms  p{process:<4} n{node} {key:<4} {levels} {action:?} -> {outcome:?}"
        )
    }
}

mod level {
    use std::str::FromStr as _;

    use quorate_proto::Level;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(level: &Level, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(level.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Level, D::Error> {
        Level::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Everything that happened to the keys, in order of the starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
}

impl History {
    /// The operations on each key of a family, in order of the keys.
    pub fn by_key(&self, family: Family) -> Vec<(Key, Vec<&Operation>)> {
        let mut keys = std::collections::BTreeMap::<Key, Vec<&Operation>>::new();
        for operation in self.operations.iter().filter(|found| found.key.family == family) {
            keys.entry(operation.key).or_default().push(operation);
        }
        keys.into_iter().collect()
    }

    /// The history in the form that Elle reads: one JSON object an event, registers as
    /// `rw-register` transactions of one micro-operation, lists as `list-append`.
    pub fn to_elle(&self) -> String {
        let mut events: Vec<(Time, u8, serde_json::Value)> = Vec::new();
        for operation in &self.operations {
            let Some(invoked) = elle_value(operation, false) else { continue };
            let kind = match operation.outcome {
                Outcome::Ok(_) => "ok",
                Outcome::Failed(_) => "fail",
                Outcome::Unknown(_) => "info",
            };
            let completed = elle_value(operation, true).unwrap_or_else(|| invoked.clone());
            for (time, order, kind, value) in
                [(operation.start, 1, "invoke", invoked), (operation.end, 0, kind, completed)]
            {
                let event = serde_json::json!({
                    "type": kind, "f": "txn", "process": operation.process,
                    "time": time * 1000, "value": [value],
                });
                events.push((time, order, event));
            }
        }
        events.sort_by_key(|(time, order, _)| (*time, *order));
        let lines = events.into_iter().enumerate().map(|(index, (_, _, mut event))| {
            event["index"] = index.into();
            event.to_string() + "\n"
        });
        lines.collect()
    }

    /// The registers in the form of Porcupine's key-value model: one JSON object an operation, with
    /// `Call` and `Return` in nanoseconds. Operations that never ended return at the end of time.
    pub fn to_porcupine(&self) -> String {
        let registers = self.operations.iter().filter(|found| {
            found.key.family == Family::Register
                && !found.is_failed()
                && matches!(found.action, Action::Get | Action::Set(_))
                && (found.is_ok() || found.action.writes())
        });
        let lines = registers.map(|operation| {
            let (op, value) = match (operation.action, operation.returned()) {
                (Action::Set(value), _) => (1, value.to_string()),
                (_, Some(Returned::Number(value))) => (0, value.to_string()),
                _ => (0, String::new()),
            };
            let end = operation.effective_end().min(i64::MAX as u64 / 1000);
            let (input, output) =
                if op == 1 { (value, String::new()) } else { (String::new(), value) };
            let line = serde_json::json!({
                "ClientId": operation.process,
                "Input": { "Op": op, "Key": operation.key.to_string(), "Value": input },
                "Call": operation.start * 1000,
                "Output": { "Value": output },
                "Return": end * 1000,
            });
            line.to_string() + "\n"
        });
        lines.collect()
    }
}

fn elle_value(operation: &Operation, completed: bool) -> Option<serde_json::Value> {
    let key = operation.key.to_string();
    let read = |value: serde_json::Value| Some(serde_json::json!(["r", key, value]));
    match (operation.key.family, operation.action) {
        (Family::Register, Action::Set(value)) => Some(serde_json::json!(["w", key, value])),
        (Family::List, Action::Append(value)) => Some(serde_json::json!(["append", key, value])),
        (Family::Register | Family::List, Action::Get) if !completed => read(().into()),
        (Family::Register | Family::List, Action::Get) => match operation.returned() {
            Some(Returned::Number(value)) => read((*value).into()),
            Some(Returned::List(values)) => read(values.clone().into()),
            _ => read(().into()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, outcome: Outcome) -> Operation {
        Operation {
            process: 3,
            node: 0,
            datacentre: 0,
            key: Key { family: Family::List, number: 1 },
            action,
            read_level: Level::Quorum,
            write_level: Level::One,
            start: 5,
            end: 9,
            outcome,
            last: false,
        }
    }

    #[test]
    fn a_history_survives_its_json() {
        let history =
            History { operations: vec![operation(Action::Append(4), Outcome::Ok(Returned::Done))] };
        let text = serde_json::to_string(&history).expect("writes");
        assert_eq!(serde_json::from_str::<History>(&text).expect("reads"), history);
    }

    #[test]
    fn elle_reads_appends_and_lists() {
        let history = History {
            operations: vec![
                operation(Action::Append(4), Outcome::Unknown("silence".into())),
                operation(Action::Get, Outcome::Ok(Returned::List(vec![4]))),
            ],
        };
        let text = history.to_elle();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].contains(r#""value":[["append","l1",4]]"#), "{text}");
        assert!(text.contains(r#""type":"info""#) && text.contains(r#"["r","l1",[4]]"#), "{text}");
    }

    #[test]
    fn porcupine_reads_puts_and_gets_and_nothing_that_failed() {
        let mut put = operation(Action::Set(4), Outcome::Unknown("silence".into()));
        let mut failed = operation(Action::Set(5), Outcome::Failed("too few".into()));
        let mut get = operation(Action::Get, Outcome::Ok(Returned::Number(4)));
        for operation in [&mut put, &mut failed, &mut get] {
            operation.key.family = Family::Register;
        }
        let text = History { operations: vec![put, failed, get] }.to_porcupine();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let [put, get] = &lines[..] else { panic!("two operations: {text}") };
        assert_eq!((&put["Input"]["Op"], &put["Input"]["Value"]), (&1.into(), &"4".into()));
        assert!(put["Return"].as_u64() > get["Return"].as_u64(), "it may happen at any time");
        assert_eq!((&get["Input"]["Key"], &get["Output"]["Value"]), (&"r1".into(), &"4".into()));
    }
}
