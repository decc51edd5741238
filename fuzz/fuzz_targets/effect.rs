//! Effects from elsewhere: merged whole or not at all, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_proto::{Origin, Slot};
use quorate_store::{Merged, Store, StoreOptions};

fuzz_target!(|bytes: &[u8]| {
    let mut store = Store::new(StoreOptions {
        origin: Origin::new(0, 1),
        digest_secret: [7; 16],
        seed: 1,
        keep_removed: true,
    });
    for slot in [Slot::of_key(b"k"), Slot::of_key(b"")] {
        if store.merge(slot, bytes, 1_000).is_err() {
            assert_eq!(store.slot_digest(slot), 0);
        } else {
            let digest = store.slot_digest(slot);
            assert_eq!(store.merge(slot, bytes, 1_000), Ok(Merged::Whole));
            assert_eq!(store.slot_digest(slot), digest);
        }
    }
});
