//! The engine inside a program: the same commands as over the wire, and nothing lost by a stop.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_executor::block_on;
use quorate::{
    CallError, Client, Engine, SeedProvider, Settings, Value,
    config::ClusterListen,
    entropy::{EntropyConfig, EntropySender, ReconPeer},
};

fn with_shards(shards: u16) -> Settings {
    let mut settings = Settings::in_memory();
    settings.shards = shards;
    settings
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.to_owned().into())
}

#[test]
fn a_stopped_node_has_everything_when_it_starts_again() {
    let directory = std::env::temp_dir().join(format!("quorate-embedding-{}", std::process::id()));
    let start = || {
        let mut settings = with_shards(2);
        settings.memory = false;
        settings.data_dir = Some(directory.clone());
        Engine::start(settings)
    };
    block_on(async {
        let engine = start().await.expect("starts");
        let client = engine.client();
        for number in 0..500 {
            let key = format!("key-{number}");
            let reply = client.run(["SET", &key, &number.to_string()]).await.expect("answers");
            assert_eq!(reply, Value::Simple("OK".into()));
        }
        engine.shutdown().await.expect("stops in order");
        assert!(client.run(["PING"]).await.is_err(), "a stopped node answers nothing");

        let engine = start().await.expect("starts again");
        let client = engine.client();
        assert_eq!(client.run(["DBSIZE"]).await, Ok(Value::Integer(500)));
        for number in 0..500 {
            let value = client.run(["GET", &format!("key-{number}")]).await;
            assert_eq!(value, Ok(bulk(&number.to_string())));
        }
        engine.shutdown().await.expect("stops in order");
    });
    std::fs::remove_dir_all(&directory).expect("removed");
}

/// Knows where the other node is, at its second answer.
struct Known {
    others: Vec<String>,
    asked: u32,
}

impl SeedProvider for Known {
    fn name(&self) -> &str {
        "known"
    }

    fn seeds(&mut self) -> std::io::Result<Vec<String>> {
        self.asked += 1;
        if self.asked == 1 {
            return Err(std::io::Error::other("not yet"));
        }
        Ok(self.others.clone())
    }
}

#[test]
fn a_program_names_the_other_nodes() {
    let first = Engine::start_blocking(with_shards(1)).expect("starts");
    let known = || Known { others: vec![first.peer_address().to_string()], asked: 0 };
    let second = Engine::start_with(with_shards(1), vec![Box::new(known())]).expect("starts");
    // Until it has met the other one it takes nothing.
    let client = second.client();
    let is_set =
        || block_on(client.run(["SET", "greeting", "hello"])) == Ok(Value::Simple("OK".into()));
    let mut attempts = (0..400).map(|_| std::thread::sleep(Duration::from_millis(50)));
    assert!(attempts.any(|()| is_set()), "it has found the other one");
    assert_eq!(block_on(first.client().run(["GET", "greeting"])), Ok(bulk("hello")));

    let mut unnamed = with_shards(1);
    unnamed.seeds = vec!["embedder:nobody".into()];
    assert!(Engine::start_blocking(unnamed).is_err(), "nobody is waited for in vain");
    let twice: Vec<Box<dyn SeedProvider>> = vec![Box::new(known()), Box::new(known())];
    assert!(Engine::start_with(with_shards(1), twice).is_err());
}

#[test]
fn commands_of_one_client_are_executed_in_order() {
    block_on(async {
        let engine = Engine::start(with_shards(2)).await.expect("starts");
        let client: Client = engine.client();
        let mut pending = Vec::new();
        for number in 0..200 {
            pending.push(client.run(["INCR".to_owned(), format!("counter-{}", number % 7)]));
        }
        let mut sum = 0;
        for reply in pending {
            match reply.await.expect("answers") {
                Value::Integer(value) => sum += i64::from(value > 0),
                other => panic!("INCR answered {other:?}"),
            }
        }
        assert_eq!(sum, 200);
        let wrong = client.run(["HGET", "counter-0", "field"]).await;
        assert!(matches!(wrong, Err(CallError::Invalid(text)) if text.starts_with("WRONGTYPE")));
        let unknown = client.run(["NOSUCH"]).await;
        assert!(
            matches!(unknown, Err(CallError::Invalid(text)) if text.starts_with("ERR unknown command"))
        );
        engine.shutdown().await.expect("stops in order");
    });
}

#[test]
fn a_dropped_node_has_stopped_and_its_clients_are_told() {
    block_on(async {
        let engine = Engine::start(Settings::in_memory()).await.expect("starts");
        let (client, address) = (engine.client(), engine.client_address());
        client.run(["SET", "key", "value"]).await.expect("is written");
        drop(engine);
        assert_eq!(client.run(["GET", "key"]).await, Err(CallError::Stopped));
        assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
    });
}

#[test]
fn a_taken_address_and_a_wrong_setting_are_named() {
    block_on(async {
        let first = Engine::start(Settings::in_memory()).await.expect("starts");
        let mut settings = Settings::in_memory();
        settings.listen = first.client_address();
        settings.peer_listen = Some(Settings::in_memory().listen);
        settings.cluster_listen = ClusterListen::Nowhere;
        let error = Engine::start(settings.clone()).await;
        let error = error.expect_err("the address is taken").to_string();
        assert!(error.starts_with("listen: cannot listen on"), "{error}");
        settings.replication_factor = 0.into();
        let error = Engine::start(settings).await.expect_err("no replicas").to_string();
        assert_eq!(
            error,
            "rf: '0' is not allowed; allowed: 1 to 16, or one for each datacentre, such as dc1:3,dc2:2"
        );
        first.shutdown().await.expect("stops in order");
    });
}

#[test]
fn nodes_in_a_process_keep_each_other_up_to_date() {
    let file = |name: &str| {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../quorate-entropy/tests/vectors")
            .join(name)
    };
    let with_secret = || {
        let mut settings = with_shards(2);
        settings.channel.key_file = Some(file("key"));
        settings.channel.iv_file = Some(file("iv"));
        settings.channel.recon_interval = Duration::from_secs(1);
        settings
    };
    block_on(async {
        let mut listening = with_secret();
        listening.channel.listen = Some(Settings::in_memory().listen);
        let target = Engine::start(listening).await.expect("starts");
        let endpoint = target.entropy_address().expect("receives").to_string();
        let mut driving = with_secret();
        driving.channel.peers = vec![ReconPeer { endpoint: endpoint.clone(), node: None }];
        let source = Engine::start(driving).await.expect("starts");
        let (one, two) = (source.client(), target.client());
        for number in 0..100 {
            one.run(["SET", &format!("key-{number}"), "value"]).await.expect("answers");
        }
        for _ in 0..1_200 {
            if two.run(["DBSIZE"]).await == Ok(Value::Integer(100)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(two.run(["DBSIZE"]).await, Ok(Value::Integer(100)), "a snapshot arrives");

        // By hand, out of the node itself.
        one.run(["SET", "by hand", "1"]).await.expect("answers");
        let config = EntropyConfig {
            key_file: file("key"),
            iv_file: file("iv"),
            peer_endpoint: endpoint,
            ..EntropyConfig::default()
        };
        let sender = EntropySender::streaming(config, Arc::new(source.snapshot_source()));
        assert!(sender.expect("valid").run().expect("sends").acknowledged);
        assert_eq!(two.run(["GET", "by hand"]).await, Ok(bulk("1")));
        assert!(source.is_running() && target.is_running());
        target.shutdown().await.expect("stops in order");
        source.shutdown().await.expect("stops in order");
    });
}
