//! The rows, and finding one by name.

use super::{
    About,
    Class::{self, Read, ReadModifyWrite as Rmw, Write},
    Flags, Group, Join, Routing, Spec, Subcommand,
    batch::BATCH,
    keys::{
        Access::{
            Create, Delete, Drop, Fetch, Insert, Look, ReadDelete, ReadUpdate, Replace, Update,
            Varies,
        },
        Keys, at, but_last, counted, from, one, pairs, triples,
    },
};

const R: Flags = Flags::READONLY;
const RF: Flags = R.with(Flags::FAST);
const W: Flags = Flags::WRITE;
const WF: Flags = W.with(Flags::FAST);
const WD: Flags = W.with(Flags::DENYOOM);
const WDF: Flags = WD.with(Flags::FAST);
const STATUS: Flags = Flags::LOADING.with(Flags::STALE);
const STATUS_FAST: Flags = STATUS.with(Flags::FAST);
const ADMIN: Flags = Flags::ADMIN.with(Flags::DANGEROUS);
const TRANSACTION: Flags = STATUS.with(Flags::NOSCRIPT);
const TRANSACTION_FAST: Flags = TRANSACTION.with(Flags::FAST).with(Flags::ALLOW_BUSY);
const HANDSHAKE: Flags =
    STATUS_FAST.with(Flags::NOSCRIPT).with(Flags::NO_AUTH).with(Flags::ALLOW_BUSY);

/// The command that deletes all that is in a slot.
pub const FLUSH: &str = "quorate.flush";

/// A command on keys.
#[expect(clippy::too_many_arguments, reason = "one argument a column of the table")]
const fn key(
    name: &'static str,
    arity: i8,
    flags: Flags,
    class: Class,
    keys: Keys,
    group: Group,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Spec {
    Spec {
        name,
        arity,
        flags: if keys.are_counted() { flags.with(Flags::MOVABLE_KEYS) } else { flags },
        keys,
        group,
        since,
        complexity,
        summary,
        class,
        routing: Routing::Key,
        about: About::All,
        subcommands: &[],
    }
}

/// A command that is not executed where its only key is.
const fn routed(spec: Spec, routing: Routing) -> Spec {
    Spec { routing, ..spec }
}

/// A command that reads the elements of its key that its second argument and all further ones
/// name.
const fn of_elements(spec: Spec) -> Spec {
    Spec { about: About::Elements, ..spec }
}

/// A command that goes over all elements of its keys.
const fn whole(spec: Spec) -> Spec {
    Spec { flags: spec.flags.with(Flags::WHOLE), ..spec }
}

/// A command about the connection or the node.
const fn session(
    name: &'static str,
    arity: i8,
    flags: Flags,
    group: Group,
    since: &'static str,
    summary: &'static str,
) -> Spec {
    let spec = key(name, arity, flags, Read, Keys::NONE, group, since, "O(1)", summary);
    routed(spec, Routing::Session)
}

/// A command of the search, which whoever gets it coordinates.
const fn search(name: &'static str, arity: i8, summary: &'static str) -> Spec {
    session(name, arity, Flags::NONE, Search, "1.0.0", summary)
}

/// A command on a dictionary of suggestions, which whoever gets it coordinates.
const fn suggestions(
    name: &'static str,
    arity: i8,
    flags: Flags,
    class: Class,
    summary: &'static str,
) -> Spec {
    let keys = one(if class.writes() { Update } else { Fetch });
    let spec = key(name, arity, flags, class, keys, Search, "1.0.0", "O(N)", summary);
    routed(spec, Routing::Session)
}

/// A command with subcommands.
const fn container(
    name: &'static str,
    group: Group,
    since: &'static str,
    summary: &'static str,
    subcommands: &'static [Subcommand],
) -> Spec {
    let spec = session(name, -2, Flags::NONE, group, since, summary);
    Spec { complexity: "Depends on subcommand.", subcommands, ..spec }
}

/// A piece of another command.
const fn internal(name: &'static str, arity: i8, class: Class, summary: &'static str) -> Spec {
    let keys = one(if class.writes() { Update } else { Fetch });
    key(name, arity, Flags::INTERNAL, class, keys, Group::Generic, "0.1.0", "O(N)", summary)
}

/// A piece of a command over the whole keyspace.
const fn over_slots(name: &'static str, arity: i8, class: Class, summary: &'static str) -> Spec {
    let spec = internal(name, arity, class, summary);
    Spec { keys: Keys::NONE, ..routed(spec, Routing::Slots) }
}

const fn sub(name: &'static str, arity: i8, summary: &'static str) -> Subcommand {
    Subcommand { name, arity, summary, keys: Keys::NONE }
}

/// A subcommand whose key follows its name.
const fn sub_key(name: &'static str, arity: i8, summary: &'static str) -> Subcommand {
    Subcommand { keys: at(2, Look), ..sub(name, arity, summary) }
}

/// Every command.
pub fn all() -> &'static [Spec] {
    SPECS
}

/// The row of a command by its name in any case.
pub fn lookup(name: &[u8]) -> Option<&'static Spec> {
    lookup_row(name).map(|row| &SPECS[row])
}

/// The position in [`all`] of a command by its name in any case.
pub(super) fn lookup_row(name: &[u8]) -> Option<usize> {
    let mut at = hash(name) as usize % INDEX_LENGTH;
    loop {
        let row = match INDEX[at] {
            EMPTY => return None,
            row => usize::from(row),
        };
        if name.eq_ignore_ascii_case(SPECS[row].name.as_bytes()) {
            return Some(row);
        }
        at = (at + 1) % INDEX_LENGTH;
    }
}

use Group::{
    Cluster, Connection, Generic, Hash, Json, Search, Server, Set, SortedSet, String, Transactions,
};

#[rustfmt::skip]
const SPECS: &[Spec] = &[
    // Connection
    session("ping", -1, Flags::FAST, Connection, "1.0.0", "Answers PONG, or the message given"),
    session("echo", 2, STATUS_FAST, Connection, "1.0.0", "Answers the message given"),
    session("hello", -1, HANDSHAKE, Connection, "6.0.0", "Chooses the protocol version and describes the server"),
    session("auth", -2, HANDSHAKE, Connection, "1.0.0", "Authenticates the connection"),
    session("quit", -1, HANDSHAKE, Connection, "1.0.0", "Closes the connection"),
    session("reset", 1, HANDSHAKE, Connection, "6.2.0", "Gives the connection its initial settings"),
    session("select", 2, STATUS_FAST, Connection, "1.0.0", "Chooses a database; there is only number 0"),
    container("client", Connection, "2.4.0", "Describes, names and closes connections", &[
        sub("id", 2, "The connection's number"),
        sub("setname", 3, "Names the connection"),
        sub("getname", 2, "The connection's name"),
        sub("setinfo", 4, "Names the client library or its version"),
        sub("info", 2, "Describes this connection"),
        sub("list", -2, "Describes connections of this node: LIST [TYPE type | ID id...]"),
        sub("kill", -3, "Closes connections of this node"),
        sub("pause", -3, "Lets commands of clients of this node wait: PAUSE milliseconds [WRITE|ALL]"),
        sub("unpause", 2, "Lets them go on"),
        sub("reply", 3, "Whether replies are sent: REPLY ON|OFF|SKIP"),
        sub("no-evict", 3, "Marks the connection; none is ever evicted"),
        sub("no-touch", 3, "Marks the connection; accesses are never noted"),
        sub("unblock", -3, "Always 0: no command blocks"),
        sub("getredir", 2, "Always -1: nothing is tracked"),
        sub("trackinginfo", 2, "That nothing is tracked"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    // Transactions
    session("multi", 1, TRANSACTION_FAST, Transactions, "1.2.0", "Begins a transaction: what follows is queued"),
    session("exec", 1, TRANSACTION, Transactions, "1.2.0", "Executes what is queued as one"),
    session("discard", 1, TRANSACTION_FAST, Transactions, "2.0.0", "Ends a transaction without executing it"),
    Spec { keys: from(1, Look), ..session("watch", -2, TRANSACTION_FAST, Transactions, "2.2.0", "Lets the next EXEC do nothing if one of the keys has changed") },
    session("unwatch", 1, TRANSACTION_FAST, Transactions, "2.2.0", "Forgets the watched keys"),
    // Server
    Spec { arity: -1, flags: STATUS, ..container("command", Server, "2.8.13", "Describes the commands", &[
        sub("count", 2, "Number of commands"),
        sub("docs", -2, "Documentation of commands"),
        sub("info", -2, "Details of commands"),
        sub("list", -2, "Names of commands: LIST [FILTERBY MODULE|ACLCAT|PATTERN value]"),
        sub("getkeys", -4, "The keys of a command"),
        sub("getkeysandflags", -4, "The keys of a command and how it uses them"),
        sub("help", 2, "Lists the subcommands"),
    ]) },
    container("config", Server, "2.0.0", "Shows and changes the configuration", &[
        sub("get", -3, "Values of parameters that match patterns"),
        sub("set", -4, "Changes parameters: SET name value..."),
        sub("resetstat", 2, "Begins to count anew what INFO shows"),
        sub("rewrite", 2, "An error: the configuration file is never written"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("slowlog", Server, "2.2.12", "Commands that took long", &[
        sub("get", -2, "The newest of them: GET [count]"),
        sub("len", 2, "Their number"),
        sub("reset", 2, "Forgets them"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("latency", Server, "2.8.13", "How long commands take", &[
        sub("histogram", -2, "Calls of each command by powers of two of microseconds"),
        sub("latest", 2, "Always empty: events are not watched"),
        sub("history", 3, "Always empty: events are not watched"),
        sub("graph", 3, "An error: events are not watched"),
        sub("reset", -2, "Always 0: events are not watched"),
        sub("doctor", 2, "Where to look instead"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("acl", Server, "6.0.0", "There is one user, who may do everything", &[
        sub("whoami", 2, "The user of the connection"),
        sub("users", 2, "The names of the users"),
        sub("list", 2, "The users and what they may do"),
        sub("getuser", 3, "What a user may do"),
        sub("cat", -2, "The categories of commands, or the commands of one"),
        sub("dryrun", -4, "Whether a user may execute a command"),
        sub("log", -2, "Attempts to be a user that there is not: LOG [count|RESET]"),
        sub("setuser", -3, "An error: users cannot be changed"),
        sub("deluser", -3, "An error: users cannot be changed"),
        sub("load", 2, "An error: there is no file of users"),
        sub("save", 2, "An error: there is no file of users"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("function", Server, "7.0.0", "There are no functions", &[
        sub("list", -2, "Always empty"),
        sub("stats", 2, "That none runs"),
        sub("flush", -2, "Deletes all of none"),
        sub("delete", 3, "An error: there is no such library"),
        sub("kill", 2, "An error: none runs"),
        sub("load", -3, "An error: functions are not supported"),
        sub("restore", -3, "An error: functions are not supported"),
        sub("dump", 2, "An error: functions are not supported"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("script", Server, "2.6.0", "There are no scripts", &[
        sub("exists", -3, "That none exists"),
        sub("flush", -2, "Forgets all of none"),
        sub("kill", 2, "An error: none runs"),
        sub("load", 3, "An error: scripts are not supported"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("memory", Server, "4.0.0", "What keys and the process take", &[
        sub_key("usage", -3, "Bytes that a key takes in memory: USAGE key [SAMPLES count]"),
        sub("stats", 2, "Bytes that the process takes"),
        sub("doctor", 2, "Where to look"),
        sub("malloc-stats", 2, "That the allocator tells nothing"),
        sub("purge", 2, "Nothing: the allocator returns free memory by itself"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("debug", Server, "1.0.0", "For tests", &[
        sub("sleep", 3, "Answers after some seconds; only the connection waits"),
        sub("object", 3, "How a key is kept"),
        sub("set-active-expire", 3, "Whether expired keys are removed before somebody asks for them: 0 or 1"),
        sub("stringmatch-len", 4, "Matches a pattern with a text of so many letters a"),
        sub("error", 3, "Answers with an error"),
        sub("log", 3, "Writes to the log"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    container("module", Server, "4.0.0", "There are no modules", &[
        sub("list", 2, "Always empty"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    session("save", 1, ADMIN, Server, "1.0.0", "Syncs the log and waits for it"),
    session("bgsave", -1, ADMIN, Server, "1.0.0", "Syncs the log"),
    session("bgrewriteaof", 1, ADMIN, Server, "1.0.0", "Writes what is alive into the log anew"),
    session("lastsave", 1, ADMIN.with(STATUS_FAST), Server, "1.0.0", "The last second whose state is on disk"),
    session("role", 1, ADMIN.with(STATUS_FAST), Server, "2.8.12", "Always master: every node takes writes"),
    session("replicaof", 3, ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE), Server, "5.0.0", "OK for NO ONE, and else an error: nodes are equal"),
    session("slaveof", 3, ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE), Server, "1.0.0", "OK for NO ONE, and else an error: nodes are equal"),
    session("swapdb", 3, Flags::FAST.with(Flags::DANGEROUS), Server, "4.0.0", "An error unless both are database 0"),
    session("lolwut", -1, RF, Server, "5.0.0", "A picture and the version"),
    session("wait", 3, Flags::NONE, Generic, "3.0.0", "How many more replicas have what the connection has written"),
    session("info", -1, STATUS.with(Flags::DANGEROUS), Server, "1.0.0", "Metrics of the node"),
    session("time", 1, STATUS_FAST, Server, "2.6.0", "The node's clock: seconds and microseconds"),
    routed(key("dbsize", 1, RF, Read, Keys::NONE, Server, "1.0.0", "O(1)", "Number of keys in the cluster"), Routing::Keyspace),
    routed(key("flushall", -1, W.with(Flags::DANGEROUS), Write, Keys::NONE, Server, "1.0.0", "O(N) with N the number of keys", "Deletes every key"), Routing::Keyspace),
    routed(key("flushdb", -1, W.with(Flags::DANGEROUS), Write, Keys::NONE, Server, "1.0.0", "O(N) with N the number of keys", "Deletes every key"), Routing::Keyspace),
    session("dyno_config:conn_consistency", 2, STATUS_FAST, Server, "0.1.0", "Sets both levels of the connection, as in Dynomite"),
    container("quorate", Server, "0.1.0", "Consistency levels and the state of the cluster", &[
        sub("level", -2, "Shows or sets the connection's levels: LEVEL [READ|WRITE level]"),
        sub("status", 2, "The node, its members and their state"),
        sub("digest", 2, "Digest of all data that this node holds"),
        sub("locate", 3, "Slot, token and replicas of a key"),
        sub("ring", 2, "How keys get their slots, and what each member holds of the tokens"),
        sub("scrub", -2, "Digests and disk checked again: SCRUB [STATUS|START|STOP]"),
        sub("repair", -2, "Anti-entropy rounds with the peers: REPAIR [STATUS|START [DC name] [RANGE first last] [DRY]]"),
        sub("hints", -2, "What is kept for the peers: HINTS [LIST|DRAIN [node]|DROP node]"),
        sub("topology", -2, "Members and their slots: TOPOLOGY [STATUS|JOIN node|LEAVE node|REPLACE node BY node|REMOVE-DEAD node|SET-RF factor|REBALANCE|PAUSE|RESUME|CANCEL|OVERRIDE] [DRY]"),
        sub("obligations", 2, "What the peers may lack of what was acknowledged, and where it is"),
        sub("slotdigest", 3, "Digest of a slot: SLOTDIGEST slot"),
        sub("export", -3, "State of the keys of a slot: EXPORT slot [position [STATES]]"),
        sub("merge", 4, "Merges an exported state: MERGE slot effect"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    // Cluster
    container("cluster", Cluster, "3.0.0", "The cluster as Redis Cluster clients see it", &[
        sub("slots", 2, "Slot ranges with their nodes"),
        sub("shards", 2, "Replica sets with their slots"),
        sub("nodes", 2, "Every node, in the format of Redis Cluster"),
        sub("keyslot", 3, "Slot of a key"),
        sub("countkeysinslot", 3, "Number of keys that this node holds in a slot"),
        sub("getkeysinslot", 4, "Keys that this node holds in a slot"),
        sub("myid", 2, "This node's id"),
        sub("links", 2, "Always empty: there is no cluster bus"),
        sub("replicas", 3, "Always empty: every node is a master"),
        sub("slaves", 3, "Always empty: every node is a master"),
        sub("info", 2, "State of the cluster"),
        sub("help", 2, "Lists the subcommands"),
    ]),
    session("readonly", 1, STATUS_FAST, Cluster, "3.0.0", "Accepted for cluster clients; every node serves reads"),
    session("readwrite", 1, STATUS_FAST, Cluster, "3.0.0", "Accepted for cluster clients; every node serves writes"),
    session("asking", 1, Flags::FAST, Cluster, "3.0.0", "Accepted for cluster clients"),
    // Any kind of key
    routed(key("del", -2, W, Rmw, from(1, Drop), Generic, "1.0.0", "O(N) with N the number of elements deleted", "Deletes keys"), Routing::Split(Join::Sum)),
    routed(key("unlink", -2, WF, Rmw, from(1, Drop), Generic, "4.0.0", "O(N) with N the number of elements deleted", "Deletes keys"), Routing::Split(Join::Sum)),
    routed(key("exists", -2, RF, Read, from(1, Look), Generic, "1.0.0", "O(N) with N the number of keys", "Counts the keys that exist"), Routing::Split(Join::Sum)),
    routed(key("touch", -2, RF, Read, from(1, Look), Generic, "3.2.1", "O(N) with N the number of keys", "Counts the keys that exist"), Routing::Split(Join::Sum)),
    key("type", 2, RF, Read, one(Look), Generic, "1.0.0", "O(1)", "Kind of value at a key"),
    key("expire", -3, WF, Rmw, one(Update), Generic, "1.0.0", "O(1)", "Sets a time to live in seconds"),
    key("pexpire", -3, WF, Rmw, one(Update), Generic, "2.6.0", "O(1)", "Sets a time to live in milliseconds"),
    key("expireat", -3, WF, Rmw, one(Update), Generic, "1.2.0", "O(1)", "Sets the second at which a key expires"),
    key("pexpireat", -3, WF, Rmw, one(Update), Generic, "2.6.0", "O(1)", "Sets the millisecond at which a key expires"),
    key("ttl", 2, RF, Read, one(Fetch), Generic, "1.0.0", "O(1)", "Time to live in seconds"),
    key("pttl", 2, RF, Read, one(Fetch), Generic, "2.6.0", "O(1)", "Time to live in milliseconds"),
    key("expiretime", 2, RF, Read, one(Fetch), Generic, "7.0.0", "O(1)", "Second at which a key expires"),
    key("pexpiretime", 2, RF, Read, one(Fetch), Generic, "7.0.0", "O(1)", "Millisecond at which a key expires"),
    key("persist", 2, WF, Rmw, one(Update), Generic, "2.2.0", "O(1)", "Ends a time to live"),
    routed(key("scan", -2, R, Read, Keys::NONE, Generic, "2.8.0", "O(1) a call", "Walks over the keys of the cluster"), Routing::Keyspace),
    routed(key("keys", 2, R.with(Flags::DANGEROUS), Read, Keys::NONE, Generic, "1.0.0", "O(N) with N the number of keys", "Keys that match a pattern"), Routing::Keyspace),
    routed(key("randomkey", 1, R, Read, Keys::NONE, Generic, "1.0.0", "O(1)", "A random key"), Routing::Keyspace),
    whole(routed(key("rename", 3, W, Rmw, at(1, ReadDelete).and(at(2, Replace)), Generic, "1.0.0", "O(N) with N the number of elements", "Renames a key"), Routing::Composite)),
    whole(routed(key("renamenx", 3, WF, Rmw, at(1, ReadDelete).and(at(2, Create)), Generic, "1.0.0", "O(N) with N the number of elements", "Renames a key unless the new name exists"), Routing::Composite)),
    whole(routed(key("copy", -3, WD, Rmw, at(1, Fetch).and(at(2, Replace)), Generic, "6.2.0", "O(N) with N the number of elements", "Copies a key"), Routing::Composite)),
    Spec { routing: Routing::Key, ..container("object", Generic, "2.2.3", "Details of a value", &[
        sub_key("encoding", 3, "The encoding that Redis would use"),
        sub_key("refcount", 3, "The references that Redis would count"),
        sub_key("idletime", 3, "Always 0: accesses are not timed"),
        sub_key("freq", 3, "An error: accesses are not counted"),
        sub("help", 2, "Lists the subcommands"),
    ]) },
    // Strings
    key("get", 2, RF, Read, one(Fetch), String, "1.0.0", "O(1)", "Value of a string"),
    key("set", -3, WD, Write, one(Varies), String, "1.0.0", "O(1)", "Sets a string, with options for expiry and conditions"),
    key("setnx", 3, WDF, Rmw, one(Create), String, "1.0.0", "O(1)", "Sets a string unless the key exists"),
    key("setex", 4, WD, Rmw, one(Replace), String, "2.0.0", "O(1)", "Sets a string and its time to live in seconds"),
    key("psetex", 4, WD, Rmw, one(Replace), String, "2.6.0", "O(1)", "Sets a string and its time to live in milliseconds"),
    key("getset", 3, WDF, Rmw, one(ReadUpdate), String, "1.0.0", "O(1)", "Sets a string and answers the old value"),
    key("getdel", 2, WF, Rmw, one(ReadDelete), String, "6.2.0", "O(1)", "Answers a string and deletes it"),
    key("getex", -2, WF, Rmw, one(ReadUpdate), String, "6.2.0", "O(1)", "Answers a string and changes its expiry"),
    routed(key("mget", -2, RF, Read, from(1, Fetch), String, "1.0.0", "O(N) with N the number of keys", "Values of several strings"), Routing::Split(Join::Values)),
    routed(key("mset", -3, WD, Write, pairs(1, Replace), String, "1.0.1", "O(N) with N the number of keys", "Sets several strings"), Routing::Split(Join::Ok)),
    routed(key("msetnx", -3, WD, Rmw, pairs(1, Create), String, "1.0.1", "O(N) with N the number of keys", "Sets several strings unless one of the keys exists"), Routing::Composite),
    key("append", 3, WDF, Rmw, one(Insert), String, "2.0.0", "O(N) with N the new length", "Appends to a string"),
    key("strlen", 2, RF, Read, one(Look), String, "2.2.0", "O(1)", "Length of a string"),
    key("getrange", 4, R, Read, one(Fetch), String, "2.4.0", "O(N) with N the length returned", "Part of a string"),
    key("substr", 4, R, Read, one(Fetch), String, "1.0.0", "O(N) with N the length returned", "Part of a string"),
    key("setrange", 4, WD, Rmw, one(Update), String, "2.2.0", "O(N) with N the new length", "Overwrites part of a string"),
    key("incr", 2, WDF, Rmw, one(ReadUpdate), String, "1.0.0", "O(1)", "Adds 1 to a counter"),
    key("decr", 2, WDF, Rmw, one(ReadUpdate), String, "1.0.0", "O(1)", "Subtracts 1 from a counter"),
    key("incrby", 3, WDF, Rmw, one(ReadUpdate), String, "1.0.0", "O(1)", "Adds an integer to a counter"),
    key("decrby", 3, WDF, Rmw, one(ReadUpdate), String, "1.0.0", "O(1)", "Subtracts an integer from a counter"),
    key("incrbyfloat", 3, WDF, Rmw, one(ReadUpdate), String, "2.6.0", "O(1)", "Adds a decimal number to a counter"),
    // Hashes
    key("hset", -4, WDF, Write, one(Update), Hash, "2.0.0", "O(N) with N the number of fields", "Sets fields of a hash"),
    key("hsetnx", 4, WDF, Rmw, one(Insert), Hash, "2.0.0", "O(1)", "Sets a field unless it exists"),
    key("hmset", -4, WDF, Write, one(Update), Hash, "2.0.0", "O(N) with N the number of fields", "Sets fields of a hash"),
    of_elements(key("hget", 3, RF, Read, one(Fetch), Hash, "2.0.0", "O(1)", "Value of a field")),
    of_elements(key("hmget", -3, RF, Read, one(Fetch), Hash, "2.0.0", "O(N) with N the number of fields", "Values of several fields")),
    whole(key("hgetall", 2, R, Read, one(Fetch), Hash, "2.0.0", "O(N) with N the number of fields", "All fields and values")),
    key("hdel", -3, WF, Rmw, one(Delete), Hash, "2.0.0", "O(N) with N the number of fields", "Removes fields"),
    of_elements(key("hexists", 3, RF, Read, one(Look), Hash, "2.0.0", "O(1)", "Whether a field exists")),
    whole(key("hkeys", 2, R, Read, one(Fetch), Hash, "2.0.0", "O(N) with N the number of fields", "All fields")),
    whole(key("hvals", 2, R, Read, one(Fetch), Hash, "2.0.0", "O(N) with N the number of fields", "All values")),
    key("hlen", 2, RF, Read, one(Look), Hash, "2.0.0", "O(1)", "Number of fields"),
    of_elements(key("hstrlen", 3, RF, Read, one(Look), Hash, "3.2.0", "O(1)", "Length of a field's value")),
    key("hincrby", 4, WDF, Rmw, one(ReadUpdate), Hash, "2.0.0", "O(1)", "Adds an integer to a field"),
    key("hincrbyfloat", 4, WDF, Rmw, one(ReadUpdate), Hash, "2.6.0", "O(1)", "Adds a decimal number to a field"),
    key("hrandfield", -2, R, Read, one(Fetch), Hash, "6.2.0", "O(N) with N the number of fields returned", "Random fields"),
    key("hscan", -3, R, Read, one(Fetch), Hash, "2.8.0", "O(N) a call", "Walks over the fields of a hash"),
    // Sets
    key("sadd", -3, WDF, Write, one(Insert), Set, "1.0.0", "O(N) with N the number of members", "Adds members to a set"),
    key("srem", -3, WF, Rmw, one(Delete), Set, "1.0.0", "O(N) with N the number of members", "Removes members from a set"),
    whole(key("smembers", 2, R, Read, one(Fetch), Set, "1.0.0", "O(N) with N the number of members", "All members of a set")),
    of_elements(key("sismember", 3, RF, Read, one(Look), Set, "1.0.0", "O(1)", "Whether a member is in a set")),
    of_elements(key("smismember", -3, RF, Read, one(Fetch), Set, "6.2.0", "O(N) with N the number of members asked for", "Whether each of several members is in a set")),
    key("scard", 2, RF, Read, one(Look), Set, "1.0.0", "O(1)", "Number of members"),
    key("spop", -2, WF, Rmw, one(ReadDelete), Set, "1.0.0", "O(N) with N the number of members removed", "Removes random members and answers them"),
    key("srandmember", -2, R, Read, one(Fetch), Set, "1.0.0", "O(N) with N the number of members returned", "Random members"),
    routed(key("smove", 4, WF, Rmw, at(1, ReadDelete).and(at(2, Insert)), Set, "1.0.0", "O(1)", "Moves a member to another set"), Routing::Composite),
    whole(routed(key("sunion", -2, R, Read, from(1, Fetch), Set, "1.0.0", "O(N) with N the number of all members", "Union of sets"), Routing::Composite)),
    whole(routed(key("sinter", -2, R, Read, from(1, Fetch), Set, "1.0.0", "O(N*M) with N the smallest set, M the number of sets", "Intersection of sets"), Routing::Composite)),
    whole(routed(key("sdiff", -2, R, Read, from(1, Fetch), Set, "1.0.0", "O(N) with N the number of all members", "Members of the first set that are in no other"), Routing::Composite)),
    whole(routed(key("sunionstore", -3, WD, Rmw, at(1, Replace).and(from(2, Fetch)), Set, "1.0.0", "O(N) with N the number of all members", "Stores a union of sets"), Routing::Composite)),
    whole(routed(key("sinterstore", -3, WD, Rmw, at(1, Update).and(from(2, Fetch)), Set, "1.0.0", "O(N*M) with N the smallest set, M the number of sets", "Stores an intersection of sets"), Routing::Composite)),
    whole(routed(key("sdiffstore", -3, WD, Rmw, at(1, Replace).and(from(2, Fetch)), Set, "1.0.0", "O(N) with N the number of all members", "Stores a difference of sets"), Routing::Composite)),
    whole(routed(key("sintercard", -3, R, Read, counted(1, Fetch), Set, "7.0.0", "O(N*M) with N the smallest set, M the number of sets", "Size of an intersection of sets"), Routing::Composite)),
    key("sscan", -3, R, Read, one(Fetch), Set, "2.8.0", "O(N) a call", "Walks over the members of a set"),
    // Sorted sets
    key("zadd", -4, WDF, Write, one(Update), SortedSet, "1.2.0", "O(log(N)) for each member", "Sets scores of members, or adds to one"),
    key("zincrby", 4, WDF, Rmw, one(ReadUpdate), SortedSet, "1.2.0", "O(log(N))", "Adds to the score of a member"),
    key("zrem", -3, WF, Rmw, one(Delete), SortedSet, "1.2.0", "O(M*log(N)) with M the number of members removed", "Removes members"),
    key("zcard", 2, RF, Read, one(Look), SortedSet, "1.2.0", "O(1)", "Number of members"),
    of_elements(key("zscore", 3, RF, Read, one(Fetch), SortedSet, "1.2.0", "O(1)", "Score of a member")),
    of_elements(key("zmscore", -3, RF, Read, one(Fetch), SortedSet, "6.2.0", "O(N) with N the number of members asked for", "Scores of several members")),
    key("zcount", 4, RF, Read, one(Fetch), SortedSet, "2.0.0", "O(log(N))", "Number of members with scores in a range"),
    key("zlexcount", 4, RF, Read, one(Fetch), SortedSet, "2.8.9", "O(log(N))", "Number of members in a range of names"),
    key("zrank", -3, RF, Read, one(Fetch), SortedSet, "2.0.0", "O(log(N))", "Number of members with lesser scores"),
    key("zrevrank", -3, RF, Read, one(Fetch), SortedSet, "2.0.0", "O(log(N))", "Number of members with greater scores"),
    key("zrange", -4, R, Read, one(Fetch), SortedSet, "1.2.0", "O(log(N)+M) with M the number of members returned", "Members in a range of ranks, scores or names"),
    key("zrangebyscore", -4, R, Read, one(Fetch), SortedSet, "1.0.5", "O(log(N)+M) with M the number of members returned", "Members with scores in a range"),
    key("zrangebylex", -4, R, Read, one(Fetch), SortedSet, "2.8.9", "O(log(N)+M) with M the number of members returned", "Members in a range of names"),
    key("zrevrange", -4, R, Read, one(Fetch), SortedSet, "1.2.0", "O(log(N)+M) with M the number of members returned", "Members in a range of ranks, backwards"),
    key("zrevrangebyscore", -4, R, Read, one(Fetch), SortedSet, "2.2.0", "O(log(N)+M) with M the number of members returned", "Members with scores in a range, backwards"),
    key("zrevrangebylex", -4, R, Read, one(Fetch), SortedSet, "2.8.9", "O(log(N)+M) with M the number of members returned", "Members in a range of names, backwards"),
    routed(key("zrangestore", -5, WD, Rmw, at(1, Replace).and(at(2, Fetch)), SortedSet, "6.2.0", "O(log(N)+M) with M the number of members stored", "Stores a range of members"), Routing::Composite),
    key("zremrangebyrank", 4, W, Rmw, one(Delete), SortedSet, "2.0.0", "O(M*log(N)) with M the number of members removed", "Removes the members in a range of ranks"),
    key("zremrangebyscore", 4, W, Rmw, one(Delete), SortedSet, "1.2.0", "O(M*log(N)) with M the number of members removed", "Removes the members with scores in a range"),
    key("zremrangebylex", 4, W, Rmw, one(Delete), SortedSet, "2.8.9", "O(M*log(N)) with M the number of members removed", "Removes the members in a range of names"),
    key("zpopmin", -2, WF, Rmw, one(ReadDelete), SortedSet, "5.0.0", "O(M*log(N)) with M the number of members removed", "Removes the members with the least scores and answers them"),
    key("zpopmax", -2, WF, Rmw, one(ReadDelete), SortedSet, "5.0.0", "O(M*log(N)) with M the number of members removed", "Removes the members with the greatest scores and answers them"),
    routed(key("zmpop", -4, W, Rmw, counted(1, ReadDelete), SortedSet, "7.0.0", "O(K+M*log(N)) with K the number of keys, M the number of members removed", "Pops from the first sorted set that has members"), Routing::Composite),
    key("zrandmember", -2, R, Read, one(Fetch), SortedSet, "6.2.0", "O(N) with N the number of members returned", "Random members"),
    key("zscan", -3, R, Read, one(Fetch), SortedSet, "2.8.0", "O(N) a call", "Walks over the members of a sorted set"),
    whole(routed(key("zunion", -3, R, Read, counted(1, Fetch), SortedSet, "6.2.0", "O(N*log(N)) with N the number of all members", "Union of sorted sets"), Routing::Composite)),
    whole(routed(key("zinter", -3, R, Read, counted(1, Fetch), SortedSet, "6.2.0", "O(N*log(N)) with N the number of all members", "Intersection of sorted sets"), Routing::Composite)),
    whole(routed(key("zdiff", -3, R, Read, counted(1, Fetch), SortedSet, "6.2.0", "O(N*log(N)) with N the number of all members", "Members of the first sorted set that are in no other"), Routing::Composite)),
    whole(routed(key("zunionstore", -4, WD, Rmw, at(1, Replace).and(counted(2, Fetch)), SortedSet, "2.0.0", "O(N*log(N)) with N the number of all members", "Stores a union of sorted sets"), Routing::Composite)),
    whole(routed(key("zinterstore", -4, WD, Rmw, at(1, Replace).and(counted(2, Fetch)), SortedSet, "2.0.0", "O(N*log(N)) with N the number of all members", "Stores an intersection of sorted sets"), Routing::Composite)),
    whole(routed(key("zdiffstore", -4, WD, Rmw, at(1, Replace).and(counted(2, Fetch)), SortedSet, "6.2.0", "O(N*log(N)) with N the number of all members", "Stores a difference of sorted sets"), Routing::Composite)),
    whole(routed(key("zintercard", -3, R, Read, counted(1, Fetch), SortedSet, "7.0.0", "O(N) with N the number of all members", "Size of an intersection of sorted sets"), Routing::Composite)),
    // Documents
    key("json.set", -4, WD, Rmw, one(Update), Json, "1.0.0", "O(M+N) with M the values replaced, N those set", "Sets the values at a path"),
    routed(key("json.mset", -4, WD, Rmw, triples(1, Update), Json, "2.6.0", "O(M+N) with M the values replaced, N those set", "Sets values in several documents"), Routing::Split(Join::Ok)),
    key("json.merge", -4, WD, Rmw, one(Update), Json, "2.6.0", "O(M+N) with M the values there, N those merged", "Merges a value into those at a path (RFC 7396)"),
    key("json.del", -2, W, Rmw, one(Delete), Json, "1.0.0", "O(N) with N the values removed", "Removes the values at a path"),
    key("json.forget", -2, W, Rmw, one(Delete), Json, "1.0.0", "O(N) with N the values removed", "Removes the values at a path"),
    key("json.clear", -2, W, Rmw, one(Update), Json, "2.0.0", "O(N) with N the values removed", "Empties containers and sets numbers to zero"),
    key("json.get", -2, R, Read, one(Fetch), Json, "1.0.0", "O(N) with N the values of the document", "Values at paths as JSON"),
    routed(key("json.mget", -3, R, Read, but_last(1, Fetch), Json, "1.0.0", "O(N) with N the values of all documents", "Values at a path of several documents"), Routing::Split(Join::Values)),
    key("json.type", -2, R, Read, one(Fetch), Json, "1.0.0", "O(N) with N the values of the document", "Types of the values at a path"),
    key("json.numincrby", -4, WD, Rmw, one(ReadUpdate), Json, "1.0.0", "O(N) with N the values of the document", "Adds to the numbers at a path"),
    key("json.nummultby", -4, WD, Rmw, one(ReadUpdate), Json, "1.0.0", "O(N) with N the values of the document", "Multiplies the numbers at a path"),
    key("json.strappend", -3, WD, Rmw, one(Update), Json, "1.0.0", "O(N) with N the values of the document", "Appends to the strings at a path"),
    key("json.strlen", -2, R, Read, one(Look), Json, "1.0.0", "O(N) with N the values of the document", "Lengths of the strings at a path"),
    key("json.arrappend", -4, WD, Rmw, one(Insert), Json, "1.0.0", "O(N) with N the values of the document", "Appends to the arrays at a path"),
    key("json.arrindex", -4, R, Read, one(Look), Json, "1.0.0", "O(N) with N the values of the document", "Where a value is first in the arrays at a path"),
    key("json.arrinsert", -4, WD, Rmw, one(Insert), Json, "1.0.0", "O(N) with N the values of the document", "Inserts into the arrays at a path"),
    key("json.arrlen", -2, R, Read, one(Look), Json, "1.0.0", "O(N) with N the values of the document", "Lengths of the arrays at a path"),
    key("json.arrpop", -2, W, Rmw, one(ReadDelete), Json, "1.0.0", "O(N) with N the values of the document", "Removes an item of the arrays at a path and answers it"),
    key("json.arrtrim", -4, W, Rmw, one(Delete), Json, "1.0.0", "O(N) with N the values of the document", "Leaves a range of the arrays at a path"),
    key("json.objkeys", -2, R, Read, one(Fetch), Json, "1.0.0", "O(N) with N the values of the document", "Keys of the objects at a path"),
    key("json.objlen", -2, R, Read, one(Look), Json, "1.0.0", "O(N) with N the values of the document", "Number of members of the objects at a path"),
    key("json.toggle", -3, WD, Rmw, one(ReadUpdate), Json, "2.0.0", "O(N) with N the values of the document", "Negates the booleans at a path"),
    key("json.resp", -2, R, Read, one(Fetch), Json, "1.0.0", "O(N) with N the values of the document", "Values at a path as replies"),
    key("json.debug", -2, R, Read, at(2, Look), Json, "1.0.0", "O(N) with N the values of the document", "Bytes that the values at a path take: MEMORY key [path]"),
    // Search
    search("ft.create", -5, "Creates an index: index [options] SCHEMA field type [options]..."),
    search("ft._createifnx", -5, "Creates an index unless there is one"),
    search("ft.alter", -5, "Adds fields to an index: index SCHEMA ADD field type [options]..."),
    search("ft.dropindex", -2, "Removes an index, with DD its documents too"),
    search("ft._dropindexifx", -2, "Removes an index if there is one"),
    search("ft.info", 2, "Describes an index"),
    search("ft._list", 1, "Names of the indexes"),
    search("ft.aliasadd", 3, "Gives an index another name"),
    search("ft._aliasaddifnx", 3, "Gives an index another name unless that is taken"),
    search("ft.aliasupdate", 3, "Lets a name stand for another index"),
    search("ft.aliasdel", 2, "Removes another name of an index"),
    search("ft._aliasdelifx", 2, "Removes another name of an index if there is one"),
    search("ft.aliaslist", 2, "Other names of an index"),
    search("ft.search", -3, "Documents that a query matches, the best first"),
    search("ft.aggregate", -3, "Rows of documents that a query matches, transformed in stages"),
    search("ft.cursor", -3, "Reads rows of a query in parts: READ index cursor [COUNT count], DEL index cursor, GC index"),
    search("ft.hybrid", -5, "Rows of documents that match words or are near a vector"),
    search("ft.regex", -4, "Keys of documents with texts that nearly follow a pattern: index field pattern [DISTANCE d] [LIMIT offset count]"),
    search("ft.profile", -5, "A query and how it was answered: index SEARCH|AGGREGATE [LIMITED] QUERY query..."),
    search("ft.explain", -3, "How a query is understood"),
    search("ft.explaincli", -3, "How a query is understood, line by line"),
    search("ft.tagvals", 3, "Values of a TAG field"),
    search("ft.spellcheck", -3, "Words that those of a query might be"),
    suggestions("ft.sugadd", -4, WD, Rmw, "Adds a text to a dictionary that completes texts: key text score [INCR] [PAYLOAD payload]"),
    suggestions("ft.sugget", -3, R, Read, "Texts that begin like this: key beginning [FUZZY] [WITHSCORES] [WITHPAYLOADS] [MAX count]"),
    suggestions("ft.sugdel", 3, WF, Rmw, "Removes a text from such a dictionary: key text"),
    suggestions("ft.suglen", 2, R, Read, "How many texts such a dictionary has: key"),
    search("ft.dictadd", -3, "Adds words to a dictionary"),
    search("ft.dictdel", -3, "Removes words from a dictionary"),
    search("ft.dictdump", 2, "Words of a dictionary"),
    search("ft.synupdate", -4, "Puts words into a group of synonyms"),
    search("ft.syndump", 2, "Synonyms of an index"),
    search("ft.config", -3, "Shows and changes settings of the search: GET|SET|HELP option [value]"),
    // Pieces of commands over several slots
    whole(internal("quorate.export", 2, Read, "A key's value, to be installed elsewhere")),
    internal("quorate.install", 4, Rmw, "Installs an exported value: key value REPLACE|NX"),
    internal("quorate.setstore", -2, Rmw, "Replaces a key by a set of these members"),
    internal("quorate.zsetstore", -2, Rmw, "Replaces a key by a sorted set of these members and scores"),
    whole(internal("quorate.zmembers", 2, Read, "Members and scores of a sorted set, or of a set")),
    internal("quorate.zrange", -4, Read, "Members and scores that ZRANGESTORE would store"),
    Spec { keys: counted(2, Update), ..internal(BATCH, -6, Rmw, "Several commands, executed as one") },
    Spec { keys: from(1, Look), ..internal("quorate.version", -2, Read, "Versions of keys, which every change changes") },
    over_slots("quorate.count", -3, Read, "Number of keys in a run of slots"),
    over_slots("quorate.keys", -4, Read, "Keys in a run of slots that match a pattern"),
    over_slots("quorate.scan", -7, Read, "Some keys of a run of slots"),
    over_slots("quorate.randomkey", -3, Read, "A random key in a run of slots"),
    over_slots("quorate.occupied", -3, Rmw, "Slots of a run that hold keys, at the level of writes"),
    over_slots(FLUSH, -3, Rmw, "Deletes every key of a run of slots, which is one slot"),
    over_slots("quorate.slotdigest", 3, Read, "Digest of a run of slots, which is one slot"),
    over_slots("quorate.exportslot", -4, Read, "State of some keys of a run of slots, which is one slot"),
    over_slots("quorate.mergeslot", 4, Write, "Merges a state of keys of a run of slots, which is one slot"),
    over_slots("quorate.search", -8, Read, "What a shard's part of an index says: slot slot members kind index stamp statistics [leave] argument..."),
    over_slots("quorate.cursor", 7, Read, "Rows that a cursor of a shard keeps: slot slot READ|DEL index cursor count"),
    internal("quorate.memoryusage", 3, Read, "Bytes that a key takes"),
    whole(internal("quorate.debugobject", 2, Read, "How a key is kept")),
];

/// Open addressing with linear probing, built by the compiler; at most half full.
const INDEX_LENGTH: usize = 1024;
const EMPTY: u16 = u16::MAX;
const _: () = assert!(SPECS.len() * 2 <= INDEX_LENGTH);

static INDEX: [u16; INDEX_LENGTH] = {
    let mut index = [EMPTY; INDEX_LENGTH];
    let mut row = 0;
    while row < SPECS.len() {
        let mut at = hash(SPECS[row].name.as_bytes()) as usize % INDEX_LENGTH;
        while index[at] != EMPTY {
            at = (at + 1) % INDEX_LENGTH;
        }
        index[at] = row as u16;
        row += 1;
    }
    index
};

/// FNV-1a over the name in lower case.
const fn hash(name: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at].to_ascii_lowercase() as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests;
