//! How well a document matches a query, and how that came about in RediSearch's words.
//!
//! * `BM25STD`: Robertson's and Zaragoza's BM25, k1 1.2, b 0.75
//!   ("The Probabilistic Relevance Framework: BM25 and Beyond", 2009);
//! * `BM25`: a form of it that knows only the average length, b 0.5;
//! * `TFIDF`: frequencies times rarity, by the commonest term of the document or by its length;
//! * `DISMAX`: frequencies, the greatest of alternatives;
//! * `DOCSCORE`: the document's own score;
//! * `HAMMING`: how few bits differ between payloads.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use super::matcher::{All, Kind, Matcher, Term};
use super::{Request, Statistics};
use crate::arguments::is;
use crate::index::{Bound, DocumentId, Entry};

/// How documents are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Scorer {
    /// `BM25STD`
    #[default]
    Bm25Std,
    /// `BM25STD.TANH`: between 0 and 1, by the hyperbolic tangent; divided by this before.
    Bm25StdTanh(u64),
    /// `BM25`
    Bm25,
    /// `TFIDF`
    Tfidf,
    /// `TFIDF.DOCNORM`
    TfidfDocNorm,
    /// `DISMAX`
    DisMax,
    /// `DOCSCORE`
    DocScore,
    /// `HAMMING`
    Hamming,
}

impl Scorer {
    /// The divisor of `BM25STD.TANH` if none is given.
    pub const TANH_FACTOR: u64 = 4;

    /// The scorer of this name.
    pub fn named(name: &[u8]) -> Option<Scorer> {
        let all = [
            ("BM25STD", Scorer::Bm25Std),
            ("BM25STD.TANH", Scorer::Bm25StdTanh(Scorer::TANH_FACTOR)),
            ("BM25", Scorer::Bm25),
            ("TFIDF", Scorer::Tfidf),
            ("TFIDF.DOCNORM", Scorer::TfidfDocNorm),
            ("DISMAX", Scorer::DisMax),
            ("DOCSCORE", Scorer::DocScore),
            ("HAMMING", Scorer::Hamming),
        ];
        all.into_iter().find(|(own, _)| is(name, own)).map(|(_, scorer)| scorer)
    }
}

/// How a score came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// In words.
    pub text: String,
    /// Of what it is made.
    pub children: Vec<Explanation>,
}

impl Explanation {
    /// Bytes that it holds, about.
    pub(super) fn size(&self) -> usize {
        let children = self.children.iter().map(Explanation::size).sum::<usize>();
        size_of::<Explanation>() + self.text.len() + children
    }
}

/// RediSearch has this constant in single precision.
const K1: f64 = 1.2_f32 as f64;

/// A frequency with which the score of a term is as high as with any.
const UNCOUNTED: f32 = 1e18;

/// Between these, single precision is as good as it gets.
const SCALE_MIN: f64 = 1e-20;
const SCALE_MAX: f64 = 1e20;

/// How much the length of documents matters: `BM25STD`, `BM25`.
const B_STD: f64 = 0.75;
const B: f64 = 0.5;

/// What scores of a query depend on besides the document.
pub(super) struct Scoring<'r> {
    scorer: Scorer,
    explain: bool,
    payload: Option<&'r [u8]>,
    documents: f64,
    average_length: f64,
}

/// What a term adds to `BM25STD`, in single precision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rough {
    scale: f32,
    fixed: f32,
    length: f32,
}

impl Rough {
    /// For a frequency, of which 255 stands for any, and that many words of a document.
    #[inline]
    pub(super) fn score(&self, frequency: u8, words: u32) -> f32 {
        let f = counted(frequency);
        self.scale * (f / (f + self.fixed + self.length * words as f32))
    }

    /// The most for documents of a bound.
    #[inline]
    pub(super) fn most(&self, bound: Bound) -> f32 {
        let frequencies = [1.0, 2.0, 3.0, counted(bound.frequency)];
        let mut most = [0.0; 4];
        for ((most, f), words) in most.iter_mut().zip(frequencies).zip(bound.words) {
            *most = f / (f + self.fixed + self.length * f32::from(words));
        }
        let greater = |one: f32, other: f32| if one > other { one } else { other };
        self.scale * greater(greater(most[0], most[1]), greater(most[2], most[3]))
    }
}

/// A frequency, of which 255 stands for any: beyond what is counted, as if no length mattered.
#[inline]
fn counted(frequency: u8) -> f32 {
    if frequency == u8::MAX { UNCOUNTED } else { f32::from(frequency) }
}

/// A number, and how it came about if that is asked for.
type Scored = (f64, Option<Explanation>);

impl<'r> Scoring<'r> {
    /// Whether scores are those of `BM25STD`, with nothing told about them.
    pub(super) fn is_quick(&self) -> bool {
        self.scorer == Scorer::Bm25Std && !self.explain
    }

    pub(super) fn new(request: &Request<'r>, statistics: &Statistics) -> Self {
        Scoring {
            scorer: request.scorer,
            explain: request.explain,
            payload: request.payload,
            documents: statistics.documents as f64,
            average_length: statistics.average_length(),
        }
    }

    /// The score of a document at which `matcher` is.
    pub(super) fn score(&self, matcher: &mut Matcher<'_>, id: DocumentId, entry: &Entry) -> Scored {
        let score = entry.score;
        match self.scorer {
            Scorer::DocScore => {
                (score, self.text(|| format!("Document's score is {score:.2}"), None))
            }
            Scorer::Hamming => self.hamming(entry),
            Scorer::DisMax => self.part(matcher, id, entry),
            Scorer::Bm25Std | Scorer::Bm25StdTanh(_) => {
                let (words, explanation) = self.part(matcher, id, entry);
                let text =
                    || format!("Final BM25 : words BM25 {words:.2} * document score {score:.2}");
                let plain = (score * words, self.text(text, explanation));
                match self.scorer {
                    Scorer::Bm25StdTanh(factor) => self.tanh(plain, factor),
                    _ => plain,
                }
            }
            Scorer::Bm25 => {
                let (words, explanation) = self.part(matcher, id, entry);
                let slop = matcher.distance(id);
                let text = || {
                    format!(
                        "Final BM25 : words BM25 {words:.2} * document score {score:.2} / slop {slop}"
                    )
                };
                (score * words / f64::from(slop), self.text(text, explanation))
            }
            Scorer::Tfidf | Scorer::TfidfDocNorm => {
                let (words, explanation) = self.part(matcher, id, entry);
                let by_length = self.scorer == Scorer::TfidfDocNorm;
                let norm = if by_length { entry.length } else { entry.frequency_max }.max(1);
                let slop = matcher.distance(id);
                let text = || {
                    format!(
                        "Final TFIDF : words TFIDF {words:.2} * document score {score:.2} / norm \
                         {norm} / slop {slop}"
                    )
                };
                let value = score * words / f64::from(norm) / f64::from(slop);
                (value, self.text(text, explanation))
            }
        }
    }

    fn tanh(&self, (plain, explanation): Scored, factor: u64) -> Scored {
        let text = || {
            format!(
                "Final Normalized BM25 : tanh(stretch factor 1/{factor} * Final BM25 {plain:.2})"
            )
        };
        (libm::tanh(plain / factor as f64), self.text(text, explanation))
    }

    fn hamming(&self, entry: &Entry) -> Scored {
        let (Some(own), Some(asked)) = (&entry.payload, self.payload) else {
            return (0.0, self.text(|| VARY.to_string(), None));
        };
        if own.len() != asked.len() || own.is_empty() {
            return (0.0, self.text(|| VARY.to_string(), None));
        }
        let bits: u32 = own.iter().zip(asked).map(|(one, other)| (one ^ other).count_ones()).sum();
        let score = 1.0 / (f64::from(bits) + 1.0);
        let text = || {
            format!(
                "String length is {}. Bit count is {bits}. Result is (1 / count + 1) = {score:.2}",
                own.len()
            )
        };
        (score, self.text(text, None))
    }

    /// What a part of the query adds.
    fn part(&self, matcher: &mut Matcher<'_>, id: DocumentId, entry: &Entry) -> Scored {
        let weight = matcher.weight;
        match &mut matcher.kind {
            Kind::Term { reader, term, .. } => self.term(term, weight, reader.frequency(), entry),
            Kind::Label { term, .. } => self.term(term, weight, 1, entry),
            Kind::Everything(_) if self.is_bm25_std() => self.bm25_std("*", weight, 1.0, 1, entry),
            Kind::Everything(_) | Kind::Filter(_) => self.filter(weight, 1),
            Kind::Not { .. } => self.filter(weight, 0),
            Kind::Optional { child, .. } => {
                if child.is_at(id) {
                    let (value, explanation) = self.part(child, id, entry);
                    (value * weight, explanation)
                } else {
                    self.filter(weight, 0)
                }
            }
            Kind::All(All { children, .. }) => self.group(children, weight, false, id, entry),
            Kind::Any { children } => {
                let greatest = self.scorer == Scorer::DisMax;
                self.group(children, weight, greatest, id, entry)
            }
        }
    }

    /// Children that match, added up or the greatest of them.
    fn group(
        &self,
        children: &mut [Matcher<'_>],
        weight: f64,
        greatest: bool,
        id: DocumentId,
        entry: &Entry,
    ) -> Scored {
        let mut value: f64 = 0.0;
        let mut explanations = Vec::new();
        for child in children {
            if !child.counts_at(id) {
                continue;
            }
            let (added, explanation) = self.part(child, id, entry);
            value = if greatest { value.max(added) } else { value + added };
            explanations.extend(explanation);
        }
        let text = match self.scorer {
            Scorer::Tfidf | Scorer::TfidfDocNorm => "total children TFIDF",
            Scorer::DisMax => "children DISMAX",
            _ => "children BM25",
        };
        let total = weight * value;
        let explanation = self.explain.then(|| Explanation {
            text: match self.scorer {
                Scorer::DisMax => format!("{total:.2} = Weight {weight:.2} * {text} {value:.2}"),
                _ => format!("(Weight {weight:.2} * {text} {value:.2})"),
            },
            children: explanations,
        });
        (total, explanation)
    }

    fn term(&self, term: &Term, weight: f64, frequency: u32, entry: &Entry) -> Scored {
        let f = f64::from(frequency);
        match self.scorer {
            Scorer::Tfidf | Scorer::TfidfDocNorm => {
                let rarity = self.rarity(term);
                let value = weight * f * rarity;
                let text = || {
                    format!(
                        "(TFIDF {value:.2} = Weight {weight:.2} * TF {frequency} * IDF {rarity:.2})"
                    )
                };
                (value, self.text(text, None))
            }
            Scorer::Bm25 => {
                let rarity = self.rarity(term);
                let value = weight * rarity * f / (f + self.saturation());
                let text = || {
                    format!(
                        "({value:.2} = Weight {weight:.2} * IDF {rarity:.2} * F {frequency} / \
                         (F {frequency} + k1 1.2 * (1 - b 0.5 + b 0.5 * Average Len {:.2})))",
                        self.average_length
                    )
                };
                (value, self.text(text, None))
            }
            Scorer::Bm25Std | Scorer::Bm25StdTanh(_) => {
                self.bm25_std(&term.text, weight, term.rarity, frequency, entry)
            }
            Scorer::DisMax | Scorer::DocScore | Scorer::Hamming => self.filter(weight, frequency),
        }
    }

    fn bm25_std(
        &self,
        term: &str,
        weight: f64,
        rarity: f64,
        frequency: u32,
        entry: &Entry,
    ) -> Scored {
        let f = f64::from(frequency);
        let (length, average) = (entry.length, self.average_length);
        let value = self.bm25(weight, rarity, f, length);
        let text = || {
            format!(
                "{term}: ({value:.2} = Weight {weight:.2} * IDF {rarity:.2} * (F {f:.2} * (k1 1.2 + \
                 1)) / (F {f:.2} + k1 1.2 * (1 - b 0.75 + b 0.75 * Doc Len {length} / Average Doc \
                 Len {average:.2})))"
            )
        };
        (value, self.text(text, None))
    }

    /// What a term adds to `BM25STD`.
    pub(super) fn bm25(&self, weight: f64, rarity: f64, f: f64, length: u32) -> f64 {
        // Only what has no words at all has no length on average.
        let average = self.average_length;
        let share = if average > 0.0 { f64::from(length) / average } else { 0.0 };
        weight * rarity * (f * (K1 + 1.0)) / (f + K1 * (1.0 - B_STD + B_STD * share))
    }

    /// What a term adds, in single precision; none if the weight is below 0, or so great or small
    /// that this says nothing.
    pub(super) fn rough(&self, weight: f64, rarity: f64) -> Option<Rough> {
        let scale = weight * rarity * (K1 + 1.0);
        if scale != 0.0 && !(SCALE_MIN..=SCALE_MAX).contains(&scale) {
            return None;
        }
        let length = if self.average_length > 0.0 { K1 * B_STD / self.average_length } else { 0.0 };
        let fixed = (K1 * (1.0 - B_STD)) as f32;
        Some(Rough { scale: scale as f32, fixed, length: length as f32 })
    }

    /// What the one term of alternatives adds, as [`Scoring::quick`] has it where it is there.
    pub(super) fn only(&self, matcher: &Matcher<'_>, frequency: u32, length: u32) -> f64 {
        match &matcher.kind {
            Kind::Term { term, .. } => {
                self.bm25(matcher.weight, term.rarity, frequency.into(), length)
            }
            Kind::Any { children } => {
                let each = children.iter().map(|child| self.only(child, frequency, length));
                matcher.weight * each.fold(0.0, |sum, added| sum + added)
            }
            _ => 0.0,
        }
    }

    /// The score of a document of that many words at which `matcher` is, as [`Scoring::score`] has
    /// it without the document's own, and faster. Only by `BM25STD`.
    pub(super) fn quick(&self, matcher: &mut Matcher<'_>, id: DocumentId, length: u32) -> f64 {
        let weight = matcher.weight;
        match &mut matcher.kind {
            Kind::Term { reader, term, .. } => {
                self.bm25(weight, term.rarity, reader.frequency().into(), length)
            }
            Kind::Label { term, .. } => self.bm25(weight, term.rarity, 1.0, length),
            Kind::Everything(_) => self.bm25(weight, 1.0, 1.0, length),
            Kind::Filter(_) | Kind::Not { .. } => 0.0,
            Kind::Optional { child, .. } => {
                if child.is_at(id) {
                    self.quick(child, id, length) * weight
                } else {
                    0.0
                }
            }
            Kind::All(All { children, .. }) | Kind::Any { children } => {
                let mut value = 0.0;
                for child in children {
                    if child.counts_at(id) {
                        value += self.quick(child, id, length);
                    }
                }
                weight * value
            }
        }
    }

    /// What matches without saying how well.
    fn filter(&self, weight: f64, frequency: u32) -> Scored {
        let f = f64::from(frequency);
        match self.scorer {
            Scorer::Bm25Std | Scorer::Bm25StdTanh(_) => {
                (0.0, self.text(|| "Irrelevant token -> score is 0".to_string(), None))
            }
            Scorer::Bm25 => {
                let value = weight * f / (f + self.saturation());
                let text = || {
                    format!(
                        "({value:.2} = Weight {weight:.2} * F {frequency} / (F {frequency} + k1 1.2 \
                         * (1 - b 0.5 + b 0.5 * Average Len {:.2})))",
                        self.average_length
                    )
                };
                (value, self.text(text, None))
            }
            Scorer::Tfidf | Scorer::TfidfDocNorm => {
                let value = weight * f;
                let text =
                    || format!("(TFIDF {value:.2} = Weight {weight:.2} * Frequency {frequency})");
                (value, self.text(text, None))
            }
            Scorer::DisMax | Scorer::DocScore | Scorer::Hamming => {
                let value = weight * f;
                let text =
                    || format!("DISMAX {value:.2} = Weight {weight:.2} * Frequency {frequency}");
                (value, self.text(text, None))
            }
        }
    }

    fn is_bm25_std(&self) -> bool {
        matches!(self.scorer, Scorer::Bm25Std | Scorer::Bm25StdTanh(_))
    }

    /// How few documents have a term: the whole part of the binary logarithm.
    fn rarity(&self, term: &Term) -> f64 {
        let share = self.documents / (term.documents.max(1) as f64);
        libm::floor(libm::log2(1.0 + share))
    }

    fn saturation(&self) -> f64 {
        K1 * (1.0 - B + B * self.average_length)
    }

    fn text(&self, text: impl Fn() -> String, child: Option<Explanation>) -> Option<Explanation> {
        self.explain.then(|| Explanation {
            text: text(),
            children: child.map_or_else(Vec::new, |child| vec![child]),
        })
    }
}

const VARY: &str = "Payloads provided to scorer vary in length";
