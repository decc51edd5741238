//! `QUORATE HINTS`: what is kept for each peer, delivering it now, and giving it up.

use std::sync::Arc;

use quorate_proto::{
    MemberNumber,
    command::Call,
    resp::{Command, ReplyWriter},
};

use super::{
    Now, Shard,
    mail::HintOrder,
    obligations::{Debt, Shown, write_number, write_text},
};

const SYNTAX: &str = "HINTS [LIST | DRAIN [node] | DROP node]";

impl Shard {
    /// `QUORATE HINTS [LIST | DRAIN [node] | DROP node]`
    pub(super) fn hints_command(&mut self, now: Now, key: usize, call: Call) {
        match self.parse_hints(call.command()) {
            Ok(order) => self.gather_ledger(now, key, call, Shown::Hints, order),
            Err(error) => self.refuse(key, &call, error),
        }
    }

    fn parse_hints(&self, command: &Command) -> Result<Option<HintOrder>, String> {
        let word = command.get(2).unwrap_or(b"LIST").to_ascii_uppercase();
        match (word.as_slice(), command.len()) {
            (b"LIST", 2 | 3) => Ok(None),
            (b"DRAIN", 3) => Ok(Some(HintOrder::Drain(self.topology().peers().collect()))),
            (b"DRAIN", 4) => {
                Ok(Some(HintOrder::Drain(Arc::new([self.peer_named(command.arg(3))?]))))
            }
            (b"DROP", 4) => Ok(Some(HintOrder::Drop(self.peer_named(command.arg(3))?))),
            _ => Err(format!("ERR syntax error: {SYNTAX}")),
        }
    }

    fn peer_named(&self, name: &[u8]) -> Result<MemberNumber, String> {
        let topology = self.topology();
        let found = topology.peers().find(|peer| topology.member(*peer).name.as_bytes() == name);
        found.ok_or_else(|| format!("ERR no peer is named '{}'", String::from_utf8_lossy(name)))
    }

    /// Carries out an order on this shard.
    pub(super) fn order_hints(&mut self, now: Now, order: &HintOrder) {
        // The order may come from a shard that knows other members already.
        let topology = Arc::clone(self.topology());
        match order {
            HintOrder::Drain(peers) => {
                for peer in peers.iter().filter(|peer| topology.get(**peer).is_some()) {
                    self.handoff.drain(*peer);
                    self.anti_entropy.settle_now(now.monotonic, *peer);
                }
            }
            HintOrder::Drop(peer) => {
                let Some(member) = topology.get(*peer) else { return };
                let (hints, dirty_groups) = self.storage.drop_hints(*peer);
                let peer = &member.name;
                tracing::warn!(%peer, hints, dirty_groups, "an operator dropped hints");
            }
        }
    }
}

/// A map for each peer.
pub(super) fn write_hints(
    writer: &mut ReplyWriter<'_>,
    peers: &[(String, String)],
    debts: &[Debt],
) {
    writer.array(debts.len());
    for ((name, datacentre), debt) in peers.iter().zip(debts) {
        writer.map(8);
        write_text(writer, "name", name);
        write_text(writer, "dc", datacentre);
        write_text(writer, "state", if debt.down > 0 { "down" } else { "up" });
        for (field, value) in [
            ("pending", debt.hints),
            ("bytes", debt.hint_bytes),
            ("oldest_ms", debt.oldest_ms),
            ("dirty_groups", debt.dirty_groups()),
            ("paused", debt.paused),
        ] {
            write_number(writer, field, value);
        }
    }
}
