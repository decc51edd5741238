//! A query as a text of dialect 2 that is read as the same tree.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Parameters;
use super::node::{Affix, Attributes, Bound, Kind, Label, Node, Place, Target};
use super::token::{self, escaped};
use crate::Schema;
use crate::schema::{FieldId, Fields};

/// A query and the parameters that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Printed {
    /// The query, in dialect 2.
    pub query: String,
    /// Its parameters.
    pub parameters: Parameters,
}

impl Node {
    /// The query that [`super::parse`] reads as this tree in dialect 2 and later, stop words kept.
    pub fn printed(&self, schema: &Schema) -> Printed {
        let mut parameters = Parameters::new();
        let query = Printer { schema, parameters: &mut parameters }.whole(self);
        Printed { query, parameters }
    }
}

struct Printer<'a> {
    schema: &'a Schema,
    parameters: &'a mut Parameters,
}

impl Printer<'_> {
    fn whole(&mut self, node: &Node) -> String {
        match &node.kind {
            Kind::Nothing => String::new(),
            Kind::All => "*".to_string(),
            Kind::Nearest { count, filter, vector } => {
                let filter = match filter.kind {
                    Kind::All => "*".to_string(),
                    _ => self.node(filter, Fields::ALL),
                };
                let name = self.target(vector);
                let field = self.name(vector.field);
                let attributes = attributes(&node.attributes, Some(vector));
                format!("{filter}=>[KNN {count} @{field} ${name}]{attributes}")
            }
            _ => self.node(node, Fields::ALL),
        }
    }

    /// A node as a unit, inside of what names `scope`.
    fn node(&mut self, node: &Node, scope: Fields) -> String {
        let inside = self.inside(node);
        let scope = if node.fields == scope { String::new() } else { self.scope(node.fields) };
        let vector = match &node.kind {
            Kind::Within { vector, .. } => Some(vector),
            _ => None,
        };
        format!("{scope}{inside}{}", attributes(&node.attributes, vector))
    }

    fn inside(&mut self, node: &Node) -> String {
        match &node.kind {
            // Only whole queries: see `whole`.
            Kind::Nothing | Kind::All | Kind::Nearest { .. } => String::new(),
            Kind::Empty => "\"\"".to_string(),
            // Before a parenthesis it would be the function.
            Kind::Word(word) if word == "ismissing" => format!("({word})"),
            Kind::Word(word) => escaped_word(word),
            Kind::Phrase(words) => {
                let words: Vec<String> = words.iter().map(|word| escaped(word)).collect();
                format!("\"{}\"", words.join(" "))
            }
            Kind::Affix(affix) => printed_affix(affix),
            Kind::Wildcard(pattern) => format!("w'{pattern}'"),
            Kind::Fuzzy { word, distance } => {
                let signs = "%".repeat(usize::from(*distance));
                format!("{signs}{}{signs}", escaped_word(word))
            }
            Kind::And(nodes) => self.group(nodes, node.fields, " "),
            Kind::Or(nodes) => self.group(nodes, node.fields, "|"),
            Kind::Not(inner) => format!("(-({}))", self.node(inner, node.fields)),
            Kind::Optional(inner) => format!("(~({}))", self.node(inner, node.fields)),
            Kind::Tags { field, labels } => {
                let labels: Vec<String> = labels.iter().map(printed_label).collect();
                format!("@{}:{{{}}}", self.name(*field), labels.join("|"))
            }
            Kind::Numeric { field, range } => {
                let (lower, upper) = (printed_bound(range.lower), printed_bound(range.upper));
                format!("@{}:[{lower} {upper}]", self.name(*field))
            }
            Kind::Geo { field, circle } => format!(
                "@{}:[{} {} {} {}]",
                self.name(*field),
                circle.longitude,
                circle.latitude,
                circle.radius,
                circle.unit.name()
            ),
            Kind::Shape { field, relation, parameter, shape } => {
                self.parameters.insert(parameter.clone(), shape.clone());
                format!("@{}:[{} ${parameter}]", self.name(*field), relation.name())
            }
            Kind::Missing(field) => format!("ismissing(@{})", self.name(*field)),
            Kind::Within { radius, vector } => {
                let name = self.target(vector);
                format!("@{}:[VECTOR_RANGE {radius} ${name}]", self.name(vector.field))
            }
        }
    }

    fn group(&mut self, nodes: &[Node], scope: Fields, between: &str) -> String {
        let nodes: Vec<String> = nodes.iter().map(|node| self.node(node, scope)).collect();
        format!("({})", nodes.join(between))
    }

    fn target(&mut self, vector: &Target) -> String {
        self.parameters.insert(vector.parameter.clone(), vector.bytes.clone());
        vector.parameter.clone()
    }

    fn name(&self, field: FieldId) -> String {
        escaped(&String::from_utf8_lossy(&self.schema.fields[usize::from(field.0)].name))
    }

    fn scope(&self, fields: Fields) -> String {
        let texts = self.schema.text_fields().enumerate();
        let names: Vec<String> = texts
            .filter(|&(number, _)| fields.0 & Fields::one(number).0 != 0)
            .map(|(_, (id, _))| self.name(id))
            .collect();
        format!("@{}:", names.join("|"))
    }
}

/// A word that is one token. What reads as a number stands for itself.
fn escaped_word(word: &str) -> String {
    let number = token::tokens(word, true);
    match number.as_slice() {
        [found] if found.kind == token::Kind::Number && found.text == word => word.to_string(),
        _ => escaped(word),
    }
}

/// A quoted text with a sign is taken whole, whatever is in it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

fn printed_affix(affix: &Affix) -> String {
    let text = quoted(&affix.text);
    match affix.place {
        Place::Prefix => format!("{text}*"),
        Place::Suffix => format!("*{text}"),
        Place::Infix => format!("*{text}*"),
    }
}

fn printed_label(label: &Label) -> String {
    match label {
        Label::Affix(affix) => printed_affix(affix),
        Label::Wildcard(pattern) => format!("w'{pattern}'"),
        Label::Words(words) if words.len() == 1 => quoted(&words[0]),
        Label::Words(words) => {
            let print =
                |word: &String| if word.is_empty() { quoted(word) } else { escaped_word(word) };
            words.iter().map(print).collect::<Vec<_>>().join(" ")
        }
    }
}

fn printed_bound(bound: Bound) -> String {
    format!("{}{}", if bound.exclusive { "(" } else { "" }, bound.number)
}

fn attributes(attributes: &Attributes, vector: Option<&Target>) -> String {
    let mut list = Vec::new();
    if attributes.weight != 1.0 {
        list.push(format!("$weight:{}", attributes.weight));
    }
    if let Some(slop) = attributes.slop {
        list.push(format!("$slop:{slop}"));
    }
    if let Some(in_order) = attributes.in_order {
        list.push(format!("$inorder:{in_order}"));
    }
    if let Some(phonetic) = attributes.phonetic {
        list.push(format!("$phonetic:{phonetic}"));
    }
    if let Some(vector) = vector {
        let options = &vector.options;
        let policy = |batches| if batches { "BATCHES" } else { "ADHOC_BF" }.to_string();
        for (name, value) in [
            ("ef_runtime", options.candidates.map(|value| value.to_string())),
            ("epsilon", options.epsilon.map(|value| value.to_string())),
            ("hybrid_policy", options.in_batches.map(policy)),
            ("batch_size", options.batch_size.map(|value| value.to_string())),
            ("shard_k_ratio", options.partition_ratio.map(|value| value.to_string())),
            ("yield_distance_as", vector.distance_name.as_deref().map(escaped)),
        ] {
            list.extend(value.map(|value| format!("${name}:{value}")));
        }
    }
    if list.is_empty() { String::new() } else { format!("=>{{{}}}", list.join(";")) }
}
