//! Requests that wait until the node knows what data there is, or until the member list is final.

use bytes::Bytes;

use super::{Now, Shard};
use crate::node::{Footing, WAITS_FOR_PROMISES, WAITS_FOR_SEEDS};

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
            .partition::<Vec<_>, _>(|(_, errand)| errand.terms.deadline <= now.monotonic);
        self.unsealed = waiting;
        if late.is_empty() {
            return;
        }
        let text = Bytes::from(format!("-UNAVAILABLE {}\r\n", self.awaited_text()));
        for (waiter, _) in late {
            self.deliver(now, waiter, text.clone());
        }
    }

    /// What a request has waited for in vain, and what is to be done about it.
    fn awaited_text(&self) -> String {
        let Footing { founded, rejoining, awaited } = self.node.footing();
        let awaited = awaited.join(", ");
        if founded {
            format!("{WAITS_FOR_PROMISES}; nothing was done. It waits for: {awaited}")
        } else if rejoining {
            format!(
                "this node was a member, has lost everything, and needs all others to get its seat again; \
                 nothing was done. It waits for: {awaited}"
            )
        } else if awaited.is_empty() {
            "this node has just started and waits for the others to accept it; nothing was done"
                .into()
        } else {
            format!("{WAITS_FOR_SEEDS}; nothing was done. It waits for: {awaited}")
        }
    }
}
