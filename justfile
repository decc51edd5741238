# The usual commands; README's need no `just`.

# Every test
test:
    tests/run

# Rust's tests, their properties with other inputs each time: just properties -p quorate-store
properties *arguments:
    env -u PROPTEST_RNG_SEED cargo test {{arguments}}

# Simulated schedules: just simulate --seeds 2000 --scenario base
simulate *arguments:
    cargo run --profile sim -p quorate-sim -- {{arguments}}

# Attacks on real processes: just attack kills wipes --budget 1h
attack *arguments:
    tests/attack {{arguments}}

# Every fuzz target for a minute, or those named: just fuzz sync handoff
fuzz *targets:
    fuzz/run {{targets}}

# Formatting, lints, dependencies, docs
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check bans licenses sources
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --features quorate/book

# Throughput and CPU beside redis-server (see docs/src/performance.md)
bench:
    cargo run --release -p quorate-cli -- bench --compare-redis

# What CI runs
ci:
    .ci/run
