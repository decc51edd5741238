//! `quorate join`, `leave`, `replace`, `remove-dead`, `set-rf`, `weight`, `drain`, `rebalance`,
//! `pause`, `resume`, `cancel`, `override` and `topology`: changes of the cluster's members, and how
//! far they have come.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use quorate_proto::{ReplicationFactor, duties::WEIGHT_MAX, resp::reply::Value};

use crate::client::{Client, field, number, text};

/// Pause between two looks at a movement.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// As long as voters that do not answer are tried, and some more.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the comparison after a member was given up is waited for.
const SETTLING_PATIENCE: Duration = Duration::from_secs(300);

/// Slots of a cluster.
const SLOTS: u64 = 16_384;

/// Where to give an order, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Where {
    /// Client address of any member
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    address: String,
    /// Say what the change comes to, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until all slots are where they are to be
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OneNode {
    /// The node, by its name or its id
    node: String,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replacement {
    /// The member that goes, by its name or its id
    node: String,
    /// The node that waits to be taken in, and comes in its place
    #[arg(long, value_name = "NODE")]
    by: String,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Factor {
    /// Replicas of every key in each datacentre: a number, or one for each, such as dc1:3,dc2:2
    replicas: ReplicationFactor,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Weight {
    /// The member, by its name or its id
    node: String,
    /// Its share of the replicas of its datacentre beside those of the others, which have 100 unless
    /// they were given another; 0 makes it a witness, which holds nothing and may have a vote
    #[arg(value_parser = clap::value_parser!(u16).range(0..=i64::from(WEIGHT_MAX)))]
    weight: u16,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Drained {
    /// The member, by its name or its id
    node: String,
    /// Let it take its part again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Only {
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Overriding {
    #[command(flatten)]
    at: Where,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Client address of any member
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    address: String,
}

/// The commands that change the members of a cluster.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Take a node in that waits to be (join: true): it becomes a member, and slots go to it.
    Join(OneNode),
    /// Let a member go: its slots go to others, then it stops.
    Leave(OneNode),
    /// Put a node that waits to be taken in into the place of a member.
    Replace(Replacement),
    /// Give up a member that is lost for good: its slots go to others.
    RemoveDead(OneNode),
    /// Change how many replicas every key has in the datacentres.
    SetRf(Factor),
    /// Give a member another share of the replicas of its datacentre: slots go to it or from it.
    Weight(Weight),
    /// Let other members execute writes in place of this one, which keeps its data and answers reads.
    Drain(Drained),
    /// Spread the slots evenly, by the weights of the members.
    Rebalance(Only),
    /// Leave slots where they are that are on their way, until they are to go on.
    Pause(Only),
    /// Let slots go on.
    Resume(Only),
    /// Take back a change that is under way.
    Cancel(Only),
    /// Let the members that are up decide, when a majority of the voters is lost for good.
    Override(Overriding),
    /// Show the members, the voters, who waits to be taken in, and slots on their way.
    Topology(Status),
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Join(OneNode { node, at }) => order(at, &["JOIN", node]),
        Command::Leave(OneNode { node, at }) => order(at, &["LEAVE", node]),
        Command::Replace(Replacement { node, by, at }) => order(at, &["REPLACE", node, "BY", by]),
        Command::RemoveDead(OneNode { node, at }) => order(at, &["REMOVE-DEAD", node]),
        Command::SetRf(Factor { replicas, at }) => order(at, &["SET-RF", &replicas.to_string()]),
        Command::Weight(Weight { node, weight, at }) => {
            order(at, &["WEIGHT", node, &weight.to_string()])
        }
        Command::Drain(Drained { node, undo, at }) => {
            order(at, &[if *undo { "UNDRAIN" } else { "DRAIN" }, node])
        }
        Command::Rebalance(Only { at }) => order(at, &["REBALANCE"]),
        Command::Pause(Only { at }) => order(at, &["PAUSE"]),
        Command::Resume(Only { at }) => order(at, &["RESUME"]),
        Command::Cancel(Only { at }) => order(at, &["CANCEL"]),
        Command::Override(Overriding { at, yes }) => {
            if !*yes && !at.dry_run {
                confirm()?;
            }
            order(at, &["OVERRIDE"])
        }
        Command::Topology(Status { address }) => {
            let status = Client::connect(address)?.run(&["QUORATE", "TOPOLOGY", "STATUS"])?;
            print_status(&status);
            Ok(())
        }
    }
}

fn order(at: &Where, words: &[&str]) -> Result<()> {
    let mut client = Client::connect(&at.address)?;
    client.wait_for_replies(PATIENCE)?;
    let command = [&["QUORATE", "TOPOLOGY"], words].concat();
    let dry = [&command[..], &["DRY"]].concat();
    let reply = client.run(if at.dry_run { &dry } else { &command })?;
    let epoch = text(&reply, "epoch");
    if number(&reply, "changes") == 0 {
        println!("nothing to change: it is so already (epoch {epoch})");
    } else {
        let (slots, copies) = (number(&reply, "slots"), number(&reply, "copies"));
        let said = if at.dry_run { "would be decided" } else { "decided" };
        println!("{said}: epoch {epoch}; {slots} slots get other owners, {copies} copies are made");
        let (bytes, pace) = (number(&reply, "bytes"), number(&reply, "pace"));
        if copies > 0 {
            println!(
                "about {} travel: at the pace for nodes that serve clients ({}/s, movement_bytes_per_second) in \
                 {} s or so, faster without clients",
                size(bytes),
                size(pace),
                number(&reply, "seconds")
            );
        }
    }
    let is_removal = words.first() == Some(&"REMOVE-DEAD");
    if is_removal && number(&reply, "changes") == 1 {
        println!(
            "it kept {} of hints for others when it was heard of last, {} s ago; they are lost with it. What it held, the \
             others compare among themselves. A write that nobody but it had, at ONE, may be lacking",
            size(number(&reply, "lost_hint_bytes")),
            number(&reply, "lost_heard_seconds"),
        );
        if !at.dry_run {
            settle(&mut client)?;
        }
    }
    if at.wait && !at.dry_run { wait(&mut client) } else { Ok(()) }
}

/// Shows how far slots have come, until none is on its way: a line that changes on a terminal, and a
/// line for each change elsewhere.
fn wait(client: &mut Client) -> Result<()> {
    let mut watch = Watch::new(std::io::stdout().is_terminal());
    loop {
        let status = client.run(&["QUORATE", "TOPOLOGY", "STATUS"])?;
        if number(&status, "moving") == 0 {
            watch.end();
            println!(
                "done after {:.0} s (epoch {})",
                watch.began.elapsed().as_secs_f64(),
                text(&status, "epoch")
            );
            return Ok(());
        }
        if number(&status, "paused") != 0 {
            watch.end();
            bail!("paused: go on with quorate resume");
        }
        watch.show(&status)?;
        thread::sleep(LOOK_PAUSE);
    }
}

/// Waits until the members that are up have compared what a lost one held.
fn settle(client: &mut Client) -> Result<()> {
    let began = Instant::now();
    loop {
        let status = client.run(&["QUORATE", "TOPOLOGY", "STATUS"])?;
        let unsettled = number(&status, "unsettled");
        if unsettled == 0 {
            println!("compared after {:.0} s", began.elapsed().as_secs_f64());
            return Ok(());
        }
        if began.elapsed() > SETTLING_PATIENCE {
            println!(
                "{unsettled} ranges are still to be compared, as far as is known here; that goes on (quorate topology)"
            );
            return Ok(());
        }
        thread::sleep(LOOK_PAUSE);
    }
}

/// What was seen of a movement.
struct Watch {
    began: Instant,
    is_terminal: bool,
    /// Slots that had moved, and bytes that rounds had moved, at the first look.
    first: Option<(Instant, u64, u64)>,
    shown: String,
}

impl Watch {
    fn new(is_terminal: bool) -> Self {
        Self { began: Instant::now(), is_terminal, first: None, shown: String::new() }
    }

    fn show(&mut self, status: &Value) -> Result<()> {
        let (moving, moved) = (number(status, "moving"), number(status, "moved"));
        let under_way = number(status, "filling") + number(status, "joint");
        let bytes = number(status, "round_bytes");
        let (since, moved_before, bytes_before) =
            *self.first.get_or_insert((Instant::now(), moved, bytes));
        let travelled = bytes.saturating_sub(bytes_before);
        let about = number(status, "copies_bytes");
        let rate = rate(since.elapsed(), travelled);
        let left = time_left(since.elapsed(), moved.saturating_sub(moved_before), moving - moved);
        let line = format!(
            "{} {moved} of {moving} slots, {under_way} under way, {} of about {}{rate}{left}",
            bar(moved, moving),
            size(travelled),
            size(about),
        );
        if self.is_terminal {
            print!("\r{line:<110}");
            std::io::stdout().flush()?;
        } else if line != self.shown {
            println!("{line}");
        }
        self.shown = line;
        Ok(())
    }

    /// Leaves the line that changes.
    fn end(&self) {
        if self.is_terminal && !self.shown.is_empty() {
            println!();
        }
    }
}

fn rate(elapsed: Duration, bytes: u64) -> String {
    let seconds = elapsed.as_secs_f64();
    if seconds < 1.0 {
        return String::new();
    }
    format!(", {}/s", size((bytes as f64 / seconds) as u64))
}

/// What is left to wait, when `done` slots have moved in this time and this many are left.
fn time_left(elapsed: Duration, done: u64, left: u64) -> String {
    let seconds = elapsed.as_secs_f64();
    if done == 0 || seconds < 1.0 {
        return String::new();
    }
    format!(", about {:.0} s left", left as f64 * seconds / done as f64)
}

fn bar(done: u64, of: u64) -> String {
    let filled = (done * 20 / of.max(1)) as usize;
    format!("[{:<20}]", "#".repeat(filled))
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

fn confirm() -> Result<()> {
    eprintln!(
        "This gives up the voters that do not answer. Whatever they have decided, or decide from now on, is void; \
         should they be alive behind a broken link, do not do this. Do it on one member only.\n\
         Type 'they are lost for good' to go on:"
    );
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim() != "they are lost for good" {
        bail!("nothing was changed");
    }
    Ok(())
}

fn print_status(status: &Value) {
    let names = |name| match field(status, name) {
        Some(Value::Array(items)) if !items.is_empty() => {
            items.iter().map(Value::to_text).collect::<Vec<_>>().join(", ")
        }
        _ => "none".to_owned(),
    };
    let sealed = if text(status, "sealed") == "1" { "final" } else { "not final yet" };
    println!("epoch      {} ({sealed}), rf {}", text(status, "epoch"), text(status, "rf"));
    println!("members    {}", names("members"));
    println!("slots      {}", names("held"));
    let weights = names("weights");
    if weights.split(", ").any(|weight| !weight.ends_with(":100")) {
        println!("weights    {weights}");
    }
    if names("drained") != "none" {
        println!("drained    {}", names("drained"));
    }
    println!("voters     {}", names("voters"));
    if text(status, "majority") == "0" {
        println!(
            "           A MAJORITY OF THE VOTERS IS AWAY (for {} s; {}): members cannot be changed. Start them; if \
             they are lost for good, see quorate override",
            text(status, "majority_lost_seconds"),
            names("voters_away"),
        );
    }
    println!("leaving    {}", names("leaving"));
    let unsettled = number(status, "unsettled");
    if unsettled > 0 {
        println!("unsettled  {unsettled} ranges that a member may lack something in");
    }
    let moving = number(status, "moving");
    if moving > 0 {
        let paused = if text(status, "paused") == "1" { ", PAUSED" } else { "" };
        println!(
            "moving     {moving} of {SLOTS} slots: {} waiting, {} filling, {} joint, {} moved{paused}",
            text(status, "waiting"),
            text(status, "filling"),
            text(status, "joint"),
            text(status, "moved"),
        );
    }
    let Some(Value::Array(candidates)) = field(status, "candidates") else { return };
    for node in candidates {
        println!(
            "candidate  {} at {}, dc {}, rack {}",
            text(node, "name"),
            text(node, "peer_address"),
            text(node, "dc"),
            text(node, "rack")
        );
    }
}
