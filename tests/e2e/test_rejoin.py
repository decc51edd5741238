"""A node that has lost everything, its identity too, comes back with the same command."""

import os
import shutil
import statistics
import subprocess
import threading
import time

import pytest
import redis
from nodes import QUORATE, START_SECONDS, Cluster, Node, Raw, fields, wait_until
from redis.backoff import NoBackoff
from redis.retry import Retry

ONCE = Retry(NoBackoff(), 0)

# What the anti-entropy rounds of a shard may cause in a second, and at once after a pause.
PACE, BURST = 32 << 20, 8 << 20


class Load(threading.Thread):
    """Writes keys of its own through one node until told to stop, and times every batch."""

    def __init__(self, number, port):
        super().__init__()
        self.number, self.port = number, port
        self.sure, self.times = {}, []
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            client = redis.Redis(port=self.port, socket_timeout=30, retry=ONCE)
            turn = 0
            while not self.stopping.is_set():
                turn += 1
                batch = {f"load:{self.number}:{(turn * 20 + n) % 20_000}": f"{turn}:{n}".encode() * 20
                         for n in range(20)}
                begun = time.monotonic()
                pipeline = client.pipeline(transaction=False)
                for key, value in batch.items():
                    pipeline.set(key, value)
                pipeline.incr(f"count:{self.number}")
                replies = pipeline.execute(raise_on_error=False)
                self.times.append((begun, time.monotonic() - begun))
                for key, reply in zip([*batch, None], replies):
                    if isinstance(reply, Exception):
                        # One that reached nobody, or too few to be promised: what is there is open.
                        self.sure.pop(key, None)
                    elif key is None:
                        self.sure[f"count:{self.number}"] = str(reply).encode()
                    else:
                        self.sure[key] = batch[key]
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            self.failure = error


def repaired(node, peer=None):
    """Bytes of the rounds that a node began, with one peer or with all."""
    connection = node.raw()
    peers = [fields(record) for record in connection("QUORATE", "REPAIR", "STATUS")[1]]
    connection.close()
    return sum(record["bytes"] for record in peers if peer in (None, record["name"]))


def is_level(node):
    try:
        status = node.status()
    except (OSError, EOFError):
        return False
    return status["sealed"] and status["ready"] and not status["incomplete"]


def wipe(node):
    node.kill()
    shutil.rmtree(node.directory / "data")


def read_everywhere(cluster, expected):
    for node in cluster.nodes:
        client = redis.Redis(port=node.port, single_connection_client=True)
        client.execute_command("QUORATE", "LEVEL", "READ", "ONE")
        keys = list(expected)
        for start in range(0, len(keys), 500):
            some = keys[start:start + 500]
            assert client.mget(some) == [expected[key] for key in some], node.name


def test_a_node_wiped_under_load_becomes_equal_without_clients(cluster):
    first = redis.Redis(port=cluster[0].port)
    before = {f"old:{n}": (b"%05d" % n) * 1_500 for n in range(20_000)}
    for start in range(0, 20_000, 1_000):
        first.mset(dict(list(before.items())[start:start + 1_000]))
    identity = cluster[2].status()["id"]
    load = [Load(number, cluster[number % 2].port) for number in range(4)]
    for each in load:
        each.start()
    time.sleep(2)
    others = cluster.nodes[:2]
    earlier = sum(repaired(node, cluster[2].name) for node in others)
    wiped_at = time.monotonic()
    wipe(cluster[2])
    time.sleep(1)
    cluster[2].start()
    started_at = time.monotonic()
    wait_until(lambda: cluster[2].status()["sealed"], START_SECONDS, "it has its seat again")
    assert cluster[2].status()["id"] == identity
    wait_until(lambda: is_level(cluster[2]), 120, "it is filled again while the load runs")
    level_at = time.monotonic()
    own = repaired(cluster[2])
    others = sum(repaired(node, cluster[2].name) for node in others) - earlier
    caused, shards = own + others, 64
    for line in redis.Redis(port=cluster[2].port).info("server").items():
        if line[0] == "shards":
            shards = int(line[1])
    for each in load:
        each.stopping.set()
    for each in load:
        each.join()
        assert each.failure is None, each.failure
    # No client asks for anything from here on but for digests.
    wait_until(lambda: len({node.digest() for node in cluster.nodes}) == 1, 120, "all are equal")
    cluster.settle()
    assert caused > sum(map(len, before.values())) * 0.9, "the refill came by anti-entropy rounds"
    # Whoever began the rounds; an upper bound, however fast the machine is.
    allowed = shards * (PACE * (level_at - started_at + 1) + BURST)
    assert caused <= allowed, (caused, allowed)
    for each in load:
        before.update(each.sure)
    read_everywhere(cluster, before)
    times = [sample for each in load for sample in each.times]
    calm = [took for at, took in times if at < wiped_at - 0.1]
    refill = [took for at, took in times if started_at <= at < level_at]
    if refill:
        print(f"refilled by {own} and {others} bytes of rounds of its own and of peers, of {allowed}"
              f" allowed, in {level_at - started_at:.2f} s; batch latency while refilling"
              f" / before: {statistics.median(refill) / statistics.median(calm):.2f} (median);"
              f" {len(before)} keys read at ONE on each node")
    assert "has its seat in the cluster again" in cluster[2].log()
    assert "takes its seat again" in cluster[0].log()


def test_counters_add_up_whoever_loses_everything(cluster):
    clients = [redis.Redis(port=node.port, retry=ONCE) for node in cluster.nodes]
    for round_number in range(3):
        for client in clients:
            for _ in range(50):
                client.incr("counter")
        victim = cluster[round_number]
        wipe(victim)
        victim.start()
        wait_until(lambda: is_level(victim), 60, "it is filled again")
        wait_until(lambda: all(cluster.sees_all(node) for node in cluster.nodes), 20, "all are up")
    cluster.settle()
    for client in clients:
        assert client.get("counter") == b"450"


def test_deletions_hold_against_an_empty_node(cluster):
    client = redis.Redis(port=cluster[0].port)
    client.mset({f"k{n}": n for n in range(500)})
    cluster.settle()
    cluster[1].kill()
    client.delete(*[f"k{n}" for n in range(0, 500, 2)])
    wipe(cluster[2])
    cluster[2].launch()
    cluster[1].start()
    wait_until(lambda: is_level(cluster[2]), 60, "it is filled again")
    cluster.settle()
    expected = {f"k{n}": None if n % 2 == 0 else str(n).encode() for n in range(500)}
    read_everywhere(cluster, expected)


def test_until_it_has_its_seat_it_answers_for_nothing(cluster):
    client = redis.Redis(port=cluster[0].port)
    client.set("k", "v")
    cluster.settle()
    cluster[1].kill()
    wipe(cluster[2])
    cluster[2].start()
    wait_until(lambda: "asks all others for its seat" in cluster[2].log(), 20, "it claims its seat")
    connection = cluster[2].raw()
    connection("QUORATE", "LEVEL", "READ", "ONE")
    kind, text = connection("GET", "k")
    assert kind == b"-" and b"UNAVAILABLE" in text and b"nothing was done" in text
    status = cluster[2].status()
    assert not status["sealed"] and not status["ready"] and "n2" in status["waits_for"]
    cluster[1].start()
    wait_until(lambda: is_level(cluster[2]), 60, "it is filled again")
    assert cluster[2].raw()("GET", "k") == (b"$", b"v")


def test_two_of_three_that_lose_everything_come_back(cluster):
    client = redis.Redis(port=cluster[0].port)
    client.mset({f"k{n}": n for n in range(500)})
    cluster.settle()
    for node in cluster.nodes[1:]:
        wipe(node)
    for node in cluster.nodes[1:]:
        node.launch()
    for node in cluster.nodes[1:]:
        wait_until(lambda node=node: is_level(node), 90, "both are filled again")
    cluster.settle()
    read_everywhere(cluster, {f"k{n}": str(n).encode() for n in range(500)})


def test_two_that_lose_everything_and_one_that_starts_with_them_keep_what_it_has(cluster):
    first, second, third = cluster.nodes
    redis.Redis(port=first.port).mset({f"k{n}": n for n in range(150)})
    cluster.settle()
    # Older than what floors are kept below.
    time.sleep(12)
    for node in cluster.nodes:
        node.kill()
    wipe(first)
    wipe(second)
    for node in cluster.nodes:
        node.launch()
    for node in [first, second]:
        wait_until(lambda node=node: is_level(node), 90, "both are filled again")
    cluster.settle()
    read_everywhere(cluster, {f"k{n}": str(n).encode() for n in range(150)})


def test_nodes_that_lose_everything_found_no_cluster_while_one_with_the_data_is_down(cluster):
    first, second, third = cluster.nodes
    expected = {f"k{n}": str(n).encode() for n in range(500)}
    redis.Redis(port=first.port).mset(expected)
    cluster.settle()
    for node in cluster.nodes:
        node.kill()
    wipe(first)
    wipe(second)
    first.start()
    second.start()
    # They have met each other, and wait for the third one for as long as it takes.
    wait_until(lambda: all(len(node.status()["members"]) == 2 for node in [first, second]), 20, "they meet")
    missing = f"127.0.0.1:{third.peer_port}"
    wait_until(lambda: "waits until it has met every node" in first.log(), 20, "its operator is told")
    for node in [first, second, first]:
        connection = node.raw()
        connection("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE")
        for command in [("SET", "k0", "new"), ("GET", "k1")]:
            kind, text = connection(*command)
            assert kind == b"-" and text.startswith(b"UNAVAILABLE"), text
            assert b"nothing was done" in text and missing.encode() in text, text
        status = node.status()
        assert not status["sealed"] and status["waits_for"] == missing
    third.start()
    for node in [first, second]:
        wait_until(lambda node=node: is_level(node), 90, "both are filled again")
    cluster.settle()
    read_everywhere(cluster, expected)


def test_a_namesake_of_a_living_member_is_refused(cluster, tmp_path):
    redis.Redis(port=cluster[0].port).set("k", "v")
    third = cluster[2]
    # The address as others know it, on a machine where it does not have to be free.
    elsewhere = Node(tmp_path / "copy", name="n3", seeds=third.seeds,
                     arguments=["--rack", "r3", "--rf", "3"])
    elsewhere.launch()
    wait_until(lambda: elsewhere.process.poll() is not None, 20, "the namesake gives up")
    assert elsewhere.process.returncode != 0
    assert f"belongs to a member at 127.0.0.1:{third.peer_port}" in elsewhere.log()
    wait_until(lambda: any("belongs to a member" in node.log() for node in cluster.nodes[:2]), 5,
               "those asked have told their operators")
    assert cluster[0].raw()("GET", "k") == (b"$", b"v")
    assert third.status()["ready"]


def test_a_copy_of_a_living_members_directory_is_refused(cluster, tmp_path):
    redis.Redis(port=cluster[0].port).set("k", "v")
    third = cluster[2]
    copy = Node(tmp_path / "copy", name="n3", seeds=third.seeds, arguments=third.arguments)
    shutil.copytree(third.directory / "data", copy.directory / "data")
    copy.launch()
    served = []
    while copy.process.poll() is None:
        try:
            connection = Raw(copy.port, timeout=0.2)
            connection("QUORATE", "LEVEL", "READ", "ONE")
            served.append(connection("GET", "k"))
        except (OSError, EOFError):
            pass
    assert copy.process.returncode != 0
    assert served == [], "it serves nobody"
    assert "is a copy of its data directory" in copy.log()
    assert any("is a copy of its data directory" in node.log() for node in cluster.nodes)
    assert third.status()["ready"]
    third.stop()
    third.start()
    wait_until(lambda: third.raw()("GET", "k") == (b"$", b"v"), 30, "the original keeps its seat")


@pytest.mark.parametrize("met_by_both", [True, False])
def test_a_copy_that_is_one_start_old_loses_nothing(cluster, met_by_both):
    first, second, third = cluster.nodes
    names = [f"n{n}" for n in range(10)]

    def added(client, name):
        try:
            return client.incr(name) > 0
        except redis.exceptions.ResponseError as error:
            # Nodes that have just started may have to meet first. Nothing was done then.
            assert str(error).startswith("UNAVAILABLE"), error
            return False

    def add(node, count):
        client = redis.Redis(port=node.port)
        for n in range(count):
            wait_until(lambda: added(client, names[n % len(names)]), 30, "it is added")

    add(first, 100)
    cluster.settle()
    third.stop()
    copy = third.directory / "copy"
    shutil.copytree(third.directory / "data", copy)
    if met_by_both:
        third.start()
        cluster.settle()
    second.kill()
    if not met_by_both:
        third.start()
    wait_until(lambda: serves(third), 30, "two of three serve")
    add(first, 600)
    redis.Redis(port=first.port).mset({f"k{n}": n for n in range(300)})
    first.kill()
    third.kill()
    shutil.rmtree(third.directory / "data")
    copy.rename(third.directory / "data")
    second.start()
    third.launch()
    if not met_by_both:
        wait_until(lambda: serves(third), 30, "nobody can tell that it is a copy")
        add(second, 300)
    first.launch()
    wait_until(lambda: third.process.poll() is not None, 30, "who knows better fences it")
    assert "this node must not go on" in third.log() and "move it away" in third.log()
    wipe(third)
    third.start()
    wait_until(lambda: is_level(third), 60, "it is filled again")
    if met_by_both:
        add(second, 300)
    cluster.settle()
    read_everywhere(cluster, {name: b"100" for name in names})
    read_everywhere(cluster, {f"k{n}": str(n).encode() for n in range(300)})


def network_of_its_own():
    """The command that starts a shell in a network where nothing else is; none where that cannot be had."""
    command = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "sh", "-c"]
    try:
        tried = subprocess.run([*command, "ip link set lo up"], capture_output=True)
    except FileNotFoundError:
        return None
    return command if tried.returncode == 0 else None


@pytest.mark.parametrize("apart", ["others stopped", *(["own network"] if network_of_its_own() else [])])
def test_what_a_fenced_directory_has_can_be_fetched(cluster, tmp_path, apart):
    """As the operations guide says, which knows two ways to keep a node apart from the others."""
    first, second, third = cluster.nodes
    pair, count = [first, second], redis.Redis(port=first.port)
    count.incrby("counter", 10)
    count.set("old", "v")
    cluster.settle()
    for node in pair:
        node.stop()
    for node in pair:
        shutil.copytree(node.directory / "data", node.directory / "copy")
        node.start()
    cluster.settle()
    count.incrby("counter", 100)
    for node in cluster.nodes:
        node.stop()
    for node in pair:
        shutil.rmtree(node.directory / "data")
        (node.directory / "copy").rename(node.directory / "data")
        node.launch()
    wait_until(lambda: serves(first), 30, "nobody can tell that they are copies")
    count = redis.Redis(port=first.port)
    assert count.incrby("counter", 1_000) == 1_010
    count.set("new", "v")
    count.delete("old")
    third.launch()
    for node in pair:
        wait_until(lambda node=node: node.process.poll() is not None, 30, "who knows better fences both")

    script = f"""
        "$@" & node=$!
        until {QUORATE} status --address 127.0.0.1:{first.port} | grep -q '^ready *yes'; do sleep 0.2; done
        {QUORATE} backup --node 127.0.0.1:{first.port} --to {tmp_path / "rescued"}
        kill $node; wait $node"""
    if apart == "own network":
        rescue = [*network_of_its_own(), "ip link set lo up" + script]
    else:
        third.stop()
        rescue = ["sh", "-c", script]
    subprocess.run([*rescue, "sh", *first.command()], check=True, timeout=60)
    if apart == "others stopped":
        third.start()
    wait_until(lambda: third.status()["ready"], 30, "it gives up waiting for the others")
    admin = third.raw()
    assert admin("CONFIG", "SET", "quorate-write-level", "ONE") == (b"+", b"OK")
    subprocess.run([QUORATE, "restore", "--node", f"127.0.0.1:{third.port}", "--from",
                    tmp_path / "rescued"], check=True, timeout=60)
    for node in pair:
        shutil.rmtree(node.directory / "data")
        node.launch()
    for node in pair:
        wait_until(lambda node=node: is_level(node), 90, "both are filled again")
    cluster.settle()
    read_everywhere(cluster, {"counter": b"1110", "new": b"v", "old": None})


def serves(node):
    try:
        return node.raw()("SET", "probe", "1") == (b"+", b"OK")
    except OSError:
        return False


def test_an_old_directory_that_comes_back_is_fenced(cluster):
    client = redis.Redis(port=cluster[0].port)
    client.mset({f"k{n}": n for n in range(100)})
    cluster.settle()
    third = cluster[2]
    third.kill()
    old = third.directory / "old"
    (third.directory / "data").rename(old)
    third.start()
    wait_until(lambda: is_level(third), 60, "it is filled again")
    client.mset({f"k{n}": n + 1 for n in range(100)})
    third.kill()
    new = third.directory / "new"
    (third.directory / "data").rename(new)
    old.rename(third.directory / "data")
    third.launch()
    wait_until(lambda: third.process.poll() is not None, 30, "the old one stops")
    assert third.process.returncode != 0
    assert "this node must not go on" in third.log() and "move it away" in third.log()
    wait_until(lambda: "this node must not go on" in cluster[0].log() + cluster[1].log(), 5,
               "the others say why")
    shutil.rmtree(third.directory / "data")
    new.rename(third.directory / "data")
    third.start()
    cluster.settle()
    read_everywhere(cluster, {f"k{n}": str(n + 1).encode() for n in range(100)})


def test_a_node_in_memory_comes_back_after_a_restart(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--memory"])
    for node in cluster.nodes:
        node.command = lambda node=node: [
            QUORATE, "serve", "--listen", f"127.0.0.1:{node.port}",
            "--peer-listen", f"127.0.0.1:{node.peer_port}", "--name", node.name,
            "--cluster-listen", f"127.0.0.1:{node.cluster_port}",
            *[word for seed in node.seeds for word in ("--seed", f"127.0.0.1:{seed}")],
            *map(str, node.arguments)]
    cluster.start()
    try:
        client = redis.Redis(port=cluster[0].port)
        client.mset({f"k{n}": n for n in range(500)})
        for node in [cluster[2], cluster[1], cluster[2], cluster[0]]:
            node.kill()
            node.start()
            wait_until(lambda node=node: is_level(node), 60, "it is filled again")
            wait_until(lambda: all(cluster.sees_all(node) for node in cluster.nodes), 20, "all are up")
        cluster.settle()
        read_everywhere(cluster, {f"k{n}": str(n).encode() for n in range(500)})
    finally:
        cluster.stop()


def test_status_says_what_is_missing(cluster):
    redis.Redis(port=cluster[0].port).set("k", "v")
    cluster[1].kill()
    wipe(cluster[2])
    cluster[2].start()
    shown = lambda: subprocess.run(
        [QUORATE, "status", "--address", f"127.0.0.1:{cluster[2].port}"],
        check=True, capture_output=True, text=True).stdout
    wait_until(lambda: "waits for n2" in shown(), 20, "the operator sees whom it waits for")
    cluster[1].start()
    wait_until(lambda: is_level(cluster[2]), 60, "it is filled again")
    assert "missing" not in shown() and "waits for" not in shown()
