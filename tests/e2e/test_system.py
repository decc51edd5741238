"""What a node says of itself, beside a real redis-server where that decides."""

import subprocess
import time

import pytest

from nodes import wait_until

# Figures of Redis 7.0 that mean nothing here, by why: a node has no fork, no snapshot file, no allocator of
# its own, no replication log, no scripts' heap, and no main thread.
MEANINGLESS_PREFIXES = (
    "active_defrag", "allocator_", "aof_", "current_", "expire_cycle", "expired_", "io_threaded", "lazyfreed",
    "master_replid", "mem_", "module_fork", "rdb_", "reply_buffer", "rss_overhead", "total_active_defrag",
    "used_cpu_sys_main", "used_cpu_user_main", "used_memory_", "atomicvar_api", "gcc_version", "lru_clock",
    "dump_payload",
)


def info(connection, *sections):
    text = connection("INFO", *sections)[1].decode()
    lines = [line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#")]
    return dict(lines)


def counted(value):
    return {name: number for name, number in (part.split("=") for part in value.split(","))}


def test_info_has_what_tools_read(shared_node, redis_server):
    ours, theirs = shared_node.raw(), redis_server.raw()
    mine, expected = info(ours, "everything"), info(theirs, "everything")
    missing = {name for name in expected if not name.startswith(("cmdstat", "errorstat", "latency", "db"))} - set(mine)
    assert {name for name in missing if not name.startswith(MEANINGLESS_PREFIXES)} == set()
    for needed in ("arch_bits", "redis_git_sha1", "blocked_clients", "total_connections_received", "used_cpu_sys",
                   "instantaneous_ops_per_sec", "mem_fragmentation_ratio", "used_memory_peak_human"):
        assert needed in mine
    assert mine["arch_bits"] == "64"
    assert mine["cluster_enabled"] == "0"
    for section in ("server", "CLIENTS", "commandstats", "modules", "keyspace", "nosuch"):
        heads = [[line for line in connection("INFO", section)[1].decode().splitlines() if line.startswith("#")]
                 for connection in (ours, theirs)]
        assert heads[0] == heads[1]
    several = ours("INFO", "keyspace", "cpu", "server")[1].decode()
    assert [line for line in several.splitlines() if line.startswith("#")] == ["# Server", "# CPU", "# Keyspace"]
    assert "# Commandstats" not in ours("INFO")[1].decode()
    ours.close()
    theirs.close()


def test_keys_and_their_times_to_live_are_true_at_once(shared_node, redis_server):
    for server in (shared_node, redis_server):
        connection = server.raw()
        connection("FLUSHALL")
        assert "db0" not in info(connection, "keyspace")
        for number in range(50):
            connection("SET", f"k{number}", "v", "EX", "1000")
        for number in range(25):
            connection("SET", f"k{number}", "w")
        found = counted(info(connection, "keyspace")["db0"])
        assert (found["keys"], found["expires"]) == ("50", "25")
        connection("PERSIST", "k30")
        connection("DEL", "k31")
        assert counted(info(connection, "keyspace")["db0"])["expires"] == "23"
        connection("FLUSHALL")
        assert "db0" not in info(connection, "keyspace")
        connection.close()
    connection = shared_node.raw()
    connection("SET", "a", "1", "EX", "1000")
    connection("SET", "b", "1", "EX", "3000")
    # Redis takes a sample now and then; here it is the average of all.
    assert 1_900_000 < int(counted(info(connection, "keyspace")["db0"])["avg_ttl"]) <= 2_000_000
    connection.close()


SCRIPT = [
    "SET a 1", "GET a", "GET nope", "MGET a nope a", "EXISTS a nope", "HSET h f v", "HGET h f", "HGET nope f",
    "HGETALL a", "INCR h", "SADD s a b", "SMEMBERS s", "SINTER s nope", "TTL a", "TYPE nope", "STRLEN a", "DEL a h s",
    "GET", "SET a 1 NOPE", "CONFIG GET maxmemory", "CONFIG NOPE", "CLIENT SETNAME", "NOSUCH x", "APPEND s x", "SADD s x",
]


def test_commands_errors_and_lookups_are_counted_as_in_redis(shared_node, redis_server):
    def run(server):
        connection = server.raw()
        connection("FLUSHALL")
        assert connection("CONFIG", "RESETSTAT") == (b"+", b"OK")
        for line in SCRIPT:
            connection(*line.split())
        found = info(connection, "everything")
        connection.close()
        stats = {}
        for name, value in found.items():
            if name.startswith("cmdstat_"):
                fields = counted(value)
                stats[name] = tuple(fields[field] for field in ("calls", "rejected_calls", "failed_calls"))
            elif name.startswith("errorstat_"):
                stats[name] = value
        latencies = {name for name in found if name.startswith("latency_percentiles_usec_")}
        totals = {name: found[name] for name in ("keyspace_hits", "keyspace_misses", "total_error_replies",
                                                 "total_commands_processed")}
        return stats, latencies, totals

    (stats, latencies, totals), (their_stats, their_latencies, their_totals) = run(shared_node), run(redis_server)
    assert stats == their_stats
    assert latencies == their_latencies
    assert totals == their_totals


def test_connections_and_bytes_are_counted(shared_node):
    connection = shared_node.raw()
    connection("CONFIG", "RESETSTAT")
    others = [shared_node.raw() for _ in range(3)]
    for other in others:
        assert other("ECHO", "x" * 1000)[1] == b"x" * 1000
    found = info(connection)
    assert found["total_connections_received"] == "3"
    assert found["connected_clients"] == "4"
    assert 3_000 < int(found["total_net_input_bytes"]) < 5_000
    assert 3_000 < int(found["total_net_output_bytes"]) < 5_000
    for other in others:
        other.close()
    wait_until(lambda: info(connection)["connected_clients"] == "1", 10, "clients are gone")
    connection.close()


def test_redis_cli_stat_prints_what_holds(shared_node):
    connection = shared_node.raw()
    connection("FLUSHALL")
    for number in range(17):
        connection("SET", f"k{number}", "v")
    cli = subprocess.Popen(["stdbuf", "-oL", "redis-cli", "-p", str(shared_node.port), "--stat", "-i", "0.05"],
                           stdout=subprocess.PIPE, text=True)
    lines = [cli.stdout.readline().split() for _ in range(5)]
    cli.kill()
    cli.wait()
    cli.stdout.close()
    keys, memory, clients, blocked, requests, _, connections = lines[-1]
    assert (keys, clients, blocked) == ("17", "2", "0")
    assert memory.endswith("M") and int(requests) >= 17 and int(connections) >= 2
    connection.close()


def test_slow_commands_are_kept_from_every_shard(shared_node):
    connection = shared_node.raw()
    assert connection("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "5") == (b"+", b"OK")
    connection("CLIENT", "SETNAME", "me")
    connection("SLOWLOG", "RESET")
    for number in range(8):
        connection("GET", f"k{number}")
    assert connection("CONFIG", "SET", "slowlog-log-slower-than", "-1") == (b"+", b"OK")
    entries = connection("SLOWLOG", "GET", "-1")[1]
    assert len(entries) == 5 and connection("SLOWLOG", "LEN") == (b":", b"5")
    ids = [int(entry[1][0][1]) for entry in entries]
    assert ids == sorted(ids, reverse=True)
    newest = entries[1][1]
    assert newest[3] == (b"*", [(b"$", b"GET"), (b"$", b"k7")])
    assert newest[5] == (b"$", b"me") and abs(int(newest[1][1]) - time.time()) < 60
    assert len(connection("SLOWLOG", "GET", "2")[1]) == 2
    assert connection("SLOWLOG", "RESET") == (b"+", b"OK")
    assert connection("SLOWLOG", "LEN") == (b":", b"0")
    connection("CONFIG", "SET", "slowlog-log-slower-than", "10000", "slowlog-max-len", "128")
    connection.close()


@pytest.mark.parametrize("line", [
    "CONFIG SET nosuch 1", "CONFIG SET databases 2", "CONFIG SET databases 2 timeout 5", "CONFIG SET timeout x", "CONFIG SET maxclients 0x",
    "CONFIG SET timeout 1 timeout 2", "CONFIG SET timeout", "CONFIG SET timeout 1 maxclients", "CONFIG SET save ''",
    "CONFIG SET timeout 0", "CONFIG SET maxmemory 0", "CONFIG REWRITE", "CONFIG RESETSTAT x",
    "SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG NOPE", "SLOWLOG", "LATENCY LATEST", "LATENCY HISTORY x", "LATENCY RESET",
    "LATENCY NOPE", "CONFIG GET maxmemory-policy hz", "CONFIG GET notify-keyspace-events", "CONFIG GET slowlog-*",
    "CONFIG GET proto-max-bulk-len", "CONFIG GET timeout", "CONFIG GET hash-max-listpack-*", "CONFIG GET set-max-intset-entries",
])
def test_configuration_answers_like_redis(shared_node, redis_server, line):
    words = ["" if word == "''" else word for word in line.split()]
    ours, theirs = shared_node.raw(), redis_server.raw()
    mine, expected = ours(*words), theirs(*words)
    if isinstance(mine[1], list):
        mine, expected = ((kind, sorted(map(str, value))) for kind, value in (mine, expected))
    assert mine == expected
    ours.close()
    theirs.close()


def test_changed_parameters_are_obeyed(node):
    first = node.raw()
    wait_until(lambda: info(first)["connected_clients"] == "1", 10, "it is the only one")
    assert first("CONFIG", "SET", "maxclients", "2") == (b"+", b"OK")
    second = node.raw()
    assert second("PING") == (b"+", b"PONG")
    third = node.raw()
    assert third.read() == (b"-", b"ERR max number of clients reached")
    assert info(first)["rejected_connections"] == "1" and info(first)["maxclients"] == "2"
    assert first("CONFIG", "SET", "maxclients", "1048576")[0] in b"+-"
    assert first("CONFIG", "SET", "quorate-read-level", "ONE", "quorate-write-level", "nope")[0] == b"-"
    assert first("CONFIG", "GET", "quorate-read-level")[1][1] == (b"$", b"LOCAL_QUORUM")
    assert first("CONFIG", "SET", "maxclients", "100", "quorate-read-level", "ONE") == (b"+", b"OK")
    fourth = node.raw()
    assert fourth("QUORATE", "LEVEL")[1][1] == (b"$", b"ONE")
    assert first("QUORATE", "LEVEL")[1][1] == (b"$", b"LOCAL_QUORUM")
    assert first("CONFIG", "SET", "timeout", "1") == (b"+", b"OK")
    assert fourth.file.read() == b"", "a silent client is disconnected"
    fifth = node.raw()
    assert fifth("CONFIG", "GET", "timeout")[1][1] == (b"$", b"1")
    assert fifth("CONFIG", "SET", "timeout", "0") == (b"+", b"OK")
    for connection in (first, second, third, fourth, fifth):
        connection.close()


def test_durations_of_commands_are_told_by_powers_of_two(shared_node):
    connection = shared_node.raw()
    connection("CONFIG", "RESETSTAT")
    for _ in range(10):
        connection("GET", "k")
    found = connection("LATENCY", "HISTOGRAM", "get", "nope")[1]
    assert found[0] == (b"$", b"get")
    calls, number, name, buckets = found[1][1]
    assert (calls, number, name) == ((b"$", b"calls"), (b":", b"10"), (b"$", b"histogram_usec"))
    bounds, counts = [int(each[1]) for each in buckets[1][::2]], [int(each[1]) for each in buckets[1][1::2]]
    assert counts[-1] == 10 and counts == sorted(counts)
    assert all(bound & (bound - 1) == 0 for bound in bounds)
    connection.close()
