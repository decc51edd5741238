//! `quorate ring`: which node owns which part of the ring, of a cluster or of a file.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use quorate_cluster::token_ring::{Owners, TokensError, check_tokens};
use quorate_proto::{
    NodeId, Partitioner, ReplicationFactor, Slot, hashkit::HashKind, message::Member,
    resp::reply::Value,
};

use crate::client::{Client, field, number, text};

/// Tokens of the whole ring.
const RING: f64 = 4_294_967_296.0;

/// Columns of the longest bar.
const BAR: f64 = 40.0;

/// With more tokens a node's are counted and not shown.
const SHOWN_TOKENS_MAX: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client address of any member
    #[arg(
        long,
        default_value = "127.0.0.1:6379",
        value_name = "HOST:PORT",
        conflicts_with = "tokens"
    )]
    address: String,
    /// Show the ring of these nodes instead, a line each as in Dynomite's dyn_seeds:
    /// HOST:PORT:RACK:DC:TOKEN[,TOKEN...]
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Replicas in each datacentre of such a ring: a number, or dc1:3,dc2:2 [default: one in each rack]
    #[arg(long, value_name = "N", requires = "tokens")]
    rf: Option<ReplicationFactor>,
}

/// What a member has.
struct Row {
    name: String,
    datacentre: String,
    rack: String,
    tokens: Vec<u32>,
    slots: u64,
    /// Of the tokens of the ring, as a replica.
    span: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.tokens {
        Some(path) => {
            let ring = FileRing::read(path, HashKind::Murmur, None)?;
            show(&ring.rows(arguments.rf.as_ref()));
            let Some(cuts) = ring.partitioner.as_ring().map(|ring| ring.cuts()) else {
                return Ok(());
            };
            println!("\nring_tokens: {}", joined(cuts));
        }
        None => {
            let answer = Client::connect(&arguments.address)?.run(&["QUORATE", "RING"])?;
            println!("partitioner: {}", text(&answer, "partitioner"));
            let Some(Value::Array(members)) = field(&answer, "members") else {
                bail!("the node does not tell its members")
            };
            show(&members.iter().map(row_of).collect::<Vec<_>>());
        }
    }
    Ok(())
}

fn row_of(member: &Value) -> Row {
    let tokens = match field(member, "tokens") {
        Some(Value::Array(tokens)) => {
            tokens.iter().filter_map(|it| it.to_text().parse().ok()).collect()
        }
        _ => Vec::new(),
    };
    Row {
        name: text(member, "name"),
        datacentre: text(member, "dc"),
        rack: text(member, "rack"),
        tokens,
        slots: number(member, "slots"),
        span: number(member, "span"),
    }
}

/// A line for each node, those of a rack together.
fn show(rows: &[Row]) {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| (&row.datacentre, &row.rack, row.tokens.first(), &row.name));
    println!(
        "{:<20} {:<12} {:<12} {:>6} {:>8}  {:<40}  tokens",
        "node", "dc", "rack", "slots", "of keys", ""
    );
    for row in sorted {
        let share = row.span as f64 / RING;
        let bar = "#".repeat((share * BAR).round() as usize);
        let tokens = match row.tokens.len() {
            0 => "none".into(),
            count if count > SHOWN_TOKENS_MAX => format!("{count}, from {} on", row.tokens[0]),
            _ => joined(&row.tokens),
        };
        println!(
            "{:<20} {:<12} {:<12} {:>6} {:>6.2} %  {bar:<40}  {tokens}",
            row.name,
            row.datacentre,
            row.rack,
            row.slots,
            100.0 * share
        );
    }
}

fn joined(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// A ring that is read from a file.
pub(crate) struct FileRing {
    members: Vec<Member>,
    pub(crate) partitioner: Partitioner,
}

impl FileRing {
    /// Reads the nodes of a ring, a line each. What stands in front of a line in YAML may stand there.
    pub(crate) fn read(path: &PathBuf, hash: HashKind, tag: Option<[u8; 2]>) -> Result<Self> {
        let shown = path.display();
        let contents =
            std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
        Self::parse(&contents, hash, tag).with_context(|| shown.to_string())
    }

    fn parse(contents: &str, hash: HashKind, tag: Option<[u8; 2]>) -> Result<Self> {
        let mut members = Vec::new();
        for (number, line) in contents.lines().enumerate() {
            let line = line.trim().trim_start_matches("- ").trim_matches(['"', '\'', ' ']);
            if !line.is_empty() && !line.starts_with('#') {
                let member = node(members.len(), line);
                members.push(member.with_context(|| format!("line {}: '{line}'", number + 1))?);
            }
        }
        ensure!(!members.is_empty(), "no node stands there");
        let cuts: Vec<u32> = members.iter().flat_map(|member| member.tokens.clone()).collect();
        let partitioner = Partitioner::ring(hash, tag, &cuts)?;
        let ring = partitioner.as_ring().expect("invariant: it was made as a ring");
        for (at, member) in members.iter().enumerate() {
            check_tokens(ring, &member.name, &member.tokens)?;
            let is_twin = |other: &&Member| {
                (&other.datacentre, &other.rack, &other.tokens)
                    == (&member.datacentre, &member.rack, &member.tokens)
            };
            if let Some(twin) = members[..at].iter().find(is_twin) {
                return Err(TokensError::Same(twin.name.clone(), member.name.clone()).into());
            }
        }
        Ok(Self { members, partitioner })
    }

    /// The names of those who hold each slot.
    pub(crate) fn holders(&self, factor: Option<&ReplicationFactor>) -> Vec<Vec<&str>> {
        let ring = self.partitioner.as_ring().expect("invariant: it was made as a ring");
        let name = |id: &NodeId| &*self.members[id.0 as usize].name;
        let factor = factor.cloned().unwrap_or_else(|| self.racks());
        let slots = Owners::new(ring, &self.members, &factor).of_slots();
        slots.iter().map(|set| set.iter().map(name).collect()).collect()
    }

    fn rows(&self, factor: Option<&ReplicationFactor>) -> Vec<Row> {
        let holders = self.holders(factor);
        let row = |member: &Member| {
            let held = || Slot::all().filter(|slot| holders[slot.index()].contains(&&*member.name));
            Row {
                name: member.name.clone(),
                datacentre: member.datacentre.clone(),
                rack: member.rack.clone(),
                tokens: member.tokens.clone(),
                slots: held().count() as u64,
                span: held().map(|slot| self.partitioner.span(slot)).sum(),
            }
        };
        self.members.iter().map(row).collect()
    }

    /// A replica in each rack, as Dynomite has it.
    fn racks(&self) -> ReplicationFactor {
        let mut racks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for member in &self.members {
            let known = racks.entry(&member.datacentre).or_default();
            if !known.contains(&&*member.rack) {
                known.push(&member.rack);
            }
        }
        let factors = racks.iter().map(|(name, racks)| ((*name).to_owned(), racks.len() as u16));
        ReplicationFactor::by_datacentre(factors).unwrap_or_else(|_| 1.into())
    }
}

/// A node of a line: `HOST:PORT:RACK:DC:TOKENS`, as Dynomite reads it from the right.
fn node(index: usize, line: &str) -> Result<Member> {
    let mut parts = line.rsplitn(4, ':');
    let (Some(tokens), Some(datacentre), Some(rack), Some(name)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        bail!("not HOST:PORT:RACK:DC:TOKEN[,TOKEN...]")
    };
    let mut tokens: Vec<u32> = tokens
        .split(',')
        .map(|token| token.trim().parse())
        .collect::<Result<_, _>>()
        .with_context(|| {
            format!("tokens: '{tokens}' is not allowed; allowed: numbers up to {}", u32::MAX)
        })?;
    tokens.sort_unstable();
    tokens.dedup();
    Ok(Member {
        id: NodeId(index as u128),
        name: name.into(),
        datacentre: datacentre.into(),
        rack: rack.into(),
        tokens,
        peer_address: name.into(),
        client_address: String::new(),
        cluster_address: String::new(),
        incarnation: Default::default(),
        duties: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FileRing> {
        FileRing::parse(text, HashKind::Murmur, None)
    }

    #[test]
    fn the_lines_of_dynomite_are_read() {
        let ring = read(
            "# a comment\n- h1:8101:r1:dc:0\n  - 'h2:8101:r1:dc:2147483648'\nh3:8101:r2:dc:7\n",
        );
        let ring = ring.expect("three nodes");
        let holders = ring.holders(None);
        let of = |key: &[u8]| {
            let mut set = holders[ring.partitioner.slot(key).index()].clone();
            set.sort_unstable();
            set
        };
        // As a built Dynomite has them.
        assert_eq!(of(b"a"), ["h2:8101", "h3:8101"]);
        assert_eq!(of(b"foo"), ["h1:8101", "h3:8101"]);
        let rows = ring.rows(None);
        assert_eq!(rows[1].span, 2_147_483_648);
        assert_eq!((rows[2].slots, rows[2].span), (16_384, 1 << 32));
    }

    #[test]
    fn what_is_no_node_is_named_with_its_line() {
        for (text, told) in [
            ("# nobody", "no node stands there"),
            ("h1:1:r:d:0\nh1:8101:0", "line 2: 'h1:8101:0'"),
            ("h:1:r:d:4294967296", "line 1: 'h:1:r:d:4294967296'"),
            ("h:1:r:d:5\ng:1:r:d:5", "nodes \"h:1\" and \"g:1\" of one rack have the same tokens"),
        ] {
            let error = read(text).err().expect("refused").to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
