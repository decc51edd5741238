"""`FT.*` beside RediSearch: `redisearch_replies.jsonl` has what RediSearch 8.10.0 on Redis 8.0.6 has answered.

A line is the version of the protocol, a command, and the reply as it came over the wire, a byte a character. They
were asked in this order, after what `prepare` does. Replies are the same, but for what changes from run to run, and for
what differs on purpose (`normal` says how); the book lists that.
"""

import io
import itertools
import json
import pathlib
import struct

import pytest
from nodes import Raw, wait_until

REPLIES = pathlib.Path(__file__).parent / "redisearch_replies.jsonl"
LINES = [json.loads(line) for line in REPLIES.read_text().splitlines()]
SCRIPTS = {resp: [line[1:] for line in lines] for resp, lines in itertools.groupby(LINES, lambda line: line[0])}

CREATE = """
idx ON HASH PREFIX 1 d: SCHEMA title TEXT WEIGHT 2 SORTABLE body TEXT INDEXEMPTY INDEXMISSING
tag TAG SEPARATOR ; CASESENSITIVE WITHSUFFIXTRIE num NUMERIC SORTABLE loc GEO geom GEOSHAPE FLAT
v VECTOR HNSW 10 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 M 8 EF_CONSTRUCTION 50
f VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC COSINE
""".split()


def vector(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


DOCUMENTS = {
    "d:1": ["title", "hello world", "body", "the quick brown fox jumps", "tag", "Red;blue", "num", "1",
            "loc", "-122.41,37.77", "geom", "POLYGON((1 1,1 3,3 3,3 1,1 1))", "v", vector(0, 0), "f", vector(1, 0)],
    "d:2": ["title", "hello there", "body", "", "tag", "green", "num", "2.5", "loc", "2.35,48.85",
            "v", vector(1, 1), "f", vector(0, 1)],
    "d:3": ["title", "goodbye world", "tag", "blue", "num", "-3", "v", vector(5, 5), "f", vector(1, 1)],
}

# Differ on purpose, with the reason: only the kinds of values are compared.
INTENDED = {
    "FT.SPELLCHECK idx helo wrld": "there documents count that are there no more, here those that are there",
    "FT.SEARCH idx hello world WITHSCORES EXPLAINSCORE": "the same; and parts are explained in the order of the query",
    "FT.SEARCH idx hello WITHSCORES DIALECT 2": "the same",
    "FT.EXPLAIN idx hello -world": "parts that are put together are shown side by side",
    "FT.SEARCH idx fox SUMMARIZE": "no space before the separator",
    "FT.CONFIG GET TIMEOUT": "a query has the time of any request unless it is set: it is never answered in part",
    "FT.CONFIG HELP TIMEOUT": "the same",
}

# What FT.INFO tells of memory, of time and of how often something was asked: only the kind of it is compared.
MEASURED = {
    "max_doc_id", "num_terms", "num_records", "total_inverted_index_blocks", "total_indexing_time", "number_of_uses",
    "gc_stats", "records_per_doc_avg", "bytes_per_record_avg", "offsets_per_term_avg", "offset_bits_per_record_avg",
    "memory", "marked_deleted", "direct_hnsw_insertions", "flat_buffer_size",
}


def prepare(node):
    connection = node.raw()
    try:
        connection("FLUSHALL")
        for words in (["DEL", "sug"], ["FT.DICTDEL", "dict", "foo", "helo"]):
            connection(*words)
        for key, fields in DOCUMENTS.items():
            assert connection("HSET", key, *fields) == (b":", b"%d" % (len(fields) // 2))
        for command in (["FT.CREATE", *CREATE], ["FT.ALIASADD", "al", "idx"], ["FT.DICTADD", "dict", "foo", "helo"],
                        ["FT.SYNUPDATE", "idx", "g1", "hello", "hi"],
                        ["FT.SUGADD", "sug", "hello", "1", "PAYLOAD", "p1"], ["FT.SUGADD", "sug", "help", "2"]):
            reply = connection(*command)
            assert reply[0] != b"-", (command, reply)
        wait_until(lambda: connection("FT.SEARCH", "idx", "*", "LIMIT", "0", "0")[1] == [(b":", b"3")], 30,
                   "all is indexed")
    finally:
        connection.close()


class Recorded(Raw):
    """A reply that was recorded."""

    def __init__(self, text):
        self.file = io.BytesIO(text.encode("latin-1"))


def pairs(reply):
    kind, values = reply
    return kind, list(zip(values[::2], values[1::2]))


def is_fields(reply):
    """Whether a list is one of names and values of a document or of a row."""
    kind, values = reply
    return kind in b"*%" and values and len(values) % 2 == 0 and all(name[0] == b"$" for name in values[::2])


def number(reply):
    """Numbers that are computed are alike to twelve digits."""
    kind, value = reply
    try:
        return (kind, f"{float(value):.12g}") if b"." in value else reply
    except ValueError:
        return reply


def normal(reply):
    """Fields of documents have no order."""
    kind, value = reply
    if isinstance(value, list):
        if is_fields(reply):
            kind, fields = pairs(reply)
            return (kind, sorted(((normal(name), normal(value)) for name, value in fields), key=repr))
        return (kind, [normal(each) for each in value])
    return number(reply) if value is not None else reply


def unordered(reply):
    """Documents that are equally good: here they come by their keys, there as they have come."""
    kind, values = reply
    if kind == b"%":
        return (kind, [(b"*", sorted(each[1], key=repr)) if each[0] == b"*" else each for each in values])
    total, rest = values[0], values[1:]
    if rest and all(each[0] == b"$" or each[1] is None for each in rest[::2]) and any(each[0] == b"*" for each in rest):
        size = next(at for at, each in enumerate(rest) if each[0] == b"*") + 1
        rest = [tuple(rest[at:at + size]) for at in range(0, len(rest), size)]
    return (kind, [total, sorted(rest, key=repr)])


def shape(reply):
    """What kinds of values there are."""
    kind, value = reply
    if isinstance(value, list):
        return (kind, [shape(each) for each in value])
    # A simple string may be a bulk string.
    return kind


def information(reply):
    """FT.INFO without what is measured."""
    kind, values = reply
    if not isinstance(values, list):
        return reply
    left, at = [], 0
    while at < len(values):
        value = values[at]
        name = value[1].decode() if value[0] in b"+$" and value[1] else ""
        if name in MEASURED or name.endswith("_mb"):
            left += [value, shape(values[at + 1])]
            at += 2
            continue
        left.append(information(value))
        at += 1
    return (kind, left)


def untied(words):
    """Whether a query leaves open what comes first, or how many."""
    options = {word.upper() for word in words[3:] if isinstance(word, str)}
    name = words[0]
    if name == "FT.SEARCH":
        return "SORTBY" not in options and "LIMIT" not in options
    return name == "FT.HYBRID" or (name == "FT.AGGREGATE" and "SORTBY" in options)


def comparable(words, reply):
    name = words[0]
    if reply[0] == b"-":
        return reply
    if any(" ".join(words).startswith(begin) for begin in INTENDED):
        return shape(reply) if "EXPLAINSCORE" not in words else shape(reply)[0]
    if name == "FT.INFO":
        return information(reply)
    if name == "FT.PROFILE":
        # How a query was answered here is told otherwise.
        results = reply[1][1 if reply[0] == b"%" else 0]
        return (reply[0], normal(results))
    if name == "FT.AGGREGATE" and ("LIMIT" in words or "WITHCURSOR" in words):
        # Which of equals come first is open, and so is the number of the cursor.
        return shape(reply)
    if name == "FT.HYBRID":
        kind, values = reply
        values = [normal(each) for each in values]
        values[3] = (values[3][0], sorted(values[3][1], key=repr))
        return (kind, [*values[:7], shape(values[7])])
    if name in ("FT.SUGGET", "FT.TAGVALS", "FT.DICTDUMP"):
        return reply
    reply = normal(reply)
    return unordered(reply) if untied(words) else reply


def differing(node, resp, script):
    """Commands with other replies than they should have."""
    prepare(node)
    connection = node.raw()
    try:
        connection("HELLO", str(resp))
        found = []
        for words, reply in script:
            command = [word.encode("latin-1") for word in words]
            mine, theirs = connection(*command), Recorded(reply).read()
            if comparable(words, mine) != comparable(words, theirs):
                found.append((words, mine, theirs))
        return found
    finally:
        connection.close()


@pytest.mark.parametrize("resp", [2, 3])
def test_replies_are_those_of_redisearch(shared_node, resp):
    assert len(SCRIPTS[resp]) == 83
    assert differing(shared_node, resp, SCRIPTS[resp]) == []


@pytest.mark.parametrize("resp", [2, 3])
def test_a_cluster_replies_like_one_node(shared_cluster, resp):
    assert differing(shared_cluster[1], resp, SCRIPTS[resp]) == []


def test_the_comparison_can_fail(shared_node):
    wrong = [(["FT.SEARCH", "idx", "*", "LIMIT", "0", "0"], "*1\r\n:4\r\n"), (["FT.SUGLEN", "sug"], ":3\r\n"),
             (["FT.SEARCH", "idx", "hello", "NOCONTENT"], "*3\r\n:2\r\n$3\r\nd:2\r\n$3\r\nd:3\r\n")]
    assert len(differing(shared_node, 2, wrong)) == len(wrong)
