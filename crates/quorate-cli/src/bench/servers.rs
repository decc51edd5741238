//! Servers that a benchmark starts and stops, and what their processes use.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::client::Client;

/// A server to measure.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) pid: Option<u32>,
}

impl Target {
    /// CPU time that the process has used, in microseconds.
    pub(super) fn cpu_us(&self) -> Option<u64> {
        self.pid.and_then(cpu_us)
    }

    /// Bytes of the process that are in RAM.
    pub(super) fn memory(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid?)).ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        Some(pages * 4096)
    }
}

/// CPU time of a process with all of its threads, in microseconds. Linux counts in hundredths of
/// a second.
pub(super) fn cpu_us(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain spaces; the metrics come behind it.
    let metrics: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| metrics.get(index)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10_000)
}

/// Processes that were started; they end when this is dropped.
#[derive(Default)]
pub(super) struct Servers {
    children: Vec<Child>,
    directories: Vec<PathBuf>,
    targets: Vec<Target>,
}

/// The core of the servers, and that of the load.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

impl Servers {
    pub(super) fn add(&mut self, target: Target) {
        self.targets.push(target);
    }

    pub(super) fn measured(&self) -> &[Target] {
        &self.targets
    }

    /// A redis-server or valkey-server with an append-only file, synced every second.
    pub(super) fn start_peer(&mut self, name: &str) -> Result<()> {
        let (port, directory) = (free_port()?, self.directory(name)?);
        let program = format!("{name}-server");
        let mut command = pinned(&program);
        command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "everysec", "--bind", "127.0.0.1", "--dir"]).arg(directory);
        self.start(name, port, command).with_context(|| format!("{program} must be installed"))
    }

    /// A single Quorate node with the same durability.
    pub(super) fn start_quorate(&mut self) -> Result<()> {
        let (port, directory) = (free_port()?, self.directory("quorate")?);
        let mut command = pinned(&own_path()?);
        command.args(["serve", "--sync", "everysec", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--peer-listen", "127.0.0.1:0", "--cluster-listen", "none"]);
        command.arg("--data-dir").arg(directory);
        self.start("quorate", port, command)
    }

    /// A node alone, and three of which only the first is measured: the others are its replicas.
    pub(super) fn start_cluster(&mut self) -> Result<()> {
        let (port, directory) = (free_port()?, self.directory("alone")?);
        let mut command = node(port)?;
        command.args(["--peer-listen", "127.0.0.1:0", "--data-dir"]).arg(directory);
        self.start("alone", port, command)?;
        let ports: Vec<(u16, u16)> =
            (0..3).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<_>>()?;
        let measured = self.targets.len() + 1;
        for (number, (port, peer_port)) in ports.iter().enumerate() {
            let directory = self.directory(&format!("node-{number}"))?;
            let mut command = node(*port)?;
            command.args(["--write-level", "QUORUM"]);
            command.args(["--peer-listen", &format!("127.0.0.1:{peer_port}")]);
            for (_, seed) in ports.iter().filter(|(other, _)| other != port) {
                command.args(["--seed", &format!("127.0.0.1:{seed}")]);
            }
            command.arg("--data-dir").arg(directory);
            self.start(&format!("of-three-{number}"), *port, command)?;
        }
        for target in &self.targets[measured - 1..] {
            wait_until_linked(&target.address)?;
        }
        self.targets.truncate(measured);
        Ok(())
    }

    /// Keeps the load away from the core of the servers.
    pub(super) fn pin_this_process(&self) {
        let pid = std::process::id().to_string();
        let _ = Command::new("taskset")
            .args(["-p", "-c", LOAD_CORE, &pid])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }

    fn directory(&mut self, name: &str) -> Result<PathBuf> {
        let name = format!("quorate-bench-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        self.directories.push(path.clone());
        Ok(path)
    }

    fn start(&mut self, name: &str, port: u16, mut command: Command) -> Result<()> {
        command.env("QUORATE_LOG", "error").stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("{name} could not be started"))?;
        let pid = child.id();
        self.children.push(child);
        let address = format!("127.0.0.1:{port}");
        for _ in 0..200 {
            if Client::connect(&address).is_ok() {
                self.targets.push(Target { name: name.into(), address, pid: Some(pid) });
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("{name} does not answer at {address}")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for directory in &self.directories {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// A Quorate node of one shard for clients on this port.
fn node(port: u16) -> Result<Command> {
    let mut command = Command::new(own_path()?);
    command.args(["serve", "--shards", "1", "--sync", "everysec", "--cluster-listen", "none"]);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    Ok(command)
}

/// A command on the servers' core, where `taskset` exists.
fn pinned(program: &str) -> Command {
    let has_taskset = Command::new("taskset").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !has_taskset {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    // `exec` semantics: taskset becomes the program, so the process id is the program's.
    command.args(["-c", SERVER_CORE, program]);
    command
}

fn own_path() -> Result<String> {
    Ok(std::env::current_exe()?.to_string_lossy().into_owned())
}

/// A port for a server, different at every call. It is from below those that the system gives to
/// connections, one of which might have taken it by the time the server listens.
fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(15_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(port < 32_000, "every port from 15000 to 31999 is taken");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

fn wait_until_linked(address: &str) -> Result<()> {
    for _ in 0..200 {
        let nodes = Client::connect(address)?.run(&["CLUSTER", "NODES"])?.to_text();
        if nodes.matches(" connected").count() == 3 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("the nodes did not find each other")
}
