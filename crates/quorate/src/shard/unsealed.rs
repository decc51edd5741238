//! Requests that wait until the node knows what data there is, or until the member list is final.

use bytes::Bytes;

use super::{Now, Shard};

impl Shard {
    /// Runs what has waited, unless it must wait on.
    pub(super) fn run_unsealed(&mut self, now: Now) {
        for (waiter, errand) in std::mem::take(&mut self.unsealed) {
            self.run(now, waiter, errand);
        }
    }

    /// Gives up on what has waited for too long, and says what for.
    pub(super) fn expire_unsealed(&mut self, now: Now) {
        let (late, waiting) = std::mem::take(&mut self.unsealed)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, errand)| errand.deadline <= now.monotonic);
        self.unsealed = waiting;
        if late.is_empty() {
            return;
        }
        let awaited = self.node.footing().awaited.join(", ");
        let text = if self.node.is_founded() {
            format!(
                "-UNAVAILABLE the first write needs every node that joined to confirm the member \
                 list, and these have not: {awaited}; nothing was done. Start them. If one is gone \
                 for good, stop all others, delete their data directories, and start them without \
                 it\r\n"
            )
        } else {
            format!(
                "-UNAVAILABLE this node has no data and has not met enough of the others to know \
                 what there is; it waits for: {awaited}; nothing was done\r\n"
            )
        };
        let text = Bytes::from(text);
        for (waiter, _) in late {
            self.deliver(now, waiter, text.clone());
        }
    }
}
