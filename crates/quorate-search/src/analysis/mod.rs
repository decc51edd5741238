//! From texts to terms: words, their stems, their sounds, their synonyms.
//!
//! A document's word is indexed as itself and, where the field wants it, as what it stands for:
//!
//! | term | stands for |
//! |---|---|
//! | `running` | the word |
//! | `+run` | every word with this stem but the stem itself |
//! | `<RNNK` | every word that sounds like it |
//! | `~group` | every word of a group of synonyms |
//!
//! Words are made of letters, digits and `_`, so no word begins with such a sign but one that a
//! backslash has put there. A query's word asks for the same terms ([`Forms`]).

mod forms;
mod phonetic;
mod stem;
mod synonyms;
#[cfg(test)]
mod tests;
mod words;

pub use forms::Forms;
pub use phonetic::sound;
pub use stem::stem;
pub use synonyms::Synonyms;
pub use words::{Word, words};
pub(crate) use words::{is_word, unescaped, word_end};
