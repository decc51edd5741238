//! Where the values are that stages read.
//!
//! A property is what a stage before has made or loaded; else a field of the schema, which is
//! loaded right before the first stage that reads it: from what the index keeps if the field is
//! `SORTABLE`, else from the document. What is neither is refused.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::partition::SCORE;
use super::{Column, Origin, Stage, unknown_property};
use crate::Schema;
use crate::error::{Code, Error};
use crate::expression::{Expression, Function};
use crate::query::{self, Node};
use crate::schema::{Kind, Source};

/// The stages with what they read loaded before, and whether an expression asks for the terms of
/// the query that a document has.
pub(super) fn resolve(
    stages: Vec<Stage>,
    node: &Node,
    schema: &Schema,
    scored: bool,
) -> Result<(Vec<Stage>, bool), Error> {
    let mut names = Vec::new();
    distance_names(node, &mut names);
    let mut known: BTreeSet<String> = names.into_iter().collect();
    if scored {
        known.insert(SCORE.to_string());
    }
    let mut resolver = Resolver::new(schema, known);
    if let query::Kind::Nearest { count, .. } = &node.kind {
        resolver.resolved.push(Stage::Nearest(*count));
    }
    for stage in stages {
        resolver.stage(stage)?;
    }
    Ok((resolver.resolved, resolver.uses_terms))
}

/// The stages of rows that have these names from the start, with what they read loaded before.
pub(crate) fn resolve_rows(
    stages: Vec<Stage>,
    known: BTreeSet<String>,
    schema: &Schema,
) -> Result<Vec<Stage>, Error> {
    let mut resolver = Resolver::new(schema, known);
    stages.into_iter().try_for_each(|stage| resolver.stage(stage))?;
    Ok(resolver.resolved)
}

struct Resolver<'a> {
    schema: &'a Schema,
    /// What rows have.
    known: BTreeSet<String>,
    /// Whether rows have whatever their documents have.
    all: bool,
    /// Whether rows are groups.
    grouped: bool,
    uses_terms: bool,
    resolved: Vec<Stage>,
}

impl<'a> Resolver<'a> {
    fn new(schema: &'a Schema, known: BTreeSet<String>) -> Self {
        Resolver {
            schema,
            known,
            all: false,
            grouped: false,
            uses_terms: false,
            resolved: Vec::new(),
        }
    }

    fn stage(&mut self, mut stage: Stage) -> Result<(), Error> {
        match &mut stage {
            Stage::Load(columns) => {
                self.check_documents()?;
                for column in columns {
                    self.place(column);
                    self.known.insert(column.name.clone());
                }
            }
            Stage::LoadAll => {
                self.check_documents()?;
                self.all = true;
            }
            Stage::Apply { expression, name } => {
                self.read_by(expression)?;
                self.known.insert(name.clone());
            }
            Stage::Filter(expression) => self.read_by(expression)?,
            Stage::Group(grouping) => {
                let reductions = grouping.reductions.iter();
                let read = grouping.by.iter().map(String::as_str);
                let read: Vec<&str> =
                    read.chain(reductions.flat_map(|reduction| reduction.properties())).collect();
                self.read(&read)?;
                self.known = grouping.by.iter().cloned().collect();
                for reduction in &grouping.reductions {
                    if !self.known.insert(reduction.name.clone()) {
                        let name = &reduction.name;
                        let text = format!("Property `{name}` specified more than once");
                        return Err(Error::new(Code::DuplicateField, text));
                    }
                }
                (self.all, self.grouped) = (false, true);
            }
            Stage::Arrange { keys, count, .. } => {
                let read: Vec<&str> = keys.iter().map(|key| key.property.as_str()).collect();
                self.read(&read)?;
                if !keys.is_empty() {
                    count.get_or_insert(crate::limits::SORTED_ROWS);
                }
            }
            Stage::Nearest(_) => {}
        }
        self.resolved.push(stage);
        Ok(())
    }

    fn check_documents(&self) -> Result<(), Error> {
        if !self.grouped {
            return Ok(());
        }
        let text = "LOAD cannot follow GROUPBY: a group is no document";
        Err(Error::new(Code::BadQuery, text))
    }

    /// Finds out where what `LOAD` names is.
    fn place(&self, column: &mut Column) {
        let Origin::Path { path, numeric } = &mut column.origin else { return };
        if path == KEY.as_bytes() {
            column.origin = Origin::Key;
        } else if let Some(field) = self.schema.field(path) {
            *numeric = field.kind == Kind::Numeric;
            path.clone_from(&field.path);
        }
    }

    fn read_by(&mut self, expression: &Expression) -> Result<(), Error> {
        let mut properties = Vec::new();
        visit(expression, &mut |part| match part {
            Expression::Property(name) => properties.push(name.as_str()),
            Expression::Call(Function::MatchedTerms, _) => self.uses_terms = true,
            _ => {}
        });
        self.read(&properties)
    }

    /// Loads what is not known yet.
    fn read(&mut self, properties: &[&str]) -> Result<(), Error> {
        let mut columns = Vec::new();
        for &name in properties {
            if self.known.contains(name) {
                continue;
            }
            if let Some(column) = self.field(name) {
                columns.push(column);
            } else if !self.all {
                return Err(unknown_property(name));
            }
            self.known.insert(name.to_string());
        }
        if !columns.is_empty() {
            self.resolved.push(Stage::Load(columns));
        }
        Ok(())
    }

    /// What the schema knows under this name, if rows are documents that may not have it yet.
    fn field(&self, name: &str) -> Option<Column> {
        if self.grouped {
            return None;
        }
        let name = name.to_string();
        if name == KEY {
            return Some(Column { origin: Origin::Key, name });
        }
        let (id, field) = self.schema.position(name.as_bytes())?;
        // All that a hash has is there under its own names.
        if self.all && self.schema.source == Source::Hash && field.path == field.name {
            return None;
        }
        let origin = if field.sortable && !self.all {
            Origin::Sortable(id)
        } else {
            Origin::Path { path: field.path.clone(), numeric: field.kind == Kind::Numeric }
        };
        Some(Column { origin, name })
    }
}

/// What rows call their document's key.
const KEY: &str = "__key";

fn visit<'e>(expression: &'e Expression, visitor: &mut impl FnMut(&'e Expression)) {
    visitor(expression);
    match expression {
        Expression::Constant(_) | Expression::Property(_) => {}
        Expression::Not(inner) | Expression::Negative(inner) => visit(inner, visitor),
        Expression::Joined(_, left, right) => {
            visit(left, visitor);
            visit(right, visitor);
        }
        Expression::Call(_, arguments) => {
            arguments.iter().for_each(|argument| visit(argument, visitor));
        }
    }
}

/// The names that a query gives to distances.
pub(super) fn distance_names(node: &Node, names: &mut Vec<String>) {
    match &node.kind {
        query::Kind::And(nodes) | query::Kind::Or(nodes) => {
            nodes.iter().for_each(|node| distance_names(node, names));
        }
        query::Kind::Optional(inner) => distance_names(inner, names),
        query::Kind::Nearest { filter, vector, .. } => {
            names.extend(vector.distance_name.clone());
            distance_names(filter, names);
        }
        query::Kind::Within { vector, .. } => names.extend(vector.distance_name.clone()),
        _ => {}
    }
}
