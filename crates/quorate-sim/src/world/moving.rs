//! Slots that go to other members, as if a register decided on it: one list at a time follows the one
//! before, and nodes hear of it at some moment.

use std::collections::BTreeMap;

use quorate_cluster::{
    movement::{Report, advance, plan},
    peer_map::PeerMap,
};
use quorate_node::simulation::Input;
use quorate_proto::{MemberNumber, NodeId, ReplicationFactor, message::View};

use super::{Event, Violation, World};
use crate::{
    history::Time,
    machine::{self, State},
};

/// How often whoever drives looks at what the members report.
const DRIVEN_EVERY: Time = 250_000;

/// What was decided on.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// The newest list; `None` before the first is final.
    view: Option<View>,
    /// How many changes are still to begin.
    left: u32,
    /// Groups that may be under way together.
    groups_at_once: usize,
    /// When the next change begins.
    next_at: Time,
}

impl Decisions {
    pub(super) fn new(moves: u32) -> Self {
        Self { left: moves, groups_at_once: 64, ..Self::default() }
    }

    /// Whether slots are on their way.
    fn is_under_way(&self) -> bool {
        let ownership = self.view.as_ref().and_then(|view| view.ownership.as_ref());
        ownership.is_some_and(|ownership| ownership.movement.is_some())
    }
}

impl World<'_> {
    /// Decides on what follows, and lets somebody hear of it.
    pub(super) fn drive(&mut self) {
        if self.scenario.moves == 0 {
            return;
        }
        self.schedule(self.now + DRIVEN_EVERY, Event::Drive);
        if self.decisions.view.is_none() {
            let mut views = self.machines.iter().filter_map(|machine| {
                machine.process.as_ref().map(|process| process.view()).filter(|view| view.sealed)
            });
            self.decisions.view = views.next();
        }
        let Some(view) = self.decisions.view.clone() else { return };
        if let Some(next) = self.follows(&view) {
            self.observer.note(|| format!("DECIDED epoch {}", next.epoch));
            self.decisions.view = Some(next);
        }
        let Some(view) = self.decisions.view.clone() else { return };
        for node in 0..self.machines.len() {
            let is_behind = self.machines[node]
                .process
                .as_ref()
                .is_some_and(|process| process.view().sealed && process.view().epoch < view.epoch);
            // Others hear of it from these.
            if is_behind && self.random.below(3) == 0 {
                self.input(node, Input::Decided(Box::new(view.clone())));
            }
        }
    }

    /// The list that follows `view` now, if any does.
    fn follows(&mut self, view: &View) -> Option<View> {
        if self.decisions.is_under_way() {
            if self.random.below(400) == 0 {
                return plan::cancel(view).ok().map(|plan| keeping_all(plan.view));
            }
            let mut reports: PeerMap<Report> = PeerMap::new();
            let mut up: BTreeMap<MemberNumber, bool> = BTreeMap::new();
            for machine in &self.machines {
                let Some(process) = &machine.process else { continue };
                let me = process.topology().me();
                up.insert(me, machine.state == State::Running);
                reports.insert(me, process.report());
            }
            let is_up = |number| up.get(&number).copied().unwrap_or(false);
            let next = advance(view, &reports, is_up, self.decisions.groups_at_once)?;
            if next.ownership.as_ref().is_some_and(|ownership| ownership.movement.is_none()) {
                let pause_max = if self.scenario.unique { 600_000 } else { 4_000_000 };
                self.decisions.next_at = self.now + self.random.between(500_000, pause_max);
            }
            return Some(next);
        }
        if self.decisions.left == 0
            || self.now >= self.scenario.period
            || self.now < self.decisions.next_at
        {
            return None;
        }
        self.decisions.left -= 1;
        self.decisions.groups_at_once = [8, 24, 64][self.random.below(3) as usize];
        self.begins(view)
    }

    /// A change that begins with `view`.
    fn begins(&mut self, view: &View) -> Option<View> {
        let factor = self.scenario.factor();
        let planned = match self.random.below(5) {
            0 => {
                let fewer = self.with_fewer(factor);
                plan::set_replication_factor(view, &fewer)
            }
            1 | 2 => plan::set_replication_factor(view, &factor),
            _ => {
                let members: Vec<NodeId> = view.members.iter().map(|member| member.id).collect();
                let drawn = members[self.random.below(members.len() as u64) as usize];
                plan::leave(view, self.hot_executor(view).unwrap_or(drawn))
            }
        };
        Some(keeping_all(planned.ok()?.view))
    }

    /// Where executors must follow one another without a gap: who executes what clients write most.
    fn hot_executor(&self, view: &View) -> Option<NodeId> {
        let key = self.workload.keys().into_iter().next().filter(|_| self.scenario.unique)?;
        let slot = self.scenario.ring(0).partitioner().slot(key.to_string().as_bytes());
        let mut known = self.machines.iter().filter_map(|machine| machine.process.as_ref());
        let executor = known.next()?.topology().readers(slot).first().copied()?;
        view.numbers.iter().find(|(_, number)| *number == executor).map(|(id, _)| id)
    }

    /// One replica less, everywhere or in one datacentre.
    fn with_fewer(&mut self, factor: ReplicationFactor) -> ReplicationFactor {
        match factor {
            ReplicationFactor::Everywhere(factor) => (factor - 1).into(),
            ReplicationFactor::ByDatacentre(mut factors) => {
                let chosen = self.random.below(factors.len() as u64) as usize;
                if let Some(factor) = factors.values_mut().nth(chosen) {
                    *factor = (*factor - 1).max(1);
                }
                ReplicationFactor::ByDatacentre(factors)
            }
        }
    }

    /// Whether nothing moves and nobody holds what belongs to others; if not, why.
    pub(super) fn is_at_rest(&self) -> Result<(), String> {
        if self.has_operators() {
            return self.are_at_rest();
        }
        let Some(view) = &self.decisions.view else { return Ok(()) };
        if self.decisions.is_under_way() {
            return Err(format!("slots are under way in epoch {}", view.epoch));
        }
        self.all_go_by(view.epoch)
    }

    fn are_at_rest(&self) -> Result<(), String> {
        let epoch = self.lists.epoch();
        if self.lists.is_moving() {
            return Err(format!("slots are under way in epoch {epoch}"));
        }
        self.are_voters_spread()?;
        self.all_go_by(epoch)
    }

    /// Whether either datacentre may be lost where there is a witness in a third place; if not, why.
    fn are_voters_spread(&self) -> Result<(), String> {
        let members = self.members();
        if !members.iter().any(|node| self.scenario.witnesses.contains(node)) {
            return Ok(());
        }
        let processes = |node: &usize| Some((*node, self.machines[*node].process.as_ref()?));
        let known: Vec<_> = members.iter().filter_map(processes).collect();
        let Some((_, first)) = known.first() else { return Ok(()) };
        let voters = first.voters();
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        for (node, _) in known.iter().filter(|(_, process)| voters.contains(&process.id())) {
            *places.entry(self.datacentres[*node]).or_default() += 1;
        }
        match places.values().find(|count| **count > voters.len() / 2) {
            Some(count) => Err(format!("{count} of {} voters are in one place", voters.len())),
            None => Ok(()),
        }
    }

    /// Whether all members go by the list of this epoch, and keep nothing of others; if not, why.
    fn all_go_by(&self, list: u64) -> Result<(), String> {
        let members = self.members();
        for (node, machine) in self.machines.iter().enumerate() {
            let process = machine.process.as_ref().filter(|_| members.contains(&node));
            let Some(process) = process else { continue };
            let (name, epoch) = (machine::name(node), process.report().epoch);
            if epoch != list {
                return Err(format!("{name} goes by epoch {epoch}, not {list}"));
            }
            let foreign = process.foreign_slots();
            if foreign > 0 {
                return Err(format!("{name} keeps {foreign} slots of others"));
            }
        }
        Ok(())
    }

    /// Nobody holds anything of a slot that belongs to others.
    pub(super) fn check_holders(&mut self) {
        let (slots, members) = (self.slots(), self.members());
        for (node, machine) in self.machines.iter_mut().enumerate() {
            if !members.contains(&node) {
                continue;
            }
            let Some(process) = &mut machine.process else { continue };
            let topology = std::sync::Arc::clone(process.topology());
            for slot in &slots {
                let is_here = process.slot_digest(*slot) != 0;
                if is_here && !topology.is_replica(*slot, topology.me()) {
                    let (name, slot) = (machine::name(node), slot.number());
                    let text = format!("{name} holds slot {slot}, which belongs to others");
                    self.violations.push(Violation::new("holders", text));
                }
            }
        }
    }
}

/// Whoever holds nothing in the end stays a member.
fn keeping_all(mut view: View) -> View {
    if let Some(movement) = view.ownership.as_mut().and_then(|found| found.movement.as_mut()) {
        movement.leaving.clear();
    }
    view
}
