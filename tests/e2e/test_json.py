"""JSON documents beside RedisJSON: `redisjson_replies.jsonl` has what RedisJSON 2.8.3 on Redis 7.4 has answered.

A line is the name of a script, the version of the protocol, a command, and the reply as it came over the wire. What this
server answers otherwise on purpose is left out there, and listed in the book.
"""

import itertools
import json
import pathlib

import pytest
import redis

REPLIES = pathlib.Path(__file__).parent / "redisjson_replies.jsonl"
LINES = [json.loads(line) for line in REPLIES.read_text().splitlines()]
SCRIPTS = [(f"{name}-resp{resp}", resp, [line[2:] for line in lines])
           for (name, resp), lines in itertools.groupby(LINES, lambda line: (line[0], line[1]))]


def connect(node):
    return redis.Redis(port=node.port)


class Tapped:
    """A file that keeps what is read of it."""

    def __init__(self, file):
        self.file, self.taken = file, b""

    def readline(self):
        line = self.file.readline()
        self.taken += line
        return line

    def read(self, length):
        data = self.file.read(length)
        self.taken += data
        return data

    def close(self):
        self.file.close()


def differing(node, resp, script):
    """Commands with other replies than they should have."""
    connection = node.raw()
    try:
        connection("FLUSHALL")
        connection("HELLO", str(resp))
        connection.file = tapped = Tapped(connection.file)
        found = []
        for command, reply in script:
            tapped.taken = b""
            connection(*command)
            if tapped.taken.decode() != reply:
                found.append((command, tapped.taken.decode(), reply))
        return found
    finally:
        connection.close()


@pytest.mark.parametrize("name, resp, script", SCRIPTS, ids=[name for name, _, _ in SCRIPTS])
def test_replies_are_those_of_redisjson(shared_node, name, resp, script):
    assert differing(shared_node, resp, script) == []


@pytest.mark.parametrize("name, resp, script", SCRIPTS, ids=[name for name, _, _ in SCRIPTS])
def test_a_cluster_replies_like_one_node(shared_cluster, name, resp, script):
    assert differing(shared_cluster[1], resp, script) == []


def test_the_comparison_can_fail(shared_node):
    assert differing(shared_node, 2, [[["JSON.GET", "nope"], "$1\r\nx\r\n"]]) != []


def test_documents_in_several_slots(shared_cluster):
    client = connect(shared_cluster[0])
    client.flushall()
    # Three slots: pieces are joined in the order of the keys.
    assert client.execute_command("JSON.MSET", "a", "$", '{"n":1}', "b", "$", '{"n":2}', "c", "$", '{"n":3}')
    assert client.execute_command("JSON.MGET", "c", "a", "nope", "b", "$.n") == [b"[3]", b"[1]", None, b"[2]"]
    with pytest.raises(Exception, match="wrong number of arguments for 'json.mset' command"):
        client.execute_command("JSON.MSET", "a", "$", "1", "b")
    # What cannot be read is found before anything is sent on its way.
    for path, value, error in (("$", "bad", "expected value at line 1 column 1"),
                               ("$[", "1", "Error occurred on position 2")):
        first, wrong, last = ("a", "$", "0"), ("b", path, value), ("c", "$", "0")
        for words in ((*first, *wrong), (*wrong, *last), (*first, *wrong, *last)):
            with pytest.raises(redis.ResponseError, match=f"^{error}"):
                client.execute_command("JSON.MSET", *words)
    assert client.execute_command("JSON.MGET", "a", "b", "c", "$.n") == [b"[1]", b"[2]", b"[3]"]
    client.set("b", "text")
    with pytest.raises(redis.ResponseError, match="^PARTIAL .*because Existing key has wrong Redis type$"):
        client.execute_command("JSON.MSET", "a", "$", '{"n":1}', "b", "$", "1")
    assert client.execute_command("RENAME", "a", "z") and client.execute_command("COPY", "z", "y") == 1
    assert client.execute_command("JSON.GET", "y") == b'{"n":1}' and client.type("y") == b"ReJSON-RL"
    assert list(client.scan_iter(_type="ReJSON-RL")) and client.exists("a") == 0
    client.flushall()


def test_documents_are_there_after_a_restart(node):
    client = connect(node)
    client.execute_command("JSON.SET", "k", "$", '{"b":[1,{"c":2.5}],"a":"x"}')
    client.execute_command("JSON.NUMINCRBY", "k", "$.b[1].c", "1")
    client.execute_command("JSON.ARRINSERT", "k", "$.b", "1", "7")
    node.kill()
    client = connect(node.start())
    assert client.execute_command("JSON.GET", "k") == b'{"b":[1,7,{"c":3.5}],"a":"x"}'


def test_transactions_have_documents(shared_node):
    client = connect(shared_node)
    client.delete("k")
    pipeline = client.pipeline(transaction=True)
    pipeline.execute_command("JSON.SET", "k", "$", "[1]")
    pipeline.execute_command("JSON.ARRAPPEND", "k", "$", "2")
    pipeline.execute_command("JSON.GET", "k", "$[1]")
    assert pipeline.execute()[1:] == [[2], b"[2]"]
    assert client.command_getkeys("JSON.MSET", "a", "$", "1", "b", "$", "2") == ["a", "b"]
    assert client.command_getkeys("JSON.MGET", "a", "b", "$") == ["a", "b"]
