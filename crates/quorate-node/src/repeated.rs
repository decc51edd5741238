//! What may happen in masses, and is told once in a while.

/// Between two lines of the log about the same.
const TOLD_EVERY_MS: u64 = 60_000;

/// One kind of thing that happens again and again: the first time is told at once, then, once a
/// minute at most, how often it has happened.
#[derive(Debug, Default)]
pub(crate) struct Repeated {
    told_ms: Option<u64>,
    times: u64,
}

impl Repeated {
    /// It happened, at this time by any clock. Returns how often since it was last told, when it is
    /// to be told again.
    pub(crate) fn note(&mut self, now_ms: u64) -> Option<u64> {
        self.times += 1;
        if self.told_ms.is_some_and(|told| now_ms.abs_diff(told) < TOLD_EVERY_MS) {
            return None;
        }
        self.told_ms = Some(now_ms);
        Some(std::mem::take(&mut self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_are_counted() {
        let mut repeated = Repeated::default();
        assert_eq!(repeated.note(5), Some(1));
        assert_eq!(repeated.note(6), None);
        assert_eq!(repeated.note(TOLD_EVERY_MS), None);
        assert_eq!(repeated.note(TOLD_EVERY_MS + 5), Some(3));
        assert_eq!(repeated.note(0), Some(1), "a clock that was set back is not waited for");
    }
}
