//! Rows of `FT.AGGREGATE` and `FT.HYBRID` as they are answered.

use quorate_cluster::time::Instant;
use quorate_proto::resp::ReplyWriter;
use quorate_search::{
    aggregate::{Answer, CursorOptions},
    cursors::Part,
    expression::Value,
};

/// The end of a query: rows, of which a client may read the rest later.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The index.
    pub(crate) index: Vec<u8>,
    pub(crate) answer: Answer,
    /// None: all are answered at once.
    pub(crate) cursor: Option<CursorOptions>,
    pub(crate) style: Style,
}

/// How rows are answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) resp3: bool,
    pub(crate) shape: Shape,
    /// Whether it is the answer to `FT.PROFILE`.
    pub(crate) profiled: bool,
    /// Whether the time was not enough for all rows.
    pub(crate) in_part: bool,
}

/// The command whose answer it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// `FT.AGGREGATE`
    Aggregate,
    /// `FT.HYBRID`, which has begun then.
    Hybrid(Instant),
}

/// The reply to a query or to a read of a cursor.
pub(crate) fn write_part(now: Instant, part: &Part, has_cursor: bool, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ReplyWriter::new(&mut out, style.resp3);
    if style.profiled {
        super::reply::profiled(&mut writer, |writer| write(now, writer, part, has_cursor, style));
    } else {
        write(now, &mut writer, part, has_cursor, style);
    }
    out
}

fn write(now: Instant, writer: &mut ReplyWriter<'_>, part: &Part, has_cursor: bool, style: Style) {
    if has_cursor {
        writer.array(2);
    }
    match style.shape {
        Shape::Aggregate => write_aggregated(writer, &part.answer, style.in_part),
        Shape::Hybrid(begun) => {
            let seconds = now.since(begun).as_secs_f64();
            write_hybrid(writer, &part.answer, seconds, style.in_part);
        }
    }
    if has_cursor {
        writer.integer(part.cursor as i64);
    }
}

fn write_aggregated(writer: &mut ReplyWriter<'_>, answer: &Answer, in_part: bool) {
    if !writer.is_resp3() {
        writer.array(1 + answer.rows.len());
        writer.integer(answer.total as i64);
        return answer.rows.iter().for_each(|row| write_fields(writer, row));
    }
    writer.map(5);
    writer.simple("attributes");
    writer.array(0);
    writer.simple("format");
    writer.simple("STRING");
    writer.simple("results");
    writer.array(answer.rows.len());
    for row in &answer.rows {
        writer.map(2);
        writer.simple("extra_attributes");
        write_fields(writer, row);
        writer.simple("values");
        writer.array(0);
    }
    writer.simple("total_results");
    writer.integer(answer.total as i64);
    super::reply::write_warning(writer, in_part);
}

fn write_hybrid(writer: &mut ReplyWriter<'_>, answer: &Answer, seconds: f64, in_part: bool) {
    writer.map(4);
    writer.simple("total_results");
    writer.integer(answer.total as i64);
    writer.simple("results");
    writer.array(answer.rows.len());
    answer.rows.iter().for_each(|row| write_fields(writer, row));
    writer.simple("warnings");
    writer.array(usize::from(in_part));
    if in_part {
        writer.simple("Timeout limit was reached");
    }
    writer.simple("execution_time");
    writer.double(seconds * 1e3);
}

fn write_fields(writer: &mut ReplyWriter<'_>, row: &quorate_search::aggregate::Row) {
    let fields = row.fields();
    writer.map(fields.len());
    for (name, value) in fields {
        writer.text(name);
        write_value(writer, value);
    }
}

fn write_value(writer: &mut ReplyWriter<'_>, value: &Value) {
    match value {
        Value::List(values) => {
            writer.array(values.len());
            values.iter().for_each(|value| write_value(writer, value));
        }
        _ => writer.optional(value.text().as_ref().map(String::as_bytes)),
    }
}
