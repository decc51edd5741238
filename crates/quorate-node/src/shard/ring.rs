//! `QUORATE RING`: how keys get their slots, and what each member holds of the tokens.

use quorate_proto::{Partitioner, Slot, resp::ReplyWriter};

use super::Shard;

impl Shard {
    /// How keys get their slots.
    pub(super) fn partitioner(&self) -> &Partitioner {
        self.storage.topology.partitioner()
    }

    /// `QUORATE RING`
    pub(super) fn ring(&self, writer: &mut ReplyWriter<'_>) {
        let (topology, partitioner) = (self.topology(), self.partitioner());
        writer.map(2);
        writer.text("partitioner");
        writer.text(&partitioner.to_string());
        writer.text("members");
        writer.array(topology.len());
        for node in topology.nodes() {
            let member = topology.member(node);
            let held = || Slot::all().filter(|slot| topology.is_replica(*slot, node));
            let span: u64 = held().map(|slot| partitioner.span(slot)).sum();
            writer.map(6);
            for (name, text) in
                [("name", &member.name), ("dc", &member.datacentre), ("rack", &member.rack)]
            {
                writer.text(name);
                writer.text(text);
            }
            for (name, number) in [("slots", held().count() as u64), ("span", span)] {
                writer.text(name);
                writer.integer(i64::try_from(number).unwrap_or(i64::MAX));
            }
            writer.text("tokens");
            writer.array(member.tokens.len());
            member.tokens.iter().for_each(|token| writer.integer((*token).into()));
        }
    }
}
