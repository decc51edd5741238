//! The configuration file: read with the places of its keys, so that whatever is wrong can be
//! found.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use quorate::config::{ConfigErrors, SETTINGS, Setting, Shape};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// A configuration file that has the right shape. Its values have not been checked yet.
#[derive(Debug, Default)]
pub(crate) struct File {
    path: PathBuf,
    given: Vec<Given>,
}

/// A value of the file.
#[derive(Debug)]
struct Given {
    setting: &'static Setting,
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
            .map_err(|error| anyhow::anyhow!("{}: {}", path.display(), unreadable(&error)))?;
        let mut problems = Vec::new();
        match &node.value {
            Node::Map(entries) => file.look_at("", entries, &mut problems),
            Node::Nothing => return Ok(file),
            Node::Scalar(_) | Node::List(_) => {
                let place = file.place(node.referenced);
                problems.push(format!("{place}: no settings; allowed: lines such as rf: 3"));
            }
        }
        if !problems.is_empty() {
            bail!(problems.join("\n"));
        }
        Ok(file)
    }

    /// What it says.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static Setting, String)> {
        self.given.iter().map(|Given { setting, value, .. }| (*setting, value.clone()))
    }

    /// What is wrong with settings that came from this file, or partly from flags, with its places.
    pub(crate) fn explain(&self, errors: &ConfigErrors) -> String {
        let lines = errors.0.iter().map(|error| {
            let same =
                |given: &&Given| given.setting.key == error.key && given.value == error.value;
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

    /// Looks at the entries of a section; the names of its keys begin with `section`.
    fn look_at(&mut self, section: &str, entries: &[Entry], problems: &mut Vec<String>) {
        for (position, (name, node)) in entries.iter().enumerate() {
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
            let inside = format!("{key}.");
            match (Setting::find(&key), &node.value) {
                (Some(_), Node::Nothing) => {}
                (None, Node::Nothing) if !keys_of(&inside).is_empty() => {}
                (Some(setting), _) => self.take(setting, node, problems),
                (None, Node::Map(entries)) if !keys_of(&inside).is_empty() => {
                    self.look_at(&inside, entries, problems);
                }
                (None, other) if !keys_of(&inside).is_empty() => {
                    let (place, keys) = (self.place(node.referenced), keys_of(&inside));
                    problems.push(not_allowed(&place, &key, other, &format!("the keys {keys}")));
                }
                (None, _) => {
                    let known = keys_of(section);
                    problems.push(format!("{place}: {key} is no key; allowed: {known}"));
                }
            }
        }
    }

    /// Takes what is given for a setting, if that has its shape.
    fn take(
        &mut self,
        setting: &'static Setting,
        node: &Spanned<Node>,
        problems: &mut Vec<String>,
    ) {
        let allowed = match (setting.shape(), &node.value) {
            (Shape::One | Shape::Flag, Node::Scalar(value)) => {
                let value = value.clone();
                return self.given.push(Given { setting, value, place: node.referenced });
            }
            (Shape::OneOrNamed, Node::Scalar(value)) => {
                let value = value.clone();
                return self.given.push(Given { setting, value, place: node.referenced });
            }
            (Shape::OneOrNamed, Node::Map(entries))
                if entries.iter().all(|(_, it)| is_scalar(it)) =>
            {
                let named = |(name, node): &Entry| format!("{}:{}", name.value, node.value);
                let mut values: Vec<String> = entries.iter().map(named).collect();
                values.sort();
                let (value, place) = (values.join(","), node.referenced);
                return self.given.push(Given { setting, value, place });
            }
            (Shape::Many, Node::List(items)) if items.iter().all(is_scalar) => {
                for item in items {
                    let (value, place) = (item.value.to_string(), item.referenced);
                    self.given.push(Given { setting, value, place });
                }
                return;
            }
            (Shape::Sections(keys), Node::List(items)) => {
                match items.iter().map(|item| joined(keys, item)).collect::<Option<Vec<_>>>() {
                    Some(values) => {
                        for (value, item) in values.into_iter().zip(items) {
                            self.given.push(Given { setting, value, place: item.referenced });
                        }
                        return;
                    }
                    None => format!("a list of sections with the keys {}", keys.join(", ")),
                }
            }
            (Shape::One, _) => "one value".to_owned(),
            (Shape::OneOrNamed, _) => "one value, or a section of them".to_owned(),
            (Shape::Flag, _) => "true, false".to_owned(),
            (Shape::Many, _) => "a list, such as [10.0.0.1:16379, 10.0.0.2:16379]".to_owned(),
            (Shape::Sections(keys), _) => {
                format!("a list of sections with the keys {}", keys.join(", "))
            }
        };
        let place = self.place(node.referenced);
        problems.push(not_allowed(&place, setting.key, &node.value, &allowed));
    }
}

/// Why a file cannot be read.
fn unreadable(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "more than one YAML document; allowed: one, so no line --- behind the first setting"
                .into()
        }
        error => format!("no valid YAML: {error}"),
    }
}

/// The keys whose names begin with `section`, as they stand in it.
fn keys_of(section: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for key in SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(section)) {
        let name = key.split('.').next().unwrap_or(key);
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn not_allowed(place: &str, key: &str, found: &Node, allowed: &str) -> String {
    let quoted = match found {
        Node::Scalar(text) => format!("'{text}'"),
        other => other.to_string(),
    };
    format!("{place}: {key}: {quoted} is not allowed; allowed: {allowed}")
}

fn is_scalar(node: &Spanned<Node>) -> bool {
    matches!(node.value, Node::Scalar(_))
}

/// The values of a section, in the order of the keys that it may have; those behind the first may
/// be missing.
fn joined(keys: &[&str], section: &Spanned<Node>) -> Option<String> {
    let Node::Map(entries) = &section.value else { return None };
    let is_known = |(name, node): &Entry| keys.contains(&name.value.as_str()) && is_scalar(node);
    let value = |key: &str| entries.iter().find(|(name, _)| name.value == key);
    if !entries.iter().all(is_known) || value(keys[0]).is_none() {
        return None;
    }
    let values = keys.iter().map_while(|key| value(key)).map(|(_, node)| node.value.to_string());
    Some(values.collect::<Vec<_>>().join(","))
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
            Self::Scalar(text) => f.write_str(text),
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
        // One without a fraction must not pass for an integer.
        let text = if value.fract() == 0.0 { format!("{value}.0") } else { value.to_string() };
        Ok(Node::Scalar(text))
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
    use quorate::Settings;

    use super::*;

    fn settings(file: &File) -> Result<Settings, ConfigErrors> {
        Settings::read(&file.values().collect::<Vec<_>>())
    }

    fn problems(text: &str) -> String {
        let file = match File::parse(Path::new("node.yaml"), text) {
            Ok(file) => file,
            Err(error) => return error.to_string(),
        };
        match settings(&file) {
            Ok(_) => String::new(),
            Err(errors) => file.explain(&errors),
        }
    }

    /// What is wrong in each text begins as said beside it.
    fn assert_problems(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let found = problems(text);
            assert!(found.starts_with(expected), "{text:?}\n{found}\n{expected}");
        }
    }

    #[test]
    fn a_replication_factor_is_one_number_or_one_for_each_datacentre() {
        assert_problems(&[
            (
                "name: a\nrf: -1\n",
                "node.yaml:2:5: rf: '-1' is not allowed; allowed: 1 to 16, or one for",
            ),
            (
                "dc: east\nrf: {east: 3, west: 0}",
                "node.yaml:2:5: rf: 'east:3,west:0' is not allowed; allowed: 1 to 16, or one for each \
                 datacentre, such as dc1:3,dc2:2",
            ),
            (
                "dc: north\nrf: {west: 2, east: 3}",
                "node.yaml:2:5: rf: 'east:3,west:2' is not allowed; allowed: a number for each \
                 datacentre, that of this node (north) too",
            ),
            (
                "rf: [3]",
                "node.yaml:1:5: rf: a list is not allowed; allowed: one value, or a section",
            ),
            ("rf: 3.0", "node.yaml:1:5: rf: '3.0' is not allowed; allowed: 1 to 16, or one for"),
        ]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_is_allowed() {
        assert_problems(&[
            ("nope:", "node.yaml:1:1: nope is no key; allowed: listen, peer_listen, "),
            ("rf: 1\n---\nrf: 2\n", "node.yaml: more than one YAML document; allowed: one, "),
            (
                "peer_listen: 127.0.0.1:6379",
                "node.yaml:1:14: peer_listen: '127.0.0.1:6379' is not allowed; allowed: an address other \
                 than that of listen",
            ),
            (
                "listen: 127.0.0.1:7000\ncluster_listen: 127.0.0.1:17000",
                "node.yaml:2:17: cluster_listen: '127.0.0.1:17000' is not allowed; allowed: an address \
                 other than that of peer_listen",
            ),
            ("rf: 1.5", "node.yaml:1:5: rf: '1.5' is not allowed; allowed: 1 to 16, or one for"),
            (
                "rf: 99999999999999999999999999",
                "node.yaml:1:5: rf: '100000000000000000000000000.0' is",
            ),
            ("rf: two", "node.yaml:1:5: rf: 'two' is not allowed; allowed: 1 to 16, or one for"),
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
        ]);
        let two = problems("rf: -1\nshards: x\n");
        assert_eq!(two.lines().count(), 2, "{two}");
    }

    #[test]
    fn units_are_understood() {
        let text = "max_value_size: 64mb\nhints_bytes_max: 1gb\nrequest_timeout_ms: 2s\n\
                    gc_grace_seconds: 10m\nscrub_interval_seconds: 7d\nhint_window_seconds: 7200\n";
        let file = File::parse(Path::new("node.yaml"), text).expect("allowed");
        let settings = settings(&file).expect("allowed");
        assert_eq!((settings.max_value_size, settings.hints_bytes_max), (64 << 20, 1 << 30));
        assert_eq!(settings.request_timeout.as_millis(), 2_000);
        assert_eq!((settings.gc_grace.as_secs(), settings.hint_window.as_secs()), (600, 7_200));
        assert_eq!(settings.scrub_interval.map(|interval| interval.as_secs()), Some(604_800));
    }
}
