//! Links between nodes, with somebody in between who does what he likes.

use std::sync::Arc;

use quorate_node::secure_link::{ClusterSecret, LinkSecurity, SecureLink};

use crate::pieces::{Pieces, put_bytes};

/// One direction of a link.
struct Direction {
    said: Vec<u8>,
    heard: Vec<u8>,
    /// What is on its way.
    wire: Vec<u8>,
}

impl Direction {
    const fn new() -> Self {
        Self { said: Vec::new(), heard: Vec::new(), wire: Vec::new() }
    }

    fn say(&mut self, from: &mut SecureLink, words: &[u8]) {
        self.said.extend_from_slice(words);
        let mut bytes = words.to_vec();
        from.seal(&mut bytes);
        self.wire.append(&mut bytes);
    }

    /// What is heard is the beginning of what was said, whatever has happened on the way.
    fn deliver(&mut self, to: &mut SecureLink, count: usize) {
        let count = count.min(self.wire.len());
        let arrived: Vec<u8> = self.wire.drain(..count).collect();
        let _ = to.receive(&arrived);
        self.heard.extend_from_slice(&to.plain().split());
        assert!(self.said.starts_with(&self.heard));
    }

    fn meddle(&mut self, how: u8, at: usize, bytes: &[u8]) {
        let at = at % (self.wire.len() + 1);
        match how % 4 {
            0 => self.wire.iter_mut().skip(at).zip(bytes).for_each(|(byte, other)| *byte ^= other),
            1 => self.wire.truncate(at),
            2 => self.wire.splice(at..at, bytes.iter().copied()).for_each(drop),
            _ if self.wire.len() < WIRE_MAX => self.wire.extend_from_within(at..),
            _ => {}
        }
    }
}

/// Bytes on their way from which on none are repeated.
const WIRE_MAX: usize = 1 << 18;

fn security(process: u8) -> Arc<LinkSecurity> {
    let secret = ClusterSecret::parse(b"a-secret-of-the-fuzzer").expect("long enough");
    Arc::new(LinkSecurity::new(Some(secret), "shop".into(), [process; 32]))
}

/// Two nodes with the same secret: nothing is heard that was not said, in its order.
pub(crate) fn links(bytes: &[u8]) {
    let mut pieces = Pieces(bytes);
    let (mut dialer, mut acceptor) = (security(1).dial("a"), security(2).accept("b"));
    let (mut there, mut back) = (Direction::new(), Direction::new());
    while !pieces.is_empty() {
        match pieces.byte() % 6 {
            0 => there.say(&mut dialer, pieces.bytes()),
            1 => back.say(&mut acceptor, pieces.bytes()),
            2 => there.deliver(&mut acceptor, usize::from(pieces.short())),
            3 => back.deliver(&mut dialer, usize::from(pieces.short())),
            4 => there.meddle(pieces.byte(), usize::from(pieces.short()), pieces.bytes()),
            _ => back.meddle(pieces.byte(), usize::from(pieces.short()), pieces.bytes()),
        }
    }
}

/// A handshake with a few words after it, of which something is changed in one.
pub(crate) fn link_seeds() -> Vec<Vec<u8>> {
    let say = |seed: &mut Vec<u8>, side: u8, words: &[u8]| {
        seed.push(side);
        put_bytes(seed, words);
    };
    let deliver = |seed: &mut Vec<u8>, side: u8| seed.extend_from_slice(&[2 + side, 0xff, 0xff]);
    let mut met = Vec::new();
    say(&mut met, 0, b"hello");
    for _ in 0..2 {
        deliver(&mut met, 0);
        say(&mut met, 1, b"");
        deliver(&mut met, 1);
        say(&mut met, 0, b"more");
    }
    let mut meddled = met.clone();
    say(&mut meddled, 1, b"answer");
    meddled.extend_from_slice(&[5, 0, 7, 0]);
    put_bytes(&mut meddled, &[1]);
    deliver(&mut meddled, 1);
    let mut injected = vec![4, 2, 0, 0];
    put_bytes(&mut injected, b"QRTs");
    deliver(&mut injected, 0);
    vec![met, meddled, injected]
}
