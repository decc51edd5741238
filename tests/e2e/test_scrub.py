"""Scrubs of real nodes: rot under a node that serves is found, named and healed from memory."""

import subprocess

import pytest
from nodes import QUORATE, Cluster, Node, fields, wait_until

KEYS = 500
SEGMENT_HEADER = 32
RECORD_HEADER = 24


def scrub(node):
    return subprocess.run([QUORATE, "scrub", "--node", f"127.0.0.1:{node.port}"],
                          capture_output=True, text=True, timeout=60)


def info(connection):
    text = connection("INFO")[1].decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def write_keys(node):
    connection = node.raw()
    for number in range(KEYS):
        assert connection("SET", f"key:{number}", f"value {number}") == (b"+", b"OK")
    connection.close()


def check_keys(node):
    connection = node.raw()
    for number in range(KEYS):
        assert connection("GET", f"key:{number}") == (b"$", f"value {number}".encode())
    connection.close()


def segments(node):
    """The segments of the log that hold records, the oldest first."""
    files = sorted((node.directory / "data").glob("log-*-0/*.log"))
    return [file for file in files if any(file.read_bytes()[SEGMENT_HEADER:])]


def flip(file, offset):
    with open(file, "r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ 0x10]))


def flip_in_first_record(node):
    """Spoils the payload of the first record. Returns the file."""
    file = segments(node)[0]
    flip(file, SEGMENT_HEADER + RECORD_HEADER + 5)
    return file


def is_synced(node):
    """Whether the superblock says that the first record is durable: what was not can be torn."""
    blocks = [file.read_bytes() for file in (node.directory / "data").glob("log-*-0/superblock")]
    return all(any(int.from_bytes(block[slot + 40:slot + 48], "little") for slot in (0, 4096))
               for block in blocks) and blocks != []


def quarantined(node):
    return sorted((node.directory / "data" / "quarantine").glob("*"))


def assert_found_and_healed(node, file, spoilt):
    result = scrub(node)
    assert result.returncode == 1, result
    place = f"{file.parent}: segment {file.name} at byte {SEGMENT_HEADER}: records from"
    assert place in result.stdout, result
    assert "1 damaged places" in result.stdout
    # Kept as it was found, under the name that the documentation gives.
    kept = node.directory / "data" / "quarantine" / f"{file.parent.name}-{file.name}"
    assert quarantined(node) == [kept]
    # The node may have written on before it found the damage.
    assert kept.read_bytes().startswith(spoilt.rstrip(b"\0"))
    assert not file.exists()
    again = scrub(node)
    assert again.returncode == 0, again
    assert again.stdout.startswith("clean: "), again
    connection = node.raw()
    found = info(connection)
    assert (found["scrub_running"], found["scrub_damages"], found["scrub_mismatches"]) == ("0", "1", "0")
    assert int(found["scrub_keys_checked"]) >= 2 * KEYS
    assert int(found["scrub_bytes_checked"]) > 20 * KEYS
    assert int(found["scrub_last_done_ms"]) > 0
    connection.close()


def test_a_lone_node_heals_rot_from_memory(tmp_path):
    node = Node(tmp_path / "node", arguments=["--shards", "1"]).start()
    try:
        write_keys(node)
        digest = node.digest()
        file = flip_in_first_record(node)
        assert_found_and_healed(node, file, file.read_bytes())
        node.kill()
        node.start()
        assert node.digest() == digest
        check_keys(node)
        assert "the log is damaged" not in node.log()
        assert scrub(node).returncode == 0
    finally:
        node.kill()


def test_a_member_stays_complete(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--shards", "1"]).start()
    try:
        write_keys(cluster[0])
        cluster.settle()
        node = cluster[1]
        file = flip_in_first_record(node)
        assert_found_and_healed(node, file, file.read_bytes())
        node.kill()
        node.start()
        cluster.settle()
        for each in cluster.nodes:
            check_keys(each)
        assert "the log is damaged" not in node.log()
        assert "acknowledged data may be missing" not in node.log()
    finally:
        cluster.stop()


def test_rot_that_a_start_finds_is_kept_aside_too(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--shards", "1"]).start()
    try:
        write_keys(cluster[0])
        cluster.settle()
        node = cluster[2]
        wait_until(lambda: is_synced(node), 10, "the log is synced")
        node.kill()
        file = flip_in_first_record(node)
        node.start()
        assert "the log is damaged" in node.log()
        cluster.settle()
        name = f"{file.parent.name}-{file.name}"
        wait_until(lambda: [path.name for path in quarantined(node)] == [name], 20,
                   "the segment is moved aside")
        check_keys(node)
        # The log was rewritten: the next start finds nothing wrong with it.
        node.kill()
        before = node.log().count("the log is damaged")
        node.start()
        assert node.log().count("the log is damaged") == before
        cluster.settle()
    finally:
        cluster.stop()


def test_scrubs_come_by_themselves_and_can_be_stopped(tmp_path):
    node = Node(tmp_path / "node", arguments=["--shards", "2", "--scrub-interval-seconds", "1",
                                              "--scrub-bytes-per-second", "65536"]).start()
    try:
        write_keys(node)
        connection = node.raw()

        def status(*words):
            return fields(connection("QUORATE", "SCRUB", *words))

        wait_until(lambda: status()["last_done_ms"] > 0, 30, "a scrub has ended")
        assert status()["findings"] == []
        # Half a megabyte takes eight seconds at this pace.
        for _ in range(8):
            assert connection("SET", "large", "x" * 65_536)[0] == b"+"
        assert status("START")["state"] == "running"
        assert status("STOP")["outcome"] == "stopped"
        assert status("STATUS")["state"] == "idle"
        for wrong in (["NOW"], ["START", "twice"], ["STATUS", "more"]):
            assert connection("QUORATE", "SCRUB", *wrong)[0] == b"-"
        connection.close()
    finally:
        node.kill()


@pytest.mark.parametrize("setting", [["--scrub-bytes-per-second", "1"],
                                     ["--scrub-interval-seconds", "999999999"]])
def test_wrong_settings_are_named(tmp_path, setting):
    node = Node(tmp_path / "node", arguments=setting)
    with pytest.raises(AssertionError, match=setting[0].strip("-").replace("-", "_")):
        node.start()


def test_a_scrub_in_memory_checks_digests(tmp_path):
    node = Node(tmp_path / "node")
    command = [QUORATE, "serve", "--memory", "--listen", f"127.0.0.1:{node.port}",
               "--peer-listen", f"127.0.0.1:{node.peer_port}", "--cluster-listen", "none"]
    node.command = lambda: command
    node.start()
    try:
        write_keys(node)
        result = scrub(node)
        assert result.returncode == 0, result
        assert f"clean: {KEYS} keys and 0 bytes checked" in result.stdout
    finally:
        node.kill()
