//! A schema as the arguments of `FT.CREATE` that make it again.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::field::{Coordinates, Field, Kind, Tag, Text};
use super::vector::{Algorithm, Vector};
use super::{Options, Schema, Source};
use crate::arguments::Printed;

impl Schema {
    /// The arguments behind the index's name that [`Schema::create`] reads as this schema.
    pub fn arguments(&self) -> Vec<Vec<u8>> {
        let mut printed = Printed(Vec::new());
        let source = match self.source {
            Source::Hash => "HASH",
            Source::Json => "JSON",
        };
        printed.push("ON").push(source);
        printed.option("INDEXALL", self.index_all.then_some("ENABLE"));
        print_list(printed.push("PREFIX"), &self.prefixes);
        printed
            .option("FILTER", self.filter.as_ref())
            .option("LANGUAGE", self.language.map(|language| language.name()))
            .option("LANGUAGE_FIELD", self.language_field.as_ref())
            .option("SCORE", (self.score != 1.0).then(|| self.score.to_string()))
            .option("SCORE_FIELD", self.score_field.as_ref())
            .option("PAYLOAD_FIELD", self.payload_field.as_ref())
            .option("TEMPORARY", self.temporary_seconds.map(|seconds| seconds.to_string()));
        if let Some(words) = &self.stop_words {
            print_list(printed.push("STOPWORDS"), words);
        }
        self.options.print(&mut printed);
        printed.push("SCHEMA");
        for field in &self.fields {
            field.print(&mut printed);
        }
        printed.0
    }
}

/// How many there are, and each.
fn print_list<I>(printed: &mut Printed, list: I)
where
    I: IntoIterator<Item: AsRef<[u8]>, IntoIter: ExactSizeIterator>,
{
    let list = list.into_iter();
    printed.push(list.len().to_string());
    for item in list {
        printed.push(item);
    }
}

impl Options {
    fn print(&self, printed: &mut Printed) {
        printed
            .flag(self.max_text_fields, "MAXTEXTFIELDS")
            .flag(self.no_offsets, "NOOFFSETS")
            .flag(self.no_highlight, "NOHL")
            .flag(self.no_fields, "NOFIELDS")
            .flag(self.no_frequencies, "NOFREQS")
            .flag(self.skip_initial_scan, "SKIPINITIALSCAN");
    }
}

impl Field {
    fn print(&self, printed: &mut Printed) {
        printed.push(&self.path).push("AS").push(&self.name);
        self.kind.print(printed);
        printed
            .flag(self.index_empty, "INDEXEMPTY")
            .flag(self.index_missing, "INDEXMISSING")
            .flag(self.sortable, "SORTABLE")
            .flag(self.unnormalized, "UNF")
            .flag(self.no_index, "NOINDEX");
    }
}

impl Kind {
    fn print(&self, printed: &mut Printed) {
        match self {
            Kind::Text(text) => text.print(printed),
            Kind::Tag(tag) => tag.print(printed),
            Kind::Numeric => drop(printed.push("NUMERIC")),
            Kind::Geo => drop(printed.push("GEO")),
            Kind::GeoShape(coordinates) => {
                printed.push("GEOSHAPE").push(match coordinates {
                    Coordinates::Flat => "FLAT",
                    Coordinates::Spherical => "SPHERICAL",
                });
            }
            Kind::Vector(vector) => vector.print(printed),
        }
    }
}

impl Text {
    fn print(&self, printed: &mut Printed) {
        printed
            .push("TEXT")
            .option("WEIGHT", (self.weight != 1.0).then(|| self.weight.to_string()))
            .flag(self.no_stem, "NOSTEM")
            .option("PHONETIC", self.phonetic.map(|phonetic| phonetic.name()))
            .flag(self.suffix_trie, "WITHSUFFIXTRIE");
    }
}

impl Tag {
    fn print(&self, printed: &mut Printed) {
        printed
            .push("TAG")
            .option("SEPARATOR", self.separator.map(|separator| [separator]))
            .flag(self.case_sensitive, "CASESENSITIVE")
            .flag(self.suffix_trie, "WITHSUFFIXTRIE");
    }
}

impl Vector {
    fn print(&self, printed: &mut Printed) {
        let mut options = Printed(Vec::new());
        options
            .option("TYPE", Some(self.element.name()))
            .option("DIM", Some(self.dimensions.to_string()))
            .option("DISTANCE_METRIC", Some(self.metric.name()));
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        match &self.algorithm {
            Algorithm::Flat(flat) => {
                options
                    .option("INITIAL_CAP", number(flat.initial_capacity))
                    .option("BLOCK_SIZE", number(flat.block_size));
            }
            Algorithm::Hnsw(graph) => {
                options
                    .option("INITIAL_CAP", number(graph.initial_capacity))
                    .option("M", number(Some(graph.neighbours)))
                    .option("EF_CONSTRUCTION", number(Some(graph.construction_candidates)))
                    .option("EF_RUNTIME", number(Some(graph.search_candidates)))
                    .option("EPSILON", Some(format!("{}", graph.epsilon)));
            }
            Algorithm::Vamana(vamana) => {
                options
                    .option("GRAPH_MAX_DEGREE", number(Some(vamana.degree)))
                    .option(
                        "CONSTRUCTION_WINDOW_SIZE",
                        number(Some(vamana.construction_candidates)),
                    )
                    .option("SEARCH_WINDOW_SIZE", number(Some(vamana.search_candidates)))
                    .option("EPSILON", Some(format!("{}", vamana.epsilon)))
                    .option("COMPRESSION", vamana.compression.map(|one| one.name()))
                    .option("TRAINING_THRESHOLD", number(vamana.training_threshold))
                    .option("REDUCE", number(vamana.reduced_dimensions));
            }
        }
        print_list(printed.push("VECTOR").push(self.algorithm.name()), options.0);
    }
}
