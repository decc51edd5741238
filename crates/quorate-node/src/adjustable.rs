//! What an operator may change while the node runs. It begins as configured, and a restart forgets
//! the change.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use quorate_proto::Level;

use crate::{config::Settings, limits};

/// The values that hold now. Shards read them as they go.
#[derive(Debug)]
pub(crate) struct Adjustable {
    maxclients: AtomicU32,
    /// Seconds after which a silent client is disconnected; zero for never.
    timeout_seconds: AtomicU64,
    read_level: AtomicU8,
    write_level: AtomicU8,
    /// Negative for no log of slow commands.
    slow_micros: AtomicI64,
    slow_log_len: AtomicU64,
    active_expiry: AtomicBool,
    output_hard_max: AtomicU64,
    output_soft_max: AtomicU64,
    output_soft_seconds: AtomicU64,
    /// Zero for no limit.
    command_bytes_max: AtomicU64,
    /// Zero for no limit.
    clients_output_max: AtomicU64,
    movement_bytes_per_second: AtomicU64,
}

/// What one client may leave unread, in bytes; zero for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    /// Beyond it the client is disconnected.
    pub(crate) hard_max: u64,
    /// Beyond it the client is disconnected after so many seconds.
    pub(crate) soft_max: u64,
    pub(crate) soft_seconds: u64,
}

impl OutputLimit {
    pub(crate) fn is_hard_passed(&self, bytes: u64) -> bool {
        self.hard_max > 0 && bytes > self.hard_max
    }

    pub(crate) fn is_soft_passed(&self, bytes: u64) -> bool {
        self.soft_max > 0 && bytes > self.soft_max
    }
}

impl Adjustable {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            maxclients: AtomicU32::new(settings.maxclients),
            timeout_seconds: AtomicU64::new(0),
            read_level: AtomicU8::new(settings.read_level as u8),
            write_level: AtomicU8::new(settings.write_level as u8),
            slow_micros: AtomicI64::new(limits::SLOW_MICROS_DEFAULT),
            slow_log_len: AtomicU64::new(limits::SLOW_LOG_LENGTH_DEFAULT),
            active_expiry: AtomicBool::new(true),
            command_bytes_max: AtomicU64::new(settings.command_bytes_max),
            output_hard_max: AtomicU64::new(settings.client_output_max),
            output_soft_max: AtomicU64::new(0),
            output_soft_seconds: AtomicU64::new(0),
            clients_output_max: AtomicU64::new(settings.clients_output_max),
            movement_bytes_per_second: AtomicU64::new(settings.movement_bytes_per_second),
        }
    }

    /// Clients that may be connected at a time.
    pub(crate) fn maxclients(&self) -> u32 {
        self.maxclients.load(Ordering::Relaxed)
    }

    pub(crate) fn set_maxclients(&self, count: u32) {
        self.maxclients.store(count, Ordering::Relaxed);
    }

    /// Seconds after which a silent client is disconnected; zero for never.
    pub(crate) fn timeout_seconds(&self) -> u64 {
        self.timeout_seconds.load(Ordering::Relaxed)
    }

    pub(crate) fn set_timeout_seconds(&self, seconds: u64) {
        self.timeout_seconds.store(seconds, Ordering::Relaxed);
    }

    /// The levels of reads and writes of new connections.
    pub(crate) fn levels(&self) -> (Level, Level) {
        let level = |code: &AtomicU8| {
            let level = Level::from_code(code.load(Ordering::Relaxed));
            level.expect("invariant: only codes of levels are stored")
        };
        (level(&self.read_level), level(&self.write_level))
    }

    pub(crate) fn set_read_level(&self, level: Level) {
        self.read_level.store(level as u8, Ordering::Relaxed);
    }

    pub(crate) fn set_write_level(&self, level: Level) {
        self.write_level.store(level as u8, Ordering::Relaxed);
    }

    /// Microseconds beyond which a command goes to the log of slow ones; negative for never.
    pub(crate) fn slow_micros(&self) -> i64 {
        self.slow_micros.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slow_micros(&self, micros: i64) {
        self.slow_micros.store(micros, Ordering::Relaxed);
    }

    /// Whether expired keys are removed before somebody asks for them.
    pub(crate) fn active_expiry(&self) -> bool {
        self.active_expiry.load(Ordering::Relaxed)
    }

    pub(crate) fn set_active_expiry(&self, active: bool) {
        self.active_expiry.store(active, Ordering::Relaxed);
    }

    /// What one client may leave unread.
    pub(crate) fn output_limit(&self) -> OutputLimit {
        OutputLimit {
            hard_max: self.output_hard_max.load(Ordering::Relaxed),
            soft_max: self.output_soft_max.load(Ordering::Relaxed),
            soft_seconds: self.output_soft_seconds.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn set_output_limit(&self, limit: OutputLimit) {
        self.output_hard_max.store(limit.hard_max, Ordering::Relaxed);
        self.output_soft_max.store(limit.soft_max, Ordering::Relaxed);
        self.output_soft_seconds.store(limit.soft_seconds, Ordering::Relaxed);
    }

    /// What large commands may have under way, in bytes; zero for no limit.
    pub(crate) fn command_bytes_max(&self) -> u64 {
        self.command_bytes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_command_bytes_max(&self, bytes: u64) {
        self.command_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// What all clients together may leave unread, in bytes; zero for no limit.
    pub(crate) fn clients_output_max(&self) -> u64 {
        self.clients_output_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_clients_output_max(&self, bytes: u64) {
        self.clients_output_max.store(bytes, Ordering::Relaxed);
    }

    /// What slots on their way may take of this node while it serves clients, in bytes a second.
    pub(crate) fn movement_bytes_per_second(&self) -> u64 {
        self.movement_bytes_per_second.load(Ordering::Relaxed)
    }

    pub(crate) fn set_movement_bytes_per_second(&self, bytes: u64) {
        self.movement_bytes_per_second.store(bytes, Ordering::Relaxed);
    }

    /// Commands that the log of slow ones keeps.
    pub(crate) fn slow_log_len(&self) -> usize {
        usize::try_from(self.slow_log_len.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(crate) fn set_slow_log_len(&self, len: u64) {
        self.slow_log_len.store(len, Ordering::Relaxed);
    }
}
