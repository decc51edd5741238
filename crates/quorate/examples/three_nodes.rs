//! A cluster of three nodes in one process: every key on each of them.
//!
//! `cargo run -p quorate --example three_nodes`
#![allow(clippy::print_stdout, reason = "an example shows something")]

use std::{thread::sleep, time::Duration};

use quorate::{Client, Engine, Settings, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    futures_executor::block_on(async {
        let mut nodes: Vec<Engine> = Vec::new();
        for name in ["a", "b", "c"] {
            let mut settings = Settings::in_memory();
            settings.name = Some(name.into());
            settings.shards = 1;
            settings.seeds = nodes.iter().map(|node| node.peer_address().to_string()).collect();
            nodes.push(Engine::start(settings).await?);
        }
        let clients: Vec<Client> = nodes.iter().map(Engine::client).collect();
        for client in &clients {
            wait_for_members(client, nodes.len()).await?;
        }

        // The first write makes the member list final; from then on two of three must have it.
        let reply = clients[0].run(["SET", "greeting", "hello"]).await?;
        println!("SET through a: {}", reply.to_text());
        for (client, node) in clients.iter().zip(&nodes) {
            let value = client.run(["GET", "greeting"]).await?;
            println!("GET through {}: {}", node.name(), value.to_text());
            assert_eq!(value, Value::Bulk("hello".into()));
        }
        for client in &clients {
            client.run(["INCR", "visits"]).await?;
        }
        assert_eq!(clients[0].run(["GET", "visits"]).await?, Value::Bulk("3".into()));
        for node in nodes {
            node.shutdown().await?;
        }
        Ok(())
    })
}

/// Waits until the node behind `client` is linked to all others.
async fn wait_for_members(client: &Client, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..200 {
        let nodes = client.run(["CLUSTER", "NODES"]).await?.to_text();
        if nodes.matches(" connected").count() == count {
            return Ok(());
        }
        sleep(Duration::from_millis(50));
    }
    Err("the nodes did not find each other".into())
}
