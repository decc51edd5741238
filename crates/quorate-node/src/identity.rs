//! Who a node is, on disk: `node.json` in the data directory.

mod ownership;
mod record;
#[cfg(test)]
mod tests;
mod voting;

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_cluster::{membership::Persisted, random::Random};
use quorate_log::{disk::Disk, is_full, is_out_of_descriptors};
use quorate_proto::{Incarnation, NodeId, Start, message::Member, mutant::Mutant};
use record::{ClusterRecord, Record, draw, incarnation, parse_id};

const FILE_NAME: &str = "node.json";

/// What is kept on the disk to write the file once more, beyond its present length. Every start
/// adds a few bytes to the file, and to what is kept for the next one: a whole lineage fits in
/// twice.
const SPARE_BYTES: u64 = 32 << 10;

/// A node's identity and what it must remember of its cluster.
#[derive(Debug)]
pub struct Identity {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    record: Record,
    /// Shards of this process.
    shards: u16,
    /// Those that have not said, of this process and life, that nothing is missing.
    awaited: BTreeSet<u16>,
    /// Whether a log has failed since the start: what it could not sync may be lost.
    log_failed: bool,
    /// Held while the process lives, so that no second one uses the directory.
    _lock: Option<File>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirectoryError {
    /// It cannot be read or written.
    #[error("data directory {}: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// Another process uses it.
    #[error("data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Its identity file is damaged.
    #[error(
        "{} is not a node identity: {why}; nothing was changed. If it is damaged, move the directory away and \
         start with an empty one: in a cluster, with the same name, the node takes its seat again and gets \
         its data from the others; alone, restore a backup (quorate restore)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It holds logs, but not the identity that they belong to.
    #[error(
        "data directory {} holds the log of a node ({log}), but not its {FILE_NAME}, without which the log \
         cannot be read; nothing was changed. If {FILE_NAME} was moved, put it back. If it is lost, move \
         the directory away and start with an empty one: in a cluster, with the same name, the node takes its \
         seat again and gets its data from the others; alone, restore a backup (quorate restore)",
        path.display()
    )]
    NoIdentity {
        /// The directory.
        path: PathBuf,
        /// One of its logs.
        log: String,
    },
    /// It belongs to a node with another name.
    #[error(
        "name: '{given}' is not allowed; the data directory {} belongs to node '{found}'",
        path.display()
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The name configured.
        given: String,
        /// The name of the directory's node.
        found: String,
    },
}

/// Who wants to use a data directory.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The name configured, if any.
    pub name: Option<String>,
    /// Shards of this start.
    pub shards: u16,
    /// Identity of a new node.
    pub new_id: u128,
    /// What tells this boot of the machine from others, if anything does.
    pub boot: Option<String>,
    /// Whether a loss of power takes what was acknowledged last.
    pub unsynced: bool,
    /// Whether other processes are to be kept out.
    pub lock: bool,
    /// What this start is drawn from.
    pub seed: u64,
}

impl Identity {
    /// The identity kept in `directory`, or a new one.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        claim: Claim,
    ) -> Result<Self, DataDirectoryError> {
        let Claim { name, shards, new_id, boot, unsynced, lock, seed } = claim;
        let mut random = Random::new(seed);
        let name = name.as_deref();
        let failed = |error| DataDirectoryError::Io { path: directory.to_owned(), error };
        disk.list(directory).map_err(failed)?;
        let lock = if lock { Some(take_lock(directory)?) } else { None };
        let path = directory.join(FILE_NAME);
        let contents = disk.read(&path).map_err(failed)?;
        let is_new = contents.is_none();
        if is_new && let Some(log) = any_log(&*disk, directory).map_err(failed)? {
            return Err(DataDirectoryError::NoIdentity { path: directory.to_owned(), log });
        }
        let record = match contents {
            Some(contents) => {
                let record = Record::parse(&contents)
                    .map_err(|why| DataDirectoryError::Damaged { path: path.clone(), why })?;
                if let Some(given) = name.filter(|given| *given != record.name) {
                    return Err(DataDirectoryError::OtherNode {
                        path: directory.to_owned(),
                        given: given.into(),
                        found: record.name,
                    });
                }
                record.started_again(&mut random)
            }
            None => Record::new(name, new_id, draw(&mut random, &[])),
        };
        let same_boot = boot.is_some() && record.boot == boot;
        let lost_power = !is_new && !record.clean && !same_boot;
        // Written with the new boot: another start must not find the one without the other. What
        // the process before has acknowledged goes by its policy, and is not synced by this start.
        let incomplete = record.incomplete || lost_power && record.unsynced;
        let unsynced = unsynced || !is_new && !record.clean && record.unsynced;
        let record = Record { boot, incomplete, unsynced, clean: false, ..record };
        let awaited = (0..shards).collect();
        let identity = Self { disk, path, record, shards, awaited, log_failed: false, _lock: lock };
        // Before anything else: whoever copies the directory from now on has this start in the
        // copy.
        identity.save().map_err(failed)?;
        Ok(identity)
    }

    pub(crate) fn id(&self) -> NodeId {
        parse_id(&self.record.id).unwrap_or_default()
    }

    /// The name of the node.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        let previous = self.record.lineage.last().copied().unwrap_or_default();
        incarnation(self.record.life, self.record.start, previous)
    }

    /// The earlier starts of this life, the newest last.
    pub(crate) fn lineage(&self) -> Vec<Start> {
        self.record.lineage.iter().copied().map(Start::from_random).collect()
    }

    /// Tells the logs of this directory from others.
    pub(crate) fn log_id(&self) -> NodeId {
        self.record.log_id.as_deref().and_then(parse_id).unwrap_or_else(|| self.id())
    }

    /// The node is a member that has lost everything: remembers who it is from now on, and that it
    /// lacks what that one has acknowledged.
    pub(crate) fn take_seat(&mut self, member: &Member, persisted: Persisted) -> io::Result<()> {
        self.record.log_id = Some(self.log_id().to_string());
        self.record.id = member.id.to_string();
        self.record.life = member.incarnation.life;
        self.record.start = member.incarnation.start.get();
        self.record.lineage.clear();
        self.record.incomplete = true;
        if !Mutant::RefillEndsEarly.is_planted() {
            self.awaited = (0..self.shards).collect();
        }
        self.persist(persisted)
    }

    /// The shards whose logs are in the directory, and the generation of those logs; `None` before
    /// there are any.
    pub(crate) fn logs(&self) -> Option<(u16, u64)> {
        let Record { shards, generation, .. } = self.record;
        (shards > 0).then_some((shards, generation))
    }

    /// Remembers that the logs of `shards` shards are those of `generation`.
    pub(crate) fn record_logs(&mut self, shards: u16, generation: u64) -> io::Result<()> {
        (self.record.shards, self.record.generation) = (shards, generation);
        self.save()
    }

    /// Whether acknowledged data was lost and has not come back yet.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.record.incomplete
    }

    /// Remembers whether acknowledged data is missing.
    pub(crate) fn record_incomplete(&mut self, incomplete: bool) -> io::Result<()> {
        self.record.incomplete = incomplete;
        self.save()
    }

    /// Remembers an orderly stop, after which nothing is lost with the power. For the data
    /// directory of a node that has stopped.
    pub fn record_clean_stop(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<()> {
        let path = directory.join(FILE_NAME);
        let Some(contents) = disk.read(&path)? else { return Ok(()) };
        let record = Record::parse(&contents).map_err(io::Error::other)?;
        let record = Record { clean: true, ..record };
        write(&*disk, &path, &record)
    }

    /// A log has failed: what was acknowledged and not synced may be lost.
    pub(crate) fn handle_failed_log(&mut self) {
        self.log_failed = true;
    }

    /// A shard has said that nothing is missing in it. What was said of an earlier life tells
    /// nothing of this one: a shard that has not heard yet of the seat that was taken misses
    /// nothing.
    pub(crate) fn handle_regained(&mut self, shard: u16, of: Incarnation) {
        let own = self.incarnation();
        if (of.life, of.start) == (own.life, own.start) {
            self.awaited.remove(&shard);
        }
    }

    /// Notes that something is missing, or that nothing is any more. Tried again where the disk
    /// takes nothing at the moment.
    pub(crate) fn settle(&mut self) {
        let incomplete = if self.log_failed {
            self.record.incomplete || self.record.unsynced
        } else {
            self.record.incomplete && !self.awaited.is_empty()
        };
        if incomplete == self.record.incomplete {
            return;
        }
        match self.record_incomplete(incomplete) {
            Ok(()) if incomplete => {
                tracing::error!("the log has failed; the next start refills this node");
            }
            Ok(()) => tracing::info!("what was lost has come back from the other nodes"),
            Err(error) => {
                self.record.incomplete = !incomplete;
                tracing::error!(%error, "whether data is missing cannot be noted; trying again");
            }
        }
    }

    /// What the membership remembers.
    pub(crate) fn persisted(&self) -> Option<Persisted> {
        self.record.cluster.as_ref()?.persisted()
    }

    /// Remembers what the membership must not forget.
    pub(crate) fn persist(&mut self, persisted: Persisted) -> io::Result<()> {
        self.record.cluster = Some(ClusterRecord::new(persisted));
        self.save()
    }

    /// The same where it is better to go on than to stop when the disk does not take it: it is
    /// about what a peer said of itself, and is kept in memory until the next time.
    pub(crate) fn register(&mut self, persisted: Persisted) {
        if let Err(error) = self.persist(persisted) {
            tracing::error!(%error, "what is known of the other nodes cannot be written down");
        }
    }

    fn save(&self) -> io::Result<()> {
        write(&*self.disk, &self.path, &self.record)
    }
}

fn write(disk: &dyn Disk, path: &Path, record: &Record) -> io::Result<()> {
    let text = record.text().map_err(io::Error::other)?;
    disk.replace(path, text.as_bytes())?;
    // A start that cannot be written down must not take place, also when the disk is full.
    let spare = text.len() as u64 + SPARE_BYTES;
    if let Err(error) = disk.spare(path, spare) {
        tracing::warn!(%error, "little space is left for the next change of {FILE_NAME}");
    }
    Ok(())
}

/// The name of a log in `directory`, if there is any.
fn any_log(disk: &dyn Disk, directory: &Path) -> io::Result<Option<String>> {
    let directories = disk.list_directories(directory)?;
    let names = directories.iter().filter_map(|path| path.file_name()?.to_str());
    Ok(names.filter(|name| name.starts_with("log-")).min().map(str::to_owned))
}

/// Whether the file could not be written for a reason that may pass: no space, no descriptor.
pub(crate) fn passes(error: &io::Error) -> bool {
    is_full(error) || is_out_of_descriptors(error)
}

fn take_lock(directory: &Path) -> Result<File, DataDirectoryError> {
    let failed = |error| DataDirectoryError::Io { path: directory.to_owned(), error };
    let file = File::create(directory.join("LOCK")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(DataDirectoryError::InUse(directory.to_owned()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
