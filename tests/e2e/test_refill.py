"""A node that has lost everything counts in no quorum before the others have filled it again."""

import json
import shutil
import threading

import pytest
import redis
from nodes import Cluster, Raw, wait_until

QUORUMS = ["--read-level", "QUORUM", "--write-level", "QUORUM", "--sync", "always", "--shards", "4"]


@pytest.fixture
def quorums(tmp_path):
    servers = Cluster(tmp_path, arguments=QUORUMS).start()
    yield servers
    servers.stop()


def wipe(node):
    node.kill()
    shutil.rmtree(node.directory / "data")


def seats(node):
    return node.log().count("has its seat in the cluster again")


def is_incomplete(node):
    return json.loads((node.directory / "data" / "node.json").read_text())["incomplete"]


def test_a_wiped_node_killed_while_it_is_filled_is_still_incomplete(quorums):
    wiped, full, behind = quorums.nodes
    client = redis.Redis(port=wiped.port)
    client.set("first", "1")
    quorums.settle()
    behind.kill()
    keys = [f"key:{n}" for n in range(40_000)]
    for start in range(0, len(keys), 2_000):
        client.mset({key: "v" * 200 for key in keys[start:start + 2_000]})
    wipe(wiped)
    wiped.launch()
    behind.launch()
    wait_until(lambda: seats(wiped) > 0, 60, "it has its seat again")
    for node in quorums.nodes:
        node.kill()
    # Only one node has what two have acknowledged, and it stays down.
    refilled = wiped.log().count("caught up with all peers") == 4
    assert refilled or is_incomplete(wiped)
    wiped.start()
    behind.start()
    wait_until(lambda: all(member["state"] != "down" or member["name"] == full.name
                           for node in [wiped, behind] for member in node.status()["members"]),
               30, "the two have met")
    for node in [wiped, behind]:
        connection = node.raw()
        replies = [connection("GET", key) for key in keys[::500]]
        kinds = {kind for kind, value in replies}
        assert (b"$", None) not in replies, f"{node.name} does not know of what was acknowledged"
        assert refilled or kinds == {b"-"}, kinds
    assert refilled or is_incomplete(wiped)
    full.start()
    quorums.settle()
    wait_until(lambda: not is_incomplete(wiped), 60, "it is filled again")
    for node in quorums.nodes:
        client = redis.Redis(port=node.port, single_connection_client=True)
        client.execute_command("QUORATE", "LEVEL", "READ", "ONE")
        for start in range(0, len(keys), 2_000):
            assert None not in client.mget(keys[start:start + 2_000]), node.name


def test_no_option_takes_back_that_a_node_with_replicas_is_incomplete(quorums):
    """Killed again and again before the others can fill it."""
    wiped, others = quorums[2], quorums.nodes[:2]
    keys = [f"key:{n}" for n in range(1_000)]
    redis.Redis(port=wiped.port).mset({key: "v" for key in keys})
    for node in quorums.nodes:
        node.kill()
    for log in (wiped.directory / "data").glob("log-*/*"):
        log.unlink()
    wiped.arguments.append("--accept-damaged-log")
    for _ in range(3):
        wiped.start()
        assert is_incomplete(wiped) and wiped.status()["incomplete"] == 1
        wiped.kill()
    # With the one other that is up it is no majority: only that one knows what it has.
    wiped.start()
    others[0].start()
    wait_until(lambda: wiped.sees(others[0].name), 30, "the two have met")
    for node in (wiped, others[0]):
        connection = node.raw()
        assert {connection("GET", key) for key in keys[::100]}.isdisjoint({(b"$", None)})
    others[1].start()
    quorums.settle()
    wait_until(lambda: not is_incomplete(wiped), 60, "it is filled again")
    client = wiped.raw()
    client("QUORATE", "LEVEL", "READ", "ONE")
    assert {client("GET", key) for key in keys} == {(b"$", b"v")}


class Reader(threading.Thread):
    """Reads keys that are always there until told to stop."""

    def __init__(self, port, keys):
        super().__init__()
        self.port, self.keys = port, keys
        self.missing, self.found, self.stopping = [], 0, threading.Event()

    def run(self):
        connection, turn = None, 0
        while not self.stopping.is_set():
            turn += 1
            key = self.keys[turn % len(self.keys)]
            try:
                connection = connection or Raw(self.port, timeout=5)
                kind, value = connection("GET", key)
            except (OSError, EOFError):
                connection = None
                self.stopping.wait(0.001)
                continue
            self.found += kind == b"$" and value is not None
            if (kind, value) == (b"$", None):
                self.missing.append(key)


def test_no_read_misses_what_was_acknowledged_while_a_node_takes_its_seat(quorums):
    keys = [f"key:{n}" for n in range(600)]
    redis.Redis(port=quorums[0].port).mset({key: "v" for key in keys})
    quorums.settle()
    for wiped in [quorums[0], quorums[1], quorums[0]]:
        readers = [Reader(node.port, keys) for node in [wiped, wiped, *quorums.nodes]]
        for reader in readers:
            reader.start()
        caught_up = wiped.log().count("caught up with all peers")
        wipe(wiped)
        wiped.launch()
        try:
            wait_until(lambda: wiped.log().count("caught up with all peers") >= caught_up + 4, 60,
                       "it is filled again")
        finally:
            for reader in readers:
                reader.stopping.set()
            for reader in readers:
                reader.join()
        for reader in readers:
            assert not reader.missing and reader.found, (reader.port, reader.missing[:5])
