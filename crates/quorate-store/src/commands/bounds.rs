//! How much one command may make of what keys hold. What it makes of its own words is bounded by
//! their length.

use super::{CommandError, Outcome};

/// Bytes of such an effect: it fits into one record of the log, whose length has four bytes.
pub(super) const EFFECT_BYTES_MAX: usize = 3 << 30;

/// Bytes that an element takes in an effect besides its name, at most.
const ELEMENT_BYTES_MAX: usize = 32;

const _: () = assert!(EFFECT_BYTES_MAX + (1 << 30) <= 1 << 32);

/// Refuses an effect that would have this many bytes.
pub(super) fn check_effect(bytes: usize) -> Outcome {
    if bytes > EFFECT_BYTES_MAX { Err(CommandError::EffectTooLong) } else { Ok(()) }
}

/// The same for one that names these elements.
pub(super) fn check_elements<'a>(names: impl Iterator<Item = &'a [u8]>) -> Outcome {
    check_effect(names.map(|name| name.len() + ELEMENT_BYTES_MAX).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_bounded_by_all_that_they_name() {
        assert_eq!(check_effect(EFFECT_BYTES_MAX), Ok(()));
        assert_eq!(check_effect(EFFECT_BYTES_MAX + 1), Err(CommandError::EffectTooLong));
        let name = vec![b'x'; 1 << 20];
        let names = |count| std::iter::repeat_n(name.as_slice(), count);
        assert_eq!(check_elements(names(3_000)), Ok(()));
        assert_eq!(check_elements(names(3_072)), Err(CommandError::EffectTooLong));
    }
}
