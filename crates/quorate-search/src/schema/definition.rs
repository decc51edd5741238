//! The arguments of `FT.CREATE` and `FT.ALTER`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::field::{Field, Kind};
use super::{Schema, Source};
use crate::Language;
use crate::arguments::{self, Arguments, MALFORMED, OUTSIDE, bad, finite, is, shown};
use crate::error::{Code, Error};
use crate::expression::Expression;
use crate::limits;

impl Schema {
    /// The schema that the arguments of `FT.CREATE` behind the index's name describe.
    pub fn create(arguments: &[&[u8]]) -> Result<Schema, Error> {
        let mut arguments = Arguments::new(arguments);
        let mut schema = Schema::default();
        loop {
            let Some(word) = arguments.next() else {
                return Err(Error::new(Code::ParseArguments, "No schema found"));
            };
            if is(word, "SCHEMA") {
                break;
            }
            schema.read_option(word, &mut arguments)?;
        }
        if schema.options.max_text_fields && schema.options.no_fields {
            let text = "MAXTEXTFIELDS cannot be used with NOFIELDS";
            return Err(Error::new(Code::BadQuery, text));
        }
        schema.read_fields(&mut arguments)?;
        Ok(schema)
    }

    /// This schema with the fields that the arguments of `FT.ALTER` behind the index's name add.
    pub fn alter(&self, arguments: &[&[u8]]) -> Result<Schema, Error> {
        let mut arguments = Arguments::new(arguments);
        let mut schema = self.clone();
        schema.options.skip_initial_scan = arguments.skip("SKIPINITIALSCAN");
        if !arguments.skip("SCHEMA") {
            return Err(Error::new(Code::None, "ALTER must be followed by SCHEMA"));
        }
        if !arguments.skip("ADD") {
            return Err(Error::new(Code::None, "Unknown action passed to ALTER SCHEMA"));
        }
        schema.read_fields(&mut arguments)?;
        Ok(schema)
    }

    fn read_option(&mut self, word: &[u8], arguments: &mut Arguments<'_>) -> Result<(), Error> {
        if self.read_flag(word) {
            return Ok(());
        }
        match word.to_ascii_uppercase().as_slice() {
            b"ON" => self.source = source(arguments.value("ON")?)?,
            b"INDEXALL" => self.index_all = enabled(arguments.value("INDEXALL")?)?,
            b"PREFIX" => {
                self.prefixes = owned(arguments.list("PREFIX")?);
                if self.prefixes.is_empty() {
                    self.prefixes = vec![Vec::new()];
                }
            }
            b"FILTER" => {
                let filter = arguments.value("FILTER")?;
                Expression::parse(&shown(filter))?;
                self.filter = Some(filter.to_vec());
            }
            b"LANGUAGE" => {
                let language = Language::named(arguments.value("LANGUAGE")?);
                let refused = || Error::new(Code::AddArguments, "Invalid language");
                self.language = Some(language.ok_or_else(refused)?);
            }
            b"LANGUAGE_FIELD" => {
                self.language_field = Some(arguments.value("LANGUAGE_FIELD")?.to_vec());
            }
            b"SCORE" => {
                self.score = finite(arguments.value("SCORE")?)
                    .filter(|score| (0.0..=1.0).contains(score))
                    .ok_or_else(|| Error::new(Code::AddArguments, "Invalid score"))?;
            }
            b"SCORE_FIELD" => self.score_field = Some(arguments.value("SCORE_FIELD")?.to_vec()),
            b"PAYLOAD_FIELD" => {
                self.payload_field = Some(arguments.value("PAYLOAD_FIELD")?.to_vec());
            }
            b"TEMPORARY" => {
                let seconds: Option<i64> = arguments::number(arguments.value("TEMPORARY")?);
                let seconds = seconds.ok_or_else(|| bad("TEMPORARY", MALFORMED))?;
                let seconds = u64::try_from(seconds).map_err(|_| bad("TEMPORARY", OUTSIDE))?;
                self.temporary_seconds = Some(seconds);
            }
            b"STOPWORDS" => {
                let words = arguments.list("STOPWORDS")?.iter();
                let words = words.map(|word| String::from_utf8_lossy(word).to_lowercase());
                self.stop_words = Some(words.collect());
            }
            _ => {
                let text = format!("Unknown argument `{}`", shown(word));
                return Err(Error::new(Code::UnknownArgument, text));
            }
        }
        Ok(())
    }

    /// Whether the word is a flag, which then is set.
    fn read_flag(&mut self, word: &[u8]) -> bool {
        let options = &mut self.options;
        match word.to_ascii_uppercase().as_slice() {
            b"MAXTEXTFIELDS" => options.max_text_fields = true,
            b"NOOFFSETS" => {
                options.no_offsets = true;
                options.no_highlight = true;
            }
            b"NOHL" => options.no_highlight = true,
            b"NOFIELDS" => options.no_fields = true,
            b"NOFREQS" => options.no_frequencies = true,
            b"SKIPINITIALSCAN" => options.skip_initial_scan = true,
            // What they asked older releases for always holds.
            b"ASYNC" | b"NOSCOREIDX" => {}
            _ => return false,
        }
        true
    }

    fn read_fields(&mut self, arguments: &mut Arguments<'_>) -> Result<(), Error> {
        if arguments.is_empty() {
            return Err(Error::new(Code::ParseArguments, "Fields arguments are missing"));
        }
        while !arguments.is_empty() {
            let field = Field::read(self.source, arguments)?;
            if self.field(&field.name).is_some() {
                let text = format!("Duplicate field in schema - {}", shown(&field.name));
                return Err(Error::new(Code::BadQuery, text));
            }
            self.fields.push(field);
            self.check_limits()?;
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Error> {
        let refused = |bound: usize, what: &str| {
            let text = format!("Schema is limited to {bound} {what}");
            Err(Error::new(Code::BadQuery, text))
        };
        if self.fields.len() > limits::FIELDS {
            return refused(limits::FIELDS, "fields");
        }
        let texts = self.fields.iter().filter(|field| matches!(field.kind, Kind::Text(_)));
        if texts.count() > limits::TEXT_FIELDS {
            return refused(limits::TEXT_FIELDS, "TEXT fields");
        }
        Ok(())
    }
}

fn source(word: &[u8]) -> Result<Source, Error> {
    if is(word, "HASH") {
        Ok(Source::Hash)
    } else if is(word, "JSON") {
        Ok(Source::Json)
    } else {
        let text = format!("Invalid rule type: {}", shown(word));
        Err(Error::new(Code::AddArguments, text))
    }
}

fn enabled(word: &[u8]) -> Result<bool, Error> {
    if is(word, "ENABLE") {
        Ok(true)
    } else if is(word, "DISABLE") {
        Ok(false)
    } else {
        let text = format!("Invalid argument for INDEXALL: `{}`, use ENABLE/DISABLE", shown(word));
        Err(Error::new(Code::ParseArguments, text))
    }
}

fn owned(list: &[&[u8]]) -> Vec<Vec<u8>> {
    list.iter().map(|item| item.to_vec()).collect()
}
