"""Members change while the cluster serves: voters decide, everybody goes by what was decided."""

import subprocess

import pytest
import redis
from nodes import QUORATE, START_SECONDS, Cluster, Node, fields, wait_until


def topology(node):
    connection = node.raw()
    try:
        return fields(connection("QUORATE", "TOPOLOGY", "STATUS"))
    finally:
        connection.close()


def quorate(node, *words, code=0):
    """Runs an operator's command; what it says."""
    command = [QUORATE, *words, "--address", f"127.0.0.1:{node.port}"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == code, (command, found.stdout, found.stderr)
    return found.stdout + found.stderr


def goes_by(nodes, epoch, members):
    def status(node):
        try:
            return topology(node)
        except (OSError, EOFError):
            return {}
    return all((found.get("epoch"), sorted(found.get("members", []))) == (epoch, members)
               for found in map(status, nodes))


def test_a_node_waits_is_taken_in_and_knows_it_after_a_restart(tmp_path):
    cluster = Cluster(tmp_path)
    newcomer = None
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        client.set("before", "1")
        cluster.meet()
        seeds = [f"127.0.0.1:{cluster[0].peer_port}"]
        newcomer = Node(tmp_path / "n4", "n4", seeds, ["--join"]).launch()
        wait_until(lambda: [it["name"] for it in topology(cluster[0])["candidates"]] == ["n4"], START_SECONDS,
                   "it is known to wait")
        assert "being taken in" in newcomer.status()["waits_for"]
        asked = newcomer.raw()
        assert b"cluster_state:fail" in asked("CLUSTER", "INFO")[1]
        assert asked("CLUSTER", "SLOTS") == (b"*", [])
        assert "this node is no member yet" in quorate(newcomer, "leave", "n1", code=1)
        assert "n4" in quorate(cluster[0], "topology")
        # Others than its seed know of it, too; of what nobody knows none does.
        wait_until(lambda: topology(cluster[2])["candidates"], START_SECONDS, "the others hear of it")
        refused = quorate(cluster[1], "join", "n5", code=1)
        assert "no node 'n5' waits to be taken in" in refused
        assert "no member is called 'nobody'" in quorate(cluster[0], "leave", "nobody", code=1)

        dry = quorate(cluster[0], "join", "n4", "--dry-run")
        assert "would be decided: epoch 4" in dry, dry
        assert goes_by(cluster.nodes, 3, ["n1", "n2", "n3"])
        said = quorate(cluster[2], "join", "n4")
        assert "decided: epoch 4" in said, said
        everybody = [*cluster.nodes, newcomer]
        wait_until(lambda: goes_by(everybody, topology(cluster[0])["epoch"], ["n1", "n2", "n3", "n4"]),
                   START_SECONDS, "everybody goes by the new list")
        assert topology(cluster[0])["candidates"] == []
        assert "nothing to change" in quorate(newcomer, "join", "n4")
        assert len(topology(cluster[1])["voters"]) == 3
        # Every node takes writes and shows what was written.
        for number, node in enumerate(everybody):
            asked = redis.Redis(port=node.port)
            wait_until(lambda asked=asked, number=number: asked.set(f"k{number}", "v"), START_SECONDS, "it serves")
        for node in everybody:
            assert redis.Redis(port=node.port).mget("before", "k0", "k3") == [b"1", b"v", b"v"]

        for node in everybody:
            node.kill()
        for node in everybody:
            node.launch()
        for node in everybody:
            node.start_ends()
        wait_until(lambda: goes_by(everybody, topology(cluster[0])["epoch"], ["n1", "n2", "n3", "n4"]),
                   START_SECONDS, "all still do after a restart")
        wait_until(lambda: topology(newcomer)["majority"] == 1, START_SECONDS, "voters find each other")
        for word in ("pause", "pause", "resume"):
            quorate(newcomer, word)
    finally:
        cluster.stop()
        if newcomer:
            newcomer.kill()


@pytest.mark.parametrize("lose, return_", [(Node.kill, Node.start), (Node.stand_still, Node.go_on)])
def test_without_a_majority_of_voters_the_cluster_serves_and_nothing_is_decided(tmp_path, lose, return_):
    cluster = Cluster(tmp_path, arguments=["--read-level", "ONE", "--write-level", "ONE"])
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        client.set("before", "1")
        cluster.meet()
        assert "nothing has to be overridden" in quorate(cluster[0], "override", "--yes", code=1)
        lose(cluster[1])
        lose(cluster[2])
        wait_until(lambda: topology(cluster[0])["majority"] == 0, START_SECONDS, "that is noticed")
        refused = quorate(cluster[0], "set-rf", "2", code=1)
        assert "a majority of the voters does not answer" in refused and "n2" in refused and "n3" in refused, refused
        assert client.set("after", "2") and client.get("before") == b"1"
        assert "MAJORITY" in quorate(cluster[0], "topology")

        quorate(cluster[0], "override", "--yes")
        assert topology(cluster[0])["voters"] == ["n1"]
        quorate(cluster[0], "pause")
        decided = topology(cluster[0])["epoch"]
        assert decided > 1 << 48
        # Should those that were given up be alive after all, they go by it.
        return_(cluster[1])
        return_(cluster[2])
        wait_until(lambda: goes_by(cluster.nodes, topology(cluster[0])["epoch"], ["n1", "n2", "n3"]),
                   START_SECONDS, "all go by what was decided instead")
    finally:
        cluster.stop()


def test_of_two_that_wait_by_one_name_neither_is_taken_for_the_other(tmp_path):
    cluster = Cluster(tmp_path, count=1)
    twins = []
    try:
        cluster.start()
        assert redis.Redis(port=cluster[0].port).set("before", "1")
        seeds = [f"127.0.0.1:{cluster[0].peer_port}"]
        twins = [Node(tmp_path / place, "n2", seeds, ["--join"]).launch() for place in ("here", "there")]
        wait_until(lambda: len(topology(cluster[0])["candidates"]) == 2, START_SECONDS, "both wait")
        refused = quorate(cluster[0], "join", "n2", code=1)
        assert "several nodes wait to be taken in as 'n2'" in refused
        assert all(str(node.peer_port) in refused for node in twins), refused
    finally:
        cluster.stop()
        for node in twins:
            node.kill()


def test_a_member_that_fell_silent_without_closing_anything_is_given_up(tmp_path):
    """As after a cable is pulled: a stopped process keeps its connections."""
    cluster = Cluster(tmp_path, count=4)
    silent = cluster[3]
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        for number in range(100):
            assert client.set(f"key{number}", number)
        assert "a member that is alive leaves" in quorate(cluster[0], "remove-dead", "n4", code=1)
        silent.stand_still()

        def is_given_up():
            command = [QUORATE, "remove-dead", "n4", "--address", f"127.0.0.1:{cluster[0].port}"]
            return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

        wait_until(is_given_up, 60, "its silence is noticed")
        left = cluster.nodes[:3]
        wait_until(lambda: all(topology(node)["moving"] == 0 for node in left)
                   and goes_by(left, topology(cluster[0])["epoch"], ["n1", "n2", "n3"]), 120, "its slots are elsewhere")
        assert [client.get(f"key{number}") for number in range(100)] == [b"%d" % number for number in range(100)]
        silent.go_on()
        assert silent.process.wait(START_SECONDS) == 1
        assert "has left the cluster" in silent.log().splitlines()[-1]
    finally:
        cluster.stop()
