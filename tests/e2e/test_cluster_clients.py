"""Clients of Redis Cluster: they ask every node, and must not count a key once a node."""

import json
import os
import pathlib
import subprocess

import pytest
import redis
from nodes import Cluster, Node, plain, wait_until

KEYS = [f"key:{n}" for n in range(100)]
PRIMARIES = redis.RedisCluster.PRIMARIES


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("filled")).start()
    redis.Redis(port=cluster[0].port).mset({key: "v" for key in KEYS})
    yield cluster
    cluster.stop()


def cluster_client(node):
    """As most would start: at the port that they know."""
    return redis.RedisCluster(host="127.0.0.1", port=node.port, decode_responses=True)


def test_redis_py_counts_each_key_once(filled):
    client = cluster_client(filled[0])
    assert {node.port for node in client.get_nodes()} == {node.cluster_port for node in filled.nodes}
    assert client.dbsize(target_nodes=PRIMARIES) == len(KEYS)
    assert sorted(client.scan_iter(count=7)) == sorted(KEYS)
    assert sorted(client.scan_iter(match="key:1*", count=3)) == sorted(k for k in KEYS if k.startswith("key:1"))
    assert sorted(client.keys(target_nodes=PRIMARIES)) == sorted(KEYS)
    assert client.randomkey(target_nodes=redis.RedisCluster.RANDOM) in KEYS
    assert all(client.get(key) == "v" for key in KEYS)
    assert client.mget_nonatomic(KEYS) == ["v"] * len(KEYS)


def test_each_node_covers_the_slots_that_it_is_shown_for(filled):
    slots = {}
    for first, last, (_, port, *_) in plain(filled[0].raw()("CLUSTER", "SLOTS")):
        slots.setdefault(port, []).append((first, last))
    for node in filled.nodes:
        own = [key for key in KEYS
               if any(a <= plain(node.raw()("CLUSTER", "KEYSLOT", key)) <= b for a, b in slots[node.cluster_port])]
        client = redis.Redis(port=node.cluster_port, decode_responses=True)
        assert client.dbsize() == len(own) > 0
        assert sorted(client.keys("*")) == sorted(client.scan_iter(count=1)) == sorted(own)
        assert {client.randomkey() for _ in range(20)} <= set(own)
        # What a cursor leads to that is not this node's is passed over.
        found, cursor = set(), 5_000
        while cursor:
            cursor, keys = client.scan(cursor)
            found |= set(keys)
        assert found <= set(own)


def test_other_clients_see_the_whole_cluster_at_every_node(filled):
    for node in filled.nodes:
        client = redis.Redis(port=node.port, decode_responses=True)
        assert client.dbsize() == len(KEYS)
        assert sorted(client.scan_iter(count=7)) == sorted(client.keys("*")) == sorted(KEYS)


def test_redis_cli_counts_each_key_once(filled):
    def cli(subcommand):
        address = f"127.0.0.1:{filled[0].cluster_port}"
        output = subprocess.run(["redis-cli", "--cluster", subcommand, address], capture_output=True, text=True)
        assert output.returncode == 0, output
        return output.stdout

    for subcommand in ["check", "info"]:
        output = cli(subcommand)
        assert f"[OK] {len(KEYS)} keys in 3 masters." in output, output
    assert "[OK] All 16384 slots covered." in cli("check")


def test_ioredis_counts_each_key_once(filled):
    script = pathlib.Path(__file__).parent / "clients" / "ioredis_cluster.js"
    cache = pathlib.Path.home() / ".cache" / "quorate-tests" / "node" / "node_modules"
    modules = os.environ.get("QUORATE_NODE_MODULES", str(cache))
    output = subprocess.run(["node", script, str(filled[0].port)], env={**os.environ, "NODE_PATH": modules},
                            capture_output=True, text=True, timeout=60)
    assert output.returncode == 0, output
    found = json.loads(output.stdout)
    assert sorted(found["ports"]) == sorted(node.cluster_port for node in filled.nodes)
    assert sum(found["sizes"]) == len(KEYS) + 1
    assert sorted(found["scanned"]) == sorted(found["listed"]) == sorted([*KEYS, "from-ioredis"])
    assert found["value"] == "v"


def test_shards_and_nodes_name_the_same_ports(filled):
    ports = {node.cluster_port for node in filled.nodes}
    text = plain(filled[1].raw()("CLUSTER", "NODES"))
    assert {int(line.split()[1].split("@")[0].rsplit(":")[1]) for line in text.splitlines()} == ports
    shards = redis.Redis(port=filled[1].port, protocol=3).execute_command("CLUSTER", "SHARDS")
    assert {shard[b"nodes"][0][b"port"] for shard in shards} == ports


def test_it_says_that_it_is_a_cluster(filled, shared_node, redis_server):
    def told(connection):
        text = plain(connection("INFO", "everything")).splitlines()
        hello = plain(connection("HELLO", "2"))
        return {
            "redis_mode": next(line for line in text if line.startswith("redis_mode")),
            "cluster_enabled": next(line for line in text if line.startswith("cluster_enabled")),
            "mode": hello[hello.index("mode") + 1],
            "cluster-enabled": plain(connection("CONFIG", "GET", "cluster-enabled")),
        }

    assert told(shared_node.raw()) == told(redis_server.raw())
    assert told(filled[0].raw()) == {"redis_mode": "redis_mode:cluster", "cluster_enabled": "cluster_enabled:1",
                                     "mode": "cluster", "cluster-enabled": ["cluster-enabled", "yes"]}


def test_a_cluster_client_flushes_everything(cluster):
    client = cluster_client(cluster[0])
    for key in KEYS:
        client.set(key, "v")
    assert redis.Redis(port=cluster[1].cluster_port).flushall()
    assert client.dbsize(target_nodes=PRIMARIES) == 0 and client.keys(target_nodes=PRIMARIES) == []
    assert list(client.scan_iter()) == []
    assert set(client.randomkey(target_nodes=PRIMARIES).values()) == {None}


def test_others_cover_what_a_node_that_is_down_was_shown_for(cluster):
    client = cluster_client(cluster[0])
    for key in KEYS:
        client.set(key, "v")
    cluster[2].kill()
    alive = [redis.Redis(port=node.cluster_port) for node in cluster.nodes[:2]]
    wait_until(lambda: sum(each.dbsize() for each in alive) == len(KEYS), 20, "the rest covers all keys")


def test_cluster_clients_stay_in_the_datacentre_that_they_came_to(tmp_path):
    cluster = Cluster(tmp_path, count=2)
    for number, node in enumerate(cluster.nodes):
        node.arguments += ["--dc", f"dc{number}"]
    try:
        cluster.start()
        redis.Redis(port=cluster[0].port).mset({key: "v" for key in KEYS})
        for node in cluster.nodes:
            client = cluster_client(node)
            assert [each.port for each in client.get_nodes()] == [node.cluster_port]
            wait_until(lambda: client.dbsize(target_nodes=PRIMARIES) == len(KEYS), 20, "both have all keys")
    finally:
        cluster.stop()


def test_without_a_port_of_their_own_they_are_sent_to_the_one_for_all(tmp_path):
    node = Node(tmp_path)
    command = node.command()
    command[command.index("--cluster-listen") + 1] = "none"
    node.command = lambda: command
    node.start()
    try:
        slots = plain(node.raw()("CLUSTER", "SLOTS"))
        assert [port for _, _, (_, port, *_) in slots] == [node.port]
        assert cluster_client(node).set("k", "v")
        assert cluster_client(node).dbsize() == 1
    finally:
        node.kill()


def test_a_port_that_is_taken_is_named(tmp_path):
    node = Node(tmp_path)
    other = Node(tmp_path / "other")
    other.cluster_port = node.cluster_port
    node.start()
    try:
        with pytest.raises(AssertionError, match="cluster_listen: cannot listen on"):
            other.start()
    finally:
        node.kill()
