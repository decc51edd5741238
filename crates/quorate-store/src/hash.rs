//! The state of a hash: a cell for each field, and a mark for each removed one.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Contribution},
    delta::Part,
    digest::{Digest, Digester, Element},
    mark::{Forgettable, Mark},
    state::Context,
};

/// Fields of a hash. Add beats a removal that did not see it; per field, the newest value wins.
#[derive(Clone, Debug)]
pub struct Hash {
    /// Live fields. Indexed, so that a random one is found at once.
    live: IndexMap<Box<[u8]>, Cell, FixedState>,
    /// Removed fields: the newest stamp that the removal saw.
    removed: HashMap<Box<[u8]>, Mark, FixedState>,
    /// Digest of the marks, those below live increments included.
    marks: Digest,
}

impl Hash {
    pub(crate) fn new(hasher: FixedState) -> Self {
        let live = IndexMap::with_hasher(hasher.clone());
        Self { live, removed: HashMap::with_hasher(hasher), marks: 0 }
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

    /// Whether a deletion up to `horizon` would remove anything.
    pub(crate) fn is_reached_by(&self, horizon: Stamp) -> bool {
        self.live.values().any(|cell| cell.is_reached_by(horizon))
    }

    /// Up to where `field` is removed; zero without a mark.
    pub(crate) fn mark(&self, field: &[u8]) -> Stamp {
        self.removed.get(field).map_or(Stamp::ZERO, |mark| mark.stamp)
    }

    pub(crate) fn newest(&self) -> Stamp {
        let live = self.live.values().map(Cell::newest);
        let removed = self.removed.values().map(|mark| mark.stamp);
        live.chain(removed).max().unwrap_or_default()
    }

    pub(crate) fn newest_live(&self) -> Stamp {
        self.live.values().map(Cell::newest).max().unwrap_or_default()
    }

    /// Merges one part of a field and returns the change of the digest.
    pub(crate) fn merge(&mut self, context: Context<'_>, part: Part<'_>) -> Digest {
        match part {
            Part::Field(stamp, name, value) => {
                self.merge_cell(context, name, |cell| cell.merge_register(Some(value), stamp))
            }
            Part::FieldRemoved(stamp, name) => {
                self.merge_cell(context, name, |cell| cell.merge_register(None, stamp))
            }
            Part::FieldAdd(name, contribution) => {
                self.merge_cell(context, name, |cell| cell.merge_contribution(contribution))
            }
            _ => unreachable!("invariant: only field parts reach a hash"),
        }
    }

    fn merge_cell(
        &mut self,
        context: Context<'_>,
        name: &[u8],
        merge: impl FnOnce(&mut Cell) -> bool,
    ) -> Digest {
        let Context { key, digester, epoch, .. } = context;
        if let Some(cell) = self.live.get_mut(name) {
            let before = field_digest(digester, key, name, cell);
            let mark_before = mark_digest(context, name, cell);
            if !merge(cell) {
                return 0;
            }
            let after = field_digest(digester, key, name, cell);
            let mark_change = mark_digest(context, name, cell).wrapping_sub(mark_before);
            self.marks = self.marks.wrapping_add(mark_change);
            if !cell.is_live() {
                let stamp = cell.stamp();
                self.live.swap_remove(name);
                self.removed.insert(name.into(), Mark { stamp, epoch });
            }
            return after.wrapping_sub(before);
        }
        let mut cell = Cell::default();
        if let Some(mark) = self.removed.get(name) {
            cell.merge_register(None, mark.stamp);
        }
        let mark_before = mark_digest(context, name, &cell);
        if !merge(&mut cell) {
            return 0;
        }
        let mark_change = mark_digest(context, name, &cell).wrapping_sub(mark_before);
        self.marks = self.marks.wrapping_add(mark_change);
        if !cell.is_live() {
            self.removed.insert(name.into(), Mark { stamp: cell.stamp(), epoch });
            return 0;
        }
        let change = field_digest(digester, key, name, &cell);
        self.removed.remove(name);
        self.live.insert(name.into(), cell);
        change
    }

    /// Drops everything up to `horizon` and returns the change of the digest.
    pub(crate) fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let Context { key, digester, .. } = context;
        let mut change: Digest = 0;
        self.live.retain(|name, cell| {
            change = change.wrapping_sub(field_digest(digester, key, name, cell));
            self.marks = self.marks.wrapping_sub(mark_digest(context, name, cell));
            cell.cut(horizon);
            change = change.wrapping_add(field_digest(digester, key, name, cell));
            self.marks = self.marks.wrapping_add(mark_digest(context, name, cell));
            // A cell whose removal mark outlives the cut is never in `live` without contributions.
            cell.is_live()
        });
        self.retain_marks(context, |mark| mark.stamp > horizon);
        change
    }

    fn retain_marks(&mut self, context: Context<'_>, mut wanted: impl FnMut(Mark) -> bool) {
        let Context { key, digester, .. } = context;
        self.removed.retain(|name, mark| {
            let wanted = wanted(*mark);
            if !wanted {
                let gone = digester.element(key, Element::FieldRemoved, name, mark.stamp);
                self.marks = self.marks.wrapping_sub(gone);
            }
            wanted
        });
    }

    /// Drops the marks of removed fields that have served their time and returns whether others
    /// wait for theirs. One below live increments stays: it takes no space of its own.
    pub(crate) fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool {
        let mut left = false;
        self.retain_marks(context, |mark| {
            let kept = !forgettable.covers(mark);
            left |= kept && mark.is_temporary();
            kept
        });
        self.removed.shrink_to_fit();
        left
    }

    /// Digest of the marks, which is no part of the digest of the hash.
    pub(crate) fn marks_digest(&self) -> Digest {
        self.marks
    }

    pub(crate) fn correct_marks_digest(&mut self, marks: Digest) {
        self.marks = marks;
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
        for (name, mark) in &self.removed {
            emit(Part::FieldRemoved(mark.stamp, name));
        }
    }
}

fn field_digest(digester: &Digester, key: &[u8], name: &[u8], cell: &Cell) -> Digest {
    let register = match cell.register() {
        Some(_) => digester.element(key, Element::Field, name, cell.stamp()),
        None => 0,
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

/// Digest of the mark of a removal in a cell, if there is one.
fn mark_digest(context: Context<'_>, name: &[u8], cell: &Cell) -> Digest {
    if cell.register().is_some() || cell.stamp().is_zero() {
        return 0;
    }
    context.digester.element(context.key, Element::FieldRemoved, name, cell.stamp())
}
