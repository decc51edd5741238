"""A cluster that loses a node for good before its first write."""

import shutil

import redis
from nodes import START_SECONDS, Cluster, wait_until
from test_backup import backup, fine, restore


def test_a_node_that_is_gone_before_the_first_write_is_named_and_can_be_done_without(tmp_path):
    cluster = Cluster(tmp_path).start()
    gone, rest = cluster[2], cluster.nodes[:2]
    try:
        gone.kill()
        kind, text = rest[0].raw()("SET", "k", "v")
        assert kind == b"-" and text.startswith(b"UNAVAILABLE"), text
        assert f"n3 (127.0.0.1:{gone.peer_port})".encode() in text and b"n2" not in text
        assert b"nothing was done" in text and b"delete their data directories" in text
        wait_until(lambda: "stop all, delete their data directories" in rest[0].log(), 20, "its log says so, too")
        for node in rest:
            status = node.status()
            assert not status["sealed"] and status["waits_for"] == f"n3 (127.0.0.1:{gone.peer_port})"
            assert node.raw()("DBSIZE") == (b":", b"0")

        # As the operations guide says.
        for node in rest:
            assert node.stop() == 0
        for node in rest:
            shutil.rmtree(node.directory / "data")
            node.seeds.remove(gone.peer_port)
        cluster.nodes = rest
        cluster.start()
        assert redis.Redis(port=rest[0].port).set("k", "v")
        assert redis.Redis(port=rest[1].port).get("k") == b"v"

        # Should it come back after all, it is told that it has no place any more.
        gone.launch()
        wait_until(lambda: gone.process.poll() is not None, START_SECONDS, "it gives up")
        assert gone.process.returncode != 0 and "refused by the cluster" in gone.log()
        assert redis.Redis(port=rest[1].port).get("k") == b"v"
    finally:
        cluster.stop()
        gone.kill()


def test_a_node_that_comes_back_before_the_first_write_lets_it_through(tmp_path):
    cluster = Cluster(tmp_path).start()
    try:
        cluster[2].kill()
        assert cluster[0].raw()("SET", "k", "v")[0] == b"-"
        cluster[2].start()
        assert redis.Redis(port=cluster[0].port).set("k", "v")
        for node in cluster.nodes:
            assert redis.Redis(port=node.port).get("k") == b"v"
    finally:
        cluster.stop()


def one_sided(directory):
    """Three nodes of which the first one names nobody, and the others name only that one."""
    cluster = Cluster(directory)
    cluster[0].seeds = []
    for node in cluster.nodes[1:]:
        node.seeds = [cluster[0].peer_port]
    return cluster


def test_a_node_without_seeds_that_is_written_to_first_stays_alone_and_says_so(tmp_path):
    cluster = one_sided(tmp_path)
    first, late = cluster[0], cluster[1]
    try:
        first.start()
        assert first.raw()("SET", "k", "v") == (b"+", b"OK")
        wait_until(lambda: "has founded a cluster of its own" in first.log(), 20, "it says so")
        late.launch()
        assert late.process.wait(START_SECONDS) != 0
        assert "refused by the cluster" in late.log() and "already holds data with 1 nodes" in late.log()

        # As the operations guide says.
        assert first.stop() == 0
        shutil.rmtree(first.directory / "data")
        first.seeds = [node.peer_port for node in cluster.nodes[1:]]
        cluster.start()
        assert redis.Redis(port=late.port).set("k", "w")
        assert [redis.Redis(port=node.port).get("k") for node in cluster.nodes] == [b"w"] * 3
    finally:
        cluster.stop()


def test_a_node_without_seeds_that_loses_everything_takes_its_seat_if_the_others_are_up(tmp_path):
    cluster = one_sided(tmp_path).start()
    wiped = cluster[0]
    try:
        assert cluster[1].raw()("SET", "k", "old") == (b"+", b"OK")
        wait_until(lambda: "the seeds do not name all other members" in wiped.log(), 20, "it says so")
        cluster.settle()
        wiped.kill()
        shutil.rmtree(wiped.directory / "data")
        wiped.start()
        cluster.meet()
        cluster.settle()
        assert [redis.Redis(port=node.port).get("k") for node in cluster.nodes] == [b"old"] * 3
    finally:
        cluster.stop()


def test_two_clusters_that_one_sided_seeds_made_refuse_each_other_aloud(tmp_path):
    cluster = one_sided(tmp_path).start()
    wiped, others = cluster[0], cluster.nodes[1:]
    try:
        assert others[0].raw()("SET", "k", "old") == (b"+", b"OK")
        cluster.settle()
        for node in cluster.nodes:
            node.kill()
        shutil.rmtree(wiped.directory / "data")
        wiped.start()
        assert wiped.raw()("SET", "k", "new") == (b"+", b"OK")
        wait_until(lambda: "has founded a cluster of its own" in wiped.log(), 20, "it says so")
        for node in others:
            node.start()
        for node in others:
            wait_until(lambda node=node: "this node belongs to another cluster" in node.log(), 20, "it is refused")
            # A quorum needs both: each has to be ready, and to be seen by the other one.
            wait_until(lambda node=node: node.status()["ready"] == 1, START_SECONDS, "it serves")
            wait_until(lambda node=node: all(node.sees(it.name) for it in others), START_SECONDS, "it sees the other")
        for node in others:
            assert not node.sees(wiped.name)
            assert redis.Redis(port=node.port).get("k") == b"old"
        wait_until(lambda: "refused a node" in wiped.log(), 20, "it says so, too")
        assert redis.Redis(port=wiped.port).get("k") == b"new"

        # As the operations guide says.
        folder = tmp_path / "backup"
        fine(backup(folder, wiped))
        assert wiped.stop() == 0
        fine(restore(folder, others[0]))
        shutil.rmtree(wiped.directory / "data")
        wiped.seeds = [node.peer_port for node in others]
        wiped.start()
        cluster.meet()
        cluster.settle()
        assert [redis.Redis(port=node.port).get("k") for node in cluster.nodes] == [b"new"] * 3
    finally:
        cluster.stop()
