//! One node in memory, used from inside the process.
//!
//! `cargo run -p quorate --example one_node`
#![allow(clippy::print_stdout, reason = "an example shows something")]

use quorate::{CallError, Engine, Settings, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    futures_executor::block_on(async {
        let engine = Engine::start(Settings::in_memory()).await?;
        let client = engine.client();

        client.run(["SET", "greeting", "hello"]).await?;
        println!("greeting: {}", client.run(["GET", "greeting"]).await?.to_text());

        for _ in 0..3 {
            client.run(["INCR", "visits"]).await?;
        }
        assert_eq!(client.run(["GET", "visits"]).await?, Value::Bulk("3".into()));

        // Errors carry the text that a Redis client would get, and say what became of the command.
        let error = client.run(["INCR", "greeting"]).await.expect_err("is no number");
        println!("INCR greeting: {error}");
        assert!(matches!(error, CallError::Invalid(_)) && error.is_nothing_done());

        println!("redis clients may connect to {}", engine.client_address());
        engine.shutdown().await?;
        Ok(())
    })
}
