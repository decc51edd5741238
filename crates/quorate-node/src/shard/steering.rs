//! `QUORATE TOPOLOGY`: what operators want changed in the cluster, and how far it has come.
//!
//! A shard reads the command; the control carries it out, since it alone has the voters' links
//! (`reactor::steering`).

use quorate_cluster::membership::Order;
use quorate_proto::{ReplicationFactor, command::Call, duties::WEIGHT_MAX, resp::Command};

use super::Shard;
use crate::reactor::{ControlMail, Steer, Wish};

const SYNTAX: &str = "TOPOLOGY [STATUS | JOIN node | LEAVE node | REPLACE node BY node | REMOVE-DEAD node | \
                      SET-RF factor | WEIGHT node weight | DRAIN node | UNDRAIN node | REBALANCE | PAUSE | RESUME | CANCEL | OVERRIDE] [DRY]";

/// What such a command asks for.
fn parse(command: &Command) -> Result<Wish, String> {
    let words: Vec<String> = (2..command.len())
        .map(|at| String::from_utf8_lossy(command.arg(at)).into_owned())
        .collect();
    let (is_trial, words) = match words.split_last() {
        Some((last, rest)) if last.eq_ignore_ascii_case("DRY") => (true, rest),
        _ => (false, &words[..]),
    };
    let upper: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
    let order = match upper.as_slice() {
        [] | ["STATUS"] if !is_trial => return Ok(Wish::Status),
        ["JOIN", _] => Order::Join(words[1].clone()),
        ["LEAVE", _] => Order::Leave(words[1].clone()),
        ["REPLACE", _, "BY", _] => Order::Replace(words[1].clone(), words[3].clone()),
        ["REMOVE-DEAD", _] => Order::RemoveDead(words[1].clone()),
        ["SET-RF", _] => {
            let factor = &words[1];
            let max = crate::limits::RF_MAX;
            let fits = |factor: &ReplicationFactor| {
                factor.numbers().all(|number| (1..=max).contains(&number))
            };
            let error = || {
                format!(
                    "ERR '{factor}' is not allowed; allowed: 1 to {max}, or one for each \
                     datacentre, such as dc1:3,dc2:2"
                )
            };
            Order::SetReplicationFactor(factor.parse().ok().filter(fits).ok_or_else(error)?)
        }
        ["WEIGHT", _, weight] => {
            let error = || format!("ERR '{weight}' is not allowed; allowed: 0 to {WEIGHT_MAX}");
            let fits = |weight: &u16| *weight <= WEIGHT_MAX;
            let weight = weight.parse().ok().filter(fits).ok_or_else(error)?;
            Order::SetWeight(words[1].clone(), weight)
        }
        ["DRAIN", _] => Order::Drain(words[1].clone()),
        ["UNDRAIN", _] => Order::Undrain(words[1].clone()),
        ["REBALANCE"] => Order::Rebalance,
        ["PAUSE"] => Order::Pause,
        ["RESUME"] => Order::Resume,
        ["CANCEL"] => Order::Cancel,
        ["OVERRIDE"] => Order::Override,
        _ => return Err(format!("ERR syntax error: {SYNTAX}")),
    };
    Ok(Wish::Order { order, is_trial })
}

impl Shard {
    /// `QUORATE TOPOLOGY [STATUS | order [DRY]]`
    pub(super) fn topology_command(&mut self, key: usize, call: Call) {
        let wish = match parse(call.command()) {
            Ok(wish) => wish,
            Err(error) => return self.refuse(key, &call, error),
        };
        if self.sessions[key].replies.waiting() > 0 {
            self.sessions[key].held = Some(call);
            return;
        }
        let waiter = self.expect_alone(key, call.command());
        let ticket = self.waiters.insert(waiter) as u64;
        let (shard, resp3) = (self.id, self.sessions[key].resp3);
        let steer = Steer { shard, ticket, resp3, wish };
        self.to_control.push(ControlMail::Steer(Box::new(steer)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wish, String> {
        parse(&Command::from_args(text.split(' ')))
    }

    fn order(order: Order, is_trial: bool) -> Result<Wish, String> {
        Ok(Wish::Order { order, is_trial })
    }

    #[test]
    fn orders_are_read() {
        assert_eq!(read("QUORATE TOPOLOGY"), Ok(Wish::Status));
        assert_eq!(read("quorate topology status"), Ok(Wish::Status));
        assert_eq!(read("QUORATE TOPOLOGY join n4"), order(Order::Join("n4".into()), false));
        assert_eq!(read("QUORATE TOPOLOGY LEAVE n4 dry"), order(Order::Leave("n4".into()), true));
        let replaced = Order::Replace("n1".into(), "N4".into());
        assert_eq!(read("QUORATE TOPOLOGY REPLACE n1 by N4"), order(replaced, false));
        let weighed = Order::SetWeight("n4".into(), 250);
        assert_eq!(read("QUORATE TOPOLOGY WEIGHT n4 250 dry"), order(weighed, true));
        assert_eq!(read("QUORATE TOPOLOGY DRAIN n4"), order(Order::Drain("n4".into()), false));
        assert_eq!(read("QUORATE TOPOLOGY UNDRAIN n4"), order(Order::Undrain("n4".into()), false));
        for factor in ["2", "east:3,West:1"] {
            let wanted = Order::SetReplicationFactor(factor.parse().expect("a factor"));
            assert_eq!(read(&format!("QUORATE TOPOLOGY SET-RF {factor}")), order(wanted, false));
        }
    }

    #[test]
    fn what_is_no_order_is_refused_with_what_is_allowed() {
        for wrong in ["FOO", "JOIN", "JOIN a b", "STATUS DRY", "REPLACE a b c", "REBALANCE x"] {
            let error = read(&format!("QUORATE TOPOLOGY {wrong}")).expect_err("is no order");
            assert!(error.starts_with("ERR syntax error: TOPOLOGY ["), "{wrong}: {error}");
        }
        for wrong in ["0", "-1", "x", "70000", "dc1:0", "dc1:3,dc1:3"] {
            let error = read(&format!("QUORATE TOPOLOGY SET-RF {wrong}")).expect_err("no number");
            assert!(error.contains("allowed: 1 to"), "{wrong}: {error}");
        }
        for wrong in ["-1", "x", "10001", "70000"] {
            let error = read(&format!("QUORATE TOPOLOGY WEIGHT n1 {wrong}")).expect_err("none");
            assert!(error.contains("allowed: 0 to 10000"), "{wrong}: {error}");
        }
    }
}
