//! Files that people and tools write: the configuration, the manifest of a backup.

use quorate_entropy::backup::{DataFile, Manifest, MemberRecord, SlotRecord};
use quorate_node::{
    Settings,
    config::{Setting, Shape},
};
use quorate_proto::{Slot, slot::SLOTS};

/// Values of settings, one in each line: they are refused with a text, or understood, and then
/// shown as something that means the same.
pub(crate) fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if names_a_host(text) {
        return;
    }
    let entries = text.lines().filter_map(|line| line.split_once(": "));
    let given: Vec<_> = entries
        .filter_map(|(key, value)| Setting::find(key).map(|setting| (setting, value.to_owned())))
        .collect();
    match Settings::read(&given) {
        Ok(settings) => {
            let shown = given.into_iter().map(|(setting, text)| match setting.shape() {
                Shape::One | Shape::OneOrNamed | Shape::Flag => (setting, setting.show(&settings)),
                Shape::Many | Shape::Sections(_) => (setting, text),
            });
            assert_eq!(Settings::read(&shown.collect::<Vec<_>>()), Ok(settings));
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

/// Whether an address may have to be looked up, which fuzzing must not do.
fn names_a_host(text: &str) -> bool {
    text.split(|byte: char| byte.is_whitespace() || "\"'[],{}#".contains(byte)).any(|word| {
        word.rsplit_once(':').is_some_and(|(host, port)| {
            !port.is_empty() && host.parse::<std::net::IpAddr>().is_err() && !host.is_empty()
        })
    })
}

pub(crate) fn configuration_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "listen: 127.0.0.1:6379\npeer_listen: 127.0.0.1:16379\nadvertise: 10.0.0.1\n",
        "seeds: 10.0.0.1:16379\nseeds: 10.0.0.2:16379\ncluster: c\nname: n1\ndc: dc1\nrack: r1\nrf: 3\n",
        "data_dir: /var/lib/quorate\nsync: always\nshards: 4\nread_level: QUORUM\nwrite_level: ONE\n",
        "max_value_size: 1048576\nmaxclients: 100\nrequest_timeout_ms: 5000\nmemory: true\n",
        "gc_grace_seconds: 900\nscrub_interval_seconds: 0\nscrub_bytes_per_second: 8388608\n",
        "hints_bytes_max: 4294967296\nhint_window_seconds: 10800\naccept_damaged_log: true\n",
        "entropy.connections: 8\nentropy.timeout_seconds: 5s\nentropy.protocol: any\nentropy.plain: true\n",
        "read_repair: background\nrf: -1\n",
        "rf: dc1:3,dc2:2\n",
        "max_value_size: 512mb\nrequest_timeout: 5s\n",
        "entropy.peers: 10.0.0.9:8105,10.0.0.9:6379\nentropy.key_file: k\n",
    ];
    seeds.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The manifest of a backup: what is accepted is written the same again. Its checksum keeps damage
/// out, so what it holds is tried without one too.
pub(crate) fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        same_again(&manifest);
    }
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes)
        && manifest.encode().is_ok()
    {
        same_again(&manifest);
    }
    // The list of slots is long and of one length: the rest of a manifest around a sound one.
    if let Ok(mut manifest) = serde_json::from_slice::<Manifest>(bytes) {
        let given = std::mem::take(&mut manifest.slots);
        manifest.slots = sound_slots();
        for (slot, given) in manifest.slots.iter_mut().zip(given) {
            *slot = SlotRecord { slot: slot.slot, ..given };
        }
        if manifest.encode().is_ok() {
            same_again(&manifest);
        }
    }
}

fn same_again(manifest: &Manifest) {
    let (_, _) = (manifest.bytes(), manifest.keys());
    let encoded = manifest.encode().expect("it was accepted");
    let again = Manifest::decode(&encoded).expect("what was encoded can be decoded");
    assert_eq!(&again, manifest);
}

fn sound_slots() -> Vec<SlotRecord> {
    let record = |slot: Slot| SlotRecord { slot: slot.number(), backup: 1, ..Default::default() };
    Slot::all().map(record).collect()
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    let member = |number: u8| MemberRecord {
        name: format!("n{number}"),
        client_address: format!("10.0.0.{number}:6379"),
        peer_address: format!("10.0.0.{number}:16379"),
        dc: "dc1".into(),
        rack: "rack1".into(),
    };
    let mut slots = vec![SlotRecord::default(); 2];
    slots[0] = SlotRecord {
        digest: 7,
        moving: true,
        also: vec![1],
        keys: 3,
        bytes: 90,
        offset: 10,
        sha256: "ab".repeat(32),
        ..SlotRecord::default()
    };
    let small = Manifest {
        number: 1,
        began_ms: 1_700_000_000_000,
        ended_ms: 1_700_000_001_000,
        cluster: "c".into(),
        identity: "0123456789abcdef0123456789abcdef".into(),
        members: vec![member(1), member(2)],
        files: vec![DataFile { name: "slots-00000-00255.000001.resp".into(), bytes: 100 }],
        slots,
    };
    let mut seeds: Vec<_> = serde_json::to_vec(&small).into_iter().collect();
    debug_assert!(usize::from(SLOTS) > small.slots.len());
    seeds.extend([
        br#"{"format":"quorate backup","version":1,"sha256":"","backup":{}}"#.to_vec(),
        br#"{"format":"quorate backup","version":2}"#.to_vec(),
    ]);
    seeds
}
