"""The figures of a cluster whose members change: what clients notice, what travels, how fast.

    cargo build --release -p quorate-cli
    python3 tests/long/living.py --quorate target/release/quorate [--keys N] [--rounds N] [FIGURE ...]

| figure | what it is |
|---|---|
| grow | three members become six and three again under load: errors, anything lost, copies made beside the fewest |
| kill | a node is killed under load: errors of clients of the others, p99 of the 2 s after beside the 2 s before |
| replace | a member of three is replaced under load: errors, anything lost |
| pace | p99 while a member joins and leaves beside p99 before, at the default pace and 30 % of saturation |
| speed | bytes a second to a member that joins an idle cluster, beside `quorate entropy` in the same run |
| restarts | ten rolling restarts under load, a member joins in the fifth and leaves in the eighth: errors |

All nodes and clients share one machine, so times count only beside each other; each is the median of --rounds. An error
reply is a failure everywhere; so is anything acknowledged that is not there. Needs redis-py.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

FIGURES = ("grow", "kill", "replace", "pace", "speed", "restarts")

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--quorate", required=True, type=pathlib.Path)
arguments.add_argument("--keys", type=int, default=60_000, help="keys of 1,000 bytes that are there before")
arguments.add_argument("--rounds", type=int, default=5, help="how often what is timed is repeated")
arguments.add_argument("figures", nargs="*", default=FIGURES, help=", ".join(FIGURES))
arguments = arguments.parse_args()
os.environ["QUORATE_BINARY"] = str(arguments.quorate)

import redis  # noqa: E402
from nodes import START_SECONDS, Cluster, Node, free_port, wait_until  # noqa: E402
from test_growing import SLOTS, newcomer  # noqa: E402
from test_movement import at_rest  # noqa: E402
from test_topology import quorate, topology  # noqa: E402

MOVED_SECONDS = 900
CLIENTS = 6
VALUE = bytes(1_000)


class Client(threading.Thread):
    """Counts in keys of its own and reads them, with a pause after each; keeps times, errors and what was acknowledged.
    A closed connection is opened again at the same port, and what was on it may have been done."""

    def __init__(self, port, number, pause):
        super().__init__(daemon=True)
        self.redis = redis.Redis(port=port, retry=None, socket_timeout=30)
        self.number, self.pause = number, pause
        self.counts, self.errors, self.times, self.closed = {}, [], [], 0
        self.over = threading.Event()

    def run(self):
        turn = 0
        while not self.over.is_set():
            if self.pause:
                self.over.wait(self.pause)
            key = f"client{self.number}.{turn // 2 % 300}"
            turn += 1
            begun = time.monotonic()
            try:
                if turn % 2:
                    self.redis.incr(key)
                    self.counts[key] = self.counts.get(key, 0) + 1
                else:
                    self.redis.get(key)
                self.times.append((begun, time.monotonic() - begun))
            except (redis.ConnectionError, redis.TimeoutError):
                # Whether it was counted only the node knows.
                self.closed += 1
                self.counts.pop(key, None)
                self.number += 1_000
                time.sleep(0.02)
            except redis.RedisError as error:
                self.errors.append(f"{error}")


class Load:
    """Clients at these nodes."""

    def __init__(self, nodes, pause=0.004):
        self.clients = [Client(nodes[it % len(nodes)].port, it, pause) for it in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def stop(self):
        for client in self.clients:
            client.over.set()
        for client in self.clients:
            client.join()

    def errors(self):
        return [error for client in self.clients for error in client.errors]

    def done(self):
        return sum(len(client.times) for client in self.clients)

    def p99(self, begin, end):
        """Of what began in that time, in milliseconds."""
        found = sorted(took for client in self.clients for at, took in client.times if begin <= at < end)
        return 1_000 * found[len(found) * 99 // 100]

    def lost(self, nodes):
        """Counts that were acknowledged and are not there, at any node."""
        missing = []
        for node in nodes:
            asked = redis.Redis(port=node.port)
            for client in self.clients:
                found = asked.mget(list(client.counts)) if client.counts else []
                wrong = zip(client.counts.items(), found, strict=True)
                missing += [(key, count, value) for (key, count), value in wrong if int(value or 0) != count]
        return missing

    def verdict(self, nodes):
        self.stop()
        errors, lost = self.errors(), self.lost(nodes)
        closed = sum(client.closed for client in self.clients)
        said = f"{self.done()} operations, {len(errors)} errors, {closed} closed connections, {len(lost)} lost"
        return said + (f"; such as {(errors or lost)[0]}" if errors or lost else "")


def fill(node):
    client = redis.Redis(port=node.port, socket_timeout=60)
    for first in range(0, arguments.keys, 500):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + 500, arguments.keys)):
            pipeline.set(f"key{number}", VALUE)
        pipeline.execute()


def order(node, *words):
    """Gives an order; the copies that it makes."""
    return int(re.search(r"(\d+) copies are made", quorate(node, *words))[1])


def rest(nodes, names):
    wait_until(lambda: at_rest(nodes, sorted(names)), MOVED_SECONDS, f"{names} hold the slots")


def traffic(node):
    return topology(node)["round_bytes"]


def grow(directory, cluster):
    load, added, names = Load(cluster.nodes), [], ["n1", "n2", "n3"]
    try:
        for count in (4, 5, 6):
            added.append(newcomer(directory, cluster, f"n{count}"))
            names.append(f"n{count}")
            begun, least = time.monotonic(), SLOTS * 3 // count
            copies = order(cluster[0], "join", f"n{count}")
            rest(cluster.nodes + added, names)
            print(f"grow: join n{count}: {copies} copies, {copies / least:.3f} of the fewest, "
                  f"{time.monotonic() - begun:.0f} s", flush=True)
        for count in (6, 5, 4):
            begun, least = time.monotonic(), SLOTS * 3 // count
            copies = order(cluster[1], "leave", f"n{count}")
            gone = added.pop()
            names.pop()
            rest(cluster.nodes + added, names)
            gone.process.wait(START_SECONDS)
            print(f"grow: leave n{count}: {copies} copies, {copies / least:.3f} of the fewest, "
                  f"{time.monotonic() - begun:.0f} s", flush=True)
        print(f"grow: {load.verdict(cluster.nodes)}", flush=True)
        cluster.settle()
        print("grow: all digests are equal", flush=True)
    finally:
        load.stop()
        for node in added:
            node.kill()


def kill(directory, cluster):
    ratios = []
    load = Load(cluster.nodes[:2], pause=0.01)
    try:
        for _ in range(arguments.rounds):
            time.sleep(3)
            at = time.monotonic()
            cluster[2].kill()
            time.sleep(3)
            before, after = load.p99(at - 2, at), load.p99(at, at + 2)
            ratios.append(after / before)
            print(f"kill: p99 {before:.1f} ms before, {after:.1f} ms in the 2 s after", flush=True)
            cluster[2].start()
            wait_until(cluster.settled, 120, "it has caught up")
        print(f"kill: p99 {statistics.median(ratios):.2f} times (median of {len(ratios)}, "
              f"{min(ratios):.2f} to {max(ratios):.2f}); {load.verdict(cluster.nodes)}", flush=True)
    finally:
        load.stop()


def replace(directory, cluster):
    load, added = Load(cluster.nodes[:2]), None
    try:
        added = newcomer(directory, cluster, "n4")
        begun = time.monotonic()
        quorate(cluster[0], "replace", "n3", "--by", "n4")
        left = [*cluster.nodes[:2], added]
        rest(left, ["n1", "n2", "n4"])
        print(f"replace: {time.monotonic() - begun:.0f} s; {load.verdict(left)}", flush=True)
    finally:
        load.stop()
        if added:
            added.kill()


def pace(directory, cluster):
    # What the clients get when they do not pause, on as many connections.
    load = Load(cluster.nodes, pause=0)
    time.sleep(5)
    load.stop()
    saturation = load.done() / 5
    pause = CLIENTS / (0.3 * saturation) - CLIENTS / saturation
    load, ratios, added, names = Load(cluster.nodes, pause), [], None, ["n1", "n2", "n3"]
    try:
        for turn in range(arguments.rounds):
            name = f"n{turn + 4}"
            added = newcomer(directory, cluster, name)
            time.sleep(5)
            begun = time.monotonic()
            before = load.p99(begun - 5, begun)
            order(cluster[0], "join", name)
            rest([*cluster.nodes, added], [*names, name])
            order(cluster[0], "leave", name)
            rest(cluster.nodes, names)
            ended = time.monotonic()
            added.process.wait(START_SECONDS)
            ratios.append(load.p99(begun, ended) / before)
            print(f"pace: p99 {before:.2f} ms before, {load.p99(begun, ended):.2f} ms for {ended - begun:.0f} s",
                  flush=True)
        print(f"pace: at {0.3 * saturation:.0f} operations a second p99 {statistics.median(ratios):.2f} times (median "
              f"of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f}); {load.verdict(cluster.nodes)}", flush=True)
    finally:
        load.stop()
        if added:
            added.kill()


def channel(directory, side, node, *words):
    command = [arguments.quorate, "entropy", side, *words, "--key-file", directory / "key",
               "--iv-file", directory / "iv", "--node", f"127.0.0.1:{node.port}", "--timeout", "600"]
    return subprocess.Popen([str(it) for it in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def speed(directory, cluster):
    (directory / "key").write_bytes(b"k" * 16)
    (directory / "iv").write_bytes(b"i" * 16)
    names, ratios = ["n1", "n2", "n3"], []
    for turn in range(arguments.rounds):
        lone = Node(directory / f"lone{turn}", f"lone{turn}").start()
        name = f"n{turn + 4}"
        added = newcomer(directory, cluster, name)
        try:
            port, begun = free_port(), time.monotonic()
            receiver = channel(directory, "receive", lone, "--listen", f"127.0.0.1:{port}", "--into-store")
            sender = channel(directory, "send", cluster[0], "--peer", f"127.0.0.1:{port}", "--from-store")
            said = sender.communicate(timeout=600)[1]
            assert sender.returncode == 0, said
            receiver.kill()
            channelled = 1_000 * arguments.keys / (time.monotonic() - begun)
            begun, least = time.monotonic(), SLOTS * 3 // 4
            copies = order(cluster[0], "join", name)
            rest([*cluster.nodes, added], [*names, name])
            moved = 1_000 * arguments.keys * copies / SLOTS / (time.monotonic() - begun)
            ratios.append(moved / channelled)
            print(f"speed: {moved / 1e6:.1f} MB/s moved, {channelled / 1e6:.1f} MB/s by quorate entropy, "
                  f"{copies / least:.3f} of the fewest copies", flush=True)
            order(cluster[0], "leave", name)
            rest(cluster.nodes, names)
            added.process.wait(START_SECONDS)
        finally:
            lone.kill()
            added.kill()
    print(f"speed: {statistics.median(ratios):.2f} times that of quorate entropy (median of {len(ratios)}, "
          f"{min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def restarts(directory, cluster):
    load, added = Load(cluster.nodes), None
    try:
        for turn in range(1, 11):
            members = [*cluster.nodes, added] if added else cluster.nodes
            names = [node.name for node in members]
            if turn == 5:
                added = newcomer(directory, cluster, "n4")
                order(cluster[0], "join", "n4")
            if turn == 8:
                order(cluster[0], "leave", "n4")
            # While slots are on their way.
            for node in cluster.nodes:
                assert node.stop() == 0, node.log()
                node.start()
                wait_until(lambda node=node: node.status()["ready"], 120, f"{node.name} is ready")
                time.sleep(1)
            if turn in (5, 8):
                members = [*cluster.nodes, added] if turn == 5 else cluster.nodes
                names = [node.name for node in members]
                rest(members, names)
            if turn == 8:
                added.process.wait(START_SECONDS)
                added = None
            print(f"restarts: {turn}, {len(load.errors())} errors", flush=True)
        print(f"restarts: {load.verdict(cluster.nodes)}", flush=True)
    finally:
        load.stop()
        if added:
            added.kill()


for figure in arguments.figures:
    with tempfile.TemporaryDirectory(prefix="quorate-living-") as folder:
        folder = pathlib.Path(folder)
        members = Cluster(folder)
        print(f"{figure}: load average {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores", flush=True)
        try:
            members.start()
            assert redis.Redis(port=members[0].port).set("first", "write")
            fill(members[0])
            members.settle()
            globals()[figure](folder, members)
        finally:
            members.stop()
