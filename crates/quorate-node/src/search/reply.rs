//! Replies in RediSearch's shapes.

use bytes::Bytes;
use quorate_proto::resp::ReplyWriter;
use quorate_search::execution::{Correction, Explanation, Hit};

use super::{pieces::shown, query::Query};

/// A document of a reply.
pub(super) struct Row {
    pub(super) hit: Hit,
    pub(super) payload: Option<Bytes>,
    /// Names and values; none if only keys are asked for.
    pub(super) fields: Option<Vec<(Bytes, Bytes)>>,
}

/// The reply to `FT.SEARCH`.
/// How many there are comes with whether that, and what follows, is only a part.
pub(super) fn found(
    writer: &mut ReplyWriter<'_>,
    query: &Query,
    (total, in_part): (u64, bool),
    rows: &[Row],
) {
    if writer.is_resp3() {
        found_map(writer, query, total, rows);
        return write_warning(writer, in_part);
    }
    let extra = [query.with_scores, query.with_payloads, query.with_sort_keys];
    let each = 1 + extra.iter().filter(|wanted| **wanted).count() + usize::from(!query.no_content);
    writer.array(1 + rows.len() * each);
    writer.integer(total as i64);
    for row in rows {
        writer.bulk(&row.hit.key);
        if query.with_scores {
            write_score(writer, &row.hit);
        }
        if query.with_payloads {
            writer.optional(row.payload.as_deref());
        }
        if query.with_sort_keys {
            write_sort_key(writer, &row.hit);
        }
        if let Some(fields) = &row.fields {
            writer.array(2 * fields.len());
            for (name, value) in fields {
                writer.bulk(name);
                writer.bulk(value);
            }
        }
    }
}

fn found_map(writer: &mut ReplyWriter<'_>, query: &Query, total: u64, rows: &[Row]) {
    writer.map(5);
    writer.simple("attributes");
    writer.array(0);
    writer.simple("format");
    writer.simple(if query.expand { "EXPAND" } else { "STRING" });
    writer.simple("results");
    writer.array(rows.len());
    let extra = [query.with_scores, query.with_payloads, query.with_sort_keys];
    let extra = extra.iter().filter(|wanted| **wanted).count();
    for row in rows {
        writer.map(2 + extra + usize::from(row.fields.is_some()));
        writer.simple("id");
        writer.bulk(&row.hit.key);
        if query.with_scores {
            writer.simple("score");
            write_score(writer, &row.hit);
        }
        if query.with_payloads {
            writer.simple("payload");
            writer.optional(row.payload.as_deref());
        }
        if query.with_sort_keys {
            writer.simple("sortkey");
            write_sort_key(writer, &row.hit);
        }
        if let Some(fields) = &row.fields {
            writer.simple("extra_attributes");
            writer.map(fields.len());
            for (name, value) in fields {
                writer.bulk(name);
                match query.expand.then(|| serde_json::from_slice(value)) {
                    Some(Ok(value)) => write_json(writer, &value),
                    Some(Err(_)) | None => writer.bulk(value),
                }
            }
        }
        writer.simple("values");
        writer.array(0);
    }
    writer.simple("total_results");
    writer.integer(total as i64);
}

/// What is said of an answer that is only a part.
pub(super) fn write_warning(writer: &mut ReplyWriter<'_>, in_part: bool) {
    writer.simple("warning");
    writer.array(usize::from(in_part));
    if in_part {
        writer.simple("Timeout limit was reached");
    }
}

/// A value of JSON as values of RESP3.
fn write_json(writer: &mut ReplyWriter<'_>, value: &serde_json::Value) {
    match value {
        serde_json::Value::Null => writer.null(),
        serde_json::Value::Bool(is_true) => writer.boolean(*is_true),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => writer.integer(whole),
            (None, number) => writer.double(number.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => writer.text(text),
        serde_json::Value::Array(items) => {
            writer.array(items.len());
            items.iter().for_each(|item| write_json(writer, item));
        }
        serde_json::Value::Object(members) => {
            writer.map(members.len());
            for (name, value) in members {
                writer.text(name);
                write_json(writer, value);
            }
        }
    }
}

/// The reply to `FT.REGEX`, like one to `FT.SEARCH` that asks for keys.
pub(super) fn found_keys(
    writer: &mut ReplyWriter<'_>,
    (total, in_part): (u64, bool),
    keys: &[&[u8]],
) {
    if !writer.is_resp3() {
        writer.array(1 + keys.len());
        writer.integer(total as i64);
        return keys.iter().for_each(|key| writer.bulk(key));
    }
    writer.map(5);
    writer.simple("attributes");
    writer.array(0);
    writer.simple("format");
    writer.simple("STRING");
    writer.simple("results");
    writer.array(keys.len());
    for key in keys {
        writer.map(2);
        writer.simple("id");
        writer.bulk(key);
        writer.simple("values");
        writer.array(0);
    }
    writer.simple("total_results");
    writer.integer(total as i64);
    write_warning(writer, in_part);
}

fn write_score(writer: &mut ReplyWriter<'_>, hit: &Hit) {
    match &hit.explanation {
        Some(explanation) => {
            writer.array(2);
            writer.double(hit.score);
            write_explanation(writer, explanation);
        }
        None => writer.double(hit.score),
    }
}

fn write_explanation(writer: &mut ReplyWriter<'_>, explanation: &Explanation) {
    if explanation.children.is_empty() {
        return writer.simple(&explanation.text);
    }
    writer.array(2);
    writer.simple(&explanation.text);
    writer.array(explanation.children.len());
    explanation.children.iter().for_each(|child| write_explanation(writer, child));
}

fn write_sort_key(writer: &mut ReplyWriter<'_>, hit: &Hit) {
    let value = hit.sorted_by.as_ref().and_then(|sorted_by| sorted_by.value.as_ref());
    match value {
        Some(value) => writer.text(&shown(value)),
        None => writer.null(),
    }
}

/// The reply to `FT.PROFILE`: what the command answers, and how it came about.
pub(super) fn profiled(writer: &mut ReplyWriter<'_>, results: impl FnOnce(&mut ReplyWriter<'_>)) {
    if writer.is_resp3() {
        writer.map(2);
        writer.simple("Results");
        results(writer);
        writer.simple("Profile");
    } else {
        writer.array(2);
        results(writer);
    }
    writer.map(2);
    writer.simple("Shards");
    writer.array(0);
    writer.simple("Coordinator");
    writer.map(0);
}

/// The reply to `FT.SPELLCHECK`.
pub(super) fn corrections(writer: &mut ReplyWriter<'_>, corrections: &[Correction]) {
    if writer.is_resp3() {
        writer.map(1);
        writer.simple("results");
        writer.map(corrections.len());
        for correction in corrections {
            writer.text(&correction.word);
            writer.array(correction.suggestions.len());
            for suggested in &correction.suggestions {
                writer.map(1);
                writer.text(&suggested.word);
                writer.double(suggested.score);
            }
        }
        return;
    }
    writer.array(corrections.len());
    for correction in corrections {
        writer.array(3);
        writer.simple("TERM");
        writer.text(&correction.word);
        writer.array(correction.suggestions.len());
        for suggested in &correction.suggestions {
            writer.array(2);
            writer.double(suggested.score);
            writer.text(&suggested.word);
        }
    }
}
