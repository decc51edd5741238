//! Numbers as they are written in a configuration, with or without a unit.

use std::time::Duration;

/// A number without a unit.
pub(super) fn count(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Bytes: a number, with the units of Redis's configuration, in which `kb` is 1024 and `k` 1000.
pub(super) fn bytes(text: &str) -> Option<u64> {
    in_units(text, 1, &SIZES)
}

/// A duration: a number with a unit, or of `unit` without one.
pub(super) fn duration(text: &str, unit: Duration) -> Option<Duration> {
    let unit_ms = u64::try_from(unit.as_millis()).ok()?;
    in_units(text, unit_ms, &DURATIONS_MS).map(Duration::from_millis)
}

fn in_units(text: &str, bare: u64, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => bare,
        unit => units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Units of sizes, in bytes.
const SIZES: [(&str, u64); 13] = [
    ("b", 1),
    ("k", 1_000),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1_000_000_000_000),
    ("tb", 1 << 40),
    ("tib", 1 << 40),
];

/// Units of durations, in milliseconds.
const DURATIONS_MS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_the_units_of_redis() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512mb", Some(512 << 20)),
            ("1gb", Some(1 << 30)),
            ("1GiB", Some(1 << 30)),
            ("64k", Some(64_000)),
            ("64 kb", Some(64 << 10)),
            ("7b", Some(7)),
            ("1.5gb", None),
            ("-1", None),
            ("mb", None),
            ("", None),
            ("5s", None),
            ("99999999tb", None),
        ] {
            assert_eq!(super::bytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn durations_take_units_and_have_one_without() {
        for (text, ms) in [
            ("5", Some(5_000)),
            ("100ms", Some(100)),
            ("5s", Some(5_000)),
            ("2m", Some(120_000)),
            ("2min", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("7d", Some(604_800_000)),
            ("5mb", None),
            ("s", None),
        ] {
            let duration = super::duration(text, Duration::from_secs(1));
            assert_eq!(duration, ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn counts_have_no_unit() {
        assert_eq!(count("3"), Some(3));
        for wrong in ["", "-1", "+3", "3k", "1.5", "true", "99999999999999999999"] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
    }
}
