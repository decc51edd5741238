"""Long queries: beside the shard, in their time, within their memory, and not for a client that is gone."""

import random
import re
import socket
import threading

import pytest
import redis
from nodes import Cluster, Node, wait_until

COUNT = 6_000
WORDS = ["ash", "bay", "cay", "dew", "elm", "fen", "gum", "hay", "ivy", "jam", "kit", "log", "map", "net", "oak", "pea"]
SECONDS = 60


def connect(node, protocol=2):
    return redis.Redis(port=node.port, decode_responses=True, protocol=protocol)


def document(number):
    draw = random.Random(number)
    return {"body": " ".join(draw.choice(WORDS) for _ in range(8)) + f" w{number % 4000}x",
            "kind": draw.choice(["red", "green", "blue"]) + str(number % 700),
            "year": draw.randrange(1900, 2000), "plain": draw.randrange(1_000_000)}


DOCUMENTS = {f"doc:{number}": document(number) for number in range(COUNT)}


@pytest.fixture(scope="module", params=["one-node", "three-nodes"])
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "three-nodes":
        cluster = Cluster(directory).start()
        fill(cluster[1])
        yield cluster[1]
        cluster.stop()
        return
    node = Node(directory, arguments=["--shards", "1"]).start()
    fill(node)
    yield node
    node.kill()


def fill(node):
    client = connect(node)
    client.execute_command("FT.CREATE", "long", "PREFIX", 1, "doc:", "SCHEMA", "body", "TEXT", "kind", "TAG",
                           "year", "NUMERIC", "plain", "NUMERIC")
    keys = list(DOCUMENTS)
    for begin in range(0, COUNT, 500):
        pipe = client.pipeline(transaction=False)
        for key in keys[begin:begin + 500]:
            pipe.hset(key, mapping=DOCUMENTS[key])
        pipe.execute()

    def is_there():
        found = client.execute_command("FT.SEARCH", "long", "*", "LIMIT", 0, 0)
        return found == [COUNT]
    wait_until(is_there, SECONDS, "all is found")


@pytest.fixture
def client(server):
    connection = connect(server)
    yield connection
    for name, value in (("TIMEOUT", 0), ("ON_TIMEOUT", "FAIL"), ("MAXQUERYMEMORY", 256 << 20),
                        ("MAXINDEXMEMORY", 0)):
        connection.execute_command("FT.CONFIG", "SET", name, value)
    connection.close()


def as_rows(answer):
    return [dict(zip(row[::2], row[1::2])) for row in answer[1:]]


def test_what_reads_documents_answers_as_a_scan_does(client):
    answer = client.execute_command("FT.AGGREGATE", "long", "*", "LOAD", 2, "@plain", "@year",
                                    "FILTER", "@year < 1950", "LOAD", 1, "@body", "APPLY", "strlen(@body)", "AS", "n",
                                    "GROUPBY", 1, "@year", "REDUCE", "SUM", 1, "@plain", "AS", "sum",
                                    "REDUCE", "MAX", 1, "@n", "AS", "longest", "SORTBY", 2, "@year", "ASC", "MAX", 100)
    expected = {}
    for fields in DOCUMENTS.values():
        if fields["year"] < 1950:
            total, longest = expected.get(fields["year"], (0, 0))
            expected[fields["year"]] = (total + fields["plain"], max(longest, len(fields["body"])))
    found = {int(row["year"]): (int(row["sum"]), int(row["longest"])) for row in as_rows(answer)}
    assert found == expected and list(found) == sorted(found)

    answer = client.execute_command("FT.SEARCH", "long", "*", "SORTBY", "plain", "DESC", "NOCONTENT", "LIMIT", 5, 20)
    ordered = sorted(DOCUMENTS, key=lambda key: (-DOCUMENTS[key]["plain"], key))
    assert answer == [COUNT, *ordered[5:25]]

    answer = client.execute_command("FT.REGEX", "long", "body", "as[hp] oak.*w12[0-9]x", "LIMIT", 0, 100)
    matching = sorted(key for key, fields in DOCUMENTS.items()
                      if re.search("as[hp] oak.*w12[0-9]x", fields["body"]))
    assert answer == [len(matching), *matching]

    assert set(client.execute_command("FT.TAGVALS", "long", "kind")) == {f["kind"] for f in DOCUMENTS.values()}
    (_, word, near), = client.execute_command("FT.SPELLCHECK", "long", "w3999y")
    assert word == "w3999y" and near[0][1] == "w3999x"
    profiled = client.execute_command("FT.PROFILE", "long", "AGGREGATE", "QUERY", "*", "GROUPBY", 1, "@kind",
                                      "REDUCE", "COUNT", 0, "AS", "n", "SORTBY", 2, "@n", "DESC", "MAX", 1)
    assert profiled[0][1][3] == str(max(collections_of("kind").values()))


def collections_of(field):
    counts = {}
    for fields in DOCUMENTS.values():
        counts[fields[field]] = counts.get(fields[field], 0) + 1
    return counts


@pytest.mark.parametrize("query", [
    ["FT.AGGREGATE", "long", "*", "LOAD", 1, "@body", "APPLY", "split(@body, \" \")", "AS", "w",
     "GROUPBY", 1, "@w", "REDUCE", "COUNT", 0, "AS", "n", "SORTBY", 2, "@n", "DESC"],
    ["FT.REGEX", "long", "body", "(ash|elm).*(oak|pea).*z", "DISTANCE", 1],
    ["FT.SEARCH", "long", "*", "SORTBY", "plain", "LIMIT", 0, 3000],
], ids=["aggregate", "regex", "sorted"])
def test_other_clients_are_served_meanwhile(server, client, query):
    others = connect(server)
    others.ping()
    served, answers = 0, []

    def ask():
        try:
            answers.append(client.execute_command(*query))
        except redis.ResponseError as error:
            answers.append(error)
    thread = threading.Thread(target=ask)
    thread.start()
    # They go to the shard that works on the query: it would answer them all behind it.
    while thread.is_alive():
        assert others.hget("doc:1", "kind") == DOCUMENTS["doc:1"]["kind"]
        served += 1
    thread.join()
    others.close()
    assert not isinstance(answers[0], Exception), answers
    assert served >= 10


HEAVY = ["FT.REGEX", "long", "body", "(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p| )*zz", "DISTANCE", 2]
ROWS = ["FT.AGGREGATE", "long", "*", "LOAD", 3, "@body", "@plain", "@year", "APPLY", "upper(@body)", "AS", "u",
        "GROUPBY", 1, "@u", "REDUCE", "TOLIST", 1, "@plain", "AS", "all"]


@pytest.mark.parametrize("query", [ROWS, ["FT.SEARCH", "long", "*", "SORTBY", "plain", "LIMIT", 0, 3000]],
                         ids=["aggregate", "sorted"])
def test_a_query_ends_at_its_time(client, query):
    with pytest.raises(redis.ResponseError, match="(?i)time"):
        client.execute_command(*query, "TIMEOUT", 5)
    assert client.execute_command("FT.SEARCH", "long", "*", "LIMIT", 0, 0) == [COUNT]


def test_a_setting_ends_every_query(client):
    client.execute_command("FT.CONFIG", "SET", "TIMEOUT", 5)
    with pytest.raises(redis.ResponseError, match="(?i)time"):
        client.execute_command(*HEAVY)
    client.execute_command("FT.CONFIG", "SET", "TIMEOUT", 0)


def test_what_was_found_in_time_is_returned_if_that_is_asked_for(server, client):
    client.execute_command("FT.CONFIG", "SET", "ON_TIMEOUT", "RETURN")
    mapped = connect(server, protocol=3)
    answer = mapped.execute_command(*ROWS, "TIMEOUT", 250)
    # Fast machines may be done in this time; what is said of the answer has to be true in any case.
    if answer["warning"]:
        assert answer["warning"] == ["Timeout limit was reached"] and len(answer["results"]) < COUNT
    else:
        assert len(answer["results"]) == len({fields["body"] for fields in DOCUMENTS.values()})
    mapped.close()


def test_memory_is_bounded_by_a_setting_that_the_error_names(client):
    client.execute_command("FT.CONFIG", "SET", "MAXQUERYMEMORY", 64 << 10)
    for query in (ROWS, ["FT.SEARCH", "long", "*", "SORTBY", "plain", "LIMIT", 0, COUNT, "NOCONTENT"],
                  ["FT.SEARCH", "long", "*", "LIMIT", 0, COUNT, "NOCONTENT"]):
        with pytest.raises(redis.ResponseError, match="SEARCH_OOM .*MAXQUERYMEMORY"):
            client.execute_command(*query)
    with pytest.raises(redis.ResponseError, match="bounds"):
        client.execute_command("FT.CONFIG", "SET", "MAXQUERYMEMORY", 1)
    client.execute_command("FT.CONFIG", "SET", "MAXQUERYMEMORY", 256 << 20)
    assert client.execute_command(*ROWS)[0] > 0


def test_nobody_works_for_a_client_that_is_gone(server, client):
    if len(client.execute_command("CLUSTER", "NODES")) > 1:
        # Members are not told, as older ones would not understand it: their work ends when it is done.
        return
    stopped = int(client.info("search")["search_queries_stopped"])
    gone = socket.create_connection(("127.0.0.1", server.port))
    words = [str(word).encode() for word in HEAVY]
    gone.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    wait_until(lambda: int(client.info("search")["search_total_active_queries"]) > 0,
               SECONDS, "somebody works on it")
    gone.close()
    wait_until(lambda: int(client.info("search")["search_queries_stopped"]) > stopped,
               SECONDS, "work has ended")


def test_writes_during_a_query_are_found_after_it(server, client):
    writer = connect(server)
    thread = threading.Thread(target=lambda: client.execute_command(*ROWS))
    thread.start()
    keys = [f"doc:new{number}" for number in range(50)]
    for key in keys:
        writer.hset(key, mapping={"body": "freshword", "kind": "fresh", "year": 1, "plain": 1})
    thread.join()
    assert client.execute_command("FT.SEARCH", "long", "freshword", "LIMIT", 0, 0) == [len(keys)]
    writer.delete(*keys)
    assert client.execute_command("FT.SEARCH", "long", "freshword", "LIMIT", 0, 0) == [0]
    writer.close()


def test_an_index_that_is_dropped_meanwhile_leaves_nobody_waiting(server, client):
    connection = connect(server)
    connection.execute_command("FT.CREATE", "brief", "PREFIX", 1, "doc:", "SCHEMA", "body", "TEXT")
    wait_until(lambda: float(connection.ft("brief").info()["percent_indexed"]) == 1,
               SECONDS, "all is indexed")
    answers = []

    def ask():
        try:
            answers.append(client.execute_command("FT.AGGREGATE", "brief", "*", "LOAD", "*", "GROUPBY", 1, "@plain",
                                                  "REDUCE", "COUNT", 0, "AS", "n"))
        except redis.ResponseError as error:
            answers.append(error)
    thread = threading.Thread(target=ask)
    thread.start()
    connection.execute_command("FT.DROPINDEX", "brief")
    thread.join(SECONDS)
    assert not thread.is_alive() and answers
    connection.close()


def sizes(client, index="long"):
    info = client.ft(index).info()
    return {name: float(info[name]) for name in (
        "inverted_sz_mb", "doc_table_size_mb", "key_table_size_mb", "tag_overhead_sz_mb", "text_overhead_sz_mb",
        "total_index_memory_sz_mb", "num_records")}


def test_memory_of_an_index_is_told(server, client):
    told = sizes(client)
    assert all(size > 0 for size in told.values()), told
    parts = sum(size for name, size in told.items() if name not in ("total_index_memory_sz_mb", "num_records"))
    assert parts == pytest.approx(told["total_index_memory_sz_mb"], rel=0.01)
    # A document has eight words or so, and a key.
    assert told["total_index_memory_sz_mb"] * (1 << 20) > COUNT * 100
    of_node = client.info("search")
    assert int(of_node["search_number_of_indexes"]) == 1 and int(of_node["search_used_memory_indexes"]) > COUNT * 100
    client.execute_command("FT.CREATE", "empty", "PREFIX", 1, "none:", "SCHEMA", "body", "TEXT")
    assert sizes(client, "empty")["total_index_memory_sz_mb"] == 0
    client.execute_command("FT.DROPINDEX", "empty")


def test_modules_are_told_as_clients_ask_for_them(server, client):
    assert {module["name"]: module["ver"] for module in client.info("modules")["modules"]} == \
        {module["name"]: module["ver"] for module in client.module_list()} == {"search": 81_000, "ReJSON": 20_800}


def test_an_index_does_not_outgrow_its_limit(server, client):
    client.execute_command("FT.CREATE", "small", "PREFIX", 1, "small:", "SCHEMA", "body", "TEXT")
    client.execute_command("FT.CONFIG", "SET", "MAXINDEXMEMORY", 200_000)
    keys = [f"small:{number}" for number in range(3000)]
    for key in keys:
        client.hset(key, "body", f"common w{key}")
    info = client.ft("small").info()
    assert 0 < int(info["num_docs"]) < len(keys)
    # Every replica counts what it has refused.
    assert int(info["hash_indexing_failures"]) >= len(keys) - int(info["num_docs"])
    errors = dict(pairs(info["Index Errors"]))
    assert errors["background indexing status"] == "OOM failure"
    assert "MAXINDEXMEMORY" in errors["last indexing error"]
    assert client.execute_command("FT.SEARCH", "small", "common", "LIMIT", 0, 0)[0] == int(info["num_docs"])
    client.execute_command("FT.CONFIG", "SET", "MAXINDEXMEMORY", 0)
    wait_until(lambda: client.execute_command("FT.SEARCH", "small", "common", "LIMIT", 0, 0)[0] == len(keys),
               SECONDS, "all are indexed")
    wait_until(lambda: int(client.ft("small").info()["hash_indexing_failures"]) == 0, SECONDS, "none is left out")
    client.execute_command("FT.DROPINDEX", "small", "DD")


def pairs(value):
    return list(value.items()) if isinstance(value, dict) else list(zip(value[::2], value[1::2]))


def test_an_index_that_gets_a_field_is_searched_meanwhile(server, client):
    with_word = sum("w7x" in fields["body"].split() for fields in DOCUMENTS.values())
    client.execute_command("FT.ALTER", "long", "SCHEMA", "ADD", "plain2", "TAG")
    asked = 0
    while True:
        done = float(client.ft("long").info()["percent_indexed"])
        assert client.execute_command("FT.SEARCH", "long", "*", "LIMIT", 0, 0) == [COUNT]
        assert client.execute_command("FT.SEARCH", "long", "w7x", "LIMIT", 0, 0) == [with_word]
        asked += 1
        if done == 1:
            break
    client.hset("doc:7", "plain2", "seven")
    assert client.execute_command("FT.SEARCH", "long", "@plain2:{seven}", "NOCONTENT") == [1, "doc:7"]
    client.execute_command("FT.SYNUPDATE", "long", "group", "ash", "tree")
    assert client.execute_command("FT.SEARCH", "long", "*", "LIMIT", 0, 0) == [COUNT]
    holding = sum("ash" in fields["body"].split() for fields in DOCUMENTS.values())
    wait_until(lambda: client.execute_command("FT.SEARCH", "long", "tree", "LIMIT", 0, 0) == [holding], SECONDS,
               "synonyms are known")
