//! The section `levels`: other levels for keys with certain prefixes.

use quorate_proto::Level;

/// Levels of what is about keys that begin with something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelRule {
    /// What the keys begin with. Of several rules for a key that with the longest prefix counts.
    pub prefix: String,
    /// Level of reads.
    pub read: Level,
    /// Level of writes.
    pub write: Level,
}

impl LevelRule {
    /// A rule as it is written on the command line: prefix, level of reads and of writes, joined by
    /// commas. The prefix may have commas itself.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, ',');
        let (write, read, prefix) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { prefix: prefix.into(), read: read.parse().ok()?, write: write.parse().ok()? })
    }

    pub(super) fn show(&self) -> String {
        format!("{},{},{}", self.prefix, self.read, self.write)
    }
}

/// The levels of reads and of writes for what is about `keys`, where those of the connection are
/// `levels`: the strongest that any of them has.
pub(crate) fn levels_for<'k>(
    rules: &[LevelRule],
    levels: (Level, Level),
    keys: impl Iterator<Item = &'k [u8]>,
) -> (Level, Level) {
    let of_key = |key: &[u8]| {
        let fitting = rules.iter().filter(|rule| key.starts_with(rule.prefix.as_bytes()));
        let rule = fitting.max_by_key(|rule| rule.prefix.len());
        rule.map_or(levels, |rule| (rule.read, rule.write))
    };
    keys.map(of_key).reduce(stronger).unwrap_or(levels)
}

/// The same for what is about any keys.
pub(crate) fn levels_for_all(rules: &[LevelRule], levels: (Level, Level)) -> (Level, Level) {
    rules.iter().map(|rule| (rule.read, rule.write)).fold(levels, stronger)
}

fn stronger(one: (Level, Level), other: (Level, Level)) -> (Level, Level) {
    (one.0.stronger(other.0), one.1.stronger(other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts_and_the_strongest_key() {
        let rules = ["s:,ONE,ONE", "s:a,ALL,LOCAL_ONE", "b,QUORUM,EACH_QUORUM"];
        let rules = rules.map(|text| LevelRule::parse(text).expect("a rule"));
        let default = (Level::LocalQuorum, Level::LocalQuorum);
        let levels =
            |keys: &[&str]| levels_for(&rules, default, keys.iter().map(|key| key.as_bytes()));
        assert_eq!(levels(&["s:x"]), (Level::One, Level::One));
        assert_eq!(levels(&["s:ab"]), (Level::All, Level::LocalOne));
        assert_eq!(levels(&["other"]), default);
        assert_eq!(levels(&["s:x", "b"]), (Level::Quorum, Level::EachQuorum));
        assert_eq!(levels(&["s:x", "other"]), default);
        assert_eq!(levels(&[]), default);
        assert_eq!(levels_for_all(&rules, default), (Level::All, Level::EachQuorum));
    }

    #[test]
    fn rules_are_three_words() {
        let rule = LevelRule::parse("a,b,one,dc_quorum").expect("a rule");
        assert_eq!(rule.show(), "a,b,ONE,LOCAL_QUORUM");
        assert_eq!(LevelRule::parse(",ONE,ONE").map(|rule| rule.prefix), Some(String::new()));
        for wrong in ["a", "a,ONE", "a,ONE,", "a,ONE,MANY"] {
            assert_eq!(LevelRule::parse(wrong), None, "{wrong}");
        }
    }
}
