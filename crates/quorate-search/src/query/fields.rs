//! What a query asks of one field: `@field:...`, comparisons, `ismissing`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::leaf::not_indexed_if_empty;
use super::node::{Affix, Bound, Circle, Kind, Label, Node, Place, Range, Relation, Unit};
use super::parser::Parser;
use super::token::{Kind as Sign, Token};
use crate::analysis::unescaped;
use crate::arguments::is;
use crate::error::{Code, Error};
use crate::schema;
use crate::schema::{FieldId, Fields};

/// The fields that `@a|b:` names, and where.
struct Named {
    names: Vec<String>,
    at: usize,
}

impl Parser<'_> {
    /// `@a|b:` and what it applies to, or `@a` and a comparison.
    pub(super) fn in_fields(&mut self) -> Result<Node, Error> {
        if self.is_scoped() {
            return Err(self.unexpected());
        }
        let first = self.expect(Sign::Modifier)?;
        let mut named = Named { names: vec![unescaped(first.text)], at: first.at };
        if let Some(node) = self.comparison(&named)? {
            return Ok(node);
        }
        while self.skip(Sign::Or) {
            named.names.push(unescaped(self.expect(Sign::Word)?.text));
        }
        self.expect(Sign::Colon)?;
        match self.peek().kind {
            Sign::BraceOpen => self.tags(&named),
            Sign::BracketOpen => self.range(&named),
            _ => {
                let fields = self.text_fields(&named)?;
                self.in_scope(fields)
            }
        }
    }

    fn field(&self, named: &Named, kind: &str) -> Result<FieldId, Error> {
        let name = &named.names[0];
        let found = self.context.schema.position(name.as_bytes());
        let (id, field) = found.ok_or_else(|| named.refused("Unknown field", name))?;
        if field.kind.name() != kind || named.names.len() > 1 {
            return Err(named.refused(&format!("Expected a {kind} field"), name));
        }
        Ok(id)
    }

    fn text_fields(&self, named: &Named) -> Result<Fields, Error> {
        let mut fields = Fields(0);
        for name in &named.names {
            let field = self.context.schema.field(name.as_bytes());
            if field.is_none() {
                return Err(named.refused("Unknown field", name));
            }
            let number = self
                .context
                .schema
                .text_fields()
                .position(|(_, text)| text.name == name.as_bytes());
            let number = number.ok_or_else(|| named.refused("Expected a TEXT field", name))?;
            fields.0 |= Fields::one(number).0;
        }
        Ok(fields)
    }

    /// Whether empty texts are indexed in all fields that the query has named here.
    pub(super) fn scope_indexes_empty(&self) -> bool {
        let fields = self.fields();
        let mut texts = self.context.schema.text_fields().enumerate();
        fields == Fields::ALL
            || texts.all(|(number, (_, field))| {
                fields.0 & Fields::one(number).0 == 0 || field.index_empty
            })
    }

    /// Whether `ismissing(` is next.
    pub(super) fn is_missing(&self) -> bool {
        !self.is_first_dialect()
            && is(self.peek().text.as_bytes(), "ismissing")
            && self.peek_second().kind == Sign::Open
    }

    pub(super) fn missing(&mut self) -> Result<Node, Error> {
        self.expect(Sign::Word)?;
        self.expect(Sign::Open)?;
        let token = self.expect(Sign::Modifier)?;
        let name = unescaped(token.text);
        self.expect(Sign::Close)?;
        let named = Named { names: vec![name], at: token.at };
        let name = &named.names[0];
        let found = self.context.schema.position(name.as_bytes());
        let (id, field) = found.ok_or_else(|| named.refused("Unknown field", name))?;
        if !field.index_missing {
            let text =
                format!("'ismissing' requires field '{name}' to be defined with 'INDEXMISSING'");
            return Err(Error::new(Code::Syntax, text));
        }
        Ok(self.node(Kind::Missing(id)))
    }
}

/// Numbers and shapes.
impl Parser<'_> {
    /// `== n`, `> n` and the like.
    fn comparison(&mut self, named: &Named) -> Result<Option<Node>, Error> {
        let sign = self.peek().kind;
        let all = Range {
            lower: Bound { number: f64::NEG_INFINITY, exclusive: false },
            upper: Bound { number: f64::INFINITY, exclusive: false },
        };
        if !matches!(
            sign,
            Sign::Equal
                | Sign::NotEqual
                | Sign::Greater
                | Sign::GreaterEqual
                | Sign::Less
                | Sign::LessEqual
        ) {
            return Ok(None);
        }
        self.advance();
        let number = self.number("Bad value")?;
        let field = self.field(named, "NUMERIC")?;
        let inclusive = Bound { number, exclusive: false };
        let exclusive = Bound { number, exclusive: true };
        let range = match sign {
            Sign::Greater => Range { lower: exclusive, ..all },
            Sign::GreaterEqual => Range { lower: inclusive, ..all },
            Sign::Less => Range { upper: exclusive, ..all },
            Sign::LessEqual => Range { upper: inclusive, ..all },
            _ => Range { lower: inclusive, upper: inclusive },
        };
        let node = self.node(Kind::Numeric { field, range });
        Ok(Some(if sign == Sign::NotEqual { self.marked(Kind::Not, node) } else { node }))
    }

    /// `[ ... ]`: numbers, a circle, a shape or vectors.
    fn range(&mut self, named: &Named) -> Result<Node, Error> {
        self.expect(Sign::BracketOpen)?;
        let word = self.peek();
        if word.kind == Sign::Word && !self.is_first_dialect() && !is_infinity(word) {
            return self.relation(named);
        }
        let lower = self.bound("Bad lower range")?;
        if !self.is_first_dialect() && self.skip(Sign::BracketClose) {
            let field = self.field(named, "NUMERIC")?;
            return Ok(self.node(Kind::Numeric { field, range: Range { lower, upper: lower } }));
        }
        let upper = self.bound("Bad upper range")?;
        if self.skip(Sign::BracketClose) {
            let field = self.field(named, "NUMERIC")?;
            return Ok(self.node(Kind::Numeric { field, range: Range { lower, upper } }));
        }
        let radius = self.number("Bad radius")?;
        let unit = self.peek();
        if !matches!(unit.kind, Sign::Word | Sign::Attribute) {
            return Err(self.unexpected());
        }
        let unit = self.value(unit)?;
        self.advance();
        self.expect(Sign::BracketClose)?;
        let circle = circle(lower.number, upper.number, radius, &unit)?;
        let field = self.field(named, "GEO")?;
        Ok(self.node(Kind::Geo { field, circle }))
    }

    fn relation(&mut self, named: &Named) -> Result<Node, Error> {
        let word = self.advance();
        if is(word.text.as_bytes(), "VECTOR_RANGE") {
            let radius = self.number("Bad radius")?;
            let parameter = self.expect(Sign::Attribute)?;
            self.expect(Sign::BracketClose)?;
            let field = self.field(named, "VECTOR")?;
            let vector = self.target(field, parameter)?;
            return Ok(self.node(Kind::Within { radius, vector }));
        }
        let token = self.expect(Sign::Attribute)?;
        let found = Relation::ALL.into_iter().find(|one| is(word.text.as_bytes(), one.name()));
        let Some(relation) = found else {
            let text = format!(
                "Syntax error: Expecting a geoshape predicate at offset {} near {}",
                word.at, word.text
            );
            return Err(Error::new(Code::Syntax, text));
        };
        let shape = self.parameter(token)?.to_vec();
        self.expect(Sign::BracketClose)?;
        let field = self.field(named, "GEOSHAPE")?;
        let parameter = token.text.into();
        Ok(self.node(Kind::Shape { field, relation, parameter, shape }))
    }

    fn bound(&mut self, refused: &str) -> Result<Bound, Error> {
        let exclusive = self.skip(Sign::Open);
        Ok(Bound { number: self.number(refused)?, exclusive })
    }

    /// A number, an infinity or a parameter, perhaps behind signs.
    pub(super) fn number(&mut self, refused: &str) -> Result<f64, Error> {
        let mut negative = false;
        while self.skip(Sign::Minus) {
            negative = !negative;
        }
        let token = self.peek();
        let known = match token.kind {
            Sign::Number | Sign::Attribute => true,
            Sign::Word => is_infinity(token),
            _ => false,
        };
        if !known {
            return Err(self.unexpected());
        }
        let text = self.value(token)?;
        self.advance();
        let number: Option<f64> = text.parse().ok();
        let number = number
            .filter(|number| !number.is_nan())
            .ok_or_else(|| Error::new(Code::Syntax, format!("{refused}: {text}")))?;
        Ok(if negative { -number } else { number })
    }
}

fn is_infinity(token: Token<'_>) -> bool {
    is(token.text.as_bytes(), "inf")
}

fn circle(longitude: f64, latitude: f64, radius: f64, unit: &str) -> Result<Circle, Error> {
    let refused = |what| Err(Error::new(Code::Syntax, format!("Invalid GeoFilter {what}")));
    let Some(unit) = Unit::ALL.into_iter().find(|one| is(unit.as_bytes(), one.name())) else {
        return refused("unit");
    };
    if radius <= 0.0 || !radius.is_finite() {
        return refused("radius");
    }
    if !(-180.0..=180.0).contains(&longitude) || !(-90.0..=90.0).contains(&latitude) {
        return refused("lat/lon");
    }
    Ok(Circle { longitude, latitude, radius, unit })
}

/// Labels.
impl Parser<'_> {
    fn tags(&mut self, named: &Named) -> Result<Node, Error> {
        self.expect(Sign::BraceOpen)?;
        let mut labels = Vec::new();
        loop {
            labels.push(self.label()?);
            if !self.skip(Sign::Or) {
                break;
            }
        }
        self.expect(Sign::BraceClose)?;
        let field = self.field(named, "TAG")?;
        let empty =
            |label: &Label| matches!(label, Label::Words(words) if words.concat().is_empty());
        if labels.iter().any(empty) && !self.context.schema.fields[usize::from(field.0)].index_empty
        {
            return Err(not_indexed_if_empty());
        }
        Ok(self.node(Kind::Tags { field, labels }))
    }

    fn label(&mut self) -> Result<Label, Error> {
        let token = self.peek();
        match token.kind {
            Sign::Star => {
                self.starred_ahead()?;
                self.advance();
                let text = self.part_of_word()?;
                let infix = self.skip_glued(Sign::Star);
                let place = if infix { Place::Infix } else { Place::Suffix };
                return Ok(Label::Affix(Affix { text, place }));
            }
            Sign::Wildcard => {
                self.advance();
                return Ok(Label::Wildcard(self.pattern(token)?));
            }
            _ => {}
        }
        let first = self.part_of_word()?;
        if self.skip_glued(Sign::Star) {
            return Ok(Label::Affix(Affix { text: first, place: Place::Prefix }));
        }
        let mut words = vec![first];
        while matches!(self.peek().kind, Sign::Word | Sign::Number | Sign::Attribute) {
            words.push(self.part_of_word()?);
        }
        Ok(Label::Words(words))
    }
}

impl Named {
    fn refused(&self, why: &str, name: &str) -> Error {
        Error::new(Code::Syntax, format!("{why} at offset {} near {name}", self.at))
    }
}

impl schema::Kind {
    /// The name of the kind in schemas and errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            schema::Kind::Text(_) => "TEXT",
            schema::Kind::Tag(_) => "TAG",
            schema::Kind::Numeric => "NUMERIC",
            schema::Kind::Geo => "GEO",
            schema::Kind::GeoShape(_) => "GEOSHAPE",
            schema::Kind::Vector(_) => "VECTOR",
        }
    }
}
