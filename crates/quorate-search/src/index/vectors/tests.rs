//! Graphs against comparing all.

use alloc::collections::BTreeMap;
use alloc::format;

use proptest::prelude::*;

use super::*;
use crate::query::VectorOptions;
use crate::schema::{Graph as Hnsw, Metric};

const DIMENSIONS: usize = 24;

/// Numbers that look random, from a seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Bell-shaped, about, of deviation 1.
    fn bell(&mut self) -> f64 {
        let sum: u64 = (0..12).map(|_| self.next() >> 40).sum();
        sum as f64 / f64::from(1 << 24) - 6.0
    }

    /// A point of one of 40 clusters.
    fn point(&mut self) -> Vec<f64> {
        let cluster = self.next() % 40;
        let mut centre = Numbers(cluster * 7919 + 1);
        (0..5).for_each(|_| _ = centre.next());
        (0..DIMENSIONS).map(|_| 20.0 * centre.bell() + 10.0 * self.bell()).collect()
    }
}

fn vectors(element: Element, metric: Metric, algorithm: Algorithm) -> Vectors {
    Vectors::new(&Vector { element, dimensions: DIMENSIONS as u32, metric, algorithm })
}

fn hnsw() -> Algorithm {
    Algorithm::Hnsw(Hnsw { search_candidates: 64, ..Hnsw::default() })
}

fn bytes(numbers: &mut Numbers, element: Element) -> Vec<u8> {
    let point: Vec<f64> = numbers.point();
    let point: Vec<f64> = match element {
        Element::Uint8 => point.into_iter().map(|number| number / 2.0 + 128.0).collect(),
        _ => point,
    };
    bytes_of(&point, element)
}

/// A field and the same one that is always compared whole.
struct Both {
    graph: Vectors,
    flat: Vectors,
    element: Element,
    numbers: Numbers,
}

impl Both {
    fn new(element: Element, metric: Metric, algorithm: Algorithm) -> Both {
        Both {
            graph: vectors(element, metric, algorithm),
            flat: vectors(element, metric, Algorithm::Flat(Default::default())),
            element,
            numbers: Numbers(0x2545_f491_4f6c_dd1d),
        }
    }

    fn put(&mut self, document: DocumentId) {
        let bytes = bytes(&mut self.numbers, self.element);
        self.graph.remove(document);
        self.flat.remove(document);
        self.graph.insert(&bytes, document, b"");
        self.flat.insert(&bytes, document, b"");
    }

    fn remove(&mut self, document: DocumentId) {
        self.graph.remove(document);
        self.flat.remove(document);
    }

    fn settle(&mut self) {
        while self.graph.advance(100_000) {}
    }

    /// The part of the ten nearest that is found, over some queries.
    fn recall(&mut self, among: Option<&RoaringBitmap>) -> f64 {
        let options = VectorOptions::default();
        let (mut found, mut all) = (0, 0);
        for _ in 0..60 {
            let bytes = bytes(&mut self.numbers, self.element);
            let expected = self.flat.compared(&bytes).nearest(10, among, &options);
            let nearest = self.graph.compared(&bytes).nearest(10, among, &options);
            let furthest = expected.last().expect("there are some").0;
            let furthest = furthest + furthest.abs() * 1e-6;
            let near = nearest.iter().filter(|(distance, _)| *distance <= furthest);
            assert!(nearest.iter().all(|(_, id)| among.is_none_or(|among| among.contains(*id))));
            found += near.count().min(10);
            all += expected.len().min(10);
        }
        f64::from(found as u32) / f64::from(all as u32)
    }
}

#[test]
fn recall_is_high_for_every_element_and_metric() {
    for &element in Element::ALL {
        for &metric in Metric::ALL {
            let mut both = Both::new(element, metric, hnsw());
            (0..2000).for_each(|document| both.put(document));
            both.settle();
            let recall = both.recall(None);
            assert!(recall >= 0.95, "{element:?} {metric:?}: {recall}");
        }
    }
}

#[test]
fn quantised_vectors_are_ordered_exactly() {
    let metrics = Metric::ALL.iter().copied();
    let elements = [Element::Float32, Element::Float16];
    for (metric, element) in metrics.flat_map(|metric| elements.map(|element| (metric, element))) {
        let vamana = crate::schema::Vamana {
            search_candidates: 64,
            compression: Some(crate::schema::Compression::Lvq8),
            ..Default::default()
        };
        let mut both = Both::new(element, metric, Algorithm::Vamana(vamana));
        (0..3000).for_each(|document| both.put(document));
        both.settle();
        let recall = both.recall(None);
        assert!(recall >= 0.95, "{metric:?}: {recall}");
    }
}

#[test]
fn recall_does_not_decay_when_half_is_replaced() {
    let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
    (0..4000).for_each(|document| both.put(document));
    both.settle();
    let before = both.recall(None);
    for round in 0..4 {
        // Half of them, and in between the graph goes on as if under load.
        for document in (round % 2..4000).step_by(2) {
            both.put(document);
            both.graph.advance(2_000);
        }
        both.settle();
        let after = both.recall(None);
        assert!(after >= before - 0.02 && after >= 0.95, "{before} {after}");
    }
    let slots = both.graph.owners.len();
    assert!(slots < 4000 * 5 / 4, "slots are used again: {slots}");
}

#[test]
fn what_filters_leave_is_found() {
    let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
    (0..20_000).for_each(|document| both.put(document));
    both.settle();
    for part in [1000, 100, 30, 10, 4, 2] {
        let among: RoaringBitmap = (0..20_000).filter(|id| id * 7919 % part == 0).collect();
        let recall = both.recall(Some(&among));
        assert!(recall >= 0.95, "one of {part}: {recall}");
    }
    let most: RoaringBitmap = (0..20_000).filter(|id| id % 10 > 0).collect();
    assert!(both.recall(Some(&most)) >= 0.95);
}

/// Only documents of some clusters count, where the query mostly is not.
#[test]
fn what_counts_may_lie_apart() {
    let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
    let mut apart = RoaringBitmap::new();
    for document in 0..10_000 {
        both.put(document);
        let compared = both.flat.compared(&bytes_of(&[10.0; DIMENSIONS], Element::Float32));
        if compared.distance(document).expect("there") < 11_000.0 {
            apart.insert(document);
        }
    }
    assert!((1500..6000).contains(&apart.len()), "{}", apart.len());
    both.settle();
    let recall = both.recall(Some(&apart));
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn ranges_are_found() {
    let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
    (0..5000).for_each(|document| both.put(document));
    both.settle();
    let options = VectorOptions { candidates: Some(32), epsilon: Some(0.1), ..Default::default() };
    let (mut found, mut all) = (0, 0);
    for _ in 0..60 {
        let bytes = bytes(&mut both.numbers, both.element);
        let expected = both.flat.compared(&bytes).within(5000.0, &options);
        let within = both.graph.compared(&bytes).within(5000.0, &options);
        assert!(within.is_subset(&expected));
        found += within.len();
        all += expected.len();
    }
    assert!(all > 600, "{all}");
    assert!(found * 100 >= all * 97, "{found} of {all}");
}

#[test]
fn when_all_of_a_few_are_replaced_at_once_they_are_found() {
    for count in [1, 3, 20, 40] {
        let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
        for _ in 0..3 {
            (0..count).for_each(|document| both.put(document));
            both.settle();
            let bytes = bytes(&mut both.numbers, both.element);
            let within = both.graph.compared(&bytes).within(1e9, &VectorOptions::default());
            assert_eq!(within.len(), u64::from(count));
        }
    }
}

#[test]
fn when_most_are_removed_the_rest_is_found() {
    let mut both = Both::new(Element::Float32, Metric::Cosine, hnsw());
    for left in [3000, 40, 10, 1] {
        (0..4000).for_each(|document| both.put(document));
        both.settle();
        (left..4000).for_each(|document| both.remove(document));
        assert!(both.recall(None) >= 0.95);
        both.settle();
        assert!(both.recall(None) >= 0.95, "{left}");
    }
    both.remove(0);
    both.settle();
    let bytes = bytes(&mut both.numbers, both.element);
    assert!(both.graph.compared(&bytes).nearest(3, None, &VectorOptions::default()).is_empty());
}

#[test]
fn memory_is_about_that_of_the_vectors_and_links() {
    let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
    (0..20_000).for_each(|document| both.put(document));
    both.settle();
    let least = 20_000 * (DIMENSIONS * 4 + 33 * 4);
    let memory = both.graph.memory();
    assert!((least..least * 5 / 4).contains(&memory), "{memory} of {least}");
    assert!(both.flat.memory() < memory);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is put and removed while the graph is worked on: what is found is there, at its
    /// exact distance, once; and what is alone or new is found.
    #[test]
    fn only_what_is_there_is_found(
        changes in prop::collection::vec((0u32..150, 0u8..4, 0usize..3000), 1..600),
        metric in prop::sample::select(Metric::ALL.to_vec()),
    ) {
        let mut both = Both::new(Element::Float32, metric, hnsw());
        let mut there: BTreeMap<DocumentId, usize> = BTreeMap::new();
        for (number, &(document, kind, budget)) in changes.iter().enumerate() {
            match kind {
                0 => both.remove(document),
                // Several vectors of one document.
                1 => {
                    let bytes = bytes(&mut both.numbers, both.element);
                    both.graph.insert(&bytes, document, b"");
                    both.flat.insert(&bytes, document, b"");
                }
                _ => both.put(document),
            }
            if kind == 0 { there.remove(&document) } else { there.insert(document, number) };
            both.graph.advance(budget);
        }
        let query = bytes(&mut both.numbers, both.element);
        let (graph, flat) = (both.graph.compared(&query), both.flat.compared(&query));
        let options = VectorOptions { candidates: Some(1000), ..VectorOptions::default() };
        let expected = flat.nearest(1000, None, &options);
        let found = graph.nearest(1000, None, &options);
        prop_assert_eq!(found.len(), there.len());
        prop_assert_eq!(&found, &expected, "all there is, by a scan");
        for (distance, document) in graph.nearest(5, None, &VectorOptions::default()) {
            prop_assert_eq!(flat.distance(document), Some(distance), "{}", format!("{document}"));
        }
    }
}

#[test]
fn distances_are_those_of_the_flat_field() {
    let mut both = Both::new(Element::Float32, Metric::InnerProduct, hnsw());
    (0..50).for_each(|document| both.put(document));
    let query = bytes(&mut both.numbers, both.element);
    let options = VectorOptions::default();
    let found = both.graph.compared(&query).nearest(50, None, &options);
    assert_eq!(found, both.flat.compared(&query).nearest(50, None, &options));
    let mut all: Vec<u32> = found.into_iter().map(|(_, document)| document).collect();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..50));
}

/// The same vectors in a field that is made anew with a kept graph: by documents in another order.
fn again(kept: &[u8], documents: &BTreeMap<DocumentId, Vec<u8>>) -> Vectors {
    let mut graph = vectors(Element::Float32, Metric::Euclidean, hnsw());
    let taken = graph.remember_graph(&mut crate::wire::Reader::new(kept));
    assert!(taken.is_ok(), "{taken:?}");
    for (document, bytes) in documents.iter().rev() {
        graph.insert(bytes, *document, &document.to_be_bytes());
    }
    graph.settle_graph();
    graph
}

fn kept(graph: &Vectors, keys: &[[u8; 4]]) -> Vec<u8> {
    let mut writer = crate::wire::Writer::default();
    assert!(graph.write_graph(&mut writer, |document| &keys[document as usize]));
    writer.finish()
}

#[test]
fn a_kept_graph_is_taken_up_and_goes_on() {
    let keys: Vec<[u8; 4]> = (0..3000u32).map(u32::to_be_bytes).collect();
    let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
    let mut documents = BTreeMap::new();
    for document in 0..2000 {
        let bytes = bytes(&mut both.numbers, both.element);
        both.graph.insert(&bytes, document, b"");
        both.flat.insert(&bytes, document, b"");
        documents.insert(document, bytes);
    }
    both.settle();
    // Some are removed and not swept yet.
    for document in 0..40 {
        both.remove(document);
        documents.remove(&document);
    }
    let whole = kept(&both.graph, &keys);

    // The same documents: nothing is left to be linked, and all is found as before.
    both.graph = again(&whole, &documents);
    let graph = both.graph.graph.as_ref().expect("has one");
    assert!(graph.linked() == 1960 && graph.unlinked().count() < 20, "{}", graph.linked());
    both.settle();
    assert!(both.recall(None) >= 0.95);
    assert_eq!(kept(&both.graph, &keys).len() / 1000, whole.len() / 1000);

    // Others have gone, changed and come since: these are linked as always.
    for document in (40..200).step_by(2) {
        both.remove(document);
        documents.remove(&document);
    }
    for document in (300..340).chain(2000..2400) {
        both.flat.remove(document);
        let bytes = bytes(&mut both.numbers, both.element);
        both.flat.insert(&bytes, document, b"");
        documents.insert(document, bytes);
    }
    both.graph = again(&whole, &documents);
    assert!(both.recall(None) >= 0.95, "what is not linked is found as well");
    both.settle();
    assert!(both.recall(None) >= 0.95);
    let graph = both.graph.graph.as_ref().expect("has one");
    assert_eq!(graph.linked(), documents.len());
    (0..400).for_each(|document| both.put(document));
    both.settle();
    assert!(both.recall(None) >= 0.95, "it goes on as any other");

    // Of another field, or too different: made anew.
    let mut other = vectors(
        Element::Float32,
        Metric::Euclidean,
        Algorithm::Hnsw(Hnsw { neighbours: 8, ..Hnsw::default() }),
    );
    assert!(other.remember_graph(&mut crate::wire::Reader::new(&whole)).is_err());
    documents.retain(|document, _| document % 2 == 0);
    let half = again(&whole, &documents);
    assert_eq!(half.graph.as_ref().expect("has one").linked(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a file says, all vectors are found.
    #[test]
    fn a_graph_that_was_altered_does_no_harm(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let keys: Vec<[u8; 4]> = (0..60u32).map(u32::to_be_bytes).collect();
        let mut both = Both::new(Element::Float32, Metric::Euclidean, hnsw());
        let mut documents = BTreeMap::new();
        for document in 0..60 {
            let bytes = bytes(&mut both.numbers, both.element);
            both.graph.insert(&bytes, document, b"");
            both.flat.insert(&bytes, document, b"");
            documents.insert(document, bytes);
        }
        both.settle();
        let mut bytes = kept(&both.graph, &keys);
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] = byte }
        let mut graph = vectors(Element::Float32, Metric::Euclidean, hnsw());
        _ = graph.remember_graph(&mut crate::wire::Reader::new(&bytes));
        for (document, vector) in &documents {
            graph.insert(vector, *document, &keys[*document as usize]);
        }
        graph.settle_graph();
        while graph.advance(100_000) {}
        for document in &documents {
            let nearest = graph.compared(document.1).nearest(60, None, &VectorOptions::default());
            prop_assert!(nearest.iter().any(|(_, found)| found == document.0));
        }
        graph.remove(3);
        while graph.advance(100_000) {}
    }
}

/// Where a byte a component does not tell near from far: far from the middle, or beside a component
/// that is much larger.
#[test]
fn what_is_near_is_told_apart_by_small_differences() {
    let shifted: [fn(usize, f64) -> f64; 2] =
        [|_, number| 1e5 + number, |place, number| if place == 0 { 1e6 } else { number }];
    for shift in shifted {
        for metric in [Metric::Euclidean, Metric::InnerProduct] {
            let mut graph = vectors(Element::Float32, metric, hnsw());
            let mut flat = vectors(Element::Float32, metric, Algorithm::Flat(Default::default()));
            let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
            let mut point = || -> Vec<u8> {
                let point = numbers.point().into_iter().enumerate();
                let point: Vec<f64> = point.map(|(place, number)| shift(place, number)).collect();
                bytes_of(&point, Element::Float32)
            };
            for document in 0..2000 {
                let bytes = point();
                graph.insert(&bytes, document, b"");
                flat.insert(&bytes, document, b"");
            }
            while graph.advance(100_000) {}
            let options = VectorOptions::default();
            let mut found = 0;
            for _ in 0..60 {
                let bytes = point();
                let furthest = flat.compared(&bytes).nearest(10, None, &options)[9].0;
                let nearest = graph.compared(&bytes).nearest(10, None, &options);
                found += nearest.iter().take(10).filter(|near| near.0 <= furthest).count();
            }
            assert!(found >= 570, "{metric:?}: {found} of 600");
        }
    }
}
