//! The languages that a text can be in.

use crate::arguments;

macro_rules! languages {
    ($($language:ident $name:literal,)*) => {
        /// A language, which decides how words are reduced to their stems.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Language {
            $(#[doc = $name] $language,)*
        }

        impl Language {
            /// All of them.
            pub const ALL: &[Language] = &[$(Language::$language,)*];

            /// The name in schemas and queries.
            pub fn name(self) -> &'static str {
                match self {
                    $(Language::$language => $name,)*
                }
            }
        }
    };
}

languages! {
    Arabic "arabic",
    Armenian "armenian",
    Basque "basque",
    Catalan "catalan",
    Chinese "chinese",
    Danish "danish",
    Dutch "dutch",
    English "english",
    Finnish "finnish",
    French "french",
    German "german",
    Greek "greek",
    Hindi "hindi",
    Hungarian "hungarian",
    Indonesian "indonesian",
    Irish "irish",
    Italian "italian",
    Lithuanian "lithuanian",
    Malay "malay",
    Nepali "nepali",
    Norwegian "norwegian",
    Portuguese "portuguese",
    Romanian "romanian",
    Russian "russian",
    Serbian "serbian",
    Spanish "spanish",
    Swedish "swedish",
    Tagalog "tagalog",
    Tamil "tamil",
    Turkish "turkish",
    Yiddish "yiddish",
}

impl Language {
    /// The language of this name, in any case.
    pub fn named(name: &[u8]) -> Option<Language> {
        Language::ALL.iter().copied().find(|language| arguments::is(name, language.name()))
    }
}
