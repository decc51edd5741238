//! `INFO`: figures about the node, in the format of Redis.

use std::collections::BTreeMap;

use super::{Now, Shard, mail::PeerFigures};
use crate::{
    config::EntropySettings,
    entropy::{PeerTally, Tally},
};

type Line = (&'static str, String);

impl Shard {
    /// The sections asked for; the usual ones when none is.
    pub(super) fn info(&self, now: Now, wanted: &[&[u8]]) -> String {
        self.publish_figures(now);
        let is_wanted = |name: &str| {
            wanted.is_empty()
                || wanted.iter().any(|word| {
                    word.eq_ignore_ascii_case(name.as_bytes())
                        || ["all", "default", "everything"]
                            .iter()
                            .any(|every| word.eq_ignore_ascii_case(every.as_bytes()))
                })
        };
        let owned = |(key, value): Line| (key.to_owned(), value);
        let sections = self.sections(now).into_iter();
        let sections = sections.map(|(name, lines)| (name, lines.into_iter().map(owned).collect()));
        let mut texts: Vec<String> = sections
            .chain([("Obligations", self.obligations())])
            .filter(|(name, _)| is_wanted(name))
            .map(|(name, lines): (_, Vec<(String, String)>)| {
                let lines = lines.iter().map(|(key, value)| format!("{key}:{value}\r\n"));
                format!("# {name}\r\n{}", lines.collect::<String>())
            })
            .collect();
        if let Some(settings) = &self.node.settings.entropy
            && is_wanted("Entropy")
        {
            texts.push(channel_section(settings, &self.node.channel));
        }
        texts.join("\r\n")
    }

    /// What is owed to the peers, to each of them, and to each datacentre.
    fn obligations(&self) -> Vec<(String, String)> {
        let total = self.node.figures();
        let topology = self.topology();
        let mut sum = PeerFigures::default();
        let mut unverified = 0;
        let mut peers = Vec::new();
        let mut datacentres: BTreeMap<&str, (PeerFigures, u64)> = BTreeMap::new();
        for peer in topology.peers() {
            let member = topology.member(peer);
            let figures = total.peers.get(peer.index()).copied().unwrap_or_default();
            let (of_datacentre, doubted) = datacentres.entry(&member.datacentre).or_default();
            for sum in [&mut sum, of_datacentre] {
                sum.hints += figures.hints;
                sum.hint_bytes += figures.hint_bytes;
                sum.dirty_groups += figures.dirty_groups;
                sum.unacknowledged += figures.unacknowledged;
            }
            unverified += u64::from(figures.unverified);
            *doubted += u64::from(figures.unverified);
            let state = if figures.up { "up" } else { "down" };
            let text = owed(&figures, figures.unverified.into());
            peers.push((
                format!("peer_{}", member.name),
                format!("dc={},state={state},{text}", member.datacentre),
            ));
        }
        let datacentres = datacentres.into_iter().map(|(name, (figures, unverified))| {
            (format!("datacentre_{name}"), owed(&figures, unverified))
        });
        let mut lines: Vec<(String, String)> = [
            ("owed_hints", sum.hints),
            ("owed_hint_bytes", sum.hint_bytes),
            ("owed_dirty_groups", sum.dirty_groups),
            ("owed_unacknowledged", sum.unacknowledged),
            ("peers_unverified", unverified),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect();
        lines.extend(peers);
        lines.extend(datacentres);
        lines
    }

    fn sections(&self, now: Now) -> Vec<(&'static str, Vec<Line>)> {
        let total = self.node.figures();
        let settings = &self.node.settings;
        let topology = self.topology();
        let me = topology.member(topology.me());
        let uptime = now.wall_ms.saturating_sub(self.node.started_ms) / 1000;
        let up = total.peers.iter().filter(|peer| peer.up).count();
        let hints: u64 = total.peers.iter().map(|peer| peer.hints).sum();
        let memory = resident_bytes();
        let number = |value: u64| value.to_string();
        vec![
            (
                "Server",
                vec![
                    ("redis_version", "7.0.15".into()),
                    ("quorate_version", env!("CARGO_PKG_VERSION").into()),
                    ("redis_mode", "standalone".into()),
                    ("os", std::env::consts::OS.into()),
                    ("process_id", std::process::id().to_string()),
                    ("run_id", me.id.to_cluster_id()),
                    ("tcp_port", settings.listen.port().to_string()),
                    ("uptime_in_seconds", number(uptime)),
                    ("shards", settings.shards.to_string()),
                ],
            ),
            (
                "Clients",
                vec![
                    ("connected_clients", number(total.clients)),
                    ("maxclients", settings.maxclients.to_string()),
                ],
            ),
            (
                "Memory",
                vec![
                    ("used_memory", number(memory)),
                    ("used_memory_rss", number(memory)),
                    ("maxmemory", "0".into()),
                ],
            ),
            (
                "Persistence",
                vec![
                    ("loading", "0".into()),
                    ("aof_enabled", u64::from(settings.data_dir.is_some()).to_string()),
                    ("aof_current_size", number(total.log_bytes)),
                    ("sync_policy", settings.sync.name().into()),
                    ("log_failed", u64::from(total.failed).to_string()),
                    ("scrub_running", u64::from(total.scrubbing).to_string()),
                    ("scrub_last_done_ms", number(total.scrubbed_ms)),
                    ("scrub_keys_checked", number(total.scrub.keys)),
                    ("scrub_bytes_checked", number(total.scrub.bytes)),
                    ("scrub_mismatches", number(total.scrub.mismatches)),
                    ("scrub_damages", number(total.scrub.damages)),
                ],
            ),
            (
                "Stats",
                vec![
                    ("total_commands_processed", number(total.commands)),
                    ("expired_keys", number(total.expired)),
                    ("marked_keys", number(total.marked)),
                    ("operations_in_flight", number(total.in_flight)),
                    ("read_repairs", number(total.read_repairs)),
                    ("read_repair_bytes", number(total.read_repair_bytes)),
                ],
            ),
            ("Replication", vec![("role", "master".into()), ("connected_slaves", "0".into())]),
            ("Cluster", vec![("cluster_enabled", "1".into())]),
            (
                "Quorate",
                vec![
                    ("node_name", me.name.clone()),
                    ("cluster_name", settings.cluster.clone()),
                    ("datacentre", me.datacentre.clone()),
                    ("rack", me.rack.clone()),
                    ("epoch", number(topology.epoch())),
                    ("sealed", u64::from(topology.sealed()).to_string()),
                    ("ready", u64::from(total.ready).to_string()),
                    ("incomplete", u64::from(total.incomplete).to_string()),
                    ("clock_in_doubt", u64::from(total.clock_in_doubt).to_string()),
                    ("members", topology.len().to_string()),
                    ("peers_up", up.to_string()),
                    ("hints_pending", number(hints)),
                    ("hint_bytes", number(total.hint_bytes)),
                    ("clock_dots_pulled", number(total.clocks.pulled)),
                    ("clock_dots_absent", number(total.clocks.absent)),
                    ("clock_dots_pended", number(total.clocks.pended)),
                    ("clock_bytes", number(total.clocks.bytes)),
                    ("clock_recent_bytes", number(total.recent_bytes)),
                ],
            ),
            (
                "Keyspace",
                vec![("db0", format!("keys={},expires={},avg_ttl=0", total.keys, total.expiring))],
            ),
        ]
    }
}

/// What the reconciliation channel of the node has done.
fn channel_section(settings: &EntropySettings, tally: &Tally) -> String {
    let [applied, refused, bytes] = tally.received();
    let cycles = tally.cycles();
    let last = |sum: fn(&PeerTally) -> u64| cycles.peers.iter().map(sum).sum::<u64>();
    let listening = settings.listen.map_or_else(|| "no".into(), |address| address.to_string());
    let mut text = format!("# Entropy\r\nentropy_listen:{listening}\r\n");
    for (key, value) in [
        ("entropy_snapshots_applied", applied),
        ("entropy_snapshots_refused", refused),
        ("entropy_bytes_applied", bytes),
        ("recon_interval_seconds", settings.recon_interval.as_secs()),
        ("recon_cycles", cycles.count),
        ("recon_slots_shipped", cycles.slots_shipped),
        ("recon_bytes", cycles.bytes),
        ("recon_failures", cycles.failures),
        ("recon_last_ended_ms", cycles.last_ended_ms),
        ("recon_last_took_ms", u64::try_from(cycles.last_took.as_millis()).unwrap_or(u64::MAX)),
        ("recon_last_slots_equal", last(|peer| peer.last.slots_equal as u64)),
        ("recon_last_slots_shipped", last(|peer| peer.last.slots_shipped as u64)),
        ("recon_last_bytes", last(|peer| peer.last.bytes)),
        ("recon_last_failures", last(|peer| u64::from(!peer.last_error.is_empty()))),
    ] {
        text += &format!("{key}:{value}\r\n");
    }
    for (number, (peer, done)) in settings.peers.iter().zip(&cycles.peers).enumerate() {
        let PeerTally { last, failures, last_error } = done;
        let error: String = last_error.chars().filter(|each| !each.is_control()).collect();
        text += &format!(
            "recon_peer{number}:endpoint={},slots_equal={},slots_shipped={},bytes={},failures={failures},\
             error={error}\r\n",
            peer.endpoint, last.slots_equal, last.slots_shipped, last.bytes,
        );
    }
    text
}

/// What is owed, in the format of the lines of databases.
fn owed(figures: &PeerFigures, unverified: u64) -> String {
    let PeerFigures { hints, hint_bytes, dirty_groups, unacknowledged, .. } = figures;
    format!(
        "hints={hints},hint_bytes={hint_bytes},dirty_groups={dirty_groups},\
         unverified={unverified},unacknowledged={unacknowledged}"
    )
}

/// Memory of this process that is in RAM.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
