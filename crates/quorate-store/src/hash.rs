//! The state of a hash: a cell for each field, and a mark for each removed one.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Contribution},
    delta::Part,
    digest::{Digest, Digester, Element},
};

/// Fields of a hash. Add beats a removal that did not see it; per field, the newest value wins.
#[derive(Clone, Debug)]
pub struct Hash {
    /// Live fields. Indexed, so that a random one is found at once.
    live: IndexMap<Box<[u8]>, Cell, FixedState>,
    /// Removed fields: the newest stamp that the removal saw.
    removed: HashMap<Box<[u8]>, Stamp, FixedState>,
}

impl Hash {
    pub(crate) fn new(hasher: FixedState) -> Self {
        Self { live: IndexMap::with_hasher(hasher.clone()), removed: HashMap::with_hasher(hasher) }
    }

    /// Number of live fields.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no field is live.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The live field `name`.
    pub fn field(&self, name: &[u8]) -> Option<&Cell> {
        self.live.get(name)
    }

    /// The live field at `index`, `0..len()`. Indices change with every write.
    pub fn field_at(&self, index: usize) -> Option<(&[u8], &Cell)> {
        self.live.get_index(index).map(|(name, cell)| (&**name, cell))
    }

    /// Live fields.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], &Cell)> {
        self.live.iter().map(|(name, cell)| (&**name, cell))
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.live.is_empty() && self.removed.is_empty()
    }

    pub(crate) fn newest(&self) -> Stamp {
        let live = self.live.values().map(Cell::newest);
        live.chain(self.removed.values().copied()).max().unwrap_or_default()
    }

    pub(crate) fn newest_live(&self) -> Stamp {
        self.live.values().map(Cell::newest).max().unwrap_or_default()
    }

    /// Merges one part of a field and returns the change of the digest.
    pub(crate) fn merge(&mut self, digester: &Digester, key: &[u8], part: Part<'_>) -> Digest {
        match part {
            Part::Field(stamp, name, value) => {
                self.merge_cell(digester, key, name, |cell| cell.merge_register(Some(value), stamp))
            }
            Part::FieldRemoved(stamp, name) => {
                self.merge_cell(digester, key, name, |cell| cell.merge_register(None, stamp))
            }
            Part::FieldAdd(name, contribution) => {
                self.merge_cell(digester, key, name, |cell| cell.merge_contribution(contribution))
            }
            _ => unreachable!("invariant: only field parts reach a hash"),
        }
    }

    fn merge_cell(
        &mut self,
        digester: &Digester,
        key: &[u8],
        name: &[u8],
        merge: impl FnOnce(&mut Cell) -> bool,
    ) -> Digest {
        if let Some(cell) = self.live.get_mut(name) {
            let before = field_digest(digester, key, name, cell);
            if !merge(cell) {
                return 0;
            }
            let after = field_digest(digester, key, name, cell);
            if !cell.is_live() {
                let stamp = cell.stamp();
                self.live.swap_remove(name);
                self.removed.insert(name.into(), stamp);
            }
            return after.wrapping_sub(before);
        }
        let mut cell = Cell::default();
        let mut before = 0;
        if let Some(&stamp) = self.removed.get(name) {
            cell.merge_register(None, stamp);
            before = field_digest(digester, key, name, &cell);
        }
        if !merge(&mut cell) {
            return 0;
        }
        let after = field_digest(digester, key, name, &cell);
        if cell.is_live() {
            self.removed.remove(name);
            self.live.insert(name.into(), cell);
        } else {
            self.removed.insert(name.into(), cell.stamp());
        }
        after.wrapping_sub(before)
    }

    /// Drops everything up to `horizon` and returns the change of the digest.
    pub(crate) fn cut(&mut self, digester: &Digester, key: &[u8], horizon: Stamp) -> Digest {
        let mut change: Digest = 0;
        self.live.retain(|name, cell| {
            change = change.wrapping_sub(field_digest(digester, key, name, cell));
            cell.cut(horizon);
            change = change.wrapping_add(field_digest(digester, key, name, cell));
            // A cell whose removal mark outlives the cut is never in `live` without contributions.
            cell.is_live()
        });
        self.removed.retain(|name, stamp| {
            let kept = *stamp > horizon;
            if !kept {
                let gone = digester.element(key, Element::FieldRemoved, name, *stamp);
                change = change.wrapping_sub(gone);
            }
            kept
        });
        change
    }

    /// Drops the marks of removed fields and returns the change of the digest.
    pub(crate) fn forget_removed(&mut self, digester: &Digester, key: &[u8]) -> Digest {
        self.removed.drain().fold(0, |change: Digest, (name, stamp)| {
            change.wrapping_sub(digester.element(key, Element::FieldRemoved, &name, stamp))
        })
    }

    pub(crate) fn export(&self, mut emit: impl FnMut(Part<'_>)) {
        for (name, cell) in &self.live {
            match cell.register() {
                Some(value) => emit(Part::Field(cell.stamp(), name, value)),
                None if !cell.stamp().is_zero() => emit(Part::FieldRemoved(cell.stamp(), name)),
                None => {}
            }
            for contribution in cell.contributions() {
                emit(Part::FieldAdd(name, *contribution));
            }
        }
        for (name, stamp) in &self.removed {
            emit(Part::FieldRemoved(*stamp, name));
        }
    }
}

fn field_digest(digester: &Digester, key: &[u8], name: &[u8], cell: &Cell) -> Digest {
    let register = match cell.register() {
        Some(_) => digester.element(key, Element::Field, name, cell.stamp()),
        None if cell.stamp().is_zero() => 0,
        None => digester.element(key, Element::FieldRemoved, name, cell.stamp()),
    };
    let contributions = cell.contributions().iter();
    contributions.fold(register, |sum, part| {
        sum.wrapping_add(contribution_digest(digester, key, name, part))
    })
}

fn contribution_digest(
    digester: &Digester,
    key: &[u8],
    name: &[u8],
    part: &Contribution,
) -> Digest {
    // `last` is unique to the increment; the name keeps equal stamps of two fields apart.
    digester.element(key, Element::FieldContribution, name, part.last)
}
