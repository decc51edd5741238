//! The table at the end: medians over the rounds, and ratios to the first target.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::servers::Target;

/// One measurement of one target.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measurement {
    pub(super) target: String,
    pub(super) command: &'static str,
    pub(super) pipeline: usize,
    pub(super) per_second: f64,
    /// CPU time of the server for an operation.
    pub(super) server_us: Option<f64>,
    /// CPU time of the load for an operation.
    pub(super) client_us: Option<f64>,
    pub(super) operations: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
}

/// Memory of a target.
#[derive(Clone, Debug, Default, Serialize)]
struct Memory {
    bytes_per_key: Option<f64>,
    loaded_bytes: Option<u64>,
    end_bytes: Option<u64>,
}

/// Everything measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    measurements: Vec<(usize, Measurement)>,
    memory: BTreeMap<String, Memory>,
}

impl Report {
    pub(super) fn add(&mut self, round: usize, measurement: Measurement) {
        self.measurements.push((round, measurement));
    }

    /// Notes the memory of a target that holds `keys` keys.
    pub(super) fn note_memory(&mut self, target: &Target, keys: u64) {
        let memory = self.memory.entry(target.name.clone()).or_default();
        memory.loaded_bytes = target.memory();
        memory.bytes_per_key = target.memory().map(|bytes| bytes as f64 / keys as f64);
    }

    pub(super) fn note_memory_after(&mut self, target: &Target) {
        self.memory.entry(target.name.clone()).or_default().end_bytes = target.memory();
    }

    pub(super) fn all_failed(&self) -> bool {
        self.measurements.iter().all(|(_, one)| one.errors == one.operations)
    }

    pub(super) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    pub(super) fn print(&self, targets: &[Target]) {
        println!(
            "{:<10} {:<6} {:>5} {:>10} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
            "target",
            "what",
            "depth",
            "ops/s",
            "ratio",
            "cpu us/op",
            "cpu ratio",
            "load us",
            "p50 us",
            "p99 us",
            "p99.9 us"
        );
        for (command, pipeline) in self.rows() {
            let first =
                targets.first().and_then(|target| self.median(&target.name, command, pipeline));
            for target in targets {
                let Some(one) = self.median(&target.name, command, pipeline) else { continue };
                let ratio = first.as_ref().map(|first| one.per_second / first.per_second);
                let cpu_ratio =
                    first.as_ref().and_then(|first| Some(one.server_us? / first.server_us?));
                println!(
                    "{:<10} {:<6} {:>5} {:>10.0} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
                    one.target,
                    one.command,
                    one.pipeline,
                    one.per_second,
                    shown(ratio),
                    shown(one.server_us),
                    shown(cpu_ratio),
                    shown(one.client_us),
                    one.p50_us,
                    one.p99_us,
                    one.p999_us,
                );
                if one.errors > 0 {
                    let text = one.first_error.unwrap_or_default();
                    println!("  {} of {} failed: {}", one.errors, one.operations, text.trim());
                }
            }
        }
        self.print_memory(targets);
    }

    fn print_memory(&self, targets: &[Target]) {
        let per_key = |target: &Target| self.memory.get(&target.name)?.bytes_per_key;
        let first = targets.first().and_then(per_key);
        println!();
        for target in targets {
            let Some(memory) = self.memory.get(&target.name) else { continue };
            let ratio = per_key(target).zip(first).map(|(own, first)| own / first);
            println!(
                "{:<10} {} bytes a key (ratio {}), {} MiB after loading, {} MiB at the end",
                target.name,
                memory.bytes_per_key.map_or("-".into(), |bytes| format!("{bytes:.0}")),
                shown(ratio),
                mebibytes(memory.loaded_bytes),
                mebibytes(memory.end_bytes),
            );
        }
    }

    /// What was measured, in the order of the first round.
    fn rows(&self) -> Vec<(&'static str, usize)> {
        let mut rows = Vec::new();
        for (_, one) in &self.measurements {
            if !rows.contains(&(one.command, one.pipeline)) {
                rows.push((one.command, one.pipeline));
            }
        }
        rows
    }

    /// Each figure's median over the rounds.
    fn median(&self, target: &str, command: &str, pipeline: usize) -> Option<Measurement> {
        let all: Vec<&Measurement> = self
            .measurements
            .iter()
            .map(|(_, one)| one)
            .filter(|one| {
                one.target == target && one.command == command && one.pipeline == pipeline
            })
            .collect();
        let middle = |figure: fn(&Measurement) -> f64| {
            let mut values: Vec<f64> = all.iter().map(|one| figure(one)).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let first = (*all.first()?).clone();
        Some(Measurement {
            per_second: middle(|one| one.per_second),
            server_us: first.server_us.map(|_| middle(|one| one.server_us.unwrap_or(0.0))),
            client_us: first.client_us.map(|_| middle(|one| one.client_us.unwrap_or(0.0))),
            operations: all.iter().map(|one| one.operations).sum(),
            errors: all.iter().map(|one| one.errors).sum(),
            p50_us: middle(|one| one.p50_us as f64) as u64,
            p90_us: middle(|one| one.p90_us as f64) as u64,
            p99_us: middle(|one| one.p99_us as f64) as u64,
            p999_us: middle(|one| one.p999_us as f64) as u64,
            ..first
        })
    }
}

fn shown(figure: Option<f64>) -> String {
    figure.map_or("-".into(), |figure| format!("{figure:.2}"))
}

fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or("-".into(), |bytes| (bytes >> 20).to_string())
}
