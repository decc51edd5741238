//! Bits that flip under nodes that scrub: what they must find, and what they must not.

use super::{Violation, World};
use crate::{history::Time, machine};

/// Time within which a scrub has found what has flipped and memory is written again: two passes a
/// second apart, a checkpoint and its sync, with room.
const HEAL_MAX: Time = 4_000_000;

/// What has flipped at a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rot {
    /// Whether anything ever has.
    flipped: bool,
    /// Since when the process has had the chance to find what flipped last.
    since: Option<Time>,
    /// Whether the next process may lack something.
    excused: bool,
    /// Whether something was reported, so that it is once.
    reported: bool,
}

impl World<'_> {
    /// A bit of a log flips.
    pub(super) fn flip(&mut self, node: usize, seed: u64) {
        if self.machines[node].process.is_none() {
            return;
        }
        let place = self.machines[node].rot(seed);
        self.observer.note(|| format!("flips {place:?} of {}", machine::name(node)));
        let rot = &mut self.rot[node];
        (rot.flipped, rot.since) = (true, Some(self.now));
    }

    /// A process is about to end: was there time to find what has flipped?
    pub(super) fn note_rot_left(&mut self, node: usize) {
        let Some(process) = &self.machines[node].process else { return };
        let rot = &mut self.rot[node];
        let is_open = rot.since.is_some_and(|since| self.now < since + HEAL_MAX);
        rot.excused = process.is_incomplete() || is_open;
        rot.since = rot.since.filter(|_| is_open);
    }

    /// A process has started: nothing may be missing because of what a scrub had time to find.
    pub(super) fn check_recovered(&mut self, node: usize) {
        let Some(process) = &self.machines[node].process else { return };
        let rot = &mut self.rot[node];
        rot.since = rot.since.map(|_| self.now);
        if self.scenario.scrub_seconds > 0 && rot.flipped && process.is_incomplete() && !rot.excused
        {
            let name = machine::name(node);
            let text = format!("{name} lacks what a scrub had time to find and memory had");
            self.violations.push(Violation::new("scrub", text));
        }
    }

    /// Digests are always right, and what has not rotted is never taken for damaged.
    pub(super) fn check_scrubs(&mut self) {
        for (node, machine) in self.machines.iter().enumerate() {
            let (Some(process), rot) = (&machine.process, &mut self.rot[node]) else { continue };
            let (mismatches, damages) = process.scrub_findings();
            if rot.reported || mismatches == 0 && (damages == 0 || rot.flipped) {
                continue;
            }
            rot.reported = true;
            let name = machine::name(node);
            let violation = if mismatches > 0 {
                Violation::new("digests", format!("{mismatches} digests of {name} were wrong"))
            } else {
                Violation::new("scrub", format!("{damages} places of {name} count as damaged"))
            };
            self.violations.push(violation);
        }
    }
}
