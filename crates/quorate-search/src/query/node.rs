//! What a query asks for, as a tree.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::schema::{FieldId, Fields};

/// A part of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it asks for.
    pub kind: Kind,
    /// The fields in which words count.
    pub fields: Fields,
    /// How it is evaluated.
    pub attributes: Attributes,
}

/// What a part of a query asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Nothing: what was asked for were only stop words.
    Nothing,
    /// Every document.
    All,
    /// A word, in lower case.
    Word(String),
    /// Words next to each other, in lower case.
    Phrase(Vec<String>),
    /// An empty text.
    Empty,
    /// Words that begin, end or contain, in lower case.
    Affix(Affix),
    /// Words of a pattern with `*` and `?`, in lower case; `\` escapes.
    Wildcard(String),
    /// Words that differ by few letters, in lower case.
    Fuzzy {
        /// The word.
        word: String,
        /// How many letters may be added, missing or changed, 1 to 3.
        distance: u8,
    },
    /// All of them.
    And(Vec<Node>),
    /// One of them at least.
    Or(Vec<Node>),
    /// Documents that it does not match.
    Not(Box<Node>),
    /// Every document; what it matches counts for the score.
    Optional(Box<Node>),
    /// One of the labels.
    Tags {
        /// The `TAG` field.
        field: FieldId,
        /// The labels.
        labels: Vec<Label>,
    },
    /// A number within a range.
    Numeric {
        /// The `NUMERIC` field.
        field: FieldId,
        /// The range.
        range: Range,
    },
    /// A place within a circle.
    Geo {
        /// The `GEO` field.
        field: FieldId,
        /// The circle.
        circle: Circle,
    },
    /// A shape that lies in some way to another.
    Shape {
        /// The `GEOSHAPE` field.
        field: FieldId,
        /// How it lies.
        relation: Relation,
        /// The name of the parameter that has the other shape.
        parameter: String,
        /// The other shape, as well-known text.
        shape: Vec<u8>,
    },
    /// Documents without the field.
    Missing(FieldId),
    /// Of what `filter` matches, the nearest to a vector.
    Nearest {
        /// How many.
        count: u64,
        /// Among which.
        filter: Box<Node>,
        /// To what.
        vector: Target,
    },
    /// Documents whose vector is within a distance of another.
    Within {
        /// The distance, by the field's metric.
        radius: f64,
        /// Of what.
        vector: Target,
    },
}

/// Words or labels by a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affix {
    /// The part.
    pub text: String,
    /// Where it is.
    pub place: Place,
}

/// Where a part of a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `text*`
    Prefix,
    /// `*text`
    Suffix,
    /// `*text*`
    Infix,
}

/// A label, or some, as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// A label of these words, which single spaces separate.
    Words(Vec<String>),
    /// Labels that begin, end or contain.
    Affix(Affix),
    /// Labels of a pattern with `*` and `?`; `\` escapes.
    Wildcard(String),
}

/// Numbers between two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The lower end.
    pub lower: Bound,
    /// The upper end.
    pub upper: Bound,
}

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The number, which may be infinite.
    pub number: f64,
    /// Whether the number itself is not in the range.
    pub exclusive: bool,
}

impl Range {
    /// Whether a number is in the range.
    pub fn contains(&self, number: f64) -> bool {
        let above = if self.lower.exclusive {
            number > self.lower.number
        } else {
            number >= self.lower.number
        };
        let below = if self.upper.exclusive {
            number < self.upper.number
        } else {
            number <= self.upper.number
        };
        above && below
    }
}

/// A circle on the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circle {
    /// Degrees, -180 to 180.
    pub longitude: f64,
    /// Degrees, -90 to 90.
    pub latitude: f64,
    /// In the unit, above 0.
    pub radius: f64,
    /// Of the radius.
    pub unit: Unit,
}

/// A unit of length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Metres.
    Metres,
    /// Kilometres.
    Kilometres,
    /// Miles.
    Miles,
    /// Feet.
    Feet,
}

impl Unit {
    pub(super) const ALL: [Unit; 4] = [Unit::Metres, Unit::Kilometres, Unit::Miles, Unit::Feet];

    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Metres => "m",
            Unit::Kilometres => "km",
            Unit::Miles => "mi",
            Unit::Feet => "ft",
        }
    }

    /// Its length, in metres.
    pub fn metres(self) -> f64 {
        match self {
            Unit::Metres => 1.0,
            Unit::Kilometres => 1000.0,
            Unit::Miles => 1609.344,
            Unit::Feet => 0.3048,
        }
    }
}

/// How a shape lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Inside.
    Within,
    /// Around.
    Contains,
    /// They have a point in common.
    Intersects,
    /// They have none.
    Disjoint,
}

impl Relation {
    pub(super) const ALL: [Relation; 4] =
        [Relation::Within, Relation::Contains, Relation::Intersects, Relation::Disjoint];

    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Relation::Within => "WITHIN",
            Relation::Contains => "CONTAINS",
            Relation::Intersects => "INTERSECTS",
            Relation::Disjoint => "DISJOINT",
        }
    }
}

/// The vector that others are compared with, and how they are searched.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The `VECTOR` field.
    pub field: FieldId,
    /// The name of the parameter that has the vector.
    pub parameter: String,
    /// The vector's bytes, as many as the field says.
    pub bytes: Vec<u8>,
    /// The name under which distances are given.
    pub distance_name: Option<String>,
    /// How they are searched.
    pub options: VectorOptions,
}

/// How vectors are searched; what is not given is decided by the field and the planner.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VectorOptions {
    /// `EF_RUNTIME`: candidates of a graph.
    pub candidates: Option<u64>,
    /// `EPSILON`: by what part of the radius a search within it looks beyond.
    pub epsilon: Option<f64>,
    /// `HYBRID_POLICY`: whether the filter is applied to batches of near ones.
    pub in_batches: Option<bool>,
    /// `BATCH_SIZE`: how many a batch has.
    pub batch_size: Option<u64>,
    /// `SHARD_K_RATIO`: what part of the nearest a partition may leave to others.
    pub partition_ratio: Option<f64>,
}

/// How a part of a query is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Attributes {
    /// Multiplies the score, 0 or more.
    pub weight: f64,
    /// How many other words may be between words; none: any.
    pub slop: Option<u32>,
    /// Whether words must be in their order.
    pub in_order: Option<bool>,
    /// Whether words that sound alike count.
    pub phonetic: Option<bool>,
}

impl Default for Attributes {
    fn default() -> Self {
        Attributes { weight: 1.0, slop: None, in_order: None, phonetic: None }
    }
}

impl Node {
    pub(crate) fn new(kind: Kind, fields: Fields) -> Node {
        Node { kind, fields, attributes: Attributes::default() }
    }

    /// Whether it matches no document, whatever there is.
    pub fn is_nothing(&self) -> bool {
        matches!(self.kind, Kind::Nothing)
    }
}
