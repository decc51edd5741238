//! The rows of `INFO` and `QUORATE STATUS`.
//!
//! Names are those of Redis where the meaning is; the constants are metrics of Redis that tools
//! read and that never change here.

use quorate_proto::{Unfit, resp::ReplyWriter};

use super::{Line, Report, channel, owed};
use crate::shard::{
    REDIS_VERSION,
    cluster_commands::{is_cluster, mode},
    session_commands::MODULES,
};

/// A part of `INFO`.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    /// Whether it is shown when nothing else is asked for.
    pub(super) is_usual: bool,
    /// Whether it shows what is counted by kind.
    pub(super) needs_breakdown: bool,
    pub(super) metrics: &'static [Metric],
    /// Lines whose names are not known before; `None`: there is no such section on this node.
    listed: fn(&Report<'_>) -> Option<Vec<Line>>,
}

impl Section {
    /// What it shows.
    pub(super) fn lines(&self, report: &Report<'_>) -> Option<Vec<Line>> {
        let listed = (self.listed)(report)?;
        let metrics = self.metrics.iter();
        let named = metrics.filter_map(|metric| {
            let value = metric.value.text(report)?;
            Some((metric.name.to_owned(), value))
        });
        Some(named.chain(listed).collect())
    }
}

/// One figure.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    /// What it is called by `QUORATE STATUS`, if that shows it.
    in_status: Option<&'static str>,
    value: Value,
}

/// How a figure is made.
#[derive(Debug)]
pub(super) enum Value {
    Number(fn(&Report<'_>) -> u64),
    Text(fn(&Report<'_>) -> String),
    Constant(&'static str),
    /// It is left out where it means nothing.
    Optional(fn(&Report<'_>) -> Option<u64>),
}

impl Value {
    fn text(&self, report: &Report<'_>) -> Option<String> {
        Some(match self {
            Self::Number(number) => number(report).to_string(),
            Self::Text(text) => text(report),
            Self::Constant(text) => (*text).to_owned(),
            Self::Optional(number) => number(report)?.to_string(),
        })
    }

    fn write(&self, report: &Report<'_>, writer: &mut ReplyWriter<'_>) {
        let number = match self {
            Self::Number(number) => Some(number(report)),
            Self::Optional(number) => number(report),
            Self::Text(text) => return writer.text(&text(report)),
            Self::Constant(text) => return writer.text(text),
        };
        match number {
            Some(number) => writer.integer(i64::try_from(number).unwrap_or(i64::MAX)),
            None => writer.null(),
        }
    }
}

/// What `QUORATE STATUS` shows, under the names that it has there.
pub(super) fn in_status() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let metrics = SECTIONS.iter().flat_map(|section| section.metrics);
    metrics.filter_map(|metric| Some((metric.in_status?, &metric.value)))
}

/// How many metrics `QUORATE STATUS` shows.
pub(in crate::shard) fn status_len() -> usize {
    in_status().count()
}

/// Writes these metrics, each as its name and its value.
pub(in crate::shard) fn write_status(report: &Report<'_>, writer: &mut ReplyWriter<'_>) {
    for (name, value) in in_status() {
        writer.text(name);
        value.write(report, writer);
    }
}

use Value::{Constant, Number, Optional, Text};

const fn row(name: &'static str, value: Value) -> Metric {
    Metric { name, in_status: None, value }
}

/// One that `QUORATE STATUS` shows as well.
const fn both(name: &'static str, value: Value) -> Metric {
    called(name, name, value)
}

/// One that it shows under another name.
const fn called(name: &'static str, in_status: &'static str, value: Value) -> Metric {
    Metric { name, in_status: Some(in_status), value }
}

const fn section(name: &'static str, metrics: &'static [Metric]) -> Section {
    Section { name, is_usual: true, needs_breakdown: false, metrics, listed: |_| Some(Vec::new()) }
}

const fn listed(name: &'static str, lines: fn(&Report<'_>) -> Option<Vec<Line>>) -> Section {
    Section { listed: lines, ..section(name, &[]) }
}

const fn counted(
    name: &'static str,
    is_usual: bool,
    lines: fn(&Report<'_>) -> Option<Vec<Line>>,
) -> Section {
    Section { is_usual, needs_breakdown: true, ..listed(name, lines) }
}

/// Every section, in the order in which they are shown.
pub(super) const SECTIONS: &[Section] = &[
    section("Server", SERVER),
    section("Clients", CLIENTS),
    section("Memory", MEMORY),
    section("Persistence", PERSISTENCE),
    section("Stats", STATS),
    section("Replication", REPLICATION),
    section("CPU", CPU),
    listed("Modules", |_| Some(module_lines())),
    Section { is_usual: false, ..section("Search", SEARCH) },
    counted("Commandstats", false, command_lines),
    counted("Errorstats", true, error_lines),
    counted("Latencystats", false, latency_lines),
    section("Cluster", CLUSTER),
    section("Quorate", QUORATE),
    listed("Keyspace", keyspace_lines),
    listed("Obligations", |report| Some(owed::lines(report))),
    listed("Entropy", |report| {
        let settings = report.node.settings.channel()?;
        Some(channel::lines(settings, &report.node.channel))
    }),
];

/// The modules of Redis whose commands are here, as Redis writes them.
fn module_lines() -> Vec<Line> {
    let line = |(name, version): (&str, i64)| {
        let rest = "api=1,filters=0,usedby=[],using=[],options=[]";
        ("module".to_owned(), format!("name={name},ver={version},{rest}"))
    };
    MODULES.into_iter().map(line).collect()
}

#[rustfmt::skip]
const SEARCH: &[Metric] = &[
    row("search_number_of_indexes", Number(|r| r.metrics.search.indexes)),
    row("search_used_memory_indexes", Number(|r| r.metrics.search.bytes)),
    row("search_total_active_queries", Number(|r| r.metrics.search.beside)),
    row("search_queries_stopped", Number(|r| r.metrics.search.stopped)),
    row("search_documents_refused", Number(|r| r.metrics.search.refused)),
];

#[rustfmt::skip]
const SERVER: &[Metric] = &[
    row("redis_version", Constant(REDIS_VERSION)),
    row("redis_git_sha1", Constant("00000000")),
    row("redis_git_dirty", Constant("0")),
    row("redis_build_id", Constant(concat!("quorate-", env!("CARGO_PKG_VERSION")))),
    called("quorate_version", "version", Constant(env!("CARGO_PKG_VERSION"))),
    row("redis_mode", Text(|r| mode(r.topology).to_owned())),
    row("os", Text(|_| operating_system())),
    row("arch_bits", Text(|_| usize::BITS.to_string())),
    row("monotonic_clock", Constant("POSIX clock_gettime")),
    row("multiplexing_api", Constant(if cfg!(target_os = "linux") { "epoll" } else { "kqueue" })),
    row("process_id", Text(|_| std::process::id().to_string())),
    row("process_supervised", Constant("no")),
    row("run_id", Text(|r| r.topology.member(r.topology.me()).id.to_cluster_id())),
    row("tcp_port", Text(|r| r.node.settings.listen.port().to_string())),
    row("server_time_usec", Text(|r| (u128::from(r.wall_ms) * 1000).to_string())),
    row("uptime_in_seconds", Number(uptime_seconds)),
    row("uptime_in_days", Number(|r| uptime_seconds(r) / 86_400)),
    row("hz", Constant("10")),
    row("configured_hz", Constant("10")),
    row("executable", Text(|_| executable())),
    row("config_file", Constant("")),
    row("io_threads_active", Constant("0")),
    row("shards", Text(|r| r.node.settings.shards.to_string())),
];

#[rustfmt::skip]
const CLIENTS: &[Metric] = &[
    row("connected_clients", Number(|r| r.metrics.clients)),
    row("cluster_connections", Number(|r| r.metrics.peers.values().filter(|peer| peer.up).count() as u64)),
    row("maxclients", Text(|r| r.node.adjustable.maxclients().to_string())),
    row("client_recent_max_input_buffer", Number(|r| r.buffers.input_max)),
    row("client_recent_max_output_buffer", Number(|r| r.buffers.output_max)),
    row("blocked_clients", Number(|r| r.metrics.blocked_clients)),
    row("tracking_clients", Constant("0")),
    row("clients_in_timeout_table", Constant("0")),
    row("total_blocking_keys", Constant("0")),
    row("total_blocking_keys_on_nokey", Constant("0")),
];

#[rustfmt::skip]
const MEMORY: &[Metric] = &[
    row("used_memory", Number(|r| r.process.resident_bytes)),
    row("used_memory_human", Text(|r| human(r.process.resident_bytes))),
    row("used_memory_rss", Number(|r| r.process.resident_bytes)),
    row("used_memory_rss_human", Text(|r| human(r.process.resident_bytes))),
    row("used_memory_peak", Number(|r| r.process.resident_bytes_max)),
    row("used_memory_peak_human", Text(|r| human(r.process.resident_bytes_max))),
    row("used_memory_peak_perc", Text(|r| percent(r.process.resident_bytes, r.process.resident_bytes_max))),
    row("total_system_memory", Number(|r| r.process.machine_bytes)),
    row("total_system_memory_human", Text(|r| human(r.process.machine_bytes))),
    row("used_memory_lua", Constant("0")),
    row("used_memory_vm_eval", Constant("0")),
    row("used_memory_scripts", Constant("0")),
    row("number_of_cached_scripts", Constant("0")),
    row("number_of_functions", Constant("0")),
    row("number_of_libraries", Constant("0")),
    row("maxmemory", Constant("0")),
    row("maxmemory_human", Constant("0B")),
    row("maxmemory_policy", Constant("noeviction")),
    row("mem_fragmentation_ratio", Constant("1.00")),
    row("mem_fragmentation_bytes", Constant("0")),
    row("mem_clients_normal", Number(|r| r.buffers.input + r.buffers.output)),
    row("mem_clients_slaves", Constant("0")),
    row("mem_replication_backlog", Constant("0")),
    row("active_defrag_running", Constant("0")),
    row("lazyfree_pending_objects", Constant("0")),
];

#[rustfmt::skip]
const PERSISTENCE: &[Metric] = &[
    row("loading", Constant("0")),
    row("async_loading", Constant("0")),
    row("current_cow_size", Constant("0")),
    row("rdb_changes_since_last_save", Optional(|r| (!r.node.settings.memory).then_some(r.metrics.unsynced))),
    row("rdb_bgsave_in_progress", Number(|r| r.metrics.saving.into())),
    row("rdb_last_save_time", Number(|r| u64::max(r.metrics.saved_ms, r.node.started_ms) / 1000)),
    row("rdb_last_bgsave_status", Text(|r| outcome(!r.metrics.failed))),
    row("rdb_last_cow_size", Constant("0")),
    row("aof_enabled", Number(|r| (!r.node.settings.memory).into())),
    row("aof_rewrite_in_progress", Number(|r| r.metrics.rewriting.into())),
    row("aof_rewrite_scheduled", Constant("0")),
    row("aof_pending_bio_fsync", Number(|r| r.metrics.syncing.into())),
    row("aof_last_write_status", Text(|r| outcome(!r.metrics.fitness.is(Unfit::ReadOnly)))),
    row("aof_last_bgrewrite_status", Text(|r| outcome(!r.metrics.failed))),
    row("aof_current_size", Optional(|r| (!r.node.settings.memory).then_some(r.metrics.log_bytes))),
    row("sync_policy", Text(|r| r.node.settings.sync.name().into())),
    both("log_failed", Number(|r| r.metrics.failed.into())),
    both("read_only", Number(|r| r.metrics.fitness.is(Unfit::ReadOnly).into())),
    row("scrub_running", Number(|r| r.metrics.scrubbing.into())),
    row("scrub_last_done_ms", Number(|r| r.metrics.scrubbed_ms)),
    row("scrub_keys_checked", Number(|r| r.metrics.scrub.keys)),
    row("scrub_bytes_checked", Number(|r| r.metrics.scrub.bytes)),
    row("scrub_mismatches", Number(|r| r.metrics.scrub.mismatches)),
    row("scrub_damages", Number(|r| r.metrics.scrub.damages)),
];

#[rustfmt::skip]
const STATS: &[Metric] = &[
    row("total_connections_received", Number(|r| r.metrics.counters.connections)),
    row("total_commands_processed", Number(|r| r.metrics.counters.commands)),
    row("instantaneous_ops_per_sec", Number(|r| r.metrics.counters.commands_per_second)),
    row("total_net_input_bytes", Number(|r| r.metrics.counters.input_bytes)),
    row("total_net_output_bytes", Number(|r| r.metrics.counters.output_bytes)),
    row("total_net_repl_input_bytes", Constant("0")),
    row("total_net_repl_output_bytes", Constant("0")),
    row("instantaneous_input_kbps", Text(|r| kilobytes(r.metrics.counters.input_bytes_per_second))),
    row("instantaneous_output_kbps", Text(|r| kilobytes(r.metrics.counters.output_bytes_per_second))),
    row("instantaneous_input_repl_kbps", Constant("0.00")),
    row("instantaneous_output_repl_kbps", Constant("0.00")),
    row("rejected_connections", Number(|r| r.metrics.counters.rejected_connections)),
    row("sync_full", Constant("0")),
    row("sync_partial_ok", Constant("0")),
    row("sync_partial_err", Constant("0")),
    row("expired_keys", Number(|r| r.metrics.expired)),
    row("evicted_keys", Constant("0")),
    row("evicted_clients", Constant("0")),
    row("total_eviction_exceeded_time", Constant("0")),
    row("current_eviction_exceeded_time", Constant("0")),
    row("keyspace_hits", Number(|r| r.metrics.counters.keyspace_hits)),
    row("keyspace_misses", Number(|r| r.metrics.counters.keyspace_misses)),
    row("pubsub_channels", Constant("0")),
    row("pubsub_patterns", Constant("0")),
    row("pubsubshard_channels", Constant("0")),
    row("latest_fork_usec", Constant("0")),
    row("total_forks", Constant("0")),
    row("migrate_cached_sockets", Constant("0")),
    row("slave_expires_tracked_keys", Constant("0")),
    row("tracking_total_keys", Constant("0")),
    row("tracking_total_items", Constant("0")),
    row("tracking_total_prefixes", Constant("0")),
    row("unexpected_error_replies", Constant("0")),
    row("total_error_replies", Number(|r| r.metrics.counters.error_replies)),
    row("total_reads_processed", Number(|r| r.metrics.counters.reads)),
    row("total_writes_processed", Number(|r| r.metrics.counters.writes)),
    row("acl_access_denied_auth", Number(|r| r.metrics.counters.denied_users)),
    row("acl_access_denied_cmd", Constant("0")),
    row("acl_access_denied_key", Constant("0")),
    row("acl_access_denied_channel", Constant("0")),
    row("tombstone_keys", Number(|r| r.metrics.tombstone_keys)),
    row("operations_in_flight", Number(|r| r.metrics.in_flight)),
    row("read_repairs", Number(|r| r.metrics.read_repairs)),
    row("read_repair_bytes", Number(|r| r.metrics.read_repair_bytes)),
];

#[rustfmt::skip]
const REPLICATION: &[Metric] = &[
    row("role", Constant("master")),
    row("connected_slaves", Constant("0")),
    row("master_failover_state", Constant("no-failover")),
    row("master_repl_offset", Constant("0")),
    row("second_repl_offset", Constant("-1")),
    row("repl_backlog_active", Constant("0")),
    row("repl_backlog_size", Constant("0")),
    row("repl_backlog_first_byte_offset", Constant("0")),
    row("repl_backlog_histlen", Constant("0")),
];

#[rustfmt::skip]
const CPU: &[Metric] = &[
    row("used_cpu_sys", Text(|r| format!("{:.6}", r.process.system_seconds))),
    row("used_cpu_user", Text(|r| format!("{:.6}", r.process.user_seconds))),
    row("used_cpu_sys_children", Text(|r| format!("{:.6}", r.process.children_system_seconds))),
    row("used_cpu_user_children", Text(|r| format!("{:.6}", r.process.children_user_seconds))),
];

#[rustfmt::skip]
const CLUSTER: &[Metric] = &[
    row("cluster_enabled", Number(|r| is_cluster(r.topology).into())),
];

#[rustfmt::skip]
const QUORATE: &[Metric] = &[
    called("node_name", "name", Text(|r| r.topology.member(r.topology.me()).name.clone())),
    called("node_id", "id", Text(|r| r.topology.member(r.topology.me()).id.to_string())),
    called("cluster_name", "cluster", Text(|r| r.node.settings.cluster.clone())),
    row("datacentre", Text(|r| r.topology.member(r.topology.me()).datacentre.clone())),
    row("rack", Text(|r| r.topology.member(r.topology.me()).rack.clone())),
    both("links", Text(|r| if r.node.security.has_secret() { "secret" } else { "open" }.into())),
    both("epoch", Number(|r| r.topology.epoch())),
    both("sealed", Number(|r| r.topology.sealed().into())),
    both("replication_factor", Number(|r| r.topology.local_factor().into())),
    both("ready", Number(|r| (!r.metrics.fitness.is(Unfit::CatchingUp) && r.node.footing().founded).into())),
    both("incomplete", Number(|r| r.metrics.fitness.is(Unfit::Incomplete).into())),
    both("waits_for", Text(|r| r.node.footing().awaited.join(", "))),
    both("awaited_peers", Number(|r| r.metrics.awaited)),
    both("clock_in_doubt", Number(|r| r.metrics.fitness.is(Unfit::ClockInDoubt).into())),
    both("clock_contradicted", Number(|r| r.metrics.clock_contradicted.into())),
    both("weight", Number(|r| r.topology.member(r.topology.me()).duties.weight.into())),
    both("drained", Number(|r| r.topology.member(r.topology.me()).duties.is_drained.into())),
    both("keys", Number(|r| r.metrics.keys)),
    both("log_bytes", Number(|r| r.metrics.log_bytes)),
    row("round_bytes", Number(|r| r.metrics.moved_bytes)),
    row("members", Number(|r| r.topology.len() as u64)),
    row("peers_up", Number(|r| r.metrics.peers.values().filter(|peer| peer.up).count() as u64)),
    row("hints_pending", Number(|r| r.metrics.peers.values().map(|peer| peer.hints).sum())),
    both("hint_bytes", Number(|r| r.metrics.hint_bytes)),
    both("clock_dots_pulled", Number(|r| r.metrics.clocks.pulled)),
    row("clock_dots_absent", Number(|r| r.metrics.clocks.absent)),
    both("clock_dots_pended", Number(|r| r.metrics.clocks.pended)),
    row("clock_bytes", Number(|r| r.metrics.clocks.bytes)),
    row("clock_recent_bytes", Number(|r| r.metrics.recent_bytes)),
];

/// An empty database has no line.
fn keyspace_lines(report: &Report<'_>) -> Option<Vec<Line>> {
    let metrics = &report.metrics;
    let Some(moment) = metrics.expiry_moments_ms.checked_div(u128::from(metrics.expiring)) else {
        let line = format!("keys={},expires=0,avg_ttl=0", metrics.keys);
        return Some((metrics.keys > 0).then(|| ("db0".to_owned(), line)).into_iter().collect());
    };
    let ttl_ms = moment.saturating_sub(u128::from(report.wall_ms));
    let line = format!("keys={},expires={},avg_ttl={ttl_ms}", metrics.keys, metrics.expiring);
    Some(vec![("db0".to_owned(), line)])
}

fn command_lines(report: &Report<'_>) -> Option<Vec<Line>> {
    let lines = report.breakdown.commands.iter().map(|(id, tally)| {
        let each = tally.micros as f64 / u64::max(tally.calls, 1) as f64;
        let text = format!(
            "calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
            tally.calls, tally.micros, tally.rejected, tally.failed
        );
        (format!("cmdstat_{id}"), text)
    });
    Some(lines.collect())
}

fn error_lines(report: &Report<'_>) -> Option<Vec<Line>> {
    let lines = report.breakdown.errors.iter();
    Some(
        lines
            .map(|(code, count)| (format!("errorstat_{code}"), format!("count={count}")))
            .collect(),
    )
}

fn latency_lines(report: &Report<'_>) -> Option<Vec<Line>> {
    let called = report.breakdown.commands.iter().filter(|(_, tally)| tally.calls > 0);
    let lines = called.map(|(id, tally)| {
        let [half, most, all] = [50.0, 99.0, 99.9].map(|percent| tally.latency.percentile(percent));
        let text = format!("p50={half}.000,p99={most}.000,p99.9={all}.000");
        (format!("latency_percentiles_usec_{id}"), text)
    });
    Some(lines.collect())
}

fn uptime_seconds(report: &Report<'_>) -> u64 {
    report.wall_ms.saturating_sub(report.node.started_ms) / 1000
}

fn operating_system() -> String {
    let name = rustix::system::uname();
    let part = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!("{} {} {}", part(name.sysname()), part(name.release()), part(name.machine()))
}

fn executable() -> String {
    std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default()
}

fn outcome(is_fine: bool) -> String {
    if is_fine { "ok" } else { "err" }.to_owned()
}

fn kilobytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1024.0)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", 100.0 * part as f64 / u64::max(whole, 1) as f64)
}

/// Bytes for people, as Redis writes them.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let unit = UNITS.into_iter().find(|(size, _)| bytes >= *size);
    unit.map_or(format!("{bytes}B"), |(size, name)| {
        format!("{:.2}{name}", bytes as f64 / size as f64)
    })
}
