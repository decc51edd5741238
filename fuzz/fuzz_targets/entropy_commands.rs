//! A stream of commands and states for a sink: never a panic, and the same however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate::entropy::fuzzing;

fuzz_target!(|data: (u16, &[u8])| {
    let (cut, bytes) = data;
    let (head, tail) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    match (fuzzing::commands(bytes, b""), fuzzing::commands(head, tail)) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (Err(_), Err(_)) => {}
        (whole, cut) => panic!("{whole:?} whole, {cut:?} in two pieces"),
    }
});
