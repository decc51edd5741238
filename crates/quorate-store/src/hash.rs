//! The state of a hash: a cell for each field.

use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Element},
    elements::{Elements, Payload},
    object::Kind,
    part::Body,
};

/// Fields of a hash. Per field, the newest value wins and increments add up.
pub type Hash = Elements<Cell>;

impl Payload for Cell {
    const KIND: Kind = Kind::Hash;

    type Value<'a> = &'a [u8];

    type Order = ();

    fn of(element: Element<'_, &[u8]>) -> Self {
        Self::of(element)
    }

    fn overwritten<'b>(
        old: Element<'_, &[u8]>,
        body: &Body<'b>,
    ) -> Option<Option<Element<'b, &'b [u8]>>> {
        Self::overwritten(old, body)
    }

    fn element(&self) -> Element<'_, &[u8]> {
        self.element()
    }

    fn merge(&mut self, body: &Body<'_>) -> bool {
        self.merge(body)
    }

    fn cut(&mut self, horizon: Stamp) {
        self.cut(horizon);
    }

    fn size(value: &[u8]) -> usize {
        value.len()
    }

    fn show(element: Element<'_, &[u8]>, emit: &mut dyn FnMut(Body<'_>)) {
        if let Some(value) = element.visible() {
            emit(Body::Bytes(Stamp::ZERO, &value));
        }
    }
}
