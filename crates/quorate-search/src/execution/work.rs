//! About how much work a query is, before any of it is done.

use super::Request;
use crate::index::{FieldIndex, Index};
use crate::query::{Kind, Label, Node, Place, Target};

/// Components of vectors that are compared in the time that a document takes.
const COMPONENTS: u64 = 64;

/// Numbers and places that are put into a set in the time that a document takes.
const COLLECTED: u64 = 4;

/// Vectors that a graph compares for one query, about.
const GRAPH_STEPS: u64 = 1_000;

/// What a part of a query may take.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// What has to be done before the first document.
    before: u64,
    /// Documents that it matches, at most.
    matches: u64,
}

impl Index {
    /// About how many documents a query looks at, or does as much work as; more rather than fewer.
    pub fn work(&self, request: &Request<'_>) -> u64 {
        let Work { before, matches } = self.work_of(request.node, request);
        before.saturating_add(matches)
    }

    fn work_of(&self, node: &Node, request: &Request<'_>) -> Work {
        let all = self.documents.every().len();
        let matching = |matches: u64| Work { before: 0, matches: matches.min(all) };
        let having =
            |term: &str| self.terms.get(term).map_or(0, |postings| u64::from(postings.documents()));
        match &node.kind {
            Kind::Nothing => matching(0),
            Kind::Empty => matching(having("")),
            Kind::Word(word) => {
                let forms = request.forms(self, word, node);
                matching(having(word) + forms.iter().map(|form| having(form)).sum::<u64>())
            }
            Kind::Phrase(words) => {
                matching(words.iter().map(|word| having(word)).min().unwrap_or(0))
            }
            Kind::Affix(affix) if affix.place == Place::Prefix => matching(all),
            Kind::Affix(_) | Kind::Wildcard(_) | Kind::Fuzzy { .. } => {
                Work { before: self.terms.len() as u64, matches: all }
            }
            Kind::Tags { field, labels } => self.labelled(*field, labels, all),
            Kind::Numeric { .. } | Kind::Geo { .. } => {
                Work { before: all / COLLECTED, matches: all }
            }
            Kind::All | Kind::Missing(_) | Kind::Shape { .. } => matching(all),
            Kind::Within { vector, .. } => Work { before: self.compared_by(vector), matches: all },
            Kind::And(nodes) => {
                let each = nodes.iter().map(|node| self.work_of(node, request));
                each.reduce(|one, other| Work {
                    before: one.before.saturating_add(other.before),
                    matches: one.matches.min(other.matches),
                })
                .unwrap_or(matching(0))
            }
            Kind::Or(nodes) => {
                let each = nodes.iter().map(|node| self.work_of(node, request));
                each.fold(matching(0), |one, other| Work {
                    before: one.before.saturating_add(other.before),
                    matches: one.matches.saturating_add(other.matches),
                })
            }
            Kind::Not(inner) | Kind::Optional(inner) => {
                Work { matches: all, ..self.work_of(inner, request) }
            }
            Kind::Nearest { filter, vector, .. } => {
                let Work { before, matches } = self.work_of(filter, request);
                let compared = self.compared_by(vector);
                Work { before: before.saturating_add(compared), matches }
            }
        }
    }

    fn labelled(&self, field: crate::schema::FieldId, labels: &[Label], all: u64) -> Work {
        let Some(kept) = self.labels(field) else { return Work { before: 0, matches: 0 } };
        let words = labels.iter().map(|label| match label {
            Label::Words(words) => Some(kept.get(&words.join(" ")).map_or(0, |kept| kept.len())),
            Label::Affix(_) | Label::Wildcard(_) => None,
        });
        match words.sum::<Option<u64>>() {
            Some(matches) => Work { before: 0, matches: matches.min(all) },
            None => Work { before: all, matches: all },
        }
    }

    fn compared_by(&self, target: &Target) -> u64 {
        let FieldIndex::Vectors(vectors) = self.field(target.field) else { return 0 };
        let components = vectors.dimensions().div_ceil(COMPONENTS);
        let compared = vectors.compared_at_most(GRAPH_STEPS);
        compared.saturating_mul(components)
    }
}
