//! Why a link between nodes is closed.

use quorate_proto::{frame, message::Refused};

/// Why a link must be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("a request before the hello")]
    Stranger,
    #[error("the node is no member")]
    NoMember,
    #[error("the node was replaced by another process")]
    Replaced,
    #[error("unsolicited response")]
    Unasked,
    #[error("{}", .0.text)]
    Refused(Refused),
}

impl LinkError {
    /// Whether the reason goes away by itself, as while members come and go.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.code.passes(),
            Self::NoMember => true,
            Self::Frame(_) | Self::Stranger | Self::Replaced | Self::Unasked => false,
        }
    }
}
