"""Keys whose time to live is over go at the pace at which they come, beside a real Redis."""

import time

import pytest
from nodes import Node, encode, wait_until


def keyspace(connection):
    """Keys, and how many of them have a time to live, as INFO tells."""
    lines = connection("INFO", "keyspace")[1].decode().splitlines()
    line = next((line for line in lines if line.startswith("db0:")), "db0:keys=0,expires=0")
    told = dict(field.split("=") for field in line.removeprefix("db0:").split(","))
    return int(told["keys"]), int(told["expires"])


def load(connection, name, count, *expiry):
    batch = 1_000
    for start in range(0, count, batch):
        connection.send(b"".join(encode("SET", f"{name}:{number}", "v", *expiry)
                                 for number in range(start, start + batch)))
        for _ in range(batch):
            assert connection.read() == (b"+", b"OK")


def test_many_keys_that_are_due_at_once_are_gone_soon(node, redis_server):
    count = 300_000
    for server in (redis_server, node):
        client, other = server.raw(), server.raw()
        client("FLUSHALL")
        load(client, "kept", 1_000)
        due_ms = int(time.time() * 1000) + 2_000
        load(client, "due", count, "PXAT", due_ms)
        wait_until(lambda: time.time() * 1000 > due_ms, 10, "they are due")
        # What 100 ms a batch of 256 would take is two minutes.
        wait_until(lambda client=client: keyspace(client) == (1_000, 0), 30, "they are gone")
        assert other("GET", "kept:1") == (b"$", b"v")


def test_as_many_keys_expire_as_are_written(node, redis_server):
    """At any rate that a client reaches: it writes as fast as it can, and keys live for a second."""
    for server in (redis_server, node):
        client = server.raw()
        client("FLUSHALL")
        began, written, counts = time.monotonic(), 0, []
        while time.monotonic() - began < 6:
            load(client, f"short:{written}", 5_000, "PX", 1_000)
            written += 5_000
            counts.append(int(client("DBSIZE")[1]))
        # As many live as a second has brought, twice that at the most, and no more with every second.
        assert counts[-1] < 0.5 * written, (server, counts[::10])
        wait_until(lambda client=client: client("DBSIZE") == (b":", b"0") or keyspace(client)[1] == 0, 30,
                   "all of them are gone")


def test_each_key_is_counted_once_however_often_it_gets_a_time_to_live(node, redis_server):
    for server in (redis_server, node):
        client = server.raw()
        client("FLUSHALL")
        for _ in range(50):
            load(client, "often", 1_000, "EX", 1_000)
        load(client, "often", 1_000, "KEEPTTL")
        client("DEL", "often:1")
        client("PERSIST", "often:2")
        client("SET", "often:3", "w")
        wait_until(lambda client=client: keyspace(client) == (999, 997), 5, "INFO tells of each once")


def test_a_flush_takes_what_is_over_but_not_yet_removed(node, cluster, redis_server):
    for servers in ([redis_server], [node], cluster.nodes):
        connections = [server.raw() for server in servers]
        client = connections[0]
        client("FLUSHALL")
        try:
            for connection in connections:
                assert connection("DEBUG", "SET-ACTIVE-EXPIRE", "0") == (b"+", b"OK")
            due_ms = int(time.time() * 1000) + 1_000
            for number in range(50):
                client("SET", f"text:{number}", "v", "PXAT", due_ms)
                client("SADD", f"set:{number}", "m")
                client("PEXPIREAT", f"set:{number}", due_ms)
            wait_until(lambda due_ms=due_ms: time.time() * 1000 > due_ms + 100, 10, "they are over")
            for connection in connections:
                assert keyspace(connection) == (100, 100), servers
            assert client("FLUSHALL") == (b"+", b"OK")
            for connection in connections:
                wait_until(lambda connection=connection: keyspace(connection) == (0, 0), 5, "none is left")
                assert connection("DBSIZE") == (b":", b"0")
        finally:
            for connection in connections:
                connection("DEBUG", "SET-ACTIVE-EXPIRE", "1")


@pytest.mark.parametrize("then", [("EXPIRE", "k", "1000"), ("EXISTS", "k")], ids=["with a time to live", "without"])
def test_what_is_over_does_not_come_back_with_a_restart(tmp_path, then):
    node = Node(tmp_path / "node", arguments=["--shards", "1"]).start()
    try:
        for _ in range(2):
            client = node.raw()
            client("HSET", "k", "field", "0")
            client("PEXPIRE", "k", "100")
            client("HSET", "k", "within", "1")
            wait_until(lambda client=client: client("DBSIZE") == (b":", b"0"), 10, "it is over")
            client("HSET", "k", "anew", "2")
            client(*then)
            for field in ("more", "and more"):
                node.stop()
                node.start()
                client = node.raw()
                assert client("HEXISTS", "k", "field") == client("HEXISTS", "k", "within") == (b":", b"0")
                client("HSET", "k", field, "3")
            assert client("HLEN", "k") == (b":", b"3")
            client("DEL", "k")
    finally:
        node.kill()
