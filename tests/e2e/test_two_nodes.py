"""Two nodes in two places, both written to, also each without the other."""

import pytest
from nodes import Node, wait_until


@pytest.fixture
def pair(tmp_path):
    nodes = [Node(tmp_path / name, name=name, arguments=["--dc", name, "--rf", 1]) for name in ("east", "west")]
    for node, other in (nodes, nodes[::-1]):
        node.seeds = [other.peer_port]
    yield nodes
    for node in nodes:
        node.kill()


def test_keys_have_levels_by_their_prefix(pair):
    east, west = pair
    east.arguments += ["--level", "both:,ONE,EACH_QUORUM", "--level", "both:one,ONE,LOCAL_ONE"]
    for node in pair:
        node.start()
    client = east.raw()
    assert client("MSET", "both:k", 1, "both:one", 1, "k", 1) == (b"+", b"OK")
    west.kill()
    wait_until(lambda: not east.sees("west"), 20, "east knows that west is away")
    assert client("SET", "both:one", 2) == client("SET", "k", 2) == (b"+", b"OK")
    assert b"level EACH_QUORUM" in client("SET", "both:k", 2)[1]
    assert client("GET", "both:k") == (b"$", b"1")
    # What is about several keys, or about all, has the strongest of their levels.
    assert client("MULTI") == (b"+", b"OK")
    assert client("SET", "both:k", 2) == (b"+", b"QUEUED")
    assert b"level EACH_QUORUM" in client("EXEC")[1]
    assert b"level EACH_QUORUM" in client("FLUSHALL")[1]
    assert client("QUORATE", "LEVEL", "READ", "QUORUM") == (b"+", b"OK")
    assert b"level EACH_QUORUM" in client("SET", "both:k", 2)[1], "writes have not been set"
    assert b"level QUORUM" in client("GET", "both:k")[1]
    assert client("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE") == (b"+", b"OK")
    assert client("SET", "both:k", 2) == (b"+", b"OK"), "a connection with levels of its own"
    assert client("RESET") == (b"+", b"RESET")
    assert b"level EACH_QUORUM" in client("SET", "both:k", 3)[1]


def test_each_goes_on_without_the_other_and_both_converge(pair):
    east, west = pair
    for node in pair:
        node.start()
    assert east.raw()("INCRBY", "visits", 1) == (b":", b"1")
    wait_until(lambda: west.raw()("GET", "visits") == (b"$", b"1"), 20, "west has it")
    wait_until(lambda: all(node.status()["sealed"] == 1 for node in pair), 20, "both know that the list is final")

    west.kill()
    client = east.raw()
    for level, text in [("EACH_QUORUM", b"level EACH_QUORUM of slot"), ("DC_EACH_SAFE_QUORUM", b"level EACH_QUORUM of slot")]:
        assert client("QUORATE", "LEVEL", "WRITE", level) == (b"+", b"OK")
        wait_until(lambda: not east.sees("west"), 20, "east knows that west is away")
        kind, reply = client("SET", "s", 1)
        assert kind == b"-" and text in reply and b"UNAVAILABLE" in reply, reply
    assert client("QUORATE", "LEVEL", "READ", "DC_ONE", "WRITE", "LOCAL_ONE") == (b"+", b"OK")
    assert client("GET", "visits") == (b"$", b"1")
    assert client("dyno_config:conn_consistency", "DC_SOME")[1].startswith(b"ERR 'DC_SOME': unknown consistency level")
    assert client("dyno_config:conn_consistency", "DC_QUORUM") == (b"+", b"OK")
    assert [value for _, value in client("QUORATE", "LEVEL")[1]] == [b"read", b"LOCAL_QUORUM", b"write", b"LOCAL_QUORUM"]
    assert client("INCRBY", "visits", 10) == (b":", b"11")
    assert client("SADD", "users", "ada", "bob") == (b":", b"2")
    assert client("HSET", "h", "from", "east", "e", 1) == (b":", b"2")
    east.kill()

    # Nobody is there who could tell the time or what was missed.
    west.start()
    client = west.raw()
    assert client("INCRBY", "visits", 100) == (b":", b"101")
    assert client("SADD", "users", "cleo") == (b":", b"1")
    assert client("HSET", "h", "from", "west", "w", 1) == (b":", b"2")
    assert west.sees("east") is False

    east.start()
    for node in pair:
        client = node.raw()
        wait_until(lambda client=client: client("GET", "visits") == (b"$", b"111"), 20, "both count")
        wait_until(lambda client=client: client("SCARD", "users") == (b":", b"3"), 20, "both know all users")
        wait_until(lambda client=client: client("HMGET", "h", "from", "e", "w")[1]
                   == [(b"$", b"west"), (b"$", b"1"), (b"$", b"1")], 20, "both know all fields")
    wait_until(lambda: east.digest() == west.digest(), 20, "they are equal")
