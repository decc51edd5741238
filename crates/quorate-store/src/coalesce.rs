//! Several effects of one slot as one smaller effect.
//!
//! The effects are merged into states of their keys that hold nothing else, and these states are
//! exported. Merging is associative, so whoever merges the result holds what it would hold after
//! merging each of them; what a later effect replaces, such as older values of one key, is left
//! out.

use foldhash::fast::FixedState;
use indexmap::IndexMap;

use crate::{
    delta::{DeltaWriter, Malformed, deltas},
    digest::Digester,
    state::{Context, KeyState},
};

/// One effect that is equal to all of `effects`, which are of the same slot: merged into any state,
/// it gives what they give, in any order.
///
/// # Errors
/// One of them is no effect.
pub fn coalesce(effects: &[&[u8]]) -> Result<Vec<u8>, Malformed> {
    // The states never meet others, so that neither digests nor the order of elements matter.
    let (digester, hasher) = (Digester::new([0; 16]), FixedState::with_seed(0));
    let mut states: IndexMap<&[u8], KeyState, FixedState> = IndexMap::with_hasher(hasher.clone());
    for effect in effects {
        for delta in deltas(effect) {
            let delta = delta?;
            let digester = digester.of_key(delta.key);
            let context = Context { digester: &digester, hasher: &hasher, epoch: 0 };
            let state = states.entry(delta.key).or_default();
            for part in delta.parts() {
                state.merge(context, &part?);
            }
        }
    }
    let mut coalesced = Vec::new();
    for (key, state) in &states {
        let mut delta = DeltaWriter::new(&mut coalesced, key);
        state.view().export(|part| delta.part(part));
        delta.finish();
    }
    Ok(coalesced)
}

/// Key changes in an effect. Bytes that are no effect count as far as they are one.
pub fn count_keys(effect: &[u8]) -> usize {
    deltas(effect).map_while(Result::ok).count()
}

/// The newest date of anything in an effect, in milliseconds since the Unix epoch; zero when there
/// is none.
pub fn newest_ms(effect: &[u8]) -> u64 {
    let parts = deltas(effect).map_while(Result::ok).flat_map(|delta| delta.parts());
    parts.map_while(Result::ok).map(|part| part.stamp().milliseconds()).max().unwrap_or_default()
}
