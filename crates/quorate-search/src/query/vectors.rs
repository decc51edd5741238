//! `=>[KNN ...]`, and what says how vectors are searched.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use super::node::{Kind, Node, Target, VectorOptions};
use super::parser::Parser;
use super::token::{Kind as Sign, Token};
use crate::analysis::unescaped;
use crate::arguments::{self, finite, is};
use crate::error::{Code, Error};
use crate::limits;
use crate::schema;
use crate::schema::FieldId;

impl Parser<'_> {
    /// `filter`, or the nearest of it if `=>[KNN ...]` follows.
    pub(super) fn perhaps_nearest(&mut self, filter: Node) -> Result<Node, Error> {
        if self.is_first_dialect() || !self.skip(Sign::Arrow) {
            return Ok(filter);
        }
        self.expect(Sign::BracketOpen)?;
        let word = self.expect(Sign::Word)?;
        if !is(word.text.as_bytes(), "KNN") {
            let text = format!(
                "Syntax error: Expecting Vector Similarity command at offset {} near {}",
                word.at, word.text
            );
            return Err(Error::new(Code::Syntax, text));
        }
        let count = self.count()?;
        let field = self.expect(Sign::Modifier)?;
        let parameter = self.expect(Sign::Attribute)?;
        let name = unescaped(field.text);
        let id = match self.context.schema.position(name.as_bytes()) {
            Some((id, found)) if matches!(found.kind, schema::Kind::Vector(_)) => id,
            Some(_) => return Err(wrong("Expected a VECTOR field", field)),
            None => return Err(wrong("Unknown field", field)),
        };
        let mut vector = self.target(id, parameter)?;
        vector.distance_name = Some(format!("__{name}_score"));
        while !self.skip(Sign::BracketClose) {
            let option = self.expect(Sign::Word)?;
            let value = self.option_value()?;
            self.set(&mut vector, option.text, &value)?;
        }
        let nothing = filter.is_nothing();
        let filter = Box::new(filter);
        let mut node = self.node(Kind::Nearest { count, filter, vector });
        if self.peek().kind == Sign::Arrow {
            self.attributes(&mut node)?;
        }
        Ok(if nothing { self.node(Kind::Nothing) } else { node })
    }

    /// How many.
    fn count(&mut self) -> Result<u64, Error> {
        let token = self.peek();
        if !matches!(token.kind, Sign::Number | Sign::Attribute) {
            return Err(self.unexpected());
        }
        let count: Option<u64> = arguments::number(self.value(token)?.as_bytes());
        let count = count.ok_or_else(|| self.unexpected())?;
        if count > limits::NEAREST {
            let text = format!("KNN K parameter exceeds maximum of {}", limits::NEAREST);
            return Err(Error::new(Code::Limit, text));
        }
        self.advance();
        Ok(count)
    }

    /// The vector of a parameter.
    pub(super) fn target(&self, field: FieldId, parameter: Token<'_>) -> Result<Target, Error> {
        let bytes = self.parameter(parameter)?;
        if let schema::Kind::Vector(vector) = &self.context.schema.fields[usize::from(field.0)].kind
        {
            let expected = vector.bytes();
            if bytes.len() != expected {
                let text = format!(
                    "Error parsing vector similarity query: query vector blob size ({}) does not \
                     match index's expected size ({expected}).",
                    bytes.len()
                );
                return Err(Error::new(Code::BadQuery, text));
            }
        }
        Ok(Target {
            field,
            parameter: parameter.text.to_string(),
            bytes: bytes.to_vec(),
            distance_name: None,
            options: VectorOptions::default(),
        })
    }

    /// The value of an option or attribute.
    pub(super) fn option_value(&mut self) -> Result<String, Error> {
        let token = self.peek();
        if !matches!(token.kind, Sign::Word | Sign::Number | Sign::Attribute) {
            return Err(self.unexpected());
        }
        let value = self.value(token)?;
        self.advance();
        Ok(value)
    }

    /// Sets an option.
    pub(super) fn set(&self, vector: &mut Target, name: &str, value: &str) -> Result<(), Error> {
        let refused = || {
            let text = format!(
                "Error parsing vector similarity parameters: Invalid value (`{value}`) for `{name}`"
            );
            Error::new(Code::BadQuery, text)
        };
        let positive = |number: u64| number > 0;
        let whole =
            || arguments::number(value.as_bytes()).filter(|&n| positive(n)).ok_or_else(refused);
        let fraction =
            || finite(value.as_bytes()).filter(|&number| number >= 0.0).ok_or_else(refused);
        let options = &mut vector.options;
        match name.to_ascii_uppercase().as_str() {
            "AS" | "YIELD_DISTANCE_AS" if value.is_empty() => return Err(refused()),
            "AS" | "YIELD_DISTANCE_AS" => {
                if self.context.schema.field(value.as_bytes()).is_some() {
                    let text = format!("Property `{value}` already exists in schema");
                    return Err(Error::new(Code::DuplicateField, text));
                }
                vector.distance_name = Some(value.to_string());
            }
            "EF_RUNTIME" => options.candidates = Some(whole()?),
            "EPSILON" => options.epsilon = Some(fraction()?),
            "BATCH_SIZE" => options.batch_size = Some(whole()?),
            "HYBRID_POLICY" if is(value.as_bytes(), "BATCHES") => options.in_batches = Some(true),
            "HYBRID_POLICY" if is(value.as_bytes(), "ADHOC_BF") => options.in_batches = Some(false),
            "HYBRID_POLICY" => return Err(refused()),
            "SHARD_K_RATIO" => {
                let ratio = fraction()?;
                if ratio == 0.0 || ratio > 1.0 {
                    return Err(refused());
                }
                options.partition_ratio = Some(ratio);
            }
            _ => {
                let text = "Error parsing vector similarity parameters: Invalid option";
                return Err(Error::new(Code::BadQuery, text));
            }
        }
        Ok(())
    }
}

fn wrong(why: &str, field: Token<'_>) -> Error {
    Error::new(Code::Syntax, format!("{why} at offset {} near {}", field.at, field.text))
}
