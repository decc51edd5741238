"""Several nodes: finding each other, serving every key everywhere, losing one."""

import pathlib
import random
import signal
import socket
import subprocess
import time

import pytest
import redis
from nodes import QUORATE, Cluster, Node, encode, fields, free_port, wait_until


@pytest.mark.parametrize("seed", range(3))
def test_nodes_find_each_other_from_any_seed_in_any_order(tmp_path, seed):
    cluster = Cluster(tmp_path)
    generator = random.Random(seed)
    for number, node in enumerate(cluster.nodes):
        # A chain: each node knows only the one before it.
        node.seeds = [cluster[number - 1].peer_port] if number else []
    try:
        for node in generator.sample(cluster.nodes, 3):
            node.launch()
            time.sleep(generator.random() * 0.3)
        cluster.meet()
        assert cluster[0].raw()("SET", "k", "v") == (b"+", b"OK")
        for node in cluster.nodes:
            assert node.raw()("GET", "k") == (b"$", b"v")
    finally:
        cluster.stop()


def test_a_cluster_that_does_not_start_says_why_at_once(tmp_path):
    cluster = Cluster(tmp_path)
    with socket.create_server(("127.0.0.1", cluster[1].peer_port)):
        try:
            with pytest.raises(AssertionError, match="peer_listen: cannot listen on .*Address already in use"):
                cluster.start()
        finally:
            cluster.stop()


def test_no_connection_is_given_the_port_of_a_server():
    given = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert len({free_port() for _ in range(100)}) == 100
    assert all(free_port() < int(given[0]) for _ in range(100))


def test_commands_over_many_slots_work_on_every_node(shared_cluster):
    clients = [redis.Redis(port=node.port) for node in shared_cluster.nodes]
    pairs = {f"m{n}": str(n).encode() for n in range(200)}
    assert clients[0].mset(pairs)
    for client in clients:
        assert client.mget(list(pairs)) == list(pairs.values())
        assert client.exists(*pairs) == 200
    clients[1].sadd("s1", "a", "b")
    clients[2].sadd("s2", "b", "c")
    assert clients[0].sunionstore("s3", "s1", "s2") == 3
    assert clients[1].smembers("s3") == {b"a", b"b", b"c"}
    assert clients[2].rename("s3", "renamed") and clients[0].copy("renamed", "copied")
    assert clients[1].smembers("copied") == {b"a", b"b", b"c"}
    found = {key for client in clients[:1] for key in client.scan_iter("m*", count=7)}
    assert found == {key.encode() for key in pairs}
    assert clients[1].delete(*pairs) == 200
    assert clients[2].mget(list(pairs)) == [None] * 200


def test_what_is_answered_by_a_piece_waits_for_the_writes_before_it(shared_cluster):
    slot = shared_cluster[0].raw()("CLUSTER", "KEYSLOT", "k")[1].decode()
    questions = [("MEMORY", "USAGE", "k"), ("DEBUG", "OBJECT", "k"), ("QUORATE", "SLOTDIGEST", slot),
                 ("QUORATE", "EXPORT", slot)]
    for connection in (node.raw() for node in shared_cluster.nodes):
        pipeline = [words for question in questions for words in (("SET", "k", "v"), question)]
        connection.send(b"".join(encode(*words) for words in pipeline))
        for words in pipeline:
            assert connection.read()[0] != b"-", words
        connection.close()


def test_a_cluster_client_reads_and_writes_every_slot(shared_cluster):
    client = redis.cluster.RedisCluster(host="127.0.0.1", port=shared_cluster[0].port)
    assert len(client.get_nodes()) == 3
    keys = {}
    number = 0
    while len(keys) < 16_384:
        key = f"slot{number}"
        keys.setdefault(client.keyslot(key), key)
        number += 1
    for slot, key in keys.items():
        client.set(key, slot)
    owners = {client.get_node_from_key(key).port for key in keys.values()}
    assert owners == {node.cluster_port for node in shared_cluster.nodes}
    for slot, key in keys.items():
        assert client.get(key) == str(slot).encode()
    shards = redis.Redis(port=shared_cluster[0].port).execute_command("CLUSTER", "SHARDS")
    assert len(shards) == 3
    client.close()


def test_one_of_three_down_changes_nothing_at_quorum(cluster):
    clients = [redis.Redis(port=node.port) for node in cluster.nodes]
    for n in range(100):
        clients[0].set(f"k{n}", n)
    cluster[2].kill()
    killed = time.monotonic()
    routed = None
    while time.monotonic() < killed + 10:
        try:
            for n in range(100):
                clients[0].set(f"k{n}", n + 1)
                assert clients[1].get(f"k{n}") == str(n + 1).encode()
            routed = time.monotonic() - killed
            break
        except redis.ResponseError:
            time.sleep(0.05)
    assert routed is not None and routed < 2.5
    cluster[2].start()
    cluster.settle()
    third = cluster[2].raw()
    assert third("QUORATE", "LEVEL", "READ", "ONE") == (b"+", b"OK")
    for n in range(100):
        assert third("GET", f"k{n}") == (b"$", str(n + 1).encode())


def test_two_of_three_down_is_an_error_that_names_them(cluster):
    cluster[0].raw()("SET", "k", "v")
    cluster[1].kill()
    cluster[2].kill()
    connection = cluster[0].raw()
    wait_until(lambda: connection("SET", "k", "w")[1].startswith(b"UNAVAILABLE"), 5, "they are down")
    kind, text = connection("SET", "k", "w")
    assert b"n2" in text and b"n3" in text and b"nothing was done" in text
    connection("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE")
    assert connection("SET", "k", "one") == (b"+", b"OK")
    assert connection("GET", "k") == (b"$", b"one")


def test_a_slot_is_shown_as_one_replica_holds_it_at_any_level(cluster):
    cluster[0].raw()("SET", "k", "v")
    cluster.settle()
    connections = [node.raw() for node in cluster.nodes]
    slot = connections[0]("CLUSTER", "KEYSLOT", "k")[1].decode()
    digests = {connection("QUORATE", "SLOTDIGEST", slot) for connection in connections}
    assert len(digests) == 1 and digests != {(b"$", b"0" * 32)}
    cluster[1].kill()
    cluster[2].kill()
    connection = connections[0]
    wait_until(lambda: connection("GET", "k")[1].startswith(b"UNAVAILABLE"), 5, "they are down")
    assert {connection("QUORATE", "SLOTDIGEST", slot)} == digests
    kind, told = connection("QUORATE", "EXPORT", slot)
    assert kind == b"*" and told[0] == (b"$", b"0") and told[2] == (b"$", encode("SET", "k", "v"))


def test_a_repair_says_what_became_of_it(cluster):
    connection = cluster[0].raw()
    connection("SET", "k", "v")
    repair = lambda *words: [fields(peer) for peer in connection("QUORATE", "REPAIR", *words)[1]]
    outcomes = lambda: {peer["name"]: peer["repair"] for peer in repair()}
    assert len(repair("START")) == 2
    wait_until(lambda: set(outcomes().values()) == {"done"}, 10, "both rounds end")
    assert all(peer["rounds"] > 0 and peer["last_done_ms"] > 0 for peer in repair("STATUS"))
    repair("START", "DRY")
    wait_until(lambda: set(outcomes().values()) == {"done"}, 10, "both comparisons end")
    assert all(peer["slots_differing"] == 0 for peer in repair())
    cluster[2].kill()
    down = lambda: [m["state"] for m in cluster[0].status()["members"]].count("down") == 1
    wait_until(down, 5, "it is seen to be down")
    repair("START")
    wait_until(lambda: sorted(outcomes().values()) == ["done", "failed"], 10, "one round fails")
    assert connection("QUORATE", "REPAIR", "START", "DC", "nowhere")[0] == b"-"
    assert connection("QUORATE", "REPAIR", "NOW")[0] == b"-"


def test_a_late_join_is_refused(cluster, tmp_path):
    cluster[0].raw()("SET", "k", "v")
    late = Node(tmp_path / "late", name="late", seeds=[cluster[0].peer_port], arguments=["--rf", "3"])
    late.launch()
    wait_until(lambda: late.process.poll() is not None, 20, "the late node gives up")
    assert late.process.returncode != 0
    assert "already holds data" in late.log()
    assert cluster[1].raw()("GET", "k") == (b"$", b"v")
    assert len(cluster[0].status()["members"]) == 3


def test_another_clusters_node_is_refused(cluster, tmp_path):
    stranger = Node(tmp_path / "x", name="x", seeds=[cluster[0].peer_port],
                    arguments=["--cluster", "other", "--rf", "3"])
    stranger.launch()
    wait_until(lambda: stranger.process.poll() is not None, 20, "the stranger gives up")
    assert "'other'" in stranger.log() or '"other"' in stranger.log()


def test_another_nodes_data_directory_is_refused(tmp_path):
    node = Node(tmp_path, name="a").start()
    node.raw()("SET", "k", "v")
    in_use = subprocess.run(
        [QUORATE, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")],
        capture_output=True, text=True, timeout=20)
    assert in_use.returncode == 1 and "in use by another process" in in_use.stderr
    node.stop()
    for arguments, words in [(["--name", "b"], "belongs to node 'a'"),
                             (["--cluster", "other"], "belongs to the cluster"),
                             (["--dc", "elsewhere"], "cannot change")]:
        refused = subprocess.run(
            [QUORATE, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"), *arguments],
            capture_output=True, text=True, timeout=20)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr


def test_wrong_settings_are_named_at_the_start(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("sync: sometimes\nrf: 99\n")
    for command in (["check-config", str(wrong)], ["serve", "--config", str(wrong)]):
        result = subprocess.run([QUORATE, *command], capture_output=True, text=True, timeout=20)
        assert result.returncode == 1
        assert "sync: 'sometimes'" in result.stderr and "always, everysec, no" in result.stderr
        assert "rf: '99'" in result.stderr
    unknown = tmp_path / "unknown.yaml"
    unknown.write_text("snyc: no\n")
    result = subprocess.run([QUORATE, "check-config", str(unknown)], capture_output=True, text=True, timeout=20)
    assert result.returncode == 1 and "snyc" in result.stderr


def test_what_is_deleted_leaves_nothing_behind_and_stays_deleted(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--gc-grace-seconds", "0"])
    try:
        cluster.start()
        clients = [redis.Redis(port=node.port) for node in cluster.nodes]
        for n in range(300):
            clients[n % 3].set(f"gone{n}", n)
            clients[n % 3].sadd("members", f"gone{n}", f"kept{n}")
        for n in range(300):
            clients[(n + 1) % 3].delete(f"gone{n}")
            clients[(n + 1) % 3].srem("members", f"gone{n}")
        cluster.settle()

        def marked():
            return [int(client.info("stats")["tombstone_keys"]) for client in clients]

        wait_until(lambda: marked() == [0, 0, 0], 240, "all marks are forgotten")
        cluster[1].kill()
        cluster[1].start()
        cluster.settle()
        for node in cluster.nodes:
            client = redis.Redis(port=node.port)
            assert client.mget([f"gone{n}" for n in range(300)]) == [None] * 300
            assert client.smembers("members") == {f"kept{n}".encode() for n in range(300)}
    finally:
        cluster.stop()


@pytest.mark.parametrize("ending", ["SPOP z", "SREM z a", "SMOVE z {z}other a"])
def test_a_set_made_again_does_not_inherit_a_time_to_live(shared_cluster, ending):
    connections = [server.raw() for server in shared_cluster.nodes]
    one, two = connections[0], connections[1]
    one("DEL", "z", "{z}other")
    assert one("SADD", "z", "a") == (b":", b"1")
    assert one("PEXPIRE", "z", "800") == (b":", b"1")
    two(*ending.split())
    assert one("SADD", "z", "precious") == (b":", b"1")
    time.sleep(1.2)
    for connection in connections:
        assert connection("SMEMBERS", "z") == (b"*", [(b"$", b"precious")])
        assert connection("TTL", "z") == (b":", b"-1")


def test_an_addition_that_an_emptying_did_not_see_stays_without_a_time_to_live(cluster):
    first, second, third = cluster.nodes
    one = first.raw()
    wait_until(lambda: one("SADD", "cart", "a") == (b":", b"1"), 20, "the first write")
    assert one("EXPIRE", "cart", "3600") == (b":", b"1")
    cluster.settle()
    first.stand_still()
    second.stand_still()
    alone = third.raw()
    # Nothing of what it adds may wait in a socket for them: the shard of the key must know that they are down.
    refused = lambda: alone("SET", "{cart}probe", "1")[1].startswith(b"UNAVAILABLE")
    wait_until(refused, 60, "the third is alone")
    assert alone("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE") == (b"+", b"OK")
    wait_until(lambda: alone("SADD", "cart", "x") == (b":", b"1"), 30, "it adds")
    third.stand_still()
    first.go_on()
    second.go_on()
    wait_until(lambda: first.sees("n2") and not first.sees("n3"), 30, "the others are without it")
    wait_until(lambda: one("SREM", "cart", "a") == (b":", b"1"), 30, "the key is emptied")
    assert one("EXISTS", "cart") == (b":", b"0")
    assert one("SADD", "cart", "b") == (b":", b"1")
    third.go_on()
    cluster.settle()
    for node in cluster.nodes:
        connection = node.raw()
        assert sorted(connection("SMEMBERS", "cart")[1]) == [(b"$", b"b"), (b"$", b"x")]
        assert connection("TTL", "cart") == (b":", b"-1")


def test_the_end_of_a_terminal_stops_a_node_in_order(tmp_path):
    node = Node(tmp_path / "node").start()
    try:
        assert node.raw()("SET", "key", "value") == (b"+", b"OK")
        node.process.send_signal(signal.SIGHUP)
        assert node.process.wait(15) == 0, node.log()
        assert "stopped" in node.log()
        node.start()
        assert node.raw()("GET", "key") == (b"$", b"value")
    finally:
        node.kill()
