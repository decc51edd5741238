"""Names of other nodes: wrong ones, late ones, and ones whose lookup hangs."""

import socket

import redis
from nodes import Cluster, Node, lacking, wait_until


class Elsewhere(Node):
    """A node that sees files of its own where the system has `/etc/hosts` or `/etc/resolv.conf`."""

    files = {}

    def command(self):
        mounts = " && ".join(f"mount --bind '{own}' {place}" for place, own in self.files.items())
        return ["unshare", "-rm", "sh", "-c", f'{mounts} && exec "$0" "$@"', *super().command()]


def two_nodes(directory, kind=Node):
    """The second is started with a seed list that a test makes."""
    cluster = Cluster(directory, count=2)
    second = kind(directory / "second", name="n2", arguments=cluster[1].arguments)
    cluster.nodes[1] = second
    cluster[0].seeds = []
    return cluster


def write_and_read(cluster):
    # One that has just started may wait for the others to confirm its clock.
    wait_until(lambda: cluster[1].raw()("SET", "k", "v") == (b"+", b"OK"), 30, "the write is done")
    assert redis.Redis(port=cluster[0].port).get("k") == b"v"


def test_a_seed_that_does_not_resolve_is_waited_for_by_a_node_without_data_and_stops_no_other(tmp_path):
    cluster = two_nodes(tmp_path)
    cluster[1].seeds = ["nowhere.invalid:16379", cluster[0].peer_port]
    try:
        cluster.start()
        wait_until(lambda: "cannot be resolved" in cluster[1].log(), 20, "the operator is told")
        assert 'name=nowhere.invalid:16379' in cluster[1].log()
        kind, text = cluster[1].raw()("SET", "k", "v")
        assert kind == b"-" and text.startswith(b"UNAVAILABLE") and b"nowhere.invalid:16379" in text, text
        assert cluster[1].status()["waits_for"] == "nowhere.invalid:16379"
        wait_until(lambda: 'waits_for="nowhere.invalid:16379"' in cluster[1].log(), 20, "its log tells")
        # As it says: it is to be started without that address.
        cluster[1].stop()
        cluster[1].seeds.pop(0)
        cluster[1].start()
        cluster.meet()
        write_and_read(cluster)
        # A member with data does not depend on it.
        cluster[1].stop()
        cluster[1].seeds = ["nowhere.invalid:16379"]
        cluster[1].start()
        cluster.meet()
        assert redis.Redis(port=cluster[1].port).get("k") == b"v"
    finally:
        cluster.stop()


def test_a_node_with_no_other_seed_starts_and_serves_its_data(tmp_path):
    node = Node(tmp_path)
    node.start()
    try:
        assert redis.Redis(port=node.port).set("k", "v")
        node.stop()
        node.seeds = ["nowhere.invalid:16379"]
        node.start()
        assert redis.Redis(port=node.port).get("k") == b"v"
        assert redis.Redis(port=node.port).set("k", "w")
    finally:
        node.kill()


def test_a_seed_whose_name_begins_to_resolve_is_found(tmp_path):
    cluster = two_nodes(tmp_path, Elsewhere)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    cluster[1].files = {"/etc/hosts": hosts}
    cluster[1].seeds = [f"later.test:{cluster[0].peer_port}"]
    try:
        for node in cluster.nodes:
            node.start()
        wait_until(lambda: "cannot be resolved" in cluster[1].log(), 20, "the operator is told")
        assert len(cluster[0].status()["members"]) == 1
        with open(hosts, "a") as file:
            file.write("127.0.0.1 later.test\n")
        cluster.meet()
        assert "a name can be resolved now" in cluster[1].log()
        write_and_read(cluster)
    finally:
        cluster.stop()


def test_a_lookup_that_hangs_holds_up_nothing(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.0.0.77", 53))
        except PermissionError:
            lacking("only root can stand in for a name server")
        cluster = two_nodes(tmp_path, Elsewhere)
        resolver = tmp_path / "resolv.conf"
        resolver.write_text("nameserver 127.0.0.77\noptions timeout:30 attempts:5\n")
        cluster[1].files = {"/etc/resolv.conf": resolver}
        cluster[1].seeds = [f"localhost:{cluster[0].peer_port}"]
        try:
            cluster.start()
            write_and_read(cluster)
            cluster[1].stop()
            cluster[1].seeds = [*(f"hangs{n}.test:1" for n in range(8)), *cluster[1].seeds]
            cluster[1].start()
            cluster.meet()
            assert silent.recv(512), "it is asked"
            write_and_read(cluster)
            assert "cannot be resolved" not in cluster[1].log(), "they still hang"
            assert cluster[1].stop() == 0
        finally:
            cluster.stop()
