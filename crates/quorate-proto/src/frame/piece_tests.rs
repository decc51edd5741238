//! Two ends of a link, and messages in pieces between them.

use alloc::{vec, vec::Vec};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::{Slot, limits::FOLLOWERS_BYTES_MAX, message::Heartbeat};

const SIZES: PieceSizes = PieceSizes { large: 100, piece: 40, window: 80 };

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("a slot")
}

fn effect(number: u16, byte: u8, length: usize) -> Message {
    let effect = Bytes::from(vec![byte; length]);
    Message::Replicate { slot: slot(number), dots: Vec::new(), outcome: None, effect }
}

fn beat() -> Message {
    Message::Heartbeat(Heartbeat {
        epoch: 1,
        fitness: crate::Fitness::FIT,
        hints_pending: 0,
        wall_ms: 0,
    })
}

/// One direction of a link, and the credits of the other.
struct Link {
    output: Bundles,
    wire: BytesMut,
    decoder: Decoder,
    /// Whether the receiver makes room for what begins.
    admits: bool,
    found: Vec<u64>,
    messages: Vec<Message>,
}

impl Link {
    fn new() -> Self {
        let mut output = Bundles::new(SIZES);
        output.set_in_pieces(true);
        let (wire, decoder) = (BytesMut::new(), Decoder::default());
        Self { output, wire, decoder, admits: true, found: Vec::new(), messages: Vec::new() }
    }

    fn send(&mut self, correlation: u64, message: &Message) {
        assert!(self.output.push(3, correlation, message));
    }

    /// What is ready leaves and arrives. Returns how many bytes that were.
    fn go(&mut self) -> Result<usize, FrameError> {
        let taken = core::mem::take(self.output.take(1));
        self.wire.extend_from_slice(&taken);
        while let Some(received) = self.decoder.next(&mut self.wire, 7)? {
            assert_eq!(received.frame.epoch, 3);
            self.found.push(received.frame.correlation);
            self.messages.push(received.frame.message);
        }
        while self.admits && self.decoder.wanted().is_some() {
            self.decoder.admit();
        }
        let mut back = Bundles::default();
        settle(&mut self.decoder, &mut back);
        let (mut wire, mut decoder) = (BytesMut::from(&back.whole()[..]), Decoder::default());
        assert_eq!(decoder.next(&mut wire, 0), Ok(None), "credits are no messages");
        settle(&mut decoder, &mut self.output);
        Ok(taken.len())
    }

    fn run(&mut self) {
        while self.output.is_ready() {
            assert!(self.go().expect("sound") > 0);
        }
    }
}

#[test]
fn small_messages_go_past_a_large_one_but_those_of_its_slot() {
    let mut link = Link::new();
    let large = effect(1, b'a', 1_000);
    link.send(1, &large);
    link.send(2, &beat());
    link.send(3, &effect(1, b'b', 5));
    link.send(4, &effect(2, b'c', 5));
    link.send(5, &Message::Ack);
    let group = slot(1).group();
    link.send(6, &Message::AskDots { group, wanted: Vec::new() });
    link.send(7, &Message::AskDots { group: group + 1, wanted: Vec::new() });
    link.go().expect("sound");
    assert_eq!(link.found, [2, 4, 5, 7]);
    link.send(8, &beat());
    link.send(9, &Message::AskKeyDigests { slot: slot(1) });
    link.go().expect("sound");
    assert_eq!(link.found, [2, 4, 5, 7, 8]);
    link.run();
    assert_eq!(link.found, [2, 4, 5, 7, 8, 1, 3, 6, 9]);
    assert_eq!(link.messages[5], large);
    assert_eq!((link.output.is_empty(), link.output.len()), (true, 0));
}

#[test]
fn large_messages_share_the_link_and_those_of_a_slot_keep_their_order() {
    let mut link = Link::new();
    let sent = [effect(1, b'a', 2_000), effect(2, b'b', 300), effect(1, b'c', 200)];
    let sent = sent.into_iter().chain((0..9).map(|at| effect(3 + at, b'd', 150 + at as usize)));
    let sent: Vec<Message> = sent.collect();
    (0..).zip(&sent).for_each(|(number, message)| link.send(number, message));
    link.run();
    assert_eq!(link.found.len(), sent.len());
    let at = |number| link.found.iter().position(|found| *found == number);
    assert!(at(0) < at(2) && at(1) < at(0) && at(11) < at(1), "{:?}", link.found);
    for (number, message) in link.found.iter().zip(&link.messages) {
        assert!(*message == sent[*number as usize], "message {number}");
    }
}

#[test]
fn no_more_than_a_window_leaves_until_there_is_room_for_all_of_a_message() {
    let mut link = Link::new();
    link.admits = false;
    link.send(1, &effect(1, b'a', 10_000));
    link.run();
    assert!(!link.output.is_empty() && link.output.has_queued() && !link.output.is_blocked());
    assert!(link.output.len() > 9_900);
    assert_eq!((link.decoder.wanted(), link.decoder.admitted()), (Some(10_002), 0));
    link.send(2, &beat());
    assert!(link.output.is_ready());
    link.run();
    assert_eq!(link.found, [2], "others are not held up");
    link.admits = true;
    link.send(3, &beat());
    link.run();
    assert_eq!(link.found, [2, 3, 1]);
    assert_eq!((link.decoder.wanted(), link.decoder.admitted()), (None, 0));
}

#[test]
fn what_the_other_end_keeps_is_bounded() {
    let mut link = Link::new();
    link.admits = false;
    link.send(1, &effect(1, b'a', 10_000));
    link.run();
    let follower = effect(1, b'b', 90);
    let count = FOLLOWERS_BYTES_MAX / 90;
    (0..count).for_each(|_| link.send(2, &follower));
    link.send(3, &beat());
    assert!(!link.output.is_ready(), "nothing but pieces may leave");
    assert_eq!(link.go(), Ok(0));
    link.admits = true;
    while link.decoder.wanted().is_some() {
        link.go().expect("sound");
    }
    link.run();
    assert_eq!((link.found.len(), link.found[0]), (count + 2, 1));
}

#[test]
fn an_end_that_does_not_understand_pieces_gets_whole_frames() {
    let mut link = Link::new();
    link.output.set_in_pieces(false);
    link.send(1, &effect(1, b'a', 1_000));
    link.send(2, &beat());
    let bytes = core::mem::take(link.output.take(1));
    let mut input = BytesMut::from(&bytes[..]);
    let mut decoder = Decoder::default();
    let mut next = || decoder.decode(&mut input).map(|found| found.map(|found| found.correlation));
    assert_eq!([next(), next(), next()], [Ok(Some(1)), Ok(Some(2)), Ok(None)]);
}

#[test]
fn golden_pieces() {
    let mut output = Bundles::new(SIZES);
    output.set_in_pieces(true);
    assert!(output.push(7, 9, &effect(1, b'x', 99)));
    let bytes = core::mem::take(output.take(1));
    let frames = [&bytes[..45], &bytes[45..121], &bytes[121..]];
    let heads: Vec<u8> =
        frames[..2].iter().flat_map(|frame| [frame[5], frame[8], frame[16]]).collect();
    assert_eq!(heads, [126, 7, 9, 125, 0, 1]);
    #[rustfmt::skip]
    assert_eq!(frames[0][32..], [1, 0, 0, 0, 18, 1, 0, 0, 0, 101, 0, 0, 0]);
    assert_eq!(frames[1][32..39], [0, 0, 0, 0, 1, 0, b'x']);
    assert!(frames[2].is_empty() && frames[..2].iter().all(|frame| is_of_pieces(frame)));
    let mut credit = Bundles::default();
    credit.push_credits(&[(1, 40), (2, 3)]);
    let credit = credit.whole();
    assert_eq!(
        (credit[5], &credit[32..]),
        (124, &[1, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0][..])
    );
}

/// What comes of frames with these kinds, correlations and payloads.
fn error(frames: &[(u8, u64, &[u8])]) -> Option<FrameError> {
    let (mut bytes, mut decoder) = (Vec::new(), Decoder::default());
    for (kind, correlation, payload) in frames {
        let start = begin(&mut bytes, *kind, 0, *correlation);
        bytes.extend_from_slice(payload);
        end(&mut bytes[start..], 0);
    }
    decoder.decode(&mut BytesMut::from(&bytes[..])).err()
}

#[test]
fn pieces_that_were_not_cut_so_are_refused() {
    const OPEN: (u8, u64, &[u8]) = (126, 5, &[1, 0, 0, 0, 18, 1, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(error(&[OPEN, (125, 1, &[0, 0, 0, 0, 1, 0, 7])]), None);
    let refused: &[&[(u8, u64, &[u8])]] = &[
        // Nothing is open, another one is, a hole, too much, nothing.
        &[(125, 1, &[0, 0, 0, 0, 1])],
        &[OPEN, (125, 2, &[0, 0, 0, 0, 1])],
        &[OPEN, (125, 1, &[1, 0, 0, 0, 1])],
        &[OPEN, (125, 1, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
        &[OPEN, (125, 1, &[0, 0, 0, 0])],
        &[OPEN, (125, 1, &[0, 0])],
        // Once more, out of order, cut short, of no slot, of nothing.
        &[OPEN, OPEN],
        &[(126, 5, &[2, 0, 0, 0, 18, 1, 0, 0, 0, 9, 0, 0, 0])],
        &[(126, 5, &[1, 0, 0, 0, 18, 1, 0, 0, 0, 9, 0, 0])],
        &[(126, 5, &[1, 0, 0, 0, 18, 0, 0x40, 0, 0, 9, 0, 0, 0])],
        &[(126, 5, &[1, 0, 0, 0, 18, 1, 0, 0, 0, 0, 0, 0, 0])],
        &[(126, 5, &[1, 0, 0, 0, 18, 1, 0, 0, 0, 1, 0, 0, 0x40])],
        // Another slot than was said.
        &[OPEN, (125, 1, &[0, 0, 0, 0, 2, 0, 7, 7, 7, 7, 7, 7, 7])],
    ];
    for frames in refused {
        assert!(matches!(error(frames), Some(FrameError::Pieces(_))), "{frames:?}");
    }
    let unknown =
        error(&[(126, 5, &[1, 0, 0, 0, 99, 1, 0, 0, 0, 1, 0, 0, 0]), (125, 1, &[0, 0, 0, 0, 1])]);
    assert!(matches!(unknown, Some(FrameError::Message(_))), "{unknown:?}");
}
