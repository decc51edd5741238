"""Commands over several slots when some of their parts fail, and what is said of them."""

import pytest
import redis
from nodes import Cluster, wait_until


@pytest.fixture
def halves(tmp_path):
    """Three nodes without replication; keys of the first (alive) and of the last, which is killed."""
    cluster = Cluster(tmp_path)
    for node in cluster.nodes:
        node.arguments[node.arguments.index("--rf") + 1] = "1"
        node.arguments += ["--request-timeout-ms", "1500"]
    cluster.start()
    yield cluster, keys_of(cluster, "n1", 6), keys_of(cluster, "n3", 6)
    cluster.stop()


def keys_of(cluster, name, count):
    connection, keys = cluster[0].raw(), []
    number = 0
    while len(keys) < count:
        # Each in a slot of its own.
        located = {bytes(line).decode() for _, line in connection("QUORATE", "LOCATE", f"key{number}")[1][3][1]}
        if located == {name}:
            keys.append(f"key{number}")
        number += 1
    return keys


def lose_the_third(cluster, keys):
    cluster[2].kill()
    connection = cluster[0].raw()
    # Every shard finds out by itself.
    refused = lambda: all(connection("SET", key, "x")[1].startswith(b"UNAVAILABLE") for key in keys)
    wait_until(refused, 10, "the third node is seen to be down")


def partial(connection, *words):
    kind, text = connection(*words)
    assert kind == b"-" and text.startswith(b"PARTIAL "), (words, text)
    assert b"nothing was done" not in text and b"UNAVAILABLE" not in text
    groups, because = text.decode().removeprefix("PARTIAL ").split("; because ")
    assert "n3" in because
    return {heading: names.replace('"', "").split() for heading, names in
            (group.split(": ") for group in groups.split("; "))}


def test_errors_say_which_part_was_done(halves):
    cluster, here, there = halves
    connection = cluster[0].raw()
    for key in here + there:
        connection("SET", key, "old")
    connection("DEL", here[4], here[5], there[4])
    connection("SADD", here[4], "member")
    lose_the_third(cluster, there)

    told = partial(connection, "MSET", here[0], "new", there[0], "new", here[1], "new")
    assert sorted(told["done"]) == sorted(here[:2]) and told["not done"] == [there[0]]
    assert connection("GET", here[0]) == (b"$", b"new")

    told = partial(connection, "DEL", here[0], there[0])
    assert told == {"done": [here[0]], "not done": [there[0]]}
    assert connection("EXISTS", here[0]) == (b":", b"0")
    told = partial(connection, "UNLINK", there[0], here[1], there[1])
    assert told["done"] == [here[1]] and sorted(told["not done"]) == sorted(there[:2])

    # What changes nothing anywhere keeps its error.
    for words in [("MSET", there[0], "new", there[1], "new"),
                  ("MSETNX", here[0], "new", there[4], "new"),
                  ("RENAME", here[2], there[2]),
                  ("RENAME", there[2], here[2]),
                  ("RENAMENX", here[2], there[4]),
                  ("COPY", here[2], there[2], "REPLACE"),
                  ("SMOVE", here[4], there[4], "member"),
                  ("SUNIONSTORE", there[4], here[4], here[5]),
                  ("MGET", here[2], there[2])]:
        kind, text = connection(*words)
        assert kind == b"-" and text.startswith(b"UNAVAILABLE ") and b"nothing was done" in text, (words, text)
    assert connection("GET", here[2]) == (b"$", b"old")
    assert connection("EXISTS", here[0]) == (b":", b"0")
    assert connection("SMEMBERS", here[4]) == (b"*", [(b"$", b"member")])

    kind, text = connection("FLUSHALL")
    assert kind == b"-" and text.startswith(b"UNAVAILABLE ")
    assert connection("GET", here[2]) == (b"$", b"old"), "a flush asks everybody before it begins"

    cluster[2].start()
    wait_until(lambda: cluster.sees_all(cluster[0]), 20, "the third node is back")
    wait_until(lambda: connection("GET", there[0]) == (b"$", b"old"), 20, "it serves again")
    assert connection("GET", there[1]) == (b"$", b"old")
    assert connection("EXISTS", there[4]) == (b":", b"0")


def test_what_nobody_knows_is_not_called_done_or_undone(halves):
    cluster, here, there = halves
    connection = cluster[0].raw()
    connection("MSET", here[0], "old", there[0], "old")
    cluster[2].stand_still()
    try:
        kind, text = connection("MSET", here[0], "new", there[0], "new")
    finally:
        cluster[2].go_on()
    assert kind == b"-" and text.startswith(b"UNKNOWN "), text
    assert f'done: "{here[0]}"; may have been done: "{there[0]}"; because '.encode() in text
    assert connection("GET", here[0]) == (b"$", b"new")


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "FLUSHDB SYNC"])
def test_a_flush_at_any_node_leaves_nothing_at_any(shared_cluster, command):
    connections = [node.raw() for node in shared_cluster.nodes]
    filler = redis.Redis(port=shared_cluster[0].port)
    filler.mset({f"{command}:{number}": number for number in range(3_000)})
    for connection in connections:
        assert connection("SET", "k", "v") == (b"+", b"OK")
        assert connection(*command.split()) == (b"+", b"OK")
        for other in connections:
            assert other("GET", "k") == (b"$", None)
            # A quorum has deleted; the third replica is about to.
            wait_until(lambda other=other: other("DBSIZE") == (b":", b"0"), 10, "all is deleted")
        # Nothing to flush.
        assert connection(*command.split()) == (b"+", b"OK")
    for connection in connections:
        connection.close()
