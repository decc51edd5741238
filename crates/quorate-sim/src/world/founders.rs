//! One cluster: no list of members becomes final beside another one.

use std::collections::BTreeSet;

use quorate_proto::NodeId;

use super::{Violation, World};
use crate::machine;

impl World<'_> {
    /// All nodes whose list is final have the same one, now and ever.
    pub(super) fn check_founders(&mut self) {
        if self.has_operators() {
            return;
        }
        for (node, machine) in self.machines.iter().enumerate() {
            let Some(process) = machine.process.as_ref().filter(|found| found.is_sealed()) else {
                continue;
            };
            let members: BTreeSet<NodeId> =
                process.topology().members().map(|member| member.id).collect();
            let first = self.founded.get_or_insert_with(|| members.clone());
            if *first != members {
                let name = machine::name(node);
                let text =
                    format!("{name} is in a cluster of {members:?}, beside one of {first:?}");
                return self.violations.push(Violation::new("founders", text));
            }
        }
    }
}
