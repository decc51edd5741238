//! `CLIENT`: what a connection says of itself, and what one may do to others.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_cluster::time::Instant;
use quorate_proto::{
    command::{Call, CommandId},
    resp::{Command, ReplyWriter, parse_integer, quoted},
};

use super::{
    Now, Session, Shard,
    job::{Plan, Step, integer},
    mail::Question,
    session::Mute,
    session_commands::{client_name, plain_text, write_help},
    status::Gathered,
    transaction::Transaction,
};

/// Which connections are meant.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    ids: Option<Arc<[u64]>>,
    address: Option<String>,
    local_address: Option<String>,
    /// Of a kind that there is not here: replicas, subscribers.
    none: bool,
    /// Not this one.
    except: Option<u64>,
}

/// Commands of clients wait until then.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    until: Instant,
    writes_only: bool,
}

impl Pause {
    /// Both at a time: until the later end, and for all commands if one of them is.
    fn and(self, other: Self) -> Self {
        Self {
            until: self.until.max(other.until),
            writes_only: self.writes_only && other.writes_only,
        }
    }
}

impl ClientFilter {
    fn admits(&self, session: &Session) -> bool {
        let about = &session.about;
        !self.none
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&session.id))
            && self.address.as_ref().is_none_or(|address| *address == about.address)
            && self.local_address.as_ref().is_none_or(|address| *address == about.local_address)
            && self.except != Some(session.id)
    }

    /// `TYPE normal|master|replica|pubsub`
    fn of_kind(&mut self, kind: &[u8]) -> Result<(), String> {
        match kind.to_ascii_lowercase().as_slice() {
            b"normal" => self.none = false,
            b"master" | b"slave" | b"replica" | b"pubsub" => self.none = true,
            _ => {
                return Err(format!("ERR Unknown client type '{}'", quoted(kind)));
            }
        }
        Ok(())
    }
}

impl Shard {
    /// The subcommands that concern this connection alone.
    pub(super) fn client(
        &mut self,
        now: Now,
        key: usize,
        subcommand: &[u8],
        command: &Command,
        writer: &mut ReplyWriter<'_>,
    ) -> Result<(), String> {
        let session = &mut self.sessions[key];
        match subcommand {
            b"id" => writer.integer(session.id as i64),
            b"getname" => match session.about.name.as_str() {
                "" => writer.null(),
                name => writer.text(name),
            },
            b"setname" => {
                session.about.name = client_name(command.arg(2))?;
                writer.ok();
            }
            b"setinfo" => {
                set_info(session, command)?;
                writer.ok();
            }
            b"info" => writer.verbatim(&client_line(session, now.wall_ms())),
            b"no-evict" => {
                session.about.no_evict = on_off(command.arg(2))?;
                writer.ok();
            }
            b"no-touch" => {
                session.about.no_touch = on_off(command.arg(2))?;
                writer.ok();
            }
            b"reply" => {
                reply_mode(session, command.arg(2))?;
                writer.ok();
            }
            b"getredir" => writer.integer(-1),
            b"trackinginfo" => {
                writer.map(3);
                writer.text("flags");
                writer.set(1);
                writer.text("off");
                writer.text("redirect");
                writer.integer(-1);
                writer.text("prefixes");
                writer.array(0);
            }
            // No command blocks, so there is nobody to wake.
            b"unblock" => {
                check_unblock(command)?;
                writer.integer(0);
            }
            _ => write_help(writer, "client"),
        }
        Ok(())
    }

    /// The subcommands that concern the connections of all shards.
    pub(super) fn clients(&mut self, now: Now, key: usize, subcommand: &[u8], call: Call) {
        let own = self.sessions[key].id;
        let asked: Result<(Question, Box<dyn Plan>), String> = match subcommand {
            b"list" => listed(call.command())
                .map(|filter| (Question::Clients(filter), Box::new(Gathered::Clients) as _)),
            b"kill" if call.command().len() == 3 => {
                let address = Some(String::from_utf8_lossy(call.command().arg(2)).into_owned());
                let filter = ClientFilter { address, ..ClientFilter::default() };
                Ok((Question::Kill { filter, asker: own }, Box::new(KillOne)))
            }
            b"kill" => killed(call.command(), own).map(|filter| {
                let count = Box::new(Gathered::Count { most: usize::MAX });
                (Question::Kill { filter, asker: own }, count as _)
            }),
            b"pause" => paused(call.command(), now)
                .map(|pause| (Question::Pause(Some(pause)), Box::new(Gathered::Done) as _)),
            _ => Ok((Question::Pause(None), Box::new(Gathered::Done))),
        };
        match asked {
            Ok((question, plan)) => self.gather(now, key, call, question, plan),
            Err(error) => self.refuse(key, &call, error),
        }
    }

    /// The lines of `CLIENT LIST` for this shard.
    pub(super) fn describe_clients(&self, filter: &ClientFilter) -> String {
        let wall_ms = self.storage.wall_ms;
        let sessions = self.sessions.iter().filter(|(_, session)| filter.admits(session));
        sessions.map(|(_, session)| client_line(session, wall_ms)).collect()
    }

    /// Disconnects clients of this shard, who asked itself after its reply. Returns how many.
    pub(super) fn kill_clients(&mut self, filter: &ClientFilter, asker: u64) -> usize {
        let mut count = 0;
        for (key, session) in &mut self.sessions {
            if filter.admits(session) && !session.about.is_embedded {
                session.closing = true;
                session.inbox.clear();
                session.is_killed = session.id != asker;
                self.dirty_sessions.push(key);
                count += 1;
            }
        }
        count
    }

    /// Begins or ends a pause of this shard's clients. One that has begun is only extended.
    pub(super) fn pause_clients(&mut self, pause: Option<Pause>) {
        self.pause = match (self.pause, pause) {
            (Some(old), Some(new)) => Some(old.and(new)),
            (_, pause) => pause,
        };
        if pause.is_none() {
            std::mem::take(&mut self.paused).into_iter().for_each(|key| self.enqueue(key));
        }
    }

    /// Holds a command back until the pause ends.
    pub(super) fn hold_paused(&mut self, key: usize, call: Call) {
        let session = &mut self.sessions[key];
        session.held = Some(call);
        session.is_blocked = true;
        self.paused.push(key);
    }

    /// Ends a pause that is over.
    pub(super) fn end_pause(&mut self, now: Now) {
        if self.pause.is_some_and(|pause| pause.until <= now.monotonic) {
            self.pause_clients(None);
        }
    }

    /// When the pause ends.
    pub(super) fn pause_ends(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.until)
    }

    /// Whether a command has to wait for the end of a pause. Operators can look at the node
    /// meanwhile.
    pub(super) fn is_paused(&self, key: usize, call: &Call) -> bool {
        let Some(pause) = self.pause else { return false };
        let name = call.spec().name;
        let transaction = self.sessions[key].transaction.as_ref().filter(|_| name == "exec");
        let writes = call.class().writes() || transaction.is_some_and(Transaction::writes);
        writes || !pause.writes_only && name != "quorate"
    }
}

/// `CLIENT KILL address`
#[derive(Debug)]
struct KillOne;

impl Plan for KillOne {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let count: i64 = replies.iter().filter_map(|reply| integer(reply)).sum();
        let reply: &[u8] = if count > 0 { b"+OK\r\n" } else { b"-ERR No such client\r\n" };
        Step::Done(reply.to_vec())
    }
}

/// `CLIENT LIST [TYPE type | ID id...]`
fn listed(command: &Command) -> Result<ClientFilter, String> {
    let mut filter = ClientFilter::default();
    match command.get(2) {
        None => {}
        Some(word) if word.eq_ignore_ascii_case(b"TYPE") && command.len() == 4 => {
            filter.of_kind(command.arg(3))?;
        }
        Some(word) if word.eq_ignore_ascii_case(b"ID") && command.len() > 3 => {
            let ids = command.args().skip(3).map(|id| {
                let id = parse_integer(id).and_then(|id| u64::try_from(id).ok());
                id.ok_or("ERR Invalid client ID")
            });
            filter.ids = Some(ids.collect::<Result<_, _>>()?);
        }
        Some(_) => return Err("ERR syntax error".into()),
    }
    Ok(filter)
}

/// `CLIENT KILL [ID id] [TYPE type] [USER user] [ADDR address] [LADDR address] [SKIPME yes|no]`
fn killed(command: &Command, own: u64) -> Result<ClientFilter, String> {
    let mut filter = ClientFilter { except: Some(own), ..ClientFilter::default() };
    let words: Vec<&[u8]> = command.args().skip(2).collect();
    for pair in words.chunks(2) {
        let &[option, value] = pair else { return Err("ERR syntax error".into()) };
        let text = || String::from_utf8_lossy(value).into_owned();
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = parse_integer(value).and_then(|id| u64::try_from(id).ok());
                let id = id.filter(|id| *id > 0);
                let id = id.ok_or("ERR client-id should be greater than 0")?;
                filter.ids = Some([id].into());
            }
            b"type" => filter.of_kind(value)?,
            b"user" if value == b"default" => {}
            b"user" => return Err(format!("ERR No such user '{}'", quoted(value))),
            b"addr" => filter.address = Some(text()),
            b"laddr" => filter.local_address = Some(text()),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.except = Some(own),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.except = None,
            _ => return Err("ERR syntax error".into()),
        }
    }
    Ok(filter)
}

/// `CLIENT PAUSE milliseconds [WRITE|ALL]`
fn paused(command: &Command, now: Now) -> Result<Pause, String> {
    let writes_only = match command.get(3) {
        None => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"ALL") => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"WRITE") => true,
        Some(_) => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
    };
    let ms =
        parse_integer(command.arg(2)).ok_or("ERR timeout is not an integer or out of range")?;
    let ms = u64::try_from(ms).map_err(|_| "ERR timeout is negative")?;
    // Redis takes the moment of the end for past when it lies beyond its largest number.
    if i64::try_from(now.wall_ms().saturating_add(ms)).is_err() {
        return Ok(Pause { until: now.monotonic, writes_only });
    }
    Ok(Pause { until: now.monotonic + Duration::from_millis(ms), writes_only })
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER text`
fn set_info(session: &mut Session, command: &Command) -> Result<(), String> {
    let option = command.arg(2);
    let shown = quoted(option);
    let value = plain_text(command.arg(3)).ok_or_else(|| {
        let option = shown.to_lowercase();
        format!("ERR {option} cannot contain spaces, newlines or special characters.")
    })?;
    if option.eq_ignore_ascii_case(b"LIB-NAME") {
        session.about.library_name = value;
    } else if option.eq_ignore_ascii_case(b"LIB-VER") {
        session.about.library_version = value;
    } else {
        return Err(format!("ERR Unrecognized option '{shown}'"));
    }
    Ok(())
}

/// `CLIENT REPLY ON|OFF|SKIP`
fn reply_mode(session: &mut Session, mode: &[u8]) -> Result<(), String> {
    if session.about.is_embedded {
        return Err("ERR a client in the process waits for every reply".into());
    }
    session.mute = match mode.to_ascii_lowercase().as_slice() {
        b"on" => Mute::Off,
        b"off" => Mute::All,
        b"skip" if session.mute == Mute::All => Mute::All,
        b"skip" => Mute::Next,
        _ => return Err("ERR syntax error".into()),
    };
    // Only `ON` is answered itself.
    session.replies.muted = session.mute != Mute::Off;
    Ok(())
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`
fn check_unblock(command: &Command) -> Result<(), &'static str> {
    if command.len() > 4 {
        return Err(
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
        );
    }
    let is_way =
        |way: &[u8]| way.eq_ignore_ascii_case(b"TIMEOUT") || way.eq_ignore_ascii_case(b"ERROR");
    if command.get(3).is_some_and(|way| !is_way(way)) {
        return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    }
    parse_integer(command.arg(2)).ok_or("ERR value is not an integer or out of range")?;
    Ok(())
}

fn on_off(word: &[u8]) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err("ERR syntax error".into()),
    }
}

/// One line of `CLIENT LIST`.
pub(super) fn client_line(session: &Session, wall_ms: u64) -> String {
    let about = &session.about;
    let seconds_since = |then: u64| wall_ms.saturating_sub(then) / 1000;
    let transaction = session.transaction.as_ref().map(Transaction::size);
    let multi = transaction.map_or(-1, |(queued, _)| queued as i64);
    let multi_bytes = transaction.map_or(0, |(_, bytes)| bytes);
    let flags = [
        (transaction.is_some(), 'x'),
        (session.is_blocked, 'b'),
        (about.no_evict, 'e'),
        (about.no_touch, 'T'),
    ];
    let flags: String = flags.iter().filter(|(has, _)| *has).map(|(_, flag)| *flag).collect();
    let flags = if flags.is_empty() { "N" } else { &flags };
    let command = about.last_command.map_or_else(|| "NULL".into(), |id: CommandId| id.to_string());
    let held = session.held.as_ref().map_or(0, |call| call.command().frame().len());
    let (input, ready) = (&session.inbox, &session.replies.ready);
    let unsent = session.unsent_bytes();
    let queued = unsent - ready.len();
    let total = size_of::<Session>() + input.capacity() + held + multi_bytes + ready.len() + queued;
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db=0 sub=0 psub=0 ssub=0 \
         multi={multi} qbuf={} qbuf-free={} argv-mem={held} multi-mem={multi_bytes} rbs={} rbp=0 obl={} oll={} \
         omem={queued} tot-mem={total} events={} cmd={command} user=default redir=-1 resp={} \
         lib-name={} lib-ver={}\n",
        session.id,
        about.address,
        about.local_address,
        about.descriptor.unwrap_or(-1),
        about.name,
        seconds_since(about.connected_ms),
        seconds_since(about.active_ms),
        input.len(),
        input.capacity() - input.len(),
        ready.len(),
        ready.len(),
        session.replies.held(),
        if queued > 0 { "rw" } else { "r" },
        if session.resp3 { 3 } else { 2 },
        about.library_name,
        about.library_version,
    )
}
