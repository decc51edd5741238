//! `quorate scrub`: checks the digests and the disk of a node now, and waits for the end.

use std::thread;

use anyhow::{Result, bail};
use quorate_proto::resp::reply::Value;

use crate::client::{Client, LOOKS_PER_REPORT, PAUSE, field, text};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client address of the node
    #[arg(long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    node: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut client = Client::connect(&arguments.node)?;
    let mut status = client.run(&["QUORATE", "SCRUB", "START"])?;
    let mut looks = 0_u32;
    while text(&status, "state") == "running" {
        thread::sleep(PAUSE);
        looks += 1;
        status = client.run(&["QUORATE", "SCRUB", "STATUS"])?;
        if looks.is_multiple_of(LOOKS_PER_REPORT) && text(&status, "state") == "running" {
            println!(
                "running: {} of {} keys, {} of {} bytes",
                text(&status, "keys"),
                text(&status, "keys_total"),
                text(&status, "bytes"),
                text(&status, "bytes_total")
            );
        }
    }
    if let Some(Value::Array(findings)) = field(&status, "findings") {
        findings.iter().for_each(|finding| println!("{}", finding.to_text()));
    }
    let (mismatches, damages) = (text(&status, "mismatches"), text(&status, "damages"));
    println!(
        "{}: {} keys and {} bytes checked, {mismatches} wrong digests, {damages} damaged places",
        text(&status, "outcome"),
        text(&status, "keys"),
        text(&status, "bytes")
    );
    match text(&status, "outcome").as_str() {
        "clean" => Ok(()),
        "found" => bail!("something was wrong; the node's log says what was done about it"),
        "none" => bail!("the node was started again meanwhile, which ends a scrub"),
        other => bail!("the scrub did not go through to its end: it was {other}"),
    }
}
