//! What starts, stops and copies make of an identity.

use quorate_cluster::register::State;
use quorate_log::disk::SimulatedDisk;
use quorate_proto::{
    Duties, MemberNumber, Numbers, Origin, Partitioner,
    checksum::crc32c,
    hashkit::HashKind,
    limits::LINEAGE_MAX,
    message::View,
    ownership::{Movement, Ownership, Phase, Phases, SlotMap},
    register::{Accepted, Ballot, Document, Voter},
};

use super::*;

/// The numbers of a list of which `given` were given, this one to `member`.
fn numbers(given: u16, number: u16, member: &Member) -> Numbers {
    let numbered = [(member.id, MemberNumber(number))];
    Numbers::from_parts(given, numbered).expect("possible")
}

fn open(disk: &SimulatedDisk, name: Option<&str>) -> Result<Identity, DataDirectoryError> {
    open_with(disk, name, 1)
}

fn open_with(
    disk: &SimulatedDisk,
    name: Option<&str>,
    seed: u64,
) -> Result<Identity, DataDirectoryError> {
    let name = name.map(str::to_owned);
    let boot = Some("first".into());
    let claim = Claim { name, shards: 2, new_id: 7, boot, unsynced: true, lock: false, seed };
    Identity::open(Arc::new(disk.clone()), Path::new("/data"), claim)
}

#[test]
fn an_identity_stays_and_every_start_is_another() {
    let disk = SimulatedDisk::new();
    let first = open(&disk, Some("a")).expect("opens");
    assert_eq!((first.incarnation().previous, first.lineage()), (Start::NONE, vec![]));
    // The same seed draws the same start first, which is one of the lineage then.
    let second = open(&disk, None).expect("opens");
    let third = open(&disk, None).expect("opens");
    assert_eq!((first.id(), first.name()), (second.id(), "a"));
    let starts = [&first, &second, &third].map(|identity| identity.incarnation().start);
    assert!(starts[0] != starts[1] && starts[1] != starts[2] && starts[2] != starts[0]);
    assert_eq!(third.incarnation().previous, starts[1]);
    assert_eq!(third.lineage(), starts[..2]);
}

#[test]
fn two_copies_of_a_directory_start_as_different_ones() {
    let disk = SimulatedDisk::new();
    open(&disk, Some("a")).expect("opens");
    let copied = disk.read(Path::new("/data/node.json")).expect("read").expect("there");
    let original = open_with(&disk, None, 2).expect("opens");
    disk.replace(Path::new("/data/node.json"), &copied).expect("copied back");
    let copy = open_with(&disk, None, 3).expect("opens");
    assert_eq!(original.lineage(), copy.lineage());
    assert_ne!(original.incarnation().start, copy.incarnation().start);
}

#[test]
fn a_lineage_is_bounded() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    identity.record.lineage = (1..=LINEAGE_MAX as u32).collect();
    identity.record.start = 5_000;
    identity.save().expect("saved");
    let lineage = open(&disk, None).expect("opens").lineage();
    assert_eq!((lineage.len(), lineage[0].get()), (LINEAGE_MAX, 2));
    assert_eq!(lineage.last().map(|start| start.get()), Some(5_000));
}

#[test]
fn every_start_is_written_down_on_a_full_disk() {
    let disk = SimulatedDisk::new();
    open(&disk, Some("a")).expect("opens");
    disk.limit_capacity(Some(disk.used()));
    for starts in 1..LINEAGE_MAX + 10 {
        let identity = open_with(&disk, None, starts as u64).expect("opens");
        assert_eq!(identity.lineage().len(), starts.min(LINEAGE_MAX));
        Identity::record_clean_stop(Arc::new(disk.clone()), Path::new("/data")).expect("noted");
    }
}

#[test]
fn another_format_is_refused_with_advice() {
    let disk = SimulatedDisk::new();
    for format in [1, 2, 8] {
        let contents = format!("{{\"format\": {format}}}");
        disk.replace(Path::new("/data/node.json"), contents.as_bytes()).expect("written");
        let error = open(&disk, None).expect_err("cannot be read").to_string();
        let told = format!("has format {format}");
        assert!(error.contains(&told) && error.contains("backup"), "{error}");
    }
}

#[test]
fn logs_without_their_identity_are_left_alone() {
    let disk = SimulatedDisk::new();
    disk.open(Path::new("/data/log-1-0/00000001")).expect("opens");
    let error = open(&disk, Some("a")).expect_err("no identity");
    assert!(error.to_string().contains("put it back"), "{error}");
    assert_eq!(disk.read(Path::new("/data/node.json")).expect("read"), None);
}

/// Starts with a policy, on some boot of the machine. Returns whether the node is incomplete.
fn boots(disk: &SimulatedDisk, boot: &str, unsynced: bool) -> bool {
    let boot = Some(boot.into());
    let claim = Claim { name: None, shards: 1, new_id: 7, boot, unsynced, lock: false, seed: 1 };
    let identity = Identity::open(Arc::new(disk.clone()), Path::new("/data"), claim);
    identity.expect("opens").is_incomplete()
}

#[test]
fn what_a_loss_of_power_took_goes_by_the_policy_of_the_run_before() {
    let disk = SimulatedDisk::new();
    assert!(!boots(&disk, "first", true));
    assert!(boots(&disk, "second", false), "everysec lost power, always starts");
    let disk = SimulatedDisk::new();
    assert!(!boots(&disk, "first", false));
    assert!(!boots(&disk, "second", true), "always lost power, everysec starts");
    let disk = SimulatedDisk::new();
    assert!(!boots(&disk, "first", true));
    assert!(!boots(&disk, "first", false), "killed");
    assert!(boots(&disk, "second", false), "what the first one wrote was synced by nobody");
    let disk = SimulatedDisk::new();
    assert!(!boots(&disk, "first", true));
    Identity::record_clean_stop(Arc::new(disk.clone()), Path::new("/data")).expect("noted");
    assert!(!boots(&disk, "second", false));
    assert!(!boots(&disk, "third", false), "everything was synced at the stop");
}

#[test]
fn a_failed_log_is_noted_as_soon_as_the_disk_takes_it() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    disk.fail_writes(true);
    identity.handle_failed_log();
    identity.settle();
    assert!(!identity.is_incomplete());
    disk.fail_writes(false);
    identity.settle();
    // What a shard said before it, or another one says after it, changes nothing.
    for shard in 0..2 {
        identity.handle_regained(shard, identity.incarnation());
        identity.settle();
    }
    assert!(open(&disk, None).expect("opens").is_incomplete());
}

#[test]
fn what_was_regained_counts_once_every_shard_has_it_on_disk() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    identity.record_incomplete(true).expect("saved");
    let own = identity.incarnation();
    let another = Incarnation { start: Start::NONE, ..own };
    for (shard, of) in [(0, another), (1, another), (0, own), (0, own)] {
        identity.handle_regained(shard, of);
        identity.settle();
        assert!(identity.is_incomplete());
    }
    identity.handle_regained(1, own);
    identity.settle();
    assert!(!open(&disk, None).expect("opens").is_incomplete());
}

fn member(id: NodeId, incarnation: Incarnation) -> Member {
    Member {
        id,
        name: "a".into(),
        datacentre: "dc1".into(),
        rack: "r1".into(),
        tokens: Vec::new(),
        peer_address: "h:1".into(),
        client_address: "h:2".into(),
        cluster_address: "h:3".into(),
        incarnation,
        duties: Duties::default(),
    }
}

/// A member of another life, and what its membership remembers.
fn seat() -> (Member, Persisted) {
    let member = member(NodeId(99), incarnation(3, 40, 30));
    let (members, numbers) = (vec![member.clone()], numbers(9, 4, &member));
    let view = View {
        epoch: 1,
        sealed: true,
        partitioner: Default::default(),
        replication_factor: 3.into(),
        members,
        numbers,
        ownership: None,
    };
    (member, Persisted { cluster: "c".into(), view, voting: None })
}

#[test]
fn what_shards_said_before_a_seat_was_taken_tells_nothing_of_it() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    let before = identity.incarnation();
    identity.handle_regained(0, before);
    let (mut member, persisted) = seat();
    // A seat is taken without another start.
    member.incarnation.start = before.start;
    identity.take_seat(&member, persisted).expect("saved");
    // The other shard has not heard of it yet.
    identity.handle_regained(1, before);
    identity.settle();
    assert!(identity.is_incomplete());
    for shard in 0..2 {
        assert!(identity.is_incomplete());
        identity.handle_regained(shard, member.incarnation);
        identity.settle();
    }
    assert!(!identity.is_incomplete());
}

#[test]
fn who_takes_a_seat_keeps_its_logs_and_lacks_data() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    let (member, persisted) = seat();
    identity.take_seat(&member, persisted.clone()).expect("saved");
    let again = open(&disk, None).expect("opens");
    assert_eq!((again.id(), again.log_id()), (NodeId(99), NodeId(7)));
    assert_eq!((again.incarnation().life, again.lineage()), (3, vec![Start::from_random(40)]));
    assert!(again.is_incomplete());
    assert_eq!(again.persisted(), Some(persisted));
}

#[test]
fn another_nodes_directory_is_refused() {
    let disk = SimulatedDisk::new();
    open(&disk, Some("a")).expect("opens");
    let error = open(&disk, Some("b")).expect_err("belongs to a");
    assert!(error.to_string().contains("belongs to node 'a'"), "{error}");
}

#[test]
fn what_members_take_on_round_trips_in_a_version_of_its_own() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    for duties in [Duties::of_weight(0), Duties { is_drained: true, ..Duties::default() }] {
        let (mut member, mut persisted) = seat();
        member.id = identity.id();
        member.duties = duties;
        persisted.view.numbers = numbers(9, 4, &member);
        persisted.view.members = vec![member];
        identity.persist(persisted.clone()).expect("saved");
        let text = identity.record.text().expect("is written");
        assert!(text.contains("\"format\": 7"), "{text}");
        assert_eq!(open(&disk, None).expect("opens").persisted(), Some(persisted));
    }
}

#[test]
fn what_the_membership_remembers_round_trips() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    assert_eq!(identity.persisted(), None);
    let member = member(identity.id(), incarnation(1, 7, 6));
    let numbers = numbers(9, 4, &member);
    let members = vec![member];
    let view = View {
        epoch: 1,
        sealed: true,
        partitioner: Default::default(),
        replication_factor: 3.into(),
        members,
        numbers,
        ownership: None,
    };
    let persisted = Persisted { cluster: "c".into(), view, voting: None };
    identity.persist(persisted.clone()).expect("saved");
    assert_eq!(open(&disk, None).expect("opens").persisted(), Some(persisted));
}

/// A record in which something else stands, with the checksum of that.
fn altered(text: &str, from: &str, to: &str) -> Vec<u8> {
    let wrong = text.replace(from, to);
    let rest = &wrong[wrong.find("  \"format").expect("is there")..];
    let head = format!("{{\n  \"checksum\": \"{:08x}\",\n", crc32c(rest.as_bytes()));
    (head + rest).into_bytes()
}

#[test]
fn a_factor_for_each_datacentre_round_trips_and_an_impossible_one_is_refused() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    let (_, mut persisted) = seat();
    persisted.view.replication_factor = "dc1:3,dc2:2".parse().expect("a factor");
    identity.persist(persisted.clone()).expect("saved");
    assert_eq!(open(&disk, None).expect("opens").persisted(), Some(persisted));
    let text = identity.record.text().expect("is written");
    assert!(text.contains("\"format\": 6") && text.contains("\"dc2\": 2"), "{text}");
    let error =
        Record::parse(&altered(&text, "\"dc2\": 2", "\"dc2\": 0")).expect_err("no replicas");
    assert!(error.contains("replication factor"), "{error}");
}

#[test]
fn a_ring_round_trips_and_an_impossible_one_is_refused() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    let (_, mut persisted) = seat();
    let ring = Partitioner::ring(HashKind::Md5, Some(*b"<>"), &[7, 9]).expect("few");
    persisted.view.partitioner = ring;
    persisted.view.members[0].tokens = vec![7, 9];
    identity.persist(persisted.clone()).expect("saved");
    assert_eq!(open(&disk, None).expect("opens").persisted(), Some(persisted));
    let text = identity.record.text().expect("is written");
    assert!(text.contains("\"format\": 7"), "{text}");
    let error = Record::parse(&altered(&text, "\"md5\"", "\"sha\"")).expect_err("no such hash");
    assert!(error.contains("ring"), "{error}");
}

#[test]
fn owners_of_slots_round_trip_and_impossible_ones_are_refused() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    let member = member(identity.id(), incarnation(1, 7, 6));
    let numbers = numbers(9, 4, &member);
    let owners = |numbers: &'static [u16]| {
        SlotMap::of_slots(move |slot| {
            let owners = if slot.number() < 300 { numbers } else { &[4] };
            owners.iter().copied().map(MemberNumber).collect()
        })
    };
    let phases = Phases::of_slots(|slot| Phase::ALL[usize::from(slot.number() / 4_096)]);
    let leaving = vec![MemberNumber(4)];
    let movement = Some(Movement { target: owners(&[2]), phases, leaving });
    let ownership = Some(Box::new(Ownership { owners: owners(&[4, 2, 1]), movement }));
    let (epoch, sealed, replication_factor) = (12, true, 3.into());
    let members = vec![member];
    let partitioner = Default::default();
    let view = View { epoch, sealed, partitioner, replication_factor, members, numbers, ownership };
    let persisted = Persisted { cluster: "c".into(), view, voting: None };
    identity.persist(persisted.clone()).expect("saved");
    assert_eq!(open(&disk, None).expect("opens").persisted(), Some(persisted));
    let text = identity.record.text().expect("is written");
    assert!(text.contains("\"format\": 5") && text.contains("299:4,2,1 16383:4"), "{text}");
    let weighed = altered(&text, "\"previous\": 6\n", "\"previous\": 6,\n \"weight\": 10001\n");
    let error = Record::parse(&weighed).expect_err("a weight too great");
    assert!(error.contains("weight"), "{error}");
    let error =
        Record::parse(&altered(&text, "299:4,2,1", "299:4,2,2")).expect_err("one owner twice");
    assert!(error.contains("owners"), "{error}");
}

#[test]
fn what_a_voter_has_promised_and_accepted_round_trips() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    let (_, persisted) = seat();
    let id = identity.id();
    let ballot = |round| Ballot { round, origin: Origin(0x1234_5678) };
    let document = |version| Document {
        version,
        author: ballot(2),
        voters: vec![Voter { member: id, life: 3 }],
        value: vec![0, 0xff, 0x7a].into(),
    };
    let accepted = Some(Accepted { ballot: ballot(9), document: document(8) });
    let state = State { decided: document(7), promised: ballot(9), accepted };
    for voting in [Some(state.clone()), Some(State { accepted: None, ..state }), None] {
        let persisted = Persisted { voting, ..persisted.clone() };
        identity.persist(persisted.clone()).expect("saved");
        assert_eq!(open(&disk, None).expect("opens").persisted(), Some(persisted.clone()));
        let text = identity.record.text().expect("is written");
        assert_eq!(text.contains("\"format\": 5"), persisted.voting.is_some(), "{text}");
    }
    let voting = Some(State::new(document(7)));
    identity.persist(Persisted { voting, ..persisted }).expect("saved");
    let text = identity.record.text().expect("is written");
    let error = Record::parse(&altered(&text, "\"promised\": \"0:0\"", "\"promised\": \"0\""))
        .expect_err("no ballot");
    assert!(error.contains("voter"), "{error}");
}

#[test]
fn a_damaged_identity_is_refused() {
    let disk = SimulatedDisk::new();
    disk.replace(Path::new("/data/node.json"), b"{").expect("written");
    assert!(matches!(open(&disk, None), Err(DataDirectoryError::Damaged { .. })));
}

#[test]
fn every_flipped_bit_is_refused() {
    let disk = SimulatedDisk::new();
    let mut identity = open(&disk, Some("a")).expect("opens");
    let (member, persisted) = seat();
    identity.take_seat(&member, persisted).expect("saved");
    let path = Path::new("/data/node.json");
    let contents = disk.read(path).expect("read").expect("there");
    Record::parse(&contents).expect("whole");
    for bit in 0..8 * contents.len() {
        let mut flipped = contents.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Record::parse(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..contents.len() {
        assert!(Record::parse(&contents[..length]).is_err(), "{length} bytes");
    }
    disk.flip_bit(path, 8 * contents.len() / 2);
    let error = open(&disk, None).expect_err("damaged").to_string();
    assert!(error.contains("checksum") && error.contains("nothing was changed"), "{error}");
}
