//! What a peer sends to a receiver of snapshots: never a panic, and what is taken is whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate::entropy::fuzzing;

fuzz_target!(|input: (bool, u8, &[u8], Vec<(u8, &[u8])>)| {
    let (encrypt, magic, bytes, records) = input;
    // Mostly the right magic, which is hard to guess.
    let magic = [0x64, 0x64, 0, if magic < 250 { 1 } else { magic }];
    if let Ok((announced, held)) = fuzzing::classic(magic, bytes, encrypt) {
        assert_eq!(announced, held);
    }
    if let Ok((announced, held)) = fuzzing::sealed(&records, bytes) {
        assert_eq!(announced, held);
        assert!(bytes.is_empty(), "nothing follows the last record");
    }
});
