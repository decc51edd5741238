"""What a node says of itself, beside a real redis-server where that decides."""

import subprocess
import time

import pytest

from nodes import Node, encode, wait_until

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
    # Commands of a transaction are counted once they are executed.
    "MULTI", "SET {t}a x", "INCR {t}a", "SADD {t}a b", "PING", "GET {t}a", "EXEC",
    "WATCH {t}a", "SET {t}a 2", "MULTI", "GET {t}a", "INCR {t}a", "EXEC", "MULTI", "GET {t}a", "DISCARD",
    "MULTI", "GET {t}a", "NOSUCH", "HGET {t}a", "EXEC", "MULTI", "PING", "ECHO x", "SELECT 1", "EXEC",
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
    "SLOWLOG GET 1 2", "DEBUG SLEEP abc", "DEBUG SLEEP 0.001x", "SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG NOPE", "SLOWLOG", "LATENCY LATEST", "LATENCY HISTORY x", "LATENCY RESET",
    "LATENCY NOPE", "CONFIG GET maxmemory-policy hz", "CONFIG GET notify-keyspace-events", "CONFIG GET slowlog-*",
    "ACL WHOAMI", "ACL USERS", "ACL LIST", "ACL GETUSER default", "ACL GETUSER nope", "ACL CAT nope", "ACL LOG RESET", "REPLICAOF NO ONE",
    "CONFIG SET maxmemory-clients 0%", "CONFIG SET maxmemory-clients 101%", "CONFIG SET maxmemory-clients %", "CONFIG SET maxmemory-clients -1%",
    "CONFIG SET maxmemory-clients x", "CONFIG SET client-output-buffer-limit ''", "LATENCY GRAPH command", "LATENCY GRAPH", "ACL CAT a b",
    "CLIENT UNBLOCK 1 ERROR x", "CLIENT UNBLOCK x FOO", "COMMAND LIST FILTERBY PATTERN config|*",
    "ACL LOG x", "ACL DRYRUN default GET a", "ACL DRYRUN nope GET a", "ACL DRYRUN default nope", "ACL NOPE", "ACL",
    "FUNCTION LIST", "FUNCTION FLUSH", "FUNCTION FLUSH x", "FUNCTION FLUSH SYNC", "FUNCTION DELETE x", "FUNCTION KILL",
    "SCRIPT EXISTS a b", "SCRIPT EXISTS", "SCRIPT FLUSH", "SCRIPT FLUSH ASYNC", "SCRIPT FLUSH x", "SCRIPT KILL",
    "ROLE", "SWAPDB 0 0", "SWAPDB 0 99", "SWAPDB x 0", "SWAPDB 0 x", "SWAPDB 0", "SAVE x", "BGSAVE x",
    "MEMORY USAGE nope", "MEMORY USAGE a SAMPLES x", "MEMORY USAGE a SAMPLES -1", "MEMORY USAGE a FOO 1", "MEMORY PURGE", "MEMORY NOPE",
    "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "CLIENT UNBLOCK 5", "CLIENT UNBLOCK x", "CLIENT UNBLOCK 5 ERROR", "CLIENT UNBLOCK 5 x",
    "CLIENT NO-EVICT ON", "CLIENT NO-EVICT x", "CLIENT REPLY x", "CLIENT REPLY", "CLIENT PAUSE x", "CLIENT PAUSE -1", "CLIENT PAUSE 1 x",
    "CLIENT PAUSE 0", "CLIENT UNPAUSE", "CLIENT KILL 1.2.3.4:5", "CLIENT KILL ID 0", "CLIENT KILL ID x", "CLIENT KILL TYPE x",
    "CLIENT KILL USER x", "CLIENT KILL ADDR", "CLIENT KILL ADDR 1.2.3.4:5", "CLIENT KILL ID 999999 TYPE normal", "CLIENT KILL TYPE replica",
    "CLIENT KILL SKIPME x", "CLIENT LIST TYPE x", "CLIENT LIST TYPE pubsub", "CLIENT LIST TYPE replica", "CLIENT LIST ID x",
    "CLIENT LIST ID 999999", "CLIENT LIST FOO", "CLIENT LIST TYPE", "WAIT 0 0", "WAIT -1 0", "WAIT x 1", "WAIT 1 x", "WAIT 1 -1", "WAIT 1 20",
    "COMMAND LIST FOO", "COMMAND LIST FILTERBY x y", "COMMAND LIST FILTERBY MODULE x", "COMMAND LIST FILTERBY ACLCAT nope",
    "COMMAND LIST FILTERBY PATTERN hs*", "COMMAND GETKEYSANDFLAGS GET a", "COMMAND GETKEYSANDFLAGS MGET a b", "COMMAND GETKEYS PING",
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


@pytest.mark.parametrize("value", ["normal 0 0 0 ", " normal 0 0 0", "normal 0  0 0", "normal\t0 0 0", " ", "normal 0 0 0 slave 0 0 0"])
def test_limits_of_output_are_read_like_redis(shared_node, redis_server, value):
    line = ("CONFIG", "SET", "client-output-buffer-limit", value)
    ours, theirs = shared_node.raw(), redis_server.raw()
    assert ours(*line) == theirs(*line)
    ours.close()
    theirs.close()


def test_percents_of_no_limit_are_none(node):
    connection = node.raw()
    assert connection("CONFIG", "SET", "maxmemory-clients", "5%") == (b"+", b"OK")
    assert connection("CONFIG", "GET", "maxmemory-clients")[1][1] == (b"$", b"0")
    connection.close()


WORD = b"f\xff"


@pytest.mark.parametrize("line", [
    (WORD, b"a\xc3", b"b\0c", b"d"), (b"f\0g", b"x"), (b"f" * 200, b"\xc3\xa9" * 100, b"y"), ("CLIENT", WORD), ("CLIENT", b"f\0"), ("CONFIG", "SET", WORD, "1"),
    ("CONFIG", "SET", b"f\0g", "1"), ("HELLO", "3", WORD), ("CLIENT", "KILL", "TYPE", WORD), ("CLIENT", "LIST", "TYPE", WORD),
    ("CLIENT", "KILL", "USER", WORD), ("ACL", "CAT", WORD), ("ACL", "DRYRUN", WORD, "get"), ("ACL", "DRYRUN", "default", WORD),
    ("EXPIRE", "k", "1", WORD), ("LATENCY", "GRAPH", WORD), ("FUNCTION", "LIST", WORD), (b"\xf4\x8f\xbe\x80",), ("DEBUG", "ERROR", b"A \xff\r\nb"),
], ids=repr)
def test_errors_show_the_bytes_of_words(shared_node, redis_server, line):
    ours, theirs = shared_node.raw(), redis_server.raw()
    assert ours(*line) == theirs(*line)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("line", ["HELLO 3 SETNAME x FOO", "HELLO 2 SETNAME x AUTH nope y", "HELLO 4 SETNAME x", "HELLO 2 SETNAME x SETNAME y", "HELLO 2 SETNAME"])
def test_a_name_holds_although_a_later_option_is_wrong(shared_node, redis_server, line):
    ours, theirs = shared_node.raw(), redis_server.raw()
    mine, expected = ours(*line.split()), theirs(*line.split())
    assert mine[0] == expected[0] and (mine[0] == b"*" or mine == expected)
    assert ours("CLIENT", "GETNAME") == theirs("CLIENT", "GETNAME")
    ours.close()
    theirs.close()


def test_lists_of_commands_name_subcommands_and_categories_are_strings(shared_node):
    connection = shared_node.raw()
    names = [name for _, name in connection("COMMAND", "LIST")[1]]
    assert {b"get", b"config", b"config|get", b"client|id"} <= set(names) and len(names) == len(set(names))
    assert {kind for kind, _ in connection("ACL", "CAT")[1]} == {b"$"}
    connection.close()


def test_cluster_commands_without_a_bus(shared_cluster):
    connection = shared_cluster[0].raw()
    id = connection("CLUSTER", "MYID")[1]
    assert connection("CLUSTER", "LINKS") == (b"*", [])
    assert connection("CLUSTER", "REPLICAS", id) == connection("CLUSTER", "SLAVES", id) == (b"*", [])
    assert connection("CLUSTER", "REPLICAS", "x") == (b"-", b"ERR Unknown node x")
    connection.close()


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


def test_who_was_denied_is_told_as_in_redis(shared_node, redis_server):
    def run(server):
        connection = server.raw()
        connection("ACL", "LOG", "RESET")
        connection("CONFIG", "RESETSTAT")
        for words in (("AUTH", "other", "x"), ("AUTH", "default", "x"), ("AUTH", "other", "y"), ("HELLO", "2", "AUTH", "third", "x")):
            connection(*words)
        entries = [dict(zip([each[1] for each in entry[1][::2]], [each[1] for each in entry[1][1::2]]))
                   for entry in connection("ACL", "LOG")[1]]
        first = len(connection("ACL", "LOG", "1")[1])
        connection.close()
        names = (b"count", b"reason", b"context", b"object", b"username")
        assert all(float(entry[b"age-seconds"]) < 60 and b"addr=" in entry[b"client-info"] for entry in entries)
        return [[entry[name] for name in names] for entry in entries], first

    mine, theirs = run(shared_node), run(redis_server)
    assert mine == theirs
    connection = shared_node.raw()
    assert info(connection)["acl_access_denied_auth"] == "3"
    connection.close()


def test_clients_are_listed_and_closed(shared_node):
    first, second, third = (shared_node.raw() for _ in range(3))
    ids = [connection("CLIENT", "ID")[1] for connection in (first, second, third)]

    def listed(*words):
        lines = first("CLIENT", "LIST", *words)[1].decode().splitlines()
        return [dict(field.split("=", 1) for field in line.split(" ")) for line in lines]

    assert [line["id"] for line in listed()] == sorted((line["id"] for line in listed()), key=int)
    assert {line["id"] for line in listed("ID", ids[1], ids[2])} == {ids[1].decode(), ids[2].decode()}
    assert {each.decode() for each in ids} <= {line["id"] for line in listed("TYPE", "normal")}
    assert first("CLIENT", "KILL", "ID", ids[1]) == (b":", b"1")
    assert second.file.read() == b""
    third("CLIENT", "NO-EVICT", "ON")
    third("CLIENT", "NO-TOUCH", "ON")
    about = listed("ID", ids[2])[0]
    assert about["flags"] == "eT"
    assert first("CLIENT", "KILL", about["addr"]) == (b"+", b"OK")
    assert third.file.read() == b""
    assert first("CLIENT", "KILL", "ID", ids[0]) == (b":", b"0"), "oneself is skipped unless it is asked for"
    assert first("CLIENT", "KILL", "ID", ids[0], "SKIPME", "no") == (b":", b"1")
    assert first.file.read() == b""


def test_a_client_that_does_not_read_can_be_closed(node):
    admin, stuck = node.raw(), node.raw()
    admin("SET", "big", "x" * 1_000_000)
    stuck_id = stuck("CLIENT", "ID")[1]
    stuck.send(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 100)
    assert admin("CLIENT", "KILL", "ID", stuck_id) == (b":", b"1")
    wait_until(lambda: info(admin)["connected_clients"] == "1", 10, "the client is gone")
    for connection in (admin, stuck):
        connection.close()


def test_replies_can_be_turned_off(shared_node, redis_server):
    for server in (shared_node, redis_server):
        connection = server.raw()
        for words in (("CLIENT", "REPLY", "OFF"), ("SET", "k", "1"), ("MGET", "k", "other"), ("DBSIZE",), ("NOPE",), ("GET",),
                      ("CLIENT", "REPLY", "ON"), ("INCR", "k"), ("CLIENT", "REPLY", "SKIP"), ("INCR", "k"), ("INCR", "k")):
            connection.send(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        assert [connection.read() for _ in range(3)] == [(b"+", b"OK"), (b":", b"2"), (b":", b"4")]
        connection.close()


def test_a_skipped_reply_is_one(shared_node, redis_server):
    skip = ("CLIENT", "REPLY", "SKIP")
    script = [skip, ("NOPE",), ("GET",), skip, ("GET",), ("ECHO", "1"), skip, ("CLIENT", "NOPE"), ("ECHO", "2"), skip, skip, ("ECHO", "3"),
              ("ECHO", "4"), skip, ("MGET", "a", "b"), ("MGET", "a", "b"), skip, ("KEYS", "nope"), ("ECHO", "5"), ("CLIENT", "REPLY", "OFF"), skip,
              ("ECHO", "6"), ("ECHO", "7"), ("CLIENT", "REPLY", "ON"), ("ECHO", "8")]

    def run(server):
        connection = server.raw()
        connection("FLUSHALL")
        connection.send(b"".join(encode(*words) for words in script))
        replies = [connection.read()]
        while replies[-1] != (b"$", b"8"):
            replies.append(connection.read())
        connection.close()
        return replies

    assert run(shared_node) == run(redis_server)


@pytest.mark.parametrize("empty", [b"\r\n", b"*0\r\n", b"*-1\r\n", b" \r\n"])
def test_a_command_without_words_has_the_skipped_reply(shared_node, redis_server, empty):
    for server in (shared_node, redis_server):
        connection = server.raw()
        connection.send(encode("CLIENT", "REPLY", "SKIP") + empty + encode("ECHO", "1"))
        assert connection.read() == (b"$", b"1")
        connection.send(empty + encode("CLIENT", "REPLY", "SKIP"))
        connection.send(encode("ECHO", "2") + encode("ECHO", "3"))
        assert connection.read() == (b"$", b"3")
        connection.close()


def test_a_pause_is_only_extended(shared_node, redis_server):
    for server in (shared_node, redis_server):
        admin, other = server.raw(), server.raw()
        for pause in (("60000", "WRITE"), ("1", "WRITE")):
            assert admin("CLIENT", "PAUSE", *pause) == (b"+", b"OK")
        other.send(encode("INCR", "k"))
        wait_until(lambda: info(admin)["blocked_clients"] == "1", 10, "the write waits")
        lines = [line for line in admin("CLIENT", "LIST")[1].decode().splitlines() if " cmd=incr " in line]
        assert len(lines) == 1 and " flags=b " in lines[0], server
        assert admin("CLIENT", "UNPAUSE") == (b"+", b"OK")
        assert other.read()[0] == b":"
        assert info(admin)["blocked_clients"] == "0"
        before = time.monotonic()
        assert admin("CLIENT", "PAUSE", "300", "WRITE") == (b"+", b"OK")
        assert admin("CLIENT", "PAUSE", "1", "ALL") == (b"+", b"OK")
        assert other("PING") == (b"+", b"PONG")
        assert time.monotonic() - before >= 0.29, "the stricter kind holds as long as the longer time"
        other.send(encode("WAIT", "9", "60000"))
        wait_until(lambda: info(admin)["blocked_clients"] == "1", 10, "it waits")
        for connection in (admin, other):
            connection.close()


def test_lines_of_clients_have_the_fields_of_redis(shared_node, redis_server):
    def line(server):
        connection = server.raw()
        connection("CLIENT", "SETNAME", "me")
        line = next(line for line in connection("CLIENT", "LIST")[1].decode().splitlines() if " name=me " in line)
        connection.close()
        return dict(field.split("=", 1) for field in line.split(" "))

    mine, theirs = line(shared_node), line(redis_server)
    assert list(mine)[:len(theirs)] == list(theirs)
    numbers = {"id", "fd", "qbuf", "qbuf-free", "argv-mem", "rbs", "rbp", "tot-mem"}
    for name in set(theirs) - numbers - {"addr", "laddr"}:
        assert mine[name] == theirs[name], name
    assert int(mine["fd"]) > 2 and int(mine["tot-mem"]) > 0


def test_a_pause_holds_commands_back(shared_node):
    admin, other = shared_node.raw(), shared_node.raw()
    admin("SET", "k", "1")
    assert admin("CLIENT", "PAUSE", "60000", "WRITE") == (b"+", b"OK")
    assert other("GET", "k") == (b"$", b"1"), "reads go on"
    for words in (b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"):
        other.send(words)
    assert admin("GET", "k") == (b"$", b"1"), "the write waits"
    assert admin("CLIENT", "UNPAUSE") == (b"+", b"OK")
    assert [other.read(), other.read()] == [(b":", b"2"), (b"$", b"2")], "and what is behind it in order"
    before = time.monotonic()
    assert admin("CLIENT", "PAUSE", "300") == (b"+", b"OK")
    assert other("PING") == (b"+", b"PONG")
    assert time.monotonic() - before >= 0.29
    for connection in (admin, other):
        connection.close()


def test_a_pause_without_an_end_is_none(node, redis_server):
    for server in (node, redis_server):
        admin = server.raw()
        assert admin("CLIENT", "PAUSE", str(2**63 - 1)) == (b"+", b"OK")
        assert admin("PING") == (b"+", b"PONG")
        assert admin("CLIENT", "PAUSE", "-1")[0] == b"-"


def test_operators_look_at_a_node_whose_clients_are_paused(node):
    admin = node.raw()
    assert admin("CLIENT", "PAUSE", "60000", "ALL") == (b"+", b"OK")
    assert node.raw()("QUORATE", "STATUS")[0] != b"-"


def test_no_node_is_a_replica_of_another(shared_node, redis_server):
    for name in ("replicaof", "slaveof"):
        assert shared_node.raw()("CONFIG", "GET", name) == redis_server.raw()("CONFIG", "GET", name)


def test_a_sleeping_connection_holds_up_nobody(node):
    sleeper, other = node.raw(), node.raw()
    sleeper.send(b"*3\r\n$5\r\nDEBUG\r\n$5\r\nSLEEP\r\n$3\r\n1.5\r\n*1\r\n$4\r\nPING\r\n")
    before = time.monotonic()
    for number in range(100):
        assert other("SET", f"k{number}", "v") == (b"+", b"OK")
    assert time.monotonic() - before < 1.4
    assert [sleeper.read(), sleeper.read()] == [(b"+", b"OK"), (b"+", b"PONG")]
    assert time.monotonic() - before >= 1.5
    for connection in (sleeper, other):
        connection.close()


def test_expired_keys_stay_while_their_removal_is_off(node):
    connection = node.raw()
    connection("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    connection("SET", "k", "v", "PX", "1")
    connection("SET", "other", "v")
    wait_until(lambda: connection("GET", "k") == (b"$", None), 5, "it is past its time")
    time.sleep(0.5)
    assert counted(info(connection, "keyspace")["db0"])["keys"] == "2"
    connection("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    wait_until(lambda: counted(info(connection, "keyspace")["db0"])["keys"] == "1", 5, "it is removed")
    connection.close()


def test_saves_are_on_disk(tmp_path):
    server = Node(tmp_path / "node", arguments=["--sync", "no", "--shards", "2"]).start()
    connection = server.raw()
    for number in range(100):
        connection("SET", f"k{number}", "v")
    assert int(info(connection, "persistence")["rdb_changes_since_last_save"]) == 100
    assert connection("SAVE") == (b"+", b"OK")
    found = info(connection, "persistence")
    assert found["rdb_changes_since_last_save"] == "0"
    assert abs(int(connection("LASTSAVE")[1]) - time.time()) < 60
    connection("SET", "k", "v")
    assert connection("BGSAVE") == (b"+", b"Background saving started")
    wait_until(lambda: info(connection, "persistence")["rdb_changes_since_last_save"] == "0", 10, "it is synced")
    for number in range(2_000):
        connection("SET", "same", f"value-{number}" * 50)
    before = int(info(connection, "persistence")["aof_current_size"])
    assert connection("BGREWRITEAOF") == (b"+", b"Background append only file rewriting started")
    wait_until(lambda: connection("SAVE") and int(info(connection, "persistence")["aof_current_size"]) < before / 2,
               20, "the log is smaller")
    server.kill()
    server.start()
    again = server.raw()
    assert again("DBSIZE") == (b":", b"102")
    server.stop()


def test_a_node_in_memory_has_nothing_to_save_to(tmp_path):
    server = Node(tmp_path / "node")
    whole = server.command()
    at = whole.index("--data-dir")
    server.command = lambda: whole[:at] + whole[at + 2:] + ["--memory"]
    server.start()
    connection = server.raw()
    for command in ("SAVE", "BGSAVE", "BGREWRITEAOF"):
        kind, text = connection(command)
        assert kind == b"-" and b"memory" in text
    connection.close()
    server.kill()


def test_memory_of_keys_grows_with_them(shared_node):
    connection = shared_node.raw()
    connection("FLUSHALL")
    connection("SET", "a", "x" * 10_000)
    connection("SADD", "s", *range(2_000))
    connection("HSET", "h", *[f"{number}-{'x' * (number % 50)}" for number in range(2_000)])
    usage = {key: int(connection("MEMORY", "USAGE", key)[1]) for key in "ash"}
    assert 10_000 < usage["a"] < 11_000
    assert 2_000 * 50 < usage["s"] < 2_000 * 200
    exact = int(connection("MEMORY", "USAGE", "h", "SAMPLES", "0")[1])
    assert abs(exact - usage["h"]) < exact / 2
    assert connection("DEBUG", "OBJECT", "a")[1].startswith(b"Value at:0x0 refcount:1 encoding:raw serializedlength:")
    assert connection("DEBUG", "OBJECT", "nope") == (b"-", b"ERR no such key")
    stats = connection("MEMORY", "STATS")[1]
    named = dict(zip([each[1] for each in stats[::2]], [each[1] for each in stats[1::2]]))
    assert named[b"keys.count"] == b"3" and int(named[b"total.allocated"]) > 1_000_000
    connection.close()


def test_wait_tells_what_the_level_vouches_for(shared_cluster):
    connection = shared_cluster[0].raw()
    connection("SET", "k", "v")
    assert connection("WAIT", "1", "0") == (b":", b"1"), "a majority of three is one more than the first"
    assert connection("WAIT", "2", "50") == (b":", b"1")
    connection("QUORATE", "LEVEL", "WRITE", "ALL")
    assert connection("WAIT", "1", "0") == (b":", b"1"), "the first write had less"
    connection("QUORATE", "LEVEL", "WRITE", "ONE")
    assert connection("WAIT", "1", "10") == (b":", b"0")
    connection.close()


def test_info_of_a_cluster_counts_every_shard_of_the_node(shared_cluster):
    connection = shared_cluster[1].raw()
    connection("QUORATE", "LEVEL", "WRITE", "ALL")
    connection("FLUSHALL")
    for number in range(60):
        connection("SET", f"k{number}", "v", *(("EX", "1000") if number % 3 else ()))
    found = counted(info(connection, "keyspace")["db0"])
    assert (found["keys"], found["expires"]) == ("60", "40")
    assert info(connection)["cluster_connections"] == "2"
    connection("FLUSHALL")
    assert "db0" not in info(connection, "keyspace")
    connection.close()
