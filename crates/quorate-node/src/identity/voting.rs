//! What a voter has promised and accepted, as it stands in `node.json`:
//!
//! ```text
//! "voting": {
//!   "decided": "<the newest document, in hexadecimal>",
//!   "promised": "<round>:<origin>",
//!   "accepted": "<a document behind its ballot, in hexadecimal>"
//! }
//! ```

use quorate_cluster::register::State;
use quorate_proto::{
    Origin,
    register::{Accepted, Ballot, Document},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct VotingRecord {
    decided: String,
    promised: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accepted: Option<String>,
}

impl VotingRecord {
    pub(super) fn new(state: &State) -> Self {
        let State { decided, promised, accepted } = state;
        Self {
            decided: hexadecimal(&decided.to_bytes()),
            promised: format!("{}:{}", promised.round, promised.origin.0),
            accepted: accepted.as_ref().map(|accepted| hexadecimal(&accepted.to_bytes())),
        }
    }

    /// `None` when it is not possible.
    pub(super) fn state(&self) -> Option<State> {
        let (round, origin) = self.promised.split_once(':')?;
        let promised = Ballot { round: round.parse().ok()?, origin: Origin(origin.parse().ok()?) };
        let accepted = match &self.accepted {
            Some(text) => Some(Accepted::from_bytes(bytes_of(text)?.into())?),
            None => None,
        };
        let decided = Document::from_bytes(bytes_of(&self.decided)?.into())?;
        Some(State { decided, promised, accepted })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|it| it as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
