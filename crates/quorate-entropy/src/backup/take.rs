//! Taking a backup.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use quorate_proto::{
    Slot,
    slot::{GROUPS, SLOTS},
};

use super::{
    BackupError, BackupResult, DataFile, Manifest, SlotRecord,
    folder::{DataWriter, Folder},
    manifest::data_file,
    places::{self, Source, Sources},
};
use crate::{Meter, node::SlotRead};

/// A file of which less than one in so many bytes is still needed is given up: what is needed of
/// it goes into a new one. So a folder holds at most so many times what its backup needs.
const WASTE: u64 = 2;

/// A backup of a cluster into a folder.
#[derive(Clone, Debug)]
pub struct Backup {
    folder: PathBuf,
    node: String,
    incremental: bool,
    whole_cluster: bool,
    meter: Meter,
}

/// What a backup has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Backups into this folder so far.
    pub number: u64,
    /// Slots that were read.
    pub slots_read: usize,
    /// Slots that are as the backup before has them.
    pub slots_kept: usize,
    /// Slots that were written to while they were read.
    pub slots_moving: usize,
    /// Slots of which replicas differed, and which were read from several.
    pub slots_merged: usize,
    /// Slots of which no majority of the replicas could be compared, when they were to be.
    pub slots_minority: usize,
    /// Bytes written to data files.
    pub bytes_written: u64,
    /// Keys in the backup.
    pub keys: u64,
    /// Bytes of the backup, kept ones included.
    pub bytes: u64,
    /// Members that were read from.
    pub nodes: usize,
}

impl Backup {
    /// Backs up the cluster of the node whose client port is at `host:port`.
    pub fn new(folder: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            node: node.into(),
            incremental: false,
            whole_cluster: false,
            meter: Meter::new(),
        }
    }

    /// Reads only the slots whose digests differ from those in the folder's backup. Without one,
    /// everything is read.
    #[must_use]
    pub fn incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }

    /// Takes what the node does not hold from other replicas, and what they have that it lacks: a
    /// write that a majority acknowledged before the backup began is in it. Otherwise a node that
    /// does not hold everything is refused.
    #[must_use]
    pub fn whole_cluster(mut self, whole_cluster: bool) -> Self {
        self.whole_cluster = whole_cluster;
        self
    }

    /// Counts the bytes read from nodes.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Takes the backup.
    ///
    /// # Errors
    /// Why there is none; the one before is as it was.
    pub fn run(&self) -> BackupResult<Taken> {
        let began_ms = now_ms();
        let folder = Folder::to_write(&self.folder)?;
        let previous = folder.manifest()?;
        let sources = places::find(&self.node, self.whole_cluster)?;
        if let Some(other) = previous.as_ref().filter(|p| p.identity != sources.identity) {
            let found = other.cluster.clone();
            return Err(BackupError::OtherCluster { folder: self.folder.clone(), found });
        }
        let mut taking = Taking {
            folder: &folder,
            meter: &self.meter,
            number: previous.as_ref().map_or(1, |previous| previous.number + 1),
            kept: vec![None; usize::from(SLOTS)],
            previous: previous.unwrap_or_default(),
            sources,
            files: Vec::new(),
            old_files: BTreeMap::new(),
            digests: BTreeMap::new(),
            slots: vec![None; usize::from(SLOTS)],
        };
        if self.incremental || self.whole_cluster {
            taking.ask_digests()?;
        }
        if self.incremental {
            taking.find_unchanged();
        }
        for group in 0..GROUPS {
            taking.group(group)?;
        }
        taking.sources.readers.values_mut().try_for_each(Source::check)?;
        let (manifest, taken) = taking.finish(began_ms);
        folder.replace(&manifest)?;
        folder.clean(&manifest)?;
        Ok(taken)
    }
}

struct Taking<'a> {
    folder: &'a Folder,
    meter: &'a Meter,
    number: u64,
    previous: Manifest,
    sources: Sources,
    /// What the backup before has of slots that have not changed.
    kept: Vec<Option<SlotRecord>>,
    files: Vec<DataFile>,
    /// Where files of the backup before stand in the new list.
    old_files: BTreeMap<usize, usize>,
    slots: Vec<Option<SlotRecord>>,
    /// The digests of all members' slots before the first was read; none of those that a member
    /// does not hold.
    digests: BTreeMap<usize, Vec<Option<u128>>>,
}

impl Taking<'_> {
    fn ask_digests(&mut self) -> BackupResult<()> {
        let Sources { of_slot, others, readers, .. } = &mut self.sources;
        for (member, source) in readers {
            let holds = |slot: &Slot| {
                of_slot[slot.index()] == *member || others[slot.index()].contains(member)
            };
            let slots: Vec<Slot> = Slot::all().filter(holds).collect();
            let digests = source.reader.digests(&slots).map_err(|error| source.failed(error))?;
            let mut by_slot = vec![None; usize::from(SLOTS)];
            for (slot, digest) in slots.into_iter().zip(digests) {
                by_slot[slot.index()] = Some(digest);
            }
            self.digests.insert(*member, by_slot);
        }
        Ok(())
    }

    fn digest(&self, member: usize, slot: Slot) -> Option<u128> {
        self.digests.get(&member)?[slot.index()]
    }

    /// Compares the digests with those of the backup before.
    fn find_unchanged(&mut self) {
        let usable = usable_files(&self.folder.path, &self.previous);
        for slot in Slot::all() {
            let digest = self.digest(self.sources.of_slot[slot.index()], slot);
            let before = self.previous.slots.get(slot.index());
            self.kept[slot.index()] = before
                .filter(|before| Some(before.digest) == digest)
                .filter(|before| !before.moving && before.also.is_empty())
                .filter(|before| before.bytes == 0 || usable[before.file])
                .filter(|_| self.differing(slot).is_empty())
                .cloned();
        }
    }

    /// Other replicas that have something else than the one that a slot is read from: one of each
    /// kind. Those with the same digest had nothing more when the backup began, and the one that is
    /// read has lost nothing since.
    fn differing(&self, slot: Slot) -> Vec<usize> {
        let mut seen = vec![self.digest(self.sources.of_slot[slot.index()], slot)];
        let mut differing = Vec::new();
        for member in &self.sources.others[slot.index()] {
            let digest = self.digest(*member, slot);
            if !seen.contains(&digest) {
                seen.push(digest);
                differing.push(*member);
            }
        }
        differing
    }

    /// Backs up one group of slots, whose new parts go into one file.
    fn group(&mut self, group: u16) -> BackupResult<()> {
        let slots: Vec<Slot> = Slot::of_group(group).collect();
        let wasteful = self.wasteful_files(&slots);
        let kept: Vec<SlotRecord> =
            slots.iter().filter_map(|slot| self.kept[slot.index()].clone()).collect();
        let (carried, stay): (Vec<SlotRecord>, Vec<SlotRecord>) = kept
            .into_iter()
            .partition(|record| record.bytes > 0 && wasteful.contains(&record.file));
        // Those that stay come first: they add files to the list, and the new one is next on it.
        for record in stay {
            let file = if record.bytes > 0 { self.old_file(record.file) } else { 0 };
            let index = usize::from(record.slot);
            self.slots[index] = Some(SlotRecord { file, ..record });
        }
        let mut writer = None;
        for record in carried {
            let index = usize::from(record.slot);
            self.slots[index] = self.carry(&mut writer, &slots, record)?;
        }
        let members: Vec<usize> = self.sources.readers.keys().copied().collect();
        for member in members {
            let wanted = |slot: &&Slot| {
                self.slots[slot.index()].is_none() && self.sources.of_slot[slot.index()] == member
            };
            let wanted: Vec<Slot> = slots.iter().filter(wanted).copied().collect();
            if !wanted.is_empty() {
                self.read(&mut writer, &slots, member, &wanted)?;
            }
        }
        if let Some(writer) = writer {
            self.files.push(writer.finish()?);
        }
        Ok(())
    }

    /// Files of the backup before of which too little is kept.
    fn wasteful_files(&self, slots: &[Slot]) -> Vec<usize> {
        let mut needed = BTreeMap::<usize, u64>::new();
        for record in slots.iter().filter_map(|slot| self.kept[slot.index()].as_ref()) {
            *needed.entry(record.file).or_default() += record.bytes;
        }
        let needed = needed.into_iter();
        let is_wasteful = |(file, bytes): &(usize, u64)| {
            let whole = self.previous.files.get(*file).map_or(0, |file| file.bytes);
            bytes.saturating_mul(WASTE) < whole
        };
        needed.filter(is_wasteful).map(|(file, _)| file).collect()
    }

    fn old_file(&mut self, old: usize) -> usize {
        let (files, previous) = (&mut self.files, &self.previous);
        *self.old_files.entry(old).or_insert_with(|| {
            files.push(previous.files[old].clone());
            files.len() - 1
        })
    }

    /// Copies a kept slot into the new file. One that turns out to be damaged is read again.
    fn carry(
        &self,
        writer: &mut Option<DataWriter>,
        group: &[Slot],
        record: SlotRecord,
    ) -> BackupResult<Option<SlotRecord>> {
        let name = &self.previous.files[record.file].name;
        let (sha256, _) = self.folder.read(name, record.offset, record.bytes, |_| Ok(()))?;
        if sha256 != record.sha256 {
            return Ok(None);
        }
        let writer = self.writer(writer, group)?;
        self.folder.read(name, record.offset, record.bytes, |bytes| writer.write(bytes))?;
        let part = writer.end_part();
        Ok(Some(SlotRecord { file: self.files.len(), offset: part.offset, ..record }))
    }

    fn writer<'w>(
        &self,
        writer: &'w mut Option<DataWriter>,
        group: &[Slot],
    ) -> BackupResult<&'w mut DataWriter> {
        if writer.is_none() {
            let last = group.len() - 1;
            let name = data_file(group[0], group[last], self.number);
            *writer = Some(DataWriter::create(self.folder, name)?);
        }
        Ok(writer.as_mut().expect("invariant: made right before"))
    }

    /// Reads slots of a group from one node.
    fn read(
        &mut self,
        writer: &mut Option<DataWriter>,
        group: &[Slot],
        member: usize,
        wanted: &[Slot],
    ) -> BackupResult<()> {
        let Some(mut source) = self.sources.readers.remove(&member) else { return Ok(()) };
        source.reader.begin(wanted).map_err(|error| source.failed(error))?;
        while let Some(read) = self.next_slot(&mut source, true, writer, group)? {
            let also = self.differing(read.slot);
            for other in &also {
                self.read_states(writer, group, *other, read.slot)?;
            }
            let record = self.record(member, read, also, writer.as_mut());
            self.slots[read.slot.index()] = Some(record);
        }
        self.sources.readers.insert(member, source);
        Ok(())
    }

    /// Adds the states that another replica has to a slot that has just been read.
    fn read_states(
        &mut self,
        writer: &mut Option<DataWriter>,
        group: &[Slot],
        member: usize,
        slot: Slot,
    ) -> BackupResult<()> {
        let Some(mut source) = self.sources.readers.remove(&member) else { return Ok(()) };
        source.reader.begin(&[slot]).map_err(|error| source.failed(error))?;
        self.next_slot(&mut source, false, writer, group)?;
        self.sources.readers.insert(member, source);
        Ok(())
    }

    fn next_slot(
        &self,
        source: &mut Source,
        plain: bool,
        writer: &mut Option<DataWriter>,
        group: &[Slot],
    ) -> BackupResult<Option<SlotRead>> {
        let take = |bytes: &[u8]| -> Result<(), Interrupted> {
            if !bytes.is_empty() {
                self.writer(writer, group)?.write(bytes)?;
                self.meter.add(bytes.len() as u64);
            }
            Ok(())
        };
        source.reader.next(plain, take).map_err(|interrupted| match interrupted {
            Interrupted::Node(error) => source.failed(error),
            Interrupted::Here(error) => error,
        })
    }

    fn record(
        &self,
        member: usize,
        read: SlotRead,
        also: Vec<usize>,
        writer: Option<&mut DataWriter>,
    ) -> SlotRecord {
        let record = SlotRecord {
            slot: read.slot.number(),
            digest: read.digest,
            moving: read.moving,
            node: member,
            replicas: 1 + self.sources.others[read.slot.index()].len(),
            also,
            backup: self.number,
            keys: read.keys,
            ..SlotRecord::default()
        };
        match writer.map(DataWriter::end_part).filter(|part| part.bytes > 0) {
            None => record,
            Some(part) => SlotRecord {
                bytes: part.bytes,
                file: self.files.len(),
                offset: part.offset,
                sha256: part.sha256,
                ..record
            },
        }
    }

    fn finish(self, began_ms: u64) -> (Manifest, Taken) {
        let manifest = Manifest {
            number: self.number,
            began_ms,
            ended_ms: now_ms(),
            cluster: self.sources.cluster,
            identity: self.sources.identity,
            members: self.sources.members,
            files: self.files,
            slots: self.slots.into_iter().flatten().collect(),
        };
        let read: Vec<&SlotRecord> =
            manifest.slots.iter().filter(|slot| slot.backup == manifest.number).collect();
        let taken = Taken {
            number: manifest.number,
            slots_read: read.len(),
            slots_kept: manifest.slots.len() - read.len(),
            slots_moving: read.iter().filter(|slot| slot.moving).count(),
            slots_merged: read.iter().filter(|slot| !slot.also.is_empty()).count(),
            slots_minority: self.sources.minorities,
            bytes_written: read.iter().map(|slot| slot.bytes).sum(),
            keys: manifest.keys(),
            bytes: manifest.bytes(),
            nodes: self.sources.readers.len(),
        };
        (manifest, taken)
    }
}

/// Why a slot was not read.
enum Interrupted {
    Node(io::Error),
    Here(BackupError),
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Node(error)
    }
}

impl From<BackupError> for Interrupted {
    fn from(error: BackupError) -> Self {
        Self::Here(error)
    }
}

/// Which files of a backup are there in full length.
fn usable_files(folder: &Path, manifest: &Manifest) -> Vec<bool> {
    let usable = |file: &DataFile| {
        fs::metadata(folder.join(&file.name)).is_ok_and(|about| about.len() == file.bytes)
    };
    manifest.files.iter().map(usable).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
