use std::time::Duration;

use quorate_entropy::Protocol;
use quorate_proto::Level;

use super::*;

/// Reads lines of `key: value`.
fn read(text: &str) -> Result<Settings, Vec<String>> {
    let given: Vec<_> = text
        .lines()
        .map(|line| line.split_once(": ").expect("a key and a value"))
        .map(|(key, value)| (Setting::find(key).expect(key), value.to_owned()))
        .collect();
    Settings::read(&given)
        .map_err(|ConfigErrors(errors)| errors.iter().map(ToString::to_string).collect())
}

/// The only thing that is wrong.
fn wrong(text: &str) -> String {
    let errors = read(text).expect_err(text);
    assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    errors[0].clone()
}

fn vector(name: &str) -> String {
    format!("{}/../quorate-entropy/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A channel that can be used, and more lines of it.
fn channel(lines: &str) -> String {
    let (key, iv) = (vector("key"), vector("iv"));
    format!(
        "entropy.key_file: {key}\nentropy.iv_file: {iv}\nentropy.listen: 127.0.0.1:8105\n{lines}"
    )
}

#[test]
fn nothing_given_is_a_durable_node_on_loopback() {
    let settings = read("").expect("defaults are allowed");
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.listen, ([127, 0, 0, 1], 6379).into());
    assert_eq!(settings.peer_address().map(|address| address.port()), Ok(16_379));
    let cluster = settings.cluster_address().expect("fits");
    assert_eq!(cluster.map(|address| address.port()), Some(11_379));
    assert_eq!(settings.durable_dir(), Some("./quorate-data".as_ref()));
    assert_eq!(settings.sync, SyncPolicy::EverySecond);
    assert_eq!(settings.read_level, Level::LocalQuorum);
    assert_eq!(settings.channel(), None);
}

#[test]
fn every_wrong_value_is_named_with_what_is_allowed() {
    let text = "listen: nowhere\nname: two words\nrf: 0\nsync: sometimes\nread_level: most";
    let errors = read(text).expect_err("five are wrong");
    let keys: Vec<_> = errors.iter().filter_map(|error| error.split(':').next()).collect();
    assert_eq!(keys, ["listen", "name", "rf", "sync", "read_level"]);
    assert_eq!(errors[3], "sync: 'sometimes' is not allowed; allowed: always, everysec, no");
    for (text, expected) in [
        (
            "rf: -1",
            "rf: '-1' is not allowed; allowed: 1 to 16, or one for each datacentre, such as",
        ),
        ("rf: dc1:17", "rf: 'dc1:17' is not allowed; allowed: 1 to 16, or one for each datacentre"),
        ("rf: dc1:2,dc1:2", "rf: 'dc1:2,dc1:2' is not allowed; allowed: 1 to 16, or one for each"),
        ("rf: dc2:2", "rf: 'dc2:2' is not allowed; allowed: a number for each datacentre, that of"),
        ("shards: 70000", "shards: '70000' is not allowed; allowed: 1 to "),
        (
            "max_value_size: 5s",
            "max_value_size: '5s' is not allowed; allowed: 1024 to 536870912 bytes, also with a unit \
             such as 64kb, 512mb, 4gb",
        ),
        (
            "request_timeout_ms: 1ms",
            "request_timeout_ms: '1ms' is not allowed; allowed: 10 to 3600000 milliseconds, also with \
             a unit such as 100ms, 5s, 10m, 2h, 7d",
        ),
        ("memory: maybe", "memory: 'maybe' is not allowed; allowed: true, false"),
        ("memory: true\ndata_dir: d", "data_dir: 'with memory: true' is not allowed; allowed: a"),
        ("listen: 0.0.0.0:7000", "advertise: '(none)' is not allowed; allowed: a host name or"),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn what_an_embedder_sets_is_checked_alike() {
    let settings = Settings {
        replication_factor: 17.into(),
        hint_window: Duration::ZERO,
        cluster: String::new(),
        ..Settings::default()
    };
    let ConfigErrors(errors) = settings.validate().expect_err("three are wrong");
    let keys: Vec<_> = errors.iter().map(|error| error.key).collect();
    assert_eq!(keys, ["cluster", "rf", "hint_window_seconds"]);
}

#[test]
fn units_are_understood() {
    let settings = read(
        "max_value_size: 64mb\nhints_bytes_max: 1gb\nrequest_timeout_ms: 2s\ngc_grace_seconds: 10m\n\
         scrub_interval_seconds: 7d\nhint_window_seconds: 7200",
    );
    let settings = settings.expect("allowed");
    assert_eq!((settings.max_value_size, settings.hints_bytes_max), (64 << 20, 1 << 30));
    assert_eq!(settings.request_timeout, Duration::from_secs(2));
    assert_eq!((settings.gc_grace.as_secs(), settings.hint_window.as_secs()), (600, 7_200));
    assert_eq!(settings.scrub_interval, Some(Duration::from_secs(604_800)));
    assert_eq!(read("scrub_interval_seconds: 0").expect("allowed").scrub_interval, None);
}

#[test]
fn ports_that_are_not_given_stand_above_that_of_listen() {
    let port = |text: &str| {
        let settings = read(&format!("{text}\npeer_listen: 127.0.0.1:1"))?;
        let cluster = settings.cluster_address().expect("was checked");
        Ok::<_, Vec<String>>(cluster.map(|address| address.port()))
    };
    assert_eq!(port("listen: 127.0.0.1:60535"), Ok(Some(65_535)));
    assert_eq!(port("listen: 127.0.0.1:0"), Ok(Some(0)));
    assert_eq!(port("listen: 127.0.0.1:60536\ncluster_listen: none"), Ok(None));
    assert_eq!(port("listen: 127.0.0.1:60536\ncluster_listen: 127.0.0.1:9"), Ok(Some(9)));
    assert_eq!(
        wrong("listen: 127.0.0.1:60536\npeer_listen: 127.0.0.1:1"),
        "cluster_listen: '(none)' is not allowed; allowed: an address or none, because the port of \
         listen + 5000 is above 65535"
    );
}

#[test]
fn seeds_need_not_resolve_at_the_start() {
    let settings = read("seeds: node.invalid:16379\nseeds: b:1").expect("allowed");
    assert_eq!(settings.seeds, ["node.invalid:16379", "b:1"]);
    for seed in ["node", "node:", "node:0", ":1", "node:65536", "two words:1"] {
        let found = wrong(&format!("seeds: {seed}"));
        assert!(found.starts_with(&format!("seeds: '{seed}' is not allowed")), "{found}");
    }
}

#[test]
fn a_channel_needs_a_secret_and_something_to_do() {
    let settings = read(&channel("")).expect("allowed");
    let settings = settings.channel().expect("listens");
    assert_eq!((settings.protocol, settings.connections_max), (Protocol::V2, 32));
    assert_eq!(settings.recon_interval, Duration::from_secs(300));
    assert!(settings.receiving().validate().is_ok() && settings.sending().validate().is_ok());
    let lenient = read(&channel("entropy.protocol: any\nentropy.plain: true")).expect("allowed");
    let lenient = lenient.channel().expect("listens");
    assert!(lenient.receiving().validate().is_ok() && lenient.sending().validate().is_ok());
    assert!(lenient.sending().encrypt && !lenient.receiving().encrypt);

    let secret = channel("");
    let (key, rest) = secret.split_once('\n').expect("lines");
    let (iv, listen) = rest.split_once('\n').expect("lines");
    for (text, expected) in [
        (format!("{key}\n{iv}"), "entropy: 'without listen and peers' is not allowed; allowed: "),
        (format!("{iv}\n{listen}"), "entropy.key_file: '(none)' is not allowed; allowed: a file"),
        (format!("{key}\n{listen}"), "entropy.iv_file: '(none)' is not allowed; allowed: a file"),
        (format!("{key}\nentropy.iv_file: /none\n{listen}"), "entropy.iv_file: '/none' is not"),
        (channel("entropy.protocol: V2"), "entropy.protocol: 'V2' is not allowed; allowed: v2, cl"),
        (
            channel("entropy.plain: true"),
            "entropy.plain: 'true' is not allowed; allowed: false, or",
        ),
        (
            channel("entropy.connections: 0"),
            "entropy.connections: '0' is not allowed; allowed: 1 to",
        ),
        (
            channel("entropy.timeout_seconds: 0"),
            "entropy.timeout_seconds: '0' is not allowed; allow",
        ),
        (
            channel("entropy.recon_interval_seconds: 86401"),
            "entropy.recon_interval_seconds: '86401' is not allowed; allowed: 1 to 86400",
        ),
    ] {
        let found = wrong(&text);
        assert!(found.starts_with(expected), "{text}\n{found}");
    }
    for peer in ["host", ":8105", "host:0", "host:65536", "ho st:1", "host:1,", "host:1,node"] {
        let found = wrong(&channel(&format!("entropy.peers: {peer}")));
        assert!(found.starts_with(&format!("entropy.peers: '{peer}' is not allowed")), "{found}");
    }
    let many = "entropy.peers: h:1\n".repeat(300);
    let errors = read(&channel(many.trim_end())).expect_err("too many");
    assert!(errors[0].starts_with("entropy.peers: 'h:1' is not allowed; allowed: endpoint and"));
}

#[test]
fn a_ring_is_what_fits_together() {
    let cuts = "ring_tokens: 3530913378,1383429731, 0";
    let text =
        format!("partitioner: ring\nhash: md5\nhash_tag: {{}}\ntokens: 0,1383429731\n{cuts}");
    let ring = read(&text).expect("allowed").ring;
    let partitioner = ring.partitioner();
    let shown = "ring, hash md5, hash tag {}, 3 ring tokens from 0 to 3530913378";
    assert_eq!(partitioner.to_string(), shown);
    assert_eq!(ring.tokens_of(&partitioner, "n1"), [0, 1_383_429_731]);
    let generated = read("partitioner: ring\ntokens: generate:3").expect("allowed").ring;
    assert_eq!(generated.tokens_of(&generated.partitioner(), "n1").len(), 3);
    for (text, expected) in [
        ("partitioner: vnodes", "partitioner: 'vnodes' is not allowed; allowed: slots, ring"),
        ("hash: md5", "hash: 'md5' is not allowed; allowed: only with partitioner: ring"),
        ("tokens: 262143", "tokens: '262143' is not allowed; allowed: only with partitioner: ring"),
        (
            "partitioner: ring\nhash: sha1",
            "hash: 'sha1' is not allowed; allowed: one_at_a_time, md5",
        ),
        ("partitioner: ring\nhash_tag: {", "hash_tag: '{' is not allowed; allowed: two printable"),
        (
            "partitioner: ring\ntokens: 4294967296",
            "tokens: '4294967296' is not allowed; allowed: 1 to 512 numbers up to 4294967295",
        ),
        (
            "partitioner: ring\ntokens: generate:0",
            "tokens: 'generate:0' is not allowed; allowed: 1",
        ),
        (
            "partitioner: ring\ntokens: 5",
            "tokens: '5' is not allowed; allowed: tokens that end a slot: token 5 of node",
        ),
        ("partitioner: ring\nring_tokens: x", "ring_tokens: 'x' is not allowed; allowed: numbers"),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn rows_show_the_defaults_that_hold() {
    for setting in SETTINGS {
        let is_told_in_words = ["shards", "data_dir"].contains(&setting.key);
        let (shown, told) = (setting.show(&Settings::default()), setting.default);
        let read = read(&format!("{}: {told}", setting.key));
        let same = read.is_ok_and(|settings| setting.show(&settings) == shown);
        assert!(same || shown.is_empty() || is_told_in_words, "{}: {shown}, {told}", setting.key);
        assert!(!setting.help.ends_with('.') && !setting.help.is_empty());
    }
}

/// The part of the book that lists every setting.
fn reference() -> String {
    let mut text = String::from("| key | flag | default | meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let Setting { key, default, help, .. } = setting;
        text.push_str(&format!("| `{key}` | `--{}` | {default} | {help} |\n", setting.flag()));
    }
    text
}

#[test]
fn the_book_lists_every_setting() {
    let book = include_str!("../../../../docs/src/configuration.md");
    let reference = reference();
    assert!(book.contains(&reference), "docs/src/configuration.md should contain:\n{reference}");
}
