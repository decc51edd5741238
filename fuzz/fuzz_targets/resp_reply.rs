//! A server's bytes: measured as a naive reader measures them, decoded without a panic.
//!
//! What holds for every input:
//! * [`skip`] agrees with the recursive reader below on length, incompleteness and malformation;
//! * what is whole is whole only with its last byte;
//! * a decoded value has the measured length, and written again it decodes to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_proto::{
    limits::REPLY_DEPTH_MAX,
    resp::{
        ReplyWriter,
        reply::{Value, skip},
    },
};

/// Cuts tried of one reply.
const CUTS_MAX: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut position = 0;
    let expected = match measure(bytes, &mut position, 0) {
        Ok(()) => Ok(Some(position)),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed) => Err(()),
    };
    let measured = skip(bytes);
    assert_eq!(measured.map_err(|_| ()), expected);

    let Ok(Some(length)) = measured else { return };
    for cut in (0..length).step_by(length.div_ceil(CUTS_MAX)).chain([length - 1]) {
        assert_eq!(skip(&bytes[..cut]), Ok(None), "cut at {cut} of {length}");
    }
    if let Ok(decoded) = Value::decode(bytes) {
        let (value, decoded_length) = decoded.expect("whole");
        assert_eq!(decoded_length, length);
        check_writing(&value);
    }
});

/// Why there is no whole reply.
enum Stop {
    Incomplete,
    Malformed,
}

/// Moves `position` behind one whole reply, which `depth` others enclose.
fn measure(input: &[u8], position: &mut usize, depth: usize) -> Result<(), Stop> {
    // Every turn but the last is an attribute in front of the reply.
    loop {
        let rest = &input[*position..];
        let end = rest.iter().position(|&byte| byte == b'\r').ok_or(Stop::Incomplete)?;
        if rest.len() < end + 2 || end == 0 {
            return Err(if rest.len() < end + 2 { Stop::Incomplete } else { Stop::Malformed });
        }
        let (kind, line) = (rest[0], &rest[1..end]);
        *position += end + 2;
        let children = match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => 0,
            b'$' | b'!' | b'=' => {
                if let Some(length) = count(line)? {
                    if length > input.len() || input.len() - *position < length + 2 {
                        return Err(Stop::Incomplete);
                    }
                    *position += length + 2;
                }
                0
            }
            b'*' | b'~' | b'>' => count(line)?.unwrap_or(0),
            b'%' | b'|' => 2 * count(line)?.unwrap_or(0),
            _ => return Err(Stop::Malformed),
        };
        if children > 0 && depth == REPLY_DEPTH_MAX {
            return Err(Stop::Malformed);
        }
        for _ in 0..children {
            measure(input, position, depth + 1)?;
        }
        let nothing = line == b"-1";
        if kind != b'|' || nothing {
            return Ok(());
        }
    }
}

/// A length or count in canonical decimal; `None` when it says that there is nothing.
fn count(line: &[u8]) -> Result<Option<usize>, Stop> {
    let text = std::str::from_utf8(line).map_err(|_| Stop::Malformed)?;
    let number: i64 = text.parse().map_err(|_| Stop::Malformed)?;
    if number.to_string() != text || number < -1 {
        return Err(Stop::Malformed);
    }
    Ok(usize::try_from(number).ok())
}

fn check_writing(value: &Value) {
    let mut written = Vec::new();
    write(value, &mut written);
    let (again, length) = Value::decode(&written).expect("valid").expect("whole");
    assert_eq!(length, written.len());
    // Not a number is no number's equal, but prints like it.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    let _ = value.to_text();
}

fn write(value: &Value, out: &mut Vec<u8>) {
    let mut writer = ReplyWriter::new(out, true);
    match value {
        Value::Nil => writer.null(),
        Value::Integer(number) => writer.integer(*number),
        Value::Bulk(bytes) => writer.bulk(bytes),
        Value::Double(number) => writer.double(*number),
        Value::Boolean(truth) => writer.boolean(*truth),
        // Written as a line by hand: these may hold a line feed, which the writer takes out.
        Value::Simple(text) | Value::BigNumber(text) => {
            let kind = if matches!(value, Value::Simple(_)) { '+' } else { '(' };
            writer.raw(format!("{kind}{text}\r\n").as_bytes());
        }
        Value::Error(text) => writer.raw(format!("!{}\r\n{text}\r\n", text.len()).as_bytes()),
        Value::Array(values) => {
            writer.array(values.len());
            values.iter().for_each(|value| write(value, out));
        }
        Value::Set(values) => {
            writer.set(values.len());
            values.iter().for_each(|value| write(value, out));
        }
        Value::Map(pairs) => {
            writer.map(pairs.len());
            for (name, value) in pairs {
                write(name, out);
                write(value, out);
            }
        }
    }
}
