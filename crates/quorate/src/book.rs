//! The book: what Quorate promises, how it is run, and how it works.

include!(concat!(env!("OUT_DIR"), "/book.rs"));
