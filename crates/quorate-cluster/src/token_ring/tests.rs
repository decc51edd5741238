//! Owners as Dynomite has them, and what a ring of our own has beyond that.

use alloc::{format, string::ToString as _, vec};

use proptest::prelude::*;
use quorate_proto::hashkit::HashKind;

use super::*;

fn member(id: u128, datacentre: &str, rack: &str, tokens: &[u32]) -> Member {
    let mut tokens = tokens.to_vec();
    tokens.sort_unstable();
    Member {
        id: NodeId(id),
        name: format!("n{id}"),
        datacentre: datacentre.into(),
        rack: rack.into(),
        tokens,
        peer_address: format!("h{id}:1"),
        client_address: format!("h{id}:2"),
        cluster_address: format!("h{id}:3"),
        incarnation: Default::default(),
        duties: quorate_proto::Duties::default(),
    }
}

/// A ring that is cut at the tokens of all members.
fn partitioner(hash: HashKind, members: &[Member]) -> Partitioner {
    let cuts: Vec<u32> = members.iter().flat_map(|member| member.tokens.clone()).collect();
    Partitioner::ring(hash, Some(*b"{}"), &cuts).expect("few cuts")
}

fn owners(partitioner: &Partitioner, members: &[Member], factor: &str) -> Vec<Vec<NodeId>> {
    let ring = partitioner.as_ring().expect("a ring");
    Owners::new(ring, members, &factor.parse().expect("a factor")).of_slots()
}

/// Dynomite's dispatch in a rack: the first of the continuum, sorted by token, whose token is not
/// below the hash; behind the last the first.
fn dispatch(members: &[Member], datacentre: &str, rack: &str, hash: u32) -> NodeId {
    let here = |member: &&Member| (&*member.datacentre, &*member.rack) == (datacentre, rack);
    let mut continuum: Vec<(u32, NodeId)> = Vec::new();
    for member in members.iter().filter(here) {
        continuum.extend(member.tokens.iter().map(|token| (*token, member.id)));
    }
    continuum.sort_unstable();
    let owner = continuum.iter().find(|(token, _)| *token >= hash);
    owner.unwrap_or(&continuum[0]).1
}

#[test]
fn owners_are_those_of_a_dynomite_that_ran() {
    // Seen on a built Dynomite with the default hash: 'a' went to the node with the token 2147483648,
    // 'foo' behind the highest one to that with the token 0.
    let members = [member(1, "dc", "r", &[0]), member(2, "dc", "r", &[2_147_483_648])];
    let partitioner = partitioner(HashKind::Murmur, &members);
    let owners = owners(&partitioner, &members, "1");
    let of = |key: &[u8]| owners[partitioner.slot(key).index()].clone();
    assert_eq!(of(b"a"), [NodeId(2)]);
    assert_eq!(of(b"foo"), [NodeId(1)]);
}

#[test]
fn each_rack_of_a_ring_with_given_tokens_has_a_replica() {
    let members = [
        member(1, "dc", "a", &[1_383_429_731]),
        member(2, "dc", "a", &[3_530_913_378]),
        member(3, "dc", "b", &[101_134_286]),
        member(4, "far", "a", &[4_294_967_295]),
    ];
    let partitioner = partitioner(HashKind::Md5, &members);
    let owners = owners(&partitioner, &members, "dc:2,far:1");
    let ring = partitioner.as_ring().expect("a ring");
    // (token, owner in rack a); rack b and the datacentre far have one member each.
    for (token, owner) in [
        (0, 1),
        (1_383_429_731, 1),
        (1_383_429_732, 2),
        (3_530_913_378, 2),
        (3_530_913_379, 1),
        (u32::MAX, 1),
    ] {
        let set = &owners[ring.slot_of(token).index()];
        let mut sorted = set[..2].to_vec();
        sorted.sort_unstable();
        assert_eq!((sorted, set[2]), (vec![NodeId(owner), NodeId(3)], NodeId(4)), "{token}");
    }
}

#[test]
fn equal_racks_share_the_first_places() {
    let members = ["a", "b", "c"].map(|rack| member(rack.as_bytes()[0].into(), "dc", rack, &[0]));
    let partitioner = partitioner(HashKind::Murmur, &members);
    let mut first: BTreeMap<NodeId, usize> = BTreeMap::new();
    for set in owners(&partitioner, &members, "3") {
        *first.entry(set[0]).or_default() += 1;
    }
    assert!(first.len() == 3 && first.values().all(|count| (5_000..6_000).contains(count)));
}

#[test]
fn generated_tokens_are_spread_and_stay() {
    let partitioner = Partitioner::ring(HashKind::Murmur, None, &[7, 9]).expect("few");
    let ring = partitioner.as_ring().expect("a ring");
    let tokens = generated(ring, "n1", 64);
    assert_eq!(tokens, generated(ring, "n1", 64));
    assert_ne!(tokens, generated(ring, "n2", 64));
    assert_eq!(check_tokens(ring, "n1", &tokens), Ok(()));
    for (part, token) in tokens.iter().enumerate() {
        assert_eq!(usize::from(ring.slot_of(*token).number()) / 256, part);
    }
    // Four members of a rack, 64 tokens each: nobody has more than a third of the ring.
    let members = ["a", "b", "c", "d"].map(|name| {
        let mut member = member(name.as_bytes()[0].into(), "dc", "r", &generated(ring, name, 64));
        member.name = name.into();
        member
    });
    let all = owners(&partitioner, &members, "1");
    for one in &members {
        let share = all.iter().filter(|set| set[0] == one.id).count();
        assert!((2_700..5_500).contains(&share), "{share}");
    }
}

fn refused(partitioner: &Partitioner, members: Vec<Member>) -> alloc::string::String {
    let view = View { partitioner: partitioner.clone(), members, ..View::default() };
    check(&view).expect_err("is no ring").to_string()
}

#[test]
fn what_is_no_ring_is_refused() {
    let ring = Partitioner::ring(HashKind::Murmur, None, &[]).expect("no cuts");
    let inside = refused(&ring, vec![member(1, "dc", "r", &[1_383_429_731])]);
    assert!(inside.starts_with("token 1383429731 of node \"n1\" is inside a slot"), "{inside}");
    assert!(inside.contains("take 1383333887 or 1383596031, or"), "{inside}");
    let lowest = refused(&ring, vec![member(1, "dc", "r", &[0])]);
    assert!(lowest.contains("take 262143, or"), "{lowest}");
    let none = refused(&ring, vec![member(1, "dc", "r", &[])]);
    assert_eq!(none, "node \"n1\" has 0 tokens; 1 to 512, ascending, are allowed");
    let same = [1, 2].map(|id| member(id, "dc", "r", &[262_143]));
    assert!(refused(&ring, same.to_vec()).starts_with("nodes \"n1\" and \"n2\" of one rack"));
    let stray = refused(&Partitioner::Slots, vec![member(1, "dc", "r", &[262_143])]);
    assert!(stray.starts_with("node \"n1\" has tokens, but the cluster has no ring"));
}

#[test]
fn witnesses_have_no_part_in_the_ring() {
    let mut members: Vec<Member> = [(1, 0), (2, 1_383_429_731), (3, 3_530_913_378)]
        .map(|(id, token)| member(id, "dc", "r", &[token]))
        .into();
    let partitioner = partitioner(HashKind::Murmur, &members);
    members[1].duties.weight = 0;
    let others = [members[0].clone(), members[2].clone()];
    for factor in ["1", "3"] {
        assert_eq!(owners(&partitioner, &members, factor), owners(&partitioner, &others, factor));
    }
    // It needs no tokens, and may have another's: a holder does and may not.
    let checked = |members: &[Member]| {
        let members = members.to_vec();
        check(&View { partitioner: partitioner.clone(), members, ..View::default() })
    };
    for tokens in [vec![], vec![0]] {
        members[1].tokens = tokens;
        assert_eq!(checked(&members), Ok(()));
        let mut holds = members.clone();
        holds[1].duties.weight = 100;
        assert!(checked(&holds).is_err());
    }
    members[1].tokens = vec![5];
    assert!(matches!(checked(&members), Err(TokensError::InsideSlot { token: 5, .. })));
    members[1].tokens = vec![];
    // What nobody else could hold yet, before a list is final.
    let alone = owners(&partitioner, &members[1..2], "1");
    assert!(alone.iter().all(|set| *set == [NodeId(2)]));
    // There is no other weight.
    members[2].duties.weight = 50;
    let refused = checked(&members).expect_err("a weight").to_string();
    assert!(refused.starts_with("node \"n3\" has the weight 50; on a ring of tokens"), "{refused}");
    assert!(refused.ends_with("only 100 and 0 (a witness, without data) are allowed"), "{refused}");
}

/// Members with a rack each, of few, and their tokens.
fn any_members() -> impl Strategy<Value = Vec<Member>> {
    let tokens = prop::collection::btree_set(any::<u32>(), 1..5);
    prop::collection::vec((0..4_u8, tokens), 1..12).prop_map(|all| {
        let member = |(id, (rack, tokens)): (usize, (u8, BTreeSet<u32>))| {
            let tokens: Vec<u32> = tokens.into_iter().collect();
            member(id as u128 + 1, "dc", &format!("r{rack}"), &tokens)
        };
        all.into_iter().enumerate().map(member).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_rack_has_dynomites_owner_of_every_key(
        members in any_members(),
        hash in 0..HashKind::ALL.len(),
        keys in prop::collection::vec("[a-z{}]{0,9}", 40),
    ) {
        let hash = HashKind::ALL[hash];
        let partitioner = partitioner(hash, &members);
        let racks: BTreeSet<&str> = members.iter().map(|member| &*member.rack).collect();
        let owners = owners(&partitioner, &members, &racks.len().to_string());
        for key in keys.iter().map(String::as_bytes) {
            let token = hash.token(partitioner.hashed(key));
            prop_assert_eq!(partitioner.token(key), token);
            let mut expected: Vec<NodeId> =
                racks.iter().map(|rack| dispatch(&members, "dc", rack, token)).collect();
            let mut found = owners[partitioner.slot(key).index()].clone();
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn fewer_replicas_than_racks_are_the_first_on_a_walk_along_the_whole_ring(
        members in any_members(),
        factor in 1..6_usize,
        tokens in prop::collection::vec(any::<u32>(), 40),
    ) {
        let partitioner = partitioner(HashKind::Murmur, &members);
        let ring = partitioner.as_ring().expect("a ring");
        let owners = owners(&partitioner, &members, &factor.to_string());
        let mut all: Vec<(u32, &str, NodeId)> = Vec::new();
        for member in &members {
            all.extend(member.tokens.iter().map(|token| (*token, &*member.rack, member.id)));
        }
        all.sort_unstable();
        let is_distinct = all.windows(2).all(|pair| pair[0].0 != pair[1].0);
        prop_assume!(is_distinct);
        let racks = all.iter().map(|(_, rack, _)| *rack).collect::<BTreeSet<_>>().len();
        for token in tokens {
            let found: BTreeSet<NodeId> = owners[ring.slot_of(token).index()].iter().copied().collect();
            prop_assert_eq!(found.len(), factor.min(members.len()));
            let start = all.partition_point(|(other, ..)| *other < token);
            let mut seen = BTreeSet::new();
            for (_, rack, id) in all[start..].iter().chain(&all[..start]) {
                if seen.len() < factor.min(racks) && seen.insert(*rack) {
                    prop_assert!(found.contains(id), "{} is first of {}", id, rack);
                }
            }
        }
    }

    #[test]
    fn who_joins_takes_slots_and_moves_none_between_others(
        members in any_members(),
        is_in_each_rack: bool,
    ) {
        let partitioner = partitioner(HashKind::Murmur, &members);
        let (newcomer, others) = members.split_last().expect("one at least");
        let racks: BTreeSet<&str> = others.iter().map(|member| &*member.rack).collect();
        prop_assume!(racks.contains(&*newcomer.rack));
        let factor = if is_in_each_rack { racks.len() } else { 1 }.to_string();
        let (before, after) =
            (owners(&partitioner, others, &factor), owners(&partitioner, &members, &factor));
        for (old, new) in before.iter().zip(&after) {
            prop_assert!(new.iter().all(|id| old.contains(id) || *id == newcomer.id));
        }
    }
}
