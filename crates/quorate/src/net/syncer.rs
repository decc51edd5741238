//! The thread that makes logs durable, so that no shard waits for the disk.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use super::mailbox::Mailbox;
use crate::{
    shard::Mail,
    storage::{HintSync, SyncTask},
};

/// A sync to run, and who hears of it.
pub(crate) struct SyncOrder {
    pub(crate) task: SyncTask,
    /// What of it, when it is about what is kept for other nodes.
    pub(crate) hints: Option<HintSync>,
    pub(crate) mailbox: Arc<Mailbox<Mail>>,
}

/// Starts the thread. It ends when every sender is gone.
pub(crate) fn start() -> io::Result<(Sender<SyncOrder>, JoinHandle<()>)> {
    let (sender, orders) = channel();
    let thread = Builder::new().name("quorate-sync".into()).spawn(move || run(&orders))?;
    Ok((sender, thread))
}

fn run(orders: &Receiver<SyncOrder>) {
    while let Ok(SyncOrder { task, hints, mailbox }) = orders.recv() {
        let result = task.run();
        if let Err(error) = &result {
            tracing::error!(%error, "a sync failed; what it covered may not be on disk");
        }
        mailbox.send(Mail::Synced { hints, result });
    }
}
