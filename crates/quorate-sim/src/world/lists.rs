//! Member lists that were decided on, as nodes go by them: one for each epoch, each a step of the one
//! before, and whoever is in the newest one no more goes on with nothing.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use quorate_proto::{
    Incarnation, MemberNumber, NodeId, Slot,
    message::{Member, View},
    ownership::{Ownership, Phase, SlotMap},
};

use super::{Violation, World};
use crate::machine;

/// One slot in so many is looked at for how far it has come: groups move as a whole.
const SLOT_STEP: usize = 61;

/// Every list that any node was seen to go by.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// By epoch, without what members say of themselves.
    seen: BTreeMap<u64, Arc<View>>,
    /// By node: the epoch that was noted last.
    noted: Vec<u64>,
}

impl Lists {
    pub(super) fn new(nodes: usize) -> Self {
        Self { seen: BTreeMap::new(), noted: vec![0; nodes] }
    }

    /// The newest list that anybody goes by.
    pub(super) fn newest(&self) -> Option<&Arc<View>> {
        self.seen.last_key_value().map(|(_, view)| view)
    }

    /// The epoch of the newest list that anybody goes by.
    pub(super) fn epoch(&self) -> u64 {
        self.seen.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    /// Whether slots are on their way.
    pub(super) fn is_moving(&self) -> bool {
        let ownership = self.newest().and_then(|view| view.ownership.as_ref());
        ownership.is_some_and(|ownership| ownership.movement.is_some())
    }

    /// Whether a node of this name is in the newest list.
    pub(super) fn has(&self, name: &str) -> bool {
        self.newest().is_some_and(|view| view.members.iter().any(|member| member.name == name))
    }

    fn has_id(&self, id: NodeId) -> bool {
        self.newest().is_some_and(|view| view.members.iter().any(|member| member.id == id))
    }

    /// Whether every slot has an owner that is not among these, before and after it moves.
    pub(super) fn holds_all_without(&self, lost: &[NodeId]) -> bool {
        let Some(view) = self.newest() else { return false };
        let Some(ownership) = view.ownership.as_deref() else { return true };
        let lost: Vec<MemberNumber> = lost.iter().filter_map(|id| view.numbers.of(*id)).collect();
        let is_held = |map: &SlotMap| {
            map.runs().iter().all(|(_, owners)| owners.iter().any(|owner| !lost.contains(owner)))
        };
        let target = ownership.movement.as_ref().map(|movement| &movement.target);
        is_held(&ownership.owners) && target.is_none_or(is_held)
    }

    /// Takes note of a list. Returns what is wrong with it beside those that are known.
    fn note(&mut self, view: &View) -> Result<(), String> {
        let bare = |member: &Member| Member {
            incarnation: Incarnation::default(),
            peer_address: String::new(),
            client_address: String::new(),
            cluster_address: String::new(),
            ..member.clone()
        };
        let members = view.members.iter().map(bare).collect();
        let view = View { members, ..view.clone() };
        match self.seen.get(&view.epoch) {
            Some(known) if **known == view => return Ok(()),
            Some(known) => {
                let names = |view: &View| -> Vec<String> {
                    view.members.iter().map(|member| member.name.clone()).collect()
                };
                return Err(format!(
                    "two lists of epoch {}: of {:?} and of {:?}",
                    view.epoch,
                    names(known),
                    names(&view)
                ));
            }
            None => {}
        }
        let epoch = view.epoch;
        let before = epoch.checked_sub(1).and_then(|before| self.seen.get(&before));
        let skipped = before
            .and_then(|before| skipped_phase(before, &view).or_else(|| kept_leaver(before, &view)));
        self.seen.insert(epoch, Arc::new(view));
        skipped.map_or(Ok(()), Err)
    }
}

/// A slot that has gone on by more than a phase from one list to the next.
fn skipped_phase(before: &View, after: &View) -> Option<String> {
    let parts = |view: &View| match view.ownership.as_deref() {
        Some(Ownership { owners, movement: Some(movement) }) => {
            Some((owners.clone(), movement.clone()))
        }
        _ => None,
    };
    let (owners, was) = parts(before)?;
    let epoch = after.epoch;
    let after = after.ownership.as_deref()?;
    Slot::all().step_by(SLOT_STEP).find_map(|slot| {
        let (from, to) = (owners.get(slot), was.target.get(slot));
        let moves = from.len() != to.len() || from.iter().any(|owner| !to.contains(owner));
        let phase = *was.phases.get(slot);
        let number = slot.number();
        match &after.movement {
            Some(is) if is.target == was.target && after.owners == owners && moves => {
                let next = *is.phases.get(slot);
                let is_step = next == phase || next as u8 == phase as u8 + 1;
                (!is_step).then(|| format!("epoch {epoch}: slot {number}, {phase:?} to {next:?}"))
            }
            None if moves && after.owners.get(slot) == to && phase != Phase::Moved => {
                Some(format!("epoch {epoch}: slot {number} has ended in {phase:?}"))
            }
            _ => None,
        }
    })
}

/// Somebody who was to leave, and is a member when all has moved.
fn kept_leaver(before: &View, after: &View) -> Option<String> {
    let movement = before.ownership.as_deref()?.movement.as_ref()?;
    let ownership = after.ownership.as_deref()?;
    let has_ended = ownership.movement.is_none() && ownership.owners == movement.target;
    let stays = |number| after.numbers.iter().any(|(_, other)| other == number);
    let kept = movement.leaving.iter().copied().find(|number| stays(*number));
    let kept = kept.filter(|_| has_ended)?;
    Some(format!("epoch {}: {kept:?} was to leave, and is a member", after.epoch))
}

impl World<'_> {
    /// Whether members come and go in this scenario.
    pub(super) fn has_operators(&self) -> bool {
        self.scenario.orders > 0
    }

    /// Whether what was decided is torn already, so that nothing that follows means anything.
    pub(super) fn is_forked(&self) -> bool {
        self.has_operators() && self.violations.iter().any(|found| found.checker == "register")
    }

    /// The nodes that are members, all of them where nobody comes and goes.
    pub(super) fn members(&self) -> Vec<usize> {
        let is_member = |node: &usize| self.lists.has(&machine::name(*node));
        let all = 0..self.machines.len();
        if self.has_operators() { all.filter(is_member).collect() } else { all.collect() }
    }

    /// Looks at the list that a node goes by after a turn.
    pub(super) fn note_list(&mut self, node: usize) {
        if !self.has_operators() {
            return;
        }
        let Some(process) = &self.machines[node].process else { return };
        let list = process.list();
        if !list.sealed || self.lists.noted[node] == list.epoch {
            return;
        }
        self.lists.noted[node] = list.epoch;
        let is_news = list.epoch > self.lists.epoch();
        if let Err(text) = self.lists.note(list) {
            let text = format!("{}: {text}", machine::name(node));
            self.violations.push(Violation::new("register", text));
        }
        if is_news {
            self.strike(node);
        }
    }

    /// Whether the process of a node was a member, and is none by the newest list.
    pub(super) fn has_left(&self, node: usize) -> bool {
        let Some(process) = &self.machines[node].process else { return false };
        self.has_operators() && process.is_sealed() && !self.lists.has_id(process.id())
    }

    /// Who has left does not go on as a member once everybody can tell it so.
    pub(super) fn check_left(&mut self) {
        for node in 0..self.machines.len() {
            if self.has_left(node) {
                let text = format!("{} has left, and goes on", machine::name(node));
                self.violations.push(Violation::new("left", text));
            }
        }
    }

    /// What an operator sets before a start: the members as seeds, and whether the node is to be
    /// taken in.
    pub(super) fn set_seeds(&mut self, node: usize) {
        if !self.has_operators() || self.lists.newest().is_none() {
            return;
        }
        let members = self.members();
        let seeds = members.iter().filter(|other| **other != node).map(|other| {
            SocketAddr::from(([10, 0, 0, *other as u8 + 1], machine::PEER_PORT)).to_string()
        });
        let joins = !members.contains(&node);
        let seeds: Vec<String> = seeds.collect();
        self.machines[node].set_seeds(seeds, joins);
    }
}
