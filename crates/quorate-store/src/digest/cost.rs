//! What keeping digests up to date costs a write: `cargo test --release -p quorate-store --lib
//! what_digests_cost_a_write -- --ignored --nocapture`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use quorate_proto::{Origin, Slot, Start, command::Call, resp::Command};

use crate::{Request, Store, StoreOptions};

/// Whether elements are not hashed, so that writes show what they cost without.
static OFF: AtomicBool = AtomicBool::new(false);

pub(super) fn is_off() -> bool {
    OFF.load(Ordering::Relaxed)
}

/// Nanoseconds that each of the calls takes, with digests or without.
fn measure(calls: &[Call], off: bool) -> f64 {
    OFF.store(off, Ordering::Relaxed);
    let mut store = Store::new(StoreOptions {
        origin: Origin::new(0, Start::from_random(1)),
        digest_secret: [7; 16],
        seed: 1,
        keep_removed: true,
    });
    let (mut reply, mut effect) = (Vec::new(), Vec::new());
    // The second time everything is overwritten.
    let mut begun = Instant::now();
    for round in 0..2 {
        if round == 1 {
            begun = Instant::now();
        }
        for call in calls {
            reply.clear();
            effect.clear();
            let request = Request { call, wall_ms: 1_000, resp3: false };
            store.execute(request, &mut reply, &mut effect);
        }
    }
    let spent = begun.elapsed().as_nanos() as f64 / calls.len() as f64;
    OFF.store(false, Ordering::Relaxed);
    spent
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
#[ignore = "a measurement: needs a release build, and no other test beside it"]
fn what_digests_cost_a_write() {
    println!("| write | ns | without digests | digests |");
    println!("|---|---|---|---|");
    let value = "v".repeat(64);
    for (name, words) in [
        ("SET", ["SET", "key:N", &value].as_slice()),
        ("INCR", &["INCR", "key:N"]),
        ("HSET", &["HSET", "hash:G", "field:N", &value]),
        ("SADD", &["SADD", "set:G", "member:N"]),
    ] {
        let calls: Vec<Call> = (0..200_000)
            .map(|number| {
                let fill = |word: &&str| {
                    let word = word.replace('N', &format!("{number:012}"));
                    word.replace('G', &format!("{:06}", number / 100))
                };
                // Command names hold no such letter but `INCR`.
                let mut filled: Vec<String> = words.iter().map(fill).collect();
                filled[0] = name.to_owned();
                let command = Command::from_args(&filled);
                Call::piece(Slot::of_key(command.arg(1)), command)
            })
            .collect();
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            with.push(measure(&calls, false));
            without.push(measure(&calls, true));
        }
        let (with, without) = (median(with), median(without));
        println!("| `{name}` | {with:.0} | {without:.0} | {:.0} |", with - without);
    }
}
