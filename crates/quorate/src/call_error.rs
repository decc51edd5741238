//! Why a command of the in-process client has no result, by what it did to the data.

use quorate_proto::resp::reply::Value;

/// Why a command has no result. Each variant says what is known of its effect; the texts are those
/// that a Redis client would get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The command is wrong, or does not fit the data: `ERR`, `WRONGTYPE` and others as Redis gives
    /// them. Nothing was done, and the same command would fail again.
    #[error("{0}")]
    Invalid(String),
    /// The cluster cannot carry it out at the moment: too few replicas answer, too much is in
    /// flight, nothing can be stored. Nothing was done; trying again later may succeed.
    #[error("{0}")]
    Refused(String),
    /// Of a command over several slots some parts are done and others are not: the text names them.
    #[error("{0}")]
    Partial(String),
    /// The deadline passed before the level was met. It may have taken effect, or may do so later.
    #[error("{0}")]
    Timeout(String),
    /// The node lost sight of the command, as when its executor fell silent. It may have taken
    /// effect, or may do so later.
    #[error("{0}")]
    Unknown(String),
    /// The node has stopped, or could not write its log. It may have taken effect.
    #[error(
        "the node has stopped or could not write its log; the command may or may not have taken \
         effect"
    )]
    Stopped,
}

impl CallError {
    /// A reply as a result: errors of the outcome contract by their codes.
    pub(crate) fn classify(reply: Value) -> Result<Value, Self> {
        let Value::Error(text) = reply else { return Ok(reply) };
        Err(match text.split(' ').next().unwrap_or_default() {
            "UNAVAILABLE" | "OVERLOADED" | "MISCONF" => Self::Refused(text),
            "PARTIAL" => Self::Partial(text),
            "TIMEOUT" => Self::Timeout(text),
            "UNKNOWN" => Self::Unknown(text),
            _ => Self::Invalid(text),
        })
    }

    /// Whether nothing was done for certain.
    pub fn is_nothing_done(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Refused(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_is_known() {
        let classified =
            |text: &str| CallError::classify(Value::Error(text.into())).expect_err("an error");
        for code in ["UNAVAILABLE", "OVERLOADED", "MISCONF"] {
            let text = format!("{code} nothing was done");
            assert_eq!(classified(&text), CallError::Refused(text.clone()));
            assert!(classified(&text).is_nothing_done());
        }
        assert_eq!(classified("TIMEOUT after"), CallError::Timeout("TIMEOUT after".into()));
        assert_eq!(classified("UNKNOWN whether"), CallError::Unknown("UNKNOWN whether".into()));
        assert!(!classified("UNKNOWN whether").is_nothing_done());
        assert_eq!(classified("PARTIAL done"), CallError::Partial("PARTIAL done".into()));
        assert!(!classified("PARTIAL done").is_nothing_done());
        assert!(matches!(classified("WRONGTYPE Operation"), CallError::Invalid(_)));
        let nested = Value::Array(vec![Value::Error("ERR one".into())]);
        assert_eq!(CallError::classify(nested.clone()), Ok(nested), "errors inside stay values");
    }
}
