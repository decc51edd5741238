//! Encoding replies for either version of the protocol.

use alloc::{string::ToString as _, vec::Vec};
use core::fmt;

use bytes::Bytes;

use super::{DECIMAL_MAX, format_double, put_decimal, quoted, write_decimal};

/// Writes replies to a buffer, as RESP2 or RESP3.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    whole: Option<Bytes>,
    resp3: bool,
}

impl<'a> ReplyWriter<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> Self {
        Self { out, whole: None, resp3 }
    }

    /// Whether replies are encoded for RESP3.
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; it must not contain line ends.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// An error. Its text begins with a code word such as `ERR`; line ends become spaces, and words
    /// that were [quoted](super::quoted()) are what they were.
    pub fn error(&mut self, text: impl fmt::Display) {
        self.out.push(b'-');
        let text = text.to_string();
        let text = quoted::bytes(&text);
        self.out.extend(text.map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.end();
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.out.extend_from_slice(b":0\r\n"),
            1 => self.out.extend_from_slice(b":1\r\n"),
            _ => {
                self.out.push(b':');
                if value < 0 {
                    self.out.push(b'-');
                }
                write_decimal(self.out, value.unsigned_abs());
                self.end();
            }
        }
    }

    /// A bulk string.
    pub fn bulk(&mut self, value: &[u8]) {
        self.header(b'$', value.len());
        self.out.extend_from_slice(value);
        self.end();
    }

    /// A whole reply that is encoded already. It is not copied: [`ReplyWriter::take_whole`] has it,
    /// instead of anything written.
    pub fn whole(&mut self, reply: Bytes) {
        self.whole = Some(reply);
    }

    /// The whole reply, if it was encoded already.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        self.whole.take()
    }

    /// A bulk string of text.
    pub fn text(&mut self, value: &str) {
        self.bulk(value.as_bytes());
    }

    /// A bulk string, or null.
    pub fn optional(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bulk(value),
            None => self.null(),
        }
    }

    /// No value.
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The head of an array of `length` replies.
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length);
    }

    /// The head of a map of `pairs` pairs; in RESP2 an array of twice as many.
    pub fn map(&mut self, pairs: usize) {
        if self.resp3 { self.header(b'%', pairs) } else { self.header(b'*', 2 * pairs) }
    }

    /// The head of a set of `length` replies; in RESP2 an array.
    pub fn set(&mut self, length: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, length);
    }

    /// A floating-point number; in RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        if self.resp3 {
            self.out.push(b',');
            self.out.extend_from_slice(text.as_bytes());
            self.end();
        } else {
            self.text(&text);
        }
    }

    /// A boolean; in RESP2 an integer.
    pub fn boolean(&mut self, value: bool) {
        if self.resp3 {
            self.out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.integer(i64::from(value));
        }
    }

    /// Text for people; in RESP2 a bulk string.
    pub fn verbatim(&mut self, text: &str) {
        if !self.resp3 {
            return self.text(text);
        }
        self.header(b'=', text.len() + 4);
        self.out.extend_from_slice(b"txt:");
        self.out.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// Bytes written, with those that were there before.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written behind a position.
    pub fn take_back(&mut self, position: usize) {
        self.out.truncate(position);
        self.whole = None;
    }

    /// Something encoded already.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    fn header(&mut self, kind: u8, length: usize) {
        let mut head = [0; 1 + DECIMAL_MAX + 2];
        let (digits, end) = head.split_at_mut(1 + DECIMAL_MAX);
        end.copy_from_slice(b"\r\n");
        let first = put_decimal(digits, length as u64) - 1;
        digits[first] = kind;
        self.out.extend_from_slice(&head[first..]);
    }

    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resp3: bool, write: impl Fn(&mut ReplyWriter<'_>)) -> alloc::string::String {
        let mut out = Vec::new();
        write(&mut ReplyWriter::new(&mut out, resp3));
        alloc::string::String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_reply_in_both_versions() {
        type Write = fn(&mut ReplyWriter<'_>);
        let cases: [(Write, &str, &str); 12] = [
            (|w| w.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|w| w.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|w| w.null(), "$-1\r\n", "_\r\n"),
            (|w| w.null_array(), "*-1\r\n", "_\r\n"),
            (|w| w.array(12), "*12\r\n", "*12\r\n"),
            (|w| w.map(2), "*4\r\n", "%2\r\n"),
            (|w| w.set(2), "*2\r\n", "~2\r\n"),
            (|w| w.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|w| w.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (|w| w.boolean(true), ":1\r\n", "#t\r\n"),
            (|w| w.verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|w| w.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(false, write), resp2);
            assert_eq!(written(true, write), resp3);
        }
    }
}
