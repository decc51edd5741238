//! Gossip, and the news that it carries.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    super::gossip::{
        Abilities, Delta, Digest, Entry, Gossip, GossipStep, Load, News, Place, Topic, Volume,
        Waiting,
    },
    Codec, Field, Input, MessageError, Plain, Sink, codec_of, record,
};

record!(Gossip { step, digests, deltas });
record!(Digest { id, generation, beat, version });
record!(Delta { id, generation, beat, since, entries });
record!(Entry { topic, version, value });
record!(Place { name, datacentre, rack, peer_address, client_address });
record!(Abilities { protocol, features, shards, epoch });
record!(Waiting { members });
record!(Volume { epoch, held_bytes, moved_bytes, dirty_groups });
record!(Load { commands_per_second, hint_bytes, log_bytes, memory_bytes, fitness });

impl Field for GossipStep {
    fn put(&self, out: &mut impl Sink) {
        (*self as u8).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let code = u8::take(input)?;
        Self::ALL.into_iter().find(|step| *step as u8 == code).ok_or(input.field("step"))
    }
}

macro_rules! news {
    ($($news:ident),*) => {$(
        impl News for $news {
            const TOPIC: Topic = Topic::$news;

            fn encode(&self) -> Bytes {
                let mut out = Vec::new();
                self.put(&mut out);
                out.into()
            }

            fn decode(bytes: &Bytes) -> Option<Self> {
                Self::take(&mut Input { kind: 0, rest: bytes.clone() }).ok()
            }
        }
    )*};
}

news!(Place, Abilities, Load, Waiting, Volume);
