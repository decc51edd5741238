//! Values of documents as JSON texts.

use quorate_proto::limits::COUNTED_REPLY_LENGTH_MAX;

use super::{cell::Leaf, document::Node, number::Number};

/// What stands between the tokens of a text: nothing, unless a client asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Format<'a> {
    /// For each level, in front of a member or an item.
    pub(crate) indent: &'a [u8],
    /// Behind each line.
    pub(crate) newline: &'a [u8],
    /// Behind the colon of a member.
    pub(crate) space: &'a [u8],
}

/// A text that is being written.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    format: Format<'a>,
    out: Vec<u8>,
    /// Longest text. Nothing is added to one that would be longer.
    length_max: usize,
    is_too_long: bool,
    /// How many containers are open, and whether the last one has a value.
    level: usize,
    has_value: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(format: Format<'a>) -> Self {
        let length_max = COUNTED_REPLY_LENGTH_MAX;
        let (out, is_too_long) = (Vec::new(), false);
        Self { format, out, length_max, is_too_long, level: 0, has_value: false }
    }

    /// The text; `None` if it would be longer than a reply may be.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (!self.is_too_long).then_some(self.out)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.is_too_long |= self.out.len() + bytes.len() > self.length_max;
        if !self.is_too_long {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Begins an object (`{`) or an array (`[`).
    pub(crate) fn begin(&mut self, bracket: u8) {
        self.push(&[bracket]);
        self.level += 1;
        self.has_value = false;
    }

    /// Ends it.
    pub(crate) fn end(&mut self, bracket: u8) {
        self.level -= 1;
        if self.has_value {
            self.line();
        }
        self.push(&[bracket]);
        self.has_value = true;
    }

    fn line(&mut self) {
        self.push(self.format.newline);
        (0..self.level).for_each(|_| self.push(self.format.indent));
    }

    /// Comes before each item.
    pub(crate) fn item(&mut self) {
        if self.has_value {
            self.push(b",");
        }
        self.line();
        self.has_value = true;
    }

    /// Comes before each member.
    pub(crate) fn key(&mut self, key: &str) {
        self.item();
        push_text(&mut self.out, key);
        self.push(b":");
        self.push(self.format.space);
    }

    /// A value of a document.
    pub(crate) fn value(&mut self, node: Node<'_>) {
        match node.leaf() {
            _ if self.is_too_long => {}
            Leaf::Object => {
                self.begin(b'{');
                for (key, member) in node.members() {
                    self.key(key);
                    self.value(member);
                }
                self.end(b'}');
            }
            Leaf::Array => {
                self.begin(b'[');
                for item in node.items() {
                    self.item();
                    self.value(item);
                }
                self.end(b']');
            }
            scalar => {
                push_scalar(&mut self.out, scalar);
                self.is_too_long |= self.out.len() > self.length_max;
            }
        }
    }
}

/// The shortest text of a value, however long.
pub(crate) fn text_of(node: Node<'_>) -> Vec<u8> {
    let mut writer = Writer { length_max: usize::MAX, ..Writer::new(Format::default()) };
    writer.value(node);
    writer.out
}

/// The text of a number.
pub(crate) fn number_text(number: Number) -> String {
    match number {
        Number::Integer(value) => value.to_string(),
        Number::Unsigned(value) => value.to_string(),
        Number::Double(value) => double_text(value),
    }
}

/// The shortest digits of a double, with an exponent below 1e-5 and from 1e16 on.
fn double_text(value: f64) -> String {
    let exponential = format!("{value:e}");
    let exponent = exponential.split_once('e').and_then(|(_, exponent)| exponent.parse().ok());
    match exponent {
        Some(-5..16) if value.fract() == 0.0 => format!("{value:.1}"),
        Some(-5..16) => value.to_string(),
        _ => exponential,
    }
}

fn push_scalar(out: &mut Vec<u8>, leaf: Leaf<'_>) {
    match leaf {
        Leaf::Null => out.extend_from_slice(b"null"),
        Leaf::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Leaf::Number(number) => out.extend_from_slice(number_text(number).as_bytes()),
        Leaf::Text(text) => push_text(out, text),
        Leaf::Object | Leaf::Array => {}
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("invariant: memory takes every text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_redisjson_writes_them() {
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e16"),
            (1.8446744073709552e19, "1.8446744073709552e19"),
            (0.00001, "0.00001"),
            (1.5e-7, "1.5e-7"),
            (1e300, "1e300"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(double_text(value), expected);
        }
    }
}
