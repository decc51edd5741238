"""What a query answers is bounded while it is made, whatever it names many times."""

import pathlib

import pytest
import redis
from nodes import Cluster, Node, wait_until

TEXT = "word " * 20_000
MANY = 100
BOUND = 1 << 20
SECONDS = 60


@pytest.fixture(scope="module", params=["one-node", "three-nodes"])
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "three-nodes":
        cluster = Cluster(directory).start()
        fill(cluster[1])
        yield cluster[1]
        cluster.stop()
        return
    node = Node(directory).start()
    fill(node)
    yield node
    node.kill()


def connect(node):
    return redis.Redis(port=node.port, decode_responses=True)


def fill(node):
    client = connect(node)
    client.execute_command(*"FT.CREATE h PREFIX 1 h: SCHEMA t TEXT k TAG SEPARATOR |".split())
    client.execute_command(*"FT.CREATE j ON JSON PREFIX 1 j: SCHEMA $.t AS t TEXT".split())
    client.execute_command(*"FT.CREATE v PREFIX 1 v: SCHEMA t TEXT v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 "
                           "DISTANCE_METRIC L2".split())
    client.hset("h:1", mapping={"t": TEXT, "k": "|".join(f"{n:050}" for n in range(100))})
    client.hset("v:1", mapping={"t": TEXT, "v": b"abcdabcd"})
    client.execute_command("JSON.SET", "j:1", "$", f'{{"t":"{TEXT}"}}')
    client.execute_command("FT.CONFIG", "SET", "MAXQUERYMEMORY", BOUND)
    for index in "hjv":
        wait_until(lambda: client.execute_command("FT.SEARCH", index, "*", "NOCONTENT")[0] == 1, SECONDS, index)


def peak_kilobytes(node):
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def names(*words):
    return [word for number in range(MANY) for word in (*words, "AS", f"n{number}")]


LARGE = {
    "one field under many names": ["FT.SEARCH", "h", "*", "RETURN", 3 * MANY, *names("t")],
    "the same, marked": ["FT.SEARCH", "h", "word", "RETURN", 3 * MANY, *names("t"), "HIGHLIGHT",
                         "FIELDS", 2, "n1", "n2"],
    "tags around each word": ["FT.SEARCH", "h", "word", "HIGHLIGHT", "TAGS", "<" * 1000, ">" * 1000],
    "separators of fragments": ["FT.SEARCH", "h", "word", "SUMMARIZE", "FRAGS", 1, "SEPARATOR", "-" * (2 * BOUND)],
    "paths to the same": ["FT.SEARCH", "j", "*", "RETURN", MANY, *["$" + "." * (n % 2) + "t" for n in range(2)],
                          *[f"$['t','{n}']" for n in range(MANY - 2)]],
    "one path under many names": ["FT.SEARCH", "j", "*", "RETURN", 3 * MANY, *names("$.t")],
    "loaded under many names": ["FT.AGGREGATE", "h", "*", "LOAD", 3 * MANY, *names("@t")],
    "loaded behind an order": ["FT.AGGREGATE", "h", "*", "SORTBY", 1, "@k", "LOAD", 3 * MANY, *names("@t")],
    "loaded of JSON": ["FT.AGGREGATE", "j", "*", "LOAD", 3 * MANY, *names("$.t")],
    "profiled": ["FT.PROFILE", "h", "SEARCH", "QUERY", "*", "RETURN", 3 * MANY, *names("t")],
    "of words and vectors": ["FT.HYBRID", "v", "SEARCH", "word", "VSIM", "@v", "$b", "LOAD", 3 * MANY, *names("@t"),
                             "PARAMS", 2, "b", b"abcdabcd"],
}


@pytest.mark.parametrize("query", LARGE)
def test_an_answer_that_would_be_too_large_is_refused_while_it_is_made(server, query):
    client = connect(server)
    before = peak_kilobytes(server)
    with pytest.raises(redis.ResponseError, match=f"SEARCH_OOM .*more than {BOUND} bytes.*MAXQUERYMEMORY"):
        client.execute_command(*LARGE[query])
    assert peak_kilobytes(server) - before < 64 << 10
    assert client.execute_command("FT.SEARCH", "h", "*", "RETURN", 1, "t") == [1, "h:1", ["t", TEXT]]


def test_what_fits_is_answered_under_each_name(server):
    client = connect(server)
    found = client.execute_command("FT.SEARCH", "h", "*", "RETURN", 9, "t", "AS", "a", "t", "AS", "b", "t", "AS", "c")
    assert found == [1, "h:1", ["a", TEXT, "b", TEXT, "c", TEXT]]
    found = client.execute_command("FT.SEARCH", "j", "*", "RETURN", 6, "$.t", "AS", "a", "t", "AS", "b")
    assert found == [1, "j:1", ["a", TEXT, "b", TEXT]]
    found = client.execute_command("FT.AGGREGATE", "h", "*", "LOAD", 6, "@t", "AS", "a", "@t", "AS", "b")
    assert found == [1, ["a", TEXT, "b", TEXT]]


def test_values_of_tags_are_bounded(server):
    client = connect(server)
    assert len(client.execute_command("FT.TAGVALS", "h", "k")) == 100
    client.execute_command("FT.CONFIG", "SET", "MAXQUERYMEMORY", 64 << 10)
    try:
        for n in range(2, 40):
            client.hset(f"h:{n}", "k", "|".join(f"{n}{m:050}" for m in range(100)))
        with pytest.raises(redis.ResponseError, match="SEARCH_OOM"):
            client.execute_command("FT.TAGVALS", "h", "k")
        client.delete(*[f"h:{n}" for n in range(2, 40)])
    finally:
        client.execute_command("FT.CONFIG", "SET", "MAXQUERYMEMORY", BOUND)


def test_many_large_documents_are_refused_before_all_are_read(server):
    client = connect(server)
    keys = [f"h:{n}" for n in range(100, 300)]
    for key in keys:
        client.hset(key, mapping={"t": TEXT})
    before = peak_kilobytes(server)
    with pytest.raises(redis.ResponseError, match="SEARCH_OOM"):
        client.execute_command("FT.SEARCH", "h", "*", "LIMIT", 0, 1000)
    assert peak_kilobytes(server) - before < 16 << 10
    assert client.execute_command("FT.SEARCH", "h", "*", "LIMIT", 0, 0)[0] == 201
    for key in keys:
        client.delete(key)


def test_a_field_that_is_asked_for_many_times_has_a_bound(server):
    client = connect(server)
    before = peak_kilobytes(server)
    with pytest.raises(redis.ResponseError, match="the reply would be longer"):
        client.hmget("h:1", *["t"] * 6_000)
    assert peak_kilobytes(server) - before < 1_400 << 10
