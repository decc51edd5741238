//! The threads that work with the disk, so that no shard waits for it: one makes logs durable, and
//! one reads them again. They are two, so that no sync waits for a scrub.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use quorate_proto::NodeIndex;
use quorate_store::log::SyncJob;

use super::mailbox::Mailbox;
use crate::{shard::Mail, storage::ScrubOrder};

/// A sync to run, and who hears of it.
pub(crate) struct SyncOrder {
    pub(crate) job: SyncJob,
    /// The target, when it is about hints.
    pub(crate) hints_for: Option<NodeIndex>,
    pub(crate) mailbox: Arc<Mailbox<Mail>>,
}

/// Starts the thread. It ends when every sender is gone.
pub(crate) fn start() -> io::Result<(Sender<SyncOrder>, JoinHandle<()>)> {
    let (sender, orders) = channel();
    let thread = Builder::new().name("quorate-sync".into()).spawn(move || run(&orders))?;
    Ok((sender, thread))
}

fn run(orders: &Receiver<SyncOrder>) {
    while let Ok(SyncOrder { job, hints_for, mailbox }) = orders.recv() {
        let result = job.run();
        if let Err(error) = &result {
            tracing::error!(%error, "a sync failed; what it covered may not be on disk");
        }
        mailbox.send(Mail::Synced { hints_for, result });
    }
}

/// A part of a scrub to read, and who hears of it.
pub(crate) type ScrubRequest = (ScrubOrder, Arc<Mailbox<Mail>>);

/// Starts the thread that scrubs. It ends when every sender is gone.
pub(crate) fn start_scrubber() -> io::Result<(Sender<ScrubRequest>, JoinHandle<()>)> {
    let (sender, orders) = channel::<ScrubRequest>();
    let thread = Builder::new().name("quorate-scrub".into()).spawn(move || {
        while let Ok((order, mailbox)) = orders.recv() {
            mailbox.send(Mail::Scrubbed(order.run()));
        }
    })?;
    Ok((sender, thread))
}
