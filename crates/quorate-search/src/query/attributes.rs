//! `=>{ $name: value; ... }`

use alloc::format;

use super::node::{Kind, Node};
use super::parser::Parser;
use super::token::Kind as Sign;
use crate::arguments::{self, finite};
use crate::error::{Code, Error};

impl Parser<'_> {
    pub(super) fn attributes(&mut self, node: &mut Node) -> Result<(), Error> {
        self.expect(Sign::Arrow)?;
        self.expect(Sign::BraceOpen)?;
        loop {
            while self.skip(Sign::Semicolon) {}
            if self.skip(Sign::BraceClose) {
                return Ok(());
            }
            let name = self.expect(Sign::Attribute)?.text;
            self.expect(Sign::Colon)?;
            let value = self.option_value()?;
            self.set_attribute(node, name, &value)?;
            if !matches!(self.peek().kind, Sign::Semicolon | Sign::BraceClose) {
                return Err(self.unexpected());
            }
        }
    }

    fn set_attribute(&self, node: &mut Node, name: &str, value: &str) -> Result<(), Error> {
        let refused = || {
            let text = format!("Invalid value ({value}) for `{name}`");
            Error::new(Code::BadQuery, text)
        };
        let attributes = &mut node.attributes;
        match name.to_ascii_lowercase().as_str() {
            "weight" => {
                let weight = finite(value.as_bytes()).filter(|&weight| weight >= 0.0);
                attributes.weight = weight.ok_or_else(refused)?;
            }
            "slop" => {
                let slop: i64 = arguments::number(value.as_bytes()).ok_or_else(refused)?;
                attributes.slop = match slop {
                    -1 => None,
                    _ => Some(u32::try_from(slop).map_err(|_| refused())?),
                };
            }
            "inorder" => attributes.in_order = Some(truth(value).ok_or_else(refused)?),
            "phonetic" => attributes.phonetic = Some(truth(value).ok_or_else(refused)?),
            _ => match &mut node.kind {
                Kind::Nearest { vector, .. } | Kind::Within { vector, .. } if name != "as" => {
                    self.set(vector, name, value)?;
                }
                _ => {
                    return Err(Error::new(Code::BadQuery, format!("Invalid attribute {name}")));
                }
            },
        }
        Ok(())
    }
}

fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
