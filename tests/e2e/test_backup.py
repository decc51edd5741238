"""Backups of running clusters, and what comes back from them."""

import json
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from nodes import QUORATE, Cluster, Node, Redis, encode, free_port, wait_until
from test_entropy import contents, fill

SECONDS = 120


def quorate(*words):
    command = [QUORATE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


def fine(outcome):
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stderr + outcome.stdout


def backup(folder, node, *more):
    return quorate("backup", "--to", folder, "--node", f"127.0.0.1:{node.port}", *more)


def restore(folder, node, *more):
    return quorate("restore", "--from", folder, "--node", f"127.0.0.1:{node.port}", *more)


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())["backup"]


def data_files(folder):
    return sorted(path.name for path in folder.glob("slots-*.resp"))


def read_and_kept(said):
    return tuple(map(int, re.search(r"(\d+) slots read.* (\d+) kept", said).groups()))


class Load:
    """Clients that write to keys of their own until they are told to stop."""

    def __init__(self, nodes):
        self.stopping = threading.Event()
        self.written = {}
        self.errors = []
        self.threads = [threading.Thread(target=self.write, args=(number, node))
                        for number, node in enumerate(nodes)]
        for thread in self.threads:
            thread.start()

    def write(self, client, node):
        connection, number = node.raw(), 0
        while not self.stopping.is_set():
            key = f"load-{client}-{number % 500}"
            reply = connection("SET", key, f"{number}")
            if reply != (b"+", b"OK"):
                self.errors.append(reply)
            self.written[key] = number
            number += 1

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.errors, self.errors[:3]


@pytest.fixture
def other_cluster(tmp_path):
    servers = Cluster(tmp_path / "other", arguments=["--cluster", "other"]).start()
    yield servers
    servers.stop()


def test_a_cluster_under_load_is_backed_up_and_comes_back(cluster, other_cluster, tmp_path, node):
    fill(cluster[0].raw())
    folder = tmp_path / "backup"
    load = Load(cluster.nodes)
    try:
        wait_until(lambda: len(load.written) == 1500, 60, "every key has been written")
        before = dict(load.written)
        read, kept = read_and_kept(fine(backup(folder, cluster[0], "--cluster")))
        after = dict(load.written)
    finally:
        load.stop()
    assert (read, kept) == (16384, 0)
    assert manifest(folder)["cluster"] == "quorate"
    assert {slot["node"] for slot in manifest(folder)["slots"]} <= {0, 1, 2}

    # What was written before the backup began is in it, and what was written meanwhile may be.
    fine(quorate("backup", "--verify", folder))
    fine(restore(folder, node))
    connection = node.raw()
    for key, number in before.items():
        got = int(connection("GET", key)[1])
        assert number <= got <= after[key] + 500, key

    # Whole after an incremental one, with the cluster at rest.
    cluster.settle()
    read, kept = read_and_kept(fine(backup(folder, cluster[0], "--cluster", "--incremental")))
    assert 0 < read < 1700 and read + kept == 16384
    expected, digest = contents(cluster[0].raw()), cluster[0].digest()
    for number in range(2):
        fine(restore(folder, node))
        fine(restore(folder, other_cluster[number]))
        other_cluster.settle()
        if number == 0:
            first = other_cluster[0].digest()
        assert contents(node.raw()) == expected
        for each in other_cluster.nodes:
            assert contents(each.raw()) == expected
    assert {each.digest() for each in other_cluster.nodes} == {first}, "twice is once"

    # Into the cluster it came from: nothing changes, and newer writes stay.
    fine(restore(folder, cluster[1]))
    cluster.settle()
    assert cluster[0].digest() == digest
    connection = cluster[0].raw()
    connection("SET", "key-0", "newer")
    connection("DEL", "key-6")
    fine(restore(folder, cluster[1]))
    cluster.settle()
    assert connection("GET", "key-0") == (b"$", b"newer")
    assert connection("EXISTS", "key-6") == (b":", b"0")


def test_only_what_has_changed_is_read_again(node, tmp_path):
    connection = node.raw()
    fill(connection)
    folder = tmp_path / "backup"
    assert read_and_kept(fine(backup(folder, node, "--incremental"))) == (16384, 0)
    assert read_and_kept(fine(backup(folder, node, "--incremental"))) == (0, 16384)
    first = manifest(folder)
    connection("SET", "key-1", "changed")
    connection("SADD", "{key-1}2", "a", "b")
    connection("SET", "another", "new")
    connection("DEL", "long")
    assert read_and_kept(fine(backup(folder, node, "--incremental"))) == (3, 16381)
    second = manifest(folder)
    changed = [a["slot"] for a, b in zip(first["slots"], second["slots"]) if a["digest"] != b["digest"]]
    assert len(changed) == 3
    assert {second["slots"][slot]["backup"] for slot in changed} == {3}
    assert sorted(file["name"] for file in second["files"]) == data_files(folder)

    # Many rounds do not fill the disk: what is superseded goes.
    size = lambda: sum((folder / name).stat().st_size for name in data_files(folder))
    for number in range(12):
        connection("SET", "key-1", random.Random(number).randbytes(30_000))
        connection("SET", "key-18", random.Random(number).randbytes(30_000))
        fine(backup(folder, node, "--incremental"))
    wanted = sum(slot.get("bytes", 0) for slot in manifest(folder)["slots"])
    assert size() <= 2 * wanted
    assert sorted(file["name"] for file in manifest(folder)["files"]) == data_files(folder)
    fine(quorate("backup", "--verify", folder))

    # A file that is gone is written again.
    (folder / data_files(folder)[0]).unlink()
    assert quorate("backup", "--verify", folder).returncode == 1
    read, _ = read_and_kept(fine(backup(folder, node, "--incremental")))
    assert read > 0
    fine(quorate("backup", "--verify", folder))
    target = Node(tmp_path / "target").start()
    try:
        fine(restore(folder, target))
        assert contents(target.raw()) == contents(connection)
    finally:
        target.kill()


def test_damage_is_found_and_named(node, tmp_path):
    fill(node.raw())
    folder = tmp_path / "backup"
    fine(backup(folder, node))
    slots = manifest(folder)["slots"]
    files = manifest(folder)["files"]
    victim = max(slots, key=lambda slot: slot.get("bytes", 0))
    name = files[victim.get("file", 0)]["name"]
    whole = (folder / name).read_bytes()
    place = victim.get("offset", 0) + victim["bytes"] // 2
    (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
    outcome = quorate("backup", "--verify", folder)
    assert outcome.returncode == 1
    said = f"{name}: slot {victim['slot']}, {victim['bytes']} bytes from offset {victim.get('offset', 0)}"
    assert said + ": the checksum is another one" in outcome.stdout
    assert len(outcome.stdout.splitlines()) == 1

    target = Node(tmp_path / "target").start()
    try:
        outcome = restore(folder, target)
        assert outcome.returncode == 1 and said in outcome.stderr
        assert target.raw()("DBSIZE") == (b":", b"0"), "nothing was applied"
        outcome = restore(folder, target, "--keep-going")
        assert outcome.returncode == 1 and said in outcome.stderr
        lost = victim["keys"]
        assert len(contents(target.raw())) == len(contents(node.raw())) - lost > 0
        # Cut off, missing, and with a manifest that is not what it was.
        (folder / name).write_bytes(whole[:place])
        assert f"the file ends at {place}" in quorate("backup", "--verify", folder).stdout
        (folder / name).unlink()
        assert "the file is missing" in quorate("backup", "--verify", folder).stdout
        (folder / name).write_bytes(whole)
        fine(quorate("backup", "--verify", folder))
        fine(restore(folder, target))
        assert contents(target.raw()) == contents(node.raw())
    finally:
        target.kill()
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"version":1', '"version":9', 1))
    assert "version 9 of the format is unknown" in quorate("backup", "--verify", folder).stderr
    (folder / "manifest.json").write_text(text.replace('"keys":1', '"keys":3', 1))
    assert "checksum is another one" in quorate("backup", "--verify", folder).stderr
    assert quorate("backup", "--verify", tmp_path).returncode == 1
    assert "holds no backup" in quorate("restore", "--from", tmp_path).stderr


def test_an_interrupted_backup_leaves_the_one_before(node, tmp_path):
    connection = node.raw()
    fill(connection)
    folder = tmp_path / "backup"
    fine(backup(folder, node))
    expected, before = contents(connection), (folder / "manifest.json").read_bytes()
    for number in range(20_000):
        connection.send(encode("SET", f"more-{number}", random.Random(number).randbytes(1000)))
    for number in range(20_000):
        connection.read()
    files = data_files(folder)
    command = [QUORATE, "backup", "--to", folder, "--node", f"127.0.0.1:{node.port}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while len(data_files(folder)) < len(files) + 20:
        assert process.poll() is None and time.monotonic() < deadline
    process.send_signal(signal.SIGSTOP)
    second = backup(folder, node)
    assert second.returncode == 1 and "is in use by another backup" in second.stderr
    process.kill()
    process.wait()
    assert (folder / "manifest.json").read_bytes() == before
    assert set(files) < set(data_files(folder))
    assert "not part of the backup" in fine(quorate("backup", "--verify", folder))
    target = Node(tmp_path / "target").start()
    try:
        fine(restore(folder, target))
        assert contents(target.raw()) == expected
    finally:
        target.kill()
    fine(backup(folder, node))
    assert sorted(file["name"] for file in manifest(folder)["files"]) == data_files(folder)


def test_data_files_are_streams_for_a_real_redis(node, tmp_path):
    fill(node.raw())
    expected = contents(node.raw())
    folder = tmp_path / "backup"
    fine(backup(folder, node))
    for way in ["files", "command"]:
        server = Redis(tmp_path / way, free_port()).start()
        try:
            connection = server.raw()
            if way == "files":
                for name in data_files(folder):
                    connection.send((folder / name).read_bytes())
                    connection.send(encode("ECHO", "end of a file"))
                    while (reply := connection.read()) != (b"$", b"end of a file"):
                        assert reply[0] != b"-", reply
            else:
                fine(quorate("restore", "--from", folder, "--redis", f"127.0.0.1:{server.port}"))
            assert contents(connection) == expected
        finally:
            server.kill()


def partial_cluster(directory, *arguments):
    """More nodes than replicas."""
    servers = Cluster(directory, count=4, arguments=arguments)
    for node in servers.nodes:
        node.arguments[node.arguments.index("--rf") + 1] = "2"
    return servers


def test_nodes_that_hold_a_part_are_backed_up_together(tmp_path):
    servers = partial_cluster(tmp_path / "nodes").start()
    target = Node(tmp_path / "target").start()
    try:
        fill(servers[0].raw())
        wait_until(servers.settled, 60, "hints are delivered")
        folder = tmp_path / "backup"
        outcome = backup(folder, servers[0])
        assert outcome.returncode == 1 and "--cluster" in outcome.stderr
        assert not (folder / "manifest.json").exists()
        fine(backup(folder, servers[0], "--cluster"))
        taken = manifest(folder)
        names = [member["name"] for member in taken["members"]]
        assert sorted(names) == ["n1", "n2", "n3", "n4"]
        from_nodes = {names[slot["node"]] for slot in taken["slots"]}
        assert "n1" in from_nodes and len(from_nodes) > 1
        for slot in random.Random(1).sample(range(16384), 50):
            key = f"{slot}"
            located = {line.decode() for _, line in servers[1].raw()("QUORATE", "LOCATE", key)[1][3][1]}
            number = int(servers[1].raw()("CLUSTER", "KEYSLOT", key)[1])
            assert names[taken["slots"][number]["node"]] in located
        assert read_and_kept(fine(backup(folder, servers[0], "--cluster", "--incremental"))) == (0, 16384)
        # One node away: its slots have another replica.
        expected = contents(servers[0].raw())
        servers[2].kill()
        wait_until(lambda: any(m["state"] == "down" for m in servers[0].status()["members"]), 20,
                   "it is noticed")
        second = tmp_path / "second"
        assert "no majority of the replicas" in fine(backup(second, servers[0], "--cluster"))
        for each in [folder, second]:
            fine(restore(each, target))
            assert contents(target.raw()) == expected
        # The folder belongs to this cluster.
        outcome = backup(folder, target)
        assert outcome.returncode == 1 and "choose another folder" in outcome.stderr
        # Into a cluster whose nodes hold a part, through one that holds another.
        smaller = partial_cluster(tmp_path / "smaller", "--cluster", "small")
        try:
            smaller.start()
            fine(restore(folder, smaller[3]))
            for each in smaller.nodes:
                assert contents(each.raw()) == expected
        finally:
            smaller.stop()
    finally:
        target.kill()
        servers.stop()


def test_a_restore_says_what_is_not_there_because_it_was_deleted(cluster, tmp_path):
    node = cluster[0]
    connection = node.raw()
    wait_until(lambda: connection("SADD", "set", "a", "b") == (b":", b"2"), 20, "the first write")
    for number in range(20):
        assert connection("SET", f"k{number}", "v") == (b"+", b"OK")
    folder = tmp_path / "backup"
    fine(backup(folder, node))
    assert "not there" not in fine(restore(folder, node))
    assert connection("DEL", *(f"k{number}" for number in range(7))) == (b":", b"7")
    said = fine(restore(folder, node))
    assert "21 keys" in said and "not there, in whole or in part, are 7 of these keys" in said
    assert connection("DBSIZE") == (b":", b"14")
