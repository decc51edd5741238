//! Dirty ranges: groups of slots in which a target lacks something that no hint brings it.
//!
//! A mark is settled by an anti-entropy round over its group that began after the mark was made,
//! which its epoch tells. What is marked takes the same memory however long a target is away.

use std::{io, path::PathBuf, sync::Arc};

use quorate_cluster::{peer_map::PeerMap, topology::Topology};
use quorate_log::{DIRTY_FILE, DirtyRanges, disk::Disk, encode_dirty, read_dirty};
use quorate_proto::{Groups, MemberNumber, NodeId, slot::GROUPS};

type Marks = [u32; GROUPS as usize];

/// The dirty ranges of one shard.
#[derive(Debug)]
pub(crate) struct Dirty {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// By group: the epoch after the one in which it was marked last; zero when clean.
    marks: PeerMap<Marks>,
    /// Counts changes of what is dirty.
    version: u64,
    /// The newest one that is on disk.
    saved: u64,
    saving: bool,
    failure_reported: bool,
}

/// Brings the dirty ranges to disk.
#[derive(Debug)]
pub struct SaveDirty {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    ranges: DirtyRanges,
}

impl SaveDirty {
    pub(crate) fn run(self) -> io::Result<()> {
        self.disk.replace(&self.path, &encode_dirty(&self.ranges))
    }
}

impl Dirty {
    /// What was dirty when the process ended, of the groups that this shard owns now.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        directory: &std::path::Path,
        topology: &Topology,
        owned: Groups,
    ) -> io::Result<Self> {
        let path = directory.join(DIRTY_FILE);
        let mut dirty = Self {
            marks: PeerMap::new(),
            version: 0,
            saved: 0,
            saving: false,
            failure_reported: false,
            disk,
            path,
        };
        let stored = read_dirty(&*dirty.disk, &dirty.path)?;
        if stored.is_none() {
            tracing::warn!(path = %dirty.path.display(), "the dirty ranges are damaged");
        }
        for target in topology.peers() {
            dirty.add(target, topology.member(target).id, stored.as_ref(), owned);
        }
        dirty.saved = if stored.is_some() { dirty.version } else { 0 };
        Ok(dirty)
    }

    /// Takes over what is stored of a target, which is everything if nobody knows.
    fn add(
        &mut self,
        target: MemberNumber,
        id: NodeId,
        stored: Option<&DirtyRanges>,
        owned: Groups,
    ) {
        let groups = match stored {
            Some(ranges) => ranges.get(&id).copied().unwrap_or_default(),
            None => Groups::ALL,
        };
        self.marks.insert(target, [0; GROUPS as usize]);
        self.mark(target, groups.intersection(owned), 0);
    }

    /// A node has become a peer: what was dirty for it when it was one before, still is.
    pub(super) fn handle_joined(&mut self, target: MemberNumber, id: NodeId, owned: Groups) {
        let stored = read_dirty(&*self.disk, &self.path).ok().flatten();
        self.add(target, id, stored.as_ref(), owned);
    }

    /// A node is no peer any more.
    pub(super) fn handle_left(&mut self, target: MemberNumber) {
        let was_dirty = !self.groups(target).is_empty();
        self.marks.remove(target);
        self.version += u64::from(was_dirty);
    }

    /// The groups in which `target` lacks something.
    pub(super) fn groups(&self, target: MemberNumber) -> Groups {
        let marks = self.marks.get(target).into_iter().flatten().zip(0..);
        marks.filter(|(mark, _)| **mark > 0).map(|(_, group)| group).collect()
    }

    pub(super) fn contains(&self, target: MemberNumber, group: u16) -> bool {
        self.marks[target][usize::from(group)] > 0
    }

    /// `target` lacks something in these groups since `epoch`. Returns whether any was clean.
    pub(super) fn mark(&mut self, target: MemberNumber, groups: Groups, epoch: u32) -> bool {
        let mut news = false;
        for group in groups.iter() {
            let mark = &mut self.marks[target][usize::from(group)];
            news |= *mark == 0;
            *mark = epoch + 1;
        }
        self.version += u64::from(news);
        news
    }

    /// An anti-entropy round that began with `epoch` has settled these groups.
    pub(super) fn clear(&mut self, target: MemberNumber, groups: Groups, epoch: u32) {
        let mut news = false;
        for group in groups.iter() {
            let mark = &mut self.marks[target][usize::from(group)];
            if (1..=epoch).contains(mark) {
                (*mark, news) = (0, true);
            }
        }
        self.version += u64::from(news);
    }

    /// Counts changes of what is dirty.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The newest version that is on disk.
    pub(super) fn saved(&self) -> u64 {
        self.saved
    }

    /// What brings the changes to disk, with their version, unless that is under way.
    pub(super) fn save_job(&mut self, topology: &Topology) -> Option<(u64, SaveDirty)> {
        if self.saved == self.version || self.saving {
            return None;
        }
        self.saving = true;
        let ranges = topology.peers().map(|peer| (topology.member(peer).id, self.groups(peer)));
        let (disk, path) = (Arc::clone(&self.disk), self.path.clone());
        Some((self.version, SaveDirty { disk, path, ranges: ranges.collect() }))
    }

    pub(super) fn save_ended(&mut self, version: u64, result: &io::Result<u64>) {
        self.saving = false;
        match result {
            Ok(_) => self.saved = self.saved.max(version),
            Err(error) if !self.failure_reported => {
                self.failure_reported = true;
                tracing::warn!(%error, "the dirty ranges cannot be saved; it is tried again");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_log::disk::SimulatedDisk;

    use super::*;
    use crate::storage::rounds::topology;

    const PEER: MemberNumber = MemberNumber(1);

    fn open(disk: &SimulatedDisk, owned: Groups) -> Dirty {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Dirty::open(disk, "/hints".as_ref(), &topology(0), owned).expect("opens")
    }

    fn save(dirty: &mut Dirty) {
        let (version, job) = dirty.save_job(&topology(0)).expect("something is new");
        assert!(dirty.save_job(&topology(0)).is_none(), "one at a time");
        let result = job.run().map(|()| 0);
        dirty.save_ended(version, &result);
    }

    #[test]
    fn marks_go_with_a_round_that_began_after_them() {
        let mut dirty = open(&SimulatedDisk::new(), Groups::ALL);
        let both: Groups = [3, 5].into_iter().collect();
        assert!(dirty.mark(PEER, both, 7));
        // A round of epoch 8 begins; meanwhile one of them is marked again.
        assert!(!dirty.mark(PEER, [5].into_iter().collect(), 8));
        dirty.clear(PEER, Groups::ALL, 8);
        assert_eq!(dirty.groups(PEER), [5].into_iter().collect());
        dirty.clear(PEER, [3].into_iter().collect(), 9);
        assert!(dirty.contains(PEER, 5), "it was not compared");
        dirty.clear(PEER, Groups::ALL, 9);
        assert!(dirty.groups(PEER).is_empty());
    }

    #[test]
    fn marks_survive_a_restart_also_of_other_shards() {
        let disk = SimulatedDisk::new();
        let mut dirty = open(&disk, Groups::ALL);
        dirty.mark(PEER, [3, 4].into_iter().collect(), 1);
        assert!(dirty.saved() < dirty.version());
        save(&mut dirty);
        assert_eq!(dirty.saved(), dirty.version());
        let reopened = open(&disk, Groups::from_bits(0b1000));
        assert_eq!(reopened.groups(PEER), [3].into_iter().collect());
        assert_eq!(reopened.saved(), reopened.version());
        dirty.clear(PEER, Groups::ALL, 2);
        save(&mut dirty);
        assert!(open(&disk, Groups::ALL).groups(PEER).is_empty());
    }

    #[test]
    fn everything_is_dirty_when_nobody_knows() {
        let disk = SimulatedDisk::new();
        disk.replace("/hints/dirty".as_ref(), b"rubbish").expect("is written");
        let dirty = open(&disk, Groups::ALL);
        assert_eq!(dirty.groups(PEER), Groups::ALL);
        assert!(dirty.saved() < dirty.version());
        let ranges = [(NodeId(2), Groups::ALL)].into();
        disk.replace("/hints/dirty".as_ref(), &encode_dirty(&ranges)).expect("is written");
        let reopened = open(&disk, Groups::ALL);
        assert_eq!(reopened.saved(), reopened.version());
    }
}
