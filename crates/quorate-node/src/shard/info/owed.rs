//! `INFO obligations`: what is owed to the peers, to each of them, and to each datacentre.

use std::collections::BTreeMap;

use super::{Line, Report};
use crate::shard::mail::PeerMetrics;

/// The lines of the section.
pub(super) fn lines(report: &Report<'_>) -> Vec<Line> {
    let (topology, metrics_of_peers) = (report.topology, &report.metrics.peers);
    let mut sum = PeerMetrics::default();
    let mut unverified = 0;
    let mut peers = Vec::new();
    let mut datacentres: BTreeMap<&str, (PeerMetrics, u64)> = BTreeMap::new();
    for peer in topology.peers() {
        let member = topology.member(peer);
        let metrics = metrics_of_peers.get(peer).copied().unwrap_or_default();
        let (of_datacentre, doubted) = datacentres.entry(&member.datacentre).or_default();
        for sum in [&mut sum, of_datacentre] {
            sum.hints += metrics.hints;
            sum.hint_bytes += metrics.hint_bytes;
            sum.dirty_groups += metrics.dirty_groups;
            sum.unacknowledged += metrics.unacknowledged;
        }
        unverified += u64::from(metrics.unverified);
        *doubted += u64::from(metrics.unverified);
        let state = if metrics.up { "up" } else { "down" };
        let text = owed(&metrics, metrics.unverified.into());
        peers.push((
            format!("peer_{}", member.name),
            format!("dc={},state={state},{text}", member.datacentre),
        ));
    }
    let datacentres = datacentres.into_iter().map(|(name, (metrics, unverified))| {
        (format!("datacentre_{name}"), owed(&metrics, unverified))
    });
    let mut lines: Vec<Line> = [
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

/// What is owed, in the format of the lines of databases.
fn owed(metrics: &PeerMetrics, unverified: u64) -> String {
    let PeerMetrics { hints, hint_bytes, dirty_groups, unacknowledged, .. } = metrics;
    format!(
        "hints={hints},hint_bytes={hint_bytes},dirty_groups={dirty_groups},\
         unverified={unverified},unacknowledged={unacknowledged}"
    )
}
