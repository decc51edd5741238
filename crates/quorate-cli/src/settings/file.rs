//! The configuration file: read with the places of its keys, so that whatever is wrong can be found.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use quorate::{Config, config::ConfigErrors};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// What stands behind a key.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A text or a number, which the check of the settings looks at.
    Value,
    Flag,
    Values,
    Section(Keys),
    Sections(Keys),
}

type Keys = &'static [(&'static str, Shape)];

const KEYS: Keys = &[
    ("listen", Shape::Value),
    ("peer_listen", Shape::Value),
    ("cluster_listen", Shape::Value),
    ("advertise", Shape::Value),
    ("seeds", Shape::Values),
    ("cluster", Shape::Value),
    ("name", Shape::Value),
    ("dc", Shape::Value),
    ("rack", Shape::Value),
    ("rf", Shape::Value),
    ("data_dir", Shape::Value),
    ("sync", Shape::Value),
    ("memory", Shape::Flag),
    ("shards", Shape::Value),
    ("read_level", Shape::Value),
    ("write_level", Shape::Value),
    ("read_repair", Shape::Value),
    ("max_value_size", Shape::Value),
    ("maxclients", Shape::Value),
    ("request_timeout_ms", Shape::Value),
    ("gc_grace_seconds", Shape::Value),
    ("scrub_interval_seconds", Shape::Value),
    ("scrub_bytes_per_second", Shape::Value),
    ("hints_bytes_max", Shape::Value),
    ("hint_window_seconds", Shape::Value),
    ("accept_damaged_log", Shape::Flag),
    ("entropy", Shape::Section(ENTROPY_KEYS)),
];

const ENTROPY_KEYS: Keys = &[
    ("listen", Shape::Value),
    ("key_file", Shape::Value),
    ("iv_file", Shape::Value),
    ("protocol", Shape::Value),
    ("plain", Shape::Flag),
    ("connections", Shape::Value),
    ("timeout_seconds", Shape::Value),
    ("peers", Shape::Sections(ENTROPY_PEER_KEYS)),
    ("recon_interval_seconds", Shape::Value),
];

const ENTROPY_PEER_KEYS: Keys = &[("endpoint", Shape::Value), ("node", Shape::Value)];

/// A configuration file that has the right shape. Its values have not been checked yet.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// What it says.
    pub(crate) config: Config,
    path: PathBuf,
    given: Vec<Given>,
}

/// A value of the file, with the path of its key.
#[derive(Debug)]
struct Given {
    key: String,
    value: String,
    place: Location,
}

impl File {
    /// Reads a file. An error names each key that is unknown, is given twice or has another shape.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("config: cannot read {}", path.display()))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        if text.trim().is_empty() {
            return Ok(file);
        }
        // Keys that are given twice are told here, with both places.
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            with_snippet: false,
        };
        let node: Spanned<Node> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| anyhow::anyhow!("{}: no valid YAML: {error}", path.display()))?;
        let mut problems = Vec::new();
        match &node.value {
            Node::Map(entries) => file.look_at(KEYS, "", entries, &mut problems),
            Node::Nothing => return Ok(file),
            Node::Scalar(_) | Node::List(_) => {
                let place = file.place(node.referenced);
                problems.push(format!("{place}: no settings; allowed: lines such as rf: 3"));
            }
        }
        if !problems.is_empty() {
            bail!(problems.join("\n"));
        }
        file.config = serde_saphyr::from_str(text)
            .with_context(|| format!("config: {} is wrong", path.display()))?;
        Ok(file)
    }

    /// What is wrong with settings that came from this file, or partly from flags, with its places.
    pub(crate) fn explain(&self, errors: &ConfigErrors) -> String {
        let lines = errors.0.iter().map(|error| {
            let same = |given: &&Given| given.key == error.key && given.value == error.value;
            match self.given.iter().find(same) {
                Some(given) => format!("{}: {error}", self.place(given.place)),
                None => error.to_string(),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn place(&self, location: Location) -> String {
        format!("{}:{}:{}", self.path.display(), location.line(), location.column())
    }

    fn look_at(
        &mut self,
        keys: Keys,
        section: &str,
        entries: &[Entry],
        problems: &mut Vec<String>,
    ) {
        for (position, (name, value)) in entries.iter().enumerate() {
            let key = format!("{section}{}", name.value);
            let place = self.place(name.referenced);
            let earlier = entries[..position].iter().find(|(other, _)| other.value == name.value);
            if let Some((first, _)) = earlier {
                let line = first.referenced.line();
                problems.push(format!(
                    "{place}: {key} is given twice, first in line {line}; allowed: once"
                ));
                continue;
            }
            match keys.iter().find(|(known, _)| *known == name.value) {
                Some((_, shape)) => self.look_at_value(*shape, &key, value, problems),
                None => {
                    let known: Vec<&str> = keys.iter().map(|(known, _)| *known).collect();
                    let known = known.join(", ");
                    problems.push(format!("{place}: {key} is no key; allowed: {known}"));
                }
            }
        }
    }

    fn look_at_value(
        &mut self,
        shape: Shape,
        key: &str,
        node: &Spanned<Node>,
        problems: &mut Vec<String>,
    ) {
        let allowed = match (shape, &node.value) {
            (Shape::Value, Node::Nothing) => return,
            (Shape::Value, Node::Scalar(value)) => {
                let (key, value) = (key.to_owned(), value.clone());
                return self.given.push(Given { key, value, place: node.referenced });
            }
            (Shape::Flag, Node::Scalar(value)) if is_flag(value) => return,
            (Shape::Values, Node::List(items)) => {
                for item in items {
                    self.look_at_value(Shape::Value, key, item, problems);
                }
                return;
            }
            (Shape::Section(keys), Node::Map(entries)) => {
                return self.look_at(keys, &format!("{key}."), entries, problems);
            }
            (Shape::Sections(keys), Node::List(items)) => {
                for item in items {
                    self.look_at_value(Shape::Section(keys), key, item, problems);
                }
                return;
            }
            (Shape::Value, _) => "one value".to_owned(),
            (Shape::Flag, _) => "true, false".to_owned(),
            (Shape::Values, _) => "a list, such as [10.0.0.1:16379, 10.0.0.2:16379]".to_owned(),
            (Shape::Section(keys), _) => format!("the keys {}", names(keys)),
            (Shape::Sections(keys), _) => {
                format!("a list of sections with the keys {}", names(keys))
            }
        };
        let place = self.place(node.referenced);
        problems.push(format!("{place}: {key}: {} is not allowed; allowed: {allowed}", node.value));
    }
}

fn names(keys: Keys) -> String {
    keys.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn is_flag(text: &str) -> bool {
    ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

type Entry = (Spanned<String>, Spanned<Node>);

/// A piece of YAML in which every scalar is its text.
#[derive(Debug)]
enum Node {
    Nothing,
    Scalar(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<Entry>),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Scalar(text) => write!(f, "'{text}'"),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a section"),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let file = match File::parse(Path::new("node.yaml"), text) {
            Ok(file) => file,
            Err(error) => return error.to_string(),
        };
        match file.config.validate() {
            Ok(_) => String::new(),
            Err(errors) => file.explain(&errors),
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_is_allowed() {
        for (text, expected) in [
            ("name: a\nrf: -1\n", "node.yaml:2:5: rf: '-1' is not allowed; allowed: 1 to 16"),
            ("rf: 1.5", "node.yaml:1:5: rf: '1.5' is not allowed; allowed: 1 to 16"),
            (
                "rf: 99999999999999999999999999",
                "node.yaml:1:5: rf: '100000000000000000000000000' is",
            ),
            ("rf: two", "node.yaml:1:5: rf: 'two' is not allowed; allowed: 1 to 16"),
            (
                "max_value_size: 5s",
                "node.yaml:1:17: max_value_size: '5s' is not allowed; allowed: 1024 to 536870912 bytes, \
                 also with a unit such as 64kb, 512mb, 4gb",
            ),
            (
                "request_timeout_ms: 1mb",
                "node.yaml:1:21: request_timeout_ms: '1mb' is not allowed; allowed: 10 to 3600000 \
                 milliseconds, also with a unit such as 100ms, 5s, 10m, 2h, 7d",
            ),
            (
                "rf: 1\nname: a\nrf: 2",
                "node.yaml:3:1: rf is given twice, first in line 1; allowed: once",
            ),
            ("nope: 1", "node.yaml:1:1: nope is no key; allowed: listen, peer_listen, "),
            (
                "seeds: host",
                "node.yaml:1:8: seeds: 'host' is not allowed; allowed: a list, such as",
            ),
            ("seeds: [a:x]", "node.yaml:1:9: seeds: 'a:x' is not allowed; allowed: host:port"),
            (
                "memory: maybe",
                "node.yaml:1:9: memory: 'maybe' is not allowed; allowed: true, false",
            ),
            ("listen: [a]", "node.yaml:1:9: listen: a list is not allowed; allowed: one value"),
            ("- a", "node.yaml:1:1: no settings; allowed: lines such as rf: 3"),
            ("a", "node.yaml:1:1: no settings; allowed: lines such as rf: 3"),
            ("rf: [", "node.yaml: no valid YAML: "),
            (
                "entropy: 5",
                "node.yaml:1:10: entropy: '5' is not allowed; allowed: the keys listen, ",
            ),
            (
                "entropy:\n  nope: 1",
                "node.yaml:2:3: entropy.nope is no key; allowed: listen, key_file, ",
            ),
            (
                "entropy:\n  peers: 5",
                "node.yaml:2:10: entropy.peers: '5' is not allowed; allowed: a list of sections with \
                 the keys endpoint, node",
            ),
        ] {
            let found = problems(text);
            assert!(found.starts_with(expected), "{text:?}\n{found}\n{expected}");
        }
        let two = problems("rf: -1\nshards: x\n");
        assert_eq!(two.lines().count(), 2, "{two}");
    }

    #[test]
    fn units_are_understood() {
        let text = "max_value_size: 64mb\nhints_bytes_max: 1gb\nrequest_timeout_ms: 2s\n\
                    gc_grace_seconds: 10m\nscrub_interval_seconds: 7d\nhint_window_seconds: 7200\n";
        let file = File::parse(Path::new("node.yaml"), text).expect("allowed");
        let settings = file.config.validate().expect("allowed");
        assert_eq!((settings.max_value_size, settings.hints_bytes_max), (64 << 20, 1 << 30));
        assert_eq!(settings.request_timeout.as_millis(), 2_000);
        assert_eq!((settings.gc_grace.as_secs(), settings.hint_window.as_secs()), (600, 7_200));
        assert_eq!(settings.scrub_interval.map(|interval| interval.as_secs()), Some(604_800));
    }

    #[test]
    fn the_keys_are_those_of_the_configuration() {
        fn known<T: for<'de> Deserialize<'de> + fmt::Debug>() -> Vec<String> {
            let error = serde_saphyr::from_str::<T>("no_such_key: 1").expect_err("unknown");
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            let names = line.split("expected one of ").nth(1).unwrap_or_default();
            names.split(", ").map(str::to_owned).collect()
        }
        fn listed(keys: Keys) -> Vec<String> {
            keys.iter().map(|(name, _)| (*name).to_owned()).collect()
        }
        assert_eq!(known::<Config>(), listed(KEYS));
        assert_eq!(known::<quorate::config::EntropySection>(), listed(ENTROPY_KEYS));
    }
}
