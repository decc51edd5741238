"""Slots go to a node that joins and come back from one that leaves, while clients write."""

import threading

import redis
from nodes import START_SECONDS, Cluster, Node, wait_until
from test_topology import quorate, topology

MOVED_SECONDS = 240


def at_rest(nodes, members):
    """Whether all go by one list with these members, and nothing moves."""
    found = [topology(node) for node in nodes]
    return len({it["epoch"] for it in found}) == 1 and all(
        sorted(it["members"]) == members and it["moving"] == 0 for it in found)


class Writer(threading.Thread):
    """Counts in keys of its own until it is told to stop, and remembers what was acknowledged."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client = redis.Redis(port=port)
        self.counts = {}
        self.failed = []
        self.stopped = threading.Event()

    def run(self):
        number = 0
        while not self.stopped.wait(0.002):
            key = f"counter{number % 500}"
            number += 1
            try:
                self.counts[key] = self.client.incr(key)
            except redis.RedisError as error:
                self.failed.append(str(error))


def test_three_nodes_become_four_and_three_again_under_writes(tmp_path):
    cluster = Cluster(tmp_path)
    newcomer, writer = None, None
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        for number in range(500):
            client.set(f"key{number}", number)
        cluster.meet()
        writer = Writer(cluster[0].port)
        writer.start()
        seeds = [f"127.0.0.1:{cluster[0].peer_port}"]
        newcomer = Node(tmp_path / "n4", "n4", seeds, ["--join"]).launch()
        wait_until(lambda: topology(cluster[0])["candidates"], START_SECONDS, "it waits")
        quorate(cluster[0], "join", "n4")
        everybody = [*cluster.nodes, newcomer]
        wait_until(lambda: at_rest(everybody, ["n1", "n2", "n3", "n4"]), MOVED_SECONDS, "slots have gone to it")
        assert int(redis.Redis(port=newcomer.port).get("key7")) == 7
        quorate(cluster[0], "leave", "n4")
        wait_until(lambda: at_rest(cluster.nodes, ["n1", "n2", "n3"]), MOVED_SECONDS, "slots have come back")
        writer.stopped.set()
        writer.join()
        assert writer.failed == []
        for node in cluster.nodes:
            asked = redis.Redis(port=node.port)
            assert asked.mget([f"key{number}" for number in range(500)]) == [b"%d" % it for it in range(500)]
            assert {key: int(asked.get(key)) for key in writer.counts} == writer.counts
    finally:
        if writer:
            writer.stopped.set()
        if newcomer:
            newcomer.kill()
        cluster.stop()
