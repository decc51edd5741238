//! `INFO entropy`: what the reconciliation channel of the node has done.

use quorate_entropy::{PeerTally, Tally};

use super::Line;
use crate::config::ChannelSettings;

/// The lines of the section.
pub(super) fn lines(settings: &ChannelSettings, tally: &Tally) -> Vec<Line> {
    let [applied, refused, bytes] = tally.received();
    let cycles = tally.cycles();
    let last = |sum: fn(&PeerTally) -> u64| cycles.peers.iter().map(sum).sum::<u64>();
    let listening = settings.listen.map_or_else(|| "no".into(), |address| address.to_string());
    let mut lines = vec![("entropy_listen".to_owned(), listening)];
    let numbers = [
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
    ];
    lines.extend(numbers.map(|(name, value)| (name.to_owned(), value.to_string())));
    for (number, (peer, done)) in settings.peers.iter().zip(&cycles.peers).enumerate() {
        let PeerTally { last, failures, last_error } = done;
        let error: String = last_error.chars().filter(|each| !each.is_control()).collect();
        let text = format!(
            "endpoint={},slots_equal={},slots_shipped={},bytes={},failures={failures},error={error}",
            peer.endpoint, last.slots_equal, last.slots_shipped, last.bytes,
        );
        lines.push((format!("recon_peer{number}"), text));
    }
    lines
}
