//! Who a node is, on disk: `node.json` in the data directory.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_cluster::{membership::Persisted, random::Random};
use quorate_proto::{
    Incarnation, MemberNumber, NodeId, Numbers, Start,
    limits::LINEAGE_MAX,
    message::{Member, View},
    mutant::Mutant,
};
use quorate_store::{
    disk::Disk,
    log::{is_full, is_out_of_descriptors},
};
use serde::{Deserialize, Serialize};

use crate::shard::Figures;

/// Version of the file's format.
const FORMAT: u32 = 3;

const FILE_NAME: &str = "node.json";

/// A node's identity and what it must remember of its cluster.
#[derive(Debug)]
pub(crate) struct Identity {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    record: Record,
    is_new: bool,
    /// Held while the process lives, so that no second one uses the directory.
    _lock: Option<File>,
}

/// The contents of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    format: u32,
    /// In hexadecimal.
    id: String,
    name: String,
    /// How often the node has lost everything, its identity too, and has taken its seat again.
    #[serde(default)]
    life: u16,
    /// This start, drawn anew every time.
    start: u32,
    /// The starts before it in this life, the newest last.
    lineage: Vec<u32>,
    /// Identity of the logs, in hexadecimal, where that is not the node's.
    #[serde(default)]
    log_id: Option<String>,
    /// Shards whose logs are in the directory, and the generation of those logs.
    shards: u16,
    generation: u64,
    /// Whether acknowledged data was lost and has not come back from the peers yet.
    #[serde(default)]
    incomplete: bool,
    /// The boot of the machine at the last start.
    #[serde(default)]
    boot: Option<String>,
    /// Whether the last process has synced everything and stopped.
    #[serde(default)]
    clean: bool,
    /// Whether a loss of power takes what the last process has acknowledged.
    #[serde(default = "unknown")]
    unsynced: bool,
    cluster: Option<ClusterRecord>,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ClusterRecord {
    name: String,
    epoch: u64,
    sealed: bool,
    replication_factor: u16,
    /// Member numbers that were given so far: all below this.
    numbers_given: u16,
    members: Vec<MemberRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MemberRecord {
    id: String,
    /// Once the list is sealed.
    number: Option<u16>,
    name: String,
    datacentre: String,
    rack: String,
    peer_address: String,
    client_address: String,
    cluster_address: String,
    /// The latest process that was met.
    life: u16,
    start: u32,
    previous: u32,
}

/// What a file says that does not say whether anything may be unsynced.
const fn unknown() -> bool {
    true
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
    #[error("{} is not a node identity: {why}", path.display())]
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
pub(crate) struct Claim {
    /// The name configured, if any.
    pub(crate) name: Option<String>,
    /// Shards of a new node.
    pub(crate) shards: u16,
    /// Identity of a new node.
    pub(crate) new_id: u128,
    /// What tells this boot of the machine from others, if anything does.
    pub(crate) boot: Option<String>,
    /// Whether a loss of power takes what was acknowledged last.
    pub(crate) unsynced: bool,
    /// Whether other processes are to be kept out.
    pub(crate) lock: bool,
    /// What this start is drawn from.
    pub(crate) seed: u64,
}

impl Identity {
    /// The identity kept in `directory`, or a new one.
    pub(crate) fn open(
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
                let record = parse(&contents)
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
            None => new_record(name, shards, new_id, draw(&mut random, &[])),
        };
        let same_boot = boot.is_some() && record.boot == boot;
        let lost_power = !is_new && !record.clean && !same_boot;
        // Written with the new boot: another start must not find the one without the other. What the
        // process before has acknowledged goes by its policy, and is not synced by this start.
        let incomplete = record.incomplete || lost_power && record.unsynced;
        let unsynced = unsynced || !is_new && !record.clean && record.unsynced;
        let record = Record { boot, incomplete, unsynced, clean: false, ..record };
        let identity = Self { disk, path, record, is_new, _lock: lock };
        // Before anything else: whoever copies the directory from now on has this start in the copy.
        identity.save().map_err(failed)?;
        Ok(identity)
    }

    pub(crate) fn id(&self) -> NodeId {
        parse_id(&self.record.id).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
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
        self.persist(persisted)
    }

    pub(crate) fn shards(&self) -> u16 {
        self.record.shards
    }

    pub(crate) fn generation(&self) -> u64 {
        self.record.generation
    }

    /// Remembers that the logs of `shards` shards are those of `generation`.
    pub(crate) fn record_logs(&mut self, shards: u16, generation: u64) -> io::Result<()> {
        (self.record.shards, self.record.generation) = (shards, generation);
        self.save()
    }

    /// Whether the node was founded by this start.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
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

    /// Remembers an orderly stop, after which nothing is lost with the power. For the data directory
    /// of a node that has stopped.
    pub(crate) fn record_clean_stop(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<()> {
        let path = directory.join(FILE_NAME);
        let Some(contents) = disk.read(&path)? else { return Ok(()) };
        let record = parse(&contents).map_err(io::Error::other)?;
        let record = Record { clean: true, ..record };
        Self { disk, path, record, is_new: false, _lock: None }.save()
    }

    /// Notes that a log has failed: what was acknowledged and not synced may be lost. Tried again by
    /// [`Identity::settle`] where the disk takes nothing at the moment.
    pub(crate) fn record_failed_log(&mut self) {
        if self.record.incomplete || !self.record.unsynced {
            return;
        }
        match self.record_incomplete(true) {
            Ok(()) => tracing::error!("the log has failed; the next start refills this node"),
            Err(error) => {
                self.record.incomplete = false;
                tracing::error!(%error, "that the log has failed cannot be noted; trying again");
            }
        }
    }

    /// Notes that nothing is missing any more, once what every shard has regained is durable.
    /// Tried again where the disk takes nothing at the moment.
    pub(crate) fn settle(&mut self, figures: &Figures) {
        if figures.failed {
            return self.record_failed_log();
        }
        if !self.record.incomplete || figures.regained != Some(self.incarnation().start) {
            return;
        }
        match self.record_incomplete(false) {
            Ok(()) => tracing::info!("what was lost has come back from the other nodes"),
            Err(error) => {
                self.record.incomplete = true;
                tracing::warn!(%error, "that nothing is missing cannot be noted; trying again");
            }
        }
    }

    /// What the membership remembers.
    pub(crate) fn persisted(&self) -> Option<Persisted> {
        let cluster = self.record.cluster.as_ref()?;
        let members = cluster.members.iter().filter_map(|member| {
            Some(Member {
                id: parse_id(&member.id)?,
                name: member.name.clone(),
                datacentre: member.datacentre.clone(),
                rack: member.rack.clone(),
                peer_address: member.peer_address.clone(),
                client_address: member.client_address.clone(),
                cluster_address: member.cluster_address.clone(),
                incarnation: incarnation(member.life, member.start, member.previous),
            })
        });
        Some(Persisted {
            cluster: cluster.name.clone(),
            view: View {
                epoch: cluster.epoch,
                sealed: cluster.sealed,
                replication_factor: cluster.replication_factor,
                members: members.collect(),
                numbers: numbers_of(cluster)?,
            },
        })
    }

    /// Remembers what the membership must not forget.
    pub(crate) fn persist(&mut self, persisted: Persisted) -> io::Result<()> {
        let Persisted { cluster, view } = persisted;
        let numbers = view.numbers;
        let members = view.members.into_iter().map(|member| MemberRecord {
            id: member.id.to_string(),
            number: numbers.of(member.id).map(|number| number.0),
            name: member.name,
            datacentre: member.datacentre,
            rack: member.rack,
            peer_address: member.peer_address,
            client_address: member.client_address,
            cluster_address: member.cluster_address,
            life: member.incarnation.life,
            start: member.incarnation.start.get(),
            previous: member.incarnation.previous.get(),
        });
        self.record.cluster = Some(ClusterRecord {
            name: cluster,
            epoch: view.epoch,
            sealed: view.sealed,
            replication_factor: view.replication_factor,
            numbers_given: numbers.given(),
            members: members.collect(),
        });
        self.save()
    }

    /// The same where it is better to go on than to stop when the disk does not take it: it is about
    /// what a peer said of itself, and is kept in memory until the next time.
    pub(crate) fn register(&mut self, persisted: Persisted) {
        if let Err(error) = self.persist(persisted) {
            tracing::error!(%error, "what is known of the other nodes cannot be written down");
        }
    }

    fn save(&self) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&self.record).map_err(io::Error::other)?;
        self.disk.replace(&self.path, text.as_bytes())
    }
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

impl Record {
    /// What another start makes of it.
    fn started_again(mut self, random: &mut Random) -> Self {
        if Mutant::OriginReused.is_planted() {
            return self;
        }
        self.lineage.push(self.start);
        let surplus = self.lineage.len().saturating_sub(LINEAGE_MAX);
        self.lineage.drain(..surplus);
        Self { start: draw(random, &self.lineage), ..self }
    }
}

/// A start that is none of the earlier ones that are known.
fn draw(random: &mut Random, lineage: &[u32]) -> u32 {
    loop {
        let start = Start::from_random(random.next_u64() as u32);
        if start != Start::NONE && !lineage.contains(&start.get()) {
            return start.get();
        }
    }
}

fn incarnation(life: u16, start: u32, previous: u32) -> Incarnation {
    let [start, previous] = [start, previous].map(Start::from_random);
    Incarnation { life, start, previous }
}

fn new_record(name: Option<&str>, shards: u16, id: u128, start: u32) -> Record {
    let id = NodeId(id).to_string();
    let name = name.map_or_else(|| format!("node-{}", &id[..8]), str::to_owned);
    Record {
        format: FORMAT,
        id,
        name,
        life: 0,
        start,
        lineage: Vec::new(),
        log_id: None,
        shards,
        generation: 1,
        incomplete: false,
        boot: None,
        clean: false,
        unsynced: false,
        cluster: None,
    }
}

fn parse(contents: &[u8]) -> Result<Record, String> {
    let explain = |error: serde_json::Error| error.to_string();
    let Format { format } = serde_json::from_slice(contents).map_err(explain)?;
    if format != FORMAT {
        return Err(format!(
            "it has format {format}, and this version reads only {FORMAT}; take a backup with the \
             version that wrote it, and restore that"
        ));
    }
    let record: Record = serde_json::from_slice(contents).map_err(explain)?;
    parse_id(&record.id).ok_or("its id is no id")?;
    if let Some(cluster) = &record.cluster {
        numbers_of(cluster).ok_or("two members have the same number, or one was never given")?;
    }
    Ok(record)
}

/// The numbers of the members; `None` when they are not possible.
fn numbers_of(cluster: &ClusterRecord) -> Option<Numbers> {
    let numbered = cluster
        .members
        .iter()
        .filter_map(|member| Some((parse_id(&member.id)?, MemberNumber(member.number?))));
    Numbers::from_parts(cluster.numbers_given, numbered)
}

fn parse_id(text: &str) -> Option<NodeId> {
    u128::from_str_radix(text, 16).ok().map(NodeId)
}

#[cfg(test)]
mod tests {
    use quorate_store::disk::SimulatedDisk;

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
    fn another_format_is_refused_with_advice() {
        let disk = SimulatedDisk::new();
        for format in [1, 2, 4] {
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
        let claim =
            Claim { name: None, shards: 1, new_id: 7, boot, unsynced, lock: false, seed: 1 };
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
        identity.record_failed_log();
        assert!(!identity.is_incomplete());
        disk.fail_writes(false);
        let figures = Figures { failed: true, ..Figures::default() };
        identity.settle(&figures);
        assert!(open(&disk, None).expect("opens").is_incomplete());
    }

    #[test]
    fn what_was_regained_counts_once_every_shard_has_it_on_disk() {
        let disk = SimulatedDisk::new();
        let mut identity = open(&disk, Some("a")).expect("opens");
        identity.record_incomplete(true).expect("saved");
        for regained in [None, Some(Start::NONE)] {
            let figures = Figures { regained, ..Figures::default() };
            identity.settle(&figures);
            assert!(identity.is_incomplete());
        }
        let regained = Some(identity.incarnation().start);
        let figures = Figures { regained, ..Figures::default() };
        identity.settle(&figures);
        assert!(!open(&disk, None).expect("opens").is_incomplete());
    }

    #[test]
    fn who_takes_a_seat_keeps_its_logs_and_lacks_data() {
        let disk = SimulatedDisk::new();
        let mut identity = open(&disk, Some("a")).expect("opens");
        let member = Member {
            id: NodeId(99),
            name: "a".into(),
            datacentre: "dc1".into(),
            rack: "r1".into(),
            peer_address: "h:1".into(),
            client_address: "h:2".into(),
            cluster_address: "h:3".into(),
            incarnation: incarnation(3, 40, 30),
        };
        let (members, numbers) = (vec![member.clone()], numbers(9, 4, &member));
        let view = View { epoch: 1, sealed: true, replication_factor: 3, members, numbers };
        let persisted = Persisted { cluster: "c".into(), view };
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
    fn what_the_membership_remembers_round_trips() {
        let disk = SimulatedDisk::new();
        let mut identity = open(&disk, Some("a")).expect("opens");
        assert_eq!(identity.persisted(), None);
        let member = Member {
            id: identity.id(),
            name: "a".into(),
            datacentre: "dc1".into(),
            rack: "r1".into(),
            peer_address: "h:1".into(),
            client_address: "h:2".into(),
            cluster_address: "h:3".into(),
            incarnation: incarnation(1, 7, 6),
        };
        let numbers = numbers(9, 4, &member);
        let members = vec![member];
        let view = View { epoch: 1, sealed: true, replication_factor: 3, members, numbers };
        let persisted = Persisted { cluster: "c".into(), view };
        identity.persist(persisted.clone()).expect("saved");
        assert_eq!(open(&disk, None).expect("opens").persisted(), Some(persisted));
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let disk = SimulatedDisk::new();
        disk.replace(Path::new("/data/node.json"), b"{").expect("written");
        assert!(matches!(open(&disk, None), Err(DataDirectoryError::Damaged { .. })));
    }
}
