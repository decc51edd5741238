"""Pipelines that write and read one key in turns, and what large commands may have under way."""

import pytest
from nodes import encode

PAIRS = 300
MEGABYTE = 1 << 20


@pytest.fixture(params=["node", "cluster"])
def asked(request):
    """Every node that can be asked."""
    found = request.getfixturevalue(request.param)
    return [found] if request.param == "node" else list(found.nodes)


def test_each_read_of_a_pipeline_shows_what_was_written_right_before_it(asked):
    for node in asked:
        connection = node.raw()
        for key in ("one", "other"):
            commands = [
                encode("SET", key, number) + encode("GET", key) + encode("APPEND", key, "x")
                + encode("STRLEN", key) + encode("HSET", key + "-hash", "field", number)
                + encode("HGET", key + "-hash", "field") + encode("INCR", key)
                for number in range(PAIRS)
            ]
            connection.send(b"".join(commands))
            for number in range(PAIRS):
                text = str(number).encode()
                replies = [connection.read() for _ in range(7)]
                assert replies[:4] == [
                    (b"+", b"OK"), (b"$", text),
                    (b":", str(len(text) + 1).encode()), (b":", str(len(text) + 1).encode()),
                ], (number, replies)
                assert replies[5] == (b"$", text), (number, replies)
                assert replies[6][0] == b"-", "it is no number"


def test_series_count_as_the_commands_that_they_consist_of(cluster):
    connection = cluster[0].raw()
    connection("CONFIG", "RESETSTAT")
    connection.send((encode("SET", "counted", "1") + encode("GET", "counted")) * 50)
    assert [connection.read()[1] for _ in range(100)] == [b"OK", b"1"] * 50
    told = connection("INFO", "commandstats")[1].decode()
    assert "cmdstat_get:calls=50," in told and "cmdstat_set:calls=50," in told, told
    assert "quorate.batch" not in told


def test_a_large_command_is_refused_before_it_begins_and_small_ones_are_not(asked):
    node = asked[0]
    connection = node.raw()
    assert connection("CONFIG", "SET", "quorate-command-bytes-max", "1mb") == (b"+", b"OK")
    kind, text = connection("SET", "large", b"x" * MEGABYTE)
    assert kind == b"-" and text.startswith(b"OVERLOADED") and b"command_bytes_max" in text, text
    assert connection("EXISTS", "large") == (b":", b"0")
    assert connection("MULTI") == (b"+", b"OK")
    for name in ("a", "b"):
        assert connection("SET", "{t}" + name, b"x" * (600 << 10)) == (b"+", b"QUEUED")
    assert connection("EXEC")[1].startswith(b"OVERLOADED")
    assert connection("SET", "small", "value") == (b"+", b"OK"), "no transaction is open"
    for _ in range(20):
        assert connection("SET", "half", b"x" * (MEGABYTE // 2)) == (b"+", b"OK"), "each is over"
    assert connection("CONFIG", "SET", "quorate-command-bytes-max", "0") == (b"+", b"OK")
    assert connection("SET", "large", b"x" * MEGABYTE) == (b"+", b"OK")
