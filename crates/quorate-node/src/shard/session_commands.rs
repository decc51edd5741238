//! Commands that the node answers by itself: about the connection, the server and the cluster.

use quorate_cluster::coordinator::Terms;
use quorate_proto::{
    Level, Partitioner,
    command::{self, Call, CommandId, ListFilter, Mistake, Spread},
    resp::{Command, ReplyWriter, quoted},
};

use super::{
    Now, REDIS_VERSION, Shard, Waiter, acl, cluster_commands,
    mail::Question,
    memory, scripting,
    session::{Mute, OwnLevels},
    status,
};

impl Shard {
    pub(super) fn session_command(&mut self, now: Now, key: usize, call: Call) {
        let subcommand = call.command().get(1).unwrap_or_default().to_ascii_lowercase();
        match (call.spec().name, subcommand.as_slice()) {
            ("config", b"resetstat") => return self.config_resetstat(now, key, call),
            ("slowlog", _) => return self.slow_log(now, key, call),
            ("latency", b"histogram") => return self.latency_histogram(now, key, call),
            ("info", _) => return self.info(now, key, call),
            ("client", b"list" | b"kill" | b"pause" | b"unpause") => {
                return self.clients(now, key, &subcommand, call);
            }
            (name, _) if name.starts_with("ft.") => return self.search_command(now, key, call),
            ("multi" | "exec" | "discard" | "watch" | "unwatch", _) => {
                return self.transaction_command(now, key, call);
            }
            ("debug", _) => return self.debug(now, key, &subcommand, call),
            ("memory", b"usage" | b"stats") => {
                return self.memory(now, key, &subcommand, call);
            }
            ("wait", _) => return self.wait_command(now, key, call),
            ("save", _) => return self.save(now, key, call),
            ("bgsave", _) => return self.background_save(now, key, call),
            ("bgrewriteaof", _) => return self.rewrite(now, key, call),
            ("quorate", b"export" | b"merge" | b"slotdigest") => {
                return self.snapshot_command(now, key, call);
            }
            ("quorate", b"digest") => {
                let plan = Box::new(status::Gathered::Digest);
                return self.gather(now, key, call, Question::Digest, plan);
            }
            ("quorate", b"repair") => return self.repair_command(now, key, call),
            ("quorate", b"scrub") => return self.scrub_command(now, key, call),
            ("quorate", b"topology") => return self.topology_command(key, call),
            ("quorate", b"hints") => return self.hints_command(now, key, call),
            ("quorate", b"obligations") => {
                return self.obligations_command(now, key, call);
            }
            ("cluster", b"countkeysinslot" | b"getkeysinslot") => {
                return self.slot_command(now, key, call);
            }
            _ => {}
        }
        let mut reply = Vec::new();
        let outcome = self.answer(now, key, &subcommand, &call, &mut reply);
        match outcome {
            Ok(()) => self.reply(key, &call, &reply),
            Err(error) => self.refuse(key, &call, error),
        }
    }

    pub(super) fn answer(
        &mut self,
        now: Now,
        key: usize,
        subcommand: &[u8],
        call: &Call,
        reply: &mut Vec<u8>,
    ) -> Result<(), String> {
        let command = call.command();
        let resp3 = self.sessions[key].resp3;
        let mut writer = ReplyWriter::new(reply, resp3);
        match call.spec().name {
            "ping" => return ping(&mut writer, command),
            "echo" => writer.bulk(command.arg(1)),
            "quit" => {
                writer.ok();
                self.sessions[key].closing = true;
            }
            "select" => return select(&mut writer, command),
            "readonly" | "readwrite" | "asking" | "unwatch" => writer.ok(),
            "auth" => {
                match command.len() {
                    2 => return Err(NO_PASSWORD.into()),
                    3 => self.check_user(key, command.arg(1), command)?,
                    _ => return Err("ERR syntax error".into()),
                }
                writer.ok();
            }
            "hello" => return self.hello(key, command, reply),
            "reset" => {
                self.reset(key);
                ReplyWriter::new(reply, false).simple("RESET");
            }
            "time" => {
                writer.array(2);
                writer.text(&(now.wall_us / 1_000_000).to_string());
                writer.text(&(now.wall_us % 1_000_000).to_string());
            }
            "client" => return self.client(now, key, subcommand, command, &mut writer),
            "command" => return describe_commands(&mut writer, subcommand, command),
            "config" => return self.config(&mut writer, subcommand, command),
            "acl" if subcommand == b"log" => return self.acl_log(&mut writer, command),
            "replicaof" | "slaveof" => return follow(&mut writer, command),
            "acl" => return acl::answer(&mut writer, subcommand, command),
            "function" => return scripting::function(&mut writer, subcommand, command),
            "script" => return scripting::script(&mut writer, subcommand, command),
            "memory" => memory::answer(&mut writer, subcommand),
            "module" if subcommand == b"list" => write_modules(&mut writer),
            "module" => write_help(&mut writer, "module"),
            "role" => {
                writer.array(3);
                writer.text("master");
                writer.integer(0);
                writer.array(0);
            }
            "lastsave" => {
                let saved_ms = self.node.metrics().saved_ms.max(self.node.started_ms);
                writer.integer((saved_ms / 1000) as i64);
            }
            "lolwut" => writer.verbatim(LOLWUT),
            "swapdb" => return swap_databases(&mut writer, command),
            "latency" => return self.latency(&mut writer, subcommand, command),
            "cluster" => return self.cluster(&mut writer, subcommand, command),
            "dyno_config:conn_consistency" => {
                let level = parse_level(&String::from_utf8_lossy(command.arg(1)))?;
                let own = OwnLevels { read: true, write: true };
                self.sessions[key].set_levels(level, level, own);
                writer.ok();
            }
            "quorate" => return self.quorate(now, key, &mut writer, subcommand, command),
            _ => return Err("ERR this command cannot be executed here".into()),
        }
        Ok(())
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`
    fn hello(&mut self, key: usize, command: &Command, reply: &mut Vec<u8>) -> Result<(), String> {
        let mut resp3 = self.sessions[key].resp3;
        if let Some(version) = command.get(1) {
            let parsed = quorate_proto::resp::parse_integer(version);
            resp3 = match parsed {
                None => {
                    return Err("ERR Protocol version is not an integer or out of range".into());
                }
                Some(2) => false,
                Some(3) => true,
                Some(_) => return Err("NOPROTO unsupported protocol version".into()),
            };
            let mut at = 2;
            while let Some(option) = command.get(at) {
                if option.eq_ignore_ascii_case(b"AUTH") && at + 2 < command.len() {
                    self.check_user(key, command.arg(at + 1), command)?;
                    at += 3;
                } else if option.eq_ignore_ascii_case(b"SETNAME") && at + 1 < command.len() {
                    // It holds although a later option may be wrong.
                    self.sessions[key].about.name = client_name(command.arg(at + 1))?;
                    at += 2;
                } else {
                    return Err(format!("ERR Syntax error in HELLO option '{}'", quoted(option)));
                }
            }
        }
        let session = &mut self.sessions[key];
        session.resp3 = resp3;
        let id = session.id as i64;
        let mode = cluster_commands::mode(self.topology());
        let mut writer = ReplyWriter::new(reply, resp3);
        writer.map(7);
        for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
            writer.text(field);
            writer.text(value);
        }
        writer.text("proto");
        writer.integer(if resp3 { 3 } else { 2 });
        writer.text("id");
        writer.integer(id);
        for (field, value) in [("mode", mode), ("role", "master")] {
            writer.text(field);
            writer.text(value);
        }
        writer.text("modules");
        writer.array(0);
        Ok(())
    }

    fn reset(&mut self, key: usize) {
        let levels = self.node.adjustable.levels();
        let session = &mut self.sessions[key];
        session.resp3 = false;
        session.set_levels(levels.0, levels.1, OwnLevels::default());
        session.about.name.clear();
        session.end_transaction();
        (session.about.no_evict, session.about.no_touch) = (false, false);
        (session.mute, session.replies.muted) = (Mute::Off, false);
    }

    fn quorate(
        &mut self,
        now: Now,
        key: usize,
        writer: &mut ReplyWriter<'_>,
        subcommand: &[u8],
        command: &Command,
    ) -> Result<(), String> {
        match subcommand {
            b"level" => self.level(key, writer, command)?,
            b"status" => self.status(now, writer),
            b"locate" => self.locate(writer, command.arg(2)),
            b"ring" => self.ring(writer),
            _ => write_help(writer, "quorate"),
        }
        Ok(())
    }

    /// `QUORATE LEVEL [READ level] [WRITE level]`
    fn level(
        &mut self,
        key: usize,
        writer: &mut ReplyWriter<'_>,
        command: &Command,
    ) -> Result<(), String> {
        let session = &mut self.sessions[key];
        if command.len() == 2 {
            writer.map(2);
            for (name, level) in [("read", session.read_level), ("write", session.write_level)] {
                writer.text(name);
                writer.text(level.name());
            }
            return Ok(());
        }
        let (mut read, mut write) = (session.read_level, session.write_level);
        let mut own = session.own_levels;
        let words: Vec<String> =
            command.args().skip(2).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        for pair in words.chunks(2) {
            let [which, level] = pair else { return Err("ERR syntax error".into()) };
            let parsed = parse_level(level)?;
            match which.to_ascii_uppercase().as_str() {
                "READ" => (read, own.read) = (parsed, true),
                "WRITE" => (write, own.write) = (parsed, true),
                _ => return Err(format!("ERR '{which}' is neither READ nor WRITE")),
            }
        }
        session.set_levels(read, write, own);
        writer.ok();
        Ok(())
    }

    /// Asks every shard of the node and joins what they say.
    pub(super) fn gather(
        &mut self,
        now: Now,
        key: usize,
        call: Call,
        question: Question,
        plan: Box<dyn super::job::Plan>,
    ) {
        if self.sessions[key].replies.waiting() > 0 {
            self.sessions[key].held = Some(call);
            return;
        }
        let waiter = self.expect_alone(key, call.command());
        let shards: Vec<u16> = (0..self.node.settings.shards).collect();
        self.ask_shards(now, waiter, &shards, question, plan);
    }

    /// Asks some shards of the node; `plan` joins what they say.
    pub(super) fn ask_shards(
        &mut self,
        now: Now,
        waiter: Waiter,
        shards: &[u16],
        question: Question,
        plan: Box<dyn super::job::Plan>,
    ) {
        let terms = Terms {
            read_level: Level::One,
            write_level: Level::One,
            resp3: false,
            deadline: self.deadline(now, 0),
        };
        let job = self.jobs.insert(super::job::Job::new(plan, waiter, terms));
        self.jobs[job].expect(shards.len());
        for (piece, &shard) in shards.iter().enumerate() {
            let waiter = Waiter::Job { key: job, piece };
            if shard == self.id {
                self.answer_question(now, waiter, question.clone());
            } else {
                let ticket = self.waiters.insert(waiter) as u64;
                let question = question.clone();
                let mail = super::Mail::Describe { from: self.id, ticket, question };
                self.outbox[usize::from(shard)].push(mail);
            }
        }
    }

    /// Answers a question about this shard, now or when what it asks for is done.
    pub(super) fn answer_question(&mut self, now: Now, waiter: Waiter, question: Question) {
        match question {
            Question::Save { deadline } => self.begin_save(now, waiter, deadline),
            question => {
                let reply = self.describe(now, question).into();
                self.deliver(now, waiter, reply);
            }
        }
    }

    /// Describes this shard.
    fn describe(&mut self, now: Now, question: Question) -> Vec<u8> {
        match question {
            Question::Metrics { breakdown } => self.describe_metrics(now, breakdown).into(),
            Question::ResetStats => {
                self.stats.reset();
                self.storage.store.reset_counters();
                Vec::new()
            }
            Question::SlowLog(order) => self.describe_slow_log(order),
            Question::Clients(filter) => self.describe_clients(&filter).into(),
            Question::Kill { filter, asker } => {
                format!(":{}\r\n", self.kill_clients(&filter, asker)).into()
            }
            Question::Pause(pause) => {
                self.pause_clients(pause);
                Vec::new()
            }
            Question::Rewrite => {
                self.storage.want_checkpoint();
                Vec::new()
            }
            Question::Save { .. } => {
                unreachable!("invariant: saves are answered when they are done")
            }
            Question::Digest => format!("{:032x}", self.storage.digest()).into(),
            Question::Repair(order) => self.describe_repair(now, order.as_ref()).into(),
            Question::Scrub(order) => self.describe_scrub(now, order).into(),
            Question::Ledger(order) => {
                if let Some(order) = order {
                    self.order_hints(now, &order);
                }
                self.describe_debts(now).into()
            }
        }
    }
}

const LOLWUT: &str = concat!(
    "   o---o\n  / \\ / \\\n o---o---o    any majority will do\n  \\ / \\ /\n   o---o\n\n",
    "Redis ver. 7.0.15 (Quorate ",
    env!("CARGO_PKG_VERSION"),
    ")\n"
);

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
                           default user. Are you sure your configuration is correct?";

fn ping(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    match command.len() {
        1 => writer.simple("PONG"),
        2 => writer.bulk(command.arg(1)),
        _ => return Err("ERR wrong number of arguments for 'ping' command".into()),
    }
    Ok(())
}

fn select(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    command::check_database(command.arg(1)).map_err(|error| format!("ERR {error}"))?;
    writer.ok();
    Ok(())
}

/// `REPLICAOF NO ONE` is what holds anyway.
fn follow(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    let is = |at: usize, word: &str| command.arg(at).eq_ignore_ascii_case(word.as_bytes());
    if is(1, "NO") && is(2, "ONE") {
        writer.ok();
        return Ok(());
    }
    Err("ERR a node follows no other server: members of a cluster are equal, and `quorate entropy` \
         takes over the data of a Redis"
        .into())
}

/// `SWAPDB first second`: there is one database, which may be swapped with itself.
fn swap_databases(writer: &mut ReplyWriter<'_>, command: &Command) -> Result<(), String> {
    let number = |at| quorate_proto::resp::parse_integer(command.arg(at));
    let first = number(1).ok_or("ERR invalid first DB index")?;
    let second = number(2).ok_or("ERR invalid second DB index")?;
    if (first, second) != (0, 0) {
        return Err("ERR DB index is out of range".into());
    }
    writer.ok();
    Ok(())
}

fn describe_commands(
    writer: &mut ReplyWriter<'_>,
    subcommand: &[u8],
    command: &Command,
) -> Result<(), String> {
    let names: Vec<&[u8]> = command.args().skip(2).collect();
    match subcommand {
        b"" => command::write_info(writer, &[]),
        b"count" => command::write_count(writer),
        b"docs" => command::write_docs(writer, &names),
        b"info" => command::write_info(writer, &names),
        b"list" => list_commands(writer, &names)?,
        b"getkeys" => {
            let call = with_keys(&names)?;
            writer.array(call.keys().count());
            call.keys().for_each(|key| writer.bulk(key));
        }
        b"getkeysandflags" => {
            let call = with_keys(&names)?;
            let keys: Vec<_> = call.keys_with_access().collect();
            command::write_keys_and_flags(writer, &keys);
        }
        _ => write_help(writer, "command"),
    }
    Ok(())
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
fn list_commands(writer: &mut ReplyWriter<'_>, words: &[&[u8]]) -> Result<(), String> {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match words {
        [] => command::write_list(writer, ListFilter::All),
        [by, kind, value] if is(by, "FILTERBY") => {
            let matches = |name: &str| quorate_store::glob::matches(value, name.as_bytes());
            let filter = match kind {
                kind if is(kind, "MODULE") => ListFilter::Module,
                kind if is(kind, "ACLCAT") => ListFilter::Category(value),
                kind if is(kind, "PATTERN") => ListFilter::Name(&matches),
                _ => return Err("ERR syntax error".into()),
            };
            command::write_list(writer, filter);
        }
        _ => return Err("ERR syntax error".into()),
    }
    Ok(())
}

/// The call that these words make, if it has keys.
fn with_keys(words: &[&[u8]]) -> Result<Call, &'static str> {
    let command = Command::from_args(words);
    let id = CommandId::of(&command).map_err(|mistake| match mistake {
        Mistake::Unknown | Mistake::UnknownSubcommand => UNKNOWN,
        Mistake::Arity { .. } => "ERR Invalid number of arguments specified for command",
    })?;
    if id.spec().is_internal() {
        return Err(UNKNOWN);
    }
    let call = Call::new(id, command, &Partitioner::Slots);
    call.check_keys().map_err(|_| "ERR Invalid arguments specified for command")?;
    match call.spread() {
        Spread::None => Err("ERR The command has no key arguments"),
        Spread::One | Spread::Several => Ok(call),
    }
}

const UNKNOWN: &str = "ERR Invalid command specified";

/// The lines of a container's `HELP`, made from its row of the command table.
pub(super) fn write_help(writer: &mut ReplyWriter<'_>, container: &str) {
    let rows = command::lookup(container.as_bytes()).map_or(&[][..], |spec| spec.subcommands);
    writer.array(1 + 2 * rows.len());
    let name = container.to_ascii_uppercase();
    writer.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for row in rows {
        writer.simple(&row.name.to_ascii_uppercase());
        writer.simple(&format!("    {}.", row.summary));
    }
}

pub(super) fn client_name(name: &[u8]) -> Result<String, String> {
    plain_text(name).ok_or_else(|| {
        "ERR Client names cannot contain spaces, newlines or special characters.".into()
    })
}

pub(super) fn plain_text(text: &[u8]) -> Option<String> {
    let fine = text.iter().all(|byte| byte.is_ascii_graphic());
    fine.then(|| String::from_utf8_lossy(text).into_owned())
}

fn parse_level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|error| format!("ERR '{text}': {error}"))
}

/// `MODULE LIST`: what clients look for before they use commands that Redis has from modules, with
/// the versions whose behaviour they find.
/// The modules of Redis whose commands are here, and as which versions they answer.
pub(super) const MODULES: [(&str, i64); 2] = [("search", 81_000), ("ReJSON", 20_800)];

fn write_modules(writer: &mut ReplyWriter<'_>) {
    writer.array(MODULES.len());
    for (name, version) in MODULES {
        writer.map(4);
        writer.text("name");
        writer.text(name);
        writer.text("ver");
        writer.integer(version);
        writer.text("path");
        writer.text("");
        writer.text("args");
        writer.array(0);
    }
}
