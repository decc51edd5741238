"""More connections than descriptors: the log and the other nodes keep theirs."""

import os
import resource
import socket
import time

import pytest
from nodes import Node, Raw, Redis, free_port, wait_until

REFUSED = b"-ERR max number of clients reached\r\n"


class Limited(Node):
    """A node whose limits on open files are given."""

    limits = (300, 300)

    def command(self):
        soft, hard = self.limits
        return ["prlimit", f"--nofile={soft}:{hard}", *super().command()]


def connect(port, count):
    sockets = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        sockets.append(client)
    return sockets


def answer(client):
    """What the server says to a PING, as far as it lets it come to that."""
    try:
        client.sendall(b"PING\r\n")
    except OSError:
        pass
    try:
        return client.recv(100)
    except ConnectionResetError:
        return REFUSED


def info(connection, field):
    text = connection("INFO", "clients")[1].decode()
    return dict(line.split(":") for line in text.splitlines() if ":" in line)[field]


def test_clients_beyond_the_limit_are_refused_as_redis_does(tmp_path):
    class Small(Redis):
        def command(self):
            return super().command() + ["--maxclients", "20"]

    redis = Small(tmp_path / "redis", free_port()).start()
    node = Node(tmp_path / "node", arguments=["--maxclients", "20", "--shards", "2"]).start()
    try:
        for server in (redis, node):
            first = server.raw()
            assert first("CONFIG", "GET", "maxclients")[1] == [(b"$", b"maxclients"), (b"$", b"20")]
            assert info(first, "maxclients") == "20"
            wait_until(lambda: info(first, "connected_clients") == "1", 10, "the probes are gone")
            clients = connect(server.port, 40)
            answers = [answer(client) for client in clients]
            assert answers.count(b"+PONG\r\n") == 19, server
            assert answers.count(REFUSED) == 21, server
            for client in clients:
                client.close()
            wait_until(lambda: info(first, "connected_clients") == "1", 10, "places are free again")
            again = connect(server.port, 19)
            assert all(answer(client) == b"+PONG\r\n" for client in again), server
    finally:
        redis.kill()
        node.kill()


def test_the_soft_limit_is_raised(tmp_path):
    class Soft(Limited):
        limits = (64, 4096)

    node = Soft(tmp_path / "node", arguments=["--shards", "1"]).start()
    try:
        limits = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
        assert limits == (4096, 4096)
        assert info(node.raw(), "maxclients") == str(4096 - 64 - 128)
        assert "fewer clients than configured" in node.log()
    finally:
        node.kill()


def test_too_few_descriptors_are_told_at_the_start(tmp_path):
    class Few(Limited):
        limits = (100, 100)

    node = Few(tmp_path / "node", arguments=["--shards", "1"]).launch()
    assert node.process.wait(10) != 0
    assert "the limit on open files is 100, and the node itself needs 192" in node.log()


@pytest.mark.parametrize("policy", ["everysec", "always"])
def test_idle_clients_do_not_take_what_the_log_needs(tmp_path, policy):
    node = Limited(tmp_path / "node", arguments=["--shards", "1", "--sync", policy]).start()
    try:
        client = node.raw()
        idle = connect(node.port, 400) + connect(node.peer_port, 200)
        # Enough for new segments, each of 64 MiB.
        for number in range(20):
            assert client("SET", f"k{number}", b"x" * (8 << 20)) == (b"+", b"OK")
        time.sleep(2.5)
        assert client("SET", "k", "v") == (b"+", b"OK")
        assert "log_failed:0" in client("INFO", "persistence")[1].decode()
        for connection in idle:
            connection.close()
        wait_until(lambda: info(client, "connected_clients") == "1", 10, "the idle ones are gone")
        assert node.raw()("GET", "k") == (b"$", b"v")
    finally:
        node.kill()


def test_peers_that_do_not_introduce_themselves_are_closed(tmp_path):
    node = Node(tmp_path / "node").start()
    try:
        stranger = socket.create_connection(("127.0.0.1", node.peer_port), timeout=15)
        stranger.sendall(b"QR")
        began = time.monotonic()
        assert stranger.recv(100) == b""
        assert 3 < time.monotonic() - began < 12
        assert Raw(node.port)("SET", "k", "v") == (b"+", b"OK")
    finally:
        node.kill()


def open_segments(node):
    """Files of logs that the process has open."""
    found = os.listdir(f"/proc/{node.process.pid}/fd")
    targets = []
    for descriptor in found:
        try:
            targets.append(os.readlink(f"/proc/{node.process.pid}/fd/{descriptor}"))
        except FileNotFoundError:
            pass
    return [target for target in targets if target.endswith(".log") and "/data/" in target]


def test_a_log_of_any_length_keeps_few_files_open(tmp_path):
    node = Node(tmp_path / "node", arguments=["--shards", "1"]).start()
    try:
        client = node.raw()
        for number in range(40):
            assert client("SET", f"k{number}", b"x" * (8 << 20)) == (b"+", b"OK")
        segments = list((tmp_path / "node" / "data").glob("log-*/*.log"))
        assert len(segments) >= 5
        wait_until(lambda: len(open_segments(node)) <= 2, 30, "what is synced is closed")
        node.kill()
        node.start()
        client = node.raw()
        wait_until(lambda: len(open_segments(node)) <= 2, 30, "what was read is closed")
        assert client("STRLEN", "k1") == (b":", b"%d" % (8 << 20))
        assert client("QUORATE", "SCRUB", "START")[0] != b"-"
        scrub = "scrub_running:0", "scrub_damages:0"
        wait_until(lambda: all(line in client("INFO", "persistence")[1].decode() for line in scrub)
                   and "scrub_last_done_ms:0\r" not in client("INFO", "persistence")[1].decode(),
                   60, "all of it was read again")
        assert len(open_segments(node)) <= 2
    finally:
        node.kill()


def test_clients_that_leave_in_the_middle_of_a_command_are_gone(node):
    for _ in range(4):
        clients = [node.raw() for _ in range(40)]
        time.sleep(0.1)
        for client in clients:
            client.send(b"GET x")
            client.close()
    info = node.raw()
    wait_until(lambda: b"connected_clients:1\r\n" in info("INFO", "clients")[1], 10, "all others are gone")
