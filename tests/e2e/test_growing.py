"""A cluster grows from three members to six and shrinks again, a member is replaced, and cluster clients
keep working through all of it, while others write."""

import re
import threading
import time

import redis
from nodes import START_SECONDS, Cluster, Node, wait_until
from test_movement import MOVED_SECONDS, Writer, at_rest
from test_topology import quorate, topology

SLOTS = 16_384

# A client that loses its node asks the others for the slots anew.
KILLED_SECONDS = 10


def newcomer(directory, cluster, name):
    """A node that waits to be taken in."""
    seeds = [f"127.0.0.1:{node.peer_port}" for node in cluster.nodes]
    node = Node(directory / name, name, seeds, ["--join", "--rack", f"r{name[1:]}"]).launch()
    wait_until(lambda: name in [it["name"] for it in topology(cluster[0])["candidates"]], START_SECONDS, "it waits")
    return node


def change(at, *words):
    """Gives an order; copies of slots that it makes."""
    said = quorate(at, *words)
    found = re.search(r"(\d+) copies are made", said)
    assert found, said
    return int(found[1])


def check_counts(nodes, writers):
    """Everything that was acknowledged is there, once, whichever member is asked."""
    for node in nodes:
        asked = redis.Redis(port=node.port)
        for writer in writers:
            assert writer.failed == []
            found = asked.mget(list(writer.counts))
            assert [int(value) for value in found] == list(writer.counts.values())


def test_three_nodes_become_six_and_three_again_and_move_little(tmp_path):
    cluster = Cluster(tmp_path)
    added, writer = [], None
    try:
        cluster.start()
        assert redis.Redis(port=cluster[0].port).set("before", "1")
        cluster.meet()
        writer = Writer(cluster[0].port)
        writer.start()
        names = ["n1", "n2", "n3"]
        for count in (4, 5, 6):
            added.append(newcomer(tmp_path, cluster, f"n{count}"))
            names.append(f"n{count}")
            least = SLOTS * 3 // count
            assert least <= change(cluster[0], "join", f"n{count}") <= 1.1 * least
            everybody = cluster.nodes + added
            wait_until(lambda: at_rest(everybody, names), MOVED_SECONDS, f"{count} members hold their slots")
        for count in (6, 5, 4):
            least = SLOTS * 3 // count
            assert change(cluster[1], "leave", f"n{count}") <= 1.1 * least
            gone = added.pop()
            names.pop()
            everybody = cluster.nodes + added
            wait_until(lambda: at_rest(everybody, names), MOVED_SECONDS, f"{count - 1} members hold the slots")
            assert gone.process.wait(START_SECONDS) != 0
            assert "has left the cluster" in gone.log()
        writer.stopped.set()
        writer.join()
        check_counts(cluster.nodes, [writer])
        cluster.settle()
    finally:
        if writer:
            writer.stopped.set()
        for node in added:
            node.kill()
        cluster.stop()


class ClusterWriter(threading.Thread):
    """Counts by a client that knows of slots, and remembers when it was told of an error."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client = redis.RedisCluster(host="127.0.0.1", port=port)
        self.acknowledged = {}
        self.written = 0
        self.failed = []
        self.stopped = threading.Event()

    def run(self):
        number = 0
        while not self.stopped.wait(0.005):
            key = f"seen{number % 200}"
            number += 1
            try:
                self.client.set(key, number)
                self.acknowledged[key] = number
                self.written += 1
            except redis.RedisError as error:
                self.failed.append((time.monotonic(), f"{key}: {error!r}"))


def test_cluster_clients_work_through_join_kill_replace_and_leave(tmp_path):
    cluster = Cluster(tmp_path)
    added, writer = [], None
    try:
        cluster.start()
        assert redis.Redis(port=cluster[0].port).set("before", "1")
        cluster.meet()
        writer = ClusterWriter(cluster[0].port)
        writer.start()

        added.append(newcomer(tmp_path, cluster, "n4"))
        change(cluster[0], "join", "n4")
        everybody = cluster.nodes + added
        wait_until(lambda: at_rest(everybody, ["n1", "n2", "n3", "n4"]), MOVED_SECONDS, "it holds its slots")

        cluster[2].kill()
        killed = time.monotonic()
        wait_until(lambda: not cluster[0].sees("n3"), START_SECONDS, "that is noticed")
        change(cluster[0], "remove-dead", "n3")
        left = [cluster[0], cluster[1], added[0]]
        wait_until(lambda: at_rest(left, ["n1", "n2", "n4"]), MOVED_SECONDS, "the others hold its slots")

        added.append(newcomer(tmp_path, cluster, "n5"))
        quorate(cluster[0], "replace", "n2", "--by", "n5")
        left = [cluster[0], *added]
        wait_until(lambda: at_rest(left, ["n1", "n4", "n5"]), MOVED_SECONDS, "n5 is in the place of n2")
        assert cluster[1].process.wait(START_SECONDS) != 0
        before = writer.written
        wait_until(lambda: writer.written > before + 50, START_SECONDS, "it goes on")

        writer.stopped.set()
        writer.join()
        failed = [text for at, text in writer.failed if not killed - 0.1 <= at <= killed + KILLED_SECONDS]
        assert failed == []
        for node in left:
            asked = redis.Redis(port=node.port)
            found = asked.mget(list(writer.acknowledged))
            assert [int(value) for value in found] == list(writer.acknowledged.values())
    finally:
        if writer:
            writer.stopped.set()
        for node in added:
            node.kill()
        cluster.stop()


def test_what_a_lone_member_removed_does_not_come_back_with_the_next_one(tmp_path):
    cluster = Cluster(tmp_path, count=2)
    second = cluster[1]
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        sets = {f"set{number}": [f"m{member}" for member in range(20)] for number in range(40)}
        assert client.set("before", "1")
        cluster.settle()
        for name, members in sets.items():
            assert client.sadd(name, *members) == len(members)
        change(cluster[0], "leave", "n2")
        # What is added until the last slot is one member's alone is what a member tells others of.
        while topology(cluster[0])["moving"]:
            for name in sets:
                client.sadd(name, "m0", "last")
        assert second.process.wait(START_SECONDS) != 0
        for name, members in sets.items():
            assert client.srem(name, "last", *members) == len(members) + 1
            assert client.exists(name) == 0
        cluster.nodes = [cluster[0]]
        added = newcomer(tmp_path, cluster, "n3")
        cluster.nodes = [cluster[0], added]
        change(cluster[0], "join", "n3")
        wait_until(lambda: at_rest(cluster.nodes, ["n1", "n3"]), MOVED_SECONDS, "both hold all")
        for node in cluster.nodes:
            assert redis.Redis(port=node.port).exists(*sets) == 0
        cluster.settle()
    finally:
        cluster.stop()
        second.kill()
