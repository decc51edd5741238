"""Graphs over vectors from one run to the next: an orderly stop, a kill, a file that is damaged or of another index."""

import random
import re
import struct

import redis
from nodes import Node, wait_until

COUNT = 1_500
DIMENSIONS = 16
FILE = "graphs-0"


def vector(seed):
    draw = random.Random(seed)
    return struct.pack(f"<{DIMENSIONS}f", *(draw.gauss(0, 1) for _ in range(DIMENSIONS)))


def connect(node):
    return redis.Redis(port=node.port)


def create(client, neighbours=8):
    client.execute_command(*"FT.CREATE v PREFIX 1 v: SCHEMA e VECTOR HNSW 8 TYPE FLOAT32 DIM".split(), DIMENSIONS,
                           "DISTANCE_METRIC", "L2", "M", neighbours)


def nearest(client, number=10):
    found = []
    for seed in range(10_000, 10_020):
        query = f"*=>[KNN {number} @e $b EF_RUNTIME 400]"
        reply = client.execute_command("FT.SEARCH", "v", query, "PARAMS", 2, "b", vector(seed), "NOCONTENT",
                                       "LIMIT", 0, number, "DIALECT", 2)
        found.append(set(reply[1:]))
    return found


def alike(some, others):
    return sum(len(one & other) for one, other in zip(some, others)) / sum(map(len, some))


def taken_up(node):
    """How many vectors were taken up, start by start."""
    return [int(count) for count in re.findall(r"taken up.*vectors=(\d+)|vectors=(\d+).*taken up", node.log())
            for count in count if count]


def test_a_graph_is_taken_up_after_a_stop_and_made_anew_without(tmp_path):
    node = Node(tmp_path, arguments=["--shards", "1"]).start()
    client = connect(node)
    create(client)
    pipe = client.pipeline(transaction=False)
    for number in range(COUNT):
        pipe.hset(f"v:{number}", "e", vector(number))
    pipe.execute()
    # Once a vector that was put last is in the graph, all are: an orderly stop tells how many.
    before = nearest(client)

    def stopped():
        node.stop()
        return next((tmp_path / "data").glob(FILE), None) or next(tmp_path.rglob(FILE))

    def all_linked():
        stopped()
        node.start()
        return taken_up(node)[-1:] == [COUNT]
    wait_until(all_linked, 90, "all vectors are linked")
    client = connect(node)
    assert alike(before, nearest(client)) >= 0.95

    # Killed: what the last stop has written is old by some, which are linked as new ones.
    for number in range(0, 60, 2):
        client.delete(f"v:{number}")
    for number in range(61, 100, 2):
        client.hset(f"v:{number}", "e", vector(number + 50_000))
    for number in range(COUNT, COUNT + 50):
        client.hset(f"v:{number}", "e", vector(number))
    # Everything, so exactly: no recall to be lost.
    documents = {f"v:{number}".encode() for number in [*range(1, 60, 2), *range(60, COUNT + 50)]}
    assert nearest(client, 2_000) == [documents] * 20
    expected = nearest(client)
    node.kill()
    node.start()
    client = connect(node)
    assert taken_up(node)[-1] == COUNT - 30 - 20
    assert nearest(client, 2_000) == [documents] * 20
    assert alike(expected, nearest(client)) >= 0.95

    # Damaged at a place, or cut: it is not used, and nothing is lost.
    path = stopped()
    whole = path.read_bytes()
    starts = len(taken_up(node))
    for damaged in (whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], whole[:-7], b""):
        path.write_bytes(damaged)
        node.start()
        assert len(taken_up(node)) == starts
        assert "graphs are damaged" in node.log()
        client = connect(node)
        assert nearest(client, 2_000) == [documents] * 20
        assert alike(expected, nearest(client)) >= 0.95
        node.kill()

    # Of an index that is gone, whose name another one has.
    path.write_bytes(whole)
    node.start()
    starts = len(taken_up(node))
    client = connect(node)
    client.execute_command("FT.DROPINDEX", "v")
    create(client, neighbours=4)
    wait_until(lambda: client.execute_command("FT.SEARCH", "v", "*", "NOCONTENT")[0] == len(documents), 60, "filled")
    node.kill()
    node.start()
    assert len(taken_up(node)) == starts
    client = connect(node)
    assert nearest(client, 2_000) == [documents] * 20
    node.kill()


def test_a_node_without_graphs_writes_no_file(tmp_path):
    node = Node(tmp_path).start()
    client = connect(node)
    client.execute_command(*"FT.CREATE t PREFIX 1 t: SCHEMA t TEXT".split())
    client.hset("t:1", "t", "hello")
    node.stop()
    assert list(tmp_path.rglob("graphs-*")) == []
    node.start()
    assert connect(node).execute_command("FT.SEARCH", "t", "hello", "NOCONTENT") == [1, b"t:1"]
    node.stop()
