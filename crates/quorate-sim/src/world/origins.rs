//! No stamp has two writers: every start of every node has an origin of its own.

use quorate_proto::Origin;

use super::{Violation, World};
use crate::machine;

impl World<'_> {
    /// No two processes, of whichever nodes, ever go by the same origin.
    pub(super) fn check_origins(&mut self) {
        for (node, machine) in self.machines.iter().enumerate() {
            let Some(process) = machine.process.as_ref().filter(|found| found.is_sealed()) else {
                continue;
            };
            let topology = process.topology();
            let me = topology.me();
            let origin = Origin::new(me.0, topology.member(me).incarnation.start);
            let issuer = (node, machine.generation);
            let first = *self.origins.entry(origin).or_insert(issuer);
            if first != issuer {
                let name = |(node, start): (usize, u32)| format!("{}/{start}", machine::name(node));
                let text = format!("{} goes by {origin:?} of {}", name(issuer), name(first));
                return self.violations.push(Violation::new("origins", text));
            }
        }
    }
}
