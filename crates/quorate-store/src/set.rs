//! The state of a set: a stamp for each member.

use quorate_proto::Stamp;

use crate::{
    cell::{Element, Value},
    elements::{Elements, Payload},
    object::Kind,
    part::Body,
    record::Encoded,
};

/// Members of a set.
pub type Set = Elements<Member>;

/// A member of a set.
///
/// A removal carries the newest addition that it saw, so one comparison decides: the member is
/// live exactly while its newest addition is newer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Of the newest addition; of a removed member, of the newest one that the removal saw.
    stamp: Stamp,
    is_live: bool,
}

/// A member has no value but that it is there.
impl Value<'_> for () {
    fn body(self, stamp: Stamp) -> Body<'static> {
        Body::Member(stamp)
    }

    fn write(self, _: &mut Encoded) {}

    fn read(_: &[u8]) -> Self {}
}

impl Payload for Member {
    const KIND: Kind = Kind::Set;

    type Value<'a> = ();

    type Order = ();

    fn of(element: Element<'_, ()>) -> Self {
        Self { stamp: element.stamp(), is_live: element.register().is_some() }
    }

    fn is_live(&self) -> bool {
        self.is_live
    }

    fn element(&self) -> Element<'_, ()> {
        match self.is_live {
            true => Element::written((), self.stamp),
            false => Element::removed(self.stamp),
        }
    }

    fn merge(&mut self, body: &Body<'_>) -> bool {
        let (stamp, is_live) = match *body {
            Body::Member(stamp) => (stamp, true),
            Body::Removed(stamp) => (stamp, false),
            Body::Until(..) | Body::Bytes(..) | Body::Score(..) | Body::Added(_) => return false,
        };
        // At equal stamps the removal wins, because it saw the addition.
        let newer = stamp > self.stamp || stamp == self.stamp && self.is_live && !is_live;
        if newer {
            *self = Self { stamp, is_live };
        }
        newer
    }

    fn cut(&mut self, horizon: Stamp) {
        self.is_live &= self.stamp > horizon;
    }

    fn size((): ()) -> usize {
        0
    }
}
