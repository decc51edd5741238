"""What members say of themselves is heard by all of them, and who is dead is noticed and comes back."""

import subprocess

import redis
from nodes import QUORATE, Cluster, wait_until

FIGURES = ("memory_bytes", "hint_bytes", "log_bytes", "commands_per_second", "shards", "protocol", "news_age_ms")


def members(node):
    return {member["name"]: member for member in node.status()["members"]}


def hears(node, health):
    return {name: member["gossip"] for name, member in members(node).items()} == health


def test_every_node_knows_the_load_of_every_other(tmp_path):
    cluster = Cluster(tmp_path)
    try:
        cluster.start()
        before = members(cluster[0])["n2"]
        assert before["gossip"] == "unknown" and all(before[figure] == -1 for figure in FIGURES)
        client = redis.Redis(port=cluster[0].port)
        for number in range(100):
            client.set(f"key{number}", "x" * 1000)
        up = dict.fromkeys(("n1", "n2", "n3"), "up")
        told = [(node, name) for node in cluster.nodes for name in up]
        wait_until(lambda: all(members(node)[name]["log_bytes"] > 0 for node, name in told), 30,
                   "every load is known everywhere")
        for node in cluster.nodes:
            assert hears(node, up)
            for member in members(node).values():
                assert all(member[figure] >= 0 for figure in FIGURES), member
                assert member["memory_bytes"] > 1 << 20 and member["shards"] > 0
        command = [QUORATE, "status", "--address", f"127.0.0.1:{cluster[1].port}"]
        table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert table.count(" ms ago") == 3 and table.count("up ") >= 3, table

        cluster[2].kill()
        for number in range(100):
            client.set(f"key{number}", "y" * 1000)
        wait_until(lambda: all(hears(node, {**up, "n3": "down"}) for node in cluster.nodes[:2]), 60,
                   "the dead node is missed")
        wait_until(lambda: members(cluster[1])["n1"]["hint_bytes"] > 0, 30,
                   "the second node knows what the first one keeps for the third")
        # It comes back and says something new of itself.
        cluster[2].arguments += ["--shards", "3"]
        cluster[2].start()
        wait_until(lambda: all(hears(node, up) for node in cluster.nodes), 60, "it is heard of again")
        wait_until(lambda: all(members(node)["n3"]["shards"] == 3 for node in cluster.nodes), 60,
                   "what its new start says replaces what the one before said")
    finally:
        cluster.stop()
