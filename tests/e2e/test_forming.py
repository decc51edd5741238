"""A cluster that loses a node for good before its first write."""

import shutil

import redis
from nodes import START_SECONDS, Cluster, wait_until


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
