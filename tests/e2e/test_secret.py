"""The cluster secret: who has it is a node, who has not changes nothing, whatever it has recorded."""

import os
import socket
import subprocess
import threading
import time

import pytest
import redis
from nodes import QUORATE, Cluster, Node, wait_until
from test_movement import MOVED_SECONDS, at_rest
from test_topology import quorate, topology

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
NOT_TRUSTED = "is not trusted"


class Wire:
    """Stands between a dialer and an acceptor, records what the dialer says, and may change it."""

    def __init__(self, target):
        self.target, self.change = target, None
        self.recordings = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                dialer, _ = self.listener.accept()
            except OSError:
                return
            recording = bytearray()
            self.recordings.append(recording)
            try:
                acceptor = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                dialer.close()
                continue
            threading.Thread(target=self.pump, args=(dialer, acceptor, recording), daemon=True).start()
            threading.Thread(target=self.pump, args=(acceptor, dialer, None), daemon=True).start()

    def pump(self, source, sink, recording):
        try:
            while data := source.recv(65536):
                if recording is not None:
                    if self.change:
                        data = self.change(bytes(recording), data)
                    recording += data
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture
def cluster(tmp_path, secret_file):
    cluster = Cluster(tmp_path, arguments=["--shards", "2", "--cluster-secret-file", secret_file])
    cluster.start()
    yield cluster
    for node in cluster.nodes:
        node.kill()


@pytest.fixture
def started():
    nodes = []
    yield nodes
    for node in nodes:
        node.kill()


def stranger(cluster, tmp_path, started, arguments=(), seed=None):
    node = Node(tmp_path / "stranger", name="stranger", seeds=[seed or cluster.nodes[0].peer_port],
                arguments=["--rack", "r4", "--rf", "3", "--shards", "1", *arguments])
    started.append(node.launch())
    return node


def names(node):
    return sorted(member["name"] for member in node.status()["members"])


def said(node, *words):
    return [line for line in node.log().splitlines() if all(word in line for word in words)]


def test_a_cluster_with_a_secret_serves_and_says_so(cluster):
    first, second, third = cluster.nodes
    first.raw()("CONFIG", "SET", "quorate-write-level", "ALL")
    big = os.urandom(300_000)
    for number in range(50):
        assert first.raw()("SET", f"k{number}", "v") == (b"+", b"OK")
    assert first.raw()("SET", "big", big) == (b"+", b"OK")
    assert third.raw()("GET", "big") == (b"$", big)
    assert second.raw()("GET", "k7") == (b"$", b"v")
    assert {node.status()["links"] for node in cluster.nodes} == {"secret"}
    third.kill()
    third.start()
    cluster.meet()
    shown = first.raw()("CONFIG", "GET", "*")
    assert SECRET.encode() not in repr(shown).encode()
    assert not any(SECRET in node.log() or said(node, NOT_TRUSTED) or said(node, "this cluster is open") for node in cluster.nodes)


def test_an_open_node_says_so(tmp_path, started):
    node = Node(tmp_path / "open")
    started.append(node)
    node.start()
    assert said(node, "WARN", "this cluster is open", "QUORATE_CLUSTER_SECRET")
    assert node.status()["links"] == "open"


@pytest.mark.parametrize("given, of_members, of_stranger", [
    (None, "has no cluster secret", "has a cluster secret"),
    (OTHER, "is not that of the other node", "is not that of the other node"),
])
def test_a_node_without_the_secret_is_refused_and_both_say_why(cluster, tmp_path, started, given, of_members, of_stranger):
    arguments = []
    if given:
        (tmp_path / "other").write_text(given)
        arguments = ["--cluster-secret-file", tmp_path / "other"]
    node = stranger(cluster, tmp_path, started, arguments)
    first = cluster.nodes[0]
    wait_until(lambda: said(first, NOT_TRUSTED, of_members), 20, "the member says why")
    wait_until(lambda: said(node, of_stranger), 20, "the stranger says why")
    time.sleep(3)
    node.check_running()
    assert names(first) == ["n1", "n2", "n3"]
    # It has dialled again and again; shards take turns, and each tells of it once a minute.
    assert len(said(first, NOT_TRUSTED)) <= 3


def test_an_open_cluster_refuses_a_node_with_a_secret(tmp_path, started, secret_file):
    first = Node(tmp_path / "open", name="open", arguments=["--shards", "1"])
    started.append(first)
    first.start()
    node = Node(tmp_path / "closed", name="closed", seeds=[first.peer_port],
                arguments=["--shards", "1", "--cluster-secret-file", secret_file])
    started.append(node.launch())
    wait_until(lambda: said(first, NOT_TRUSTED, "has a cluster secret"), 20, "the open node says why")
    wait_until(lambda: said(node, NOT_TRUSTED, "has no cluster secret"), 20, "the other says why")
    assert names(first) == ["open"]


def test_a_node_of_another_cluster_with_the_same_secret_is_refused(cluster, tmp_path, started, secret_file):
    arguments = ["--cluster-secret-file", secret_file, "--cluster", "another"]
    node = stranger(cluster, tmp_path, started, arguments)
    wait_until(lambda: said(node, NOT_TRUSTED, "the name of the cluster"), 20, "it says why")
    assert names(cluster.nodes[0]) == ["n1", "n2", "n3"]


def test_recorded_frames_change_nothing_and_show_nothing(tmp_path, started, secret_file):
    first = Node(tmp_path / "n1", name="n1", arguments=["--shards", "1", "--rack", "r1", "--cluster-secret-file", secret_file])
    wire = Wire(first.peer_port)
    second = Node(tmp_path / "n2", name="n2", seeds=[wire.port],
                  arguments=["--shards", "1", "--rack", "r2", "--cluster-secret-file", secret_file])
    first.seeds = [second.peer_port]
    started += [first.launch(), second.launch()]
    wait_until(lambda: first.ping() and names(first) == ["n1", "n2"], 20, "they find each other")
    wait_until(lambda: any(len(recording) > 200 for recording in wire.recordings), 20, "something is recorded")
    for recording in wire.recordings:
        assert b"QRT1" not in recording and b"n2" not in recording[68:], "frames are not readable"
    recording = bytes(max(wire.recordings, key=len))
    before = first.status()["epoch"], names(first)
    for _ in range(5):
        replayed = socket.create_connection(("127.0.0.1", first.peer_port), timeout=10)
        replayed.sendall(recording)
        answer = b""
        try:
            while data := replayed.recv(4096):
                answer += data
        except ConnectionResetError:
            pass
        # A challenge, and a refusal: the proof was for another one.
        assert answer[:4] == b"QRTs" and answer[36:] in (b"QRTx\x02", b""), answer
        replayed.close()
    assert said(first, NOT_TRUSTED)
    assert (first.status()["epoch"], names(first)) == before
    wire.close()


def test_a_changed_byte_ends_the_link_and_nothing_else(tmp_path, started, secret_file):
    first = Node(tmp_path / "n1", name="n1", arguments=["--shards", "1", "--rack", "r1", "--cluster-secret-file", secret_file])
    wire = Wire(first.peer_port)
    changes = []

    def change(before, data):
        """Flips a bit behind the handshake, in the first three connections."""
        if len(changes) < 3 and len(before) < 100 <= len(before) + len(data):
            changes.append(data)
            at = 99 - len(before)
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
        return data

    wire.change = change
    second = Node(tmp_path / "n2", name="n2", seeds=[wire.port],
                  arguments=["--shards", "1", "--rack", "r2", "--cluster-secret-file", secret_file])
    first.seeds = [second.peer_port]
    started += [first.launch(), second.launch()]
    wait_until(lambda: first.ping() and names(first) == ["n1", "n2"], 20, "they find each other all the same")
    wait_until(lambda: len(changes) == 3, 20, "it was tried")
    assert said(first, NOT_TRUSTED, "changed, repeated or left out")
    wait_until(lambda: first.raw()("SET", "k", "v") == (b"+", b"OK"), 20, "they serve")
    wire.close()


def test_who_never_proves_anything_is_cut_off(cluster):
    first = cluster.nodes[0]
    silent = socket.create_connection(("127.0.0.1", first.peer_port), timeout=30)
    silent.sendall(b"QRTs" + os.urandom(32))
    assert len(silent.recv(100)) == 36
    assert silent.recv(100) == b"", "it was closed"
    noisy = socket.create_connection(("127.0.0.1", first.peer_port), timeout=30)
    noisy.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises((ConnectionResetError, AssertionError)):
        assert noisy.recv(100) != b""
    assert first.raw()("SET", "k", "v") == (b"+", b"OK")


def test_a_secret_is_replaced_by_rolling_restarts(cluster, secret_file):
    client = cluster.nodes[0].raw()
    assert client("SET", "k", "v") == (b"+", b"OK")
    for text in (f"{SECRET}\n{OTHER}", f"{OTHER}\n{SECRET}", OTHER):
        secret_file.write_text(text)
        for node in cluster.nodes:
            node.stop()
            node.start()
            cluster.meet()
            wait_until(lambda: node.raw()("SET", "k", "v") == (b"+", b"OK"), 20, "it serves")
    assert not any(said(node, NOT_TRUSTED) for node in cluster.nodes)


@pytest.mark.parametrize("text, why", [("short", "a secret of 5 bytes"), ("", "0 secrets"), (None, "No such file")])
def test_what_is_no_secret_stops_the_start(tmp_path, started, text, why):
    path = tmp_path / "secret"
    if text is not None:
        path.write_text(text)
    node = Node(tmp_path / "n", arguments=["--cluster-secret-file", path])
    started.append(node.launch())
    assert node.process.wait(20) == 1
    assert why in node.log() and "cluster_secret_file" in node.log()


def test_the_environment_may_hold_the_secret(tmp_path, started, monkeypatch):
    monkeypatch.setenv("QUORATE_CLUSTER_SECRET", SECRET)
    node = Node(tmp_path / "n")
    started.append(node)
    node.start()
    assert node.status()["links"] == "secret"
    (tmp_path / "secret").write_text(OTHER)
    other = Node(tmp_path / "other", arguments=["--cluster-secret-file", tmp_path / "secret"])
    started.append(other.launch())
    assert other.process.wait(20) == 1 and "one secret" in other.log()


def token_of(cluster, *arguments):
    seed = f"127.0.0.1:{cluster[0].peer_port}"
    done = subprocess.run([QUORATE, "token", "--seed", seed, *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_node_joins_with_a_token_alone(cluster, tmp_path, started, secret_file):
    assert redis.Redis(port=cluster[0].port).set("key", "value")
    token = tmp_path / "token"
    token.write_text(token_of(cluster, "--cluster-secret-file", secret_file) + "\n")
    arguments = ["--shards", "2", "--rack", "r4", "--join-token-file", token]
    node = Node(tmp_path / "n4", name="n4", arguments=arguments)
    started.append(node.launch())
    wait_until(lambda: [it["name"] for it in topology(cluster[0])["candidates"]] == ["n4"], 20, "it asks")
    quorate(cluster[0], "join", "n4")
    everybody = [*cluster.nodes, node]
    wait_until(lambda: at_rest(everybody, ["n1", "n2", "n3", "n4"]), MOVED_SECONDS, "it is a member")
    assert node.status()["links"] == "secret"
    assert redis.Redis(port=node.port).get("key") == b"value"


@pytest.mark.parametrize("change, said", [
    (lambda token: token[:-4], "it is cut off or changed"),
    (lambda token: "join me", "a token begins with quorate-join-1:"),
])
def test_a_token_that_is_none_is_refused_at_the_start(tmp_path, change, said):
    made = subprocess.run([QUORATE, "token", "--seed", "127.0.0.1:1"], check=True, capture_output=True, text=True)
    environment = {**os.environ, "QUORATE_JOIN_TOKEN": change(made.stdout.strip())}
    done = subprocess.run([QUORATE, "serve", "--data-dir", tmp_path / "data"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "QUORATE_JOIN_TOKEN" in done.stderr and said in done.stderr


def test_a_token_of_another_cluster_than_the_one_named_is_refused(tmp_path):
    made = subprocess.run([QUORATE, "token", "--seed", "127.0.0.1:1", "--cluster", "shop"],
                          check=True, capture_output=True, text=True)
    environment = {**os.environ, "QUORATE_JOIN_TOKEN": made.stdout}
    done = subprocess.run([QUORATE, "serve", "--cluster", "bank", "--data-dir", tmp_path / "data"],
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "it is for the cluster shop, and cluster says bank" in done.stderr
