//! The cluster as Redis Cluster clients see it.
//!
//! Every node serves every key, so redirections are never needed; what these replies are for is to
//! let a client go straight to an owner. A slot is shown as belonging to its first live replica
//! alone: clients attach one role to a node, and here every node is the first for some slots and
//! not for others.

use std::fmt::Write as _;

use quorate_cluster::topology::{SlotRange, Topology};
use quorate_proto::{
    MemberNumber, Slot,
    message::Member,
    resp::{Command, ReplyWriter, parse_integer, quoted},
    slot::SLOTS,
};

use super::{Shard, session_commands::write_help};

/// The port that cluster clients see as the bus port.
fn split_address(address: &str) -> (&str, i64) {
    match address.rsplit_once(':') {
        Some((host, port)) => (host.trim_matches(['[', ']']), port.parse().unwrap_or_default()),
        None => (address, 0),
    }
}

/// Whether clients are told that they speak to a cluster: there is more than one node.
pub(super) fn is_cluster(topology: &Topology) -> bool {
    topology.len() > 1
}

/// Redis's word for what a node is part of.
pub(super) fn mode(topology: &Topology) -> &'static str {
    if is_cluster(topology) { "cluster" } else { "standalone" }
}

/// Neighbouring slots that are shown as belonging to one node.
struct Range {
    first: Slot,
    last: Slot,
    node: MemberNumber,
}

impl Shard {
    pub(super) fn cluster(
        &mut self,
        writer: &mut ReplyWriter<'_>,
        subcommand: &[u8],
        command: &Command,
    ) -> Result<(), String> {
        match subcommand {
            b"slots" => self.cluster_slots(writer),
            b"shards" => self.cluster_shards(writer),
            b"nodes" => writer.verbatim(&self.cluster_nodes()),
            b"info" => writer.verbatim(&self.cluster_info()),
            b"myid" => {
                let topology = self.topology();
                writer.text(&topology.member(topology.me()).id.to_cluster_id());
            }
            b"links" => writer.array(0),
            b"replicas" | b"slaves" => {
                let topology = self.topology();
                let is_it =
                    |node| topology.member(node).id.to_cluster_id().as_bytes() == command.arg(2);
                if !topology.nodes().any(is_it) {
                    return Err(format!("ERR Unknown node {}", quoted(command.arg(2))));
                }
                writer.array(0);
            }
            b"keyslot" => {
                writer.integer(i64::from(self.partitioner().slot(command.arg(2)).number()))
            }
            _ => write_help(writer, "cluster"),
        }
        Ok(())
    }

    /// The ranges as they are now; none before the node is taken into its cluster.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        if self.node.footing().is_candidate {
            return ranges;
        }
        for range in self.topology().ranges() {
            let Some(node) = self.shown_for(&range) else { continue };
            match ranges.last_mut() {
                Some(last) if last.node == node => last.last = range.last,
                _ => ranges.push(Range { first: range.first, last: range.last, node }),
            }
        }
        ranges
    }

    /// Whose the slots of a range are shown as: the first replica that is up, else the first.
    pub(super) fn shown_for(&self, range: &SlotRange<'_>) -> Option<MemberNumber> {
        let up = |node: &MemberNumber| self.is_shown_up(*node);
        range.replicas.iter().copied().find(up).or(range.replicas.first().copied())
    }

    fn cluster_slots(&self, writer: &mut ReplyWriter<'_>) {
        let ranges = self.ranges();
        writer.array(ranges.len());
        for range in ranges {
            let member = self.topology().member(range.node);
            let (host, port) = split_address(&member.cluster_address);
            writer.array(3);
            writer.integer(i64::from(range.first.number()));
            writer.integer(i64::from(range.last.number()));
            writer.array(4);
            writer.text(host);
            writer.integer(port);
            writer.text(&member.id.to_cluster_id());
            writer.array(0);
        }
    }

    fn cluster_shards(&self, writer: &mut ReplyWriter<'_>) {
        let ranges = self.ranges();
        let topology = self.topology();
        writer.array(topology.len());
        for node in topology.nodes() {
            let own: Vec<&Range> = ranges.iter().filter(|range| range.node == node).collect();
            writer.map(2);
            writer.text("slots");
            writer.array(2 * own.len());
            for range in own {
                writer.integer(i64::from(range.first.number()));
                writer.integer(i64::from(range.last.number()));
            }
            writer.text("nodes");
            writer.array(1);
            let up = self.is_shown_up(node);
            write_shard_node(writer, topology.member(node), up);
        }
    }

    fn cluster_nodes(&self) -> String {
        let topology = self.topology();
        let ranges = self.ranges();
        let mut text = String::new();
        for node in topology.nodes() {
            let member = topology.member(node);
            let (host, port) = split_address(&member.cluster_address);
            let (_, bus) = split_address(&member.peer_address);
            let me = if node == topology.me() { "myself," } else { "" };
            let up = self.is_shown_up(node);
            let state = if up { "connected" } else { "disconnected" };
            let _ = write!(
                text,
                "{} {host}:{port}@{bus} {me}master - 0 0 {} {state}",
                member.id.to_cluster_id(),
                topology.epoch(),
            );
            for range in ranges.iter().filter(|range| range.node == node) {
                let _ = match (range.first.number(), range.last.number()) {
                    (first, last) if first == last => write!(text, " {first}"),
                    (first, last) => write!(text, " {first}-{last}"),
                };
            }
            text.push('\n');
        }
        text
    }

    fn cluster_info(&self) -> String {
        let topology = self.topology();
        let (nodes, epoch) = (topology.len(), topology.epoch());
        let ranges = self.ranges();
        let slots = |range: &Range| u32::from(range.last.number() - range.first.number()) + 1;
        let assigned: u32 = ranges.iter().map(slots).sum();
        let up = ranges.iter().filter(|range| self.is_shown_up(range.node));
        let served: u32 = up.map(slots).sum();
        let state = if served == u32::from(SLOTS) { "ok" } else { "fail" };
        [
            format!("cluster_state:{state}"),
            format!("cluster_slots_assigned:{assigned}"),
            format!("cluster_slots_ok:{served}"),
            "cluster_slots_pfail:0".into(),
            format!("cluster_slots_fail:{}", assigned - served),
            format!("cluster_known_nodes:{nodes}"),
            format!("cluster_size:{nodes}"),
            format!("cluster_current_epoch:{epoch}"),
            format!("cluster_my_epoch:{epoch}"),
            String::new(),
        ]
        .join("\r\n")
    }

    fn is_shown_up(&self, node: MemberNumber) -> bool {
        node == self.topology().me() || self.peers.is_up(node)
    }
}

fn write_shard_node(writer: &mut ReplyWriter<'_>, member: &Member, up: bool) {
    let (host, port) = split_address(&member.cluster_address);
    writer.map(7);
    writer.text("id");
    writer.text(&member.id.to_cluster_id());
    writer.text("port");
    writer.integer(port);
    writer.text("ip");
    writer.text(host);
    writer.text("endpoint");
    writer.text(host);
    writer.text("role");
    writer.text("master");
    writer.text("replication-offset");
    writer.integer(0);
    writer.text("health");
    writer.text(if up { "online" } else { "fail" });
}

/// A slot number given by a client.
pub(super) fn parse_slot(text: &[u8]) -> Result<Slot, String> {
    let number = parse_integer(text).and_then(|number| u16::try_from(number).ok());
    number.and_then(Slot::new).ok_or_else(|| "ERR Invalid slot".into())
}
