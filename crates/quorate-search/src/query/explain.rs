//! A query as `FT.EXPLAIN` shows it, in RediSearch's form.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::node::{Affix, Attributes, Bound, Kind, Label, Node, Place, Relation, Target};
use crate::Schema;
use crate::schema::{FieldId, Fields};

/// The tree of a query. `forms` says of a word, and the fields in which it is searched for, which
/// other forms are searched for as well, such as its stem.
pub fn explain(node: &Node, schema: &Schema, forms: &dyn Fn(&str, &Node) -> Vec<String>) -> String {
    let mut explained = Explained { text: String::new(), depth: 0, schema, forms };
    explained.node(node);
    explained.text
}

struct Explained<'a> {
    text: String,
    depth: usize,
    schema: &'a Schema,
    forms: &'a dyn Fn(&str, &Node) -> Vec<String>,
}

impl Explained<'_> {
    fn node(&mut self, node: &Node) {
        match &node.kind {
            Kind::Nothing => self.line("<empty>"),
            Kind::All => self.line("<WILDCARD>"),
            Kind::Empty => self.line(&format!("{}\"\"", self.fields(node.fields))),
            Kind::Word(word) => self.word(word, node),
            Kind::Phrase(words) => self.phrase(words, node),
            Kind::Affix(affix) => self.leaf(node, &named_affix(affix)),
            Kind::Wildcard(pattern) => self.leaf(node, &format!("WILDCARD{{{pattern}}}")),
            Kind::Fuzzy { word, .. } => self.leaf(node, &format!("FUZZY{{{word}}}")),
            Kind::And(nodes) => self.block(node, "INTERSECT {", |it| it.nodes(nodes)),
            Kind::Or(nodes) => self.block(node, "UNION {", |it| it.nodes(nodes)),
            Kind::Not(inner) => self.block(node, "NOT{", |it| it.node(inner)),
            Kind::Optional(inner) => self.block(node, "OPTIONAL{", |it| it.node(inner)),
            Kind::Tags { field, labels } => {
                let head = format!("TAG:@{} {{", self.name(*field));
                self.bare_block(node, &head, |it| it.labels(labels));
            }
            Kind::Numeric { field, range } => {
                let name = self.name(*field);
                let compare = |bound: Bound| if bound.exclusive { "<" } else { "<=" };
                let (lower, upper) = (range.lower, range.upper);
                let text = format!(
                    "NUMERIC {{{} {} @{name} {} {}}}",
                    fixed(lower.number),
                    compare(lower),
                    compare(upper),
                    fixed(upper.number)
                );
                self.bare_leaf(node, &text);
            }
            Kind::Geo { field, circle } => {
                let text = format!(
                    "GEO {}:{{{},{} --> {} {}}}",
                    self.name(*field),
                    fixed(circle.longitude),
                    fixed(circle.latitude),
                    fixed(circle.radius),
                    circle.unit.name()
                );
                self.bare_leaf(node, &text);
            }
            Kind::Shape { relation, shape, .. } => {
                // RediSearch numbers the relations.
                let number = match relation {
                    Relation::Contains => 1,
                    Relation::Within => 2,
                    Relation::Disjoint => 3,
                    Relation::Intersects => 4,
                };
                let shape = String::from_utf8_lossy(shape);
                self.bare_leaf(node, &format!("GEOSHAPE{{{number} {shape}}}"));
            }
            Kind::Missing(field) => {
                self.bare_leaf(node, &format!("ISMISSING{{{}}}", self.name(*field)));
            }
            Kind::Nearest { count, filter, vector } => self.nearest(node, *count, filter, vector),
            Kind::Within { radius, vector } => {
                let text = format!(
                    "Vectors that are within {radius} distance radius from `${}` in vector index \
                     associated with field @{}{}",
                    vector.parameter,
                    self.name(vector.field),
                    searched(vector)
                );
                self.bare_leaf(node, &format!("VECTOR {{{text}}}"));
            }
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    /// A word, and the forms of it that are searched for as well.
    fn word(&mut self, word: &str, node: &Node) {
        let fields = self.fields(node.fields);
        let weight = node.attributes.weight;
        let weight =
            if weight == 1.0 { String::new() } else { format!(" => {{$weight: {weight};}}") };
        let forms = (self.forms)(word, node);
        if forms.is_empty() {
            return self.line(&format!("{fields}{word}{weight}"));
        }
        self.line(&format!("{fields}UNION {{"));
        self.depth += 1;
        self.line(&format!("{fields}{word}{weight}"));
        for form in forms {
            self.line(&format!("{fields}{form}(expanded)"));
        }
        self.depth -= 1;
        self.line("}");
    }

    fn phrase(&mut self, words: &[String], node: &Node) {
        let fields = self.fields(node.fields);
        self.block(node, "EXACT {", |it| {
            for word in words {
                it.line(&format!("{fields}{word}"));
            }
        });
    }

    fn labels(&mut self, labels: &[Label]) {
        for label in labels {
            match label {
                Label::Affix(affix) => self.line(&named_affix(affix)),
                Label::Wildcard(pattern) => self.line(&format!("WILDCARD{{{pattern}}}")),
                Label::Words(words) if words.len() == 1 => self.line(&words[0]),
                Label::Words(words) => {
                    self.line("INTERSECT {");
                    self.depth += 1;
                    words.iter().for_each(|word| self.line(word));
                    self.depth -= 1;
                    self.line("}");
                }
            }
        }
    }

    fn nearest(&mut self, node: &Node, count: u64, filter: &Node, vector: &Target) {
        let text = format!(
            "{{K={count} nearest vectors to `${}` in vector index associated with field @{}{}}}",
            vector.parameter,
            self.name(vector.field),
            searched(vector)
        );
        let attributes = shown(&node.attributes);
        if matches!(filter.kind, Kind::All) {
            return self.line(&format!("VECTOR {text}{attributes}"));
        }
        self.line("VECTOR {");
        self.depth += 1;
        self.node(filter);
        self.depth -= 1;
        self.line(&format!("}} => {text}{attributes}"));
    }

    /// What a node says of its fields, then lines that stand deeper.
    fn block(&mut self, node: &Node, head: &str, inside: impl FnOnce(&mut Self)) {
        let head = format!("{}{head}", self.fields(node.fields));
        self.bare_block(node, &head, inside);
    }

    fn bare_block(&mut self, node: &Node, head: &str, inside: impl FnOnce(&mut Self)) {
        self.line(head);
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        self.line(&format!("}}{}", shown(&node.attributes)));
    }

    fn leaf(&mut self, node: &Node, text: &str) {
        let text = format!("{}{text}", self.fields(node.fields));
        self.bare_leaf(node, &text);
    }

    fn bare_leaf(&mut self, node: &Node, text: &str) {
        self.line(&format!("{text}{}", shown(&node.attributes)));
    }

    fn line(&mut self, line: &str) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn name(&self, field: FieldId) -> String {
        String::from_utf8_lossy(&self.schema.fields[usize::from(field.0)].name).into_owned()
    }

    fn fields(&self, fields: Fields) -> String {
        if fields == Fields::ALL {
            return String::new();
        }
        let texts = self.schema.text_fields().enumerate();
        let names: Vec<String> = texts
            .filter(|&(number, _)| fields.0 & Fields::one(number).0 != 0)
            .map(|(_, (_, field))| String::from_utf8_lossy(&field.name).into_owned())
            .collect();
        format!("@{}:", names.join("|"))
    }
}

fn named_affix(affix: &Affix) -> String {
    let text = &affix.text;
    match affix.place {
        Place::Prefix => format!("PREFIX{{{text}*}}"),
        Place::Suffix => format!("SUFFIX{{*{text}}}"),
        Place::Infix => format!("INFIX{{*{text}*}}"),
    }
}

/// As C's `%f`.
fn fixed(number: f64) -> String {
    if number.is_finite() { format!("{number:.6}") } else { number.to_string() }
}

fn shown(attributes: &Attributes) -> String {
    let mut text = String::new();
    if attributes.weight != 1.0 {
        let _ = write!(text, " $weight: {};", attributes.weight);
    }
    if let Some(slop) = attributes.slop {
        let _ = write!(text, " $slop: {slop};");
    }
    let in_order = attributes.in_order == Some(true);
    if in_order || attributes.slop.is_some() {
        let _ = write!(text, " $inorder: {in_order};");
    }
    if text.is_empty() { text } else { format!(" => {{{text} }}") }
}

fn searched(vector: &Target) -> String {
    let options = &vector.options;
    let policy = |batches| if batches { "BATCHES" } else { "ADHOC_BF" }.to_owned();
    let mut text = String::new();
    for (name, value) in [
        ("EF_RUNTIME", options.candidates.map(|value| value.to_string())),
        ("EPSILON", options.epsilon.map(|value| value.to_string())),
        ("HYBRID_POLICY", options.in_batches.map(policy)),
        ("BATCH_SIZE", options.batch_size.map(|value| value.to_string())),
        ("SHARD_K_RATIO", options.partition_ratio.map(|value| value.to_string())),
    ] {
        if let Some(value) = value {
            let _ = write!(text, ", {name} = {value}");
        }
    }
    if let Some(name) = &vector.distance_name {
        let _ = write!(text, ", yields distance as `{name}`");
    }
    text
}
