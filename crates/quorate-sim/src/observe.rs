//! Watching a schedule: which faults, messages, outcomes and branches were met, and a trace for a
//! reader.
//!
//! The nodes' own log lines are the branches: they stand where something worth telling happens, so
//! nothing has to be added to the code that is watched.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Once,
};

use bytes::BytesMut;
use quorate_proto::frame::{self, Decoder, Frame};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use crate::{
    fault::Fault,
    history::{Operation, Outcome, Time},
    machine,
};

/// How often each thing was met, by what kind of thing it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(pub BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Coverage {
    fn count(&mut self, kind: &'static str, what: String) {
        *self.0.entry(kind).or_default().entry(what).or_default() += 1;
    }

    /// Adds what another schedule has met.
    pub fn add(&mut self, other: &Self) {
        for (kind, things) in &other.0 {
            for (thing, count) in things {
                *self.0.entry(kind).or_default().entry(thing.clone()).or_default() += count;
            }
        }
    }
}

/// What the observer of this thread has seen. There is one for each thread, because log lines come
/// without a way to say which world they belong to.
#[derive(Default)]
struct Seen {
    coverage: Option<Coverage>,
    trace: Option<Vec<String>>,
    now: Time,
    node: Option<usize>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// Watches one schedule on this thread.
#[derive(Debug)]
pub struct Observer {
    attention: Attention,
    active: bool,
}

/// How much is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Nothing, which is fastest.
    None,
    /// What was met.
    Coverage,
    /// Everything that happens, line by line, too.
    Trace,
}

impl Observer {
    /// An observer of the schedule that begins on this thread.
    pub fn new(attention: Attention) -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            // Fails only if the program around has one already; then there is no coverage.
            let _ = tracing::subscriber::set_global_default(Lines);
        });
        SEEN.set(Seen {
            coverage: (attention != Attention::None).then(Coverage::default),
            trace: (attention == Attention::Trace).then(Vec::new),
            ..Seen::default()
        });
        Self { attention, active: attention != Attention::None }
    }

    /// How much it watches.
    pub fn attention(&self) -> Attention {
        self.attention
    }

    /// What follows happens now, at this node.
    pub fn at(&self, now: Time, node: usize) {
        if self.active {
            SEEN.with_borrow_mut(|seen| (seen.now, seen.node) = (now, Some(node)));
        }
    }

    /// Something that a reader of the trace wants to know.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.active {
            SEEN.with_borrow_mut(|seen| seen.line(&text()));
        }
    }

    /// A node sends these bytes.
    pub fn sent(&self, bytes: &[u8]) {
        if !self.active {
            return;
        }
        let (mut rest, mut decoder) = (BytesMut::from(bytes), Decoder::default());
        SEEN.with_borrow_mut(|seen| {
            while let Ok(Some(length)) = frame::length(&rest)
                && length <= rest.len()
            {
                let mut whole = rest.split_to(length);
                if frame::is_of_pieces(&whole) {
                    seen.line(&format!("sends {length} bytes of messages in pieces"));
                    seen.count("message", "Pieces".into());
                    continue;
                }
                while let Ok(Some(frame)) = decoder.decode(&mut whole) {
                    seen.message(&frame);
                }
            }
        });
    }

    /// A fault begins.
    pub fn fault(&self, now: Time, fault: &Fault) {
        self.about(now, || format!("FAULT {fault:?}"));
        if self.active {
            let text = format!("{fault:?}");
            let name = text.split([' ', '{']).next().unwrap_or_default().to_owned();
            SEEN.with_borrow_mut(|seen| seen.count("fault", name));
        }
    }

    /// A fault ends.
    pub fn fault_ends(&self, now: Time, fault: &Fault) {
        self.about(now, || format!("ENDS  {fault:?}"));
    }

    /// Every fault has ended.
    pub fn healed(&self, now: Time) {
        self.about(now, || "HEALED".into());
    }

    /// An operation has ended.
    pub fn operation(&self, operation: &Operation) {
        if !self.active {
            return;
        }
        let outcome = match &operation.outcome {
            Outcome::Ok(_) => "ok".to_owned(),
            Outcome::Failed(text) | Outcome::Unknown(text) => {
                let kind = if operation.is_failed() { "failed" } else { "unknown" };
                let words: Vec<&str> = text.split(' ').take(2).collect();
                format!("{kind}: {}", words.join(" "))
            }
        };
        SEEN.with_borrow_mut(|seen| seen.count("outcome", outcome));
        self.about(operation.end, || operation.describe());
    }

    fn about(&self, now: Time, text: impl FnOnce() -> String) {
        if self.active {
            SEEN.with_borrow_mut(|seen| {
                (seen.now, seen.node) = (now, None);
                seen.line(&text());
            });
        }
    }
}

/// What was met by the schedule that ran last on this thread, and its trace.
pub fn seen() -> (Coverage, Vec<String>) {
    let seen = SEEN.take();
    (seen.coverage.unwrap_or_default(), seen.trace.unwrap_or_default())
}

impl Seen {
    /// A message is sent.
    fn message(&mut self, frame: &Frame) {
        let text = format!("{:?}", frame.message);
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        let name = text[..end].to_owned();
        if !name.starts_with("Heartbeat") {
            let short: String = text.chars().take(160).collect();
            self.line(&format!("sends {short} #{:x}", frame.correlation));
        }
        self.count("message", name);
    }

    fn line(&mut self, text: &str) {
        let (now, node) = (self.now as f64 / 1e3, self.node);
        if let Some(trace) = &mut self.trace {
            let who = node.map(machine::name).unwrap_or_default();
            trace.push(format!("{now:10.3} {who:>3}  {text}"));
        }
    }

    fn count(&mut self, kind: &'static str, what: String) {
        if let Some(coverage) = &mut self.coverage {
            coverage.count(kind, what);
        }
    }
}

/// Takes the log lines of the nodes.
struct Lines;

impl Subscriber for Lines {
    /// Asked each time: a line that is first met by a schedule that nobody watches must not be
    /// taken for uninteresting for ever.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        SEEN.with_borrow(|seen| seen.coverage.is_some())
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let file = metadata.file().unwrap_or_default();
        let file = file.rsplit("/src/").next().unwrap_or(file);
        let place = format!("{file}:{}", metadata.line().unwrap_or_default());
        let mut text = Text::default();
        event.record(&mut text);
        SEEN.with_borrow_mut(|seen| {
            seen.count("branch", format!("{place} {}", text.message));
            seen.line(&format!("{} {}{}", metadata.level(), text.message, text.fields));
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }
}
