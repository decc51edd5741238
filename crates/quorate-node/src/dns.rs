//! Questions to a name service for records of services and texts, and the answers.
//!
//! The format is that of RFC 1035, with services as in RFC 2782: as much of it as one question and
//! its answer need.
//!
//! ```text
//! message  := id:u16 flags:u16 questions:u16 answers:u16 authorities:u16 additional:u16
//!             question answer*                              all integers big-endian
//! question := name kind:u16 class:u16
//! answer   := name kind:u16 class:u16 seconds:u32 length:u16 data
//! name     := (length:u8 label)* 0:u8, of which the end may be a place before it: 11 in two bits,
//!             offset in 14
//! text     := (length:u8 bytes)*      service := priority:u16 weight:u16 port:u16 name
//! ```

/// Bytes of a message at most: what fits behind the length that it has in a stream.
pub const MESSAGE_MAX: usize = u16::MAX as usize;

/// Bytes of a name at most, as it is written in a message.
pub const NAME_MAX: usize = 255;

const HEADER: usize = 12;
const LABEL_MAX: usize = 63;
const POINTER: u8 = 0xc0;
const CLASS_INTERNET: u16 = 1;
const FLAG_ANSWER: u16 = 1 << 15;
const FLAG_TRUNCATED: u16 = 1 << 9;
const FLAG_RECURSION: u16 = 1 << 8;
const CODE: u16 = 15;
const NO_SUCH_NAME: u16 = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Texts.
    Text = 16,
    /// Where a service is.
    Service = 33,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A text, its pieces joined.
    Text(String),
    /// A place of a service.
    Service {
        /// The host.
        target: String,
        /// Its port.
        port: u16,
    },
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether there is more than fits: it is to be asked for over a stream.
    pub is_truncated: bool,
    /// The records of the kind that was asked for.
    pub records: Vec<Record>,
}

/// Why there is no question, or no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name cannot be asked for.
    #[error("not a name: labels of 1 to 63 bytes with dots between them, 253 bytes at most")]
    Name,
    /// The message answers something else, and may have been sent by somebody else.
    #[error("the message is no answer to the question")]
    Unasked,
    /// The message cannot be read.
    #[error("the answer is malformed")]
    Malformed,
    /// There is no such name.
    #[error("there is no such name")]
    NoSuchName,
    /// The name service does not answer.
    #[error("the name service refuses to answer: code {0}")]
    Refused(u16),
}

/// The question for the records of a whole name.
///
/// # Errors
/// That is no name.
pub fn question(id: u16, name: &str, kind: Kind) -> Result<Vec<u8>, DnsError> {
    let mut message = Vec::new();
    for word in [id, FLAG_RECURSION, 1, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if label.is_empty() || label.len() > LABEL_MAX {
            return Err(DnsError::Name);
        }
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    if message.len() > HEADER + NAME_MAX {
        return Err(DnsError::Name);
    }
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    Ok(message)
}

/// Reads the answer to a question.
///
/// # Errors
/// It is none, or says that there is none.
pub fn answer(question: &[u8], kind: Kind, message: &[u8]) -> Result<Answer, DnsError> {
    let mut reader = Reader { message, at: 0 };
    let header = || DnsError::Unasked;
    let id = reader.word().ok_or_else(header)?;
    let flags = reader.word().ok_or_else(header)?;
    let questions = reader.word().ok_or_else(header)?;
    let answers = reader.word().ok_or_else(header)?;
    reader.skip(4).ok_or_else(header)?;
    let asked = question.get(HEADER..).unwrap_or_default();
    let repeated = reader.take(asked.len()).ok_or_else(header)?;
    // Name services may change the case of letters.
    let is_mine = question.starts_with(&id.to_be_bytes()) && repeated.eq_ignore_ascii_case(asked);
    if !is_mine || flags & FLAG_ANSWER == 0 || questions != 1 {
        return Err(DnsError::Unasked);
    }
    match flags & CODE {
        0 => {}
        NO_SUCH_NAME => return Err(DnsError::NoSuchName),
        code => return Err(DnsError::Refused(code)),
    }
    let is_truncated = flags & FLAG_TRUNCATED != 0;
    let mut records = Vec::new();
    for _ in 0..answers {
        match reader.record(kind) {
            Some(record) => records.extend(record),
            None if is_truncated => break,
            None => return Err(DnsError::Malformed),
        }
    }
    Ok(Answer { is_truncated, records })
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// The next record, if it is of the kind; `None` when it cannot be read.
    fn record(&mut self, kind: Kind) -> Option<Option<Record>> {
        self.name()?;
        let (found, class) = (self.word()?, self.word()?);
        self.skip(4)?;
        let length = usize::from(self.word()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.message.len())?;
        if found != kind as u16 || class != CLASS_INTERNET {
            self.at = end;
            return Some(None);
        }
        let record = match kind {
            Kind::Text => self.text(end)?,
            Kind::Service => self.service()?,
        };
        (self.at == end).then_some(Some(record))
    }

    fn text(&mut self, end: usize) -> Option<Record> {
        let mut bytes = Vec::new();
        while self.at < end {
            let length = usize::from(*self.take(1)?.first()?);
            bytes.extend_from_slice(self.take(length)?);
        }
        Some(Record::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn service(&mut self) -> Option<Record> {
        self.skip(4)?;
        let port = self.word()?;
        Some(Record::Service { target: self.name()?, port })
    }

    /// A name, without the dot at its end. Every jump goes back, so there is an end to them.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut behind, mut least) = (self.at, None, self.at);
        loop {
            let length = *self.message.get(at)?;
            if length & POINTER == POINTER {
                let low = *self.message.get(at + 1)?;
                behind = behind.or(Some(at + 2));
                at = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                if at >= least {
                    return None;
                }
                least = at;
                continue;
            }
            if length == 0 {
                self.at = behind.unwrap_or(at + 1);
                return Some(name);
            }
            let label = self.message.get(at + 1..at + 1 + usize::from(length))?;
            let is_plain = label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
            if usize::from(length) > LABEL_MAX || !is_plain || name.len() + label.len() > NAME_MAX {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(*byte)));
            at += 1 + usize::from(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(question: &[u8], flags: u16, records: &[&[u8]]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&(FLAG_ANSWER | flags).to_be_bytes());
        message[7] = records.len() as u8;
        message.extend(records.iter().copied().flatten());
        message
    }

    /// Its name is that of the question.
    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let mut record = vec![0xc0, 12];
        record.extend_from_slice(&kind.to_be_bytes());
        record.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        record.extend_from_slice(data);
        record
    }

    #[test]
    fn a_question_is_written_as_the_standard_says() {
        let asked = question(0x1234, "_q._tcp.a.", Kind::Service).expect("a name");
        assert_eq!(
            asked,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02_q\x04_tcp\x01a\x00\x00\x21\x00\x01"
        );
        for name in ["", ".", "a..b", &"x".repeat(64), &["x".repeat(63).as_str(); 4].join(".")] {
            assert_eq!(question(1, name, Kind::Text), Err(DnsError::Name), "{name}");
        }
    }

    #[test]
    fn services_and_texts_are_read_and_others_passed_over() {
        let asked = question(7, "nodes.example", Kind::Service).expect("a name");
        // The host is `a` below the name that was asked for.
        let one = record(33, b"\x00\x01\x00\x02\x3f\xfb\x01a\xc0\x0c");
        let two = record(33, b"\x00\x01\x00\x02\x00\x01\x01b\x00");
        let alias = record(5, b"\x01c\x00");
        let message = answer_to(&asked, 0, &[&alias, &one, &two]);
        let service = |target: &str, port| Record::Service { target: target.into(), port };
        let expected = vec![service("a.nodes.example", 16379), service("b", 1)];
        let found = answer(&asked, Kind::Service, &message).expect("an answer");
        assert_eq!(found, Answer { is_truncated: false, records: expected });

        let asked = question(8, "Nodes.example", Kind::Text).expect("a name");
        let text = record(16, b"\x03a:1\x04 b:2");
        let mut message = answer_to(&asked, FLAG_TRUNCATED, &[&text, &text[..9]]);
        message[13] = b'n';
        let found = answer(&asked, Kind::Text, &message).expect("an answer");
        let expected = vec![Record::Text("a:1 b:2".to_string())];
        assert_eq!(found, Answer { is_truncated: true, records: expected });
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let asked = question(7, "a.b", Kind::Text).expect("a name");
        let reads = |message: &[u8]| answer(&asked, Kind::Text, message);
        let text = record(16, b"\x03a:1");
        let fine = answer_to(&asked, 0, &[&text]);
        assert!(reads(&fine).is_ok());
        for end in 0..asked.len() {
            assert_eq!(reads(&fine[..end]), Err(DnsError::Unasked), "{end} bytes");
        }
        for end in asked.len()..fine.len() {
            assert_eq!(reads(&fine[..end]), Err(DnsError::Malformed), "{end} bytes");
        }
        assert_eq!(reads(&asked), Err(DnsError::Unasked), "a question");
        let other = question(8, "a.b", Kind::Text).expect("a name");
        assert_eq!(reads(&answer_to(&other, 0, &[])), Err(DnsError::Unasked));
        let other = question(7, "a.c", Kind::Text).expect("a name");
        assert_eq!(reads(&answer_to(&other, 0, &[])), Err(DnsError::Unasked));
        assert_eq!(reads(&answer_to(&asked, 3, &[])), Err(DnsError::NoSuchName));
        assert_eq!(reads(&answer_to(&asked, 5, &[])), Err(DnsError::Refused(5)));
        for data in [&b"\x04a:1"[..], b"\x02a:1"] {
            let wrong = record(16, data);
            assert_eq!(reads(&answer_to(&asked, 0, &[&wrong])), Err(DnsError::Malformed));
        }
    }

    #[test]
    fn names_that_lead_to_themselves_have_an_end() {
        let asked = question(7, "a", Kind::Service).expect("a name");
        for name in [&b"\xc0\x20"[..], b"\xc0\xff", b"\x01x\xc0\x2d", b"\xff", b"\x01.\x00"] {
            let data = [b"\x00\x01\x00\x02\x00\x01", name].concat();
            let message = answer_to(&asked, 0, &[&record(33, &data)]);
            assert_eq!(answer(&asked, Kind::Service, &message), Err(DnsError::Malformed));
        }
    }
}
