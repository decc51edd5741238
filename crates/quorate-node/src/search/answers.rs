//! What a shard answers about its partition to `FT.AGGREGATE`, `FT.HYBRID` and `FT.REGEX`.
//!
//! The arguments of the first two begin with the seed of the query, which is the same for all
//! partitions; what follows, and those of the last one, are as clients send them.

use quorate_search::{
    Error, Index,
    aggregate::{Aggregation, Bounds},
    hybrid::Hybrid,
    query::Dialect,
    regex::Regex,
    wire::{Message, decode, encode},
};

use super::{partition::Partition, pieces::Kind, stored::Stored};
use crate::storage::Storage;

/// A question about a partition, read.
pub(super) struct Asked<'a> {
    pub(super) storage: &'a Storage,
    pub(super) partition: &'a Partition,
    pub(super) index: &'a Index,
    /// Of all partitions; empty if this one has all documents.
    pub(super) statistics: &'a [u8],
    pub(super) dialect: Dialect,
}

impl Asked<'_> {
    /// Answers a question of one of these kinds.
    pub(super) fn answer(&self, kind: Kind, arguments: &[&[u8]]) -> Result<Vec<u8>, String> {
        if kind == Kind::Regex {
            return self.regex(arguments).map_err(refusal);
        }
        let (seed, words) = arguments.split_first().ok_or("ERR a query has no seed")?;
        let seed = std::str::from_utf8(seed).ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.ok_or("ERR invalid seed of a query")?;
        let schema = &self.partition.schema;
        match kind {
            Kind::CountAggregated | Kind::Aggregate => {
                let aggregation = Aggregation::parse(words, schema, self.dialect);
                self.aggregate(kind, &aggregation.map_err(refusal)?, seed)
            }
            _ => self.hybrid(kind, &Hybrid::parse(words, schema).map_err(refusal)?),
        }
    }

    fn aggregate(
        &self,
        kind: Kind,
        aggregation: &Aggregation,
        seed: u64,
    ) -> Result<Vec<u8>, String> {
        let mut statistics = self.index.statistics(&aggregation.request());
        if kind == Kind::CountAggregated {
            return Ok(encode(&statistics));
        }
        match self.given()? {
            Some(given) => statistics = given,
            None => statistics.complete(),
        }
        let (documents, bounds) = (Stored(self.storage), Bounds::default());
        let partial = self.index.aggregate(aggregation, &statistics, &documents, seed, bounds);
        partial.map(|partial| encode(&partial)).map_err(refusal)
    }

    fn hybrid(&self, kind: Kind, hybrid: &Hybrid) -> Result<Vec<u8>, String> {
        let mut statistics = self.index.hybrid_statistics(hybrid);
        if kind == Kind::CountHybrid {
            return Ok(encode(&statistics));
        }
        match self.given()? {
            Some(given) => statistics = given,
            None => statistics.complete(),
        }
        let partial = self.index.hybrid(hybrid, &statistics, &Stored(self.storage));
        partial.map(|partial| encode(&partial)).map_err(refusal)
    }

    fn regex(&self, arguments: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let regex = Regex::parse(arguments, &self.partition.schema)?;
        Ok(encode(&self.index.regex(&regex, &Stored(self.storage))?))
    }

    /// The statistics of all partitions, if this is one of several.
    fn given<M: Message>(&self) -> Result<Option<M>, String> {
        match self.statistics {
            [] => Ok(None),
            bytes => decode(bytes).map(Some).map_err(|error| format!("ERR {error}")),
        }
    }
}

fn refusal(error: Error) -> String {
    error.to_string()
}
