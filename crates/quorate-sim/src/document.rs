//! What clients do to documents: commands and replies of the three families that share them.
//!
//! A key of each of these families stands for one part of the document of its number:
//!
//! ```text
//! {"n": 7, "a": [0, 12, 9], "o0": {"2": 31}, "o1": {"1": 33, "5": 8}}
//!   |         |              |
//!   counter   array          members: the even ones, and the odd ones in `o1`
//! ```
//! Documents are made before the clients begin, and never deleted. The first item of the array stays
//! there, so that there is always one to insert behind.

use quorate_proto::resp::reply::Value;

use crate::action::{Action, Family, Key, Returned};

/// The item that is there from the beginning.
pub const FIRST_ITEM: u64 = 0;

/// The words of the command that makes a document.
fn creation(key: &str) -> Vec<String> {
    words(&["JSON.SET", key, "$", &format!(r#"{{"n":0,"a":[{FIRST_ITEM}],"o0":{{}},"o1":{{}}}}"#)])
}

/// The words of an action on a key of one of these families.
pub fn command(action: Action, key: Key) -> Vec<String> {
    let (family, key) = (key.family, &*key.to_string());
    let object = |field: u64| format!("o{}", field % 2);
    match action {
        Action::Set(_) => creation(key),
        Action::Add(amount) => words(&["JSON.NUMINCRBY", key, "$.n", &amount.to_string()]),
        Action::Get if family == Family::DocumentArray => words(&["JSON.GET", key, "$.a"]),
        Action::Get => words(&["JSON.GET", key, "$.n"]),
        Action::Append(value) => words(&["JSON.ARRAPPEND", key, "$.a", &value.to_string()]),
        Action::Prepend(value) => words(&["JSON.ARRINSERT", key, "$.a", "0", &value.to_string()]),
        Action::InsertSecond(value) => {
            words(&["JSON.ARRINSERT", key, "$.a", "1", &value.to_string()])
        }
        Action::Remove(value) => words(&["JSON.DEL", key, &format!("$.a[?(@=={value})]")]),
        Action::Put(field, value) => {
            let change = format!(r#"{{"{}":{{"{field}":{value}}}}}"#, object(field));
            words(&["JSON.MERGE", key, "$", &change])
        }
        Action::PutAlone(field, value) => {
            let path = format!("$.{}", object(field));
            words(&["JSON.SET", key, &path, &format!(r#"{{"{field}":{value}}}"#)])
        }
        Action::Drop(field) => {
            words(&["JSON.DEL", key, &format!(r#"$.{}["{field}"]"#, object(field))])
        }
        Action::DropHalf(half) => words(&["JSON.DEL", key, &format!("$.{}", object(half))]),
        Action::Delete => words(&["JSON.DEL", key, r#"$["o0","o1"]"#]),
        _ => words(&["JSON.GET", key, "$"]),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What a reply means; `None` where it makes no sense.
pub fn interpret(action: Action, family: Family, reply: &Value) -> Option<Returned> {
    if action.writes() {
        let is_answer = matches!(
            reply,
            Value::Simple(_) | Value::Integer(_) | Value::Array(_) | Value::Bulk(_)
        );
        return is_answer.then_some(Returned::Done);
    }
    let Value::Bulk(text) = reply else {
        return (*reply == Value::Nil).then_some(Returned::Nothing);
    };
    let [found] = serde_json::from_slice::<[serde_json::Value; 1]>(text).ok()?;
    match family {
        Family::DocumentCounter => found.as_i64().map(Returned::Number),
        Family::DocumentArray => {
            let items = found.as_array()?.iter().map(serde_json::Value::as_u64);
            items.collect::<Option<_>>().map(Returned::List)
        }
        _ => {
            let mut fields = Vec::new();
            for object in ["o0", "o1"].into_iter().filter_map(|name| found.get(name)) {
                for (field, value) in object.as_object()? {
                    fields.push((field.parse().ok()?, value.as_u64()?));
                }
            }
            fields.sort_unstable();
            Some(Returned::Fields(fields))
        }
    }
}
