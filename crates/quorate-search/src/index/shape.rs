//! Points and polygons, and how one lies to another, in the plane.
//!
//! Borders belong to what they are around, and the borders of holes too. Degrees are taken for
//! coordinates of a plane, so what crosses the 180th meridian is not understood as such.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::size_of;

use crate::limits;
use crate::query::Relation;
use crate::schema::Coordinates;

/// A point or a polygon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Point(Point),
    /// The border and the borders of holes; each ends where it begins.
    Polygon(Vec<Vec<Point>>),
}

/// A point: x and y, or longitude and latitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    x: f64,
    y: f64,
}

type Segment = (Point, Point);

impl Shape {
    /// Bytes that it takes, about.
    pub(super) fn memory(&self) -> usize {
        let points = match self {
            Shape::Point(_) => 0,
            Shape::Polygon(rings) => rings.iter().map(Vec::len).sum(),
        };
        2 * size_of::<Shape>() + points * size_of::<Point>()
    }

    /// Reads well-known text: `POINT (x y)` or `POLYGON ((x y, ..), ..)`.
    pub(crate) fn parse(text: &[u8], coordinates: Coordinates) -> Result<Shape, String> {
        let refused = |what: &str| format!("Invalid shape: {what}");
        let text = core::str::from_utf8(text).map_err(|_| refused("not a text"))?.trim();
        let open = text.find('(').ok_or_else(|| refused("expected POINT or POLYGON and `(`"))?;
        let (name, rest) = text.split_at(open);
        let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let inner = inner.ok_or_else(|| refused("expected `)` at its end"))?;
        let name = name.trim();
        if name.eq_ignore_ascii_case("POINT") {
            return Ok(Shape::Point(Point::parse(inner, coordinates)?));
        }
        if !name.eq_ignore_ascii_case("POLYGON") {
            return Err(format!("Invalid shape: expected POINT or POLYGON, found `{name}`"));
        }
        let (mut rings, mut points) = (Vec::new(), 0);
        let mut rest = inner.trim();
        while !rest.is_empty() {
            let ring = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            let (ring, behind) = ring.ok_or_else(|| refused("expected `(` and `)` of a ring"))?;
            let ring: Result<Vec<Point>, String> =
                ring.split(',').map(|pair| Point::parse(pair, coordinates)).collect();
            let ring = ring?;
            points += ring.len();
            if points > limits::SHAPE_POINTS {
                return Err(format!("Invalid shape: more than {} points", limits::SHAPE_POINTS));
            }
            if ring.len() < 4 || ring.first() != ring.last() {
                return Err(refused("a ring has four points or more, and ends where it begins"));
            }
            rings.push(ring);
            let behind = behind.trim();
            rest = behind.strip_prefix(',').unwrap_or(behind).trim();
        }
        if rings.is_empty() {
            return Err(refused("a polygon without a ring"));
        }
        Ok(Shape::Polygon(rings))
    }

    /// Whether it lies like this to another.
    pub(crate) fn lies(&self, relation: Relation, other: &Shape) -> bool {
        match relation {
            Relation::Within => other.covers(self),
            Relation::Contains => self.covers(other),
            Relation::Intersects => self.meets(other),
            Relation::Disjoint => !self.meets(other),
        }
    }

    fn rings(&self) -> &[Vec<Point>] {
        match self {
            Shape::Point(_) => &[],
            Shape::Polygon(rings) => rings,
        }
    }

    fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        self.rings().iter().flat_map(|ring| ring.windows(2).map(|pair| (pair[0], pair[1])))
    }

    /// One of its points.
    fn first(&self) -> Option<Point> {
        match self {
            Shape::Point(point) => Some(*point),
            Shape::Polygon(rings) => rings.first()?.first().copied(),
        }
    }

    /// Where a point is.
    fn place(&self, point: Point) -> Side {
        match self {
            Shape::Point(own) if *own == point => Side::Border,
            Shape::Point(_) => Side::Outside,
            Shape::Polygon(rings) => {
                let mut inside = false;
                for (from, to) in rings.iter().flat_map(|ring| ring.windows(2)).map(ends) {
                    if on_segment(point, (from, to)) {
                        return Side::Border;
                    }
                    // Even-odd rule: a ray to the right crosses the border so often.
                    let crosses = (from.y > point.y) != (to.y > point.y);
                    let share = (point.y - from.y) / (to.y - from.y);
                    inside ^= crosses && point.x < from.x + share * (to.x - from.x);
                }
                if inside { Side::Inside } else { Side::Outside }
            }
        }
    }

    fn has(&self, point: Point) -> bool {
        self.place(point) != Side::Outside
    }

    /// Whether they have a point in common.
    fn meets(&self, other: &Shape) -> bool {
        let crosses = |own| other.segments().any(|other| meet(own, other));
        self.segments().any(crosses)
            || other.first().is_some_and(|point| self.has(point))
            || self.first().is_some_and(|point| other.has(point))
    }

    /// Whether all of the other is in this one.
    fn covers(&self, other: &Shape) -> bool {
        if let Shape::Point(point) = other {
            return self.has(*point);
        }
        let holes = self.rings().iter().skip(1);
        let is_hole_inside = |hole: &Vec<Point>| {
            // What both leave out does not count.
            hole.first().is_some_and(|point| other.place(*point) == Side::Inside)
        };
        other.segments().all(|segment| self.has_segment(segment))
            && !holes.into_iter().any(is_hole_inside)
    }

    /// Whether all of a segment is in this one: between the places where it meets the border it is
    /// either in or out.
    fn has_segment(&self, (from, to): Segment) -> bool {
        let mut shares: Vec<f64> = Vec::new();
        for border in self.segments() {
            shares.extend(crossing((from, to), border));
            for point in [border.0, border.1] {
                if on_segment(point, (from, to)) {
                    shares.push(share_of(point, (from, to)));
                }
            }
        }
        shares.extend([0.0, 1.0]);
        shares.sort_by(f64::total_cmp);
        let at = |share: f64| Point {
            x: from.x + share * (to.x - from.x),
            y: from.y + share * (to.y - from.y),
        };
        self.has(from)
            && self.has(to)
            && shares.windows(2).all(|pair| {
                pair[1] - pair[0] <= CLOSE || self.has(at(f64::midpoint(pair[0], pair[1])))
            })
    }
}

/// Parts of a segment below this share are points.
const CLOSE: f64 = 1e-12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Inside,
    Border,
    Outside,
}

impl Point {
    fn parse(text: &str, coordinates: Coordinates) -> Result<Point, String> {
        let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().ok());
        let (x, y, rest) = (numbers.next().flatten(), numbers.next().flatten(), numbers.next());
        let point = match (x, y, rest) {
            (Some(x), Some(y), None) if x.is_finite() && y.is_finite() => Point { x, y },
            _ => {
                let text = text.trim();
                return Err(format!("Invalid shape: expected two numbers, found `{text}`"));
            }
        };
        let on_globe = (-180.0..=180.0).contains(&point.x) && (-90.0..=90.0).contains(&point.y);
        match coordinates {
            Coordinates::Spherical if !on_globe => Err(format!(
                "Invalid shape: `{} {}` is no longitude and latitude",
                point.x, point.y
            )),
            Coordinates::Flat | Coordinates::Spherical => Ok(point),
        }
    }
}

fn ends(pair: &[Point]) -> Segment {
    (pair[0], pair[1])
}

/// On which side of a segment's line a point is.
fn turn((from, to): Segment, point: Point) -> f64 {
    (to.x - from.x) * (point.y - from.y) - (to.y - from.y) * (point.x - from.x)
}

fn on_segment(point: Point, (from, to): Segment) -> bool {
    turn((from, to), point) == 0.0
        && (from.x.min(to.x)..=from.x.max(to.x)).contains(&point.x)
        && (from.y.min(to.y)..=from.y.max(to.y)).contains(&point.y)
}

/// Whether two segments have a point in common.
fn meet(one: Segment, other: Segment) -> bool {
    let differ = |first: f64, second: f64| (first > 0.0) != (second > 0.0);
    let apart = |segment, (from, to): Segment| {
        let (first, second) = (turn(segment, from), turn(segment, to));
        first != 0.0 && second != 0.0 && differ(first, second)
    };
    (apart(one, other) && apart(other, one))
        || on_segment(one.0, other)
        || on_segment(one.1, other)
        || on_segment(other.0, one)
        || on_segment(other.1, one)
}

/// Where on the first segment it crosses the line of the other, if it does so between its ends.
fn crossing((from, to): Segment, other: Segment) -> Option<f64> {
    let (first, second) = (turn(other, from), turn(other, to));
    let share = first / (first - second);
    (meet((from, to), other) && share > 0.0 && share < 1.0).then_some(share)
}

/// Where on a segment a point is that is on it.
fn share_of(point: Point, (from, to): Segment) -> f64 {
    let (x, y) = (to.x - from.x, to.y - from.y);
    match x * x > y * y {
        true => (point.x - from.x) / x,
        false if y == 0.0 => 0.0,
        false => (point.y - from.y) / y,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Shape {
        Shape::parse(text.as_bytes(), Coordinates::Flat).expect("is well formed")
    }

    fn lies(one: &str, other: &str) -> [bool; 4] {
        let relations =
            [Relation::Within, Relation::Contains, Relation::Intersects, Relation::Disjoint];
        relations.map(|relation| shape(one).lies(relation, &shape(other)))
    }

    const SQUARE: &str = "POLYGON((0 0, 0 9, 9 9, 9 0, 0 0))";
    const SMALL: &str = "POLYGON ((1 1, 1 3, 3 3, 3 1, 1 1))";
    const RING: &str = "polygon((0 0, 0 9, 9 9, 9 0, 0 0), (2 2, 2 7, 7 7, 7 2, 2 2))";
    const HORSESHOE: &str = "POLYGON((0 0, 0 9, 3 9, 3 3, 6 3, 6 9, 9 9, 9 0, 0 0))";

    #[test]
    fn shapes_lie_to_each_other_as_drawn() {
        let (inside, around) = ([true, false, true, false], [false, true, true, false]);
        let (apart, crossing) = ([false, false, false, true], [false, false, true, false]);
        assert_eq!(lies(SMALL, SQUARE), inside);
        assert_eq!(lies(SQUARE, SMALL), around);
        assert_eq!(lies("POINT (1 1)", SQUARE), inside);
        assert_eq!(lies("POINT (0 5)", SQUARE), inside, "on the border");
        assert_eq!(lies("POINT (10 5)", SQUARE), apart);
        assert_eq!(lies(SQUARE, SQUARE), [true, true, true, false]);
        assert_eq!(lies(SMALL, RING), crossing);
        assert_eq!(lies(SQUARE, RING), around);
        assert_eq!(lies("POINT (5 5)", RING), apart, "in the hole");
        assert_eq!(lies("POLYGON((3 3, 3 4, 4 4, 3 3))", RING), apart);
        assert_eq!(lies("POLYGON((10 10, 10 12, 12 12, 10 10))", SQUARE), apart);
        assert_eq!(lies("POLYGON((9 9, 9 12, 12 12, 9 9))", SQUARE), crossing, "at a corner");
        // All corners are in it, and the middle is not.
        assert_eq!(lies("POLYGON((1 5, 1 6, 8 6, 8 5, 1 5))", HORSESHOE), crossing);
        assert_eq!(lies("POLYGON((0 9, 3 9, 9 9, 9 10, 0 10, 0 9))", HORSESHOE), crossing);
        assert_eq!(lies("POLYGON((4 4, 5 4, 5 5, 4 4))", HORSESHOE), apart);
    }

    #[test]
    fn what_is_no_shape_is_refused() {
        let error = |text: &str, coordinates| {
            Shape::parse(text.as_bytes(), coordinates).expect_err("is no shape")
        };
        for text in [
            "",
            "POINT",
            "POINT 1 2",
            "POINT (1)",
            "POINT (1 2 3)",
            "POINT (1 inf)",
            "LINE (1 2)",
            "POLYGON ()",
            "POLYGON ((1 1, 2 2, 1 1))",
            "POLYGON ((1 1, 2 2, 3 1, 4 4))",
            "POLYGON (1 1, 2 2, 3 1, 1 1)",
            "POLYGON ((1 1, 2 2, 3 1, 1 1)",
        ] {
            assert!(error(text, Coordinates::Flat).starts_with("Invalid shape: "), "{text}");
        }
        assert!(error("POINT (181 0)", Coordinates::Spherical).contains("longitude"));
        let many = "1 1, ".repeat(limits::SHAPE_POINTS);
        let text = format!("POLYGON (({many}1 1))");
        assert!(error(&text, Coordinates::Flat).contains("more than"));
    }
}
