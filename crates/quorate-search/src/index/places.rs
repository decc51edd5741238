//! The places of a `GEO` field, in the order of a curve that fills the globe.
//!
//! Longitude and latitude, 32 bits each, are interleaved (Z-order): the places of a quarter of the
//! globe, or a quarter of that, and so on, are next to each other. A circle is covered by quarters
//! that are about as large as it is; in these, distances are compared.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::postings::DocumentId;
use crate::query::Circle;

/// The mean radius of the earth in metres, as Redis has it.
const EARTH_RADIUS: f64 = 6_372_797.560_856;

/// A longitude and a latitude, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// Places and the documents that have them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    places: BTreeSet<(u64, DocumentId)>,
}

impl Place {
    /// The place of degrees that are on the globe.
    pub(crate) fn new(longitude: f64, latitude: f64) -> Option<Place> {
        let valid = (-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude);
        valid.then_some(Place { longitude, latitude })
    }

    /// The distance to another, in metres, by the haversine formula.
    pub(crate) fn distance(self, other: Place) -> f64 {
        let (latitude, other_latitude) = (self.latitude.to_radians(), other.latitude.to_radians());
        let north = libm::sin((other_latitude - latitude) / 2.0);
        let east = libm::sin((other.longitude - self.longitude).to_radians() / 2.0);
        let chord = north * north + libm::cos(latitude) * libm::cos(other_latitude) * east * east;
        2.0 * EARTH_RADIUS * libm::asin(libm::sqrt(chord.min(1.0)))
    }

    /// The place on the curve.
    fn cell(self) -> u64 {
        let scaled = |degrees: f64, all: f64| {
            let share = (degrees / all + 0.5) * 4_294_967_296.0;
            spread(share.min(f64::from(u32::MAX)) as u32)
        };
        scaled(self.longitude, 360.0) << 1 | scaled(self.latitude, 180.0)
    }

    /// The middle of what is at a place of the curve.
    fn at(cell: u64) -> Place {
        let degrees =
            |bits: u64, all: f64| ((f64::from(gathered(bits)) + 0.5) / 4_294_967_296.0 - 0.5) * all;
        Place { longitude: degrees(cell >> 1, 360.0), latitude: degrees(cell, 180.0) }
    }
}

/// Each bit at twice its place.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// Every second bit, next to each other.
fn gathered(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

impl Places {
    pub(super) fn insert(&mut self, place: Place, document: DocumentId) {
        self.places.insert((place.cell(), document));
    }

    pub(super) fn remove(&mut self, place: Place, document: DocumentId) {
        self.places.remove(&(place.cell(), document));
    }

    /// The documents that have a place in the circle.
    pub(crate) fn within(&self, circle: Circle) -> RoaringBitmap {
        let middle = Place { longitude: circle.longitude, latitude: circle.latitude };
        let radius = circle.radius * circle.unit.metres();
        let mut documents = RoaringBitmap::new();
        for (first, last) in cover(middle, radius) {
            for &(cell, document) in
                self.places.range((first, DocumentId::MIN)..=(last, DocumentId::MAX))
            {
                if Place::at(cell).distance(middle) <= radius {
                    documents.insert(document);
                }
            }
        }
        documents
    }
}

/// A part of the curve, from its first place to its last, that is a rectangle on the globe.
#[derive(Clone, Copy)]
struct Quarter {
    first: u64,
    /// How often the globe was quartered.
    level: u32,
}

impl Quarter {
    fn last(self) -> u64 {
        self.first | u64::MAX.checked_shr(2 * self.level).unwrap_or(0)
    }

    fn quarters(self) -> impl Iterator<Item = Quarter> {
        let level = self.level + 1;
        (0..4).map(move |number| Quarter { first: self.first | number << (64 - 2 * level), level })
    }
}

/// The most parts that a circle is covered by. Near a pole they cannot be as small as the circle.
const PARTS_MAX: usize = 64;

/// Parts of the curve that cover a circle.
fn cover(middle: Place, radius: f64) -> Vec<(u64, u64)> {
    let reach = (radius / EARTH_RADIUS).to_degrees();
    let mut parts = alloc::vec![Quarter { first: 0, level: 0 }];
    let mut height = 180.0;
    while height > reach / 2.0 && parts.first().is_some_and(|part| part.level < 31) {
        let quarters = parts.iter().flat_map(|part| part.quarters());
        let finer: Vec<Quarter> = quarters
            .filter(|part| touches(middle, reach, Place::at(part.first), Place::at(part.last())))
            .collect();
        if finer.len() > PARTS_MAX {
            break;
        }
        parts = finer;
        height /= 2.0;
    }
    parts.iter().map(|part| (part.first, part.last())).collect()
}

/// Whether a rectangle may touch what is within `reach` degrees of a great circle from `middle`.
fn touches(middle: Place, reach: f64, low: Place, high: Place) -> bool {
    // Rounding must not lose a place at the edge.
    let reach = reach * (1.0 + 1e-9) + 1e-7;
    if middle.latitude + reach < low.latitude || middle.latitude - reach > high.latitude {
        return false;
    }
    // Around a pole every longitude is near.
    if middle.latitude.abs() + reach >= 90.0 {
        return true;
    }
    let widest = libm::sin(reach.to_radians()) / libm::cos(middle.latitude.to_radians());
    let east = libm::asin(widest.min(1.0)).to_degrees() + 1e-7;
    [-360.0, 0.0, 360.0].iter().any(|turn| {
        let longitude = middle.longitude + turn;
        longitude + east >= low.longitude && longitude - east <= high.longitude
    })
}
