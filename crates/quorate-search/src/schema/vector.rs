//! Fields that hold vectors: `VECTOR algorithm count name value ...`.

use alloc::format;
use core::ops::RangeInclusive;

use crate::arguments::{self, Arguments, MALFORMED, MISSING, OUTSIDE, UNKNOWN, bad, finite, shown};
use crate::error::{Code, Error};
use crate::limits;

/// A field of vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// What a component is.
    pub element: Element,
    /// Components of a vector.
    pub dimensions: u32,
    /// How far two vectors are from each other.
    pub metric: Metric,
    /// How the nearest are found.
    pub algorithm: Algorithm,
}

/// How the nearest vectors are found.
#[derive(Debug, Clone, PartialEq)]
pub enum Algorithm {
    /// All are compared.
    Flat(Flat),
    /// A graph of layers is followed.
    Hnsw(Graph),
    /// A graph over quantised vectors is followed.
    Vamana(Vamana),
}

/// Options of `FLAT`; both are hints for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flat {
    /// Vectors to make room for at the start.
    pub initial_capacity: Option<u64>,
    /// Vectors of a block.
    pub block_size: Option<u64>,
}

/// Options of `HNSW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Graph {
    /// Vectors to make room for at the start, a hint.
    pub initial_capacity: Option<u64>,
    /// Neighbours of a vector in the upper layers; twice as many in the lowest.
    pub neighbours: u64,
    /// Candidates that are kept while a vector is inserted.
    pub construction_candidates: u64,
    /// Candidates that are kept while the nearest are searched for.
    pub search_candidates: u64,
    /// By what part of the radius a search within it looks beyond.
    pub epsilon: f64,
}

/// Options of `SVS-VAMANA`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vamana {
    /// Neighbours of a vector.
    pub degree: u64,
    /// Candidates that are kept while a vector is inserted.
    pub construction_candidates: u64,
    /// Candidates that are kept while the nearest are searched for.
    pub search_candidates: u64,
    /// By what part of the radius a search within it looks beyond.
    pub epsilon: f64,
    /// How vectors are quantised.
    pub compression: Option<Compression>,
    /// Vectors from which the quantiser learns.
    pub training_threshold: Option<u64>,
    /// Dimensions that are left after projection.
    pub reduced_dimensions: Option<u64>,
}

/// A fixed set of values, each with its name in schemas.
macro_rules! words {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            /// The name in schemas.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }

            fn named(word: &[u8]) -> Option<$type> {
                $type::ALL.iter().copied().find(|one| arguments::is(word, one.name()))
            }
        }
    };
}

words! {
    /// What a component of a vector is, little-endian.
    Element {
        /// IEEE 754, 4 bytes.
        Float32 "FLOAT32",
        /// IEEE 754, 8 bytes.
        Float64 "FLOAT64",
        /// IEEE 754, 2 bytes.
        Float16 "FLOAT16",
        /// The upper half of a `FLOAT32`.
        Bfloat16 "BFLOAT16",
        /// -128 to 127.
        Int8 "INT8",
        /// 0 to 255.
        Uint8 "UINT8",
    }
}

words! {
    /// How far two vectors are from each other.
    Metric {
        /// The square of the Euclidean distance.
        Euclidean "L2",
        /// One less the inner product.
        InnerProduct "IP",
        /// One less the cosine of the angle.
        Cosine "COSINE",
    }
}

words! {
    /// How vectors are quantised, by RediSearch's names: bits of the first level, of the second.
    Compression {
        /// 8 bits a component.
        Lvq8 "LVQ8",
        /// 4 bits a component.
        Lvq4 "LVQ4",
        /// 4 bits and 4 more for the order of the best.
        Lvq4x4 "LVQ4x4",
        /// 4 bits and 8 more for the order of the best.
        Lvq4x8 "LVQ4x8",
        /// Fewer dimensions at 4 bits, all at 8 for the order of the best.
        LeanVec4x8 "LeanVec4x8",
        /// Fewer dimensions at 8 bits, all at 8 for the order of the best.
        LeanVec8x8 "LeanVec8x8",
    }
}

impl Element {
    /// Bytes of a component.
    pub fn bytes(self) -> usize {
        match self {
            Element::Float64 => 8,
            Element::Float32 => 4,
            Element::Float16 | Element::Bfloat16 => 2,
            Element::Int8 | Element::Uint8 => 1,
        }
    }
}

impl Compression {
    fn reduces_dimensions(self) -> bool {
        matches!(self, Compression::LeanVec4x8 | Compression::LeanVec8x8)
    }
}

impl Algorithm {
    /// The name in schemas.
    pub fn name(&self) -> &'static str {
        match self {
            Algorithm::Flat(_) => "FLAT",
            Algorithm::Hnsw(_) => "HNSW",
            Algorithm::Vamana(_) => "SVS-VAMANA",
        }
    }

    fn named(word: &[u8]) -> Option<Algorithm> {
        let all = [
            Algorithm::Flat(Flat::default()),
            Algorithm::Hnsw(Graph::default()),
            Algorithm::Vamana(Vamana::default()),
        ];
        all.into_iter().find(|algorithm| arguments::is(word, algorithm.name()))
    }
}

/// RediSearch's defaults.
impl Default for Graph {
    fn default() -> Self {
        Graph {
            initial_capacity: None,
            neighbours: 16,
            construction_candidates: 200,
            search_candidates: 10,
            epsilon: 0.01,
        }
    }
}

/// RediSearch's defaults.
impl Default for Vamana {
    fn default() -> Self {
        Vamana {
            degree: 32,
            construction_candidates: 200,
            search_candidates: 10,
            epsilon: 0.01,
            compression: None,
            training_threshold: None,
            reduced_dimensions: None,
        }
    }
}

/// The options that must be given, as far as they have been.
#[derive(Default)]
struct Mandatory {
    element: Option<Element>,
    dimensions: Option<u32>,
    metric: Option<Metric>,
}

/// The name of an option and its value, to be read for one algorithm.
struct Pair<'a> {
    algorithm: &'static str,
    name: &'a [u8],
    value: &'a [u8],
}

impl Vector {
    /// Bytes of a vector.
    pub fn bytes(&self) -> usize {
        self.dimensions as usize * self.element.bytes()
    }

    pub(super) fn read(arguments: &mut Arguments<'_>) -> Result<Vector, Error> {
        const ALGORITHM: &str = "vector similarity algorithm";
        const COUNT: &str = "vector similarity number of parameters";
        let named = Algorithm::named(arguments.value(ALGORITHM)?);
        let mut algorithm = named.ok_or_else(|| bad(ALGORITHM, UNKNOWN))?;
        let count: Option<i64> = arguments::number(arguments.value(COUNT)?);
        let count = count.ok_or_else(|| bad(COUNT, MALFORMED))?;
        let count = usize::try_from(count).map_err(|_| bad(COUNT, OUTSIDE))?;
        if count > arguments.len() {
            return Err(bad("vector similarity", "not enough arguments"));
        }
        let mut mandatory = Mandatory::default();
        for at in (0..count).step_by(2) {
            let name = arguments.next().unwrap_or_default();
            let value = if at + 1 < count { arguments.next() } else { None };
            let pair = Pair { algorithm: algorithm.name(), name, value: value.unwrap_or_default() };
            if value.is_none() {
                return Err(pair.refused(MISSING));
            }
            if !mandatory.read(&pair)? && !algorithm.read_option(&pair)? {
                let text =
                    format!("Bad arguments for algorithm {}: {}", algorithm.name(), shown(name));
                return Err(Error::new(Code::ParseArguments, text));
            }
        }
        if let Algorithm::Vamana(vamana) = &algorithm {
            vamana.check()?;
        }
        let missing = |what| {
            let name = algorithm.name();
            let text = format!(
                "Missing mandatory parameter: cannot create {name} index without specifying \
                 {what} argument"
            );
            Error::new(Code::ParseArguments, text)
        };
        Ok(Vector {
            element: mandatory.element.ok_or_else(|| missing("TYPE"))?,
            dimensions: mandatory.dimensions.ok_or_else(|| missing("DIM"))?,
            metric: mandatory.metric.ok_or_else(|| missing("DISTANCE_METRIC"))?,
            algorithm,
        })
    }
}

impl Mandatory {
    /// Whether the pair is one of these, which then is kept.
    fn read(&mut self, pair: &Pair<'_>) -> Result<bool, Error> {
        let unknown = || pair.refused(UNKNOWN);
        match pair.name.to_ascii_uppercase().as_slice() {
            b"TYPE" => self.element = Some(Element::named(pair.value).ok_or_else(unknown)?),
            b"DISTANCE_METRIC" => {
                self.metric = Some(Metric::named(pair.value).ok_or_else(unknown)?);
            }
            b"DIM" => {
                let dimensions = pair.whole(1..=limits::VECTOR_DIMENSIONS)?;
                self.dimensions = u32::try_from(dimensions).ok();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Algorithm {
    /// Whether the pair is an option of this algorithm, which then is set.
    fn read_option(&mut self, pair: &Pair<'_>) -> Result<bool, Error> {
        let name = pair.name.to_ascii_uppercase();
        match self {
            Algorithm::Flat(flat) => match name.as_slice() {
                b"INITIAL_CAP" => flat.initial_capacity = Some(pair.whole(ANY)?),
                b"BLOCK_SIZE" => flat.block_size = Some(pair.whole(POSITIVE)?),
                _ => return Ok(false),
            },
            Algorithm::Hnsw(graph) => match name.as_slice() {
                b"INITIAL_CAP" => graph.initial_capacity = Some(pair.whole(ANY)?),
                b"M" => graph.neighbours = pair.whole(2..=1 << 16)?,
                b"EF_CONSTRUCTION" => graph.construction_candidates = pair.whole(POSITIVE)?,
                b"EF_RUNTIME" => graph.search_candidates = pair.whole(POSITIVE)?,
                b"EPSILON" => graph.epsilon = pair.fraction()?,
                _ => return Ok(false),
            },
            Algorithm::Vamana(vamana) => match name.as_slice() {
                b"GRAPH_MAX_DEGREE" => vamana.degree = pair.whole(POSITIVE)?,
                b"CONSTRUCTION_WINDOW_SIZE" => {
                    vamana.construction_candidates = pair.whole(POSITIVE)?;
                }
                b"SEARCH_WINDOW_SIZE" => vamana.search_candidates = pair.whole(POSITIVE)?,
                b"EPSILON" => vamana.epsilon = pair.fraction()?,
                b"TRAINING_THRESHOLD" => vamana.training_threshold = Some(pair.whole(POSITIVE)?),
                b"REDUCE" => vamana.reduced_dimensions = Some(pair.whole(POSITIVE)?),
                b"COMPRESSION" => {
                    let compression = Compression::named(pair.value);
                    vamana.compression = Some(compression.ok_or_else(|| pair.refused(UNKNOWN))?);
                }
                _ => return Ok(false),
            },
        }
        Ok(true)
    }
}

const ANY: RangeInclusive<u64> = 0..=i64::MAX as u64;
const POSITIVE: RangeInclusive<u64> = 1..=i64::MAX as u64;

impl Vamana {
    /// The fewest vectors that a quantiser may learn from: a block of a flat index.
    const TRAINING_MIN: u64 = 1024;

    fn check(&self) -> Result<(), Error> {
        let compression = self.compression;
        let text = if self.training_threshold.is_some() && compression.is_none() {
            "TRAINING_THRESHOLD is irrelevant when compression was not requested"
        } else if self.training_threshold.is_some_and(|vectors| vectors < Self::TRAINING_MIN) {
            "Invalid TRAINING_THRESHOLD: cannot be lower than DEFAULT_BLOCK_SIZE (1024)"
        } else if self.reduced_dimensions.is_some()
            && !compression.is_some_and(Compression::reduces_dimensions)
        {
            "REDUCE is irrelevant when compression is not of type LeanVec"
        } else {
            return Ok(());
        };
        Err(Error::new(Code::ParseArguments, text))
    }
}

impl Pair<'_> {
    fn whole(&self, bounds: RangeInclusive<u64>) -> Result<u64, Error> {
        let number: i64 = arguments::number(self.value).ok_or_else(|| self.refused(MALFORMED))?;
        let number = u64::try_from(number).ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| self.refused(OUTSIDE))
    }

    fn fraction(&self) -> Result<f64, Error> {
        let number = finite(self.value).ok_or_else(|| self.refused(MALFORMED))?;
        if number < 0.0 {
            return Err(self.refused(OUTSIDE));
        }
        Ok(number)
    }

    fn refused(&self, why: &str) -> Error {
        bad(&format!("vector similarity {} index `{}`", self.algorithm, shown(self.name)), why)
    }
}
