"""Killed processes: nothing that was acknowledged is lost."""

import os
import pathlib
import random
import shutil
import subprocess
import threading
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from nodes import Cluster, Node, lacking, wait_until

# The client must not send anything twice by itself: every outcome is counted here.
ONCE = Retry(NoBackoff(), 0)
COMMANDS = int(os.environ.get("QUORATE_TEST_COMMANDS", "50000"))
CLIENTS = 6


class Writer(threading.Thread):
    """Writes keys of its own through one node at a time, and remembers what was acknowledged.

    `sure` holds what must be there; where an outcome is unknown, `maybe` holds what may be there
    instead.
    """

    def __init__(self, number, ports, count):
        super().__init__()
        self.number, self.ports, self.count = number, ports, count
        self.sure, self.maybe = {}, {}
        self.acknowledged = self.unknown = 0
        self.generator = random.Random(number)
        self.failure = None
        self.tainted = set()

    def run(self):
        try:
            self.write()
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            self.failure = error

    def write(self):
        clients = {}
        done = turn = 0
        while done < self.count:
            turn += 1
            port = self.ports[(self.number + turn // 10) % len(self.ports)]
            if port not in clients:
                try:
                    clients[port] = self.connect(port)
                except (redis.ConnectionError, OSError):
                    time.sleep(0.01)  # Nothing was sent: the next one, please.
                    continue
            batch = [self.command() for _ in range(20)]
            done += len(batch)
            try:
                client = clients[port]
                pipeline = client.pipeline(transaction=False)
                for words, _, _ in batch:
                    pipeline.execute_command(*words)
                replies = pipeline.execute(raise_on_error=False)
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                clients.pop(port, None)
                replies = [redis.ConnectionError()] * len(batch)
                time.sleep(0.02)
            for (_, key, new), reply in zip(batch, replies):
                self.note(key, new, reply)

    def connect(self, port):
        client = redis.Redis(port=port, socket_timeout=20, single_connection_client=True, retry=ONCE)
        client.execute_command("QUORATE", "LEVEL", "READ", "QUORUM", "WRITE", "QUORUM")
        return client

    def command(self):
        """A command, its key and what the key holds afterwards (a function of what it held)."""
        kind = self.generator.randrange(6)
        key = f"{'sihcdx'[kind]}:{self.number}:{self.generator.randrange(300)}"
        value = str(self.generator.randrange(1_000_000))
        if kind == 0:
            return ("SET", key, value), key, lambda old: value
        if kind == 1:
            return ("SADD", key, value), key, lambda old: frozenset(old or ()) | {value}
        if kind == 2:
            return ("HSET", key, "f" + value[-1], value), key, lambda old: {**(old or {}), "f" + value[-1]: value}
        if kind == 3:
            return ("INCR", key), key, lambda old: str(int(old or 0) + 1)
        if kind == 4 and self.generator.random() < 0.3:
            return ("DEL", key), key, lambda old: None
        if kind == 4:
            return ("SET", key, value, "EX", "100000"), key, lambda old: value
        return ("APPEND", key, value[-1]), key, lambda old: (old or "") + value[-1]

    def note(self, key, new, reply):
        failed = isinstance(reply, Exception)
        nothing_done = failed and any(
            word in str(reply) for word in ("UNAVAILABLE", "OVERLOADED", "MISCONF", "nothing was done"))
        if nothing_done:
            return
        before = [self.sure.get(key), *self.maybe.get(key, [])]
        after = [new(old) for old in before]
        if failed:
            self.unknown += 1
            # It may have happened or not, now or later.
            self.maybe[key] = (self.maybe.get(key, []) + after)[:64]
            self.tainted.add(key)
        else:
            self.acknowledged += 1
            self.sure[key], self.maybe[key] = after[0], after[1:]

    def verify(self, port):
        """Reads everything back at ONE and compares."""
        client = redis.Redis(port=port, decode_responses=True, single_connection_client=True)
        client.execute_command("QUORATE", "LEVEL", "READ", "ONE")
        for key, value in self.sure.items():
            found = read(client, key)
            allowed = [value, *self.maybe.get(key, [])]
            if key in self.tainted:
                assert possible(key, value, found, allowed), f"{key}: {found} not among {allowed}"
            else:
                assert found == value, f"{key} on port {port}: {found!r} instead of {value!r}"


def read(client, key):
    if key[0] == "i":
        return frozenset(client.smembers(key)) or None
    if key[0] == "h":
        return client.hgetall(key) or None
    return client.get(key)


def possible(key, sure, found, allowed):
    """What a key may hold after unknown outcomes: they take effect late, early or never."""
    if key[0] == "i":
        return sure is None or sure <= (found or frozenset())
    if key[0] == "c":
        counts = [int(each or 0) for each in allowed]
        return min(counts) <= int(found or 0) <= max(counts) + 1
    if key[0] == "h":
        return sure is None or found is not None and set(sure) <= set(found)
    return found in allowed or found is not None


def load(cluster, count, disturb):
    ports = [node.port for node in cluster.nodes]
    # One write before the load seals the member list.
    redis.Redis(port=ports[0]).set("first", "write")
    writers = [Writer(number, ports, count // CLIENTS) for number in range(CLIENTS)]
    for writer in writers:
        writer.start()
    disturb(writers)
    for writer in writers:
        writer.join()
        assert writer.failure is None, writer.failure
    return writers


def verify(cluster, writers):
    for writer in writers:
        for node in cluster.nodes:
            writer.verify(node.port)
    acknowledged = sum(writer.acknowledged for writer in writers)
    unknown = sum(writer.unknown for writer in writers)
    print(f"{acknowledged} acknowledged, {unknown} unknown")
    assert acknowledged > 10 * unknown


def progress(writers):
    return sum(writer.acknowledged for writer in writers)


def test_a_killed_node_loses_nothing_acknowledged(cluster):
    def kill_and_restart(writers):
        wait_until(lambda: progress(writers) > COMMANDS // 5, 120, "a fifth is written")
        cluster[1].kill()
        wait_until(lambda: progress(writers) > COMMANDS // 2, 120, "half is written")
        cluster[1].start()

    writers = load(cluster, COMMANDS, kill_and_restart)
    cluster.settle()
    verify(cluster, writers)


def test_all_killed_at_once_lose_nothing_acknowledged_with_sync_always(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--sync", "always"]).start()

    def kill_all(writers):
        wait_until(lambda: progress(writers) > COMMANDS // 10, 200, "a tenth is written")
        for node in cluster.nodes:
            node.process.kill()
        for node in cluster.nodes:
            node.process.wait()
        for node in cluster.nodes:
            node.launch()
        for node in cluster.nodes:
            node.start() if node.process.poll() is not None else None

    try:
        writers = load(cluster, COMMANDS, kill_all)
        cluster.settle()
        verify(cluster, writers)
    finally:
        cluster.stop()


@pytest.mark.parametrize("kill", [False, True], ids=["calm", "with-a-kill"])
def test_concurrent_increments_add_up(cluster, kill):
    ports = [node.port for node in cluster.nodes]
    redis.Redis(port=ports[0]).set("first", "write")
    outcomes = []

    def increment(port):
        good = unknown = 0
        client = redis.Redis(port=port, socket_timeout=20, retry=ONCE)
        while good + unknown < 2_000:
            try:
                client.incr("counter")
                good += 1
            except redis.ResponseError as error:
                if "nothing was done" not in str(error):
                    unknown += 1
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                unknown += 1
                time.sleep(0.01)
        outcomes.append((good, unknown))

    threads = [threading.Thread(target=increment, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    if kill:
        time.sleep(0.3)
        cluster[2].kill()
        time.sleep(1.5)
        cluster[2].start()
    for thread in threads:
        thread.join()
    cluster.settle()
    acknowledged = sum(good for good, _ in outcomes)
    unknown = sum(unknown for _, unknown in outcomes)
    values = {int(redis.Redis(port=port).get("counter")) for port in ports}
    assert len(values) == 1
    value = values.pop()
    assert acknowledged <= value <= acknowledged + unknown, (acknowledged, value, unknown)
    if not kill:
        assert unknown == 0 and value == 6_000


def test_one_node_killed_under_load_and_started_at_once(tmp_path):
    node = Node(tmp_path).start()
    try:
        for round_number in range(3):
            client = redis.Redis(port=node.port)
            last = [0]

            def write():
                try:
                    for n in range(100_000):
                        client.set(f"r{round_number}:{n}", n)
                        last[0] = n
                except (redis.ConnectionError, OSError):
                    pass

            thread = threading.Thread(target=write)
            thread.start()
            time.sleep(0.7)
            node.kill()
            thread.join()
            node.start()
            client = redis.Redis(port=node.port)
            for n in range(last[0] + 1):
                assert client.get(f"r{round_number}:{n}") == str(n).encode()
    finally:
        node.kill()


def test_an_orderly_stop_loses_nothing_and_survives_a_change_of_shards(tmp_path):
    node = Node(tmp_path, arguments=["--shards", "1"]).start()
    client = redis.Redis(port=node.port)
    expected = {f"k{n}": str(n).encode() for n in range(5_000)}
    client.mset(expected)
    client.hset("h", mapping={"a": 1})
    client.expire("h", 100_000)
    assert node.stop() == 0
    for shards in ("3", "2", "1"):
        node.arguments = ["--shards", shards]
        node.start()
        client = redis.Redis(port=node.port)
        assert client.dbsize() == 5_001
        assert client.mget(list(expected)) == list(expected.values())
        assert client.hgetall("h") == {b"a": b"1"} and client.ttl("h") > 0
        assert node.stop() == 0


def segments(node):
    return sorted(pathlib.Path(node.directory / "data").glob("log-*/*.log"))


def test_a_torn_tail_is_cut_off_and_reported(tmp_path):
    node = Node(tmp_path, arguments=["--shards", "1"]).start()
    client = redis.Redis(port=node.port)
    for n in range(100):
        client.set(f"k{n}", n)
    node.kill()
    newest = segments(node)[-1]
    data = bytearray(newest.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end:end + 50] = os.urandom(50)
    newest.write_bytes(data)
    node.start()
    client = redis.Redis(port=node.port)
    assert [client.get(f"k{n}") for n in range(100)] == [str(n).encode() for n in range(100)]
    assert "torn" in node.log()
    node.kill()


def test_a_damaged_log_is_never_read_as_data(tmp_path):
    node = Node(tmp_path, arguments=["--shards", "1"]).start()
    client = redis.Redis(port=node.port)
    for n in range(100):
        client.set(f"k{n}", "value" + str(n))
    assert node.stop() == 0
    oldest = segments(node)[0]
    data = bytearray(oldest.read_bytes())
    at = data.index(b"value50")
    data[at] ^= 1
    oldest.write_bytes(data)
    node.launch()
    wait_until(lambda: node.process.poll() is not None, 20, "the node refuses to start")
    assert "damaged" in node.log() and "accept_damaged_log" in node.log()
    node.arguments.append("--accept-damaged-log")
    node.start()
    client = redis.Redis(port=node.port)
    values = [client.get(f"k{n}") for n in range(100)]
    assert values[50] is None
    assert values[:50] + values[51:] == [b"value%d" % n for n in range(100) if n != 50]
    node.kill()


def test_a_wiped_node_is_refilled_by_the_others(cluster):
    client = redis.Redis(port=cluster[0].port)
    client.mset({f"k{n}": n for n in range(2_000)})
    cluster[2].kill()
    for log in (cluster[2].directory / "data").glob("log-*/*"):
        log.unlink()
    cluster[2].start()
    cluster.settle()
    third = cluster[2].raw()
    third("QUORATE", "LEVEL", "READ", "ONE")
    for n in range(2_000):
        assert third("GET", f"k{n}") == (b"$", str(n).encode())


def test_a_full_disk_refuses_writes_and_keeps_reads(tmp_path):
    if os.geteuid() != 0:
        lacking("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)], check=True)
    try:
        node = Node(disk, arguments=["--shards", "1"]).start()
        client = redis.Redis(port=node.port)
        client.set("small", "value")
        value, refused = os.urandom(1 << 20), None
        for n in range(400):
            try:
                client.set(f"big{n}", value)
            except redis.ResponseError as error:
                refused = str(error)
                break
        assert refused and "MISCONF" in refused and "nothing was done" in refused
        assert client.get("small") == b"value" and client.get("big0") == value
        with pytest.raises(redis.ResponseError):
            client.set("small", value)
        assert client.get("small") == b"value"
        node.kill()
        subprocess.run(["mount", "-o", "remount,size=800m", str(disk)], check=True)
        node.start()
        client = redis.Redis(port=node.port)
        assert client.get("small") == b"value" and client.get("big0") == value
        assert client.set("small", "again")
        node.kill()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_a_lone_node_whose_logs_are_gone_refuses_to_start(tmp_path):
    node = Node(tmp_path / "node", arguments=["--shards", "3"]).start()
    client = redis.Redis(port=node.port)
    client.mset({f"k{n}": n for n in range(3_000)})
    held = client.dbsize()
    assert held == 3_000
    node.stop()
    data = node.directory / "data"
    logs = sorted(data.glob("log-*"))
    assert len(logs) == 3
    for gone in [logs[:1], logs[2:], logs]:
        for log in gone:
            log.rename(tmp_path / log.name)
        node.launch()
        assert node.process.wait(20) != 0
        assert f"{gone[0].name} is gone; accept_damaged_log" in node.log()
        for log in gone:
            shutil.rmtree(log, ignore_errors=True)
            (tmp_path / log.name).rename(log)
    node.start()
    assert redis.Redis(port=node.port).dbsize() == 3_000
    node.stop()
    shutil.rmtree(logs[0])
    node.arguments.append("--accept-damaged-log")
    node.start()
    assert 0 < redis.Redis(port=node.port).dbsize() < 3_000
    node.kill()


def test_logs_that_the_identity_does_not_name_are_not_left_out(tmp_path):
    node = Node(tmp_path / "node", arguments=["--shards", "2"]).start()
    redis.Redis(port=node.port).mset({f"k{n}": n for n in range(1_000)})
    node.stop()
    data = node.directory / "data"
    for name in ["log-1-2", "log-7-0"]:
        shutil.copytree(data / "log-1-0", data / name)
        node.launch()
        assert node.process.wait(20) != 0
        assert f"holds {name}, which its node.json does not name" in node.log()
        assert (data / name).is_dir()
        shutil.rmtree(data / name)
    # What a change of the number of shards leaves when it is cut short.
    shutil.copytree(data / "log-1-0", data / "log-2-0")
    node.start()
    assert redis.Redis(port=node.port).dbsize() == 1_000
    assert not (data / "log-2-0").exists()
    node.kill()
