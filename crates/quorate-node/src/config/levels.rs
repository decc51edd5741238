//! The section `levels`: other levels for keys with certain prefixes.

use quorate_proto::{Level, command::Call};

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

/// The levels of reads and of writes for `call`, where those of its connection are `levels`. A call
/// with several keys gets the stronger ones.
pub(crate) fn levels_for(
    rules: &[LevelRule],
    levels: (Level, Level),
    call: &Call,
) -> (Level, Level) {
    let of_key = |key: &[u8]| {
        let fitting = rules.iter().filter(|rule| key.starts_with(rule.prefix.as_bytes()));
        let rule = fitting.max_by_key(|rule| rule.prefix.len());
        rule.map_or(levels, |rule| (rule.read, rule.write))
    };
    let stronger = |one: (Level, Level), other: (Level, Level)| {
        (one.0.stronger(other.0), one.1.stronger(other.1))
    };
    call.keys().map(of_key).reduce(stronger).unwrap_or(levels)
}

#[cfg(test)]
mod tests {
    use quorate_proto::{command::CommandId, resp::Command};

    use super::*;

    #[test]
    fn the_longest_prefix_counts_and_the_strongest_key() {
        let rules = ["s:,ONE,ONE", "s:a,ALL,LOCAL_ONE", "b,QUORUM,EACH_QUORUM"];
        let rules = rules.map(|text| LevelRule::parse(text).expect("a rule"));
        let levels = |words: &[&str]| {
            let command = Command::from_args(words);
            let call = Call::new(CommandId::of(&command).expect("in the table"), command);
            levels_for(&rules, (Level::LocalQuorum, Level::LocalQuorum), &call)
        };
        assert_eq!(levels(&["GET", "s:x"]), (Level::One, Level::One));
        assert_eq!(levels(&["GET", "s:ab"]), (Level::All, Level::LocalOne));
        assert_eq!(levels(&["GET", "other"]), (Level::LocalQuorum, Level::LocalQuorum));
        assert_eq!(levels(&["DEL", "s:x", "b"]), (Level::Quorum, Level::EachQuorum));
        assert_eq!(levels(&["DEL", "s:x", "other"]), (Level::LocalQuorum, Level::LocalQuorum));
        assert_eq!(levels(&["PING"]), (Level::LocalQuorum, Level::LocalQuorum));
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
