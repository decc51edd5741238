//! A small blocking client for operator commands.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use quorate_proto::resp::{Command, reply::Value};

/// Pause between two looks at what a node is doing.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// Looks after which progress is shown again.
pub(crate) const LOOKS_PER_REPORT: u32 = 25;

/// Patience with a node that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects to `host:port` and asks for RESP3.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let resolved = address.to_socket_addrs().ok().and_then(|mut found| found.next());
        let resolved =
            resolved.with_context(|| format!("address: '{address}' is not host:port"))?;
        let stream = TcpStream::connect_timeout(&resolved, PATIENCE)
            .with_context(|| format!("no node answers at {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, input: Vec::new() };
        client.run(&["HELLO", "3"])?;
        Ok(client)
    }

    /// Waits so long for replies.
    pub(crate) fn wait_for_replies(&mut self, patience: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    /// Runs a command; an error reply is an error.
    pub(crate) fn run(&mut self, words: &[&str]) -> Result<Value> {
        self.stream.write_all(Command::from_args(words).frame())?;
        loop {
            if let Some((value, length)) = Value::decode(&self.input)? {
                self.input.drain(..length);
                if let Value::Error(text) = value {
                    bail!("{}: {text}", words.join(" "));
                }
                return Ok(value);
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk).context("the node does not answer")? {
                0 => bail!("the node closed the connection"),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

/// The value of a field of a map.
pub(crate) fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Map(pairs) = map else { return None };
    pairs.iter().find(|(key, _)| key.to_text() == name).map(|(_, value)| value)
}

/// The elements of an array; none when it is no array.
pub(crate) fn list(reply: Value) -> Vec<Value> {
    match reply {
        Value::Array(elements) => elements,
        _ => Vec::new(),
    }
}

/// The number in a field of a map, zero when there is none.
pub(crate) fn number(map: &Value, name: &str) -> u64 {
    text(map, name).parse().unwrap_or_default()
}

/// The text of a field of a map, empty when there is none.
pub(crate) fn text(map: &Value, name: &str) -> String {
    field(map, name).map(Value::to_text).unwrap_or_default()
}
