//! Numbers of settings as they are given, with or without a unit.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de::Visitor};

/// A count, a size or a duration as it was given: read once it is known what it is for, so that what is
/// wrong about it can be said in the words of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount(String);

impl Amount {
    /// The number, without a unit.
    pub(crate) fn count(&self) -> Option<u64> {
        self.0.parse().ok().filter(|_| self.0.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Bytes: a number, with the units of Redis's configuration, in which `kb` is 1024 and `k` 1000.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.in_units(1, &SIZES)
    }

    /// A duration: a number with a unit, or of `unit` without one.
    pub(crate) fn duration(&self, unit: Duration) -> Option<Duration> {
        let unit_ms = u64::try_from(unit.as_millis()).ok()?;
        self.in_units(unit_ms, &DURATIONS_MS).map(Duration::from_millis)
    }

    fn in_units(&self, bare: u64, units: &[(&str, u64)]) -> Option<u64> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = self.0.split_at(digits);
        let factor = match unit.trim_start() {
            "" => bare,
            unit => units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?.1,
        };
        number.parse::<u64>().ok()?.checked_mul(factor)
    }
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

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Amount {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl From<u16> for Amount {
    fn from(value: u16) -> Self {
        Self(value.to_string())
    }
}

impl From<u32> for Amount {
    fn from(value: u32) -> Self {
        Self(value.to_string())
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyScalar)
    }
}

/// Takes whatever stands there as its text.
struct AnyScalar;

impl Visitor<'_> for AnyScalar {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, with or without a unit")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Amount, E> {
        Ok(Amount(value.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount(text.into())
    }

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
            assert_eq!(amount(text).bytes(), bytes, "{text}");
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
            let duration = amount(text).duration(Duration::from_secs(1));
            assert_eq!(duration, ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn counts_have_no_unit() {
        assert_eq!(amount("3").count(), Some(3));
        for wrong in ["", "-1", "+3", "3k", "1.5", "true", "99999999999999999999"] {
            assert_eq!(amount(wrong).count(), None, "{wrong}");
        }
    }
}
