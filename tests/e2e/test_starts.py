"""What clients see of a node that has just started."""

import time

import pytest
from nodes import Cluster, Raw, encode, wait_until


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--request-timeout-ms", "20000"])
    yield cluster.start()
    cluster.stop()


def connect_at_once(node):
    while True:
        node.check_running()
        try:
            return Raw(node.port)
        except OSError:
            time.sleep(0.001)


def test_a_node_that_starts_answers_like_one_that_never_was_away(cluster):
    first, _, third = cluster.nodes
    client = first.raw()
    assert client("SET", "k", 0) == (b"+", b"OK")
    for number in range(1, 7):
        third.stop()
        assert client("SET", "k", number) == (b"+", b"OK")
        assert client("SET", f"k{number}", "v") == (b"+", b"OK")
        third.launch()
        early = connect_at_once(third)
        early.send(b"".join([
            encode("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "LOCAL_QUORUM"),
            encode("GET", "k"),
            encode("DBSIZE"),
            encode("APPEND", "k", "!"),
            encode("QUORATE", "LEVEL", "READ", "LOCAL_QUORUM", "WRITE", "LOCAL_QUORUM"),
            encode("GET", "k"),
        ]))
        written = str(number).encode()
        replies = [early.read() for _ in range(6)]
        assert replies == [
            (b"+", b"OK"), (b"$", written), (b":", str(number + 1).encode()),
            (b":", b"2"), (b"+", b"OK"), (b"$", written + b"!")]


def test_a_node_that_starts_alone_answers_when_its_patience_is_over(cluster):
    first, second, third = cluster.nodes
    assert first.raw()("SET", "k", "v") == (b"+", b"OK")
    cluster.settle()
    for node in cluster.nodes:
        node.stop()
    third.launch()
    early = connect_at_once(third)
    assert early("PING") == (b"+", b"PONG")
    assert early("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE") == (b"+", b"OK")
    assert early("GET", "k") == (b"$", b"v")
    wait_until(lambda: third.status()["ready"] == 1, 20, "its other shards are ready, too")
    assert early("SET", "k", "w") == (b"+", b"OK")
    assert early("QUORATE", "LEVEL", "READ", "QUORUM", "WRITE", "QUORUM") == (b"+", b"OK")
    kind, text = early("SET", "k", "x")
    assert kind == b"-" and text.startswith(b"UNAVAILABLE level QUORUM"), text
