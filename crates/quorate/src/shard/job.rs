//! Commands that become several: keys spread over slots, and commands over the whole keyspace.
//!
//! A job runs in steps. Each step is a list of commands on single slots; when all their replies are
//! there the job decides what follows: another step, or the reply to the client. It is a plain
//! value: it routes nothing and waits for nothing.

use bytes::Bytes;
use quorate_cluster::time::Instant;
use quorate_proto::{
    Level, Slot,
    command::Class,
    resp::{Command, reply},
};

use super::Errand;

/// One command on one slot.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) slot: Slot,
    pub(crate) class: Class,
    pub(crate) command: Command,
}

/// What a job wants next.
pub(crate) enum Step {
    /// Run these; come back with the replies in the same order.
    Run(Vec<Piece>),
    /// The encoded reply.
    Done(Vec<u8>),
}

/// Decides how a job goes on, given the replies to the pieces of its last step.
pub(crate) trait Plan: Send + std::fmt::Debug {
    fn next(&mut self, replies: &[Bytes]) -> Step;
}

/// The terms on which the client asked: they hold for every piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) read_level: Level,
    pub(crate) write_level: Level,
    pub(crate) resp3: bool,
    pub(crate) deadline: Instant,
}

impl Terms {
    pub(crate) fn errand(self, slot: Slot, class: Class, command: Command) -> Errand {
        let Self { read_level, write_level, resp3, deadline } = self;
        Errand { slot, class, command, read_level, write_level, resp3, deadline }
    }
}

/// A job in progress: a plan and the replies to its current step.
#[derive(Debug)]
pub(crate) struct Job<W> {
    plan: Box<dyn Plan>,
    /// Who gets the reply.
    pub(crate) waiter: W,
    pub(crate) terms: Terms,
    replies: Vec<Bytes>,
    missing: usize,
}

impl<W> Job<W> {
    pub(crate) fn new(plan: Box<dyn Plan>, waiter: W, terms: Terms) -> Self {
        Self { plan, waiter, terms, replies: Vec::new(), missing: 0 }
    }

    /// Expects the replies to `count` pieces.
    pub(crate) fn expect(&mut self, count: usize) {
        self.replies.clear();
        self.replies.resize(count, Bytes::new());
        self.missing = count;
    }

    /// Takes the reply to one piece. Returns whether the step is complete.
    pub(crate) fn take(&mut self, piece: usize, reply: Bytes) -> bool {
        self.replies[piece] = reply;
        self.missing -= 1;
        self.missing == 0
    }

    /// Continues after a complete step.
    pub(crate) fn next(&mut self) -> Step {
        let replies = std::mem::take(&mut self.replies);
        self.plan.next(&replies)
    }
}

/// The first error among replies.
pub(crate) fn first_error(replies: &[Bytes]) -> Option<&Bytes> {
    replies.iter().find(|reply| reply.first() == Some(&b'-'))
}

/// The number in an integer reply.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a reply is a null of either protocol.
pub(crate) fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
}

/// The encoded elements of an array or set reply.
pub(crate) fn elements(mut encoded: &[u8]) -> Vec<&[u8]> {
    let Some(end) = memchr_newline(encoded) else { return Vec::new() };
    encoded = &encoded[end..];
    let mut elements = Vec::new();
    while let Ok(Some(length)) = reply::skip(encoded) {
        let (element, rest) = encoded.split_at(length);
        elements.push(element);
        encoded = rest;
    }
    elements
}

/// The contents of a bulk string reply.
pub(crate) fn bulk(encoded: &[u8]) -> Option<&[u8]> {
    if encoded.first() != Some(&b'$') || is_null(encoded) {
        return None;
    }
    let start = memchr_newline(encoded)?;
    encoded[start..].strip_suffix(b"\r\n")
}

fn memchr_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1)
}
