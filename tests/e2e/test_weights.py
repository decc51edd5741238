"""Slots follow the weights of the members, members are drained, and witnesses have votes without data."""

import redis
from nodes import START_SECONDS, Cluster, Node, wait_until
from test_growing import SLOTS, change, check_counts
from test_movement import MOVED_SECONDS, Writer, at_rest
from test_topology import quorate, topology


def held(node):
    """How many slots each member holds."""
    found = (each.rsplit(":", 1) for each in topology(node)["held"])
    return {name: int(count) for name, count in found}


def test_slots_follow_the_weights_under_writes(tmp_path):
    cluster = Cluster(tmp_path, 4, ["--weight", "50"])
    writer = None
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        for number in range(300):
            client.set(f"key{number}", number)
        cluster.meet()
        names = ["n1", "n2", "n3", "n4"]
        assert all(abs(count - SLOTS * 3 / 4) <= 1 for count in held(cluster[0]).values())
        writer = Writer(cluster[0].port)
        writer.start()

        # One that weighs as much as two others, of rf 3 over 4: it holds every slot, they share the rest.
        assert "copies" in quorate(cluster[1], "weight", "n2", "200", "--dry-run")
        assert abs(change(cluster[1], "weight", "n2", "200") - SLOTS / 4) <= SLOTS / 40
        wait_until(lambda: at_rest(cluster.nodes, names), MOVED_SECONDS, "slots follow")
        found = held(cluster[2])
        assert found["n2"] == SLOTS
        assert all(abs(found[name] - SLOTS * 2 / 3) <= 1 for name in names if name != "n2")
        assert "n2:200" in quorate(cluster[0], "topology")
        assert "nothing to change" in quorate(cluster[0], "weight", "n2", "200")
        assert "allowed: 0 to 10000" in redis_error(cluster[0], "QUORATE", "TOPOLOGY", "WEIGHT", "n2", "10001")

        # A restart with another setting changes nothing: the list says it.
        cluster[1].stop()
        cluster[1].arguments[-1] = "1"
        cluster[1].start()
        cluster.meet()
        assert cluster[1].status()["weight"] == 200

        # Without a weight it holds nothing, and stays a member.
        change(cluster[0], "weight", "n2", "0")
        wait_until(lambda: at_rest(cluster.nodes, names), MOVED_SECONDS, "it holds nothing")
        assert held(cluster[1]) == {"n1": SLOTS, "n2": 0, "n3": SLOTS, "n4": SLOTS}
        wait_until(lambda: cluster[1].status()["keys"] == 0, MOVED_SECONDS, "it drops what it held")
        writer.stopped.set()
        writer.join()
        check_counts(cluster.nodes, [writer])
        assert redis.Redis(port=cluster[1].port).mget([f"key{number}" for number in range(300)]) == [
            b"%d" % number for number in range(300)]
    finally:
        if writer:
            writer.stopped.set()
        cluster.stop()


def redis_error(node, *words):
    kind, text = node.raw()(*words)
    assert kind == b"-", text
    return text.decode()


def test_a_drained_member_keeps_its_data_answers_and_comes_back(tmp_path):
    cluster = Cluster(tmp_path)
    try:
        cluster.start()
        client = redis.Redis(port=cluster[0].port)
        client.set("key", "before")
        cluster.meet()
        slots = held(cluster[0])
        assert "decided" in quorate(cluster[1], "drain", "n1")
        assert "nothing to change" in quorate(cluster[2], "drain", "n1")
        wait_until(lambda: cluster[0].status()["drained"] == 1, START_SECONDS, "it knows")
        assert "drained    n1" in quorate(cluster[0], "topology")
        for number in range(100):
            client.set(f"key{number}", number)
        assert client.get("key") == b"before"
        assert held(cluster[0]) == slots

        # What was decided outlives a restart.
        cluster[0].stop()
        cluster[0].start()
        cluster.meet()
        assert cluster[0].status()["drained"] == 1
        # Where nobody else is left it executes all the same.
        one = redis.Redis(port=cluster[0].port)
        one.execute_command("CONFIG", "SET", "quorate-write-level", "ONE")
        cluster[1].kill()
        cluster[2].kill()
        wait_until(lambda: not cluster[0].sees("n2") and not cluster[0].sees("n3"), START_SECONDS, "it is alone")
        assert redis.Redis(port=cluster[0].port).set("alone", "1")
        for node in cluster.nodes[1:]:
            node.start()
        cluster.meet()
        assert "decided" in quorate(cluster[2], "drain", "n1", "--undo")
        wait_until(lambda: cluster[0].status()["drained"] == 0, START_SECONDS, "it is back")
        cluster.settle()
    finally:
        cluster.stop()


def test_two_datacentres_and_a_witness_outlive_the_loss_of_either(tmp_path):
    places = [("n1", "east", "r1"), ("n2", "east", "r2"), ("n3", "west", "r1"), ("n4", "west", "r2"),
              ("w", "third", "r1")]
    cluster = Cluster(tmp_path, 0)
    for name, datacentre, rack in places:
        arguments = ["--dc", datacentre, "--rack", rack, "--rf", "2"]
        cluster.nodes.append(Node(tmp_path / name, name, [], arguments + ["--witness"] * (name == "w")))
    for node in cluster.nodes:
        node.seeds = [other.peer_port for other in cluster.nodes if other is not node]
    *east, n3, n4, witness = cluster.nodes
    try:
        cluster.start()
        client = redis.Redis(port=witness.port)
        for number in range(200):
            client.set(f"key{number}", number)
        cluster.meet()
        assert sorted(topology(witness)["voters"]) == ["n1", "n2", "n3", "n4", "w"]
        assert held(witness) == {"n1": SLOTS, "n2": SLOTS, "n3": SLOTS, "n4": SLOTS, "w": 0}
        assert witness.status()["keys"] == 0

        for node in east:
            node.kill()
        left = [n3, n4, witness]
        wait_until(lambda: all(not node.sees(gone.name) for node in left for gone in east), START_SECONDS, "noticed")
        # Clients of the datacentre that is left are served, and changes are decided.
        assert redis.Redis(port=n3.port).set("after", "1")
        assert topology(n3)["majority"] == 1
        quorate(n3, "remove-dead", "n1")
        quorate(n4, "remove-dead", "n2")
        wait_until(lambda: at_rest(left, ["n3", "n4", "w"]), MOVED_SECONDS, "the others are all there is")
        assert "decided" in quorate(witness, "drain", "n3")
        wait_until(lambda: sorted(topology(n3)["voters"]) == ["n3", "n4", "w"], START_SECONDS, "three votes")
        found = redis.Redis(port=n4.port).mget([f"key{number}" for number in range(200)])
        assert found == [b"%d" % number for number in range(200)]
        assert redis.Redis(port=witness.port).get("after") == b"1"
    finally:
        cluster.stop()
