//! A snapshot of a Redis-compatible server on this machine: its append-only file, just rewritten.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use quorate_proto::resp::reply::Value;

use super::{Connection, bulk};
use crate::{EntropyResult, Snapshot, StreamingSource, error::source, spool::FileRange};

/// How long a rewrite may take.
const REWRITE_PATIENCE: Duration = Duration::from_secs(3600);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How an RDB file begins, which a server puts in front of the commands unless told otherwise.
const RDB_MAGIC: &[u8] = b"REDIS";

const PREAMBLE: &str = "aof-use-rdb-preamble";

/// Snapshots of a local Redis or Valkey server by `BGREWRITEAOF`. Its files must be readable here.
///
/// The server writes commands, not an RDB preamble: `aof-use-rdb-preamble` is turned off for the
/// time of the rewrite and then set again. Both layouts are known: one file, and since Redis 7 a
/// directory with a manifest, of which the base file is the snapshot.
#[derive(Clone, Debug)]
pub struct RedisLocalSnapshot {
    address: String,
}

impl RedisLocalSnapshot {
    /// Snapshots of the server at `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

impl StreamingSource for RedisLocalSnapshot {
    fn open(&self) -> EntropyResult<Snapshot> {
        let file = open(&self.address);
        let file = file.map_err(|error| source(format_args!("{}: {error}", self.address)))?;
        let length = file.metadata().map_err(source)?.len();
        Ok(Snapshot::of_file(FileRange::new(file, 0, length)))
    }
}

fn open(address: &str) -> io::Result<File> {
    let mut server = Connection::dial(address)?;
    let preamble = parameter(&mut server, PREAMBLE)?.filter(|value| value == "yes");
    if preamble.is_some() {
        server.run(&["CONFIG", "SET", PREAMBLE, "no"])?;
    }
    let rewritten = rewrite(&mut server);
    if let Some(before) = preamble {
        server.run(&["CONFIG", "SET", PREAMBLE, &before])?;
    }
    rewritten?;
    let path = snapshot_file(&mut server)?;
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = File::open(&path).map_err(named)?;
    let mut head = [0; RDB_MAGIC.len()];
    if file.read(&mut head).map_err(named)? == head.len() && head == *RDB_MAGIC {
        let text = format!("{} begins with an RDB preamble", path.display());
        return Err(io::Error::other(text));
    }
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// Has the file rewritten and waits until it is.
fn rewrite(server: &mut Connection) -> io::Result<()> {
    let deadline = Instant::now() + REWRITE_PATIENCE;
    // A rewrite that is under way began too early to be the snapshot that was asked for.
    wait_for_rewrite(server, deadline)?;
    server.run(&["BGREWRITEAOF"])?;
    let status = wait_for_rewrite(server, deadline)?;
    match status.as_str() {
        "ok" => Ok(()),
        status => {
            Err(io::Error::other(format!("BGREWRITEAOF: aof_last_bgrewrite_status is {status}")))
        }
    }
}

/// Waits until no rewrite is running or planned; returns how the last one ended.
fn wait_for_rewrite(server: &mut Connection, deadline: Instant) -> io::Result<String> {
    loop {
        let info = server.run(&["INFO", "persistence"])?.to_text();
        let field = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
        };
        let busy = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
            .iter()
            .any(|name| field(name).is_some_and(|value| value.trim() != "0"));
        if !busy {
            let status = field("aof_last_bgrewrite_status").unwrap_or_default();
            return Ok(status.trim().to_owned());
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the rewrite does not end"));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn parameter(server: &mut Connection, name: &str) -> io::Result<Option<String>> {
    let Value::Array(pair) = server.run(&["CONFIG", "GET", name])? else { return Ok(None) };
    Ok(pair.get(1).map(|value| String::from_utf8_lossy(bulk(value)).into_owned()))
}

fn snapshot_file(server: &mut Connection) -> io::Result<PathBuf> {
    let missing = |name: &str| io::Error::other(format!("CONFIG GET {name} gives nothing"));
    let mut required = |name: &str| {
        parameter(server, name)?.filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    };
    let directory = PathBuf::from(required("dir")?);
    let name = required("appendfilename")?;
    match required("appenddirname") {
        Ok(inner) => {
            let inner = directory.join(inner);
            let manifest = fs::read_to_string(inner.join(format!("{name}.manifest")))?;
            base_file(&inner, &manifest)
        }
        // Before Redis 7 there is one file.
        Err(_) => Ok(directory.join(name)),
    }
}

/// The base file that a manifest names: `file NAME seq N type b`.
fn base_file(directory: &Path, manifest: &str) -> io::Result<PathBuf> {
    let base = manifest.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let field = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1).copied()
        };
        (field("type") == Some("b")).then(|| field("file")).flatten()
    });
    let base = base.ok_or_else(|| io::Error::other("the manifest names no base file"))?;
    // A name, not a path: the manifest must not lead elsewhere.
    if base.contains('/') || base == ".." {
        return Err(io::Error::other(format!("the manifest names '{base}'")));
    }
    Ok(directory.join(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_file_is_found_in_a_manifest() {
        let manifest = "file a.aof.3.base.aof seq 3 type b\nfile a.aof.7.incr.aof seq 7 type i\n";
        let path = base_file(Path::new("/d"), manifest).expect("named");
        assert_eq!(path, Path::new("/d/a.aof.3.base.aof"));
        assert!(base_file(Path::new("/d"), "file ../../etc/passwd seq 1 type b\n").is_err());
        assert!(base_file(Path::new("/d"), "file x seq 1 type i\n").is_err());
    }
}
