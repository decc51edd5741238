//! Large messages that arrive in pieces, and what waits behind them.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::{Bytes, BytesMut};

use super::{
    Frame, FrameError, Head, one,
    pieces::{meet, reach_of},
};
use crate::{
    limits::{FRAME_PAYLOAD_MAX, HELD_BYTES_MAX, PIECES_WINDOW, STREAMS_MAX},
    message::Reach,
    mutant::Mutant,
};

/// A message of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub frame: Frame,
    /// If it was not whole, or waited for another one: what the caller had said of the moment in
    /// which it began to arrive.
    pub began: Option<u64>,
}

/// What has come of messages in pieces on one link.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    /// What cannot be handed out yet, in the order in which it was sent.
    waiting: VecDeque<Waiting>,
    /// What can.
    pub(super) ready: VecDeque<Received>,
    /// The stream that was opened last.
    opened: u32,
    streams: usize,
    /// Bytes of the messages of all streams.
    announced: usize,
    /// Bytes of whole messages that wait.
    held: usize,
    /// Taken, and not said so yet.
    pub(super) owed: Vec<(u32, u32)>,
    /// The other end has taken these.
    pub(super) credited: Vec<(u32, u32)>,
    /// Pieces seen, for a planted bug.
    pieces: u32,
}

#[derive(Debug)]
struct Waiting {
    reach: Reach,
    began: u64,
    item: Item,
}

#[derive(Debug)]
enum Item {
    Whole { frame: Frame, bytes: usize },
    Stream(Stream),
}

#[derive(Debug)]
struct Stream {
    number: u32,
    head: Head,
    length: usize,
    body: BytesMut,
    /// Whether there is room for all of it: until then no more than a window is taken.
    is_admitted: bool,
}

impl Stream {
    fn is_whole(&self) -> bool {
        self.body.len() == self.length
    }
}

impl Arriving {
    pub(super) fn open(
        &mut self,
        head: Head,
        payload: &[u8],
        began: u64,
    ) -> Result<(), FrameError> {
        let broken = FrameError::Pieces("an opening is not allowed");
        let [a, b, c, d, kind, e, f, g, h, i, j, k, l] =
            *<&[u8; 13]>::try_from(payload).map_err(|_| broken)?;
        let number = u32::from_le_bytes([a, b, c, d]);
        let reach = reach_of(u32::from_le_bytes([e, f, g, h])).ok_or(broken)?;
        let length = u32::from_le_bytes([i, j, k, l]) as usize;
        let fits = self.announced + length <= FRAME_PAYLOAD_MAX && self.streams < STREAMS_MAX;
        if number != self.opened.wrapping_add(1) || length == 0 || !fits {
            return Err(broken);
        }
        self.opened = number;
        self.announced += length;
        self.streams += 1;
        let head = Head { kind, ..head };
        let stream = Stream { number, head, length, body: BytesMut::new(), is_admitted: false };
        self.waiting.push_back(Waiting { reach, began, item: Item::Stream(stream) });
        Ok(())
    }

    pub(super) fn piece(&mut self, number: u64, payload: &Bytes) -> Result<(), FrameError> {
        let broken = FrameError::Pieces("a piece does not continue its message");
        let at = u32::from_le_bytes(*payload.first_chunk().ok_or(broken)?) as usize;
        let bytes = &payload[4..];
        self.pieces = self.pieces.wrapping_add(1);
        let mut streams = self.waiting.iter_mut().filter_map(|waiting| match &mut waiting.item {
            Item::Stream(stream) if !stream.is_whole() => Some(stream),
            _ => None,
        });
        let found = if Mutant::PiecesMixed.is_planted() {
            streams.find(|found| found.body.len() + bytes.len() <= found.length)
        } else {
            streams.find(|found| u64::from(found.number) == number)
        };
        let stream = found.ok_or(broken)?;
        let is_in_place = at == stream.body.len() || Mutant::PiecesMixed.is_planted();
        if !is_in_place || bytes.is_empty() || at + bytes.len() > stream.length {
            return Err(broken);
        }
        if Mutant::PieceLost.is_planted() && self.pieces % 8 == 3 {
            stream.body.resize(at + bytes.len(), b'0');
        } else {
            stream.body.extend_from_slice(bytes);
        }
        let count = bytes.len() as u32;
        if stream.is_admitted {
            match self.owed.last_mut() {
                Some((last, owed)) if *last == stream.number => *owed += count,
                _ => self.owed.push((stream.number, count)),
            }
        } else if stream.body.len() > PIECES_WINDOW {
            return Err(FrameError::Pieces("more was sent than was asked for"));
        }
        if stream.is_whole() { self.release() } else { Ok(()) }
    }

    /// Keeps a whole message that must not be handed out yet. Returns it if it may.
    pub(super) fn hold(
        &mut self,
        frame: Frame,
        bytes: usize,
        began: u64,
    ) -> Result<Option<Frame>, FrameError> {
        let reach = frame.message.reach();
        let waits = self.waiting.iter().any(|waiting| meet(waiting.reach, reach));
        if !waits {
            return Ok(Some(frame));
        }
        self.held += bytes;
        if self.held > HELD_BYTES_MAX {
            return Err(FrameError::Pieces("too much was sent behind a large message"));
        }
        self.waiting.push_back(Waiting { reach, began, item: Item::Whole { frame, bytes } });
        Ok(None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The oldest message for which no room was made.
    fn unadmitted(&mut self) -> Option<&mut Stream> {
        self.waiting.iter_mut().find_map(|waiting| match &mut waiting.item {
            Item::Stream(stream) if !stream.is_admitted => Some(stream),
            _ => None,
        })
    }

    /// Bytes for which room is to be made next.
    pub(super) fn wanted(&mut self) -> Option<usize> {
        self.unadmitted().map(|stream| stream.length)
    }

    pub(super) fn admit(&mut self) {
        let Some(stream) = self.unadmitted() else { return };
        stream.is_admitted = true;
        let (number, taken) = (stream.number, stream.body.len());
        // Addresses, of which a page is taken when it is written to: nothing is copied again.
        stream.body.reserve(stream.length - taken);
        if taken > 0 {
            self.owed.push((number, taken as u32));
        }
    }

    /// Bytes for which room was made and which are not handed out.
    pub(super) fn admitted(&self) -> usize {
        let streams = self.waiting.iter().filter_map(|waiting| match &waiting.item {
            Item::Stream(stream) if stream.is_admitted => Some(stream.length),
            _ => None,
        });
        streams.sum()
    }

    /// Hands out what waits for nothing any more.
    fn release(&mut self) -> Result<(), FrameError> {
        let mut before: Vec<Reach> = Vec::new();
        for waiting in core::mem::take(&mut self.waiting) {
            let Waiting { reach, began, item } = waiting;
            let waits = before.iter().any(|earlier| meet(*earlier, reach));
            match item {
                Item::Whole { frame, bytes } if !waits => {
                    self.held -= bytes;
                    self.ready.push_back(Received { frame, began: Some(began) });
                }
                Item::Stream(stream) if !waits && stream.is_whole() => {
                    self.announced -= stream.length;
                    self.streams -= 1;
                    let frame = one(stream.head, stream.body.freeze())?;
                    if frame.message.reach() != reach {
                        return Err(FrameError::Pieces(
                            "a message does not concern what its opening said",
                        ));
                    }
                    self.ready.push_back(Received { frame, began: Some(began) });
                }
                item => {
                    if reach != Reach::Node && !before.contains(&reach) {
                        before.push(reach);
                    }
                    self.waiting.push_back(Waiting { reach, began, item });
                }
            }
        }
        Ok(())
    }
}
