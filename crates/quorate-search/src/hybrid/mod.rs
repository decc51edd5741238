//! `FT.HYBRID`: a search for words and one for the nearest vectors, their answers fused into one.
//!
//! ```text
//! partition   the best by words, the nearest by vectors, and what stages will load of these
//! coordinator both merged -> fused by rank or by score -> stages as of an aggregation -> answer
//! ```
//!
//! As a search it has two phases, both for words and for the filter of the nearest:
//! [`Index::hybrid_statistics`], then [`Index::hybrid`]. Fused by rank (`RRF`, Cormack, Clarke and
//! Büttcher, 2009) a document has 1 / (constant + rank) of each answer that it is in; by score
//! (`LINEAR`) a weighted sum of its score and of its nearness. Only a window of the best of each
//! answer counts.

mod parse;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Language;
use crate::aggregate::{Answer, Bounds, Budget, CursorOptions, Documents, Row, Stage, run};
use crate::error::Error;
use crate::execution::{Hits, Request, Scorer, Statistics};
use crate::expression::Value;
use crate::index::Index;
use crate::query::Node;
use crate::schema::Metric;

/// What `FT.HYBRID` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Hybrid {
    words: Node,
    /// The nearest of what a filter matches.
    nearest: Node,
    language: Language,
    scorer: Scorer,
    /// The names of the scores by words, by nearness, and of both.
    words_score: Option<String>,
    nearness: Option<String>,
    score: Option<String>,
    /// How far the nearest may be.
    radius: Option<f64>,
    metric: Metric,
    fusion: Fusion,
    /// How many of each answer count.
    window: usize,
    /// Whether rows are in the order of keys.
    unsorted: bool,
    stages: Vec<Stage>,
    /// Whether it says what rows have.
    loads: bool,
    /// How long it may take, in milliseconds; 0: as long as it does.
    pub timeout_ms: Option<u64>,
    /// Whether and how it is answered in parts.
    pub cursor: Option<CursorOptions>,
}

/// How two answers become one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fusion {
    /// By rank.
    Rrf { constant: f64 },
    /// By score.
    Linear { alpha: f64, beta: f64 },
}

/// What scores depend on, over one or more partitions: for words, and for the filter of vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HybridStatistics {
    /// Of the words.
    pub words: Statistics,
    /// Of the filter.
    pub nearest: Statistics,
}

/// What one or more partitions answer. The default is the answer of none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HybridPartial {
    pub(crate) words: Hits,
    pub(crate) nearest: Hits,
    /// What stages will load, of each document.
    pub(crate) rows: Vec<Row>,
}

impl HybridStatistics {
    /// Adds those of another partition.
    pub fn add(&mut self, other: &HybridStatistics) {
        self.words.add(&other.words);
        self.nearest.add(&other.nearest);
    }

    /// Makes them those of all partitions.
    pub fn complete(&mut self) {
        self.words.complete();
        self.nearest.complete();
    }
}

impl Hybrid {
    fn requests(&self) -> [Request<'_>; 2] {
        let request = |node| Request {
            language: self.language,
            scorer: self.scorer,
            top: self.window,
            ..Request::new(node)
        };
        [request(&self.words), request(&self.nearest)]
    }
}

impl Index {
    /// About how many documents both searches look at, or do as much work as.
    pub fn hybrid_work(&self, hybrid: &Hybrid) -> u64 {
        hybrid.requests().iter().map(|request| self.work(request)).fold(0, u64::saturating_add)
    }

    /// The first phase.
    pub fn hybrid_statistics(&self, hybrid: &Hybrid) -> HybridStatistics {
        let [words, nearest] = hybrid.requests();
        HybridStatistics { words: self.statistics(&words), nearest: self.statistics(&nearest) }
    }

    /// The second phase: what the partition answers, by the statistics of all.
    pub fn hybrid(
        &self,
        hybrid: &Hybrid,
        statistics: &HybridStatistics,
        documents: &dyn Documents,
    ) -> Result<HybridPartial, Error> {
        let [words, nearest] = hybrid.requests();
        let words = self.search(&words, &statistics.words)?;
        let nearest = self.search(&nearest, &statistics.nearest)?;
        let hits = words.best.iter().chain(&nearest.best);
        let keys: BTreeMap<&Arc<[u8]>, ()> = hits.map(|hit| (&hit.key, ())).collect();
        let stages = hybrid.stages.iter().enumerate();
        let loading: Vec<(usize, &Stage)> = stages.filter(|(_, stage)| stage.loads()).collect();
        let bytes = self.allowance().bytes;
        let mut budget = Budget::new(Bounds { bytes, ..Bounds::default() });
        let mut rows = Vec::new();
        for key in keys.into_keys().filter(|_| !loading.is_empty()) {
            let mut row = Row::new(key.clone());
            for (position, stage) in &loading {
                row.load_later(*position, self.loaded(stage, key, documents, &mut budget)?);
            }
            rows.push(row);
        }
        Ok(HybridPartial { words, nearest, rows })
    }
}

impl HybridPartial {
    /// Adds what another partition answers to the same.
    pub fn merge(&mut self, other: HybridPartial, hybrid: &Hybrid) {
        self.words.merge(other.words, hybrid.window);
        self.nearest.merge(other.nearest, hybrid.window);
        let hits = self.words.best.iter().chain(&self.nearest.best);
        let kept: BTreeMap<&Arc<[u8]>, ()> = hits.map(|hit| (&hit.key, ())).collect();
        self.rows.extend(other.rows);
        self.rows.retain(|row| kept.contains_key(&row.id));
    }

    /// Fuses what all partitions answer, and takes it through the stages. `seed` is a random
    /// number.
    pub fn finish(self, hybrid: &Hybrid, seed: u64, bounds: Bounds) -> Result<Answer, Error> {
        let mut fused: BTreeMap<Arc<[u8]>, Fused> = BTreeMap::new();
        for (rank, hit) in self.words.best.into_iter().take(hybrid.window).enumerate() {
            let entry = fused.entry(hit.key).or_default();
            entry.words = Some(hit.score);
            entry.score += match hybrid.fusion {
                Fusion::Rrf { constant } => 1.0 / (constant + rank as f64 + 1.0),
                Fusion::Linear { alpha, .. } => alpha * hit.score,
            };
        }
        let near = self.nearest.best.into_iter().filter_map(|hit| Some((hit.key, hit.distance?)));
        let within = |distance: f64| hybrid.radius.is_none_or(|radius| distance <= radius);
        let near = near.filter(|(_, distance)| within(*distance)).take(hybrid.window);
        for (rank, (key, distance)) in near.enumerate() {
            let entry = fused.entry(key).or_default();
            let nearness = nearness(hybrid.metric, distance);
            entry.nearness = Some(nearness);
            entry.score += match hybrid.fusion {
                Fusion::Rrf { constant } => 1.0 / (constant + rank as f64 + 1.0),
                Fusion::Linear { beta, .. } => beta * nearness,
            };
        }
        let mut loaded: BTreeMap<Arc<[u8]>, Row> =
            self.rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let mut fused: Vec<(Arc<[u8]>, Fused)> = fused.into_iter().collect();
        if !hybrid.unsorted {
            // Stable: keys are in their order already.
            fused.sort_by(|(_, one), (_, other)| other.score.total_cmp(&one.score));
        }
        let rows: Vec<Row> = fused
            .into_iter()
            .map(|(key, fused)| {
                let row = loaded.remove(&key).unwrap_or_else(|| Row::new(key));
                hybrid.row(row, fused)
            })
            .collect();
        let total = rows.len() as u64;
        run(rows, total, &hybrid.stages, 0, seed, bounds)
    }
}

/// What is known of a document.
#[derive(Debug, Default)]
struct Fused {
    words: Option<f64>,
    nearness: Option<f64>,
    score: f64,
}

impl Hybrid {
    fn row(&self, mut row: Row, fused: Fused) -> Row {
        if !self.loads {
            let key = String::from_utf8_lossy(&row.id).into_owned();
            row.set(KEY.into(), Value::Text(key));
        }
        let scores = [
            (&self.words_score, fused.words),
            (&self.nearness, fused.nearness),
            (&self.score, Some(fused.score)),
        ];
        for (name, score) in scores {
            if let (Some(name), Some(score)) = (name, score) {
                row.set(name.as_str().into(), Value::Number(score));
            }
        }
        row
    }
}

/// How near a vector is, from 0 to 1 where the measure has bounds.
fn nearness(metric: Metric, distance: f64) -> f64 {
    match metric {
        Metric::Euclidean => 1.0 / (1.0 + distance),
        Metric::InnerProduct | Metric::Cosine => 1.0 - distance / 2.0,
    }
}

/// What rows call their document's key.
const KEY: &str = "__key";
