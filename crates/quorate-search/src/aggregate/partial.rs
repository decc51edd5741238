//! What partitions say, merged; and what the coordinator makes of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::partition::transform;
use super::rows::{self, Groups};
use super::{Aggregation, Bounds, Budget, Row, Stage, order};
use crate::error::{Code, Error};

/// What the documents of one or more partitions come to, up to the first stage that needs all
/// rows. The default is that of no documents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Partial {
    /// How many rows came to that stage.
    pub(crate) total: u64,
    /// Rows in its order, as many as are needed of a partition; none if it groups.
    pub(crate) rows: Vec<Row>,
    /// Groups, if it groups.
    pub(crate) groups: Groups,
}

/// The answer of an aggregation.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How many rows there were before the last cut.
    pub total: u64,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Partial {
    /// Adds what another partition says of the same aggregation. Refuses what is of another one,
    /// which a peer may send.
    pub fn merge(
        &mut self,
        other: Partial,
        aggregation: &Aggregation,
        bounds: Bounds,
    ) -> Result<(), Error> {
        other.check(aggregation)?;
        let mut budget = Budget::new(bounds);
        let stage = aggregation.stages.get(aggregation.merged_at());
        self.total = self.total.saturating_add(other.total);
        self.rows.extend(other.rows);
        self.rows.sort_by(|one, other| rows::compare(stage, one, other));
        if let Some(most) = stage.and_then(Stage::needed) {
            self.rows.truncate(most);
        }
        if let Some(Stage::Group(grouping)) = stage {
            for (key, states) in other.groups {
                let Some(own) = self.groups.get_mut(&key) else {
                    self.groups.insert(key, states);
                    continue;
                };
                let pairs = own.iter_mut().zip(states).zip(&grouping.reductions);
                pairs.for_each(|((own, state), of)| own.merge(state, &of.reducer));
            }
        }
        budget.groups(self.groups.len())?;
        budget.take(self.size())
    }

    /// Bytes that it holds, about.
    fn size(&self) -> usize {
        let groups = self.groups.iter().map(|(key, states)| rows::size(key, states));
        groups.chain(self.rows.iter().map(Row::size)).sum()
    }

    /// Whether it may be of this aggregation.
    fn check(&self, aggregation: &Aggregation) -> Result<(), Error> {
        let fits = match aggregation.stages.get(aggregation.merged_at()) {
            Some(Stage::Group(grouping)) => {
                let fits = |(key, states): (&Vec<u8>, &Vec<super::State>)| {
                    let mut pairs = states.iter().zip(&grouping.reductions);
                    order::read_all(key, grouping.by.len()).is_some()
                        && states.len() == grouping.reductions.len()
                        && pairs.all(|(state, of)| state.is_of(&of.reducer))
                };
                self.rows.is_empty() && self.groups.iter().all(fits)
            }
            _ => self.groups.is_empty(),
        };
        let refused = || Error::new(Code::BadQuery, "Partial states are of another aggregation");
        if fits { Ok(()) } else { Err(refused()) }
    }

    /// Takes what all partitions say through the rest of the stages. `seed` is that of the
    /// partitions.
    pub fn finish(
        self,
        aggregation: &Aggregation,
        seed: u64,
        bounds: Bounds,
    ) -> Result<Answer, Error> {
        self.check(aggregation)?;
        let cut = aggregation.merged_at();
        let mut total = self.total;
        let rows = match aggregation.stages.get(cut) {
            Some(Stage::Group(grouping)) => rows::finish(self.groups, grouping),
            Some(stage) => arranged(self.rows, stage),
            None => self.rows,
        };
        match aggregation.stages.get(cut) {
            Some(Stage::Arrange { .. }) => {}
            _ => total = rows.len() as u64,
        }
        run(rows, total, &aggregation.stages, cut + 1, seed, bounds)
    }
}

/// Takes rows in an order through the stages from a position on. `total` is how many there were
/// before the last cut.
pub(crate) fn run(
    mut rows: Vec<Row>,
    mut total: u64,
    stages: &[Stage],
    from: usize,
    seed: u64,
    bounds: Bounds,
) -> Result<Answer, Error> {
    for (position, stage) in stages.iter().enumerate().skip(from) {
        match stage {
            Stage::Nearest(_) => {}
            Stage::Load(_) | Stage::LoadAll => {
                rows.iter_mut().for_each(|row| row.load_kept(position));
            }
            Stage::Apply { .. } => {
                let mut budget = Budget::new(bounds);
                for row in &mut rows {
                    transform(stage, row)?;
                    budget.take(row.size())?;
                }
            }
            Stage::Filter(_) => {
                rows = filtered(rows, stage)?;
                total = rows.len() as u64;
            }
            Stage::Group(grouping) => {
                let mut groups = Groups::new();
                let mut budget = Budget::new(bounds);
                for (place, row) in rows.iter().enumerate() {
                    // Rows have an order here, which decides what is the first.
                    let id: Arc<[u8]> = Arc::from((place as u64).to_be_bytes());
                    rows::add(&mut groups, grouping, row, &id, seed, &mut budget)?;
                }
                rows = rows::finish(groups, grouping);
                total = rows.len() as u64;
            }
            Stage::Arrange { keys, .. } => {
                total = rows.len() as u64;
                if !keys.is_empty() {
                    rows.sort_by(|one, other| rows::compare(Some(stage), one, other));
                }
                rows = arranged(rows, stage);
            }
        }
    }
    Ok(Answer { total, rows })
}

fn filtered(rows: Vec<Row>, stage: &Stage) -> Result<Vec<Row>, Error> {
    let mut left = Vec::with_capacity(rows.len());
    for mut row in rows {
        if transform(stage, &mut row)? {
            left.push(row);
        }
    }
    Ok(left)
}

/// Of rows that are in order, those that a stage leaves.
fn arranged(mut rows: Vec<Row>, stage: &Stage) -> Vec<Row> {
    if let Some(needed) = stage.needed() {
        rows.truncate(needed);
    }
    if let Stage::Arrange { offset, .. } = stage {
        rows.drain(..(*offset).min(rows.len()));
    }
    rows
}
