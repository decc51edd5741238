//! Why a link between nodes is closed.

use quorate_proto::{frame, message::Refused};

/// Why a link must be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("a request before the hello")]
    Stranger,
    #[error("the node was replaced by another process")]
    Replaced,
    #[error("unsolicited response")]
    Unasked,
    #[error("{}", .0.text)]
    Refused(Refused),
}

impl LinkError {
    /// Whether the reason goes away by itself, as while the member list forms.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.code.passes())
    }
}
