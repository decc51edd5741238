//! How words sound, by double metaphone (Lawrence Philips, C/C++ Users Journal, June 2000).

use alloc::string::String;

use rphonetic::DoubleMetaphone;

/// The code of a word's first sound, up to four letters; none for a word without Latin letters.
/// Letters with accents have no sound.
pub fn sound(word: &str) -> Option<String> {
    // The library takes bytes of text for letters.
    let letters: String = word.chars().filter(char::is_ascii).collect();
    let code = DoubleMetaphone::default().double_metaphone(&letters).primary();
    (!code.is_empty()).then_some(code)
}
