//! Bounds on what may arrive over a wire, with their reasons.

/// Longest bulk string by default: what Redis allows.
pub const BULK_LENGTH_MAX: usize = 512 << 20;

/// Most arguments of one command: what Redis allows.
pub const ARGUMENTS_MAX: usize = 1 << 20;

/// Longest inline command, and longest line that announces a length: what Redis allows.
pub const LINE_LENGTH_MAX: usize = 64 << 10;

/// Deepest nesting of a reply. Real replies nest four or five deep.
pub const REPLY_DEPTH_MAX: usize = 128;

/// Largest payload of a peer frame: the largest value, its key, and room for stamps.
pub const FRAME_PAYLOAD_MAX: usize = 1 << 30;

/// Dots of one effect. A write has one; a kept effect that several were merged into has theirs. What
/// is beyond goes without: its receiver does not know that it has it, and asks for it once more.
pub const DOTS_PER_EFFECT_MAX: usize = 1_024;

const _: () = assert!(BULK_LENGTH_MAX * 2 <= FRAME_PAYLOAD_MAX);
const _: () = assert!(FRAME_PAYLOAD_MAX <= u32::MAX as usize);
