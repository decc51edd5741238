//! The catalog of indexes on its way: written down, told to the shards, and to all members.
//!
//! Every node whose copy says anything sends it to each member of which it does not know that it
//! holds the same: at a change, and at each connection. Whoever gets one merges it and answers with
//! what is newer here, or that it holds the same. So copies meet whatever was lost, and no majority
//! is needed.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_cluster::{membership::Standing, time::Instant};
use quorate_log::disk::Disk;
use quorate_proto::{NodeId, message::Message};

use super::{ConnectionId, Control, Output};
use crate::{
    search::{Catalog, Change},
    shard::Mail,
};

/// Pause before a copy is sent again to who has not answered.
const RESEND_PAUSE: Duration = Duration::from_millis(500);

/// How long a client waits until all members that are up hold what it has changed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The file, beside the node's identity.
const FILE_NAME: &str = "catalog";

/// Reads the catalog of a node.
pub(crate) fn read_catalog(disk: &dyn Disk, directory: &Path) -> std::io::Result<Catalog> {
    match disk.read(&directory.join(FILE_NAME))? {
        None => Ok(Catalog::default()),
        Some(document) => Catalog::decode(&document).ok_or_else(|| {
            let path = directory.join(FILE_NAME);
            std::io::Error::other(format!(
                "{} is damaged: move it away, and the node gets the indexes from the other nodes; \
                 alone, create them again",
                path.display()
            ))
        }),
    }
}

/// The catalog of the node, and who else holds it.
pub(super) struct Catalogs {
    catalog: Arc<Catalog>,
    digest: u64,
    /// What others have said that they hold.
    held: BTreeMap<NodeId, u64>,
    sent: BTreeMap<NodeId, Instant>,
    waiting: Vec<Waiting>,
    outputs: Vec<(NodeId, Message)>,
}

/// A client that waits for the others.
struct Waiting {
    shard: u16,
    ticket: u64,
    reply: String,
    until: Instant,
}

impl Catalogs {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            digest: catalog.digest(),
            catalog,
            held: BTreeMap::new(),
            sent: BTreeMap::new(),
            waiting: Vec::new(),
            outputs: Vec::new(),
        }
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The catalog with a change, and what the client is answered once all know of it. Nothing is
    /// different until [`Catalogs::adopt`].
    pub(super) fn change(
        &self,
        change: Change,
        wall_ms: u64,
        me: NodeId,
    ) -> Result<(Catalog, String), String> {
        change.apply(&self.catalog, wall_ms, me.0)
    }

    /// Writes a catalog down.
    pub(super) fn write(
        disk: &dyn Disk,
        directory: &Path,
        catalog: &Catalog,
    ) -> std::io::Result<()> {
        disk.replace(&directory.join(FILE_NAME), &catalog.encode())
    }

    /// This is the catalog from now on.
    pub(super) fn adopt(&mut self, catalog: Catalog) {
        self.digest = catalog.digest();
        self.catalog = Arc::new(catalog);
        self.sent.clear();
    }

    /// A client waits until all hold it.
    pub(super) fn wait(&mut self, now: Instant, (shard, ticket): (u16, u64), reply: String) {
        self.waiting.push(Waiting { shard, ticket, reply, until: now + PATIENCE });
    }

    /// Takes what a member says. Returns the catalog with what is newer there, if anything is.
    pub(super) fn take(&mut self, from: NodeId, message: Message) -> Option<Catalog> {
        match message {
            Message::CatalogHeld { digest } => {
                self.held.insert(from, digest);
                None
            }
            Message::Catalog(document) => {
                let theirs = Catalog::decode(&document)?;
                self.held.insert(from, theirs.digest());
                let mut merged = Catalog::clone(&self.catalog);
                let changed = merged.merge(&theirs);
                let digest = if changed { merged.digest() } else { self.digest };
                if digest == theirs.digest() {
                    self.outputs.push((from, Message::CatalogHeld { digest }));
                } else {
                    self.sent.remove(&from);
                }
                changed.then_some(merged)
            }
            _ => None,
        }
    }

    /// Sends the catalog to whoever may lack it, of the members that a link leads to.
    pub(super) fn go_on(&mut self, now: Instant, linked: &[NodeId]) {
        self.held.retain(|id, _| linked.contains(id));
        self.sent.retain(|id, _| linked.contains(id));
        if self.catalog.is_empty() {
            return;
        }
        let mut document = None;
        for &id in linked {
            let is_late = self.sent.get(&id).is_none_or(|sent| now >= *sent + RESEND_PAUSE);
            if self.held.get(&id) != Some(&self.digest) && is_late {
                let document =
                    document.get_or_insert_with(|| Bytes::from(self.catalog.encode())).clone();
                self.outputs.push((id, Message::Catalog(document)));
                self.sent.insert(id, now);
            }
        }
    }

    pub(super) fn take_outputs(&mut self) -> Vec<(NodeId, Message)> {
        std::mem::take(&mut self.outputs)
    }

    /// The clients that need not wait any longer: shard, ticket and reply.
    pub(super) fn answered(&mut self, now: Instant, linked: &[NodeId]) -> Vec<(u16, u64, String)> {
        let all_hold = linked.iter().all(|id| self.held.get(id) == Some(&self.digest));
        let mut answered = Vec::new();
        self.waiting.retain(|waiting| {
            let is_over = all_hold || waiting.until <= now;
            if is_over {
                answered.push((waiting.shard, waiting.ticket, waiting.reply.clone()));
            }
            !is_over
        });
        answered
    }

    /// When there is something to do again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let sent = self.sent.iter().filter(|(id, _)| self.held.get(id) != Some(&self.digest));
        waiting.chain(sent.map(|(_, sent)| *sent + RESEND_PAUSE)).min()
    }
}

impl Control {
    /// A client changes the catalog.
    pub(super) fn change_catalog(&mut self, (shard, ticket): (u16, u64), change: Change) {
        let changed = self.catalogs.change(change, self.wall_ms, self.membership.me());
        let written = changed.and_then(|(catalog, reply)| {
            let (disk, directory) = (&*self.node.disk, &self.node.directory);
            let written = Catalogs::write(disk, directory, &catalog);
            written.map(|()| (catalog, reply)).map_err(|error| {
                format!(
                    "MISCONF the catalog of indexes cannot be written ({error}); nothing was done"
                )
            })
        });
        match written {
            Ok((catalog, reply)) => {
                self.catalogs.adopt(catalog);
                self.tell_catalog();
                self.catalogs.wait(self.now, (shard, ticket), reply);
            }
            Err(error) => self.answer_change(shard, ticket, &format!("-{error}\r\n")),
        }
    }

    /// Another node knows of newer entries of the catalog.
    pub(super) fn adopt_catalog(&mut self, catalog: Catalog) {
        if let Err(error) = Catalogs::write(&*self.node.disk, &self.node.directory, &catalog) {
            tracing::error!(%error, "the catalog of indexes cannot be written; it is kept in memory");
        }
        self.catalogs.adopt(catalog);
        self.tell_catalog();
    }

    /// The digest of the node's copy.
    pub(crate) fn catalog_digest(&self) -> u64 {
        self.catalogs.digest
    }

    fn tell_catalog(&mut self) {
        let catalog = Arc::clone(self.catalogs.catalog());
        self.tell_shards(|| Mail::Catalog { catalog: Arc::clone(&catalog) });
    }

    fn answer_change(&mut self, shard: u16, ticket: u64, reply: &str) {
        let mail = Mail::Reply { ticket, reply: Bytes::copy_from_slice(reply.as_bytes()) };
        self.connections.outputs.push_back(Output::Mail { shard, mail });
    }

    /// Sends the catalog to those that may lack it, and answers clients once nobody does.
    pub(super) fn spread_catalog(&mut self) {
        let me = self.membership.me();
        let members = self.membership.view().members;
        let ids = members.iter().map(|member| member.id).filter(|id| *id != me);
        let linked: Vec<_> = ids.filter(|id| self.connection_to(*id).is_some()).collect();
        let is_sealed = self.membership.standing() == Standing::Sealed;
        if is_sealed {
            self.catalogs.go_on(self.now, &linked);
        }
        for (to, message) in self.catalogs.take_outputs() {
            self.send(self.connection_to(to), 0, &message);
        }
        // Until it is settled who the others are, nobody knows whether all have it.
        let nobody = [me];
        let asked = if is_sealed { &linked[..] } else { &nobody };
        for (shard, ticket, reply) in self.catalogs.answered(self.now, asked) {
            self.answer_change(shard, ticket, &reply);
        }
    }

    fn connection_to(&self, id: NodeId) -> Option<ConnectionId> {
        let link = self.membership.link_to(id)?;
        self.outgoing.get(&link).copied()
    }
}
