//! The command table: one row for every command.
//!
//! A row says what clients are told of a command (arity, flags, key positions, documentation) and
//! what the router must know: how the command reaches its keys ([`Routing`]), and whether what it
//! writes depends on what it reads ([`Class`]). A command is looked up once, and is a [`Call`]
//! then.

mod batch;
mod call;
mod errors;
mod keys;
mod reply;
mod table;

pub use batch::{BATCH, Batch, Batched, CrossSlot, Entry};
pub use call::{Call, CommandId, Mistake, Spread};
pub use errors::{UnknownCommand, WrongArity, check_database, unknown_subcommand};
pub use keys::{Access, KeySpec, Keys, KeysError};
pub use reply::{
    CATEGORIES, ListFilter, of_category, write_count, write_docs, write_info, write_keys_and_flags,
    write_list,
};
pub use table::{FLUSH, all, lookup};

use crate::resp::{Command, parse_double};

/// Whether a command writes, and what its effect depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Its effect does not depend on the state it finds (its reply may).
    Write,
    /// Its effect depends on the state it finds, so the executor must know the newest.
    ReadModifyWrite,
}

impl Class {
    /// Whether commands of this class change data.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// How the replies of a split command are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One array with a value for each key, in the client's order.
    Values,
    /// The sum of integers.
    Sum,
    /// `OK` when every part is.
    Ok,
}

/// How a command reaches its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Answered by the node that the client is connected to.
    Session,
    /// Executed where its only key is.
    Key,
    /// Split by slot, the replies joined; keys start at argument 1.
    Split(Join),
    /// Executed whole when all keys are in one slot, else as a sequence of commands.
    Composite,
    /// Works on the whole keyspace.
    Keyspace,
    /// A piece of such a command, on a run of neighbouring slots: the first two arguments. What
    /// other replicas hold that differ is told by further arguments, one for each.
    Slots,
}

/// What of its key a command is about, besides what belongs to the key as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// All that the key holds.
    All,
    /// The elements that its second argument and all further ones name. It only reads: writes that
    /// read first do so for those that wait behind them, which are about others.
    Elements,
}

/// Properties of a command, as clients see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const WRITE: Self = Self(1);
    pub(crate) const READONLY: Self = Self(2);
    pub(crate) const DENYOOM: Self = Self(4);
    pub(crate) const NOSCRIPT: Self = Self(8);
    pub(crate) const LOADING: Self = Self(16);
    pub(crate) const STALE: Self = Self(32);
    pub(crate) const FAST: Self = Self(64);
    pub(crate) const NO_AUTH: Self = Self(128);
    pub(crate) const ALLOW_BUSY: Self = Self(256);
    pub(crate) const MOVABLE_KEYS: Self = Self(512);
    pub(crate) const DANGEROUS: Self = Self(1024);
    /// Only for pieces of other commands; clients may not send it.
    pub(crate) const INTERNAL: Self = Self(2048);
    pub(crate) const ADMIN: Self = Self(4096);
    /// Goes over all elements of its keys.
    pub(crate) const WHOLE: Self = Self(8192);

    /// Names in the order in which Redis lists them; `DANGEROUS`, `INTERNAL` and `WHOLE` have none.
    pub(crate) const NAMES: [(Self, &'static str); 11] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::NOSCRIPT, "noscript"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::ALLOW_BUSY, "allow_busy"),
        (Self::MOVABLE_KEYS, "movablekeys"),
    ];

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The family that a command is documented under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Any kind of key.
    Generic,
    /// Strings and counters.
    String,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Documents.
    Json,
    /// Indexes.
    Search,
    /// The connection itself.
    Connection,
    /// Several commands as one.
    Transactions,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// The name used in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Json => "json",
            Self::Search => "search",
            Self::Connection => "connection",
            Self::Transactions => "transactions",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

/// A subcommand of a container such as `CLIENT`.
#[derive(Clone, Copy, Debug)]
pub struct Subcommand {
    /// Name, in lower case.
    pub name: &'static str,
    /// Number of arguments, both names included; negative: at least that many.
    pub arity: i8,
    /// What it does.
    pub summary: &'static str,
    /// Its keys.
    pub keys: Keys,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name, in lower case.
    pub name: &'static str,
    /// Number of arguments, the name included; negative: at least that many.
    pub arity: i8,
    /// Properties.
    pub flags: Flags,
    /// Its keys. Those of a container are its subcommands'.
    pub keys: Keys,
    /// Family.
    pub group: Group,
    /// Version of Redis that introduced it.
    pub since: &'static str,
    /// Cost.
    pub complexity: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Whether and how it writes, unless its arguments say more; see [`Call::class`].
    class: Class,
    /// How it reaches its keys.
    pub routing: Routing,
    /// What of its key it is about.
    pub about: About,
    /// Subcommands of a container.
    pub subcommands: &'static [Subcommand],
}

impl Spec {
    /// The class of one command of this row.
    fn class_of(&self, command: &Command) -> Class {
        // Only a SET without options writes the same whatever was there before, and a ZADD without
        // conditions, for which its scores come first.
        let depends = match self.name {
            "set" => command.len() > 3,
            "zadd" => parse_double(command.arg(2)).is_none(),
            BATCH => return batch::class_of(command),
            _ => false,
        };
        if depends { Class::ReadModifyWrite } else { self.class }
    }

    /// Whether the command goes over all elements of its keys.
    pub fn is_whole(&self) -> bool {
        self.flags.has(Flags::WHOLE)
    }

    /// Whether clients may not send the command.
    pub fn is_internal(&self) -> bool {
        self.flags.has(Flags::INTERNAL)
    }
}
