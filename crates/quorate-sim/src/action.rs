//! What clients do: each action as a command, and its reply as something that checkers compare.

use quorate_proto::resp::reply::Value;
use serde::{Deserialize, Serialize};

use crate::document;

/// What a key holds. A key never changes its family, so that every checker sees all of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// A string that is overwritten and deleted.
    Register,
    /// A string that is appended to, by clients of one node only.
    List,
    /// A counter.
    Counter,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set, used like a set. The score of a member is its number.
    SortedSet,
    /// A set that gets times to live, is emptied and made again. Members are added once.
    TimedSet,
    /// The same as a hash: fields are set once.
    TimedHash,
    /// The same as a counter.
    TimedCounter,
    /// The same as a sorted set.
    TimedSortedSet,
    /// A string in one slot with another one. Transactions write both, and nothing writes one.
    Twin,
    /// The same, but in two slots, which only a node without peers takes in one transaction.
    FarTwin,
    /// Members of objects in a document: each one like a field of a hash.
    Document,
    /// A number in the same document.
    DocumentCounter,
    /// An array in the same document. Items are unique.
    DocumentArray,
}

impl Family {
    /// Those whose keys get times to live, are emptied and made again.
    pub const TIMED: [Self; 4] =
        [Self::TimedSet, Self::TimedHash, Self::TimedCounter, Self::TimedSortedSet];

    /// Those that are parts of documents.
    pub const DOCUMENTS: [Self; 3] = [Self::Document, Self::DocumentCounter, Self::DocumentArray];

    /// First letter of its keys.
    pub const fn prefix(self) -> char {
        match self {
            Self::Register => 'r',
            Self::List => 'l',
            Self::Counter => 'c',
            Self::Set => 's',
            Self::Hash => 'h',
            Self::SortedSet => 'z',
            Self::TimedSet => 't',
            Self::TimedHash => 'u',
            Self::TimedCounter => 'v',
            Self::TimedSortedSet => 'w',
            Self::Twin => 'y',
            Self::FarTwin => 'q',
            Self::Document | Self::DocumentCounter | Self::DocumentArray => 'd',
        }
    }

    /// Whether its keys come in pairs that only transactions write.
    pub const fn is_twin(self) -> bool {
        matches!(self, Self::Twin | Self::FarTwin)
    }

    /// The action that reads a whole key of this family.
    pub const fn read(self) -> Action {
        match self {
            Self::Register
            | Self::List
            | Self::Counter
            | Self::TimedCounter
            | Self::Twin
            | Self::FarTwin
            | Self::DocumentCounter
            | Self::DocumentArray => Action::Get,
            Self::Set | Self::TimedSet | Self::SortedSet | Self::TimedSortedSet => Action::Members,
            Self::Hash | Self::TimedHash | Self::Document => Action::Fields,
        }
    }
}

/// One key: its family and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// What it holds.
    pub family: Family,
    /// Which one of the family.
    pub number: u32,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = self.family.prefix();
        match self.family {
            Family::Twin => write!(f, "{{{prefix}{}}}{}", self.number / 2, self.number % 2),
            _ => write!(f, "{prefix}{}", self.number),
        }
    }
}

/// What a client does to a key. Values are unique in a history; members and fields are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// `GET`
    Get,
    /// `SET value`
    Set(u64),
    /// `SET value PX milliseconds`
    SetFor(u64, u64),
    /// `DEL`
    Delete,
    /// `APPEND value,`
    Append(u64),
    /// `INCRBY amount`
    Add(i64),
    /// `SADD member`, or `ZADD member member`
    Insert(u64),
    /// `SREM member`, or `ZREM member`
    Remove(u64),
    /// `SMEMBERS`, or `ZRANGE` of all members
    Members,
    /// `SMISMEMBER`, or `ZMSCORE`, of all members below a number
    MembersBelow(u64),
    /// `HSET field value`
    Put(u64, u64),
    /// `HDEL field`
    Drop(u64),
    /// `HGETALL`
    Fields,
    /// `HMGET` of all fields below a number
    FieldsBelow(u64),
    /// `PEXPIRE milliseconds`
    Expire(u64),
    /// `SPOP` of all members, or `ZPOPMIN`
    PopAll,
    /// `HDEL` of all fields below a number
    DropBelow(u64),
    /// `GETDEL`
    Take,
    /// `SET value` in a transaction that watches the key, of whose value a `GET` before tells.
    Swap(u64),
    /// What `FLUSHALL` does to each key.
    Flush,
    /// `JSON.ARRINSERT value` in front of all items
    Prepend(u64),
    /// `JSON.ARRINSERT value` behind the first item
    InsertSecond(u64),
    /// `JSON.SET` of an object with this field and value alone
    PutAlone(u64, u64),
    /// `JSON.DEL` of the object that holds the even fields, or the odd ones
    DropHalf(u64),
}

/// More than a set of a schedule has members.
const ALL_MEMBERS: u64 = 1_000_000;

/// What a command does: to one key, or the same to several, of which each is an operation of its
/// own.
pub type Parts = Vec<(Key, Action)>;

/// The words of the command that does all of these at once: `MSET`, `DEL` or `FLUSHALL` for several
/// keys.
pub fn words(parts: &[(Key, Action)]) -> Vec<String> {
    if let [(_, Action::Flush), ..] = parts {
        return vec!["FLUSHALL".to_owned()];
    }
    if let [(key, action)] = parts {
        return action.words(*key);
    }
    let deletes = parts.iter().any(|(_, action)| *action == Action::Delete);
    let head = if deletes { "DEL" } else { "MSET" };
    let arguments = parts.iter().flat_map(|(key, action)| {
        let value = match action {
            Action::Set(value) => Some(value.to_string()),
            _ => None,
        };
        std::iter::once(key.to_string()).chain(value)
    });
    std::iter::once(head.to_owned()).chain(arguments).collect()
}

/// What a client sends for these: a command, or, for twins, a transaction.
#[derive(Clone, Debug)]
pub struct Request {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Replies that come before the last one.
    pub leading: usize,
    /// Commands that are answered in a time of their own.
    pub waits: u64,
}

impl Request {
    /// The request that does all of these at once.
    pub fn new(parts: &[(Key, Action)]) -> Self {
        let [(first, action), (second, _)] = parts else { return Self::of(&[words(parts)]) };
        if !first.family.is_twin() {
            return Self::of(&[words(parts)]);
        }
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut commands: Vec<Vec<String>> = Vec::new();
        if matches!(action, Action::Swap(_)) {
            let watched = first.to_string();
            commands.extend([command(&["WATCH", &watched]), command(&["GET", &watched])]);
        }
        commands.push(command(&["MULTI"]));
        commands.extend([action.words(*first), action.words(*second), command(&["EXEC"])]);
        // What is queued is answered at once.
        let waits = if commands.len() > 4 { 3 } else { 1 };
        Self { waits, ..Self::of(&commands) }
    }

    fn of(commands: &[Vec<String>]) -> Self {
        let bytes = commands.iter().flat_map(|words| encode(words)).collect();
        Self { bytes, leading: commands.len() - 1, waits: 1 }
    }
}

/// What an action gave.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Returned {
    /// A write was acknowledged.
    Done,
    /// The key does not exist.
    Nothing,
    /// A register's value, or a counter's.
    Number(i64),
    /// What a counter became by an increment.
    Sum(i64),
    /// The values of a list, in order.
    List(Vec<u64>),
    /// The members of a set, in order of size.
    Members(Vec<u64>),
    /// The fields and values of a hash, in order of fields.
    Fields(Vec<(u64, u64)>),
}

impl Action {
    /// Whether it changes something.
    pub const fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Get | Self::Members | Self::MembersBelow(_) | Self::Fields | Self::FieldsBelow(_)
        )
    }

    /// Whether the command reads the key at the read level before it writes. The others only add
    /// an effect.
    pub const fn reads_first(&self) -> bool {
        matches!(
            self,
            Self::Delete
                | Self::Append(_)
                | Self::Add(_)
                | Self::Insert(_)
                | Self::Remove(_)
                | Self::Put(..)
                | Self::Drop(_)
                | Self::Expire(_)
                | Self::PopAll
                | Self::DropBelow(_)
                | Self::Take
                | Self::Swap(_)
                | Self::Flush
                | Self::Prepend(_)
                | Self::InsertSecond(_)
                | Self::PutAlone(..)
                | Self::DropHalf(_)
        )
    }

    /// The words of the command.
    pub fn words(&self, key: Key) -> Vec<String> {
        if Family::DOCUMENTS.contains(&key.family) {
            return document::command(*self, key);
        }
        let ranked = matches!(key.family, Family::SortedSet | Family::TimedSortedSet);
        let key = &*key.to_string();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Get => words(&["GET", key]),
            Self::Set(value) | Self::Swap(value) => words(&["SET", key, &value.to_string()]),
            Self::SetFor(value, ms) => {
                words(&["SET", key, &value.to_string(), "PX", &ms.to_string()])
            }
            Self::Delete => words(&["DEL", key]),
            Self::Append(value) => words(&["APPEND", key, &format!("{value},")]),
            Self::Add(amount) => words(&["INCRBY", key, &amount.to_string()]),
            Self::Insert(member) if ranked => {
                words(&["ZADD", key, &member.to_string(), &member.to_string()])
            }
            Self::Remove(member) if ranked => words(&["ZREM", key, &member.to_string()]),
            Self::Members if ranked => words(&["ZRANGE", key, "0", "-1"]),
            Self::PopAll if ranked => words(&["ZPOPMIN", key, &ALL_MEMBERS.to_string()]),
            Self::Insert(member) => words(&["SADD", key, &member.to_string()]),
            Self::Remove(member) => words(&["SREM", key, &member.to_string()]),
            Self::Members => words(&["SMEMBERS", key]),
            Self::Put(field, value) => {
                words(&["HSET", key, &field.to_string(), &value.to_string()])
            }
            Self::Drop(field) => words(&["HDEL", key, &field.to_string()]),
            Self::Fields => words(&["HGETALL", key]),
            Self::Expire(ms) => words(&["PEXPIRE", key, &ms.to_string()]),
            Self::PopAll => words(&["SPOP", key, &ALL_MEMBERS.to_string()]),
            Self::DropBelow(end) => below("HDEL", key, *end),
            Self::FieldsBelow(end) => below("HMGET", key, *end),
            Self::MembersBelow(end) if ranked => below("ZMSCORE", key, *end),
            Self::MembersBelow(end) => below("SMISMEMBER", key, *end),
            Self::Take => words(&["GETDEL", key]),
            Self::Flush => words(&["FLUSHALL"]),
            Self::Prepend(_) | Self::InsertSecond(_) | Self::PutAlone(..) | Self::DropHalf(_) => {
                document::command(*self, Key { family: Family::Document, number: 0 })
            }
        }
    }

    /// What a reply means.
    ///
    /// # Errors
    /// The reply makes no sense for this action.
    pub fn interpret(&self, family: Family, reply: &Value) -> Result<Returned, String> {
        let nonsense = || format!("{self:?} was answered with {reply:?}");
        if Family::DOCUMENTS.contains(&family) {
            return document::interpret(*self, family, reply).ok_or_else(nonsense);
        }
        if self.writes() {
            return match (self, reply) {
                (Self::Add(_), Value::Integer(sum)) if family == Family::Counter => {
                    Ok(Returned::Sum(*sum))
                }
                (_, Value::Simple(_) | Value::Integer(_))
                | (Self::PopAll, Value::Array(_) | Value::Set(_))
                | (Self::Take, Value::Bulk(_) | Value::Nil) => Ok(Returned::Done),
                _ => Err(nonsense()),
            };
        }
        let number = |value: &Value| value.to_text().parse::<u64>().map_err(|_| nonsense());
        match (self, reply) {
            (Self::Get, Value::Nil) => Ok(Returned::Nothing),
            (Self::Get, Value::Bulk(text)) => {
                let text = String::from_utf8_lossy(text);
                if family != Family::List {
                    return text.parse().map(Returned::Number).map_err(|_| nonsense());
                }
                let values = text.split_terminator(',').map(str::parse).collect::<Result<_, _>>();
                values.map(Returned::List).map_err(|_| nonsense())
            }
            (Self::Members, Value::Array(items) | Value::Set(items)) => {
                let mut members = items.iter().map(number).collect::<Result<Vec<_>, _>>()?;
                members.sort_unstable();
                Ok(Returned::Members(members))
            }
            (Self::MembersBelow(_), Value::Array(items)) => {
                let is_there = |item: &Value| !matches!(item, Value::Nil | Value::Integer(0));
                let there = (0..).zip(items).filter(|(_, item)| is_there(item));
                Ok(Returned::Members(there.map(|(member, _)| member).collect()))
            }
            (Self::FieldsBelow(_), Value::Array(items)) => {
                let there = (0..).zip(items).filter(|(_, item)| **item != Value::Nil);
                let fields = there.map(|(field, item)| Ok((field, number(item)?)));
                fields.collect::<Result<_, String>>().map(Returned::Fields)
            }
            (Self::Fields, Value::Array(items)) => {
                let mut fields = Vec::new();
                for pair in items.chunks(2) {
                    let [field, value] = pair else { return Err(nonsense()) };
                    fields.push((number(field)?, number(value)?));
                }
                fields.sort_unstable();
                Ok(Returned::Fields(fields))
            }
            _ => Err(nonsense()),
        }
    }
}

/// A command on all elements of a key below a number.
fn below(name: &str, key: &str, end: u64) -> Vec<String> {
    let elements = (0..end).map(|element| element.to_string());
    [name.to_owned(), key.to_owned()].into_iter().chain(elements).collect()
}

/// A command as RESP2 sends it.
pub fn encode(words: &[String]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", words.len());
    for word in words {
        frame.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    frame.into_bytes()
}
