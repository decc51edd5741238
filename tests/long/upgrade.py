"""A cluster of an older version becomes one of this version and goes back, under load, and nothing is lost.

    git worktree add /tmp/older 641b657 && (cd /tmp/older && cargo build --release -p quorate-cli)
    cargo build --release -p quorate-cli
    python3 tests/long/upgrade.py --older /tmp/older/target/release/quorate --newer target/release/quorate

641b657 is the oldest version that this one works together with. Three nodes of it, RF 3, QUORUM, get strings, hashes,
sets, sorted sets, counters, expiries, JSON documents and an index, while one after the other is stopped and started
as the newer version, and then the other way round; with --kill by SIGKILL. Clients repeat what was on a closed
connection and nothing else. Any error reply, anything acknowledged that is not there, replicas that differ, and an
index that does not show what the documents say, is a failure, and so is an order that a member of the older version would
not understand and that is not refused. Takes about two minutes. Needs redis-py.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--older", required=True, type=pathlib.Path, help="a binary of 641b657 or later")
arguments.add_argument("--newer", required=True, type=pathlib.Path, help="a binary of this version")
arguments.add_argument("--kill", action="store_true", help="nodes are killed instead of stopped")
arguments = arguments.parse_args()
os.environ["QUORATE_BINARY"] = str(arguments.newer)

import redis  # noqa: E402
from nodes import Cluster, Node, wait_until  # noqa: E402
from test_topology import quorate  # noqa: E402

CLIENTS = 6
CAUGHT_UP_SECONDS = 60
# Of one client, so that what it was told last is what must be there.
KEYS = 40


class AnyVersion(Node):
    """A node that is started with either binary."""

    binary = arguments.older

    def command(self):
        return [str(self.binary), *super().command()[1:]]


class Client(threading.Thread):
    """Writes to keys of its own, and keeps what was acknowledged."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        # Whether a closed connection's command was executed is for this client to find out, not for the library.
        self.redis = redis.Redis(port=port, retry=None, socket_timeout=30, decode_responses=True)
        self.number, self.turn = number, 0
        self.counts, self.strings, self.members, self.documents = {}, {}, {}, {}
        self.repeated, self.errors, self.over = 0, [], threading.Event()

    def run(self):
        while not self.over.wait(0.001):
            key = f"{{{self.number}.{self.turn % KEYS}}}"
            self.turn += 1
            try:
                self.write(key)
            except redis.exceptions.BusyLoadingError:
                time.sleep(0.01)
            except redis.ResponseError as error:
                self.errors.append(f"{key}: {error}")

    def repeat(self, write):
        """Carries out a write that may be carried out twice, again after each lost connection."""
        while True:
            try:
                return write()
            except redis.exceptions.BusyLoadingError:
                time.sleep(0.01)
            except (redis.ConnectionError, redis.TimeoutError):
                self.repeated += 1
                time.sleep(0.01)

    def write(self, key):
        turn = self.turn
        kind = turn // KEYS % 6
        if kind == 0:
            self.repeat(lambda: self.redis.set(f"s{key}", turn))
            self.strings[f"s{key}"] = str(turn)
        elif kind == 1:
            # Repeated, it may count twice.
            low, high = self.counts.get(f"c{key}", (0, 0))
            before = self.repeated
            self.repeat(lambda: self.redis.incr(f"c{key}"))
            self.counts[f"c{key}"] = (low + 1, high + 1 + self.repeated - before)
        elif kind == 2:
            self.repeat(lambda: self.redis.zadd(f"z{key}", {f"m{turn}": turn}))
            self.members.setdefault(f"z{key}", set()).add(f"m{turn}")
        elif kind == 3:
            self.repeat(lambda: self.redis.hset(f"h{key}", mapping={"title": f"word{turn % 7}", "n": turn}))
            self.documents[f"h{key}"] = turn
        elif kind == 4:
            self.repeat(lambda: self.redis.json().set(f"j{key}", "$", {"turn": turn, "list": [1, turn]}))
            self.strings[f"j{key}"] = turn
        else:
            self.repeat(lambda: self.redis.set(f"x{key}", turn, px=1 + turn % 50))
            self.repeat(lambda: self.redis.delete(f"x{key}"))


def restart(node, binary):
    if arguments.kill:
        node.kill()
    else:
        code = node.stop()
        assert code == 0, f"{node.name} stopped with {code}:\n{node.log()}"
    node.binary = binary
    node.start()


def accepts(node, *words):
    command = [arguments.newer, *words, "--address", f"127.0.0.1:{node.port}"]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def check(nodes, clients):
    documents = sum(len(client.documents) for client in clients)
    for node in nodes:
        asked = redis.Redis(port=node.port, decode_responses=True)
        for client in clients:
            for key, value in client.strings.items():
                found = asked.json().get(key, "$.turn")[0] if key[0] == "j" else asked.get(key)
                assert found == value, f"{node.name}: {key} is {found}, and {value} was acknowledged"
            for key, (low, high) in client.counts.items():
                found = int(asked.get(key))
                assert low <= found <= high, f"{node.name}: {key} is {found}, not {low} to {high}"
            for key, members in client.members.items():
                lost = members - set(asked.zrange(key, 0, -1))
                assert not lost, f"{node.name}: {key} lacks {sorted(lost)[:5]}"
            for key, turn in client.documents.items():
                found = asked.hget(key, "n")
                assert found == str(turn), f"{node.name}: {key} has {found}, and {turn} was acknowledged"
        found = asked.ft("words").search("*").total
        assert found == documents, f"{node.name}: the index has {found} of {documents} documents"
        by_word = sum(asked.ft("words").search(f"word{word}").total for word in range(7))
        assert by_word == documents, f"{node.name}: {by_word} of {documents} documents are found by their words"


def main(directory):
    cluster = Cluster(directory)
    nodes = [AnyVersion(node.directory, node.name, node.seeds, node.arguments) for node in cluster.nodes]
    for node in nodes:
        node.seeds = [other.peer_port for other in nodes if other is not node]
    cluster.nodes = nodes
    clients = []
    try:
        cluster.start()
        first = redis.Redis(port=nodes[0].port)
        assert first.set("first", "write")
        first.execute_command("FT.CREATE", "words", "PREFIX", 1, "h{", "SCHEMA", "title", "TEXT", "n", "NUMERIC")
        cluster.settle()
        clients = [Client(nodes[number % 3].port, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(3)
        for binary in (arguments.newer, arguments.older, arguments.newer):
            for node in nodes:
                if binary == arguments.newer and node is nodes[2]:
                    refused = quorate(nodes[0], "drain", "n1", code=1)
                    assert "not every member is known to understand that: n3" in refused, refused
                restart(node, binary)
                wait_until(cluster.settled, CAUGHT_UP_SECONDS, f"{node.name} has caught up with {binary}")
                time.sleep(1)
            print(f"all run {binary}; {sum(client.turn for client in clients)} writes", flush=True)
        for words in (["drain", "n1"], ["drain", "n1", "--undo"]):
            wait_until(lambda words=words: accepts(nodes[1], *words), CAUGHT_UP_SECONDS, "all understand it")
        for client in clients:
            client.over.set()
        for client in clients:
            client.join()
        cluster.settle()
        errors = [error for client in clients for error in client.errors]
        assert not errors, f"{len(errors)} error replies, such as {errors[:3]}"
        check(nodes, clients)
        writes, repeated = (sum(getattr(client, it) for client in clients) for it in ("turn", "repeated"))
        print(f"{writes} writes acknowledged, {repeated} repeated on another connection, 0 errors, nothing lost")
    finally:
        for client in clients:
            client.over.set()
        cluster.stop()


with tempfile.TemporaryDirectory(prefix="quorate-upgrade-") as directory:
    main(pathlib.Path(directory))
