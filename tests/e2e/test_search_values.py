"""What of documents is indexed, read and marked, beside what RediSearch 2.10 with RedisJSON 2.8 has answered."""

import json

import pytest
import redis
from nodes import wait_until


@pytest.fixture(params=["one-node", "three-nodes"])
def client(request):
    is_one = request.param == "one-node"
    node = request.getfixturevalue("node") if is_one else request.getfixturevalue("cluster")[1]
    return redis.Redis(port=node.port, decode_responses=True)


def run(client, text, *more):
    return client.execute_command(*text.split(), *more)


def pairs(reply):
    return dict(zip(reply[::2], reply[1::2]))


# JSON, and the error; none: it is indexed.
TYPES = [
    ('{"tags":["q",true]}', "TEXT/TAG fields can only contain strings or nulls"),
    ('{"tags":[true]}', None),
    ('{"ta":true}', None),
    ('{"ta":["x",1]}', "TEXT/TAG fields can only contain strings or nulls"),
    ('{"ta":["x",null]}', None),
    ('{"ta":{"a":"b"}}', "Invalid JSON type: Object type can represent only GEOMETRY fields"),
    ('{"n":[[1]]}', "NUMERIC fields can only contain numeric or nulls"),
    ('{"n":[1,null]}', None),
    ('{"n":true}', "Invalid JSON type: Boolean type can be represent only TAG field"),
    ('{"x":[["aa"]]}', "TEXT/TAG fields can only contain strings or nulls"),
    ('{"x":["a",null,"b"]}', None),
    ('{"x":true}', "Invalid JSON type: Boolean type can be represent only TAG field"),
    ('{"g":{"lon":1}}', "Invalid JSON type: Object type can represent only GEOMETRY fields"),
    ('{"g":["1,2",null]}', None),
    ('{"v":"abcdabcd"}', "Invalid JSON type: String type can represent only TEXT, TAG, GEO or GEOMETRY field"),
    ('{"v":[1,"2"]}', "Invalid vector element at index 1"),
    ('{"v":[]}', "Empty array for vector field on JSON document"),
    ('{"v":[1,2]}', None),
    ('{"ta":[]}', None),
    ('{"x":null}', None),
]


def test_values_of_json_of_a_wrong_type_are_left_out_and_counted_by_field(client):
    run(client, "FT.CREATE jt ON JSON PREFIX 1 jt: SCHEMA $.tags[*] AS tg TAG $.ta AS ta TAG $.n AS n NUMERIC "
                "$.x AS x TEXT $.g AS g GEO $.v AS v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2")
    failures = {}
    for number, (text, error) in enumerate(TYPES):
        key = f"jt:{number:02}"
        client.execute_command("JSON.SET", key, "$", text)
        wait_until(lambda: run(client, "FT.SEARCH jt * NOCONTENT INKEYS 1", key)[0] == (error is None), 10, text)
        if error:
            field = {"tags": "tg"}.get(*json.loads(text), *json.loads(text))
            failures.setdefault(field, []).append((key, error))
    told = {}
    for entry in pairs(run(client, "FT.INFO jt"))["field statistics"]:
        field = pairs(entry)
        errors = pairs(field["Index Errors"])
        told[field["attribute"]] = (errors["indexing failures"], errors["last indexing error key"],
                                    errors["last indexing error"])
    for field, listed in failures.items():
        count, key, error = told[field]
        assert count == len(listed) and (key, error) in listed, (field, listed, told[field])
    assert pairs(run(client, "FT.INFO jt"))["hash_indexing_failures"] == sum(map(len, failures.values()))


DOCUMENT = ('{"tags":["foo","bar"],"nums":[1,5],"b":true,"n":3,"z":null,'
            '"attributes":[{"name":"Brand"},{"name":"Color"}],"m":[{"a":"x"},{"a":2}]}')
# What is loaded, and what RediSearch answers in dialect 2 and in dialect 3.
LOADED = [
    (["$.attributes"], '[{"name":"Brand"},{"name":"Color"}]', '[[{"name":"Brand"},{"name":"Color"}]]'),
    (["$", "AS", "d"], DOCUMENT, f"[{DOCUMENT}]"),
    (["@nm"], "[1,5]", "[[1,5]]"),
    (["@tg"], "foo", '["foo","bar"]'),
    (["@b"], "1", "[true]"),
    # There [3] in dialect 3.
    (["$.n"], "3", "3"),
    (["@n"], "3", "3"),
    (["$.z"], None, "[null]"),
    (["$.m[*].a"], "x", '["x",2]'),
    (["$.m[*]"], '{"a":"x"}', '[{"a":"x"},{"a":2}]'),
]


def test_aggregations_read_json_as_redisearch_does(client):
    run(client, "FT.CREATE ja ON JSON PREFIX 1 p: SCHEMA $.tags[*] AS tg TAG $.nums AS nm NUMERIC $.b AS b TAG "
                "$.n AS n NUMERIC SORTABLE")
    client.execute_command("JSON.SET", "p:1", "$", DOCUMENT)
    wait_until(lambda: run(client, "FT.SEARCH ja * NOCONTENT") == [1, "p:1"], 10, "it is indexed")
    for load, *answers in LOADED:
        for dialect, answer in zip((2, 3), answers):
            found = run(client, "FT.AGGREGATE ja * LOAD", len(load), *load, "DIALECT", dialect)
            assert found == [1, [load[-1].lstrip("@"), answer]], (load, dialect)
    assert run(client, "FT.AGGREGATE ja * LOAD 1 $.nope DIALECT 2") == [1, []]
    assert run(client, "FT.AGGREGATE ja * LOAD * DIALECT 2") == [1, ["$", DOCUMENT]]
    assert run(client, "FT.AGGREGATE ja * LOAD * DIALECT 3") == [1, ["$", f"[{DOCUMENT}]"]]
    grouped = "FT.AGGREGATE ja * GROUPBY 1 @tg REDUCE COUNT 0 AS c DIALECT"
    assert run(client, grouped, 2) == [1, ["tg", "foo", "c", "1"]]
    assert run(client, grouped, 3) == [1, ["tg", '["foo","bar"]', "c", "1"]]
    assert run(client, "FT.AGGREGATE ja * LOAD 3 $.n AS x APPLY @x+1 AS m DIALECT 3")[1][-1] == "4"
    assert run(client, "FT.AGGREGATE ja * LOAD 1 @tg APPLY upper(@tg) AS u DIALECT 2") == [1, ["tg", "foo", "u", "FOO"]]


def test_what_words_are_found_by_and_marked(client):
    run(client, "FT.CREATE y PREFIX 1 y: SCHEMA t TEXT WEIGHT 10 n NUMERIC g GEO")
    client.hset("y:a", "t", "running dog")
    client.hset("y:b", "t", "cat runs")
    client.hset("y:c", "t", "the quick fox quack 日本")
    wait_until(lambda: run(client, "FT.SEARCH y * LIMIT 0 0") == [3], 10, "all are indexed")
    # RediSearch marks the words by which it has found the document, here all that the query stands for are marked.
    marked = {"%quik%": "the <b>quick</b> fox quack 日本", "w'qu?ck'": "the <b>quick</b> fox <b>quack</b> 日本",
              "%%quik%% fox": "the <b>quick</b> <b>fox</b> <b>quack</b> 日本", "日*": "the quick fox quack <b>日本</b>",
              "*本": "the quick fox quack <b>日本</b>"}
    for query, text in marked.items():
        found = run(client, "FT.SEARCH y", query, "HIGHLIGHT", "DIALECT", 2)
        assert found == [1, "y:c", ["t", text]], query
    scored = run(client, "FT.SEARCH y running NOCONTENT WITHSCORES SCORER TFIDF")
    assert scored[0] == 2 and scored[1::2] == ["y:a", "y:b"]
    assert float(scored[2]) > 5 * float(scored[4])

    for key, field, value in (("y:d", "n", "1e400"), ("y:e", "g", "10,86"), ("y:f", "n", "inf")):
        client.hset(key, field, value)
    wait_until(lambda: "y:f" in run(client, "FT.SEARCH y * NOCONTENT"), 10, "infinity is a number")
    assert run(client, "FT.SEARCH y * LIMIT 0 0") == [4]
    told = {pairs(entry)["attribute"]: pairs(pairs(entry)["Index Errors"])
            for entry in pairs(run(client, "FT.INFO y"))["field statistics"]}
    assert told["n"]["last indexing error"] == "Invalid numeric value: '1e400'"
    assert told["n"]["last indexing error key"] == "y:d"
    assert told["g"]["last indexing error key"] == "y:e"
    assert told["t"]["indexing failures"] == 0


@pytest.mark.parametrize("command, error", [
    ("FT.SEARCH x hello EXPLAINSCORE", "EXPLAINSCORE must be accompanied with WITHSCORES"),
    ("FT.SPELLCHECK x helo TERMS INCLUDE nosuch", "Dict does not exist: nosuch"),
    ("FT.SEARCH x hello SUMMARIZE FIELDS 1 nosuch", "No such property `nosuch`"),
    ("FT.SEARCH x hello HIGHLIGHT FIELDS 1 nosuch", "No such property `nosuch`"),
    ("FT.CREATE bad6 ON JSON SCHEMA $..[ AS x TEXT", r"Invalid JSONPath '\$\.\.\[' in attribute 'x' in index 'bad6'"),
])
def test_what_redisearch_refuses_is_refused(node, command, error):
    client = redis.Redis(port=node.port, decode_responses=True)
    run(client, "FT.CREATE x SCHEMA t TEXT n NUMERIC")
    client.hset("a", "t", "hello world")
    with pytest.raises(redis.ResponseError, match=error):
        run(client, command)
    assert run(client, "FT.SEARCH x hello HIGHLIGHT FIELDS 1 n") == [1, "a", ["t", "hello world"]]
    assert run(client, "FT.SUGGET nosuch x") is None
