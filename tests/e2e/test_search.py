"""FT.* as redis-py sends it: on one node and on three, beside a naive scan, and through restarts and kills."""

import random
import struct
import threading
import time

import pytest
import redis
from nodes import START_SECONDS, Cluster, Node, wait_until
from redis.commands.search.field import GeoField, NumericField, TagField, TextField, VectorField
from redis.commands.search.index_definition import IndexDefinition, IndexType
from redis.commands.search.query import GeoFilter, NumericFilter, Query
from test_movement import MOVED_SECONDS, at_rest
from test_topology import quorate, topology

SECONDS = 30


def connect(node, protocol=2):
    return redis.Redis(port=node.port, decode_responses=True, protocol=protocol)


@pytest.fixture(scope="module", params=["one-shard", "two-shards", "three-nodes"])
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "three-nodes":
        cluster = Cluster(directory).start()
        yield cluster[1]
        cluster.stop()
        return
    node = Node(directory, arguments=["--shards", "1" if request.param == "one-shard" else "2"]).start()
    yield node
    node.kill()


@pytest.fixture
def client(server):
    """A client of a server without keys and indexes."""
    connection = connect(server)
    connection.flushall()
    yield connection
    connection.close()


def books(client, name="books", prefix="book:"):
    """An index of hashes."""
    fields = [TextField("title", weight=2.0, sortable=True), TextField("body"), TagField("kind"),
              NumericField("year", sortable=True), GeoField("place")]
    index = client.ft(name)
    index.create_index(fields, definition=IndexDefinition(prefix=[prefix], index_type=IndexType.HASH))
    return index


SHELF = {
    "book:1": {"title": "Running brooks", "body": "sermons in stones and good in every thing", "kind": "poem,old",
               "year": 1599, "place": "-1.7,52.19"},
    "book:2": {"title": "The brook", "body": "men may come and men may go", "kind": "poem", "year": 1886,
               "place": "-0.1,51.5"},
    "book:3": {"title": "Deep work", "body": "rules for good focus in a distracted world", "kind": "advice",
               "year": 2016, "place": "-77.0,38.9"},
    "book:4": {"title": "A good man", "body": "is hard to find", "kind": "story,old", "year": 1953,
               "place": "-83.2,33.1"},
}


def shelf(client):
    index = books(client)
    for key, fields in SHELF.items():
        client.hset(key, mapping=fields)
    client.hset("other:1", mapping=SHELF["book:1"])
    return index


def ids(result):
    return [document.id for document in result.docs]


def found(index, query, *arguments):
    """The keys that a query finds, in the order of their names."""
    asked = query if isinstance(query, Query) else Query(query)
    return sorted(ids(index.search(asked.paging(0, 1000), *arguments)))


def test_what_is_written_is_found_at_once(client):
    index = shelf(client)
    assert found(index, "good") == ["book:1", "book:3", "book:4"]
    assert found(index, "@title:brook") == ["book:1", "book:2"], "by its stem"
    assert found(index, "@kind:{old}") == ["book:1", "book:4"]
    assert found(index, "@year:[1800 (2016]") == ["book:2", "book:4"]
    assert found(index, "@place:[-1 52 100 km]") == ["book:1", "book:2"]
    assert found(index, "good -@kind:{poem}") == ["book:3", "book:4"]
    assert found(index, "(brook|work) @year:[1800 inf]") == ["book:2", "book:3"]
    assert found(index, '"men may come"') == ["book:2"]
    assert found(index, "run* | %wark%") == ["book:1", "book:3"]
    assert found(index, "*") == sorted(SHELF)
    assert found(index, "nothing") == []


def test_options_of_a_search(client):
    index = shelf(client)
    result = index.search(Query("*").sort_by("year", asc=False).paging(1, 2))
    assert (result.total, ids(result)) == (4, ["book:4", "book:2"])
    result = index.search(Query("*").sort_by("title").return_fields("title").paging(0, 1))
    assert (result.docs[0].id, result.docs[0].title) == ("book:4", "A good man")
    assert not hasattr(result.docs[0], "body")
    result = index.search(Query("brook").no_content())
    assert sorted(ids(result)) == ["book:1", "book:2"]
    scored = index.search(Query("good").with_scores()).docs
    assert [document.score for document in scored] == sorted((it.score for it in scored), reverse=True)
    assert found(index, Query("good").limit_ids("book:3", "book:4", "x")) == ["book:3", "book:4"]
    assert found(index, Query("good").limit_fields("title")) == ["book:4"]
    assert found(index, Query("brook").verbatim()) == ["book:2"]
    assert found(index, Query("good").add_filter(NumericFilter("year", 1900, 2000))) == ["book:4"]
    assert found(index, Query("*").add_filter(GeoFilter("place", -1, 52, 100))) == ["book:1", "book:2"]
    assert found(index, Query("men go").slop(0)) == []
    assert found(index, Query("men go").slop(3).in_order()) == ["book:2"]
    marked = index.search(Query("focus").highlight(fields=["body"], tags=["<", ">"])).docs[0]
    assert marked.body == "rules for good <focus> in a distracted world"
    cut = index.search(Query("focus").summarize(fields=["body"], context_len=3, num_frags=1, sep="...")).docs[0]
    assert "focus" in cut.body and len(cut.body) < len(SHELF["book:3"]["body"])
    result = index.search(Query("@year:[$from inf]").dialect(2), {"from": 2000})
    assert ids(result) == ["book:3"]


def test_a_page_beyond_the_end_and_no_page(client):
    index = shelf(client)
    result = index.search(Query("*").paging(10, 5))
    assert (result.total, result.docs) == (4, [])
    result = index.search(Query("*").paging(0, 0))
    assert (result.total, result.docs) == (4, [])


def test_pages_are_stable_where_scores_are_equal(client):
    index = books(client)
    for number in range(60):
        client.hset(f"book:{number:02}", mapping={"title": "same"})
    pages = [ids(index.search(Query("same").paging(start, 7))) for start in range(0, 60, 7)]
    assert sum(pages, []) == [f"book:{number:02}" for number in range(60)]


def test_scores_do_not_depend_on_where_documents_live(shared_node, shared_cluster):
    answers = []
    for server in (shared_node, shared_cluster[0], shared_cluster[2]):
        client = connect(server)
        if server is not shared_cluster[2]:
            client.flushall()
            shelf(client)
        result = connect(server).ft("books").search(Query("good | brook | men").with_scores())
        answers.append([(document.id, document.score) for document in result.docs])
    assert answers[0] == answers[1] == answers[2]


def test_changes_of_documents_show_at_once(client):
    index = shelf(client)
    client.hset("book:2", "title", "Oceans")
    assert (found(index, "brook"), found(index, "ocean")) == (["book:1"], ["book:2"])
    client.hdel("book:2", "title")
    assert found(index, "ocean") == []
    client.delete("book:4")
    assert found(index, "good") == ["book:1", "book:3"]
    client.set("book:3", "a string now")
    assert found(index, "good") == ["book:1"]
    client.rename("book:1", "elsewhere")
    assert found(index, "good") == []
    client.rename("elsewhere", "book:9")
    assert found(index, "good") == ["book:9"]
    client.copy("book:9", "book:8")
    assert found(index, "good") == ["book:8", "book:9"]
    pipeline = client.pipeline(transaction=False)
    for number in range(20, 40):
        pipeline.hset(f"book:{number}", "body", "good")
    pipeline.execute()
    assert len(found(index, "good")) == 22


def test_what_expires_is_gone(client):
    index = shelf(client)
    client.pexpire("book:1", 300)
    assert "book:1" in found(index, "*")
    wait_until(lambda: found(index, "*") == ["book:2", "book:3", "book:4"], SECONDS, "it has expired")
    wait_until(lambda: index.search(Query("*")).total == 3, SECONDS, "it does not count")


def test_flushall_takes_indexes_with_it(client):
    shelf(client)
    client.flushall()
    assert client.execute_command("FT._LIST") == []
    with pytest.raises(redis.ResponseError, match="(?i)index"):
        client.ft("books").search("good")


def test_keys_of_before_are_indexed(client):
    for number in range(3000):
        client.hset(f"book:{number}", mapping={"title": f"word{number % 7}", "year": number})
    index = books(client)
    wait_until(lambda: int(index.info()["indexing"]) == 0, SECONDS, "all is indexed")
    assert int(index.info()["num_docs"]) == 3000
    assert index.search(Query("word3").paging(0, 0)).total == len(range(3, 3000, 7))
    client.execute_command("FT.CREATE", "later", "SKIPINITIALSCAN", "PREFIX", 1, "book:", "SCHEMA", "title", "TEXT")
    client.hset("book:1", "title", "new")
    assert client.ft("later").search("*").total == 1


def test_json_documents(client):
    index = client.ft("people")
    fields = [TextField("$.name", as_name="name"), NumericField("$.age", as_name="age", sortable=True),
              TagField("$.tags[*]", as_name="tag")]
    index.create_index(fields, definition=IndexDefinition(prefix=["p:"], index_type=IndexType.JSON))
    client.json().set("p:1", "$", {"name": "Ann Smith", "age": 30, "tags": ["a", "b"]})
    client.json().set("p:2", "$", {"name": "Bob Smith", "age": 40, "tags": ["b", "c"]})
    client.json().set("p:3", "$", {"name": "Cid", "age": "not a number"})
    assert found(index, "smith") == ["p:1", "p:2"]
    assert found(index, "@tag:{b} @age:[35 inf]") == ["p:2"]
    client.json().numincrby("p:1", "$.age", 10)
    assert found(index, "@age:[40 40]") == ["p:1", "p:2"]
    client.json().delete("p:2", "$.tags[0]")
    assert found(index, "@tag:{b}") == ["p:1"]
    result = index.search(Query("ann").return_field("$.age", as_field="years"))
    assert result.docs[0].years == "40"
    assert int(index.info()["hash_indexing_failures"]) == 1, "what cannot be indexed is counted"
    assert client.json().get("p:3", "$.name") == ["Cid"], "and kept"


def blob(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
def test_the_nearest_vectors(client, algorithm):
    index = client.ft("vectors")
    form = {"TYPE": "FLOAT32", "DIM": 2, "DISTANCE_METRIC": "L2"}
    index.create_index([VectorField("v", algorithm, form), TagField("even")],
                       definition=IndexDefinition(prefix=["v:"], index_type=IndexType.HASH))
    raw = redis.Redis(connection_pool=redis.ConnectionPool(**client.connection_pool.connection_kwargs
                                                           | {"decode_responses": False}))
    for number in range(50):
        raw.hset(f"v:{number}", mapping={"v": blob(number, 0), "even": "yes" if number % 2 == 0 else "no"})
    query = Query("*=>[KNN 3 @v $at AS far]").sort_by("far").return_fields("far").dialect(2)
    result = index.search(query, {"at": blob(10.2, 0)})
    assert ids(result) == ["v:10", "v:11", "v:9"]
    assert float(result.docs[0].far) == pytest.approx(0.04, abs=1e-4)
    query = Query("@even:{yes}=>[KNN 3 @v $at AS far]").sort_by("far").return_fields("far").dialect(2)
    assert ids(index.search(query, {"at": blob(10.2, 0)})) == ["v:10", "v:12", "v:8"]
    raw.hset("v:10", "v", blob(1000, 0))
    raw.hset("v:12", "v", b"too short")
    assert ids(index.search(query, {"at": blob(10.2, 0)})) == ["v:8", "v:14", "v:6"]
    query = Query("@v:[VECTOR_RANGE $far $at]").dialect(2)
    assert found(index, query, {"at": blob(20, 0), "far": 4}) == ["v:18", "v:19", "v:20", "v:21", "v:22"]


def test_names_words_and_settings_of_indexes(client):
    index = shelf(client)
    index.aliasadd("shelf")
    assert found(client.ft("shelf"), "good") == ["book:1", "book:3", "book:4"]
    with pytest.raises(redis.ResponseError, match="(?i)alias"):
        index.aliasadd("shelf")
    books(client, "empty", "none:")
    client.ft("empty").aliasupdate("shelf")
    assert found(client.ft("shelf"), "good") == []
    client.ft("empty").aliasdel("shelf")
    with pytest.raises(redis.ResponseError):
        client.ft("shelf").search("good")
    assert sorted(client.execute_command("FT._LIST")) == ["books", "empty"]
    assert sorted(index.tagvals("kind")) == ["advice", "old", "poem", "story"]
    assert index.spellcheck("goof")["goof"][0]["suggestion"] == "good"
    index.dict_add("terms", "one", "two")
    assert sorted(index.dict_dump("terms")) == ["one", "two"]
    assert index.dict_del("terms", "one", "three") == 1
    index.synupdate("stream", False, "brook", "creek")
    wait_until(lambda: found(index, "creek") == ["book:2"], SECONDS, "synonyms hold")
    assert index.syndump() == {"brook": ["stream"], "creek": ["stream"]}
    assert "UNION" in index.explain(Query("a|b").dialect(2))
    index.alter_schema_add(NumericField("pages"))
    client.hset("book:1", "pages", 96)
    wait_until(lambda: found(index, "@pages:[90 100]") == ["book:1"], SECONDS, "the field counts")
    assert found(index, "good") == ["book:1", "book:3", "book:4"]
    info = index.info()
    assert (info["index_name"], int(info["num_docs"]), len(info["attributes"])) == ("books", 4, 6)
    index.config_set("DEFAULT_DIALECT", 2)
    assert index.config_get("DEFAULT_DIALECT") == {"DEFAULT_DIALECT": "2"}
    index.config_set("DEFAULT_DIALECT", 1)


def test_an_index_goes_with_or_without_its_documents(client):
    index = shelf(client)
    index.dropindex()
    assert client.exists(*SHELF) == 4
    index = books(client)
    wait_until(lambda: index.search("*").total == 4, SECONDS, "all is indexed")
    index.dropindex(delete_documents=True)
    assert client.exists(*SHELF) == 0
    assert client.exists("other:1") == 1


@pytest.mark.parametrize("command, expected", [
    (["FT.SEARCH", "nope", "*"], "(?i)index"),
    (["FT.SEARCH", "books", "@title:("], "(?i)syntax"),
    (["FT.SEARCH", "books", "*", "LIMIT", "0", "2000000"], "LIMIT"),
    (["FT.SEARCH", "books", "*", "LIMIT", "-1", "5"], "LIMIT"),
    (["FT.SEARCH", "books", "*", "SORTBY", "nope"], "(?i)property"),
    (["FT.SEARCH", "books", "*", "WHAT"], "(?i)unknown argument"),
    (["FT.SEARCH", "books", "*", "DIALECT", "9"], "DIALECT"),
    (["FT.SEARCH", "books", "*", "PARAMS", "1", "a"], "(?i)param"),
    (["FT.CREATE", "books", "SCHEMA", "t", "TEXT"], "(?i)already exists"),
    (["FT.CREATE", "x", "SCHEMA", "t", "NOTHING"], "(?i)type"),
    (["FT.CREATE", "x", "ON", "LIST", "SCHEMA", "t", "TEXT"], "(?i)list|type"),
    (["FT.ALTER", "nope", "SCHEMA", "ADD", "t", "TEXT"], "(?i)index"),
    (["FT.DROPINDEX", "nope"], "(?i)index"),
    (["FT.ALIASDEL", "nope"], "(?i)alias"),
    (["FT.TAGVALS", "books", "title"], "(?i)tag"),
    (["FT.CONFIG", "SET", "NOPE", "1"], "(?i)option"),
])
def test_bad_input_is_named(client, command, expected):
    books(client)
    with pytest.raises(redis.ResponseError, match=expected):
        client.execute_command(*command)
    assert client.ping()


def test_maps_of_the_newer_protocol(client):
    shelf(client)
    newer = redis.Redis(port=client.connection_pool.connection_kwargs["port"], decode_responses=True, protocol=3)
    result = newer.ft("books").search(Query("@title:brook").sort_by("year").return_fields("title"))
    assert result["total_results"] == 2
    assert [document["id"] for document in result["results"]] == ["book:1", "book:2"]
    assert result["results"][1]["extra_attributes"]["title"] == "The brook"
    assert newer.ft("books").info()["num_docs"] == 4


class Model:
    """Documents as they should be, and a naive scan of them."""

    WORDS = ["red", "green", "blue", "white", "black"]

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.documents = {}
        self.uncertain = set()

    def step(self, client):
        key = f"d:{self.random.randrange(80)}"
        fields = {"t": " ".join(self.random.choices(self.WORDS, k=3)), "g": self.random.choice("abc"),
                  "n": self.random.randrange(10)}
        kind = self.random.randrange(10)
        try:
            if kind < 6:
                client.hset(key, mapping=fields)
                self.documents[key] = fields
            elif kind < 8:
                client.delete(key)
                self.documents.pop(key, None)
            elif kind == 8:
                client.set(key, "text")
                self.documents.pop(key, None)
                client.delete(key)
            else:
                if self.documents.get(key):
                    client.hset(key, "n", 77)
                    self.documents[key] = self.documents[key] | {"n": 77}
        except redis.RedisError:
            # Whether it was done is not known.
            self.uncertain.add(key)

    def settle(self, client):
        """Takes what the server says of keys of which it is not known."""
        for key in self.uncertain:
            held = client.hgetall(key) if client.type(key) == "hash" else None
            self.documents.pop(key, None)
            if held:
                self.documents[key] = held | {"n": int(held["n"])} if "n" in held else held
        self.uncertain.clear()

    def scan(self, matches):
        return sorted(key for key, fields in self.documents.items() if matches(fields))

    def differences(self, client):
        index = client.ft("model")
        queries = [("*", lambda fields: True), ("@n:[77 77]", lambda fields: fields.get("n") == 77)]
        queries += [(word, lambda fields, word=word: word in fields.get("t", "").split()) for word in self.WORDS]
        queries += [(f"@g:{{{tag}}} -red", lambda fields, tag=tag: fields.get("g") == tag
                     and "red" not in fields.get("t", "").split()) for tag in "abc"]
        answers = [(query, found(index, query), self.scan(matches)) for query, matches in queries]
        totals = [(query, index.search(Query(query).paging(0, 0)).total, len(expected))
                  for query, _, expected in answers]
        return [it for it in answers + totals if it[1] != it[2]]


def create_model(client):
    client.ft("model").create_index([TextField("t", no_stem=True), TagField("g"), NumericField("n")],
                                    definition=IndexDefinition(prefix=["d:"], index_type=IndexType.HASH))


def test_an_index_is_what_a_naive_scan_finds(client):
    create_model(client)
    model = Model(1)
    for _ in range(4):
        for _ in range(150):
            model.step(client)
        assert model.differences(client) == []
    model.documents["d:none"] = {"t": "red"}
    assert model.differences(client) != [], "the comparison can fail"


class Asking(threading.Thread):
    """Counts all documents again and again: a long query, which has the index for itself meanwhile."""

    def __init__(self, client, expected):
        super().__init__(daemon=True)
        self.client, self.expected = client, expected
        self.wrong, self.asked, self.ended = [], 0, threading.Event()

    def run(self):
        while not self.ended.is_set():
            total = self.client.ft("model").search(Query("same").paging(0, 0)).total
            self.asked += 1
            if total != self.expected:
                self.wrong.append(total)


def test_beside_long_queries_each_document_counts_once_and_is_found_at_once(client):
    create_model(client)
    count = 9000
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        pipeline.hset(f"d:{number}", mapping={"t": "same", "n": number % 100})
    pipeline.execute()
    asking = [Asking(connect_again(client), count) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for number in range(150):
            client.hset(f"d:{number}", "n", 1000 + number)
            assert found(client.ft("model"), f"@n:[{1000 + number} {1000 + number}]") == [f"d:{number}"]
    finally:
        for thread in asking:
            thread.ended.set()
            thread.join(SECONDS)
    assert [thread.wrong for thread in asking] == [[], []]
    assert all(thread.asked > 0 for thread in asking)


def connect_again(client):
    return redis.Redis(port=client.connection_pool.connection_kwargs["port"], decode_responses=True)


def test_indexes_are_there_after_a_kill(tmp_path):
    node = Node(tmp_path / "node", arguments=["--shards", "2", "--sync", "always"]).start()
    try:
        create_model(connect(node))
        model = Model(2)
        for _ in range(3):
            client = connect(node)
            for _ in range(120):
                model.step(client)
            client.json().set("j:1", "$", {"a": 1})
            node.kill()
            node.start()
            wait_until(lambda: answers(node), SECONDS, "it serves")
            assert model.uncertain == set()
            assert model.differences(connect(node)) == []
    finally:
        node.kill()


def answers(node):
    try:
        connect(node).ft("model").search("*")
        return True
    except redis.RedisError:
        return False


def agree(model, nodes):
    """Whether every node finds what the model says."""
    try:
        return all(model.differences(connect(node)) == [] for node in nodes)
    except redis.RedisError:
        return False


def test_indexes_of_all_nodes_agree_after_kills_and_repair(cluster):
    client = connect(cluster[0])
    create_model(client)
    model = Model(3)
    for victim in (1, 2):
        for _ in range(100):
            model.step(client)
        cluster[victim].kill()
        # Whoever is left finds everything, and goes on taking writes.
        wait_until(lambda: cluster[0].sees(f"n{victim + 1}") is False, SECONDS, "its loss is noticed")
        for _ in range(100):
            model.step(client)
        model.settle(client)
        assert model.differences(client) == []
        if victim == 1:
            # What the others agree on meanwhile comes to it with its start.
            client.execute_command("FT.CREATE", "meanwhile", "PREFIX", 1, "d:", "SCHEMA", "g", "TAG")
        cluster[victim].start()
        cluster.settle()
        for node in cluster:
            assert model.differences(connect(node)) == [], node.name
            expected = model.scan(lambda fields: fields.get("g") == "a")
            wait_until(lambda: found(connect(node).ft("meanwhile"), "@g:{a}") == expected, SECONDS,
                       f"{node.name} has the index of meanwhile")


def test_a_node_that_joins_has_the_indexes_and_answers(tmp_path):
    cluster = Cluster(tmp_path)
    newcomer = None
    try:
        cluster.start()
        client = connect(cluster[0])
        create_model(client)
        model = Model(4)
        for _ in range(200):
            model.step(client)
        seeds = [f"127.0.0.1:{cluster[0].peer_port}"]
        newcomer = Node(tmp_path / "n4", "n4", seeds, ["--join"]).launch()
        wait_until(lambda: topology(cluster[0])["candidates"], START_SECONDS, "it waits")
        quorate(cluster[0], "join", "n4")
        everybody = [*cluster.nodes, newcomer]
        deadline = time.monotonic() + MOVED_SECONDS
        asked, moved = 0, False
        # Every document counts once all the while: TRYAGAIN is the only other answer.
        while not moved:
            assert time.monotonic() < deadline, "slots have not moved in time"
            moved = at_rest(everybody, ["n1", "n2", "n3", "n4"])
            model.step(client)
            try:
                assert model.differences(client) == []
                asked += 1
            except redis.ResponseError as error:
                assert "TRYAGAIN" in str(error), error
        assert asked > 3
        wait_until(lambda: agree(model, everybody), SECONDS, "all of them agree")
    finally:
        if newcomer:
            newcomer.kill()
        cluster.stop()


def test_a_node_stands_still_and_the_others_answer(cluster):
    client = connect(cluster[0])
    create_model(client)
    model = Model(5)
    for _ in range(60):
        model.step(client)
    cluster[2].stand_still()
    try:
        assert model.differences(client) == []
        began = time.monotonic()
        client.execute_command("FT.CREATE", "other", "SCHEMA", "t", "TEXT")
        assert time.monotonic() - began < SECONDS, "the others are waited for, but not for ever"
    finally:
        cluster[2].go_on()
    wait_until(lambda: "other" in connect(cluster[2]).execute_command("FT._LIST"), SECONDS, "it has heard of it")
