//! The engine inside a program: the same commands as over the wire, and nothing lost by a stop.

use futures_executor::block_on;
use quorate::{Client, Engine, Value};

fn bulk(text: &str) -> Value {
    Value::Bulk(text.to_owned().into())
}

#[test]
fn a_stopped_node_has_everything_when_it_starts_again() {
    let directory = std::env::temp_dir().join(format!("quorate-embedding-{}", std::process::id()));
    let start = || {
        let builder = Engine::builder().data_dir(&directory).listen("127.0.0.1:0");
        builder.peer_listen("127.0.0.1:0").shards(2).start()
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

#[test]
fn commands_of_one_client_are_executed_in_order() {
    block_on(async {
        let builder = Engine::builder().memory().listen("127.0.0.1:0").peer_listen("127.0.0.1:0");
        let engine = builder.shards(2).start().await.expect("starts");
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
        let wrong = client.run(["HGET", "counter-0", "field"]).await.expect("answers");
        assert!(matches!(wrong, Value::Error(text) if text.starts_with("WRONGTYPE")));
        let unknown = client.run(["NOSUCH"]).await.expect("answers");
        assert!(matches!(unknown, Value::Error(text) if text.starts_with("ERR unknown command")));
        engine.shutdown().await.expect("stops in order");
    });
}

#[test]
fn a_taken_address_and_a_wrong_setting_are_named() {
    block_on(async {
        let first = Engine::builder().memory().listen("127.0.0.1:0").peer_listen("127.0.0.1:0");
        let first = first.start().await.expect("starts");
        let taken = first.client_address().to_string();
        let error = Engine::builder().memory().listen(&taken).peer_listen("127.0.0.1:0").start();
        let error = error.await.expect_err("the address is taken").to_string();
        assert!(error.starts_with("listen: cannot listen on"), "{error}");
        let error = Engine::builder().memory().listen("nowhere").start().await;
        let error = error.expect_err("no address").to_string();
        assert!(error.starts_with("listen: 'nowhere' is not allowed"), "{error}");
        first.shutdown().await.expect("stops in order");
    });
}
