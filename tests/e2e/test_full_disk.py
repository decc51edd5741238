"""One full disk of three: the others execute, and the full node says so and goes on with space."""

import json
import os
import subprocess
import time

import pytest
from nodes import QUORATE, Cluster, Node, encode, lacking, wait_until


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 MiB in the place where the first node has its data."""
    place = tmp_path / "n1" / "data"
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        lacking("file systems cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def cluster(tmp_path, small_disk):
    cluster = Cluster(tmp_path, arguments=["--shards", "1"])
    cluster.small_disk = small_disk
    try:
        yield cluster.start()
    finally:
        cluster.stop()


def fill(directory):
    """Takes all space that is left."""
    with open(directory / "ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass


def read_only(node):
    return node.status()["read_only"]


def is_ready(node):
    """What a probe says of it."""
    command = [QUORATE, "status", "--ready", "--address", f"127.0.0.1:{node.port}"]
    return subprocess.run(command, capture_output=True).returncode == 0


def processor_seconds(node):
    fields = open(f"/proc/{node.process.pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_write_fails_while_one_disk_of_three_is_full(cluster):
    full, second, third = cluster.nodes
    clients = [node.raw() for node in cluster.nodes]
    assert clients[1]("SET", "first", "write") == (b"+", b"OK")
    fill(cluster.small_disk)
    # What is left of the segment that is in use, and more: the log runs out of space on the way.
    for number in range(90):
        reply = clients[number % 3]("SET", f"large:{number % 15}", b"x" * (1 << 20))
        assert reply == (b"+", b"OK"), number
    assert read_only(full) and not read_only(second) and not read_only(third)
    assert "no space for the log" in full.log()
    assert "read_only:1" in clients[0]("INFO", "persistence")[1].decode()
    wait_until(lambda: "takes no writes" in second.log(), 10, "the others know")
    for number in range(1_500):
        key, client = f"small:{number % 300}", clients[number % 3]
        assert client("SET", key, number) == (b"+", b"OK")
        assert client("INCR", key) == (b":", b"%d" % (number + 1))
        # At the full node, too: it asks those that have it.
        assert client("GET", key) == (b"$", b"%d" % (number + 1))
    began, used = time.monotonic(), processor_seconds(full)
    time.sleep(3)
    assert processor_seconds(full) - used < 0.5 * (time.monotonic() - began)

    # Started again it cannot catch up, and serves all the same.
    full.kill()
    full.start()
    wait_until(lambda: is_ready(full), 30, "a probe finds it ready")
    clients[0] = full.raw()
    assert clients[0]("GET", "small:299") == (b"$", b"1500")
    assert clients[0]("SET", "small:0", "again") == (b"+", b"OK")

    (cluster.small_disk / "ballast").unlink()
    wait_until(lambda: not read_only(full), 30, "it has found space")
    cluster.settle()
    reader = clients[0]
    reader("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE")
    assert reader("GET", "small:299") == (b"$", b"1500")
    full.kill()
    full.start()
    cluster.settle()


def test_a_full_node_alone_takes_what_fits_and_goes_on_with_space(tmp_path, small_disk):
    node = Node(tmp_path / "n1", arguments=["--shards", "1"]).start()
    try:
        client = node.raw()
        assert client("SET", "first", "write") == (b"+", b"OK")
        fill(small_disk)
        replies = (client("SET", f"k{number}", b"x" * (1 << 20)) for number in range(100))
        refused = next(reply for reply in replies if reply != (b"+", b"OK"))
        assert refused[1].startswith(b"MISCONF the log cannot take a write: "), refused
        assert refused[1].endswith(b"nothing was done")
        assert client("GET", "k1") == (b"$", b"x" * (1 << 20))
        # Small writes may still fit, and then there is less space for what does not.
        client("SADD", "s1", "x" * 2_000_000)
        for number in range(30):
            client("SET", f"small{number}", b"x" * 100_000)
        value = b"x" * (1 << 20)
        assert client("MULTI") == (b"+", b"OK")
        assert client("SET", "k1", value) == (b"+", b"QUEUED")
        assert client("EXEC") == client("SET", "k1", value)
        for line in (("MSET", "a", value, "b", value), ("RENAME", "k2", "other"), ("COPY", "k2", "another")):
            reply = client(*line)
            assert reply[1].startswith(b"MISCONF the log cannot take a write: "), (line[0], reply)
            assert b"UNAVAILABLE" not in reply[1]
        assert b"UNAVAILABLE" not in client("FLUSHALL")[1]
        (small_disk / "ballast").unlink()
        wait_until(lambda: client("SET", "again", b"x" * (1 << 20)) == (b"+", b"OK"), 30, "there is space")
        node.kill()
        node.start()
        assert node.raw()("STRLEN", "again") == (b":", b"%d" % (1 << 20))
    finally:
        node.kill()


def test_what_is_copied_on_a_full_disk_is_refused_before_anything_is_done(tmp_path, small_disk):
    node = Node(tmp_path / "n1", arguments=["--shards", "1"]).start()
    try:
        client = node.raw()
        client("SADD", "{t}source", *(f"{number:040}" for number in range(40_000)))
        client("SET", "{t}small", "value")
        fill(small_disk)
        for command in (("SUNIONSTORE", "{t}union", "{t}source"), ("COPY", "{t}source", "{t}copy", "REPLACE")):
            replies = (client(*command) for _ in range(200))
            refused = next(reply for reply in replies if reply[0] != b":")
            assert refused[1].startswith(b"MISCONF the log cannot take a write: "), refused
        assert client("GET", "{t}small") == (b"$", b"value")
        assert client("SCARD", "{t}source") == (b":", b"40000")
    finally:
        node.kill()


def starts_of(directory):
    """All starts that a node has written down."""
    record = json.loads((directory / "node.json").read_text())
    return [*record["lineage"], record["start"]]


def test_a_member_starts_on_a_full_disk_again_and_again(cluster):
    full, second, third = cluster.nodes
    client = second.raw()
    assert client("SET", "first", "write") == (b"+", b"OK")
    fill(cluster.small_disk)
    while not read_only(full):
        client("SET", "large", b"x" * (1 << 20))
    for turn in range(3):
        full.kill()
        full.start()
        wait_until(lambda: cluster.sees_all(full), 30, "it is up")
        client = full.raw()
        # Others execute what it cannot write.
        wait_until(lambda: client("SET", f"turn:{turn}", b"x" * (1 << 20)) == (b"+", b"OK"), 30, "they do")
        client("QUORATE", "LEVEL", "READ", "ONE")
        assert client("GET", "first") == (b"$", b"write")
    assert read_only(full)
    starts = starts_of(cluster.small_disk)
    assert len(starts) == len(set(starts)) == 4
    (cluster.small_disk / "ballast").unlink()
    wait_until(lambda: not read_only(full), 30, "it has found space")
    cluster.settle()


def test_a_node_alone_starts_on_a_full_disk_and_stops_in_order(tmp_path, small_disk):
    node = Node(tmp_path / "n1", arguments=["--shards", "1"]).start()
    try:
        client = node.raw()
        assert client("SET", "k", "v") == (b"+", b"OK")
        fill(small_disk)
        while client("SET", "large", b"x" * (1 << 20)) == (b"+", b"OK"):
            pass
        for _ in range(3):
            assert node.stop() == 0
            node.start()
            client = node.raw()
            assert client("GET", "k") == (b"$", b"v")
            assert client("SET", "large", b"x" * (1 << 20))[1].startswith(b"MISCONF")
        assert node.stop() == 0
        assert "in order" not in node.log()
        starts = starts_of(small_disk)
        assert len(starts) == len(set(starts)) == 4
    finally:
        node.kill()


def test_what_a_node_must_write_down_waits_for_space(tmp_path, small_disk):
    node = Node(tmp_path / "n1", arguments=["--shards", "1"]).start()
    try:
        client = node.raw()
        # What is kept for such a case is gone, too.
        (small_disk / "node.draft").unlink()
        fill(small_disk)
        # The first write seals the member list, which must be on disk before.
        client.send(encode("SET", "first", "write"))
        wait_until(lambda: "node.json cannot be written" in node.log(), 10, "it has tried")
        (small_disk / "ballast").unlink()
        assert client.read() == (b"+", b"OK")
    finally:
        node.kill()
