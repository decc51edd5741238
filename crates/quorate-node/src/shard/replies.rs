//! Replies of one connection, in the order of its commands, whatever order they become known in.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{limits, reactor::Ready};

/// The replies of one connection.
#[derive(Debug)]
pub(crate) struct Replies {
    /// Encoded replies that may leave.
    pub(crate) ready: Ready,
    /// Replies behind one that is not known yet.
    waiting: VecDeque<Option<Bytes>>,
    /// Number of the first entry of `waiting`.
    first: u64,
    /// Entries of `waiting` that are not known yet, and the bytes of those that are.
    expected: usize,
    pub(super) held_bytes: usize,
    /// What is answered from now on is not sent.
    pub(super) muted: bool,
    /// Expected replies that are not to be sent.
    unwanted: Vec<ReplyNumber>,
    /// What an expected reply is taken to have, in bytes: the longest of late, forgotten gradually.
    likely_bytes: usize,
    /// The first reply that is a whole value, if one has been asked for; before it has come it is
    /// taken to be as long as all that may wait.
    first_whole: Option<ReplyNumber>,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            ready: Ready::default(),
            waiting: VecDeque::new(),
            first: 0,
            expected: 0,
            held_bytes: 0,
            muted: false,
            unwanted: Vec::new(),
            likely_bytes: limits::REPLY_BYTES_EXPECTED,
            first_whole: None,
        }
    }
}

/// Position of a reply in its connection's order.
pub(crate) type ReplyNumber = u64;

impl Replies {
    /// Replies not known yet, or waiting behind such a one.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Replies that are known and wait behind such a one.
    pub(super) fn held(&self) -> usize {
        self.waiting.len() - self.expected
    }

    /// Takes the next place in the order for a reply that comes later.
    pub(crate) fn expect(&mut self) -> ReplyNumber {
        self.waiting.push_back(None);
        self.expected += 1;
        let number = self.first + self.waiting.len() as u64 - 1;
        if self.muted {
            self.unwanted.push(number);
        }
        number
    }

    /// The same for all elements of a value, which may be very many.
    pub(super) fn expect_whole(&mut self) -> ReplyNumber {
        let number = self.expect();
        if self.first_whole.is_none() {
            self.first_whole = Some(number);
            self.likely_bytes = self.likely_bytes.max(limits::SESSION_OUTPUT_PAUSE);
        }
        number
    }

    /// Adds a reply that is known already, behind everything expected before.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.muted {
            write(&mut Vec::new());
        } else if self.waiting.is_empty() {
            write(self.ready.tail());
        } else {
            let mut reply = Vec::new();
            write(&mut reply);
            self.hold(reply.into());
        }
    }

    /// Adds a reply that is encoded already, like [`Replies::push`].
    pub(crate) fn push_whole(&mut self, reply: &Bytes) {
        if self.muted {
        } else if self.waiting.is_empty() {
            self.ready.push(reply);
        } else {
            self.hold(reply.clone());
        }
    }

    fn hold(&mut self, reply: Bytes) {
        self.held_bytes += reply.len();
        self.waiting.push_back(Some(reply));
    }

    /// Fills in an expected reply.
    pub(crate) fn fill(&mut self, number: ReplyNumber, reply: &Bytes) {
        assert!(self.expected > 0, "invariant: each expected reply is filled in once");
        self.expected -= 1;
        let nothing = Bytes::new();
        let unwanted = self.unwanted.iter().position(|unwanted| *unwanted == number);
        let reply = match unwanted {
            Some(at) => {
                self.unwanted.swap_remove(at);
                &nothing
            }
            None => reply,
        };
        let before = match self.first_whole == Some(number) {
            true => limits::REPLY_BYTES_EXPECTED,
            false => self.likely_bytes,
        };
        self.likely_bytes = reply.len().max(before - before / 4);
        if number == self.first {
            self.ready.push(reply);
            self.waiting.pop_front();
            self.first += 1;
            self.release();
        } else {
            let index = (number - self.first) as usize;
            self.held_bytes += reply.len();
            self.waiting[index] = Some(reply.clone());
        }
    }

    fn release(&mut self) {
        while let Some(Some(reply)) = self.waiting.front() {
            self.ready.push(reply);
            self.held_bytes -= reply.len();
            self.waiting.pop_front();
            self.first += 1;
        }
    }

    /// What an expected reply is taken to have, in bytes.
    pub(super) fn likely_bytes(&self) -> usize {
        self.likely_bytes
    }

    /// Bytes that wait to leave, and those that are likely to come.
    pub(super) fn bytes(&self) -> usize {
        self.ready.len() + self.held_bytes + self.expected * self.likely_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_the_order_of_the_commands() {
        let mut replies = Replies::default();
        replies.push(|out| out.extend_from_slice(b"a"));
        let second = replies.expect();
        let third = replies.expect();
        replies.push(|out| out.extend_from_slice(b"d"));
        replies.fill(third, &Bytes::from_static(b"c"));
        assert_eq!(replies.ready.bytes(), b"a");
        replies.fill(second, &Bytes::from_static(b"b"));
        assert_eq!(replies.ready.bytes(), b"abcd");
        assert_eq!(replies.waiting(), 0);
        let fifth = replies.expect();
        replies.fill(fifth, &Bytes::from_static(b"e"));
        assert_eq!(replies.ready.bytes(), b"abcde");
    }
}
