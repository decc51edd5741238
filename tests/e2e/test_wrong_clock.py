"""A node whose clock is wrong does not say what has expired: others do, or nobody."""

import glob
import subprocess

import pytest
from nodes import QUORATE, Cluster, Node, wait_until

FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")


class Wrong(Node):
    """A node that can be started at another time."""

    offset = None

    def command(self):
        if self.offset is None:
            return super().command()
        # Only what the wall clock shows.
        # Not by the program `faketime`, which would be killed in place of the node.
        return ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1",
                f"LD_PRELOAD={FAKETIME[0]}", f"FAKETIME={self.offset}", *super().command()]


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--shards", "1"])
    for number, old in enumerate(cluster.nodes):
        node = Wrong(old.directory, name=old.name, seeds=old.seeds, arguments=old.arguments)
        node.port, node.peer_port, node.cluster_port = old.port, old.peer_port, old.cluster_port
        cluster.nodes[number] = node
    try:
        yield cluster.start()
    finally:
        cluster.stop()


def connect(node, level):
    connection = node.raw()
    connection("QUORATE", "LEVEL", "READ", level, "WRITE", level)
    return connection


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_a_node_an_hour_off_hides_nothing_and_shows_nothing_that_is_over(cluster, offset):
    first, _, wrong = cluster.nodes
    client = connect(first, "QUORUM")
    for number in range(50):
        assert client("SET", f"short:{number}", "v", "PX", 4_000) == (b"+", b"OK")
        assert client("SET", f"long:{number}", "v", "EX", 600) == (b"+", b"OK")
        assert client("SET", f"plain:{number}", "v") == (b"+", b"OK")
    cluster.settle()
    wrong.stop()
    wrong.offset = offset
    wrong.start()
    wait_until(lambda: client("DBSIZE") == (b":", b"100"), 30, "the short ones are over")
    wait_until(lambda: wrong.status()["clock_in_doubt"] == 1, 30, "it doubts its clock")
    wait_until(lambda: wrong.status()["clock_contradicted"] == 1, 30, "the others contradict it")
    wait_until(lambda: all(m["state"] != "down" for m in wrong.status()["members"]), 30, "it has met the others")
    for level in ["ONE", "QUORUM"]:
        there = connect(wrong, level)
        for number in range(50):
            assert there("GET", f"short:{number}") == (b"$", None), level
            assert there("GET", f"long:{number}") == (b"$", b"v"), level
            assert there("GET", f"plain:{number}") == (b"$", b"v"), level
            seconds = int(there("TTL", f"long:{number}")[1])
            assert 500 < seconds <= 600, level
    # What it is asked to write, others date.
    assert there("SET", "later", "v", "EX", 600) == (b"+", b"OK")
    assert 590 < int(client("TTL", "later")[1]) <= 600

    # Without the others it answers for what no clock decides, and says why for the rest.
    for node in cluster.nodes[:2]:
        node.kill()
    there = connect(wrong, "ONE")
    wait_until(lambda: wrong.status()["members"][0]["state"] != "up" and all(
        m["state"] != "up" for m in wrong.status()["members"]), 30, "the others are gone")
    assert there("GET", "plain:1") == (b"$", b"v")
    for command in [("GET", "long:1"), ("TTL", "long:1"), ("GET", "short:1"), ("EXISTS", "plain:1", "long:1")]:
        kind, text = there(*command)
        assert kind == b"-" and b"clock of this node is not confirmed" in text, (command, text)
        assert text.startswith(b"UNAVAILABLE") and text.endswith(b"nothing was done")


def test_a_clock_that_nobody_has_contradicted_is_not_called_so(cluster):
    first, second, third = cluster.nodes
    connection = connect(first, "QUORUM")
    wait_until(lambda: connection("SET", "k", "v") == (b"+", b"OK"), 20, "the first write")
    second.kill()
    third.kill()
    first.stop()
    first.start()

    def shown():
        output = subprocess.run([QUORATE, "status", "--address", f"127.0.0.1:{first.port}"],
                                check=True, capture_output=True, text=True)
        return output.stdout

    # Alone, it may not know the time for a while.
    said = shown()
    assert "CLOCK IN DOUBT" not in said and first.status()["clock_contradicted"] == 0
    assert "not yet compared" in said or first.status()["clock_in_doubt"] == 0
    wait_until(lambda: first.status()["clock_in_doubt"] == 0, 30, "it trusts its own")
    assert "clock  " not in shown()


def set_clocks(nodes, offset):
    for node in nodes:
        node.stop()
        node.offset = offset
    for node in nodes:
        node.start()


def test_a_majority_that_is_wrong_decides_until_its_time_has_come(cluster):
    """What the operations guide says of two clocks of three that are ahead."""
    right, *wrong = cluster.nodes
    client = connect(right, "QUORUM")
    for key, seconds in [("soon", 25), ("long", 600)]:
        assert client("SET", key, "v", "EX", seconds) == (b"+", b"OK")
    cluster.settle()
    set_clocks(wrong, "+30s")
    wait_until(lambda: right.status()["clock_contradicted"] == 1, 30, "the right one is contradicted")
    wait_until(lambda: "most peers contradict this node's clock" in right.log(), 30, "it says so")
    for node in cluster.nodes:
        client = connect(node, "QUORUM")
        wait_until(lambda client=client: client("GET", "soon") == (b"$", None), 30, "it is over for the majority")
        assert int(client("TTL", "long")[1]) <= 570
        wait_until(lambda node=node: "a peer's clock is too far from ours" in node.log(), 30, "it says so")
    assert client("SET", "ahead", "written ahead") == (b"+", b"OK")
    wait_until(lambda: "effects from other nodes are refused" in right.log(), 30, "it does not take that")

    set_clocks(wrong, None)
    wait_until(lambda: right.status()["clock_in_doubt"] == 0, 60, "it trusts its clock again")
    cluster.settle()
    clients = [connect(node, "QUORUM") for node in cluster.nodes]
    assert [client("GET", "ahead") for client in clients] == [(b"$", b"written ahead")] * 3
    for writer in clients:
        assert writer("APPEND", "ahead", "!")[0] == b":"
        assert len({client("GET", "ahead") for client in clients}) == 1
    assert clients[0]("GET", "ahead") == (b"$", b"written ahead!!!")
    assert {node.status()["clock_in_doubt"] for node in cluster.nodes} == {0}
