//! What arrives on a link: messages, and large ones in pieces, for which there must be room.

use bytes::BytesMut;
use quorate_proto::{
    NodeId,
    frame::{self, Bundles, Decoder, FrameError, Received},
    message::features,
};

use crate::{arriving_bytes::ArrivingBytes, node::Node};

/// What has come on one link and is not handed out.
#[derive(Debug)]
pub(super) struct Receiving {
    decoder: Decoder,
    bytes: ArrivingBytes,
}

impl Receiving {
    /// Nothing, on a link of this node.
    pub(super) fn new(node: &Node) -> Self {
        Self { decoder: Decoder::default(), bytes: node.arriving.another() }
    }

    /// The next message; `began` is kept with what is not whole, or waits for what is not.
    pub(super) fn next(
        &mut self,
        input: &mut BytesMut,
        began: u64,
    ) -> Result<Option<Received>, FrameError> {
        self.decoder.next(input, began)
    }

    /// All that came is read: makes room for large messages that have begun, and has the other
    /// end told what was taken of them.
    pub(super) fn settle(&mut self, node: &Node, output: &mut Bundles) {
        self.bytes.keep(self.decoder.admitted());
        while let Some(bytes) = self.decoder.wanted()
            && self.bytes.admit(bytes, node.adjustable.command_bytes_max())
        {
            self.decoder.admit();
        }
        frame::settle(&mut self.decoder, output);
    }
}

/// Whether a node understands large messages in pieces, as far as it is known.
pub(super) fn understands_pieces(node: &Node, id: NodeId) -> bool {
    node.features_of(id) & features::PIECES != 0
}

/// What is to be sent on a link to this node.
pub(super) fn sending(node: &Node, to: NodeId) -> Bundles {
    let mut output = Bundles::new(node.sizes.pieces);
    output.set_in_pieces(understands_pieces(node, to));
    output
}
