//! What a partition does: rows of its documents, up to the first stage that needs all rows.

use alloc::sync::Arc;

use super::rows::{self, Collected, Groups};
use super::{Aggregation, Bounds, Budget, Documents, Partial, Row, Stage};
use crate::error::{Code, Error};
use crate::execution::{Found, Statistics, Wanted};
use crate::expression::{Expression, Value};
use crate::index::Index;
use crate::limits;
use crate::query::Kind;

impl Index {
    /// The second phase of an aggregation: what the documents of the partition come to, by the
    /// statistics of all partitions. `seed` is a random number, the same in all partitions.
    pub fn aggregate(
        &self,
        aggregation: &Aggregation,
        statistics: &Statistics,
        documents: &dyn Documents,
        seed: u64,
        bounds: Bounds,
    ) -> Result<Partial, Error> {
        let cut = aggregation.merged_at();
        let merged = aggregation.stages.get(cut);
        let mut run = Run {
            index: self,
            aggregation,
            documents,
            cut,
            seed,
            budget: Budget::new(bounds),
            collected: Collected::new(merged),
            groups: Groups::new(),
        };
        let request = aggregation.request();
        if matches!(aggregation.node.kind, Kind::Nearest { .. }) {
            for hit in self.search(&request, statistics)?.best {
                let mut row = run.row(&hit.key, hit.score);
                row.distance = hit.distance;
                for (name, distance) in hit.distances {
                    row.set(name.into(), Value::Number(distance));
                }
                run.push(row)?;
            }
        } else {
            let distances = self.distances(&aggregation.node);
            let wanted = Wanted { score: aggregation.add_scores, terms: aggregation.uses_terms };
            self.each_match(&request, statistics, wanted, |found: Found<'_>| {
                let mut row = run.row(&found.entry.key, found.score);
                row.terms = found.terms;
                for (name, distance) in distances.of(&found.entry.key) {
                    row.set(name.into(), Value::Number(distance));
                }
                run.push(row)
            })?;
        }
        run.finish()
    }
}

/// An aggregation in a partition.
struct Run<'a> {
    index: &'a Index,
    aggregation: &'a Aggregation,
    documents: &'a dyn Documents,
    /// The position of the first stage that needs all rows.
    cut: usize,
    seed: u64,
    budget: Budget,
    collected: Collected<'a>,
    groups: Groups,
}

impl Run<'_> {
    fn row(&self, key: &Arc<[u8]>, score: f64) -> Row {
        let mut row = Row::new(key.clone());
        if self.aggregation.add_scores {
            row.set(SCORE.into(), Value::Number(score));
        }
        row
    }

    /// Takes a row through the stages that look at one row.
    fn push(&mut self, mut row: Row) -> Result<(), Error> {
        let held = self.budget.used();
        let is_left = self.advance(&mut row)?;
        // What was loaded counts from here on as what is kept of the row.
        self.budget.give(self.budget.used() - held);
        if !is_left {
            return Ok(());
        }
        match self.aggregation.stages.get(self.cut) {
            Some(Stage::Group(grouping)) => {
                self.collected.total += 1;
                let id = row.id.clone();
                rows::add(&mut self.groups, grouping, &row, &id, self.seed, &mut self.budget)
            }
            _ => self.collected.push(row, &mut self.budget),
        }
    }

    /// Takes a row through the stages before the cut; whether it is left.
    fn advance(&mut self, row: &mut Row) -> Result<bool, Error> {
        for stage in &self.aggregation.stages[..self.cut] {
            match stage {
                Stage::Load(_) | Stage::LoadAll => {
                    let (documents, budget) = (self.documents, &mut self.budget);
                    row.load(self.index.loaded(stage, &row.id.clone(), documents, budget)?);
                    if !self.documents.is_whole(&row.id) {
                        return Ok(false);
                    }
                }
                stage => {
                    if !transform(stage, row)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Loads, for the rows that are left, what later stages will load of documents.
    fn finish(mut self) -> Result<Partial, Error> {
        let total = self.collected.total;
        let mut rows = self.collected.finish(&mut self.budget);
        let stages = self.aggregation.stages.iter().enumerate().skip(self.cut);
        let ungrouped = stages.take_while(|(_, stage)| !matches!(stage, Stage::Group(_)));
        for (position, stage) in ungrouped {
            if !matches!(stage, Stage::Load(_) | Stage::LoadAll) {
                continue;
            }
            for row in &mut rows {
                let (documents, budget) = (self.documents, &mut self.budget);
                let loaded = self.index.loaded(stage, &row.id, documents, budget)?;
                row.load_later(position, loaded);
            }
        }
        Ok(Partial { total, rows, groups: self.groups })
    }
}

/// Takes a row through a stage that calculates or filters; whether it is left.
pub(super) fn transform(stage: &Stage, row: &mut Row) -> Result<bool, Error> {
    match stage {
        Stage::Apply { expression, name } => {
            let value = evaluated(expression, row)?;
            row.set(name.as_str().into(), value);
            Ok(true)
        }
        Stage::Filter(expression) => Ok(evaluated(expression, row)?.is_true()),
        Stage::Nearest(_)
        | Stage::Load(_)
        | Stage::LoadAll
        | Stage::Group(_)
        | Stage::Arrange { .. } => Ok(true),
    }
}

fn evaluated(expression: &Expression, row: &Row) -> Result<Value, Error> {
    let value = expression.evaluate(row)?;
    if super::row::size(&value) > limits::VALUE_BYTES {
        let most = limits::VALUE_BYTES;
        let text = alloc::format!("An expression has a value of more than {most} bytes");
        return Err(Error::new(Code::Limit, text));
    }
    Ok(value)
}

/// What rows call their document's score.
pub(super) const SCORE: &str = "__score";
