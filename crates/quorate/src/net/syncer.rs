//! The threads that work beside the shards: one makes logs durable, one reads them again, and one does
//! what takes long in memory. They are three, so that no sync waits for anything else.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use quorate_node::reactor::{Done, Job};

use super::{directory::ToShard, mailbox::Mailbox};

/// A job to run, and who hears of it.
pub(crate) type Order = (Job, Arc<Mailbox<ToShard>>);

/// Starts a thread that runs jobs. It ends when every sender is gone.
pub(crate) fn start(name: &str) -> io::Result<(Sender<Order>, JoinHandle<()>)> {
    let (sender, orders) = channel();
    let thread = Builder::new().name(name.into()).spawn(move || run(&orders))?;
    Ok((sender, thread))
}

fn run(orders: &Receiver<Order>) {
    while let Ok((job, mailbox)) = orders.recv() {
        let done = job.run();
        if let Done::Synced { result: Err(error), .. } = &done {
            tracing::error!(%error, "a sync failed; what it covered may not be on disk");
        }
        mailbox.send(ToShard::Done(done));
    }
}
