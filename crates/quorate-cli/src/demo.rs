//! `quorate demo`: three nodes on this machine, or two that both take writes, to try a cluster in a minute.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use signal_hook::iterator::Signals;

use crate::client::{Client, field};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client port of the first node; the others take the next two
    #[arg(long, default_value_t = 7001)]
    port: u16,
    /// Directory of the nodes' data
    #[arg(long, default_value = "./quorate-demo", value_name = "DIR")]
    data_dir: PathBuf,
    /// Two nodes instead, each a datacentre of its own: both take writes, also without the other one
    #[arg(long)]
    pair: bool,
}

impl Arguments {
    fn secret_file(&self) -> PathBuf {
        self.data_dir.join("cluster.secret")
    }

    fn nodes(&self) -> u16 {
        if self.pair { 2 } else { NODES_MAX }
    }
}

const NODES_MAX: u16 = 3;
/// Where a node listens for cluster clients and for its peers, counted from its client port.
const CLUSTER_PORT_OFFSET: u16 = 5_000;
const PEER_PORT_OFFSET: u16 = 10_000;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    anyhow::ensure!(
        (1..=u16::MAX - PEER_PORT_OFFSET - NODES_MAX).contains(&arguments.port),
        "port: '{}' is not allowed; allowed: 1 to {}",
        arguments.port,
        u16::MAX - PEER_PORT_OFFSET - NODES_MAX
    );
    check_ports(arguments)?;
    crate::secret::ensure(&arguments.secret_file())?;
    let mut signals = Signals::new(crate::signals::that_stop())?;
    let mut nodes = Nodes(Vec::new());
    for number in 0..arguments.nodes() {
        nodes.0.push(start(arguments, number).context("a node could not be started")?);
    }
    wait_for_each_other(arguments, &mut nodes)?;
    let port = arguments.port;
    let last = port + arguments.nodes() - 1;
    println!("{} nodes are up; every key is on each of them. Try:", arguments.nodes());
    println!("  redis-cli -p {port} set greeting hello");
    println!("  redis-cli -p {} get greeting", port + 1);
    println!("  quorate status --address 127.0.0.1:{last}");
    println!("Ctrl-C stops them; their data stays in {}.", arguments.data_dir.display());
    signals.forever().next();
    Ok(())
}

/// Whoever has one of the ports would be taken for a node.
fn check_ports(arguments: &Arguments) -> Result<()> {
    for offset in [0, CLUSTER_PORT_OFFSET, PEER_PORT_OFFSET] {
        for port in (0..arguments.nodes()).map(|number| arguments.port + number + offset) {
            TcpListener::bind(("127.0.0.1", port)).with_context(|| {
                format!("port {port} cannot be listened on; other ports: --port")
            })?;
        }
    }
    Ok(())
}

/// The processes, stopped in order when this is dropped.
struct Nodes(Vec<Child>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &self.0 {
            // SIGTERM, so that each closes its log; a Ctrl-C in the terminal has reached them too.
            let _ = Command::new("kill").arg(node.id().to_string()).status();
        }
        for node in &mut self.0 {
            let _ = node.wait();
        }
    }
}

fn start(arguments: &Arguments, number: u16) -> Result<Child> {
    let port = arguments.port + number;
    let address = |port: u16| format!("127.0.0.1:{port}");
    let name = format!("node-{}", number + 1);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").args(["--cluster", "demo", "--name", &name]);
    command.args(["--listen", &address(port)]);
    command.args(["--peer-listen", &address(port + PEER_PORT_OFFSET)]);
    let (place, place_name) = if arguments.pair { ("--dc", "dc") } else { ("--rack", "rack") };
    command.args([place, &format!("{place_name}{}", number + 1)]).args(["--shards", "1"]);
    if arguments.pair {
        command.args(["--rf", "1"]);
    }
    command.arg("--data-dir").arg(arguments.data_dir.join(&name));
    command.arg("--cluster-secret-file").arg(arguments.secret_file());
    command.args(["--cluster-listen", &address(port + CLUSTER_PORT_OFFSET)]);
    for other in (0..arguments.nodes()).filter(|other| *other != number) {
        command.args(["--seed", &address(arguments.port + other + PEER_PORT_OFFSET)]);
    }
    command.env("QUORATE_LOG", std::env::var("QUORATE_LOG").unwrap_or_else(|_| "warn".into()));
    Ok(command.spawn()?)
}

fn wait_for_each_other(arguments: &Arguments, nodes: &mut Nodes) -> Result<()> {
    const ATTEMPTS: u32 = 100;
    let joined = || -> Result<bool> {
        for number in 0..arguments.nodes() {
            let mut client = Client::connect(&format!("127.0.0.1:{}", arguments.port + number))?;
            let status = client.run(&["QUORATE", "STATUS"])?;
            let members = match field(&status, "members") {
                Some(quorate_proto::resp::reply::Value::Array(members)) => members.len(),
                _ => 0,
            };
            if members < usize::from(arguments.nodes()) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    for _ in 0..ATTEMPTS {
        for (node, number) in nodes.0.iter_mut().zip(1..) {
            if let Some(status) = node.try_wait()? {
                anyhow::bail!("node-{number} has ended ({status}); its log above says why");
            }
        }
        if matches!(joined(), Ok(true)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    joined()?;
    anyhow::bail!("the nodes did not find each other")
}
