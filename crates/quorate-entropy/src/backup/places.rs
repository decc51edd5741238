//! Which node each slot is read from.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
};

use quorate_proto::slot::SLOTS;

use super::{BackupError, BackupResult, MemberRecord, manifest::hex};
use crate::node::{NodeStatus, SlotReader};

/// The cluster, and connections to those of its nodes that slots are read from.
pub(super) struct Sources {
    pub(super) cluster: String,
    pub(super) identity: String,
    pub(super) members: Vec<MemberRecord>,
    /// By member.
    pub(super) readers: BTreeMap<usize, Source>,
    /// The member that each slot is read from.
    pub(super) of_slot: Vec<usize>,
    /// Other replicas of each slot that are up and ready.
    pub(super) others: Vec<Vec<usize>>,
    /// Slots of which no majority of the replicas is up and ready.
    pub(super) minorities: usize,
}

pub(super) struct Source {
    pub(super) address: String,
    pub(super) reader: SlotReader,
}

impl Source {
    fn open(address: &str) -> io::Result<(Self, NodeStatus)> {
        let mut reader = SlotReader::open(address)?;
        let status = reader.status()?;
        if !status.ready {
            // It would send questions on to others, and digests would not belong to what is read.
            return Err(io::Error::other(
                "the node is not ready: it is catching up with the others",
            ));
        }
        Ok((Self { address: address.to_owned(), reader }, status))
    }

    pub(super) fn failed(&self, error: io::Error) -> BackupError {
        BackupError::Node { address: self.address.clone(), error }
    }

    /// Checks that the node has answered by itself all the time.
    pub(super) fn check(&mut self) -> BackupResult<()> {
        match self.reader.status() {
            Ok(status) if status.ready => Ok(()),
            Ok(_) => Err(BackupError::FellBehind(self.address.clone())),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// Finds a source for every slot: the node at `address`, and with `whole_cluster` other replicas
/// for what it does not hold, and to compare with.
pub(super) fn find(address: &str, whole_cluster: bool) -> BackupResult<Sources> {
    let node = |error| BackupError::Node { address: address.to_owned(), error };
    let (mut source, status) = Source::open(address).map_err(node)?;
    let members: Vec<MemberRecord> = status.members.iter().map(member).collect();
    let index_of = |name: &str| members.iter().position(|member| member.name == name);
    let own = index_of(&status.name);
    let own = own.ok_or_else(|| node(io::Error::other("the node is no member of its cluster")))?;
    let places = source.reader.places().map_err(node)?;
    let places: Vec<Vec<usize>> = places
        .iter()
        .map(|names| names.iter().filter_map(|name| index_of(name)).collect())
        .collect();
    let held = places.iter().filter(|replicas| replicas.contains(&own)).count();
    if held < usize::from(SLOTS) && !whole_cluster {
        return Err(BackupError::Partial { address: address.to_owned(), held });
    }
    let identity = source.reader.identity();
    let mut found = Candidates {
        members: &members,
        identity,
        opened: BTreeMap::from([(own, Some(source))]),
        why: String::new(),
    };
    let (mut of_slot, mut others) = (Vec::new(), Vec::new());
    let (mut missing, mut minorities) = (0, 0);
    for replicas in &places {
        let is_usable =
            |member: &usize| *member == own || (whole_cluster && found.is_usable(*member));
        let mut usable: Vec<usize> = replicas.iter().copied().filter(is_usable).collect();
        minorities += usize::from(whole_cluster && usable.len() * 2 <= replicas.len());
        if usable.is_empty() {
            missing += 1;
            continue;
        }
        // The node that was named, or else the first in the order of preference.
        let first = usable.iter().position(|member| *member == own).unwrap_or(0);
        of_slot.push(usable.remove(first));
        others.push(usable);
    }
    if missing > 0 {
        return Err(BackupError::Unreachable { slots: missing, why: found.why });
    }
    let opened = found.opened.into_iter();
    let readers = opened.filter_map(|(member, source)| Some((member, source?))).collect();
    Ok(Sources {
        cluster: status.cluster,
        identity: hex(&identity),
        members,
        readers,
        of_slot,
        others,
        minorities,
    })
}

/// Members that have been tried.
struct Candidates<'a> {
    members: &'a [MemberRecord],
    identity: [u8; 16],
    opened: BTreeMap<usize, Option<Source>>,
    /// What the last one said that cannot be used.
    why: String,
}

impl Candidates<'_> {
    fn is_usable(&mut self, member: usize) -> bool {
        let entry = match self.opened.entry(member) {
            Entry::Occupied(known) => return known.get().is_some(),
            Entry::Vacant(entry) => entry,
        };
        let address = &self.members[member].client_address;
        let opened = Source::open(address).and_then(|(source, status)| {
            let same = source.reader.identity() == self.identity
                && status.name == self.members[member].name;
            let other = || io::Error::other("another node answers there");
            same.then_some(source).ok_or_else(other)
        });
        if let Err(error) = &opened {
            self.why = format!("{address}: {error}");
        }
        entry.insert(opened.ok()).is_some()
    }
}

fn member(fields: &BTreeMap<String, String>) -> MemberRecord {
    let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
    MemberRecord {
        name: text("name"),
        client_address: text("client_address"),
        peer_address: text("peer_address"),
        dc: text("dc"),
        rack: text("rack"),
    }
}
