//! A data directory of every format version, in `tests/fixtures`, which this version reads.
//!
//! `cargo test -p quorate-node --lib write_the_data_directory -- --ignored` writes the one of this
//! version, once for each version of a format: what is committed stays as it is.

use std::path::Path;

use quorate_cluster::{anti_entropy::Settled, coordinator, handoff::Hints, membership::Persisted};
use quorate_proto::{
    Dot, Duties, Incarnation, MemberNumber, Numbers, Slot, Start, command::Call, resp::Command,
};

use super::*;
use crate::identity::Claim;

/// The directory that this version writes.
const PRESENT: &str = "data-v4";

/// Those that earlier versions have written.
const EARLIER: [&str; 1] = ["data-v3"];

const WALL_MS: u64 = 1_700_000_000_000;

/// Commands of three kinds of keys, with what shows that they were executed.
const WRITES: [&[&str]; 4] = [
    &["SET", "text", "a string"],
    &["INCRBY", "count", "41"],
    &["HSET", "hash", "field", "value", "other", "2"],
    &["ZADD", "scores", "1.5", "one", "-inf", "least"],
];
const READS: [(&[&str], &str); 4] = [
    (&["GET", "text"], "$8\r\na string\r\n"),
    (&["GET", "count"], "$2\r\n41\r\n"),
    (&["HGET", "hash", "other"], "$1\r\n2\r\n"),
    (&["ZRANGE", "scores", "0", "-1"], "*2\r\n$5\r\nleast\r\n$3\r\none\r\n"),
];

/// This node and its peers, whose numbers are not their positions: two have joined, two have left.
const MEMBERS: [(u128, &str, u16); 3] = [(0x30, "me", 3), (0x10, "peer", 4), (0x20, "other", 1)];
const GIVEN: u16 = 6;
const PEER: MemberNumber = MemberNumber(4);
const OTHER: MemberNumber = MemberNumber(1);
const DIRTY: u16 = 7;
const FLOOR: (u16, u64) = (9, WALL_MS - 5_000);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn settings() -> Settings {
    Settings {
        cluster: "fixture".into(),
        name: Some("me".into()),
        shards: 1,
        data_dir: Some("/data".into()),
        ..Settings::default()
    }
}

fn identity(disk: &SimulatedDisk) -> Identity {
    let claim = Claim {
        name: Some("me".into()),
        shards: 1,
        new_id: MEMBERS[0].0,
        boot: Some("boot".into()),
        unsynced: true,
        lock: false,
        seed: 7,
    };
    Identity::open(Arc::new(disk.clone()), Path::new("/data"), claim).expect("an identity")
}

fn started(disk: &SimulatedDisk, identity: Identity) -> Started {
    let origin = Origin {
        settings: settings(),
        disk: Arc::new(disk.clone()),
        directory: "/data".into(),
        sizes: Sizes { segment: 4_096, hints_max: 16_384, ..Sizes::default() },
        seeds: Seeds { node_id: MEMBERS[0].0, tables: 1, start: 2, membership: 3, links: [4; 32] },
        now: Now { monotonic: quorate_cluster::time::Instant::ZERO, wall_us: WALL_MS * 1_000 },
        make_topology: new_topology,
    };
    let addresses = Addresses {
        clients: "me:6379".into(),
        cluster_clients: "me:11379".into(),
        peers: "me:16379".into(),
    };
    let mut started = start(origin, identity, addresses).expect("starts");
    started.storages[0].wall_ms = WALL_MS;
    started
}

fn persisted(me: Incarnation) -> Persisted {
    let member = |(id, name, number): (u128, &str, u16)| Member {
        id: NodeId(id),
        name: name.into(),
        datacentre: "dc1".into(),
        rack: "rack1".into(),
        tokens: Vec::new(),
        peer_address: format!("{name}:16379"),
        client_address: format!("{name}:6379"),
        cluster_address: format!("{name}:11379"),
        incarnation: if name == "me" {
            me
        } else {
            Incarnation { start: Start::from_random(number.into()), ..Incarnation::default() }
        },
        duties: Duties::default(),
    };
    let mut members: Vec<Member> = MEMBERS.into_iter().map(member).collect();
    members.sort_by_key(|member| member.id);
    let numbered = MEMBERS.map(|(id, _, number)| (NodeId(id), MemberNumber(number)));
    let numbers = Numbers::from_parts(GIVEN, numbered).expect("possible numbers");
    let view = View {
        epoch: 9,
        sealed: true,
        partitioner: Default::default(),
        replication_factor: 3.into(),
        members,
        numbers,
        ownership: None,
    };
    Persisted { cluster: "fixture".into(), view, voting: None }
}

fn execute(storage: &mut Storage, words: &[&str]) -> (Slot, coordinator::Executed) {
    let slot = Slot::of_key(words[1].as_bytes());
    let call = Call::piece(slot, Command::from_args(words));
    let executed = storage.execute_now(&call, false);
    (slot, executed.expect("is carried out"))
}

#[test]
#[ignore = "writes the fixture of this version"]
fn write_the_data_directory() {
    let disk = SimulatedDisk::new();
    let mut identity = identity(&disk);
    identity.persist(persisted(identity.incarnation())).expect("is written");
    let Started { mut storages, .. } = started(&disk, identity);
    let storage = &mut storages[0];
    for words in WRITES {
        let (slot, executed) = execute(storage, words);
        coordinator::Replica::hint(storage, PEER, slot, executed.dot, &executed.effect);
    }
    execute(storage, &["SET", "gone", "soon"]);
    execute(storage, &["DEL", "gone"]);
    storage.mark_dirty(OTHER, [DIRTY].into_iter().collect());
    let (group, floor_ms) = FLOOR;
    storage.settle(vec![Settled { group, floor_ms, before_epoch: 0, forget_ms: 0 }]);
    storage.close().expect("is synced");
    Identity::record_clean_stop(Arc::new(disk.clone()), Path::new("/data")).expect("is noted");
    for (path, _) in disk.files() {
        let to = fixtures().join(PRESENT).join(path.strip_prefix("/data").expect("inside"));
        std::fs::create_dir_all(to.parent().expect("a directory")).expect("is made");
        let contents = disk.read(&path).expect("is read").expect("is there");
        std::fs::write(to, contents).expect("is written");
    }
}

/// A disk with the files below `from`.
fn load(disk: &SimulatedDisk, from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("the fixture") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            load(disk, &path, &to);
        } else {
            disk.replace(&to, &std::fs::read(path).expect("is read")).expect("is written");
        }
    }
}

#[test]
fn data_directories_of_every_version_are_read() {
    for version in EARLIER.into_iter().chain([PRESENT]) {
        let disk = SimulatedDisk::new();
        load(&disk, &fixtures().join(version), Path::new("/data"));
        let identity = identity(&disk);
        assert!(identity.logs().is_some() && !identity.is_incomplete(), "{version}");
        let Started { mut storages, membership, .. } = started(&disk, identity);
        let storage = &mut storages[0];
        let numbers = membership.view().numbers;
        for (id, name, number) in MEMBERS {
            assert_eq!(numbers.of(NodeId(id)), Some(MemberNumber(number)), "{version}: {name}");
        }
        assert_eq!(numbers.given(), GIVEN, "{version}");
        assert!(numbers.is_former(MemberNumber(0)) && numbers.is_former(MemberNumber(2)));
        assert_eq!(storage.store.origin().number(), MEMBERS[0].2, "{version}");
        for (words, expected) in READS {
            let (_, executed) = execute(storage, words);
            assert_eq!(executed.reply, expected, "{version}: {words:?}");
        }
        let (group, floor_ms) = FLOOR;
        assert_eq!(storage.store.floor(group), floor_ms, "{version}");
        assert_eq!(storage.dirty_groups(OTHER), [DIRTY].into_iter().collect(), "{version}");
        assert!(storage.dirty_groups(PEER).is_empty(), "{version}");
        let hints = Hints::read(storage, PEER, usize::MAX);
        let keys = hints.iter().map(|hint| (hint.first, hint.slot, dots(&hint.dots)));
        let expected = (1..).zip(WRITES).map(|(place, words)| {
            (place, Slot::of_key(words[1].as_bytes()), vec![(MEMBERS[0].2, 1)])
        });
        assert!(keys.eq(expected), "{version}: {hints:?}");
    }
}

/// Dots by the number of who has issued them.
fn dots(dots: &[Dot]) -> Vec<(u16, u64)> {
    dots.iter().map(|dot| (dot.origin.number(), dot.counter)).collect()
}
