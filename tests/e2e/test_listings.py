"""Commands over the whole keyspace, asked while a replica has missed writes: nothing acknowledged is missed."""

import shutil

import pytest
import redis
from nodes import wait_until

# Long values: what was missed takes a moment to come.
KEYS = {f"key:{number}": f"{number:04096}" for number in range(8_000)}
NAMES = {key.encode() for key in KEYS}


def write(node, pairs):
    client = redis.Redis(port=node.port, socket_timeout=60)
    pairs = list(pairs.items())

    def written(batch):
        pipeline = client.pipeline(transaction=False)
        for key, value in batch:
            pipeline.set(key, value)
        return all(reply is True for reply in pipeline.execute(raise_on_error=False))

    for begin in range(0, len(pairs), 500):
        # A node that stands still is down for some before it is for others.
        wait_until(lambda: written(pairs[begin:begin + 500]), 30, "everything is written")


@pytest.fixture
def lagging(cluster):
    """The first node stood still while the others took everything, and goes on at this moment."""
    first, second, third = cluster.nodes
    write(second, {"key:0": "first"})
    first.stand_still()
    try:
        wait_until(lambda: not second.sees("n1") and not third.sees("n1"), 30, "it is seen to be down")
        write(second, KEYS)
    finally:
        first.go_on()
    return cluster


def scanned(client):
    """All keys that a walk meets, each time that it meets them."""
    cursor, keys = 0, []
    while True:
        cursor, found = client.scan(cursor, count=500)
        keys += found
        if cursor == 0:
            return keys


def test_a_node_that_has_missed_writes_lists_every_key(lagging):
    client = redis.Redis(port=lagging[0].port, socket_timeout=60)
    # Whatever it refuses, what it answers is whole.
    wait_until(lambda: answers(client), 30, "it answers")
    met = scanned(client)
    assert set(met) == NAMES and len(met) == len(NAMES)
    assert set(client.keys("*")) == NAMES
    assert set(client.keys("key:77*")) == {name for name in NAMES if name.startswith(b"key:77")}
    assert client.dbsize() == len(NAMES)
    assert client.randomkey() in NAMES


def answers(client):
    try:
        return client.exists("key:0", "key:1") == 2
    except (redis.ResponseError, redis.ConnectionError):
        return False


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_a_flush_deletes_what_its_executor_has_missed(lagging, command):
    first, second, _ = lagging.nodes
    connection = second.raw()

    def flushed():
        reply = connection(command)
        # The links are being made anew.
        assert reply == (b"+", b"OK") or reply[1].startswith(b"UNAVAILABLE"), reply
        return reply[0] == b"+"

    # Every third slot has the first node as its executor, as soon as it is up.
    wait_until(lambda: second.sees("n1"), 30, "it is back")
    wait_until(flushed, 30, "all replicas can be asked")
    # Who has what by now does not matter: nothing of it shows, and nothing comes back.
    for node in lagging.nodes:
        wait_until(lambda node=node: node.raw()("EXISTS", *NAMES) == (b":", b"0"), 30, "nothing shows")
    lagging.settle()
    for node in lagging.nodes:
        assert node.raw()("DBSIZE") == (b":", b"0"), node.name
        assert node.raw()("KEYS", "*") == (b"*", [])
    assert first.raw()("SET", "key:1", "again") == (b"+", b"OK")
    lagging.settle()
    assert second.raw()("GET", "key:1") == (b"$", b"again")


def test_a_node_that_is_filled_again_lists_nothing_but_everything(cluster):
    first, _, third = cluster.nodes
    write(first, KEYS)
    cluster.settle()
    third.kill()
    shutil.rmtree(third.directory / "data")
    third.launch()
    answered = 0

    def is_whole():
        nonlocal answered
        try:
            connection = third.raw()
            for words in (["KEYS", "*"], ["DBSIZE"]):
                kind, reply = connection(*words)
                if kind != b"-":
                    answered += 1
                    count = len(reply) if kind == b"*" else int(reply)
                    assert count == len(KEYS), f"{words}: {count} keys while it is filled"
            return third.status()["incomplete"] == 0 and third.status()["ready"] == 1
        except (OSError, EOFError):
            return False

    wait_until(is_whole, 90, "it is filled again")
    assert answered
