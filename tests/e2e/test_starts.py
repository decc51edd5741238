"""What clients see of a node that has just started."""

import itertools
import signal
import threading
import time

import pytest
from nodes import Cluster, Node, Raw, encode, wait_until


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--request-timeout-ms", "20000"])
    yield cluster.start()
    cluster.stop()


def connect_at_once(node):
    while True:
        node.check_running()
        try:
            return Raw(node.port)
        except OSError:
            time.sleep(0.001)


def test_a_node_that_starts_answers_like_one_that_never_was_away(cluster):
    first, _, third = cluster.nodes
    client = first.raw()
    assert client("SET", "k", 0) == (b"+", b"OK")
    for number in range(1, 7):
        third.stop()
        assert client("SET", "k", number) == (b"+", b"OK")
        assert client("SET", f"k{number}", "v") == (b"+", b"OK")
        third.launch()
        early = connect_at_once(third)
        early.send(b"".join([
            encode("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "LOCAL_QUORUM"),
            encode("GET", "k"),
            encode("DBSIZE"),
            encode("APPEND", "k", "!"),
            encode("QUORATE", "LEVEL", "READ", "LOCAL_QUORUM", "WRITE", "LOCAL_QUORUM"),
            encode("GET", "k"),
        ]))
        written = str(number).encode()
        replies = [early.read() for _ in range(6)]
        assert replies == [
            (b"+", b"OK"), (b"$", written), (b":", str(number + 1).encode()),
            (b":", b"2"), (b"+", b"OK"), (b"$", written + b"!")]


def test_a_node_that_starts_alone_answers_when_its_patience_is_over(cluster):
    first, second, third = cluster.nodes
    assert first.raw()("SET", "k", "v") == (b"+", b"OK")
    cluster.settle()
    for node in cluster.nodes:
        node.stop()
    third.launch()
    early = connect_at_once(third)
    assert early("PING") == (b"+", b"PONG")
    assert early("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "ONE") == (b"+", b"OK")
    assert early("GET", "k") == (b"$", b"v")
    wait_until(lambda: third.status()["ready"] == 1, 20, "its other shards are ready, too")
    assert early("SET", "k", "w") == (b"+", b"OK")
    assert early("QUORATE", "LEVEL", "READ", "QUORUM", "WRITE", "QUORUM") == (b"+", b"OK")
    kind, text = early("SET", "k", "x")
    assert kind == b"-" and text.startswith(b"UNAVAILABLE level QUORUM"), text


LOADING = (b"-", b"LOADING Redis is loading the dataset in memory")


def write(node, keys):
    client = node.raw()
    for first in range(keys.start, keys.stop, 10_000):
        client.send(b"".join(encode("SET", f"{key:09}", "v" * 16) for key in range(first, first + 10_000)))
        assert client.file.read(5 * 10_000) == b"+OK\r\n" * 10_000
    client.close()


EARLY = [("PING",), ("GET", "000000000"), ("SET", "000000000", "v" * 16), ("INFO", "persistence"), ("QUIT",)]


def first_answers(node):
    """What the first client hears, in one go, of a node that has just been launched."""
    client = connect_at_once(node)
    client.send(b"".join(encode(*words) for words in EARLY))
    answers = [client.read() for _ in EARLY]
    client.close()
    return answers


@pytest.fixture
def large_node(tmp_path):
    """One that is down, with data that takes so long to load that it says so; and how many keys it has."""
    node = Node(tmp_path / "node", arguments=["--shards", "1"]).start()
    keys, loads = 0, False
    while True:
        write(node, range(keys, keys + 500_000))
        keys += 500_000
        node.stop()
        if loads:
            break
        node.launch()
        loads = first_answers(node)[0] == LOADING
        # With more than what just takes long enough.
        node.start_ends()
    yield node, keys
    node.kill()


def test_a_node_that_recovers_its_data_says_so(large_node):
    node, keys = large_node
    node.launch()
    *refused, (kind, info), done = first_answers(node)
    assert refused == [LOADING] * 3 and done == (b"+", b"OK")
    assert kind == b"$" and b"\r\nloading:1\r\nasync_loading:0\r\nloading_start_time:" in info, info
    node.start_ends()
    client = node.raw()
    assert client("DBSIZE") == (b":", str(keys).encode())
    assert b"\r\nloading:0\r\n" in client("INFO", "persistence")[1]


def test_a_node_that_recovers_its_data_stops_at_once(large_node):
    node, keys = large_node
    node.launch()
    assert first_answers(node)[0] == LOADING
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(15) == 0
    assert "stopped before the data was recovered" in node.log()
    node.start()
    assert node.raw()("DBSIZE") == (b":", str(keys).encode())


def at_quorum():
    return encode("QUORATE", "LEVEL", "READ", "QUORUM", "WRITE", "QUORUM")


def ask(connection, *commands):
    connection.send(b"".join(commands))
    return [connection.read() for _ in commands]


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
def test_when_all_start_again_a_quorum_answers_with_what_was_acknowledged(cluster, killed):
    """The one that was away before the others have missed something. At `ONE` that may show."""
    keys = [f"k{number}" for number in range(12)]
    for version, order in enumerate(itertools.permutations(cluster.nodes), start=1):
        behind, *rest = order
        wait_until(lambda: all(node.status()["ready"] for node in cluster.nodes), 30, "all are ready")
        client = rest[0].raw()
        ask(client, at_quorum(), *(encode("SET", key, version - 1) for key in keys))
        behind.kill()
        written = ask(client, encode("SET", "counter", 0), *(encode("SET", key, version) for key in keys))
        assert set(written) == {(b"+", b"OK")}
        for node in rest:
            node.kill() if killed else node.stop()
        for node in order:
            node.launch()
        connections = [connect_at_once(node) for node in order]
        gets = [encode("GET", key) for key in keys]
        for connection in connections:
            connection.send(b"".join([at_quorum(), *gets, encode("INCR", "counter"),
                                      encode("QUORATE", "LEVEL", "READ", "ONE", "WRITE", "QUORUM"), *gets]))
        newest, older = (b"$", str(version).encode()), (b"$", str(version - 1).encode())
        for connection in connections:
            assert connection.read() == (b"+", b"OK")
            assert {connection.read() for _ in keys} == {newest}
            assert connection.read()[0] == b":"
            assert connection.read() == (b"+", b"OK")
            assert {connection.read() for _ in keys} <= {newest, older}
            connection.close()
        assert ask(rest[1].raw(), at_quorum(), encode("GET", "counter"))[1] == (b"$", b"3")


def keep_asking(node, number, over, errors):
    """A client that asks for what was on a closed connection again, until it is to stop."""
    connection, counter = None, 0
    while not over.is_set():
        words = [("SET", f"s{number}", counter), ("INCR", f"i{number}"), ("GET", f"s{number}"),
                 ("DEL", f"d{number}", f"e{number}")][counter % 4]
        try:
            connection = connection or node.raw()
            kind, text = connection(*words)
        except (OSError, EOFError):
            connection = None
            time.sleep(0.01)
            continue
        if kind == b"-" and (kind, text) != LOADING:
            errors.append((node.name, words, text))
        counter += 1
        time.sleep(0.002)


def test_a_rolling_restart_gives_no_errors(tmp_path):
    cluster = Cluster(tmp_path, arguments=["--shards", "2"])
    over, errors, clients = threading.Event(), [], []
    try:
        cluster.start()
        assert cluster[0].raw()("SET", "first", "write") == (b"+", b"OK")
        cluster.settle()
        for number in range(12):
            clients.append(threading.Thread(target=keep_asking, args=(cluster[number % 3], number, over, errors)))
            clients[-1].start()
        for _ in range(3):
            for node in cluster.nodes:
                assert node.stop() == 0
                node.start()
                wait_until(cluster.settled, 60, "everybody is up and has caught up")
        assert errors == []
    finally:
        over.set()
        for client in clients:
            client.join()
        cluster.stop()


@pytest.mark.parametrize("round", range(6))
def test_the_first_writes_keep_their_order(tmp_path, round):
    """The list becomes final somewhere in this pipeline: what waited for that must not be overtaken."""
    node = Node(tmp_path / "node", arguments=["--shards", "2"]).start()
    try:
        client = node.raw()
        pairs = [encode("SET", f"key-{key}", "v") + encode("PEXPIRE", f"key-{key}", 10_000_000) for key in range(2_000)]
        client.send(b"".join(pairs))
        assert client.file.read(len(b"+OK\r\n:1\r\n") * len(pairs)) == b"+OK\r\n:1\r\n" * len(pairs)
    finally:
        node.kill()
