//! The thread that makes logs durable, so that no shard waits for the disk.

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
use crate::shard::Mail;

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
