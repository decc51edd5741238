//! `FT.INFO`: what partitions tell, and the whole of it.

use quorate_proto::{Groups, Slot, resp::ReplyWriter};
use quorate_search::{
    Schema,
    index::Memory,
    schema::{Algorithm, Coordinates, Field, Kind, Source},
};

use super::{
    partition::{Failure, Partition},
    wire::{Reader, Writer},
};

/// What partitions add up to.
#[derive(Debug, Default)]
pub(super) struct Totals {
    documents: u64,
    terms: u64,
    failures: u64,
    /// Slots of shards, and those of them that are indexed.
    slots: u64,
    indexed: u64,
    fields: Vec<u64>,
    last: Option<(String, Vec<u8>)>,
    /// Documents that found no room.
    refused: u64,
    memory: Memory,
    /// Bytes of the vectors of fields.
    vectors: Vec<u64>,
    /// Of each field, the last error and its key.
    last_of_fields: Vec<Last>,
}

/// An error and the key of its document; none if there was none.
type Last = Option<(String, Vec<u8>)>;

/// What a partition says.
pub(super) fn write(partition: &Partition, groups: Groups) -> Vec<u8> {
    let failures = partition.failures.iter();
    let failures = failures.filter(|(_, failure)| groups.contains(u16::from(failure.group)));
    let mut of_fields = vec![0; partition.schema.fields.len()];
    let mut last_of_fields = vec![None; partition.schema.fields.len()];
    let (mut count, mut last) = (0_u64, (String::new(), Vec::new()));
    for (key, Failure { unindexed, .. }) in failures {
        count += 1;
        of_fields[usize::from(unindexed.field.0)] += 1;
        last = (unindexed.text.clone(), key.to_vec());
        last_of_fields[usize::from(unindexed.field.0)] = Some((&unindexed.text, key));
    }
    let index = &partition.index;
    let mut out = Writer::default();
    out.number(index.len());
    out.number(index.terms() as u64);
    out.number(count);
    let slots = Slot::all().len() as u64;
    out.number(slots);
    out.number(partition.next.map_or(slots, |next| u64::from(next.number())));
    out.length(of_fields.len());
    of_fields.into_iter().for_each(|count| out.number(count));
    let (mut text, mut key) = last;
    if partition.refused.count > 0 {
        text = "Index has as many bytes as MAXINDEXMEMORY allows".to_owned();
        key = partition.refused.key.to_vec();
    }
    out.text(text.as_bytes());
    out.text(&key);
    out.number(partition.refused.count);
    out.length(MEMORY.len());
    let mut memory = index.memory();
    MEMORY.iter().for_each(|part| out.number(*part(&mut memory) as u64));
    out.length(partition.schema.fields.len());
    for (field, _) in partition.schema.fields_with_ids() {
        out.number(index.vector_memory(field) as u64);
    }
    out.length(last_of_fields.len());
    for last in last_of_fields {
        out.text(last.map_or(b"", |(text, _)| text.as_bytes()));
        out.text(last.map_or(b"", |(_, key)| key));
    }
    out.0
}

/// What is told of an index's memory, in the order in which it is told.
const MEMORY: [fn(&mut Memory) -> &mut usize; 11] = [
    |memory| &mut memory.documents,
    |memory| &mut memory.keys,
    |memory| &mut memory.sortable,
    |memory| &mut memory.postings,
    |memory| &mut memory.terms,
    |memory| &mut memory.labels,
    |memory| &mut memory.numbers,
    |memory| &mut memory.shapes,
    |memory| &mut memory.vectors,
    |memory| &mut memory.blocks,
    |memory| &mut memory.records,
];

fn add_all(sums: &mut Vec<u64>, numbers: Vec<u64>) {
    sums.resize(numbers.len(), 0);
    sums.iter_mut().zip(numbers).for_each(|(sum, one)| *sum = sum.saturating_add(one));
}

impl Totals {
    /// Adds what a partition says; none if it is not whole.
    pub(super) fn add(&mut self, answer: &[u8]) -> Option<()> {
        let mut input = Reader(answer);
        self.documents += input.number()?;
        self.terms += input.number()?;
        self.failures += input.number()?;
        self.slots += input.number()?;
        self.indexed += input.number()?;
        add_all(&mut self.fields, input.list(Reader::number)?);
        let (text, key) = (input.text()?, input.bytes()?);
        if !text.is_empty() {
            self.last = Some((text, key.to_vec()));
        }
        // Older nodes do not tell the rest.
        let Some(refused) = input.number() else { return Some(()) };
        self.refused += refused;
        self.failures += refused;
        for (part, bytes) in MEMORY.iter().zip(input.list(Reader::number)?) {
            let sum = part(&mut self.memory);
            *sum = sum.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        add_all(&mut self.vectors, input.list(Reader::number)?);
        let Some(fields) = input.list(|input| Some((input.text()?, input.bytes()?.to_vec())))
        else {
            return Some(());
        };
        self.last_of_fields.resize(fields.len(), None);
        for (own, (text, key)) in self.last_of_fields.iter_mut().zip(fields) {
            if !text.is_empty() {
                *own = Some((text, key));
            }
        }
        Some(())
    }
}

/// Writes pairs of names and values.
struct Pairs<'w, 'o>(&'w mut ReplyWriter<'o>);

impl Pairs<'_, '_> {
    fn simple(&mut self, name: &str, value: &str) {
        self.0.simple(name);
        self.0.simple(value);
    }

    fn integer(&mut self, name: &str, value: u64) {
        self.0.simple(name);
        self.0.integer(value as i64);
    }

    fn number(&mut self, name: &str, value: f64) {
        self.0.simple(name);
        self.0.double(value);
    }

    fn integers(&mut self, name: &str, values: &[(&str, u64)]) {
        self.0.simple(name);
        self.0.map(values.len());
        values.iter().for_each(|(name, value)| self.integer(name, *value));
    }

    fn numbers(&mut self, name: &str, values: &[(&str, f64)]) {
        self.0.simple(name);
        self.0.map(values.len());
        values.iter().for_each(|(name, value)| self.number(name, *value));
    }
}

/// The reply.
pub(super) fn reply(writer: &mut ReplyWriter<'_>, name: &[u8], schema: &Schema, totals: &Totals) {
    writer.map(34);
    writer.simple("index_name");
    writer.simple(&String::from_utf8_lossy(name));
    write_options(writer, schema);
    write_definition(writer, schema);
    writer.simple("attributes");
    writer.array(schema.fields.len());
    schema.fields.iter().for_each(|field| write_field(writer, field));
    let mut pairs = Pairs(writer);
    pairs.integer("num_docs", totals.documents);
    pairs.integer("max_doc_id", totals.documents);
    pairs.integer("num_terms", totals.terms);
    write_sizes(&mut pairs, totals);
    pairs.integer("hash_indexing_failures", totals.failures);
    pairs.number("total_indexing_time", 0.0);
    let is_indexing = totals.indexed < totals.slots;
    pairs.integer("indexing", u64::from(is_indexing));
    let part = if totals.slots == 0 { 1.0 } else { totals.indexed as f64 / totals.slots as f64 };
    pairs.number("percent_indexed", part);
    pairs.integer("number_of_uses", 1);
    pairs.integer("cleaning", 0);
    pairs.numbers(
        "gc_stats",
        &[
            ("bytes_collected", 0.0),
            ("total_ms_run", 0.0),
            ("total_cycles", 0.0),
            ("average_cycle_time_ms", f64::NAN),
            ("last_run_time_ms", 0.0),
            ("gc_numeric_trees_missed", 0.0),
            ("gc_blocks_denied", 0.0),
        ],
    );
    pairs.integers(
        "cursor_stats",
        &[("global_idle", 0), ("global_total", 0), ("index_capacity", 128), ("index_total", 0)],
    );
    pairs.integers(
        "dialect_stats",
        &[("dialect_1", 0), ("dialect_2", 0), ("dialect_3", 0), ("dialect_4", 0)],
    );
    writer.simple("Index Errors");
    writer.map(4);
    write_errors(writer, totals.failures, totals.last.as_ref());
    writer.simple("background indexing status");
    writer.simple(if totals.refused > 0 { "OOM failure" } else { "OK" });
    write_statistics(writer, schema, totals);
}

/// Where words are in a document is told with the postings.
fn write_sizes(pairs: &mut Pairs<'_, '_>, totals: &Totals) {
    let memory = &totals.memory;
    let megabytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let share = |part: usize, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let records = memory.records as u64;
    pairs.integer("num_records", records);
    pairs.number("inverted_sz_mb", megabytes(memory.postings + memory.numbers));
    pairs.number("vector_index_sz_mb", megabytes(memory.vectors));
    pairs.integer("total_inverted_index_blocks", memory.blocks as u64);
    for (name, value) in [
        ("offset_vectors_sz_mb", 0.0),
        ("doc_table_size_mb", megabytes(memory.documents)),
        ("sortable_values_size_mb", megabytes(memory.sortable)),
        ("key_table_size_mb", megabytes(memory.keys)),
        ("tag_overhead_sz_mb", megabytes(memory.labels)),
        ("text_overhead_sz_mb", megabytes(memory.terms)),
        ("total_index_memory_sz_mb", megabytes(memory.total())),
        ("geoshapes_sz_mb", megabytes(memory.shapes)),
        ("records_per_doc_avg", share(memory.records, totals.documents)),
        ("bytes_per_record_avg", share(memory.postings, records)),
        ("offsets_per_term_avg", 0.0),
        ("offset_bits_per_record_avg", 0.0),
    ] {
        pairs.number(name, value);
    }
}

fn write_errors(writer: &mut ReplyWriter<'_>, count: u64, last: Option<&(String, Vec<u8>)>) {
    writer.simple("indexing failures");
    writer.integer(count as i64);
    writer.simple("last indexing error");
    writer.simple(last.map_or("N/A", |(text, _)| text));
    writer.simple("last indexing error key");
    writer.bulk(last.map_or(b"N/A", |(_, key)| key));
}

fn write_statistics(writer: &mut ReplyWriter<'_>, schema: &Schema, totals: &Totals) {
    writer.simple("field statistics");
    writer.array(schema.fields.len());
    for (number, field) in schema.fields.iter().enumerate() {
        let is_vector = matches!(field.kind, Kind::Vector(_));
        writer.map(if is_vector { 7 } else { 3 });
        let mut pairs = Pairs(writer);
        pairs.simple("identifier", &String::from_utf8_lossy(&field.path));
        pairs.simple("attribute", &String::from_utf8_lossy(&field.name));
        writer.simple("Index Errors");
        writer.map(3);
        let count = totals.fields.get(number).copied().unwrap_or(0);
        let last = totals.last_of_fields.get(number).and_then(Option::as_ref);
        // Older nodes tell no errors of fields.
        let last = last.or(totals.last.as_ref()).filter(|_| count > 0);
        write_errors(writer, count, last);
        if is_vector {
            let mut pairs = Pairs(writer);
            pairs.integer("memory", totals.vectors.get(number).copied().unwrap_or(0));
            for name in ["marked_deleted", "direct_hnsw_insertions", "flat_buffer_size"] {
                pairs.integer(name, 0);
            }
        }
    }
}

fn write_options(writer: &mut ReplyWriter<'_>, schema: &Schema) {
    let options = &schema.options;
    let all = [
        (options.no_frequencies, "NOFREQS"),
        (options.no_fields, "NOFIELDS"),
        (options.no_offsets, "NOOFFSETS"),
        (options.no_highlight && !options.no_offsets, "NOHL"),
        (options.max_text_fields, "MAXTEXTFIELDS"),
        (options.skip_initial_scan, "SKIPINITIALSCAN"),
    ];
    let set: Vec<&str> = all.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
    writer.simple("index_options");
    writer.array(set.len());
    set.iter().for_each(|name| writer.simple(name));
}

fn write_definition(writer: &mut ReplyWriter<'_>, schema: &Schema) {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let filter = schema.filter.as_ref().map(text);
    let language = schema.language.map(|language| language.name().to_owned());
    let optional = [
        ("filter", filter),
        ("default_language", language),
        ("language_field", schema.language_field.as_ref().map(text)),
        ("score_field", schema.score_field.as_ref().map(text)),
        ("payload_field", schema.payload_field.as_ref().map(text)),
    ];
    let given = optional.iter().filter(|(_, value)| value.is_some()).count();
    writer.simple("index_definition");
    writer.map(4 + given);
    let source = match schema.source {
        Source::Hash => "HASH",
        Source::Json => "JSON",
    };
    Pairs(writer).simple("key_type", source);
    writer.simple("prefixes");
    writer.array(schema.prefixes.len());
    schema.prefixes.iter().for_each(|prefix| writer.simple(&text(prefix)));
    for (name, value) in optional {
        if let Some(value) = value {
            Pairs(writer).simple(name, &value);
        }
    }
    Pairs(writer).number("default_score", schema.score);
    Pairs(writer).simple("indexes_all", if schema.index_all { "true" } else { "false" });
}

fn write_field(writer: &mut ReplyWriter<'_>, field: &Field) {
    let (flags, pairs) = describe(field);
    let resp3 = writer.is_resp3();
    if resp3 {
        writer.map(3 + pairs.len() + 1);
    } else {
        writer.array(2 * (3 + pairs.len()) + flags.len());
    }
    let mut out = Pairs(writer);
    out.simple("identifier", &String::from_utf8_lossy(&field.path));
    out.simple("attribute", &String::from_utf8_lossy(&field.name));
    let kind = match field.kind {
        Kind::Text(_) => "TEXT",
        Kind::Tag(_) => "TAG",
        Kind::Numeric => "NUMERIC",
        Kind::Geo => "GEO",
        Kind::GeoShape(_) => "GEOSHAPE",
        Kind::Vector(_) => "VECTOR",
    };
    out.simple("type", kind);
    for (name, value) in pairs {
        match value {
            Shown::Word(word) => out.simple(name, &word),
            Shown::Integer(number) => out.integer(name, number),
            Shown::Number(number) => out.number(name, number),
        }
    }
    if resp3 {
        writer.simple("flags");
        writer.array(flags.len());
    }
    flags.iter().for_each(|flag| writer.simple(flag));
}

/// How a property of a field is shown.
enum Shown {
    Word(String),
    Integer(u64),
    Number(f64),
}

fn describe(field: &Field) -> (Vec<&'static str>, Vec<(&'static str, Shown)>) {
    let mut pairs = Vec::new();
    let mut flags = Vec::new();
    let word = |text: &str| Shown::Word(text.to_owned());
    match &field.kind {
        Kind::Text(text) => {
            pairs.push(("WEIGHT", Shown::Number(text.weight)));
            if text.no_stem {
                flags.push("NOSTEM");
            }
            if text.suffix_trie {
                flags.push("WITHSUFFIXTRIE");
            }
        }
        Kind::Tag(tag) => {
            let separator = tag.separator.map(char::from).map(String::from);
            pairs.push(("SEPARATOR", Shown::Word(separator.unwrap_or_default())));
            if tag.case_sensitive {
                flags.push("CASESENSITIVE");
            }
            if tag.suffix_trie {
                flags.push("WITHSUFFIXTRIE");
            }
        }
        Kind::Numeric | Kind::Geo => {}
        Kind::GeoShape(coordinates) => pairs.push((
            "coord_system",
            match coordinates {
                Coordinates::Flat => word("FLAT"),
                Coordinates::Spherical => word("SPHERICAL"),
            },
        )),
        Kind::Vector(vector) => {
            pairs.push(("algorithm", word(vector.algorithm.name())));
            pairs.push(("data_type", word(vector.element.name())));
            pairs.push(("dim", Shown::Integer(u64::from(vector.dimensions))));
            pairs.push(("distance_metric", word(vector.metric.name())));
            if let Algorithm::Hnsw(graph) = &vector.algorithm {
                pairs.push(("M", Shown::Integer(graph.neighbours)));
                pairs.push(("ef_construction", Shown::Integer(graph.construction_candidates)));
                pairs.push(("ef_runtime", Shown::Integer(graph.search_candidates)));
            }
        }
    }
    let common = [
        (field.sortable, "SORTABLE"),
        (field.sortable && is_unfolded(field), "UNF"),
        (field.no_index, "NOINDEX"),
        (field.index_empty, "INDEXEMPTY"),
        (field.index_missing, "INDEXMISSING"),
    ];
    flags.extend(common.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name));
    (flags, pairs)
}

fn is_unfolded(field: &Field) -> bool {
    field.unnormalized || matches!(field.kind, Kind::Numeric | Kind::Geo)
}
