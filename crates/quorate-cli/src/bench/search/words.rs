//! Short documents of words that look made up, as often as words of a language are (Zipf), and
//! questions about them; the same at every run.

use super::points::Numbers;

/// Different words.
const WORDS: usize = 50_000;

/// Words of a document: from the first number to the second.
const LENGTHS: (u64, u64) = (5, 20);

/// Words of questions are among that many commonest, common and rare ones alike.
const ASKED: f64 = 10_000.0;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Term,
    And,
    Or,
    Phrase,
    Prefix,
    Fuzzy,
}

impl Kind {
    pub(super) const ALL: [Kind; 6] =
        [Kind::Term, Kind::And, Kind::Or, Kind::Phrase, Kind::Prefix, Kind::Fuzzy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Term => "term",
            Kind::And => "and",
            Kind::Or => "or",
            Kind::Phrase => "phrase",
            Kind::Prefix => "prefix",
            Kind::Fuzzy => "fuzzy",
        }
    }

    /// The query of some words.
    pub(super) fn query(self, words: &[String]) -> String {
        match self {
            Kind::Term | Kind::And => words.join(" "),
            Kind::Or => words.join("|"),
            Kind::Phrase => format!("\"{}\"", words.join(" ")),
            Kind::Prefix => format!("{}*", words.concat()),
            Kind::Fuzzy => format!("%{}%", words.concat()),
        }
    }
}

pub(super) struct Documents {
    words: Vec<String>,
    /// How often words come up, up to each.
    sums: Vec<f64>,
    numbers: Numbers,
    pub(super) documents: Vec<String>,
}

impl Documents {
    pub(super) fn new(count: usize) -> Documents {
        let mut numbers = Numbers::new(0x2545_f491_4f6c_dd1d);
        let mut words = std::collections::BTreeSet::new();
        let mut order = Vec::new();
        while order.len() < WORDS {
            let word = word(&mut numbers);
            if words.insert(word.clone()) {
                order.push(word);
            }
        }
        let mut sum = 0.0;
        let sums = (1..=WORDS).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let mut made =
            Documents { words: order, sums: sums.collect(), numbers, documents: Vec::new() };
        made.documents = (0..count).map(|_| made.document()).collect();
        made
    }

    fn document(&mut self) -> String {
        let length = LENGTHS.0 + self.numbers.bits() % (LENGTHS.1 - LENGTHS.0 + 1);
        let words = (0..length).map(|_| {
            let all = self.sums[WORDS - 1];
            let drawn = self.numbers.even() * all;
            let rank = self.sums.partition_point(|&sum| sum <= drawn);
            self.words[rank.min(WORDS - 1)].as_str()
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The words of that many questions.
    pub(super) fn questions(&mut self, kind: Kind, count: usize) -> Vec<Vec<String>> {
        (0..count).map(|_| self.question(kind)).collect()
    }

    fn question(&mut self, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Term => vec![self.asked()],
            Kind::And => vec![self.asked(), self.asked()],
            Kind::Or => (0..5).map(|_| self.asked()).collect(),
            Kind::Phrase => {
                let document = self.numbers.bits() as usize % self.documents.len();
                let words: Vec<&str> = self.documents[document].split(' ').collect();
                let at = self.numbers.bits() as usize % (words.len() - 1);
                words[at..at + 2].iter().map(|&word| word.to_owned()).collect()
            }
            // Short enough to stand for several words, long enough not to stand for too many.
            Kind::Prefix => vec![self.asked().chars().take(4).collect()],
            Kind::Fuzzy => {
                let mut letters: Vec<char> = self.asked().chars().collect();
                let at = self.numbers.bits() as usize % letters.len();
                letters[at] = 'x';
                vec![letters.into_iter().collect()]
            }
        }
    }

    fn asked(&mut self) -> String {
        let rank = ASKED.powf(self.numbers.even());
        self.words[rank as usize - 1].clone()
    }
}

/// Two to four syllables.
fn word(numbers: &mut Numbers) -> String {
    const FIRST: &[u8] = b"bcdfghjklmnprstvwz";
    const SECOND: &[u8] = b"aeiouy";
    let mut drawn =
        |letters: &[u8]| char::from(letters[(numbers.bits() >> 20) as usize % letters.len()]);
    let syllables = 2 + "abc".find(drawn(b"abc")).unwrap_or(0);
    let mut word = String::new();
    for _ in 0..syllables {
        word.push(drawn(FIRST));
        word.push(drawn(SECOND));
    }
    word
}
