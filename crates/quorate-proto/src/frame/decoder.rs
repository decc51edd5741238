//! Messages as they arrive on a link.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    BUNDLE, Frame, FrameError, HEAD_LENGTH, HEADER_LENGTH, Head, Received, Summed,
    arriving::Arriving,
    bundles::Bundles,
    field, one,
    pieces::{CREDIT, OPENING, PIECE},
    take_whole,
};

/// Takes messages out of what arrives on a link, those of a bundle one after the other, and those in pieces
/// once they are whole.
#[derive(Debug, Default)]
pub struct Decoder {
    epoch: u64,
    /// What is left of a bundle.
    rest: Bytes,
    /// What is summed up of a frame that has not come to its end.
    summed: Summed,
    arriving: Arriving,
}

impl Decoder {
    /// The next message, or `None` when more bytes are needed. Its payload is not copied, unless it came in
    /// pieces.
    ///
    /// # Errors
    /// What comes next is no frame.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        self.next(input, 0).map(|received| received.map(|received| received.frame))
    }

    /// The same. `began` is kept with what begins to arrive and cannot be handed out yet.
    ///
    /// # Errors
    /// What comes next is no frame.
    pub fn next(
        &mut self,
        input: &mut BytesMut,
        began: u64,
    ) -> Result<Option<Received>, FrameError> {
        loop {
            if let Some(received) = self.arriving.ready.pop_front() {
                return Ok(Some(received));
            }
            let Some((head, body)) = self.next_body(input)? else { return Ok(None) };
            match head.kind {
                OPENING => self.arriving.open(head, &body, began)?,
                PIECE => self.arriving.piece(head.correlation, &body)?,
                CREDIT => {
                    for credit in body.as_chunks::<8>().0 {
                        let (stream, bytes) = (field(credit, 0), field(credit, 4));
                        let credit = (u32::from_le_bytes(stream), u32::from_le_bytes(bytes));
                        self.arriving.credited.push(credit);
                    }
                }
                _ => {
                    let bytes = HEADER_LENGTH + body.len();
                    let frame = one(head, body)?;
                    let frame = match self.arriving.is_empty() {
                        true => Some(frame),
                        false => self.arriving.hold(frame, bytes, began)?,
                    };
                    if let Some(frame) = frame {
                        return Ok(Some(Received { frame, began: None }));
                    }
                }
            }
        }
    }

    /// Bytes of the oldest message in pieces for which no room was made: no more than a window of it is
    /// taken until it is [admitted](Decoder::admit).
    pub fn wanted(&mut self) -> Option<usize> {
        self.arriving.wanted()
    }

    /// There is room for what is [wanted](Decoder::wanted).
    pub fn admit(&mut self) {
        self.arriving.admit();
    }

    /// Bytes of messages in pieces that were admitted and are not handed out.
    pub fn admitted(&self) -> usize {
        self.arriving.admitted()
    }

    /// The next head and body, of a bundle or alone.
    fn next_body(&mut self, input: &mut BytesMut) -> Result<Option<(Head, Bytes)>, FrameError> {
        if self.rest.is_empty() {
            let Some((head, payload)) = take_whole(input, &mut self.summed)? else {
                return Ok(None);
            };
            if head.kind != BUNDLE {
                return Ok(Some((head, payload)));
            }
            (self.epoch, self.rest) = (head.epoch, payload);
        }
        let head: [u8; HEAD_LENGTH] = *self.rest.first_chunk().ok_or(FrameError::Bundle)?;
        let [a, b, c, d, kind, correlation @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        self.rest.advance(HEAD_LENGTH);
        if length > self.rest.len() {
            return Err(FrameError::Bundle);
        }
        let body = self.rest.split_to(length);
        let correlation = u64::from_le_bytes(correlation);
        let head = Head { kind, epoch: self.epoch, correlation };
        match kind {
            OPENING | PIECE | CREDIT => Err(FrameError::Bundle),
            _ => Ok(Some((head, body))),
        }
    }
}

/// What came on a link about messages in pieces reaches what is sent on it: what the other end has taken, and
/// what is to be said to it.
pub fn settle(decoder: &mut Decoder, bundles: &mut Bundles) {
    for (stream, bytes) in decoder.arriving.credited.drain(..) {
        bundles.credit(stream, bytes);
    }
    if !decoder.arriving.owed.is_empty() {
        bundles.push_credits(&decoder.arriving.owed);
        decoder.arriving.owed.clear();
    }
}
