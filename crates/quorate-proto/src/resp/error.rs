//! What a client can get wrong in the protocol itself.

/// The bytes are no RESP. The text is what Redis 7 sends behind `-ERR `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is no number, or too large.
    #[error("Protocol error: invalid multibulk length")]
    ArgumentCount,
    /// A bulk length is no number, negative, or above the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// Another byte stands where a bulk string must begin.
    #[error("Protocol error: expected '$', got '{}'", *.0 as char)]
    ExpectedBulk(u8),
    /// All arguments together are above the limit.
    #[error("Protocol error: too big command")]
    CommandLength,
    /// The line with the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    ArgumentCountLine,
    /// The line with a bulk length does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLengthLine,
    /// An inline command does not end.
    #[error("Protocol error: too big inline request")]
    InlineLine,
    /// Quotes in an inline command are not closed.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A reply is malformed.
    #[error("Protocol error: malformed reply")]
    Reply,
    /// A reply nests deeper than allowed.
    #[error("Protocol error: reply nested too deep")]
    ReplyDepth,
}
