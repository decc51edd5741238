//! What clients ask for, drawn from a seed.

use std::collections::BTreeMap;

use crate::{
    action::{Action, Family, Key, Parts},
    random::Stream,
    scenario::Scenario,
};

/// The longest time to live of a register, in milliseconds.
pub(crate) const LIFETIME_MAX_MS: u64 = 4_000;

/// Draws operations for the clients of a schedule.
#[derive(Debug)]
pub struct Workload {
    families: &'static [(Family, u32)],
    keys: u32,
    expiring_percent: u32,
    pairs_percent: u32,
    swaps_percent: u32,
    flushes_percent: u32,
    /// Members of a set, and fields of a hash.
    members: u64,
    next_value: u64,
    /// Fields that a timed hash has had.
    fields: BTreeMap<Key, u64>,
    /// Items that were put into an array.
    items: BTreeMap<Key, Vec<u64>>,
}

impl Workload {
    /// The workload of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            families: scenario.families,
            keys: scenario.keys,
            expiring_percent: scenario.expiring_percent,
            pairs_percent: scenario.pairs_percent,
            swaps_percent: scenario.swaps_percent,
            flushes_percent: scenario.flushes_percent,
            members: scenario.members,
            next_value: 0,
            fields: BTreeMap::new(),
            items: BTreeMap::new(),
        }
    }

    /// Leaves out some values: histories of different runs on the same data never share one.
    pub fn skip(&mut self, values: u64) {
        self.next_value += values;
    }

    /// Every key that is used.
    pub fn keys(&self) -> Vec<Key> {
        let families = self.families.iter().map(|(family, _)| *family);
        families
            .flat_map(|family| (0..self.keys).map(move |number| Key { family, number }))
            .collect()
    }

    /// The next command of a client. `first` tells whether it belongs to the first node, whose
    /// clients alone append to lists.
    pub fn draw(&mut self, random: &mut Stream, first: bool) -> Parts {
        if self.pairs_percent > 0 && random.percent(self.pairs_percent) {
            return self.pair(random);
        }
        if self.flushes_percent > 0 && random.percent(self.flushes_percent) {
            return self.keys().into_iter().map(|key| (key, Action::Flush)).collect();
        }
        let family = random.weighted(self.families).copied().unwrap_or(Family::Register);
        let family = if family == Family::List && !first { Family::Register } else { family };
        if family.is_twin() {
            return self.twins(family, random);
        }
        // A hot key: much happens at the same time only where everybody goes.
        let number = if random.percent(34) { 0 } else { random.below(self.keys.into()) as u32 };
        let key = Key { family, number };
        let action = match family {
            timed if Family::TIMED.contains(&timed) => self.timed(key, random),
            _ => self.action(key, random),
        };
        vec![(key, action)]
    }

    /// What begins an object, gives it a time to live, ends it, or looks at it.
    fn timed(&mut self, key: Key, random: &mut Stream) -> Action {
        match (random.below(100), key.family) {
            (0..30, Family::TimedSet | Family::TimedSortedSet) => Action::Insert(self.value()),
            (0..30, Family::TimedHash) => {
                let next = self.fields.entry(key).or_default();
                *next += 1;
                let field = *next - 1;
                Action::Put(field, self.value())
            }
            (0..30, _) => Action::Add(1),
            (30..50, _) => Action::Expire(random.between(20, 2_500)),
            (50..65, Family::TimedSet | Family::TimedSortedSet) => Action::PopAll,
            (50..65, Family::TimedHash) => {
                // At least one: a command must name something.
                Action::DropBelow(self.fields.get(&key).copied().unwrap_or_default().max(1))
            }
            (50..65, _) => Action::Take,
            (65..70, _) => Action::Delete,
            (_, family) => family.read(),
        }
    }

    /// One command on two registers.
    fn pair(&mut self, random: &mut Stream) -> Parts {
        let first = random.below(self.keys.into()) as u32;
        let second = (first + 1 + random.below(u64::from(self.keys - 1)) as u32) % self.keys;
        let deletes = random.percent(30);
        [first, second]
            .map(|number| {
                let action = if deletes { Action::Delete } else { self.overwrite() };
                (Key { family: Family::Register, number }, action)
            })
            .into()
    }

    /// One transaction on two twins.
    fn twins(&mut self, family: Family, random: &mut Stream) -> Parts {
        let pair = random.below(u64::from(self.keys / 2)) as u32;
        let action = match random.below(100) {
            0..50 => Action::Get,
            _ if random.percent(self.swaps_percent) => Action::Swap(self.value()),
            _ => self.overwrite(),
        };
        [2 * pair, 2 * pair + 1].map(|number| (Key { family, number }, action)).into()
    }

    /// A new value for a register.
    pub fn overwrite(&mut self) -> Action {
        Action::Set(self.value())
    }

    fn action(&mut self, key: Key, random: &mut Stream) -> Action {
        let family = key.family;
        let (member, dice) = (random.below(self.members), random.below(100));
        match family {
            Family::Register if random.percent(self.expiring_percent) => {
                Action::SetFor(self.value(), random.between(50, LIFETIME_MAX_MS))
            }
            Family::Register => match dice {
                0..45 => Action::Get,
                45..85 => Action::Set(self.value()),
                _ => Action::Delete,
            },
            Family::List if dice < 50 => Action::Append(self.value()),
            Family::Counter if dice < 60 => Action::Add(random.between(1, 5) as i64),
            Family::List | Family::Counter => Action::Get,
            Family::Set | Family::SortedSet => match dice {
                0..35 => Action::Insert(member),
                35..60 => Action::Remove(member),
                60..66 => Action::Delete,
                66..80 => Action::MembersBelow(self.members),
                _ => Action::Members,
            },
            Family::Hash => match dice {
                0..35 => Action::Put(member, self.value()),
                35..55 => Action::Drop(member),
                55..60 => Action::Delete,
                60..78 => Action::FieldsBelow(self.members),
                _ => Action::Fields,
            },
            Family::TimedSet
            | Family::TimedHash
            | Family::TimedCounter
            | Family::TimedSortedSet
            | Family::Twin
            | Family::FarTwin => family.read(),
            Family::Document => match dice {
                0..35 => Action::Put(member, self.value()),
                35..43 => Action::PutAlone(member, self.value()),
                43..58 => Action::Drop(member),
                58..64 => Action::DropHalf(member % 2),
                64..68 => Action::Delete,
                _ => Action::Fields,
            },
            Family::DocumentCounter if dice < 60 => Action::Add(random.between(1, 5) as i64),
            Family::DocumentCounter => Action::Get,
            Family::DocumentArray => match dice {
                0..18 => Action::Append(self.item(key)),
                18..32 => Action::Prepend(self.item(key)),
                32..46 => Action::InsertSecond(self.item(key)),
                46..60 => Action::Remove(self.old_item(key, random)),
                _ => Action::Get,
            },
        }
    }

    /// A new item for an array.
    fn item(&mut self, key: Key) -> u64 {
        let value = self.value();
        self.items.entry(key).or_default().push(value);
        value
    }

    /// An item that an array has, or has had.
    fn old_item(&self, key: Key, random: &mut Stream) -> u64 {
        let items = self.items.get(&key).map_or(&[][..], Vec::as_slice);
        let at = random.below(items.len().max(1) as u64) as usize;
        // What was never there can be removed as well.
        items.get(at).copied().unwrap_or(u64::MAX)
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }
}
