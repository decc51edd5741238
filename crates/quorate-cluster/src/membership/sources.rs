//! Seeds that are named by somebody else, and may change: a name service, a file, a manager.
//!
//! A source that has not answered yet may name anybody, so a node without data waits for it as for
//! a seed that nobody met. What a source has named counts as a seed from then on. An address that it
//! names no more is given up after a while, not at once: what a name service leaves out for a
//! moment may be the one node that has the data.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use super::{Config, Membership, Seed, Target};
use crate::{limits::SEEDS_MAX, time::Instant};

/// How long an address is still a seed that its source names no more.
const SEED_MISSED_MAX: Duration = Duration::from_secs(60);

/// What the sources of a node have named.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<String, Source>);

#[derive(Debug, Default)]
struct Source {
    has_answered: bool,
    /// Addresses, and when they were named last.
    named: BTreeMap<String, Instant>,
}

impl Sources {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sources.iter().map(|name| (name.clone(), Source::default())).collect())
    }

    /// Those that have never answered.
    pub(super) fn silent(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|(_, source)| !source.has_answered).map(|(name, _)| name)
    }

    fn is_named(&self, address: &str) -> bool {
        self.0.values().any(|source| source.named.contains_key(address))
    }
}

impl Membership {
    /// A source of seeds, one of those in [`Config::sources`], has named these addresses.
    ///
    /// # Errors
    /// There are more seeds than a node may have: how many of the addresses were left out.
    pub fn handle_seeds(
        &mut self,
        now: Instant,
        source: &str,
        addresses: &[String],
    ) -> Result<(), usize> {
        let Some(found) = self.sources.0.get_mut(source) else { return Ok(()) };
        found.has_answered = true;
        let fitting = &addresses[..addresses.len().min(SEEDS_MAX)];
        found.named.extend(fitting.iter().map(|address| (address.clone(), now)));
        let missed = |at: &Instant| now.since(*at) >= SEED_MISSED_MAX;
        let gone: Vec<String> =
            found.named.extract_if(.., |_, at| missed(at)).map(|(address, _)| address).collect();
        for address in gone {
            self.forget_seed(&address);
        }
        let mut left_out = addresses.len() - fitting.len();
        for address in fitting {
            left_out += usize::from(!self.add_seed(now, address));
        }
        self.promise_if_possible(now);
        self.drain_dialer(now);
        if left_out == 0 { Ok(()) } else { Err(left_out) }
    }

    fn add_seed(&mut self, now: Instant, address: &String) -> bool {
        if self.seeds.contains_key(address) {
            return true;
        }
        if self.seeds.len() >= SEEDS_MAX {
            return false;
        }
        if *address == self.config.member.peer_address {
            self.seeds.insert(address.clone(), Seed::Itself);
        } else if self.outgoing.values().any(|member| member.peer_address == *address) {
            self.seeds.insert(address.clone(), Seed::Met);
        } else {
            self.seeds.insert(address.clone(), Seed::Unmet);
            self.dialer.set_target(now, Target::Seed(address.clone()), address);
        }
        true
    }

    fn forget_seed(&mut self, address: &String) {
        if self.config.seeds.contains(address) || self.sources.is_named(address) {
            return;
        }
        self.seeds.remove(address);
        self.dialer.give_up(&Target::Seed(address.clone()));
    }

    /// What a node without data still has to hear of before it may found a cluster: sources that
    /// have not answered, and seeds that nobody has named.
    pub(super) fn unnamed(&self) -> Vec<String> {
        let others = self.seeds.values().filter(|seed| **seed != Seed::Itself).count();
        let missing = self.config.seeds_min.saturating_sub(others);
        let missing = (missing > 0).then(|| alloc::format!("{missing} more seeds"));
        self.sources.silent().cloned().chain(missing).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::membership::{
        scenarios::{A_WHILE, names},
        simulation::{World, config},
    };

    const SOURCE: &str = "dns://nodes:1";

    fn world(count: usize, seeds_min: usize) -> World {
        let config =
            |index| Config { sources: vec![SOURCE.into()], seeds_min, ..config(index, &[]) };
        World::new((0..count).map(config).collect(), 7)
    }

    fn name(world: &mut World, index: usize, seeds: &[usize]) {
        let addresses: Vec<String> =
            seeds.iter().map(|seed| alloc::format!("node-{seed}:1")).collect();
        world.input(index, |membership, now| {
            membership.handle_seeds(now, SOURCE, &addresses).expect("a few");
        });
    }

    fn awaited(world: &World, index: usize) -> Vec<String> {
        world.nodes[index].machine.as_ref().expect("up").awaited()
    }

    #[test]
    fn a_source_that_has_not_answered_is_waited_for() {
        let mut world = world(2, 0);
        world.start_all();
        world.input(0, Membership::request_seal);
        world.run_for(A_WHILE);
        assert!(!world.nodes[0].topology.sealed);
        assert_eq!(awaited(&world, 0), [SOURCE]);
        // It is enough that one of them hears of the other.
        name(&mut world, 0, &[0, 1]);
        world.run_for(A_WHILE);
        assert_eq!(names(&world, 0), ["n0", "n1"]);
        assert_eq!(awaited(&world, 1), [SOURCE]);
        name(&mut world, 1, &[0, 1]);
        world.run_for(A_WHILE);
        assert!(world.nodes[0].topology.sealed && world.nodes[1].topology.sealed);
    }

    #[test]
    fn a_node_that_is_named_alone_waits_for_as_many_as_it_was_told() {
        let mut world = world(3, 2);
        world.start_all();
        (0..3).for_each(|index| name(&mut world, index, &[index]));
        world.input(0, Membership::request_seal);
        world.run_for(A_WHILE);
        assert_eq!(awaited(&world, 0), ["2 more seeds"]);
        (0..3).for_each(|index| name(&mut world, index, &[0, 1]));
        world.run_for(A_WHILE);
        assert_eq!(awaited(&world, 0), ["1 more seeds"]);
        (0..3).for_each(|index| name(&mut world, index, &[0, 1, 2]));
        world.run_for(A_WHILE);
        assert_eq!(names(&world, 0), ["n0", "n1", "n2"]);
        assert!(world.nodes.iter().all(|node| node.topology.sealed));
    }

    #[test]
    fn what_is_named_no_more_is_waited_for_a_while_longer() {
        let mut world = world(2, 0);
        world.start_all();
        (0..2).for_each(|index| name(&mut world, index, &[0, 1, 9]));
        (0..2).for_each(|index| world.input(index, Membership::request_seal));
        world.run_for(A_WHILE);
        (0..2).for_each(|index| name(&mut world, index, &[0, 1]));
        assert_eq!(awaited(&world, 0), ["node-9:1"]);
        world.run_for(SEED_MISSED_MAX);
        (0..2).for_each(|index| name(&mut world, index, &[0, 1]));
        world.run_for(A_WHILE);
        assert!(awaited(&world, 0).is_empty() && world.nodes[0].topology.sealed);
    }

    #[test]
    fn more_than_there_is_room_for_is_left_out_and_told() {
        let mut world = world(1, 0);
        world.start(0);
        let many: Vec<String> =
            (0..SEEDS_MAX + 5).map(|seed| alloc::format!("node-{seed}:1")).collect();
        world.input(0, |membership, now| {
            assert_eq!(membership.handle_seeds(now, SOURCE, &many), Err(5));
            assert_eq!(membership.handle_seeds(now, "another", &many), Ok(()), "nobody asked it");
        });
        assert_eq!(world.nodes[0].machine.as_ref().expect("up").seeds.len(), SEEDS_MAX);
    }
}
