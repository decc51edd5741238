//! Documents: JSON that converges.
//!
//! A document is a collection with an element for each of its values: the `name` is the way
//! from the root, and the `cell` a scalar, or that an object or an array begins there. So each
//! value converges like a field of a hash: the newest write wins, increments add up, and an update
//! beats a removal that did not see it. What readers see of all that is a tree (`document`); a
//! container that was removed while something was put into it shows again.
//!
//! ```text
//!  name            cell
//!  (root)          object
//!  .cart           array
//!  .cart 256       "apple"        items stand in the order of their places
//!  .cart 512       "pear"
//!  .count          7
//! ```

pub use crate::commands::check_mset;

pub(crate) mod cell;
pub(crate) mod document;
pub(crate) mod edit;
pub(crate) mod name;
pub(crate) mod number;
pub(crate) mod path;
pub(crate) mod place;
pub(crate) mod text;
pub(crate) mod value;
pub(crate) mod view;

use quorate_proto::Stamp;

use self::cell::{Held, HeldBytes};
use crate::{
    by_name::ByName,
    cell::{Cell, Element},
    elements::{ElementOf, Elements, Payload},
    live::Live,
    object::Kind,
    part::{Body, Part},
};

/// Whether a part with this name and body is one of a document.
pub(crate) fn is_part(name: &[u8], body: &Body<'_>) -> bool {
    let is_cell = match body {
        Body::Bytes(_, bytes) => Held::checked(bytes).is_some(),
        _ => true,
    };
    is_cell && name::is_valid(name)
}

/// The values of a document.
pub type Json = Elements<Cell<HeldBytes>>;

impl Payload for Cell<HeldBytes> {
    const KIND: Kind = Kind::Json;

    type Value<'a> = Held<'a>;

    type Order = ByName;

    const IS_ORDERED: bool = true;

    fn is_before(new: (&[u8], ElementOf<'_, Self>), old: (&[u8], ElementOf<'_, Self>)) -> bool {
        new.0 < old.0
    }

    fn of(element: Element<'_, Held<'_>>) -> Self {
        Self::of(element)
    }

    fn overwritten<'b>(
        old: Element<'_, Held<'_>>,
        body: &Body<'b>,
    ) -> Option<Option<Element<'b, Held<'b>>>> {
        Self::overwritten(old, body)
    }

    fn is_live(&self) -> bool {
        self.is_live()
    }

    fn element(&self) -> Element<'_, Held<'_>> {
        self.element()
    }

    fn merge(&mut self, body: &Body<'_>) -> bool {
        self.merge(body)
    }

    fn cut(&mut self, horizon: Stamp) {
        self.cut(horizon);
    }

    fn size(value: Held<'_>) -> usize {
        value.len()
    }

    /// What shows, in the order of the document, each member as if it had come when it is written.
    fn show_all(elements: &Json, emit: &mut dyn FnMut(Part<'_>)) {
        let entries = elements.below(&[]);
        document::Node::root(&entries).walk(&mut |node| {
            let cell = node.leaf().encode(0);
            emit(Part::element(Kind::Json, node.name(), Body::Bytes(Stamp::ZERO, &cell)));
        });
    }
}

impl Json {
    /// The elements whose names begin with a prefix, in the order of their names.
    pub(crate) fn below(&self, prefix: &[u8]) -> Vec<document::Entry<'_>> {
        match self.live() {
            Live::Block(_) => self.iter().filter(|(name, _)| name.starts_with(prefix)).collect(),
            Live::Large(large) => {
                let positions = large.order.beginning_with(&large.records, prefix);
                let numbers = large.order.range(positions);
                numbers.filter_map(|number| self.at(number)).collect()
            }
        }
    }
}
