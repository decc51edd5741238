//! Every kind of message there and back, and its bytes.

use alloc::vec;

use proptest::prelude::*;

use super::{
    super::{
        Cause, Claim, EmptySeat, Heartbeat, Hello, Member, RefusalCode, Scope, Settlement, Symbol,
        View,
    },
    *,
};
use crate::{
    CallId, Dot, DotRange, Duties, Fitness, Incarnation, Level, MemberNumber, NodeId, Numbers,
    Origin, Partitioner, Start, Unfit,
    duties::WEIGHT_MAX,
    hashkit::HashKind,
    message::{
        Abilities, Delta, Digest, DottedEffect, Entry, Gossip, GossipStep, Load, News, Place,
        SlotDots, Topic,
    },
    ownership::{Movement, Ownership, Phase, Runs},
    register::{Accepted, Answer, Ballot, Document, Request, Voter},
};

fn incarnation(life: u16, start: u32, previous: u32) -> Incarnation {
    let [start, previous] = [start, previous].map(Start::from_random);
    Incarnation { life, start, previous }
}

/// Everything is with the owners, and goes to one of them each.
fn ownership(owners: &[MemberNumber]) -> Ownership {
    let last = |group: u16| Slot::of_group(group).last().expect("a group");
    let all = |item| vec![(last(63), item)];
    let target = match owners {
        [first, second] => vec![(last(15), vec![*first]), (last(63), vec![*second])],
        _ => all(owners.to_vec()),
    };
    let phases =
        vec![(last(15), Phase::Moved), (last(31), Phase::Joint), (last(63), Phase::Filling)];
    let [owners, target] =
        [all(owners.to_vec()), target].map(|runs| Runs::from_runs(runs).expect("whole"));
    let phases = Runs::from_runs(phases).expect("whole");
    Ownership {
        owners,
        movement: Some(Movement { target, phases, leaving: vec![MemberNumber(4)] }),
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn samples() -> Vec<Message> {
    let member = Member {
        id: NodeId(0x0102),
        name: "n1".into(),
        datacentre: "dc".into(),
        rack: "r".into(),
        tokens: vec![],
        peer_address: "h:1".into(),
        client_address: "h:2".into(),
        cluster_address: "h:3".into(),
        incarnation: incarnation(1, 2, 3),
        duties: Duties { weight: 200, is_drained: true },
    };
    let numbers = Numbers::of_first([member.id]).expect("a number");
    let members = vec![member.clone()];
    let ownership = Some(Box::new(ownership(&[MemberNumber(0)])));
    let partitioner = Partitioner::Slots;
    let view = View {
        epoch: 3,
        sealed: true,
        partitioner,
        replication_factor: 3.into(),
        members,
        numbers,
        ownership,
    };
    let on_ring = Member { tokens: vec![7, 9], ..member.clone() };
    let partitioner = Partitioner::ring(HashKind::Murmur, Some(*b"{}"), &[7, 9]).expect("few");
    let ring = View { partitioner, members: vec![on_ring], ..view.clone() };
    let lineage = vec![Start::from_random(4), Start::from_random(3)];
    let hello = Hello { cluster: "c".into(), member, shard: 1, view: view.clone(), lineage };
    let beat = Heartbeat { epoch: 1, fitness: Fitness::default(), hints_pending: 2, wall_ms: 3 };
    let slot = Slot::new(0x1234).expect("a slot");
    let bytes = Bytes::from_static(b"xyz");
    let settlement = Settlement { clock_ms: 7, floor_ms: 5 };
    let dot = Dot { origin: Origin(6), counter: 7 };
    let id = CallId { origin: Origin(8), number: 9 };
    let dotted = DottedEffect { slot, dots: vec![dot], effect: bytes.clone() };
    let range = DotRange { origin: Origin(6), first: 7, last: 8 };
    let dots = vec![SlotDots { slot, ranges: vec![range] }];
    vec![
        Message::Hello(Box::new(hello.clone())),
        Message::Welcome(Box::new(hello.clone())),
        Message::Refused(Refused { code: RefusalCode::Fenced, text: "no".into() }),
        Message::Members(Box::new(ring)),
        Message::Seal(Box::new(view.clone())),
        Message::SealVote { accepted: true, view: Box::new(view.clone()) },
        Message::Claim(Claim {
            seat: NodeId(7),
            incarnation: incarnation(2, 3, 0),
            empty: vec![EmptySeat { seat: NodeId(8), life: 4, newcomer: NodeId(9) }],
        }),
        Message::SeatVote { granted: false, view: Box::new(view) },
        Message::Heartbeat(beat),
        Message::HeartbeatReply(beat),
        Message::Ballot(Box::new(Request::Prepare { base: document(), ballot: ballot() })),
        Message::Ballot(Box::new(Request::Accept {
            base: document(),
            ballot: ballot(),
            document: document(),
        })),
        Message::Ballot(Box::new(Request::Learn(document()))),
        Message::BallotAnswer(Box::new(Answer::Promised {
            base: 7,
            ballot: ballot(),
            accepted: Some(Accepted { ballot: ballot(), document: document() }),
        })),
        Message::BallotAnswer(Box::new(Answer::Promised {
            base: 7,
            ballot: ballot(),
            accepted: None,
        })),
        Message::BallotAnswer(Box::new(Answer::Accepted { base: 7, ballot: ballot() })),
        Message::BallotAnswer(Box::new(Answer::Refused {
            base: 7,
            ballot: ballot(),
            promised: ballot(),
        })),
        Message::BallotAnswer(Box::new(Answer::Decided(document()))),
        Message::Join(Box::new(hello.clone())),
        Message::AtWork,
        Message::AskProgress,
        Message::Progress { epoch: 9, level: vec![(MemberNumber(3), 0b101)] },
        Message::Gossip(Box::new(Gossip {
            step: GossipStep::Answer,
            digests: vec![Digest { id: NodeId(7), generation: 1, beat: 2, version: 3 }],
            deltas: vec![Delta {
                id: NodeId(8),
                generation: 4,
                beat: 5,
                since: 6,
                entries: vec![Entry { topic: 1, version: 7, value: bytes.clone() }],
            }],
        })),
        Message::Probe { target: NodeId(7), number: 8 },
        Message::ProbeAnswer { number: 9 },
        Message::Forward(Forward {
            slot,
            read_level: Level::Quorum,
            write_level: Level::All,
            resp3: true,
            budget_ms: 5000,
            id,
            command: bytes.clone(),
        }),
        Message::Reply(bytes.clone()),
        Message::Replicate { slot, dots: vec![], outcome: None, effect: bytes.clone() },
        Message::Replicate { slot, dots: vec![dot, dot], outcome: None, effect: bytes.clone() },
        Message::Replicate {
            slot,
            dots: vec![dot],
            outcome: Some(Box::new(Outcome { id, reply: bytes.clone() })),
            effect: bytes.clone(),
        },
        Message::Relay {
            slot,
            to: vec![MemberNumber(3), MemberNumber(4)],
            at_once: true,
            dots: vec![dot],
            outcome: None,
            effect: bytes.clone(),
        },
        Message::Relayed { took: vec![MemberNumber(3)], is_last: true },
        Message::AskOutcome { slot, id },
        Message::Ack,
        Message::Rejected { cause: Cause::ClockSkew, text: "late".into() },
        Message::AskDigest { slot, command: bytes.clone() },
        Message::KeysDigest { digest: 7, large: true },
        Message::AskStates { slot, command: bytes.clone() },
        Message::States(bytes.clone()),
        Message::CompareGroup { group: 9, digest: 1, scope: Scope::Everything },
        Message::GroupSame(settlement),
        Message::GroupDiffers { settlement, slots: vec![(slot, 5)] },
        Message::AskKeyDigests { slot },
        Message::KeyDigests(vec![(bytes.clone(), 6)]),
        Message::AskKeyStates { slot, keys: vec![bytes.clone()] },
        Message::CompareSlot { slot, digest: 8, scope: Scope::Alive, from: 9, symbols: 16 },
        Message::SlotSame,
        Message::Fingerprints { until: 3, fingerprints: vec![1, 2] },
        Message::AskFingerprintStates { slot, fingerprints: vec![4] },
        Message::FingerprintStates { covered: 1, states: bytes.clone() },
        Message::Sketch(vec![Symbol { sum: 1, check: 2, count: -3 }]),
        Message::AskClocks { group: 1, shards: 2, since: 3, from: slot },
        Message::Clocks { shards: 2, version: 3, next: Some(slot), slots: dots.clone() },
        Message::AskDots { group: 1, wanted: dots.clone() },
        Message::Dots { effects: vec![dotted], absent: dots },
        Message::CompareElements {
            slot,
            scope: Scope::Alive,
            from: 5,
            keys: vec![bytes.clone()],
            sums: vec![6, 7],
        },
        Message::Elements { digest: 8, until: 9, buckets: vec![10], fingerprints: vec![11, 12] },
        Message::AskElements { slot, keys: vec![bytes.clone()], fingerprints: vec![13] },
        Message::Catalog(bytes),
        Message::CatalogHeld { digest: 14 },
    ]
}

fn ballot() -> Ballot {
    Ballot { round: 3, origin: Origin(6) }
}

fn document() -> Document {
    let voters = vec![Voter { member: NodeId(7), life: 1 }, Voter { member: NodeId(8), life: 0 }];
    Document { version: 7, author: ballot(), voters, value: Bytes::from_static(b"list") }
}

#[test]
fn a_document_is_read_as_it_was_written_down() {
    let document = document();
    let bytes = document.to_bytes();
    assert_eq!(bytes.len(), 8 + 8 + 4 + 2 * 18 + 4 + 4);
    assert_eq!(Document::from_bytes(bytes.clone().into()), Some(document.clone()));
    assert_eq!(Document::from_bytes(bytes[..bytes.len() - 1].to_vec().into()), None);
    assert_eq!(Document::from_bytes([&bytes[..], &[0]].concat().into()), None);
    let accepted = Accepted { ballot: ballot(), document };
    assert_eq!(Accepted::from_bytes(accepted.to_bytes().into()), Some(accepted));
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_body(&mut out);
    out
}

#[test]
fn every_kind_round_trips_and_refuses_to_be_cut() {
    for message in samples() {
        let body = encoded(&message);
        assert_eq!(message.body_length(), body.len(), "{message:?}");
        let decode =
            |length| Message::decode(message.kind(), Bytes::copy_from_slice(&body[..length]));
        assert_eq!(decode(body.len()), Ok(message.clone()));
        for length in 0..body.len() {
            // Messages that end in the rest of the payload cannot tell a shorter rest.
            if let Ok(other) = decode(length) {
                assert_ne!(other, message);
                assert_eq!(other.kind(), message.kind());
            }
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn golden_bodies() {
    let slot = Slot::new(0x1234).expect("a slot");
    let settlement = Settlement { clock_ms: 0x0102, floor_ms: 0x0304 };
    let member = Member {
        id: NodeId(0x0102),
        name: "n".into(),
        datacentre: "d".into(),
        rack: "r".into(),
        tokens: vec![],
        peer_address: "p".into(),
        client_address: "c".into(),
        cluster_address: "s".into(),
        incarnation: incarnation(0x0304, 0x050607, 0x08090a),
        duties: Duties { weight: 0x0506, is_drained: true },
    };
    let numbers = Numbers::from_parts(0x0204, [(member.id, MemberNumber(0x0103))]);
    let numbers = numbers.expect("possible numbers");
    let members = vec![member];
    let still = View {
        epoch: 7,
        sealed: true,
        partitioner: Partitioner::Slots,
        replication_factor: 8.into(),
        members,
        numbers,
        ownership: None,
    };
    let owners = [MemberNumber(0x0103), MemberNumber(2)];
    let moving = View {
        members: vec![],
        numbers: Numbers::default(),
        ownership: Some(Box::new(ownership(&owners))),
        ..still.clone()
    };
    let each = View {
        replication_factor: "a:3,b:2".parse().expect("two"),
        members: vec![],
        numbers: Numbers::default(),
        ..still.clone()
    };
    let ring = View {
        partitioner: Partitioner::ring(HashKind::Md5, Some(*b"<>"), &[0x0102]).expect("few"),
        replication_factor: 8.into(),
        members: vec![Member { tokens: vec![0x0102, 0x0304], ..still.members[0].clone() }],
        ..each.clone()
    };
    let claim = Claim {
        seat: NodeId(0x0102),
        incarnation: incarnation(0x0304, 0x050607, 0x08090a),
        empty: vec![EmptySeat { seat: NodeId(7), life: 8, newcomer: NodeId(9) }],
    };
    let id = CallId { origin: Origin(8), number: 9 };
    let dot = Dot { origin: Origin(6), counter: 7 };
    let golden: [(Message, &[u8]); 28] = [
        (
            Message::Members(Box::new(ring)),
            &[
                7, 0, 0, 0, 0, 0, 0, 0, 1, 254, 255, 3, 0, b'm', b'd', b'5', 1, b'<', b'>', 1, 0,
                0, 0, 2, 1, 0, 0, // the ring
                8, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 2, 0,
                0, 0, 2, 1, 0, 0, 4, 3, 0, 0, // the tokens
                1, 0, b'n', 1, 0, b'd', 1, 0, b'r', 1, 0, b'p', 1, 0, b'c', 1, 0, b's', 4, 3, 7, 6,
                5, 0, 10, 9, 8, 0, 0, 0, 0, 0, 0, 0, // the duties
                2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 5, 1,
            ],
        ),
        (
            Message::Members(Box::new(moving)),
            &[
                7, 0, 0, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // no members
                1, 1, 0, 0, 0, 255, 63, 2, 0, 0, 0, 3, 1, 2, 0, // the owners of all slots
                1, 2, 0, 0, 0, 255, 15, 1, 0, 0, 0, 3, 1, 255, 63, 1, 0, 0, 0, 2,
                0, // the target
                3, 0, 0, 0, 255, 15, 3, 255, 31, 2, 255, 63, 1, // the phases
                1, 0, 0, 0, 4, 0, // who leaves
            ],
        ),
        (
            Message::Seal(Box::new(each)),
            &[
                7, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 2, 0, 0, 0, 1, 0, b'a', 3, 0, 1, 0, b'b', 2,
                0, // the factors
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            Message::SeatVote { granted: true, view: Box::new(still) },
            &[
                1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 8, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 1, 0, b'n', 1, 0, b'd', 1, 0, b'r', 1, 0, b'p', 1, 0, b'c', 1, 0, b's',
                4, 3, 7, 6, 5, 0, 10, 9, 8, 0, 4, 2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 3, 1, 2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                6, 5, 1,
            ],
        ),
        (
            Message::Claim(claim),
            &[
                2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 7, 6, 5, 0, 10, 9, 8, 0, 1,
                0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (Message::GroupSame(settlement), &[2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]),
        (
            Message::Replicate {
                slot,
                dots: vec![],
                outcome: None,
                effect: Bytes::from_static(b"e"),
            },
            &[0x34, 0x12, b'e'],
        ),
        (
            Message::Replicate {
                slot,
                dots: vec![dot],
                outcome: None,
                effect: Bytes::from_static(b"e"),
            },
            &[0x34, 0x12, 1, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, b'e'],
        ),
        (
            Message::Replicate {
                slot,
                dots: vec![dot],
                outcome: Some(Box::new(Outcome { id, reply: Bytes::from_static(b"+OK\r\n") })),
                effect: Bytes::from_static(b"e"),
            },
            &[
                0x34, 0x12, 1, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0,
                0, 0, 5, 0, 0, 0, b'+', b'O', b'K', b'\r', b'\n', b'e',
            ],
        ),
        (
            Message::Relay {
                slot,
                to: vec![MemberNumber(3), MemberNumber(4)],
                at_once: true,
                dots: vec![dot],
                outcome: Some(Box::new(Outcome { id, reply: Bytes::from_static(b"+OK\r\n") })),
                effect: Bytes::from_static(b"e"),
            },
            &[
                0x34, 0x12, 2, 0, 0, 0, 3, 0, 4, 0, 1, 1, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1,
                8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, b'+', b'O', b'K', b'\r', b'\n',
                b'e',
            ],
        ),
        (Message::Relayed { took: vec![MemberNumber(3)], is_last: true }, &[1, 0, 0, 0, 3, 0, 1]),
        (Message::AskOutcome { slot, id }, &[0x34, 0x12, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]),
        (
            Message::Forward(Forward {
                slot,
                read_level: Level::One,
                write_level: Level::One,
                resp3: true,
                budget_ms: 5,
                id,
                command: Bytes::from_static(b"c"),
            }),
            &[
                0x34,
                0x12,
                Level::One as u8,
                Level::One as u8,
                1,
                5,
                0,
                0,
                0,
                8,
                0,
                0,
                0,
                9,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                b'c',
            ],
        ),
        (
            Message::Heartbeat(Heartbeat {
                epoch: 1,
                fitness: Fitness::FIT.with(Unfit::ReadOnly, true),
                hints_pending: 2,
                wall_ms: 3,
            }),
            &[1, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
        ),
        (
            Message::Refused(Refused { code: RefusalCode::Unsure, text: "x".into() }),
            &[3, 1, 0, b'x'],
        ),
        (Message::Rejected { cause: Cause::NotReplica, text: "x".into() }, &[4, 1, 0, b'x']),
        (
            Message::AskKeyStates { slot, keys: vec![Bytes::from_static(b"k")] },
            &[0x34, 0x12, 1, 0, 0, 0, 1, 0, 0, 0, b'k'],
        ),
        (
            Message::CompareSlot {
                slot,
                digest: 0x0506,
                scope: Scope::Everything,
                from: 0x0708,
                symbols: 0x0901,
            },
            &[
                0x34, 0x12, 6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 7, 0, 0, 0, 0, 0,
                0, 1, 9,
            ],
        ),
        (
            Message::Sketch(vec![Symbol { sum: 0x0102, check: 0x0304, count: -2 }]),
            &[1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0xfe, 0xff, 0xff, 0xff],
        ),
        (
            Message::Fingerprints { until: 0x0102, fingerprints: vec![0x0304] },
            &[2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0],
        ),
        (
            Message::AskFingerprintStates { slot, fingerprints: vec![0x0304] },
            &[0x34, 0x12, 1, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0],
        ),
        (
            Message::FingerprintStates { covered: 2, states: Bytes::from_static(b"s") },
            &[2, 0, 0, 0, b's'],
        ),
        (
            Message::KeysDigest { digest: 0x0102, large: true },
            &[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ),
        (
            Message::CompareElements {
                slot,
                scope: Scope::Everything,
                from: 0x0102,
                keys: vec![Bytes::from_static(b"k")],
                sums: vec![0x0304],
            },
            &[
                0x34, 0x12, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'k', 1, 0, 0, 0, 4,
                3, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            Message::Elements {
                digest: 0x0102,
                until: 0x0304,
                buckets: vec![0x0506],
                fingerprints: vec![0x0708],
            },
            &[
                2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
                6, 5, 1, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            Message::AskElements {
                slot,
                keys: vec![Bytes::from_static(b"k")],
                fingerprints: vec![0x0304],
            },
            &[0x34, 0x12, 1, 0, 0, 0, 1, 0, 0, 0, b'k', 1, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0],
        ),
        (Message::Catalog(Bytes::from_static(b"ab")), b"ab"),
        (Message::CatalogHeld { digest: 0x0102 }, &[2, 1, 0, 0, 0, 0, 0, 0]),
    ];
    for (message, body) in golden {
        assert_eq!(encoded(&message), body);
    }
    let kinds: Vec<u8> = samples().iter().map(Message::kind).collect();
    assert_eq!(
        kinds,
        [
            1, 2, 3, 4, 5, 6, 9, 10, 7, 8, 28, 28, 28, 29, 29, 29, 29, 29, 30, 11, 44, 45, 12, 13,
            14, 16, 17, 18, 25, 26, 46, 47, 27, 19, 20, 21, 22, 23, 24, 32, 33, 34, 35, 36, 37, 38,
            39, 40, 41, 42, 43, 56, 57, 58, 59, 48, 49, 50, 60, 61
        ]
    );
}

#[test]
fn golden_gossip() {
    let entry = Entry { topic: Topic::Load as u16, version: 7, value: Bytes::from_static(b"v") };
    let gossip = Gossip {
        step: GossipStep::Answer,
        digests: vec![Digest { id: NodeId(1), generation: 0x0203, beat: 4, version: 5 }],
        deltas: vec![Delta {
            id: NodeId(2),
            generation: 3,
            beat: 4,
            since: 6,
            entries: vec![entry],
        }],
    };
    #[rustfmt::skip]
    let golden = [
        2,
        1, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 0, 0,
        4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0,
        2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
        4, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 3, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'v',
    ];
    assert_eq!(encoded(&Message::Gossip(Box::new(gossip))), golden);
    let probe = Message::Probe { target: NodeId(0x0102), number: 3 };
    let golden = [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(encoded(&probe), golden);
    let base = Document {
        version: 0x0102,
        author: Ballot { round: 3, origin: Origin(4) },
        voters: vec![Voter { member: NodeId(5), life: 6 }],
        value: Bytes::from_static(b"v"),
    };
    let asked =
        Request::Prepare { base: base.clone(), ballot: Ballot { round: 7, origin: Origin(8) } };
    let body = [
        &[1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 5][..],
        &[0; 15],
        &[6, 0, 1, 0, 0, 0, b'v', 7, 0, 0, 0, 8, 0, 0, 0],
    ]
    .concat();
    assert_eq!(encoded(&Message::Ballot(Box::new(asked))), body);
    let answer = Message::BallotAnswer(Box::new(Answer::Decided(base)));
    assert_eq!(encoded(&answer), [&[4], &body[1..body.len() - 8]].concat());
    assert_eq!(encoded(&Message::ProbeAnswer { number: 3 }), [3, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn golden_news() {
    let place = Place {
        name: "n".into(),
        datacentre: "d".into(),
        rack: "r".into(),
        peer_address: "p".into(),
        client_address: "c".into(),
    };
    let bytes = place.encode();
    assert_eq!(bytes[..], [1, 0, b'n', 1, 0, b'd', 1, 0, b'r', 1, 0, b'p', 1, 0, b'c']);
    assert_eq!(Place::decode(&bytes), Some(place));
    let abilities = Abilities { protocol: 5, features: 6, shards: 7, epoch: 8 };
    let bytes = abilities.encode();
    assert_eq!(bytes[..], [5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Abilities::decode(&bytes), Some(abilities));
    let load = Load {
        commands_per_second: 1,
        hint_bytes: 2,
        log_bytes: 3,
        memory_bytes: 4,
        fitness: Fitness::FIT.with(Unfit::ReadOnly, true),
    };
    let mut bytes = load.encode().to_vec();
    #[rustfmt::skip]
    let golden = [
        1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
        4, 0, 0, 0, 0, 0, 0, 0, 8,
    ];
    assert_eq!(bytes, golden);
    bytes.push(9);
    assert_eq!(Load::decode(&bytes.into()), Some(load), "later versions may say more");
    assert_eq!(Load::decode(&Bytes::from_static(b"x")), None);
}

#[test]
fn errors_name_what_is_wrong() {
    let error = |kind, body: &'static [u8]| Message::decode(kind, Bytes::from_static(body));
    assert_eq!(error(99, b""), Err(MessageError::UnknownKind(99)));
    assert_eq!(error(19, b"x"), Err(MessageError::TrailingBytes(19)));
    assert_eq!(error(35, &[0xff, 0xff]), Err(MessageError::Field { kind: 35, field: "slot" }));
    assert_eq!(error(36, &[0xff; 4]), Err(MessageError::CutShort(36)));
    for kind in [32, 56, 58] {
        let outside = Err(MessageError::Field { kind, field: "group" });
        assert_eq!(error(kind, &[64, 0, 0, 0, 0, 0]), outside);
    }
    let view = |ownership: &[u8]| [&[0; 21], ownership].concat();
    let wrong = |field| Err(MessageError::Field { kind: 4, field });
    let decode = |ownership: &[u8]| Message::decode(4, view(ownership).into());
    assert!(decode(&[0]).is_ok());
    assert_eq!(decode(&[1, 1, 0, 0, 0, 255, 63, 0, 0, 0, 0]), wrong("owners"), "nobody");
    assert_eq!(decode(&[1, 1, 0, 0, 0, 255, 31, 1, 0, 0, 0, 1, 0]), wrong("owners"), "of a half");
    let twice = [1, 1, 0, 0, 0, 255, 63, 2, 0, 0, 0, 1, 0, 1, 0];
    assert_eq!(decode(&twice), wrong("owners"));
    let whole = [1, 1, 0, 0, 0, 255, 63, 1, 0, 0, 0, 1, 0];
    let moving = |phases: &[u8]| [&whole[..], &[1], &whole[1..], phases].concat();
    assert_eq!(decode(&moving(&[1, 0, 0, 0, 255, 63, 4])), wrong("phase"));
    assert_eq!(decode(&moving(&[1, 0, 0, 0, 255, 31, 1])), wrong("phases"));
    let twice = [1, 0, 0, 0, 255, 63, 1, 2, 0, 0, 0, 3, 0, 3, 0];
    assert_eq!(decode(&moving(&twice)), wrong("leaving"));
    let wrong = |field| Err(MessageError::Field { kind: 25, field });
    assert_eq!(error(25, &[0, 0, 0, 0]), wrong("count of dots"));
    assert_eq!(error(25, &[0, 0, 0xff, 0xff]), wrong("count of dots"));
    assert_eq!(error(25, &[0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]), wrong("dot"));
}

proptest! {
    #[test]
    fn garbage_never_panics(kind: u8, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(kind, body.into());
    }
}

#[test]
fn a_list_with_the_usual_duties_has_the_bytes_that_it_had_before_there_were_any() {
    let list = |duties| {
        let samples = samples().into_iter();
        let mut view = samples
            .filter_map(|message| match message {
                Message::Members(view) => Some(view),
                _ => None,
            })
            .next()
            .expect("a sample");
        view.members[0].duties = duties;
        let mut body = Vec::new();
        Message::Members(view.clone()).encode_body(&mut body);
        assert_eq!(Message::decode(4, body.clone().into()), Ok(Message::Members(view)));
        body
    };
    let (usual, other) = (list(Duties::default()), list(Duties::of_weight(7)));
    // A bit that says so, and behind everything the number of members, an id, and their duties.
    assert_eq!(other.len(), usual.len() + 4 + 16 + 3);
    let differ = usual.iter().zip(&other).filter(|(one, other)| one != other);
    assert_eq!(differ.collect::<Vec<_>>(), [(&1, &3)]);
    // Nobody is told of who is no member.
    let mut stranger = other;
    let at = stranger.len() - 19;
    stranger[at] ^= 1;
    assert!(Message::decode(4, stranger.into()).is_err());
}

#[test]
fn a_weight_beyond_the_greatest_is_refused() {
    for (weight, fits) in [(0, true), (WEIGHT_MAX, true), (WEIGHT_MAX + 1, false)] {
        let mut body = Vec::new();
        Duties::of_weight(weight).put(&mut body);
        let mut input = Input { kind: 4, rest: body.into() };
        assert_eq!(Duties::take(&mut input).is_ok(), fits, "{weight}");
    }
}
