//! One field: where it is, what it is called, what it holds and how it is indexed.

use alloc::format;
use alloc::vec::Vec;

use super::Source;
use super::vector::Vector;
use crate::arguments::{self, Arguments, MALFORMED, bad, finite, shown};
use crate::error::{Code, Error};

/// A set of `TEXT` fields of a schema, by their number among its `TEXT` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fields(pub u128);

impl Fields {
    /// Every field, also those that the schema gets later.
    pub const ALL: Fields = Fields(u128::MAX);

    /// The field of this number.
    pub fn one(number: usize) -> Fields {
        Fields(1 << number)
    }
}

/// The position of a field in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u16);

/// A field of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Where the value is: the name of a hash's field or a JSONPath. Several fields may share it.
    pub path: Vec<u8>,
    /// What queries call it; unique in a schema.
    pub name: Vec<u8>,
    /// What it holds.
    pub kind: Kind,
    /// Whether empty values are indexed (`TEXT` and `TAG`).
    pub index_empty: bool,
    /// Whether documents without the field are noted, for `ismissing`.
    pub index_missing: bool,
    /// Whether values are kept, for sorting and grouping.
    pub sortable: bool,
    /// Whether values are kept as they are, not folded to one case. Only if `sortable`.
    pub unnormalized: bool,
    /// Whether the field can only be sorted by, not searched in.
    pub no_index: bool,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Words.
    Text(Text),
    /// Labels, found as a whole.
    Tag(Tag),
    /// A number.
    Numeric,
    /// A longitude and a latitude, in degrees.
    Geo,
    /// A point or polygon in well-known text.
    GeoShape(Coordinates),
    /// A vector of fixed dimension.
    Vector(Vector),
}

/// How words are indexed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Text {
    /// Multiplies the frequency of terms in this field.
    pub weight: f64,
    /// Whether words are not reduced to stems.
    pub no_stem: bool,
    /// Whether words are found by their sound.
    pub phonetic: Option<Phonetic>,
    /// Whether the ends of words are indexed too, for `*fix` and `*fix*`.
    pub suffix_trie: bool,
}

/// The language for double metaphone, which is one and the same algorithm for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phonetic {
    /// `dm:en`
    English,
    /// `dm:fr`
    French,
    /// `dm:pt`
    Portuguese,
    /// `dm:es`
    Spanish,
}

/// How labels are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// What separates labels; none: the value is one label, as in JSON.
    pub separator: Option<u8>,
    /// Whether labels keep their case.
    pub case_sensitive: bool,
    /// Whether the ends of labels are indexed too, for `*fix` and `*fix*`.
    pub suffix_trie: bool,
}

/// What the coordinates of a shape are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// A plane.
    Flat,
    /// The globe: longitude and latitude in degrees.
    Spherical,
}

impl Phonetic {
    const ALL: [Phonetic; 4] =
        [Phonetic::English, Phonetic::French, Phonetic::Portuguese, Phonetic::Spanish];

    /// The name in schemas.
    pub fn name(self) -> &'static str {
        match self {
            Phonetic::English => "dm:en",
            Phonetic::French => "dm:fr",
            Phonetic::Portuguese => "dm:pt",
            Phonetic::Spanish => "dm:es",
        }
    }
}

impl Field {
    /// One field, from the start of its definition to its end.
    pub(super) fn read(source: Source, arguments: &mut Arguments<'_>) -> Result<Field, Error> {
        let path = arguments.next().unwrap_or_default();
        let mut name = path;
        if arguments.skip("AS") {
            let refused = || Error::new(Code::ParseArguments, "AS requires an argument");
            name = arguments.next().ok_or_else(refused)?;
        }
        let kind = Kind::read(source, name, arguments)?;
        let mut field = Field {
            path: path.to_vec(),
            name: name.to_vec(),
            kind,
            index_empty: false,
            index_missing: false,
            sortable: false,
            unnormalized: false,
            no_index: false,
        };
        // What follows the options for any kind is the next field, even if its name is an option
        // for this kind: the order is part of the grammar.
        while field.read_kind_option(arguments)? {}
        if !matches!(field.kind, Kind::Vector(_)) {
            while field.read_common_option(arguments) {}
        }
        if field.no_index && field.index_missing {
            let text = format!(
                "'Field cannot be defined with both `NOINDEX` and `INDEXMISSING` `{}` '",
                shown(name)
            );
            return Err(Error::new(Code::ParseArguments, text));
        }
        field.unnormalized |= field.sortable && field.never_normalized(source);
        Ok(field)
    }

    /// Whether values of this kind of field have no other form to be sorted by.
    fn never_normalized(&self, source: Source) -> bool {
        let by_kind = match &self.kind {
            Kind::Numeric => true,
            Kind::Tag(tag) => tag.case_sensitive,
            Kind::Text(_) | Kind::Geo | Kind::GeoShape(_) | Kind::Vector(_) => false,
        };
        by_kind || source == Source::Json
    }

    fn read_kind_option(&mut self, arguments: &mut Arguments<'_>) -> Result<bool, Error> {
        if arguments.skip("INDEXMISSING") {
            self.index_missing = true;
            return Ok(true);
        }
        if matches!(self.kind, Kind::Text(_) | Kind::Tag(_)) && arguments.skip("INDEXEMPTY") {
            self.index_empty = true;
            return Ok(true);
        }
        match &mut self.kind {
            Kind::Text(text) => text.read_option(arguments),
            Kind::Tag(tag) => tag.read_option(arguments),
            Kind::Numeric | Kind::Geo | Kind::GeoShape(_) | Kind::Vector(_) => Ok(false),
        }
    }

    fn read_common_option(&mut self, arguments: &mut Arguments<'_>) -> bool {
        if arguments.skip("SORTABLE") {
            self.sortable = true;
            self.unnormalized |= arguments.skip("UNF");
        } else if arguments.skip("NOINDEX") {
            self.no_index = true;
        } else {
            return false;
        }
        true
    }
}

impl Kind {
    fn read(source: Source, name: &[u8], arguments: &mut Arguments<'_>) -> Result<Kind, Error> {
        let Some(word) = arguments.next() else {
            let text = format!("Field `{}` does not have a type", shown(name));
            return Err(Error::new(Code::ParseArguments, text));
        };
        Ok(match word.to_ascii_uppercase().as_slice() {
            b"TEXT" => Kind::Text(Text::default()),
            b"TAG" => Kind::Tag(Tag {
                separator: (source == Source::Hash).then_some(b','),
                case_sensitive: false,
                suffix_trie: false,
            }),
            b"NUMERIC" => Kind::Numeric,
            b"GEO" => Kind::Geo,
            b"GEOSHAPE" => {
                let flat = arguments.skip("FLAT");
                if !flat {
                    arguments.skip("SPHERICAL");
                }
                Kind::GeoShape(if flat { Coordinates::Flat } else { Coordinates::Spherical })
            }
            b"VECTOR" => Kind::Vector(Vector::read(arguments)?),
            _ => {
                let text = format!("Invalid field type for field `{}`", shown(name));
                return Err(Error::new(Code::ParseArguments, text));
            }
        })
    }
}

impl Default for Text {
    fn default() -> Self {
        Text { weight: 1.0, no_stem: false, phonetic: None, suffix_trie: false }
    }
}

impl Text {
    fn read_option(&mut self, arguments: &mut Arguments<'_>) -> Result<bool, Error> {
        if arguments.skip("NOSTEM") {
            self.no_stem = true;
        } else if arguments.skip("WITHSUFFIXTRIE") {
            self.suffix_trie = true;
        } else if arguments.skip("WEIGHT") {
            let weight = finite(arguments.value("weight")?);
            self.weight = weight.ok_or_else(|| bad("weight", MALFORMED))?;
        } else if arguments.skip("PHONETIC") {
            let word = arguments.value("PHONETIC")?;
            let found = Phonetic::ALL.into_iter().find(|p| arguments::is(word, p.name()));
            let text = "Matcher Format: <2 chars algorithm>:<2 chars language>. Support \
                        algorithms: double metaphone (dm). Supported languages: English (en), \
                        French (fr), Portuguese (pt) and Spanish (es)";
            self.phonetic = Some(found.ok_or_else(|| Error::new(Code::BadQuery, text))?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl Tag {
    fn read_option(&mut self, arguments: &mut Arguments<'_>) -> Result<bool, Error> {
        if arguments.skip("CASESENSITIVE") {
            self.case_sensitive = true;
        } else if arguments.skip("WITHSUFFIXTRIE") {
            self.suffix_trie = true;
        } else if arguments.skip("SEPARATOR") {
            let word = arguments.value("SEPARATOR")?;
            let &[separator] = word else {
                let text =
                    format!("Tag separator must be a single character. Got `{}`", shown(word));
                return Err(Error::new(Code::ParseArguments, text));
            };
            self.separator = Some(separator);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}
