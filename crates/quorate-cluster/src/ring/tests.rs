//! Properties of placement, over random members, racks and sequences of changes.

use alloc::{collections::BTreeSet, format, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

const SLOT_COUNT: usize = SLOTS as usize;

fn member(id: u128, datacentre: usize, rack: usize) -> RingMember {
    RingMember {
        // Ids are random in life; spread them so that their order is unlike the order of joining.
        id: NodeId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        datacentre: format!("dc{datacentre}"),
        rack: format!("rack{rack}"),
        duties: Duties::default(),
    }
}

/// The same with another weight.
fn weighing(member: RingMember, weight: u16) -> RingMember {
    RingMember { duties: Duties::of_weight(weight), ..member }
}

/// Members of one datacentre, `sizes[r]` of them in rack r.
fn racks(sizes: &[usize]) -> Vec<RingMember> {
    let mut members = Vec::new();
    for (rack, &size) in sizes.iter().enumerate() {
        for _ in 0..size {
            members.push(member(members.len() as u128 + 1, 0, rack));
        }
    }
    members
}

fn factor(factor: u16) -> ReplicationFactor {
    factor.into()
}

fn spread(counts: &[u32]) -> u32 {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

/// Replicas held, and first places held, by each member of the datacentre.
fn counts(placement: &Placement, datacentre: &str) -> (Vec<u32>, Vec<u32>) {
    let ring = &placement.datacentres[datacentre];
    let mut held = vec![0; ring.members.len()];
    let mut first = vec![0; ring.members.len()];
    for set in ring.sets.chunks_exact(ring.width) {
        first[usize::from(set[0])] += 1;
        for &position in set {
            held[usize::from(position)] += 1;
        }
    }
    (held, first)
}

/// What must hold of every placement.
fn check_sets(placement: &Placement) {
    for (name, ring) in &placement.datacentres {
        let width = usize::from(in_datacentre(&placement.factor, name)).min(ring.members.len());
        assert_eq!(ring.width, width, "{name}");
        assert_eq!(ring.sets.len(), width * SLOT_COUNT);
        let rack_names: BTreeSet<&str> = ring.members.iter().map(|m| m.rack.as_str()).collect();
        for set in ring.sets.chunks_exact(width) {
            let distinct: BTreeSet<u16> = set.iter().copied().collect();
            assert_eq!(distinct.len(), width, "distinct members");
            let held = |rack: &str| {
                set.iter().filter(|&&p| ring.members[usize::from(p)].rack == rack).count()
            };
            let size = |rack: &str| ring.members.iter().filter(|m| m.rack == rack).count();
            let most = rack_names.iter().map(|rack| held(rack)).max().unwrap();
            if width <= rack_names.len() {
                assert_eq!(most, 1, "distinct racks");
            }
            for rack in &rack_names {
                // A rack may hold two fewer than another one only when it has no more members.
                assert!(held(rack) + 1 >= most || held(rack) == size(rack), "even racks");
            }
        }
    }
}

/// Replicas that are on a member now and were not before.
fn moved(before: &Placement, after: &Placement, datacentre: &str) -> usize {
    Slot::all()
        .map(|slot| {
            let old: Vec<NodeId> = before.replicas(datacentre, slot).collect();
            after.replicas(datacentre, slot).filter(|id| !old.contains(id)).count()
        })
        .sum()
}

/// The fewest replicas that can move: what each member holds more than before.
fn fewest_moves(before: &Placement, after: &Placement, datacentre: &str) -> usize {
    let held = |placement: &Placement| -> BTreeMap<NodeId, u32> {
        let Some(ring) = placement.datacentres.get(datacentre) else {
            return BTreeMap::new();
        };
        let counts = counts(placement, datacentre).0;
        ring.members.iter().zip(counts).map(|(member, count)| (member.id, count)).collect()
    };
    let old = held(before);
    held(after)
        .into_iter()
        .map(|(id, count)| count.saturating_sub(old.get(&id).copied().unwrap_or(0)) as usize)
        .sum()
}

fn check_balance(placement: &Placement, datacentre: &str) {
    let (held, first) = counts(placement, datacentre);
    assert!(spread(&held) <= 1, "replicas held {held:?}");
    assert!(spread(&first) <= 1, "first places {first:?}");
}

/// Replicas that cannot come straight from, or go straight to, the member that joins or leaves:
/// in too many of its slots another member of the rack in question stands in the way.
fn detours(before: &Placement, after: &Placement, datacentre: &str) -> usize {
    // A member that joins is one that leaves, seen backwards.
    let grows = before.members().count() < after.members().count();
    let (many, few) = if grows { (after, before) } else { (before, after) };
    let gone = many.members().find(|&member| few.members().all(|kept| kept != member)).unwrap();
    let ring = &few.datacentres[datacentre];
    let rack_of: BTreeMap<NodeId, &str> =
        many.members().map(|member| (member.id, member.rack.as_str())).collect();
    let share = |placement: &Placement, rack: &str| -> usize {
        let ring = &placement.datacentres[datacentre];
        let held = counts(placement, datacentre).0;
        let in_rack = ring.members.iter().zip(held).filter(|(member, _)| member.rack == rack);
        in_rack.filter(|(member, _)| *member != gone).map(|(_, held)| held as usize).sum()
    };
    let racks: BTreeSet<&str> = ring.members.iter().map(|member| member.rack.as_str()).collect();
    let racks = racks.into_iter().filter(|rack| *rack != gone.rack);
    racks
        .map(|rack| {
            let blocked = |set: &[NodeId], rack| set.iter().any(|id| rack_of[id] == rack);
            let open = Slot::all().filter(|&slot| {
                let set: Vec<NodeId> = before.replicas(datacentre, slot).collect();
                if grows {
                    blocked(&set, rack) && !blocked(&set, &gone.rack)
                } else {
                    set.contains(&gone.id) && !blocked(&set, rack)
                }
            });
            share(few, rack).saturating_sub(share(many, rack)).saturating_sub(open.count())
        })
        .sum()
}

/// At most `percent` and one slot group more than the fewest moves that can be.
fn check_movement(before: &Placement, after: &Placement, datacentre: &str, percent: usize) {
    let moved = moved(before, after, datacentre);
    let fewest = fewest_moves(before, after, datacentre) + detours(before, after, datacentre);
    assert!(
        moved * 100 <= fewest * (100 + percent) + 12_800,
        "{moved} replicas moved, at least {fewest} must"
    );
}

#[test]
fn regular_clusters_change_with_the_fewest_moves() {
    let regular: [(&[usize], u16); 9] = [
        (&[6], 3),
        (&[1, 1, 1], 2),
        (&[1, 1, 1, 1, 1, 1], 3),
        (&[2, 2, 2], 2),
        (&[2, 2, 2, 2], 3),
        (&[3, 3, 3], 3),
        (&[3, 3, 3], 2),
        (&[5, 5, 5, 5], 3),
        (&[10, 10, 10, 10, 10], 3),
    ];
    for (sizes, rf) in regular {
        let members = racks(sizes);
        let before = place(&members, &factor(rf));
        for rack in [0, sizes.len()] {
            let mut grown = before.clone();
            grown.add(member(1_000, 0, rack)).unwrap();
            check_sets(&grown);
            check_movement(&before, &grown, "dc0", 5);
            let mut shrunk = grown.clone();
            shrunk.remove(member(1_000, 0, rack).id).unwrap();
            check_sets(&shrunk);
            check_movement(&grown, &shrunk, "dc0", 5);
        }
        let mut shrunk = before.clone();
        shrunk.remove(members[0].id).unwrap();
        check_sets(&shrunk);
        check_movement(&before, &shrunk, "dc0", 5);
    }
}

#[test]
fn three_members_hold_everything_in_a_few_ranges() {
    let placement = place(&racks(&[1, 1, 1]), &factor(3));
    check_sets(&placement);
    check_balance(&placement, "dc0");
    let ring = &placement.datacentres["dc0"];
    let sets: Vec<&[u16]> = ring.sets.chunks_exact(3).collect();
    let ranges = 1 + sets.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(ranges, 6, "three primaries, two successors each");
}

#[test]
fn a_single_member_holds_every_slot() {
    let members = racks(&[1]);
    let placement = place(&members, &factor(3));
    let slot = Slot::of_key(b"key");
    assert_eq!(placement.replicas("dc0", slot).collect::<Vec<_>>(), [members[0].id]);
    assert_eq!(placement.replicas("elsewhere", slot).count(), 0);
}

#[test]
fn a_hundred_members_are_placed_evenly_in_short_order() {
    let placement = place(&racks(&[20; 5]), &factor(3));
    check_sets(&placement);
    check_balance(&placement, "dc0");
    let sets: Vec<&[u16]> = placement.datacentres["dc0"].sets.chunks_exact(3).collect();
    let ranges = 1 + sets.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(ranges <= 2_000, "{ranges} ranges for clients to read");
}

#[test]
fn the_load_of_a_lost_member_falls_on_many() {
    let placement = place(&racks(&[1; 24]), &factor(3));
    let ring = &placement.datacentres["dc0"];
    for lost in 0..24 {
        let sets = ring.sets.chunks_exact(3).filter(|set| set.contains(&lost));
        let companions: BTreeSet<u16> = sets.flatten().copied().collect();
        assert!(companions.len() >= 9, "{} share slots with {lost}", companions.len());
    }
}

#[test]
fn a_small_rack_gives_what_it_can() {
    // Every slot needs the lone member; the others share the rest evenly.
    let placement = place(&racks(&[1, 4, 4]), &factor(3));
    check_sets(&placement);
    let (held, first) = counts(&placement, "dc0");
    let mut sorted = held.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [vec![4_096; 8], vec![16_384]].concat());
    assert!(spread(&first) <= 1, "first places are even all the same: {first:?}");
}

#[test]
fn a_new_rack_takes_one_replica_of_every_slot() {
    let mut placement = place(&racks(&[2, 2]), &factor(3));
    let before = placement.clone();
    placement.add(member(100, 0, 7)).unwrap();
    check_sets(&placement);
    assert_eq!(moved(&before, &placement, "dc0"), SLOT_COUNT);
}

#[test]
fn factors_differ_by_datacentre() {
    let members: Vec<RingMember> =
        (0..12).map(|i| member(i + 1, i as usize % 2, i as usize % 3)).collect();
    let placement = place(&members, &"dc0:3,dc1:2".parse().unwrap());
    check_sets(&placement);
    let slot = Slot::of_key(b"key");
    assert_eq!(placement.replicas("dc0", slot).count(), 3);
    assert_eq!(placement.replicas("dc1", slot).count(), 2);
    assert_eq!(placement.datacentres().collect::<Vec<_>>(), ["dc0", "dc1"]);
}

#[test]
fn changes_that_make_no_sense_change_nothing() {
    let members = racks(&[2, 2]);
    let mut placement = place(&members, &factor(2));
    let before = placement.clone();
    assert_eq!(placement.add(members[0].clone()), Err(RingError::AlreadyMember(members[0].id)));
    assert_eq!(placement.remove(NodeId(5)), Err(RingError::NotMember(NodeId(5))));
    assert_eq!(placement, before);
}

#[test]
fn the_last_member_takes_its_datacentre_along() {
    let mut placement = place(&[member(1, 0, 0), member(2, 1, 0)], &factor(3));
    placement.remove(member(2, 1, 0).id).unwrap();
    assert_eq!(placement.datacentres().collect::<Vec<_>>(), ["dc0"]);
    assert_eq!(placement.members().count(), 1);
}

/// Racks whose sizes make balance feasible: equal ones.
fn equal_racks() -> impl Strategy<Value = Vec<usize>> {
    (1..=6_usize, 1..=5_usize).prop_map(|(racks, size)| vec![size; racks])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn equal_members_hold_equal_shares(sizes in equal_racks(), rf in 1..=5_u16) {
        let placement = place(&racks(&sizes), &factor(rf));
        check_sets(&placement);
        check_balance(&placement, "dc0");
    }

    #[test]
    fn any_racks_are_spread_over(
        sizes in prop::collection::vec(1..=6_usize, 1..=6),
        rf in 1..=5_u16,
    ) {
        let placement = place(&racks(&sizes), &factor(rf));
        check_sets(&placement);
        // Inside a rack all members are equal.
        let ring = &placement.datacentres["dc0"];
        let held = counts(&placement, "dc0").0;
        for rack in 0..sizes.len() {
            let rack = format!("rack{rack}");
            let in_rack = ring.members.iter().zip(&held).filter(|(m, _)| m.rack == rack);
            let held: Vec<u32> = in_rack.map(|(_, &held)| held).collect();
            prop_assert!(spread(&held) <= 1, "{rack} holds {held:?}");
        }
    }

    #[test]
    fn the_order_of_members_has_no_influence(
        members in Just(racks(&[3, 2, 4])).prop_shuffle(),
    ) {
        prop_assert_eq!(place(&members, &factor(3)), place(&racks(&[3, 2, 4]), &factor(3)));
    }

    #[test]
    fn one_rack_grows_and_shrinks_with_few_moves(
        start in 1..=8_usize,
        rf in 1..=4_u16,
        changes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let mut placement = place(&racks(&[start]), &factor(rf));
        for (number, (grow, index)) in changes.into_iter().enumerate() {
            let before = placement.clone();
            let members: Vec<RingMember> = placement.members().cloned().collect();
            let leaving = if grow || members.len() == 1 {
                placement.add(member(1_000 + number as u128, 0, 0)).unwrap();
                None
            } else {
                let leaving = index.get(&members).id;
                placement.remove(leaving).unwrap();
                Some(leaving)
            };
            check_sets(&placement);
            check_balance(&placement, "dc0");
            check_movement(&before, &placement, "dc0", 50);
            prop_assert!(leaving.is_none_or(|id| placement.members().all(|m| m.id != id)));
        }
    }

    #[test]
    fn racks_grow_and_shrink_with_few_moves(
        sizes in prop::collection::vec(1..=4_usize, 3..=6),
        rf in 1..=3_u16,
        changes in prop::collection::vec(
            (any::<bool>(), 0..6_usize, any::<prop::sample::Index>()),
            1..6,
        ),
    ) {
        let mut placement = place(&racks(&sizes), &factor(rf));
        for (number, (grow, rack, index)) in changes.into_iter().enumerate() {
            let before = placement.clone();
            let members: Vec<RingMember> = placement.members().cloned().collect();
            if grow || members.len() == 1 {
                placement.add(member(1_000 + number as u128, 0, rack)).unwrap();
            } else {
                placement.remove(index.get(&members).id).unwrap();
            }
            check_sets(&placement);
            let racks_before: BTreeSet<&str> = before.members().map(|m| m.rack.as_str()).collect();
            let racks_after: BTreeSet<&str> = placement.members().map(|m| m.rack.as_str()).collect();
            // While racks come and go below the factor, spreading decides what moves, not balance.
            if racks_before.len().min(racks_after.len()) >= usize::from(rf) {
                check_movement(&before, &placement, "dc0", 50);
            }
        }
    }
}

/// What each of `weights` should hold of `total`, none more than every slot: by hand, for members
/// that no rack keeps apart.
fn exact_shares(weights: &[u16], total: usize) -> Vec<f64> {
    let mut shares = vec![0.0; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).collect();
    let mut left = total as f64;
    loop {
        let sum: f64 = open.iter().map(|&at| f64::from(weights[at])).sum();
        let of = |at: usize| left * f64::from(weights[at]) / sum;
        let full: Vec<usize> =
            open.iter().copied().filter(|&at| of(at) >= SLOT_COUNT as f64).collect();
        if full.is_empty() {
            open.iter().for_each(|&at| shares[at] = of(at));
            return shares;
        }
        for at in full {
            shares[at] = SLOT_COUNT as f64;
            left -= SLOT_COUNT as f64;
            open.retain(|&other| other != at);
        }
        if open.is_empty() {
            return shares;
        }
    }
}

/// The members of one rack hold what they should of `total` replicas, give or take one.
fn check_shares(placement: &Placement, rack: &str, total: usize) {
    let ring = &placement.datacentres["dc0"];
    let held = counts(placement, "dc0").0;
    let (weights, held): (Vec<u16>, Vec<u32>) = (ring.members.iter().zip(&held))
        .filter(|(member, _)| member.rack == rack)
        .map(|(member, held)| (member.duties.weight, *held))
        .unzip();
    for (held, exact) in held.iter().zip(exact_shares(&weights, total)) {
        assert!((f64::from(*held) - exact).abs() < 1.0 + 1e-3, "{held} instead of {exact}");
    }
}

#[test]
fn witnesses_hold_nothing_and_datacentres_of_witnesses_have_no_replicas() {
    let mut members = racks(&[1, 1, 1, 1]);
    members[3].duties.weight = 0;
    members.push(weighing(member(9, 1, 0), 0));
    let placement = place(&members, &factor(3));
    check_sets(&placement);
    assert_eq!(placement.datacentres().collect::<Vec<_>>(), ["dc0"]);
    let slot = Slot::of_key(b"key");
    let holders: Vec<NodeId> = placement.replicas("dc0", slot).collect();
    assert_eq!(holders.len(), 3);
    assert!(!holders.contains(&members[3].id));
    assert_eq!(placement.replicas("dc1", slot).count(), 0);
    // Among themselves they would hold everything, which is for lists that never become final.
    let alone = place(&members[3..4], &factor(3));
    assert_eq!(alone.replicas("dc0", slot).collect::<Vec<_>>(), [members[3].id]);
}

#[test]
fn who_was_drained_gets_nothing_new_and_keeps_what_it_has() {
    let mut members = racks(&[4]);
    let before = place(&members, &factor(2));
    members[0].duties.is_drained = true;
    let held = |placement: &Placement, id: NodeId| -> BTreeSet<u16> {
        Slot::all()
            .filter(|slot| placement.replicas("dc0", *slot).any(|held| held == id))
            .map(Slot::number)
            .collect()
    };
    // Nothing moves by itself, and what another one gives up goes to the other two.
    let same = before.moved(&members, &factor(2));
    assert_eq!(moved(&before, &same, "dc0"), 0);
    let left: Vec<RingMember> = members[..3].to_vec();
    let after = same.moved(&left, &factor(2));
    check_sets(&after);
    assert_eq!(held(&after, members[0].id), held(&before, members[0].id));
    // Unless there is nobody else.
    let alone = same.moved(&members[..2], &factor(2));
    assert_eq!(held(&alone, members[0].id).len(), SLOT_COUNT);
}

#[test]
fn a_placement_that_became_uneven_is_evened_out() {
    let members = racks(&[4]);
    let first = place(&members[..3], &factor(1));
    let owners = |slot| first.replicas("dc0", slot).collect::<Vec<_>>();
    let uneven = Placement::agreed(&members[..3], owners);
    assert_eq!(moved(&uneven, &uneven.moved(&members[..3], &factor(1)), "dc0"), 0);
    let one = |_| vec![members[0].id];
    let lopsided = Placement::agreed(&members[..1], one).moved(&members, &factor(1));
    check_balance(&lopsided, "dc0");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn members_hold_in_proportion_to_their_weights(
        weights in prop::collection::vec(1..=500_u16, 1..=9),
        rf in 1..=4_u16,
    ) {
        let members: Vec<RingMember> =
            racks(&[weights.len()]).into_iter().zip(&weights).map(|(m, w)| weighing(m, *w)).collect();
        let placement = place(&members, &factor(rf));
        check_sets(&placement);
        let width = usize::from(rf).min(weights.len());
        check_shares(&placement, "rack0", SLOT_COUNT * width);
        // First places as well, but that none comes first for what it does not hold.
        let (held, first) = counts(&placement, "dc0");
        let ring = &placement.datacentres["dc0"];
        let weights: Vec<u16> = ring.members.iter().map(|member| member.duties.weight).collect();
        let exact = exact_shares(&weights, SLOT_COUNT);
        for ((held, exact), count) in held.iter().zip(&exact).zip(&first) {
            let room = f64::from(*held).min(*exact);
            prop_assert!(f64::from(*count) >= room - 2.0, "{first:?} instead of {held} and {exact}");
        }
    }

    #[test]
    fn weights_count_inside_racks(
        weights in prop::collection::vec(prop::collection::vec(1..=500_u16, 1..=4), 2..=4),
    ) {
        let sizes: Vec<usize> = weights.iter().map(Vec::len).collect();
        let members: Vec<RingMember> = racks(&sizes)
            .into_iter()
            .zip(weights.iter().flatten())
            .map(|(member, weight)| weighing(member, *weight))
            .collect();
        let placement = place(&members, &factor(weights.len() as u16));
        check_sets(&placement);
        for rack in 0..weights.len() {
            check_shares(&placement, &format!("rack{rack}"), SLOT_COUNT);
        }
    }

    #[test]
    fn another_weight_moves_little_more_than_it_must(
        members in 2..=8_usize,
        rf in 1..=3_u16,
        changes in prop::collection::vec((0..8_usize, 0..=400_u16), 1..4),
    ) {
        let mut members = racks(&[members]);
        let mut placement = place(&members, &factor(rf));
        for (which, weight) in changes {
            let at = which % members.len();
            let before = placement.clone();
            members[at].duties.weight = weight;
            if members.iter().all(|member| !member.duties.holds_data()) {
                members[at].duties.weight = 1;
            }
            placement = before.moved(&members, &factor(rf));
            check_sets(&placement);
            let holding: Vec<&RingMember> =
                members.iter().filter(|member| member.duties.holds_data()).collect();
            let width = usize::from(rf).min(holding.len());
            check_shares(&placement, "rack0", SLOT_COUNT * width);
            let moved = moved(&before, &placement, "dc0");
            let fewest = fewest_moves(&before, &placement, "dc0");
            prop_assert!(moved * 2 <= fewest * 3 + 256, "{moved} moved, at least {fewest} must");
            // Once more changes nothing.
            let again = placement.moved(&members, &factor(rf));
            prop_assert_eq!(&again, &placement);
        }
    }
}
