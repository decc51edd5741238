"""Replicas that differ in a large key: only what is missing travels between them."""

import shutil
import threading
import time

import pytest
import redis
from nodes import Cluster, fields, wait_until

MEMBERS = 100_000
# As effects: 13 bytes of stamp and tag, and the name.
WHOLE_BYTES = MEMBERS * 25


def fill(client, key):
    for first in range(0, MEMBERS, 1_000):
        client.sadd(key, *(f"member:{n:06}" for n in range(first, first + 1_000)))


def round_bytes(node):
    connection = node.raw()
    peers = [fields(peer) for peer in connection("QUORATE", "REPAIR")[1]]
    connection.close()
    return sum(peer["bytes"] for peer in peers)


def read_repairs(node):
    stats = redis.Redis(port=node.port).info("stats")
    return stats["read_repairs"], stats["read_repair_bytes"]


def test_a_replica_that_misses_one_member_of_many_gets_that_one(cluster):
    client = redis.Redis(port=cluster[0].port)
    fill(client, "large")
    cluster.settle()
    cluster[2].kill()
    seen_down = lambda: "down" in [m["state"] for m in cluster[0].status()["members"]]
    wait_until(seen_down, 10, "it is seen to be down")
    # The others keep this for it as a hint, and lose the hint.
    for node in cluster.nodes[:2]:
        connection = node.raw()
        connection("QUORATE", "LEVEL", "WRITE", "ONE")
        assert connection("SADD", "large", f"new:{node.name}") == (b":", b"1")
    for node in cluster.nodes[:2]:
        node.kill()
        for hints in (node.directory / "data").glob("hints-*"):
            shutil.rmtree(hints)
    for node in cluster.nodes:
        node.launch()
    cluster.meet()
    for node in cluster.nodes:
        connection = node.raw()
        connection("QUORATE", "LEVEL", "READ", "QUORUM")
        assert connection("SCARD", "large") == (b":", str(MEMBERS + 2).encode())
        assert connection("SISMEMBER", "large", "new:n1") == (b":", b"1")
    cluster.settle()
    third = cluster[2].raw()
    third("QUORATE", "LEVEL", "READ", "ONE")
    assert third("SCARD", "large") == (b":", str(MEMBERS + 2).encode())
    moved = sum(round_bytes(node) + read_repairs(node)[1] for node in cluster.nodes)
    print(f"{moved} bytes moved of {WHOLE_BYTES}")
    assert 0 < moved < WHOLE_BYTES / 10, f"{moved} bytes moved"


@pytest.mark.parametrize("mode", ["blocking", "background"])
def test_reads_that_race_with_writes_repair_only_what_is_missing(tmp_path, mode):
    cluster = Cluster(tmp_path, arguments=["--read-repair", mode]).start()
    try:
        writer = redis.Redis(port=cluster[0].port)
        fill(writer, "large")
        writer.execute_command("QUORATE", "LEVEL", "WRITE", "ONE")
        done = threading.Event()

        def write():
            connection = cluster[0].raw()
            connection("QUORATE", "LEVEL", "WRITE", "ONE")
            number = 0
            while not done.is_set():
                number += 1
                connection("SADD", "large", f"new:{number}")
                # Where very much changes during a repair, whole states travel in the end.
                time.sleep(0.002)

        threads = [threading.Thread(target=write) for _ in range(2)]
        [thread.start() for thread in threads]
        readers = [node.raw() for node in cluster.nodes]
        [reader("QUORATE", "LEVEL", "READ", "ALL") for reader in readers]

        def repaired():
            for reader in readers * 20:
                assert reader("SCARD", "large")[0] == b":"
            return sum(read_repairs(node)[0] for node in cluster.nodes) >= 10

        try:
            wait_until(repaired, 60, "ten reads find replicas different")
        finally:
            done.set()
            [thread.join() for thread in threads]
        counted = [read_repairs(node) for node in cluster.nodes]
        repairs, moved = (sum(each) for each in zip(*counted))
        print(f"{moved} bytes for {repairs} repairs")
        # A repair with whole states would fetch two and send two. How much changes during one, and
        # so travels too, depends on the machine.
        assert moved / repairs < WHOLE_BYTES, f"{moved} bytes for {repairs} repairs"
        cluster.settle()
        sizes = set()
        for reader in readers:
            reader("QUORATE", "LEVEL", "READ", "ONE")
            sizes.add(reader("SCARD", "large"))
        assert len(sizes) == 1
    finally:
        cluster.stop()


def ask_again_and_again(node, seconds, seen, errors):
    """Reads one field of a large hash for some seconds."""
    connection = node.raw()
    connection("QUORATE", "LEVEL", "READ", "LOCAL_QUORUM")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        kind, value = connection("HGET", "hash", "field:7")
        seen.append(time.monotonic() - begun)
        if (kind, value) != (b"$", b"seven"):
            errors.append((kind, value))
    connection.close()


def test_reads_of_one_field_go_on_while_a_replica_is_thousands_of_fields_behind(cluster):
    client = redis.Redis(port=cluster[0].port)
    client.hset("hash", "field:7", "seven")
    put = lambda first, last: [
        client.hset("hash", mapping={f"field:{n}": n for n in range(at, at + 1_000)})
        for at in range(first, last, 1_000)
    ]
    put(1_000, 100_000)
    cluster.settle()
    cluster[2].kill()
    seen_down = lambda: "down" in [m["state"] for m in cluster[0].status()["members"]]
    wait_until(seen_down, 10, "it is seen to be down")
    put(100_000, 150_000)
    # What the others keep for it as hints is lost.
    for node in cluster.nodes[:2]:
        node.kill()
        for hints in (node.directory / "data").glob("hints-*"):
            shutil.rmtree(hints)
    for node in cluster.nodes:
        node.launch()
    cluster.meet()
    logged = cluster[0].log()
    before = read_repairs(cluster[0])
    seen, errors = [], []
    clients = [
        threading.Thread(target=ask_again_and_again, args=(cluster[n % 3], 3, seen, errors))
        for n in range(30)
    ]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    repairs, repaired = (now - was for now, was in zip(read_repairs(cluster[0]), before))
    assert not errors, errors[:3]
    assert len(seen) > 100
    # The field is the same everywhere: the rest of the hash is none of the reads' business.
    assert repaired < 100_000, (repairs, repaired)
    # Whoever waits for the whole hash to be repaired waits for seconds, on a busy machine too.
    assert sorted(seen)[len(seen) // 2] < 1, max(seen)
    assert "is down" not in cluster[0].log()[len(logged):]
    cluster.settle()
