//! Glob patterns, as `KEYS` and the `SCAN` family match them.
//!
//! `*` any bytes, `?` one byte, `[a-z^]` one of a class (`[^...]` one of none), `\x` the byte `x`.
//! Matching takes at most pattern length times text length steps: after a mismatch only the last
//! star is tried again, which is enough because it can take over whatever an earlier one would have
//! matched.

/// Whether `text` as a whole matches `pattern`. Of all patterns of stars only a single one matches
/// the empty text, as in Redis.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if pattern == b"*" {
        return true;
    }
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at_pattern, mut at_text) = (0, 0);
    // Where to go on after a mismatch: behind the last star, one text byte further each time.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at_pattern) == Some(&b'*') {
            at_pattern += 1;
            retry = Some((at_pattern, at_text));
            continue;
        }
        let matched = match text.get(at_text) {
            None => {
                return at_pattern == pattern.len();
            }
            Some(&byte) => match_one(&pattern[at_pattern..], byte),
        };
        match (matched, &mut retry) {
            (Some(length), _) => {
                at_pattern += length;
                at_text += 1;
            }
            (None, Some((behind_star, restart))) => {
                *restart += 1;
                (at_pattern, at_text) = (*behind_star, *restart);
            }
            (None, None) => return false,
        }
    }
}

/// Matches one byte against the head of a pattern that is not a star; returns the length of the
/// pattern used.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', class @ ..] => match_class(class, byte).map(|length| length + 1),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Matches a class behind its opening bracket. A class that is not closed ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at.min(class.len())..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (low.min(high), low.max(high));
                found |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("**", "", false),
            ("**", "a", true),
            ("a**", "a", true),
            ("", "a", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b", "abc", false),
            ("a?c", "abc", true),
            ("a?", "a", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("a[bc", "ab", true),
            ("**a*", "bab", true),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = "a*".repeat(50) + "b";
        let text = "a".repeat(10_000);
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }
}
